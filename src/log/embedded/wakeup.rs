//! What a waiting reader sleeps on: new data in one of its partitions, or somebody's wish to talk to its thread.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Two flags and a bell. Flags stay up until they are looked at, so that nothing is missed between looking and sleeping.
#[derive(Debug, Default)]
pub(super) struct Wakeup {
    flags: Mutex<Flags>,
    bell: Condvar,
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
    /// Somebody called the waker.
    Woken,
    /// Time is up.
    Timeout,
}

impl Wakeup {
    /// Something was committed.
    pub(super) fn data(&self) {
        self.raise(|flags| flags.data = true);
    }

    /// Somebody wants the poll to end.
    pub(super) fn wake(&self) {
        self.raise(|flags| flags.woken = true);
    }

    /// Forgets what was signalled: the caller is about to look.
    pub(super) fn clear_data(&self) {
        self.flags.lock().data = false;
    }

    /// Forgets a wish that is being fulfilled by the poll's return.
    pub(super) fn clear_woken(&self) {
        self.flags.lock().woken = false;
    }

    /// Sleeps until a flag is up.
    pub(super) fn wait(&self, timeout: Duration) -> Wait {
        let mut flags = self.flags.lock();
        if !flags.data && !flags.woken && !timeout.is_zero() {
            self.bell.wait_while_for(&mut flags, |f| !f.data && !f.woken, timeout);
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
        self.bell.notify_all();
    }
}
