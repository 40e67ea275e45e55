//! The meaning of a JSON payload once more, from a tree that serde_json made, without a thought for speed.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use serde_json::Value;
use std::collections::HashMap;
use tidegate::types::decimal_text::DecimalText;
use tidegate::types::{Column, SqlType};

/// A value, comparable.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum V {
    Null,
    Bool(bool),
    Int(i64),
    /// Bits of a DOUBLE.
    Double(u64),
    /// Unscaled digits.
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<V>),
    Map(Vec<(String, V)>),
}

/// A column's values.
pub(super) fn values(array: &ArrayRef, ty: &SqlType) -> Vec<V> {
    assert_eq!(array.data_type(), &ty.arrow());
    (0..array.len()).map(|row| value(array, ty, row)).collect()
}

fn value(array: &ArrayRef, ty: &SqlType, row: usize) -> V {
    if array.is_null(row) {
        return V::Null;
    }
    match ty {
        SqlType::Boolean => V::Bool(array.as_boolean().value(row)),
        SqlType::Integer => V::Int(array.as_primitive::<Int32Type>().value(row).into()),
        SqlType::Bigint => V::Int(array.as_primitive::<Int64Type>().value(row)),
        SqlType::Double => V::Double(array.as_primitive::<Float64Type>().value(row).to_bits()),
        SqlType::Decimal(p, _) if *p <= 38 => V::Decimal(array.as_primitive::<Decimal128Type>().value(row).to_string()),
        SqlType::Decimal(..) => V::Decimal(array.as_primitive::<Decimal256Type>().value(row).to_string()),
        SqlType::String => V::Text(array.as_string::<i32>().value(row).to_owned()),
        SqlType::Bytes => V::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        SqlType::Date => V::Int(array.as_primitive::<Date32Type>().value(row).into()),
        SqlType::Time => V::Int(array.as_primitive::<Time32MillisecondType>().value(row).into()),
        SqlType::Timestamp => V::Int(array.as_primitive::<TimestampMillisecondType>().value(row)),
        SqlType::Array(item) => V::List(values(&array.as_list::<i32>().value(row), item)),
        SqlType::Map(_, v) => {
            let entries = array.as_map().value(row);
            let keys = entries.column(0).as_string::<i32>();
            let values = values(entries.column(1), v);
            V::Map(keys.iter().map(|k| k.unwrap().to_owned()).zip(values).collect())
        }
        SqlType::Struct(fields) => {
            let columns = array.as_struct().columns();
            V::List(fields.iter().zip(columns).map(|((_, ty), c)| value(c, ty, row)).collect())
        }
    }
}

/// What a payload means: `Err` = bad, `None` = no image.
pub(super) fn decode(payload: &[u8], columns: &[Column]) -> Result<Option<Vec<V>>, ()> {
    match serde_json::Deserializer::from_slice(payload).into_iter::<Value>().next() {
        Some(Ok(Value::Null)) => Ok(None),
        Some(Ok(tree)) => {
            let fields: Vec<(&str, &SqlType)> = columns.iter().map(|c| (c.name.as_str(), &c.ty)).collect();
            members(&tree, &fields).ok_or(()).map(Some)
        }
        _ => Err(()),
    }
}

fn members(tree: &Value, fields: &[(&str, &SqlType)]) -> Option<Vec<V>> {
    let object = tree.as_object()?;
    let upper: HashMap<String, &Value> = object.iter().map(|(name, v)| (name.to_uppercase(), v)).collect();
    let find = |name: &str| object.get(name).or_else(|| upper.get(name).copied()).unwrap_or(&Value::Null);
    fields.iter().map(|(name, ty)| convert(find(name), ty)).collect()
}

/// What a value means in a column of this type.
pub(super) fn convert(v: &Value, ty: &SqlType) -> Option<V> {
    if v.is_null() {
        return Some(V::Null);
    }
    Some(match ty {
        SqlType::Boolean => V::Bool(v.as_bool()?),
        SqlType::Integer => match v {
            Value::String(text) => V::Int(text.parse::<i32>().ok()?.into()),
            _ => V::Int((long(v)? as i32).into()),
        },
        SqlType::Bigint | SqlType::Timestamp => V::Int(long(v)?),
        SqlType::Date => V::Int(i32::try_from(long(v)?).ok()?.into()),
        SqlType::Time => V::Int(Some(long(v)?).filter(|ms| (0..=86_400_000).contains(ms))?),
        SqlType::Double => V::Double(double(v)?.to_bits()),
        SqlType::Decimal(p, s) => V::Decimal(decimal(v, *p, *s)?),
        SqlType::String => V::Text(text(v)?),
        SqlType::Bytes => V::Bytes(base64(v.as_str()?)?),
        SqlType::Array(item) => V::List(v.as_array()?.iter().map(|v| convert(v, item)).collect::<Option<_>>()?),
        SqlType::Map(_, item) => {
            let entries = v.as_object()?.iter().map(|(name, v)| Some((name.clone(), convert(v, item)?)));
            V::Map(entries.collect::<Option<_>>()?)
        }
        SqlType::Struct(fields) => {
            let fields: Vec<(&str, &SqlType)> = fields.iter().map(|(n, t)| (n.as_str(), t)).collect();
            V::List(members(v, &fields)?)
        }
    })
}

/// Sign, all digits, and how many of them stand before the point.
fn digits(number: &str) -> Option<(bool, Vec<u8>, i64)> {
    let (negative, rest) = number.strip_prefix('-').map_or((false, number), |r| (true, r));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat().into_bytes();
    Some((negative, all, whole.len() as i64 + exponent))
}

fn long(v: &Value) -> Option<i64> {
    match v {
        Value::String(text) => text.parse().ok(),
        Value::Number(n) => {
            let (negative, all, whole) = digits(n.as_str())?;
            // 10^64 and more change none of the low 64 bits.
            let places = (0..whole.min(all.len() as i64 + 64)).map(|i| all.get(i as usize).map_or(0, |c| c - b'0'));
            let v = places.fold(0i64, |v, digit| v.wrapping_mul(10).wrapping_add(digit.into()));
            Some(if negative { v.wrapping_neg() } else { v })
        }
        _ => None,
    }
}

fn double(v: &Value) -> Option<f64> {
    match v {
        Value::String(text) => match text.trim_matches(|c| c <= ' ') {
            plain if plain.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'-' | b'+')) => {
                plain.parse().ok()
            }
            _ => tidegate::types::java_double::parse_java_double(text),
        },
        Value::Number(n) => {
            let v: f64 = n.as_str().parse().ok()?;
            let zero = digits(n.as_str())?.1.iter().all(|c| *c == b'0');
            Some(if zero { 0.0 } else { v })
        }
        _ => None,
    }
}

fn decimal(v: &Value, precision: u8, scale: i8) -> Option<String> {
    let (negative, all, whole) = match v {
        Value::Number(n) => digits(n.as_str())?,
        Value::String(text) => digits(text.strip_prefix('+').unwrap_or(text))?,
        _ => return None,
    };
    if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let lead = all.iter().take_while(|c| **c == b'0').count();
    if lead == all.len() {
        return Some("0".to_owned());
    }
    let (all, places) = (&all[lead..], whole - lead as i64 + i64::from(scale));
    if places > precision.into() || places <= 0 || all.iter().skip(places as usize).any(|c| *c != b'0') {
        return None;
    }
    let unscaled: String = (0..places).map(|i| all.get(i as usize).map_or('0', |c| char::from(*c))).collect();
    Some(if negative { format!("-{unscaled}") } else { unscaled })
}

fn text(v: &Value) -> Option<String> {
    Some(match v {
        Value::String(text) => text.clone(),
        Value::Bool(b) => b.to_string(),
        Value::Null => "null".to_owned(),
        Value::Number(n) => number_text(n.as_str())?,
        Value::Array(items) => {
            let texts = items.iter().map(text).collect::<Option<Vec<_>>>()?;
            format!("[{}]", texts.join(", "))
        }
        Value::Object(_) => json_text(v)?,
    })
}

fn number_text(n: &str) -> Option<String> {
    if !n.contains(['e', 'E', '.']) {
        return Some(if n == "-0" { "0".to_owned() } else { n.to_owned() });
    }
    let mut out = vec![];
    DecimalText::parse(n.as_bytes())?.write(&mut out);
    String::from_utf8(out).ok()
}

fn json_text(v: &Value) -> Option<String> {
    Some(match v {
        Value::Number(n) => number_text(n.as_str())?,
        Value::Array(items) => {
            let texts = items.iter().map(json_text).collect::<Option<Vec<_>>>()?;
            format!("[{}]", texts.join(","))
        }
        Value::Object(object) => {
            let member = |(name, v): (&String, &Value)| Some(format!("{}:{}", quote(name), json_text(v)?));
            let texts = object.iter().map(member).collect::<Option<Vec<_>>>()?;
            format!("{{{}}}", texts.join(","))
        }
        Value::String(text) => quote(text),
        other => other.to_string(),
    })
}

/// Jackson's hexadecimal digits are upper case.
fn quote(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let mut out = String::new();
    let mut rest = quoted.as_str();
    while let Some(at) = rest.find('\\') {
        let len = if rest[at + 1..].starts_with('u') { 6 } else { 2 };
        out.push_str(&rest[..at]);
        out.push_str(&rest[at..at + len].to_uppercase().replacen('U', "u", 1));
        if len == 2 {
            out.truncate(out.len() - 2);
            out.push_str(&rest[at..at + 2]);
        }
        rest = &rest[at + len..];
    }
    out + rest
}

/// Bit by bit.
/// By Jackson's rule: padded groups of four, which may go on behind a padded one, with blanks between groups.
fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let lenient = base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let (mut rest, mut bytes) = (text.as_bytes(), vec![]);
    loop {
        rest = &rest[rest.iter().take_while(|c| **c <= b' ').count()..];
        if rest.is_empty() {
            return Some(bytes);
        }
        let (group, after) = rest.split_at_checked(4)?;
        bytes.extend(engine.decode(group).ok()?);
        rest = after;
    }
}
