//! Checks of compatibility that register nothing.

use super::subjects::submitted;
use super::{Outcome, Parameters, Shared, flag, run, version_number};
use crate::engine::access::Principal;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use serde_json::{Value, json};

/// With one version, or the latest.
pub(super) async fn with_one(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path((subject, version)): Path<(String, String)>,
    parameters: Parameters,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        call.check_subject(&subject)?;
        let (number, submitted) = (version_number(&version)?, submitted(&body, &parameters)?);
        let messages = match number {
            Some(_) => call.registry.incompatibilities(&subject, number, &submitted)?,
            None => call.registry.incompatibilities_with_latest(&subject, &submitted)?,
        };
        respond(&messages, &parameters)
    })
    .await
}

/// With the versions that the subject's level compares.
pub(super) async fn with_all(
    State(service): State<Shared>,
    Extension(user): Extension<Principal>,
    Path(subject): Path<String>,
    parameters: Parameters,
    body: Bytes,
) -> Response {
    run(service, user, move |call| {
        call.check_subject(&subject)?;
        let submitted = submitted(&body, &parameters)?;
        respond(&call.registry.incompatibilities(&subject, None, &submitted)?, &parameters)
    })
    .await
}

fn respond(messages: &[String], parameters: &Parameters) -> Outcome<Value> {
    Ok(match flag(parameters, "verbose") {
        true => json!({ "is_compatible": messages.is_empty(), "messages": messages }),
        false => json!({ "is_compatible": messages.is_empty() }),
    })
}
