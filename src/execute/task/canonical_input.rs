//! Joins: the rows of all inputs go to the operators together, in canonical order.
//!
//! Records are decoded as they come; what waits are rows, because their order is that of their event times. A step takes
//! all rows whose turn has come and hands them to the operators at once.

use super::Execution;
use super::canonical_order::{CanonicalOrder, Interval};
use super::spec::{BAD_RECORDS_KEPT, EPOCH_BYTES_MAX, QUEUED_RECORDS_MAX};
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::operator::OperatorOutput;
use crate::log::{Header, HeadersRef, Run};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long rows wait for an input that is known to have more: order matters, yet a partition without a leader must not
/// hold up the others for good.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a poll waits meanwhile.
pub(super) const STARVED_POLL: Duration = Duration::from_millis(10);

/// What only queries with joins keep of their inputs.
#[derive(Debug, Default)]
pub(super) struct CanonicalInput {
    /// Rows that wait for their turn.
    pub(super) order: CanonicalOrder,
    /// The rows of the current step, and the records that they come from.
    pub(super) interval: Interval,
    /// Headers of the records whose rows wait, by slot and offset.
    pub(super) headers: BTreeMap<(usize, u64), Vec<Header>>,
    /// Since when rows wait for an input that has more records but does not deliver them.
    pub(super) starved_since: Option<Duration>,
    /// Next offset after what was decoded, by slot.
    pub(super) decoded: Vec<i64>,
}

impl CanonicalInput {
    /// For inputs in the order of FROM, of which some are those of tables.
    pub(super) fn new(tables: &[bool]) -> CanonicalInput {
        CanonicalInput {
            order: CanonicalOrder::new(tables),
            decoded: vec![0; tables.len()],
            ..CanonicalInput::default()
        }
    }

    /// Discards the rows that wait, and continues at these offsets.
    pub(super) fn rewind(&mut self, offsets: &[i64]) {
        self.order.clear();
        self.headers.clear();
        self.decoded.copy_from_slice(offsets);
    }
}

impl Execution {
    /// Takes in the `arrived` records that were fetched, and processes the rows whose turn has come.
    pub(super) fn process_in_order(&mut self, arrived: usize) -> Result<usize> {
        let starved = self.is_starved(arrived);
        let mut records = 0;
        for slot in 0..self.queues.len() {
            while let Some(run) = self.queues[slot].pop_front() {
                records += run.len();
                self.decode(&run)?;
            }
        }
        loop {
            let patient = !starved && self.canonical.order.len() < QUEUED_RECORDS_MAX;
            let reader = &self.reader;
            self.canonical.interval = self.canonical.order.take(&mut self.seq, &|slot| patient && !reader.at_end(slot));
            if self.canonical.interval.batches.is_empty() {
                break;
            }
            let mut out = OperatorOutput::default();
            self.topology.step_all(&self.canonical.interval.batches, &mut out)?;
            self.write_joined(out)?;
            for slot in 0..self.inputs.len() {
                let waiting = self.canonical.order.next_offset(slot);
                self.processed[slot] = waiting.map_or(self.canonical.decoded[slot], |offset| offset as i64);
            }
            self.dirty = true;
            if self.pending.data.len() > EPOCH_BYTES_MAX {
                break;
            }
        }
        self.queued = self.canonical.order.len();
        Ok(records)
    }

    /// What came out, with the headers of the records that caused it.
    fn write_joined(&mut self, out: OperatorOutput) -> Result<()> {
        if self.canonical.headers.is_empty() {
            return self.write(out, 0, &|_| Vec::new());
        }
        let (headers, taken) =
            (std::mem::take(&mut self.canonical.headers), std::mem::take(&mut self.canonical.interval));
        let of = |seq: u64| taken.origin(seq).and_then(|at| headers.get(&at)).cloned().unwrap_or_default();
        let result = self.write(out, 0, &of);
        (self.canonical.headers, self.canonical.interval) = (headers, taken);
        // Only rows that wait still need theirs.
        let order = &self.canonical.order;
        self.canonical.headers.retain(|&(slot, offset), _| order.next_offset(slot).is_some_and(|next| offset >= next));
        result
    }

    /// Whether an input with more records has delivered none for too long, so that rows wait for it no longer.
    fn is_starved(&mut self, arrived: usize) -> bool {
        if arrived > 0 || self.queued == 0 {
            self.canonical.starved_since = None;
            return false;
        }
        let now = self.clock.monotonic();
        now >= *self.canonical.starved_since.get_or_insert(now) + PATIENCE
    }

    /// The rows of a run, behind those that wait; until their turn comes `seq` holds their offsets.
    fn decode(&mut self, run: &Run) -> Result<()> {
        let (slot, begun) = (run.slot, self.clock.monotonic());
        let (decoder, bad) = (&mut self.decoders[slot], &mut self.bad);
        let known = bad.len();
        let mut next = self.canonical.decoded[slot];
        let (mut with_headers, mut index) = (Vec::new(), 0);
        run.for_each(|record| {
            if !matches!(record.headers, HeadersRef::None) {
                with_headers.push((index, record.offset as u64));
            }
            index += 1;
            decoder.push(&record, record.offset as u64, bad);
            next = record.offset + 1;
        });
        let batches = decoder.finish(bad)?;
        for (index, offset) in with_headers {
            let headers = run.headers(index);
            if !headers.is_empty() {
                self.canonical.headers.insert((slot, offset), headers);
            }
        }
        self.progress.bad.fetch_add((bad.len() - known) as u64, Ordering::Relaxed);
        self.progress.consumed.fetch_add(run.len() as u64, Ordering::Relaxed);
        self.progress.bytes_in.fetch_add(run.bytes(), Ordering::Relaxed);
        bad.truncate(BAD_RECORDS_KEPT);
        let (now, rows) = (self.clock.monotonic(), batches.iter().map(ChangeBatch::len).sum());
        self.measurement.note_decoded(slot, begun, now, (run.len(), rows));
        for batch in batches {
            self.measurement.note_times(slot, &batch.rowtime);
            self.canonical.order.push(slot, batch);
        }
        self.canonical.decoded[slot] = next;
        if self.canonical.order.is_empty(slot) {
            self.processed[slot] = next;
        }
        self.dirty = true;
        Ok(())
    }
}
