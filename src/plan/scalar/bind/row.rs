//! Rows of values in parentheses: `(a, b) = (1, 2)`, `(a, b) < (c, d)`, `(a, b) IN ((1, 2), (3, 4))`.
//!
//! They are no values of a type. A comparison of two is one of their values, from left to right, and means what it means
//! written out: `a = 1 AND b = 2`, `a < c OR a = c AND b < d`.

use crate::error::{Error, Result};
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

/// The values, if the expression is a row.
pub(in crate::plan) fn values(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Nested(inner) => values(inner),
        Expr::Tuple(values) => Some(values),
        _ => None,
    }
}

/// The comparison of two rows, written out.
pub(in crate::plan) fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Result<Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    if left.len() != right.len() {
        let (left, right) = (left.len(), right.len());
        return Err(Error::statement(format!("a row of {left} values is compared to one of {right}")));
    }
    let pairs: Vec<(&Expr, &Expr)> = left.iter().zip(right).collect();
    let each = |op: &BinaryOperator| pairs.iter().map(|(a, b)| binary(a, op.clone(), b)).collect();
    match op {
        Eq => Ok(joined(each(&Eq), &And)),
        NotEq => Ok(joined(each(&NotEq), &Or)),
        Lt | LtEq | Gt | GtEq => {
            let strict = if matches!(op, Lt | LtEq) { Lt } else { Gt };
            let (last, before) = pairs.split_last().ok_or_else(|| Error::statement("a row has values"))?;
            let last = binary(last.0, op.clone(), last.1);
            Ok(before.iter().rev().fold(last, |rest, (a, b)| {
                let equal = binary(&binary(a, Eq, b), And, &rest);
                nested(binary(&binary(a, strict.clone(), b), Or, &equal))
            }))
        }
        other => Err(Error::statement(format!("{other} does not compare rows of values"))),
    }
}

/// `row [NOT] IN (rows)`, written out.
pub(super) fn listed(row: &[Expr], list: &[Expr], negated: bool) -> Result<Expr> {
    let one = |item: &Expr| match values(item) {
        Some(item) => compared(row, &BinaryOperator::Eq, item),
        None => Err(Error::statement(format!("a row of {} values is compared to {item}", row.len()))
            .with_hint("write (a, b) IN ((1, 2), (3, 4))")),
    };
    let any = joined(list.iter().map(one).collect::<Result<_>>()?, &BinaryOperator::Or);
    Ok(match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) },
        false => any,
    })
}

/// All of them between operators, as a tree that is not deep.
fn joined(mut all: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while all.len() > 1 {
        let pairs = all.chunks(2).map(|pair| match pair {
            [a, b] => nested(binary(a, op.clone(), b)),
            _ => pair[0].clone(),
        });
        all = pairs.collect();
    }
    nested(all.pop().unwrap_or_else(|| Expr::value(sqlparser::ast::Value::Boolean(true))))
}

fn binary(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right.clone()) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}
