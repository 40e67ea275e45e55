//! The operands of a binary operator as typed values: an array or one value for all rows.

use crate::error::{Error, Result};
use arrow::array::{ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use datafusion::logical_expr::ColumnarValue;

/// The rows in which a divisor is zero.
pub(super) fn zeros<T>(divisor: &ColumnarValue, rows: usize) -> Result<BooleanBuffer>
where
    T: ArrowPrimitiveType<Native: ArrowNativeTypeOp>,
{
    Ok(match divisor {
        ColumnarValue::Array(array) => {
            let values = array.as_primitive_opt::<T>().ok_or_else(wrong_type)?.values();
            match values.iter().any(|v| v.is_zero()) {
                false => BooleanBuffer::new_unset(rows),
                true => BooleanBuffer::collect_bool(rows, |i| values[i].is_zero()),
            }
        }
        ColumnarValue::Scalar(_) => match one::<T>(divisor)?.is_zero() {
            true => BooleanBuffer::new_set(rows),
            false => BooleanBuffer::new_unset(rows),
        },
    })
}

fn one<T: ArrowPrimitiveType>(value: &ColumnarValue) -> Result<T::Native> {
    let array = match value {
        ColumnarValue::Array(array) => array.clone(),
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    Ok(array.as_primitive_opt::<T>().ok_or_else(wrong_type)?.value(0))
}

pub(super) fn wrong_type() -> Error {
    Error::bug("an operand is not of the bound type")
}

/// `f` on every row.
#[inline(always)]
pub(super) fn dense<A: ArrowPrimitiveType, B: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    f: impl Fn(A::Native, B::Native) -> O::Native,
) -> Result<PrimitiveArray<O>> {
    use ColumnarValue::{Array as Many, Scalar as One};
    let values: Vec<O::Native> = match (left, right) {
        (Many(a), Many(b)) => {
            let a = a.as_primitive_opt::<A>().ok_or_else(wrong_type)?.values();
            let b = b.as_primitive_opt::<B>().ok_or_else(wrong_type)?.values();
            a.iter().zip(b.iter()).map(|(&a, &b)| f(a, b)).collect()
        }
        (Many(a), One(_)) => {
            let b = one::<B>(right)?;
            a.as_primitive_opt::<A>().ok_or_else(wrong_type)?.values().iter().map(|&a| f(a, b)).collect()
        }
        (One(_), Many(b)) => {
            let a = one::<A>(left)?;
            b.as_primitive_opt::<B>().ok_or_else(wrong_type)?.values().iter().map(|&b| f(a, b)).collect()
        }
        (One(_), One(_)) => vec![f(one::<A>(left)?, one::<B>(right)?); rows],
    };
    Ok(PrimitiveArray::new(values.into(), None))
}
