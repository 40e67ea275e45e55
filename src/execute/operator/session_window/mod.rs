//! Grouped aggregates over SESSION windows: a session grows with every row within the gap, and takes others in.
//!
//! ```text
//! gap 30, one key, rows at:      0       10         60          35
//! sessions after each row:      [0,0]   [0,10]     [0,10]      [0,60]
//!                                                  [60,60]
//! written (EMIT CHANGES):       [0,0]   -[0,0]     [60,60]     -[0,10]  -[60,60]
//!                                       [0,10]                 [0,60]
//! ```
//!
//! A pass resolves up to 2,048 rows one by one to a program of steps on sessions (start, add, merge), and then runs one
//! typed loop per aggregate over the program. A session whose end is before stream time - gap - grace is closed: later rows
//! do not see it, and with EMIT FINAL the row that closed it writes it, by end, start and key bytes. A row that reaches no
//! open session is late if it would make one that is closed already.
//!
//! What [`EmitMode::LatestPerKey`] writes is the fold of what [`EmitMode::EveryChange`] writes: the changes since the last emission are kept as
//! they came, and folded by key and bounds.

mod expiry;
mod index;
mod pass;
mod restore;
mod store;
mod write;

use super::{EmitMode, Operator, OperatorOutput, OperatorSize, SnapshotPlace};
use crate::error::{Error, Result};
use crate::execute::change::{BadRow, ChangeBatch};
use crate::execute::pipeline::{AggregateCall, AggregateSpec};
use crate::execute::state::ChangelogEntry;
use crate::execute::state::arena::Arena;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::group_codec::{GroupCodec, STATE_VERSION};
use crate::execute::state::key_table::KeyTable;
use crate::execute::state::keys::{BatchKeys, KeyLayout, usable};
use crate::execute::state::restore_batch::{Restorable, RestoreBatch};
use crate::functions::accumulate::{Accumulator, Arguments, Heap, Op, Results, State, Step, Work, overflow};
use crate::mutant::{self, Mutant};
use crate::types::time::{NEVER, Window, WindowKind};
use arrow::array::ArrayRef;
use expiry::Expiry;
use index::{Index, NIL};
use pass::{Pass, Pending, Row};
use std::hint::black_box;

/// Rows resolved per pass.
const PASS_ROWS: usize = 2048;

/// Rows whose memory is touched ahead: what they need stays in the first-level cache until they come.
const WARM_ROWS: usize = 256;

/// Words before the accumulators: the session's end, which is its rowtime.
const HEAD_WORDS: usize = 1;

/// When results leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Each,
    Last,
    Final,
}

/// The operator.
#[derive(Debug)]
pub struct SessionWindowOperator {
    gap: i64,
    grace: i64,
    when: When,
    with_old: bool,
    calls: Vec<AggregateCall>,
    /// As they were written.
    texts: Vec<String>,
    /// One per call.
    accumulators: Vec<Accumulator>,
    handles: GroupCodec,
    layout: KeyLayout,
    keys: KeyTable,
    /// Keys at the last commit.
    committed_keys: u32,
    /// With so many keys those without a session are forgotten.
    crowded_keys: u32,
    arena: Arena,
    heap: Heap,
    index: Index,
    time: i64,
    late: u64,
    /// `time` and `late` at the last commit.
    saved: (i64, u64),
    events: Vec<Event>,
    /// Words of events that ask for them.
    before: Vec<i64>,
    last_seq: u64,
    /// The program of a pass: empty, kept for its room.
    steps: Vec<Step>,
    /// Changelog entries that wait for their batch.
    restoring: RestoreBatch,
}

/// [`When::Last`]: one change of a session since the last emission.
#[derive(Clone, Copy, Debug)]
struct Event {
    key: u32,
    bounds: (i64, i64),
    /// The session after the change; NIL = these bounds are no more.
    slot: u32,
    /// There was a session with these bounds before the change.
    had: bool,
    /// Where its words before the change begin, if they are asked for.
    before: usize,
}

impl SessionWindowOperator {
    /// The operator for a grouping with a SESSION window. EMIT FINAL decides alone when it writes; otherwise `mode` does.
    pub fn new(spec: &AggregateSpec, mode: EmitMode) -> Result<SessionWindowOperator> {
        let Some(Window { kind: WindowKind::Session { gap_ms }, .. }) = spec.window else {
            return Err(Error::bug("a session operator without a SESSION window"));
        };
        let grace = spec.window.map_or(0, |w| w.grace_ms());
        if gap_ms <= 0 || grace < 0 {
            return Err(Error::statement("the gap of a session must be positive, and its grace not negative"));
        }
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
        let layout = KeyLayout::new(spec.key_format, &spec.key)?;
        Ok(SessionWindowOperator {
            gap: gap_ms,
            grace,
            when: match (spec.final_only, mode) {
                (true, _) => When::Final,
                (false, EmitMode::EveryChange) => When::Each,
                (false, EmitMode::LatestPerKey) => When::Last,
            },
            with_old: false,
            calls: spec.calls.clone(),
            texts: spec.texts.clone(),
            handles: GroupCodec::new(STATE_VERSION, HEAD_WORDS, &accumulators),
            accumulators,
            keys: KeyTable::new(layout.is_number()),
            layout,
            committed_keys: 0,
            crowded_keys: store::CROWDED_KEYS_MIN,
            arena: Arena::new(width),
            heap: Heap::default(),
            index: Index::new(Expiry::new(gap_ms.saturating_add(grace), spec.final_only)),
            time: NEVER,
            late: 0,
            saved: (NEVER, 0),
            events: Vec::new(),
            before: Vec::new(),
            last_seq: 0,
            steps: Vec::new(),
            restoring: RestoreBatch::default(),
        })
    }

    /// Also writes the value before each change (HAVING needs it to know whether a row leaves).
    pub fn with_old(mut self) -> SessionWindowOperator {
        self.with_old = self.when != When::Final;
        self
    }

    /// Rows dropped by the late rule since the query began.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Closes and writes what is still open: there will be no more rows. Only with EMIT FINAL.
    pub fn close_all(&mut self, out: &mut OperatorOutput) -> Result<()> {
        self.finish_restore()?;
        self.time = i64::MAX;
        let mut pending = Pending::default();
        let closed = self.index.expire(i64::MAX, &self.arena);
        pending.closed.extend(self.closing_order(&closed)?.into_iter().map(|slot| (slot, self.last_seq)));
        if !pending.closed.is_empty() {
            out.batches.push(self.write_closed(&pending.closed)?);
        }
        Ok(())
    }

    /// A session that ended before this is closed.
    #[inline(always)]
    fn shut(&self) -> i64 {
        self.time.saturating_sub(self.gap).saturating_sub(self.grace)
    }

    /// Touches what the rows of a pass will need: buckets, heads, sessions, words, one kind after the other.
    fn warm(&mut self, input: &Input<'_>, rows: std::ops::Range<usize>, slots: &mut Vec<u32>) {
        self.index.warm(rows.map(|row| self.keys.candidate(input.keys.probe(row))), slots);
        black_box(slots.iter().fold(0, |x, &slot| x ^ self.arena.row(slot)[0]));
    }

    /// Resolves rows from `at` on to steps and returns the first row not taken. With EMIT FINAL it stops right after a row
    /// that may close a session.
    fn resolve(
        &mut self,
        batch: &ChangeBatch,
        input: &Input<'_>,
        (at, warmed): (usize, &mut usize),
        pass: &mut Pass<'_>,
    ) -> usize {
        let mut row = at;
        let (mut hits, mut slots) = (Vec::new(), Vec::new());
        while row < batch.len() && row - at < PASS_ROWS {
            let this = row;
            if this >= *warmed {
                *warmed = (this + WARM_ROWS).min(batch.len());
                self.warm(input, this..*warmed, &mut slots);
            }
            row += 1;
            if input.usable.as_ref().is_some_and(|u| u.is_null(this)) {
                let what = if batch.new.has(this) { "key" } else { "value" };
                let reason = format!("row without a {what} cannot be grouped");
                pass.out.bad.push(BadRow { seq: batch.seq[this], reason });
                continue;
            }
            let time = batch.rowtime[this];
            self.time = self.time.max(time);
            if time < 0 {
                let reason = format!("negative row time {time}");
                pass.out.bad.push(BadRow { seq: batch.seq[this], reason });
                continue;
            }
            let (key, _) = self.keys.find_or_insert(input.keys.probe(this), input.keys.bytes(this));
            self.place(Row { row: this as u32, seq: batch.seq[this], time, key }, &mut hits, pass);
            if self.when == When::Final && self.index.may_expire(self.shut()) {
                break;
            }
        }
        row
    }

    /// Puts one row into a session: the one that it makes, or the oldest in reach, which takes in the others.
    fn place(&mut self, row: Row, hits: &mut Vec<u32>, pass: &mut Pass<'_>) {
        let (time, key, shut) = (row.time, row.key, self.shut());
        let (mut previous, mut at) = (NIL, self.index.head(key));
        hits.clear();
        while at != NIL {
            let session = self.index.get(at);
            if session.end < shut || session.end < time.saturating_sub(self.gap) {
                break;
            }
            let (reached, start) = (session.start <= time.saturating_add(self.gap), session.start);
            if reached {
                hits.push(at);
            } else {
                previous = at;
            }
            at = session.next;
            // Sessions lie further apart than the gap: the older ones are out of reach, and need not be looked at.
            if start <= time {
                break;
            }
        }
        let Some(&target) = hits.last() else {
            if time < shut {
                self.late += 1;
                pass.out.late_rows.push(row.seq);
                return;
            }
            let slot = self.index.make(key, time, at, &mut self.arena);
            self.index.link(key, previous, slot, &self.arena);
            self.arena.row_mut(slot)[0] = time;
            pass.step(Op::Start, slot, 0);
            pass.before(Op::NoBefore, slot);
            self.added(row, slot, false, pass);
            return;
        };
        let bounds = (self.index.get(target).start.min(time), self.index.get(hits[0]).end.max(time));
        self.index.save(target, &self.arena);
        if bounds == (time, time) {
            pass.before(Op::Before, target);
            self.added(row, target, true, pass);
            return;
        }
        for &hit in hits.iter().rev() {
            self.gone(row, hit, pass);
        }
        for &hit in hits.iter().rev().skip(1) {
            pass.step(Op::Merge, target, hit);
            self.index.retire(hit, &self.arena);
        }
        self.index.stretch(target, bounds, at, &self.arena);
        self.index.link(key, previous, target, &self.arena);
        self.arena.row_mut(target)[0] = bounds.1;
        pass.before(Op::NoBefore, target);
        self.added(row, target, false, pass);
    }

    /// The bounds of a session are no more.
    fn gone(&mut self, row: Row, slot: u32, pass: &mut Pass<'_>) {
        if mutant::on(Mutant::MergeWithoutTombstone) {
            return;
        }
        let session = *self.index.get(slot);
        let bounds = (session.start, session.end);
        match self.when {
            When::Each => {
                pass.before(Op::Before, slot);
                pass.step(Op::NoAfter, slot, 0);
                pass.pending.push(row, bounds, false, true);
            }
            When::Last => self.event(row.key, bounds, NIL, slot),
            When::Final => {}
        }
    }

    /// A session takes a row; `had` = with the bounds that it had.
    fn added(&mut self, row: Row, slot: u32, had: bool, pass: &mut Pass<'_>) {
        let session = *self.index.get(slot);
        let bounds = (session.start, session.end);
        if self.when == When::Last {
            if had {
                self.event(row.key, bounds, slot, slot);
            } else {
                self.events.push(Event { key: row.key, bounds, slot, had, before: usize::MAX });
            }
        }
        if self.when == When::Each {
            pass.step(Op::AddAfter, slot, row.row);
            pass.pending.push(row, bounds, true, had);
        } else {
            pass.step(Op::Add, slot, row.row);
        }
    }

    /// Notes a change of a session that existed. Its words are worth something only if it was not touched before in this
    /// emission, and only then are they looked at.
    fn event(&mut self, key: u32, bounds: (i64, i64), slot: u32, was: u32) {
        let before = self.before.len();
        if self.with_old {
            self.before.extend_from_slice(self.arena.row(was));
        }
        self.events.push(Event { key, bounds, slot, had: true, before });
    }

    /// Runs the program of a pass.
    fn accumulate(&mut self, batch: &ChangeBatch, steps: &[Step], pending: &mut Pending) -> Result<()> {
        let each = self.when == When::Each;
        let mut unfit = Vec::new();
        for (i, (call, accumulator)) in self.calls.iter().zip(&self.accumulators).enumerate() {
            let argument = |&at: &usize| batch.new.columns.get(at).cloned();
            let new: Option<Vec<ArrayRef>> = call.arguments.iter().map(argument).collect();
            let new = new.ok_or_else(|| Error::bug("an aggregate's argument is not in the batch"))?;
            let results = Results {
                before: (each && self.with_old).then(|| &mut pending.before[i]),
                after: each.then(|| &mut pending.after[i]),
            };
            let mut state = State { words: &mut self.arena.words, width: self.arena.width, heap: &mut self.heap };
            let arguments = Arguments { new: &new, old: &[] };
            accumulator.run(&mut state, Work::Program(steps), arguments, results, &mut unfit)?;
            if !unfit.is_empty() {
                return Err(overflow(self.texts.get(i).map(String::as_str), &call.function));
            }
        }
        Ok(())
    }

    /// Lets go of closed sessions; with EMIT FINAL they are written.
    fn close(&mut self, seq: u64, pending: &mut Pending) -> Result<()> {
        let closed = self.index.expire(self.shut(), &self.arena);
        if self.when == When::Final && !closed.is_empty() {
            let order = self.closing_order(&closed)?;
            pending.closed.extend(order.into_iter().map(|slot| (slot, seq)));
        }
        Ok(())
    }
}

/// The keys of a batch.
struct Input<'a> {
    keys: BatchKeys<'a>,
    usable: Option<arrow::buffer::NullBuffer>,
}

impl Operator for SessionWindowOperator {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        self.finish_restore()?;
        let Some(batch) = ports.first().copied().flatten().filter(|b| !b.is_empty()) else { return Ok(()) };
        let input = Input { keys: self.layout.read(&batch.key)?, usable: usable(batch) };
        let late = self.late;
        let mut pending = Pending { after: self.cells(), before: self.cells(), ..Pending::default() };
        if self.when == When::Each {
            pending.reserve(2 * batch.len());
        }
        let (mut at, mut warmed) = (0, 0);
        while at < batch.len() {
            let results = self.when == When::Each;
            let steps = std::mem::take(&mut self.steps);
            let mut pass = Pass { steps, results, old: self.with_old, pending: &mut pending, out };
            at = self.resolve(batch, &input, (at, &mut warmed), &mut pass);
            let mut steps = pass.steps;
            self.accumulate(batch, &steps, &mut pending)?;
            steps.clear();
            self.steps = steps;
            self.close(batch.seq[at - 1], &mut pending)?;
        }
        self.heap.advance(batch.len());
        self.last_seq = batch.seq[batch.len() - 1];
        out.late += self.late - late;
        self.write_pending(batch, pending, out)
    }

    fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        self.write_events(out)
    }

    fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        self.write_changelog(entries)
    }

    fn commit(&mut self) {
        debug_assert!(self.events.is_empty(), "a commit emits first");
        self.keep();
    }

    fn abort(&mut self) {
        self.roll_back();
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        self.take_entry(key, value, 0)
    }

    fn living(&self) -> Option<u64> {
        Some(self.index.alive() as u64)
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
        let (sessions, bytes) = self.index.size();
        OperatorSize::new(sessions, bytes + self.keys.size() + self.arena.size() + self.heap.size())
    }

    fn stream_time(&self) -> Option<i64> {
        Some(self.time).filter(|time| *time > NEVER)
    }
}
