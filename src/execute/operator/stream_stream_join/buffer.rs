//! One side's rows: columns as they came, and an index over them per time segment.
//!
//! Rows are numbered in order of arrival, and the number is all that others hold. A segment covers as much time as two rows
//! that join can lie apart, so that a row is looked up in two or three of them; it knows the newest row of each key, and
//! every row the one before it. Rows leave in blocks, from the oldest on, when none of a block is shown or waits any more.
//!
//! When there are more than may be in memory, the oldest ones move into a file (see [`SpilledRows`]): the rows here are always
//! those from `base` on.
//!
//! A row that is older than what the buffer keeps is not indexed, yet it is there as long as it waits.

use super::key_lookup::KeyLookup;
use super::spilled::SpilledRows;
use super::{RESOLVED, Usable};
use crate::error::{Error, Result};
use crate::execute::change::ChangeBatch;
use crate::execute::state::key_table::{KeyTable, Probe};
use crate::execute::state::keys::BatchKeys;
use crate::mutant::{self, Mutant};
use crate::types::time::NEVER;
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{concat, filter};
use arrow::datatypes::DataType;
use std::collections::VecDeque;
use std::hint::black_box;

/// No row.
pub(super) const NONE: u64 = u64::MAX;

/// A row that no segment knows.
pub(super) const UNINDEXED: u32 = u32::MAX;

/// Rows up to which small batches are put together: a gather touches few arrays then.
const BLOCK_ROWS: usize = 8192;

/// What is known of a row beside its columns: time, previous row, key, state.
pub(super) const ROW_BYTES: usize = 8 + 8 + 4 + 4;

/// Rows looked up ahead, so that their cache misses overlap.
const PASS_ROWS: usize = 2048;

/// The rows of one side.
#[derive(Debug)]
pub(super) struct Buffer {
    types: Vec<DataType>,
    /// How many of the columns are the key and its window.
    head: usize,
    numbers: bool,
    width: i64,
    kept: i64,
    /// Highest rowtime of the rows with a key and a value.
    time: i64,
    segments: VecDeque<Segment>,
    pub(super) blocks: VecDeque<Block>,
    /// Number of the first row of the first block; the vectors below begin there. Rows before are in files, or gone.
    pub(super) base: u64,
    pub(super) times: Vec<i64>,
    /// The row of the same key and segment before.
    previous: Vec<u64>,
    /// Number of the key in its segment.
    pub(super) keys: Vec<u32>,
    pub(super) states: Vec<u32>,
    pub(super) spilled: SpilledRows,
    /// Everything before was there at the last commit.
    committed: u64,
    saved_time: i64,
    /// States of committed rows before they changed.
    undo: Vec<(u64, u32)>,
}

#[derive(Debug)]
struct Segment {
    start: i64,
    keys: KeyTable,
    /// Newest row by number of the key.
    newest: Vec<u64>,
}

/// Rows that came together, or were put together.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) first: u64,
    pub(super) rows: usize,
    latest: i64,
    /// Memory that the columns take.
    pub(super) bytes: usize,
    /// The key, its window if it has one, then the value columns.
    pub(super) columns: Vec<ArrayRef>,
}

impl Buffer {
    pub(super) fn new(
        (types, head): (Vec<DataType>, usize),
        (width, kept): (i64, i64),
        numbers: bool,
        spilled: SpilledRows,
    ) -> Buffer {
        Buffer {
            types,
            head,
            numbers,
            width,
            kept,
            time: NEVER,
            segments: VecDeque::new(),
            blocks: VecDeque::new(),
            base: 0,
            times: Vec::new(),
            previous: Vec::new(),
            keys: Vec::new(),
            states: Vec::new(),
            spilled,
            committed: 0,
            saved_time: NEVER,
            undo: Vec::new(),
        }
    }

    /// Highest rowtime of the rows with a key and a value.
    pub(super) fn time(&self) -> i64 {
        self.time
    }

    /// The number of the next row.
    pub(super) fn end(&self) -> u64 {
        self.base + self.times.len() as u64
    }

    /// The first row that is still held, and the first that no commit knows.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.spilled.first().unwrap_or(self.base), self.committed)
    }

    /// Is everything as the last commit left it?
    pub(super) fn is_clean(&self) -> bool {
        self.committed == self.end() && self.undo.is_empty()
    }

    /// Are no rows in files?
    pub(super) fn is_in_memory(&self) -> bool {
        self.spilled.first().is_none()
    }

    /// Rows that are held, in memory or in files.
    pub(super) fn held(&self) -> usize {
        (self.end() - self.range().0) as usize
    }

    /// Memory that the rows and what is known of them take.
    pub(super) fn bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|b| b.bytes).sum();
        let segments: usize =
            self.segments.iter().map(|s| s.keys.size() + s.newest.capacity() * size_of::<u64>()).sum();
        blocks + segments + self.times.len() * ROW_BYTES
    }

    /// Lowest rowtime that is shown when the highest is `time`.
    #[inline(always)]
    pub(super) fn floor(&self, time: i64) -> i64 {
        time.saturating_sub(self.kept).saturating_add(1)
    }

    /// Whether a row waits.
    #[inline(always)]
    pub(super) fn state(&self, row: u64) -> u32 {
        if row < self.base { self.spilled.state(row) } else { self.states[(row - self.base) as usize] }
    }

    pub(super) fn set_state(&mut self, row: u64, state: u32) {
        let before = self.put_state(row, state);
        if row < self.committed {
            self.undo.push((row, before));
        }
    }

    fn put_state(&mut self, row: u64, state: u32) -> u32 {
        if row < self.base {
            return self.spilled.set_state(row, state);
        }
        std::mem::replace(&mut self.states[(row - self.base) as usize], state)
    }

    /// Committed rows whose state changed since the last commit, with what it was, first change first.
    pub(super) fn changed(&self) -> &[(u64, u32)] {
        &self.undo
    }

    /// Takes the rows that have a value.
    pub(super) fn append(
        &mut self,
        batch: &ChangeBatch,
        head: &[ArrayRef],
        keys: &BatchKeys<'_>,
        usable: &Usable,
    ) -> Result<()> {
        let first = self.end();
        self.index(batch, keys, usable);
        let all = head.iter().chain(&batch.new.columns);
        let columns = match usable.values() {
            None => all.cloned().collect(),
            Some(rows) => {
                let rows = BooleanArray::new(rows.clone(), None);
                all.map(|c| Ok(filter(c, &rows)?)).collect::<Result<_>>()?
            }
        };
        self.push_block(first, columns)
    }

    fn index(&mut self, batch: &ChangeBatch, keys: &BatchKeys<'_>, usable: &Usable) {
        let mut from = 0;
        while from < batch.len() {
            let to = (from + PASS_ROWS).min(batch.len());
            self.warm(batch, keys, from..to);
            for row in from..to {
                if !usable.valued(row) {
                    continue;
                }
                let rowtime = batch.rowtime[row];
                let keyed = usable.keyed(row);
                if keyed {
                    self.time = self.time.max(rowtime);
                }
                let stored = keyed && rowtime >= self.floor(self.time);
                let entry = stored.then(|| (keys.probe(row), keys.bytes(row)));
                self.push_row(rowtime, entry);
            }
            from = to;
        }
    }

    /// Touches the buckets that the rows will be looked up in, in the newest segment.
    fn warm(&self, batch: &ChangeBatch, keys: &BatchKeys<'_>, rows: std::ops::Range<usize>) {
        let (Some(segment), false) = (self.segments.back(), batch.key.is_empty()) else { return };
        if batch.key[0].null_count() == 0 {
            black_box(rows.fold(0, |x, row| x ^ segment.keys.candidate(keys.probe(row))));
        }
    }

    /// One more row; `entry` is the key by which it can be found.
    pub(super) fn push_row(&mut self, rowtime: i64, entry: Option<(Probe, &[u8])>) {
        let row = self.end();
        let (mut previous, mut key) = (NONE, UNINDEXED);
        if let Some((probe, bytes)) = entry {
            let at = self.segment(rowtime - rowtime.rem_euclid(self.width));
            let segment = &mut self.segments[at];
            let (nth, fresh) = segment.keys.find_or_insert(probe, bytes);
            if fresh {
                segment.newest.push(row);
            } else {
                previous = std::mem::replace(&mut segment.newest[nth as usize], row);
            }
            key = nth;
        }
        self.times.push(rowtime);
        self.previous.push(previous);
        self.keys.push(key);
        self.states.push(RESOLVED);
    }

    /// Was the row indexed?
    pub(super) fn is_indexed(&self, row: u64) -> bool {
        self.keys[(row - self.base) as usize] != UNINDEXED
    }

    #[inline(always)]
    fn segment(&mut self, start: i64) -> usize {
        if self.segments.back().is_some_and(|s| s.start == start) {
            return self.segments.len() - 1;
        }
        self.segments.binary_search_by_key(&start, |s| s.start).unwrap_or_else(|at| {
            let segment = Segment { start, keys: KeyTable::new(self.numbers), newest: Vec::new() };
            self.segments.insert(at, segment);
            at
        })
    }

    /// Rows of a key with a rowtime in `low ..= high` and a number below `limit`, by (rowtime, arrival).
    #[inline]
    pub(super) fn find(
        &mut self,
        lookup: &KeyLookup,
        (probe, bytes): (Probe, &[u8]),
        (low, high): (i64, i64),
        limit: u64,
        hits: &mut Vec<(i64, u64)>,
    ) -> Result<()> {
        hits.clear();
        for segment in self.segments.iter().rev().skip_while(|s| s.start > high) {
            if segment.start.saturating_add(self.width) <= low {
                break;
            }
            let Some(nth) = segment.keys.find(probe, bytes) else { continue };
            let mut row = segment.newest[nth as usize];
            while row != NONE && row >= self.base {
                let at = (row - self.base) as usize;
                let rowtime = self.times[at];
                if rowtime >= low && rowtime <= high && row < limit {
                    hits.push((rowtime, row));
                }
                row = self.previous[at];
            }
        }
        // Rows in files were committed before this step began: they arrived before any limit.
        self.spilled.find(lookup, (probe, bytes), (low, high), hits)?;
        if hits.len() > 1 {
            hits.sort_unstable();
        }
        Ok(())
    }

    /// The columns of the rows from `first` on, which are numbered already.
    pub(super) fn push_block(&mut self, first: u64, columns: Vec<ArrayRef>) -> Result<()> {
        let rows = columns.first().map_or(0, |c| c.len());
        if columns.len() != self.types.len() || first + rows as u64 != self.end() {
            return Err(Error::bug("a join's rows and their columns do not fit"));
        }
        if rows == 0 {
            return Ok(());
        }
        let latest = self.times[(first - self.base) as usize..].iter().copied().max().unwrap_or(NEVER);
        let bytes = columns.iter().map(bytes_of).sum();
        self.blocks.push_back(Block { first, rows, latest, bytes, columns });
        while let [.., last, newest] = self.blocks.make_contiguous()
            && last.rows <= newest.rows
            && last.rows + newest.rows <= BLOCK_ROWS
        {
            let pairs = last.columns.iter().zip(&newest.columns);
            last.columns =
                pairs.map(|(a, b)| Ok(concat(&[a.as_ref(), b.as_ref()])?)).collect::<Result<Vec<ArrayRef>>>()?;
            last.rows += newest.rows;
            last.bytes += newest.bytes;
            last.latest = last.latest.max(newest.latest);
            self.blocks.pop_back();
        }
        Ok(())
    }

    /// How many of the columns are the key and its window.
    pub(super) fn head(&self) -> usize {
        self.head
    }

    /// Types of the key and of the value columns.
    pub(super) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// The columns of rows `from .. to`, block by block, with the number of the first row of each.
    pub(super) fn slices(&self, from: u64, to: u64) -> Vec<(u64, Vec<ArrayRef>)> {
        let mut slices = Vec::new();
        for block in &self.blocks {
            let (start, end) = (from.max(block.first), to.min(block.first + block.rows as u64));
            if start < end {
                let slice = |c: &ArrayRef| c.slice((start - block.first) as usize, (end - start) as usize);
                slices.push((start, block.columns.iter().map(slice).collect()));
            }
        }
        slices
    }

    /// What is here is committed; what is neither shown nor waits goes. `waiting` is the rowtime of the oldest row that
    /// waits.
    pub(super) fn commit(&mut self, waiting: i64) {
        self.committed = self.end();
        self.saved_time = self.time;
        for (row, _) in std::mem::take(&mut self.undo) {
            if row < self.base {
                self.spilled.settle(row);
            }
        }
        let early = if mutant::on(Mutant::BufferDroppedEarly) { self.width } else { 0 };
        let floor = self.floor(self.time).saturating_add(early);
        self.spilled.trim(floor, waiting);
        while self.segments.front().is_some_and(|s| s.start.saturating_add(self.width) <= floor) {
            self.segments.pop_front();
        }
        self.drop_blocks(|b| b.latest < floor && b.latest < waiting);
    }

    /// While state is restored: rows before this one are not part of it any more.
    pub(super) fn release(&mut self, before: u64) {
        self.spilled.release(before);
        if self.drop_blocks(|block| block.first + block.rows as u64 <= before) {
            self.drop_empty_segments();
        }
    }

    /// Drops the oldest blocks that may go; whether there were enough of them.
    fn drop_blocks(&mut self, may_go: impl Fn(&Block) -> bool) -> bool {
        let gone = self.blocks.iter().take_while(|block| may_go(block));
        let (blocks, rows) = gone.fold((0, 0), |(n, r), b| (n + 1, r + b.rows));
        // The vectors are moved down by as much: seldom enough that a row is moved a few times at most.
        let is_enough = rows * 4 >= self.times.len() && rows > 0;
        if is_enough {
            self.drop_front(blocks, rows);
        }
        is_enough
    }

    /// The first `blocks` with their `rows` are not here any more.
    pub(super) fn drop_front(&mut self, blocks: usize, rows: usize) {
        self.blocks.drain(..blocks);
        self.base += rows as u64;
        self.times.drain(..rows);
        self.previous.drain(..rows);
        self.keys.drain(..rows);
        self.states.drain(..rows);
    }

    /// Segments all of whose rows are in files point at nothing.
    pub(super) fn drop_empty_segments(&mut self) {
        let base = self.base;
        self.segments.retain(|s| s.newest.iter().any(|row| *row != NONE && *row >= base));
    }

    /// Memory is given back that many rows had needed.
    pub(super) fn shrink(&mut self) {
        self.times.shrink_to(self.times.len() * 2);
        self.previous.shrink_to(self.previous.len() * 2);
        self.keys.shrink_to(self.keys.len() * 2);
        self.states.shrink_to(self.states.len() * 2);
    }

    /// Back to the last commit.
    pub(super) fn abort(&mut self) {
        self.time = self.saved_time;
        for row in (self.committed..self.end()).rev() {
            let at = (row - self.base) as usize;
            if self.keys[at] != UNINDEXED {
                let start = self.times[at] - self.times[at].rem_euclid(self.width);
                let segment = self.segment(start);
                self.segments[segment].newest[self.keys[at] as usize] = self.previous[at];
            }
        }
        for (row, state) in std::mem::take(&mut self.undo).into_iter().rev() {
            self.put_state(row, state);
        }
        let kept = (self.committed - self.base) as usize;
        self.times.truncate(kept);
        self.previous.truncate(kept);
        self.keys.truncate(kept);
        self.states.truncate(kept);
        while let Some(block) = self.blocks.back_mut()
            && block.first + block.rows as u64 > self.committed
        {
            if block.first >= self.committed {
                self.blocks.pop_back();
                continue;
            }
            block.rows = (self.committed - block.first) as usize;
            block.columns = block.columns.iter().map(|c| c.slice(0, block.rows)).collect();
        }
    }

    /// Makes a row that leaves ready to be gathered, should it be in a file.
    pub(super) fn bring(&mut self, row: u64) -> Result<()> {
        if row < self.base { self.spilled.bring(row) } else { Ok(()) }
    }

    /// The rows that the step has read from files are not needed any more.
    pub(super) fn forget_brought(&mut self) {
        self.spilled.forget_brought();
    }

    /// Rows that wait, with their rowtimes.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let waits = self.states.iter().enumerate().filter(|(_, s)| **s != RESOLVED);
        waits.map(|(at, _)| (self.times[at], self.base + at as u64)).chain(self.spilled.waiting())
    }

    /// An empty buffer whose first row will have this number.
    pub(super) fn begin(&mut self, base: u64) {
        self.base = base;
        self.committed = base;
    }

    /// Forgets all rows, none of which is in a file; the next one will have this number. Only while state is restored.
    pub(super) fn restart(&mut self, base: u64) {
        self.drop_front(self.blocks.len(), self.times.len());
        self.segments.clear();
        self.begin(base);
    }

    /// The highest rowtime, as a memo holds it.
    pub(super) fn set_time(&mut self, time: i64) {
        self.time = time;
        self.saved_time = time;
    }
}

/// Memory that the rows of an array take, without what else its buffers hold.
fn bytes_of(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}
