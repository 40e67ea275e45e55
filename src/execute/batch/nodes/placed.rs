//! Rows in their windows, in linear memory: they leave in portions, however many windows a row belongs to.
//!
//! ```text
//! HOPPING (SIZE 1 HOUR, ADVANCE BY 1 SECOND)     a row of a megabyte leaves 3,600 times, 16 rows a batch
//! ```

use super::super::Counts;
use super::explode::{BYTES_MAX, ROWS_MAX, row_bytes};
use crate::error::{Error, Result};
use crate::execute::operator::window::Windows;
use crate::memory;
use crate::types::pseudo;
use crate::types::time::NEVER;
use arrow::array::{AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The rows of one batch in their windows, portion by portion.
pub(super) struct Portions {
    batch: RecordBatch,
    windows: Windows,
    counts: Arc<Counts>,
    schema: SchemaRef,
    /// Stream time of each row's partition when it arrives.
    times: Vec<i64>,
    bytes: Vec<u64>,
    row: usize,
    /// The next window of that row; `None` = its first.
    next: Option<i64>,
}

impl Portions {
    pub(super) fn new(
        batch: &RecordBatch,
        windows: Windows,
        times: &mut BTreeMap<i32, i64>,
        counts: Arc<Counts>,
        schema: SchemaRef,
    ) -> Result<Portions> {
        let rowtime = rowtimes(batch)?;
        let partition = column(batch, pseudo::ROWPARTITION)?.as_primitive::<Int32Type>().values();
        let advanced = |row: usize| {
            let time = times.entry(partition[row]).or_insert(NEVER);
            *time = rowtime[row].max(*time);
            *time
        };
        Ok(Portions {
            times: (0..batch.num_rows()).map(advanced).collect(),
            bytes: row_bytes(batch.columns(), batch.num_rows()),
            batch: batch.clone(),
            windows,
            counts,
            schema,
            row: 0,
            next: None,
        })
    }

    fn portion(&mut self) -> Result<Option<RecordBatch>> {
        memory::check()?;
        let rowtime = rowtimes(&self.batch)?.clone();
        let (mut rows, mut starts, mut ends, mut late) = (vec![], vec![], vec![], 0);
        let mut left = BYTES_MAX;
        while self.row < self.bytes.len() && rows.len() < ROWS_MAX && (rows.is_empty() || left >= self.bytes[self.row])
        {
            let time = rowtime[self.row];
            let last = self.windows.last(time);
            let start = self.next.unwrap_or_else(|| self.windows.first(time));
            if self.windows.is_closed(start, self.times[self.row]) {
                late += 1;
            } else {
                rows.push(self.row as u64);
                starts.push(start);
                ends.push(self.windows.end(start));
                left = left.saturating_sub(self.bytes[self.row]);
            }
            self.next = self.windows.next(start, last);
            self.row += usize::from(self.next.is_none());
        }
        self.counts.late.fetch_add(late, Ordering::Relaxed);
        if rows.is_empty() {
            return Ok(None);
        }
        let taken = take_record_batch(&self.batch, &UInt64Array::from(rows))?;
        let mut columns = taken.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(starts)));
        columns.push(Arc::new(Int64Array::from(ends)));
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }
}

impl Iterator for Portions {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.portion().transpose()
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::bug(format!("no {name} below a time window")))
}

fn rowtimes(batch: &RecordBatch) -> Result<&arrow::buffer::ScalarBuffer<i64>> {
    Ok(column(batch, pseudo::ROWTIME)?.as_primitive::<Int64Type>().values())
}
