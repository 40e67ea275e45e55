//! Settings of the client of an external schema registry: `ksql.schema.registry.*`, named as ksqlDB and Confluent's client name them.
//!
//! ```text
//! --set ksql.schema.registry.url=https://a:8081,https://b:8081      tried in turn
//! --set ksql.schema.registry.basic.auth.credentials.source=USER_INFO
//! --set ksql.schema.registry.basic.auth.user.info=user:password     or in the URL: https://user:password@a:8081
//! --set ksql.schema.registry.ssl.truststore.location=ca.pem         PEM, as all stores here
//! ```
//!
//! They are fixed at the start of the process. Without a URL, or with `built-in`, there is no external registry. A setting that this client does not
//! carry out is an error, because a connection that is less protected than asked for must not be made.

use super::outbound::{Authorization, PEM_HINT, WAIT_MAX_MS, number, split_urls};
use super::{Config, LogConfig, STATE_DIR};
use crate::error::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

/// The prefix of all of them.
pub const REGISTRY: &str = "ksql.schema.registry.";
/// The comma-separated URLs of the registry.
pub const REGISTRY_URL: &str = "ksql.schema.registry.url";

/// What they are settings of.
const SERVICE: &str = "a registry";
/// The value of [`REGISTRY_URL`] that names the built-in registry, which is used without a URL, too.
const BUILT_IN: &str = "built-in";

/// Attempts after the first, as in Confluent's client.
const RETRIES: u32 = 3;
/// More would hold up other statements for longer than they wait.
const RETRIES_MAX: u64 = 10;
/// First pause between attempts; it doubles. Confluent's client waits for a second: a statement is waited for.
const RETRY_WAIT_MS: u64 = 250;
/// Longest pause between attempts.
const RETRY_WAIT_MAX_MS: u64 = 5_000;
/// How long a response may take. Statements that wait for one that waits for the registry give up after 30 s.
const READ_TIMEOUT_MS: u64 = 10_000;

/// The settings, without their prefix, and what each does.
pub const REGISTRY_SETTINGS: [(&str, &str); 21] = [
    ("url", "URLs of an external registry, tried in turn; a user in a URL is its user:password"),
    ("basic.auth.credentials.source", "URL (the default) or USER_INFO"),
    ("basic.auth.user.info", "user:password, for USER_INFO"),
    ("bearer.auth.credentials.source", "STATIC_TOKEN"),
    ("bearer.auth.token", "the token"),
    ("bearer.auth.logical.cluster", "sent as the header target-sr-cluster"),
    ("bearer.auth.identity.pool.id", "sent as the header Confluent-Identity-Pool-Id"),
    ("ssl.truststore.location", "PEM file of trusted certificates; without it, those of the system"),
    ("ssl.truststore.type", "PEM"),
    ("ssl.keystore.location", "PEM file with the client's certificate and its key"),
    ("ssl.keystore.type", "PEM"),
    ("ssl.endpoint.identification.algorithm", "https: host names are always verified"),
    ("max.retries", "attempts after the first: 3"),
    ("retries.wait.ms", "first pause between attempts, which doubles: 250"),
    ("retries.max.wait.ms", "longest pause between attempts: 5000"),
    ("http.read.timeout.ms", "how long a response may take: 10000"),
    ("http.connect.timeout.ms", NO_EFFECT),
    ("latest.cache.ttl.sec", NO_EFFECT),
    ("auto.register.schemas", NO_EFFECT),
    ("use.latest.version", NO_EFFECT),
    ("normalize.schemas", NO_EFFECT),
];

/// Settings of Confluent's client that change nothing here.
const NO_EFFECT: &str =
    "accepted, without effect: connections are given up after 5 s, versions are not cached, statements register";

/// What the client of a registry is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// URLs without credentials and without a slash at the end, each with its own authorization.
    pub urls: Vec<(String, Authorization)>,
    /// Further headers: name and value.
    pub headers: Vec<(&'static str, String)>,
    /// PEM file of trusted certificates; `None` = the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate and its key.
    pub identity: Option<PathBuf>,
    /// Attempts after the first.
    pub retries: u32,
    /// First pause between attempts.
    pub retry_wait: Duration,
    /// Longest pause.
    pub retry_wait_max: Duration,
    /// How long a response may take.
    pub read_timeout: Duration,
}

impl Config {
    /// The external registry; `None` = the built-in one is used.
    pub fn registry(&self) -> Result<Option<RegistryConfig>> {
        let get = |name: &str| self.properties.get(&format!("{REGISTRY}{name}")).map(String::as_str);
        let Some(urls) = get("url").filter(|urls| !matches!(urls.trim(), "" | BUILT_IN)) else { return Ok(None) };
        let millis = |name: &str, default: u64| Duration::from_millis(number(get(name), default));
        let shared = authorization(&get)?;
        let from_url = get("basic.auth.credentials.source").is_none_or(|source| source == "URL");
        let with_auth = |(url, user): (String, Option<String>)| match user {
            Some(user) if from_url && shared == Authorization::None => (url, Authorization::Basic(user)),
            _ => (url, shared.clone()),
        };
        let urls = split_urls(REGISTRY_URL, SERVICE, urls)?.into_iter().map(with_auth).collect();
        let header = |name, header| get(name).map(|value| (header, value.to_owned()));
        let headers = [
            header("bearer.auth.logical.cluster", "target-sr-cluster"),
            header("bearer.auth.identity.pool.id", "confluent-identity-pool-id"),
        ];
        Ok(Some(RegistryConfig {
            urls,
            headers: headers.into_iter().flatten().collect(),
            ca: get("ssl.truststore.location").map(PathBuf::from),
            identity: get("ssl.keystore.location").map(PathBuf::from),
            retries: u32::try_from(number(get("max.retries"), u64::from(RETRIES))).unwrap_or(RETRIES),
            retry_wait: millis("retries.wait.ms", RETRY_WAIT_MS),
            retry_wait_max: millis("retries.max.wait.ms", RETRY_WAIT_MAX_MS),
            read_timeout: millis("http.read.timeout.ms", READ_TIMEOUT_MS),
        }))
    }

    /// Where the schemas of ids are kept; `None` = nowhere.
    pub fn schemas_dir(&self) -> Option<PathBuf> {
        match (self.properties.get(STATE_DIR), &self.log) {
            (Some(dir), _) => Some(PathBuf::from(dir)),
            (None, LogConfig::Embedded(data)) => Some(data.clone()),
            (None, LogConfig::Temporary | LogConfig::Kafka { .. }) => None,
        }
    }

    /// The URLs of the external registry without credentials, for people to read.
    pub fn registry_url(&self) -> Option<String> {
        let registry = self.registry().ok().flatten()?;
        Some(registry.urls.iter().map(|(url, _)| url.as_str()).collect::<Vec<_>>().join(","))
    }
}

/// Checks a setting of the registry's client: `name` without the prefix.
pub(super) fn check(name: &str, value: &str) -> Result<()> {
    let full = format!("{REGISTRY}{name}");
    let fail = |text: String, hint: &str| Err(Error::statement(text).with_hint(hint.to_owned()));
    let one_of = |allowed: &[&str], hint: &str| match allowed.contains(&value) {
        true => Ok(()),
        false => fail(format!("{full}={value} is not supported"), hint),
    };
    let milliseconds = |most: u64| match value.parse::<u64>().is_ok_and(|number| number <= most) {
        true => Ok(()),
        false => fail(format!("{full} is a number up to {most}, not {value}"), "the unit is milliseconds or attempts"),
    };
    match name {
        "url" if value.trim() == BUILT_IN => Ok(()),
        "url" => split_urls(REGISTRY_URL, SERVICE, value).map(drop),
        "basic.auth.credentials.source" => {
            one_of(&["URL", "USER_INFO"], "URL takes the user from the URL, USER_INFO from basic.auth.user.info")
        }
        "bearer.auth.credentials.source" => {
            one_of(&["STATIC_TOKEN"], "only STATIC_TOKEN is: the token is in bearer.auth.token")
        }
        "ssl.truststore.type" | "ssl.keystore.type" => one_of(&["PEM"], PEM_HINT),
        "ssl.endpoint.identification.algorithm" => {
            one_of(&["https", "HTTPS"], "the host name of the registry is always verified")
        }
        "max.retries" => milliseconds(RETRIES_MAX),
        "retries.wait.ms" | "retries.max.wait.ms" | "http.read.timeout.ms" => milliseconds(WAIT_MAX_MS),
        _ => match REGISTRY_SETTINGS.iter().find(|(known, _)| *known == name) {
            Some((_, help)) => {
                if *help == NO_EFFECT {
                    tracing::warn!(property = full, "a property without effect is set");
                }
                Ok(())
            }
            None => {
                let error = Error::statement(format!("{full} is not supported"));
                Err(match crate::types::nearest(name, REGISTRY_SETTINGS.iter().map(|(name, _)| *name)) {
                    Some(near) => error.with_hint(format!("did you mean {REGISTRY}{near}?")),
                    None => error.with_hint("COMPATIBILITY.md lists the settings of the schema registry"),
                })
            }
        },
    }
}

fn authorization<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Authorization> {
    let missing = |name: &str, by: &str| {
        Error::statement(format!("{REGISTRY}{name} is not set")).with_detail(format!("{REGISTRY}{by} requires it"))
    };
    if get("bearer.auth.credentials.source").is_some() || get("bearer.auth.token").is_some() {
        let token = get("bearer.auth.token");
        return token
            .map(|token| Authorization::Bearer(token.to_owned()))
            .ok_or_else(|| missing("bearer.auth.token", "bearer.auth.credentials.source"));
    }
    match get("basic.auth.credentials.source") {
        Some("USER_INFO") => get("basic.auth.user.info")
            .map(|user| Authorization::Basic(user.to_owned()))
            .ok_or_else(|| missing("basic.auth.user.info", "basic.auth.credentials.source")),
        _ => Ok(Authorization::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<Option<RegistryConfig>> {
        let mut config = Config::new(LogConfig::Temporary);
        for (name, value) in settings {
            config.set(&format!("{REGISTRY}{name}"), value)?;
        }
        config.registry()
    }

    #[test]
    fn without_a_url_there_is_no_registry() {
        assert_eq!(config(&[("max.retries", "1")]).unwrap(), None);
    }

    #[test]
    fn urls_lose_their_users_and_keep_their_paths() {
        let registry = config(&[("url", "http://a:8081/, https://u:p%40s@b/apis/ccompat/v7/")]).unwrap().unwrap();
        let expected = [
            ("http://a:8081".to_owned(), Authorization::None),
            ("https://b/apis/ccompat/v7".to_owned(), Authorization::Basic("u:p@s".to_owned())),
        ];
        assert_eq!(registry.urls, expected);
        let given =
            [("url", "http://u:x@a"), ("basic.auth.credentials.source", "USER_INFO"), ("basic.auth.user.info", "v:y")];
        let registry = config(&given).unwrap().unwrap();
        assert_eq!(registry.urls, [("http://a".to_owned(), Authorization::Basic("v:y".to_owned()))]);
        assert!(!format!("{registry:?}").contains("v:y"), "secrets are not printed");
    }

    #[test]
    fn what_is_not_carried_out_is_refused() {
        for (name, value) in [
            ("url", "a:8081"),
            ("url", "ftp://a"),
            ("bearer.auth.credentials.source", "OAUTHBEARER"),
            ("basic.auth.credentials.source", "SASL_INHERIT"),
            ("ssl.truststore.type", "JKS"),
            ("ssl.endpoint.identification.algorithm", ""),
            ("proxy.host", "p"),
            ("max.retries", "1000"),
        ] {
            assert!(config(&[(name, value)]).is_err(), "{name}={value}");
        }
        let error = config(&[("url", "http://a"), ("basic.auth.credentials.source", "USER_INFO")]).unwrap_err();
        assert!(error.message().contains("basic.auth.user.info is not set"), "{error}");
    }
}
