//! All Rust tests, one module an area.

mod log_contract;
