//! Reads the retained records of a source in canonical order: the heads of its partitions merged by (rowtime, partition).
//!
//! Taking the earliest head is the same as sorting by the latest time that a partition has shown so far: a row behind a later
//! one leaves at once. That is why records can be left out where they are not needed (`Snapshot::narrow`) as long as the latest
//! of their times is known: the rows that are left keep their order.

use super::super::Counts;
use super::super::run::drawn::meter::Reading;
use super::decoding::{Decoding, Pending};
use super::deleted::GapCheck;
use super::layout::{Layout, TURN};
use super::rows::Piece;
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::execute::record::writer_ids::WriterIds;
use crate::log::{Assignment, Isolation, Log, Reader, Run, Span, Start, TopicPartition};
use crate::memory;
use crate::plan::nodes::table::Origin;
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Records asked for at once, and rows of a batch handed on.
const BATCH_ROWS: usize = 8192;
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// Polls without any progress after which a query fails: half a minute, about what a broker takes to come back.
const IDLE_POLLS_MAX: u32 = 300;

/// Records of a source as batches: ROWTIME, the wanted columns, and for a table the key's bytes.
#[derive(Debug)]
pub(crate) struct Replay {
    heads: Vec<Head>,
    decoding: Decoding,
    /// Pieces of a partition that may be on their way.
    ahead: usize,
    schema: SchemaRef,
}

impl Replay {
    /// Begins to read; `wanted` are columns of the source's table, the ordinal not among them.
    pub(crate) fn new(
        snapshot: &Snapshot,
        wanted: &[Origin],
        log: &Arc<dyn Log>,
        counts: &Arc<Counts>,
    ) -> Result<Replay> {
        let layout = Arc::new(Layout::new(snapshot.source.clone(), wanted)?);
        let mut heads = Vec::new();
        for ((partition, _), spans) in snapshot.ends.iter().zip(&snapshot.spans) {
            heads.push(Head::new(partition, spans.clone().into(), snapshot, log, counts)?);
        }
        let decoding = Decoding::new(&layout, snapshot, counts)?;
        let ahead = decoding.ahead(heads.len());
        Ok(Replay { heads, decoding, ahead, schema: layout.schema.clone() })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows in canonical order; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        for head in &mut self.heads {
            head.fill(&mut self.decoding, self.ahead)?;
        }
        self.heads.retain(|h| h.ready.is_some());
        match self.heads.as_mut_slice() {
            [] => Ok(None),
            [one] => Ok(one.take_all()),
            _ => self.merge().map(Some),
        }
    }

    fn merge(&mut self) -> Result<RecordBatch> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut at: Vec<usize> = Vec::new();
        for head in &self.heads {
            let (batch, row) = head.ready.as_ref().ok_or_else(|| Error::bug("a head without rows"))?;
            batches.push(batch.clone());
            at.push(*row);
        }
        let times: Vec<&[i64]> =
            batches.iter().map(|b| b.column(TURN).as_primitive::<Int64Type>().values().as_ref()).collect();
        let mut picked = Vec::with_capacity(BATCH_ROWS);
        // When the rows at hand of one partition are used up, the next ones decide.
        while picked.len() < BATCH_ROWS && (0..at.len()).all(|h| at[h] < times[h].len()) {
            let first = (0..at.len()).min_by_key(|h| times[*h][at[*h]]).ok_or_else(|| Error::bug("no head"))?;
            picked.push((first, at[first]));
            at[first] += 1;
        }
        for (head, row) in self.heads.iter_mut().zip(at) {
            head.advance(row);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Ok(interleave_record_batch(&batches, &picked)?)
    }
}

/// What was polled and is not in order yet.
#[derive(Debug)]
struct Waiting {
    rows: Pending,
    /// The latest time of what was left out before it.
    latest_before: i64,
    /// Offsets passed.
    records: u64,
    /// Bytes of files; `None` = the log does not count them.
    bytes: Option<u64>,
}

/// One partition: records polled and rows not handed on yet.
#[derive(Debug)]
struct Head {
    topic: String,
    writer_ids: WriterIds,
    reader: Box<dyn Reader>,
    partition: i32,
    /// What notices that records are deleted before they are read.
    place: GapCheck,
    /// What is read, from the present one on.
    spans: VecDeque<Span>,
    /// Latest time of what was left out before the present span.
    latest_before: i64,
    /// Latest time so far.
    latest: i64,
    /// The batch at hand and its first row that is left.
    ready: Option<(RecordBatch, usize)>,
    waiting: VecDeque<Waiting>,
    /// Polls without progress, one after the other.
    idle: u32,
    counts: Arc<Counts>,
    reading: Arc<Reading>,
}

impl Head {
    fn new(
        partition: &TopicPartition,
        spans: VecDeque<Span>,
        snapshot: &Snapshot,
        log: &Arc<dyn Log>,
        counts: &Arc<Counts>,
    ) -> Result<Head> {
        let first = spans.front().map(|s| s.offsets.start);
        let start = first.map_or(Start::Latest, Start::Offset);
        let latest_before = spans.front().and_then(|s| s.latest_before).unwrap_or(i64::MIN);
        let assignment = Assignment { topic: partition.topic.clone(), partition: partition.partition, start };
        Ok(Head {
            topic: snapshot.source.topic.clone(),
            writer_ids: WriterIds::of(&snapshot.source, &snapshot.schemas),
            reader: log.reader(vec![assignment], Isolation::ReadCommitted)?,
            partition: partition.partition,
            place: GapCheck::new(log, partition, first.unwrap_or(0)),
            spans,
            latest_before,
            latest: i64::MIN,
            ready: None,
            waiting: VecDeque::new(),
            idle: 0,
            counts: counts.clone(),
            reading: snapshot.reading.clone(),
        })
    }

    fn advance(&mut self, row: usize) {
        self.ready = self.ready.take().map(|(batch, _)| (batch, row)).filter(|(batch, row)| *row < batch.num_rows());
    }

    fn take_all(&mut self) -> Option<RecordBatch> {
        self.ready.take().map(|(batch, row)| batch.slice(row, batch.num_rows() - row))
    }

    /// Makes rows ready, unless the partition is read up. Up to `ahead` pieces are on their way meanwhile.
    fn fill(&mut self, decoding: &mut Decoding, ahead: usize) -> Result<()> {
        while self.ready.is_none() {
            memory::check()?;
            while self.waiting.len() < ahead && !self.spans.is_empty() && self.poll(decoding)? {}
            match self.waiting.pop_front() {
                Some(next) => self.ready = self.in_order(next)?.map(|batch| (batch, 0)),
                None if self.spans.is_empty() => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    /// Polls the log once. Returns whether records or the end of a span came, and so whether more may come at once.
    fn poll(&mut self, decoding: &mut Decoding) -> Result<bool> {
        let Some(end) = self.spans.front().map(|s| s.offsets.end) else { return Ok(false) };
        let (from, bytes_from) = (self.reader.position(0), self.reader.bytes_read());
        // Not beyond what is wanted: that would be read for nothing.
        let left = usize::try_from(end.saturating_sub(from)).unwrap_or(1);
        // No wait for more records while there are rows to hand on.
        let patience = if self.waiting.is_empty() { POLL } else { Duration::ZERO };
        // The log shares what it reads with other readers: it is not this query's memory.
        let records = memory::outside(|| self.reader.poll(left.clamp(1, BATCH_ROWS), patience))?;
        let position = self.reader.position(0);
        self.place.moved(records.runs().first().map(Run::first_offset), position)?;
        if position == from {
            return self.idled(patience);
        }
        self.idle = 0;
        let position = position.min(end);
        let bytes = bytes_from.zip(self.reader.bytes_read()).map(|(from, to)| to - from);
        // What decodes them knows the schemas of their ids.
        records.runs().iter().try_for_each(|run| self.writer_ids.resolve_within(run))?;
        let rows = decoding.decode(Piece { partition: self.partition, records, end });
        let records = position.abs_diff(from.min(end));
        self.waiting.push_back(Waiting { rows, latest_before: self.latest_before, records, bytes });
        if position >= end {
            self.spans.pop_front();
            if let Some(next) = self.spans.front() {
                self.latest_before = next.latest_before.unwrap_or(i64::MIN);
                self.reader.seek(0, next.offsets.start)?;
                self.place.skip_to(next.offsets.start);
            }
        }
        Ok(true)
    }

    /// A poll brought nothing.
    fn idled(&mut self, patience: Duration) -> Result<bool> {
        self.idle += u32::from(!patience.is_zero());
        if self.idle <= IDLE_POLLS_MAX {
            return Ok(false);
        }
        let why = self.reader.trouble().unwrap_or_else(|| "no records came".to_owned());
        Err(Error::io(format!("topic {} cannot be read", self.topic)).with_detail(why))
    }

    /// The rows of what was polled first, each with its turn.
    fn in_order(&mut self, waiting: Waiting) -> Result<Option<RecordBatch>> {
        let decoded = waiting.rows.wait()?;
        let bytes = waiting.bytes.unwrap_or(decoded.payload);
        self.counts.scanned.read(waiting.records, bytes);
        self.reading.read(waiting.records, bytes);
        self.latest = self.latest.max(waiting.latest_before);
        let Some(batch) = decoded.batch else { return Ok(None) };
        let mut columns = batch.columns().to_vec();
        let turn = columns[TURN].as_primitive::<Int64Type>().values().iter().map(|time| {
            self.latest = self.latest.max(*time);
            self.latest
        });
        columns[TURN] = Arc::new(turn.collect::<Int64Array>());
        Ok(Some(RecordBatch::try_new(batch.schema(), columns)?))
    }
}
