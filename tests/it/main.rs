//! All Rust tests, one module an area.

mod cli;
mod parse;
