//! Fields to columns, as a Protobuf reader with the columns' schema decodes them (Protocol Buffers, Encoding, "Last One Wins").
//!
//! A field of another wire type than its column's counts as missing. The last of repeated scalars counts; repeated messages are
//! merged; the last of a MAP's entries with one key counts.

use super::SECONDS;
use super::wire::{Wire, each, varint};
use crate::format::cells::{Cells, Data};
use crate::types::calendar;
use crate::types::decimal_text::DecimalText;
use crate::types::temporal::DAY_MS;
use arrow::array::ArrowNativeTypeOp;
use arrow::datatypes::i256;
use std::collections::HashMap;

/// Nanoseconds of a second, an exclusive limit.
const SECOND_NANOS: i64 = 1_000_000_000;

/// Why a payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not a message.
    Message,
    /// A field has no valid value for the column of this index.
    Field(usize),
}

/// A field with its number.
type Found<'a> = (u32, Wire<'a>);

/// Appends a message to its columns. On `Err` they contain parts of it.
pub(super) fn message(cells: &mut [Cells], payload: &[u8]) -> Result<(), Fault> {
    let found = fields(payload, |place| cells.get(place).map(|c| &c.data)).ok_or(Fault::Message)?;
    let mut rest = found.as_slice();
    for (i, cells) in cells.iter_mut().enumerate() {
        let count = rest.iter().take_while(|(number, _)| *number as usize == i + 1).count();
        let (own, others) = rest.split_at(count);
        rest = others;
        field(cells, own).ok_or(Fault::Field(i))?;
    }
    Ok(())
}

/// Appends the unwrapped column whose own message the payload is.
pub(super) fn alone(cells: &mut Cells, payload: &[u8]) -> Result<(), Fault> {
    each(payload, |_, _| Some(())).ok_or(Fault::Message)?;
    single(cells, Wire::Bytes(payload)).ok_or(Fault::Field(0))
}

/// The fields of the columns, by number; those of one number in the order of the message.
fn fields<'a, 'c>(payload: &'a [u8], column: impl Fn(usize) -> Option<&'c Data>) -> Option<Vec<Found<'a>>> {
    let mut found = Vec::new();
    each(payload, |number, value| {
        if column(number as usize - 1).is_some_and(|data| takes(data, value)) {
            found.push((number, value));
        }
        Some(())
    })?;
    if !found.is_sorted_by_key(|(number, _)| *number) {
        found.sort_by_key(|(number, _)| *number);
    }
    Some(found)
}

/// Whether it has the column's wire type.
fn takes(data: &Data, value: Wire<'_>) -> bool {
    match (data, value) {
        (Data::Array { items, .. }, Wire::Bytes(_)) => takes(&items.data, value) || packed(&items.data).is_some(),
        (Data::Array { items, .. }, _) => takes(&items.data, value),
        (Data::Boolean(_) | Data::Integer(_) | Data::Bigint(_), value) => matches!(value, Wire::Varint(_)),
        (Data::Double(_), value) => matches!(value, Wire::Fixed64(_)),
        (_, value) => matches!(value, Wire::Bytes(_)),
    }
}

/// Elements of this type may be packed: eight bytes each (`true`) or as varints.
fn packed(data: &Data) -> Option<bool> {
    match data {
        Data::Double(_) => Some(true),
        Data::Boolean(_) | Data::Integer(_) | Data::Bigint(_) => Some(false),
        _ => None,
    }
}

/// Appends one field from its occurrences.
fn field(cells: &mut Cells, found: &[Found<'_>]) -> Option<()> {
    match &mut cells.data {
        Data::Array { ends, items } => {
            for (_, value) in found {
                match (value, packed(&items.data)) {
                    (Wire::Bytes(bytes), Some(fixed)) => unpack(items, fixed, bytes)?,
                    (value, _) => single(items, *value)?,
                }
            }
            ends.push(items.len() as i32);
        }
        Data::Map { .. } => entries(cells, found)?,
        Data::String(_) => {
            let (last, before) = match found.split_last() {
                Some(((_, last), before)) => (*last, before),
                None => (Wire::Bytes(b""), found),
            };
            before.iter().try_for_each(|(_, value)| text(*value).map(drop))?;
            return single(cells, last);
        }
        _ => match found {
            [] => absent(cells),
            [(_, value)] => return single(cells, *value),
            [.., (_, last)] if !is_message(&cells.data) => return single(cells, *last),
            _ => {
                let bytes = |(_, value): &Found<'_>| if let Wire::Bytes(b) = value { b.to_vec() } else { vec![] };
                return single(cells, Wire::Bytes(&found.iter().flat_map(bytes).collect::<Vec<u8>>()));
            }
        },
    }
    if !cells.keep {
        cells.truncate(0);
    }
    Some(())
}

fn is_message(data: &Data) -> bool {
    matches!(
        data,
        Data::Decimal { .. }
            | Data::WideDecimal { .. }
            | Data::Struct { .. }
            | Data::Date(_)
            | Data::Time(_)
            | Data::Timestamp(_)
    )
}

/// Appends packed elements.
fn unpack(items: &mut Cells, fixed: bool, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        let value = match fixed {
            true => {
                let (eight, rest) = bytes.split_first_chunk::<8>()?;
                bytes = rest;
                Wire::Fixed64(u64::from_le_bytes(*eight))
            }
            false => Wire::Varint(varint(&mut bytes)?),
        };
        single(items, value)?;
    }
    Some(())
}

/// Appends a MAP.
fn entries(cells: &mut Cells, found: &[Found<'_>]) -> Option<()> {
    let Data::Map { ends, keys, values } = &mut cells.data else { return None };
    let mut entries: Vec<(&str, Vec<Found<'_>>)> = Vec::with_capacity(found.len());
    for (_, entry) in found {
        let Wire::Bytes(bytes) = entry else { return None };
        let (mut key, mut value) = ("", Vec::new());
        each(bytes, |number, part| {
            match (number, part) {
                (1, Wire::Bytes(_)) => key = text(part)?,
                (2, part) if takes(&values.data, part) => value.push((number, part)),
                _ => {}
            }
            Some(())
        })?;
        entries.push((key, value));
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    if entries.len() > 1 {
        last.extend(entries.iter().enumerate().map(|(i, (key, _))| (*key, i)));
    }
    let repeated = entries.len() > 1 && last.len() < entries.len();
    for (i, (key, value)) in entries.iter().enumerate() {
        if repeated && last[key] != i {
            // It is ignored, but has to be valid.
            let from = values.len();
            field(values, value)?;
            values.truncate(from);
            continue;
        }
        keys.push(key.as_bytes());
        field(values, value)?;
    }
    ends.push(keys.len() as i32);
    Some(())
}

/// A missing scalar has its default, a missing message is NULL.
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

fn text(value: Wire<'_>) -> Option<&str> {
    let Wire::Bytes(bytes) = value else { return None };
    simdutf8::basic::from_utf8(bytes).ok()
}

/// Appends one present value.
fn single(cells: &mut Cells, value: Wire<'_>) -> Option<()> {
    match (&mut cells.data, value) {
        (Data::Boolean(v), Wire::Varint(n)) => v.push(n != 0),
        (Data::Integer(v), Wire::Varint(n)) => v.push(n as i32),
        (Data::Bigint(v), Wire::Varint(n)) => v.push(n as i64),
        (Data::Double(v), Wire::Fixed64(n)) => v.push(f64::from_bits(n)),
        (Data::String(v), value) => v.push(text(value)?.as_bytes()),
        (Data::Bytes(v), Wire::Bytes(b)) => v.push(b),
        (Data::Decimal { values, precision, scale }, Wire::Bytes(b)) => {
            values.push(decimal(b, *precision, *scale)?.to_i128()?);
        }
        (Data::WideDecimal { values, precision, scale }, Wire::Bytes(b)) => {
            values.push(decimal(b, *precision, *scale)?);
        }
        (Data::Date(v), Wire::Bytes(b)) => {
            let [year, month, day] = numbers(b)?.map(|n| i64::from(n as i32));
            let known = year >= 1;
            let days = known.then(|| calendar::to_days(year, month, day)).flatten()?;
            v.push(i32::try_from(days).ok()?);
        }
        (Data::Time(v), Wire::Bytes(b)) => v.push(time(b)?),
        (Data::Timestamp(v), Wire::Bytes(b)) => {
            let [seconds, nanos] = numbers(b)?;
            let nanos = i64::from(nanos as i32);
            let valid = SECONDS.contains(&seconds) && (0..SECOND_NANOS).contains(&nanos);
            v.push(valid.then(|| seconds * 1000 + nanos / 1_000_000)?);
        }
        (Data::Struct { fields, rows }, Wire::Bytes(b)) => {
            *rows += 1;
            message(fields, b).ok()?;
        }
        _ => return None,
    }
    if !cells.keep {
        cells.truncate(0);
    }
    Some(())
}

/// Milliseconds of the day. 24:00 is a TIME as well.
fn time(bytes: &[u8]) -> Option<i32> {
    let [hours, minutes, seconds, nanos] = numbers(bytes)?.map(|n| i64::from(n as i32));
    let in_range = (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    let ms = in_range.then(|| ((hours * 60 + minutes) * 60 + seconds) * 1000)?;
    let nanos = (0..SECOND_NANOS).contains(&nanos).then_some(nanos)?;
    let last = ms < DAY_MS || ms == DAY_MS && nanos == 0;
    last.then_some((ms + nanos / 1_000_000) as i32)
}

/// The first fields of a message of integers.
fn numbers<const N: usize>(bytes: &[u8]) -> Option<[i64; N]> {
    let mut out = [0; N];
    each(bytes, |number, value| {
        if let (Some(slot), Wire::Varint(n)) = (out.get_mut(number as usize - 1), value) {
            *slot = n as i64;
        }
        Some(())
    })?;
    Some(out)
}

/// A DECIMAL message that fits without rounding.
fn decimal(bytes: &[u8], precision: u8, scale: i8) -> Option<i256> {
    let (mut unscaled, mut given): (&[u8], i32) = (&[], 0);
    each(bytes, |number, value| {
        match (number, value) {
            (1, Wire::Bytes(b)) => unscaled = b,
            (3, Wire::Varint(n)) => given = n as i32,
            _ => {}
        }
        Some(())
    })?;
    let sign = if unscaled.first().is_some_and(|b| b & 0x80 != 0) { 0xFF } else { 0 };
    let more = unscaled.len().saturating_sub(32);
    if unscaled[..more].iter().any(|b| *b != sign) || more > 0 && (unscaled[more] ^ sign) & 0x80 != 0 {
        return None;
    }
    let (unscaled, mut wide) = (&unscaled[more..], [sign; 32]);
    wide[32 - unscaled.len()..].copy_from_slice(unscaled);
    let value = i256::from_be_bytes(wide);
    if value == i256::ZERO {
        return Some(value);
    }
    if given == i32::from(scale) && value.checked_abs()? < i256::from_i128(10).pow_wrapping(u32::from(precision)) {
        return Some(value);
    }
    DecimalText::parse(format!("{value}e{}", -i64::from(given)).as_bytes())?.unscaled(precision, scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SqlType;

    fn date(bytes: &[u8]) -> Option<i32> {
        let mut cells = Cells::new(&SqlType::Date, true);
        single(&mut cells, Wire::Bytes(bytes))?;
        let Data::Date(days) = &cells.data else { return None };
        days.last().copied()
    }

    #[test]
    fn a_clock_of_absurd_numbers_is_no_time() {
        // hours = 2^62: the fuzz found an overflow here.
        assert_eq!(time(b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x40"), Some(0), "an int32 has the low bits only");
        assert_eq!(time(b"\x08\x80\x80\x80\x80\x07"), None);
        assert_eq!(time(b"\x08\x18"), Some(86_400_000));
        assert_eq!(time(b"\x08\x18\x20\x01"), None);
        assert_eq!(time(b"\x10\x3c"), None);
    }

    #[test]
    fn a_date_needs_all_its_parts() {
        assert_eq!(date(b"\x08\xe8\x0f\x10\x02\x18\x1d"), Some(19_782));
        assert_eq!(date(b""), None);
        assert_eq!(date(b"\x08\xe8\x0f"), None);
    }

    #[test]
    fn a_decimal_has_its_own_scale() {
        assert_eq!(decimal(b"\x0a\x01\x0f\x18\x01", 4, 2), Some(i256::from_i128(150)));
        assert_eq!(decimal(b"\x0a\x02\x03\xe9\x18\x03", 4, 2), None, "1.001 would be rounded");
        assert_eq!(decimal(b"\x0a\x03\x01\x86\xa0\x18\x02", 4, 2), None, "1000.00 has six digits");
        assert_eq!(decimal(b"", 4, 2), Some(i256::ZERO));
    }
}
