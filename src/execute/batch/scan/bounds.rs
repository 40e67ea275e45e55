//! What a condition says about the places and times of records: how little of a topic has to be read for it.
//!
//! ```text
//! WHERE ROWTIME >= '2026-11-01' AND ROWPARTITION IN (1, 3) AND n > 5     times 1793491200000.., partitions 1..=3 of [1, 3]
//! WHERE ROWTIME < 5000 OR n > 5                                          everything
//! ```
//!
//! Bounds are never narrower than the condition, which is asked again of every row that was read. What is not understood
//! bounds nothing.

use crate::plan::nodes::table::Origin;
use crate::plan::scalar::{Comparison, Program};
use crate::types::SqlType;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use std::ops::RangeInclusive;

const ALL: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// Values that records may have. Empty where the start is behind the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub times: RangeInclusive<i64>,
    pub offsets: RangeInclusive<i64>,
    pub partitions: RangeInclusive<i64>,
}

impl Bounds {
    /// Any record.
    pub(crate) fn all() -> Bounds {
        Bounds { times: ALL, offsets: ALL, partitions: ALL }
    }

    /// What a program that is to be true says; `origin` says what the program's columns are.
    pub(crate) fn of_program(program: &Program, origin: &dyn Fn(usize) -> Option<Origin>) -> Bounds {
        let column = |p: &Program| match p {
            Program::Column { index, .. } => origin(*index),
            // A widening keeps the value.
            Program::Cast { value, from: SqlType::Integer, to: SqlType::Bigint } => match &**value {
                Program::Column { index, .. } => origin(*index),
                _ => None,
            },
            _ => None,
        };
        match program {
            Program::Guard { inner, .. } => Bounds::of_program(inner, origin),
            Program::And(left, right) => Bounds::of_program(left, origin).and(&Bounds::of_program(right, origin)),
            Program::Or(left, right) => Bounds::of_program(left, origin).or(&Bounds::of_program(right, origin)),
            Program::Compare { op, left, right } => {
                let Some(relation) = Relation::of(*op) else { return Bounds::all() };
                match (column(left), literal(right), column(right), literal(left)) {
                    (Some(origin), Some(value), ..) => Bounds::one(origin, relation.range(value)),
                    (.., Some(origin), Some(value)) => Bounds::one(origin, relation.turned().range(value)),
                    _ => Bounds::all(),
                }
            }
            Program::In { value, list } => {
                match (column(value), list.iter().map(literal).collect::<Option<Vec<_>>>()) {
                    (Some(origin), Some(list)) => Bounds::one(origin, hull(&list)),
                    _ => Bounds::all(),
                }
            }
            _ => Bounds::all(),
        }
    }

    /// The same of a condition in DataFusion's words; `origin` maps a column's name to its origin.
    pub(crate) fn of_expr(expr: &Expr, origin: &dyn Fn(&str) -> Option<Origin>) -> Bounds {
        let column = |e: &Expr| match e {
            Expr::Column(column) => origin(&column.name),
            Expr::Cast(cast) if *cast.field.data_type() == DataType::Int64 => match &*cast.expr {
                Expr::Column(column) => origin(&column.name),
                _ => None,
            },
            _ => None,
        };
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Bounds::of_expr(left, origin).and(&Bounds::of_expr(right, origin))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Bounds::of_expr(left, origin).or(&Bounds::of_expr(right, origin))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let Some(relation) = Relation::of_operator(*op) else { return Bounds::all() };
                match (column(left), constant(right), column(right), constant(left)) {
                    (Some(origin), Some(value), ..) => Bounds::one(origin, relation.range(value)),
                    (.., Some(origin), Some(value)) => Bounds::one(origin, relation.turned().range(value)),
                    _ => Bounds::all(),
                }
            }
            Expr::Between(Between { expr, negated: false, low, high }) => {
                match (column(expr), constant(low), constant(high)) {
                    (Some(origin), Some(low), Some(high)) => Bounds::one(origin, low..=high),
                    _ => Bounds::all(),
                }
            }
            Expr::InList(list) if !list.negated => {
                match (column(&list.expr), list.list.iter().map(constant).collect::<Option<Vec<_>>>()) {
                    (Some(origin), Some(values)) => Bounds::one(origin, hull(&values)),
                    _ => Bounds::all(),
                }
            }
            _ => Bounds::all(),
        }
    }

    /// Does it say anything?
    pub(crate) fn is_all(&self) -> bool {
        *self == Bounds::all()
    }

    /// As conditions; empty for any record.
    pub(crate) fn in_words(&self) -> String {
        let parts = [("ROWTIME", &self.times), ("ROWPARTITION", &self.partitions), ("ROWOFFSET", &self.offsets)];
        let one = |(name, range): (&str, &RangeInclusive<i64>)| match (*range.start(), *range.end()) {
            (i64::MIN, i64::MAX) => None,
            (first, last) if first > last => Some(format!("no {name}")),
            (first, last) if first == last => Some(format!("{name} = {first}")),
            (i64::MIN, last) => Some(format!("{name} <= {last}")),
            (first, i64::MAX) => Some(format!("{name} >= {first}")),
            (first, last) => Some(format!("{name} {first} to {last}")),
        };
        parts.into_iter().filter_map(one).collect::<Vec<_>>().join(", ")
    }

    fn one(origin: Origin, range: RangeInclusive<i64>) -> Bounds {
        match origin {
            Origin::Rowtime => Bounds { times: range, ..Bounds::all() },
            Origin::Offset => Bounds { offsets: range, ..Bounds::all() },
            Origin::Partition => Bounds { partitions: range, ..Bounds::all() },
            _ => Bounds::all(),
        }
    }

    /// Both hold.
    pub(crate) fn and(&self, other: &Bounds) -> Bounds {
        let both = |a: &RangeInclusive<i64>, b: &RangeInclusive<i64>| *a.start().max(b.start())..=*a.end().min(b.end());
        self.each(other, both)
    }

    /// One of them holds.
    fn or(&self, other: &Bounds) -> Bounds {
        let either = |a: &RangeInclusive<i64>, b: &RangeInclusive<i64>| match (a.is_empty(), b.is_empty()) {
            (true, _) => b.clone(),
            (_, true) => a.clone(),
            _ => *a.start().min(b.start())..=*a.end().max(b.end()),
        };
        self.each(other, either)
    }

    fn each(
        &self,
        other: &Bounds,
        made: impl Fn(&RangeInclusive<i64>, &RangeInclusive<i64>) -> RangeInclusive<i64>,
    ) -> Bounds {
        Bounds {
            times: made(&self.times, &other.times),
            offsets: made(&self.offsets, &other.offsets),
            partitions: made(&self.partitions, &other.partitions),
        }
    }
}

/// How a column compares with a constant.
#[derive(Clone, Copy, Debug)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    fn of(op: Comparison) -> Option<Relation> {
        Some(match op {
            Comparison::Equal | Comparison::NotDistinct => Relation::Equal,
            Comparison::Less => Relation::Less,
            Comparison::LessOrEqual => Relation::LessOrEqual,
            Comparison::Greater => Relation::Greater,
            Comparison::GreaterOrEqual => Relation::GreaterOrEqual,
            Comparison::NotEqual | Comparison::Distinct => return None,
        })
    }

    fn of_operator(op: Operator) -> Option<Relation> {
        Some(match op {
            Operator::Eq | Operator::IsNotDistinctFrom => Relation::Equal,
            Operator::Lt => Relation::Less,
            Operator::LtEq => Relation::LessOrEqual,
            Operator::Gt => Relation::Greater,
            Operator::GtEq => Relation::GreaterOrEqual,
            _ => return None,
        })
    }

    /// With both sides exchanged.
    fn turned(self) -> Relation {
        match self {
            Relation::Equal => Relation::Equal,
            Relation::Less => Relation::Greater,
            Relation::LessOrEqual => Relation::GreaterOrEqual,
            Relation::Greater => Relation::Less,
            Relation::GreaterOrEqual => Relation::LessOrEqual,
        }
    }

    fn range(self, value: i64) -> RangeInclusive<i64> {
        match self {
            Relation::Equal => value..=value,
            Relation::Less => i64::MIN..=value.saturating_sub(1),
            Relation::LessOrEqual => i64::MIN..=value,
            Relation::Greater => value.saturating_add(1)..=i64::MAX,
            Relation::GreaterOrEqual => value..=i64::MAX,
        }
    }
}

#[expect(clippy::reversed_empty_ranges, reason = "no value is in an empty list")]
fn hull(values: &[i64]) -> RangeInclusive<i64> {
    match (values.iter().min(), values.iter().max()) {
        (Some(min), Some(max)) => *min..=*max,
        _ => 1..=0,
    }
}

fn literal(program: &Program) -> Option<i64> {
    match program {
        Program::Literal(value) => whole(value),
        Program::Cast { value, from: SqlType::Integer, to: SqlType::Bigint } => literal(value),
        _ => None,
    }
}

fn constant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) => whole(value),
        _ => None,
    }
}

fn whole(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(value) => *value,
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int8(value) => value.map(i64::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(column: usize) -> Option<Origin> {
        [Origin::Rowtime, Origin::Partition, Origin::Offset, Origin::Value(0)].get(column).copied()
    }

    fn compare(op: Comparison, column: usize, value: i64) -> Program {
        let right = Box::new(Program::Literal(ScalarValue::Int64(Some(value))));
        Program::Compare { op, left: Box::new(Program::column(column, "c")), right }
    }

    fn both(left: Program, right: Program) -> Program {
        Program::And(Box::new(left), Box::new(right))
    }

    #[test]
    fn bounds_are_those_of_all_parts_and_never_narrower() {
        use Comparison::{Distinct, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let of = |program: &Program| Bounds::of_program(program, &origin);
        let between = both(compare(GreaterOrEqual, 0, 10), compare(LessOrEqual, 0, 20));
        assert_eq!(of(&between), Bounds { times: 10..=20, ..Bounds::all() });
        let all = both(both(between.clone(), compare(Less, 2, 7)), compare(Equal, 3, 1));
        assert_eq!(of(&all), Bounds { times: 10..=20, offsets: i64::MIN..=6, ..Bounds::all() });
        let either = Program::Or(Box::new(between), Box::new(compare(Greater, 0, 30)));
        assert_eq!(of(&either), Bounds { times: 10..=i64::MAX, ..Bounds::all() });
        let unbound = Program::Or(Box::new(either), Box::new(compare(Greater, 3, 30)));
        assert!(of(&unbound).is_all());
        assert!(of(&Program::Not(Box::new(compare(Less, 0, 5)))).is_all());
        assert!([NotEqual, Distinct].into_iter().all(|op| of(&compare(op, 0, 5)).is_all()));
        let list = [3, 1].map(|n| Program::Literal(ScalarValue::Int64(Some(n)))).to_vec();
        let within = Program::In { value: Box::new(Program::column(1, "c")), list };
        assert_eq!(of(&within), Bounds { partitions: 1..=3, ..Bounds::all() });
        let none = both(compare(Less, 0, i64::MIN), compare(Greater, 2, i64::MAX));
        assert_eq!(of(&none), Bounds { times: i64::MIN..=i64::MIN, offsets: i64::MAX..=i64::MAX, ..Bounds::all() });
    }
}
