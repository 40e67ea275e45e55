//! Statements about files of the client: COPY and RUN SCRIPT. The command line carries them out.
//!
//! ```sql
//! COPY (SELECT car, speed FROM readings) TO 'fast.csv';
//! COPY readings TO 'readings.json' (FORMAT json, ARRAY true, OVERWRITE true);
//! RUN SCRIPT 'setup.sql';
//! ```

use crate::error::{Result, Span};
use crate::parse::reader::Reader;
use crate::parse::statement::{CopyTo, Name, Statement};
use sqlparser::tokenizer::Token;

/// `COPY (query)|source TO 'file' [(option [value], ...)]`
pub(super) fn copy(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.skip(1);
    let query = match reader.token(0) {
        Token::LParen => enclosed(reader)?,
        _ => {
            let source = reader.name("a query in parentheses, a stream or a table")?;
            Name { value: format!("SELECT * FROM {source}"), span: source.span }
        }
    };
    reader.expect(&["TO"])?;
    let file = reader.string("a file in single quotes")?;
    let mut options = Vec::new();
    if reader.accept_token(&Token::LParen) {
        options = reader.list(option)?;
        reader.expect_token(&Token::RParen)?;
    }
    reader.expect_end(&["TO"])?;
    Ok(Statement::Copy(CopyTo { query, file, options }))
}

/// The text between this parenthesis and its other one.
fn enclosed(reader: &mut Reader<'_>) -> Result<Name> {
    let start = reader.place(0).end;
    let mut depth = 0_usize;
    loop {
        match reader.token(0) {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if reader.at_end() {
            return reader.unexpected("a closing parenthesis", &[]);
        }
        let place = reader.place(0);
        reader.skip(1);
        if depth == 0 {
            let span = Span::new(start, place.start);
            return Ok(Name { value: reader.source(span).to_owned(), span });
        }
    }
}

/// `HEADER`, `FORMAT csv`, `DELIMITER ';'`
fn option(reader: &mut Reader<'_>) -> Result<(Name, String)> {
    // NULL is no name elsewhere.
    let name = match reader.word(0) {
        "" => return reader.unexpected("an option: FORMAT, HEADER, DELIMITER, NULL, ARRAY or OVERWRITE", &[]),
        word => Name { value: word.to_owned(), span: reader.place(0) },
    };
    reader.skip(1);
    let value = match reader.token(0).clone() {
        Token::SingleQuotedString(_) => reader.string("a value")?,
        Token::Word(word) => {
            reader.skip(1);
            word.value
        }
        _ => "true".to_owned(),
    };
    Ok((name, value))
}

/// `RUN SCRIPT 'file'`
pub(super) fn run_script(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["RUN", "SCRIPT"])?;
    let file = reader.string("a file in single quotes")?;
    reader.expect_end(&[])?;
    Ok(Statement::RunScript(file))
}
