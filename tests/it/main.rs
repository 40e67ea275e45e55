//! All Rust tests, one module an area.

mod aggregates;
mod architecture;
mod batches;
mod harness;
mod kafka;
mod model;
mod row_programs;
mod split_law;
mod windows;
mod embedded_crash;
mod log_contract;
mod simulated_log;
mod parse;
mod scalar;
