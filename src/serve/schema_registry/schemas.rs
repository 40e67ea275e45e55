//! Schemas by their ids and GUIDs.

use super::subjects::{described, filter, is_serialized, prefix};
use super::{Call, Outcome, Parameters, Shared, flag, page, refused, respond, run, run_for};
use crate::catalog::{Guid, SchemaType};
use crate::engine::access::Principal;
use crate::registry::SCHEMA_NOT_FOUND;
use crate::registry::builtin::{Filter, Name, Schema};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) async fn types() -> Response {
    respond(Ok(json!(["JSON", "PROTOBUF", "AVRO"])))
}

pub(super) async fn list(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        let latest = flag(&parameters, "latestOnly");
        let found = call.registry.list(prefix(&parameters), filter(&parameters), latest)?;
        let seen = found.into_iter().filter(|found| call.sees(&found.subject));
        let described = |found| {
            let crate::registry::builtin::Found { subject, version } = found;
            described(&call.registry, &subject, &version, &parameters)
        };
        Ok(page(seen, &parameters).into_iter().map(described).collect())
    })
    .await
}

pub(super) async fn by_id(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| described_alone(call, &*find(call, &id)?, &parameters)).await
}

pub(super) async fn by_guid(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(guid): Path<String>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| described_alone(call, &find_guid(call, &guid)?.1, &parameters)).await
}

pub(super) async fn ids(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(guid): Path<String>,
) -> Response {
    run(service, user, move |call| Ok(json!([{ "context": ".", "id": find_guid(call, &guid)?.0 }]))).await
}

/// A schema that is asked for without a subject.
fn described_alone(call: &Call, schema: &Schema, parameters: &Parameters) -> Outcome {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    if parameters.takes_unknown {
        put("guid", schema.guid.to_string().into());
    }
    if schema.kind != SchemaType::Avro {
        put("schemaType", schema.kind.name().into());
    }
    put("schema", call.registry.formatted(schema, is_serialized(parameters)).into());
    if !schema.references.is_empty() {
        put("references", schema.references.iter().map(Name::json).collect());
    }
    if flag(parameters, "fetchMaxId") {
        put("maxId", call.registry.last_id()?.into());
    }
    Ok(Value::Object(object))
}

pub(super) async fn text(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Response {
    run_for(service, user, move |call| match find(call, &id) {
        Ok(schema) => super::body(StatusCode::OK, call.registry.formatted(&schema, is_serialized(&parameters))),
        Err(failure) => respond(Err(failure)),
    })
    .await
}

pub(super) async fn subjects(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        let mut names: Vec<String> = uses(call, &id, &parameters)?.into_iter().map(|(subject, _)| subject).collect();
        names.dedup();
        Ok(json!(page(names.into_iter(), &parameters)))
    })
    .await
}

pub(super) async fn versions(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        let uses = page(uses(call, &id, &parameters)?.into_iter(), &parameters);
        Ok(uses.into_iter().map(|(subject, version)| json!({ "subject": subject, "version": version })).collect())
    })
    .await
}

fn number(text: &str) -> Outcome<i32> {
    text.parse().map_err(|_| refused(404, 404, "HTTP 404 Not Found"))
}

fn uses(call: &Call, id: &str, parameters: &Parameters) -> Outcome<Vec<(String, i32)>> {
    let uses = call.registry.uses_of(number(id)?, filter(parameters))?;
    Ok(uses.into_iter().filter(|(subject, _)| call.sees(subject)).collect())
}

/// The schema of an id.
fn find(call: &Call, id: &str) -> Outcome<Arc<Schema>> {
    let id = number(id)?;
    let schema = call.registry.schema_of(id)?;
    check(call, id)?;
    Ok(schema)
}

/// The schema of a GUID, and its id.
fn find_guid(call: &Call, guid: &str) -> Outcome<(i32, Arc<Schema>)> {
    let unknown = || refused(404, SCHEMA_NOT_FOUND, format!("Schema {guid} not found"));
    let found = call.registry.schema_of_guid(Guid::parse(guid).ok_or_else(unknown)?)?;
    check(call, found.0)?;
    Ok(found)
}

/// A user who is limited to some topics sees a schema if one of its subjects is of these.
fn check(call: &Call, id: i32) -> Outcome<()> {
    if !call.user.topics.is_unlimited() {
        let uses = call.registry.uses_of(id, Filter::All)?;
        if let Some((subject, _)) = uses.first().filter(|_| !uses.iter().any(|(subject, _)| call.sees(subject))) {
            call.check_subject(subject)?;
        }
    }
    Ok(())
}
