//! Lines of text as records of a stream or table, for `tidegate topic produce --into`.
//!
//! ```text
//! key    17                the only key column; a STRING is taken as it is, everything else is read as JSON
//!        {"A":1,"B":"x"}   key columns by name
//! value  {"SPEED":12.5}    columns by name, ROWTIME among them
//!        12.5              the only value column
//!        17,12.5           a text of the DELIMITED format, which is written as it is
//! ```
//!
//! The columns are encoded by the declared formats, as INSERT VALUES would.

use super::rows::{RowResult, encode, name, planned};
use crate::catalog::{Format, Source};
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::log::{Header, RecordSet, check_partition, partition};
use crate::parse::statement::SourceKind;
use crate::types::{Column, SqlType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt::Debug;
use std::sync::Arc;

/// Lines of one write.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NewLines {
    /// Key and value of each line; `None` = null.
    pub lines: Vec<(Option<String>, Option<String>)>,
    /// Their partition; `None` = that of their keys.
    pub partition: Option<u32>,
    /// Their time; `None` = ROWTIME of the value, or now.
    pub time: Option<i64>,
    /// Headers of each.
    pub headers: Vec<(String, String)>,
}

/// How a key or a value gets into its record.
enum Part {
    /// Encoded from the columns of the row.
    Encoded,
    /// As it is.
    Bytes(Vec<u8>),
    Null,
}

impl Engine {
    /// Writes the lines before the first one that is invalid, durably, and returns their number. It is an error if that is the
    /// first line. `target` is a name as in SQL.
    pub fn write_lines(&self, target: &str, new: &NewLines, session: &Session) -> Result<usize> {
        self.check_insert_target(target, session)?;
        let source = self.catalog().require(&name(target))?.clone();
        let info = self.log().topic(&source.topic)?;
        let partitions = info.map_or(source.partitions, |info| info.partitions);
        check_partition(&source.topic, new.partition, partitions)?;
        let writable = Arc::new(self.writable(&source, session)?.into_owned());
        let (mut plans, mut parts, mut failed) = (Vec::new(), Vec::new(), None);
        for (number, (key, value)) in new.lines.iter().enumerate() {
            let read = row_of(&source, key.as_deref(), value.as_deref())
                .and_then(|(row, key, value)| Ok((planned(&writable, &row, has_columns(&key))?, key, value)));
            match read {
                Ok((plan, key, value)) => {
                    plans.push((number, plan));
                    parts.push((key, value));
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut results: Vec<RowResult> = plans.iter().map(|_| Ok(())).collect();
        let now = self.clock().now_ms();
        let encoded = encode(&writable, plans, new.time.unwrap_or(now), &mut results)?;
        let mut set = RecordSet::default();
        for (row, (part_key, part_value)) in encoded.into_iter().zip(parts) {
            if row.row != set.len() {
                break;
            }
            let (key, value) = (part_key.bytes(row.key), part_value.bytes(row.value));
            let by_key = || key.as_deref().map_or(0, |key| partition::java(key, partitions));
            let to = new.partition.map_or_else(by_key, |partition| partition as i32);
            set.push(to, new.time.unwrap_or(row.timestamp), key.as_deref(), value.as_deref());
        }
        if set.is_empty() {
            return match (results.into_iter().find_map(std::result::Result::err), failed) {
                (Some(error), _) => Err(error.without_cause()),
                (None, Some(error)) => Err(error),
                (None, None) => Ok(0),
            };
        }
        if !new.headers.is_empty() {
            let headers = headers(&new.headers);
            set.headers = (0..set.len() as u32).map(|row| (row, headers.clone())).collect();
        }
        self.log().append(&source.topic, &set)?;
        self.reset_views_over(&source.topic);
        Ok(set.len())
    }
}

impl Part {
    fn bytes(self, encoded: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self {
            Part::Encoded => encoded,
            Part::Bytes(bytes) => Some(bytes),
            Part::Null => None,
        }
    }
}

/// Must the row have the columns of its key?
fn has_columns(key: &Part) -> bool {
    matches!(key, Part::Encoded)
}

/// Headers as the log has them.
pub fn headers(given: &[(String, String)]) -> Vec<Header> {
    given.iter().map(|(key, value)| Header { key: key.clone(), value: Some(value.clone().into_bytes()) }).collect()
}

/// The columns of a line, and what its key and its value are made of.
fn row_of(source: &Source, key: Option<&str>, value: Option<&str>) -> Result<(Map<String, Value>, Part, Part)> {
    let mut row = Map::new();
    let key = match key {
        None if source.kind == SourceKind::Table => {
            return Err(Error::data(format!("a record of table {} has a key", source.name))
                .with_hint("-k TEXT says what parts key and value of a line"));
        }
        None => Part::Null,
        Some(_) if source.schema.key.is_empty() => {
            return Err(Error::data(format!("{} has no key column", source.name)));
        }
        Some(text) => put(&mut row, text, &source.schema.key, source.key_format, "key")?,
    };
    let value = match value {
        None => Part::Null,
        Some(text) => put(&mut row, text, &source.schema.value, source.value_format, "value")?,
    };
    Ok((row, key, value))
}

/// Puts the columns of one text into the row.
fn put(row: &mut Map<String, Value>, text: &str, columns: &[Column], format: Format, part: &str) -> Result<Part> {
    let only = match columns {
        [only] => Some(only),
        _ => None,
    };
    let is_text = part == "key" && only.is_some_and(|only| only.ty == SqlType::String);
    if !is_text && let Ok(Value::Object(fields)) = serde_json::from_str(text) {
        row.extend(fields);
        return Ok(Part::Encoded);
    }
    if matches!(format, Format::Delimited(_)) {
        return Ok(Part::Bytes(text.as_bytes().to_vec()));
    }
    let Some(only) = only else {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        return Err(Error::data(format!("the {part} is not a JSON object of its columns"))
            .with_detail(format!("they are {}", names.join(", "))));
    };
    let given = match &only.ty {
        SqlType::String => Value::String(text.to_owned()),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    row.insert(crate::types::quoted(&only.name), given);
    Ok(Part::Encoded)
}
