//! A partition as readers see it: the committed records, and the readers to wake by the next commit.
//!
//! The lock is held for lookups and publication, never while a file is read or synced.

use super::batch::{BatchHeader, Encoded, Sealed};
use super::buffer::Buffer;
use super::fetch::{Fetch, Place};
use super::manifest::SegmentMeta;
use super::policy::{Compactions, Extent, Policy};
use super::pruning::Piece;
use super::segment::{Readable, Segment};
use super::shared_batches::ReaderPositions;
use super::wakeup::Wakeup;
use crate::config::private;
use crate::error::{Error, Result};
use crate::log::topic_config::TopicConfig;
use crate::log::{TopicInfo, Watermarks};
use parking_lot::Mutex;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// The id of the next partition.
static PARTITION_IDS: AtomicU64 = AtomicU64::new(0);

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    /// Name, id and settings.
    pub(super) info: TopicInfo,
    /// Its typed settings.
    pub(super) config: TopicConfig,
    /// When its files are closed and compacted.
    pub(super) policy: Policy,
    /// Partitions by number.
    pub(super) partitions: Vec<Arc<Partition>>,
}

/// A partition.
#[derive(Debug)]
pub(super) struct Partition {
    topic: Arc<str>,
    number: i32,
    /// No other partition of the process has the same, not even one of a topic of the same name.
    pub(super) id: u64,
    /// Where its readers are.
    pub(super) readers: ReaderPositions,
    /// Where its segments are; `None` = in memory.
    directory: Option<PathBuf>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    low: i64,
    next: i64,
    deleted: bool,
    stored: Stored,
    /// Those since the log was opened.
    compactions: Compactions,
    /// Readers that wait for this partition.
    listeners: Vec<Weak<Wakeup>>,
}

#[derive(Debug)]
enum Stored {
    Memory(Vec<Held>),
    /// Never empty once something was written.
    Disk(Vec<Segment>),
}

/// A batch in memory.
#[derive(Debug)]
struct Held {
    base: i64,
    next: i64,
    max_timestamp: i64,
    base_timestamp: i64,
    range: Range<usize>,
    buffer: Arc<Buffer>,
}

/// Where the writer has to put its bytes.
#[derive(Debug)]
pub(super) struct Target {
    /// Offset of the next record.
    pub(super) next: i64,
    /// Base of the segment.
    pub(super) segment: i64,
    /// Byte in the segment.
    pub(super) start: u64,
}

impl Topic {
    /// A topic whose partitions hold what `low`, `next` and segments say.
    pub(super) fn new(
        info: TopicInfo,
        directory: Option<PathBuf>,
        metas: &[super::manifest::PartitionMeta],
        segment_bytes: u64,
    ) -> Result<Topic> {
        let config = TopicConfig::of(&info.config)?;
        let policy = Policy::of(&config, segment_bytes);
        let name: Arc<str> = info.name.as_str().into();
        let partition = |(number, meta): (usize, &super::manifest::PartitionMeta)| {
            let directory = directory.as_ref().map(|d| d.join(number.to_string()));
            let stored = match &directory {
                None => Stored::Memory(Vec::new()),
                Some(d) => Stored::Disk(meta.segments.iter().map(|s| Segment::new(d, s)).collect()),
            };
            let inner = Inner {
                low: meta.low,
                next: meta.next,
                deleted: false,
                stored,
                compactions: Compactions::default(),
                listeners: Vec::new(),
            };
            let (topic, number, id) = (name.clone(), number as i32, PARTITION_IDS.fetch_add(1, Ordering::Relaxed));
            let readers = ReaderPositions::default();
            Arc::new(Partition { topic, number, id, readers, directory, inner: Mutex::new(inner) })
        };
        Ok(Topic { partitions: metas.iter().enumerate().map(partition).collect(), info, config, policy })
    }

    /// A partition by number.
    pub(super) fn partition(&self, number: i32) -> Result<&Arc<Partition>> {
        usize::try_from(number).ok().and_then(|at| self.partitions.get(at)).ok_or_else(|| {
            Error::not_found(format!("topic {} has no partition {number}", self.info.name))
                .with_detail(format!("it has {}", self.partitions.len()))
        })
    }

    /// Marks the partitions as deleted and wakes their readers.
    pub(super) fn delete(&self) {
        for partition in &self.partitions {
            let mut inner = partition.inner.lock();
            inner.deleted = true;
            wake(&mut inner.listeners);
        }
    }
}

impl Partition {
    /// First and next offset.
    pub(super) fn watermarks(&self) -> Watermarks {
        let inner = self.inner.lock();
        Watermarks { low: inner.low, stable: inner.next, high: inner.next }
    }

    /// Size of its records: of all batches in memory, or of the committed part of its files.
    pub(super) fn bytes(&self) -> u64 {
        match &self.inner.lock().stored {
            Stored::Memory(held) => held.iter().map(|h| h.range.len() as u64).sum(),
            Stored::Disk(segments) => segments.iter().map(|s| s.end).sum(),
        }
    }

    /// First and next offset, for a reader: fails once the topic is deleted.
    pub(super) fn bounds(&self) -> Result<Range<i64>> {
        let inner = self.inner.lock();
        match inner.deleted {
            false => Ok(inner.low..inner.next),
            true => Err(Error::not_found(format!("topic {} was deleted", self.topic))),
        }
    }

    /// Wakes `wakeup` whenever something is committed here.
    pub(super) fn listen(&self, wakeup: &Arc<Wakeup>) {
        let listeners = &mut self.inner.lock().listeners;
        listeners.retain(|l| l.strong_count() > 0);
        listeners.push(Arc::downgrade(wakeup));
    }

    /// The batch that contains `offset` or the next existing record, and following ones; `None` at the end.
    pub(super) fn fetch(&self, offset: i64, place: Option<Place>) -> Result<Option<Fetch>> {
        let mut inner = self.inner.lock();
        if offset >= inner.next {
            return Ok(None);
        }
        let offset = offset.max(inner.low);
        match &mut inner.stored {
            Stored::Memory(held) => {
                let found = held.get(held.partition_point(|h| h.next <= offset));
                let fetch = |h: &Held| Fetch {
                    buffer: h.buffer.clone(),
                    rest: h.range.clone(),
                    base: h.base,
                    origin: None,
                    generation: 0,
                };
                Ok(found.map(fetch))
            }
            Stored::Disk(segments) => {
                let at = segments.partition_point(|s| s.base <= offset).saturating_sub(1);
                let is_closed = at + 1 < segments.len();
                let segment = segments.get_mut(at).ok_or_else(|| Error::bug("a partition lost its segments"))?;
                let readable = segment.open()?;
                let generation = segment.generation;
                let known = |p: &Place| p.base == offset && p.generation == generation && p.at < segment.end;
                let (start, base) = match place.filter(known) {
                    Some(p) if offset != segment.base => (p.at, p.base),
                    _ if offset == segment.base => (0, offset),
                    _ => match segment.locate(offset)? {
                        Some(found) => found,
                        None => return Err(readable.damaged(0, "an offset is not where the journal says")),
                    },
                };
                if is_closed {
                    segment.close();
                }
                drop(inner);
                Fetch::read(readable, start, base, generation).map(Some)
            }
        }
    }

    /// First offset whose record is no older than `timestamp`.
    pub(super) fn offset_for_time(&self, timestamp: i64) -> Result<Option<i64>> {
        let mut inner = self.inner.lock();
        let low = inner.low;
        match &mut inner.stored {
            Stored::Memory(held) => {
                for h in held.iter().filter(|h| h.max_timestamp >= timestamp && h.next > low) {
                    let decoded = BatchHeader::read(&h.buffer[h.range.clone()])
                        .and_then(|header| super::batch::Batch::decode(&h.buffer, h.range.start, &header));
                    if let Some(offset) = decoded.map_err(Error::bug)?.first_at_or_after(timestamp, low) {
                        return Ok(Some(offset));
                    }
                }
            }
            Stored::Disk(segments) => {
                let last = segments.len().saturating_sub(1);
                for (at, segment) in segments.iter_mut().enumerate() {
                    let found = segment.offset_for_time(timestamp, low);
                    if at < last {
                        segment.close();
                    }
                    if let Some(offset) = found? {
                        return Ok(Some(offset));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Its pieces, in order.
    pub(super) fn pieces(&self) -> Result<Vec<Piece>> {
        match &mut self.inner.lock().stored {
            Stored::Memory(held) => {
                let piece = |h: &Held| Piece {
                    offsets: h.base..h.next,
                    bytes: h.range.len() as u64,
                    times: h.base_timestamp..=h.max_timestamp,
                };
                Ok(held.iter().map(piece).collect())
            }
            Stored::Disk(segments) => {
                let pieces = segments.iter_mut().map(Segment::pieces).collect::<Result<Vec<_>>>();
                close_but_last(segments);
                let pieces = pieces?;
                Ok(pieces.into_iter().flatten().collect())
            }
        }
    }

    /// The offset, at a boundary of files, below which records are older than `cutoff` or more than `bytes` before the end.
    pub(super) fn expired(&self, cutoff: Option<i64>, bytes: Option<u64>) -> Result<i64> {
        let mut inner = self.inner.lock();
        let next = inner.next;
        // First offset, next offset, size and latest timestamp of each piece that can be deleted as a whole.
        let pieces: Vec<(i64, u64, i64)> = match &mut inner.stored {
            Stored::Memory(held) => held.iter().map(|h| (h.base, h.range.len() as u64, h.max_timestamp)).collect(),
            Stored::Disk(segments) => {
                let piece = |s: &mut Segment| Ok((s.base, s.end, s.max_timestamp()?));
                let pieces = segments.iter_mut().map(piece).collect::<Result<_>>();
                close_but_last(segments);
                pieces?
            }
        };
        let mut kept: u64 = pieces.iter().map(|p| p.1).sum();
        let mut low = inner.low;
        for (at, &(_, len, time)) in pieces.iter().enumerate() {
            let old = cutoff.is_some_and(|cutoff| time < cutoff);
            let much = bytes.is_some_and(|most| kept - len >= most);
            if !old && !much {
                break;
            }
            kept -= len;
            low = low.max(pieces.get(at + 1).map_or(next, |p| p.0));
        }
        Ok(low)
    }

    /// Hides the records below `low` from readers, and returns the files that contain nothing else, with their sizes.
    pub(super) fn trim(&self, low: i64) -> Vec<(PathBuf, u64)> {
        let mut inner = self.inner.lock();
        inner.low = inner.low.max(low);
        let (low, next) = (inner.low, inner.next);
        match &mut inner.stored {
            Stored::Memory(held) => {
                held.retain(|h| h.next > low);
                Vec::new()
            }
            Stored::Disk(segments) => {
                let ends: Vec<i64> = segments.iter().skip(1).map(|s| s.base).chain([next]).collect();
                let gone = ends.iter().take_while(|end| **end <= low).count().min(segments.len());
                segments.drain(..gone).map(|s| (s.path().to_path_buf(), s.end)).collect()
            }
        }
    }

    /// The closed files, which a compaction reads.
    pub(super) fn closed(&self) -> Result<Vec<(SegmentMeta, Readable)>> {
        let mut inner = self.inner.lock();
        let Stored::Disk(segments) = &mut inner.stored else { return Ok(Vec::new()) };
        let closed = segments.len().saturating_sub(1);
        let opened = segments[..closed].iter_mut().map(|s| Ok((s.meta(), s.open()?))).collect();
        close_but_last(segments);
        opened
    }

    /// Its files in numbers.
    pub(super) fn extent(&self) -> Extent {
        self.inner.lock().extent()
    }

    /// Tombstones below this offset have been retained for `retain_ms` since a compaction read them.
    pub(super) fn tombstones_expired_below(&self, now_ms: i64, retain_ms: i64) -> i64 {
        self.inner.lock().compactions.expired_below(now_ms, retain_ms)
    }

    /// Notes a compaction of the records below `until`.
    pub(super) fn compacted(&self, until: i64, now_ms: i64, retain_ms: i64) {
        self.inner.lock().compactions.add(until, now_ms, retain_ms);
    }

    /// Replaces the first files by compacted ones, and returns the obsolete ones, with their sizes.
    pub(super) fn replace(&self, old: usize, new: &[SegmentMeta]) -> Vec<(PathBuf, u64)> {
        let mut inner = self.inner.lock();
        let (Stored::Disk(segments), Some(directory)) = (&mut inner.stored, &self.directory) else { return Vec::new() };
        let fresh: Vec<Segment> = new.iter().map(|meta| Segment::new(directory, meta)).collect();
        segments.splice(..old, fresh).map(|s| (s.path().to_path_buf(), s.end)).collect()
    }

    /// Where its files are; `None` = in memory.
    pub(super) fn directory(&self) -> Option<&std::path::Path> {
        self.directory.as_deref()
    }

    /// Where to write the next `len` bytes. Only the one writer calls this, so the result is valid until it publishes.
    pub(super) fn target(&self, len: u64, policy: &Policy, now_ms: i64) -> Target {
        let mut inner = self.inner.lock();
        let (next, extent) = (inner.next, inner.extent());
        let fresh = Target { next, segment: next, start: 0 };
        let Stored::Disk(segments) = &mut inner.stored else { return fresh };
        let Some(last) = segments.last_mut() else { return fresh };
        let age_ms = last.age_ms(now_ms);
        match policy.closes(&extent, age_ms, len) {
            true => fresh,
            false => Target { next, segment: last.base, start: last.end },
        }
    }

    /// Opens the segment for writing; `true` = it was created. It is invisible until it is published.
    pub(super) fn writable(&self, target: &Target) -> Result<Option<(Readable, bool)>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let mut inner = self.inner.lock();
        let Stored::Disk(segments) = &mut inner.stored else { return Ok(None) };
        match segments.iter_mut().rev().find(|s| s.base == target.segment) {
            Some(segment) => Ok(Some((segment.open()?, false))),
            None => {
                private::create_dir_all(directory).map_err(|e| super::segment::failed("create", directory, e))?;
                Ok(Some((Segment::new(directory, &fresh(target)).open()?, true)))
            }
        }
    }

    /// Publishes committed batches and wakes readers; `true` = another file was closed.
    pub(super) fn publish(&self, target: &Target, encoded: Encoded) -> bool {
        let mut inner = self.inner.lock();
        let mut has_closed = false;
        let (len, records) = (encoded.bytes.len() as u64, encoded.records);
        match &mut inner.stored {
            Stored::Memory(held) => {
                let buffer = Arc::new(Buffer::from(encoded.bytes));
                let mut base = target.next;
                for b in encoded.batches {
                    let next = base + i64::from(b.records);
                    let (range, buffer) = (b.range.clone(), buffer.clone());
                    let Sealed { max_timestamp, base_timestamp, .. } = b;
                    held.push(Held { base, next, max_timestamp, base_timestamp, range, buffer });
                    base = next;
                }
            }
            Stored::Disk(segments) => {
                if segments.last().is_none_or(|s| s.base != target.segment) {
                    if let Some(closed) = segments.last_mut() {
                        closed.keep_index();
                        closed.close();
                        has_closed = true;
                    }
                    let directory = self.directory.as_deref().expect("segments on disk have a directory");
                    segments.push(Segment::new(directory, &fresh(target)));
                }
                let last = segments.last_mut().expect("one was there or was pushed");
                last.extend(&encoded.batches, len);
            }
        }
        inner.next = target.next + records;
        wake(&mut inner.listeners);
        has_closed
    }

    /// Writes the index of the last file, for the next start.
    pub(super) fn keep_index(&self) {
        if let Stored::Disk(segments) = &mut self.inner.lock().stored {
            segments.last_mut().into_iter().for_each(Segment::keep_index);
        }
    }

    /// Name and number, for messages.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.topic, self.number)
    }

    /// Where a segment of it is.
    pub(super) fn path(directory: &std::path::Path, number: usize, segment: &SegmentMeta) -> PathBuf {
        directory.join(number.to_string()).join(super::segment::file_name(segment))
    }
}

impl Inner {
    fn extent(&self) -> Extent {
        let Stored::Disk(segments) = &self.stored else { return Extent::default() };
        let clean = segments.iter().filter(|s| s.generation > 0).map(|s| s.end).sum();
        Extent { open: segments.last().map_or(0, |s| s.end), clean, all: segments.iter().map(|s| s.end).sum() }
    }
}

/// Closes the files that are not written: a partition has many of them, and a process may open about a thousand.
fn close_but_last(segments: &mut [Segment]) {
    segments.split_last_mut().into_iter().flat_map(|(_, closed)| closed).for_each(Segment::close);
}

/// A new segment for the writer.
fn fresh(target: &Target) -> SegmentMeta {
    SegmentMeta { base: target.segment, end: 0, generation: 0 }
}

/// Wakes the existing readers and removes the dropped ones.
fn wake(listeners: &mut Vec<Weak<Wakeup>>) {
    listeners.retain(|l| l.upgrade().inspect(|wakeup| wakeup.data()).is_some());
}
