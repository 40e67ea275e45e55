//! Bytes out: changes become records of the sink topic.
//!
//! Keys of a batch are encoded first, then its values, column after column into one buffer. The partition is Java's
//! murmur2 over the key bytes *without* window; a record without a key goes to the partition that its source had.

use super::event_time::TimeReader;
use super::schema_headers;
use super::too_large::TooLarge;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::execute::change::ChangeBatch;
use crate::format::{Encoder, Side, window_key};
use crate::log::size::{OVERHEAD_BYTES_MAX, record_bytes};
use crate::log::{Header, RecordSet, Row, partition};
use crate::types::time::WindowKind;
use arrow::array::{Array, ArrayRef};
use std::ops::Range;
use std::sync::Arc;

/// Encodes the changes of one query.
#[derive(Debug)]
pub struct SinkEncoder {
    topic: Arc<str>,
    partitions: u32,
    key: Option<Encoder>,
    value: Encoder,
    window: Option<WindowKind>,
    stamp: Option<(Stamp, TimeReader)>,
    key_bytes: Vec<u8>,
    keys: Vec<Option<Range<usize>>>,
    values: Vec<Option<Range<usize>>>,
    /// Size of the largest record that the topic takes.
    limit: usize,
    /// Rows that are larger, until they are taken.
    large: Vec<TooLarge>,
}

/// Which column stamps the records.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    Key(usize),
    Value(usize),
}

impl Stamp {
    fn column(self, batch: &ChangeBatch) -> &ArrayRef {
        match self {
            Stamp::Key(at) => &batch.key[at],
            Stamp::Value(at) => &batch.new.columns[at],
        }
    }
}

/// A row that could not be written.
pub type Unwritten = (u64, String);

impl SinkEncoder {
    /// Writes to a source's topic.
    pub fn new(target: &Source) -> Result<SinkEncoder> {
        let key = match target.schema.key.is_empty() {
            true => None,
            false => Some(Encoder::of(Side::key(target))?),
        };
        Ok(SinkEncoder {
            topic: target.topic.as_str().into(),
            partitions: target.partitions,
            key,
            value: Encoder::of(Side::value(target))?,
            window: target.window.map(|w| w.kind),
            stamp: stamp(target)?,
            key_bytes: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            limit: usize::MAX,
            large: Vec::new(),
        })
    }

    /// The same for a topic that takes no record of more bytes.
    pub fn with_limit(self, bytes: usize) -> SinkEncoder {
        SinkEncoder { limit: bytes, ..self }
    }

    /// The rows that were left out because they are larger.
    pub(crate) fn take_large(&mut self) -> Vec<TooLarge> {
        std::mem::take(&mut self.large)
    }

    /// Topic that is written.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Appends a batch; rows that cannot be encoded are left out and returned with `seq` and reason.
    /// `headers` are those of the input rows, by `seq`.
    pub fn encode(
        &mut self,
        batch: &ChangeBatch,
        source_partition: i32,
        headers: &dyn Fn(u64) -> Vec<Header>,
        out: &mut RecordSet,
    ) -> Result<Vec<Unwritten>> {
        let rows = batch.len();
        let mut failed = Vec::new();
        self.key_bytes.clear();
        self.keys.clear();
        self.values.clear();
        match &mut self.key {
            None => self.keys.resize(rows, None),
            Some(key) => {
                let bad =
                    key.encode(&batch.key, batch.key_present.as_ref(), rows, &mut self.key_bytes, &mut self.keys)?;
                failed.extend(bad.into_iter().map(|(row, e)| (row, format!("key: {}", e.reason))));
            }
        }
        let bad =
            self.value.encode(&batch.new.columns, batch.new.present.as_ref(), rows, &mut out.data, &mut self.values)?;
        failed.extend(bad.into_iter().map(|(row, e)| (row, format!("value: {}", e.reason))));
        failed.sort_by_key(|f| f.0);
        failed.dedup_by_key(|f| f.0);
        let times = self.timestamps(batch)?;
        let timeless = times.iter().flatten().enumerate().filter(|(_, t)| **t < 0).map(|(row, _)| row);
        failed.extend(timeless.map(|row| (row, self.timeless(batch, row))));
        failed.sort_by_key(|f| f.0);
        failed.dedup_by_key(|f| f.0);
        let mut skip = failed.iter().map(|f| f.0).peekable();
        for row in 0..rows {
            if skip.next_if_eq(&row).is_some() {
                continue;
            }
            let target = match &self.keys[row] {
                Some(range) => partition::java(&self.key_bytes[range.clone()], self.partitions),
                None => source_partition.rem_euclid(self.partitions as i32),
            };
            let key = self.keys[row].clone().map(|range| self.put_key(batch, row, range, &mut out.data));
            let seq = batch.seq[row];
            let headers = schema_headers::forwarded(headers(seq));
            if let Some(bytes) = self.oversize(key.clone(), row, &headers) {
                let key = key.map(|range| &out.data[range]);
                self.large.push(TooLarge::new(target, key, bytes));
                continue;
            }
            if !headers.is_empty() {
                out.headers.push((out.rows.len() as u32, headers));
            }
            out.rows.push(Row {
                partition: target,
                timestamp: times.as_ref().map_or(batch.rowtime[row], |t| t[row]),
                key,
                value: self.values[row].clone(),
            });
        }
        Ok(failed.into_iter().map(|(row, reason)| (batch.seq[row], reason)).collect())
    }

    /// How large the row is if it is too large. Its bytes stay in the buffer until the epoch ends.
    fn oversize(&self, key: Option<Range<usize>>, row: usize, headers: &[Header]) -> Option<usize> {
        let (key, value) = (key.map(|range| range.len()), self.values[row].as_ref().map(|range| range.len()));
        let plain = key.unwrap_or_default() + value.unwrap_or_default() + OVERHEAD_BYTES_MAX;
        if headers.is_empty() && plain <= self.limit {
            return None;
        }
        Some(record_bytes(key, value, headers)).filter(|bytes| *bytes > self.limit)
    }

    /// Copies a key behind what `data` holds already, with the window's bytes.
    fn put_key(&self, batch: &ChangeBatch, row: usize, range: Range<usize>, data: &mut Vec<u8>) -> Range<usize> {
        let start = data.len();
        data.extend_from_slice(&self.key_bytes[range]);
        if let (Some(kind), Some(bounds)) = (self.window, &batch.window) {
            match kind {
                WindowKind::Session { .. } => window_key::append_session(bounds.end[row], bounds.start[row], data),
                _ => window_key::append_time(bounds.start[row], data),
            }
        }
        start..data.len()
    }

    /// Why a row has no time.
    #[cold]
    fn timeless(&self, batch: &ChangeBatch, row: usize) -> String {
        let Some((stamp, reader)) = &self.stamp else { return "timestamp: the row has no time".to_owned() };
        let column = stamp.column(batch).slice(row, 1);
        let time = reader.times(&column).ok().filter(|_| column.is_valid(0)).map(|times| times[0]);
        reader.fault(time)
    }

    /// The times that `WITH (TIMESTAMP = ...)` asks for; before 1970 where a row has none. A row without a value keeps its
    /// own time.
    fn timestamps(&self, batch: &ChangeBatch) -> Result<Option<Vec<i64>>> {
        let Some((stamp, reader)) = &self.stamp else { return Ok(None) };
        let column = stamp.column(batch);
        let times = reader.times(column)?;
        let time = |row: usize| match (batch.new.has(row), column.is_valid(row)) {
            (false, _) => batch.rowtime[row],
            (true, true) => times[row],
            (true, false) => -1,
        };
        Ok(Some((0..batch.len()).map(time).collect()))
    }
}

fn stamp(target: &Source) -> Result<Option<(Stamp, TimeReader)>> {
    let Some(column) = &target.timestamp else { return Ok(None) };
    let place = |columns: &[crate::types::Column]| columns.iter().position(|c| c.name == column.column);
    let key = place(&target.schema.key).map(Stamp::Key);
    let from = key.or_else(|| place(&target.schema.value).map(Stamp::Value));
    let from = from.ok_or_else(|| Error::bug("the column that stamps records is not in the schema"))?;
    Ok(Some((from, TimeReader::new(column)?)))
}
