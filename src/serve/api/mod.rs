//! `/api/v1`: what the server knows, as data for programs and for the console.
//!
//! ```text
//! GET /api/v1/session            -> {"user":"local","role":"admin","authentication":"none"}
//! GET /api/v1/topics/nosuch      -> 404 {"code":40400,"message":"...","detail":null,"hint":"...","span":null}
//! ```
//!
//! JSON with names in camelCase, offsets into texts in UTF-16, times in milliseconds since 1970, `null` for what is unknown.
//! The facts are made in `engine`; a handler here reads a request and writes a response. docs/api.md describes every endpoint.

mod lists;
mod numbers;
mod openapi;
mod parameters;
mod plan;
mod records;
mod session;
mod text;

use super::error::api_response as failure;
use super::ksql::read;
use super::routes::{Needs, Routes};
use super::{App, REQUEST, on_thread};
use crate::engine::access::Role;
use crate::error::{Error, Result};
use crate::threads;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Every route below `/api/v1`.
pub(super) fn routes() -> Routes<Arc<App>> {
    let reader = Needs::Role(Role::Reader);
    Routes::new()
        .get("/openapi.json", reader, openapi::document)
        .get("/api/v1", reader, openapi::page)
        .get("/api/v1/session", reader, session::show)
        .post("/api/v1/session", Needs::Nothing, session::open)
        .delete("/api/v1/session", reader, session::close)
        .get("/api/v1/overview", reader, numbers::overview::show)
        .get("/api/v1/queries", reader, numbers::queries::list)
        .get("/api/v1/queries/{id}", reader, numbers::queries::one)
        .get("/api/v1/graph", reader, numbers::graph::show)
        .get("/api/v1/history", reader, numbers::history::show)
        .post("/api/v1/check", reader, text::check)
        .post("/api/v1/complete", reader, text::completions)
        .post("/api/v1/format", reader, text::format)
        .post("/api/v1/plan", reader, plan::of_text)
        .get("/api/v1/queries/{id}/plan", reader, plan::of_query)
        .get("/api/v1/sources", reader, lists::sources)
        .get("/api/v1/topics", reader, lists::topics)
        .get("/api/v1/topics/{topic}", reader, lists::topic)
        .get("/api/v1/topics/{topic}/records", reader, records::read)
        .post("/api/v1/topics/{topic}/records", Needs::Role(Role::Writer), records::write)
        .get("/api/v1/problems", reader, lists::problems)
        .get("/api/v1/settings", reader, lists::settings)
        .get("/api/v1/statements", Needs::AllTopics(Role::Reader), lists::statements)
}

/// Reads the body of a request.
fn sent<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    read(body).map_err(|e| e.with_hint("docs/api.md describes the body of each request"))
}

/// Runs what may wait for the log on a thread where it may wait, and sends what it returns.
async fn reply(app: &Arc<App>, work: impl FnOnce(&App) -> Result<Value> + Send + 'static) -> Response {
    reply_in(app, None, work).await
}

/// The same for a request with a text, in which its errors have their places.
async fn reply_in(
    app: &Arc<App>,
    text: Option<String>,
    work: impl FnOnce(&App) -> Result<Value> + Send + 'static,
) -> Response {
    let app = app.clone();
    let done = match on_thread(move || threads::guard(REQUEST, "", || work(&app))) {
        Ok(running) => running.await,
        Err(busy) => return failure(&busy, None),
    };
    match done.unwrap_or_else(|_| Err(Error::bug("the request's task ended early"))) {
        Ok(Ok(body)) => Json(body).into_response(),
        Ok(Err(e)) | Err(e) => failure(&e, text.as_deref()),
    }
}
