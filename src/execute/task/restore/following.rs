//! Stores of a query that are read from their changelogs: to the ends when a query starts, and ever on when another process runs it.
//!
//! ```text
//! begin      of each task its snapshot, if one fits, and where its changelog continues
//! advance    what is there
//! finish     up to the end as of now
//! settle     the last commit: stream times, and whether as many entries live as it counted
//! ```
//!
//! An entry that a state refuses does not end the reading: the store is misfit, and is restored once more.

use super::super::snapshot::Loaded;
use super::super::spec::BATCH_ROWS_MAX;
use super::super::topology::{Topology, split_memo};
use crate::error::{Error, Kind, Result};
use crate::execute::operator::Operator;
use crate::execute::pipeline::changelog_topic;
use crate::log::{Assignment, Isolation, Log, Reader, Start, TopicId, TopicPartition};
use crate::mutant::{self, Mutant};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How long one poll waits while state is restored; a restore itself ends at the changelog's end.
const RESTORE_POLL: Duration = Duration::from_millis(100);

/// Bytes that were read: of snapshots, and of the changelog.
pub(super) type Read = (u64, u64);

/// Why what was read of a store is not used, and of which task; `None` = of any.
#[derive(Debug)]
pub(super) struct Misfit {
    task: Option<usize>,
    pub(super) reason: String,
}

/// How far a store is in its changelog. Processes tell each other in this form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreOffsets {
    /// Its name.
    pub store: String,
    /// By partition: the next offset, and the end as it was when this was asked for.
    pub offsets: Vec<(i64, i64)>,
}

/// A store that is read.
#[derive(Debug)]
pub(super) struct Store {
    /// Its number among the stores of the topology.
    nth: usize,
    name: String,
    topic: Arc<str>,
    topic_id: Option<TopicId>,
    /// The snapshots that were taken in, by task.
    snapshots: Vec<Option<Loaded>>,
    read: Read,
    /// What its state refused.
    refused: Option<Error>,
}

/// Stores on their way to the ends of their changelogs.
#[derive(Debug)]
pub(in crate::execute::task) struct Following {
    stores: Vec<Store>,
    reader: Box<dyn Reader>,
    /// Index into `stores`, and task, of each slot of the reader.
    slots: Vec<(usize, usize)>,
}

impl Following {
    /// Takes in the snapshots that `load` finds for the tasks of these stores of a topology, and goes to where their changelogs
    /// continue.
    pub(super) fn begin(
        topology: &mut Topology,
        stores: impl Iterator<Item = usize>,
        (log, group): (&dyn Log, &str),
        load: impl Fn(usize, &TopicPartition) -> Result<Option<Loaded>>,
    ) -> Result<Following> {
        let (mut following, mut assignment, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for nth in stores {
            let (name, mut tasks) = topology.stores().swap_remove(nth);
            let (name, topic) = (name.to_owned(), Arc::<str>::from(changelog_topic(group, name)));
            let topic_id = identity(log, &topic)?;
            let partition = |task: usize| TopicPartition::new(topic.clone(), task as i32);
            let snapshots = (0..tasks.len()).map(|task| load(nth, &partition(task))).collect::<Result<Vec<_>>>()?;
            let (read, topic) = ((0, 0), topic.clone());
            let mut store = Store { nth, name, topic, topic_id, snapshots, read, refused: None };
            store.take_snapshots(&mut tasks)?;
            for (task, loaded) in store.snapshots.iter().enumerate() {
                let start = loaded.as_ref().map_or(Start::Earliest, |loaded| Start::Offset(loaded.offset));
                assignment.push(Assignment { topic: store.topic.clone(), partition: task as i32, start });
                slots.push((following.len(), task));
            }
            following.push(store);
        }
        let reader = log.reader(assignment, Isolation::ReadCommitted)?;
        Ok(Following { stores: following, reader, slots })
    }

    /// Takes in what is there, or waits for it; returns the number of entries.
    pub(super) fn advance(&mut self, topology: &mut Topology, wait: Duration) -> Result<usize> {
        let fetched = self.reader.poll(BATCH_ROWS_MAX, wait)?;
        let (mut tasks, mut entries) = (topology.stores(), 0);
        for run in fetched.runs() {
            let (at, task) = self.slots[run.slot];
            let store = &mut self.stores[at];
            let operator = &mut tasks[store.nth].1[task];
            store.read.1 += run.bytes();
            entries += run.len();
            let mut result = Ok(());
            run.for_each(|r| {
                if result.is_ok() && store.refused.is_none() {
                    result = operator.restore(r.key.unwrap_or_default(), r.value, r.timestamp);
                }
            });
            store.note(result)?;
        }
        Ok(entries)
    }

    /// K11: reads all changelogs to their ends. The end is the high watermark before the first read: everything up to it was
    /// either committed or aborted, and the reader's position passes aborted records and markers (KAFKA-10167). Returns the
    /// number of entries.
    pub(super) fn finish(&mut self, topology: &mut Topology, log: &dyn Log) -> Result<usize> {
        let end = |&(at, task): &(usize, usize)| log.end(&self.stores[at].partition(task));
        let ends: Vec<i64> = self.slots.iter().map(end).collect::<Result<_>>()?;
        let mut entries = 0;
        while ends.iter().enumerate().any(|(slot, &end)| self.reader.position(slot) < end) {
            entries += self.advance(topology, RESTORE_POLL)?;
        }
        Ok(entries)
    }

    /// How far each store is.
    pub(super) fn offsets(&self, log: &dyn Log) -> Result<Vec<StoreOffsets>> {
        let store = |store: &Store| StoreOffsets { store: store.name.clone(), offsets: Vec::new() };
        let mut stores: Vec<StoreOffsets> = self.stores.iter().map(store).collect();
        for (slot, &(at, task)) in self.slots.iter().enumerate() {
            let position = self.reader.position(slot);
            let end = if self.reader.at_end(slot) { position } else { log.end(&self.stores[at].partition(task))? };
            stores[at].offsets.push((position, end.max(position)));
        }
        Ok(stores)
    }

    /// Whether the changelogs are those with which it began.
    pub(super) fn is_current(&self, log: &dyn Log) -> Result<bool> {
        for store in &self.stores {
            if identity(log, &store.topic)? != store.topic_id {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends a poll early, from any thread.
    pub(super) fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.reader.waker()
    }

    /// The stores.
    pub(super) fn stores_mut(&mut self) -> &mut [Store] {
        &mut self.stores
    }
}

impl Store {
    /// Its number among the stores of the topology.
    pub(super) fn nth(&self) -> usize {
        self.nth
    }

    /// Whether a task's snapshot was taken in.
    pub(super) fn has_snapshot(&self, task: usize) -> bool {
        self.snapshots[task].is_some()
    }

    /// The snapshots that do not fit are not read again.
    pub(super) fn set_aside(&self, misfit: &Misfit) {
        let snapshots = self.snapshots.iter().enumerate();
        let unfit = snapshots
            .filter(|(task, _)| misfit.task.is_none_or(|of| of == *task))
            .filter_map(|(_, loaded)| loaded.as_ref());
        unfit.for_each(|loaded| loaded.set_aside(&misfit.reason));
    }

    fn partition(&self, task: usize) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), task as i32)
    }

    fn take_snapshots(&mut self, tasks: &mut [&mut dyn Operator]) -> Result<()> {
        let mut result = Ok(());
        for (operator, loaded) in tasks.iter_mut().zip(&self.snapshots) {
            let Some(loaded) = loaded.as_ref().filter(|_| result.is_ok()) else { continue };
            result = loaded.for_each(|entries| {
                entries.iter().try_for_each(|entry| operator.restore(entry.key, entry.value, entry.timestamp))
            });
            self.read.0 += loaded.bytes;
        }
        self.note(result)
    }

    /// Notes what a state says of an entry; any other error is returned.
    fn note(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if is_of_state(&error) => self.refused = Some(error),
            other => return other,
        }
        Ok(())
    }

    /// Takes what the last commit says, by task. A store that `may_differ` from its changelog has to have as many living entries
    /// as the commit counted.
    pub(super) fn settle<'a>(
        &mut self,
        topology: &mut Topology,
        offset_metadata: &impl Fn(usize) -> &'a str,
        may_differ: impl Fn(&Store, usize) -> bool,
    ) -> Result<std::result::Result<Read, Misfit>> {
        let (_, mut tasks) = topology.stores().swap_remove(self.nth);
        for (task, operator) in tasks.iter_mut().enumerate() {
            let (memo, living) = split_memo(offset_metadata(task), self.nth);
            if self.refused.is_none() {
                self.note(operator.restore_metadata(memo))?;
            }
            let found = operator.living();
            let fits = found.is_none() || found == living || mutant::on(Mutant::SnapshotTrusted);
            if self.refused.is_none() && may_differ(self, task) && !fits {
                let number = |living: Option<u64>| living.map_or("an unknown number of".to_owned(), |n| n.to_string());
                let reason = format!(
                    "its changelog has forgotten deletions since: {} entries instead of {}",
                    number(found),
                    number(living)
                );
                return Ok(Err(Misfit { task: Some(task), reason }));
            }
        }
        match self.refused.take() {
            None => Ok(Ok(self.read)),
            Some(error) if (0..tasks.len()).any(|task| may_differ(self, task)) => {
                Ok(Err(Misfit { task: None, reason: format!("state cannot be restored from it: {error}") }))
            }
            Some(error) => Err(error),
        }
    }
}

/// Whether a state refuses what it was given: another attempt with other entries may succeed.
fn is_of_state(error: &Error) -> bool {
    matches!(error.kind(), Kind::Data | Kind::Bug)
}

fn identity(log: &dyn Log, topic: &str) -> Result<Option<TopicId>> {
    Ok(log.identities(&[topic])?.pop().flatten().map(|identity| identity.id))
}
