//! The formats of COPY: text with tabs, CSV, and binary. Pure.
//!
//! ```text
//! text     1<TAB>a\tb<TAB>\N
//! csv      1,"a,b",
//! binary   PGCOPY, then each row as its number of columns and each value with its length
//! ```

use super::rows::Sink;
use crate::engine::result::rows::OutputColumn;
use crate::error::Result;
use crate::serve::limits::BODY_BYTES_MAX;
use crate::serve::postgres::errors::{BAD_COPY, Failure, NOT_SUPPORTED, SYNTAX};
use crate::serve::postgres::names::shown;
use crate::serve::postgres::parameters::literals::array_items;
use crate::serve::postgres::scan::{Scanner, Token};
use crate::serve::postgres::types::{write_cell, write_text};
use crate::types::{SqlType, base64};
use arrow::array::ArrayRef;
use serde_json::Value;

/// What a binary COPY begins with: a signature, no flags, no extension.
pub(super) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends a text COPY in old clients.
const END_OF_DATA: &[u8] = b"\\.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Csv,
    Binary,
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    kind: Kind,
    delimiter: u8,
    null: String,
    header: bool,
}

impl Format {
    /// Reads what is behind STDOUT or STDIN: `WITH (FORMAT csv, HEADER)`, or `CSV HEADER` as before Postgres 9.
    pub(super) fn parse(words: Scanner<'_>) -> Result<Format, Failure> {
        let words: Vec<Token<'_>> = words.map(|(token, _)| token).collect();
        let kind = words.iter().find_map(|word| match word.name()?.to_lowercase().as_str() {
            "csv" => Some(Kind::Csv),
            "binary" => Some(Kind::Binary),
            _ => None,
        });
        let kind = kind.unwrap_or(Kind::Text);
        let csv = kind == Kind::Csv;
        let (delimiter, null) = if csv { (b',', "") } else { (b'\t', "\\N") };
        let mut format = Format { kind, delimiter, null: null.to_owned(), header: false };
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let Some(name) = word.name() else { continue };
            let mut text = || {
                words.next_if(|next| next.is("as"));
                match words.next() {
                    Some(Token::Text(text)) => Ok(text),
                    _ => Err(Failure::new(SYNTAX, format!("{name} of COPY takes a text"))),
                }
            };
            match name.to_lowercase().as_str() {
                "with" | "format" | "csv" | "binary" | "text" | "true" | "on" => {}
                "delimiter" | "delimiters" => match text()?.as_bytes() {
                    [one] if !matches!(one, b'\n' | b'\r' | b'\\' | b'"') => format.delimiter = *one,
                    _ => return Err(Failure::new(SYNTAX, "COPY delimiter must be a single one-byte character")),
                },
                "null" => format.null = text()?,
                "encoding" => drop(text()?),
                "quote" | "escape" => match text()?.as_str() {
                    "\"" => {}
                    _ => return Err(Failure::new(NOT_SUPPORTED, "QUOTE and ESCAPE of COPY are always \"")),
                },
                "header" => {
                    let off = words.next_if(|next| next.is("false") || next.is("off"));
                    format.header = off.is_none();
                }
                other => return Err(Failure::new(NOT_SUPPORTED, format!("COPY option \"{other}\" not recognized"))),
            }
        }
        Ok(format)
    }

    pub(super) fn is_binary(&self) -> bool {
        self.kind == Kind::Binary
    }
}

/// Writes rows, each as a CopyData message.
pub(super) struct Writer<'a> {
    format: &'a Format,
    columns: &'a [OutputColumn],
    cell: Vec<u8>,
    /// What goes in front of the next binary data: clients expect it in one message with the first row.
    front: &'static [u8],
}

impl<'a> Writer<'a> {
    pub(super) fn new(format: &'a Format, columns: &'a [OutputColumn]) -> Writer<'a> {
        Writer { format, columns, cell: Vec::new(), front: if format.is_binary() { SIGNATURE } else { &[] } }
    }

    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        if self.format.header && !self.format.is_binary() {
            data(out, |out| {
                for (at, column) in self.columns.iter().enumerate() {
                    self.cell.clear();
                    self.cell.extend_from_slice(shown(&column.name).as_bytes());
                    self.format.field(at, Some(&self.cell), out);
                }
                out.push(b'\n');
            });
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if self.format.is_binary() {
            data(out, |out| {
                out.extend_from_slice(std::mem::take(&mut self.front));
                out.extend_from_slice(&(-1_i16).to_be_bytes());
            });
        }
    }
}

impl Sink for Writer<'_> {
    fn row(&mut self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let mut written = Ok(());
        data(out, |out| {
            if self.format.is_binary() {
                out.extend_from_slice(std::mem::take(&mut self.front));
                out.extend_from_slice(&(columns.len() as u16).to_be_bytes());
            }
            for (at, (column, described)) in columns.iter().zip(self.columns).enumerate() {
                if written.is_err() {
                    return;
                }
                if self.format.is_binary() {
                    written = write_cell(column, row, &described.ty, true, out);
                    continue;
                }
                self.cell.clear();
                let is_null = column.is_null(row);
                if !is_null {
                    written = write_text(column, row, &described.ty, &mut self.cell);
                }
                self.format.field(at, (!is_null).then_some(&self.cell), out);
            }
            if !self.format.is_binary() {
                out.push(b'\n');
            }
        });
        written.inspect_err(|_| out.truncate(start))
    }
}

/// A CopyData message.
fn data(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'd');
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = i32::try_from(out.len() - at).unwrap_or(i32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

impl Format {
    /// Writes one value of a row; `None` = NULL.
    fn field(&self, at: usize, value: Option<&Vec<u8>>, out: &mut Vec<u8>) {
        if at > 0 {
            out.push(self.delimiter);
        }
        let Some(value) = value else { return out.extend_from_slice(self.null.as_bytes()) };
        match self.kind {
            Kind::Csv => {
                let special = |byte: &u8| *byte == self.delimiter || matches!(byte, b'"' | b'\n' | b'\r');
                if !value.iter().any(special) && value != self.null.as_bytes() && value != END_OF_DATA {
                    return out.extend_from_slice(value);
                }
                out.push(b'"');
                for byte in value {
                    if *byte == b'"' {
                        out.push(b'"');
                    }
                    out.push(*byte);
                }
                out.push(b'"');
            }
            _ => {
                for byte in value {
                    match byte {
                        b'\\' => out.extend_from_slice(b"\\\\"),
                        b'\n' => out.extend_from_slice(b"\\n"),
                        b'\r' => out.extend_from_slice(b"\\r"),
                        b'\t' => out.extend_from_slice(b"\\t"),
                        byte if *byte == self.delimiter => out.extend_from_slice(&[b'\\', *byte]),
                        byte => out.push(*byte),
                    }
                }
            }
        }
    }
}

/// Reads rows from bytes that arrive in pieces.
pub(super) struct Reader {
    format: Format,
    columns: usize,
    buffer: Vec<u8>,
    /// Where the next row begins.
    at: usize,
    /// The header was passed.
    begun: bool,
    /// The end of the data was marked.
    ended: bool,
}

impl Reader {
    pub(super) fn new(format: Format, columns: usize) -> Reader {
        let begun = !format.header;
        Reader { format, columns, buffer: Vec::new(), at: 0, begun, ended: false }
    }

    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.buffer.drain(..std::mem::take(&mut self.at));
        if self.buffer.len() > BODY_BYTES_MAX {
            return Err(Failure::new(BAD_COPY, format!("a row of COPY exceeds {BODY_BYTES_MAX} bytes")));
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// The next whole row; with `last` what is left is one, too.
    pub(super) fn next(&mut self, last: bool) -> Result<Option<Vec<Option<String>>>, Failure> {
        loop {
            let rest = &self.buffer[self.at..];
            if self.ended || rest.is_empty() {
                return Ok(None);
            }
            let Some(length) = self.format.line(rest).or(last.then_some(rest.len())) else { return Ok(None) };
            let line = &rest[..length];
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let (is_end, is_header) = (line == END_OF_DATA, !std::mem::replace(&mut self.begun, true));
            let cells = match is_end || is_header {
                true => None,
                false => Some(self.format.cells(line, self.columns)?),
            };
            self.at += length;
            self.ended = is_end;
            if cells.is_some() {
                return Ok(cells);
            }
        }
    }
}

impl Format {
    /// The length of the first line, with its end; `None` = it has not arrived as a whole.
    fn line(&self, bytes: &[u8]) -> Option<usize> {
        let mut quoted = false;
        let end = bytes.iter().position(|byte| {
            quoted ^= self.kind == Kind::Csv && *byte == b'"';
            *byte == b'\n' && !quoted
        });
        end.map(|end| end + 1)
    }

    fn cells(&self, line: &[u8], columns: usize) -> Result<Vec<Option<String>>, Failure> {
        let mut cells = Vec::with_capacity(columns);
        let mut rest = line;
        loop {
            let (cell, was_quoted, used) = match self.kind {
                Kind::Csv => self.csv_cell(rest),
                _ => self.text_cell(rest),
            };
            let raw = &rest[..used];
            let is_null = !was_quoted && raw == self.null.as_bytes();
            let text = String::from_utf8(cell)
                .map_err(|_| Failure::new(BAD_COPY, "invalid byte sequence for encoding \"UTF8\""))?;
            cells.push((!is_null).then_some(text));
            // A row of too many cells is refused as soon as it is known.
            if used >= rest.len() || cells.len() > columns {
                return Ok(cells);
            }
            rest = &rest[used + 1..];
        }
    }

    fn csv_cell(&self, bytes: &[u8]) -> (Vec<u8>, bool, usize) {
        let (mut cell, mut quoted, mut was_quoted, mut at) = (Vec::new(), false, false, 0);
        while at < bytes.len() {
            match bytes[at] {
                b'"' if quoted && bytes.get(at + 1) == Some(&b'"') => {
                    cell.push(b'"');
                    at += 1;
                }
                b'"' => {
                    quoted = !quoted;
                    was_quoted = true;
                }
                byte if byte == self.delimiter && !quoted => break,
                byte => cell.push(byte),
            }
            at += 1;
        }
        (cell, was_quoted, at)
    }

    fn text_cell(&self, bytes: &[u8]) -> (Vec<u8>, bool, usize) {
        let (mut cell, mut at) = (Vec::new(), 0);
        while at < bytes.len() && bytes[at] != self.delimiter {
            if bytes[at] == b'\\' && at + 1 < bytes.len() {
                at += 1;
                cell.push(match bytes[at] {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    b'v' => 11,
                    other => other,
                });
            } else {
                cell.push(bytes[at]);
            }
            at += 1;
        }
        (cell, false, at)
    }
}

/// A text as a value of a column, in the form of `/inserts-stream`; `None` = it is none.
pub(super) fn value(text: &str, ty: &SqlType) -> Option<Value> {
    let trimmed = text.trim();
    Some(match ty {
        SqlType::String => Value::String(text.to_owned()),
        SqlType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "yes" | "on" => Value::Bool(true),
            "f" | "false" | "0" | "no" | "off" => Value::Bool(false),
            _ => return None,
        },
        SqlType::Integer | SqlType::Bigint | SqlType::Decimal(..) => {
            Value::Number(serde_json::from_str(trimmed.strip_prefix('+').unwrap_or(trimmed)).ok()?)
        }
        SqlType::Double => match serde_json::from_str(trimmed) {
            Ok(number) => Value::Number(number),
            Err(_) => {
                trimmed.parse::<f64>().ok()?;
                Value::String(trimmed.to_owned())
            }
        },
        SqlType::Bytes => {
            let hex = trimmed.strip_prefix("\\x")?;
            let digit = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect::<Option<_>>()?;
            let mut encoded = Vec::new();
            base64::encode(&bytes, &mut encoded);
            Value::String(String::from_utf8(encoded).ok()?)
        }
        SqlType::Date | SqlType::Time => Value::String(trimmed.to_owned()),
        SqlType::Timestamp => Value::String(crate::serve::postgres::parameters::literals::instant(trimmed)?),
        SqlType::Array(item) if trimmed.starts_with('{') => {
            let items = array_items(trimmed)?;
            let each = items.iter().map(|cell| cell.as_ref().map_or(Some(Value::Null), |cell| value(cell, item)));
            Value::Array(each.collect::<Option<_>>()?)
        }
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => serde_json::from_str(trimmed).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::postgres::scan::scan;

    fn format(options: &str) -> Format {
        Format::parse(scan(options)).unwrap()
    }

    fn written(format: &Format, cells: &[Option<&str>]) -> String {
        let mut out = Vec::new();
        for (at, cell) in cells.iter().enumerate() {
            format.field(at, cell.map(|cell| cell.as_bytes().to_vec()).as_ref(), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_however_it_is_cut() {
        let rows: &[&[Option<&str>]] = &[
            &[Some("a\tb,\"c\"\n\\d"), None, Some("")],
            &[Some("차"), Some("\\."), Some("\\N")],
            &[Some("x"), Some("y"), Some("z")],
        ];
        for options in ["", "WITH (FORMAT csv)", "CSV DELIMITER ';' NULL '-'", "(FORMAT text, DELIMITER '|', NULL '')"]
        {
            let format = format(options);
            // In text an empty NULL is an empty text.
            let rows = if options.contains("NULL ''") { &rows[2..] } else { rows };
            let text: String = rows.iter().map(|row| written(&format, row) + "\n").collect();
            for piece in 1..text.len() {
                let (mut reader, mut back) = (Reader::new(format.clone(), 3), Vec::new());
                for piece in text.as_bytes().chunks(piece) {
                    reader.push(piece).unwrap();
                    while let Some(row) = reader.next(false).unwrap() {
                        back.push(row);
                    }
                }
                let expected: Vec<Vec<_>> =
                    rows.iter().map(|row| row.iter().map(|c| c.map(str::to_owned)).collect()).collect();
                assert_eq!(back, expected, "{options}, pieces of {piece} bytes");
            }
        }
    }

    #[test]
    fn headers_and_ends_are_passed_over() {
        let mut reader = Reader::new(format("(FORMAT csv, HEADER true)"), 1);
        reader.push(b"name\na\n\\.\nb\n").unwrap();
        assert_eq!(reader.next(false).unwrap(), Some(vec![Some("a".to_owned())]));
        assert_eq!(reader.next(true).unwrap(), None);
        assert!(Format::parse(scan("(FORMAT csv, FORCE_QUOTE *)")).is_err());
        assert!(Format::parse(scan("DELIMITER 'ab'")).is_err());
    }

    #[test]
    fn texts_become_values_of_their_columns() {
        let decimal = SqlType::Decimal(30, 2);
        assert_eq!(value("12345678901234567890.12", &decimal).unwrap().to_string(), "12345678901234567890.12");
        assert_eq!(value("\\x00ff", &SqlType::Bytes), Some(Value::String("AP8=".to_owned())));
        assert_eq!(value("{1,NULL}", &SqlType::Array(Box::new(SqlType::Integer))).unwrap().to_string(), "[1,null]");
        assert_eq!([value("x", &SqlType::Integer), value("maybe", &SqlType::Boolean)], [None, None]);
    }
}
