//! The thread of a batch query: it plans, runs the operators, and hands rows to the caller through a short queue.
//!
//! A query has a thread of its own, because a function that works long on one value cannot be interrupted: then the others
//! still have theirs. It is a polite thread (the queries that run for ever come first), and there is a bound of them. What
//! ends a query early (its time, its memory, a caller that has gone) is noticed between two batches and within a scan; the
//! caller does not wait for that. A result ends with [`Came::End`] only if the query reported its end: a thread that dies is an error.

pub(super) mod analysis;
pub(super) mod drawn;

use super::{Counts, HELD_FACTOR, History, Scanned, planner};
use crate::error::{Error, Kind, Result};
use crate::memory::{self, Bounds, Limits};
use crate::mutant;
use crate::plan::BatchPlan;
use crate::plan::nodes::call;
use crate::threads;
use crate::types::Column;
use crate::types::clock::{SharedClock, SystemClock};
use arrow::array::{ArrayRef, MutableArrayData, RecordBatch, RecordBatchOptions, make_array};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::task::Poll;
use std::time::Duration;

/// Batches that may wait for the caller.
const WAITING_BATCHES_MAX: usize = 4;
/// Queries at once, those included that were given up and still work on one value: with the memory of a query, this bounds
/// what all of them hold.
const THREADS_MAX: usize = 64;
/// How much lower than that of other threads their priority is: they get a quarter of a core that is wanted by others.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;
/// How long the caller waits for a query that is over its time, which ends itself with the same error.
const GRACE: Duration = Duration::from_millis(500);

/// Rows of a batch of a query that cannot begin again with smaller ones once rows have left, as each time it has others: so
/// many records of the usual largest size fit.
const VOLATILE_ROWS: usize = 256;

/// What the threads are called.
const THREAD: &str = "batch";

/// Threads that are there now.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// One of the threads, from before it is started until after it has ended.
struct Seat;

impl Seat {
    fn take() -> Result<Seat> {
        if THREADS.fetch_add(1, Ordering::Relaxed) < THREADS_MAX {
            return Ok(Seat);
        }
        THREADS.fetch_sub(1, Ordering::Relaxed);
        Err(Error::new(Kind::Busy, format!("{THREADS_MAX} queries without EMIT are running already"))
            .with_hint("run it again when one of them has ended"))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the thread says.
enum Said {
    /// What the rows will look like; always the first.
    Head(Vec<Column>),
    /// The plan, where only that was asked for.
    Drawn(String),
    Rows(RecordBatch),
    End,
    Failed(Error),
}

/// What is wanted of the thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Rows,
    Drawing,
    /// What it did, drawn; at most so many rows are wanted of it.
    Analysis(Option<u64>),
}

/// The result of a batch query: an iterator that blocks until the next rows are there.
#[derive(Debug)]
pub struct BatchResult {
    columns: Vec<Column>,
    schema: SchemaRef,
    answer: Answer,
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
    /// Columns of the result, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The same in Arrow's words.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that the late rule dropped so far.
    pub fn late(&self) -> u64 {
        self.answer.counts.late.load(Ordering::Relaxed)
    }

    /// Was a join WITHIN without GRACE run as if it had one?
    pub fn waited(&self) -> bool {
        self.answer.counts.waited.load(Ordering::Relaxed)
    }

    /// Has a joined topic partitions that were not read, because it got them after its source was created?
    pub fn grown(&self) -> bool {
        self.answer.counts.grown.load(Ordering::Relaxed)
    }

    /// Records that could not be read so far.
    pub fn bad(&self) -> u64 {
        self.answer.counts.bad.load(Ordering::Relaxed)
    }

    /// What was read so far.
    pub fn scanned(&self) -> Scanned {
        self.answer.counts.scanned.now()
    }

    /// The next rows, if they come within that time.
    pub fn next_within(&mut self, wait: Duration) -> Result<Came> {
        match self.answer.next(wait)? {
            None => Ok(Came::Nothing),
            Some(Said::Rows(batch)) => Ok(Came::Rows(batch)),
            Some(_) => Ok(Came::End),
        }
    }
}

impl Iterator for BatchResult {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.answer.wait() {
            Ok(Said::Rows(batch)) => Some(Ok(batch)),
            Ok(_) => None,
            Err(e) => Some(Err(e)),
        }
    }
}

/// The other end of the thread's queue.
#[derive(Debug)]
struct Answer {
    said: Receiver<Said>,
    counts: Arc<Counts>,
    clock: SharedClock,
    /// How much longer the caller waits; what it does with the rows meanwhile does not count.
    left: Duration,
    time: Duration,
    /// The last word was said.
    over: bool,
}

impl Answer {
    /// What is said next, if it is said within that time.
    fn next(&mut self, wait: Duration) -> Result<Option<Said>> {
        if self.over {
            return Ok(Some(Said::End));
        }
        let (left, before) = (self.left, self.clock.monotonic());
        let said = self.said.recv_timeout(wait.min(left));
        self.left = left.saturating_sub(self.clock.monotonic().saturating_sub(before));
        let said = match said {
            Ok(Said::Failed(e)) => Err(e),
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Timeout) if wait >= left => Err(memory::too_long(self.time)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::bug("the query's task ended early").with_detail("its result is not complete"))
            }
        };
        self.over = !matches!(said, Ok(None | Some(Said::Rows(_) | Said::Head(_))));
        said
    }

    /// What is said next.
    fn wait(&mut self) -> Result<Said> {
        loop {
            if let Some(said) = self.next(Duration::MAX)? {
                return Ok(said);
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.counts.stopped.store(true, Ordering::Relaxed);
    }
}

/// Runs a batch query over what the topics hold now. Must not be called on an async runtime's thread: it blocks.
pub fn run(plan: &BatchPlan, history: &History) -> Result<BatchResult> {
    let mut answer = started(plan, history, Want::Rows)?;
    match answer.wait()? {
        Said::Head(columns) => {
            let schema = schema_of(&columns);
            Ok(BatchResult { columns, schema, answer })
        }
        _ => Err(Error::bug("a query did not say its columns first")),
    }
}

/// How the query would be run, drawn.
pub fn explain(plan: &BatchPlan, history: &History) -> Result<String> {
    match started(plan, history, Want::Drawing)?.wait()? {
        Said::Drawn(text) => Ok(text),
        _ => Err(Error::bug("a plan was not drawn")),
    }
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}

fn started(plan: &BatchPlan, history: &History, want: Want) -> Result<Answer> {
    let seat = Seat::take()?;
    let counts = Arc::new(Counts { is_shown: matches!(want, Want::Drawing), ..Counts::default() });
    // The caller waits in real time, also where the topics' clock is a simulated one.
    let clock = SystemClock::shared();
    let limits = Limits {
        bytes: history.memory_bytes.saturating_mul(HELD_FACTOR),
        time: history.timeout,
        clock: clock.clone(),
        stopped: counts.stopped.clone(),
    };
    let (sender, said) = sync_channel(WAITING_BATCHES_MAX);
    let job =
        Job { plan: plan.clone(), history: history.clone(), counts: counts.clone(), want, has_begun: Cell::new(false) };
    let left = history.timeout.saturating_add(GRACE);
    let work = move || {
        let _seat = seat;
        polite();
        Bounds::new(limits).apply(|| job.run_to_the_end(&sender));
    };
    threads::spawn(THREAD, "", work)?;
    Ok(Answer { said, counts, clock, left, time: history.timeout, over: false })
}

/// Lets the threads of other queries go first.
fn polite() {
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("cannot lower the priority of a batch thread: {e}");
    }
}

/// A query, as its thread gets it.
struct Job {
    plan: BatchPlan,
    history: History,
    counts: Arc<Counts>,
    want: Want,
    /// The columns were announced.
    has_begun: Cell<bool>,
}

impl Job {
    /// Says everything, the last word too.
    fn run_to_the_end(self, sender: &SyncSender<Said>) {
        let last = match threads::guard(THREAD, "", || self.run(sender)) {
            Ok(Ok(())) => Said::End,
            Ok(Err(e)) => Said::Failed(e),
            Err(panic) => {
                let told = format!("the query's task ended early: {}", panic.message());
                Said::Failed(panic.reworded(told).and_detail("the result is not complete"))
            }
        };
        // A caller that has gone needs no last word.
        let _ = sender.send(last);
    }

    fn run(mut self, sender: &SyncSender<Said>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut sent = 0;
        if self.is_volatile() {
            self.history.rows = self.history.rows.min(VOLATILE_ROWS);
        }
        let done = loop {
            let done = runtime.block_on(self.attempt(sender, &mut sent));
            match (done, memory::rows_that_fit()) {
                (Err(_), Some(rows)) if self.history.rows > 1 && (sent == 0 || !self.is_volatile()) => {
                    self.begin_again(rows.min(self.history.rows - 1));
                }
                (done, _) => break done,
            }
        };
        // A thread that still reads ahead notices by itself that its rows are not wanted.
        runtime.shutdown_background();
        done
    }

    /// Runs the query; the first `sent` rows are there already.
    async fn attempt(&self, sender: &SyncSender<Said>, sent: &mut usize) -> Result<()> {
        let (physical, context) = self.planned().await?;
        if self.want == Want::Drawing {
            let _ = sender.send(Said::Drawn(drawn::drawn(&physical, &self.counts.leaves)));
            return Ok(());
        }
        if let Want::Analysis(limit) = self.want {
            return self.analyzed(physical, context, limit, sender).await;
        }
        let columns = self.plan.columns.clone();
        let schema = schema_of(&columns);
        if !self.has_begun.replace(true) && sender.send(Said::Head(columns)).is_err() {
            return Ok(());
        }
        pump(physical, context, schema, sender, sent).await
    }

    /// Prepares another attempt with smaller batches; the rows and their order are the same.
    fn begin_again(&mut self, rows: usize) {
        self.history.rows = rows;
        let Counts { late, bad, scanned, .. } = &*self.counts;
        late.store(0, Ordering::Relaxed);
        bad.store(0, Ordering::Relaxed);
        scanned.restart();
    }

    /// Would another attempt have other rows?
    fn is_volatile(&self) -> bool {
        let volatile = |node: &LogicalPlan| Ok(!node.expressions().iter().all(call::is_repeatable));
        self.plan.logical.exists(volatile).unwrap_or(true)
    }

    async fn planned(&self) -> Result<planner::Planned> {
        planner::bound(&self.plan.logical, &self.history, &self.counts).await
    }
}

/// Panics where a test has asked for it by the name of the first column.
fn seeded(schema: &SchemaRef) {
    if let Some(first) = schema.fields().first() {
        mutant::trip(THREAD, first.name());
    }
}

/// Hands rows to the caller, until there are no more or the caller has gone.
async fn pump(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: SchemaRef,
    sender: &SyncSender<Said>,
    sent: &mut usize,
) -> Result<()> {
    let mut stream = execute_stream(plan, context)?;
    let mut again = *sent;
    loop {
        // An operator that works long yields now and then, and is asked again at once.
        let next = poll_fn(|waker| match memory::check() {
            Ok(()) => stream.poll_next_unpin(waker).map(Ok),
            Err(e) => Poll::Ready(Err(e)),
        });
        let Some(batch) = next.await? else { return Ok(()) };
        seeded(&schema);
        let batch = conform(&batch?, &schema)?;
        let known = again.min(batch.num_rows());
        again -= known;
        let batch = batch.slice(known, batch.num_rows() - known);
        if batch.num_rows() == 0 {
            continue;
        }
        *sent += batch.num_rows();
        let handed = memory::outside(|| copied(&batch))?;
        drop(batch);
        if memory::waiting(|| sender.send(Said::Rows(handed))).is_err() {
            return Ok(());
        }
    }
}

/// The batch in the types and under the names that were announced.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Vec<ArrayRef> = columns
        .map(|(c, f)| if c.data_type() == f.data_type() { Ok(c.clone()) } else { cast(c, f.data_type()) })
        .collect::<Result<_, _>>()?;
    with_columns(schema, columns, batch.num_rows())
}

/// The rows alone: a batch may be a part of a much larger one, which would be kept with it.
fn copied(batch: &RecordBatch) -> Result<RecordBatch> {
    let copy = |column: &ArrayRef| -> Result<ArrayRef> {
        let data = column.to_data();
        let mut copy = MutableArrayData::new(vec![&data], false, data.len());
        copy.try_extend(0, 0, data.len())?;
        Ok(make_array(copy.freeze()))
    };
    with_columns(&batch.schema(), batch.columns().iter().map(copy).collect::<Result<_>>()?, batch.num_rows())
}

fn with_columns(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
