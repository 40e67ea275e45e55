//! A round: the runs whose turn it is, in their order, decoded and taken through stage 1 side by side.
//!
//! ```text
//! queues by partition --earliest first--> piece 0 | piece 1 | ...   at most 2,048 records each, or one run
//!                                           |         |             workers: decode, WHERE, projection, group keys, exchange
//!                                         stage 2, in the order of the pieces
//! ```
//!
//! The order is decided before anything is decoded, so that the rows are the same however many workers there are.

use super::Execution;
use super::output::{Origin, Outgoing};
use super::spec::{BAD_RECORDS_KEPT, BATCH_ROWS_MAX, ExecutionSpec, ROUND_BYTES_MAX, ROUND_RECORDS_MAX};
use super::topology::head::{Head, Prepared};
use super::topology::spare::Spare;
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::record::shared_rows::SharedScan;
use crate::execute::record::source::{BadRecord, SourceDecoder};
use crate::log::{HeadersRef, Run};
use crate::types::clock::SharedClock;
use arrow::buffer::ScalarBuffer;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The decoders of a query.
#[derive(Debug)]
pub(super) struct Intake {
    scans: Vec<Spare<SourceDecoder>>,
    /// The same scans among those of other queries, where these may read the same.
    shared: Vec<Option<SharedScan>>,
    /// Scan and partition of each input.
    places: Vec<(usize, i32)>,
    clock: SharedClock,
}

/// Consecutive runs of a partition.
#[derive(Debug)]
pub(super) struct Piece {
    slot: usize,
    runs: Vec<Run>,
    /// Ordinal of the first record; `None` = the rows have the offsets of their records as ordinals.
    first: Option<u64>,
}

/// A piece that was decoded.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) slot: usize,
    pub(super) runs: Vec<Run>,
    pub(super) batches: Vec<ChangeBatch>,
    /// Ordinal of each run's first record, and the ordinal behind the last one.
    starts: Vec<u64>,
    /// Of each run the offset behind its last record.
    nexts: Vec<i64>,
    bad: Vec<BadRecord>,
    /// Records with headers, by number of their run and place in it.
    pub(super) with_headers: Vec<(usize, usize, i64)>,
    /// Some of its rows are those of other queries as well.
    has_shared: bool,
    begun: Duration,
    ended: Duration,
}

impl Piece {
    pub(super) fn new(slot: usize, runs: Vec<Run>, first: Option<u64>) -> Piece {
        Piece { slot, runs, first }
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    /// Bytes of their keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.bytes() as usize).sum()
    }
}

impl Decoded {
    /// Decodes the next run. The ordinals are `first` and those behind it, or the offsets of the records.
    fn decode(&mut self, run: &Run, first: Option<u64>, decoder: &mut SourceDecoder) {
        let (nth, mut index, mut next) = (self.nexts.len(), 0, run.first_offset());
        run.for_each(|record| {
            if !matches!(record.headers, HeadersRef::None) {
                self.with_headers.push((nth, index as usize, record.offset));
            }
            let seq = first.map_or(record.offset as u64, |first| first + index);
            decoder.push(&record, seq, &mut self.bad);
            index += 1;
            next = record.offset + 1;
        });
        self.nexts.push(next);
    }

    /// Takes the rows of the runs since the last call.
    fn finish(&mut self, decoder: &mut SourceDecoder) -> Result<()> {
        self.batches.append(&mut decoder.finish(&mut self.bad)?);
        Ok(())
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    /// Offset behind the last record.
    pub(super) fn next(&self) -> i64 {
        self.nexts.last().copied().unwrap_or_default()
    }
}

impl Intake {
    pub(super) fn new(spec: &ExecutionSpec, clock: SharedClock) -> Result<Intake> {
        let scans = spec.pipeline.scans.iter().map(|scan| {
            let (scan, schemas) = (scan.clone(), spec.schemas.clone());
            Spare::new(move || SourceDecoder::new(&scan, 0, &schemas))
        });
        let shared = spec.pipeline.scans.iter().map(|scan| spec.shared_rows.join(scan, &spec.schemas)).collect();
        let places = spec.pipeline.scans.iter().enumerate();
        let places = places.flat_map(|(nth, scan)| (0..scan.source.partitions as i32).map(move |p| (nth, p)));
        Ok(Intake { scans: scans.collect::<Result<_>>()?, shared, places: places.collect(), clock })
    }

    /// Where an input is read from.
    pub(super) fn begin(&self, slot: usize, offset: i64) {
        let (scan, partition) = self.places[slot];
        if let Some(shared) = &self.shared[scan] {
            shared.begin(partition, offset);
        }
    }

    /// The rows of a piece.
    pub(super) fn decode(&self, piece: Piece) -> Result<Decoded> {
        let Piece { slot, runs, first } = piece;
        let (begun, (scan, partition)) = (self.clock.monotonic(), self.places[slot]);
        let mut decoded = Decoded {
            slot,
            runs: Vec::new(),
            batches: Vec::new(),
            starts: vec![first.unwrap_or_default()],
            nexts: Vec::new(),
            bad: Vec::new(),
            with_headers: Vec::new(),
            has_shared: false,
            begun,
            ended: begun,
        };
        self.scans[scan].with(|decoder| {
            decoder.read_of(partition);
            for run in &runs {
                let ordinal = decoded.starts.last().copied().unwrap_or_default();
                if !self.take_shared((scan, partition), run, first.map(|_| ordinal), decoder, &mut decoded)? {
                    decoded.decode(run, first.map(|_| ordinal), decoder);
                }
                decoded.starts.push(ordinal + run.len() as u64);
            }
            decoded.finish(decoder)
        })?;
        // Event times are looked at behind everything else of a batch.
        decoded.bad.sort_by_key(|bad| bad.offset);
        let bytes: u64 = runs.iter().map(Run::bytes).sum();
        if runs.len() > 1 && decoded.has_shared && decoded.batches.len() > 1 && bytes <= ROUND_BYTES_MAX as u64 {
            // Operators take one batch at a lower cost than several.
            decoded.batches = vec![ChangeBatch::joined(&decoded.batches)?];
        }
        Ok(Decoded { runs, ended: self.clock.monotonic(), ..decoded })
    }

    /// Takes the rows of a run that several queries read; `false` = they are not shared.
    fn take_shared(
        &self,
        (scan, partition): (usize, i32),
        run: &Run,
        ordinal: Option<u64>,
        decoder: &mut SourceDecoder,
        decoded: &mut Decoded,
    ) -> Result<bool> {
        let Some(shared) = &self.shared[scan] else { return Ok(false) };
        let Some(part) = shared.rows(partition, run, ordinal)? else { return Ok(false) };
        // The rows before these come first.
        decoded.finish(decoder)?;
        let nth = decoded.nexts.len();
        decoded.nexts.push(part.next);
        decoded.has_shared = true;
        decoded.batches.extend(part.batch);
        decoded.bad.extend(part.bad);
        decoded.with_headers.extend(part.with_headers.into_iter().map(|(index, offset)| (nth, index, offset)));
        Ok(true)
    }

    /// The same, taken through stage 1: a result for each batch that has rows.
    fn prepare(&self, head: &Head, piece: Piece) -> Result<(Decoded, Vec<Prepared>)> {
        let decoded = self.decode(piece)?;
        let batches = decoded.batches.iter().filter(|batch| !batch.is_empty());
        let prepared = batches.map(|batch| head.prepare(decoded.slot, batch)).collect::<Result<_>>()?;
        Ok((decoded, prepared))
    }
}

impl Execution {
    /// The pieces whose turn it is, in their order; their records have ordinals then. None = nothing may be processed yet.
    pub(super) fn next_round(&mut self, starved: bool) -> Vec<Piece> {
        let (mut pieces, mut records, mut bytes) = (Vec::new(), 0, 0);
        while records < ROUND_RECORDS_MAX && bytes < ROUND_BYTES_MAX {
            let Some(slot) = self.choose(starved) else { break };
            let piece = Piece::new(slot, self.next_runs(slot, starved), Some(self.seq));
            self.seq += piece.len() as u64;
            (records, bytes) = (records + piece.len(), bytes + piece.bytes());
            pieces.push(piece);
        }
        pieces
    }

    /// The partition whose next records are the earliest, as soon as no other partition can have earlier ones waiting.
    fn choose(&self, starved: bool) -> Option<usize> {
        let with_runs = || self.queues.iter().enumerate().filter(|(_, q)| !q.is_empty());
        let behind = |slot: usize| self.queues[slot].is_empty() && !self.reader.at_end(slot);
        if self.topology.ordered()
            && !starved
            && self.queued < super::spec::QUEUED_RECORDS_MAX
            && (0..self.queues.len()).any(behind)
        {
            return None;
        }
        with_runs().min_by_key(|(slot, q)| (q[0].first_timestamp(), *slot)).map(|(slot, _)| slot)
    }

    /// The next run of a slot, and those behind it whose turn it is as well: records that were written one by one come as runs
    /// of one, and a batch for each of them costs a hundred times what its row does.
    fn next_runs(&mut self, slot: usize, starved: bool) -> Vec<Run> {
        let (mut runs, mut records) = (Vec::new(), 0);
        while runs.is_empty() || self.choose(starved) == Some(slot) {
            let queue = &mut self.queues[slot];
            let fits = |run: &mut Run| records == 0 || records + run.len() <= BATCH_ROWS_MAX;
            let Some(run) = queue.pop_front_if(fits) else { break };
            records += run.len();
            self.queued -= run.len();
            runs.push(run);
        }
        runs
    }

    /// Decodes pieces, runs the operators over their rows, and writes the results; returns the number of records.
    ///
    /// A thread that works alone takes each piece through all stages before the next one, while its columns are in the cache: the
    /// order of what each task takes and of what is written is the same.
    pub(super) fn process(&mut self, pieces: Vec<Piece>) -> Result<usize> {
        if self.spec.crew.is_alone() {
            return pieces.into_iter().map(|piece| self.process_together(vec![piece])).sum();
        }
        self.process_together(pieces)
    }

    fn process_together(&mut self, pieces: Vec<Piece>) -> Result<usize> {
        let bytes = pieces.iter().map(Piece::bytes).sum();
        let (intake, head) = (self.intake.clone(), self.topology.head().clone());
        let pieces = self.spec.crew.run(bytes, pieces, move |piece| intake.prepare(&head, piece))?;
        let (mut decoded, mut prepared) = (Vec::with_capacity(pieces.len()), Vec::new());
        for (piece, mut batches) in pieces {
            decoded.push((piece, batches.len()));
            prepared.append(&mut batches);
        }
        self.dirty = true;
        let outs = self.topology.step_round(prepared)?;
        let (mut pieces, mut outgoing) = (Vec::with_capacity(decoded.len()), Vec::with_capacity(outs.len()));
        let mut outs = outs.into_iter();
        for (mut piece, batches) in decoded {
            let (slot, runs) = (piece.slot, std::mem::take(&mut piece.runs));
            let (records, bytes) = (runs.iter().map(Run::len).sum(), runs.iter().map(Run::bytes).sum());
            let origin = Origin::records(runs, piece.starts.clone(), !piece.with_headers.is_empty());
            outgoing.extend(outs.by_ref().take(batches).map(|out| Outgoing { out, slot, origin: origin.clone() }));
            pieces.push((piece, batches, (records, bytes), origin));
        }
        let mut encoded = self.encode(outgoing)?.into_iter();
        let mut total = 0;
        for (piece, batches, size, origin) in pieces {
            total += size.0;
            self.note_piece(piece, size);
            for mut written in encoded.by_ref().take(batches) {
                if let Some(late) = self.late.as_mut().filter(|_| !written.out.late_rows.is_empty()) {
                    let partition = self.inputs[written.slot].partition;
                    origin.with_runs(|runs, starts| {
                        late.keep(runs, starts, partition, std::mem::take(&mut written.out.late_rows));
                    });
                    let (topic, large) = (late.topic().clone(), late.take_large());
                    self.refuse(&topic, large)?;
                }
                self.put(written)?;
            }
        }
        Ok(total)
    }

    /// Notes what was read; from now on ordinals in reports are those of this piece.
    fn note_piece(&mut self, piece: Decoded, (records, bytes): (usize, u64)) {
        self.processed[piece.slot] = piece.next();
        self.runs_end.clear();
        self.runs_end.extend(piece.starts[1..].iter().copied().zip(piece.nexts.iter().copied()));
        self.note_decoded(piece, records, bytes);
    }

    /// Counts a decoded piece, and keeps its bad records.
    pub(super) fn note_decoded(&mut self, piece: Decoded, records: usize, bytes: u64) {
        self.progress.bad.fetch_add(piece.bad.len() as u64, Ordering::Relaxed);
        self.bad.extend(piece.bad);
        self.bad.truncate(BAD_RECORDS_KEPT);
        self.progress.consumed.fetch_add(records as u64, Ordering::Relaxed);
        self.progress.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        let rows = piece.batches.iter().map(ChangeBatch::len).sum();
        self.measurement.note_decoded(piece.slot, piece.begun, piece.ended, (records, rows));
        let times = |rowtime: &ScalarBuffer<i64>| self.measurement.note_times(piece.slot, rowtime);
        piece.batches.iter().for_each(|batch| times(&batch.rowtime));
        self.dirty = true;
    }
}
