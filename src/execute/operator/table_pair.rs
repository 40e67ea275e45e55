//! The state of a join of two tables: the rows of both, and the joined rows that wait for an emission.
//!
//! Both tables share one changelog, in which the first byte of a key names the table: 0 left, 1 right. A commit, an abort and
//! a restore concern both tables and the cache at once.

use super::record_cache::RecordCache;
use super::{EmitMode, OperatorOutput, OperatorSize, SnapshotPlace};
use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::table_store::TableStore;
use crate::types::Column;

/// Both tables of a join.
#[derive(Debug)]
pub(super) struct TablePair {
    /// Left and right table.
    pub(super) stores: [TableStore; 2],
    /// Joined rows on their way out.
    pub(super) cache: RecordCache,
}

impl TablePair {
    /// Of these tables; `key_format` and `key` are those of the joined rows.
    pub(super) fn new(
        stores: [TableStore; 2],
        mode: EmitMode,
        key_format: Format,
        key: &[Column],
    ) -> Result<TablePair> {
        Ok(TablePair { stores, cache: RecordCache::new(mode, key_format, key)? })
    }

    /// Frees what no commit needs any more; before each step.
    pub(super) fn prepare(&mut self) -> Result<()> {
        self.stores.iter_mut().try_for_each(TableStore::prepare)
    }

    /// How much both tables keep.
    pub(super) fn size(&self) -> OperatorSize {
        self.stores.iter().map(|store| store.size()).map(|(keys, bytes)| OperatorSize::new(keys, bytes)).sum()
    }

    /// Rows of both tables.
    pub(super) fn alive(&self) -> u64 {
        self.stores.iter().map(TableStore::alive).sum()
    }

    /// Appends entries of the left table's rows, then of the right one's; see [`super::Operator::snapshot`].
    pub(super) fn snapshot(&mut self, place: &mut SnapshotPlace, entries: &mut EntryBatch) -> Result<bool> {
        while let Some(store) = self.stores.get_mut(place.part as usize) {
            if !store.snapshot(&mut place.next, &[place.part as u8], entries)? {
                return Ok(false);
            }
            *place = SnapshotPlace { part: place.part + 1, next: 0 };
        }
        Ok(true)
    }

    /// Writes the joined rows that wait.
    pub(super) fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        self.cache.emit(out)
    }

    /// Appends what changed in both tables since the last commit.
    pub(super) fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        for (tag, store) in self.stores.iter_mut().enumerate() {
            let first = entries.len();
            store.changelog(entries)?;
            entries[first..].iter_mut().for_each(|entry| entry.key.insert(0, tag as u8));
        }
        Ok(())
    }

    /// What was done since the last commit is durable.
    pub(super) fn commit(&mut self) {
        debug_assert!(self.cache.is_empty(), "a commit emits first");
        self.stores.iter_mut().for_each(TableStore::commit);
    }

    /// Undoes what was done since the last commit.
    pub(super) fn abort(&mut self) {
        self.cache.abort();
        self.stores.iter_mut().for_each(TableStore::abort);
    }

    /// Hands a changelog entry to the table that it belongs to.
    pub(super) fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        let unknown = || Error::data("a stored row of a join has no side");
        let (tag, key) = key.split_first().ok_or_else(unknown)?;
        let store = self.stores.get_mut(usize::from(*tag)).ok_or_else(unknown)?;
        store.restore(key, value, timestamp)
    }

    /// Ends a restore.
    pub(super) fn finish_restore(&mut self) -> Result<()> {
        self.stores.iter_mut().try_for_each(TableStore::finish_restore)
    }
}
