//! Time zones by Java's names (`ZoneId.of`, `ZoneId.SHORT_IDS`), and their local times.

use chrono::{Offset, TimeZone, Utc};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

/// A zone: by name, or by offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `Europe/Berlin`.
    Named(Tz),
    /// Seconds east.
    Fixed(i32),
    /// The same behind `UTC`, `GMT` or `UT`, as which it is written.
    Prefixed(&'static str, i32),
}

impl Zone {
    /// UTC.
    pub const UTC: Zone = Zone::Prefixed("UTC", 0);

    /// `Europe/Berlin`, `UTC`, `GMT`, `Z`, `+01:30`, `GMT-8`, `PST`.
    pub fn parse(text: &str) -> Option<Zone> {
        if text == "Z" {
            return Some(Zone::Fixed(0));
        }
        for prefix in ["UTC", "GMT", "UT"] {
            match text.strip_prefix(prefix) {
                Some("") => return Some(Zone::Prefixed(prefix, 0)),
                Some(offset) if offset.starts_with(['+', '-']) => {
                    return offset_seconds(offset).map(|seconds| Zone::Prefixed(prefix, seconds));
                }
                _ => {}
            }
        }
        if text.starts_with(['+', '-']) {
            return offset_seconds(text).map(Zone::Fixed);
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

    /// Offset in seconds east at a moment.
    pub fn offset_at(self, ms: i64) -> i64 {
        match self {
            Zone::Fixed(seconds) | Zone::Prefixed(_, seconds) => i64::from(seconds),
            Zone::Named(zone) => match Utc.timestamp_millis_opt(ms).single() {
                Some(time) => i64::from(zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc()),
                None => 0,
            },
        }
    }

    /// The moment of a local time in milliseconds. In a gap the length of the gap is added, in an overlap the earlier offset
    /// applies (`ZonedDateTime.ofLocal`).
    pub fn instant_of(self, local_ms: i64) -> i64 {
        match self {
            Zone::Fixed(seconds) | Zone::Prefixed(_, seconds) => local_ms - i64::from(seconds) * 1000,
            Zone::Named(zone) => {
                let Some(local) = Utc.timestamp_millis_opt(local_ms).single().map(|t| t.naive_utc()) else {
                    return local_ms;
                };
                match zone.offset_from_local_datetime(&local) {
                    chrono::LocalResult::Single(o) | chrono::LocalResult::Ambiguous(o, _) => {
                        local_ms - i64::from(o.fix().local_minus_utc()) * 1000
                    }
                    // The offset before the transition.
                    chrono::LocalResult::None => local_ms - self.offset_at(local_ms - 86_400_000) * 1000,
                }
            }
        }
    }
}

impl Zone {
    /// The id that Java writes: `Europe/Berlin`, `Z`, `+01:30`, `UTC`, `GMT+02:00`.
    pub fn write_id(self, out: &mut String) {
        let seconds = match self {
            Zone::Named(zone) => return out.push_str(zone.name()),
            Zone::Fixed(0) => return out.push('Z'),
            Zone::Fixed(seconds) => seconds,
            Zone::Prefixed(prefix, seconds) => {
                out.push_str(prefix);
                seconds
            }
        };
        if seconds == 0 {
            return;
        }
        let (sign, rest) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
        out.push_str(&format!("{sign}{:02}:{:02}", rest / 3600, rest / 60 % 60));
        if rest % 60 != 0 {
            out.push_str(&format!(":{:02}", rest % 60));
        }
    }

    /// Clocks are put forward at a moment.
    pub fn is_summer_time(self, ms: i64) -> bool {
        self.named_offset(ms).is_some_and(|offset| !offset.dst_offset().is_zero())
    }

    /// `CET`, `CEST`; `None` = the zone has no name.
    pub fn abbreviation(self, ms: i64) -> Option<String> {
        self.named_offset(ms)?.abbreviation().map(str::to_owned)
    }

    fn named_offset(self, ms: i64) -> Option<<Tz as TimeZone>::Offset> {
        let Zone::Named(zone) = self else { return None };
        let time = Utc.timestamp_millis_opt(ms).single()?;
        Some(zone.offset_from_utc_datetime(&time.naive_utc()))
    }
}

/// `+1`, `+01`, `+0130`, `+01:30`, `+01:30:15`, `Z`.
pub(super) fn offset_seconds(text: &str) -> Option<i32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::java_time::Pattern;

    #[test]
    fn zones_have_summer_time() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        assert_eq!(berlin.offset_at(0), 3600);
        let july = Pattern::parse("yyyy-MM-dd HH").unwrap().read("2020-07-01 12").unwrap().timestamp(berlin).unwrap();
        assert_eq!(berlin.offset_at(july), 7200);
        assert_eq!(Zone::parse("GMT+2"), Some(Zone::Prefixed("GMT", 7200)));
        assert_eq!(Zone::parse("nowhere"), None);
    }
}
