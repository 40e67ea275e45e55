//! Values that only the log can provide and that readers show when available: topic names for completion, lag for `/metrics`.
//!
//! ```text
//! get() -> none in flight: request on a thread -> wait at most PATIENCE -> the reply, or the previous one if it is recent
//! ```
//!
//! A reader never waits for a broker longer than [`PATIENCE`]. While a broker does not respond, one thread waits for it, however
//! many readers there are.

use crate::error::Result;
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// How long a reader waits for the reply. Short enough for a response within 100 ms, long enough for a nearby cluster.
const PATIENCE: Duration = Duration::from_millis(75);
/// An older reply is not shown: two intervals of a typical scraper.
const AGE_MAX: Duration = Duration::from_secs(60);

/// A value that is refreshed on demand.
#[derive(Debug)]
pub(in crate::engine) struct Refreshed<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    reply: Mutex<Reply<T>>,
    /// Signalled when a request ends.
    ended: Condvar,
}

#[derive(Debug)]
struct Reply<T> {
    is_open: bool,
    /// The last one and its time, by the monotonic clock.
    last: Option<(Duration, Arc<T>)>,
}

impl<T> Default for Refreshed<T> {
    fn default() -> Refreshed<T> {
        Refreshed(Arc::new(Shared { reply: Mutex::new(Reply { is_open: false, last: None }), ended: Condvar::new() }))
    }
}

impl<T: Send + Sync + 'static> Refreshed<T> {
    /// The reply; `None` = the log fails or does not respond.
    pub(in crate::engine) fn get(
        &self,
        clock: &SharedClock,
        question: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Option<Arc<T>> {
        let mut reply = self.0.reply.lock();
        if !reply.is_open {
            let open = Open { shared: self.0.clone(), clock: clock.clone(), reply: None };
            reply.is_open = true;
            drop(reply);
            let ask = move || {
                let mut open = open;
                open.reply = question().inspect_err(|error| tracing::debug!(%error, "the log did not reply")).ok();
            };
            // Without a thread the request ends immediately, without a reply.
            let _ = threads::spawn("question", "", ask);
            reply = self.0.reply.lock();
        }
        self.0.ended.wait_while_for(&mut reply, |reply| reply.is_open, PATIENCE);
        let now = clock.monotonic();
        reply.last.as_ref().filter(|(came, _)| now.saturating_sub(*came) <= AGE_MAX).map(|(_, reply)| reply.clone())
    }
}

/// A request in flight. Dropping it ends the request, whatever happened to its thread.
struct Open<T> {
    shared: Arc<Shared<T>>,
    clock: SharedClock,
    reply: Option<T>,
}

impl<T> Drop for Open<T> {
    fn drop(&mut self) {
        let came = self.clock.monotonic();
        let mut reply = self.shared.reply.lock();
        reply.is_open = false;
        reply.last = self.reply.take().map(|reply| (came, Arc::new(reply)));
        self.shared.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::types::clock::{ManualClock, SystemClock};
    use std::sync::mpsc::channel;

    /// Asks until the reply is `wanted`: on a loaded machine the thread of a question may take longer than [`PATIENCE`].
    fn until(wanted: Option<u32>, ask: impl Fn() -> Option<Arc<u32>>) {
        let clock = SystemClock::shared();
        let end = clock.monotonic() + Duration::from_secs(60);
        while ask().as_deref().copied() != wanted {
            assert!(clock.monotonic() < end, "never {wanted:?}");
        }
    }

    #[test]
    fn a_reader_gets_the_last_reply_while_the_log_does_not_respond() {
        let clock = ManualClock::at(0);
        let shared: SharedClock = clock.clone();
        let asked = Refreshed::<u32>::default();
        until(Some(1), || asked.get(&shared, || Ok(1)));
        let (release, stalled) = channel::<()>();
        let real = SystemClock::shared();
        let begin = real.monotonic();
        let first = asked.get(&shared, move || Ok(stalled.recv().map_or(0, |()| 2)));
        assert_eq!(first.as_deref(), Some(&1), "the reply before");
        // No second thread: what it would reply is never seen.
        assert_eq!(asked.get(&shared, || Ok(9)).as_deref(), Some(&1));
        assert!(real.monotonic() - begin < PATIENCE * 20, "neither waited for the log");
        clock.advance(AGE_MAX + Duration::from_millis(1));
        assert_eq!(asked.get(&shared, || Ok(9)), None, "too old to be shown");
        release.send(()).unwrap();
        until(Some(3), || asked.get(&shared, || Ok(3)));
        // A failure is not hidden.
        until(None, || asked.get(&shared, || Err(Error::io("no broker"))));
    }

    #[test]
    fn a_question_that_panics_ends() {
        let clock = SystemClock::shared();
        let asked = Refreshed::<u32>::default();
        assert_eq!(asked.get(&clock, || panic!("on purpose")), None);
        until(Some(1), || asked.get(&clock, || Ok(1)));
    }
}
