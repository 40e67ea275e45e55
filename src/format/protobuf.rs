//! PROTOBUF_NOSR: a message whose fields are the columns, numbered from 1, without any schema beside it.
//!
//! ```text
//! BOOLEAN bool   INTEGER int32   BIGINT int64   DOUBLE double   STRING string   BYTES bytes
//! DECIMAL    { bytes value = 1; uint32 precision = 2; int32 scale = 3 }     value: two's complement, high byte first
//! DATE       { int32 year = 1; int32 month = 2; int32 day = 3 }
//! TIME       { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4 }
//! TIMESTAMP  { int64 seconds = 1; int32 nanos = 2 }
//! ARRAY repeated   MAP repeated { key = 1; value = 2 }   STRUCT a message
//! ```
//!
//! There is no NULL for scalars: what is missing is 0, false or empty. A message that is missing is NULL. An element of an ARRAY
//! cannot be missing: a row with such a NULL is not written.
//!
//! A single column that stands alone is a message all the same: a DECIMAL, DATE, TIME, TIMESTAMP or STRUCT its own, any other
//! scalar one of Google's wrappers (`StringValue` and so on), which have it as field 1, as a row of one column has. What is
//! gained is a NULL, which is a null payload then.

use super::Bad;
use super::cells::{Cells, Data};
use crate::error::{Error, Result};
use crate::types::{Column, SqlType, temporal::DAY_MS};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};
use chrono::{Datelike, NaiveDate, TimeDelta};

/// Reads payloads into columns.
#[derive(Debug)]
pub(super) struct Reader {
    cells: Vec<Cells>,
    /// The payload is the one column's own message.
    own_message: bool,
}

impl Reader {
    /// `columns` with whether each is read; `alone`: the one column stands without a row around it.
    pub(super) fn new(columns: &[(&Column, bool)], alone: bool) -> Reader {
        let cells = columns.iter().map(|(c, keep)| Cells::new(&c.ty, *keep)).collect();
        Reader { cells, own_message: alone && columns.iter().all(|(c, _)| has_own_message(&c.ty)) }
    }

    /// Appends row number `rows`. On `Err` nothing is appended.
    pub(super) fn push(&mut self, payload: &[u8], rows: usize) -> Result<(), Bad> {
        let read = match (self.own_message, self.cells.as_mut_slice()) {
            (true, [cells]) => one(cells, Wire::Bytes(payload)),
            (_, cells) => message(cells, payload),
        };
        if read.is_none() {
            self.truncate(rows);
            return Err(Bad { reason: "the payload is no message of these columns".to_owned() });
        }
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        self.cells.iter_mut().for_each(Cells::push_null);
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.cells.iter_mut().for_each(|c| c.truncate(rows));
    }

    /// The column of declared index `column`.
    pub(super) fn finish(&mut self, column: usize) -> ArrayRef {
        self.cells[column].finish()
    }
}

/// Is a value of this type a message, and no scalar of the wire format?
fn has_own_message(ty: &SqlType) -> bool {
    match ty {
        SqlType::Decimal(..) | SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::Struct(_) => true,
        SqlType::Boolean | SqlType::Integer | SqlType::Bigint | SqlType::Double => false,
        SqlType::String | SqlType::Bytes | SqlType::Array(_) | SqlType::Map(..) => false,
    }
}

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

fn varint(d: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = d.split_first()?;
        *d = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Number and value of every field, in order.
fn fields(mut d: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut out = Vec::new();
    while !d.is_empty() {
        let tag = varint(&mut d)?;
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut d)?),
            1 => {
                let (bytes, rest) = d.split_first_chunk::<8>()?;
                d = rest;
                Wire::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(varint(&mut d)?).ok()?;
                let (bytes, rest) = d.split_at_checked(length)?;
                d = rest;
                Wire::Bytes(bytes)
            }
            5 => {
                d = d.get(4..)?;
                Wire::Fixed32
            }
            _ => return None,
        };
        out.push((tag >> 3, value));
    }
    Some(out)
}

/// Appends a message's fields to its columns.
fn message(cells: &mut [Cells], payload: &[u8]) -> Option<()> {
    let fields = fields(payload)?;
    for (i, cells) in cells.iter_mut().enumerate() {
        let values: Vec<Wire<'_>> = fields.iter().filter(|(n, _)| *n == i as u64 + 1).map(|(_, v)| *v).collect();
        field(cells, &values)?;
    }
    Some(())
}

/// Appends one field that was found these times.
fn field(cells: &mut Cells, values: &[Wire<'_>]) -> Option<()> {
    match &mut cells.data {
        Data::Array { ends, items } => {
            for value in values {
                match (value, packed(&items.data)) {
                    (Wire::Bytes(bytes), Some(fixed)) => {
                        let mut rest = *bytes;
                        while !rest.is_empty() {
                            let value = match fixed {
                                true => {
                                    let (bytes, after) = rest.split_first_chunk::<8>()?;
                                    rest = after;
                                    Wire::Fixed64(u64::from_le_bytes(*bytes))
                                }
                                false => Wire::Varint(varint(&mut rest)?),
                            };
                            one(items, value)?;
                        }
                    }
                    (value, _) => one(items, *value)?,
                }
            }
            ends.push(items.len() as i32);
        }
        Data::Map { ends, keys, values: cells } => {
            for value in values {
                let Wire::Bytes(bytes) = value else { return None };
                let entry = fields(bytes)?;
                let key = entry.iter().rev().find(|(n, _)| *n == 1);
                match key {
                    Some((_, Wire::Bytes(key))) => keys.push(std::str::from_utf8(key).ok()?.as_bytes()),
                    None => keys.push(b""),
                    Some(_) => return None,
                }
                let values: Vec<Wire<'_>> = entry.iter().filter(|(n, _)| *n == 2).map(|(_, v)| *v).collect();
                field(cells, &values)?;
            }
            ends.push(keys.len() as i32);
        }
        _ => match values.last() {
            Some(value) => return one(cells, *value),
            None => absent(cells),
        },
    }
    if !cells.keep {
        cells.truncate(0);
    }
    Some(())
}

/// Elements of this type may stand side by side: eight bytes each (`true`) or as varints.
fn packed(data: &Data) -> Option<bool> {
    match data {
        Data::Double(_) => Some(true),
        Data::Boolean(_) | Data::Integer(_) | Data::Bigint(_) => Some(false),
        _ => None,
    }
}

/// A scalar that is missing has its default, a message is NULL.
fn absent(cells: &mut Cells) {
    match &mut cells.data {
        Data::Boolean(v) => v.push(false),
        Data::Integer(v) => v.push(0),
        Data::Bigint(v) => v.push(0),
        Data::Double(v) => v.push(0.0),
        Data::String(v) | Data::Bytes(v) => v.close(),
        _ => cells.push_null(),
    }
}

/// Appends one value that is there.
fn one(cells: &mut Cells, value: Wire<'_>) -> Option<()> {
    match (&mut cells.data, value) {
        (Data::Boolean(v), Wire::Varint(n)) => v.push(n != 0),
        (Data::Integer(v), Wire::Varint(n)) => v.push(n as i32),
        (Data::Bigint(v), Wire::Varint(n)) => v.push(n as i64),
        (Data::Double(v), Wire::Fixed64(n)) => v.push(f64::from_bits(n)),
        (Data::String(v), Wire::Bytes(b)) => v.push(std::str::from_utf8(b).ok()?.as_bytes()),
        (Data::Bytes(v), Wire::Bytes(b)) => v.push(b),
        (Data::Decimal { values, scale, .. }, Wire::Bytes(b)) => values.push(decimal(b, *scale)?.to_i128()?),
        (Data::WideDecimal { values, scale, .. }, Wire::Bytes(b)) => values.push(decimal(b, *scale)?),
        (Data::Date(v), Wire::Bytes(b)) => {
            let [year, month, day] = numbers(b)?;
            let date = NaiveDate::from_ymd_opt(year as i32, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?;
            v.push(i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()?);
        }
        (Data::Time(v), Wire::Bytes(b)) => {
            let [hours, minutes, seconds, nanos] = numbers(b)?;
            let ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + nanos / 1_000_000;
            v.push(i32::try_from(ms).ok().filter(|ms| (0..=DAY_MS).contains(&i64::from(*ms)))?);
        }
        (Data::Timestamp(v), Wire::Bytes(b)) => {
            let [seconds, nanos] = numbers(b)?;
            v.push(seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)?);
        }
        (Data::Struct { fields, rows }, Wire::Bytes(b)) => {
            *rows += 1;
            message(fields, b)?;
        }
        _ => return None,
    }
    if !cells.keep {
        cells.truncate(0);
    }
    Some(())
}

/// The first fields of a message, all of whole numbers.
fn numbers<const N: usize>(bytes: &[u8]) -> Option<[i64; N]> {
    let mut out = [0; N];
    for (number, value) in fields(bytes)? {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        if let (Some(slot), Wire::Varint(n)) = (out.get_mut(place), value) {
            *slot = n as i64;
        }
    }
    Some(out)
}

/// A DECIMAL message whose scale is the column's.
fn decimal(bytes: &[u8], scale: i8) -> Option<i256> {
    let fields = fields(bytes)?;
    let given = fields.iter().rev().find_map(|(n, v)| if let (3, Wire::Varint(s)) = (n, v) { Some(*s) } else { None });
    if given.unwrap_or(0) as i64 != i64::from(scale) {
        return None;
    }
    let value = fields.iter().rev().find_map(|(n, v)| if let (1, Wire::Bytes(b)) = (n, v) { Some(*b) } else { None });
    let value = value.unwrap_or_default();
    if value.len() > 32 {
        return None;
    }
    let mut wide = [if value.first().is_some_and(|b| b & 0x80 != 0) { 0xFF } else { 0 }; 32];
    wide[32 - value.len()..].copy_from_slice(value);
    Some(i256::from_be_bytes(wide))
}

/// Appends one row's message.
pub(super) fn write(columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<()> {
    for (i, column) in columns.iter().enumerate() {
        write_field(i as u64 + 1, column, row, out)?;
    }
    Ok(())
}

/// Is there an ARRAY in this type?
pub(super) fn has_lists(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(_) => true,
        SqlType::Map(_, value) => has_lists(value),
        SqlType::Struct(fields) => fields.iter().any(|(_, ty)| has_lists(ty)),
        _ => false,
    }
}

/// Does an ARRAY in this value hold a NULL?
pub(super) fn has_null_item(column: &ArrayRef, row: usize) -> bool {
    if column.is_null(row) {
        return false;
    }
    match column.data_type() {
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            items.null_count() > 0 || (0..items.len()).any(|i| has_null_item(&items, i))
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            (0..entries.len()).any(|i| has_null_item(entries.column(1), i))
        }
        DataType::Struct(_) => column.as_struct().columns().iter().any(|c| has_null_item(c, row)),
        _ => false,
    }
}

/// Appends the one value of a row, which is not NULL, without a row around it.
pub(super) fn write_alone(column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
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

/// A field of a whole number; 0 is left out.
fn put_number(number: u64, value: i64, out: &mut Vec<u8>) {
    if value != 0 {
        put_varint(number << 3, out);
        put_varint(value as u64, out);
    }
}

fn write_field(number: u64, column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
    if column.is_null(row) {
        return Ok(());
    }
    match column.data_type() {
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
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

/// What stands behind the length of a value: text, bytes, or a message.
fn body(column: &ArrayRef, row: usize) -> Result<Vec<u8>> {
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
            let days = TimeDelta::days(i64::from(column.as_primitive::<Date32Type>().value(row)));
            let date = NaiveDate::default().checked_add_signed(days).unwrap_or_default();
            put_number(1, i64::from(date.year()), &mut out);
            put_number(2, i64::from(date.month()), &mut out);
            put_number(3, i64::from(date.day()), &mut out);
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
            put_number(1, ms.div_euclid(1000), &mut out);
            put_number(2, ms.rem_euclid(1000) * 1_000_000, &mut out);
        }
        DataType::Struct(_) => write(column.as_struct().columns(), row, &mut out)?,
        other => return Err(Error::bug(format!("PROTOBUF has no message for {other}"))),
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
