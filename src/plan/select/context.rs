//! What binding the clauses of a SELECT shares: the statement with its scan, the key that the result has to have, and the
//! columns that leave.

use crate::catalog::{KeyWindow, Source};
use crate::error::{Error, Result};
use crate::parse::statement::Select;
use crate::plan::nodes::{Keep, call};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::expression;
pub(in crate::plan) use crate::plan::select::inner::relations::unique;
use crate::plan::select::inner::relations::{Relations, Written};
use crate::plan::select::projection::Item;
pub(in crate::plan) use crate::plan::select::purpose::Purpose;
use crate::plan::select::scope::Names;
use crate::plan::{Settings, formats};
use crate::types::{Column, SqlType, quoted};
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::Expr;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A SELECT, bound.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Bound {
    /// The plan; its columns are those of `key`, then those of `value`. For a client all are in `value`.
    pub plan: LogicalPlan,
    pub key: Vec<Column>,
    pub value: Vec<Column>,
    /// The result is a table.
    pub table: bool,
    /// The result's key is windowed.
    pub window: Option<KeyWindow>,
    /// How long a windowed result is kept, if the statement says so.
    pub kept_ms: Option<i64>,
    /// What is read; for joins it represents all sources.
    pub source: Arc<Source>,
    /// Streams and tables that are read.
    pub reads: Vec<String>,
}

/// GROUP BY, HAVING and QUALIFY as they are meant, in [`expression::normal`] form.
#[derive(Clone, Debug, Default)]
pub(super) struct Clauses {
    pub group_by: Vec<Expr>,
    pub having: Option<Expr>,
    pub qualify: Option<Expr>,
}

/// What binding needs at every step.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub select: &'a Select,
    pub purpose: Purpose<'a>,
    pub settings: &'a Settings,
    /// What the names of sources mean.
    pub relations: Relations<'a>,
    /// What written names mean, where several sources are joined.
    pub written: Option<Written>,
    pub source: Arc<Source>,
    /// The source's name in this statement.
    pub alias: String,
    /// Columns of the scan.
    pub names: Names,
    /// Streams and tables that are read.
    pub reads: Vec<String>,
    /// GROUP BY, HAVING and QUALIFY; empty until the SELECT list is known.
    pub clauses: Clauses,
}

impl Context<'_> {
    /// Rows for which `filter` is true: one node for each part of a top-level AND.
    pub(super) fn keep(
        &self,
        filter: &Expr,
        names: &Names,
        (clause, boundary): (&'static str, Boundary),
        mut plan: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let filter = expression::normal(filter, &self.alias);
        for part in expression::conjuncts(&filter) {
            let Typed { program, ty } = scalar::bind(part, names, boundary)?;
            if ty != SqlType::Boolean {
                return Err(Error::statement(format!(
                    "Type error in {clause} expression: Should evaluate to boolean but is {} ({ty}) instead.",
                    expression::text(part)
                )));
            }
            plan = Keep::plan(call::call(&program, &ty, plan.schema()), clause, plan);
        }
        Ok(plan)
    }

    /// The columns that leave: key columns in the key's order, then the others as they are selected.
    pub(super) fn columns(
        &self,
        items: &[Item],
        keys: &[Key],
        what: &str,
        names: &Names,
        plan: &LogicalPlan,
    ) -> Result<Columns> {
        let mut out = Columns::default();
        let mut used = BTreeSet::new();
        // An expression that cannot be bound is reported before a key that is not selected.
        let places = key_items(items, keys, what, self.purpose).map_err(|missing| {
            let bound = items.iter().map(|item| item.bind(names));
            bound.filter_map(Result::err).next().unwrap_or(missing)
        })?;
        for (place, key) in places.into_iter().zip(keys) {
            let item = &items[place];
            used.insert(place);
            let Typed { program, ty } = scalar::bind(&key.expr, names, key.boundary)?;
            out.0.push((item.name.clone(), call::call(&program, &ty, plan.schema())));
            out.1.push(Column::key(&item.name, key.ty.clone()));
        }
        for (_, item) in items.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
            let at = |e: Error| e.at_some(item.span);
            let mut typed = item.bind(names)?;
            if let Some(wanted) = self.purpose.widened(&item.name, &typed.ty) {
                typed = scalar::bind_to(&item.expr, names, Boundary::SelectItem, wanted).map_err(at)?;
            }
            let Typed { program, ty } = typed;
            if self.purpose.is_persistent() && out.0.iter().any(|c| c.0 == item.name) {
                let column = Column::value(&item.name, ty);
                let text = format!("Duplicate value columns found in schema: {}", formats::list(&[column]));
                return Err(at(Error::statement(text)));
            }
            out.0.push((item.name.clone(), call::call(&program, &ty, plan.schema())));
            out.2.push(Column::value(&item.name, ty));
        }
        if out.2.is_empty() && self.purpose.is_persistent() {
            return Err(Error::statement("The projection contains no value columns."));
        }
        unique(&mut out.0);
        Ok(out)
    }
}

/// Expressions by name, key columns, value columns.
pub(super) type Columns = (Vec<(String, datafusion::logical_expr::Expr)>, Vec<Column>, Vec<Column>);

/// A column of the result's key, before it is named.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// In [`expression::normal`] form.
    pub expr: Expr,
    pub ty: SqlType,
    pub boundary: Boundary,
}

impl Key {
    pub(super) fn of(column: &Column) -> Key {
        Key { expr: expression::identifier(&column.name), ty: column.ty.clone(), boundary: Boundary::SelectItem }
    }
}

/// Every key is selected exactly once.
pub(super) fn check_keys(items: &[Item], keys: &[Key], what: &str, purpose: Purpose<'_>) -> Result<()> {
    key_items(items, keys, what, purpose).map(|_| ())
}

/// For each key the place of the one item that selects it.
fn key_items(items: &[Item], keys: &[Key], what: &str, purpose: Purpose<'_>) -> Result<Vec<usize>> {
    let Some(target) = purpose.target() else { return Ok(vec![]) };
    let mut places = Vec::new();
    let mut missing = false;
    for key in keys {
        let found: Vec<usize> = (0..items.len()).filter(|i| items[*i].expr == key.expr).collect();
        match found.as_slice() {
            [] => missing = true,
            [one] => places.push(*one),
            several => {
                let aliases: Vec<String> = several.iter().map(|i| items[*i].name.clone()).collect();
                return Err(twice(what, &expression::text(&key.expr), &aliases));
            }
        }
    }
    if missing {
        // Of grouping expressions only the missing ones are listed.
        let selected = |key: &Key| what == "grouping expression" && items.iter().any(|i| i.expr == key.expr);
        let texts: Vec<String> = keys.iter().filter(|k| !selected(k)).map(|k| expression::text(&k.expr)).collect();
        let plural = if texts.len() > 1 { "s" } else { "" };
        return Err(Error::statement(format!(
            "Key missing from projection (ie, SELECT). See https://cnfl.io/2LV7ouS.\nThe query used to build `{target}` \
             must include the {what}{plural} {} in its projection (eg, SELECT {}...).",
            and(&texts),
            texts.join(", ")
        )));
    }
    Ok(places)
}

fn twice(what: &str, key: &str, aliases: &[String]) -> Error {
    let found = if what == "grouping expression" {
        let aliases: Vec<String> = aliases.iter().map(|a| quoted(a)).collect();
        format!("The projection contains a key column more than once: {}.", and(&aliases))
    } else {
        format!("The projection contains a key column ({}) more than once, aliased as: {}.", quoted(key), and(aliases))
    };
    Error::statement(format!(
        "{found}\nEach key column must only be in the projection once. If you intended to copy the key into the value, then \
         consider using the {} function to indicate which key reference should be copied.",
        quoted("AS_VALUE")
    ))
}

/// `A, B and C`
pub(super) fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
