//! The engine's state as readers see it: an immutable value that is replaced as a whole.
//!
//! ```text
//! SHOW, DESCRIBE, EXPLAIN, planning, lookups, /metrics, /status:  load() -> Arc<State>, no lock afterwards
//! CREATE, DROP, TERMINATE, ... once they are recorded:            change(..) on a copy, which takes its place
//! ```
//!
//! The lock around the pointer is held for as long as it takes to copy the pointer. It is never held while anything waits:
//! a reader is independent of a statement that waits for a broker.

use crate::catalog::Catalog;
use crate::engine::command::status::Statuses;
use crate::engine::query::persistent::Query;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What statements read and change. Cheap to clone next to what a statement costs: all large parts are shared.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Streams, tables, types, and who reads and writes what.
    pub(super) catalog: Arc<Catalog>,
    /// Persistent queries by id.
    pub(super) queries: BTreeMap<String, Arc<Query>>,
    /// What EXPLAIN shows of each query.
    pub(super) texts: BTreeMap<String, Arc<QueryText>>,
    /// Statuses of the commands.
    pub(super) statuses: Arc<Statuses>,
    /// Sequence of the next command.
    pub(super) next: u64,
}

/// A query as it was written and as it was planned.
#[derive(Clone, Debug)]
pub(super) struct QueryText {
    pub(super) sql: String,
    /// Drawn plan.
    pub(super) plan: String,
    /// When its statement was carried out, milliseconds since 1970.
    pub(super) created_ms: i64,
}

impl State {
    /// The catalogue, to be changed: a copy if readers hold the present one.
    pub(super) fn catalog_mut(&mut self) -> &mut Catalog {
        Arc::make_mut(&mut self.catalog)
    }

    /// Persistent queries in order of creation.
    pub(super) fn queries(&self) -> impl Iterator<Item = (&String, &Arc<Query>)> {
        self.catalog.query_ids().iter().filter_map(|id| Some((id, self.queries.get(id)?)))
    }

    /// Removes a query from everything but the catalogue.
    pub(super) fn remove_query(&mut self, id: &str) -> Option<Arc<Query>> {
        let query = self.queries.remove(id)?;
        self.texts.remove(id);
        Some(query)
    }
}

/// The present state of an engine.
#[derive(Debug, Default)]
pub(super) struct Published {
    state: RwLock<Arc<State>>,
    /// Held while one change is made from the state before it.
    changing: Mutex<()>,
    /// Sequence of the next command of that state, for those who wait for one.
    next: Mutex<u64>,
    /// `next` has grown.
    advanced: Condvar,
}

impl Published {
    /// The state as of now. It does not change under the caller.
    pub(super) fn load(&self) -> Arc<State> {
        self.state.read().clone()
    }

    /// Changes the state and makes it visible to readers, as one step. `change` waits for nothing.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let _turn = self.changing.lock();
        let mut state = self.load();
        let done = change(Arc::make_mut(&mut state));
        let next = state.next;
        // The old state is dropped after the lock is released: it may be the last owner of queries and sources.
        let before = std::mem::replace(&mut *self.state.write(), state);
        drop(before);
        let mut known = self.next.lock();
        if *known != next {
            *known = next;
            self.advanced.notify_all();
        }
        done
    }

    /// Waits at most so long until the state holds the command with this sequence number; false = it does not yet.
    pub(super) fn await_command(&self, sequence: u64, wait: Duration) -> bool {
        let mut next = self.next.lock();
        self.advanced.wait_while_for(&mut next, |next| *next <= sequence, wait);
        *next > sequence
    }
}
