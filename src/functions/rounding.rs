//! Numbers and their digits: CEIL, FLOOR, ROUND, TRUNC.

use super::Param::{Decimal, Is};
use super::kernel::{Arg, Numbers, numbers, unary};
use super::{Entry, ErrorSink, Overload, Returns, entry};
use crate::error::{Error, Result};
use crate::types::SqlType;
use crate::types::SqlType::{Bigint, Double, Integer};
use crate::types::decimal::{BigDecimal, fits, power_of_ten};
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, i256};
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

/// The chapter of the functions reference.
pub(super) const MATHEMATICAL: &str = "MATHEMATICAL";

fn same(args: &[ColumnarValue], _: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    Ok(args[0].clone())
}

pub(super) static ENTRIES: &[Entry] = &[
    entry!("CEIL", MATHEMATICAL, "Returns the smallest whole number that is not less.",
        ["CEIL(1.25)" => "2.00", "CEIL(CAST(-1.5 AS DOUBLE))" => "-1.0"],
        [Overload::new(&[Is(Integer)], Returns::Same(0), same),
         Overload::new(&[Is(Bigint)], Returns::Same(0), same),
         Overload::new(&[Is(Double)], Returns::Same(0), |a, _, _| unary::<Float64Type, Float64Type>(a, f64::ceil)),
         Overload::new(&[Decimal], Returns::Same(0), |a, _, _| decimals(a, same_type, |x, s| whole(x, s, 1)))]),
    entry!("FLOOR", MATHEMATICAL, "Returns the largest whole number that is not greater.",
        ["FLOOR(1.75)" => "1.00", "FLOOR(CAST(-1.5 AS DOUBLE))" => "-2.0"],
        [Overload::new(&[Is(Integer)], Returns::Same(0), same),
         Overload::new(&[Is(Bigint)], Returns::Same(0), same),
         Overload::new(&[Is(Double)], Returns::Same(0), |a, _, _| unary::<Float64Type, Float64Type>(a, f64::floor)),
         Overload::new(&[Decimal], Returns::Same(0), |a, _, _| decimals(a, same_type, |x, s| whole(x, s, -1)))]),
    entry!("ROUND", MATHEMATICAL, "Rounds to a number of places after the point, half towards positive infinity.",
    ["ROUND(CAST(2.5 AS DOUBLE))" => "3", "ROUND(-2.5)" => "-2", "ROUND(12.345, 1)" => "12.300"],
    [Overload::new(&[Is(Integer)], Returns::Type(Bigint), |a, _, _| unary::<Int32Type, Int64Type>(a, i64::from)),
     Overload::new(&[Is(Bigint)], Returns::Type(Bigint), same),
     Overload::new(&[Is(Double)], Returns::Type(Bigint), |a, _, _| {
         unary::<Float64Type, Int64Type>(a, |x| (x + 0.5).floor() as i64)
     }),
     Overload::new(&[Is(Double), Is(Integer)], Returns::Type(Double), round_double),
     Overload::new(&[Decimal], Returns::Of(rounded_type), |a, _, _| decimals(a, no_places, half_up)),
     Overload::fallible(&[Decimal, Is(Integer)], Returns::Same(0), |a, rows, errors| {
         places(a, rows, errors, |x, drop, unit| half_up(x, drop).checked_mul(unit))
     })]),
    entry!("TRUNC", MATHEMATICAL, "Cuts off what stands behind a number of places after the point.",
    ["TRUNC(CAST(-2.9 AS DOUBLE))" => "-2", "TRUNC(12.345, 1)" => "12.300", "TRUNC(1299, -2)" => "1200"],
    [Overload::new(&[Is(Integer)], Returns::Type(Bigint), |a, _, _| unary::<Int32Type, Int64Type>(a, i64::from)),
     Overload::new(&[Is(Bigint)], Returns::Type(Bigint), same),
     Overload::new(&[Is(Double)], Returns::Type(Bigint), |a, _, _| {
         unary::<Float64Type, Int64Type>(a, |x| x.trunc() as i64)
     }),
     Overload::new(&[Is(Double), Is(Integer)], Returns::Type(Double), trunc_double),
     Overload::new(&[Decimal], Returns::Of(rounded_type), |a, _, _| decimals(a, no_places, cut)),
     Overload::fallible(&[Decimal, Is(Integer)], Returns::Same(0), |a, rows, errors| {
         places(a, rows, errors, |x, drop, unit| cut(x, drop).checked_mul(unit))
     })]),
];

/// The shape of a DECIMAL without places after the point.
fn no_places(precision: u8, scale: i8) -> (u8, i8) {
    (precision.saturating_sub(scale.unsigned_abs()).max(1), 0)
}

/// The whole part.
fn cut(unscaled: i256, scale: i8) -> i256 {
    power_of_ten(i32::from(scale)).map_or(i256::ZERO, |unit| unscaled.wrapping_div(unit))
}

fn trunc_double(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (values, places) = (Numbers::<Float64Type>::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?);
    numbers::<Float64Type>(rows, |row| {
        let (value, places) = (values.get(row)?, places.get(row)?.clamp(-400, 400));
        let Some(exact) = BigDecimal::of_double(value).filter(|e| places < e.scale) else { return Some(value) };
        let unscaled = power_of_ten(exact.scale - places).map_or(i256::ZERO, |unit| exact.unscaled.wrapping_div(unit));
        Some(BigDecimal { unscaled, scale: places }.to_double())
    })
}

pub(super) fn same_type(precision: u8, scale: i8) -> (u8, i8) {
    (precision, scale)
}

/// ROUND of a DECIMAL has no places left.
fn rounded_type(args: &[SqlType]) -> SqlType {
    match args.first() {
        Some(SqlType::Decimal(p, s)) => SqlType::Decimal(p.saturating_sub(s.unsigned_abs()).max(1), 0),
        other => other.cloned().unwrap_or(SqlType::Bigint),
    }
}

/// `f` of every unscaled value and the scale.
pub(super) fn decimals(
    args: &[ColumnarValue],
    shape: impl Fn(u8, i8) -> (u8, i8),
    f: impl Fn(i256, i8) -> i256,
) -> Result<ColumnarValue> {
    let arg = Arg::new(args, 0)?;
    let out: ArrayRef = match arg.array().data_type() {
        DataType::Decimal128(p, s) => {
            let values = arg.array().as_primitive::<Decimal128Type>();
            let (precision, scale) = shape(*p, *s);
            let narrow = values.unary::<_, Decimal128Type>(|x| f(i256::from_i128(x), *s).as_i128());
            Arc::new(narrow.with_precision_and_scale(precision, scale)?)
        }
        DataType::Decimal256(p, s) => {
            let values = arg.array().as_primitive::<Decimal256Type>();
            let (precision, scale) = shape(*p, *s);
            let wide = values.unary::<_, Decimal256Type>(|x| f(x, *s));
            if precision > 38 {
                Arc::new(wide.with_precision_and_scale(precision, scale)?)
            } else {
                let narrow = wide.unary::<_, Decimal128Type>(|x| x.as_i128());
                Arc::new(narrow.with_precision_and_scale(precision, scale)?)
            }
        }
        other => return Err(Error::bug(format!("a DECIMAL argument is {other}"))),
    };
    Ok(ColumnarValue::Array(out))
}

/// Up (1) or down (-1) to a whole number, at the same scale.
fn whole(unscaled: i256, scale: i8, direction: i128) -> i256 {
    let Some(unit) = power_of_ten(i32::from(scale)) else { return unscaled };
    let rest = unscaled.wrapping_rem(unit);
    let down = unscaled.wrapping_sub(rest);
    match (rest.cmp(&i256::ZERO), direction) {
        (std::cmp::Ordering::Greater, 1) => down.wrapping_add(unit),
        (std::cmp::Ordering::Less, -1) => down.wrapping_sub(unit),
        _ => down,
    }
}

/// Half towards positive infinity, as ksqlDB's ROUND.
fn half_up(unscaled: i256, scale: i8) -> i256 {
    let Some(unit) = power_of_ten(i32::from(scale)) else { return unscaled };
    if unit == i256::ONE {
        return unscaled;
    }
    let half = unit.wrapping_div(i256::from_i128(2));
    whole(unscaled.wrapping_add(half), scale, -1).wrapping_div(unit)
}

fn round_double(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (values, places) = (Numbers::<Float64Type>::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?);
    numbers::<Float64Type>(rows, |row| {
        let (value, places) = (values.get(row)?, places.get(row)?.clamp(-400, 400));
        let rounded = BigDecimal::of_double(value).and_then(|exact| {
            if places >= exact.scale {
                return None;
            }
            // Half towards positive infinity: away from zero, but for a negative half.
            let up = exact.rescale(places)?;
            let back = BigDecimal { unscaled: up, scale: places };
            let twice =
                BigDecimal { unscaled: exact.unscaled.wrapping_sub(back.rescale(exact.scale)?), scale: exact.scale };
            let half = BigDecimal { unscaled: i256::from_i128(5), scale: places + 1 };
            let tie = value < 0.0 && twice.compare(half).is_eq();
            let unscaled = if tie { up.wrapping_add(i256::ONE) } else { up };
            Some(BigDecimal { unscaled, scale: places }.to_double())
        });
        Some(rounded.unwrap_or(value))
    })
}

/// A DECIMAL at its own scale with fewer places: `f` gets the unscaled value, how many places go, and ten to that power.
fn places(
    args: &[ColumnarValue],
    rows: usize,
    errors: &mut ErrorSink,
    f: impl Fn(i256, i8, i256) -> Option<i256>,
) -> Result<ColumnarValue> {
    let (arg, places) = (Arg::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?);
    let (precision, scale) = match arg.array().data_type() {
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => (*p, *s),
        other => return Err(Error::bug(format!("a DECIMAL argument is {other}"))),
    };
    let mut rounded = |row: usize| {
        if arg.is_null(row) {
            return None;
        }
        let at = arg.place(row);
        let unscaled = match arg.array().as_primitive_opt::<Decimal128Type>() {
            Some(values) => i256::from_i128(values.value(at)),
            None => arg.array().as_primitive::<Decimal256Type>().value(at),
        };
        let drop = i64::from(scale) - i64::from(places.get(row)?);
        if drop <= 0 {
            return Some(unscaled);
        }
        // Beyond all digits nothing is left to round.
        let drop = i8::try_from(drop).unwrap_or(i8::MAX);
        let Some(unit) = power_of_ten(i32::from(drop)) else { return Some(i256::ZERO) };
        let value = f(unscaled, drop, unit).filter(|x| fits(*x, precision));
        if value.is_none() {
            errors.fail(row);
        }
        value
    };
    let out: ArrayRef = if precision <= 38 {
        let array: Decimal128Array = (0..rows).map(|row| rounded(row).map(|x| x.as_i128())).collect();
        Arc::new(array.with_precision_and_scale(precision, scale)?)
    } else {
        let array: Decimal256Array = (0..rows).map(rounded).collect();
        Arc::new(array.with_precision_and_scale(precision, scale)?)
    };
    Ok(ColumnarValue::Array(out))
}
