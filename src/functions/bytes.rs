//! BYTES and texts that stand for bytes: encodings, numbers in bytes, digests, code points.

use super::Param::Is;
use super::kernel::{Blobs, Numbers, Texts, blobs, numbers, strings};
use super::string::STRING;
use super::{Constants, Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType::{Bigint, Bytes, Double, Integer, String as Text};
use crate::types::base64;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int32Type, Int64Type};
use datafusion::logical_expr::ColumnarValue;
use md5::{Digest, Md5};
use std::fmt::Write;

const BYTES: &str = "BYTES";

pub(super) static ENTRIES: &[Entry] = &[
    entry!("ENCODE", STRING, "Turns a text from one encoding into another: hex, utf8, ascii or base64.",
        ["ENCODE('kafka', 'utf8', 'hex')" => "6b61666b61", "ENCODE('6b61', 'hex', 'base64')" => "a2E="],
        [Overload::fallible(&[Is(Text), Is(Text), Is(Text)], Returns::Type(Text), encode).checked(|constants| check(constants, &[1, 2]))]),
    entry!("TO_BYTES", STRING, "Returns the BYTES that a text stands for in hex, utf8, ascii or base64.",
        ["FROM_BYTES(TO_BYTES('kafka', 'utf8'), 'base64')" => "a2Fma2E="],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Bytes), to_bytes).checked(|constants| check(constants, &[1]))]),
    entry!("FROM_BYTES", STRING, "Returns BYTES as a text in hex, utf8, ascii or base64.",
        ["FROM_BYTES(TO_BYTES('a2Fma2E=', 'base64'), 'utf8')" => "kafka",
         "FROM_BYTES(TO_BYTES('kafka', 'utf8'), 'hex')" => "6B61666B61"],
        [Overload::fallible(&[Is(Bytes), Is(Text)], Returns::Type(Text), from_bytes).checked(|constants| check(constants, &[1]))]),
    entry!("MD5", STRING, "Returns the MD5 digest of a text, in hex.",
    ["MD5('kafka')" => "541661622185851c248b41bf0cea7ad0"],
    [Overload::new(&[Is(Text)], Returns::Type(Text), |args, rows, _| {
        let texts = Texts::new(args, 0)?;
        strings(rows, |row, out| texts.get(row).map(|t| hex(&Md5::digest(t.as_bytes()), out)).is_some())
    })]),
    entry!("CHR", STRING, "Returns the character of a code point, given as a number or as a text such as \\\\u004b.",
    ["CHR(75)" => "K", "CHR('\\u004b')" => "K"],
    [Overload::new(&[Is(Integer)], Returns::Type(Text), |args, rows, _| {
         let codes = Numbers::<Int32Type>::new(args, 0)?;
         strings(rows, |row, out| {
             let c = codes.get(row).and_then(|code| char::from_u32(u32::try_from(code).ok()?));
             out.extend(c);
             c.is_some()
         })
     }),
     Overload::new(&[Is(Text)], Returns::Type(Text), |args, rows, _| {
         let texts = Texts::new(args, 0)?;
         strings(rows, |row, out| texts.get(row).is_some_and(|t| unescape(t, out)))
     })]),
    entry!("INT_FROM_BYTES", BYTES, "Reads four BYTES as INTEGER, in BIG_ENDIAN order or in LITTLE_ENDIAN.",
    ["INT_FROM_BYTES(TO_BYTES('000007e5', 'hex'))" => "2021",
     "INT_FROM_BYTES(TO_BYTES('e5070000', 'hex'), 'LITTLE_ENDIAN')" => "2021"],
    [Overload::fallible(&[Is(Bytes)], Returns::Type(Integer), |a, r, e| {
         number::<Int32Type, 4>(a, r, e, i32::from_be_bytes)
     }),
     Overload::fallible(&[Is(Bytes), Is(Text)], Returns::Type(Integer), |a, r, e| {
         number::<Int32Type, 4>(a, r, e, i32::from_be_bytes)
     })]),
    entry!("BIGINT_FROM_BYTES", BYTES, "Reads eight BYTES as BIGINT, in BIG_ENDIAN order or in LITTLE_ENDIAN.",
    ["BIGINT_FROM_BYTES(TO_BYTES('000000012a05f200', 'hex'))" => "5000000000"],
    [Overload::fallible(&[Is(Bytes)], Returns::Type(Bigint), |a, r, e| {
         number::<Int64Type, 8>(a, r, e, i64::from_be_bytes)
     }),
     Overload::fallible(&[Is(Bytes), Is(Text)], Returns::Type(Bigint), |a, r, e| {
         number::<Int64Type, 8>(a, r, e, i64::from_be_bytes)
     })]),
    entry!("DOUBLE_FROM_BYTES", BYTES, "Reads eight BYTES as DOUBLE, in BIG_ENDIAN order or in LITTLE_ENDIAN.",
    ["DOUBLE_FROM_BYTES(TO_BYTES('3ff8000000000000', 'hex'))" => "1.5"],
    [Overload::fallible(&[Is(Bytes)], Returns::Type(Double), |a, r, e| {
         number::<Float64Type, 8>(a, r, e, f64::from_be_bytes)
     }),
     Overload::fallible(&[Is(Bytes), Is(Text)], Returns::Type(Double), |a, r, e| {
         number::<Float64Type, 8>(a, r, e, f64::from_be_bytes)
     })]),
];

/// An encoding of bytes as text.
#[derive(Clone, Copy)]
enum Encoding {
    Hex,
    Utf8,
    Ascii,
    Base64,
}

impl Encoding {
    fn of(name: &str) -> Option<Encoding> {
        Some(match name.to_ascii_lowercase().as_str() {
            "hex" => Encoding::Hex,
            "utf8" => Encoding::Utf8,
            "ascii" => Encoding::Ascii,
            "base64" => Encoding::Base64,
            _ => return None,
        })
    }

    /// The bytes that a text encodes.
    fn read(self, text: &str, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Encoding::Utf8 => out.extend_from_slice(text.as_bytes()),
            // What is no ASCII becomes a question mark.
            Encoding::Ascii => out.extend(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' })),
            Encoding::Base64 => base64::decode(text.as_bytes(), out)?,
            Encoding::Hex => return read_hex(text, out),
        }
        Some(())
    }

    fn write(self, bytes: &[u8], out: &mut String) {
        match self {
            Encoding::Utf8 => out.push_str(&String::from_utf8_lossy(bytes)),
            Encoding::Ascii => out
                .extend(bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER })),
            Encoding::Base64 => {
                let mut text = Vec::new();
                base64::encode(bytes, &mut text);
                out.extend(text.into_iter().map(char::from));
            }
            Encoding::Hex => hex(bytes, out),
        }
    }
}

/// Constant names of encodings have to be such.
fn check(constants: &Constants<'_>, names: &[usize]) -> std::result::Result<(), String> {
    let unknown = names.iter().filter_map(|i| constants.text(*i)).find(|name| Encoding::of(name).is_none());
    unknown.map_or(Ok(()), |name| Err(format!("unknown encoding '{name}': it is one of hex, utf8, ascii, base64")))
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// `6b61`, `0x6b61`, `X'6b61'` or `x'6b61'`; a lone first digit counts as a byte.
fn read_hex(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let quoted = ["X'", "x'"].into_iter().find_map(|start| text.strip_prefix(start)?.strip_suffix('\''));
    let digits = quoted.or_else(|| text.strip_prefix("0x")).unwrap_or(text).as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    // Only after 0x may a byte lack its first digit.
    if digits.len() % 2 == 1 && !text.starts_with("0x") {
        return None;
    }
    let (first, rest) = digits.split_at(digits.len() % 2);
    if let [lone] = first {
        out.push(digit(*lone)?);
    }
    for pair in rest.chunks_exact(2) {
        out.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(())
}

fn encode(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, from, to) = (Texts::new(args, 0)?, Texts::new(args, 1)?, Texts::new(args, 2)?);
    let mut bytes = Vec::new();
    strings(rows, |row, out| {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else { return false };
        bytes.clear();
        let read = Encoding::of(from).and_then(|from| from.read(text, &mut bytes)).and_then(|()| Encoding::of(to));
        match read {
            Some(to) => to.write(&bytes, out),
            None => errors.fail(row),
        }
        read.is_some()
    })
}

fn to_bytes(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, encodings) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    blobs(rows, |row, out| {
        let (Some(text), Some(encoding)) = (texts.get(row), encodings.get(row)) else { return false };
        let read = match Encoding::of(encoding) {
            // ksqlDB's BytesUtils: not the decoder of ENCODE.
            Some(Encoding::Base64) => base64::decode_basic(text, out),
            encoding => encoding.and_then(|e| e.read(text, out)),
        };
        if read.is_none() {
            errors.fail(row);
        }
        read.is_some()
    })
}

fn from_bytes(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (bytes, encodings) = (Blobs::new(args, 0)?, Texts::new(args, 1)?);
    strings(rows, |row, out| {
        let (Some(bytes), Some(encoding)) = (bytes.get(row), encodings.get(row)) else { return false };
        match Encoding::of(encoding) {
            Some(Encoding::Hex) => bytes.iter().for_each(|byte| {
                let _ = write!(out, "{byte:02X}");
            }),
            Some(encoding) => encoding.write(bytes, out),
            None => errors.fail(row),
        }
        Encoding::of(encoding).is_some()
    })
}

/// A number of exactly `N` bytes.
fn number<T: ArrowPrimitiveType, const N: usize>(
    args: &[ColumnarValue],
    rows: usize,
    errors: &mut ErrorSink,
    read: fn([u8; N]) -> T::Native,
) -> Result<ColumnarValue> {
    let bytes = Blobs::new(args, 0)?;
    let orders = if args.len() > 1 { Some(Texts::new(args, 1)?) } else { None };
    numbers::<T>(rows, |row| {
        let bytes = bytes.get(row)?;
        let order = orders.as_ref().map_or(Some("BIG_ENDIAN"), |o| o.get(row))?;
        let value = match (<[u8; N]>::try_from(bytes).ok(), order.to_ascii_uppercase().as_str()) {
            (Some(bytes), "BIG_ENDIAN") => Some(read(bytes)),
            (Some(mut bytes), "LITTLE_ENDIAN") => {
                bytes.reverse();
                Some(read(bytes))
            }
            _ => None,
        };
        if value.is_none() {
            errors.fail(row);
        }
        value
    })
}

/// `\u004b`, one or several; anything else has no character.
fn unescape(text: &str, out: &mut String) -> bool {
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix("\\u") {
        let Some(code) = after.get(..4).and_then(|d| u16::from_str_radix(d, 16).ok()) else { return false };
        units.push(code);
        rest = &after[4..];
    }
    let found = !units.is_empty() && rest.is_empty();
    if found {
        out.push_str(&String::from_utf16_lossy(&units));
    }
    found
}
