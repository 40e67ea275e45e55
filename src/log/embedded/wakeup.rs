//! What a waiting reader sleeps on: new data in one of its partitions, or a call of its waker.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Two flags and a condition variable. Flags stay set until they are read, so that no event is lost between a check and a sleep.
#[derive(Debug, Default)]
pub(super) struct Wakeup {
    flags: Mutex<Flags>,
    condition: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    data: bool,
    woken: bool,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// There may be data.
    Data,
    /// The waker was called.
    Woken,
    /// The timeout has passed.
    Timeout,
}

impl Wakeup {
    /// Signals a commit.
    pub(super) fn data(&self) {
        self.raise(|flags| flags.data = true);
    }

    /// Ends a running poll, or the next one.
    pub(super) fn wake(&self) {
        self.raise(|flags| flags.woken = true);
    }

    /// Clears the data flag: the caller is about to check for data.
    pub(super) fn clear_data(&self) {
        self.flags.lock().data = false;
    }

    /// Clears the wake flag: the poll is returning.
    pub(super) fn clear_woken(&self) {
        self.flags.lock().woken = false;
    }

    /// Sleeps until a flag is set.
    pub(super) fn wait(&self, timeout: Duration) -> Wait {
        let mut flags = self.flags.lock();
        if !flags.data && !flags.woken && !timeout.is_zero() {
            self.condition.wait_while_for(&mut flags, |f| !f.data && !f.woken, timeout);
        }
        match *flags {
            Flags { woken: true, .. } => {
                flags.woken = false;
                Wait::Woken
            }
            Flags { data: true, .. } => Wait::Data,
            _ => Wait::Timeout,
        }
    }

    fn raise(&self, set: impl FnOnce(&mut Flags)) {
        set(&mut self.flags.lock());
        self.condition.notify_all();
    }
}
