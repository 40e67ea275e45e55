//! All Rust tests, one module an area.

mod aggregates;
mod batches;
mod model;
mod row_programs;
mod split_law;
mod windows;
