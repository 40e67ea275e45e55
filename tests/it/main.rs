//! All Rust tests, one module an area.

mod batches;
mod model;
mod split_law;
