//! All Rust tests, one module an area.

mod aggregates;
mod batches;
mod model;
mod split_law;
mod windows;
mod architecture;
