//! DATE, TIME and TIMESTAMP as text: ISO 8601, and prefixes of it where ksqlDB accepts them
//! (`PartialStringToTimestampParser`).
//!
//! `2020`, `2020-03`, `2020-03-01`, `2020-03-01T10`, ..., `2020-03-01T10:00:00.000+0100`: a missing part has its first value, and
//! without an offset the time is UTC.

use super::calendar;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// Midnight, as which a time of which only the front is given ends.
const MIDNIGHT: &str = "00:00:00.000";

/// A whole or partial ISO 8601 timestamp as milliseconds since 1970.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let Some((date, rest)) = text.split_once('T') else {
        return Some(i64::from(parse_date(text)?) * DAY_MS);
    };
    let at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(at);
    let whole = format!("{time}{}", MIDNIGHT.get(time.len()..).unwrap_or(""));
    // The hour 24 is the midnight that ends a day.
    let time = if whole == "24:00:00.000" { DAY_MS } else { i64::from(parse_time(&whole)?) };
    Some(i64::from(parse_date(date)?) * DAY_MS + time - offset_ms(zone)?)
}

/// `+0130`, `-01:30`, `Z` or nothing.
fn offset_ms(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let (sign, digits) = zone.split_at(1);
    let digits = digits.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let minutes = digits[..2].parse::<i64>().ok()? * 60 + digits[2..].parse::<i64>().ok()?;
    Some(if sign == "-" { -minutes } else { minutes } * 60_000)
}

/// `2020`, `2020-03` or `2020-03-01` as days since 1970.
pub fn parse_date(text: &str) -> Option<i32> {
    let mut parts = text.splitn(3, '-');
    let mut part = |width: usize| match parts.next() {
        None => Some(1),
        Some(p) if p.len() == width && p.bytes().all(|b| b.is_ascii_digit()) => p.parse::<i64>().ok(),
        Some(_) => None,
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    i32::try_from(calendar::to_days(year, month, day)?).ok()
}

/// `10`, `10:20`, `10:20:30` or `10:20:30.400` as milliseconds of the day.
pub fn parse_time(text: &str) -> Option<i32> {
    let whole = match text.len() {
        2 => format!("{text}:00:00"),
        5 => format!("{text}:00"),
        _ => text.to_string(),
    };
    let time = NaiveTime::parse_from_str(&whole, "%H:%M:%S%.f").ok()?;
    Some((time.num_seconds_from_midnight() * 1000 + time.nanosecond() / 1_000_000) as i32)
}

/// `2020-03-01T10:20:30.400`; a year beyond 9999 has a sign, as Java writes it.
pub fn timestamp_text(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    format!("{}T{hour:02}:{minute:02}:{:02}.{:03}", day_text(days), rest / 1000 % 60, rest % 1000)
}

/// `2020-03-01`; a year beyond 9999 has a sign, as Java writes it.
pub fn date_text(days: i32) -> String {
    day_text(i64::from(days))
}

fn day_text(days: i64) -> String {
    let (year, month, day) = calendar::from_days(days);
    let sign = match year {
        ..0 => "-",
        10_000.. => "+",
        _ => "",
    };
    format!("{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs())
}

/// `10:20`, `10:20:30` or `10:20:30.400`: the shortest exact form, as `java.time.LocalTime.toString`.
pub fn time_text(ms: i32) -> String {
    let seconds = (ms / 1000).max(0) as u32;
    let Some(time) = NaiveTime::from_num_seconds_from_midnight_opt(seconds, (ms % 1000).max(0) as u32 * 1_000_000)
    else {
        return ms.to_string();
    };
    let form = match (ms % 1000, seconds % 60) {
        (0, 0) => "%H:%M",
        (0, _) => "%H:%M:%S",
        _ => "%H:%M:%S%.3f",
    };
    NaiveDateTime::new(NaiveDate::default(), time).format(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_filled_with_the_first_of_their_kind() {
        let first = parse_timestamp("2020-01-01T00:00:00.000").unwrap();
        assert_eq!(timestamp_text(first), "2020-01-01T00:00:00.000");
        for text in ["2020", "2020-01", "2020-01-01", "2020-01-01T00", "2020-01-01T00:00Z", "2020-01-01T01:00:00+0100"]
        {
            assert_eq!(parse_timestamp(text), Some(first), "{text}");
        }
        for text in ["", "20", "2020-13", "2020-1-1", "2020-01-01T25", "2020-01-01T00:00+1", "abc"] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(time_text(parse_time("10:20:30.4").unwrap()), "10:20:30.400");
        assert_eq!(parse_timestamp("2019-12-31T24"), Some(first));
        assert_eq!(parse_timestamp("2020-01-01T1"), Some(first + 36_000_000));
        assert_eq!(parse_timestamp("2019-12-31T24:01"), None);
        assert_eq!(parse_time("24:00"), None);
        assert_eq!(time_text(0), "00:00");
        assert_eq!(date_text(-1), "1969-12-31");
        assert_eq!(date_text(i32::MAX), "+5881580-07-11");
        assert_eq!(timestamp_text(i64::MAX), "+292278994-08-17T07:12:55.807");
    }
}
