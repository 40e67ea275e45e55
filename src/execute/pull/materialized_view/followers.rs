//! The threads that keep followed views current: one reads the topics of all of them, one asks for their ends.
//!
//! ```text
//! View::open --follow--> joined --+                        +--> view 1: rows, positions
//!                                 +--> one reader, by slot +--> view 2
//!                                                          +--> ...
//!                                      ends, every second  ---> all views: last stable offsets (for their lag)
//! ```
//!
//! One reader for all views, because a reader is several threads and connections on Kafka. It is made again, at the positions
//! of all views, when a view joins or leaves. A view leaves when it is dropped with its query, made anew, too large, or not read for
//! long ([`IDLE_MAX`](super::IDLE_MAX)).
//!
//! **When reading fails.** A log that cannot be reached is waited for: the views show what they have, and their age grows. What
//! cannot be continued (an offset is gone, a schema is not found, a panic) drops the views concerned; the next lookup reads the
//! topic again, and reports what is wrong with it.
//!
//! The threads start with the first view and end with the engine. A process whose queries all run in it has none.

use super::tail::Tail;
use super::{Contents, Phase, View};
use crate::error::{Kind, Result};
use crate::execute::record::writer_ids::WriterIds;
use crate::log::{Assignment, Fetched, Isolation, Log, Reader, RecordSet, Start, TopicPartition};
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kinds of the threads.
const KIND: &str = "views";
const ENDS_KIND: &str = "view-ends";
/// Records read at once.
const READ_RECORDS: usize = 8_192;
/// How long a poll waits for them.
const READ_POLL: Duration = Duration::from_millis(500);
/// How often the ends are asked for.
const ENDS_PAUSE: Duration = Duration::from_secs(1);
/// How long a reader that cannot be made is waited for.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Follows the topics of views.
pub struct Followers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a poll has brought for a view.
struct Batch {
    rows: RecordSet,
    /// By partition: the next offset.
    positions: Vec<(usize, i64)>,
}

struct Shared {
    log: Arc<dyn Log>,
    clock: SharedClock,
    label: String,
    stop: AtomicBool,
    generations: AtomicU64,
    /// Views that wait for the reading thread.
    joined: Mutex<Vec<Followed>>,
    /// Signalled when a view joins, and at the end.
    changed: Condvar,
    /// Ends a poll of the reading thread.
    waker: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    /// What the reading thread follows, for the other one.
    watched: Mutex<Vec<(Weak<View>, u64)>>,
}

/// A view that is followed.
struct Followed {
    view: Weak<View>,
    generation: u64,
    /// By partition: where reading continues.
    positions: Vec<i64>,
    writer_ids: WriterIds,
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers").field("views", &self.shared.watched.lock().len()).finish_non_exhaustive()
    }
}

impl Followers {
    /// None yet; `label` is the service after which threads are named.
    pub fn new(log: Arc<dyn Log>, clock: SharedClock, label: &str) -> Followers {
        let shared = Shared {
            log,
            clock,
            label: label.to_owned(),
            stop: AtomicBool::new(false),
            generations: AtomicU64::new(0),
            joined: Mutex::default(),
            changed: Condvar::new(),
            waker: Mutex::default(),
            watched: Mutex::default(),
        };
        Followers { shared: Arc::new(shared), threads: Mutex::default() }
    }

    /// Follows a view that has read its topic up to `positions`, beginning at the moment `began`.
    pub(super) fn follow(&self, view: &Arc<View>, positions: Vec<i64>, began: Duration) -> Result<Tail> {
        let shared = &self.shared;
        {
            let mut threads = self.threads.lock();
            if threads.is_empty() {
                let (reading, asking) = (shared.clone(), shared.clone());
                threads.push(threads::spawn(KIND, shared.label.as_str(), move || reading.read())?);
                threads.push(threads::spawn(ENDS_KIND, shared.label.as_str(), move || asking.ask())?);
            }
        }
        let generation = shared.generations.fetch_add(1, Ordering::Relaxed);
        let followed = Followed {
            view: Arc::downgrade(view),
            generation,
            positions: positions.clone(),
            writer_ids: view.writer_ids.clone(),
        };
        shared.joined.lock().push(followed);
        shared.wake();
        Ok(Tail::new(generation, positions, began))
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        // The log must not outlive the engine.
        for thread in std::mem::take(self.threads.get_mut()) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn wake(&self) {
        // Under the lock, so that it is not missed between a look and a wait.
        drop(self.joined.lock());
        self.changed.notify_all();
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker();
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until a view joins, at most so long.
    fn wait(&self, time: Duration) {
        let mut joined = self.joined.lock();
        if joined.is_empty() && !self.is_stopped() {
            self.changed.wait_for(&mut joined, time);
        }
    }

    /// The reading thread.
    fn read(&self) {
        let mut reading = Reading { shared: self, views: Vec::new(), reader: None, slots: Vec::new() };
        loop {
            match threads::guard(KIND, &self.label, || reading.round()).flatten() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return,
                Err(error) => {
                    tracing::warn!(%error, "tables cannot be followed: they are read again");
                    reading.give_up();
                    self.wait(RETRY_PAUSE);
                }
            }
        }
    }

    /// The other thread.
    fn ask(&self) {
        threads::rounds(ENDS_KIND, &self.label, || {
            let watched = self.watched.lock().clone();
            for (view, generation) in watched {
                if let Some(view) = view.upgrade()
                    && let Err(error) = self.ask_for(&view, generation)
                {
                    tracing::debug!(%error, "the end of a table's topic is unknown");
                }
            }
            let mut joined = self.joined.lock();
            if !self.is_stopped() {
                self.changed.wait_for(&mut joined, ENDS_PAUSE);
            }
            if self.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    fn ask_for(&self, view: &View, generation: u64) -> Result<()> {
        let asked = self.clock.monotonic();
        let mut ends = Vec::new();
        for place in view.places() {
            if self.is_stopped() {
                return Ok(());
            }
            ends.push(self.log.watermarks(&place)?.stable);
        }
        view.with_tail(generation, |tail| tail.note_ends(ends, asked));
        Ok(())
    }
}

/// What the reading thread has at hand.
struct Reading<'a> {
    shared: &'a Shared,
    views: Vec<Followed>,
    reader: Option<Box<dyn Reader>>,
    /// By slot of the reader: index of the view, and the partition.
    slots: Vec<(usize, usize)>,
}

impl Reading<'_> {
    fn round(&mut self) -> Result<ControlFlow<()>> {
        if self.shared.is_stopped() {
            return Ok(ControlFlow::Break(()));
        }
        let joined = std::mem::take(&mut *self.shared.joined.lock());
        let before = self.views.len();
        self.views.retain(Followed::is_wanted);
        if !joined.is_empty() || self.views.len() != before {
            self.views.extend(joined);
            self.close();
            *self.shared.watched.lock() = self.views.iter().map(|f| (f.view.clone(), f.generation)).collect();
        }
        if self.views.is_empty() {
            self.shared.wait(READ_POLL);
            return Ok(ControlFlow::Continue(()));
        }
        if self.reader.is_none() && !self.open()? {
            self.shared.wait(RETRY_PAUSE);
            return Ok(ControlFlow::Continue(()));
        }
        let Some(reader) = &mut self.reader else { return Ok(ControlFlow::Continue(())) };
        let fetched = reader.poll(READ_RECORDS, READ_POLL)?;
        self.put_in(&fetched);
        Ok(ControlFlow::Continue(()))
    }

    fn close(&mut self) {
        *self.shared.waker.lock() = None;
        self.reader = None;
    }

    /// Makes the reader; `false` = the log cannot be reached now.
    fn open(&mut self) -> Result<bool> {
        let (mut all, mut slots) = (Vec::new(), Vec::new());
        for (at, followed) in self.views.iter().enumerate() {
            let Some(view) = followed.view.upgrade() else { continue };
            for (TopicPartition { topic, partition }, position) in view.places().into_iter().zip(&followed.positions) {
                slots.push((at, partition as usize));
                all.push(Assignment { topic, partition, start: Start::Offset(*position) });
            }
        }
        match self.shared.log.reader(all, Isolation::ReadCommitted) {
            Ok(reader) => {
                *self.shared.waker.lock() = Some(reader.waker());
                (self.reader, self.slots) = (Some(reader), slots);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), Kind::Io | Kind::Busy) => {
                tracing::warn!(%error, "tables cannot be followed now: trying again");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives each view what is its own.
    fn put_in(&mut self, fetched: &Fetched) {
        let Some(reader) = &self.reader else { return };
        let empty = || Batch { rows: RecordSet::default(), positions: Vec::new() };
        let mut batches: Vec<Batch> = self.views.iter().map(|_| empty()).collect();
        for run in fetched.runs() {
            let (at, partition) = self.slots[run.slot];
            let followed = &mut self.views[at];
            let Some(view) = followed.view.upgrade() else { continue };
            if let Err(error) = view.take(run, partition as i32, &mut followed.writer_ids, &mut batches[at].rows) {
                tracing::warn!(%error, topic = %view.topic, "a table cannot be followed: it is read again");
                view.drop_generation(followed.generation);
            }
        }
        for (slot, (at, partition)) in self.slots.iter().enumerate() {
            let position = reader.position(slot);
            if self.views[*at].positions[*partition] != position {
                self.views[*at].positions[*partition] = position;
                batches[*at].positions.push((*partition, position));
            }
        }
        for (followed, batch) in self.views.iter().zip(batches) {
            if let Some(view) = followed.view.upgrade().filter(|_| !batch.positions.is_empty()) {
                view.advance(followed.generation, &batch.rows, &batch.positions);
            }
        }
    }

    /// Drops all views: what was read for them may be incomplete.
    fn give_up(&mut self) {
        self.close();
        for followed in self.views.drain(..) {
            if let Some(view) = followed.view.upgrade() {
                view.drop_generation(followed.generation);
            }
        }
        self.shared.watched.lock().clear();
    }
}

impl Followed {
    /// Whether its view is there, still follows as it did, and is read now and then.
    fn is_wanted(&self) -> bool {
        self.view.upgrade().is_some_and(|view| view.is_followed(self.generation))
    }
}

impl Phase {
    /// Is the view in use, and followed as this generation?
    fn is_of(&self, generation: u64) -> bool {
        matches!(self, Phase::Ready(Contents { tail: Some(tail), .. }) if tail.generation == generation)
    }
}

impl View {
    /// Whether it is followed as this generation; one that is not read any more is dropped.
    fn is_followed(&self, generation: u64) -> bool {
        let mut phase = self.phase.write();
        if phase.is_of(generation) {
            self.limit(&mut phase);
        }
        phase.is_of(generation)
    }

    /// Puts in what was read of its topic.
    fn advance(&self, generation: u64, rows: &RecordSet, positions: &[(usize, i64)]) {
        let mut phase = self.phase.write();
        let Phase::Ready(Contents { stores, tail: Some(tail) }) = &mut *phase else { return };
        if tail.generation != generation {
            return;
        }
        if !rows.rows.is_empty() {
            self.apply(stores, rows);
        }
        positions.iter().for_each(|(partition, position)| tail.reach(*partition, *position));
        self.limit(&mut phase);
    }

    fn with_tail(&self, generation: u64, change: impl FnOnce(&mut Tail)) {
        if let Phase::Ready(Contents { tail: Some(tail), .. }) = &mut *self.phase.write()
            && tail.generation == generation
        {
            change(tail);
        }
    }

    /// Forgets the rows of this generation.
    fn drop_generation(&self, generation: u64) {
        let mut phase = self.phase.write();
        if phase.is_of(generation) {
            self.forget(&mut phase, Phase::Off);
        }
    }
}
