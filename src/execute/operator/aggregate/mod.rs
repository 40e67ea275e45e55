//! Grouped aggregates over a stream: one group per key, or per key and TUMBLING or HOPPING window.
//!
//! A pass takes up to 2,048 changes through four loops: which windows (stream time and the late rule), which group (all
//! first buckets, then the probes), what must be remembered for an abort, and one typed loop per aggregate. In
//! [`EmitMode::EveryChange`] the last loop writes the result of every change; in [`EmitMode::LatestPerKey`] [`Operator::emit`] writes the changed
//! groups; with EMIT FINAL the row that closes a window ends the pass and the window's groups are written, by start and
//! then key bytes.
//!
//! Words of a group: highest rowtime | tags (low half: epoch of its image, high half: emission) | accumulators.
//!
//! Stream time is the highest rowtime of the rows that came here with a key and a value. It stays with the state: it is
//! in the memo, and an abort turns it back.

mod panes;
mod pass;
mod restore;
mod store;
mod write;

use super::filter_project::masked;
use super::window::Windows;
use super::{EmitMode, Operator, OperatorOutput, OperatorSize, SnapshotPlace};
use crate::error::{Error, Result};
use crate::execute::change::{BadRow, ChangeBatch, RowImage};
use crate::execute::pipeline::{AggregateCall, AggregateSpec};
use crate::execute::state::ChangelogEntry;
use crate::execute::state::arena::Arena;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::group_codec::{GroupCodec, PANES_VERSION, STATE_VERSION};
use crate::execute::state::keys::{BatchKeys, GroupRef, KeyLayout, keyed, usable};
use crate::execute::state::restore_batch::Restorable;
use crate::execute::state::segment::Segments;
use crate::functions::accumulate::{Accumulator, Arguments, Changes, Heap, Op, Results, State, Step, Work, overflow};
use crate::mutant::{self, Mutant};
use crate::types::time::NEVER;
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use panes::Panes;
use pass::{Pass, Pending};
use restore::Restoring;

/// Changes resolved per pass: slots, probes and state rows of one pass stay in the second-level cache.
const PASS_ROWS: usize = 2048;

/// Words before the accumulators: rowtime and tags.
const HEAD_WORDS: usize = 2;

/// When results leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Each,
    Last,
    Final,
}

/// The operator.
#[derive(Debug)]
pub struct AggregateOperator {
    /// `None` = one group per key, which never closes.
    windows: Option<Windows>,
    when: When,
    with_old: bool,
    /// The input is a table's changes: old values are taken back.
    over_table: bool,
    calls: Vec<AggregateCall>,
    /// As they were written.
    texts: Vec<String>,
    /// One per call.
    accumulators: Vec<Accumulator>,
    layout: KeyLayout,
    arena: Arena,
    /// What states of variable size keep outside of their words.
    heap: Heap,
    handles: GroupCodec,
    segments: Segments,
    /// EMIT FINAL over HOPPING windows: segments are panes. `None` = they are windows.
    panes: Option<Panes>,
    time: i64,
    late: u64,
    /// `time` and `late` at the last commit.
    saved: (i64, u64),
    /// Number of the running epoch: a group whose tag differs has not been saved in it yet.
    epoch: u32,
    /// Number of the running emission.
    emission: u32,
    /// Undo set: segment, ordinal and words of committed groups at their first touch in this epoch.
    images: Vec<i64>,
    changed: Changed,
    last_seq: u64,
    pass: Pass,
    /// What a restore needs to know until its end.
    restoring: Restoring,
}

/// [`When::Last`]: groups changed since the last emission, in order of their first change.
#[derive(Debug, Default)]
struct Changed {
    groups: Vec<GroupRef>,
    /// Their words before it, where old values are asked for.
    before: Vec<i64>,
    /// Whether they existed before it.
    had: Vec<bool>,
}

impl AggregateOperator {
    /// The operator for a grouping. EMIT FINAL decides alone when it writes; otherwise `mode` does.
    pub fn new(spec: &AggregateSpec, mode: EmitMode) -> Result<AggregateOperator> {
        let windows = spec.window.as_ref().map(|w| Windows::new(w, spec.loses_windows)).transpose()?;
        let when = match (spec.final_only, mode) {
            (true, _) if windows.is_none() => {
                return Err(Error::statement("EMIT FINAL is only supported for windowed aggregations"));
            }
            (true, _) => When::Final,
            (false, EmitMode::EveryChange) => When::Each,
            (false, EmitMode::LatestPerKey) => When::Last,
        };
        let mut width = HEAD_WORDS;
        let mut accumulators = Vec::with_capacity(spec.calls.len());
        for call in &spec.calls {
            if call.arguments.len() != call.function.arity() {
                return Err(Error::bug("an aggregate call has the wrong number of arguments"));
            }
            let accumulator = Accumulator::new(call.function.clone(), width)?;
            width += accumulator.width();
            accumulators.push(accumulator);
        }
        let sliding =
            windows.filter(|w| when == When::Final && w.has_panes() && accumulators.iter().all(Accumulator::leaves));
        let version = if sliding.is_some() { PANES_VERSION } else { STATE_VERSION };
        let handles = GroupCodec::new(version, HEAD_WORDS, &accumulators);
        let layout = KeyLayout::new(spec.key_format, &spec.key)?;
        Ok(AggregateOperator {
            windows,
            when,
            with_old: false,
            over_table: false,
            calls: spec.calls.clone(),
            texts: spec.texts.clone(),
            accumulators,
            segments: Segments::new(layout.is_number()),
            panes: sliding.map(|w| Panes::new(w.size(), w.advance(), layout.is_number())),
            layout,
            arena: Arena::new(width),
            heap: Heap::default(),
            handles,
            time: NEVER,
            late: 0,
            saved: (NEVER, 0),
            epoch: 1,
            emission: 1,
            images: Vec::new(),
            changed: Changed::default(),
            last_seq: 0,
            pass: Pass::default(),
            restoring: Restoring::default(),
        })
    }

    /// Also writes the value before each change (HAVING needs it to know whether a row leaves).
    pub fn with_old(mut self) -> AggregateOperator {
        self.with_old = self.when != When::Final;
        self
    }

    /// The input is a table's changes: old values are taken back.
    pub fn over_table(mut self) -> AggregateOperator {
        self.over_table = true;
        self
    }

    /// Highest rowtime of the rows that came here; [`NEVER`] before the first.
    pub fn stream_time(&self) -> i64 {
        self.time
    }

    /// Rows dropped by the late rule since the query began, once per window that they missed.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Resolves rows from `at` on to (row, window) pairs, or pairs with panes, and returns the first row not taken and the
    /// lowest window that has data. With EMIT FINAL it stops right after a row that closes a window, so that the closing
    /// belongs to that row's `seq`.
    fn scan(
        &mut self,
        batch: &ChangeBatch,
        keys: &BatchKeys<'_>,
        usable: Option<&NullBuffer>,
        at: usize,
        out: &mut OperatorOutput,
    ) -> (usize, i64) {
        self.pass.clear();
        let mut low = self.lowest();
        let mut row = at;
        while row < batch.len() && self.pass.rows.len() < PASS_ROWS {
            let (this, time) = (row, batch.rowtime[row]);
            row += 1;
            if usable.is_some_and(|u| u.is_null(this)) {
                out.bad.push(BadRow { seq: batch.seq[this], reason: unusable(batch, this) });
                continue;
            }
            self.time = self.time.max(time);
            let Some(windows) = self.windows.as_mut() else {
                self.pass.push(this, 0, keys.probe(this));
                continue;
            };
            if time < 0 {
                out.bad.push(BadRow { seq: batch.seq[this], reason: format!("negative row time {time}") });
                continue;
            }
            let last = windows.last(time);
            let mut start = Some(windows.first(time));
            while let Some(closed) = start.filter(|&s| windows.is_closed(s, self.time)) {
                self.late += 1;
                out.late_rows.push(batch.seq[this]);
                start = windows.next(closed, last);
            }
            if let Some(open) = start {
                low = low.min(open);
                let probe = keys.probe(this);
                if self.panes.is_some() {
                    // The last window that covers a row begins with the row's pane.
                    start = Some(last);
                }
                while let Some(taking) = start {
                    self.pass.push(this, taking, probe);
                    start = windows.next(taking, last);
                }
            }
            if self.when == When::Final && low < i64::MAX && windows.is_closed(low, self.time) {
                break;
            }
        }
        (row, low)
    }

    /// Finds or makes the group of every pair.
    fn resolve(&mut self, keys: &BatchKeys<'_>) {
        let pass = &mut self.pass;
        for &start in &pass.starts {
            pass.groups.push((self.segments.at(start), 0));
        }
        // Independent loads first: the cache misses of the whole pass overlap, the probes below then hit the cache.
        let segments = &self.segments;
        let candidates = pass.groups.iter().zip(&pass.probes).map(|(g, &p)| segments.get(g.0).keys.candidate(p));
        pass.slots.extend(candidates);
        if !self.layout.is_number() {
            let pairs = pass.groups.iter().zip(&pass.slots);
            std::hint::black_box(pairs.fold(0, |x, (g, &nth)| x ^ segments.get(g.0).keys.warm(nth)));
        }
        pass.slots.clear();
        for (i, group) in pass.groups.iter_mut().enumerate() {
            let segment = self.segments.get_mut(group.0);
            let bytes = keys.bytes(pass.rows[i] as usize);
            let (nth, fresh) = segment.find_or_insert(pass.probes[i], bytes, &mut self.arena);
            group.1 = nth;
            pass.slots.push(segment.slot(nth));
            pass.fresh.push(fresh);
        }
        let (words, width) = (&self.arena.words, self.arena.width);
        std::hint::black_box(pass.slots.iter().fold(0, |x, &slot| x ^ words[slot as usize * width]));
    }

    /// Starts new groups, saves the images of committed ones, moves rowtimes, notes what must be written.
    fn touch(&mut self, batch: &ChangeBatch, pending: &mut Pending) {
        let pass = &self.pass;
        for i in 0..pass.rows.len() {
            let (row, group, fresh) = (pass.rows[i] as usize, pass.groups[i], pass.fresh[i]);
            let words = self.arena.row_mut(pass.slots[i]);
            if fresh {
                words.fill(0);
                words[0] = NEVER;
                words[1] = i64::from(self.epoch);
            } else if words[1] as u32 != self.epoch {
                self.images.extend([i64::from(group.0), i64::from(group.1)]);
                self.images.extend_from_slice(words);
                words[1] = (words[1] & !0xFFFF_FFFF) | i64::from(self.epoch);
            }
            match self.when {
                When::Each => {
                    pending.rows.push(pass.rows[i]);
                    pending.starts.push(pass.starts[i]);
                    pending.times.push(words[0].max(batch.rowtime[row]));
                    pending.seqs.push(batch.seq[row]);
                    if self.with_old {
                        pending.had.push(!fresh);
                    }
                }
                When::Last if (words[1] >> 32) as u32 != self.emission => {
                    words[1] = (words[1] & 0xFFFF_FFFF) | (i64::from(self.emission) << 32);
                    self.changed.groups.push(group);
                    if self.with_old {
                        self.changed.before.extend_from_slice(words);
                        self.changed.had.push(!fresh);
                    }
                }
                When::Last | When::Final => {}
            }
            words[0] = words[0].max(batch.rowtime[row]);
        }
    }

    fn accumulate(&mut self, batch: &ChangeBatch, pending: &mut Pending) -> Result<()> {
        let each = self.when == When::Each;
        let mut unfit = Vec::new();
        let replaced = batch.old.as_ref().filter(|_| self.over_table);
        let steps = replaced.map_or_else(Vec::new, |old| self.replacing(old, &batch.new));
        for (i, (call, accumulator)) in self.calls.iter().zip(&self.accumulators).enumerate() {
            let new = arguments(call, &batch.new)?;
            let old = if let Some(old) = &replaced { arguments(call, old)? } else { Vec::new() };
            let before = if each && self.with_old { Some(&mut pending.before[i]) } else { None };
            let after = if each { Some(&mut pending.after[i]) } else { None };
            let mut state = State { words: &mut self.arena.words, width: self.arena.width, heap: &mut self.heap };
            let work = match replaced {
                Some(_) => Work::Program(&steps),
                None => Work::Changes(Changes { slots: &self.pass.slots, rows: &self.pass.rows }),
            };
            let arguments = Arguments { new: &new, old: &old };
            accumulator.run(&mut state, work, arguments, Results { before, after }, &mut unfit)?;
            if !unfit.is_empty() {
                return Err(overflow(self.texts.get(i).map(String::as_str), &call.function));
            }
        }
        Ok(())
    }

    /// What a pass of a table's changes does: each takes its old value back, then adds its new one.
    fn replacing(&self, old: &RowImage, new: &RowImage) -> Vec<Step> {
        let each = self.when == When::Each;
        let mut steps = Vec::with_capacity(2 * self.pass.rows.len());
        for (&slot, &with) in self.pass.slots.iter().zip(&self.pass.rows) {
            let row = with as usize;
            let ops = [
                (each && self.with_old, Op::Before),
                (old.has(row), Op::Undo),
                (new.has(row), Op::Add),
                (each, Op::After),
            ];
            steps.extend(ops.into_iter().filter(|op| op.0).map(|(_, op)| Step { op, slot, with }));
        }
        steps
    }

    /// Closes every window that the present stream time closes; with EMIT FINAL its groups leave, by start and key bytes.
    fn close(&mut self, seq: u64, pending: &mut Pending) -> Result<()> {
        let Some(mut windows) = self.windows else { return Ok(()) };
        while let Some((start, number)) = self.segments.first() {
            if !windows.is_closed(start, self.time) {
                break;
            }
            let groups = self.segments.get(number).keys.len();
            if self.when == When::Final && !windows.is_kept(start, self.time) {
                pending.lost.push((seq, start, groups));
            } else if self.when == When::Final {
                let groups: Vec<GroupRef> = (0..groups).map(|n| (number, n)).collect();
                let keys = self.layout.encode(&self.segments, &groups)?;
                pending.groups.extend(keys.order().into_iter().map(|i| groups[i as usize]));
                pending.seqs.resize(pending.groups.len(), seq);
            }
            self.segments.close_first();
        }
        Ok(())
    }

    fn report(pending: &Pending, out: &mut OperatorOutput) {
        for &(seq, start, groups) in &pending.lost {
            let reason = format!(
                "the window that starts at {start} was past its retention when it closed: {groups} groups were not written"
            );
            out.bad.push(BadRow { seq, reason });
        }
    }
}

impl Operator for AggregateOperator {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        self.finish_restore()?;
        let Some(batch) = ports.first().copied().flatten().filter(|b| !b.is_empty()) else { return Ok(()) };
        let keys = self.layout.read(&batch.key)?;
        let usable = if self.over_table { keyed(batch) } else { usable(batch) };
        let late = self.late;
        self.forget_keys();
        let mut pending = Pending::new(self.cells(), self.cells());
        let mut at = 0;
        while at < batch.len() {
            let (next, low) = self.scan(batch, &keys, usable.as_ref(), at, out);
            at = next;
            self.resolve(&keys);
            self.touch(batch, &mut pending);
            self.accumulate(batch, &mut pending)?;
            self.catch_up(batch, &keys)?;
            match self.panes {
                Some(_) => self.close_panes(low, batch.seq[at - 1], &mut pending)?,
                None => self.close(batch.seq[at - 1], &mut pending)?,
            }
        }
        self.heap.advance(batch.len());
        self.last_seq = batch.seq[batch.len() - 1];
        out.late += self.late - late;
        Self::report(&pending, out);
        if !pending.seqs.is_empty() {
            out.batches.push(match self.when {
                When::Final if self.panes.is_some() => self.write_collected(pending)?,
                When::Final => self.write_groups(&pending.groups, pending.seqs, None)?,
                _ => self.write_each(batch, pending)?,
            });
        }
        Ok(())
    }

    fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        self.emission = self.emission.wrapping_add(1);
        let mut changed = std::mem::take(&mut self.changed);
        if changed.groups.is_empty() {
            return Ok(());
        }
        if mutant::on(Mutant::LastByHash) && !self.with_old {
            changed.groups.reverse();
        }
        let old = match self.with_old {
            true => {
                let slots: Vec<u32> = (0..changed.groups.len() as u32).collect();
                let mut before = self.cells();
                for (accumulator, cells) in self.accumulators.iter().zip(&mut before) {
                    accumulator.peek(&changed.before, self.arena.width, &self.heap, &slots, cells);
                }
                Some(masked(RowImage { columns: self.columns(before)?, present: Some(NullBuffer::from(changed.had)) })?)
            }
            false => None,
        };
        if self.with_old {
            // The next emission's old values are the current ones.
            self.heap.freeze();
        }
        let seqs = vec![self.last_seq; changed.groups.len()];
        out.batches.push(self.write_groups(&changed.groups, seqs, old)?);
        Ok(())
    }

    fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        self.write_changelog(entries)
    }

    fn commit(&mut self) {
        debug_assert!(self.changed.groups.is_empty(), "a commit emits first");
        self.release_closed();
        self.segments.commit(&mut self.arena);
        self.heap.commit();
        if !mutant::on(Mutant::UndoKept) {
            self.images.clear();
        }
        self.saved = (self.time, self.late);
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn abort(&mut self) {
        self.roll_back();
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        self.take_entry(key, value, 0)
    }

    fn living(&self) -> Option<u64> {
        self.living_groups()
    }

    fn snapshot(&mut self, place: &mut SnapshotPlace, entries: &mut EntryBatch) -> Result<bool> {
        self.write_snapshot(place, entries)
    }

    fn offset_metadata(&self) -> String {
        self.write_metadata()
    }

    fn restore_metadata(&mut self, offset_metadata: &str) -> Result<()> {
        self.finish_restore()?;
        self.read_metadata(offset_metadata)
    }

    fn size(&self) -> OperatorSize {
        self.measure()
    }

    fn stream_time(&self) -> Option<i64> {
        Some(self.time).filter(|time| *time > NEVER)
    }
}

/// The columns that an aggregate reads.
fn arguments(call: &AggregateCall, side: &RowImage) -> Result<Vec<ArrayRef>> {
    let columns: Option<_> = call.arguments.iter().map(|&at| side.columns.get(at).cloned()).collect();
    columns.ok_or_else(|| Error::bug("an aggregate's argument is not in the batch"))
}

#[cold]
fn unusable(batch: &ChangeBatch, row: usize) -> String {
    let what = if batch.new.has(row) { "key" } else { "value" };
    format!("row without a {what} cannot be grouped")
}
