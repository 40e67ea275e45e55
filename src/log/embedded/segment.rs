//! One file of a partition: record batches one behind the other, from the offset that is its name.
//!
//! Only the first [`Segment::end`] bytes are committed; the journal says how many that are. The sparse index is kept in
//! memory, grows with what is written and is built by hopping over batch headers when an old file is first searched.

use super::batch::{Batch, BatchHeader, HEADER_BYTES, Sealed};
use super::manifest::SegmentMeta;
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
    /// How often it was cleaned.
    pub(super) generation: u32,
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

/// File name of a segment: a cleaned one stands beside the one it replaces until the journal has decided.
pub(super) fn file_name(segment: &SegmentMeta) -> String {
    match segment.generation {
        0 => format!("{:020}.log", segment.base),
        generation => format!("{:020}.{generation}.log", segment.base),
    }
}

impl Segment {
    /// A segment as the journal describes it.
    pub(super) fn new(directory: &Path, meta: &SegmentMeta) -> Segment {
        let SegmentMeta { base, end, generation } = *meta;
        let path: PathBuf = directory.join(file_name(meta));
        Segment { base, end, generation, path: path.into(), file: None, marks: Vec::new(), indexed: (0, base) }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// As the journal describes it.
    pub(super) fn meta(&self) -> SegmentMeta {
        SegmentMeta { base: self.base, end: self.end, generation: self.generation }
    }

    /// No record of it is younger.
    pub(super) fn max_timestamp(&mut self) -> Result<i64> {
        self.index()?;
        Ok(self.marks.iter().map(|m| m.max_timestamp).max().unwrap_or(i64::MIN))
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

    /// First offset from `low` on whose record is no older than `timestamp`.
    pub(super) fn offset_for_time(&mut self, timestamp: i64, low: i64) -> Result<Option<i64>> {
        let readable = self.index()?;
        let Some(mark) = self.marks.iter().find(|m| m.max_timestamp >= timestamp) else { return Ok(None) };
        let (mut at, mut base) = (mark.at, mark.base);
        // A batch may be younger as a whole than what was left of it, by a cleaning or above `low`.
        loop {
            let mut candidate = None;
            readable.hop(at, base, |at, header| match header.max_timestamp >= timestamp && header.next > low {
                true => {
                    candidate = Some((at, *header));
                    ControlFlow::Break(())
                }
                false => ControlFlow::Continue(()),
            })?;
            let Some((found, header)) = candidate else { return Ok(None) };
            if let Some(offset) = readable.batch(found, &header)?.first_at_or_after(timestamp, low) {
                return Ok(Some(offset));
            }
            (at, base) = (found + header.len as u64, header.next);
        }
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
    pub(super) fn hop(
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

    /// The batch whose header was read at `at`.
    pub(super) fn batch(&self, at: u64, header: &BatchHeader) -> Result<Batch> {
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
