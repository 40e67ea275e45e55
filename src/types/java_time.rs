//! Java's `DateTimeFormatter` patterns: dates and times as text, and back.
//!
//! ```text
//! yyyy-MM-dd'T'HH:mm:ss.SSSX     2020-03-01T10:20:30.400Z
//! dd MMM yyyy, h:mm a            01 Mar 2020, 10:20 AM
//! ```
//!
//! Text in English, UTC where no zone is told. What a text does not say is the first of its kind: 1970, January, the
//! first, midnight. Not read: weeks, localised forms, eras other than the present one.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike, Utc, Weekday};
use chrono_tz::Tz;

/// A zone: by name, or so far from Greenwich.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `Europe/Berlin`.
    Named(Tz),
    /// Seconds east.
    Fixed(i32),
}

impl Zone {
    /// Greenwich.
    pub const UTC: Zone = Zone::Fixed(0);

    /// `Europe/Berlin`, `UTC`, `GMT`, `Z`, `+01:30`, `GMT-8`, `PST`.
    pub fn parse(text: &str) -> Option<Zone> {
        if matches!(text, "Z" | "UTC" | "GMT" | "UT") {
            return Some(Zone::UTC);
        }
        let offset = ["UTC", "GMT", "UT"].iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text);
        if offset.starts_with(['+', '-']) {
            return offset_seconds(offset).map(Zone::Fixed);
        }
        let name = match text {
            // Java's short names.
            "PST" => "America/Los_Angeles",
            "CST" => "America/Chicago",
            "EST" => return Some(Zone::Fixed(-5 * 3600)),
            "MST" => return Some(Zone::Fixed(-7 * 3600)),
            "HST" => return Some(Zone::Fixed(-10 * 3600)),
            "JST" => "Asia/Tokyo",
            "IST" => "Asia/Kolkata",
            "ECT" => "Europe/Paris",
            other => other,
        };
        name.parse().ok().map(Zone::Named)
    }

    /// Seconds east at a moment.
    pub fn offset_at(self, ms: i64) -> i64 {
        match self {
            Zone::Fixed(seconds) => i64::from(seconds),
            Zone::Named(zone) => match Utc.timestamp_millis_opt(ms).single() {
                Some(time) => i64::from(zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc()),
                None => 0,
            },
        }
    }

    /// The moment of a local time in milliseconds; in a gap the clock's jump is added, of two the earlier is meant.
    pub fn instant_of(self, local_ms: i64) -> i64 {
        match self {
            Zone::Fixed(seconds) => local_ms - i64::from(seconds) * 1000,
            Zone::Named(zone) => {
                let Some(local) = Utc.timestamp_millis_opt(local_ms).single().map(|t| t.naive_utc()) else {
                    return local_ms;
                };
                match zone.offset_from_local_datetime(&local) {
                    chrono::LocalResult::Single(o) | chrono::LocalResult::Ambiguous(o, _) => {
                        local_ms - i64::from(o.fix().local_minus_utc()) * 1000
                    }
                    // The offset before the jump.
                    chrono::LocalResult::None => local_ms - self.offset_at(local_ms - 86_400_000) * 1000,
                }
            }
        }
    }
}

/// `+1`, `+01`, `+0130`, `+01:30`, `+01:30:15`, `Z`.
fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
    let part = |n: usize| digits.get(2 * n..2 * n + 2).map_or(Some(0), |d| d.parse::<i32>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(1)?, part(2)?);
    (hours <= 18 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    Field(char, usize),
    /// Between `[` and `]`: may be left out of a text.
    Optional(Vec<Part>),
}

/// A pattern, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    parts: Vec<Part>,
}

/// What a text said.
#[derive(Clone, Debug, Default)]
struct Fields {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    hour_of_half: Option<u32>,
    afternoon: Option<bool>,
    minute: Option<u32>,
    second: Option<u32>,
    nano: Option<u32>,
    milli_of_day: Option<u32>,
    offset: Option<i32>,
    zone: Option<Zone>,
}

/// A text's date, time and zone, as far as it says them.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// 1970-01-01 where nothing is said.
    pub date: NaiveDate,
    /// Midnight where nothing is said.
    pub time: NaiveTime,
    /// As told in the text.
    pub zone: Option<Zone>,
}

impl Said {
    /// Milliseconds since 1970; `zone` where the text tells none.
    pub fn timestamp(&self, zone: Zone) -> i64 {
        let local = self.date.and_time(self.time).and_utc().timestamp_millis();
        self.zone.unwrap_or(zone).instant_of(local)
    }

    /// Days since 1970.
    pub fn days(&self) -> i32 {
        self.date.signed_duration_since(NaiveDate::default()).num_days() as i32
    }

    /// Milliseconds of the day.
    pub fn milliseconds(&self) -> i32 {
        (self.time.num_seconds_from_midnight() * 1000 + self.time.nanosecond() / 1_000_000) as i32
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Pattern {
    /// Reads a pattern; `None` = it is none, or uses what is not read here.
    pub fn parse(pattern: &str) -> Option<Pattern> {
        let mut stack: Vec<Vec<Part>> = vec![Vec::new()];
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let parts = stack.last_mut()?;
            match c {
                '\'' => {
                    let mut text = String::new();
                    if chars.next_if_eq(&'\'').is_some() {
                        text.push('\'');
                    } else {
                        loop {
                            match chars.next()? {
                                '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
                                '\'' => break,
                                c => text.push(c),
                            }
                        }
                    }
                    parts.push(Part::Literal(text));
                }
                '[' => stack.push(Vec::new()),
                ']' => {
                    let inner = stack.pop()?;
                    stack.last_mut()?.push(Part::Optional(inner));
                }
                c if c.is_ascii_alphabetic() => {
                    let mut width = 1;
                    while chars.next_if_eq(&c).is_some() {
                        width += 1;
                    }
                    "yuMLdDEeHhKkmsSAnNaXxZzVOG".contains(c).then(|| parts.push(Part::Field(c, width)))?;
                }
                '{' | '}' | '#' => return None,
                c => parts.push(Part::Literal(c.to_string())),
            }
        }
        let parts = stack.pop().filter(|_| stack.is_empty())?;
        Some(Pattern { parts })
    }

    /// Appends a local time of a zone.
    pub fn write(&self, time: NaiveDateTime, zone: Zone, offset_seconds: i64, out: &mut String) {
        write_parts(&self.parts, time, zone, offset_seconds, out);
    }

    /// A moment, as the zone's clocks show it; false = no calendar has it.
    pub fn write_timestamp(&self, ms: i64, zone: Zone, out: &mut String) -> bool {
        let offset = zone.offset_at(ms);
        let local = ms.checked_add(offset * 1000).and_then(|ms| Utc.timestamp_millis_opt(ms).single());
        if let Some(local) = local {
            self.write(local.naive_utc(), zone, offset, out);
        }
        local.is_some()
    }

    /// Reads the front of a text, as `SimpleDateFormat` does; what follows does not count.
    pub fn read_front(&self, text: &str) -> Option<Said> {
        let mut fields = Fields::default();
        read_parts(&self.parts, text, &mut fields)?;
        fields.said()
    }

    /// Reads a whole text.
    pub fn read(&self, text: &str) -> Option<Said> {
        let mut fields = Fields::default();
        let rest = read_parts(&self.parts, text, &mut fields)?;
        if rest.is_empty() { fields.said() } else { None }
    }
}

impl Fields {
    fn said(&self) -> Option<Said> {
        let year = i32::try_from(self.year.unwrap_or(1970)).ok()?;
        let date = match self.day_of_year {
            Some(day) if self.month.is_none() => NaiveDate::from_yo_opt(year, day)?,
            _ => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match (self.hour, self.hour_of_half) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let time = match self.milli_of_day {
            Some(ms) => NaiveTime::from_num_seconds_from_midnight_opt(ms / 1000, ms % 1000 * 1_000_000)?,
            None => NaiveTime::from_hms_nano_opt(
                hour,
                self.minute.unwrap_or(0),
                self.second.unwrap_or(0),
                self.nano.unwrap_or(0),
            )?,
        };
        Some(Said { date, time, zone: self.offset.map(Zone::Fixed).or(self.zone) })
    }
}

fn number(value: i64, width: usize, out: &mut String) {
    let digits = format!("{:0width$}", value.abs());
    if value < 0 {
        out.push('-');
    }
    out.push_str(&digits);
}

fn write_parts(parts: &[Part], time: NaiveDateTime, zone: Zone, offset: i64, out: &mut String) {
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Optional(inner) => write_parts(inner, time, zone, offset, out),
            Part::Field(letter, width) => write_field(*letter, *width, time, zone, offset, out),
        }
    }
}

fn write_field(letter: char, width: usize, time: NaiveDateTime, zone: Zone, offset: i64, out: &mut String) {
    let name = |names: &[&str], index: usize, out: &mut String| match width {
        5 => out.push_str(&names[index][..1]),
        4 => out.push_str(names[index]),
        _ => out.push_str(&names[index][..3]),
    };
    match letter {
        'y' | 'u' if width == 2 => number(i64::from(time.year().rem_euclid(100)), 2, out),
        'y' | 'u' => number(i64::from(time.year()), width, out),
        'M' | 'L' if width >= 3 => name(&MONTHS, time.month0() as usize, out),
        'M' | 'L' => number(i64::from(time.month()), width, out),
        'd' => number(i64::from(time.day()), width, out),
        'D' => number(i64::from(time.ordinal()), width, out),
        'E' => name(&DAYS, time.weekday().num_days_from_monday() as usize, out),
        'e' if width >= 3 => name(&DAYS, time.weekday().num_days_from_monday() as usize, out),
        'e' => number(i64::from(time.weekday().num_days_from_sunday()) + 1, width, out),
        'G' => out.push_str(if width == 4 { "Anno Domini" } else { "AD" }),
        'H' => number(i64::from(time.hour()), width, out),
        'k' => number(i64::from(if time.hour() == 0 { 24 } else { time.hour() }), width, out),
        'K' => number(i64::from(time.hour() % 12), width, out),
        'h' => number(i64::from(time.hour12().1), width, out),
        'a' => out.push_str(if time.hour() < 12 { "AM" } else { "PM" }),
        'm' => number(i64::from(time.minute()), width, out),
        's' => number(i64::from(time.second()), width, out),
        'S' => {
            let digits = format!("{:09}", time.nanosecond());
            out.push_str(&digits[..width.min(9)]);
            (9..width).for_each(|_| out.push('0'));
        }
        'n' => number(i64::from(time.nanosecond()), width, out),
        'A' | 'N' => {
            let ms = i64::from(time.num_seconds_from_midnight()) * 1000 + i64::from(time.nanosecond() / 1_000_000);
            number(if letter == 'A' { ms } else { ms * 1_000_000 }, width, out);
        }
        'X' if offset == 0 => out.push('Z'),
        'X' | 'x' => write_offset(offset, width, out),
        'Z' if width == 5 && offset == 0 => out.push('Z'),
        'Z' if width == 4 => {
            out.push_str("GMT");
            if offset != 0 {
                write_offset(offset, 3, out);
            }
        }
        'Z' => write_offset(offset, if width == 5 { 3 } else { 2 }, out),
        'O' => {
            out.push_str("GMT");
            if offset != 0 {
                write_offset(offset, if width == 4 { 3 } else { 1 }, out);
            }
        }
        _ => write_zone(letter, time, zone, offset, out),
    }
}

fn write_zone(letter: char, time: NaiveDateTime, zone: Zone, offset: i64, out: &mut String) {
    match zone {
        Zone::Fixed(0) => out.push_str(if letter == 'V' { "Z" } else { "UTC" }),
        Zone::Fixed(_) => write_offset(offset, 3, out),
        Zone::Named(tz) if letter == 'V' => out.push_str(tz.name()),
        Zone::Named(tz) => {
            let utc = time - chrono::TimeDelta::seconds(offset);
            out.push_str(&tz.from_utc_datetime(&utc).format("%Z").to_string());
        }
    }
}

/// Widths as `x` has them: `+01`, `+0130`, `+01:30`, and the same with seconds.
fn write_offset(offset: i64, width: usize, out: &mut String) {
    let (sign, seconds) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let colon = if width == 3 || width == 5 { ":" } else { "" };
    out.push_str(&format!("{sign}{hours:02}"));
    if width > 1 || minutes != 0 {
        out.push_str(&format!("{colon}{minutes:02}"));
    }
    if width > 3 && rest != 0 {
        out.push_str(&format!("{colon}{rest:02}"));
    }
}

/// Reads the parts from the front of a text; answers what is left.
fn read_parts<'a>(parts: &[Part], text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    let mut rest = text;
    for (i, part) in parts.iter().enumerate() {
        rest = match part {
            Part::Literal(literal) => strip_ignoring_case(rest, literal)?,
            Part::Optional(inner) => {
                let mut tried = fields.clone();
                match read_parts(inner, rest, &mut tried) {
                    Some(after) => {
                        *fields = tried;
                        after
                    }
                    None => rest,
                }
            }
            Part::Field(letter, width) => {
                // Digits that stand against digits are parted by their widths.
                let next_is_number = matches!(parts.get(i + 1), Some(Part::Field(l, w)) if is_number(*l, *w));
                read_field(*letter, *width, next_is_number, rest, fields)?
            }
        };
    }
    Some(rest)
}

fn is_number(letter: char, width: usize) -> bool {
    "yudDHhKkmsSAnN".contains(letter) || "MLe".contains(letter) && width < 3
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

fn named<'a>(names: &[&str], width: usize, text: &'a str) -> Option<(usize, &'a str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if width == 4 { name } else { &name[..3] };
        strip_ignoring_case(text, name).map(|rest| (i, rest))
    })
}

fn read_field<'a>(
    letter: char,
    width: usize,
    next_is_number: bool,
    text: &'a str,
    fields: &mut Fields,
) -> Option<&'a str> {
    let fixed = |width: usize| {
        let most = if width > 1 || next_is_number { width } else { 19 };
        digits(text, width, most)
    };
    let small = |text: (i64, &'a str)| -> Option<(u32, &'a str)> { Some((u32::try_from(text.0).ok()?, text.1)) };
    match letter {
        'y' | 'u' => {
            let (value, rest) = match width {
                2 => digits(text, 2, 2).map(|(v, r)| (v + 2000, r))?,
                width => digits(text, width, if next_is_number { width } else { 10 })?,
            };
            fields.year = Some(value);
            Some(rest)
        }
        'M' | 'L' if width >= 3 => {
            let (index, rest) = named(&MONTHS, width, text)?;
            fields.month = Some(index as u32 + 1);
            Some(rest)
        }
        'E' | 'e' if letter == 'E' || width >= 3 => {
            let (index, rest) = named(&DAYS, width, text)?;
            Weekday::try_from(index as u8).ok()?;
            Some(rest)
        }
        'a' => {
            let (rest, afternoon) = match strip_ignoring_case(text, "AM") {
                Some(rest) => (rest, false),
                None => (strip_ignoring_case(text, "PM")?, true),
            };
            fields.afternoon = Some(afternoon);
            Some(rest)
        }
        'G' => strip_ignoring_case(text, "AD"),
        'S' => {
            let (value, rest) = digits(text, width, width)?;
            let nano = if width <= 9 { value * 10i64.pow(9 - width as u32) } else { return None };
            fields.nano = Some(u32::try_from(nano).ok()?);
            Some(rest)
        }
        'X' | 'x' | 'Z' | 'O' | 'z' | 'V' => read_zone(letter, text, fields),
        _ => {
            let (value, rest) = small(fixed(width)?)?;
            let slot = match letter {
                'M' | 'L' => &mut fields.month,
                'd' => &mut fields.day,
                'D' => &mut fields.day_of_year,
                'H' => &mut fields.hour,
                'k' => {
                    fields.hour = Some(value % 24);
                    return Some(rest);
                }
                'h' | 'K' => &mut fields.hour_of_half,
                'm' => &mut fields.minute,
                's' => &mut fields.second,
                'n' => &mut fields.nano,
                'A' => &mut fields.milli_of_day,
                _ => return Some(rest),
            };
            *slot = Some(value);
            Some(rest)
        }
    }
}

fn read_zone<'a>(letter: char, text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    if letter != 'z' && letter != 'V' {
        let body = strip_ignoring_case(text, "GMT").filter(|_| letter == 'O' || letter == 'Z').unwrap_or(text);
        if let Some(rest) = body.strip_prefix('Z').filter(|_| letter != 'x') {
            fields.offset = Some(0);
            return Some(rest);
        }
        let length = 1 + body.bytes().skip(1).take_while(|b| b.is_ascii_digit() || *b == b':').count();
        fields.offset = Some(offset_seconds(body.get(..length)?)?);
        return Some(&body[length..]);
    }
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"/_+-:".contains(b)).count();
    fields.zone = Some(Zone::parse(&text[..length])?);
    Some(&text[length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_write_and_read() {
        let cases = [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2018-05-11T21:58:33.100Z"),
            ("dd/MMM/yyyy HH:mm:ss Z", "11/May/2018 21:58:33 +0000"),
            ("yyyyMMddHHmmssSSS", "20180511215833100"),
            ("EEEE, d MMMM yyyy h:mm a", "Friday, 11 May 2018 9:58 PM"),
            ("yyyy-MM-dd HH:mm:ss[.SSS] VV", "2018-05-11 21:58:33.100 Z"),
        ];
        for (pattern, text) in cases {
            let read = Pattern::parse(pattern).unwrap();
            let ms = read.read(text).unwrap_or_else(|| panic!("{pattern}")).timestamp(Zone::UTC);
            let mut out = String::new();
            assert!(read.write_timestamp(ms, Zone::UTC, &mut out));
            assert_eq!(out, text, "{pattern}");
        }
        assert!(Pattern::parse("yyyy-'oops").is_none());
        assert!(Pattern::parse("yyyy-MM-dd").unwrap().read("2018-13-01").is_none());
        assert_eq!(Pattern::parse("HH:mm").unwrap().read("00:01").unwrap().timestamp(Zone::UTC), 60_000);
    }

    #[test]
    fn zones_have_summer_time() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        assert_eq!(berlin.offset_at(0), 3600);
        let july = Pattern::parse("yyyy-MM-dd HH").unwrap().read("2020-07-01 12").unwrap().timestamp(berlin);
        assert_eq!(berlin.offset_at(july), 7200);
        assert_eq!(Zone::parse("GMT+2"), Some(Zone::Fixed(7200)));
        assert_eq!(Zone::parse("nowhere"), None);
    }
}
