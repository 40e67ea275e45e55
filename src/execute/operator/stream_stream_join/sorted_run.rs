//! Older rows of one side in a file: sorted by the hash of the key, so that the rows of a key are adjacent.
//!
//! ```text
//! page:    Arrow IPC stream of one batch: hash | rowtime | ordinal | is it indexed? | the row's columns
//! run:     pages of 1,024 rows, back to back; several runs share a file
//! memory:  of each page the first hash and the place; a Bloom filter over the hashes; the span of the rowtimes
//! ```
//!
//! A run is written once and dropped whole; its part of the file is then given back to the disk, where the file system can do that.

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
    /// Place of the first page.
    start: u64,
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
        let filter = Filter::new(rows);
        let run = Run { ordinals, earliest, latest, file, start: end, pages: Vec::new(), end, filter };
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

impl Drop for Run {
    /// Younger runs share the file, so that its space would be in use until the last of them is dropped.
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if Arc::strong_count(&self.file) > 1 && self.end > self.start {
            use rustix::fs::FallocateFlags;
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system without holes keeps the space a little longer.
            let _ = rustix::fs::fallocate(&*self.file, hole, self.start, self.end - self.start);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Int64Array, UInt64Array};
    use std::os::unix::fs::MetadataExt;

    fn run(file: &Arc<File>, from: u64) -> Run {
        let rows = PAGE_ROWS as u64;
        let mut writer = RunWriter::new(file.clone(), from..from + 8 * rows, 8 * PAGE_ROWS).expect("a writer");
        for page in 0..8 {
            let hashes: Vec<u64> = (page * rows..(page + 1) * rows).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(UInt64Array::from(hashes.clone())),
                Arc::new(Int64Array::from(vec![from as i64; PAGE_ROWS])),
                Arc::new(UInt64Array::from(hashes.iter().map(|h| h + from).collect::<Vec<_>>())),
                Arc::new(BooleanArray::from(vec![true; PAGE_ROWS])),
            ];
            writer.page(columns).expect("a page");
        }
        writer.finish()
    }

    #[test]
    fn a_run_that_is_dropped_takes_no_space() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let mut runs: Vec<Run> = (0..4).map(|at| run(&file, at * 10_000)).collect();
        let blocks = || file.metadata().expect("the file is open").blocks();
        let full = blocks();
        let read = runs[2].read(5).expect("a page");
        runs.drain(..2);
        if blocks() == full {
            // This file system has no holes.
            return;
        }
        assert!(blocks() <= full / 2 + 16, "{} of {full}", blocks());
        assert_eq!(runs[0].read(5).expect("a page"), read);
        assert_eq!(
            run(&file, 40_000).read(0).expect("a page").num_rows(),
            PAGE_ROWS,
            "a file with holes is written on"
        );
    }
}
