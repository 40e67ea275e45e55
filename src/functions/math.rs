//! Numbers: powers, logarithms, angles. Rounding to digits is in `rounding`.

use super::Param::{Decimal, Is};
use super::kernel::{Arg, Numbers, numbers, unary};
use super::rounding::{MATHEMATICAL, decimals, same_type};
use super::{Entry, ErrorSink, Implementation, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType::{Bigint, Double, Integer, String as Text};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// Radius of the sphere that the earth is taken for.
const RADIUS_KM: f64 = 6371.0;
/// The same in miles.
const RADIUS_MILES: f64 = 3959.0;

/// DOUBLE to DOUBLE.
const fn double(implementation: Implementation) -> Overload {
    Overload::new(&[Is(Double)], Returns::Type(Double), implementation)
}

/// Two DOUBLEs to DOUBLE.
const fn doubles(implementation: Implementation) -> Overload {
    Overload::new(&[Is(Double), Is(Double)], Returns::Type(Double), implementation)
}

/// An implementation for each DOUBLE on its own.
macro_rules! each {
    ($f:expr) => {
        |args, _, _| unary::<Float64Type, Float64Type>(args, $f)
    };
}

pub(super) static ENTRIES: &[Entry] = &[
    entry!("ABS", MATHEMATICAL, "Returns the absolute value.", ["ABS(-3)" => "3", "ABS(-1.50)" => "1.50"], [
        Overload::new(&[Is(Integer)], Returns::Same(0), |a, _, _| unary::<Int32Type, Int32Type>(a, i32::wrapping_abs)),
        Overload::new(&[Is(Bigint)], Returns::Same(0), |a, _, _| unary::<Int64Type, Int64Type>(a, i64::wrapping_abs)),
        Overload::new(&[Is(Double)], Returns::Same(0), each!(f64::abs)),
        Overload::new(&[Decimal], Returns::Same(0), |a, _, _| decimals(a, same_type, |x, _| x.wrapping_abs())),
    ]),
    entry!("SIGN", MATHEMATICAL, "Returns -1, 0 or 1.", ["SIGN(-2.5)" => "-1", "SIGN(0)" => "0"], [
        Overload::new(&[Is(Integer)], Returns::Type(Integer), |a, _, _| unary::<Int32Type, Int32Type>(a, i32::signum)),
        Overload::new(&[Is(Bigint)], Returns::Type(Integer), |a, _, _| {
            unary::<Int64Type, Int32Type>(a, |x| x.signum() as i32)
        }),
        Overload::new(&[Is(Double)], Returns::Type(Integer), |a, _, _| {
            unary::<Float64Type, Int32Type>(a, |x| i32::from(x > 0.0) - i32::from(x < 0.0))
        }),
    ]),
    entry!("SQRT", MATHEMATICAL, "Returns the square root.", ["SQRT(9)" => "3.0"], [double(each!(f64::sqrt))]),
    entry!("CBRT", MATHEMATICAL, "Returns the cube root.", ["CBRT(27)" => "3.0"], [double(each!(f64::cbrt))]),
    entry!("EXP", MATHEMATICAL, "Returns e to the power of the argument.", ["EXP(0)" => "1.0"], [
        double(each!(f64::exp))
    ]),
    entry!("LN", MATHEMATICAL, "Returns the natural logarithm.", ["LN(1)" => "0.0"], [double(each!(f64::ln))]),
    entry!("LOG", MATHEMATICAL, "Returns the natural logarithm, or the logarithm of the second argument to the base of the first.",
        ["LOG(1)" => "0.0", "LOG(2, 8)" => "3.0"],
        [double(each!(f64::ln)), doubles(logarithm)]),
    entry!("POWER", MATHEMATICAL, "Returns the first argument to the power of the second.", ["POWER(2, 10)" => "1024.0"], [
        doubles(|args, rows, _| pairs(args, rows, f64::powf))
    ]),
    entry!("SIN", MATHEMATICAL, "Returns the sine of an angle in radians.", ["SIN(0)" => "0.0"], [
        double(each!(f64::sin))
    ]),
    entry!("COS", MATHEMATICAL, "Returns the cosine of an angle in radians.", ["COS(0)" => "1.0"], [
        double(each!(f64::cos))
    ]),
    entry!("TAN", MATHEMATICAL, "Returns the tangent of an angle in radians.", ["TAN(0)" => "0.0"], [
        double(each!(f64::tan))
    ]),
    entry!("COT", MATHEMATICAL, "Returns the cotangent of an angle in radians.", ["COT(0)" => "Infinity"], [
        double(each!(|x| 1.0 / x.tan()))
    ]),
    entry!("ASIN", MATHEMATICAL, "Returns the arc sine.", ["ASIN(0)" => "0.0"], [double(each!(f64::asin))]),
    entry!("ACOS", MATHEMATICAL, "Returns the arc cosine.", ["ACOS(1)" => "0.0"], [double(each!(f64::acos))]),
    entry!("ATAN", MATHEMATICAL, "Returns the arc tangent.", ["ATAN(0)" => "0.0"], [double(each!(f64::atan))]),
    entry!("ATAN2", MATHEMATICAL, "Returns the angle of the point whose y and x are given.", ["ATAN2(0, 1)" => "0.0"], [
        doubles(|args, rows, _| pairs(args, rows, f64::atan2))
    ]),
    entry!("SINH", MATHEMATICAL, "Returns the hyperbolic sine.", ["SINH(0)" => "0.0"], [double(each!(f64::sinh))]),
    entry!("COSH", MATHEMATICAL, "Returns the hyperbolic cosine.", ["COSH(0)" => "1.0"], [double(each!(f64::cosh))]),
    entry!("TANH", MATHEMATICAL, "Returns the hyperbolic tangent.", ["TANH(0)" => "0.0"], [double(each!(f64::tanh))]),
    entry!("DEGREES", MATHEMATICAL, "Returns an angle in radians as degrees.", ["DEGREES(PI())" => "180.0"], [
        double(each!(f64::to_degrees))
    ]),
    entry!("RADIANS", MATHEMATICAL, "Returns an angle in degrees as radians.", ["RADIANS(0)" => "0.0"], [
        double(each!(f64::to_radians))
    ]),
    entry!("PI", MATHEMATICAL, "Returns the ratio of a circle's circumference to its diameter.",
    ["PI()" => "3.141592653589793"],
    [Overload::new(&[], Returns::Type(Double), |_, _, _| {
        Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(std::f64::consts::PI))))
    })]),
    entry!("GEO_DISTANCE", "OTHER",
        "Returns the distance of two points by latitude and longitude, in KM or in MILES.",
        ["ROUND(GEO_DISTANCE(37.4439, -122.1663, 51.5257, -0.1122))" => "8635",
         "ROUND(GEO_DISTANCE(37.4439, -122.1663, 51.5257, -0.1122, 'MILES'))" => "5366"],
        [Overload::fallible(&[Is(Double), Is(Double), Is(Double), Is(Double)], Returns::Type(Double), distance),
         Overload::fallible(&[Is(Double), Is(Double), Is(Double), Is(Double), Is(Text)], Returns::Type(Double), distance)]),
];

fn pairs(args: &[ColumnarValue], rows: usize, f: impl Fn(f64, f64) -> f64) -> Result<ColumnarValue> {
    let (left, right) = (Numbers::<Float64Type>::new(args, 0)?, Numbers::<Float64Type>::new(args, 1)?);
    numbers::<Float64Type>(rows, |row| Some(f(left.get(row)?, right.get(row)?)))
}

/// A base that is no base gives NaN, as ksqlDB has it.
fn logarithm(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    pairs(args, rows, |base, value| match base {
        b if b <= 0.0 || b == 1.0 => f64::NAN,
        2.0 => value.log2(),
        10.0 => value.log10(),
        base => value.ln() / base.ln(),
    })
}

/// By the haversine formula.
fn distance(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let at = |i| Numbers::<Float64Type>::new(args, i);
    let (lat1, lon1, lat2, lon2) = (at(0)?, at(1)?, at(2)?, at(3)?);
    let unit = if args.len() > 4 { Some(super::kernel::Texts::new(args, 4)?) } else { None };
    let missing = (0..4).map(|i| Arg::new(args, i)).collect::<Result<Vec<_>>>()?;
    numbers::<Float64Type>(rows, |row| {
        if missing.iter().any(|m| m.is_null(row)) {
            return None;
        }
        let radius = match unit.as_ref().and_then(|u| u.get(row)).map(str::to_ascii_uppercase).as_deref() {
            None | Some("KM") => RADIUS_KM,
            Some("MI" | "MILES") => RADIUS_MILES,
            Some(_) => {
                errors.fail(row);
                return None;
            }
        };
        let (lat1, lon1, lat2, lon2) = (lat1.get(row)?, lon1.get(row)?, lat2.get(row)?, lon2.get(row)?);
        if lat1.abs() > 90.0 || lat2.abs() > 90.0 || lon1.abs() > 180.0 || lon2.abs() > 180.0 {
            errors.fail(row);
            return None;
        }
        let (lat, lon) = ((lat2 - lat1).to_radians(), (lon2 - lon1).to_radians());
        let a =
            (lat / 2.0).sin().powi(2) + lat1.to_radians().cos() * lat2.to_radians().cos() * (lon / 2.0).sin().powi(2);
        Some(radius * 2.0 * a.sqrt().atan2((1.0 - a).sqrt()))
    })
}
