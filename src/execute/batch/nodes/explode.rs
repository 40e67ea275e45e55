//! EXPLODE in linear memory: rows leave in portions, however many elements an array has.
//!
//! ```text
//! a row of 5 bytes with 100,000 elements      13 batches of 8,192 rows
//! a row of 1 MB with 100,000 elements         batches of 16 rows: every row repeats the megabyte
//! ```

use crate::error::{Error, Result};
use crate::functions::bounded::sizes::bytes;
use crate::memory;
use crate::plan::nodes::table::PRESENT;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

/// Rows of a portion.
pub(super) const ROWS_MAX: usize = 8192;
/// Bytes that a portion repeats; a row that repeats more is a portion of its own.
pub(super) const BYTES_MAX: u64 = 16 << 20;

/// The rows of one batch, portion by portion.
pub(crate) struct Portions {
    kept: Vec<ArrayRef>,
    lists: Vec<ListArray>,
    present: Option<arrow::array::BooleanArray>,
    schema: SchemaRef,
    /// Bytes that each element of a row repeats.
    repeated: Vec<u64>,
    row: usize,
    /// Elements of the row at hand that have left.
    element: usize,
}

impl Portions {
    /// The columns from `first` on are arrays and become their elements; rows without a value have none.
    pub(crate) fn new(batch: &RecordBatch, first: usize, schema: SchemaRef) -> Result<Portions> {
        let list =
            |a: &ArrayRef| a.as_list_opt::<i32>().cloned().ok_or_else(|| Error::bug("EXPLODE of what is no ARRAY"));
        let (kept, arrays) = batch.columns().split_at(first);
        Ok(Portions {
            kept: kept.to_vec(),
            lists: arrays.iter().map(list).collect::<Result<_>>()?,
            present: batch.column_by_name(PRESENT).map(|c| c.as_boolean().clone()),
            schema,
            repeated: row_bytes(kept, batch.num_rows()),
            row: 0,
            element: 0,
        })
    }

    /// Elements of the row: as many as the longest of its arrays has.
    fn elements(&self, row: usize) -> usize {
        if self.present.as_ref().is_some_and(|p| !p.value(row)) {
            return 0;
        }
        let length = |list: &ListArray| if list.is_valid(row) { list.value_length(row) as usize } else { 0 };
        self.lists.iter().map(length).max().unwrap_or(0)
    }

    fn portion(&mut self) -> Result<Option<RecordBatch>> {
        let mut rows: Vec<u64> = Vec::new();
        let mut places: Vec<Vec<Option<u64>>> = vec![Vec::new(); self.lists.len()];
        let mut left = BYTES_MAX;
        while self.row < self.repeated.len() && rows.len() < ROWS_MAX {
            let of_row = self.elements(self.row);
            let fit = usize::try_from(left / self.repeated[self.row].max(1)).unwrap_or(ROWS_MAX);
            let fit = if rows.is_empty() { fit.max(1) } else { fit };
            let taken = (of_row - self.element).min(ROWS_MAX - rows.len()).min(fit);
            if taken == 0 && of_row > self.element {
                break;
            }
            for (list, places) in self.lists.iter().zip(&mut places) {
                let length = if list.is_valid(self.row) { list.value_length(self.row) as usize } else { 0 };
                let start = list.value_offsets()[self.row] as usize;
                let place = |i: usize| (i < length).then_some((start + i) as u64);
                places.extend((self.element..self.element + taken).map(place));
            }
            rows.extend(std::iter::repeat_n(self.row as u64, taken));
            left = left.saturating_sub(self.repeated[self.row].saturating_mul(taken as u64));
            self.element += taken;
            if self.element == of_row {
                (self.row, self.element) = (self.row + 1, 0);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        memory::check()?;
        let rows = UInt64Array::from(rows);
        let mut columns = self.kept.iter().map(|c| take(c, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        for (list, places) in self.lists.iter().zip(places) {
            columns.push(take(list.values(), &UInt64Array::from(places), None)?);
        }
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }
}

impl Iterator for Portions {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.portion().transpose()
    }
}

/// Bytes of each row.
pub(super) fn row_bytes(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut all = vec![1; rows];
    for column in columns {
        all.iter_mut().zip(bytes(column)).for_each(|(sum, size)| *sum += size);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn exploded(text: usize, lengths: &[usize]) -> Vec<RecordBatch> {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(text); lengths.len()]));
        let values = Arc::new(Int32Array::from_iter_values(0..lengths.iter().sum::<usize>() as i32));
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        let list = ListArray::new(item, OffsetBuffer::from_lengths(lengths.iter().copied()), values, None);
        let field = |name: &str, ty: &DataType| Field::new(name, ty.clone(), true);
        let list: ArrayRef = Arc::new(list);
        let schema = Schema::new(vec![field("t", &DataType::Utf8), field("l", list.data_type())]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![texts, list]).unwrap();
        let out = Arc::new(Schema::new(vec![field("t", &DataType::Utf8), field("l", &DataType::Int32)]));
        Portions::new(&batch, 1, out).unwrap().collect::<Result<_>>().unwrap()
    }

    #[test]
    fn elements_leave_in_order_and_in_portions() {
        let batches = exploded(5, &[0, 20_000, 0, 3, 1]);
        let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(sizes, [8192, 8192, 3620]);
        let all =
            batches.iter().flat_map(|b| b.column(1).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec());
        assert!(all.eq(0..20_004));
        // A megabyte is repeated fifteen times, not eight thousand times.
        assert!(exploded(1 << 20, &[40]).iter().all(|b| b.num_rows() <= 16));
        assert_eq!(exploded(1 << 20, &[40]).iter().map(RecordBatch::num_rows).sum::<usize>(), 40);
        assert!(exploded(3, &[0, 0]).is_empty());
    }
}
