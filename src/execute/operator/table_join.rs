//! Joins with tables by key: a table with a table, a stream with a table.
//!
//! ```text
//! LEFT JOIN of tables     L a=1  ->  a | 1 NULL          stream LEFT JOIN table     S a=1  ->  a | 1 NULL
//!                         R a=x  ->  a | 1 x                                        T a=x  ->  (nothing)
//!                         L a=-  ->  a | tombstone                                  S a=2  ->  a | 2 x
//!                         R a=-  ->  (nothing: there was no row, there is none)
//! ```
//!
//! Rows of both sides are taken in the order of their `seq`. A pass over them only moves places in the stores; the columns
//! are gathered afterwards, each once. A joined row of tables has the later of both times, one of a stream the stream's.
//! A tombstone leaves only for a joined row that was there.

use super::table_pair::TablePair;
use super::{EmitMode, Operator, OperatorOutput, OperatorSize, SnapshotPlace};
use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::change::{BadRow, ChangeBatch, RowImage};
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::key_table::Probe;
use crate::execute::state::keys::{BatchKeys, keyed};
use crate::execute::state::table_store::{RowRef, StoredRow, TableStore};
use crate::parse::statement::JoinKind;
use crate::types::Column;
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{interleave, take};

/// Keys looked up per pass.
const PASS_ROWS: usize = 2048;

/// Table with table.
#[derive(Debug)]
pub struct TableTableJoin {
    kind: JoinKind,
    tables: TablePair,
}

/// Stream with table: the stream's rows look up, the table's are remembered.
#[derive(Debug)]
pub struct StreamTableJoin {
    /// Rows that find nothing leave too.
    left: bool,
    store: TableStore,
}

/// Rows that leave a join: the i-th of all vectors belong together.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// Port and row that caused it: its key and its `seq`.
    pub(crate) from: Vec<(usize, usize)>,
    pub(crate) places: [Vec<RowRef>; 2],
    pub(crate) there: Vec<bool>,
    /// A joined row was there before.
    pub(crate) had: Vec<bool>,
    pub(crate) times: Vec<i64>,
}

impl Joined {
    pub(crate) fn push(&mut self, from: (usize, usize), places: [RowRef; 2], (had, there): (bool, bool), time: i64) {
        self.from.push(from);
        for (all, place) in self.places.iter_mut().zip(places) {
            all.push(if there { place } else { RowRef::GONE });
        }
        self.there.push(there);
        self.had.push(had);
        self.times.push(time);
    }

    /// As a batch, whose key columns are given.
    pub(crate) fn batch(
        self,
        ports: &[Option<&ChangeBatch>],
        stores: [&TableStore; 2],
        key: Vec<ArrayRef>,
    ) -> Result<ChangeBatch> {
        let mut columns = stores[0].gather(&self.places[0])?.columns;
        columns.extend(stores[1].gather(&self.places[1])?.columns);
        let seq = self.from.iter().map(|&(port, row)| ports[port].map_or(0, |b| b.seq[row])).collect::<Vec<_>>();
        Ok(ChangeBatch {
            key,
            key_present: None,
            new: RowImage { columns, present: Some(NullBuffer::from(self.there)).filter(|p| p.null_count() > 0) },
            old: None,
            rowtime: self.times.into(),
            window: None,
            seq: seq.into(),
        })
    }
}

/// The key columns of these rows of the ports.
pub(crate) fn key_columns(ports: &[Option<&ChangeBatch>], from: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
    let batches: Vec<&ChangeBatch> = ports.iter().flatten().copied().collect();
    // A port without a batch is not among the arrays: those behind it move up.
    let moved: Vec<usize> =
        ports.iter().scan(0, |n, p| Some(std::mem::replace(n, *n + usize::from(p.is_some())))).collect();
    let at: Vec<(usize, usize)> = from.iter().map(|&(port, row)| (moved[port], row)).collect();
    let width = batches.first().map_or(0, |b| b.key.len());
    (0..width)
        .map(|i| {
            let arrays: Vec<&dyn Array> = batches.iter().map(|b| b.key[i].as_ref()).collect();
            Ok(interleave(&arrays, &at)?)
        })
        .collect()
}

/// Rows of all ports in the order of `seq`, then port.
pub(crate) fn in_order<'a>(ports: &'a [Option<&'a ChangeBatch>]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut next = vec![0; ports.len()];
    std::iter::from_fn(move || {
        let waiting = ports.iter().enumerate().filter_map(|(port, batch)| {
            let seq = batch.as_ref().and_then(|b| b.seq.get(next[port]))?;
            Some((*seq, port))
        });
        let (_, port) = waiting.min()?;
        next[port] += 1;
        Some((port, next[port] - 1))
    })
}

/// The batch of a port, if it has rows.
fn rows<'a>(ports: &[Option<&'a ChangeBatch>], port: usize) -> Option<&'a ChangeBatch> {
    ports.get(port).copied().flatten().filter(|b| !b.is_empty())
}

/// A port's keys, and which of its rows have one.
pub(crate) struct PortKeys<'a> {
    keys: BatchKeys<'a>,
    probes: Vec<Probe>,
    keyed: Option<NullBuffer>,
}

impl<'a> PortKeys<'a> {
    /// The keys of a batch that will be looked up in `stores`; all of them have the same keys.
    pub(crate) fn of(stores: &[&TableStore], batch: &'a ChangeBatch) -> Result<PortKeys<'a>> {
        let first = stores.first().ok_or_else(|| Error::bug("keys are looked up nowhere"))?;
        let keys = first.read(&batch.key)?;
        let probes: Vec<Probe> = (0..batch.len()).map(|row| keys.probe(row)).collect();
        let mut nths = Vec::new();
        stores.iter().for_each(|store| probes.chunks(PASS_ROWS).for_each(|pass| store.warm(pass, &mut nths)));
        // A key of several columns is never NULL as a whole.
        let keyed = if batch.key.len() == 1 { keyed(batch) } else { batch.key_present.clone() };
        Ok(PortKeys { keys, probes, keyed })
    }

    /// How the row's key is looked up; `None` = it has none.
    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> Option<(Probe, &[u8])> {
        let has = self.keyed.as_ref().is_none_or(|k| k.is_valid(row));
        has.then(|| (self.probes[row], self.keys.bytes(row)))
    }
}

impl TableTableJoin {
    /// A join of two tables by `key`, with the value columns of each side.
    pub fn new(
        kind: JoinKind,
        key_format: Format,
        key: &[Column],
        columns: [&[Column]; 2],
        mode: EmitMode,
    ) -> Result<TableTableJoin> {
        let [left, right] = columns;
        let stores = [TableStore::new(key_format, key, left)?, TableStore::new(key_format, key, right)?];
        Ok(TableTableJoin { kind, tables: TablePair::new(stores, mode, key_format, key)? })
    }

    /// Does a joined row exist with these sides?
    fn exists(&self, left: RowRef, right: RowRef) -> bool {
        match self.kind {
            JoinKind::Inner => left.is_there() && right.is_there(),
            JoinKind::Left => left.is_there(),
            JoinKind::Right => right.is_there(),
            JoinKind::Full => left.is_there() || right.is_there(),
        }
    }

    fn join(&mut self, ports: &[Option<&ChangeBatch>; 2], out: &mut OperatorOutput) -> Result<Joined> {
        let mut chunks = [0; 2];
        let mut keys = [None, None];
        for (port, batch) in ports.iter().enumerate() {
            if let Some(batch) = batch {
                chunks[port] = self.tables.stores[port].load(&batch.new, batch.len())?;
                keys[port] = Some(PortKeys::of(&[&self.tables.stores[port], &self.tables.stores[1 - port]], batch)?);
            }
        }
        let mut joined = Joined::default();
        for (port, row) in in_order(ports) {
            let (Some(batch), Some(keys)) = (ports[port], &keys[port]) else { continue };
            let Some(key) = keys.get(row) else {
                out.bad.push(keyless(batch, row));
                continue;
            };
            let (time, there) = (batch.rowtime[row], batch.new.has(row));
            let (_, before) = self.tables.stores[port].put(key, chunks[port], row, there, time);
            let own = RowRef::at(chunks[port], row, there);
            let other = self.tables.stores[1 - port].find(key.0, key.1);
            let sides = |own: RowRef| if port == 0 { [own, other.place] } else { [other.place, own] };
            let [left, right] = sides(own);
            let [left_before, right_before] = sides(before.place);
            let (had, now) = (self.exists(left_before, right_before), self.exists(left, right));
            if had || now {
                joined.push((port, row), [left, right], (had, now), later(time, other));
            }
        }
        Ok(joined)
    }
}

/// The later of a row's time and that of the row that it meets, if there is one.
pub(crate) fn later(time: i64, other: StoredRow) -> i64 {
    if other.place.is_there() { time.max(other.time) } else { time }
}

#[cold]
pub(crate) fn keyless(batch: &ChangeBatch, row: usize) -> BadRow {
    BadRow { seq: batch.seq[row], reason: "a table's row without a key cannot be joined".to_owned() }
}

impl Operator for TableTableJoin {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        self.tables.prepare()?;
        let ports = [rows(ports, 0), rows(ports, 1)];
        let mut joined = self.join(&ports, out)?;
        if joined.from.is_empty() {
            return Ok(());
        }
        let had = BooleanBuffer::from(std::mem::take(&mut joined.had));
        let key = key_columns(&ports, &joined.from)?;
        self.tables.cache.push(joined.batch(&ports, [&self.tables.stores[0], &self.tables.stores[1]], key)?, &had, out)
    }

    fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        self.tables.emit(out)
    }

    fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        self.tables.changelog(entries)
    }

    fn commit(&mut self) {
        self.tables.commit();
    }

    fn abort(&mut self) {
        self.tables.abort();
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.tables.restore(key, value, timestamp)
    }

    fn living(&self) -> Option<u64> {
        Some(self.tables.alive())
    }

    fn snapshot(&mut self, place: &mut SnapshotPlace, entries: &mut EntryBatch) -> Result<bool> {
        self.tables.snapshot(place, entries)
    }

    fn restore_metadata(&mut self, _memo: &str) -> Result<()> {
        self.tables.finish_restore()
    }

    fn size(&self) -> OperatorSize {
        self.tables.size()
    }
}

impl StreamTableJoin {
    /// A join of a stream (port 0) with a table (port 1) by `key`; `left` = rows that find nothing leave too.
    pub fn new(left: bool, key_format: Format, key: &[Column], table: &[Column]) -> Result<StreamTableJoin> {
        Ok(StreamTableJoin { left, store: TableStore::new(key_format, key, table)? })
    }
}

impl Operator for StreamTableJoin {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        self.store.prepare()?;
        let ports = [rows(ports, 0), rows(ports, 1)];
        let chunk = ports[1].map(|b| self.store.load(&b.new, b.len())).transpose()?;
        let keys = ports.iter().map(|p| p.map(|b| PortKeys::of(&[&self.store], b)).transpose());
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let (mut found, mut places) = (Vec::new(), Vec::new());
        for (port, row) in in_order(&ports) {
            let (Some(batch), Some(keys)) = (ports[port], &keys[port]) else { continue };
            match (keys.get(row), chunk) {
                (None, _) if port == 1 => out.bad.push(keyless(batch, row)),
                // A stream's row without a key or a value meets nothing, as in ksqlDB.
                (None, _) => {}
                (Some(key), Some(chunk)) if port == 1 => {
                    self.store.put(key, chunk, row, batch.new.has(row), batch.rowtime[row]);
                }
                (Some(key), _) if batch.new.has(row) => {
                    let entry = self.store.find(key.0, key.1);
                    if self.left || entry.place.is_there() {
                        found.push(row as u32);
                        places.push(entry.place);
                    }
                }
                (Some(_), _) => {}
            }
        }
        if let Some(stream) = ports[0].filter(|_| !found.is_empty()) {
            out.batches.push(self.write(stream, found, &places)?);
        }
        Ok(())
    }

    fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        self.store.changelog(entries)
    }

    fn commit(&mut self) {
        self.store.commit();
    }

    fn abort(&mut self) {
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

impl StreamTableJoin {
    /// These rows of the stream, with the table's columns.
    fn write(&self, stream: &ChangeBatch, rows: Vec<u32>, places: &[RowRef]) -> Result<ChangeBatch> {
        let all = rows.len() == stream.len();
        let rows = UInt32Array::from(rows);
        let pick = |columns: &[ArrayRef]| -> Result<Vec<ArrayRef>> {
            columns.iter().map(|c| if all { Ok(c.clone()) } else { Ok(take(c, &rows, None)?) }).collect()
        };
        let at = || rows.values().iter().map(|&row| row as usize);
        let mut columns = pick(&stream.new.columns)?;
        columns.extend(self.store.gather(places)?.columns);
        Ok(ChangeBatch {
            key: pick(&stream.key)?,
            key_present: None,
            new: RowImage { columns, present: None },
            old: None,
            rowtime: at().map(|row| stream.rowtime[row]).collect::<Vec<_>>().into(),
            window: None,
            seq: at().map(|row| stream.seq[row]).collect::<Vec<_>>().into(),
        })
    }
}
