//! Output columns of aggregates under construction.

use super::items::{ItemCodec, Items};
use crate::error::{Error, Result};
use crate::functions::aggregate::Aggregate;
use arrow::array::{ArrayRef, Int64Array, ListArray, MapArray, NullBufferBuilder, PrimitiveArray, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};
use std::sync::Arc;

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
    /// STRING, BYTES as they are.
    Bytes(BytesCell),
    /// One value of any type.
    Item(Items),
    /// ARRAY.
    List(ListCell),
    /// MAP of STRING to BIGINT.
    Counts(CountsCell),
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
    pub(super) fn push(&mut self, value: Option<T>) {
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

    #[cfg(test)]
    pub(super) fn last(self) -> T {
        self.values.into_iter().next_back().unwrap_or_default()
    }

    fn column<P: ArrowPrimitiveType<Native = T>>(mut self) -> PrimitiveArray<P>
    where
        T: arrow::datatypes::ArrowNativeType,
    {
        PrimitiveArray::new(ScalarBuffer::from(self.values), self.nulls.finish())
    }
}

/// Byte strings back to back.
#[derive(Debug)]
pub struct BytesCell {
    data: Vec<u8>,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for BytesCell {
    fn default() -> BytesCell {
        BytesCell { data: Vec::new(), ends: vec![0], nulls: NullBufferBuilder::new(0) }
    }
}

impl BytesCell {
    #[inline]
    pub(super) fn push(&mut self, value: Option<&[u8]>) {
        self.nulls.append(value.is_some());
        self.data.extend_from_slice(value.unwrap_or_default());
        self.ends.push(self.data.len() as i32);
    }

    fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(ends))
    }

    fn text(mut self) -> Result<StringArray> {
        Ok(StringArray::try_new(BytesCell::offsets(self.ends), self.data.into(), self.nulls.finish())?)
    }

    fn binary(mut self) -> Result<arrow::array::BinaryArray> {
        let offsets = BytesCell::offsets(self.ends);
        Ok(arrow::array::BinaryArray::try_new(offsets, self.data.into(), self.nulls.finish())?)
    }
}

/// Lists of items back to back.
#[derive(Debug)]
pub struct ListCell {
    pub(super) items: Items,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for ListCell {
    fn default() -> ListCell {
        ListCell { items: Items::default(), ends: vec![0], nulls: NullBufferBuilder::new(0) }
    }
}

impl ListCell {
    /// Ends a list whose items were pushed; without `present` it is NULL.
    pub(super) fn close(&mut self, present: bool) {
        self.ends.push(self.items.len() as i32);
        self.nulls.append(present);
    }
}

/// Maps of STRING to BIGINT back to back.
#[derive(Debug)]
pub struct CountsCell {
    keys: BytesCell,
    counts: Vec<i64>,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for CountsCell {
    fn default() -> CountsCell {
        let (keys, nulls) = (BytesCell::default(), NullBufferBuilder::new(0));
        CountsCell { keys, counts: Vec::new(), ends: vec![0], nulls }
    }
}

impl CountsCell {
    pub(super) fn push(&mut self, key: &[u8], count: i64) {
        self.keys.push(Some(key));
        self.counts.push(count);
    }

    /// Ends a map whose entries were pushed; without `present` it is NULL.
    pub(super) fn close(&mut self, present: bool) {
        self.ends.push(self.counts.len() as i32);
        self.nulls.append(present);
    }
}

impl Cells {
    /// An empty column for the results of an aggregate.
    pub(super) fn of(function: &Aggregate) -> Cells {
        match function {
            Aggregate::CollectList { .. } | Aggregate::CollectSet { .. } | Aggregate::Top { .. } => {
                Cells::List(ListCell::default())
            }
            Aggregate::Offset { count: Some(_), .. } => Cells::List(ListCell::default()),
            Aggregate::Offset { .. } | Aggregate::Attr(_) => Cells::Item(Items::default()),
            Aggregate::Histogram => Cells::Counts(CountsCell::default()),
            _ => match function.output().arrow() {
                DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Cells::Integer(Cell::default()),
                DataType::Int64 | DataType::Timestamp(..) => Cells::Bigint(Cell::default()),
                DataType::Float64 => Cells::Double(Cell::default()),
                DataType::Utf8 | DataType::Binary => Cells::Bytes(BytesCell::default()),
                _ => Cells::Decimal(Cell::default()),
            },
        }
    }

    /// The Arrow column, of the aggregate's output type.
    pub(super) fn finish(self, function: &Aggregate, codec: Option<&ItemCodec>) -> Result<ArrayRef> {
        let codec = || codec.ok_or_else(|| Error::bug("an aggregate has no codec for its items"));
        Ok(match (self, function.output().arrow()) {
            (Cells::Integer(c), DataType::Int32) => Arc::new(c.column::<Int32Type>()),
            (Cells::Integer(c), DataType::Date32) => Arc::new(c.column::<Date32Type>()),
            (Cells::Integer(c), DataType::Time32(_)) => Arc::new(c.column::<Time32MillisecondType>()),
            (Cells::Bigint(c), DataType::Int64) => Arc::new(c.column::<Int64Type>()),
            (Cells::Bigint(c), DataType::Timestamp(..)) => Arc::new(c.column::<TimestampMillisecondType>()),
            (Cells::Double(c), DataType::Float64) => Arc::new(c.column::<Float64Type>()),
            (Cells::Decimal(c), DataType::Decimal128(p, s)) => {
                Arc::new(c.column::<Decimal128Type>().with_precision_and_scale(p, s)?)
            }
            (Cells::Bytes(c), DataType::Utf8) => Arc::new(c.text()?),
            (Cells::Bytes(c), DataType::Binary) => Arc::new(c.binary()?),
            (Cells::Item(items), _) => codec()?.decode(&items)?,
            (Cells::List(mut c), DataType::List(field)) => {
                let items = codec()?.decode(&c.items)?;
                Arc::new(ListArray::try_new(field, BytesCell::offsets(c.ends), items, c.nulls.finish())?)
            }
            (Cells::Counts(mut c), DataType::Map(entries, sorted)) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(Error::bug("a MAP without entries"));
                };
                let columns: Vec<ArrayRef> = vec![Arc::new(c.keys.text()?), Arc::new(Int64Array::from(c.counts))];
                let rows = arrow::array::StructArray::try_new(fields.clone(), columns, None)?;
                Arc::new(MapArray::try_new(entries, BytesCell::offsets(c.ends), rows, c.nulls.finish(), sorted)?)
            }
            _ => return Err(Error::bug("an output column has not the type of its aggregate")),
        })
    }

    /// Number of values so far.
    pub fn len(&self) -> usize {
        match self {
            Cells::Integer(c) => c.values.len(),
            Cells::Bigint(c) => c.values.len(),
            Cells::Double(c) => c.values.len(),
            Cells::Decimal(c) => c.values.len(),
            Cells::Bytes(c) => c.ends.len() - 1,
            Cells::Item(c) => c.len(),
            Cells::List(c) => c.ends.len() - 1,
            Cells::Counts(c) => c.ends.len() - 1,
        }
    }

    /// No values?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
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
