//! Topics and their records as data: decoded and raw, with headers, bad ones with the reason; and what was said about them.
//!
//! ```text
//! Engine::records   topic, where to start, how to decode, a condition in SQL -> Records: lines, until the end or live      read
//!   Decoding        bytes -> JSON: as a stream or table declares them, or by what they look like                          decode
//!   Condition       WHERE of a query that the planner has planned, per record                                             condition
//! topics, sources   partitions, offsets, who reads and writes them                                                        topics
//! problems          bad records by reason, late rows, queries that ended                                                  problems
//! statements        the command log                                                                                       statements
//! ```
//!
//! Reading has no group and leaves nothing behind. Topics of the engine are for administrators, as with PRINT.

pub mod decode;
pub mod line;
pub mod problems;
pub mod read;
pub mod statements;
pub mod topics;

mod condition;
