//! How many elements `range` and `generate_series` make, of whole numbers, dates and times.

use super::sizes::one_row;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ColumnarValue;

/// Bytes of an element.
const ELEMENT_BYTES: u128 = 8;
/// Nanoseconds of the shortest month and of the shortest day, as of a change of clocks.
const MONTH_NANOS: i128 = 28 * 24 * 3_600_000_000_000;
const DAY_NANOS: i128 = 23 * 3_600_000_000_000;

/// Bytes of the arrays, by row.
pub(super) fn costs(args: &[ColumnarValue], rows: usize, name: &str) -> Result<Vec<u64>> {
    let of_time = args.first().is_some_and(|a| !a.data_type().is_integer() && a.data_type() != DataType::Null);
    let array = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(array) => Ok(array.clone()),
        ColumnarValue::Scalar(value) => one_row(value),
    };
    let ends = args.iter().take(2).map(array).map(|a| places(&a?, of_time)).collect::<Result<Vec<_>>>()?;
    let step = args.get(2).map(array).map(|a| steps(&a?, name)).transpose()?;
    let get = |values: &[Option<i128>], row: usize| if values.len() == 1 { values[0] } else { values[row] };
    let cost = |row: usize| {
        let (start, stop) = match &ends[..] {
            [stop] => (Some(0), get(stop, row)),
            [start, stop, ..] => (get(start, row), get(stop, row)),
            [] => (None, None),
        };
        let step = step.as_ref().map_or(Some(1), |step| get(step, row));
        let (Some(start), Some(stop), Some(step)) = (start, stop, step) else { return 0 };
        // Nothing lies between ends in the other direction; a step of zero is refused by the function itself.
        if step == 0 || (stop < start) != (step < 0) {
            return 0;
        }
        let count = (stop - start).unsigned_abs() / step.unsigned_abs() + 1;
        u64::try_from(count * ELEMENT_BYTES).unwrap_or(u64::MAX)
    };
    Ok((0..rows).map(cost).collect())
}

/// Whole numbers, or nanoseconds.
fn places(array: &ArrayRef, of_time: bool) -> Result<Vec<Option<i128>>> {
    let array = match of_time {
        false => cast(array, &DataType::Int64)?,
        true => cast(&cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None))?, &DataType::Int64)?,
    };
    Ok(array.as_primitive::<Int64Type>().iter().map(|n| n.map(i128::from)).collect())
}

/// Whole numbers, or nanoseconds, never more than the step really is.
fn steps(array: &ArrayRef, name: &str) -> Result<Vec<Option<i128>>> {
    if !matches!(array.data_type(), DataType::Interval(_)) {
        return places(array, false);
    }
    let array = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    let mut steps = Vec::with_capacity(intervals.len());
    for row in 0..intervals.len() {
        if intervals.is_null(row) {
            steps.push(None);
            continue;
        }
        let interval = intervals.value(row);
        let parts = [
            i128::from(interval.months) * MONTH_NANOS,
            i128::from(interval.days) * DAY_NANOS,
            i128::from(interval.nanoseconds),
        ];
        if parts.iter().any(|p| *p > 0) && parts.iter().any(|p| *p < 0) {
            return exec_err!("the parts of a step of {name} have one sign");
        }
        steps.push(Some(parts.iter().sum()));
    }
    Ok(steps)
}
