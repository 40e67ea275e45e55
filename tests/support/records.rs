//! Records as text and back, by ksqlDB's wire rules and without the engine's codecs: what these read is what any other
//! client of the topic would read.
//!
//! `encode` takes text as a person writes it in a test or a case; `decode` gives back text of the same form:
//! JSON stays as it is on the wire, KAFKA scalars become their usual notation.

use std::time::Duration;
use tidegate::catalog::{Format, Source};
use tidegate::error::{Error, Result};
use tidegate::log::{Assignment, Header, Isolation, Log, Start, TopicPartition};
use tidegate::types::time::WindowKind;
use tidegate::types::{Column, SqlType};

/// Bytes of one side of a record; PROTOBUF_NOSR as `0x` and hexadecimal. No column or no source at all: the text itself.
pub(crate) fn encode(format: Format, columns: &[Column], text: &str) -> Result<Vec<u8>> {
    if let (Format::ProtobufNosr, Some(digits)) = (format, text.strip_prefix("0x")) {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16);
        let bytes: std::result::Result<Vec<u8>, _> = digits.as_bytes().chunks(2).map(byte).collect();
        return bytes.map_err(|e| Error::statement(format!("'{text}' is no bytes: {e}")));
    }
    let (Format::Kafka, Some(column)) = (format, columns.first()) else { return Ok(text.as_bytes().to_vec()) };
    let wrong = |e: &dyn std::fmt::Display| Error::statement(format!("'{text}' is no {}: {e}", column.ty));
    Ok(match column.ty {
        SqlType::Integer => text.parse::<i32>().map_err(|e| wrong(&e))?.to_be_bytes().to_vec(),
        SqlType::Bigint => text.parse::<i64>().map_err(|e| wrong(&e))?.to_be_bytes().to_vec(),
        SqlType::Double => text.parse::<f64>().map_err(|e| wrong(&e))?.to_bits().to_be_bytes().to_vec(),
        _ => text.as_bytes().to_vec(),
    })
}

/// Text of one side of a record; bytes that are no such value stand there as hexadecimal.
pub(crate) fn decode(format: Format, columns: &[Column], bytes: &[u8]) -> String {
    let number = match (format, columns.first().map(|c| &c.ty)) {
        (Format::Kafka, Some(SqlType::Integer)) => bytes.try_into().ok().map(|b| i32::from_be_bytes(b).to_string()),
        (Format::Kafka, Some(SqlType::Bigint)) => bytes.try_into().ok().map(|b| i64::from_be_bytes(b).to_string()),
        (Format::Kafka, Some(SqlType::Double)) => bytes.try_into().ok().map(|b| java_double(f64::from_be_bytes(b))),
        (Format::ProtobufNosr, _) => None,
        _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    number.unwrap_or_else(|| bytes.iter().fold("0x".to_owned(), |text, b| format!("{text}{b:02x}")))
}

/// Like Java's `Double.toString` in the range that tests use: a whole number keeps its `.0`, 1e7 and more have an exponent.
fn java_double(x: f64) -> String {
    match x.abs() {
        a if a != 0.0 && !(1e-3..1e7).contains(&a) && x.is_finite() => {
            let text = format!("{x:E}");
            match text.split_once('E') {
                Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
                _ => text,
            }
        }
        _ if x.fract() == 0.0 && x.is_finite() => format!("{x:.1}"),
        _ => format!("{x}"),
    }
}

/// A window of a record's key: type, first millisecond, end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyBounds {
    pub(crate) session: bool,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Puts a window's bytes behind the key: start for time windows, end and start for sessions.
pub(crate) fn with_window(mut key: Vec<u8>, window: KeyBounds) -> Vec<u8> {
    if window.session {
        key.extend(window.end.to_be_bytes());
    }
    key.extend(window.start.to_be_bytes());
    key
}

/// Takes them off again.
pub(crate) fn split_window<'a>(source: &Source, key: &'a [u8]) -> (&'a [u8], Option<KeyBounds>) {
    let Some(window) = &source.window else { return (key, None) };
    let last = |bytes: &'a [u8]| -> Option<(&'a [u8], i64)> {
        let (rest, tail) = bytes.split_last_chunk::<8>()?;
        Some((rest, i64::from_be_bytes(*tail)))
    };
    let split = last(key).and_then(|(rest, start)| match window.kind {
        WindowKind::Tumbling { size_ms } | WindowKind::Hopping { size_ms, .. } => {
            Some((rest, KeyBounds { session: false, start, end: start + size_ms }))
        }
        WindowKind::Session { .. } => last(rest).map(|(rest, end)| (rest, KeyBounds { session: true, start, end })),
    });
    split.map_or((key, None), |(rest, bounds)| (rest, Some(bounds)))
}

/// A record as it is in its topic.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "not every target looks at every field")]
pub(crate) struct Stored {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

/// Polls without a record after which a topic's end is given up on.
const SILENT_POLLS_MAX: usize = 100;
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// Records taken per poll.
const POLL_RECORDS: usize = 1_000;

/// All committed records of a topic, by partition and offset.
#[allow(dead_code, reason = "the conformance runner reads its tape instead")]
pub(crate) fn read_topic(log: &dyn Log, topic: &str) -> Result<Vec<Stored>> {
    let info = log.topic(topic)?.ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?;
    let (mut assignment, mut ends) = (Vec::new(), Vec::new());
    for partition in 0..info.partitions as i32 {
        assignment.push(Assignment { topic: topic.into(), partition, start: Start::Earliest });
        ends.push(log.watermarks(&TopicPartition::new(topic, partition))?.stable);
    }
    let mut reader = log.reader(assignment, Isolation::ReadCommitted)?;
    let (mut found, mut silent) = (Vec::new(), 0);
    while (0..ends.len()).any(|slot| reader.position(slot) < ends[slot]) {
        let fetched = reader.poll(POLL_RECORDS, POLL)?;
        silent = if fetched.is_empty() { silent + 1 } else { 0 };
        if silent > SILENT_POLLS_MAX {
            return Err(Error::io(format!("the end of topic {topic} is not reached")));
        }
        for run in fetched.runs() {
            run.for_each(|r| {
                found.push(Stored {
                    partition: run.slot as i32,
                    offset: r.offset,
                    timestamp: r.timestamp,
                    key: r.key.map(<[u8]>::to_vec),
                    value: r.value.map(<[u8]>::to_vec),
                    headers: r.headers.to_vec(),
                });
            });
        }
    }
    found.sort_by_key(|r| (r.partition, r.offset));
    Ok(found)
}
