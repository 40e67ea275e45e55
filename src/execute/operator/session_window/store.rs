//! What outlives a step: changelog entries, the undo of an epoch, the memo. `restore` takes the entries back.
//!
//! ```text
//! key:    key bytes in the internal key format | session end | session start     (8 bytes each, big-endian)
//! value:  see `state_bytes`; the rowtime is the session's end
//! memo:   version, stream time, late rows, arrivals, separated by blanks
//! ```

use super::SessionWindowOperator;
use super::index::{NIL, Session};
use crate::error::Result;
use crate::execute::operator::SnapshotPlace;
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::group_codec::{MetadataReader, STATE_VERSION};
use crate::execute::state::key_table::KeyTable;
use crate::types::time::NEVER;

/// With fewer keys than this, those without a session are not looked for.
pub(super) const CROWDED_KEYS_MIN: u32 = 4096;

/// Slots of a snapshot whose keys are encoded together.
const SNAPSHOT_SLOTS: u32 = 2048;

impl SessionWindowOperator {
    /// Entries for every session touched since the last commit, under its old bounds, its new ones, or both.
    pub(super) fn write_changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        let mut gone: Vec<Session> = Vec::new();
        let mut alive: Vec<u32> = Vec::new();
        for &(slot, was) in self.index.images() {
            let is = self.index.get(slot);
            if !is.is_alive() || (is.start, is.end) != (was.start, was.end) {
                gone.push(was);
            }
            alive.extend(is.is_alive().then_some(slot));
        }
        alive.extend(self.index.made().iter().filter(|&&slot| self.index.get(slot).is_alive()));
        let keys = gone.iter().map(|s| s.key).chain(alive.iter().map(|&s| self.index.get(s).key));
        let columns = self.layout.columns_of(keys.map(|key| (&self.keys, key)))?;
        let keys = self.layout.encode_columns(&columns, gone.len() + alive.len())?;
        let entry = |i: usize, session: &Session, value: Option<Vec<u8>>| ChangelogEntry {
            key: entry_key(keys.get(i), session),
            value,
            timestamp: session.end,
        };
        entries.extend(gone.iter().enumerate().map(|(i, session)| entry(i, session, None)));
        for (i, &slot) in alive.iter().enumerate() {
            let value = self.handles.state_bytes(self.arena.row(slot), &self.heap);
            entries.push(entry(gone.len() + i, self.index.get(slot), Some(value)));
        }
        Ok(())
    }

    /// Entries of sessions, slot by slot: a session keeps its slot until it ends or is taken in by another.
    pub(super) fn write_snapshot(&mut self, place: &mut SnapshotPlace, entries: &mut EntryBatch) -> Result<bool> {
        let mut state = Vec::new();
        while !entries.is_full() {
            let most = SNAPSHOT_SLOTS.min(entries.room() as u32);
            let slots = place.next..self.index.slots().min(place.next.saturating_add(most));
            if slots.is_empty() {
                return Ok(true);
            }
            place.next = slots.end;
            let slots: Vec<u32> = slots.filter(|&slot| self.index.get(slot).is_alive()).collect();
            let columns = self.layout.columns_of(slots.iter().map(|&slot| (&self.keys, self.index.get(slot).key)))?;
            let keys = self.layout.encode_columns(&columns, slots.len())?;
            for (i, &slot) in slots.iter().enumerate() {
                let session = self.index.get(slot);
                state.clear();
                self.handles.write_state(self.arena.row(slot), &self.heap, &mut state);
                entries.push(&entry_key(keys.get(i), session), Some(&state), session.end);
            }
        }
        Ok(false)
    }

    /// What was done since the last commit stays.
    pub(super) fn keep(&mut self) {
        for &slot in self.index.retired() {
            self.handles.release(self.arena.row(slot), &mut self.heap);
        }
        self.index.commit();
        self.heap.commit();
        self.saved = (self.time, self.late);
        if self.keys.len() >= self.crowded_keys {
            self.forget_keys();
        }
        self.committed_keys = self.keys.len();
    }

    /// Keys that have no session any more go, if they are many.
    fn forget_keys(&mut self) {
        let live: Vec<u32> = self.index.live_keys().collect();
        if live.len() * 2 < self.keys.len() as usize {
            let mut kept = KeyTable::new(self.layout.is_number());
            let mut renamed = vec![NIL; self.keys.len() as usize];
            for key in live {
                renamed[key as usize] = kept.adopt(&self.keys, key);
            }
            self.index.rename_keys(&renamed);
            self.keys = kept;
        }
        self.crowded_keys = (self.keys.len().saturating_mul(2)).max(CROWDED_KEYS_MIN);
    }

    /// Everything as it was at the last commit.
    pub(super) fn roll_back(&mut self) {
        self.index.abort(self.committed_keys, &mut self.arena);
        self.keys.truncate(self.committed_keys);
        self.heap.abort();
        (self.time, self.late) = self.saved;
        self.events.clear();
        self.before.clear();
    }

    pub(super) fn write_metadata(&self) -> String {
        format!("{STATE_VERSION} {} {} {}", self.time, self.late, self.heap.arrivals())
    }

    pub(super) fn read_metadata(&mut self, offset_metadata: &str) -> Result<()> {
        let Some(mut offset_metadata) = MetadataReader::open(offset_metadata)? else { return Ok(()) };
        self.time = offset_metadata.number()?.max(NEVER);
        self.late = offset_metadata.number()?.max(0) as u64;
        self.saved = (self.time, self.late);
        self.heap.set_arrivals(offset_metadata.number()?);
        Ok(())
    }
}

fn entry_key(key: &[u8], session: &Session) -> Vec<u8> {
    [key, &session.end.to_be_bytes(), &session.start.to_be_bytes()].concat()
}
