//! What the maintenance thread waits for, and what retention and compaction have done so far. Writers and the thread share both.

use super::policy::PAUSE_MIN;
use crate::log::Upkeep;
use parking_lot::{Condvar, Mutex};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the maintenance thread waits for.
#[derive(Debug, Default)]
pub(super) struct MaintenanceSignal {
    state: Mutex<Signalled>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Signalled {
    /// There may be something to do.
    work: bool,
    /// The log is being closed.
    end: bool,
}

impl MaintenanceSignal {
    /// There may be something to do.
    pub(super) fn raise(&self) {
        self.state.lock().work = true;
        self.changed.notify_all();
    }

    /// The log is being closed.
    pub(super) fn end(&self) {
        self.state.lock().end = true;
        self.changed.notify_all();
    }

    /// Is the log being closed? A round then ends before its next partition.
    pub(super) fn is_over(&self) -> bool {
        self.state.lock().end
    }

    /// Waits between two rounds: [`PAUSE_MIN`], then until there is work, at most `pause`. `Break` = the log is being closed.
    pub(super) fn wait(&self, pause: Duration) -> ControlFlow<()> {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |s| !s.end, PAUSE_MIN);
        self.changed.wait_while_for(&mut state, |s| !s.end && !s.work, pause.saturating_sub(PAUSE_MIN));
        state.work = false;
        match state.end {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// What retention and compaction have done.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Held through a round: two compactions of a partition at once would write files of the same names.
    pub(super) round: Mutex<()>,
    busy_nanos: AtomicU64,
    removed_bytes: AtomicU64,
    copied_bytes: AtomicU64,
}

impl Work {
    /// Since the log was opened.
    pub(super) fn so_far(&self) -> Upkeep {
        Upkeep {
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)),
            removed_bytes: self.removed_bytes.load(Ordering::Relaxed),
            copied_bytes: self.copied_bytes.load(Ordering::Relaxed),
        }
    }

    /// Adds the time of a round.
    pub(super) fn busy(&self, time: Duration) {
        self.busy_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Adds the size of removed files.
    pub(super) fn removed(&self, bytes: u64) {
        self.removed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds what a compaction has written.
    pub(super) fn copied(&self, bytes: u64) {
        self.copied_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
