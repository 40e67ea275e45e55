//! DELIMITED: one line of comma-separated values, as Commons CSV's default format (ksqlDB's `KsqlDelimitedDeserializer`).
//!
//! ```text
//! 1,"a, b",,IQ==      INTEGER 1, STRING `a, b`, NULL, BYTES
//! ```
//!
//! A field may be quoted; quotes inside are doubled. An empty field is NULL, for STRING too. There are as many fields as columns;
//! further lines must be valid and are ignored. DATE, TIME and TIMESTAMP are numbers, BYTES base64, a DECIMAL must fit without
//! rounding. ARRAY, MAP and STRUCT are not supported.

use super::Bad;
use super::cells::{Cells, Data};
use super::rows::{Payloads, RowReader, RowWriter};
use crate::error::Result;
use crate::types::decimal_text::DecimalText;
use crate::types::java_double::parse_java_double;
use crate::types::{Column, SqlType, base64, display};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Date32Type, Time32MillisecondType, TimestampMillisecondType};
use std::borrow::Cow;

/// Milliseconds of a day: the largest TIME that ksqlDB accepts.
const TIME_MAX: i64 = 86_400_000;

/// Decodes payloads into columns.
#[derive(Debug)]
pub(super) struct Reader {
    delimiter: char,
    /// Names and types, for messages.
    columns: Vec<(String, SqlType)>,
    cells: Vec<Cells>,
}

impl Reader {
    /// The columns, each with whether it is materialized.
    pub(super) fn new(delimiter: char, columns: &[(&Column, bool)]) -> Reader {
        Reader {
            delimiter,
            columns: columns.iter().map(|(c, _)| (c.name.clone(), c.ty.clone())).collect(),
            cells: columns.iter().map(|(c, keep)| Cells::new(&c.ty, *keep)).collect(),
        }
    }

    fn try_push(&mut self, payload: &[u8]) -> Result<(), Bad> {
        let text = String::from_utf8_lossy(payload);
        let first = fields(&text, self.delimiter);
        let (fields, mut rest) = first.ok_or_else(|| bad("the payload is no line of values"))?;
        while !is_blank(rest) {
            let next = self::fields(rest, self.delimiter);
            (_, rest) = next.ok_or_else(|| bad("a line of the payload is no line of values"))?;
        }
        if fields.len() != self.cells.len() {
            return Err(Bad {
                reason: format!("Unexpected field count, csvFields:{} schemaFields:{}", fields.len(), self.cells.len()),
            });
        }
        for (n, (cells, field)) in self.cells.iter_mut().zip(&fields).enumerate() {
            if field.is_empty() {
                cells.push_null();
            } else if read(&mut cells.data, field).is_none() {
                let (name, ty) = &self.columns[n];
                return Err(Bad { reason: format!("column `{name}`: field {} is no {ty}", n + 1) });
            } else if !cells.keep {
                cells.truncate(0);
            }
        }
        Ok(())
    }
}

impl RowReader for Reader {
    fn push(&mut self, payload: &[u8], rows: usize) -> Result<bool, Bad> {
        let pushed = self.try_push(payload);
        if pushed.is_err() {
            self.truncate(rows);
        }
        pushed.map(|()| true)
    }

    fn cells(&mut self) -> &mut [Cells] {
        &mut self.cells
    }
}

/// Encodes columns.
#[derive(Debug)]
pub(super) struct Writer {
    delimiter: char,
    /// The text of one field.
    field: String,
}

impl Writer {
    pub(super) fn new(delimiter: char) -> Writer {
        Writer { delimiter, field: String::new() }
    }
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        let unwrapped = if let [column] = columns { Some(column) } else { None };
        out.each(unwrapped, |row, data| {
            write(columns, row, self.delimiter, &mut self.field, data);
            Ok(())
        });
        Ok(())
    }
}

fn bad(reason: &str) -> Bad {
    Bad { reason: reason.to_owned() }
}

/// Whether the text consists of line ends alone.
fn is_blank(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, b'\r' | b'\n'))
}

/// The fields of the first line that is not empty, and the rest; `None` = there is none, or a quote is not closed.
fn fields(text: &str, delimiter: char) -> Option<(Vec<Cow<'_, str>>, &str)> {
    if is_blank(text) {
        return None;
    }
    let mut rest = text.trim_start_matches(['\r', '\n']);
    let mut fields = Vec::new();
    loop {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => self::quoted(quoted)?,
            None => {
                let end = rest.find([delimiter, '\r', '\n']).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        fields.push(field);
        match rest.chars().next() {
            Some(c) if c == delimiter => rest = &rest[c.len_utf8()..],
            None | Some('\r' | '\n') => return Some((fields, rest)),
            Some(_) => return None,
        }
    }
}

/// A field after its opening quote; returns the text after the closing one and blanks.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut out: Option<String> = None;
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        let (part, after) = (&rest[..end], &rest[end + 1..]);
        match after.strip_prefix('"') {
            Some(more) => {
                let out = out.get_or_insert_default();
                out.push_str(part);
                out.push('"');
                rest = more;
            }
            None => {
                let after = after.trim_start_matches(' ');
                return Some(match out {
                    None => (Cow::Borrowed(part), after),
                    Some(mut out) => {
                        out.push_str(part);
                        (Cow::Owned(out), after)
                    }
                });
            }
        }
    }
}

/// Appends a field that is not empty.
fn read(data: &mut Data, field: &str) -> Option<()> {
    match data {
        Data::Boolean(v) => v.push(field.eq_ignore_ascii_case("true")),
        Data::Integer(v) | Data::Date(v) => v.push(field.parse().ok()?),
        Data::Bigint(v) | Data::Timestamp(v) => v.push(field.parse().ok()?),
        Data::Time(v) => v.push(field.parse::<i64>().ok().filter(|t| (0..=TIME_MAX).contains(t))? as i32),
        Data::Double(v) => v.push(parse_java_double(field)?),
        Data::Decimal { values, precision, scale } => {
            values.push(DecimalText::parse(field.as_bytes())?.unscaled(*precision, *scale)?.to_i128()?);
        }
        Data::WideDecimal { values, precision, scale } => {
            values.push(DecimalText::parse(field.as_bytes())?.unscaled(*precision, *scale)?);
        }
        Data::String(pieces) => pieces.push(field.as_bytes()),
        Data::Bytes(pieces) => {
            base64::decode(field.as_bytes(), &mut pieces.bytes)?;
            pieces.close();
        }
        Data::Array { .. } | Data::Map { .. } | Data::Struct { .. } => {
            unreachable!("nested types are refused when the decoder is made")
        }
    }
    Some(())
}

/// Appends one row.
fn write(columns: &[ArrayRef], row: usize, delimiter: char, field: &mut String, out: &mut Vec<u8>) {
    let mut utf8 = [0; 4];
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(delimiter.encode_utf8(&mut utf8).as_bytes());
        }
        if column.is_null(row) {
            continue;
        }
        field.clear();
        write_field(column, row, field);
        if needs_quotes(field, i == 0, delimiter) {
            out.push(b'"');
            out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(field.as_bytes());
        }
    }
}

fn write_field(column: &ArrayRef, row: usize, out: &mut String) {
    let number = |n: i64, out: &mut String| out.push_str(itoa::Buffer::new().format(n));
    match column.data_type() {
        DataType::Date32 => number(i64::from(column.as_primitive::<Date32Type>().value(row)), out),
        DataType::Time32(_) => number(i64::from(column.as_primitive::<Time32MillisecondType>().value(row)), out),
        DataType::Timestamp(..) => number(column.as_primitive::<TimestampMillisecondType>().value(row), out),
        DataType::Binary => {
            let bytes: &BinaryArray = column.as_binary();
            let mut text = Vec::new();
            base64::encode(bytes.value(row), &mut text);
            out.extend(text.into_iter().map(char::from));
        }
        _ => display::write_value(column, row, out),
    }
}

/// Commons CSV's `QuoteMode.MINIMAL`: the first field is quoted unless it starts with a letter or digit.
fn needs_quotes(field: &str, first: bool, delimiter: char) -> bool {
    let Some(start) = field.chars().next() else { return first };
    let odd_start = first && !start.is_ascii_alphanumeric() || start <= '#';
    odd_start || field.contains([delimiter, '"', '\r', '\n']) || field.ends_with(|c: char| c <= ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_commons_csv_does() {
        let cut = |text: &str| fields(text, ',').map(|(f, _)| f.into_iter().map(Cow::into_owned).collect::<Vec<_>>());
        assert_eq!(
            cut("a,,\"b,\"\"c\"\"\" ,d\r\nrest"),
            Some(vec!["a".into(), "".into(), "b,\"c\"".into(), "d".into()])
        );
        assert_eq!(cut("\n\na"), Some(vec!["a".into()]));
        assert_eq!(cut(""), None);
        assert_eq!(cut("\"open"), None);
        assert_eq!(cut("\"a\"b"), None);
    }

    #[test]
    fn quotes_stand_where_they_must() {
        assert!(needs_quotes("-5", true, ','));
        assert!(!needs_quotes("-5", false, ','));
        assert!(needs_quotes("a,b", false, ','));
        assert!(!needs_quotes("a,b", false, ';'));
        assert!(needs_quotes("", true, ','));
        assert!(!needs_quotes("", false, ','));
    }
}
