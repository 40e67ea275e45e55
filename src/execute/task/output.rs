//! What operators wrote goes to the sink or to the reader of a push query; what cannot be written is reported.
//!
//! Workers encode the batches of a round side by side, each into a set of its own; the sets are then put behind what waits for
//! the commit, in the order of the batches.

use super::Execution;
use super::canonical_order::Interval;
use super::progress::Metering;
use super::spec::BAD_RECORDS_KEPT;
use super::topology::spare::Spare;
use super::topology::stage_tasks::ROW_WEIGHT;
use crate::catalog::Source;
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::operator::OperatorOutput;
use crate::execute::record::sink::{SinkEncoder, Unwritten};
use crate::execute::record::source::{BadRecord, Stage};
use crate::execute::record::too_large::TooLarge;
use crate::execute::stage::StageKind;
use crate::log::{Header, RecordSet, Run, TopicPartition};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rows that one worker encodes at a time: an emission may be one batch of all changed groups.
const ENCODED_ROWS_MAX: usize = 4_096;

/// The topic that a query writes.
#[derive(Debug)]
pub(super) struct Sink {
    topic: Arc<str>,
    encoders: Spare<SinkEncoder>,
}

/// Records that caused rows: whose headers the rows take over.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// None, or it does not matter.
    Unknown,
    /// Those of a piece.
    Records(Arc<Records>),
    /// Those of an interval of ordinals.
    Joined(Arc<Joined>),
}

/// The records of a piece.
#[derive(Debug)]
pub(super) struct Records {
    /// Locked once a batch; the buffer of a run is not made to be read by several threads at once.
    runs: Mutex<Vec<Run>>,
    /// Ordinal of each run's first record.
    starts: Vec<u64>,
    has_headers: bool,
}

/// Headers of joined records, by slot and offset.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined {
    pub(super) headers: BTreeMap<(usize, u64), Vec<Header>>,
    pub(super) interval: Interval,
}

/// What operators wrote, because of records of a slot.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) out: OperatorOutput,
    pub(super) slot: usize,
    pub(super) origin: Origin,
}

/// The same with its rows encoded, unless they go to a reader.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) out: OperatorOutput,
    pub(super) slot: usize,
    encoded: Vec<Encoded>,
}

/// Rows as records.
#[derive(Debug)]
struct Encoded {
    set: RecordSet,
    rows: usize,
    unwritten: Vec<Unwritten>,
    large: Vec<TooLarge>,
}

impl Sink {
    /// Writes to the topic of a source, which takes no record of more than `limit` bytes.
    pub(super) fn new(target: Arc<Source>, limit: usize) -> Result<Sink> {
        let topic = target.topic.as_str().into();
        Ok(Sink { topic, encoders: Spare::new(move || Ok(SinkEncoder::new(&target)?.with_limit(limit)))? })
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    fn encode(&self, batch: &ChangeBatch, partition: i32, origin: &Origin, metering: &Metering) -> Result<Encoded> {
        let (rows, begun) = (batch.len(), metering.begin());
        let mut set = RecordSet::default();
        let (unwritten, large) = self.encoders.with(|encoder| {
            let unwritten = match origin {
                Origin::Records(records) if records.has_headers => {
                    let runs = records.runs.lock();
                    encoder.encode(batch, partition, &|seq| headers(&runs, &records.starts, seq), &mut set)
                }
                Origin::Joined(joined) => encoder.encode(batch, partition, &|seq| joined.of(seq), &mut set),
                _ => encoder.encode(batch, partition, &|_| Vec::new(), &mut set),
            }?;
            Ok((unwritten, encoder.take_large()))
        })?;
        metering.note(StageKind::Sink, begun, (rows, rows));
        Ok(Encoded { set, rows, unwritten, large })
    }
}

impl Origin {
    pub(super) fn records(runs: Vec<Run>, starts: Vec<u64>, has_headers: bool) -> Origin {
        Origin::Records(Arc::new(Records { runs: Mutex::new(runs), starts, has_headers }))
    }

    /// Looks at the runs of a piece, with the ordinals of their first records.
    pub(super) fn with_runs(&self, look: impl FnOnce(&[Run], &[u64])) {
        if let Origin::Records(records) = self {
            look(&records.runs.lock(), &records.starts);
        }
    }
}

impl Joined {
    fn of(&self, seq: u64) -> Vec<Header> {
        self.interval.origin(seq).and_then(|at| self.headers.get(&at)).cloned().unwrap_or_default()
    }
}

/// Headers of the record with this ordinal.
fn headers(runs: &[Run], starts: &[u64], seq: u64) -> Vec<Header> {
    let run = starts.partition_point(|start| *start <= seq).checked_sub(1);
    let run = run.and_then(|at| Some((runs.get(at)?, usize::try_from(seq - starts[at]).ok()?)));
    run.map_or_else(Vec::new, |(run, index)| run.headers(index))
}

impl Execution {
    /// Takes what operators wrote: rows to the sink or to the reader, counts, bad rows to the log.
    pub(super) fn write(&mut self, out: OperatorOutput, slot: usize, origin: Origin) -> Result<()> {
        let written = self.encode(vec![Outgoing { out, slot, origin }])?;
        written.into_iter().try_for_each(|written| self.put(written))
    }

    /// Encodes rows for the sink, if there is one.
    pub(super) fn encode(&self, outgoing: Vec<Outgoing>) -> Result<Vec<Written>> {
        let (mut written, mut items, mut rows) = (Vec::with_capacity(outgoing.len()), Vec::new(), 0);
        for Outgoing { mut out, slot, origin } in outgoing {
            let partition = self.inputs[slot].partition;
            if self.sink.is_some() {
                for batch in std::mem::take(&mut out.batches) {
                    rows += batch.len();
                    let slices = (0..batch.len()).step_by(ENCODED_ROWS_MAX);
                    let slice = |at: usize| batch.slice(at, ENCODED_ROWS_MAX.min(batch.len() - at));
                    items.extend(slices.map(|at| (written.len(), slice(at), partition, origin.clone())));
                }
            }
            written.push(Written { out, slot, encoded: Vec::new() });
        }
        if let Some(sink) = &self.sink {
            let (sink, metering) = (sink.clone(), self.measurement.stages.clone());
            let encoded = self.spec.crew.run(rows * ROW_WEIGHT, items, move |(at, batch, partition, origin)| {
                Ok((at, sink.encode(&batch, partition, &origin, &metering)?))
            })?;
            encoded.into_iter().for_each(|(at, encoded)| written[at].encoded.push(encoded));
        }
        Ok(written)
    }

    /// Puts encoded rows behind those that wait for the commit, and reports what is missing.
    pub(super) fn put(&mut self, Written { out, slot, encoded }: Written) -> Result<()> {
        self.progress.late.fetch_add(out.late, Ordering::Relaxed);
        self.progress.bad.fetch_add(out.bad.left_out() as u64, Ordering::Relaxed);
        for (seq, reason, left_out) in out.bad.entries().take(BAD_RECORDS_KEPT.saturating_sub(self.bad.len())) {
            self.report(slot, seq, reason, if left_out { Stage::Process } else { Stage::Null });
        }
        for batch in out.batches {
            let (rows, begun) = (batch.len(), self.measurement.stages.begin());
            self.rows.push(batch);
            self.progress.produced.fetch_add(rows as u64, Ordering::Relaxed);
            self.measurement.stages.note(StageKind::Sink, begun, (rows, rows));
        }
        let Some(topic) = self.sink.as_ref().map(|sink| sink.topic().clone()) else { return Ok(()) };
        for Encoded { set, rows, unwritten, large } in encoded {
            self.progress.bytes_out.fetch_add(set.data.len() as u64, Ordering::Relaxed);
            self.pending.append(set);
            for (seq, reason) in unwritten {
                self.progress.bad.fetch_add(1, Ordering::Relaxed);
                self.report(slot, seq, &reason, Stage::Process);
            }
            self.refuse(&topic, large)?;
            self.progress.produced.fetch_add(rows as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn report(&mut self, slot: usize, seq: u64, reason: &str, stage: Stage) {
        if self.bad.len() < BAD_RECORDS_KEPT {
            let reason = reason.to_owned();
            if let Some((input, offset)) = self.canonical.interval.origin(seq) {
                let TopicPartition { topic, partition, .. } = self.inputs[input].clone();
                self.bad.push(BadRecord { topic, partition, offset: offset as i64, reason, stage });
                return;
            }
            let input = &self.inputs[slot];
            // Rows of one run have consecutive ordinals; counted back from its last one they give the offset where the run
            // has no gaps, which is what a person can look up.
            let run = self.runs_end.partition_point(|(end, _)| *end <= seq);
            let (end, next) = self.runs_end.get(run).copied().unwrap_or((self.seq, self.processed[slot]));
            let offset = next - (end - seq) as i64;
            let (topic, partition) = (input.topic.clone(), input.partition);
            self.bad.push(BadRecord { topic, partition, offset, reason, stage });
        }
    }
}
