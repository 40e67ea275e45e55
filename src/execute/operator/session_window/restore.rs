//! State from changelog entries, in the order in which they were written: a batch of them at a time, straight into the lists of
//! the keys.
//!
//! ```text
//! a 10..20     a 30..40     a 10..20 gone     a 30..40 gone     a 10..40          list of a: 10..40
//! ```
//!
//! A session is known by its key and its bounds: an entry of the same bounds overwrites it, and one without a value takes it
//! out of its list.

use super::SessionWindowOperator;
use super::index::NIL;
use crate::error::Result;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::group_codec::broken;
use crate::execute::state::keys::BatchKeys;
use crate::execute::state::restore_batch::{Restorable, RestoreBatch};

/// Bytes of the bounds in a key.
const BOUND_BYTES: usize = 16;

impl Restorable for SessionWindowOperator {
    fn waiting(&mut self) -> &mut RestoreBatch {
        &mut self.restoring
    }

    fn apply(&mut self, entries: &EntryBatch) -> Result<()> {
        let mut parts = Vec::with_capacity(entries.len());
        for entry in entries.iter() {
            let (key, bounds) =
                entry.key.split_last_chunk::<BOUND_BYTES>().ok_or_else(|| broken("key has no session bounds"))?;
            let (bounds, _) = bounds.as_chunks::<8>();
            parts.push((key, (i64::from_be_bytes(bounds[1]), i64::from_be_bytes(bounds[0]))));
        }
        let columns = self.layout.decode(parts.iter().map(|part| part.0))?;
        let keys = self.layout.read(&columns)?;
        for (row, (entry, &(_, bounds))) in entries.iter().zip(&parts).enumerate() {
            match entry.value {
                Some(value) => self.overwrite(&keys, row, bounds, value)?,
                None => self.remove(&keys, row, bounds),
            }
        }
        // Slots and bytes of what was replaced are free for what follows.
        self.keep();
        Ok(())
    }
}

impl SessionWindowOperator {
    /// What was restored is committed, and expires in time.
    pub(super) fn finish_restore(&mut self) -> Result<()> {
        if self.end_restore()? {
            self.index.requeue();
        }
        Ok(())
    }

    fn overwrite(&mut self, keys: &BatchKeys<'_>, row: usize, bounds: (i64, i64), value: &[u8]) -> Result<()> {
        let (key, _) = self.keys.find_or_insert(keys.probe(row), keys.bytes(row));
        let (previous, at) = self.find(key, bounds);
        let slot = if self.has_bounds(at, bounds) {
            self.handles.release(self.arena.row(at), &mut self.heap);
            at
        } else {
            let slot = self.index.place(key, bounds, at, &mut self.arena);
            self.index.link(key, previous, slot, &self.arena);
            slot
        };
        self.handles.read_state(value, self.arena.row_mut(slot), &mut self.heap)
    }

    fn remove(&mut self, keys: &BatchKeys<'_>, row: usize, bounds: (i64, i64)) {
        let Some(key) = self.keys.find(keys.probe(row), keys.bytes(row)) else { return };
        let (previous, at) = self.find(key, bounds);
        if self.has_bounds(at, bounds) {
            let next = self.index.get(at).next;
            self.index.link(key, previous, next, &self.arena);
            self.index.retire(at, &self.arena);
        }
    }

    /// Where a session with these bounds is in the list of its key, or where it belongs: the newer one before it, and itself or
    /// what follows.
    fn find(&mut self, key: u32, (start, end): (i64, i64)) -> (u32, u32) {
        let (mut previous, mut at) = (NIL, self.index.head(key));
        while at != NIL {
            let session = self.index.get(at);
            if (session.end, session.start) <= (end, start) {
                break;
            }
            (previous, at) = (at, session.next);
        }
        (previous, at)
    }

    fn has_bounds(&self, slot: u32, (start, end): (i64, i64)) -> bool {
        slot != NIL && {
            let session = self.index.get(slot);
            (session.start, session.end) == (start, end)
        }
    }
}
