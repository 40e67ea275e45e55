//! [`EmitMode::LatestPerKey`] for tables whose operator writes its changes one by one: they wait here for the emission.
//!
//! ```text
//! changes since the last emission         emission: per key the first old and the last new, at the place of its first change
//! a: 1 -> 2   b: - -> 7   c: - -> 4       a: 1 -> 5   b: - -> 8          seq: the highest of all
//! a: 2 -> 5   b: 7 -> 8   c: 4 -> -       (c came and went)
//! ```
//!
//! A batch stays as it came; a key only remembers where its last row is. Once most rows that are held have been replaced,
//! the others are copied together, so that what is held follows from the number of keys, not of changes.
//!
//! Groupings do not need it: their state is the last value of each key already.

use super::{EmitMode, OperatorOutput};
use crate::catalog::Format;
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::state::key_table::KeyTable;
use crate::execute::state::keys::KeyLayout;
use crate::mutant::{self, Mutant};
use crate::types::Column;
use arrow::buffer::BooleanBuffer;

/// Replaced rows that are never worth a copy.
const DEAD_MIN: usize = 16_384;

/// Changes of a table on their way out.
#[derive(Debug)]
pub(crate) enum RecordCache {
    /// [`EmitMode::EveryChange`]: they are passed on at once.
    Off,
    /// [`EmitMode::LatestPerKey`]: they wait.
    On(Box<CachedChanges>),
}

/// Changes since the last emission.
#[derive(Debug)]
pub(crate) struct CachedChanges {
    layout: KeyLayout,
    keys: KeyTable,
    /// By ordinal of the key, which is the order of first changes.
    last: Vec<CachedKey>,
    batches: Vec<ChangeBatch>,
    /// Rows of `batches`.
    held: usize,
    /// Highest `seq`.
    seq: u64,
}

/// What is known of a key that has changed.
#[derive(Clone, Copy, Debug)]
struct CachedKey {
    /// There was a row before the first change.
    had: bool,
    /// Batch and row of the last change.
    at: (usize, usize),
}

impl RecordCache {
    /// For a table with this key, the bounds of a window included.
    pub(crate) fn new(mode: EmitMode, key_format: Format, key: &[Column]) -> Result<RecordCache> {
        if mode == EmitMode::EveryChange {
            return Ok(RecordCache::Off);
        }
        let layout = KeyLayout::new(key_format, key)?;
        let keys = KeyTable::new(layout.is_number());
        let cached = CachedChanges { layout, keys, last: Vec::new(), batches: Vec::new(), held: 0, seq: 0 };
        Ok(RecordCache::On(Box::new(cached)))
    }

    /// Whether changes are cached, so that `had` is read.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self, RecordCache::On(_))
    }

    /// Takes changes, in order; `had` = the rows whose key had a row before, worth something only if changes wait.
    pub(crate) fn push(&mut self, batch: ChangeBatch, had: &BooleanBuffer, out: &mut OperatorOutput) -> Result<()> {
        match self {
            _ if batch.is_empty() => {}
            RecordCache::Off => out.batches.push(batch),
            RecordCache::On(cached) => cached.push(batch, had)?,
        }
        Ok(())
    }

    /// Writes what waits.
    pub(crate) fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        let RecordCache::On(cached) = self else { return Ok(()) };
        if !cached.last.is_empty() {
            out.batches.extend(cached.folded()?.filter(|batch| !batch.is_empty()));
        }
        cached.clear();
        Ok(())
    }

    /// Forgets what waits: it will come again.
    pub(crate) fn abort(&mut self) {
        if let RecordCache::On(cached) = self
            && !mutant::on(Mutant::ChangesKept)
        {
            cached.clear();
        }
    }

    /// Nothing waits?
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            RecordCache::Off => true,
            RecordCache::On(cached) => cached.last.is_empty(),
        }
    }
}

impl CachedChanges {
    fn push(&mut self, batch: ChangeBatch, had: &BooleanBuffer) -> Result<()> {
        let identity = batch.identity();
        let keys = self.layout.read(&identity)?;
        let number = self.batches.len();
        for row in 0..batch.len() {
            let (nth, fresh) = self.keys.find_or_insert(keys.probe(row), keys.bytes(row));
            match fresh {
                true => self.last.push(CachedKey { had: had.value(row), at: (number, row) }),
                false => self.last[nth as usize].at = (number, row),
            }
        }
        self.held += batch.len();
        self.seq = self.seq.max(batch.seq[batch.len() - 1]);
        self.batches.push(ChangeBatch { old: None, ..batch });
        if self.held > 2 * self.last.len() + DEAD_MIN { self.condense() } else { Ok(()) }
    }

    /// Copies the last rows together.
    fn condense(&mut self) -> Result<()> {
        let rows: Vec<(usize, usize)> = self.last.iter().map(|last| last.at).collect();
        self.batches = vec![ChangeBatch::gather(&self.batches, &rows)?];
        self.last.iter_mut().enumerate().for_each(|(row, last)| last.at = (0, row));
        self.held = rows.len();
        Ok(())
    }

    fn folded(&self) -> Result<Option<ChangeBatch>> {
        let is = |last: &&CachedKey| last.had || self.batches[last.at.0].new.has(last.at.1);
        let rows: Vec<(usize, usize)> = self.last.iter().filter(is).map(|last| last.at).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let folded = ChangeBatch::gather(&self.batches, &rows)?;
        Ok(Some(ChangeBatch { seq: vec![self.seq; rows.len()].into(), ..folded }))
    }

    fn clear(&mut self) {
        if self.last.is_empty() {
            return;
        }
        self.keys = KeyTable::new(self.layout.is_number());
        self.last.clear();
        self.batches.clear();
        (self.held, self.seq) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::change::RowImage;
    use crate::types::SqlType;
    use arrow::array::{Array, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    /// `v` of keys 0, 1, 2, 0, ... from row `first` on.
    fn batch(first: i64, rows: i64) -> ChangeBatch {
        let all = first..first + rows;
        ChangeBatch {
            key: vec![Arc::new(all.clone().map(|i| i % 3).collect::<Int64Array>())],
            key_present: None,
            new: RowImage { columns: vec![Arc::new(all.clone().collect::<Int64Array>())], present: None },
            old: None,
            rowtime: all.clone().collect(),
            window: None,
            seq: all.map(|i| i as u64).collect(),
        }
    }

    #[test]
    fn what_is_held_follows_from_the_keys() {
        let mut cache =
            RecordCache::new(EmitMode::LatestPerKey, Format::Kafka, &[Column::key("K", SqlType::Bigint)]).unwrap();
        let (mut out, rows) = (OperatorOutput::default(), 1000);
        for first in (0..50_000).step_by(rows as usize) {
            cache.push(batch(first, rows), &BooleanBuffer::new_unset(rows as usize), &mut out).unwrap();
            let RecordCache::On(cached) = &cache else { panic!("it waits") };
            assert!(cached.held <= 2 * cached.last.len() + DEAD_MIN + rows as usize, "{}", cached.held);
        }
        cache.emit(&mut out).unwrap();
        assert!(cache.is_empty() && out.batches.len() == 1);
        let numbers = |column: &dyn Array| column.as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(numbers(&out.batches[0].key[0]), [0, 1, 2]);
        assert_eq!(numbers(&out.batches[0].new.columns[0]), [49_998, 49_999, 49_997]);
        assert_eq!(out.batches[0].seq, vec![49_999; 3]);
    }
}
