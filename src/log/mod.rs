//! Topics: one trait, three implementations (`embedded`, `kafka`, `simulated`), one contract suite.
//!
//! Everything here is synchronous: workers are plain threads, and async callers use a blocking thread. Records travel in
//! batches whose payloads are never copied on the way in ([`Fetched`]) and are encoded into one buffer on the way out
//! ([`RecordSet`]).
//!
//! Promises, each verified by the contract suite for all implementations:
//! - A topic has an identity: a topic that is deleted and recreated has another [`TopicId`] (KIP-516).
//! - Offsets ascend within a partition but may have gaps (transaction markers, compaction). A reader reports its
//!   *position*; "last offset + 1" is meaningless.
//! - `read_committed` readers see whole transactions only, in offset order, and stop at the last stable offset (KIP-98).
//! - [`TransactionalWriter::commit`] is atomic over all its records, in any number of topics and partitions, and its offsets.
//! - A null key or value is not an empty one; header order and null header values are kept.
//! - The timestamp that was written is read (`message.timestamp.type=CreateTime`).

pub mod partition;
pub mod size;

mod claim;
mod fetched;
mod record_set;
mod span;
mod topic;
mod topic_config;

pub use claim::{Claim, Claimed, Sole};
pub use fetched::{Fetched, HeadersRef, OwnedRecord, RecordRef, Run, SharedPart};
pub use record_set::{Header, RecordSet, Row};
pub use span::{ALL_TIMES, Span};
pub use topic::{Identity, TopicChanges, TopicId, TopicInfo, TopicSpec, check_partition};

use crate::error::Result;
use std::fmt::Debug;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Whole transactions only.
    ReadCommitted,
    /// All records, those of open and aborted transactions included.
    ReadUncommitted,
}

/// Offsets of one partition. `low <= stable <= high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset that is retained (log start offset).
    pub low: i64,
    /// Last stable offset (exclusive): first offset of the oldest open transaction, or `high`.
    pub stable: i64,
    /// Offset of the next record.
    pub high: i64,
}

/// What retention and compaction have done since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Processor time that they took.
    pub busy: Duration,
    /// Bytes of the files that they have removed.
    pub removed_bytes: u64,
    /// Bytes of the retained records that compaction has copied.
    pub copied_bytes: u64,
}

/// What the readers of a log have decoded, and what they took from each other since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Batches that a reader read, checked and indexed.
    pub decoded: u64,
    /// Batches that it took from another reader instead.
    pub taken: u64,
}

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the low watermark.
    Earliest,
    /// At the end: new records only.
    Latest,
    /// At this offset, or the next one that exists.
    Offset(i64),
}

/// A partition and where reading starts in it. Its index in the list is its *slot*, by which runs of records refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// First record.
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

/// Limit of the metadata of a committed offset: Kafka's default for `offset.metadata.max.bytes`.
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

/// Topics, records, readers and writers. Cheap to share.
pub trait Log: Send + Sync + Debug {
    /// Its name in messages: `embedded log at DIR`, `Kafka at HOST:PORT`, `simulated log`.
    fn describe(&self) -> String;
    /// Identity of the cluster, as `GET /info` shows it.
    fn cluster_id(&self) -> Result<String>;
    /// Whether other processes may write to it at the same time.
    fn is_shared(&self) -> bool {
        false
    }
    /// An error if the log accepts no writes until the process is restarted.
    fn check_writable(&self) -> Result<()> {
        Ok(())
    }
    /// Creates a topic. If one of that name exists: `Kind::Statement` error.
    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo>;
    /// A topic by name.
    fn topic(&self, name: &str) -> Result<Option<TopicInfo>>;
    /// All topics by name, internal ones included.
    fn topics(&self) -> Result<Vec<TopicInfo>>;
    /// Current identities of topics, in the order of `names`; `None` = does not exist. One request to the cluster for any
    /// number of topics, so that it can be repeated often.
    fn identities(&self, names: &[&str]) -> Result<Vec<Option<Identity>>> {
        let identity = |info: TopicInfo| Identity { id: info.id, partitions: info.partitions };
        names.iter().map(|name| Ok(self.topic(name)?.map(identity))).collect()
    }
    /// Record size limits of topics, by [`size::record_bytes`]; `None` = unknown. One request to the cluster.
    fn record_bytes_max(&self, topics: &[&str]) -> Result<Vec<Option<usize>>> {
        topics.iter().map(|name| Ok(self.topic(name)?.map(|info| size::limit(&info.config)))).collect()
    }
    /// Changes settings of a topic; those that are not named stay as they are. A setting that a topic cannot have: `Kind::Statement`
    /// error.
    fn alter_topic(&self, name: &str, changes: &TopicChanges) -> Result<()>;
    /// Deletes a topic with all its records.
    fn delete_topic(&self, name: &str) -> Result<()>;
    /// Offsets of a partition.
    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks>;
    /// The offset of the next record of a partition: its high watermark alone.
    fn end(&self, partition: &TopicPartition) -> Result<i64> {
        Ok(self.watermarks(partition)?.high)
    }
    /// Bytes that the records of a partition occupy; `None` = this log does not count them.
    fn partition_bytes(&self, partition: &TopicPartition) -> Result<Option<u64>> {
        let _ = partition;
        Ok(None)
    }
    /// What retention and compaction have done in this process; `None` = they are the broker's.
    fn upkeep(&self) -> Option<Upkeep> {
        None
    }
    /// What readers have taken from each other; `None` = each reads for itself.
    fn sharing(&self) -> Option<Sharing> {
        None
    }
    /// First offset whose record has a timestamp `>= timestamp`; `None` = no such record.
    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>>;
    /// The parts of an offset range that have to be read for records with these timestamps; in order, not adjacent.
    fn spans(&self, partition: &TopicPartition, offsets: Range<i64>, times: &RangeInclusive<i64>) -> Result<Vec<Span>> {
        span::after_first(self, partition, offsets, times)
    }
    /// Deletes the records of a partition below `before`, or all of them if it is negative, and returns the new low watermark.
    /// An offset beyond the end: `Kind::Statement` error.
    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64>;
    /// A reader of these partitions.
    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>>;
    /// Writes records outside of any transaction; durable and visible when it returns.
    fn append(&self, topic: &str, records: &RecordSet) -> Result<()>;
    /// Opens the transactional writer of a query. It is exclusive, and fences an earlier one of the same name. `claim` says
    /// whether this process owns the query; a log of one process does not ask it.
    fn transactional_writer(&self, spec: &WriterSpec, claim: &Arc<dyn Claim>) -> Result<Box<dyn TransactionalWriter>>;
    /// Acquires the place of this process in a service, for as long as the result lives: an error of `Kind::Busy` that names the
    /// holder if another process has it. `slot` is the process's name in the group. `None`: the log has one process anyway.
    fn service_lock(&self, group: &str, slot: &str) -> Result<Option<Box<dyn ServiceLock>>> {
        let _ = (group, slot);
        Ok(None)
    }
    /// Committed offsets of a group, for lag; never blocks on open transactions.
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>>;
    /// Deletes a group with its offsets, after its query was dropped.
    fn delete_group(&self, group: &str) -> Result<()>;
}

/// The place of a process in a service. Dropping it gives the place up.
pub trait ServiceLock: Send + Sync + Debug {}

/// Reads assigned partitions. Owned by one thread; [`Reader::waker`] may be used by others.
pub trait Reader: Send + Debug {
    /// Returns fetched records: at least one unless `timeout` passes or the reader is woken, at most about `max_records`. A
    /// transient failure (an unreachable broker) is waited for and reported by [`Reader::trouble`]; it is not an `Err`.
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched>;
    /// Next offset of a slot: all earlier records, markers and aborted ones included, have been passed.
    fn position(&self, slot: usize) -> i64;
    /// Whether the slot was at the end of its partition at the last poll. New records may have arrived since.
    fn at_end(&self, slot: usize) -> bool;
    /// Continues at `offset` and discards what was fetched beyond it.
    fn seek(&mut self, slot: usize, offset: i64) -> Result<()>;
    /// Ends a running poll early, from any thread.
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;
    /// Bytes read from files so far; `None` = not counted.
    fn bytes_read(&self) -> Option<u64> {
        None
    }
    /// The current obstacle to reading, if any: `orders-0: broker transport failure`.
    fn trouble(&self) -> Option<String>;
}

/// What a writer is for: one query in one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterSpec {
    /// Consumer group and prefix of the transactional id: `_confluent-ksql-<service>query_<query id>`, as in ksqlDB.
    pub group: String,
    /// Stable name of the process's slot in the group.
    pub slot: String,
    /// Task numbers `0..tasks`: the highest partition count of the query's inputs and hops.
    pub tasks: u32,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// All of the epoch is visible.
    Committed,
    /// Nothing of the epoch is or will be visible: rewind to the committed offsets and repeat it.
    Aborted {
        /// Why.
        reason: String,
        /// Pause before the repetition.
        retry_after: Duration,
    },
    /// Another process owns the query now: stop.
    Fenced {
        /// Why.
        reason: String,
    },
}

/// What one epoch of a query writes.
#[derive(Debug, Default)]
pub struct Epoch {
    /// Records by topic; shared, because a writer may retain them until the next commit.
    pub records: Vec<(Arc<str>, Arc<RecordSet>)>,
    /// Input offsets that the epoch has reached.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
    /// Metadata of the query as a whole (stream times, commit number); at most [`METADATA_BYTES_MAX`] bytes.
    pub metadata: String,
}

/// The transactional writer of a query. Commits are atomic. An unknown outcome is resolved inside: the caller gets `Committed`,
/// `Aborted` or `Fenced`.
pub trait TransactionalWriter: Send + Debug {
    /// Committed offsets of these partitions, after open transactions of an earlier owner have ended. `None` = never committed;
    /// an offset that cannot be read is an `Err`.
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>>;
    /// The metadata of the last commit.
    fn metadata(&mut self) -> Result<Option<String>>;
    /// Writes rows immediately and outside of epochs: in flight when it returns, durable and visible at the latest when the next
    /// commit has returned. After a rewind they are written again: at least once. An error may be that of an earlier call, and
    /// some rows may have been written.
    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()>;
    /// Limits the size of batches, because one of the topics accepts no larger one.
    fn limit_batches(&mut self, bytes: usize) {
        let _ = bytes;
    }
    /// Whether a commit is due although nothing has changed, so that what is committed does not expire.
    fn wants_commit(&self) -> bool {
        false
    }
    /// Commits an epoch.
    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome>;
}

pub mod embedded;
pub mod kafka;
pub mod simulated;
