//! Carrying out what was planned.
//!
//! Order matters: the plan (pure), topics, schemas, the command log, and only then the catalogue and the queries. A crash between two
//! of these leaves at most a topic or a schema that is not used yet, or a command that the next start carries out to its end; the
//! statement can be repeated.

use crate::catalog::topics::TopicUse;
use crate::catalog::{Effect, Source};
use crate::engine::command::{Appended, COMMAND_FORMAT, Command, CommandStatus};
use crate::engine::ddl::Change;
use crate::engine::ddl::lock::Ddl;
use crate::engine::ddl::plan::{Context, Planned, Reply, Step, plan};
use crate::engine::query::persistent::{NewQuery, Query, State};
use crate::engine::result::entity::Entity;
use crate::engine::schemas::register::Registration;
use crate::engine::session::Session;
use crate::engine::snapshot::QueryText;
use crate::engine::{Drive, Engine};
use crate::error::{Error, Result};
use crate::execute::pipeline::{Pipeline, changelog_topic};
use crate::log::{TopicInfo, TopicSpec};
use crate::plan::{Facts, TopicFact, TopicRequest};
use std::sync::Arc;
use std::time::Duration;

/// How long a changelog on the embedded log retains tombstones. Only its query reads it, from the beginning and in this process, and
/// while it does, it writes nothing that would lead to a compaction. A day, as elsewhere, would be a day of closed windows and sessions
/// beside those that are open.
const TOMBSTONES_MS: i64 = 60_000;

/// How long the topics of a dropped query stay for a process that runs it and does not respond. It cannot commit any more once its
/// query's topics are gone.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// Commands are written with this version.
const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The place in the command log of a statement that changes nothing.
const NOT_RECORDED: i64 = -1;

/// What the commands of a statement have in common.
pub(in crate::engine) struct Origin<'a> {
    /// The statement, as it is recorded.
    pub(in crate::engine) text: &'a str,
    /// Who gave it.
    pub(in crate::engine) session: &'a Session,
    /// What it returns.
    pub(in crate::engine) status: Option<&'a CommandStatus>,
}

/// A query that is about to start.
struct Starting {
    id: String,
    query: Arc<Query>,
    text: Arc<QueryText>,
    replaced: Option<Arc<Query>>,
}

impl Engine {
    /// Carries out a statement that changes the catalogue.
    pub(in crate::engine) fn change(&self, change: Change<'_>, text: &str, session: &Session) -> Result<Entity> {
        let settings = self.settings(&self.properties(session))?;
        let mut ddl = self.ddl(text)?;
        let context = Context {
            catalog: &ddl.catalog,
            queries: &ddl.queries,
            facts: &mut |names| self.facts(names),
            schemas: &mut self.schema_facts(session),
            settings: &settings,
            next: ddl.next,
            recorded_id: None,
        };
        let Planned { steps, reply, touches } = plan(change, text, context)?;
        touches.iter().try_for_each(|topic| self.check_topic(session, topic))?;
        let status = match reply {
            Reply::Status(status) => status,
            Reply::Warning(why) => return Ok(Entity::Warning(why)),
        };
        let origin = Origin { text, session, status: Some(&status) };
        let (mut sequence, mut resumed) = (NOT_RECORDED, Vec::new());
        for step in steps {
            if let Some((id, false)) = &step.pause {
                resumed.extend(ddl.queries.get(id).map(|query| (id.clone(), query.clone())));
            }
            sequence = self.carry_out_step(&mut ddl, step, &origin)?;
        }
        resume(&resumed, self.inner.drive)?;
        Ok(ddl.finish(status.at(sequence)))
    }

    /// Carries out one command, and returns its place in the command log.
    pub(in crate::engine) fn carry_out_step(&self, ddl: &mut Ddl<'_>, step: Step, origin: &Origin<'_>) -> Result<i64> {
        let Step { create_topics, register, mut effect, start, stop, pause, delete_topic, delete_subjects } = step;
        create_topics.iter().try_for_each(|topic| self.create_topic(topic))?;
        self.register_for(&mut effect, &register)?;
        let starting = match start {
            Some(new) => Some(self.prepare_query(ddl, *new, &mut effect, origin.session)?),
            None => None,
        };
        let sequence = self.record(ddl, origin, effect.clone())?;
        if let Some(replaced) = starting.as_ref().and_then(|starting| starting.replaced.as_ref()) {
            // Commits and ends: the next one continues at its offsets. Until then lookups see the old query and its rows.
            replaced.stop();
        }
        ddl.change(|state| {
            state.catalog_mut().apply(&effect);
            if let Some(Starting { id, query, text, .. }) = &starting {
                state.texts.insert(id.clone(), text.clone());
                state.queries.insert(id.clone(), query.clone());
            }
        });
        if let Some(Starting { query, .. }) = starting
            && self.inner.drive == Drive::Threads
        {
            query.note_new();
            query.release();
        }
        if let Some(id) = stop {
            self.end_query(ddl, &id)?;
        }
        if let Some((id, paused)) = pause
            && let Some(query) = ddl.queries.get(&id)
        {
            query.pause(paused);
        }
        if let Some(topic) = delete_topic
            && self.inner.log.topic(&topic)?.is_some()
        {
            self.inner.log.delete_topic(&topic)?;
            self.delete_subjects(&topic, &delete_subjects)?;
        }
        Ok(sequence)
    }

    /// Registers the schemas of the source that an effect creates or writes, which are recorded with it.
    fn register_for(&self, effect: &mut Effect, registrations: &[Registration]) -> Result<()> {
        match effect {
            Effect::CreateSource(source) => self.register(source, registrations),
            Effect::CreateQuery { sink, .. } => self.register(sink, registrations),
            _ => Ok(()),
        }
    }

    /// Makes ready what a query needs before its command is recorded, and completes the command: which offsets `latest` means.
    fn prepare_query(&self, ddl: &Ddl<'_>, new: NewQuery, effect: &mut Effect, session: &Session) -> Result<Starting> {
        let Effect::CreateQuery { id, sink, begin, .. } = effect else {
            return Err(Error::bug("a query starts with an effect that creates none"));
        };
        let properties = self.properties(session);
        let replaced = ddl.queries.get(id).cloned();
        self.create_changelogs(&new.pipeline, &self.group(id))?;
        *begin = match replaced.as_deref().and_then(Query::spec) {
            // Without a commit yet, it begins where its predecessor would have.
            Some(before) => before.begin.clone(),
            None => self.begin(&new.pipeline, &properties)?,
        };
        let is_paused = replaced.as_ref().is_some_and(|query| query.state() == State::Paused);
        let sink = Arc::new(Source::clone(sink));
        let now = self.inner.clock.now_ms();
        let (query, text) = self.new_query(new, sink, begin.clone(), &properties, (is_paused, now));
        if self.inner.drive == Drive::Threads {
            query.hold()?;
        }
        Ok(Starting { id: id.clone(), query: Arc::new(query), text: Arc::new(text), replaced })
    }

    /// Facts about these topics, which a plan is going to ask for.
    pub(in crate::engine) fn facts(&self, names: impl IntoIterator<Item = String>) -> Result<Facts> {
        let mut facts = Facts::default();
        for name in names {
            if let Some(TopicInfo { partitions, replicas, .. }) = self.inner.log.topic(&name)? {
                facts.topics.insert(name, TopicFact { partitions, replicas });
            }
        }
        Ok(facts)
    }

    fn create_topic(&self, topic: &TopicRequest) -> Result<()> {
        self.inner.topics.check(&topic.name, TopicUse::Make)?;
        let spec = TopicSpec {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replicas: topic.replicas,
            config: topic.config.clone(),
        };
        self.inner.log.create_topic(&spec).map(|_| ())
    }

    fn create_changelogs(&self, pipeline: &Pipeline, group: &str) -> Result<()> {
        for (store, partitions) in pipeline.stores() {
            let name = changelog_topic(group, store);
            if self.inner.log.topic(&name)?.is_none() {
                let spec = TopicSpec::new(name, partitions).with("cleanup.policy", "compact").with("retention.ms", -1);
                let spec = match self.inner.log.upkeep() {
                    Some(_) => spec.with("delete.retention.ms", TOMBSTONES_MS),
                    None => spec,
                };
                self.inner.log.create_topic(&spec)?;
            }
        }
        Ok(())
    }

    /// Stops a query and removes what only it needed: its changelog and its group.
    pub(in crate::engine) fn end_query(&self, ddl: &mut Ddl<'_>, id: &str) -> Result<()> {
        let Some(query) = ddl.change(|state| state.remove_query(id)) else { return Ok(()) };
        query.stop();
        self.await_release(id);
        let log = &self.inner.log;
        // All of its internal topics, also those of a query that could not be planned any more.
        let stem = format!("{}-", query.group());
        for topic in log.topics()?.into_iter().filter(|t| t.name.starts_with(&stem)) {
            log.delete_topic(&topic.name)?;
            self.inner.snapshots.iter().for_each(|snapshots| snapshots.remove(&topic.name));
        }
        log.delete_group(query.group())
    }

    /// Another process may run it, and stops when it hears of the statement: until then it would write what is deleted here.
    fn await_release(&self, id: &str) {
        let Some(node) = &self.inner.node else { return };
        if !node.await_release(id, RELEASE_WAIT) {
            tracing::warn!(
                query = id,
                "the process that runs a dropped query has not released it: its topics are deleted"
            );
        }
    }

    /// Writes a command to the command log, and returns its sequence number.
    fn record(&self, ddl: &mut Ddl<'_>, origin: &Origin<'_>, effect: Effect) -> Result<i64> {
        self.check_consistent()?;
        let command = Command {
            format: COMMAND_FORMAT,
            engine: ENGINE_VERSION.to_owned(),
            sequence: ddl.next,
            compares: true,
            statement: origin.text.to_owned(),
            author: Some(origin.session.principal().name.to_string()),
            properties: origin.session.properties().clone(),
            effect,
            status: origin.status.cloned(),
        };
        match self.inner.commands.append(&*self.inner.log, &command, self.inner.clock.now_ms())? {
            Appended::Recorded => {}
            Appended::Overtaken => return Err(self.overtaken()),
        }
        self.note_recorded();
        ddl.change(|state| state.next += 1);
        Ok(command.sequence as i64)
    }
}

/// Resumes all that can be; an error names the others and says why they cannot.
fn resume(queries: &[(String, Arc<Query>)], drive: Drive) -> Result<()> {
    let failed = queries.iter().filter_map(|(id, query)| Some((id, query.resume(drive).err()?)));
    let mut failed = failed.map(|(id, error)| (format!("query {id} cannot be resumed: {error}"), error));
    let Some((message, error)) = failed.next() else { return Ok(()) };
    let others: Vec<String> = failed.map(|(message, _)| message).collect();
    let hint = error.hint().map(str::to_owned);
    let error = Error::statement(message);
    let error = if others.is_empty() { error } else { error.with_detail(others.join("; ")) };
    Err(match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}
