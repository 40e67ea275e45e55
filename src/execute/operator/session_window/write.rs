//! Changes of sessions to batches.

use super::super::OperatorOutput;
use super::super::filter_project::masked;
use super::index::NIL;
use super::pass::Pending;
use super::{Event, SessionWindowOperator, When};
use crate::error::Result;
use crate::execute::change::{Bounds, ChangeBatch, RowImage};
use crate::execute::state::key_table::mix;
use crate::functions::accumulate::{Accumulator, Arguments, Cells, Op, Results, State, Step, Work};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The fold of some changes: one row of an emission.
#[derive(Clone, Copy, Debug)]
struct Folded {
    last: Event,
    /// Before the emission there was a session with these bounds.
    had: bool,
    before: usize,
}

impl SessionWindowOperator {
    /// What a step has collected.
    pub(super) fn write_pending(
        &mut self,
        batch: &ChangeBatch,
        pending: Pending,
        out: &mut OperatorOutput,
    ) -> Result<()> {
        match self.when {
            When::Each if !pending.seqs.is_empty() => out.batches.push(self.write_each(batch, pending)?),
            When::Final if !pending.closed.is_empty() => out.batches.push(self.write_closed(&pending.closed)?),
            _ => {}
        }
        Ok(())
    }

    /// The key columns are the input's: a tombstone has the key of the row that causes it.
    fn write_each(&self, batch: &ChangeBatch, pending: Pending) -> Result<ChangeBatch> {
        let rows = UInt32Array::from(pending.rows);
        let key = batch.key.iter().map(|c| Ok(arrow::compute::take(c, &rows, None)?)).collect::<Result<_>>()?;
        let old = match self.with_old {
            true => {
                let present = Some(NullBuffer::from(pending.had));
                Some(masked(RowImage { columns: self.columns(pending.before)?, present })?)
            }
            false => None,
        };
        let new = RowImage { columns: self.columns(pending.after)?, present: presence(pending.alive) };
        Ok(changes(key, new, old, &pending.bounds, pending.seqs))
    }

    /// Sessions that are closed, as they are.
    pub(super) fn write_closed(&self, closed: &[(u32, u64)]) -> Result<ChangeBatch> {
        let slots: Vec<u32> = closed.iter().map(|c| c.0).collect();
        let new = RowImage { columns: self.columns(self.peeked(&self.arena.words, &slots))?, present: None };
        let bounds: Vec<(i64, i64)> = slots.iter().map(|&s| (self.index.get(s).start, self.index.get(s).end)).collect();
        let key = self.layout.columns_of(slots.iter().map(|&s| (&self.keys, self.index.get(s).key)))?;
        Ok(changes(key, new, None, &bounds, closed.iter().map(|c| c.1).collect()))
    }

    /// The fold of all changes since the last emission.
    pub(super) fn write_events(&mut self, out: &mut OperatorOutput) -> Result<()> {
        let events = std::mem::take(&mut self.events);
        let before = std::mem::take(&mut self.before);
        let folded = fold(&events);
        if folded.is_empty() {
            return Ok(());
        }
        let width = self.arena.width;
        let old = match self.with_old {
            true => {
                // A row of words for each, of any content where there was nothing.
                let mut words = Vec::with_capacity(folded.len() * width);
                for row in &folded {
                    match before.get(row.before..row.before.saturating_add(width)) {
                        Some(known) if row.had => words.extend_from_slice(known),
                        _ => words.resize(words.len() + width, 0),
                    }
                }
                let slots: Vec<u32> = (0..folded.len() as u32).collect();
                let present = Some(NullBuffer::from(folded.iter().map(|f| f.had).collect::<Vec<_>>()));
                Some(masked(RowImage { columns: self.columns(self.peeked(&words, &slots))?, present })?)
            }
            false => None,
        };
        let alive: Vec<bool> = folded.iter().map(|f| f.last.slot != NIL).collect();
        let steps = folded.iter().map(|f| {
            let op = if f.last.slot == NIL { Op::NoAfter } else { Op::After };
            Step { op, slot: f.last.slot, with: 0 }
        });
        let new = self.results_of(&steps.collect::<Vec<_>>())?;
        let new = RowImage { columns: self.columns(new)?, present: presence(alive) };
        let key = self.layout.columns_of(folded.iter().map(|f| (&self.keys, f.last.key)))?;
        let bounds: Vec<(i64, i64)> = folded.iter().map(|f| f.last.bounds).collect();
        out.batches.push(changes(key, new, old, &bounds, vec![self.last_seq; bounds.len()]));
        if self.with_old {
            // The next emission's old values are the current ones.
            self.heap.freeze();
        }
        Ok(())
    }

    /// Closed sessions in the order in which they leave: by end, start and key bytes.
    pub(super) fn closing_order(&mut self, closed: &[u32]) -> Result<Vec<u32>> {
        let columns = self.layout.columns_of(closed.iter().map(|&s| (&self.keys, self.index.get(s).key)))?;
        let keys = self.layout.encode_columns(&columns, closed.len())?;
        let mut order: Vec<usize> = (0..closed.len()).collect();
        let place = |&i: &usize| (self.index.get(closed[i]).end, self.index.get(closed[i]).start);
        order.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| keys.get(*a).cmp(keys.get(*b))));
        Ok(order.into_iter().map(|i| closed[i]).collect())
    }

    /// The results of a program without changes.
    fn results_of(&mut self, steps: &[Step]) -> Result<Vec<Cells>> {
        let mut cells = self.cells();
        for (accumulator, cells) in self.accumulators.iter().zip(&mut cells) {
            let mut state = State { words: &mut self.arena.words, width: self.arena.width, heap: &mut self.heap };
            let results = Results { before: None, after: Some(cells) };
            accumulator.run(&mut state, Work::Program(steps), Arguments::default(), results, &mut Vec::new())?;
        }
        Ok(cells)
    }

    fn peeked(&self, words: &[i64], slots: &[u32]) -> Vec<Cells> {
        let mut cells = self.cells();
        for (accumulator, cells) in self.accumulators.iter().zip(&mut cells) {
            accumulator.peek(words, self.arena.width, &self.heap, slots, cells);
        }
        cells
    }

    pub(super) fn cells(&self) -> Vec<Cells> {
        self.accumulators.iter().map(Accumulator::cells).collect()
    }

    fn columns(&self, cells: Vec<Cells>) -> Result<Vec<ArrayRef>> {
        cells.into_iter().zip(&self.accumulators).map(|(c, accumulator)| accumulator.finish(c)).collect()
    }
}

/// Per key and bounds, at the place of the first change: what was before it, and what is after the last.
fn fold(events: &[Event]) -> Vec<Folded> {
    let mut places: HashMap<(u32, i64, i64), usize, BuildHasherDefault<Mixer>> = HashMap::default();
    places.reserve(events.len());
    let mut folded: Vec<Folded> = Vec::new();
    for event in events {
        let place = *places.entry((event.key, event.bounds.0, event.bounds.1)).or_insert(folded.len());
        match folded.get_mut(place) {
            Some(known) => known.last = *event,
            None => folded.push(Folded { last: *event, had: event.had, before: event.before }),
        }
    }
    folded.retain(|f| f.had || f.last.slot != NIL);
    folded
}

/// Hashes a few words: the keys are internal, so collisions cannot be provoked.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_i64(&mut self, word: i64) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word);
    }
}

fn presence(alive: Vec<bool>) -> Option<NullBuffer> {
    alive.contains(&false).then(|| alive.into())
}

/// A session's rowtime is its end.
fn changes(
    key: Vec<ArrayRef>,
    new: RowImage,
    old: Option<RowImage>,
    bounds: &[(i64, i64)],
    seq: Vec<u64>,
) -> ChangeBatch {
    let (start, end): (Vec<i64>, Vec<i64>) = bounds.iter().copied().unzip();
    let end: arrow::buffer::ScalarBuffer<i64> = end.into();
    ChangeBatch {
        key,
        key_present: None,
        new,
        old,
        rowtime: end.clone(),
        window: Some(Bounds { start: start.into(), end }),
        seq: seq.into(),
    }
}
