//! A persistent query and the thread that runs it.
//!
//! The thread runs turns of the [`Execution`] until it is stopped. After a transient failure (an unreachable broker, a full
//! disk) it retries with growing pauses; any other failure, a panic included, ends the thread and leaves the query in ERROR with
//! the reason. [`Query::resume`] restarts it from its last commit.
//!
//! Where several processes share the queries of a service ([`placement`]), each has all of them, and the thread waits while the
//! query is another process's.

mod catch_up;
mod placement;
mod resume;
mod standby;
mod thread;

pub(in crate::engine) mod problem_counts;

use crate::engine::cluster::node::place::Place;
use crate::engine::query::condition::Condition;
pub use crate::engine::query::condition::State;
use crate::engine::query::processing_log::ProcessingLog;
use crate::engine::result::entity::Counts;
use crate::error::{Error, Result};
use crate::execute::pipeline::Pipeline;
use crate::execute::record::source::{BadRecord, Stage};
use crate::execute::task::spec::ExecutionSpec;
use crate::execute::task::{Execution, Progress, Standby, StoreOffsets};
use crate::log::Log;
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "query";
/// How long a turn waits for records, and the latest at which a query without a working waker notices a stop.
const TURN_WAIT: Duration = Duration::from_millis(500);
/// First and longest pause before a failed query is retried.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// How far a driven query advances its clock while it waits for a commit to be due.
const DRIVE_STEP: Duration = Duration::from_millis(20);
/// Bad records that a query keeps for DESCRIBE EXTENDED; all are logged.
const BAD_REMEMBERED: usize = 10;

/// A persistent query that was planned and does not run yet.
#[derive(Debug)]
pub(in crate::engine) struct NewQuery {
    /// Its id.
    pub(in crate::engine) id: String,
    /// The statement.
    pub(in crate::engine) sql: String,
    /// The drawn plan, for EXPLAIN.
    pub(in crate::engine) plan: String,
    /// The compiled query.
    pub(in crate::engine) pipeline: Pipeline,
    /// The topic of its late rows.
    pub(in crate::engine) late_topic: Option<String>,
}

/// A persistent query.
#[derive(Debug)]
pub struct Query {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    id: String,
    /// Consumer group and stem of the internal topics' names.
    group: String,
    /// `None` = it cannot be planned by this version.
    spec: Option<ExecutionSpec>,
    log: Arc<dyn Log>,
    clock: SharedClock,
    /// Which process runs it; `None` = this one, which is alone.
    place: Option<Place>,
    /// Where it reports skipped records.
    processing: ProcessingLog,
    progress: Arc<Progress>,
    /// When it was created, by the monotonic clock.
    begun: Duration,
    stop: AtomicBool,
    /// It was created in this process, and no SELECT has found that it has read its history.
    is_new: AtomicBool,
    /// A SELECT has waited for it as long as one may.
    was_waited_for: AtomicBool,
    /// Starts after a failure.
    restarts: AtomicU64,
    /// How far the state is that this process keeps up to date; `None` = it keeps none, or has not asked yet.
    standby: Mutex<Option<Vec<StoreOffsets>>>,
    status: Mutex<Status>,
    /// Signalled at every change of `status`.
    changed: Condvar,
}

struct Status {
    state: State,
    /// Since when, milliseconds since 1970.
    since: i64,
    /// When it was first noticed that the cluster does not respond.
    trouble_since: Option<i64>,
    paused: bool,
    waker: Option<Arc<dyn Fn() + Send + Sync>>,
    bad: VecDeque<BadRecord>,
    /// Its thread was started and has not reached its first turn.
    starting: bool,
    /// Its thread waits for [`Query::release`].
    held: bool,
    /// Set while [`Query::drive`] or the thread finds nothing left to do.
    idle: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("id", &self.id).field("state", &self.status.lock().state).finish_non_exhaustive()
    }
}

impl Query {
    /// A query that is not started yet. With a place it runs while the control topic gives it to this process.
    pub fn new(
        id: String,
        (spec, place): (ExecutionSpec, Option<Place>),
        (log, clock): (Arc<dyn Log>, SharedClock),
        processing: ProcessingLog,
        paused: bool,
    ) -> Query {
        let state = if paused { State::Paused } else { State::Running };
        Query::build(id, spec.group.clone(), (Some(spec), place), (log, clock), processing, state)
    }

    /// A query that cannot run: it is listed as ERROR.
    pub fn failed(id: String, group: String, log: Arc<dyn Log>, clock: SharedClock, reason: String) -> Query {
        Query::build(id, group, (None, None), (log, clock), ProcessingLog::default(), State::Error(reason))
    }

    fn build(
        id: String,
        group: String,
        (spec, place): (Option<ExecutionSpec>, Option<Place>),
        (log, clock): (Arc<dyn Log>, SharedClock),
        processing: ProcessingLog,
        state: State,
    ) -> Query {
        let (paused, since) = (state == State::Paused, clock.now_ms());
        let bad = VecDeque::new();
        let status = Status {
            state,
            since,
            trouble_since: None,
            paused,
            waker: None,
            bad,
            starting: false,
            held: false,
            idle: false,
        };
        let shared = Shared {
            id,
            group,
            spec,
            log,
            begun: clock.monotonic(),
            clock,
            place,
            processing,
            progress: Arc::default(),
            stop: AtomicBool::new(false),
            is_new: AtomicBool::new(false),
            was_waited_for: AtomicBool::new(false),
            restarts: AtomicU64::default(),
            standby: Mutex::default(),
            status: Mutex::new(status),
            changed: Condvar::new(),
        };
        Query { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// Starts the thread.
    pub fn spawn(&self) -> Result<()> {
        self.hold()?;
        self.release();
        Ok(())
    }

    /// Starts the thread, which does nothing until [`Query::release`]. So the operating system can refuse it before the query's
    /// command is recorded.
    pub fn hold(&self) -> Result<()> {
        let mut thread = self.thread.lock();
        if matches!(self.shared.status.lock().state, State::Error(_)) {
            return Ok(());
        }
        self.shared.status.lock().held = true;
        *thread = Some(self.shared.start_thread()?);
        Ok(())
    }

    /// Lets the thread begin.
    pub fn release(&self) {
        self.shared.status.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// Makes the thread commit and end, and waits for it.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        // The lock is released before the wait.
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic outside its turns was logged by the thread.
            let _ = thread.join();
        }
    }

    /// PAUSE, and the part of RESUME that ends it.
    pub fn pause(&self, paused: bool) {
        {
            let mut status = self.shared.status.lock();
            status.paused = paused;
            // Visible immediately: the thread follows at the end of its turn.
            let now = self.shared.clock.now_ms();
            match (&status.state, paused) {
                (State::Error(_), _) => {}
                (_, true) => status.enter(State::Paused, now),
                (State::Paused, false) => status.enter(State::Running, now),
                (_, false) => {}
            }
        }
        self.shared.wake();
        self.shared.changed.notify_all();
    }

    /// What it is doing. While the cluster does not respond a running query is waiting, although its thread, which may be in a
    /// commit, has not noticed yet.
    pub fn state(&self) -> State {
        self.condition().state
    }

    /// The same, and since when. Of a query that runs elsewhere, as its process says.
    pub fn condition(&self) -> Condition {
        match self.shared.place.as_ref().filter(|place| !place.is_here()) {
            Some(place) => self.condition_elsewhere(place),
            None => self.condition_here(),
        }
    }

    fn condition_here(&self) -> Condition {
        let trouble = self.spec().and_then(|spec| spec.watch.trouble());
        let mut status = self.shared.status.lock();
        let (state, since_ms) = (status.state.clone(), status.since);
        match trouble.filter(|_| state == State::Running) {
            Some(why) => {
                let since = status.trouble_since.get_or_insert_with(|| self.shared.clock.now_ms());
                Condition { state: State::Waiting(why), since_ms: *since }
            }
            None => {
                status.trouble_since = None;
                Condition { state, since_ms }
            }
        }
    }

    /// It was just created: what it writes is to be looked at with patience.
    pub(in crate::engine) fn note_new(&self) {
        self.shared.is_new.store(true, Ordering::Release);
    }

    /// Whether no SELECT has found yet that it has read the history that was there.
    pub(in crate::engine) fn is_new(&self) -> bool {
        self.shared.is_new.load(Ordering::Acquire)
    }

    /// It has read the history that was there.
    pub(in crate::engine) fn note_caught_up(&self) {
        self.shared.is_new.store(false, Ordering::Release);
    }

    /// A SELECT has waited for it as long as one may; the next one does not wait.
    pub(in crate::engine) fn note_waited_for(&self) {
        self.shared.was_waited_for.store(true, Ordering::Release);
    }

    /// Whether a SELECT has waited for it as long as one may.
    pub(in crate::engine) fn was_waited_for(&self) -> bool {
        self.shared.was_waited_for.load(Ordering::Acquire)
    }

    /// How often it was started after a failure: by itself, or by RESUME.
    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Ordering::Relaxed)
    }

    /// Its counters.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.shared.progress
    }

    /// When it was created in this process, by the monotonic clock.
    pub fn begun(&self) -> Duration {
        self.shared.begun
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.shared.progress)
    }

    /// Records read per second, on average since its start in this process.
    pub fn per_second(&self) -> f64 {
        let seconds = self.shared.clock.monotonic().saturating_sub(self.shared.begun).as_secs_f64();
        if seconds > 0.0 { self.counts().consumed as f64 / seconds } else { 0.0 }
    }

    /// The last records that it skipped.
    pub fn bad(&self) -> Vec<BadRecord> {
        self.shared.status.lock().bad.iter().cloned().collect()
    }

    /// What it executes; `None` = this version cannot plan it.
    pub fn spec(&self) -> Option<&ExecutionSpec> {
        self.shared.spec.as_ref()
    }

    /// Consumer group and stem of its internal topics' names.
    pub fn group(&self) -> &str {
        &self.shared.group
    }

    /// Whether everything that it found in its topics is processed and committed; of one that runs elsewhere that is not known here,
    /// and nothing is to be waited for.
    pub fn is_idle(&self) -> bool {
        !self.is_here() || self.shared.status.lock().idle
    }

    /// Runs it on the caller's thread until nothing is left to do; for tests and the conformance runner.
    pub fn drive(&self) -> Result<()> {
        self.drive_for(usize::MAX).map(|_| ())
    }

    /// The same for at most `turns` turns; then it is dropped without a last commit, as in a crash, which `true` reports.
    pub fn drive_for(&self, turns: usize) -> Result<bool> {
        let shared = &self.shared;
        if matches!(self.state(), State::Paused | State::Error(_)) {
            return Ok(false);
        }
        let mut execution = shared.start(&mut None)?;
        for _ in 0..turns {
            let turn = execution.turn(Duration::ZERO).map_err(|e| shared.failed(&mut execution, e))?;
            shared.remember(turn.bad);
            if turn.idle {
                return execution.finish().map(|()| false).map_err(|e| shared.failed(&mut execution, e));
            }
            if turn.records == 0 {
                // No records, but a commit is outstanding: time passes until it is due.
                shared.clock.sleep(DRIVE_STEP);
            }
        }
        Ok(true)
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Status {
    fn enter(&mut self, state: State, now_ms: i64) {
        if self.state != state {
            (self.state, self.since) = (state, now_ms);
        }
    }
}

impl Shared {
    fn wake(&self) {
        let waker = self.status.lock().waker.clone();
        if let Some(waker) = waker {
            waker();
        }
        self.changed.notify_all();
    }

    fn start_thread(self: &Arc<Shared>) -> Result<JoinHandle<()>> {
        self.status.lock().starting = true;
        let shared = self.clone();
        threads::spawn(KIND, self.id.as_str(), move || shared.run())
    }

    fn wait_while_held(&self) {
        let mut status = self.status.lock();
        while status.held && !self.stopping() {
            self.changed.wait(&mut status);
        }
    }

    fn start(&self, standby: &mut Option<Standby>) -> Result<Execution> {
        let spec = self.spec.clone().ok_or_else(|| Error::statement("the query cannot be planned by this version"))?;
        Execution::take_over(&*self.log, spec, (self.clock.clone(), self.progress.clone()), standby)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn set(&self, state: State) {
        let mut status = self.status.lock();
        // A turn that was in progress when PAUSE returned must not change the state back.
        let state = if status.paused && !matches!(state, State::Error(_)) { State::Paused } else { state };
        if status.state != state {
            match &state {
                State::Error(reason) => tracing::error!(query = %self.id, %reason, "query failed"),
                State::Waiting(reason) => tracing::warn!(query = %self.id, %reason, "query waits"),
                State::Running | State::Paused => tracing::info!(query = %self.id, ?state, "query state"),
            }
            status.enter(state, self.clock.now_ms());
        }
        status.starting = false;
        drop(status);
        self.changed.notify_all();
    }

    fn remember(&self, bad: Vec<BadRecord>) {
        if bad.is_empty() {
            return;
        }
        let mut status = self.status.lock();
        for b in bad {
            self.processing.skipped(&self.id, &b);
            let said = if b.stage == Stage::Null { "value set to NULL" } else { "record skipped" };
            tracing::warn!(target: "processing", query = %self.id, topic = %b.topic, partition = b.partition, offset = b.offset, reason = %b.reason, "{said}");
            if status.bad.len() == BAD_REMEMBERED {
                status.bad.pop_front();
            }
            status.bad.push_back(b);
        }
    }
}
