//! A query at the top level: ksqlDB's SELECT, or one over history with what SQL puts around it.

use crate::error::{Error, Result};
use crate::parse::dialect::KsqlDialect;
use crate::parse::expansion;
use crate::parse::grammar::{relational, select};
use crate::parse::query::{Body, Distinct, Relational};
use crate::parse::reader::Reader;
use crate::parse::statement::Statement;
use crate::parse::syntax_error::SYNTAX_ERROR;
use crate::parse::words::CLAUSES;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// A query at the top level: in ksqlDB's grammar if possible. If both fail, the error of the one that got further is the one to
/// show.
pub(super) fn query(dialect: &KsqlDialect, text: &str, tokens: &[TokenWithSpan], from: usize) -> Result<Statement> {
    let reader = || {
        let mut reader = Reader::new(dialect, text, tokens.to_vec(), relational::nested);
        reader.skip(from);
        reader
    };
    let mut own = reader();
    let mut error = None;
    if own.at_words(&["SELECT"]) {
        match select::select(&mut own).and_then(|s| own.expect_end(CLAUSES).map(|()| s)) {
            Ok(select) if select.is_plain() || select.emit.is_some() => return Ok(Statement::Select(select)),
            // A query over history.
            Ok(_) => {}
            Err(own) => error = Some(own),
        }
    }
    match (relational::statement(&mut reader()), error) {
        (Ok(query), _) => Ok(simplified(query)),
        (Err(around), _) if expansion::is_too_many(&around) => Err(around),
        (Err(_), Some(own)) if streams(tokens) => Err(without_end(own, text)),
        (Err(around), Some(own)) if start(&own) >= start(&around) => Err(own),
        (Err(around), _) if streams(tokens) => {
            Err(around.with_hint("WITH and subqueries require a query without EMIT"))
        }
        (Err(around), _) => Err(around),
    }
}

/// A SELECT with nothing around it, as which `TABLE s` is read, is the same statement whichever grammar read it.
fn simplified(query: Relational) -> Statement {
    match query {
        Relational { with, body: Body::Select(mut body), order_by, limit, offset: 0, queries }
            if with.is_empty()
                && order_by.is_empty()
                && queries.is_empty()
                && body.distinct == Distinct::No
                && body.select.is_plain() =>
        {
            body.select.limit = limit;
            Statement::Select(body.select)
        }
        query => Statement::Relational(Box::new(query)),
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
