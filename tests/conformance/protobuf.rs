//! PROTOBUF_NOSR records of the cases: JSON to bytes and back by the wire format's own rules, without the engine's codec.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tidegate::error::{Error, Result};
use tidegate::types::temporal::{date_text, parse_date};
use tidegate::types::{Column, SqlType};

type Fields<'a> = Vec<(u64, Wire<'a>)>;

#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

/// A message of these columns; names are compared without case.
pub(crate) fn encode(columns: &[Column], value: &Value) -> Result<Vec<u8>> {
    let fields: Vec<(String, SqlType)> = columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
    message(&fields, value).ok_or_else(|| Error::data("a case's value is no message of its columns"))
}

fn message(fields: &[(String, SqlType)], value: &Value) -> Option<Vec<u8>> {
    let object = value.as_object()?;
    let mut out = Vec::new();
    for (i, (name, ty)) in fields.iter().enumerate() {
        let found = object.iter().find(|(n, v)| n.eq_ignore_ascii_case(name) && !v.is_null());
        if let Some((_, value)) = found {
            field(i as u64 + 1, ty, value, &mut out)?;
        }
    }
    Some(out)
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).or_else(|| Some(value.as_f64()? as i64))
}

fn number(number: u64, value: i64, out: &mut Vec<u8>) {
    varint(number << 3, out);
    varint(value as u64, out);
}

/// Fields of whole numbers, from 1 on.
fn numbers(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().enumerate().for_each(|(i, v)| number(i as u64 + 1, *v, &mut out));
    out
}

fn field(n: u64, ty: &SqlType, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match ty {
        SqlType::Boolean => number(n, i64::from(value.as_bool()?), out),
        SqlType::Integer | SqlType::Bigint => number(n, whole(value)?, out),
        SqlType::Double => {
            varint(n << 3 | 1, out);
            out.extend_from_slice(&value.as_f64()?.to_le_bytes());
        }
        SqlType::String => bytes(n, value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_bytes(), out),
        SqlType::Bytes => bytes(n, &STANDARD.decode(value.as_str()?).ok()?, out),
        SqlType::Decimal(p, s) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |d| (-1, d));
            let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
            let unscaled: i128 = format!("{whole}{part:0<width$}", width = *s as usize).parse().ok()?;
            let mut inner = Vec::new();
            bytes(1, &(unscaled * sign).to_be_bytes(), &mut inner);
            number(2, i64::from(*p), &mut inner);
            number(3, i64::from(*s), &mut inner);
            bytes(n, &inner, out);
        }
        SqlType::Date => {
            let text = date_text(whole(value)? as i32);
            let parts: Vec<i64> = text.split('-').map(|p| p.parse().ok()).collect::<Option<_>>()?;
            bytes(n, &numbers(&parts), out);
        }
        SqlType::Time => {
            let ms = whole(value)?;
            let parts = [ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000 * 1_000_000];
            bytes(n, &numbers(&parts), out);
        }
        SqlType::Timestamp => {
            let ms = whole(value)?;
            bytes(n, &numbers(&[ms.div_euclid(1000), ms.rem_euclid(1000) * 1_000_000]), out);
        }
        SqlType::Array(item) => value.as_array()?.iter().try_for_each(|v| field(n, item, v, out))?,
        SqlType::Map(key, item) => value.as_object()?.iter().try_for_each(|(k, v)| {
            let mut entry = Vec::new();
            field(1, key, &json!(k), &mut entry)?;
            if !v.is_null() {
                field(2, item, v, &mut entry)?;
            }
            bytes(n, &entry, out);
            Some(())
        })?,
        SqlType::Struct(fields) => bytes(n, &message(fields, value)?, out),
    }
    Some(())
}

/// The message as a tree; `None` = it is none.
pub(crate) fn decode(columns: &[Column], payload: &[u8]) -> Option<Value> {
    let fields: Vec<(String, SqlType)> = columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
    tree(&fields, payload)
}

fn read_varint(d: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
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

fn read(mut d: &[u8]) -> Option<Fields<'_>> {
    let mut out = Vec::new();
    while !d.is_empty() {
        let tag = read_varint(&mut d)?;
        let value = match tag & 7 {
            0 => Wire::Number(read_varint(&mut d)?),
            1 => {
                let (bytes, rest) = d.split_first_chunk::<8>()?;
                d = rest;
                Wire::Double(f64::from_le_bytes(*bytes))
            }
            2 => {
                let length = read_varint(&mut d)? as usize;
                let (bytes, rest) = d.split_at_checked(length)?;
                d = rest;
                Wire::Bytes(bytes)
            }
            _ => return None,
        };
        out.push((tag >> 3, value));
    }
    Some(out)
}

fn tree(fields: &[(String, SqlType)], payload: &[u8]) -> Option<Value> {
    let found = read(payload)?;
    let mut object = Map::new();
    for (i, (name, ty)) in fields.iter().enumerate() {
        let values: Vec<Wire<'_>> = found.iter().filter(|(n, _)| *n == i as u64 + 1).map(|(_, v)| *v).collect();
        object.insert(name.clone(), value(ty, &values)?);
    }
    Some(Value::Object(object))
}

fn parts(payload: &[u8]) -> Option<[i64; 4]> {
    let mut out = [0; 4];
    for (n, value) in read(payload)? {
        if let Wire::Number(v) = value {
            *out.get_mut(n as usize - 1)? = v as i64;
        }
    }
    Some(out)
}

fn value(ty: &SqlType, values: &[Wire<'_>]) -> Option<Value> {
    Some(match (ty, values.last()) {
        (SqlType::Array(item), _) => {
            let mut items = Vec::new();
            for one in values {
                match (&**item, one) {
                    (SqlType::Boolean | SqlType::Integer | SqlType::Bigint, Wire::Bytes(packed)) => {
                        let mut rest = *packed;
                        while !rest.is_empty() {
                            items.push(value(item, &[Wire::Number(read_varint(&mut rest)?)])?);
                        }
                    }
                    (SqlType::Double, Wire::Bytes(packed)) => {
                        for eight in packed.chunks_exact(8) {
                            items.push(json!(f64::from_le_bytes(eight.try_into().ok()?)));
                        }
                    }
                    (_, one) => items.push(value(item, &[*one])?),
                }
            }
            Value::Array(items)
        }
        (SqlType::Map(_, item), _) => {
            let mut object = Map::new();
            for one in values {
                let Wire::Bytes(entry) = one else { return None };
                let pair = tree(&[("K".to_owned(), SqlType::String), ("V".to_owned(), (**item).clone())], entry)?;
                object.insert(pair["K"].as_str()?.to_owned(), pair["V"].clone());
            }
            Value::Object(object)
        }
        (SqlType::Boolean, None) => json!(false),
        (SqlType::Integer | SqlType::Bigint, None) => json!(0),
        (SqlType::Double, None) => json!(0.0),
        (SqlType::String, None) => json!(""),
        (_, None) => Value::Null,
        (SqlType::Boolean, Some(Wire::Number(n))) => json!(*n != 0),
        (SqlType::Integer, Some(Wire::Number(n))) => json!(*n as i32),
        (SqlType::Bigint, Some(Wire::Number(n))) => json!(*n as i64),
        (SqlType::Double, Some(Wire::Double(d))) => json!(d),
        (SqlType::String, Some(Wire::Bytes(b))) => json!(std::str::from_utf8(b).ok()?),
        (SqlType::Bytes, Some(Wire::Bytes(b))) => json!(STANDARD.encode(b)),
        (SqlType::Struct(fields), Some(Wire::Bytes(b))) => tree(fields, b)?,
        (SqlType::Timestamp, Some(Wire::Bytes(b))) => {
            let [seconds, nanos, ..] = parts(b)?;
            json!(seconds * 1000 + nanos / 1_000_000)
        }
        (SqlType::Time, Some(Wire::Bytes(b))) => {
            let [h, m, s, nanos] = parts(b)?;
            json!(((h * 60 + m) * 60 + s) * 1000 + nanos / 1_000_000)
        }
        (SqlType::Date, Some(Wire::Bytes(b))) => {
            let [y, m, d, _] = parts(b)?;
            json!(parse_date(&format!("{y:04}-{m:02}-{d:02}"))?)
        }
        (SqlType::Decimal(_, scale), Some(Wire::Bytes(b))) => {
            let unscaled = read(b)?.iter().find_map(|(n, v)| match (n, v) {
                (1, Wire::Bytes(b)) => Some(*b),
                _ => None,
            })?;
            let negative = unscaled.first().is_some_and(|b| b & 0x80 != 0);
            let number = unscaled.iter().fold(if negative { -1i128 } else { 0 }, |v, b| v << 8 | i128::from(*b));
            let scale = *scale as usize;
            let digits = format!("{:0width$}", number.unsigned_abs(), width = scale + 1);
            let (whole, part) = digits.split_at(digits.len() - scale);
            let sign = if number < 0 { "-" } else { "" };
            let text = if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") };
            serde_json::from_str(&text).ok()?
        }
        _ => return None,
    })
}
