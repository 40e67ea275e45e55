//! `.proto` texts to trees.
//!
//! ```text
//! lexer -> parser -> options, grammar
//! ```

mod grammar;
mod lexer;
mod options;
mod parser;

pub(super) use grammar::read;
pub(super) use parser::NESTING_MAX;
