//! Pairs of ordinals to a batch: one gather per column.

use super::buffer::NONE;
use super::gather::Places;
use super::{Pair, StreamStreamJoin};
use crate::error::Result;
use crate::execute::change::{Bounds, ChangeBatch, RowImage};
use crate::memory;
use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::Int64Type;

/// What a row of results needs beside its columns: its places on both sides, its time, its number.
const PAIR_BYTES: usize = 64;

impl StreamStreamJoin {
    /// The rows that these pairs are.
    pub(super) fn write(&self, pairs: &[Pair]) -> Result<ChangeBatch> {
        let of = |side: usize| -> Vec<u64> { pairs.iter().map(|p| p.ordinals[side]).collect() };
        memory::reserve_for_rows(pairs.len() * PAIR_BYTES, pairs.len())?;
        let places = [self.sides[0].places(&of(0))?, self.sides[1].places(&of(1))?];
        self.sides.iter().zip(&places).try_for_each(|(side, places)| side.check_copies(places))?;
        let key = self.head(0, pairs, &places)?;
        let window = match self.lookup.window() {
            None => None,
            Some(_) => {
                let bound = |column: usize| -> Result<ScalarBuffer<i64>> {
                    Ok(self.head(column, pairs, &places)?.as_primitive::<Int64Type>().values().clone())
                };
                Some(Bounds { start: bound(1)?, end: bound(2)? })
            }
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (side, places) in self.sides.iter().zip(&places) {
            for column in side.head()..side.types().len() {
                columns.push(side.gather_at(column, places)?);
            }
        }
        // Only an unmatched row can have no key.
        let key_present: Option<NullBuffer> = key.logical_nulls().filter(|n| n.null_count() > 0);
        Ok(ChangeBatch {
            key: vec![key],
            key_present,
            new: RowImage { columns, present: None },
            old: None,
            rowtime: pairs.iter().map(|p| p.rowtime).collect(),
            window,
            seq: pairs.iter().map(|p| p.seq).collect(),
        })
    }

    /// The joined value, or a bound of its window: that of the left row, else that of the right one.
    fn head(&self, column: usize, pairs: &[Pair], places: &[Places; 2]) -> Result<ArrayRef> {
        let null = new_null_array(&self.sides[0].types()[column], 1);
        let mut arrays: Vec<&dyn Array> = self.sides[0].arrays(column, &places[0], &null);
        arrays.extend(self.sides[1].arrays(column, &places[1], &null));
        let shift = places[0].arrays();
        let at = pairs.iter().enumerate().map(|(i, pair)| match pair.ordinals[0] {
            NONE => (places[1].at[i].0 + shift, places[1].at[i].1),
            _ => places[0].at[i],
        });
        Ok(interleave(&arrays, &at.collect::<Vec<_>>())?)
    }
}
