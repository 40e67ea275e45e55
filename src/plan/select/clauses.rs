//! GROUP BY, HAVING and QUALIFY as they are meant: over history they see what the SELECT list names, and GROUP BY its places.
//!
//! ```text
//! SELECT UCASE(k) AS u, COUNT(*) AS n FROM s GROUP BY 1 HAVING n > 2    GROUP BY UCASE(K)    HAVING COUNT(*) > 2
//! ```
//!
//! A column of FROM has precedence over a name of the list. ksqlDB groups by the number 1; so does a continuous query, and a
//! query over history that selects the number.

use crate::error::{Error, Result};
use crate::functions::aggregate::Literal;
use crate::parse::span_of;
use crate::plan::select::context::{Clauses, Context, Purpose};
use crate::plan::select::expression;
use crate::plan::select::over;
use crate::plan::select::projection::Item;
use sqlparser::ast::Expr;

/// The clauses of the statement beside these items.
pub(super) fn of(context: &Context<'_>, items: &[Item]) -> Result<Clauses> {
    let select = context.select;
    let named = Named { context, items, on: context.purpose == Purpose::Batch && !context.settings.strict };
    let group_by = select.group_by.iter().map(|e| named.entry(e)).collect::<Result<Vec<_>>>()?;
    for (clause, expr) in group_by.iter().map(|e| ("GROUP BY", e)).chain(select.having.iter().map(|e| ("HAVING", e))) {
        over::check_clause(expr, clause)?;
    }
    let having = select.having.as_ref().map(|e| named.condition(e));
    let qualify = select.qualify.as_ref().map(|e| named.condition(e));
    Ok(Clauses { group_by, having, qualify })
}

struct Named<'a> {
    context: &'a Context<'a>,
    items: &'a [Item],
    /// Names and places of the list mean its items.
    on: bool,
}

impl Named<'_> {
    /// An entry of GROUP BY, or of a grouping set in it.
    fn entry(&self, expr: &Expr) -> Result<Expr> {
        let sets = |sets: &[Vec<Expr>]| {
            let set = |set: &Vec<Expr>| set.iter().map(|e| self.entry(e)).collect::<Result<Vec<_>>>();
            sets.iter().map(set).collect::<Result<Vec<_>>>()
        };
        match expr {
            Expr::GroupingSets(list) => return Ok(Expr::GroupingSets(sets(list)?)),
            Expr::Rollup(list) => return Ok(Expr::Rollup(sets(list)?)),
            Expr::Cube(list) => return Ok(Expr::Cube(sets(list)?)),
            _ => {}
        }
        let normal = expression::normal(expr, &self.context.alias);
        if !self.on {
            return Ok(normal);
        }
        // `SELECT 2 AS two ... GROUP BY 2` groups by the number, as ksqlDB does.
        let selected = self.items.iter().any(|item| item.expr == normal);
        if let Some(Literal::Integer(place)) = expression::literal(&normal).filter(|_| !selected) {
            let item = usize::try_from(place).ok().and_then(|n| self.items.get(n.checked_sub(1)?));
            return item.map(|item| item.expr.clone()).ok_or_else(|| {
                Error::statement(format!("GROUP BY position {place} is not in the SELECT list"))
                    .with_detail(format!("the list has {} columns", self.items.len()))
                    .at_some(span_of(expr))
            });
        }
        Ok(self.alias(&normal).unwrap_or(normal))
    }

    fn condition(&self, expr: &Expr) -> Expr {
        let normal = expression::normal(expr, &self.context.alias);
        if self.on { expression::replace(&normal, &mut |e| self.alias(e)) } else { normal }
    }

    /// What the list names so, if no column has the name.
    fn alias(&self, expr: &Expr) -> Option<Expr> {
        let name = expression::as_name(expr).filter(|name| !self.context.names.has(name))?;
        let item = self.items.iter().find(|i| i.name == name && i.expr != *expr)?;
        Some(item.expr.clone())
    }
}
