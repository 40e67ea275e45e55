//! All Rust tests, one module an area.

mod architecture;
mod harness;
