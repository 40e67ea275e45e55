//! Scanning JSON text (RFC 8259): strings, numbers, whole values; the whole grammar, no meaning.
//!
//! Every function takes the payload and a position in it, and returns the position after what it read.

/// Why scanning or decoding failed. Positions are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Fault {
    /// Not JSON.
    Syntax(u32),
    /// JSON, but not a value of the column's type.
    Type(u32),
    /// A name is repeated or belongs to two columns: the full rule must decide.
    Twice,
}

pub(in crate::format) type Step = Result<usize, Fault>;

/// Limit of nesting: Jackson's (`StreamReadConstraints.DEFAULT_MAX_DEPTH`), and a bound for the stack.
const DEPTH_MAX: u32 = 1000;

const ONES: u64 = 0x0101_0101_0101_0101;
pub(in crate::format) const HIGHS: u64 = ONES * 0x80;

#[cold]
pub(in crate::format) fn syntax(at: usize) -> Fault {
    Fault::Syntax(at as u32)
}

#[inline(always)]
fn word(d: &[u8], i: usize) -> Option<u64> {
    let bytes = d.get(i..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The high bit of the first byte that is `"`, `\` or a control byte, and of some later ones.
#[inline(always)]
pub(in crate::format) fn stops(x: u64) -> u64 {
    let (quote, escape) = (x ^ (ONES * 0x22), x ^ (ONES * 0x5C));
    ((quote.wrapping_sub(ONES) & !quote) | (escape.wrapping_sub(ONES) & !escape) | (x.wrapping_sub(ONES * 0x20) & !x))
        & HIGHS
}

/// The position of the first stop in the word `x` that was read at `i`, and whether a byte before it is >= 0x80.
#[inline(always)]
pub(in crate::format) fn stop_at(i: usize, x: u64, stop: u64, high: u64) -> (usize, bool) {
    let bits = stop.trailing_zeros() & !7;
    (i + bits as usize / 8, (high | x & !(u64::MAX << bits)) & HIGHS != 0)
}

/// First `"`, `\` or control byte at or after `i` (or the end); the flag says that a byte >= 0x80 was passed.
#[inline(always)]
pub(in crate::format) fn text_end(d: &[u8], mut i: usize) -> (usize, bool) {
    let mut high = 0;
    while let Some(pair) = d.get(i..).and_then(|tail| tail.first_chunk::<16>()) {
        let pair = u128::from_le_bytes(*pair);
        let (x, y) = (pair as u64, (pair >> 64) as u64);
        let (first, second) = (stops(x), stops(y));
        if first | second != 0 {
            return if first != 0 { stop_at(i, x, first, high) } else { stop_at(i + 8, y, second, high | x) };
        }
        high |= x | y;
        i += 16;
    }
    if let Some(x) = word(d, i) {
        let stop = stops(x);
        if stop != 0 {
            return stop_at(i, x, stop, high);
        }
        high |= x;
        i += 8;
    }
    let mut high = high & HIGHS != 0;
    while let Some(&c) = d.get(i) {
        if c == b'"' || c == b'\\' || c < 0x20 {
            break;
        }
        high |= c >= 0x80;
        i += 1;
    }
    (i, high)
}

/// Scans a string; `i` is after the opening quote. Returns the position after the closing one, and whether there were escapes.
#[inline(always)]
pub(in crate::format) fn string(d: &[u8], i: usize) -> Result<(usize, bool), Fault> {
    let (end, high) = text_end(d, i);
    if !high && d.get(end) == Some(&b'"') {
        return Ok((end + 1, false));
    }
    string_rest(d, i, end, high)
}

#[inline(never)]
fn string_rest(d: &[u8], start: usize, mut i: usize, mut high: bool) -> Result<(usize, bool), Fault> {
    let mut escaped = false;
    loop {
        match d.get(i) {
            Some(b'"') => break,
            Some(b'\\') => {
                escaped = true;
                i = escape(d, i)?;
            }
            _ => return Err(syntax(i)),
        }
        let (end, more) = text_end(d, i);
        (i, high) = (end, high | more);
    }
    if high && simdutf8::basic::from_utf8(&d[start..i]).is_err() {
        return Err(syntax(start));
    }
    Ok((i + 1, escaped))
}

/// The position after the escape at `i`.
pub(in crate::format) fn escape(d: &[u8], i: usize) -> Step {
    match d.get(i + 1) {
        Some(b'u') if d.get(i + 2..i + 6).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) => Ok(i + 6),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(i + 2),
        _ => Err(syntax(i)),
    }
}

/// Number of leading digits of eight bytes, and their value.
#[inline(always)]
fn digits8(w: u64) -> (u32, u64) {
    let x = w ^ (ONES * 0x30);
    let n = ((x.wrapping_add(ONES * 0x76) | x) & HIGHS).trailing_zeros() / 8;
    if n == 0 {
        return (0, 0);
    }
    let x = x << (64 - 8 * n);
    let x = x.wrapping_mul(10).wrapping_add(x >> 8) & 0x00FF_00FF_00FF_00FF;
    let x = x.wrapping_mul(100).wrapping_add(x >> 16) & 0x0000_FFFF_0000_FFFF;
    (n, x.wrapping_mul(10_000).wrapping_add(x >> 32) & 0xFFFF_FFFF)
}

const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Digits that [`short_int`] takes at most: two words, less the byte that must end them.
const SHORT_DIGITS: u32 = 15;

/// A plain integer of at most 15 digits; `None` sends the caller to the general path.
#[inline(always)]
pub(in crate::format) fn short_int(d: &[u8], i: usize) -> Option<(usize, i64)> {
    let negative = *d.get(i)? == b'-';
    let start = i + usize::from(negative);
    let (n, v) = match (word(d, start), word(d, start + 8)) {
        (Some(head), Some(tail)) => {
            let (n, v) = digits8(head);
            if n < 8 {
                (n, v)
            } else {
                let (m, w) = digits8(tail);
                (n + m, v * POWERS[m as usize] + w)
            }
        }
        _ => last_digits(&d[start..]),
    };
    let end = start + n as usize;
    let fine = (1..=SHORT_DIGITS).contains(&n) && (d[start] != b'0' || n == 1) && ends_value(d, end);
    fine.then_some((end, if negative { -(v as i64) } else { v as i64 }))
}

/// The same close to the end of the payload, where there are no two words to read.
fn last_digits(d: &[u8]) -> (u32, u64) {
    let n = d.iter().take_while(|c| c.is_ascii_digit()).count();
    let v = d[..n.min(SHORT_DIGITS as usize)].iter().fold(0, |v, c| v * 10 + u64::from(c - b'0'));
    (n as u32, v)
}

/// Every number with this many digits fits into 128 bits.
const DECIMAL_DIGITS: u32 = 38;

const WIDE_POWERS: [u128; DECIMAL_DIGITS as usize + 1] = {
    let mut powers = [1; DECIMAL_DIGITS as usize + 1];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// The unscaled value of a plain number without an exponent that is exact in `scale`, up to 38 digits.
/// `None` sends the caller to the general path.
#[inline]
pub(in crate::format) fn short_decimal(d: &[u8], i: usize, precision: u8, scale: i8) -> Option<(usize, i128)> {
    let negative = *d.get(i)? == b'-';
    let start = i + usize::from(negative);
    let (point, mut value, whole) = digits(d, start, 0, DECIMAL_DIGITS)?;
    let (mut end, mut part) = (point, 0);
    if d.get(point) == Some(&b'.') {
        (end, value, part) = digits(d, point + 1, value, DECIMAL_DIGITS - whole)?;
        if part == 0 {
            return None;
        }
    }
    let zeros = u32::try_from(scale).ok()?.checked_sub(part)?;
    let fine = whole > 0 && (d[start] != b'0' || whole == 1) && ends_value(d, end);
    if !fine || whole + part + zeros > DECIMAL_DIGITS {
        return None;
    }
    let value = value * WIDE_POWERS[zeros as usize];
    let fits = value < *WIDE_POWERS.get(usize::from(precision))?;
    fits.then_some((end, if negative { -(value as i128) } else { value as i128 }))
}

/// Continues `value` with the digits at `i`: the position after them, the value, and their number; `None` if there are more
/// than `most`.
#[inline(always)]
fn digits(d: &[u8], mut i: usize, mut value: u128, most: u32) -> Option<(usize, u128, u32)> {
    let mut count = 0;
    loop {
        let (n, v) = match word(d, i) {
            Some(head) => digits8(head),
            None => last_digits(&d[i.min(d.len())..]),
        };
        count += n;
        if count > most {
            return None;
        }
        value = value * u128::from(POWERS[n as usize]) + u128::from(v);
        i += n as usize;
        if n < 8 {
            return Some((i, value, count));
        }
    }
}

/// Whether a number may end here.
#[inline(always)]
fn ends_value(d: &[u8], i: usize) -> bool {
    matches!(d.get(i), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
}

/// A number by JSON's grammar.
pub(in crate::format) fn number(d: &[u8], start: usize) -> Step {
    let digits = |mut i: usize| {
        let from = i;
        while d.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        (i > from).then_some(i).ok_or_else(|| syntax(i))
    };
    let first = start + usize::from(d.get(start) == Some(&b'-'));
    let mut i = digits(first)?;
    if d[first] == b'0' && i > first + 1 {
        return Err(syntax(first));
    }
    if d.get(i) == Some(&b'.') {
        i = digits(i + 1)?;
    }
    if matches!(d.get(i), Some(b'e' | b'E')) {
        i += 1 + usize::from(matches!(d.get(i + 1), Some(b'+' | b'-')));
        i = digits(i)?;
    }
    if ends_value(d, i) { Ok(i) } else { Err(syntax(i)) }
}

#[inline(always)]
pub(in crate::format) fn blank(d: &[u8], mut i: usize) -> usize {
    while matches!(d.get(i), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        i += 1;
    }
    i
}

pub(in crate::format) fn literal(d: &[u8], i: usize, text: &[u8]) -> Step {
    if d[i..].starts_with(text) { Ok(i + text.len()) } else { Err(syntax(i)) }
}

/// One expected byte.
#[inline(always)]
pub(in crate::format) fn expect(d: &[u8], i: usize, byte: u8) -> Step {
    if d.get(i) == Some(&byte) { Ok(i + 1) } else { Err(syntax(i)) }
}

/// A member's name with its colon; returns the position of the value and the raw inside of the name.
pub(in crate::format) fn name(d: &[u8], i: usize) -> Result<(usize, &[u8]), Fault> {
    let start = expect(d, i, b'"')?;
    let (end, _) = string(d, start)?;
    let value = blank(d, expect(d, blank(d, end), b':')?);
    Ok((value, &d[start..end - 1]))
}

/// The separator after a value in a list: the position of the next value, or that it was the last and the position after it.
#[inline(always)]
pub(in crate::format) fn next(d: &[u8], i: usize, close: u8) -> Result<(usize, bool), Fault> {
    let i = blank(d, i);
    match d.get(i) {
        Some(b',') => Ok((blank(d, i + 1), true)),
        Some(&c) if c == close => Ok((i + 1, false)),
        _ => Err(syntax(i)),
    }
}

/// Skips a value, validating the whole grammar.
#[inline(always)]
pub(in crate::format) fn skip(d: &[u8], i: usize) -> Step {
    if d.get(i) == Some(&b'"') { Ok(string(d, i + 1)?.0) } else { skip_deep(d, i, 0) }
}

fn skip_deep(d: &[u8], i: usize, depth: u32) -> Step {
    match d.get(i) {
        Some(b'"') => Ok(string(d, i + 1)?.0),
        Some(b'-' | b'0'..=b'9') => number(d, i),
        Some(b't') => literal(d, i, b"true"),
        Some(b'f') => literal(d, i, b"false"),
        Some(b'n') => literal(d, i, b"null"),
        Some(&open @ (b'{' | b'[')) if depth < DEPTH_MAX => {
            // '[' and ']' as well as '{' and '}' are two apart.
            let close = open + 2;
            let mut i = blank(d, i + 1);
            if d.get(i) == Some(&close) {
                return Ok(i + 1);
            }
            loop {
                if open == b'{' {
                    i = name(d, i)?.0;
                }
                let (then, more) = next(d, skip_deep(d, i, depth + 1)?, close)?;
                i = then;
                if !more {
                    return Ok(i);
                }
            }
        }
        _ => Err(syntax(i)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::decimal_text::DecimalText;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn plain_decimals_are_what_the_general_path_reads(
            text in "-?(0|[1-9][0-9]{0,20}|[0-9]{0,40})(\\.[0-9]{0,22})?(e[0-9]{1,2})?",
            rest in "[,}x ]?.{0,20}",
            (precision, scale) in (1u8..=38).prop_flat_map(|p| (Just(p), 0..=p as i8)),
        ) {
            let payload = format!("{text}{rest}");
            let d = payload.as_bytes();
            let generally = number(d, 0).ok().and_then(|end| {
                let value = DecimalText::parse(&d[..end])?.unscaled(precision, scale)?;
                Some((end, value.as_i128()))
            });
            let digits = text.trim_start_matches('-');
            let whole = digits.find('.').unwrap_or(digits.len());
            // Even a zero is left to the general path where its places and those of the scale are too many together.
            let is_short = text.len() < 38 && whole + scale as usize <= DECIMAL_DIGITS as usize;
            let plain = !text.contains('e') && is_short && digits.len() - whole <= scale as usize;
            match short_decimal(d, 0, precision, scale) {
                Some(read) => prop_assert_eq!(Some(read), generally),
                None => prop_assert!(!plain || generally.is_none(), "{} by the general path: {:?}", payload, generally),
            }
        }
    }
}
