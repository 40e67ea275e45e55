//! The stream or table that a query writes: formats, topic, time column.

use crate::catalog::topics::TopicUse;
use crate::catalog::{Format, Source};
use crate::error::{Error, Result};
use crate::parse::statement::{CreateAs, SourceKind};
use crate::plan::facts::sink_topic;
use crate::plan::properties::With;
use crate::plan::select::context::Bound;
use crate::plan::source::{TopicRequest, other_counts, timestamp, wire};
use crate::plan::{Facts, SchemaFact, Settings, formats};
use crate::types::{Column, Role, Schema, SqlType};
use std::collections::BTreeMap;

/// The sink of CREATE AS, and its topic if that has to be created.
pub(super) fn of(
    stmt: &CreateAs,
    bound: &Bound,
    with: &With,
    query_id: &str,
    (facts, settings, sql): (&Facts, &Settings, &str),
) -> Result<(Source, Option<TopicRequest>)> {
    check_kind(stmt.kind, bound.table)?;
    let schema = Schema { key: bound.key.clone(), value: bound.value.iter().map(stored).collect() };
    let key_format = key_format(&schema.key, with, bound, settings)?;
    let inherited = bound.source.value_format;
    let value_format = with.value_format(Some(inherited))?.unwrap_or(inherited);
    formats::check_key(key_format, &schema.key)?;
    formats::check_value(value_format, &schema.value)?;
    check_schema("key", &schema.key, facts.key_schema.as_ref())?;
    check_schema("value", &schema.value, facts.value_schema.as_ref())?;
    let lent = |format: Format, from: Format, wire| (format == from).then_some(wire);
    let key_wire = lent(key_format, bound.source.key_format, &bound.source.key_wire);
    let key_wire = wire(with.key_schema.wire("KEY", key_format, key_wire)?, facts.key_schema.as_ref());
    let value_wire = lent(value_format, inherited, &bound.source.value_wire);
    let value_wire = wire(with.value_schema.wire("VALUE", value_format, value_wire)?, facts.value_schema.as_ref());
    let unwrapped_value =
        formats::unwrapped(value_format, &schema.value, with.wrap_single_value, settings.wrap_single_value)?;
    let topic = topic(stmt, with, settings)?;
    let (partitions, create_topic) = topic_of(&topic, bound, with, facts)?;
    let source = Source {
        name: stmt.name.value.clone(),
        kind: stmt.kind,
        timestamp: timestamp(with, &schema)?,
        schema,
        topic,
        partitions,
        key_format,
        value_format,
        key_wire,
        value_wire,
        unwrapped_value,
        window: bound.window,
        read_only: false,
        created_by: Some(query_id.to_owned()),
        sql: sql.to_owned(),
    };
    Ok((source, create_topic))
}

/// With an id, the columns have to be those of its schema in name, type and place; there may be fewer.
fn check_schema(part: &str, columns: &[Column], fact: Option<&SchemaFact>) -> Result<()> {
    let Some(fact) = fact else { return Ok(()) };
    let role = columns.first().map_or(Role::Value, |column| column.role.clone());
    let known = |(name, ty): &(String, _)| Column { name: name.clone(), ty: SqlType::clone(ty), role: role.clone() };
    let known: Vec<Column> = fact.columns.iter().map(known).collect();
    let other = |(at, column): &(usize, &Column)| known.get(*at) != Some(*column);
    let changed: Vec<Column> = columns.iter().enumerate().filter(other).map(|(_, column)| column.clone()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(Error::statement(format!(
        "The following {part} columns are changed, missing or reordered: [{}]. Schema from schema registry is [{}]",
        formats::list(&changed),
        formats::list(&known)
    )))
}

/// The name of the topic: the statement's, or made of prefix and name. It is the user's, or there is no plan.
fn topic(stmt: &CreateAs, with: &With, settings: &Settings) -> Result<String> {
    let topic = sink_topic(stmt, with, settings);
    let span = with.topic.as_ref().map_or(stmt.name.span, |(_, span)| *span);
    settings.topics.check(&topic, TopicUse::Make).map_err(|e| e.at(span))?;
    Ok(topic)
}

/// Position of the value column that stamps the sink's records.
pub(super) fn stamp(sink: &Source) -> Result<Option<usize>> {
    let Some(stamp) = &sink.timestamp else { return Ok(None) };
    match sink.schema.value.iter().position(|c| c.name == stamp.column) {
        Some(place) => Ok(Some(place)),
        // A column of the key.
        None => Ok(None),
    }
}

/// Where late rows are kept, as `WITH (LATE_TOPIC = ...)` says, and the topic if it has to be created. It has the
/// partitions of the source, because a late record keeps its own.
pub(super) fn late_topic(
    stmt: &CreateAs,
    bound: &Bound,
    with: &With,
    facts: &Facts,
    settings: &Settings,
) -> Result<Option<(String, Option<TopicRequest>)>> {
    let Some((name, span)) = &with.late_topic else { return Ok(None) };
    let fail = |text: String| Err(Error::statement(text).at(*span));
    if settings.strict {
        return fail("Invalid config variable(s) in the WITH clause: LATE_TOPIC".to_owned());
    }
    if stmt.select.window.is_none() {
        return fail("LATE_TOPIC requires a WINDOW clause: without one no row is late".to_owned());
    }
    if bound.reads.len() > 1 {
        return fail(
            "LATE_TOPIC is not supported over a join: a late row of a join has no record of its own".to_owned(),
        );
    }
    settings.topics.check(name, TopicUse::Make).map_err(|e| e.at(*span))?;
    let wanted = bound.source.partitions;
    let create = match facts.topics.get(name) {
        Some(found) if found.partitions < wanted => {
            return fail(format!(
                "the topic {name} for late rows has {} partitions, the source has {wanted}",
                found.partitions
            ));
        }
        Some(_) => None,
        None => {
            let config = BTreeMap::from([("cleanup.policy".to_owned(), "delete".to_owned())]);
            Some(TopicRequest { name: name.clone(), partitions: wanted, replicas: None, config })
        }
    };
    Ok(Some((name.clone(), create)))
}

fn check_kind(asked: SourceKind, table: bool) -> Result<()> {
    let (is, wanted) = match (asked, table) {
        (SourceKind::Stream, true) => ("TABLE", "TABLE"),
        (SourceKind::Table, false) => ("STREAM", "STREAM"),
        _ => return Ok(()),
    };
    Err(Error::statement(format!(
        "Invalid result type. Your SELECT query produces a {is}. Please use CREATE {wanted} AS SELECT statement instead."
    )))
}

/// A header column that was read is a value like others.
fn stored(column: &Column) -> Column {
    Column { role: Role::Value, ..column.clone() }
}

fn key_format(key: &[Column], with: &With, bound: &Bound, settings: &Settings) -> Result<Format> {
    if key.is_empty() {
        return match with.key_format {
            None | Some(Format::None) => Ok(Format::None),
            Some(_) => Err(Error::statement("Key format specified for stream without key columns.")),
        };
    }
    let inherited = match bound.source.key_format {
        Format::None => settings.key_format,
        format => format,
    };
    Ok(with.key_format(Some(inherited))?.unwrap_or(inherited))
}

fn topic_of(name: &str, bound: &Bound, with: &With, facts: &Facts) -> Result<(u32, Option<TopicRequest>)> {
    if !bound.table || bound.window.is_some() {
        // Streams and windowed tables may forget.
    } else if with.retention_ms.is_some() {
        return Err(Error::statement(
            "Invalid config variable in the WITH clause: RETENTION_MS.\nNon-windowed tables do not support retention.",
        ));
    }
    let from = facts.topics.get(&bound.source.topic);
    if let Some(found) = facts.topics.get(name) {
        let partitions = with.partitions.unwrap_or(found.partitions);
        let replicas = with.replicas.unwrap_or(found.replicas);
        if partitions != found.partitions || replicas != found.replicas {
            return Err(other_counts(name, partitions, replicas, found.partitions, found.replicas));
        }
        return Ok((partitions, None));
    }
    let partitions = with.partitions.unwrap_or(bound.source.partitions);
    let mut config = BTreeMap::new();
    let policy = match (bound.table, bound.window.is_some()) {
        (false, _) => "delete",
        (true, false) => "compact",
        (true, true) => "compact,delete",
    };
    config.insert("cleanup.policy".to_owned(), policy.to_owned());
    let kept = bound.kept_ms.filter(|_| bound.table);
    if let Some(ms) = with.retention_ms.into_iter().chain(kept).max() {
        config.insert("retention.ms".to_owned(), ms.to_string());
    }
    let replicas = with.replicas.or(from.map(|f| f.replicas));
    Ok((partitions, Some(TopicRequest { name: name.to_owned(), partitions, replicas, config })))
}
