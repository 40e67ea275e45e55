//! What the server says about itself: who it is, how it is, what became of a statement.

use super::{App, blocking, error};
use crate::config;
use crate::engine::query::State as QueryState;
use crate::error::Error;
use crate::parse::statement::SourceKind;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn info(State(app): State<Arc<App>>) -> Response {
    blocking(&app, |app| match app.engine.log().cluster_id() {
        Ok(cluster) => Json(json!({ "KsqlServerInfo": {
            "version": env!("CARGO_PKG_VERSION"),
            "kafkaClusterId": cluster,
            "ksqlServiceId": app.engine.config().service_id,
            "serverStatus": "RUNNING",
        }}))
        .into_response(),
        Err(e) => error::response(&e, None),
    })
    .await
}

/// Always 200: the body says how it is.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    blocking(&app, |app| {
        let kafka = app.engine.log().cluster_id().is_ok();
        Json(json!({
            "isHealthy": kafka,
            "details": {
                "metastore": { "isHealthy": true },
                "kafka": { "isHealthy": kafka },
                "commandRunner": { "isHealthy": true },
            },
            "serverState": "READY",
        }))
        .into_response()
    })
    .await
}

/// Ready when the log answers.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    blocking(&app, |app| match app.engine.log().topic("_") {
        Ok(_) => Json(json!({ "status": "UP" })).into_response(),
        Err(e) => error::response(&e.with_code(50302), None),
    })
    .await
}

/// Alive as long as this is answered.
pub(super) async fn live() -> Response {
    Json(json!({ "status": "UP" })).into_response()
}

pub(super) async fn metadata(State(app): State<Arc<App>>) -> Response {
    blocking(&app, |app| match app.engine.log().cluster_id() {
        Ok(cluster) => Json(json!({ "id": "", "scope": { "path": [], "clusters": {
            "kafka-cluster": cluster,
            "ksql-cluster": app.engine.config().service_id,
        }}}))
        .into_response(),
        Err(e) => error::response(&e, None),
    })
    .await
}

pub(super) async fn is_valid_property(Path(name): Path<String>) -> Response {
    match config::check_property(&name, None) {
        Ok(_) => Json(json!(true)).into_response(),
        Err(e) => error::response(&e.with_code(40000), None),
    }
}

/// Every command whose effect is there, by its id. What was carried out is done when it is answered, so that there is no
/// other status.
fn statuses(app: &App) -> BTreeMap<String, String> {
    let catalog = app.engine.catalog();
    let sources = catalog.all().map(|source| {
        let (kind, created) = match source.kind {
            SourceKind::Stream => ("stream", "Stream created"),
            SourceKind::Table => ("table", "Table created"),
        };
        let message = match &source.created_by {
            Some(id) => format!("Created query with ID {id}"),
            None => created.to_owned(),
        };
        (format!("{kind}/`{}`/create", source.name), message)
    });
    sources.collect()
}

pub(super) async fn all_statuses(State(app): State<Arc<App>>) -> Response {
    let all: BTreeMap<String, &str> = statuses(&app).into_keys().map(|id| (id, "SUCCESS")).collect();
    Json(json!({ "commandStatuses": all })).into_response()
}

pub(super) async fn status(
    State(app): State<Arc<App>>,
    Path((kind, entity, action)): Path<(String, String, String)>,
) -> Response {
    let bare = entity.trim_matches('`');
    match statuses(&app).remove(&format!("{kind}/`{bare}`/{action}")) {
        Some(message) => Json(json!({ "status": "SUCCESS", "message": message, "queryId": null })).into_response(),
        None => error::response(&Error::not_found("Command not found").with_code(40400), None),
    }
}

/// One host, alive, with every query active on it.
pub(super) async fn cluster_status(State(app): State<Arc<App>>) -> Response {
    let now = app.engine.clock().now_ms();
    let active = |(id, query): (String, Arc<crate::engine::query::Query>)| {
        let alive = !matches!(query.state(), QueryState::Error(_));
        alive.then(|| {
            (id, json!({ "activeStores": [], "activePartitions": [], "standByStores": [], "standByPartitions": [] }))
        })
    };
    let queries: serde_json::Map<String, Value> = app.engine.queries().into_iter().filter_map(active).collect();
    Json(json!({ "clusterStatus": { app.address.to_string(): {
        "hostAlive": true,
        "lastStatusUpdateMs": now,
        "activeStandbyPerQuery": queries,
        "hostStoreLags": { "stateStoreLags": {}, "updateTimeMs": 0 },
    }}}))
    .into_response()
}
