//! What outlives a step: changelog entries, restoring from them, the undo set, the memo.
//!
//! ```text
//! key:    key bytes in the internal key format | window start, 8 bytes big-endian (windowed only)
//! value:  version, 1 byte | rowtime | accumulator words     (8 bytes each, big-endian) | length, bytes | length, bytes ...
//! memo:   version, stream time, late rows, arrivals, separated by blanks
//! ```

use super::AggregateOperator;
use crate::error::Result;
use crate::execute::operator::OperatorSize;
use crate::execute::state::ChangelogEntry;
use crate::execute::state::group_codec::{MetadataReader, STATE_VERSION, broken};
use crate::execute::state::keys::GroupRef;
use crate::mutant::{self, Mutant};
use crate::types::time::NEVER;

/// Groups restored at a time: bounds the columns that are held beside the entries.
const RESTORE_ROWS: usize = 2048;

/// Bytes of a window start in a key.
const START_BYTES: usize = 8;

impl AggregateOperator {
    /// Entries for every group touched since the last commit and for every committed group whose window closed.
    pub(super) fn write_changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        let mut alive: Vec<GroupRef> = Vec::new();
        for image in self.images.chunks_exact(2 + self.arena.width) {
            let group = (image[0] as u32, image[1] as u32);
            if !self.segments.closed().contains(&group.0) {
                alive.push(group);
            }
        }
        for number in self.segments.open() {
            let segment = self.segments.get(number);
            alive.extend((segment.committed..segment.keys.len()).map(|nth| (number, nth)));
        }
        let mut gone: Vec<GroupRef> = Vec::new();
        for &number in self.segments.closed() {
            gone.extend((0..self.segments.get(number).committed).map(|nth| (number, nth)));
        }
        self.write_entries(&alive, true, entries)?;
        self.write_entries(&gone, false, entries)
    }

    fn write_entries(&mut self, groups: &[GroupRef], alive: bool, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        let keys = self.layout.encode(&self.segments, groups)?;
        for (i, &(number, nth)) in groups.iter().enumerate() {
            let segment = self.segments.get(number);
            let words = self.arena.row(segment.slot(nth));
            let mut key = keys.get(i).to_vec();
            if self.windows.is_some() {
                key.extend_from_slice(&segment.start.to_be_bytes());
            }
            let value = alive.then(|| self.handles.state_bytes(words, &self.heap));
            entries.push(ChangelogEntry { key, value, timestamp: words[0] });
        }
        Ok(())
    }

    /// Puts the entries that `restore` took into the state, as committed.
    pub(super) fn finish_restore(&mut self) -> Result<()> {
        let entries = self.restoring.drain();
        if entries.is_empty() {
            return Ok(());
        }
        for chunk in entries.chunks(RESTORE_ROWS) {
            self.restore_chunk(chunk)?;
        }
        self.segments.commit(&mut self.arena);
        self.heap.commit();
        Ok(())
    }

    fn restore_chunk(&mut self, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let split = |key: &'_ [u8]| -> Result<(usize, i64)> {
            if self.windows.is_none() {
                return Ok((key.len(), 0));
            }
            let (_, start) = key.split_last_chunk::<START_BYTES>().ok_or_else(|| broken("key has no window start"))?;
            Ok((key.len() - START_BYTES, i64::from_be_bytes(*start)))
        };
        let parts = entries.iter().map(|(key, _)| split(key)).collect::<Result<Vec<_>>>()?;
        let columns = self.layout.decode(entries.iter().zip(&parts).map(|((key, _), part)| &key[..part.0]))?;
        let keys = self.layout.read(&columns)?;
        for (row, ((_, value), &(_, start))) in entries.iter().zip(&parts).enumerate() {
            let number = self.segments.at(start);
            let segment = self.segments.get_mut(number);
            let (nth, _) = segment.find_or_insert(keys.probe(row), keys.bytes(row), &mut self.arena);
            let slot = segment.slot(nth);
            self.handles.read_state(value, self.arena.row_mut(slot), &mut self.heap)?;
        }
        Ok(())
    }

    /// Everything as it was at the last commit. Groups made since then, and their windows, vanish.
    pub(super) fn roll_back(&mut self) {
        for image in self.images.chunks_exact(2 + self.arena.width) {
            let slot = self.segments.get(image[0] as u32).slot(image[1] as u32);
            let at = slot as usize * self.arena.width;
            self.arena.words[at..at + self.arena.width].copy_from_slice(&image[2..]);
        }
        if !mutant::on(Mutant::UndoKept) {
            self.images.clear();
        }
        self.restart_panes();
        self.segments.abort(&mut self.arena);
        self.heap.abort();
        (self.time, self.late) = self.saved;
        self.changed = super::Changed::default();
        self.emission = self.emission.wrapping_add(1);
        self.epoch = self.epoch.wrapping_add(1);
    }

    pub(super) fn write_metadata(&self) -> String {
        format!("{STATE_VERSION} {} {} {}", self.time, self.late, self.heap.arrivals())
    }

    pub(super) fn read_metadata(&mut self, offset_metadata: &str) -> Result<()> {
        self.restart_panes();
        let Some(mut offset_metadata) = MetadataReader::open(offset_metadata)? else { return Ok(()) };
        self.time = offset_metadata.number()?.max(NEVER);
        self.late = offset_metadata.number()?.max(0) as u64;
        if mutant::on(Mutant::StreamTimeLost) {
            self.time = NEVER;
        }
        self.saved = (self.time, self.late);
        // A query without such aggregates, made by an earlier version, has not counted.
        self.heap.set_arrivals(offset_metadata.number().unwrap_or(0));
        Ok(())
    }

    /// Groups of the open windows, and the memory of all groups.
    pub(super) fn measure(&self) -> OperatorSize {
        let open = self.segments.open().map(|number| &self.segments.get(number).keys);
        let (keys, tables) =
            open.fold((0, 0), |(keys, bytes), table| (keys + table.len() as usize, bytes + table.size()));
        OperatorSize::new(keys, tables + self.arena.size() + self.heap.size())
    }

    /// Frees the bytes of groups whose window closed, as of this commit.
    pub(super) fn release_closed(&mut self) {
        if self.handles.is_empty() {
            return;
        }
        for &number in self.segments.closed() {
            let segment = self.segments.get(number);
            for nth in 0..segment.keys.len() {
                self.handles.release(self.arena.row(segment.slot(nth)), &mut self.heap);
            }
        }
    }
}
