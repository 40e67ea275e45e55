//! Numbers as Java writes and reads them.
//!
//! ```text
//! Double.toString       0.001   1234567.0   1.0E7   4.9E-324
//! BigDecimal.toString   0.0001  1E-7   1E+3
//! BigDecimal(String)    5  +5  5.  .5  1e3        (no blanks)
//! Double.parseDouble    " 5 "  NaN  -Infinity  1d  (no hexadecimal here)
//! ```

use arrow::datatypes::i256;

/// Largest magnitude of an exponent that is read: Java's scale is an `int`.
const EXPONENT_MAX: i64 = i32::MAX as i64;

/// Appends `v` as `Double.toString` of Java 19 and later does: the shortest digits that read back as `v`.
pub fn write_java_double(v: f64, out: &mut Vec<u8>) {
    if v == v.trunc() && v.abs() < 1e7 && (v != 0.0 || v.is_sign_positive()) {
        out.extend_from_slice(itoa::Buffer::new().format(v as i64).as_bytes());
        out.extend_from_slice(b".0");
    } else if v.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        if v.is_sign_negative() {
            out.push(b'-');
        }
        match v.abs() {
            f64::INFINITY => out.extend_from_slice(b"Infinity"),
            0.0 => out.extend_from_slice(b"0.0"),
            v => write_positive(v, out),
        }
    }
}

fn write_positive(v: f64, out: &mut Vec<u8>) {
    let mut buffer = ryu::Buffer::new();
    let (mut digits, mut exponent) = split_digits(buffer.format_finite(v).as_bytes());
    if digits.len() == 1 && v < f64::MIN_POSITIVE {
        // Java wants two digits, and among those the nearest: 4.9E-324, not 5.0E-324.
        (digits, exponent) = split_digits(format!("{v:.1e}").as_bytes());
    }
    let n = digits.len();
    if (-3..0).contains(&exponent) {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(&digits);
    } else if (0..7).contains(&exponent) {
        let whole = exponent as usize + 1;
        out.extend_from_slice(&digits[..whole.min(n)]);
        out.extend(std::iter::repeat_n(b'0', whole.saturating_sub(n)));
        out.push(b'.');
        out.extend_from_slice(if n > whole { &digits[whole..] } else { b"0" });
    } else {
        out.extend_from_slice(&[digits[0], b'.']);
        out.extend_from_slice(if n > 1 { &digits[1..] } else { b"0" });
        out.push(b'E');
        out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
    }
}

/// The significant digits of `12.5`, `1e16`, `1.25e-7`, and the power of ten of the first.
fn split_digits(text: &[u8]) -> (Vec<u8>, i32) {
    let e = text.iter().position(|&c| c == b'e');
    let mantissa = &text[..e.unwrap_or(text.len())];
    let power = e.map_or(0, |e| small_int(&text[e + 1..]) as i32);
    let point = mantissa.iter().position(|&c| c == b'.').unwrap_or(mantissa.len());
    let mut digits: Vec<u8> = mantissa.iter().copied().filter(|&c| c != b'.').collect();
    let zeros = digits.iter().take_while(|&&c| c == b'0').count();
    digits.drain(..zeros);
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    (digits, power + point as i32 - zeros as i32 - 1)
}

/// An integer with an optional sign; far outside of any exponent it saturates.
fn small_int(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits.iter().fold(0i64, |v, c| (v * 10 + i64::from(c - b'0')).min(EXPONENT_MAX * 4));
    if negative { -value } else { value }
}

/// Reads a text as `Double.parseDouble` does, hexadecimal forms excepted.
pub fn parse_java_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let value = match rest {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        _ => {
            let digits = rest.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(rest);
            if digits.starts_with(['+', '-']) || number_parts(digits.as_bytes()).is_none() {
                return None;
            }
            fast_float2::parse(digits).ok()?
        }
    };
    Some(if negative { -value } else { value })
}

/// Mantissa, place of its point, exponent text, of `[+-]digits[.digits][e[+-]digits]` with at least one digit.
fn number_parts(text: &[u8]) -> Option<(bool, &[u8], usize, &[u8])> {
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

/// A decimal number of any length, as Java's BigDecimal: digits and how many of them stand after the point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigDecimal {
    negative: bool,
    /// ASCII digits without leading zeros; `0` for zero.
    digits: Vec<u8>,
    scale: i64,
}

impl BigDecimal {
    /// Reads what `new BigDecimal(String)` reads: `5`, `+5.`, `.5`, `1e-3`.
    pub fn parse(text: &[u8]) -> Option<BigDecimal> {
        let (negative, mantissa, point, exponent) = number_parts(text)?;
        let scale = mantissa.len().saturating_sub(point + 1) as i64 - small_int(exponent);
        if scale.abs() > EXPONENT_MAX {
            return None;
        }
        let significant = mantissa.iter().copied().filter(|&c| c != b'.').skip_while(|&c| c == b'0');
        let mut digits: Vec<u8> = significant.collect();
        if digits.is_empty() {
            digits.push(b'0');
        }
        Some(BigDecimal { negative: negative && digits != b"0", digits, scale })
    }

    /// Is it zero?
    pub fn is_zero(&self) -> bool {
        self.digits == b"0"
    }

    /// `BigDecimal.longValue`: the low 64 bits of the integer part. `as i32` of it is `intValue`.
    pub fn low_i64(&self) -> i64 {
        let whole = self.digits.len() as i64 - self.scale;
        let kept = &self.digits[..whole.clamp(0, self.digits.len() as i64) as usize];
        let value = kept.iter().fold(0i64, |v, c| v.wrapping_mul(10).wrapping_add(i64::from(c - b'0')));
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
        let n = self.digits.len() as i64;
        if n + shift > i64::from(precision) || n + shift <= 0 {
            return None;
        }
        let kept = (n + shift).min(n) as usize;
        if self.digits[kept..].iter().any(|&c| c != b'0') {
            return None;
        }
        let ten = i256::from_i128(10);
        let zeros = std::iter::repeat_n(&b'0', shift.max(0) as usize);
        let value = self.digits[..kept]
            .iter()
            .chain(zeros)
            .fold(i256::ZERO, |v, c| v.wrapping_mul(ten).wrapping_add(i256::from_i128(i128::from(c - b'0'))));
        Some(if self.negative { value.wrapping_neg() } else { value })
    }

    /// Appends it as `BigDecimal.toString` does.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_big_decimal(self.negative, &self.digits, self.scale, out);
    }
}

/// Appends a number of ASCII `digits` (no leading zeros), `scale` of them after the point, as `BigDecimal.toString` does:
/// plain unless the scale is negative or the first digit stands more than six places after the point.
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

    fn double(v: f64) -> String {
        let mut out = vec![];
        write_java_double(v, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-12.5, "-12.5"),
            (0.001, "0.001"),
            (0.00099, "9.9E-4"),
            (9_999_999.0, "9999999.0"),
            (9_999_999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (1e10, "1.0E10"),
            (1e23, "1.0E23"),
            (2e23, "2.0E23"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::from_bits(1), "4.9E-324"),
            (f64::from_bits(2), "9.9E-324"),
            (f64::from_bits(3), "1.5E-323"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (0.1 + 0.2, "0.30000000000000004"),
            (123456.0, "123456.0"),
            (100.0 / 3.0, "33.333333333333336"),
        ];
        for (value, text) in cases {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn doubles_are_read_as_java_reads_them() {
        for (text, value) in [(" 5 ", 5.0), ("1d", 1.0), ("+.5e1F", 5.0), ("5.", 5.0), ("-Infinity", f64::NEG_INFINITY)]
        {
            assert_eq!(parse_java_double(text), Some(value), "{text}");
        }
        assert!(parse_java_double("-NaN").unwrap().is_nan());
        assert!(parse_java_double("-0").unwrap().is_sign_negative());
        for text in ["", " ", "inf", "nan", "1_0", "1e", "+-1", "--1", ".", "1 2", "d"] {
            assert_eq!(parse_java_double(text), None, "{text}");
        }
    }

    #[test]
    fn big_decimals_are_written_as_java_writes_them() {
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
            BigDecimal::parse(from.as_bytes()).unwrap().write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), to);
        }
        for text in ["", ".", "1e", "1e+", " 1", "1 ", "1e9999999999", "0x1", "--1", "1.2.3"] {
            assert_eq!(BigDecimal::parse(text.as_bytes()), None, "{text}");
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
            assert_eq!(BigDecimal::parse(text.as_bytes()).unwrap().low_i64(), value, "{text}");
        }
    }

    #[test]
    fn decimals_fit_without_rounding_or_not_at_all() {
        let fit = |text: &str, p, s| BigDecimal::parse(text.as_bytes()).unwrap().unscaled(p, s).map(|v| v.as_i128());
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
}
