//! The common aggregates over many groups: a column of values and one of counts, in the place of an object for each group.
//!
//! ```text
//! SUM(n) GROUP BY k     values [6, 0, -2]     counts [3, 0, 1]     the second group has no n yet: SUM is 0, MIN would be NULL
//! ```
//!
//! What they mean is said in `accumulators.rs`, of one group; a test holds both to the same results.

use super::nodes::external;
use crate::functions::accumulate::overflow;
use crate::functions::aggregate::Aggregate;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimeUnit, TimestampMillisecondType,
};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use std::cmp::Ordering;
use std::sync::Arc;

/// What is done with the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fold {
    Rows,
    Values,
    Sum,
    Mean,
    Min,
    Max,
}

impl Fold {
    fn of(aggregate: &Aggregate) -> Option<Fold> {
        Some(match aggregate {
            Aggregate::CountRows => Fold::Rows,
            Aggregate::Count => Fold::Values,
            Aggregate::SumInteger | Aggregate::SumBigint | Aggregate::SumDouble | Aggregate::SumDecimal(..) => {
                Fold::Sum
            }
            Aggregate::AvgInteger | Aggregate::AvgBigint | Aggregate::AvgDouble => Fold::Mean,
            Aggregate::Min(_) => Fold::Min,
            Aggregate::Max(_) => Fold::Max,
            _ => return None,
        })
    }
}

/// An accumulator for all groups, where there is one: `ty` is the type of the argument.
pub(super) fn of(aggregate: &Aggregate, text: &str, ty: &DataType) -> Option<Box<dyn GroupsAccumulator>> {
    let fold = Fold::of(aggregate)?;
    if matches!(fold, Fold::Rows | Fold::Values) {
        return Some(Box::new(Groups::<Int64Type>::new(fold, aggregate, text, &DataType::Int64)));
    }
    Some(match ty {
        DataType::Int32 => Box::new(Groups::<Int32Type>::new(fold, aggregate, text, ty)),
        DataType::Int64 => Box::new(Groups::<Int64Type>::new(fold, aggregate, text, ty)),
        DataType::Float64 => Box::new(Groups::<Float64Type>::new(fold, aggregate, text, ty)),
        DataType::Decimal128(..) => Box::new(Groups::<Decimal128Type>::new(fold, aggregate, text, ty)),
        DataType::Date32 => Box::new(Groups::<Date32Type>::new(fold, aggregate, text, ty)),
        DataType::Time32(TimeUnit::Millisecond) => {
            Box::new(Groups::<Time32MillisecondType>::new(fold, aggregate, text, ty))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Box::new(Groups::<TimestampMillisecondType>::new(fold, aggregate, text, ty))
        }
        _ => return None,
    })
}

/// A number as it is summed up and compared.
trait Number: ArrowNativeType {
    /// `None` = more than `limit`, where there is one.
    fn plus(self, other: Self, limit: i128) -> Option<Self>;
    fn order(&self, other: &Self) -> Ordering;
    fn double(self) -> f64;
}

impl Number for i32 {
    fn plus(self, other: i32, _: i128) -> Option<i32> {
        Some(self.wrapping_add(other))
    }

    fn order(&self, other: &i32) -> Ordering {
        self.cmp(other)
    }

    fn double(self) -> f64 {
        f64::from(self)
    }
}

impl Number for i64 {
    fn plus(self, other: i64, _: i128) -> Option<i64> {
        Some(self.wrapping_add(other))
    }

    fn order(&self, other: &i64) -> Ordering {
        self.cmp(other)
    }

    fn double(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    fn plus(self, other: f64, _: i128) -> Option<f64> {
        Some(self + other)
    }

    fn order(&self, other: &f64) -> Ordering {
        java_order(*self).total_cmp(&java_order(*other))
    }

    fn double(self) -> f64 {
        self
    }
}

impl Number for i128 {
    fn plus(self, other: i128, limit: i128) -> Option<i128> {
        self.checked_add(other).filter(|sum| sum.abs() < limit)
    }

    fn order(&self, other: &i128) -> Ordering {
        self.cmp(other)
    }

    fn double(self) -> f64 {
        self as f64
    }
}

/// Every NaN as the one that `total_cmp` puts highest.
pub(super) fn java_order(value: f64) -> f64 {
    if value.is_nan() { f64::NAN.copysign(1.0) } else { value }
}

/// All groups of one call.
struct Groups<T: ArrowPrimitiveType> {
    fold: Fold,
    aggregate: Aggregate,
    text: String,
    /// Type of the values.
    ty: DataType,
    /// Sums of a DECIMAL stay below.
    limit: i128,
    values: Vec<T::Native>,
    /// How many values went into each.
    counts: Vec<i64>,
}

impl<T: ArrowPrimitiveType<Native: Number>> Groups<T> {
    fn new(fold: Fold, aggregate: &Aggregate, text: &str, ty: &DataType) -> Groups<T> {
        let limit = match aggregate {
            Aggregate::SumDecimal(precision, _) => 10_i128.pow(u32::from(*precision)),
            _ => i128::MAX,
        };
        let ty = match (fold, aggregate.output().arrow()) {
            (Fold::Sum, output) => output,
            _ => ty.clone(),
        };
        let (aggregate, text) = (aggregate.clone(), text.to_owned());
        Groups { fold, aggregate, text, ty, limit, values: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        if !matches!(self.fold, Fold::Rows | Fold::Values) {
            self.values.resize(groups, T::Native::default());
        }
    }

    /// Folds a value into its group, which has no value yet while its count is 0.
    fn add(&mut self, group: usize, value: T::Native) -> Result<()> {
        let old = &mut self.values[group];
        match self.fold {
            Fold::Min if self.counts[group] > 0 && value.order(old).is_ge() => {}
            Fold::Max if self.counts[group] > 0 && value.order(old).is_le() => {}
            Fold::Min | Fold::Max => *old = value,
            _ => match old.plus(value, self.limit) {
                Some(sum) => *old = sum,
                None => return Err(external(overflow(Some(&self.text), &self.aggregate))),
            },
        }
        Ok(())
    }

    /// Minimum and maximum of nothing are NULL.
    fn nulls(&self, counts: &[i64]) -> Option<NullBuffer> {
        matches!(self.fold, Fold::Min | Fold::Max).then(|| counts.iter().map(|count| *count > 0).collect())
    }

    fn column(&self, values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(self.ty.clone()))
    }
}

fn kept(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl<T: ArrowPrimitiveType<Native: Number> + Send> GroupsAccumulator for Groups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let Some(column) = values.first() else { return exec_err!("COUNT(*) is counted over a column") };
        if matches!(self.fold, Fold::Rows | Fold::Values) {
            let all = self.fold == Fold::Rows;
            let nulls = column.logical_nulls().filter(|_| !all);
            for (row, group) in groups.iter().enumerate() {
                let counts = kept(filter, row) && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                self.counts[*group] += i64::from(counts);
            }
            return Ok(());
        }
        let column = column.as_primitive::<T>();
        for (row, group) in groups.iter().enumerate() {
            if column.is_valid(row) && kept(filter, row) {
                self.add(*group, column.value(row))?;
                self.counts[*group] += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let counts = emit.take_needed(&mut self.counts);
        if matches!(self.fold, Fold::Rows | Fold::Values) {
            return Ok(Arc::new(Int64Array::from(counts)));
        }
        let values = emit.take_needed(&mut self.values);
        if self.fold == Fold::Mean {
            let mean = |(sum, count): (&T::Native, &i64)| if *count == 0 { 0.0 } else { sum.double() / *count as f64 };
            return Ok(Arc::new(values.iter().zip(&counts).map(mean).collect::<Float64Array>()));
        }
        let nulls = self.nulls(&counts);
        Ok(self.column(values, nulls))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let counts = emit.take_needed(&mut self.counts);
        let values: ArrayRef = match self.fold {
            Fold::Rows | Fold::Values => Arc::new(Int64Array::from_value(0, counts.len())),
            _ => {
                let values = emit.take_needed(&mut self.values);
                self.column(values, self.nulls(&counts))
            }
        };
        Ok(vec![values, Arc::new(Int64Array::from(counts))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let [values, counts] = states else { return exec_err!("a group's state has two parts") };
        let counts = counts.as_primitive::<Int64Type>();
        let folds = !matches!(self.fold, Fold::Rows | Fold::Values);
        for (row, group) in groups.iter().enumerate() {
            if folds && counts.value(row) > 0 {
                self.add(*group, values.as_primitive::<T>().value(row))?;
            }
            self.counts[*group] += counts.value(row);
        }
        Ok(())
    }

    /// Each row as a group of its own.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |column| column.len());
        let mut single: Groups<T> = Groups {
            fold: self.fold,
            aggregate: self.aggregate.clone(),
            text: self.text.clone(),
            ty: self.ty.clone(),
            limit: self.limit,
            values: Vec::new(),
            counts: Vec::new(),
        };
        single.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        single.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<i64>() + self.values.capacity() * size_of::<T::Native>()
    }
}
