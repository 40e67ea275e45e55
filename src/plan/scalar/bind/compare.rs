//! Comparisons, BETWEEN, IN, LIKE, IS NULL: which types may meet, and what text means beside a time.

use super::{Binder, Bound, Boundary, widen};
use crate::error::{Error, Result};
use crate::plan::scalar::{Comparison, Program};
use crate::types::temporal::parse_timestamp;
use crate::types::{SqlType, pseudo};
use datafusion::common::ScalarValue;
use sqlparser::ast::{Expr, Value, ValueWithSpan};

impl Binder<'_> {
    pub(super) fn comparison(&mut self, op: Comparison, left: &Expr, right: &Expr) -> Result<Bound> {
        let magic = is_time_column(left) || is_time_column(right);
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        self.compared(op, left, right, magic)
    }

    pub(super) fn compared(&mut self, op: Comparison, left: Bound, right: Bound, magic: bool) -> Result<Bound> {
        if left.ty.is_none() || right.ty.is_none() {
            return null_comparison(op, left, right);
        }
        let (left, right) = if magic { magic_timestamps(left, right)? } else { (left, right) };
        let (Some(x), Some(y)) = (left.ty.clone(), right.ty.clone()) else {
            return Err(Error::bug("a typed operand has no type"));
        };
        let clause = match self.boundary {
            Boundary::Where => "Error in WHERE expression: ",
            Boundary::Having => "Error in HAVING expression: ",
            _ => "",
        };
        let refused = |left: &Program, right: &Program| {
            Error::statement(format!("{clause}Cannot compare {left} ({x}) to {right} ({y}) with {}.", name(op)))
        };
        let nested = matches!(x, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) | SqlType::Boolean);
        if nested && op.is_ordering() {
            return Err(refused(&left.program, &right.program));
        }
        let (left, right) = match (&x, &y) {
            (a, b) if a == b => (left.program, right.program),
            (SqlType::Double, SqlType::Decimal(..)) | (SqlType::Decimal(..), SqlType::Double) => {
                (left.program, right.program)
            }
            (a, b) if a.is_numeric() && b.is_numeric() => match a.common(b) {
                Some(both) => (widen(left.program, x, &both), widen(right.program, y, &both)),
                None => return Err(refused(&left.program, &right.program)),
            },
            (SqlType::String, SqlType::Date | SqlType::Time | SqlType::Timestamp) => {
                (self.time(left, &y)?, right.program)
            }
            (SqlType::Date | SqlType::Time | SqlType::Timestamp, SqlType::String) => {
                (left.program, self.time(right, &x)?)
            }
            (SqlType::Date, SqlType::Timestamp) => (widen(left.program, x, &y), right.program),
            (SqlType::Timestamp, SqlType::Date) => {
                let right = widen(right.program, y, &x);
                (left.program, right)
            }
            _ => return Err(refused(&left.program, &right.program)),
        };
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Bound::new(Program::Compare { op, left, right }, SqlType::Boolean))
    }

    /// Text beside a DATE, TIME or TIMESTAMP is read as one.
    fn time(&mut self, text: Bound, ty: &SqlType) -> Result<Program> {
        if let Some(value) = text.literal() {
            return Ok(self.converted(value, &SqlType::String, ty)?.program);
        }
        let cast = Program::Cast { value: Box::new(text.program), from: SqlType::String, to: ty.clone() };
        Ok(self.guard(cast))
    }

    /// Both bounds are inclusive; the second is looked at only if the first holds.
    pub(super) fn between(&mut self, value: &Expr, negated: bool, low: &Expr, high: &Expr) -> Result<Bound> {
        let magic = is_time_column(value);
        let (value, low, high) = (self.expr(value)?, self.expr(low)?, self.expr(high)?);
        let above = self.compared(Comparison::GreaterOrEqual, value.clone(), low, magic)?.program;
        let below = self.compared(Comparison::LessOrEqual, value, high, magic)?.program;
        let both = Program::And(Box::new(above), Box::new(below));
        Ok(Bound::new(negate(both, negated), SqlType::Boolean))
    }

    pub(super) fn in_list(&mut self, value: &Expr, list: &[Expr], negated: bool) -> Result<Bound> {
        let mut bounds = vec![self.expr(value)?];
        for item in list {
            bounds.push(self.expr(item)?);
        }
        let (mut programs, _) = self.common(bounds).map_err(|e| {
            let error = Error::statement(format!("Invalid Predicate: {}", e.message()));
            if let Some(hint) = e.hint() { error.with_hint(hint) } else { error }
        })?;
        let value = Box::new(programs.remove(0));
        Ok(Bound::new(negate(Program::In { value, list: programs }, negated), SqlType::Boolean))
    }

    pub(super) fn like(
        &mut self,
        value: &Expr,
        pattern: &Expr,
        escape: Option<&ValueWithSpan>,
        negated: bool,
    ) -> Result<Bound> {
        let escape = match escape.map(|e| &e.value) {
            None => None,
            Some(Value::SingleQuotedString(text)) if text.chars().count() == 1 => text.chars().next(),
            Some(other) => {
                let text = other.to_string();
                let text = text.trim_matches('\'');
                return Err(Error::statement(format!("Expected single character escape but got: {text}")));
            }
        };
        let mut operand = |expr: &Expr| -> Result<Box<Program>> {
            let bound = self.expr(expr)?;
            match bound.ty {
                Some(SqlType::String) => Ok(Box::new(bound.program)),
                None => Ok(Box::new(Program::Literal(ScalarValue::Utf8(None)))),
                Some(ty) => Err(Error::statement(format!(
                    "The column type for Like condition must be VARCHAR. The column type is {ty}"
                ))),
            }
        };
        let (value, pattern) = (operand(value)?, operand(pattern)?);
        Ok(Bound::new(negate(Program::Like { value, pattern, escape }, negated), SqlType::Boolean))
    }

    pub(super) fn is_null(&mut self, expr: &Expr) -> Result<Program> {
        let bound = self.expr(expr)?;
        Ok(Program::IsNull(Box::new(bound.program)))
    }
}

fn negate(program: Program, negated: bool) -> Program {
    if negated { Program::Not(Box::new(program)) } else { program }
}

/// Only IS DISTINCT FROM takes a bare NULL.
fn null_comparison(op: Comparison, left: Bound, right: Bound) -> Result<Bound> {
    let program = match (op, left.typed, right.typed) {
        (Comparison::Distinct, true, _) => negate(Program::IsNull(Box::new(left.program)), true),
        (Comparison::Distinct, _, true) => negate(Program::IsNull(Box::new(right.program)), true),
        (Comparison::NotDistinct, true, _) => Program::IsNull(Box::new(left.program)),
        (Comparison::NotDistinct, _, true) => Program::IsNull(Box::new(right.program)),
        (Comparison::Distinct, ..) => Program::Literal(ScalarValue::Boolean(Some(false))),
        (Comparison::NotDistinct, ..) => Program::Literal(ScalarValue::Boolean(Some(true))),
        _ => {
            let text = |b: &Bound| if b.typed { b.program.to_string() } else { "NULL".to_string() };
            let (left, right) = (text(&left), text(&right));
            return Err(Error::statement(format!(
                "Comparison with NULL not supported: {left} {} {right}",
                op.symbol()
            ))
            .with_hint("use IS NULL or IS DISTINCT FROM"));
        }
    };
    Ok(Bound::new(program, SqlType::Boolean))
}

/// ROWTIME, WINDOWSTART and WINDOWEND are BIGINT, but text beside them is read as a timestamp.
pub fn is_time_column(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    };
    name.is_some_and(|n| [pseudo::ROWTIME, pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&n.value.as_str()))
}

fn magic_timestamps(left: Bound, right: Bound) -> Result<(Bound, Bound)> {
    let side = |bound: Bound, other: Option<SqlType>| match bound.literal() {
        Some(ScalarValue::Utf8(Some(text))) if other == Some(SqlType::Bigint) => match parse_timestamp(text) {
            Some(ms) => Ok(Bound::new(Program::Literal(ScalarValue::Int64(Some(ms))), SqlType::Bigint)),
            None => Err(Error::statement(format!("Failed to parse timestamp '{text}'")).with_hint(
                "Required format is: \"yyyy-MM-dd'T'HH:mm:ss.SSS\", with an optional numeric 4-digit timezone. \
                 Partials are also supported, for example \"2020-05-26\"",
            )),
        },
        _ => Ok(bound),
    };
    let (x, y) = (left.ty.clone(), right.ty.clone());
    Ok((side(left, y)?, side(right, x)?))
}

fn name(op: Comparison) -> &'static str {
    match op {
        Comparison::Equal => "EQUAL",
        Comparison::NotEqual => "NOT_EQUAL",
        Comparison::Less => "LESS_THAN",
        Comparison::LessOrEqual => "LESS_THAN_OR_EQUAL",
        Comparison::Greater => "GREATER_THAN",
        Comparison::GreaterOrEqual => "GREATER_THAN_OR_EQUAL",
        Comparison::Distinct => "IS_DISTINCT_FROM",
        Comparison::NotDistinct => "IS_NOT_DISTINCT_FROM",
    }
}
