//! LIKE, and how EXPLAIN prints a literal.

use crate::error::{Error, Result};
use crate::functions::bounded::sizes::repeated;
use crate::types::display::write_value;
use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use std::fmt;

/// Which rows are LIKE the pattern; NULL on either side is false.
pub(super) fn like(
    value: &ColumnarValue,
    pattern: &ColumnarValue,
    escape: Option<char>,
    rows: usize,
) -> Result<BooleanBuffer> {
    let wrong = || Error::bug("LIKE on something that is no STRING");
    let value = repeated(value.clone(), rows)?;
    let value = value.as_string_opt::<i32>().ok_or_else(wrong)?;
    if let ColumnarValue::Scalar(scalar) = pattern {
        let ScalarValue::Utf8(Some(text)) = scalar else { return Ok(BooleanBuffer::new_unset(rows)) };
        let pattern = Pattern::new(text, escape);
        return Ok(BooleanBuffer::collect_bool(rows, |i| value.is_valid(i) && pattern.matches(value.value(i))));
    }
    let patterns = repeated(pattern.clone(), rows)?;
    let patterns = patterns.as_string_opt::<i32>().ok_or_else(wrong)?;
    Ok(BooleanBuffer::collect_bool(rows, |i| {
        value.is_valid(i) && patterns.is_valid(i) && Pattern::new(patterns.value(i), escape).matches(value.value(i))
    }))
}

/// A LIKE pattern. `%` and `_` are Java's `.*` and `.`, which do not match line ends.
struct Pattern {
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    AnyOne,
    AnyMany,
}

impl Pattern {
    fn new(text: &str, escape: Option<char>) -> Pattern {
        let mut parts = vec![];
        let mut chars = text.chars();
        let literal = |parts: &mut Vec<Part>, c: char| match parts.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => parts.push(Part::Text(c.to_string())),
        };
        while let Some(c) = chars.next() {
            match c {
                c if Some(c) == escape => literal(&mut parts, chars.next().unwrap_or(c)),
                '%' if matches!(parts.last(), Some(Part::AnyMany)) => {}
                '%' => parts.push(Part::AnyMany),
                '_' => parts.push(Part::AnyOne),
                c => literal(&mut parts, c),
            }
        }
        Pattern { parts }
    }

    /// Wildcards are matched with one step back: to the last `%`, which then takes one character more.
    fn matches(&self, text: &str) -> bool {
        let (mut part, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let rest = &text[at..];
            let step = match self.parts.get(part) {
                None if rest.is_empty() => return true,
                None => None,
                Some(Part::AnyMany) => {
                    retry = Some((part + 1, at));
                    Some(0)
                }
                Some(Part::AnyOne) => rest.chars().next().filter(|c| !is_line_end(*c)).map(char::len_utf8),
                Some(Part::Text(t)) => rest.starts_with(t.as_str()).then_some(t.len()),
            };
            match (step, retry) {
                (Some(step), _) => (part, at) = (part + 1, at + step),
                (None, None) => return false,
                (None, Some((after, from))) => match text[from..].chars().next() {
                    Some(c) if !is_line_end(c) => {
                        let from = from + c.len_utf8();
                        retry = Some((after, from));
                        (part, at) = (after, from);
                    }
                    _ => return false,
                },
            }
        }
    }
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A literal as it is written in SQL.
pub(super) fn write_literal(f: &mut fmt::Formatter<'_>, value: &ScalarValue) -> fmt::Result {
    match value {
        v if v.is_null() => f.write_str("null"),
        ScalarValue::Utf8(Some(text)) => write!(f, "'{}'", text.replace('\'', "''")),
        ScalarValue::Boolean(Some(b)) => write!(f, "{b}"),
        other => match other.to_array() {
            Ok(array) => {
                let mut text = String::new();
                write_value(&array, 0, &mut text);
                f.write_str(&text)
            }
            Err(_) => write!(f, "{other}"),
        },
    }
}
