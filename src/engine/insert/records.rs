//! Writing records to a topic: by the formats that a stream or table declares, or as they are given.
//!
//! ```text
//! declared  {"key":"a","value":{"SPEED":12.5}}    as INSERT VALUES with these values; a value of null is a tombstone
//! json      {"key":"a","value":{"speed":12.5}}    the texts "a" and {"speed":12.5}
//! text, hex, base64                               the bytes
//! ```
//!
//! Records of a request are appended at once. Their offsets are then read back: a log reports none for an append.

use super::rows::{Payloads, payloads_of};
use crate::catalog::Source;
use crate::catalog::topics::TopicUse;
use crate::engine::Engine;
use crate::engine::access::Role;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::log::{Assignment, Header, Isolation, RecordSet, Start, TopicPartition, partition};
use crate::types::base64;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Records of one request.
const RECORDS_MAX: usize = 1_000;
/// How long offsets are looked for; those that are not found by then are unknown.
const READ_BACK: Duration = Duration::from_secs(5);
/// How long one poll waits meanwhile, and records per poll.
const POLL_WAIT: Duration = Duration::from_millis(100);
const POLL_RECORDS: usize = 1_000;

/// How a key or a value is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// By the columns of a stream or table.
    Declared,
    /// A JSON text.
    Json,
    /// The bytes of a text.
    Text,
    /// Hexadecimal digits.
    Hex,
    /// Base64.
    Base64,
}

impl Payload {
    /// The form of this name.
    pub fn named(name: &str) -> Option<Payload> {
        Some(match name {
            "declared" => Payload::Declared,
            "json" => Payload::Json,
            "text" => Payload::Text,
            "hex" => Payload::Hex,
            "base64" => Payload::Base64,
            _ => return None,
        })
    }
}

/// A record to be written.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Its partition; `None` = that of its key.
    pub partition: Option<i32>,
    /// Its key; null = none.
    pub key: Value,
    /// Its value; null = a tombstone.
    pub value: Value,
    /// How both are given; `None` = declared, if a stream or table is, else JSON.
    pub form: Option<Payload>,
    /// Headers in order.
    pub headers: Vec<Header>,
    /// Its time; `None` = now.
    pub time: Option<i64>,
}

impl Engine {
    /// An error unless the session's user may write records to this topic.
    pub fn check_records_target(&self, topic: &str, session: &Session) -> Result<()> {
        self.check_alive()?;
        self.require(session.principal(), Role::Writer, "INSERT")?;
        self.check_topic(session, topic)?;
        self.inner.topics.check(topic, TopicUse::InsertValues)
    }

    /// Writes records durably. Returns partition and offset of each; an offset is `None` where it could not be found out.
    pub fn write_records(
        &self,
        topic: &str,
        records: &[NewRecord],
        source: Option<&str>,
        session: &Session,
    ) -> Result<Vec<(i32, Option<i64>)>> {
        self.check_records_target(topic, session)?;
        if records.is_empty() || records.len() > RECORDS_MAX {
            return Err(Error::statement(format!(
                "a request writes 1 to {RECORDS_MAX} records, not {}",
                records.len()
            )));
        }
        let info = self.log().topic(topic)?.ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?;
        let source = self.declared(topic, source, session)?;
        let mut set = RecordSet::default();
        for (row, record) in records.iter().enumerate() {
            let of_row = |e: Error| e.and_detail(&format!("in record {row}"));
            let (key, value) = self.payload(record, source.as_ref(), session).map_err(of_row)?;
            let by_key = || key.as_deref().map_or(0, |key| partition::java(key, info.partitions));
            let partition = record.partition.unwrap_or_else(by_key);
            if !(0..info.partitions as i32).contains(&partition) {
                return Err(of_row(Error::statement(format!("topic {topic} has no partition {partition}"))));
            }
            let time = record.time.unwrap_or_else(|| self.clock().now_ms());
            if time < 0 {
                return Err(of_row(Error::statement("a record's time is before 1970")));
            }
            set.push(partition, time, key.as_deref(), value.as_deref());
            if !record.headers.is_empty() {
                set.headers.push((row as u32, record.headers.clone()));
            }
        }
        let ends = self.ends(topic, &set)?;
        self.log().append(topic, &set)?;
        self.reset_views_over(topic);
        Ok(self.offsets(topic, &set, ends))
    }

    fn payload(&self, record: &NewRecord, source: Option<&Arc<Source>>, session: &Session) -> Result<Payloads> {
        let form = record.form.unwrap_or(if source.is_some() { Payload::Declared } else { Payload::Json });
        if form != Payload::Declared {
            return Ok((raw(form, &record.key)?, raw(form, &record.value)?));
        }
        let source = source.ok_or_else(|| {
            Error::statement("no stream or table is declared over the topic")
                .with_hint("give the record as json, text, hex or base64")
        })?;
        self.check_insert_target(&crate::types::quoted(&source.name), session)?;
        let mut row = Map::new();
        put(&mut row, &record.key, source.schema.key.iter().map(|column| column.name.as_str()), "key")?;
        let value: Vec<&str> = source.schema.value.iter().map(|column| column.name.as_str()).collect();
        let is_tombstone = record.value.is_null();
        if !is_tombstone {
            put(&mut row, &record.value, value.into_iter(), "value")?;
        }
        let writable = Arc::new(self.writable(source, session)?.into_owned());
        let (key, value) = payloads_of(&writable, &row)?;
        Ok((key, value.filter(|_| !is_tombstone)))
    }

    /// Where the partitions of these records end now.
    fn ends(&self, topic: &str, set: &RecordSet) -> Result<BTreeMap<i32, i64>> {
        let mut ends = BTreeMap::new();
        for row in &set.rows {
            if let std::collections::btree_map::Entry::Vacant(new) = ends.entry(row.partition) {
                new.insert(self.log().watermarks(&TopicPartition::new(topic, row.partition))?.high);
            }
        }
        Ok(ends)
    }

    /// The offsets that records got which were written behind these ends. Of equal ones, which were written at the same time by
    /// others too, it does not matter which is whose.
    fn offsets(&self, topic: &str, set: &RecordSet, ends: BTreeMap<i32, i64>) -> Vec<(i32, Option<i64>)> {
        let mut found: Vec<(i32, Option<i64>)> = set.rows.iter().map(|row| (row.partition, None)).collect();
        let topic: Arc<str> = topic.into();
        let slots: Vec<i32> = ends.keys().copied().collect();
        let start = |(&partition, &end): (&i32, &i64)| Assignment {
            topic: topic.clone(),
            partition,
            start: Start::Offset(end),
        };
        let Ok(mut reader) = self.log().reader(ends.iter().map(start).collect(), Isolation::ReadUncommitted) else {
            return found;
        };
        let deadline = self.clock().monotonic() + READ_BACK;
        let mut missing = found.len();
        while missing > 0 && self.clock().monotonic() < deadline {
            let Ok(fetched) = reader.poll(POLL_RECORDS, POLL_WAIT) else { break };
            for run in fetched.runs() {
                let partition = slots[run.slot];
                run.for_each(|record| {
                    let is_it = |row: usize| set.key(row) == record.key && set.value(row) == record.value;
                    let mut open = (0..set.len()).filter(|&row| set.rows[row].partition == partition);
                    if let Some(row) = open.find(|&row| found[row].1.is_none() && is_it(row)) {
                        found[row].1 = Some(record.offset);
                        missing -= 1;
                    }
                });
            }
        }
        found
    }
}

/// Puts the columns of a key or a value into a row: an object has them by name, anything else is the only column's.
fn put<'a>(
    row: &mut Map<String, Value>,
    given: &Value,
    columns: impl Iterator<Item = &'a str>,
    part: &str,
) -> Result<()> {
    let columns: Vec<&str> = columns.collect();
    match (given, columns.as_slice()) {
        (Value::Null, _) => {}
        (Value::Object(fields), _) => {
            fields.iter().for_each(|(name, value)| _ = row.insert(name.clone(), value.clone()))
        }
        (value, [only]) => _ = row.insert(crate::types::quoted(only), value.clone()),
        (_, columns) => {
            let text = format!("the {part} is to be an object of its columns");
            return Err(Error::statement(text).with_detail(format!("they are {}", columns.join(", "))));
        }
    }
    Ok(())
}

fn raw(form: Payload, given: &Value) -> Result<Option<Vec<u8>>> {
    let text = || match given {
        Value::String(text) => Ok(text.as_str()),
        other => Err(Error::statement(format!("{other} is no text"))),
    };
    Ok(match (given, form) {
        (Value::Null, _) => None,
        (value, Payload::Json | Payload::Declared) => Some(value.to_string().into_bytes()),
        (_, Payload::Text) => Some(text()?.as_bytes().to_vec()),
        (_, Payload::Base64) => {
            let mut out = Vec::new();
            let decoded = base64::decode_basic(text()?, &mut out);
            Some(decoded.map(|()| out).ok_or_else(|| Error::statement("it is not base64"))?)
        }
        (_, Payload::Hex) => Some(from_hex(text()?).ok_or_else(|| Error::statement("it is not hexadecimal"))?),
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
