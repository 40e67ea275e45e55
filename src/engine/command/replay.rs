//! The replay: rebuilds catalogue and queries from the recorded commands when an engine starts.
//!
//! ```text
//! each command        its effect is applied to the catalogue, its status is kept
//! each live query     its statement is planned again, against the catalogue as it was and the topics as resolved then
//! ```
//!
//! What follows later, recorded by other processes, is planned in the same way (`apply`), one command at a time.
//!
//! Neither a broker nor a registry is contacted. A query that this version cannot plan is listed as ERROR; the others start.

use crate::catalog::{Catalog, Effect, Source};
use crate::engine::command::status::Statuses;
use crate::engine::command::{Command, CommandStatus, Recorded};
use crate::engine::ddl::plan::{Context, plan};
use crate::engine::intent::Intent;
use crate::engine::query::persistent::{NewQuery, Query};
use crate::engine::schemas::facts::AsRecorded;
use crate::engine::snapshot::{QueryText, State};
use crate::engine::{Drive, Engine};
use crate::error::{Error, Result};
use crate::plan::{Facts, Settings, TopicFact};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state after the commands so far.
#[derive(Default)]
struct Replayed {
    catalog: Catalog,
    statuses: Statuses,
    alive: Vec<Created>,
}

/// A query that was created and has not ended.
pub(super) struct Created {
    pub(super) id: String,
    pub(super) command: Command,
    pub(super) sink: Arc<Source>,
    pub(super) begin: Option<Vec<i64>>,
    /// The catalogue as it was when the statement was carried out.
    pub(super) before: Arc<Catalog>,
    pub(super) is_paused: bool,
    /// Time of its command's record.
    pub(super) timestamp: i64,
}

impl Replayed {
    fn take(&mut self, Recorded { command, timestamp, .. }: Recorded) {
        let (effect, sequence) = (command.effect.clone(), command.sequence);
        let status = command.status.clone();
        let status = status.unwrap_or_else(|| CommandStatus::of_effect(&effect, &self.catalog));
        self.statuses.note(status.at(sequence as i64));
        match &effect {
            Effect::CreateQuery { id, sink, begin, .. } => {
                let (id, sink, begin) = (id.clone(), Arc::new(Source::clone(sink)), begin.clone());
                let (before, is_paused) = (Arc::new(self.catalog.clone()), false);
                self.created(Created { id, sink, begin, command, before, is_paused, timestamp });
            }
            Effect::Pause { id, paused } => {
                self.alive.iter_mut().filter(|c| c.id == *id).for_each(|c| c.is_paused = *paused);
            }
            Effect::CreateSource(_)
            | Effect::Drop { .. }
            | Effect::CreateType { .. }
            | Effect::DropType { .. }
            | Effect::Terminate { .. } => {}
        }
        self.catalog.apply(&effect);
        self.alive.retain(|created| self.catalog.query(&created.id).is_some());
    }

    fn created(&mut self, created: Created) {
        match self.alive.iter_mut().find(|c| c.id == created.id) {
            // Replaced: the same query, in its place and in its state.
            Some(replaced) => *replaced = Created { is_paused: replaced.is_paused, ..created },
            None => self.alive.push(created),
        }
    }
}

impl Engine {
    /// Builds catalogue and queries from the commands, and starts the queries; `next` is the sequence number of the next command.
    pub(in crate::engine) fn replay(&self, history: Vec<Recorded>, next: u64) -> Result<()> {
        let mut replayed = Replayed::default();
        history.into_iter().for_each(|recorded| replayed.take(recorded));
        let Replayed { mut catalog, statuses, alive } = replayed;
        let mut state = State { statuses: Arc::new(statuses), next, ..State::default() };
        for created in alive {
            let id = created.id.clone();
            let (query, text) = self.plan_again(created);
            note_late_topic(&mut catalog, &query, &id);
            state.texts.insert(id.clone(), Arc::new(text));
            state.queries.insert(id, Arc::new(query));
        }
        catalog.all().for_each(|source| self.inner.writers.learn(source));
        state.catalog = Arc::new(catalog);
        let _ddl = self.ddl("the replay of the command log")?;
        self.change_state(|present| *present = state);
        if self.inner.drive == Drive::Threads {
            self.inner.state.load().queries().try_for_each(|(_, query)| query.spawn())?;
        }
        Ok(())
    }

    /// Makes a recorded query runnable again, from its statement and what was resolved when it was created.
    pub(super) fn plan_again(&self, created: Created) -> (Query, QueryText) {
        let properties = self.with_defaults(&created.command.properties);
        match self.replan(&created, &properties) {
            Ok(new) => {
                let (is_paused, timestamp) = (created.is_paused, created.timestamp);
                self.new_query(new, created.sink, created.begin, &properties, (is_paused, timestamp))
            }
            Err(e) => {
                let (log, clock) = (self.inner.log.clone(), self.inner.clock.clone());
                let text =
                    QueryText { sql: created.command.statement, plan: String::new(), created_ms: created.timestamp };
                (Query::failed(created.id.clone(), self.group(&created.id), log, clock, e.to_string()), text)
            }
        }
    }

    fn replan(&self, created: &Created, properties: &BTreeMap<String, String>) -> Result<NewQuery> {
        let Created { id, command, sink, before, .. } = created;
        let parsed = crate::parse::parse_with(&command.statement, before.types())?;
        let change = match parsed.as_slice() {
            [parsed] => match Intent::of(parsed, &self.inner.pushes) {
                Intent::Change(change) => change,
                _ => return Err(not_a_query()),
            },
            _ => return Err(not_a_query()),
        };
        // As it was after the statement: the sink's topic exists.
        let fact = TopicFact { partitions: sink.partitions, replicas: 1 };
        let facts = Facts { topics: BTreeMap::from([(sink.topic.clone(), fact)]), ..Facts::default() };
        let context = Context {
            catalog: before,
            queries: &BTreeMap::new(),
            facts: &mut |_| Ok(facts.clone()),
            schemas: &mut AsRecorded(sink),
            // That was checked when the query was created.
            settings: &Settings { allow_loops: true, ..self.settings(properties)? },
            next: command.sequence,
            recorded_id: Some(id),
        };
        let planned = plan(change, &parsed[0].text, context)?;
        let Some(step) = planned.steps.into_iter().next() else {
            return Err(Error::bug("a recorded query's source existed before it"));
        };
        let (Some(new), Effect::CreateQuery { sink: planned, .. }) = (step.start, step.effect) else {
            return Err(not_a_query());
        };
        if planned.schema != sink.schema || planned.topic != sink.topic || planned.partitions != sink.partitions {
            return Err(Error::statement(format!(
                "this version would write {} to {}, the query was created with {} on {}",
                planned.schema, planned.topic, sink.schema, sink.topic
            ))
            .with_hint("drop it and create it again, or go back to the earlier version"));
        }
        Ok(*new)
    }
}

/// Commands of earlier builds do not say where late rows go: the plan does.
pub(super) fn note_late_topic(catalog: &mut Catalog, query: &Query, id: &str) {
    if let Some(topic) = query.spec().and_then(|spec| spec.late_topic.clone()) {
        catalog.set_late_topic(id, topic);
    }
}

fn not_a_query() -> Error {
    Error::bug("a recorded query is neither CREATE AS SELECT nor INSERT INTO SELECT")
}
