//! Records on their way out: one buffer for the bytes of all records of a topic, and ranges of it per record.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name; not unique.
    pub key: String,
    /// Bytes; `None` = null.
    pub value: Option<Vec<u8>>,
}

/// Records to be written to one topic, in order.
#[derive(Clone, Debug, Default)]
pub struct RecordSet {
    /// Key and value bytes of all records.
    pub data: Vec<u8>,
    /// The records.
    pub rows: Vec<Row>,
    /// Headers by row index, ascending; rows without headers are absent.
    pub headers: Vec<(u32, Vec<Header>)>,
}

/// A record to be written, without its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Partition, chosen by the caller (`partition::java`).
    pub partition: i32,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key bytes in `data`; `None` = null.
    pub key: Option<Range<usize>>,
    /// Value bytes in `data`; `None` = null.
    pub value: Option<Range<usize>>,
}

impl RecordSet {
    /// Adds one record, copying its bytes.
    pub fn push(&mut self, partition: i32, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut put = |bytes: Option<&[u8]>| {
            bytes.map(|b| {
                let start = self.data.len();
                self.data.extend_from_slice(b);
                start..self.data.len()
            })
        };
        let (key, value) = (put(key), put(value));
        self.rows.push(Row { partition, timestamp, key, value });
    }

    /// Puts all records of another set behind those of this one.
    pub fn append(&mut self, mut other: RecordSet) {
        if self.rows.is_empty() && self.data.is_empty() {
            *self = other;
            return;
        }
        let (bytes, rows) = (self.data.len(), self.rows.len() as u32);
        let behind = |range: Range<usize>| range.start + bytes..range.end + bytes;
        self.data.append(&mut other.data);
        self.rows.extend(other.rows.into_iter().map(|row| Row {
            key: row.key.map(behind),
            value: row.value.map(behind),
            ..row
        }));
        self.headers.extend(other.headers.into_iter().map(|(row, headers)| (row + rows, headers)));
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No records?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Key bytes of a row.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        self.rows[row].key.clone().map(|r| &self.data[r])
    }

    /// Value bytes of a row.
    pub fn value(&self, row: usize) -> Option<&[u8]> {
        self.rows[row].value.clone().map(|r| &self.data[r])
    }

    /// Headers of a row.
    pub fn headers(&self, row: usize) -> &[Header] {
        match self.headers.binary_search_by_key(&(row as u32), |h| h.0) {
            Ok(at) => &self.headers[at].1,
            Err(_) => &[],
        }
    }

    /// Removes all records and keeps the allocated memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.rows.clear();
        self.headers.clear();
    }
}
