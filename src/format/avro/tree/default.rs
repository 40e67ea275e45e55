//! Whether a JSON value can be the default of a field.

use super::{AvroSchema, NamedKind, Primitive, Type};
use serde_json::Value;

impl AvroSchema {
    /// Whether this can be the default of a field of this type; for a union, of one of its branches.
    pub(super) fn is_default(&self, schema: &Type, value: &Value) -> bool {
        match schema {
            Type::Primitive(primitive, _) => match primitive {
                Primitive::Null => value.is_null(),
                Primitive::Boolean => value.is_boolean(),
                Primitive::Int => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                Primitive::Long => value.as_i64().is_some(),
                Primitive::Float | Primitive::Double => value.is_number(),
                Primitive::Bytes | Primitive::String => value.is_string(),
            },
            Type::Array(items, _) => {
                value.as_array().is_some_and(|list| list.iter().all(|item| self.is_default(items, item)))
            }
            Type::Map(values, _) => {
                value.as_object().is_some_and(|object| object.values().all(|value| self.is_default(values, value)))
            }
            Type::Union(branches) => branches.iter().any(|branch| self.is_default(branch, value)),
            Type::Named(name) => match self.named.get(name).map(|named| &named.kind) {
                Some(NamedKind::Enum { symbols, .. }) => {
                    value.as_str().is_some_and(|text| symbols.iter().any(|symbol| symbol == text))
                }
                Some(NamedKind::Fixed { .. }) => value.is_string(),
                Some(NamedKind::Record { fields, .. }) => value.as_object().is_some_and(|object| {
                    // A missing field takes its own default, which is checked where it is written.
                    fields.iter().all(|field| match object.get(&field.name) {
                        Some(value) => self.is_default(&field.schema, value),
                        None => field.default.is_some(),
                    })
                }),
                None => false,
            },
        }
    }
}
