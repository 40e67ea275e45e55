//! What became of statements, by the ids of ksqlDB's commands: `GET /status` asks for it.
//!
//! ```text
//! CREATE STREAM s, CREATE STREAM s AS, INSERT INTO s SELECT    stream/`S`/create
//! ALTER STREAM s, DROP STREAM s                                stream/S/alter, stream/S/drop
//! CREATE TYPE t, DROP TYPE t                                   type/T/create, type/T/drop
//! TERMINATE q, PAUSE ALL                                       terminate/Q/execute, pause/ALL/execute
//! ```
//!
//! A statement is done when it is answered, so that there is no other status than SUCCESS. After a restart the statuses come
//! from the command log again.

use crate::catalog::{Catalog, Source};
use crate::engine::Engine;
use crate::engine::command::{Command, Effect};
use crate::engine::result::entity::Status;
use crate::error::{Error, Result};
use crate::parse::statement::SourceKind;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Statuses that are kept; the oldest leave.
const KEPT_MAX: usize = 10_000;

/// How long a request waits for the command that it names: ksqlDB's `ksql.server.command.response.timeout.ms`.
const COMMAND_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked whether the command has been carried out.
const COMMAND_LOOK: Duration = Duration::from_millis(10);

impl Engine {
    /// Returns once the command with this sequence number has been carried out: a client that was redirected here sees what it
    /// did elsewhere. An error with code 50301 after [`COMMAND_WAIT`], as ksqlDB's `CommandStoreUtil`.
    pub fn wait_for_command(&self, sequence: i64) -> Result<()> {
        let clock = &self.inner.clock;
        let begin = clock.monotonic();
        while i64::try_from(self.inner.state.load().next).is_ok_and(|next| next <= sequence) {
            if clock.monotonic().saturating_sub(begin) >= COMMAND_WAIT {
                return Err(Error::io(format!(
                    "Timed out while waiting for a previous command to execute. command sequence number: {sequence}"
                ))
                .with_code(50301));
            }
            clock.sleep(COMMAND_LOOK);
        }
        Ok(())
    }
}

/// The last status of each id.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Statuses(BTreeMap<String, Arc<Status>>);

impl Statuses {
    /// A statement was carried out.
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

/// What a recorded command was answered; `before` is the catalogue as it was then.
pub(in crate::engine) fn told(command: &Command, before: &Catalog) -> Status {
    let statement = command.statement.as_str();
    let (command_id, message, query_id) = match &command.effect {
        Effect::CreateSource(source) => of_source(statement, source),
        Effect::CreateQuery { id, sink, .. } => {
            (created(sink.kind, &sink.name), format!("Created query with ID {id}"), Some(id.clone()))
        }
        Effect::Drop { name } => {
            let source = before.source(name);
            let kind = source.map_or(SourceKind::Stream, |s| s.kind);
            let topic = source.map_or("", |s| s.topic.as_str());
            (changed(kind, name, "drop"), dropped(name, topic), None)
        }
        Effect::CreateType { name, ty } => (format!("type/{name}/create"), registered(name, &ty.to_string()), None),
        Effect::DropType { name } => (format!("type/{name}/drop"), format!("Dropped type '{name}'"), None),
        Effect::Terminate { id } => (executed("terminate", named(statement, id)), "Query terminated.".to_owned(), None),
        Effect::Pause { id, paused } => {
            let (verb, message) = paused_words(*paused);
            (executed(verb, named(statement, id)), message.to_owned(), None)
        }
    };
    Status { command_id, message, query_id, sequence: command.sequence as i64 }
}

fn of_source(statement: &str, source: &Source) -> (String, String, Option<String>) {
    let (kind, name) = (source.kind, &source.name);
    let is_alter = statement.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("ALTER"));
    match is_alter {
        true => (changed(kind, name, "alter"), format!("{} altered", noun(kind)), None),
        false => (created(kind, name), format!("{} created", noun(kind)), None),
    }
}

/// A statement about all queries is one status.
fn named<'a>(statement: &str, id: &'a str) -> &'a str {
    let last = statement.split_whitespace().last();
    if last.is_some_and(|word| word.eq_ignore_ascii_case("ALL")) { "ALL" } else { id }
}

/// Of a source that is made.
pub(in crate::engine) fn created(kind: SourceKind, name: &str) -> String {
    format!("{}/`{name}`/create", noun(kind).to_lowercase())
}

/// Of a source that is there.
pub(in crate::engine) fn changed(kind: SourceKind, name: &str, verb: &str) -> String {
    format!("{}/{name}/{verb}", noun(kind).to_lowercase())
}

/// Of a query, or of all.
pub(in crate::engine) fn executed(verb: &str, id: &str) -> String {
    format!("{verb}/{id}/execute")
}

pub(in crate::engine) fn dropped(name: &str, topic: &str) -> String {
    format!("Source `{name}` (topic: {topic}) was dropped.")
}

pub(in crate::engine) fn registered(name: &str, ty: &str) -> String {
    format!("Registered custom type with name '{name}' and SQL type {ty}")
}

/// What PAUSE and RESUME are called, and what they answer.
pub(in crate::engine) fn paused_words(paused: bool) -> (&'static str, &'static str) {
    if paused { ("pause", "Query paused.") } else { ("resume", "Query resumed.") }
}

/// As answers call it.
pub(in crate::engine) fn noun(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "Stream",
        SourceKind::Table => "Table",
    }
}
