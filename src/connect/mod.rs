//! The client of Kafka Connect, over its REST interface.
//!
//! ```text
//! list        GET /connectors?expand=info&expand=status     older workers list names: a request per connector then
//! create      POST /connectors {"name","config"}            never repeated where it may have been executed
//! validate    PUT /connector-plugins/CLASS/config/validate  -> "name - what is wrong with its value"
//! status, info, topics, plugins, delete
//! ```
//!
//! Nothing is kept here: what connectors there are, and what they are doing, is known to Connect alone. Bodies of requests and of
//! responses hold secrets and are never logged.

pub mod body;

use crate::config::{Authorization, ConnectConfig};
use crate::error::Error;
use crate::http_client::TlsFiles;
use crate::http_client::service::{Service, ServiceRequest, ServiceResponse, ServiceSettings, escaped, shown};
use body::{Config, ConnectorInfo, ConnectorStatus, NewConnector, Plugin, Topics, Validated};
use hyper::Method;
use hyper::body::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Attempts after the first, as in ksqlDB.
const RETRIES: u32 = 2;
/// First pause between attempts; it doubles. A worker that joins its group refuses changes for about a second.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// Longest pause between attempts.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);
/// Connectors that are described one by one where a worker does not list them with their states.
const DESCRIBED_MAX: usize = 500;

/// Why Connect did not do what it was asked for.
#[derive(Debug)]
pub enum ConnectError {
    /// It refused: HTTP status and body.
    Refused {
        /// HTTP status.
        status: u16,
        /// Body, as it was sent.
        body: String,
    },
    /// No worker responded.
    Unreachable {
        /// The reason of each URL.
        reason: String,
        /// Whether the request may have been executed.
        may_be_done: bool,
    },
    /// The client cannot send requests: its settings name files that cannot be used.
    Settings(Error),
}

impl ConnectError {
    /// Whether the request is at fault.
    pub fn is_bad_request(&self) -> bool {
        match self {
            ConnectError::Refused { status, body } => matches!(status, 400 | 404) || is_bad_request(body.as_bytes()),
            ConnectError::Unreachable { .. } | ConnectError::Settings(_) => false,
        }
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectError::Refused { status, body } if body.trim().is_empty() => write!(f, "HTTP status {status}"),
            ConnectError::Refused { body, .. } => f.write_str(body),
            ConnectError::Unreachable { reason, .. } => f.write_str(reason),
            ConnectError::Settings(error) => error.fmt(f),
        }
    }
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, ConnectError>;

/// A connector of a list.
#[derive(Debug)]
pub struct Listed {
    /// Name.
    pub name: String,
    /// What it is; `Err` = why that is not known.
    pub info: Result<ConnectorInfo>,
    /// What it is doing, if that is known.
    pub status: Option<ConnectorStatus>,
}

/// Sends requests to the workers of one Connect cluster.
#[derive(Debug)]
pub struct Connect {
    config: ConnectConfig,
    /// Its thread starts with the first request: most processes send none.
    service: Mutex<Option<Arc<Service>>>,
}

impl Connect {
    /// A client with these settings. No connection is made.
    pub fn new(config: ConnectConfig) -> Connect {
        Connect { config, service: Mutex::new(None) }
    }

    /// Names of all connectors.
    pub fn names(&self) -> Result<Vec<String>> {
        self.get("/connectors")
    }

    /// All connectors, by name.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let response: Value = self.get("/connectors?expand=info&expand=status")?;
        match read_value(response)? {
            List::Expanded(expanded) => Ok(expanded.into_iter().map(listed).collect()),
            List::Names(names) => names.into_iter().take(DESCRIBED_MAX).map(|name| self.described(name)).collect(),
        }
    }

    /// What a connector is; an error only if no worker responds, since the next one would fail as well.
    fn described(&self, name: String) -> Result<Listed> {
        let info = match self.info(&name) {
            Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Settings(_))) => return Err(error),
            info => info,
        };
        let status = info.is_ok().then(|| self.status(&name).ok()).flatten();
        Ok(Listed { name, info, status })
    }

    /// What a connector is.
    pub fn info(&self, name: &str) -> Result<ConnectorInfo> {
        self.get(&format!("/connectors/{}", escaped(name)))
    }

    /// What a connector is doing.
    pub fn status(&self, name: &str) -> Result<ConnectorStatus> {
        self.get(&format!("/connectors/{}/status", escaped(name)))
    }

    /// The topics that a connector has used.
    pub fn topics(&self, name: &str) -> Result<Vec<String>> {
        let mut topics: BTreeMap<String, Topics> = self.get(&format!("/connectors/{}/topics", escaped(name)))?;
        let mut topics = topics.remove(name).unwrap_or_default().topics;
        topics.sort();
        Ok(topics)
    }

    /// The classes of connectors that the workers can run.
    pub fn plugins(&self) -> Result<Vec<Plugin>> {
        self.get("/connector-plugins")
    }

    /// What is wrong with the settings of a connector of this class.
    pub fn validate(&self, class: &str, config: &Config) -> Result<Vec<String>> {
        let path = format!("/connector-plugins/{}/config/validate", escaped(class));
        let validated: Validated = self.call(Method::PUT, &path, json(config), true)?;
        Ok(validated.errors())
    }

    /// Creates a connector.
    pub fn create(&self, name: &str, config: &Config) -> Result<ConnectorInfo> {
        self.call(Method::POST, "/connectors", json(&NewConnector { name, config }), false)
    }

    /// Deletes a connector.
    pub fn delete(&self, name: &str) -> Result<()> {
        let path = format!("/connectors/{}", escaped(name));
        self.send(Method::DELETE, &path, Bytes::new(), false).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, Bytes::new(), true)
    }

    fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes, is_repeatable: bool) -> Result<T> {
        let bytes = self.send(method, path, body, is_repeatable)?;
        serde_json::from_slice(&bytes).map_err(|error| foreign(&error, &bytes))
    }

    /// The body of a successful response.
    fn send(&self, method: Method, path: &str, body: Bytes, is_repeatable: bool) -> Result<Bytes> {
        let service = self.service().map_err(ConnectError::Settings)?;
        let authorization = self.authorization().map_err(ConnectError::Settings)?;
        let authorization = authorization.as_deref();
        let request = ServiceRequest { method, path, body, authorization, retries: RETRIES, is_repeatable };
        let refused = |ServiceResponse { status, body }: ServiceResponse| {
            let body = String::from_utf8_lossy(&body).into_owned();
            ConnectError::Refused { status, body }
        };
        match service.call(&request) {
            Ok(ServiceResponse { status: 200..=299, body }) => Ok(body),
            Ok(response) => Err(refused(response)),
            Err(unserved) => Err(match unserved.response {
                Some(response) => refused(response),
                None => {
                    ConnectError::Unreachable { reason: unserved.reasons.join("; "), may_be_done: unserved.may_be_done }
                }
            }),
        }
    }

    fn service(&self) -> crate::error::Result<Arc<Service>> {
        let mut service = self.service.lock();
        if let Some(service) = &*service {
            return Ok(service.clone());
        }
        let config = &self.config;
        let json = || "application/json".to_owned();
        let new = Arc::new(Service::new(&ServiceSettings {
            urls: config.urls.iter().map(|(url, auth)| (url.clone(), auth.header())).collect(),
            headers: vec![("content-type", json()), ("accept", json())],
            tls: TlsFiles { ca: config.ca.clone(), cert: config.identity.clone(), key: config.identity.clone() },
            thread: "kafka-connect",
            is_transient,
            timeout: config.timeout,
            wait: RETRY_WAIT,
            wait_max: RETRY_WAIT_MAX,
        })?);
        *service = Some(new.clone());
        Ok(new)
    }

    /// The header from the file of credentials. It is read at each request, so that a password can be changed.
    fn authorization(&self) -> crate::error::Result<Option<String>> {
        let Some(file) = &self.config.credentials else { return Ok(None) };
        match credentials(file) {
            Ok(user) => Ok(Authorization::Basic(user).header()),
            Err(error) if self.config.requires_credentials => Err(error),
            Err(error) => {
                tracing::warn!(%error, "requests to Kafka Connect are sent without credentials");
                Ok(None)
            }
        }
    }
}

/// The response to a request for a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    /// By name.
    Expanded(BTreeMap<String, Expanded>),
    /// Workers before Kafka 2.3.
    Names(Vec<String>),
}

#[derive(Deserialize)]
struct Expanded {
    info: Option<ConnectorInfo>,
    status: Option<ConnectorStatus>,
}

fn listed((name, Expanded { info, status }): (String, Expanded)) -> Listed {
    let missing = || ConnectError::Refused { status: 404, body: format!("Connector {name} not found") };
    let info = info.ok_or_else(missing);
    Listed { name, info, status }
}

/// Statuses that pass: a worker is overloaded, or its group is changing. An existing connector has the status of the latter, and a
/// request that is wrong may have that of the former.
fn is_transient(status: u16, body: &[u8]) -> bool {
    match status {
        409 => !contains(body, "already exists"),
        429 => true,
        500.. => !is_bad_request(body),
        _ => false,
    }
}

/// A request that is wrong, behind status 500: Kafka 4 responds so to a class that it does not have.
fn is_bad_request(body: &[u8]) -> bool {
    contains(body, "BadRequestException")
}

fn contains(body: &[u8], words: &str) -> bool {
    body.windows(words.len()).any(|text| text == words.as_bytes())
}

fn json(body: &impl serde::Serialize) -> Bytes {
    // A map of texts is always JSON.
    serde_json::to_vec(body).unwrap_or_default().into()
}

fn read_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    let text = value.to_string();
    serde_json::from_value(value).map_err(|error| foreign(&error, text.as_bytes()))
}

fn foreign(error: &serde_json::Error, bytes: &[u8]) -> ConnectError {
    let reason = format!("the response is none of Kafka Connect: {error}: {}", shown(bytes));
    ConnectError::Unreachable { reason, may_be_done: true }
}

/// `user:password` of a file of Java properties.
fn credentials(file: &Path) -> crate::error::Result<String> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Error::io(format!("the credentials of Kafka Connect cannot be read from {}", file.display())).because(e)
    })?;
    let value = |name: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
        let pairs = lines.filter_map(|line| line.split_once(['=', ':']));
        pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()).next_back()
    };
    match (value("username"), value("password")) {
        (Some(user), Some(password)) => Ok(format!("{user}:{password}")),
        _ => Err(Error::statement("Provided credentials file doesn't provide username and password")
            .with_detail(file.display().to_string())
            .with_hint("it has two lines: username=NAME and password=PASSWORD")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_is_not_tried_again() {
        assert!(is_transient(409, b"{\"message\":\"Cannot complete request momentarily\"}"));
        assert!(!is_transient(409, b"{\"message\":\"Connector c already exists\"}"));
        assert!(is_transient(503, b"") && !is_transient(404, b""));
        assert!(!is_transient(
            500,
            b"{\"message\":\"org.apache.kafka...BadRequestException: Failed to find any class\"}"
        ));
    }

    #[test]
    fn credentials_are_java_properties() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, "# of Connect\nusername: ada\npassword = a=b:c\n").unwrap();
        assert_eq!(credentials(&file).unwrap(), "ada:a=b:c");
        std::fs::write(&file, "username=ada\n").unwrap();
        let error = credentials(&file).unwrap_err();
        assert!(
            error.message().contains("doesn't provide username and password") && !error.to_string().contains("ada")
        );
        assert!(credentials(&folder.path().join("none")).unwrap_err().message().contains("cannot be read"));
    }
}
