//! The sandbox: every statement of a request is planned on a copy of what there is, before the first is carried out. A
//! wrong last statement then changes nothing.

use crate::catalog::{Catalog, QueryInfo};
use crate::engine::ddl::apply::{check_deletable, check_upgrade, chosen, query_id, unknown_query};
use crate::engine::introspect::function_help::describe_function;
use crate::engine::query::persistent::Query;
use crate::engine::session::Session;
use crate::engine::{Engine, unsupported};
use crate::error::{Error, Result};
use crate::execute::compile;
use crate::parse::statement::{CreateAs, Parsed, Statement};
use crate::plan::{self, Created, Facts, Settings, TopicFact, TopicRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What statements change, as a copy.
struct Copy {
    catalog: Catalog,
    facts: Facts,
    /// Topics whose facts are known, those that do not exist among them.
    described: BTreeSet<String>,
    queries: Vec<String>,
    next: u64,
    session: Session,
}

impl Engine {
    /// Plans the statements one after the other. The error says which of them cannot be carried out.
    pub fn validate(&self, statements: &[Parsed], session: &Session) -> Result<(), (usize, Error)> {
        // The usual request has one statement, which plans itself before it changes anything.
        if statements.len() < 2 {
            return Ok(());
        }
        let state = self.inner.state.load();
        let mut copy = Copy {
            catalog: Catalog::clone(&state.catalog),
            facts: Facts::default(),
            described: BTreeSet::new(),
            queries: state.order.clone(),
            next: state.next,
            session: session.clone(),
        };
        for (at, parsed) in statements.iter().enumerate() {
            self.pretend(parsed, &mut copy)
                .map_err(|e| (at, e.told_in(&parsed.text, parsed.begin).shifted(parsed.span.start)))?;
        }
        Ok(())
    }

    fn pretend(&self, parsed: &Parsed, copy: &mut Copy) -> Result<()> {
        let settings = self.settings(&self.properties(&copy.session))?;
        match &parsed.statement {
            Statement::CreateSource(create) => {
                self.describe_topics(plan::topics_of_source(create), copy)?;
                let planned = plan::create_source(create, &copy.catalog, &copy.facts, &settings, &parsed.text)?;
                if let Created::New(plan) = planned {
                    self.check_topic(&copy.session, &plan.source.topic)?;
                    self.check_sources(&copy.session, &copy.catalog, [&create.name.value])?;
                    copy.topic(plan.create_topic.as_ref());
                    copy.catalog.put(plan.source);
                    copy.next += 1;
                }
            }
            Statement::CreateAs(create) => {
                self.describe_topics(plan::topics_of_query(create, &copy.catalog, &settings), copy)?;
                let running = self.inner.state.load();
                copy.create_as(self, (create, parsed), &settings, &running.queries)?;
            }
            Statement::InsertSelect(insert) => {
                let id = format!("INSERTQUERY_{}", copy.next);
                let plan = plan::insert_select(insert, &id, &copy.catalog, &settings)?;
                self.check_plan(&copy.session, &copy.catalog, &plan)?;
                compile::pipeline(&plan.logical)?;
                copy.query(plan.id, plan.reads, plan.sink.name, None);
            }
            Statement::Alter(alter) => {
                let altered = plan::alter_source(alter, &copy.catalog, &parsed.text)?;
                self.check_topic(&copy.session, &altered.topic)?;
                copy.catalog.put(altered);
                copy.next += 1;
            }
            Statement::CreateType(create) if copy.catalog.types().contains_key(&create.name.value) => {}
            Statement::CreateType(create) => {
                copy.catalog.put_type(create.name.value.clone(), create.ty.clone());
                copy.next += 1;
            }
            Statement::DropType { name, .. } => copy.next += u64::from(copy.catalog.remove_type(&name.value).is_some()),
            Statement::InsertValues(insert) => {
                let plan = plan::insert_values(insert, &copy.catalog, &self.inner.topics)?;
                self.check_topic(&copy.session, &plan.source.topic)?;
            }
            Statement::Drop(drop) => {
                if drop.if_exists && copy.catalog.source(&drop.name.value).is_none() {
                    return Ok(());
                }
                let dropped = copy.catalog.drop_source(&drop.name.value, drop.kind);
                let (source, query) = dropped.map_err(|e| e.at(drop.name.span))?;
                check_deletable(drop, &source, &self.inner.topics)?;
                self.check_topic(&copy.session, &source.topic)?;
                copy.queries.retain(|id| query.as_ref().is_none_or(|q| q.id != *id));
                if drop.delete_topic {
                    copy.facts.topics.remove(&source.topic);
                    copy.described.insert(source.topic.clone());
                }
                copy.next += 1;
            }
            Statement::Terminate(Some(id)) if self.inner.pushes.contains(id) => {}
            Statement::Terminate(id) => {
                for id in chosen(&copy.queries, id.as_deref())? {
                    self.check_query(&copy.session, &copy.catalog, &id)?;
                    copy.catalog.remove_query(&id);
                    copy.queries.retain(|other| *other != id);
                    copy.next += 1;
                }
            }
            Statement::Pause(id) | Statement::Resume(id) => {
                let ids = chosen(&copy.queries, id.as_deref())?;
                ids.iter().try_for_each(|id| self.check_query(&copy.session, &copy.catalog, id))?;
                copy.next += ids.len() as u64;
            }
            Statement::ExplainQuery(id) if !copy.queries.contains(&id.value) => {
                return Err(unknown_query(&id.value, &copy.queries).at(id.span));
            }
            Statement::Explain(statement) => copy.explain(statement, parsed, &settings)?,
            Statement::DescribeFunction(name) => _ = describe_function(name)?,
            Statement::Describe { name, .. } => drop(copy.catalog.require(&name.value).map_err(|e| e.at(name.span))?),
            Statement::Set { name, value } => {
                self.inner.config.check_ceiling(name, value)?;
                copy.session.set(name, value)?;
            }
            Statement::Unset(name) => copy.session.unset(name)?,
            Statement::Unsupported { what, span } => return Err(unsupported(what).at(*span)),
            // Nothing that a later statement could depend on; what is wrong with them shows when they are carried out.
            _ => {}
        }
        Ok(())
    }

    /// Looks at topics that no statement before has named.
    fn describe_topics(&self, names: BTreeSet<String>, copy: &mut Copy) -> Result<()> {
        let new: Vec<String> = names.into_iter().filter(|name| copy.described.insert(name.clone())).collect();
        copy.facts.topics.extend(self.facts(new)?.topics);
        Ok(())
    }
}

impl Copy {
    fn topic(&mut self, topic: Option<&TopicRequest>) {
        if let Some(topic) = topic {
            self.described.insert(topic.name.clone());
            let fact = TopicFact { partitions: topic.partitions, replicas: topic.replicas.unwrap_or(1) };
            self.facts.topics.insert(topic.name.clone(), fact);
        }
    }

    fn create_as(
        &mut self,
        engine: &Engine,
        (create, parsed): (&CreateAs, &Parsed),
        settings: &Settings,
        running: &BTreeMap<String, Arc<Query>>,
    ) -> Result<()> {
        let id = query_id(create, &self.catalog, self.next);
        let planned = plan::create_as(create, &id, &self.catalog, &self.facts, settings, &parsed.text)?;
        if let Created::New(plan) = planned {
            engine.check_plan(&self.session, &self.catalog, &plan)?;
            let pipeline = compile::pipeline(&plan.logical)?;
            if let Some(running) = running.get(&id) {
                check_upgrade(running, &pipeline)?;
            }
            self.topic(plan.create_topic.as_ref());
            let late_topic = plan.late_topic.map(|(name, _)| name);
            self.query(id, plan.reads, create.name.value.clone(), late_topic);
            self.catalog.put(plan.sink);
        }
        Ok(())
    }

    /// What EXPLAIN would show can be planned.
    fn explain(&self, statement: &Statement, parsed: &Parsed, settings: &Settings) -> Result<()> {
        match statement {
            Statement::CreateAs(create) => {
                let id = format!("{}_{}", create.name.value, self.next);
                plan::create_as(create, &id, &self.catalog, &self.facts, settings, &parsed.text).map(drop)
            }
            Statement::Select(select) if select.emit.is_some() => {
                plan::push_query(select, &self.catalog, settings).map(drop)
            }
            Statement::Select(select) => plan::batch_query(select, &self.catalog, settings).map(drop),
            _ => Ok(()),
        }
    }

    fn query(&mut self, id: String, reads: Vec<String>, writes: String, late_topic: Option<String>) {
        self.catalog.put_query(QueryInfo { id: id.clone(), reads, writes, late_topic });
        if !self.queries.contains(&id) {
            self.queries.push(id);
        }
        self.next += 1;
    }
}
