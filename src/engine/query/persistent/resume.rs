//! RESUME: the end of a pause, and the restart of a query in ERROR.
//!
//! ```text
//! PAUSED    its thread continues
//! ERROR     a new thread, which restores the operators and continues at the last commit
//! ```
//!
//! A query that this version cannot plan stays in ERROR.

use super::{Query, Shared, State};
use crate::engine::Drive;
use crate::engine::query::condition::describe;
use crate::error::{Error, Result};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long RESUME waits for a query to start: joining a Kafka consumer group takes about three seconds.
const START_WAIT: Duration = Duration::from_secs(10);
/// How often it checks the clock meanwhile.
const START_PAUSE: Duration = Duration::from_millis(100);

impl Query {
    /// RESUME: ends a pause, and restarts a query in ERROR from its last commit, with a new transactional writer and restored
    /// operators. Waits a bounded time until it runs; the error says why it cannot.
    pub fn resume(&self, drive: Drive) -> Result<()> {
        match self.restart(drive)? {
            true => self.shared.wait_for_start(),
            false => Ok(()),
        }
    }

    /// The same without a wait; `true` = it was in ERROR, and its thread was started.
    pub fn restart(&self, drive: Drive) -> Result<bool> {
        self.pause(false);
        let shared = &self.shared;
        let mut thread = self.thread.lock();
        {
            let mut status = shared.status.lock();
            let State::Error(reason) = &status.state else { return Ok(false) };
            if shared.spec.is_none() {
                return Err(Error::statement(reason.as_str())
                    .with_hint("this version cannot run it: DROP what it writes and create it again"));
            }
            status.enter(State::Running, shared.clock.now_ms());
            status.idle = false;
        }
        shared.restarts.fetch_add(1, Ordering::Relaxed);
        if drive == Drive::ByHand {
            return Ok(false);
        }
        if let Some(ended) = thread.take() {
            let _ = ended.join();
        }
        match shared.start_thread() {
            Ok(started) => *thread = Some(started),
            Err(refused) => {
                self.refuse(&refused);
                return Err(refused);
            }
        }
        Ok(true)
    }

    /// Its thread cannot be started: it is in ERROR.
    pub(in crate::engine) fn refuse(&self, why: &Error) {
        self.shared.set(State::Error(describe(why)));
    }
}

impl Shared {
    /// Waits until the thread runs or has failed; one that still retries after a while is left alone.
    fn wait_for_start(&self) -> Result<()> {
        let deadline = self.clock.monotonic() + START_WAIT;
        let mut status = self.status.lock();
        while status.starting && !self.stopping() && self.clock.monotonic() < deadline {
            self.changed.wait_for(&mut status, START_PAUSE);
        }
        match &status.state {
            State::Error(reason) => Err(Error::statement(reason.as_str())),
            _ => Ok(()),
        }
    }
}
