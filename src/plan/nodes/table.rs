//! A stream or table as a leaf of a bound plan.
//!
//! Columns in order: key, value and headers, ROWTIME, ROWPARTITION, ROWOFFSET, the window bounds of a windowed source, and
//! two hidden ones: the row's ordinal in canonical order, and whether the record has a value at all.

use crate::catalog::Source;
use crate::types::{SqlType, pseudo};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::TableSource;
use std::sync::Arc;

/// Hidden: place of the row in canonical order, BIGINT. No SQL name can be spelt like it by accident.
pub const ORDINAL: &str = "#ordinal";
/// Hidden: the record has a value, BOOLEAN.
pub const PRESENT: &str = "#present";

/// What a column of a [`SourceTable`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Key column.
    Key(usize),
    /// Value or header column.
    Value(usize),
    /// ROWTIME.
    Rowtime,
    /// ROWPARTITION.
    Partition,
    /// ROWOFFSET.
    Offset,
    /// WINDOWSTART.
    WindowStart,
    /// WINDOWEND.
    WindowEnd,
    /// [`ORDINAL`].
    Ordinal,
    /// [`PRESENT`].
    Present,
}

/// A stream or table in FROM.
#[derive(Clone, Debug)]
pub struct SourceTable {
    source: Arc<Source>,
    origins: Vec<Origin>,
    schema: SchemaRef,
}

impl SourceTable {
    /// The leaf of a source.
    pub fn new(source: Arc<Source>) -> SourceTable {
        let mut origins: Vec<Origin> = (0..source.schema.key.len()).map(Origin::Key).collect();
        origins.extend((0..source.schema.value.len()).map(Origin::Value));
        origins.extend([Origin::Rowtime, Origin::Partition, Origin::Offset]);
        if source.window.is_some() {
            origins.extend([Origin::WindowStart, Origin::WindowEnd]);
        }
        origins.extend([Origin::Ordinal, Origin::Present]);
        let fields: Vec<Field> = origins.iter().map(|o| field(&source, *o)).collect();
        SourceTable { source, origins, schema: Arc::new(Schema::new(fields)) }
    }

    /// The source.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// What each column is.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// SQL type of a column; hidden ones have one too.
    pub fn sql_type(&self, column: usize) -> SqlType {
        match self.origins[column] {
            Origin::Key(i) => self.source.schema.key[i].ty.clone(),
            Origin::Value(i) => self.source.schema.value[i].ty.clone(),
            Origin::Partition => SqlType::Integer,
            Origin::Present => SqlType::Boolean,
            _ => SqlType::Bigint,
        }
    }
}

fn field(source: &Source, origin: Origin) -> Field {
    match origin {
        Origin::Key(i) => source.schema.key[i].field(),
        Origin::Value(i) => source.schema.value[i].field(),
        Origin::Rowtime => Field::new(pseudo::ROWTIME, DataType::Int64, true),
        Origin::Partition => Field::new(pseudo::ROWPARTITION, DataType::Int32, true),
        Origin::Offset => Field::new(pseudo::ROWOFFSET, DataType::Int64, true),
        Origin::WindowStart => Field::new(pseudo::WINDOWSTART, DataType::Int64, true),
        Origin::WindowEnd => Field::new(pseudo::WINDOWEND, DataType::Int64, true),
        Origin::Ordinal => Field::new(ORDINAL, DataType::Int64, true),
        Origin::Present => Field::new(PRESENT, DataType::Boolean, true),
    }
}

impl TableSource for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
