//! `/api/v1`: what the server knows, as data for programs and for the console.
//!
//! ```text
//! GET /api/v1/session            -> {"user":"local","role":"admin","authentication":"none"}
//! GET /api/v1/topics/nosuch      -> 404 {"code":40400,"message":"...","detail":null,"hint":"...","span":null}
//! ```
//!
//! JSON with names in camelCase, offsets into texts in UTF-16, times in milliseconds since 1970, `null` for what is unknown.
//! The facts are made in `engine`; a handler here reads a request and writes a response. docs/api.md describes every endpoint.

mod numbers;
mod session;

use super::routes::{Needs, Routes};
use super::{App, REQUEST, on_thread};
use crate::engine::access::Role;
use crate::error::{Error, Result};
use crate::parse::place::Place;
use crate::threads;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// Where all of it is.
pub(super) const ROOT: &str = "/api/v1";

/// Every route below [`ROOT`].
pub(super) fn routes() -> Routes<Arc<App>> {
    let reader = Needs::Role(Role::Reader);
    Routes::new()
        .get("/api/v1/session", reader, session::show)
        .post("/api/v1/session", Needs::Nothing, session::open)
        .delete("/api/v1/session", reader, session::close)
        .get("/api/v1/overview", reader, numbers::overview::show)
        .get("/api/v1/queries", reader, numbers::queries::list)
        .get("/api/v1/queries/{id}", reader, numbers::queries::one)
        .get("/api/v1/graph", reader, numbers::graph::show)
        .get("/api/v1/history", reader, numbers::history::show)
}

/// Is the path below [`ROOT`]?
pub(super) fn is_path(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The body of an error; its span is a place in `text`.
pub(super) fn error_body(error: &Error, text: Option<&str>) -> Value {
    json!({
        "code": error.code(),
        "message": error.message(),
        "detail": error.detail(),
        "hint": error.hint(),
        "span": text.zip(error.span()).map(|(text, span)| place(Place::of(text, span))),
    })
}

/// A place as data.
pub(super) fn place(place: Place) -> Value {
    json!({ "start": place.start, "end": place.end, "line": place.line, "column": place.column })
}

/// The response of a failed request: its status is the code divided by 100.
pub(super) fn failure(error: &Error, text: Option<&str>) -> Response {
    let status = u16::try_from(error.code() / 100).ok().and_then(|code| StatusCode::from_u16(code).ok());
    (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(error_body(error, text))).into_response()
}

/// Runs what may wait for the log on a thread where it may wait, and sends what it returns.
async fn reply(app: &Arc<App>, work: impl FnOnce(&App) -> Result<Value> + Send + 'static) -> Response {
    let app = app.clone();
    let done = match on_thread(move || threads::guard(REQUEST, "", || work(&app))) {
        Ok(running) => running.await,
        Err(busy) => return failure(&busy, None),
    };
    match done.unwrap_or_else(|_| Err(Error::bug("the request's task ended early"))) {
        Ok(Ok(body)) => Json(body).into_response(),
        Ok(Err(e)) | Err(e) => failure(&e, None),
    }
}
