//! Changes of a table: the old value leaves its group, the new one joins it.
//!
//! ```text
//! group east: SUM 7     row: old 3, new 5     ->  7 - 3 + 5 = 9, one result
//!                       row: old 3, no new    ->  7 - 3     = 4: a group that nobody is in any more stays, with nothing
//! ```
//!
//! It is the same loop over words as for streams. MIN, MAX and the like cannot forget a value: [`has_undo`] says
//! so, and the planner refuses them over tables.

use super::{Accumulator, Cells, Changes, Native, Pass, Words, bigints, decimals, doubles, integers};
use crate::error::{Error, Result};
use crate::functions::aggregate::Aggregate;
#[cfg(doc)]
use crate::functions::aggregate::has_undo;
use crate::functions::fold::{
    AvgBigint, AvgDouble, AvgInteger, Count, SumBigint, SumDecimal, SumDouble, SumInteger, Undo,
};
use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;

/// One image of the changes' argument: its column (`None` for COUNT(*)), and which rows have the image (`None` = all).
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    /// The column.
    pub column: Option<&'a ArrayRef>,
    /// Rows that have the image.
    pub present: Option<&'a NullBuffer>,
}

impl Argument<'_> {
    fn column(&self) -> Result<&ArrayRef> {
        self.column.ok_or_else(|| Error::bug("an aggregate has no argument"))
    }

    /// Rows whose image is there and not NULL.
    fn valid(&self) -> Option<NullBuffer> {
        NullBuffer::union(self.present, self.column.and_then(|c| c.logical_nulls()).as_ref())
    }
}

impl Accumulator {
    /// As [`Accumulator::add`], for changes of a table: each takes its old value back, then adds its new one.
    pub fn replace(
        &self,
        state: &mut Words<'_>,
        changes: Changes<'_>,
        (old, new): (Argument<'_>, Argument<'_>),
        before: Option<&mut Cells>,
        after: Option<&mut Cells>,
        unfit: &mut Vec<u32>,
    ) -> Result<()> {
        let valid = (old.valid(), new.valid());
        let mut pass = Pass { state, offset: self.offset, changes, before, after, unfit };
        macro_rules! run {
            ($fold:expr, $values:ident) => {{
                let (o, n) = ($values(old.column()?)?, $values(new.column()?)?);
                pass.replace($fold, &valid, |r| o[r], |r| n[r]);
            }};
        }
        match self.function {
            Aggregate::CountRows | Aggregate::Count => pass.replace(Count, &valid, |_| (), |_| ()),
            Aggregate::SumInteger => run!(SumInteger, integers),
            Aggregate::SumBigint => run!(SumBigint, bigints),
            Aggregate::SumDouble => run!(SumDouble, doubles),
            Aggregate::SumDecimal(p, _) => {
                run!(SumDecimal { limit: 10i128.pow(u32::from(p)) - 1 }, decimals)
            }
            Aggregate::AvgInteger => run!(AvgInteger, integers),
            Aggregate::AvgBigint => run!(AvgBigint, bigints),
            Aggregate::AvgDouble => run!(AvgDouble, doubles),
            Aggregate::Min(_) | Aggregate::Max(_) => {
                return Err(Error::bug("MIN and MAX cannot take a value back"));
            }
        }
        Ok(())
    }
}

impl Pass<'_, '_> {
    fn replace<F: Undo>(
        &mut self,
        fold: F,
        (old_valid, new_valid): &(Option<NullBuffer>, Option<NullBuffer>),
        old: impl Fn(usize) -> F::In,
        new: impl Fn(usize) -> F::In,
    ) {
        let mut before = self.before.as_mut().map(|c| F::Out::cell(c));
        let mut after = self.after.as_mut().map(|c| F::Out::cell(c));
        let valid = |nulls: &Option<NullBuffer>, r: usize| nulls.as_ref().is_none_or(|n| n.is_valid(r));
        for (&slot, &row) in self.changes.slots.iter().zip(self.changes.rows) {
            let at = slot as usize * self.state.width + self.offset;
            let words = &mut self.state.words[at..at + F::WORDS];
            if let Some(out) = before.as_mut() {
                out.push(fold.peek(words));
            }
            let r = row as usize;
            let undone = !valid(old_valid, r) || fold.undo(words, old(r));
            let added = !valid(new_valid, r) || fold.add(words, new(r));
            if !(undone && added) {
                self.unfit.push(row);
            }
            if let Some(out) = after.as_mut() {
                out.push(fold.peek(words));
            }
        }
    }
}
