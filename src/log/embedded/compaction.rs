//! Log compaction: the last record of each key is retained, and a tombstone for `delete.retention.ms`, so that every reader can
//! see it (Kafka's `LogCleaner`).
//!
//! Closed segments that were written since the last compaction are read for the last offset of every key (the others have no key
//! twice), and then all of them to copy the retained records into new files, which a journal entry then substitutes for the old ones. Records keep their offsets, so that offsets have gaps
//! afterwards; batches still cover all offsets between them, which keeps the index valid. The writer is blocked only for the
//! journal entry.

use super::batch::{Batch, BatchHeader, CRC_FROM, HEADER_BYTES};
use super::bytes::Cursor;
use super::commit::Shared;
use super::entry::Change;
use super::journal::sync_directory;
use super::maintenance::remove;
use super::manifest::SegmentMeta;
use super::partition::Topic;
use super::segment::{Readable, failed, file_name};
use crate::config::private;
use crate::error::Result;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Bytes of keys in memory during one compaction, as `log.cleaner.dedupe.buffer.size`. The rest waits for the next one.
const KEY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Overhead of a map entry besides its bytes.
const KEY_OVERHEAD: usize = 48;
/// Bytes collected before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

/// Last offset of every key.
type Latest = HashMap<Box<[u8]>, i64>;

/// Decides which records are retained.
struct Rule<'a> {
    latest: &'a Latest,
    /// Tombstones below this offset are dropped.
    tombstones_below: i64,
}

impl Rule<'_> {
    fn keeps(&self, offset: i64, key: Option<&[u8]>, has_value: bool) -> bool {
        // Kafka refuses records without a key in compacted topics; nothing is lost by retaining them.
        let Some(key) = key else { return true };
        self.latest.get(key).is_none_or(|last| *last <= offset) && (has_value || offset >= self.tombstones_below)
    }
}

impl Shared {
    /// Compacts one partition if enough of it is dirty.
    pub(super) fn compact(&self, topic: &Topic, number: usize) -> Result<()> {
        let partition = &topic.partitions[number];
        let Some(directory) = partition.directory() else { return Ok(()) };
        let id = topic.info.id.0;
        if !topic.policy.compacts(&partition.extent()) {
            return Ok(());
        }
        let mut closed = partition.closed()?;
        let (latest, files, until) = last_offsets(&closed)?;
        closed.truncate(files);
        let (now_ms, retain_ms) = (self.clock.now_ms(), topic.config.tombstones_ms);
        let tombstones_below = partition.tombstones_expired_below(now_ms, retain_ms);
        let rule = Rule { latest: &latest, tombstones_below };
        let new = match copy(&closed, directory, topic.policy.segment_bytes(), &rule) {
            Ok(new) => new,
            Err((error, files)) => {
                files.iter().for_each(|path| remove(path));
                return Err(error);
            }
        };
        let old: Vec<SegmentMeta> = closed.iter().map(|(meta, _)| *meta).collect();
        let mut writer = self.write();
        let same = |s: &Vec<SegmentMeta>| s.starts_with(&old);
        let found = self.catalog.read().manifest.topics.get(&id).is_some_and(|t| same(&t.partitions[number].segments));
        if !found {
            // Dropped or deleted meanwhile.
            drop(writer);
            new.iter().for_each(|meta| remove(&directory.join(file_name(meta))));
            return Ok(());
        }
        let files = old.len();
        let change = Change::Compact { topic: id, partition: number as u32, compacted: until, old, new };
        let changed = self.change(&mut writer, &change);
        let Change::Compact { new, .. } = change else { return Ok(()) };
        if let Err(error) = changed {
            if !writer.is_broken() {
                // On a full disk they would occupy space that others need.
                new.iter().for_each(|meta| remove(&directory.join(file_name(meta))));
            }
            return Err(error);
        }
        let gone = partition.replace(files, &new);
        self.shared_batches.forget(partition.id);
        partition.compacted(until, now_ms, retain_ms);
        self.work.copied(new.iter().map(|s| s.end).sum());
        self.discard(writer, &gone);
        Ok(())
    }
}

/// Last offset of each key in the files that are not compacted yet, as many as memory allows, the number of files up to the last of
/// them, and the offset after it.
fn last_offsets(files: &[(SegmentMeta, Readable)]) -> Result<(Latest, usize, i64)> {
    let (mut latest, mut bytes, mut until) = (Latest::new(), 0, 0);
    for (at, (meta, readable)) in files.iter().enumerate().filter(|(_, (meta, _))| meta.generation == 0) {
        if bytes > KEY_BYTES_MAX {
            return Ok((latest, at, until));
        }
        each_batch(readable, meta.base, |header, batch| {
            batch.for_each_key(|offset, _, key, _| {
                let Some(key) = key else { return };
                match latest.get_mut(key) {
                    Some(last) => *last = offset,
                    None => {
                        bytes += key.len() + KEY_OVERHEAD;
                        latest.insert(key.into(), offset);
                    }
                }
            });
            until = header.next;
            Ok(())
        })?;
    }
    Ok((latest, files.len(), until))
}

/// Decodes a file batch by batch.
fn each_batch(readable: &Readable, base: i64, mut each: impl FnMut(&BatchHeader, &Batch) -> Result<()>) -> Result<()> {
    let mut failure = None;
    readable.hop(0, base, |at, header| match readable.batch(at, header).and_then(|batch| each(header, &batch)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failure.map_or(Ok(()), Err)
}

/// Copies the retained records. A failure returns the files created so far with the error.
fn copy(
    files: &[(SegmentMeta, Readable)],
    directory: &Path,
    most: u64,
    rule: &Rule<'_>,
) -> Result<Vec<SegmentMeta>, (crate::error::Error, Vec<PathBuf>)> {
    let generation = files.iter().map(|(meta, _)| meta.generation).max().unwrap_or(0) + 1;
    let mut copy = Copy { directory, generation, most, done: Vec::new(), file: None, waiting: Vec::new(), open: None };
    let copied = files.iter().try_for_each(|(meta, readable)| {
        each_batch(readable, meta.base, |header, batch| copy.add(header, batch, rule))
    });
    match copied.and_then(|()| copy.finish()) {
        Ok(()) => Ok(copy.done),
        Err(error) => {
            let made = copy.done.iter().map(|meta| directory.join(file_name(meta))).collect();
            Err((error, made))
        }
    }
}

/// New files being written.
struct Copy<'a> {
    directory: &'a Path,
    generation: u32,
    most: u64,
    /// The files; the last one is open.
    done: Vec<SegmentMeta>,
    file: Option<File>,
    /// Finished batches that are not written yet.
    waiting: Vec<u8>,
    /// The last batch, which is extended over the offsets of empty batches after it.
    open: Option<CompactedBatch>,
}

impl Copy<'_> {
    fn add(&mut self, header: &BatchHeader, batch: &Batch, rule: &Rule<'_>) -> Result<()> {
        let thinned = batch.thin(header, |offset, _, key, value| rule.keeps(offset, key, value));
        if thinned.is_empty() && self.open.as_mut().is_some_and(|open| open.cover(header.next)) {
            return Ok(());
        }
        self.close_batch()?;
        self.open = Some(thinned);
        Ok(())
    }

    fn close_batch(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let (base, bytes) = open.finish();
        let full = |meta: &SegmentMeta| meta.end + bytes.len() as u64 > self.most;
        if self.done.last().is_none_or(full) {
            self.close_file()?;
            let meta = SegmentMeta { base, end: 0, generation: self.generation };
            let path = self.directory.join(file_name(&meta));
            self.done.push(meta);
            let made = private::options().write(true).create(true).truncate(true).open(&path);
            self.file = Some(made.map_err(|e| failed("create", &path, e))?);
        }
        if let Some(last) = self.done.last_mut() {
            last.end += bytes.len() as u64;
        }
        self.waiting.extend_from_slice(&bytes);
        if self.waiting.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        if let (Some(file), Some(meta)) = (&mut self.file, self.done.last()) {
            let written = file.write_all(&self.waiting);
            written.map_err(|e| failed("write", &self.directory.join(file_name(meta)), e))?;
            self.waiting.clear();
        }
        Ok(())
    }

    fn close_file(&mut self) -> Result<()> {
        self.write()?;
        if let (Some(file), Some(meta)) = (self.file.take(), self.done.last()) {
            file.sync_all().map_err(|e| failed("sync", &self.directory.join(file_name(meta)), e))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.close_batch()?;
        self.close_file()?;
        sync_directory(self.directory)
    }
}

/// A batch without some of its records. The bytes of the remaining records are copied unchanged, since their offsets and times
/// are relative to the header of the batch, which stays the same.
#[derive(Debug)]
pub(super) struct CompactedBatch {
    base: i64,
    records: i32,
    bytes: Vec<u8>,
}

impl Batch {
    /// A copy with the records that `keep` accepts, given offset, timestamp, key and whether there is a value.
    pub(super) fn thin(
        &self,
        header: &BatchHeader,
        mut keep: impl FnMut(i64, i64, Option<&[u8]>, bool) -> bool,
    ) -> CompactedBatch {
        let from = self.bytes(header);
        let mut wanted = Vec::with_capacity(self.len());
        self.for_each_key(|offset, time, key, value| wanted.push(keep(offset, time, key, value)));
        let mut bytes = from[..HEADER_BYTES].to_vec();
        let mut cursor = Cursor::from(from, HEADER_BYTES);
        let mut records = 0;
        for wanted in wanted {
            let start = cursor.at();
            // The batch has been decoded: its lengths are valid.
            let len = cursor.varint().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
            let _ = cursor.take(len);
            if wanted {
                bytes.extend_from_slice(&from[start..cursor.at()]);
                records += 1;
            }
        }
        CompactedBatch { base: header.base, records, bytes }
    }
}

impl CompactedBatch {
    /// Whether no record is left.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Covers all offsets before `next` too; `false` if they are too many for one batch.
    pub(super) fn cover(&mut self, next: i64) -> bool {
        let Ok(last) = i32::try_from(next - 1 - self.base) else { return false };
        self.bytes[23..27].copy_from_slice(&last.to_be_bytes());
        true
    }

    /// First offset and bytes.
    pub(super) fn finish(mut self) -> (i64, Vec<u8>) {
        let len = (self.bytes.len() - 12) as i32;
        self.bytes[8..12].copy_from_slice(&len.to_be_bytes());
        self.bytes[57..61].copy_from_slice(&self.records.to_be_bytes());
        let crc = crc32c::crc32c(&self.bytes[CRC_FROM..]);
        self.bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        (self.base, self.bytes)
    }
}
