//! A deterministic log for tests: in memory, on the caller's clock, with faults drawn from a seed.
//!
//! It behaves like Kafka where the embedded log is simpler: every transaction takes one more offset in each of its partitions
//! (the marker), `read_uncommitted` readers see aborted records, a second writer of a group fences the first, and commits can
//! end in every way. The same seed, clock and calls give the same run.
//!
//! It waits by sleeping on the clock in short steps, so that a virtual clock advances by itself.

mod reader;
mod rng;
mod writer;

use self::rng::Rng;
use crate::error::{Error, Result};
use crate::log::topic::{altered, beyond_the_end, check_spec};
use crate::log::{
    Assignment, Claim, CommittedOffset, Isolation, Log, OwnedRecord, Reader, RecordSet, Start, TopicChanges, TopicId,
    TopicInfo, TopicPartition, TopicSpec, TransactionalWriter, Watermarks, WriterSpec, size,
};
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Faults per 1,000 calls. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Commits that abort.
    pub abort: u32,
    /// Commits of unknown outcome: after [`Faults::resolve_after`] they turn out to be committed or aborted.
    pub unknown: u32,
    /// How long the caller of such a commit waits.
    pub resolve_after: Duration,
    /// Commits that find another owner.
    pub fence: u32,
    /// Polls that return fewer records than there are.
    pub short_poll: u32,
    /// Polls that return nothing although there are records.
    pub empty_poll: u32,
    /// Polls that serve the partitions in an arbitrary order.
    pub shuffle: u32,
}

/// The log of the simulation.
#[derive(Debug)]
pub struct SimulatedLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    clock: SharedClock,
    /// Whether it simulates a log to which several processes write.
    is_shared: bool,
    world: Mutex<World>,
}

/// The state of the simulated cluster.
#[derive(Debug)]
struct World {
    rng: Rng,
    faults: Faults,
    topics: BTreeMap<String, Topic>,
    groups: BTreeMap<String, Group>,
    /// The writer that owns each group.
    owners: BTreeMap<String, u64>,
    last_session: u64,
    last_topic: u64,
}

#[derive(Debug)]
struct Topic {
    info: TopicInfo,
    partitions: Vec<Partition>,
}

/// Records with gaps between them.
#[derive(Debug, Default)]
struct Partition {
    low: i64,
    next: i64,
    records: Vec<Stored>,
}

#[derive(Debug)]
struct Stored {
    record: OwnedRecord,
    aborted: bool,
}

#[derive(Debug, Default)]
struct Group {
    /// By topic, its identity and partition.
    offsets: BTreeMap<(TopicId, i32), CommittedOffset>,
    metadata: Option<String>,
}

impl SimulatedLog {
    /// An empty log whose every draw follows from `seed`.
    pub fn new(seed: u64, clock: SharedClock) -> Arc<SimulatedLog> {
        SimulatedLog::build(seed, clock, false)
    }

    /// The same for several processes: each follows what the others write.
    pub fn shared(seed: u64, clock: SharedClock) -> Arc<SimulatedLog> {
        SimulatedLog::build(seed, clock, true)
    }

    fn build(seed: u64, clock: SharedClock, is_shared: bool) -> Arc<SimulatedLog> {
        let world = World {
            rng: Rng::new(seed),
            faults: Faults::default(),
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            owners: BTreeMap::new(),
            last_session: 0,
            last_topic: 0,
        };
        Arc::new(SimulatedLog { shared: Arc::new(Shared { seed, clock, is_shared, world: Mutex::new(world) }) })
    }

    /// Switches faults on or off.
    pub fn faults(&self, faults: Faults) {
        self.shared.world.lock().faults = faults;
    }

    /// Simulates the death of the process: its writers end, commits stay.
    pub fn crash(&self) {
        self.shared.world.lock().owners.clear();
    }
}

impl World {
    fn topic(&self, name: &str) -> Result<&Topic> {
        self.topics.get(name).ok_or_else(|| Error::not_found(format!("topic {name} does not exist")))
    }

    fn partition(&self, place: &TopicPartition) -> Result<&Partition> {
        let topic = self.topic(&place.topic)?;
        topic.partition(place.partition)
    }

    /// Fails as writing these records would.
    fn check(&self, topic: &str, records: &RecordSet) -> Result<()> {
        let topic = self.topic(topic)?;
        size::check(&topic.info.name, size::limit(&topic.info.config), records)?;
        for row in &records.rows {
            topic.partition(row.partition)?;
            if row.timestamp < 0 {
                return Err(Error::data(format!("timestamp {} is before 1970", row.timestamp)));
            }
        }
        Ok(())
    }

    /// Writes checked records; with `marker` as a transaction that ends with one marker per partition.
    fn write(&mut self, sets: &[(Arc<str>, &RecordSet)], marker: bool, aborted: bool) {
        let mut touched = Vec::new();
        for (name, records) in sets {
            let Some(topic) = self.topics.get_mut(&**name) else { continue };
            for (index, row) in records.rows.iter().enumerate() {
                let partition = &mut topic.partitions[row.partition as usize];
                let record = OwnedRecord {
                    offset: partition.next,
                    timestamp: row.timestamp,
                    key: records.key(index).map(<[u8]>::to_vec),
                    value: records.value(index).map(<[u8]>::to_vec),
                    headers: records.headers(index).to_vec(),
                };
                partition.records.push(Stored { record, aborted });
                partition.next += 1;
                touched.push((name.clone(), row.partition as usize));
            }
        }
        touched.sort();
        touched.dedup();
        for (name, partition) in touched.into_iter().filter(|_| marker) {
            if let Some(topic) = self.topics.get_mut(&*name) {
                topic.partitions[partition].next += 1;
            }
        }
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Vec<Option<CommittedOffset>> {
        let group = self.groups.get(group);
        let offset = |p: &TopicPartition| {
            let topic = self.topics.get(&*p.topic)?;
            group?.offsets.get(&(topic.info.id, p.partition)).cloned()
        };
        partitions.iter().map(offset).collect()
    }
}

impl Topic {
    fn partition(&self, number: i32) -> Result<&Partition> {
        usize::try_from(number)
            .ok()
            .and_then(|at| self.partitions.get(at))
            .ok_or_else(|| Error::not_found(format!("topic {} has no partition {number}", self.info.name)))
    }
}

impl Partition {
    /// Index of the first record at or after `offset`.
    fn index(&self, offset: i64) -> usize {
        self.records.partition_point(|r| r.record.offset < offset)
    }
}

impl Log for SimulatedLog {
    fn describe(&self) -> String {
        "simulated log".to_owned()
    }

    fn is_shared(&self) -> bool {
        self.shared.is_shared
    }

    fn cluster_id(&self) -> Result<String> {
        Ok(format!("simulated-{}", self.shared.seed))
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo> {
        let mut world = self.shared.world.lock();
        check_spec(spec)?;
        if world.topics.contains_key(&spec.name) {
            return Err(Error::statement(format!("topic {} already exists", spec.name)));
        }
        world.last_topic += 1;
        let id = TopicId(u128::from(self.shared.seed) << 64 | u128::from(world.last_topic));
        let (partitions, replicas) = (spec.partitions, spec.replicas.unwrap_or(1));
        let info = TopicInfo { name: spec.name.clone(), id, partitions, replicas, config: spec.config.clone() };
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        world.topics.insert(spec.name.clone(), Topic { info: info.clone(), partitions });
        Ok(info)
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        Ok(self.shared.world.lock().topics.get(name).map(|t| t.info.clone()))
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        Ok(self.shared.world.lock().topics.values().map(|t| t.info.clone()).collect())
    }

    fn alter_topic(&self, name: &str, changes: &TopicChanges) -> Result<()> {
        let mut world = self.shared.world.lock();
        let config = altered(&world.topic(name)?.info.config, changes)?;
        if let Some(topic) = world.topics.get_mut(name) {
            topic.info.config = config;
        }
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        let mut world = self.shared.world.lock();
        let id = world.topic(name)?.info.id;
        world.topics.remove(name);
        for group in world.groups.values_mut() {
            group.offsets.retain(|(topic, _), _| *topic != id);
        }
        Ok(())
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        let world = self.shared.world.lock();
        let Partition { low, next, .. } = *world.partition(partition)?;
        Ok(Watermarks { low, stable: next, high: next })
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64> {
        let mut world = self.shared.world.lock();
        let high = world.partition(partition)?.next;
        if before > high {
            return Err(beyond_the_end(partition, before, high));
        }
        let topic = world.topics.get_mut(&*partition.topic);
        let found = topic.and_then(|t| t.partitions.get_mut(usize::try_from(partition.partition).ok()?));
        let found = found.ok_or_else(|| Error::bug("a partition that was just there is gone"))?;
        found.low = found.low.max(if before < 0 { high } else { before });
        let low = found.low;
        found.records.retain(|r| r.record.offset >= low);
        Ok(low)
    }

    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        let world = self.shared.world.lock();
        let records = &world.partition(partition)?.records;
        Ok(records.iter().find(|r| !r.aborted && r.record.timestamp >= timestamp).map(|r| r.record.offset))
    }

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        let world = self.shared.world.lock();
        let slot = |a: &Assignment| {
            let partition = world.topic(&a.topic)?.partition(a.partition)?;
            let next = match a.start {
                Start::Earliest => partition.low,
                Start::Latest => partition.next,
                Start::Offset(offset) => offset.max(partition.low),
            };
            Ok(reader::Slot::new(a, world.topic(&a.topic)?.info.id, next))
        };
        let slots = assignment.iter().map(slot).collect::<Result<_>>()?;
        Ok(Box::new(reader::SimulatedReader::new(self.shared.clone(), slots, isolation)))
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        let mut world = self.shared.world.lock();
        world.check(topic, records)?;
        world.write(&[(topic.into(), records)], false, false);
        Ok(())
    }

    fn transactional_writer(&self, spec: &WriterSpec, _: &Arc<dyn Claim>) -> Result<Box<dyn TransactionalWriter>> {
        Ok(Box::new(writer::SimulatedWriter::open(&self.shared, &spec.group)))
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        Ok(self.shared.world.lock().committed(group, partitions))
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        let mut world = self.shared.world.lock();
        world.owners.remove(group);
        world.groups.remove(group);
        Ok(())
    }
}
