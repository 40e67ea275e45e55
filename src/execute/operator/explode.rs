//! EXPLODE: a row becomes as many rows as the longest of its arrays has elements.
//!
//! Shorter arrays are filled up with NULL, a row without any element goes, and so does a row without a value. The rows of
//! one record keep its key, time and `seq`, in the order of the elements. What a row repeats for every element has a bound:
//! `SELECT a, EXPLODE(a)` of 100,000 numbers would make 80 GB of one record, which is a bad one.

use crate::error::{Error, Result};
use crate::execute::change::{BadRow, BadRows};
use crate::execute::change::{Bounds, ChangeBatch, RowImage};
use crate::functions::bounded::sizes::bytes;
use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::take;

/// Most bytes that the rows of one record repeat: sixty-four times the largest record that Kafka takes by default.
const REPEATED_BYTES_MAX: u64 = 64 << 20;

/// Which columns hold arrays that are taken apart.
#[derive(Clone, Debug)]
pub struct Explode {
    /// Indices of value columns, each of an ARRAY.
    columns: Vec<usize>,
}

impl Explode {
    /// Takes these value columns apart.
    pub fn new(columns: Vec<usize>) -> Explode {
        Explode { columns }
    }

    /// Rows whose elements would repeat too much; they are noted.
    fn too_large(&self, batch: &ChangeBatch, arrays: &[&ArrayRef], bad: &mut BadRows) -> Vec<bool> {
        let mut repeated = vec![0_u64; batch.len()];
        let kept = batch.new.columns.iter().enumerate().filter(|(i, _)| !self.columns.contains(i)).map(|(_, c)| c);
        for column in kept.chain(&batch.key) {
            repeated.iter_mut().zip(bytes(column)).for_each(|(sum, size)| *sum += size);
        }
        let mut large = vec![false; batch.len()];
        for (row, repeated) in repeated.into_iter().enumerate() {
            let length = |array: &&ArrayRef| {
                array.as_list_opt::<i32>().filter(|l| l.is_valid(row)).map_or(0, |l| l.value_length(row) as u64)
            };
            let elements = arrays.iter().map(length).max().unwrap_or(0);
            if batch.new.has(row) && elements.saturating_mul(repeated) > REPEATED_BYTES_MAX {
                let reason = format!(
                    "EXPLODE makes {elements} rows that repeat {repeated} bytes each: at most {REPEATED_BYTES_MAX} together"
                );
                bad.push(BadRow { seq: batch.seq[row], reason });
                large[row] = true;
            }
        }
        large
    }

    /// The rows of one batch.
    pub fn apply(&self, batch: &ChangeBatch, bad: &mut BadRows) -> Result<ChangeBatch> {
        let arrays: Vec<&ArrayRef> = self.columns.iter().filter_map(|c| batch.new.columns.get(*c)).collect();
        if arrays.len() != self.columns.len() {
            return Err(Error::bug("an array to take apart is missing"));
        }
        let large = self.too_large(batch, &arrays, bad);
        let places = places(&arrays, batch.len(), |row| batch.new.has(row) && !large[row])?;
        let mut columns = Vec::with_capacity(batch.new.columns.len());
        for (i, column) in batch.new.columns.iter().enumerate() {
            columns.push(match self.columns.iter().position(|c| *c == i) {
                Some(which) => take(column.as_list::<i32>().values(), &places.elements[which], None)?,
                None => take(column, &places.rows, None)?,
            });
        }
        let rows = places.rows.values();
        let long =
            |values: &ScalarBuffer<i64>| -> ScalarBuffer<i64> { rows.iter().map(|r| values[*r as usize]).collect() };
        let present = |nulls: &NullBuffer| {
            NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |i| nulls.is_valid(rows[i] as usize)))
        };
        Ok(ChangeBatch {
            key: batch.key.iter().map(|k| Ok(take(k, &places.rows, None)?)).collect::<Result<_>>()?,
            key_present: batch.key_present.as_ref().map(present),
            new: RowImage { columns, present: None },
            old: None,
            rowtime: long(&batch.rowtime),
            window: batch.window.as_ref().map(|w| Bounds { start: long(&w.start), end: long(&w.end) }),
            seq: rows.iter().map(|r| batch.seq[*r as usize]).collect(),
        })
    }
}

/// Where each new row comes from.
struct Places {
    /// The row that it was part of.
    rows: UInt64Array,
    /// For each array the place of its element among all of them.
    elements: Vec<UInt64Array>,
}

/// The places of the new rows of arrays that lie side by side.
fn places(arrays: &[&ArrayRef], rows: usize, wanted: impl Fn(usize) -> bool) -> Result<Places> {
    let lists = arrays.iter().map(|a| a.as_list_opt::<i32>().ok_or_else(|| Error::bug("EXPLODE of what is no ARRAY")));
    let lists = lists.collect::<Result<Vec<_>>>()?;
    let mut origins: Vec<u64> = Vec::new();
    let mut elements: Vec<Vec<Option<u64>>> = vec![Vec::new(); lists.len()];
    for row in (0..rows).filter(|row| wanted(*row)) {
        let length =
            |list: &&arrow::array::ListArray| if list.is_valid(row) { list.value_length(row) as usize } else { 0 };
        let longest = lists.iter().map(length).max().unwrap_or(0);
        for (list, out) in lists.iter().zip(&mut elements) {
            let (start, length) = (list.value_offsets()[row] as u64, length(list));
            out.extend((0..longest).map(|i| (i < length).then_some(start + i as u64)));
        }
        origins.extend(std::iter::repeat_n(row as u64, longest));
    }
    let elements = elements.into_iter().map(UInt64Array::from).collect();
    Ok(Places { rows: UInt64Array::from(origins), elements })
}
