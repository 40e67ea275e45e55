//! `+ - * / %` and unary minus on INTEGER, BIGINT and DOUBLE.
//!
//! Integers wrap around; an integer divided by zero throws; DOUBLE follows IEEE 754. NULL on either side throws. Kernels
//! compute every row, wanted or not: that is cheaper than any choice, because no row can stop them.

use super::errors::{Reason, RowErrors, Selection};
use super::operands::{dense, wrong_type, zeros};
use super::{Arithmetic, decimal};
use crate::error::{Error, Result};
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

/// `left op right`; operands have the type of the result, or are exact numbers for a DECIMAL result.
pub(super) fn binary(
    op: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    ty: &SqlType,
    rows: usize,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    if null_operands(&[left, right], rows, selection, errors) {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&ty.arrow())?));
    }
    // Constant operands are one row.
    let constant = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
    let count = if constant { 1 } else { rows };
    let mut throw = |reason, bad: &BooleanBuffer| match constant {
        true => errors.raise(reason, selection, &BooleanBuffer::new_set(rows)),
        false => errors.raise(reason, selection, bad),
    };
    let array: ArrayRef = match ty {
        SqlType::Integer => integers::<Int32Type>(op, left, right, count, &mut throw)?,
        SqlType::Bigint => integers::<Int64Type>(op, left, right, count, &mut throw)?,
        SqlType::Double => doubles(op, left, right, count)?,
        SqlType::Decimal(precision, scale) => {
            decimal::binary(op, left, right, (*precision, *scale), count, &mut throw)?
        }
        other => return Err(Error::bug(format!("arithmetic on {other}"))),
    };
    match constant {
        true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
        false => Ok(ColumnarValue::Array(array)),
    }
}

/// `-x`
pub(super) fn negate(
    x: &ColumnarValue,
    rows: usize,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    if null_operands(&[x], rows, selection, errors) {
        return Ok(x.clone());
    }
    let array = match x {
        ColumnarValue::Array(array) => array.clone(),
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    let negated: ArrayRef = match array.data_type() {
        DataType::Int32 => negated::<Int32Type>(&array),
        DataType::Int64 => negated::<Int64Type>(&array),
        DataType::Float64 => negated::<Float64Type>(&array),
        DataType::Decimal128(..) => negated::<Decimal128Type>(&array),
        DataType::Decimal256(..) => negated::<Decimal256Type>(&array),
        other => return Err(Error::bug(format!("unary minus on {other}"))),
    };
    match x {
        ColumnarValue::Array(_) => Ok(ColumnarValue::Array(negated)),
        ColumnarValue::Scalar(_) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?)),
    }
}

fn negated<T: ArrowPrimitiveType<Native: ArrowNativeTypeOp>>(array: &ArrayRef) -> ArrayRef {
    Arc::new(array.as_primitive::<T>().unary::<_, T>(|x| x.neg_wrapping()).with_data_type(array.data_type().clone()))
}

/// Throws for NULL operands; true if that is every row.
fn null_operands(operands: &[&ColumnarValue], rows: usize, selection: &Selection, errors: &mut RowErrors) -> bool {
    if operands.iter().any(|v| matches!(v, ColumnarValue::Scalar(s) if s.is_null())) {
        errors.raise(Reason::NullOperand, selection, &BooleanBuffer::new_set(rows));
        return true;
    }
    let valid = operands.iter().fold(None, |valid, operand| match operand {
        ColumnarValue::Array(a) => NullBuffer::union(valid.as_ref(), a.nulls().filter(|n| n.null_count() > 0)),
        ColumnarValue::Scalar(_) => valid,
    });
    if let Some(valid) = valid {
        errors.raise(Reason::NullOperand, selection, &!valid.inner());
    }
    false
}

fn doubles(op: Arithmetic, left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<ArrayRef> {
    type D = Float64Type;
    Ok(match op {
        Arithmetic::Divide => Arc::new(dense::<D, D, D>(left, right, rows, |a, b| a / b)?),
        Arithmetic::Remainder => Arc::new(dense::<D, D, D>(left, right, rows, |a, b| a % b)?),
        _ => simple::<D>(op, left, right)?,
    })
}

/// `+ - *` by Arrow's kernels, which never fail in their wrapping form. NULLs are taken off before: their rows are in
/// error already, and their bitmap would be computed again at every step.
fn simple<T: ArrowPrimitiveType>(op: Arithmetic, left: &ColumnarValue, right: &ColumnarValue) -> Result<ArrayRef> {
    let kernel = match op {
        Arithmetic::Add => numeric::add_wrapping,
        Arithmetic::Subtract => numeric::sub_wrapping,
        _ => numeric::mul_wrapping,
    };
    let bare = |array: &ArrayRef| -> Result<PrimitiveArray<T>> {
        let array = array.as_primitive_opt::<T>().ok_or_else(wrong_type)?;
        Ok(PrimitiveArray::new(array.values().clone(), None))
    };
    use ColumnarValue::{Array as Many, Scalar as One};
    Ok(match (left, right) {
        (Many(a), Many(b)) => kernel(&bare(a)?, &bare(b)?)?,
        (Many(a), One(b)) => kernel(&bare(a)?, &b.to_scalar()?)?,
        (One(a), Many(b)) => kernel(&a.to_scalar()?, &bare(b)?)?,
        (One(a), One(b)) => kernel(&a.to_array()?, &b.to_scalar()?)?,
    })
}

fn integers<T>(
    op: Arithmetic,
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    throw: &mut dyn FnMut(Reason, &BooleanBuffer),
) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType<Native: ArrowNativeTypeOp>,
{
    match op {
        Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply => simple::<T>(op, left, right),
        Arithmetic::Divide | Arithmetic::Remainder => {
            if let (
                Arithmetic::Remainder,
                ColumnarValue::Array(array),
                ColumnarValue::Scalar(ScalarValue::Int64(Some(d))),
            ) = (op, left, right)
                && *d > 1
                && let Some(values) = array.as_primitive_opt::<Int64Type>()
            {
                let rest = arrow::buffer::ScalarBuffer::<i64>::from(remainders(values.values(), *d as u64));
                return Ok(Arc::new(PrimitiveArray::<Int64Type>::new(rest, None)));
            }
            let zeros = zeros::<T>(right, rows)?;
            if zeros.has_true() {
                throw(Reason::DivisionByZero, &zeros);
            }
            let zero = T::Native::ZERO;
            Ok(match op {
                Arithmetic::Divide => {
                    Arc::new(dense::<T, T, T>(
                        left,
                        right,
                        rows,
                        |a, b| {
                            if b.is_zero() { zero } else { a.div_wrapping(b) }
                        },
                    )?)
                }
                _ => Arc::new(dense::<T, T, T>(
                    left,
                    right,
                    rows,
                    |a, b| {
                        if b.is_zero() { zero } else { a.mod_wrapping(b) }
                    },
                )?),
            })
        }
    }
}

/// `x % divisor`: a known divisor is multiplied by its reciprocal, which costs a quarter of a 64-bit division.
fn remainders(values: &[i64], divisor: u64) -> Vec<i64> {
    let reciprocal = u64::MAX / divisor;
    let rest = |x: &i64| {
        let size = x.unsigned_abs();
        let quotient = ((u128::from(size) * u128::from(reciprocal)) >> 64) as u64;
        // The quotient is at most two too small.
        let mut rest = size.wrapping_sub(quotient.wrapping_mul(divisor));
        rest = if rest >= divisor { rest - divisor } else { rest };
        rest = if rest >= divisor { rest - divisor } else { rest };
        if *x < 0 { (rest as i64).wrapping_neg() } else { rest as i64 }
    };
    values.iter().map(rest).collect()
}
