//! A schema registry in memory behind HTTP, for `--registry double`: the API's plain part, without compatibility rules.
//!
//! It is what the engine's client speaks to in this mode, where the mode without it uses the registry of the server itself.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tidegate::error::{Error, Result};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

type Held = Arc<Mutex<Store>>;
type Response = (StatusCode, Json<Value>);

#[derive(Default)]
struct Store {
    /// Type, text and references of each id, as they were sent.
    schemas: BTreeMap<u64, Value>,
    /// The ids of a subject's versions, the first of which is 1.
    subjects: BTreeMap<String, Vec<u64>>,
}

impl Store {
    fn id_of(&self, sent: &Value) -> Option<u64> {
        self.schemas.iter().find(|(_, held)| same(held, sent)).map(|(id, _)| *id)
    }

    fn register(&mut self, subject: String, sent: &Value, id: Option<u64>) -> u64 {
        let next = self.schemas.keys().next_back().map_or(1, |last| last + 1);
        let own = self.subjects.get(&subject).into_iter().flatten().find(|id| same(&self.schemas[id], sent));
        let id = id.or_else(|| own.copied()).or_else(|| self.id_of(sent)).unwrap_or(next);
        self.schemas.entry(id).or_insert_with(|| sent.clone());
        let versions = self.subjects.entry(subject).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        id
    }

    fn described(&self, subject: &str, n: usize) -> Value {
        let id = self.subjects[subject][n];
        let mut found = self.schemas[&id].clone();
        found["subject"] = json!(subject);
        found["version"] = json!(n + 1);
        found["id"] = json!(id);
        found
    }
}

/// Whether two schemas are one: equal JSON, or equal text.
fn same(one: &Value, other: &Value) -> bool {
    let body = |schema: &Value| {
        let text = schema["schema"].as_str().unwrap_or_default();
        serde_json::from_str(text).unwrap_or_else(|_| json!(text))
    };
    let alike = |name: &str| one[name] == other[name];
    alike("schemaType") && alike("references") && body(one) == body(other)
}

/// The registry, which ends with this.
pub(crate) struct Double {
    pub(crate) url: String,
    runtime: Option<Runtime>,
}

impl Double {
    pub(crate) fn open() -> Result<Double> {
        let failed = |e: std::io::Error| Error::io(e.to_string());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let routes = routes().with_state(Held::default());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Ok(Double { url, runtime: Some(runtime) })
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn routes() -> Router<Held> {
    Router::new()
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(lookup).delete(delete))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/schemas/ids/{id}", get(by_id))
        .route("/schemas/ids/{id}/subjects", get(subjects_of))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatible))
        .route("/mode", put(echo))
        .route("/config", put(echo))
}

fn found(body: Value) -> Response {
    (StatusCode::OK, Json(body))
}

fn missing(code: u32, message: String) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error_code": code, "message": message })))
}

fn no_subject(subject: &str) -> Response {
    missing(40401, format!("Subject '{subject}' not found."))
}

/// What is held of a request: its type, which is AVRO where none is given, its text and its references.
fn schema(sent: &str) -> Value {
    let sent: Value = serde_json::from_str(sent).unwrap_or_default();
    let kind = sent["schemaType"].as_str().unwrap_or("AVRO");
    let references = sent["references"].as_array().cloned().unwrap_or_default();
    json!({ "schemaType": kind, "schema": sent["schema"], "references": references })
}

fn locked<T>(store: &Held, f: impl FnOnce(&mut Store) -> T) -> T {
    f(&mut store.lock().expect("no handler panics"))
}

async fn subjects(State(store): State<Held>) -> Response {
    locked(&store, |s| found(json!(s.subjects.keys().collect::<Vec<_>>())))
}

async fn register(State(store): State<Held>, Path(subject): Path<String>, sent: String) -> Response {
    let id = serde_json::from_str::<Value>(&sent).unwrap_or_default()["id"].as_u64();
    locked(&store, |s| found(json!({ "id": s.register(subject, &schema(&sent), id) })))
}

async fn lookup(State(store): State<Held>, Path(subject): Path<String>, sent: String) -> Response {
    locked(&store, |s| {
        let Some(versions) = s.subjects.get(&subject) else { return no_subject(&subject) };
        let sent = schema(&sent);
        match versions.iter().position(|id| same(&s.schemas[id], &sent)) {
            Some(n) => found(s.described(&subject, n)),
            None => missing(40403, "Schema not found".to_owned()),
        }
    })
}

async fn delete(State(store): State<Held>, Path(subject): Path<String>) -> Response {
    locked(&store, |s| match s.subjects.remove(&subject) {
        Some(versions) => found(json!((1..=versions.len()).collect::<Vec<_>>())),
        None => no_subject(&subject),
    })
}

async fn versions(State(store): State<Held>, Path(subject): Path<String>) -> Response {
    locked(&store, |s| match s.subjects.get(&subject) {
        Some(versions) => found(json!((1..=versions.len()).collect::<Vec<_>>())),
        None => no_subject(&subject),
    })
}

async fn version(State(store): State<Held>, Path((subject, version)): Path<(String, String)>) -> Response {
    locked(&store, |s| {
        let Some(versions) = s.subjects.get(&subject) else { return no_subject(&subject) };
        let n = if version == "latest" { Some(versions.len()) } else { version.parse().ok() };
        match n.and_then(|n| n.checked_sub(1)).filter(|n| *n < versions.len()) {
            Some(n) => found(s.described(&subject, n)),
            None => missing(40402, format!("Version {version} not found.")),
        }
    })
}

async fn by_id(State(store): State<Held>, Path(id): Path<u64>) -> Response {
    locked(&store, |s| match s.schemas.get(&id) {
        Some(schema) => found(schema.clone()),
        None => missing(40403, format!("Schema {id} not found")),
    })
}

async fn subjects_of(State(store): State<Held>, Path(id): Path<u64>) -> Response {
    locked(&store, |s| {
        let of = s.subjects.iter().filter(|(_, versions)| versions.contains(&id)).map(|(subject, _)| subject);
        if s.schemas.contains_key(&id) {
            found(json!(of.collect::<Vec<_>>()))
        } else {
            missing(40403, format!("Schema {id} not found"))
        }
    })
}

async fn compatible(_: Path<(String, String)>) -> Response {
    found(json!({ "is_compatible": true }))
}

async fn echo(sent: String) -> Response {
    found(serde_json::from_str(&sent).unwrap_or_default())
}
