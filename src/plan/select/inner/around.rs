//! Groups of a query that names columns of the rows around it.
//!
//! ```text
//! SELECT k, (SELECT COUNT(*) + MAX(s.n) FROM t WHERE t.k = s.k) FROM s      groups: one for each row around
//! ```
//!
//! Such a query groups by the row around, too. Above the groups the columns of that row are joined again. Without a GROUP BY of
//! its own it has a group for each row around, also where no row is in it: then its aggregates are those of no rows.

use crate::error::{Error, Result};
use crate::parse::statement::JoinKind;
use crate::plan::nodes::Compute;
use crate::plan::select::context::Context;
use crate::plan::select::inner::relations::ID;
use crate::plan::select::inner::sides::Side;
use crate::plan::select::scope::Names;
use datafusion::logical_expr::{Aggregate, Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, lit, when};
use std::sync::Arc;

/// Is it a column of the rows around?
pub(in crate::plan::select) fn is_around(name: &str) -> bool {
    name.starts_with("#outer_")
}

impl Context<'_> {
    /// The groups of an Aggregate, and one for each row around that has none. Whatever else the query groups by, a group
    /// without rows does not exist.
    pub(in crate::plan::select) fn with_empty_groups(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let around = self.relations.outer().and_then(|alias| Some((alias, self.relations.rows_of(alias)?)));
        match around {
            Some((alias, rows)) if self.select.group_by.len() == 1 => {
                let id = format!("{alias}_{ID}");
                let place = plan.schema().columns().iter().position(|c| c.name == id);
                let place = place.ok_or_else(|| Error::bug("a query around whose rows are not grouped by"))?;
                with_empty_groups(plan, place, &rows.plan)
            }
            _ => Ok(plan),
        }
    }

    /// The groups with the columns of the rows around, and their names.
    pub(in crate::plan::select) fn with_rows_around(
        &self,
        plan: LogicalPlan,
        mut names: Names,
    ) -> Result<(LogicalPlan, Names)> {
        let Some((alias, rows)) =
            self.relations.outer().and_then(|alias| Some((alias, self.relations.rows_of(alias)?)))
        else {
            return Ok((plan, names));
        };
        let id = format!("{alias}_{ID}");
        let columns = plan.schema().columns();
        let Some(place) = columns.iter().position(|c| c.name == id) else {
            return Err(Error::bug("a query around whose rows are not grouped by"));
        };
        let all = columns.len();
        let sought = PlanExpr::Column(plan.schema().columns()[place].clone());
        let side = Side::join(plan, rows.plan.clone(), JoinKind::Inner, vec![(sought, ID.to_owned())], None)?;
        let mut out: Vec<PlanExpr> = (0..all).map(|i| side.left_at(i)).collect();
        for column in rows.columns.iter().filter(|column| column.name != ID) {
            let name = format!("{alias}_{}", column.name);
            names.add(&name, out.len(), column.ty.clone());
            out.push(side.right(&column.name).alias(name));
        }
        Ok((LogicalPlanBuilder::from(side.plan).project(out)?.build()?, names))
    }
}

/// The groups, and one for each row around that has none.
fn with_empty_groups(plan: LogicalPlan, place: usize, around: &LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Aggregate(aggregate) = &plan else { return Err(Error::bug("groups without an Aggregate")) };
    let none = LogicalPlanBuilder::from(aggregate.input.as_ref().clone()).filter(lit(false))?.build()?;
    let of_none = Aggregate::try_new(Arc::new(none), Vec::new(), aggregate.aggr_expr.clone())?;
    let of_none = LogicalPlan::Aggregate(of_none);
    let columns = plan.schema().columns();
    let numbered = |plan: &LogicalPlan, prefix: &str| -> Vec<(String, PlanExpr)> {
        let columns = plan.schema().columns().into_iter().enumerate();
        columns.map(|(n, c)| (format!("{prefix}{n}"), PlanExpr::Column(c))).collect()
    };
    let of_none = Compute::plan(numbered(&of_none, "#none_"), of_none)?;
    let mut groups = numbered(&plan, "#group_");
    groups.push(("#there".to_owned(), lit(true)));
    let groups = Compute::plan(groups, plan)?;
    let id = around.schema().columns().into_iter().find(|c| c.name == ID);
    let id = id.ok_or_else(|| Error::bug("rows around without an id"))?;
    let ids = Compute::plan(vec![(ID.to_owned(), PlanExpr::Column(id))], around.clone())?;
    let with_none = Side::join(ids, of_none.clone(), JoinKind::Left, Vec::new(), None)?;
    let mut both = vec![with_none.left_at(0)];
    let results = of_none.schema().fields().len();
    both.extend((0..results).map(|n| with_none.right(&format!("#none_{n}")).alias(format!("#none_{n}"))));
    let with_none = LogicalPlanBuilder::from(with_none.plan).project(both)?.build()?;
    let sought = PlanExpr::Column(with_none.schema().columns()[0].clone());
    let key = format!("#group_{place}");
    let side = Side::join(with_none, groups, JoinKind::Left, vec![(sought, key)], None)?;
    let mut out = Vec::new();
    let mut result = 0;
    for (n, column) in columns.iter().enumerate() {
        out.push(match n == place {
            true => side.left_at(0).unalias().alias(&column.name),
            false => {
                result += 1;
                let none = side.left_at(result).unalias();
                when(side.right("#there").is_not_null(), side.right(&format!("#group_{n}")))
                    .otherwise(none)?
                    .alias(&column.name)
            }
        });
    }
    Ok(LogicalPlanBuilder::from(side.plan).project(out)?.build()?)
}
