//! A text to DECIMAL by Tidegate's own parser: arrow's calls itself once for 38 digits, and a text of a megabyte overflows
//! the stack of any thread.

use super::external;
use crate::error::Error;
use crate::types::decimal::BigDecimal;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, i256};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Largest precision of a Decimal128.
const NARROW_PRECISION: u8 = 38;
/// Characters of a text that a message shows.
const SHOWN_MAX: usize = 40;

/// The cast to one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct TextToDecimal {
    to: DataType,
    /// TRY_CAST: a text that is no such number is NULL.
    tries: bool,
    signature: Signature,
}

impl TextToDecimal {
    /// Its name. The allow-list does not have it, so that no statement can call it.
    pub(crate) const NAME: &str = "cast_text_to_decimal";

    /// The cast.
    pub(crate) fn new(to: DataType, tries: bool) -> TextToDecimal {
        TextToDecimal { to, tries, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn shape(&self) -> Result<(u8, i8)> {
        match self.to {
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => Ok((p, s)),
            _ => plan_err!("a cast to DECIMAL was expected"),
        }
    }

    fn column(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let (precision, scale) = self.shape()?;
        let texts = cast(texts, &DataType::LargeUtf8)?;
        let texts = texts.as_string::<i64>();
        let mut parsed: Vec<Option<i256>> = Vec::with_capacity(texts.len());
        for text in texts {
            let number = text.and_then(|t| unscaled(t, precision, scale));
            if let (Some(text), None, false) = (text, number, self.tries) {
                return Err(external(no_number(text, precision, scale)));
            }
            parsed.push(number);
        }
        let wide: ArrayRef = match precision <= NARROW_PRECISION {
            true => {
                let narrow: Decimal128Array = parsed.iter().map(|n| n.and_then(i256::to_i128)).collect();
                Arc::new(narrow.with_precision_and_scale(precision, scale)?)
            }
            false => {
                let wide: Decimal256Array = parsed.into_iter().collect();
                Arc::new(wide.with_precision_and_scale(precision, scale)?)
            }
        };
        Ok(cast(&wide, &self.to)?)
    }
}

/// The unscaled number, rounded half up; `None` = it is no number or has too many digits.
fn unscaled(text: &str, precision: u8, scale: i8) -> Option<i256> {
    let number = BigDecimal::parse(text.trim())?.rescale(i32::from(scale))?;
    let limit = (0..precision).try_fold(i256::ONE, |n, _| n.checked_mul(i256::from_i128(10)));
    // Without a limit every number of 256 bits fits.
    limit.is_none_or(|limit| number < limit && number > limit.wrapping_neg()).then_some(number)
}

fn no_number(text: &str, precision: u8, scale: i8) -> Error {
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Error::statement(format!("'{shown}' cannot be cast to DECIMAL({precision}, {scale})"))
        .with_hint("TRY_CAST makes NULL of what is no such number")
}

impl ScalarUDFImpl for TextToDecimal {
    fn name(&self) -> &str {
        TextToDecimal::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.first() {
            Some(ColumnarValue::Array(texts)) => Ok(ColumnarValue::Array(self.column(texts)?)),
            Some(ColumnarValue::Scalar(text)) => {
                let number = self.column(&text.to_array_of_size(1)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&number, 0)?))
            }
            None => plan_err!("a cast has an argument"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_is_a_number_or_none() {
        assert_eq!(unscaled(" 12.345 ", 10, 2), Some(i256::from_i128(1235)));
        assert_eq!(unscaled("1e3", 10, 0), Some(i256::from_i128(1000)));
        assert_eq!(unscaled("-99", 2, 0), Some(i256::from_i128(-99)));
        assert_eq!(unscaled("100", 2, 0), None);
        assert_eq!(unscaled("x", 2, 0), None);
        for digits in [38, 76, 77, 1_000, 1_000_000] {
            assert_eq!(unscaled(&"9".repeat(digits), 38, 0).is_some(), digits == 38, "{digits}");
            assert_eq!(unscaled(&"9".repeat(digits), 76, 0).is_some(), digits <= 76, "{digits}");
        }
        assert_eq!(unscaled(&format!("0.{}", "9".repeat(1_000_000)), 38, 0), None);
    }
}
