//! State at a start: of each store the snapshot of every task that has one which fits, and then the changelog from there.
//!
//! ```text
//! snapshot    a b c d          changelog behind it    b = 2   (c was deleted, and its tombstone as well)    e = 1
//! restored    a b c d e        the commit counts 4 entries: the snapshot is set aside, and the changelog read from its beginning
//! ```
//!
//! **What a compacted changelog has forgotten.** It retains a tombstone for a while only, and how long is the broker's affair. So a
//! snapshot may bring entries back that were deleted since; it cannot lack one that lives, because an entry that was not copied was
//! written behind its offset. Each commit therefore counts the living entries: as many after a restore means the same ones.

use super::snapshot::{Loaded, Schedule};
use super::spec::BATCH_ROWS_MAX;
use super::topology::{Topology, split_memo};
use crate::error::{Kind, Result};
use crate::execute::operator::Operator;
use crate::execute::pipeline::changelog_topic;
use crate::log::{Assignment, Isolation, Log, Start, TopicPartition};
use crate::mutant::{self, Mutant};
use std::sync::Arc;
use std::time::Duration;

/// How long one poll waits while state is restored; a restore itself ends at the changelog's end.
const RESTORE_POLL: Duration = Duration::from_millis(100);

/// A store to be restored.
struct Store<'a> {
    nth: usize,
    topic: Arc<str>,
    log: &'a dyn Log,
}

/// Why the snapshots of a store are not used, and of which task; `None` = of any.
struct Misfit {
    task: Option<usize>,
    reason: String,
}

/// What a restore has read: bytes of snapshots, and of the changelog.
type Read = (u64, u64);

/// Restores all stores. `offset_metadata` is that of the last commit by task; `fresh` makes the operators once more.
pub(super) fn restore<'a>(
    topology: &mut Topology,
    (log, group): (&dyn Log, &str),
    schedule: &mut Schedule,
    offset_metadata: impl Fn(usize) -> &'a str,
    fresh: impl Fn() -> Result<Topology>,
) -> Result<()> {
    for nth in 0..topology.stores().len() {
        let (name, tasks) = topology.stores().swap_remove(nth);
        let (store, tasks) = (Store { nth, topic: changelog_topic(group, name).into(), log }, tasks.len());
        let loaded =
            (0..tasks).map(|task| schedule.load(nth, log, &store.partition(task))).collect::<Result<Vec<_>>>()?;
        let mut read = store.restore(topology, &loaded, &offset_metadata)?;
        if let Err(misfit) = &read {
            let of_task = |task: usize| misfit.task.is_none_or(|unfit| unfit == task);
            let unfit =
                loaded.iter().enumerate().filter(|(task, _)| of_task(*task)).filter_map(|(_, loaded)| loaded.as_ref());
            unfit.for_each(|loaded| loaded.set_aside(&misfit.reason));
            topology.renew(nth, fresh()?);
            let none: Vec<Option<Loaded>> = loaded.iter().map(|_| None).collect();
            read = store.restore(topology, &none, &offset_metadata)?;
        }
        schedule.note_restored(nth, read.unwrap_or_default());
    }
    Ok(())
}

impl Store<'_> {
    fn partition(&self, task: usize) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), task as i32)
    }

    /// Restores all tasks, and compares those that had a snapshot with what the last commit says. An error in a state is the
    /// snapshots' if there were some.
    fn restore<'a>(
        &self,
        topology: &mut Topology,
        loaded: &[Option<Loaded>],
        offset_metadata: &impl Fn(usize) -> &'a str,
    ) -> Result<std::result::Result<Read, Misfit>> {
        let (_, mut tasks) = topology.stores().swap_remove(self.nth);
        match self.restore_tasks(&mut tasks, loaded, offset_metadata) {
            Err(error) if loaded.iter().any(Option::is_some) && matches!(error.kind(), Kind::Data | Kind::Bug) => {
                Ok(Err(Misfit { task: None, reason: format!("state cannot be restored from it: {error}") }))
            }
            done => done,
        }
    }

    fn restore_tasks<'a>(
        &self,
        tasks: &mut [&mut dyn Operator],
        loaded: &[Option<Loaded>],
        offset_metadata: &impl Fn(usize) -> &'a str,
    ) -> Result<std::result::Result<Read, Misfit>> {
        let read = self.read(tasks, loaded)?;
        for (task, (operator, loaded)) in tasks.iter_mut().zip(loaded).enumerate() {
            let (memo, living) = split_memo(offset_metadata(task), self.nth);
            operator.restore_metadata(memo)?;
            let found = operator.living();
            let fits = found.is_none() || found == living || mutant::on(Mutant::SnapshotTrusted);
            if loaded.is_some() && !fits {
                let number = |living: Option<u64>| living.map_or("an unknown number of".to_owned(), |n| n.to_string());
                let reason = format!(
                    "its changelog has forgotten deletions since: {} entries instead of {}",
                    number(found),
                    number(living)
                );
                return Ok(Err(Misfit { task: Some(task), reason }));
            }
        }
        Ok(Ok(read))
    }

    /// K11: reads all partitions of a changelog to their ends. The end is the high watermark before the first read: everything up
    /// to it was either committed or aborted, and the reader's position passes aborted records and markers (KAFKA-10167).
    fn read(&self, tasks: &mut [&mut dyn Operator], loaded: &[Option<Loaded>]) -> Result<Read> {
        let (mut ends, mut assignment, mut bytes) = (Vec::new(), Vec::new(), (0, 0));
        for (task, (operator, loaded)) in tasks.iter_mut().zip(loaded).enumerate() {
            let partition = self.partition(task);
            ends.push(self.log.watermarks(&partition)?.high);
            let mut start = Start::Earliest;
            if let Some(loaded) = loaded {
                loaded.for_each(|entries| {
                    entries.iter().try_for_each(|entry| operator.restore(entry.key, entry.value, entry.timestamp))
                })?;
                start = Start::Offset(loaded.offset);
                bytes.0 += loaded.bytes;
            }
            assignment.push(Assignment { topic: partition.topic, partition: partition.partition, start });
        }
        let mut reader = self.log.reader(assignment, Isolation::ReadCommitted)?;
        while ends.iter().enumerate().any(|(slot, &end)| reader.position(slot) < end) {
            for run in reader.poll(BATCH_ROWS_MAX, RESTORE_POLL)?.runs() {
                bytes.1 += run.bytes();
                let operator = &mut tasks[run.slot];
                let mut result = Ok(());
                run.for_each(|r| {
                    if result.is_ok() {
                        result = operator.restore(r.key.unwrap_or_default(), r.value, r.timestamp);
                    }
                });
                result?;
            }
        }
        Ok(bytes)
    }
}
