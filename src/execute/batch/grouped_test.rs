//! The accumulators of all groups are held to those of one group: NULLs, filters, merges, and groups that leave early.

use super::accumulators::State;
use super::grouped;
use crate::functions::aggregate::{Aggregate, Comparable};
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, BooleanArray, Decimal128Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::sync::Arc;

const ROUNDS: u64 = 60;
const ROWS: u64 = 40;

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn value(&mut self, ty: &DataType) -> ScalarValue {
        let number = self.below(9) as i64 - 4;
        let null = self.below(4) == 0;
        let value = match (ty, number) {
            _ if null => return ScalarValue::try_from(ty).unwrap(),
            (DataType::Int32, 4) => ScalarValue::Int32(Some(i32::MAX)),
            (DataType::Int64, 4) => ScalarValue::Int64(Some(i64::MAX)),
            (DataType::Float64, 4) => ScalarValue::Float64(Some(f64::NAN)),
            (DataType::Float64, 0) => ScalarValue::Float64(Some(-0.0)),
            (DataType::Float64, _) => ScalarValue::Float64(Some(number as f64 / 4.0)),
            (DataType::Decimal128(p, s), _) => ScalarValue::Decimal128(Some(i128::from(number)), *p, *s),
            (DataType::Int64, _) => ScalarValue::Int64(Some(number)),
            _ => ScalarValue::Int32(Some(number as i32)),
        };
        value.cast_to(ty).unwrap()
    }

    fn column(&mut self, ty: &DataType, rows: u64) -> ArrayRef {
        let values: Vec<ScalarValue> = (0..rows).map(|_| self.value(ty)).collect();
        ScalarValue::iter_to_array(values).unwrap()
    }

    fn groups(&mut self, rows: u64, groups: usize) -> Vec<usize> {
        (0..rows).map(|_| self.below(groups as u64) as usize).collect()
    }
}

fn cases() -> Vec<(Aggregate, DataType)> {
    let decimal = Comparable::Decimal(10, 2);
    let extremes = [
        (Comparable::Integer, SqlType::Integer),
        (Comparable::Bigint, SqlType::Bigint),
        (Comparable::Double, SqlType::Double),
        (decimal, SqlType::Decimal(10, 2)),
        (Comparable::Date, SqlType::Date),
        (Comparable::Time, SqlType::Time),
        (Comparable::Timestamp, SqlType::Timestamp),
    ];
    let mut all = vec![
        (Aggregate::CountRows, DataType::Int32),
        (Aggregate::Count, DataType::Float64),
        (Aggregate::SumInteger, DataType::Int32),
        (Aggregate::SumBigint, DataType::Int64),
        (Aggregate::SumDouble, DataType::Float64),
        (Aggregate::SumDecimal(38, 2), DataType::Decimal128(10, 2)),
        (Aggregate::AvgInteger, DataType::Int32),
        (Aggregate::AvgBigint, DataType::Int64),
        (Aggregate::AvgDouble, DataType::Float64),
    ];
    for (comparable, ty) in extremes {
        all.push((Aggregate::Min(comparable), ty.arrow()));
        all.push((Aggregate::Max(comparable), ty.arrow()));
    }
    all
}

/// The rows of one group, as one accumulator gets them.
fn of_group(column: &ArrayRef, groups: &[usize], filter: Option<&BooleanArray>, group: usize) -> ArrayRef {
    let kept = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
    let mask: BooleanArray = (0..column.len()).map(|row| Some(groups[row] == group && kept(row))).collect();
    arrow::compute::filter(column, &mask).unwrap()
}

/// What the accumulator of all groups and one accumulator per group hold of the same rows.
struct Both {
    all: Box<dyn GroupsAccumulator>,
    each: Vec<State>,
    aggregate: Aggregate,
}

impl Both {
    fn new(aggregate: &Aggregate, ty: &DataType) -> Both {
        let all = grouped::of(aggregate, "x", ty).unwrap();
        Both { all, each: Vec::new(), aggregate: aggregate.clone() }
    }

    fn grow(&mut self, groups: usize) {
        while self.each.len() < groups {
            self.each.push(State::new(&self.aggregate, "x").unwrap());
        }
    }

    fn update(&mut self, column: &ArrayRef, groups: &[usize], filter: Option<&BooleanArray>, total: usize) {
        self.grow(total);
        self.all.update_batch(std::slice::from_ref(column), groups, filter, total).unwrap();
        for (group, state) in self.each.iter_mut().enumerate() {
            state.update_batch(&[of_group(column, groups, filter, group)]).unwrap();
        }
    }

    /// Takes in another one, whose groups are these groups.
    fn merge(&mut self, mut other: Both, groups: &[usize], total: usize) {
        self.grow(total);
        let states = other.all.state(EmitTo::All).unwrap();
        self.all.merge_batch(&states, groups, total).unwrap();
        for (state, group) in other.each.iter_mut().zip(groups) {
            let parts: Vec<ArrayRef> = state.state().unwrap().iter().map(|v| v.to_array().unwrap()).collect();
            self.each[*group].merge_batch(&parts).unwrap();
        }
    }

    /// The results of the first groups, which leave.
    fn emit(&mut self, count: usize) {
        let to = if count == self.each.len() { EmitTo::All } else { EmitTo::First(count) };
        let results = self.all.evaluate(to).unwrap();
        assert_eq!(results.len(), count);
        for (group, mut state) in self.each.drain(..count).enumerate() {
            let result = ScalarValue::try_from_array(&results, group).unwrap();
            assert_eq!(result, state.evaluate().unwrap(), "{:?} of group {group}", self.aggregate);
        }
    }
}

#[test]
fn all_groups_at_once_are_each_group_alone() {
    for (aggregate, ty) in cases() {
        for seed in 0..ROUNDS {
            let mut dice = Dice(seed);
            let mut both = Both::new(&aggregate, &ty);
            for _ in 0..6 {
                let total = both.each.len().max(1) + dice.below(4) as usize;
                let column = dice.column(&ty, ROWS);
                let groups = dice.groups(ROWS, total);
                let filter: BooleanArray =
                    (0..ROWS).map(|_| [Some(true), Some(false), None][dice.below(3) as usize]).collect();
                let filter = (dice.below(2) == 0).then_some(&filter);
                match dice.below(4) {
                    0 => {
                        let mut other = Both::new(&aggregate, &ty);
                        other.update(&column, &groups, filter, total);
                        let place: Vec<usize> = (0..total).rev().collect();
                        both.merge(other, &place, total);
                    }
                    // Each row as a group of its own, as where there are too many groups to hold.
                    1 => {
                        let states = both.all.convert_to_state(std::slice::from_ref(&column), filter).unwrap();
                        both.grow(total);
                        both.all.merge_batch(&states, &groups, total).unwrap();
                        for (row, group) in groups.iter().enumerate() {
                            let mut one = State::new(&aggregate, "x").unwrap();
                            let alone: Vec<usize> = (0..groups.len()).collect();
                            one.update_batch(&[of_group(&column, &alone, filter, row)]).unwrap();
                            let parts: Vec<ArrayRef> =
                                one.state().unwrap().iter().map(|v| v.to_array().unwrap()).collect();
                            both.each[*group].merge_batch(&parts).unwrap();
                        }
                    }
                    2 if !both.each.is_empty() => {
                        let count = 1 + dice.below(both.each.len() as u64) as usize;
                        both.emit(count);
                    }
                    _ => both.update(&column, &groups, filter, total),
                }
            }
            let rest = both.each.len();
            if rest > 0 {
                both.emit(rest);
            }
        }
    }
}

#[test]
fn a_sum_that_needs_more_digits_is_an_error_in_both() {
    let aggregate = Aggregate::SumDecimal(3, 0);
    let column: ArrayRef = Arc::new(Decimal128Array::from(vec![600, 600]).with_precision_and_scale(3, 0).unwrap());
    let mut all = grouped::of(&aggregate, "x", column.data_type()).unwrap();
    let grouped = all.update_batch(std::slice::from_ref(&column), &[0, 0], None, 1).unwrap_err();
    let alone = State::new(&aggregate, "x").unwrap().update_batch(&[column]).unwrap_err();
    assert_eq!(grouped.to_string(), alone.to_string());
}
