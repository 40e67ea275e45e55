//! Queries of every kind, and what bounds and watches them.
//!
//! ```text
//! persistent   CREATE ... AS, INSERT INTO ... SELECT: a thread until it is terminated      topic_monitor, lag, verify
//! push         SELECT ... EMIT CHANGES: a thread until its reader leaves                    push_registry, handover
//! pull         SELECT of keys: from the committed rows of a persistent query                pull_limits, pull_plan_cache
//! batch        any other SELECT: over the history that is there now, and an end             user_quota
//! ```
//!
//! What any of them skips goes to the processing log.

pub mod lag;
pub mod persistent;
pub mod processing_log;

pub(in crate::engine) mod batch;
pub(in crate::engine) mod handover;
pub(in crate::engine) mod pull;
pub(in crate::engine) mod pull_limits;
pub(in crate::engine) mod pull_plan_cache;
pub(in crate::engine) mod push;
pub(in crate::engine) mod push_registry;
pub(in crate::engine) mod topic_monitor;
pub(in crate::engine) mod user_quota;

mod verify;
