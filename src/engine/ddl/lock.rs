//! The DDL lock: statements that change the catalogue are carried out one after the other.
//!
//! The lock is held while a statement plans, creates topics, writes the command log and stops queries, so that what a plan
//! was checked against is still true when it is applied. That may take as long as a broker takes to respond. Readers do not
//! wait for it (see [`crate::engine::snapshot`]); another statement of this kind does, for a bounded time, and its error names the
//! statement that holds the lock.

use crate::engine::Engine;
use crate::engine::result::entity::{Entity, Status};
use crate::engine::snapshot::State;
use crate::error::{Error, Kind, Result};
use parking_lot::{Mutex, MutexGuard};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a statement waits for the one before it: as long as a Kafka cluster may take to settle a new or deleted topic.
const DDL_WAIT: Duration = Duration::from_secs(30);
/// Statements that wait at once. Each holds one of the server's blocking threads (512), which readers need, too.
const DDL_WAITING_MAX: usize = 64;
/// How much of the holder's text an error shows.
const SHOWN_CHARS: usize = 80;

/// Serialises statements that change the catalogue.
#[derive(Debug, Default)]
pub(in crate::engine) struct DdlLock {
    turn: Mutex<()>,
    holder: Mutex<Option<Holder>>,
    waiting: AtomicUsize,
}

/// The holder of the lock.
#[derive(Clone, Debug)]
struct Holder {
    statement: String,
    /// Since when, by the monotonic clock.
    since: Duration,
}

/// The guard of the lock, with the state that the statement is planned against. Dropping it admits the next statement.
pub(in crate::engine) struct Ddl<'a> {
    engine: &'a Engine,
    state: Arc<State>,
    _turn: MutexGuard<'a, ()>,
}

impl Engine {
    /// Waits for the statements before this one. The error names the one that takes too long.
    pub(in crate::engine) fn ddl(&self, statement: &str) -> Result<Ddl<'_>> {
        self.ddl_within(statement, DDL_WAIT)
    }

    /// The same with another limit.
    pub(in crate::engine) fn ddl_within(&self, statement: &str, limit: Duration) -> Result<Ddl<'_>> {
        let lock = &self.inner.ddl;
        let turn = match lock.turn.try_lock() {
            Some(turn) => turn,
            None => {
                let _place = Place::take(lock).ok_or_else(|| self.busy("too many statements wait for it"))?;
                let turn = lock.turn.try_lock_for(limit);
                turn.ok_or_else(|| self.busy(&format!("this one waited for {} s", limit.as_secs())))?
            }
        };
        let holder = Holder { statement: shown(statement), since: self.inner.clock.monotonic() };
        *lock.holder.lock() = Some(holder);
        let ddl = Ddl { engine: self, state: self.inner.state.load(), _turn: turn };
        // The service may have been terminated while this statement waited.
        self.check_alive()?;
        Ok(ddl)
    }

    fn busy(&self, why: &str) -> Error {
        let holder = self.inner.ddl.holder.lock().clone();
        let text = match holder {
            Some(Holder { statement, since }) => {
                let held = self.inner.clock.monotonic().saturating_sub(since);
                format!("another statement has been running for {} s: {statement}", held.as_secs())
            }
            None => "another statement is running".to_owned(),
        };
        Error::new(Kind::Busy, text)
            .with_detail(format!("statements that change the catalogue are carried out one after the other; {why}"))
            .with_hint(
                "try again; if it lasts, check that the brokers respond (SHOW QUERIES lists what waits for them)",
            )
    }
}

impl Ddl<'_> {
    /// Takes the state as it is now: commands were applied since.
    pub(in crate::engine) fn refresh(&mut self) {
        self.state = self.engine.inner.state.load();
    }

    /// Ends a statement that had nothing to record with a status, which `GET /status` returns later.
    pub(in crate::engine) fn finish(self, status: Status) -> Entity {
        self.engine.inner.state.change(|state| Arc::make_mut(&mut state.statuses).note(status.clone()));
        Entity::Status(status)
    }
}

impl Deref for Ddl<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Drop for Ddl<'_> {
    fn drop(&mut self) {
        // Before the lock itself is released: the next holder has not written its name yet.
        *self.engine.inner.ddl.holder.lock() = None;
    }
}

/// A place in the queue of waiting statements.
struct Place<'a>(&'a AtomicUsize);

impl Place<'_> {
    fn take(lock: &DdlLock) -> Option<Place<'_>> {
        let place = Place(&lock.waiting);
        (lock.waiting.fetch_add(1, Ordering::AcqRel) < DDL_WAITING_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A statement on one line, cut where it is long.
fn shown(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LogConfig};
    use crate::engine::Drive;
    use crate::engine::session::Session;
    use crate::log::simulated::SimulatedLog;
    use crate::types::clock::ManualClock;

    fn engine() -> (Arc<ManualClock>, Engine) {
        let clock = ManualClock::at(0);
        let log = SimulatedLog::new(1, clock.clone());
        let engine = Engine::over(log, Config::new(LogConfig::Temporary), clock.clone(), Drive::ByHand).unwrap();
        (clock, engine)
    }

    #[test]
    fn the_error_names_the_statement_that_holds_the_lock() {
        let (clock, engine) = engine();
        let held = engine.ddl("DROP\n  STREAM s  DELETE TOPIC;").unwrap();
        clock.advance(Duration::from_secs(7));
        let error = engine.ddl_within("CREATE STREAM t ...", Duration::from_millis(10)).err().unwrap();
        assert_eq!(error.kind(), Kind::Busy);
        assert_eq!(error.message(), "another statement has been running for 7 s: DROP STREAM s DELETE TOPIC;");
        drop(held);
        engine.ddl_within("CREATE STREAM t ...", Duration::from_millis(10)).unwrap();
    }

    #[test]
    fn so_many_statements_wait_and_no_more() {
        let (_, engine) = engine();
        let held = engine.ddl("DROP STREAM s;").unwrap();
        let places: Vec<_> = (0..DDL_WAITING_MAX).map(|_| Place::take(&engine.inner.ddl).unwrap()).collect();
        // It does not wait at all: the limit would be reached long after the test.
        let error = engine.ddl_within("CREATE STREAM t ...", Duration::from_secs(3_600)).err().unwrap();
        assert!(error.detail().unwrap().contains("too many statements wait"), "{error:?}");
        drop((held, places));
        engine.ddl("CREATE STREAM t ...").unwrap();
        assert_eq!(engine.inner.ddl.waiting.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_reader_keeps_what_it_began_with_and_shares_it() {
        let (_, engine) = engine();
        let before = engine.catalog();
        assert!(Arc::ptr_eq(&before, &engine.catalog()), "nothing is copied for a reader");
        engine.run("CREATE TYPE t AS STRUCT<a INT>;", &mut Session::default()).unwrap();
        assert!(before.types().is_empty());
        assert_eq!(engine.catalog().types().len(), 1);
    }
}
