//! The thread of the tail: reads the command log as long as its engine exists.
//!
//! It holds the engine only while it applies what it has read, so that it does not keep it alive. A panic in it halts the tail: what
//! was being applied may be half done, and a restart replays the log.

use super::{Reading, Tail};
use crate::engine::{Engine, Inner};
use crate::error::{Error, Kind, Result};
use crate::log::Fetched;
use crate::threads::{self, Stop};
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kind of the thread.
const KIND: &str = "commands";
/// How long a poll waits: at the latest then the thread looks whether its engine still exists.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// First and longest pause before a log that could not be read is tried again.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often it is checked that the topic is still the same.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// Owns the thread.
#[derive(Debug)]
pub(super) struct Follower {
    stop: Arc<Stop>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    /// Starts the thread.
    pub(in crate::engine) fn follow(self: &Arc<Tail>, engine: &Engine) -> Result<()> {
        let stop = Arc::<Stop>::default();
        let (tail, stopped, engine_ref) = (self.clone(), stop.clone(), Arc::downgrade(&engine.inner));
        let label = engine.inner.config.service_id.clone();
        let thread = threads::spawn(KIND, label.clone(), move || tail.run(&engine_ref, &stopped, &label))?;
        *self.follower.lock() = Some(Follower { stop, thread: Some(thread) });
        Ok(())
    }

    /// Ends the thread: nothing is applied any more.
    pub(in crate::engine) fn stop(&self) {
        // The lock is released before the wait.
        let follower = self.follower.lock().take();
        if let Some(follower) = &follower {
            follower.stop.request();
            self.wake();
        }
        drop(follower);
    }

    fn run(&self, engine: &Weak<Inner>, stop: &Stop, label: &str) {
        let (mut pause, mut looked) = (Duration::ZERO, self.clock.monotonic());
        while !stop.wait(pause) {
            let is_due = self.clock.monotonic().saturating_sub(looked) >= LOOK_PAUSE;
            let round = threads::guard(KIND, label, || {
                if is_due || !pause.is_zero() {
                    self.look();
                }
                self.round(engine)
            });
            if is_due {
                looked = self.clock.monotonic();
            }
            match round {
                Ok(Ok(ControlFlow::Continue(()))) => pause = Duration::ZERO,
                Ok(Ok(ControlFlow::Break(()))) => return,
                Ok(Err(_)) => pause = (pause * 2).clamp(RETRY_MIN, RETRY_MAX),
                Err(panic) => {
                    let hint = "restart tidegate: it replays the command log; and please report this bug";
                    return self.halt(panic.with_hint(hint));
                }
            }
            if self.check().is_err() {
                return;
            }
        }
    }

    fn round(&self, engine: &Weak<Inner>) -> Result<ControlFlow<()>> {
        let mut reading = self.reading.lock();
        let fetched = self.read(&mut reading, POLL_WAIT)?;
        let Some(inner) = engine.upgrade() else { return Ok(ControlFlow::Break(())) };
        self.take_all(&Engine { inner }, &mut reading, &fetched)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Reads; a log that cannot be read is noted.
    pub(super) fn read(&self, reading: &mut Reading, wait: Duration) -> Result<Fetched> {
        let read = self.poll(reading, wait);
        let trouble = match &read {
            Ok(_) => reading.reader.as_ref().and_then(|reader| reader.trouble()),
            Err(error) => Some(error.to_string()),
        };
        if read.is_err() {
            reading.reader = None;
        }
        let mut progress = self.progress.lock();
        let was_troubled = progress.trouble.is_some();
        progress.trouble = match (trouble, progress.trouble.take()) {
            (Some(text), Some((_, since))) => Some((text, since)),
            (Some(text), None) => {
                tracing::warn!(topic = self.topic, reason = text, "the command log cannot be read");
                Some((text, self.clock.now_ms()))
            }
            (None, _) => None,
        };
        if was_troubled && progress.trouble.is_none() {
            tracing::info!(topic = self.topic, "the command log is read again");
        }
        read
    }

    /// Applies what was read. An error halts the tail.
    pub(super) fn take_all(&self, engine: &Engine, reading: &mut Reading, fetched: &Fetched) -> Result<()> {
        self.take(engine, reading, fetched).inspect_err(|error| self.halt(error.without_cause()))
    }

    /// Halts the tail if its topic was deleted, or deleted and created again.
    pub(super) fn look(&self) {
        // Without a response nothing is known; that the log cannot be read is noted elsewhere.
        let Ok(found) = self.log.identities(&[&self.topic]) else { return };
        if found.first().copied().flatten().is_none_or(|found| found.id != self.id) {
            let error = Error::new(Kind::Busy, format!("the command log was deleted: topic {}", self.topic));
            self.halt(
                error
                    .with_detail("another process has terminated the service, or the topic was deleted by hand")
                    .with_hint("restart tidegate to start an empty service"),
            );
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.request();
        let Some(thread) = self.thread.take() else { return };
        // The thread itself may hold the last reference to the engine.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}
