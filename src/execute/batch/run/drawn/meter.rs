//! What passes through the nodes of a plan: rows, and time. Only EXPLAIN ANALYZE puts meters in.

use crate::execute::batch::nodes::only_input;
use crate::types::clock::SystemClock;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use futures::stream::poll_fn;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

/// The plan with a meter above each node.
pub(in crate::execute::batch) fn metered(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let with_meter = |input: Arc<dyn ExecutionPlan>| {
        let meter = MeteredExec { input, meter: Arc::default() };
        Ok(Transformed::yes(Arc::new(meter) as Arc<dyn ExecutionPlan>))
    };
    Ok(plan.transform_up(with_meter)?.data)
}

/// What passed so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    rows: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    /// Rows, and the time of the node with all below it.
    pub(super) fn passed(&self) -> (u64, Duration) {
        (self.rows.load(Ordering::Relaxed), Duration::from_nanos(self.nanos.load(Ordering::Relaxed)))
    }

    fn pass(&self, rows: usize, time: Duration) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a leaf has read, while it grows.
#[derive(Debug, Default)]
pub(in crate::execute::batch) struct Reading {
    records: AtomicU64,
    bytes: AtomicU64,
    busy_nanos: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// How long the thread that reads has worked.
    pub(super) busy: Duration,
}

impl Reading {
    /// So much was read.
    pub(in crate::execute::batch) fn read(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The thread that reads has worked so long.
    pub(in crate::execute::batch) fn worked(&self, time: Duration) {
        self.busy_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Read {
        Read {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)),
        }
    }
}

/// Passes rows on, and counts.
#[derive(Debug)]
pub(super) struct MeteredExec {
    input: Arc<dyn ExecutionPlan>,
    meter: Arc<Meter>,
}

impl MeteredExec {
    pub(super) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl DisplayAs for MeteredExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeteredExec")
    }
}

impl ExecutionPlan for MeteredExec {
    fn name(&self) -> &str {
        "MeteredExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(MeteredExec { input: only_input(children)?, meter: self.meter.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut input = self.input.execute(partition, context)?;
        let (meter, clock) = (self.meter.clone(), SystemClock::shared());
        let rows = poll_fn(move |waker| {
            let begin = clock.monotonic();
            let polled = input.poll_next_unpin(waker);
            let rows = match &polled {
                Poll::Ready(Some(Ok(batch))) => batch.num_rows(),
                _ => 0,
            };
            meter.pass(rows, clock.monotonic().saturating_sub(begin));
            polled
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
