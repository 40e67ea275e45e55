//! JSON_SR: JSON by the schemas of a registry (ksqlDB's `JsonSchemaFormat`, Connect's `JsonSchemaConverter`).
//!
//! ```text
//! schema     a JSON Schema and what it refers to
//! shape      what it says of one value, in Connect's types
//! infer      schema to columns
//! translate  columns to schema
//! plan, read    a writer's schema and columns to a plan; payloads to columns by it
//! write      columns to payloads, by a schema
//! framed     the payloads with their frame
//! ```
//!
//! A payload is JSON by the rules of Connect's converter, which are stricter than those of the format JSON: names are those of the
//! writer's schema, types are not coerced, and a MAP is an array of entries unless the schema says otherwise.

mod framed;
mod infer;
mod plan;
mod read;
mod schema;
mod shape;
mod translate;
mod write;

pub(super) use framed::{Reader, Writer};

pub(crate) use schema::Schema;

use crate::catalog::SchemaText;
use crate::types::SqlType;

/// Parses a schema with its references.
pub(crate) fn parse(schema: &SchemaText) -> Result<Schema, String> {
    let references: Vec<_> = schema.references.iter().map(|r| (r.name.as_str(), &*r.text)).collect();
    schema::parse(&schema.text, &references)
}

/// The type of a whole payload.
pub(super) fn payload_type(schema: &Schema, upper_case: bool) -> Result<SqlType, String> {
    infer::payload(schema, upper_case)
}

/// The schema of an object of these columns, or of the only one.
pub(super) fn columns_to_text(columns: &[(&str, &SqlType)], unwrapped: bool) -> String {
    match columns {
        [(_, ty)] if unwrapped => translate::nullable(ty),
        columns => translate::object(columns),
    }
    .to_string()
}
