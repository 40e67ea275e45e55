//! DATE, TIME and TIMESTAMP: counted and moved. Their texts stand in `time_text`.

use super::Param::{Is, Unit};
use super::kernel::{Numbers, Texts, numbers, unary};
use super::{Constants, Entry, ErrorSink, Overload, Returns, Volatility, entry};
use crate::error::Result;
use crate::types::SqlType::{Bigint, Date, Integer, String as Text, Time, Timestamp};
use crate::types::clock::ambient_ms;
use crate::types::temporal::DAY_MS;
use crate::types::zone::Zone;
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

pub(super) const DATE_TIME: &str = "DATE / TIME";

/// Units of time and their milliseconds, as DATEADD and its kin write them.
pub const UNITS: [(&str, i64); 5] =
    [("DAYS", DAY_MS), ("HOURS", 3_600_000), ("MINUTES", 60_000), ("SECONDS", 1_000), ("MILLISECONDS", 1)];

pub(super) static ENTRIES: &[Entry] = &[
    entry!("FROM_UNIXTIME", DATE_TIME, "Converts milliseconds since 1970-01-01 into a TIMESTAMP.",
    ["FROM_UNIXTIME(0)" => "1970-01-01T00:00:00.000"],
    [Overload::new(&[Is(Bigint)], Returns::Type(Timestamp), |a, _, _| {
        unary::<Int64Type, TimestampMillisecondType>(a, |ms| ms)
    })]),
    entry!("UNIX_TIMESTAMP", DATE_TIME, "Converts a TIMESTAMP, or without one the present moment, into milliseconds since 1970-01-01.",
    ["UNIX_TIMESTAMP(FROM_UNIXTIME(1000))" => "1000"],
    [Overload::ambient(Volatility::Stable, Returns::Type(Bigint), |_, _, _| {
         Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(ambient_ms()))))
     }),
     Overload::new(&[Is(Timestamp)], Returns::Type(Bigint), |a, _, _| {
        unary::<TimestampMillisecondType, Int64Type>(a, |ms| ms)
    })]),
    entry!("FROM_DAYS", DATE_TIME, "Converts days since 1970-01-01 into a DATE.", ["FROM_DAYS(10)" => "1970-01-11"], [
        Overload::new(&[Is(Integer)], Returns::Type(Date), |a, _, _| unary::<Int32Type, Date32Type>(a, |days| days))
    ]),
    entry!("UNIX_DATE", DATE_TIME, "Converts a DATE, or without one today, into days since 1970-01-01.",
    ["UNIX_DATE(DATE '1970-01-11')" => "10"],
    [Overload::ambient(Volatility::Stable, Returns::Type(Integer), |_, _, _| {
             Ok(ColumnarValue::Scalar(ScalarValue::Int32(Some((ambient_ms() / DAY_MS) as i32))))
         }),
         Overload::new(&[Is(Date)], Returns::Type(Integer), |a, _, _| {
        unary::<Date32Type, Int32Type>(a, |days| days)
    })]),
    entry!("TIMESTAMPADD", DATE_TIME, "Adds so many units to a TIMESTAMP.",
        ["TIMESTAMPADD(HOURS, 2, FROM_UNIXTIME(0))" => "1970-01-01T02:00:00.000"],
        [Overload::fallible(&[Unit, Is(Integer), Is(Timestamp)], Returns::Type(Timestamp), |a, r, e| moved(a, r, e, 1))]),
    entry!("TIMESTAMPSUB", DATE_TIME, "Takes so many units from a TIMESTAMP.",
        ["TIMESTAMPSUB(DAYS, 1, FROM_UNIXTIME(0))" => "1969-12-31T00:00:00.000"],
        [Overload::fallible(&[Unit, Is(Integer), Is(Timestamp)], Returns::Type(Timestamp), |a, r, e| moved(a, r, e, -1))]),
    entry!("DATEADD", DATE_TIME, "Adds so many units to a DATE.", ["DATEADD(DAYS, 9, DATE '1970-01-01')" => "1970-01-10"], [
        Overload::fallible(&[Unit, Is(Integer), Is(Date)], Returns::Type(Date), |a, r, e| moved_date(a, r, e, 1))
    ]),
    entry!("DATESUB", DATE_TIME, "Takes so many units from a DATE.", ["DATESUB(DAYS, 1, DATE '1970-01-01')" => "1969-12-31"], [
        Overload::fallible(&[Unit, Is(Integer), Is(Date)], Returns::Type(Date), |a, r, e| moved_date(a, r, e, -1))
    ]),
    entry!("TIMEADD", DATE_TIME, "Adds so many units to a TIME, past midnight too.",
        ["TIMEADD(MINUTES, 30, TIME '23:45:00')" => "00:15"],
        [Overload::fallible(&[Unit, Is(Integer), Is(Time)], Returns::Type(Time), |a, r, e| moved_time(a, r, e, 1))]),
    entry!("TIMESUB", DATE_TIME, "Takes so many units from a TIME, past midnight too.",
        ["TIMESUB(HOURS, 1, TIME '00:15:00')" => "23:15"],
        [Overload::fallible(&[Unit, Is(Integer), Is(Time)], Returns::Type(Time), |a, r, e| moved_time(a, r, e, -1))]),
    entry!("CONVERT_TZ", DATE_TIME, "Reads a TIMESTAMP by the clocks of one time zone, and returns it by those of another.",
        ["CONVERT_TZ(FROM_UNIXTIME(0), 'UTC', 'Asia/Tokyo')" => "1970-01-01T09:00:00.000"],
        [Overload::fallible(&[Is(Timestamp), Is(Text), Is(Text)], Returns::Type(Timestamp), convert_zone).checked(check_zones)]),
];

/// Milliseconds to add in each row.
fn shifts(args: &[ColumnarValue], sign: i64) -> Result<impl Fn(usize) -> Option<i64>> {
    let (units, counts) = (Texts::new(args, 0)?, Numbers::<Int32Type>::new(args, 1)?);
    Ok(move |row| {
        let unit = UNITS.iter().find(|(name, _)| Some(*name) == units.get(row))?;
        Some(unit.1 * i64::from(counts.get(row)?) * sign)
    })
}

fn moved(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink, sign: i64) -> Result<ColumnarValue> {
    let (shift, times) = (shifts(args, sign)?, Numbers::<TimestampMillisecondType>::new(args, 2)?);
    numbers::<TimestampMillisecondType>(rows, |row| {
        let moved = times.get(row)?.checked_add(shift(row)?);
        if moved.is_none() {
            errors.fail(row);
        }
        moved
    })
}

fn moved_date(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink, sign: i64) -> Result<ColumnarValue> {
    let (shift, dates) = (shifts(args, sign)?, Numbers::<Date32Type>::new(args, 2)?);
    numbers::<Date32Type>(rows, |row| {
        let ms = i64::from(dates.get(row)?) * DAY_MS + shift(row)?;
        let days = i32::try_from(ms / DAY_MS).ok();
        if days.is_none() {
            errors.fail(row);
        }
        days
    })
}

fn moved_time(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink, sign: i64) -> Result<ColumnarValue> {
    let (shift, times) = (shifts(args, sign)?, Numbers::<Time32MillisecondType>::new(args, 2)?);
    numbers::<Time32MillisecondType>(rows, |row| {
        Some((i64::from(times.get(row)?) + shift(row)?).rem_euclid(DAY_MS) as i32)
    })
}

fn check_zones(constants: &Constants<'_>) -> std::result::Result<(), String> {
    let unknown = [1, 2].into_iter().filter_map(|i| constants.text(i)).find(|zone| Zone::parse(zone).is_none());
    unknown.map_or(Ok(()), |zone| Err(format!("Unknown time-zone ID: {zone}")))
}

fn convert_zone(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let times = Numbers::<TimestampMillisecondType>::new(args, 0)?;
    let (from, to) = (Texts::new(args, 1)?, Texts::new(args, 2)?);
    numbers::<TimestampMillisecondType>(rows, |row| {
        let (local, from, to) = (times.get(row)?, from.get(row)?, to.get(row)?);
        let (Some(from), Some(to)) = (Zone::parse(from), Zone::parse(to)) else {
            errors.fail(row);
            return None;
        };
        let instant = from.instant_of(local);
        Some(instant + to.offset_at(instant) * 1000)
    })
}
