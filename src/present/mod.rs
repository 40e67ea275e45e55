//! Results as people read them: sentences and tables, made from what `engine` returns as data.

pub mod text;

use crate::engine::result::rows::RowStream;
use std::fmt;

/// The answer to one statement.
pub enum Outcome {
    /// What was done, in words; may have several lines (EXPLAIN).
    Message(String),
    /// Facts about the engine (SHOW, DESCRIBE), ready to read.
    Table {
        /// What the table is about.
        title: Option<String>,
        /// Names of the columns.
        columns: Vec<String>,
        /// Cells, row by row.
        rows: Vec<Vec<String>>,
    },
    /// A query's rows.
    Rows(Box<dyn RowStream>),
    /// Several answers, in order (DESCRIBE EXTENDED).
    Many(Vec<Outcome>),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Message(text) => write!(f, "Message({text:?})"),
            Outcome::Table { title, columns, rows } => write!(f, "Table({title:?}, {columns:?}, {} rows)", rows.len()),
            Outcome::Rows(stream) => write!(f, "Rows({:?})", stream.columns()),
            Outcome::Many(list) => f.debug_list().entries(list).finish(),
        }
    }
}
