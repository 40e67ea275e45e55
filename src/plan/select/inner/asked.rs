//! The rows around a query inside of an expression, and the rows of the query: what every question to a query is made of.
//!
//! ```text
//! WHERE n IN (SELECT m FROM t WHERE t.k = s.k)     Outer: rows of s, around: [k]     Inner: m, #for
//! ```

use super::relations::{FOR, Rows};
use super::sides::Side;
use crate::error::{Error, Result};
use crate::parse::statement::JoinKind;
use crate::plan::nodes::{Compute, call, tuple};
use crate::plan::scalar::{self, Boundary};
use crate::plan::select::expression;
use crate::plan::select::scope::Names;
use crate::types::SqlType;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::Expr;

/// Expressions over a plan.
pub(in crate::plan::select) struct Attached {
    pub exprs: Vec<Expr>,
    pub names: Names,
    pub plan: LogicalPlan,
}

/// The rows of a query inside, and the columns of the rows around that it names: then its last column is [`FOR`].
pub(super) struct Inner {
    pub rows: Rows,
    pub around: Vec<PlanExpr>,
}

impl Inner {
    pub(super) fn is_correlated(&self) -> bool {
        !self.around.is_empty()
    }

    /// How many columns the query returns.
    pub(super) fn width(&self) -> usize {
        self.rows.columns.len() - usize::from(self.is_correlated())
    }

    /// The one column of the query, in the given type.
    pub(super) fn one(&self, wanted: Option<&SqlType>) -> Result<(PlanExpr, SqlType)> {
        if self.width() != 1 {
            return Err(wrong_width(self.width()));
        }
        self.at(0, wanted)
    }

    /// One of its columns, in the given type.
    pub(super) fn at(&self, place: usize, wanted: Option<&SqlType>) -> Result<(PlanExpr, SqlType)> {
        let Some(column) = self.rows.columns.get(place) else { return Err(wrong_width(place)) };
        let mut names = Names::new("SELECT", "");
        names.add("#0", place, column.ty.clone());
        let ty = wanted.unwrap_or(&column.ty);
        let typed = scalar::bind_to(&expression::identifier("#0"), &names, Boundary::SelectItem, ty)?;
        Ok((call::call(&typed.program, ty, self.rows.plan.schema()), ty.clone()))
    }

    /// Columns computed of its rows; of a correlated query the last one is [`FOR`].
    pub(super) fn computed(&self, mut columns: Vec<(String, PlanExpr)>) -> Result<LogicalPlan> {
        columns.extend(self.id().map(|id| (FOR.to_owned(), id)));
        Ok(Compute::plan(columns, self.rows.plan.clone())?)
    }

    /// The column that says for which row around a row is.
    fn id(&self) -> Option<PlanExpr> {
        let columns = self.rows.plan.schema().columns();
        self.is_correlated().then(|| PlanExpr::Column(columns[self.width()].clone()))
    }
}

fn wrong_width(width: usize) -> Error {
    Error::statement(format!("a query in the place of a value returns one column, and this one returns {width}"))
}

/// `#for`, where the plan has it.
pub(super) fn grouped(plan: &LogicalPlan) -> Vec<PlanExpr> {
    plan.schema().columns().into_iter().filter(|c| c.name == FOR).map(PlanExpr::Column).collect()
}

/// The rows around.
pub(super) struct Outer {
    pub plan: LogicalPlan,
    pub width: usize,
    /// The columns that the query names.
    pub around: Vec<PlanExpr>,
}

impl Outer {
    pub(super) fn new(plan: &LogicalPlan, around: Vec<PlanExpr>) -> Result<Outer> {
        Ok(Outer { plan: plan.clone(), width: plan.schema().fields().len(), around })
    }

    /// The rows with these columns behind theirs.
    pub(super) fn wider(&self, more: Vec<(String, PlanExpr)>) -> Result<Outer> {
        let width = self.width + more.len();
        let all = self.plan.schema().columns().into_iter();
        let columns = all.map(|column| (column.name.clone(), PlanExpr::Column(column))).chain(more);
        let plan = Compute::plan(columns.collect(), self.plan.clone())?;
        let around = self.around.iter().map(|e| by_name(e, &self.plan, &plan)).collect::<Result<Vec<_>>>()?;
        Ok(Outer { plan, width, around })
    }

    /// The rows with what belongs to each of them: one more column, which `value` computes of both.
    pub(super) fn with(
        &self,
        right: LogicalPlan,
        keys: Vec<(PlanExpr, &str)>,
        name: &str,
        value: &dyn Fn(&Side) -> Result<PlanExpr>,
    ) -> Result<LogicalPlan> {
        let mut keys: Vec<(PlanExpr, String)> = keys.into_iter().map(|(e, n)| (e, n.to_owned())).collect();
        if !self.around.is_empty() {
            keys.push((tuple::tuple(self.around.clone()), FOR.to_owned()));
        }
        let side = Side::join(self.plan.clone(), right, JoinKind::Left, keys, None)?;
        let mut columns: Vec<PlanExpr> = (0..self.width).map(|i| side.left_at(i)).collect();
        columns.push(value(&side)?.alias(name));
        Ok(LogicalPlanBuilder::from(side.plan).project(columns)?.build()?)
    }
}

/// A column of one plan in another one that begins with its columns.
pub(super) fn by_name(expr: &PlanExpr, from: &LogicalPlan, to: &LogicalPlan) -> Result<PlanExpr> {
    let PlanExpr::Column(column) = expr else { return Err(Error::bug(format!("{expr} is no column"))) };
    let place = call::index(column, from.schema())?;
    Ok(PlanExpr::Column(to.schema().columns()[place].clone()))
}
