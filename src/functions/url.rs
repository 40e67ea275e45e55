//! URLs, taken apart as `java.net.URI` does it.
//!
//! ```text
//! http://user@host:8080/a/b?q=1#top
//! scheme  authority     path query fragment
//! ```

use super::Param::Is;
use super::kernel::{Texts, numbers, strings};
use super::{Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType::{Integer, String as Text};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ColumnarValue;

const URL: &str = "URL";

/// A function of a URL's part.
macro_rules! part {
    ($part:expr) => {
        Overload::fallible(&[Is(Text)], Returns::Type(Text), |args, rows, errors| part(args, rows, errors, $part))
    };
}

pub(super) static ENTRIES: &[Entry] = &[
    entry!("URL_ENCODE_PARAM", URL, "Writes a text as the value of a parameter in a URL.",
    ["URL_ENCODE_PARAM('a b&c')" => "a+b%26c"],
    [Overload::new(&[Is(Text)], Returns::Type(Text), |args, rows, _| {
        let texts = Texts::new(args, 0)?;
        strings(rows, |row, out| texts.get(row).map(|t| encode(t, out)).is_some())
    })]),
    entry!("URL_DECODE_PARAM", URL, "Reads the value of a parameter in a URL.", ["URL_DECODE_PARAM('a+b%26c')" => "a b&c"], [
        Overload::fallible(&[Is(Text)], Returns::Type(Text), |args, rows, errors| {
            let texts = Texts::new(args, 0)?;
            strings(rows, |row, out| {
                let Some(text) = texts.get(row) else { return false };
                let decoded = decode(text, true);
                match &decoded {
                    Some(decoded) => out.push_str(decoded),
                    None => errors.fail(row),
                }
                decoded.is_some()
            })
        })
    ]),
    entry!("URL_EXTRACT_PROTOCOL", URL, "Returns the protocol of a URL.",
        ["URL_EXTRACT_PROTOCOL('http://host:80/a?b#c')" => "http"], [part!(|uri| uri.scheme.map(str::to_owned))]),
    entry!("URL_EXTRACT_HOST", URL, "Returns the host of a URL.",
        ["URL_EXTRACT_HOST('http://user@host:80/a?b#c')" => "host"], [part!(|uri| uri.host.map(str::to_owned))]),
    entry!("URL_EXTRACT_PATH", URL, "Returns the path of a URL.",
        ["URL_EXTRACT_PATH('http://host/a%20b?c')" => "/a b"], [part!(|uri| decode(uri.path, false))]),
    entry!("URL_EXTRACT_QUERY", URL, "Returns the query of a URL.",
        ["URL_EXTRACT_QUERY('http://host/a?b=1&c')" => "b=1&c"], [part!(|uri| decode(uri.query?, false))]),
    entry!("URL_EXTRACT_FRAGMENT", URL, "Returns the fragment of a URL.",
        ["URL_EXTRACT_FRAGMENT('http://host/a#top')" => "top"], [part!(|uri| decode(uri.fragment?, false))]),
    entry!("URL_EXTRACT_PORT", URL, "Returns the port of a URL, NULL if it names none.",
    ["URL_EXTRACT_PORT('http://host:8080/a')" => "8080"],
    [Overload::fallible(&[Is(Text)], Returns::Type(Integer), |args, rows, errors| {
        let texts = Texts::new(args, 0)?;
        numbers::<Int32Type>(rows, |row| {
            let uri = Uri::parse(texts.get(row)?);
            if uri.is_none() {
                errors.fail(row);
            }
            uri?.port
        })
    })]),
    entry!("URL_EXTRACT_PARAMETER", URL, "Returns the value of a parameter in the query of a URL.",
        ["URL_EXTRACT_PARAMETER('http://host/?a=1&b=2', 'b')" => "2"],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Text), parameter)]),
];

#[derive(Clone, Copy)]
struct Uri<'a> {
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<i32>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// `None` = Java refuses the text.
    fn parse(text: &'a str) -> Option<Uri<'a>> {
        let illegal = |c: char| c <= ' ' || "\"<>\\^`{|}".contains(c) || c == '\u{7f}';
        if text.contains(illegal) {
            return None;
        }
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, after)) if is_scheme(scheme) => (Some(scheme), after),
            Some(("", _)) => return None,
            _ => (None, rest),
        };
        // What follows the scheme of an opaque URI has no parts.
        if scheme.is_some() && !rest.starts_with('/') {
            return (!rest.is_empty()).then_some(Uri {
                scheme,
                host: None,
                port: None,
                path: "",
                query: None,
                fragment,
            });
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let Some(after) = rest.strip_prefix("//") else {
            return Some(Uri { scheme, host: None, port: None, path: rest, query, fragment });
        };
        let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port.parse().ok()),
            _ => (server, None),
        };
        let host = Some(host).filter(|h| !h.is_empty() && is_host(h));
        Some(Uri { scheme, host, port: port.filter(|_| host.is_some()), path, query, fragment })
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Java gives no host to an authority that is no server's name.
fn is_host(text: &str) -> bool {
    let bracketed = text.starts_with('[') && text.ends_with(']');
    bracketed || text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
}

fn part(
    args: &[ColumnarValue],
    rows: usize,
    errors: &mut ErrorSink,
    part: impl Fn(Uri<'_>) -> Option<String>,
) -> Result<ColumnarValue> {
    let texts = Texts::new(args, 0)?;
    strings(rows, |row, out| {
        let Some(text) = texts.get(row) else { return false };
        let Some(uri) = Uri::parse(text) else {
            errors.fail(row);
            return false;
        };
        let found = part(uri);
        out.push_str(found.as_deref().unwrap_or_default());
        found.is_some()
    })
}

fn parameter(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, names) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    strings(rows, |row, out| {
        let (Some(text), Some(wanted)) = (texts.get(row), names.get(row)) else { return false };
        let Some(uri) = Uri::parse(text) else {
            errors.fail(row);
            return false;
        };
        for pair in uri.query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if decode(name, false).as_deref() == Some(wanted) {
                out.push_str(&decode(value, false).unwrap_or_default());
                return true;
            }
        }
        false
    })
}

/// As `URLEncoder` writes it.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || b".-*_".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
}

/// `%41` is a byte; in the value of a form a plus is a blank.
fn decode(text: &str, form: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'%' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &after[2..];
            }
            b'+' if form => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
