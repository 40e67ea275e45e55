//! Schemas of payloads: their text as a registry holds it, and how one side of a source (its key or its value) uses one.
//!
//! ```text
//! SchemaText { kind: Protobuf, text: "import \"b.proto\"; ...", references: [b.proto = version 2 of subject b] }
//! ```
//!
//! A text is not parsed here; `format` does that. All of it is resolved when a source is created and stored with the command
//! log: a service reads and writes its own topics without asking the registry again.

use super::{Format, SchemaRef};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The schema of one side, and what WITH says about it. Formats without a registry have the default, which says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wire {
    /// `KEY_SCHEMA_FULL_NAME`, `VALUE_SCHEMA_FULL_NAME`: the name of the record or message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// How PROTOBUF represents a NULL.
    #[serde(default, skip_serializing_if = "Nullable::is_default")]
    pub nullable: Nullable,
    /// The registered schema by which records are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Arc<WireSchema>>,
}

impl Wire {
    /// Whether it says nothing.
    pub fn is_default(&self) -> bool {
        *self == Wire::default()
    }
}

/// `*_PROTOBUF_NULLABLE_REPRESENTATION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nullable {
    /// A NULL is absent, and read as the default of its type.
    #[default]
    None,
    /// Fields are `optional`.
    Optional,
    /// Scalars are wrapped in `google.protobuf.*Value`.
    Wrapper,
}

impl Nullable {
    fn is_default(&self) -> bool {
        *self == Nullable::None
    }
}

/// A schema as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WireSchema {
    /// The subject, `<topic>-key` or `<topic>-value`.
    pub subject: String,
    /// Version below the subject.
    pub version: i32,
    /// The registry's id, which each payload carries.
    pub id: i32,
    /// `*_SCHEMA_ID` was given: names and types of the schema are used as they are, also where the columns would give others.
    #[serde(default)]
    pub by_id: bool,
    /// The schema itself.
    pub text: SchemaText,
    /// Which message of a PROTOBUF schema: an index per level of nesting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message: Vec<i32>,
}

impl WireSchema {
    /// How payloads that are written by it name it; `None` = no payload can.
    pub fn name(&self) -> Option<SchemaRef> {
        u32::try_from(self.id).ok().map(SchemaRef::Id)
    }
}

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

impl SchemaText {
    /// A schema that refers to no other.
    pub fn new(kind: SchemaType, text: impl Into<Arc<str>>) -> SchemaText {
        SchemaText { kind, text: text.into(), references: Vec::new() }
    }
}

impl Format {
    /// The language of the format's schemas; `None` = the format has no registry.
    pub fn schema_type(self) -> Option<SchemaType> {
        match self {
            Format::Avro => Some(SchemaType::Avro),
            Format::Protobuf => Some(SchemaType::Protobuf),
            Format::JsonSr => Some(SchemaType::Json),
            Format::None | Format::Kafka | Format::Json | Format::ProtobufNosr | Format::Delimited(_) => None,
        }
    }

    /// The format of keys inside of a query. Payloads of a format with a registry carry an id, so that one key has several
    /// forms there; inside, and in changelogs, such keys are JSON, where equal keys have equal bytes.
    pub fn internal(self) -> Format {
        if self.schema_type().is_some() { Format::Json } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let text = SchemaText {
            references: vec![Reference { name: "a.B".into(), subject: "b".into(), version: 3, text: "\"int\"".into() }],
            ..SchemaText::new(SchemaType::Avro, "\"a.B\"")
        };
        let schema =
            WireSchema { subject: "t-value".into(), version: 1, id: 7, by_id: true, text, message: vec![0, 1] };
        let wire = Wire { full_name: Some("a.C".into()), nullable: Nullable::Wrapper, schema: Some(Arc::new(schema)) };
        let stored = serde_json::to_string(&wire).unwrap();
        let golden = r#"{"full_name":"a.C","nullable":"wrapper","schema":{"subject":"t-value","version":1,"id":7,"by_id":true,"text":{"kind":"AVRO","text":"\"a.B\"","references":[{"name":"a.B","subject":"b","version":3,"text":"\"int\""}]},"message":[0,1]}}"#;
        assert_eq!(stored, golden);
        assert_eq!(serde_json::from_str::<Wire>(&stored).unwrap(), wire);
        assert_eq!(serde_json::to_string(&Wire::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Wire>("{}").unwrap(), Wire::default());
    }
}
