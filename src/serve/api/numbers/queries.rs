//! `GET /api/v1/queries` and `GET /api/v1/queries/{id}`.

use crate::engine::access::Principal;
use crate::engine::facts::query::{PartitionFacts, QueryDetails, QueryFacts, Rates, StageFacts};
use crate::engine::session::Session;
use crate::serve::App;
use crate::serve::api::parameters::parameters;
use crate::serve::api::{failure, reply};
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// All queries that the user sees.
pub(in crate::serve::api) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
) -> Response {
    if let Err(e) = parameters(&uri, &[]) {
        return failure(&e, None);
    }
    let session = Session::of(principal);
    reply(&app, move |app| {
        let queries: Vec<Value> = app.engine.query_facts(&session).iter().map(query).collect();
        Ok(json!({ "queries": queries }))
    })
    .await
}

/// One persistent query with its partitions, stages and settings.
pub(in crate::serve::api) async fn one(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Response {
    let session = Session::of(principal);
    reply(&app, move |app| app.engine.query_details(&session, &id).map(|details| detailed(&details))).await
}

/// Rates of a query.
pub(super) fn rates(rates: &Rates) -> Value {
    json!({ "in": rates.rows_in, "out": rates.rows_out, "inBytes": rates.bytes_in, "outBytes": rates.bytes_out })
}

fn query(facts: &QueryFacts) -> Value {
    json!({
        "id": facts.id,
        "state": facts.condition.state.word(),
        "sentence": facts.condition.sentence(),
        "since": facts.condition.since_ms,
        "restarts": facts.restarts,
        "persistent": facts.persistent,
        "sql": facts.sql,
        "sink": facts.sink,
        "sinkTopic": facts.sink_topic,
        "reads": facts.reads,
        "writes": facts.sink.iter().collect::<Vec<_>>(),
        "topics": facts.topics,
        "partitions": facts.partitions,
        "rowsIn": facts.counts.consumed,
        "rowsOut": facts.counts.produced,
        "bytesIn": facts.bytes_in,
        "bytesOut": facts.bytes_out,
        "bad": facts.counts.bad,
        "late": facts.counts.late,
        "commits": facts.counts.commits,
        "lag": facts.lag,
        "rates": rates(&facts.rates),
        "streamTime": facts.stream_time,
        "stateKeys": facts.state_keys,
        "stateBytes": facts.state_bytes,
        "busyShare": facts.rates.busy_share,
        "busySeconds": facts.busy_seconds,
        "createdAt": facts.created_ms,
    })
}

fn detailed(details: &QueryDetails) -> Value {
    let facts = &details.facts;
    let mut body = query(facts);
    let (commits, emissions) = (&facts.commit_times, &facts.emit_times);
    body["partitions"] = details.partitions.iter().map(partition).collect();
    body["partitionCount"] = json!(facts.partitions);
    body["stages"] = details.stages.iter().map(stage).collect();
    body["settings"] = json!(details.settings);
    body["rates1s"] = rates(&details.rates[0]);
    body["rates1m"] = rates(&details.rates[1]);
    body["commitMillis"] = json!({
        "p50": commits.quantile_millis(0.5),
        "p99": commits.quantile_millis(0.99),
        "count": commits.count(),
    });
    body["emitMillis"] = json!({
        "p50": emissions.quantile_millis(0.5),
        "p99": emissions.quantile_millis(0.99),
        "count": emissions.count(),
    });
    body
}

fn partition(partition: &PartitionFacts) -> Value {
    let lag = &partition.lag;
    json!({
        "topic": lag.topic,
        "partition": lag.partition,
        "low": lag.low,
        "end": lag.high,
        "committed": lag.committed,
        "lag": lag.records(),
        "streamTime": partition.stream_time,
    })
}

fn stage(stage: &StageFacts) -> Value {
    json!({
        "id": stage.id,
        "name": stage.name,
        "rowsIn": stage.rows_in,
        "rowsOut": stage.rows_out,
        "busyShare": stage.busy_share,
        "busySeconds": stage.busy_seconds,
        "stateKeys": stage.state_keys,
        "stateBytes": stage.state_bytes,
        "late": stage.late,
    })
}
