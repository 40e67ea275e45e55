//! Joins: the rows of all inputs go to the operators together, in canonical order.
//!
//! Records are decoded as they come; what waits are rows, because their order is that of their event times. A step takes
//! all rows whose turn has come and hands them to the operators at once.

use super::Execution;
use super::canonical_order::{CanonicalOrder, Interval};
use super::output::{Joined, Origin};
use super::round::Piece;
use super::spec::{EPOCH_BYTES_MAX, QUEUED_RECORDS_MAX};
use crate::error::Result;
use crate::execute::operator::OperatorOutput;
use crate::log::{Header, Run};
use std::collections::BTreeMap;
use std::sync::Arc;
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
        let records = self.decode_all()?;
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
            return self.write(out, 0, Origin::Unknown);
        }
        let (headers, interval) = (std::mem::take(&mut self.canonical.headers), self.canonical.interval.clone());
        let joined = Arc::new(Joined { headers, interval });
        let result = self.write(out, 0, Origin::Joined(joined.clone()));
        self.canonical.headers = Arc::unwrap_or_clone(joined).headers;
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

    /// The rows of all runs, behind those that wait; until their turn comes `seq` holds their offsets. Returns the number of records.
    fn decode_all(&mut self) -> Result<usize> {
        let mut pieces = Vec::new();
        for (slot, queue) in self.queues.iter_mut().enumerate() {
            pieces.extend(queue.drain(..).map(|run| Piece::new(slot, vec![run], None)));
        }
        let (intake, bytes) = (self.intake.clone(), pieces.iter().map(Piece::bytes).sum());
        let decoded = self.spec.crew.run(bytes, pieces, move |piece| intake.decode(piece))?;
        let mut records = 0;
        for mut piece in decoded {
            records += piece.len();
            let (slot, next) = (piece.slot, piece.next());
            for (run, index, offset) in std::mem::take(&mut piece.with_headers) {
                let headers = piece.runs[run].headers(index);
                if !headers.is_empty() {
                    self.canonical.headers.insert((slot, offset as u64), headers);
                }
            }
            piece.batches.iter().for_each(|batch| self.canonical.order.push(slot, batch.clone()));
            let (count, bytes) = (piece.len(), piece.runs.iter().map(Run::bytes).sum());
            self.note_decoded(piece, count, bytes);
            self.canonical.decoded[slot] = next;
            if self.canonical.order.is_empty(slot) {
                self.processed[slot] = next;
            }
        }
        Ok(records)
    }
}
