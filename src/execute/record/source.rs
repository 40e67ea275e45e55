//! Bytes in: the records of one source partition become one [`ChangeBatch`].
//!
//! A record is taken whole or not at all. Its key is decoded first, then its value, then its time; whatever fails, the
//! record is skipped and reported with topic, partition, offset and reason, and the columns are as if it had never been.

use super::event_time::TimeReader;
use super::headers::HeaderColumns;
use super::schema_headers::SchemaHeaders;
use crate::catalog::{Source, TimestampColumn};
use crate::error::{Error, Result};
use crate::execute::change::{Bounds, ChangeBatch, RowImage};
use crate::execute::pipeline::Scan;
use crate::format::frame::SharedSchemas;
use crate::format::{Decoder, Side, window_key};
use crate::log::RecordRef;
use crate::parse::statement::SourceKind;
use crate::types::Role;
use crate::types::time::WindowKind;
use arrow::array::{Array, ArrayRef, Int32Array, Int64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use std::sync::Arc;

/// A record that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset; -1 where it was not written.
    pub offset: i64,
    /// What is wrong with it.
    pub reason: String,
    /// Where that was found out.
    pub stage: Stage,
}

/// What a record did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its bytes are not what the source says.
    Decode,
    /// An expression of the query cannot be computed for it.
    Process,
    /// The same, and what the expression makes is NULL: the row itself was not left out.
    Null,
    /// It is no input but a row of the query, which is too large for the topic that it goes to.
    Produce {
        /// Its key as text, cut if it is long; `None` = it has none.
        key: Option<String>,
        /// Its size as a record of Kafka's.
        bytes: usize,
    },
}

/// Decodes one partition of a source.
#[derive(Debug)]
pub struct SourceDecoder {
    topic: Arc<str>,
    partition: i32,
    table: bool,
    key: Decoder,
    value: Decoder,
    window: Option<WindowKind>,
    timestamp: Option<(EventTime, TimeReader)>,
    row_partition: bool,
    row_offset: bool,
    /// No key column is declared: the bytes of the key are ignored.
    keyless: bool,
    headers: HeaderColumns,
    schema_headers: SchemaHeaders,
    /// Key columns of the batch.
    key_columns: usize,
    /// Where each value column of the batch comes from.
    layout: Vec<ColumnOrigin>,
    rowtime: Vec<i64>,
    offset: Vec<i64>,
    seq: Vec<u64>,
    window_start: Vec<i64>,
    window_end: Vec<i64>,
    /// Batches that were closed because the next record had no room in them.
    full: Vec<Result<ChangeBatch>>,
}

/// A value column of the batch.
#[derive(Clone, Copy, Debug)]
enum ColumnOrigin {
    /// The payload's.
    Decoded(usize),
    /// The headers'.
    Header(usize),
}

/// Where a row's time is read from, if not from the record.
#[derive(Clone, Copy, Debug)]
enum EventTime {
    Key(usize),
    Value(usize),
}

impl SourceDecoder {
    /// Decodes `partition` of the scan's source; `schemas` are those of the records' writers.
    pub fn new(scan: &Scan, partition: i32, schemas: &SharedSchemas) -> Result<SourceDecoder> {
        let source = &*scan.source;
        let (mut key, mut value) = (scan.key.clone(), Vec::new());
        let declared: Vec<_> = source.schema.value.iter().filter(|c| c.role == Role::Value).cloned().collect();
        let (mut headers, mut layout) = (Vec::new(), Vec::new());
        for &index in &scan.value {
            let column = &source.schema.value[index];
            if column.role == Role::Value {
                layout.push(ColumnOrigin::Decoded(value.len()));
                value.push(position(&declared, &column.name)?);
            } else {
                layout.push(ColumnOrigin::Header(headers.len()));
                headers.push(column);
            }
        }
        let timestamp = match &source.timestamp {
            None => None,
            Some(column) => {
                let from = event_time(source, column, &mut key, &mut value, &declared)?;
                Some((from, TimeReader::new(column)?))
            }
        };
        Ok(SourceDecoder {
            topic: source.topic.as_str().into(),
            partition,
            table: source.kind == SourceKind::Table,
            key: Decoder::of(Side::key(source), &key, schemas)?,
            value: Decoder::of(Side { columns: &declared, ..Side::value(source) }, &value, schemas)?,
            window: source.window.map(|w| w.kind),
            timestamp,
            row_partition: scan.row_partition,
            row_offset: scan.row_offset,
            keyless: source.schema.key.is_empty(),
            headers: HeaderColumns::new(&headers)?,
            schema_headers: SchemaHeaders::of(source),
            key_columns: scan.key.len(),
            layout,
            rowtime: Vec::new(),
            offset: Vec::new(),
            seq: Vec::new(),
            window_start: Vec::new(),
            window_end: Vec::new(),
            full: Vec::new(),
        })
    }

    /// The records to come are those of another partition of the same topic.
    pub(crate) fn read_of(&mut self, partition: i32) {
        self.partition = partition;
    }

    /// Whether no record was taken since the last [`SourceDecoder::finish`].
    pub fn is_empty(&self) -> bool {
        self.seq.is_empty() && self.full.is_empty()
    }

    /// Whether the current batch has room for the record.
    #[inline]
    fn has_room(&self, record: &RecordRef<'_>) -> bool {
        let added = self.schema_headers.bytes_added_max(&record.headers);
        let bytes = |b: Option<&[u8]>| b.map_or(0, |b| b.len() + added);
        self.key.has_room(bytes(record.key)) && self.value.has_room(bytes(record.value))
    }

    /// Takes one record. A batch that has no room for it is closed, and returned by [`SourceDecoder::finish`] with the others.
    #[inline]
    pub fn push(&mut self, record: &RecordRef<'_>, seq: u64, bad: &mut Vec<BadRecord>) {
        if !self.has_room(record) {
            let full = self.close(bad);
            self.full.push(full);
        }
        if let Err(reason) = self.try_push(record, seq) {
            let (topic, partition, offset) = (self.topic.clone(), self.partition, record.offset);
            bad.push(BadRecord { topic, partition, offset, reason, stage: Stage::Decode });
        }
    }

    #[inline]
    fn try_push(&mut self, record: &RecordRef<'_>, seq: u64) -> Result<(), String> {
        if self.schema_headers.are_looked_at(&record.headers) {
            return self.try_push_framed(record, seq);
        }
        self.try_push_sides(record, (record.key, record.value), seq)
    }

    #[inline(never)]
    fn try_push_framed(&mut self, record: &RecordRef<'_>, seq: u64) -> Result<(), String> {
        let (key, value) = self.schema_headers.framed(record);
        self.try_push_sides(record, (key.as_deref(), value.as_deref()), seq)
    }

    #[inline]
    fn try_push_sides(
        &mut self,
        record: &RecordRef<'_>,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        seq: u64,
    ) -> Result<(), String> {
        let mut key = if self.keyless { None } else { key };
        if self.table && key.is_none() {
            return Err("a table's record has no key".to_owned());
        }
        let mut bounds = None;
        if let (Some(kind), Some(bytes)) = (self.window, key) {
            let (inner, start, end) = split_window(kind, bytes)?;
            (key, bounds) = (Some(inner), Some((start, end)));
        }
        if !self.keyless {
            self.key.push(key).map_err(|e| format!("key: {}", e.reason))?;
        }
        if let Err(e) = self.value.push(value) {
            self.key.pop();
            return Err(format!("value: {}", e.reason));
        }
        if record.timestamp < 0 && self.timestamp.is_none() {
            self.key.pop();
            self.value.pop();
            return Err(format!("timestamp {} is before 1970", record.timestamp));
        }
        if let Some((start, end)) = bounds {
            self.window_start.push(start);
            self.window_end.push(end);
        } else if self.window.is_some() {
            self.window_start.push(0);
            self.window_end.push(0);
        }
        self.rowtime.push(record.timestamp);
        self.seq.push(seq);
        self.headers.push(&record.headers);
        if self.row_offset || self.timestamp.is_some() {
            self.offset.push(record.offset);
        }
        Ok(())
    }

    /// The rows taken, nearly always as one batch, as more when the records are huge. Rows whose event time cannot be used are
    /// reported and left out.
    pub fn finish(&mut self, bad: &mut Vec<BadRecord>) -> Result<Vec<ChangeBatch>> {
        if !self.seq.is_empty() {
            let last = self.close(bad);
            self.full.push(last);
        }
        std::mem::take(&mut self.full).into_iter().collect()
    }

    /// The rows of the current batch.
    fn close(&mut self, bad: &mut Vec<BadRecord>) -> Result<ChangeBatch> {
        let rows = self.seq.len();
        let (mut key, key_present) = self.key.finish();
        let (mut value, present) = self.value.finish();
        let time = match self.timestamp.as_ref().map(|(from, _)| from) {
            Some(EventTime::Key(at)) => Some(key[*at].clone()),
            Some(EventTime::Value(at)) => Some(value[*at].clone()),
            None => None,
        };
        // The column of the time was appended by `new`, unless the plan reads it.
        key.truncate(self.key_columns);
        let mut rowtime: ScalarBuffer<i64> = taken(&mut self.rowtime).into();
        let offset = taken(&mut self.offset);
        let mut good: Option<Vec<bool>> = None;
        if let (Some((_, reader)), Some(column)) = (&self.timestamp, &time) {
            let times = reader.times(column)?;
            if column.null_count() == 0 && times.iter().all(|t| *t >= 0) {
                rowtime = times;
            } else {
                let mut own = rowtime.to_vec();
                good = self.event_times_one_by_one((reader, column), &times, present.as_ref(), &offset, &mut own, bad);
                rowtime = own.into();
            }
        }
        let headers = self.headers.finish()?;
        if headers.is_empty() {
            value.truncate(self.layout.len());
        } else {
            let column = |place: &ColumnOrigin| match place {
                ColumnOrigin::Decoded(at) => value[*at].clone(),
                ColumnOrigin::Header(at) => headers[*at].clone(),
            };
            value = self.layout.iter().map(column).collect();
        }
        if self.row_partition {
            value.push(Arc::new(Int32Array::from_value(self.partition, rows)) as ArrayRef);
        }
        if self.row_offset {
            value.push(Arc::new(Int64Array::from(offset)) as ArrayRef);
        }
        let window = self
            .window
            .map(|_| Bounds { start: taken(&mut self.window_start).into(), end: taken(&mut self.window_end).into() });
        if self.keyless {
            key.clear();
        }
        let batch = ChangeBatch {
            key,
            key_present: if self.keyless { Some(NullBuffer::new_null(rows)) } else { key_present },
            new: RowImage { columns: value, present },
            old: None,
            rowtime,
            window,
            seq: taken(&mut self.seq).into(),
        };
        match good {
            None => Ok(batch),
            Some(good) => batch.filter(&good.into()),
        }
    }

    /// Event times where some are NULL or before 1970: puts the others into `rowtime`, reports the rows without one, and
    /// returns which rows are good (`None` = all).
    #[cold]
    fn event_times_one_by_one(
        &self,
        (reader, column): (&TimeReader, &ArrayRef),
        times: &[i64],
        present: Option<&NullBuffer>,
        offset: &[i64],
        rowtime: &mut [i64],
        bad: &mut Vec<BadRecord>,
    ) -> Option<Vec<bool>> {
        let mut good: Option<Vec<bool>> = None;
        for (row, &time) in times.iter().enumerate() {
            let time = column.is_valid(row).then_some(time);
            match time.filter(|t| *t >= 0) {
                Some(t) => rowtime[row] = t,
                // A null value has no time of its own: the record's timestamp is used.
                None if present.is_some_and(|p| p.is_null(row)) => {}
                None => {
                    let reason = reader.fault(time);
                    let (topic, partition) = (self.topic.clone(), self.partition);
                    bad.push(BadRecord { topic, partition, offset: offset[row], reason, stage: Stage::Decode });
                    good.get_or_insert_with(|| vec![true; times.len()])[row] = false;
                }
            }
        }
        good
    }

    /// Forgets what was taken: the epoch is begun again.
    pub fn clear(&mut self) -> Result<()> {
        self.finish(&mut Vec::new()).map(drop)
    }
}

fn position(columns: &[crate::types::Column], name: &str) -> Result<usize> {
    columns.iter().position(|c| c.name == name).ok_or_else(|| Error::bug(format!("column {name} is not declared")))
}

/// Makes sure that the time's column is decoded, and says where.
fn event_time(
    source: &Source,
    column: &TimestampColumn,
    key: &mut Vec<usize>,
    value: &mut Vec<usize>,
    declared: &[crate::types::Column],
) -> Result<EventTime> {
    let place = |wanted: &mut Vec<usize>, index: usize| {
        wanted.iter().position(|&w| w == index).unwrap_or_else(|| {
            wanted.push(index);
            wanted.len() - 1
        })
    };
    if let Some(index) = source.schema.key.iter().position(|c| c.name == column.column) {
        return Ok(EventTime::Key(place(key, index)));
    }
    Ok(EventTime::Value(place(value, position(declared, &column.column)?)))
}

/// Takes the rows out and leaves room for as many again.
fn taken<T>(rows: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(rows.len());
    std::mem::replace(rows, next)
}

fn split_window(kind: WindowKind, bytes: &[u8]) -> Result<(&[u8], i64, i64), String> {
    let short = || "key: too short for a windowed key".to_owned();
    match kind {
        WindowKind::Tumbling { size_ms } | WindowKind::Hopping { size_ms, .. } => {
            let (inner, start) = window_key::split_time(bytes).ok_or_else(short)?;
            Ok((inner, start, start.saturating_add(size_ms)))
        }
        WindowKind::Session { .. } => {
            let (inner, end, start) = window_key::split_session(bytes).ok_or_else(short)?;
            Ok((inner, start, end))
        }
    }
}
