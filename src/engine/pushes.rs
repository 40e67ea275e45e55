//! Push queries that are being read: SHOW QUERIES lists them, TERMINATE ends them, and whoever drops the rows takes his
//! query off the list.

use super::cluster::shut_down;
use super::entity::{Counts, QueryRow};
use crate::error::{Error, Result};
use crate::execute::execution::Progress;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a query, whatever it waits for.
type Ender = Arc<dyn Fn() + Send + Sync>;

/// All push queries of an engine, in order of their beginning.
#[derive(Debug, Default)]
pub(super) struct Pushes(Mutex<Vec<Arc<Push>>>);

/// One of them.
pub(super) struct Push {
    /// `transient_0`
    pub(super) id: String,
    /// Its text.
    pub(super) sql: String,
    /// True = it ends with its service, which was terminated.
    pub(super) over: AtomicBool,
    /// Tells its thread to end, which notices at once.
    pub(super) end: Ender,
    /// What it has done.
    pub(super) progress: Arc<Progress>,
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

    /// Why it ended, once its thread has gone: only TERMINATE is an end as good as another.
    pub(super) fn ended(&self, stopped: bool) -> Result<&'static str> {
        if self.over.load(Ordering::Acquire) {
            return Err(shut_down());
        }
        match stopped {
            true => Ok("Query terminated"),
            false => Err(Error::bug("the query's thread ended early").with_detail("its answer is not complete")),
        }
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
            counts: Counts::of(&self.progress),
        }
    }
}

impl Pushes {
    /// Lists a query for as long as the answer lives.
    pub(super) fn list(self: &Arc<Pushes>, push: Push) -> Listed {
        let push = Arc::new(push);
        self.0.lock().push(push.clone());
        Listed { pushes: self.clone(), push }
    }

    /// As SHOW QUERIES shows them.
    pub(super) fn rows(&self) -> Vec<QueryRow> {
        self.0.lock().iter().map(|push| push.row()).collect()
    }

    /// One is being read under this id, in whatever case a statement has it.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.lock().iter().any(|push| push.id.eq_ignore_ascii_case(id))
    }

    /// Ends all of them with their service.
    pub(super) fn end_all(&self) {
        let all = self.0.lock().clone();
        for push in all {
            push.over.store(true, Ordering::Release);
            push.end();
        }
    }

    /// Ends one; answers its id if there was one.
    pub(super) fn end(&self, id: &str) -> Option<String> {
        let push = self.0.lock().iter().find(|push| push.id.eq_ignore_ascii_case(id)).cloned();
        push.map(|push| {
            push.end();
            push.id.clone()
        })
    }
}

/// A query's place on the list. Dropping it ends the query.
#[derive(Debug)]
pub(super) struct Listed {
    pushes: Arc<Pushes>,
    pub(super) push: Arc<Push>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.push.end();
        self.pushes.0.lock().retain(|push| !Arc::ptr_eq(push, &self.push));
    }
}
