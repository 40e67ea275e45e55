//! COPY: rows of a query to the client in bulk, and rows of the client into a stream.
//!
//! ```text
//! COPY (SELECT ...) | name [(columns)] TO STDOUT [WITH (FORMAT text | csv | binary, HEADER, DELIMITER ',', NULL '')]
//! COPY stream [(columns)] FROM STDIN [WITH (FORMAT text | csv | binary, ...)]
//! ```
//!
//! The rows of a push query leave as they come. Rows of the client are inserted in batches as they arrive; the tag counts them
//! when all are durable. An error names the line, and leaves in place what was inserted before it.

use super::copy_binary::{self, Tuples};
use super::copy_format::{self, Format, Reader, Writer};
use super::rows::{Fetch, Rows, Want};
use super::{Out, Session};
use crate::parse::statement::SourceKind;
use crate::serve::postgres::errors::{BAD_COPY, CANCELLED, Failure, SYNTAX};
use crate::serve::postgres::scan::{Scanner, Token, scan};
use crate::types::{Column, Role, SqlType};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering;

/// Rows of one append, and their bytes: enough to share its cost.
const ROWS_AT_ONCE: usize = 4_096;
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// A COPY as it was read.
#[derive(Debug, PartialEq)]
pub(super) struct Copy {
    from: From,
    columns: Vec<String>,
    pub(super) to_client: bool,
    pub(super) format: Format,
}

#[derive(Debug, PartialEq)]
enum From {
    /// A query, and where it begins.
    Query(String, usize),
    Name(String),
}

/// Rows that the client is sending.
pub(super) struct Incoming {
    target: String,
    columns: Vec<Column>,
    input: Input,
    rows: Vec<Map<String, Value>>,
    /// Bytes of `rows` as they came.
    bytes: usize,
    /// The number of the first line in `rows`.
    line: u64,
    inserted: u64,
    /// It was begun by a Query message, which is answered when it ends.
    pub(super) simple: bool,
}

/// What reads them.
enum Input {
    Lines(Reader),
    Binary(Tuples),
}

/// A value of a row.
enum Cell {
    Text(String),
    Binary(Vec<u8>),
}

impl Input {
    fn push(&mut self, data: &[u8]) -> Result<(), Failure> {
        match self {
            Input::Lines(reader) => reader.push(data),
            Input::Binary(tuples) => tuples.push(data),
        }
    }

    fn next(&mut self, last: bool) -> Result<Option<Vec<Option<Cell>>>, Failure> {
        Ok(match self {
            Input::Lines(reader) => {
                reader.next(last)?.map(|cells| cells.into_iter().map(|c| c.map(Cell::Text)).collect())
            }
            Input::Binary(tuples) => {
                tuples.next(last)?.map(|cells| cells.into_iter().map(|c| c.map(Cell::Binary)).collect())
            }
        })
    }
}

impl Cell {
    fn len(&self) -> usize {
        match self {
            Cell::Text(text) => text.len(),
            Cell::Binary(bytes) => bytes.len(),
        }
    }

    fn value(&self, ty: &SqlType) -> Option<Value> {
        match self {
            Cell::Text(text) => copy_format::value(text, ty),
            Cell::Binary(bytes) => copy_binary::value(bytes, ty),
        }
    }

    /// What is wrong about a value that is none of this type.
    fn refused(&self, ty: &SqlType) -> String {
        match self {
            Cell::Text(text) => format!("invalid input for {ty}: \"{}\"", text.chars().take(100).collect::<String>()),
            Cell::Binary(bytes) => format!("incorrect binary data format for {ty}: {} bytes", bytes.len()),
        }
    }
}

impl Copy {
    /// Reads the statement.
    pub(super) fn parse(text: &str) -> Result<Copy, Failure> {
        let wrong = || {
            Failure::new(SYNTAX, "syntax error in COPY")
                .with_hint("COPY (SELECT ...) TO STDOUT or COPY stream FROM STDIN, WITH (FORMAT csv, HEADER)")
        };
        let mut words = scan(text);
        words.next();
        let from = match words.clone().next().ok_or_else(wrong)? {
            (Token::Symbol('('), _) => {
                words.next();
                let begin = words.rest();
                let end = closed(&mut words).ok_or_else(wrong)?;
                From::Query(text[begin..end].to_owned(), begin)
            }
            (token, _) => {
                words.next();
                let mut name = token.name().ok_or_else(wrong)?;
                if let Some((Token::Symbol('.'), _)) = words.clone().next() {
                    words.next();
                    name = words.next().and_then(|(token, _)| token.name()).ok_or_else(wrong)?;
                }
                From::Name(name)
            }
        };
        let mut columns = Vec::new();
        if let (From::Name(_), Some((Token::Symbol('('), _))) = (&from, words.clone().next()) {
            words.next();
            loop {
                match words.next().ok_or_else(wrong)?.0 {
                    Token::Symbol(')') => break,
                    Token::Symbol(',') => {}
                    token => columns.push(token.name().ok_or_else(wrong)?),
                }
            }
        }
        let to_client = match (words.next().ok_or_else(wrong)?.0, words.next().ok_or_else(wrong)?.0) {
            (to, place) if to.is("to") && place.is("stdout") => true,
            (from, place) if from.is("from") && place.is("stdin") => false,
            _ => return Err(wrong()),
        };
        if matches!(from, From::Query(..)) && !to_client {
            return Err(wrong());
        }
        Ok(Copy { from, columns, to_client, format: Format::parse(words)? })
    }
}

/// Passes what is in parentheses; returns where they close.
fn closed(words: &mut Scanner<'_>) -> Option<usize> {
    let mut depth = 1;
    for (token, span) in words {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(span.start);
        }
    }
    None
}

impl Session {
    /// Starts the query of a COPY TO.
    pub(super) fn copied(&mut self, copy: &Copy, text: &str) -> Result<Rows, Failure> {
        let (query, begin) = match &copy.from {
            From::Query(query, begin) => (query.clone(), *begin),
            From::Name(name) => {
                let columns = match copy.columns.is_empty() {
                    true => "*".to_owned(),
                    false => {
                        let each = copy.columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
                        each.collect::<Vec<_>>().join(", ")
                    }
                };
                (format!("SELECT {columns} FROM {}", self.spelled(name)), text.len())
            }
        };
        self.any_query(&query).map_err(|mut failure| {
            failure.error = failure.error.shifted(begin);
            failure
        })
    }

    /// Sends a result as COPY data.
    pub(super) fn copy_out(&mut self, rows: &mut Rows, format: &Format, out: &mut Out) -> Result<u64, Failure> {
        let columns = rows.columns().to_vec();
        out.reply.copy_response(b'H', format.is_binary(), columns.len());
        let mut writer = Writer::new(format, &columns);
        writer.begin(&mut out.reply.bytes);
        // A client that waits for its first row has to know that there will be some.
        out.flush();
        let (timeout, clock) = (self.settings.statement_timeout(), self.app.engine.clock().clone());
        let (count, fetch) = rows.pump(Want::default(), timeout, &mut writer, &clock, out)?;
        debug_assert_eq!(fetch, Fetch::Complete);
        writer.end(&mut out.reply.bytes);
        out.reply.empty(b'c');
        Ok(count)
    }

    /// Asks the client for rows.
    pub(super) fn copy_in(&mut self, copy: Copy, out: &mut Out) -> Result<(), Failure> {
        let From::Name(name) = &copy.from else { return Err(Failure::new(SYNTAX, "COPY FROM takes a name")) };
        let target = self.spelled(name);
        self.app.engine.check_insert_target(&target, &self.engine)?;
        let catalog = self.app.engine.catalog();
        let source = catalog.require(target.trim_matches('`'))?;
        let known: Vec<Column> =
            source.schema.columns().filter(|column| !matches!(column.role, Role::Header(_))).cloned().collect();
        let columns = match copy.columns.is_empty() {
            true => known,
            false => {
                let find = |name: &String| {
                    let upper = name.to_uppercase();
                    let found =
                        known.iter().find(|c| c.name == *name).or_else(|| known.iter().find(|c| c.name == upper));
                    let kind = if source.kind == SourceKind::Stream { "stream" } else { "table" };
                    found.cloned().ok_or_else(|| {
                        let text = format!("column \"{name}\" of {kind} {} does not exist", source.name);
                        Failure::new(super::super::errors::State("42703"), text)
                    })
                };
                copy.columns.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        out.reply.copy_response(b'G', copy.format.is_binary(), columns.len());
        out.flush();
        let input = match copy.format.is_binary() {
            true => Input::Binary(Tuples::default()),
            false => Input::Lines(Reader::new(copy.format, columns.len())),
        };
        let incoming =
            Incoming { target, columns, input, rows: Vec::new(), bytes: 0, line: 1, inserted: 0, simple: false };
        self.incoming = Some(incoming);
        Ok(())
    }

    /// Rows of the client, in pieces of any length.
    pub(super) fn copy_data(&mut self, data: &Bytes) -> Result<(), Failure> {
        let Some(mut incoming) = self.incoming.take() else { return Ok(()) };
        let done = self.take_rows(&mut incoming, data, false);
        self.incoming = Some(incoming);
        done
    }

    /// The end of the rows; returns how many there were.
    pub(super) fn copy_done(&mut self) -> Result<u64, Failure> {
        let Some(mut incoming) = self.incoming.take() else { return Ok(0) };
        self.take_rows(&mut incoming, &Bytes::new(), true)?;
        self.insert(&mut incoming)?;
        self.note(&incoming);
        Ok(incoming.inserted)
    }

    /// Ends it before its end.
    pub(super) fn copy_ends(&mut self) -> Option<Incoming> {
        let incoming = self.incoming.take();
        incoming.iter().for_each(|incoming| self.note(incoming));
        incoming
    }

    /// One record of the audit log for all rows.
    fn note(&self, incoming: &Incoming) {
        let details = json!({ "target": incoming.target, "rows": incoming.inserted, "failed": 0 });
        self.app.engine.audit().note("inserts", self.engine.principal(), details, Ok(()));
    }

    fn take_rows(&mut self, incoming: &mut Incoming, data: &[u8], ended: bool) -> Result<(), Failure> {
        incoming.input.push(data)?;
        while let Some(cells) = incoming.input.next(ended)? {
            if self.signal.cancelled.load(Ordering::Acquire) {
                return Err(Failure::new(CANCELLED, "canceling statement due to user request"));
            }
            incoming.bytes += cells.iter().flatten().map(Cell::len).sum::<usize>();
            let row = incoming.row(cells)?;
            incoming.rows.push(row);
            if incoming.rows.len() >= ROWS_AT_ONCE || incoming.bytes >= BYTES_AT_ONCE {
                self.insert(incoming)?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, incoming: &mut Incoming) -> Result<(), Failure> {
        let rows = std::mem::take(&mut incoming.rows);
        incoming.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let results = self.app.engine.insert_rows(&incoming.target, &rows, &self.engine);
        let first = incoming.line;
        incoming.line += rows.len() as u64;
        incoming.inserted += results.iter().filter(|result| result.is_ok()).count() as u64;
        for (at, result) in results.iter().enumerate() {
            if let Err(error) = result {
                let line = first + at as u64;
                let mut failure = Failure::new(BAD_COPY, error.to_string());
                let detail = format!("row {line} of COPY; {} rows were inserted", incoming.inserted);
                failure.error = failure.error.with_detail(detail);
                return Err(failure);
            }
        }
        Ok(())
    }
}

impl Incoming {
    /// A row as `/inserts-stream` has it.
    fn row(&self, cells: Vec<Option<Cell>>) -> Result<Map<String, Value>, Failure> {
        let line = self.line + self.rows.len() as u64;
        if cells.len() != self.columns.len() {
            let text = format!("row {line} of COPY has {} columns, expected {}", cells.len(), self.columns.len());
            return Err(Failure::new(BAD_COPY, text));
        }
        let mut row = Map::new();
        for (column, cell) in self.columns.iter().zip(cells) {
            let Some(cell) = cell else { continue };
            let value = cell.value(&column.ty).ok_or_else(|| {
                let failure = Failure::new(BAD_COPY, cell.refused(&column.ty));
                Failure {
                    error: failure.error.with_detail(format!("row {line} of COPY, column {}", column.name)),
                    ..failure
                }
            })?;
            row.insert(format!("`{}`", column.name.replace('`', "``")), value);
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_read() {
        let text = "COPY (SELECT f(a) FROM t) TO STDOUT WITH (FORMAT csv, HEADER)";
        let copy = Copy::parse(text).unwrap();
        assert_eq!(copy.from, From::Query("SELECT f(a) FROM t".to_owned(), 6));
        assert!(copy.to_client);
        let copy = Copy::parse("copy public.\"S\" (a, \"B\") from stdin csv").unwrap();
        assert_eq!((copy.from, copy.columns), (From::Name("S".to_owned()), vec!["a".to_owned(), "B".to_owned()]));
        for text in ["COPY", "COPY t", "COPY t TO 'file'", "COPY (SELECT 1) FROM STDIN", "COPY (SELECT 1 TO STDOUT"] {
            assert!(Copy::parse(text).is_err(), "{text}");
        }
    }
}
