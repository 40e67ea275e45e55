//! All Rust tests, one module an area.

mod embedded_crash;
mod log_contract;
mod simulated_log;
