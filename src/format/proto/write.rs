//! Columns to bytes: one message per row, fields by number, defaults omitted.
//!
//! Some values cannot be represented; then the row is not written, and `Err` contains the reason.

use super::SECONDS;
use crate::types::calendar;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};

/// Appends one row's message.
pub(in crate::format) fn write(columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    for (i, column) in columns.iter().enumerate() {
        write_field(i as u64 + 1, column, row, out)?;
    }
    Ok(())
}

/// Appends the unwrapped value of a row, which is not NULL.
pub(in crate::format) fn write_alone(column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match column.data_type() {
        DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Timestamp(..)
        | DataType::Struct(_) => out.extend_from_slice(&body(column, row)?),
        _ => write_field(1, column, row, out)?,
    }
    Ok(())
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// An integer field; 0 is omitted.
fn put_number(number: u64, value: i64, out: &mut Vec<u8>) {
    if value != 0 {
        put_varint(number << 3, out);
        put_varint(value as u64, out);
    }
}

fn write_field(number: u64, column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if column.is_null(row) {
        return Ok(());
    }
    match column.data_type() {
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            if items.null_count() > 0 {
                return Err("an ARRAY holds NULL, for which PROTOBUF has no place");
            }
            let mut packed = Vec::new();
            for i in 0..items.len() {
                match items.data_type() {
                    DataType::Boolean => put_varint(u64::from(items.as_boolean().value(i)), &mut packed),
                    DataType::Int32 => {
                        put_varint(items.as_primitive::<Int32Type>().value(i) as i64 as u64, &mut packed)
                    }
                    DataType::Int64 => put_varint(items.as_primitive::<Int64Type>().value(i) as u64, &mut packed),
                    DataType::Float64 => {
                        packed.extend_from_slice(&items.as_primitive::<Float64Type>().value(i).to_le_bytes());
                    }
                    _ => put_bytes(number, &body(&items, i)?, out),
                }
            }
            if !packed.is_empty() {
                put_bytes(number, &packed, out);
            }
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            for i in 0..entries.len() {
                let mut entry = Vec::new();
                put_bytes(1, &body(entries.column(0), i)?, &mut entry);
                write_field(2, entries.column(1), i, &mut entry)?;
                put_bytes(number, &entry, out);
            }
        }
        DataType::Boolean => put_number(number, i64::from(column.as_boolean().value(row)), out),
        DataType::Int32 => put_number(number, i64::from(column.as_primitive::<Int32Type>().value(row)), out),
        DataType::Int64 => put_number(number, column.as_primitive::<Int64Type>().value(row), out),
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            if value.to_bits() != 0 {
                put_varint(number << 3 | 1, out);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        DataType::Utf8 if column.as_string::<i32>().value(row).is_empty() => {}
        DataType::Binary if column.as_binary::<i32>().value(row).is_empty() => {}
        _ => put_bytes(number, &body(column, row)?, out),
    }
    Ok(())
}

/// The content of a length-delimited value: text, bytes, or a message.
fn body(column: &ArrayRef, row: usize) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    if column.is_null(row) {
        return Ok(out);
    }
    match column.data_type() {
        DataType::Utf8 => out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => out.extend_from_slice(column.as_binary::<i32>().value(row)),
        DataType::Decimal128(p, s) => {
            let value = i256::from_i128(column.as_primitive::<Decimal128Type>().value(row));
            write_decimal(value, *p, *s, &mut out);
        }
        DataType::Decimal256(p, s) => {
            write_decimal(column.as_primitive::<Decimal256Type>().value(row), *p, *s, &mut out);
        }
        DataType::Date32 => {
            let (year, month, day) = calendar::from_days(column.as_primitive::<Date32Type>().value(row).into());
            if year < 1 {
                return Err("a DATE is before year 1, for which PROTOBUF has no place");
            }
            put_number(1, year, &mut out);
            put_number(2, month, &mut out);
            put_number(3, day, &mut out);
        }
        DataType::Time32(_) => {
            let ms = i64::from(column.as_primitive::<Time32MillisecondType>().value(row));
            put_number(1, ms / 3_600_000, &mut out);
            put_number(2, ms / 60_000 % 60, &mut out);
            put_number(3, ms / 1000 % 60, &mut out);
            put_number(4, ms % 1000 * 1_000_000, &mut out);
        }
        DataType::Timestamp(..) => {
            let ms = column.as_primitive::<TimestampMillisecondType>().value(row);
            if !SECONDS.contains(&ms.div_euclid(1000)) {
                return Err("a TIMESTAMP is outside of the years 1 to 9999, for which PROTOBUF has no place");
            }
            put_number(1, ms.div_euclid(1000), &mut out);
            put_number(2, ms.rem_euclid(1000) * 1_000_000, &mut out);
        }
        DataType::Struct(_) => write(column.as_struct().columns(), row, &mut out)?,
        _ => return Err("PROTOBUF has no message for a column's type"),
    }
    Ok(out)
}

fn write_decimal(value: i256, precision: u8, scale: i8, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let sign = if value < i256::ZERO { 0xFF } else { 0 };
    // The shortest two's complement that keeps the sign.
    let mut start = 0;
    while start < 31 && bytes[start] == sign && (bytes[start + 1] ^ sign) & 0x80 == 0 {
        start += 1;
    }
    put_bytes(1, &bytes[start..], out);
    put_number(2, i64::from(precision), out);
    put_number(3, i64::from(scale), out);
}
