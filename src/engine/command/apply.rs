//! Applying a command: the one way in which catalogue and queries change once an engine runs.
//!
//! ```text
//! own command          recorded, and then applied with the query that its statement made ready; what it ended goes back to the
//!                      statement, which deletes its topics and its group
//! another process's    its query is planned again, as in the replay; what it ended only stops: its process deletes the topics
//! ```
//!
//! Commands are applied in the order of the log by one thread at a time: by the tail (`tail`) where the log has several writers, else
//! by the statement itself. No broker and no registry is contacted. A query that takes the place of another one starts after that
//! one has committed and stopped.

use super::replay::{Created, note_late_topic};
use super::status::CommandStatus;
use super::{Command, Recorded};
use crate::catalog::{Effect, Source};
use crate::engine::cluster::node::Node;
use crate::engine::query::persistent::{Query, State as QueryState};
use crate::engine::snapshot::{QueryText, State};
use crate::engine::{Drive, Engine};
use crate::threads;
use std::sync::Arc;

/// The kind of the thread that stops a query of another process's statement.
const STOPPER: &str = "query-stop";

/// The offset of a command that was not read from the log.
const NOT_READ: i64 = -1;

/// A query that a statement made ready before its command was recorded. Its thread is held.
#[derive(Debug)]
pub(in crate::engine) struct Prepared {
    /// The query.
    pub(in crate::engine) query: Arc<Query>,
    /// What EXPLAIN shows of it.
    pub(in crate::engine) text: Arc<QueryText>,
}

/// A query that starts.
struct Starting {
    id: String,
    query: Arc<Query>,
    text: Arc<QueryText>,
    /// Whether its thread exists already, and is held.
    is_held: bool,
}

impl Engine {
    /// Changes the state, for statements and the tail. Cached plans are invalidated.
    pub(in crate::engine) fn change_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = self.inner.state.change(change);
        // After the new state is visible: a plan that is made from it must not count as outdated, one from the old must.
        self.inner.plan_cache.outdate();
        self.inner.node.iter().for_each(Node::news);
        done
    }

    /// Applies a command that counts, with the query that was made ready for it, if any. Returns the queries that it ended, which
    /// still run.
    pub(super) fn apply(&self, recorded: &Recorded, prepared: Option<Prepared>) -> Vec<Arc<Query>> {
        let command = &recorded.command;
        let before = self.inner.state.load();
        let status = command.status.clone();
        let status = status.unwrap_or_else(|| CommandStatus::of_effect(&command.effect, &before.catalog));
        let starting = self.starting(recorded, prepared, &before);
        if let Some(replaced) = starting.as_ref().and_then(|starting| before.queries.get(&starting.id)) {
            // Commits and ends: the next one continues at its offsets. Until then lookups see the old query and its rows.
            replaced.stop();
        }
        match &command.effect {
            Effect::CreateSource(source) => self.inner.writers.learn(source),
            Effect::CreateQuery { sink, .. } => self.inner.writers.learn(sink),
            _ => {}
        }
        let ended = self.change_state(|state| {
            let catalog = state.catalog_mut();
            catalog.apply(&command.effect);
            if let Some(Starting { id, query, text, .. }) = &starting {
                note_late_topic(catalog, query, id);
                state.texts.insert(id.clone(), text.clone());
                state.queries.insert(id.clone(), query.clone());
            }
            state.next = state.next.max(command.sequence + 1);
            Arc::make_mut(&mut state.statuses).note(status.at(command.sequence as i64));
            let gone = |id: &&String| state.catalog.query(id).is_none();
            let gone: Vec<String> = state.queries.keys().filter(gone).cloned().collect();
            gone.iter().filter_map(|id| state.remove_query(id)).collect()
        });
        if let Some(starting) = starting {
            self.start_query(&starting);
        }
        if let Effect::Pause { id, paused } = &command.effect
            && let Some(query) = self.inner.state.load().queries.get(id)
        {
            query.pause(*paused);
        }
        ended
    }

    /// Applies a command that this process, which is the only one, has just recorded.
    pub(in crate::engine) fn apply_own(
        &self,
        command: Command,
        prepared: Option<Prepared>,
        timestamp: i64,
    ) -> Vec<Arc<Query>> {
        self.apply(&Recorded { offset: NOT_READ, timestamp, is_marked: true, command }, prepared)
    }

    /// Does what another process's command asks of the queries of this one, after it was applied.
    pub(super) fn follow_up(&self, command: &Command, ended: Vec<Arc<Query>>) {
        ended.into_iter().for_each(|query| self.stop_query(query));
        if let Effect::Pause { id, paused: false } = &command.effect
            && let Some(query) = self.inner.state.load().queries.get(id)
            && let Err(error) = query.restart(self.inner.drive)
        {
            tracing::warn!(query = id, %error, "a query that another process resumed cannot be resumed here");
        }
        self.generate().unwrap_or_else(|error| tracing::warn!(%error, "a generator cannot be started"));
    }

    /// The query that a command creates: the one that was made ready for it, or else one that is planned from the record.
    fn starting(&self, recorded: &Recorded, prepared: Option<Prepared>, before: &State) -> Option<Starting> {
        let Effect::CreateQuery { id, sink, begin, .. } = &recorded.command.effect else { return None };
        if let Some(Prepared { query, text }) = prepared {
            return Some(Starting { id: id.clone(), query, text, is_held: self.inner.drive == Drive::Threads });
        }
        let replaced = before.queries.get(id);
        let (query, text) = self.plan_again(Created {
            id: id.clone(),
            command: recorded.command.clone(),
            sink: Arc::new(Source::clone(sink)),
            begin: begin.clone(),
            before: before.catalog.clone(),
            is_paused: replaced.is_some_and(|query| query.state() == QueryState::Paused),
            timestamp: recorded.timestamp,
        });
        Some(Starting { id: id.clone(), query: Arc::new(query), text: Arc::new(text), is_held: false })
    }

    /// A query was created: it runs from now on.
    fn start_query(&self, Starting { id, query, is_held, .. }: &Starting) {
        if self.inner.drive == Drive::ByHand {
            return;
        }
        query.note_new();
        match is_held {
            true => query.release(),
            false => {
                if let Err(error) = query.spawn() {
                    tracing::error!(query = id, %error, "a query of another process's statement cannot start");
                    query.refuse(&error);
                }
            }
        }
    }

    /// A query was ended by another process: its thread commits and ends, and the snapshots of its state are removed. The tail does
    /// not wait for that, because a commit may wait for its brokers.
    pub(super) fn stop_query(&self, query: Arc<Query>) {
        let (snapshots, id) = (self.inner.snapshots.clone(), query.group().to_owned());
        let stop = move || {
            query.stop();
            snapshots.iter().for_each(|snapshots| snapshots.retain(&format!("{}-", query.group()), |_| false));
        };
        if self.inner.drive == Drive::ByHand {
            return stop();
        }
        // Without a thread to spare the closure is dropped here, and with it the query, which stops.
        drop(threads::spawn(STOPPER, id, stop));
    }
}
