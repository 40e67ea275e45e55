//! SELECT without EMIT from a table that a query keeps up to date: which keys and windows its WHERE asks for.
//!
//! ```text
//! WHERE ID = 'a' AND WINDOWSTART >= 60000     key lookup, windows from 60000 on
//! WHERE ID IN ('a', 'b') OR ID = 'c'          key lookup of three keys
//! WHERE ID >= 'a'                             key range
//! WHERE N > 5                                 full scan of state
//! ```
//!
//! What is found is looked at by the whole WHERE once more: an access may find too much, never too little. Conditions are
//! brought into alternatives (OR) of parts (AND); whatever cannot be read that way asks for everything.
//!
//! `ksql.query.pull.table.scan.enabled = false` refuses what is no lookup, in ksqlDB's words and by its rules.

mod rules;

use crate::catalog::{Catalog, Source};
use crate::error::{Error, Result};
use crate::functions::aggregate::is_aggregate_name;
use crate::parse::statement::{Select, SelectItem};
use crate::plan::nodes::Sink;
use crate::plan::scalar::{self, Boundary};
use crate::plan::select::context::Purpose;
use crate::plan::select::inner::relations::Relations;
use crate::plan::select::scope::Names;
use crate::plan::select::{self, expression};
use crate::plan::{Settings, formats};
use crate::types::{Column, SqlType, pseudo};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::{BinaryOperator, Expr, Function, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// More alternatives than this are not written out: the table is scanned.
const ALTERNATIVES_MAX: usize = 10_000;

/// A query over a table's committed rows.
#[derive(Clone, Debug)]
pub struct PullPlan {
    /// The bound plan, a Sink at its root.
    pub logical: LogicalPlan,
    /// Columns of the result, in order.
    pub columns: Vec<Column>,
    /// Rows after which it ends.
    pub limit: Option<u64>,
    /// The table.
    pub source: Arc<Source>,
    /// Where its rows are looked for.
    pub access: Access,
    /// A lookup of one key by literals alone: for each key column the condition that says so, by its place in WHERE, and
    /// the literal. Such a condition needs no second look, and with other literals the query is planned already.
    pub literals: Option<Vec<(usize, Literal)>>,
}

/// A literal as it is written in the statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// A whole number without a sign: its digits.
    Number(String),
    /// The text between single quotes; a doubled quote is read as one.
    Text(String),
}

/// Where rows are looked for.
#[derive(Clone, Debug)]
pub enum Access {
    /// At these keys, one value a key column.
    Keys(Vec<(Vec<ScalarValue>, WindowBounds)>),
    /// Among all keys, of which a range is asked for: the only key column is not below the one and not above the other.
    Range((Option<ScalarValue>, Option<ScalarValue>), WindowBounds),
    /// Among all rows.
    Scan(WindowBounds),
}

impl Access {
    /// For EXPLAIN.
    pub fn name(&self) -> &'static str {
        match self {
            Access::Keys(_) => "key lookup",
            Access::Range(..) => "key range",
            Access::Scan(_) => "full scan of state",
        }
    }
}

/// Which windows are asked for; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowBounds {
    /// Their starts.
    pub start: (i64, i64),
    /// Their ends.
    pub end: (i64, i64),
}

impl WindowBounds {
    /// Every window.
    pub const ALL: WindowBounds = WindowBounds { start: (i64::MIN, i64::MAX), end: (i64::MIN, i64::MAX) };

    /// Those of both.
    pub fn and(self, other: WindowBounds) -> WindowBounds {
        let both = |a: (i64, i64), b: (i64, i64)| (a.0.max(b.0), a.1.min(b.1));
        WindowBounds { start: both(self.start, other.start), end: both(self.end, other.end) }
    }

    /// At least those of either.
    pub fn or(self, other: WindowBounds) -> WindowBounds {
        let either = |a: (i64, i64), b: (i64, i64)| (a.0.min(b.0), a.1.max(b.1));
        WindowBounds { start: either(self.start, other.start), end: either(self.end, other.end) }
    }

    /// Is a window with these bounds asked for?
    pub fn has(&self, start: i64, end: i64) -> bool {
        let inside = |x: i64, (low, high): (i64, i64)| low <= x && x <= high;
        inside(start, self.start) && inside(end, self.end)
    }
}

/// Has the statement the shape of ksqlDB's pull queries?
pub fn is_pull_shape(select: &Select) -> bool {
    let plain = select.joins.is_empty() && select.window.is_none() && select.having.is_none() && select.is_plain();
    let item = |item: &SelectItem| matches!(item, SelectItem::Expr { expr, .. } if has_extended_call(expr));
    if select.qualify.is_some() || select.items.iter().any(item) {
        return false;
    }
    plain && select.group_by.is_empty() && select.partition_by.is_empty() && select.emit.is_none()
}

/// The expression calls what ksqlDB does not have: an aggregate of DataFusion, or one with FILTER, DISTINCT or OVER.
fn has_extended_call(expr: &Expr) -> bool {
    let extended =
        |f: &Function| expression::arguments(f).is_none() || !is_aggregate_name(&expression::function_name(f));
    !expression::over_calls(expr).is_empty() || expression::aggregates(expr).iter().any(extended)
}

/// Plans a SELECT of that shape from a table.
pub fn pull_query(select: &Select, catalog: &Catalog, settings: &Settings) -> Result<PullPlan> {
    let bound = select::bind(select, Purpose::Batch, &Relations::of_catalog(catalog, settings))?;
    check_settings(select, settings)?;
    if settings.strict {
        check_strictly(select, &bound.value)?;
    }
    let alias = &select.from.alias.as_ref().unwrap_or(&select.from.name).value;
    let source = bound.source.clone();
    let filter = select.filter.as_ref().map(|filter| expression::normal(filter, alias));
    let reader = Reader { source: &source, names: Names::new("WHERE", alias) };
    if !settings.pull_scan {
        reader.check(filter.as_ref(), settings)?;
    }
    if settings.strict {
        filter.iter().try_for_each(|filter| reader.check_keys(filter))?;
    }
    let access = reader.access(filter.as_ref());
    let literals = match (&access, &filter) {
        (Access::Keys(keys), Some(filter)) if keys.len() == 1 => reader.literals(filter, &keys[0].0),
        _ => None,
    };
    let columns = (vec![], bound.value.clone());
    let logical = Sink::plan(None, columns, bound.window, bound.table, None, bound.plan);
    Ok(PullPlan { logical, columns: bound.value, limit: select.limit, source, access, literals })
}

/// What ksqlDB's settings forbid to any query without EMIT.
pub(super) fn check_settings(select: &Select, settings: &Settings) -> Result<()> {
    match select.limit.is_some() && !settings.pull_limit {
        false => Ok(()),
        true => Err(Error::statement(
            "LIMIT clause in pull queries is currently disabled. You can enable them by setting \
             ksql.query.pull.limit.clause.enabled=true. See https://cnfl.io/queries for more info.\nAdd EMIT CHANGES if \
             you intended to issue a push query.",
        )),
    }
}

/// What ksqlDB's own queries do not select: a column twice, or the place of a record.
pub(super) fn check_strictly(select: &Select, columns: &[Column]) -> Result<()> {
    let item = |item: &SelectItem| match item {
        SelectItem::Expr { expr, .. } => expression::columns_outside_aggregates(expr),
        _ => Vec::new(),
    };
    let selected: Vec<String> = select.items.iter().flat_map(item).collect();
    let filtered = select.filter.as_ref().map(expression::columns_outside_aggregates).unwrap_or_default();
    for (clause, named) in [("SELECT", selected), ("WHERE", filtered)] {
        let places = [pseudo::ROWPARTITION, pseudo::ROWOFFSET];
        let found: Vec<_> = places.iter().filter(|p| named.iter().any(|n| n == *p)).map(|p| format!("`{p}`")).collect();
        if !found.is_empty() {
            return Err(Error::statement(format!(
                "Pull queries don't support the following columns in {clause} clauses: {}\n See https://cnfl.io/queries for more \
                 info.\nAdd EMIT CHANGES if you intended to issue a push query.",
                found.join(", ")
            )));
        }
    }
    let twice = |c: &&Column| columns.iter().filter(|other| other.name == c.name).count() > 1;
    let mut twice: Vec<Column> = columns.iter().filter(twice).cloned().collect();
    twice.dedup_by(|a, b| a.name == b.name);
    match twice.is_empty() {
        true => Ok(()),
        false => Err(Error::statement(format!("Duplicate value columns found in schema: {}", formats::list(&twice)))),
    }
}

/// The error for a table that no query keeps.
pub fn not_queryable(source: &Source) -> Error {
    let name = &source.name;
    Error::statement(format!(
        "The `{name}` table isn't queryable. To derive a queryable table, you can do 'CREATE TABLE QUERYABLE_{name} AS \
         SELECT * FROM {name}'. See https://cnfl.io/queries for more info.\nAdd EMIT CHANGES if you intended to issue a \
         push query."
    ))
    .with_hint("SET 'tidegate.dialect' = 'tidegate' reads the table's topic")
}

/// One alternative of a WHERE: what it says of the key and the window.
#[derive(Clone, Debug)]
struct Alternative {
    /// By key column.
    keys: Vec<Option<ScalarValue>>,
    /// What comparisons that are no equalities say, by key column.
    ranges: Vec<Range>,
    windows: WindowBounds,
}

/// Bounds of a key column, both ends belong to it.
#[derive(Clone, Debug, Default)]
struct Range {
    /// Comparisons, those that cannot be read among them.
    asked: usize,
    low: Option<ScalarValue>,
    high: Option<ScalarValue>,
}

impl Range {
    /// Both hold: one of the two bounds will do.
    fn and(&self, other: &Range) -> Range {
        let either = |a: &Option<ScalarValue>, b: &Option<ScalarValue>| a.clone().or_else(|| b.clone());
        Range {
            asked: self.asked + other.asked,
            low: either(&self.low, &other.low),
            high: either(&self.high, &other.high),
        }
    }
}

struct Reader<'a> {
    source: &'a Source,
    names: Names,
}

impl Reader<'_> {
    fn open(&self) -> Alternative {
        let keys = self.source.schema.key.len();
        Alternative { keys: vec![None; keys], ranges: vec![Range::default(); keys], windows: WindowBounds::ALL }
    }

    fn access(&self, filter: Option<&Expr>) -> Access {
        let all = match filter {
            Some(filter) => self.alternatives(filter),
            None => vec![self.open()],
        };
        let windows = all.iter().map(|a| a.windows).reduce(WindowBounds::or).unwrap_or(WindowBounds::ALL);
        let bound: Option<Vec<_>> =
            all.iter().map(|a| Some((a.keys.iter().cloned().collect::<Option<_>>()?, a.windows))).collect();
        match bound {
            Some(keys) => Access::Keys(keys),
            None if self.source.schema.key.len() == 1
                && all.iter().all(|a| a.ranges[0].asked > 0 || a.keys[0].is_some()) =>
            {
                Access::Range(hull(&all), windows)
            }
            None => Access::Scan(windows),
        }
    }

    /// The literals that the whole key equals, each with its condition; they are what is looked up.
    fn literals(&self, filter: &Expr, keys: &[ScalarValue]) -> Option<Vec<(usize, Literal)>> {
        let parts = expression::conjuncts(filter);
        let of = |(column, value): (&Column, &ScalarValue)| {
            let equal = |part: &&Expr| match part {
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right }
                    if expression::as_name(left) == Some(&column.name) =>
                {
                    literal(right, &column.ty)
                }
                _ => None,
            };
            let found = parts.iter().enumerate().find_map(|(at, part)| Some((at, equal(part)?)));
            found.filter(|(_, literal)| value_of(literal, &column.ty).as_ref() == Some(value))
        };
        self.source.schema.key.iter().zip(keys).map(of).collect()
    }

    /// The condition as alternatives; what cannot be read says nothing.
    fn alternatives(&self, expr: &Expr) -> Vec<Alternative> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                let (left, right) = (self.alternatives(left), self.alternatives(right));
                match left.len().saturating_mul(right.len()) {
                    n if n > ALTERNATIVES_MAX => vec![self.open()],
                    _ => left.iter().flat_map(|l| right.iter().map(|r| both(l, r))).collect(),
                }
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                let mut all = self.alternatives(left);
                all.extend(self.alternatives(right));
                if all.len() > ALTERNATIVES_MAX { vec![self.open()] } else { all }
            }
            Expr::BinaryOp { left, op, right } => vec![self.comparison(left, op, right)],
            Expr::InList { expr, list, negated: false } if list.len() <= ALTERNATIVES_MAX => {
                list.iter().map(|item| self.comparison(expr, &BinaryOperator::Eq, item)).collect()
            }
            Expr::Between { expr, negated: false, low, high } => {
                let low = self.comparison(expr, &BinaryOperator::GtEq, low);
                vec![both(&low, &self.comparison(expr, &BinaryOperator::LtEq, high))]
            }
            _ => vec![self.open()],
        }
    }

    fn comparison(&self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Alternative {
        let (name, op, other) = match (expression::as_name(left), expression::as_name(right)) {
            (Some(name), _) if is_constant(right) => (name, op.clone(), right),
            (_, Some(name)) if is_constant(left) => (name, mirrored(op), left),
            _ => return self.open(),
        };
        let mut said = self.open();
        if let Some(at) = self.source.schema.key.iter().position(|c| c.name == name) {
            match op {
                BinaryOperator::Eq => said.keys[at] = self.key_value(other, &self.source.schema.key[at].ty),
                BinaryOperator::Gt | BinaryOperator::GtEq | BinaryOperator::Lt | BinaryOperator::LtEq => {
                    let value = self.key_value(other, &self.source.schema.key[at].ty);
                    let (low, high) = match op {
                        BinaryOperator::Gt | BinaryOperator::GtEq => (value, None),
                        _ => (None, value),
                    };
                    said.ranges[at] = Range { asked: 1, low, high };
                }
                _ => {}
            }
        } else if self.source.window.is_some()
            && [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&name)
            && let Ok(ScalarValue::Int64(Some(ms))) = scalar::constant(other, &SqlType::Bigint)
        {
            let range = match op {
                BinaryOperator::Eq => (ms, ms),
                BinaryOperator::Gt => (ms.saturating_add(1), i64::MAX),
                BinaryOperator::GtEq => (ms, i64::MAX),
                BinaryOperator::Lt => (i64::MIN, ms.saturating_sub(1)),
                BinaryOperator::LtEq => (i64::MIN, ms),
                _ => (i64::MIN, i64::MAX),
            };
            match name == pseudo::WINDOWSTART {
                true => said.windows.start = range,
                false => said.windows.end = range,
            }
        }
        said
    }

    /// The one value of a key column that equals the constant; `None` where that is not sure.
    fn key_value(&self, constant: &Expr, ty: &SqlType) -> Option<ScalarValue> {
        let own = scalar::bind(constant, &self.names, Boundary::GroupBy).ok()?.ty;
        let fits = match ty {
            SqlType::Integer | SqlType::Bigint => matches!(own, SqlType::Integer | SqlType::Bigint),
            // 0.0 equals -0.0, whose bytes differ.
            SqlType::Double | SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => false,
            other => own == *other,
        };
        scalar::constant(constant, ty).ok().filter(|value| fits && !value.is_null())
    }
}

/// A literal of just the column's type.
fn literal(expr: &Expr, ty: &SqlType) -> Option<Literal> {
    let Expr::Value(value) = expr else { return None };
    match (&value.value, ty) {
        (Value::SingleQuotedString(text), SqlType::String) => Some(Literal::Text(text.clone())),
        (Value::Number(digits, _), SqlType::Integer | SqlType::Bigint) => {
            let digits = digits.to_string();
            value_of(&Literal::Number(digits.clone()), ty).map(|_| Literal::Number(digits))
        }
        _ => None,
    }
}

/// The value of a literal in a column of this type; `None` if it is none.
pub fn value_of(literal: &Literal, ty: &SqlType) -> Option<ScalarValue> {
    match (literal, ty) {
        (Literal::Text(text), SqlType::String) => Some(ScalarValue::Utf8(Some(text.clone()))),
        (Literal::Number(digits), SqlType::Integer) => Some(ScalarValue::Int32(Some(digits.parse().ok()?))),
        (Literal::Number(digits), SqlType::Bigint) => Some(ScalarValue::Int64(Some(digits.parse().ok()?))),
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    expression::columns_outside_aggregates(expr).is_empty()
}

fn mirrored(op: &BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        other => other.clone(),
    }
}

/// The range of the only key column in which all alternatives lie.
fn hull(all: &[Alternative]) -> (Option<ScalarValue>, Option<ScalarValue>) {
    let outermost = |bound: fn(&Range) -> &Option<ScalarValue>, wanted: Ordering| {
        let mut bounds = all.iter().map(|a| a.keys[0].as_ref().or(bound(&a.ranges[0]).as_ref()));
        let first = bounds.next()??;
        let outer = |outer, bound: Option<_>| {
            let bound: &ScalarValue = bound?;
            Some(if bound.partial_cmp(outer)? == wanted { bound } else { outer })
        };
        bounds.try_fold(first, outer).cloned()
    };
    (outermost(|range| &range.low, Ordering::Less), outermost(|range| &range.high, Ordering::Greater))
}

fn both(left: &Alternative, right: &Alternative) -> Alternative {
    let keys = left.keys.iter().zip(&right.keys).map(|(l, r)| l.clone().or_else(|| r.clone()));
    let ranges = left.ranges.iter().zip(&right.ranges).map(|(l, r)| l.and(r));
    Alternative { keys: keys.collect(), ranges: ranges.collect(), windows: left.windows.and(right.windows) }
}
