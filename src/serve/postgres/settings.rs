//! Settings of a session: those that Postgres's clients set and ask for. Most have no effect here, and are kept so that a client
//! reads back what it has set.
//!
//! ```text
//! SET statement_timeout = '5s'                  bounds each query
//! SET tidegate.fetch_timeout = '200ms'          a portal that waits for rows gives what it has after this time
//! SET auto.offset.reset = 'earliest'            a property of the engine: its name has a dot
//! ```

use super::errors::{Failure, State};
use std::collections::BTreeMap;
use std::time::Duration;

/// A setting that is reported to the client at the start, and whenever it changes.
const REPORTED: &[&str] = &[
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "default_transaction_read_only",
    "in_hot_standby",
    "is_superuser",
    "session_authorization",
];

/// The version whose protocol and catalogue this server has.
pub(super) const SERVER_VERSION: &str = concat!("15.0 (Tidegate ", env!("CARGO_PKG_VERSION"), ")");
/// Portals give what they have after this time; `0` = they wait for as many rows as they were asked for.
const FETCH_TIMEOUT: &str = "tidegate.fetch_timeout";

/// Names and defaults. Values of the first kind cannot be changed.
const FIXED: &[(&str, &str)] = &[
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("server_encoding", "UTF8"),
    ("integer_datetimes", "on"),
    ("in_hot_standby", "off"),
    ("is_superuser", "off"),
    ("session_authorization", ""),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("block_size", "8192"),
    ("lc_collate", "C.UTF-8"),
    ("lc_ctype", "C.UTF-8"),
    ("data_checksums", "on"),
    ("wal_level", "logical"),
];

const DEFAULTS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "off"),
    ("transaction_read_only", "off"),
    ("transaction_isolation", "read committed"),
    ("default_transaction_isolation", "read committed"),
    ("transaction_deferrable", "off"),
    ("default_transaction_deferrable", "off"),
    ("search_path", "public"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("client_min_messages", "notice"),
    ("row_security", "on"),
    ("synchronous_commit", "on"),
    ("synchronize_seqscans", "on"),
    ("escape_string_warning", "on"),
    ("backslash_quote", "safe_encoding"),
    ("check_function_bodies", "on"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
    ("session_replication_role", "origin"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
    ("jit", "off"),
    ("work_mem", "4MB"),
    ("role", "none"),
    ("timezone_abbreviations", "Default"),
    ("lc_messages", "C.UTF-8"),
    ("lc_monetary", "C.UTF-8"),
    ("lc_numeric", "C.UTF-8"),
    ("lc_time", "C.UTF-8"),
    ("quote_all_identifiers", "off"),
    ("enable_seqscan", "on"),
    ("optimize", "on"),
    ("debug_print_parse", "off"),
    (FETCH_TIMEOUT, "0"),
];

/// Longest value, and the only names: a client cannot fill memory with settings.
const VALUE_BYTES_MAX: usize = 4096;

/// The settings of one session.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// By name as the tables above spell it; those without an entry have their default.
    changed: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Name as documented, and value.
    pub(super) fn get(&self, name: &str) -> Option<(&'static str, &str)> {
        let alias = if name.eq_ignore_ascii_case("timezone") { "TimeZone" } else { name };
        let (name, default) = FIXED.iter().chain(DEFAULTS).find(|(own, _)| own.eq_ignore_ascii_case(alias))?;
        Some((name, self.changed.get(name).map_or(default, String::as_str)))
    }

    /// Whether there is such a setting.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All names and values, by name.
    pub(super) fn all(&self) -> Vec<(&'static str, &str)> {
        let mut all: Vec<_> = FIXED.iter().chain(DEFAULTS).filter_map(|(name, _)| self.get(name)).collect();
        all.sort_by_key(|(name, _)| name.to_lowercase());
        all
    }

    /// Those that are reported to the client at the start.
    pub(super) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        REPORTED.iter().filter_map(|name| self.get(name))
    }

    /// Sets a value, or the default (`None`); returns the name if the client has to be told.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<&'static str>, Failure> {
        let Some((name, now)) = self.get(name) else {
            return Err(Failure::new(State("42704"), format!("unrecognized configuration parameter \"{name}\"")));
        };
        let Some(value) = value else {
            self.changed.remove(name);
            return Ok(REPORTED.contains(&name).then_some(name));
        };
        let value = checked(name, value)?;
        if FIXED.iter().any(|(fixed, _)| *fixed == name) {
            return match now.eq_ignore_ascii_case(&value) {
                true => Ok(None),
                false => Err(Failure::new(State("55P02"), format!("parameter \"{name}\" cannot be changed"))),
            };
        }
        self.changed.insert(name, value);
        Ok(REPORTED.contains(&name).then_some(name))
    }

    /// The user's name, which is read-only.
    pub(super) fn set_user(&mut self, name: &str) {
        self.changed.insert("session_authorization", name.to_owned());
    }

    /// How the client calls itself.
    pub(super) fn application(&self) -> &str {
        self.get("application_name").map_or("", |(_, value)| value)
    }

    /// `None` = no limit.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        self.get("statement_timeout").and_then(|(_, value)| duration(value)).filter(|limit| !limit.is_zero())
    }

    /// `None` = portals wait.
    pub(super) fn fetch_timeout(&self) -> Option<Duration> {
        self.get(FETCH_TIMEOUT).and_then(|(_, value)| duration(value)).filter(|limit| !limit.is_zero())
    }
}

fn checked(name: &'static str, value: &str) -> Result<String, Failure> {
    let wrong = |what: &str| {
        let failure = Failure::new(State("22023"), format!("invalid value for parameter \"{name}\": \"{value}\""));
        failure.with_hint(what)
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err(Failure::new(State("22023"), format!("the value of \"{name}\" exceeds {VALUE_BYTES_MAX} bytes")));
    }
    let plain = value.to_ascii_lowercase().replace(['-', '_'], "");
    match name {
        "client_encoding" if !["utf8", "unicode", "'utf8'"].contains(&plain.as_str()) => {
            Err(wrong("texts are UTF8 here"))
        }
        "client_encoding" => Ok("UTF8".to_owned()),
        "DateStyle" if !plain.contains("iso") && !["mdy", "dmy", "ymd"].contains(&plain.as_str()) => {
            Err(wrong("dates are shown in ISO style here"))
        }
        "DateStyle" => Ok("ISO, MDY".to_owned()),
        // Instants are shown with their offset, so that every client understands them.
        "TimeZone" => Ok("UTC".to_owned()),
        "statement_timeout" | FETCH_TIMEOUT if duration(value).is_none() => {
            Err(wrong("valid values are 500, '500ms', '5s', '1min' and 0 for none"))
        }
        "standard_conforming_strings" if plain != "on" && plain != "true" => {
            Err(wrong("a backslash means itself in a string here"))
        }
        _ => Ok(value.to_owned()),
    }
}

/// `500` (milliseconds), `500ms`, `5s`, `1min`, `1 minute`, `2h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_read_back() {
        let mut settings = Settings::default();
        assert_eq!(settings.get("timezone"), Some(("TimeZone", "UTC")));
        assert!(matches!(settings.set("application_name", Some("psql")), Ok(Some("application_name"))));
        assert_eq!(settings.application(), "psql");
        assert!(matches!(settings.set("STATEMENT_TIMEOUT", Some("5s")), Ok(None)));
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(5)));
        assert!(settings.set("statement_timeout", Some("soon")).is_err());
        assert!(settings.set("statement_timeout", None).is_ok() && settings.statement_timeout().is_none());
        assert!(settings.set("client_encoding", Some("LATIN1")).is_err());
        assert!(settings.set("client_encoding", Some("utf-8")).is_ok());
        assert_eq!(settings.set("server_version", Some("9")).unwrap_err().state.0, "55P02");
        assert_eq!(settings.set("no_such", Some("1")).unwrap_err().state.0, "42704");
        assert_eq!(duration("1 min"), Some(Duration::from_secs(60)));
    }
}
