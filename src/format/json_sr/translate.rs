//! Columns to a JSON Schema, as ksqlDB registers it (Connect's `JsonSchemaData.fromConnectSchema`).
//!
//! ```text
//! A INT, M MAP<STRING, INT>  ->  {"type":"object","properties":{
//!   "A":{"connect.index":0,"oneOf":[{"type":"null"},{"type":"integer","connect.type":"int32"}]},
//!   "M":{"connect.index":1,"oneOf":[{"type":"null"},{"type":"array","connect.type":"map","items":{"type":"object","properties":{..}}}]}}}
//! ```
//!
//! Properties are in the order of the columns; their `connect.index` says it, because JSON does not.

use super::shape::{DATE, DECIMAL, TIME, TIMESTAMP};
use crate::types::SqlType;
use serde_json::{Map, Value, json};

/// The schema of an object of these columns.
pub(super) fn object(columns: &[(&str, &SqlType)]) -> Value {
    let mut properties = Map::new();
    for (i, (name, ty)) in columns.iter().enumerate() {
        let Value::Object(mut member) = nullable(ty) else { continue };
        member.shift_insert(0, "connect.index".to_owned(), json!(i));
        properties.insert((*name).to_owned(), Value::Object(member));
    }
    json!({"type": "object", "properties": properties})
}

/// The schema of a value of this type, or `null`.
pub(super) fn nullable(ty: &SqlType) -> Value {
    json!({"oneOf": [{"type": "null"}, value(ty)]})
}

fn value(ty: &SqlType) -> Value {
    let logical = |title: &str, connect: &str| json!({"type": "integer", "title": title, "connect.version": 1, "connect.type": connect});
    match ty {
        SqlType::Boolean => json!({"type": "boolean"}),
        SqlType::Integer => json!({"type": "integer", "connect.type": "int32"}),
        SqlType::Bigint => json!({"type": "integer", "connect.type": "int64"}),
        SqlType::Double => json!({"type": "number", "connect.type": "float64"}),
        SqlType::String => json!({"type": "string"}),
        SqlType::Bytes => json!({"type": "string", "connect.type": "bytes"}),
        SqlType::Date => logical(DATE, "int32"),
        SqlType::Time => logical(TIME, "int32"),
        SqlType::Timestamp => logical(TIMESTAMP, "int64"),
        SqlType::Decimal(precision, scale) => json!({
            "type": "number", "title": DECIMAL, "connect.version": 1, "connect.type": "bytes",
            "connect.parameters": {"scale": scale.to_string(), "connect.decimal.precision": precision.to_string()}
        }),
        SqlType::Array(item) => json!({"type": "array", "items": nullable(item)}),
        SqlType::Map(key, value) => {
            let items = object(&[("key", key), ("value", value)]);
            json!({"type": "array", "connect.type": "map", "items": items})
        }
        SqlType::Struct(fields) => object(&fields.iter().map(|(name, ty)| (name.as_str(), ty)).collect::<Vec<_>>()),
    }
}
