//! What is known of a query, as data: the numbers that every interface shows.

use crate::engine::cluster::node::pulse::QueryCounts;
use crate::engine::query::condition::Condition;
use crate::execute::task::Progress;
use crate::telemetry::histogram::HistogramSnapshot;
use std::collections::BTreeMap;

/// Facts of one query.
#[derive(Clone, Debug)]
pub struct QueryFacts {
    /// Id.
    pub id: String,
    /// What it does, since when and why.
    pub condition: Condition,
    /// Starts after failures.
    pub restarts: u64,
    /// Whether it runs until it is terminated; else it is a push query.
    pub persistent: bool,
    /// Whether another process of the service runs it: the numbers are what that has last said.
    pub is_elsewhere: bool,
    /// Its text.
    pub sql: String,
    /// Source that it writes.
    pub sink: Option<String>,
    /// Topic that it writes.
    pub sink_topic: Option<String>,
    /// Sources that it reads.
    pub reads: Vec<String>,
    /// Topics that it reads.
    pub topics: Vec<String>,
    /// Partitions that it reads.
    pub partitions: usize,
    /// Records, rows, bad, late, commits.
    pub counts: Counts,
    /// Bytes of keys and values read.
    pub bytes_in: u64,
    /// Bytes of keys and values written.
    pub bytes_out: u64,
    /// Time in which it worked, in seconds.
    pub busy_seconds: f64,
    /// Records that are not committed; `None` = unknown.
    pub lag: Option<i64>,
    /// Averages over 10 seconds.
    pub rates: Rates,
    /// The latest event time that it saw.
    pub stream_time: Option<i64>,
    /// Keys of its state.
    pub state_keys: u64,
    /// Memory of its state.
    pub state_bytes: u64,
    /// Processes that keep its state up to date.
    pub standbys: Vec<StandbyFacts>,
    /// When it was created, milliseconds since 1970.
    pub created_ms: i64,
    /// How long its commits took.
    pub commit_times: HistogramSnapshot,
    /// How long after records were read their rows were emitted.
    pub emit_times: HistogramSnapshot,
}

/// A process that keeps the state of a query up to date, to take it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyFacts {
    /// `HOST:PORT`, or its slot if it has no listener.
    pub host: String,
    /// Records of the changelogs that it has not read; `None` = it has not said so yet.
    pub lag: Option<u64>,
}

impl StandbyFacts {
    /// `127.0.0.1:8089 (lag 12)`
    pub fn sentence(&self) -> String {
        let lag = self.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        format!("{} (lag {lag})", self.host)
    }
}

/// Facts of one stage.
#[derive(Clone, Debug)]
pub struct StageFacts {
    /// Its id, also in the plan.
    pub id: String,
    /// What it does.
    pub name: String,
    /// Rows received.
    pub rows_in: u64,
    /// Rows passed on.
    pub rows_out: u64,
    /// Share of the time in which it worked, over 10 seconds.
    pub busy_share: f64,
    /// Time in which it worked, in seconds.
    pub busy_seconds: f64,
    /// Keys of its state.
    pub state_keys: u64,
    /// Memory of its state.
    pub state_bytes: u64,
    /// Rows dropped as late.
    pub late: u64,
}

/// One partition that a query reads.
#[derive(Clone, Debug)]
pub struct PartitionFacts {
    /// Offsets.
    pub lag: PartitionLag,
    /// The latest event time seen there.
    pub stream_time: Option<i64>,
}

/// Everything about one query.
#[derive(Clone, Debug)]
pub struct QueryDetails {
    /// As it is listed.
    pub facts: QueryFacts,
    /// Partitions that it reads; empty while the log does not respond.
    pub partitions: Vec<PartitionFacts>,
    /// Its stages in the order in which rows pass them; empty = it never started.
    pub stages: Vec<StageFacts>,
    /// Averages over the last second and the last minute.
    pub rates: [Rates; 2],
    /// Settings in force.
    pub settings: BTreeMap<&'static str, String>,
    /// The drawn plan.
    pub plan: String,
}

/// Counters of a query.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Records read.
    pub consumed: u64,
    /// Rows written.
    pub produced: u64,
    /// Records skipped.
    pub bad: u64,
    /// Rows dropped as late.
    pub late: u64,
    /// Commits.
    pub commits: u64,
}

impl Counts {
    /// The present values.
    pub(in crate::engine) fn of(progress: &Progress) -> Counts {
        Counts::from(&QueryCounts::of(progress, 0))
    }
}

impl From<&QueryCounts> for Counts {
    fn from(counts: &QueryCounts) -> Counts {
        let &QueryCounts { consumed, produced, bad, late, commits, .. } = counts;
        Counts { consumed, produced, bad, late, commits }
    }
}

/// One partition that a query reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Log start offset.
    pub low: i64,
    /// Last stable offset (exclusive).
    pub high: i64,
    /// The committed offset: where the query continues; `None` = it has committed nothing yet.
    pub committed: Option<i64>,
}

impl PartitionLag {
    /// Records between the committed offset and the end; `None` = nothing is committed.
    pub fn records(&self) -> Option<i64> {
        Some((self.high - self.committed?).max(0))
    }
}

/// Present rates of a query, averaged over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Records read per second.
    pub rows_in: f64,
    /// Rows written per second.
    pub rows_out: f64,
    /// Bytes read per second.
    pub bytes_in: f64,
    /// Bytes written per second.
    pub bytes_out: f64,
    /// Share of the time in which the query worked.
    pub busy_share: f64,
}

impl std::ops::AddAssign for Rates {
    fn add_assign(&mut self, other: Rates) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.busy_share += other.busy_share;
    }
}
