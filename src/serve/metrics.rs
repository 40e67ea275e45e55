//! `GET /metrics`: numbers for Prometheus, in its text format. [`METRICS`] names all of them; `docs/operations.md` shows them.

use super::auth::login::Logins;
use super::{App, blocking};
use crate::engine::access::Principal;
use crate::engine::query::lag;
use crate::engine::result::entity::QueryRow;
use crate::engine::session::Session;
use crate::threads;
use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Media type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric: name, type, description.
pub const METRICS: &[(&str, &str, &str)] = &[
    ("tidegate_build_info", "gauge", "1, with the version as a label."),
    ("tidegate_uptime_seconds", "gauge", "Seconds since the server started."),
    ("tidegate_queries", "gauge", "Persistent queries by state."),
    ("tidegate_query_records_in_total", "counter", "Records that a query has read since it was started."),
    ("tidegate_query_records_out_total", "counter", "Rows that a query has written."),
    ("tidegate_query_records_bad_total", "counter", "Records that a query could not process."),
    ("tidegate_query_records_late_total", "counter", "Rows that arrived after their window had closed."),
    ("tidegate_query_commits_total", "counter", "Commits of a query."),
    ("tidegate_query_lag_records", "gauge", "Records that a query has not committed yet, over all of its inputs."),
    ("tidegate_command_log_skipped", "gauge", "Invalid records of the command log, which were skipped."),
    ("tidegate_push_queries", "gauge", "Open push queries."),
    ("tidegate_push_queries_dropped_total", "counter", "Result sets ended because their client did not read them."),
    ("tidegate_pull_queries_refused_total", "counter", "Queries without EMIT refused, by limit."),
    ("tidegate_audit_records_lost_total", "counter", "Records of the audit log that could not be written."),
    ("tidegate_connections", "gauge", "Open connections."),
    ("tidegate_connections_refused_total", "counter", "Connections closed because there were too many."),
    ("tidegate_auth_failures_total", "counter", "Requests rejected for an invalid password, token or certificate."),
    ("tidegate_auth_put_off_total", "counter", "Requests whose password was not checked because of rate limits."),
    ("tidegate_http_requests_total", "counter", "Requests by route and status."),
    (
        "tidegate_panics_total",
        "counter",
        "Panics, by what they ended: each is a bug, and is in the log with a backtrace.",
    ),
    ("process_resident_memory_bytes", "gauge", "Memory of the process."),
    ("process_open_fds", "gauge", "Open files of the process."),
    ("process_threads", "gauge", "Threads of the process."),
];

/// What is counted while the server serves.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Result sets whose reader was stuck.
    pub(super) dropped: AtomicU64,
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

impl Counters {
    fn count(&self, route: &str, status: u16) {
        *self.requests.lock().entry((route.to_owned(), status)).or_default() += 1;
    }
}

/// The layer that counts requests.
pub(super) async fn counted(State(counters): State<Arc<Counters>>, request: Request, next: Next) -> Response {
    // What is served nowhere has no name of its own: clients could make up any number of them.
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |m| m.as_str().to_owned());
    let response = next.run(request).await;
    counters.count(&route, response.status().as_u16());
    response
}

pub(super) async fn metrics(State(app): State<Arc<App>>, Extension(principal): Extension<Principal>) -> Response {
    let session = Session::of(principal);
    blocking(&app, move |app| ([(CONTENT_TYPE, TEXT)], text(app, &session)).into_response()).await
}

/// The text as it is put together.
struct Page(String);

impl Page {
    /// Begins a metric that [`METRICS`] names.
    fn metric(&mut self, name: &str) {
        if let Some((_, kind, help)) = METRICS.iter().find(|(known, ..)| *known == name) {
            let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn single(&mut self, name: &str, value: impl Display) {
        self.metric(name);
        self.sample(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn text(app: &App, session: &Session) -> String {
    let mut page = Page(String::with_capacity(4096));
    page.metric("tidegate_build_info");
    page.sample("tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let uptime = app.engine.clock().monotonic().saturating_sub(app.started);
    page.single("tidegate_uptime_seconds", uptime.as_secs());
    queries(app, session, &mut page);
    let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
    page.single("tidegate_push_queries_dropped_total", now(&app.counters.dropped));
    page.metric("tidegate_pull_queries_refused_total");
    for (limit, count) in app.engine.refused_pulls() {
        page.sample("tidegate_pull_queries_refused_total", &[("limit", limit)], count);
    }
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
    page.metric("tidegate_panics_total");
    for (kind, count) in threads::panics() {
        page.sample("tidegate_panics_total", &[("in", kind)], count);
    }
    process(&mut page);
    page.0
}

fn queries(app: &App, session: &Session, page: &mut Page) {
    let rows = app.engine.query_rows(session);
    let (persistent, push): (Vec<QueryRow>, Vec<QueryRow>) = rows.into_iter().partition(|row| row.kind == "PERSISTENT");
    page.metric("tidegate_queries");
    for state in ["RUNNING", "PAUSED", "WAITING", "ERROR"] {
        let count = persistent.iter().filter(|row| row.state == state).count();
        page.sample("tidegate_queries", &[("state", state)], count);
    }
    type Count = fn(&QueryRow) -> u64;
    let counts: [(&str, Count); 5] = [
        ("tidegate_query_records_in_total", |row| row.counts.consumed),
        ("tidegate_query_records_out_total", |row| row.counts.produced),
        ("tidegate_query_records_bad_total", |row| row.counts.bad),
        ("tidegate_query_records_late_total", |row| row.counts.late),
        ("tidegate_query_commits_total", |row| row.counts.commits),
    ];
    for (name, count) in counts {
        page.metric(name);
        persistent.iter().for_each(|row| page.sample(name, &[("query", &row.id)], count(row)));
    }
    page.metric("tidegate_query_lag_records");
    // Without a reply from the log there are no samples, which a scraper sees as a gap.
    let positions = app.engine.positions().unwrap_or_default();
    for row in &persistent {
        let lag = positions.get(&row.id).and_then(|partitions| lag::lag(partitions));
        lag.iter().for_each(|lag| page.sample("tidegate_query_lag_records", &[("query", &row.id)], lag));
    }
    page.single("tidegate_command_log_skipped", app.engine.skipped_commands());
    page.single("tidegate_push_queries", push.len());
}

/// Process metrics, on Linux only.
fn process(page: &mut Page) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    if let Some(kilobytes) = number("VmRSS") {
        page.single("process_resident_memory_bytes", kilobytes * 1024);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the folder that is being read.
        page.single("process_open_fds", files.count().saturating_sub(1));
    }
    if let Some(threads) = number("Threads") {
        page.single("process_threads", threads);
    }
}
