//! A table in FROM: every change is passed on with the row that it replaces.
//!
//! ```text
//! rows (WHERE, projection)  ->  store: key -> the row as it was    ->  old, new   ->  [by group: old group, new group]
//! 1 | {"V": 7}                  1 -> 5                                 1: 5 -> 7
//! 1 | {"V": -1}  (filtered)     1 -> 7                                 1: 7 -> gone, a tombstone
//! 1 | {"V": -2}  (filtered)     1 -> gone                              no row
//! ```
//!
//! What is stored is the row after WHERE and projection: only what the rest of the query reads. Where just the tombstones are
//! asked for (WHERE in a query without GROUP BY), that is no column at all, only whether the row was there.
//!
//! Rows that keep their key are folded here in [`EmitMode::LatestPerKey`]; of those that go to groups every change is written, and the
//! grouping behind it folds.

use super::record_cache::RecordCache;
use super::{EmitMode, Operator, OperatorOutput, OperatorSize, SnapshotPlace};
use crate::error::Result;
use crate::execute::change::{BadRow, ChangeBatch, RowImage};
use crate::execute::pipeline::TableSpec;
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::table_store::{RowRef, StoredRow, TableStore};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, make_comparator};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{SortOptions, interleave, nullif, take};
use arrow::datatypes::Int64Type;
use std::cmp::Ordering;

/// Rows looked up per pass.
const PASS_ROWS: usize = 2048;

/// The operator.
#[derive(Debug)]
pub struct TableOperator {
    store: TableStore,
    /// How many of the columns are group keys; 0 = rows keep their key.
    groups: usize,
    /// Nothing is stored but that the row is there.
    bare: bool,
    cache: RecordCache,
}

impl TableOperator {
    /// The operator for one partition of a table.
    pub fn new(spec: &TableSpec, mode: EmitMode) -> Result<TableOperator> {
        let mode = if spec.groups == 0 { mode } else { EmitMode::EveryChange };
        Ok(TableOperator {
            cache: RecordCache::new(mode, spec.key_format, &spec.key)?,
            store: TableStore::new(spec.key_format, &spec.key, &spec.columns)?,
            groups: spec.groups,
            bare: spec.columns.is_empty(),
        })
    }

    /// Puts the batch into the store; returns what each row replaced.
    fn replace(&mut self, batch: &ChangeBatch, new: &RowImage, out: &mut OperatorOutput) -> Result<Vec<StoredRow>> {
        let chunk = self.store.load(new, batch.len())?;
        let identity = batch.identity();
        let keys = self.store.read(&identity)?;
        let mut before = Vec::with_capacity(batch.len());
        let (mut probes, mut nths) = (Vec::with_capacity(PASS_ROWS), Vec::new());
        for first in (0..batch.len()).step_by(PASS_ROWS) {
            let rows = first..batch.len().min(first + PASS_ROWS);
            probes.clear();
            probes.extend(rows.clone().map(|row| keys.probe(row)));
            self.store.warm(&probes, &mut nths);
            for row in rows {
                if !batch.has_key(row) {
                    let reason = "a table's row without a key".to_owned();
                    out.bad.push(BadRow { seq: batch.seq[row], reason });
                    before.push(StoredRow::UNKNOWN);
                    continue;
                }
                let key = (probes[row - first], keys.bytes(row));
                before.push(self.store.put(key, chunk, row, new.has(row), batch.rowtime[row]).1);
            }
        }
        Ok(before)
    }
}

impl Operator for TableOperator {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        self.store.prepare()?;
        let Some(batch) = ports.first().copied().flatten().filter(|b| !b.is_empty()) else { return Ok(()) };
        let new = grouped_only(batch, self.groups);
        let stored =
            RowImage { columns: if self.bare { vec![] } else { new.columns.clone() }, present: new.present.clone() };
        let before = self.replace(batch, &stored, out)?;
        let places: Vec<RowRef> = before.iter().map(|e| e.place).collect();
        let changes = ChangeBatch { new, old: Some(self.store.gather(&places)?), ..batch.clone() };
        let written = match self.groups {
            0 => changed(changes)?,
            groups => regroup(&changes, groups)?,
        };
        let had = written.old.as_ref().and_then(|old| old.present.as_ref());
        let had = had.map_or_else(|| BooleanBuffer::new_set(written.len()), |p| p.inner().clone());
        let written = if self.bare { ChangeBatch { old: None, ..written } } else { written };
        self.cache.push(written, &had, out)
    }

    fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        self.cache.emit(out)
    }

    fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        self.store.changelog(entries)
    }

    fn commit(&mut self) {
        debug_assert!(self.cache.is_empty(), "a commit emits first");
        self.store.commit();
    }

    fn abort(&mut self) {
        self.cache.abort();
        self.store.abort();
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.store.restore(key, value, timestamp)
    }

    fn living(&self) -> Option<u64> {
        Some(self.store.alive())
    }

    fn snapshot(&mut self, place: &mut SnapshotPlace, entries: &mut EntryBatch) -> Result<bool> {
        self.store.snapshot(&mut place.next, &[], entries)
    }

    fn restore_metadata(&mut self, _memo: &str) -> Result<()> {
        self.store.finish_restore()
    }

    fn size(&self) -> OperatorSize {
        let (keys, bytes) = self.store.size();
        OperatorSize::new(keys, bytes)
    }
}

/// The new rows that belong to a group: none of the first `groups` columns is NULL.
fn grouped_only(batch: &ChangeBatch, groups: usize) -> RowImage {
    let mut present = batch.new.present.clone();
    if let Some(keyed) = &batch.key_present {
        present = NullBuffer::union(present.as_ref(), Some(keyed));
    }
    for column in &batch.new.columns[..groups] {
        present = NullBuffer::union(present.as_ref(), column.logical_nulls().as_ref());
    }
    RowImage { columns: batch.new.columns.clone(), present: present.filter(|p| p.null_count() > 0) }
}

/// Rows that had an image or have one now.
fn changed(changes: ChangeBatch) -> Result<ChangeBatch> {
    let (Some(new), Some(Some(old))) = (&changes.new.present, changes.old.as_ref().map(|o| &o.present)) else {
        return Ok(changes);
    };
    let some: BooleanBuffer = new.inner() | old.inner();
    if some.has_false() { changes.filter(&some) } else { Ok(changes) }
}

/// One row for each group that a change touches: the old one first; only one if the row stays in its group.
fn regroup(changes: &ChangeBatch, groups: usize) -> Result<ChangeBatch> {
    let none = RowImage::default();
    let (new, old) = (&changes.new, changes.old.as_ref().unwrap_or(&none));
    let stays = same_group(&new.columns[..groups], &old.columns[..groups])?;
    let mut rows = Vec::with_capacity(changes.len());
    // Which image gives the group's key, and which ones take part.
    let (mut from, mut leaves, mut joins) = (Vec::new(), Vec::new(), Vec::new());
    let mut push = |row: usize, left: bool, joined: bool| {
        rows.push(row as u32);
        from.push((usize::from(!joined), row));
        leaves.push(left);
        joins.push(joined);
    };
    for row in 0..changes.len() {
        match (old.has(row), new.has(row)) {
            (true, true) if !stays.value(row) => {
                push(row, true, false);
                push(row, false, true);
            }
            (false, false) => {}
            (left, joined) => push(row, left, joined),
        }
    }
    let key = (0..groups).map(|i| Ok(interleave(&[new.columns[i].as_ref(), old.columns[i].as_ref()], &from)?));
    let key = key.collect::<Result<Vec<_>>>()?;
    let rows = UInt32Array::from(rows);
    let image = |side: &RowImage, there: Vec<bool>| -> Result<RowImage> {
        let present = Some(NullBuffer::from(there)).filter(|p| p.null_count() > 0);
        let columns = side.columns[groups..].iter().map(|c| without(take(c, &rows, None)?, present.as_ref()));
        Ok(RowImage { columns: columns.collect::<Result<_>>()?, present })
    };
    let picked = rows.values().iter().map(|&r| r as usize);
    Ok(ChangeBatch {
        key,
        key_present: None,
        new: image(new, joins)?,
        old: Some(image(old, leaves)?),
        rowtime: picked.clone().map(|r| changes.rowtime[r]).collect::<Vec<_>>().into(),
        window: None,
        seq: picked.map(|r| changes.seq[r]).collect::<Vec<_>>().into(),
    })
}

/// Rows with the same values in both lists of columns; says nothing about rows without one of the images. Doubles as Java
/// compares them.
fn same_group(new: &[ArrayRef], old: &[ArrayRef]) -> Result<BooleanBuffer> {
    let rows = new.first().map_or(0, |c| c.len());
    let mut all: Option<BooleanBuffer> = None;
    for (n, o) in new.iter().zip(old) {
        let same = match (n.as_primitive_opt::<Int64Type>(), o.as_primitive_opt::<Int64Type>()) {
            (Some(n), Some(o)) => {
                let (n, o) = (n.values(), o.values());
                BooleanBuffer::collect_bool(rows, |row| n[row] == o[row])
            }
            _ => {
                let compare = make_comparator(n, o, SortOptions::default())?;
                BooleanBuffer::collect_bool(rows, |row| compare(row, row) == Ordering::Equal)
            }
        };
        all = Some(all.map_or_else(|| same.clone(), |all| &all & &same));
    }
    Ok(all.unwrap_or_else(|| BooleanBuffer::new_set(rows)))
}

/// NULL where there is no image.
fn without(column: ArrayRef, present: Option<&NullBuffer>) -> Result<ArrayRef> {
    let Some(present) = present else { return Ok(column) };
    if column.data_type().is_nested() {
        let rows = (0..column.len() as u32).map(|row| present.is_valid(row as usize).then_some(row));
        return Ok(take(&column, &rows.collect::<UInt32Array>(), None)?);
    }
    Ok(nullif(&column, &BooleanArray::new(!present.inner(), None))?)
}
