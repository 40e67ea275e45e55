//! One value on the wire into one column, by what the writer's field is and what the column is (ksqlDB's `ConnectDataTranslator`).
//!
//! ```text
//! column     takes fields of
//! INTEGER    int32 sint32 sfixed32, and dates and times as their numbers
//! BIGINT     all integers, dates, times and timestamps
//! DOUBLE     float double
//! STRING     string, enums, and every number and bool as its text
//! DECIMAL    confluent.type.Decimal, if it fits without rounding
//! DATE TIME  what INTEGER takes          TIMESTAMP    what BIGINT takes
//! BOOLEAN bool   BYTES bytes   STRUCT a message   ARRAY repeated   MAP a map
//! ```

use super::steps::{Fault, Value};
use crate::format::cells::{Cells, Data, Pieces};
use crate::format::proto::SECONDS;
use crate::format::proto::schema::Scalar;
use crate::format::proto::wire::{Wire, each, numbers};
use crate::types::calendar;
use crate::types::decimal_text::DecimalText;
use crate::types::java_double::{write_java_double, write_java_float};
use crate::types::temporal::DAY_MS;
use arrow::array::ArrowNativeTypeOp;
use arrow::datatypes::i256;

/// Nanoseconds of a second, an exclusive limit.
const SECOND_NANOS: i64 = 1_000_000_000;

impl Value {
    /// Whether a value of this wire type belongs to the field. Another one counts as an unknown field.
    #[inline(always)]
    pub(in crate::format::proto) fn takes(&self, wire: Wire<'_>) -> bool {
        match (self, wire) {
            (Value::Int(scalar), wire) => match scalar {
                Scalar::Fixed32 | Scalar::Sfixed32 => matches!(wire, Wire::Fixed32(_)),
                Scalar::Fixed64 | Scalar::Sfixed64 => matches!(wire, Wire::Fixed64(_)),
                _ => matches!(wire, Wire::Varint(_)),
            },
            (Value::Bool | Value::Enum(_), wire) => matches!(wire, Wire::Varint(_)),
            (Value::Float, wire) => matches!(wire, Wire::Fixed32(_)),
            (Value::Double, wire) => matches!(wire, Wire::Fixed64(_)),
            (Value::Mismatch(_), _) => true,
            (_, wire) => matches!(wire, Wire::Bytes(_)),
        }
    }

    /// Whether several occurrences of it are merged, not overridden.
    pub(in crate::format::proto) fn is_message(&self) -> bool {
        matches!(
            self,
            Value::Decimal | Value::Date | Value::Time | Value::Timestamp | Value::Message(_) | Value::Wrapper(_)
        )
    }

    /// Whether a value is valid, of the types where that is seen without reading it into a column.
    #[inline(always)]
    pub(in crate::format::proto) fn is_valid(&self, wire: Wire<'_>) -> Option<bool> {
        match (self, wire) {
            (Value::Text(true), Wire::Bytes(b)) => Some(is_text(b)),
            (Value::Int(_) | Value::Bool | Value::Float | Value::Double | Value::Enum(_) | Value::Bytes, _) => {
                Some(true)
            }
            _ => None,
        }
    }

    /// What a field that is absent and has no presence is read as.
    pub(in crate::format::proto) fn default_wire(&self) -> Wire<'static> {
        match self {
            Value::Int(Scalar::Fixed32 | Scalar::Sfixed32) | Value::Float => Wire::Fixed32(0),
            Value::Int(Scalar::Fixed64 | Scalar::Sfixed64) | Value::Double => Wire::Fixed64(0),
            Value::Int(_) | Value::Bool | Value::Enum(_) => Wire::Varint(0),
            _ => Wire::Bytes(b""),
        }
    }

    /// Appends a value that the field takes.
    #[inline(always)]
    pub(in crate::format::proto) fn push(&mut self, cells: &mut Cells, wire: Wire<'_>) -> Result<(), Fault> {
        match (&*self, &mut cells.data, wire) {
            (Value::Int(Scalar::Int64), Data::Bigint(v), Wire::Varint(n)) => v.push(n as i64),
            (Value::Int(Scalar::Int32), Data::Integer(v), Wire::Varint(n)) => v.push(n as i32),
            (Value::Double, Data::Double(v), Wire::Fixed64(n)) => v.push(f64::from_bits(n)),
            (Value::Text(strict), Data::String(v), Wire::Bytes(b)) => push_text(*strict, b, v)?,
            _ => return self.push_other(cells, wire),
        }
        Ok(())
    }

    fn push_other(&mut self, cells: &mut Cells, wire: Wire<'_>) -> Result<(), Fault> {
        match self {
            Value::Mismatch(reason) => return Err(Fault::Kind(reason.clone())),
            Value::Message(plan) => {
                let (Data::Struct { fields, rows }, Wire::Bytes(b)) = (&mut cells.data, wire) else {
                    return Err(Fault::Invalid);
                };
                *rows += 1;
                return plan.read(b, fields);
            }
            Value::Wrapper(inner) => {
                let Wire::Bytes(b) = wire else { return Err(Fault::Invalid) };
                let mut value = inner.default_wire();
                each(b, |number, wire| {
                    if number == 1 && inner.takes(wire) {
                        value = wire;
                    }
                    Some(())
                })
                .ok_or(Fault::Malformed)?;
                return inner.push(cells, value);
            }
            _ => {}
        }
        self.push_scalar(&mut cells.data, wire).ok_or(Fault::Invalid)
    }

    fn push_scalar(&self, data: &mut Data, wire: Wire<'_>) -> Option<()> {
        match data {
            Data::Integer(v) => v.push(self.number(wire)? as i32),
            Data::Bigint(v) | Data::Timestamp(v) => v.push(self.number(wire)?),
            Data::Date(v) => v.push(i32::try_from(self.number(wire)?).ok()?),
            Data::Time(v) => {
                let ms = self.number(wire)?;
                v.push(if (0..=DAY_MS).contains(&ms) { ms } else { ms.rem_euclid(DAY_MS) } as i32);
            }
            Data::Double(v) => v.push(match (self, wire) {
                (Value::Float, Wire::Fixed32(bits)) => f64::from(f32::from_bits(bits)),
                (Value::Double, Wire::Fixed64(bits)) => f64::from_bits(bits),
                _ => return None,
            }),
            Data::Boolean(v) => match wire {
                Wire::Varint(n) => v.push(n != 0),
                _ => return None,
            },
            Data::Bytes(v) => match wire {
                Wire::Bytes(b) => v.push(b),
                _ => return None,
            },
            Data::Decimal { values, precision, scale } => {
                values.push(decimal(wire, *precision, *scale)?.to_i128()?);
            }
            Data::WideDecimal { values, precision, scale } => values.push(decimal(wire, *precision, *scale)?),
            Data::String(v) => {
                self.text(wire, &mut v.bytes)?;
                v.close();
            }
            Data::Array { .. } | Data::Map { .. } | Data::Struct { .. } => return None,
        }
        Some(())
    }

    /// An integer; dates are days, times milliseconds of the day, timestamps milliseconds.
    #[inline]
    fn number(&self, wire: Wire<'_>) -> Option<i64> {
        Some(match (self, wire) {
            (Value::Int(scalar), Wire::Varint(n)) => match scalar {
                Scalar::Int32 => i64::from(n as i32),
                Scalar::Uint32 => i64::from(n as u32),
                Scalar::Sint32 => i64::from((n as u32 >> 1) as i32 ^ -((n as u32 & 1) as i32)),
                Scalar::Sint64 => (n >> 1) as i64 ^ -((n & 1) as i64),
                _ => n as i64,
            },
            (Value::Int(Scalar::Sfixed32), Wire::Fixed32(n)) => i64::from(n as i32),
            (Value::Int(_), Wire::Fixed32(n)) => i64::from(n),
            (Value::Int(_), Wire::Fixed64(n)) => n as i64,
            (Value::Date, Wire::Bytes(b)) => date(b)?,
            (Value::Time, Wire::Bytes(b)) => time(b)?,
            (Value::Timestamp, Wire::Bytes(b)) => timestamp(b)?,
            _ => return None,
        })
    }

    /// Appends the text that ksqlDB makes of a scalar.
    pub(in crate::format::proto) fn text(&self, wire: Wire<'_>, out: &mut Vec<u8>) -> Option<()> {
        match (self, wire) {
            (Value::Enum(known), Wire::Varint(n)) => match known.name_of(n as i32) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => out.extend_from_slice(format!("UNKNOWN_ENUM_VALUE_{}_{}", known.name, n as i32).as_bytes()),
            },
            (Value::Bool, Wire::Varint(n)) => out.extend_from_slice(if n != 0 { b"true" } else { b"false" }),
            (Value::Float, Wire::Fixed32(bits)) => write_java_float(f32::from_bits(bits), out),
            (Value::Double, Wire::Fixed64(bits)) => write_java_double(f64::from_bits(bits), out),
            (Value::Text(true), Wire::Bytes(b)) => {
                out.extend_from_slice(simdutf8::basic::from_utf8(b).ok()?.as_bytes());
            }
            (Value::Text(false), Wire::Bytes(b)) => out.extend_from_slice(String::from_utf8_lossy(b).as_bytes()),
            _ => out.extend_from_slice(itoa::Buffer::new().format(self.number(wire)?).as_bytes()),
        }
        Some(())
    }
}

/// Whether bytes are UTF-8. Most texts are ASCII, which is cheaper to see.
#[inline(always)]
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Appends a text. What is no UTF-8 is bad if it is `strict`, and repaired otherwise.
#[inline(always)]
pub(super) fn push_text(strict: bool, bytes: &[u8], to: &mut Pieces) -> Result<(), Fault> {
    match is_text(bytes) {
        true => to.push(bytes),
        false if strict => return Err(Fault::Invalid),
        false => to.push(String::from_utf8_lossy(bytes).as_bytes()),
    }
    Ok(())
}

fn date(bytes: &[u8]) -> Option<i64> {
    let [year, month, day] = numbers(bytes)?.map(|n| i64::from(n as i32));
    if year < 1 {
        return None;
    }
    calendar::to_days(year, month, day)
}

/// Milliseconds of the day. 24:00 is a TIME as well.
fn time(bytes: &[u8]) -> Option<i64> {
    let [hours, minutes, seconds, nanos] = numbers(bytes)?.map(|n| i64::from(n as i32));
    let in_range = (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    let ms = in_range.then(|| ((hours * 60 + minutes) * 60 + seconds) * 1000)?;
    let nanos = (0..SECOND_NANOS).contains(&nanos).then_some(nanos)?;
    let last = ms < DAY_MS || ms == DAY_MS && nanos == 0;
    last.then_some(ms + nanos / 1_000_000)
}

fn timestamp(bytes: &[u8]) -> Option<i64> {
    let [seconds, nanos] = numbers(bytes)?;
    let nanos = i64::from(nanos as i32);
    let valid = SECONDS.contains(&seconds) && (0..SECOND_NANOS).contains(&nanos);
    valid.then(|| seconds * 1000 + nanos / 1_000_000)
}

/// A DECIMAL message that fits without rounding.
fn decimal(wire: Wire<'_>, precision: u8, scale: i8) -> Option<i256> {
    let Wire::Bytes(bytes) = wire else { return None };
    let (mut unscaled, mut given): (&[u8], i32) = (&[], 0);
    each(bytes, |number, value| {
        match (number, value) {
            (1, Wire::Bytes(b)) => unscaled = b,
            (3, Wire::Varint(n)) => given = n as i32,
            _ => {}
        }
        Some(())
    })?;
    let sign = if unscaled.first().is_some_and(|b| b & 0x80 != 0) { 0xFF } else { 0 };
    let more = unscaled.len().saturating_sub(32);
    if unscaled[..more].iter().any(|b| *b != sign) || more > 0 && (unscaled[more] ^ sign) & 0x80 != 0 {
        return None;
    }
    let (unscaled, mut wide) = (&unscaled[more..], [sign; 32]);
    wide[32 - unscaled.len()..].copy_from_slice(unscaled);
    let value = i256::from_be_bytes(wide);
    if value == i256::ZERO {
        return Some(value);
    }
    if given == i32::from(scale) && value.checked_abs()? < i256::from_i128(10).pow_wrapping(u32::from(precision)) {
        return Some(value);
    }
    DecimalText::parse(format!("{value}e{}", -i64::from(given)).as_bytes())?.unscaled(precision, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_absurd_numbers_is_no_time() {
        // hours = 2^62: the fuzz found an overflow here.
        assert_eq!(time(b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x40"), Some(0), "an int32 has the low bits only");
        assert_eq!(time(b"\x08\x80\x80\x80\x80\x07"), None);
        assert_eq!(time(b"\x08\x18"), Some(86_400_000));
        assert_eq!(time(b"\x08\x18\x20\x01"), None);
        assert_eq!(time(b"\x10\x3c"), None);
    }

    #[test]
    fn a_date_needs_all_its_parts() {
        assert_eq!(date(b"\x08\xe8\x0f\x10\x02\x18\x1d"), Some(19_782));
        assert_eq!(date(b""), None);
        assert_eq!(date(b"\x08\xe8\x0f"), None);
    }

    #[test]
    fn a_decimal_has_its_own_scale() {
        let decimal = |bytes, precision, scale| decimal(Wire::Bytes(bytes), precision, scale);
        assert_eq!(decimal(b"\x0a\x01\x0f\x18\x01", 4, 2), Some(i256::from_i128(150)));
        assert_eq!(decimal(b"\x0a\x02\x03\xe9\x18\x03", 4, 2), None, "1.001 would be rounded");
        assert_eq!(decimal(b"\x0a\x03\x01\x86\xa0\x18\x02", 4, 2), None, "1000.00 has six digits");
        assert_eq!(decimal(b"", 4, 2), Some(i256::ZERO));
    }
}
