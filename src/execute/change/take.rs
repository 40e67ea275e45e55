//! Rows of a batch by their numbers.

use super::{Bounds, ChangeBatch, RowImage};
use crate::error::Result;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;

impl ChangeBatch {
    /// These rows, in this order.
    pub(crate) fn take(&self, rows: &[u32]) -> Result<ChangeBatch> {
        let chosen = Chosen { rows, indices: UInt32Array::from(rows.to_vec()) };
        Ok(ChangeBatch {
            key: chosen.columns(&self.key)?,
            key_present: chosen.nulls(self.key_present.as_ref()),
            new: chosen.side(&self.new)?,
            old: self.old.as_ref().map(|side| chosen.side(side)).transpose()?,
            rowtime: chosen.scalars(&self.rowtime),
            window: self
                .window
                .as_ref()
                .map(|w| Bounds { start: chosen.scalars(&w.start), end: chosen.scalars(&w.end) }),
            seq: chosen.scalars(&self.seq),
        })
    }
}

struct Chosen<'a> {
    rows: &'a [u32],
    indices: UInt32Array,
}

impl Chosen<'_> {
    fn side(&self, side: &RowImage) -> Result<RowImage> {
        Ok(RowImage { columns: self.columns(&side.columns)?, present: self.nulls(side.present.as_ref()) })
    }

    fn columns(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        columns.iter().map(|column| Ok(arrow::compute::take(column, &self.indices, None)?)).collect()
    }

    /// `None` where no row is absent any more.
    fn nulls(&self, nulls: Option<&NullBuffer>) -> Option<NullBuffer> {
        let nulls = nulls?;
        let bits = BooleanBuffer::collect_bool(self.rows.len(), |i| nulls.is_valid(self.rows[i] as usize));
        Some(NullBuffer::new(bits)).filter(|n| n.null_count() > 0)
    }

    fn scalars<T: ArrowNativeType>(&self, values: &ScalarBuffer<T>) -> ScalarBuffer<T> {
        self.rows.iter().map(|row| values[*row as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use std::sync::Arc;

    /// Compares what batches hold: their buffers have addresses of their own.
    fn assert_same(a: &ChangeBatch, b: &ChangeBatch, note: &str) {
        assert_eq!((&a.key, &a.key_present), (&b.key, &b.key_present), "{note}");
        assert_eq!((&a.new.columns, &a.new.present), (&b.new.columns, &b.new.present), "{note}");
        assert_eq!((a.old.is_some(), &a.rowtime, &a.seq), (b.old.is_some(), &b.rowtime, &b.seq), "{note}");
        let bounds = |batch: &ChangeBatch| batch.window.as_ref().map(|w| (w.start.clone(), w.end.clone()));
        assert_eq!(bounds(a), bounds(b), "{note}");
    }

    #[test]
    fn rows_by_their_numbers_are_those_of_a_filter() {
        let key: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c"), Some("d")]));
        let value: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4)]));
        let batch = ChangeBatch {
            key: vec![key],
            key_present: Some(vec![true, false, true, true].into()),
            new: RowImage { columns: vec![value], present: Some(vec![true, true, false, true].into()) },
            old: None,
            rowtime: vec![10, 20, 30, 40].into(),
            window: Some(Bounds { start: vec![1, 2, 3, 4].into(), end: vec![5, 6, 7, 8].into() }),
            seq: vec![7, 8, 9, 9].into(),
        };
        for bits in 0_u32..16 {
            let wanted = |row: usize| bits >> row & 1 == 1;
            let rows: Vec<u32> = (0..4).filter(|row| wanted(*row as usize)).collect();
            let filtered = batch.filter(&BooleanBuffer::collect_bool(4, wanted)).unwrap();
            assert_same(&batch.take(&rows).unwrap(), &filtered, &format!("{bits:b}"));
        }
        let turned = batch.take(&[3, 0]).unwrap();
        assert_eq!((&turned.seq[..], &turned.rowtime[..]), (&[9, 7][..], &[40, 10][..]));
    }
}
