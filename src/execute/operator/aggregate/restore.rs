//! State from changelog entries, in the order in which they were written: a batch of them at a time, straight into the groups.
//!
//! ```text
//! a@0 = 1   b@0 = 1   a@0 = 2   a@0 gone   b@0 gone      a@60000 = 1          window 0 is freed with its last group
//! ```
//!
//! A changelog holds a key as often as it changed, so that nothing is kept per entry: a later one overwrites the group. A group
//! leaves only with its window; until all groups of the window have left they are marked, because a key table forgets no key.

use super::AggregateOperator;
use crate::error::Result;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::group_codec::broken;
use crate::execute::state::keys::BatchKeys;
use crate::execute::state::restore_batch::{Restorable, RestoreBatch};
use crate::execute::state::segment::Segment;
use std::collections::BTreeMap;

/// Bytes of a window start in a key.
const START_BYTES: usize = 8;

/// What a restore needs to know until its end.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    waiting: RestoreBatch,
    /// Groups that left while others of their window did not, by segment.
    gone: BTreeMap<u32, Gone>,
}

/// Groups of a segment that left.
#[derive(Debug, Default)]
struct Gone {
    marks: Vec<bool>,
    count: u32,
}

impl Gone {
    fn mark(&mut self, nth: u32, gone: bool) {
        let nth = nth as usize;
        if nth >= self.marks.len() {
            self.marks.resize(nth + 1, false);
        }
        if self.marks[nth] != gone {
            self.marks[nth] = gone;
            self.count = if gone { self.count + 1 } else { self.count - 1 };
        }
    }

    fn holds(&self, nth: u32) -> bool {
        self.marks.get(nth as usize).copied().unwrap_or(false)
    }
}

impl Restorable for AggregateOperator {
    fn waiting(&mut self) -> &mut RestoreBatch {
        &mut self.restoring.waiting
    }

    fn apply(&mut self, entries: &EntryBatch) -> Result<()> {
        let parts = entries.iter().map(|entry| self.split_key(entry.key)).collect::<Result<Vec<_>>>()?;
        let columns = self.layout.decode(parts.iter().map(|part| part.0))?;
        let keys = self.layout.read(&columns)?;
        for (row, (entry, &(_, start))) in entries.iter().zip(&parts).enumerate() {
            match entry.value {
                Some(value) => self.overwrite(start, &keys, row, value)?,
                None => self.remove(start, &keys, row),
            }
        }
        // Overwritten states are never rolled back to.
        self.heap.commit();
        Ok(())
    }
}

impl AggregateOperator {
    /// What was restored is committed.
    pub(super) fn finish_restore(&mut self) -> Result<()> {
        if !self.end_restore()? {
            return Ok(());
        }
        for (number, gone) in std::mem::take(&mut self.restoring.gone) {
            self.sweep(number, &gone);
        }
        self.segments.commit(&mut self.arena);
        self.heap.commit();
        Ok(())
    }

    /// The group's key, and the start of its window.
    fn split_key<'a>(&self, key: &'a [u8]) -> Result<(&'a [u8], i64)> {
        if self.windows.is_none() {
            return Ok((key, 0));
        }
        let (key, start) = key.split_last_chunk::<START_BYTES>().ok_or_else(|| broken("key has no window start"))?;
        Ok((key, i64::from_be_bytes(*start)))
    }

    fn overwrite(&mut self, start: i64, keys: &BatchKeys<'_>, row: usize, value: &[u8]) -> Result<()> {
        let number = self.segments.at(start);
        let segment = self.segments.get_mut(number);
        let (nth, fresh) = segment.find_or_insert(keys.probe(row), keys.bytes(row), &mut self.arena);
        let words = self.arena.row_mut(segment.slot(nth));
        if !fresh {
            self.handles.release(words, &mut self.heap);
            if let Some(gone) = self.restoring.gone.get_mut(&number) {
                gone.mark(nth, false);
            }
        }
        self.handles.read_state(value, words, &mut self.heap)
    }

    fn remove(&mut self, start: i64, keys: &BatchKeys<'_>, row: usize) {
        let Some(number) = self.segments.find(start) else { return };
        let table = &self.segments.get(number).keys;
        let Some(nth) = table.find(keys.probe(row), keys.bytes(row)) else { return };
        let groups = table.len();
        let gone = self.restoring.gone.entry(number).or_default();
        gone.mark(nth, true);
        if gone.count == groups {
            self.restoring.gone.remove(&number);
            self.release_groups(number);
            self.segments.remove(number, &mut self.arena);
        }
    }

    /// Windows that the restored stream time closes are not part of the state: a snapshot may hold them when the changelog has
    /// forgotten their tombstones.
    pub(super) fn drop_closed(&mut self) {
        let Some(windows) = self.windows.filter(|_| self.panes.is_none()) else { return };
        while let Some((start, number)) = self.segments.first()
            && windows.is_closed(start, self.time)
        {
            self.release_groups(number);
            self.segments.remove(number, &mut self.arena);
        }
    }

    /// Frees the bytes of all groups of a segment.
    pub(super) fn release_groups(&mut self, number: u32) {
        if self.handles.is_empty() {
            return;
        }
        let segment = self.segments.get(number);
        for nth in 0..segment.keys.len() {
            self.handles.release(self.arena.row(segment.slot(nth)), &mut self.heap);
        }
    }

    /// Forgets the groups of a segment that left, although others stay.
    fn sweep(&mut self, number: u32, gone: &Gone) {
        if gone.count == 0 {
            return;
        }
        let (start, numbers) = (self.segments.get(number).start, self.layout.is_number());
        let old = self.segments.replace(number, Segment::new(start, numbers));
        for nth in 0..old.keys.len() {
            let from = old.slot(nth);
            if gone.holds(nth) {
                self.handles.release(self.arena.row(from), &mut self.heap);
                continue;
            }
            let kept = self.segments.get_mut(number);
            let (to, _) = kept.find_or_insert(old.keys.probe(nth), old.keys.bytes(nth), &mut self.arena);
            let (from, to) = (from as usize * self.arena.width, kept.slot(to) as usize * self.arena.width);
            self.arena.words.copy_within(from..from + self.arena.width, to);
        }
        old.release(&mut self.arena);
    }
}
