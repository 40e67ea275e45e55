//! Where a query notices that it is over its time or that its rows are no longer wanted while an operator works long.
//!
//! The thread of a query looks between two batches of its result, and a scan at every batch that it reads. An operator above a
//! join may take batches for minutes before it returns one, such as a sort, and a join may compare rows for minutes before two
//! of them match. So the inputs of such operators are checked batch by batch ([`super::width`]), and each evaluation of a
//! join's condition, which sees at most a batch of pairs.

use super::nodes::external;
use crate::memory;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The plan with every condition of a join checked.
pub(super) fn noticed(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let with_checks = |node: Arc<dyn ExecutionPlan>| {
        if let Some((join, filter)) = node.downcast_ref::<HashJoinExec>().and_then(|j| Some((j, j.filter()?))) {
            let checked = join.builder().with_filter(Some(checked(filter))).build()?;
            return Ok(Transformed::yes(Arc::new(checked) as Arc<dyn ExecutionPlan>));
        }
        if let Some((join, filter)) = node.downcast_ref::<NestedLoopJoinExec>().and_then(|j| Some((j, j.filter()?))) {
            let checked = NestedLoopJoinExecBuilder::from(join).with_filter(Some(checked(filter))).build()?;
            return Ok(Transformed::yes(Arc::new(checked) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(node))
    };
    Ok(plan.transform_up(with_checks)?.data)
}

fn checked(filter: &JoinFilter) -> JoinFilter {
    let condition = Arc::new(Checked(filter.expression().clone()));
    JoinFilter::new(condition, filter.column_indices().to_vec(), filter.schema().clone())
}

/// An expression whose evaluation fails once the query is to end.
#[derive(Clone, Debug)]
struct Checked(Arc<dyn PhysicalExpr>);

impl PartialEq for Checked {
    fn eq(&self, other: &Checked) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.0.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        memory::check().map_err(external)?;
        self.0.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(expression) if children.is_empty() => Ok(Arc::new(Checked(expression))),
            _ => datafusion::common::internal_err!("this expression has one child"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}
