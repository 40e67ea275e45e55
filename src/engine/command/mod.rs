//! Durable statements: one topic, one partition, replayed at every start.
//!
//! A record holds the statement *and its effect*: names, types, formats, topics and partition counts as they were resolved
//! when the statement was carried out. The replay contacts no broker, so that a topic that got more partitions, or a default
//! that changed, cannot change a query silently.
//!
//! A record that is not a command of this service is skipped with a warning (`history`); commands carry a MAC that no query can
//! forge (`mark`).

pub mod repair;

pub(in crate::engine) mod status;
pub(in crate::engine) mod tail;

mod acceptance;
mod append;
mod apply;
mod fold;
mod history;
mod mark;
mod replay;

pub use append::Appended;
pub(in crate::engine) use apply::Prepared;
pub use fold::Recorded;
pub use history::{History, SKIPPED_MAX, Skipped};
pub use status::CommandStatus;

use crate::catalog::Effect;
use crate::catalog::topics::INTERNAL_PREFIX;
use crate::error::{Error, Result};
use crate::log::{Log, RecordSet, TopicSpec};
use fold::Fold;
use mark::{Role, Secret};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Version of the record format; a newer one is refused, with a message.
pub const COMMAND_FORMAT: u32 = 1;

/// One carried-out statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// [`COMMAND_FORMAT`] of the build that wrote it.
    pub format: u32,
    /// Version of Tidegate that wrote it.
    pub engine: String,
    /// Its place: 0, 1, 2 ... without gaps.
    pub sequence: u64,
    /// It counts only if its place was free when its record arrived. Earlier builds did not compare.
    #[serde(default)]
    pub compares: bool,
    /// The process that recorded it, where several may: two that record the same statement at the same place differ by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The statement, after substitution of variables.
    pub statement: String,
    /// The user who executed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The session's properties.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What it meant.
    pub effect: Effect,
    /// What it returned, for `GET /status`. Earlier builds did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CommandStatus>,
}

/// What `tidegate repair` has removed: these records are neither replayed nor reported. They stay in the topic, which is
/// append-only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Removes records below this offset that are not commands.
    pub below: i64,
    /// Removes these records, commands too.
    #[serde(default)]
    pub offsets: Vec<i64>,
}

/// The topic of commands.
#[derive(Debug)]
pub struct CommandLog {
    topic: String,
    /// The secret of its epoch. Another process may have begun the log at the same time: then it is that one's.
    secret: Mutex<Secret>,
    /// Whether the topic holds the secret already.
    is_marked: AtomicBool,
    /// An append was not confirmed, and its record may still arrive.
    is_unresolved: AtomicBool,
}

impl CommandLog {
    /// Reads the command log of a service; the topic is created when it does not exist.
    pub fn open(log: &dyn Log, service_id: &str) -> Result<(CommandLog, History)> {
        let topic = CommandLog::topic(service_id);
        if log.topic(&topic)?.is_none() {
            let spec = TopicSpec::new(&topic, 1).with("retention.ms", -1).with("cleanup.policy", "delete");
            // Another process may have created it in between.
            if let Err(error) = log.create_topic(&spec)
                && log.topic(&topic)?.is_none()
            {
                return Err(error);
            }
        }
        let history = history::read(log, &topic)?;
        let is_marked = AtomicBool::new(history.fold.secret().is_some());
        let secret = Mutex::new(history.fold.secret().cloned().map_or_else(Secret::random, Ok)?);
        Ok((CommandLog { topic, secret, is_marked, is_unresolved: AtomicBool::new(false) }, history))
    }

    /// Name of a service's command log.
    pub fn topic(service_id: &str) -> String {
        format!("{INTERNAL_PREFIX}{service_id}_command_topic")
    }

    /// Writes the epoch if it is missing: from then on only marked records are commands.
    pub fn mark(&self, log: &dyn Log, now_ms: i64) -> Result<()> {
        match self.is_marked.load(Ordering::Acquire) {
            true => Ok(()),
            false => self.write(log, &self.begin(now_ms)?),
        }
    }

    /// Deletes the topic, and with it all commands.
    pub fn delete(&self, log: &dyn Log) -> Result<()> {
        log.delete_topic(&self.topic)
    }

    /// Makes a removal durable.
    pub fn remove(&self, log: &dyn Log, removal: &Removal, now_ms: i64) -> Result<()> {
        let value = serde_json::to_vec(removal).map_err(|e| Error::bug("a removal cannot be written").because(e))?;
        self.write_marked(log, Role::Repair, "repair", &value, now_ms)
    }

    /// Marks new records as the log says now.
    fn adopt(&self, fold: &Fold) {
        if let Some(secret) = fold.secret() {
            self.secret.lock().clone_from(secret);
            self.is_marked.store(true, Ordering::Release);
        }
    }

    fn write_marked(&self, log: &dyn Log, role: Role, key: &str, value: &[u8], now_ms: i64) -> Result<()> {
        let mut set = self.begin(now_ms)?;
        self.secret.lock().push(&mut set, role, now_ms, key, value);
        self.write(log, &set)
    }

    /// The records to write: the epoch comes first if it is missing, with the same secret in every attempt.
    fn begin(&self, now_ms: i64) -> Result<RecordSet> {
        let mut set = RecordSet::default();
        if !self.is_marked.load(Ordering::Acquire) {
            self.secret.lock().push_epoch(&mut set, now_ms, env!("CARGO_PKG_VERSION"))?;
        }
        Ok(set)
    }

    fn write(&self, log: &dyn Log, set: &RecordSet) -> Result<()> {
        log.append(&self.topic, set)?;
        self.is_marked.store(true, Ordering::Release);
        Ok(())
    }
}
