//! Moments to text, letter by letter.

use super::names::{DAYS, MONTHS, zone_name};
use super::{JULIAN_DAYS, Moment, Part, day_of_year, week, week_of_month, weekday};
use crate::types::zone::Zone;
use std::fmt::Write;

/// Nanoseconds of a millisecond.
const MS_NANOS: i64 = 1_000_000;

pub(super) fn parts(parts: &[Part], moment: &Moment, out: &mut String) {
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Optional(inner) => self::parts(inner, moment, out),
            Part::Field(letter, count) => field(*letter, *count, moment, out),
            Part::Padded(width, letter, count) => {
                let start = out.len();
                field(*letter, *count, moment, out);
                let missing = width.saturating_sub(out[start..].chars().count());
                out.insert_str(start, &" ".repeat(missing));
            }
        }
    }
}

fn field(letter: char, count: usize, moment: &Moment, out: &mut String) {
    let hour = moment.ms / 3_600_000;
    match letter {
        'y' | 'u' | 'Y' => year(letter, count, moment, out),
        'M' | 'L' if count >= 3 => name(MONTHS[moment.month as usize - 1], count, out),
        'M' | 'L' => number(moment.month, count, out),
        'Q' | 'q' => quarter((moment.month + 2) / 3, count, out),
        'E' => name(DAYS[weekday(moment.days) as usize], count, out),
        'e' | 'c' if count >= 3 => name(DAYS[weekday(moment.days) as usize], count, out),
        'e' | 'c' => number(weekday(moment.days) + 1, count, out),
        'd' => number(moment.day, count, out),
        'D' => number(day_of_year(moment.days), count, out),
        'w' => number(week(moment.days).1, count, out),
        'W' => number(week_of_month(moment.days), count, out),
        'F' => number((moment.day - 1) % 7 + 1, count, out),
        'g' => number(moment.days + JULIAN_DAYS, count, out),
        'G' => out.push_str(match (moment.year > 0, count) {
            (true, 4) => "Anno Domini",
            (true, 5) => "A",
            (true, _) => "AD",
            (false, 4) => "Before Christ",
            (false, 5) => "B",
            (false, _) => "BC",
        }),
        'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'H' => number(hour, count, out),
        'k' => number(if hour == 0 { 24 } else { hour }, count, out),
        'K' => number(hour % 12, count, out),
        'h' => number((hour + 11) % 12 + 1, count, out),
        'm' => number(moment.ms / 60_000 % 60, count, out),
        's' => number(moment.ms / 1000 % 60, count, out),
        'S' => {
            let start = out.len();
            let _ = write!(out, "{:03}000000", moment.ms % 1000);
            out.truncate(start + count);
        }
        'n' => number(moment.ms % 1000 * MS_NANOS, count, out),
        'A' => number(moment.ms, count, out),
        'N' => number(moment.ms * MS_NANOS, count, out),
        _ => zone(letter, count, moment, out),
    }
}

fn year(letter: char, count: usize, moment: &Moment, out: &mut String) {
    let year = match letter {
        'Y' => week(moment.days).0,
        // The year of its era: the year before year 1 is the first one before Christ.
        'y' if moment.year < 1 => 1 - moment.year,
        _ => moment.year,
    };
    if count == 2 {
        return number(year.rem_euclid(100), 2, out);
    }
    // A year of more digits than letters gets a sign, from four letters on.
    if count >= 4 && year >= 10i64.saturating_pow(count as u32) {
        out.push('+');
    }
    number(year, count, out);
}

fn number(value: i64, width: usize, out: &mut String) {
    let sign = if value < 0 { "-" } else { "" };
    let _ = write!(out, "{sign}{:0width$}", value.unsigned_abs());
}

/// Three letters, all of them, or one.
fn name(name: &str, count: usize, out: &mut String) {
    out.push_str(match count {
        5 => &name[..1],
        4 => name,
        _ => &name[..3],
    });
}

fn quarter(quarter: i64, count: usize, out: &mut String) {
    match count {
        3 => out.push('Q'),
        4 => return out.push_str(["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"][quarter as usize - 1]),
        _ => {}
    }
    number(quarter, if count == 2 { 2 } else { 1 }, out);
}

fn zone(letter: char, count: usize, moment: &Moment, out: &mut String) {
    let offset = moment.offset;
    match letter {
        'X' if offset == 0 => out.push('Z'),
        'X' | 'x' => write_offset(offset, count, out),
        'Z' if count == 5 && offset == 0 => out.push('Z'),
        'Z' if count == 4 => localized(offset, 3, out),
        'Z' if count == 5 => write_offset(offset, 5, out),
        'Z' => write_offset(offset, 2, out),
        'O' => localized(offset, if count == 4 { 3 } else { 1 }, out),
        'V' => moment.zone.write_id(out),
        _ => named(letter, count == 4, moment, out),
    }
}

/// `z`, `zzzz`, `v`, `vvvv`.
fn named(letter: char, full: bool, moment: &Moment, out: &mut String) {
    match moment.zone {
        Zone::Prefixed("GMT", 0) if full => out.push_str("Greenwich Mean Time"),
        Zone::Prefixed(_, 0) if full => out.push_str("Coordinated Universal Time"),
        Zone::Prefixed(..) | Zone::Fixed(_) => moment.zone.write_id(out),
        Zone::Named(tz) => {
            let summer = letter == 'z' && moment.zone.is_summer_time(moment.instant_ms);
            match zone_name(tz) {
                Some(names) if full && letter == 'v' => out.push_str(names.generic),
                Some(names) if full => out.push_str(if summer { names.summer } else { names.standard }),
                Some(names) if letter == 'v' => out.push_str(names.short),
                // Most abbreviations of the database of zones are Java's.
                _ => match moment.zone.abbreviation(moment.instant_ms) {
                    Some(text) if !full && text.starts_with(|c: char| c.is_ascii_alphabetic()) => out.push_str(&text),
                    _ => localized(moment.offset, 3, out),
                },
            }
        }
    }
}

/// `GMT`, `GMT+1`, `GMT+01:00`.
fn localized(offset: i64, width: usize, out: &mut String) {
    out.push_str("GMT");
    if offset == 0 {
        return;
    }
    if width > 1 {
        return write_offset(offset, 5, out);
    }
    let (sign, seconds) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let _ = write!(out, "{sign}{}", seconds / 3600);
    if seconds % 3600 != 0 {
        let _ = write!(out, ":{:02}", seconds / 60 % 60);
    }
}

/// Widths as `x` has them: `+01`, `+0130`, `+01:30`, and the same with seconds.
fn write_offset(offset: i64, width: usize, out: &mut String) {
    let (sign, seconds) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let colon = if width == 3 || width == 5 { ":" } else { "" };
    let _ = write!(out, "{sign}{hours:02}");
    if width > 1 || minutes != 0 {
        let _ = write!(out, "{colon}{minutes:02}");
    }
    if width > 3 && rest != 0 {
        let _ = write!(out, "{colon}{rest:02}");
    }
}
