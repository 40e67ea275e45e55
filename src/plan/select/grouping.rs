//! GROUP BY, aggregates, WINDOW, HAVING.
//!
//! The rows below the native Aggregate hold plain columns only: the group keys, then the aggregates' arguments. Above it,
//! SELECT and HAVING are bound over the group keys, the window bounds and the aggregates' results: whatever else they
//! name is an error.

use crate::catalog::{Format, KeyWindow};
use crate::error::{Error, Result};
use crate::functions::aggregate;
use crate::parse::span_of;
use crate::parse::statement::SourceKind;
use crate::plan::formats;
use crate::plan::nodes::Compute;
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::context::{self, Bound, Context, Purpose};
use crate::plan::select::groups::{GroupKey, Grouped, bound_misplaced, window_of};
use crate::plan::select::projection::{Item, Namer};
use crate::plan::select::scope::Names;
use crate::plan::select::{expression, sets};
use crate::types::pseudo;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::{Expr, Value};
use std::collections::BTreeSet;

/// Binds an aggregating SELECT over `plan`, the filtered scan.
pub(super) fn bind(context: &Context<'_>, items: Vec<Item>, aggregated: bool, plan: LogicalPlan) -> Result<Bound> {
    check(context, &items, aggregated)?;
    let sets = sets::of(&context.clauses.group_by)?;
    let grouped = Grouped::new(group_keys(context, &sets.keys)?, sets.sets).with_calls(context, &items)?;
    check_items(context, &grouped, &items)?;
    let plan = grouped.plan(context, plan)?;
    let (plan, names) = context.with_rows_around(plan, grouped.names_above(context))?;
    let (mut plan, names, items, having) = asked(context, &grouped, items, (plan, names))?;
    if let Some(having) = &having {
        plan = grouped.having(context, having, &names, plan)?;
    }
    let ((columns, key, value), plan) = grouped.columns(context, items, names, plan)?;
    Ok(Bound {
        plan: Compute::plan(columns, plan)?,
        key,
        value,
        table: true,
        window: context.select.window.map(|w| KeyWindow { kind: w.kind }),
        kept_ms: context.select.window.and_then(|w| w.retention_ms),
        source: context.source.clone(),
        reads: context.reads.clone(),
    })
}

/// The groups with a column for each query of the SELECT list and of HAVING that is asked of them.
fn asked(
    context: &Context<'_>,
    grouped: &Grouped,
    mut items: Vec<Item>,
    (plan, names): (LogicalPlan, Names),
) -> Result<(LogicalPlan, Names, Vec<Item>, Option<Expr>)> {
    let having = context.clauses.having.clone();
    if context.select.queries.is_empty() {
        return Ok((plan, names, items, having));
    }
    let above = |e: &Expr| expression::replace(e, &mut |part| grouped.stands_for(part));
    let outside = |written: &Expr| context.outside(written).map(|e| above(&e));
    let exprs = items.iter().map(|item| &item.expr).chain(&having).map(above).collect();
    let attached = context.attach(exprs, &names, plan, &outside)?;
    let mut exprs = attached.exprs;
    let having = having.and_then(|_| exprs.pop());
    items.iter_mut().zip(exprs).for_each(|(item, expr)| item.expr = expr);
    Ok((attached.plan, attached.names, items, having))
}

fn check(context: &Context<'_>, items: &[Item], aggregated: bool) -> Result<()> {
    let select = context.select;
    let fail = |text: String| Err(Error::statement(text));
    let batch = context.purpose == Purpose::Batch;
    if select.group_by.is_empty() {
        // Over history a constant is the same in every row of the group.
        let constant = |i: &Item| batch && !context.settings.strict && names_nothing(&i.expr);
        let bare = items.iter().filter(|i| expression::aggregates(&i.expr).is_empty() && !constant(i));
        let bare: Vec<String> = bare.map(|i| expression::text(&i.expr)).collect();
        if !bare.is_empty() && aggregated {
            return fail(not_grouped(&bare));
        }
        if select.window.is_some() {
            return fail("WINDOW clause requires a GROUP BY clause.".to_owned());
        }
        if context.purpose.is_persistent() {
            let calls: Vec<Expr> =
                items.iter().flat_map(|i| expression::aggregates(&i.expr)).map(Expr::Function).collect();
            let names: Vec<String> = calls.iter().map(|c| expression::text(c).replace("(*)", "(ROWTIME)")).collect();
            return fail(format!(
                "CREATE TABLE AS SELECT statement does not support aggregate function [{}] without a GROUP BY clause.",
                names.join(", ")
            ));
        }
        if !aggregated {
            return fail("HAVING requires aggregate functions in either the SELECT or HAVING clause.".to_owned());
        }
    } else if !aggregated && (!batch || context.settings.strict) {
        // A misspelt aggregate is reported as an unknown function.
        for item in items {
            item.bind(&context.names.of("SELECT"))?;
        }
        return fail("GROUP BY requires aggregate functions in either the SELECT or HAVING clause.".to_owned());
    }
    let set = context.clauses.group_by.iter().find(|entry| sets::is_sets(entry));
    if let Some(set) = set.filter(|_| !batch || context.settings.strict) {
        return Err(Error::statement("GROUPING SETS, ROLLUP and CUBE require a query without EMIT")
            .at_some(span_of(set))
            .with_hint("a continuous query groups by one set: one query for each of them does"));
    }
    if context.source.kind == SourceKind::Table {
        if select.window.is_some() {
            return fail("Windowing not supported for table aggregations.".to_owned());
        }
        if !batch {
            check_undo(context, items)?;
        }
    }
    if context.source.value_format == Format::Kafka && context.purpose.is_persistent() {
        return Err(formats::kafka_value(&[&context.alias], "GROUP BY"));
    }
    if context.source.window.is_some() && !batch {
        return fail("GROUP BY over a windowed source is not supported yet in a continuous query".to_owned());
    }
    check_window(context)
}

/// Over a table an aggregate has to be able to take a value back.
fn check_undo(context: &Context<'_>, items: &[Item]) -> Result<()> {
    let mut wrong: Vec<String> = Vec::new();
    for expr in items.iter().map(|i| &i.expr).chain(&context.clauses.having) {
        let names = expression::aggregates(expr).into_iter().map(|f| expression::function_name(&f));
        wrong.extend(names.filter(|name| !aggregate::has_undo(name)));
    }
    let mut seen = BTreeSet::new();
    wrong.retain(|name| seen.insert(name.clone()));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::statement(format!(
        "The aggregation function{} {} cannot be applied to a table source, only to a stream source.",
        if wrong.len() > 1 { "s" } else { "" },
        context::and(&wrong)
    )))
}

fn check_window(context: &Context<'_>) -> Result<()> {
    if context.select.window.is_none() {
        return Ok(());
    }
    let window = window_of(context)?;
    let (size, grace) = (window.size_ms(), window.grace_ms());
    if size <= 0 {
        return Err(Error::statement("a window needs a positive size"));
    }
    if let Some(retention) = window.retention_ms
        && retention < size + grace
    {
        return Err(Error::statement(format!(
            "The retention period of the window ({retention} ms) cannot be smaller than the window size ({size} ms) plus \
             the grace period ({grace} ms)"
        )));
    }
    Ok(())
}

fn not_grouped(texts: &[String]) -> String {
    format!(
        "Non-aggregate SELECT expression(s) not part of GROUP BY: {}\nEither add the column(s) to the GROUP BY or remove \
         them from the SELECT.",
        texts.join(", ")
    )
}

fn group_keys(context: &Context<'_>, entries: &[Expr]) -> Result<Vec<GroupKey>> {
    let names = context.names.of("GROUP BY");
    let mut namer = Namer::new(&context.source.schema);
    let mut keys: Vec<GroupKey> = Vec::new();
    if context.clauses.group_by.is_empty() && context.purpose != Purpose::Batch {
        // All rows are one group, whose key is a constant, as in ksqlDB.
        let expr = Expr::value(Value::Number("1".to_owned(), false));
        let Typed { program, ty } = scalar::bind(&expr, &names, Boundary::GroupBy)?;
        keys.push(GroupKey { expr, name: namer.generated(), program, ty });
    }
    for expr in entries {
        let expr = expr.clone();
        if let Some(inner) = expression::aggregates(&expr).first() {
            let name = expression::function_name(inner);
            let text = format!("GROUP BY does not support aggregate functions: {name} is an aggregate function.");
            return Err(Error::statement(text));
        }
        let bounds = [pseudo::WINDOWSTART, pseudo::WINDOWEND];
        let named = expression::columns_outside_aggregates(&expr);
        if let Some(bound) = named.iter().find(|n| bounds.contains(&n.as_str()))
            && context.source.window.is_none()
        {
            return Err(bound_misplaced(bound));
        }
        if keys.iter().any(|k| k.expr == expr) {
            if context.settings.strict {
                return Err(twice("GROUP BY", &expr));
            }
            continue;
        }
        let bound = scalar::bind(&expr, &names, Boundary::GroupBy);
        let Typed { program, ty } = bound.map_err(|e| e.at_some(span_of(&expr)))?;
        let name = match expression::as_name(&expr).or_else(|| expression::field_name(&expr)) {
            Some(name) if keys.iter().all(|k| k.name != name) => name.to_owned(),
            _ => namer.generated(),
        };
        keys.push(GroupKey { expr, name, program, ty });
    }
    Ok(keys)
}

/// Every item is made of group keys, window bounds and aggregates.
fn check_items(context: &Context<'_>, grouped: &Grouped, items: &[Item]) -> Result<()> {
    let mut wrong = Vec::new();
    for item in items {
        let rest = expression::replace(&item.expr, &mut |e| grouped.stands_for(e));
        let named = expression::columns_outside_aggregates(&rest);
        if let Some(name) = named.iter().find(|n| !grouped.is_internal(context, n)) {
            // An unknown name is reported as such.
            context.names.of("SELECT").lookup(None, name).map_err(|e| e.at_some(item.span))?;
            wrong.push(expression::text(&item.expr));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let error = Error::statement(not_grouped(&wrong));
    // Over history a number is the place of an item.
    let place = context.clauses.group_by.iter().find(|entry| expression::literal(entry).is_some());
    Err(match place {
        Some(place) => error.with_hint(format!("GROUP BY {place} groups by that value here: write the expression")),
        None => error,
    })
}

/// The error for an expression that a clause names a second time.
pub(super) fn twice(clause: &str, expr: &Expr) -> Error {
    let text = expression::text(expr);
    Error::statement(format!("Failed to prepare statement: Duplicate {clause} expression: {text}"))
}

/// The expression names no column outside of aggregates.
fn names_nothing(expr: &Expr) -> bool {
    expression::columns_outside_aggregates(expr).is_empty()
}
