//! Frames of windows: the rows beside a row that a window function looks at, checked before DataFusion sees them.
//!
//! ```text
//! ROWS, GROUPS BETWEEN 2 PRECEDING AND CURRENT ROW                 a whole number
//! ORDER BY n RANGE BETWEEN 1.5 PRECEDING AND CURRENT ROW           a number, of the type that is sorted by
//! ORDER BY ts RANGE BETWEEN INTERVAL '1' DAY PRECEDING AND ...     an INTERVAL, of a DATE or TIMESTAMP
//! ORDER BY ROWTIME RANGE BETWEEN INTERVAL '1' DAY PRECEDING ...    its milliseconds
//! ```
//!
//! DataFusion would read a distance in the type that is sorted by, whatever that is: a text, or an INTERVAL of numbers.

use crate::error::{Error, Result};
use crate::functions::aggregate::Literal;
use crate::parse::span_of;
use crate::plan::scalar::{self, interval_millis};
use crate::plan::select::expression;
use crate::types::SqlType;
use datafusion::logical_expr::WindowFrame;
use sqlparser::ast::{self, Expr, Value, WindowFrameBound as Bound, WindowFrameUnits as Units};

/// What rows are sorted by, as it was written, and its type.
pub(in crate::plan::select) type SortedBy<'a> = (&'a Expr, &'a SqlType);

/// The frame, over rows that are sorted by `keys`.
pub(in crate::plan::select) fn checked(frame: &ast::WindowFrame, keys: &[SortedBy<'_>]) -> Result<WindowFrame> {
    let mut frame = frame.clone();
    let end = frame.end_bound.clone().unwrap_or(Bound::CurrentRow);
    for bound in [&frame.start_bound, &end] {
        let Some(distance) = distance(bound) else { continue };
        let checked = match frame.units {
            Units::Rows | Units::Groups => whole(distance).map(|_| ()),
            Units::Range => within(distance, keys),
        };
        checked.map_err(|e| if e.span().is_some() { e } else { e.at_some(span_of(distance)) })?;
    }
    if place(&frame.start_bound, true) > place(&end, false) {
        return Err(Error::statement(format!("the frame ends before it begins: {}", text(&frame)))
            .with_hint("ROWS BETWEEN 2 PRECEDING AND CURRENT ROW names its bounds in the order of the rows"));
    }
    if let (Units::Range, [(key, SqlType::Bigint)]) = (frame.units, keys)
        && scalar::is_time_column(key)
    {
        frame.start_bound = in_millis(frame.start_bound);
        frame.end_bound = frame.end_bound.map(in_millis);
    }
    WindowFrame::try_from(frame.clone())
        .map_err(|e| Error::statement(format!("{} is no frame of rows", text(&frame))).because(e))
}

fn text(frame: &ast::WindowFrame) -> String {
    let end = frame.end_bound.as_ref().unwrap_or(&Bound::CurrentRow);
    format!("{} BETWEEN {} AND {end}", frame.units, frame.start_bound)
}

fn distance(bound: &Bound) -> Option<&Expr> {
    match bound {
        Bound::Preceding(distance) | Bound::Following(distance) => distance.as_deref(),
        Bound::CurrentRow => None,
    }
}

/// Where a bound is among the others: before, at and behind the row; of two distances on the same side the numbers decide.
fn place(bound: &Bound, is_start: bool) -> (i8, f64) {
    let number = |distance: &Expr| match distance {
        Expr::Interval(interval) => interval_millis(interval).ok().flatten().map_or(0.0, |ms| ms as f64),
        other => expression::text(other).parse().unwrap_or(0.0),
    };
    match bound {
        Bound::Preceding(None) => (if is_start { -2 } else { -3 }, 0.0),
        Bound::Preceding(Some(distance)) => (-1, -number(distance)),
        Bound::CurrentRow => (0, 0.0),
        Bound::Following(Some(distance)) => (1, number(distance)),
        Bound::Following(None) => (if is_start { 3 } else { 2 }, 0.0),
    }
}

/// A whole number that is written out.
fn number(distance: &Expr) -> Option<i64> {
    match expression::literal(distance) {
        Some(Literal::Integer(number)) => Some(number),
        _ => None,
    }
}

/// A number of rows or groups.
fn whole(distance: &Expr) -> Result<i64> {
    number(distance).filter(|number| *number >= 0).ok_or_else(|| {
        Error::statement(format!("{} is no number of rows", expression::text(distance)))
            .with_hint("a frame of ROWS or GROUPS counts them: ROWS BETWEEN 2 PRECEDING AND CURRENT ROW")
    })
}

/// A distance of RANGE is one between values of the key.
fn within(distance: &Expr, keys: &[SortedBy<'_>]) -> Result<()> {
    let [(key, ty)] = keys else {
        return Err(Error::statement("RANGE with a distance asks for ORDER BY one expression")
            .with_hint("ROWS and GROUPS count rows, whatever they are sorted by"));
    };
    let shown = expression::text(distance);
    let refused = |hint: &str| {
        Err(Error::statement(format!("{shown} is no distance between values of {} ({ty})", expression::text(key)))
            .with_hint(hint.to_owned()))
    };
    let interval = matches!(distance, Expr::Interval(_));
    match ty {
        SqlType::Date | SqlType::Timestamp if interval => positive(distance),
        SqlType::Date | SqlType::Timestamp => {
            refused("an INTERVAL is: RANGE BETWEEN INTERVAL '1' DAY PRECEDING AND ...")
        }
        SqlType::Bigint if interval && scalar::is_time_column(key) => positive(distance),
        SqlType::Integer | SqlType::Bigint => match number(distance) {
            Some(number) if number >= 0 => Ok(()),
            _ => refused("a whole number is: RANGE BETWEEN 10 PRECEDING AND CURRENT ROW"),
        },
        SqlType::Double | SqlType::Decimal(..) => match distance {
            Expr::Value(value) if matches!(value.value, Value::Number(..)) && fits(distance, ty) => Ok(()),
            _ => refused("a number is that has no more digits behind the point"),
        },
        _ => refused("RANGE measures between numbers, dates and timestamps; ROWS and GROUPS count rows"),
    }
}

/// Has the number no more digits behind the point than the type?
fn fits(distance: &Expr, ty: &SqlType) -> bool {
    let text = expression::text(distance);
    let digits = text.split_once('.').map_or(0, |(_, digits)| digits.trim_end_matches('0').len());
    match ty {
        SqlType::Decimal(_, scale) => !text.contains(['e', 'E']) && i64::from(*scale) >= digits as i64,
        _ => true,
    }
}

fn positive(distance: &Expr) -> Result<()> {
    let Expr::Interval(interval) = distance else { return Ok(()) };
    match interval_millis(interval)? {
        Some(ms) if ms < 0 => Err(Error::statement(format!("{} is below zero", expression::text(distance)))
            .with_hint("PRECEDING and FOLLOWING say in which direction it is")),
        _ => Ok(()),
    }
}

/// A bound of a time in milliseconds, where its INTERVAL has a fixed length.
fn in_millis(bound: Bound) -> Bound {
    let number = |distance: Option<Box<Expr>>| {
        distance.map(|distance| match &*distance {
            Expr::Interval(interval) => match interval_millis(interval) {
                Ok(Some(ms)) => Box::new(Expr::value(Value::Number(ms.to_string(), false))),
                _ => distance,
            },
            _ => distance,
        })
    };
    match bound {
        Bound::Preceding(distance) => Bound::Preceding(number(distance)),
        Bound::Following(distance) => Bound::Following(number(distance)),
        Bound::CurrentRow => Bound::CurrentRow,
    }
}
