//! Cells of result sets as JSON, the way ksqlDB's API writes them: BIGINT and DECIMAL as numbers, DOUBLE as Java prints it,
//! BYTES as base64, DATE, TIME and TIMESTAMP as ISO text, STRUCT and MAP as objects. Tables show the same without quotes.

use crate::error::{Error, Result};
use crate::types::java_double::write_java_double;
use crate::types::temporal::{date_text, time_text, timestamp_text};
use crate::types::{SqlType, base64};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimeUnit, TimestampMillisecondType,
};
use std::io::Write as _;

/// The column in its type's own layout: batch results come in any layout that Arrow has for it.
pub fn settled(column: &ArrayRef, ty: &SqlType) -> ArrayRef {
    let wanted = ty.arrow();
    if *column.data_type() == wanted {
        return column.clone();
    }
    cast(column, &wanted).unwrap_or_else(|_| column.clone())
}

/// Appends one cell.
pub fn write_json(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match column.data_type() {
        DataType::Boolean => put(out, column.as_boolean().value(row)),
        DataType::Int32 => put(out, column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => put(out, column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => match column.as_primitive::<Float64Type>().value(row) {
            x if x.is_finite() => write_java_double(x, out),
            x => {
                let mut text = Vec::new();
                write_java_double(x, &mut text);
                write_text(&String::from_utf8_lossy(&text), out);
            }
        },
        DataType::Decimal128(_, _) => put(out, column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(_, _) => put(out, column.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Utf8 => write_text(column.as_string::<i32>().value(row), out),
        DataType::Utf8View => write_text(column.as_string_view().value(row), out),
        DataType::LargeUtf8 => write_text(column.as_string::<i64>().value(row), out),
        DataType::Binary => {
            out.push(b'"');
            base64::encode(column.as_binary::<i32>().value(row), out);
            out.push(b'"');
        }
        DataType::Date32 => write_text(&date_text(column.as_primitive::<Date32Type>().value(row)), out),
        DataType::Time32(TimeUnit::Millisecond) => {
            write_text(&time_text(column.as_primitive::<Time32MillisecondType>().value(row)), out);
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            write_text(&timestamp_text(column.as_primitive::<TimestampMillisecondType>().value(row)), out);
        }
        DataType::List(_) => write_list(&column.as_list::<i32>().value(row), out)?,
        DataType::Map(_, _) => write_map(&column.as_map().value(row), out)?,
        DataType::Struct(fields) => {
            let column = column.as_struct();
            out.push(b'{');
            for (i, (field, values)) in fields.iter().zip(column.columns()).enumerate() {
                separate(i, out);
                write_text(field.name(), out);
                out.push(b':');
                write_json(values, row, out)?;
            }
            out.push(b'}');
        }
        _ => write_other(column, row, out)?,
    }
    Ok(())
}

/// Types that only DataFusion's functions make: as text, numbers as numbers.
fn write_other(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    let shown = arrow::util::display::array_value_to_string(column, row)?;
    match column.data_type().is_numeric() {
        true => put(out, shown),
        false => write_text(&shown, out),
    }
    Ok(())
}

fn write_list(items: &ArrayRef, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'[');
    for i in 0..items.len() {
        separate(i, out);
        write_json(items, i, out)?;
    }
    out.push(b']');
    Ok(())
}

fn write_map(entries: &arrow::array::StructArray, out: &mut Vec<u8>) -> Result<()> {
    let (keys, values) = (entries.column(0), entries.column(1));
    out.push(b'{');
    for i in 0..entries.len() {
        separate(i, out);
        match keys.data_type() {
            DataType::Utf8 => write_text(keys.as_string::<i32>().value(i), out),
            _ => write_text(&arrow::util::display::array_value_to_string(keys, i)?, out),
        }
        out.push(b':');
        write_json(values, i, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn put(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to memory cannot fail");
}

/// Appends a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, text).expect("text to memory cannot fail");
}

/// One row as a JSON array.
pub fn write_row(columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'[');
    for (i, column) in columns.iter().enumerate() {
        separate(i, out);
        write_json(column, row, out)?;
    }
    out.push(b']');
    Ok(())
}

/// The cell as a table shows it: text bare, everything else as JSON; `None` = NULL.
pub fn text(column: &dyn Array, row: usize) -> Result<Option<String>> {
    if column.is_null(row) {
        return Ok(None);
    }
    if let DataType::Utf8 = column.data_type() {
        return Ok(Some(column.as_string::<i32>().value(row).to_owned()));
    }
    let mut out = Vec::new();
    write_json(column, row, &mut out)?;
    let text = String::from_utf8(out).map_err(|e| Error::bug("a cell is not text").because(e))?;
    Ok(Some(match text.starts_with('"') {
        true => serde_json::from_str(&text).map_err(|e| Error::bug("a cell is not JSON").because(e))?,
        false => text,
    }))
}

/// The same with NULL as `NULL`.
pub fn display(column: &dyn Array, row: usize) -> Result<String> {
    Ok(text(column, row)?.unwrap_or_else(|| "NULL".to_owned()))
}
