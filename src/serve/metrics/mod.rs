//! `GET /metrics`: numbers for Prometheus. [`METRICS`] names all of them; `docs/operations.md` shows them.
//!
//! Those of queries are the facts of `engine::facts`, as in `/api/v1` and in `system.queries`.

mod page;
mod queries;

use super::auth::login::Logins;
use super::{App, blocking};
use crate::engine::access::Principal;
use crate::engine::facts::process::{LogSize, ProcessFacts, disk_free_of};
use crate::engine::session::Session;
use crate::telemetry::histogram::Histogram;
use crate::threads;
use crate::types::clock::SharedClock;
use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use page::{Format, Page};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every metric: name, type, description.
pub const METRICS: &[(&str, &str, &str)] = &[
    ("tidegate_build_info", "gauge", "1, with the version as a label."),
    ("tidegate_uptime_seconds", "gauge", "Seconds since the server started."),
    ("tidegate_queries", "gauge", "Persistent queries by state."),
    ("tidegate_query_info", "gauge", "1, with sink and state of a query as labels."),
    ("tidegate_query_records_in_total", "counter", "Records that a query has read since it was started."),
    ("tidegate_query_records_out_total", "counter", "Rows that a query has written."),
    ("tidegate_query_records_bad_total", "counter", "Records that a query could not process."),
    ("tidegate_query_records_late_total", "counter", "Rows that arrived after their window had closed."),
    ("tidegate_query_commits_total", "counter", "Commits of a query."),
    ("tidegate_query_bytes_in_total", "counter", "Bytes of the keys and values that a query has read."),
    ("tidegate_query_bytes_out_total", "counter", "Bytes of the keys and values that a query has written."),
    ("tidegate_query_busy_seconds_total", "counter", "Time in which the thread of a query worked."),
    ("tidegate_query_restarts_total", "counter", "Starts of a query after a failure."),
    ("tidegate_query_lag_records", "gauge", "Records that a query has not committed yet, over all of its inputs."),
    ("tidegate_query_partition_lag_records", "gauge", "The same for each partition that a query reads."),
    ("tidegate_query_stream_time_seconds", "gauge", "The latest event time that a query saw."),
    ("tidegate_query_state_keys", "gauge", "Keys in the state of a query."),
    ("tidegate_query_state_bytes", "gauge", "Memory of the state of a query."),
    ("tidegate_query_commit_duration_seconds", "histogram", "Duration of the commits of a query."),
    ("tidegate_query_emit_latency_seconds", "histogram", "Time from reading records to emitting their rows."),
    ("tidegate_command_log_skipped", "gauge", "Invalid records of the command log, which were skipped."),
    ("tidegate_push_queries", "gauge", "Open push queries."),
    ("tidegate_push_queries_dropped_total", "counter", "Result sets ended because their client did not read them."),
    ("tidegate_pull_queries_refused_total", "counter", "Queries without EMIT refused, by limit."),
    ("tidegate_pull_query_duration_seconds", "histogram", "Time of queries without EMIT until their last row."),
    ("tidegate_audit_records_lost_total", "counter", "Records of the audit log that could not be written."),
    ("tidegate_connections", "gauge", "Open connections."),
    ("tidegate_connections_refused_total", "counter", "Connections closed because there were too many."),
    ("tidegate_auth_failures_total", "counter", "Requests rejected for an invalid password, token or certificate."),
    ("tidegate_auth_put_off_total", "counter", "Requests whose password was not checked because of rate limits."),
    ("tidegate_http_requests_total", "counter", "Requests by route and status."),
    ("tidegate_http_request_duration_seconds", "histogram", "Time until a response begins, by route and method."),
    (
        "tidegate_panics_total",
        "counter",
        "Panics, by what they ended: each is a bug, and is in the log with a backtrace.",
    ),
    ("tidegate_log_bytes", "gauge", "Size of the data directory, measured every 30 seconds at most."),
    ("tidegate_topic_bytes", "gauge", "Size of the records of a topic on the embedded log."),
    (
        "tidegate_log_upkeep_cpu_seconds_total",
        "counter",
        "Processor time of retention and compaction of the embedded log.",
    ),
    ("tidegate_log_removed_bytes_total", "counter", "Bytes of the files that retention and compaction have removed."),
    ("tidegate_log_copied_bytes_total", "counter", "Bytes of retained records that compaction has copied."),
    (
        "tidegate_shared_batches_total",
        "counter",
        "Batches of records (what = log) and of their rows (what = rows) that several queries read, and whether a query made them for \
         all (from = own) or took them (from = other).",
    ),
    ("tidegate_shared_rows_bytes", "gauge", "Memory of the rows that are kept for queries that read the same."),
    ("tidegate_disk_free_bytes", "gauge", "Free space on the disk of the data directory."),
    ("process_cpu_seconds_total", "counter", "Processor time of the process."),
    ("process_start_time_seconds", "gauge", "When the process was started, in seconds since 1970."),
    ("process_resident_memory_bytes", "gauge", "Memory of the process."),
    ("process_virtual_memory_bytes", "gauge", "Memory that is mapped by the process."),
    ("process_open_fds", "gauge", "Open files of the process."),
    ("process_max_fds", "gauge", "Files that the process may open."),
    ("process_threads", "gauge", "Threads of the process."),
];

/// Methods that have a histogram of their own; clients could make up any number of others.
const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS];

/// What is counted while the server serves.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Result sets whose reader was stuck.
    pub(super) dropped: AtomicU64,
    log_size: LogSize,
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    /// By route and method.
    times: Mutex<BTreeMap<(String, String), Arc<Histogram>>>,
}

impl Counters {
    fn count(&self, route: &str, status: u16) {
        *self.requests.lock().entry((route.to_owned(), status)).or_default() += 1;
    }

    fn times_of(&self, route: &str, method: &Method) -> Arc<Histogram> {
        let method = if METHODS.contains(method) { method.as_str() } else { "other" };
        self.times.lock().entry((route.to_owned(), method.to_owned())).or_default().clone()
    }
}

/// What the layer that counts requests needs.
#[derive(Clone)]
pub(super) struct Meter {
    pub(super) counters: Arc<Counters>,
    pub(super) clock: SharedClock,
}

/// The layer that counts requests, and how long they take until the response begins.
pub(super) async fn counted(State(meter): State<Meter>, request: Request, next: Next) -> Response {
    // What is served nowhere has no name of its own: clients could make up any number of them.
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |m| m.as_str().to_owned());
    let (times, begun) = (meter.counters.times_of(&route, request.method()), meter.clock.monotonic());
    let response = next.run(request).await;
    times.record(meter.clock.monotonic().saturating_sub(begun));
    meter.counters.count(&route, response.status().as_u16());
    response
}

pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
) -> Response {
    let session = Session::of(principal);
    let format = Format::of(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    blocking(&app, move |app| ([(CONTENT_TYPE, format.media_type())], text(app, &session, format)).into_response())
        .await
}

/// What readers and queries have taken from each other.
fn sharing(app: &App, page: &mut Page) {
    page.metric("tidegate_shared_batches_total");
    let (log, rows) = app.engine.sharing();
    for (what, sharing) in log.map(|log| ("log", log)).into_iter().chain([("rows", rows)]) {
        for (from, batches) in [("own", sharing.decoded), ("other", sharing.taken)] {
            page.sample("tidegate_shared_batches_total", &[("what", what), ("from", from)], batches);
        }
    }
    page.single("tidegate_shared_rows_bytes", app.engine.shared_rows_bytes());
}

/// What the embedded log holds, and what it costs to bound it.
fn upkeep(app: &App, session: &Session, page: &mut Page) {
    page.metric("tidegate_topic_bytes");
    for (topic, bytes) in app.engine.topic_sizes(session).unwrap_or_default() {
        page.sample("tidegate_topic_bytes", &[("topic", &topic)], bytes);
    }
    let upkeep = app.engine.upkeep();
    page.known("tidegate_log_upkeep_cpu_seconds_total", upkeep.map(|u| u.busy.as_secs_f64()));
    page.known("tidegate_log_removed_bytes_total", upkeep.map(|u| u.removed_bytes));
    page.known("tidegate_log_copied_bytes_total", upkeep.map(|u| u.copied_bytes));
}

fn text(app: &App, session: &Session, format: Format) -> String {
    let mut page = Page::new(format);
    page.metric("tidegate_build_info");
    page.sample("tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let uptime = app.engine.clock().monotonic().saturating_sub(app.started);
    page.single("tidegate_uptime_seconds", uptime.as_secs());
    queries::write(app, session, &mut page);
    requests(app, &mut page);
    page.metric("tidegate_panics_total");
    for (kind, count) in threads::panics() {
        page.sample("tidegate_panics_total", &[("in", kind)], count);
    }
    let config = app.engine.config();
    page.known("tidegate_log_bytes", app.counters.log_size.get(config, app.engine.clock().monotonic()));
    upkeep(app, session, &mut page);
    sharing(app, &mut page);
    page.known("tidegate_disk_free_bytes", disk_free_of(config));
    process(&ProcessFacts::read(), &mut page);
    page.finish()
}

fn requests(app: &App, page: &mut Page) {
    let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
    page.single("tidegate_push_queries_dropped_total", now(&app.counters.dropped));
    page.metric("tidegate_pull_queries_refused_total");
    for (limit, count) in app.engine.refused_pulls() {
        page.sample("tidegate_pull_queries_refused_total", &[("limit", limit)], count);
    }
    page.metric("tidegate_pull_query_duration_seconds");
    page.histogram("tidegate_pull_query_duration_seconds", &[], &app.engine.pull_times());
    page.single("tidegate_audit_records_lost_total", app.engine.audit().lost());
    page.single("tidegate_connections", now(&app.counters.connections));
    page.single("tidegate_connections_refused_total", now(&app.counters.refused));
    let logins = |count: fn(&Logins) -> &AtomicU64| app.logins.as_ref().map_or(0, |logins| now(count(logins)));
    page.single("tidegate_auth_failures_total", logins(|logins| &logins.failures));
    page.single("tidegate_auth_put_off_total", logins(|logins| &logins.put_off));
    page.metric("tidegate_http_requests_total");
    for ((route, status), count) in &*app.counters.requests.lock() {
        page.sample("tidegate_http_requests_total", &[("route", route), ("code", &status.to_string())], count);
    }
    page.metric("tidegate_http_request_duration_seconds");
    for ((route, method), times) in &*app.counters.times.lock() {
        let labels = [("route", route.as_str()), ("method", method.as_str())];
        page.histogram("tidegate_http_request_duration_seconds", &labels, &times.snapshot());
    }
}

/// Process metrics; without samples where there is no `/proc`.
fn process(facts: &ProcessFacts, page: &mut Page) {
    page.known("process_cpu_seconds_total", facts.cpu_seconds);
    page.known("process_start_time_seconds", facts.started_seconds);
    page.known("process_resident_memory_bytes", facts.resident_bytes);
    page.known("process_virtual_memory_bytes", facts.virtual_bytes);
    page.known("process_open_fds", facts.open_files);
    page.known("process_max_fds", facts.open_files_max);
    page.known("process_threads", facts.threads);
}
