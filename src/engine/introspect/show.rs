//! SHOW, DESCRIBE and EXPLAIN.

use crate::catalog::{QueryInfo, Source};
use crate::config::{CONNECT_URL, LogConfig, PROPERTIES, REGISTRY_URL};
use crate::engine::Engine;
use crate::engine::ddl::Change;
use crate::engine::facts::summary::below_plan;
use crate::engine::intent::Intent;
use crate::engine::introspect::function_help::functions;
use crate::engine::query::lag;
use crate::engine::query::persistent::Query;
use crate::engine::query::{Bounded, Read};
use crate::engine::result::entity::{Description, Entity, ExplainedQuery, Explanation, QueryRow, Reading, TopicRow};
use crate::engine::result::rows::PLAN;
use crate::engine::session::Session;
use crate::engine::snapshot::State;
use crate::error::{Error, Result};
use crate::log::TopicPartition;
use crate::parse::statement::{Name, Show, SourceKind};
use crate::plan::{self, Created, Facts};
use crate::types::{Column, Schema, SqlType, nearest};
use std::sync::Arc;

impl Engine {
    pub(in crate::engine) fn show(&self, show: &Show, session: &Session) -> Result<Entity> {
        Ok(match show {
            Show::Streams { extended: true } => self.described(SourceKind::Stream, session)?,
            Show::Tables { extended: true } => self.described(SourceKind::Table, session)?,
            Show::Streams { .. } => self.sources(SourceKind::Stream, session),
            Show::Tables { .. } => self.sources(SourceKind::Table, session),
            Show::Topics { all, extended } => self.topics(*all, *extended, session)?,
            Show::Queries { extended: true } => Entity::Explanations(self.explained(session)?),
            Show::Queries { .. } => Entity::Queries(self.query_rows(session)),
            Show::Properties => Entity::Properties(self.property_rows(session)),
            Show::Variables => {
                Entity::Variables(session.variables().iter().map(|(n, v)| (n.clone(), v.clone())).collect())
            }
            Show::Functions => Entity::Functions(functions()),
            Show::Schemas => self.show_schemas(session)?,
            Show::Connectors(kind) => self.show_connectors(*kind)?,
            Show::ConnectorPlugins => self.show_connector_plugins()?,
            Show::Types => {
                let state = self.inner.state.load();
                Entity::Types(state.catalog.types().iter().map(|(n, ty)| (n.clone(), ty.clone())).collect())
            }
        })
    }

    fn sources(&self, kind: SourceKind, session: &Session) -> Entity {
        let catalog = self.catalog();
        Entity::Sources(kind, catalog.sources(kind).filter(|source| self.may_see(session, source)).cloned().collect())
    }

    /// All sources of a kind with their run-time facts.
    fn described(&self, kind: SourceKind, session: &Session) -> Result<Entity> {
        let state = self.inner.state.load();
        let seen = state.catalog.sources(kind).filter(|source| self.may_see(session, source));
        let described = seen.map(|source| self.description(&state, source.clone(), true, session));
        Ok(Entity::Descriptions(described.collect::<Result<_>>()?))
    }

    /// All persistent queries with their plans.
    fn explained(&self, session: &Session) -> Result<Vec<Explanation>> {
        let state = self.inner.state.load();
        // A query that is not visible to the user is left out.
        Ok(state.catalog.query_ids().iter().filter_map(|id| self.explanation(&state, id, session).ok()?).collect())
    }

    fn topics(&self, all: bool, extended: bool, session: &Session) -> Result<Entity> {
        let mut topics = self.inner.log.topics()?;
        let rights = &session.principal().topics;
        topics.retain(|t| (all || !self.inner.topics.is_hidden(&t.name)) && rights.include(&t.name));
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let catalog = self.catalog();
        let readers = |topic: &str| {
            let reads = |q: &&QueryInfo| q.reads.iter().filter_map(|s| catalog.source(s)).any(|s| s.topic == topic);
            catalog.queries().filter(reads).count()
        };
        let row = |t: crate::log::TopicInfo| TopicRow {
            readers: extended.then(|| readers(&t.name)),
            bytes: extended.then(|| self.bytes_of(&t)).flatten(),
            name: t.name,
            partitions: t.partitions,
            replicas: t.replicas,
        };
        Ok(Entity::Topics(topics.into_iter().map(row).collect()))
    }

    /// Persistent queries in order of creation, then the push queries that are being read: those that are visible to the user.
    pub fn query_rows(&self, session: &Session) -> Vec<QueryRow> {
        let state = self.inner.state.load();
        let seen = state.queries().filter(|(id, _)| self.may_see_query(session, &state.catalog, id));
        let persistent = seen.map(|(id, query)| row(&state, id, query));
        persistent.chain(self.inner.pushes.rows(session.principal())).collect()
    }

    pub(in crate::engine) fn property_rows(&self, session: &Session) -> Vec<(String, String, &'static str)> {
        let mut rows = Vec::new();
        let mut add = |name: &str, value: &str, from: &'static str| {
            rows.push((name.to_owned(), value.to_owned(), from));
        };
        for p in PROPERTIES {
            match (session.properties().get(p.name), self.inner.config.properties.get(p.name)) {
                (Some(value), _) => add(p.name, value, "SESSION"),
                (None, Some(value)) => add(p.name, value, "SERVER"),
                (None, None) => add(p.name, &self.inner.config.default_of(p.name), "DEFAULT"),
            }
        }
        if let Some(url) = self.inner.config.registry_url() {
            add(REGISTRY_URL, &url, "SERVER");
        }
        if self.inner.config.properties.contains_key(CONNECT_URL) {
            add(CONNECT_URL, &self.inner.config.connect_url(), "SERVER");
        }
        if let LogConfig::Kafka { bootstrap, properties } = &self.inner.config.log {
            add("kafka.bootstrap.servers", bootstrap, "SERVER");
            properties.shown().for_each(|(name, value)| add(&format!("kafka.{name}"), value, "SERVER"));
        }
        rows
    }

    pub(in crate::engine) fn describe(&self, name: &Name, extended: bool, session: &Session) -> Result<Entity> {
        let state = self.inner.state.load();
        let source = state.catalog.require(&name.value).map_err(|_| missing(&state, name))?.clone();
        self.check_topic(session, &source.topic)?;
        Ok(Entity::Description(Box::new(self.description(&state, source, extended, session)?)))
    }

    fn description(
        &self,
        state: &State,
        source: Arc<Source>,
        extended: bool,
        session: &Session,
    ) -> Result<Description> {
        let row_of = |info: &QueryInfo| {
            let query = state.queries.get(&info.id)?;
            self.may_see_query(session, &state.catalog, &info.id).then(|| row(state, &info.id, query))
        };
        let readers: Vec<QueryRow> = state.catalog.readers(&source.name).filter_map(row_of).collect();
        let writers: Vec<QueryRow> = state.catalog.writers(&source.name).filter_map(row_of).collect();
        let mut offsets = Vec::new();
        for p in (0..source.partitions as i32).filter(|_| extended) {
            let marks = self.inner.log.watermarks(&TopicPartition::new(source.topic.as_str(), p))?;
            offsets.push((p, marks.low, marks.high));
        }
        let reading = if extended { self.reading(state, readers.iter().chain(&writers))? } else { Vec::new() };
        let schemas = if extended { self.described_schemas(&source) } else { Vec::new() };
        Ok(Description { source, readers, writers, offsets, reading, schemas, extended })
    }

    /// Progress and lag of the queries.
    fn reading<'a>(&self, state: &State, queries: impl Iterator<Item = &'a QueryRow>) -> Result<Vec<Reading>> {
        let running = queries.filter_map(|row| Some((row.id.clone(), state.queries.get(&row.id)?)));
        let each = running.map(|(id, query)| {
            let partitions = lag::partitions(&*self.inner.log, query)?;
            let facts = self.facts_of(state, &id, query, Some(&partitions));
            let per_second = if facts.is_elsewhere { facts.rates.rows_in } else { query.per_second() };
            let lag = lag::lag(&partitions);
            Ok(Reading { id, group: query.group().to_owned(), partitions, lag, per_second, facts })
        });
        each.collect()
    }

    pub(in crate::engine) fn explain_query(&self, id: &Name, session: &Session) -> Result<Entity> {
        let unknown = || {
            let error = Error::statement(format!(
                "Query with id:{} does not exist, use SHOW QUERIES to view the full set of queries.",
                id.value
            ));
            error.at(id.span)
        };
        self.explanation(&self.inner.state.load(), &id.value, session)?.map(Entity::from).ok_or_else(unknown)
    }

    /// `None` = there is no such query.
    fn explanation(&self, state: &State, id: &str, session: &Session) -> Result<Option<Explanation>> {
        let (Some(text), Some(info)) = (state.texts.get(id), state.catalog.query(id)) else { return Ok(None) };
        self.check_query(session, &state.catalog, id)?;
        let sink = state.catalog.source(&info.writes);
        let schema = sink.map(|s| s.schema.clone()).unwrap_or_default();
        let Some(query) = state.queries.get(id) else { return Ok(None) };
        // Without the lag: EXPLAIN waits for no broker.
        let facts = self.facts_of(state, id, query, None);
        let plan = format!("{}{}", text.plan, below_plan(&facts, &self.stage_facts(id, query)));
        let query = ExplainedQuery {
            id: id.to_owned(),
            state: state_word(query).0,
            host: query.host(),
            group: query.group().to_owned(),
        };
        Ok(Some(Explanation {
            query: Some(query),
            sql: text.sql.clone(),
            schema,
            sink: Some(info.writes.clone()),
            window: sink.and_then(|sink| sink.window),
            sources: info.reads.clone(),
            plan,
        }))
    }

    pub(in crate::engine) fn explain(&self, intent: &Intent<'_>, text: &str, session: &Session) -> Result<Entity> {
        let settings = self.settings(&self.properties(session))?;
        let state = self.inner.state.load();
        let (mut sink, mut window) = (None, None);
        let (schema, sources, plan) = match intent {
            Intent::Change(Change::CreateAs(create)) => {
                let id = format!("{}_{}", create.name.value, state.next);
                // A plan does not depend on the present state of its topics: no broker is contacted.
                match plan::create_as(create, &id, &state.catalog, &Facts::default(), &settings, text)? {
                    Created::New(p) => {
                        self.check_plan(session, &state.catalog, &p)?;
                        (sink, window) = (Some(p.sink.name.clone()), p.sink.window);
                        (p.sink.schema.clone(), p.reads.clone(), plan::explain::explain(&p.logical))
                    }
                    Created::Exists(why) => return Ok(Entity::Warning(why)),
                }
            }
            Intent::Read(Read::Push(select)) => {
                let p = plan::push_query(select, &state.catalog, &settings)?;
                self.check_sources(session, &state.catalog, &p.reads)?;
                (
                    Schema { key: Vec::new(), value: p.columns.clone() },
                    p.reads.clone(),
                    plan::explain::explain(&p.logical),
                )
            }
            Intent::Read(Read::Bounded(query)) => {
                if let Bounded::Select(select) = query
                    && let Some(explained) = self.explain_pull(select, text, session)?
                {
                    return Ok(explained);
                }
                return self.explain_batch(*query, &state.catalog, &settings, text, session);
            }
            // Who describes a prepared statement asks for the columns.
            Intent::Read(Read::Analyze(query)) => {
                let plan = query.plan(&state.catalog, &settings)?;
                self.check_sources(session, &state.catalog, &plan.reads)?;
                let schema = Schema { key: Vec::new(), value: vec![Column::value(PLAN, SqlType::String)] };
                (schema, plan.reads.clone(), plan::explain::explain(&plan.logical))
            }
            Intent::Change(_)
            | Intent::Read(Read::Print(_) | Read::Verify(_))
            | Intent::Connector(_)
            | Intent::EndPushQuery(_)
            | Intent::InsertValues(_)
            | Intent::Setting(_)
            | Intent::Inquiry(_)
            | Intent::Refused(_) => {
                return Err(Error::statement("EXPLAIN takes a query, a CREATE ... AS SELECT or a query id"));
            }
        };
        Ok(Explanation { query: None, sql: explained(text), schema, sink, window, sources, plan }.into())
    }
}

fn missing(state: &State, name: &Name) -> Error {
    let error = Error::statement(format!("Could not find STREAM/TABLE '{}' in the Metastore", name.value));
    error.at(name.span).with_hint(match nearest(&name.value, state.catalog.all().map(|s| s.name.as_str())) {
        Some(near) => format!("did you mean {near}?"),
        None => "SHOW STREAMS and SHOW TABLES list what exists".to_owned(),
    })
}

/// The text of the explained statement, without EXPLAIN [ANALYZE].
pub(in crate::engine) fn explained(text: &str) -> String {
    let without = |text: &str, word: &str| {
        let text = text.trim_start();
        let statement = text.split_at_checked(word.len()).filter(|(begin, _)| begin.eq_ignore_ascii_case(word));
        statement.map_or(text, |(_, statement)| statement.trim_start()).to_owned()
    };
    without(&without(text, "EXPLAIN"), "ANALYZE")
}

/// A query's state as SHOW QUERIES prints it, and the reason if it does not run.
fn state_word(query: &Query) -> (&'static str, Option<String>) {
    let state = query.state();
    (state.word(), state.reason().map(str::to_owned))
}

fn row(state: &State, id: &str, query: &Query) -> QueryRow {
    let info = state.catalog.query(id);
    let sink = info.map(|i| i.writes.clone());
    let (word, trouble) = state_word(query);
    QueryRow {
        id: id.to_owned(),
        kind: "PERSISTENT",
        state: word.to_owned(),
        sink_topic: sink.as_ref().and_then(|s| state.catalog.source(s)).map(|s| s.topic.clone()),
        sink,
        sql: state.texts.get(id).map(|t| t.sql.clone()).unwrap_or_default(),
        trouble,
        host: query.host(),
        standbys: query.standbys(),
        counts: query.counts(),
    }
}
