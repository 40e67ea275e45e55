//! Snapshots of state on the local disk: a restart reads the newest one and the rest of the changelog.
//!
//! A snapshot holds changelog entries, the same bytes under the same keys, one of each living key. So it is restored as the
//! changelog is, and is as compatible. The changelog is the truth: a snapshot that does not fit it is named in the log and set
//! aside, and the whole directory may be deleted.
//!
//! ```text
//! commit   ...  87   88   89   90   91   92              changelog  |---------- W -------------- E ---->
//!                    ask  |    [a]  [b]  [c] done        snapshot   all before W, some of W .. E
//!                    W = its end here                    restore    snapshot, then the changelog from W
//! ```
//!
//! It is taken in pieces, so that no commit waits: where the state is that of a commit, some entries are copied, at most a
//! twentieth of the time that has passed. Pieces of different commits fit together because the changelog is read again from `W`:
//! an entry that changed between two pieces is overwritten, one that was made then comes again, one that was deleted meets its
//! tombstone. If the changelog has forgotten the tombstone, the restore finds more entries than the last commit counted, and
//! [`restore`](super::restore) reads the changelog alone.
//!
//! When the process ends, what has changed is copied at once, for [`LAST_TIME`] at most, so that the next start has little to read.
//!
//! **Fencing.** `W` might be the end of what another process has written since it took over the query. So pieces are only copied
//! after a commit that began when `W` was known: it would have been refused.

mod files;
mod format;
mod worker;

pub(super) use files::Loaded;
pub use worker::Snapshots;

use super::topology::Topology;
use crate::error::{Error, Result};
use crate::execute::operator::SnapshotPlace;
use crate::execute::pipeline::changelog_topic;
use crate::execute::state::entry_batch::EntryBatch;
use crate::log::{Log, RecordSet, TopicPartition};
use crate::types::clock::SharedClock;
use files::Draft;
use format::Stamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use worker::Pending;

/// Growth of a changelog that is worth a snapshot, unless another one is set: less is read again in a tenth of a second.
pub const CHANGELOG_BYTES: u64 = 8 << 20;
/// Growth that is worth one when the process ends: less is read again as soon as a file is synced.
const LAST_BYTES: u64 = 256 << 10;
/// How long all queries of a process may copy their states when it ends: a supervisor waits ten seconds and more.
const LAST_TIME: Duration = Duration::from_secs(2);
/// How long a query that ends waits for the thread that writes before it looks again.
pub(super) const LAST_POLL: Duration = Duration::from_millis(1);
/// Copying takes at most one part in so many of the time of a query, and so does the pause between two snapshots.
const TIME_PARTS: u32 = 20;
/// How long a query waits for records while it copies: it has nothing else to do.
pub(super) const BUSY_POLL: Duration = Duration::from_millis(20);
/// Blocks handed over at once: bounds the memory of a copy, at about a MiB each.
const BLOCKS_MAX: usize = 16;

/// A store with snapshots.
#[derive(Debug)]
struct Store {
    /// Its number among the stores of the topology.
    nth: usize,
    changelog: Arc<str>,
    tasks: usize,
    /// Bytes that its changelog has grown by since its snapshots.
    grown: u64,
    /// Bytes of its snapshots.
    bytes: u64,
}

#[derive(Debug)]
enum Step {
    /// Nothing is due, or the pause is not over.
    Rest,
    /// The ends of the changelog were asked for.
    Asked(usize, Pending<VecDeque<Stamp>>),
    /// They are known; the next commit shows that this process still owns the query.
    Known(usize, VecDeque<Stamp>),
    Copying(Copying),
}

/// The snapshots of a store in the making, one task after the other.
#[derive(Debug)]
struct Copying {
    store: usize,
    /// Of the present task, and of those that follow.
    stamps: VecDeque<Stamp>,
    place: SnapshotPlace,
    /// All of the present task was copied.
    complete: bool,
    draft: Hand,
    bytes: u64,
    spent: Duration,
}

#[derive(Debug)]
enum Hand {
    Here(Option<Draft>),
    /// With the thread that writes; the size when it was the last piece.
    Away(Pending<(Option<Draft>, u64)>),
}

/// When a query writes snapshots, and how far it is.
#[derive(Debug)]
pub(super) struct Schedule {
    snapshots: Option<Arc<Snapshots>>,
    stores: Vec<Store>,
    step: Step,
    /// No snapshot begins before.
    rest_until: Duration,
    /// When pieces were last copied.
    copied_at: Duration,
    /// The query ends: there is no other work.
    last: bool,
}

impl Schedule {
    /// For the stores of a topology whose changelogs are named by `group`.
    pub(super) fn new(snapshots: Option<Arc<Snapshots>>, topology: &mut Topology, group: &str) -> Schedule {
        let stores = match &snapshots {
            None => Vec::new(),
            Some(_) => topology.stores(),
        };
        let stores = stores.into_iter().enumerate().map(|(nth, (name, tasks))| {
            let changelog = changelog_topic(group, name).into();
            Store { nth, changelog, tasks: tasks.len(), grown: 0, bytes: 0 }
        });
        let stores = stores.collect();
        let (rest_until, copied_at) = (Duration::ZERO, Duration::ZERO);
        Schedule { snapshots, stores, step: Step::Rest, rest_until, copied_at, last: false }
    }

    /// The snapshot of a task of a store, if there is one that fits its changelog.
    pub(super) fn load(&self, nth: usize, log: &dyn Log, partition: &TopicPartition) -> Result<Option<Loaded>> {
        match &self.snapshots {
            Some(snapshots) if self.stores.iter().any(|store| store.nth == nth) => {
                files::load(snapshots.dir(), log, partition)
            }
            _ => Ok(None),
        }
    }

    /// A store was restored from so many bytes of snapshots, and so many of its changelog.
    pub(super) fn note_restored(&mut self, nth: usize, (snapshots, changelog): (u64, u64)) {
        for store in self.stores.iter_mut().filter(|store| store.nth == nth) {
            (store.bytes, store.grown) = (snapshots, changelog);
        }
    }

    /// Is there something to do as soon as the state is that of a commit?
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.step, Step::Asked(..) | Step::Copying(_))
    }

    /// The query ends, all is committed, and until the returned time its state may be copied; `None` = the process continues, or has
    /// no snapshots. What is being copied is left for a copy that includes the last commit.
    pub(super) fn begin_last(&mut self) -> Option<Duration> {
        let until = self.snapshots.as_ref()?.ends_at()?;
        self.last = true;
        self.step = Step::Rest;
        Some(until)
    }

    /// A commit begins.
    pub(super) fn before_commit(&mut self) {
        self.receive();
    }

    /// A commit has succeeded with these changelog records, and nothing was processed since.
    pub(super) fn after_commit(
        &mut self,
        records: &[(Arc<str>, Arc<RecordSet>)],
        topology: &mut Topology,
        clock: &SharedClock,
    ) {
        for (topic, set) in records {
            for store in self.stores.iter_mut().filter(|store| store.changelog == *topic) {
                store.grown += set.data.len() as u64;
            }
        }
        if let Step::Known(store, stamps) = &mut self.step {
            let (store, stamps) = (*store, std::mem::take(stamps));
            self.copied_at = clock.monotonic();
            self.step = Step::Copying(Copying {
                store,
                stamps,
                place: SnapshotPlace::default(),
                complete: false,
                draft: Hand::Here(None),
                bytes: 0,
                spent: Duration::ZERO,
            });
        }
        self.advance(topology, clock);
    }

    /// The query has nothing to do, and its state is that of a commit. Returns whether a commit is needed to go on.
    pub(super) fn at_rest(&mut self, topology: &mut Topology, clock: &SharedClock) -> bool {
        if self.stores.is_empty() {
            return false;
        }
        self.receive();
        self.advance(topology, clock);
        // Without a thread the result is there already.
        self.receive();
        matches!(self.step, Step::Known(..))
    }

    fn receive(&mut self) {
        let Step::Asked(store, pending) = &self.step else { return };
        let (store, Some(result)) = (*store, pending.take()) else { return };
        self.step = match result {
            Ok(stamps) => Step::Known(store, stamps),
            Err(error) => {
                self.give_up(store, &error);
                Step::Rest
            }
        };
    }

    /// A snapshot could not be written: its changelog grows by as much again before the next attempt.
    fn give_up(&mut self, store: usize, error: &Error) {
        let changelog = &self.stores[store].changelog;
        tracing::warn!(%changelog, %error, "a snapshot of state could not be written: the next one is tried later");
        self.stores[store].grown = 0;
    }

    fn advance(&mut self, topology: &mut Topology, clock: &SharedClock) {
        let Some(snapshots) = self.snapshots.clone() else { return };
        let now = clock.monotonic();
        if matches!(self.step, Step::Rest) && (self.last || now >= self.rest_until) {
            self.begin(&snapshots, topology);
        }
        let budget = if self.last { Duration::MAX } else { now.saturating_sub(self.copied_at) / TIME_PARTS };
        while let Step::Copying(copying) = &mut self.step {
            match copying.advance(&self.stores[copying.store], &snapshots, topology, (clock, budget)) {
                Ok(Progress::Waits) => break,
                Ok(Progress::Goes) if snapshots.is_inline() => {}
                Ok(Progress::Goes) => {
                    self.copied_at = clock.monotonic();
                    break;
                }
                Ok(Progress::Done) => {
                    self.stores[copying.store].bytes = copying.bytes;
                    self.rest_until = clock.monotonic() + copying.spent * TIME_PARTS;
                    self.step = Step::Rest;
                }
                Err(error) => {
                    let store = copying.store;
                    self.give_up(store, &error);
                    self.step = Step::Rest;
                }
            }
        }
    }

    /// Asks where the changelog ends, of the first store for which a snapshot is worth it: as many bytes as that and as its last
    /// one are saved at the next start, and so the disk is written at most twice.
    fn begin(&mut self, snapshots: &Arc<Snapshots>, topology: &mut Topology) {
        let (last, least) = (self.last, snapshots.changelog_bytes());
        let worth = |store: &Store| if last { least.min(LAST_BYTES) } else { least.max(store.bytes) };
        let due = |store: &Store| store.grown >= worth(store) && topology.has_snapshots(store.nth);
        let Some(store) = self.stores.iter().position(due) else { return };
        self.stores[store].grown = 0;
        let (log, changelog, tasks) =
            (snapshots.log().clone(), self.stores[store].changelog.clone(), self.stores[store].tasks);
        let pending = snapshots.submit(move || {
            let identity = log.identities(&[&changelog])?.pop().flatten();
            let topic_id = identity.ok_or_else(|| Error::io(format!("the changelog {changelog} does not exist")))?.id;
            let stamp = |task: usize| -> Result<Stamp> {
                let partition = TopicPartition::new(changelog.clone(), task as i32);
                let offset = log.watermarks(&partition)?.stable;
                Ok(Stamp { topic: changelog.to_string(), topic_id, partition: task as i32, offset })
            };
            (0..tasks).map(stamp).collect()
        });
        self.step = Step::Asked(store, pending);
    }
}

/// What came of a call.
enum Progress {
    /// The thread that writes is not done.
    Waits,
    /// A piece was handed over.
    Goes,
    /// All tasks have their snapshots.
    Done,
}

impl Copying {
    fn advance(
        &mut self,
        store: &Store,
        snapshots: &Arc<Snapshots>,
        topology: &mut Topology,
        (clock, budget): (&SharedClock, Duration),
    ) -> Result<Progress> {
        if let Hand::Away(pending) = &self.draft {
            let Some(result) = pending.take() else { return Ok(Progress::Waits) };
            let (draft, bytes) = result?;
            self.draft = Hand::Here(draft);
            if std::mem::take(&mut self.complete) {
                self.bytes += bytes;
                self.place = SnapshotPlace::default();
                self.stamps.pop_front();
            }
        }
        let Some(stamp) = self.stamps.front().cloned() else { return Ok(Progress::Done) };
        let begun = clock.monotonic();
        let mut blocks = Vec::new();
        while !self.complete && blocks.len() < BLOCKS_MAX {
            let mut block = EntryBatch::default();
            self.complete = topology.snapshot(store.nth, stamp.partition as usize, &mut self.place, &mut block)?;
            blocks.push(block);
            if clock.monotonic().saturating_sub(begun) >= budget {
                break;
            }
        }
        self.spent += clock.monotonic().saturating_sub(begun);
        let Hand::Here(draft) = std::mem::replace(&mut self.draft, Hand::Here(None)) else {
            return Ok(Progress::Waits);
        };
        let (dir, log, complete) = (snapshots.dir().to_path_buf(), snapshots.log().clone(), self.complete);
        self.draft = Hand::Away(snapshots.submit(move || {
            let failed = |e: std::io::Error| Error::io("the disk refuses a snapshot").with_detail(e.to_string());
            let mut draft = draft.map_or_else(|| Draft::begin(&dir, &stamp), Ok).map_err(failed)?;
            draft.append(&blocks).map_err(failed)?;
            if !complete {
                return Ok((Some(draft), 0));
            }
            // All that was copied was committed before: the end of the changelog is behind it.
            let end = log.watermarks(&TopicPartition::new(stamp.topic.as_str(), stamp.partition))?.high;
            Ok((None, draft.finish(end).map_err(failed)?))
        }));
        Ok(Progress::Goes)
    }
}
