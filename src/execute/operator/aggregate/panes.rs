//! EMIT FINAL over HOPPING windows: a row is kept once, in its pane, however many windows it belongs to.
//!
//! ```text
//! size 3, advance 1     panes:  | 0 | 1 | 2 | 3 |        state, with images for an abort, as of tumbling windows
//! window 0 closes               [ running   ]            panes 0..3 merged, one row per key, kept in key order
//!                                                        written; pane 0 is taken out of it and dropped
//! window 1 closes                   [ running   ]        pane 3 is merged in; written; and so on
//! ```
//!
//! A pane enters the running rows once and leaves them once. Sums and counts are subtracted; MIN and MAX are read again
//! from the other panes, but only where the pane that leaves held the extremum. A row that comes late into a pane which has
//! entered already goes to both. The running rows are derived: an abort or a restart drops them, and they are merged again
//! from the panes.
//!
//! Which window is the first to be written is not decided by the panes: a late row may bring data to a pane of a window
//! that had none when it closed, and must not revive it. See [`AggregateOperator::lowest`].

use super::{AggregateOperator, Pending, arguments};
use crate::error::{Error, Result};
use crate::execute::change::{ChangeBatch, RowImage};
use crate::execute::state::arena::Arena;
use crate::execute::state::key_table::Probe;
use crate::execute::state::keys::BatchKeys;
use crate::execute::state::segment::Segment;
use crate::functions::accumulate::{Arguments, Changes, Op, Results, State, Step, Work};
use crate::types::time::NEVER;
use std::collections::VecDeque;

/// Keys that are only remembered before they are forgotten: so many, and more than there are alive.
const FORGOTTEN_KEYS: usize = 4096;

/// The rows that slide from window to window.
#[derive(Debug)]
pub(super) struct Panes {
    advance: i64,
    size: i64,
    /// Rows by ordinal of the key: rowtime | panes that have the key | accumulators.
    rows: Segment,
    numbers: bool,
    /// Key bytes by ordinal, back to back.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Keys that some pane has, by their bytes.
    order: Vec<u32>,
    /// First pane that has entered, and one past the last.
    from: i64,
    until: i64,
    /// For each of them the ordinals of its keys.
    members: VecDeque<Vec<u32>>,
}

/// A key's row, when a pane brings the key.
#[derive(Clone, Copy)]
struct Found {
    ordinal: u32,
    slot: u32,
    /// Its bytes are not known yet.
    fresh: bool,
    /// No other pane has it.
    dead: bool,
}

impl Panes {
    pub(super) fn new(size: i64, advance: i64, numbers: bool) -> Panes {
        Panes {
            advance,
            size,
            rows: Segment::new(0, numbers),
            numbers,
            bytes: Vec::new(),
            ends: Vec::new(),
            order: Vec::new(),
            from: 0,
            until: 0,
            members: VecDeque::new(),
        }
    }

    /// The first window that a pane belongs to.
    pub(super) fn first_window(&self, pane: i64) -> i64 {
        (pane - self.size + self.advance).max(0)
    }

    /// Nothing has entered.
    fn restart(&mut self, arena: &mut Arena) {
        std::mem::replace(&mut self.rows, Segment::new(0, self.numbers)).release(arena);
        self.bytes.clear();
        self.ends.clear();
        self.order.clear();
        self.members.clear();
        self.until = self.from;
    }

    fn key_bytes(&self, ordinal: u32) -> &[u8] {
        let at = ordinal as usize;
        &self.bytes[if at == 0 { 0 } else { self.ends[at - 1] }..self.ends[at]]
    }

    /// The row of a key, made if there is none; whether its bytes are wanted, and whether no pane has the key.
    fn row(&mut self, probe: Probe, bytes: &[u8], arena: &mut Arena) -> Found {
        let (ordinal, fresh) = self.rows.find_or_insert(probe, bytes, arena);
        let slot = self.rows.slot(ordinal);
        let words = arena.row_mut(slot);
        let dead = fresh || words[1] == 0;
        if dead {
            words.fill(0);
            words[0] = NEVER;
        }
        words[1] += 1;
        Found { ordinal, slot, fresh, dead }
    }

    /// Puts keys among those that are alive.
    fn insert(&mut self, mut fresh: Vec<u32>) {
        if fresh.is_empty() {
            return;
        }
        fresh.sort_unstable_by(|a, b| self.key_bytes(*a).cmp(self.key_bytes(*b)));
        let mut merged = Vec::with_capacity(self.order.len() + fresh.len());
        let mut fresh = fresh.into_iter().peekable();
        for &known in &self.order {
            while let Some(new) = fresh.next_if(|new| self.key_bytes(*new) < self.key_bytes(known)) {
                merged.push(new);
            }
            merged.push(known);
        }
        merged.extend(fresh);
        self.order = merged;
    }
}

impl AggregateOperator {
    /// The lowest window that is open and has data; `i64::MAX` = none.
    pub(super) fn lowest(&self) -> i64 {
        let Some((first, _)) = self.segments.first() else { return i64::MAX };
        match (&self.panes, &self.windows) {
            (Some(panes), Some(windows)) => panes.first_window(first).max(windows.first_open(self.time)),
            _ => first,
        }
    }

    /// Drops the running rows: they are merged again from the panes.
    pub(super) fn restart_panes(&mut self) {
        if let Some(panes) = &mut self.panes {
            panes.restart(&mut self.arena);
        }
    }

    /// The same if most of the keys are only remembered. Between steps: what a step writes names keys by their ordinals.
    pub(super) fn forget_keys(&mut self) {
        if let Some(panes) = self.panes.as_mut().filter(|p| p.ends.len() > FORGOTTEN_KEYS + 2 * p.order.len()) {
            panes.restart(&mut self.arena);
        }
    }

    /// Rows of a pass that came into panes which have entered already go to the running rows, too.
    pub(super) fn catch_up(&mut self, batch: &ChangeBatch, keys: &BatchKeys<'_>) -> Result<()> {
        let Some(panes) = &mut self.panes else { return Ok(()) };
        let (mut slots, mut rows, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for (i, &pane) in self.pass.starts.iter().enumerate() {
            if pane < panes.from || pane >= panes.until {
                continue;
            }
            let (row, nth) = (self.pass.rows[i] as usize, self.pass.groups[i].1 as usize);
            let at = ((pane - panes.from) / panes.advance) as usize;
            let slot = match panes.members[at].get(nth) {
                Some(&known) => panes.rows.slot(known),
                None => {
                    let new = panes.row(self.pass.probes[i], keys.bytes(row), &mut self.arena);
                    panes.members[at].push(new.ordinal);
                    found.push(new);
                    new.slot
                }
            };
            let words = self.arena.row_mut(slot);
            words[0] = words[0].max(batch.rowtime[row]);
            slots.push(slot);
            rows.push(row as u32);
        }
        if slots.is_empty() {
            return Ok(());
        }
        self.welcome(&found)?;
        for (call, accumulator) in self.calls.iter().zip(&self.accumulators) {
            let new = arguments(call, &batch.new)?;
            let mut state = State { words: &mut self.arena.words, width: self.arena.width, heap: &mut self.heap };
            let work = Work::Changes(Changes { slots: &slots, rows: &rows });
            let arguments = Arguments { new: &new, old: &[] };
            accumulator.run(&mut state, work, arguments, Results::default(), &mut Vec::new())?;
        }
        Ok(())
    }

    /// Keeps the key bytes of new ordinals, which follow those that have some, and puts keys among those alive.
    fn welcome(&mut self, found: &[Found]) -> Result<()> {
        let Some(panes) = &mut self.panes else { return Ok(()) };
        let fresh: Vec<u32> = found.iter().filter(|f| f.fresh).map(|f| f.ordinal).collect();
        if !fresh.is_empty() {
            let columns = self.layout.columns_of(fresh.iter().map(|&n| (&panes.rows.keys, n)))?;
            let keys = self.layout.encode_columns(&columns, fresh.len())?;
            for at in 0..fresh.len() {
                panes.bytes.extend_from_slice(keys.get(at));
                panes.ends.push(panes.bytes.len());
            }
        }
        panes.insert(found.iter().filter(|f| f.dead).map(|f| f.ordinal).collect());
        Ok(())
    }

    /// Writes the windows from `start` on that the present stream time closes, each as it is when it closes.
    pub(super) fn close_panes(&mut self, mut start: i64, seq: u64, pending: &mut Pending) -> Result<()> {
        let Some(mut windows) = self.windows else { return Ok(()) };
        if start == i64::MAX || !windows.is_closed(start, self.time) {
            return Ok(());
        }
        self.prepare(start);
        while windows.is_closed(start, self.time) {
            self.enter(windows.end(start))?;
            let Some(panes) = &self.panes else { return Ok(()) };
            if !windows.is_kept(start, self.time) && !panes.order.is_empty() {
                pending.lost.push((seq, start, panes.order.len() as u32));
            } else {
                self.collect_result(start, seq, pending);
            }
            self.leave(start)?;
            start += self.panes.as_ref().map_or(1, |p| p.advance);
            let Some(panes) = self.panes.as_mut().filter(|p| p.order.is_empty()) else { continue };
            // No window has data until the one that reaches the next pane.
            let Some((next, _)) = self.segments.first() else { break };
            start = start.max(panes.first_window(next));
            panes.members.clear();
            (panes.from, panes.until) = (start, start);
        }
        Ok(())
    }

    /// Makes the running rows begin at `start`: windows between had no data, and neither have their panes.
    fn prepare(&mut self, start: i64) {
        let Some(panes) = &mut self.panes else { return };
        if panes.until <= start || panes.from > start {
            debug_assert!(panes.order.is_empty(), "a window with data was passed over");
            panes.members.clear();
            (panes.from, panes.until) = (start, start);
        }
        while panes.from < start {
            panes.members.pop_front();
            panes.from += panes.advance;
        }
    }

    /// Merges the panes before `end` that have not entered.
    fn enter(&mut self, end: i64) -> Result<()> {
        while let Some(panes) = self.panes.as_mut().filter(|p| p.until < end) {
            let pane = panes.until;
            panes.until += panes.advance;
            let mut members = Vec::new();
            let Some(number) = self.segments.find(pane) else {
                panes.members.push_back(members);
                continue;
            };
            let segment = self.segments.get(number);
            let (mut steps, mut found) = (Vec::new(), Vec::new());
            for nth in 0..segment.keys.len() {
                let with = segment.slot(nth);
                let new = panes.row(segment.keys.probe(nth), segment.keys.bytes(nth), &mut self.arena);
                let time = self.arena.row(with)[0];
                let words = self.arena.row_mut(new.slot);
                words[0] = words[0].max(time);
                members.push(new.ordinal);
                steps.push(Step { op: Op::Merge, slot: new.slot, with });
                if new.fresh || new.dead {
                    found.push(new);
                }
            }
            panes.members.push_back(members);
            self.welcome(&found)?;
            self.program(&steps)?;
        }
        Ok(())
    }

    /// Takes the pane at `start` out of the running rows, and drops it.
    fn leave(&mut self, start: i64) -> Result<()> {
        let Some(panes) = &mut self.panes else { return Ok(()) };
        let members = panes.members.pop_front().unwrap_or_default();
        panes.from += panes.advance;
        let Some((_, number)) = self.segments.first().filter(|first| first.0 == start) else { return Ok(()) };
        let segment = self.segments.get(number);
        let slots = members.iter().enumerate().map(|(nth, &n)| (panes.rows.slot(n), segment.slot(nth as u32)));
        let slots: Vec<(u32, u32)> = slots.collect();
        let mut died = false;
        for &(slot, _) in &slots {
            let words = self.arena.row_mut(slot);
            words[1] -= 1;
            died |= words[1] == 0;
        }
        let mut stale = Vec::new();
        for accumulator in &self.accumulators {
            let mut state = State { words: &mut self.arena.words, width: self.arena.width, heap: &mut self.heap };
            accumulator.leave(&mut state, &slots, &mut stale);
            let mut steps = Vec::new();
            for at in stale.drain(..) {
                self.reread(members[at], slots[at].0, &mut steps);
            }
            let mut state = State { words: &mut self.arena.words, width: self.arena.width, heap: &mut self.heap };
            let work = Work::Program(&steps);
            accumulator.run(&mut state, work, Arguments::default(), Results::default(), &mut Vec::new())?;
        }
        if died && let Some(panes) = &mut self.panes {
            let (rows, arena) = (&panes.rows, &self.arena);
            panes.order.retain(|&n| arena.row(rows.slot(n))[1] > 0);
        }
        self.segments.close_first();
        Ok(())
    }

    /// What reads an aggregate of a key again from the panes that are left.
    fn reread(&self, ordinal: u32, slot: u32, steps: &mut Vec<Step>) {
        let Some(panes) = self.panes.as_ref().filter(|_| self.arena.row(slot)[1] > 0) else { return };
        let keys = &panes.rows.keys;
        let (probe, bytes) = (keys.probe(ordinal), keys.bytes(ordinal));
        steps.push(Step { op: Op::Start, slot, with: 0 });
        for (_, number) in self.segments.between(panes.from, panes.until) {
            let segment = self.segments.get(number);
            if let Some(nth) = segment.keys.find(probe, bytes) {
                steps.push(Step { op: Op::Merge, slot, with: segment.slot(nth) });
            }
        }
    }

    fn program(&mut self, steps: &[Step]) -> Result<()> {
        for accumulator in &self.accumulators {
            let mut state = State { words: &mut self.arena.words, width: self.arena.width, heap: &mut self.heap };
            let work = Work::Program(steps);
            accumulator.run(&mut state, work, Arguments::default(), Results::default(), &mut Vec::new())?;
        }
        Ok(())
    }

    /// The running rows as those of the window at `start`.
    fn collect_result(&self, start: i64, seq: u64, pending: &mut Pending) {
        let Some(panes) = &self.panes else { return };
        let slots: Vec<u32> = panes.order.iter().map(|&n| panes.rows.slot(n)).collect();
        for (accumulator, cells) in self.accumulators.iter().zip(&mut pending.after) {
            accumulator.peek(&self.arena.words, self.arena.width, &self.heap, &slots, cells);
        }
        pending.times.extend(slots.iter().map(|&slot| self.arena.row(slot)[0]));
        pending.rows.extend_from_slice(&panes.order);
        pending.starts.resize(pending.rows.len(), start);
        pending.seqs.resize(pending.rows.len(), seq);
    }

    /// What [`AggregateOperator::collect_result`] has collected.
    pub(super) fn write_collected(&self, pending: Pending) -> Result<ChangeBatch> {
        let panes = self.panes.as_ref().ok_or_else(|| Error::bug("there are no panes"))?;
        Ok(ChangeBatch {
            key: self.layout.columns_of(pending.rows.iter().map(|&n| (&panes.rows.keys, n)))?,
            key_present: None,
            new: RowImage { columns: self.columns(pending.after)?, present: None },
            old: None,
            rowtime: pending.times.into(),
            window: self.bounds(pending.starts),
            seq: pending.seqs.into(),
        })
    }
}
