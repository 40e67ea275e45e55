//! Schemas of payloads: their text as a registry holds it.
//!
//! ```text
//! SchemaText { kind: Protobuf, text: "import \"b.proto\"; ...", references: [b.proto = version 2 of subject b] }
//! ```
//!
//! A text is not parsed here; `format` does that.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaType {
    /// Avro's JSON.
    Avro,
    /// The text of a `.proto` file, or a FileDescriptorProto in Base64.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl SchemaType {
    /// Its name in a registry's API.
    pub fn name(self) -> &'static str {
        match self {
            SchemaType::Avro => "AVRO",
            SchemaType::Protobuf => "PROTOBUF",
            SchemaType::Json => "JSON",
        }
    }

    /// The type of this name.
    pub fn by_name(name: &str) -> Option<SchemaType> {
        [SchemaType::Avro, SchemaType::Protobuf, SchemaType::Json].into_iter().find(|kind| kind.name() == name)
    }
}

/// A schema that another one refers to, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The name by which it is referred to: a full name in Avro, the path of an import in Protobuf, a `$ref` in JSON.
    pub name: String,
    /// The subject that holds it.
    pub subject: String,
    /// Its version there.
    pub version: i32,
    /// Its text. Its own references are before it in the list.
    pub text: Arc<str>,
}

/// A schema as a registry holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchemaText {
    /// Its language.
    pub kind: SchemaType,
    /// Its text.
    pub text: Arc<str>,
    /// What it refers to, directly or not: each after what it refers to itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
}
