//! All Rust tests, one module an area.

mod format;
