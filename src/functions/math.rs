//! Numbers.

use super::Param::{Decimal, Is};
use super::kernel::{Arg, Numbers, numbers, unary};
use super::{Entry, ErrorSink, Implementation, Overload, Param, Returns};
use crate::error::{Error, Result};
use crate::types::SqlType;
use crate::types::SqlType::{Bigint, Double, Integer};
use crate::types::exact::{Exact, fits, power_of_ten};
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, i256};
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

const MATHEMATICAL: &str = "MATHEMATICAL";

const fn overload(params: &'static [Param], returns: Returns, implementation: Implementation) -> Overload {
    Overload { params, variadic: false, returns, can_fail: false, implementation }
}

/// DOUBLE to DOUBLE.
const fn double(implementation: Implementation) -> Overload {
    overload(&[Is(Double)], Returns::Type(Double), implementation)
}

fn same(args: &[ColumnarValue], _: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    Ok(args[0].clone())
}

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "ABS",
        category: MATHEMATICAL,
        description: "Returns the absolute value.",
        overloads: &[
            overload(&[Is(Integer)], Returns::Same(0), |a, _, _| unary::<Int32Type, Int32Type>(a, i32::wrapping_abs)),
            overload(&[Is(Bigint)], Returns::Same(0), |a, _, _| unary::<Int64Type, Int64Type>(a, i64::wrapping_abs)),
            overload(&[Is(Double)], Returns::Same(0), |a, _, _| unary::<Float64Type, Float64Type>(a, f64::abs)),
            overload(&[Decimal], Returns::Same(0), |a, _, _| decimals(a, same_type, |x, _| x.wrapping_abs())),
        ],
    },
    Entry {
        name: "CEIL",
        category: MATHEMATICAL,
        description: "Returns the smallest whole number that is not less.",
        overloads: &[
            overload(&[Is(Integer)], Returns::Same(0), same),
            overload(&[Is(Bigint)], Returns::Same(0), same),
            overload(&[Is(Double)], Returns::Same(0), |a, _, _| unary::<Float64Type, Float64Type>(a, f64::ceil)),
            overload(&[Decimal], Returns::Same(0), |a, _, _| decimals(a, same_type, |x, s| whole(x, s, 1))),
        ],
    },
    Entry {
        name: "FLOOR",
        category: MATHEMATICAL,
        description: "Returns the largest whole number that is not greater.",
        overloads: &[
            overload(&[Is(Integer)], Returns::Same(0), same),
            overload(&[Is(Bigint)], Returns::Same(0), same),
            overload(&[Is(Double)], Returns::Same(0), |a, _, _| unary::<Float64Type, Float64Type>(a, f64::floor)),
            overload(&[Decimal], Returns::Same(0), |a, _, _| decimals(a, same_type, |x, s| whole(x, s, -1))),
        ],
    },
    Entry {
        name: "ROUND",
        category: MATHEMATICAL,
        description: "Rounds to a number of places after the point, half up.",
        overloads: &[
            overload(&[Is(Integer)], Returns::Type(Bigint), |a, _, _| unary::<Int32Type, Int64Type>(a, i64::from)),
            overload(&[Is(Bigint)], Returns::Type(Bigint), same),
            overload(&[Is(Double)], Returns::Type(Bigint), |a, _, _| {
                unary::<Float64Type, Int64Type>(a, |x| (x + 0.5).floor() as i64)
            }),
            overload(&[Is(Double), Is(Integer)], Returns::Type(Double), round_double),
            overload(&[Decimal], Returns::Of(rounded_type), |a, _, _| {
                decimals(a, |p, s| (p.saturating_sub(s.unsigned_abs()).max(1), 0), half_up)
            }),
            Overload {
                params: &[Decimal, Is(Integer)],
                variadic: false,
                returns: Returns::Same(0),
                can_fail: true,
                implementation: round_decimal,
            },
        ],
    },
    Entry {
        name: "SIGN",
        category: MATHEMATICAL,
        description: "Returns -1, 0 or 1.",
        overloads: &[
            overload(&[Is(Integer)], Returns::Type(Integer), |a, _, _| unary::<Int32Type, Int32Type>(a, i32::signum)),
            overload(&[Is(Bigint)], Returns::Type(Integer), |a, _, _| {
                unary::<Int64Type, Int32Type>(a, |x| x.signum() as i32)
            }),
            overload(&[Is(Double)], Returns::Type(Integer), |a, _, _| {
                unary::<Float64Type, Int32Type>(a, |x| {
                    if x > 0.0 {
                        1
                    } else if x < 0.0 {
                        -1
                    } else {
                        0
                    }
                })
            }),
        ],
    },
    Entry {
        name: "SQRT",
        category: MATHEMATICAL,
        description: "Returns the square root.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::sqrt))],
    },
    Entry {
        name: "EXP",
        category: MATHEMATICAL,
        description: "Returns e to the power of the argument.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::exp))],
    },
    Entry {
        name: "LN",
        category: MATHEMATICAL,
        description: "Returns the natural logarithm.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::ln))],
    },
    Entry {
        name: "CBRT",
        category: MATHEMATICAL,
        description: "Returns the cube root.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::cbrt))],
    },
    Entry {
        name: "SIN",
        category: MATHEMATICAL,
        description: "Returns the sine.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::sin))],
    },
    Entry {
        name: "COS",
        category: MATHEMATICAL,
        description: "Returns the cosine.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::cos))],
    },
    Entry {
        name: "TAN",
        category: MATHEMATICAL,
        description: "Returns the tangent.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::tan))],
    },
    Entry {
        name: "ASIN",
        category: MATHEMATICAL,
        description: "Returns the arc sine.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::asin))],
    },
    Entry {
        name: "ACOS",
        category: MATHEMATICAL,
        description: "Returns the arc cosine.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::acos))],
    },
    Entry {
        name: "ATAN",
        category: MATHEMATICAL,
        description: "Returns the arc tangent.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::atan))],
    },
    Entry {
        name: "SINH",
        category: MATHEMATICAL,
        description: "Returns the hyperbolic sine.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::sinh))],
    },
    Entry {
        name: "COSH",
        category: MATHEMATICAL,
        description: "Returns the hyperbolic cosine.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::cosh))],
    },
    Entry {
        name: "TANH",
        category: MATHEMATICAL,
        description: "Returns the hyperbolic tangent.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::tanh))],
    },
    Entry {
        name: "DEGREES",
        category: MATHEMATICAL,
        description: "Returns the angle in degrees.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::to_degrees))],
    },
    Entry {
        name: "RADIANS",
        category: MATHEMATICAL,
        description: "Returns the angle in radians.",
        overloads: &[double(|a, _, _| unary::<Float64Type, Float64Type>(a, f64::to_radians))],
    },
    Entry {
        name: "POWER",
        category: MATHEMATICAL,
        description: "Returns the first argument to the power of the second.",
        overloads: &[overload(&[Is(Double), Is(Double)], Returns::Type(Double), |args, rows, _| {
            let (base, exponent) = (Numbers::<Float64Type>::new(args, 0)?, Numbers::<Float64Type>::new(args, 1)?);
            numbers::<Float64Type>(rows, |row| Some(base.get(row)?.powf(exponent.get(row)?)))
        })],
    },
];

fn same_type(precision: u8, scale: i8) -> (u8, i8) {
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
fn decimals(
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
        let rounded = Exact::of_double(value).and_then(|exact| {
            if places >= exact.scale {
                return None;
            }
            // Half towards positive infinity: away from zero, but for a negative half.
            let up = exact.rescale(places)?;
            let back = Exact { unscaled: up, scale: places };
            let twice = Exact { unscaled: exact.unscaled.wrapping_sub(back.rescale(exact.scale)?), scale: exact.scale };
            let half = Exact { unscaled: i256::from_i128(5), scale: places + 1 };
            let tie = value < 0.0 && twice.compare(half).is_eq();
            let unscaled = if tie { up.wrapping_add(i256::ONE) } else { up };
            Some(Exact { unscaled, scale: places }.to_double())
        });
        Some(rounded.unwrap_or(value))
    })
}

fn round_decimal(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
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
        let value = half_up(unscaled, drop).checked_mul(unit).filter(|x| fits(*x, precision));
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
