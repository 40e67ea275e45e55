//! What one pass and one step keep between their loops.

use super::super::OperatorOutput;
use crate::functions::accumulate::{Cells, Op, Step};

/// What a step writes: the i-th of all vectors belong together.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Input rows.
    pub(super) rows: Vec<u32>,
    pub(super) bounds: Vec<(i64, i64)>,
    pub(super) seqs: Vec<u64>,
    /// False for a tombstone.
    pub(super) alive: Vec<bool>,
    pub(super) had: Vec<bool>,
    pub(super) after: Vec<Cells>,
    pub(super) before: Vec<Cells>,
    /// `Final`: closed sessions and the rows that closed them.
    pub(super) closed: Vec<(u32, u64)>,
}

/// One row on its way into a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) row: u32,
    pub(super) seq: u64,
    pub(super) time: i64,
    pub(super) key: u32,
}

/// A pass in the making.
pub(super) struct Pass<'a> {
    pub(super) steps: Vec<Step>,
    /// Results after changes are wanted, and those before them.
    pub(super) results: bool,
    pub(super) old: bool,
    pub(super) pending: &'a mut Pending,
    pub(super) out: &'a mut OperatorOutput,
}

impl Pass<'_> {
    #[inline(always)]
    pub(super) fn before(&mut self, op: Op, slot: u32) {
        if self.old {
            self.step(op, slot, 0);
        }
    }

    #[inline(always)]
    pub(super) fn step(&mut self, op: Op, slot: u32, with: u32) {
        if self.results || matches!(op, Op::Start | Op::Add | Op::Merge) {
            self.steps.push(Step { op, slot, with });
        }
    }
}

impl Pending {
    pub(super) fn reserve(&mut self, rows: usize) {
        self.rows.reserve(rows);
        self.bounds.reserve(rows);
        self.seqs.reserve(rows);
        self.alive.reserve(rows);
        self.had.reserve(rows);
    }

    pub(super) fn push(&mut self, row: Row, bounds: (i64, i64), alive: bool, had: bool) {
        self.rows.push(row.row);
        self.bounds.push(bounds);
        self.seqs.push(row.seq);
        self.alive.push(alive);
        self.had.push(had);
    }
}
