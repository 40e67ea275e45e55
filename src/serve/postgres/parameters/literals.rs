//! Values of parameters as literals: never as they came. Numbers are read first, texts are quoted.

use crate::serve::postgres::errors::{BAD_VALUE, Failure};
use crate::serve::postgres::messages::Encoding;
use crate::serve::postgres::types::{ARRAYS, EPOCH_DAYS, oid, read_numeric, sql_type};
use crate::types::SqlType;
use crate::types::temporal::{DAY_MS, date_text, timestamp_text};

/// A value as a literal.
pub(in crate::serve::postgres) fn literal(
    ty: u32,
    encoding: Encoding,
    value: Option<&[u8]>,
) -> Result<String, Failure> {
    let Some(value) = value else {
        return Ok(match sql_type(ty) {
            Some(ty) if !matches!(ty, SqlType::Array(_)) => format!("CAST(NULL AS {ty})"),
            _ => "NULL".to_owned(),
        });
    };
    match encoding {
        Encoding::Text => {
            let text = std::str::from_utf8(value).map_err(|_| wrong(ty, "text that is not UTF8"))?;
            text_literal(ty, text)
        }
        Encoding::Binary => binary_literal(ty, value),
    }
}

fn wrong(ty: u32, value: &str) -> Failure {
    let name = sql_type(ty).map_or_else(|| format!("type {ty}"), |ty| ty.to_string());
    Failure::new(BAD_VALUE, format!("invalid input for {name}: \"{value}\""))
}

/// A value in single quotes.
pub(in crate::serve) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A negative number is put into parentheses: behind a minus it would begin a comment.
pub(in crate::serve) fn number(text: &str) -> String {
    if text.starts_with('-') { format!("({text})") } else { text.to_owned() }
}

pub(in crate::serve) fn double(value: f64) -> String {
    match value.is_finite() {
        true => number(&format!("{value:E}")),
        false => format!(
            "CAST('{}' AS DOUBLE)",
            if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            }
        ),
    }
}

fn text_literal(ty: u32, text: &str) -> Result<String, Failure> {
    let trimmed = text.trim();
    let invalid = || wrong(ty, text);
    Ok(match ty {
        oid::BOOL => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "y" | "yes" | "on" => "TRUE".to_owned(),
            "f" | "false" | "0" | "n" | "no" | "off" => "FALSE".to_owned(),
            _ => return Err(invalid()),
        },
        oid::INT2 | oid::INT4 => number(&trimmed.parse::<i32>().map_err(|_| invalid())?.to_string()),
        oid::INT8 | oid::OID => number(&trimmed.parse::<i64>().map_err(|_| invalid())?.to_string()),
        oid::FLOAT4 | oid::FLOAT8 => double(trimmed.parse().map_err(|_| invalid())?),
        oid::NUMERIC => decimal(trimmed).ok_or_else(invalid)?,
        oid::BYTEA => {
            let hex = trimmed.strip_prefix("\\x").filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
            bytes(hex.ok_or_else(invalid)?)
        }
        oid::TIMESTAMP | oid::TIMESTAMPTZ => quoted(&instant(trimmed).ok_or_else(invalid)?),
        _ => match element_of(ty) {
            Some(element) => {
                let items = array_items(trimmed).ok_or_else(invalid)?;
                let each = items.iter().map(|item| match item {
                    Some(item) => text_literal(element, item),
                    None => Ok("NULL".to_owned()),
                });
                format!("ARRAY[{}]", each.collect::<Result<Vec<_>, _>>()?.join(", "))
            }
            None => quoted(text),
        },
    })
}

fn element_of(ty: u32) -> Option<u32> {
    let known = ARRAYS.iter().find(|(_, array)| *array == ty).map(|(element, _)| *element);
    known.or_else(|| [1015, 1002, 1003].contains(&ty).then_some(oid::TEXT))
}

pub(in crate::serve) fn bytes(hex: &str) -> String {
    format!("TO_BYTES('{hex}', 'hex')")
}

/// A decimal as a literal: digits, and a point.
fn decimal(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && digits != ".";
    match plain {
        true => Some(number(text.strip_prefix('+').unwrap_or(text))),
        // With an exponent, or NaN.
        false => text.parse().ok().map(double),
    }
}

/// An instant in UTC, as the engine's literals have it.
pub(in crate::serve::postgres) fn instant(text: &str) -> Option<String> {
    let forms = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    let zoned = forms.iter().find_map(|form| chrono::DateTime::parse_from_str(text, form).ok());
    let zoned = zoned.map(|at| at.timestamp_millis());
    let plain = || {
        let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let text = text.trim_end_matches(" UTC").trim_end_matches('Z');
        let at = forms.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(text, form).ok());
        let day = || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        at.or_else(day).map(|at| at.and_utc().timestamp_millis())
    };
    zoned.or_else(plain).map(timestamp_text)
}

/// The elements of `{a,"b c",NULL}`; arrays inside are not supported.
pub(in crate::serve::postgres) fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let (mut items, mut item, mut was_quoted) = (Vec::new(), String::new(), false);
    let mut chars = inner.chars();
    if inner.is_empty() {
        return Some(items);
    }
    let finished = |item: &mut String, was_quoted: &mut bool| {
        let quoted = std::mem::take(was_quoted);
        let text = std::mem::take(item);
        if !quoted && text.eq_ignore_ascii_case("null") { None } else { Some(text) }
    };
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' => return None,
            ',' => items.push(finished(&mut item, &mut was_quoted)),
            '\\' => item.push(chars.next()?),
            '"' => {
                was_quoted = true;
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => item.push(chars.next()?),
                        c => item.push(c),
                    }
                }
            }
            c => item.push(c),
        }
    }
    items.push(finished(&mut item, &mut was_quoted));
    Some(items)
}

fn binary_literal(ty: u32, value: &[u8]) -> Result<String, Failure> {
    let invalid = || wrong(ty, "binary data of another length");
    let eight = || value.try_into().map(i64::from_be_bytes).map_err(|_| invalid());
    let four = || value.try_into().map(i32::from_be_bytes).map_err(|_| invalid());
    Ok(match ty {
        oid::BOOL => match value {
            [0] => "FALSE".to_owned(),
            [1] => "TRUE".to_owned(),
            _ => return Err(invalid()),
        },
        oid::INT2 => number(&value.try_into().map(i16::from_be_bytes).map_err(|_| invalid())?.to_string()),
        oid::INT4 => number(&four()?.to_string()),
        oid::OID => (four()? as u32).to_string(),
        oid::INT8 => number(&eight()?.to_string()),
        oid::FLOAT4 => double(f64::from(f32::from_bits(four()? as u32))),
        oid::FLOAT8 => double(f64::from_bits(eight()? as u64)),
        oid::NUMERIC => decimal(&read_numeric(value).ok_or_else(invalid)?).ok_or_else(invalid)?,
        oid::BYTEA => bytes(&value.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        oid::DATE => quoted(&date_text(four()?.saturating_add(EPOCH_DAYS))),
        oid::TIME => {
            let ms = eight()? / 1000;
            let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
            format!("'{hours:02}:{minutes:02}:{seconds:02}.{:03}'", ms.rem_euclid(1000))
        }
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let ms = eight()?.div_euclid(1000).saturating_add(i64::from(EPOCH_DAYS) * DAY_MS);
            quoted(&timestamp_text(ms))
        }
        oid::JSONB => match value.split_first() {
            Some((1, text)) => quoted(std::str::from_utf8(text).map_err(|_| invalid())?),
            _ => return Err(invalid()),
        },
        _ => match element_of(ty) {
            Some(_) => binary_array(value).ok_or_else(invalid)??,
            None => quoted(std::str::from_utf8(value).map_err(|_| invalid())?),
        },
    })
}

/// An array of one dimension; `None` = the bytes are none.
fn binary_array(value: &[u8]) -> Option<Result<String, Failure>> {
    let word = |at: usize| Some(i32::from_be_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let (dimensions, element) = (word(0)?, word(8)? as u32);
    if dimensions == 0 {
        return Some(Ok("ARRAY[]".to_owned()));
    }
    let (count, mut at, mut items) = (word(12)?, 20, Vec::new());
    if dimensions != 1 {
        return None;
    }
    for _ in 0..count {
        let length = word(at)?;
        at += 4;
        let item = match usize::try_from(length) {
            Err(_) => None,
            Ok(length) => {
                let item = value.get(at..at.checked_add(length)?)?;
                at += length;
                Some(item)
            }
        };
        match literal(element, Encoding::Binary, item) {
            Ok(item) => items.push(item),
            Err(failure) => return Some(Err(failure)),
        }
    }
    Some(Ok(format!("ARRAY[{}]", items.join(", "))))
}

/// A value of a type, for planning a statement whose values are not known.
pub(in crate::serve) fn sample(ty: u32) -> String {
    match ty {
        oid::BOOL => "FALSE".to_owned(),
        oid::INT2 | oid::INT4 => "0".to_owned(),
        oid::INT8 | oid::OID => "CAST(0 AS BIGINT)".to_owned(),
        oid::FLOAT4 | oid::FLOAT8 => "0E0".to_owned(),
        oid::NUMERIC => "0.0".to_owned(),
        oid::BYTEA => bytes(""),
        oid::DATE => "'1970-01-01'".to_owned(),
        oid::TIME => "'00:00:00'".to_owned(),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => "'1970-01-01T00:00:00.000'".to_owned(),
        other => match element_of(other) {
            Some(element) => format!("ARRAY[{}]", sample(element)),
            None => "''".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_literals_that_cannot_break_out() {
        let text = |ty, value: &str| literal(ty, Encoding::Text, Some(value.as_bytes())).map_err(|f| f.state.0);
        assert_eq!(text(oid::TEXT, "it's"), Ok("'it''s'".to_owned()));
        assert_eq!(text(0, "1; DROP"), Ok("'1; DROP'".to_owned()));
        assert_eq!(text(oid::INT4, "-5"), Ok("(-5)".to_owned()));
        assert_eq!(text(oid::INT4, "1 OR 1=1"), Err("22P02"));
        assert_eq!(text(oid::NUMERIC, "1.50"), Ok("1.50".to_owned()));
        assert_eq!(text(oid::NUMERIC, "1e3"), Ok("1E3".to_owned()));
        assert_eq!(text(oid::NUMERIC, "1)--"), Err("22P02"));
        assert_eq!(text(oid::BOOL, "t"), Ok("TRUE".to_owned()));
        assert_eq!(text(oid::BYTEA, "\\x0aff"), Ok("TO_BYTES('0aff', 'hex')".to_owned()));
        assert_eq!(text(oid::TIMESTAMPTZ, "2026-11-30 09:00:00.5+09"), Ok("'2026-11-30T00:00:00.500'".to_owned()));
        assert_eq!(text(1009, "{a,\"b,'\",NULL}"), Ok("ARRAY['a', 'b,''', NULL]".to_owned()));
        assert_eq!(literal(oid::INT8, Encoding::Text, None).unwrap(), "CAST(NULL AS BIGINT)");
        let binary = |ty, value: &[u8]| literal(ty, Encoding::Binary, Some(value)).map_err(|f| f.state.0);
        assert_eq!(binary(oid::INT8, &(-1_i64).to_be_bytes()), Ok("(-1)".to_owned()));
        assert_eq!(binary(oid::INT8, &[1]), Err("22P02"));
        assert_eq!(binary(oid::FLOAT8, &1.5_f64.to_be_bytes()), Ok("1.5E0".to_owned()));
        assert_eq!(binary(oid::TIMESTAMPTZ, &1_000_i64.to_be_bytes()), Ok("'2000-01-01T00:00:00.001'".to_owned()));
        assert_eq!(binary(1007, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7f, 0xff, 0xff, 0xff]), Err("22P02"));
    }
}
