//! Table functions in the SELECT list: rows are taken apart below the projection.
//!
//! ```text
//! SELECT id, EXPLODE(a) + 1    Compute  ID, #explode_0 + 1
//!                              Explode  #explode_0: an element a row
//!                              Compute  all columns, and #explode_0 = a
//! ```

use crate::error::{Error, Result};
use crate::functions::Registry;
use crate::parse::statement::SourceKind;
use crate::plan::nodes::call;
use crate::plan::nodes::{Compute, Explode};
use crate::plan::scalar::{self, Boundary};
use crate::plan::select::context::{Context, Purpose};
use crate::plan::select::expression;
use crate::plan::select::projection::Item;
use crate::plan::select::scope::Names;
use crate::types::{SqlType, quoted};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan};
use sqlparser::ast::{Expr, Function, Ident, ObjectName};

/// Prefix of a table function's name where the call is allowed: elsewhere the binder refuses it.
pub(super) const ALLOWED: char = '#';

/// The expression calls a table function.
pub(super) fn has_calls(expr: &Expr) -> bool {
    first_call(expr).is_some()
}

/// The name of the first table function that the expression calls.
fn first_call(expr: &Expr) -> Option<String> {
    let mut found = None;
    expression::replace(expr, &mut |e| {
        found = found.take().or_else(|| table_call(e).map(expression::function_name));
        None
    });
    found
}

/// The first CASE of the expression that calls a table function: it would be called for every row, whatever the case.
fn case_with_calls(expr: &Expr) -> Option<Expr> {
    let mut found = None;
    expression::replace(expr, &mut |e| {
        if found.is_none() && matches!(e, Expr::Case { .. }) && has_calls(e) {
            found = Some(e.clone());
        }
        None
    });
    found
}

/// The expression as ksqlDB prints it, each column with its source.
fn text(context: &Context<'_>, expr: &Expr) -> String {
    let qualified = expression::replace(expr, &mut |e| match e {
        Expr::Identifier(name) if !context.alias.is_empty() => {
            Some(Expr::CompoundIdentifier(vec![Ident::with_quote('`', &context.alias), name.clone()]))
        }
        _ => None,
    });
    expression::text(&qualified)
}

fn table_call(expr: &Expr) -> Option<&Function> {
    match expr {
        Expr::Function(function) => Registry::table(&expression::function_name(function)).map(|_| function),
        _ => None,
    }
}

/// The items over the exploded rows, the names that they see, and the plan.
pub(super) fn bind(
    context: &Context<'_>,
    items: Vec<Item>,
    plan: LogicalPlan,
) -> Result<(Vec<Item>, Names, LogicalPlan)> {
    let over_history = context.purpose == Purpose::Batch && !context.settings.strict;
    if context.source.kind == SourceKind::Table && !over_history {
        return Err(Error::statement("Table source is not supported with table functions"));
    }
    let mut calls: Vec<Expr> = Vec::new();
    let mut above = Vec::new();
    let mut nested = None;
    for item in items {
        if let Some(case) = case_with_calls(&item.expr) {
            return Err(Error::statement(format!("Table functions cannot be used in CASE: {}", text(context, &case)))
                .with_hint("explode in one query, and write the CASE in a second one that reads its result"));
        }
        let expr = expression::replace(&item.expr, &mut |e| {
            let call = table_call(e)?;
            let inside = expression::arguments(call).unwrap_or_default();
            if let Some(inner) = inside.iter().find_map(|a| first_call(a)) {
                let names = [expression::function_name(call), inner].map(|n| quoted(&n));
                nested = Some(format!("{}({}())", names[0], names[1]));
            }
            let place = calls.iter().position(|c| c == e).unwrap_or(calls.len());
            if place == calls.len() {
                calls.push(e.clone());
            }
            Some(expression::identifier(&name(place)))
        });
        above.push(Item { expr, ..item });
    }
    if let Some(text) = nested {
        return Err(Error::statement(format!("Table functions cannot be nested: {text}")));
    }
    let input = plan.schema().clone();
    let mut columns: Vec<(String, PlanExpr)> =
        input.columns().into_iter().map(|c| (c.name.clone(), PlanExpr::Column(c))).collect();
    let first = columns.len();
    let mut names = context.names.clone();
    for (place, call) in calls.iter().enumerate() {
        let bound = scalar::bind(&allowed(call), &context.names, Boundary::SelectItem)?;
        let SqlType::Array(item) = &bound.ty else { return Err(Error::bug("a table function gives no ARRAY")) };
        names.add(&name(place), first + place, (**item).clone());
        columns.push((name(place), call::call(&bound.program, &bound.ty, &input)));
    }
    let plan = Explode::plan(first, Compute::plan(columns, plan)?)?;
    Ok((above, names, plan))
}

fn name(place: usize) -> String {
    format!("#explode_{place}")
}

/// The call under the name that the binder takes.
fn allowed(call: &Expr) -> Expr {
    let mut call = call.clone();
    if let Expr::Function(function) = &mut call {
        let name = format!("{ALLOWED}{}", expression::function_name(function));
        function.name = ObjectName::from(vec![Ident::new(name)]);
    }
    call
}
