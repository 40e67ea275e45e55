//! CREATE, DROP, SHOW and DESCRIBE CONNECTOR.

use super::ddl::property_value;
use crate::error::{Error, Result};
use crate::parse::reader::Reader;
use crate::parse::statement::{ConnectorKind, CreateConnector, Name, Properties, Show, Statement};
use sqlparser::tokenizer::Token;

/// A statement about connectors; `None` = another one, of which nothing has been read.
pub(super) fn statement(reader: &mut Reader<'_>) -> Result<Option<Statement>> {
    let words = [reader.word(0), reader.word(1), reader.word(2)].map(str::to_owned);
    let read = match [words[0].as_str(), words[1].as_str(), words[2].as_str()] {
        ["CREATE", "SOURCE", "CONNECTOR"] => create(reader, ConnectorKind::Source),
        ["CREATE", "SINK", "CONNECTOR"] => create(reader, ConnectorKind::Sink),
        ["CREATE", "SINK" | "CONNECTOR", _] => {
            reader.skip(1);
            reader.unexpected("SOURCE CONNECTOR or SINK CONNECTOR", &["SOURCE", "SINK"])
        }
        ["DROP", "CONNECTOR", _] => drop(reader),
        ["SHOW" | "LIST", "CONNECTORS", _] => show(reader, 2, Show::Connectors(None)),
        ["SHOW" | "LIST", "ALL", "CONNECTORS"] => show(reader, 3, Show::Connectors(None)),
        ["SHOW" | "LIST", "SOURCE", "CONNECTORS"] => show(reader, 3, Show::Connectors(Some(ConnectorKind::Source))),
        ["SHOW" | "LIST", "SINK", "CONNECTORS"] => show(reader, 3, Show::Connectors(Some(ConnectorKind::Sink))),
        ["SHOW" | "LIST", "CONNECTOR", "PLUGINS"] => show(reader, 3, Show::ConnectorPlugins),
        ["DESCRIBE" | "DESC", "CONNECTOR", _] if matches!(reader.token(2), Token::Word(_)) => describe(reader),
        _ => return Ok(None),
    };
    read.map(Some)
}

/// `CREATE SOURCE|SINK CONNECTOR [IF NOT EXISTS] name WITH (...)`
fn create(reader: &mut Reader<'_>, kind: ConnectorKind) -> Result<Statement> {
    reader.skip(3);
    let if_not_exists = reader.accept(&["IF", "NOT", "EXISTS"]);
    let name = reader.name("a connector's name")?;
    reader.expect(&["WITH"])?;
    let with = settings(reader)?;
    reader.expect_end(&[])?;
    Ok(Statement::CreateConnector(CreateConnector { kind, if_not_exists, name, with }))
}

/// `DROP CONNECTOR [IF EXISTS] name`
fn drop(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(2);
    let if_exists = reader.accept(&["IF", "EXISTS"]);
    let name = reader.name("a connector's name")?;
    reader.expect_end(&[])?;
    Ok(Statement::DropConnector { name, if_exists })
}

/// `DESCRIBE CONNECTOR name`
fn describe(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(2);
    let name = reader.name("a connector's name")?;
    reader.expect_end(&[])?;
    Ok(Statement::DescribeConnector(name))
}

/// SHOW with its words, of which there are so many.
fn show(reader: &mut Reader<'_>, words: usize, what: Show) -> Result<Statement> {
    reader.skip(words);
    reader.expect_end(&[])?;
    Ok(Statement::Show(what))
}

/// `(name = literal, ...)`. The names are the connector's: their case counts.
fn settings(reader: &mut Reader<'_>) -> Result<Properties> {
    reader.expect_token(&Token::LParen)?;
    let mut seen: Vec<String> = Vec::new();
    let settings = reader.list(|reader| {
        let span = reader.place(0);
        let name = match reader.token(0) {
            Token::SingleQuotedString(_) => Name { value: reader.string("a setting")?, span },
            _ => reader.name("a setting")?,
        };
        if seen.contains(&name.value) {
            return Err(Error::statement(format!("{} is given twice", name.value)).at(span));
        }
        seen.push(name.value.clone());
        reader.expect_token(&Token::Eq)?;
        Ok((name, property_value(reader)?))
    })?;
    reader.expect_token(&Token::RParen)?;
    Ok(settings)
}
