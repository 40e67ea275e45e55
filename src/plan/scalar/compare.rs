//! Comparisons: two-valued, NULL on either side is false; IS DISTINCT FROM takes NULL as a value.

use super::Comparison;
use crate::error::Result;
use crate::functions::bounded::sizes::repeated;
use crate::types::decimal::BigDecimal;
use crate::types::text::{compare_utf16, has_supplementary};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, i256};
use arrow::error::ArrowError;
use datafusion::logical_expr::ColumnarValue;
use std::cmp::Ordering;

/// Which rows are true; none of them can fail.
pub(super) fn compare(
    op: Comparison,
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
) -> Result<BooleanBuffer> {
    match op {
        Comparison::NotDistinct => Ok(!&distinct(left, right, rows)?),
        Comparison::Distinct => distinct(left, right, rows),
        _ => {
            let valid = match (valid(left, rows), valid(right, rows)) {
                (None, None) => None,
                (Some(v), None) | (None, Some(v)) => Some(v),
                (Some(a), Some(b)) => Some(&a & &b),
            };
            if valid.as_ref().is_some_and(|v| !v.has_true()) {
                return Ok(BooleanBuffer::new_unset(rows));
            }
            let hit = values(op, left, right, rows)?;
            Ok(match valid {
                None => hit,
                Some(valid) => &hit & &valid,
            })
        }
    }
}

fn distinct(left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<BooleanBuffer> {
    let full = || BooleanBuffer::new_set(rows);
    let (a, b) = (valid(left, rows).unwrap_or_else(full), valid(right, rows).unwrap_or_else(full));
    let both = &a & &b;
    let one = &a ^ &b;
    if !both.has_true() {
        return Ok(one);
    }
    Ok(&one | &(&values(Comparison::NotEqual, left, right, rows)? & &both))
}

/// The rows that are not NULL; `None` = all.
fn valid(value: &ColumnarValue, rows: usize) -> Option<BooleanBuffer> {
    match value {
        ColumnarValue::Scalar(scalar) => scalar.is_null().then(|| BooleanBuffer::new_unset(rows)),
        ColumnarValue::Array(array) => array.nulls().filter(|n| n.null_count() > 0).map(|n| n.inner().clone()),
    }
}

/// The comparison of the values, without regard to NULL.
fn values(op: Comparison, left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<BooleanBuffer> {
    match (left.data_type(), right.data_type()) {
        (DataType::Float64, DataType::Float64) => doubles(op, left, right, rows),
        (DataType::Float64, _) | (_, DataType::Float64) => mixed(op, left, right, rows),
        (DataType::Utf8, _) if op.is_ordering() && (supplementary(left) || supplementary(right)) => {
            let (a, b) = (repeated(left.clone(), rows)?, repeated(right.clone(), rows)?);
            let (a, b) = (a.as_string::<i32>(), b.as_string::<i32>());
            Ok(BooleanBuffer::collect_bool(rows, |i| holds(op, compare_utf16(a.value(i), b.value(i)))))
        }
        (DataType::List(_) | DataType::Map(..) | DataType::Struct(_), _) => {
            let (a, b) = (repeated(left.clone(), rows)?, repeated(right.clone(), rows)?);
            let equal = BooleanBuffer::collect_bool(rows, |i| crate::functions::equal(&a, i, &b, i));
            Ok(if op == Comparison::NotEqual { !&equal } else { equal })
        }
        _ => native(op, left, right, rows),
    }
}

fn holds(op: Comparison, order: Ordering) -> bool {
    match op {
        Comparison::Equal | Comparison::NotDistinct => order.is_eq(),
        Comparison::NotEqual | Comparison::Distinct => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

/// Types whose order in Arrow is Java's.
fn native(op: Comparison, left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<BooleanBuffer> {
    let kernel: fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError> = match op {
        Comparison::Equal | Comparison::NotDistinct => cmp::eq,
        Comparison::NotEqual | Comparison::Distinct => cmp::neq,
        Comparison::Less => cmp::lt,
        Comparison::LessOrEqual => cmp::lt_eq,
        Comparison::Greater => cmp::gt,
        Comparison::GreaterOrEqual => cmp::gt_eq,
    };
    use ColumnarValue::{Array as Many, Scalar as One};
    let out = match (left, right) {
        (Many(a), Many(b)) => kernel(a, b)?,
        (Many(a), One(b)) => kernel(a, &b.to_scalar()?)?,
        (One(a), Many(b)) => kernel(&a.to_scalar()?, b)?,
        (One(a), One(b)) => {
            let one = kernel(&a.to_array_of_size(1)?, &b.to_scalar()?)?;
            return Ok(if one.value(0) { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) });
        }
    };
    Ok(out.values().clone())
}

/// IEEE comparison, with ksqlDB's `<>`: less or greater, so that NaN is in no relation to anything.
#[expect(clippy::double_comparisons, reason = "a != b would be true of NaN")]
fn doubles(op: Comparison, left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<BooleanBuffer> {
    match op {
        Comparison::Equal | Comparison::NotDistinct => each_double(left, right, rows, |a, b| a == b),
        Comparison::NotEqual | Comparison::Distinct => each_double(left, right, rows, |a, b| a < b || a > b),
        Comparison::Less => each_double(left, right, rows, |a, b| a < b),
        Comparison::LessOrEqual => each_double(left, right, rows, |a, b| a <= b),
        Comparison::Greater => each_double(left, right, rows, |a, b| a > b),
        Comparison::GreaterOrEqual => each_double(left, right, rows, |a, b| a >= b),
    }
}

#[inline(always)]
fn each_double(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    f: impl Fn(f64, f64) -> bool,
) -> Result<BooleanBuffer> {
    let constant = |v: &ColumnarValue| match v {
        ColumnarValue::Scalar(datafusion::common::ScalarValue::Float64(x)) => *x,
        _ => None,
    };
    match (left, right, constant(left), constant(right)) {
        (ColumnarValue::Array(a), _, _, Some(b)) => {
            let a = a.as_primitive::<Float64Type>().values();
            Ok(BooleanBuffer::collect_bool(rows, |i| f(a[i], b)))
        }
        (_, ColumnarValue::Array(b), Some(a), _) => {
            let b = b.as_primitive::<Float64Type>().values();
            Ok(BooleanBuffer::collect_bool(rows, |i| f(a, b[i])))
        }
        _ => {
            let (a, b) = (repeated(left.clone(), rows)?, repeated(right.clone(), rows)?);
            let (a, b) = (a.as_primitive::<Float64Type>().values(), b.as_primitive::<Float64Type>().values());
            Ok(BooleanBuffer::collect_bool(rows, |i| f(a[i], b[i])))
        }
    }
}

/// DECIMAL with DOUBLE: the DOUBLE is the decimal number that it prints as.
fn mixed(op: Comparison, left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<BooleanBuffer> {
    let (a, b) = (repeated(left.clone(), rows)?, repeated(right.clone(), rows)?);
    Ok(BooleanBuffer::collect_bool(rows, |i| match (exact(&a, i), exact(&b, i)) {
        (Ok(a), Ok(b)) => holds(op, a.compare(b)),
        (Err(a), Ok(_)) => a.partial_cmp(&0.0).is_some_and(|order| holds(op, order)),
        (Ok(_), Err(b)) => 0.0.partial_cmp(&b).is_some_and(|order| holds(op, order)),
        (Err(_), Err(_)) => false,
    }))
}

/// The exact number, or the NaN or infinity that is none.
fn exact(array: &ArrayRef, row: usize) -> Result<BigDecimal, f64> {
    match array.data_type() {
        DataType::Float64 => {
            let x = array.as_primitive::<Float64Type>().value(row);
            BigDecimal::of_double(x).ok_or(x)
        }
        DataType::Decimal128(_, s) => {
            let unscaled = i256::from_i128(array.as_primitive::<Decimal128Type>().value(row));
            Ok(BigDecimal { unscaled, scale: i32::from(*s) })
        }
        DataType::Decimal256(_, s) => {
            Ok(BigDecimal { unscaled: array.as_primitive::<Decimal256Type>().value(row), scale: i32::from(*s) })
        }
        _ => Err(f64::NAN),
    }
}

fn supplementary(value: &ColumnarValue) -> bool {
    match value {
        ColumnarValue::Array(array) => array.as_string_opt::<i32>().is_some_and(|a| has_supplementary(a.value_data())),
        ColumnarValue::Scalar(scalar) => {
            matches!(scalar, datafusion::common::ScalarValue::Utf8(Some(s)) if has_supplementary(s.as_bytes()))
        }
    }
}
