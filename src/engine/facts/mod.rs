//! What the engine does, as numbers: made once here, and shown by the API, `/metrics`, DESCRIBE EXTENDED, EXPLAIN and SQL.
//!
//! ```text
//! query thread --atomics--> Progress --+--> QueryFacts, QueryDetails       queries
//!                                      +--> Ring, once a second            history
//! catalogue ---------------------------+--> Graph                          graph
//! all of them --------------------------+--> Overview                       overview
//!                                       +--> rows of system.queries, ...    system
//! ```
//!
//! Reading never delays a query: its counters are atomics, the catalogue is a snapshot, and a log that does not respond is
//! waited for briefly (`introspect::refreshed`). Everything respects the rights of the session's user: what SHOW QUERIES does
//! not list is neither shown nor counted here.

pub mod graph;
pub mod history;
pub mod overview;
pub mod process;
pub mod queries;
pub mod query;

pub(in crate::engine) mod sampler;
pub(in crate::engine) mod summary;

mod system;
