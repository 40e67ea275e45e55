//! One record of the command log after the other: what it is, by what precedes it.
//!
//! ```text
//! epoch             the secret of the marks behind it              Nothing
//! command           its place is free                              Command
//!                   another statement has its place                Overtaken
//! removal, end      of `tidegate repair`, of TERMINATE CLUSTER     Removal, End
//! anything else     is not of this service                         Skipped
//! ```
//!
//! A pure fold: the replay at a start and the tail that follows it take the same records for the same things, in every process. A
//! command of a newer build is an error: ignoring it would yield a wrong catalogue.

use super::acceptance::{self, Acceptance};
use super::mark::{self, Judge, Role, Secret};
use super::{COMMAND_FORMAT, Command, Removal};
use crate::error::{Error, Result};
use crate::log::RecordRef;
use serde::Deserialize;

/// More commands than any service executes; a larger number is not one of a command.
const SEQUENCE_MAX: u64 = 1 << 52;

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

/// The state of the fold.
#[derive(Debug, Default)]
pub(in crate::engine) struct Fold {
    judge: Judge,
    acceptance: Acceptance,
}

/// What a record is.
#[derive(Debug)]
pub(super) enum Taken {
    /// The epoch: nothing for the catalogue.
    Nothing,
    /// A command that counts.
    Command(Box<Recorded>),
    /// A command that does not count: another statement has its place. The process that recorded it, if it says so.
    Overtaken(Option<String>),
    /// What `tidegate repair` has removed.
    Removal(Removal),
    /// The service was terminated.
    End,
    /// Not a command of this service: why.
    Skipped(String),
}

/// Read first: a newer build may write the rest in another format.
#[derive(Deserialize)]
struct Version {
    format: u32,
    engine: String,
}

impl Fold {
    /// The sequence number of the next command.
    pub(in crate::engine) fn next(&self) -> u64 {
        self.acceptance.next()
    }

    /// The secret that marks new records, if the log has one.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.judge.secret()
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, topic: &str, record: &RecordRef<'_>) -> Result<Taken> {
        let value = record.value.unwrap_or_default();
        match self.judge.judge(value, &record.headers) {
            mark::Verdict::Genuine(Role::Epoch) => Ok(Taken::Nothing),
            mark::Verdict::Genuine(Role::End) => Ok(Taken::End),
            mark::Verdict::Genuine(Role::Repair) => Ok(match serde_json::from_slice(value) {
                Ok(removal) => Taken::Removal(removal),
                Err(_) => Taken::Skipped("it is marked as a removal and cannot be read as one".to_owned()),
            }),
            mark::Verdict::Genuine(Role::Command) => self.command(topic, record, value, true),
            mark::Verdict::Unmarked => self.command(topic, record, value, false),
            mark::Verdict::Foreign(reason) => Ok(Taken::Skipped(reason.to_owned())),
            mark::Verdict::Newer(engine) => Err(newer(topic, record.offset, &engine)),
        }
    }

    fn command(&mut self, topic: &str, record: &RecordRef<'_>, value: &[u8], is_marked: bool) -> Result<Taken> {
        if let Ok(Version { format, engine }) = serde_json::from_slice(value)
            && format > COMMAND_FORMAT
        {
            return Err(newer(topic, record.offset, &engine));
        }
        let command: Command = match serde_json::from_slice(value) {
            Ok(command) => command,
            // A command of this service that this build cannot read.
            Err(e) if is_marked => return Err(newer(topic, record.offset, "of another format").because(e)),
            Err(e) => return Ok(Taken::Skipped(format!("it cannot be read as a command: {e}"))),
        };
        if command.sequence > SEQUENCE_MAX {
            return Ok(Taken::Skipped("its sequence number is none of a command".to_owned()));
        }
        Ok(match self.acceptance.judge(&command, value, is_marked) {
            acceptance::Verdict::Accepted => {
                let (offset, timestamp) = (record.offset, record.timestamp);
                Taken::Command(Box::new(Recorded { offset, timestamp, is_marked, command }))
            }
            acceptance::Verdict::Copy => Taken::Skipped("it is a copy of an earlier command".to_owned()),
            acceptance::Verdict::Overtaken => Taken::Overtaken(command.process),
        })
    }
}

fn newer(topic: &str, offset: i64, engine: &str) -> Error {
    Error::io(format!("the command log was written by a newer Tidegate ({engine})"))
        .with_detail(format!("topic {topic}, offset {offset}"))
        .with_hint("start that version, or a newer one")
}
