//! ksqlDB's SELECT with its fixed order of clauses.

use crate::error::{Error, Result};
use crate::parse::grammar::duration::duration;
use crate::parse::grammar::{from, subquery};
use crate::parse::query::Distinct;
use crate::parse::reader::Reader;
use crate::parse::span::span_of;
use crate::parse::statement::{Emit, Name, Select, SelectItem};
use crate::parse::syntax_error::SYNTAX_ERROR;
use crate::parse::tree;
use crate::parse::words::CLAUSES;
use crate::types::time::{Window, WindowKind};
use sqlparser::ast::{Expr, WindowSpec};
use sqlparser::tokenizer::Token;

/// Columns of one SELECT: planning compares each with the others.
const SELECT_ITEMS_MAX: usize = 1_000;

/// What a continuous query has in the place of DISTINCT.
const CONTINUOUS_DISTINCT: &str = "DISTINCT requires a query without EMIT; GROUP BY keeps one row for each value";

/// `SELECT ... FROM ... [LIMIT n]` in ksqlDB's grammar.
pub(super) fn select(reader: &mut Reader<'_>) -> Result<Select> {
    let (select, _) = clauses(reader, false)?;
    let limit = if reader.accept(&["LIMIT"]) { Some(limit(reader, select.emit.is_some())?) } else { None };
    Ok(Select { limit, ..select })
}

/// A SELECT up to its LIMIT, and what it says of DISTINCT, where that is allowed.
pub(super) fn clauses(reader: &mut Reader<'_>, may_be_distinct: bool) -> Result<(Select, Distinct)> {
    reader.expect(&["SELECT"])?;
    let outer = reader.take_queries();
    subquery::replace(reader)?;
    let distinct = match may_be_distinct && reader.accept(&["DISTINCT"]) {
        true => distinct(reader)?,
        false if reader.word(0) == "DISTINCT" => {
            return reader
                .unexpected("an expression", &[])
                .map_err(|error: Error| error.with_hint(CONTINUOUS_DISTINCT));
        }
        false => Distinct::No,
    };
    let items = reader.list(item)?;
    if items.len() > SELECT_ITEMS_MAX {
        let error = Error::statement(format!(
            "too many columns in the SELECT list: {}, at most {SELECT_ITEMS_MAX}",
            items.len()
        ));
        return Err(error.at(reader.place(0)).with_hint("a STRUCT, ARRAY or MAP holds many values in one column"));
    }
    let (from, joins) = match reader.accept(&["FROM"]) {
        true => from::from(reader)?,
        false if from::is_absent(reader) => (from::nothing(reader), Vec::new()),
        false => return reader.unexpected("FROM or a comma", &["FROM"]),
    };
    subquery::replace(reader)?;
    let window = match at_named_window(reader) {
        false if reader.accept(&["WINDOW"]) => Some(window(reader)?),
        _ => None,
    };
    let filter = if reader.accept(&["WHERE"]) { Some(reader.expr()?) } else { None };
    let group_by = match reader.accept(&["GROUP", "BY"]) {
        true => grouping(reader, "GROUP BY", group_entry)?,
        false => Vec::new(),
    };
    let partition_by = match reader.accept(&["PARTITION", "BY"]) {
        true => grouping(reader, "PARTITION BY", |r| r.expr())?,
        false => Vec::new(),
    };
    let having = if reader.accept(&["HAVING"]) { Some(reader.expr()?) } else { None };
    let (windows, qualify) = over_rows(reader)?;
    let emit = if reader.accept(&["EMIT"]) { Some(emit(reader)?) } else { None };
    let limit = None;
    let queries = reader.take_queries();
    reader.keep_queries(outer);
    let select = Select {
        items,
        from,
        joins,
        window,
        filter,
        group_by,
        partition_by,
        having,
        windows,
        qualify,
        emit,
        limit,
        queries,
    };
    Ok((select, distinct))
}

/// What follows the word DISTINCT.
fn distinct(reader: &mut Reader<'_>) -> Result<Distinct> {
    if reader.word(0) != "ON" || *reader.token(1) != Token::LParen {
        return Ok(Distinct::Rows);
    }
    reader.skip(2);
    let by = reader.list(|r| r.expr())?;
    reader.expect_token(&Token::RParen)?;
    Ok(Distinct::On(by))
}

/// Is `WINDOW name AS (...)` ahead, and not one of ksqlDB's windows?
fn at_named_window(reader: &Reader<'_>) -> bool {
    reader.at_words(&["WINDOW"]) && matches!(reader.token(1), Token::Word(_)) && reader.word(2) == "AS"
}

/// Named windows, and the condition of QUALIFY.
type OverRows = (Vec<(Name, WindowSpec)>, Option<Expr>);

/// `WINDOW name AS (...), ...` and `QUALIFY condition`, in any order.
fn over_rows(reader: &mut Reader<'_>) -> Result<OverRows> {
    let (mut windows, mut qualify) = (Vec::new(), None);
    loop {
        if windows.is_empty() && at_named_window(reader) {
            reader.skip(1);
            windows = reader.list(named_window)?;
        } else if qualify.is_none() && reader.accept(&["QUALIFY"]) {
            qualify = Some(reader.expr()?);
        } else {
            return Ok((windows, qualify));
        }
    }
}

fn named_window(reader: &mut Reader<'_>) -> Result<(Name, WindowSpec)> {
    let name = reader.name("a window's name")?;
    reader.expect(&["AS"])?;
    let start = reader.position();
    reader.expect_token(&Token::LParen)?;
    let read = reader.parser.parse_window_spec();
    let mut spec = reader.lift(read)?;
    match tree::normalise(&mut spec).map_err(|e| e.at(reader.since(start)))? {
        false => Ok((name, spec)),
        true => Err(Error::statement("->* is not an expression").at(reader.since(start))),
    }
}

/// An entry of GROUP BY.
fn group_entry(reader: &mut Reader<'_>) -> Result<Expr> {
    let opens = |reader: &Reader<'_>, n: usize| *reader.token(n) == Token::LParen;
    if reader.at_words(&["GROUPING", "SETS"]) && opens(reader, 2) {
        reader.skip(2);
        return Ok(Expr::GroupingSets(group_sets(reader)?));
    }
    match reader.word(0) {
        "ROLLUP" if opens(reader, 1) => {
            reader.skip(1);
            Ok(Expr::Rollup(group_sets(reader)?))
        }
        "CUBE" if opens(reader, 1) => {
            reader.skip(1);
            Ok(Expr::Cube(group_sets(reader)?))
        }
        _ => reader.expr(),
    }
}

/// `(a, (b, c), ())`: each entry is a list of expressions.
fn group_sets(reader: &mut Reader<'_>) -> Result<Vec<Vec<Expr>>> {
    reader.expect_token(&Token::LParen)?;
    let sets = reader.list(|reader| {
        if *reader.token(0) == Token::LParen && *reader.token(1) == Token::RParen {
            reader.skip(2);
            return Ok(Vec::new());
        }
        Ok(match reader.expr()? {
            Expr::Tuple(entries) => entries,
            Expr::Nested(inner) => vec![*inner],
            other => vec![other],
        })
    })?;
    reader.expect_token(&Token::RParen)?;
    Ok(sets)
}

fn limit(reader: &mut Reader<'_>, push: bool) -> Result<u64> {
    if *reader.token(0) == Token::Minus {
        let kind = if push { "Push" } else { "Pull" };
        let text = format!(
            "{kind} queries don't support negative integers in the LIMIT clause. See https://cnfl.io/queries for more info."
        );
        return Err(Error::statement(text).at(reader.place(0)));
    }
    reader.count("a number of rows")
}

/// The end of a query inside another statement, with hints for what may still follow.
pub(super) fn end_of_select(reader: &mut Reader<'_>) -> Result<()> {
    reader.expect_end(CLAUSES)
}

fn emit(reader: &mut Reader<'_>) -> Result<Emit> {
    match reader.accept_any(&["CHANGES", "FINAL"]) {
        Some("CHANGES") => Ok(Emit::Changes),
        Some(_) => Ok(Emit::Final),
        None => reader.unexpected("CHANGES or FINAL", &["CHANGES", "FINAL"]),
    }
}

fn item(reader: &mut Reader<'_>) -> Result<SelectItem> {
    if reader.accept_token(&Token::Mul) {
        return Ok(SelectItem::Star { source: None, left_out: left_out(reader)? });
    }
    if *reader.token(1) == Token::Period && *reader.token(2) == Token::Mul {
        let source = Some(reader.name("a source's name")?);
        reader.skip(2);
        return Ok(SelectItem::Star { source, left_out: left_out(reader)? });
    }
    let start = reader.position();
    let mut expr = reader.expr_or_star()?;
    let span = reader.since(start);
    if tree::is_all_fields(&expr)
        && let Expr::BinaryOp { left, .. } = expr
    {
        let mut left = *left;
        return match tree::normalise(&mut left).map_err(|e| e.at(span))? {
            false => Ok(SelectItem::AllFields(left)),
            true => Err(Error::statement("->* ends a chain").at(span)),
        };
    }
    if tree::normalise(&mut expr).map_err(|e| e.at(span))? {
        let error = Error::statement("->* is not an expression");
        return Err(error.with_detail("it is allowed only as an entry of the SELECT list").at(span));
    }
    let named = reader.accept(&["AS"])
        || matches!(reader.token(0), Token::Word(_))
            && !["FROM", "INTO"].contains(&reader.word(0))
            && !from::at_clause(reader);
    let alias = match reader.token(0) {
        _ if !named => None,
        // As other systems allow it.
        Token::SingleQuotedString(text) => {
            let name = Name { value: text.clone(), span: reader.place(0) };
            reader.skip(1);
            Some(name)
        }
        _ => Some(reader.name("a column's name")?),
    };
    Ok(SelectItem::Expr { expr, alias, span })
}

/// `EXCLUDE (column, ...)` or `EXCLUDE column` behind a star.
fn left_out(reader: &mut Reader<'_>) -> Result<Vec<Name>> {
    if !reader.accept(&["EXCLUDE"]) {
        return Ok(Vec::new());
    }
    if *reader.token(0) == Token::LParen {
        return from::columns(reader);
    }
    Ok(vec![reader.name("a column's name")?])
}

/// `GROUP BY a, b` and `GROUP BY (a, b)` are the same.
fn grouping(reader: &mut Reader<'_>, clause: &str, entry: fn(&mut Reader<'_>) -> Result<Expr>) -> Result<Vec<Expr>> {
    if *reader.token(0) == Token::LParen && *reader.token(1) == Token::RParen {
        let text = format!("Failed to prepare statement: {clause} requires at least one expression");
        return Err(Error::statement(text).at(reader.place(0)));
    }
    let mut list = reader.list(entry)?;
    if list.len() == 1 {
        match list.pop() {
            Some(Expr::Tuple(entries)) => return Ok(entries),
            Some(Expr::Nested(inner)) => return Ok(vec![*inner]),
            Some(other) => list.push(other),
            None => {}
        }
    }
    let tuple = list.iter().find_map(|e| if let Expr::Tuple(entries) = e { entries.first() } else { None });
    if let Some(span) = tuple.and_then(span_of) {
        let text = format!("{}missing ')' at ','", SYNTAX_ERROR);
        return Err(Error::statement(text).at(reader.behind(span.end)));
    }
    Ok(list)
}

fn window(reader: &mut Reader<'_>) -> Result<Window> {
    const KINDS: &[&str] = &["TUMBLING", "HOPPING", "SESSION"];
    if !KINDS.contains(&reader.word(0)) && KINDS.contains(&reader.word(1)) {
        reader.name("a window's name")?;
    }
    let Some(kind) = reader.accept_any(KINDS) else {
        return reader.unexpected("TUMBLING, HOPPING or SESSION", KINDS);
    };
    reader.expect_token(&Token::LParen)?;
    let kind = match kind {
        "TUMBLING" => {
            reader.expect(&["SIZE"])?;
            WindowKind::Tumbling { size_ms: positive(reader)? }
        }
        "HOPPING" => {
            reader.expect(&["SIZE"])?;
            let size_ms = positive(reader)?;
            reader.expect_token(&Token::Comma)?;
            reader.expect(&["ADVANCE", "BY"])?;
            WindowKind::Hopping { size_ms, advance_ms: positive(reader)? }
        }
        _ => WindowKind::Session { gap_ms: positive(reader)? },
    };
    let mut window = Window { kind, grace_ms: None, retention_ms: None };
    while reader.accept_token(&Token::Comma) {
        if window.retention_ms.is_none() && reader.accept(&["RETENTION"]) {
            window.retention_ms = Some(duration(reader)?);
        } else if window.grace_ms.is_none() && reader.accept(&["GRACE", "PERIOD"]) {
            window.grace_ms = Some(duration(reader)?);
        } else {
            return reader.unexpected("RETENTION or GRACE PERIOD", &["RETENTION", "GRACE"]);
        }
    }
    reader.expect_token(&Token::RParen)?;
    Ok(window)
}

fn positive(reader: &mut Reader<'_>) -> Result<i64> {
    let start = reader.position();
    match duration(reader)? {
        0 => Err(Error::statement("the times of a window must be positive").at(reader.since(start))),
        ms => Ok(ms),
    }
}
