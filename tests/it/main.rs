//! All Rust tests, one module an area.

mod aggregates;
mod architecture;
mod batches;
mod cli;
mod embedded_crash;
mod engine;
mod format;
mod harness;
mod http;
mod kafka;
mod log_contract;
mod model;
mod parse;
mod row_programs;
mod scalar;
mod simulated_log;
mod split_law;
mod windows;
