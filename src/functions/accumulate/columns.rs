//! An aggregate and its argument columns to the [`Machine`] that runs over them.

use super::Accumulator;
use super::Arguments;
use super::cells::Native;
use super::counts::{Attr, Histogram};
use super::fixed_size::{
    AvgBigint, AvgDouble, AvgInteger, Extreme, FixedSizeAggregate, SumBigint, SumDecimal, SumDouble, SumInteger,
};
use super::hyperloglog::{Distinct, hash_bytes, hash_number};
use super::items::{rank_of_bytes, rank_of_text};
use super::lists::{Collect, ExtremeBytes, OneByOffset, SomeByOffset};
use super::machine::{Counting, EachOf, Encoded, Machine, Pairs, Plain, Simple, Spread, Values};
use super::statistics::{Correlation, Deviation, Summed};
use super::topk::Top;
use crate::error::{Error, Result};
use crate::functions::aggregate::{Aggregate, Comparable, Number};
use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimeUnit,
    TimestampMillisecondType,
};
use std::sync::Arc;

/// What is done with a machine.
pub(super) trait Visit {
    type Answer;
    fn visit<M: Machine>(self, machine: &M) -> Self::Answer;
}

/// A native type that columns hold.
trait Column: Copy {
    fn values(column: &ArrayRef) -> Option<&[Self]>;
}

impl Column for i32 {
    fn values(column: &ArrayRef) -> Option<&[i32]> {
        match column.data_type() {
            DataType::Int32 => Some(column.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Some(column.as_primitive::<Date32Type>().values()),
            DataType::Time32(TimeUnit::Millisecond) => Some(column.as_primitive::<Time32MillisecondType>().values()),
            _ => None,
        }
    }
}

impl Column for i64 {
    fn values(column: &ArrayRef) -> Option<&[i64]> {
        match column.data_type() {
            DataType::Int64 => Some(column.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Some(column.as_primitive::<TimestampMillisecondType>().values())
            }
            _ => None,
        }
    }
}

impl Column for f64 {
    fn values(column: &ArrayRef) -> Option<&[f64]> {
        column.as_primitive_opt::<Float64Type>().map(|a| &a.values()[..])
    }
}

impl Column for i128 {
    fn values(column: &ArrayRef) -> Option<&[i128]> {
        column.as_primitive_opt::<Decimal128Type>().map(|a| &a.values()[..])
    }
}

fn plain<T: Column>(column: Option<&ArrayRef>) -> Result<Plain<'_, T>> {
    let Some(column) = column else { return Ok(Plain { values: &[], nulls: None }) };
    let values = T::values(column).ok_or_else(|| mismatch(column))?;
    Ok(Plain { values, nulls: column.nulls() })
}

fn mismatch(column: &ArrayRef) -> Error {
    Error::bug(format!("an aggregate's argument column has type {}", column.data_type()))
}

impl Accumulator {
    /// Visits the machine, which must not be given a row.
    pub(super) fn without_columns<V: Visit>(&self, visit: V) -> V::Answer {
        match self.machine(Arguments::default(), visit) {
            Ok(answer) => answer,
            Err(e) => unreachable!("there is no column to be wrong: {e}"),
        }
    }

    /// Visits the machine over these columns.
    pub(super) fn with_columns<V: Visit>(&self, arguments: Arguments<'_>, visit: V) -> Result<V::Answer> {
        let arity = self.function.arity();
        if !arguments.new.is_empty() && arguments.new.len() < arity {
            return Err(Error::bug("an aggregate has not all its arguments"));
        }
        self.machine(arguments, visit)
    }

    fn machine<V: Visit>(&self, arguments: Arguments<'_>, visit: V) -> Result<V::Answer> {
        let (new, old) = (self.argument(arguments.new, 0)?, self.argument(arguments.old, 0)?);
        let nulls = |column: Option<&ArrayRef>| column.and_then(|c| c.logical_nulls());
        Ok(match &self.function {
            Aggregate::CountRows => visit.visit(&Counting { new: None, old: None }),
            Aggregate::Count => visit.visit(&Counting { new: nulls(new), old: nulls(old) }),
            Aggregate::SumInteger => simple::<i32, _, _>(SumInteger, new, old, visit)?,
            Aggregate::SumBigint => simple::<i64, _, _>(SumBigint, new, old, visit)?,
            Aggregate::SumDouble => simple::<f64, _, _>(SumDouble, new, old, visit)?,
            Aggregate::SumDecimal(p, _) => {
                simple::<i128, _, _>(SumDecimal { limit: 10i128.pow(u32::from(*p)) - 1 }, new, old, visit)?
            }
            Aggregate::AvgInteger => simple::<i32, _, _>(AvgInteger, new, old, visit)?,
            Aggregate::AvgBigint => simple::<i64, _, _>(AvgBigint, new, old, visit)?,
            Aggregate::AvgDouble => simple::<f64, _, _>(AvgDouble, new, old, visit)?,
            Aggregate::Min(ty) => self.extreme::<false, V>(*ty, new, visit)?,
            Aggregate::Max(ty) => self.extreme::<true, V>(*ty, new, visit)?,
            Aggregate::SumList(Number::Integer) => each_of::<i32, _, _>(SumInteger, new, old, visit)?,
            Aggregate::SumList(Number::Bigint) => each_of::<i64, _, _>(SumBigint, new, old, visit)?,
            Aggregate::SumList(Number::Double) => each_of::<f64, _, _>(SumDouble, new, old, visit)?,
            Aggregate::Deviation { of: Number::Integer, root } => deviation::<i32, _>(*root, new, old, visit)?,
            Aggregate::Deviation { of: Number::Bigint, root } => deviation::<i64, _>(*root, new, old, visit)?,
            Aggregate::Deviation { of: Number::Double, root } => deviation::<f64, _>(*root, new, old, visit)?,
            Aggregate::Correlation => {
                let (new, old) = (pairs(arguments.new)?, pairs(arguments.old)?);
                visit.visit(&Simple { fold: Correlation, new, old })
            }
            Aggregate::CollectList { limit, .. } => {
                visit.visit(&Collect { values: self.values(new, old)?, distinct: false, limit: *limit })
            }
            Aggregate::CollectSet { limit, .. } => {
                visit.visit(&Collect { values: self.values(new, old)?, distinct: true, limit: *limit })
            }
            Aggregate::Offset { latest, ignore_nulls, count, .. } => {
                let (values, latest, ignore_nulls) = (self.values(new, old)?, *latest, *ignore_nulls);
                match *count {
                    None => visit.visit(&OneByOffset { values, latest, ignore_nulls }),
                    Some(count) => visit.visit(&SomeByOffset { values, latest, ignore_nulls, count }),
                }
            }
            Aggregate::Top { k, distinct, .. } => {
                let ranks = match (&self.ranks, new) {
                    (Some(ranks), Some(column)) => Some(ranks.of(column)?),
                    _ => None,
                };
                let item = self.ranked_item(arguments.new)?;
                let values = self.values(item.as_ref(), None)?;
                visit.visit(&Top { ranks, values, k: *k, distinct: *distinct })
            }
            Aggregate::Histogram => visit.visit(&Histogram { values: Values { new: text(new)?, old: text(old)? } }),
            Aggregate::Attr(_) => visit.visit(&Attr { values: self.values(new, old)? }),
            Aggregate::CountDistinct(_) => visit.visit(&Distinct { hashes: self.hashes(new)? }),
        })
    }

    fn extreme<const HIGHEST: bool, V: Visit>(
        &self,
        ty: Comparable,
        new: Option<&ArrayRef>,
        visit: V,
    ) -> Result<V::Answer> {
        Ok(match ty {
            Comparable::Integer | Comparable::Date | Comparable::Time => {
                simple::<i32, _, _>(Extreme::<i32, HIGHEST>::new(), new, None, visit)?
            }
            Comparable::Bigint | Comparable::Timestamp => {
                simple::<i64, _, _>(Extreme::<i64, HIGHEST>::new(), new, None, visit)?
            }
            Comparable::Double => simple::<f64, _, _>(Extreme::<f64, HIGHEST>::new(), new, None, visit)?,
            Comparable::Decimal(..) => simple::<i128, _, _>(Extreme::<i128, HIGHEST>::new(), new, None, visit)?,
            Comparable::String => {
                let values = Values { new: text(new)?, old: Encoded::None };
                visit.visit(&ExtremeBytes { values, highest: HIGHEST, rank: rank_of_text })
            }
            Comparable::Bytes => {
                let bytes = match new {
                    Some(c) => Encoded::Bytes(c.as_binary_opt().ok_or_else(|| mismatch(c))?),
                    None => Encoded::None,
                };
                let values = Values { new: bytes, old: Encoded::None };
                visit.visit(&ExtremeBytes { values, highest: HIGHEST, rank: rank_of_bytes })
            }
        })
    }

    fn values(&self, new: Option<&ArrayRef>, old: Option<&ArrayRef>) -> Result<Values<'static>> {
        let encode = |column: Option<&ArrayRef>| -> Result<Encoded<'static>> {
            let Some(column) = column else { return Ok(Encoded::None) };
            let codec = self.codec.as_ref().ok_or_else(|| Error::bug("an aggregate has no codec for its items"))?;
            Ok(Encoded::Rows(codec.encode(column)?, column.logical_nulls()))
        };
        Ok(Values { new: encode(new)?, old: encode(old)? })
    }

    /// What TOPK returns for a row: the value, or a struct of all its columns.
    fn ranked_item(&self, columns: &[ArrayRef]) -> Result<Option<ArrayRef>> {
        let Aggregate::Top { item, .. } = &self.function else { return Ok(None) };
        match (columns, item.arrow()) {
            ([], _) => Ok(None),
            ([only], _) => Ok(Some(only.clone())),
            (several, DataType::Struct(fields)) => {
                Ok(Some(Arc::new(StructArray::try_new(fields, several.to_vec(), None)?)))
            }
            _ => Err(Error::bug("TOPK of several columns has no struct result")),
        }
    }

    fn hashes(&self, column: Option<&ArrayRef>) -> Result<Vec<Option<u32>>> {
        let Some(column) = column else { return Ok(Vec::new()) };
        let rows = 0..column.len();
        let numbers = |values: &dyn Fn(usize) -> i64| {
            rows.clone().map(|row| column.is_valid(row).then(|| hash_number(values(row)))).collect()
        };
        Ok(match column.data_type() {
            DataType::Int32 => numbers(&|row| i64::from(column.as_primitive::<Int32Type>().value(row))),
            DataType::Int64 => numbers(&|row| column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => numbers(&|row| column.as_primitive::<Float64Type>().value(row).to_bits() as i64),
            DataType::Utf8 => {
                let text = column.as_string::<i32>();
                rows.map(|row| text.is_valid(row).then(|| hash_bytes(text.value(row).as_bytes()))).collect()
            }
            _ => {
                let values = self.values(Some(column), None)?;
                rows.map(|row| (!values.is_null(row)).then(|| hash_bytes(values.added(row)))).collect()
            }
        })
    }
}

fn simple<T: Column, F: FixedSizeAggregate<In = T>, V: Visit>(
    fold: F,
    new: Option<&ArrayRef>,
    old: Option<&ArrayRef>,
    visit: V,
) -> Result<V::Answer> {
    Ok(visit.visit(&Simple { fold, new: plain::<T>(new)?, old: plain::<T>(old)? }))
}

fn deviation<T: Column + Summed + Native, V: Visit>(
    root: bool,
    new: Option<&ArrayRef>,
    old: Option<&ArrayRef>,
    visit: V,
) -> Result<V::Answer> {
    simple::<T, _, _>(Deviation::<T>::new(root), new, old, visit)
}

fn each_of<T: Column, F: FixedSizeAggregate<In = T>, V: Visit>(
    fold: F,
    new: Option<&ArrayRef>,
    old: Option<&ArrayRef>,
    visit: V,
) -> Result<V::Answer> {
    fn spread<T: Column>(column: Option<&ArrayRef>) -> Result<Spread<Plain<'_, T>>> {
        let Some(column) = column else {
            return Ok(Spread { items: plain(None)?, offsets: Vec::new(), nulls: None });
        };
        let list = column.as_list_opt::<i32>().ok_or_else(|| mismatch(column))?;
        Ok(Spread {
            items: plain(Some(list.values()))?,
            offsets: list.offsets().to_vec(),
            nulls: list.nulls().cloned(),
        })
    }
    Ok(visit.visit(&EachOf { fold, new: spread::<T>(new)?, old: spread::<T>(old)? }))
}

fn pairs(columns: &[ArrayRef]) -> Result<Pairs> {
    let [x, y, ..] = columns else { return Ok(Pairs(Vec::new())) };
    let (x, y) = (cast(x, &DataType::Float64)?, cast(y, &DataType::Float64)?);
    let (x, y) = (x.as_primitive::<Float64Type>(), y.as_primitive::<Float64Type>());
    Ok(Pairs(x.iter().zip(y).map(|(x, y)| x.zip(y)).collect()))
}

fn text(column: Option<&ArrayRef>) -> Result<Encoded<'_>> {
    Ok(match column {
        Some(c) => Encoded::Text(c.as_string_opt().ok_or_else(|| mismatch(c))?),
        None => Encoded::None,
    })
}
