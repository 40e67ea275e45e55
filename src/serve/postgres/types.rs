//! Tidegate's types as Postgres knows them, and values in its two encodings.
//!
//! ```text
//! BOOLEAN bool   INTEGER int4   BIGINT int8   DOUBLE float8   DECIMAL(p, s) numeric(p,s)   STRING text   BYTES bytea
//! DATE date      TIME time      TIMESTAMP timestamptz         ARRAY of these: arrays       STRUCT, MAP, other arrays: jsonb
//! ```
//!
//! TIMESTAMP is an instant, so that it is a timestamptz, shown in UTC. Both encodings carry the same value: a numeric keeps
//! its scale, a double its 17 digits.

use crate::error::{Error, Result};
use crate::types::temporal::{DAY_MS, date_text};
use crate::types::{SqlType, cell};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};
use std::io::Write as _;

/// A type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct PgType {
    pub(in crate::serve) oid: u32,
    /// Bytes of a value; -1 = they vary.
    pub(super) size: i16,
    /// Precision and scale of a numeric; -1 = none.
    pub(super) modifier: i32,
}

pub(super) mod oid {
    //! Object identifiers of Postgres's types; they never change.

    pub(in crate::serve::postgres) const BOOL: u32 = 16;
    pub(in crate::serve::postgres) const BYTEA: u32 = 17;
    pub(in crate::serve::postgres) const INT8: u32 = 20;
    pub(in crate::serve::postgres) const INT2: u32 = 21;
    pub(in crate::serve::postgres) const INT4: u32 = 23;
    pub(in crate::serve::postgres) const TEXT: u32 = 25;
    pub(in crate::serve::postgres) const OID: u32 = 26;
    pub(in crate::serve::postgres) const JSON: u32 = 114;
    pub(in crate::serve::postgres) const FLOAT4: u32 = 700;
    pub(in crate::serve::postgres) const FLOAT8: u32 = 701;
    pub(in crate::serve::postgres) const UNKNOWN: u32 = 705;
    pub(in crate::serve::postgres) const DATE: u32 = 1082;
    pub(in crate::serve::postgres) const TIME: u32 = 1083;
    pub(in crate::serve::postgres) const TIMESTAMP: u32 = 1114;
    pub(in crate::serve::postgres) const TIMESTAMPTZ: u32 = 1184;
    pub(in crate::serve::postgres) const NUMERIC: u32 = 1700;
    pub(in crate::serve::postgres) const JSONB: u32 = 3802;
}

/// Types of elements and of their arrays.
pub(super) const ARRAYS: &[(u32, u32)] = &[
    (oid::BOOL, 1000),
    (oid::BYTEA, 1001),
    (oid::INT2, 1005),
    (oid::INT4, 1007),
    (oid::TEXT, 1009),
    (oid::INT8, 1016),
    (oid::FLOAT4, 1021),
    (oid::FLOAT8, 1022),
    (oid::DATE, 1182),
    (oid::TIME, 1183),
    (oid::TIMESTAMPTZ, 1185),
    (oid::NUMERIC, 1231),
    (oid::OID, 1028),
];

/// Days and microseconds from 1970-01-01 to 2000-01-01, where Postgres begins to count.
pub(super) const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MS * 1000;
/// Bytes of a length in front of numeric modifiers.
const MODIFIER_BASE: i32 = 4;
/// Digits in one digit of a binary numeric.
const NUMERIC_DIGITS: usize = 4;

impl PgType {
    /// The type of a column.
    pub(in crate::serve) fn of(ty: &SqlType) -> PgType {
        let (oid, size) = match ty {
            SqlType::Boolean => (oid::BOOL, 1),
            SqlType::Integer => (oid::INT4, 4),
            SqlType::Bigint => (oid::INT8, 8),
            SqlType::Double => (oid::FLOAT8, 8),
            SqlType::Decimal(..) => (oid::NUMERIC, -1),
            SqlType::String => (oid::TEXT, -1),
            SqlType::Bytes => (oid::BYTEA, -1),
            SqlType::Date => (oid::DATE, 4),
            SqlType::Time => (oid::TIME, 8),
            SqlType::Timestamp => (oid::TIMESTAMPTZ, 8),
            SqlType::Array(item) => (array_of(item).unwrap_or(oid::JSONB), -1),
            SqlType::Map(..) | SqlType::Struct(_) => (oid::JSONB, -1),
        };
        let modifier = match ty {
            SqlType::Decimal(precision, scale) => (i32::from(*precision) << 16 | i32::from(*scale)) + MODIFIER_BASE,
            _ => -1,
        };
        PgType { oid, size, modifier }
    }
}

/// The array type of scalar elements.
fn array_of(item: &SqlType) -> Option<u32> {
    let element = PgType::of(item).oid;
    let scalar = !matches!(item, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_));
    ARRAYS.iter().find(|(of, _)| scalar && *of == element).map(|(_, array)| *array)
}

/// A type of Postgres as the engine's; `None` = it has none, or the client left it open.
pub(in crate::serve) fn sql_type(ty: u32) -> Option<SqlType> {
    Some(match ty {
        oid::BOOL => SqlType::Boolean,
        oid::INT2 | oid::INT4 => SqlType::Integer,
        oid::INT8 | oid::OID => SqlType::Bigint,
        oid::FLOAT4 | oid::FLOAT8 => SqlType::Double,
        oid::NUMERIC => SqlType::Decimal(38, 10),
        oid::TEXT | 18 | 19 | 1042 | 1043 | 2950 | oid::JSON | oid::JSONB => SqlType::String,
        oid::BYTEA => SqlType::Bytes,
        oid::DATE => SqlType::Date,
        oid::TIME => SqlType::Time,
        oid::TIMESTAMP | oid::TIMESTAMPTZ => SqlType::Timestamp,
        other => {
            let element = ARRAYS.iter().find(|(_, array)| *array == other).map(|(element, _)| *element);
            let element = element.or_else(|| [1015, 1002, 1003].contains(&other).then_some(oid::TEXT))?;
            SqlType::Array(Box::new(sql_type(element)?))
        }
    })
}

/// A value of a DataRow: its length and its bytes.
pub(super) fn write_cell(column: &dyn Array, row: usize, ty: &SqlType, binary: bool, out: &mut Vec<u8>) -> Result<()> {
    if column.is_null(row) {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    match binary {
        true => write_binary(column, row, ty, out)?,
        false => write_text(column, row, ty, out)?,
    }
    let length = i32::try_from(out.len() - at - 4).map_err(|_| Error::data("a value exceeds 2 GiB"))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A value that is not NULL, as text.
pub(super) fn write_text(column: &dyn Array, row: usize, ty: &SqlType, out: &mut Vec<u8>) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => out.push(if column.as_boolean().value(row) { b't' } else { b'f' }),
        DataType::Utf8 => out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::Float64 => write_float(column.as_primitive::<Float64Type>().value(row), out),
        DataType::Binary => {
            out.extend_from_slice(b"\\x");
            column.as_binary::<i32>().value(row).iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
        }
        DataType::Date32 => put(out, date_text(column.as_primitive::<Date32Type>().value(row))),
        DataType::Time32(_) => write_time(i64::from(column.as_primitive::<Time32MillisecondType>().value(row)), out),
        DataType::Timestamp(..) => {
            let ms = column.as_primitive::<TimestampMillisecondType>().value(row);
            let days = i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(i32::MAX);
            put(out, date_text(days));
            out.push(b' ');
            write_time(ms.rem_euclid(DAY_MS), out);
            out.extend_from_slice(b"+00");
        }
        DataType::List(_) => match ty {
            SqlType::Array(item) if array_of(item).is_some() => {
                write_array_text(&column.as_list::<i32>().value(row), item, out)?;
            }
            _ => cell::write_json(column, row, out)?,
        },
        _ => cell::write_json(column, row, out)?,
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to memory cannot fail");
}

fn write_float(value: f64, out: &mut Vec<u8>) {
    match value {
        x if x.is_nan() => out.extend_from_slice(b"NaN"),
        f64::INFINITY => out.extend_from_slice(b"Infinity"),
        f64::NEG_INFINITY => out.extend_from_slice(b"-Infinity"),
        x if x != 0.0 && !(1e-5..1e15).contains(&x.abs()) => put(out, format_args!("{x:e}")),
        x => put(out, x),
    }
}

/// `12:34:56` or `12:34:56.789`
fn write_time(ms: i64, out: &mut Vec<u8>) {
    let (hours, minutes, seconds, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    put(out, format_args!("{hours:02}:{minutes:02}:{seconds:02}"));
    if rest != 0 {
        put(out, format_args!(".{rest:03}"));
    }
}

/// `{1,NULL,"a b"}`
fn write_array_text(items: &dyn Array, ty: &SqlType, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'{');
    let mut item = Vec::new();
    for at in 0..items.len() {
        if at > 0 {
            out.push(b',');
        }
        if items.is_null(at) {
            out.extend_from_slice(b"NULL");
            continue;
        }
        item.clear();
        write_text(items, at, ty, &mut item)?;
        let special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || byte.is_ascii_whitespace();
        if !item.is_empty() && !item.iter().any(special) && !item.eq_ignore_ascii_case(b"null") {
            out.extend_from_slice(&item);
            continue;
        }
        out.push(b'"');
        for byte in &item {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out.push(b'"');
    }
    out.push(b'}');
    Ok(())
}

/// A value that is not NULL, as Postgres's `send` functions write it.
fn write_binary(column: &dyn Array, row: usize, ty: &SqlType, out: &mut Vec<u8>) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
        DataType::Int32 => out.extend_from_slice(&column.as_primitive::<Int32Type>().value(row).to_be_bytes()),
        DataType::Int64 => out.extend_from_slice(&column.as_primitive::<Int64Type>().value(row).to_be_bytes()),
        DataType::Float64 => out.extend_from_slice(&column.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Decimal128(_, scale) => {
            write_numeric(&column.as_primitive::<Decimal128Type>().value_as_string(row), *scale, out);
        }
        DataType::Decimal256(_, scale) => {
            write_numeric(&column.as_primitive::<Decimal256Type>().value_as_string(row), *scale, out);
        }
        DataType::Utf8 => out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => out.extend_from_slice(column.as_binary::<i32>().value(row)),
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row);
            out.extend_from_slice(&days.saturating_sub(EPOCH_DAYS).to_be_bytes());
        }
        DataType::Time32(_) => {
            let micros = i64::from(column.as_primitive::<Time32MillisecondType>().value(row)) * 1000;
            out.extend_from_slice(&micros.to_be_bytes());
        }
        DataType::Timestamp(..) => {
            let micros = column.as_primitive::<TimestampMillisecondType>().value(row).saturating_mul(1000);
            out.extend_from_slice(&micros.saturating_sub(EPOCH_MICROS).to_be_bytes());
        }
        DataType::List(_) => match ty {
            SqlType::Array(item) if array_of(item).is_some() => {
                write_array_binary(&column.as_list::<i32>().value(row), item, out)?;
            }
            _ => write_jsonb(column, row, out)?,
        },
        _ => write_jsonb(column, row, out)?,
    }
    Ok(())
}

/// A version, and the text.
fn write_jsonb(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(1);
    cell::write_json(column, row, out)
}

/// Dimensions, a flag for NULLs, the type of the elements, length and lower bound, elements.
fn write_array_binary(items: &dyn Array, ty: &SqlType, out: &mut Vec<u8>) -> Result<()> {
    let dimensions = i32::from(!items.is_empty());
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&i32::from(items.null_count() > 0).to_be_bytes());
    out.extend_from_slice(&PgType::of(ty).oid.to_be_bytes());
    if dimensions == 0 {
        return Ok(());
    }
    let length = i32::try_from(items.len()).map_err(|_| Error::data("an array has too many elements"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    (0..items.len()).try_for_each(|at| write_cell(items, at, ty, true, out))
}

/// `-12.50` as digits to the base 10,000 with the weight of the first.
fn write_numeric(text: &str, scale: i8, out: &mut Vec<u8>) {
    let (sign, digits) = text.strip_prefix('-').map_or((0_u16, text), |rest| (0x4000, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let before = whole.len().div_ceil(NUMERIC_DIGITS);
    // Zeros in front and behind fill whole groups on both sides of the point.
    let padded = format!(
        "{}{whole}{fraction}{}",
        "0".repeat(before * NUMERIC_DIGITS - whole.len()),
        "0".repeat(fraction.len().next_multiple_of(NUMERIC_DIGITS) - fraction.len())
    );
    let group = |group: &[u8]| group.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
    let groups: Vec<u16> = padded.as_bytes().chunks(NUMERIC_DIGITS).map(group).collect();
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let end = groups.len() - groups.iter().rev().take_while(|group| **group == 0).count();
    let kept = if leading < end { &groups[leading..end] } else { &[] };
    let weight = if kept.is_empty() { 0 } else { before as i16 - leading as i16 - 1 };
    out.extend_from_slice(&(kept.len() as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&if kept.is_empty() { 0 } else { sign }.to_be_bytes());
    out.extend_from_slice(&u16::try_from(scale).unwrap_or(0).to_be_bytes());
    kept.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
}

/// A numeric in its binary form as text; `None` = the bytes are none.
pub(super) fn read_numeric(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at * 2..at * 2 + 2)?.try_into().ok()?));
    let (count, weight, sign, scale) = (word(0)?, word(1)? as i16, word(2)?, usize::from(word(3)?));
    match sign {
        0 | 0x4000 => {}
        0xC000 => return Some("NaN".to_owned()),
        _ => return None,
    }
    if bytes.len() != 8 + usize::from(count) * 2 || scale > 0x3fff {
        return None;
    }
    let group = |at: i32| match usize::try_from(at) {
        Ok(at) if at < usize::from(count) => word(4 + at),
        _ => Some(0),
    };
    let mut text = if sign == 0 { String::new() } else { "-".to_owned() };
    let weight = i32::from(weight);
    let mut whole = String::new();
    for at in 0..=weight {
        whole.push_str(&format!("{:04}", group(at)?));
    }
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let mut fraction = String::new();
        for at in 0..scale.div_ceil(NUMERIC_DIGITS) as i32 {
            fraction.push_str(&format!("{:04}", group(weight + 1 + at)?));
        }
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Date32Array, Float64Array, ListArray, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::Utf8Type;

    fn text(column: &dyn Array, ty: &SqlType) -> String {
        let mut out = Vec::new();
        write_text(column, 0, ty, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numerics_keep_their_digits_in_both_directions() {
        for number in ["0", "1", "-1", "12.50", "0.0001", "-0.00012", "10000", "99999999.9999", "123456789012345678901"]
        {
            let scale = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let mut out = Vec::new();
            write_numeric(number, scale as i8, &mut out);
            assert_eq!(read_numeric(&out).as_deref(), Some(number));
        }
        // 12.50 as Postgres's numeric_send writes it.
        let mut out = Vec::new();
        write_numeric("12.50", 2, &mut out);
        assert_eq!(out, [0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x13, 0x88]);
        for len in 0..8 {
            assert_eq!(read_numeric(&out[..len]), None);
        }
        assert_eq!(read_numeric(&[0xff; 8]), None);
        assert_eq!(read_numeric(&[0, 0, 0x7f, 0xff, 0, 0, 0, 0]).as_deref(), Some("0"));
    }

    #[test]
    fn text_forms_are_those_of_postgres() {
        let double = |x: f64| text(&Float64Array::from(vec![x]), &SqlType::Double);
        assert_eq!([double(1.0), double(0.1), double(1e300), double(f64::NAN)], ["1", "0.1", "1e300", "NaN"]);
        let instant = |ms: i64| text(&TimestampMillisecondArray::from(vec![ms]), &SqlType::Timestamp);
        assert_eq!(instant(0), "1970-01-01 00:00:00+00");
        assert_eq!(instant(-1), "1969-12-31 23:59:59.999+00");
        assert_eq!(text(&Date32Array::from(vec![20_787]), &SqlType::Date), "2026-11-30");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(text(&list, &SqlType::Array(Box::new(SqlType::Integer))), "{1,NULL}");
        let mut words = arrow::array::ListBuilder::new(arrow::array::GenericByteBuilder::<Utf8Type>::new());
        words.append_value(["a b", "", "null", "q\"\\"].map(Some));
        let words: ArrayRef = std::sync::Arc::new(words.finish());
        let strings = SqlType::Array(Box::new(SqlType::String));
        assert_eq!(text(&words, &strings), r#"{"a b","","null","q\"\\"}"#);
        assert_eq!(text(&words, &SqlType::Array(Box::new(strings))), r#"["a b","","null","q\"\\"]"#);
        assert_eq!(text(&StringArray::from(vec!["차"]), &SqlType::String), "차");
    }

    #[test]
    fn binary_times_count_from_2000() {
        let mut out = Vec::new();
        let instant = TimestampMillisecondArray::from(vec![946_684_800_001]);
        write_cell(&instant, 0, &SqlType::Timestamp, true, &mut out).unwrap();
        assert_eq!(out, [&8_i32.to_be_bytes()[..], &1_000_i64.to_be_bytes()].concat());
        assert_eq!(PgType::of(&SqlType::Decimal(4, 2)).modifier, (4 << 16 | 2) + 4);
    }
}
