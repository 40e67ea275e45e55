//! Exact decimal arithmetic for DECIMAL: casts, comparisons, rounding. A DECIMAL's text is always plain: `-0.05`.

use arrow::datatypes::i256;
use std::cmp::Ordering;

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

/// An exact decimal number: `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BigDecimal {
    /// The digits as an integer.
    pub unscaled: i256,
    /// Number of digits after the point.
    pub scale: i32,
}

impl BigDecimal {
    /// The decimal number that `Double.toString` prints: what `BigDecimal.valueOf` makes of a DOUBLE.
    pub fn of_double(x: f64) -> Option<BigDecimal> {
        if !x.is_finite() {
            return None;
        }
        let mut buffer = ryu::Buffer::new();
        let (digits, exponent) = digits_of(buffer.format_finite(x));
        let unscaled = i256::from_i128(digits.parse::<i128>().ok()?);
        let unscaled = if x < 0.0 { unscaled.wrapping_neg() } else { unscaled };
        Some(BigDecimal { unscaled, scale: digits.len() as i32 - 1 - exponent })
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
        // rest * 2 could overflow: compare with the rest of the divisor.
        let up = rest >= divisor.wrapping_sub(rest);
        let step = i256::from_i128(if self.unscaled < i256::ZERO { -1 } else { 1 });
        if up { quotient.checked_add(step) } else { Some(quotient) }
    }

    /// By value, whatever the scales.
    pub fn compare(self, other: BigDecimal) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.rescale(scale), other.rescale(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // The side that does not fit has the larger magnitude.
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

/// Whether the value fits into DECIMAL(precision, _).
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_half_up_and_print_plainly() {
        let round = |text: &str, scale: i32| {
            let mut out = String::new();
            write_decimal(BigDecimal::parse(text).unwrap().rescale(scale).unwrap(), scale as i8, &mut out);
            out
        };
        assert_eq!(round("1.25", 1), "1.3");
        assert_eq!(round("-1.25", 1), "-1.3");
        assert_eq!(round("1.24999", 1), "1.2");
        assert_eq!(round("-0.05", 2), "-0.05");
        assert_eq!(round("1e3", 2), "1000.00");
        assert_eq!(round("1e-300", 2), "0.00");
        assert_eq!(BigDecimal::of_double(0.1).unwrap(), BigDecimal { unscaled: i256::from_i128(1), scale: 1 });
        assert_eq!(BigDecimal::parse("1e300").unwrap().compare(BigDecimal::parse("-3").unwrap()), Ordering::Greater);
        assert_eq!(BigDecimal::parse("0.3").unwrap().to_double(), 0.3);
    }
}
