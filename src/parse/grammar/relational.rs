//! Queries over history: SELECTs in ksqlDB's grammar, and what SQL puts around them.
//!
//! ```text
//! query := [WITH name AS (query), ...] term [UNION|INTERSECT|EXCEPT [ALL] term]... [ORDER BY key, ...] [LIMIT n] [OFFSET n]
//! term  := SELECT [DISTINCT] ... | (query)
//! ```
//!
//! A SELECT reads a stream, a table, a name of WITH or, in parentheses, a query. INTERSECT binds tighter than the others. How deep and how many they may be is checked while a text is cut into
//! statements.

use crate::error::Result;
use crate::parse::expansion;
use crate::parse::grammar::select;
use crate::parse::query::{Body, Relational, SelectBody, SetOperator, SortKey};
use crate::parse::reader::Reader;
use crate::parse::statement::{Name, Relation};
use crate::parse::words::CLAUSES;
use sqlparser::tokenizer::Token;

/// A whole statement.
pub(super) fn statement(reader: &mut Reader<'_>) -> Result<Relational> {
    let query = query(reader)?;
    reader.expect_end(CLAUSES)?;
    expansion::check_relational(&query)?;
    Ok(query)
}

fn query(reader: &mut Reader<'_>) -> Result<Relational> {
    let with = if reader.accept(&["WITH"]) { reader.list(definition)? } else { Vec::new() };
    let mut body = intersection(reader)?;
    while let Some(word) = reader.accept_any(&["UNION", "EXCEPT"]) {
        let operator = if word == "UNION" { SetOperator::Union } else { SetOperator::Except };
        let all = reader.accept(&["ALL"]);
        body = Body::Set { operator, all, sides: Box::new([body, intersection(reader)?]) };
    }
    let order_by = if reader.accept(&["ORDER", "BY"]) { reader.list(sort_key)? } else { Vec::new() };
    let mut query = Relational { with, body, order_by, limit: None, offset: 0, sql: None };
    loop {
        match reader.accept_any(&["LIMIT", "OFFSET"]) {
            Some("LIMIT") if query.limit.is_none() => query.limit = Some(reader.count("a number of rows")?),
            Some("OFFSET") if query.offset == 0 => {
                query.offset = reader.count("a number of rows")?;
                let _ = reader.accept_any(&["ROWS", "ROW"]);
            }
            Some(_) => return reader.unexpected("the end of the query", &[]),
            None => return Ok(query),
        }
    }
}

/// `name AS (query)` of WITH.
fn definition(reader: &mut Reader<'_>) -> Result<(Name, Relational)> {
    let name = reader.name("a name for the query")?;
    reader.expect(&["AS"])?;
    Ok((name, nested(reader)?))
}

fn nested(reader: &mut Reader<'_>) -> Result<Relational> {
    reader.expect_token(&Token::LParen)?;
    let query = query(reader)?;
    reader.expect_token(&Token::RParen)?;
    Ok(query)
}

fn intersection(reader: &mut Reader<'_>) -> Result<Body> {
    let mut body = term(reader)?;
    while reader.accept(&["INTERSECT"]) {
        let all = reader.accept(&["ALL"]);
        body = Body::Set { operator: SetOperator::Intersect, all, sides: Box::new([body, term(reader)?]) };
    }
    Ok(body)
}

fn term(reader: &mut Reader<'_>) -> Result<Body> {
    if *reader.token(0) == Token::LParen {
        return Ok(Body::Nested(Box::new(nested(reader)?)));
    }
    let mut derived = Vec::new();
    let (select, distinct) = select::clauses(reader, true, &mut |r| match r.token(0) {
        Token::LParen => {
            let query = nested(r)?;
            // No stream can have this name, and a relation without an alias cannot be named.
            let name = Name { value: format!("#{}", derived.len()), span: r.place(0) };
            let alias = select::alias(r)?;
            derived.push((name.clone(), query));
            Ok(Relation { name, alias })
        }
        _ => select::relation(r),
    })?;
    if select.emit.is_some() {
        return reader.unexpected("a query without EMIT", &[]);
    }
    Ok(Body::Select(Box::new(SelectBody { select, distinct, derived })))
}

fn sort_key(reader: &mut Reader<'_>) -> Result<SortKey> {
    let expr = reader.expr()?;
    let descending = reader.accept_any(&["ASC", "DESC"]) == Some("DESC");
    let nulls_first = match reader.accept(&["NULLS"]) {
        false => descending,
        true => match reader.accept_any(&["FIRST", "LAST"]) {
            Some(word) => word == "FIRST",
            None => return reader.unexpected("FIRST or LAST", &["FIRST", "LAST"]),
        },
    };
    Ok(SortKey { expr, descending, nulls_first })
}
