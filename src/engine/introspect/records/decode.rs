//! Bytes of a record as JSON: by the columns of a stream or table, or by what they look like.
//!
//! ```text
//! declared  {"SPEED":12.5}    by the formats and columns of the source over the topic; else it is bad, with the reason
//! json      {"speed":12.5}    as it is written
//! kafka     12 (BIGINT) -> 12 Kafka's own serialisers, by the number of bytes
//! text      what PRINT shows: text, a number, a payload with a registered schema, else base64
//! hex       0a1b2c
//! ```

use crate::catalog::{Format, Source};
use crate::engine::introspect::print_framed::Framed;
use crate::error::{Error, Result};
use crate::execute::pipeline::Scan;
use crate::execute::record::source::SourceDecoder;
use crate::format::Encoder;
use crate::format::frame::SharedSchemas;
use crate::log::RecordRef;
use crate::types::{Column, Role};
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// How records are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a stream or table over the topic declares them.
    Declared,
    /// JSON.
    Json,
    /// Kafka's own serialisers.
    Kafka,
    /// What the bytes look like.
    Text,
    /// Hexadecimal digits.
    Hex,
}

impl Form {
    /// The form of this name.
    pub fn named(name: &str) -> Option<Form> {
        Some(match name {
            "declared" => Form::Declared,
            "json" => Form::Json,
            "kafka" => Form::Kafka,
            "text" => Form::Text,
            "hex" => Form::Hex,
            _ => return None,
        })
    }
}

/// Why a record cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPart {
    /// What is wrong.
    pub reason: String,
    /// Where in the payload: a column, and a path into it.
    pub path: Option<String>,
}

impl BadPart {
    pub(super) fn of(reason: String) -> BadPart {
        // `value: column A->B: the text at byte 5 is no DOUBLE`
        let path = reason.split_once("column ").and_then(|(_, rest)| rest.split_once(": "));
        let path = path.map(|(path, _)| path.trim_matches('`').to_owned());
        BadPart { reason, path }
    }
}

/// Key, value and window of a record.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) key: Option<Value>,
    pub(super) value: Option<Value>,
    pub(super) window: Option<(i64, i64)>,
    pub(super) bad: Option<BadPart>,
}

/// Decodes the records of one topic.
pub(super) enum Decoding {
    /// By a source.
    Declared(Box<Declared>),
    /// By what they look like.
    Sniffed(Box<Framed>),
    /// In one of the other forms.
    Plain(Form),
}

impl Decoding {
    pub(super) fn new(
        form: Form,
        source: Option<&Arc<Source>>,
        topic: &str,
        schemas: SharedSchemas,
    ) -> Result<Decoding> {
        Ok(match (form, source) {
            (Form::Declared, Some(source)) => Decoding::Declared(Box::new(Declared::new(source, schemas)?)),
            // Nothing is declared: shown as PRINT shows it.
            (Form::Declared | Form::Text, _) => Decoding::Sniffed(Box::new(Framed::new(schemas, topic))),
            (form, _) => Decoding::Plain(form),
        })
    }

    pub(super) fn begin(&mut self) {
        if let Decoding::Sniffed(framed) = self {
            framed.begin();
        }
    }

    pub(super) fn decode(&mut self, partition: i32, record: &RecordRef<'_>) -> Decoded {
        match self {
            Decoding::Declared(declared) => {
                declared.decode(partition, record).unwrap_or_else(|e| failed(e.to_string()))
            }
            Decoding::Sniffed(framed) => {
                let (key, value) = framed.sides(record);
                let key = key.map(|read| read.text);
                // What is JSON is data, not a text.
                let value = value.map(|read| {
                    serde_json::from_str(&read.text).ok().filter(Value::is_object).unwrap_or(Value::String(read.text))
                });
                Decoded { key: key.map(Value::String), value, ..Decoded::default() }
            }
            Decoding::Plain(form) => {
                let (key, value) = (plain(*form, record.key), plain(*form, record.value));
                let reason = |part: &str, read: &Result<Option<Value>, String>| {
                    read.as_ref().err().map(|reason| format!("{part}: {reason}"))
                };
                let bad = reason("key", &key).or_else(|| reason("value", &value)).map(BadPart::of);
                Decoded { key: key.unwrap_or_default(), value: value.unwrap_or_default(), window: None, bad }
            }
        }
    }
}

fn failed(reason: String) -> Decoded {
    Decoded { bad: Some(BadPart::of(reason)), ..Decoded::default() }
}

fn plain(form: Form, bytes: Option<&[u8]>) -> Result<Option<Value>, String> {
    let Some(bytes) = bytes else { return Ok(None) };
    Ok(Some(match form {
        Form::Json => serde_json::from_slice(bytes).map_err(|e| format!("it is not JSON: {e}"))?,
        Form::Hex => Value::String(hex(bytes)),
        Form::Kafka => match bytes.len() {
            4 => Value::from(i32::from_be_bytes(<[u8; 4]>::try_from(bytes).map_err(|e| e.to_string())?)),
            8 => Value::from(i64::from_be_bytes(<[u8; 8]>::try_from(bytes).map_err(|e| e.to_string())?)),
            _ => Value::String(std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?.to_owned()),
        },
        Form::Declared | Form::Text => Value::String(String::from_utf8_lossy(bytes).into_owned()),
    }))
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Decodes as a query over the source would: a record is taken as a whole or not at all.
pub(super) struct Declared {
    scan: Scan,
    schemas: SharedSchemas,
    partitions: BTreeMap<i32, SourceDecoder>,
    key: Option<Encoder>,
    value: Option<Encoder>,
    /// The only value column is not wrapped in an object.
    next: u64,
}

impl Declared {
    fn new(source: &Arc<Source>, schemas: SharedSchemas) -> Result<Declared> {
        let key: Vec<Column> = source.schema.key.clone();
        let payload = |column: &&Column| column.role == Role::Value;
        let value: Vec<Column> = source.schema.value.iter().filter(payload).cloned().collect();
        let indices = source.schema.value.iter().enumerate().filter(|(_, c)| c.role == Role::Value);
        let scan = Scan {
            source: source.clone(),
            key: (0..key.len()).collect(),
            value: indices.map(|(index, _)| index).collect(),
            row_partition: false,
            row_offset: false,
        };
        let encoder = |columns: &[Column], bare| match columns.is_empty() {
            true => Ok(None),
            false => Encoder::new(Format::Json, columns, bare).map(Some),
        };
        Ok(Declared {
            key: encoder(&key, true)?,
            value: encoder(&value, false)?,
            scan,
            schemas,
            partitions: BTreeMap::new(),
            next: 0,
        })
    }

    fn decode(&mut self, partition: i32, record: &RecordRef<'_>) -> Result<Decoded> {
        let decoder = match self.partitions.entry(partition) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(SourceDecoder::new(&self.scan, partition, &self.schemas)?)
            }
        };
        self.next += 1;
        let mut bad = Vec::new();
        decoder.push(record, self.next, &mut bad);
        let batches = decoder.finish(&mut bad)?;
        if let Some(bad) = bad.pop() {
            return Ok(failed(bad.reason));
        }
        let Some(batch) = batches.first().filter(|batch| !batch.seq.is_empty()) else {
            return Err(Error::bug("a record was decoded to nothing"));
        };
        let key = encoded(self.key.as_mut(), &batch.key, batch.key_present.as_ref())?;
        let value =
            encoded(self.value.as_mut(), &batch.new.columns[..self.scan.value.len()], batch.new.present.as_ref())?;
        let window = batch.window.as_ref().map(|window| (window.start[0], window.end[0]));
        Ok(Decoded { key, value, window, bad: None })
    }
}

/// The one row of these columns as JSON; `None` = it has no image, or no columns.
fn encoded(encoder: Option<&mut Encoder>, columns: &[ArrayRef], present: Option<&NullBuffer>) -> Result<Option<Value>> {
    let Some(encoder) = encoder.filter(|_| !columns.is_empty()) else { return Ok(None) };
    let (mut data, mut ranges) = (Vec::new(), Vec::new());
    let bad = encoder.encode(columns, present, 1, &mut data, &mut ranges)?;
    if let Some((_, bad)) = bad.into_iter().next() {
        return Err(Error::data(bad.reason));
    }
    let Some(range) = ranges.pop().flatten() else { return Ok(None) };
    serde_json::from_slice(&data[range])
        .map(Some)
        .map_err(|e| Error::bug(format!("JSON was written that cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_bad_value_is_found() {
        let bad = |reason: &str| BadPart::of(reason.to_owned()).path;
        assert_eq!(bad("value: column A->B: the text at byte 5 is no DOUBLE").as_deref(), Some("A->B"));
        assert_eq!(bad("key: column `K`: INTEGER takes 4 bytes, the payload has 3").as_deref(), Some("K"));
        assert_eq!(bad("value: the payload is not valid JSON at byte 1"), None);
    }

    #[test]
    fn bytes_are_read_in_plain_forms() {
        assert_eq!(plain(Form::Hex, Some(b"\x0a\xff")), Ok(Some(Value::from("0aff"))));
        assert_eq!(plain(Form::Kafka, Some(&7_i64.to_be_bytes())), Ok(Some(Value::from(7))));
        assert_eq!(plain(Form::Json, None), Ok(None));
        assert!(plain(Form::Json, Some(b"{")).is_err());
        let large = plain(Form::Json, Some(b"9007199254740993")).unwrap().unwrap();
        assert_eq!(large.to_string(), "9007199254740993");
    }
}
