//! Numbers as Java reads and prints them: ksqlDB's text of a DOUBLE or DECIMAL is Java's.
//!
//! `java_double(1e10)` is `1.0E10`, `java_double(100.0)` is `100.0`; a DECIMAL is always plain: `-0.05`.

use arrow::datatypes::i256;
use std::cmp::Ordering;

/// Exponents beyond this cannot belong to a DECIMAL of 76 digits or to a DOUBLE; larger ones are not worth computing.
const EXPONENT_MAX: i32 = 400;

/// A DOUBLE as `Double.toString` prints it (the shortest digits that read back as the same number, as since JDK 19).
pub fn java_double(x: f64) -> String {
    let mut out = String::new();
    write_java_double(x, &mut out);
    out
}

/// Appends what [`java_double`] answers.
pub fn write_java_double(x: f64, out: &mut String) {
    if x.is_nan() {
        return out.push_str("NaN");
    }
    if x.is_infinite() {
        return out.push_str(if x < 0.0 { "-Infinity" } else { "Infinity" });
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(x);
    let size = x.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        // ryu prints this range plainly, but for 1e-5 and smaller.
        return out.push_str(text);
    }
    let (digits, exponent) = digits_of(text);
    if x < 0.0 {
        out.push('-');
    }
    // Double.toString knows no one-digit subnormals: 4.9E-324.
    let digits = if size == f64::from_bits(1) { "49" } else { digits.as_str() };
    let exponent = if size == f64::from_bits(1) { -324 } else { exponent };
    out.push_str(&digits[..1]);
    out.push('.');
    out.push_str(if digits.len() > 1 { &digits[1..] } else { "0" });
    out.push('E');
    out.push_str(itoa::Buffer::new().format(exponent));
}

/// Significant digits and the exponent of the first one.
fn digits_of(text: &str) -> (String, i32) {
    let text = text.trim_start_matches('-');
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{part}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let digits = all.trim_matches('0').to_string();
    let exponent = exponent.parse::<i32>().unwrap_or(0) + whole.len() as i32 - 1 - leading as i32;
    (if digits.is_empty() { "0".to_string() } else { digits }, exponent)
}

/// `Double.parseDouble` after trimming; hexadecimal numbers are not read.
pub fn parse_double(text: &str) -> Option<f64> {
    let text = text.trim();
    let bare = text.trim_start_matches(['+', '-']);
    match bare {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => {}
    }
    if !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().ok()
}

/// An exact decimal number: `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact {
    /// All digits.
    pub unscaled: i256,
    /// How many of them stand after the point.
    pub scale: i32,
}

impl Exact {
    /// What `new BigDecimal(text)` reads, up to 76 digits.
    pub fn parse(text: &str) -> Option<Exact> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((m, e)) => (m, e.strip_prefix('+').unwrap_or(e).parse::<i32>().ok()?),
            None => (text, 0),
        };
        if !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
            return None;
        }
        let (negative, digits) = match mantissa.as_bytes().first()? {
            b'-' => (true, &mantissa[1..]),
            b'+' => (false, &mantissa[1..]),
            _ => (false, mantissa),
        };
        let (mut unscaled, mut scale, mut point, mut any) = (i256::ZERO, 0i32, false, false);
        for byte in digits.bytes() {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    let digit = i256::from_i128(i128::from(byte - b'0'));
                    unscaled = unscaled.checked_mul(i256::from_i128(10))?.checked_add(digit)?;
                    scale = scale.checked_add(i32::from(point))?;
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        let unscaled = if negative { unscaled.wrapping_neg() } else { unscaled };
        any.then_some(Exact { unscaled, scale: scale - exponent })
    }

    /// The decimal number that `Double.toString` prints: what `BigDecimal.valueOf` makes of a DOUBLE.
    pub fn of_double(x: f64) -> Option<Exact> {
        if !x.is_finite() {
            return None;
        }
        let mut buffer = ryu::Buffer::new();
        let (digits, exponent) = digits_of(buffer.format_finite(x));
        let unscaled = i256::from_i128(digits.parse::<i128>().ok()?);
        let unscaled = if x < 0.0 { unscaled.wrapping_neg() } else { unscaled };
        Some(Exact { unscaled, scale: digits.len() as i32 - 1 - exponent })
    }

    /// The unscaled value at another scale, rounded half up (away from zero); `None` = more digits than fit.
    pub fn rescale(self, scale: i32) -> Option<i256> {
        if self.unscaled == i256::ZERO {
            return Some(i256::ZERO);
        }
        if scale >= self.scale {
            return self.unscaled.checked_mul(power_of_ten(scale - self.scale)?);
        }
        let Some(divisor) = power_of_ten(self.scale - scale) else { return Some(i256::ZERO) };
        let quotient = self.unscaled.checked_div(divisor)?;
        let rest = self.unscaled.checked_rem(divisor)?.wrapping_abs();
        // rest * 2 could wrap around: compare with what is left of the divisor.
        let up = rest >= divisor.wrapping_sub(rest);
        let step = i256::from_i128(if self.unscaled < i256::ZERO { -1 } else { 1 });
        if up { quotient.checked_add(step) } else { Some(quotient) }
    }

    /// By value, whatever the scales.
    pub fn compare(self, other: Exact) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.rescale(scale), other.rescale(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // The side that does not fit is the longer one.
            (None, _) => self.unscaled.cmp(&i256::ZERO),
            (_, None) => i256::ZERO.cmp(&other.unscaled),
        }
    }

    /// The nearest DOUBLE.
    pub fn to_double(self) -> f64 {
        /// Whole numbers up to here, and powers of ten up to 22, are exact as DOUBLE: one division rounds once.
        const EXACT: i128 = 1 << 53;
        if let Some(unscaled) = self.unscaled.to_i128()
            && unscaled.abs() <= EXACT
            && (0..=22).contains(&self.scale)
        {
            return unscaled as f64 / 10f64.powi(self.scale);
        }
        format!("{}e{}", self.unscaled, -self.scale).parse().unwrap_or(f64::NAN)
    }
}

/// `10^digits`, if 256 bits hold it.
pub fn power_of_ten(digits: i32) -> Option<i256> {
    if !(0..=76).contains(&digits) {
        return None;
    }
    Some(i256::from_i128(10).wrapping_pow(digits as u32))
}

/// The value fits DECIMAL(precision, _).
pub fn fits(unscaled: i256, precision: u8) -> bool {
    power_of_ten(i32::from(precision)).is_some_and(|limit| unscaled < limit && unscaled > limit.wrapping_neg())
}

/// Appends a DECIMAL in plain notation: `BigDecimal.toPlainString`.
pub fn write_decimal(unscaled: i256, scale: i8, out: &mut String) {
    let text = match unscaled.to_i128() {
        Some(narrow) => itoa::Buffer::new().format(narrow).to_string(),
        None => unscaled.to_string(),
    };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    out.push_str(sign);
    let scale = scale.max(0) as usize;
    if scale == 0 {
        return out.push_str(digits);
    }
    if digits.len() <= scale {
        out.push_str("0.");
        (digits.len()..scale).for_each(|_| out.push('0'));
        return out.push_str(digits);
    }
    let (whole, part) = digits.split_at(digits.len() - scale);
    out.push_str(whole);
    out.push('.');
    out.push_str(part);
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

    #[test]
    fn doubles_print_as_in_java() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (1e10, "1.0E10"),
            (1e-5, "1.0E-5"),
            (0.001, "0.001"),
            (0.00012, "1.2E-4"),
            (9999999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12345678.9, "1.23456789E7"),
            (-1.5e300, "-1.5E300"),
            (1e16, "1.0E16"),
            (123456789012345680.0, "1.2345678901234568E17"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::from_bits(1), "4.9E-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (x, text) in cases {
            assert_eq!(java_double(x), text);
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
    fn decimals_round_half_up_and_print_plainly() {
        let round = |text: &str, scale: i32| {
            let mut out = String::new();
            write_decimal(Exact::parse(text).unwrap().rescale(scale).unwrap(), scale as i8, &mut out);
            out
        };
        assert_eq!(round("1.25", 1), "1.3");
        assert_eq!(round("-1.25", 1), "-1.3");
        assert_eq!(round("1.24999", 1), "1.2");
        assert_eq!(round("-0.05", 2), "-0.05");
        assert_eq!(round("1e3", 2), "1000.00");
        assert_eq!(round("1e-300", 2), "0.00");
        assert_eq!(Exact::of_double(0.1).unwrap(), Exact { unscaled: i256::from_i128(1), scale: 1 });
        assert_eq!(Exact::parse("1e300").unwrap().compare(Exact::parse("-3").unwrap()), Ordering::Greater);
        assert_eq!(Exact::parse("0.3").unwrap().to_double(), 0.3);
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
