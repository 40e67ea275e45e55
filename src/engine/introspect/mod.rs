//! What an engine says about itself: SHOW, DESCRIBE, EXPLAIN, PRINT, and names for completion. Nothing here changes anything.

pub mod function_help;
pub mod names;
pub mod topics;

pub(in crate::engine) mod refreshed;
pub(in crate::engine) mod show;

mod print;
