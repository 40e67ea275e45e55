//! Physical nodes for what SQL has no word for: all take one ordered partition and look at every row once, in order.

mod explode;
pub(super) mod join;
mod placed;
pub(super) mod sessions;
pub(super) mod table_join;

use super::Counts;
use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::operator::window::Windows;
use crate::format::Encoder;
use crate::log::partition;
use crate::plan::nodes::table::PRESENT;
use crate::types::time::Window;
use crate::types::{Column, pseudo};
use arrow::array::{Array, AsArray, BooleanArray, Int32Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties,
};
use explode::Portions;
use futures::StreamExt;
use sessions::Sessions;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a node does with batches, in order.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one a node of a plan")]
pub(crate) enum Step {
    /// Rows get their partition from their new key; rows without key or value go.
    Rekey { key: Vec<Column>, format: Format, partitions: Option<u32> },
    /// A row for each element of the arrays from a column on.
    Explode { first: usize },
    /// Rows are put into windows; late ones go, and are counted.
    Window { window: Window, counts: Arc<Counts> },
    /// Rows are grouped by key and session.
    Sessions { node: Sessions, counts: Arc<Counts> },
}

/// Runs a [`Step`].
#[derive(Debug)]
pub(crate) struct StepExec {
    step: Step,
    schema: SchemaRef,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl StepExec {
    pub(crate) fn new(step: Step, schema: SchemaRef, input: Arc<dyn ExecutionPlan>) -> StepExec {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        StepExec { step, schema, input, properties }
    }
}

impl DisplayAs for StepExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Step::Rekey { key, partitions, .. } => {
                let names: Vec<&str> = key.iter().map(|c| c.name.as_str()).collect();
                write!(f, "RekeyExec: {}", names.join(", "))?;
                partitions.map_or(Ok(()), |n| write!(f, ", into {n} partitions"))
            }
            Step::Explode { .. } => f.write_str("ExplodeExec"),
            Step::Window { window, .. } => write!(f, "TimeWindowExec: {window}"),
            Step::Sessions { .. } => f.write_str("SessionsExec"),
        }
    }
}

impl ExecutionPlan for StepExec {
    fn name(&self) -> &str {
        match self.step {
            Step::Rekey { .. } => "RekeyExec",
            Step::Explode { .. } => "ExplodeExec",
            Step::Window { .. } => "TimeWindowExec",
            Step::Sessions { .. } => "SessionsExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    // The time of a partition moves with its rows in order: all of them have to come through here.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    // Elements and sessions are not there to be sorted by below: only what keeps its columns lets an order through.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![!matches!(self.step, Step::Explode { .. } | Step::Sessions { .. })]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(StepExec::new(self.step.clone(), self.schema.clone(), only_input(children)?)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let mut runner = Runner::new(&self.step, self.schema.clone()).map_err(external)?;
        // One more turn after the last batch: what is only known at the end.
        let turns = input.map(Some).chain(futures::stream::once(std::future::ready(None)));
        let rows = turns.flat_map(move |turn| {
            futures::stream::iter(match turn {
                Some(Ok(batch)) => runner.run(&batch),
                Some(Err(e)) => one(Err(e)),
                None => one(runner.finish().map_err(external)),
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)))
    }
}

/// The child of a node that has one input.
pub(crate) fn only_input(mut children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
    match children.pop() {
        Some(input) if children.is_empty() => Ok(input),
        _ => datafusion::common::internal_err!("this node has one input"),
    }
}

pub(crate) fn external(e: Error) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(e))
}

/// What comes of one turn, made when it is asked for.
type Made = Box<dyn Iterator<Item = DfResult<RecordBatch>> + Send>;

fn one(batch: DfResult<RecordBatch>) -> Made {
    Box::new(std::iter::once(batch))
}

/// A [`Step`] at work.
#[expect(clippy::large_enum_variant, reason = "one a partition of a query")]
enum Runner {
    Rekey { keys: usize, encoder: Option<(Encoder, u32)>, schema: SchemaRef },
    Explode { first: usize, schema: SchemaRef },
    Window { windows: Windows, times: BTreeMap<i32, i64>, counts: Arc<Counts>, schema: SchemaRef },
    Sessions { runner: sessions::Runner, schema: SchemaRef },
}

impl Runner {
    fn new(step: &Step, schema: SchemaRef) -> Result<Runner> {
        Ok(match step {
            Step::Rekey { key, format, partitions } => {
                let encoder = match partitions {
                    Some(n) if !key.is_empty() => Some((Encoder::new(format.internal(), key, false)?, *n)),
                    _ => None,
                };
                Runner::Rekey { keys: key.len(), encoder, schema }
            }
            Step::Explode { first } => Runner::Explode { first: *first, schema },
            Step::Window { window, counts } => Runner::Window {
                windows: Windows::new(window, false)?,
                times: BTreeMap::new(),
                counts: counts.clone(),
                schema,
            },
            Step::Sessions { node, counts } => Runner::Sessions { runner: node.runner(counts), schema },
        })
    }

    /// After the last batch.
    fn finish(&mut self) -> Result<RecordBatch> {
        match self {
            Runner::Sessions { runner, schema } => runner.finish(schema),
            Runner::Rekey { schema, .. } | Runner::Explode { schema, .. } | Runner::Window { schema, .. } => {
                Ok(RecordBatch::new_empty(schema.clone()))
            }
        }
    }

    fn run(&mut self, batch: &RecordBatch) -> Made {
        match self {
            Runner::Rekey { keys, encoder, schema } => {
                one(rekey(batch, *keys, encoder.as_mut(), schema).map_err(external))
            }
            Runner::Explode { first, schema } => match Portions::new(batch, *first, schema.clone()) {
                Ok(portions) => Box::new(portions.map(|p| p.map_err(external))),
                Err(e) => one(Err(external(e))),
            },
            Runner::Window { windows, times, counts, schema } => {
                match placed::Portions::new(batch, *windows, times, counts.clone(), schema.clone()) {
                    Ok(portions) => Box::new(portions.map(|p| p.map_err(external))),
                    Err(e) => one(Err(external(e))),
                }
            }
            Runner::Sessions { runner, schema } => one(runner.run(batch, schema).map_err(external)),
        }
    }
}

/// Drops rows without key or value, and gives the others their partition.
fn rekey(
    batch: &RecordBatch,
    keys: usize,
    encoder: Option<&mut (Encoder, u32)>,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let present = batch.column_by_name(PRESENT).map(|c| c.as_boolean());
    let key = &batch.columns()[..keys];
    let moved = encoder.is_some();
    let stays = |row: usize| {
        // A key of several columns that was not computed is an object: a NULL field does not make it absent.
        let has_key =
            keys == 0 || if moved { key.iter().all(|c| c.is_valid(row)) } else { key.iter().any(|c| c.is_valid(row)) };
        has_key && present.is_none_or(|p| p.value(row))
    };
    let kept: BooleanArray = (0..batch.num_rows()).map(|row| Some(stays(row))).collect();
    let batch = filter_record_batch(batch, &kept)?;
    let mut columns = batch.columns().to_vec();
    if let (Some((encoder, partitions)), Ok(at)) = (encoder, batch.schema().index_of(pseudo::ROWPARTITION)) {
        let (mut data, mut ranges) = (Vec::new(), Vec::new());
        encoder.encode(&columns[..keys], None, batch.num_rows(), &mut data, &mut ranges)?;
        let target = |range: &Option<std::ops::Range<usize>>| match range {
            Some(range) => partition::java(&data[range.clone()], *partitions),
            None => 0,
        };
        columns[at] = Arc::new(ranges.iter().map(target).collect::<Int32Array>());
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
