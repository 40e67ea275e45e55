//! Requests to a registry: which URL, which headers, what is tried again.
//!
//! ```text
//! attempt 1   url A: connection refused   url B: 503      pause 250 ms
//! attempt 2   url A: connection refused   url B: 200      that URL is tried first from now on
//! ```
//!
//! An attempt tries every URL once. A failed connection, a response that does not come, and the statuses of [`is_transient`] are
//! tried again; every request of this interface may be repeated, because registering a schema twice yields one id.
//!
//! Requests run on a thread of their own, and the caller waits on a channel: it may be any thread, but holds no lock.

use crate::config::{RegistryAuth, RegistryConfig};
use crate::error::Error;
use crate::http_client::{HttpClient, RequestError, TlsFiles};
use crate::registry::{RegistryError, Result, SchemaError};
use crate::types::base64;
use http_body_util::{BodyExt, Limited};
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// What Confluent's clients send and accept. A registry that knows it only as JSON accepts the second.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json";
/// Largest response: a schema, or a list of all subjects.
const RESPONSE_BYTES_MAX: usize = 32 << 20;
/// What is shown of a response that is not JSON.
const SHOWN_CHARS: usize = 200;

/// Sends requests to one registry.
pub(super) struct Http {
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
    clients: Vec<(String, HttpClient)>,
    /// Position of the URL that responded last.
    preferred: AtomicUsize,
    wait: Duration,
    wait_max: Duration,
    timeout: Duration,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clients.iter().map(|(url, _)| url)).finish()
    }
}

impl Drop for Http {
    /// A runtime must not wait for its threads where it is dropped on a thread of another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The body of an error.
#[derive(Deserialize)]
struct ErrorBody {
    error_code: Option<i32>,
    message: Option<String>,
}

impl Http {
    pub(super) fn new(config: &RegistryConfig) -> crate::error::Result<Http> {
        let files = TlsFiles { ca: config.ca.clone(), cert: config.identity.clone(), key: config.identity.clone() };
        let client = |(url, auth): &(String, RegistryAuth)| {
            let mut client = HttpClient::network(url.clone(), &files)?
                .with_header("content-type", CONTENT_TYPE)?
                .with_header("accept", ACCEPT)?;
            for (name, value) in &config.headers {
                client = client.with_header(name, value)?;
            }
            let client = match auth {
                RegistryAuth::None => client,
                RegistryAuth::Basic(user) => {
                    let mut encoded = Vec::new();
                    base64::encode(user.as_bytes(), &mut encoded);
                    client.with_authorization(&format!("Basic {}", String::from_utf8_lossy(&encoded)))?
                }
                RegistryAuth::Bearer(token) => client.with_authorization(&format!("Bearer {token}"))?,
            };
            Ok((url.clone(), client))
        };
        let clients = config.urls.iter().map(client).collect::<crate::error::Result<Vec<_>>>()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("schema-registry")
            .enable_all()
            .build()
            .map_err(|e| Error::io("the client of the schema registry cannot start").because(e))?;
        Ok(Http {
            runtime: Some(runtime),
            clients,
            preferred: AtomicUsize::new(0),
            wait: config.retry_wait,
            wait_max: config.retry_wait_max,
            timeout: config.read_timeout,
        })
    }

    /// Sends a request until there is a response that another attempt would not change, or the attempts are used up.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        (method, path): (Method, &str),
        body: Option<&Value>,
        retries: u32,
    ) -> Result<T> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let (mut wait, mut left) = (self.wait, retries);
        loop {
            let failure = match self.attempt(&method, path, &body) {
                Ok(bytes) => return read(&bytes),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient(error)) => error,
            };
            if left == 0 {
                return Err(failure);
            }
            left -= 1;
            self.pause(wait);
            wait = (wait * 2).min(self.wait_max);
        }
    }

    /// Every URL once, the one that responded last first.
    fn attempt(&self, method: &Method, path: &str, body: &Bytes) -> std::result::Result<Bytes, Failure> {
        let (first, count) = (self.preferred.load(Ordering::Relaxed), self.clients.len());
        let mut failures = Vec::new();
        for place in (first..first + count).map(|place| place % count) {
            let (url, client) = &self.clients[place];
            match self.send(client.clone(), method.clone(), path.to_owned(), body.clone()) {
                Ok((200..=299, bytes)) => {
                    self.preferred.store(place, Ordering::Relaxed);
                    return Ok(bytes);
                }
                Ok((status, bytes)) => {
                    let error = refusal(status, &bytes);
                    if !is_transient(status) {
                        self.preferred.store(place, Ordering::Relaxed);
                        return Err(Failure::Final(RegistryError::Refused(error)));
                    }
                    failures.push(format!("{url}: {status}: {}", error.message));
                }
                Err(reason) => failures.push(format!("{url}: {reason}")),
            }
        }
        let reason = format!("the schema registry does not respond ({})", failures.join("; "));
        Err(Failure::Transient(RegistryError::Unreachable(reason)))
    }

    /// One request; the error says why there is no response.
    fn send(
        &self,
        client: HttpClient,
        method: Method,
        path: String,
        body: Bytes,
    ) -> std::result::Result<(u16, Bytes), String> {
        let Some(runtime) = &self.runtime else { return Err("the client is closed".to_owned()) };
        let (sender, receiver) = mpsc::channel();
        let limit = self.timeout;
        runtime.spawn(async move {
            let work = async {
                let response = client.request(method, &path, body).await.map_err(|e| match e {
                    RequestError::NotSent(cause) | RequestError::NoResponse(cause) => cause.to_string(),
                })?;
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
                body.map(|body| (status, body.to_bytes())).map_err(|e| e.to_string())
            };
            let result = tokio::time::timeout(limit, work).await;
            let result = result.unwrap_or_else(|_| Err(format!("no response within {} ms", limit.as_millis())));
            // The caller waits for it; without one there is nothing to tell.
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or_else(|_| Err("the request was broken off".to_owned()))
    }

    fn pause(&self, wait: Duration) {
        let (sender, receiver) = mpsc::channel::<()>();
        let _ = receiver.recv_timeout(wait);
        drop(sender);
    }
}

/// What an attempt came to.
enum Failure {
    /// Another attempt would fail as well.
    Final(RegistryError),
    /// Another attempt may succeed.
    Transient(RegistryError),
}

/// Statuses that pass: the registry or a proxy before it is overloaded, or elects its leader.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

fn read<T: DeserializeOwned>(bytes: &Bytes) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let reason = format!("the response is none of a schema registry: {error}: {}", shown(bytes));
        RegistryError::Unreachable(reason)
    })
}

fn refusal(status: u16, bytes: &Bytes) -> SchemaError {
    let body: Option<ErrorBody> = serde_json::from_slice(bytes).ok();
    let (code, message) = body.map_or((None, None), |body| (body.error_code, body.message));
    // Apicurio sends 0 where it has no code.
    let code = code.filter(|code| *code != 0).unwrap_or(i32::from(status));
    SchemaError { status, code, message: message.unwrap_or_else(|| shown(bytes)) }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARS).collect()
}
