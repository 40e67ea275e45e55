//! Snapshots of a join: an entry for each that the changelog has, in the order in which a restore needs them.
//!
//! ```text
//! changelog   B 0..9  B 10..19  R 12,15  B 20..29            snapshot   B 0..9: no rows  B 10..19: its rows, as they wait now
//! held        .......rows 10 .. 29                                      B 20..29  R: 15, its last row
//! ```
//!
//! The keys are those of the changelog, because the entries have to be taken back there once their rows are gone: a snapshot with other
//! blocks would leave them behind. A block whose rows are not held any more is therefore written without rows until its tombstone
//! is; a list is written with its last row only, since the states of all rows are in the blocks.
//!
//! The changelog behind a snapshot begins with blocks that are in it already. They are passed over.

use super::StreamStreamJoin;
use super::changelog::{BLOCK, Entry, SNAPSHOT_VERSION, STATE_VERSION, entry_key, rows_bytes};
use crate::error::{Error, Kind, Result};
use crate::execute::operator::SnapshotPlace;
use crate::execute::state::entry_batch::EntryBatch;
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use std::ops::Bound;

impl StreamStreamJoin {
    /// Entries of the changelog, in the order of their keys: blocks of both sides, then lists.
    pub(super) fn write_snapshot(&mut self, place: &mut SnapshotPlace, entries: &mut EntryBatch) -> Result<bool> {
        if place.next == 0 {
            (place.next, self.restoring.copied) = (1, None);
        }
        while !entries.is_full() {
            let from = self.restoring.copied.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.restoring.written.range((from, Bound::Unbounded)).next();
            let Some((entry, last)) = next.map(|(entry, last)| (*entry, *last)) else { return Ok(true) };
            self.restoring.copied = Some(entry);
            let value = if entry.0 == BLOCK { self.block(entry, last)? } else { self.list(last) };
            entries.push(&entry_key(entry), Some(&value), self.time.max(0));
        }
        Ok(false)
    }

    fn block(&self, (_, side, number): Entry, last: u64) -> Result<Vec<u8>> {
        let buffer = &self.sides[side];
        if !buffer.is_in_memory() {
            return Err(Error::new(Kind::Busy, "rows of a join are in files meanwhile, and are not copied"));
        }
        let first = number.max(buffer.base);
        let mut value = vec![SNAPSHOT_VERSION];
        value.extend_from_slice(&first.to_be_bytes());
        value.extend_from_slice(&last.to_be_bytes());
        let parts: Vec<Vec<ArrayRef>> = buffer.slices(first, last + 1).into_iter().map(|slice| slice.1).collect();
        let columns = match parts.as_slice() {
            [] => return Ok(value),
            [columns] => columns.clone(),
            _ => (0..buffer.types().len())
                .map(|column| {
                    let arrays: Vec<&dyn Array> = parts.iter().map(|part| part[column].as_ref()).collect();
                    Ok(concat(&arrays)?)
                })
                .collect::<Result<Vec<ArrayRef>>>()?,
        };
        value.extend(rows_bytes(buffer, first, columns)?);
        Ok(value)
    }

    fn list(&self, last: u64) -> Vec<u8> {
        let mut value = vec![STATE_VERSION];
        value.extend_from_slice(&last.to_be_bytes());
        value
    }
}
