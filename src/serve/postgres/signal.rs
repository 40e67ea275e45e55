//! What happens to a session from outside while it works, and who may do that to it.

use crate::serve::auth::users::is_same;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The end of what a session does.
#[derive(Debug, Default)]
pub(super) struct Signal {
    /// A CancelRequest has come: the running statement ends.
    pub(super) cancelled: AtomicBool,
    /// The client has left.
    pub(super) left: AtomicBool,
}

/// Sessions that can be cancelled, by process id.
#[derive(Default)]
pub(super) struct Cancels(Mutex<HashMap<i32, Cancellable>>);

struct Cancellable {
    secret: Vec<u8>,
    signal: Arc<Signal>,
}

impl Cancels {
    /// Cancels what the session does, if the secret is right. Its sender never learns whether it was.
    pub(super) fn cancel(&self, process: i32, secret: &[u8]) {
        if let Some(session) = self.0.lock().get(&process)
            && is_same(&session.secret, secret)
        {
            session.signal.cancelled.store(true, Ordering::Release);
        }
    }

    pub(super) fn add(&self, process: i32, secret: Vec<u8>, signal: Arc<Signal>) {
        self.0.lock().insert(process, Cancellable { secret, signal });
    }

    pub(super) fn remove(&self, process: i32) {
        self.0.lock().remove(&process);
    }
}
