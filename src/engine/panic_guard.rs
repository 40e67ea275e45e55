//! A statement that panics is an error for its caller and for nobody else.
//!
//! ```text
//! panic while it is planned               nothing has changed, the next statement is carried out
//! panic after the command log has it      the catalogue may lack it: no statement is recorded any more, /readyz is 503, and
//!                                         a restart carries out what the command log holds
//! ```
//!
//! Queries, lookups and statements that only read continue in either case.

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::{mutant, threads};
use std::cell::Cell;
use std::sync::atomic::Ordering;

thread_local! {
    /// The statement that this thread carries out is in the command log.
    static RECORDED: Cell<bool> = const { Cell::new(false) };
}

impl Engine {
    /// Carries out a statement, or a part of one; a panic in it is an error.
    pub(super) fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        RECORDED.set(false);
        let done = threads::guard("statement", &self.inner.config.service_id, work);
        if done.is_err() && RECORDED.get() {
            self.inner.torn.store(true, Ordering::Release);
        }
        done.flatten()
    }

    /// The command log has the statement of this thread: from here on it must be carried out to its end.
    pub(super) fn recorded(&self) {
        RECORDED.set(true);
        mutant::trip("recorded", &self.inner.config.service_id);
    }

    /// An error once the catalogue may lack what the command log holds.
    pub(super) fn check_whole(&self) -> Result<()> {
        match self.inner.torn.load(Ordering::Acquire) {
            true => Err(Error::new(Kind::Busy, "a statement panicked after it was recorded")
                .with_detail("what it should have changed may be missing here, so nothing more is recorded")
                .with_hint("restart tidegate: it carries out what the command log holds")),
            false => Ok(()),
        }
    }
}
