//! Rows of a query, as they come.

use crate::error::Result;
use crate::types::SqlType;
use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A column of a query's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// Name.
    pub name: String,
    /// Type.
    pub ty: SqlType,
}

/// Rows of a query, taken by the one who shows them. Dropping it ends the query.
pub trait RowStream: Send {
    /// The columns of every batch.
    fn columns(&self) -> &[OutputColumn];
    /// Is it a key column of the table that is read? Headers of ksqlDB's older API say so.
    fn is_key(&self, _column: usize) -> bool {
        false
    }
    /// It reads a table in the form of ksqlDB's pull queries, whose answer has no final message over HTTP.
    fn is_table_pull(&self) -> bool {
        false
    }
    /// Id of the query behind it: every SELECT has one, PRINT and VERIFY have none.
    fn id(&self) -> Option<&str> {
        None
    }
    /// It ends by itself: its rows need not be shown before all of them are known.
    fn is_bounded(&self) -> bool {
        false
    }
    /// What may help when nothing comes for a while.
    fn when_empty(&self) -> Option<&str> {
        None
    }
    /// How much of the history was read for it so far, where that is counted.
    fn scanned(&self) -> Option<Scanned> {
        None
    }
    /// So many bytes were made of its rows and sent: some processes limit them.
    fn sent(&self, _bytes: usize) {}
    /// The next rows, or `Idle` when none came within `timeout`. After `Done` or an error it is not called again.
    fn next(&mut self, timeout: Duration) -> Result<RowEvent>;
    /// Something the reader of the answer should know (rows dropped as late, a query that batch reads differently);
    /// asked once, at the end.
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
    /// Rows came: one array a column, of the column's Arrow type, all of one length, at least 1.
    Rows {
        /// The columns.
        columns: Vec<ArrayRef>,
        /// Which rows delete their key; empty = none does.
        tombstones: Vec<bool>,
    },
    /// Nothing came in time; more may.
    Idle,
    /// The query has ended, and perhaps says why (`Limit Reached`).
    Done(Option<String>),
}
