//! Records that statements and requests bring: INSERT VALUES, rows of `/inserts-stream`, records of a topic, lines.

pub mod lines;
pub mod records;

pub(in crate::engine) mod rows;

mod values;
