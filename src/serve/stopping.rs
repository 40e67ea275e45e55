//! Shutdown: running responses get a bounded time, and those that have not ended by then are cut off, visibly to their readers.
//!
//! ```text
//! Serving  --SIGTERM, Ctrl-C-->  Draining   no new connections; responses that end by themselves may do so for DRAIN_PATIENCE;
//!                                           push queries, PRINT and inserts without a known length are cut off
//!          --timeout---------->  Breaking   the others are cut off, too, and have LAST_WORDS to send an error
//! ```
//!
//! Draining ends as soon as no bounded response is left: the client of a push query that does not read delays a shutdown by
//! [`LAST_WORDS`] at most. Cut off means an error at the end of the rows, where their format has one, and a connection
//! (HTTP/1.1) or stream (HTTP/2) that ends without its final chunk: see `rows::queue`.

use super::limits::{DRAIN_PATIENCE, LAST_WORDS};
use crate::error::{Error, Kind, SHUTTING_DOWN};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How often a stopping server counts the remaining responses.
const LOOK: Duration = Duration::from_millis(10);

/// The phase of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Not stopping.
    #[default]
    Serving,
    /// Bounded responses may end.
    Draining,
    /// Everything ends.
    Breaking,
}

/// The shutdown of one server, or of one owner's socket. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopping(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: watch::Sender<Phase>,
    counts: [AtomicUsize; 3],
}

/// Indexes of the counts: bounded responses, endless responses, connections.
const BOUNDED: usize = 0;
const ENDLESS: usize = 1;
const CONNECTIONS: usize = 2;

/// Counts one response or connection until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    inner: Arc<Inner>,
    which: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inner.counts[self.which].fetch_sub(1, Ordering::AcqRel);
    }
}

impl Stopping {
    /// Enters a phase; there is no way back.
    pub(super) fn enter(&self, phase: Phase) {
        self.0.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Does a response have to end now? `bounded` = it ends by itself.
    pub(super) fn ends(&self, bounded: bool) -> bool {
        *self.0.phase.borrow() > last_phase(bounded)
    }

    /// Waits until it has to.
    pub(super) async fn ended(&self, bounded: bool) {
        let mut phase = self.0.phase.subscribe();
        // The sender lives as long as `self`.
        let _ = phase.wait_for(|phase| *phase > last_phase(bounded)).await;
    }

    /// Counts a response until the result is dropped.
    pub(super) fn answer(&self, bounded: bool) -> Held {
        self.hold(if bounded { BOUNDED } else { ENDLESS })
    }

    /// Counts a connection.
    pub(super) fn connection(&self) -> Held {
        self.hold(CONNECTIONS)
    }

    fn hold(&self, which: usize) -> Held {
        self.0.counts[which].fetch_add(1, Ordering::AcqRel);
        Held { inner: self.0.clone(), which }
    }

    fn count(&self, which: usize) -> usize {
        self.0.counts[which].load(Ordering::Acquire)
    }

    /// Ends everything, within [`DRAIN_PATIENCE`] and [`LAST_WORDS`] together.
    pub(super) async fn run_down(&self) {
        let begun = Instant::now();
        self.enter(Phase::Draining);
        while begun.elapsed() < DRAIN_PATIENCE {
            let connections = self.count(CONNECTIONS);
            // What is left are readers that do not take the end of what has none.
            let is_drained = self.count(BOUNDED) == 0 && connections <= self.count(ENDLESS);
            if connections == 0 || is_drained && begun.elapsed() >= LAST_WORDS {
                return;
            }
            sleep(LOOK).await;
        }
        self.break_off().await;
    }

    /// Breaks everything off that is left, and waits for at most [`LAST_WORDS`] until all readers have seen it.
    pub(super) async fn break_off(&self) {
        let begun = Instant::now();
        self.enter(Phase::Breaking);
        while self.0.counts.iter().any(|count| count.load(Ordering::Acquire) > 0) && begun.elapsed() < LAST_WORDS {
            sleep(LOOK).await;
        }
    }
}

/// The last phase in which such a response continues.
fn last_phase(bounded: bool) -> Phase {
    if bounded { Phase::Draining } else { Phase::Serving }
}

/// The error at the end of a response that is cut off.
pub(super) fn error() -> Error {
    Error::new(Kind::Busy, "The server is shutting down")
        .with_code(SHUTTING_DOWN)
        .with_detail("the response is incomplete")
        .with_hint("retry when the server is back")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_down(stopping: &Stopping) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let begun = Instant::now();
            stopping.run_down().await;
            begun.elapsed()
        })
    }

    #[test]
    fn what_has_no_end_of_its_own_is_not_waited_for() {
        let stopping = Stopping::default();
        let _stuck = (stopping.connection(), stopping.answer(false));
        let took = run_down(&stopping);
        assert!(took < DRAIN_PATIENCE, "{took:?}");
        assert!(stopping.ends(false) && !stopping.ends(true));
        assert!(run_down(&Stopping::default()) < LAST_WORDS, "nothing is there");
    }
}
