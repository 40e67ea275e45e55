//! Topics without SQL, for `tidegate topic`: in this process, or at the process that owns the data directory.

use crate::catalog::topics::{TopicRules, TopicUse};
use crate::engine::insert::lines::NewLines;
use crate::error::{Error, Result};
use crate::log::{
    Assignment, Fetched, Isolation, Log, Reader, RecordSet, Start, TopicChanges, TopicPartition, TopicSpec,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Records per read.
const RECORDS_PER_POLL: usize = 1_000;

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicLine {
    /// Name.
    pub name: String,
    /// Partitions.
    pub partitions: u32,
    /// Copies of each record.
    pub replicas: u16,
    /// Offsets between the lowest and the highest, over all partitions.
    pub offsets: i64,
}

/// Everything about one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDetail {
    /// Copies of each record.
    pub replicas: u16,
    /// Lowest offset and the one after the highest, by partition.
    pub offsets: Vec<(i64, i64)>,
    /// Settings that are not the default.
    pub config: BTreeMap<String, String>,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TailFrom {
    /// At the oldest record of each partition.
    Beginning,
    /// At the end: new records only.
    End,
    /// At this offset of each partition.
    Offset(i64),
    /// So many records before the end of each partition.
    Last(i64),
    /// At the first record of each partition with this timestamp or a later one.
    Time(i64),
}

/// Topics that can be listed, read and written.
pub trait Topics: Debug {
    /// All topics by name, internal ones included.
    fn all(&self) -> Result<Vec<TopicLine>>;
    /// Number of a topic's partitions; `None` = there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<u32>>;
    /// Everything about a topic; `None` = there is no such topic.
    fn describe(&self, topic: &str) -> Result<Option<TopicDetail>>;
    /// Creates a topic with these settings.
    fn create(&self, topic: &str, partitions: u32, config: &BTreeMap<String, String>) -> Result<()>;
    /// Changes settings of a topic; `None` resets one to its default.
    fn alter(&self, topic: &str, changes: &TopicChanges) -> Result<()>;
    /// Deletes a topic with all its records.
    fn delete(&self, topic: &str) -> Result<()>;
    /// Writes records; they are durable and visible when it returns.
    fn append(&self, topic: &str, records: &RecordSet) -> Result<()>;
    /// Writes lines into a stream or table, as [`crate::engine::Engine::write_lines`] does. A log alone knows neither.
    fn write(&self, target: &str, _lines: &NewLines) -> Result<usize> {
        Err(Error::bug(format!("lines for {target}, and no engine that knows its formats")))
    }
    /// Deletes the records of a partition below `before`, all of them if it is negative, and returns the new log start offset.
    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<i64>;
    /// Reads a topic that exists, all partitions of it.
    fn tail(&self, topic: &str, from: TailFrom) -> Result<Box<dyn Tail>>;
    /// The address of the owner, where it is another process.
    fn attached(&self) -> Option<String> {
        None
    }
}

/// A topic being read.
pub trait Tail: Send {
    /// Records that arrived within `wait`, in runs by partition.
    fn poll(&mut self, wait: Duration) -> Result<Fetched>;
    /// Whether the end of the topic is reached.
    fn at_end(&self) -> bool;
}

/// The topics of a log.
#[derive(Clone, Debug)]
pub struct LogTopics {
    log: Arc<dyn Log>,
    rules: Arc<TopicRules>,
}

impl LogTopics {
    /// Topics of which the engine's own are read-only.
    pub fn new(log: Arc<dyn Log>, rules: Arc<TopicRules>) -> LogTopics {
        LogTopics { log, rules }
    }

    fn start(&self, partition: &TopicPartition, from: TailFrom) -> Result<Start> {
        Ok(match from {
            TailFrom::Beginning => Start::Earliest,
            TailFrom::End => Start::Latest,
            TailFrom::Offset(offset) => Start::Offset(offset),
            TailFrom::Last(records) => {
                let marks = self.log.watermarks(partition)?;
                Start::Offset(marks.high.saturating_sub(records).max(marks.low))
            }
            TailFrom::Time(time) => self.log.offset_for_time(partition, time)?.map_or(Start::Latest, Start::Offset),
        })
    }
}

impl Topics for LogTopics {
    fn all(&self) -> Result<Vec<TopicLine>> {
        let mut lines = Vec::new();
        for topic in self.log.topics()? {
            let mut offsets = 0;
            for partition in 0..topic.partitions as i32 {
                let marks = self.log.watermarks(&TopicPartition::new(topic.name.as_str(), partition))?;
                offsets += marks.high - marks.low;
            }
            let (partitions, replicas) = (topic.partitions, topic.replicas);
            lines.push(TopicLine { name: topic.name, partitions, replicas, offsets });
        }
        Ok(lines)
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        Ok(self.log.topic(topic)?.map(|info| info.partitions))
    }

    fn describe(&self, topic: &str) -> Result<Option<TopicDetail>> {
        let Some(info) = self.log.topic(topic)? else { return Ok(None) };
        let marks = |partition| self.log.watermarks(&TopicPartition::new(topic, partition));
        let offsets = (0..info.partitions as i32).map(|p| marks(p).map(|marks| (marks.low, marks.high)));
        let offsets = offsets.collect::<Result<Vec<_>>>()?;
        Ok(Some(TopicDetail { replicas: info.replicas, offsets, config: info.config }))
    }

    fn create(&self, topic: &str, partitions: u32, config: &BTreeMap<String, String>) -> Result<()> {
        self.rules.check(topic, TopicUse::Make)?;
        let spec = TopicSpec { config: config.clone(), ..TopicSpec::new(topic, partitions) };
        self.log.create_topic(&spec).map(|_| ())
    }

    fn alter(&self, topic: &str, changes: &TopicChanges) -> Result<()> {
        self.rules.check(topic, TopicUse::Alter)?;
        match self.log.topic(topic)? {
            Some(_) => self.log.alter_topic(topic, changes),
            None => Err(missing(topic)),
        }
    }

    fn delete(&self, topic: &str) -> Result<()> {
        self.rules.check(topic, TopicUse::Delete)?;
        match self.log.topic(topic)? {
            Some(_) => self.log.delete_topic(topic),
            None => Err(missing(topic)),
        }
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.rules.check(topic, TopicUse::InsertValues)?;
        self.log.append(topic, records)
    }

    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<i64> {
        self.rules.check(topic, TopicUse::Delete)?;
        self.log.delete_records(&TopicPartition::new(topic, partition), before)
    }

    fn tail(&self, topic: &str, from: TailFrom) -> Result<Box<dyn Tail>> {
        let info = self.log.topic(topic)?.ok_or_else(|| missing(topic))?;
        let name: Arc<str> = Arc::from(topic);
        let slots = 0..info.partitions as i32;
        let assignment = slots.map(|partition| {
            let start = self.start(&TopicPartition::new(topic, partition), from)?;
            Ok(Assignment { topic: name.clone(), partition, start })
        });
        let assignment = assignment.collect::<Result<Vec<_>>>()?;
        let reader = self.log.reader(assignment, Isolation::ReadCommitted)?;
        Ok(Box::new(LogTail { reader, partitions: info.partitions as usize, empty: false }))
    }
}

/// The error for a topic that does not exist.
pub fn missing(topic: &str) -> Error {
    Error::not_found(format!("topic {topic} does not exist")).with_hint("tidegate topic list shows what exists")
}

struct LogTail {
    reader: Box<dyn Reader>,
    partitions: usize,
    /// The last poll returned nothing.
    empty: bool,
}

impl Tail for LogTail {
    fn poll(&mut self, wait: Duration) -> Result<Fetched> {
        let fetched = self.reader.poll(RECORDS_PER_POLL, wait)?;
        self.empty = fetched.is_empty();
        Ok(fetched)
    }

    fn at_end(&self) -> bool {
        self.empty && (0..self.partitions).all(|slot| self.reader.at_end(slot))
    }
}
