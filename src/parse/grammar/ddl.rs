//! CREATE, ALTER, INSERT and DROP.

use super::select::{end_of_select, select};
use crate::error::{Error, Result};
use crate::parse::reader::Reader;
use crate::parse::statement::{
    Alter, ColumnDef, Constraint, CreateAs, CreateSource, CreateType, Drop, InsertSelect, InsertValues, Name,
    Properties, PropertyValue, SourceKind, Statement,
};
use sqlparser::tokenizer::Token;

/// `CREATE ...`
pub(super) fn create(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["CREATE"])?;
    let or_replace = reader.accept(&["OR", "REPLACE"]);
    if reader.accept(&["TYPE"]) {
        let if_not_exists = reader.accept(&["IF", "NOT", "EXISTS"]);
        let name = reader.name("a name")?;
        reader.expect(&["AS"])?;
        let ty = reader.column_type()?;
        reader.expect_end(&[])?;
        return Ok(Statement::CreateType(CreateType { name, if_not_exists, ty }));
    }
    let read_only = reader.accept(&["SOURCE"]);
    let Some(kind) = source_kind(reader) else {
        return reader.unexpected("STREAM or TABLE", &["STREAM", "TABLE", "SOURCE"]);
    };
    let if_not_exists = reader.accept(&["IF", "NOT", "EXISTS"]);
    let name = reader.name("a name")?;
    let columns = if *reader.token(0) == Token::LParen { columns(reader)? } else { Vec::new() };
    let with = if reader.accept(&["WITH"]) { properties(reader)? } else { Vec::new() };
    if columns.is_empty() && !read_only && reader.accept(&["AS"]) {
        let select = select(reader)?;
        end_of_select(reader)?;
        return Ok(Statement::CreateAs(CreateAs { kind, or_replace, if_not_exists, name, with, select }));
    }
    reader.expect_end(&["WITH", "AS"])?;
    Ok(Statement::CreateSource(CreateSource { kind, or_replace, if_not_exists, read_only, name, columns, with }))
}

fn source_kind(reader: &mut Reader<'_>) -> Option<SourceKind> {
    Some(match reader.accept_any(&["STREAM", "TABLE"])? {
        "STREAM" => SourceKind::Stream,
        _ => SourceKind::Table,
    })
}

fn columns(reader: &mut Reader<'_>) -> Result<Vec<ColumnDef>> {
    reader.expect_token(&Token::LParen)?;
    let columns = reader.list(|reader| {
        let name = reader.name("a column's name")?;
        let ty = reader.column_type()?;
        Ok(ColumnDef { name, ty, constraint: constraint(reader)? })
    })?;
    if *reader.token(0) == Token::LParen {
        return reader.expecting("',', ')'");
    }
    if !reader.accept_token(&Token::RParen) {
        return reader.unexpected("a comma or ')'", &["KEY", "PRIMARY", "HEADERS", "HEADER"]);
    }
    Ok(columns)
}

fn constraint(reader: &mut Reader<'_>) -> Result<Constraint> {
    if reader.accept(&["PRIMARY", "KEY"]) {
        return Ok(Constraint::PrimaryKey);
    }
    match reader.accept_any(&["KEY", "HEADERS", "HEADER"]) {
        Some("KEY") => Ok(Constraint::Key),
        Some("HEADERS") => Ok(Constraint::Headers),
        Some(_) => {
            reader.expect_token(&Token::LParen)?;
            let key = reader.string("a header's key in quotes")?;
            reader.expect_token(&Token::RParen)?;
            Ok(Constraint::Header(key))
        }
        None => Ok(Constraint::None),
    }
}

/// `(name = literal, ...)`
pub(super) fn properties(reader: &mut Reader<'_>) -> Result<Properties> {
    reader.expect_token(&Token::LParen)?;
    let mut seen: Vec<String> = Vec::new();
    let properties = reader.list(|reader| {
        let name = property_name(reader)?;
        if seen.contains(&name.value) {
            return Err(Error::statement(format!("{} is given twice", name.value)).at(name.span));
        }
        seen.push(name.value.clone());
        reader.expect_token(&Token::Eq)?;
        Ok((name, property_value(reader)?))
    })?;
    reader.expect_token(&Token::RParen)?;
    Ok(properties)
}

/// A name or `'name'`; case does not count.
fn property_name(reader: &mut Reader<'_>) -> Result<Name> {
    let span = reader.place(0);
    let mut name = match reader.token(0) {
        Token::SingleQuotedString(_) => Name { value: reader.string("a property")?, span },
        _ => reader.name("a property")?,
    };
    name.value.make_ascii_uppercase();
    Ok(name)
}

/// A literal.
pub(super) fn property_value(reader: &mut Reader<'_>) -> Result<PropertyValue> {
    let minus = reader.accept_token(&Token::Minus);
    let value = match reader.token(0) {
        Token::Number(number, _) => PropertyValue::Number(format!("{}{number}", if minus { "-" } else { "" })),
        Token::SingleQuotedString(text) if !minus => PropertyValue::Text(text.clone()),
        Token::Word(w) if !minus && w.quote_style.is_none() && (w.value == "TRUE" || w.value == "FALSE") => {
            PropertyValue::Boolean(w.value == "TRUE")
        }
        _ => return reader.unexpected("a text in quotes, a number, true or false", &["TRUE", "FALSE"]),
    };
    reader.skip(1);
    Ok(value)
}

/// `INSERT INTO ...`
pub(super) fn insert(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["INSERT", "INTO"])?;
    let target = reader.name("a stream or table")?;
    let with = if reader.accept(&["WITH"]) { properties(reader)? } else { Vec::new() };
    if reader.at_words(&["SELECT"]) {
        let select = select(reader)?;
        end_of_select(reader)?;
        return Ok(Statement::InsertSelect(InsertSelect { target, with, select }));
    }
    let columns = match with.is_empty() && reader.accept_token(&Token::LParen) {
        true => {
            let columns = reader.list(|reader| reader.name("a column's name"))?;
            reader.expect_token(&Token::RParen)?;
            columns
        }
        false => Vec::new(),
    };
    if !with.is_empty() || !reader.accept(&["VALUES"]) {
        return reader.unexpected("VALUES or SELECT", &["VALUES", "SELECT"]);
    }
    let mut rows = Vec::new();
    // The first row that does not fit, once the whole statement is one.
    let mut wrong = None;
    loop {
        let start = reader.position();
        reader.expect_token(&Token::LParen)?;
        let values = reader.list(Reader::expr)?;
        reader.expect_token(&Token::RParen)?;
        if !columns.is_empty() && columns.len() != values.len() && wrong.is_none() {
            let error = Error::statement(format!(
                "Failed to prepare statement: Expected number columns and values to match: {}, {}",
                columns.len(),
                values.len()
            ));
            wrong = Some(error.at(reader.since(start)));
        }
        rows.push(values);
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    reader.expect_end(&[])?;
    match wrong {
        Some(error) => Err(error),
        None => Ok(Statement::InsertValues(InsertValues { target, columns, rows })),
    }
}

/// `ALTER STREAM|TABLE ...`
pub(super) fn alter(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["ALTER"])?;
    let Some(kind) = source_kind(reader) else {
        return reader.unexpected("STREAM or TABLE", &["STREAM", "TABLE"]);
    };
    let name = reader.name("a stream or table")?;
    let columns = reader.list(|reader| {
        reader.expect(&["ADD"])?;
        // COLUMN may itself be the name of one.
        if matches!(reader.token(2), Token::Word(_)) {
            reader.accept(&["COLUMN"]);
        }
        let name = reader.name("a column's name")?;
        Ok(ColumnDef { name, ty: reader.column_type()?, constraint: Constraint::None })
    })?;
    reader.expect_end(&[])?;
    Ok(Statement::Alter(Alter { kind, name, columns }))
}

/// `DROP ...`
pub(super) fn drop(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["DROP"])?;
    if reader.accept(&["TYPE"]) {
        let if_exists = reader.accept(&["IF", "EXISTS"]);
        let name = reader.name("a type")?;
        reader.expect_end(&[])?;
        return Ok(Statement::DropType { name, if_exists });
    }
    let Some(kind) = source_kind(reader) else {
        return reader.unexpected("STREAM or TABLE", &["STREAM", "TABLE"]);
    };
    let if_exists = reader.accept(&["IF", "EXISTS"]);
    let name = reader.name("a stream or table")?;
    let delete_topic = reader.accept(&["DELETE", "TOPIC"]);
    reader.expect_end(&["DELETE"])?;
    Ok(Statement::Drop(Drop { kind, if_exists, name, delete_topic }))
}
