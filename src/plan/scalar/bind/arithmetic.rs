//! Arithmetic: which types meet, and what DECIMAL results look like.

use super::{Binder, Bound, widen};
use crate::catalog::base_name;
use crate::error::{Error, Result};
use crate::plan::scalar::{Arithmetic, Program};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};
use sqlparser::ast::Expr;

impl Binder<'_> {
    pub(super) fn arithmetic(&mut self, op: Arithmetic, left: &Expr, right: &Expr) -> Result<Bound> {
        if let Some(moved) = self.moved(op, left, right)? {
            return Ok(moved);
        }
        let (a, b) = (self.expr(left)?, self.expr(right)?);
        if let (Arithmetic::Add, Some(SqlType::String), Some(SqlType::String)) = (op, &a.ty, &b.ty) {
            let args = vec![self.guarded_argument(a), self.guarded_argument(b)];
            return self.resolved("CONCAT", args);
        }
        let (Some(x), Some(y)) = (&a.ty, &b.ty) else { return Err(null_arithmetic(op, &a, &b)) };
        if !x.is_numeric() || !y.is_numeric() {
            return Err(unsupported_arithmetic(op, &a, &b));
        }
        let ty = match (x, y) {
            (SqlType::Double, _) | (_, SqlType::Double) => SqlType::Double,
            (SqlType::Decimal(..), _) | (_, SqlType::Decimal(..)) => decimal_result(op, x, y)?,
            (SqlType::Bigint, _) | (_, SqlType::Bigint) => SqlType::Bigint,
            _ => SqlType::Integer,
        };
        // DECIMAL arithmetic takes every exact number as it is.
        let widened = |operand: Bound| match (&ty, operand.ty) {
            (SqlType::Decimal(..), _) => operand.program,
            (_, Some(from)) => widen(operand.program, from, &ty),
            (_, None) => operand.program,
        };
        let (left, right) = (Box::new(widened(a)), Box::new(widened(b)));
        Ok(Bound::new(Program::Arithmetic { op, left, right, ty: ty.clone() }, ty))
    }
}

fn null_arithmetic(op: Arithmetic, a: &Bound, b: &Bound) -> Error {
    let name = |bound: &Bound| bound.ty.as_ref().map_or("null".to_string(), SqlType::to_string);
    Error::statement(format!(
        "Error processing expression: ({} {} {}). Arithmetic on types {} and {} are not supported.",
        a.program,
        op.symbol(),
        b.program,
        name(a),
        name(b)
    ))
}

fn unsupported_arithmetic(op: Arithmetic, a: &Bound, b: &Bound) -> Error {
    let name = |bound: &Bound| bound.ty.as_ref().map_or("null".to_string(), base_name);
    Error::statement(format!(
        "Error processing expression: ({} {} {}). Unsupported arithmetic types. {} {}",
        a.program,
        op.symbol(),
        b.program,
        name(a),
        name(b)
    ))
}

/// Precision and scale of a DECIMAL result.
fn decimal_result(op: Arithmetic, x: &SqlType, y: &SqlType) -> Result<SqlType> {
    let wrong = || Error::bug("DECIMAL arithmetic on inexact numbers");
    let ((p1, s1), (p2, s2)) = (x.exact().ok_or_else(wrong)?, y.exact().ok_or_else(wrong)?);
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    let (precision, scale) = match op {
        Arithmetic::Add | Arithmetic::Subtract => (s1.max(s2) + (p1 - s1).max(p2 - s2) + 1, s1.max(s2)),
        Arithmetic::Multiply => (p1 + p2 + 1, s1 + s2),
        Arithmetic::Divide => {
            let scale = 6.max(s1 + p2 + 1);
            (p1 - s1 + s2 + scale, scale)
        }
        Arithmetic::Remainder => ((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
    };
    // The widest DECIMAL has to be enough where its digits are: a value that has more of them fails row by row. So sums, which
    // are wide, can be divided and multiplied.
    let most = i32::from(DECIMAL_PRECISION_MAX);
    let precision = if scale < most { precision.min(most) } else { precision };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p), Ok(s)) if p <= DECIMAL_PRECISION_MAX => Ok(SqlType::Decimal(p.max(1), s)),
        _ => Err(Error::statement(format!(
            "the result of {x} {} {y} would be DECIMAL({precision}, {scale})",
            op.symbol()
        ))
        .with_detail(format!("a DECIMAL has at most {DECIMAL_PRECISION_MAX} digits"))
        .with_hint("CAST an operand to a smaller DECIMAL or to DOUBLE")),
    }
}
