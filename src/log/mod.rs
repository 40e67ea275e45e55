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
//! - [`TransactionalWriter::commit`] is atomic over all its records, in any number of topics and partitions, and its offsets.
//! - A null key or value is not an empty one; header order and null header values are kept.
//! - A timestamp written is the timestamp read.

pub mod partition;
pub mod size;

mod fetched;
mod record_set;
mod span;
mod topic;
mod topic_config;

pub use fetched::{Fetched, HeadersRef, OwnedRecord, RecordRef, Run};
pub use record_set::{Header, RecordSet, Row};
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
    fn transactional_writer(&self, spec: &WriterSpec) -> Result<Box<dyn TransactionalWriter>>;
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
pub struct WriterSpec {
    /// Consumer group = transactional id's stem: `_confluent-ksql-<service>query_<query id>`.
    pub group: String,
    /// Stable name of the process' slot within the group.
    pub slot: String,
    /// Task numbers `0..tasks`: the highest partition count of the query's inputs and hops.
    pub tasks: u32,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
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
    pub metadata: String,
}

/// The writing side of a query. Commits are atomic; an unknown outcome is resolved inside, so that the caller sees
/// `Committed`, `Aborted` or `Fenced` and never has to guess.
pub trait TransactionalWriter: Send + Debug {
    /// Committed offsets of these partitions, waiting for open transactions of an earlier owner to end. `None` = never
    /// committed, which is told apart from "not known" (that is an `Err`).
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>>;
    /// The blob of the last commit.
    fn metadata(&mut self) -> Result<Option<String>>;
    /// Writes rows at once and outside of the epochs: on their way when it returns, durable and visible soon after it, at
    /// the latest when the next commit has returned. Whoever goes back to what was committed writes them again: at least
    /// once. An error, which may be that of an earlier call: some may have been written.
    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()>;
    /// No batch is to be larger than this, because one of the topics takes no larger one.
    fn limit_batches(&mut self, bytes: usize) {
        let _ = bytes;
    }
    /// Writes an epoch.
    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome>;
}

pub mod embedded;
pub mod kafka;
pub mod simulated;
