//! The sandbox: every statement of a request is planned against a copy of what exists, before the first is carried out. A
//! wrong last statement then changes nothing. ksqlDB's `SandboxedExecutionContext` does the same. A text that is only checked
//! (`engine::check`) is planned in the same way, with what is known of topics already.

use crate::catalog::{Catalog, Effect};
use crate::engine::Engine;
use crate::engine::ddl::Change;
use crate::engine::ddl::plan::{Context, Step, plan};
use crate::engine::intent::Inquiry;
use crate::engine::intent::Intent;
use crate::engine::introspect::function_help::describe_function;
use crate::engine::query::persistent::Query;
use crate::engine::query::unknown_query;
use crate::engine::schemas::facts::{Overlaid, SchemaSandbox};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::Parsed;
use crate::plan::{self, Facts, Settings, TopicFact};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a statement would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Streams and tables that it reads.
    pub reads: Vec<String>,
    /// Streams and tables that it creates, changes or writes.
    pub writes: Vec<String>,
    /// Topics that it creates.
    pub creates: Vec<String>,
}

/// A copy of what statements read and change.
pub(in crate::engine) struct Sandbox<'a> {
    engine: &'a Engine,
    catalog: Catalog,
    topics: Topics,
    schemas: SchemaSandbox,
    /// The queries that run now.
    queries: BTreeMap<String, Arc<Query>>,
    next: u64,
    session: Session,
}

/// Topics as the statements before leave them.
#[derive(Default)]
struct Topics {
    facts: Facts,
    /// Topics of which the facts are known, those that do not exist among them.
    known: BTreeSet<String>,
    /// All topics, where the log is not asked for single ones.
    listed: Option<Facts>,
}

impl Engine {
    /// Plans the statements one after the other. The error says which of them cannot be carried out.
    pub fn validate(&self, statements: &[Parsed], session: &Session) -> Result<(), (usize, Error)> {
        // The usual request has one statement, which is planned before it changes anything.
        if statements.len() < 2 {
            return Ok(());
        }
        let changes = |parsed: &Parsed| matches!(Intent::of(parsed, &self.inner.pushes), Intent::Change(_));
        if let Some(first) = statements.iter().position(changes) {
            self.read_commands().map_err(|e| (first, e))?;
        }
        let mut sandbox = Sandbox::new(self, session, Topics::default());
        for (at, parsed) in statements.iter().enumerate() {
            let taken = sandbox.take(parsed).map(drop);
            taken.map_err(|e| (at, e.told_in(&parsed.text, parsed.begin).shifted(parsed.span.start)))?;
        }
        Ok(())
    }
}

impl<'a> Sandbox<'a> {
    fn new(engine: &'a Engine, session: &Session, topics: Topics) -> Sandbox<'a> {
        let state = engine.inner.state.load();
        Sandbox {
            engine,
            catalog: Catalog::clone(&state.catalog),
            topics,
            schemas: SchemaSandbox::default(),
            queries: state.queries.clone(),
            next: state.next,
            session: session.clone(),
        }
    }

    /// A sandbox that does not wait for the log: topics are those that were listed lately, or else those of the catalogue.
    pub(in crate::engine) fn to_check(engine: &'a Engine, session: &Session) -> Sandbox<'a> {
        let mut listed = Facts::default();
        for source in engine.catalog().all() {
            listed.topics.insert(source.topic.clone(), TopicFact { partitions: source.partitions, replicas: 1 });
        }
        for topic in engine.recent_topics().iter().flat_map(|topics| topics.iter()) {
            let fact = TopicFact { partitions: topic.partitions, replicas: topic.replicas };
            listed.topics.insert(topic.name.clone(), fact);
        }
        Sandbox::new(engine, session, Topics { listed: Some(listed), ..Topics::default() })
    }

    /// The session as the statements before leave it.
    pub(in crate::engine) fn session(&self) -> &Session {
        &self.session
    }

    /// Plans a statement, and applies what it would do. Returns that.
    pub(in crate::engine) fn take(&mut self, parsed: &Parsed) -> Result<Outline> {
        let engine = self.engine;
        let settings = engine.settings(&engine.properties(&self.session))?;
        match Intent::of(parsed, &engine.inner.pushes) {
            Intent::Change(change) => self.change(change, &parsed.text, &settings),
            Intent::InsertValues(insert) => {
                let plans = plan::insert_values(insert, &self.catalog, &settings.topics)?;
                let Some(plan) = plans.first() else { return Ok(Outline::default()) };
                engine.check_topic(&self.session, &plan.source.topic)?;
                Ok(Outline { writes: vec![plan.source.name.clone()], ..Outline::default() })
            }
            Intent::Setting(setting) => {
                self.session.carry_out(setting, &engine.inner.config).map(|_| Outline::default())
            }
            Intent::Inquiry(inquiry) => self.validate(&inquiry, &parsed.text, &settings).map(|()| Outline::default()),
            Intent::Read(read) => {
                let reads = read.validate(&self.catalog, &settings)?;
                Ok(Outline { reads, ..Outline::default() })
            }
            Intent::EndPushQuery(_) => Ok(Outline::default()),
            // A text that is only checked does not wait for Kafka Connect either.
            Intent::Connector(_) if self.topics.listed.is_some() => Ok(Outline::default()),
            Intent::Connector(change) => engine.validate_connector(change, &self.session).map(|()| Outline::default()),
            Intent::Refused(error) => Err(error),
        }
    }

    fn change(&mut self, change: Change<'_>, text: &str, settings: &Settings) -> Result<Outline> {
        let Sandbox { engine, catalog, topics, schemas, queries, next, session } = self;
        let mut overlaid = Overlaid { live: engine.schema_facts(session), sandbox: schemas };
        let context = Context {
            catalog,
            queries,
            facts: &mut |names| topics.describe(names, engine),
            schemas: &mut overlaid,
            settings,
            next: *next,
            recorded_id: None,
        };
        let planned = plan(change, text, context)?;
        planned.touches.iter().try_for_each(|topic| engine.check_topic(session, topic))?;
        let mut outline = Outline::default();
        for step in planned.steps {
            outline.add(&step, catalog);
            topics.apply(&step);
            schemas.apply(&step);
            catalog.apply(&step.effect);
            *next += 1;
        }
        Ok(outline)
    }

    fn validate(&self, inquiry: &Inquiry<'_>, text: &str, settings: &Settings) -> Result<()> {
        match inquiry {
            Inquiry::Describe { name, .. } => self.catalog.require(&name.value).map(drop).map_err(|e| e.at(name.span)),
            Inquiry::DescribeFunction(name) => describe_function(name).map(drop),
            Inquiry::ExplainQuery(id) if self.catalog.query(&id.value).is_none() => {
                Err(unknown_query(&id.value, &self.catalog).at(id.span))
            }
            Inquiry::Explain(intent) => self.validate_explained(intent, text, settings),
            // Lists are never wrong, and a topic or a connector may be created by the statements before.
            Inquiry::ExplainQuery(_)
            | Inquiry::Show(_)
            | Inquiry::DescribeConnector(_)
            | Inquiry::AssertTopic(_)
            | Inquiry::AssertSchema(_) => Ok(()),
        }
    }

    /// What EXPLAIN would show can be planned. That it explains nothing else is its own error.
    fn validate_explained(&self, intent: &Intent<'_>, text: &str, settings: &Settings) -> Result<()> {
        match intent {
            Intent::Change(Change::CreateAs(create)) => {
                let id = format!("{}_{}", create.name.value, self.next);
                plan::create_as(create, &id, &self.catalog, &self.topics.facts, settings, text).map(drop)
            }
            Intent::Read(read) => read.validate(&self.catalog, settings).map(drop),
            Intent::Change(_)
            | Intent::Connector(_)
            | Intent::EndPushQuery(_)
            | Intent::InsertValues(_)
            | Intent::Setting(_)
            | Intent::Inquiry(_)
            | Intent::Refused(_) => Ok(()),
        }
    }
}

impl Outline {
    /// Adds what a step does; `catalog` is how it was before.
    fn add(&mut self, step: &Step, catalog: &Catalog) {
        self.creates.extend(step.create_topics.iter().map(|topic| topic.name.clone()));
        let of_query = |id: &str| catalog.query(id).map(|query| query.writes.clone());
        match &step.effect {
            Effect::CreateSource(source) => self.writes.push(source.name.clone()),
            Effect::CreateQuery { sink, reads, .. } => {
                self.reads.extend(reads.iter().cloned());
                self.writes.push(sink.name.clone());
            }
            Effect::Drop { name } => self.writes.push(name.clone()),
            Effect::Terminate { id } | Effect::Pause { id, .. } => self.writes.extend(of_query(id)),
            Effect::CreateType { .. } | Effect::DropType { .. } => {}
        }
    }
}

impl SchemaSandbox {
    fn apply(&mut self, step: &Step) {
        for registration in &step.register {
            self.0.insert(registration.subject.clone(), Some(registration.schema.clone()));
        }
        for subject in &step.delete_subjects {
            self.0.insert(subject.clone(), None);
        }
    }
}

impl Topics {
    /// Facts about these topics. Each is looked up once.
    fn describe(&mut self, names: BTreeSet<String>, engine: &Engine) -> Result<Facts> {
        let new: Vec<String> = names.difference(&self.known).cloned().collect();
        match &self.listed {
            Some(listed) => {
                let found = new.iter().filter_map(|name| Some((name.clone(), *listed.topics.get(name)?)));
                self.facts.topics.extend(found);
            }
            None => self.facts.topics.extend(engine.facts(new.clone())?.topics),
        }
        self.known.extend(new);
        let asked = names.into_iter().filter_map(|name| Some((name.clone(), *self.facts.topics.get(&name)?)));
        Ok(Facts { topics: asked.collect(), ..Facts::default() })
    }

    fn apply(&mut self, step: &Step) {
        for topic in &step.create_topics {
            let fact = TopicFact { partitions: topic.partitions, replicas: topic.replicas.unwrap_or(1) };
            self.facts.topics.insert(topic.name.clone(), fact);
            self.known.insert(topic.name.clone());
        }
        if let Some(topic) = &step.delete_topic {
            self.facts.topics.remove(topic);
            self.known.insert(topic.clone());
        }
    }
}
