//! DOUBLE as Java prints and parses it.
//!
//! ```text
//! Double.toString       0.001   1234567.0   1.0E7   4.9E-324
//! Double.parseDouble    " 5 "  NaN  -Infinity  1d  (no hexadecimal here)
//! ```

use super::decimal_text::{number_parts, small_int};

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

/// Appends `v` as `Float.toString` does: `0.1`, not `0.10000000149011612`.
pub fn write_java_float(v: f32, out: &mut Vec<u8>) {
    if v.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if v.is_sign_negative() {
        out.push(b'-');
    }
    match v.abs() {
        f32::INFINITY => out.extend_from_slice(b"Infinity"),
        0.0 => out.extend_from_slice(b"0.0"),
        v => {
            let mut buffer = ryu::Buffer::new();
            let (mut digits, mut exponent) = split_digits(buffer.format_finite(v).as_bytes());
            if digits.len() == 1 && v < f32::MIN_POSITIVE {
                (digits, exponent) = split_digits(format!("{v:.1e}").as_bytes());
            }
            write_digits(&digits, exponent, out);
        }
    }
}

fn write_positive(v: f64, out: &mut Vec<u8>) {
    let mut buffer = ryu::Buffer::new();
    let (mut digits, mut exponent) = split_digits(buffer.format_finite(v).as_bytes());
    if digits.len() == 1 && v < f64::MIN_POSITIVE {
        // Java prints at least two digits, and among those the nearest: 4.9E-324, not 5.0E-324.
        (digits, exponent) = split_digits(format!("{v:.1e}").as_bytes());
    }
    write_digits(&digits, exponent, out);
}

/// Appends digits; the first has this power of ten as its place value.
fn write_digits(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let n = digits.len();
    if (-3..0).contains(&exponent) {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(digits);
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
}
