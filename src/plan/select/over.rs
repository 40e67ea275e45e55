//! Window functions: native Window nodes below the SELECT list, over computed plain columns.
//!
//! ```text
//! SELECT k, SUM(COUNT(*)) OVER (ORDER BY k) AS n     Compute  K, N = #over_0
//! FROM s GROUP BY k QUALIFY n > 2                    Keep     (#over_0 > 2)
//!                                                    Compute  all columns below, #over_0 in its SQL type
//!                                                    Window   SUM(#arg_0) OVER (ORDER BY #arg_1)
//!                                                    Compute  all columns below, #arg_0 = COUNT(*), #arg_1 = K
//! ```
//!
//! They see what the SELECT list sees: the rows of FROM and WHERE, or the groups that HAVING keeps.

use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::parse::span_of;
use crate::parse::statement::{Name, Select, SelectItem};
use crate::plan::nodes::{Compute, Keep, call};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::callee::frame::{self, SortedBy};
use crate::plan::select::callee::{self, Called, Computed, Place};
use crate::plan::select::context::{Context, Purpose};
use crate::plan::select::expression;
use crate::plan::select::projection::Item;
use crate::plan::select::scope::Names;
use crate::types::{SqlType, nearest};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, WindowFrame};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, NullTreatment,
    Value, WindowSpec, WindowType,
};
use std::borrow::Cow;

/// A call with OVER, bound.
struct Window {
    whole: Expr,
    called: Called,
    partition_by: Vec<usize>,
    /// Places with DESC and NULLS FIRST.
    order_by: Vec<(usize, bool, bool)>,
    frame: WindowFrame,
}

/// The SELECT with the windows that OVER names in the place of their names.
pub(super) fn inlined(select: &Select) -> Result<Cow<'_, Select>> {
    let named = |expr: &Expr| !expression::over_calls(expr).iter().all(is_written_out);
    let expressions = select.items.iter().filter_map(item_expr).chain(&select.qualify);
    if select.windows.is_empty() && !expressions.into_iter().any(named) {
        return Ok(Cow::Borrowed(select));
    }
    let mut known: Vec<(&Name, WindowSpec)> = Vec::new();
    for (name, spec) in &select.windows {
        if known.iter().any(|(other, _)| *other == name) {
            return Err(Error::statement(format!("two windows are named {}", name.value)).at(name.span));
        }
        let spec = resolved(spec, &known)?;
        known.push((name, spec));
    }
    let mut out = select.clone();
    for item in &mut out.items {
        if let SelectItem::Expr { expr, .. } | SelectItem::AllFields(expr) = item {
            *expr = inlined_in(expr, &known)?;
        }
    }
    out.qualify = out.qualify.as_ref().map(|expr| inlined_in(expr, &known)).transpose()?;
    out.windows.clear();
    Ok(Cow::Owned(out))
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::Expr { expr, .. } => Some(expr),
        _ => None,
    }
}

fn is_written_out(function: &Function) -> bool {
    matches!(&function.over, Some(WindowType::WindowSpec(spec)) if spec.window_name.is_none())
}

fn inlined_in(expr: &Expr, known: &[(&Name, WindowSpec)]) -> Result<Expr> {
    let mut failed = None;
    let out = expression::replace(expr, &mut |e| {
        let Expr::Function(function) = e else { return None };
        let spec = match function.over.as_ref()? {
            WindowType::NamedWindow(name) => find(name, known).cloned(),
            WindowType::WindowSpec(spec) if spec.window_name.is_some() => resolved(spec, known),
            WindowType::WindowSpec(_) => return None,
        };
        match spec {
            Ok(spec) => Some(Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), ..function.clone() })),
            Err(error) => {
                failed.get_or_insert(error);
                None
            }
        }
    });
    failed.map_or(Ok(out), Err)
}

fn find<'a>(name: &Ident, known: &'a [(&Name, WindowSpec)]) -> Result<&'a WindowSpec> {
    if let Some((_, spec)) = known.iter().find(|(known, _)| known.value == name.value) {
        return Ok(spec);
    }
    let error = Error::statement(format!("no window is named {}", name.value))
        .at_some(span_of(&Expr::Identifier(name.clone())));
    Err(match nearest(&name.value, known.iter().map(|(name, _)| name.value.as_str())) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint(format!("WINDOW {} AS (...) defines it, behind HAVING", name.value)),
    })
}

/// `w ORDER BY t`: the window `w`, and what it leaves open.
fn resolved(spec: &WindowSpec, known: &[(&Name, WindowSpec)]) -> Result<WindowSpec> {
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let base = find(name, known)?;
    let twice = |what: &str| {
        let error = Error::statement(format!("the window {} has its own {what} already", name.value));
        Err(error.at_some(span_of(&Expr::Identifier(name.clone()))))
    };
    if !spec.partition_by.is_empty() {
        return twice("PARTITION BY");
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return twice("ORDER BY");
    }
    if base.window_frame.is_some() {
        return twice("frame");
    }
    let order_by = if spec.order_by.is_empty() { base.order_by.clone() } else { spec.order_by.clone() };
    let partition_by = base.partition_by.clone();
    Ok(WindowSpec { window_name: None, partition_by, order_by, window_frame: spec.window_frame.clone() })
}

/// Refuses window functions where rows are not yet what they look at.
pub(super) fn check_clause(expr: &Expr, clause: &str) -> Result<()> {
    let Some(function) = expression::over_calls(expr).into_iter().next() else { return Ok(()) };
    let name = expression::function_name(&function);
    let error = Error::statement(format!("{name} with OVER is not allowed in {clause}"));
    Err(error
        .at_some(span_of(&Expr::Function(function)))
        .with_hint("QUALIFY keeps rows by the result of a window function, SELECT and ORDER BY show it"))
}

/// The items over rows that have the results of their window functions as columns, the names they see, and the plan; rows
/// that `qualify` does not keep are gone.
pub(super) fn bind(
    context: &Context<'_>,
    items: Vec<Item>,
    qualify: Option<Expr>,
    names: Names,
    plan: LogicalPlan,
) -> Result<(Vec<Item>, Names, LogicalPlan)> {
    let items: Vec<Item> = items.into_iter().map(|i| Item { expr: with_default(&i.expr), ..i }).collect();
    let qualify = qualify.map(|expr| with_default(&expr));
    let mut calls: Vec<Function> = Vec::new();
    for expr in items.iter().map(|i| &i.expr).chain(&qualify) {
        for call in expression::over_calls(expr) {
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
    }
    check(context, &calls, qualify.as_ref())?;
    if calls.is_empty() {
        return Ok((items, names, plan));
    }
    let mut computed = Computed::default();
    let windows = calls.iter().map(|call| window(context, call, &names, &mut computed)).collect::<Result<Vec<_>>>()?;
    let width = plan.schema().fields().len();
    let plan = windowed(&windows, &computed, plan)?;
    let mut above = names;
    for (place, window) in windows.iter().enumerate() {
        above.add(&result_name(place), width + place, window.called.ty.clone());
    }
    let stands_for = |e: &Expr| {
        let place = windows.iter().position(|w| w.whole == *e)?;
        Some(expression::identifier(&result_name(place)))
    };
    let replaced = |e: &Expr| expression::replace(e, &mut |part| stands_for(part));
    let items = items.into_iter().map(|i| Item { expr: replaced(&i.expr), ..i }).collect();
    let mut plan = plan;
    let qualify = qualify.filter(|_| !mutant::on(Mutant::QualifyLost));
    for part in qualify.iter().flat_map(expression::conjuncts) {
        let part = replaced(part);
        let bound =
            scalar::bind(&part, &above.of("QUALIFY"), Boundary::Where).map_err(|e| e.at_some(span_of(&part)))?;
        let Typed { program, ty } = bound;
        if ty != SqlType::Boolean {
            return Err(Error::statement(format!(
                "Type error in QUALIFY expression: Should evaluate to boolean but is {} ({ty}) instead.",
                expression::text(&part)
            )));
        }
        plan = Keep::plan(call::call(&program, &ty, plan.schema()), "QUALIFY", plan);
    }
    Ok((items, above, plan))
}

/// LAG and LEAD take a constant in the place of a row that is not there; any other default is put beside them.
///
/// ```text
/// LAG(a, 1, b) OVER w       CASE WHEN LAG(TRUE, 1) OVER w IS NULL THEN b ELSE LAG(a, 1) OVER w END
/// ```
fn with_default(expr: &Expr) -> Expr {
    expression::replace(expr, &mut |part| {
        let Expr::Function(function) = part else { return None };
        let shifts = ["LAG", "LEAD"].contains(&expression::function_name(function).as_str());
        let (FunctionArguments::List(list), true) = (&function.args, shifts && function.over.is_some()) else {
            return None;
        };
        let [_, _, FunctionArg::Unnamed(FunctionArgExpr::Expr(default))] = &list.args[..] else { return None };
        if expression::is_constant(default) {
            return None;
        }
        let mut value = function.clone();
        let FunctionArguments::List(left) = &mut value.args else { return None };
        left.args.truncate(2);
        let mut there = value.clone();
        let ignores = |clause: &FunctionArgumentClause| {
            matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(NullTreatment::IgnoreNulls))
        };
        let skips_nulls =
            function.null_treatment == Some(NullTreatment::IgnoreNulls) || list.clauses.iter().any(ignores);
        if let (FunctionArguments::List(given), false) = (&mut there.args, skips_nulls) {
            given.args[0] = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::Boolean(true))));
        }
        let is_absent = Expr::IsNull(Box::new(Expr::Function(there)));
        Some(expression::either(is_absent, default.clone(), Expr::Function(value)))
    })
}

fn check(context: &Context<'_>, calls: &[Function], qualify: Option<&Expr>) -> Result<()> {
    let continuous = context.purpose != Purpose::Batch || context.settings.strict;
    match (calls.first(), qualify) {
        (Some(call), _) if continuous => {
            let name = expression::function_name(call);
            let error = Error::statement(format!("{name} with OVER requires a query without EMIT"));
            let error = error.at_some(span_of(&Expr::Function(call.clone())));
            Err(error
                .with_hint("TOPK and GROUP BY with WINDOW TUMBLING or HOPPING rank and sum up in a continuous query"))
        }
        (None, Some(qualify)) => Err(Error::statement("QUALIFY requires a window function")
            .at_some(span_of(qualify))
            .with_hint("WHERE keeps rows, and HAVING groups, by conditions without one")),
        _ => Ok(()),
    }
}

fn window(context: &Context<'_>, function: &Function, names: &Names, computed: &mut Computed) -> Result<Window> {
    let whole = Expr::Function(function.clone());
    let spec = callee::spec(function)?;
    let inside = expression::parts_of_call(function);
    if let Some(inner) = inside.iter().flat_map(expression::over_calls).next() {
        let (name, inner) = (expression::function_name(function), expression::function_name(&inner));
        let error = Error::statement(format!("window functions cannot be nested: {name}({inner}())"));
        return Err(error.at_some(span_of(&whole)).with_hint("a query in FROM can have the inner one"));
    }
    let place = Place { names, settings: context.settings, purpose: context.purpose };
    let called = Called::bind(function, place, computed)?;
    let part = |e: &Expr, computed: &mut Computed| computed.key(e, names);
    let partition_by = spec.partition_by.iter().map(|e| part(e, computed)).collect::<Result<Vec<_>>>()?;
    let order_by = spec.order_by.iter().map(|by| callee::key(by, names, computed)).collect::<Result<Vec<_>>>()?;
    let frame = match &spec.window_frame {
        _ if mutant::on(Mutant::FrameLost) => WindowFrame::new(None),
        None => WindowFrame::new((!order_by.is_empty()).then_some(false)),
        Some(frame) => {
            let keys = spec.order_by.iter().zip(&order_by);
            let keys: Vec<SortedBy<'_>> = keys.map(|(by, key)| (&by.expr, computed.ty(key.0))).collect();
            frame::checked(frame, &keys).map_err(|e| if e.span().is_some() { e } else { e.at_some(span_of(&whole)) })?
        }
    };
    Ok(Window { whole, called, partition_by, order_by, frame })
}

/// The plan with a column for each result behind its own.
fn windowed(windows: &[Window], computed: &Computed, plan: LogicalPlan) -> Result<LogicalPlan> {
    let input = plan.schema().clone();
    let width = input.fields().len();
    let mut columns: Vec<(String, PlanExpr)> =
        input.columns().into_iter().map(|c| (c.name.clone(), PlanExpr::Column(c))).collect();
    columns.extend(computed.columns(&input).enumerate().map(|(place, expr)| (format!("#arg_{place}"), expr)));
    let mut plan = Compute::plan(columns, plan)?;
    let below = plan.schema().columns();
    let column = |place: usize| below[width + place].clone();
    // One sort serves all windows with the same rows in the same order.
    let mut left: Vec<usize> = (0..windows.len()).collect();
    while let Some(first) = left.first().map(|place| &windows[*place]) {
        let same = |w: &Window| w.partition_by == first.partition_by && w.order_by == first.order_by;
        let (now, later): (Vec<usize>, Vec<usize>) = left.iter().partition(|place| same(&windows[**place]));
        let calls = now.iter().map(|place| Ok(windows[*place].expr(&column)?.alias(result_name(*place))));
        plan = LogicalPlanBuilder::from(plan).window(calls.collect::<Result<Vec<_>>>()?)?.build()?;
        left = later;
    }
    let all = plan.schema().columns();
    let mut columns: Vec<(String, PlanExpr)> =
        all[..width].iter().map(|c| (c.name.clone(), PlanExpr::Column(c.clone()))).collect();
    for (place, window) in windows.iter().enumerate() {
        let name = result_name(place);
        let result = all.iter().find(|c| c.name == name).cloned();
        let result = result.ok_or_else(|| Error::bug(format!("the window has no column {name}")))?;
        columns.push((name, window.called.shown(result)));
    }
    Ok(Compute::plan(columns, plan)?)
}

impl Window {
    fn expr(&self, column: &dyn Fn(usize) -> datafusion::common::Column) -> Result<PlanExpr> {
        let partition_by = self.partition_by.iter().map(|place| PlanExpr::Column(column(*place))).collect();
        let mut order_by: Vec<Sort> = self.order_by.iter().map(|key| callee::sort(*key, column)).collect();
        self.frame.regularize_order_bys(&mut order_by).map_err(|e| {
            Error::statement(format!("{} asks for ORDER BY one expression", self.frame))
                .at_some(span_of(&self.whole))
                .because(e)
        })?;
        Ok(self.called.over(column, partition_by, order_by, self.frame.clone()))
    }
}

fn result_name(place: usize) -> String {
    format!("#over_{place}")
}
