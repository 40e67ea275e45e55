//! Months added to a TIMESTAMP or a DATE: `t + INTERVAL '1' MONTH`. The day stays, or is the last one of a shorter month.
//!
//! ```text
//! DATE '2026-01-31' + INTERVAL '1' MONTH      2026-02-28
//! ```

use arrow::array::AsArray;
use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Date32Type, Int32Type, TimeUnit, TimestampMillisecondType};
use chrono::{DateTime, Duration, Months, NaiveDate, NaiveDateTime};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::{Arc, LazyLock};

static ADD_MONTHS: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(AddMonths { signature: Signature::any(2, Volatility::Immutable) })));

/// A function of a time and a number of months.
pub(crate) fn add_months() -> Arc<ScalarUDF> {
    ADD_MONTHS.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AddMonths {
    signature: Signature,
}

impl ScalarUDFImpl for AddMonths {
    fn name(&self) -> &str {
        "add_months"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(args[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = args.args[0].to_array(args.number_rows)?;
        let months = args.args[1].to_array(args.number_rows)?;
        let array: ArrayRef = match times.data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                added::<TimestampMillisecondType>(&times, &months, |ms, months| {
                    let time = DateTime::from_timestamp_millis(ms)?.naive_utc();
                    Some(moved(time, months)?.and_utc().timestamp_millis())
                })
            }
            DataType::Date32 => added::<Date32Type>(&times, &months, |days, months| {
                let epoch = NaiveDate::default();
                let date = epoch.checked_add_signed(Duration::days(i64::from(days)))?;
                let moved = moved(date.and_hms_opt(0, 0, 0)?, months)?.date();
                i32::try_from(moved.signed_duration_since(epoch).num_days()).ok()
            }),
            other => return exec_err!("no months are added to {other}"),
        };
        Ok(ColumnarValue::Array(array))
    }
}

fn moved(time: NaiveDateTime, months: i32) -> Option<NaiveDateTime> {
    let by = Months::new(months.unsigned_abs());
    if months < 0 { time.checked_sub_months(by) } else { time.checked_add_months(by) }
}

/// A time beyond the calendar is NULL.
fn added<T: ArrowPrimitiveType>(
    times: &ArrayRef,
    months: &ArrayRef,
    add: impl Fn(T::Native, i32) -> Option<T::Native>,
) -> ArrayRef {
    let pairs = times.as_primitive::<T>().iter().zip(months.as_primitive::<Int32Type>());
    let sums: PrimitiveArray<T> = pairs.map(|(time, months)| add(time?, months?)).collect();
    Arc::new(sums)
}
