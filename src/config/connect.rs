//! Settings of the client of Kafka Connect: `ksql.connect.*`, named as ksqlDB names them.
//!
//! ```text
//! --set ksql.connect.url=http://a:8083,http://b:8083         workers of one cluster, tried in turn
//! --set ksql.connect.basic.auth.credentials.source=FILE
//! --set ksql.connect.basic.auth.credentials.file=FILE        username=... and password=..., read at each request
//! --set ksql.connect.ssl.truststore.location=ca.pem          PEM, as all stores here
//! ```
//!
//! They are fixed at the start of the process. A setting that this client does not carry out is an error, because a connection that
//! is less protected than asked for must not be made. The credentials of a user of Tidegate are never sent to Connect.

use super::Config;
use super::outbound::{Authorization, PEM_HINT, WAIT_MAX_MS, number, split_urls};
use crate::error::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

/// The prefix of all of them.
pub const CONNECT: &str = "ksql.connect.";
/// The comma-separated URLs of the workers.
pub const CONNECT_URL: &str = "ksql.connect.url";
/// ksqlDB's default of [`CONNECT_URL`].
const DEFAULT_CONNECT_URL: &str = "http://localhost:8083";

/// What they are settings of.
const SERVICE: &str = "a worker";
/// How long a response may take, as in ksqlDB.
const REQUEST_TIMEOUT_MS: u64 = 5_000;

/// The settings, without their prefix, and what each does.
pub const CONNECT_SETTINGS: [(&str, &str); 11] = [
    (
        "url",
        "URLs of Kafka Connect's workers, tried in turn: http://localhost:8083; a user in a URL is its user:password",
    ),
    ("basic.auth.credentials.source", "NONE (the default) or FILE"),
    ("basic.auth.credentials.file", "for FILE: a file with the lines username=... and password=..."),
    ("basic.auth.credentials.reload", "accepted, without effect: the file is read at each request"),
    ("basic.auth.fail.on.unreadable.credentials", "true: without readable credentials nothing is sent; default false"),
    ("request.timeout.ms", "how long a response may take: 5000"),
    ("ssl.truststore.location", "PEM file of trusted certificates; without it, those of the system"),
    ("ssl.truststore.type", "PEM"),
    ("ssl.keystore.location", "PEM file with the client's certificate and its key"),
    ("ssl.keystore.type", "PEM"),
    ("ssl.endpoint.identification.algorithm", "https: host names are always verified"),
];

/// What the client of Kafka Connect is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectConfig {
    /// URLs without credentials and without a slash at the end, each with its own authorization.
    pub urls: Vec<(String, Authorization)>,
    /// The file with user and password, which take the place of those in the URLs.
    pub credentials: Option<PathBuf>,
    /// Whether nothing is sent if that file cannot be read.
    pub requires_credentials: bool,
    /// PEM file of trusted certificates; `None` = the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate and its key.
    pub identity: Option<PathBuf>,
    /// How long a response may take.
    pub timeout: Duration,
}

impl Config {
    /// How Kafka Connect is reached.
    pub fn connect(&self) -> Result<ConnectConfig> {
        let get = |name: &str| self.properties.get(&format!("{CONNECT}{name}")).map(String::as_str);
        let urls = get("url").map(str::trim).filter(|urls| !urls.is_empty()).unwrap_or(DEFAULT_CONNECT_URL);
        let with_auth =
            |(url, user): (String, Option<String>)| (url, user.map_or(Authorization::None, Authorization::Basic));
        let from_file = get("basic.auth.credentials.source").is_some_and(|source| source.eq_ignore_ascii_case("FILE"));
        let credentials = get("basic.auth.credentials.file").filter(|file| !file.is_empty()).map(PathBuf::from);
        if from_file && credentials.is_none() {
            return Err(Error::statement(format!(
                "'{CONNECT}basic.auth.credentials.file' cannot be empty if '{CONNECT}basic.auth.credentials.source' \
                 is set to 'FILE'"
            )));
        }
        Ok(ConnectConfig {
            urls: split_urls(CONNECT_URL, SERVICE, urls)?.into_iter().map(with_auth).collect(),
            credentials: credentials.filter(|_| from_file),
            requires_credentials: get("basic.auth.fail.on.unreadable.credentials") == Some("true"),
            ca: get("ssl.truststore.location").map(PathBuf::from),
            identity: get("ssl.keystore.location").map(PathBuf::from),
            timeout: Duration::from_millis(number(get("request.timeout.ms"), REQUEST_TIMEOUT_MS)),
        })
    }

    /// The URLs of Kafka Connect without credentials, for people to read.
    pub fn connect_url(&self) -> String {
        let urls = self.connect().map(|connect| connect.urls).unwrap_or_default();
        urls.iter().map(|(url, _)| url.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// Checks a setting of the client of Kafka Connect: `name` without the prefix.
pub(super) fn check(name: &str, value: &str) -> Result<()> {
    let full = format!("{CONNECT}{name}");
    let one_of = |allowed: &[&str], hint: &str| match allowed.iter().any(|known| known.eq_ignore_ascii_case(value)) {
        true => Ok(()),
        false => Err(Error::statement(format!("{full}={value} is not supported")).with_hint(hint.to_owned())),
    };
    match name {
        "url" => split_urls(CONNECT_URL, SERVICE, value).map(drop),
        "basic.auth.credentials.source" => one_of(
            &["NONE", "FILE"],
            "FILE takes user and password from the file that basic.auth.credentials.file names",
        ),
        "basic.auth.credentials.reload" | "basic.auth.fail.on.unreadable.credentials" => {
            one_of(&["true", "false"], "it is true or false")
        }
        "ssl.truststore.type" | "ssl.keystore.type" => one_of(&["PEM"], PEM_HINT),
        "ssl.endpoint.identification.algorithm" => one_of(&["https"], "the host name of a worker is always verified"),
        "request.timeout.ms" => match value.parse::<u64>().is_ok_and(|number| (1..=WAIT_MAX_MS).contains(&number)) {
            true => Ok(()),
            false => Err(Error::statement(format!("{full} is a number from 1 to {WAIT_MAX_MS}, not {value}"))
                .with_hint("the unit is milliseconds")),
        },
        "worker.config" => Err(Error::statement(format!("{full} is not supported"))
            .with_detail("Kafka Connect runs in Java, in a process of its own")
            .with_hint(format!("start a worker with connect-distributed.sh, and name it with {CONNECT_URL}"))),
        _ => match CONNECT_SETTINGS.iter().any(|(known, _)| *known == name) {
            true => Ok(()),
            false => {
                let error = Error::statement(format!("{full} is not supported"));
                Err(match crate::types::nearest(name, CONNECT_SETTINGS.iter().map(|(name, _)| *name)) {
                    Some(near) => error.with_hint(format!("did you mean {CONNECT}{near}?")),
                    None => error.with_hint("COMPATIBILITY.md lists the settings of Kafka Connect"),
                })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;

    fn config(settings: &[(&str, &str)]) -> Result<ConnectConfig> {
        let mut config = Config::new(LogConfig::Temporary);
        for (name, value) in settings {
            config.set(&format!("{CONNECT}{name}"), value)?;
        }
        config.connect()
    }

    #[test]
    fn without_settings_it_is_where_ksqldb_expects_it() {
        let connect = config(&[]).unwrap();
        assert_eq!(connect.urls, [("http://localhost:8083".to_owned(), Authorization::None)]);
        assert_eq!(connect.timeout, Duration::from_secs(5));
    }

    #[test]
    fn users_are_in_the_url_or_in_a_file() {
        let connect = config(&[("url", "http://u:p%40s@a:1, https://b/connect/")]).unwrap();
        let expected = [
            ("http://a:1".to_owned(), Authorization::Basic("u:p@s".to_owned())),
            ("https://b/connect".to_owned(), Authorization::None),
        ];
        assert_eq!(connect.urls, expected);
        assert!(!format!("{connect:?}").contains("p@s"), "secrets are not printed");
        assert_eq!(config(&[("basic.auth.credentials.file", "f")]).unwrap().credentials, None);
        let file = [("basic.auth.credentials.source", "FILE"), ("basic.auth.credentials.file", "f")];
        assert_eq!(config(&file).unwrap().credentials, Some(PathBuf::from("f")));
        let error = config(&file[..1]).unwrap_err();
        assert!(error.message().starts_with("'ksql.connect.basic.auth.credentials.file' cannot be empty"), "{error}");
    }

    #[test]
    fn what_is_not_carried_out_is_refused() {
        for (name, value) in [
            ("url", "a:8083"),
            ("basic.auth.credentials.source", "KAFKA"),
            ("ssl.truststore.type", "JKS"),
            ("ssl.keystore.password", "x"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("request.timeout.ms", "0"),
            ("worker.config", "connect.properties"),
            ("request.headers.plugin", "x.Y"),
        ] {
            assert!(config(&[(name, value)]).is_err(), "{name}={value}");
        }
        let error = config(&[("request.timeout", "1")]).unwrap_err();
        assert_eq!(error.hint(), Some("did you mean ksql.connect.request.timeout.ms?"));
    }
}
