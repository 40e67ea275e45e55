//! A segment: a file of consecutive record batches, named after its first offset.
//!
//! Only the first [`Segment::end`] bytes are committed, as the journal records. The sparse index grows in memory with every
//! write; that of an old file is read from the index file, or built by scanning batch headers, at the first search.

use super::batch::{Batch, BatchHeader, HEADER_BYTES, Sealed};
use super::buffer::Buffer;
use super::index::{Index, Mark};
use super::manifest::SegmentMeta;
use super::pruning::{Piece, READ_BYTES};
use crate::config::private;
use crate::error::{Error, Result};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes per read while scanning headers: many small batches, or the start of a large one.
const HOP_BYTES: u64 = 4096;

/// After scanning this many bytes the index is written to its file.
const HOPPED_BYTES: u64 = 1024 * 1024;

/// A file of a partition.
#[derive(Debug)]
pub(super) struct Segment {
    /// Offset of the first record.
    pub(super) base: i64,
    /// Committed bytes.
    pub(super) end: u64,
    /// Number of compactions of its records; part of its name.
    pub(super) generation: u32,
    path: Arc<Path>,
    /// Open since the last use, or since it was created.
    file: Option<Arc<File>>,
    /// When this process first wrote to it.
    written_ms: Option<i64>,
    index: Index,
    /// Whether the index file has been looked for.
    looked: bool,
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

/// File name of a segment. A compacted one exists beside the one that it replaces until the journal entry is written.
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
        Segment {
            base,
            end,
            generation,
            path: path.into(),
            file: None,
            written_ms: None,
            index: Index::new(base),
            looked: false,
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// As the journal describes it.
    pub(super) fn meta(&self) -> SegmentMeta {
        SegmentMeta { base: self.base, end: self.end, generation: self.generation }
    }

    /// Largest timestamp of its records.
    pub(super) fn max_timestamp(&mut self) -> Result<i64> {
        let latest = |index: &Index| index.marks.iter().map(|m| m.max_timestamp).max().unwrap_or(i64::MIN);
        if self.index.covered == self.end {
            return Ok(latest(&self.index));
        }
        self.search(|segment, _| Ok(latest(&segment.index)))
    }

    /// Time since this process first wrote to it.
    pub(super) fn age_ms(&mut self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(*self.written_ms.get_or_insert(now_ms))
    }

    /// Closes the file until the next use. Readers keep theirs open.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// The file, opened for reading and writing.
    pub(super) fn open(&mut self) -> Result<Readable> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                // One that has been written to must not be created again after it was removed.
                let is_new = self.end == 0;
                let opened = private::options().read(true).write(true).create(is_new).truncate(false).open(&self.path);
                let file = Arc::new(opened.map_err(|e| failed("open", &self.path, e))?);
                self.file = Some(file.clone());
                file
            }
        };
        Ok(Readable { file, path: self.path.clone(), end: self.end })
    }

    /// Adds batches that were committed at the end of the file.
    pub(super) fn extend(&mut self, batches: &[Sealed], len: u64) {
        if self.index.covered != self.end {
            self.look();
        }
        if self.index.covered == self.end {
            self.index.extend(batches);
        }
        self.end += len;
    }

    /// Position and first offset of the batch that contains `offset` or the next existing record.
    pub(super) fn locate(&mut self, offset: i64) -> Result<Option<(u64, i64)>> {
        self.search(|segment, readable| {
            let marks = &segment.index.marks;
            let before = marks.partition_point(|m| m.base <= offset);
            let Some(mark) = before.checked_sub(1).map(|at| marks[at]) else { return Ok(None) };
            let mut found = None;
            readable.hop(mark.at, mark.base, |at, header| match header.next > offset {
                true => {
                    found = Some((at, header.base));
                    ControlFlow::Break(())
                }
                false => ControlFlow::Continue(()),
            })?;
            Ok(found)
        })
    }

    /// First offset from `low` on whose record is no older than `timestamp`.
    pub(super) fn offset_for_time(&mut self, timestamp: i64, low: i64) -> Result<Option<i64>> {
        self.search(|segment, readable| {
            let mark = segment.index.marks.iter().find(|m| m.max_timestamp >= timestamp);
            let Some((mut at, mut base)) = mark.map(|m| (m.at, m.base)) else { return Ok(None) };
            // The header may be younger than the remaining records, after a compaction or above `low`.
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
        })
    }

    /// Its pieces in order; the last one ends with the segment.
    pub(super) fn pieces(&mut self) -> Result<Vec<Piece>> {
        self.search(|segment, _| {
            let index = &segment.index;
            let ends = index.marks.iter().skip(1).map(|m| (m.base, m.at)).chain([(index.next, index.covered)]);
            let piece = |(mark, (next, end)): (&Mark, (i64, u64))| Piece {
                offsets: mark.base..next,
                bytes: end - mark.at,
                times: mark.min_timestamp..=mark.max_timestamp,
            };
            Ok(index.marks.iter().zip(ends).map(piece).collect())
        })
    }

    /// Writes the index to its file.
    pub(super) fn keep_index(&mut self) {
        if let Some(file) = &self.file {
            self.index.keep(&self.path, file);
        }
    }

    /// Searches with the index. If that fails and the index came from a file, once more with one rebuilt from the segment.
    fn search<T>(&mut self, mut look: impl FnMut(&Segment, &Readable) -> Result<T>) -> Result<T> {
        self.look();
        let found = self.complete().and_then(|readable| look(self, &readable));
        if found.is_ok() || self.index.seen {
            return found;
        }
        self.index = Index::new(self.base);
        self.complete().and_then(|readable| look(self, &readable))
    }

    /// Loads the index file, if there is one and no index yet.
    fn look(&mut self) {
        if !std::mem::replace(&mut self.looked, true)
            && self.index.covered == 0
            && let Ok(readable) = self.open()
            && let Some(index) = Index::load(&self.path, &readable.file, self.base, self.end)
        {
            self.index = index;
        }
    }

    /// Completes the index by scanning the segment.
    fn complete(&mut self) -> Result<Readable> {
        let readable = self.open()?;
        let index = &mut self.index;
        let from = index.covered;
        readable.hop(from, index.next, |_, header| {
            let times = header.base_timestamp..=header.max_timestamp;
            index.add(header.base, header.len as u64, header.next, times);
            ControlFlow::Continue(())
        })?;
        if self.index.covered - from >= HOPPED_BYTES {
            self.index.keep(&self.path, &readable.file);
        }
        Ok(readable)
    }
}

impl Readable {
    /// Reads committed bytes from `at`: at least `least`, about [`READ_BYTES`] if there are so many.
    pub(super) fn read(&self, at: u64, least: u64) -> Result<Buffer> {
        self.read_some(at, least.max(READ_BYTES).min(self.end - at))
    }

    /// An error that says which file is damaged where.
    pub(super) fn damaged(&self, at: u64, what: &str) -> Error {
        damaged(&self.path, at, what)
    }

    fn read_some(&self, at: u64, len: u64) -> Result<Buffer> {
        Buffer::read(&self.file, at, len as usize).map_err(|e| failed("read", &self.path, e))
    }

    /// Visits the headers from `at`, whose batch must begin with offset `base`.
    pub(super) fn hop(
        &self,
        mut at: u64,
        mut base: i64,
        mut each: impl FnMut(u64, &BatchHeader) -> ControlFlow<()>,
    ) -> Result<()> {
        let (mut chunk, mut chunk_at) = (Buffer::from(Vec::new()), at);
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

/// Whether this open file has been removed. Writes to it would be lost with the process.
pub(super) fn is_removed(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.nlink() == 0)
}

/// The error for a removed file.
pub(super) fn removed(path: &Path) -> Error {
    Error::io(format!("{} was removed while it was in use", path.display()))
        .with_hint("restore the file from a copy and restart tidegate")
}

/// The error for a damaged file.
pub(super) fn damaged(path: &Path, at: u64, what: &str) -> Error {
    Error::io(format!("{} is damaged at byte {at}", path.display()))
        .with_detail(what)
        .with_hint("restore the file from a copy, or delete the topic it belongs to")
}
