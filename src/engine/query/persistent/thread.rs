//! What the thread of a query does: attempts, each of which runs turns until it is stopped, paused or fails.

use super::standby::Following;
use super::{KIND, RETRY_MAX, RETRY_MIN, Shared, TURN_WAIT};
use crate::engine::cluster::node::place::Place;
use crate::engine::query::condition::{State, describe};
use crate::error::{Error, Kind, Result};
use crate::execute::task::{Execution, Standby};
use crate::mutant;
use crate::threads;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Shared {
    /// Runs, and retries after transient failures, until stopped or failed.
    pub(super) fn run(&self) {
        let _span = tracing::info_span!("query", id = %self.id).entered();
        self.wait_while_held();
        let (mut pause, mut following) = (RETRY_MIN, Following::default());
        while !self.stopping() {
            if self.wait_while_paused() || self.is_elsewhere(&mut following) {
                continue;
            }
            // Until the writer is dropped, also by a panic.
            let _opened = self.place.as_ref().map(Place::open);
            let started = self.clock.monotonic();
            match self.guarded_attempt(&mut following.state) {
                Ok(()) => {}
                Err(e) if self.is_transient(&e) => {
                    if self.clock.monotonic() > started + RETRY_MAX {
                        pause = RETRY_MIN;
                    }
                    self.set(State::Waiting(e.to_string()));
                    self.restarts.fetch_add(1, Ordering::Relaxed);
                    self.wait(pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(e) => {
                    self.set(State::Error(describe(&e)));
                    return;
                }
            }
        }
    }

    /// Whether another attempt may succeed. Where several processes share the queries, one that was fenced looks again whose it is.
    fn is_transient(&self, error: &Error) -> bool {
        match error.kind() {
            Kind::Io | Kind::Busy => true,
            Kind::Fenced => self.place.is_some(),
            _ => false,
        }
    }

    fn wait_while_paused(&self) -> bool {
        let mut status = self.status.lock();
        if !status.paused {
            return false;
        }
        status.enter(State::Paused, self.clock.now_ms());
        status.starting = false;
        self.changed.wait_for(&mut status, TURN_WAIT);
        true
    }

    fn wait(&self, time: Duration) {
        let mut status = self.status.lock();
        if !self.stopping() {
            self.changed.wait_for(&mut status, time);
        }
    }

    /// One attempt; a panic in it is an error. Its execution and writer are dropped then, with everything uncommitted. The view
    /// outlives them and may hold a part of a commit: it is rebuilt from the topic.
    fn guarded_attempt(&self, standby: &mut Option<Standby>) -> Result<()> {
        threads::guard(KIND, &self.id, || self.attempt(standby)).unwrap_or_else(|panic| {
            self.status.lock().waker = None;
            self.spec.iter().filter_map(|spec| spec.view.as_ref()).for_each(|view| view.reset());
            Err(panic.with_hint(format!(
                "RESUME {} restarts it from its last commit; please report this bug with the log's backtrace",
                self.id
            )))
        })
    }

    /// One run of the execution, which begins with the state of a standby if there is one: until stopped, paused or failed.
    fn attempt(&self, standby: &mut Option<Standby>) -> Result<()> {
        let mut execution = self.start(standby)?;
        self.status.lock().waker = Some(execution.waker());
        self.set(State::Running);
        let result = self.turns(&mut execution);
        self.status.lock().waker = None;
        result
    }

    fn turns(&self, execution: &mut Execution) -> Result<()> {
        while !self.stopping() && !self.status.lock().paused && self.is_here() {
            let turn = execution.turn(TURN_WAIT).map_err(|e| self.failed(execution, e))?;
            mutant::trip(KIND, &self.group);
            self.remember(turn.bad);
            self.status.lock().idle = turn.idle;
            match execution.trouble() {
                Some(trouble) => self.set(State::Waiting(trouble)),
                None => self.set(State::Running),
            }
        }
        execution.finish().map_err(|e| self.failed(execution, e))
    }

    /// Reports what was skipped before a failure: it may be the cause.
    pub(super) fn failed(&self, execution: &mut Execution, error: Error) -> Error {
        self.remember(execution.take_bad());
        execution.explain_refusal(error, &*self.log)
    }
}
