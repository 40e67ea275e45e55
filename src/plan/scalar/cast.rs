//! CAST: which casts exist, and their kernels.
//!
//! Widening casts cannot fail; text, DECIMAL targets and nested types of them can, row by row.

use super::errors::{Reason, RowErrors, Selection};
use crate::error::{Error, Result};
use crate::types::SqlType;
use crate::types::base64;
use crate::types::decimal::{BigDecimal, fits};
use crate::types::display::write_value;
use crate::types::java_double::parse_java_double;
use crate::types::temporal::{DAY_MS, parse_date, parse_time, parse_timestamp};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanArray, BooleanBufferBuilder, ListArray,
    MapArray, PrimitiveArray, StringBuilder, StructArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

/// The cast exists.
pub(super) fn exists(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    match (from, to) {
        (Bytes, String) => false,
        (_, String) => true,
        (String, Boolean | Integer | Bigint | Double | Decimal(..) | Bytes | Date | Time | Timestamp) => true,
        (Timestamp, Date | Time) | (Date, Timestamp) => true,
        (Array(a), Array(b)) => exists(a, b),
        (Map(k, v), Map(l, w)) => exists(k, l) && exists(v, w),
        (Struct(a), Struct(b)) => {
            b.iter().all(|(name, ty)| a.iter().find(|(n, _)| n == name).is_none_or(|(_, from)| exists(from, ty)))
        }
        (a, b) => a == b || a.is_numeric() && b.is_numeric(),
    }
}

/// Some value of `from` has no value of `to`.
pub(super) fn can_fail(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    match (from, to) {
        (String, String | Boolean) => false,
        (String, _) => true,
        (Array(a), Array(b)) => can_fail(a, b),
        (Map(k, v), Map(l, w)) => can_fail(k, l) || can_fail(v, w),
        (Struct(a), Struct(b)) => {
            b.iter().any(|(name, ty)| a.iter().find(|(n, _)| n == name).is_some_and(|(_, from)| can_fail(from, ty)))
        }
        (Double, Decimal(..)) => true,
        (_, Decimal(p, s)) => match from {
            Integer => i16::from(*p) - i16::from(*s) < 10,
            Bigint => i16::from(*p) - i16::from(*s) < 19,
            // Rounding can carry into a new digit.
            Decimal(q, t) => i16::from(*p) - i16::from(*s) < i16::from(*q) - i16::from(*t) + i16::from(s < t),
            _ => true,
        },
        _ => false,
    }
}

/// `CAST(value AS to)`
pub(super) fn cast(
    value: &ColumnarValue,
    from: &SqlType,
    to: &SqlType,
    rows: usize,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    if from == to {
        return Ok(value.clone());
    }
    match value {
        ColumnarValue::Array(array) => {
            let selection = errors.healthy(selection);
            let (array, bad) = column(array, from, to, &selection)?;
            if let Some((reason, bad)) = bad {
                errors.raise(reason, &selection, &bad);
            }
            Ok(ColumnarValue::Array(array))
        }
        ColumnarValue::Scalar(scalar) => {
            let (array, bad) = column(&scalar.to_array()?, from, to, &Selection::all())?;
            if let Some((reason, _)) = bad {
                errors.raise(reason, selection, &BooleanBuffer::new_set(rows));
            }
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
        }
    }
}

/// A cast column, and the rows that failed (a column fails in one way only).
type Outcome = (ArrayRef, Option<(Reason, BooleanBuffer)>);

fn column(array: &ArrayRef, from: &SqlType, to: &SqlType, selection: &Selection) -> Result<Outcome> {
    use SqlType::*;
    let n = array.len();
    Ok(match (from, to) {
        (a, b) if a == b => (array.clone(), None),
        (_, String) => (strings(array), None),
        (String, _) => return from_text(array, to, selection),
        (Integer | Bigint | Decimal(..), Decimal(..)) if !can_fail(from, to) && narrow(array, to) => {
            (widened(array, to)?, None)
        }
        (_, Decimal(p, s)) => {
            let (p, s) = (*p, *s);
            decimals(array, (p, s), selection, Reason::Overflow, |row| exact(array, row))?
        }
        (Integer, Bigint) => (Arc::new(array.as_primitive::<Int32Type>().unary::<_, Int64Type>(i64::from)), None),
        (Integer, Double) => (Arc::new(array.as_primitive::<Int32Type>().unary::<_, Float64Type>(f64::from)), None),
        (Bigint, Integer) => (Arc::new(array.as_primitive::<Int64Type>().unary::<_, Int32Type>(|x| x as i32)), None),
        (Bigint, Double) => (Arc::new(array.as_primitive::<Int64Type>().unary::<_, Float64Type>(|x| x as f64)), None),
        (Double, Integer) => (Arc::new(array.as_primitive::<Float64Type>().unary::<_, Int32Type>(|x| x as i32)), None),
        (Double, Bigint) => (Arc::new(array.as_primitive::<Float64Type>().unary::<_, Int64Type>(|x| x as i64)), None),
        (Decimal(..), Integer) => (whole::<Int32Type>(array, |x| x as i32), None),
        (Decimal(..), Bigint) => (whole::<Int64Type>(array, |x| x as i64), None),
        (Decimal(..), Double) => {
            let value = |row| exact(array, row).map_or(f64::NAN, BigDecimal::to_double);
            (rows::<Float64Type>(array, n, |row| Some(value(row)), selection).0, None)
        }
        (Timestamp, Date) => {
            let days = |ms: i64| ms.div_euclid(DAY_MS) as i32;
            (Arc::new(array.as_primitive::<TimestampMillisecondType>().unary::<_, Date32Type>(days)), None)
        }
        (Timestamp, Time) => {
            let time = |ms: i64| ms.rem_euclid(DAY_MS) as i32;
            (Arc::new(array.as_primitive::<TimestampMillisecondType>().unary::<_, Time32MillisecondType>(time)), None)
        }
        (Date, Timestamp) => {
            let ms = |days: i32| i64::from(days) * DAY_MS;
            (Arc::new(array.as_primitive::<Date32Type>().unary::<_, TimestampMillisecondType>(ms)), None)
        }
        (Array(a), Array(b)) => {
            let list = array.as_list::<i32>();
            let (values, bad) = column(list.values(), a, b, &Selection::all())?;
            let DataType::List(field) = to.arrow() else { return Err(Error::bug("an ARRAY is not an Arrow list")) };
            let out = ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?;
            (Arc::new(out), bad.map(|(reason, bad)| (reason, parents(list.value_offsets(), list.nulls(), &bad))))
        }
        (Map(k, v), Map(l, w)) => {
            let map = array.as_map();
            let (keys, bad_keys) = column(map.keys(), k, l, &Selection::all())?;
            let (values, bad_values) = column(map.values(), v, w, &Selection::all())?;
            let DataType::Map(field, _) = to.arrow() else { return Err(Error::bug("a MAP is not an Arrow map")) };
            let DataType::Struct(fields) = field.data_type() else { return Err(Error::bug("a MAP has no entries")) };
            let keys = if keys.null_count() > 0 { filled(&keys)? } else { keys };
            let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
            let out = MapArray::try_new(field.clone(), map.offsets().clone(), entries, map.nulls().cloned(), false)?;
            let bad = either(bad_keys, bad_values);
            (Arc::new(out), bad.map(|(reason, bad)| (reason, parents(map.value_offsets(), map.nulls(), &bad))))
        }
        (Struct(a), Struct(b)) => structure(array, a, b, to, selection)?,
        _ => return Err(Error::bug(format!("a cast of {from} to {to} was bound"))),
    })
}

fn structure(
    array: &ArrayRef,
    from: &[(String, SqlType)],
    to: &[(String, SqlType)],
    whole: &SqlType,
    selection: &Selection,
) -> Result<Outcome> {
    let old = array.as_struct();
    let (mut columns, mut bad) = (vec![], None);
    for (name, ty) in to {
        match from.iter().position(|(n, _)| n == name) {
            None => columns.push(new_null_array(&ty.arrow(), array.len())),
            Some(i) => {
                let (cast, failed) = column(old.column(i), &from[i].1, ty, selection)?;
                bad = either(bad, failed);
                columns.push(cast);
            }
        }
    }
    let DataType::Struct(fields) = whole.arrow() else { return Err(Error::bug("a STRUCT is not an Arrow struct")) };
    let bad = bad.map(|(reason, bad)| (reason, old.nulls().map_or(bad.clone(), |n| &bad & n.inner())));
    Ok((Arc::new(StructArray::try_new_with_length(fields, columns, old.nulls().cloned(), array.len())?), bad))
}

fn either(a: Option<(Reason, BooleanBuffer)>, b: Option<(Reason, BooleanBuffer)>) -> Option<(Reason, BooleanBuffer)> {
    match (a, b) {
        (Some((reason, a)), Some((_, b))) => Some((reason, &a | &b)),
        (a, b) => a.or(b),
    }
}

/// Keys of a row that failed: the row becomes NULL, but its keys may not be.
fn filled(keys: &ArrayRef) -> Result<ArrayRef> {
    Ok(arrow::array::make_array(keys.to_data().into_builder().nulls(None).build()?))
}

/// The rows of a list in which some item is bad.
fn parents(offsets: &[i32], nulls: Option<&NullBuffer>, bad: &BooleanBuffer) -> BooleanBuffer {
    BooleanBuffer::collect_bool(offsets.len() - 1, |row| {
        nulls.is_none_or(|n| n.is_valid(row))
            && (offsets[row] as usize..offsets[row + 1] as usize).any(|item| bad.value(item))
    })
}

fn strings(array: &ArrayRef) -> ArrayRef {
    let mut out = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            out.append_null();
            continue;
        }
        text.clear();
        write_value(array, row, &mut text);
        out.append_value(&text);
    }
    Arc::new(out.finish())
}

fn from_text(array: &ArrayRef, to: &SqlType, selection: &Selection) -> Result<Outcome> {
    let n = array.len();
    let text = array.as_string_opt::<i32>().ok_or_else(|| Error::bug("a STRING column is not Utf8"))?;
    let failed = |(array, bad): (ArrayRef, Option<BooleanBuffer>)| (array, bad.map(|b| (Reason::Cast, b)));
    Ok(match to {
        SqlType::Boolean => {
            let values = BooleanBuffer::collect_bool(n, |row| text.is_valid(row) && is_true(text.value(row)));
            (Arc::new(BooleanArray::new(values, text.nulls().cloned())), None)
        }
        SqlType::Integer => failed(rows::<Int32Type>(array, n, |r| text.value(r).trim().parse().ok(), selection)),
        SqlType::Bigint => failed(rows::<Int64Type>(array, n, |r| text.value(r).trim().parse().ok(), selection)),
        SqlType::Double => {
            failed(rows::<Float64Type>(array, n, |r| parse_java_double(text.value(r).trim()), selection))
        }
        SqlType::Decimal(p, s) => {
            decimals(array, (*p, *s), selection, Reason::Cast, |row| BigDecimal::parse(text.value(row).trim()))?
        }
        SqlType::Date => failed(rows::<Date32Type>(array, n, |r| parse_date(text.value(r)), selection)),
        SqlType::Time => failed(rows::<Time32MillisecondType>(array, n, |r| parse_time(text.value(r)), selection)),
        SqlType::Timestamp => {
            failed(rows::<TimestampMillisecondType>(array, n, |r| parse_timestamp(text.value(r)), selection))
        }
        SqlType::Bytes => {
            let mut out = BinaryBuilder::new();
            let mut bad = BooleanBufferBuilder::new(n);
            for row in 0..n {
                let mut bytes = Vec::new();
                let read = text.is_valid(row).then(|| base64::decode_basic(text.value(row), &mut bytes)).flatten();
                let bytes = read.map(|()| bytes);
                bad.append(text.is_valid(row) && bytes.is_none());
                out.append_option(bytes);
            }
            let bad = bad.finish();
            let bad = bad.has_true().then_some(bad);
            failed((Arc::new(out.finish()), bad))
        }
        other => return Err(Error::bug(format!("a cast of STRING to {other} was bound"))),
    })
}

/// Any beginning of "true" or "yes" is true; everything else is false.
fn is_true(text: &str) -> bool {
    let begins = |word: &str| word.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    !text.is_empty() && (begins("true") || begins("yes"))
}

/// A value for each row that is wanted and not NULL; and the rows for which there is none.
fn rows<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    n: usize,
    value: impl Fn(usize) -> Option<T::Native>,
    selection: &Selection,
) -> (ArrayRef, Option<BooleanBuffer>) {
    let mut values = vec![T::Native::default(); n];
    let mut bad: Option<BooleanBufferBuilder> = None;
    let mut one = |row: usize| {
        if array.is_null(row) {
            return;
        }
        match value(row) {
            Some(value) => values[row] = value,
            None => {
                let bad = bad.get_or_insert_with(|| {
                    let mut none = BooleanBufferBuilder::new(n);
                    none.append_n(n, false);
                    none
                });
                bad.set_bit(row, true);
            }
        }
    };
    match &selection.0 {
        None => (0..n).for_each(&mut one),
        Some(rows) => rows.set_indices().for_each(&mut one),
    }
    (Arc::new(PrimitiveArray::<T>::new(values.into(), array.nulls().cloned())), bad.map(|mut b| b.finish()))
}

/// Exact numbers as DECIMAL(p, s), rounded half up; too many digits fail.
fn decimals(
    array: &ArrayRef,
    (p, s): (u8, i8),
    selection: &Selection,
    reason: Reason,
    value: impl Fn(usize) -> Option<BigDecimal>,
) -> Result<Outcome> {
    let n = array.len();
    let unscaled = |row: usize| value(row)?.rescale(i32::from(s)).filter(|x| fits(*x, p));
    let (array, bad): (ArrayRef, _) = if p <= 38 {
        let (array, bad) = rows::<Decimal128Type>(array, n, |row| unscaled(row)?.to_i128(), selection);
        (Arc::new(array.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(p, s)?), bad)
    } else {
        let (array, bad) = rows::<Decimal256Type>(array, n, unscaled, selection);
        (Arc::new(array.as_primitive::<Decimal256Type>().clone().with_precision_and_scale(p, s)?), bad)
    };
    Ok((array, bad.map(|bad| (reason, bad))))
}

fn exact(array: &ArrayRef, row: usize) -> Option<BigDecimal> {
    let (unscaled, scale) = match array.data_type() {
        DataType::Int32 => (i256::from_i128(array.as_primitive::<Int32Type>().value(row).into()), 0),
        DataType::Int64 => (i256::from_i128(array.as_primitive::<Int64Type>().value(row).into()), 0),
        DataType::Float64 => return BigDecimal::of_double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, s) => (i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)), *s),
        DataType::Decimal256(_, s) => (array.as_primitive::<Decimal256Type>().value(row), *s),
        _ => return None,
    };
    Some(BigDecimal { unscaled, scale: i32::from(scale) })
}

/// 128 bits are enough on both sides, and the scale does not shrink.
fn narrow(array: &ArrayRef, to: &SqlType) -> bool {
    let SqlType::Decimal(p, s) = to else { return false };
    *p <= 38
        && match array.data_type() {
            DataType::Int32 | DataType::Int64 => true,
            DataType::Decimal128(_, t) => t <= s,
            _ => false,
        }
}

/// More digits: one multiplication a row, which cannot overflow.
fn widened(array: &ArrayRef, to: &SqlType) -> Result<ArrayRef> {
    let SqlType::Decimal(p, s) = to else { return Err(Error::bug("a DECIMAL was expected")) };
    let factor = |from: i8| 10i128.pow(u32::from((s - from).unsigned_abs()));
    let out: PrimitiveArray<Decimal128Type> = match array.data_type() {
        DataType::Int32 => {
            let factor = factor(0);
            array.as_primitive::<Int32Type>().unary(|x| i128::from(x).wrapping_mul(factor))
        }
        DataType::Int64 => {
            let factor = factor(0);
            array.as_primitive::<Int64Type>().unary(|x| i128::from(x).wrapping_mul(factor))
        }
        DataType::Decimal128(_, t) => {
            let factor = factor(*t);
            array.as_primitive::<Decimal128Type>().unary(|x| x.wrapping_mul(factor))
        }
        other => return Err(Error::bug(format!("{other} is not widened to {to}"))),
    };
    Ok(Arc::new(out.with_precision_and_scale(*p, *s)?))
}

/// The whole part of a DECIMAL; what does not fit loses its high bits, as in Java.
fn whole<T: ArrowPrimitiveType>(array: &ArrayRef, low_bits: impl Fn(i128) -> T::Native) -> ArrayRef {
    let value = |row: usize| {
        let x = exact(array, row)?;
        let divisor = crate::types::decimal::power_of_ten(x.scale)?;
        Some(low_bits(x.unscaled.checked_div(divisor)?.as_i128()))
    };
    rows::<T>(array, array.len(), value, &Selection::all()).0
}
