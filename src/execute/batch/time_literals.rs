//! Text beside ROWTIME, WINDOWSTART and WINDOWEND is a timestamp, in any SQL: those columns are BIGINT, and few write
//! milliseconds by hand.
//!
//! ```text
//! ROWTIME BETWEEN '2026-11-20' AND '2026-11-21T12:00'     ROWTIME BETWEEN 1795132800000 AND 1795262400000
//! ```

use crate::error::{Error, Result};
use crate::plan::scalar::is_time_column;
use crate::types::temporal::parse_timestamp;
use sqlparser::ast::{BinaryOperator, Expr, Query, Value, visit_expressions_mut};
use std::ops::ControlFlow;

/// Puts numbers in the place of such texts.
pub(super) fn timestamps(query: &mut Query) -> Result<()> {
    let read = visit_expressions_mut(query, |expr| {
        let done = match expr {
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                let (of_left, of_right) = (is_time_column(right), is_time_column(left));
                number(left, of_left).and_then(|()| number(right, of_right))
            }
            Expr::Between { expr, low, high, .. } => {
                let is_time = is_time_column(expr);
                number(low, is_time).and_then(|()| number(high, is_time))
            }
            Expr::InList { expr, list, .. } => {
                let is_time = is_time_column(expr);
                list.iter_mut().try_for_each(|entry| number(entry, is_time))
            }
            _ => Ok(()),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    });
    match read {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn number(expr: &mut Expr, beside_time: bool) -> Result<()> {
    let Expr::Value(value) = expr else { return Ok(()) };
    let Value::SingleQuotedString(text) = &value.value else { return Ok(()) };
    if !beside_time {
        return Ok(());
    }
    let Some(ms) = parse_timestamp(text) else {
        return Err(Error::statement(format!("Failed to parse timestamp '{text}'"))
            .with_hint("write it as '2026-11-21T12:30:00', or the beginning of that"));
    };
    value.value = Value::Number(ms.to_string(), false);
    Ok(())
}
