//! Days since 1970-01-01 as year, month and day of the Gregorian calendar, for every day that a DATE can hold: chrono ends
//! at year 262142, a DATE at 5881580. (Howard Hinnant's algorithm: years begin in March, eras have 400 of them.)

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Year, month and day.
pub(super) fn from_days(days: i32) -> (i64, i64, i64) {
    let days = i64::from(days) + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day; `None` = there is none, or no DATE holds it.
pub(super) fn to_days(year: i32, month: i32, day: i32) -> Option<i32> {
    if year < 1 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (month, day) = (i64::from(month), i64::from(day));
    let from_march = i64::from(year) - i64::from(month <= 2);
    let (era, year_of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = i32::try_from(era * ERA_DAYS + day_of_era - EPOCH_DAYS).ok()?;
    // The 31st of June would be a day of July.
    (from_days(days) == (i64::from(year), month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate, TimeDelta};

    #[test]
    fn days_are_those_of_chrono_and_go_on_beyond_it() {
        for days in (-719_162..2_932_896).step_by(97).chain([-719_162, 0, 11_016, 2_932_896, 95_000_000]) {
            let date = NaiveDate::default() + TimeDelta::days(i64::from(days));
            let expected = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            assert_eq!(from_days(days), expected);
            assert_eq!(to_days(date.year(), expected.1 as i32, expected.2 as i32), Some(days));
        }
        assert_eq!(from_days(i32::MAX), (5_881_580, 7, 11));
        assert_eq!(to_days(5_881_580, 7, 11), Some(i32::MAX));
        assert_eq!(to_days(5_881_580, 7, 12), None);
        assert_eq!(to_days(i32::MAX, 12, 31), None);
        assert_eq!(from_days(i32::MIN).0, -5_877_641);
    }

    #[test]
    fn there_is_no_such_day() {
        for (year, month, day) in [(0, 1, 1), (-4, 1, 1), (2023, 2, 29), (2024, 6, 31), (2024, 13, 1), (2024, 1, 0)] {
            assert_eq!(to_days(year, month, day), None, "{year}-{month}-{day}");
        }
        assert_eq!(to_days(2024, 2, 29), Some(19_782));
    }
}
