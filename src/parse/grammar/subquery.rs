//! Queries inside of expressions: each is read by our own grammar before sqlparser sees the expression, and leaves a name.
//!
//! ```text
//! WHERE n > (SELECT AVG(n) FROM s)       WHERE n > `#query_0`
//! WHERE id IN (SELECT id FROM t)         WHERE id IN (`#query_0`)
//! WHERE NOT EXISTS (SELECT ...)          WHERE NOT `#exists_0`
//! ```
//!
//! So a query means the same wherever it is written, and no expression holds a query in sqlparser's form.

use crate::error::Result;
use crate::parse::query::Subquery;
use crate::parse::reader::Reader;
use crate::parse::statement::Name;
use crate::parse::words::RESERVED;
use sqlparser::tokenizer::Token;

/// Words that end the expressions of a clause, where they are not inside of parentheses.
const ENDS: &[&str] = &["FROM", "JOIN", "UNION", "INTERSECT", "EXCEPT", "ORDER"];

/// Words beyond the reserved ones behind which a parenthesis is no list of arguments.
const OPERATORS: &[&str] = &["ILIKE", "TO", "ZONE", "SYMMETRIC", "RLIKE", "REGEXP", "ESCAPE", "OFFSET", "LIMIT"];

/// Reads the queries inside of the expressions from here to the end of the clause.
pub(super) fn replace(reader: &mut Reader<'_>) -> Result<()> {
    let start = reader.position();
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        match reader.token_at(at) {
            Token::EOF => return Ok(()),
            Token::LParen if begins_query(reader, at) => {
                at = one(reader, start, at)?;
                continue;
            }
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Ok(()),
            Token::RParen => depth -= 1,
            Token::Word(_) if depth == 0 && ENDS.contains(&word(reader, at)) => {
                let distinct = at > start && word(reader, at - 1) == "DISTINCT";
                if !distinct {
                    return Ok(());
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Is the parenthesis here that of a query? Of two, the outer one is only if the inner query is a part of it.
pub(super) fn begins_query(reader: &Reader<'_>, at: usize) -> bool {
    match reader.token_at(at + 1) {
        Token::Word(_) => match word(reader, at + 1) {
            "SELECT" | "WITH" => true,
            "VALUES" => *reader.token_at(at + 2) == Token::LParen,
            "TABLE" => matches!(reader.token_at(at + 2), Token::Word(_)),
            _ => false,
        },
        Token::LParen if begins_query(reader, at + 1) => {
            let behind = behind(reader, at + 1);
            ["UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT", "OFFSET"].contains(&word(reader, behind))
        }
        _ => false,
    }
}

/// The place behind the parenthesis that closes the one here.
fn behind(reader: &Reader<'_>, open: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = open;
    loop {
        match reader.token_at(at) {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return at + 1,
            Token::RParen => depth -= 1,
            Token::EOF => return at,
            _ => {}
        }
        at += 1;
    }
}

/// Reads the query in the parentheses at `open`, and goes back to `start`; returns the place behind what is left of it.
fn one(reader: &mut Reader<'_>, start: usize, open: usize) -> Result<usize> {
    let outer = reader.take_queries();
    let before = open.checked_sub(1).map_or("", |at| word(reader, at)).to_owned();
    let exists = before == "EXISTS";
    let name = reader.internal_name(if exists { "exists" } else { "query" });
    reader.skip(open - reader.position());
    let query = reader.nested_query()?;
    let end = reader.position();
    let range = match before.as_str() {
        "EXISTS" => open - 1..end,
        "IN" | "ANY" | "ALL" | "SOME" => open + 1..end - 1,
        // The arguments of a call keep their parentheses.
        word if !word.is_empty() && !RESERVED.contains(&word) && !OPERATORS.contains(&word) => open + 1..end - 1,
        _ => open..end,
    };
    // Parentheses that stay hold the name alone.
    let behind = if range.start > open { range.start + 2 } else { range.start + 1 };
    let span = reader.since(range.start);
    reader.keep_queries(outer);
    reader.replace(range, Subquery { name: Name { value: name, span }, query }, start);
    Ok(behind)
}

fn word<'r>(reader: &'r Reader<'_>, at: usize) -> &'r str {
    match reader.token_at(at) {
        Token::Word(w) if w.quote_style.is_none() => &w.value,
        _ => "",
    }
}
