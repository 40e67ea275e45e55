//! Bound plans to physical plans of DataFusion.

use super::accumulators::lowered;
use super::lagged::lagged;
use super::nodes::sessions::Sessions;
use super::nodes::{Step, StepExec, external};
use super::nodes::{join, table_join};
use super::scan::BatchTable;
use super::scan::bounds::Bounds;
use super::scan::system;
use super::spill::Spill;
use super::{Counts, History, stopping, width};
use crate::error::Result;
use crate::plan::nodes::call;
use crate::plan::nodes::system::SystemSource;
use crate::plan::nodes::table::SourceTable;
use crate::plan::nodes::{Compute, Explode, Keep, Rekey, TimeWindow, downcast};
use crate::types::pseudo;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::datasource::provider_as_source;
use datafusion::execution::TaskContext;
use datafusion::execution::context::{QueryPlanner, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, TableScan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore, Window,
};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use std::sync::Arc;

/// Part of the memory that a sort keeps for merging what it has written: DataFusion's own share of a large one.
const SORT_RESERVE: usize = 8;

/// A physical plan and what it runs in.
pub(super) type Planned = (Arc<dyn ExecutionPlan>, Arc<TaskContext>);

/// Plans a bound SELECT.
pub(super) async fn bound(plan: &LogicalPlan, history: &History, counts: &Arc<Counts>) -> Result<Planned> {
    let context = context(history, counts)?;
    let plan = plan.clone().transform_down(|node| join::lower(node, history, counts))?.data;
    let plan = plan.transform_down(|node| narrowed(node, history, counts))?.data;
    let plan = plan.transform_up(|node| lower(node, history, counts))?.data;
    let (plan, context) = physical(&context, &plan).await?;
    let plan = lagged(plan)?;
    // A plan that is shown has the operators that its reader knows.
    let plan = if counts.is_shown { plan } else { stopping::noticed(width::measured(plan)?)? };
    Ok((plan, context))
}

fn context(history: &History, counts: &Arc<Counts>) -> Result<SessionContext> {
    // One partition: order and floating-point sums are the same at every run.
    let mut config =
        SessionConfig::new().with_target_partitions(1).with_batch_size(history.rows).with_information_schema(false);
    config.options_mut().sql_parser.enable_ident_normalization = false;
    let planner = Arc::new(Planner { counts: counts.clone() });
    // Who needs memory gets an equal part of it, and writes the rest into files that vanish with the query.
    let files = DiskManagerMode::Custom(Arc::new(Spill::new(&history.spill_pool)));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(history.memory_bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(files))
        .build_arc()?;
    config.options_mut().execution.sort_spill_reservation_bytes = history.memory_bytes / SORT_RESERVE;
    let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_query_planner(planner);
    Ok(SessionContext::new_with_state(state.build()))
}

async fn physical(context: &SessionContext, plan: &LogicalPlan) -> Result<Planned> {
    let plan = context.state().create_physical_plan(plan).await?;
    Ok((plan, context.task_ctx()))
}

/// WHERE directly above a leaf that is to be read: the bounds on times and offsets that the conditions imply are passed to the leaf.
fn narrowed(node: LogicalPlan, history: &History, counts: &Arc<Counts>) -> DfResult<Transformed<LogicalPlan>> {
    let (mut conditions, mut below) = (Vec::new(), &node);
    while let Some(keep) = downcast::<Keep>(below) {
        conditions.push(&keep.predicate);
        below = keep.input();
    }
    let LogicalPlan::TableScan(scan) = below else { return Ok(Transformed::no(node)) };
    let Some(table) = scan.source.downcast_ref::<SourceTable>().filter(|_| scan.projection.is_none()) else {
        return Ok(Transformed::no(node));
    };
    let mut bounds = Bounds::all();
    for condition in conditions {
        let program = call::program(condition, below.schema()).map_err(external)?;
        bounds = bounds.and(&Bounds::of_program(&program, &|column| table.origins().get(column).copied()));
    }
    if bounds.is_all() {
        return Ok(Transformed::no(node));
    }
    let read = BatchTable::new(table.source(), &|_| true, history, counts).map_err(external)?.within(bounds);
    let source = provider_as_source(Arc::new(read));
    let put_in = |node: LogicalPlan| match node {
        LogicalPlan::TableScan(scan) => {
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source: source.clone(), ..scan })))
        }
        other => Ok(Transformed::no(other)),
    };
    let node = node.transform_up(put_in)?.data;
    Ok(Transformed::new(node, true, TreeNodeRecursion::Jump))
}

/// Leaves that can be read and aggregates that can be run, in the place of those that only mean.
fn lower(node: LogicalPlan, history: &History, counts: &Arc<Counts>) -> DfResult<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::TableScan(mut scan) => {
            if let Some(system) = scan.source.downcast_ref::<SystemSource>() {
                scan.source = provider_as_source(system::provider(system.table, history).map_err(external)?);
                return Ok(Transformed::yes(LogicalPlan::TableScan(scan)));
            }
            let Some(table) = scan.source.downcast_ref::<SourceTable>() else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            let table = BatchTable::new(table.source(), &|_| true, history, counts).map_err(external)?;
            scan.source = provider_as_source(Arc::new(table));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        LogicalPlan::Aggregate(aggregate) => {
            if let Some(sessions) = Sessions::of(&aggregate)? {
                return Ok(Transformed::yes(sessions));
            }
            let calls: Vec<Expr> = aggregate.aggr_expr.iter().map(lowered).collect();
            let Aggregate { input, group_expr, schema, .. } = aggregate;
            let node = Aggregate::try_new_with_schema(input, group_expr, calls, schema)?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(node)))
        }
        LogicalPlan::Window(window) => {
            let calls: Vec<Expr> = window.window_expr.iter().map(lowered).collect();
            let node = Window::try_new_with_schema(calls, window.input, window.schema)?;
            Ok(Transformed::yes(LogicalPlan::Window(node)))
        }
        other => Ok(match table_join::lowered(&other)? {
            Some(native) => Transformed::yes(native),
            None => Transformed::no(other),
        }),
    }
}

/// Elements in the place of arrays.
fn explode_schema(input: &Schema, first: usize) -> Schema {
    let field = |(i, field): (usize, &FieldRef)| match field.data_type() {
        DataType::List(item) if i >= first => Arc::new(Field::new(field.name(), item.data_type().clone(), true)),
        _ => field.clone(),
    };
    Schema::new(input.fields().iter().enumerate().map(field).collect::<Vec<_>>())
}

#[derive(Debug)]
struct Planner {
    counts: Arc<Counts>,
}

#[async_trait::async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let nodes = Nodes { counts: self.counts.clone() };
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(nodes)]).create_physical_plan(plan, session).await
    }
}

struct Nodes {
    counts: Arc<Counts>,
}

#[async_trait::async_trait]
impl ExtensionPlanner for Nodes {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let ([below], [input]) = (logical, inputs) else { return Ok(None) };
        let schema: &DFSchema = below.schema();
        let expression = |e: &Expr| -> DfResult<Arc<dyn PhysicalExpr>> {
            create_physical_expr(e, schema, session.execution_props(), planning)
        };
        let input = input.clone();
        let node: &dyn std::any::Any = node.as_any();
        if let Some(keep) = node.downcast_ref::<Keep>() {
            // By itself it gathers 8,192 rows, however wide they are and however small the batches that come.
            let filter = FilterExecBuilder::new(expression(&keep.predicate)?, input);
            return Ok(Some(Arc::new(filter.with_batch_size(session.config().batch_size()).build()?)));
        }
        if let Some(compute) = node.downcast_ref::<Compute>() {
            let columns = compute.expressions.iter().map(|e| Ok((expression(e)?, e.name_for_alias()?)));
            let columns: Vec<(Arc<dyn PhysicalExpr>, String)> = columns.collect::<DfResult<_>>()?;
            return Ok(Some(Arc::new(ProjectionExec::try_new(columns, input)?)));
        }
        if let Some(explode) = node.downcast_ref::<Explode>() {
            let schema = Arc::new(explode_schema(&input.schema(), explode.first));
            return Ok(Some(Arc::new(StepExec::new(Step::Explode { first: explode.first }, schema, input))));
        }
        if let Some(rekey) = node.downcast_ref::<Rekey>() {
            let step = Step::Rekey { key: rekey.key.clone(), format: rekey.key_format, partitions: rekey.partitions };
            let schema = input.schema();
            return Ok(Some(Arc::new(StepExec::new(step, schema, input))));
        }
        if let Some(window) = node.downcast_ref::<TimeWindow>() {
            let step = Step::Window { window: window.window, counts: self.counts.clone() };
            let mut fields: Vec<_> = input.schema().fields().iter().cloned().collect();
            for name in [pseudo::WINDOWSTART, pseudo::WINDOWEND] {
                fields.push(Arc::new(arrow::datatypes::Field::new(name, arrow::datatypes::DataType::Int64, true)));
            }
            return Ok(Some(Arc::new(StepExec::new(step, Arc::new(Schema::new(fields)), input))));
        }
        if let Some(sessions) = node.downcast_ref::<Sessions>() {
            let step = Step::Sessions { node: sessions.clone(), counts: self.counts.clone() };
            let schema = Arc::new(UserDefinedLogicalNodeCore::schema(sessions).as_arrow().clone());
            return Ok(Some(Arc::new(StepExec::new(step, schema, input))));
        }
        Ok(None)
    }
}
