//! `CREATE STREAM|TABLE name (columns) WITH (...)`: registers a topic under a name and a schema.

use crate::catalog::topics::TopicUse;
use crate::catalog::{Catalog, Format, KeyWindow, Source, TimestampColumn, Wire};
use crate::error::{Error, Result};
use crate::parse::statement::{ColumnDef, Constraint, CreateSource, Name, PropertyValue, SourceKind, Statement};
use crate::plan::properties::{Use, With};
use crate::plan::{Created, Facts, SchemaFact, Settings, formats};
use crate::types::java_time::Pattern;
use crate::types::{Column, Role, Schema, SqlType, pseudo, quoted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What CREATE STREAM or CREATE TABLE does.
#[derive(Clone, Debug)]
pub struct CreatePlan {
    /// The source to register.
    pub source: Source,
    /// The topic to create first.
    pub create_topic: Option<TopicRequest>,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRequest {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies; `None` = the broker's default.
    pub replicas: Option<u16>,
    /// Settings.
    pub config: BTreeMap<String, String>,
}

/// Plans CREATE STREAM and CREATE TABLE.
pub fn create_source(
    stmt: &CreateSource,
    catalog: &Catalog,
    facts: &Facts,
    settings: &Settings,
    sql: &str,
) -> Result<Created<CreatePlan>> {
    let mode = CreateMode { kind: stmt.kind, or_replace: stmt.or_replace, if_not_exists: stmt.if_not_exists };
    if let Some(text) = mode.check(&stmt.name, stmt.read_only, catalog)? {
        return Ok(Created::Exists(text));
    }
    let with = With::read(&stmt.with, Use::Create).map_err(|e| match schema(stmt, facts) {
        // No format makes such a key possible, whatever is wrong with the one that is asked for.
        Ok(schema) => formats::check_key(Format::Json, &schema.key).err().unwrap_or(e),
        Err(_) => e,
    })?;
    let key_format = with.key_format(Some(settings.key_format))?.unwrap_or(settings.key_format);
    let value_format = with.value_format(settings.value_format)?.ok_or_else(missing_value_format)?;
    let schema = schema(stmt, facts)?;
    let (topic, span) = with.topic.clone().ok_or_else(|| missing_topic().at(stmt.name.span))?;
    if with.window.is_some() && schema.key.is_empty() {
        return Err(Error::statement("Windowed sources require a key column."));
    }
    // A key format without key columns is no key at all, unless the statement itself asks for that format.
    let key_format = match schema.key.is_empty() && with.key_format.is_none() {
        true => Format::None,
        false => key_format,
    };
    formats::check_key(key_format, &schema.key)?;
    formats::check_value(value_format, &schema.value)?;
    let key_wire = wire(with.key_schema.wire("KEY", key_format, None)?, facts.key_schema.as_ref());
    let value_wire = wire(with.value_schema.wire("VALUE", value_format, None)?, facts.value_schema.as_ref());
    let unwrapped_value =
        formats::unwrapped(value_format, &schema.value, with.wrap_single_value, settings.wrap_single_value)?;
    let usage = match (facts.topics.contains_key(&topic), stmt.read_only) {
        (false, _) => TopicUse::Make,
        (true, false) => TopicUse::Declare,
        (true, true) => TopicUse::Read,
    };
    settings.topics.check(&topic, usage).map_err(|e| e.at(span))?;
    let (partitions, create_topic) = topic_of(&topic, &with, stmt, facts)?;
    let source = Source {
        name: stmt.name.value.clone(),
        kind: stmt.kind,
        timestamp: timestamp(&with, &schema)?,
        schema,
        topic,
        partitions,
        key_format,
        value_format,
        key_wire,
        value_wire,
        unwrapped_value,
        window: with.window.map(|kind| KeyWindow { kind }),
        read_only: stmt.read_only,
        // A query that wrote the replaced source continues to write this one.
        created_by: catalog.source(&stmt.name.value).and_then(|old| old.created_by.clone()),
        sql: sql.to_owned(),
    };
    if stmt.or_replace
        && let Some(old) = catalog.source(&source.name)
    {
        check_replace(old, &source)?;
    }
    Ok(Created::New(CreatePlan { source, create_topic }))
}

/// OR REPLACE and IF NOT EXISTS: what CREATE does where the name is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct CreateMode {
    pub kind: SourceKind,
    pub or_replace: bool,
    pub if_not_exists: bool,
}

impl CreateMode {
    /// `Some(text)` = exists, and that is fine.
    pub(super) fn check(self, name: &Name, read_only: bool, catalog: &Catalog) -> Result<Option<String>> {
        let Some(old) = catalog.source(&name.value) else { return Ok(None) };
        let kind = word(self.kind);
        let head = format!("Cannot add {kind} '{}':", name.value);
        if self.if_not_exists {
            let text = format!("{head} A {} with the same name already exists.", word(old.kind));
            return Ok(Some(text));
        }
        if !self.or_replace || old.kind != self.kind {
            let text = format!("{head} A {} with the same name already exists", word(old.kind));
            return Err(Error::statement(text).at(name.span));
        }
        if old.read_only || read_only {
            let text = format!("{head} CREATE OR REPLACE is not supported on source {kind}s.");
            return Err(Error::statement(text).at(name.span));
        }
        Ok(None)
    }
}

/// `stream` or `table`.
pub(super) fn word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "stream",
        SourceKind::Table => "table",
    }
}

/// What is recorded of the schema of one side: what the statement says, and what was found in the registry.
pub(super) fn wire(wire: Wire, fact: Option<&SchemaFact>) -> Wire {
    match fact {
        Some(fact) => Wire {
            full_name: wire.full_name.or_else(|| fact.full_name.clone()),
            schema: Some(Arc::new(fact.schema.clone())),
            ..wire
        },
        None => wire,
    }
}

fn missing_topic() -> Error {
    Error::statement(
        "Failed to prepare statement: Missing required property \"KAFKA_TOPIC\" which has no default value.",
    )
}

fn missing_value_format() -> Error {
    Error::statement(
        "Statement is missing the 'VALUE_FORMAT' property from the WITH clause. Either provide one or set a default via \
         the 'ksql.persistence.default.format.value' config.",
    )
}

/// The columns of the statement, and those of the schemas from which it takes them.
fn schema(stmt: &CreateSource, facts: &Facts) -> Result<Schema> {
    if stmt.columns.is_empty() && facts.key_schema.is_none() && facts.value_schema.is_none() {
        return Err(Error::statement("No columns supplied.")
            .with_hint("JSON and KAFKA have no schema to take them from: list the columns with their types")
            .at(stmt.name.span));
    }
    let mut schema = Schema::default();
    let mut seen = BTreeSet::new();
    for def in &stmt.columns {
        let column = column(def, stmt.kind)?;
        if !seen.insert(column.name.clone()) {
            let text = format!("Failed to prepare statement: Duplicate column names: {}", quoted(&column.name));
            return Err(Error::statement(text).at(def.name.span));
        }
        match column.role {
            Role::Key => schema.key.push(column),
            _ => schema.value.push(column),
        }
    }
    for (fact, role) in [(&facts.key_schema, Role::Key), (&facts.value_schema, Role::Value)] {
        for (name, ty) in fact.iter().flat_map(|fact| &fact.columns) {
            if !seen.insert(name.clone()) {
                let text = format!("Failed to prepare statement: Duplicate column names: {}", quoted(name));
                return Err(Error::statement(text).at(stmt.name.span));
            }
            if pseudo::ALL.contains(&name.as_str()) {
                let text = format!("'{name}' is a reserved column name. You cannot use it as a name for a column.");
                return Err(Error::statement(text).at(stmt.name.span));
            }
            let column = Column { name: name.clone(), ty: ty.clone(), role: role.clone() };
            match role {
                Role::Key => schema.key.push(column),
                _ => schema.value.push(column),
            }
        }
    }
    if stmt.kind == SourceKind::Table && schema.key.is_empty() {
        return Err(Error::statement("Tables require a PRIMARY KEY. Please define the PRIMARY KEY.")
            .with_hint("write PRIMARY KEY after the type of the column that identifies a row")
            .at(stmt.name.span));
    }
    Ok(schema)
}

fn column(def: &ColumnDef, kind: SourceKind) -> Result<Column> {
    let name = &def.name.value;
    let fail = |text: String| Err(Error::statement(text).at(def.name.span));
    if pseudo::ALL.contains(&name.as_str()) {
        return fail(format!("'{name}' is a reserved column name. You cannot use it as a name for a column."));
    }
    let placed = |e: Error| e.told_as("Line: {line}, Col: {column}: ");
    let role = match (&def.constraint, kind) {
        (Constraint::None, _) => Role::Value,
        (Constraint::Key, SourceKind::Stream) | (Constraint::PrimaryKey, SourceKind::Table) => Role::Key,
        (Constraint::Key, SourceKind::Table) => {
            return fail(format!("Column `{name}` is a 'KEY' column: please use 'PRIMARY KEY' for tables."))
                .map_err(placed);
        }
        (Constraint::PrimaryKey, SourceKind::Stream) => {
            return fail(format!("Column `{name}` is a 'PRIMARY KEY' column: please use 'KEY' for streams."))
                .map_err(placed);
        }
        (Constraint::Headers, _) => {
            let pair = vec![("KEY".to_owned(), SqlType::String), ("VALUE".to_owned(), SqlType::Bytes)];
            if def.ty != SqlType::Array(Box::new(SqlType::Struct(pair))) {
                return fail(format!(
                    "Invalid type for HEADERS column: expected ARRAY<STRUCT<`KEY` STRING, `VALUE` BYTES>>, got {}",
                    def.ty
                ));
            }
            Role::Header(None)
        }
        (Constraint::Header(key), _) => {
            if def.ty != SqlType::Bytes {
                return fail(format!("Invalid type for HEADER('{key}') column: expected BYTES, got {}", def.ty));
            }
            Role::Header(Some(key.clone()))
        }
    };
    Ok(Column { name: name.clone(), ty: def.ty.clone(), role })
}

/// The column that stamps the rows.
pub(super) fn timestamp(with: &With, schema: &Schema) -> Result<Option<TimestampColumn>> {
    let Some((name, span)) = &with.timestamp else { return Ok(None) };
    let Some(column) = schema.find(name) else {
        let text = format!("The TIMESTAMP column set in the WITH clause does not exist in the schema: '{name}'");
        return Err(Error::statement(text).at(*span));
    };
    if column.ty == SqlType::String && with.timestamp_format.is_none() {
        let text = "A String timestamp field has been specified without also specifying the timestamp_format";
        return Err(Error::statement(text).with_hint("TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss', for example").at(*span));
    }
    if let Some((_, span)) = with.timestamp_format.as_ref().filter(|_| column.ty != SqlType::String) {
        return Err(Error::statement(
            "'TIMESTAMP_FORMAT' set in the WITH clause can only be used when the timestamp column is of type STRING.",
        )
        .at(*span));
    }
    match column.ty {
        SqlType::Bigint | SqlType::Timestamp => Ok(Some(TimestampColumn { column: name.clone(), format: None })),
        SqlType::String if with.timestamp_format.is_some() => {
            let Some((format, span)) = &with.timestamp_format else { return Ok(None) };
            if let Err(reason) = Pattern::parse(format) {
                return Err(Error::statement(format!(
                    "Failed to prepare statement: Invalid datetime format for config:TIMESTAMP_FORMAT, reason:{reason}"
                ))
                .at(*span));
            }
            Ok(Some(TimestampColumn { column: name.clone(), format: Some(format.clone()) }))
        }
        _ => Err(Error::statement(format!(
            "Timestamp column, `{name}`, should be LONG(INT64), TIMESTAMP, or a String with a timestamp_format specified."
        ))
        .at(*span)),
    }
}

fn topic_of(name: &str, with: &With, stmt: &CreateSource, facts: &Facts) -> Result<(u32, Option<TopicRequest>)> {
    if let Some(found) = facts.topics.get(name) {
        let partitions = with.partitions.unwrap_or(found.partitions);
        let replicas = with.replicas.unwrap_or(found.replicas);
        if partitions != found.partitions || replicas != found.replicas {
            return Err(other_counts(name, partitions, replicas, found.partitions, found.replicas));
        }
        return Ok((partitions, None));
    }
    let Some(partitions) = with.partitions else {
        return Err(Error::statement(format!(
            "Topic '{name}' does not exist. If you want to create a new topic for the stream/table please re-run the \
             statement providing the required 'PARTITIONS' configuration in the WITH clause (and optionally 'REPLICAS'). \
             For example: {};",
            with_partitions(stmt)
        )));
    };
    let mut config = BTreeMap::new();
    let policy = match (stmt.kind, with.window.is_some()) {
        (SourceKind::Stream, _) => "delete",
        (SourceKind::Table, false) => "compact",
        (SourceKind::Table, true) => "compact,delete",
    };
    if policy == "compact" && with.retention_ms.is_some() {
        return Err(Error::statement(
            "Invalid config variable in the WITH clause: RETENTION_MS.\nNon-windowed tables do not support retention.",
        ));
    }
    config.insert("cleanup.policy".to_owned(), policy.to_owned());
    if let Some(ms) = with.retention_ms {
        config.insert("retention.ms".to_owned(), ms.to_string());
    }
    Ok((partitions, Some(TopicRequest { name: name.to_owned(), partitions, replicas: with.replicas, config })))
}

/// The statement as it would create its topic.
fn with_partitions(stmt: &CreateSource) -> Statement {
    let mut stmt = stmt.clone();
    let name = Name { value: "PARTITIONS".to_owned(), span: stmt.name.span };
    stmt.with.push((name, PropertyValue::Number("2".to_owned())));
    stmt.with.sort_by(|a, b| a.0.value.cmp(&b.0.value));
    Statement::CreateSource(stmt)
}

/// The topic exists, but not as the statement wants it.
pub(super) fn other_counts(name: &str, partitions: u32, replicas: u16, has: u32, has_replicas: u16) -> Error {
    Error::statement(format!(
        "A Kafka topic with the name '{name}' already exists, with different partition/replica configuration than \
         required. KSQL expects {partitions} partitions (topic has {has}), and {replicas} replication factor (topic has \
         {has_replicas})."
    ))
}

/// What may not change under the same name: topic, formats, key, and the columns that are there, in their order.
pub(super) fn check_replace(old: &Source, new: &Source) -> Result<()> {
    let fail = |property: &str, from: String, to: String, why: String| {
        Err(Error::statement(format!(
            "Cannot upgrade data source: DataSource '{}' has {property} = {from} which is not upgradeable to {to}{why}",
            quoted(&old.name)
        )))
    };
    if old.topic != new.topic {
        return fail("topic", old.topic.clone(), new.topic.clone(), String::new());
    }
    for (property, from, to) in
        [("key format", old.key_format, new.key_format), ("value format", old.value_format, new.value_format)]
    {
        if from != to {
            return fail(property, from.name().to_owned(), to.name().to_owned(), String::new());
        }
    }
    let schemas = |why: String| fail("schema", old.schema.to_string(), new.schema.to_string(), format!(". ({why})"));
    if old.schema.key != new.schema.key {
        let kept = old.schema.key.iter().zip(&new.schema.key).take_while(|(a, b)| a == b).count();
        let changed = formats::list(&old.schema.key[kept..]);
        return schemas(format!(
            "Key columns must be identical. The following key columns are changed, missing or reordered: [{changed}]"
        ));
    }
    let kept = old.schema.value.iter().zip(&new.schema.value).take_while(|(a, b)| a == b).count();
    if kept < old.schema.value.len() {
        let changed = formats::list(&old.schema.value[kept..]);
        return schemas(format!("The following columns are changed, missing or reordered: [{changed}]"));
    }
    Ok(())
}
