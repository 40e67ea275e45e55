//! Statements that change something: CREATE, INSERT VALUES, DROP, TERMINATE, PAUSE, RESUME.
//!
//! Order matters: plan (pure, on a copy), create topics, write the command log, and only then change the catalogue and
//! start or stop queries. A crash between two of these leaves at most a topic that nobody uses yet; the statement can be
//! given again.

use crate::catalog::topics::{Deed, TopicRules};
use crate::catalog::{Catalog, QueryInfo, Source};
use crate::config::{EMIT_INTERVAL, FAIL_ON_PRODUCTION_ERROR};
use crate::engine::command::status::{self, noun};
use crate::engine::command::{COMMAND_FORMAT, Command, Effect};
use crate::engine::ddl::lock::Ddl;
use crate::engine::query::persistent::Query;
use crate::engine::result::entity::{Entity, Status};
use crate::engine::session::Session;
use crate::engine::snapshot::QueryText;
use crate::engine::{Drive, Engine};
use crate::error::{Error, Result};
use crate::execute::compile;
use crate::execute::compile::upgrade;
use crate::execute::operator::EmitMode;
use crate::execute::pipeline::{Pipeline, changelog_topic};
use crate::execute::pull::materialized_view::View;
use crate::execute::task::spec::{ExecutionSpec, Guarantee, Target};
use crate::format::Encoder;
use crate::log::{RecordSet, Start, TopicInfo, TopicPartition, TopicSpec, partition};
use crate::parse::statement::{CreateAs, CreateSource, Drop, InsertValues, Parsed, SourceKind, Statement};
use crate::plan::{self, Created, Facts, QueryPlan, Settings, TopicFact, TopicRequest};
use datafusion::common::ScalarValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Commands are written with this version.
const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The place in the command log of a statement that changes nothing.
pub(in crate::engine) const NOT_RECORDED: i64 = -1;

impl Engine {
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

    pub(in crate::engine) fn create_source(
        &self,
        create: &CreateSource,
        parsed: &Parsed,
        session: &Session,
    ) -> Result<Entity> {
        let settings = self.settings(&self.properties(session))?;
        let mut ddl = self.ddl(&parsed.text)?;
        let facts = self.facts(plan::topics_of_source(create))?;
        let plan = match plan::create_source(create, &ddl.catalog, &facts, &settings, &parsed.text)? {
            Created::New(plan) => plan,
            Created::Exists(why) => return Ok(Entity::Warning(why)),
        };
        self.check_topic(session, &plan.source.topic)?;
        self.check_sources(session, &ddl.catalog, [&create.name.value])?;
        self.create_topic(plan.create_topic.as_ref())?;
        let effect = Effect::CreateSource(Box::new(plan.source.clone()));
        let sequence = self.record(&mut ddl, &parsed.text, session, effect)?;
        ddl.change(|state| state.catalog_mut().put(plan.source));
        let message = format!("{} created", noun(create.kind));
        Ok(ddl.finish(plain_status(status::created(create.kind, &create.name.value), &message, sequence)))
    }

    pub(in crate::engine) fn create_as(&self, create: &CreateAs, parsed: &Parsed, session: &Session) -> Result<Entity> {
        let properties = self.properties(session);
        let settings = self.settings(&properties)?;
        let mut ddl = self.ddl(&parsed.text)?;
        let name = &create.name.value;
        let id = query_id(create, &ddl.catalog, ddl.next);
        let facts = self.facts(plan::topics_of_query(create, &ddl.catalog, &settings))?;
        let plan = match plan::create_as(create, &id, &ddl.catalog, &facts, &settings, &parsed.text)? {
            Created::New(plan) => plan,
            Created::Exists(why) => return Ok(Entity::Warning(why)),
        };
        let sequence = self.start_query(&mut ddl, plan, parsed, session, &properties)?;
        let (command_id, message) = (status::created(create.kind, name), format!("Created query with ID {id}"));
        Ok(ddl.finish(Status { command_id, message, query_id: Some(id), sequence }))
    }

    /// Creates what a persistent query needs, records it, and starts it; answers the place in the command log.
    pub(in crate::engine) fn start_query(
        &self,
        ddl: &mut Ddl<'_>,
        plan: QueryPlan,
        parsed: &Parsed,
        session: &Session,
        properties: &BTreeMap<String, String>,
    ) -> Result<i64> {
        self.check_plan(session, &ddl.catalog, &plan)?;
        let id = plan.id;
        let pipeline = compile::pipeline(&plan.logical)?;
        let group = self.group(&id);
        let replaced = ddl.queries.get(&id).cloned();
        if let Some(replaced) = &replaced {
            check_upgrade(replaced, &pipeline)?;
        }
        self.create_topic(plan.create_topic.as_ref())?;
        if let Some((_, late)) = &plan.late_topic {
            self.create_topic(late.as_ref())?;
        }
        self.create_changelogs(&pipeline, &group)?;
        let sink = Arc::new(plan.sink.clone());
        let begin = match replaced.as_deref().and_then(Query::spec) {
            // Without a commit yet, it begins where its predecessor would have.
            Some(before) => before.begin.clone(),
            None => self.begin(&pipeline, properties)?,
        };
        let paused = replaced.as_ref().is_some_and(|q| q.state() == crate::engine::query::persistent::State::Paused);
        let mut spec = self.execution_spec(pipeline, Target::Topic(sink), group, properties);
        spec.begin.clone_from(&begin);
        spec.late_topic = plan.late_topic.as_ref().map(|(name, _)| name.clone());
        let (below, processing) = ((self.inner.log.clone(), self.inner.clock.clone()), self.inner.processing.clone());
        let query = Arc::new(Query::new(id.clone(), spec, below, processing, paused));
        let effect =
            Effect::CreateQuery { id: id.clone(), sink: Box::new(plan.sink.clone()), reads: plan.reads.clone(), begin };
        let sequence = self.record(ddl, &parsed.text, session, effect)?;
        if let Some(replaced) = &replaced {
            // Commits and ends: the next one goes on at its offsets. Until then lookups see the old query and its rows.
            replaced.stop();
        }
        let drawn = plan::explain::explain(&plan.logical);
        let text = Arc::new(QueryText { sql: parsed.text.clone(), plan: drawn });
        let (writes, late_topic) = (plan.sink.name.clone(), plan.late_topic.map(|(name, _)| name));
        let info = QueryInfo { id: id.clone(), reads: plan.reads, writes, late_topic };
        ddl.change(|state| {
            state.catalog_mut().put_query(info);
            state.catalog_mut().put(plan.sink);
            if replaced.is_none() {
                state.order.push(id.clone());
            }
            state.texts.insert(id.clone(), text);
            state.queries.insert(id, query.clone());
        });
        if self.inner.drive == Drive::Threads {
            query.spawn()?;
        }
        Ok(sequence)
    }

    /// Makes a recorded query runnable again, from its text and what was resolved when it was created.
    pub(in crate::engine) fn plan_again(
        &self,
        command: &Command,
        id: &str,
        sink: &Arc<Source>,
        before: &Catalog,
        paused: bool,
    ) -> (Query, QueryText) {
        let properties = crate::engine::open::with_defaults(&self.inner.config, &command.properties);
        let (log, clock) = (self.inner.log.clone(), self.inner.clock.clone());
        let planned = self.replan(command, id, sink, before, &properties);
        let target = Target::Topic(sink.clone());
        let mut text = QueryText { sql: command.statement.clone(), plan: String::new() };
        let query = match planned {
            Ok((plan, pipeline)) => {
                text.plan = plan::explain::explain(&plan.logical);
                let mut spec = self.execution_spec(pipeline, target, self.group(id), &properties);
                spec.late_topic = plan.late_topic.map(|(name, _)| name);
                if let Effect::CreateQuery { begin, .. } = &command.effect {
                    spec.begin.clone_from(begin);
                }
                Query::new(id.to_owned(), spec, (log, clock), self.inner.processing.clone(), paused)
            }
            Err(e) => Query::failed(id.to_owned(), self.group(id), log, clock, e.to_string()),
        };
        (query, text)
    }

    fn replan(
        &self,
        command: &Command,
        id: &str,
        sink: &Arc<Source>,
        before: &Catalog,
        properties: &BTreeMap<String, String>,
    ) -> Result<(plan::QueryPlan, Pipeline)> {
        let parsed = crate::parse::parse_with(&command.statement, before.types())?;
        // That was asked when the query was created.
        let settings = Settings { allow_loops: true, ..self.settings(properties)? };
        let (create, text) = match parsed.as_slice() {
            [Parsed { statement: Statement::CreateAs(create), text, .. }] => (create, text),
            [Parsed { statement: Statement::InsertSelect(insert), .. }] => {
                let plan = plan::insert_select(insert, id, before, &settings)?;
                let pipeline = compile::pipeline(&plan.logical)?;
                return Ok((plan, pipeline));
            }
            _ => return Err(Error::bug("a recorded query is neither CREATE AS SELECT nor INSERT INTO SELECT")),
        };
        // The sink's topic existed after the statement, whatever it looked like before: say so.
        let fact = TopicFact { partitions: sink.partitions, replicas: 1 };
        let facts = Facts { topics: BTreeMap::from([(sink.topic.clone(), fact)]) };
        let Created::New(plan) = plan::create_as(create, id, before, &facts, &settings, text)? else {
            return Err(Error::bug("a recorded query's source existed before it"));
        };
        if plan.sink.schema != sink.schema || plan.sink.topic != sink.topic || plan.sink.partitions != sink.partitions {
            return Err(Error::statement(format!(
                "this version would write {} to {}, the query was created with {} on {}",
                plan.sink.schema, plan.sink.topic, sink.schema, sink.topic
            ))
            .with_hint("drop it and create it again, or go back to the earlier version"));
        }
        let pipeline = compile::pipeline(&plan.logical)?;
        Ok((plan, pipeline))
    }

    fn execution_spec(
        &self,
        pipeline: Pipeline,
        target: Target,
        group: String,
        properties: &BTreeMap<String, String>,
    ) -> ExecutionSpec {
        let millis = |name: &str| properties.get(name).and_then(|v| v.parse().ok()).map(Duration::from_millis);
        let view = match &target {
            Target::Topic(sink) if sink.kind == SourceKind::Table => {
                let window = pipeline.aggregate.as_ref().and_then(|a| a.window.as_ref());
                Some(Arc::new(View::new(sink, window, self.inner.clock.clone())))
            }
            _ => None,
        };
        let guarantee = guarantee(properties);
        let usual = self.inner.config.commit_interval(guarantee == Guarantee::AtLeastOnce);
        ExecutionSpec {
            view,
            start: start(properties),
            pipeline,
            target,
            group,
            mode: mode(properties),
            begin: None,
            commit_interval: millis("commit.interval.ms").unwrap_or(usual),
            emit_interval: millis("emit.interval.ms").unwrap_or(EMIT_INTERVAL),
            guarantee,
            fail_on_production_error: properties.get(FAIL_ON_PRODUCTION_ERROR).is_none_or(|fail| fail == "true"),
            late_topic: None,
            spill_pool: self.inner.spill_pool.clone(),
            watch: self.inner.watch.clone(),
        }
    }

    /// The same for a query whose rows are handed to whoever asked.
    pub(in crate::engine) fn transient_spec(&self, pipeline: Pipeline, session: &Session) -> Result<ExecutionSpec> {
        let properties = self.properties(session);
        let id = self.transient_id(pipeline.scans.first().map_or("", |scan| &scan.source.name))?;
        Ok(self.execution_spec(pipeline, Target::Rows, id, &properties))
    }

    /// What `latest` means now: a query owns every row from its creation on, however long it takes to start.
    fn begin(&self, pipeline: &Pipeline, properties: &BTreeMap<String, String>) -> Result<Option<Vec<i64>>> {
        if start(properties) != Start::Latest {
            return Ok(None);
        }
        let end = |topic: &str, p: i32| Ok(self.inner.log.watermarks(&TopicPartition::new(topic, p))?.stable);
        let inputs = pipeline.scans.iter().map(|scan| &scan.source);
        let inputs = inputs.flat_map(|s| (0..s.partitions as i32).map(|p| end(&s.topic, p)));
        inputs.collect::<Result<_>>().map(Some)
    }

    fn create_topic(&self, topic: Option<&TopicRequest>) -> Result<()> {
        let Some(topic) = topic else { return Ok(()) };
        self.inner.topics.check(&topic.name, Deed::Make)?;
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
                self.inner.log.create_topic(&spec)?;
            }
        }
        Ok(())
    }

    /// INSERT VALUES: one record, written at once, outside of any transaction.
    pub(in crate::engine) fn insert_values(&self, insert: &InsertValues, session: &Session) -> Result<Entity> {
        let plan = plan::insert_values(insert, &self.inner.state.load().catalog, &self.inner.topics)?;
        let source = &plan.source;
        self.check_topic(session, &source.topic)?;
        let mut set = RecordSet::default();
        let key = match source.schema.key.is_empty() {
            true => None,
            false => encode_one(&mut Encoder::new(source.key_format, &source.schema.key, true)?, &plan.key)?,
        };
        let mut encoder = Encoder::new(source.value_format, &source.schema.value, source.unwrapped_value)?;
        let value = encode_one(&mut encoder, &plan.value)?;
        let target = key.as_deref().map_or(0, |key| partition::java(key, source.partitions));
        let timestamp = plan.timestamp.unwrap_or_else(|| self.inner.clock.now_ms());
        set.push(target, timestamp, key.as_deref(), value.as_deref());
        self.inner.log.append(&source.topic, &set)?;
        // A row that its query did not write: the view is made anew, from the topic.
        self.view_of(source).iter().for_each(|view| view.reset());
        Ok(Entity::Done)
    }

    pub(in crate::engine) fn drop_source(&self, drop: &Drop, parsed: &Parsed, session: &Session) -> Result<Entity> {
        let mut ddl = self.ddl(&parsed.text)?;
        let name = &drop.name.value;
        if drop.if_exists && ddl.catalog.source(name).is_none() {
            // As ksqlDB: the command succeeds and changes nothing. Its clients take no other answer to a DROP.
            let message = format!("Source `{name}` does not exist.");
            return Ok(ddl.finish(plain_status(status::changed(drop.kind, name, "drop"), &message, NOT_RECORDED)));
        }
        let mut after = Catalog::clone(&ddl.catalog);
        if after.source(name).is_none() {
            let error = after.require(name).err().unwrap_or_else(|| Error::bug("a source is there and is not"));
            return Err(error.reworded(format!("{} {name} does not exist.", noun(drop.kind))).at(drop.name.span));
        }
        let (source, query) = after.drop_source(name, drop.kind).map_err(|e| e.at(drop.name.span))?;
        check_deletable(drop, &source, &self.inner.topics)?;
        self.check_topic(session, &source.topic)?;
        let sequence = self.record(&mut ddl, &parsed.text, session, Effect::Drop { name: name.clone() })?;
        ddl.change(|state| state.catalog = Arc::new(after));
        if let Some(info) = query {
            self.end_query(&mut ddl, &info.id)?;
        }
        if drop.delete_topic && self.inner.log.topic(&source.topic)?.is_some() {
            self.inner.log.delete_topic(&source.topic)?;
        }
        let command_id = status::changed(drop.kind, name, "drop");
        Ok(ddl.finish(plain_status(command_id, &status::dropped(name, &source.topic), sequence)))
    }

    pub(in crate::engine) fn terminate(&self, id: Option<&str>, parsed: &Parsed, session: &Session) -> Result<Entity> {
        if let Some(id) = id.filter(|id| self.inner.pushes.contains(id)) {
            return self.inner.pushes.end(id, session.principal()).map(Entity::PushTerminated);
        }
        let mut ddl = self.ddl(&parsed.text)?;
        let ids = chosen(&ddl.order, id)?;
        ids.iter().try_for_each(|id| self.check_query(session, &ddl.catalog, id))?;
        let mut sequence = -1;
        for id in &ids {
            sequence = self.record(&mut ddl, &parsed.text, session, Effect::Terminate { id: id.clone() })?;
            ddl.change(|state| _ = state.catalog_mut().remove_query(id));
            self.end_query(&mut ddl, id)?;
        }
        let command_id = status::executed("terminate", id.unwrap_or("ALL"));
        Ok(ddl.finish(plain_status(command_id, "Query terminated.", sequence)))
    }

    pub(in crate::engine) fn pause(
        &self,
        id: Option<&str>,
        paused: bool,
        parsed: &Parsed,
        session: &Session,
    ) -> Result<Entity> {
        let mut ddl = self.ddl(&parsed.text)?;
        let ids = chosen(&ddl.order, id)?;
        ids.iter().try_for_each(|id| self.check_query(session, &ddl.catalog, id))?;
        let (mut sequence, mut queries) = (-1, Vec::new());
        for id in ids {
            sequence = self.record(&mut ddl, &parsed.text, session, Effect::Pause { id: id.clone(), paused })?;
            queries.extend(ddl.queries.get(&id).map(|query| (id, query.clone())));
        }
        match paused {
            true => queries.iter().for_each(|(_, query)| query.pause(true)),
            false => resume(&queries, self.inner.drive)?,
        }
        let (verb, message) = status::paused_words(paused);
        Ok(ddl.finish(plain_status(status::executed(verb, id.unwrap_or("ALL")), message, sequence)))
    }

    /// Stops a query and removes what only it needed: its changelog and its group.
    pub(in crate::engine) fn end_query(&self, ddl: &mut Ddl<'_>, id: &str) -> Result<()> {
        let Some(query) = ddl.change(|state| state.remove_query(id)) else { return Ok(()) };
        query.stop();
        let log = &self.inner.log;
        // All of its internal topics, also those of a query that could not be planned any more.
        let stem = format!("{}-", query.group());
        for topic in log.topics()?.into_iter().filter(|t| t.name.starts_with(&stem)) {
            log.delete_topic(&topic.name)?;
        }
        log.delete_group(query.group())
    }

    /// Writes the command log; answers the sequence number.
    pub(in crate::engine) fn record(
        &self,
        ddl: &mut Ddl<'_>,
        statement: &str,
        session: &Session,
        effect: Effect,
    ) -> Result<i64> {
        self.check_whole()?;
        let command = Command {
            format: COMMAND_FORMAT,
            engine: ENGINE_VERSION.to_owned(),
            sequence: ddl.next,
            statement: statement.to_owned(),
            author: Some(session.principal().name.to_string()),
            properties: session.properties().clone(),
            effect,
        };
        self.inner.commands.append(&*self.inner.log, &command, self.inner.clock.now_ms())?;
        self.recorded();
        ddl.change(|state| state.next += 1);
        Ok(command.sequence as i64)
    }
}

/// Exactly once, unless a session has asked for less.
fn guarantee(properties: &BTreeMap<String, String>) -> Guarantee {
    match properties.get("processing.guarantee").map(String::as_str) {
        Some("at_least_once") => Guarantee::AtLeastOnce,
        _ => Guarantee::ExactlyOnce,
    }
}

/// ksqlDB writes every change when its cache is off, otherwise the last one of a key.
pub(in crate::engine) fn mode(properties: &BTreeMap<String, String>) -> EmitMode {
    match properties.get("cache.max.bytes.buffering").map(String::as_str) {
        Some("0") => EmitMode::EveryChange,
        _ => EmitMode::LatestPerKey,
    }
}

/// Where a query begins to read streams; tables it always reads from their first record on.
fn start(properties: &BTreeMap<String, String>) -> Start {
    match properties.get("auto.offset.reset").map(String::as_str) {
        Some("latest") => Start::Latest,
        _ => Start::Earliest,
    }
}

/// A query that runs may go on as `next`. One that this version cannot plan may become anything.
pub(in crate::engine) fn check_upgrade(running: &Query, next: &Pipeline) -> Result<()> {
    running.spec().map_or(Ok(()), |spec| upgrade::check(&spec.pipeline, next))
}

/// The topic of a SOURCE TABLE or STREAM belongs to somebody else, an internal one to the engine.
pub(in crate::engine) fn check_deletable(drop: &Drop, source: &Source, topics: &TopicRules) -> Result<()> {
    if !drop.delete_topic {
        return Ok(());
    }
    let hinted = |e: Error| e.at(drop.name.span).with_hint("drop it without DELETE TOPIC");
    topics.check(&source.topic, Deed::Delete).map_err(hinted)?;
    match source.read_only {
        true => Err(hinted(Error::statement(format!("Cannot delete topic for read-only source: {}", source.name)))),
        false => Ok(()),
    }
}

/// The id of the query that this statement makes as the `next` command: that of the query which it replaces, if any.
pub(in crate::engine) fn query_id(create: &CreateAs, catalog: &Catalog, next: u64) -> String {
    let replaced = catalog.source(&create.name.value).filter(|_| create.or_replace);
    if let Some(id) = replaced.and_then(|source| source.created_by.clone()) {
        return id;
    }
    let prefix = if create.kind == SourceKind::Stream { "CSAS" } else { "CTAS" };
    format!("{prefix}_{}_{next}", create.name.value)
}

/// The queries that are meant: one by its id, or all.
pub(in crate::engine) fn chosen(queries: &[String], id: Option<&str>) -> Result<Vec<String>> {
    match id {
        None => Ok(queries.to_vec()),
        Some(id) if queries.iter().any(|known| known == id) => Ok(vec![id.to_owned()]),
        Some(id) => Err(unknown_query(id, queries)),
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

/// The error for a query that is not there.
pub(in crate::engine) fn unknown_query(id: &str, queries: &[String]) -> Error {
    let error = Error::statement(format!("Unknown queryId: {id}"));
    match crate::types::nearest(id, queries.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("SHOW QUERIES lists what runs"),
    }
}

pub(in crate::engine) fn plain_status(command_id: String, message: &str, sequence: i64) -> Status {
    Status { command_id, message: message.to_owned(), query_id: None, sequence }
}

/// The bytes of one row; `None` = null.
fn encode_one(encoder: &mut Encoder, row: &[ScalarValue]) -> Result<Option<Vec<u8>>> {
    let columns = row.iter().map(|v| Ok(v.to_array()?)).collect::<Result<Vec<_>>>()?;
    let (mut data, mut ranges) = (Vec::new(), Vec::new());
    let failed = encoder.encode(&columns, None, 1, &mut data, &mut ranges)?;
    if let Some((_, bad)) = failed.into_iter().next() {
        return Err(Error::statement("the row cannot be written").with_detail(bad.reason));
    }
    Ok(ranges.pop().flatten().map(|range| data[range].to_vec()))
}
