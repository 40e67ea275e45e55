//! FROM: streams and tables, queries in parentheses, calls of table functions, and how they are joined.
//!
//! ```text
//! from     := relation [, relation | [INNER|LEFT|RIGHT|FULL] JOIN relation [WITHIN ...] ON|USING ... | CROSS JOIN relation ...]...
//!             the first relations may be in parentheses: (a JOIN b ON ...) JOIN c ON ...
//! relation := [system.] name | (query) | LATERAL (query) | function(arguments)      [[AS] alias [(column, ...)]]
//! ```

use crate::error::{Error, Result, Span};
use crate::parse::grammar::duration::duration;
use crate::parse::grammar::subquery;
use crate::parse::reader::Reader;
use crate::parse::statement::{Condition, Derived, Join, JoinKind, Name, Relation, Within};
use crate::parse::words::AFTER_RELATION;
use sqlparser::ast::Expr;
use sqlparser::tokenizer::Token;

/// Sources in one FROM: each join looks at those before it.
const RELATIONS_MAX: usize = 64;

/// The schema of the tables that describe the engine.
const SYSTEM: &str = "SYSTEM";

/// What follows the word FROM.
pub(super) fn from(reader: &mut Reader<'_>) -> Result<(Relation, Vec<Join>)> {
    let (first, mut joins) = match is_join_in_parentheses(reader) {
        false => (relation(reader)?, Vec::new()),
        // Joins are carried out from left to right: here the parentheses change nothing.
        true => {
            reader.skip(1);
            let inner = reader.inside(from)?;
            reader.expect_token(&Token::RParen)?;
            inner
        }
    };
    loop {
        if reader.accept_token(&Token::Comma) {
            let right = relation(reader)?;
            joins.push(Join { kind: JoinKind::Inner, right, within: None, on: Condition::Comma });
        } else if let Some(join) = join(reader)? {
            joins.push(join);
        } else {
            return Ok((first, joins));
        }
        if joins.len() >= RELATIONS_MAX {
            let error = Error::statement(format!("FROM names too many sources, at most {RELATIONS_MAX}"));
            return Err(error.at(reader.place(0)));
        }
    }
}

/// Whether parentheses open around sources, and not around a query.
fn is_join_in_parentheses(reader: &Reader<'_>) -> bool {
    let mut open = 0;
    while *reader.token(open) == Token::LParen {
        match reader.token(open + 1) {
            Token::Word(_) => return !["SELECT", "WITH", "VALUES", "TABLE"].contains(&reader.word(open + 1)),
            Token::LParen if joins(reader, open) => return true,
            Token::LParen => open += 1,
            _ => return false,
        }
    }
    false
}

/// Whether sources are joined between this parenthesis and its end, outside of further ones.
fn joins(reader: &Reader<'_>, open: usize) -> bool {
    let (mut place, mut depth) = (open, 0_usize);
    loop {
        match reader.token(place) {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return false,
            Token::RParen => depth -= 1,
            Token::EOF => return false,
            Token::Comma if depth == 1 => return true,
            Token::Word(_) if depth == 1 && reader.word(place) == "JOIN" => return true,
            _ => {}
        }
        place += 1;
    }
}

/// Whether the next token may follow a SELECT list that has no FROM.
pub(super) fn is_absent(reader: &Reader<'_>) -> bool {
    let closed = *reader.token(0) == Token::RParen && reader.is_inside();
    reader.at_end()
        || closed
        || ["WHERE", "UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT", "OFFSET", "FETCH"].contains(&reader.word(0))
}

/// Whether a clause begins here that may follow a SELECT list without FROM: `SELECT 1 ORDER BY 1`. Other words are the name of
/// the column before them.
pub(super) fn at_clause(reader: &Reader<'_>) -> bool {
    match reader.word(0) {
        "ORDER" => reader.word(1) == "BY",
        "LIMIT" | "OFFSET" => matches!(reader.token(1), Token::Number(..)),
        "FETCH" => ["FIRST", "NEXT"].contains(&reader.word(1)),
        "WHERE" | "HAVING" | "UNION" => true,
        "INTERSECT" | "EXCEPT" => {
            ["SELECT", "ALL", "VALUES", "TABLE"].contains(&reader.word(1)) || *reader.token(1) == Token::LParen
        }
        _ => false,
    }
}

/// The source of a SELECT without FROM.
pub(super) fn nothing(reader: &mut Reader<'_>) -> Relation {
    let name = Name { value: reader.internal_name("nothing"), span: reader.place(0) };
    Relation { name, alias: None, columns: Vec::new(), derived: Some(Box::new(Derived::Nothing)) }
}

fn relation(reader: &mut Reader<'_>) -> Result<Relation> {
    let lateral = reader.word(0) == "LATERAL" && *reader.token(1) == Token::LParen;
    reader.skip(usize::from(lateral));
    let (name, derived) = if *reader.token(0) == Token::LParen {
        let name = Name { value: reader.internal_name("derived"), span: reader.place(0) };
        let query = reader.nested_query()?;
        (name, Some(Box::new(Derived::Query { lateral, query })))
    } else if *reader.token(1) == Token::LParen && !reader.word(0).is_empty() {
        let name = Name { value: reader.internal_name("derived"), span: reader.place(0) };
        subquery::replace(reader)?;
        let call = reader.expr()?;
        if !matches!(call, Expr::Function(_)) {
            let error = Error::statement("FROM reads a stream, a table, a query in parentheses or a table function");
            return Err(error.at(name.span));
        }
        (name, Some(Box::new(Derived::Call(call))))
    } else {
        (reader.name("a stream or table")?, None)
    };
    let (name, known_as) = in_schema(reader, name)?;
    let alias = alias(reader)?.or(known_as);
    let columns = if alias.is_some() { columns(reader)? } else { Vec::new() };
    Ok(Relation { name, alias, columns, derived })
}

/// `system.queries`: the name of a system table, with the one by which its columns are qualified. No other schema has tables.
fn in_schema(reader: &mut Reader<'_>, name: Name) -> Result<(Name, Option<Name>)> {
    if name.value != SYSTEM || !reader.accept_token(&Token::Period) {
        return Ok((name, None));
    }
    let table = reader.name("a system table")?;
    let span = Span::new(name.span.start, table.span.end);
    Ok((Name { value: format!("{SYSTEM}.{}", table.value), span }, Some(table)))
}

/// `(column, ...)` behind the alias of a source.
pub(super) fn columns(reader: &mut Reader<'_>) -> Result<Vec<Name>> {
    if !reader.accept_token(&Token::LParen) {
        return Ok(Vec::new());
    }
    let columns = reader.list(|r| r.name("a column's name"))?;
    reader.expect_token(&Token::RParen)?;
    Ok(columns)
}

/// `[AS] alias` behind a relation.
fn alias(reader: &mut Reader<'_>) -> Result<Option<Name>> {
    let named = reader.accept(&["AS"])
        || matches!(reader.token(0), Token::Word(_)) && !AFTER_RELATION.contains(&reader.word(0));
    Ok(if named { Some(reader.name("an alias")?) } else { None })
}

fn join(reader: &mut Reader<'_>) -> Result<Option<Join>> {
    if reader.accept(&["CROSS", "JOIN"]) {
        let right = relation(reader)?;
        return Ok(Some(Join { kind: JoinKind::Inner, right, within: None, on: Condition::Cross }));
    }
    let natural = reader.accept(&["NATURAL"]);
    let Some(kind) = join_kind(reader)? else {
        return if natural { reader.unexpected("JOIN", &["JOIN"]) } else { Ok(None) };
    };
    let right = relation(reader)?;
    let within = if !natural && reader.accept(&["WITHIN"]) { Some(within(reader)?) } else { None };
    let on = if natural {
        Condition::Natural
    } else if reader.accept(&["USING"]) {
        reader.expect_token(&Token::LParen)?;
        let columns = reader.list(|r| r.name("a column's name"))?;
        reader.expect_token(&Token::RParen)?;
        Condition::Using(columns)
    } else {
        reader.expect(&["ON"])?;
        subquery::replace(reader)?;
        Condition::On(reader.expr()?)
    };
    Ok(Some(Join { kind, right, within, on }))
}

fn join_kind(reader: &mut Reader<'_>) -> Result<Option<JoinKind>> {
    let kind = match reader.word(0) {
        "JOIN" | "INNER" => JoinKind::Inner,
        "LEFT" => JoinKind::Left,
        "RIGHT" => JoinKind::Right,
        "FULL" => JoinKind::Full,
        _ => return Ok(None),
    };
    if reader.accept_any(&["LEFT", "RIGHT", "FULL"]).is_some() {
        reader.accept(&["OUTER"]);
    } else {
        reader.accept(&["INNER"]);
    }
    reader.expect(&["JOIN"])?;
    Ok(Some(kind))
}

fn within(reader: &mut Reader<'_>) -> Result<Within> {
    let (before_ms, after_ms) = match reader.accept_token(&Token::LParen) {
        true => {
            let before = duration(reader)?;
            reader.expect_token(&Token::Comma)?;
            let after = duration(reader)?;
            reader.expect_token(&Token::RParen)?;
            (before, after)
        }
        false => {
            let both = duration(reader)?;
            (both, both)
        }
    };
    let grace_ms = if reader.accept(&["GRACE", "PERIOD"]) { Some(duration(reader)?) } else { None };
    Ok(Within { before_ms, after_ms, grace_ms })
}

impl Relation {
    /// The name under which its columns are known: its alias, or else its name.
    pub fn known_as(&self) -> &Name {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}
