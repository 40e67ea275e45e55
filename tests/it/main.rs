//! All Rust tests, one module an area.

mod aggregates;
mod architecture;
mod batches;
mod model;
mod split_law;
mod windows;
mod harness;
