//! Time zones as Java names them, and what their clocks show.

use chrono::{Offset, TimeZone, Utc};
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
        let july = Pattern::parse("yyyy-MM-dd HH").unwrap().read("2020-07-01 12").unwrap().timestamp(berlin);
        assert_eq!(berlin.offset_at(july), 7200);
        assert_eq!(Zone::parse("GMT+2"), Some(Zone::Fixed(7200)));
        assert_eq!(Zone::parse("nowhere"), None);
    }
}
