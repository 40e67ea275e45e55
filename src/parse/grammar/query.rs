//! A query at the top level: ksqlDB's SELECT, one with what SQL puts around it, or whatever SQL sqlparser reads.

use crate::error::{Error, Result};
use crate::parse::dialect::KsqlDialect;
use crate::parse::expansion;
use crate::parse::grammar::{relational, select};
use crate::parse::reader::Reader;
use crate::parse::span::bytes_of;
use crate::parse::statement::Statement;
use crate::parse::syntax_error::SYNTAX_ERROR;
use crate::parse::tree;
use crate::parse::words::CLAUSES;
use sqlparser::ast::{Query, SetExpr};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// A query at the top level: in ksqlDB's grammar if possible, else as SQL. If both fail, the error of the one that got
/// further is the one to show.
pub(super) fn query(dialect: &KsqlDialect, text: &str, tokens: &[TokenWithSpan], from: usize) -> Result<Statement> {
    let mut own = Reader::new(dialect, text, tokens.to_vec());
    own.skip(from);
    let mut error = None;
    if own.at_words(&["SELECT"]) {
        match select::select(&mut own).and_then(|s| own.expect_end(CLAUSES).map(|()| s)) {
            Ok(select) => return Ok(Statement::Select(select)),
            Err(own) => error = Some(own),
        }
    }
    let mut around = Reader::new(dialect, text, tokens.to_vec());
    around.skip(from);
    match relational::statement(&mut around) {
        Ok(mut query) => {
            let mut sql = Reader::new(dialect, text, tokens.to_vec());
            sql.skip(from);
            query.sql = batch(&mut sql).ok();
            return Ok(Statement::Relational(Box::new(query)));
        }
        Err(error) if expansion::is_too_many(&error) => return Err(error),
        // Beyond this grammar.
        Err(_) => {}
    }
    if let Some(own) = error.take() {
        match own {
            own if streams(tokens) => return Err(without_end(own, text)),
            own if no_limit(tokens).is_some_and(|at| at <= start(&own)) => return Err(own),
            own => error = Some(own),
        }
    }
    let mut sql = Reader::new(dialect, text, tokens.to_vec());
    sql.skip(from);
    match (batch(&mut sql), error) {
        (Ok(query), _) => Ok(Statement::Batch(query)),
        (Err(sql), Some(own)) if start(&own) >= start(&sql) => Err(own),
        (Err(sql), _) if streams(tokens) => Err(sql.with_hint("WITH and subqueries require a query without EMIT")),
        (Err(sql), _) => Err(sql),
    }
}

/// What ends a query that says EMIT too early: a clause that only a query with an end can have.
fn without_end(error: Error, text: &str) -> Error {
    if !error.message().starts_with(SYNTAX_ERROR) {
        return error;
    }
    let word = error.span().and_then(|s| text.get(s.start..s.end)).unwrap_or_default().to_uppercase();
    match word.as_str() {
        "ORDER" => error.with_hint("a continuous query cannot be sorted: ORDER BY requires a query without EMIT"),
        "UNION" | "EXCEPT" | "INTERSECT" => {
            error.with_hint("it requires a query without EMIT; INSERT INTO ... SELECT adds a second source to a stream")
        }
        "(" => error.with_hint("subqueries require a query without EMIT; CREATE STREAM ... AS SELECT gives one a name"),
        "CROSS" | "NATURAL" => error.with_hint("a join is INNER, LEFT, RIGHT or FULL OUTER JOIN ... ON"),
        _ => error,
    }
}

fn start(error: &Error) -> usize {
    error.span().map_or(0, |s| s.start)
}

/// The query says EMIT, WITHIN or a WINDOW of ksqlDB's kinds: no SQL dialect would read it.
fn streams(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|t| match &t.token {
        Token::Word(w) if w.quote_style.is_none() => matches!(w.value.as_str(), "EMIT" | "TUMBLING" | "HOPPING"),
        _ => false,
    })
}

fn batch(reader: &mut Reader<'_>) -> Result<Box<Query>> {
    let read = reader.parser.parse_query();
    let mut query = reader.lift(read)?;
    reader.expect_end(CLAUSES)?;
    only_reads(&query.body)?;
    expansion::check(&query)?;
    tree::normalise_query(&mut query)?;
    Ok(query)
}

/// SQL allows INSERT, UPDATE and DELETE in place of a query.
fn only_reads(body: &SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => {
            Err(Error::statement("SELECT INTO is not supported")
                .with_hint("CREATE STREAM ... AS SELECT makes a stream"))
        }
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Query(_) => Ok(()),
        SetExpr::SetOperation { left, right, .. } => only_reads(left).and_then(|()| only_reads(right)),
        _ => Err(Error::statement("only SELECT and VALUES are queries")),
    }
}

/// The place of a LIMIT whose operand no dialect takes for a number of rows.
fn no_limit(tokens: &[TokenWithSpan]) -> Option<usize> {
    let word = |t: &Token, words: &[&str]| matches!(t, Token::Word(w) if w.quote_style.is_none() && words.contains(&w.value.as_str()));
    let wrong =
        |t: &Token| *t == Token::Minus || matches!(t, Token::Word(_)) && !word(t, &["ALL", "NULL", "CASE", "CAST"]);
    let at = tokens.windows(2).find(|t| word(&t[0].token, &["LIMIT"]) && wrong(&t[1].token))?;
    Some(bytes_of(at[0].span)?.start)
}
