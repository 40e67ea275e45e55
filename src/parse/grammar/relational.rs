//! Queries over history: SELECTs in ksqlDB's grammar, and what SQL puts around them.
//!
//! ```text
//! query := [WITH name [(column, ...)] AS (query), ...]
//!          term [UNION|INTERSECT|EXCEPT [ALL] term]... [ORDER BY key, ...] [LIMIT n] [OFFSET n]
//! term  := SELECT [DISTINCT [ON (expression, ...)]] ... | VALUES (expression, ...), ... | TABLE name | (query)
//! ```
//!
//! INTERSECT binds tighter than the others. How deep and how many queries may be is checked while a text is cut into
//! statements.

use crate::error::{Error, Result};
use crate::parse::expansion;
use crate::parse::grammar::{from, select, subquery};
use crate::parse::query::{Body, Definition, Distinct, Relational, SelectBody, SetOperator, SortKey};
use crate::parse::reader::Reader;
use crate::parse::statement::{Relation, Select};
use crate::parse::words::CLAUSES;
use sqlparser::ast::Expr;
use sqlparser::tokenizer::Token;

/// Rows of VALUES: each is a part of the plan.
const VALUES_MAX: usize = 10_000;

/// A whole statement.
pub(super) fn statement(reader: &mut Reader<'_>) -> Result<Relational> {
    let query = query(reader)?;
    reader.expect_end(CLAUSES)?;
    expansion::check_relational(&query)?;
    Ok(query)
}

fn query(reader: &mut Reader<'_>) -> Result<Relational> {
    if reader.at_words(&["WITH", "RECURSIVE"]) && matches!(reader.token(2), Token::Word(_)) && reader.word(2) != "AS" {
        return Err(Error::statement("WITH RECURSIVE is not supported").at(reader.place(1)));
    }
    let with = if reader.accept(&["WITH"]) { reader.list(definition)? } else { Vec::new() };
    let mut body = intersection(reader)?;
    while let Some(word) = reader.accept_any(&["UNION", "EXCEPT"]) {
        let operator = if word == "UNION" { SetOperator::Union } else { SetOperator::Except };
        let all = reader.accept(&["ALL"]);
        body = Body::Set { operator, all, sides: Box::new([body, intersection(reader)?]) };
    }
    let outer = reader.take_queries();
    let order_by = if reader.accept(&["ORDER", "BY"]) {
        subquery::replace(reader)?;
        reader.list(sort_key)?
    } else {
        Vec::new()
    };
    let queries = reader.take_queries();
    reader.keep_queries(outer);
    let mut query = Relational { with, body, order_by, limit: None, offset: 0, queries };
    loop {
        match reader.accept_any(&["LIMIT", "OFFSET", "FETCH"]) {
            Some("FETCH") if query.limit.is_none() => {
                if reader.accept_any(&["FIRST", "NEXT"]).is_none() {
                    return reader.unexpected("FIRST or NEXT", &["FIRST", "NEXT"]);
                }
                let is_one = ["ROW", "ROWS"].contains(&reader.word(0));
                query.limit = Some(if is_one { 1 } else { reader.count("a number of rows")? });
                if reader.accept_any(&["ROWS", "ROW"]).is_none() {
                    return reader.unexpected("ROWS", &["ROWS"]);
                }
                reader.expect(&["ONLY"])?;
            }
            Some("LIMIT") if reader.accept_any(&["ALL", "NULL"]).is_some() => {}
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

/// `name (columns) AS (query)` of WITH.
fn definition(reader: &mut Reader<'_>) -> Result<Definition> {
    let name = reader.name("a name for the query")?;
    let columns = from::columns(reader)?;
    reader.expect(&["AS"])?;
    // Whether its rows are kept or made again changes nothing of them.
    if *reader.token(0) != Token::LParen {
        reader.accept(&["NOT"]);
        reader.accept(&["MATERIALIZED"]);
    }
    Ok(Definition { name, columns, query: nested(reader)? })
}

/// A query in parentheses.
pub(super) fn nested(reader: &mut Reader<'_>) -> Result<Relational> {
    reader.expect_token(&Token::LParen)?;
    let query = reader.inside(query)?;
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
    match reader.word(0) {
        "VALUES" => return values(reader),
        "TABLE" => return table(reader),
        _ => {}
    }
    let (select, distinct) = select::clauses(reader, true)?;
    if select.emit.is_some() {
        let place = reader.since(reader.position().saturating_sub(2));
        return Err(Error::statement("EMIT is no part of a query over history, which ends").at(place));
    }
    Ok(Body::Select(Box::new(SelectBody { select, distinct })))
}

/// `VALUES (a, b), (c, d)`
fn values(reader: &mut Reader<'_>) -> Result<Body> {
    let start = reader.place(0);
    reader.skip(1);
    let rows: Vec<Vec<Expr>> = reader.list(|reader| {
        reader.expect_token(&Token::LParen)?;
        let row = reader.list(Reader::expr)?;
        reader.expect_token(&Token::RParen)?;
        Ok(row)
    })?;
    let width = rows.first().map_or(0, Vec::len);
    if let Some(odd) = rows.iter().find(|row| row.len() != width) {
        let text = format!("the rows of VALUES have as many values each: {width} and {}", odd.len());
        return Err(Error::statement(text).at(start));
    }
    if rows.len() > VALUES_MAX {
        let error = Error::statement(format!("VALUES has too many rows: {}, at most {VALUES_MAX}", rows.len()));
        return Err(error.at(start));
    }
    Ok(Body::Values(rows))
}

/// `TABLE name`: all of its columns.
fn table(reader: &mut Reader<'_>) -> Result<Body> {
    reader.skip(1);
    let name = reader.name("a stream or table")?;
    let relation = Relation { name, alias: None, columns: Vec::new(), derived: None };
    Ok(Body::Select(Box::new(SelectBody { select: Select::all_of(relation), distinct: Distinct::No })))
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
