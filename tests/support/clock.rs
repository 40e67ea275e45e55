//! A clock for repeatable runs: the date does not move, so that INSERT VALUES writes the same time everywhere; what waits
//! continues, either at once (virtual) or as the machine's time passes (real, for threads and brokers).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidegate::types::clock::{Clock, SharedClock, SystemClock};

/// Stands at 1970-01-01T00:00:00Z.
#[derive(Debug)]
pub(crate) struct StandingClock {
    slept_ms: AtomicU64,
    machine: Option<SharedClock>,
}

impl StandingClock {
    /// Sleeping moves it.
    pub(crate) fn virtual_time() -> SharedClock {
        Arc::new(StandingClock { slept_ms: AtomicU64::new(0), machine: None })
    }

    /// Sleeping blocks the thread.
    #[allow(dead_code, reason = "only targets with threads of their own need it")]
    pub(crate) fn real_time() -> SharedClock {
        Arc::new(StandingClock { slept_ms: AtomicU64::new(0), machine: Some(SystemClock::shared()) })
    }
}

impl Clock for StandingClock {
    fn now_ms(&self) -> i64 {
        0
    }

    fn monotonic(&self) -> Duration {
        match &self.machine {
            Some(machine) => machine.monotonic(),
            None => Duration::from_millis(self.slept_ms.load(Ordering::SeqCst)),
        }
    }

    fn sleep(&self, time: Duration) {
        match &self.machine {
            Some(machine) => machine.sleep(time),
            None => {
                self.slept_ms.fetch_add(time.as_millis().max(1) as u64, Ordering::SeqCst);
            }
        }
    }
}
