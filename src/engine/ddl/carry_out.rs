//! Carrying out what was planned.
//!
//! Order matters: the plan (pure), topics, schemas, the command log, and only then the catalogue and the queries. A crash between two
//! of these leaves at most a topic or a schema that is not used yet, or a command that the next start carries out to its end; the
//! statement can be repeated.

use crate::catalog::topics::TopicUse;
use crate::catalog::{Effect, Source};
use crate::engine::command::tail::Outcome;
use crate::engine::command::{Appended, COMMAND_FORMAT, Command, CommandStatus, Prepared};
use crate::engine::ddl::Change;
use crate::engine::ddl::lock::Ddl;
use crate::engine::ddl::plan::{Context, Planned, Reply, Step, plan};
use crate::engine::intent::Intent;
use crate::engine::query::persistent::{NewQuery, Query, State};
use crate::engine::result::entity::{Entity, Status};
use crate::engine::schemas::register::Registration;
use crate::engine::session::Session;
use crate::engine::{Drive, Engine};
use crate::error::{Error, Kind, Result};
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

/// Plans of one statement: each further one means that another process recorded a command in the place for which this one was
/// planned. Others give way after a few, so that this is reached only where more processes than that record statements without a pause.
pub(in crate::engine) const PLANS_MAX: u32 = 10;
/// How long a statement gives way to those of other processes that were overtaken again and again.
const GIVE_WAY: Duration = Duration::from_millis(10);

/// What the commands of a statement have in common.
pub(in crate::engine) struct Origin<'a> {
    /// The statement, as it is recorded.
    pub(in crate::engine) text: &'a str,
    /// Who gave it.
    pub(in crate::engine) session: &'a Session,
    /// What it returns.
    pub(in crate::engine) status: Option<&'a CommandStatus>,
}

/// What became of a step.
pub(in crate::engine) enum Stepped {
    /// It is carried out.
    Done {
        /// Its place in the command log.
        place: i64,
        /// Why not everything could be deleted that only an ended query needed.
        left: Vec<Error>,
    },
    /// Another process changed the catalogue: the statement has to be planned again.
    Overtaken,
}

/// What a statement has done so far.
struct Work<'a> {
    text: &'a str,
    session: &'a Session,
    /// The effects of the commands that are recorded.
    done: Vec<Effect>,
    /// Place of the last command.
    sequence: i64,
    /// Queries that it resumed.
    resumed: Vec<(String, Arc<Query>)>,
    warnings: Vec<String>,
}

impl Engine {
    /// Carries out a statement that changes the catalogue.
    pub(in crate::engine) fn change(&self, change: Change<'_>, text: &str, session: &Session) -> Result<Entity> {
        let mut ddl = self.ddl(text)?;
        self.read_commands()?;
        self.give_way()?;
        let mut work =
            Work { text, session, done: Vec::new(), sequence: NOT_RECORDED, resumed: Vec::new(), warnings: Vec::new() };
        let (mut plans, mut done) = (0, 0);
        loop {
            ddl.refresh();
            let entity = match plans {
                0 => self.attempt(&mut ddl, change, &mut work)?,
                _ => self.attempt_again(&mut ddl, &mut work)?,
            };
            if let Some(entity) = entity {
                resume(&work.resumed, self.inner.drive)?;
                return Ok(match entity {
                    Entity::Status(status) if work.done.is_empty() => ddl.finish(status),
                    entity => entity,
                });
            }
            // A statement of several commands may be overtaken at each of them.
            plans = if work.done.len() > done { 1 } else { plans + 1 };
            done = work.done.len();
            if plans == PLANS_MAX {
                return Err(contended());
            }
        }
    }

    /// The statement is planned again, by the types that exist now.
    fn attempt_again(&self, ddl: &mut Ddl<'_>, work: &mut Work<'_>) -> Result<Option<Entity>> {
        let parsed = crate::parse::parse_with(work.text, ddl.catalog.types())?;
        match parsed.first().map(|parsed| Intent::of(parsed, &self.inner.pushes)) {
            Some(Intent::Change(change)) => self.attempt(ddl, change, work),
            _ => Err(Error::bug("a statement that changes the catalogue is another one when it is parsed again")),
        }
    }

    /// Plans the statement, and carries out what is left of it. `None` = another process was faster.
    fn attempt(&self, ddl: &mut Ddl<'_>, change: Change<'_>, work: &mut Work<'_>) -> Result<Option<Entity>> {
        let Work { text, session, .. } = *work;
        let settings = self.settings(&self.properties(session))?;
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
            Reply::Warning(why) => return Ok(Some(Entity::Warning(why))),
        };
        let origin = Origin { text, session, status: Some(&status) };
        for step in steps {
            if work.done.contains(&step.effect) {
                continue;
            }
            let (effect, pause) = (step.effect.clone(), step.pause.clone());
            let resumed =
                pause.filter(|(_, paused)| !paused).and_then(|(id, _)| Some((ddl.queries.get(&id)?.clone(), id)));
            match self.carry_out_step(ddl, step, &origin)? {
                Stepped::Done { place, left } => {
                    work.sequence = place;
                    work.warnings.extend(left.iter().map(|error| error.message().to_owned()));
                }
                Stepped::Overtaken => return Ok(None),
            }
            work.done.push(effect);
            work.resumed.extend(resumed.map(|(query, id)| (id, query)));
        }
        Ok(Some(Entity::Status(Status { warnings: std::mem::take(&mut work.warnings), ..status.at(work.sequence) })))
    }

    /// Waits a moment if another process was overtaken again and again.
    fn give_way(&self) -> Result<()> {
        match &self.inner.tail {
            Some(tail) if tail.gives_way() => {
                self.inner.clock.sleep(GIVE_WAY);
                self.read_commands()
            }
            _ => Ok(()),
        }
    }

    /// Carries out one command.
    pub(in crate::engine) fn carry_out_step(
        &self,
        ddl: &mut Ddl<'_>,
        step: Step,
        origin: &Origin<'_>,
    ) -> Result<Stepped> {
        let Step { create_topics, register, mut effect, start, pause: _, delete_topic, delete_subjects, .. } = step;
        for topic in &create_topics {
            if !self.create_topic(topic)? {
                return Ok(Stepped::Overtaken);
            }
        }
        self.register_for(&mut effect, &register)?;
        let mut created = Vec::new();
        let prepared = match start {
            Some(new) => Some(self.prepare_query(ddl, *new, &mut effect, origin.session, &mut created)?),
            None => None,
        };
        let sequence = ddl.next;
        let outcome = self.record(ddl, origin, effect, prepared)?;
        ddl.refresh();
        let Outcome::Applied(ended) = outcome else {
            self.remove_unused(ddl, created);
            return Ok(Stepped::Overtaken);
        };
        let left = ended.into_iter().filter_map(|query| self.clean_up(&query).err()).collect();
        if let Some(topic) = delete_topic
            && self.inner.log.topic(&topic)?.is_some()
        {
            self.inner.log.delete_topic(&topic)?;
            self.delete_subjects(&topic, &delete_subjects)?;
        }
        Ok(Stepped::Done { place: sequence as i64, left })
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
    /// `created` are the topics that did not exist before.
    fn prepare_query(
        &self,
        ddl: &Ddl<'_>,
        new: NewQuery,
        effect: &mut Effect,
        session: &Session,
        created: &mut Vec<(String, String)>,
    ) -> Result<Prepared> {
        let Effect::CreateQuery { id, sink, begin, .. } = effect else {
            return Err(Error::bug("a query starts with an effect that creates none"));
        };
        let properties = self.properties(session);
        let replaced = ddl.queries.get(id);
        for topic in self.create_changelogs(&new.pipeline, &self.group(id))? {
            created.push((id.clone(), topic));
        }
        *begin = match replaced.and_then(|query| query.spec()) {
            // Without a commit yet, it begins where its predecessor would have.
            Some(before) => before.begin.clone(),
            None => self.begin(&new.pipeline, &properties)?,
        };
        let is_paused = replaced.is_some_and(|query| query.state() == State::Paused);
        let sink = Arc::new(Source::clone(sink));
        let now = self.inner.clock.now_ms();
        let (query, text) = self.new_query(new, sink, begin.clone(), &properties, (is_paused, now));
        if self.inner.drive == Drive::Threads {
            query.hold()?;
        }
        Ok(Prepared { query: Arc::new(query), text: Arc::new(text) })
    }

    /// Deletes the changelogs of a query that was not created after all: its id names a place that another command has. If that one
    /// created the query of the same id, the topics are its own.
    fn remove_unused(&self, ddl: &Ddl<'_>, created: Vec<(String, String)>) {
        for (_, topic) in created.into_iter().filter(|(id, _)| !ddl.queries.contains_key(id)) {
            if let Err(error) = self.inner.log.delete_topic(&topic) {
                tracing::warn!(topic, %error, "a changelog that is not needed could not be deleted");
            }
        }
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

    /// Creates a topic. Another process may have done so since the statement was planned: `false` = it is not as planned.
    fn create_topic(&self, topic: &TopicRequest) -> Result<bool> {
        self.inner.topics.check(&topic.name, TopicUse::Make)?;
        let spec = TopicSpec {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replicas: topic.replicas,
            config: topic.config.clone(),
        };
        self.ensure_topic(&spec)
    }

    fn ensure_topic(&self, spec: &TopicSpec) -> Result<bool> {
        let Err(error) = self.inner.log.create_topic(spec) else { return Ok(true) };
        if self.inner.tail.is_none() {
            return Err(error);
        }
        match self.inner.log.topic(&spec.name)? {
            Some(found) => Ok(found.partitions == spec.partitions),
            None => Err(error),
        }
    }

    /// Creates the changelogs that do not exist, and returns their names.
    fn create_changelogs(&self, pipeline: &Pipeline, group: &str) -> Result<Vec<String>> {
        let mut created = Vec::new();
        for (store, partitions) in pipeline.stores() {
            let name = changelog_topic(group, store);
            if self.inner.log.topic(&name)?.is_none() {
                let spec = TopicSpec::new(&name, partitions).with("cleanup.policy", "compact").with("retention.ms", -1);
                let spec = match self.inner.log.upkeep() {
                    Some(_) => spec.with("delete.retention.ms", TOMBSTONES_MS),
                    None => spec,
                };
                if !self.ensure_topic(&spec)? {
                    return Err(Error::statement(format!("topic {name} exists with another number of partitions")));
                }
                created.push(name);
            }
        }
        Ok(created)
    }

    /// Ends a query whose end is recorded: the statement has succeeded, and what cannot be deleted harms no other query, because no id is
    /// given twice.
    fn clean_up(&self, query: &Query) -> Result<()> {
        self.end_query(query).map_err(|error| {
            let id = query.id();
            tracing::warn!(query = id, %error, "what only a dropped query needed could not be deleted");
            let message =
                format!("topics or the consumer group {} of query {id} could not be deleted: {error}", query.group());
            Error::new(error.kind(), message).with_hint("delete them by hand if they matter").because(error)
        })
    }

    /// Stops a query and removes what only it needed: its changelog and its group.
    pub(in crate::engine) fn end_query(&self, query: &Query) -> Result<()> {
        query.stop();
        self.await_release(query.id());
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

    /// Writes a command to the command log, and applies it if it counts.
    fn record(
        &self,
        ddl: &Ddl<'_>,
        origin: &Origin<'_>,
        effect: Effect,
        prepared: Option<Prepared>,
    ) -> Result<Outcome> {
        self.check_consistent()?;
        let command = Command {
            format: COMMAND_FORMAT,
            engine: ENGINE_VERSION.to_owned(),
            sequence: ddl.next,
            compares: true,
            process: self.inner.tail.as_ref().map(|tail| tail.process()),
            statement: origin.text.to_owned(),
            author: Some(origin.session.principal().name.to_string()),
            properties: origin.session.properties().clone(),
            effect,
            status: origin.status.cloned(),
        };
        if let Some(tail) = &self.inner.tail {
            return self.append_shared(tail, &command, prepared);
        }
        let now_ms = self.inner.clock.now_ms();
        match self.inner.commands.append(&*self.inner.log, &command, now_ms)? {
            Appended::Recorded => {}
            Appended::Overtaken => return Err(self.overtaken()),
        }
        self.note_recorded();
        Ok(Outcome::Applied(self.apply_own(command, prepared, now_ms)))
    }
}

/// The error of a statement that other processes overtook every time.
pub(in crate::engine) fn contended() -> Error {
    Error::new(Kind::Busy, "other processes of this service kept changing the catalogue")
        .with_detail(format!("the statement was planned {PLANS_MAX} times"))
        .with_hint("try again")
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
