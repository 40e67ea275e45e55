//! Text. Lengths and positions count UTF-16 units, as ksqlDB's do: see `utf16`.

use super::Param::Is;
use super::kernel::{Arg, Blobs, Numbers, REPLACED_BYTES_MAX, Texts, blobs, list, numbers, strings, text_lists};
use super::{Entry, ErrorSink, Implementation, Overload, Param, Returns, entry, utf16};
use crate::error::Result;
use crate::types::SqlType::{Bytes, Integer, String as Text};
use arrow::array::{AsArray, BinaryBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

pub(super) const STRING: &str = "STRING";

/// Longest text that LPAD and RPAD make: a typing error must not fill the memory, and those of a batch of 2,048 rows stay
/// within what a column can hold. It is a quarter of what a broker takes as one message.
const PAD_LENGTH_MAX: usize = 1 << 18;

const fn text(params: &'static [Param], implementation: Implementation) -> Overload {
    Overload::new(params, Returns::Type(Text), implementation)
}

const fn bytes(params: &'static [Param], implementation: Implementation) -> Overload {
    Overload::new(params, Returns::Type(Bytes), implementation)
}

const fn count(params: &'static [Param], implementation: Implementation) -> Overload {
    Overload::new(params, Returns::Type(Integer), implementation)
}

pub(super) static ENTRIES: &[Entry] = &[
    entry!("UCASE", STRING, "Returns the text in upper case.", ["UCASE('Ab')" => "AB"], [
        text(&[Is(Text)], |args, rows, _| map(args, rows, |s, out| out.push_str(&s.to_uppercase())))
    ]),
    entry!("LCASE", STRING, "Returns the text in lower case.", ["LCASE('Ab')" => "ab"], [
        text(&[Is(Text)], |args, rows, _| map(args, rows, |s, out| out.push_str(&s.to_lowercase())))
    ]),
    entry!("INITCAP", STRING, "Returns the text with a capital at the start of each word, words being parted by blanks.",
        ["INITCAP('the qUICK fox')" => "The Quick Fox"],
        [text(&[Is(Text)], |args, rows, _| map(args, rows, capitals))]),
    entry!("TRIM", STRING, "Returns the text without blanks at both ends.", ["TRIM('  a b ')" => "a b"], [
        text(&[Is(Text)], |args, rows, _| map(args, rows, |s, out| out.push_str(trimmed(s))))
    ]),
    entry!("LEN", STRING, "Returns the length of a text in UTF-16 code units, or of BYTES.", ["LEN('abc')" => "3"], [
        count(&[Is(Text)], length),
        count(&[Is(Bytes)], byte_length),
    ]),
    entry!("SUBSTRING", STRING,
        "Returns the part of a text or of BYTES from a position, counted from 1 or from the end if negative.",
        ["SUBSTRING('stream', 4)" => "eam", "SUBSTRING('stream', -3, 2)" => "ea"],
        [text(&[Is(Text), Is(Integer)], substring),
         text(&[Is(Text), Is(Integer), Is(Integer)], substring),
         bytes(&[Is(Bytes), Is(Integer)], byte_substring),
         bytes(&[Is(Bytes), Is(Integer), Is(Integer)], byte_substring)]),
    entry!("CONCAT", STRING, "Joins the arguments; NULL counts as nothing.", ["CONCAT('a', NULL, 'b')" => "ab"], [
        Overload::variadic(&[Is(Text)], Returns::Type(Text), concat),
        Overload::variadic(&[Is(Bytes)], Returns::Type(Bytes), concat_bytes),
    ]),
    entry!("CONCAT_WS", STRING, "Joins the arguments after the first, which stands between them; NULLs are left out.",
        ["CONCAT_WS(', ', 'a', NULL, 'b')" => "a, b"],
        [Overload::variadic(&[Is(Text), Is(Text)], Returns::Type(Text), concat_with_separator),
         Overload::variadic(&[Is(Bytes), Is(Bytes)], Returns::Type(Bytes), concat_bytes_with_separator)]),
    entry!("REPLACE", STRING, "Replaces every occurrence of the second argument by the third.",
        ["REPLACE('a-b-c', '-', '+')" => "a+b+c"],
        [text(&[Is(Text), Is(Text), Is(Text)], replace)]),
    entry!("INSTR", STRING,
        "Returns the position of a text in another one, counted from 1; 0 if it does not occur. A start, from the end if \
         negative, and a number of the occurrence may follow.",
        ["INSTR('corporate floor', 'or')" => "2", "INSTR('corporate floor', 'or', 3, 2)" => "14",
         "INSTR('corporate floor', 'or', -3)" => "5"],
        [count(&[Is(Text), Is(Text)], position),
         count(&[Is(Text), Is(Text), Is(Integer)], position),
         count(&[Is(Text), Is(Text), Is(Integer), Is(Integer)], position)]),
    entry!("LPAD", STRING, "Fills a text or BYTES up to a length from the left, or cuts it.",
        ["LPAD('7', 3, '0')" => "007"],
        [text(&[Is(Text), Is(Integer), Is(Text)], |args, rows, _| pad(args, rows, true)),
         bytes(&[Is(Bytes), Is(Integer), Is(Bytes)], |args, rows, _| pad_bytes(args, rows, true))]),
    entry!("RPAD", STRING, "Fills a text or BYTES up to a length from the right, or cuts it.",
        ["RPAD('ab', 5, '-+')" => "ab-+-"],
        [text(&[Is(Text), Is(Integer), Is(Text)], |args, rows, _| pad(args, rows, false)),
         bytes(&[Is(Bytes), Is(Integer), Is(Bytes)], |args, rows, _| pad_bytes(args, rows, false))]),
    entry!("SPLIT", STRING,
        "Returns the parts of a text or of BYTES between the separators; an empty separator splits into characters.",
        ["SPLIT('a,,b', ',')" => "[a, , b]"],
        [Overload::new(&[Is(Text), Is(Text)], Returns::Strings, split),
         Overload::new(&[Is(Bytes), Is(Bytes)], Returns::Of(super::array::of_first), split_bytes)]),
    entry!("ELT", STRING, "Returns the n-th of the texts after the first argument.", ["ELT(2, 'a', 'b')" => "b"], [
        Overload::variadic(&[Is(Integer), Is(Text)], Returns::Type(Text), elect)
    ]),
    entry!("FIELD", STRING, "Returns the position of the first argument among the others; 0 if it is not one of them.",
        ["FIELD('b', 'a', 'b')" => "2"],
        [Overload::variadic(&[Is(Text), Is(Text)], Returns::Type(Integer), field)]),
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
    numbers::<Int32Type>(rows, |row| Some(utf16::length(texts.get(row)?) as i32))
}

fn byte_length(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let arg = Arg::new(args, 0)?;
    let bytes = arg.array().as_binary::<i32>();
    numbers::<Int32Type>(rows, |row| (!arg.is_null(row)).then(|| bytes.value(arg.place(row)).len() as i32))
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
        let count = utf16::length(text) as i64;
        // Position 0 is the first character, as 1 is.
        let start = if start < 0 { count + i64::from(start) } else { i64::from(start) - 1 };
        let start = start.clamp(0, count);
        let end = start.saturating_add(length).min(count);
        utf16::push_slice(text, start as usize, end as usize, out);
        true
    })
}

fn concat(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let parts = Texts::all(args, 0)?;
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
    let (separators, parts) = (Texts::new(args, 0)?, Texts::all(args, 1)?);
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
    let parts = Texts::all(args, 0)?;
    strings(rows, |row, out| {
        let (Some(text), Some(old), Some(new)) = (parts[0].get(row), parts[1].get(row), parts[2].get(row)) else {
            return false;
        };
        let found = text.matches(old).count();
        let bytes = (text.len() - found * old.len()).saturating_add(found.saturating_mul(new.len()));
        if bytes > REPLACED_BYTES_MAX {
            return false;
        }
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
        let (start, occurrence) = (at(&starts, row)?, at(&occurrences, row)?);
        let (Some(text), Some(wanted)) = (texts.get(row), wanted.get(row)) else { return Some(0) };
        Some(find(text, wanted, start, occurrence).map_or(0, |at| utf16::units(text, at) as i32 + 1))
    })
}

/// The byte offset of the n-th occurrence. From a negative start, counted from the end, it is searched backwards for
/// occurrences that end there; position 0 is none.
fn find(text: &str, wanted: &str, start: i32, occurrence: i32) -> Option<usize> {
    let nth = usize::try_from(occurrence).ok()?.checked_sub(1)?;
    let length = utf16::length(text);
    let from = start.unsigned_abs() as usize;
    if start == 0 || from > length {
        return None;
    }
    let mut found = text.char_indices().map(|(at, _)| at).filter(|at| text[*at..].starts_with(wanted));
    if start > 0 {
        return found.filter(|at| from == 1 || utf16::units(text, *at) >= from - 1).nth(nth);
    }
    let end = length - (from - 1);
    let mut places: Vec<usize> = Vec::new();
    places.extend(found.by_ref().take_while(|at| utf16::units(text, at + wanted.len()) <= end));
    places.into_iter().rev().nth(nth)
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
        let width = utf16::length(text);
        let missing = length.saturating_sub(width);
        if !left {
            utf16::push_slice(text, 0, length - missing, out);
        }
        let unit = utf16::length(filler);
        (0..missing / unit).for_each(|_| out.push_str(filler));
        utf16::push_slice(filler, 0, missing % unit, out);
        if left {
            utf16::push_slice(text, 0, length - missing, out);
        }
        true
    })
}

fn split(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, separators) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    text_lists(rows, |row, out| {
        let (Some(text), Some(separator)) = (texts.get(row), separators.get(row)) else { return false };
        match separator {
            // Nothing has no characters, and yet is one part.
            "" if text.is_empty() => out.push(String::new()),
            "" => out.extend(text.chars().map(String::from)),
            separator => out.extend(text.split(separator).map(str::to_owned)),
        }
        true
    })
}

fn split_bytes(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (values, separators) = (Blobs::new(args, 0)?, Blobs::new(args, 1)?);
    let (mut items, mut lengths, mut valid) = (BinaryBuilder::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let mut parts = 0;
        let mut push = |part: &[u8]| {
            items.append_value(part);
            parts += 1;
        };
        match (values.get(row), separators.get(row)) {
            (Some([]), Some([])) => push(&[]),
            (Some(bytes), Some([])) => bytes.chunks(1).for_each(&mut push),
            (Some(bytes), Some(separator)) => {
                let mut start = 0;
                for at in memchr::memmem::find_iter(bytes, separator) {
                    push(&bytes[start..at]);
                    start = at + separator.len();
                }
                push(&bytes[start..]);
            }
            _ => {}
        }
        lengths.push(parts);
        valid.push(values.get(row).is_some() && separators.get(row).is_some());
    }
    let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
    Ok(ColumnarValue::Array(list(OffsetBuffer::from_lengths(lengths), nulls, Arc::new(items.finish()))?))
}

fn capitals(text: &str, out: &mut String) {
    let mut first = true;
    for c in text.chars() {
        match first {
            true => out.extend(c.to_uppercase()),
            false => out.extend(c.to_lowercase()),
        }
        first = c.is_whitespace();
    }
}

fn elect(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (which, texts) = (Numbers::<Int32Type>::new(args, 0)?, Texts::all(args, 1)?);
    strings(rows, |row, out| {
        let chosen = which.get(row).and_then(|n| usize::try_from(n).ok()?.checked_sub(1));
        match chosen.and_then(|n| texts.get(n)).and_then(|t| t.get(row)) {
            Some(text) => out.push_str(text),
            None => return false,
        }
        true
    })
}

fn field(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (wanted, texts) = (Texts::new(args, 0)?, Texts::all(args, 1)?);
    numbers::<Int32Type>(rows, |row| {
        let found = wanted.get(row).and_then(|w| texts.iter().position(|t| t.get(row) == Some(w)));
        Some(found.map_or(0, |at| at as i32 + 1))
    })
}

fn byte_substring(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (values, starts) = (Blobs::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?);
    let lengths = if args.len() > 2 { Some(Numbers::<Int32Type>::new(args, 2)?) } else { None };
    blobs(rows, |row, out| {
        let (Some(bytes), Some(start)) = (values.get(row), starts.get(row)) else { return false };
        let length = match &lengths {
            None => i32::MAX,
            Some(lengths) => match lengths.get(row) {
                Some(length) => length,
                None => return false,
            },
        };
        let (start, length) = (i64::from(start), i64::from(length.max(0)));
        let count = bytes.len() as i64;
        let from = if start < 0 { count + start } else { start - 1 }.clamp(0, count);
        out.extend_from_slice(&bytes[from as usize..(from + length).min(count) as usize]);
        true
    })
}

fn pad_bytes(args: &[ColumnarValue], rows: usize, left: bool) -> Result<ColumnarValue> {
    let (values, lengths, fillers) = (Blobs::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?, Blobs::new(args, 2)?);
    blobs(rows, |row, out| {
        let (Some(bytes), Some(length), Some(filler)) = (values.get(row), lengths.get(row), fillers.get(row)) else {
            return false;
        };
        let Ok(length) = usize::try_from(length) else { return false };
        if filler.is_empty() || length > PAD_LENGTH_MAX {
            return false;
        }
        let missing = length.saturating_sub(bytes.len());
        let fill = filler.iter().copied().cycle().take(missing);
        let kept = &bytes[..length - missing];
        if left {
            out.extend(fill);
            out.extend_from_slice(kept);
        } else {
            out.extend_from_slice(kept);
            out.extend(fill);
        }
        true
    })
}

fn concat_bytes_with_separator(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let separators = Blobs::new(args, 0)?;
    let parts = (1..args.len()).map(|i| Blobs::new(args, i)).collect::<Result<Vec<_>>>()?;
    blobs(rows, |row, out| {
        let Some(separator) = separators.get(row) else { return false };
        for (i, part) in parts.iter().filter_map(|p| p.get(row)).enumerate() {
            out.extend_from_slice(if i > 0 { separator } else { &[] });
            out.extend_from_slice(part);
        }
        true
    })
}
