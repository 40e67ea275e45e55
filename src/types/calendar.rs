//! Days since 1970-01-01 as year, month and day of the Gregorian calendar, for every day that a DATE or a TIMESTAMP can
//! hold: chrono ends at year 262142, a DATE at 5881580, a TIMESTAMP at 292278994. (Howard Hinnant's algorithm: years begin
//! in March, eras have 400 of them.)

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// The highest year that is read, either side of zero: Java's `Year.MAX_VALUE`. Its days are far from overflowing.
pub const YEAR_MAX: i64 = 999_999_999;

/// Year, month and day. The year before year 1 is 0.
pub fn from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day; `None` = there is no such day, or no year so far away.
pub fn to_days(year: i64, month: i64, day: i64) -> Option<i64> {
    if year.abs() > YEAR_MAX || !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    let from_march = year - i64::from(month <= 2);
    let (era, year_of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * ERA_DAYS + day_of_era - EPOCH_DAYS)
}

/// The number of days of a month.
pub fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The year has a 29th of February.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate, TimeDelta};

    #[test]
    fn days_are_those_of_chrono_and_continue_beyond_it() {
        for days in (-719_162..2_932_896).step_by(97).chain([-719_162, 0, 11_016, 2_932_896, 95_000_000]) {
            let date = NaiveDate::default() + TimeDelta::days(days);
            let expected = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            assert_eq!(from_days(days), expected);
            assert_eq!(to_days(expected.0, expected.1, expected.2), Some(days));
        }
        assert_eq!(from_days(i64::from(i32::MAX)), (5_881_580, 7, 11));
        assert_eq!(to_days(5_881_580, 7, 11), Some(i64::from(i32::MAX)));
        assert_eq!(from_days(i64::from(i32::MIN)).0, -5_877_641);
        assert_eq!(from_days(i64::MAX / 86_400_000), (292_278_994, 8, 17));
    }

    #[test]
    fn there_is_no_such_day() {
        for (year, month, day) in [(2023, 2, 29), (2024, 6, 31), (2024, 13, 1), (2024, 1, 0), (1_000_000_000, 1, 1)] {
            assert_eq!(to_days(year, month, day), None, "{year}-{month}-{day}");
        }
        assert_eq!(to_days(2024, 2, 29), Some(19_782));
        assert_eq!(to_days(0, 12, 31), Some(-719_163));
    }
}
