//! What one pass and one step keep between their loops.

use crate::execute::state::key_table::Probe;
use crate::execute::state::keys::GroupRef;
use crate::functions::accumulate::Cells;

/// One pass of changes: the i-th of all vectors belong together.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) rows: Vec<u32>,
    pub(super) starts: Vec<i64>,
    pub(super) probes: Vec<Probe>,
    pub(super) groups: Vec<GroupRef>,
    pub(super) slots: Vec<u32>,
    pub(super) fresh: Vec<bool>,
}

/// What a step writes.
#[derive(Debug)]
pub(super) struct Pending {
    /// `Each`: input rows; their order is that of the other vectors.
    pub(super) rows: Vec<u32>,
    pub(super) starts: Vec<i64>,
    pub(super) times: Vec<i64>,
    pub(super) seqs: Vec<u64>,
    pub(super) after: Vec<Cells>,
    pub(super) before: Vec<Cells>,
    pub(super) had: Vec<bool>,
    /// `Final`: groups of closed windows.
    pub(super) groups: Vec<GroupRef>,
    /// `Final`: windows that were past their retention when they closed: `seq`, start, number of groups.
    pub(super) lost: Vec<(u64, i64, u32)>,
}

impl Pass {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.starts.clear();
        self.probes.clear();
        self.groups.clear();
        self.slots.clear();
        self.fresh.clear();
    }

    #[inline(always)]
    pub(super) fn push(&mut self, row: usize, start: i64, probe: Probe) {
        self.rows.push(row as u32);
        self.starts.push(start);
        self.probes.push(probe);
    }
}

impl Pending {
    pub(super) fn new(after: Vec<Cells>, before: Vec<Cells>) -> Pending {
        Pending {
            rows: Vec::new(),
            starts: Vec::new(),
            times: Vec::new(),
            seqs: Vec::new(),
            after,
            before,
            had: Vec::new(),
            groups: Vec::new(),
            lost: Vec::new(),
        }
    }
}
