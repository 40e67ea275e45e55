//! Two streams WITHIN: rows of one key that lie close enough in time, and rows without a match.
//!
//! A step puts the rows of both ports into their buffers first, and then looks for the matches of each row among the rows
//! of the other side that arrived before it: ports that alternate row by row cost nothing.
//!
//! ```text
//! both ports --> arrivals in (seq, port) order: stream times, ordinals          (vectors)
//!            --> buffers: columns as they came, an index per time segment        (columns)
//!            --> matches of every arrival, rows that nothing can match any more   (pairs of ordinals)
//!            --> one gather per column
//! ```
//!
//! **Three clocks.** The highest rowtime of both sides decides which rows have no match. Each buffer has its own highest
//! rowtime, which decides what it takes and shows: a row is kept for before + after + grace. Rows without key or value
//! move the first clock only.
//!
//! **Unmatched rows.** With GRACE a row waits until nothing can match it: it leaves with the row that moves the time
//! past ts + reach + grace, before that row's own matches, in the order of (rowtime, right before left, key bytes,
//! arrival). A row that comes when its reach is already over leaves at once. Without GRACE every row without a match
//! leaves at once, and its later matches follow.

mod buffer;
mod changelog;
mod gather;
mod key_lookup;
mod output;
mod snapshot;
mod sorted_run;
mod spill;
mod spilled;

use super::{Operator, OperatorOutput, OperatorSize, SnapshotPlace};
use crate::error::{Error, Result};
use crate::execute::change::{BadRow, ChangeBatch};
use crate::execute::pipeline::JoinStage;
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::key_table::Probe;
use crate::execute::state::keys::BatchKeys;
use crate::execute::state::spill_pool::{MemoryReservation, SpillPool};
use crate::format::{Encoder, window_key};
use crate::memory;
use crate::parse::statement::{JoinKind, Within};
use crate::types::time::{NEVER, WindowKind};
use arrow::array::{Array, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Int64Type};
use buffer::{Buffer, NONE};
use changelog::Restoring;
use key_lookup::KeyLookup;
use spilled::SpilledRows;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Without GRACE rows are kept for a day beyond their reach, as in ksqlDB.
pub(crate) const DEFAULT_GRACE_MS: i64 = 24 * 60 * 60 * 1000;

/// A row that does not wait, or not any more.
const RESOLVED: u32 = 0;
/// A row that waits and has no match. Anything between: its first match is arrival `n - 1` of the present step.
const WAITING: u32 = u32::MAX;

/// Matches of one row for which a bounded query needs not ask whether there is room.
const HITS_UNCHECKED: usize = 1024;

/// The operator.
#[derive(Debug)]
pub struct StreamStreamJoin {
    /// How far the other side's rows may lie before and after a row of this side.
    reach: [(i64, i64); 2],
    /// `None` = no GRACE: rows leave alone at once.
    grace: Option<i64>,
    /// Sides whose rows leave alone.
    alone: [bool; 2],
    lookup: KeyLookup,
    encoder: Encoder,
    sides: [Buffer; 2],
    /// Rows that wait, by (rowtime, ordinal). Those that found a match are taken out when their time comes.
    waiting: [BinaryHeap<Reverse<(i64, u64)>>; 2],
    /// Highest rowtime of both sides.
    time: i64,
    /// The same at the last commit.
    saved: i64,
    arrivals: Vec<Arrival>,
    /// Waiting rows that were matched in this step.
    touched: Vec<(usize, u64)>,
    restoring: Restoring,
}

/// A row of one port in the common order.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    port: u8,
    row: u32,
    rowtime: i64,
    seq: u64,
    /// Its ordinal in its own buffer.
    ordinal: u64,
    /// Highest rowtime of both sides when it arrives.
    time: i64,
    /// Lowest rowtime that the other buffer shows then, and the ordinal of the first row there that is not there yet.
    floor: i64,
    limit: u64,
    /// It has a key.
    keyed: bool,
}

/// A row to be written: ordinals of both sides, [`NONE`] = that side has none.
#[derive(Clone, Copy, Debug)]
struct Pair {
    seq: u64,
    rowtime: i64,
    ordinals: [u64; 2],
}

impl StreamStreamJoin {
    /// The operator of one task; its rows share the memory of `spill_pool`.
    pub fn new(stage: &JoinStage, within: Within, spill_pool: &Arc<SpillPool>) -> Result<StreamStreamJoin> {
        let (before, after) = (within.before_ms, within.after_ms);
        let kept = before.saturating_add(after).saturating_add(within.grace_ms.unwrap_or(DEFAULT_GRACE_MS));
        let key = std::slice::from_ref(&stage.key);
        let lookup = KeyLookup::new(stage)?;
        let width = before.saturating_add(after).max(1);
        let side = |i: usize| {
            let bounds = [DataType::Int64, DataType::Int64].into_iter().filter(|_| stage.window.is_some());
            let key = std::iter::once(stage.key.ty.arrow()).chain(bounds);
            let types = key.chain(stage.sides[i].columns.iter().cloned()).collect();
            let spilled = SpilledRows::new(MemoryReservation::of(spill_pool));
            Buffer::new((types, lookup.head_columns()), (width, kept), lookup.is_number(), spilled)
        };
        let alone = match stage.kind {
            JoinKind::Inner => [false, false],
            JoinKind::Left => [true, false],
            JoinKind::Right => [false, true],
            JoinKind::Full => [true, true],
        };
        Ok(StreamStreamJoin {
            reach: [(before, after), (after, before)],
            grace: within.grace_ms,
            alone,
            sides: [side(0), side(1)],
            lookup,
            encoder: Encoder::new(stage.key_format.internal(), key, false)?,
            waiting: [BinaryHeap::new(), BinaryHeap::new()],
            time: NEVER,
            saved: NEVER,
            arrivals: Vec::new(),
            touched: Vec::new(),
            restoring: Restoring::default(),
        })
    }

    /// The rows of both ports in (seq, port) order, with the clocks as each of them finds them.
    fn arrive(&mut self, ports: &[Option<&ChangeBatch>; 2], usable: &[Usable; 2], out: &mut OperatorOutput) {
        self.arrivals.clear();
        let lengths = [0, 1].map(|p| ports[p].map_or(0, ChangeBatch::len));
        let mut at = [0usize; 2];
        let mut own = [self.sides[0].time(), self.sides[1].time()];
        let mut end = [self.sides[0].end(), self.sides[1].end()];
        while at[0] < lengths[0] || at[1] < lengths[1] {
            let port = match ports {
                [Some(left), Some(right)] if at[0] < lengths[0] && at[1] < lengths[1] => {
                    usize::from(right.seq[at[1]] < left.seq[at[0]])
                }
                _ => usize::from(at[0] == lengths[0]),
            };
            let Some(batch) = ports[port] else { break };
            let row = at[port];
            at[port] += 1;
            let rowtime = batch.rowtime[row];
            self.time = self.time.max(rowtime);
            let (keyed, valued) = (usable[port].keyed(row), usable[port].valued(row));
            if !valued || (!keyed && !self.alone[port]) {
                out.bad.push(BadRow { seq: batch.seq[row], reason: unusable(valued) });
            }
            if !valued {
                continue;
            }
            let ordinal = end[port];
            end[port] += 1;
            if keyed {
                own[port] = own[port].max(rowtime);
            }
            let floor = self.sides[1 - port].floor(own[1 - port]);
            self.arrivals.push(Arrival {
                port: port as u8,
                row: row as u32,
                rowtime,
                seq: batch.seq[row],
                ordinal,
                time: self.time,
                floor,
                limit: end[1 - port],
                keyed,
            });
        }
    }

    /// Finds the matches of every arrival, and those that leave alone at once; notes those that wait.
    fn probe(&mut self, keys: &[Option<BatchKeys<'_>>; 2], pairs: &mut Vec<(u32, Pair)>) -> Result<()> {
        let mut hits: Vec<(i64, u64)> = Vec::new();
        for (i, a) in self.arrivals.iter().enumerate() {
            let (port, other) = (usize::from(a.port), 1 - usize::from(a.port));
            let (back, ahead) = self.reach[port];
            let pair = |rowtime: i64, theirs: u64| {
                let ordinals = if port == 0 { [a.ordinal, theirs] } else { [theirs, a.ordinal] };
                Pair { seq: a.seq, rowtime, ordinals }
            };
            if !a.keyed {
                if self.alone[port] {
                    pairs.push((i as u32, pair(a.rowtime, NONE)));
                }
                continue;
            }
            let Some(keys) = &keys[port] else { continue };
            let key: (Probe, &[u8]) = (keys.probe(a.row as usize), keys.bytes(a.row as usize));
            let span = (a.rowtime.saturating_sub(back).max(a.floor), a.rowtime.saturating_add(ahead));
            self.sides[other].find(&self.lookup, key, span, a.limit, &mut hits)?;
            if hits.len() > HITS_UNCHECKED {
                memory::reserve_for_rows(2 * hits.len() * size_of::<(u32, Pair)>(), self.arrivals.len())?;
            }
            for &(rowtime, ordinal) in &hits {
                pairs.push((i as u32, pair(a.rowtime.max(rowtime), ordinal)));
                if self.grace.is_some() && self.alone[other] && self.sides[other].state(ordinal) == WAITING {
                    self.sides[other].set_state(ordinal, i as u32 + 1);
                    self.touched.push((other, ordinal));
                }
            }
            if hits.is_empty() && self.alone[port] {
                let over = a.rowtime.saturating_add(ahead) < a.time;
                if self.grace.is_none() || over {
                    pairs.push((i as u32, pair(a.rowtime, NONE)));
                } else {
                    self.sides[port].set_state(a.ordinal, WAITING);
                    self.waiting[port].push(Reverse((a.rowtime, a.ordinal)));
                }
            }
        }
        Ok(())
    }

    /// Rows that nothing can match any more: arrival that moved the time, rowtime, side, ordinal.
    fn close(&mut self) -> Vec<(u32, i64, usize, u64)> {
        let Some(grace) = self.grace else { return Vec::new() };
        let mut closed = Vec::new();
        let mut movers: Option<Vec<u32>> = None;
        for side in [0, 1] {
            let wait = self.reach[side].1.saturating_add(grace);
            while let Some(&Reverse((rowtime, ordinal))) = self.waiting[side].peek() {
                if rowtime.saturating_add(wait) >= self.time {
                    break;
                }
                let moved = movers.get_or_insert_with(|| {
                    let moves = |a: &Arrival| a.keyed && a.rowtime == a.time;
                    (0..self.arrivals.len() as u32).filter(|i| moves(&self.arrivals[*i as usize])).collect()
                });
                let first = moved.partition_point(|m| self.arrivals[*m as usize].time <= rowtime.saturating_add(wait));
                let state = self.sides[side].state(ordinal);
                // Without a row that moved the time as far, it was one without key or value: it closes nothing.
                let Some(&mover) = moved.get(first) else {
                    if state != RESOLVED {
                        break;
                    }
                    self.waiting[side].pop();
                    continue;
                };
                self.waiting[side].pop();
                if state == WAITING || (state != RESOLVED && mover < state) {
                    closed.push((mover, rowtime, side, ordinal));
                    self.sides[side].set_state(ordinal, RESOLVED);
                }
            }
        }
        closed
    }

    /// Those in the order in which they leave.
    fn ordered(
        &mut self,
        mut closed: Vec<(u32, i64, usize, u64)>,
        seq: impl Fn(&[Arrival], u32) -> u64,
    ) -> Result<Vec<(u32, Pair)>> {
        for &(_, _, side, ordinal) in &closed {
            self.sides[side].bring(ordinal)?;
        }
        // Right before left; then arrival, until key bytes have a say.
        closed.sort_unstable_by_key(|&(mover, rowtime, side, ordinal)| (mover, rowtime, Reverse(side), ordinal));
        let together = |a: &(u32, i64, usize, u64), b: &(u32, i64, usize, u64)| (a.0, a.1, a.2) == (b.0, b.1, b.2);
        for group in closed.chunk_by_mut(together).filter(|group| group.len() > 1) {
            let side = group[0].2;
            let ordinals: Vec<u64> = group.iter().map(|c| c.3).collect();
            let bytes = self.key_bytes(side, &ordinals)?;
            let mut order: Vec<usize> = (0..group.len()).collect();
            order.sort_by(|a, b| bytes[*a].cmp(&bytes[*b]));
            let sorted: Vec<_> = order.into_iter().map(|i| group[i]).collect();
            group.copy_from_slice(&sorted);
        }
        let pair = |&(mover, rowtime, side, ordinal): &(u32, i64, usize, u64)| {
            let ordinals = if side == 0 { [ordinal, NONE] } else { [NONE, ordinal] };
            (mover, Pair { seq: seq(&self.arrivals, mover), rowtime, ordinals })
        };
        Ok(closed.iter().map(pair).collect())
    }

    /// The keys of some rows as the internal key format writes them, with their windows.
    fn key_bytes(&mut self, side: usize, ordinals: &[u64]) -> Result<Vec<Vec<u8>>> {
        let key = self.sides[side].gather(0, ordinals)?;
        let (mut data, mut ranges) = (Vec::new(), Vec::new());
        self.encoder.encode(&[key], None, ordinals.len(), &mut data, &mut ranges)?;
        let mut bytes: Vec<Vec<u8>> =
            ranges.into_iter().map(|r| r.map_or_else(Vec::new, |r| data[r].to_vec())).collect();
        let Some(kind) = self.lookup.window() else { return Ok(bytes) };
        let bounds = [self.sides[side].gather(1, ordinals)?, self.sides[side].gather(2, ordinals)?];
        let [starts, ends] = bounds.each_ref().map(|c| c.as_primitive::<Int64Type>().values());
        for (i, bytes) in bytes.iter_mut().enumerate() {
            match kind {
                WindowKind::Session { .. } => window_key::append_session(ends[i], starts[i], bytes),
                _ => window_key::append_time(starts[i], bytes),
            }
        }
        Ok(bytes)
    }

    /// What found its match in this step waits no more.
    fn settle(&mut self) {
        for (side, ordinal) in std::mem::take(&mut self.touched) {
            self.sides[side].set_state(ordinal, RESOLVED);
        }
    }
}

impl Operator for StreamStreamJoin {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        self.finish_restore()?;
        for side in &mut self.sides {
            side.spill(&self.lookup)?;
        }
        let &[left, right] = ports else { return Err(Error::bug("a join has two ports")) };
        let ports = [left, right].map(|p| p.filter(|b| !b.is_empty()));
        let usable = ports.map(Usable::of);
        self.arrive(&ports, &usable, out);
        let heads = ports.map(|p| p.map_or_else(Vec::new, |batch| self.lookup.head(batch)));
        let mut keys: [Option<BatchKeys<'_>>; 2] = [None, None];
        for port in [0, 1] {
            let Some(batch) = ports[port] else { continue };
            let read = self.lookup.read(&heads[port])?;
            self.sides[port].append(batch, &heads[port], &read, &usable[port])?;
            keys[port] = Some(read);
        }
        let mut matches = Vec::with_capacity(self.arrivals.len());
        self.probe(&keys, &mut matches)?;
        let closed = self.close();
        let closed = self.ordered(closed, |arrivals, mover| arrivals[mover as usize].seq)?;
        self.settle();
        let pairs = merged(closed, matches);
        if !pairs.is_empty() {
            out.batches.push(self.write(&pairs)?);
        }
        self.sides.iter_mut().for_each(Buffer::forget_brought);
        Ok(())
    }

    fn finish(&mut self, seq: u64, out: &mut OperatorOutput) -> Result<()> {
        let mut closed = Vec::new();
        for side in [0, 1] {
            self.waiting[side].clear();
            closed.extend(self.sides[side].waiting().map(|(rowtime, ordinal)| (0, rowtime, side, ordinal)));
        }
        for &(_, _, side, ordinal) in &closed {
            self.sides[side].set_state(ordinal, RESOLVED);
        }
        let pairs: Vec<Pair> = self.ordered(closed, |_, _| seq)?.into_iter().map(|c| c.1).collect();
        if !pairs.is_empty() {
            out.batches.push(self.write(&pairs)?);
        }
        Ok(())
    }

    fn changelog(&mut self, entries: &mut Vec<ChangelogEntry>) -> Result<()> {
        self.finish_restore()?;
        self.write_changelog(entries)
    }

    fn commit(&mut self) {
        self.saved = self.time;
        self.restoring.commit();
        for side in [0, 1] {
            let oldest = self.waiting[side].peek().map_or(i64::MAX, |w| w.0.0);
            self.sides[side].commit(oldest);
        }
    }

    fn abort(&mut self) {
        self.time = self.saved;
        self.sides.iter_mut().for_each(Buffer::abort);
        self.wait_again();
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        self.take_entry(key, value)
    }

    fn living(&self) -> Option<u64> {
        Some(self.restoring.living())
    }

    fn has_snapshots(&self) -> bool {
        // Of rows in files only those are left that are shown or wait.
        self.sides.iter().all(|side| side.is_in_memory())
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
        self.sides.iter().map(|side| OperatorSize::new(side.held(), side.bytes())).sum()
    }

    fn stream_time(&self) -> Option<i64> {
        Some(self.time).filter(|time| *time > NEVER)
    }
}

/// Unmatched rows come before the matches of the row that made them leave.
fn merged(closed: Vec<(u32, Pair)>, matches: Vec<(u32, Pair)>) -> Vec<Pair> {
    if closed.is_empty() {
        return matches.into_iter().map(|m| m.1).collect();
    }
    let mut pairs = Vec::with_capacity(closed.len() + matches.len());
    let mut closed = closed.into_iter().peekable();
    for (arrival, pair) in matches {
        while let Some(earlier) = closed.next_if(|c| c.0 <= arrival) {
            pairs.push(earlier.1);
        }
        pairs.push(pair);
    }
    pairs.extend(closed.map(|c| c.1));
    pairs
}

/// Which rows of a port have a key and a value.
#[derive(Debug)]
struct Usable {
    keyed: Option<NullBuffer>,
    valued: Option<NullBuffer>,
}

impl Usable {
    fn of(batch: Option<&ChangeBatch>) -> Usable {
        let Some(batch) = batch else { return Usable { keyed: None, valued: None } };
        let mut keyed = batch.key_present.clone();
        if let Some(column) = batch.key.first() {
            keyed = NullBuffer::union(keyed.as_ref(), column.logical_nulls().as_ref());
        }
        let some = |n: Option<NullBuffer>| n.filter(|n| n.null_count() > 0);
        Usable { keyed: some(keyed), valued: some(batch.new.present.clone()) }
    }

    #[inline(always)]
    fn keyed(&self, row: usize) -> bool {
        self.keyed.as_ref().is_none_or(|k| k.is_valid(row))
    }

    #[inline(always)]
    fn valued(&self, row: usize) -> bool {
        self.valued.as_ref().is_none_or(|v| v.is_valid(row))
    }

    /// Rows with a value; `None` = all.
    fn values(&self) -> Option<&BooleanBuffer> {
        self.valued.as_ref().map(NullBuffer::inner)
    }
}

fn unusable(valued: bool) -> String {
    let what = if valued { "key" } else { "value" };
    format!("row with a null {what} cannot be joined")
}
