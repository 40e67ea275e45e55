//! Rows of batches that several queries read: one of the queries decodes a batch for all that are about to take it.
//!
//! ```text
//! query A wants (price)          at offset 5000: decodes [5000..6000] with the columns (price, url) --> rows of the batch
//! query B wants (url)            at offset 4800: takes its columns of its part of these rows
//! query C wants (price, channel) at offset 100:  is not near, and decodes for itself
//! ```
//!
//! Queries share where their sources declare the same for the same topic. Which columns a query wants never decides whether a record is
//! bad, so that the bad records of a batch are those of every query, and each query reports its own part of them. A query waits for
//! another one at most while that one decodes the batch that both want; it never waits for records that another query holds up. Formats
//! with a schema registry are not shared: what is known of a writer's schema may change between two queries.

use super::source::{BadRecord, SourceDecoder};
use crate::catalog::Source;
use crate::error::Result;
use crate::execute::change::{ChangeBatch, RowImage};
use crate::execute::pipeline::Scan;
use crate::format::frame::SharedSchemas;
use crate::log::{HeadersRef, Run, SharedPart, Sharing};
use arrow::array::{Array, ArrayRef, Int32Array, Int64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Smaller batches are not worth it: to find one and to join it to those beside it costs what decoding a few records costs.
const RECORDS_MIN: usize = 32;
/// A query that is at most so many records behind a batch will find it: four rounds.
const NEAR_RECORDS: i64 = 65_536;
/// Decoders that a layout keeps: as many threads decode for it at once on most machines.
const DECODERS_MAX: usize = 16;

/// A layout and a batch of the log.
type Key = (u64, u64);

/// The decoded batches of a process.
#[derive(Debug)]
pub struct SharedRows {
    layouts: Mutex<Vec<Weak<Layout>>>,
    /// The next number of a layout or a scan.
    ids: AtomicU64,
    entries: Mutex<Entries>,
    /// Their size at most; 0 = every query decodes for itself.
    bytes_max: usize,
    /// Batches that were decoded for several queries, and how often another query has taken one.
    decoded: AtomicU64,
    taken: AtomicU64,
}

#[derive(Debug, Default)]
struct Entries {
    entries: HashMap<Key, (Arc<Entry>, usize)>,
    /// Oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

/// A batch; the lock is held while it is decoded, so that only one query does so.
#[derive(Debug, Default)]
struct Entry(Mutex<Option<Arc<Rows>>>);

/// What sources that declare the same have in common.
#[derive(Debug)]
struct Layout {
    id: u64,
    source: Arc<Source>,
    schemas: SharedSchemas,
    readers: Mutex<Vec<Weak<Place>>>,
    decoders: Mutex<Vec<(Columns, SourceDecoder)>>,
}

/// What a query wants, and where it is.
#[derive(Debug)]
struct Place {
    id: u64,
    columns: Columns,
    /// By partition: the first offset of the batch that it took last.
    offsets: Vec<AtomicI64>,
}

/// Columns of a source, ascending: key columns, and columns of value and headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Columns {
    key: Vec<usize>,
    value: Vec<usize>,
}

/// The rows of a batch.
#[derive(Debug)]
struct Rows {
    columns: Columns,
    /// The scan that decoded them.
    by: u64,
    /// Its ordinals are those of the records in the batch; `None` = no record is good.
    batch: Option<ChangeBatch>,
    /// Of all records.
    offsets: Vec<i64>,
    /// Records with headers, and their offsets.
    with_headers: Vec<(usize, i64)>,
    bad: Vec<BadRecord>,
}

/// A query's scan among those that share.
#[derive(Debug)]
pub(crate) struct SharedScan {
    shared: Arc<SharedRows>,
    layout: Arc<Layout>,
    place: Arc<Place>,
    scan: Scan,
}

/// A query's part of a batch.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its rows; `None` = there are none.
    pub(crate) batch: Option<ChangeBatch>,
    /// Its bad records.
    pub(crate) bad: Vec<BadRecord>,
    /// Records with headers, by their place in the part, and their offsets.
    pub(crate) with_headers: Vec<(usize, i64)>,
    /// Offset behind the last record.
    pub(crate) next: i64,
}

impl SharedRows {
    /// At most so many bytes of rows.
    pub fn new(bytes_max: usize) -> Arc<SharedRows> {
        Arc::new(SharedRows {
            layouts: Mutex::default(),
            ids: AtomicU64::new(0),
            entries: Mutex::default(),
            bytes_max,
            decoded: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        })
    }

    /// How many batches were decoded for several queries, and how often a query took such a batch instead of decoding it.
    pub fn counts(&self) -> Sharing {
        Sharing { decoded: self.decoded.load(Ordering::Relaxed), taken: self.taken.load(Ordering::Relaxed) }
    }

    /// Bytes of rows that are kept.
    pub fn bytes(&self) -> usize {
        self.entries.lock().bytes
    }

    /// Takes a scan among those that share, for as long as the result is held; `None` = its records are not shared.
    pub(crate) fn join(self: &Arc<Self>, scan: &Scan, schemas: &SharedSchemas) -> Option<SharedScan> {
        let source = &scan.source;
        let has_registry = [source.key_format, source.value_format].iter().any(|f| f.schema_type().is_some());
        if self.bytes_max == 0 || has_registry {
            return None;
        }
        let layout = self.layout(source, schemas);
        let columns = Columns { key: sorted(&scan.key), value: sorted(&scan.value) };
        // Nowhere yet, and near to nothing.
        let offsets = (0..source.partitions).map(|_| AtomicI64::new(i64::MIN)).collect();
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(Place { id, columns, offsets });
        let mut readers = layout.readers.lock();
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&place));
        drop(readers);
        Some(SharedScan { shared: self.clone(), layout, place, scan: scan.clone() })
    }

    fn layout(&self, source: &Arc<Source>, schemas: &SharedSchemas) -> Arc<Layout> {
        let mut layouts = self.layouts.lock();
        layouts.retain(|layout| layout.strong_count() > 0);
        let known = layouts.iter().filter_map(Weak::upgrade).find(|layout| is_same(&layout.source, source));
        known.unwrap_or_else(|| {
            let layout = Arc::new(Layout {
                id: self.ids.fetch_add(1, Ordering::Relaxed),
                source: source.clone(),
                schemas: schemas.clone(),
                readers: Mutex::default(),
                decoders: Mutex::default(),
            });
            layouts.push(Arc::downgrade(&layout));
            layout
        })
    }

    fn entry(&self, key: Key) -> Option<Arc<Entry>> {
        self.entries.lock().entries.get(&key).map(|(entry, _)| entry.clone())
    }

    fn add(&self, key: Key) -> Arc<Entry> {
        let Entries { entries, order, .. } = &mut *self.entries.lock();
        let (entry, _) = entries.entry(key).or_insert_with(|| {
            order.push_back(key);
            (Arc::default(), 0)
        });
        entry.clone()
    }

    /// Notes the size of an entry, and removes the oldest ones where there are too many bytes.
    fn note_size(&self, key: Key, size: usize) {
        let held = &mut *self.entries.lock();
        if let Some((_, known)) = held.entries.get_mut(&key) {
            held.bytes += size - std::mem::replace(known, size).min(size);
        }
        while held.bytes > self.bytes_max
            && let Some(oldest) = held.order.pop_front()
        {
            held.bytes -= held.entries.remove(&oldest).map_or(0, |(_, size)| size);
        }
    }
}

impl SharedScan {
    /// Where the query begins to read a partition.
    pub(crate) fn begin(&self, partition: i32, offset: i64) {
        if let Some(at) = self.place.offsets.get(partition as usize) {
            at.store(offset, Ordering::Relaxed);
        }
    }

    /// The rows of a run, where several queries want those of its batch; `None` = the query decodes it for itself. The ordinals are
    /// `first` and those behind it, or the offsets of the records.
    pub(crate) fn rows(&self, partition: i32, run: &Run, first: Option<u64>) -> Result<Option<Part>> {
        let Some(part) = run.shared() else { return Ok(None) };
        let base = part.all.first_offset();
        self.begin(partition, base);
        let key = (self.layout.id, part.id);
        let entry = match self.shared.entry(key) {
            Some(entry) => entry,
            None if part.all.len() < RECORDS_MIN || !self.is_wanted_by_others(partition, base) => return Ok(None),
            None => self.shared.add(key),
        };
        let rows = self.rows_of(key, &entry, partition, &part)?;
        rows.map(|rows| self.part(&rows, part.records, partition, first)).transpose()
    }

    /// The rows of the whole batch, decoded now unless another query has decoded them with the columns of this one.
    fn rows_of(&self, key: Key, entry: &Entry, partition: i32, part: &SharedPart) -> Result<Option<Arc<Rows>>> {
        let mut rows = entry.0.lock();
        if let Some(known) = rows.as_ref().filter(|rows| rows.columns.include(&self.place.columns)) {
            if known.by != self.place.id && part.records.end == part.all.len() {
                self.shared.taken.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(Some(known.clone()));
        }
        let mut columns = rows.as_ref().map_or_else(Columns::default, |rows| rows.columns.clone());
        columns.add(&self.place.columns);
        let base = part.all.first_offset();
        self.others(partition, base, |other| columns.add(&other.columns));
        let Some(decoded) = self.layout.decode((columns, self.place.id), partition, &part.all)? else {
            return Ok(None);
        };
        self.shared.decoded.fetch_add(1, Ordering::Relaxed);
        self.shared.note_size(key, decoded.memory_bytes());
        Ok(Some(rows.insert(Arc::new(decoded)).clone()))
    }

    fn is_wanted_by_others(&self, partition: i32, base: i64) -> bool {
        let mut found = false;
        self.others(partition, base, |_| found = true);
        found
    }

    /// The other queries that are about to take the batch at `base`.
    fn others(&self, partition: i32, base: i64, mut each: impl FnMut(&Place)) {
        for reader in self.layout.readers.lock().iter().filter_map(Weak::upgrade) {
            let at = reader.offsets.get(partition as usize).map_or(i64::MIN, |at| at.load(Ordering::Relaxed));
            let is_near = (base.saturating_sub(NEAR_RECORDS)..=base).contains(&at);
            if is_near && !Arc::ptr_eq(&reader, &self.place) {
                each(&reader);
            }
        }
    }

    /// This query's columns of some records.
    fn part(&self, rows: &Rows, records: Range<usize>, partition: i32, first: Option<u64>) -> Result<Part> {
        let Range { start, end } = records;
        let offsets = &rows.offsets[start..end];
        let (Some(&low), Some(&high)) = (offsets.first(), offsets.last()) else {
            return Err(crate::error::Error::bug("a run has no records"));
        };
        let mine = |offset: i64| (low..=high).contains(&offset);
        let batch = rows.batch.as_ref().map(|batch| {
            let from = batch.seq.partition_point(|at| (*at as usize) < start);
            let to = batch.seq.partition_point(|at| (*at as usize) < end);
            self.project(&rows.columns, batch.slice(from, to - from), &rows.offsets, partition, |at| match first {
                Some(first) => first + at - start as u64,
                None => rows.offsets[at as usize] as u64,
            })
        });
        Ok(Part {
            batch: batch.filter(|batch| !batch.is_empty()),
            bad: rows.bad.iter().filter(|bad| mine(bad.offset)).cloned().collect(),
            with_headers: rows.with_headers.iter().filter(|(_, o)| mine(*o)).map(|(at, o)| (at - start, *o)).collect(),
            next: high + 1,
        })
    }

    /// The rows with the columns of this query, as its own decoder would make them.
    fn project(
        &self,
        columns: &Columns,
        rows: ChangeBatch,
        offsets: &[i64],
        partition: i32,
        seq: impl Fn(u64) -> u64,
    ) -> ChangeBatch {
        let Scan { key, value, row_partition, row_offset, .. } = &self.scan;
        let pick = |of: &[ArrayRef], decoded: &[usize], wanted: &[usize]| -> Vec<ArrayRef> {
            wanted.iter().filter_map(|w| of.get(decoded.binary_search(w).ok()?)).cloned().collect()
        };
        let mut columns = (pick(&rows.key, &columns.key, key), pick(&rows.new.columns, &columns.value, value));
        if *row_partition {
            columns.1.push(Arc::new(Int32Array::from_value(partition, rows.len())));
        }
        if *row_offset {
            let of_rows = rows.seq.iter().map(|at| offsets[*at as usize]);
            columns.1.push(Arc::new(Int64Array::from_iter_values(of_rows)));
        }
        ChangeBatch {
            key: columns.0,
            key_present: some_absent(rows.key_present),
            new: RowImage { columns: columns.1, present: some_absent(rows.new.present) },
            old: None,
            rowtime: rows.rowtime,
            window: rows.window,
            seq: rows.seq.iter().map(|at| seq(*at)).collect::<ScalarBuffer<u64>>(),
        }
    }
}

impl Layout {
    /// Decodes a batch; `None` = its rows do not fit into one batch.
    fn decode(&self, (columns, by): (Columns, u64), partition: i32, all: &Run) -> Result<Option<Rows>> {
        let mut decoder = self.decoder(&columns, partition)?;
        let mut rows =
            Rows { columns, by, batch: None, offsets: Vec::new(), with_headers: Vec::new(), bad: Vec::new() };
        rows.offsets.reserve(all.len());
        all.for_each(|record| {
            if !matches!(record.headers, HeadersRef::None) {
                rows.with_headers.push((rows.offsets.len(), record.offset));
            }
            decoder.push(&record, rows.offsets.len() as u64, &mut rows.bad);
            rows.offsets.push(record.offset);
        });
        let mut batches = decoder.finish(&mut rows.bad)?;
        let mut spare = self.decoders.lock();
        if spare.len() >= DECODERS_MAX {
            // It may be one for columns that no query reads any more.
            spare.remove(0);
        }
        spare.push((rows.columns.clone(), decoder));
        drop(spare);
        rows.batch = batches.pop();
        Ok(batches.is_empty().then_some(rows))
    }

    fn decoder(&self, columns: &Columns, partition: i32) -> Result<SourceDecoder> {
        let mut spare = self.decoders.lock();
        if let Some(at) = spare.iter().position(|(of, _)| of == columns) {
            let (_, mut decoder) = spare.swap_remove(at);
            decoder.read_of(partition);
            return Ok(decoder);
        }
        drop(spare);
        let Columns { key, value } = columns.clone();
        let scan = Scan { source: self.source.clone(), key, value, row_partition: false, row_offset: false };
        SourceDecoder::new(&scan, partition, &self.schemas)
    }
}

impl Columns {
    fn include(&self, other: &Columns) -> bool {
        let all = |of: &[usize], wanted: &[usize]| wanted.iter().all(|column| of.binary_search(column).is_ok());
        all(&self.key, &other.key) && all(&self.value, &other.value)
    }

    fn add(&mut self, other: &Columns) {
        let join = |of: &mut Vec<usize>, more: &[usize]| {
            of.extend_from_slice(more);
            *of = sorted(of);
        };
        join(&mut self.key, &other.key);
        join(&mut self.value, &other.value);
    }
}

impl Rows {
    fn memory_bytes(&self) -> usize {
        let of_batch = |batch: &ChangeBatch| {
            let columns = batch.key.iter().chain(&batch.new.columns);
            columns.map(|column| column.get_array_memory_size()).sum::<usize>() + batch.len() * 4 * size_of::<i64>()
        };
        self.batch.as_ref().map_or(0, of_batch) + self.offsets.len() * size_of::<i64>()
    }
}

fn sorted(columns: &[usize]) -> Vec<usize> {
    let mut columns = columns.to_vec();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// A mask only where it says something, as decoders return it.
fn some_absent(present: Option<NullBuffer>) -> Option<NullBuffer> {
    present.filter(|present| present.null_count() > 0)
}

/// Whether the records of two sources are decoded alike.
fn is_same(a: &Source, b: &Source) -> bool {
    let name = |source: &Source| Source {
        name: String::new(),
        sql: String::new(),
        created_by: None,
        read_only: false,
        ..source.clone()
    };
    name(a) == name(b)
}
