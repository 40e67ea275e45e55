//! How a server ends: what runs gets a bounded time, and what has not ended by then is broken off where its reader sees it.
//!
//! ```text
//! Serving  --SIGTERM, Ctrl-C-->  Draining   no new connections; answers that end by themselves may do so for DRAIN_PATIENCE;
//!                                           push queries, PRINT and inserts without a known length are broken off
//!          --time is up------->  Breaking   the others are broken off, too, and have LAST_WORDS to say so
//! ```
//!
//! Draining is over as soon as nothing is left that could end: a reader of a push query that does not read holds up a stop for
//! [`LAST_WORDS`] at most. Broken off means an error at the end of the rows, where their format has one, and a connection
//! (HTTP/1.1) or stream (HTTP/2) that ends without its end: see `outbox`.

use super::limits::{DRAIN_PATIENCE, LAST_WORDS};
use crate::error::{Error, Kind, SHUTTING_DOWN};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How often a server that ends counts what is left.
const LOOK: Duration = Duration::from_millis(10);

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It has not begun.
    #[default]
    Serving,
    /// What ends by itself may do so.
    Draining,
    /// Nothing goes on.
    Breaking,
}

/// The end of one server, or of one owner's door. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopping(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: watch::Sender<Phase>,
    counts: [AtomicUsize; 3],
}

/// What is counted, by its place in the counts: answers that end by themselves, those that do not, connections.
const BOUNDED: usize = 0;
const ENDLESS: usize = 1;
const CONNECTIONS: usize = 2;

/// One answer or connection that is still there. Dropping it is its end.
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

    /// Does an answer have to end now? `bounded` = it ends by itself.
    pub(super) fn ends(&self, bounded: bool) -> bool {
        *self.0.phase.borrow() > last_phase(bounded)
    }

    /// Waits until that is so.
    pub(super) async fn ended(&self, bounded: bool) {
        let mut phase = self.0.phase.subscribe();
        // The sender lives as long as `self`.
        let _ = phase.wait_for(|phase| *phase > last_phase(bounded)).await;
    }

    /// Counts an answer for as long as it is on its way.
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

/// The last phase in which such an answer goes on.
fn last_phase(bounded: bool) -> Phase {
    if bounded { Phase::Draining } else { Phase::Serving }
}

/// What readers of an answer get that is broken off.
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
