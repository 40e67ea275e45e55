//! Decimal numbers as text: digits of any length, a point, an exponent; parsed in place.
//!
//! ```text
//! new BigDecimal(String)   5  +5  5.  .5  1e3        (no blanks)
//! BigDecimal.toString      0.0001  1E-7   1E+3
//! ```
//!
//! A [`DecimalText`] is of any length and only read, compared and copied; arithmetic needs a [`BigDecimal`], which has 256 bits.

use super::decimal::{BigDecimal, fits, power_of_ten};
use arrow::datatypes::i256;

/// Largest magnitude of an exponent: Java's scale is an `int`.
const EXPONENT_MAX: i64 = i32::MAX as i64;
/// Exponents beyond this cannot belong to a DECIMAL of 76 digits or to a DOUBLE; larger ones are not worth computing.
const EXACT_EXPONENT_MAX: i64 = 400;
/// Every number with this many digits fits into 128 bits.
const NARROW_DIGITS_MAX: i64 = 38;

/// A decimal number as `java.math.BigDecimal` parses it: digits, and the number of those after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecimalText<'a> {
    negative: bool,
    /// Digits, with at most one point, from the first digit that is not 0; empty for zero.
    mantissa: &'a [u8],
    /// Number of these digits.
    count: usize,
    scale: i64,
}

impl<'a> DecimalText<'a> {
    /// Reads what `new BigDecimal(String)` reads: `5`, `+5.`, `.5`, `1e-3`.
    pub fn parse(text: &'a [u8]) -> Option<DecimalText<'a>> {
        let (negative, mantissa, point, exponent) = number_parts(text)?;
        let scale = mantissa.len().saturating_sub(point + 1) as i64 - small_int(exponent);
        if scale.abs() > EXPONENT_MAX {
            return None;
        }
        let first = mantissa.iter().position(|c| !matches!(c, b'0' | b'.')).unwrap_or(mantissa.len());
        let count = mantissa.len() - first - usize::from((first..mantissa.len()).contains(&point));
        let mantissa = &mantissa[first..];
        Some(DecimalText { negative: negative && count > 0, mantissa, count, scale })
    }

    fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.mantissa.iter().copied().filter(|&c| c != b'.').map(|c| c - b'0')
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.count == 0
    }

    /// `BigDecimal.longValue`: the low 64 bits of the integer part. `as i32` of it is `intValue`.
    pub fn low_i64(&self) -> i64 {
        let whole = (self.count as i64 - self.scale).clamp(0, self.count as i64) as usize;
        let value = self.digits().take(whole).fold(0i64, |v, digit| v.wrapping_mul(10).wrapping_add(i64::from(digit)));
        // 10^64 is a multiple of 2^64.
        let zeros = (-self.scale).clamp(0, 64) as u32;
        let value = value.wrapping_mul(10i64.wrapping_pow(zeros));
        if self.negative { value.wrapping_neg() } else { value }
    }

    /// The unscaled value as DECIMAL(precision, scale), if it fits without rounding.
    pub fn unscaled(&self, precision: u8, scale: i8) -> Option<i256> {
        if self.is_zero() {
            return Some(i256::ZERO);
        }
        let shift = i64::from(scale) - self.scale;
        let whole = self.count as i64 + shift;
        if whole > i64::from(precision) || whole <= 0 {
            return None;
        }
        let kept = whole.min(self.count as i64);
        if self.digits().skip(kept as usize).any(|digit| digit != 0) {
            return None;
        }
        let digits = self.digits().take(kept as usize);
        let value = if whole <= NARROW_DIGITS_MAX {
            let value = digits.fold(0, |v, digit| v * 10 + i128::from(digit));
            i256::from_i128(value * 10i128.pow(shift.max(0) as u32))
        } else {
            let ten = i256::from_i128(10);
            let value =
                digits.fold(i256::ZERO, |v, d| v.wrapping_mul(ten).wrapping_add(i256::from_i128(i128::from(d))));
            value.checked_mul(power_of_ten(shift.max(0) as i32)?)?
        };
        debug_assert!(fits(value, precision));
        Some(if self.negative { value.wrapping_neg() } else { value })
    }

    /// The number for arithmetic, of up to 76 digits.
    pub fn to_big_decimal(&self) -> Option<BigDecimal> {
        if self.scale.abs() > EXACT_EXPONENT_MAX + self.mantissa.len() as i64 {
            return None;
        }
        let ten = i256::from_i128(10);
        let value = self
            .digits()
            .try_fold(i256::ZERO, |v, digit| v.checked_mul(ten)?.checked_add(i256::from_i128(i128::from(digit))))?;
        let unscaled = if self.negative { value.wrapping_neg() } else { value };
        Some(BigDecimal { unscaled, scale: i32::try_from(self.scale).ok()? })
    }

    /// Appends it as `BigDecimal.toString` does.
    pub fn write(&self, out: &mut Vec<u8>) {
        let digits: Vec<u8> = self.digits().map(|digit| digit + b'0').collect();
        let digits = if digits.is_empty() { b"0" } else { digits.as_slice() };
        write_big_decimal(self.negative, digits, self.scale, out);
    }
}

/// Sign, mantissa, position of its point, and exponent of `[+-]digits[.digits][e[+-]digits]` with at least one digit.
pub(super) fn number_parts(text: &[u8]) -> Option<(bool, &[u8], usize, &[u8])> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let e = text.iter().position(|c| matches!(c, b'e' | b'E'));
    let mantissa = &text[..e.unwrap_or(text.len())];
    let exponent = e.map_or(&b"0"[..], |e| &text[e + 1..]);
    let point = mantissa.iter().position(|&c| c == b'.').unwrap_or(mantissa.len());
    let digits = mantissa.iter().filter(|c| c.is_ascii_digit()).count();
    let unsigned = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
    let fine = digits > 0
        && digits + usize::from(point < mantissa.len()) == mantissa.len()
        && !unsigned.is_empty()
        && unsigned.iter().all(u8::is_ascii_digit);
    fine.then_some((negative, mantissa, point, exponent))
}

/// An integer with an optional sign; it saturates far beyond any exponent.
pub(super) fn small_int(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits.iter().fold(0i64, |v, c| (v * 10 + i64::from(c - b'0')).min(EXPONENT_MAX * 4));
    if negative { -value } else { value }
}

impl BigDecimal {
    /// What `new BigDecimal(text)` reads, up to 76 digits.
    pub fn parse(text: &str) -> Option<BigDecimal> {
        DecimalText::parse(text.as_bytes())?.to_big_decimal()
    }
}

/// Appends a number of ASCII `digits` (no leading zeros), `scale` of them after the point, as `BigDecimal.toString` does:
/// plain unless the scale is negative or the first digit is more than six places after the point.
pub fn write_big_decimal(negative: bool, digits: &[u8], scale: i64, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    let power = digits.len() as i64 - 1 - scale;
    if scale == 0 {
        out.extend_from_slice(digits);
    } else if scale > 0 && power >= -6 {
        write_pointed(digits, scale as usize, out);
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        if power != 0 {
            out.extend_from_slice(if power > 0 { b"E+" } else { b"E" });
            out.extend_from_slice(itoa::Buffer::new().format(power).as_bytes());
        }
    }
}

/// Appends `digits` with `scale` (at least 1) of them after the point: `BigDecimal.toPlainString`.
pub fn write_pointed(digits: &[u8], scale: usize, out: &mut Vec<u8>) {
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_written_as_java_writes_them() {
        let cases = [
            ("1e3", "1E+3"),
            ("-0", "0"),
            ("0.00", "0.00"),
            ("1.50", "1.50"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1E-7"),
            ("-12.5e-9", "-1.25E-8"),
            ("123e5", "1.23E+7"),
            ("0e-8", "0E-8"),
            (".5", "0.5"),
            ("+007.", "7"),
            ("1e0", "1"),
        ];
        for (from, to) in cases {
            let mut out = vec![];
            DecimalText::parse(from.as_bytes()).unwrap().write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), to);
        }
        for text in ["", ".", "1e", "1e+", "1e+-5", "1e++5", " 1", "1 ", "1e9999999999", "0x1", "--1", "1.2.3"] {
            assert_eq!(DecimalText::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn integer_parts_lose_their_high_bits() {
        let cases = [
            ("1.9", 1),
            ("-1.9", -1),
            ("1e3", 1000),
            ("18446744073709551617", 1),
            ("0.5", 0),
            ("7e64", 0),
            ("5e-999999999", 0),
        ];
        for (text, value) in cases {
            assert_eq!(DecimalText::parse(text.as_bytes()).unwrap().low_i64(), value, "{text}");
        }
    }

    #[test]
    fn decimals_fit_without_rounding_or_not_at_all() {
        let fit = |text: &str, p, s| DecimalText::parse(text.as_bytes()).unwrap().unscaled(p, s).map(|v| v.as_i128());
        assert_eq!(fit("1.10", 2, 1), Some(11));
        assert_eq!(fit("1.15", 3, 1), None);
        assert_eq!(fit("10", 2, 1), None);
        assert_eq!(fit("1e1", 2, 0), Some(10));
        assert_eq!(fit("-9.9", 2, 1), Some(-99));
        assert_eq!(fit("0e-999999", 2, 1), Some(0));
        assert_eq!(fit("0.01", 4, 4), Some(100));
        assert_eq!(fit("1", 4, 4), None);
        assert_eq!(fit("1e-9", 4, 4), None);
    }

    /// The digits of the unscaled value, by moving the point in the text.
    fn slowly(negative: bool, (whole, part): (&str, &str), exponent: i64, precision: u8, scale: i8) -> Option<String> {
        let shift = i64::from(scale) - part.len() as i64 + exponent;
        let mut digits = format!("{whole}{part}");
        if digits.trim_matches('0').is_empty() {
            return Some("0".to_owned());
        }
        (0..shift).for_each(|_| digits.push('0'));
        for _ in shift..0 {
            if digits.pop()? != '0' {
                return None;
            }
        }
        let digits = digits.trim_start_matches('0');
        let fits = !digits.is_empty() && digits.len() <= usize::from(precision);
        fits.then(|| format!("{}{digits}", if negative { "-" } else { "" }))
    }

    proptest! {
        #[test]
        fn moving_the_point_gives_the_unscaled_value(
            negative in any::<bool>(), whole in "0{0,3}[0-9]{1,40}", part in "[0-9]{0,20}0{0,60}", exponent in -60i64..60,
            (precision, scale) in (1u8..=76).prop_flat_map(|p| (Just(p), 0..=p as i8)),
        ) {
            let text = format!("{}{whole}.{part}e{exponent}", if negative { "-" } else { "" });
            let number = DecimalText::parse(text.as_bytes()).unwrap();
            let expected = slowly(negative, (&whole, &part), exponent, precision, scale);
            let unscaled = number.unscaled(precision, scale);
            prop_assert_eq!(unscaled.map(|v| v.to_string()), expected, "{}", text);
            // The number for arithmetic is the same if its digits fit into 256 bits.
            if let (Some(unscaled), Some(exact)) = (unscaled, number.to_big_decimal()) {
                prop_assert!(exact.compare(BigDecimal { unscaled, scale: i32::from(scale) }).is_eq(), "{}", text);
            }
        }
    }
}
