//! Two plans joined by DataFusion: what a native join of relations and one of a query inside of an expression share.
//!
//! The left side comes in its order and meets a table of the right side's rows, so that the result has the left side's order.

use crate::error::{Error, Result};
use crate::parse::expansion::QUERY_PARTS_MAX;
use crate::parse::statement::JoinKind;
use crate::plan::nodes::Compute;
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, lit};

/// Names of the sides inside of the plan; no statement can name them.
pub(in crate::plan::select) const SIDES: [&str; 2] = ["#left", "#right"];

/// Two plans, joined.
pub(in crate::plan::select) struct Side {
    pub plan: LogicalPlan,
    left: Vec<Column>,
}

/// The native kind, with the right side as the one that is kept in memory: sides are swapped.
fn swapped(kind: JoinKind) -> JoinType {
    match kind {
        JoinKind::Inner => JoinType::Inner,
        JoinKind::Left => JoinType::Right,
        JoinKind::Right => JoinType::Left,
        JoinKind::Full => JoinType::Full,
    }
}

impl Side {
    /// Joins by expressions of the left side that equal columns of the right one.
    pub(in crate::plan::select) fn join(
        left: LogicalPlan,
        right: LogicalPlan,
        kind: JoinKind,
        keys: Vec<(PlanExpr, String)>,
        filter: Option<PlanExpr>,
    ) -> Result<Side> {
        let width = left.schema().fields().len();
        let mut columns: Vec<(String, PlanExpr)> =
            left.schema().columns().into_iter().map(|c| (c.name.clone(), PlanExpr::Column(c))).collect();
        let names: Vec<String> = (0..keys.len()).map(|n| format!("#join_{n}_{width}")).collect();
        let (sought, found): (Vec<PlanExpr>, Vec<String>) = keys.into_iter().unzip();
        columns.extend(names.iter().cloned().zip(sought));
        let left = Compute::plan(columns, left)?;
        let left = LogicalPlanBuilder::from(left).alias(SIDES[0])?.build()?;
        let right = LogicalPlanBuilder::from(right).alias(SIDES[1])?;
        let on_left: Vec<Column> = names.iter().map(|name| at(0, name)).collect();
        let on_right: Vec<Column> = found.iter().map(|name| at(1, name)).collect();
        let columns = left.schema().columns()[..width].to_vec();
        let plan = joined(right, left, kind, (on_right, on_left), filter)?.build()?;
        Ok(Side { plan, left: columns })
    }

    /// A column of the right side.
    pub(in crate::plan::select) fn right(&self, name: &str) -> PlanExpr {
        PlanExpr::Column(at(1, name))
    }

    /// A column of the left side, under its own name.
    pub(in crate::plan::select) fn left_at(&self, place: usize) -> PlanExpr {
        let column = self.left[place].clone();
        let name = column.name.clone();
        PlanExpr::Column(column).alias(name)
    }
}

pub(in crate::plan::select) fn at(side: usize, name: &str) -> Column {
    Column::new(Some(TableReference::bare(SIDES[side])), name)
}

/// Refuses a plan that reads too much: a query around another one may be read once more for each of them.
pub(in crate::plan::select) fn check_size(plan: &LogicalPlan) -> Result<()> {
    let mut leaves = 0_u64;
    let mut open = vec![plan];
    while let Some(plan) = open.pop() {
        let inputs = plan.inputs();
        leaves += u64::from(inputs.is_empty());
        open.extend(inputs);
        if leaves > QUERY_PARTS_MAX {
            return Err(Error::statement("the query has too many parts").with_detail(format!(
                "at most {QUERY_PARTS_MAX}; what a subquery names of the rows around it is read again for it"
            )));
        }
    }
    Ok(())
}

/// The right side with the left one.
pub(in crate::plan::select) fn joined(
    right: LogicalPlanBuilder,
    left: LogicalPlan,
    kind: JoinKind,
    on: (Vec<Column>, Vec<Column>),
    filter: Option<PlanExpr>,
) -> Result<LogicalPlanBuilder> {
    Ok(match (on.0.is_empty() && filter.is_none(), kind) {
        (true, JoinKind::Inner) => right.cross_join(left)?,
        // Each row with each: DataFusion wants a condition.
        (true, _) => right.join(left, swapped(kind), on, Some(lit(true)))?,
        (false, _) => right.join(left, swapped(kind), on, filter)?,
    })
}
