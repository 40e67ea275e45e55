//! DATE, TIME and TIMESTAMP as text by Java's patterns, and back.

use super::Param::Is;
use super::kernel::{Numbers, Texts, numbers, strings};
use super::time::DATE_TIME;
use super::{Constants, Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType::{Bigint, Date, Integer, String as Text, Time, Timestamp};
use crate::types::java_time::{Pattern, Said};
use crate::types::temporal::DAY_MS;
use crate::types::zone::Zone;
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
};
use datafusion::logical_expr::ColumnarValue;

pub(super) static ENTRIES: &[Entry] = &[
    entry!("FORMAT_TIMESTAMP", DATE_TIME, "Writes a TIMESTAMP by a pattern of Java's DateTimeFormatter, in UTC or a zone.",
        ["FORMAT_TIMESTAMP(FROM_UNIXTIME(0), 'dd/MM/yyyy HH:mm')" => "01/01/1970 00:00",
         "FORMAT_TIMESTAMP(FROM_UNIXTIME(0), 'HH:mm X', 'Asia/Tokyo')" => "09:00 +09"],
        [Overload::fallible(&[Is(Timestamp), Is(Text)], Returns::Type(Text), write::<TimestampMillisecondType>).checked(check),
         Overload::fallible(&[Is(Timestamp), Is(Text), Is(Text)], Returns::Type(Text), write::<TimestampMillisecondType>).checked(check)]),
    entry!("FORMAT_DATE", DATE_TIME, "Writes a DATE by a pattern of Java's DateTimeFormatter.",
        ["FORMAT_DATE(DATE '2020-05-01', 'd MMM yyyy')" => "1 May 2020"],
        [Overload::fallible(&[Is(Date), Is(Text)], Returns::Type(Text), write_scaled::<Date32Type, DAY_MS>).checked(check)]),
    entry!("FORMAT_TIME", DATE_TIME, "Writes a TIME by a pattern of Java's DateTimeFormatter.",
        ["FORMAT_TIME(TIME '18:04:05', 'h:mm a')" => "6:04 PM"],
        [Overload::fallible(&[Is(Time), Is(Text)], Returns::Type(Text), write_scaled::<Time32MillisecondType, 1>).checked(check)]),
    entry!("PARSE_TIMESTAMP", DATE_TIME, "Reads a TIMESTAMP by a pattern of Java's DateTimeFormatter, in UTC or a zone.",
        ["PARSE_TIMESTAMP('01/05/2020 10:30', 'dd/MM/yyyy HH:mm')" => "2020-05-01T10:30:00.000"],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Timestamp), timestamp::<TimestampMillisecondType>).checked(check).explained(cause),
         Overload::fallible(&[Is(Text), Is(Text), Is(Text)], Returns::Type(Timestamp), timestamp::<TimestampMillisecondType>).checked(check).explained(cause)]),
    entry!("PARSE_DATE", DATE_TIME, "Reads a DATE by a pattern of Java's DateTimeFormatter.",
    ["PARSE_DATE('01-Jan-2022', 'dd-MMM-yyyy')" => "2022-01-01"],
    [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Date), |a, r, e| {
        read_by::<Date32Type>(a, r, e, Pattern::read_front, |said, _| said.days())
    }).checked(check).explained(cause)]),
    entry!("PARSE_TIME", DATE_TIME, "Reads a TIME by a pattern of Java's DateTimeFormatter.",
    ["PARSE_TIME('6.30 PM', 'h.mm a')" => "18:30"],
    [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Time), |a, r, e| {
        read::<Time32MillisecondType>(a, r, e, |said, _| Some(said.milliseconds()))
    }).checked(check).explained(cause)]),
    entry!("TIMESTAMPTOSTRING", DATE_TIME, "Writes milliseconds since 1970-01-01 by a pattern; FORMAT_TIMESTAMP is newer.",
        ["TIMESTAMPTOSTRING(0, 'yyyy-MM-dd')" => "1970-01-01"],
        [Overload::fallible(&[Is(Bigint), Is(Text)], Returns::Type(Text), write::<Int64Type>).checked(check),
         Overload::fallible(&[Is(Bigint), Is(Text), Is(Text)], Returns::Type(Text), write::<Int64Type>).checked(check)]),
    entry!("STRINGTOTIMESTAMP", DATE_TIME, "Reads milliseconds since 1970-01-01 by a pattern; PARSE_TIMESTAMP is newer.",
        ["STRINGTOTIMESTAMP('1970-01-02', 'yyyy-MM-dd')" => "86400000"],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Bigint), timestamp::<Int64Type>).checked(check).explained(cause),
         Overload::fallible(&[Is(Text), Is(Text), Is(Text)], Returns::Type(Bigint), timestamp::<Int64Type>).checked(check).explained(cause)]),
    entry!("DATETOSTRING", DATE_TIME, "Writes days since 1970-01-01 by a pattern; FORMAT_DATE is newer.",
        ["DATETOSTRING(17662, 'dd.MM.yyyy')" => "11.05.2018"],
        [Overload::fallible(&[Is(Integer), Is(Text)], Returns::Type(Text), write_scaled::<Int32Type, DAY_MS>).checked(check)]),
    entry!("STRINGTODATE", DATE_TIME, "Reads days since 1970-01-01 by a pattern; PARSE_DATE is newer.",
    ["STRINGTODATE('11.05.2018', 'dd.MM.yyyy')" => "17662"],
    [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Integer), |a, r, e| {
        read::<Int32Type>(a, r, e, |said, _| said.days())
    }).checked(check).explained(cause)]),
];

/// A constant pattern, the second argument, has to be one, and a constant zone, the third, a zone.
fn check(constants: &Constants<'_>) -> std::result::Result<(), String> {
    if let Some(pattern) = constants.text(1) {
        Pattern::parse(pattern).map_err(|reason| format!("'{pattern}' is no pattern of a date or time: {reason}"))?;
    }
    match constants.text(2) {
        Some(zone) if Zone::parse(zone).is_none() => Err(format!("Unknown time-zone ID: {zone}")),
        _ => Ok(()),
    }
}

/// Where a text leaves its pattern, in Java's words.
fn cause(row: &Constants<'_>) -> Option<String> {
    let (text, pattern) = (row.text(0)?, Pattern::parse(row.text(1)?).ok()?);
    Some(match pattern.error_index(text) {
        Some(index) => format!("Text {text} could not be parsed at index {index}"),
        None => format!("Text {text} could not be parsed: there is no such date or time"),
    })
}

/// The pattern read last: nearly always all rows have one.
#[derive(Default)]
struct Known {
    text: String,
    pattern: Option<Pattern>,
}

impl Known {
    fn get(&mut self, text: &str) -> Option<&Pattern> {
        if self.text != text || self.pattern.is_none() {
            text.clone_into(&mut self.text);
            self.pattern = Pattern::parse(text).ok();
        }
        self.pattern.as_ref()
    }
}

/// The zone of a row: UTC without an argument, `Some(None)` = there is no such zone, `None` = NULL.
fn zone(zones: Option<&Texts>, row: usize) -> Option<Option<Zone>> {
    match zones {
        None => Some(Some(Zone::UTC)),
        Some(zones) => zones.get(row).map(Zone::parse),
    }
}

fn write<T>(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    write_times::<T>(args, rows, errors, 1)
}

fn write_scaled<T, const UNIT_MS: i64>(
    args: &[ColumnarValue],
    rows: usize,
    errors: &mut ErrorSink,
) -> Result<ColumnarValue>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    write_times::<T>(args, rows, errors, UNIT_MS)
}

fn write_times<T>(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink, unit_ms: i64) -> Result<ColumnarValue>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let (times, patterns) = (Numbers::<T>::new(args, 0)?, Texts::new(args, 1)?);
    let zones = if args.len() > 2 { Some(Texts::new(args, 2)?) } else { None };
    let mut known = Known::default();
    strings(rows, |row, out| {
        let (Some(time), Some(pattern), Some(zone)) = (times.get(row), patterns.get(row), zone(zones.as_ref(), row))
        else {
            return false;
        };
        let ms: i64 = time.into();
        let done = match (known.get(pattern), zone, ms.checked_mul(unit_ms)) {
            (Some(pattern), Some(zone), Some(ms)) => pattern.write_timestamp(ms, zone, out),
            _ => false,
        };
        if !done {
            errors.fail(row);
        }
        done
    })
}

fn timestamp<T>(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    read::<T>(args, rows, errors, |said, zone| said.timestamp(zone))
}

fn read<T: ArrowPrimitiveType>(
    args: &[ColumnarValue],
    rows: usize,
    errors: &mut ErrorSink,
    value: impl Fn(Said, Zone) -> Option<T::Native>,
) -> Result<ColumnarValue> {
    read_by::<T>(args, rows, errors, Pattern::read, value)
}

fn read_by<T: ArrowPrimitiveType>(
    args: &[ColumnarValue],
    rows: usize,
    errors: &mut ErrorSink,
    read: impl Fn(&Pattern, &str) -> Option<Said>,
    value: impl Fn(Said, Zone) -> Option<T::Native>,
) -> Result<ColumnarValue> {
    let (texts, patterns) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    let zones = if args.len() > 2 { Some(Texts::new(args, 2)?) } else { None };
    let mut known = Known::default();
    numbers::<T>(rows, |row| {
        let (text, pattern, zone) = (texts.get(row)?, patterns.get(row)?, zone(zones.as_ref(), row)?);
        let said = known.get(pattern).and_then(|p| read(p, text)).zip(zone);
        let value = said.and_then(|(said, zone)| value(said, zone));
        if value.is_none() {
            errors.fail(row);
        }
        value
    })
}
