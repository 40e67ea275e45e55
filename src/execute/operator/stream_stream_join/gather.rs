//! Columns of selected rows of one side, in memory or in files.

use super::buffer::{Buffer, NONE};
use crate::error::Result;
use crate::functions::bounded::sizes;
use crate::memory;
use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::interleave;

/// Rows by array; see [`Buffer::places`].
#[derive(Debug)]
pub(super) struct Places {
    used: Vec<Holder>,
    pub(super) at: Vec<(usize, usize)>,
}

/// What holds rows.
#[derive(Clone, Copy, Debug)]
enum Holder {
    Block(usize),
    /// Rows that were read from a file.
    Brought(usize),
}

impl Places {
    /// Arrays that the places count in, the NULL included.
    pub(super) fn arrays(&self) -> usize {
        self.used.len() + 1
    }
}

impl Buffer {
    /// One column of some rows; NULL where the row is [`NONE`].
    pub(super) fn gather(&self, column: usize, rows: &[u64]) -> Result<ArrayRef> {
        let places = self.places(rows)?;
        self.gather_at(column, &places)
    }

    /// Where rows are: the arrays that hold them, then (holder, row) of each; holder 0 is a NULL.
    pub(super) fn places(&self, rows: &[u64]) -> Result<Places> {
        let mut used: Vec<Holder> = Vec::new();
        let mut number = vec![0usize; self.blocks.len()];
        let mut last = (usize::MAX, 0, 0);
        let mut at = Vec::with_capacity(rows.len());
        for &row in rows {
            if row == NONE {
                at.push((0, 0));
                continue;
            }
            if row < self.base {
                let (brought, row) = self.spilled.place(row)?;
                used.push(Holder::Brought(brought));
                at.push((used.len(), row));
                continue;
            }
            if last.0 == usize::MAX || row < last.1 || row >= last.2 {
                let block = self.blocks.partition_point(|b| b.first <= row) - 1;
                let b = &self.blocks[block];
                last = (block, b.first, b.first + b.rows as u64);
                if number[block] == 0 {
                    used.push(Holder::Block(block));
                    number[block] = used.len();
                }
            }
            at.push((number[last.0], (row - last.1) as usize));
        }
        Ok(Places { used, at })
    }

    /// One column of the rows at `places`.
    pub(super) fn gather_at(&self, column: usize, places: &Places) -> Result<ArrayRef> {
        let null = new_null_array(&self.types()[column], 1);
        Ok(interleave(&self.arrays(column, places, &null), &places.at)?)
    }

    /// Fails when a bounded query has no memory for the copies that [`gather_at`](Self::gather_at) would make.
    pub(super) fn check_copies(&self, places: &Places) -> Result<()> {
        if memory::room() == usize::MAX {
            return Ok(());
        }
        let mut sum = 0_u64;
        for (column, ty) in self.types().iter().enumerate().skip(self.head()) {
            if let Some(width) = ty.primitive_width() {
                sum += (width * places.at.len()) as u64;
                continue;
            }
            let null = new_null_array(ty, 1);
            let arrays = self.arrays(column, places, &null);
            let sizes: Vec<Vec<u64>> = arrays.iter().map(|array| sizes::bytes(&array.slice(0, array.len()))).collect();
            sum += places.at.iter().map(|(array, row)| sizes[*array][*row]).sum::<u64>();
        }
        memory::reserve_for_rows(usize::try_from(sum).unwrap_or(usize::MAX), places.at.len())
    }

    /// The arrays that `places` counts in.
    pub(super) fn arrays<'a>(&'a self, column: usize, places: &Places, null: &'a ArrayRef) -> Vec<&'a dyn Array> {
        let used = places.used.iter().map(|holder| match holder {
            Holder::Block(block) => self.blocks[*block].columns[column].as_ref(),
            Holder::Brought(brought) => self.spilled.column(*brought, column),
        });
        std::iter::once(null.as_ref()).chain(used).collect()
    }
}
