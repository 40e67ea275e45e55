//! Changes: what flows between operators, column by column.
//!
//! A [`ChangeBatch`] holds rows of one stream or table: key, value after the change, value before it where the plan asks
//! for it, time, window and ordinal. Batches are immutable; they are sliced, filtered and concatenated , and rows that could not be processed are listed beside them.

mod bad_rows;
mod concat;
mod filter;
mod take;

pub use bad_rows::{BadRow, BadRows};

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use std::sync::Arc;

/// One image of the value: columns, and which rows have it at all (`None` = every row). On a stream an absent image is a
/// null value, on a table a tombstone; an image whose columns are all NULL is present.
#[derive(Clone, Debug, Default)]
pub struct RowImage {
    /// Value columns; where a row has no image they hold NULL.
    pub columns: Vec<ArrayRef>,
    /// Rows that have the image.
    pub present: Option<NullBuffer>,
}

impl RowImage {
    /// Does `row` have this image?
    #[inline(always)]
    pub fn has(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|p| p.is_valid(row))
    }

    fn slice(&self, offset: usize, length: usize) -> RowImage {
        RowImage {
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
    pub new: RowImage,
    /// The value before it, where the plan asks for it.
    pub old: Option<RowImage>,
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

    /// The columns that identify a row of a table: those of the key, and the bounds of its window.
    pub(crate) fn identity(&self) -> Vec<ArrayRef> {
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
