//! State at a start: of each store the snapshot of every task that has one which fits, and then the changelog from there.

use super::snapshot::Schedule;
use super::spec::BATCH_ROWS_MAX;
use super::topology::Topology;
use crate::error::Result;
use crate::execute::operator::Operator;
use crate::execute::pipeline::changelog_topic;
use crate::log::{Assignment, Isolation, Log, Start, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// How long one poll waits while state is restored; a restore itself ends at the changelog's end.
const RESTORE_POLL: Duration = Duration::from_millis(100);

/// Restores all stores.
pub(super) fn restore(topology: &mut Topology, log: &dyn Log, group: &str, schedule: &mut Schedule) -> Result<()> {
    for (nth, (store, mut tasks)) in topology.stores().into_iter().enumerate() {
        let read = restore_store(log, &changelog_topic(group, store).into(), &mut tasks, schedule, nth)?;
        schedule.note_restored(nth, read);
    }
    Ok(())
}

/// K11: reads all partitions of a changelog to their ends. The end is the high watermark before the first read: everything up
/// to it was either committed or aborted, and the reader's position passes aborted records and markers (KAFKA-10167).
///
/// Returns the bytes of snapshots and of the changelog.
fn restore_store(
    log: &dyn Log,
    topic: &Arc<str>,
    operators: &mut [&mut dyn Operator],
    schedule: &Schedule,
    nth: usize,
) -> Result<(u64, u64)> {
    let (mut ends, mut assignment, mut bytes) = (Vec::new(), Vec::new(), (0, 0));
    for (task, operator) in operators.iter_mut().enumerate() {
        let partition = TopicPartition::new(topic.clone(), task as i32);
        let marks = log.watermarks(&partition)?;
        let mut start = Start::Earliest;
        if let Some(loaded) = schedule.load(nth, log, &partition, marks)? {
            loaded.for_each(|entries| {
                entries.iter().try_for_each(|entry| operator.restore(entry.key, entry.value, entry.timestamp))
            })?;
            start = Start::Offset(loaded.offset);
            bytes.0 += loaded.bytes;
        }
        ends.push(marks.high);
        assignment.push(Assignment { topic: topic.clone(), partition: partition.partition, start });
    }
    let mut reader = log.reader(assignment, Isolation::ReadCommitted)?;
    while ends.iter().enumerate().any(|(slot, &end)| reader.position(slot) < end) {
        for run in reader.poll(BATCH_ROWS_MAX, RESTORE_POLL)?.runs() {
            bytes.1 += run.bytes();
            let operator = &mut operators[run.slot];
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
