//! `x < ANY (query)` and `x >= ALL (query)`: comparisons with the least and the greatest value of a query.
//!
//! ```text
//! x <  ANY q     x < most                                  some value is greater: false over no rows
//! x <> ANY q     x <> least OR x <> most
//! x <  ALL q     no rows, or no NULL among them and x < least
//! x =  ALL q     no rows, or no NULL among them and x = least and x = most
//! ```
//!
//! `= ANY` is IN, and `<> ALL` is NOT IN.

use crate::error::{Error, Result};
use crate::functions::aggregate::{self, Argument, Limits};
use crate::plan::nodes::call;
use crate::plan::select::expression;
use crate::types::SqlType;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{Expr as PlanExpr, lit};
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

/// What is asked of the query's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extreme {
    /// The least value, NULL if there is none.
    Least,
    /// The greatest one.
    Most,
    /// Whether none of the values is NULL.
    Complete,
}

/// What a quantified comparison asks for.
pub(super) enum Part {
    Of(Extreme),
    /// Whether there are rows.
    Exists,
}

/// The comparison in terms of what `column` gives; `None` = the operator compares nothing.
pub(super) fn comparison(
    left: &Expr,
    op: &BinaryOperator,
    any: bool,
    column: &mut dyn FnMut(Part) -> Expr,
) -> Option<Expr> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let ends: &[Extreme] = match (op, any) {
        (Lt | LtEq, true) | (Gt | GtEq, false) => &[Extreme::Most],
        (Gt | GtEq, true) | (Lt | LtEq, false) => &[Extreme::Least],
        (Eq | NotEq, _) => &[Extreme::Least, Extreme::Most],
        _ => return None,
    };
    let mut compared = ends.iter().map(|end| binary(left.clone(), op.clone(), column(Part::Of(*end))));
    let first = compared.next()?;
    let joint = if any { BinaryOperator::Or } else { BinaryOperator::And };
    let all = compared.fold(first, |all, next| binary(all, joint.clone(), next));
    if any {
        return Some(Expr::Nested(Box::new(all)));
    }
    let complete = binary(column(Part::Of(Extreme::Complete)), BinaryOperator::And, Expr::Nested(Box::new(all)));
    let none = Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(column(Part::Exists)) };
    Some(Expr::Nested(Box::new(binary(none, BinaryOperator::Or, complete))))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// A reference to a column that was asked for.
pub(super) fn name(number: usize, query: &str) -> (String, Expr) {
    let name = format!("#in_{number}_{}", query.trim_start_matches('#'));
    let column = expression::identifier(&name);
    (name, column)
}

/// What is counted over the values of a query, and the type of what is asked.
pub(super) fn aggregates(extreme: Extreme, value: PlanExpr, ty: SqlType) -> Result<(Vec<PlanExpr>, SqlType)> {
    let end = match (extreme, &ty) {
        (Extreme::Complete, _) => {
            let counts = vec![count(lit(1_i64)).alias("#rows"), count(value).alias("#known")];
            return Ok((counts, SqlType::Boolean));
        }
        (_, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_)) => {
            return Err(Error::statement(format!("values of type {ty} are neither less nor greater")));
        }
        (Extreme::Least, SqlType::Boolean) => min(value),
        (Extreme::Most, SqlType::Boolean) => max(value),
        // Ours: texts are in Java's order, and NaN is the highest number.
        (extreme, ty) => {
            let name = if extreme == Extreme::Least { "MIN" } else { "MAX" };
            let argument = Argument { ty: ty.clone(), literal: None };
            let function = aggregate::resolve(name, &[argument], Limits::default())?;
            let function = function.ok_or_else(|| Error::bug(format!("{name} is no aggregate")))?;
            call::aggregate(function, 1, name.to_owned()).call(vec![value])
        }
    };
    Ok((vec![end.alias("#end")], ty))
}
