//! Results for people: sentences and tables, made from the data that `engine` returns.

pub mod text;

mod connector;

use crate::engine::result::rows::RowStream;
use std::fmt;

/// The result of one statement, as it is shown.
pub enum Outcome {
    /// A message; it may have several lines (EXPLAIN).
    Message(String),
    /// A complete table (SHOW, DESCRIBE).
    Table {
        /// Its title.
        title: Option<String>,
        /// Names of the columns.
        columns: Vec<String>,
        /// Cells, row by row.
        rows: Vec<Vec<String>>,
    },
    /// A query's rows.
    Rows(Box<dyn RowStream>),
    /// Several results, in order (DESCRIBE EXTENDED).
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

/// A table.
fn table(title: Option<String>, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Outcome {
    let columns = columns.iter().map(|c| (*c).to_owned()).collect();
    Outcome::Table { title, columns, rows: rows.collect() }
}
