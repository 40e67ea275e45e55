//! Joins of any two relations on any condition: DataFusion's, over plain columns.
//!
//! ```text
//! Projection      the columns of both, the later time
//! Join            keys: columns that were computed below; filter: one closed program for each other condition
//! Compute #key_0  a.x + 1          Compute #key_0  b.y
//! ```
//!
//! The left side comes in its order and meets a table of the right side's rows, so that the result has the left side's order.

use super::Relation;
use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::parse::span_of;
use crate::parse::statement::JoinKind;
use crate::plan::nodes::join::HIDDEN;
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::plan::nodes::{Compute, call};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::expression;
use crate::plan::select::inner::sides::{SIDES, at, check_size, joined};
use crate::plan::select::scope::Names;
use crate::types::{SqlType, pseudo};
use datafusion::common::DFSchema;
use datafusion::functions::core::expr_fn::{coalesce, greatest};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast::{BinaryOperator, Expr};

/// Joins two relations by conditions over their flat columns. `hints` are conditions that hold for every row that is kept
/// in the end: an equality among them is a key, too.
pub(super) fn join(
    left: Relation,
    right: Relation,
    kind: JoinKind,
    conditions: &[Expr],
    hints: &[Expr],
) -> Result<Relation> {
    let (mut keys, mut rest) = (Vec::new(), Vec::new());
    for condition in conditions {
        match key(condition, &left, &right)? {
            Some(key) => keys.push(key),
            None => rest.push(condition),
        }
    }
    if kind == JoinKind::Inner {
        for hint in hints {
            keys.extend(key(hint, &left, &right).ok().flatten());
        }
    }
    let (left_keys, right_keys): (Vec<Typed>, Vec<Typed>) = keys.into_iter().unzip();
    let plans = [side(&left, &left_keys, 0)?, side(&right, &right_keys, 1)?];
    let filter = match rest.is_empty() || mutant::on(Mutant::ConditionsLost) {
        true => None,
        false => Some(filter(&rest, (&left, &right), &plans, left_keys.len())?),
    };
    let on = [0, 1].map(|side| (0..left_keys.len()).map(|n| at(side, &key_name(n))).collect::<Vec<_>>());
    let [on_left, on_right] = on;
    let [left_plan, right_plan] = plans;
    let plan = joined(LogicalPlanBuilder::from(right_plan), left_plan, kind, (on_right, on_left), filter)?;
    let mut out: Vec<PlanExpr> = Vec::new();
    let mut columns = Vec::new();
    for (side, relation) in [&left, &right].into_iter().enumerate() {
        for (name, ty, _) in &relation.columns {
            columns.push((name.clone(), ty.clone(), out.len()));
            out.push(PlanExpr::Column(at(side, name)).alias(name));
        }
    }
    let both = |name: &str| [0, 1].map(|side| PlanExpr::Column(at(side, &hidden(name)))).to_vec();
    out.push(greatest(both(pseudo::ROWTIME)).alias(pseudo::ROWTIME));
    out.push(coalesce(both(pseudo::ROWPARTITION)).alias(pseudo::ROWPARTITION));
    out.push(coalesce(both(ORDINAL)).alias(ORDINAL));
    out.push(lit(true).alias(PRESENT));
    let plan = plan.project(out)?.build()?;
    check_size(&plan)?;
    let text = format!("{} {}", left.text, right.text);
    Ok(Relation { plan, text, columns, same: vec![], viable: vec![], table: false, own_key: None, ksql: false, ..left })
}

fn key_name(place: usize) -> String {
    format!("#key_{place}")
}

fn hidden(name: &str) -> String {
    format!("#side_{}", name.trim_start_matches('#'))
}

/// A side: its keys, its columns under their flat names, what every row carries. A row without a value meets none.
fn side(relation: &Relation, keys: &[Typed], side: usize) -> Result<LogicalPlan> {
    let input = relation.plan.schema();
    let all = input.columns();
    let mut columns: Vec<(String, PlanExpr)> = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        columns.push((key_name(place), call::call(&key.program, &key.ty, input)));
    }
    for (name, _, place) in &relation.columns {
        columns.push((name.clone(), PlanExpr::Column(all[*place].clone())));
    }
    let mut plan = LogicalPlanBuilder::from(relation.plan.clone());
    for name in HIDDEN {
        let column = all.iter().rev().find(|c| c.name == name).cloned();
        let column = column.ok_or_else(|| Error::bug(format!("a side of a join has no {name}")))?;
        if name == PRESENT && !relation.source.is_derived() {
            plan = plan.filter(PlanExpr::Column(column.clone()))?;
        }
        columns.push((hidden(name), PlanExpr::Column(column)));
    }
    Ok(LogicalPlanBuilder::from(Compute::plan(columns, plan.build()?)?).alias(SIDES[side])?.build()?)
}

/// Two expressions, one of each side, in a type of both, if the condition says that they are equal.
fn key(condition: &Expr, left: &Relation, right: &Relation) -> Result<Option<(Typed, Typed)>> {
    let Expr::BinaryOp { left: one, op: BinaryOperator::Eq, right: other } = condition else { return Ok(None) };
    let (one, other) = if left.names_only(one) && right.names_only(other) {
        (one, other)
    } else if left.names_only(other) && right.names_only(one) {
        (other, one)
    } else {
        return Ok(None);
    };
    let (of_left, of_right) = (left.names(), right.names());
    let types = (
        scalar::bind(one, &of_left, Boundary::PartitionBy)?.ty,
        scalar::bind(other, &of_right, Boundary::PartitionBy)?.ty,
    );
    let Some(common) = types.0.common(&types.1).filter(is_hashable) else { return Ok(None) };
    Ok(Some((
        scalar::bind_to(one, &of_left, Boundary::PartitionBy, &common)?,
        scalar::bind_to(other, &of_right, Boundary::PartitionBy, &common)?,
    )))
}

/// Does equality of values mean the same for DataFusion?
fn is_hashable(ty: &SqlType) -> bool {
    !matches!(ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) | SqlType::Double)
}

/// The conditions as programs over the columns of both sides.
fn filter(
    conditions: &[&Expr],
    (left, right): (&Relation, &Relation),
    plans: &[LogicalPlan; 2],
    keys: usize,
) -> Result<PlanExpr> {
    let schema: DFSchema = plans[0].schema().join(plans[1].schema())?;
    let mut names = Names::new("JOIN ON", "").with_sources(left.aliases().chain(right.aliases()).collect());
    let mut place = keys;
    for (name, ty, _) in &left.columns {
        names.add(name, place, ty.clone());
        place += 1;
    }
    place = plans[0].schema().fields().len() + keys;
    for (name, ty, _) in &right.columns {
        names.add(name, place, ty.clone());
        place += 1;
    }
    let mut all: Option<PlanExpr> = None;
    for condition in conditions {
        let bound = scalar::bind(condition, &names, Boundary::Where);
        let Typed { program, ty } = bound.map_err(|e| on_words(e).at_some(span_of(*condition)))?;
        let one = call::call(&program, &ty, &schema);
        all = Some(match all {
            None => one,
            Some(all) => all.and(one),
        });
    }
    all.ok_or_else(|| Error::bug("a filter without conditions"))
}

/// The condition is bound like one of WHERE, and is none.
fn on_words(error: Error) -> Error {
    let text = error.message().replace("WHERE expression", "JOIN ON expression");
    error.reworded(text)
}

impl Relation {
    /// Its flat columns.
    pub(super) fn names(&self) -> Names {
        let mut names = Names::new("JOIN ON", "").with_sources(self.aliases().collect());
        for (name, ty, place) in &self.columns {
            names.add(name, *place, ty.clone());
        }
        names
    }

    /// Names of its sources in this statement.
    fn aliases(&self) -> impl Iterator<Item = String> {
        self.text.split(' ').map(str::to_owned)
    }

    /// Does the expression name columns of this relation, and no others?
    pub(super) fn names_only(&self, expr: &Expr) -> bool {
        let named = expression::columns_outside_aggregates(expr);
        !named.is_empty() && named.iter().all(|name| self.columns.iter().any(|(column, ..)| column == name))
    }
}
