//! Decimals as their unscaled whole number in two's complement, which AVRO and PROTOBUF both write.

use serde_json::Value;

/// The unscaled number of a decimal text; fails where the scale does not hold all digits.
pub(super) fn unscaled(text: &str, scale: u32) -> Result<i128, String> {
    let wrong = || format!("'{text}' is not a decimal of scale {scale}");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.trim_start_matches('+').parse::<i32>().map_err(|_| wrong())?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let number: i128 = format!("{whole}{part}").parse().map_err(|_| wrong())?;
    let shift = scale as i32 + exponent - part.len() as i32;
    let power = 10i128.checked_pow(shift.unsigned_abs()).ok_or_else(wrong)?;
    let scaled = match shift {
        0.. => number.checked_mul(power),
        _ => (number % power == 0).then_some(number / power),
    };
    scaled.map(|n| n * sign).ok_or_else(wrong)
}

/// The digits behind the point of a decimal text.
pub(super) fn scale_of(text: &str) -> u32 {
    text.split(['e', 'E']).next().and_then(|mantissa| mantissa.split_once('.')).map_or(0, |(_, part)| part.len() as u32)
}

/// The number of JSON that keeps the scale.
pub(super) fn tree(unscaled: i128, scale: u32) -> Value {
    let width = scale as usize + 1;
    let digits = format!("{:0width$}", unscaled.unsigned_abs());
    let (whole, part) = digits.split_at(digits.len() - scale as usize);
    let sign = if unscaled < 0 { "-" } else { "" };
    let text = if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") };
    serde_json::from_str(&text).expect("digits with a point are a number")
}

/// The fewest bytes that hold the number, as Java's `BigInteger.toByteArray` returns them.
pub(super) fn to_bytes(number: i128) -> Vec<u8> {
    let all = number.to_be_bytes();
    let fill = if number < 0 { 0xFF } else { 0 };
    let spare = |pair: &[u8]| pair[0] == fill && (pair[1] ^ fill) & 0x80 == 0;
    let skip = all.windows(2).take_while(|pair| spare(pair)).count();
    all[skip..].to_vec()
}

/// The number of bytes in two's complement; none at all, or more than 128 bits, are an error.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<i128, String> {
    let Some(first) = bytes.first() else { return Err("a decimal has no bytes".to_owned()) };
    let negative = first & 0x80 != 0;
    let fill = if negative { 0xFF } else { 0 };
    let spare = bytes.len().saturating_sub(16);
    if bytes[..spare].iter().any(|b| *b != fill) {
        return Err("a decimal has more than 128 bits".to_owned());
    }
    let start = if negative { -1i128 } else { 0 };
    Ok(bytes[spare..].iter().fold(start, |number, byte| number << 8 | i128::from(*byte)))
}
