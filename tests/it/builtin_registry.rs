//! The built-in schema registry: its API over HTTP, its topic, its checks of compatibility.
//!
//! ```text
//! api            every endpoint with its codes and texts, through a server
//! compatibility  pairs of schemas: Avro as Avro's Java library judges them, Protobuf and JSON by rule
//! storage        kill -9, an existing topic of Confluent's, two processes on one topic
//! model          random registrations and deletions against a list
//! bounds         large texts, many references, deep and broad schemas
//! ```

mod api;
mod bounds;
mod compatibility;
mod model;
mod storage;

use crate::http::Server;
use serde_json::{Value, json};

/// A client of the registry of a server.
struct Client {
    agent: ureq::Agent,
    base: String,
    authorization: String,
    /// As Confluent's clients of version 8 and later send it.
    takes_unknown: bool,
}

impl Client {
    fn of(server: &Server) -> Client {
        Client::with(server, "")
    }

    fn with(server: &Server, authorization: &str) -> Client {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let base = format!("http://{}/schema-registry", server.address);
        Client { agent, base, authorization: authorization.to_owned(), takes_unknown: false }
    }

    /// Status and body; a body that is not JSON is a string.
    fn send(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !self.authorization.is_empty() {
            request = request.header("authorization", &self.authorization);
        }
        if self.takes_unknown {
            request = request.header("Confluent-Accept-Unknown-Properties", "true");
        }
        let request = request.header("content-type", "application/vnd.schemaregistry.v1+json");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let response = self.agent.run(request.body(body).unwrap()).unwrap();
        let status = response.status().as_u16();
        if status != 401 && status != 403 {
            assert_eq!(response.headers()["content-type"], "application/vnd.schemaregistry.v1+json", "{method} {path}");
        }
        let text = response.into_body().read_to_string().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None)
    }

    fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, Some(body))
    }

    fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("PUT", path, Some(body))
    }

    fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, None)
    }

    /// Registers an Avro schema that is accepted; its id.
    fn register(&self, subject: &str, schema: &str) -> i64 {
        let (status, body) = self.post(&format!("/subjects/{subject}/versions"), json!({ "schema": schema }));
        assert_eq!(status, 200, "{body}");
        body["id"].as_i64().unwrap()
    }
}

fn error(status: u16, code: i32, message: &str) -> (u16, Value) {
    (status, json!({ "error_code": code, "message": message }))
}

/// A record of these fields, `name` or `name=default` of type string, or `name:type`.
fn record(fields: &[&str]) -> String {
    let field = |text: &&str| match (text.split_once('='), text.split_once(':')) {
        (Some((name, default)), _) => json!({ "name": name, "type": "string", "default": default }),
        (_, Some((name, kind))) => json!({ "name": name, "type": kind }),
        _ => json!({ "name": text, "type": "string" }),
    };
    json!({ "type": "record", "name": "R", "fields": fields.iter().map(field).collect::<Vec<_>>() }).to_string()
}
