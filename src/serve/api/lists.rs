//! Lists of what there is: sources, topics, problems, settings, statements.

use super::parameters::parameters;
use super::{failure, reply};
use crate::engine::access::Principal;
use crate::engine::introspect::records::problems::Problem;
use crate::engine::introspect::records::statements::RecordedStatement;
use crate::engine::introspect::records::topics::{SourceFacts, TopicFacts};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::SourceKind;
use crate::serve::App;
use crate::types::Column;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// Statements of one response: the last ones.
const STATEMENTS_MAX: usize = 1_000;

/// Streams and tables.
pub(super) async fn sources(State(app): State<Arc<App>>, Extension(user): Extension<Principal>) -> Response {
    reply(&app, move |app| {
        let all = app.engine.source_facts(&Session::of(user));
        Ok(json!({ "sources": all.iter().map(source).collect::<Vec<_>>() }))
    })
    .await
}

fn source(facts: &SourceFacts) -> Value {
    let source = &facts.source;
    let column = |is_key: bool| move |c: &Column| json!({ "name": c.name, "type": c.ty.to_string(), "key": is_key });
    let keys = source.schema.key.iter().map(column(true));
    json!({
        "name": source.name,
        "type": if source.kind == SourceKind::Stream { "STREAM" } else { "TABLE" },
        "topic": source.topic,
        "keyFormat": source.key_format.name(),
        "valueFormat": source.value_format.name(),
        "windowed": source.window.is_some(),
        "readOnly": source.read_only,
        "columns": keys.chain(source.schema.value.iter().map(column(false))).collect::<Vec<_>>(),
        "readers": facts.readers,
        "writers": facts.writers,
        "statement": source.sql,
    })
}

/// Topics.
pub(super) async fn topics(State(app): State<Arc<App>>, Extension(user): Extension<Principal>) -> Response {
    reply(&app, move |app| {
        let all = app.engine.topic_facts(&Session::of(user))?;
        Ok(json!({ "topics": all.iter().map(topic_facts).collect::<Vec<_>>() }))
    })
    .await
}

/// One topic, with its partitions and settings.
pub(super) async fn topic(
    State(app): State<Arc<App>>,
    Extension(user): Extension<Principal>,
    Path(topic): Path<String>,
) -> Response {
    reply(&app, move |app| {
        let facts = app.engine.topic_fact(&topic, &Session::of(user))?;
        let mut body = topic_facts(&facts);
        let partition = |(partition, marks): (usize, &crate::log::Watermarks)| {
            let bytes = facts.bytes.as_ref().and_then(|all| all.get(partition));
            json!({ "partition": partition, "low": marks.low, "end": marks.high, "stable": marks.stable, "bytes": bytes })
        };
        let partitions: Vec<Value> = facts.offsets.iter().flatten().enumerate().map(partition).collect();
        body["partitionsDetail"] = json!(partitions);
        body["settings"] = json!(facts.info.config);
        Ok(body)
    })
    .await
}

fn topic_facts(facts: &TopicFacts) -> Value {
    json!({
        "name": facts.info.name,
        "partitions": facts.info.partitions,
        "replicas": facts.info.replicas,
        "records": facts.records(),
        "bytes": facts.total_bytes(),
        "retentionMillis": facts.retention_ms(),
        "readBy": facts.read_by,
        "writtenBy": facts.written_by,
        "internal": facts.is_internal,
    })
}

/// Problems of queries, grouped.
pub(super) async fn problems(State(app): State<Arc<App>>, Extension(user): Extension<Principal>, uri: Uri) -> Response {
    let parameters = match parameters(&uri, &["query", "since"]) {
        Ok(parameters) => parameters,
        Err(e) => return failure(&e, None),
    };
    reply(&app, move |app| {
        let since = match parameters.get("since") {
            None => None,
            Some(text) => Some(text.parse::<i64>().map_err(|_| not_a_time(text))?),
        };
        let query = parameters.get("query");
        let is_wanted = |problem: &Problem| {
            let is_recent = since.is_none_or(|since| problem.last.is_none_or(|last| last >= since));
            is_recent && query.is_none_or(|id| problem.query == *id)
        };
        let all = app.engine.problems(&Session::of(user));
        Ok(json!({ "groups": all.iter().filter(|p| is_wanted(p)).map(problem).collect::<Vec<_>>() }))
    })
    .await
}

fn not_a_time(text: &str) -> Error {
    Error::statement(format!("since is {text}, expected milliseconds since 1970")).with_code(40000)
}

fn problem(problem: &Problem) -> Value {
    json!({
        "query": problem.query,
        "kind": problem.kind.name(),
        "reason": problem.reason,
        "topic": problem.topic,
        "count": problem.count,
        "last": problem.last,
        "sample": problem.sample.map(|(partition, offset)| json!({ "partition": partition, "offset": offset })),
    })
}

/// Settings with their origin.
pub(super) async fn settings(State(app): State<Arc<App>>, Extension(user): Extension<Principal>) -> Response {
    reply(&app, move |app| {
        let row = |(name, value, origin, effect): (String, String, &str, Option<&str>)| {
            json!({ "name": name, "value": value, "origin": origin, "effect": effect })
        };
        let all = app.engine.property_facts(&Session::of(user)).into_iter().map(row);
        Ok(json!({ "settings": all.collect::<Vec<_>>() }))
    })
    .await
}

/// The command log: statements that were carried out, with their times.
pub(super) async fn statements(State(app): State<Arc<App>>) -> Response {
    reply(&app, move |app| -> Result<Value> {
        let all = app.engine.recorded_statements()?;
        let skip = all.len().saturating_sub(STATEMENTS_MAX);
        let row = |s: RecordedStatement| {
            json!({ "sequence": s.sequence, "time": s.time, "sql": s.sql, "status": "SUCCESS", "message": s.message })
        };
        Ok(json!({ "statements": all.into_iter().skip(skip).map(row).collect::<Vec<_>>() }))
    })
    .await
}
