//! Text to dates and times, letter by letter, and what the fields say together.

use super::names::{DAYS, MONTHS, zone_by_name};
use super::{
    DAY_MS, JULIAN_DAYS, Part, Zone, day_of_year, days_of_month, from_days, new_year, to_days, week, week_of_month,
    weekday,
};
use crate::types::calendar::{YEAR_MAX, is_leap};
use crate::types::zone::offset_seconds;

/// What a text said.
#[derive(Clone, Debug, Default)]
struct Fields {
    year: Option<i64>,
    before_christ: bool,
    quarter: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week_year: Option<i64>,
    week: Option<i64>,
    week_of_month: Option<i64>,
    /// `F`: the day of weeks that begin with the month.
    aligned_day: Option<i64>,
    /// Sunday is 0.
    weekday: Option<i64>,
    julian_day: Option<i64>,
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nano: Option<i64>,
    ms_of_day: Option<i64>,
    offset: Option<i32>,
    zone: Option<Zone>,
}

/// A text's date, time and zone, as far as it says them.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// Days since 1970; 0 where nothing is said.
    days: i64,
    /// Milliseconds since midnight; 0 where nothing is said.
    ms: i64,
    /// As the text has it.
    zone: Option<Zone>,
}

impl Said {
    /// Milliseconds since 1970; `zone` where the text has none. `None` = no TIMESTAMP holds it.
    pub fn timestamp(&self, zone: Zone) -> Option<i64> {
        let local = self.days.checked_mul(DAY_MS)?.checked_add(self.ms)?;
        Some(self.zone.unwrap_or(zone).instant_of(local))
    }

    /// Days since 1970; `None` = no DATE holds it.
    pub fn days(&self) -> Option<i32> {
        i32::try_from(self.days).ok()
    }

    /// Milliseconds of the day.
    pub fn milliseconds(&self) -> i32 {
        self.ms as i32
    }
}

/// What the front of a text says, and the rest; `None` in it = its fields contradict each other.
pub(super) fn front<'a>(parts: &[Part], text: &'a str) -> Option<(Option<Said>, &'a str)> {
    let mut fields = Fields::default();
    let rest = read_parts(parts, text, &mut fields)?;
    Some((fields.said(), rest))
}

/// How many bytes are read before the first part that cannot be.
pub(super) fn stop(parts: &[Part], text: &str) -> usize {
    let mut fields = Fields::default();
    let mut rest = text;
    for (i, part) in parts.iter().enumerate() {
        match read_part(part, parts.get(i + 1), rest, &mut fields) {
            Some(after) => rest = after,
            None => break,
        }
    }
    text.len() - rest.len()
}

impl Fields {
    fn said(&self) -> Option<Said> {
        let (ms, next_day) = self.time()?;
        let days = self.date()? + i64::from(next_day);
        Some(Said { days, ms, zone: self.offset.map(Zone::Fixed).or(self.zone) })
    }

    fn date(&self) -> Option<i64> {
        let year = match (self.year, self.week_year) {
            (Some(year), _) if self.before_christ => 1 - year,
            // A year of weeks without a week can only mean the year.
            (year, week_year) => year.or(week_year).unwrap_or(1970),
        };
        if year.abs() > YEAR_MAX {
            return None;
        }
        let days = if let Some(day) = self.julian_day {
            day - JULIAN_DAYS
        } else if let (Some(week), None, None) = (self.week, self.month, self.day_of_year) {
            self.week_date(self.week_year.unwrap_or(year), week)?
        } else if let (Some(day), None) = (self.day_of_year, self.month) {
            (1..=365 + i64::from(is_leap(year))).contains(&day).then(|| new_year(year) + day - 1)?
        } else {
            self.month_date(year)?
        };
        self.agrees(days).then_some(days)
    }

    /// The day of a week, its first without one.
    fn week_date(&self, year: i64, week: i64) -> Option<i64> {
        let first = new_year(year);
        let days = first - weekday(first) + (week - 1) * 7 + self.weekday.unwrap_or(0);
        (1..=53).contains(&week).then_some(days)
    }

    fn month_date(&self, year: i64) -> Option<i64> {
        let month = self.month.or(self.quarter.map(|quarter| quarter * 3 - 2)).unwrap_or(1);
        let first = to_days(year, month, 1)?;
        Some(match (self.day, self.week_of_month) {
            // Java's smart resolver: the 31st of a shorter month is its last day.
            (Some(day), _) => (1..=31).contains(&day).then(|| first + day.min(days_of_month(year, month)) - 1)?,
            (None, Some(week)) => {
                let days = first - weekday(first) + (week - 1) * 7 + self.weekday.unwrap_or(0);
                if self.weekday.is_none() { days.max(first) } else { days }
            }
            (None, None) => first + self.aligned_day.map_or(0, |day| day - 1),
        })
    }

    /// What the text says beyond a date is true of it.
    fn agrees(&self, days: i64) -> bool {
        let (_, month, day) = from_days(days);
        let says = |said: Option<i64>, value: i64| said.is_none_or(|said| said == value);
        says(self.weekday, weekday(days))
            && says(self.quarter, (month + 2) / 3)
            && says(self.week_of_month, week_of_month(days))
            && says(self.week, week(days).1)
            && says(self.day_of_year, day_of_year(days))
            && says(self.aligned_day, (day - 1) % 7 + 1)
    }

    /// Milliseconds of the day, and whether it is the midnight that ends it.
    fn time(&self) -> Option<(i64, bool)> {
        if let Some(ms) = self.ms_of_day {
            return (0..DAY_MS).contains(&ms).then_some((ms, false));
        }
        let hour = match (self.hour, self.hour_of_half) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        let nano = self.nano.unwrap_or(0);
        let ms = hour * 3_600_000 + minute * 60_000 + second * 1000 + nano / 1_000_000;
        match (hour, minute, second, nano) {
            (24, 0, 0, 0) => Some((0, true)),
            (0..24, 0..60, 0..60, 0..1_000_000_000) => Some((ms, false)),
            _ => None,
        }
    }
}

/// Reads the parts from the front of a text and returns what is left.
fn read_parts<'a>(parts: &[Part], text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    let mut rest = text;
    for (i, part) in parts.iter().enumerate() {
        rest = read_part(part, parts.get(i + 1), rest, fields)?;
    }
    Some(rest)
}

fn read_part<'a>(part: &Part, next: Option<&Part>, text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    // Adjacent digits are separated by their widths.
    let next_is_number = matches!(next, Some(Part::Field(letter, count)) if is_number(*letter, *count));
    match part {
        Part::Literal(literal) => strip_ignoring_case(text, literal),
        Part::Optional(inner) => {
            let mut tried = fields.clone();
            Some(match read_parts(inner, text, &mut tried) {
                Some(after) => {
                    *fields = tried;
                    after
                }
                None => text,
            })
        }
        Part::Field(letter, count) => read_field(*letter, *count, next_is_number, text, fields),
        Part::Padded(width, letter, count) => {
            let blanks = text.bytes().take(*width).take_while(|b| *b == b' ').count();
            read_field(*letter, *count, next_is_number, &text[blanks..], fields)
        }
    }
}

fn is_number(letter: char, count: usize) -> bool {
    "yuYdDHhKkmsSAnNwWFg".contains(letter) || "MLecQq".contains(letter) && count < 3
}

fn strip_ignoring_case<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let head = text.get(..start.len())?;
    head.eq_ignore_ascii_case(start).then(|| &text[start.len()..])
}

/// Between `least` and `most` digits.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

fn named<'a>(names: &[&str], count: usize, text: &'a str) -> Option<(i64, &'a str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if count == 4 { name } else { &name[..3] };
        strip_ignoring_case(text, name).map(|rest| (i as i64, rest))
    })
}

/// `y`, `u` and `Y`.
fn read_year(count: usize, next_is_number: bool, text: &str) -> Option<(i64, &str)> {
    if count == 2 {
        return digits(text, 2, 2).map(|(year, rest)| (year + 2000, rest));
    }
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1, body),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (year, rest) = digits(body, count, if next_is_number { count } else { 10 })?;
    Some((sign * year, rest))
}

fn read_field<'a>(
    letter: char,
    count: usize,
    next_is_number: bool,
    text: &'a str,
    fields: &mut Fields,
) -> Option<&'a str> {
    let (value, rest) = match letter {
        'y' | 'u' | 'Y' => read_year(count, next_is_number, text)?,
        'M' | 'L' if count >= 3 => named(&MONTHS, count, text).map(|(month, rest)| (month + 1, rest))?,
        'E' | 'e' | 'c' if letter == 'E' || count >= 3 => named(&DAYS, count, text)?,
        'Q' | 'q' => read_quarter(count, text)?,
        'a' => match strip_ignoring_case(text, "AM") {
            Some(rest) => (0, rest),
            None => (1, strip_ignoring_case(text, "PM")?),
        },
        'G' => ["Anno Domini", "Before Christ", "AD", "BC", "A", "B"]
            .iter()
            .zip([0, 1, 0, 1, 0, 1])
            .find_map(|(name, era)| strip_ignoring_case(text, name).map(|rest| (era, rest)))?,
        'S' => {
            let (value, rest) = digits(text, count, count)?;
            (value * 10i64.pow(9u32.saturating_sub(count as u32)), rest)
        }
        'X' | 'x' | 'Z' | 'O' | 'z' | 'V' | 'v' => return read_zone(letter, text, fields),
        _ => digits(text, count, if count > 1 || next_is_number { count } else { 18 })?,
    };
    let within = |low: i64, high: i64| (low..=high).contains(&value).then_some(value);
    match letter {
        'y' | 'u' => fields.year = Some(value),
        'Y' => fields.week_year = Some(value),
        'M' | 'L' => fields.month = Some(value),
        'Q' | 'q' => fields.quarter = Some(within(1, 4)?),
        'E' => fields.weekday = Some(value),
        'e' | 'c' if count >= 3 => fields.weekday = Some(value),
        'e' | 'c' => fields.weekday = Some(within(1, 7)? - 1),
        'G' => fields.before_christ = value == 1,
        'd' => fields.day = Some(value),
        'D' => fields.day_of_year = Some(value),
        'w' => fields.week = Some(value),
        'W' => fields.week_of_month = Some(within(1, 6)?),
        'F' => fields.aligned_day = Some(within(1, 7)?),
        'g' => fields.julian_day = Some(value),
        'a' => fields.afternoon = Some(value == 1),
        'H' => fields.hour = Some(within(0, 24)?),
        'k' => fields.hour = Some(within(1, 24)? % 24),
        'h' => fields.hour_of_half = Some(within(1, 12)?),
        'K' => fields.hour_of_half = Some(within(0, 11)?),
        'm' => fields.minute = Some(value),
        's' => fields.second = Some(value),
        'S' | 'n' => fields.nano = Some(value),
        'A' => fields.ms_of_day = Some(value),
        'N' => fields.ms_of_day = Some(value / 1_000_000),
        _ => {}
    }
    Some(rest)
}

/// `1`, `01`, `Q1`, `1st quarter`.
fn read_quarter(count: usize, text: &str) -> Option<(i64, &str)> {
    let names = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];
    match count {
        3 => digits(strip_ignoring_case(text, "Q")?, 1, 1),
        4 => {
            let read = |(i, name): (usize, &&str)| strip_ignoring_case(text, name).map(|rest| (i as i64 + 1, rest));
            names.iter().enumerate().find_map(read)
        }
        2 => digits(text, 2, 2),
        _ => digits(text, 1, 1),
    }
}

fn read_zone<'a>(letter: char, text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    if !matches!(letter, 'z' | 'V' | 'v') {
        let body = strip_ignoring_case(text, "GMT").filter(|_| letter == 'O' || letter == 'Z').unwrap_or(text);
        if let Some(rest) = body.strip_prefix(['Z', 'z']).filter(|_| letter != 'x') {
            fields.offset = Some(0);
            return Some(rest);
        }
        let length = body
            .bytes()
            .enumerate()
            .take_while(|(i, b)| b.is_ascii_digit() || *b == b':' || *i == 0 && b"+-".contains(b))
            .count();
        if length == 0 && body.len() < text.len() {
            fields.offset = Some(0);
            return Some(body);
        }
        fields.offset = Some(offset_seconds(body.get(..length)?)?);
        return Some(&body[length..]);
    }
    if letter != 'V'
        && let Some((zone, rest)) = zone_by_name(text)
    {
        fields.zone = Some(zone);
        return Some(rest);
    }
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"/_+-:".contains(b)).count();
    fields.zone = Some(Zone::parse(&text[..length])?);
    Some(&text[length..])
}
