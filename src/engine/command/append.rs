//! Appending a command, also when the log does not confirm it.
//!
//! ```text
//! the log confirms        recorded
//! it does not             the log is read: if the command is there, it is recorded after all
//!                         if it is not, the statement has failed, but its record may still arrive: the next statement reads the
//!                         log before its append, and after it, and counts only if its place was free
//! ```
//!
//! Without that, a statement that was reported as failed would be carried out at the next start, beside the one with its number.

use super::mark::Role;
use super::{Command, CommandLog, history};
use crate::error::{Error, Result};
use crate::log::Log;
use std::sync::atomic::Ordering;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log and counts.
    Recorded,
    /// The log holds another statement in its place, which is not in the catalogue.
    Overtaken,
}

impl CommandLog {
    /// Makes a command durable.
    pub fn append(&self, log: &dyn Log, command: &Command, now_ms: i64) -> Result<Appended> {
        let is_unresolved = self.is_unresolved.load(Ordering::Acquire);
        if is_unresolved && let Some(appended) = self.resolve(log, command)? {
            return Ok(appended);
        }
        match self.send(log, command, &bytes(command)?, now_ms) {
            Ok(()) if !is_unresolved => Ok(Appended::Recorded),
            Ok(()) => self.resolve(log, command)?.ok_or_else(|| {
                Error::io("the command log confirmed a statement and does not contain it")
                    .with_hint("check whether records of the command topic are deleted")
            }),
            Err(error) => self.look_after(log, command, error),
        }
    }

    /// Appends a command whose value is already encoded. Whether it counts shows when it is read.
    pub(super) fn send(&self, log: &dyn Log, command: &Command, value: &[u8], now_ms: i64) -> Result<()> {
        self.write_marked(log, Role::Command, &command.sequence.to_string(), value, now_ms)
    }

    /// After an append that was not confirmed: recorded if the log contains the command, else the error. A log that accepts no
    /// writes any more may show what is not durable.
    fn look_after(&self, log: &dyn Log, command: &Command, error: Error) -> Result<Appended> {
        self.is_unresolved.store(true, Ordering::Release);
        if log.check_writable().is_err() {
            return Err(error);
        }
        match self.resolve(log, command) {
            Ok(Some(appended)) => Ok(appended),
            // The error of the append says more than that of the attempt to look.
            Ok(None) | Err(_) => Err(error),
        }
    }

    /// Which command counts at the place of this one; None if it is free.
    fn resolve(&self, log: &dyn Log, command: &Command) -> Result<Option<Appended>> {
        let history = history::read(log, &self.topic)?;
        let mut commands = history.commands.iter().map(|recorded| &recorded.command);
        let Some(holder) = commands.find(|holder| holder.sequence == command.sequence) else { return Ok(None) };
        if bytes(holder)? != bytes(command)? {
            return Ok(Some(Appended::Overtaken));
        }
        // What arrives late from now on does not count: its place is taken.
        self.is_unresolved.store(false, Ordering::Release);
        Ok(Some(Appended::Recorded))
    }
}

/// The value of a command's record.
pub(super) fn bytes(command: &Command) -> Result<Vec<u8>> {
    serde_json::to_vec(command).map_err(|e| Error::bug("a command cannot be written").because(e))
}
