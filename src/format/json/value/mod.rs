//! One JSON value into one column, by ksqlDB's coercions (`KsqlJsonDeserializer`, `JsonSerdeUtils`).
//!
//! ```text
//! BOOLEAN            true, false
//! INTEGER, BIGINT    a number's integer part (its low bits), or a text as parseInt and parseLong read it
//! DOUBLE             a number, or a text as parseDouble reads it
//! DECIMAL            a number or text that fits without rounding
//! STRING             a text; any other value's text, numbers as BigDecimal writes them, arrays as `[a, b]`
//! BYTES              base64
//! DATE TIME TIMESTAMP  a number or text: days, milliseconds of the day (0 to 86400000), milliseconds
//! ARRAY MAP STRUCT   an array, an object, an object
//! null               NULL, for every type
//! ```

pub(in crate::format) mod object;

use super::encode::write_string;
use super::escape::{string_into, unescape};
use super::scan::{
    Fault, Step, blank, expect, literal, name, next, number, short_decimal, short_int, skip, string, syntax, text_end,
};
use crate::format::cells::{Cells, Data, Pieces};
use crate::types::decimal_text::DecimalText;
use crate::types::java_double::parse_java_double;
use crate::types::{SqlType, base64};
use object::{Object, members};
use std::borrow::Cow;
use std::collections::HashSet;

/// Milliseconds of a day: the largest TIME that ksqlDB accepts.
const TIME_MAX: i64 = 86_400_000;

/// Up to this many entries of a MAP are compared pairwise, more by a set.
const PAIRWISE_ENTRIES_MAX: usize = 16;

/// Context for nested values besides their columns.
#[derive(Debug)]
pub(super) enum Shape {
    Scalar,
    Array(Box<Shape>),
    Map(Box<Shape>),
    Struct(Box<Object>),
}

impl Shape {
    pub(super) fn new(ty: &SqlType) -> Shape {
        match ty {
            SqlType::Array(item) => Shape::Array(Box::new(Shape::new(item))),
            SqlType::Map(_, value) => Shape::Map(Box::new(Shape::new(value))),
            SqlType::Struct(fields) => {
                Shape::Struct(Box::new(Object::new(fields.iter().map(|(n, t)| (n.as_str(), t)))))
            }
            _ => Shape::Scalar,
        }
    }
}

/// Validates the value at `i`, after optional blanks, and appends it if the column is materialized.
/// `EXACT`: the last of repeated members counts; otherwise they are a [`Fault::Twice`].
#[inline(always)]
pub(super) fn read<const EXACT: bool>(shape: &mut Shape, cells: &mut Cells, d: &[u8], i: usize) -> Step {
    match &mut cells.data {
        Data::Bigint(values) | Data::Timestamp(values) => {
            if let Some((end, v)) = short_int(d, i) {
                if cells.keep {
                    values.push(v);
                }
                return Ok(end);
            }
        }
        Data::Integer(values) => {
            if let Some((end, v)) = short_int(d, i) {
                if cells.keep {
                    values.push(v as i32);
                }
                return Ok(end);
            }
        }
        Data::String(pieces) if d.get(i) == Some(&b'"') => {
            if !cells.keep {
                return Ok(string(d, i + 1)?.0);
            }
            let (end, high) = text_end(d, i + 1);
            if !high && d.get(end) == Some(&b'"') {
                pieces.push(&d[i + 1..end]);
                return Ok(end + 1);
            }
            return read_unusual_text(pieces, d, i + 1, end, high);
        }
        _ => {}
    }
    read_other::<EXACT>(shape, cells, d, i)
}

/// A text with escapes or not only of ASCII, whose first run ends at `end`.
#[inline(never)]
fn read_unusual_text(pieces: &mut Pieces, d: &[u8], start: usize, end: usize, high: bool) -> Step {
    pieces.bytes.extend_from_slice(&d[start..end]);
    let end = string_into(d, start, (end, high), &mut pieces.bytes)?;
    pieces.close();
    Ok(end)
}

#[inline(never)]
fn read_other<const EXACT: bool>(shape: &mut Shape, cells: &mut Cells, d: &[u8], i: usize) -> Step {
    let i = blank(d, i); // a gap that was learned without a blank also fits before one
    let first = *d.get(i).ok_or_else(|| syntax(i))?;
    if first == b'n' {
        let end = literal(d, i, b"null")?;
        cells.push_null();
        return Ok(end);
    }
    let end = match (&mut cells.data, shape) {
        (Data::Array { ends, items }, Shape::Array(shape)) => read_array::<EXACT>(shape, ends, items, d, i),
        (Data::Map { ends, keys, values }, Shape::Map(shape)) if EXACT => {
            read_map_exact(shape, (ends, keys, values), d, i)
        }
        (Data::Map { ends, keys, values }, Shape::Map(shape)) => read_map(shape, (ends, keys, values), d, i),
        (Data::Struct { fields, rows }, Shape::Struct(object)) => {
            *rows += 1;
            match first {
                b'{' if EXACT => object.exact(d, i, fields),
                b'{' => object.read(d, i, fields),
                _ => Err(Fault::Type(i as u32)),
            }
        }
        (data, _) => read_scalar(data, d, i, first),
    }?;
    if !cells.keep {
        cells.truncate(0);
    }
    Ok(end)
}

fn open(d: &[u8], i: usize, byte: u8) -> Step {
    let inside = expect(d, i, byte).map_err(|_| Fault::Type(i as u32))?;
    Ok(blank(d, inside))
}

fn read_array<const EXACT: bool>(
    shape: &mut Shape,
    ends: &mut Vec<i32>,
    items: &mut Cells,
    d: &[u8],
    i: usize,
) -> Step {
    let mut i = open(d, i, b'[')?;
    let mut more = d.get(i) != Some(&b']');
    if !more {
        i += 1;
    }
    while more {
        let end = read::<EXACT>(shape, items, d, i)?;
        (i, more) = next(d, end, b']')?;
    }
    ends.push(items.len() as i32);
    Ok(i)
}

type MapCells<'a> = (&'a mut Vec<i32>, &'a mut Pieces, &'a mut Cells);

fn read_map(shape: &mut Shape, (ends, keys, values): MapCells<'_>, d: &[u8], i: usize) -> Step {
    let before = keys.len();
    let mut i = open(d, i, b'{')?;
    let mut more = d.get(i) != Some(&b'}');
    if !more {
        i += 1;
    }
    while more {
        let (value, raw) = name(d, i)?;
        unescape(raw, &mut keys.bytes);
        keys.close();
        (i, more) = next(d, read::<false>(shape, values, d, value)?, b'}')?;
    }
    if keys_repeat(keys, before) {
        return Err(Fault::Twice);
    }
    ends.push(keys.len() as i32);
    Ok(i)
}

fn read_map_exact(shape: &mut Shape, (ends, keys, values): MapCells<'_>, d: &[u8], i: usize) -> Step {
    open(d, i, b'{')?;
    let (members, end) = members(d, i)?;
    for (name, at) in members {
        keys.push(name.as_bytes());
        read::<true>(shape, values, d, at)?;
    }
    ends.push(keys.len() as i32);
    Ok(end)
}

/// Whether a key is repeated from row `from` on.
pub(in crate::format) fn keys_repeat(keys: &Pieces, from: usize) -> bool {
    if keys.len() - from > PAIRWISE_ENTRIES_MAX {
        let mut set = HashSet::with_capacity(keys.len() - from);
        return !(from..keys.len()).all(|row| set.insert(keys.get(row)));
    }
    (from..keys.len()).any(|row| (from..row).any(|other| keys.get(other) == keys.get(row)))
}

/// A value, as far as scalar types need it.
enum Token<'a> {
    Number(&'a [u8]),
    Text(Cow<'a, str>),
    Boolean(bool),
    Nested,
}

fn read_scalar(data: &mut Data, d: &[u8], i: usize, first: u8) -> Step {
    if let Data::Double(values) = data
        && matches!(first, b'-' | b'0'..=b'9')
    {
        let end = number(d, i)?;
        values.push(double(&d[i..end]).ok_or(Fault::Type(i as u32))?);
        return Ok(end);
    }
    if let Data::Decimal { values, precision, scale } = data
        && let Some((end, v)) = short_decimal(d, i, *precision, *scale)
    {
        values.push(v);
        return Ok(end);
    }
    let end = skip(d, i)?;
    if let Data::String(pieces) = data {
        write_text(d, i, &mut pieces.bytes).ok_or(Fault::Type(i as u32))?;
        pieces.close();
        return Ok(end);
    }
    let token = match first {
        b'"' => Token::Text(text(&d[i + 1..end - 1])),
        b't' | b'f' => Token::Boolean(first == b't'),
        b'{' | b'[' => Token::Nested,
        _ => Token::Number(&d[i..end]),
    };
    push_scalar(data, &token).ok_or(Fault::Type(i as u32))?;
    Ok(end)
}

fn push_scalar(data: &mut Data, token: &Token<'_>) -> Option<()> {
    match (data, token) {
        (Data::Boolean(values), Token::Boolean(v)) => values.push(*v),
        (Data::Integer(values), Token::Text(text)) => values.push(text.parse().ok()?),
        (Data::Integer(values), token) => values.push(long(token)? as i32),
        (Data::Bigint(values) | Data::Timestamp(values), token) => values.push(long(token)?),
        (Data::Date(values), token) => values.push(i32::try_from(long(token)?).ok()?),
        (Data::Time(values), token) => {
            let v = long(token)?;
            values.push((0..=TIME_MAX).contains(&v).then_some(v as i32)?);
        }
        (Data::Double(values), Token::Text(text)) => values.push(parse_java_double(text)?),
        (Data::Decimal { values, precision, scale }, token) => {
            values.push(decimal(token)?.unscaled(*precision, *scale)?.as_i128());
        }
        (Data::WideDecimal { values, precision, scale }, token) => {
            values.push(decimal(token)?.unscaled(*precision, *scale)?);
        }
        (Data::Bytes(pieces), Token::Text(text)) => {
            base64::decode(text.as_bytes(), &mut pieces.bytes)?;
            pieces.close();
        }
        _ => return None,
    }
    Some(())
}

fn long(token: &Token<'_>) -> Option<i64> {
    match token {
        Token::Number(digits) => Some(DecimalText::parse(digits)?.low_i64()),
        Token::Text(text) => text.parse().ok(),
        Token::Boolean(_) | Token::Nested => None,
    }
}

fn decimal<'a>(token: &'a Token<'_>) -> Option<DecimalText<'a>> {
    match token {
        Token::Number(digits) => DecimalText::parse(digits),
        Token::Text(text) => DecimalText::parse(text.as_bytes()),
        Token::Boolean(_) | Token::Nested => None,
    }
}

/// BigDecimal.doubleValue of a number: there is no negative zero, unless a number too small became it.
pub(in crate::format) fn double(digits: &[u8]) -> Option<f64> {
    let v: f64 = fast_float2::parse(digits).ok()?;
    if v == 0.0 && v.is_sign_negative() && DecimalText::parse(digits)?.is_zero() {
        return Some(0.0);
    }
    Some(v)
}

/// The text of a validated string, given its inside.
fn text(raw: &[u8]) -> Cow<'_, str> {
    const UTF_8: &str = "a checked string unescapes to UTF-8";
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(simdutf8::basic::from_utf8(raw).expect(UTF_8));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    unescape(raw, &mut bytes);
    Cow::Owned(String::from_utf8(bytes).expect(UTF_8))
}

/// Appends ksqlDB's STRING of the validated value at `i`; returns the position after it.
fn write_text(d: &[u8], i: usize, out: &mut Vec<u8>) -> Option<usize> {
    match d[i] {
        b'"' => {
            let end = skip(d, i).ok()?;
            unescape(&d[i + 1..end - 1], out);
            Some(end)
        }
        b'[' => write_items(d, i, b", ", write_text, out),
        _ => write_json(d, i, out),
    }
}

/// Appends the checked value at `i` as compact JSON: names once, numbers as BigDecimal writes them.
fn write_json(d: &[u8], i: usize, out: &mut Vec<u8>) -> Option<usize> {
    match d[i] {
        b'{' => write_members(d, i, out),
        b'[' => write_items(d, i, b",", write_json, out),
        b'"' => {
            let end = skip(d, i).ok()?;
            write_string(text(&d[i + 1..end - 1]).as_bytes(), out);
            Some(end)
        }
        b'-' | b'0'..=b'9' => {
            let end = number(d, i).ok()?;
            DecimalText::parse(&d[i..end])?.write(out);
            Some(end)
        }
        _ => {
            let end = skip(d, i).ok()?;
            out.extend_from_slice(&d[i..end]);
            Some(end)
        }
    }
}

fn write_members(d: &[u8], i: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (members, end) = members(d, i).ok()?;
    out.push(b'{');
    for (n, (name, at)) in members.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(name.as_bytes(), out);
        out.push(b':');
        write_json(d, *at, out)?;
    }
    out.push(b'}');
    Some(end)
}

fn write_items(
    d: &[u8],
    i: usize,
    comma: &[u8],
    write: fn(&[u8], usize, &mut Vec<u8>) -> Option<usize>,
    out: &mut Vec<u8>,
) -> Option<usize> {
    out.push(b'[');
    let mut i = blank(d, i + 1);
    let mut more = d[i] != b']';
    if !more {
        i += 1;
    }
    while more {
        let end = write(d, i, out)?;
        (i, more) = next(d, end, b']').ok()?;
        if more {
            out.extend_from_slice(comma);
        }
    }
    out.push(b']');
    Some(i)
}
