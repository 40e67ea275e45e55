//! A table's rows by key, as they are now: what a change is compared with, and what a join looks up.
//!
//! ```text
//! key -> ordinal -> place (chunk, row)         chunks: the columns of the batches that came, just as they came
//!  a        0         chunk 7, row 3  ------>  7: | C0 | C1 | ...
//!  b        1         gone
//! ```
//!
//! A change only moves a place: no value is copied until it is read, and then a column at a time. The image that
//! an abort needs is the old place. Chunks whose rows have mostly been replaced are put together again at a commit, when
//! nothing refers to them any more.
//!
//! Ordinals never decide an order that is seen outside.

use super::ChangelogEntry;
use super::entry_batch::EntryBatch;
use super::key_table::{KeyTable, Probe};
use super::keys::{BatchKeys, KeyLayout};
use super::restore_batch::{Restorable, RestoreBatch};
use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::change::RowImage;
use crate::format::{Decoder, Encoder};
use crate::types::Column;
use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::interleave;

/// Version of the state bytes. Another one means: rebuild from the input.
const STATE_VERSION: u8 = 1;
/// Rows written, or put together, at a time.
const CHUNK_ROWS: usize = 8192;
/// Keys of a snapshot that are looked at together.
const SNAPSHOT_KEYS: u32 = 2048;
/// Chunks with fewer rows than this are small; so many small ones are put together at a commit.
const SMALL_ROWS: usize = 1024;
const SMALL_CHUNKS_MAX: usize = 64;
/// Dead rows and keys that are never worth a clean-up.
const DEAD_MIN: usize = 4096;

/// Where a row lies, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowRef {
    chunk: u32,
    row: u32,
}

impl RowRef {
    /// No row.
    pub(crate) const GONE: RowRef = RowRef { chunk: u32::MAX, row: 0 };

    /// Row `row` of `chunk`, or none.
    #[inline(always)]
    pub(crate) fn at(chunk: u32, row: usize, there: bool) -> RowRef {
        if there { RowRef { chunk, row: row as u32 } } else { RowRef::GONE }
    }

    /// Is there a row?
    #[inline(always)]
    pub(crate) fn is_there(self) -> bool {
        self.chunk != u32::MAX
    }
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredRow {
    /// Its row.
    pub(crate) place: RowRef,
    /// Time of the change that made it so.
    pub(crate) time: i64,
    /// Epoch in which it was first touched since a commit.
    epoch: u32,
}

impl StoredRow {
    /// What is known of a key that never came.
    pub(crate) const UNKNOWN: StoredRow = StoredRow { place: RowRef::GONE, time: 0, epoch: 0 };
}

#[derive(Debug)]
struct Chunk {
    columns: Vec<ArrayRef>,
    /// Ordinal of each row's key; the row is alive if that key's place is here.
    keys: Vec<u32>,
}

/// The rows of one table, or of one partition of it.
#[derive(Debug)]
pub(crate) struct TableStore {
    layout: KeyLayout,
    columns: Vec<Column>,
    encoder: Encoder,
    decoder: Decoder,
    keys: KeyTable,
    entries: Vec<StoredRow>,
    chunks: Vec<Option<Chunk>>,
    free: Vec<u32>,
    /// Undo set: ordinal and entry of committed keys at their first touch in this epoch.
    images: Vec<(u32, StoredRow)>,
    epoch: u32,
    /// Keys that the last commit knew.
    committed: u32,
    /// Keys with a row.
    alive: usize,
    /// Rows that chunks hold, dead ones included.
    held: usize,
    /// A commit was, and no step since then.
    untidy: bool,
    generation: u64,
    /// Changelog entries that wait for their batch.
    restoring: RestoreBatch,
    /// The snapshot in the making has the keys with lower ordinals.
    copied: u32,
}

impl TableStore {
    /// A store of `columns` under `key`, whose changelog keys are in `key_format`.
    pub(crate) fn new(key_format: Format, key: &[Column], columns: &[Column]) -> Result<TableStore> {
        let layout = KeyLayout::new(key_format, key)?;
        let named = |(i, c): (usize, &Column)| Column::value(format!("C{i}"), c.ty.clone());
        let columns: Vec<Column> = columns.iter().enumerate().map(named).collect();
        let all: Vec<usize> = (0..columns.len()).collect();
        Ok(TableStore {
            keys: KeyTable::new(layout.is_number()),
            layout,
            encoder: Encoder::new(Format::Json, &columns, false)?,
            decoder: Decoder::new(Format::Json, &columns, &all, false)?,
            columns,
            entries: Vec::new(),
            chunks: Vec::new(),
            free: Vec::new(),
            images: Vec::new(),
            epoch: 1,
            committed: 0,
            alive: 0,
            held: 0,
            untidy: false,
            generation: 0,
            restoring: RestoreBatch::default(),
            copied: 0,
        })
    }

    /// The keys of a batch, ready to be looked up.
    pub(crate) fn read<'a>(&self, key: &'a [ArrayRef]) -> Result<BatchKeys<'a>> {
        self.layout.read(key)
    }

    /// Takes a batch's rows in as a chunk; [`TableStore::put`] then gives them to their keys.
    pub(crate) fn load(&mut self, side: &RowImage, rows: usize) -> Result<u32> {
        if side.columns.len() != self.columns.len() {
            return Err(Error::bug("a table's row has not the columns of its store"));
        }
        self.held += rows;
        Ok(self.add_chunk(Chunk { columns: side.columns.clone(), keys: vec![u32::MAX; rows] }))
    }

    fn add_chunk(&mut self, chunk: Chunk) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.chunks[number as usize] = Some(chunk);
                number
            }
            None => {
                self.chunks.push(Some(chunk));
                self.chunks.len() as u32 - 1
            }
        }
    }

    /// Touches what [`TableStore::put`] and [`TableStore::find`] will read, in three rounds: the cache misses of a whole pass
    /// overlap.
    pub(crate) fn warm(&self, probes: &[Probe], nths: &mut Vec<u32>) {
        nths.clear();
        nths.extend(probes.iter().map(|&probe| self.keys.candidate(probe)));
        if !self.layout.is_number() {
            std::hint::black_box(nths.iter().fold(0, |x, &nth| x ^ self.keys.warm(nth)));
        }
        let entry = |nth: &u32| self.entries.get(*nth as usize).map_or(0, |e| e.time);
        std::hint::black_box(nths.iter().fold(0, |x, nth| x ^ entry(nth)));
    }

    /// The key's row is now row `row` of `chunk`, or none. Returns its ordinal, and what it was before.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        key: (Probe, &[u8]),
        chunk: u32,
        row: usize,
        there: bool,
        time: i64,
    ) -> (u32, StoredRow) {
        let (nth, fresh) = self.keys.find_or_insert(key.0, key.1);
        if fresh {
            self.entries.push(StoredRow { epoch: self.epoch, ..StoredRow::UNKNOWN });
        }
        let entry = &mut self.entries[nth as usize];
        let before = *entry;
        if before.epoch != self.epoch {
            self.images.push((nth, before));
        }
        let place = RowRef::at(chunk, row, there);
        *entry = StoredRow { place, time, epoch: self.epoch };
        self.alive = self.alive + usize::from(there) - usize::from(before.place.is_there());
        if there && let Some(chunk) = &mut self.chunks[chunk as usize] {
            chunk.keys[row] = nth;
        }
        (nth, before)
    }

    /// What is known of a key.
    #[inline(always)]
    pub(crate) fn find(&self, probe: Probe, bytes: &[u8]) -> StoredRow {
        self.keys.find(probe, bytes).map_or(StoredRow::UNKNOWN, |nth| self.entries[nth as usize])
    }

    /// The rows at these places; a row that is not there has no image.
    pub(crate) fn gather(&self, places: &[RowRef]) -> Result<RowImage> {
        let there: Vec<bool> = places.iter().map(|p| p.is_there()).collect();
        let present = Some(NullBuffer::from(there)).filter(|p| p.null_count() > 0);
        Ok(RowImage { columns: self.gather_columns(places, present.is_some())?, present })
    }

    fn gather_columns(&self, places: &[RowRef], nulls: bool) -> Result<Vec<ArrayRef>> {
        if self.columns.is_empty() {
            return Ok(Vec::new());
        }
        // Only the chunks that are asked for take part; the first of them may be a row of NULLs.
        let mut local = vec![u32::MAX; self.chunks.len()];
        let mut used: Vec<&Chunk> = Vec::new();
        let shift = usize::from(nulls);
        let mut at = Vec::with_capacity(places.len());
        for place in places {
            if !place.is_there() {
                at.push((0, 0));
                continue;
            }
            let number = place.chunk as usize;
            if local[number] == u32::MAX {
                local[number] = used.len() as u32;
                used.push(self.chunks[number].as_ref().ok_or_else(|| Error::bug("a table's row lies nowhere"))?);
            }
            at.push((local[number] as usize + shift, place.row as usize));
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for (i, column) in self.columns.iter().enumerate() {
            let none = nulls.then(|| new_null_array(&column.ty.arrow(), 1));
            let chunks = used.iter().map(|c| c.columns[i].as_ref());
            let arrays: Vec<&dyn Array> = none.as_deref().into_iter().chain(chunks).collect();
            columns.push(match arrays.is_empty() {
                true => new_null_array(&column.ty.arrow(), 0),
                false => interleave(&arrays, &at)?,
            });
        }
        Ok(columns)
    }

    /// Number of keys with a row.
    pub(crate) fn alive(&self) -> u64 {
        self.alive as u64
    }

    /// Keys with a row, and the memory of rows and keys.
    pub(crate) fn size(&self) -> (usize, usize) {
        let columns = self.chunks.iter().flatten().flat_map(|chunk| &chunk.columns);
        let columns: usize = columns.map(|column| column.get_array_memory_size()).sum();
        let places = self.held * size_of::<u32>() + self.entries.capacity() * size_of::<StoredRow>();
        (self.alive, columns + places + self.keys.size())
    }

    /// Changes whenever ordinals or rows change in another way than by [`TableStore::put`]: what is derived from them has to
    /// be made anew.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Ordinals of the keys that have a row, ascending.
    pub(crate) fn living(&self) -> Vec<u32> {
        (0..self.keys.len()).filter(|&n| self.entries[n as usize].place.is_there()).collect()
    }

    /// What is known of a key by its ordinal.
    #[inline(always)]
    pub(crate) fn entry(&self, nth: u32) -> StoredRow {
        self.entries[nth as usize]
    }

    /// The key columns of these ordinals.
    pub(crate) fn key_columns(&self, nths: &[u32]) -> Result<Vec<ArrayRef>> {
        self.layout.columns_of(nths.iter().map(|&nth| (&self.keys, nth)))
    }

    /// These ordinals in the order of their key bytes.
    pub(crate) fn ordered(&mut self, nths: &[u32]) -> Result<Vec<u32>> {
        if nths.len() < 2 {
            return Ok(nths.to_vec());
        }
        let columns = self.layout.columns_of(nths.iter().map(|&nth| (&self.keys, nth)))?;
        let order = self.layout.encode_columns(&columns, nths.len())?.order();
        Ok(order.into_iter().map(|i| nths[i as usize]).collect())
    }

    /// Appends an entry for every key touched since the last commit.
    pub(crate) fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        let mut nths: Vec<u32> = self.images.iter().map(|i| i.0).collect();
        nths.extend(self.committed..self.keys.len());
        for nths in nths.chunks(CHUNK_ROWS) {
            self.write(nths, |key, value, timestamp| {
                entries.push(ChangelogEntry { key: key.to_vec(), value, timestamp });
            })?;
        }
        Ok(())
    }

    /// Appends the entries of committed rows, whose keys begin with `tag`, until the batch is full; `true` = these were the last.
    /// A snapshot begins with `begun` = 0. How far it is, is known here, because keys get new ordinals.
    pub(crate) fn snapshot(&mut self, begun: &mut u32, tag: &[u8], entries: &mut EntryBatch) -> Result<bool> {
        if *begun == 0 {
            (*begun, self.copied) = (1, 0);
        }
        while !entries.is_full() {
            let most = SNAPSHOT_KEYS.min(entries.room() as u32);
            let keys = self.copied..self.committed.min(self.copied.saturating_add(most));
            if keys.is_empty() {
                return Ok(true);
            }
            self.copied = keys.end;
            let there: Vec<u32> = keys.filter(|&nth| self.entries[nth as usize].place.is_there()).collect();
            self.write(&there, |key, value, timestamp| {
                entries.push(&[tag, key].concat(), value.as_deref(), timestamp);
            })?;
        }
        Ok(false)
    }

    /// Hands over the entries of these keys: key, value and time.
    fn write(&mut self, nths: &[u32], mut each: impl FnMut(&[u8], Option<Vec<u8>>, i64)) -> Result<()> {
        let columns = self.layout.columns_of(nths.iter().map(|&nth| (&self.keys, nth)))?;
        let keys = self.layout.encode_columns(&columns, nths.len())?;
        let stored: Vec<StoredRow> = nths.iter().map(|&n| self.entries[n as usize]).collect();
        let places: Vec<RowRef> = stored.iter().map(|e| e.place).collect();
        let values = self.gather(&places)?;
        let (mut data, mut ranges) = (Vec::new(), Vec::new());
        let refused =
            self.encoder.encode(&values.columns, values.present.as_ref(), nths.len(), &mut data, &mut ranges)?;
        if let Some((_, bad)) = refused.into_iter().next() {
            return Err(Error::bug("a table's row cannot be stored").with_detail(bad.reason));
        }
        for (i, entry) in stored.iter().enumerate() {
            let bytes = ranges[i].clone().map_or(&[][..], |range| &data[range]);
            let value = entry.place.is_there().then(|| [&[STATE_VERSION], bytes].concat());
            each(keys.get(i), value, entry.time);
        }
        Ok(())
    }

    /// What was done is durable. [`TableStore::prepare`] then frees what is no longer needed.
    pub(crate) fn commit(&mut self) {
        self.images.clear();
        self.epoch = self.epoch.wrapping_add(1);
        self.committed = self.keys.len();
        self.untidy = true;
    }

    /// Before a step: ends a restore, and tidies up after a commit.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        self.finish_restore()?;
        if std::mem::take(&mut self.untidy) { self.tidy() } else { Ok(()) }
    }

    /// Everything as it was at the last commit.
    pub(crate) fn abort(&mut self) {
        for (nth, entry) in std::mem::take(&mut self.images) {
            self.entries[nth as usize] = entry;
        }
        self.keys.truncate(self.committed);
        self.entries.truncate(self.committed as usize);
        self.alive = self.entries.iter().filter(|e| e.place.is_there()).count();
        self.generation += 1;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Takes one changelog entry, in changelog order.
    pub(crate) fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.take_entry(key, value, timestamp)
    }

    /// What was restored is committed; keys without a row are not known any more.
    pub(crate) fn finish_restore(&mut self) -> Result<()> {
        if self.end_restore()? {
            self.forget_dead_keys();
        }
        Ok(())
    }

    /// Puts the living rows together where most are dead, or chunks are small and many. Only right after a commit: no image
    /// may refer to a chunk.
    fn tidy(&mut self) -> Result<()> {
        if self.keys.len() as usize > 2 * self.alive + DEAD_MIN {
            self.forget_dead_keys();
        }
        if self.held > 2 * self.alive + DEAD_MIN {
            return self.merge(usize::MAX);
        }
        let small = self.chunks.iter().flatten().filter(|c| c.keys.len() < SMALL_ROWS).count();
        if small > SMALL_CHUNKS_MAX { self.merge(SMALL_ROWS) } else { Ok(()) }
    }

    /// Copies the living rows of all chunks with fewer than `rows` rows into new ones.
    fn merge(&mut self, rows: usize) -> Result<()> {
        let mut living: Vec<(u32, RowRef)> = Vec::new();
        let mut gone = Vec::new();
        for (number, chunk) in self.chunks.iter().enumerate() {
            let Some(chunk) = chunk.as_ref().filter(|c| c.keys.len() < rows) else { continue };
            gone.push(number);
            for (row, &nth) in chunk.keys.iter().enumerate() {
                let place = RowRef { chunk: number as u32, row: row as u32 };
                if self.entries.get(nth as usize).is_some_and(|e| e.place == place) {
                    living.push((nth, place));
                }
            }
        }
        let mut merged = Vec::new();
        for part in living.chunks(CHUNK_ROWS) {
            let places: Vec<RowRef> = part.iter().map(|l| l.1).collect();
            let columns = self.gather_columns(&places, false)?;
            merged.push(Chunk { columns, keys: part.iter().map(|l| l.0).collect() });
        }
        for number in gone {
            self.held -= self.chunks[number].take().map_or(0, |c| c.keys.len());
            self.free.push(number as u32);
        }
        for chunk in merged {
            self.held += chunk.keys.len();
            let keys = chunk.keys.clone();
            let number = self.add_chunk(chunk);
            for (row, nth) in keys.into_iter().enumerate() {
                self.entries[nth as usize].place = RowRef { chunk: number, row: row as u32 };
            }
        }
        Ok(())
    }

    /// Gives new ordinals to the keys that have a row, and forgets the others.
    fn forget_dead_keys(&mut self) {
        let mut keys = KeyTable::new(self.layout.is_number());
        let mut entries = Vec::with_capacity(self.alive);
        let mut copied = 0;
        for nth in 0..self.keys.len() {
            let entry = self.entries[nth as usize];
            if entry.place.is_there() {
                copied += u32::from(nth < self.copied);
                let (fresh, _) = keys.find_or_insert(self.keys.probe(nth), self.keys.bytes(nth));
                entries.push(entry);
                let chunk = self.chunks[entry.place.chunk as usize].as_mut();
                chunk.expect("a living row lies in a chunk").keys[entry.place.row as usize] = fresh;
            }
        }
        (self.keys, self.entries, self.copied) = (keys, entries, copied);
        self.generation += 1;
        self.committed = self.keys.len();
    }
}

impl Restorable for TableStore {
    fn waiting(&mut self) -> &mut RestoreBatch {
        &mut self.restoring
    }

    /// Later entries of a key replace earlier ones, as rows do.
    fn apply(&mut self, entries: &EntryBatch) -> Result<()> {
        let broken = |what: &str| Error::data("a stored table row cannot be used").with_detail(what);
        let key = self.layout.decode(entries.iter().map(|entry| entry.key))?;
        let mut rows = 0;
        for value in entries.iter().filter_map(|entry| entry.value) {
            let (version, bytes) = value.split_first().ok_or_else(|| broken("entry is empty"))?;
            if *version != STATE_VERSION {
                return Err(broken("entry has an unknown version"));
            }
            self.decoder.push(Some(bytes)).map_err(|bad| broken(&bad.reason))?;
            rows += 1;
        }
        let side = RowImage { columns: self.decoder.finish().0, present: None };
        let chunk = self.load(&side, rows)?;
        let keys = self.layout.read(&key)?;
        let mut row = 0;
        for (at, entry) in entries.iter().enumerate() {
            let there = entry.value.is_some();
            self.put((keys.probe(at), keys.bytes(at)), chunk, row, there, entry.timestamp);
            row += usize::from(there);
        }
        self.commit();
        self.tidy()?;
        self.generation += 1;
        Ok(())
    }
}
