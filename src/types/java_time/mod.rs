//! Java's `DateTimeFormatter` patterns: dates and times as text, and back.
//!
//! ```text
//! yyyy-MM-dd'T'HH:mm:ss.SSSX     2020-03-01T10:20:30.400Z
//! dd MMM yyyy, h:mm a            01 Mar 2020, 10:20 AM
//! YYYY-'W'ww-e                   2020-W10-1
//! yyyy 'Q'Q, zzzz                2020 Q1, Coordinated Universal Time
//! ```
//!
//! Every letter of java.time (of Java 11, on which ksqlDB runs) is known; [`Pattern::parse`] refuses what is none, in Java's
//! words, so that a constant pattern fails when a statement is read. Text is English and weeks are those of the United
//! States, as in Java's default locale there: they begin on Sunday, and week 1 is the one with January 1. Without a zone the
//! time is UTC.
//!
//! Reading is more lenient than Java in one thing: what a text does not contain is the first of its kind (1970, January, the
//! first, the first day of the week, midnight), where Java has no date at all.

mod names;
mod parse;
mod read;
mod write;

pub use read::Said;

use super::calendar::{days_of_month, from_days, to_days};
use super::temporal::DAY_MS;
use super::zone::Zone;

/// Days from the epoch of the modified Julian date, 1858-11-17, to 1970-01-01.
const JULIAN_DAYS: i64 = 40_587;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    /// A letter, and how often it is repeated.
    Field(char, usize),
    /// `p`: the field after it takes at least so many characters.
    Padded(usize, char, usize),
    /// Between `[` and `]`: may be missing in a text.
    Optional(Vec<Part>),
}

/// A pattern, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    parts: Vec<Part>,
}

impl Pattern {
    /// Reads a pattern, or returns in Java's words what is wrong with it.
    pub fn parse(pattern: &str) -> Result<Pattern, String> {
        Ok(Pattern { parts: parse::parts(pattern)? })
    }

    /// Appends a moment as the zone's clocks show it; false = it is beyond all calendars.
    pub fn write_timestamp(&self, ms: i64, zone: Zone, out: &mut String) -> bool {
        let offset = zone.offset_at(ms);
        let Some(local) = ms.checked_add(offset * 1000) else { return false };
        write::parts(&self.parts, &Moment::new(local, ms, zone, offset), out);
        true
    }

    /// Reads the front of a text, as `SimpleDateFormat` does; what follows does not count.
    pub fn read_front(&self, text: &str) -> Option<Said> {
        read::front(&self.parts, text).and_then(|(said, _)| said)
    }

    /// Reads a whole text.
    pub fn read(&self, text: &str) -> Option<Said> {
        let (said, rest) = read::front(&self.parts, text)?;
        said.filter(|_| rest.is_empty())
    }

    /// Where in the text, in UTF-16 units, reading stops; `None` = it is read to its end, and yet no date or time.
    pub fn error_index(&self, text: &str) -> Option<usize> {
        let units = |bytes: usize| text[..bytes].encode_utf16().count();
        match read::front(&self.parts, text) {
            Some((_, "")) => None,
            Some((_, rest)) => Some(units(text.len() - rest.len())),
            None => Some(units(read::stop(&self.parts, text))),
        }
    }
}

/// A local date and time, and all that can be asked of it.
struct Moment {
    /// Days since 1970.
    days: i64,
    year: i64,
    month: i64,
    day: i64,
    /// Milliseconds since midnight.
    ms: i64,
    /// The moment, whatever clocks show.
    instant_ms: i64,
    zone: Zone,
    /// Seconds east of Greenwich.
    offset: i64,
}

impl Moment {
    fn new(local_ms: i64, instant_ms: i64, zone: Zone, offset: i64) -> Moment {
        let days = local_ms.div_euclid(DAY_MS);
        let (year, month, day) = from_days(days);
        Moment { days, year, month, day, ms: local_ms.rem_euclid(DAY_MS), instant_ms, zone, offset }
    }
}

/// Sunday is 0.
fn weekday(days: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    (days + 4).rem_euclid(7)
}

/// Days since 1970 of January 1.
fn new_year(year: i64) -> i64 {
    // Years that patterns read and write are far within the calendar.
    to_days(year, 1, 1).unwrap_or(0)
}

/// 1 for January 1.
fn day_of_year(days: i64) -> i64 {
    days - new_year(from_days(days).0) + 1
}

/// Week-based year and its week.
fn week(days: i64) -> (i64, i64) {
    let saturday = days + 6 - weekday(days);
    // The week belongs to the year in which it ends: it has January 1 then, or begins after it.
    let year = from_days(saturday).0;
    let first = new_year(year);
    (year, (days - first + weekday(first)) / 7 + 1)
}

/// Week of the month: week 1 has the month's first day.
fn week_of_month(days: i64) -> i64 {
    let day = from_days(days).2;
    (day - 1 + weekday(days - day + 1)) / 7 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-05T17:31:09.123 UTC.
    const MARCH: i64 = 1_709_659_869_123;

    fn write(pattern: &str, ms: i64, zone: &str) -> String {
        let mut out = String::new();
        let pattern = Pattern::parse(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert!(pattern.write_timestamp(ms, Zone::parse(zone).unwrap(), &mut out));
        out
    }

    #[test]
    fn patterns_write_and_read() {
        let cases = [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2018-05-11T21:58:33.100Z"),
            ("dd/MMM/yyyy HH:mm:ss Z", "11/May/2018 21:58:33 +0000"),
            ("yyyyMMddHHmmssSSS", "20180511215833100"),
            ("EEEE, d MMMM yyyy h:mm a", "Friday, 11 May 2018 9:58 PM"),
            ("yyyy-MM-dd HH:mm:ss[.SSS] VV", "2018-05-11 21:58:33.100 UTC"),
            ("YYYY-'W'ww-e HH:mm", "2018-W19-6 21:58"),
            ("QQQQ yyyy, MM-dd", "2nd quarter 2018, 05-11"),
            ("G y D", "AD 2018 131"),
            ("ppppd/M/uuuu zzzz", "  11/5/2018 Coordinated Universal Time"),
        ];
        for (pattern, text) in cases {
            let read = Pattern::parse(pattern).unwrap();
            let ms = read.read(text).unwrap_or_else(|| panic!("{pattern}")).timestamp(Zone::UTC).unwrap();
            assert_eq!(write(pattern, ms, "UTC"), text, "{pattern}");
        }
        let read = |pattern: &str, text: &str| {
            Pattern::parse(pattern).unwrap().read(text).and_then(|said| said.timestamp(Zone::UTC))
        };
        assert_eq!(read("yyyy-MM-dd", "2018-13-01"), None);
        assert_eq!(read("HH:mm", "00:01"), Some(60_000));
        // As Java's smart resolver.
        assert_eq!(read("yyyy-MM-dd", "2021-02-31"), read("yyyy-MM-dd", "2021-02-28"));
        assert_eq!(read("yyyy-MM-dd HH:mm", "1970-01-01 24:00"), Some(DAY_MS));
        assert_eq!(read("yyyy-MM-dd HH:mm", "1970-01-01 24:01"), None);
        assert_eq!(read("EEE yyyy-MM-dd", "Mon 1970-01-01"), None);
        assert_eq!(read("YYYY-MM-dd", "1970-01-02"), Some(DAY_MS));
    }

    #[test]
    fn all_letters_write() {
        let cases = [
            ("YYYY-'W'ww", "2024-W10"),
            ("w W Q q e c F", "10 2 1 1 3 3 5"),
            ("QQ QQQ QQQQ QQQQQ", "01 Q1 1st quarter 1"),
            ("EEEEE E MMMMM LLL ccc", "T Tue M Mar Tue"),
            ("g A N n", "60374 63069123 63069123000000 123000000"),
            ("VV z zzzz v vvvv", "UTC UTC Coordinated Universal Time UTC Coordinated Universal Time"),
            ("O OOOO X x Z ZZZZ ZZZZZ", "GMT GMT Z +00 +0000 GMT Z"),
            ("GGGG GGGGG uuuuu yy", "Anno Domini A 02024 24"),
        ];
        for (pattern, text) in cases {
            assert_eq!(write(pattern, MARCH, "UTC"), text, "{pattern}");
        }
        let berlin = "VV z zzzz v vvvv O OOOO xxx";
        let text = "Europe/Berlin CET Central European Standard Time CET Central European Time GMT+1 GMT+01:00 +01:00";
        assert_eq!(write(berlin, MARCH, "Europe/Berlin"), text);
        assert_eq!(write("z zzzz", MARCH + 120 * DAY_MS, "America/New_York"), "EDT Eastern Daylight Time");
        assert_eq!(write("VV zzzz", MARCH, "GMT+2"), "GMT+02:00 GMT+02:00");
        assert_eq!(write("VV z", MARCH, "+01:30"), "+01:30 +01:30");
    }

    #[test]
    fn years_have_more_than_four_digits() {
        assert_eq!(write("yyyy-MM-dd", i64::MAX, "UTC"), "+292278994-08-17");
        assert_eq!(write("uuuu yyyy G", -62_198_755_200_000, "UTC"), "-0001 0002 BC");
        assert_eq!(write("YYYY ww", 1_735_603_200_000, "UTC"), "2025 01");
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_javas_words() {
        let cases = [
            ("yyyy-'oops", "Pattern ends with an incomplete string literal: yyyy-'oops"),
            ("yyyy-bb", "Unknown pattern letter: b"),
            ("B", "Unknown pattern letter: B"),
            ("ww WW", "Too many pattern letters: W"),
            ("V", "Pattern letter count must be 2: V"),
            ("OO", "Pattern letter count must be 1 or 4: O"),
            ("yyyy]", "Pattern invalid as it contains ] without previous ["),
            ("yyyy#", "Pattern includes reserved character: '#'"),
            ("ddd", "Too many pattern letters: d"),
            ("p", "Pad letter 'p' must be followed by valid pad pattern: p"),
        ];
        for (pattern, error) in cases {
            assert_eq!(Pattern::parse(pattern), Err(error.to_owned()));
        }
    }
}
