//! One side's rows: columns as they came, and an index over them per time segment.
//!
//! Rows are numbered in order of arrival, and the number is all that others hold. A segment covers as much time as two rows
//! that join can lie apart, so that a row is looked up in two or three of them; it knows the newest row of each key, and
//! every row the one before it. Rows leave in blocks, from the oldest on, when none of a block is shown or waits any more.
//!
//! A row that is older than what the buffer keeps is not indexed, yet it is there as long as it waits.

use super::super::ChangeBatch;
use super::super::key_table::{KeyTable, Probe};
use super::super::keys::BatchKeys;
use super::{RESOLVED, Usable};
use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::types::time::NEVER;
use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::compute::{concat, filter, interleave};
use arrow::datatypes::DataType;
use std::collections::VecDeque;
use std::hint::black_box;

/// No row.
pub(super) const NONE: u64 = u64::MAX;

/// A row that no segment knows.
const UNINDEXED: u32 = u32::MAX;

/// Rows up to which small batches are put together: a gather touches few arrays then.
const BLOCK_ROWS: usize = 8192;

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
    blocks: VecDeque<Block>,
    /// Number of the first row of the first block; the vectors below begin there.
    base: u64,
    pub(super) times: Vec<i64>,
    /// The row of the same key and segment before.
    previous: Vec<u64>,
    /// Number of the key in its segment.
    keys: Vec<u32>,
    states: Vec<u32>,
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
    first: u64,
    rows: usize,
    latest: i64,
    /// The key, its window if it has one, then the value columns.
    columns: Vec<ArrayRef>,
}

impl Buffer {
    pub(super) fn new((types, head): (Vec<DataType>, usize), width: i64, kept: i64, numbers: bool) -> Buffer {
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
        (self.base, self.committed)
    }

    /// Lowest rowtime that is shown when the highest is `time`.
    #[inline(always)]
    pub(super) fn floor(&self, time: i64) -> i64 {
        time.saturating_sub(self.kept).saturating_add(1)
    }

    /// Whether a row waits.
    #[inline(always)]
    pub(super) fn state(&self, row: u64) -> u32 {
        self.states[(row - self.base) as usize]
    }

    pub(super) fn set_state(&mut self, row: u64, state: u32) {
        let before = std::mem::replace(&mut self.states[(row - self.base) as usize], state);
        if row < self.committed {
            self.undo.push((row, before));
        }
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
        &self,
        probe: Probe,
        bytes: &[u8],
        (low, high): (i64, i64),
        limit: u64,
        hits: &mut Vec<(i64, u64)>,
    ) {
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
        if hits.len() > 1 {
            hits.sort_unstable();
        }
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
        self.blocks.push_back(Block { first, rows, latest, columns });
        while let [.., last, newest] = self.blocks.make_contiguous()
            && last.rows <= newest.rows
            && last.rows + newest.rows <= BLOCK_ROWS
        {
            let pairs = last.columns.iter().zip(&newest.columns);
            last.columns =
                pairs.map(|(a, b)| Ok(concat(&[a.as_ref(), b.as_ref()])?)).collect::<Result<Vec<ArrayRef>>>()?;
            last.rows += newest.rows;
            last.latest = last.latest.max(newest.latest);
            self.blocks.pop_back();
        }
        Ok(())
    }

    /// One column of some rows; NULL where the row is [`NONE`].
    pub(super) fn gather(&self, column: usize, rows: &[u64]) -> Result<ArrayRef> {
        let places = self.places(rows);
        self.gather_at(column, &places)
    }

    /// Where rows stand: blocks that hold some of them, then (block, row) of each; block 0 is a NULL.
    pub(super) fn places(&self, rows: &[u64]) -> Places {
        let mut used: Vec<usize> = Vec::new();
        let mut number = vec![0usize; self.blocks.len()];
        let mut last = (usize::MAX, 0, 0);
        let mut at = Vec::with_capacity(rows.len());
        for &row in rows {
            if row == NONE {
                at.push((0, 0));
                continue;
            }
            if last.0 == usize::MAX || row < last.1 || row >= last.2 {
                let block = self.blocks.partition_point(|b| b.first <= row) - 1;
                let b = &self.blocks[block];
                last = (block, b.first, b.first + b.rows as u64);
                if number[block] == 0 {
                    used.push(block);
                    number[block] = used.len();
                }
            }
            at.push((number[last.0], (row - last.1) as usize));
        }
        Places { used, at }
    }

    /// One column of the rows at `places`.
    pub(super) fn gather_at(&self, column: usize, places: &Places) -> Result<ArrayRef> {
        let null = new_null_array(&self.types[column], 1);
        Ok(interleave(&self.arrays(column, places, &null), &places.at)?)
    }

    /// The arrays that `places` counts in.
    pub(super) fn arrays<'a>(&'a self, column: usize, places: &Places, null: &'a ArrayRef) -> Vec<&'a dyn Array> {
        let used = places.used.iter().map(|b| self.blocks[*b].columns[column].as_ref());
        std::iter::once(null.as_ref()).chain(used).collect()
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
        self.undo.clear();
        let early = if mutant::on(Mutant::BufferDroppedEarly) { self.width } else { 0 };
        let floor = self.floor(self.time).saturating_add(early);
        while self.segments.front().is_some_and(|s| s.start.saturating_add(self.width) <= floor) {
            self.segments.pop_front();
        }
        let gone = |b: &Block| b.latest < floor && b.latest < waiting;
        let rows: usize = self.blocks.iter().take_while(|b| gone(b)).map(|b| b.rows).sum();
        // The vectors are moved down by as much: seldom enough that a row is moved a few times at most.
        if rows * 4 >= self.times.len() && rows > 0 {
            while self.blocks.front().is_some_and(gone) {
                self.blocks.pop_front();
            }
            self.base += rows as u64;
            self.times.drain(..rows);
            self.previous.drain(..rows);
            self.keys.drain(..rows);
            self.states.drain(..rows);
        }
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
            self.states[(row - self.base) as usize] = state;
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

    /// Rows that wait, with their rowtimes.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let waits = self.states.iter().enumerate().filter(|(_, s)| **s != RESOLVED);
        waits.map(|(at, _)| (self.times[at], self.base + at as u64))
    }

    /// An empty buffer whose first row will have this number.
    pub(super) fn begin(&mut self, base: u64) {
        self.base = base;
        self.committed = base;
    }

    /// The highest rowtime, as a memo holds it.
    pub(super) fn set_time(&mut self, time: i64) {
        self.time = time;
        self.saved_time = time;
    }
}

/// Rows by block; see [`Buffer::places`].
#[derive(Debug)]
pub(super) struct Places {
    used: Vec<usize>,
    pub(super) at: Vec<(usize, usize)>,
}

impl Places {
    /// Arrays that the places count in, the NULL included.
    pub(super) fn arrays(&self) -> usize {
        self.used.len() + 1
    }
}
