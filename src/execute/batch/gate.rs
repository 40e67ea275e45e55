//! The last rule of the analyzer: nothing in a plan is called or cast but what has a bound.
//!
//! It sees every expression of every node, of sub-queries and common table expressions too, after types were coerced and
//! before anything is computed. Arguments of functions in FROM are the exception: DataFusion computes them while it reads the
//! text, so [`check_table_functions`] looks at the text and lets constants through.

use super::nodes::external;
use crate::error::{Error, Result};
use crate::functions::bounded::{
    Bound, Bounded, CENTROIDS_MAX, CONCATENATION, Concatenation, Sort, TextToDecimal, allowed, scalars,
};
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};
use sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, FunctionArg, FunctionArgExpr, Query, TableFactor, UnaryOperator, Visit, Visitor,
};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// DataFusion's rules, and the gate behind them.
pub(super) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    let scalars = scalars().into_iter().map(|f| (f.name().to_owned(), f)).collect();
    rules.push(Arc::new(Gate { scalars }));
    rules
}

/// The rule.
#[derive(Debug)]
struct Gate {
    scalars: HashMap<String, Arc<ScalarUDF>>,
}

impl AnalyzerRule for Gate {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| self.node(node)).map(|done| done.data)
    }

    fn name(&self) -> &str {
        "bounded_functions"
    }
}

impl Gate {
    fn node(&self, node: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema.merge(&scan.projected_schema);
        }
        let names = NamePreserver::new(&node);
        let done = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|e| self.expression(e, &schema))?;
            Ok(done.update_data(|e| name.restore(e)))
        })?;
        if done.transformed { done.map_data(LogicalPlan::recompute_schema) } else { Ok(done) }
    }

    fn expression(&self, expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
        match &expr {
            Expr::ScalarFunction(call) => self.call(call),
            Expr::AggregateFunction(call) => aggregate(call).map(|()| Transformed::no(expr)),
            Expr::WindowFunction(call) => window(call).map(|()| Transformed::no(expr)),
            Expr::HigherOrderFunction(call) => Err(unknown(call.func.name())),
            Expr::Cast(cast) => decimal(&cast.expr, cast.field.data_type(), false, schema)
                .map(|own| own.map_or(Transformed::no(expr), Transformed::yes)),
            Expr::TryCast(cast) => decimal(&cast.expr, cast.field.data_type(), true, schema)
                .map(|own| own.map_or(Transformed::no(expr), Transformed::yes)),
            Expr::BinaryExpr(both) if both.op == Operator::StringConcat => {
                let operator = Arc::new(ScalarUDF::from(Concatenation::new(expr.get_type(schema)?)));
                let bounded = Arc::new(ScalarUDF::from(Bounded::new(operator, Bound::Sum)));
                let args = vec![both.left.as_ref().clone(), both.right.as_ref().clone()];
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(bounded, args))))
            }
            _ => Ok(Transformed::no(expr)),
        }
    }

    /// The call with the function that has a bound.
    fn call(&self, call: &ScalarFunction) -> DfResult<Transformed<Expr>> {
        let own = [CONCATENATION, TextToDecimal::NAME].contains(&call.func.name());
        match self.scalars.get(call.func.name()) {
            _ if own => Ok(Transformed::no(Expr::ScalarFunction(call.clone()))),
            Some(bounded) => {
                let call = ScalarFunction::new_udf(bounded.clone(), call.args.clone());
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            None => Err(unknown(call.func.name())),
        }
    }
}

fn unknown(name: &str) -> datafusion::error::DataFusionError {
    let error = Error::statement(format!("Invalid function '{name}'."));
    external(error.with_hint("COMPATIBILITY.md lists the functions that a query without EMIT may call"))
}

fn aggregate(call: &AggregateFunction) -> DfResult<()> {
    let name = call.func.name();
    let known = allowed(name, Sort::Aggregate).ok_or_else(|| unknown(name))?;
    let Bound::Centroids(index) = known.bound else { return Ok(()) };
    match call.params.args.get(index).map(constant) {
        None => Ok(()),
        Some(Some(n)) if (1..=CENTROIDS_MAX).contains(&n) => Ok(()),
        Some(_) => Err(external(
            Error::statement(format!("the number of centroids of {name} is a constant from 1 to {CENTROIDS_MAX}"))
                .with_hint("100 are usual; more make the result more exact and need more memory"),
        )),
    }
}

/// The whole number that an expression is, below casts.
fn constant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(n)) => n,
            _ => None,
        },
        Expr::Cast(cast) => constant(&cast.expr),
        _ => None,
    }
}

fn window(call: &WindowFunction) -> DfResult<()> {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(f) => {
            allowed(f.name(), Sort::Window).map(|_| ()).ok_or_else(|| unknown(f.name()))
        }
        WindowFunctionDefinition::AggregateUDF(f) => match allowed(f.name(), Sort::Aggregate).map(|a| a.bound) {
            None => Err(unknown(f.name())),
            Some(Bound::Kept) => Err(external(
                Error::statement(format!("{} with OVER is not supported", f.name()))
                    .with_detail("every row would get a copy of what its window holds")
                    .with_hint("use it with GROUP BY"),
            )),
            Some(Bound::Centroids(_)) if call.params.args.len() > 2 => {
                Err(external(Error::statement(format!("{} with OVER takes no number of centroids", f.name()))))
            }
            Some(_) => Ok(()),
        },
    }
}

/// Tidegate's own cast, where a text becomes a DECIMAL.
fn decimal(expr: &Expr, to: &DataType, tries: bool, schema: &DFSchema) -> DfResult<Option<Expr>> {
    if !has(to, DataType::is_decimal) {
        return Ok(None);
    }
    let from = expr.get_type(schema)?;
    if !has(&from, DataType::is_string) {
        return Ok(None);
    }
    if !to.is_decimal() || from.is_nested() {
        let error = Error::statement("texts inside of arrays, maps and structs cannot be cast to DECIMAL at once");
        return Err(external(error.with_hint("cast each element: unnest it first, or name it")));
    }
    let cast = Arc::new(ScalarUDF::from(TextToDecimal::new(to.clone(), tries)));
    Ok(Some(Expr::ScalarFunction(ScalarFunction::new_udf(cast, vec![expr.clone()]))))
}

/// Is such a type in the type?
fn has(ty: &DataType, is: fn(&DataType) -> bool) -> bool {
    match ty {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has(item.data_type(), is)
        }
        DataType::ListView(item) | DataType::LargeListView(item) | DataType::Map(item, _) => has(item.data_type(), is),
        DataType::Struct(fields) => fields.iter().any(|f| has(f.data_type(), is)),
        DataType::Dictionary(_, value) => has(value, is),
        DataType::RunEndEncoded(_, values) => has(values.data_type(), is),
        ty => is(ty),
    }
}

/// Are the arguments of functions in FROM constants?
pub(super) fn check_table_functions(query: &Query) -> Result<()> {
    match query.visit(&mut InFrom) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct InFrom;

impl Visitor for InFrom {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let args: Vec<&SqlExpr> = match factor {
            TableFactor::Table { args: Some(args), .. } => args.args.iter().filter_map(argument).collect(),
            TableFactor::Function { args, .. } => args.iter().filter_map(argument).collect(),
            TableFactor::TableFunction { expr, .. } => vec![expr],
            _ => return ControlFlow::Continue(()),
        };
        match args.into_iter().find(|arg| !is_constant(arg)) {
            None => ControlFlow::Continue(()),
            Some(arg) => ControlFlow::Break(
                Error::statement(format!("an argument of a function in FROM is a constant, not {arg}"))
                    .with_hint("write the number, or the time as TIMESTAMP '2026-11-21T12:00:00'"),
            ),
        }
    }
}

fn argument(arg: &FunctionArg) -> Option<&SqlExpr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
        | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }
        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(expr), .. } => Some(expr),
        _ => None,
    }
}

/// A number, a text, a time, or arithmetic with them; a name is refused later.
fn is_constant(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::Value(_) | SqlExpr::TypedString(_) | SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => true,
        SqlExpr::Interval(interval) => is_constant(&interval.value),
        SqlExpr::Nested(inner) => is_constant(inner),
        SqlExpr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_constant(expr),
        SqlExpr::BinaryOp { left, op, right } => {
            use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
            matches!(op, Plus | Minus | Multiply | Divide | Modulo) && is_constant(left) && is_constant(right)
        }
        _ => false,
    }
}
