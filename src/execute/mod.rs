//! Running a plan: incrementally over topics without an end, or once over the history that they hold.
//!
//! ```text
//! LogicalPlan --compile--> Pipeline --task--> record::source -> operator ... -> record::sink   (EMIT CHANGES, EMIT FINAL)
//! LogicalPlan --batch----> DataFusion over a snapshot of the topics                          (without EMIT)
//! PullPlan    --pull-----> rows of a materialized view                                       (lookups by key)
//! ```
//!
//! Each room uses only those above it in this list: [`change`] (what flows), [`pipeline`] (what is to be run, as plain
//! data), [`stage`] (its parts by stable ids), [`state`] (what operators remember), [`record`] (bytes to changes and back), [`operator`], [`compile`],
//! [`pull`], [`task`] (the loop of a running query), [`batch`].

pub mod batch;
pub mod change;
pub mod compile;
pub mod operator;
pub mod pipeline;
pub mod pull;
pub mod record;
pub mod stage;
pub mod state;
pub mod task;
