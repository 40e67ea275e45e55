//! The size of a record as Kafka compares it with `max.message.bytes` (record batch format v2: `DefaultRecordBatch`,
//! `DefaultRecord`).
//!
//! The setting limits record batches. The size of a record is that of an uncompressed batch that contains it alone: a record
//! within the limit can always be written, by itself if necessary.
//!
//! ```text
//! record_bytes(Some(3), Some(10), &[]) = 61 (batch) + 1 (length) + 6 (attributes, deltas, lengths, headers) + 13 = 81
//! ```

use super::{Header, RecordSet};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Kafka's topic setting for the largest batch.
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// Limit of key + value + headers of a record: the length of a batch has to fit into 31 bits, with room to spare.
pub(super) const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of a batch header (`DefaultRecordBatch.RECORD_BATCH_OVERHEAD`).
const BATCH_BYTES: usize = 61;

/// Upper bound of a record's bytes besides key, value and headers: 61 of the batch, and lengths of at most 5 bytes each.
pub const OVERHEAD_BYTES_MAX: usize = 84;

/// The size of a record whose key and value have these lengths; `None` = null.
pub fn record_bytes(key: Option<usize>, value: Option<usize>, headers: &[Header]) -> usize {
    let field = |len: Option<usize>| varint_len(len.map_or(-1, |len| len as i64)) + len.unwrap_or_default();
    // Attributes, and the deltas of timestamp and offset, which are 0.
    let body = 3 + field(key) + field(value) + headers_len(headers);
    BATCH_BYTES + varint_len(body as i64) + body
}

/// Bytes of a record's headers, their count included.
pub(super) fn headers_len(headers: &[Header]) -> usize {
    let mut len = varint_len(headers.len() as i64);
    for h in headers {
        len += varint_len(h.key.len() as i64) + h.key.len();
        len += h.value.as_ref().map_or(1, |v| varint_len(v.len() as i64) + v.len());
    }
    len
}

/// Bytes of a number in Kafka's zigzag varint encoding (`ByteUtils.sizeOfVarlong`).
#[inline]
pub(super) fn varint_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}

/// The record size limit of a topic of the embedded log: its setting, or what a file can hold.
pub(super) fn limit(config: &BTreeMap<String, String>) -> usize {
    let set = config.get(MAX_MESSAGE_BYTES).and_then(|bytes| bytes.trim().parse().ok());
    set.map_or(RECORD_BYTES_MAX, |set: usize| set.min(RECORD_BYTES_MAX))
}

/// An error if one of these records exceeds the limit of the topic.
pub(super) fn check(topic: &str, limit: usize, records: &RecordSet) -> Result<()> {
    if records.headers.is_empty() && records.data.len().saturating_add(OVERHEAD_BYTES_MAX) <= limit {
        return Ok(());
    }
    for row in 0..records.len() {
        let (key, value) = (records.key(row).map(<[u8]>::len), records.value(row).map(<[u8]>::len));
        let bytes = record_bytes(key, value, records.headers(row));
        if bytes > limit {
            return Err(Error::data(format!("a record is too large for topic {topic}"))
                .with_detail(format!("it has {bytes} bytes, {MAX_MESSAGE_BYTES} is {limit}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_large_as_its_batch() {
        assert_eq!(record_bytes(Some(3), Some(10), &[]), 61 + 1 + 3 + 4 + 11 + 1);
        assert_eq!(record_bytes(None, None, &[]), 61 + 1 + 3 + 1 + 1 + 1);
        let header = Header { key: "h".to_owned(), value: Some(b"12".to_vec()) };
        assert_eq!(record_bytes(None, Some(0), &[header]), 61 + 1 + 3 + 1 + 1 + 1 + 2 + 3);
    }

    #[test]
    fn the_overhead_has_a_bound() {
        let (key, value) = (200_000_000, 2_000_000_000);
        assert!(record_bytes(Some(key), Some(value), &[]) <= key + value + OVERHEAD_BYTES_MAX);
    }
}
