//! JSON Schema from an example of a shape.

use serde_json::{Map, Value, json};

/// Reads a shape. All are constants, and a test reads each.
pub(super) fn parsed(shape: &str) -> Value {
    serde_json::from_str(shape).expect("a shape is JSON, as a test of every one shows")
}

/// The schema of a shape: a type's name, a list with one, or an object of names. A `?` behind a type or a name means that the
/// value may be null, a `~` behind a name that it may be left out.
pub(super) fn schema(shape: &Value) -> Value {
    match shape {
        Value::String(ty) => match ty.strip_suffix('?') {
            Some("any") | None if ty.starts_with("any") => json!({}),
            Some(ty) => json!({ "type": [ty, "null"] }),
            None => json!({ "type": ty }),
        },
        Value::Array(items) => json!({ "type": "array", "items": items.first().map_or_else(|| json!({}), schema) }),
        Value::Object(fields) => match fields.get("*") {
            Some(any) => json!({ "type": "object", "additionalProperties": schema(any) }),
            None => object(fields),
        },
        other => json!({ "const": other }),
    }
}

fn object(fields: &Map<String, Value>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, shape) in fields {
        let (plain, is_optional) = name.strip_suffix('~').map_or((name.as_str(), false), |name| (name, true));
        let (plain, is_nullable) = plain.strip_suffix('?').map_or((plain, false), |name| (name, true));
        let schema = schema(shape);
        let schema = if is_nullable { json!({ "anyOf": [schema, { "type": "null" }] }) } else { schema };
        properties.insert(plain.to_owned(), schema);
        if !is_optional {
            required.push(plain.to_owned());
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_become_schemas() {
        assert_eq!(schema(&json!("integer?")), json!({ "type": ["integer", "null"] }));
        assert_eq!(schema(&json!("any")), json!({}));
        assert_eq!(schema(&json!({ "*": "string" }))["additionalProperties"]["type"], "string");
        let object = schema(&json!({ "a": ["string"], "b?": { "c": "number" }, "d~": "boolean" }));
        assert_eq!(object["required"], json!(["a", "b"]));
        assert_eq!(object["properties"]["a"]["items"]["type"], "string");
        assert_eq!(object["properties"]["b"]["anyOf"][1]["type"], "null");
    }
}
