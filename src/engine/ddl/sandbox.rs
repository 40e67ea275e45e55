//! The sandbox: every statement of a request is planned against a copy of what exists, before the first is carried out. A
//! wrong last statement then changes nothing. ksqlDB's `SandboxedExecutionContext` does the same.

use crate::catalog::Catalog;
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

/// A copy of what statements read and change.
struct Sandbox<'a> {
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
}

impl Engine {
    /// Plans the statements one after the other. The error says which of them cannot be carried out.
    pub fn validate(&self, statements: &[Parsed], session: &Session) -> Result<(), (usize, Error)> {
        // The usual request has one statement, which is planned before it changes anything.
        if statements.len() < 2 {
            return Ok(());
        }
        let state = self.inner.state.load();
        let mut sandbox = Sandbox {
            engine: self,
            catalog: Catalog::clone(&state.catalog),
            topics: Topics::default(),
            schemas: SchemaSandbox::default(),
            queries: state.queries.clone(),
            next: state.next,
            session: session.clone(),
        };
        for (at, parsed) in statements.iter().enumerate() {
            sandbox.take(parsed).map_err(|e| (at, e.told_in(&parsed.text, parsed.begin).shifted(parsed.span.start)))?;
        }
        Ok(())
    }
}

impl Sandbox<'_> {
    fn take(&mut self, parsed: &Parsed) -> Result<()> {
        let engine = self.engine;
        let settings = engine.settings(&engine.properties(&self.session))?;
        match Intent::of(parsed, &engine.inner.pushes) {
            Intent::Change(change) => self.change(change, &parsed.text, &settings),
            Intent::InsertValues(insert) => {
                let plan = plan::insert_values(insert, &self.catalog, &settings.topics)?;
                engine.check_topic(&self.session, &plan.source.topic)
            }
            Intent::Setting(setting) => self.session.carry_out(setting, &engine.inner.config).map(drop),
            Intent::Inquiry(inquiry) => self.validate(&inquiry, &parsed.text, &settings),
            Intent::Read(read) => read.validate(&self.catalog, &settings),
            Intent::Connector(change) => engine.validate_connector(change, &self.session),
            Intent::EndPushQuery(_) => Ok(()),
            Intent::Refused(error) => Err(error),
        }
    }

    fn change(&mut self, change: Change<'_>, text: &str, settings: &Settings) -> Result<()> {
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
        for step in planned.steps {
            topics.apply(&step);
            schemas.apply(&step);
            catalog.apply(&step.effect);
            *next += 1;
        }
        Ok(())
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
            Intent::Read(read) => read.validate(&self.catalog, settings),
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
        self.facts.topics.extend(engine.facts(new.clone())?.topics);
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
