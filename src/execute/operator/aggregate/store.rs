//! What outlives a step: changelog entries, the undo set, the memo. `restore` takes the entries back.
//!
//! ```text
//! key:    key bytes in the internal key format | window start, 8 bytes big-endian (windowed only)
//! value:  version, 1 byte | rowtime | accumulator words     (8 bytes each, big-endian) | length, bytes | length, bytes ...
//! memo:   version, stream time, late rows, arrivals, separated by blanks
//! ```

use super::AggregateOperator;
use crate::error::Result;
use crate::execute::operator::{OperatorSize, SnapshotPlace};
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::group_codec::{MetadataReader, STATE_VERSION};
use crate::execute::state::keys::GroupRef;
use crate::mutant::{self, Mutant};
use crate::types::time::NEVER;

/// Groups of a snapshot whose keys are encoded together.
const SNAPSHOT_GROUPS: u32 = 2048;

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

    /// Entries of committed groups, segment by segment. A group keeps its place until its window is freed.
    pub(super) fn write_snapshot(&mut self, place: &mut SnapshotPlace, entries: &mut EntryBatch) -> Result<bool> {
        let mut state = Vec::new();
        while !entries.is_full() {
            if place.part >= self.segments.numbers() {
                return Ok(true);
            }
            let most = SNAPSHOT_GROUPS.min(entries.room() as u32);
            let groups = place.next..self.segments.committed(place.part).min(place.next.saturating_add(most));
            if groups.is_empty() {
                *place = SnapshotPlace { part: place.part + 1, next: 0 };
                continue;
            }
            place.next = groups.end;
            let groups: Vec<GroupRef> = groups.map(|nth| (place.part, nth)).collect();
            let keys = self.layout.encode(&self.segments, &groups)?;
            let segment = self.segments.get(place.part);
            for (i, &(_, nth)) in groups.iter().enumerate() {
                let words = self.arena.row(segment.slot(nth));
                state.clear();
                self.handles.write_state(words, &self.heap, &mut state);
                match self.windows {
                    None => entries.push(keys.get(i), Some(&state), words[0]),
                    Some(_) => {
                        let key = [keys.get(i), &segment.start.to_be_bytes()].concat();
                        entries.push(&key, Some(&state), words[0]);
                    }
                }
            }
        }
        Ok(false)
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
        self.drop_closed();
        // A query without such aggregates, made by an earlier version, has not counted.
        self.heap.set_arrivals(offset_metadata.number().unwrap_or(0));
        Ok(())
    }

    /// Groups of panes: a pane leaves when no window needs it any more, which the stream time alone does not say.
    pub(super) fn living_groups(&self) -> Option<u64> {
        let groups = |number| u64::from(self.segments.get(number).keys.len());
        self.panes.as_ref().map(|_| self.segments.open().map(groups).sum())
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
        for number in self.segments.closed().to_vec() {
            self.release_groups(number);
        }
    }
}
