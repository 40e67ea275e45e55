//! JSON schemas as a registry needs them: valid as far as a registry checks them, in canonical form, with their references.
//!
//! ```text
//! { "type" : "object" , "properties": {"a": {"$ref": "address.json"}} }     with reference address.json
//! {"type":"object","properties":{"a":{"$ref":"address.json"}}}              canonical: white space is gone, the order is kept
//! ```

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "string", "integer"];
/// Keywords whose value is a schema.
const SCHEMA: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
/// Keywords whose value is a list of schemas.
const SCHEMAS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object of schemas.
const NAMED: [&str; 5] = ["properties", "patternProperties", "definitions", "$defs", "dependentSchemas"];

/// A schema.
#[derive(Clone, Debug)]
pub struct JsonSchema {
    /// The schema itself.
    pub root: Value,
    /// What it refers to, by name.
    pub references: BTreeMap<String, Value>,
}

impl JsonSchema {
    /// Reads a schema and the texts that it refers to by name.
    pub fn parse<'a>(
        text: &str,
        references: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<JsonSchema, String> {
        let root = json(text)?;
        check(&root, "#")?;
        let references = references.into_iter().map(|(name, text)| Ok((name.to_owned(), json(text)?)));
        Ok(JsonSchema { root, references: references.collect::<Result<_, String>>()? })
    }

    /// The text without white space.
    pub fn canonical(&self) -> String {
        self.root.to_string()
    }

    /// The same in the order of names: the text of `normalize=true`.
    pub fn normalized(&self) -> String {
        sorted(&self.root).to_string()
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<&String, Value> = object.iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(sorted.into_iter().map(|(name, value)| (name.clone(), value)).collect())
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Refuses what is no schema: a wrong type, a keyword whose value has the wrong form.
fn check(schema: &Value, path: &str) -> Result<(), String> {
    let object = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(object) => object,
        other => return Err(format!("{path}: expected an object or a boolean, found {other}")),
    };
    check_type(object, path)?;
    for (name, value) in object {
        let path = format!("{path}/{name}");
        match name.as_str() {
            "items" if value.is_array() => each(value, &path)?,
            name if SCHEMA.contains(&name) => check(value, &path)?,
            name if SCHEMAS.contains(&name) => each(value, &path)?,
            name if NAMED.contains(&name) => {
                let members = value.as_object().ok_or_else(|| format!("{path}: expected an object, found {value}"))?;
                members.iter().try_for_each(|(name, schema)| check(schema, &format!("{path}/{name}")))?;
            }
            "required" | "enum" if !value.is_array() => {
                return Err(format!("{path}: expected an array, found {value}"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn each(value: &Value, path: &str) -> Result<(), String> {
    let list = value.as_array().ok_or_else(|| format!("{path}: expected an array, found {value}"))?;
    list.iter().enumerate().try_for_each(|(at, schema)| check(schema, &format!("{path}/{at}")))
}

fn check_type(object: &Map<String, Value>, path: &str) -> Result<(), String> {
    let is_type = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match object.get("type") {
        None => Ok(()),
        Some(Value::Array(types)) if types.iter().all(is_type) => Ok(()),
        Some(value) if is_type(value) => Ok(()),
        Some(value) => Err(format!("{path}/type: unknown type: {value}")),
    }
}
