//! Payloads that name a registered schema, as PRINT shows them: decoded by that schema, as JSON.
//!
//! ```text
//! 00 00000007 02 04    schema 7 is AVRO    {"A":1,"B":2}     format: AVRO
//! 00 00000009 ...      no schema 9         shown as bytes are
//! ```
//!
//! What only looks like a frame is left to [`sniff`](crate::format::sniff): an id without a schema, a payload that its schema does not
//! describe.

use crate::catalog::{Format, SchemaRef, SchemaText, SchemaType, Wire};
use crate::execute::record::schema_headers::SchemaHeaders;
use crate::format::frame::{self, SharedSchemas, Writer};
use crate::format::schema::{Inference, message_path, schema_names, schema_to_columns};
use crate::format::sniff::{self, Readable};
use crate::format::{Decoder, Encoder, Side};
use crate::log::RecordRef;
use crate::types::{Column, SqlType};
use std::collections::HashMap;

/// Schemas whose decoders are kept: a topic has a few.
const DECODERS_MAX: usize = 256;

/// Shows the framed payloads of one topic.
pub(in crate::engine) struct Framed {
    schemas: SharedSchemas,
    topic: String,
    /// By id and message; `None` = it cannot be read.
    decoders: HashMap<(SchemaRef, Vec<i32>), Option<Shown>>,
    /// Why the registry did not respond: nothing more is asked in this round.
    away: Option<String>,
}

/// A schema as it is shown.
struct Shown {
    format: &'static str,
    decoder: Decoder,
    encoder: Encoder,
}

impl Framed {
    pub(in crate::engine) fn new(schemas: SharedSchemas, topic: &str) -> Framed {
        Framed { schemas, topic: topic.to_owned(), decoders: HashMap::new(), away: None }
    }

    /// A new round begins: the registry may respond again.
    pub(in crate::engine) fn begin(&mut self) {
        self.away = None;
    }

    /// Why some payloads are not shown decoded.
    pub(in crate::engine) fn trouble(&self) -> Option<&str> {
        self.away.as_deref()
    }

    /// Key and value of a record: by the schemas that they name, in front of them or in a header; else as their bytes look.
    pub(in crate::engine) fn sides(&mut self, record: &RecordRef<'_>) -> (Option<Readable>, Option<Readable>) {
        let (key, value) = SchemaHeaders::ANY.framed(record);
        let key = record.key.zip(key).map(|(bytes, framed)| self.key(&framed).unwrap_or_else(|| sniff::key(bytes)));
        let value = record.value.zip(value);
        (key, value.map(|(bytes, framed)| self.value(&framed).unwrap_or_else(|| sniff::value(bytes))))
    }

    /// A value, if it is framed and can be read.
    fn value(&mut self, bytes: &[u8]) -> Option<Readable> {
        self.read(bytes, "value")
    }

    /// A key. That of a windowed table ends with the start of its window.
    fn key(&mut self, bytes: &[u8]) -> Option<Readable> {
        frame::id_of(bytes)?;
        if let Some((inner, start)) = sniff::window_of(bytes)
            && let Some(Readable { text, format }) = self.read(inner, "key")
        {
            return Some(Readable { text: format!("{text} @ {start}"), format });
        }
        self.read(bytes, "key")
    }

    fn read(&mut self, bytes: &[u8], part: &str) -> Option<Readable> {
        let (id, rest) = frame::split(bytes).ok()?;
        if self.away.is_none() && self.schemas.is_due(id) {
            self.away = self.schemas.resolve(id, &format!("{}-{part}", self.topic)).err();
        }
        let Writer::Known(schema) = self.schemas.get(id) else { return None };
        let message = match schema.kind {
            SchemaType::Protobuf => frame::message_indexes(rest)?.0,
            SchemaType::Avro | SchemaType::Json => Vec::new(),
        };
        if self.decoders.len() >= DECODERS_MAX {
            self.decoders.clear();
        }
        let schemas = &self.schemas;
        let shown =
            self.decoders.entry((id, message)).or_insert_with_key(|(_, message)| Shown::of(&schema, message, schemas));
        shown.as_mut()?.read(bytes)
    }
}

impl Shown {
    fn of(schema: &SchemaText, message: &[i32], schemas: &SharedSchemas) -> Option<Shown> {
        let format = match schema.kind {
            SchemaType::Avro => Format::Avro,
            SchemaType::Protobuf => Format::Protobuf,
            SchemaType::Json => Format::JsonSr,
        };
        let full_name = match schema.kind {
            SchemaType::Protobuf => {
                let mut names = schema_names(schema).ok()?.into_iter();
                names.find(|name| message_path(schema, Some(name)).is_ok_and(|(_, path)| path == message))
            }
            SchemaType::Avro | SchemaType::Json => None,
        };
        let columns = |unwrapped| {
            let full_name = full_name.as_deref();
            schema_to_columns(schema, &Inference { key: false, unwrapped, full_name, upper_case: false })
        };
        let (columns, unwrapped) = match columns(false) {
            Ok(columns) => (columns, false),
            Err(_) => (columns(true).ok()?, true),
        };
        let column = |(name, ty): (String, SqlType)| Column::value(&name, ty);
        let columns: Vec<Column> = columns.into_iter().map(column).collect();
        let wanted: Vec<usize> = (0..columns.len()).collect();
        let side = Side { format, columns: &columns, unwrapped, wire: &Wire::default() };
        Some(Shown {
            format: format.name(),
            decoder: Decoder::of(side, &wanted, schemas).ok()?,
            encoder: Encoder::new(Format::Json, &columns, unwrapped).ok()?,
        })
    }

    fn read(&mut self, bytes: &[u8]) -> Option<Readable> {
        self.decoder.push(Some(bytes)).ok()?;
        let (columns, present) = self.decoder.finish();
        let (mut data, mut ranges) = (Vec::new(), Vec::new());
        let bad = self.encoder.encode(&columns, present.as_ref(), 1, &mut data, &mut ranges).ok()?;
        if !bad.is_empty() {
            return None;
        }
        let text = match ranges.pop().flatten() {
            Some(range) => String::from_utf8(data[range].to_vec()).ok()?,
            None => "null".to_owned(),
        };
        Some(Readable { text, format: self.format })
    }
}
