//! SHOW, DESCRIBE, EXPLAIN, PRINT, TERMINATE and the statements about the session.

use super::ddl::properties;
use super::duration::duration;
use crate::error::{Error, Result};
use crate::parse::reader::Reader;
use crate::parse::statement::{AssertSchema, AssertTopic, Print, Show, Statement};
use crate::parse::syntax_error::UNKNOWN_HERE;
use sqlparser::tokenizer::Token;

/// `SHOW|LIST what`
pub(super) fn show(reader: &mut Reader<'_>) -> Result<Statement> {
    const WHAT: &[&str] = &[
        "STREAMS",
        "TABLES",
        "TOPICS",
        "QUERIES",
        "FUNCTIONS",
        "PROPERTIES",
        "TYPES",
        "VARIABLES",
        "SCHEMAS",
        "CONNECTORS",
    ];
    reader.skip(1);
    let all = reader.at_words(&["ALL", "TOPICS"]) && reader.accept(&["ALL"]);
    let Some(what) = reader.accept_any(WHAT) else {
        return reader.unexpected(&WHAT[..9].join(", "), WHAT);
    };
    let extended = ["STREAMS", "TABLES", "TOPICS", "QUERIES"].contains(&what) && reader.accept(&["EXTENDED"]);
    reader.expect_end(&["EXTENDED"])?;
    Ok(Statement::Show(match what {
        "STREAMS" => Show::Streams { extended },
        "TABLES" => Show::Tables { extended },
        "TOPICS" => Show::Topics { all, extended },
        "QUERIES" => Show::Queries { extended },
        "FUNCTIONS" => Show::Functions,
        "PROPERTIES" => Show::Properties,
        "TYPES" => Show::Types,
        "SCHEMAS" => Show::Schemas,
        _ => Show::Variables,
    }))
}

/// `DESCRIBE ...`
pub(super) fn describe(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    let named = matches!(reader.token(1), Token::Word(_));
    let statement = if named && reader.accept(&["FUNCTION"]) {
        Statement::DescribeFunction(reader.name("a function")?)
    } else if let Some(what) = reader.accept_any(&["STREAMS", "TABLES"]) {
        reader.accept(&["EXTENDED"]);
        Statement::Show(match what {
            "STREAMS" => Show::Streams { extended: true },
            _ => Show::Tables { extended: true },
        })
    } else {
        let name = reader.name("a stream or table")?;
        Statement::Describe { name, extended: reader.accept(&["EXTENDED"]) }
    };
    reader.expect_end(&["EXTENDED"])?;
    Ok(statement)
}

/// `TERMINATE|PAUSE|RESUME id|ALL`: the id, or `None` for all.
pub(super) fn query_id(reader: &mut Reader<'_>) -> Result<Option<String>> {
    reader.skip(1);
    if matches!(reader.token(1), Token::Word(_)) {
        reader.accept(&["QUERY"]);
    }
    let id = if reader.accept(&["ALL"]) { None } else { Some(reader.name("a query's id or ALL")?.value) };
    reader.expect_end(&[])?;
    Ok(id)
}

/// `VERIFY [QUERY] id`
pub(super) fn verify(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    if matches!(reader.token(1), Token::Word(_)) {
        reader.accept(&["QUERY"]);
    }
    let id = reader.name("a query's id")?;
    reader.expect_end(&["QUERY"])?;
    Ok(Statement::Verify(id))
}

/// `SET 'name' = 'value'`
pub(super) fn set(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    let name = reader.string("a property in single quotes")?;
    reader.expect_token(&Token::Eq)?;
    let value = reader.string("a value in single quotes")?;
    reader.expect_end(&[])?;
    Ok(Statement::Set { name, value })
}

/// `UNSET 'name'`
pub(super) fn unset(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    let name = reader.string("a property in single quotes")?;
    reader.expect_end(&[])?;
    Ok(Statement::Unset(name))
}

/// `DEFINE name = 'value'`
pub(super) fn define(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    let name = reader.name("a variable's name")?.value;
    reader.expect_token(&Token::Eq)?;
    let value = reader.string("a text in single quotes")?;
    reader.expect_end(&[])?;
    Ok(Statement::Define { name, value })
}

/// `UNDEFINE name`
pub(super) fn undefine(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    let name = reader.name("a variable's name")?.value;
    reader.expect_end(&[])?;
    Ok(Statement::Undefine(name))
}

/// `PRINT topic [FROM BEGINNING] [INTERVAL|SAMPLE n] [LIMIT n]`
pub(super) fn print(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    let topic = topic(reader)?;
    let from_beginning = reader.accept(&["FROM", "BEGINNING"]);
    let interval = match reader.accept_any(&["INTERVAL", "SAMPLE"]) {
        Some(_) => Some(reader.count("a number of records")?),
        None => None,
    };
    let limit = if reader.accept(&["LIMIT"]) { Some(reader.count("a number of records")?) } else { None };
    reader.expect_end(&["FROM", "INTERVAL", "SAMPLE", "LIMIT"])?;
    Ok(Statement::Print(Print { topic, from_beginning, interval, limit }))
}

/// A topic's name in quotes, or as it is written: topics have dots, dashes and case.
fn topic(reader: &mut Reader<'_>) -> Result<String> {
    match reader.token(0) {
        Token::SingleQuotedString(_) => return reader.string("a topic"),
        Token::Word(w) if w.quote_style.is_some() => return Ok(reader.name("a topic")?.value),
        _ => {}
    }
    let start = reader.position();
    if reader.at_end() || !(matches!(reader.token(0), Token::Word(_) | Token::Number(..))) {
        return reader.unexpected("a topic", &[]);
    }
    let mut end = reader.place(0).end;
    reader.skip(1);
    // The name continues up to the next space.
    while !reader.at_end() && reader.place(0).start == end {
        end = reader.place(0).end;
        reader.skip(1);
    }
    Ok(reader.source(reader.since(start)).to_owned())
}

/// `ASSERT [NOT EXISTS] TOPIC ...`
pub(super) fn assert_topic(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["ASSERT"])?;
    let exists = !reader.accept(&["NOT", "EXISTS"]);
    reader.expect(&["TOPIC"])?;
    let topic = topic(reader)?;
    let with = if reader.accept(&["WITH"]) { properties(reader)? } else { Vec::new() };
    let timeout_ms = if reader.accept(&["TIMEOUT"]) { Some(duration(reader)?) } else { None };
    reader.expect_end(&["WITH", "TIMEOUT"])?;
    Ok(Statement::AssertTopic(AssertTopic { exists, topic, with, timeout_ms }))
}

/// `ASSERT [NOT EXISTS] SCHEMA ...`
pub(super) fn assert_schema(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["ASSERT"])?;
    let exists = !reader.accept(&["NOT", "EXISTS"]);
    let start = reader.position();
    reader.expect(&["SCHEMA"])?;
    let subject = if reader.accept(&["SUBJECT"]) { Some(topic(reader)?) } else { None };
    let id = if reader.accept(&["ID"]) { Some(reader.count("a schema's id")?) } else { None };
    let timeout_ms = if reader.accept(&["TIMEOUT"]) { Some(duration(reader)?) } else { None };
    reader.expect_end(&["SUBJECT", "ID", "TIMEOUT"])?;
    if subject.is_none() && id.is_none() {
        return Err(Error::statement("ASSERT SCHEMA needs a SUBJECT, an ID or both").at(reader.since(start)));
    }
    Ok(Statement::AssertSchema(AssertSchema { exists, subject, id, timeout_ms }))
}

/// Statements that are known but not carried out.
pub(super) fn unsupported(reader: &mut Reader<'_>) -> Result<Statement> {
    const KNOWN: &[&[&str]] = &[&["ALTER", "SYSTEM"]];
    if reader.word(0) == "ASSERT" && matches!(reader.word(1), "VALUES" | "NULL" | "STREAM" | "TABLE") {
        let span = reader.place(1);
        return Err(Error::statement(format!("{UNKNOWN_HERE}'{}'", reader.source(span))).at(span));
    }
    let start = reader.position();
    let Some(words) = KNOWN.iter().find(|words| reader.at_words(words)) else {
        reader.skip(1);
        return reader
            .unexpected("what to alter or assert", &["STREAM", "TABLE", "SYSTEM", "TOPIC", "SCHEMA", "SCRIPT"]);
    };
    reader.skip(words.len());
    let span = reader.since(start);
    reader.skip(reader.remaining());
    Ok(Statement::Unsupported { what: words.join(" "), span })
}
