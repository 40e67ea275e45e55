//! Settings of the Kafka clients: a file of `name=value` lines, as Kafka's own tools and librdkafka's read them.
//!
//! ```text
//! bootstrap.servers=broker.example.com:9094
//! security.protocol=SASL_SSL
//! sasl.mechanism=SCRAM-SHA-512
//! sasl.username=alice
//! sasl.password=...
//! ssl.ca.location=/etc/tidegate/ca.pem
//! ```
//!
//! Only the properties in [`CLIENT_PROPERTIES`] may be set: how a cluster is reached, not what exactly-once rests on (K12).
//! Java's properties for a login (`sasl.jaas.config`) and for PEM files (`ssl.truststore.location`) are accepted, so that a file
//! for Kafka's console tools works here. A value is the text after the first `=`, unchanged: no escapes, no continued lines.
//! Secrets are never shown, neither in errors nor by `Debug`.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;

/// A setting of the clients.
#[derive(Debug)]
pub struct ClientProperty {
    /// Name, librdkafka's where it differs from Java's.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Whether its value is hidden.
    pub secret: bool,
}

const fn open(name: &'static str, help: &'static str) -> ClientProperty {
    ClientProperty { name, help, secret: false }
}

const fn secret(name: &'static str, help: &'static str) -> ClientProperty {
    ClientProperty { name, help, secret: true }
}

/// All supported settings, in the order of the table in COMPATIBILITY.md.
pub const CLIENT_PROPERTIES: &[ClientProperty] = &[
    open("bootstrap.servers", "brokers, unless --bootstrap-servers names them: HOST:PORT,..."),
    open("security.protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
    open("sasl.mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
    open("sasl.mechanisms", "the same"),
    open("sasl.username", "who logs in"),
    secret("sasl.password", "the password"),
    secret("sasl.jaas.config", "both in Java's words: ...LoginModule required username=\"...\" password=\"...\";"),
    open("ssl.ca.location", "PEM file of the authorities that broker certificates are checked against"),
    open("ssl.ca.pem", "the same as text"),
    open("ssl.truststore.location", "the same in Java's words, of the type PEM"),
    open("ssl.truststore.type", "PEM"),
    open("ssl.certificate.location", "PEM file of our certificate, for mutual TLS"),
    open("ssl.certificate.pem", "the same as text"),
    open("ssl.key.location", "PEM file of our key"),
    secret("ssl.key.pem", "the same as text"),
    secret("ssl.key.password", "password of the key"),
    open("ssl.keystore.location", "PKCS#12 file of certificate and key, instead of the two PEM files"),
    secret("ssl.keystore.password", "its password"),
    open("ssl.crl.location", "PEM file of certificates that were revoked"),
    open("ssl.endpoint.identification.algorithm", "https = the certificate names the host (default); none"),
    open("enable.ssl.certificate.verification", "false = any certificate is taken"),
    open("ssl.cipher.suites", "ciphers, as OpenSSL names them"),
    open("client.id", "name in the broker's logs and quotas"),
    open("client.rack", "rack of this process, to read from the nearest copy"),
    open("broker.address.family", "any, v4 or v6"),
    open("client.dns.lookup", "use_all_dns_ips or resolve_canonical_bootstrap_servers_only"),
    open("connections.max.idle.ms", "close connections that were not used for so long"),
    open("socket.keepalive.enable", "true = the system probes idle connections"),
    open("socket.connection.setup.timeout.ms", "time for a connection with TLS and login"),
    open("reconnect.backoff.ms", "first pause before a broker is connected to again"),
    open("reconnect.backoff.max.ms", "longest such pause"),
    open("metadata.max.age.ms", "how long what is known of topics and brokers is believed"),
    open("compression.type", "of what is written: none, gzip, snappy, lz4 or zstd"),
];

/// Prefixes of settings that Tidegate manages itself.
const OWN: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.idempotence",
    "group.",
    "isolation.level",
    "key.",
    "linger.ms",
    "max.in.flight",
    "max.poll.",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "partitioner",
    "retries",
    "session.timeout.ms",
    "transaction",
    "value.",
];

/// SASL mechanisms of this build.
const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Validated settings of the clients, in librdkafka's names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientProperties(BTreeMap<String, String>);

impl ClientProperties {
    /// Reads the text of a file; `place` names it in errors.
    pub fn read(text: &str, place: &str) -> Result<ClientProperties> {
        let mut properties = ClientProperties::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let at = format!("{place}:{}", number + 1);
            let Some((name, value)) = line.split_once('=') else {
                // Not the line itself: it may be a part of a secret.
                return Err(Error::statement(format!("{at}: expected name=value")));
            };
            properties.set(name.trim(), value.trim(), &at)?;
        }
        Ok(properties)
    }

    fn set(&mut self, name: &str, value: &str, at: &str) -> Result<()> {
        let name = name.strip_prefix("kafka.").unwrap_or(name);
        let Some(known) = CLIENT_PROPERTIES.iter().find(|p| p.name == name) else { return Err(unknown(name, at)) };
        let wrong = |why: String| Error::statement(format!("{at}: {} {why}", known.name)).with_hint(known.help);
        let put = |all: &mut BTreeMap<String, String>, name: &str, value: &str| {
            all.insert(name.to_owned(), value.to_owned());
        };
        match known.name {
            "security.protocol" => {
                let upper = value.to_uppercase();
                if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&upper.as_str()) {
                    return Err(wrong(format!("cannot be '{value}'")));
                }
                put(&mut self.0, name, &upper.to_lowercase());
            }
            "sasl.mechanism" | "sasl.mechanisms" => {
                if !MECHANISMS.contains(&value) {
                    return Err(wrong(format!("cannot be '{value}': this build knows {}", MECHANISMS.join(", "))));
                }
                put(&mut self.0, "sasl.mechanisms", value);
            }
            "sasl.jaas.config" => {
                let missing = |what: &str| wrong(format!("names no {what}"));
                let username = jaas(value, "username").ok_or_else(|| missing("username"))?;
                let password = jaas(value, "password").ok_or_else(|| missing("password"))?;
                put(&mut self.0, "sasl.username", &username);
                put(&mut self.0, "sasl.password", &password);
            }
            "ssl.truststore.type" if value != "PEM" => {
                return Err(wrong(format!("cannot be '{value}'"))
                    .with_hint("openssl pkcs12 -in STORE -nokeys -out ca.pem makes a PEM file of a PKCS#12 store"));
            }
            "ssl.truststore.type" => {}
            "ssl.truststore.location" => put(&mut self.0, "ssl.ca.location", value),
            // Java disables host name verification by an empty value.
            "ssl.endpoint.identification.algorithm" if value.is_empty() => put(&mut self.0, name, "none"),
            _ => put(&mut self.0, name, value),
        }
        Ok(())
    }

    /// Removes and returns the addresses of brokers.
    pub fn take_bootstrap(&mut self) -> Option<String> {
        self.0.remove("bootstrap.servers")
    }

    /// Names and values, for the clients.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether any value is hidden.
    pub fn has_secrets(&self) -> bool {
        self.iter().any(|(name, _)| is_secret(name))
    }

    /// Names and values for display, without secrets.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().map(|(name, value)| (name, if is_secret(name) { "[hidden]" } else { value }))
    }
}

impl fmt::Debug for ClientProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

/// Whether a value is hidden; that of an unknown setting is.
fn is_secret(name: &str) -> bool {
    CLIENT_PROPERTIES.iter().find(|p| p.name == name).is_none_or(|p| p.secret)
}

fn unknown(name: &str, at: &str) -> Error {
    if OWN.iter().any(|own| name.starts_with(own)) {
        return Error::statement(format!("{at}: {name} is Tidegate's own to set"))
            .with_detail("what it promises rests on it")
            .with_hint("leave the line out");
    }
    let error = Error::statement(format!("{at}: unknown client setting {name}"));
    let all: Vec<&str> = CLIENT_PROPERTIES.iter().map(|p| p.name).collect();
    let list = format!("known are {}", all.join(", "));
    match crate::types::nearest(name, all.iter().copied()) {
        Some(near) => error.with_detail(list).with_hint(format!("did you mean {near}?")),
        None => error.with_detail(list),
    }
}

/// The value of `name="..."` in Java's login text.
fn jaas(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let at = rest.find(name)?;
        let begins = rest[..at].chars().next_back().is_none_or(char::is_whitespace);
        let after = rest[at + name.len()..].trim_start();
        rest = &rest[at + name.len()..];
        let Some(value) = after.strip_prefix('=').map(str::trim_start).filter(|_| begins) else { continue };
        return match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => Some(value.split([' ', ';']).next().unwrap_or_default().to_owned()),
        };
    }
}

/// Up to the closing quote; a backslash takes the next character as it is.
fn unquoted(text: &str) -> Option<String> {
    let (mut out, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>> {
        let properties = ClientProperties::read(text, "f")?;
        Ok(properties.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn files_of_java_and_of_librdkafka_say_the_same() {
        let expected = pairs(&[
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.password", "a=b \"c\" \\d"),
            ("sasl.username", "alice"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "/ca.pem"),
        ]);
        let native = "# a comment\n! another\n\n security.protocol = sasl_ssl\nsasl.mechanisms=SCRAM-SHA-512\n\
                      sasl.username=alice\nsasl.password=a=b \"c\" \\d\nkafka.ssl.ca.location=/ca.pem\n";
        assert_eq!(read(native).unwrap(), expected);
        let java = "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\n\
                    ssl.truststore.location=/ca.pem\nsasl.jaas.config=org.apache.kafka.common.security.scram.\
                    ScramLoginModule required username=\"alice\" password=\"a=b \\\"c\\\" \\\\d\";\n";
        assert_eq!(read(java).unwrap(), expected);
    }

    #[test]
    fn brokers_stand_beside_the_settings() {
        let mut properties = ClientProperties::read("bootstrap.servers=a:1,b:2\nclient.rack=r", "f").unwrap();
        assert_eq!(properties.take_bootstrap().as_deref(), Some("a:1,b:2"));
        assert_eq!(properties.take_bootstrap(), None);
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("client.rack", "r")]);
    }

    #[test]
    fn errors_name_the_line_and_what_is_known() {
        let of = |text: &str| read(text).unwrap_err();
        let error = of("client.rack=r\nssl.ca.locaton=/x");
        assert_eq!(error.message(), "f:2: unknown client setting ssl.ca.locaton");
        assert_eq!(error.hint(), Some("did you mean ssl.ca.location?"));
        assert!(error.detail().is_some_and(|d| d.contains("security.protocol")), "{error}");
        assert_eq!(of("isolation.level=read_uncommitted").message(), "f:1: isolation.level is Tidegate's own to set");
        assert_eq!(of("transactional.id=x").message(), "f:1: transactional.id is Tidegate's own to set");
        assert!(of("security.protocol=TLS").message().contains("cannot be 'TLS'"));
        assert!(of("sasl.mechanism=GSSAPI").message().contains("this build knows PLAIN"));
        assert!(of("ssl.truststore.type=JKS").hint().is_some_and(|h| h.contains("openssl")));
    }

    #[test]
    fn a_session_cannot_set_them() {
        let error = crate::config::check_property("kafka.sasl.username", Some("bob")).unwrap_err();
        assert!(error.hint().is_some_and(|h| h.contains("--kafka-config")), "{error:?}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "sasl.username=alice\nsasl.password=hush\nssl.key.password=hush\nssl.keystore.password=hush";
        let properties = ClientProperties::read(text, "f").unwrap();
        let shown = format!("{properties:?} {:?}", properties.shown().collect::<Vec<_>>());
        assert!(!shown.contains("hush") && shown.contains("alice"), "{shown}");
        for text in ["sasl.jaas.config=x required password=\"hush\";", "hush", "sasl.passwort=hush"] {
            let error = ClientProperties::read(text, "f").unwrap_err();
            assert!(!format!("{error:?} {error} {:?} {:?}", error.detail(), error.hint()).contains("hush"), "{error}");
        }
    }
}
