//! One value as text: as it stands in a table or CSV, and as JSON.
//!
//! TIMESTAMP, DATE and TIME are ISO 8601, DOUBLE is as Java prints it, BYTES are base64, ARRAY, MAP and STRUCT are JSON.

use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};
use std::fmt::Write;

const DAY_MS: i64 = 86_400_000;

/// The column in its type's own layout: batch answers come in any layout that Arrow has for it.
pub fn settled(column: &ArrayRef, ty: &SqlType) -> ArrayRef {
    let wanted = ty.arrow();
    if *column.data_type() == wanted {
        return column.clone();
    }
    cast(column, &wanted).unwrap_or_else(|_| column.clone())
}

/// The value as it stands in a table; `None` = NULL.
pub fn text(column: &dyn Array, row: usize, ty: &SqlType) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let mut json = String::new();
    match (ty, unquoted(column, row, ty)) {
        (_, Some(text)) => Some(text),
        (_, None) => {
            write_json(&mut json, column, row, ty);
            Some(json)
        }
    }
}

/// Adds the value as JSON.
pub fn write_json(out: &mut String, column: &dyn Array, row: usize, ty: &SqlType) {
    if column.is_null(row) {
        return out.push_str("null");
    }
    match ty {
        SqlType::Boolean | SqlType::Integer | SqlType::Bigint | SqlType::Decimal(..) => {
            out.push_str(&unquoted(column, row, ty).unwrap_or_else(|| "null".to_owned()));
        }
        SqlType::Double => match unquoted(column, row, ty) {
            Some(text) if text.ends_with(|c: char| c.is_ascii_digit()) => out.push_str(&text),
            Some(not_finite) => write_string(out, &not_finite),
            None => out.push_str("null"),
        },
        SqlType::Array(item) => {
            let list = column.as_list_opt::<i32>().map(|l| l.value(row));
            write_all(out, '[', ']', list.as_ref().map_or(0, |l| l.len()), |out, i| {
                if let Some(list) = &list {
                    write_json(out, list, i, item);
                }
            });
        }
        SqlType::Map(key, value) => {
            let entries = column.as_map_opt().map(|m| m.value(row));
            write_all(out, '{', '}', entries.as_ref().map_or(0, |e| e.len()), |out, i| {
                if let Some(entries) = &entries {
                    write_string(out, &text(entries.column(0), i, key).unwrap_or_default());
                    out.push(':');
                    write_json(out, entries.column(1), i, value);
                }
            });
        }
        SqlType::Struct(fields) => {
            let parts = column.as_struct_opt();
            write_all(out, '{', '}', fields.len(), |out, i| {
                let (name, ty) = &fields[i];
                write_string(out, name);
                out.push(':');
                match parts.and_then(|s| s.columns().get(i)) {
                    Some(part) => write_json(out, part, row, ty),
                    None => out.push_str("null"),
                }
            });
        }
        SqlType::String | SqlType::Bytes | SqlType::Date | SqlType::Time | SqlType::Timestamp => {
            write_string(out, &unquoted(column, row, ty).unwrap_or_default());
        }
    }
}

fn write_all(out: &mut String, open: char, close: char, len: usize, mut write: impl FnMut(&mut String, usize)) {
    out.push(open);
    for i in 0..len {
        if i > 0 {
            out.push(',');
        }
        write(out, i);
    }
    out.push(close);
}

/// Adds a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The text of a value that is no collection; `None` for a collection. An unexpected layout shows as Arrow shows it.
fn unquoted(column: &dyn Array, row: usize, ty: &SqlType) -> Option<String> {
    let known = match ty {
        SqlType::Boolean => column.as_boolean_opt().map(|a| a.value(row).to_string()),
        SqlType::Integer => column.as_primitive_opt::<Int32Type>().map(|a| a.value(row).to_string()),
        SqlType::Bigint => column.as_primitive_opt::<Int64Type>().map(|a| a.value(row).to_string()),
        SqlType::Double => column.as_primitive_opt::<Float64Type>().map(|a| double(a.value(row))),
        SqlType::Decimal(..) => match column.as_primitive_opt::<Decimal128Type>() {
            Some(a) => Some(a.value_as_string(row)),
            None => column.as_primitive_opt::<Decimal256Type>().map(|a| a.value_as_string(row)),
        },
        SqlType::String => column.as_string_opt::<i32>().map(|a| a.value(row).to_owned()),
        SqlType::Bytes => column.as_binary_opt::<i32>().map(|a| base64(a.value(row))),
        SqlType::Date => column.as_primitive_opt::<Date32Type>().map(|a| date(i64::from(a.value(row)))),
        SqlType::Time => column.as_primitive_opt::<Time32MillisecondType>().map(|a| time(i64::from(a.value(row)))),
        SqlType::Timestamp => column.as_primitive_opt::<TimestampMillisecondType>().map(|a| timestamp(a.value(row))),
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => return None,
    };
    known.or_else(|| arrow::util::display::array_value_to_string(column, row).ok())
}

/// As `Double.toString` does: plain between 1e-3 and 1e7, else with an exponent; always a digit after the point.
fn double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

fn date(days: i64) -> String {
    match days.checked_mul(DAY_MS).and_then(chrono::DateTime::from_timestamp_millis) {
        Some(at) => at.format("%Y-%m-%d").to_string(),
        None => format!("day {days}"),
    }
}

fn time(ms: i64) -> String {
    let (seconds, rest) = (ms.div_euclid(1000), ms.rem_euclid(1000));
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest == 0 { clock } else { format!("{clock}.{rest:03}") }
}

fn timestamp(ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(ms) {
        Some(at) => at.format("%Y-%m-%dT%H:%M:%S%.3f").to_string(),
        None => ms.to_string(),
    }
}

/// Bytes in base64, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let at = (word >> (18 - 6 * digit)) & 63;
            out.push(if digit > chunk.len() { '=' } else { char::from(DIGITS[at as usize]) });
        }
    }
    out
}
