//! Schemas as a registry reads them: whether a text is a schema, which texts are one schema, and what is stored.
//!
//! ```text
//! submitted   { "type" : "int" }         schemaType AVRO
//! stored      "int"                      canonical(): what a client gets
//! identity    "int"                      identity(): equal texts have one id
//! ```
//!
//! `format` compiles schemas into readers and writers of payloads; what is compared, stored and printed is here.

pub mod json;
pub mod proto;

use crate::catalog::{SchemaText, SchemaType};
pub use crate::format::avro_tree as avro;

use avro::AvroSchema;
use json::JsonSchema;
use proto::ProtobufSchema;

/// A schema of any language.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// Avro.
    Avro(AvroSchema),
    /// Protobuf.
    Protobuf(ProtobufSchema),
    /// JSON Schema.
    Json(JsonSchema),
}

impl Parsed {
    /// Reads a text with its references. `checked` = also what only matters for a new schema: that defaults fit their types.
    pub fn parse(schema: &SchemaText, checked: bool) -> Result<Parsed, String> {
        let references = || schema.references.iter().map(|reference| (reference.name.as_str(), &*reference.text));
        match schema.kind {
            SchemaType::Avro => {
                let texts = references().map(|(_, text)| text);
                AvroSchema::parse(&schema.text, texts, checked).map(Parsed::Avro)
            }
            SchemaType::Json => JsonSchema::parse(&schema.text, references()).map(Parsed::Json),
            SchemaType::Protobuf => ProtobufSchema::parse(schema).map(Parsed::Protobuf),
        }
    }

    /// The text to store. Protobuf is stored as it was submitted, with its comments and options.
    pub fn canonical(&self, submitted: &str) -> String {
        match self {
            Parsed::Avro(schema) => schema.canonical(),
            Parsed::Protobuf(_) => submitted.to_owned(),
            Parsed::Json(schema) => schema.canonical(),
        }
    }

    /// The text to store for `normalize=true`: equal for texts that differ in the order of attributes only.
    pub fn normalized(&self, submitted: &str) -> String {
        match self {
            Parsed::Avro(schema) => schema.normalized(),
            Parsed::Protobuf(_) => submitted.to_owned(),
            Parsed::Json(schema) => schema.normalized(),
        }
    }

    /// Equal for texts that are one schema.
    pub fn identity(&self) -> String {
        match self {
            Parsed::Avro(schema) => schema.canonical(),
            Parsed::Protobuf(schema) => schema.identity(),
            Parsed::Json(schema) => schema.canonical(),
        }
    }

    /// The same for `normalize=true`.
    pub fn normalized_identity(&self) -> String {
        match self {
            Parsed::Avro(schema) => schema.normalized(),
            Parsed::Protobuf(schema) => schema.identity(),
            Parsed::Json(schema) => schema.normalized(),
        }
    }
}
