//! The sparse index of a segment: positions of offsets and timestamps in the file, one entry per 64 KiB.
//!
//! ```text
//! "TGX2" crc32c:u32 of the rest
//! covered:u64 next:i64            up to which byte of the segment, and the offset of the batch there
//! fingerprint:u32                 of the headers of the batches at the first and the last mark
//! then per mark  base:i64 at:u64 max_timestamp:i64 min_timestamp:i64
//! ```
//!
//! The file `<segment>.index` is redundant: it is written when a large segment is closed or searched, and when the log is
//! closed, and contains only what the batch headers of the segment contain. One that is missing, damaged or of another segment
//! is rebuilt by scanning the headers; without it, a search by time in a log with small batches would read all of it. It covers
//! a prefix of the segment; the rest is scanned.

use super::batch::{HEADER_BYTES as BATCH_HEADER_BYTES, Sealed};
use crate::config::private;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes per entry: 4,096 entries for a full segment.
const MARK_BYTES: u64 = 64 * 1024;
/// Smaller segments are scanned as fast as an index file is opened.
const KEPT_FROM_BYTES: u64 = 1024 * 1024;
const MAGIC: &[u8; 4] = b"TGX2";
const HEADER_BYTES: usize = 28;
const MARK_LEN: usize = 32;

/// The position of the batch with this base offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) base: i64,
    pub(super) at: u64,
    /// Largest timestamp up to the next mark.
    pub(super) max_timestamp: i64,
    /// Smallest timestamp up to the next mark.
    pub(super) min_timestamp: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) marks: Vec<Mark>,
    /// Bytes of the segment that `marks` cover.
    pub(super) covered: u64,
    /// Offset after them.
    pub(super) next: i64,
    /// Bytes that the index file covers; it is only written again when there are more.
    kept: u64,
    /// Whether all of it was derived from the segment itself, nothing from an index file.
    pub(super) seen: bool,
}

impl Index {
    /// An empty index.
    pub(super) fn new(base: i64) -> Index {
        Index { marks: Vec::new(), covered: 0, next: base, kept: 0, seen: true }
    }

    /// Adds the batch at `covered`.
    pub(super) fn add(&mut self, base: i64, len: u64, next: i64, times: RangeInclusive<i64>) {
        let at = self.covered;
        match self.marks.last_mut() {
            Some(last) if at < last.at + MARK_BYTES => {
                last.max_timestamp = last.max_timestamp.max(*times.end());
                last.min_timestamp = last.min_timestamp.min(*times.start());
            }
            _ => self.marks.push(Mark { base, at, max_timestamp: *times.end(), min_timestamp: *times.start() }),
        }
        (self.covered, self.next) = (at + len, next);
    }

    /// Adds batches that were appended at `covered`.
    pub(super) fn extend(&mut self, batches: &[Sealed]) {
        for batch in batches {
            let (base, records) = (self.next, i64::from(batch.records));
            let times = batch.base_timestamp..=batch.max_timestamp;
            self.add(base, batch.range.len() as u64, base + records, times);
        }
    }

    /// Loads the index file of `segment`, if it belongs to this segment, which starts at `base` and has `end` bytes.
    pub(super) fn load(segment: &Path, file: &File, base: i64, end: u64) -> Option<Index> {
        if end < KEPT_FROM_BYTES {
            return None;
        }
        let (index, print) = Index::parse(&fs::read(path_of(segment)).ok()?)?;
        let first = index.marks.first().is_some_and(|m| m.base == base && m.at == 0);
        (first && index.covered <= end && fingerprint(file, &index.marks)? == print).then_some(index)
    }

    fn parse(bytes: &[u8]) -> Option<(Index, u32)> {
        let (head, marks) = bytes.split_at_checked(HEADER_BYTES)?;
        let checked = head[..4] == *MAGIC && crc32c::crc32c(&bytes[8..]).to_le_bytes() == head[4..8];
        if !checked || !marks.len().is_multiple_of(MARK_LEN) {
            return None;
        }
        let word = |bytes: &[u8], at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let mark = |b: &[u8]| Mark {
            base: word(b, 0) as i64,
            at: word(b, 8),
            max_timestamp: word(b, 16) as i64,
            min_timestamp: word(b, 24) as i64,
        };
        let marks: Vec<Mark> = marks.chunks_exact(MARK_LEN).map(mark).collect();
        let (covered, next) = (word(head, 8), word(head, 16) as i64);
        let rising = marks.is_sorted_by(|a, b| a.base < b.base && a.at < b.at);
        let last = marks.last().is_some_and(|m| m.at < covered && m.base < next);
        let print = u32::from_le_bytes(head[24..28].try_into().ok()?);
        (rising && last).then_some((Index { marks, covered, next, kept: covered, seen: false }, print))
    }

    /// Writes the index file of `segment` if it is out of date and large enough. A failure is harmless.
    pub(super) fn keep(&mut self, segment: &Path, file: &File) {
        if self.covered < KEPT_FROM_BYTES || self.covered == self.kept {
            return;
        }
        let Some(print) = fingerprint(file, &self.marks) else { return };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.marks.len() * MARK_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.covered.to_le_bytes());
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.extend_from_slice(&print.to_le_bytes());
        for mark in &self.marks {
            bytes.extend_from_slice(&mark.base.to_le_bytes());
            bytes.extend_from_slice(&mark.at.to_le_bytes());
            bytes.extend_from_slice(&mark.max_timestamp.to_le_bytes());
            bytes.extend_from_slice(&mark.min_timestamp.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        match private::write(&path_of(segment), &bytes) {
            Ok(()) => self.kept = self.covered,
            Err(error) => {
                tracing::debug!(segment = %segment.display(), %error, "cannot write an index file");
                // On a full disk a partial file would only occupy space.
                remove(segment);
            }
        }
    }
}

/// Batch headers contain checksums, so that another segment has another fingerprint.
fn fingerprint(file: &File, marks: &[Mark]) -> Option<u32> {
    let mut crc = 0;
    for mark in [marks.first()?, marks.last()?] {
        let mut header = [0; BATCH_HEADER_BYTES];
        file.read_exact_at(&mut header, mark.at).ok()?;
        crc = crc32c::crc32c_append(crc, &header);
    }
    Some(crc)
}

/// Where a segment's index is.
pub(super) fn path_of(segment: &Path) -> PathBuf {
    segment.with_extension("index")
}

/// Removes a segment's index. If that fails, the next start removes it.
pub(super) fn remove(segment: &Path) {
    let _ = fs::remove_file(path_of(segment));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_nothing_else_does() {
        let directory = tempfile::tempdir().expect("a directory");
        let segment = directory.path().join("00000000000000000007.log");
        let mut bytes: Vec<u8> = (0..2_000_000u32).map(|i| (i / 1000) as u8).collect();
        fs::write(&segment, &bytes).expect("a segment");
        let open = || File::open(&segment).expect("the segment");
        let mut index = Index::new(7);
        (0..40_000).for_each(|i| index.add(7 + i, 50, 8 + i, i % 900..=i % 1000));
        index.keep(&segment, &open());
        let end = index.covered;
        let back = Index::load(&segment, &open(), 7, end + 5).expect("it was kept");
        assert_eq!((&back.marks, back.covered, back.next), (&index.marks, index.covered, index.next));
        assert!(Index::load(&segment, &open(), 8, end).is_none(), "it begins elsewhere");
        assert!(Index::load(&segment, &open(), 7, end - 1).is_none(), "it knows of bytes that are not committed");
        let kept = fs::read(path_of(&segment)).expect("the file");
        for at in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(Index::parse(&damaged).is_none(), "a bit flipped at {at}");
            assert!(Index::parse(&kept[..at]).is_none(), "cut at {at}");
        }
        bytes[20] ^= 1;
        fs::write(&segment, &bytes).expect("a segment");
        assert!(Index::load(&segment, &open(), 7, end).is_none(), "another segment's");
    }

    #[test]
    fn small_segments_have_no_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let segment = directory.path().join("a.log");
        fs::write(&segment, [0; 100]).expect("a segment");
        let mut index = Index::new(0);
        index.add(0, KEPT_FROM_BYTES - 1, 5, 0..=0);
        index.keep(&segment, &File::open(&segment).expect("the segment"));
        assert!(!path_of(&segment).exists());
    }
}
