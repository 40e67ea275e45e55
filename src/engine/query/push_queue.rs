//! The bounded queue between a push query's thread and its reader.
//!
//! ```text
//! thread  put(1 row) put(1 row) put(1 row) ...   waits while the queue is full
//! reader  take() -> 3 rows                       everything queued, as one batch
//! ```
//!
//! Rows leave one by one as long as the reader keeps up, and in batches when it does not: a slow reader costs less per row, and
//! slows down its own query and nothing else. The end of the queue is not the end of the rows: a thread that leaves without a
//! failure was stopped or has panicked, which `push_registry` distinguishes.

use crate::error::{Error, Result};
use crate::execute::record::source::BadRecord;
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rows in the queue: several turns of the query, so that neither side waits for single rows of the other.
const ROWS_MAX: usize = 8_192;
/// Bytes in the queue, as Arrow counts them; a larger batch is queued alone.
const BYTES_MAX: usize = 4 << 20;

/// Rows for the reader.
#[derive(Debug, Default)]
pub(in crate::engine) struct RowBatch {
    pub(in crate::engine) columns: Vec<ArrayRef>,
    /// Which rows are tombstones; empty = none.
    pub(in crate::engine) tombstones: Vec<bool>,
}

/// Records with a fault: how many, and the last one.
pub(in crate::engine) type Faulty = (u64, BadRecord);

/// What keeps the query from continuing, and what it found in records.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Notes {
    /// `None` = nothing.
    pub(in crate::engine) trouble: Option<String>,
    /// Records that are not in the result.
    pub(in crate::engine) skipped: Option<Faulty>,
    /// Records that are, with NULL in the place of a value that cannot be computed.
    pub(in crate::engine) nulled: Option<Faulty>,
}

/// The result of waiting for rows.
#[derive(Debug)]
pub(in crate::engine) enum Received {
    /// At least one row.
    Rows(RowBatch),
    /// None arrived in time.
    Nothing,
    /// The thread has ended and the queue is empty.
    Ended,
}

/// The queue; each side holds it.
#[derive(Debug, Default)]
pub(in crate::engine) struct PushQueue {
    state: Mutex<State>,
    /// Wakes the reader: rows were queued.
    news: Condvar,
    /// Wakes the thread: there is room, or it has to stop.
    room: Condvar,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<RowBatch>,
    rows: usize,
    bytes: usize,
    notes: Notes,
    failure: Option<Error>,
    ended: bool,
}

impl RowBatch {
    pub(in crate::engine) fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.len())
    }

    pub(in crate::engine) fn truncate(&mut self, rows: usize) {
        if rows < self.len() {
            self.columns.iter_mut().for_each(|column| *column = column.slice(0, rows));
            self.tombstones.truncate(rows);
        }
    }

    fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.get_array_memory_size()).sum()
    }

    /// All batches, in their order, as one.
    fn merged(mut all: Vec<RowBatch>) -> Result<RowBatch> {
        if all.len() == 1 {
            return Ok(all.pop().unwrap_or_default());
        }
        let width = all.first().map_or(0, |batch| batch.columns.len());
        let column = |at: usize| {
            let parts: Vec<&dyn Array> = all.iter().map(|batch| batch.columns[at].as_ref()).collect();
            concat(&parts)
        };
        let columns = (0..width).map(column).collect::<std::result::Result<_, _>>()?;
        let mut tombstones = Vec::new();
        if all.iter().any(|batch| !batch.tombstones.is_empty()) {
            for batch in &all {
                tombstones.extend((0..batch.len()).map(|row| batch.tombstones.get(row).is_some_and(|gone| *gone)));
            }
        }
        Ok(RowBatch { columns, tombstones })
    }
}

impl PushQueue {
    /// Queues rows, once they fit. False = the reader is gone.
    pub(in crate::engine) fn put(&self, batch: RowBatch) -> bool {
        let (rows, bytes) = (batch.len(), batch.bytes());
        let mut state = self.state.lock();
        while !self.is_stopped() && state.rows > 0 && (state.rows + rows > ROWS_MAX || state.bytes + bytes > BYTES_MAX)
        {
            self.room.wait(&mut state);
        }
        if self.is_stopped() {
            return false;
        }
        state.rows += rows;
        state.bytes += bytes;
        state.waiting.push(batch);
        self.news.notify_one();
        true
    }

    /// Changes the notes for the reader.
    pub(in crate::engine) fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.state.lock().notes);
        self.news.notify_one();
    }

    /// The thread ends; `failure` = why, unless it was stopped.
    pub(in crate::engine) fn end(&self, failure: Option<Error>) {
        let mut state = self.state.lock();
        state.failure = failure;
        state.ended = true;
        self.news.notify_one();
    }

    /// Asks the thread to end.
    pub(in crate::engine) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // With the lock held: a thread between its check and its wait would miss the signal.
        drop(self.state.lock());
        self.room.notify_one();
    }

    /// Whether the thread was asked to end.
    pub(in crate::engine) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Everything queued, or the first rows that arrive within this time, and the notes so far.
    pub(in crate::engine) fn take(&self, wait: Duration) -> Result<(Received, Notes)> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && !state.ended {
            self.news.wait_for(&mut state, wait);
        }
        let (waiting, notes) = (std::mem::take(&mut state.waiting), state.notes.clone());
        if waiting.is_empty() {
            return match (state.failure.take(), state.ended) {
                (Some(failure), _) => Err(failure),
                (None, true) => Ok((Received::Ended, notes)),
                (None, false) => Ok((Received::Nothing, notes)),
            };
        }
        (state.rows, state.bytes) = (0, 0);
        drop(state);
        self.room.notify_one();
        Ok((Received::Rows(RowBatch::merged(waiting)?), notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn batch(values: &[i64], tombstones: &[bool]) -> RowBatch {
        RowBatch { columns: vec![Arc::new(Int64Array::from(values.to_vec()))], tombstones: tombstones.to_vec() }
    }

    fn received(queue: &PushQueue) -> Option<RowBatch> {
        match queue.take(PATIENCE).unwrap().0 {
            Received::Rows(batch) => Some(batch),
            Received::Nothing | Received::Ended => None,
        }
    }

    #[test]
    fn what_waits_is_taken_at_once_and_in_order() {
        let queue = PushQueue::default();
        for batch in [batch(&[1, 2], &[]), batch(&[3], &[true]), batch(&[4], &[])] {
            assert!(queue.put(batch));
        }
        queue.end(Some(Error::io("over")));
        let all = received(&queue).unwrap();
        assert_eq!(all.columns[0].as_primitive::<Int64Type>().values(), &[1, 2, 3, 4]);
        assert_eq!(all.tombstones, [false, false, true, false]);
        assert_eq!(queue.take(PATIENCE).unwrap_err().message(), "over", "the rows came before it");
    }

    #[test]
    fn a_full_queue_is_waited_for_without_losing_a_row() {
        let queue = Arc::new(PushQueue::default());
        let writer = {
            let queue = queue.clone();
            std::thread::spawn(move || {
                let all = (0..5 * ROWS_MAX as i64).all(|n| queue.put(batch(&[n], &[])));
                queue.end(None);
                all
            })
        };
        let mut next = 0;
        while let Some(batch) = received(&queue) {
            assert!(batch.len() <= ROWS_MAX);
            for value in batch.columns[0].as_primitive::<Int64Type>().values() {
                assert_eq!(*value, next);
                next += 1;
            }
        }
        assert!(writer.join().unwrap() && next == 5 * ROWS_MAX as i64);
    }

    #[test]
    fn a_thread_that_waits_for_room_ends_when_it_is_told_to() {
        let queue = Arc::new(PushQueue::default());
        assert!(queue.put(batch(&vec![0; ROWS_MAX], &[])));
        let writer = {
            let queue = queue.clone();
            std::thread::spawn(move || queue.put(batch(&[1], &[])))
        };
        queue.stop();
        assert!(!writer.join().unwrap());
    }
}
