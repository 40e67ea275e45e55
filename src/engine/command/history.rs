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

use super::acceptance::{self, Acceptance};
use super::mark::{Judge, Role, Secret, Verdict};
use super::{COMMAND_FORMAT, Command, CommandLog, Removal};
use crate::error::{Error, Result};
use crate::log::{Assignment, Isolation, Log, RecordRef, Start, TopicPartition};
use serde::Deserialize;
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
/// More commands than any service executes; a larger number is not one of a command.
const SEQUENCE_MAX: u64 = 1 << 52;

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
}

/// A command and its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its offset.
    pub offset: i64,
    /// Its time, milliseconds since 1970.
    pub timestamp: i64,
    /// Whether it carries the service's mark; commands of an earlier build do not.
    pub is_marked: bool,
    /// The command.
    pub command: Command,
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

/// Read first: a newer build may write the rest in another format.
#[derive(Deserialize)]
struct Version {
    format: u32,
    engine: String,
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

/// Reads the whole topic; the secret is that of its epoch, if it has one.
pub(super) fn read(log: &dyn Log, topic: &str) -> Result<(History, Option<Secret>)> {
    let partition = TopicPartition::new(topic, 0);
    let end = log.watermarks(&partition)?.high;
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
    judge: Judge,
    history: History,
    acceptance: Acceptance,
    /// Offsets named by removals.
    removed: BTreeSet<i64>,
}

impl Reading<'_> {
    fn take(&mut self, record: &RecordRef<'_>) -> Result<()> {
        let value = record.value.unwrap_or_default();
        match self.judge.judge(value, &record.headers) {
            Verdict::Genuine(Role::Epoch) => Ok(()),
            Verdict::Genuine(Role::Repair) => {
                match serde_json::from_slice(value) {
                    Ok(removal) => self.remove(&removal),
                    Err(_) => self.skip(record, "it is marked as a removal and cannot be read as one"),
                }
                Ok(())
            }
            Verdict::Genuine(Role::Command) => self.command(record, value, true),
            Verdict::Unmarked => self.command(record, value, false),
            Verdict::Foreign(reason) => {
                self.skip(record, reason);
                Ok(())
            }
            Verdict::Newer(engine) => Err(self.newer(record.offset, &engine)),
        }
    }

    fn command(&mut self, record: &RecordRef<'_>, value: &[u8], is_marked: bool) -> Result<()> {
        if let Ok(Version { format, engine }) = serde_json::from_slice(value)
            && format > COMMAND_FORMAT
        {
            return Err(self.newer(record.offset, &engine));
        }
        let command: Command = match serde_json::from_slice(value) {
            Ok(command) => command,
            // A command of this service that this build cannot read.
            Err(e) if is_marked => return Err(self.newer(record.offset, "of another format").because(e)),
            Err(e) => {
                self.skip(record, &format!("it cannot be read as a command: {e}"));
                return Ok(());
            }
        };
        if command.sequence > SEQUENCE_MAX {
            self.skip(record, "its sequence number is none of a command");
            return Ok(());
        }
        match self.acceptance.judge(&command, value, is_marked) {
            acceptance::Verdict::Accepted => {}
            acceptance::Verdict::Copy => {
                self.skip(record, "it is a copy of an earlier command");
                return Ok(());
            }
            acceptance::Verdict::Overtaken => {
                self.skip(record, "another statement was recorded in its place");
                return Ok(());
            }
        }
        let (offset, timestamp) = (record.offset, record.timestamp);
        self.history.commands.push(Recorded { offset, timestamp, is_marked, command });
        Ok(())
    }

    fn skip(&mut self, record: &RecordRef<'_>, reason: &str) {
        self.history.skipped_count += 1;
        if self.history.skipped.len() < SKIPPED_MAX {
            let value = record.value.unwrap_or_default();
            let shown = value[..value.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
            let (offset, timestamp) = (record.offset, record.timestamp);
            self.history.skipped.push(Skipped { offset, timestamp, reason: reason.to_owned(), shown });
        }
    }

    /// A removal follows what it removes.
    fn remove(&mut self, removal: &Removal) {
        self.removed.extend(&removal.offsets);
        self.history.skipped.retain(|s| s.offset >= removal.below && !removal.offsets.contains(&s.offset));
        // Records that were only counted precede the removal, and are removed too.
        self.history.skipped_count = self.history.skipped.len() as u64;
    }

    fn finish(mut self) -> (History, Option<Secret>) {
        self.history.commands.retain(|recorded| !self.removed.contains(&recorded.offset));
        (self.history, self.judge.secret())
    }

    fn newer(&self, offset: i64, engine: &str) -> Error {
        Error::io(format!("the command log was written by a newer Tidegate ({engine})"))
            .with_detail(format!("topic {}, offset {offset}", self.topic))
            .with_hint("start that version, or a newer one")
    }
}
