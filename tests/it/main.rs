//! All Rust tests, one module an area.

mod scalar;
