//! Text. LEN counts UTF-16 code units as Java does; positions count characters, so that no character is ever cut in half.
//! The two differ only beyond U+FFFF.

use super::Param::Is;
use super::kernel::{Arg, Numbers, Texts, numbers, strings};
use super::{Entry, ErrorSink, Implementation, Overload, Param, Returns};
use crate::error::Result;
use crate::types::SqlType::{Bytes, Integer, String as Text};
use arrow::array::{AsArray, BinaryBuilder, ListBuilder, StringBuilder};
use arrow::datatypes::{Field, Int32Type};
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

const STRING: &str = "STRING";

/// Longest text that LPAD and RPAD make: a typing error must not fill the memory.
const PAD_LENGTH_MAX: usize = 1 << 20;

const fn overload(params: &'static [Param], implementation: Implementation) -> Overload {
    Overload { params, variadic: false, returns: Returns::Type(Text), can_fail: false, implementation }
}

const fn variadic(params: &'static [Param], implementation: Implementation) -> Overload {
    Overload { params, variadic: true, returns: Returns::Type(Text), can_fail: false, implementation }
}

const fn counting(params: &'static [Param], implementation: Implementation) -> Overload {
    Overload { params, variadic: false, returns: Returns::Type(Integer), can_fail: false, implementation }
}

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "UCASE",
        category: STRING,
        description: "Returns the text in upper case.",
        overloads: &[overload(&[Is(Text)], |args, rows, _| map(args, rows, |s, out| out.push_str(&s.to_uppercase())))],
    },
    Entry {
        name: "LCASE",
        category: STRING,
        description: "Returns the text in lower case.",
        overloads: &[overload(&[Is(Text)], |args, rows, _| map(args, rows, |s, out| out.push_str(&s.to_lowercase())))],
    },
    Entry {
        name: "TRIM",
        category: STRING,
        description: "Returns the text without blanks at both ends.",
        overloads: &[overload(&[Is(Text)], |args, rows, _| map(args, rows, |s, out| out.push_str(trimmed(s))))],
    },
    Entry {
        name: "LEN",
        category: STRING,
        description: "Returns the length of a text in UTF-16 code units, or of BYTES.",
        overloads: &[counting(&[Is(Text)], length), counting(&[Is(Bytes)], byte_length)],
    },
    Entry {
        name: "SUBSTRING",
        category: STRING,
        description: "Returns the part of a text from a position, counted from 1 or from the end if negative.",
        overloads: &[
            overload(&[Is(Text), Is(Integer)], substring),
            overload(&[Is(Text), Is(Integer), Is(Integer)], substring),
        ],
    },
    Entry {
        name: "CONCAT",
        category: STRING,
        description: "Joins the arguments; NULL counts as nothing.",
        overloads: &[
            variadic(&[Is(Text)], concat),
            Overload {
                params: &[Is(Bytes)],
                variadic: true,
                returns: Returns::Type(Bytes),
                can_fail: false,
                implementation: concat_bytes,
            },
        ],
    },
    Entry {
        name: "CONCAT_WS",
        category: STRING,
        description: "Joins the arguments after the first, which stands between them; NULLs are left out.",
        overloads: &[variadic(&[Is(Text), Is(Text)], concat_with_separator)],
    },
    Entry {
        name: "REPLACE",
        category: STRING,
        description: "Replaces every occurrence of the second argument by the third.",
        overloads: &[overload(&[Is(Text), Is(Text), Is(Text)], replace)],
    },
    Entry {
        name: "INSTR",
        category: STRING,
        description: "Returns the position of a text in another one, counted from 1; 0 if it does not occur.",
        overloads: &[
            counting(&[Is(Text), Is(Text)], position),
            counting(&[Is(Text), Is(Text), Is(Integer)], position),
            counting(&[Is(Text), Is(Text), Is(Integer), Is(Integer)], position),
        ],
    },
    Entry {
        name: "LPAD",
        category: STRING,
        description: "Fills the text up to a length from the left, or cuts it.",
        overloads: &[overload(&[Is(Text), Is(Integer), Is(Text)], |args, rows, _| pad(args, rows, true))],
    },
    Entry {
        name: "RPAD",
        category: STRING,
        description: "Fills the text up to a length from the right, or cuts it.",
        overloads: &[overload(&[Is(Text), Is(Integer), Is(Text)], |args, rows, _| pad(args, rows, false))],
    },
    Entry {
        name: "SPLIT",
        category: STRING,
        description: "Returns the parts of a text between the separators; an empty separator splits into characters.",
        overloads: &[Overload {
            params: &[Is(Text), Is(Text)],
            variadic: false,
            returns: Returns::Strings,
            can_fail: false,
            implementation: split,
        }],
    },
];

fn map(args: &[ColumnarValue], rows: usize, f: impl Fn(&str, &mut String)) -> Result<ColumnarValue> {
    let texts = Texts::new(args, 0)?;
    strings(rows, |row, out| texts.get(row).map(|s| f(s, out)).is_some())
}

/// Java's `trim`: everything up to the blank counts as white.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn length(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let texts = Texts::new(args, 0)?;
    numbers::<Int32Type>(rows, |row| Some(texts.get(row)?.chars().map(char::len_utf16).sum::<usize>() as i32))
}

fn byte_length(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let arg = Arg::new(args, 0)?;
    let bytes = arg.array().as_binary::<i32>();
    numbers::<Int32Type>(rows, |row| (!arg.is_null(row)).then(|| bytes.value(arg.place(row)).len() as i32))
}

/// The byte offset of a character.
fn offset(text: &str, chars: usize) -> usize {
    if text.is_ascii() {
        return chars.min(text.len());
    }
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

fn substring(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, starts) = (Texts::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?);
    let lengths = if args.len() > 2 { Some(Numbers::<Int32Type>::new(args, 2)?) } else { None };
    strings(rows, |row, out| {
        let (Some(text), Some(start)) = (texts.get(row), starts.get(row)) else { return false };
        let length = match &lengths {
            None => i64::MAX,
            Some(lengths) => match lengths.get(row) {
                Some(length) => i64::from(length).max(0),
                None => return false,
            },
        };
        let count = text.chars().count() as i64;
        // Position 0 is the first character, as 1 is.
        let start = if start < 0 { count + i64::from(start) } else { i64::from(start) - 1 };
        let start = start.clamp(0, count);
        let end = start.saturating_add(length).min(count);
        out.push_str(&text[offset(text, start as usize)..offset(text, end as usize)]);
        true
    })
}

fn texts(args: &[ColumnarValue], from: usize) -> Result<Vec<Texts>> {
    (from..args.len()).map(|i| Texts::new(args, i)).collect()
}

fn concat(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let parts = texts(args, 0)?;
    strings(rows, |row, out| {
        parts.iter().filter_map(|p| p.get(row)).for_each(|s| out.push_str(s));
        true
    })
}

fn concat_bytes(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let parts = (0..args.len()).map(|i| Arg::new(args, i)).collect::<Result<Vec<_>>>()?;
    let mut out = BinaryBuilder::new();
    let mut bytes = vec![];
    for row in 0..rows {
        bytes.clear();
        for part in parts.iter().filter(|p| !p.is_null(row)) {
            bytes.extend_from_slice(part.array().as_binary::<i32>().value(part.place(row)));
        }
        out.append_value(&bytes);
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}

fn concat_with_separator(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (separators, parts) = (Texts::new(args, 0)?, texts(args, 1)?);
    strings(rows, |row, out| {
        let Some(separator) = separators.get(row) else { return false };
        for (i, part) in parts.iter().filter_map(|p| p.get(row)).enumerate() {
            out.push_str(if i > 0 { separator } else { "" });
            out.push_str(part);
        }
        true
    })
}

fn replace(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let parts = texts(args, 0)?;
    strings(rows, |row, out| {
        let (Some(text), Some(old), Some(new)) = (parts[0].get(row), parts[1].get(row), parts[2].get(row)) else {
            return false;
        };
        out.push_str(&text.replace(old, new));
        true
    })
}

fn position(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, wanted) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let number = |i: usize| if args.len() > i { Numbers::<Int32Type>::new(args, i).map(Some) } else { Ok(None) };
    let (starts, occurrences) = (number(2)?, number(3)?);
    let at = |numbers: &Option<Numbers<Int32Type>>, row| numbers.as_ref().map_or(Some(1), |n| n.get(row));
    numbers::<Int32Type>(rows, |row| {
        let (text, wanted) = (texts.get(row)?, wanted.get(row)?);
        let (start, occurrence) = (at(&starts, row)?, at(&occurrences, row)?);
        Some(find(text, wanted, start, occurrence).map_or(0, |at| text[..at].chars().count() as i32 + 1))
    })
}

/// The byte offset of the n-th occurrence; a negative start searches backwards from the end.
fn find(text: &str, wanted: &str, start: i32, occurrence: i32) -> Option<usize> {
    let nth = usize::try_from(occurrence).ok()?.checked_sub(1)?;
    let starts = |at: &usize| text[*at..].starts_with(wanted);
    let offsets = text.char_indices().map(|(at, _)| at);
    if start >= 0 {
        let first = offset(text, (start as usize).saturating_sub(1));
        return offsets.filter(|at| *at >= first).filter(starts).nth(nth);
    }
    let count = text.chars().count();
    let last = offset(text, count.checked_sub(start.unsigned_abs() as usize)?);
    offsets.filter(|at| *at <= last).filter(starts).collect::<Vec<_>>().into_iter().rev().nth(nth)
}

fn pad(args: &[ColumnarValue], rows: usize, left: bool) -> Result<ColumnarValue> {
    let (texts, lengths, fillers) = (Texts::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?, Texts::new(args, 2)?);
    strings(rows, |row, out| {
        let (Some(text), Some(length), Some(filler)) = (texts.get(row), lengths.get(row), fillers.get(row)) else {
            return false;
        };
        let Ok(length) = usize::try_from(length) else { return false };
        if filler.is_empty() || length > PAD_LENGTH_MAX {
            return false;
        }
        let missing = length.saturating_sub(text.chars().count());
        let fill = filler.chars().cycle().take(missing);
        if left {
            out.extend(fill);
            out.push_str(&text[..offset(text, length - missing)]);
        } else {
            out.push_str(&text[..offset(text, length - missing)]);
            out.extend(fill);
        }
        true
    })
}

fn split(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, separators) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let item = Field::new("item", arrow::datatypes::DataType::Utf8, true);
    let mut out = ListBuilder::new(StringBuilder::new()).with_field(item);
    for row in 0..rows {
        let (Some(text), Some(separator)) = (texts.get(row), separators.get(row)) else {
            out.append_null();
            continue;
        };
        match separator {
            "" => text.chars().for_each(|c| out.values().append_value(c.encode_utf8(&mut [0; 4]))),
            separator => text.split(separator).for_each(|part| out.values().append_value(part)),
        }
        out.append(true);
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}
