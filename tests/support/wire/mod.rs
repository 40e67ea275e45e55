//! AVRO, PROTOBUF and JSON_SR payloads as trees and back, by the formats' own rules and without the engine's codecs: what
//! these read is what any other client of a topic and its schema registry would read.
//!
//! A tree is JSON in the notation of ksqlDB's cases: DATE, TIME and TIMESTAMP are whole numbers, DECIMAL is a number with its
//! scale, BYTES are base64, a MAP is an object. Names are matched without regard to case when a tree is written, and a field
//! that is absent from the tree is NULL.

#![allow(dead_code, reason = "not every test target uses every format")]

mod avro;
mod decimal;
mod json_sr;
mod proto_read;
mod proto_text;
pub(crate) mod protobuf;

use serde_json::Value;

/// The first byte of every framed payload.
const MAGIC: u8 = 0;
/// The magic byte and the id of the schema.
const FRAME_BYTES: usize = 5;

/// What the registry calls the type of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaKind {
    Avro,
    Protobuf,
    Json,
}

impl SchemaKind {
    /// As `schemaType` says it; absent = AVRO.
    pub(crate) fn named(name: &str) -> Option<SchemaKind> {
        Some(match name.to_ascii_uppercase().as_str() {
            "AVRO" => SchemaKind::Avro,
            "PROTOBUF" => SchemaKind::Protobuf,
            "JSON" | "JSON_SR" => SchemaKind::Json,
            _ => return None,
        })
    }

    /// Of a format of SQL whose payloads have a schema in the registry.
    pub(crate) fn named_format(name: &str) -> Option<SchemaKind> {
        if name.eq_ignore_ascii_case("JSON") { None } else { SchemaKind::named(name) }
    }

    /// The name in the registry's API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SchemaKind::Avro => "AVRO",
            SchemaKind::Protobuf => "PROTOBUF",
            SchemaKind::Json => "JSON",
        }
    }
}

/// A text that a schema refers to, under the name by which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Referenced {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A schema that payloads are written and read with.
#[derive(Debug)]
pub(crate) enum Schema {
    Avro(avro::Avro),
    Protobuf(protobuf::File),
    Json(json_sr::JsonSchema),
}

impl Schema {
    /// Reads a schema; the texts that it refers to come with their own references before them.
    pub(crate) fn parse(kind: SchemaKind, text: &str, references: &[Referenced]) -> Result<Schema, String> {
        Ok(match kind {
            SchemaKind::Avro => Schema::Avro(avro::Avro::parse(text, references)?),
            SchemaKind::Protobuf => Schema::Protobuf(proto_text::parse(text, references)?),
            SchemaKind::Json => Schema::Json(json_sr::JsonSchema::parse(text, references)?),
        })
    }

    /// A framed payload. `message` is the full name of a PROTOBUF message; without it, the first of the schema is written.
    pub(crate) fn encode(&self, id: u32, message: Option<&str>, tree: &Value) -> Result<Vec<u8>, String> {
        let mut out = vec![MAGIC];
        out.extend(id.to_be_bytes());
        match self {
            Schema::Avro(schema) => schema.encode(tree, &mut out)?,
            Schema::Protobuf(file) => file.encode_indexed(message, tree, &mut out)?,
            Schema::Json(schema) => out.extend(schema.encode(tree)?.to_string().into_bytes()),
        }
        Ok(out)
    }

    /// The tree of a payload without its frame.
    pub(crate) fn decode(&self, payload: &[u8]) -> Result<Value, String> {
        match self {
            Schema::Avro(schema) => schema.decode(payload),
            Schema::Protobuf(file) => file.decode_indexed(payload),
            Schema::Json(schema) => schema.decode(payload),
        }
    }
}

/// The id of the schema in front of a payload, and the payload.
pub(crate) fn unframe(bytes: &[u8]) -> Result<(u32, &[u8]), String> {
    let (frame, payload) = bytes.split_first_chunk::<FRAME_BYTES>().ok_or("a payload is shorter than its frame")?;
    let [MAGIC, id @ ..] = frame else { return Err("a payload does not begin with the magic byte".to_owned()) };
    Ok((u32::from_be_bytes(*id), payload))
}

/// The value of a name in an object, without regard to case; an exact match comes first. NULL and absent are alike.
fn lookup<'a>(object: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    let exact = object.get(name);
    let found = exact.or_else(|| object.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

/// A scalar as text: strings as they are, anything else as JSON writes it.
fn scalar_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A whole number, from a number or from a text.
fn whole(value: &Value) -> Result<i64, String> {
    let text = scalar_text(value);
    let exact = text.parse().ok();
    exact
        .or_else(|| text.parse::<f64>().ok().filter(|x| x.fract() == 0.0).map(|x| x as i64))
        .ok_or_else(|| format!("{value} is not a whole number"))
}

/// A double, from a number or from a text.
fn double(value: &Value) -> Result<f64, String> {
    scalar_text(value).parse().map_err(|_| format!("{value} is not a number"))
}

/// A number of JSON; what JSON has no number for is its Java text.
fn json_double(x: f64) -> Value {
    let text = if x.is_nan() {
        "NaN"
    } else if x > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    serde_json::Number::from_f64(x).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}
