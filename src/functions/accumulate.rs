//! What aggregates do to their state: typed loops over words.
//!
//! A group's state is a run of 64-bit words, and all words zero means "nothing seen". [`Accumulator::add`] runs one
//! aggregate over a whole pass of changes (`slots[i]` takes row `rows[i]`) and, where asked, writes the result before and
//! after each single change: so one loop serves one output per input and one output per emission alike. There is no call
//! per row and no box per group.
//!
//! ```text
//! state words of one group:  | rowtime | tags | COUNT(*) | SUM | MAX: seen, value |
//!                                               ^ offset of the first accumulator
//! ```

mod undo;

pub use undo::Argument;

use super::aggregate::{Aggregate, Comparable};
use super::fold::{
    AvgBigint, AvgDouble, AvgInteger, Count, Extreme, Fold, SumBigint, SumDecimal, SumDouble, SumInteger,
};
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, NullBufferBuilder, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};
use std::sync::Arc;

/// One aggregate at its place in a group's words.
#[derive(Clone, Copy, Debug)]
pub struct Accumulator {
    function: Aggregate,
    offset: usize,
}

/// Changes to apply: `slots[i]` takes row `rows[i]`, in order.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// Group of each change: an index of fixed-width rows in the words.
    pub slots: &'a [u32],
    /// Input row of each change.
    pub rows: &'a [u32],
}

/// State words of many groups, `width` words each.
#[derive(Debug)]
pub struct Words<'a> {
    /// All words.
    pub words: &'a mut [i64],
    /// Words of a group.
    pub width: usize,
}

impl Accumulator {
    /// The aggregate, with its words starting at `offset` in every group.
    pub fn new(function: Aggregate, offset: usize) -> Accumulator {
        Accumulator { function, offset }
    }

    /// How many words its state has.
    pub fn width(&self) -> usize {
        match self.function {
            Aggregate::CountRows
            | Aggregate::Count
            | Aggregate::SumInteger
            | Aggregate::SumBigint
            | Aggregate::SumDouble => 1,
            Aggregate::SumDecimal(..) | Aggregate::AvgInteger | Aggregate::AvgBigint | Aggregate::AvgDouble => 2,
            Aggregate::Min(Comparable::Decimal(..)) | Aggregate::Max(Comparable::Decimal(..)) => 3,
            Aggregate::Min(_) | Aggregate::Max(_) => 2,
        }
    }

    /// An empty output column of its type.
    pub fn cells(&self) -> Cells {
        match self.function.output().arrow() {
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Cells::Integer(Cell::default()),
            DataType::Int64 | DataType::Timestamp(..) => Cells::Bigint(Cell::default()),
            DataType::Float64 => Cells::Double(Cell::default()),
            _ => Cells::Decimal(Cell::default()),
        }
    }

    /// Applies the changes with `argument` (`None` for COUNT(*)). `before` and `after` get the result around each change.
    /// Rows whose value does not fit any more are appended to `unfit` and change nothing.
    pub fn add(
        &self,
        state: &mut Words<'_>,
        changes: Changes<'_>,
        argument: Option<&ArrayRef>,
        before: Option<&mut Cells>,
        after: Option<&mut Cells>,
        unfit: &mut Vec<u32>,
    ) -> Result<()> {
        let mut pass = Pass { state, offset: self.offset, changes, before, after, unfit };
        if self.function == Aggregate::CountRows {
            pass.run(Count, |_| Some(()));
            return Ok(());
        }
        let column = argument.ok_or_else(|| Error::bug("an aggregate has no argument"))?;
        let nulls = column.nulls();
        let valid = |r: usize| nulls.is_none_or(|n| n.is_valid(r));
        match self.function {
            Aggregate::CountRows | Aggregate::Count => {
                let nulls = column.logical_nulls();
                pass.run(Count, |r| nulls.as_ref().is_none_or(|n| n.is_valid(r)).then_some(()));
            }
            Aggregate::SumInteger => {
                let v = integers(column)?;
                pass.run(SumInteger, |r| valid(r).then(|| v[r]));
            }
            Aggregate::SumBigint => {
                let v = bigints(column)?;
                pass.run(SumBigint, |r| valid(r).then(|| v[r]));
            }
            Aggregate::SumDouble => {
                let v = doubles(column)?;
                pass.run(SumDouble, |r| valid(r).then(|| v[r]));
            }
            Aggregate::SumDecimal(p, _) => {
                let v = decimals(column)?;
                let limit = 10i128.pow(u32::from(p)) - 1;
                pass.run(SumDecimal { limit }, |r| valid(r).then(|| v[r]));
            }
            Aggregate::AvgInteger => {
                let v = integers(column)?;
                pass.run(AvgInteger, |r| valid(r).then(|| v[r]));
            }
            Aggregate::AvgBigint => {
                let v = bigints(column)?;
                pass.run(AvgBigint, |r| valid(r).then(|| v[r]));
            }
            Aggregate::AvgDouble => {
                let v = doubles(column)?;
                pass.run(AvgDouble, |r| valid(r).then(|| v[r]));
            }
            Aggregate::Min(ty) => pass.extreme::<false>(ty, column)?,
            Aggregate::Max(ty) => pass.extreme::<true>(ty, column)?,
        }
        Ok(())
    }

    /// Appends the present result of each of `slots`.
    pub fn peek(&self, words: &[i64], width: usize, slots: &[u32], out: &mut Cells) {
        match self.function {
            Aggregate::CountRows | Aggregate::Count => self.peek_with(Count, words, width, slots, out),
            Aggregate::SumInteger => self.peek_with(SumInteger, words, width, slots, out),
            Aggregate::SumBigint => self.peek_with(SumBigint, words, width, slots, out),
            Aggregate::SumDouble => self.peek_with(SumDouble, words, width, slots, out),
            Aggregate::SumDecimal(..) => self.peek_with(SumDecimal { limit: 0 }, words, width, slots, out),
            Aggregate::AvgInteger => self.peek_with(AvgInteger, words, width, slots, out),
            Aggregate::AvgBigint => self.peek_with(AvgBigint, words, width, slots, out),
            Aggregate::AvgDouble => self.peek_with(AvgDouble, words, width, slots, out),
            Aggregate::Min(ty) | Aggregate::Max(ty) => match ty {
                Comparable::Integer | Comparable::Date | Comparable::Time => {
                    self.peek_with(Extreme::<i32, true>::new(), words, width, slots, out);
                }
                Comparable::Bigint | Comparable::Timestamp => {
                    self.peek_with(Extreme::<i64, true>::new(), words, width, slots, out);
                }
                Comparable::Double => self.peek_with(Extreme::<f64, true>::new(), words, width, slots, out),
                Comparable::Decimal(..) => self.peek_with(Extreme::<i128, true>::new(), words, width, slots, out),
            },
        }
    }

    fn peek_with<F: Fold>(&self, fold: F, words: &[i64], width: usize, slots: &[u32], out: &mut Cells) {
        let out = F::Out::cell(out);
        for &slot in slots {
            let at = slot as usize * width + self.offset;
            out.push(fold.peek(&words[at..at + F::WORDS]));
        }
    }
}

/// An output column under construction.
#[derive(Debug)]
pub enum Cells {
    /// INTEGER, DATE, TIME.
    Integer(Cell<i32>),
    /// BIGINT, TIMESTAMP.
    Bigint(Cell<i64>),
    /// DOUBLE.
    Double(Cell<f64>),
    /// DECIMAL.
    Decimal(Cell<i128>),
}

/// Values of one native type; the bitmap costs nothing while no value is NULL.
#[derive(Debug)]
pub struct Cell<T> {
    values: Vec<T>,
    nulls: NullBufferBuilder,
}

impl<T> Default for Cell<T> {
    fn default() -> Cell<T> {
        Cell { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }
}

impl<T: Default> Cell<T> {
    #[inline(always)]
    fn push(&mut self, value: Option<T>) {
        match value {
            Some(v) => {
                self.values.push(v);
                self.nulls.append_non_null();
            }
            None => {
                self.values.push(T::default());
                self.nulls.append_null();
            }
        }
    }
}

impl Cells {
    /// The Arrow column, of the aggregate's output type.
    pub fn finish(self, function: &Aggregate) -> Result<ArrayRef> {
        fn column<P: arrow::datatypes::ArrowPrimitiveType>(mut cell: Cell<P::Native>) -> PrimitiveArray<P> {
            PrimitiveArray::new(ScalarBuffer::from(cell.values), cell.nulls.finish())
        }
        Ok(match (self, function.output().arrow()) {
            (Cells::Integer(c), DataType::Int32) => Arc::new(column::<Int32Type>(c)),
            (Cells::Integer(c), DataType::Date32) => Arc::new(column::<Date32Type>(c)),
            (Cells::Integer(c), DataType::Time32(_)) => Arc::new(column::<Time32MillisecondType>(c)),
            (Cells::Bigint(c), DataType::Int64) => Arc::new(column::<Int64Type>(c)),
            (Cells::Bigint(c), DataType::Timestamp(..)) => Arc::new(column::<TimestampMillisecondType>(c)),
            (Cells::Double(c), DataType::Float64) => Arc::new(column::<Float64Type>(c)),
            (Cells::Decimal(c), DataType::Decimal128(p, s)) => {
                Arc::new(column::<Decimal128Type>(c).with_precision_and_scale(p, s)?)
            }
            _ => return Err(Error::bug("an output column has not the type of its aggregate")),
        })
    }
}

/// One aggregate's loop over one pass.
struct Pass<'a, 'b> {
    state: &'a mut Words<'b>,
    offset: usize,
    changes: Changes<'a>,
    before: Option<&'a mut Cells>,
    after: Option<&'a mut Cells>,
    unfit: &'a mut Vec<u32>,
}

impl Pass<'_, '_> {
    fn run<F: Fold>(&mut self, fold: F, value: impl Fn(usize) -> Option<F::In>) {
        let mut before = self.before.as_mut().map(|c| F::Out::cell(c));
        let mut after = self.after.as_mut().map(|c| F::Out::cell(c));
        for (&slot, &row) in self.changes.slots.iter().zip(self.changes.rows) {
            let at = slot as usize * self.state.width + self.offset;
            let words = &mut self.state.words[at..at + F::WORDS];
            if let Some(out) = before.as_mut() {
                out.push(fold.peek(words));
            }
            if let Some(v) = value(row as usize)
                && !fold.add(words, v)
            {
                self.unfit.push(row);
            }
            if let Some(out) = after.as_mut() {
                out.push(fold.peek(words));
            }
        }
    }

    fn extreme<const HIGHEST: bool>(&mut self, ty: Comparable, column: &ArrayRef) -> Result<()> {
        let nulls = column.nulls();
        let valid = |r: usize| nulls.is_none_or(|n| n.is_valid(r));
        match ty {
            Comparable::Integer | Comparable::Date | Comparable::Time => {
                let v = integers(column)?;
                self.run(Extreme::<i32, HIGHEST>::new(), |r| valid(r).then(|| v[r]));
            }
            Comparable::Bigint | Comparable::Timestamp => {
                let v = bigints(column)?;
                self.run(Extreme::<i64, HIGHEST>::new(), |r| valid(r).then(|| v[r]));
            }
            Comparable::Double => {
                let v = doubles(column)?;
                self.run(Extreme::<f64, HIGHEST>::new(), |r| valid(r).then(|| v[r]));
            }
            Comparable::Decimal(..) => {
                let v = decimals(column)?;
                self.run(Extreme::<i128, HIGHEST>::new(), |r| valid(r).then(|| v[r]));
            }
        }
        Ok(())
    }
}

fn integers(column: &ArrayRef) -> Result<&[i32]> {
    match column.data_type() {
        DataType::Int32 => Ok(column.as_primitive::<Int32Type>().values()),
        DataType::Date32 => Ok(column.as_primitive::<Date32Type>().values()),
        DataType::Time32(arrow::datatypes::TimeUnit::Millisecond) => {
            Ok(column.as_primitive::<Time32MillisecondType>().values())
        }
        other => Err(mismatch(other)),
    }
}

fn bigints(column: &ArrayRef) -> Result<&[i64]> {
    match column.data_type() {
        DataType::Int64 => Ok(column.as_primitive::<Int64Type>().values()),
        DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, _) => {
            Ok(column.as_primitive::<TimestampMillisecondType>().values())
        }
        other => Err(mismatch(other)),
    }
}

fn doubles(column: &ArrayRef) -> Result<&[f64]> {
    let found = column.as_primitive_opt::<Float64Type>();
    found.map(|a| &a.values()[..]).ok_or_else(|| mismatch(column.data_type()))
}

fn decimals(column: &ArrayRef) -> Result<&[i128]> {
    let found = column.as_primitive_opt::<Decimal128Type>();
    found.map(|a| &a.values()[..]).ok_or_else(|| mismatch(column.data_type()))
}

fn mismatch(found: &DataType) -> Error {
    Error::bug(format!("an aggregate's argument column has type {found}"))
}

/// A native type that has a kind of output column.
pub(super) trait Native: Copy + Default {
    fn cell(cells: &mut Cells) -> &mut Cell<Self>;
}

macro_rules! native {
    ($($ty:ty => $kind:ident),*) => {$(
        impl Native for $ty {
            #[inline(always)]
            fn cell(cells: &mut Cells) -> &mut Cell<$ty> {
                match cells {
                    Cells::$kind(cell) => cell,
                    _ => unreachable!("an accumulator is given the cells that it made"),
                }
            }
        }
    )*};
}
native!(i32 => Integer, i64 => Bigint, f64 => Double, i128 => Decimal);
