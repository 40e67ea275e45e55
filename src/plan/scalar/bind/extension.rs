//! What standard SQL has and ksqlDB's grammar lacks ([`crate::plan::extensions`]), in terms of what is there.
//!
//! ```text
//! v ILIKE 'a%'                  LCASE(v) LIKE LCASE('a%')
//! b IS NOT TRUE                 b IS DISTINCT FROM TRUE
//! ts + INTERVAL '1' HOUR        TIMESTAMPADD(HOURS, 1, ts)
//! EXTRACT(YEAR FROM ts)         date_part('year', ts)
//! v !~* '^a.c$'                 NOT regexp_like(v, '^a.c$', 'i')
//! ```

use super::{Binder, Bound, literal};
use crate::error::{Error, Result};
use crate::functions::months::add_months;
use crate::plan::scalar::{Arithmetic, Comparison, Program};
use crate::types::SqlType;
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use sqlparser::ast::{BinaryOperator, DateTimeField, Expr, Interval, TrimWhereField, Value, ValueWithSpan};
use std::sync::Arc;

/// Units of an INTERVAL, and how many milliseconds they have; months and years have no fixed number.
const UNITS: [(&str, Option<i64>); 9] = [
    ("MILLISECONDS", Some(1)),
    ("SECONDS", Some(1_000)),
    ("MINUTES", Some(60_000)),
    ("HOURS", Some(3_600_000)),
    ("DAYS", Some(86_400_000)),
    ("WEEKS", Some(7 * 86_400_000)),
    ("MONTHS", None),
    ("QUARTERS", None),
    ("YEARS", None),
];

impl Binder<'_> {
    /// An expression that only standard SQL has.
    pub(super) fn extension(&mut self, expr: &Expr) -> Result<Bound> {
        match expr {
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                let lower = |expr: &Expr| called("LCASE", &[expr]);
                self.like(&lower(expr), &lower(pattern), escape_char.as_ref(), *negated)
            }
            Expr::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(expr, pattern, escape_char.as_ref(), *negated)
            }
            Expr::IsTrue(e) => self.truth(e, Comparison::NotDistinct, true),
            Expr::IsNotTrue(e) => self.truth(e, Comparison::Distinct, true),
            Expr::IsFalse(e) => self.truth(e, Comparison::NotDistinct, false),
            Expr::IsNotFalse(e) => self.truth(e, Comparison::Distinct, false),
            Expr::IsUnknown(e) => {
                let operand = self.boolean("IS UNKNOWN", e)?;
                Ok(Bound::new(Program::IsNull(Box::new(operand)), SqlType::Boolean))
            }
            Expr::IsNotUnknown(e) => {
                let operand = self.boolean("IS NOT UNKNOWN", e)?;
                Ok(Bound::new(Program::Not(Box::new(Program::IsNull(Box::new(operand)))), SqlType::Boolean))
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let args = vec![self.argument(timestamp)?, text("UTC"), self.argument(time_zone)?];
                self.resolved("CONVERT_TZ", args)
            }
            Expr::Position { expr, r#in } => {
                let args = vec![self.argument(r#in)?, self.argument(expr)?];
                self.resolved("INSTR", args)
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let all = [Some(expr), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()];
                let args = all.into_iter().flatten().map(|e| self.argument(e)).collect::<Result<Vec<_>>>()?;
                self.resolved("OVERLAY", args)
            }
            Expr::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "BTRIM",
                    Some(TrimWhereField::Leading) => "LTRIM",
                    Some(TrimWhereField::Trailing) => "RTRIM",
                };
                let all = [Some(expr), trim_what.as_ref()];
                let args = all.into_iter().flatten().map(|e| self.argument(e)).collect::<Result<Vec<_>>>()?;
                self.resolved(name, args)
            }
            Expr::Extract { field, expr, .. } => {
                let args = vec![text(&part(field)?), self.argument(expr)?];
                self.resolved("DATE_PART", args)
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                let is_there = Expr::IsNotNull(left.clone());
                let found = called("ARRAY_CONTAINS", &[&**right, &**left]);
                let both = BinaryOperator::And;
                self.expr(&Expr::BinaryOp { left: Box::new(is_there), op: both, right: Box::new(found) })
            }
            Expr::AnyOp { compare_op, .. } | Expr::AllOp { compare_op, .. } => {
                Err(Error::statement(format!("{compare_op} ANY and ALL compare with the values of a query"))
                    .with_hint("= ANY takes an array, too; FILTER(array, x => x > 1) keeps elements by a condition"))
            }
            Expr::Interval(_) => Err(Error::statement(format!("{expr} is no value by itself"))
                .with_hint("add it to a TIMESTAMP, DATE or TIME, or subtract it from one")),
            Expr::Tuple(_) => Err(Error::statement(format!("several values in parentheses are no value: {expr}"))
                .with_hint("they are compared with another such row, or by IN with a list of them or a query")),
            other => Err(Error::statement(format!("expression is not supported: {other}"))),
        }
    }

    /// An operator that only Postgres has.
    pub(super) fn extension_operator(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Bound> {
        use BinaryOperator::{PGRegexIMatch, PGRegexMatch, PGRegexNotIMatch, PGRegexNotMatch};
        let (is_any_case, negated) = match op {
            PGRegexMatch => (false, false),
            PGRegexIMatch => (true, false),
            PGRegexNotMatch => (false, true),
            PGRegexNotIMatch => (true, true),
            other => return Err(Error::statement(format!("operator {other} is not supported"))),
        };
        let mut args = vec![self.argument(left)?, self.argument(right)?];
        args.extend(is_any_case.then(|| text("i")));
        self.regex(args, negated)
    }

    fn regex(&mut self, args: Vec<Bound>, negated: bool) -> Result<Bound> {
        let matched = self.resolved("REGEXP_LIKE", args)?;
        Ok(match negated {
            true => Bound::new(Program::Not(Box::new(matched.program)), SqlType::Boolean),
            false => matched,
        })
    }

    /// `b IS [NOT] TRUE`: never NULL.
    fn truth(&mut self, expr: &Expr, op: Comparison, value: bool) -> Result<Bound> {
        let operand = Bound::new(self.boolean(if value { "IS TRUE" } else { "IS FALSE" }, expr)?, SqlType::Boolean);
        let value = Bound::new(Program::Literal(ScalarValue::Boolean(Some(value))), SqlType::Boolean);
        self.compared(op, operand, value, false)
    }

    fn similar(&mut self, expr: &Expr, pattern: &Expr, escape: Option<&ValueWithSpan>, negated: bool) -> Result<Bound> {
        let (Expr::Value(value), None) = (pattern, escape) else {
            return Err(Error::statement("SIMILAR TO needs a constant pattern, without ESCAPE"));
        };
        let Value::SingleQuotedString(pattern) = &value.value else {
            return Err(Error::statement("the pattern of SIMILAR TO is a text"));
        };
        let args = vec![self.argument(expr)?, text(&regex_of(pattern))];
        self.regex(args, negated)
    }

    /// `time + INTERVAL`, `time - INTERVAL`, `INTERVAL + time`; `None` = neither side is an INTERVAL.
    pub(super) fn moved(&mut self, op: Arithmetic, left: &Expr, right: &Expr) -> Result<Option<Bound>> {
        let (time, interval) = match (unnested(left), unnested(right)) {
            (_, Expr::Interval(interval)) => (left, interval),
            (Expr::Interval(interval), _) if op == Arithmetic::Add => (right, interval),
            _ => return Ok(None),
        };
        let sign = match op {
            Arithmetic::Add => 1,
            Arithmetic::Subtract => -1,
            _ => return Err(Error::statement("an INTERVAL is only added and subtracted")),
        };
        let mut value = self.expr(time)?;
        for (number, (unit, ms)) in parts(interval)? {
            let number = sign * number;
            let add = match (&value.ty, ms) {
                (Some(SqlType::Timestamp), _) => "TIMESTAMPADD",
                (Some(SqlType::Date), _) => "DATEADD",
                (Some(SqlType::Time), _) => "TIMEADD",
                // ROWTIME, WINDOWSTART and WINDOWEND.
                (Some(SqlType::Bigint), Some(ms)) if super::is_time_column(time) => {
                    let by = ScalarValue::Int64(Some(number.saturating_mul(ms)));
                    let by = Box::new(Program::Literal(by));
                    let ty = SqlType::Bigint;
                    let sum = Program::Arithmetic { op: Arithmetic::Add, left: Box::new(value.program), right: by, ty };
                    value = Bound::new(sum, SqlType::Bigint);
                    continue;
                }
                (ty, _) => {
                    let ty = ty.as_ref().map_or("null".to_owned(), SqlType::to_string);
                    return Err(Error::statement(format!("an INTERVAL cannot be added to {ty}"))
                        .with_hint("FROM_UNIXTIME makes a TIMESTAMP of milliseconds"));
                }
            };
            let (unit, number) = match unit {
                "WEEKS" => ("DAYS", number.saturating_mul(7)),
                "QUARTERS" => ("MONTHS", number.saturating_mul(3)),
                "YEARS" => ("MONTHS", number.saturating_mul(12)),
                unit => (unit, number),
            };
            let number = i32::try_from(number).map_err(|_| Error::statement("an INTERVAL is too long"))?;
            if unit == "MONTHS" {
                value = self.months_later(value, number)?;
                continue;
            }
            let (number, ty) = literal::number(&number.to_string())?;
            let args = vec![text(unit), Bound::new(Program::Literal(number), ty), self.guarded_argument(value)];
            value = self.resolved(add, args)?;
        }
        Ok(Some(value))
    }
}

impl Binder<'_> {
    fn months_later(&mut self, time: Bound, months: i32) -> Result<Bound> {
        let Some(ty @ (SqlType::Timestamp | SqlType::Date)) = time.ty.clone() else {
            return Err(Error::statement("months and years are only added to a TIMESTAMP or a DATE"));
        };
        let time = self.guarded_argument(time).program;
        let args = vec![time, Program::Literal(ScalarValue::Int32(Some(months)))];
        let returns = Arc::new(Field::new("add_months", ty.arrow(), true));
        Ok(Bound::new(Program::Native { function: add_months(), args, returns, ty: ty.clone() }, ty))
    }
}

fn unnested(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

fn text(text: &str) -> Bound {
    Bound::new(Program::Literal(ScalarValue::Utf8(Some(text.to_owned()))), SqlType::String)
}

fn called(name: &str, args: &[&Expr]) -> Expr {
    let argument =
        |expr: &&Expr| sqlparser::ast::FunctionArg::Unnamed(sqlparser::ast::FunctionArgExpr::Expr((*expr).clone()));
    let args = args.iter().map(argument).collect();
    let list = sqlparser::ast::FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(sqlparser::ast::Function {
        name: sqlparser::ast::ObjectName::from(vec![sqlparser::ast::Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: sqlparser::ast::FunctionArguments::None,
        args: sqlparser::ast::FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The name of a part of a time.
fn part(field: &DateTimeField) -> Result<String> {
    let name = field.to_string().to_lowercase();
    match name.as_str() {
        "year" | "quarter" | "month" | "week" | "day" | "hour" | "minute" | "second" | "millisecond" | "epoch"
        | "dow" | "doy" | "isodow" | "isoyear" => Ok(name),
        "milliseconds" => Ok("millisecond".to_owned()),
        "dayofweek" => Ok("dow".to_owned()),
        "dayofyear" => Ok("doy".to_owned()),
        _ => Err(Error::statement(format!("EXTRACT does not know {field}")).with_hint(
            "YEAR, QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, MINUTE, SECOND and EPOCH are parts of a time",
        )),
    }
}

/// A unit's name, and its milliseconds if they are fixed.
type Unit = (&'static str, Option<i64>);

/// `INTERVAL '1' DAY`, `INTERVAL 5 MINUTES`, `INTERVAL '1 day 2 hours'`.
fn parts(interval: &Interval) -> Result<Vec<(i64, Unit)>> {
    let wrong = || {
        Error::statement(format!("{interval} is no length of time"))
            .with_hint("INTERVAL '90' MINUTE or INTERVAL '1 day 2 hours'")
    };
    let text = match &*interval.value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(number, _) => number.clone(),
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return Err(wrong());
    }
    let unit_of = |word: &str| {
        let plural = format!("{}S", word.to_uppercase().trim_end_matches('S'));
        UNITS.into_iter().find(|(unit, _)| *unit == plural)
    };
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let field = interval.leading_field.as_ref().map(ToString::to_string);
    if let Some(field) = &field {
        words.push(field);
    }
    let mut all = Vec::new();
    for pair in words.chunks(2) {
        let [number, unit] = pair else { return Err(wrong()) };
        let number = number.parse::<i64>().map_err(|_| wrong())?;
        all.push((number, unit_of(unit).ok_or_else(wrong)?));
    }
    if all.is_empty() { Err(wrong()) } else { Ok(all) }
}

/// The milliseconds of an INTERVAL; months and years have no fixed number of them.
pub(in crate::plan) fn interval_millis(interval: &Interval) -> Result<Option<i64>> {
    let mut sum = 0_i64;
    for (number, (_, ms)) in parts(interval)? {
        let Some(ms) = ms else { return Ok(None) };
        sum = sum.saturating_add(number.saturating_mul(ms));
    }
    Ok(Some(sum))
}

/// The regular expression of a pattern of SIMILAR TO: `%` and `_` as in LIKE, `|`, `*`, `+`, `?`, `{}`, `()` and `[]` as there.
fn regex_of(pattern: &str) -> String {
    let mut regex = String::from("^(?:");
    for c in pattern.chars() {
        match c {
            '%' => regex.push_str("(?s:.*)"),
            '_' => regex.push_str("(?s:.)"),
            '.' | '^' | '$' => regex.extend(['\\', c]),
            c => regex.push(c),
        }
    }
    regex.push_str(")$");
    regex
}
