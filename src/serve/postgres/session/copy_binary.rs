//! Rows of a binary COPY from the client, and their values. Pure.
//!
//! ```text
//! PGCOPY\n\377\r\n\0  flags  length of an extension        once
//! 2 columns  4: 00 00 00 07  -1                            a row: 7, NULL
//! -1                                                       the end
//! ```
//!
//! A value has to be of its column's type on the wire (docs/postgres.md): nothing is converted, as in Postgres.

use super::copy_format::SIGNATURE;
use crate::serve::limits::BODY_BYTES_MAX;
use crate::serve::postgres::errors::{BAD_COPY, Failure};
use crate::serve::postgres::types::{EPOCH_DAYS, read_numeric};
use crate::types::temporal::{DAY_MS, date_text, timestamp_text};
use crate::types::{SqlType, base64};
use serde_json::Value;

/// Bytes of the signature alone; four of flags and four of a length follow.
const SIGNATURE_BYTES: usize = 11;
const HEAD_BYTES: usize = SIGNATURE_BYTES + 8;

/// Reads rows from bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Tuples {
    buffer: Vec<u8>,
    /// Where the next row begins.
    at: usize,
    begun: bool,
    ended: bool,
}

fn broken(what: &str) -> Failure {
    Failure::new(BAD_COPY, what)
}

impl Tuples {
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.buffer.drain(..std::mem::take(&mut self.at));
        if self.buffer.len() > BODY_BYTES_MAX {
            return Err(broken(&format!("a row of COPY exceeds {BODY_BYTES_MAX} bytes")));
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// The next whole row; `last`: nothing follows what has arrived.
    pub(super) fn next(&mut self, last: bool) -> Result<Option<Vec<Option<Vec<u8>>>>, Failure> {
        if !self.begun && !self.head()? {
            return if last { Err(broken("COPY file signature not recognized")) } else { Ok(None) };
        }
        if self.ended {
            return Ok(None);
        }
        let mut at = self.at;
        match self.tuple(&mut at)? {
            Some(cells) => {
                self.at = at;
                self.ended = cells.is_none();
                Ok(cells)
            }
            None if last && self.at < self.buffer.len() => Err(broken("unexpected EOF in COPY data")),
            None => Ok(None),
        }
    }

    /// Passes what is in front of the rows; false = it has not arrived as a whole.
    fn head(&mut self) -> Result<bool, Failure> {
        let known = self.buffer.len().min(SIGNATURE_BYTES);
        if self.buffer[..known] != SIGNATURE[..known] {
            return Err(broken("COPY file signature not recognized"));
        }
        let (Some(flags), Some(extension)) = (self.word(SIGNATURE_BYTES), self.word(SIGNATURE_BYTES + 4)) else {
            return Ok(false);
        };
        if flags != 0 {
            return Err(broken("unrecognized critical flags in COPY file header"));
        }
        let extension = usize::try_from(extension).ok().filter(|bytes| *bytes <= BODY_BYTES_MAX);
        let length = HEAD_BYTES + extension.ok_or_else(|| broken("invalid COPY file header"))?;
        self.begun = self.buffer.len() >= length;
        if self.begun {
            self.at = length;
        }
        Ok(self.begun)
    }

    fn word(&self, at: usize) -> Option<i32> {
        Some(i32::from_be_bytes(self.buffer.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    /// A row from here on, or `Some(None)` at the end of all; `None` = it has not arrived as a whole.
    #[allow(clippy::type_complexity, reason = "the outer Option is the caller's question, the inner one the data's")]
    fn tuple(&self, at: &mut usize) -> Result<Option<Option<Vec<Option<Vec<u8>>>>>, Failure> {
        let Some(count) = self.buffer.get(*at..*at + 2) else { return Ok(None) };
        let count = i16::from_be_bytes([count[0], count[1]]);
        *at += 2;
        if count < 0 {
            return Ok(Some(None));
        }
        let mut cells = Vec::new();
        for _ in 0..count {
            let Some(length) = self.word(*at) else { return Ok(None) };
            *at += 4;
            let cell = match usize::try_from(length) {
                Err(_) => None,
                Ok(length) if length > BODY_BYTES_MAX => {
                    return Err(broken(&format!("a value of COPY exceeds {BODY_BYTES_MAX} bytes")));
                }
                Ok(length) => {
                    let Some(cell) = self.buffer.get(*at..*at + length) else { return Ok(None) };
                    *at += length;
                    Some(cell.to_vec())
                }
            };
            cells.push(cell);
        }
        Ok(Some(Some(cells)))
    }
}

/// Binary data as a value of a column, in the form of `/inserts-stream`; `None` = it is none.
pub(super) fn value(bytes: &[u8], ty: &SqlType) -> Option<Value> {
    let four = || Some(i32::from_be_bytes(bytes.try_into().ok()?));
    let eight = || Some(i64::from_be_bytes(bytes.try_into().ok()?));
    let text = || std::str::from_utf8(bytes).ok();
    Some(match ty {
        SqlType::Boolean => match bytes {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return None,
        },
        SqlType::Integer => Value::from(four()?),
        SqlType::Bigint => Value::from(eight()?),
        SqlType::Double => {
            let number = f64::from_bits(eight()? as u64);
            serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        SqlType::Decimal(..) => Value::Number(serde_json::from_str(&read_numeric(bytes)?).ok()?),
        SqlType::String => Value::String(text()?.to_owned()),
        SqlType::Bytes => {
            let mut encoded = Vec::new();
            base64::encode(bytes, &mut encoded);
            Value::String(String::from_utf8(encoded).ok()?)
        }
        SqlType::Date => Value::String(date_text(four()?.checked_add(EPOCH_DAYS)?)),
        SqlType::Time => {
            let ms = eight()? / 1000;
            let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
            Value::String(format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms.rem_euclid(1000)))
        }
        SqlType::Timestamp => {
            Value::String(timestamp_text(eight()?.div_euclid(1000).checked_add(i64::from(EPOCH_DAYS) * DAY_MS)?))
        }
        SqlType::Array(item) if !matches!(**item, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_)) => {
            array(bytes, item)?
        }
        // jsonb begins with its version.
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => match bytes.split_first()? {
            (1, text) => serde_json::from_slice(text).ok()?,
            _ => return None,
        },
    })
}

/// An array of one dimension.
fn array(bytes: &[u8], item: &SqlType) -> Option<Value> {
    let word = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    match word(0)? {
        0 => return Some(Value::Array(Vec::new())),
        1 => {}
        _ => return None,
    }
    let (count, mut at, mut items) = (word(12)?, 20, Vec::new());
    for _ in 0..count {
        let length = word(at)?;
        at += 4;
        items.push(match usize::try_from(length) {
            Err(_) => Value::Null,
            Ok(length) => {
                let one = bytes.get(at..at.checked_add(length)?)?;
                at += length;
                value(one, item)?
            }
        });
    }
    (at == bytes.len()).then_some(Value::Array(items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_however_they_are_cut() {
        let mut data = SIGNATURE.to_vec();
        data.extend_from_slice(&[0, 2, 0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        for step in [1, 5, data.len()] {
            let (mut tuples, mut rows) = (Tuples::default(), Vec::new());
            for piece in data.chunks(step) {
                tuples.push(piece).unwrap();
                while let Some(row) = tuples.next(false).unwrap() {
                    rows.push(row);
                }
            }
            assert!(tuples.next(true).unwrap().is_none() && tuples.ended);
            assert_eq!(rows, [vec![Some(vec![7]), None], vec![]]);
        }
        let mut cut = Tuples::default();
        cut.push(&data[..22]).unwrap();
        assert!(cut.next(false).unwrap().is_none());
        assert!(cut.next(true).is_err());
        for wrong in [&b"id,n\n1,2\n"[..], &data[..5]] {
            let mut tuples = Tuples::default();
            tuples.push(wrong).unwrap();
            assert!(tuples.next(true).is_err(), "{wrong:?}");
        }
        let mut huge = Tuples::default();
        huge.push(&[&data[..21], &[0x7f, 0xff, 0xff, 0xff]].concat()).unwrap();
        assert!(huge.next(false).is_err());
    }

    #[test]
    fn values_are_those_of_their_columns() {
        assert_eq!(value(&7_i32.to_be_bytes(), &SqlType::Integer), Some(Value::from(7)));
        assert_eq!(value(&7_i64.to_be_bytes(), &SqlType::Integer), None);
        assert_eq!(value(&1.5_f64.to_be_bytes(), &SqlType::Double), Some(Value::from(1.5)));
        assert_eq!(value(&1_000_i64.to_be_bytes(), &SqlType::Timestamp), Some("2000-01-01T00:00:00.001".into()));
        assert_eq!(value(&[0xff], &SqlType::String), None);
        let items = [&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1][..], &[0, 0, 0, 1, b'x']].concat();
        let texts = SqlType::Array(Box::new(SqlType::String));
        assert_eq!(value(&[&items[..], &[0xff; 4]].concat(), &texts), Some(serde_json::json!(["x", null])));
        assert_eq!(value(&items, &texts), None);
    }
}
