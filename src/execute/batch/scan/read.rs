//! Reads the retained records of a source in canonical order: the heads of its partitions merged by (rowtime, partition).
//!
//! Taking the earliest head is the same as sorting by the latest time that a partition has shown so far: a row behind a later
//! one leaves at once. That is why records can be left out where they are not needed (`Snapshot::narrow`) as long as the latest
//! of their times is known: the rows that are left keep their order.

use super::super::Counts;
use super::deleted::GapCheck;
use super::snapshot::Snapshot;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::execute::record::event_time::TimeReader;
use crate::execute::record::headers::HeaderColumns;
use crate::format::frame::SharedSchemas;
use crate::format::{Decoder, Side, window_key};
use crate::log::{Assignment, Isolation, Log, Reader, RecordRef, Span, Start, TopicPartition};
use crate::memory;
use crate::parse::statement::SourceKind;
use crate::plan::nodes::table::Origin;
use crate::types::time::WindowKind;
use crate::types::{Column, Role};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
            heads.push(Head::new(partition, spans.clone().into(), (&layout, &snapshot.schemas), log, counts)?);
        }
        Ok(Replay { heads, schema: layout.schema.clone() })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows in canonical order; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        for head in &mut self.heads {
            head.fill()?;
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

/// The first column: when a row has its turn, the latest time of its partition so far.
const TURN: usize = 0;

/// Start and end of a key's window.
type WindowBounds = (i64, i64);

/// What is decoded, and where it goes.
#[derive(Debug)]
struct Layout {
    source: Arc<Source>,
    wanted: Vec<Origin>,
    key: Vec<usize>,
    value: Vec<usize>,
    /// Place of the TIMESTAMP column among the decoded ones: in the key?, which.
    /// Header columns: indices into the source's value columns.
    headers: Vec<usize>,
    time: Option<(bool, usize, TimeReader)>,
    with_key_bytes: bool,
    schema: SchemaRef,
}

impl Layout {
    fn new(source: Arc<Source>, wanted: &[Origin]) -> Result<Layout> {
        let (mut key, mut value, mut headers) = (vec![], vec![], vec![]);
        let add = |list: &mut Vec<usize>, i: usize| {
            if !list.contains(&i) {
                list.push(i);
            }
        };
        for origin in wanted {
            match origin {
                Origin::Key(i) => add(&mut key, *i),
                Origin::Value(i) => {
                    let list = match source.schema.value[*i].role {
                        Role::Header(_) => &mut headers,
                        _ => &mut value,
                    };
                    add(list, *i);
                }
                _ => {}
            }
        }
        let find = |columns: &[Column], name: &str| columns.iter().position(|c| c.name == name);
        let mut time = None;
        if let Some(stamp) = &source.timestamp {
            let reader = TimeReader::new(stamp)?;
            if let Some(i) = find(&source.schema.value, &stamp.column) {
                add(&mut value, i);
                time = value.iter().position(|v| *v == i).map(|at| (false, at, reader));
            } else if let Some(i) = find(&source.schema.key, &stamp.column) {
                add(&mut key, i);
                time = key.iter().position(|k| *k == i).map(|at| (true, at, reader));
            }
        }
        let with_key_bytes = source.kind == SourceKind::Table;
        let mut fields = vec![Field::new("turn", DataType::Int64, true)];
        for origin in wanted {
            fields.push(Field::new(format!("{origin:?}"), data_type(&source, *origin), true));
        }
        if with_key_bytes {
            fields.push(Field::new("partition", DataType::Int32, true));
            fields.push(Field::new("key", DataType::Binary, true));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Layout { source, wanted: wanted.to_vec(), key, value, headers, time, with_key_bytes, schema })
    }
}

fn data_type(source: &Source, origin: Origin) -> DataType {
    match origin {
        Origin::Key(i) => source.schema.key[i].ty.arrow(),
        Origin::Value(i) => source.schema.value[i].ty.arrow(),
        Origin::Partition => DataType::Int32,
        Origin::Present => DataType::Boolean,
        _ => DataType::Int64,
    }
}

/// One partition: rows decoded and not handed on yet.
#[derive(Debug)]
struct Head {
    layout: Arc<Layout>,
    reader: Box<dyn Reader>,
    partition: i32,
    /// What notices that records are deleted before they are read.
    place: GapCheck,
    /// What is read, from the present one on.
    spans: VecDeque<Span>,
    /// Latest time so far.
    latest: i64,
    key: Decoder,
    value: Decoder,
    headers: HeaderColumns,
    rows: Rows,
    /// The batch at hand and its first row that is left.
    ready: Option<(RecordBatch, usize)>,
    waiting: VecDeque<RecordBatch>,
    counts: Arc<Counts>,
}

/// The pseudo columns beside the decoded ones.
#[derive(Debug, Default)]
struct Rows {
    time: Vec<i64>,
    offset: Vec<i64>,
    bounds: Vec<WindowBounds>,
    key: Vec<Option<Vec<u8>>>,
}

impl Head {
    fn new(
        partition: &TopicPartition,
        spans: VecDeque<Span>,
        (layout, schemas): (&Arc<Layout>, &SharedSchemas),
        log: &Arc<dyn Log>,
        counts: &Arc<Counts>,
    ) -> Result<Head> {
        let source = &layout.source;
        let first = spans.front().map(|s| s.offsets.start);
        let start = first.map_or(Start::Latest, Start::Offset);
        let latest = spans.front().and_then(|s| s.latest_before).unwrap_or(i64::MIN);
        let assignment = Assignment { topic: partition.topic.clone(), partition: partition.partition, start };
        Ok(Head {
            reader: log.reader(vec![assignment], Isolation::ReadCommitted)?,
            partition: partition.partition,
            place: GapCheck::new(log, partition, first.unwrap_or(0)),
            spans,
            latest,
            key: Decoder::of(Side::key(source), &layout.key, schemas)?,
            value: Decoder::of(Side::value(source), &layout.value, schemas)?,
            layout: layout.clone(),
            headers: HeaderColumns::new(&layout.headers.iter().map(|i| &source.schema.value[*i]).collect::<Vec<_>>())?,
            rows: Rows::default(),
            ready: None,
            waiting: VecDeque::new(),
            counts: counts.clone(),
        })
    }

    fn advance(&mut self, row: usize) {
        self.ready = self.ready.take().map(|(batch, _)| (batch, row)).filter(|(batch, row)| *row < batch.num_rows());
    }

    fn take_all(&mut self) -> Option<RecordBatch> {
        self.ready.take().map(|(batch, row)| batch.slice(row, batch.num_rows() - row))
    }

    /// Makes rows ready, unless the partition is read up.
    fn fill(&mut self) -> Result<()> {
        let mut idle = 0;
        while self.ready.is_none() {
            if let Some(batch) = self.waiting.pop_front() {
                self.ready = Some((batch, 0));
            } else if self.spans.is_empty() {
                return Ok(());
            } else {
                memory::check()?;
                let before = self.reader.position(0);
                self.poll()?;
                idle = if self.reader.position(0) == before { idle + 1 } else { 0 };
                if idle > IDLE_POLLS_MAX {
                    let why = self.reader.trouble().unwrap_or_else(|| "no records came".to_owned());
                    return Err(
                        Error::io(format!("topic {} cannot be read", self.layout.source.topic)).with_detail(why)
                    );
                }
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<()> {
        let Some(end) = self.spans.front().map(|s| s.offsets.end) else { return Ok(()) };
        let before = (self.reader.position(0), self.reader.bytes_read());
        // Not beyond what is wanted: that would be read for nothing.
        let left = usize::try_from(end.saturating_sub(before.0)).unwrap_or(1);
        // The log shares what it reads with other readers: it is not this query's memory.
        let fetched = memory::outside(|| self.reader.poll(left.clamp(1, BATCH_ROWS), POLL))?;
        let (mut payload, mut first) = (0, None);
        for run in fetched.runs() {
            run.for_each(|record| {
                first.get_or_insert(record.offset);
                if record.offset < end {
                    payload += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                    self.push(&record);
                }
            });
        }
        memory::outside(|| drop(fetched));
        self.place.moved(first, self.reader.position(0))?;
        let position = self.reader.position(0).min(end);
        let read = match (before.1, self.reader.bytes_read()) {
            (Some(before), Some(now)) => now - before,
            _ => payload as u64,
        };
        self.counts.scanned.read(position.abs_diff(before.0.min(end)), read);
        if let Some(batch) = self.finish()? {
            self.waiting.push_back(batch);
        }
        if position >= end {
            self.spans.pop_front();
            if let Some(next) = self.spans.front() {
                self.latest = self.latest.max(next.latest_before.unwrap_or(i64::MIN));
                self.reader.seek(0, next.offsets.start)?;
                self.place.skip_to(next.offsets.start);
            }
        }
        Ok(())
    }

    fn push(&mut self, record: &RecordRef<'_>) {
        let table = self.layout.with_key_bytes;
        if table && record.key.is_none() {
            return;
        }
        let Some((key, bounds)) = self.split(record) else {
            self.counts.bad.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if self.key.push(key).is_err() {
            self.counts.bad.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.value.push(record.value).is_err() {
            self.key.pop();
            self.counts.bad.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.rows.time.push(record.timestamp);
        self.headers.push(&record.headers);
        self.rows.offset.push(record.offset);
        self.rows.bounds.push(bounds);
        if table {
            self.rows.key.push(record.key.map(<[u8]>::to_vec));
        }
    }

    /// The key's own bytes, and the window that it carries.
    fn split<'a>(&self, record: &RecordRef<'a>) -> Option<(Option<&'a [u8]>, WindowBounds)> {
        let (Some(window), Some(key)) = (self.layout.source.window, record.key) else {
            return Some((record.key, (0, 0)));
        };
        match window.kind {
            WindowKind::Tumbling { size_ms } | WindowKind::Hopping { size_ms, .. } => {
                let (key, start) = window_key::split_time(key)?;
                Some((Some(key), (start, start.saturating_add(size_ms))))
            }
            WindowKind::Session { .. } => {
                let (key, end, start) = window_key::split_session(key)?;
                Some((Some(key), (start, end)))
            }
        }
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        let rows = std::mem::take(&mut self.rows);
        if rows.time.is_empty() {
            return Ok(None);
        }
        let (keys, key_present) = self.key.finish();
        let (values, value_present) = self.value.finish();
        let count = rows.time.len();
        let mut time: ArrayRef = Arc::new(Int64Array::from(rows.time));
        let mut fine = None;
        if let Some((in_key, at, reader)) = &self.layout.time {
            let (column, present) = if *in_key { (&keys[*at], &key_present) } else { (&values[*at], &value_present) };
            let (stamped, valid) = stamp(reader, column, present.as_ref(), &time)?;
            (time, fine) = (stamped, Some(valid));
        }
        let headers = self.headers.finish()?;
        let place = |list: &[usize], i: usize| list.iter().position(|x| *x == i);
        let missing = || Error::bug("a wanted column was not decoded");
        let mut columns = vec![time.clone()];
        for origin in &self.layout.wanted {
            columns.push(match origin {
                Origin::Key(i) => keys[place(&self.layout.key, *i).ok_or_else(missing)?].clone(),
                Origin::Value(i) => match place(&self.layout.headers, *i) {
                    Some(at) => headers[at].clone(),
                    None => values[place(&self.layout.value, *i).ok_or_else(missing)?].clone(),
                },
                Origin::Rowtime => time.clone(),
                Origin::Partition => Arc::new(Int32Array::from(vec![self.partition; count])),
                Origin::Offset => Arc::new(Int64Array::from(rows.offset.clone())),
                Origin::WindowStart => Arc::new(rows.bounds.iter().map(|b| b.0).collect::<Int64Array>()),
                Origin::WindowEnd => Arc::new(rows.bounds.iter().map(|b| b.1).collect::<Int64Array>()),
                Origin::Present => Arc::new(present_column(value_present.as_ref(), count)),
                Origin::Ordinal => return Err(Error::bug("the ordinal is not read")),
            });
        }
        if self.layout.with_key_bytes {
            columns.push(Arc::new(Int32Array::from(vec![self.partition; count])));
            let mut bytes = BinaryBuilder::new();
            rows.key.iter().for_each(|k| bytes.append_option(k.as_deref()));
            columns.push(Arc::new(bytes.finish()));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options)?;
        let batch = match fine {
            None => batch,
            Some(fine) => {
                let bad = (count - fine.true_count()) as u64;
                self.counts.bad.fetch_add(bad, Ordering::Relaxed);
                filter_record_batch(&batch, &fine)?
            }
        };
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let mut columns = batch.columns().to_vec();
        let turn = columns[TURN].as_primitive::<Int64Type>().values().iter().map(|time| {
            self.latest = self.latest.max(*time);
            self.latest
        });
        columns[TURN] = Arc::new(turn.collect::<Int64Array>());
        Ok(Some(RecordBatch::try_new(batch.schema(), columns)?))
    }
}

fn present_column(present: Option<&arrow::buffer::NullBuffer>, rows: usize) -> BooleanArray {
    match present {
        None => BooleanArray::from(vec![true; rows]),
        Some(present) => BooleanArray::new(present.inner().clone(), None),
    }
}

/// Times from the TIMESTAMP column, and which rows have a legal one; a record without a value keeps its own.
fn stamp(
    reader: &TimeReader,
    column: &ArrayRef,
    present: Option<&arrow::buffer::NullBuffer>,
    own: &ArrayRef,
) -> Result<(ArrayRef, BooleanArray)> {
    let own = own.as_primitive::<Int64Type>();
    let times = reader.times(column)?;
    let stamped = times.iter().enumerate().map(|(row, time)| match present {
        Some(present) if present.is_null(row) => own.value(row),
        _ if column.is_null(row) => -1,
        _ => *time,
    });
    let stamped: Int64Array = stamped.collect();
    let fine: BooleanArray = stamped.values().iter().map(|t| Some(*t >= 0)).collect();
    Ok((Arc::new(stamped), fine))
}
