//! Rows on their way from a push query's thread to their reader: a queue that is bounded and wakes whoever waits for it.
//!
//! ```text
//! thread  put(1 row) put(1 row) put(1 row) ...   waits while the queue is full
//! reader  take() -> 3 rows                       all that is there at once, as one batch
//! ```
//!
//! Rows leave one by one as long as the reader keeps up, and in batches when it does not: a slow reader costs less per row, and
//! slows down its own query and nothing else. It refuses to be an end: a thread that goes without a failure was stopped or has
//! panicked, which `pushes` tells apart.

use crate::error::{Error, Result};
use crate::execute::record::source::BadRecord;
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rows that wait for the reader: some turns of the query, so that neither side waits for each row of the other.
const ROWS_MAX: usize = 8_192;
/// Bytes of them, as Arrow counts them; a batch that is larger waits alone.
const BYTES_MAX: usize = 4 << 20;

/// What a reader is told of a batch.
#[derive(Debug, Default)]
pub(in crate::engine) struct Told {
    pub(in crate::engine) columns: Vec<ArrayRef>,
    /// Rows that are gone; empty = none is.
    pub(in crate::engine) tombstones: Vec<bool>,
}

/// Records that could not be used: how many in all, and the last of them.
pub(in crate::engine) type Skipped = (u64, BadRecord);

/// What keeps the query from going on, and what it has left out.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Notes {
    /// `None` = nothing hinders it.
    pub(in crate::engine) trouble: Option<String>,
    pub(in crate::engine) skipped: Option<Skipped>,
}

/// What came of waiting for rows.
#[derive(Debug)]
pub(in crate::engine) enum Taken {
    /// At least one row.
    Rows(Told),
    /// Nothing in that time.
    Nothing,
    /// The thread has gone, and nothing waits any more.
    Ended,
}

/// The queue; each side holds it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Handover {
    state: Mutex<State>,
    /// For the reader: something came.
    news: Condvar,
    /// For the thread: there is room, or it is to stop.
    room: Condvar,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Told>,
    rows: usize,
    bytes: usize,
    notes: Notes,
    failure: Option<Error>,
    ended: bool,
}

impl Told {
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
    fn merged(mut all: Vec<Told>) -> Result<Told> {
        if all.len() == 1 {
            return Ok(all.pop().unwrap_or_default());
        }
        let width = all.first().map_or(0, |told| told.columns.len());
        let column = |at: usize| {
            let parts: Vec<&dyn Array> = all.iter().map(|told| told.columns[at].as_ref()).collect();
            concat(&parts)
        };
        let columns = (0..width).map(column).collect::<std::result::Result<_, _>>()?;
        let mut tombstones = Vec::new();
        if all.iter().any(|told| !told.tombstones.is_empty()) {
            for told in &all {
                tombstones.extend((0..told.len()).map(|row| told.tombstones.get(row).is_some_and(|gone| *gone)));
            }
        }
        Ok(Told { columns, tombstones })
    }
}

impl Handover {
    /// Puts rows into the queue, as soon as they fit. False = nobody wants them any more.
    pub(in crate::engine) fn put(&self, told: Told) -> bool {
        let (rows, bytes) = (told.len(), told.bytes());
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
        state.waiting.push(told);
        self.news.notify_one();
        true
    }

    /// Notes something for the reader.
    pub(in crate::engine) fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.state.lock().notes);
        self.news.notify_one();
    }

    /// The thread goes; `failure` = why, if it was not told to.
    pub(in crate::engine) fn end(&self, failure: Option<Error>) {
        let mut state = self.state.lock();
        state.failure = failure;
        state.ended = true;
        self.news.notify_one();
    }

    /// The thread is to end.
    pub(in crate::engine) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // A thread that is about to wait for room holds the lock until it does.
        drop(self.state.lock());
        self.room.notify_one();
    }

    /// It was told to.
    pub(in crate::engine) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Everything that waits, or the first that comes within that time; what was noted until then.
    pub(in crate::engine) fn take(&self, wait: Duration) -> Result<(Taken, Notes)> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && !state.ended {
            self.news.wait_for(&mut state, wait);
        }
        let (waiting, notes) = (std::mem::take(&mut state.waiting), state.notes.clone());
        if waiting.is_empty() {
            return match (state.failure.take(), state.ended) {
                (Some(failure), _) => Err(failure),
                (None, true) => Ok((Taken::Ended, notes)),
                (None, false) => Ok((Taken::Nothing, notes)),
            };
        }
        (state.rows, state.bytes) = (0, 0);
        drop(state);
        self.room.notify_one();
        Ok((Taken::Rows(Told::merged(waiting)?), notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn told(values: &[i64], tombstones: &[bool]) -> Told {
        Told { columns: vec![Arc::new(Int64Array::from(values.to_vec()))], tombstones: tombstones.to_vec() }
    }

    fn taken(handover: &Handover) -> Option<Told> {
        match handover.take(PATIENCE).unwrap().0 {
            Taken::Rows(told) => Some(told),
            Taken::Nothing | Taken::Ended => None,
        }
    }

    #[test]
    fn what_waits_is_taken_at_once_and_in_order() {
        let handover = Handover::default();
        for batch in [told(&[1, 2], &[]), told(&[3], &[true]), told(&[4], &[])] {
            assert!(handover.put(batch));
        }
        handover.end(Some(Error::io("over")));
        let all = taken(&handover).unwrap();
        assert_eq!(all.columns[0].as_primitive::<Int64Type>().values(), &[1, 2, 3, 4]);
        assert_eq!(all.tombstones, [false, false, true, false]);
        assert_eq!(handover.take(PATIENCE).unwrap_err().message(), "over", "the rows came before it");
    }

    #[test]
    fn a_full_queue_is_waited_for_without_losing_a_row() {
        let handover = Arc::new(Handover::default());
        let writer = {
            let handover = handover.clone();
            std::thread::spawn(move || {
                let all = (0..5 * ROWS_MAX as i64).all(|n| handover.put(told(&[n], &[])));
                handover.end(None);
                all
            })
        };
        let mut next = 0;
        while let Some(told) = taken(&handover) {
            assert!(told.len() <= ROWS_MAX);
            for value in told.columns[0].as_primitive::<Int64Type>().values() {
                assert_eq!(*value, next);
                next += 1;
            }
        }
        assert!(writer.join().unwrap() && next == 5 * ROWS_MAX as i64);
    }

    #[test]
    fn a_thread_that_waits_for_room_ends_when_it_is_told_to() {
        let handover = Arc::new(Handover::default());
        assert!(handover.put(told(&vec![0; ROWS_MAX], &[])));
        let writer = {
            let handover = handover.clone();
            std::thread::spawn(move || handover.put(told(&[1], &[])))
        };
        handover.stop();
        assert!(!writer.join().unwrap());
    }
}
