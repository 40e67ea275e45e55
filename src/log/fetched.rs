//! Records on their way in: one poll is a list of runs, and a run keeps the fetch buffer of its log alive, so that no payload
//! is copied before it is decoded.
//!
//! ```text
//! Fetched { runs: [Run { slot: 0, offsets 7, 8, 9 }, Run { slot: 2, offsets 4, 6 }] }     one match per run, none per record
//! ```

use super::{Header, embedded, kafka};
use std::ops::Range;
use std::sync::Arc;

/// One record, borrowed from the fetch buffer.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Offset in its partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key bytes; `None` = null.
    pub key: Option<&'a [u8]>,
    /// Value bytes; `None` = null (a tombstone where the topic feeds a table).
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: HeadersRef<'a>,
}

/// Headers of a record. Most records have none, so decoding is left to the caller.
#[derive(Clone, Copy, Debug, Default)]
pub enum HeadersRef<'a> {
    /// No headers.
    #[default]
    None,
    /// Headers already decoded.
    Decoded(&'a [Header]),
    /// The embedded log's bytes, decoded by [`HeadersRef::to_vec`].
    Encoded(embedded::RawHeaders<'a>),
    /// librdkafka's header list, decoded by [`HeadersRef::to_vec`].
    Kafka(kafka::RawHeaders<'a>),
}

impl HeadersRef<'_> {
    /// All headers, in order.
    pub fn to_vec(&self) -> Vec<Header> {
        match self {
            HeadersRef::None => Vec::new(),
            HeadersRef::Decoded(headers) => headers.to_vec(),
            HeadersRef::Encoded(raw) => raw.to_vec(),
            HeadersRef::Kafka(raw) => raw.to_vec(),
        }
    }
}

/// Records of one poll. The runs of a slot are contiguous, and its records in offset order.
#[derive(Debug, Default)]
pub struct Fetched {
    runs: Vec<Run>,
}

/// Consecutive records of one slot.
#[derive(Debug)]
pub struct Run {
    /// Index into the reader's assignment list.
    pub slot: usize,
    records: Records,
}

/// A batch of the log that several readers take, and the part of it that a run is.
#[derive(Debug)]
pub struct SharedPart {
    /// A number that no other batch of the process has.
    pub id: u64,
    /// All records of the batch.
    pub all: Run,
    /// Which of them the run consists of.
    pub records: Range<usize>,
}

/// Payload holders: each keeps the fetch buffer alive.
#[derive(Debug)]
enum Records {
    Owned(Arc<[OwnedRecord]>, Range<usize>),
    Block(embedded::Block),
    Kafka(kafka::Messages),
}

/// A record that owns its bytes: the simulated log, tests, `INSERT VALUES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Value bytes.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<Header>,
}

impl Fetched {
    /// Runs in the order in which they arrived.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs, each of which keeps its buffer alive.
    pub fn into_runs(self) -> Vec<Run> {
        self.runs
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    /// No records?
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds a run of owned records.
    pub fn push_owned(&mut self, slot: usize, records: Arc<[OwnedRecord]>, range: Range<usize>) {
        if !range.is_empty() {
            self.runs.push(Run { slot, records: Records::Owned(records, range) });
        }
    }

    /// Adds a run of the embedded log.
    pub fn push_block(&mut self, slot: usize, block: embedded::Block) {
        if block.len() > 0 {
            self.runs.push(Run { slot, records: Records::Block(block) });
        }
    }

    /// Adds a run of librdkafka messages.
    pub fn push_kafka(&mut self, slot: usize, messages: kafka::Messages) {
        if messages.len() > 0 {
            self.runs.push(Run { slot, records: Records::Kafka(messages) });
        }
    }
}

impl Run {
    /// Number of records, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a run is never empty")]
    pub fn len(&self) -> usize {
        match &self.records {
            Records::Owned(_, range) => range.len(),
            Records::Block(block) => block.len(),
            Records::Kafka(messages) => messages.len(),
        }
    }

    /// The batch of which it is a part, if other readers take the same one; `None` = no other reader has these records.
    pub fn shared(&self) -> Option<SharedPart> {
        let Records::Block(block) = &self.records else { return None };
        let (id, all, records) = block.shared()?;
        Some(SharedPart { id, all: Run { slot: self.slot, records: Records::Block(all) }, records })
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        match &self.records {
            Records::Owned(records, range) => {
                let size = |r: &OwnedRecord| r.key.as_ref().map_or(0, Vec::len) + r.value.as_ref().map_or(0, Vec::len);
                records[range.clone()].iter().map(|r| size(r) as u64).sum()
            }
            Records::Block(block) => block.bytes(),
            Records::Kafka(messages) => messages.bytes(),
        }
    }

    /// Calls `each` for every record in order. One match per run, none per record.
    pub fn for_each(&self, mut each: impl FnMut(RecordRef<'_>)) {
        match &self.records {
            Records::Owned(records, range) => {
                for r in &records[range.clone()] {
                    each(RecordRef {
                        offset: r.offset,
                        timestamp: r.timestamp,
                        key: r.key.as_deref(),
                        value: r.value.as_deref(),
                        headers: if r.headers.is_empty() { HeadersRef::None } else { HeadersRef::Decoded(&r.headers) },
                    });
                }
            }
            Records::Block(block) => block.for_each(each),
            Records::Kafka(messages) => messages.for_each(each),
        }
    }

    /// Headers of the record at `index`. Decoding them costs more than a small record, so callers do so only for rows that they
    /// write.
    pub fn headers(&self, index: usize) -> Vec<Header> {
        match &self.records {
            Records::Owned(records, range) => records[range.start + index].headers.clone(),
            Records::Block(block) => block.headers(index),
            Records::Kafka(messages) => messages.headers(index),
        }
    }

    /// Timestamp of the first record, by which a task chooses its next input.
    pub fn first_timestamp(&self) -> i64 {
        match &self.records {
            Records::Owned(records, range) => records[range.start].timestamp,
            Records::Block(block) => block.first_timestamp(),
            Records::Kafka(messages) => messages.first_timestamp(),
        }
    }

    /// Offset of the first record.
    pub fn first_offset(&self) -> i64 {
        match &self.records {
            Records::Owned(records, range) => records[range.start].offset,
            Records::Block(block) => block.first_offset(),
            Records::Kafka(messages) => messages.first_offset(),
        }
    }
}
