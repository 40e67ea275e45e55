//! Values of options, read and checked.

use super::{Arguments, SERVER_PORT};
use crate::engine::access::TopicRights;
use crate::engine::introspect::topics::TailFrom;
use crate::types::nearest;
use clap::CommandFactory;
use std::net::IpAddr;
use std::time::Duration;

/// Does this host, with its port, name this machine?
pub(super) fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `host:port` of `http://host:port` or `https://host:port`.
pub(super) fn address_of(url: &str) -> Result<String, String> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err(neither(url));
    };
    let host = rest.trim_end_matches('/');
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    match port {
        _ if host.is_empty() || host.contains(['/', '@', ' ']) => Err("expected http://HOST:PORT".to_owned()),
        None => Ok(format!("{host}:{SERVER_PORT}")),
        Some(port) if port.parse::<u16>().is_ok() => Ok(host.to_owned()),
        Some(port) => Err(format!("invalid port {port}")),
    }
}

/// The URL with its port, and nothing behind it.
pub(in crate::cli) fn base_of(url: &str) -> Result<String, String> {
    let scheme = if url.starts_with("https://") { "https" } else { "http" };
    address_of(url).map(|address| format!("{scheme}://{address}"))
}

fn neither(word: &str) -> String {
    let command = Arguments::command();
    let near = nearest(word, command.get_subcommands().map(clap::Command::get_name));
    match near {
        Some(near) => format!("unknown command {word}, did you mean {near}?"),
        None if word.contains(char::is_whitespace) => {
            format!("expected a command; tidegate -c '{word}' runs a statement")
        }
        None if std::path::Path::new(word).extension().is_some_and(|e| e == "sql") => format!(
            "expected a command; `tidegate sql -f {word}` runs its statements, `tidegate run {word}` keeps its queries running"
        ),
        None => format!("expected a command, or a server as http://HOST:PORT or https://HOST:PORT, got {word}"),
    }
}

/// The id of a query, as a statement has it; `all` of every query.
pub(super) fn query_id(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
    let is_id = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    match is_id(inner.unwrap_or(text)) {
        true => Ok(text.to_owned()),
        false => Err("expected the id of a query; tidegate query lists them".to_owned()),
    }
}

/// `NAME=VALUE`.
pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A header; blanks belong to its value.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn topics(list: &str) -> Result<String, String> {
    TopicRights::parse(list).map(|_| list.replace(' ', ""))
}

pub(super) fn url(text: &str) -> Result<String, String> {
    address_of(text).map(|_| text.to_owned())
}

/// A time: milliseconds, as ksqlDB's command line takes them, or a number with a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "expected a time, such as 500ms, 30s or 5m".to_owned())?;
    let millis = match unit.trim() {
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" | "min" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(format!("unknown unit {}, expected ms, s, m or h", unit.trim())),
    };
    millis.map(Duration::from_millis).ok_or_else(|| "the time is too long".to_owned())
}

/// Where printing begins: an offset, `-N` before the end, `@TIME`.
pub(super) fn tail_from(text: &str) -> Result<TailFrom, String> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|n| *n >= 0);
    let wrong = || "expected an offset, -N for N records before the end, or @TIME in milliseconds".to_owned();
    match (text.strip_prefix('@'), text.strip_prefix('-')) {
        (Some(time), _) => number(time).map(TailFrom::Time),
        (_, Some(last)) => number(last).map(TailFrom::Last),
        (None, None) => number(text).map(TailFrom::Offset),
    }
    .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_milliseconds_unless_it_has_a_unit() {
        assert_eq!(duration("500"), Ok(Duration::from_millis(500)));
        assert_eq!((duration("2s"), duration("5m")), (Ok(Duration::from_secs(2)), Ok(Duration::from_secs(300))));
        assert!(duration("").is_err() && duration("2 weeks").is_err() && duration("99999999999999999999").is_err());
    }

    #[test]
    fn a_word_that_is_no_command_is_led_to_one() {
        assert!(neither("SHOW STREAMS;").contains("tidegate -c 'SHOW STREAMS;'"));
        assert!(neither("x.sql").contains("tidegate run x.sql"));
        assert!(neither("srever").contains("did you mean server?"));
    }
}
