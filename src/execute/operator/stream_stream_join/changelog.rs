//! What outlives a step: blocks of rows, lists of rows that wait no more, the memo.
//!
//! ```text
//! rows:      key  'B' | side | number of the first row, 8 bytes big-endian     value  version | Arrow IPC stream
//! resolved:  key  'R' | side | number of the list, 8 bytes big-endian          value  version | numbers of rows
//! memo:      version, stream time, for each side: its time, first row held, next row, next list
//! ```
//!
//! Rows are written once, in the columns in which they came, with rowtime and state. A block that is not held any more is
//! taken back, and so is a list all of whose rows are in such blocks.

use super::buffer::Buffer;
use super::sorted_run::stream_bytes;
use super::{RESOLVED, StreamStreamJoin, WAITING};
use crate::error::{Error, Result};
use crate::execute::state::ChangelogEntry;
use crate::types::time::NEVER;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// Version of the state bytes and the memo. Another one means: rebuild from the input.
pub(super) const STATE_VERSION: u8 = 1;

/// Version of a block of a snapshot: before its rows are the number of the first that is held, and that of its last row.
pub(super) const SNAPSHOT_VERSION: u8 = 2;
/// Those two numbers.
const SNAPSHOT_HEAD_BYTES: usize = 16;

/// Rows of one changelog record at most: it has to stay below a broker's limit of a message.
const RECORD_ROWS: usize = 2048;
/// Bytes of columns in one changelog record, about.
const RECORD_BYTES: usize = 512 * 1024;

pub(super) const BLOCK: u8 = b'B';
const LIST: u8 = b'R';

/// An entry of the changelog: kind, side, number.
pub(super) type Entry = (u8, usize, u64);

/// What is known of the entries that a changelog holds.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// Entries came that the buffers do not call committed yet.
    unfinished: bool,
    /// Entries in the changelog: last row of each.
    pub(super) written: BTreeMap<Entry, u64>,
    /// The same since the last commit; `None` = taken back.
    pending: Vec<(Entry, Option<u64>)>,
    /// Numbers of the next lists, and at the last commit.
    lists: u64,
    saved_lists: u64,
    /// First rows held when entries were last taken back, and when they last were for good.
    forgetting: [u64; 2],
    forgotten: [u64; 2],
    /// The snapshot in the making has the entries up to this one.
    pub(super) copied: Option<Entry>,
}

impl Restoring {
    /// Entries in the changelog, with what was written since the last commit: new ones, and some that are taken back.
    pub(super) fn living(&self) -> u64 {
        let new = self.pending.iter().filter(|(_, last)| last.is_some()).count();
        (self.written.len() + new - (self.pending.len() - new)) as u64
    }

    /// What was written since the last commit is in the changelog.
    pub(super) fn commit(&mut self) {
        for (key, last) in self.pending.drain(..) {
            match last {
                Some(last) => self.written.insert(key, last),
                None => self.written.remove(&key),
            };
        }
        self.saved_lists = self.lists;
        self.forgotten = self.forgetting;
    }

    /// What was written since the last commit is not.
    pub(super) fn abort(&mut self) {
        self.pending.clear();
        self.lists = self.saved_lists;
        self.forgetting = self.forgotten;
    }
}

pub(super) fn entry_key((kind, side, number): Entry) -> Vec<u8> {
    let mut key = vec![kind, side as u8];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

impl StreamStreamJoin {
    /// Rows that came, rows that wait no more, and what is not held any more.
    pub(super) fn write_changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        self.restoring.abort();
        for side in [0, 1] {
            let (base, committed) = self.sides[side].range();
            self.forget(side, base, entries);
            for (first, columns) in self.sides[side].slices(committed, self.sides[side].end()) {
                self.write_block(side, first, &columns, entries)?;
            }
            self.write_list(side, entries);
        }
        Ok(())
    }

    /// Takes back what holds only rows before `base`.
    fn forget(&mut self, side: usize, base: u64, entries: &mut Vec<ChangelogEntry>) {
        if self.restoring.forgotten[side] == base {
            return;
        }
        self.restoring.forgetting[side] = base;
        let stale = self.restoring.written.iter().filter(|(entry, last)| entry.1 == side && **last < base);
        let stale: Vec<Entry> = stale.map(|(entry, _)| *entry).collect();
        for entry in stale {
            entries.push(ChangelogEntry { key: entry_key(entry), value: None, timestamp: self.time.max(0) });
            self.restoring.pending.push((entry, None));
        }
    }

    fn write_block(
        &mut self,
        side: usize,
        first: u64,
        columns: &[ArrayRef],
        entries: &mut Vec<ChangelogEntry>,
    ) -> Result<()> {
        let rows = columns.first().map_or(0, |c| c.len());
        let bytes: usize = columns.iter().map(|c| c.get_array_memory_size()).sum();
        let step = (rows * RECORD_BYTES / bytes.max(1)).clamp(1, RECORD_ROWS);
        let mut from = 0;
        while from < rows {
            let count = step.min(rows - from);
            let number = first + from as u64;
            let slice: Vec<ArrayRef> = columns.iter().map(|c| c.slice(from, count)).collect();
            let value = block_bytes(&self.sides[side], number, slice)?;
            let entry = (BLOCK, side, number);
            self.restoring.pending.push((entry, Some(number + count as u64 - 1)));
            entries.push(ChangelogEntry { key: entry_key(entry), value: Some(value), timestamp: self.time.max(0) });
            from += count;
        }
        Ok(())
    }

    fn write_list(&mut self, side: usize, entries: &mut Vec<ChangelogEntry>) {
        let buffer = &self.sides[side];
        let waited =
            buffer.changed().iter().filter(|(row, before)| *before == WAITING && buffer.state(*row) == RESOLVED);
        let mut rows: Vec<u64> = waited.map(|c| c.0).collect();
        rows.sort_unstable();
        rows.dedup();
        for rows in rows.chunks(RECORD_BYTES / 8) {
            let Some(&last) = rows.last() else { continue };
            let mut value = vec![STATE_VERSION];
            rows.iter().for_each(|row| value.extend_from_slice(&row.to_be_bytes()));
            let entry = (LIST, side, self.restoring.lists);
            self.restoring.lists += 1;
            self.restoring.pending.push((entry, Some(last)));
            entries.push(ChangelogEntry { key: entry_key(entry), value: Some(value), timestamp: self.time.max(0) });
        }
    }

    pub(super) fn write_metadata(&self) -> String {
        let mut offset_metadata = format!("{STATE_VERSION} {} {}", self.time, self.restoring.lists);
        for side in &self.sides {
            offset_metadata.push_str(&format!(" {} {}", side.time(), side.end()));
        }
        offset_metadata
    }

    /// An empty memo is that of a task which has committed nothing yet.
    pub(super) fn read_metadata(&mut self, offset_metadata: &str) -> Result<()> {
        if offset_metadata.is_empty() {
            return Ok(());
        }
        let mut words = offset_metadata.split(' ');
        if words.next() != Some(STATE_VERSION.to_string().as_str()) {
            return Err(broken("memo has an unknown version"));
        }
        let mut number = || words.next().and_then(|w| w.parse::<i64>().ok()).ok_or_else(|| broken("memo is cut off"));
        self.time = number()?.max(NEVER);
        self.saved = self.time;
        self.restoring.lists = number()?.max(0) as u64;
        self.restoring.saved_lists = self.restoring.lists;
        for side in [0, 1] {
            self.sides[side].set_time(number()?.max(NEVER));
            let end = number()?.max(0) as u64;
            if self.sides[side].end() < end {
                // All rows before were taken back: numbers continue where they ended.
                if self.sides[side].range().0 != self.sides[side].end() {
                    return Err(broken("rows are missing"));
                }
                self.sides[side].begin(end);
            }
        }
        Ok(())
    }

    /// Takes one changelog entry. Blocks of a side come in the order of their rows, and a list after the rows that it
    /// names: they go into the buffers at once, and from there into files.
    pub(super) fn take_entry(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let entry = split_key(key)?;
        let Some(value) = value else {
            let last = self.restoring.written.remove(&entry);
            // Blocks are taken back from the oldest on.
            if let ((BLOCK, side, _), Some(last)) = (entry, last) {
                self.sides[side].release(last + 1);
            }
            return Ok(());
        };
        let (version, value) = value.split_first().ok_or_else(|| broken("entry is empty"))?;
        self.restoring.unfinished = true;
        let (kind, side, number) = entry;
        let last = match (kind, *version) {
            (BLOCK, STATE_VERSION) => self.restore_block(side, number, value)?,
            (BLOCK, SNAPSHOT_VERSION) => self.restore_copied_block(side, value)?,
            (LIST, STATE_VERSION) => self.restore_list(side, value)?,
            _ => return Err(broken("entry has an unknown version")),
        };
        self.restoring.written.insert(entry, last);
        // Nothing goes before the time is known, but what does not fit into memory leaves it.
        self.sides[side].commit(NEVER);
        self.sides[side].spill(&self.lookup)
    }

    /// What was restored is committed, and what waited waits.
    pub(super) fn finish_restore(&mut self) -> Result<()> {
        if std::mem::take(&mut self.restoring.unfinished) {
            self.wait_again();
        }
        Ok(())
    }

    /// Takes the rows of a block, unless they are there already; returns its last row.
    fn restore_block(&mut self, side: usize, number: u64, rows: &[u8]) -> Result<u64> {
        let mut end = number;
        for batch in StreamReader::try_new(rows, None)? {
            let batch = batch?;
            let first = end;
            end += batch.num_rows() as u64;
            let held = self.sides[side].range().0..self.sides[side].end();
            if !held.is_empty() && end <= held.end {
                continue;
            }
            let (extra, columns) = batch.columns().split_at(3.min(batch.num_columns()));
            let [times, waits, indexed] = extra else { return Err(broken("a block has too few columns")) };
            let times = times.as_primitive_opt::<Int64Type>().ok_or_else(|| broken("a block has no times"))?;
            let flags = [waits, indexed].map(|c| c.as_boolean_opt());
            let [Some(waits), Some(indexed)] = flags else { return Err(broken("a block has no states")) };
            let buffer = &mut self.sides[side];
            let types = columns.iter().map(|c| c.data_type());
            if !types.eq(buffer.types()) {
                return Err(broken("a block has other columns than this query"));
            }
            if buffer.end() != first {
                if !held.is_empty() {
                    return Err(broken("blocks do not follow each other"));
                }
                buffer.begin(first);
            }
            let keys = self.lookup.read(columns)?;
            for row in 0..batch.num_rows() {
                let entry = indexed.value(row).then(|| (keys.probe(row), keys.bytes(row)));
                buffer.push_row(times.value(row), entry);
                if waits.value(row) {
                    buffer.set_state(first + row as u64, WAITING);
                }
            }
            buffer.push_block(first, columns.to_vec())?;
        }
        Ok(end.saturating_sub(1))
    }

    /// Takes a block of a snapshot; returns its last row.
    fn restore_copied_block(&mut self, side: usize, value: &[u8]) -> Result<u64> {
        let (head, rows) =
            value.split_first_chunk::<SNAPSHOT_HEAD_BYTES>().ok_or_else(|| broken("a block is cut off"))?;
        let (head, _) = head.as_chunks::<8>();
        let [first, last] = [head[0], head[1]].map(u64::from_be_bytes);
        let buffer = &mut self.sides[side];
        if first > buffer.end() && buffer.held() > 0 && buffer.is_in_memory() {
            // The rows that were copied before were dropped until this block was copied.
            buffer.restart(first);
        }
        if !rows.is_empty() {
            self.restore_block(side, first, rows)?;
        }
        Ok(last)
    }

    fn restore_list(&mut self, side: usize, value: &[u8]) -> Result<u64> {
        let (rows, rest) = value.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(broken("a list is cut off"));
        }
        let buffer = &mut self.sides[side];
        let mut last = 0;
        for row in rows.iter().map(|r| u64::from_be_bytes(*r)) {
            last = last.max(row);
            if row >= buffer.range().0 && row < buffer.end() {
                buffer.set_state(row, RESOLVED);
            }
        }
        Ok(last)
    }

    /// The rows that wait, from their states.
    pub(super) fn wait_again(&mut self) {
        for side in [0, 1] {
            self.waiting[side] = self.sides[side].waiting().map(Reverse).collect::<BinaryHeap<_>>();
        }
        self.touched.clear();
        self.restoring.abort();
    }
}

fn split_key(key: &[u8]) -> Result<Entry> {
    match key.split_first_chunk::<2>() {
        Some(([kind @ (BLOCK | LIST), side @ (0 | 1)], number)) => {
            let number = number.try_into().map_err(|_| broken("key has not its length"))?;
            Ok((*kind, usize::from(*side), u64::from_be_bytes(number)))
        }
        _ => Err(broken("key is of an unknown kind")),
    }
}

fn block_bytes(buffer: &Buffer, first: u64, columns: Vec<ArrayRef>) -> Result<Vec<u8>> {
    let mut bytes = vec![STATE_VERSION];
    bytes.extend(rows_bytes(buffer, first, columns)?);
    Ok(bytes)
}

/// Rows from `first` on, with their times and states.
pub(super) fn rows_bytes(buffer: &Buffer, first: u64, columns: Vec<ArrayRef>) -> Result<Vec<u8>> {
    let rows = columns.first().map_or(0, |c| c.len()) as u64;
    let at = (first - buffer.base) as usize;
    let times = Int64Array::from(buffer.times[at..at + rows as usize].to_vec());
    let waits: BooleanArray = (first..first + rows).map(|row| Some(buffer.state(row) != RESOLVED)).collect();
    let indexed: BooleanArray = (first..first + rows).map(|row| Some(buffer.is_indexed(row))).collect();
    let extra: [ArrayRef; 3] = [Arc::new(times), Arc::new(waits), Arc::new(indexed)];
    stream_bytes(extra.into_iter().chain(columns).collect())
}

/// State that this version cannot read: the caller rebuilds it from the input.
fn broken(what: &str) -> Error {
    Error::data("stored join state cannot be used").with_detail(what)
}
