//! The rows of a table by key, as its query has committed them: what queries without EMIT read.
//!
//! ```text
//! worker: ... -> commit -> publish(records of the epoch)      reader: open -> find keys, or a snapshot of all
//!                                        |                                          |
//!                                        +----> key -> (value, time) <--------------+
//! ```
//!
//! A view holds the bytes that the sink's topic got, so that what a reader decodes is what a reader of the topic decodes.
//! It is built at the first lookup: from then on commits are collected, the topic is read to its end, and
//! the collected commits are put on top. To put a commit in twice does no harm, because the last value of a key counts.
//! Until the first lookup, a query checks one flag per commit; nothing is kept for a table that is not read.
//!
//! **Fed by commits or by the topic** ([`Feed`]). Where another process may write the topic (it runs the query, or has rows
//! inserted), commits of this process are not all there is. Such a view is *followed*: read to the end of the topic in the same
//! way, and from there on advanced by the one thread that reads the topics of all followed views ([`Followers`]). It has a lag
//! ([`Lag`]). A view whose topic is followed stays so until it is dropped, because the topic has every commit, too.
//!
//! **What a reader sees.** Nothing of an epoch before its commit, and all of it from then on: a commit is put in
//! under one lock. (Under at-least-once: what was delivered, as everybody else who reads the topic.) A lookup of several keys sees one commit. A scan takes a [`Snapshot`], which is one commit too; taking it
//! copies references, not rows, and the worker continues meanwhile. A followed view shows committed records only, but an epoch of
//! which the reader got one part before the other appears in two steps.
//!
//! Each partition of the topic has a store of its own, so that the rows of a scan come partition by partition; those of one
//! partition by their key bytes, or, where they are many, as their keys were first seen.
//!
//! **What it does not do.** Records that others write into the topic of a view that is fed by commits are seen when the view is
//! made, not before.

mod followers;
mod key_range;
#[cfg(test)]
mod model;
mod snapshot;
mod store;
mod tail;
mod window_suffix;

pub use followers::Followers;
pub use key_range::KeyRange;
pub use snapshot::Snapshot;
pub use store::FoundRow;
pub use tail::{Lag, LagLimits};

use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::execute::record::schema_headers::SchemaHeaders;
use crate::execute::record::writer_ids::WriterIds;
use crate::format::Side;
use crate::format::canonical::CanonicalKey;
use crate::format::frame::SharedSchemas;
use crate::log::{Assignment, Isolation, Log, RecordSet, Run, Start, TopicPartition, partition};
use crate::plan::WindowBounds;
use crate::types::clock::SharedClock;
use crate::types::time::Window;
use parking_lot::{Mutex, RwLock};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::Store;
use tail::Tail;
use window_suffix::WindowSuffix;

/// Memory that one table's view may take; a larger table is read from its topic by every query.
pub const VIEW_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A view that was not read for so long is dropped; the next lookup builds it again.
pub const IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// Records read at once while a view is made.
const READ_RECORDS: usize = 8_192;
/// How long one poll waits meanwhile, and after how many polls without progress the topic is given up on.
const READ_POLL: Duration = Duration::from_millis(100);
const IDLE_POLLS_MAX: u32 = 300;
/// How often a view is begun again because its query started anew meanwhile.
const ATTEMPTS_MAX: u32 = 10;

/// One table's committed rows.
pub struct View {
    topic: Arc<str>,
    partitions: u32,
    shape: WindowSuffix,
    /// Brings keys of several writers into the form of the sink's own; `None` = they have one form.
    canonical: Option<Mutex<CanonicalKey>>,
    /// Looks up the schemas of the keys' writers.
    writer_ids: WriterIds,
    headers: SchemaHeaders,
    clock: SharedClock,
    /// Commits are wanted: looked at by the worker before anything else.
    wanted: AtomicBool,
    phase: RwLock<Phase>,
    /// Held by the one who makes it.
    making: Mutex<()>,
    /// When it was read last, in milliseconds of the clock.
    read_ms: AtomicU64,
}

/// Where the rows of a view come from, once it is made.
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a> {
    /// From the query, which runs in this process: [`View::publish`]. No other process writes the topic.
    Commits,
    /// From the topic.
    Topic(&'a Followers),
}

/// How far it is.
enum Phase {
    /// Nobody has asked.
    Off,
    /// Being made: the commits wait, and how many bytes they have; `None` = it is going to follow its topic.
    Making(Option<(Vec<RecordSet>, usize)>),
    /// In use.
    Ready(Contents),
    /// More than may be in memory.
    TooLarge,
}

/// The rows of a view in use.
struct Contents {
    /// By partition.
    stores: Vec<Store>,
    /// How far its topic is followed; `None` = it is fed by commits.
    tail: Option<Tail>,
}

impl Contents {
    /// Whether it has the rows of this feed. A topic has every commit.
    fn has(&self, feed: Feed<'_>) -> bool {
        self.tail.is_some() || matches!(feed, Feed::Commits)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl View {
    /// The view of a table that a query writes; `window` is that of its grouping, `schemas` those of the topic's writers.
    pub fn new(sink: &Source, window: Option<&Window>, schemas: &SharedSchemas, clock: SharedClock) -> View {
        View {
            topic: sink.topic.as_str().into(),
            partitions: sink.partitions,
            shape: WindowSuffix::of(sink, window),
            // What is wrong with the sink's key is reported by the query that cannot write it.
            canonical: CanonicalKey::new(Side::key(sink), schemas).ok().flatten().map(Mutex::new),
            writer_ids: WriterIds::of(sink, schemas),
            headers: SchemaHeaders::of(sink),
            clock,
            wanted: AtomicBool::new(false),
            phase: RwLock::new(Phase::Off),
            making: Mutex::new(()),
            read_ms: AtomicU64::new(0),
        }
    }

    /// Puts in the rows of a commit, once it is committed. Called by the query's thread.
    pub fn publish(&self, rows: Option<&RecordSet>) {
        if !self.wanted.load(Ordering::SeqCst) {
            return;
        }
        let mut phase = self.phase.write();
        match &mut *phase {
            Phase::Off | Phase::TooLarge | Phase::Making(None) => {}
            Phase::Making(Some((waiting, bytes))) => {
                *bytes += rows.map_or(0, |rows| rows.data.len());
                waiting.extend(rows.cloned());
                if *bytes > VIEW_BYTES_MAX {
                    self.forget(&mut phase, Phase::TooLarge);
                }
            }
            // The topic brings these rows.
            Phase::Ready(Contents { tail: Some(_), .. }) => {}
            Phase::Ready(Contents { stores, tail: None }) => {
                if let Some(rows) = rows {
                    self.apply(stores, rows);
                }
                self.limit(&mut phase);
            }
        }
    }

    /// Drops what is too large, or was not read for long.
    fn limit(&self, phase: &mut Phase) {
        let Phase::Ready(Contents { stores, .. }) = phase else { return };
        if bytes(stores) > VIEW_BYTES_MAX {
            tracing::warn!(topic = %self.topic, "the table is too large to be read from memory");
            self.forget(phase, Phase::TooLarge);
        } else if self.idle() > IDLE_MAX {
            self.forget(phase, Phase::Off);
        }
    }

    /// Forgets everything: a query starts anew, and what its predecessor committed last is not known here.
    pub fn reset(&self) {
        let mut phase = self.phase.write();
        self.forget(&mut phase, Phase::Off);
    }

    fn forget(&self, phase: &mut Phase, next: Phase) {
        *phase = next;
        self.wanted.store(false, Ordering::SeqCst);
    }

    fn idle(&self) -> Duration {
        let read = Duration::from_millis(self.read_ms.load(Ordering::Relaxed));
        self.clock.monotonic().saturating_sub(read)
    }

    fn touched(&self) {
        self.read_ms.store(self.clock.monotonic().as_millis() as u64, Ordering::Relaxed);
    }

    /// Can it be read at once, with the rows of this feed?
    pub fn is_ready(&self, feed: Feed<'_>) -> bool {
        matches!(&*self.phase.read(), Phase::Ready(contents) if contents.has(feed))
    }

    /// Makes it readable; `false` = the table is too large for it. Blocks while the topic is read.
    pub fn open(self: &Arc<View>, log: &dyn Log, feed: Feed<'_>) -> Result<bool> {
        self.touched();
        if self.is_ready(feed) {
            return Ok(true);
        }
        let _one = self.making.lock();
        for _ in 0..ATTEMPTS_MAX {
            match &*self.phase.read() {
                Phase::Ready(contents) if contents.has(feed) => return Ok(true),
                Phase::TooLarge => return Ok(false),
                Phase::Off | Phase::Making(..) | Phase::Ready(_) => {}
            }
            let of_commits = matches!(feed, Feed::Commits);
            *self.phase.write() = Phase::Making(of_commits.then(Default::default));
            // From here on a commit is either collected or was visible before the topic's end is asked for.
            self.wanted.store(of_commits, Ordering::SeqCst);
            let began = self.clock.monotonic();
            let read = self.read(log);
            let mut phase = self.phase.write();
            let (mut stores, positions) = match read {
                Ok(Some(read)) => read,
                Ok(None) => {
                    self.forget(&mut phase, Phase::TooLarge);
                    return Ok(false);
                }
                Err(e) => {
                    self.forget(&mut phase, Phase::Off);
                    return Err(e);
                }
            };
            let Phase::Making(waiting) = &*phase else { continue };
            waiting.iter().flat_map(|(rows, _)| rows).for_each(|rows| self.apply(&mut stores, rows));
            self.touched();
            let tail = match feed {
                Feed::Commits => None,
                Feed::Topic(followers) => Some(followers.follow(self, positions, began)?),
            };
            *phase = Phase::Ready(Contents { stores, tail });
            return Ok(true);
        }
        Err(Error::io("the query that writes the table starts again and again"))
    }

    /// The topic as it is committed now, and the offsets behind that; `None` = too large.
    fn read(&self, log: &dyn Log) -> Result<Option<(Vec<Store>, Vec<i64>)>> {
        let mut stores: Vec<Store> = (0..self.partitions.max(1)).map(|_| Store::new(self.shape)).collect();
        let all = self.places();
        // The high watermark, not the stable one, which may lag behind a commit: what lies between is
        // decided within a commit's time, and the reader's position passes it then.
        let ends = all.iter().map(|p| Ok(log.watermarks(p)?.high)).collect::<Result<Vec<_>>>()?;
        let begin =
            |p: &TopicPartition| Assignment { topic: p.topic.clone(), partition: p.partition, start: Start::Earliest };
        let mut reader = log.reader(all.iter().map(begin).collect(), Isolation::ReadCommitted)?;
        let (mut idle, mut writer_ids) = (0, self.writer_ids.clone());
        while ends.iter().enumerate().any(|(slot, &end)| reader.position(slot) < end) {
            let fetched = reader.poll(READ_RECORDS, READ_POLL)?;
            idle = if fetched.is_empty() { idle + 1 } else { 0 };
            if idle > IDLE_POLLS_MAX {
                return Err(Error::io(format!("topic {} cannot be read to its end", self.topic)));
            }
            for run in fetched.runs() {
                let mut rows = RecordSet::default();
                self.take(run, run.slot as i32, &mut writer_ids, &mut rows)?;
                self.apply(&mut stores, &rows);
            }
            if bytes(&stores) > VIEW_BYTES_MAX {
                return Ok(None);
            }
        }
        let positions = (0..all.len()).map(|slot| reader.position(slot)).collect();
        Ok(Some((stores, positions)))
    }

    /// Every partition of its topic.
    fn places(&self) -> Vec<TopicPartition> {
        (0..self.partitions as i32).map(|p| TopicPartition::new(self.topic.clone(), p)).collect()
    }

    /// Copies the records of a run of this partition.
    fn take(&self, run: &Run, partition: i32, writer_ids: &mut WriterIds, rows: &mut RecordSet) -> Result<()> {
        if self.canonical.is_some() {
            writer_ids.resolve_within(run)?;
        }
        run.for_each(|r| {
            let (key, value) = self.headers.framed(&r);
            rows.push(partition, r.timestamp, key.as_deref(), value.as_deref());
        });
        Ok(())
    }

    /// Puts a commit in, each row where its key is looked for.
    fn apply(&self, stores: &mut [Store], rows: &RecordSet) {
        match &self.canonical {
            None => apply(stores, rows),
            Some(canonical) => apply(stores, &canonical_rows(&mut canonical.lock(), self.shape, rows, stores.len())),
        }
    }

    /// Looks up the rows of these keys (bytes without a window), each as of the same commit. Answers `false` if the view
    /// is not open (any more).
    pub fn find(&self, keys: &[(Vec<u8>, WindowBounds)], found: &mut dyn FnMut(FoundRow<'_>)) -> bool {
        self.touched();
        match &*self.phase.read() {
            Phase::Ready(Contents { stores, .. }) => {
                for (key, bounds) in keys {
                    // Where the sink has put it: by the key without its window.
                    let partition = partition::java(key, stores.len() as u32);
                    stores[partition as usize].find(key, bounds, found);
                }
                true
            }
            _ => false,
        }
    }

    /// How far it is behind its topic; `None` = it is not followed: it has every commit.
    pub fn lag(&self) -> Option<Lag> {
        match &*self.phase.read() {
            Phase::Ready(Contents { tail: Some(tail), .. }) => Some(tail.lag(self.clock.monotonic())),
            _ => None,
        }
    }

    /// All rows as of the last commit; `None` if the view is not open (any more).
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.touched();
        match &*self.phase.read() {
            Phase::Ready(Contents { stores, .. }) => Some(Snapshot::of(stores)),
            _ => None,
        }
    }
}

/// The rows with keys in one form, each in the partition of that form. Rows that have it already stay where they are.
fn canonical_rows(canonical: &mut CanonicalKey, shape: WindowSuffix, rows: &RecordSet, partitions: usize) -> RecordSet {
    let mut out = RecordSet::default();
    for (at, row) in rows.rows.iter().enumerate() {
        let key = rows.key(at);
        let inner = key.and_then(|key| shape.split(key)).map(|(inner, ..)| inner);
        match (key, inner.map(|inner| (inner, canonical.of(inner)))) {
            (Some(key), Some((inner, Cow::Owned(form)))) => {
                let partition = partition::java(&form, partitions as u32);
                let whole = [&form, &key[inner.len()..]].concat();
                out.push(partition, row.timestamp, Some(&whole), rows.value(at));
            }
            (key, _) => out.push(row.partition, row.timestamp, key, rows.value(at)),
        }
    }
    out
}

/// Puts a commit in, each record where its partition is.
fn apply(stores: &mut [Store], rows: &RecordSet) {
    let mut picked: Vec<Vec<u32>> = vec![Vec::new(); stores.len()];
    for (at, row) in rows.rows.iter().enumerate() {
        if let Some(picked) = picked.get_mut(row.partition.max(0) as usize) {
            picked.push(at as u32);
        }
    }
    for (store, picked) in stores.iter_mut().zip(picked) {
        if !picked.is_empty() {
            store.apply(rows, &picked);
        }
    }
}

fn bytes(stores: &[Store]) -> usize {
    stores.iter().map(Store::bytes).sum()
}
