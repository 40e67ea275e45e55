//! A panic in a statement is an error for its caller, and affects no other statement.
//!
//! ```text
//! panic before the command is recorded    nothing has changed, the next statement is carried out
//! panic after it is recorded              the catalogue may lack it: no statement is recorded any more, /readyz is 503, and
//!                                         a restart replays it
//! ```
//!
//! A record that arrives after its statement has failed has the same consequence ([`Engine::overtaken`]).
//! Queries, lookups and statements that only read continue in either case.

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::{mutant, threads};
use std::cell::Cell;

thread_local! {
    /// The statement on this thread is recorded in the command log.
    static RECORDED: Cell<bool> = const { Cell::new(false) };
}

impl Engine {
    /// Carries out a statement, or a part of one; a panic in it is an error.
    pub(in crate::engine) fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        RECORDED.set(false);
        let done = threads::guard("statement", &self.inner.config.service_id, work);
        if done.is_err() && RECORDED.get() {
            let _ = self.inner.inconsistent.set("a statement panicked after it was recorded");
        }
        done.flatten()
    }

    /// Notes that the statement on this thread is recorded: from here on it must be carried out to its end.
    pub(in crate::engine) fn note_recorded(&self) {
        RECORDED.set(true);
        mutant::trip("recorded", &self.inner.config.service_id);
    }

    /// The error of a statement in whose place the command log holds another one: a record that was not confirmed, and that
    /// arrived after its statement had failed.
    pub(in crate::engine) fn overtaken(&self) -> Error {
        let why = "a statement that the log had not confirmed was recorded after all";
        let why = *self.inner.inconsistent.get_or_init(|| why);
        Error::new(Kind::Busy, why)
            .with_detail("it is missing from the catalogue, so that this statement was not carried out")
            .with_hint("restart tidegate: it replays the command log; then repeat this statement")
    }

    /// An error once the catalogue may lack a recorded statement, or follows those of other processes no more.
    pub(in crate::engine) fn check_consistent(&self) -> Result<()> {
        if let Some(tail) = &self.inner.tail {
            tail.check()?;
        }
        match self.inner.inconsistent.get() {
            Some(why) => Err(Error::new(Kind::Busy, *why)
                .with_detail("its changes may be missing from the catalogue, so no further statement is recorded")
                .with_hint("restart tidegate: it replays the command log")),
            None => Ok(()),
        }
    }
}
