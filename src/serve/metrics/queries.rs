//! The metrics of queries.

use super::page::Page;
use crate::engine::facts::queries::Positions;
use crate::engine::facts::query::QueryFacts;
use crate::engine::session::Session;
use crate::serve::App;

/// Writes them.
pub(super) fn write(app: &App, session: &Session, page: &mut Page) {
    let positions = app.engine.positions();
    let facts = app.engine.query_facts_at(session, positions.as_deref());
    // Those of other processes are in their metrics.
    let here = facts.into_iter().filter(|query| !query.is_elsewhere);
    let (persistent, push): (Vec<QueryFacts>, Vec<QueryFacts>) = here.partition(|query| query.persistent);
    page.metric("tidegate_queries");
    for state in ["RUNNING", "PAUSED", "WAITING", "ERROR"] {
        let count = persistent.iter().filter(|query| query.condition.state.word() == state).count();
        page.sample("tidegate_queries", &[("state", state)], count);
    }
    page.metric("tidegate_query_info");
    for query in &persistent {
        let sink = query.sink.as_deref().unwrap_or_default();
        let labels = [("query", query.id.as_str()), ("sink", sink), ("state", query.condition.state.word())];
        page.sample("tidegate_query_info", &labels, 1);
    }
    counters(&persistent, page);
    lags(positions.as_deref(), &persistent, page);
    for (name, value) in GAUGES {
        page.metric(name);
        for query in &persistent {
            value(query).iter().for_each(|value| page.sample(name, &[("query", &query.id)], value));
        }
    }
    page.metric("tidegate_query_commit_duration_seconds");
    for query in &persistent {
        page.histogram("tidegate_query_commit_duration_seconds", &[("query", &query.id)], &query.commit_times);
    }
    page.metric("tidegate_query_emit_latency_seconds");
    for query in &persistent {
        page.histogram("tidegate_query_emit_latency_seconds", &[("query", &query.id)], &query.emit_times);
    }
    page.single("tidegate_command_log_skipped", app.engine.skipped_commands());
    page.single("tidegate_push_queries", push.len());
}

/// A number of a query; `None` = unknown.
type Gauge = fn(&QueryFacts) -> Option<f64>;

/// Gauges by name.
const GAUGES: [(&str, Gauge); 3] = [
    ("tidegate_query_stream_time_seconds", |query| Some(query.stream_time? as f64 / 1e3)),
    ("tidegate_query_state_keys", |query| Some(query.state_keys as f64)),
    ("tidegate_query_state_bytes", |query| Some(query.state_bytes as f64)),
];

fn counters(persistent: &[QueryFacts], page: &mut Page) {
    type Count = fn(&QueryFacts) -> u64;
    let counts: [(&str, Count); 8] = [
        ("tidegate_query_records_in_total", |query| query.counts.consumed),
        ("tidegate_query_records_out_total", |query| query.counts.produced),
        ("tidegate_query_records_bad_total", |query| query.counts.bad),
        ("tidegate_query_records_late_total", |query| query.counts.late),
        ("tidegate_query_commits_total", |query| query.counts.commits),
        ("tidegate_query_bytes_in_total", |query| query.bytes_in),
        ("tidegate_query_bytes_out_total", |query| query.bytes_out),
        ("tidegate_query_restarts_total", |query| query.restarts),
    ];
    for (name, count) in counts {
        page.metric(name);
        persistent.iter().for_each(|query| page.sample(name, &[("query", &query.id)], count(query)));
    }
    page.metric("tidegate_query_busy_seconds_total");
    for query in persistent {
        page.sample("tidegate_query_busy_seconds_total", &[("query", &query.id)], query.busy_seconds);
    }
}

fn lags(positions: Option<&Positions>, persistent: &[QueryFacts], page: &mut Page) {
    // Without a reply from the log there are no samples, which a scraper sees as a gap.
    page.metric("tidegate_query_lag_records");
    for query in persistent {
        query.lag.iter().for_each(|lag| page.sample("tidegate_query_lag_records", &[("query", &query.id)], lag));
    }
    page.metric("tidegate_query_partition_lag_records");
    for query in persistent {
        for place in positions.and_then(|all| all.get(&query.id)).into_iter().flatten() {
            let Some(lag) = place.records() else { continue };
            let partition = place.partition.to_string();
            let labels = [("query", query.id.as_str()), ("topic", &place.topic), ("partition", &partition)];
            page.sample("tidegate_query_partition_lag_records", &labels, lag);
        }
    }
}
