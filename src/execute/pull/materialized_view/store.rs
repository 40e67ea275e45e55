//! Key bytes to value bytes, in chunks that never change, so that a snapshot is a list of references.
//!
//! ```text
//! hash of key -> ordinals -> entry (chunk, place, time)      chunks: key ++ value, as they were committed
//! ```
//!
//! Entries are kept in pages that a snapshot shares; a page is copied when it is written while a snapshot holds it. Rows of a
//! windowed table have one slot per key, whose ordinals are ordered by their windows.
//!
//! Windows leave by ksqlDB's rule for its window stores: what began (sessions: ended) at least the retention before the
//! newest of its partition is not seen any more.

use super::window_suffix::WindowSuffix;
use crate::execute::state::key_table::Probe;
use crate::log::RecordSet;
use crate::plan::WindowBounds;
use crate::types::time::NEVER;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Bytes of a chunk that is put together; one commit's may be larger.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks below this are small; with more than so many of them, small ones are put together.
const SMALL_BYTES: usize = 64 * 1024;
const SMALL_CHUNKS_MAX: usize = 64;
/// Chunks and entries that one commit examines for what can be freed.
const SWEPT_CHUNKS: usize = 32;
const SWEPT_PAGES: usize = 4;
/// Entries of a page: what one write copies while a snapshot is read.
pub(super) const PAGE: usize = 256;
/// The chunk of an entry that is free.
pub(super) const FREE: u32 = u32::MAX;

/// A row: its record.
#[derive(Clone, Copy, Debug)]
pub struct FoundRow<'a> {
    /// Partition of the table's topic.
    pub partition: i32,
    /// The record's time.
    pub timestamp: i64,
    /// Key with window.
    pub key: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) chunk: u32,
    place: u32,
    key: u32,
    value: u32,
    partition: i32,
    timestamp: i64,
}

impl Entry {
    const NONE: Entry = Entry { chunk: FREE, place: 0, key: 0, value: 0, partition: 0, timestamp: 0 };

    fn bytes(&self) -> usize {
        (self.key + self.value) as usize
    }

    /// Its key in the bytes of its chunk.
    pub(super) fn key_in<'a>(&self, chunk: &'a [u8]) -> &'a [u8] {
        let start = self.place as usize;
        &chunk[start..start + self.key as usize]
    }
}

/// Keys with one hash: nearly always one key, of a windowed table all its windows in their order.
#[derive(Debug)]
enum SameHash {
    One(u32),
    Many(Vec<u32>),
}

impl SameHash {
    fn ordinals(&self) -> &[u32] {
        match self {
            SameHash::One(one) => std::slice::from_ref(one),
            SameHash::Many(many) => many,
        }
    }
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.0 = self.0.rotate_left(8) ^ u64::from(*b));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Arc<Vec<u8>>,
    /// Ordinals of its rows; a row is alive if its entry is here.
    rows: Vec<u32>,
    live: usize,
}

pub(super) type Page = Arc<Vec<Entry>>;

/// Rows by key.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) shape: WindowSuffix,
    slots: HashMap<u64, SameHash, BuildHasherDefault<Hashed>>,
    pub(super) pages: Vec<Page>,
    free: Vec<u32>,
    pub(super) chunks: Vec<Option<Chunk>>,
    free_chunks: Vec<u32>,
    /// By partition: the newest window.
    pub(super) newest: Vec<i64>,
    held: usize,
    small: usize,
    /// Where the next sweep continues.
    swept: (usize, usize),
}

impl Store {
    pub(super) fn new(shape: WindowSuffix) -> Store {
        Store {
            shape,
            slots: HashMap::default(),
            pages: Vec::new(),
            free: Vec::new(),
            chunks: Vec::new(),
            free_chunks: Vec::new(),
            newest: Vec::new(),
            held: 0,
            small: 0,
            swept: (0, 0),
        }
    }

    /// Memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let rows = self.pages.len() * PAGE;
        self.held + rows * (size_of::<Entry>() + size_of::<u32>()) + self.slots.capacity() * 40
    }

    /// Puts these records of a commit in, in their order.
    pub(super) fn apply(&mut self, set: &RecordSet, picked: &[u32]) {
        let mut bytes = Vec::new();
        let mut rows = Vec::with_capacity(picked.len());
        for &row in picked {
            let row = row as usize;
            // A table's record without a key is none.
            let Some(key) = set.key(row) else { continue };
            let value = set.value(row);
            let size = key.len() + value.map_or(0, <[u8]>::len);
            if !bytes.is_empty() && bytes.len() + size > CHUNK_BYTES {
                self.index(std::mem::take(&mut bytes), std::mem::take(&mut rows));
            }
            let (place, head) = (bytes.len() as u32, &set.rows[row]);
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value.unwrap_or_default());
            let entry = Entry {
                chunk: FREE,
                place,
                key: key.len() as u32,
                value: value.map_or(0, <[u8]>::len) as u32,
                partition: head.partition,
                timestamp: head.timestamp,
            };
            rows.push((entry, value.is_some()));
        }
        if !rows.is_empty() {
            self.index(bytes, rows);
        }
        self.sweep();
    }

    /// Gives the rows of a new chunk to their keys.
    fn index(&mut self, bytes: Vec<u8>, rows: Vec<(Entry, bool)>) {
        let chunk = self.add_chunk(Arc::new(bytes));
        let bytes = self.chunk(chunk).bytes.clone();
        // Rows of one chunk may replace each other: it must not be dropped before the last one has its place.
        self.grow(chunk, 1);
        for (mut entry, there) in rows {
            let start = entry.place as usize;
            let key = &bytes[start..start + entry.key as usize];
            let Some((bare, start, end)) = self.shape.split(key) else { continue };
            let there = there && self.keeps(entry.partition, start, end);
            let hash = Probe::bytes(bare).home;
            let place = self.place(hash, key, start);
            match place {
                Ok(ordinal) => self.release(ordinal),
                Err(_) if !there => continue,
                Err(_) => {}
            }
            if !there {
                if let Ok(ordinal) = place {
                    self.remove(hash, ordinal);
                }
                continue;
            }
            entry.chunk = chunk;
            let ordinal = match place {
                Ok(ordinal) => ordinal,
                Err(at) => self.insert(hash, at),
            };
            self.set(ordinal, entry);
            if let Some(chunk) = &mut self.chunks[chunk as usize] {
                chunk.rows.push(ordinal);
            }
            self.grow(chunk, entry.bytes());
        }
        self.shrink(chunk, 1);
    }

    fn grow(&mut self, chunk: u32, bytes: usize) {
        if let Some(Some(chunk)) = self.chunks.get_mut(chunk as usize) {
            chunk.live += bytes;
        }
    }

    fn shrink(&mut self, chunk: u32, bytes: usize) {
        if let Some(Some(chunk)) = self.chunks.get_mut(chunk as usize) {
            chunk.live -= bytes;
        }
        self.drop_if_dead(chunk);
    }

    /// Notes the window; is it one that is seen?
    fn keeps(&mut self, partition: i32, start: i64, end: i64) -> bool {
        if self.shape.kind.is_none() {
            return true;
        }
        let partition = partition.max(0) as usize;
        if self.newest.len() <= partition {
            self.newest.resize(partition + 1, NEVER);
        }
        let stamp = self.shape.stamp(start, end);
        self.newest[partition] = self.newest[partition].max(stamp);
        self.shape.is_seen(&self.newest, partition as i32, stamp)
    }

    /// The key's ordinal, or where in its slot it would be inserted.
    fn place(&self, hash: u64, key: &[u8], start: i64) -> Result<u32, usize> {
        let Some(slot) = self.slots.get(&hash) else { return Err(0) };
        let ordinals = slot.ordinals();
        let from = match self.shape.kind {
            None => 0,
            // The newest window is the one that changes most.
            Some(_) => ordinals.partition_point(|&o| self.window(o).is_some_and(|w| w.0 < start)),
        };
        for (at, &ordinal) in ordinals.iter().enumerate().skip(from) {
            if self.key(self.entry(ordinal)) == key {
                return Ok(ordinal);
            }
            if self.shape.kind.is_some() && self.window(ordinal).is_some_and(|w| w.0 > start) {
                return Err(at);
            }
        }
        Err(ordinals.len())
    }

    fn insert(&mut self, hash: u64, at: usize) -> u32 {
        let ordinal = self.free.pop().unwrap_or_else(|| {
            let first = (self.pages.len() * PAGE) as u32;
            self.pages.push(Arc::new(vec![Entry::NONE; PAGE]));
            self.free.extend((first + 1..first + PAGE as u32).rev());
            first
        });
        match self.slots.get_mut(&hash) {
            None => drop(self.slots.insert(hash, SameHash::One(ordinal))),
            Some(SameHash::Many(many)) => many.insert(at.min(many.len()), ordinal),
            Some(slot) => {
                let mut many = slot.ordinals().to_vec();
                many.insert(at.min(many.len()), ordinal);
                *slot = SameHash::Many(many);
            }
        }
        ordinal
    }

    /// Forgets a key whose row was released.
    fn remove(&mut self, hash: u64, ordinal: u32) {
        let empty = match self.slots.get_mut(&hash) {
            Some(SameHash::Many(many)) => {
                many.retain(|o| *o != ordinal);
                many.is_empty()
            }
            _ => true,
        };
        if empty {
            self.slots.remove(&hash);
        }
        self.set(ordinal, Entry::NONE);
        self.free.push(ordinal);
    }

    /// The row's bytes are not needed any more.
    fn release(&mut self, ordinal: u32) {
        let entry = *self.entry(ordinal);
        self.shrink(entry.chunk, entry.bytes());
    }

    fn drop_if_dead(&mut self, number: u32) {
        let Some(place) = self.chunks.get_mut(number as usize) else { return };
        if let Some(chunk) = place.take_if(|c| c.live == 0) {
            self.held -= chunk.bytes.len();
            self.small -= usize::from(chunk.bytes.len() < SMALL_BYTES);
            self.free_chunks.push(number);
        }
    }

    fn add_chunk(&mut self, bytes: Arc<Vec<u8>>) -> u32 {
        self.held += bytes.len();
        self.small += usize::from(bytes.len() < SMALL_BYTES);
        let chunk = Some(Chunk { bytes, rows: Vec::new(), live: 0 });
        match self.free_chunks.pop() {
            Some(number) => {
                self.chunks[number as usize] = chunk;
                number
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() as u32 - 1
            }
        }
    }

    fn chunk(&self, number: u32) -> &Chunk {
        self.chunks[number as usize].as_ref().expect("an entry's chunk is there")
    }

    fn entry(&self, ordinal: u32) -> &Entry {
        &self.pages[ordinal as usize / PAGE][ordinal as usize % PAGE]
    }

    fn set(&mut self, ordinal: u32, entry: Entry) {
        Arc::make_mut(&mut self.pages[ordinal as usize / PAGE])[ordinal as usize % PAGE] = entry;
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        entry.key_in(&self.chunk(entry.chunk).bytes)
    }

    fn window(&self, ordinal: u32) -> Option<(i64, i64)> {
        self.shape.split(self.key(self.entry(ordinal))).map(|(_, start, end)| (start, end))
    }

    /// Lets go of a few windows and chunks: no commit waits for more than that.
    fn sweep(&mut self) {
        if self.shape.kind.is_some() {
            for _ in 0..SWEPT_PAGES.min(self.pages.len()) {
                self.swept.0 = (self.swept.0 + 1) % self.pages.len();
                self.expire(self.swept.0);
            }
        }
        let mut moved = 0;
        for _ in 0..SWEPT_CHUNKS.min(self.chunks.len()) {
            self.swept.1 = (self.swept.1 + 1) % self.chunks.len();
            let number = self.swept.1 as u32;
            let sparse = self.chunks[self.swept.1].as_ref().is_some_and(|c| {
                let small = self.small > SMALL_CHUNKS_MAX && c.bytes.len() < SMALL_BYTES;
                small || c.live * 2 < c.bytes.len()
            });
            if sparse && moved < CHUNK_BYTES {
                moved += self.empty_out(number);
            }
        }
    }

    /// Drops the windows of a page that are not seen any more.
    fn expire(&mut self, page: usize) {
        for at in 0..PAGE {
            let ordinal = (page * PAGE + at) as u32;
            let entry = *self.entry(ordinal);
            if entry.chunk == FREE {
                continue;
            }
            let Some((bare, start, end)) = self.shape.split(self.key(&entry)) else { continue };
            let hash = Probe::bytes(bare).home;
            if !self.shape.is_seen(&self.newest, entry.partition, self.shape.stamp(start, end)) {
                self.release(ordinal);
                self.remove(hash, ordinal);
            }
        }
    }

    /// Copies what is alive of a chunk into the open one; returns the number of bytes.
    fn empty_out(&mut self, number: u32) -> usize {
        let Some(old) = self.chunks[number as usize].take() else { return 0 };
        self.held -= old.bytes.len();
        self.small -= usize::from(old.bytes.len() < SMALL_BYTES);
        let open = self.chunks.iter().position(|c| {
            c.as_ref().is_some_and(|c| c.bytes.len() + old.live <= CHUNK_BYTES && Arc::strong_count(&c.bytes) == 1)
        });
        let target = open.map_or_else(|| self.add_chunk(Arc::default()), |at| at as u32);
        let Some(mut chunk) = self.chunks[target as usize].take() else { return 0 };
        self.held -= chunk.bytes.len();
        self.small -= usize::from(chunk.bytes.len() < SMALL_BYTES);
        let bytes = Arc::make_mut(&mut chunk.bytes);
        for ordinal in old.rows {
            let mut entry = *self.entry(ordinal);
            if entry.chunk != number {
                continue;
            }
            let from = entry.place as usize;
            (entry.chunk, entry.place) = (target, bytes.len() as u32);
            bytes.extend_from_slice(&old.bytes[from..from + entry.bytes()]);
            chunk.rows.push(ordinal);
            chunk.live += entry.bytes();
            self.set(ordinal, entry);
        }
        self.held += chunk.bytes.len();
        self.small += usize::from(chunk.bytes.len() < SMALL_BYTES);
        self.chunks[target as usize] = Some(chunk);
        self.free_chunks.push(number);
        self.drop_if_dead(target);
        old.live
    }

    /// The rows of a key, given without its window, by their windows.
    pub(super) fn find(&self, key: &[u8], bounds: &WindowBounds, found: &mut dyn FnMut(FoundRow<'_>)) {
        let Some(slot) = self.slots.get(&Probe::bytes(key).home) else { return };
        for &ordinal in slot.ordinals() {
            let entry = self.entry(ordinal);
            let bytes = &self.chunk(entry.chunk).bytes;
            if let Some(row) = row(&self.shape, &self.newest, entry, bytes, bounds).filter(|r| r.0 == key) {
                found(row.1);
            }
        }
    }
}

/// The row of an entry with its key without window, if it is among these windows and seen.
pub(super) fn row<'a>(
    shape: &WindowSuffix,
    newest: &[i64],
    entry: &Entry,
    bytes: &'a [u8],
    bounds: &WindowBounds,
) -> Option<(&'a [u8], FoundRow<'a>)> {
    let start = entry.place as usize;
    let (key, value) = bytes[start..start + entry.bytes()].split_at(entry.key as usize);
    let (bare, start, end) = shape.split(key)?;
    if shape.kind.is_some()
        && (!bounds.has(start, end) || !shape.is_seen(newest, entry.partition, shape.stamp(start, end)))
    {
        return None;
    }
    Some((bare, FoundRow { partition: entry.partition, timestamp: entry.timestamp, key, value }))
}
