//! GROUP BY, aggregates, WINDOW, HAVING.
//!
//! The rows below the native Aggregate hold plain columns only: the group keys, then the aggregates' arguments. Above it,
//! SELECT and HAVING are bound over the group keys, the window bounds and the aggregates' results: whatever else they
//! name is an error.

use crate::catalog::{Format, KeyWindow};
use crate::error::{Error, Result};
use crate::functions::aggregate;
use crate::parse::span_of;
use crate::parse::statement::{Emit, SourceKind};
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::plan::nodes::{Compute, Keep, Rekey, TimeWindow};
use crate::plan::scalar::{self, Boundary, Program, Typed};
use crate::plan::select::context::{self, Bound, Columns, Context, Key, Purpose};
use crate::plan::select::projection::{Item, Namer};
use crate::plan::select::scope::Names;
use crate::plan::{formats, nodes::call, select::expression};
use crate::types::time::Window;
use crate::types::{Column, SqlType, pseudo};
use datafusion::logical_expr::{Aggregate, Expr as PlanExpr, LogicalPlan};
use sqlparser::ast::{Expr, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A key column below the Aggregate: an expression of GROUP BY.
struct GroupKey {
    expr: Expr,
    /// Its name inside of the plan.
    name: String,
    program: Program,
    ty: SqlType,
}

/// An aggregate call.
struct Call {
    expr: Expr,
    function: aggregate::Aggregate,
    /// Places in `Grouped::arguments`.
    arguments: Vec<usize>,
}

struct Grouped {
    keys: Vec<GroupKey>,
    calls: Vec<Call>,
    arguments: Vec<(Expr, Typed)>,
}

/// Binds an aggregating SELECT over `plan`, the filtered scan.
pub(super) fn bind(context: &Context<'_>, items: Vec<Item>, aggregated: bool, plan: LogicalPlan) -> Result<Bound> {
    check(context, &items, aggregated)?;
    let grouped =
        Grouped { keys: group_keys(context)?, calls: Vec::new(), arguments: Vec::new() }.with_calls(context, &items)?;
    check_items(context, &grouped, &items)?;
    let plan = grouped.below(context, plan)?;
    let plan = match &context.select.window {
        Some(_) => {
            let is_final = context.select.emit == Some(Emit::Final);
            TimeWindow::plan(window_of(context)?, is_final, context.settings.strict, plan)?
        }
        None => plan,
    };
    let plan = grouped.aggregate(plan)?;
    let names = grouped.names_above(context);
    let plan = match &context.select.having {
        Some(having) => grouped.having(context, having, &names, plan)?,
        None => plan,
    };
    let (columns, key, value) = grouped.columns(context, items, &names, &plan)?;
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

fn check(context: &Context<'_>, items: &[Item], aggregated: bool) -> Result<()> {
    let select = context.select;
    let fail = |text: String| Err(Error::statement(text));
    let batch = context.purpose == Purpose::Batch;
    if select.group_by.is_empty() {
        let bare =
            items.iter().filter(|i| expression::aggregates(&i.expr).is_empty()).map(|i| expression::text(&i.expr));
        let bare: Vec<String> = bare.collect();
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
            scalar::bind(&item.expr, &context.names.of("SELECT"), Boundary::SelectItem)?;
        }
        return fail("GROUP BY requires aggregate functions in either the SELECT or HAVING clause.".to_owned());
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
    for expr in items.iter().map(|i| &i.expr).chain(&context.select.having) {
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

/// The window in force: with EMIT FINAL and without GRACE PERIOD it closes when it ends.
fn window_of(context: &Context<'_>) -> Result<Window> {
    let mut window = context.select.window.ok_or_else(|| Error::bug("there is no window"))?;
    if context.select.emit == Some(Emit::Final) {
        window.grace_ms.get_or_insert(0);
    }
    Ok(window)
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

fn group_keys(context: &Context<'_>) -> Result<Vec<GroupKey>> {
    let names = context.names.of("GROUP BY");
    let mut namer = Namer::new(&context.source.schema);
    let mut keys: Vec<GroupKey> = Vec::new();
    if context.select.group_by.is_empty() && context.purpose != Purpose::Batch {
        // All rows are one group, whose key is a constant, as in ksqlDB.
        let expr = Expr::value(Value::Number("1".to_owned(), false));
        let Typed { program, ty } = scalar::bind(&expr, &names, Boundary::GroupBy)?;
        keys.push(GroupKey { expr, name: namer.generated(), program, ty });
    }
    for expr in &context.select.group_by {
        let expr = expression::normal(expr, &context.alias);
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
            context.names.of("SELECT").lookup(None, name)?;
            wrong.push(expression::text(&item.expr));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::statement(not_grouped(&wrong))) }
}

impl Grouped {
    fn with_calls(mut self, context: &Context<'_>, items: &[Item]) -> Result<Grouped> {
        let names = context.names.of("SELECT");
        let having = context.select.having.as_ref().map(|h| expression::normal(h, &context.alias));
        for expr in items.iter().map(|i| &i.expr).chain(&having) {
            for function in expression::aggregates(expr) {
                let whole = Expr::Function(function.clone());
                if self.calls.iter().any(|c| c.expr == whole) {
                    continue;
                }
                let name = expression::function_name(&function);
                let Some(args) = expression::arguments(&function) else {
                    let text = format!("{} has an argument list that is not supported", expression::text(&whole));
                    return Err(Error::statement(text));
                };
                if let Some(inner) = args.iter().flat_map(|a| expression::aggregates(a)).next() {
                    let inner = expression::function_name(&inner);
                    return Err(Error::statement(format!("Aggregate functions can not be nested: {name}({inner}())")));
                }
                let literals = ["EARLIEST_BY_OFFSET", "LATEST_BY_OFFSET"].contains(&name.as_str());
                let odd = args.iter().enumerate().skip(1).find(|(_, a)| literals && expression::literal(a).is_none());
                if let Some((place, arg)) = odd {
                    return Err(Error::statement(format!(
                        "Parameter {} passed to function {name} must be a literal constant, but was expression: '{}'",
                        place + 1,
                        expression::text(arg)
                    )));
                }
                let bounds = [pseudo::WINDOWSTART, pseudo::WINDOWEND];
                let read = args.iter().flat_map(|a| expression::columns_outside_aggregates(a));
                if let Some(bound) = read.into_iter().find(|n| bounds.contains(&n.as_str()) && !names.has(n)) {
                    return Err(bound_misplaced(&bound));
                }
                let given = |arg: &&Expr| -> Result<aggregate::Argument> {
                    let ty = scalar::bind(arg, &names, Boundary::SelectItem)?.ty;
                    Ok(aggregate::Argument { ty, literal: expression::literal(arg) })
                };
                let given = args.iter().map(given).collect::<Result<Vec<_>>>()?;
                let function = aggregate::resolve(&name, &given, context.settings.aggregates)?;
                let function = function.ok_or_else(|| Error::bug(format!("{name} is no aggregate")))?;
                // The state's format is ours; ksqlDB keeps it in the source's.
                let as_ksqldb = context.settings.strict && function.has_nested_state();
                if as_ksqldb && !formats::holds_lists(context.source.value_format) {
                    return Err(Error::statement(
                        "One of the functions used in the statement has an intermediate type that the value format can \
                         not handle. Please remove the function or change the format.",
                    ));
                }
                let columns = args.into_iter().take(function.arity());
                let arguments = columns.map(|arg| self.argument(arg, &names)).collect::<Result<_>>()?;
                self.calls.push(Call { expr: whole, function, arguments });
            }
        }
        Ok(self)
    }

    fn argument(&mut self, expr: &Expr, names: &Names) -> Result<usize> {
        if let Some(place) = self.arguments.iter().position(|a| a.0 == *expr) {
            return Ok(place);
        }
        let bound = scalar::bind(expr, names, Boundary::SelectItem)?;
        self.arguments.push((expr.clone(), bound));
        Ok(self.arguments.len() - 1)
    }

    /// The column that replaces this expression above the Aggregate.
    fn stands_for(&self, expr: &Expr) -> Option<Expr> {
        if let Some(place) = self.calls.iter().position(|c| c.expr == *expr) {
            return Some(expression::identifier(&result_name(place)));
        }
        self.keys.iter().find(|k| k.expr == *expr).map(|k| expression::identifier(&key_name(k)))
    }

    fn is_internal(&self, context: &Context<'_>, name: &str) -> bool {
        let bound = [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&name) && knows_bounds(context);
        bound
            || self.keys.iter().any(|k| key_name(k) == name)
            || (0..self.calls.len()).any(|place| result_name(place) == name)
    }

    /// Group keys, arguments, times: in the partition that the key belongs to.
    fn below(&self, context: &Context<'_>, plan: LogicalPlan) -> Result<LogicalPlan> {
        let input = plan.schema();
        let mut columns: Vec<(String, PlanExpr)> = Vec::new();
        for key in &self.keys {
            columns.push((key.name.clone(), call::call(&key.program, &key.ty, input)));
        }
        for (place, (_, Typed { program, ty })) in self.arguments.iter().enumerate() {
            columns.push((argument_name(place), call::call(program, ty, input)));
        }
        for hidden in [pseudo::ROWTIME, pseudo::ROWPARTITION, ORDINAL, PRESENT] {
            let column = input.columns().into_iter().find(|c| c.name == hidden);
            let column = column.ok_or_else(|| Error::bug(format!("the scan has no {hidden}")))?;
            columns.push((hidden.to_owned(), PlanExpr::Column(column)));
        }
        context::unique(&mut columns);
        let plan = Compute::plan(columns, plan)?;
        let source = &context.source;
        let key: Vec<Column> = self.keys.iter().map(|k| Column::key(&k.name, k.ty.clone())).collect();
        let same = key.len() == source.schema.key.len()
            && !key.is_empty()
            && self.keys.iter().zip(&source.schema.key).all(|(k, c)| expression::as_name(&k.expr) == Some(&c.name));
        let key_format = formats::internal_key_format(source.key_format, context.settings.key_format, &key);
        // All rows of a query without GROUP BY meet in one place.
        let partitions = if context.select.group_by.is_empty() { 1 } else { source.partitions };
        Ok(Rekey::plan(key, key_format, (!same).then_some(partitions), true, plan))
    }

    fn aggregate(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let columns = plan.schema().columns();
        let named = |name: &str| columns.iter().find(|c| c.name == name).cloned().map(PlanExpr::Column);
        let mut group: Vec<PlanExpr> = columns[..self.keys.len()].iter().cloned().map(PlanExpr::Column).collect();
        group.extend([pseudo::WINDOWSTART, pseudo::WINDOWEND].into_iter().filter_map(named));
        let results = self.calls.iter().enumerate().map(|(place, call)| {
            let first = self.keys.len();
            let arguments = call.arguments.iter().map(|a| PlanExpr::Column(columns[first + a].clone())).collect();
            call::aggregate(call.function.clone(), arguments, expression::text(&call.expr)).alias(result_name(place))
        });
        let node = Aggregate::try_new(Arc::new(plan), group, results.collect())?;
        Ok(LogicalPlan::Aggregate(node))
    }

    fn names_above(&self, context: &Context<'_>) -> Names {
        let mut names = Names::new("SELECT", &context.alias);
        for (i, key) in self.keys.iter().enumerate() {
            names.add(&key_name(key), i, key.ty.clone());
        }
        let mut next = self.keys.len();
        if context.select.window.is_some() {
            if knows_bounds(context) {
                names.add(pseudo::WINDOWSTART, next, SqlType::Bigint);
                names.add(pseudo::WINDOWEND, next + 1, SqlType::Bigint);
            }
            next += 2;
        }
        for (place, call) in self.calls.iter().enumerate() {
            names.add(&result_name(place), next + place, call.function.output());
        }
        names
    }

    /// The error with the aggregates as they were written in place of the names of their results.
    fn in_written_words(&self, error: Error) -> Error {
        let mut text = error.message().to_owned();
        for (place, call) in self.calls.iter().enumerate().rev() {
            text = text.replace(&result_name(place), &expression::text(&call.expr));
        }
        error.reworded(text)
    }

    /// HAVING is made of group keys, window bounds and aggregates.
    fn check_having(&self, context: &Context<'_>, having: &Expr) -> Result<()> {
        let rest = expression::replace(having, &mut |e| self.stands_for(e));
        let named = expression::columns_outside_aggregates(&rest);
        let known = context.names.of("HAVING");
        let wrong: Vec<String> = named.into_iter().filter(|n| !self.is_internal(context, n) && known.has(n)).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::statement(format!(
            "Non-aggregate HAVING expression not part of GROUP BY: {}\nConsider switching the HAVING clause to a WHERE clause \
             before the GROUP BY.",
            wrong.join(", ")
        )))
    }

    fn having(
        &self,
        context: &Context<'_>,
        having: &Expr,
        names: &Names,
        mut plan: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let having = expression::normal(having, &context.alias);
        self.check_having(context, &having)?;
        for part in expression::conjuncts(&having) {
            let above = expression::replace(part, &mut |e| self.stands_for(e));
            let bound = scalar::bind(&above, &names.of("HAVING"), Boundary::Having);
            let Typed { program, ty } = bound.map_err(|e| self.in_written_words(e).at_some(span_of(part)))?;
            if ty != SqlType::Boolean {
                return Err(Error::statement(format!(
                    "Type error in HAVING expression: Should evaluate to boolean but is {} ({ty}) instead.",
                    expression::text(part)
                )));
            }
            plan = Keep::plan(call::call(&program, &ty, plan.schema()), "HAVING", plan);
        }
        Ok(plan)
    }

    fn columns(
        &self,
        context: &Context<'_>,
        mut items: Vec<Item>,
        names: &Names,
        plan: &LogicalPlan,
    ) -> Result<Columns> {
        let keys: Vec<Key> = match context.purpose {
            purpose if purpose.is_persistent() => self
                .keys
                .iter()
                .map(|k| Key { expr: k.expr.clone(), ty: k.ty.clone(), boundary: Boundary::SelectItem })
                .collect(),
            _ => vec![],
        };
        // The key is checked, and its errors are worded, in the terms of the statement.
        context::check_keys(&items, &keys, "grouping expression", context.purpose)?;
        let above = |e: &Expr| expression::replace(e, &mut |part| self.stands_for(part));
        for item in &mut items {
            item.expr = above(&item.expr);
        }
        let keys: Vec<Key> = keys.into_iter().map(|k| Key { expr: above(&k.expr), ..k }).collect();
        context.columns(&items, &keys, "grouping expression", names, plan)
    }
}

/// A group key's name in expressions above the Aggregate: `#` keeps an expression's apart from the columns below.
fn key_name(key: &GroupKey) -> String {
    match expression::as_name(&key.expr) {
        Some(name) => name.to_owned(),
        None => format!("#{}", key.name),
    }
}

/// The error for an expression that a clause names a second time.
pub(super) fn twice(clause: &str, expr: &Expr) -> Error {
    let text = expression::text(expr);
    Error::statement(format!("Failed to prepare statement: Duplicate {clause} expression: {text}"))
}

fn argument_name(place: usize) -> String {
    format!("KSQL_INTERNAL_COL_{place}")
}

fn bound_misplaced(bound: &str) -> Error {
    Error::statement(format!(
        "Window bounds column {bound} can only be used in the SELECT clause of windowed aggregations and can not be passed to \
         aggregate functions.\nSee https://github.com/confluentinc/ksql/issues/4397"
    ))
}

fn result_name(place: usize) -> String {
    format!("KSQL_AGG_VARIABLE_{place}")
}

/// Can the SELECT list name the window's bounds? Not over a join: ksqlDB resolves names in its sources only there.
fn knows_bounds(context: &Context<'_>) -> bool {
    context.select.window.is_some() && context.select.joins.is_empty()
}
