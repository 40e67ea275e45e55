//! Settings of a process as one of several of its service.

use super::Config;
use super::node_secret::{CA_FILE, SECRET_FILE};
use crate::error::{Error, Result};
use axum::http::Uri;

/// The stable name of a process among those of its service.
pub(crate) const SLOT: &str = "tidegate.slot";
/// ksqlDB's property for the address at which other processes of the service reach this one.
pub(crate) const ADVERTISED_LISTENER: &str = "ksql.advertised.listener";
/// The slot of a process that is not given one.
pub const DEFAULT_SLOT: &str = "0";
/// Characters of a slot: it is part of transactional ids and names of groups.
const SLOT_CHARS_MAX: usize = 64;

/// Those that are fixed at the start.
pub(super) const CLUSTER_SETTINGS: [&str; 4] = [SLOT, ADVERTISED_LISTENER, SECRET_FILE, CA_FILE];

impl Config {
    /// The process's slot: the property `tidegate.slot`. Two processes of a service with different slots share its queries; a
    /// second one with the same slot is refused.
    pub fn slot(&self) -> &str {
        self.properties.get(SLOT).map_or(DEFAULT_SLOT, String::as_str)
    }

    /// Where other processes reach this one, if it is configured: the property `ksql.advertised.listener`.
    pub fn advertised_listener(&self) -> Option<&str> {
        self.properties.get(ADVERTISED_LISTENER).map(String::as_str)
    }
}

/// An error if one of these settings cannot have this value.
pub(super) fn check(name: &str, value: &str) -> Result<()> {
    match name {
        SLOT => check_slot(value),
        ADVERTISED_LISTENER => check_listener(value),
        // Files: what is wrong with one is reported when it is read.
        _ => Ok(()),
    }
}

fn check_slot(value: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match !value.is_empty() && value.len() <= SLOT_CHARS_MAX && value.chars().all(is_plain) {
        true => Ok(()),
        false => Err(Error::statement(format!("{SLOT} cannot be '{value}'"))
            .with_hint(format!("up to {SLOT_CHARS_MAX} letters, digits, full stops, underscores and hyphens"))),
    }
}

fn check_listener(value: &str) -> Result<()> {
    let url = value.parse::<Uri>().ok();
    let is_url = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    match url.is_some_and(|url| is_url(&url)) {
        true => Ok(()),
        false => Err(Error::statement(format!("{ADVERTISED_LISTENER} cannot be '{value}'"))
            .with_hint("the URL at which other processes of the service reach this one: http://HOST:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_names_and_listeners_are_urls() {
        for good in ["0", "node-1", "a.b_c"] {
            check(SLOT, good).unwrap();
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(check(SLOT, bad).is_err(), "{bad}");
        }
        for good in ["http://a:8088", "https://[::1]:8088", "http://a.example"] {
            check(ADVERTISED_LISTENER, good).unwrap();
        }
        for bad in ["", "a:8088", "ftp://a", "http://"] {
            assert!(check(ADVERTISED_LISTENER, bad).is_err(), "{bad}");
        }
    }
}
