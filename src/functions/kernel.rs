//! What implementations share: arguments by row, results by row.

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, StringBuilder};
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

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

    pub(super) fn get(&self, row: usize) -> Option<&str> {
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

/// A STRING column: `value` appends the row's text, or answers false for NULL.
pub(super) fn strings(rows: usize, mut value: impl FnMut(usize, &mut String) -> bool) -> Result<ColumnarValue> {
    let mut out = StringBuilder::with_capacity(rows, rows * 16);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        match value(row, &mut text) {
            true => out.append_value(&text),
            false => out.append_null(),
        }
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
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
