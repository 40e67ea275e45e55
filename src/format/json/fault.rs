//! The message about a payload that could not be decoded: which column, which type it has, and where the payload has another
//! value. It is composed only for bad records, and without the record's data.
//!
//! ```text
//! {"A":{"B":[1,"x"]}}     column `A`->`B`[2]: the text at byte 13 is no INTEGER
//! ```

use super::scan::{Fault, blank, name, next, skip};
use crate::format::Bad;
use crate::types::{SqlType, quoted};
use std::fmt::Write;

/// The message for a bad record. `root` is the expected type of the payload: a STRUCT of the columns, or the type of the only
/// column with its name.
pub(super) fn bad(fault: Fault, d: &[u8], root: &SqlType, bare: Option<&str>) -> Bad {
    let at = match fault {
        Fault::Syntax(at) => return Bad { reason: format!("the payload is not valid JSON at byte {at}") },
        Fault::Twice => return Bad { reason: "a member came twice".to_owned() },
        Fault::Type(at) => at as usize,
    };
    let mut path = bare.map_or_else(String::new, quoted);
    let ty = descend(d, at, root, &mut path);
    let at = blank(d, at);
    let kind = match d.get(at) {
        Some(b'"') => "text",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'-' | b'0'..=b'9') => "number",
        _ => "value",
    };
    let wanted = match ty {
        SqlType::Array(_) => "ARRAY".to_owned(),
        SqlType::Map(..) => "MAP".to_owned(),
        SqlType::Struct(_) => "STRUCT".to_owned(),
        scalar => scalar.to_string(),
    };
    Bad { reason: format!("column {path}: the {kind} at byte {at} is no {wanted}") }
}

/// The expected type at `at`, and the path to it from the payload's value, as far as both are known.
fn descend<'a>(d: &[u8], at: usize, root: &'a SqlType, path: &mut String) -> &'a SqlType {
    let (mut ty, mut i) = (root, blank(d, 0));
    while i < at {
        let Some((part, value)) = part_at(d, i, at) else { break };
        ty = match (ty, part) {
            (SqlType::Struct(fields), Part::Member(name)) => {
                let named = |wanted: &str| fields.iter().find(|(field, _)| field == wanted);
                let Some((field, ty)) = named(&name).or_else(|| named(&name.to_uppercase())) else { break };
                let arrow = if path.is_empty() { "" } else { "->" };
                let _ = write!(path, "{arrow}{}", quoted(field));
                ty
            }
            (SqlType::Array(item), Part::Item(n)) => {
                let _ = write!(path, "[{n}]");
                item
            }
            // A key is data.
            (SqlType::Map(_, value), Part::Member(_)) => {
                path.push_str("[..]");
                value
            }
            _ => break,
        };
        i = value;
    }
    ty
}

/// One step into an object or an array.
enum Part {
    Member(String),
    /// Counted from 1, as in SQL.
    Item(usize),
}

/// The part of the value at `i` that contains `at`, and the position of that part's value.
fn part_at(d: &[u8], i: usize, at: usize) -> Option<(Part, usize)> {
    let (close, mut i) = match d.get(i)? {
        b'{' => (b'}', blank(d, i + 1)),
        b'[' => (b']', blank(d, i + 1)),
        _ => return None,
    };
    for n in 1.. {
        let (part, value) = match close {
            b'}' => {
                let (value, raw) = name(d, i).ok()?;
                let mut text = Vec::new();
                super::escape::unescape(raw, &mut text);
                (Part::Member(String::from_utf8_lossy(&text).into_owned()), value)
            }
            _ => (Part::Item(n), i),
        };
        let end = skip(d, value).ok()?;
        if (value..end).contains(&at) {
            return Some((part, value));
        }
        let (then, more) = next(d, end, close).ok()?;
        if !more {
            return None;
        }
        i = then;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(payload: &str, ty: &SqlType, wrong: &str) -> String {
        let at = payload.find(wrong).unwrap() as u32;
        bad(Fault::Type(at), payload.as_bytes(), ty, None).reason
    }

    #[test]
    fn the_way_to_a_value_is_told_without_data() {
        let fields = |list: &[(&str, SqlType)]| {
            SqlType::Struct(list.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect())
        };
        let items = SqlType::Array(Box::new(SqlType::Decimal(4, 2)));
        let map = SqlType::Map(Box::new(SqlType::String), Box::new(fields(&[("x", items)])));
        let root = fields(&[("A", SqlType::Integer), ("M", map)]);
        assert_eq!(told(r#"{"z":[1], "a": "x"}"#, &root, "\"x"), "column `A`: the text at byte 15 is no INTEGER");
        assert_eq!(
            told(r#"{"m" : {"k":{}, "secret":{"x" :[1, 2, true]}}}"#, &root, "true"),
            "column `M`[..]->`x`[3]: the boolean at byte 38 is no DECIMAL(4, 2)"
        );
        assert_eq!(told(r#"{"M":[7]}"#, &root, "["), "column `M`: the array at byte 5 is no MAP");
        let bare = bad(Fault::Type(1), b" {}", &SqlType::Date, Some("K"));
        assert_eq!(bare.reason, "column `K`: the object at byte 1 is no DATE");
    }
}
