//! One running query: intake, operators, emission, commit. Synchronous and without a thread of its own; the owner
//! calls [`Execution::turn`] in a loop until it stops the query.
//!
//! ```text
//! reader --runs--> queues by partition --earliest first--> SourceDecoder -> rows -> [hop] -> aggregate -> rows -> SinkEncoder
//!                                                                                                          |
//!    offsets, stream times, changelog deltas, records  <-- one transaction, every commit interval <--------+
//! ```
//!
//! **Emission is not commit.** In [`EmitMode::LatestPerKey`] changed groups are written when the intake runs empty, or every emit
//! interval while the query lags; a commit always emits first. An aborted commit puts the operators back to what was
//! committed and reads again from the committed offsets: nothing of an aborted epoch is ever seen.

mod arrivals;
mod canonical_input;
pub(super) mod canonical_order;
mod commit;
mod late_records;
mod limits;
mod measurement;
mod output;
mod progress;
mod restore;
mod round;
pub mod snapshot;
pub mod spec;
pub mod topic_identity;
pub(super) mod topology;

pub use progress::{InputMeter, Meters, Progress, StageMeter};
pub use restore::{Standby, StoreOffsets};

use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::pipeline::Scan;
use crate::execute::record::source::BadRecord;
use crate::execute::record::writer_ids::WriterIds;
use crate::log::{
    Assignment, Isolation, Log, Reader, RecordSet, Run, Start, TopicPartition, TransactionalWriter, WriterSpec,
};
use crate::parse::statement::SourceKind;
use crate::types::clock::SharedClock;
use arrivals::Held;
use canonical_input::CanonicalInput;
use late_records::LateRecords;
use limits::Limits;
use measurement::Measurement;
use output::Sink;
use round::Intake;
use snapshot::Schedule;
use spec::{EPOCH_BYTES_MAX, ExecutionSpec, Guarantee, Target};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use topic_identity::TopicIdentities;
use topology::Topology;

/// What a turn did.
#[derive(Debug, Default)]
pub struct Turn {
    /// Records taken in.
    pub records: usize,
    /// Rows for the reader ([`Target::Rows`]).
    pub rows: Vec<ChangeBatch>,
    /// Records that were skipped, at most [`BAD_RECORDS_KEPT`].
    pub bad: Vec<BadRecord>,
    /// Nothing is left to do until new records come: everything read is emitted and committed.
    pub idle: bool,
}

/// A running query.
#[derive(Debug)]
pub struct Execution {
    spec: ExecutionSpec,
    clock: SharedClock,
    reader: Box<dyn Reader>,
    /// `None` for [`Target::Rows`].
    session: Option<Box<dyn TransactionalWriter>>,
    /// How large the records of its topics may be.
    limits: Limits,
    /// Identities of its topics; another thread refreshes them.
    topic_identities: Arc<TopicIdentities>,
    inputs: Vec<TopicPartition>,
    /// Whether an input is a table's.
    tables: Vec<bool>,
    intake: Arc<Intake>,
    topology: Topology,
    /// When its state is written to the local disk.
    snapshots: Schedule,
    sink: Option<Arc<Sink>>,
    /// Look up the schemas of the records of each slot.
    writer_ids: Vec<WriterIds>,
    /// Records that wait for the registry.
    held: Held,
    queues: Vec<VecDeque<Run>>,
    queued: usize,
    /// Joins: the rows that wait for their turn in canonical order.
    canonical: CanonicalInput,
    /// Next offset after what was processed, and after what was committed, by slot.
    processed: Vec<i64>,
    committed: Vec<i64>,
    seq: u64,
    /// Of each run that is being processed: the ordinal behind its last record, and the offset behind it.
    runs_end: Vec<(u64, i64)>,
    pending: RecordSet,
    late: Option<LateRecords>,
    /// Something was processed or emitted that no commit holds yet.
    dirty: bool,
    commits: u64,
    last_commit: Duration,
    last_emit: Duration,
    last_delivery: Duration,
    retry_at: Option<Duration>,
    progress: Arc<Progress>,
    measurement: Measurement,
    rows: Vec<ChangeBatch>,
    bad: Vec<BadRecord>,
    /// What hinders the commits at present.
    trouble: Option<String>,
}

impl Execution {
    /// Opens the transactional writer, restores state from the changelog and seeks to the committed offsets.
    pub fn start(log: &dyn Log, spec: ExecutionSpec, clock: SharedClock, progress: Arc<Progress>) -> Result<Execution> {
        Execution::take_over(log, spec, (clock, progress), &mut None)
    }

    /// The same from the state of a standby, if there is one, which is taken once the writer is open. None is left afterwards.
    pub fn take_over(
        log: &dyn Log,
        spec: ExecutionSpec,
        (clock, progress): (SharedClock, Arc<Progress>),
        standby: &mut Option<Standby>,
    ) -> Result<Execution> {
        let (inputs, tables) = inputs_of(&spec);
        let writer_ids = writer_ids(&spec);
        let measurement = Measurement::new(&spec, progress.meters_of(&spec.pipeline), clock.clone());
        let mut topology =
            Topology::new(&spec.pipeline, spec.mode, &spec.spill_pool, &spec.crew)?.measured(&measurement.stages);
        let snapshots =
            Schedule::new(spec.snapshots.clone().filter(|_| spec.sink().is_some()), &mut topology, &spec.group);
        let mut session = writer(log, &spec, topology.partitions())?;
        let limits = Limits::of(log, &spec)?;
        if let (Some(session), Some(bytes)) = (&mut session, limits.smallest()) {
            session.limit_batches(bytes);
        }
        let sink = spec.sink().map(|target| Sink::new(target.clone(), limits.limit(&target.topic)).map(Arc::new));
        let late = spec.late_topic.as_deref().map(|topic| LateRecords::new(topic.into(), limits.limit(topic)));
        let last_commit = session.as_mut().map_or(Ok(None), |s| s.metadata())?;
        let topic_identities = TopicIdentities::open(log, spec.topics(), spec.sink().cloned(), last_commit.as_deref())?;
        spec.watch.register(&topic_identities);
        let mut execution = Execution {
            topic_identities,
            intake: Arc::new(Intake::new(&spec, clock.clone())?),
            canonical: CanonicalInput::new(&tables),
            tables,
            reader: log.reader(Vec::new(), Isolation::ReadCommitted)?,
            writer_ids,
            held: Held::default(),
            queues: inputs.iter().map(|_| VecDeque::new()).collect(),
            queued: 0,
            processed: vec![0; inputs.len()],
            committed: vec![0; inputs.len()],
            seq: 0,
            runs_end: Vec::new(),
            pending: RecordSet::default(),
            late,
            limits,
            dirty: false,
            commits: 0,
            last_commit: clock.monotonic(),
            last_emit: clock.monotonic(),
            last_delivery: clock.monotonic(),
            retry_at: None,
            rows: Vec::new(),
            bad: Vec::new(),
            trouble: None,
            session,
            sink: sink.transpose()?,
            inputs,
            progress,
            measurement,
            clock,
            topology,
            snapshots,
            spec,
        };
        execution.position(log, standby)?;
        *standby = None;
        // Only now is it decided what a predecessor has committed.
        execution.spec.view.iter().for_each(|view| view.reset());
        execution.topology.measure();
        Ok(execution)
    }

    /// Finds the offsets to begin at, restores the state of that commit, and opens the reader.
    fn position(&mut self, log: &dyn Log, standby: &mut Option<Standby>) -> Result<()> {
        let known = match &mut self.session {
            Some(session) => commit::unpack(&self.inputs, session.committed(&self.inputs)?),
            None => vec![None; self.inputs.len()],
        };
        let first_start = known.iter().all(Option::is_none);
        for (slot, at) in known.iter().enumerate() {
            self.committed[slot] = match at {
                Some(offset) => self.still_there(log, slot, offset.offset)?,
                None => self.first_offset(log, slot)?,
            };
        }
        self.processed.clone_from(&self.committed);
        self.canonical.decoded.clone_from(&self.committed);
        self.committed.iter().enumerate().for_each(|(slot, offset)| self.intake.begin(slot, *offset));
        if !first_start && let Target::Topic(_) = self.spec.target {
            let (spec, stages) = (&self.spec, &self.measurement.stages);
            let offset_metadata =
                |task: usize| known.get(task).and_then(Option::as_ref).map_or("", |c| c.metadata.as_str());
            let fresh = || Ok(Topology::new(&spec.pipeline, spec.mode, &spec.spill_pool, &spec.crew)?.measured(stages));
            let promoted = standby.take().map(|standby| standby.promote(log)).transpose()?.flatten();
            let following = promoted.map(|(topology, following)| {
                self.topology = topology.measured(stages);
                following
            });
            let from = (log, spec.group.as_str());
            restore::restore(&mut self.topology, following, from, &mut self.snapshots, offset_metadata, fresh)?;
        }
        let assignment = self.inputs.iter().zip(&self.committed).map(|(input, &offset)| Assignment {
            topic: input.topic.clone(),
            partition: input.partition,
            start: Start::Offset(offset),
        });
        self.reader = log.reader(assignment.collect(), Isolation::ReadCommitted)?;
        // The first commit fixes where the query began, before any row: a query made at `latest` must not skip, after a
        // crash, what came in between.
        self.dirty = first_start && self.session.is_some();
        Ok(())
    }

    /// A committed offset, or the first one that is left when retention has overtaken a stopped query, as Kafka
    /// Streams does with `auto.offset.reset`.
    fn still_there(&self, log: &dyn Log, slot: usize, offset: i64) -> Result<i64> {
        let (input, low) = (&self.inputs[slot], log.watermarks(&self.inputs[slot])?.low);
        if offset < low {
            let (group, lost) = (&self.spec.group, low - offset);
            let place = format!("{}-{}", input.topic, input.partition);
            tracing::warn!(target: "query", "{group}: {lost} records of {place} were deleted before they were read");
        }
        Ok(offset.max(low))
    }

    /// Where a partition is begun that nothing was committed for.
    fn first_offset(&self, log: &dyn Log, slot: usize) -> Result<i64> {
        if self.tables[slot] {
            // A table is read from its first record on, or it would not be the table.
            return Ok(log.watermarks(&self.inputs[slot])?.low);
        }
        if let Some(&offset) = self.spec.begin.as_ref().and_then(|begin| begin.get(slot)) {
            return Ok(offset);
        }
        let marks = log.watermarks(&self.inputs[slot])?;
        Ok(match self.spec.start {
            Start::Earliest => marks.low,
            Start::Latest => marks.stable,
            Start::Offset(offset) => offset,
        })
    }

    /// Wakes a turn that waits for records; for other threads.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.reader.waker()
    }

    /// What currently blocks the query, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.clone().or_else(|| self.held.reason()).or_else(|| self.reader.trouble())
    }

    /// Reads, processes, emits and commits what is due. Waits for records at most `wait`.
    ///
    /// An error once one of its topics is not the one with which it began: nothing is committed then.
    pub fn turn(&mut self, wait: Duration) -> Result<Turn> {
        let _span = tracing::trace_span!("turn", group = %self.spec.group).entered();
        self.topic_identities.check()?;
        let begun = self.clock.monotonic();
        let turn = self.take_turn(wait).map_err(|e| self.topic_identities.explain(e))?;
        self.note_turn(begun, turn.idle);
        Ok(turn)
    }

    fn take_turn(&mut self, wait: Duration) -> Result<Turn> {
        if !self.retry_due(wait) {
            return Ok(Turn::default());
        }
        let arrived = self.fetch(wait)?;
        if !self.held.is_empty() {
            // What is held may come before everything that is queued.
            self.emit_and_commit(false)?;
            return Ok(Turn { bad: std::mem::take(&mut self.bad), ..Turn::default() });
        }
        let mut records = if self.topology.meets() { self.process_in_order(arrived)? } else { 0 };
        while self.unsent() <= EPOCH_BYTES_MAX {
            let round = self.next_round(arrived == 0);
            if round.is_empty() {
                break;
            }
            records += self.process(round)?;
        }
        let drained = self.queued == 0 && arrived == 0;
        self.emit_and_commit(drained)?;
        tracing::trace!(records, queued = self.queued, drained, "turn done");
        let idle = drained && !self.dirty && self.retry_at.is_none();
        if idle && let Some(session) = &self.session {
            self.dirty = self.snapshots.at_rest(&mut self.topology, &self.clock) || session.wants_commit();
        }
        Ok(Turn { records, rows: std::mem::take(&mut self.rows), bad: std::mem::take(&mut self.bad), idle })
    }

    /// Bytes of output that wait for the commit.
    fn unsent(&self) -> usize {
        self.pending.data.len() + self.late.as_ref().map_or(0, LateRecords::bytes)
    }

    /// Emits and commits everything that was processed: before a stop. When the process ends, the state is copied as well.
    pub fn finish(&mut self) -> Result<()> {
        self.emit_and_commit(true)?;
        if self.dirty {
            self.commit()?;
        }
        if self.session.is_some() && !self.dirty { self.write_last_snapshots() } else { Ok(()) }
    }

    /// After an aborted commit: whether the pause before the retry is over.
    fn retry_due(&mut self, wait: Duration) -> bool {
        let Some(at) = self.retry_at else { return true };
        let now = self.clock.monotonic();
        if now < at {
            self.clock.sleep((at - now).min(wait));
            self.measurement.note_wait(self.clock.monotonic().saturating_sub(now));
        }
        if self.clock.monotonic() < at {
            return false;
        }
        self.retry_at = None;
        true
    }

    /// How long a poll may wait: not at all while there is something to do, else until the next deadline.
    fn patience(&self, wait: Duration) -> Duration {
        if self.queued > 0 {
            return if self.canonical.starved_since.is_some() {
                wait.min(canonical_input::STARVED_POLL)
            } else {
                Duration::ZERO
            };
        }
        if !self.dirty {
            return if self.snapshots.is_busy() { wait.min(snapshot::BUSY_POLL) } else { wait };
        }
        // With `LatestPerKey`, changed groups wait until no input is left, which an immediate poll finds out. So do rows to be delivered.
        let undelivered = self.spec.guarantee == Guarantee::AtLeastOnce && !self.pending.is_empty();
        if self.topology.has_unemitted() || undelivered {
            return Duration::ZERO;
        }
        wait.min((self.last_commit + self.spec.commit_interval).saturating_sub(self.clock.monotonic()))
    }

    /// What the query has done so far.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

/// The partitions that a query reads, in the order of FROM, and whether each is a table's.
fn inputs_of(spec: &ExecutionSpec) -> (Vec<TopicPartition>, Vec<bool>) {
    spec.pipeline.inputs().map(|(input, source)| (input, source.kind == SourceKind::Table)).unzip()
}

/// The transactional writer of a query that writes a topic.
fn writer(log: &dyn Log, spec: &ExecutionSpec, tasks: u32) -> Result<Option<Box<dyn TransactionalWriter>>> {
    let writer = WriterSpec { group: spec.group.clone(), slot: spec.slot.clone(), tasks };
    match &spec.target {
        Target::Rows => Ok(None),
        Target::Topic(_) => log.transactional_writer(&writer, &spec.claim).map(Some),
    }
}

/// What looks up the schemas of each input's records, in the same order.
fn writer_ids(spec: &ExecutionSpec) -> Vec<WriterIds> {
    let of = |scan: &Scan| {
        (0..scan.source.partitions).map(|_| WriterIds::of(&scan.source, &spec.schemas)).collect::<Vec<_>>()
    };
    spec.pipeline.scans.iter().flat_map(of).collect()
}
