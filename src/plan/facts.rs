//! What a plan has to know of the outside: the topics that its statement names, directly or through a source, and the schemas
//! from which it takes columns.
//!
//! `plan` looks nothing up. It says which topics and schemas it will ask for, `engine` describes these, and the plan is made from what
//! was found. A statement about three topics asks for three, however many the cluster has.

use super::properties::{Use, With, WithSchema};
use super::settings::Settings;
use crate::catalog::{Catalog, Format, WireSchema};
use crate::error::{Error, Result, Span};
use crate::parse::statement::{Constraint, CreateAs, CreateSource};
use crate::types::SqlType;
use std::collections::{BTreeMap, BTreeSet};

/// What the engine found out before planning.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Topics that exist, by name: at least those that the statement names.
    pub topics: BTreeMap<String, TopicFact>,
    /// The schemas of key and value that the statement takes its columns from, or has to agree with.
    pub key_schema: Option<SchemaFact>,
    /// See `key_schema`.
    pub value_schema: Option<SchemaFact>,
}

/// A schema of the registry, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFact {
    /// The columns that it describes.
    pub columns: Vec<(String, SqlType)>,
    /// The full name of what was read: the statement's, or that of the schema itself where its id was given.
    pub full_name: Option<String>,
    /// The schema.
    pub schema: WireSchema,
}

/// A schema that a statement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRequest {
    /// Of the key, or of the value.
    pub is_key: bool,
    /// The topic, which names the subject.
    pub topic: String,
    /// The format whose schema it has to be.
    pub format: Format,
    /// `*_SCHEMA_ID`; `None` = the latest of the subject.
    pub id: Option<i32>,
    /// `*_SCHEMA_FULL_NAME`
    pub full_name: Option<String>,
    /// A single column is not wrapped.
    pub is_unwrapped: bool,
}

impl SchemaRequest {
    /// `<topic>-key`, `<topic>-value`
    pub fn subject(&self) -> String {
        subject(&self.topic, self.is_key)
    }
}

/// The subject of one side of a topic.
pub fn subject(topic: &str, is_key: bool) -> String {
    format!("{topic}-{}", if is_key { "key" } else { "value" })
}

/// A topic that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFact {
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each record.
    pub replicas: u16,
}

/// The topics that the plan of CREATE STREAM|TABLE asks for. A clause that is wrong names none: the plan says so.
pub fn topics_of_source(stmt: &CreateSource) -> BTreeSet<String> {
    With::read(&stmt.with, Use::Create).ok().and_then(|with| with.topic).into_iter().map(|(name, _)| name).collect()
}

/// The schemas from which CREATE STREAM|TABLE takes columns: of each side that has an id, or no columns and a format that
/// describes them.
pub fn schemas_of_source(stmt: &CreateSource, settings: &Settings) -> Result<Vec<SchemaRequest>> {
    let Ok(with) = With::read(&stmt.with, Use::Create) else { return Ok(Vec::new()) };
    let Some((topic, _)) = with.topic.clone() else { return Ok(Vec::new()) };
    let key_format = with.key_format.unwrap_or(settings.key_format);
    let value_format = with.value_format.or(settings.value_format);
    let has = |constraints: &[Constraint]| stmt.columns.iter().any(|c| constraints.contains(&c.constraint));
    let sides = [
        (true, Some(key_format), &with.key_schema, has(&[Constraint::Key, Constraint::PrimaryKey])),
        (false, value_format, &with.value_schema, has(&[Constraint::None])),
    ];
    let mut requests = Vec::new();
    for (is_key, format, schema, is_declared) in sides {
        let Some(format) = format else { continue };
        if let Some(span) = check_id(is_key, format, schema)?
            && is_declared
        {
            let text = format!("Table elements and {}_SCHEMA_ID cannot both exist for create statement.", part(is_key));
            return Err(Error::statement(text).at(span));
        }
        if schema.id.is_some() || !is_declared && format.schema_type().is_some() {
            requests.push(SchemaRequest {
                is_key,
                topic: topic.clone(),
                format,
                id: schema.id.map(|(id, _)| id),
                full_name: schema.full_name.as_ref().map(|(name, _)| name.clone()),
                is_unwrapped: is_key || with.wrap_single_value == Some(false),
            });
        }
    }
    Ok(requests)
}

/// The schemas with which the columns of CREATE STREAM|TABLE AS SELECT have to agree: those whose ids are given.
pub fn schemas_of_query(stmt: &CreateAs, catalog: &Catalog, settings: &Settings) -> Result<Vec<SchemaRequest>> {
    let Ok(with) = With::read(&stmt.with, Use::CreateAs) else { return Ok(Vec::new()) };
    let topic = sink_topic(stmt, &with, settings);
    let from = catalog.source(&stmt.select.from.name.value);
    let key_format = with.key_format.or(from.map(|s| s.key_format).filter(|f| *f != Format::None));
    let sides = [
        (true, key_format.unwrap_or(settings.key_format), &with.key_schema),
        (false, with.value_format.or(from.map(|s| s.value_format)).unwrap_or(Format::Json), &with.value_schema),
    ];
    let mut requests = Vec::new();
    for (is_key, format, schema) in sides {
        check_id(is_key, format, schema)?;
        if let Some((id, _)) = schema.id {
            requests.push(SchemaRequest {
                is_key,
                topic: topic.clone(),
                format,
                id: Some(id),
                full_name: schema.full_name.as_ref().map(|(name, _)| name.clone()),
                is_unwrapped: is_key || with.wrap_single_value == Some(false),
            });
        }
    }
    Ok(requests)
}

/// The place of an id, which needs a format with a registry.
fn check_id(is_key: bool, format: Format, schema: &WithSchema) -> Result<Option<Span>> {
    let Some((_, span)) = schema.id else { return Ok(None) };
    if format.schema_type().is_none() {
        let (part, format) = (part(is_key), format.name());
        let text = format!(
            "{part}_FORMAT should support schema inference when {part}_SCHEMA_ID is provided. Current format is {format}."
        );
        return Err(Error::statement(text).at(span));
    }
    Ok(Some(span))
}

fn part(is_key: bool) -> &'static str {
    if is_key { "KEY" } else { "VALUE" }
}

/// The topics that the plan of CREATE STREAM|TABLE AS SELECT asks for: those it writes and those it reads.
pub fn topics_of_query(stmt: &CreateAs, catalog: &Catalog, settings: &Settings) -> BTreeSet<String> {
    let Ok(with) = With::read(&stmt.with, Use::CreateAs) else { return BTreeSet::new() };
    let late = with.late_topic.as_ref().map(|(name, _)| name.clone());
    let relations = std::iter::once(&stmt.select.from).chain(stmt.select.joins.iter().map(|join| &join.right));
    let sources = relations.filter_map(|relation| catalog.source(&relation.name.value));
    sources.map(|source| source.topic.clone()).chain(late).chain([sink_topic(stmt, &with, settings)]).collect()
}

/// The topic that a query writes.
pub(super) fn sink_topic(stmt: &CreateAs, with: &With, settings: &Settings) -> String {
    let named = || format!("{}{}", settings.topic_prefix, stmt.name.value);
    with.topic.as_ref().map_or_else(named, |(name, _)| name.clone())
}
