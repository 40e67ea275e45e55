//! Levels of compatibility and modes, global and of subjects.

use super::{Outcome, Parameters, Shared, flag, object, refused, run};
use crate::engine::access::{Principal, Role};
use crate::registry::builtin::Mode;
use crate::registry::compatibility::Level;
use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use serde_json::{Value, json};

pub(super) async fn level(State(service): State<Shared>, Extension(user): Extension<Principal>) -> Response {
    run(service, user, |call| Ok(json!({ "compatibilityLevel": call.registry.level(None, true)?.name() }))).await
}

pub(super) async fn level_of(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(subject): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Response {
    run(service, user, move |call| {
        call.check_subject(&subject)?;
        let level = call.registry.level(Some(&subject), flag(&parameters, "defaultToGlobal"))?;
        Ok(json!({ "compatibilityLevel": level.name() }))
    })
    .await
}

pub(super) async fn set_level(service: State<Shared>, user: Extension<Principal>, body: Bytes) -> Response {
    change_level(service, user, None, body).await
}

pub(super) async fn set_level_of(
    service: State<Shared>,
    user: Extension<Principal>,
    Path(subject): Path<String>,
    body: Bytes,
) -> Response {
    change_level(service, user, Some(subject), body).await
}

async fn change_level(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Option<String>,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        call.change(Role::Admin, "set a compatibility level", subject.as_deref(), || {
            let name = text(&body, "compatibility")?;
            let level = Level::named(&name).ok_or_else(|| {
                let valid =
                    "none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive";
                refused(422, 42203, format!("Invalid compatibility level. Valid values are {valid}"))
            })?;
            call.registry.set_level(subject.as_deref(), level)?;
            Ok(json!({ "compatibility": level.name() }))
        })
    })
    .await
}

pub(super) async fn unset_level(service: State<Shared>, user: Extension<Principal>) -> Response {
    remove_level(service, user, None).await
}

pub(super) async fn unset_level_of(
    service: State<Shared>,
    user: Extension<Principal>,
    Path(subject): Path<String>,
) -> Response {
    remove_level(service, user, Some(subject)).await
}

async fn remove_level(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Option<String>,
) -> Response {
    run(service, user, move |call| {
        call.change(Role::Admin, "remove a compatibility level", subject.as_deref(), || {
            let level = call.registry.unset_level(subject.as_deref())?;
            Ok(json!({ "compatibilityLevel": level.name() }))
        })
    })
    .await
}

pub(super) async fn mode(State(service): State<Shared>, Extension(user): Extension<Principal>) -> Response {
    run(service, user, |call| Ok(json!({ "mode": call.registry.mode(None, true)?.name() }))).await
}

pub(super) async fn mode_of(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(subject): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Response {
    run(service, user, move |call| {
        call.check_subject(&subject)?;
        let mode = call.registry.mode(Some(&subject), flag(&parameters, "defaultToGlobal"))?;
        Ok(json!({ "mode": mode.name() }))
    })
    .await
}

pub(super) async fn set_mode(
    service: State<Shared>,
    user: Extension<Principal>,
    parameters: Query<Parameters>,
    body: Bytes,
) -> Response {
    change_mode(service, user, None, parameters, body).await
}

pub(super) async fn set_mode_of(
    service: State<Shared>,
    user: Extension<Principal>,
    Path(subject): Path<String>,
    parameters: Query<Parameters>,
    body: Bytes,
) -> Response {
    change_mode(service, user, Some(subject), parameters, body).await
}

async fn change_mode(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Option<String>,
    Query(parameters): Query<Parameters>,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        call.change(Role::Admin, "set a mode", subject.as_deref(), || {
            let name = text(&body, "mode")?;
            let mode = Mode::named(&name).ok_or_else(|| {
                refused(
                    422,
                    42204,
                    "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE, and IMPORT.",
                )
            })?;
            call.registry.set_mode(subject.as_deref(), mode, flag(&parameters, "force"))?;
            Ok(json!({ "mode": mode.name() }))
        })
    })
    .await
}

pub(super) async fn unset_mode(service: State<Shared>, user: Extension<Principal>) -> Response {
    remove_mode(service, user, None).await
}

pub(super) async fn unset_mode_of(
    service: State<Shared>,
    user: Extension<Principal>,
    Path(subject): Path<String>,
) -> Response {
    remove_mode(service, user, Some(subject)).await
}

async fn remove_mode(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Option<String>,
) -> Response {
    run(service, user, move |call| {
        call.change(Role::Admin, "remove a mode", subject.as_deref(), || {
            let mode = call.registry.unset_mode(subject.as_deref())?;
            Ok(json!({ "mode": mode.name() }))
        })
    })
    .await
}

/// A text of the request; what is missing is an invalid value.
fn text(body: &[u8], name: &str) -> Outcome<String> {
    let object = object(body)?;
    Ok(object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned())
}
