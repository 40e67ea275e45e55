//! A layer around any log, which adds two things that tests need and changes nothing else:
//!
//! - **A name space**: topics and groups get a prefix below, so that many tests share one broker and none sees another.
//! - **A tape**: every record that the engine writes, in the order in which it was handed over. Partitions have no order
//!   between them; what a test compares "in order" is this.
//!
//! Readers are the log's own: they name slots, not topics.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use tidegate::error::Result;
use tidegate::log::{
    Assignment, Claim, CommitOutcome, CommittedOffset, Epoch, Header, Isolation, Log, Reader, RecordSet, ServiceLock,
    Span, TopicChanges, TopicInfo, TopicPartition, TopicSpec, TransactionalWriter, Watermarks, WriterSpec,
};

/// A record as the engine handed it over.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "not every target looks at every field")]
pub(crate) struct Taped {
    pub(crate) partition: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

/// Records by topic.
pub(crate) type Tape = Arc<Mutex<BTreeMap<String, Vec<Taped>>>>;

/// The layer.
#[derive(Debug)]
pub(crate) struct Layer {
    below: Arc<dyn Log>,
    prefix: String,
    tape: Tape,
}

impl Layer {
    pub(crate) fn over(below: Arc<dyn Log>, prefix: &str) -> Arc<Layer> {
        Arc::new(Layer { below, prefix: prefix.to_owned(), tape: Tape::default() })
    }

    /// What the engine wrote so far to a topic.
    #[allow(dead_code, reason = "only the conformance runner compares the order between partitions")]
    pub(crate) fn taped(&self, topic: &str) -> Vec<Taped> {
        self.tape.lock().get(topic).cloned().unwrap_or_default()
    }

    fn down(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn up(&self, mut info: TopicInfo) -> Option<TopicInfo> {
        info.name = info.name.strip_prefix(&self.prefix)?.to_owned();
        Some(info)
    }

    fn partition(&self, of: &TopicPartition) -> TopicPartition {
        TopicPartition::new(self.down(&of.topic), of.partition)
    }

    fn partitions(&self, of: &[TopicPartition]) -> Vec<TopicPartition> {
        of.iter().map(|p| self.partition(p)).collect()
    }
}

fn tape(tape: &Tape, topic: &str, set: &RecordSet) {
    let mut topics = tape.lock();
    let records = topics.entry(topic.to_owned()).or_default();
    for (at, row) in set.rows.iter().enumerate() {
        records.push(Taped {
            partition: row.partition,
            timestamp: row.timestamp,
            key: set.key(at).map(<[u8]>::to_vec),
            value: set.value(at).map(<[u8]>::to_vec),
            headers: set.headers(at).to_vec(),
        });
    }
}

impl Log for Layer {
    fn describe(&self) -> String {
        self.below.describe()
    }

    fn cluster_id(&self) -> Result<String> {
        self.below.cluster_id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo> {
        let spec = TopicSpec { name: self.down(&spec.name), ..spec.clone() };
        let info = self.below.create_topic(&spec)?;
        Ok(self.up(info).expect("it was created with the prefix"))
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        Ok(self.below.topic(&self.down(name))?.and_then(|info| self.up(info)))
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        Ok(self.below.topics()?.into_iter().filter_map(|info| self.up(info)).collect())
    }

    fn alter_topic(&self, name: &str, changes: &TopicChanges) -> Result<()> {
        self.below.alter_topic(&self.down(name), changes)
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        self.below.delete_topic(&self.down(name))
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        self.below.watermarks(&self.partition(partition))
    }

    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        self.below.offset_for_time(&self.partition(partition), timestamp)
    }

    fn spans(&self, partition: &TopicPartition, offsets: Range<i64>, times: &RangeInclusive<i64>) -> Result<Vec<Span>> {
        self.below.spans(&self.partition(partition), offsets, times)
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64> {
        self.below.delete_records(&self.partition(partition), before)
    }

    fn reader(&self, mut assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        for a in &mut assignment {
            a.topic = self.down(&a.topic).into();
        }
        self.below.reader(assignment, isolation)
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.below.append(&self.down(topic), records)?;
        tape(&self.tape, topic, records);
        Ok(())
    }

    fn transactional_writer(&self, spec: &WriterSpec, claim: &Arc<dyn Claim>) -> Result<Box<dyn TransactionalWriter>> {
        let spec = WriterSpec { group: self.down(&spec.group), ..spec.clone() };
        let below = self.below.transactional_writer(&spec, claim)?;
        Ok(Box::new(LayerSession { below, prefix: self.prefix.clone(), tape: self.tape.clone() }))
    }

    fn service_lock(&self, group: &str, slot: &str) -> Result<Option<Box<dyn ServiceLock>>> {
        self.below.service_lock(&self.down(group), slot)
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        self.below.committed(&self.down(group), &self.partitions(partitions))
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        self.below.delete_group(&self.down(group))
    }
}

#[derive(Debug)]
struct LayerSession {
    below: Box<dyn TransactionalWriter>,
    prefix: String,
    tape: Tape,
}

impl LayerSession {
    fn down(&self, of: &TopicPartition) -> TopicPartition {
        TopicPartition::new(format!("{}{}", self.prefix, of.topic), of.partition)
    }
}

impl TransactionalWriter for LayerSession {
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        let partitions: Vec<_> = partitions.iter().map(|p| self.down(p)).collect();
        self.below.committed(&partitions)
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        self.below.metadata()
    }

    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        self.below.deliver(&format!("{}{topic}", self.prefix).into(), records)?;
        tape(&self.tape, topic, records);
        Ok(())
    }

    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome> {
        let records = epoch.records.iter().map(|(t, set)| (format!("{}{t}", self.prefix).into(), set.clone()));
        let offsets = epoch.offsets.iter().map(|(p, offset)| (self.down(p), offset.clone()));
        let below = Epoch { records: records.collect(), offsets: offsets.collect(), metadata: epoch.metadata.clone() };
        let outcome = self.below.commit(&below)?;
        if outcome == CommitOutcome::Committed {
            epoch.records.iter().for_each(|(topic, set)| tape(&self.tape, topic, set));
        }
        Ok(outcome)
    }
}
