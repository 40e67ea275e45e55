//! Requests to a service that has one or several URLs: which URL, how long, what is tried again.
//!
//! ```text
//! attempt 1   url A: connection refused   url B: 503      pause 250 ms
//! attempt 2   url A: connection refused   url B: 200      that URL is tried first from now on
//! ```
//!
//! An attempt tries every URL once. A failed connection, a response that does not come, and the statuses that the service declares
//! transient are tried again. A request that must not be executed twice is tried again only if it was certainly not executed.
//!
//! Requests run on a thread of their own, and the caller waits on a channel: it may be any thread, but holds no lock.

use super::{HttpClient, RequestError, TlsFiles};
use crate::error::{Error, Result};
use http_body_util::{BodyExt, Limited};
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Largest response: a schema, or a list of all subjects or connectors.
const RESPONSE_BYTES_MAX: usize = 32 << 20;
/// What is shown of a response that is not JSON.
const SHOWN_CHARS: usize = 200;
/// How the reason of a response that takes too long begins.
pub const TIMED_OUT: &str = "no response within";
/// Transient statuses of a service that has not executed the request. Behind the others it may have been: 500 is Connect's for
/// "request timed out".
const WITHOUT_EFFECT: [u16; 3] = [409, 429, 503];

/// What a client of a service is made of.
#[allow(missing_debug_implementations, reason = "it holds credentials")]
pub struct ServiceSettings {
    /// URLs without a slash at the end, each with its own `Authorization` header.
    pub urls: Vec<(String, Option<String>)>,
    /// Headers of every request.
    pub headers: Vec<(&'static str, String)>,
    /// Certificates.
    pub tls: TlsFiles,
    /// The name of the thread.
    pub thread: &'static str,
    /// Which responses are tried again.
    pub is_transient: fn(u16, &[u8]) -> bool,
    /// How long a response may take.
    pub timeout: Duration,
    /// First pause between attempts; it doubles.
    pub wait: Duration,
    /// Longest pause.
    pub wait_max: Duration,
}

/// Sends requests to one service.
pub struct Service {
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
    clients: Vec<(String, HttpClient)>,
    /// Position of the URL that responded last.
    preferred: AtomicUsize,
    is_transient: fn(u16, &[u8]) -> bool,
    timeout: Duration,
    wait: Duration,
    wait_max: Duration,
}

/// A request to a service.
#[allow(missing_debug_implementations, reason = "it holds credentials")]
pub struct ServiceRequest<'a> {
    /// Method.
    pub method: Method,
    /// Path behind the URL of the service, with the query.
    pub path: &'a str,
    /// Body.
    pub body: Bytes,
    /// An `Authorization` header instead of the URL's.
    pub authorization: Option<&'a str>,
    /// Attempts after the first.
    pub retries: u32,
    /// Whether it may be executed twice.
    pub is_repeatable: bool,
}

/// A response.
#[derive(Clone, Debug)]
pub struct ServiceResponse {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// Why there is no response that another attempt would not change.
#[derive(Debug)]
pub struct Unserved {
    /// The reason of each URL in the last attempt: `http://a:8083: Connection refused (os error 111)`.
    pub reasons: Vec<String>,
    /// The last transient response, if there was one.
    pub response: Option<ServiceResponse>,
    /// Whether the request may have been executed.
    pub may_be_done: bool,
}

/// The body of an error, as Confluent's and Kafka's services write it.
#[derive(Debug, Default, Deserialize)]
pub struct ErrorBody {
    /// The service's code.
    pub error_code: Option<i32>,
    /// What is wrong.
    pub message: Option<String>,
}

impl ErrorBody {
    /// The code and the message of a body; one that is not JSON is its own message.
    pub fn of(bytes: &[u8]) -> (Option<i32>, String) {
        let body: ErrorBody = serde_json::from_slice(bytes).unwrap_or_default();
        (body.error_code, body.message.unwrap_or_else(|| shown(bytes)))
    }
}

/// The beginning of a response, for messages.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARS).collect()
}

/// A segment of a path, or a value of a query: everything but letters, digits and `-._~` is escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clients.iter().map(|(url, _)| url)).finish()
    }
}

impl Drop for Service {
    /// A runtime must not wait for its threads where it is dropped on a thread of another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Service {
    /// Reads the certificates and starts the thread; no connection is made.
    pub fn new(settings: &ServiceSettings) -> Result<Service> {
        let client = |(url, authorization): &(String, Option<String>)| {
            let mut client = HttpClient::network(url.clone(), &settings.tls)?;
            for (name, value) in &settings.headers {
                client = client.with_header(name, value)?;
            }
            let client = match authorization {
                Some(value) => client.with_authorization(value)?,
                None => client,
            };
            Ok((url.clone(), client))
        };
        let clients = settings.urls.iter().map(client).collect::<Result<Vec<_>>>()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(settings.thread)
            .enable_all()
            .build()
            .map_err(|e| Error::io(format!("the client thread {} cannot start", settings.thread)).because(e))?;
        Ok(Service {
            runtime: Some(runtime),
            clients,
            preferred: AtomicUsize::new(0),
            is_transient: settings.is_transient,
            timeout: settings.timeout,
            wait: settings.wait,
            wait_max: settings.wait_max,
        })
    }

    /// Sends a request until there is a response that is not transient, or the attempts are used up.
    pub fn call(&self, request: &ServiceRequest<'_>) -> std::result::Result<ServiceResponse, Unserved> {
        let (mut wait, mut left) = (self.wait, request.retries);
        loop {
            let unserved = match self.attempt(request) {
                Ok(response) => return Ok(response),
                Err(unserved) => unserved,
            };
            if left == 0 || unserved.may_be_done && !request.is_repeatable {
                return Err(unserved);
            }
            left -= 1;
            self.pause(wait);
            wait = (wait * 2).min(self.wait_max);
        }
    }

    /// Every URL once, the one that responded last first.
    fn attempt(&self, request: &ServiceRequest<'_>) -> std::result::Result<ServiceResponse, Unserved> {
        let (first, count) = (self.preferred.load(Ordering::Relaxed), self.clients.len());
        let mut unserved = Unserved { reasons: Vec::new(), response: None, may_be_done: false };
        for place in (first..first + count).map(|place| place % count) {
            let (url, client) = &self.clients[place];
            match self.send(client, request) {
                Ok(response) if (self.is_transient)(response.status, &response.body) => {
                    let (_, message) = ErrorBody::of(&response.body);
                    unserved.reasons.push(format!("{url}: {}: {message}", response.status));
                    unserved.may_be_done |= !WITHOUT_EFFECT.contains(&response.status);
                    unserved.response = Some(response);
                }
                Ok(response) => {
                    self.preferred.store(place, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(failure) => {
                    unserved.reasons.push(format!("{url}: {}", failure.reason));
                    unserved.may_be_done |= failure.may_be_done;
                }
            }
            if unserved.may_be_done && !request.is_repeatable {
                break;
            }
        }
        Err(unserved)
    }

    fn send(&self, client: &HttpClient, request: &ServiceRequest<'_>) -> std::result::Result<ServiceResponse, Failure> {
        let client = match request.authorization {
            Some(value) => client.clone().with_authorization(value).map_err(|e| Failure::before(e.to_string()))?,
            None => client.clone(),
        };
        let Some(runtime) = &self.runtime else { return Err(Failure::before("the client is closed".to_owned())) };
        let (sender, receiver) = mpsc::channel();
        let (limit, method) = (self.timeout, request.method.clone());
        let (path, body) = (request.path.to_owned(), request.body.clone());
        runtime.spawn(async move {
            let work = async {
                let response = client.request(method, &path, body).await.map_err(|e| match e {
                    RequestError::NotSent(cause) => Failure::before(cause.to_string()),
                    RequestError::NoResponse(cause) => Failure::after(cause.to_string()),
                })?;
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
                body.map(|body| ServiceResponse { status, body: body.to_bytes() })
                    .map_err(|e| Failure::after(e.to_string()))
            };
            let result = tokio::time::timeout(limit, work).await;
            let late = |_| Err(Failure::after(format!("{TIMED_OUT} {} ms", limit.as_millis())));
            // The receiver waits for it.
            let _ = sender.send(result.unwrap_or_else(late));
        });
        let broken_off = || Err(Failure::after("the request was broken off".to_owned()));
        receiver.recv().unwrap_or_else(|_| broken_off())
    }

    fn pause(&self, wait: Duration) {
        let (sender, receiver) = mpsc::channel::<()>();
        let _ = receiver.recv_timeout(wait);
        drop(sender);
    }
}

/// Why one request has no response.
struct Failure {
    reason: String,
    may_be_done: bool,
}

impl Failure {
    fn before(reason: String) -> Failure {
        Failure { reason, may_be_done: false }
    }

    fn after(reason: String) -> Failure {
        Failure { reason, may_be_done: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a-b.c_d~1"), "a-b.c_d~1");
        assert_eq!(escaped("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }

    #[test]
    fn an_error_is_its_message_or_its_text() {
        assert_eq!(ErrorBody::of(b"{\"error_code\":404,\"message\":\"none\"}"), (Some(404), "none".to_owned()));
        assert_eq!(ErrorBody::of(b"<html>"), (None, "<html>".to_owned()));
        assert_eq!(ErrorBody::of(b"{\"error_code\":0}").0, Some(0));
    }
}
