//! What one side has in files: runs of older rows, those of them that wait, and the rows that the present step has read.
//!
//! Rows come here in order of arrival, when all of them are committed. What is shown is decided row by row, as in memory.

use super::RESOLVED;
use super::key_lookup::KeyLookup;
use super::sorted_run::{EXTRA, PAGE_ROWS, Run, RunWriter};
use crate::error::{Error, Result};
use crate::execute::state::key_table::Probe;
use crate::execute::state::spill_pool::MemoryReservation;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, UInt64Type};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Runs that share a file: a process may open about a thousand, and the room of a file is free when all its runs are gone.
const RUNS_PER_FILE: usize = 16;

/// Pages that stay in memory: those of neighbouring lookups.
const PAGES_KEPT: usize = 32;

/// Rows in files.
#[derive(Debug)]
pub(super) struct SpilledRows {
    reservation: MemoryReservation,
    /// In order of arrival.
    runs: Vec<Run>,
    /// Highest rowtime of all of them: most rows look for nothing here.
    latest: i64,
    /// The file of the last runs, and how many they are.
    file: Option<(Arc<File>, usize)>,
    /// Rows that waited when they came here, by ordinal.
    waits: BTreeMap<u64, Waiting>,
    /// Pages by their run's first ordinal and their number, oldest first.
    pages: VecDeque<(u64, usize, RecordBatch)>,
    /// Rows that the present step has read, and their places in `brought`.
    places: HashMap<u64, (usize, usize)>,
    brought: Vec<Vec<ArrayRef>>,
}

/// A row that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) state: u32,
    pub(super) rowtime: i64,
    /// Its place in the order of its run.
    pub(super) position: usize,
}

impl SpilledRows {
    pub(super) fn new(reservation: MemoryReservation) -> SpilledRows {
        SpilledRows {
            reservation,
            runs: Vec::new(),
            latest: i64::MIN,
            file: None,
            waits: BTreeMap::new(),
            pages: VecDeque::new(),
            places: HashMap::new(),
            brought: Vec::new(),
        }
    }

    /// Bytes that this side may have in memory.
    pub(super) fn allowed(&self) -> usize {
        self.reservation.bytes()
    }

    /// First ordinal here.
    pub(super) fn first(&self) -> Option<u64> {
        self.runs.first().map(|r| r.ordinals.start)
    }

    /// A run for these rows. An error says that the disk is in the way.
    pub(super) fn writer(&mut self, ordinals: Range<u64>, rows: usize) -> Result<RunWriter> {
        let (file, runs) = match self.file.take() {
            Some((file, runs)) if runs < RUNS_PER_FILE => (file, runs + 1),
            _ => (Arc::new(self.reservation.file()?), 1),
        };
        self.file = Some((file.clone(), runs));
        RunWriter::new(file, ordinals, rows)
    }

    /// Takes a run, and those of its rows that wait.
    pub(super) fn push(&mut self, run: Run, waits: impl Iterator<Item = (u64, Waiting)>) {
        self.latest = self.latest.max(run.latest);
        self.waits.extend(waits);
        self.runs.push(run);
    }

    /// The step is over: what it read is not needed any more.
    pub(super) fn forget_brought(&mut self) {
        self.places.clear();
        self.brought.clear();
    }

    pub(super) fn failed(&self, error: &Error) -> Error {
        self.reservation.failed(error)
    }

    /// Rows of a key with a rowtime in `low ..= high`.
    #[inline]
    pub(super) fn find(
        &mut self,
        lookup: &KeyLookup,
        key: (Probe, &[u8]),
        (low, high): (i64, i64),
        hits: &mut Vec<(i64, u64)>,
    ) -> Result<()> {
        if low > self.latest {
            return Ok(());
        }
        for at in 0..self.runs.len() {
            let run = &self.runs[at];
            if run.latest < low || run.earliest > high {
                continue;
            }
            for page in run.pages(key.0.home) {
                self.search((at, page), lookup, key, (low, high), hits)?;
            }
        }
        Ok(())
    }

    fn search(
        &mut self,
        page: (usize, usize),
        lookup: &KeyLookup,
        (probe, bytes): (Probe, &[u8]),
        (low, high): (i64, i64),
        hits: &mut Vec<(i64, u64)>,
    ) -> Result<()> {
        let page = self.page(page.0, page.1)?;
        let hashes = page.column(0).as_primitive::<UInt64Type>().values();
        let from = hashes.partition_point(|h| *h < probe.home);
        let to = from + hashes[from..].partition_point(|h| *h == probe.home);
        let times = page.column(1).as_primitive::<Int64Type>().values();
        let ordinals = page.column(2).as_primitive::<UInt64Type>().values();
        let indexed = page.column(3).as_boolean();
        let shown = |row: &usize| indexed.value(*row) && (low..=high).contains(&times[*row]);
        let rows: Vec<u32> = (from..to).filter(shown).map(|row| row as u32).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let columns = rows_of(&page, rows.clone())?;
        let keys = lookup.read(&columns)?;
        let same = |i: &usize| keys.probe(*i).tag == probe.tag && keys.bytes(*i) == bytes;
        for i in (0..rows.len()).filter(same) {
            let row = rows[i] as usize;
            hits.push((times[row], ordinals[row]));
            self.places.insert(ordinals[row], (self.brought.len(), i));
        }
        drop(keys);
        self.brought.push(columns);
        Ok(())
    }

    fn page(&mut self, run: usize, page: usize) -> Result<RecordBatch> {
        let first = self.runs[run].ordinals.start;
        if let Some(kept) = self.pages.iter().find(|p| p.0 == first && p.1 == page) {
            return Ok(kept.2.clone());
        }
        let batch = self.runs[run].read(page).map_err(|e| self.reservation.failed(&e))?;
        if self.pages.len() == PAGES_KEPT {
            self.pages.pop_front();
        }
        self.pages.push_back((first, page, batch.clone()));
        Ok(batch)
    }

    /// Reads a row that waits, so that [`SpilledRows::place`] knows it.
    pub(super) fn bring(&mut self, ordinal: u64) -> Result<()> {
        if self.places.contains_key(&ordinal) {
            return Ok(());
        }
        let missing = || Error::bug("a row of a join that waits is not in its file");
        let position = self.waits.get(&ordinal).ok_or_else(missing)?.position;
        let run = self.runs.partition_point(|r| r.ordinals.start <= ordinal).checked_sub(1).ok_or_else(missing)?;
        let page = self.page(run, position / PAGE_ROWS)?;
        let columns = rows_of(&page, vec![(position % PAGE_ROWS) as u32])?;
        self.places.insert(ordinal, (self.brought.len(), 0));
        self.brought.push(columns);
        Ok(())
    }

    /// The place of a row that was read.
    pub(super) fn place(&self, ordinal: u64) -> Result<(usize, usize)> {
        self.places.get(&ordinal).copied().ok_or_else(|| Error::bug("a row of a join was not read from its file"))
    }

    /// A column of rows that were read.
    pub(super) fn column(&self, brought: usize, column: usize) -> &dyn Array {
        self.brought[brought][column].as_ref()
    }

    pub(super) fn state(&self, ordinal: u64) -> u32 {
        self.waits.get(&ordinal).map_or(RESOLVED, |w| w.state)
    }

    /// Only rows that waited when they came here have a state.
    pub(super) fn set_state(&mut self, ordinal: u64, state: u32) -> u32 {
        self.waits.get_mut(&ordinal).map_or(RESOLVED, |w| std::mem::replace(&mut w.state, state))
    }

    /// A committed row that waits no more will not wait again.
    pub(super) fn settle(&mut self, ordinal: u64) {
        if self.waits.get(&ordinal).is_some_and(|w| w.state == RESOLVED) {
            self.waits.remove(&ordinal);
        }
    }

    /// Rows that wait, with their rowtimes.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.waits.iter().filter(|w| w.1.state != RESOLVED).map(|(ordinal, w)| (w.rowtime, *ordinal))
    }

    /// Drops runs of which no row is shown from `floor` on, or waits.
    pub(super) fn trim(&mut self, floor: i64, waiting: i64) {
        self.retain(|run| run.latest >= floor || run.latest >= waiting);
    }

    /// Drops runs all of whose rows come before this one.
    pub(super) fn release(&mut self, before: u64) {
        if self.retain(|run| run.ordinals.end > before) {
            let first = self.first().unwrap_or(before);
            self.waits = self.waits.split_off(&first);
        }
    }

    /// Whether a run was dropped.
    fn retain(&mut self, keeps: impl Fn(&Run) -> bool) -> bool {
        let before = self.runs.len();
        self.runs.retain(keeps);
        if self.runs.len() == before {
            return false;
        }
        self.latest = self.runs.iter().map(|r| r.latest).max().unwrap_or(i64::MIN);
        let runs = &self.runs;
        self.pages.retain(|p| runs.iter().any(|r| r.ordinals.start == p.0));
        true
    }
}

/// Some rows of a page, without the columns that precede theirs.
fn rows_of(page: &RecordBatch, rows: Vec<u32>) -> Result<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows);
    page.columns()[EXTRA..].iter().map(|c| Ok(take(c, &rows, None)?)).collect()
}
