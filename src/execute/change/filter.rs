//! Some rows of a batch. The mask is turned into positions once, and every column is gathered by them.

use super::{Bounds, ChangeBatch, RowImage};
use crate::error::Result;
use arrow::array::{ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::{FilterBuilder, FilterPredicate};
use arrow::datatypes::{ArrowPrimitiveType, Int64Type, UInt64Type};

impl ChangeBatch {
    /// The rows whose bit is set.
    pub fn filter(&self, rows: &BooleanBuffer) -> Result<ChangeBatch> {
        let chosen = FilterBuilder::new(&BooleanArray::new(rows.clone(), None)).optimize().build();
        Ok(ChangeBatch {
            key: columns(&chosen, &self.key)?,
            key_present: nulls(&chosen, self.key_present.as_ref())?,
            new: side(&chosen, &self.new)?,
            old: self.old.as_ref().map(|s| side(&chosen, s)).transpose()?,
            rowtime: scalars::<Int64Type>(&chosen, &self.rowtime)?,
            window: match &self.window {
                Some(w) => Some(Bounds {
                    start: scalars::<Int64Type>(&chosen, &w.start)?,
                    end: scalars::<Int64Type>(&chosen, &w.end)?,
                }),
                None => None,
            },
            seq: scalars::<UInt64Type>(&chosen, &self.seq)?,
        })
    }
}

fn side(chosen: &FilterPredicate, side: &RowImage) -> Result<RowImage> {
    Ok(RowImage { columns: columns(chosen, &side.columns)?, present: nulls(chosen, side.present.as_ref())? })
}

fn columns(chosen: &FilterPredicate, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    columns.iter().map(|c| Ok(chosen.filter(c)?)).collect()
}

/// `None` where no row is absent any more.
fn nulls(chosen: &FilterPredicate, nulls: Option<&NullBuffer>) -> Result<Option<NullBuffer>> {
    let Some(nulls) = nulls else { return Ok(None) };
    let bits = chosen.filter(&BooleanArray::new(nulls.inner().clone(), None))?;
    Ok(Some(NullBuffer::new(bits.as_boolean().values().clone())).filter(|n| n.null_count() > 0))
}

fn scalars<T: ArrowPrimitiveType>(
    chosen: &FilterPredicate,
    values: &ScalarBuffer<T::Native>,
) -> Result<ScalarBuffer<T::Native>> {
    let kept = chosen.filter(&PrimitiveArray::<T>::new(values.clone(), None))?;
    Ok(kept.as_primitive::<T>().values().clone())
}
