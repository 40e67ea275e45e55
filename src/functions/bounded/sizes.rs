//! How large the values of a column are: bytes of texts and lists, numbers of elements, whole numbers.

use crate::memory;
use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;

/// Something of each row; one for all rows where the argument is a constant.
#[derive(Debug)]
pub(crate) struct PerRow<T>(Vec<T>);

impl<T: Copy> PerRow<T> {
    pub(crate) fn get(&self, row: usize) -> T {
        if let [one] = self.0[..] { one } else { self.0[row] }
    }

    pub(crate) fn of(arg: &ColumnarValue, look: impl Fn(&ArrayRef) -> Result<Vec<T>>) -> Result<PerRow<T>> {
        Ok(PerRow(match arg {
            ColumnarValue::Array(array) => look(array)?,
            ColumnarValue::Scalar(value) => look(&one_row(value)?)?,
        }))
    }
}

fn between<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> Vec<u64> {
    offsets.windows(2).map(|w| (w[1].as_usize() - w[0].as_usize()) as u64).collect()
}

/// Sums of neighbours' sizes.
fn summed<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, values: &ArrayRef) -> Vec<u64> {
    let mut until = vec![0];
    for size in bytes(values) {
        until.push(until[until.len() - 1] + size);
    }
    offsets.windows(2).map(|w| until[w[1].as_usize()] - until[w[0].as_usize()]).collect()
}

/// A constant of whatever type as an array of one row.
pub(crate) fn one_row(value: &ScalarValue) -> Result<ArrayRef> {
    value.to_array_of_size(1)
}

/// The values of a batch, a constant repeated for each row: where a bounded query has no room for that, it fails.
pub(crate) fn repeated(value: ColumnarValue, rows: usize) -> Result<ArrayRef> {
    match value {
        ColumnarValue::Array(array) => Ok(array),
        ColumnarValue::Scalar(value) => {
            check_repeated(&value, rows)?;
            value.to_array_of_size(rows)
        }
    }
}

/// Fails when a bounded query has no room for the constant in each row.
pub(crate) fn check_repeated(value: &ScalarValue, rows: usize) -> Result<()> {
    let bytes = value.size() - size_of_val(value);
    memory::reserve_for_rows(bytes.saturating_mul(rows), rows).map_err(|e| DataFusionError::External(Box::new(e)))
}

/// Bytes of each value.
pub(crate) fn bytes(array: &ArrayRef) -> Vec<u64> {
    match array.data_type() {
        DataType::Null => vec![0; array.len()],
        DataType::Boolean => vec![1; array.len()],
        DataType::Utf8 => between(array.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => between(array.as_string::<i64>().offsets()),
        DataType::Binary => between(array.as_binary::<i32>().offsets()),
        DataType::LargeBinary => between(array.as_binary::<i64>().offsets()),
        // The length of a view is in its low half.
        DataType::Utf8View => array.as_string_view().views().iter().map(|v| u64::from(*v as u32)).collect(),
        DataType::BinaryView => array.as_binary_view().views().iter().map(|v| u64::from(*v as u32)).collect(),
        DataType::List(_) => summed(array.as_list::<i32>().offsets(), array.as_list::<i32>().values()),
        DataType::LargeList(_) => summed(array.as_list::<i64>().offsets(), array.as_list::<i64>().values()),
        DataType::Struct(_) => {
            let mut all = vec![1; array.len()];
            for column in array.as_struct().columns() {
                all.iter_mut().zip(bytes(column)).for_each(|(sum, size)| *sum += size);
            }
            all
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (keys, values) = (summed(map.offsets(), map.keys()), summed(map.offsets(), map.values()));
            keys.iter().zip(values).map(|(key, value)| key + value).collect()
        }
        other => match other.primitive_width() {
            Some(width) => vec![width as u64; array.len()],
            // Dictionaries and the like: no value is larger than all of them.
            None => vec![array.get_array_memory_size() as u64; array.len()],
        },
    }
}

/// Elements of each list; other values are one.
pub(crate) fn elements(array: &ArrayRef) -> Vec<u64> {
    match array.data_type() {
        DataType::List(_) => between(array.as_list::<i32>().offsets()),
        DataType::LargeList(_) => between(array.as_list::<i64>().offsets()),
        DataType::FixedSizeList(_, n) => vec![u64::from(n.unsigned_abs()); array.len()],
        _ => vec![1; array.len()],
    }
}

/// Whole numbers; `None` = NULL.
pub(crate) fn numbers(array: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let numbers = cast(array, &DataType::Int64)?;
    Ok(numbers.as_primitive::<Int64Type>().iter().collect())
}

/// Texts of each row, where a bound has to look at them; `None` = NULL.
#[derive(Debug)]
pub(crate) struct Texts {
    array: ArrayRef,
    constant: bool,
}

impl Texts {
    pub(crate) fn of(arg: &ColumnarValue) -> Result<Texts> {
        let (array, constant) = match arg {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(value) => (one_row(value)?, true),
        };
        Ok(Texts { array: cast(&array, &DataType::LargeUtf8)?, constant })
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        let row = if self.constant { 0 } else { row };
        self.array.is_valid(row).then(|| self.array.as_string::<i64>().value(row))
    }
}
