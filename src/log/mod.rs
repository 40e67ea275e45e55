//! Topics: one trait, three implementations (`embedded`, `kafka`, `simulated`), one contract suite.
//!
//! Everything here is synchronous: workers are plain threads, and whoever sits on an async runtime hands the call to a
//! blocking thread. Records travel in batches whose payloads are never copied on the way in ([`Fetched`]) and are encoded
//! into one buffer on the way out ([`RecordSet`]).
//!
//! Promises, each held by the contract suite:
//! - A topic has an identity: a topic deleted and created again under its name has another [`TopicId`].
//! - Offsets ascend within a partition but may have gaps (transaction markers, compaction). A reader reports its
//!   *position*; "last offset + 1" means nothing.
//! - `read_committed` readers see whole transactions only, in offset order, and stop at the stable watermark.
//! - [`Session::commit`] is atomic over all its records, in any number of topics and partitions, and its offsets.
//! - A null key or value is not an empty one; header order and null header values are kept.
//! - A timestamp written is the timestamp read.

pub mod partition;
pub mod size;

mod span;
mod topic;

pub use span::{ALL_TIMES, Span};
pub use topic::{Identity, TopicId, TopicInfo, TopicSpec};

use crate::error::Result;
use std::fmt::Debug;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

/// What a reader is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Whole transactions only.
    ReadCommitted,
    /// Everything, open and aborted transactions too.
    ReadUncommitted,
}

/// Offsets of one partition. `low <= stable <= high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset that is kept.
    pub low: i64,
    /// First offset of the oldest open transaction, else `high`.
    pub stable: i64,
    /// Offset that the next record gets.
    pub high: i64,
}

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the low watermark.
    Earliest,
    /// At the end: new records only.
    Latest,
    /// At this offset, or the next one that exists.
    Offset(i64),
}

/// One partition and where to begin in it. Its place in the list is its *slot*: records name it instead of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// First record wanted.
    pub start: Start,
}

/// One record as it stands in the fetch buffer.
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
    /// Headers in order.
    pub headers: HeadersRef<'a>,
}

/// Headers of a record that was read. Most records have none, so reading them is left to whoever asks.
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

/// A header: its value may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name; not unique.
    pub key: String,
    /// Bytes; `None` = null.
    pub value: Option<Vec<u8>>,
}

/// Records of one poll. Runs of one slot are contiguous; each slot's records are in offset order.
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

    /// Takes the runs out, each of which keeps its buffer alive.
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

    /// Calls `each` for every record in order. One match a run, none a record.
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

    /// Headers of the record at `index`. Reading them costs more than decoding a small record, so that only what is written
    /// is asked for them.
    pub fn headers(&self, index: usize) -> Vec<Header> {
        match &self.records {
            Records::Owned(records, range) => records[range.start + index].headers.clone(),
            Records::Block(block) => block.headers(index),
            Records::Kafka(messages) => messages.headers(index),
        }
    }

    /// Timestamp of the first record: what a task looks at to choose its next input.
    pub fn first_timestamp(&self) -> i64 {
        match &self.records {
            Records::Owned(records, range) => records[range.start].timestamp,
            Records::Block(block) => block.first_timestamp(),
            Records::Kafka(messages) => messages.first_timestamp(),
        }
    }
}

/// Records to be written to one topic, in order: one buffer, and per record its ranges in it.
#[derive(Clone, Debug, Default)]
pub struct RecordSet {
    /// Key and value bytes of all records.
    pub data: Vec<u8>,
    /// The records.
    pub rows: Vec<Row>,
    /// Headers by row index, ascending; rows without headers are absent.
    pub headers: Vec<(u32, Vec<Header>)>,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Partition, chosen by the writer's caller (`partition::java`).
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

    /// Forgets all records, keeping the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.rows.clear();
        self.headers.clear();
    }
}

/// A committed input offset: next record to read, and text kept with it (stream time, commit number).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CommittedOffset {
    /// Next offset to read.
    pub offset: i64,
    /// At most [`METADATA_BYTES_MAX`] bytes.
    pub metadata: String,
}

/// Kafka's limit for the text that stands beside a committed offset.
pub const METADATA_BYTES_MAX: usize = 4096;

/// A topic partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
}

impl TopicPartition {
    /// A topic partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

/// Topics, records, readers, writers. Cheap to share.
pub trait Log: Send + Sync + Debug {
    /// What to call it in messages: `embedded log at DIR`, `Kafka at HOST:PORT`, `simulated log`.
    fn describe(&self) -> String;
    /// Identity of the cluster, as `GET /info` shows it.
    fn cluster_id(&self) -> Result<String>;
    /// An error once nothing can be written any more until the process is started again.
    fn check_writable(&self) -> Result<()> {
        Ok(())
    }
    /// Creates a topic. A topic of that name exists: `Kind::Statement` error.
    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo>;
    /// A topic by name.
    fn topic(&self, name: &str) -> Result<Option<TopicInfo>>;
    /// All topics by name, internal ones included.
    fn topics(&self) -> Result<Vec<TopicInfo>>;
    /// What these topics are at present, in the order of `names`; `None` = does not exist. One question to the cluster,
    /// however many there are, so that it can be asked again and again.
    fn identities(&self, names: &[&str]) -> Result<Vec<Option<Identity>>> {
        let identity = |info: TopicInfo| Identity { id: info.id, partitions: info.partitions };
        names.iter().map(|name| Ok(self.topic(name)?.map(identity))).collect()
    }
    /// The largest record that each of these topics takes, by [`size::record_bytes`]; `None` = it is not known. One question
    /// to the cluster.
    fn record_bytes_max(&self, topics: &[&str]) -> Result<Vec<Option<usize>>> {
        topics.iter().map(|name| Ok(self.topic(name)?.map(|info| size::limit(&info.config)))).collect()
    }
    /// Deletes a topic with all its records.
    fn delete_topic(&self, name: &str) -> Result<()>;
    /// Offsets of a partition.
    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks>;
    /// First offset whose record's time is `>= timestamp`; `None` = no such record.
    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>>;
    /// What has to be read of these offsets of a partition for records of these times; in order, not touching.
    fn spans(&self, partition: &TopicPartition, offsets: Range<i64>, times: &RangeInclusive<i64>) -> Result<Vec<Span>> {
        span::after_first(self, partition, offsets, times)
    }
    /// Deletes the records of a partition below `before`, all of them if it is negative, and answers the low watermark
    /// then. An offset beyond the end: `Kind::Statement` error.
    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64>;
    /// A reader of these partitions.
    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>>;
    /// Writes records outside of any transaction; durable and visible when it returns.
    fn append(&self, topic: &str, records: &RecordSet) -> Result<()>;
    /// Opens the writing side of a query: exclusive, and fenced against an earlier owner of the same name.
    fn session(&self, spec: &SessionSpec) -> Result<Box<dyn Session>>;
    /// Committed offsets of a group, for lag; never blocks on open transactions.
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>>;
    /// Forgets a group's offsets (its query was dropped).
    fn delete_group(&self, group: &str) -> Result<()>;
}

/// Reads assigned partitions. Owned by one thread; [`Reader::waker`] may be used by others.
pub trait Reader: Send + Debug {
    /// Takes what has arrived: at least one record unless `timeout` passes or somebody wakes the reader, at most about
    /// `max_records`. Transient trouble (a broker away) is waited for and reported by [`Reader::trouble`], not an `Err`.
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched>;
    /// Next offset of a slot: all records before it, markers and aborted ones included, were passed.
    fn position(&self, slot: usize) -> i64;
    /// The slot stood at the end of its partition when it was last polled (a hint: new records may have come).
    fn at_end(&self, slot: usize) -> bool;
    /// Goes on at `offset`; what was fetched beyond is forgotten.
    fn seek(&mut self, slot: usize, offset: i64) -> Result<()>;
    /// Ends a running poll early, from any thread.
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;
    /// Bytes that were read from files so far; `None` = not counted.
    fn bytes_read(&self) -> Option<u64> {
        None
    }
    /// What hinders reading at present (`no broker answers at ...`), if anything does.
    fn trouble(&self) -> Option<String>;
}

/// Who writes: one (query, process).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// Consumer group = transactional id's stem: `_confluent-ksql-<service>query_<query id>`.
    pub group: String,
    /// Stable name of the process' slot within the group.
    pub slot: String,
    /// Task numbers `0..tasks`: the highest partition count of the query's inputs and hops.
    pub tasks: u32,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is visible.
    Committed,
    /// None of it is or will be visible: rewind to the committed offsets and do it again after the given pause.
    Aborted {
        /// Why.
        reason: String,
        /// How long to wait first.
        retry_after: Duration,
    },
    /// Another process owns the query now: stop.
    Fenced {
        /// What was seen.
        reason: String,
    },
}

/// What one epoch of a query writes.
#[derive(Debug, Default)]
pub struct Epoch {
    /// Records by topic; shared, because a session may keep them until the commit after this one.
    pub records: Vec<(Arc<str>, Arc<RecordSet>)>,
    /// Input offsets reached.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
    /// Text kept with the query as a whole (stream times, commit number); at most [`METADATA_BYTES_MAX`] bytes.
    pub blob: String,
}

/// The writing side of a query. Commits are atomic; an unknown outcome is resolved inside, so that the caller sees
/// `Committed`, `Aborted` or `Fenced` and never has to guess.
pub trait Session: Send + Debug {
    /// Committed offsets of these partitions, waiting for open transactions of an earlier owner to end. `None` = never
    /// committed, which is told apart from "not known" (that is an `Err`).
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>>;
    /// The blob of the last commit.
    fn blob(&mut self) -> Result<Option<String>>;
    /// Writes rows at once and outside of the epochs: on their way when it returns, durable and visible soon after it, at
    /// the latest when the next commit has returned. Whoever goes back to what was committed writes them again: at least
    /// once. An error, which may be that of an earlier call: some may have been written.
    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()>;
    /// No batch is to be larger than this, because one of the topics takes no larger one.
    fn limit_batches(&mut self, bytes: usize) {
        let _ = bytes;
    }
    /// Writes an epoch.
    fn commit(&mut self, epoch: &Epoch) -> Result<Outcome>;
}

pub mod embedded;
pub mod kafka;
pub mod simulated;
