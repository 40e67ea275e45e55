//! From memory into a file: the oldest rows of one side, when it has more than its share.

use super::RESOLVED;
use super::buffer::{Buffer, ROW_BYTES, UNINDEXED};
use super::key_lookup::KeyLookup;
use super::sorted_run::{PAGE_ROWS, RunWriter};
use super::spilled::Waiting;
use crate::error::Result;
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, UInt64Array};
use arrow::compute::interleave;
use std::sync::Arc;

/// A row on its way, in the order of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moved {
    hash: u64,
    rowtime: i64,
    ordinal: u64,
    block: u32,
    row: u32,
}

impl Buffer {
    /// Moves the oldest rows into a file if there are more than may be in memory. To be called between a commit and the
    /// next row: only what is committed may move.
    pub(super) fn spill(&mut self, lookup: &KeyLookup) -> Result<()> {
        if !self.is_clean() {
            return Ok(());
        }
        let (held, allowed) = (self.bytes(), self.spilled.allowed());
        if held <= allowed {
            return Ok(());
        }
        // Half of the share stays: what comes next is looked up there, and runs are large.
        let (mut blocks, mut rows, mut left) = (0, 0, held);
        for block in &self.blocks {
            left = left.saturating_sub(block.bytes + block.rows * ROW_BYTES);
            blocks += 1;
            rows += block.rows;
            if left <= allowed / 2 {
                break;
            }
        }
        if rows == 0 {
            return Ok(());
        }
        self.freeze(lookup, blocks, rows).map_err(|e| self.spilled.failed(&e))?;
        self.drop_front(blocks, rows);
        self.drop_empty_segments();
        self.shrink();
        Ok(())
    }

    fn freeze(&mut self, lookup: &KeyLookup, blocks: usize, rows: usize) -> Result<()> {
        let moved = self.moved(lookup, blocks)?;
        if moved.is_empty() {
            return Ok(());
        }
        let mut writer = self.spilled.writer(self.base..self.base + rows as u64, moved.len())?;
        for page in moved.chunks(PAGE_ROWS) {
            self.write_page(page, blocks, &mut writer)?;
        }
        let (states, base) = (&self.states, self.base);
        let waits = moved.iter().enumerate().filter_map(|(position, row)| {
            let state = states[(row.ordinal - base) as usize];
            (state != RESOLVED).then_some((row.ordinal, Waiting { state, rowtime: row.rowtime, position }))
        });
        self.spilled.push(writer.finish(), waits);
        Ok(())
    }

    /// The rows that will be shown or wait, sorted.
    fn moved(&self, lookup: &KeyLookup, blocks: usize) -> Result<Vec<Moved>> {
        let floor = self.floor(self.time());
        let mut moved = Vec::new();
        for (nth, block) in self.blocks.iter().take(blocks).enumerate() {
            let keys = lookup.read(&block.columns)?;
            for row in 0..block.rows {
                let ordinal = block.first + row as u64;
                let at = (ordinal - self.base) as usize;
                let shown = self.keys[at] != UNINDEXED && self.times[at] >= floor;
                if shown || self.states[at] != RESOLVED {
                    let hash = keys.probe(row).home;
                    moved.push(Moved { hash, rowtime: self.times[at], ordinal, block: nth as u32, row: row as u32 });
                }
            }
        }
        moved.sort_unstable();
        Ok(moved)
    }

    fn write_page(&self, page: &[Moved], blocks: usize, writer: &mut RunWriter) -> Result<()> {
        let places: Vec<(usize, usize)> = page.iter().map(|m| (m.block as usize, m.row as usize)).collect();
        let indexed = |m: &Moved| Some(self.is_indexed(m.ordinal));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(page.iter().map(|m| m.hash))),
            Arc::new(Int64Array::from_iter_values(page.iter().map(|m| m.rowtime))),
            Arc::new(UInt64Array::from_iter_values(page.iter().map(|m| m.ordinal))),
            Arc::new(page.iter().map(indexed).collect::<BooleanArray>()),
        ];
        for column in 0..self.types().len() {
            let arrays: Vec<&dyn Array> = self.blocks.iter().take(blocks).map(|b| b.columns[column].as_ref()).collect();
            columns.push(interleave(&arrays, &places)?);
        }
        writer.page(columns)
    }
}
