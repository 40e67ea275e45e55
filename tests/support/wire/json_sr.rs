//! JSON_SR: JSON that a JSON Schema describes in Kafka Connect's terms (`connect.type`, titles of logical types).
//!
//! The payload differs from the tree where the schema says so: a map may be a list of entries, a decimal has a scale.

use super::{Referenced, decimal, lookup, scalar_text};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";

/// A schema, and the ones that it refers to by name.
#[derive(Debug)]
pub(crate) struct JsonSchema {
    root: Value,
    others: BTreeMap<String, Value>,
}

impl JsonSchema {
    pub(super) fn parse(text: &str, references: &[Referenced]) -> Result<JsonSchema, String> {
        let read = |text: &str| serde_json::from_str(text).map_err(|e| format!("a JSON Schema is no JSON: {e}"));
        let others = references.iter().map(|r| Ok((r.name.clone(), read(&r.text)?))).collect::<Result<_, String>>()?;
        Ok(JsonSchema { root: read(text)?, others })
    }

    pub(super) fn encode(&self, tree: &Value) -> Result<Value, String> {
        self.write(&self.root, tree)
    }

    pub(super) fn decode(&self, payload: &[u8]) -> Result<Value, String> {
        let value = serde_json::from_slice(payload).map_err(|e| format!("the payload is no JSON: {e}"))?;
        self.take(&self.root, value)
    }

    /// The schema itself: what a `$ref` names, and the one branch beside null of a union.
    fn resolve<'a>(&'a self, mut schema: &'a Value) -> Result<&'a Value, String> {
        loop {
            if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
                let found = match name.strip_prefix('#') {
                    Some("") => Some(&self.root),
                    Some(pointer) => self.root.pointer(pointer),
                    None => self.others.get(name),
                };
                schema = found.ok_or_else(|| format!("the schema {name} is not there"))?;
                continue;
            }
            let union = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
            match union.map(|all| all.iter().filter(|b| b["type"] != "null").collect::<Vec<_>>()).as_deref() {
                Some([one]) => schema = one,
                _ => return Ok(schema),
            }
        }
    }

    fn is_nullable(&self, schema: &Value) -> bool {
        let union = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
        let listed = schema["type"].as_array().is_some_and(|types| types.iter().any(|t| t == "null"));
        listed || schema["type"] == "null" || union.is_some_and(|all| all.iter().any(|b| b["type"] == "null"))
    }

    fn write(&self, schema: &Value, value: &Value) -> Result<Value, String> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        let schema = self.resolve(schema)?;
        if let Some((keys, values)) = entries(schema) {
            let object = value.as_object().ok_or_else(|| format!("{value} is no map"))?;
            let entry = |(key, item): (&String, &Value)| {
                Ok(json!({ "key": self.write(keys, &json!(key))?, "value": self.write(values, item)? }))
            };
            return Ok(Value::Array(object.iter().map(entry).collect::<Result<_, String>>()?));
        }
        if is_decimal(schema) {
            let scale = scale_of(schema);
            return Ok(decimal::tree(decimal::unscaled(&scalar_text(value), scale)?, scale));
        }
        match value {
            Value::Object(object) if schema.get("properties").is_some() => self.write_properties(schema, object),
            Value::Object(object) => match schema.get("additionalProperties").filter(|p| p.is_object()) {
                Some(values) => {
                    let item = |(key, item): (&String, &Value)| Ok((key.clone(), self.write(values, item)?));
                    Ok(Value::Object(object.iter().map(item).collect::<Result<_, String>>()?))
                }
                None => Ok(value.clone()),
            },
            Value::Array(all) if schema["items"].is_object() => {
                Ok(Value::Array(all.iter().map(|item| self.write(&schema["items"], item)).collect::<Result<_, _>>()?))
            }
            Value::Number(_) | Value::Bool(_) if schema["type"] == "string" => Ok(json!(scalar_text(value))),
            Value::String(text) if schema["type"] == "integer" || schema["type"] == "number" => {
                serde_json::from_str(text).map_err(|_| format!("'{text}' is no number"))
            }
            _ => Ok(value.clone()),
        }
    }

    /// The properties of the schema under its own names; NULL is left out where the schema does not allow it.
    fn write_properties(&self, schema: &Value, object: &Map<String, Value>) -> Result<Value, String> {
        let mut out = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            match lookup(object, name) {
                Some(value) => {
                    out.insert(name.clone(), self.write(property, value).map_err(|e| format!("{name}: {e}"))?);
                }
                None if self.is_nullable(property) => {
                    out.insert(name.clone(), Value::Null);
                }
                None => {}
            }
        }
        Ok(Value::Object(out))
    }

    fn take(&self, schema: &Value, value: Value) -> Result<Value, String> {
        let schema = self.resolve(schema)?;
        if let (Some((keys, values)), Value::Array(all)) = (entries(schema), &value) {
            let entry = |item: &Value| {
                let key = self.take(keys, item["key"].clone())?;
                Ok((scalar_text(&key), self.take(values, item["value"].clone())?))
            };
            return Ok(Value::Object(all.iter().map(entry).collect::<Result<_, String>>()?));
        }
        match value {
            Value::Object(object) => {
                let of = |name: &str| schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                let item = |(name, item): (String, Value)| {
                    let item = of(&name).map_or(Ok(item.clone()), |schema| self.take(schema, item))?;
                    Ok((name, item))
                };
                Ok(Value::Object(object.into_iter().map(item).collect::<Result<_, String>>()?))
            }
            Value::Array(all) if schema["items"].is_object() => {
                let all = all.into_iter().map(|item| self.take(&schema["items"], item));
                Ok(Value::Array(all.collect::<Result<_, _>>()?))
            }
            other => Ok(other),
        }
    }
}

/// A map as a list of entries: the schemas of its keys and of its values.
fn entries(schema: &Value) -> Option<(&Value, &Value)> {
    let properties = schema.get("items")?.get("properties")?;
    let map = schema["type"] == "array" && schema["connect.type"] == "map";
    map.then_some((properties.get("key")?, properties.get("value")?))
}

fn is_decimal(schema: &Value) -> bool {
    schema["title"] == DECIMAL && schema["connect.type"] == "bytes"
}

fn scale_of(schema: &Value) -> u32 {
    schema["connect.parameters"]["scale"].as_str().and_then(|s| s.parse().ok()).unwrap_or(0)
}
