//! What a format is to a decoder and an encoder: a [`RowReader`] and a [`RowWriter`].
//!
//! A reader is called once per record, a writer once per batch; what either does with a value is known when it is made.

use super::Bad;
use super::cells::Cells;
use crate::error::Result;
use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;

/// Reads the payloads of one format into columns.
pub(super) trait RowReader: Debug + Send + Sync {
    /// Appends row number `rows`; returns whether there is a value (otherwise nothing is appended). On `Err` nothing is
    /// appended.
    fn push(&mut self, payload: &[u8], rows: usize) -> Result<bool, Bad>;

    /// The columns under construction, by declared index.
    fn cells(&mut self) -> &mut [Cells];

    /// Appends a row of NULLs.
    fn push_null(&mut self) {
        self.cells().iter_mut().for_each(Cells::push_null);
    }

    /// Removes all rows but the first `rows`.
    fn truncate(&mut self, rows: usize) {
        self.cells().iter_mut().for_each(|c| c.truncate(rows));
    }

    /// Returns the column of declared index `column`, and starts its next batch. The column is materialized.
    fn finish(&mut self, column: usize) -> ArrayRef {
        self.cells()[column].finish()
    }
}

/// Writes columns as the payloads of one format.
pub(super) trait RowWriter: Debug + Send + Sync {
    /// Writes all rows. The columns have the Arrow types of their SQL types.
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()>;
}

/// Why a row has no payload.
pub(super) type Refusal = Cow<'static, str>;

/// Where the payloads of a batch go.
pub(super) struct Payloads<'a> {
    pub(super) rows: usize,
    /// Rows with an image; `None` = all.
    pub(super) present: Option<&'a NullBuffer>,
    pub(super) data: &'a mut Vec<u8>,
    pub(super) ranges: &'a mut Vec<Option<Range<usize>>>,
    pub(super) bad: Vec<(usize, Bad)>,
}

impl Payloads<'_> {
    /// Calls `write` for every row that has an image and, if there is an `unwrapped` column, a value in it.
    #[inline(always)]
    pub(super) fn each(
        &mut self,
        unwrapped: Option<&ArrayRef>,
        mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<(), Refusal>,
    ) {
        for row in 0..self.rows {
            if self.present.is_some_and(|p| p.is_null(row)) || unwrapped.is_some_and(|c| c.is_null(row)) {
                self.ranges.push(None);
                continue;
            }
            let start = self.data.len();
            match write(row, self.data) {
                Ok(()) => self.ranges.push(Some(start..self.data.len())),
                Err(reason) => {
                    self.data.truncate(start);
                    self.bad.push((row, Bad { reason: reason.into_owned() }));
                    self.ranges.push(None);
                }
            }
        }
    }
}

/// A side without columns, or without bytes: payloads are ignored.
#[derive(Debug)]
pub(super) struct Nothing {
    /// Every payload counts as null.
    pub(super) always_absent: bool,
}

impl RowReader for Nothing {
    fn push(&mut self, _: &[u8], _: usize) -> Result<bool, Bad> {
        Ok(!self.always_absent)
    }

    fn cells(&mut self) -> &mut [Cells] {
        &mut []
    }
}

impl RowWriter for Nothing {
    fn write(&mut self, _: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        out.ranges.extend(std::iter::repeat_n(None, out.rows));
        Ok(())
    }
}
