//! A table joined with another by that one's key, which a column of the first names: the foreign key.
//!
//! ```text
//! orders: 1 -> {car: "vw"}      cars: vw -> {colour: "red"}      ->  1 | vw red
//! orders: 2 -> {car: "vw"}                                       ->  2 | vw red
//!                               cars: vw -> {colour: "blue"}     ->  1 | vw blue,  2 | vw blue    (by the order's key bytes)
//! ```
//!
//! What leaves is what leaves Kafka Streams when its hops are followed to their end after every record: a left row that goes
//! is a tombstone, whether it was joined or not; a right row that goes is one for each left row that names it (INNER) or
//! leaves it alone (LEFT). A left row that names another right row is written once, with the new one. A left row that names
//! no key (NULL) is padded in a LEFT join, and is nothing in an INNER one. A tombstone for what was never joined leaves
//! in `Each` only: the fold knows that nothing was there.
//!
//! The hops to the right row's partition and back are made in memory, inside of this operator: one task holds both tables.
//! Who names whom is derived from the left rows and made anew after an abort or a restart.

use super::table_join::{Joined, PortKeys, in_order, keyless, later};
use super::table_pair::TablePair;
use super::{EmitMode, Operator, OperatorOutput, OperatorSize, SnapshotPlace};
use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::change::ChangeBatch;
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::key_table::{KeyTable, Probe};
use crate::execute::state::keys::BatchKeys;
use crate::execute::state::table_store::{RowRef, TableStore};
use crate::types::{Column, SqlType};
use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;

/// Left rows indexed at a time when the index is made anew.
const REINDEX_ROWS: usize = 8192;

/// The operator.
#[derive(Debug)]
pub struct ForeignKeyJoin {
    /// LEFT: rows whose foreign key is NULL are written too.
    left: bool,
    tables: TablePair,
    /// Which column of the left side is the foreign key.
    foreign: usize,
    named: Named,
    /// Generation of the left store that `named` belongs to.
    generation: u64,
}

/// One side of a foreign-key join.
#[derive(Clone, Copy, Debug)]
pub struct ForeignKeyInput<'a> {
    /// Format of the key bytes.
    pub key_format: Format,
    /// Key columns.
    pub key: &'a [Column],
    /// Value columns.
    pub columns: &'a [Column],
}

/// Which left rows name which foreign key. Foreign keys have ordinals of their own; left rows those of their store.
#[derive(Debug)]
struct Named {
    keys: KeyTable,
    /// By foreign key.
    by: Vec<Vec<u32>>,
    /// By left row: the foreign key that it names, and its place in that one's list.
    of: Vec<Option<(u32, u32)>>,
}

impl Named {
    fn new(numbers: bool) -> Named {
        Named { keys: KeyTable::new(numbers), by: Vec::new(), of: Vec::new() }
    }

    /// The left row names this key now, or none. Returns the ordinal of the key that it named before.
    fn name(&mut self, left: u32, foreign: Option<(Probe, &[u8])>) -> Option<u32> {
        let at = left as usize;
        if self.of.len() <= at {
            self.of.resize(at + 1, None);
        }
        let before = self.of[at].take();
        if let Some((key, place)) = before {
            let list = &mut self.by[key as usize];
            list.swap_remove(place as usize);
            if let Some(&moved) = list.get(place as usize) {
                self.of[moved as usize] = Some((key, place));
            }
        }
        if let Some((probe, bytes)) = foreign {
            let (key, fresh) = self.keys.find_or_insert(probe, bytes);
            if fresh {
                self.by.push(Vec::new());
            }
            let list = &mut self.by[key as usize];
            self.of[at] = Some((key, list.len() as u32));
            list.push(left);
        }
        before.map(|(key, _)| key)
    }

    /// The left rows that name this key.
    fn who(&self, (probe, bytes): (Probe, &[u8])) -> &[u32] {
        self.keys.find(probe, bytes).map_or(&[], |key| &self.by[key as usize])
    }
}

impl ForeignKeyJoin {
    /// A join of `tables` (left, right) in which column `foreign` of the left one names the right one's key.
    pub fn new(left: bool, tables: [ForeignKeyInput<'_>; 2], foreign: usize, mode: EmitMode) -> Result<ForeignKeyJoin> {
        let named = tables[0].columns.get(foreign).ok_or_else(|| Error::bug("a foreign key is no column"))?;
        match tables[1].key {
            [key] if key.ty == named.ty => {}
            _ => return Err(Error::bug("a foreign key has not the type of the key that it names")),
        }
        let numbers = matches!(named.ty, SqlType::Integer | SqlType::Bigint);
        let store = |side: ForeignKeyInput<'_>| TableStore::new(side.key_format, side.key, side.columns);
        let [one, other] = tables;
        let tables = TablePair::new([store(one)?, store(other)?], mode, one.key_format, one.key)?;
        let generation = tables.stores[0].generation();
        Ok(ForeignKeyJoin { left, tables, foreign, named: Named::new(numbers), generation })
    }

    /// Makes the index anew where the left rows have changed behind its back.
    fn prepare(&mut self) -> Result<()> {
        self.tables.prepare()?;
        if self.generation == self.tables.stores[0].generation() {
            return Ok(());
        }
        self.generation = self.tables.stores[0].generation();
        self.named = Named::new(self.named.keys.is_numbers());
        for lefts in self.tables.stores[0].living().chunks(REINDEX_ROWS) {
            let places: Vec<RowRef> = lefts.iter().map(|&left| self.tables.stores[0].entry(left).place).collect();
            let column = self.tables.stores[0].gather(&places)?.columns.swap_remove(self.foreign);
            let foreign = Foreign::of(&self.tables.stores[1], &column)?;
            for (row, &left) in lefts.iter().enumerate() {
                self.named.name(left, foreign.get(row));
            }
        }
        Ok(())
    }

    fn join(&mut self, ports: &[Option<&ChangeBatch>; 2], out: &mut OperatorOutput) -> Result<(Joined, Vec<u32>)> {
        let mut chunks = [0; 2];
        let mut keys = [None, None];
        for (port, batch) in ports.iter().enumerate() {
            if let Some(batch) = batch {
                chunks[port] = self.tables.stores[port].load(&batch.new, batch.len())?;
                keys[port] = Some(PortKeys::of(&[&self.tables.stores[port]], batch)?);
            }
        }
        let column = ports[0].map(|b| &b.new.columns[self.foreign]);
        let foreign = column.map(|c| Foreign::of(&self.tables.stores[1], c)).transpose()?;
        let (mut joined, mut lefts) = (Joined::default(), Vec::new());
        for (port, row) in in_order(ports) {
            let (Some(batch), Some(keys)) = (ports[port], &keys[port]) else { continue };
            let Some(key) = keys.get(row) else {
                out.bad.push(keyless(batch, row));
                continue;
            };
            let (time, there) = (batch.rowtime[row], batch.new.has(row));
            let (nth, before) = self.tables.stores[port].put(key, chunks[port], row, there, time);
            let place = RowRef::at(chunks[port], row, there);
            if port == 1 {
                for left in self.tables.stores[0].ordered(self.named.who(key))? {
                    let entry = self.tables.stores[0].entry(left);
                    let (had, leaves) = (before.place.is_there() || self.left, there || self.left);
                    joined.push((port, row), [entry.place, place], (had, leaves), time.max(entry.time));
                    lefts.push(left);
                }
                continue;
            }
            let names = foreign.as_ref().filter(|_| there).and_then(|f| f.get(row));
            let named = self.named.name(nth, names);
            let other = names.map(|(probe, bytes)| self.tables.stores[1].find(probe, bytes));
            let met = other.filter(|o| o.place.is_there());
            let leaves = match there {
                true => met.is_some() || self.left,
                false => false,
            };
            // What was joined, or may have been, is taken back.
            let goes = before.place.is_there() && (named.is_some() || self.left);
            if leaves || goes {
                let other = met.map_or(RowRef::GONE, |m| m.place);
                let time = met.map_or(time, |m| later(time, m));
                let had =
                    goes && self.tables.cache.is_on() && (self.left || named.is_some_and(|key| self.is_right(key)));
                joined.push((port, row), [place, other], (had, leaves), time);
                lefts.push(nth);
            }
        }
        Ok((joined, lefts))
    }

    /// Is there a right row with the foreign key of this ordinal?
    fn is_right(&self, key: u32) -> bool {
        self.tables.stores[1].find(self.named.keys.probe(key), self.named.keys.bytes(key)).place.is_there()
    }
}

/// Foreign keys of left rows, ready to be looked up among the right ones.
struct Foreign<'a> {
    keys: BatchKeys<'a>,
    column: &'a ArrayRef,
}

impl<'a> Foreign<'a> {
    fn of(right: &TableStore, column: &'a ArrayRef) -> Result<Foreign<'a>> {
        Ok(Foreign { keys: right.read(std::slice::from_ref(column))?, column })
    }

    fn get(&self, row: usize) -> Option<(Probe, &[u8])> {
        self.column.is_valid(row).then(|| (self.keys.probe(row), self.keys.bytes(row)))
    }
}

impl Operator for ForeignKeyJoin {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        self.prepare()?;
        let port = |n: usize| ports.get(n).copied().flatten().filter(|b| !b.is_empty());
        let ports = [port(0), port(1)];
        let (mut joined, lefts) = self.join(&ports, out)?;
        if lefts.is_empty() {
            return Ok(());
        }
        let had = BooleanBuffer::from(std::mem::take(&mut joined.had));
        let key = self.tables.stores[0].key_columns(&lefts)?;
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
