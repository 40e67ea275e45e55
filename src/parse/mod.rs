//! Text to statements. Pure: nothing is looked up here.
//!
//! ```text
//! "select a from s; drop stream s"
//!   split      two pieces, each with its place in the whole text
//!   lex        tokens: words upper-cased, places in bytes, limits on size and depth
//!   reader     the statement's own grammar (`grammar`) around sqlparser's expressions (dialect)
//!   print      back to text; reading that again gives the same statement
//! ```
//!
//! Places in a statement (names, expressions by [`span_of`]) count from its own first byte; [`Parsed::span`] says where
//! that is in the whole text. The errors of [`parse`] count in the whole text.
//!
//! It does not resolve names, check types or know any function.

mod dialect;
pub mod expansion;
mod grammar;
mod lex;
mod print;
pub mod query;
mod reader;
mod span;
pub mod statement;
mod syntax_error;
pub mod text;
mod tree;
mod types;
mod variables;
pub mod words;

pub use expansion::QUERY_PARTS_MAX;
pub use lex::{NESTING_MAX, OPERATORS_MAX, QUERY_NESTING_MAX, SET_OPERATIONS_MAX, STATEMENT_BYTES_MAX, TOKENS_MAX};
pub use print::expression;
pub use span::span_of;
pub use text::split::{Piece, check_comments, is_complete, split};

pub use tree::EXPRESSION_DEPTH_MAX;
pub use types::{CustomTypes, TYPE_NAMES, TYPE_NESTING_MAX, data_type, sql_type};
pub use variables::{explained, substitute};

use crate::error::{Result, Span};
use dialect::KsqlDialect;
use statement::{Parsed, Statement};
use syntax_error::{line_and_column, located};

/// All statements of a text. The last one may lack its semicolon.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    parse_with(text, &CustomTypes::new())
}

/// The same where some types have names; a CREATE TYPE counts for the statements after it.
pub fn parse_with(text: &str, types: &CustomTypes) -> Result<Vec<Parsed>> {
    let mut dialect = KsqlDialect { types: types.clone() };
    let mut all = Vec::new();
    check_comments(text)?;
    for piece in split(text) {
        let parsed = parse_by(&dialect, text, piece)?;
        note_type(&parsed.statement, &mut dialect.types);
        all.push(parsed);
    }
    Ok(all)
}

/// What a statement does to the names of types that those after it see.
pub fn note_type(statement: &Statement, types: &mut CustomTypes) {
    match statement {
        Statement::CreateType(create) => {
            types.entry(create.name.value.clone()).or_insert_with(|| create.ty.clone());
        }
        Statement::DropType { name, .. } => _ = types.remove(&name.value),
        _ => {}
    }
}

/// The statement of one piece of `whole`, which is used only for the line of an error.
pub fn parse_piece(whole: &str, piece: Piece<'_>, types: &CustomTypes) -> Result<Parsed> {
    parse_by(&KsqlDialect { types: types.clone() }, whole, piece)
}

fn parse_by(dialect: &KsqlDialect, whole: &str, piece: Piece<'_>) -> Result<Parsed> {
    match statement(dialect, piece.text) {
        Ok(statement) => {
            let begin = line_and_column(whole, piece.span.start);
            Ok(Parsed { statement, text: piece.text.to_owned(), span: piece.span, begin })
        }
        Err(error) => Err(located(whole, error.at(Span::new(0, piece.text.len())).shifted(piece.span.start))),
    }
}

/// A tree that may be deeper than this is parsed on a separate stack.
const ORDINARY_DEPTH: usize = 48;

/// sqlparser's functions take up to 200 KB of stack a level without optimisation, and they recurse up to 256 times.
/// Only what is touched becomes memory.
const DEEP_STACK_BYTES: usize = 64 * 1024 * 1024;

fn statement(dialect: &KsqlDialect, text: &str) -> Result<Statement> {
    let (tokens, depth) = lex::lex(text)?;
    if depth <= ORDINARY_DEPTH {
        return grammar::statement(dialect, text, &tokens);
    }
    stacker::grow(DEEP_STACK_BYTES, || grammar::statement(dialect, text, &tokens))
}
