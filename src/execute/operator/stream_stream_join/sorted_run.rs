//! Older rows of one side in a file: sorted by the hash of the key, so that the rows of a key are adjacent.
//!
//! ```text
//! page:    Arrow IPC stream of one batch: hash | rowtime | ordinal | is it indexed? | the row's columns
//! run:     pages of 1,024 rows, back to back; several runs share a file
//! memory:  of each page the first hash and the place; a Bloom filter over the hashes; the span of the rowtimes
//! ```
//!
//! A run is written once and dropped whole.

use crate::error::{Error, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a page: what one lookup reads.
pub(super) const PAGE_ROWS: usize = 1024;

/// Columns of a page before the row's own.
pub(super) const EXTRA: usize = 4;

/// Bits a key in the filter: one lookup in a hundred reads a page for nothing.
const FILTER_BITS: usize = 10;
const FILTER_PROBES: u64 = 5;

/// Rows in a file.
#[derive(Debug)]
pub(super) struct Run {
    /// First ordinal, and one past the last.
    pub(super) ordinals: Range<u64>,
    pub(super) earliest: i64,
    pub(super) latest: i64,
    file: Arc<File>,
    /// First hash and place of each page.
    pages: Vec<(u64, u64)>,
    /// Place behind the last page.
    end: u64,
    filter: Filter,
}

/// What a run is written from.
#[derive(Debug)]
pub(super) struct RunWriter {
    run: Run,
}

impl RunWriter {
    /// A run of about `rows` rows at the end of a file.
    pub(super) fn new(file: Arc<File>, ordinals: Range<u64>, rows: usize) -> Result<RunWriter> {
        let end = (&*file).seek(SeekFrom::End(0))?;
        let (earliest, latest) = (i64::MAX, i64::MIN);
        let run = Run { ordinals, earliest, latest, file, pages: Vec::new(), end, filter: Filter::new(rows) };
        Ok(RunWriter { run })
    }

    /// One more page; its rows follow those before in the order of hashes.
    pub(super) fn page(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let bytes = stream_bytes(columns.clone())?;
        let hashes = columns[0].as_primitive::<UInt64Type>().values();
        let Some(first) = hashes.first() else { return Ok(()) };
        let run = &mut self.run;
        hashes.iter().for_each(|hash| run.filter.add(*hash));
        for time in columns[1].as_primitive::<Int64Type>().values() {
            (run.earliest, run.latest) = (run.earliest.min(*time), run.latest.max(*time));
        }
        (&*run.file).write_all(&bytes)?;
        run.pages.push((*first, run.end));
        run.end += bytes.len() as u64;
        Ok(())
    }

    /// The run that was written.
    pub(super) fn finish(self) -> Run {
        self.run
    }
}

impl Run {
    /// Pages that may hold rows with this hash.
    pub(super) fn pages(&self, hash: u64) -> Range<usize> {
        if !self.filter.has(hash) {
            return 0..0;
        }
        // Rows of one hash may begin at the end of the page before the first that begins with it.
        let from = self.pages.partition_point(|p| p.0 < hash).saturating_sub(1);
        from..self.pages.partition_point(|p| p.0 <= hash)
    }

    /// One page.
    pub(super) fn read(&self, page: usize) -> Result<RecordBatch> {
        let at = self.pages[page].1;
        let end = self.pages.get(page + 1).map_or(self.end, |p| p.1);
        let mut bytes = vec![0; (end - at) as usize];
        (&*self.file).seek(SeekFrom::Start(at))?;
        (&*self.file).read_exact(&mut bytes)?;
        let mut reader = StreamReader::try_new(bytes.as_slice(), None)?;
        reader.next().ok_or_else(|| Error::bug("a page of a join's rows is empty"))?.map_err(Error::from)
    }
}

/// Arrow's stream format of one batch with these columns.
pub(super) fn stream_bytes(columns: Vec<ArrayRef>) -> Result<Vec<u8>> {
    let field = |(i, c): (usize, &ArrayRef)| Field::new(i.to_string(), DataType::clone(c.data_type()), true);
    let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// A Bloom filter over hashes.
#[derive(Debug)]
struct Filter(Vec<u64>);

impl Filter {
    fn new(keys: usize) -> Filter {
        Filter(vec![0; (keys * FILTER_BITS).div_ceil(64).max(1)])
    }

    /// The bits of a hash: two halves of it, the second as a stride.
    fn bits(&self, hash: u64) -> impl Iterator<Item = u64> + use<> {
        let bits = self.0.len() as u64 * 64;
        let stride = hash.rotate_left(32) | 1;
        (0..FILTER_PROBES).map(move |i| hash.wrapping_add(i.wrapping_mul(stride)) % bits)
    }

    fn add(&mut self, hash: u64) {
        for bit in self.bits(hash) {
            self.0[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    fn has(&self, hash: u64) -> bool {
        self.bits(hash).all(|bit| self.0[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }
}
