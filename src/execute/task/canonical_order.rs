//! Canonical order: the heads of all input partitions merged by (rowtime, source order, partition), never re-sorted within
//! a partition.
//!
//! Batches wait here per input. [`CanonicalOrder::take`] gives every row that may go its ordinal, and hands out slices of the inputs'
//! batches: together they are all rows of a closed interval of ordinals. A row may go when no other input can still bring an earlier
//! one: every other input has rows waiting, or is known to be at its end.

use crate::execute::change::ChangeBatch;
use std::collections::VecDeque;

/// Rows that are given ordinals at a time: a bound for what operators hold at once.
const ROWS_MAX: usize = 16_384;

/// Inputs in canonical order.
#[derive(Debug, Default)]
pub(crate) struct CanonicalOrder {
    inputs: Vec<Waiting>,
    /// What decides between equal times, by input: tables first, then the order of FROM.
    ranks: Vec<usize>,
    rows: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<ChangeBatch>,
    /// Rows of the first batch that went already.
    at: usize,
}

/// What [`CanonicalOrder::take`] hands out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interval {
    /// Input and rows, with their ordinals.
    pub(crate) batches: Vec<(usize, ChangeBatch)>,
    /// Where ordinals come from: first ordinal, input, offset of its record; ascending, a piece for every gap.
    pub(crate) pieces: Vec<(u64, usize, u64)>,
}

impl Interval {
    /// Input and offset of the record with this ordinal.
    pub(crate) fn origin(&self, seq: u64) -> Option<(usize, u64)> {
        let at = self.pieces.partition_point(|p| p.0 <= seq).checked_sub(1)?;
        let (first, input, offset) = self.pieces[at];
        Some((input, offset + (seq - first)))
    }
}

impl CanonicalOrder {
    /// For inputs in the order of FROM, of which some are those of tables.
    pub(crate) fn new(tables: &[bool]) -> CanonicalOrder {
        let mut order: Vec<usize> = (0..tables.len()).collect();
        order.sort_by_key(|&input| !tables[input]);
        let mut ranks = vec![0; order.len()];
        order.into_iter().enumerate().for_each(|(rank, input)| ranks[input] = rank);
        CanonicalOrder { inputs: tables.iter().map(|_| Waiting::default()).collect(), ranks, rows: 0 }
    }

    /// Rows that wait.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Nothing of this input waits?
    pub(crate) fn is_empty(&self, input: usize) -> bool {
        self.inputs[input].batches.is_empty()
    }

    /// Offset of the next row of an input that waits.
    pub(crate) fn next_offset(&self, input: usize) -> Option<u64> {
        let waiting = &self.inputs[input];
        waiting.batches.front().map(|batch| batch.seq[waiting.at])
    }

    /// Rows behind those that wait; their `seq` holds the offsets of their records.
    pub(crate) fn push(&mut self, input: usize, batch: ChangeBatch) {
        if !batch.is_empty() {
            self.rows += batch.len();
            self.inputs[input].batches.push_back(batch);
        }
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.inputs.iter_mut().for_each(|waiting| *waiting = Waiting::default());
        self.rows = 0;
    }

    /// Gives ordinals from `seq` on to the rows that may go. `may_bring(input)` says whether an input without rows could
    /// still bring earlier ones.
    pub(crate) fn take(&mut self, seq: &mut u64, may_bring: &dyn Fn(usize) -> bool) -> Interval {
        let mut taken = Interval::default();
        if self.rows == 0 || (0..self.inputs.len()).any(|i| self.is_empty(i) && may_bring(i)) {
            return taken;
        }
        let first = *seq;
        let mut ordinals: Vec<Vec<u64>> = vec![Vec::new(); self.inputs.len()];
        let mut starts: Vec<usize> = self.inputs.iter().map(|w| w.at).collect();
        while (*seq - first) < ROWS_MAX as u64 {
            let Some((input, bound)) = self.next() else { break };
            let waiting = &mut self.inputs[input];
            let batch = &waiting.batches[0];
            let mut to = waiting.at + 1;
            while to < batch.len() && (batch.rowtime[to], self.ranks[input]) < bound {
                to += 1;
            }
            for row in waiting.at..to {
                if row == waiting.at || batch.seq[row] != batch.seq[row - 1] + 1 {
                    taken.pieces.push((*seq + (row - waiting.at) as u64, input, batch.seq[row]));
                }
            }
            ordinals[input].extend(*seq..*seq + (to - waiting.at) as u64);
            *seq += (to - waiting.at) as u64;
            waiting.at = to;
            if to == batch.len() {
                // A slice never reaches over two batches: what was taken of this one leaves now.
                self.leave(input, starts[input], &mut ordinals[input], &mut taken);
                starts[input] = 0;
                if self.is_empty(input) && may_bring(input) {
                    break;
                }
            }
        }
        for input in 0..self.inputs.len() {
            if !ordinals[input].is_empty() {
                let waiting = &self.inputs[input];
                let slice = waiting.batches[0].slice(starts[input], waiting.at - starts[input]);
                taken.batches.push((input, renumbered(slice, std::mem::take(&mut ordinals[input]))));
            }
        }
        self.rows -= (*seq - first) as usize;
        taken.batches.sort_by_key(|b| b.0);
        taken
    }

    fn leave(&mut self, input: usize, start: usize, ordinals: &mut Vec<u64>, taken: &mut Interval) {
        let waiting = &mut self.inputs[input];
        if let Some(batch) = waiting.batches.pop_front() {
            let slice = batch.slice(start, waiting.at - start);
            taken.batches.push((input, renumbered(slice, std::mem::take(ordinals))));
        }
        waiting.at = 0;
    }

    /// The input with the earliest head, and the head that its following rows must stay below.
    fn next(&self) -> Option<(usize, (i64, usize))> {
        let mut best: Option<(i64, usize)> = None;
        let mut chosen = 0;
        let mut second = (i64::MAX, usize::MAX);
        for (input, waiting) in self.inputs.iter().enumerate() {
            let Some(batch) = waiting.batches.front() else { continue };
            let head = (batch.rowtime[waiting.at], self.ranks[input]);
            match best {
                Some(first) if first <= head => second = second.min(head),
                _ => {
                    second = second.min(best.unwrap_or(second));
                    best = Some(head);
                    chosen = input;
                }
            }
        }
        best.map(|_| (chosen, second))
    }
}

fn renumbered(batch: ChangeBatch, seq: Vec<u64>) -> ChangeBatch {
    ChangeBatch { seq: seq.into(), ..batch }
}
