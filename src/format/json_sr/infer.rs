//! A JSON Schema to columns (Connect's `JsonSchemaData`, then ksqlDB's `ConnectSchemaTranslator`).
//!
//! ```text
//! {"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"string"}}}    ->    A STRING, B BIGINT
//! {"type":"integer"}                     a column ROWVAL or ROWKEY of type BIGINT, if the side is unwrapped
//! ```
//!
//! A schema that contains itself has no STRUCT, and is refused with the path to it.

use super::schema::{Node, Schema};
use super::shape::{Ty, shape};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

/// Limit of fields in all STRUCTs together. Definitions that are used several times multiply.
const FIELDS_MAX: usize = 10_000;

/// Limit of nesting.
const DEPTH_MAX: usize = 100;

/// The field of the STRUCT that a union is, without its number.
pub(super) const UNION_FIELD: &str = "io.confluent.connect.json.OneOf.field.";

/// The type of a whole payload.
pub(super) fn payload(schema: &Schema, upper_case: bool) -> Result<SqlType, String> {
    Inference { upper_case, inside: vec![], count: 0 }.ty(schema.root(), "")
}

struct Inference<'a> {
    upper_case: bool,
    /// The schemas around.
    inside: Vec<Node<'a>>,
    /// Fields so far.
    count: usize,
}

impl<'a> Inference<'a> {
    fn ty(&mut self, node: Node<'a>, path: &str) -> Result<SqlType, String> {
        let node = node.followed()?;
        let place = || if path.is_empty() { "the payload" } else { path };
        if self.inside.iter().any(|outer| outer.is(&node)) {
            return Err(format!("the schema is recursive: {} is of a type around it", place()));
        }
        if self.inside.len() == DEPTH_MAX {
            return Err(format!("the schema is nested more than {DEPTH_MAX} deep at {}", place()));
        }
        self.inside.push(node);
        let ty = self.of(node, path)?;
        self.inside.pop();
        Ok(ty)
    }

    fn of(&mut self, node: Node<'a>, path: &str) -> Result<SqlType, String> {
        let text = || Box::new(SqlType::String);
        Ok(match shape(node)?.ty {
            Ty::Boolean => SqlType::Boolean,
            Ty::Int32 => SqlType::Integer,
            Ty::Int64 => SqlType::Bigint,
            Ty::Float32 | Ty::Float64 => SqlType::Double,
            Ty::String => SqlType::String,
            Ty::Bytes => SqlType::Bytes,
            Ty::Date => SqlType::Date,
            Ty::Time => SqlType::Time,
            Ty::Timestamp => SqlType::Timestamp,
            Ty::Decimal { precision, scale } => decimal(precision, scale, path)?,
            Ty::Array(items) => SqlType::Array(Box::new(self.ty(items, path)?)),
            Ty::Map(values) | Ty::Entries { value: values, .. } => {
                SqlType::Map(text(), Box::new(self.ty(values, path)?))
            }
            Ty::Struct(members) => {
                let named = members.into_iter().map(|(name, node)| (name.to_owned(), node));
                self.fields(named.collect(), path)?
            }
            Ty::Union(branches) => {
                let named = branches.into_iter().enumerate();
                self.fields(named.map(|(i, node)| (format!("{UNION_FIELD}{i}"), node)).collect(), path)?
            }
        })
    }

    fn fields(&mut self, members: Vec<(String, Node<'a>)>, path: &str) -> Result<SqlType, String> {
        let mut found: Vec<(String, SqlType)> = vec![];
        for (name, node) in members {
            self.count += 1;
            if self.count > FIELDS_MAX {
                return Err(format!("the schema has more than {FIELDS_MAX} fields"));
            }
            let ty = self.ty(node, &format!("{path}->{name}"))?;
            let name = if self.upper_case { name.to_uppercase() } else { name };
            if found.iter().any(|(other, _)| *other == name) {
                return Err(format!("Cannot create field because of field name duplication {name}"));
            }
            found.push((name, ty));
        }
        Ok(SqlType::Struct(found))
    }
}

fn decimal(precision: i64, scale: i64, path: &str) -> Result<SqlType, String> {
    if (1..=i64::from(DECIMAL_PRECISION_MAX)).contains(&precision) && (0..=precision).contains(&scale) {
        return Ok(SqlType::Decimal(precision as u8, scale as i8));
    }
    Err(format!(
        "{path} is a DECIMAL of precision {precision} and scale {scale}, and DECIMAL has {DECIMAL_PRECISION_MAX} digits at most"
    ))
}
