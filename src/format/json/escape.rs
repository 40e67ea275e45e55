//! Unescaping of strings (RFC 8259 section 7), in one pass with validation.
//!
//! ```text
//! "a\tb\u00e9"   becomes   a, a tab, b, é
//! "\ud83d\ude00" becomes   one character beyond the first 65,536
//! "\ud83d"       becomes   ?   (a lone surrogate has no UTF-8; Java writes it the same way)
//! ```
//!
//! Runs between escapes are short, mostly too short for a call of `memcpy`: sixteen bytes are written at a time, and the excess
//! is truncated.

use super::scan::{HIGHS, Step, escape, stop_at, stops, syntax, text_end};

/// Validates the string whose opening quote is before `start`, appends its text, and returns the position after the closing
/// quote. Its `first` run, as of `text_end`, is there already. After an `Err` pieces of it may have been appended.
pub(in crate::format) fn string_into(d: &[u8], start: usize, first: (usize, bool), out: &mut Vec<u8>) -> Step {
    let (mut i, mut high) = first;
    loop {
        match d.get(i) {
            Some(b'"') => break,
            Some(b'\\') => {
                escape(d, i)?;
                i = escape_into(d, i, out);
            }
            _ => return Err(syntax(i)),
        }
        let (end, more) = run_into(d, i, out);
        (i, high) = (end, high | more);
    }
    if high && simdutf8::basic::from_utf8(&d[start..i]).is_err() {
        return Err(syntax(start));
    }
    Ok(i + 1)
}

/// Appends the text of a validated string, given its inside.
pub(in crate::format) fn unescape(s: &[u8], out: &mut Vec<u8>) {
    let (mut i, _) = run_into(s, 0, out);
    while i < s.len() {
        i = escape_into(s, i, out);
        (i, _) = run_into(s, i, out);
    }
}

/// Appends what comes before the first `"`, `\` or control byte at or after `i`; the rest as of `text_end`.
#[inline(always)]
fn run_into(d: &[u8], mut i: usize, out: &mut Vec<u8>) -> (usize, bool) {
    let mut high = 0;
    while let Some(pair) = d.get(i..).and_then(|tail| tail.first_chunk::<16>()) {
        out.extend_from_slice(pair);
        let pair = u128::from_le_bytes(*pair);
        let (x, y) = (pair as u64, (pair >> 64) as u64);
        let (first, second) = (stops(x), stops(y));
        if first | second != 0 {
            let (end, high) = if first != 0 { stop_at(i, x, first, high) } else { stop_at(i + 8, y, second, high | x) };
            out.truncate(out.len() - (i + 16 - end));
            return (end, high);
        }
        high |= x | y;
        i += 16;
    }
    let (end, more) = text_end(d, i);
    out.extend_from_slice(&d[i..end]);
    (end, more || high & HIGHS != 0)
}

/// Appends the character of the validated escape at `i`, both halves of a surrogate pair at once; returns the position after it.
#[inline(always)]
fn escape_into(s: &[u8], i: usize, out: &mut Vec<u8>) -> usize {
    let byte = match s.get(i + 1) {
        Some(b'b') => 0x08,
        Some(b'f') => 0x0C,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return unicode_into(s, i, out),
        Some(&c) => c,
        None => return s.len(),
    };
    out.push(byte);
    i + 2
}

fn unicode_into(s: &[u8], i: usize, out: &mut Vec<u8>) -> usize {
    let (mut code, mut end) = (hex(s, i + 2).unwrap_or(0xD800), i + 6);
    if (0xD800..0xDC00).contains(&code)
        && s.get(end..end + 2) == Some(b"\\u")
        && let Some(low @ 0xDC00..0xE000) = hex(s, end + 2)
    {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        end += 6;
    }
    let c = char::from_u32(code).unwrap_or('?');
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    end.min(s.len())
}

/// Four hexadecimal digits.
fn hex(s: &[u8], at: usize) -> Option<u32> {
    let digit = |c: &u8| char::from(*c).to_digit(16);
    s.get(at..at + 4)?.iter().try_fold(0, |v, c| Some(v << 4 | digit(c)?))
}

#[cfg(test)]
mod tests {
    use super::super::scan::string;
    use super::*;
    use proptest::prelude::*;

    /// The rule, a character at a time.
    fn slowly(s: &str) -> String {
        let (chars, mut out, mut i) = (s.chars().collect::<Vec<char>>(), String::new(), 0);
        let unit = |at: usize| {
            let text: String = chars.get(at..at + 6)?.iter().collect();
            u16::from_str_radix(text.strip_prefix("\\u")?, 16).ok()
        };
        while i < chars.len() {
            let Some(place) = "bfnrt".find(*chars.get(i + 1).unwrap_or(&' ')).filter(|_| chars[i] == '\\') else {
                if let Some(first) = unit(i) {
                    let pair = unit(i + 6).map_or(vec![first], |second| vec![first, second]);
                    match char::decode_utf16(pair.iter().copied()).next() {
                        Some(Ok(c)) => {
                            out.push(c);
                            i += 6 * c.len_utf16();
                        }
                        _ => {
                            out.push('?');
                            i += 6;
                        }
                    }
                } else {
                    let escaped = usize::from(chars[i] == '\\');
                    out.push(chars[i + escaped]);
                    i += 1 + escaped;
                }
                continue;
            };
            out.push(['\u{8}', '\u{c}', '\n', '\r', '\t'][place]);
            i += 2;
        }
        out
    }

    fn piece() -> impl Strategy<Value = String> {
        let escape = prop::sample::select(&[r"\n", r"\t", r"\b", r"\f", r"\r", r"\/", r"\\", "\\\""][..]);
        prop_oneof![
            escape.prop_map(str::to_owned),
            any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
            (0xD7FEu16..0xE002).prop_map(|unit| format!("\\u{unit:04X}")),
            Just("\\uD83D\\ude00".to_owned()),
            "[ -!#-\\[\\]-~é😀]{0,40}",
        ]
    }

    proptest! {
        #[test]
        fn strings_are_undone_in_one_pass(pieces in prop::collection::vec(piece(), 0..12), rest in "[ -~]{0,20}") {
            let inside = pieces.concat();
            let text = format!("{inside}\"{rest}");
            let (payload, mut once, mut twice) = (text.as_bytes(), b"before".to_vec(), vec![]);
            let first = run_into(payload, 0, &mut once);
            let end = string_into(payload, 0, first, &mut once);
            unescape(inside.as_bytes(), &mut twice);
            prop_assert_eq!(end, string(payload, 0).map(|(end, _)| end));
            prop_assert_eq!(&once[6..], slowly(&inside).into_bytes());
            prop_assert_eq!(&once[6..], &twice[..]);
        }

        #[test]
        fn damaged_strings_are_refused_where_the_check_alone_refuses_them(
            mut payload in "[a-z\\\\\"ué\n]{0,40}".prop_map(String::into_bytes), at in 0usize..40, byte in any::<u8>(),
        ) {
            if let Some(place) = payload.get_mut(at) {
                *place = byte;
            }
            let end = string_into(&payload, 0, text_end(&payload, 0), &mut vec![]);
            prop_assert_eq!(end, string(&payload, 0).map(|(end, _)| end));
        }
    }
}
