//! Rows of a query, as a stream.

use crate::error::Result;
use crate::types::SqlType;
use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The one column of EXPLAIN ANALYZE, with a line of the plan in each row.
pub const PLAN: &str = "PLAN";

/// A column of a result set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// Name.
    pub name: String,
    /// Type.
    pub ty: SqlType,
}

impl OutputColumn {
    /// Whether its values are numbers, which tables align at the right.
    pub fn is_number(&self) -> bool {
        self.ty.is_numeric()
    }
}

/// Rows of a query, pulled by their reader. Dropping the stream ends the query.
pub trait RowStream: Send {
    /// The columns of every batch.
    fn columns(&self) -> &[OutputColumn];
    /// Whether it is a key column of the table that is read: the headers of ksqlDB's older API contain that.
    fn is_key(&self, _column: usize) -> bool {
        false
    }
    /// Whether it has the form of ksqlDB's pull queries on tables, whose response has no final message over HTTP.
    fn is_table_pull(&self) -> bool {
        false
    }
    /// Id of the query: every SELECT has one, PRINT and VERIFY have none.
    fn id(&self) -> Option<&str> {
        None
    }
    /// Whether it ends by itself: its rows may be shown once all of them are known.
    fn is_bounded(&self) -> bool {
        false
    }
    /// A hint for when no rows arrive for a while.
    fn when_empty(&self) -> Option<&str> {
        None
    }
    /// How much of the history was read so far, where that is counted.
    fn scanned(&self) -> Option<Scanned> {
        None
    }
    /// Records the bytes that were sent for its rows: a process may limit them.
    fn sent(&self, _bytes: usize) {}
    /// The next rows, or `Idle` when none came within `timeout`. After `Done` or an error it is not called again.
    fn next(&mut self, timeout: Duration) -> Result<RowEvent>;
    /// A note for the reader (rows dropped as late, a query that batch evaluates differently); called once, at the end.
    fn notice(&self) -> Option<String> {
        None
    }
}

/// How much of the history a query has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    /// Records that were read.
    pub records: u64,
    /// Records that have to be read.
    pub planned: u64,
    /// Records that its topics hold.
    pub retained: u64,
    /// Bytes: of files on the embedded log, of keys and values elsewhere.
    pub bytes: u64,
}

/// What happened on a [`RowStream`].
#[derive(Clone, Debug)]
pub enum RowEvent {
    /// Rows: one array per column, of the column's Arrow type, all of one length, at least 1.
    Rows {
        /// The columns.
        columns: Vec<ArrayRef>,
        /// Which rows are tombstones; empty = none.
        tombstones: Vec<bool>,
    },
    /// No rows arrived in time; more may follow.
    Idle,
    /// The query has ended, with a reason if it has one (`Limit Reached`).
    Done(Option<String>),
}
