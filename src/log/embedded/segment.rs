//! One file of a partition: record batches one behind the other, from the offset that is its name.
//!
//! Only the first [`Segment::end`] bytes are committed; the journal says how many that are. The sparse index is kept in
//! memory, grows with what is written and is built by hopping over batch headers when an old file is first searched.

use super::batch::{Batch, BatchHeader, HEADER_BYTES, Sealed};
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One mark in the sparse index per so many bytes: 4,096 marks for a full segment.
const MARK_BYTES: u64 = 64 * 1024;
/// What one read of a reader asks for: some thousand records, a few batches.
pub(super) const READ_BYTES: u64 = 1024 * 1024;
/// What one read asks for while hopping over headers: many small batches, or one large one of which this is the start.
const HOP_BYTES: u64 = 4096;

/// A file of a partition.
#[derive(Debug)]
pub(super) struct Segment {
    /// Offset of the first record.
    pub(super) base: i64,
    /// Committed bytes.
    pub(super) end: u64,
    path: Arc<Path>,
    /// Open since the first use.
    file: Option<Arc<File>>,
    marks: Vec<Mark>,
    /// Up to where `marks` are complete, and the offset of the batch there.
    indexed: (u64, i64),
}

/// Where the batch with this first offset stands.
#[derive(Clone, Copy, Debug)]
struct Mark {
    base: i64,
    at: u64,
    /// Largest timestamp up to the next mark.
    max_timestamp: i64,
}

/// An open segment that can be read without any lock.
#[derive(Clone, Debug)]
pub(super) struct Readable {
    /// The file.
    pub(super) file: Arc<File>,
    /// Its name, for messages.
    pub(super) path: Arc<Path>,
    /// Committed bytes.
    pub(super) end: u64,
}

/// File name of a segment.
pub(super) fn file_name(base: i64) -> String {
    format!("{base:020}.log")
}

impl Segment {
    /// A segment of which `end` bytes are committed.
    pub(super) fn new(directory: &Path, base: i64, end: u64) -> Segment {
        let path: PathBuf = directory.join(file_name(base));
        Segment { base, end, path: path.into(), file: None, marks: Vec::new(), indexed: (0, base) }
    }

    /// The file, opened for reading and writing.
    pub(super) fn open(&mut self) -> Result<Readable> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path);
                let file = Arc::new(opened.map_err(|e| failed("open", &self.path, e))?);
                self.file = Some(file.clone());
                file
            }
        };
        Ok(Readable { file, path: self.path.clone(), end: self.end })
    }

    /// Takes note of batches that were committed at the end of the file.
    pub(super) fn extend(&mut self, batches: &[Sealed], len: u64, mut base: i64) {
        let start = self.end;
        self.end += len;
        if self.indexed.0 != start {
            return;
        }
        for batch in batches {
            mark(&mut self.marks, base, start + batch.range.start as u64, batch.max_timestamp);
            base += i64::from(batch.records);
        }
        self.indexed = (self.end, base);
    }

    /// Where the batch that holds `offset` (or the next record that exists) starts, and its first offset.
    pub(super) fn locate(&mut self, offset: i64) -> Result<Option<(u64, i64)>> {
        let readable = self.index()?;
        let before = self.marks.partition_point(|m| m.base <= offset);
        let Some(mark) = before.checked_sub(1).map(|at| self.marks[at]) else { return Ok(None) };
        let mut found = None;
        readable.hop(mark.at, mark.base, |at, header| match header.next > offset {
            true => {
                found = Some((at, header.base));
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        })?;
        Ok(found)
    }

    /// First offset whose record is no older than `timestamp`.
    pub(super) fn offset_for_time(&mut self, timestamp: i64) -> Result<Option<i64>> {
        let readable = self.index()?;
        for mark in self.marks.iter().filter(|m| m.max_timestamp >= timestamp) {
            let mut candidate = None;
            readable.hop(mark.at, mark.base, |at, header| match header.max_timestamp >= timestamp {
                true => {
                    candidate = Some((at, *header));
                    ControlFlow::Break(())
                }
                false => ControlFlow::Continue(()),
            })?;
            if let Some((at, header)) = candidate {
                return Ok(readable.batch(at, &header)?.first_at_or_after(timestamp));
            }
        }
        Ok(None)
    }

    /// Completes the index.
    fn index(&mut self) -> Result<Readable> {
        let readable = self.open()?;
        let (from, base) = self.indexed;
        let marks = &mut self.marks;
        let mut next = base;
        readable.hop(from, base, |at, header| {
            mark(marks, header.base, at, header.max_timestamp);
            next = header.next;
            ControlFlow::Continue(())
        })?;
        self.indexed = (self.end, next);
        Ok(readable)
    }
}

impl Readable {
    /// Reads committed bytes from `at`: at least `least`, about [`READ_BYTES`] if there are so many.
    pub(super) fn read(&self, at: u64, least: u64) -> Result<Vec<u8>> {
        self.read_some(at, least.max(READ_BYTES).min(self.end - at))
    }

    /// An error that says which file is damaged where.
    pub(super) fn damaged(&self, at: u64, what: &str) -> Error {
        damaged(&self.path, at, what)
    }

    fn read_some(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, at).map_err(|e| failed("read", &self.path, e))?;
        Ok(bytes)
    }

    /// Visits the headers from `at`, whose batch must begin with offset `base`.
    fn hop(
        &self,
        mut at: u64,
        mut base: i64,
        mut each: impl FnMut(u64, &BatchHeader) -> ControlFlow<()>,
    ) -> Result<()> {
        let (mut chunk, mut chunk_at) = (Vec::new(), at);
        while at < self.end {
            if at < chunk_at || at + HEADER_BYTES as u64 > chunk_at + chunk.len() as u64 {
                chunk = self.read_some(at, HOP_BYTES.min(self.end - at))?;
                chunk_at = at;
            }
            let header = BatchHeader::read(&chunk[(at - chunk_at) as usize..]).map_err(|e| self.damaged(at, e))?;
            if header.base != base || at + header.len as u64 > self.end {
                return Err(self.damaged(at, "a batch is not the one expected here"));
            }
            if each(at, &header).is_break() {
                return Ok(());
            }
            at += header.len as u64;
            base = header.next;
        }
        Ok(())
    }

    fn batch(&self, at: u64, header: &BatchHeader) -> Result<Batch> {
        let buffer = Arc::new(self.read_some(at, header.len as u64)?);
        Batch::decode(&buffer, 0, header).map_err(|e| self.damaged(at, e))
    }
}

/// An I/O error that names the file.
pub(super) fn failed(verb: &str, path: &Path, cause: std::io::Error) -> Error {
    Error::io(format!("cannot {verb} {}", path.display())).with_detail(cause.to_string()).because(cause)
}

/// A damaged file, by name and place.
pub(super) fn damaged(path: &Path, at: u64, what: &str) -> Error {
    Error::io(format!("{} is damaged at byte {at}", path.display()))
        .with_detail(what)
        .with_hint("restore the file from a copy, or delete the topic it belongs to")
}

fn mark(marks: &mut Vec<Mark>, base: i64, at: u64, max_timestamp: i64) {
    match marks.last_mut() {
        Some(last) if at < last.at + MARK_BYTES => last.max_timestamp = last.max_timestamp.max(max_timestamp),
        _ => marks.push(Mark { base, at, max_timestamp }),
    }
}
