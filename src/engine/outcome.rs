//! Result sets as their readers see them: columns, then batches of rows until the end.

use crate::error::Result;
use crate::types::SqlType;
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use std::fmt::Debug;
use std::time::Duration;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Name.
    pub name: String,
    /// Type.
    pub ty: SqlType,
}

/// Some rows of a result.
#[derive(Clone, Debug)]
pub struct RowBatch {
    /// One array a column.
    pub columns: Vec<ArrayRef>,
    /// Number of rows.
    pub rows: usize,
    /// Rows that have a value; the others are deletions (of a table's row). `None` = all have one.
    pub present: Option<NullBuffer>,
}

impl RowBatch {
    /// Is the row a deletion?
    pub fn is_tombstone(&self, row: usize) -> bool {
        self.present.as_ref().is_some_and(|p| p.is_null(row))
    }

    /// The first `rows` rows, or all of them.
    pub fn head(&self, rows: usize) -> RowBatch {
        let rows = rows.min(self.rows);
        RowBatch {
            columns: self.columns.iter().map(|c| c.slice(0, rows)).collect(),
            rows,
            present: self.present.as_ref().map(|p| p.slice(0, rows)),
        }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub enum RowEvent {
    /// Rows.
    Rows(RowBatch),
    /// Nothing came within the time that was given.
    Idle,
    /// The end, and what to say about it (`Limit Reached`, `Query Completed`).
    Done(String),
}

/// A result set. Dropping it ends its query.
pub trait RowStream: Send + Debug {
    /// Its columns, in order.
    fn columns(&self) -> &[ResultColumn];
    /// Waits for rows at most `timeout`.
    fn next(&mut self, timeout: Duration) -> Result<RowEvent>;
    /// Something to tell the user beside the rows: late rows that were left out, a broker that does not answer.
    fn notice(&self) -> Option<String>;
}
