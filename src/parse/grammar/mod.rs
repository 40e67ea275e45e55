//! The grammar of statements, each file a family of them. Expressions are sqlparser's under our dialect.

mod admin;
mod connector;
mod ddl;
mod duration;
mod files;
mod from;
mod query;
mod relational;
mod select;
mod subquery;

use super::dialect::KsqlDialect;
use super::reader::Reader;
use super::statement::Statement;
use super::words;
use crate::error::Result;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// The statement that all of these tokens are.
pub(super) fn statement(dialect: &KsqlDialect, text: &str, tokens: &[TokenWithSpan]) -> Result<Statement> {
    let mut reader = Reader::new(dialect, text, tokens.to_vec(), relational::nested);
    if reader.word(0) == "EXPLAIN" {
        return explain(text, tokens, reader);
    }
    any(text, tokens, &mut reader, 0)
}

fn explain(text: &str, tokens: &[TokenWithSpan], mut reader: Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    if reader.word(0) == "EXPLAIN" {
        return reader.unexpected("a query's id or a statement", &[]);
    }
    if reader.remaining() == 1 && matches!(reader.token(0), Token::Word(_)) {
        return Ok(Statement::ExplainQuery(reader.name("a query's id")?));
    }
    if reader.word(0) == "ANALYZE" {
        reader.skip(1);
        return Ok(Statement::Analyze(Box::new(any(text, tokens, &mut reader, 2)?)));
    }
    Ok(Statement::Explain(Box::new(any(text, tokens, &mut reader, 1)?)))
}

/// The statement whose first word is the token at `from`, which is the next token of the reader.
fn any(text: &str, tokens: &[TokenWithSpan], reader: &mut Reader<'_>, from: usize) -> Result<Statement> {
    if *reader.token(0) == Token::LParen {
        return query::query(reader.dialect, text, tokens, from);
    }
    if let Some(statement) = connector::statement(reader)? {
        return Ok(statement);
    }
    let word = reader.word(0).to_owned();
    match word.as_str() {
        "SELECT" | "WITH" | "VALUES" => query::query(reader.dialect, text, tokens, from),
        "CREATE" => ddl::create(reader),
        "INSERT" => ddl::insert(reader),
        "DROP" => ddl::drop(reader),
        "SHOW" | "LIST" => admin::show(reader),
        "DESCRIBE" | "DESC" => admin::describe(reader),
        "TERMINATE" => admin::query_id(reader).map(Statement::Terminate),
        "PAUSE" => admin::query_id(reader).map(Statement::Pause),
        "RESUME" => admin::query_id(reader).map(Statement::Resume),
        "SET" => admin::set(reader),
        "UNSET" => admin::unset(reader),
        "DEFINE" => admin::define(reader),
        "UNDEFINE" => admin::undefine(reader),
        "PRINT" => admin::print(reader),
        "VERIFY" => admin::verify(reader),
        "COPY" => files::copy(reader),
        "RUN" if reader.at_words(&["RUN", "SCRIPT"]) => files::run_script(reader),
        "ALTER" if matches!(reader.word(1), "STREAM" | "TABLE") => ddl::alter(reader),
        "ASSERT" if reader.at_words(&["ASSERT", "TOPIC"]) || reader.at_words(&["ASSERT", "NOT", "EXISTS", "TOPIC"]) => {
            admin::assert_topic(reader)
        }
        "ASSERT"
            if reader.at_words(&["ASSERT", "SCHEMA"]) || reader.at_words(&["ASSERT", "NOT", "EXISTS", "SCHEMA"]) =>
        {
            admin::assert_schema(reader)
        }
        "TABLE" => query::query(reader.dialect, text, tokens, from),
        "ALTER" | "ASSERT" | "RUN" => admin::unsupported(reader),
        _ => reader.unexpected("a statement", words::STATEMENTS),
    }
}
