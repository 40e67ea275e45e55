//! Operators: changes in, changes out.
//!
//! An operator is a sans-IO state machine over [`ChangeBatch`]es. It has no clock, no randomness, no I/O, and interned ids
//! never decide an order.
//!
//! **The split law.** Any split of the input into batches, down to single rows, gives the same rows in [`Mode::Each`];
//! [`Mode::Last`] is its fold: per (key, window) and emission the first old and the last new, at the place of the first
//! change; nothing before and nothing after = no row. An emitted row carries the highest `seq` of the emission.

pub mod aggregate;
pub mod batch;
pub mod compile;
pub mod execution;
pub mod explode;
pub mod intake;
pub mod join;
pub mod join_foreign;
pub mod join_tables;
pub mod pipeline;
pub mod pull;
pub mod row;
pub mod scratch;
pub mod session;
pub mod sink;
pub mod stages;
pub mod table;
pub mod upgrade;
pub mod view;
pub mod watch;

mod arena;
mod bad;
mod event_time;
mod filter;
mod fold;
mod front;
mod headers;
mod key_table;
mod keys;
mod late;
mod merge;
mod order;
mod segment;
mod state_bytes;
mod table_store;
mod window;

pub use bad::{BadRow, BadRows};

use crate::error::Result;
use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use std::sync::Arc;

/// One image of the value: columns, and which rows have it at all (`None` = every row). On a stream an absent image is a
/// null value, on a table a tombstone; an image whose columns are all NULL is present.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Value columns; where a row has no image they hold NULL.
    pub columns: Vec<ArrayRef>,
    /// Rows that have the image.
    pub present: Option<NullBuffer>,
}

impl Side {
    /// Does `row` have this image?
    #[inline(always)]
    pub fn has(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|p| p.is_valid(row))
    }

    fn slice(&self, offset: usize, length: usize) -> Side {
        Side {
            columns: self.columns.iter().map(|c| c.slice(offset, length)).collect(),
            present: self.present.as_ref().map(|p| p.slice(offset, length)),
        }
    }
}

/// Window bounds of the rows of a windowed stream or table.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// First millisecond.
    pub start: ScalarBuffer<i64>,
    /// One past the last millisecond (time windows), last event (sessions).
    pub end: ScalarBuffer<i64>,
}

/// Changes: one row is one record. An update is one row that holds the new and, where the plan asks, the old image.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// Key columns.
    pub key: Vec<ArrayRef>,
    /// Rows whose record has a key; `None` = all.
    pub key_present: Option<NullBuffer>,
    /// The value after the change.
    pub new: Side,
    /// The value before it, where the plan asks for it.
    pub old: Option<Side>,
    /// Event time, milliseconds.
    pub rowtime: ScalarBuffer<i64>,
    /// Window bounds, if the key is windowed.
    pub window: Option<Bounds>,
    /// Ordinal of the intake record that caused the row; ascending, not unique.
    pub seq: ScalarBuffer<u64>,
}

impl ChangeBatch {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// No rows?
    pub fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }

    /// Does `row` have a key?
    #[inline(always)]
    pub fn has_key(&self, row: usize) -> bool {
        self.key_present.as_ref().is_none_or(|p| p.is_valid(row))
    }

    /// The columns that tell rows of a table apart: those of the key, and the bounds of its window.
    fn identity(&self) -> Vec<ArrayRef> {
        let bounds = self.window.iter().flat_map(|w| [&w.start, &w.end]);
        let bounds = bounds.map(|b| Arc::new(Int64Array::new(b.clone(), None)) as ArrayRef);
        self.key.iter().cloned().chain(bounds).collect()
    }

    /// Rows `offset .. offset + length`, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> ChangeBatch {
        ChangeBatch {
            key: self.key.iter().map(|c| c.slice(offset, length)).collect(),
            key_present: self.key_present.as_ref().map(|p| p.slice(offset, length)),
            new: self.new.slice(offset, length),
            old: self.old.as_ref().map(|s| s.slice(offset, length)),
            rowtime: self.rowtime.slice(offset, length),
            window: self
                .window
                .as_ref()
                .map(|w| Bounds { start: w.start.slice(offset, length), end: w.end.slice(offset, length) }),
            seq: self.seq.slice(offset, length),
        }
    }
}

/// When a stateful operator writes what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One output per input, as ksqlDB without its cache.
    Each,
    /// One output per key and emission, in order of the key's first change; as ksqlDB with its cache.
    Last,
}

/// What operators write: changes, counts, bad rows.
#[derive(Debug, Default)]
pub struct Out {
    /// Changes in order.
    pub batches: Vec<ChangeBatch>,
    /// Rows dropped by the late rule.
    pub late: u64,
    /// Their `seq`; a row that missed several windows may stand here several times.
    pub late_rows: Vec<u64>,
    /// Rows with an error; they are logged.
    pub bad: BadRows,
}

/// One entry of a store's changelog: what a commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Key bytes as the store's internal key format writes them (a windowed key: key bytes ++ 8-byte BE start).
    pub key: Vec<u8>,
    /// State bytes; `None` = the entry is gone.
    pub value: Option<Vec<u8>>,
    /// Time of the record: the group's highest rowtime.
    pub timestamp: i64,
}

/// A state machine over changes.
///
/// One step covers a closed interval of `seq`: every row of every port up to the highest `seq` handed in; the task holds
/// back a port's rows until that is so. Rows of one `seq` on one port keep their order. Data errors go to [`Out::bad`];
/// `Err` means a bug. What stream time causes belongs to the `seq` that moved the time.
pub trait Operator: Send + std::fmt::Debug {
    /// Takes one batch per port (`None` = nothing on that port).
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut Out) -> Result<()>;
    /// [`Mode::Last`]: writes what changed since the previous emission.
    fn emit(&mut self, _out: &mut Out) -> Result<()> {
        Ok(())
    }
    /// Nothing will come any more (a query over history): what waits for the time to move leaves, caused by `seq`.
    fn finish(&mut self, _seq: u64, _out: &mut Out) -> Result<()> {
        Ok(())
    }
    /// Appends to `deltas` what changed since the last commit. Called after `emit`, before `commit` or `abort`.
    fn deltas(&mut self, _deltas: &mut Vec<Delta>) -> Result<()> {
        Ok(())
    }
    /// What was done since the last commit is now durable.
    fn commit(&mut self) {}
    /// What was done since the last commit is undone: state, stream time and counts are as they were.
    fn abort(&mut self) {}
    /// Takes one changelog entry while restoring, in changelog order.
    fn restore(&mut self, _key: &[u8], _value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        Ok(())
    }
    /// Stream time and other small facts to be kept with a commit, as one line of text.
    fn memo(&self) -> String {
        String::new()
    }
    /// Takes the memo of the last commit, after all `restore`s.
    fn recall(&mut self, _memo: &str) -> Result<()> {
        Ok(())
    }
}
