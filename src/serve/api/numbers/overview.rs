//! `GET /api/v1/overview`.

use super::queries::rates;
use crate::engine::STATEMENTS_MAX;
use crate::engine::access::Principal;
use crate::engine::facts::history::{FINE_POINTS, FINE_STEP, RINGS_MAX};
use crate::engine::facts::overview::{Attention, Overview};
use crate::engine::session::Session;
use crate::serve::App;
use crate::serve::api::parameters::parameters;
use crate::serve::api::{failure, reply};
use crate::serve::limits::{BODY_BYTES_MAX, CONNECTIONS_MAX, READER_PATIENCE, STREAMS_MAX};
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// The server at a glance.
pub(in crate::serve::api) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
) -> Response {
    if let Err(e) = parameters(&uri, &[]) {
        return failure(&e, None);
    }
    reply(&app, move |app| {
        let (user, role) = (principal.name.clone(), app.engine.role_of(&principal).name());
        let overview = app.engine.overview(&Session::of(principal));
        Ok(body(app, &overview, &user, role))
    })
    .await
}

fn body(app: &App, overview: &Overview, user: &str, role: &str) -> Value {
    let clock = app.engine.clock();
    let now = clock.now_ms();
    let [running, paused, waiting, error] = overview.queries;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("TIDEGATE_COMMIT"),
        "log": { "kind": overview.log_kind, "place": overview.log_place },
        "startedAt": now - clock.monotonic().saturating_sub(app.started).as_millis() as i64,
        "now": now,
        "role": role,
        "user": user,
        "readOnly": app.engine.config().is_read_only(),
        "queries": { "running": running, "paused": paused, "waiting": waiting, "error": error },
        "sources": { "streams": overview.streams, "tables": overview.tables },
        "topics": overview.topics,
        "rates": rates(&overview.rates),
        "lag": overview.lag,
        "bad": overview.bad,
        "late": overview.late,
        "rssBytes": overview.process.resident_bytes,
        "stateBytes": overview.state_bytes,
        "diskFreeBytes": overview.disk_free,
        "attention": overview.attention.iter().map(attention).collect::<Vec<_>>(),
        "limits": {
            "connections": CONNECTIONS_MAX,
            "streams": STREAMS_MAX,
            "bodyBytes": BODY_BYTES_MAX,
            "statements": STATEMENTS_MAX,
            "readerPatienceMillis": READER_PATIENCE.as_millis() as u64,
            "historyQueries": RINGS_MAX,
            "historyMillis": FINE_STEP.as_millis() as u64 * FINE_POINTS as u64,
        },
    })
}

fn attention(item: &Attention) -> Value {
    json!({
        "query": item.query,
        "topic": item.topic,
        "severity": item.severity.name(),
        "text": item.text,
        "since": item.since_ms,
        "statements": item.statements,
    })
}
