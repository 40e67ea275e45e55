//! What implementations share: arguments by row, results by row.

use crate::error::{Error, Result};
use crate::functions::bounded;
use crate::memory;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray, ListArray, PrimitiveArray,
    StringArray, StringBuilder, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::Field;
use datafusion::logical_expr::ColumnarValue;
use std::ops::Range;
use std::sync::Arc;

/// Most elements that one call may make of nothing: a slip of the pen must not fill the memory.
pub(super) const ELEMENTS_MAX: usize = 1 << 20;

/// Most bytes of a column: places in it are 32 bits.
const COLUMN_BYTES_MAX: usize = i32::MAX as usize;

/// Longest text that one replacement makes, as with DataFusion's functions: two texts of a megabyte could make a terabyte.
pub(super) const REPLACED_BYTES_MAX: usize = bounded::VALUE_BYTES_MAX as usize;

/// Bytes of a value before which the bounds of its query are looked at: more of a batch of them than a query may hold.
const LARGE_VALUE_BYTES: usize = 64 << 10;

/// Fails before a column of so many rows would grow over what it can hold, or over what the query on this thread may hold. A
/// buffer that is full doubles: what it holds is needed once more. With fewer rows in a batch it may fit.
fn check_room(held: usize, more: usize, rows: usize) -> Result<()> {
    if more >= LARGE_VALUE_BYTES {
        memory::check()?;
        memory::reserve_for_rows(held.saturating_add(more), rows)?;
    }
    if held + more <= COLUMN_BYTES_MAX {
        return Ok(());
    }
    Err(Error::data("the results of a function for one batch of rows are larger than 2 GiB together")
        .with_hint("make shorter texts, or fewer of them at once"))
}

fn wrong_type() -> Error {
    Error::bug("an argument is not of the resolved type")
}

/// An argument's values by row; a constant is one row for all.
#[derive(Debug)]
pub(super) struct Arg {
    array: ArrayRef,
    constant: bool,
}

impl Arg {
    pub(super) fn new(args: &[ColumnarValue], index: usize) -> Result<Arg> {
        Ok(match args.get(index).ok_or_else(|| Error::bug("an argument is missing"))? {
            ColumnarValue::Array(array) => Arg { array: array.clone(), constant: false },
            ColumnarValue::Scalar(scalar) => Arg { array: scalar.to_array()?, constant: true },
        })
    }

    pub(super) fn array(&self) -> &ArrayRef {
        &self.array
    }

    pub(super) fn place(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.place(row))
    }
}

/// A STRING argument.
#[derive(Debug)]
pub(super) struct Texts(Arg, StringArray);

impl Texts {
    pub(super) fn new(args: &[ColumnarValue], index: usize) -> Result<Texts> {
        let arg = Arg::new(args, index)?;
        let texts = arg.array.as_string_opt::<i32>().ok_or_else(wrong_type)?.clone();
        Ok(Texts(arg, texts))
    }

    /// All arguments from `first` on.
    pub(super) fn all(args: &[ColumnarValue], first: usize) -> Result<Vec<Texts>> {
        (first..args.len()).map(|i| Texts::new(args, i)).collect()
    }

    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let place = self.0.place(row);
        self.1.is_valid(place).then(|| self.1.value(place))
    }
}

/// A BYTES argument.
#[derive(Debug)]
pub(super) struct Blobs(Arg, BinaryArray);

impl Blobs {
    pub(super) fn new(args: &[ColumnarValue], index: usize) -> Result<Blobs> {
        let arg = Arg::new(args, index)?;
        let bytes = arg.array.as_binary_opt::<i32>().ok_or_else(wrong_type)?.clone();
        Ok(Blobs(arg, bytes))
    }

    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        let place = self.0.place(row);
        self.1.is_valid(place).then(|| self.1.value(place))
    }
}

/// A numeric or temporal argument.
#[derive(Debug)]
pub(super) struct Numbers<T: ArrowPrimitiveType>(Arg, PrimitiveArray<T>);

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub(super) fn new(args: &[ColumnarValue], index: usize) -> Result<Numbers<T>> {
        let arg = Arg::new(args, index)?;
        let numbers = arg.array.as_primitive_opt::<T>().ok_or_else(wrong_type)?.clone();
        Ok(Numbers(arg, numbers))
    }

    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        let place = self.0.place(row);
        self.1.is_valid(place).then(|| self.1.value(place))
    }
}

/// An ARRAY argument: where a row's elements stand among all.
#[derive(Debug)]
pub(super) struct Lists {
    arg: Arg,
    list: ListArray,
}

impl Lists {
    pub(super) fn new(args: &[ColumnarValue], index: usize) -> Result<Lists> {
        let arg = Arg::new(args, index)?;
        let list = arg.array.as_list_opt::<i32>().ok_or_else(wrong_type)?.clone();
        Ok(Lists { arg, list })
    }

    /// The elements of all rows.
    pub(super) fn items(&self) -> &ArrayRef {
        self.list.values()
    }

    /// Places of one row's elements; `None` for NULL.
    pub(super) fn get(&self, row: usize) -> Option<Range<usize>> {
        let place = self.arg.place(row);
        let offsets = self.list.value_offsets();
        self.list.is_valid(place).then(|| offsets[place] as usize..offsets[place + 1] as usize)
    }
}

/// A STRING column: `value` appends the row's text, or returns false for NULL.
pub(super) fn strings(rows: usize, mut value: impl FnMut(usize, &mut String) -> bool) -> Result<ColumnarValue> {
    let mut out = StringBuilder::with_capacity(rows, rows * 16);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        match value(row, &mut text) {
            true => {
                check_room(out.values_slice().len(), text.len(), rows)?;
                out.append_value(&text);
            }
            false => out.append_null(),
        }
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}

/// A BYTES column: `value` appends the row's bytes, or returns false for NULL.
pub(super) fn blobs(rows: usize, mut value: impl FnMut(usize, &mut Vec<u8>) -> bool) -> Result<ColumnarValue> {
    let mut out = BinaryBuilder::with_capacity(rows, rows * 16);
    let mut bytes = Vec::new();
    for row in 0..rows {
        bytes.clear();
        match value(row, &mut bytes) {
            true => {
                check_room(out.values_slice().len(), bytes.len(), rows)?;
                out.append_value(&bytes);
            }
            false => out.append_null(),
        }
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}

/// A BOOLEAN column.
pub(super) fn booleans(rows: usize, value: impl FnMut(usize) -> Option<bool>) -> Result<ColumnarValue> {
    let out: BooleanArray = (0..rows).map(value).collect();
    Ok(ColumnarValue::Array(Arc::new(out)))
}

/// A numeric column.
pub(super) fn numbers<T: ArrowPrimitiveType>(
    rows: usize,
    value: impl FnMut(usize) -> Option<T::Native>,
) -> Result<ColumnarValue> {
    let out: PrimitiveArray<T> = (0..rows).map(value).collect();
    Ok(ColumnarValue::Array(Arc::new(out)))
}

/// A numeric column of a numeric one, NULL for NULL, at the speed of a plain loop.
pub(super) fn unary<A: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    args: &[ColumnarValue],
    f: impl Fn(A::Native) -> O::Native,
) -> Result<ColumnarValue> {
    let arg = Arg::new(args, 0)?;
    let values = arg.array.as_primitive_opt::<A>().ok_or_else(wrong_type)?;
    Ok(ColumnarValue::Array(Arc::new(values.unary::<_, O>(f))))
}

/// Rows of lists whose elements are places in an array of all elements.
#[derive(Debug, Default)]
pub(super) struct Picks {
    places: Vec<Option<u64>>,
    ends: Vec<usize>,
    valid: Vec<bool>,
}

impl Picks {
    /// One more element of the row at hand; `None` = a NULL element.
    pub(super) fn push(&mut self, place: Option<usize>) {
        self.places.push(place.map(|p| p as u64));
    }

    /// Ends the row at hand; without `valid` it is NULL.
    pub(super) fn close(&mut self, valid: bool) {
        self.ends.push(self.places.len());
        self.valid.push(valid);
    }

    /// The lists' ends and NULLs, and their elements.
    pub(super) fn parts(self, items: &ArrayRef) -> Result<(OffsetBuffer<i32>, Option<NullBuffer>, ArrayRef)> {
        let values = take(items, &UInt64Array::from(self.places), None)?;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let offsets = OffsetBuffer::from_lengths(self.ends.iter().zip(starts).map(|(end, start)| end - start));
        let nulls = NullBuffer::from(self.valid);
        Ok((offsets, Some(nulls).filter(|n| n.null_count() > 0), values))
    }

    /// The ARRAY column.
    pub(super) fn finish(self, items: &ArrayRef) -> Result<ColumnarValue> {
        let (offsets, nulls, values) = self.parts(items)?;
        Ok(ColumnarValue::Array(list(offsets, nulls, values)?))
    }
}

/// An ARRAY column of its parts.
pub(super) fn list(offsets: OffsetBuffer<i32>, nulls: Option<NullBuffer>, values: ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
}

/// Rows of ARRAY<STRING>: `value` appends the row's texts, or returns false for NULL.
pub(super) fn text_lists(rows: usize, mut value: impl FnMut(usize, &mut Vec<String>) -> bool) -> Result<ColumnarValue> {
    let mut items = StringBuilder::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut texts = Vec::new();
    for row in 0..rows {
        texts.clear();
        valid.push(value(row, &mut texts));
        for text in &texts {
            check_room(items.values_slice().len(), text.len(), rows)?;
            items.append_value(text);
        }
        lengths.push(texts.len());
    }
    let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
    Ok(ColumnarValue::Array(list(OffsetBuffer::from_lengths(lengths), nulls, Arc::new(items.finish()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_would_grow_over_two_gibibytes_is_an_error() {
        assert!(check_room(COLUMN_BYTES_MAX - 1, 1, 1).is_ok());
        assert!(check_room(COLUMN_BYTES_MAX, 1, 1).is_err());
    }
}
