//! Literals: numbers by their spelling, text as values of other types.

use super::cast;
use super::errors::Selection;
use super::{Columns, Program, RowErrors};
use crate::error::{Error, Result};
use crate::types::decimal::BigDecimal;
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// `1` is INTEGER or BIGINT, `1.5` is DECIMAL with its own precision and scale, `1e5` is DOUBLE.
pub(super) fn number(text: &str) -> Result<(ScalarValue, SqlType)> {
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| Error::statement(format!("Invalid numeric literal: {text}")))?;
        if value.is_infinite() {
            return Err(Error::statement(format!("Number overflows DOUBLE: {text}"))
                .told_as("Failed to prepare statement: line {line}:{behind}: "));
        }
        return Ok((ScalarValue::Float64(Some(value)), SqlType::Double));
    }
    if text.contains('.') {
        let bad = || Error::statement(format!("Invalid numeric literal: {text}"));
        let exact = BigDecimal::parse(text).ok_or_else(bad)?;
        let digits = exact.unscaled.wrapping_abs().to_string().trim_start_matches('0').len().max(1);
        let scale = i8::try_from(exact.scale).map_err(|_| bad())?;
        let precision = u8::try_from(digits.max(exact.scale as usize)).map_err(|_| bad())?;
        if precision > DECIMAL_PRECISION_MAX {
            return Err(bad().with_detail(format!("a DECIMAL has at most {DECIMAL_PRECISION_MAX} digits")));
        }
        let value = match precision <= 38 {
            true => ScalarValue::Decimal128(exact.unscaled.to_i128(), precision, scale),
            false => ScalarValue::Decimal256(Some(exact.unscaled), precision, scale),
        };
        return Ok((value, SqlType::Decimal(precision, scale)));
    }
    if let Ok(value) = text.parse::<i32>() {
        return Ok((ScalarValue::Int32(Some(value)), SqlType::Integer));
    }
    match text.parse::<i64>() {
        Ok(value) => Ok((ScalarValue::Int64(Some(value)), SqlType::Bigint)),
        Err(_) => Err(Error::statement(format!("Invalid numeric literal: {text}"))
            .with_detail("it does not fit BIGINT")
            .with_hint("write it with a point to make it a DECIMAL")),
    }
}

/// NULL of a type.
pub(super) fn null(ty: &SqlType) -> Result<ScalarValue> {
    Ok(ScalarValue::try_from(&ty.arrow())?)
}

/// A constant as a value of another type, as CAST would make it; `None` = there is no such cast or value.
pub(super) fn convert(value: &ScalarValue, from: &SqlType, to: &SqlType) -> Result<Option<ScalarValue>> {
    if !cast::exists(from, to) {
        return Ok(None);
    }
    let mut errors = RowErrors::new();
    let one = ColumnarValue::Scalar(value.clone());
    let cast = cast::cast(&one, from, to, 1, &Selection::all(), &mut errors)?;
    match cast {
        _ if errors.any_open() => Ok(None),
        ColumnarValue::Scalar(value) => Ok(Some(value)),
        ColumnarValue::Array(array) => Ok(Some(ScalarValue::try_from_array(&array, 0)?)),
    }
}

/// Runs a program that reads no columns; `None` = it failed.
pub(super) fn evaluate(program: &Program) -> Result<Option<ScalarValue>> {
    let mut errors = RowErrors::new();
    let input = Columns { columns: &[], rows: 1 };
    let array = program.eval_array(&input, &mut errors)?;
    if errors.any_open() || !errors.caught().is_empty() {
        return Ok(None);
    }
    Ok(Some(ScalarValue::try_from_array(&array, 0)?))
}
