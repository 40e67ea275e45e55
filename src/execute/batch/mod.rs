//! Batch queries: the same bound plans, and any SQL that DataFusion runs, over the history that the topics hold.
//!
//! The answer is the state after replaying the snapshot in canonical order: the heads of a source's partitions merged by
//! (rowtime, partition), never re-sorted within a partition. The snapshot ends where the topics ended when the query was
//! submitted. A table in FROM is its state there: the last value of each key.
//!
//! A SELECT in ksqlDB's grammar runs as bound, with ksqlDB's meaning. What goes beyond that grammar is SQL as DataFusion
//! has it, three-valued logic and all: a NULL group is a group there, and a record without a value a row of NULLs.
//!
//! DataFusion plans and runs on one partition, so that order is the same at every run. A small tokio runtime of its own
//! carries it; whoever asks gets a plain iterator.

mod accumulators;
mod bounds;
mod join;
mod join_tables;
mod kept;
mod magic;
mod nodes;
mod planner;
mod read;
mod scanned;
mod sessions;
mod snapshot;
mod spill;
mod table;

pub use scanned::Scanned;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::execute::scratch::Scratch;
use crate::log::{Log, TopicPartition};
use crate::mutant;
use crate::plan::BatchPlan;
use crate::threads;
use crate::types::{Column, SqlType};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use scanned::Scanning;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Threads of the batch runtime: one plans and runs operators, the other may wait for a slow query's reader.
const THREADS: usize = 2;
/// Batches that may wait for the reader of the answer.
const WAITING_BATCHES_MAX: usize = 4;

/// What a batch query reads, and where it may put what does not fit into memory.
#[derive(Clone, Debug)]
pub struct History {
    /// The topics.
    pub log: Arc<dyn Log>,
    /// For joins of streams, and for whatever does not fit into memory.
    pub scratch: Arc<Scratch>,
    /// Memory for sorting, grouping and joining; what is more goes to files.
    pub memory_bytes: usize,
    /// What of these partitions is history; `None`, or a partition that is not there = all that it holds.
    pub ranges: Option<Arc<Ranges>>,
}

/// Offsets of partitions.
pub type Ranges = BTreeMap<TopicPartition, Range<i64>>;

/// Memory of a query, unless the property [`MEMORY_PROPERTY`] says another.
pub const MEMORY_BYTES: usize = 256 << 20;
/// A session's own amount.
pub const MEMORY_PROPERTY: &str = "tidegate.batch.memory.bytes";

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
    /// Nobody waits for the answer any more.
    stopped: AtomicBool,
}

/// The answer of a batch query: an iterator that blocks until the next rows are there.
#[derive(Debug)]
pub struct BatchResult {
    columns: Vec<Column>,
    schema: SchemaRef,
    counts: Arc<Counts>,
    /// `None` = the end. A channel that closes without it belongs to a query that has not come to its end.
    rows: mpsc::Receiver<Result<Option<RecordBatch>>>,
    ended: bool,
    carrier: AbortHandle,
}

/// What came of waiting for rows.
#[derive(Debug)]
pub enum Came {
    /// Rows.
    Rows(RecordBatch),
    /// Nothing yet.
    Nothing,
    /// There are no more.
    End,
}

impl BatchResult {
    /// Columns of the answer, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The same in Arrow's words.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that the late rule dropped so far.
    pub fn late(&self) -> u64 {
        self.counts.late.load(Ordering::Relaxed)
    }

    /// Was a join WITHIN without GRACE run as if it had one?
    pub fn waited(&self) -> bool {
        self.counts.waited.load(Ordering::Relaxed)
    }

    /// Has a joined topic partitions that were not read, because it got them after its source was created?
    pub fn grown(&self) -> bool {
        self.counts.grown.load(Ordering::Relaxed)
    }

    /// Records that could not be read so far.
    pub fn bad(&self) -> u64 {
        self.counts.bad.load(Ordering::Relaxed)
    }
}

impl BatchResult {
    /// What was read so far.
    pub fn scanned(&self) -> Scanned {
        self.counts.scanned.now()
    }

    /// The next rows, if they come within that time.
    pub fn next_within(&mut self, wait: Duration) -> Result<Came> {
        if self.ended {
            return Ok(Came::End);
        }
        match runtime()?.block_on(async { timeout(wait, self.rows.recv()).await }) {
            Err(_) => Ok(Came::Nothing),
            Ok(sent) => Ok(self.came(sent)?.map_or(Came::End, Came::Rows)),
        }
    }

    fn came(&mut self, sent: Option<Result<Option<RecordBatch>>>) -> Result<Option<RecordBatch>> {
        let batch = sent.unwrap_or_else(|| {
            Err(Error::bug("the query's task ended early").with_detail("its answer is not complete"))
        })?;
        self.ended = batch.is_none();
        Ok(batch)
    }
}

impl Drop for BatchResult {
    fn drop(&mut self) {
        self.counts.stopped.store(true, Ordering::Relaxed);
        self.carrier.abort();
    }
}

impl Iterator for BatchResult {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let sent = self.rows.blocking_recv();
        self.came(sent).transpose()
    }
}

/// Runs a batch query over what the topics hold now. Must not be called on an async runtime's thread: it blocks.
pub fn run(plan: &BatchPlan, history: &History, catalog: &Catalog) -> Result<BatchResult> {
    let counts = Arc::new(Counts::default());
    let runtime = runtime()?;
    let (physical, context) = match plan {
        BatchPlan::Bound { logical, .. } => runtime.block_on(planner::bound(logical, history, &counts))?,
        BatchPlan::Sql(query) => runtime.block_on(planner::sql(query, history, catalog, &counts))?,
    };
    let columns = match plan {
        BatchPlan::Bound { columns, .. } => columns.clone(),
        BatchPlan::Sql(_) => physical.schema().fields().iter().map(|f| Column::value(f.name(), answer(f))).collect(),
    };
    let schema = Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()));
    let (sender, rows) = mpsc::channel(WAITING_BATCHES_MAX);
    let carrier = runtime.spawn(pump(physical, context, schema.clone(), sender)).abort_handle();
    Ok(BatchResult { columns, schema, counts, rows, ended: false, carrier })
}

/// How the query would be run, drawn.
pub fn explain(plan: &BatchPlan, history: &History, catalog: &Catalog) -> Result<String> {
    let counts = Arc::new(Counts::default());
    let runtime = runtime()?;
    let (physical, _) = match plan {
        BatchPlan::Bound { logical, .. } => runtime.block_on(planner::bound(logical, history, &counts))?,
        BatchPlan::Sql(query) => runtime.block_on(planner::sql(query, history, catalog, &counts))?,
    };
    Ok(datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string())
}

/// The type in which a column of DataFusion's is answered; one that ksqlDB has no word for is answered as text.
fn answer(field: &arrow::datatypes::Field) -> SqlType {
    SqlType::from_arrow(field.data_type()).unwrap_or(SqlType::String)
}

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("batch").enable_time().build()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Carries rows to the reader of the result. A panic in a plan is told to it, or rows that end early would look whole.
async fn pump(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: SchemaRef,
    sender: mpsc::Sender<Result<Option<RecordBatch>>>,
) {
    let carried = threads::guarded("batch", "", carry(plan, context, schema, sender.clone())).await;
    if let Err(panic) = carried {
        // A reader that has gone needs no error.
        let _ = sender.send(Err(panic)).await;
    }
}

/// Carries rows until there are no more or nobody reads them.
async fn carry(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: SchemaRef,
    sender: mpsc::Sender<Result<Option<RecordBatch>>>,
) {
    let mut stream = match execute_stream(plan, context) {
        Ok(stream) => stream,
        Err(e) => {
            // A reader that has gone needs no error.
            let _ = sender.send(Err(e.into())).await;
            return;
        }
    };
    while let Some(batch) = stream.next().await {
        seeded(&schema);
        let batch = batch.map_err(Error::from).and_then(|b| conform(&b, &schema));
        let failed = batch.is_err();
        if sender.send(batch.map(Some)).await.is_err() || failed {
            return;
        }
    }
    // Only here is the answer whole.
    let _ = sender.send(Ok(None)).await;
}

/// Panics where a test has asked for it by the name of the first column.
fn seeded(schema: &SchemaRef) {
    if let Some(first) = schema.fields().first() {
        mutant::trip("batch", first.name());
    }
}

/// The batch in the types and under the names that were announced.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Vec<ArrayRef> = columns
        .map(|(c, f)| if c.data_type() == f.data_type() { Ok(c.clone()) } else { cast(c, f.data_type()) })
        .collect::<Result<_, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
