//! What a query has done so far: counters that its thread and its workers advance and other threads read.
//!
//! ```text
//! Progress            rows, bytes, bad, late, commits, busy time, histograms of commits and emissions
//!   StageMeter each   rows in and out, busy time, late rows, keys and bytes of state         one per stage of the pipeline
//!   InputMeter each   stream time, processed and committed offset                             one per partition that is read
//! ```
//!
//! Everything is a relaxed atomic. The busy time of a stage is the sum over all workers, that of the query is the wall time of its
//! thread. A batch or a turn advances it, never a row, and nothing is locked.

use crate::execute::operator::OperatorSize;
use crate::execute::pipeline::Pipeline;
use crate::execute::stage::StageKind;
use crate::log::TopicPartition;
use crate::telemetry::histogram::Histogram;
use crate::types::clock::SharedClock;
use crate::types::time::NEVER;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a query has done, for SHOW, DESCRIBE, `/metrics` and the API; read by any thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records read.
    pub consumed: AtomicU64,
    /// Rows written.
    pub produced: AtomicU64,
    /// Records skipped because they could not be used.
    pub bad: AtomicU64,
    /// Rows dropped by the late rule.
    pub late: AtomicU64,
    /// Commits.
    pub commits: AtomicU64,
    /// Bytes of the keys and values of the records read.
    pub bytes_in: AtomicU64,
    /// Bytes of the keys and values of the rows written.
    pub bytes_out: AtomicU64,
    /// Time in which its thread worked, not waited.
    pub busy_nanos: AtomicU64,
    /// How long commits took.
    pub commit_times: Histogram,
    /// How long after records were read their rows were emitted.
    pub emit_times: Histogram,
    /// Known once it has started.
    meters: OnceLock<Arc<Meters>>,
}

impl Progress {
    /// The meters of a query over this pipeline; the first call decides, as the pipeline of a query never changes.
    pub(super) fn meters_of(&self, pipeline: &Pipeline) -> Arc<Meters> {
        self.meters.get_or_init(|| Arc::new(Meters::of(pipeline))).clone()
    }

    /// Stages and inputs; `None` = it has never started.
    pub fn meters(&self) -> Option<&Meters> {
        self.meters.get().map(|meters| &**meters)
    }

    /// How much its operators keep, as of the last measurement.
    pub fn size(&self) -> OperatorSize {
        let stages = self.meters().map_or(&[][..], |meters| &meters.stages);
        let size = |stage: &StageMeter| OperatorSize {
            keys: stage.state_keys.load(Ordering::Relaxed),
            bytes: stage.state_bytes.load(Ordering::Relaxed),
        };
        stages.iter().map(size).sum()
    }

    /// The latest event time that was seen.
    pub fn stream_time(&self) -> Option<i64> {
        let meters = self.meters()?;
        let inputs = meters.inputs.iter().filter_map(InputMeter::stream_time);
        inputs.chain(seen(&meters.restored_time)).max()
    }
}

/// Counters of a query's stages and inputs.
#[derive(Debug)]
pub struct Meters {
    /// In the order in which rows pass them.
    pub stages: Vec<StageMeter>,
    /// In the order of the scans, by partition.
    pub inputs: Vec<InputMeter>,
    /// The stream time of the operators: it is known after a restart, before any record is read.
    restored_time: AtomicI64,
}

/// What one stage has done.
#[derive(Debug)]
pub struct StageMeter {
    /// Which stage.
    pub kind: StageKind,
    /// What it does.
    pub name: String,
    /// Rows that it received.
    pub rows_in: AtomicU64,
    /// Rows that it passed on.
    pub rows_out: AtomicU64,
    /// Time that it took.
    pub busy_nanos: AtomicU64,
    /// Rows dropped by the late rule.
    pub late: AtomicU64,
    /// Keys of its state.
    pub state_keys: AtomicU64,
    /// Memory of its state.
    pub state_bytes: AtomicU64,
}

/// What was read of one partition.
#[derive(Debug)]
pub struct InputMeter {
    /// Topic and partition.
    pub place: TopicPartition,
    stream_time: AtomicI64,
}

impl Meters {
    fn of(pipeline: &Pipeline) -> Meters {
        let stage = |(kind, name)| StageMeter {
            kind,
            name,
            rows_in: AtomicU64::default(),
            rows_out: AtomicU64::default(),
            busy_nanos: AtomicU64::default(),
            late: AtomicU64::default(),
            state_keys: AtomicU64::default(),
            state_bytes: AtomicU64::default(),
        };
        let input = |(place, _)| InputMeter { place, stream_time: AtomicI64::new(NEVER) };
        Meters {
            stages: StageKind::all(pipeline).into_iter().map(stage).collect(),
            inputs: pipeline.inputs().map(input).collect(),
            restored_time: AtomicI64::new(NEVER),
        }
    }

    /// One of the stages; `None` = the pipeline does not have it.
    pub fn stage(&self, kind: StageKind) -> Option<&StageMeter> {
        self.stages.iter().find(|stage| stage.kind == kind)
    }

    /// Notes the size of a stage's state.
    pub(super) fn note_size(&self, kind: StageKind, size: OperatorSize) {
        if let Some(stage) = self.stage(kind) {
            stage.state_keys.store(size.keys, Ordering::Relaxed);
            stage.state_bytes.store(size.bytes, Ordering::Relaxed);
        }
    }

    /// Notes the stream time of the operators.
    pub(super) fn note_time(&self, time: i64) {
        self.restored_time.store(time, Ordering::Relaxed);
    }
}

impl StageMeter {
    /// Notes rows that passed.
    pub(super) fn note_rows(&self, rows_in: usize, rows_out: usize) {
        self.rows_in.fetch_add(rows_in as u64, Ordering::Relaxed);
        self.rows_out.fetch_add(rows_out as u64, Ordering::Relaxed);
    }

    /// Notes time that was spent.
    pub(super) fn note_time(&self, time: Duration) {
        self.busy_nanos.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl InputMeter {
    /// The latest event time that was seen in the partition.
    pub fn stream_time(&self) -> Option<i64> {
        seen(&self.stream_time)
    }

    /// Notes the event times of a batch.
    pub(super) fn note(&self, rowtimes: &[i64]) {
        // By reference: of values the compiler makes vectors, which without SSE 4.2 take twice as many instructions.
        if let Some(latest) = rowtimes.iter().max() {
            self.stream_time.fetch_max(*latest, Ordering::Relaxed);
        }
    }
}

fn seen(time: &AtomicI64) -> Option<i64> {
    Some(time.load(Ordering::Relaxed)).filter(|time| *time > NEVER)
}

/// The meters as operators see them: off where they are never read, as in queries over history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metering(Option<(Arc<Meters>, SharedClock)>);

impl Metering {
    /// Meters that count.
    pub(super) fn new(meters: Arc<Meters>, clock: SharedClock) -> Metering {
        Metering(Some((meters, clock)))
    }

    /// When work on a batch begins.
    pub(crate) fn begin(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |(_, clock)| clock.monotonic())
    }

    /// A stage has processed a batch that it began to work on then. Returns the present time: when the next stage begins.
    pub(crate) fn note(&self, kind: StageKind, begun: Duration, (rows_in, rows_out): (usize, usize)) -> Duration {
        let Some((meters, clock)) = &self.0 else { return Duration::ZERO };
        let now = clock.monotonic();
        if let Some(stage) = meters.stage(kind) {
            stage.note_rows(rows_in, rows_out);
            stage.note_time(now.saturating_sub(begun));
        }
        now
    }

    /// Rows that a stage dropped as late.
    pub(crate) fn note_late(&self, kind: StageKind, rows: u64) {
        if rows > 0
            && let Some((meters, _)) = &self.0
            && let Some(stage) = meters.stage(kind)
        {
            stage.late.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// The size of a stage's state.
    pub(crate) fn note_size(&self, kind: StageKind, size: OperatorSize) {
        if let Some((meters, _)) = &self.0 {
            meters.note_size(kind, size);
        }
    }

    /// The stream time of the operators.
    pub(crate) fn note_stream_time(&self, time: i64) {
        if let Some((meters, _)) = &self.0 {
            meters.note_time(time);
        }
    }
}
