//! Requests to a registry: its headers, which responses are tried again, and what a refusal says.
//!
//! Every request of this interface may be repeated, because registering a schema twice yields one id.

use crate::config::{Authorization, RegistryConfig};
use crate::http_client::TlsFiles;
use crate::http_client::service::{ErrorBody, Service, ServiceRequest, ServiceResponse, ServiceSettings, shown};
use crate::registry::{RegistryError, Result, SchemaError};
use hyper::Method;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What Confluent's clients send and accept. A registry that knows it only as JSON accepts the second.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json";

/// Sends requests to one registry.
#[derive(Debug)]
pub(super) struct Http(Service);

impl Http {
    pub(super) fn new(config: &RegistryConfig) -> crate::error::Result<Http> {
        let authorized = |(url, auth): &(String, Authorization)| (url.clone(), auth.header());
        let fixed = [("content-type", CONTENT_TYPE.to_owned()), ("accept", ACCEPT.to_owned())];
        let service = Service::new(&ServiceSettings {
            urls: config.urls.iter().map(authorized).collect(),
            headers: fixed.into_iter().chain(config.headers.iter().cloned()).collect(),
            tls: TlsFiles { ca: config.ca.clone(), cert: config.identity.clone(), key: config.identity.clone() },
            thread: "schema-registry",
            is_transient: |status, _| is_transient(status),
            timeout: config.read_timeout,
            wait: config.retry_wait,
            wait_max: config.retry_wait_max,
        })?;
        Ok(Http(service))
    }

    /// Sends a request until there is a response that another attempt would not change, or the attempts are used up.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        (method, path): (Method, &str),
        body: Option<&Value>,
        retries: u32,
    ) -> Result<T> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = ServiceRequest { method, path, body, authorization: None, retries, is_repeatable: true };
        match self.0.call(&request) {
            Ok(ServiceResponse { status: 200..=299, body }) => read(&body),
            Ok(response) => Err(RegistryError::Refused(refusal(response.status, &response.body))),
            Err(unserved) => {
                let reasons = unserved.reasons.join("; ");
                Err(RegistryError::Unreachable(format!("the schema registry does not respond ({reasons})")))
            }
        }
    }
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
    let (code, message) = ErrorBody::of(bytes);
    // Apicurio sends 0 where it has no code.
    let code = code.filter(|code| *code != 0).unwrap_or(i32::from(status));
    SchemaError { status, code, message }
}
