//! A registry behind HTTP: the interface of Confluent's over a [`Fixed`], which can be told to fail.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tidegate::catalog::{Guid, Reference, SchemaText, SchemaType};
use tidegate::registry::fixed::Fixed;
use tidegate::registry::{Compatibility, Registered, RegistryError, Schemas};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A reference: name, subject, version.
type Direct = (String, String, i32);

/// The registry, which ends with this.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) schemas: Arc<Fixed>,
    /// Direct references by the text that has them.
    pub(super) references: Mutex<Vec<(String, Vec<Direct>)>>,
    /// Statuses of the next responses.
    pub(super) failures: Mutex<VecDeque<u16>>,
    /// Method, path and headers of each request.
    pub(super) requests: Mutex<Vec<(String, HeaderMap)>>,
}

impl Server {
    pub(super) fn open() -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let app = Router::new().fallback(respond).with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Server { url, shared, runtime: Some(runtime) }
    }

    /// Methods and paths of the requests so far, which are forgotten.
    pub(super) fn requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.shared.requests.lock().unwrap());
        requests.into_iter().map(|(path, _)| path).collect()
    }

    pub(super) fn fail(&self, statuses: &[u16]) {
        self.shared.failures.lock().unwrap().extend(statuses);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn respond(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path_and_query().unwrap().to_string();
    let line = format!("{} {path}", request.method());
    shared.requests.lock().unwrap().push((line.clone(), request.headers().clone()));
    if let Some(status) = shared.failures.lock().unwrap().pop_front() {
        return Response::builder().status(status).body(Body::from("<html>overloaded</html>")).unwrap();
    }
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, body) = match route(&shared, &line, &sent) {
        Ok(body) => (StatusCode::OK, body),
        Err(RegistryError::Refused(error)) => {
            (StatusCode::from_u16(error.status).unwrap(), json!({ "error_code": error.code, "message": error.message }))
        }
        Err(RegistryError::Unreachable(reason)) => (StatusCode::SERVICE_UNAVAILABLE, json!(reason)),
    };
    let mut response = axum::response::IntoResponse::into_response(Json(body));
    *response.status_mut() = status;
    response
}

fn route(shared: &Shared, line: &str, sent: &Value) -> Result<Value, RegistryError> {
    let (method, path) = line.split_once(' ').unwrap();
    let path = path.split('?').next().unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let schemas = &*shared.schemas;
    match (method, parts.as_slice()) {
        ("GET", ["schemas", "ids", id]) => {
            let schema = schemas.by_id(id.parse().unwrap(), None)?;
            Ok(raw(shared, &schema))
        }
        ("GET", ["schemas", "guids", guid]) => Ok(raw(shared, &*schemas.by_guid(Guid::parse(guid).unwrap())?)),
        ("GET", ["schemas", "ids", id, "subjects"]) => Ok(json!(schemas.subjects_of(id.parse().unwrap())?)),
        ("GET", ["subjects"]) => Ok(json!(schemas.subjects()?)),
        ("GET", ["subjects", subject, "versions"]) => Ok(json!(schemas.versions(subject)?)),
        ("GET", ["subjects", subject, "versions", "latest"]) => Ok(registered(shared, &schemas.latest(subject)?)),
        ("GET", ["subjects", subject, "versions", version]) => {
            Ok(registered(shared, &schemas.version(subject, version.parse().unwrap())?))
        }
        ("POST", ["subjects", subject, "versions"]) => {
            Ok(json!({ "id": schemas.register(subject, &read(shared, sent))?.id }))
        }
        ("POST", ["subjects", subject]) => Ok(registered(shared, &schemas.lookup(subject, &read(shared, sent))?)),
        ("DELETE", ["subjects", subject]) => Ok(json!(schemas.delete_subject(subject)?)),
        ("POST", ["compatibility", "subjects", subject, "versions", "latest"]) => {
            Ok(match schemas.is_compatible(subject, &read(shared, sent))? {
                Compatibility::Compatible => json!({ "is_compatible": true }),
                Compatibility::Incompatible(messages) => json!({ "is_compatible": false, "messages": messages }),
            })
        }
        _ => Err(RegistryError::refused(404, 404, format!("HTTP 404 Not Found: {line}"))),
    }
}

fn raw(shared: &Shared, schema: &SchemaText) -> Value {
    let mut raw = json!({ "schema": &*schema.text });
    if schema.kind != SchemaType::Avro {
        raw["schemaType"] = json!(schema.kind.name());
    }
    let known = shared.references.lock().unwrap();
    if let Some((_, references)) = known.iter().find(|(text, _)| **text == *schema.text) {
        let reference = |(name, subject, version): &(String, String, i32)| json!({ "name": name, "subject": subject, "version": version });
        raw["references"] = references.iter().map(reference).collect();
    }
    raw
}

fn registered(shared: &Shared, registered: &Registered) -> Value {
    let mut raw = raw(shared, &registered.schema);
    raw["subject"] = json!(registered.subject);
    raw["version"] = json!(registered.version);
    raw["id"] = json!(registered.id);
    raw["unknown"] = json!({ "added": "by a later version" });
    raw
}

fn read(shared: &Shared, sent: &Value) -> SchemaText {
    let kind = match sent["schemaType"].as_str() {
        Some("JSON") => SchemaType::Json,
        Some("PROTOBUF") => SchemaType::Protobuf,
        _ => SchemaType::Avro,
    };
    let named = sent["references"].as_array().cloned().unwrap_or_default();
    let reference = |r: &Value| {
        let (subject, version) = (r["subject"].as_str().unwrap(), r["version"].as_i64().unwrap() as i32);
        let text = shared.schemas.version(subject, version).unwrap().schema.text.clone();
        Reference { name: r["name"].as_str().unwrap().to_owned(), subject: subject.to_owned(), version, text }
    };
    let references = named.iter().map(reference).collect();
    SchemaText { kind, text: sent["schema"].as_str().unwrap().into(), references }
}
