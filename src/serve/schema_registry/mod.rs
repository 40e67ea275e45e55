//! The built-in schema registry over HTTP, below `/schema-registry`: the API of Confluent's registry for unmodified serializers.
//!
//! ```text
//! POST /schema-registry/subjects/t-value/versions   {"schema":"\"int\""}  ->  200 {"id":1}
//! GET  /schema-registry/schemas/ids/1                                     ->  200 {"schema":"\"int\""}
//! GET  /schema-registry/schemas/ids/2                                     ->  404 {"error_code":40403,"message":"Schema 2 not found"}
//! ```
//!
//! Any `Accept` and any content type will do: clients send several. Users, roles and limits are those of the server: a reader
//! reads and compares, a writer registers, an administrator deletes and changes settings. A user who is limited to some topics
//! is limited to the subjects of these topics (`<topic>-key`, `<topic>-value`). Contexts, rules and metadata are not supported;
//! a request that brings rules or metadata is refused.

mod compatibility;
mod schemas;
mod settings;
mod subjects;

use super::routes::{Needs, Routes};
use super::{REQUEST, error, on_thread};
use crate::engine::Engine;
use crate::engine::access::{Principal, Role};
use crate::error::{Error, Result};
use crate::registry::RegistryError;
use crate::registry::builtin::Builtin;
use crate::threads;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The media type of every response.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Where the registry is found: an engine that may be opened by the first request.
pub(super) struct RegistryService {
    engine: Box<dyn Fn() -> Result<Engine> + Send + Sync>,
}

type Shared = Arc<RegistryService>;

/// What a request says beside its path and body.
struct Parameters {
    /// Behind the question mark.
    query: BTreeMap<String, String>,
    /// The client takes members that it may not know. Only then do responses have those that Confluent's registry added in 8.0:
    /// older clients fail at them.
    takes_unknown: bool,
}

impl Parameters {
    fn get(&self, name: &str) -> Option<&String> {
        self.query.get(name)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = QueryRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<Parameters, QueryRejection> {
        let Query(query) = Query::from_request_parts(parts, state).await?;
        let header = parts.headers.get("confluent-accept-unknown-properties");
        Ok(Parameters { query, takes_unknown: header.is_some_and(|value| value.as_bytes() == b"true") })
    }
}

/// A request on its way through the registry.
struct Call {
    engine: Engine,
    registry: Arc<Builtin>,
    user: Principal,
}

/// Why a request has no result.
enum Failure {
    /// The registry refused it.
    Registry(RegistryError),
    /// The user may not do it, or the request cannot be read.
    Request(Error),
}

type Outcome<T = Value> = std::result::Result<T, Failure>;

impl RegistryService {
    pub(super) fn new(engine: impl Fn() -> Result<Engine> + Send + Sync + 'static) -> Shared {
        Arc::new(RegistryService { engine: Box::new(engine) })
    }

    fn call(&self, user: Principal) -> Outcome<Call> {
        let engine = (self.engine)()?;
        let registry = engine.builtin_registry().cloned().ok_or_else(|| {
            Error::not_found("the built-in schema registry is not used").with_hint(
                "unset ksql.schema.registry.url to use it, or send the request to the registry that it names",
            )
        })?;
        Ok(Call { engine, registry, user })
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Failure {
        Failure::Registry(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Request(error)
    }
}

impl Call {
    /// An error unless the user may work with the topic of a subject.
    fn check_subject(&self, subject: &str) -> Outcome<()> {
        Ok(self.engine.check_subject(&self.user, subject)?)
    }

    /// Whether the user may see a subject in a list.
    fn sees(&self, subject: &str) -> bool {
        self.engine.check_subject(&self.user, subject).is_ok()
    }

    /// A change: the role is checked (the table of routes does not know of a read-only server), and the outcome is recorded.
    fn change<T>(
        &self,
        role: Role,
        what: &str,
        subject: Option<&str>,
        work: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<T> {
        let named = subject.map_or(Ok(()), |subject| self.check_subject(subject));
        let allowed = named.and_then(|()| Ok(self.engine.require(&self.user, role, what)?));
        let outcome = allowed.and_then(|()| work());
        let details = json!({ "what": what, "subject": subject });
        let error = match &outcome {
            Ok(_) => None,
            Err(Failure::Request(e)) => Some(Error::statement(e.message()).with_code(e.code())),
            Err(Failure::Registry(e)) => Some(Error::statement(e.to_string())),
        };
        self.engine.audit().note("schema_registry", &self.user, details, error.as_ref().map_or(Ok(()), Err));
        outcome
    }
}

/// Every route of the registry.
pub(super) fn routes() -> Routes<Shared> {
    let (reader, writer) = (Needs::Role(Role::Reader), Needs::Role(Role::Writer));
    let (admin, global) = (Needs::Role(Role::Admin), Needs::AllTopics(Role::Admin));
    Routes::new()
        .get("/schema-registry", reader, root)
        .get("/schema-registry/", reader, root)
        .get("/schema-registry/subjects", reader, subjects::list)
        .post("/schema-registry/subjects/{subject}", reader, subjects::lookup)
        .delete("/schema-registry/subjects/{subject}", admin, subjects::delete)
        .get("/schema-registry/subjects/{subject}/versions", reader, subjects::versions)
        .post("/schema-registry/subjects/{subject}/versions", writer, subjects::register)
        .get("/schema-registry/subjects/{subject}/versions/{version}", reader, subjects::version)
        .delete("/schema-registry/subjects/{subject}/versions/{version}", admin, subjects::delete_version)
        .get("/schema-registry/subjects/{subject}/versions/{version}/schema", reader, subjects::schema)
        .get("/schema-registry/subjects/{subject}/versions/{version}/referencedby", reader, subjects::referenced_by)
        .get("/schema-registry/schemas", reader, schemas::list)
        .get("/schema-registry/schemas/types", reader, schemas::types)
        .get("/schema-registry/schemas/ids/{id}", reader, schemas::by_id)
        .get("/schema-registry/schemas/ids/{id}/schema", reader, schemas::text)
        .get("/schema-registry/schemas/ids/{id}/subjects", reader, schemas::subjects)
        .get("/schema-registry/schemas/ids/{id}/versions", reader, schemas::versions)
        .get("/schema-registry/schemas/guids/{guid}", reader, schemas::by_guid)
        .get("/schema-registry/schemas/guids/{guid}/ids", reader, schemas::ids)
        .post("/schema-registry/compatibility/subjects/{subject}/versions", reader, compatibility::with_all)
        .post("/schema-registry/compatibility/subjects/{subject}/versions/{version}", reader, compatibility::with_one)
        .get("/schema-registry/config", reader, settings::level)
        .put("/schema-registry/config", global, settings::set_level)
        .delete("/schema-registry/config", global, settings::unset_level)
        .get("/schema-registry/config/{subject}", reader, settings::level)
        .put("/schema-registry/config/{subject}", admin, settings::set_level)
        .delete("/schema-registry/config/{subject}", admin, settings::unset_level)
        .get("/schema-registry/mode", reader, settings::mode)
        .put("/schema-registry/mode", global, settings::set_mode)
        .delete("/schema-registry/mode", global, settings::unset_mode)
        .get("/schema-registry/mode/{subject}", reader, settings::mode)
        .put("/schema-registry/mode/{subject}", admin, settings::set_mode)
        .delete("/schema-registry/mode/{subject}", admin, settings::unset_mode)
        .get("/schema-registry/contexts", reader, contexts)
        .get("/schema-registry/v1/metadata/id", reader, cluster_id)
        .get("/schema-registry/v1/metadata/version", reader, version)
        .get("/schema-registry/associations/{*path}", reader, association)
}

async fn root() -> Response {
    respond(Ok(json!({})))
}

async fn contexts() -> Response {
    respond(Ok(json!(["."])))
}

async fn version() -> Response {
    respond(Ok(json!({ "version": env!("CARGO_PKG_VERSION"), "commitId": "" })))
}

async fn cluster_id(
    axum::extract::State(service): axum::extract::State<Shared>,
    axum::Extension(user): axum::Extension<Principal>,
) -> Response {
    run(service, user, |call| {
        let id = call.engine.log().cluster_id()?;
        let clusters = json!({ "kafka-cluster": id, "schema-registry-cluster": "schema-registry" });
        Ok(json!({ "scope": { "path": [], "clusters": clusters } }))
    })
    .await
}

/// Confluent's clients ask for associations first, and take the name of the topic when there are none.
async fn association(Path(path): Path<String>) -> Response {
    let resource = path.rsplit('/').next().unwrap_or_default();
    respond(Err(RegistryError::refused(404, 40410, format!("Association for '{resource}' not found.")).into()))
}

/// Runs a request on a thread where it may wait for the log.
async fn run(service: Shared, user: Principal, work: impl FnOnce(&Call) -> Outcome + Send + 'static) -> Response {
    run_for(service, user, move |call| respond(work(call))).await
}

/// The same for a response of another kind.
async fn run_for(service: Shared, user: Principal, work: impl FnOnce(&Call) -> Response + Send + 'static) -> Response {
    let work = move || match service.call(user) {
        Ok(call) => work(&call),
        Err(failure) => respond(Err(failure)),
    };
    let done = match on_thread(move || threads::guard(REQUEST, "", work)) {
        Ok(running) => running.await,
        Err(busy) => return error::response(&busy, None),
    };
    let done = done.unwrap_or_else(|_| Err(Error::bug("the request's task ended early")));
    done.unwrap_or_else(|panic| error::response(&panic, None))
}

fn respond(outcome: Outcome) -> Response {
    match outcome {
        Ok(value) => body(StatusCode::OK, value.to_string()),
        Err(Failure::Registry(RegistryError::Refused(refused))) => {
            let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            body(status, json!({ "error_code": refused.code, "message": refused.message }).to_string())
        }
        Err(Failure::Registry(RegistryError::Unreachable(reason))) => {
            let message = format!("Error in the backend data store: {reason}");
            body(StatusCode::INTERNAL_SERVER_ERROR, json!({ "error_code": 50001, "message": message }).to_string())
        }
        Err(Failure::Request(e)) => error::response(&e, None),
    }
}

fn body(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, MEDIA_TYPE)], text).into_response()
}

fn refused(status: u16, code: i32, message: impl Into<String>) -> Failure {
    Failure::Registry(RegistryError::refused(status, code, message))
}

/// Whether a parameter is `true`; Python's clients write `True`.
fn flag(parameters: &Parameters, name: &str) -> bool {
    parameters.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A number of a parameter; `None` = it is not given, or not a number.
fn number(parameters: &Parameters, name: &str) -> Option<i64> {
    parameters.get(name).and_then(|value| value.parse().ok())
}

/// The part of a list that `offset` and `limit` name.
fn page<T>(list: impl Iterator<Item = T>, parameters: &Parameters) -> Vec<T> {
    let at_least_0 = |name| number(parameters, name).and_then(|number| usize::try_from(number).ok());
    list.skip(at_least_0("offset").unwrap_or(0)).take(at_least_0("limit").unwrap_or(usize::MAX)).collect()
}

/// A version in a path: `None` = the latest.
fn version_number(text: &str) -> Outcome<Option<i32>> {
    if matches!(text, "latest" | "-1") {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number: &i32| *number > 0).map(Some);
    number.ok_or_else(|| {
        let text = format!(
            "The specified version '{text}' is not a valid version id. Allowed values are between [1, 2^31-1] and the \
             string \"latest\""
        );
        refused(422, 42202, text)
    })
}

/// The JSON object of a request.
fn object(body: &[u8]) -> Outcome<Map<String, Value>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(refused(400, 400, "the request is not a JSON object")),
        Err(e) => Err(refused(400, 400, format!("the request is not JSON: {e}"))),
    }
}
