//! Joins of tables over history: the states of both, joined by DataFusion.
//!
//! A table's state is the last row of each key, so that joining two states gives what the continuous join has in the end.
//! The joined row carries the later time of both, as it does there.

use crate::parse::statement::JoinKind;
use crate::plan::nodes::downcast;
use crate::plan::nodes::join::{Join, KEY, Rule};
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::types::pseudo;
use datafusion::common::{Column, JoinType, Result as DfResult, TableReference};
use datafusion::functions::core::expr_fn::{coalesce, greatest};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

/// Names of the sides inside of the plan; no statement can name them.
const SIDES: [&str; 2] = ["#left", "#right"];

/// The native join that replaces a join of two tables; `None` = it is no such join.
pub(crate) fn lowered(plan: &LogicalPlan) -> DfResult<Option<LogicalPlan>> {
    let Some(join) = downcast::<Join>(plan).filter(|j| matches!(j.rule, Rule::Tables | Rule::Foreign { .. })) else {
        return Ok(None);
    };
    let kind = match join.kind {
        JoinKind::Inner => JoinType::Inner,
        JoinKind::Left => JoinType::Left,
        JoinKind::Right => JoinType::Right,
        JoinKind::Full => JoinType::Full,
    };
    let [left, right] = join.sides().clone();
    let right = LogicalPlanBuilder::from(right).alias(SIDES[1])?.build()?;
    let on = SIDES.map(|side| vec![column(side, KEY)]);
    let [on_left, on_right] = on;
    let joined = LogicalPlanBuilder::from(left).alias(SIDES[0])?.join(right, kind, (on_left, on_right), None)?;
    let either = |name: &str| coalesce(SIDES.map(|side| Expr::Column(column(side, name))).to_vec());
    let mut columns = Vec::new();
    let widths = join.widths();
    let (first, second) = (1..=widths[0], widths[0] + 1..=widths[0] + widths[1]);
    for (i, field) in plan.schema().fields().iter().enumerate() {
        let name = field.name().as_str();
        columns.push(match name {
            _ if first.contains(&i) => Expr::Column(column(SIDES[0], name)).alias(name),
            _ if second.contains(&i) => Expr::Column(column(SIDES[1], name)).alias(name),
            pseudo::ROWTIME => greatest(SIDES.map(|side| Expr::Column(column(side, name))).to_vec()).alias(name),
            PRESENT => lit(true).alias(name),
            KEY | ORDINAL | pseudo::ROWPARTITION => either(name).alias(name),
            other => return datafusion::common::internal_err!("a joined row has no {other}"),
        });
    }
    joined.project(columns)?.build().map(Some)
}

fn column(side: &str, name: &str) -> Column {
    Column::new(Some(TableReference::bare(side)), name)
}
