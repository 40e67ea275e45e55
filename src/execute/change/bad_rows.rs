//! Rows that could not be processed, or not all of them, and why. A reason that many rows of a batch have in common is kept once, with a bit for
//! each row: a condition that fails for a third of the rows must not cost more than one that does not.

use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Why a row was not processed. The log writer makes text of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Ordinal of the record that it came from.
    pub seq: u64,
    /// What failed, for the processing log.
    pub reason: String,
}

/// Bad rows: those that were left out, and those in which something is NULL because it could not be computed.
#[derive(Clone, Debug, Default)]
pub struct BadRows {
    /// In the order in which they were noted, and whether the rows were left out.
    reasons: Vec<(String, bool)>,
    /// `seq`, and number of the reason.
    single: Vec<(u64, u32)>,
    marked: Vec<Marked>,
    len: usize,
    /// How many of them were left out.
    left_out: usize,
}

/// Rows of a batch with one reason.
#[derive(Clone, Debug)]
struct Marked {
    reason: u32,
    rows: BooleanBuffer,
    seq: ScalarBuffer<u64>,
}

impl BadRows {
    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many were left out.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// One more that is left out.
    pub fn push(&mut self, row: BadRow) {
        self.add(row, true);
    }

    /// One more, which is left out or not.
    pub(crate) fn add(&mut self, row: BadRow, left_out: bool) {
        self.single.push((row.seq, self.reasons.len() as u32));
        self.reasons.push((row.reason, left_out));
        self.len += 1;
        self.left_out += usize::from(left_out);
    }

    /// Rows of a batch with a common reason; `seq` are those of all its rows.
    pub(crate) fn mark(&mut self, rows: BooleanBuffer, seq: &ScalarBuffer<u64>, reason: String, left_out: bool) {
        let count = rows.count_set_bits();
        if count > 0 {
            self.marked.push(Marked { reason: self.reasons.len() as u32, rows, seq: seq.clone() });
            self.reasons.push((reason, left_out));
            self.len += count;
            self.left_out += if left_out { count } else { 0 };
        }
    }

    /// All of another's, which is empty then.
    pub fn append(&mut self, other: &mut BadRows) {
        let shift = self.reasons.len() as u32;
        let other = std::mem::take(other);
        self.reasons.extend(other.reasons);
        self.single.extend(other.single.into_iter().map(|(seq, reason)| (seq, reason + shift)));
        self.marked.extend(other.marked.into_iter().map(|m| Marked { reason: m.reason + shift, ..m }));
        self.len += other.len;
        self.left_out += other.left_out;
    }

    /// `seq` and reason of each, in the order of `seq`, and those of one `seq` as they were noted.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &str)> + '_ {
        self.entries().map(|(seq, reason, _)| (seq, reason))
    }

    /// The same, and whether the row was left out.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &str, bool)> + '_ {
        let mut single = self.single.clone();
        single.sort_unstable();
        let mut sources: Vec<Box<dyn Iterator<Item = (u64, u32)> + '_>> = vec![Box::new(single.into_iter())];
        for marked in &self.marked {
            sources.push(Box::new(marked.rows.set_indices().map(|row| (marked.seq[row], marked.reason))));
        }
        let heads = sources.iter_mut().enumerate().filter_map(|(i, source)| source.next().map(|row| Reverse((row, i))));
        let mut heads: BinaryHeap<_> = heads.collect();
        std::iter::from_fn(move || {
            let Reverse((row, source)) = heads.pop()?;
            heads.extend(sources[source].next().map(|next| Reverse((next, source))));
            let (reason, left_out) = &self.reasons[row.1 as usize];
            Some((row.0, reason.as_str(), *left_out))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_the_order_of_their_records_and_then_as_noted() {
        let row = |seq, reason: &str| BadRow { seq, reason: reason.to_owned() };
        let seq: ScalarBuffer<u64> = vec![3, 4, 4, 9].into();
        let mut bad = BadRows::default();
        bad.push(row(9, "first"));
        bad.mark(vec![true, false, true, true].into(), &seq, "second".to_owned(), true);
        let mut more = BadRows::default();
        more.push(row(4, "third"));
        more.mark(vec![false, true, false, false].into(), &seq, "fourth".to_owned(), false);
        more.mark(vec![false; 4].into(), &seq, "never".to_owned(), true);
        bad.append(&mut more);
        assert_eq!((bad.len(), bad.left_out(), more.is_empty()), (6, 5, true));
        let all: Vec<_> = bad.iter().collect();
        assert_eq!(all, [(3, "second"), (4, "second"), (4, "third"), (4, "fourth"), (9, "first"), (9, "second")]);
    }
}
