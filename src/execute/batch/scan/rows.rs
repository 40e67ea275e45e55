//! Records of one partition to a batch of the wanted columns.
//!
//! A decoder keeps nothing between two calls: whichever thread decodes a piece of a partition, the rows are the same.

use super::super::Counts;
use super::layout::Layout;
use crate::error::{Error, Result};
use crate::execute::record::event_time::TimeReader;
use crate::execute::record::headers::HeaderColumns;
use crate::execute::record::schema_headers::SchemaHeaders;
use crate::format::canonical::CanonicalKey;
use crate::format::frame::SharedSchemas;
use crate::format::{Decoder, Side, window_key};
use crate::log::{Fetched, RecordRef};
use crate::memory;
use crate::plan::nodes::table::Origin;
use crate::types::time::WindowKind;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Start and end of a key's window.
type WindowBounds = (i64, i64);

/// What a poll of a partition brought.
#[derive(Debug)]
pub(super) struct Piece {
    pub partition: i32,
    pub records: Fetched,
    /// Records from this offset on are not wanted.
    pub end: i64,
}

/// The rows of a piece.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// `None` = no row.
    pub batch: Option<RecordBatch>,
    /// Bytes of their keys and values.
    pub payload: u64,
}

/// Decodes pieces of any partition of a source.
#[derive(Debug)]
pub(super) struct RowDecoder {
    layout: Arc<Layout>,
    key: Decoder,
    /// Of a table: brings the keys of several writers into one form; `None` = they have it.
    canonical: Option<CanonicalKey>,
    value: Decoder,
    headers: HeaderColumns,
    schema_headers: SchemaHeaders,
    rows: Rows,
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

impl RowDecoder {
    pub(super) fn new(layout: &Arc<Layout>, schemas: &SharedSchemas, counts: &Arc<Counts>) -> Result<RowDecoder> {
        let source = &layout.source;
        let headers: Vec<_> = layout.headers.iter().map(|i| &source.schema.value[*i]).collect();
        Ok(RowDecoder {
            key: Decoder::of(Side::key(source), &layout.key, schemas)?,
            canonical: match layout.with_key_bytes {
                true => CanonicalKey::new(Side::key(source), schemas)?,
                false => None,
            },
            value: Decoder::of(Side::value(source), &layout.value, schemas)?,
            headers: HeaderColumns::new(&headers)?,
            schema_headers: SchemaHeaders::of(source),
            layout: layout.clone(),
            rows: Rows::default(),
            counts: counts.clone(),
        })
    }

    /// The rows of the piece.
    pub(super) fn decode(&mut self, piece: Piece) -> Result<Decoded> {
        memory::check()?;
        let Piece { partition, records, end } = piece;
        let mut payload = 0;
        for run in records.runs() {
            run.for_each(|record| {
                if record.offset < end {
                    payload += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
                    self.push(&record);
                }
            });
        }
        // The log shares what it reads with other readers: it is not this query's memory.
        memory::outside(|| drop(records));
        Ok(Decoded { batch: self.finish(partition)?, payload })
    }

    fn push(&mut self, record: &RecordRef<'_>) {
        if self.schema_headers.are_looked_at(&record.headers) {
            let (key, value) = self.schema_headers.framed(record);
            return self.push_sides(record, key.as_deref(), value.as_deref());
        }
        self.push_sides(record, record.key, record.value);
    }

    fn push_sides(&mut self, record: &RecordRef<'_>, whole: Option<&[u8]>, value: Option<&[u8]>) {
        let table = self.layout.with_key_bytes;
        if table && whole.is_none() {
            return;
        }
        let Some((key, bounds)) = self.split(whole) else {
            self.counts.bad.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if self.key.push(key).is_err() {
            self.counts.bad.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.value.push(value).is_err() {
            self.key.pop();
            self.counts.bad.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.rows.time.push(record.timestamp);
        self.headers.push(&record.headers);
        self.rows.offset.push(record.offset);
        self.rows.bounds.push(bounds);
        if table {
            let form = whole.map(|whole| match (&mut self.canonical, key) {
                (Some(canonical), Some(inner)) => [&canonical.of(inner), &whole[inner.len()..]].concat(),
                _ => whole.to_vec(),
            });
            self.rows.key.push(form);
        }
    }

    /// The key's own bytes, and the window that it carries.
    fn split<'a>(&self, key: Option<&'a [u8]>) -> Option<(Option<&'a [u8]>, WindowBounds)> {
        let (Some(window), Some(key)) = (self.layout.source.window, key) else {
            return Some((key, (0, 0)));
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

    fn finish(&mut self, partition: i32) -> Result<Option<RecordBatch>> {
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
                Origin::Partition => Arc::new(Int32Array::from(vec![partition; count])),
                Origin::Offset => Arc::new(Int64Array::from(rows.offset.clone())),
                Origin::WindowStart => Arc::new(rows.bounds.iter().map(|b| b.0).collect::<Int64Array>()),
                Origin::WindowEnd => Arc::new(rows.bounds.iter().map(|b| b.1).collect::<Int64Array>()),
                Origin::Present => Arc::new(present_column(value_present.as_ref(), count)),
                Origin::Ordinal => return Err(Error::bug("the ordinal is not read")),
            });
        }
        if self.layout.with_key_bytes {
            columns.push(Arc::new(Int32Array::from(vec![partition; count])));
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
        Ok((batch.num_rows() > 0).then_some(batch))
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
