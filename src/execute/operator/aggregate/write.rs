//! Changes and groups to batches.

use super::super::filter_project::masked;
use super::{AggregateOperator, Pending};
use crate::error::Result;
use crate::execute::change::{Bounds, ChangeBatch, RowImage};
use crate::execute::state::keys::GroupRef;
use crate::functions::accumulate::{Accumulator, Cells};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;

impl AggregateOperator {
    /// What [`When::Each`] has collected: its key columns are the input's.
    pub(super) fn write_each(&self, batch: &ChangeBatch, pending: Pending) -> Result<ChangeBatch> {
        let same = pending.rows.len() == batch.len() && pending.rows.iter().enumerate().all(|(i, &r)| i == r as usize);
        let key = if same {
            batch.key.clone()
        } else {
            let rows = UInt32Array::from(pending.rows);
            batch.key.iter().map(|c| Ok(arrow::compute::take(c, &rows, None)?)).collect::<Result<_>>()?
        };
        let old = match self.with_old {
            true => {
                Some(RowImage { columns: self.columns(pending.before)?, present: Some(NullBuffer::from(pending.had)) })
            }
            false => None,
        };
        let new = RowImage { columns: self.columns(pending.after)?, present: None };
        Ok(ChangeBatch {
            key,
            key_present: None,
            new,
            old: old.map(masked).transpose()?,
            rowtime: pending.times.into(),
            window: self.bounds(pending.starts),
            seq: pending.seqs.into(),
        })
    }

    /// The present state of these groups.
    pub(super) fn write_groups(
        &self,
        groups: &[GroupRef],
        seqs: Vec<u64>,
        old: Option<RowImage>,
    ) -> Result<ChangeBatch> {
        let slots: Vec<u32> = groups.iter().map(|&(s, nth)| self.segments.get(s).slot(nth)).collect();
        let mut after = self.cells();
        for (accumulator, cells) in self.accumulators.iter().zip(&mut after) {
            accumulator.peek(&self.arena.words, self.arena.width, &self.heap, &slots, cells);
        }
        let starts = groups.iter().map(|&(s, _)| self.segments.get(s).start).collect();
        let times: Vec<i64> = slots.iter().map(|&slot| self.arena.row(slot)[0]).collect();
        Ok(ChangeBatch {
            key: self.layout.columns(&self.segments, groups)?,
            key_present: None,
            new: RowImage { columns: self.columns(after)?, present: None },
            old,
            rowtime: times.into(),
            window: self.bounds(starts),
            seq: seqs.into(),
        })
    }

    pub(super) fn bounds(&self, starts: Vec<i64>) -> Option<Bounds> {
        let windows = self.windows?;
        let ends: Vec<i64> = starts.iter().map(|&s| windows.end(s)).collect();
        Some(Bounds { start: starts.into(), end: ends.into() })
    }

    pub(super) fn cells(&self) -> Vec<Cells> {
        self.accumulators.iter().map(Accumulator::cells).collect()
    }

    pub(super) fn columns(&self, cells: Vec<Cells>) -> Result<Vec<ArrayRef>> {
        cells.into_iter().zip(&self.accumulators).map(|(c, accumulator)| accumulator.finish(c)).collect()
    }
}
