//! The tokens of a `.proto` text: words, numbers, strings and signs; blanks and comments are dropped.
//!
//! ```text
//! int32 a = 0x1F; // hex      Word int32, Word a, Sign =, Number 31, Sign ;
//! "a\x41" 'b'                 Text "aA", Text "b"
//! ```

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// An identifier without dots.
    Word(String),
    /// An integer. Larger ones than the language knows are capped.
    Integer(u64),
    /// Any other number.
    Float,
    Text(String),
    Sign(u8),
}

/// Limit of tokens: a text of a mebibyte has fewer, unless it is made to fill the memory.
const TOKENS_MAX: usize = 250_000;

/// The tokens, each with its line.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, u32)>, String> {
    let bytes = text.as_bytes();
    let (mut found, mut i, mut line) = (vec![], 0, 1u32);
    while let Some(&c) = bytes.get(i) {
        let start = i;
        if found.len() == TOKENS_MAX {
            return Err(format!("the schema has more than {TOKENS_MAX} words and signs"));
        }
        match c {
            b'\n' => {
                line += 1;
                i += 1;
            }
            _ if c.is_ascii_whitespace() => i += 1,
            b'/' if bytes.get(i + 1) == Some(&b'/') => i += line_length(&bytes[i..]),
            b'/' if bytes.get(i + 1) == Some(&b'*') => {
                let inside = &text[i + 2..];
                let length = inside.find("*/").ok_or_else(|| format!("line {line}: a comment is not closed"))?;
                line += inside[..length].matches('\n').count() as u32;
                i += length + 4;
            }
            _ if is_word(c) && !c.is_ascii_digit() => {
                i += bytes[i..].iter().take_while(|c| is_word(**c)).count();
                found.push((Token::Word(text[start..i].to_owned()), line));
            }
            _ if c.is_ascii_digit() || c == b'.' && bytes.get(i + 1).is_some_and(u8::is_ascii_digit) => {
                i += number_length(&bytes[i..]);
                found.push((number(&text[start..i]), line));
            }
            b'"' | b'\'' => {
                let (value, end) = string(bytes, i).ok_or_else(|| format!("line {line}: a string is not closed"))?;
                i = end;
                found.push((Token::Text(value), line));
            }
            0xEF if bytes[i..].starts_with(b"\xEF\xBB\xBF") && i == 0 => i += 3,
            _ if c.is_ascii_punctuation() => {
                i += 1;
                found.push((Token::Sign(c), line));
            }
            _ => return Err(format!("line {line}: a character that has no place there")),
        }
    }
    Ok(found)
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|c| *c == b'\n').unwrap_or(rest.len())
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

/// Digits, letters and points; a sign only after the `e` of an exponent.
fn number_length(rest: &[u8]) -> usize {
    let hex = rest.len() > 1 && rest[1].eq_ignore_ascii_case(&b'x');
    let mut length = 0;
    while let Some(&c) = rest.get(length) {
        let exponent = !hex && length > 0 && rest[length - 1].eq_ignore_ascii_case(&b'e');
        if !(is_word(c) || c == b'.' || exponent && matches!(c, b'+' | b'-')) {
            break;
        }
        length += 1;
    }
    length
}

fn number(text: &str) -> Token {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok();
    let lower = text.to_ascii_lowercase();
    let value = match lower.strip_prefix("0x") {
        Some(hex) => radix(hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => radix(&lower[1..], 8),
        None => radix(&lower, 10),
    };
    value.map_or(Token::Float, Token::Integer)
}

/// The string at `i`, and the position after it. Bytes that are no UTF-8 become U+FFFD.
fn string(bytes: &[u8], mut i: usize) -> Option<(String, usize)> {
    let quote = bytes[i];
    let mut out = vec![];
    i += 1;
    loop {
        match *bytes.get(i)? {
            b'\n' => return None,
            c if c == quote => return Some((String::from_utf8_lossy(&out).into_owned(), i + 1)),
            b'\\' => i = escape(bytes, i + 1, &mut out)?,
            c => {
                out.push(c);
                i += 1;
            }
        }
    }
}

/// Appends what the escape whose letter is at `i` means; returns the position after it.
fn escape(bytes: &[u8], i: usize, out: &mut Vec<u8>) -> Option<usize> {
    let digits = |from: usize, most: usize, radix: u32| {
        let of = |c: &&u8| char::from(**c).is_digit(radix);
        let length = bytes[from..].iter().take(most).take_while(of).count();
        let text = std::str::from_utf8(&bytes[from..from + length]).ok()?;
        Some((u32::from_str_radix(text, radix).ok()?, from + length))
    };
    let simple = match *bytes.get(i)? {
        b'x' | b'X' => {
            let (value, end) = digits(i + 1, 2, 16)?;
            out.push(value as u8);
            return Some(end);
        }
        kind @ (b'u' | b'U') => {
            let (value, end) = digits(i + 1, if kind == b'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(end);
        }
        b'0'..=b'7' => {
            let (value, end) = digits(i, 3, 8)?;
            out.push(value as u8);
            return Some(end);
        }
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        other => other,
    };
    out.push(simple);
    Some(i + 1)
}
