//! All Rust tests, one module an area.
