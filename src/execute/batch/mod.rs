//! Batch queries: the same bound plans over the history that the topics hold.
//!
//! The result is the state after replaying the snapshot in canonical order: the heads of a source's partitions merged by
//! (rowtime, partition), never re-sorted within a partition. The snapshot ends where the topics ended when the query was
//! submitted. A table in FROM is its state there: the last value of each key.
//!
//! Every expression in it is a closed program with ksqlDB's meaning. DataFusion optimises and runs what is between them: scans,
//! filters, joins, groups, windows and sorts of plain columns.
//!
//! DataFusion plans and runs on one partition, so that order is the same at every run. Each query has a thread of its own
//! (`run`), within the bounds of [`crate::memory`]; the caller gets a plain iterator.

mod accumulators;
mod arranged;
mod copies;
mod grouped;
#[cfg(test)]
mod grouped_test;
mod heap_accumulator;
mod lagged;
mod nodes;
mod planner;
mod run;
mod scan;
mod spill;
mod stopping;
mod width;
mod windowed;

pub use run::analysis::{Analysis, analyze};
pub use run::{BatchResult, Came, explain, run};
pub use scan::progress::Scanned;
pub use scan::system::SystemRows;

use crate::config;
use crate::execute::state::spill_pool::SpillPool;
use crate::format::frame::SharedSchemas;
use crate::log::{Log, TopicPartition};
use run::drawn::leaves::Leaves;
use scan::progress::Scanning;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Rows of a batch, unless a statement is long.
const ROWS: usize = 8192;
/// What the constants of a statement may become in one batch: each is repeated in every row.
const CONSTANT_BYTES: usize = 16 << 20;

/// Rows of a batch for a statement of that many bytes, which may all be those of a constant.
pub fn rows_of_a_batch(text_bytes: usize) -> usize {
    (CONSTANT_BYTES / text_bytes.max(1)).clamp(1, ROWS)
}

/// What a batch query reads, and where it may put what does not fit into memory.
#[derive(Clone, Debug)]
pub struct History {
    /// The topics.
    pub log: Arc<dyn Log>,
    /// Schemas of their records.
    pub schemas: SharedSchemas,
    /// For joins of streams, and for whatever does not fit into memory.
    pub spill_pool: Arc<SpillPool>,
    /// Memory for sorting, grouping and joining; what is more goes to files.
    pub memory_bytes: usize,
    /// Rows of a batch.
    pub rows: usize,
    /// How long a query may run.
    pub timeout: Duration,
    /// What of these partitions is history; `None`, or a partition that is not there = all that it holds.
    pub ranges: Option<Arc<Ranges>>,
    /// Rows of the system tables that it reads.
    pub system: Arc<SystemRows>,
}

/// Offsets of partitions.
pub type Ranges = BTreeMap<TopicPartition, Range<i64>>;

/// Memory of a query, unless the property [`MEMORY_PROPERTY`] says another.
pub const MEMORY_BYTES: usize = config::BATCH_MEMORY_BYTES;
pub use crate::memory::{MEMORY_PROPERTY, TIMEOUT_PROPERTY};

/// Time of a query, unless the property [`TIMEOUT_PROPERTY`] says another.
pub const TIMEOUT: Duration = Duration::from_millis(config::BATCH_TIMEOUT_MS);

/// What a query may hold at the allocator, in multiples of the memory that its operators share. They count their state and
/// not the batches between them, a merge holds two generations, a hash table that grows two of its sizes: three times the
/// shared memory was measured for a DISTINCT over two million rows, which is no fault of the query.
const HELD_FACTOR: usize = 4;

/// Rows that left a batch query on the way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    late: AtomicU64,
    bad: AtomicU64,
    /// A join without GRACE was given one.
    waited: AtomicBool,
    /// A joined topic has partitions that its source does not know.
    grown: AtomicBool,
    /// What was read so far.
    scanned: Scanning,
    /// What of each partition is history, from the first look at it: a source may be read several times.
    ranges: Mutex<Ranges>,
    /// The caller no longer waits for the result.
    stopped: Arc<AtomicBool>,
    /// The plan is shown and not run: the log is not asked what there is to read.
    is_shown: bool,
    /// What the leaves of its plan read, for who draws it.
    leaves: Leaves,
}

impl Counts {
    /// What of a partition is history, which `now` decides once.
    fn range_of(&self, partition: &TopicPartition, now: Range<i64>) -> Range<i64> {
        let mut known = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(partition.clone()).or_insert(now).clone()
    }
}
