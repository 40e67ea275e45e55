//! DECIMAL arithmetic: exact or an error, never rounded.
//!
//! Operands are DECIMALs, INTEGERs or BIGINTs of their own scale. 128 bits carry results of up to 38 digits, and no step
//! of them can overflow, because the binder chose a precision that holds every result; beyond that 256 bits are used.

use super::Arithmetic;
use super::errors::Reason;
use super::operands::{dense, zeros};
use crate::error::{Error, Result};
use crate::functions::bounded::sizes::repeated;
use crate::types::DECIMAL_PRECISION_MAX;
use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanBufferBuilder, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, Int32Type, Int64Type, i256};
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

/// Largest precision of a Decimal128.
const NARROW_PRECISION: u8 = 38;

/// `left op right` as DECIMAL(precision, scale).
pub(super) fn binary(
    op: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    (precision, scale): (u8, i8),
    rows: usize,
    throw: &mut dyn FnMut(Reason, &BooleanBuffer),
) -> Result<ArrayRef> {
    let (left_type, right_type) = (left.data_type(), right.data_type());
    let ((p1, s1), (p2, s2)) = (shape(&left_type)?, shape(&right_type)?);
    // Both sides on one scale must fit too: x % y of a long and a fine number.
    let width = (p1 as i16 - i16::from(s1)).max(p2 as i16 - i16::from(s2)) + i16::from(s1.max(s2));
    if precision <= NARROW_PRECISION && width <= i16::from(NARROW_PRECISION) {
        let out: PrimitiveArray<Decimal128Type> = match (&left_type, &right_type, op) {
            // The commonest product: nothing to convert and nothing to check.
            (DataType::Int64, DataType::Decimal128(..), Arithmetic::Multiply) => {
                dense::<Int64Type, Decimal128Type, Decimal128Type>(left, right, rows, |a, b| {
                    i128::from(a).wrapping_mul(b)
                })?
            }
            (DataType::Decimal128(..), DataType::Int64, Arithmetic::Multiply) => {
                dense::<Decimal128Type, Int64Type, Decimal128Type>(left, right, rows, |a, b| {
                    a.wrapping_mul(i128::from(b))
                })?
            }
            _ => {
                let (left, right) = (widened::<Decimal128Type>(left)?, widened::<Decimal128Type>(right)?);
                exact::<Decimal128Type>(op, &left, &right, (s1, s2, scale, precision), rows, throw)?
            }
        };
        return Ok(Arc::new(out.with_precision_and_scale(precision, scale)?));
    }
    let (left, right) = (widened::<Decimal256Type>(left)?, widened::<Decimal256Type>(right)?);
    let out = exact::<Decimal256Type>(op, &left, &right, (s1, s2, scale, precision), rows, throw)?;
    if precision > NARROW_PRECISION {
        return Ok(Arc::new(out.with_precision_and_scale(precision, scale)?));
    }
    let narrow = out.unary::<_, Decimal128Type>(|x| x.to_i128().unwrap_or_default());
    Ok(Arc::new(narrow.with_precision_and_scale(precision, scale)?))
}

/// Precision and scale of an exact number.
fn shape(ty: &DataType) -> Result<(u8, i8)> {
    match ty {
        DataType::Int32 => Ok((10, 0)),
        DataType::Int64 => Ok((19, 0)),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => Ok((*p, *s)),
        other => Err(Error::bug(format!("DECIMAL arithmetic on {other}"))),
    }
}

/// The unscaled values in the wanted width.
trait Wide: DecimalType {
    fn wide(array: &ArrayRef) -> Result<PrimitiveArray<Self>>
    where
        Self: Sized;
    fn ten() -> Self::Native;
}

impl Wide for Decimal128Type {
    fn wide(array: &ArrayRef) -> Result<PrimitiveArray<Self>> {
        Ok(match array.data_type() {
            DataType::Int32 => array.as_primitive::<Int32Type>().unary(i128::from),
            DataType::Int64 => array.as_primitive::<Int64Type>().unary(i128::from),
            DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().clone(),
            other => return Err(Error::bug(format!("{other} does not fit 128 bits"))),
        })
    }

    fn ten() -> i128 {
        10
    }
}

impl Wide for Decimal256Type {
    fn wide(array: &ArrayRef) -> Result<PrimitiveArray<Self>> {
        Ok(match array.data_type() {
            DataType::Int32 => array.as_primitive::<Int32Type>().unary(|x| i256::from_i128(x.into())),
            DataType::Int64 => array.as_primitive::<Int64Type>().unary(|x| i256::from_i128(x.into())),
            DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().unary(i256::from_i128),
            DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().clone(),
            other => return Err(Error::bug(format!("DECIMAL arithmetic on {other}"))),
        })
    }

    fn ten() -> i256 {
        i256::from_i128(10)
    }
}

fn widened<T: Wide>(value: &ColumnarValue) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(Arc::new(T::wide(array)?)),
        ColumnarValue::Scalar(scalar) => {
            let array: ArrayRef = Arc::new(T::wide(&scalar.to_array()?)?);
            ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&array, 0)?)
        }
    })
}

fn power<T: Wide>(digits: i32) -> T::Native {
    (0..digits.max(0)).fold(T::Native::ONE, |x, _| x.mul_wrapping(T::ten()))
}

fn exact<T: Wide>(
    op: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    (s1, s2, scale, precision): (i8, i8, i8, u8),
    rows: usize,
    throw: &mut dyn FnMut(Reason, &BooleanBuffer),
) -> Result<PrimitiveArray<T>> {
    let (s1, s2, scale) = (i32::from(s1), i32::from(s2), i32::from(scale));
    // What brings both sides to the larger scale.
    let (up1, up2) = (power::<T>(s1.max(s2) - s1), power::<T>(s1.max(s2) - s2));
    if let Arithmetic::Divide | Arithmetic::Remainder = op {
        let zeros = zeros::<T>(right, rows)?;
        if zeros.has_true() {
            throw(Reason::DivisionByZero, &zeros);
        }
    }
    if precision == DECIMAL_PRECISION_MAX {
        overflows::<T>(op, left, right, (up1, up2, power::<T>(scale + s2 - s1)), rows, throw)?;
    }
    let zero = T::Native::ZERO;
    match op {
        Arithmetic::Add => {
            dense::<T, T, T>(left, right, rows, |a, b| a.mul_wrapping(up1).add_wrapping(b.mul_wrapping(up2)))
        }
        Arithmetic::Subtract => {
            dense::<T, T, T>(left, right, rows, |a, b| a.mul_wrapping(up1).sub_wrapping(b.mul_wrapping(up2)))
        }
        Arithmetic::Multiply => dense::<T, T, T>(left, right, rows, |a, b| a.mul_wrapping(b)),
        Arithmetic::Divide => {
            // `scale >= s1 + p2 + 1` makes this exponent positive: only the dividend is ever scaled.
            let up = power::<T>(scale + s2 - s1);
            let inexact = |a: T::Native, b: T::Native| !b.is_zero() && !a.mul_wrapping(up).mod_wrapping(b).is_zero();
            failing::<T>(left, right, rows, inexact, Reason::Inexact, throw)?;
            dense::<T, T, T>(
                left,
                right,
                rows,
                |a, b| {
                    if b.is_zero() { zero } else { a.mul_wrapping(up).div_wrapping(b) }
                },
            )
        }
        Arithmetic::Remainder => {
            // Java refuses a remainder whose whole quotient has more digits than the result's precision.
            let limit = power::<T>(i32::from(precision));
            let impossible = |a: T::Native, b: T::Native| {
                if b.is_zero() {
                    return false;
                }
                let mut quotient = a.mul_wrapping(up1).div_wrapping(b.mul_wrapping(up2));
                while !quotient.is_zero() && quotient.mod_wrapping(T::ten()).is_zero() {
                    quotient = quotient.div_wrapping(T::ten());
                }
                quotient.is_ge(limit) || quotient.is_le(limit.neg_wrapping())
            };
            failing::<T>(left, right, rows, impossible, Reason::Inexact, throw)?;
            dense::<T, T, T>(left, right, rows, |a, b| {
                if b.is_zero() { zero } else { a.mul_wrapping(up1).mod_wrapping(b.mul_wrapping(up2)) }
            })
        }
    }
}

/// Throws for the rows whose result has more digits than the widest DECIMAL: only of that the binder does not choose the
/// precision so that it holds every result.
fn overflows<T: Wide>(
    op: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    (up1, up2, up): (T::Native, T::Native, T::Native),
    rows: usize,
    throw: &mut dyn FnMut(Reason, &BooleanBuffer),
) -> Result<()> {
    let limit = power::<T>(i32::from(DECIMAL_PRECISION_MAX));
    let fits = |value: Option<T::Native>| value.is_some_and(|x| x.is_lt(limit) && x.is_gt(limit.neg_wrapping()));
    let both = |a: T::Native, b: T::Native| a.mul_checked(up1).ok().zip(b.mul_checked(up2).ok());
    let too_large = |a: T::Native, b: T::Native| {
        !fits(match op {
            Arithmetic::Add => both(a, b).and_then(|(a, b)| a.add_checked(b).ok()),
            Arithmetic::Subtract => both(a, b).and_then(|(a, b)| a.sub_checked(b).ok()),
            Arithmetic::Multiply => a.mul_checked(b).ok(),
            Arithmetic::Divide => a.mul_checked(up).ok(),
            Arithmetic::Remainder => both(a, b).map(|(a, _)| a),
        })
    };
    failing::<T>(left, right, rows, too_large, Reason::Overflow, throw)
}

/// Throws for the rows in which `bad` holds.
fn failing<T: Wide>(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    bad: impl Fn(T::Native, T::Native) -> bool,
    reason: Reason,
    throw: &mut dyn FnMut(Reason, &BooleanBuffer),
) -> Result<()> {
    let (left, right) = (repeated(left.clone(), rows)?, repeated(right.clone(), rows)?);
    let (left, right) = (left.as_primitive::<T>().values(), right.as_primitive::<T>().values());
    let mut rows_bad = BooleanBufferBuilder::new(rows);
    for (&a, &b) in left.iter().zip(right.iter()) {
        rows_bad.append(bad(a, b));
    }
    let rows_bad = rows_bad.finish();
    if rows_bad.has_true() {
        throw(reason, &rows_bad);
    }
    Ok(())
}
