//! Information endpoints: version and ids, health, statuses of statements.

use super::read;
use crate::config;
use crate::engine::cluster::hearing::Presence;
use crate::engine::cluster::node::Member;
use crate::engine::cluster::node::pulse::StandbyPulse;
use crate::engine::query::persistent::{Query as PersistentQuery, State as QueryState};
use crate::engine::result::entity::Status;
use crate::error::{Error, Result};
use crate::execute::task::StoreOffsets;
use crate::serve::{App, blocking, error};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version that `/info` reports. ksqlDB's CLI and ksql-migrations refuse a server below 6.0, or 0.10 in the community's
/// count, and read the numbers in front: those of the ksqlDB whose API this is. Behind them is our own.
pub(in crate::serve) const KSQL_VERSION: &str = concat!("0.29.0+tidegate.", env!("CARGO_PKG_VERSION"));

pub(in crate::serve) async fn info(State(app): State<Arc<App>>) -> Response {
    blocking(&app, |app| match app.engine.log().cluster_id() {
        Ok(cluster) => Json(json!({ "KsqlServerInfo": {
            "version": KSQL_VERSION,
            "kafkaClusterId": cluster,
            "ksqlServiceId": app.engine.config().service_id,
            "serverStatus": "RUNNING",
        }}))
        .into_response(),
        Err(e) => error::response(&e, None),
    })
    .await
}

/// Always 200: the state is in the body.
pub(in crate::serve) async fn health(State(app): State<Arc<App>>) -> Response {
    blocking(&app, |app| {
        let kafka = app.engine.log().cluster_id().is_ok();
        Json(json!({
            "isHealthy": kafka && !app.engine.is_over(),
            "details": {
                "metastore": { "isHealthy": true },
                "kafka": { "isHealthy": kafka },
                "commandRunner": { "isHealthy": true },
            },
            "serverState": if app.engine.is_over() { "TERMINATED" } else { "READY" },
        }))
        .into_response()
    })
    .await
}

/// Ready when the log is reachable and can be written.
pub(in crate::serve) async fn ready(State(app): State<Arc<App>>) -> Response {
    blocking(&app, |app| match app.engine.check_ready() {
        Ok(()) => Json(json!({ "status": "UP" })).into_response(),
        Err(e) => error::response(&e.with_code(50302), None),
    })
    .await
}

/// Always up.
pub(in crate::serve) async fn live() -> Response {
    Json(json!({ "status": "UP" })).into_response()
}

/// `GET /v1/metadata`: ksqlDB's `ServerMetadata`.
pub(in crate::serve) async fn metadata(State(app): State<Arc<App>>) -> Response {
    with_cluster_id(app, |id| json!({ "version": KSQL_VERSION, "clusterId": id })).await
}

/// `GET /v1/metadata/id`: ksqlDB's `ServerClusterId`.
pub(in crate::serve) async fn cluster_id(State(app): State<Arc<App>>) -> Response {
    with_cluster_id(app, |id| id).await
}

async fn with_cluster_id(app: Arc<App>, body: fn(Value) -> Value) -> Response {
    blocking(&app, move |app| match app.engine.log().cluster_id() {
        Ok(cluster) => {
            let clusters = json!({ "kafka-cluster": cluster, "ksql-cluster": app.engine.config().service_id });
            Json(body(json!({ "id": "", "scope": { "path": [], "clusters": clusters } }))).into_response()
        }
        Err(e) => error::response(&e, None),
    })
    .await
}

pub(in crate::serve) async fn is_valid_property(Path(name): Path<String>) -> Response {
    match config::check_property(&name, None) {
        Ok(_) => Json(json!(true)).into_response(),
        Err(e) => error::response(&e.with_code(40000), None),
    }
}

pub(in crate::serve) async fn all_statuses(State(app): State<Arc<App>>) -> Response {
    let all: BTreeMap<String, &str> =
        app.engine.statuses().into_iter().map(|status| (status.command_id, "SUCCESS")).collect();
    Json(json!({ "commandStatuses": all })).into_response()
}

pub(in crate::serve) async fn status(
    State(app): State<Arc<App>>,
    Path((kind, entity, action)): Path<(String, String, String)>,
) -> Response {
    // Ids of CREATE have their names in back quotes; clients may omit these.
    let wanted = format!("{kind}/{entity}/{action}").replace('`', "");
    let found = app.engine.statuses().into_iter().find(|status| status.command_id.replace('`', "") == wanted);
    match found {
        Some(Status { message, query_id, .. }) => {
            Json(json!({ "status": "SUCCESS", "message": message, "queryId": query_id })).into_response()
        }
        None => {
            let e = Error::not_found("Command not found").with_code(40400);
            error::response(&e.with_hint("GET /status lists the commands that are known"), None)
        }
    }
}

/// A host of ksqlDB's: `HOST:PORT` as its nodes send it (`KsqlHostInfoEntity`), or an object of both.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "read for its shape: a single node has no use for it")]
enum Host {
    Name(String),
    Parts { host: String, port: u16 },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "as above")]
struct Heartbeat {
    host_info: Host,
    timestamp: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "as above")]
struct Lag {
    ksql_host: Host,
    host_store_lags: Value,
}

/// Heartbeats between the nodes of a ksqlDB cluster. This is a single node: it accepts them and does nothing.
pub(in crate::serve) async fn heartbeat(body: Bytes) -> Response {
    heard(read::<Heartbeat>(&body))
}

/// The same for lags of state stores.
pub(in crate::serve) async fn lag(body: Bytes) -> Response {
    heard(read::<Lag>(&body))
}

fn heard<T>(message: Result<T>) -> Response {
    match message {
        Ok(_) => Json(json!({ "isOk": true })).into_response(),
        Err(e) => error::response(&e, None),
    }
}

/// The processes of the service, with the queries that each runs. A process that is alone is one host with all of them.
pub(in crate::serve) async fn cluster_status(State(app): State<Arc<App>>) -> Response {
    let members = app.engine.members();
    let hosts: serde_json::Map<String, Value> = match members.is_empty() {
        true => [(app.address.to_string(), alone(&app))].into_iter().collect(),
        false => {
            let name = |member: &Member| match (member.authority(), member.is_me) {
                (Some(authority), _) => authority,
                (None, true) => app.address.to_string(),
                (None, false) => member.slot.clone(),
            };
            members.iter().map(|member| (name(member), member_status(&app, member))).collect()
        }
    };
    Json(json!({ "clusterStatus": hosts })).into_response()
}

fn alone(app: &App) -> Value {
    let is_active = |query: &PersistentQuery| !matches!(query.state(), QueryState::Error(_));
    let queries = app.engine.queries().into_iter().filter(|(_, query)| is_active(query));
    let active = queries.map(|(id, query)| (id, query_on_host(Some(&query), true))).collect();
    host_status(true, app.engine.clock().now_ms(), active, Map::new())
}

fn member_status(app: &App, member: &Member) -> Value {
    let is_alive = member.is_me || member.presence == Presence::Heard;
    let sent_ms = if member.is_me { Some(app.engine.clock().now_ms()) } else { member.sent_ms };
    let known: BTreeMap<String, Arc<PersistentQuery>> = app.engine.queries().into_iter().collect();
    let active = member.queries.iter().map(|id| (id.clone(), query_on_host(known.get(id).map(|query| &**query), true)));
    let mut queries: Map<String, Value> = active.collect();
    let mut lags = Map::new();
    for StandbyPulse { id, stores } in app.engine.standbys_of(&member.slot) {
        // It owns a query that it was a standby of in its last pulse: it has taken it over since.
        let Some(query) = known.get(&id).filter(|_| !queries.contains_key(&id)) else { continue };
        queries.insert(id, query_on_host(Some(query), false));
        lags.extend(stores.iter().map(|store| (format!("{}#{}", query.group(), store.store), store_lag(store))));
    }
    let mut status = host_status(is_alive, sent_ms.unwrap_or(0), queries, lags);
    status["slot"] = json!(member.slot);
    status["version"] = json!(member.version);
    status
}

fn host_status(is_alive: bool, updated_ms: i64, queries: Map<String, Value>, lags: Map<String, Value>) -> Value {
    let lags_ms = if lags.is_empty() { 0 } else { updated_ms };
    json!({
        "hostAlive": is_alive,
        "lastStatusUpdateMs": updated_ms,
        "activeStandbyPerQuery": queries,
        "hostStoreLags": { "stateStoreLags": lags, "updateTimeMs": lags_ms },
    })
}

/// ksqlDB's `ActiveStandbyEntity`: the stores and the partitions of the inputs of a query that a host runs, or whose state it keeps
/// up to date.
fn query_on_host(query: Option<&PersistentQuery>, is_active: bool) -> Value {
    let pipeline = query.and_then(|query| query.spec()).map(|spec| &spec.pipeline).filter(|it| !it.stores().is_empty());
    let stores: Vec<&str> = pipeline.iter().flat_map(|it| it.stores()).map(|(name, _)| name).collect();
    let inputs = pipeline.iter().flat_map(|it| it.inputs());
    let partitions: Vec<Value> =
        inputs.map(|(input, _)| json!({ "topic": &*input.topic, "partition": input.partition })).collect();
    let (none, nowhere) = (Vec::new(), Vec::new());
    let (active, standby) = if is_active {
        ((&stores, &partitions), (&none, &nowhere))
    } else {
        ((&none, &nowhere), (&stores, &partitions))
    };
    json!({
        "activeStores": active.0,
        "activePartitions": active.1,
        "standByStores": standby.0,
        "standByPartitions": standby.1,
    })
}

/// ksqlDB's `StateStoreLags`.
fn store_lag(store: &StoreOffsets) -> Value {
    let partition = |(nth, (next, end)): (usize, &(i64, i64))| {
        (nth.to_string(), json!({ "currentOffsetPosition": next, "endOffsetPosition": end, "offsetLag": end - next }))
    };
    let partitions: Map<String, Value> = store.offsets.iter().enumerate().map(partition).collect();
    json!({ "lagByPartition": partitions, "size": partitions.len() })
}
