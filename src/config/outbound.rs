//! What the settings of outbound services have in common: URLs with or without a user, numbers, and how requests are authorized.

use crate::error::{Error, Result};
use crate::types::base64;

/// URLs of one service: more replicas than anyone runs.
const URLS_MAX: usize = 16;
/// Upper limit of times, if they are set.
pub(super) const WAIT_MAX_MS: u64 = 600_000;
/// What to do with a store that is not PEM.
pub(super) const PEM_HINT: &str =
    "convert the store: keytool -exportcert -rfc for a truststore, openssl pkcs12 -nodes for a keystore";

/// How requests are authorized.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Not at all.
    None,
    /// `user:password`.
    Basic(String),
    /// A token.
    Bearer(String),
}

impl Authorization {
    /// The `Authorization` header.
    pub fn header(&self) -> Option<String> {
        match self {
            Authorization::None => None,
            Authorization::Basic(user) => {
                let mut encoded = Vec::new();
                base64::encode(user.as_bytes(), &mut encoded);
                Some(format!("Basic {}", String::from_utf8_lossy(&encoded)))
            }
            Authorization::Bearer(token) => Some(format!("Bearer {token}")),
        }
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Authorization::None => "None",
            Authorization::Basic(_) => "Basic",
            Authorization::Bearer(_) => "Bearer",
        })
    }
}

/// The entries of a comma-separated list of URLs, each without its user and without a slash at the end, and the user, if it has
/// one. `service` is what the URLs of `setting` lead to.
pub(super) fn split_urls(setting: &str, service: &str, list: &str) -> Result<Vec<(String, Option<String>)>> {
    let urls: Vec<_> = list.split(',').map(|url| split_url(setting, service, url.trim())).collect::<Result<_>>()?;
    match urls.len() > URLS_MAX {
        true => Err(Error::statement(format!("{setting} names {} URLs, at most {URLS_MAX}", urls.len()))),
        false => Ok(urls),
    }
}

fn split_url(setting: &str, service: &str, url: &str) -> Result<(String, Option<String>)> {
    let wrong = |why: &str| {
        let noun = service.rsplit(' ').next().unwrap_or(service);
        Error::statement(format!("{setting} has an entry that is no URL of {service}: {why}"))
            .with_hint(format!("http://HOST:PORT or https://HOST:PORT, with a path if the {noun} has one"))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(wrong("the scheme is neither http nor https"));
    }
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (user, host) = match rest[..authority_end].rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, &rest[..authority_end]),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(wrong("it has no host"));
    }
    let path = rest[authority_end..].trim_end_matches('/');
    Ok((format!("{scheme}://{host}{path}"), user.map(unescaped)))
}

/// A number that was checked when it was set, or the default.
pub(super) fn number(value: Option<&str>, default: u64) -> u64 {
    value.and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// `%40` -> `@`: passwords in URLs are escaped.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| tail.get(..2)).flatten();
        let value = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
