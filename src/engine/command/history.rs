//! Reading a command log: the commands in order, and the records that were skipped.
//!
//! ```text
//! offset 3   {"format":1,"sequence":2,...}   a command
//! offset 4   not json                        skipped: it cannot be read as a command
//! offset 5   {"format":1,"sequence":3,...}   a command
//! ```
//!
//! A record that is not a command never prevents a service from starting. A command of a newer build does: ignoring it would
//! yield a wrong catalogue.

use super::fold::{Fold, Recorded, Taken};
use super::{CommandLog, Removal};
use crate::error::Result;
use crate::log::{Assignment, Isolation, Log, RecordRef, Start, TopicPartition};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long one poll waits during the replay; the replay itself ends at the topic's end.
const REPLAY_POLL: Duration = Duration::from_millis(100);
/// Records per poll during the replay.
const REPLAY_RECORDS: usize = 1_000;
/// Skipped records that are described; the others are counted. A query that once wrote here may have written millions.
pub const SKIPPED_MAX: usize = 1_000;
/// Skipped records that are logged one by one.
const WARNED_MAX: usize = 20;
/// Bytes of a skipped record that are shown.
const SHOWN_BYTES_MAX: usize = 80;

/// The contents of a command log.
#[derive(Debug, Default)]
pub struct History {
    /// Commands in order.
    pub commands: Vec<Recorded>,
    /// The first [`SKIPPED_MAX`] records that are not commands.
    pub skipped: Vec<Skipped>,
    /// Number of records that are not commands.
    pub skipped_count: u64,
    /// The offset that the next record gets.
    pub end: i64,
    /// From which the tail continues.
    pub(in crate::engine) fold: Fold,
}

/// A record that is not a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its offset.
    pub offset: i64,
    /// Its time, milliseconds since 1970.
    pub timestamp: i64,
    /// Why it is not a command.
    pub reason: String,
    /// The beginning of its value.
    pub shown: String,
}

impl History {
    /// Logs what was skipped, and what can be done about it.
    pub(in crate::engine) fn warn(&self, service_id: &str) {
        let topic = CommandLog::topic(service_id);
        for skipped in self.skipped.iter().take(WARNED_MAX) {
            let (offset, reason) = (skipped.offset, &skipped.reason);
            tracing::warn!(topic, offset, reason, "skipped a record of the command log that is not a command");
        }
        if self.skipped_count > 0 {
            let records = self.skipped_count;
            tracing::warn!(
                topic,
                records,
                "the command log holds foreign records: `tidegate repair` shows and removes them"
            );
        }
    }
}

/// Reads the whole topic.
pub(super) fn read(log: &dyn Log, topic: &str) -> Result<History> {
    let partition = TopicPartition::new(topic, 0);
    let end = log.end(&partition)?;
    let from = Assignment { topic: partition.topic.clone(), partition: 0, start: Start::Earliest };
    let mut reader = log.reader(vec![from], Isolation::ReadCommitted)?;
    let mut reading = Reading { topic, ..Reading::default() };
    while reader.position(0) < end {
        for run in reader.poll(REPLAY_RECORDS, REPLAY_POLL)?.runs() {
            let mut failure = None;
            run.for_each(|record| {
                if failure.is_none() {
                    failure = reading.take(&record).err();
                }
            });
            if let Some(e) = failure {
                return Err(e);
            }
        }
    }
    reading.history.end = end;
    Ok(reading.finish())
}

#[derive(Default)]
struct Reading<'a> {
    topic: &'a str,
    history: History,
    /// Offsets named by removals.
    removed: BTreeSet<i64>,
}

impl Reading<'_> {
    fn take(&mut self, record: &RecordRef<'_>) -> Result<()> {
        match self.history.fold.take(self.topic, record)? {
            // A statement that lost the race for its place was repeated by its process: nothing to report.
            Taken::Nothing | Taken::Overtaken(_) => {}
            // The topic should have been deleted then: the process that terminated the service was killed.
            Taken::End => {}
            Taken::Removal(removal) => self.remove(&removal),
            Taken::Command(recorded) => self.history.commands.push(*recorded),
            Taken::Skipped(reason) => self.skip(record, reason),
        }
        Ok(())
    }

    fn skip(&mut self, record: &RecordRef<'_>, reason: String) {
        self.history.skipped_count += 1;
        if self.history.skipped.len() < SKIPPED_MAX {
            let value = record.value.unwrap_or_default();
            let shown = value[..value.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
            let (offset, timestamp) = (record.offset, record.timestamp);
            self.history.skipped.push(Skipped { offset, timestamp, reason, shown });
        }
    }

    /// A removal follows what it removes.
    fn remove(&mut self, removal: &Removal) {
        self.removed.extend(&removal.offsets);
        self.history.skipped.retain(|s| s.offset >= removal.below && !removal.offsets.contains(&s.offset));
        // Records that were only counted precede the removal, and are removed too.
        self.history.skipped_count = self.history.skipped.len() as u64;
    }

    fn finish(mut self) -> History {
        self.history.commands.retain(|recorded| !self.removed.contains(&recorded.offset));
        self.history
    }
}
