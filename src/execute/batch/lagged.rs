//! LAG and ROW_NUMBER over sorted rows, a column at a time.
//!
//! ```text
//! partition   a  a  a  b  b     places of the rows in their partitions: 0 1 2 0 1
//! value       1  2  3  4  5
//! LAG(v, 1)   -  1  2  -  4     the value one row before, where the place is 1 or more
//! ```
//!
//! DataFusion computes them row by row with a state for each partition, which is most of the time of a query over many
//! partitions. Here a batch is compared with itself once, and only the rows that the next batch looks back at are kept. What is
//! not that simple stays with DataFusion: LEAD, IGNORE NULLS, a default, rows that are not sorted by all of PARTITION BY.

use super::copies::plain_name;
use super::nodes::external;
use crate::execute::batch::nodes::only_input;
use crate::memory;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{concat, partition, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, PlanProperties};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// How far back LAG looks here: as many rows are copied with every batch.
const ROWS_BEHIND_MAX: usize = 8192;

/// The plan with such windows computed here.
pub(super) fn lagged(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let one = |node: Arc<dyn ExecutionPlan>| match LaggedExec::of(&node) {
        Some(lagged) => Ok(Transformed::yes(Arc::new(lagged) as Arc<dyn ExecutionPlan>)),
        None => Ok(Transformed::no(node)),
    };
    Ok(plan.transform_up(one)?.data)
}

/// What a column has.
#[derive(Clone, Debug)]
enum Call {
    /// ROW_NUMBER
    Number,
    /// LAG, so many rows back.
    Lag { value: Arc<dyn PhysicalExpr>, rows: usize },
}

impl Call {
    fn of(expr: &Arc<dyn WindowExpr>) -> Option<Call> {
        let standard = expr.as_any().downcast_ref::<StandardWindowExpr>()?.get_standard_func_expr();
        let call = standard.as_any().downcast_ref::<WindowUDFExpr>()?;
        match (plain_name(call.fun())?, call.args()) {
            ("row_number", _) => Some(Call::Number),
            ("lag", [value]) => Some(Call::Lag { value: value.clone(), rows: 1 }),
            ("lag", [value, rows]) => {
                let rows = match rows.downcast_ref::<Literal>()?.value() {
                    ScalarValue::Int32(Some(rows)) => usize::try_from(*rows).ok()?,
                    ScalarValue::Int64(Some(rows)) => usize::try_from(*rows).ok()?,
                    _ => return None,
                };
                (1..=ROWS_BEHIND_MAX).contains(&rows).then(|| Call::Lag { value: value.clone(), rows })
            }
            _ => None,
        }
    }
}

/// Adds the columns to the rows of a sorted input.
#[derive(Debug)]
pub(super) struct LaggedExec {
    calls: Vec<Call>,
    partition_by: Vec<Arc<dyn PhysicalExpr>>,
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl LaggedExec {
    fn of(node: &Arc<dyn ExecutionPlan>) -> Option<LaggedExec> {
        let window = node.downcast_ref::<BoundedWindowAggExec>()?;
        let partition_by = window.window_expr().first()?.partition_by();
        let alike = window.window_expr().iter().all(|expr| expr.partition_by() == partition_by);
        if !alike || window.input_order_mode != InputOrderMode::Sorted {
            return None;
        }
        Some(LaggedExec {
            calls: window.window_expr().iter().map(Call::of).collect::<Option<_>>()?,
            partition_by: partition_by.to_vec(),
            input: window.input().clone(),
            schema: node.schema(),
            properties: node.properties().clone(),
        })
    }
}

impl LaggedExec {
    /// Its calls, with expressions as `text` writes them.
    pub(super) fn calls_in_words(&self, text: &dyn Fn(&Arc<dyn PhysicalExpr>) -> String) -> Vec<String> {
        let by: Vec<String> = self.partition_by.iter().map(text).collect();
        let over = if by.is_empty() { String::new() } else { format!("PARTITION BY {}", by.join(", ")) };
        let call = |call: &Call| match call {
            Call::Number => format!("ROW_NUMBER() OVER ({over})"),
            Call::Lag { value, rows: 1 } => format!("LAG({}) OVER ({over})", text(value)),
            Call::Lag { value, rows } => format!("LAG({}, {rows}) OVER ({over})", text(value)),
        };
        self.calls.iter().map(call).collect()
    }

    /// Without PARTITION BY.
    pub(super) fn is_one_partition(&self) -> bool {
        self.partition_by.is_empty()
    }
}

impl DisplayAs for LaggedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.schema.fields().iter().skip(self.input.schema().fields().len());
        write!(f, "LaggedExec: {}", names.map(|field| field.name().as_str()).collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for LaggedExec {
    fn name(&self) -> &str {
        "LaggedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
        Ok(Arc::new(LaggedExec {
            calls: self.calls.clone(),
            partition_by: self.partition_by.clone(),
            input: only_input(children)?,
            schema: self.schema.clone(),
            properties: self.properties.clone(),
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let mut runner = Runner {
            calls: self.calls.iter().map(|call| (call.clone(), None)).collect(),
            partition_by: self.partition_by.clone(),
            schema: self.schema.clone(),
            open: None,
        };
        let rows = input.map(move |batch| runner.run(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)))
    }
}

/// The partition of the last row.
struct Open {
    /// Its row of the columns of PARTITION BY.
    keys: Vec<ArrayRef>,
    /// How many rows it has so far.
    rows: u64,
}

struct Runner {
    /// With the last values, which the next rows look back at.
    calls: Vec<(Call, Option<ArrayRef>)>,
    partition_by: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    /// `None` before the first row.
    open: Option<Open>,
}

impl Runner {
    fn run(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        memory::check().map_err(external)?;
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let keys = self.partition_by.iter().map(|key| key.evaluate(batch)?.into_array(rows));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let places = self.places(&keys, rows)?;
        let mut columns = batch.columns().to_vec();
        for (call, before) in &mut self.calls {
            columns.push(match call {
                Call::Number => Arc::new(places.iter().map(|place| place + 1).collect::<UInt64Array>()),
                Call::Lag { value, rows: back } => {
                    shifted(value.evaluate(batch)?.into_array(rows)?, *back, &places, before)?
                }
            });
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// The place of each row in its partition.
    fn places(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
        let ranges = if keys.is_empty() { std::iter::once(0..rows).collect() } else { partition(keys)?.ranges() };
        let mut first = match &self.open {
            Some(open) if same(&open.keys, keys)? => open.rows,
            _ => 0,
        };
        let mut places = Vec::with_capacity(rows);
        for range in ranges {
            places.extend((0..range.len() as u64).map(|place| first + place));
            first = 0;
        }
        let last: Vec<ArrayRef> = keys.iter().map(|key| row(key, rows - 1)).collect::<Result<_>>()?;
        self.open = Some(Open { keys: last, rows: places.last().map_or(0, |place| place + 1) });
        Ok(places)
    }
}

/// Is the first row of these columns the row of those?
fn same(last: &[ArrayRef], keys: &[ArrayRef]) -> Result<bool> {
    if keys.is_empty() {
        return Ok(true);
    }
    let pairs = last.iter().zip(keys).map(|(last, key)| Ok(concat(&[last.as_ref(), key.slice(0, 1).as_ref()])?));
    Ok(partition(&pairs.collect::<Result<Vec<_>>>()?)?.len() == 1)
}

/// One row, without the others behind it.
fn row(column: &ArrayRef, at: usize) -> Result<ArrayRef> {
    Ok(take(column, &UInt64Array::from(vec![at as u64]), None)?)
}

/// Each row's value `back` rows before it in its partition; the last ones are kept in `before`.
fn shifted(values: ArrayRef, back: usize, places: &[u64], before: &mut Option<ArrayRef>) -> Result<ArrayRef> {
    let known = before.as_ref().map_or(0, |before| before.len());
    let all = match before {
        Some(before) => concat(&[before.as_ref(), values.as_ref()])?,
        None => values,
    };
    let source = |(at, place): (usize, &u64)| match *place >= back as u64 {
        true => (known + at).checked_sub(back).map(|at| at as u64),
        false => None,
    };
    let indices: UInt64Array = places.iter().enumerate().map(source).collect();
    let shifted = take(&all, &indices, None)?;
    let kept = all.len().saturating_sub(back) as u64..all.len() as u64;
    *before = Some(take(&all, &UInt64Array::from_iter_values(kept), None)?);
    Ok(shifted)
}
