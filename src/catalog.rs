//! Streams and tables: what exists, who depends on whom, what DROP may do. A value, not a service: statements are
//! validated on a copy first.

pub mod topics;

mod check;
mod effect;
mod guid;
mod wire;

pub use check::{base_name, can_stand_alone, carried, check, described};
pub use effect::Effect;
pub use guid::{Guid, SchemaRef};
pub use wire::{Nullable, Reference, SchemaText, SchemaType, Wire, WireSchema};

use crate::error::{Error, Kind, Result};
use crate::parse::statement::SourceKind;
use crate::types::time::WindowKind;
use crate::types::{Schema, SqlType, nearest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The delimiter of the DELIMITED format unless another is given.
pub const DELIMITER: char = ',';

/// A serialisation format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// No bytes at all: a key that does not exist.
    None,
    /// Kafka's own serialisers for one primitive column.
    Kafka,
    /// JSON without a schema.
    Json,
    /// Protocol buffers without a registry: the columns are a message's fields, numbered from 1.
    ProtobufNosr,
    /// One line of values, with this character between them.
    Delimited(char),
    /// Avro by the schemas of a registry.
    Avro,
    /// Protocol buffers by the schemas of a registry.
    Protobuf,
    /// JSON by the schemas of a registry.
    JsonSr,
}

impl Format {
    /// Every format that WITH can name, by name.
    pub const ALL: [Format; 8] = [
        Format::Avro,
        Format::Delimited(DELIMITER),
        Format::Json,
        Format::JsonSr,
        Format::Kafka,
        Format::None,
        Format::Protobuf,
        Format::ProtobufNosr,
    ];

    /// Its name in WITH and DESCRIBE.
    pub fn name(self) -> &'static str {
        match self {
            Format::None => "NONE",
            Format::Kafka => "KAFKA",
            Format::Json => "JSON",
            Format::ProtobufNosr => "PROTOBUF_NOSR",
            Format::Delimited(_) => "DELIMITED",
            Format::Avro => "AVRO",
            Format::Protobuf => "PROTOBUF",
            Format::JsonSr => "JSON_SR",
        }
    }
}

/// How the window of a windowed key is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyWindow {
    /// TUMBLING, HOPPING or SESSION, with its size where the bytes do not carry the end.
    pub kind: WindowKind,
}

/// A registered stream or table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Name.
    pub name: String,
    /// Stream or table.
    pub kind: SourceKind,
    /// Columns.
    pub schema: Schema,
    /// Topic.
    pub topic: String,
    /// Partitions of the topic when it was registered.
    pub partitions: u32,
    /// Format of the key.
    pub key_format: Format,
    /// Format of the value.
    pub value_format: Format,
    /// Schema of the key, in a format with a registry.
    #[serde(default, skip_serializing_if = "Wire::is_default")]
    pub key_wire: Wire,
    /// Schema of the value, in a format with a registry.
    #[serde(default, skip_serializing_if = "Wire::is_default")]
    pub value_wire: Wire,
    /// A single value column is written unwrapped, not as a field of an object.
    pub unwrapped_value: bool,
    /// The key carries a window.
    pub window: Option<KeyWindow>,
    /// Column whose value is the row's time, and its text format.
    pub timestamp: Option<TimestampColumn>,
    /// SOURCE: read only.
    pub read_only: bool,
    /// The query that writes it, for CREATE AS SELECT.
    pub created_by: Option<String>,
    /// The statement's text.
    pub sql: String,
}

impl Source {
    /// Stands for a query inside of another one, not for a topic: its rows have no time and no place.
    pub fn is_derived(&self) -> bool {
        self.topic.is_empty()
    }
}

/// `TIMESTAMP = 'column'`, `TIMESTAMP_FORMAT = '...'`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampColumn {
    /// Column.
    pub column: String,
    /// Java DateTimeFormatter pattern of a STRING column.
    pub format: Option<String>,
}

/// A persistent query, as far as dependants are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryInfo {
    /// `CSAS_NAME_3`, `CTAS_NAME_5`, `INSERTQUERY_7`.
    pub id: String,
    /// Sources it reads.
    pub reads: Vec<String>,
    /// Source it writes.
    pub writes: String,
    /// Topic of its late rows, if they are kept.
    pub late_topic: Option<String>,
}

/// Everything that was created, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    sources: BTreeMap<String, Arc<Source>>,
    queries: BTreeMap<String, QueryInfo>,
    /// Query ids in order of creation.
    order: Vec<String>,
    types: BTreeMap<String, SqlType>,
}

impl Catalog {
    /// Types that have a name, by it.
    pub fn types(&self) -> &BTreeMap<String, SqlType> {
        &self.types
    }

    /// A stream or table by exact name.
    pub fn source(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.get(name)
    }

    /// A stream or table by exact name, or an error that suggests the nearest one.
    pub fn require(&self, name: &str) -> Result<&Arc<Source>> {
        self.sources.get(name).ok_or_else(|| {
            let error = Error::statement(format!("{name} does not exist."));
            match nearest(name, self.sources.keys().map(String::as_str)) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("SHOW STREAMS and SHOW TABLES list what exists"),
            }
        })
    }

    /// All of one kind, by name.
    pub fn sources(&self, kind: SourceKind) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.values().filter(move |s| s.kind == kind)
    }

    /// All streams and tables, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.values()
    }

    /// Persistent queries by id.
    pub fn queries(&self) -> impl Iterator<Item = &QueryInfo> {
        self.queries.values()
    }

    /// A persistent query.
    pub fn query(&self, id: &str) -> Option<&QueryInfo> {
        self.queries.get(id)
    }

    /// Ids of the persistent queries in order of creation.
    pub fn query_ids(&self) -> &[String] {
        &self.order
    }

    /// Records the topic of a query's late rows, which commands of earlier builds do not say.
    pub fn set_late_topic(&mut self, id: &str, topic: String) {
        if let Some(query) = self.queries.get_mut(id) {
            query.late_topic = Some(topic);
        }
    }

    /// Queries that read a source.
    pub fn readers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a QueryInfo> {
        self.queries.values().filter(move |q| q.reads.iter().any(|r| r == name))
    }

    /// Queries that write a source.
    pub fn writers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a QueryInfo> {
        self.queries.values().filter(move |q| q.writes == name)
    }

    /// Adds the columns of a query, under its name, to a copy that is used to resolve names, and nothing else.
    pub fn define(&mut self, derived: Source) {
        self.sources.insert(derived.name.clone(), Arc::new(derived));
    }

    /// Takes a source out of a copy that is used to resolve names, and nothing else.
    pub fn hide(&mut self, name: &str) {
        self.sources.remove(name);
    }

    /// Refuses to drop what INSERT queries read or write, or what other sources are made from: ksqlDB asks in this order
    /// (`EngineContext.throwIfInsertQueriesExist`, `MetaStoreImpl.deleteSource`).
    fn check_dependants(&self, name: &str) -> Result<()> {
        let refused = |text: String| {
            Err(Error::new(Kind::Statement, format!("Cannot drop {name}.\n{text} before dropping {name}.")))
        };
        let makes = |q: &&QueryInfo| self.sources.values().any(|s| s.created_by.as_ref() == Some(&q.id));
        let inserts = |q: &&QueryInfo| !makes(q);
        let reading: Vec<&str> = self.readers(name).filter(inserts).map(|q| q.id.as_str()).collect();
        let writing: Vec<&str> = self.writers(name).filter(inserts).map(|q| q.id.as_str()).collect();
        if !reading.is_empty() || !writing.is_empty() {
            return refused(format!(
                "The following queries read from this source: [{}].\nThe following queries write into this source: [{}].\nYou \
                 need to terminate them",
                reading.join(", "),
                writing.join(", ")
            ));
        }
        let made = self.readers(name).filter(|q| makes(q) && q.writes != name).map(|q| q.writes.as_str());
        let made: BTreeSet<&str> = made.collect();
        if made.is_empty() {
            return Ok(());
        }
        let made: Vec<&str> = made.into_iter().collect();
        refused(format!(
            "The following streams and/or tables read from this source: [{}].\nYou need to drop them",
            made.join(", ")
        ))
    }

    /// The source that DROP would remove, and the query that would go with it. An error while others depend on the source.
    pub fn check_drop(&self, name: &str, kind: SourceKind) -> Result<(Arc<Source>, Option<QueryInfo>)> {
        let source = self.require(name)?.clone();
        if source.kind != kind {
            let (is, not) = match source.kind {
                SourceKind::Stream => ("STREAM", "TABLE"),
                SourceKind::Table => ("TABLE", "STREAM"),
            };
            return Err(Error::statement(format!(
                "Incompatible data source type is {is}, but statement was DROP {not}"
            ))
            .with_hint(format!("DROP {is} {name}")));
        }
        self.check_dependants(name)?;
        let query = source.created_by.as_ref().and_then(|id| self.queries.get(id)).cloned();
        Ok((source, query))
    }
}
