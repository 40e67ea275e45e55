//! Columns to JSON text: compact, columns in order, names unchanged, NULLs included.
//!
//! The names are prepared (`,"PRICE":`), the columns' types resolved once per batch; then it is one loop over the rows.
//! Bytes are what ksqlDB's converter writes: doubles by `Double.toString`, decimals by `BigDecimal.toString`, control
//! bytes as `\u001F`, DATE, TIME and TIMESTAMP as numbers, BYTES in base64, NaN and the infinities in quotes.

use super::scan::text_end;
use crate::error::{Error, Result};
use crate::format::rows::{Payloads, RowWriter};
use crate::types::decimal_text::write_big_decimal;
use crate::types::java_double::write_java_double;
use crate::types::{Column, SqlType, base64};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};
use itoa::Integer;

/// Encodes columns.
#[derive(Debug)]
pub(in crate::format) struct Writer {
    columns: Vec<SqlType>,
    /// `{"A":`-style prefixes of the columns; `None` = the only column is unwrapped.
    names: Option<Vec<Vec<u8>>>,
}

impl Writer {
    /// The columns; `unwrapped`: the only one is written without an object around it.
    pub(in crate::format) fn new(columns: &[(&Column, bool)], unwrapped: bool) -> Writer {
        let names = columns.iter().enumerate().map(|(i, (c, _))| member(i, &c.name));
        Writer {
            columns: columns.iter().map(|(c, _)| c.ty.clone()).collect(),
            names: (!unwrapped).then(|| names.collect()),
        }
    }
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        let typed = columns.iter().zip(&self.columns).map(|(a, ty)| Source::new(a, ty)).collect::<Result<Vec<_>>>()?;
        match &self.names {
            None => out.each(Some(&columns[0]), |row, data| {
                typed[0].write(row, data);
                Ok(())
            }),
            Some(names) => {
                let fields: Vec<_> = names.iter().cloned().zip(typed).collect();
                out.each(None, |row, data| {
                    write_object(&fields, row, data);
                    Ok(())
                });
            }
        }
        Ok(())
    }
}

/// A column with its type known.
pub(in crate::format) enum Source<'a> {
    Boolean(&'a BooleanArray),
    Integer(&'a PrimitiveArray<Int32Type>),
    Bigint(&'a PrimitiveArray<Int64Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, i8),
    WideDecimal(&'a PrimitiveArray<Decimal256Type>, i8),
    String(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time32MillisecondType>),
    Timestamp(&'a PrimitiveArray<TimestampMillisecondType>),
    Array(&'a ListArray, Box<Source<'a>>),
    Map(&'a MapArray, &'a StringArray, Box<Source<'a>>),
    Struct(&'a StructArray, Vec<(Vec<u8>, Source<'a>)>),
}

impl<'a> Source<'a> {
    /// A column of exactly the Arrow type that belongs to `ty`.
    pub(in crate::format) fn new(column: &'a ArrayRef, ty: &SqlType) -> Result<Source<'a>> {
        Source::of(column, ty).ok_or_else(|| {
            Error::bug("a column has another type than its schema says")
                .with_detail(format!("{} instead of {ty}", column.data_type()))
        })
    }

    fn of(column: &'a ArrayRef, ty: &SqlType) -> Option<Source<'a>> {
        Some(match ty {
            SqlType::Boolean => Source::Boolean(column.as_boolean_opt()?),
            SqlType::Integer => Source::Integer(column.as_primitive_opt()?),
            SqlType::Bigint => Source::Bigint(column.as_primitive_opt()?),
            SqlType::Double => Source::Double(column.as_primitive_opt()?),
            SqlType::Decimal(p, s) if *p <= 38 => Source::Decimal(column.as_primitive_opt()?, *s),
            SqlType::Decimal(_, s) => Source::WideDecimal(column.as_primitive_opt()?, *s),
            SqlType::String => Source::String(column.as_string_opt()?),
            SqlType::Bytes => Source::Bytes(column.as_binary_opt()?),
            SqlType::Date => Source::Date(column.as_primitive_opt()?),
            SqlType::Time => Source::Time(column.as_primitive_opt()?),
            SqlType::Timestamp => Source::Timestamp(column.as_primitive_opt()?),
            SqlType::Array(item) => {
                let list = column.as_list_opt::<i32>()?;
                Source::Array(list, Box::new(Source::of(list.values(), item)?))
            }
            SqlType::Map(_, value) => {
                let map = column.as_map_opt()?;
                Source::Map(map, map.keys().as_string_opt()?, Box::new(Source::of(map.values(), value)?))
            }
            SqlType::Struct(fields) => {
                let columns = column.as_struct_opt()?;
                let named = fields.iter().zip(columns.columns()).enumerate();
                let fields = named.map(|(i, ((name, ty), column))| Some((member(i, name), Source::of(column, ty)?)));
                Source::Struct(columns, fields.collect::<Option<_>>()?)
            }
        })
    }

    pub(in crate::format) fn is_null(&self, row: usize) -> bool {
        match self {
            Source::Boolean(a) => a.is_null(row),
            Source::Integer(a) => a.is_null(row),
            Source::Bigint(a) => a.is_null(row),
            Source::Double(a) => a.is_null(row),
            Source::Decimal(a, _) => a.is_null(row),
            Source::WideDecimal(a, _) => a.is_null(row),
            Source::String(a) => a.is_null(row),
            Source::Bytes(a) => a.is_null(row),
            Source::Date(a) => a.is_null(row),
            Source::Time(a) => a.is_null(row),
            Source::Timestamp(a) => a.is_null(row),
            Source::Array(a, _) => a.is_null(row),
            Source::Map(a, ..) => a.is_null(row),
            Source::Struct(a, _) => a.is_null(row),
        }
    }

    /// Appends one value as JSON.
    #[inline(always)]
    pub(in crate::format) fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Source::Bigint(a) => write_integer(a, row, out),
            Source::Integer(a) => write_integer(a, row, out),
            Source::String(a) if a.is_valid(row) => write_string(a.value(row).as_bytes(), out),
            _ => self.write_other(row, out),
        }
    }

    fn write_other(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match self {
            Source::Boolean(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Source::Integer(a) => write_integer(a, row, out),
            Source::Bigint(a) => write_integer(a, row, out),
            Source::Date(a) => write_integer(a, row, out),
            Source::Time(a) => write_integer(a, row, out),
            Source::Timestamp(a) => write_integer(a, row, out),
            Source::Double(a) => write_double(a.value(row), out),
            Source::Decimal(a, scale) => {
                let v = a.value(row);
                write_decimal(v < 0, itoa::Buffer::new().format(v.unsigned_abs()).as_bytes(), *scale, out);
            }
            Source::WideDecimal(a, scale) => {
                let text = a.value(row).to_string();
                let digits = text.trim_start_matches('-');
                write_decimal(digits.len() < text.len(), digits.as_bytes(), *scale, out);
            }
            Source::String(a) => write_string(a.value(row).as_bytes(), out),
            Source::Bytes(a) => {
                out.push(b'"');
                base64::encode(a.value(row), out);
                out.push(b'"');
            }
            Source::Array(..) | Source::Map(..) | Source::Struct(..) => self.write_nested(row, out),
        }
    }

    fn write_nested(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Source::Array(a, items) => {
                out.push(b'[');
                for (n, item) in range(a.value_offsets(), row).enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    items.write(item, out);
                }
                out.push(b']');
            }
            Source::Map(a, keys, values) => {
                out.push(b'{');
                for (n, entry) in range(a.value_offsets(), row).enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_string(keys.value(entry).as_bytes(), out);
                    out.push(b':');
                    values.write(entry, out);
                }
                out.push(b'}');
            }
            Source::Struct(_, fields) => write_object(fields, row, out),
            _ => unreachable!("only nested types come here"),
        }
    }
}

/// `"NAME":`, with a comma before it unless it is the first.
pub(in crate::format) fn member(index: usize, name: &str) -> Vec<u8> {
    let mut text = vec![];
    if index > 0 {
        text.push(b',');
    }
    write_string(name.as_bytes(), &mut text);
    text.push(b':');
    text
}

/// Appends one row as an object.
#[inline(always)]
pub(in crate::format) fn write_object(fields: &[(Vec<u8>, Source<'_>)], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (name, source) in fields {
        out.extend_from_slice(name);
        source.write(row, out);
    }
    out.push(b'}');
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

#[inline(always)]
fn write_integer<T: ArrowPrimitiveType>(a: &PrimitiveArray<T>, row: usize, out: &mut Vec<u8>)
where
    T::Native: Integer,
{
    if a.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    out.extend_from_slice(itoa::Buffer::new().format(a.value(row)).as_bytes());
}

fn write_double(v: f64, out: &mut Vec<u8>) {
    if v.is_finite() {
        return write_java_double(v, out);
    }
    out.push(b'"');
    write_java_double(v, out);
    out.push(b'"');
}

fn write_decimal(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    write_big_decimal(negative, digits, i64::from(scale), out);
}

/// Appends text as a JSON string.
#[inline(always)]
pub(in crate::format) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    loop {
        let (end, _) = text_end(text, from);
        out.extend_from_slice(&text[from..end]);
        match text.get(end) {
            Some(&byte) => write_escape(byte, out),
            None => break,
        }
        from = end + 1;
    }
    out.push(b'"');
}

#[cold]
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0C => b'f',
        b'\r' => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
