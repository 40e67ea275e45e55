//! The tables of the schema `system`: what the engine knows about itself, for queries without EMIT.
//!
//! ```text
//! SELECT id, lag FROM system.queries WHERE state <> 'PAUSED'     a leaf whose rows the engine provides when the query runs
//! CREATE TABLE t AS SELECT ... FROM system.queries               refused: the present state has no changelog
//! ```
//!
//! The parser gives them names with a dot, [`PREFIX`] in front. Their rows have no key, no time and no place.

use crate::types::{Column, SqlType};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::TableSource;
use std::sync::Arc;

/// What their names begin with.
pub const PREFIX: &str = "SYSTEM.";

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SystemTable {
    /// A row per query.
    Queries,
    /// A row per query and partition that it reads.
    Partitions,
    /// A row per topic.
    Topics,
    /// A row per query, kind of problem, reason and topic.
    Problems,
    /// A row per query and step of its past.
    History,
}

impl SystemTable {
    /// All of them.
    pub const ALL: [SystemTable; 5] = [
        SystemTable::Queries,
        SystemTable::Partitions,
        SystemTable::Topics,
        SystemTable::Problems,
        SystemTable::History,
    ];

    /// `SYSTEM.QUERIES`
    pub fn name(self) -> &'static str {
        match self {
            SystemTable::Queries => "SYSTEM.QUERIES",
            SystemTable::Partitions => "SYSTEM.PARTITIONS",
            SystemTable::Topics => "SYSTEM.TOPICS",
            SystemTable::Problems => "SYSTEM.PROBLEMS",
            SystemTable::History => "SYSTEM.HISTORY",
        }
    }

    /// The table of this name.
    pub fn of(name: &str) -> Option<SystemTable> {
        SystemTable::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its columns.
    pub fn columns(self) -> Vec<Column> {
        let columns: Vec<(&str, SqlType)> = match self {
            SystemTable::Queries => query_columns(),
            SystemTable::Partitions => vec![
                ("QUERY_ID", SqlType::String),
                ("TOPIC", SqlType::String),
                ("PARTITION", SqlType::Integer),
                ("LOW_OFFSET", SqlType::Bigint),
                ("END_OFFSET", SqlType::Bigint),
                ("COMMITTED_OFFSET", SqlType::Bigint),
                ("LAG", SqlType::Bigint),
                ("STREAM_TIME", SqlType::Timestamp),
            ],
            SystemTable::Topics => vec![
                ("NAME", SqlType::String),
                ("PARTITIONS", SqlType::Integer),
                ("REPLICAS", SqlType::Integer),
                ("INTERNAL", SqlType::Boolean),
                ("RECORDS", SqlType::Bigint),
                ("BYTES", SqlType::Bigint),
                ("READ_BY", texts()),
                ("WRITTEN_BY", texts()),
            ],
            SystemTable::Problems => vec![
                ("QUERY_ID", SqlType::String),
                ("KIND", SqlType::String),
                ("REASON", SqlType::String),
                ("TOPIC", SqlType::String),
                ("TOTAL", SqlType::Bigint),
                ("LAST_AT", SqlType::Timestamp),
                ("SAMPLE_PARTITION", SqlType::Integer),
                ("SAMPLE_OFFSET", SqlType::Bigint),
            ],
            SystemTable::History => vec![
                ("QUERY_ID", SqlType::String),
                ("BEGAN_AT", SqlType::Timestamp),
                ("STEP_MILLIS", SqlType::Integer),
                ("IN_RATE", SqlType::Double),
                ("OUT_RATE", SqlType::Double),
                ("LATE_RATE", SqlType::Double),
                ("BAD_RATE", SqlType::Double),
                ("LAG", SqlType::Bigint),
                ("COMMIT_MILLIS", SqlType::Double),
                ("STATE_BYTES", SqlType::Bigint),
                ("BUSY_SHARE", SqlType::Double),
            ],
        };
        columns.into_iter().map(|(name, ty)| Column::value(name, ty)).collect()
    }

    /// Its columns as those of a batch.
    pub fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.columns().iter().map(Column::field).collect::<Vec<Field>>()))
    }
}

/// An ARRAY of STRING.
fn texts() -> SqlType {
    SqlType::Array(Box::new(SqlType::String))
}

/// The columns of `system.queries`.
fn query_columns() -> Vec<(&'static str, SqlType)> {
    vec![
        ("ID", SqlType::String),
        ("STATE", SqlType::String),
        ("SENTENCE", SqlType::String),
        ("SINCE", SqlType::Timestamp),
        ("RESTARTS", SqlType::Bigint),
        ("PERSISTENT", SqlType::Boolean),
        ("STATEMENT", SqlType::String),
        ("SINK", SqlType::String),
        ("READS", texts()),
        ("PARTITIONS", SqlType::Integer),
        ("ROWS_IN", SqlType::Bigint),
        ("ROWS_OUT", SqlType::Bigint),
        ("BYTES_IN", SqlType::Bigint),
        ("BYTES_OUT", SqlType::Bigint),
        ("BAD", SqlType::Bigint),
        ("LATE", SqlType::Bigint),
        ("COMMITS", SqlType::Bigint),
        ("LAG", SqlType::Bigint),
        ("IN_RATE", SqlType::Double),
        ("OUT_RATE", SqlType::Double),
        ("BUSY_SHARE", SqlType::Double),
        ("STREAM_TIME", SqlType::Timestamp),
        ("STATE_KEYS", SqlType::Bigint),
        ("STATE_BYTES", SqlType::Bigint),
        ("COMMIT_P50_MILLIS", SqlType::Double),
        ("COMMIT_P99_MILLIS", SqlType::Double),
        ("CREATED_AT", SqlType::Timestamp),
    ]
}

/// A system table as a leaf of a bound plan.
#[derive(Debug)]
pub struct SystemSource {
    /// Which.
    pub table: SystemTable,
    schema: SchemaRef,
}

impl SystemSource {
    /// The leaf of a table.
    pub fn new(table: SystemTable) -> SystemSource {
        SystemSource { table, schema: table.schema() }
    }
}

impl TableSource for SystemSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
