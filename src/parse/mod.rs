//! Text to statements. Pure: nothing is looked up here.
//!
//! ```text
//! "select a from s; drop stream s"
//!   split      two pieces, each with its place in the whole text
//!   lex        tokens: words upper-cased, places in bytes, limits on size and depth
//!   reader     the statement's own grammar (ddl, select, admin) around sqlparser's expressions (dialect)
//!   print      back to text; reading that again gives the same statement
//! ```
//!
//! Places in a statement (names, expressions by [`span_of`]) count from its own first byte; [`Parsed::span`] says where
//! that is in the whole text. The errors of [`parse`] count in the whole text.
//!
//! It does not resolve names, check types or know any function.

mod admin;
mod ddl;
mod dialect;
mod expansion;
mod files;
mod lex;
mod print;
mod reader;
mod select;
mod split;
pub mod statement;
mod tree;
mod types;
mod variables;
pub mod words;

pub use expansion::QUERY_PARTS_MAX;
pub use lex::{
    NESTING_MAX, OPERATORS_MAX, QUERY_NESTING_MAX, SET_OPERATIONS_MAX, STATEMENT_BYTES_MAX, TOKENS_MAX, span_of,
};
pub use print::expression;
pub use split::{Piece, is_complete, split};
pub use tree::EXPRESSION_DEPTH_MAX;
pub use types::{CustomTypes, TYPE_NAMES, TYPE_NESTING_MAX, data_type, sql_type};
pub use variables::{explained, substitute};

use crate::error::{Error, Result, Span};
use dialect::KsqlDialect;
use reader::Reader;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use statement::{Parsed, Statement};

/// All statements of a text. The last one may lack its semicolon.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    parse_with(text, &CustomTypes::new())
}

/// The same where some types have names; a CREATE TYPE counts for the statements after it.
pub fn parse_with(text: &str, types: &CustomTypes) -> Result<Vec<Parsed>> {
    let mut dialect = KsqlDialect { types: types.clone() };
    let mut all = Vec::new();
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

/// The statement of one piece of `whole`, which only serves to say the line of an error.
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

/// Where a byte of the text stands, counted from 1.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let last = before.rsplit('\n').next().unwrap_or(before);
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}

/// Puts `line 3:14: ` before a syntax error, as ksqlDB does.
fn located(whole: &str, error: Error) -> Error {
    if let Some(span) = error.span().filter(|_| error.message().starts_with(admin::NOT_HERE)) {
        let (line, column) = line_and_column(whole, span.start);
        return Error::statement(format!("{} at line {line}:{column}", error.message())).at(span);
    }
    let (true, Some(span)) = (error.message().starts_with(reader::SYNTAX_ERROR), error.span()) else { return error };
    let (line, column) = line_and_column(whole, span.start);
    let told = Error::statement(format!("line {line}:{column}: {}", error.message())).at(span);
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

/// A tree that may be deeper than this is read on a stack of its own.
const ORDINARY_DEPTH: usize = 48;

/// sqlparser's functions take up to 200 KB of stack a level without optimisation, and they recurse up to 256 times.
/// Only what is touched becomes memory.
const DEEP_STACK_BYTES: usize = 64 * 1024 * 1024;

fn statement(dialect: &KsqlDialect, text: &str) -> Result<Statement> {
    let (tokens, depth) = lex::lex(text)?;
    if depth <= ORDINARY_DEPTH {
        return whole(dialect, text, &tokens);
    }
    stacker::grow(DEEP_STACK_BYTES, || whole(dialect, text, &tokens))
}

fn whole(dialect: &KsqlDialect, text: &str, tokens: &[TokenWithSpan]) -> Result<Statement> {
    let mut reader = Reader::new(dialect, text, tokens.to_vec());
    if reader.word(0) == "EXPLAIN" {
        return explain(text, tokens, reader);
    }
    any(text, tokens, &mut reader, 0)
}

fn explain(text: &str, tokens: &[TokenWithSpan], mut reader: Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    if reader.word(0) == "EXPLAIN" {
        return reader.unexpected("a query's id or a statement", &[]);
    }
    if reader.remaining() == 1 && matches!(reader.token(0), Token::Word(_)) {
        return Ok(Statement::ExplainQuery(reader.name("a query's id")?));
    }
    Ok(Statement::Explain(Box::new(any(text, tokens, &mut reader, 1)?)))
}

/// The statement whose first word is the token at `from`, where the reader stands.
fn any(text: &str, tokens: &[TokenWithSpan], reader: &mut Reader<'_>, from: usize) -> Result<Statement> {
    if *reader.token(0) == Token::LParen {
        return select::query(reader.dialect, text, tokens, from);
    }
    let word = reader.word(0).to_owned();
    match word.as_str() {
        "SELECT" | "WITH" | "VALUES" => select::query(reader.dialect, text, tokens, from),
        "CREATE" => ddl::create(reader),
        "INSERT" => ddl::insert(reader),
        "DROP" => ddl::drop(reader),
        "SHOW" | "LIST" => admin::show(reader),
        "DESCRIBE" | "DESC" => admin::describe(reader),
        "TERMINATE" => admin::query_id(reader).map(Statement::Terminate),
        "PAUSE" => admin::query_id(reader).map(Statement::Pause),
        "RESUME" => admin::query_id(reader).map(Statement::Resume),
        "SET" => admin::set(reader),
        "UNSET" => admin::unset(reader),
        "DEFINE" => admin::define(reader),
        "UNDEFINE" => admin::undefine(reader),
        "PRINT" => admin::print(reader),
        "VERIFY" => admin::verify(reader),
        "COPY" => files::copy(reader),
        "RUN" if reader.at_words(&["RUN", "SCRIPT"]) => files::run_script(reader),
        "ALTER" if matches!(reader.word(1), "STREAM" | "TABLE") => ddl::alter(reader),
        "ASSERT" if reader.at_words(&["ASSERT", "TOPIC"]) || reader.at_words(&["ASSERT", "NOT", "EXISTS", "TOPIC"]) => {
            admin::assert_topic(reader)
        }
        "ASSERT"
            if reader.at_words(&["ASSERT", "SCHEMA"]) || reader.at_words(&["ASSERT", "NOT", "EXISTS", "SCHEMA"]) =>
        {
            admin::assert_schema(reader)
        }
        "ALTER" | "ASSERT" | "RUN" => admin::unsupported(reader),
        _ => reader.unexpected("a statement", words::STATEMENTS),
    }
}
