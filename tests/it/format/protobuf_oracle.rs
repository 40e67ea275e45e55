//! The meaning of a PROTOBUF_NOSR payload once more, without a thought for speed: a tree of fields first, then the columns.
//!
//! The rules are those of Java's reader of messages with a schema that is known: a field of another wire type is not
//! this field, messages that come twice are merged, of scalars and of entries with one key the last counts.

use super::oracle::V;
use tidegate::types::{Column, SqlType};

/// Groups within groups that are followed.
const DEPTH_MAX: usize = 100;

/// A field's value.
#[derive(Clone, Debug)]
enum Part {
    Number(u64),
    Eight(u64),
    Bytes(Vec<u8>),
    /// A group or four bytes.
    Other,
}

type Parts = Vec<(u32, Part)>;

/// What a payload means.
pub(super) fn decode(payload: &[u8], columns: &[Column]) -> Result<Option<Vec<V>>, ()> {
    let types: Vec<&SqlType> = columns.iter().map(|c| &c.ty).collect();
    row(&types, payload).map(Some)
}

fn row(types: &[&SqlType], payload: &[u8]) -> Result<Vec<V>, ()> {
    let parts = parse(payload)?;
    types.iter().zip(1..).map(|(ty, number)| column(ty, &numbered(&parts, number))).collect()
}

fn numbered(parts: &Parts, number: u32) -> Vec<&Part> {
    parts.iter().filter(|(n, _)| *n == number).map(|(_, part)| part).collect()
}

fn parse(bytes: &[u8]) -> Result<Parts, ()> {
    let mut at = 0;
    let parts = until(bytes, &mut at, None, 0)?;
    assert_eq!(at, bytes.len());
    Ok(parts)
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, ()> {
    let mut value = 0u128;
    for place in 0..10 {
        let byte = *bytes.get(*at).ok_or(())?;
        *at += 1;
        value += u128::from(byte % 128) * 128u128.pow(place);
        if byte < 128 {
            return Ok(value as u64);
        }
    }
    Err(())
}

/// Fields up to the end of the bytes or of a group.
fn until(bytes: &[u8], at: &mut usize, group: Option<u32>, depth: usize) -> Result<Parts, ()> {
    let mut parts = vec![];
    loop {
        if *at == bytes.len() && group.is_none() {
            return Ok(parts);
        }
        let tag = varint(bytes, at)? as u32;
        let (number, kind) = (tag / 8, tag % 8);
        let mut take = |len: usize| {
            let taken = bytes.get(*at..*at + len).ok_or(())?;
            *at += len;
            Ok(taken)
        };
        let part = match kind {
            _ if number == 0 => return Err(()),
            0 => Part::Number(varint(bytes, at)?),
            1 => Part::Eight(u64::from_le_bytes(take(8)?.try_into().unwrap())),
            2 => {
                let len = varint(bytes, at)? as i32;
                let end = *at + usize::try_from(len).map_err(drop)?;
                let inner = bytes.get(*at..end).ok_or(())?.to_vec();
                *at = end;
                Part::Bytes(inner)
            }
            3 if depth < DEPTH_MAX => {
                until(bytes, at, Some(number), depth + 1)?;
                Part::Other
            }
            4 if group == Some(number) => return Ok(parts),
            5 => {
                take(4)?;
                Part::Other
            }
            _ => return Err(()),
        };
        parts.push((number, part));
    }
}

fn text(bytes: &[u8]) -> Result<String, ()> {
    String::from_utf8(bytes.to_vec()).map_err(drop)
}

/// The elements of a scalar that stand side by side.
fn side_by_side(ty: &SqlType, bytes: &[u8]) -> Result<Vec<Part>, ()> {
    if *ty == SqlType::Double {
        let whole = bytes.len().is_multiple_of(8);
        let eight = |b: &[u8]| Part::Eight(u64::from_le_bytes(b.try_into().unwrap()));
        return if whole { Ok(bytes.chunks(8).map(eight).collect()) } else { Err(()) };
    }
    let (mut at, mut parts) = (0, vec![]);
    while at < bytes.len() {
        parts.push(Part::Number(varint(bytes, &mut at)?));
    }
    Ok(parts)
}

fn column(ty: &SqlType, parts: &[&Part]) -> Result<V, ()> {
    match ty {
        SqlType::Array(item) => {
            let mut items = vec![];
            for part in parts {
                match (&**item, part) {
                    (SqlType::Boolean | SqlType::Integer | SqlType::Bigint | SqlType::Double, Part::Bytes(bytes)) => {
                        for part in side_by_side(item, bytes)? {
                            items.push(column(item, &[&part])?);
                        }
                    }
                    (item, part) if fits(item, part) => items.push(column(item, &[part])?),
                    _ => {}
                }
            }
            Ok(V::List(items))
        }
        SqlType::Map(_, value) => {
            let mut entries: Vec<(String, V)> = vec![];
            for part in parts {
                let Part::Bytes(bytes) = part else { continue };
                let entry = parse(bytes)?;
                let key = column(&SqlType::String, &numbered(&entry, 1))?;
                let V::Text(key) = key else { return Err(()) };
                let value = column(value, &numbered(&entry, 2))?;
                entries.retain(|(before, _)| *before != key);
                entries.push((key, value));
            }
            Ok(V::Map(entries))
        }
        SqlType::Boolean => Ok(V::Bool(number(parts) != 0)),
        SqlType::Integer => Ok(V::Int(i64::from(number(parts) as i32))),
        SqlType::Bigint => Ok(V::Int(number(parts) as i64)),
        SqlType::Double => {
            let eight = |part: &&Part| if let Part::Eight(bits) = part { Some(*bits) } else { None };
            Ok(V::Double(parts.iter().rev().find_map(eight).unwrap_or(0)))
        }
        SqlType::String => {
            let mut last = String::new();
            for part in parts {
                if let Part::Bytes(bytes) = part {
                    last = text(bytes)?;
                }
            }
            Ok(V::Text(last))
        }
        SqlType::Bytes => Ok(V::Bytes(all_bytes(parts).pop().unwrap_or_default())),
        _ => {
            let all = all_bytes(parts);
            if all.is_empty() { Ok(V::Null) } else { message(ty, &all.concat()) }
        }
    }
}

fn all_bytes(parts: &[&Part]) -> Vec<Vec<u8>> {
    parts.iter().filter_map(|part| if let Part::Bytes(bytes) = part { Some(bytes.clone()) } else { None }).collect()
}

fn fits(ty: &SqlType, part: &Part) -> bool {
    match part {
        Part::Number(_) => matches!(ty, SqlType::Boolean | SqlType::Integer | SqlType::Bigint),
        Part::Eight(_) => *ty == SqlType::Double,
        Part::Bytes(_) => !matches!(ty, SqlType::Boolean | SqlType::Integer | SqlType::Bigint | SqlType::Double),
        Part::Other => false,
    }
}

fn number(parts: &[&Part]) -> u64 {
    let number = |part: &&Part| if let Part::Number(n) = part { Some(*n) } else { None };
    parts.iter().rev().find_map(number).unwrap_or(0)
}

fn message(ty: &SqlType, bytes: &[u8]) -> Result<V, ()> {
    let parts = parse(bytes)?;
    let long = |n: u32| number(&numbered(&parts, n)) as i64;
    let int = |n: u32| i64::from(long(n) as i32);
    let nanos = |n: u32| (0..1_000_000_000).contains(&int(n)).then(|| int(n)).ok_or(());
    match ty {
        SqlType::Struct(fields) => row(&fields.iter().map(|(_, ty)| ty).collect::<Vec<_>>(), bytes).map(V::List),
        SqlType::Date => {
            let (year, month, day) = (int(1), u32::try_from(int(2)), u32::try_from(int(3)));
            // The calendar repeats itself every 400 years.
            let date =
                chrono::NaiveDate::from_ymd_opt(2000 + (year % 400) as i32, month.map_err(drop)?, day.map_err(drop)?);
            let near = date.ok_or(())?.signed_duration_since(chrono::NaiveDate::default()).num_days();
            let days = near + (year - (2000 + year % 400)) / 400 * 146_097;
            if year >= 1 && days <= i64::from(i32::MAX) { Ok(V::Int(days)) } else { Err(()) }
        }
        SqlType::Time => {
            let (h, m, s, n) = (int(1), int(2), int(3), nanos(4)?);
            let day = (0..24).contains(&h) && (0..60).contains(&m) && (0..60).contains(&s);
            if day || (h, m, s, n) == (24, 0, 0, 0) {
                Ok(V::Int(h * 3_600_000 + m * 60_000 + s * 1000 + n / 1_000_000))
            } else {
                Err(())
            }
        }
        SqlType::Timestamp => {
            let (first, last) = (-62_135_596_800, 253_402_300_799);
            let seconds = if (first..=last).contains(&long(1)) { long(1) } else { return Err(()) };
            Ok(V::Int(seconds * 1000 + nanos(2)? / 1_000_000))
        }
        SqlType::Decimal(precision, scale) => {
            let unscaled = all_bytes(&numbered(&parts, 1)).pop().unwrap_or_default();
            decimal(&unscaled, int(3), u32::from(*precision), i64::from(*scale)).map(|n| V::Decimal(n.to_string()))
        }
        _ => unreachable!("{ty} is no message"),
    }
}

/// The number as digits of this scale. More than 128 bits fit no column that is tried here.
fn decimal(bytes: &[u8], given: i64, precision: u32, scale: i64) -> Result<i128, ()> {
    let sign = if bytes.first().is_some_and(|b| *b >= 0x80) { 0xFF } else { 0 };
    let short: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == sign).collect();
    if short.len() > 15 {
        return Err(());
    }
    let mut wide = vec![sign; 16 - short.len()];
    wide.extend(short);
    let value = i128::from_be_bytes(wide.try_into().unwrap());
    let shift = scale - given;
    let power = 10i128.checked_pow(u32::try_from(shift.abs()).map_err(drop)?);
    let value = match power {
        _ if value == 0 => 0,
        Some(power) if shift >= 0 => value.checked_mul(power).ok_or(())?,
        Some(power) if value % power == 0 => value / power,
        _ => return Err(()),
    };
    if value.abs() < 10i128.pow(precision) { Ok(value) } else { Err(()) }
}
