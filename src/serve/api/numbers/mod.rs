//! Numbers of the server and its queries: overview, queries, graph, history. They are facts of `engine::facts`; here they only
//! become JSON.
//!
//! ```text
//! GET /api/v1/overview                                  counts, rates, what needs attention
//! GET /api/v1/queries        GET /api/v1/queries/{id}   counters, lag, state; partitions, stages, settings
//! GET /api/v1/graph?at=CAR_STATS&depth=2                what flows where
//! GET /api/v1/history?query=*&series=in,out,lag         the last 15 minutes by second, 6 hours by 15 seconds
//! ```
//!
//! A reader may call each of them, and sees what SHOW QUERIES, SHOW STREAMS and SHOW TABLES list for it.

pub(super) mod graph;
pub(super) mod history;
pub(super) mod overview;
pub(super) mod queries;
