//! Subjects and their versions.

use super::{Call, Failure, Outcome, Parameters, Shared, flag, object, page, refused, run, run_for, version_number};
use crate::catalog::SchemaType;
use crate::engine::access::{Principal, Role};
use crate::registry::builtin::{Builtin, Filter, Name, References, Submitted, Version};
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

/// `deleted=true` adds soft-deleted versions, `deletedOnly=true` lists nothing else.
pub(super) fn filter(parameters: &Parameters) -> Filter {
    match (flag(parameters, "deletedOnly"), flag(parameters, "deleted")) {
        (true, _) => Filter::Deleted,
        (false, true) => Filter::All,
        (false, false) => Filter::Live,
    }
}

/// The prefix of subjects; `:*:` = those of all contexts, of which there is one.
pub(super) fn prefix(parameters: &Parameters) -> &str {
    let prefix = parameters.get("subjectPrefix").map_or("", String::as_str);
    prefix.strip_prefix(":*:").unwrap_or(prefix)
}

pub(super) async fn list(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        let names = call.registry.subject_names(prefix(&parameters), filter(&parameters))?;
        Ok(json!(page(names.into_iter().filter(|subject| call.sees(subject)), &parameters)))
    })
    .await
}

pub(super) async fn versions(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(subject): Path<String>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        call.check_subject(&subject)?;
        let numbers = call.registry.version_numbers(&subject, filter(&parameters))?;
        Ok(json!(page(numbers.into_iter(), &parameters)))
    })
    .await
}

pub(super) async fn version(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path((subject, version)): Path<(String, String)>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        let found = find(call, &subject, &version, flag(&parameters, "deleted"))?;
        Ok(described(&call.registry, &subject, &found, &parameters))
    })
    .await
}

pub(super) async fn schema(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path((subject, version)): Path<(String, String)>,
    parameters: Parameters,
) -> Response {
    run_for(service, user, move |call| match find(call, &subject, &version, flag(&parameters, "deleted")) {
        Ok(found) => super::body(StatusCode::OK, call.registry.formatted(&found.schema, is_serialized(&parameters))),
        Err(failure) => super::respond(Err(failure)),
    })
    .await
}

pub(super) async fn referenced_by(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path((subject, version)): Path<(String, String)>,
) -> Response {
    run(service, user, move |call| {
        call.check_subject(&subject)?;
        Ok(json!(call.registry.referring(&subject, version_number(&version)?)?))
    })
    .await
}

pub(super) async fn register(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(subject): Path<String>,
    parameters: Parameters,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        call.change(Role::Writer, "register a schema", Some(&subject), || {
            let submitted = submitted(&body, &parameters)?;
            let version = call.registry.register_schema(&subject, &submitted)?;
            Ok(match parameters.takes_unknown {
                true => {
                    json!({ "id": version.id, "version": version.version, "guid": version.schema.guid.to_string() })
                }
                false => json!({ "id": version.id }),
            })
        })
    })
    .await
}

pub(super) async fn lookup(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(subject): Path<String>,
    parameters: Parameters,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        call.check_subject(&subject)?;
        let submitted = submitted(&body, &parameters)?;
        let found = call.registry.find_schema(&subject, &submitted, flag(&parameters, "deleted"))?;
        Ok(described(&call.registry, &subject, &found, &parameters))
    })
    .await
}

pub(super) async fn delete(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(subject): Path<String>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        call.change(Role::Admin, "delete a subject", Some(&subject), || {
            Ok(json!(call.registry.delete(&subject, flag(&parameters, "permanent"))?))
        })
    })
    .await
}

pub(super) async fn delete_version(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path((subject, version)): Path<(String, String)>,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        call.change(Role::Admin, "delete a version", Some(&subject), || {
            let number = version_number(&version)?;
            Ok(json!(call.registry.delete_version(&subject, number, flag(&parameters, "permanent"))?))
        })
    })
    .await
}

fn find(call: &Call, subject: &str, version: &str, deleted: bool) -> Outcome<Version> {
    call.check_subject(subject)?;
    Ok(call.registry.get(subject, version_number(version)?, deleted)?)
}

/// `format=serialized`: a Protobuf schema as a descriptor.
pub(super) fn is_serialized(parameters: &Parameters) -> bool {
    parameters.get("format").is_some_and(|format| format == "serialized")
}

/// A version as clients get it. Without a type it is Avro; empty lists are left out.
pub(super) fn described(registry: &Builtin, subject: &str, version: &Version, parameters: &Parameters) -> Value {
    let schema = &version.schema;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("subject", subject.into());
    put("version", version.version.into());
    put("id", version.id.into());
    if parameters.takes_unknown {
        put("guid", schema.guid.to_string().into());
    }
    if schema.kind != SchemaType::Avro {
        put("schemaType", schema.kind.name().into());
    }
    if !schema.references.is_empty() {
        put("references", schema.references.iter().map(Name::json).collect());
    }
    put("schema", registry.formatted(schema, is_serialized(parameters)).into());
    Value::Object(object)
}

/// The schema of a request.
pub(super) fn submitted(body: &[u8], parameters: &Parameters) -> Outcome<Submitted> {
    let object = object(body)?;
    let given = |name: &str| object.get(name).filter(|value| !value.is_null());
    for name in ["metadata", "ruleSet", "schemaTagsToAdd", "schemaTagsToRemove"] {
        if given(name).is_some() {
            return Err(refused(422, 42210, format!("{name} is not supported by the built-in schema registry")));
        }
    }
    let kind = match given("schemaType").map(|kind| kind.as_str().unwrap_or_default()) {
        None | Some("") => SchemaType::Avro,
        Some(name) => SchemaType::by_name(&name.to_uppercase())
            .ok_or_else(|| refused(422, 42201, format!("Invalid schema type {name}")))?,
    };
    let text = match given("schema") {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(refused(400, 400, "\"schema\" is not a string")),
    };
    let references = match given("references") {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().map(reference).collect::<Outcome<_>>()?,
        Some(_) => return Err(refused(400, 400, "\"references\" is not an array")),
    };
    let number = |name: &str| -> Outcome<Option<i32>> {
        let Some(value) = given(name) else { return Ok(None) };
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        number.map(Some).ok_or_else(|| refused(400, 400, format!("\"{name}\" is not a number of 32 bits")))
    };
    Ok(Submitted {
        kind,
        text,
        references: References::Direct(references),
        // -1 is what clients send for "none".
        id: number("id")?.filter(|id| *id >= 0),
        version: number("version")?.filter(|version| *version > 0),
        normalize: flag(parameters, "normalize"),
    })
}

fn reference(value: &Value) -> Result<Name, Failure> {
    let wrong = || refused(400, 400, format!("a reference is not {{\"name\",\"subject\",\"version\"}}: {value}"));
    Name::read(value).ok_or_else(wrong)
}
