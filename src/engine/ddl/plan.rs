//! What a statement that changes the catalogue means, decided before anything is changed.
//!
//! ```text
//! CREATE TABLE t AS SELECT ...   step: create topic T | register T-value | effect create_query | start CTAS_T_3
//! DROP STREAM s DELETE TOPIC     step: effect drop, which ends CSAS_S_1 | delete topic | delete subjects
//! TERMINATE ALL                  a step for each query: effect terminate, which ends it
//! CREATE ... IF NOT EXISTS       no step, if it exists: the reply says so
//! ```
//!
//! Planning is pure: what the outside looks like comes in as [`Facts`] and [`SchemaFacts`], and a plan of the same statement in the same
//! [`Context`] is the same. Live execution, the sandbox and the replay carry out, or take apart, the same value.

use crate::catalog::topics::{TopicRules, TopicUse};
use crate::catalog::{Catalog, Effect, Source};
use crate::engine::command::CommandStatus;
use crate::engine::command::status::noun;
use crate::engine::datagen;
use crate::engine::ddl::Change;
use crate::engine::query::persistent::{NewQuery, Query};
use crate::engine::query::unknown_query;
use crate::engine::schemas::facts::SchemaFacts;
use crate::engine::schemas::infer::infer_all;
use crate::engine::schemas::register::{Registration, When, registrations, subjects};
use crate::error::{Error, Result};
use crate::execute::compile::{self, upgrade};
use crate::parse::statement::{CreateAs, CreateSource, CreateType, Drop, InsertSelect, Name, SourceKind};
use crate::plan::{self, Created, Facts, QueryPlan, Settings, TopicRequest};
use crate::types::nearest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a statement is planned against.
pub(in crate::engine) struct Context<'a> {
    /// What exists.
    pub(in crate::engine) catalog: &'a Catalog,
    /// Persistent queries that CREATE OR REPLACE may replace.
    pub(in crate::engine) queries: &'a BTreeMap<String, Arc<Query>>,
    /// Describes topics: the plan says which ones it depends on.
    pub(in crate::engine) facts: &'a mut dyn FnMut(BTreeSet<String>) -> Result<Facts>,
    /// What the registry says.
    pub(in crate::engine) schemas: &'a mut dyn SchemaFacts,
    /// The session's and the server's properties.
    pub(in crate::engine) settings: &'a Settings,
    /// Sequence of the next command: a part of a new query's id.
    pub(in crate::engine) next: u64,
    /// The id that the query has already, of a statement that is replayed.
    pub(in crate::engine) recorded_id: Option<&'a str>,
}

/// What a statement comes to.
#[derive(Debug)]
pub(in crate::engine) struct Planned {
    /// What is done, a command each; none where everything is as the statement wants it.
    pub(in crate::engine) steps: Vec<Step>,
    /// What the statement returns once all steps are carried out.
    pub(in crate::engine) reply: Reply,
    /// Topics that are read, written, created or deleted: the user needs the right to each.
    pub(in crate::engine) touches: Vec<String>,
}

/// One command and what goes with it. The fields are carried out from top to bottom: a crash between two of them leaves at
/// most a topic that is not used yet, or a query that the next start finds in the command log.
#[derive(Debug)]
pub(in crate::engine) struct Step {
    /// Topics that are created before the command is recorded.
    pub(in crate::engine) create_topics: Vec<TopicRequest>,
    /// Schemas that are registered, and recorded with the source of the effect.
    pub(in crate::engine) register: Vec<Registration>,
    /// What is recorded, and then applied to the catalogue.
    pub(in crate::engine) effect: Effect,
    /// The query that starts. It takes the place of the one with its id.
    pub(in crate::engine) start: Option<Box<NewQuery>>,
    /// The query that is paused (`true`) or resumed.
    pub(in crate::engine) pause: Option<(String, bool)>,
    /// The topic that is deleted.
    pub(in crate::engine) delete_topic: Option<String>,
    /// The subjects that are deleted with it.
    pub(in crate::engine) delete_subjects: Vec<String>,
}

/// What a statement returns.
#[derive(Debug)]
pub(in crate::engine) enum Reply {
    /// A status that `GET /status` repeats.
    Status(CommandStatus),
    /// Nothing was to do: why.
    Warning(String),
}

impl Step {
    /// A step that only changes the catalogue.
    fn of(effect: Effect) -> Step {
        Step {
            create_topics: Vec::new(),
            register: Vec::new(),
            effect,
            start: None,
            pause: None,
            delete_topic: None,
            delete_subjects: Vec::new(),
        }
    }

    /// A query ends.
    pub(in crate::engine) fn terminate(id: &str) -> Step {
        Step::of(Effect::Terminate { id: id.to_owned() })
    }
}

impl Planned {
    /// Everything is as the statement wants it.
    fn nothing(reply: Reply) -> Planned {
        Planned { steps: Vec::new(), reply, touches: Vec::new() }
    }

    fn one(step: Step, status: CommandStatus, touches: Vec<String>) -> Planned {
        Planned { steps: vec![step], reply: Reply::Status(status), touches }
    }
}

/// Plans a statement; `sql` is its text.
pub(in crate::engine) fn plan(change: Change<'_>, sql: &str, context: Context<'_>) -> Result<Planned> {
    let catalog = context.catalog;
    match change {
        Change::CreateSource(create) => create_source(create, sql, context),
        Change::CreateAs(create) => create_as(create, sql, context),
        Change::InsertSelect(insert) => insert_select(insert, sql, context),
        Change::Alter(alter) => {
            let source = plan::alter_source(alter, catalog, sql)?;
            let status = CommandStatus::altered(source.kind, &source.name);
            let touches = vec![source.topic.clone()];
            Ok(Planned::one(Step::of(Effect::CreateSource(Box::new(source))), status, touches))
        }
        Change::Drop(drop) => drop_source(drop, catalog, &context.settings.topics),
        Change::CreateType(create) => create_type(create, catalog),
        Change::DropType { name, if_exists } => drop_type(name, if_exists, catalog),
        Change::Terminate(id) => {
            let ids = chosen(catalog, id)?;
            let steps = ids.iter().map(|id| Step::terminate(id)).collect();
            let reply = Reply::Status(CommandStatus::terminated(id));
            Ok(Planned { steps, reply, touches: written(catalog, &ids) })
        }
        Change::Pause { id, paused } => {
            let ids = chosen(catalog, id)?;
            let step = |id: &String| Step {
                pause: Some((id.clone(), paused)),
                ..Step::of(Effect::Pause { id: id.clone(), paused })
            };
            let steps = ids.iter().map(step).collect();
            let reply = Reply::Status(CommandStatus::paused(id, paused));
            Ok(Planned { steps, reply, touches: written(catalog, &ids) })
        }
    }
}

fn create_source(create: &CreateSource, sql: &str, context: Context<'_>) -> Result<Planned> {
    let Context { catalog, facts, schemas, settings, .. } = context;
    let expanded = datagen::expanded(create, catalog)?;
    let create = expanded.as_ref().unwrap_or(create);
    let mut facts = facts(plan::topics_of_source(create))?;
    infer_all(&plan::schemas_of_source(create, settings)?, schemas, &mut facts)?;
    let mut plan = match plan::create_source(create, catalog, &facts, settings, sql)? {
        Created::New(plan) => plan,
        Created::Exists(why) => return Ok(Planned::nothing(Reply::Warning(why))),
    };
    let name = &create.name.value;
    let touches = [plan.source.topic.clone()].into_iter().chain(topic_of(catalog, name)).collect();
    let register = registrations(&mut plan.source, When::Absent, schemas)?;
    let step = Step {
        register,
        create_topics: plan.create_topic.into_iter().collect(),
        ..Step::of(Effect::CreateSource(Box::new(plan.source)))
    };
    Ok(Planned::one(step, CommandStatus::created(create.kind, name), touches))
}

fn create_as(create: &CreateAs, sql: &str, context: Context<'_>) -> Result<Planned> {
    let id = match context.recorded_id {
        Some(id) => id.to_owned(),
        None => query_id(create, context.catalog, context.next),
    };
    let mut facts = (context.facts)(plan::topics_of_query(create, context.catalog, context.settings))?;
    let requests = plan::schemas_of_query(create, context.catalog, context.settings)?;
    infer_all(&requests, context.schemas, &mut facts)?;
    match plan::create_as(create, &id, context.catalog, &facts, context.settings, sql)? {
        Created::New(plan) => start(plan, (create.kind, When::Always), sql, context),
        Created::Exists(why) => Ok(Planned::nothing(Reply::Warning(why))),
    }
}

fn insert_select(insert: &InsertSelect, sql: &str, context: Context<'_>) -> Result<Planned> {
    let id = match context.recorded_id {
        Some(id) => id.to_owned(),
        None => format!("INSERTQUERY_{}", context.next),
    };
    let plan = plan::insert_select(insert, &id, context.catalog, context.settings)?;
    start(plan, (SourceKind::Stream, When::Unwritten), sql, context)
}

/// A persistent query starts.
fn start(plan: QueryPlan, (kind, when): (SourceKind, When), sql: &str, context: Context<'_>) -> Result<Planned> {
    let pipeline = compile::pipeline(&plan.logical)?;
    // One that this version cannot plan may become anything.
    if let Some(spec) = context.queries.get(&plan.id).and_then(|query| query.spec()) {
        upgrade::check(&spec.pipeline, &pipeline)?;
    }
    let drawn = plan::explain::explain(&plan.logical);
    let QueryPlan { id, mut sink, create_topic, reads, late_topic, .. } = plan;
    let register = registrations(&mut sink, when, context.schemas)?;
    let (late_topic, create_late_topic) = late_topic.unzip();
    let sources = reads.iter().chain([&sink.name]).filter_map(|name| topic_of(context.catalog, name));
    let touches = sources.chain([sink.topic.clone()]).chain(late_topic.clone()).collect();
    let status = CommandStatus::query_created(kind, &sink.name, &id);
    let new = NewQuery { id: id.clone(), sql: sql.to_owned(), plan: drawn, pipeline, late_topic: late_topic.clone() };
    let effect = Effect::CreateQuery { id, sink: Box::new(sink), reads, late_topic, begin: None };
    let create_topics = create_topic.into_iter().chain(create_late_topic.flatten()).collect();
    let step = Step { create_topics, register, start: Some(Box::new(new)), ..Step::of(effect) };
    Ok(Planned::one(step, status, touches))
}

fn drop_source(drop: &Drop, catalog: &Catalog, topics: &TopicRules) -> Result<Planned> {
    let name = &drop.name.value;
    if catalog.source(name).is_none() {
        // As ksqlDB: the command succeeds and changes nothing. Its clients accept no other reply to a DROP.
        if drop.if_exists {
            let message = format!("Source `{name}` does not exist.");
            return Ok(Planned::nothing(Reply::Status(CommandStatus::dropped(drop.kind, name, message))));
        }
        let error = catalog.require(name).err().unwrap_or_else(|| Error::bug("a source exists and does not"));
        return Err(error.reworded(format!("{} {name} does not exist.", noun(drop.kind))).at(drop.name.span));
    }
    let (source, _) = catalog.check_drop(name, drop.kind).map_err(|e| e.at(drop.name.span))?;
    check_deletable(drop, &source, catalog, topics)?;
    let step = Step {
        delete_topic: drop.delete_topic.then(|| source.topic.clone()),
        delete_subjects: if drop.delete_topic { subjects(&source) } else { Vec::new() },
        ..Step::of(Effect::Drop { name: name.clone() })
    };
    let message = format!("Source `{name}` (topic: {}) was dropped.", source.topic);
    Ok(Planned::one(step, CommandStatus::dropped(drop.kind, name, message), vec![source.topic.clone()]))
}

/// The topic of a SOURCE TABLE or STREAM belongs to others, an internal one to the engine, and one may have several sources.
fn check_deletable(drop: &Drop, source: &Source, catalog: &Catalog, topics: &TopicRules) -> Result<()> {
    if !drop.delete_topic {
        return Ok(());
    }
    let hinted = |e: Error| e.at(drop.name.span).with_hint("drop it without DELETE TOPIC");
    topics.check(&source.topic, TopicUse::Delete).map_err(hinted)?;
    let others = catalog.all().filter(|other| other.topic == source.topic && other.name != source.name);
    let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
    if !others.is_empty() {
        let (others, topic) = (others.join(", "), &source.topic);
        return Err(hinted(Error::statement(format!(
            "Refusing to delete topic. Found other data sources ({others}) using topic {topic}"
        ))));
    }
    match source.read_only {
        true => Err(hinted(Error::statement(format!("Cannot delete topic for read-only source: {}", source.name)))),
        false => Ok(()),
    }
}

fn create_type(create: &CreateType, catalog: &Catalog) -> Result<Planned> {
    let name = &create.name.value;
    if let Some(known) = catalog.types().get(name) {
        let text = format!("Cannot register custom type '{name}' since it is already registered with type: {known}");
        return match create.if_not_exists {
            // As ksqlDB: the command succeeds and changes nothing.
            true => Ok(Planned::nothing(Reply::Status(CommandStatus::type_created(name, text)))),
            false => Err(Error::statement(text).at(create.name.span)),
        };
    }
    let message = format!("Registered custom type with name '{name}' and SQL type {}", create.ty);
    let effect = Effect::CreateType { name: name.clone(), ty: create.ty.clone() };
    Ok(Planned::one(Step::of(effect), CommandStatus::type_created(name, message), Vec::new()))
}

fn drop_type(name: &Name, if_exists: bool, catalog: &Catalog) -> Result<Planned> {
    let (name, span) = (&name.value, name.span);
    if !catalog.types().contains_key(name) {
        let text = format!("Type {name} does not exist.");
        if if_exists {
            return Ok(Planned::nothing(Reply::Status(CommandStatus::type_dropped(name, text))));
        }
        let error = Error::statement(text).at(span);
        return Err(match nearest(name, catalog.types().keys().map(String::as_str)) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None => error.with_hint("SHOW TYPES lists them"),
        });
    }
    let status = CommandStatus::type_dropped(name, format!("Dropped type '{name}'"));
    Ok(Planned::one(Step::of(Effect::DropType { name: name.clone() }), status, Vec::new()))
}

/// The id of the query that this statement creates as the `next` command: that of the query which it replaces, if any.
fn query_id(create: &CreateAs, catalog: &Catalog, next: u64) -> String {
    let replaced = catalog.source(&create.name.value).filter(|_| create.or_replace);
    if let Some(id) = replaced.and_then(|source| source.created_by.clone()) {
        return id;
    }
    let prefix = if create.kind == SourceKind::Stream { "CSAS" } else { "CTAS" };
    format!("{prefix}_{}_{next}", create.name.value)
}

/// The queries that are meant: one by its id, or all.
fn chosen(catalog: &Catalog, id: Option<&str>) -> Result<Vec<String>> {
    match id {
        None => Ok(catalog.query_ids().to_vec()),
        Some(id) if catalog.query(id).is_some() => Ok(vec![id.to_owned()]),
        Some(id) => Err(unknown_query(id, catalog)),
    }
}

/// The topics that these queries write.
fn written(catalog: &Catalog, ids: &[String]) -> Vec<String> {
    let sinks = ids.iter().filter_map(|id| catalog.query(id));
    sinks.filter_map(|query| topic_of(catalog, &query.writes)).collect()
}

/// The topic of a stream or table, if that exists.
fn topic_of(catalog: &Catalog, name: &str) -> Option<String> {
    catalog.source(name).map(|source| source.topic.clone())
}
