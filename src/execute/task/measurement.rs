//! What a running query notes about itself beside its work: once a batch or a turn, never once a row.
//!
//! ```text
//! turn:  begun --- poll (waiting is not work) --- decode, operators, encode --- commit --- ended
//!        busy = the whole turn - what was waited for
//! ```
//!
//! The size of the state is measured once a second at most, and before the query falls idle.

use super::Execution;
use super::progress::{Metering, Meters, StageMeter};
use crate::execute::stage::StageKind;
use crate::execute::task::spec::ExecutionSpec;
use crate::log::Reader;
use crate::types::clock::SharedClock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time between two measurements of the state.
const SIZE_PAUSE: Duration = Duration::from_secs(1);

/// The meters of a query's thread.
#[derive(Debug)]
pub(super) struct Measurement {
    meters: Arc<Meters>,
    /// For the stages between source and sink.
    pub(super) stages: Metering,
    /// The scan of each input.
    scans: Vec<usize>,
    /// What this turn has waited so far.
    waited: Duration,
    /// When the oldest record was read whose rows were not emitted yet.
    oldest: Option<Duration>,
    /// When the size of the state was measured, and whether anything was processed since.
    sized: Option<Duration>,
    changed: bool,
}

impl Measurement {
    pub(super) fn new(spec: &ExecutionSpec, meters: Arc<Meters>, clock: SharedClock) -> Measurement {
        let scans = spec.pipeline.scans.iter().enumerate();
        let scans = scans.flat_map(|(nth, scan)| (0..scan.source.partitions).map(move |_| nth)).collect();
        let stages = Metering::new(meters.clone(), clock);
        Measurement { meters, stages, scans, waited: Duration::ZERO, oldest: None, sized: None, changed: true }
    }

    fn scan(&self, slot: usize) -> Option<&StageMeter> {
        self.meters.stage(StageKind::Scan(*self.scans.get(slot)?))
    }

    /// Records of an input became rows; `begun` is when their decoding began.
    pub(super) fn note_decoded(&mut self, slot: usize, begun: Duration, now: Duration, rows: (usize, usize)) {
        self.changed = true;
        self.oldest.get_or_insert(begun);
        if let Some(stage) = self.scan(slot) {
            stage.note_rows(rows.0, rows.1);
            stage.note_time(now.saturating_sub(begun));
        }
    }

    /// Event times of an input's rows.
    pub(super) fn note_times(&self, slot: usize, rowtimes: &[i64]) {
        if let Some(input) = self.meters.inputs.get(slot) {
            input.note(rowtimes);
        }
    }

    /// A wait that is not work.
    pub(super) fn note_wait(&mut self, time: Duration) {
        self.waited += time;
    }
}

/// Whether a poll will find records, so that its time is work; else it waits for them.
pub(super) fn finds_records(reader: &dyn Reader, inputs: usize) -> bool {
    (0..inputs).any(|slot| !reader.at_end(slot))
}

impl Execution {
    /// Notes what a turn took that began then, and the emission that it ended with.
    pub(super) fn note_turn(&mut self, begun: Duration, drained: bool) {
        let now = self.clock.monotonic();
        let waited = std::mem::take(&mut self.measurement.waited);
        let busy = now.saturating_sub(begun).saturating_sub(waited);
        self.progress.busy_nanos.fetch_add(busy.as_nanos() as u64, Ordering::Relaxed);
        if !self.topology.has_unemitted()
            && let Some(oldest) = self.measurement.oldest.take()
        {
            self.progress.emit_times.record(now.saturating_sub(oldest));
        }
        let due = self.measurement.sized.is_none_or(|last| now >= last + SIZE_PAUSE);
        if self.measurement.changed && (due || drained) {
            (self.measurement.sized, self.measurement.changed) = (Some(now), false);
            self.topology.measure();
        }
    }
}
