//! Changelog entries on their way into a state that is restored: they wait until they make a batch, because keys are decoded column
//! by column.
//!
//! ```text
//! take_entry a, b, ... (a full batch)  -> apply       take_entry y, z     end_restore -> apply y, z -> true     end_restore -> false
//! ```
//!
//! Entries are applied in the order in which they were written: a later one of the same key replaces an earlier one. What a state
//! does with an entry, and what it has to do once at the end, is its own.

use super::entry_batch::EntryBatch;
use crate::error::Result;

/// Entries that wait, and whether others were applied before.
#[derive(Debug, Default)]
pub(crate) struct RestoreBatch {
    entries: EntryBatch,
    /// Entries were applied, and the restore has not ended.
    unfinished: bool,
}

/// A state that takes changelog entries.
pub(crate) trait Restorable {
    /// Where its entries wait.
    fn waiting(&mut self) -> &mut RestoreBatch;

    /// Puts entries into the state, as committed.
    fn apply(&mut self, entries: &EntryBatch) -> Result<()>;

    /// Takes one entry.
    fn take_entry(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        let waiting = self.waiting();
        waiting.entries.push(key, value, timestamp);
        if waiting.entries.is_full() { self.apply_waiting() } else { Ok(()) }
    }

    /// Puts the waiting entries into the state.
    fn apply_waiting(&mut self) -> Result<()> {
        let waiting = self.waiting();
        let mut entries = std::mem::take(&mut waiting.entries);
        waiting.unfinished = true;
        self.apply(&entries)?;
        entries.clear();
        self.waiting().entries = entries;
        Ok(())
    }

    /// Puts the last entries into the state, and returns whether a restore ends here. Called before each step: it costs two
    /// comparisons when there was none.
    fn end_restore(&mut self) -> Result<bool> {
        if !self.waiting().entries.is_empty() {
            self.apply_waiting()?;
        }
        let ends = self.waiting().unfinished;
        if ends {
            *self.waiting() = RestoreBatch::default();
        }
        Ok(ends)
    }
}
