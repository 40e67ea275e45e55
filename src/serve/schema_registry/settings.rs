//! Levels of compatibility and modes, global and of subjects.

use super::{Call, Outcome, Parameters, Shared, flag, object, refused, run};
use crate::engine::access::{Principal, Role};
use crate::registry::builtin::Mode;
use crate::registry::compatibility::Level;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use serde_json::{Value, json};

/// The subject of a path; without one the setting is that of all subjects.
type Subject = Option<Path<String>>;

pub(super) async fn level(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Subject,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        let (subject, inherits) = asked(call, subject.as_ref(), &parameters)?;
        Ok(json!({ "compatibilityLevel": call.registry.level(subject, inherits)?.name() }))
    })
    .await
}

pub(super) async fn set_level(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Subject,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        let subject = name_of(subject.as_ref());
        call.change(Role::Admin, "set a compatibility level", subject, || {
            let name = text(&body, "compatibility")?;
            let level = Level::named(&name).ok_or_else(|| {
                let valid =
                    "none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive";
                refused(422, 42203, format!("Invalid compatibility level. Valid values are {valid}"))
            })?;
            call.registry.set_level(subject, level)?;
            Ok(json!({ "compatibility": level.name() }))
        })
    })
    .await
}

pub(super) async fn unset_level(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Subject,
) -> Response {
    run(service, user, move |call| {
        let subject = name_of(subject.as_ref());
        call.change(Role::Admin, "remove a compatibility level", subject, || {
            let level = call.registry.unset_level(subject)?;
            Ok(json!({ "compatibilityLevel": level.name() }))
        })
    })
    .await
}

pub(super) async fn mode(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Subject,
    parameters: Parameters,
) -> Response {
    run(service, user, move |call| {
        let (subject, inherits) = asked(call, subject.as_ref(), &parameters)?;
        Ok(json!({ "mode": call.registry.mode(subject, inherits)?.name() }))
    })
    .await
}

pub(super) async fn set_mode(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Subject,
    parameters: Parameters,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        let subject = name_of(subject.as_ref());
        call.change(Role::Admin, "set a mode", subject, || {
            let name = text(&body, "mode")?;
            let mode = Mode::named(&name).ok_or_else(|| {
                refused(
                    422,
                    42204,
                    "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE, and IMPORT.",
                )
            })?;
            call.registry.set_mode(subject, mode, flag(&parameters, "force"))?;
            Ok(json!({ "mode": mode.name() }))
        })
    })
    .await
}

pub(super) async fn unset_mode(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    subject: Subject,
) -> Response {
    run(service, user, move |call| {
        let subject = name_of(subject.as_ref());
        call.change(Role::Admin, "remove a mode", subject, || {
            Ok(json!({ "mode": call.registry.unset_mode(subject)?.name() }))
        })
    })
    .await
}

fn name_of(subject: Option<&Path<String>>) -> Option<&str> {
    subject.map(|Path(name)| name.as_str())
}

/// The subject whose setting is read, if the user may, and whether the global one is returned where it has none.
fn asked<'a>(
    call: &Call,
    subject: Option<&'a Path<String>>,
    parameters: &Parameters,
) -> Outcome<(Option<&'a str>, bool)> {
    let Some(subject) = name_of(subject) else { return Ok((None, true)) };
    call.check_subject(subject)?;
    Ok((Some(subject), flag(parameters, "defaultToGlobal")))
}

/// A text of the request; what is missing is an invalid value.
fn text(body: &[u8], name: &str) -> Outcome<String> {
    let object = object(body)?;
    Ok(object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned())
}
