//! What a query runs and how, as plain data, and the bounds of its loop.

use super::snapshot::Snapshots;
use super::topic_identity::{Role, TopicRegistry};
use crate::catalog::Source;
use crate::execute::operator::EmitMode;
use crate::execute::pipeline::{Pipeline, changelog_topic};
use crate::execute::pull::materialized_view::View;
use crate::execute::record::shared_rows::SharedRows;
use crate::execute::state::spill_pool::SpillPool;
use crate::format::frame::SharedSchemas;
use crate::log::{Claim, Start};
use crate::workers::Crew;
use std::sync::Arc;
use std::time::Duration;

/// Records asked for in one poll, and rows in one intake batch: decoded columns of that many rows stay in the cache.
pub const BATCH_ROWS_MAX: usize = 2_048;
/// Records of a round: eight batches, so that eight workers have one each.
pub const ROUND_RECORDS_MAX: usize = 8 * BATCH_ROWS_MAX;
/// Bytes of records at which a round is complete: what their rows become is in memory at once.
pub const ROUND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Records that may wait in the queues while one partition is behind the others.
pub const QUEUED_RECORDS_MAX: usize = 65_536;
/// Unsent output (and undo images behind it) that end an epoch early: memory is bounded by it, a transaction stays short.
pub const EPOCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Rows under at-least-once that are delivered although more of them are at hand: one request's worth.
pub const DELIVERY_BYTES: usize = 1024 * 1024;
/// Bad records described one by one per query and turn; more are only counted.
pub const BAD_RECORDS_KEPT: usize = 1_000;

/// Where a query's rows go.
#[derive(Clone, Debug)]
pub enum Target {
    /// To a topic, exactly once.
    Topic(Arc<Source>),
    /// To the reader of a push query: nothing is stored.
    Rows,
}

/// What a failure may do to rows that a topic already holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarantee {
    /// Nothing: rows are visible with the commit that covers their inputs.
    #[default]
    ExactlyOnce,
    /// They may be written again: rows are visible as soon as they are emitted. State and offsets stay exact.
    AtLeastOnce,
}

/// What to run and how.
#[derive(Clone, Debug)]
pub struct ExecutionSpec {
    /// The compiled query.
    pub pipeline: Pipeline,
    /// Where its rows go.
    pub target: Target,
    /// Consumer group and stem of the internal topics' names.
    pub group: String,
    /// Stable name of this process among those of the service.
    pub slot: String,
    /// How many other processes keep its state up to date.
    pub standbys: usize,
    /// Whether this process owns the query.
    pub claim: Arc<dyn Claim>,
    /// Every change, or the last of each key per emission.
    pub mode: EmitMode,
    /// Where to begin without committed offsets, unless `begin` says.
    pub start: Start,
    /// Offsets by partition that `latest` meant when the query was created: what came in since then belongs to it.
    pub begin: Option<Vec<i64>>,
    /// Time between commits.
    pub commit_interval: Duration,
    /// Longest time between emissions while lagging.
    pub emit_interval: Duration,
    /// When rows leave.
    pub guarantee: Guarantee,
    /// Whether a row that is too large for its topic stops the query, or is left out.
    pub fail_on_production_error: bool,
    /// Where late rows are kept; only for [`Target::Topic`].
    pub late_topic: Option<String>,
    /// Who works on it.
    pub crew: Crew,
    /// Where joins put what does not fit into memory.
    pub spill_pool: Arc<SpillPool>,
    /// Where its state is written to the local disk; `None` = a start reads the changelog.
    pub snapshots: Option<Arc<Snapshots>>,
    /// Who looks whether its topics are still the same.
    pub watch: Arc<TopicRegistry>,
    /// Rows that it has in common with other queries of the process.
    pub shared_rows: Arc<SharedRows>,
    /// Schemas of the records that it reads.
    pub schemas: SharedSchemas,
    /// What queries without EMIT read, where it writes a table.
    pub view: Option<Arc<View>>,
}

impl ExecutionSpec {
    /// All topics that the query reads or writes, once each. Inputs first: their ids matter most where the text of a commit
    /// has no room for all.
    pub(super) fn topics(&self) -> Vec<(String, Role)> {
        let mut topics: Vec<(String, Role)> = Vec::new();
        let mut add = |name: String, role: Role| {
            if !topics.iter().any(|(known, _)| *known == name) {
                topics.push((name, role));
            }
        };
        for scan in &self.pipeline.scans {
            add(scan.source.topic.clone(), Role::Input(scan.source.clone()));
        }
        if let Target::Topic(sink) = &self.target {
            add(sink.topic.clone(), Role::Output);
            self.late_topic.iter().for_each(|topic| add(topic.clone(), Role::Output));
            for (store, _) in self.pipeline.stores() {
                add(changelog_topic(&self.group, store), Role::Output);
            }
        }
        topics
    }

    /// The source that the query writes; `None` = its rows go to a reader.
    pub(super) fn sink(&self) -> Option<&Arc<Source>> {
        match &self.target {
            Target::Topic(sink) => Some(sink),
            Target::Rows => None,
        }
    }
}
