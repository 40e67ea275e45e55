//! Queries of every kind, their limits, and what monitors them.
//!
//! ```text
//! persistent   CREATE ... AS, INSERT INTO ... SELECT: a thread until it is terminated      topic_monitor, lag, verify
//! push         SELECT ... EMIT CHANGES: a thread until its reader leaves                    push_registry, handover
//! pull         SELECT of keys: from the committed rows of a persistent query                limits, plan_cache, lag, owners
//! batch        any other SELECT: reads the retained history, and ends                       user_quota
//! ```
//!
//! Records that any of them skips are reported in the processing log.

pub mod condition;
pub mod lag;
pub mod persistent;
pub mod processing_log;
pub mod pull;

pub(in crate::engine) mod batch;
pub(in crate::engine) mod push;
pub(in crate::engine) mod push_queue;
pub(in crate::engine) mod push_registry;
pub(in crate::engine) mod spec;
pub(in crate::engine) mod topic_monitor;
pub(in crate::engine) mod user_quota;

mod verify;

use crate::catalog::Catalog;
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::{Error, Result};
use crate::parse::query::Relational;
use crate::parse::statement::{Name, Print, Select};
use crate::plan::{self, Settings};
use crate::types::nearest;

/// A statement that reads rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Read<'a> {
    /// SELECT ... EMIT CHANGES.
    Push(&'a Select),
    /// A SELECT that ends.
    Bounded(Bounded<'a>),
    /// EXPLAIN ANALYZE of one.
    Analyze(Bounded<'a>),
    /// PRINT.
    Print(&'a Print),
    /// VERIFY QUERY.
    Verify(&'a Name),
}

/// A SELECT that ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Bounded<'a> {
    /// In ksqlDB's grammar.
    Select(&'a Select),
    /// SELECTs in ksqlDB's grammar with what SQL puts around them.
    Relational(&'a Relational),
}

impl Read<'_> {
    /// Plans it, as far as that depends on the catalogue alone. Returns the streams and tables that it reads.
    pub(in crate::engine) fn validate(&self, catalog: &Catalog, settings: &Settings) -> Result<Vec<String>> {
        match self {
            Read::Push(select) => plan::push_query(select, catalog, settings).map(|plan| plan.reads),
            Read::Bounded(bounded) | Read::Analyze(bounded) => bounded.plan(catalog, settings).map(|plan| plan.reads),
            // A topic may be created, and a query started, by the statements before.
            Read::Print(_) | Read::Verify(_) => Ok(Vec::new()),
        }
    }

    /// Starts it.
    pub(in crate::engine) fn start(self, engine: &Engine, text: &str, session: &Session) -> Result<Answer> {
        match self {
            Read::Push(select) => engine.push_query(select, text, session),
            Read::Bounded(bounded) => engine.batch_query(bounded, text, session),
            Read::Analyze(bounded) => engine.analyze(bounded, text, session),
            Read::Print(print) => engine.print(print, session),
            Read::Verify(id) => engine.verify(id, session),
        }
    }
}

/// The error for a persistent query that does not exist.
pub(in crate::engine) fn unknown_query(id: &str, catalog: &Catalog) -> Error {
    let error = Error::statement(format!("Unknown queryId: {id}"));
    match nearest(id, catalog.query_ids().iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("SHOW QUERIES lists what runs"),
    }
}
