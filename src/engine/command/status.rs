//! Statuses of statements by the ids of ksqlDB's commands: what `GET /status` returns.
//!
//! ```text
//! CREATE STREAM s, CREATE STREAM s AS, INSERT INTO s SELECT    stream/`S`/create
//! ALTER STREAM s, DROP STREAM s                                stream/S/alter, stream/S/drop
//! CREATE TYPE t, DROP TYPE t                                   type/T/create, type/T/drop
//! TERMINATE q, PAUSE ALL                                       terminate/Q/execute, pause/ALL/execute
//! ```
//!
//! A statement has been carried out when its reply is sent, so that there is no other status than SUCCESS. A command records
//! its status: after a restart they come from the command log again.

use crate::catalog::{Catalog, Effect};
use crate::engine::result::entity::Status;
use crate::engine::{Drive, Engine};
use crate::error::{Error, Result};
use crate::parse::statement::SourceKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Statuses that are kept; the oldest are dropped.
const KEPT_MAX: usize = 10_000;

/// How long a request waits for the command that it names: ksqlDB's `ksql.server.command.response.timeout.ms`.
const COMMAND_WAIT: Duration = Duration::from_secs(5);

impl Engine {
    /// Returns once the command with this sequence number has been executed, so that a client that was redirected here sees its
    /// own changes. An error with code 50301 after [`COMMAND_WAIT`], as ksqlDB's `CommandStoreUtil`.
    pub fn wait_for_command(&self, sequence: i64) -> Result<()> {
        // A negative number, which clients send before their first command, names none.
        let Ok(awaited) = u64::try_from(sequence) else { return Ok(()) };
        if self.inner.drive == Drive::ByHand {
            self.read_commands()?;
        }
        if self.inner.state.await_command(awaited, COMMAND_WAIT) {
            return Ok(());
        }
        self.check_consistent()?;
        let text = "Timed out while waiting for a previous command to execute. command sequence number";
        Err(Error::io(format!("{text}: {sequence}")).with_code(50301))
    }
}

/// The last status of each id.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Statuses(BTreeMap<String, Arc<Status>>);

impl Statuses {
    /// Adds the status of a statement that was carried out.
    pub(in crate::engine) fn note(&mut self, status: Status) {
        self.0.insert(status.command_id.clone(), Arc::new(status));
        if self.0.len() > KEPT_MAX
            && let Some(oldest) = self.0.values().min_by_key(|s| s.sequence).map(|s| s.command_id.clone())
        {
            self.0.remove(&oldest);
        }
    }

    /// All of them, by id.
    pub(in crate::engine) fn all(&self) -> impl Iterator<Item = &Status> {
        self.0.values().map(|status| &**status)
    }
}

/// What a command returns, as `GET /status` repeats it: a part of the statement's plan, and of its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandStatus {
    /// ksqlDB's id: kind, entity and action.
    pub id: String,
    /// What was done.
    pub message: String,
    /// The query that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

impl CommandStatus {
    fn new(kind: &str, entity: &str, action: &str, message: impl Into<String>) -> CommandStatus {
        CommandStatus { id: format!("{kind}/{entity}/{action}"), message: message.into(), query: None }
    }

    /// CREATE STREAM, CREATE TABLE.
    pub(in crate::engine) fn created(kind: SourceKind, name: &str) -> CommandStatus {
        CommandStatus::new(
            &noun(kind).to_lowercase(),
            &format!("`{name}`"),
            "create",
            format!("{} created", noun(kind)),
        )
    }

    /// CREATE ... AS SELECT, INSERT INTO ... SELECT.
    pub(in crate::engine) fn query_created(kind: SourceKind, name: &str, id: &str) -> CommandStatus {
        let created = CommandStatus::created(kind, name);
        CommandStatus { message: format!("Created query with ID {id}"), query: Some(id.to_owned()), ..created }
    }

    /// ALTER.
    pub(in crate::engine) fn altered(kind: SourceKind, name: &str) -> CommandStatus {
        CommandStatus::new(&noun(kind).to_lowercase(), name, "alter", format!("{} altered", noun(kind)))
    }

    /// DROP STREAM, DROP TABLE.
    pub(in crate::engine) fn dropped(kind: SourceKind, name: &str, message: String) -> CommandStatus {
        CommandStatus::new(&noun(kind).to_lowercase(), name, "drop", message)
    }

    /// CREATE TYPE.
    pub(in crate::engine) fn type_created(name: &str, message: String) -> CommandStatus {
        CommandStatus::new("type", name, "create", message)
    }

    /// DROP TYPE.
    pub(in crate::engine) fn type_dropped(name: &str, message: String) -> CommandStatus {
        CommandStatus::new("type", name, "drop", message)
    }

    /// TERMINATE; a statement about all queries has one status.
    pub(in crate::engine) fn terminated(id: Option<&str>) -> CommandStatus {
        CommandStatus::new("terminate", id.unwrap_or("ALL"), "execute", "Query terminated.")
    }

    /// PAUSE, RESUME.
    pub(in crate::engine) fn paused(id: Option<&str>, paused: bool) -> CommandStatus {
        let (verb, message) = if paused { ("pause", "Query paused.") } else { ("resume", "Query resumed.") };
        CommandStatus::new(verb, id.unwrap_or("ALL"), "execute", message)
    }

    /// The status of a command of an earlier build, which did not record it. ALTER counts as CREATE, and a statement about all
    /// queries as one about each.
    pub(in crate::engine) fn of_effect(effect: &Effect, before: &Catalog) -> CommandStatus {
        match effect {
            Effect::CreateSource(source) => CommandStatus::created(source.kind, &source.name),
            Effect::CreateQuery { id, sink, .. } => CommandStatus::query_created(sink.kind, &sink.name, id),
            Effect::Drop { name } => {
                let source = before.source(name);
                let (kind, topic) = source.map_or((SourceKind::Stream, ""), |s| (s.kind, s.topic.as_str()));
                CommandStatus::dropped(kind, name, format!("Source `{name}` (topic: {topic}) was dropped."))
            }
            Effect::CreateType { name, ty } => {
                let message = format!("Registered custom type with name '{name}' and SQL type {ty}");
                CommandStatus::type_created(name, message)
            }
            Effect::DropType { name } => CommandStatus::type_dropped(name, format!("Dropped type '{name}'")),
            Effect::Terminate { id } => CommandStatus::terminated(Some(id)),
            Effect::Pause { id, paused } => CommandStatus::paused(Some(id), *paused),
        }
    }

    /// The status of the statement that the command log holds at this place.
    pub(in crate::engine) fn at(self, sequence: i64) -> Status {
        Status { command_id: self.id, message: self.message, query_id: self.query, sequence, warnings: Vec::new() }
    }
}

/// A source's kind in ksqlDB's messages.
pub(in crate::engine) fn noun(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "Stream",
        SourceKind::Table => "Table",
    }
}
