//! Wide rows: what a batch of them could need is compared with the memory that is left before it is made.
//!
//! A join, a sort, a filter fill batches of a number of rows: 8,192 times a megabyte. So what goes into them is measured on its
//! way. When a batch of the widest rows would not fit, the query starts again with smaller batches (`run`), and only when a
//! single row does not fit it fails. A window function over a whole partition, which makes one batch of all rows that it
//! gets, is measured in the same way.
//!
//! ```text
//! HashJoinExec                 batches of 8,192 rows -> a row of a megabyte comes -> once more, with batches of 128 rows
//!   WidthExec                  the widest row of this side
//!   WidthExec                  the widest row of that side
//! ```

use super::nodes::external;
use super::scan::parts;
use crate::execute::batch::nodes::only_input;
use crate::functions::bounded::sizes;
use crate::memory;
use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is made besides a batch of results: what its condition reads, or the batch into which it is collected.
const COPIES: u64 = 2;

/// The plan with everything measured that multiplies rows.
pub(super) fn measured(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let with_measures = |node: Arc<dyn ExecutionPlan>| {
        let whole = node.is::<WindowAggExec>();
        let fills = makes_batches(node.name());
        if !whole && !fills && !node.children().iter().any(|input| multiplies(input.name())) {
            return Ok(Transformed::no(node));
        }
        let sides: Arc<Sides> = Arc::default();
        let measure = |(side, input): (usize, &Arc<dyn ExecutionPlan>)| -> Arc<dyn ExecutionPlan> {
            let what = match whole {
                true => Measure::Whole,
                false if !fills => Measure::Passed,
                false if multiplies(node.name()) => Measure::Pairs { sides: sides.clone(), side },
                false => Measure::Once,
            };
            Arc::new(WidthExec { what, input: input.clone() })
        };
        let children = node.children().into_iter().enumerate().map(measure).collect();
        Ok(Transformed::yes(replace_children_if_necessary(node.clone(), children)?))
    };
    Ok(plan.transform_up(with_measures)?.data)
}

/// Does this node fill batches with rows of its inputs?
fn makes_batches(name: &str) -> bool {
    let others =
        ["FilterExec", "SortExec", "SortPreservingMergeExec", "AggregateExec", "BoundedWindowAggExec", "LaggedExec"];
    multiplies(name) || others.contains(&name)
}

/// Has this node more rows than it reads, possibly many more?
fn multiplies(name: &str) -> bool {
    name.ends_with("JoinExec")
}

/// Bytes of the widest row of each side of a join.
type Sides = [AtomicU64; 2];

#[derive(Clone, Debug)]
enum Measure {
    /// Batches are passed on as they are, for as long as the query may run.
    Passed,
    /// Each row is in one batch, beside others.
    Once,
    /// Each row may be in every row of a batch.
    Pairs { sides: Arc<Sides>, side: usize },
    /// All rows become one batch.
    Whole,
}

/// Passes batches on, and looks at how wide they are.
#[derive(Debug)]
struct WidthExec {
    what: Measure,
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for WidthExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WidthExec")
    }
}

impl ExecutionPlan for WidthExec {
    fn name(&self) -> &str {
        "WidthExec"
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
        Ok(Arc::new(WidthExec { what: self.what.clone(), input: only_input(children)? }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = context.session_config().batch_size();
        let what = self.what.clone();
        let (mut all, mut widest) = (0, 0);
        let check = move |batch: &RecordBatch| match &what {
            Measure::Passed => Ok(()),
            Measure::Once => {
                let bytes = row_bytes(batch);
                all += bytes.iter().sum::<u64>();
                widest = bytes.into_iter().max().unwrap_or(0).max(widest);
                reserve_for(widest.saturating_mul(rows as u64).min(all), rows)
            }
            Measure::Pairs { sides, side } => pairs_fit(batch, sides, *side, rows),
            Measure::Whole => {
                all += row_bytes(batch).iter().sum::<u64>();
                reserve(all)
            }
        };
        let schema = self.input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            measuring(self.input.execute(partition, context)?, check, rows),
        )))
    }
}

fn measuring(
    input: SendableRecordBatchStream,
    mut check: impl FnMut(&RecordBatch) -> Result<()> + Send + 'static,
    rows: usize,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send {
    input.flat_map(move |batch| {
        let batch = batch.and_then(|batch| {
            memory::check().map_err(external)?;
            check(&batch).map(|()| batch)
        });
        // A window function makes one batch of all rows; some joins have as many results at once as a batch has rows.
        let batches: Vec<Result<RecordBatch>> = match batch {
            Ok(batch) if batch.num_rows() > rows => parts(&batch, rows).map(Ok).collect(),
            other => vec![other],
        };
        futures::stream::iter(batches)
    })
}

/// Would a batch of so many of the widest rows of both sides fit?
fn pairs_fit(batch: &RecordBatch, sides: &Sides, side: usize, rows: usize) -> Result<()> {
    let widest = row_bytes(batch).into_iter().max().unwrap_or(0);
    sides[side.min(1)].fetch_max(widest, Ordering::Relaxed);
    let pair = sides.iter().map(|side| side.load(Ordering::Relaxed)).fold(0, u64::saturating_add);
    reserve_for(pair.saturating_mul(rows as u64), rows)
}

/// Is there room for a batch of so many bytes?
fn reserve_for(bytes: u64, rows: usize) -> Result<()> {
    let bytes = usize::try_from(bytes.saturating_mul(COPIES)).unwrap_or(usize::MAX);
    memory::reserve_for_rows(bytes, rows).map_err(external)
}

fn reserve(bytes: u64) -> Result<()> {
    memory::reserve(usize::try_from(bytes).unwrap_or(usize::MAX)).map_err(external)
}

/// Bytes of each row.
fn row_bytes(batch: &RecordBatch) -> Vec<u64> {
    let mut all = vec![0; batch.num_rows()];
    for column in batch.columns() {
        match column.data_type().primitive_width() {
            Some(width) => all.iter_mut().for_each(|sum| *sum += width as u64),
            None => all.iter_mut().zip(sizes::bytes(column)).for_each(|(sum, size)| *sum += size),
        }
    }
    all
}
