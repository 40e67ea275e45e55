//! Texts as they are written: checked without effect, and completed.

pub mod check;
pub mod complete;
