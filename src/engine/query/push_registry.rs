//! The push queries that are being read: SHOW QUERIES lists them, TERMINATE ends them, and dropping the rows removes them from
//! the list.

use crate::engine::access::{FORBIDDEN, Principal, Role};
use crate::engine::ddl::shut_down::shut_down;
use crate::engine::result::entity::{Counts, QueryRow};
use crate::error::{Error, Result};
use crate::execute::task::Progress;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a query, also while it waits.
type Ender = Arc<dyn Fn() + Send + Sync>;

/// All push queries of an engine, in order of their start.
#[derive(Debug, Default)]
pub(in crate::engine) struct PushRegistry(Mutex<Vec<Arc<Push>>>);

/// One of them.
pub(in crate::engine) struct Push {
    /// `transient_S_4611686018427387904`
    pub(in crate::engine) id: String,
    /// Its text.
    pub(in crate::engine) sql: String,
    /// The user who opened it.
    pub(in crate::engine) owner: Arc<str>,
    /// Topics that it reads.
    pub(in crate::engine) topics: BTreeSet<String>,
    /// Streams and tables that it reads.
    pub(in crate::engine) reads: Vec<String>,
    /// When it was opened, milliseconds since 1970.
    pub(in crate::engine) begun_ms: i64,
    /// It ends because the service was terminated.
    pub(in crate::engine) over: AtomicBool,
    /// Stops its thread immediately.
    pub(in crate::engine) end: Ender,
    /// What it has done.
    pub(in crate::engine) progress: Arc<Progress>,
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Push").field(&self.id).finish()
    }
}

impl Push {
    fn end(&self) {
        (self.end)();
    }

    /// Why it ended, once its thread is gone: TERMINATE is a regular end, a lost thread is not.
    pub(in crate::engine) fn ended(&self, stopped: bool) -> Result<&'static str> {
        if self.over.load(Ordering::Acquire) {
            return Err(shut_down());
        }
        match stopped {
            true => Ok("Query terminated"),
            false => Err(Error::bug("the query's thread ended early").with_detail("its result is not complete")),
        }
    }

    /// The user who opened it may end it, and administrators may.
    fn check_end(&self, user: &Principal) -> Result<()> {
        match self.owner == user.name || user.role >= Role::Admin {
            true => Ok(()),
            false => Err(Error::statement(format!("query {} was opened by another user", self.id))
                .with_code(FORBIDDEN)
                .with_detail(format!("that user and administrators may end it; {} has role {}", user.name, user.role))),
        }
    }

    /// Whether it is visible to this user.
    fn is_shown_to(&self, user: &Principal) -> bool {
        self.owner == user.name || self.topics.iter().all(|topic| user.topics.include(topic))
    }

    fn row(&self) -> QueryRow {
        QueryRow {
            id: self.id.clone(),
            kind: "PUSH",
            state: "RUNNING".to_owned(),
            sink: None,
            sink_topic: None,
            sql: self.sql.clone(),
            trouble: None,
            host: None,
            standbys: Vec::new(),
            counts: Counts::of(&self.progress),
        }
    }
}

impl PushRegistry {
    /// Lists a query for the lifetime of its result.
    pub(in crate::engine) fn list(self: &Arc<PushRegistry>, push: Push) -> Registration {
        let push = Arc::new(push);
        self.0.lock().push(push.clone());
        Registration { pushes: self.clone(), push }
    }

    /// The rows of SHOW QUERIES for this user.
    pub(in crate::engine) fn rows(&self, user: &Principal) -> Vec<QueryRow> {
        self.seen_by(user).iter().map(|push| push.row()).collect()
    }

    /// Those that this user sees.
    pub(in crate::engine) fn seen_by(&self, user: &Principal) -> Vec<Arc<Push>> {
        self.0.lock().iter().filter(|push| push.is_shown_to(user)).cloned().collect()
    }

    /// Whether this user opened the query with this id.
    pub(in crate::engine) fn is_of(&self, id: &str, user: &Principal) -> bool {
        self.0.lock().iter().any(|push| push.id.eq_ignore_ascii_case(id) && push.owner == user.name)
    }

    /// Whether a query with this id is being read; ids are case-insensitive.
    pub(in crate::engine) fn contains(&self, id: &str) -> bool {
        self.0.lock().iter().any(|push| push.id.eq_ignore_ascii_case(id))
    }

    /// Ends all of them with their service.
    pub(in crate::engine) fn end_all(&self) {
        let all = self.0.lock().clone();
        for push in all {
            push.over.store(true, Ordering::Release);
            push.end();
        }
    }

    /// Ends one and returns its id.
    pub(in crate::engine) fn end(&self, id: &str, user: &Principal) -> Result<String> {
        // It may have ended in the meantime.
        let Some(push) = self.find(id) else { return Ok(id.to_owned()) };
        push.check_end(user)?;
        push.end();
        Ok(push.id.clone())
    }

    /// An error unless this user may end the query.
    pub(in crate::engine) fn check_end(&self, id: &str, user: &Principal) -> Result<()> {
        self.find(id).map_or(Ok(()), |push| push.check_end(user))
    }

    fn find(&self, id: &str) -> Option<Arc<Push>> {
        self.0.lock().iter().find(|push| push.id.eq_ignore_ascii_case(id)).cloned()
    }
}

/// A query's place on the list. Dropping it ends the query.
#[derive(Debug)]
pub(in crate::engine) struct Registration {
    pushes: Arc<PushRegistry>,
    pub(in crate::engine) push: Arc<Push>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.push.end();
        self.pushes.0.lock().retain(|push| !Arc::ptr_eq(push, &self.push));
    }
}
