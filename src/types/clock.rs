//! The only access to the wall clock: a clock is passed in, and tests advance it.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A source of time, and of sleep.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970-01-01.
    fn now_ms(&self) -> i64;
    /// Time since a fixed moment; monotonic.
    fn monotonic(&self) -> Duration;
    /// Blocks the thread; a virtual clock advances instead.
    fn sleep(&self, time: Duration);
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The system time, for the two functions that return it: UNIX_TIMESTAMP() and UNIX_DATE(). Everything else uses a [`Clock`].
#[expect(clippy::disallowed_methods, reason = "no clock reaches a function")]
pub fn ambient_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// The machine's clock, ready to share.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may read the machine's clock")]
    pub fn shared() -> SharedClock {
        Arc::new(SystemClock { start: std::time::Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may read the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| d.as_millis() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that may block on the machine's clock")]
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A clock that advances only by calls, and when a thread sleeps on it.
#[derive(Debug, Default)]
pub struct ManualClock {
    ms: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `ms`.
    pub fn at(ms: i64) -> Arc<ManualClock> {
        Arc::new(ManualClock { ms: AtomicI64::new(ms) })
    }

    /// Advances it.
    pub fn advance(&self, time: Duration) {
        self.ms.fetch_add(time.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ms.load(Ordering::SeqCst).max(0) as u64)
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}
