//! All Rust tests, one module an area.

mod aggregates;
mod architecture;
mod batches;
mod embedded_crash;
mod engine;
mod harness;
mod kafka;
mod log_contract;
mod model;
mod cli;
mod parse;
mod row_programs;
mod scalar;
mod simulated_log;
mod split_law;
mod windows;
mod format;
