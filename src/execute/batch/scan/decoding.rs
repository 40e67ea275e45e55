//! Decodes what was polled, on other threads where a scan is long, and returns it in the order in which it was polled.
//!
//! ```text
//! poll 1, poll 2, poll 3 ...   ->  worker a: 1, 3      worker b: 2 ...   ->  batch 1, batch 2, batch 3
//! ```
//!
//! Decoding is most of what a scan costs. The threads are taken from a number that all queries of the process share; a scan
//! that gets none, or that reads little, decodes by itself. Either way the batches are the same.

use super::super::Counts;
use super::layout::Layout;
use super::rows::{Decoded, Piece, RowDecoder};
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::{memory, threads};
use parking_lot::Mutex;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::available_parallelism;

/// Records from which on a scan gets threads: fewer are decoded in the time that threads take to start.
const SHARED_RECORDS_MIN: u64 = 50_000;
/// Threads of one scan: more than one operator thread can use the rows of.
const WORKERS_MAX: usize = 8;
/// Pieces ahead of the reader for each thread: one that is decoded, one that waits.
const AHEAD: usize = 2;
/// What the threads are called.
const THREAD: &str = "batch-decode";

/// Threads that decode now, of all queries.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// Threads of all queries: as many as there are cores, for more would only take turns.
fn threads_max() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// One of the threads, until it is dropped.
#[derive(Debug)]
struct Seat;

impl Seat {
    fn take() -> Option<Seat> {
        let seat = Seat;
        // Dropped where there was none left.
        (BUSY.fetch_add(1, Ordering::Relaxed) < threads_max()).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        BUSY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a piece goes, and where its rows come back.
type Job = (Piece, SyncSender<Result<Decoded>>);

/// Rows that are or will be there.
#[derive(Debug)]
pub(super) enum Pending {
    Done(Result<Decoded>),
    Promised(Receiver<Result<Decoded>>),
}

impl Pending {
    /// The rows, as soon as they are there.
    pub(super) fn wait(self) -> Result<Decoded> {
        match self {
            Pending::Done(decoded) => decoded,
            Pending::Promised(promised) => promised.recv().map_err(|_| ended())?,
        }
    }
}

fn ended() -> Error {
    Error::bug("a thread that decodes records ended early")
}

/// The threads of one scan, or the decoder of the scan's own thread.
#[derive(Debug)]
pub(super) enum Decoding {
    Here(Box<RowDecoder>),
    Shared { jobs: SyncSender<Job>, workers: usize },
}

impl Decoding {
    /// For a scan of the snapshot.
    pub(super) fn new(layout: &Arc<Layout>, snapshot: &Snapshot, counts: &Arc<Counts>) -> Result<Decoding> {
        let decoder = || RowDecoder::new(layout, &snapshot.schemas, counts);
        let seats: Vec<Seat> = match snapshot.len() < SHARED_RECORDS_MIN || threads_max() < 2 {
            true => Vec::new(),
            false => (0..WORKERS_MAX.min(threads_max())).map_while(|_| Seat::take()).collect(),
        };
        let workers = seats.len();
        if workers == 0 {
            return Ok(Decoding::Here(Box::new(decoder()?)));
        }
        let (jobs, waiting) = sync_channel(workers * AHEAD);
        let waiting = Arc::new(Mutex::new(waiting));
        for seat in seats {
            let (waiting, decoder) = (waiting.clone(), decoder()?);
            let topic = layout.source.topic.clone();
            let work = move || {
                let _seat = seat;
                work(&topic, &waiting, decoder);
            };
            threads::spawn(THREAD, "", memory::carried(work))?;
        }
        Ok(Decoding::Shared { jobs, workers })
    }

    /// How many pieces of each of so many partitions may be on their way.
    pub(super) fn ahead(&self, partitions: usize) -> usize {
        match self {
            Decoding::Here(_) => 1,
            Decoding::Shared { workers, .. } => (workers * AHEAD).div_ceil(partitions.max(1)),
        }
    }

    /// Decodes the piece, now or soon.
    pub(super) fn decode(&mut self, piece: Piece) -> Pending {
        match self {
            Decoding::Here(decoder) => Pending::Done(decoder.decode(piece)),
            Decoding::Shared { jobs, .. } => {
                let (sender, promised) = sync_channel(1);
                // A send fails if all threads have ended; then the promise is broken, too.
                let _ = jobs.send((piece, sender));
                Pending::Promised(promised)
            }
        }
    }
}

/// Decodes pieces until the scan ends. One thread at a time waits for the next piece; the others decode, or queue at the lock.
fn work(topic: &str, waiting: &Mutex<Receiver<Job>>, mut decoder: RowDecoder) {
    loop {
        let next = waiting.lock().recv();
        let Ok((piece, sender)) = next else { return };
        let decoded = threads::guard(THREAD, topic, || decoder.decode(piece)).and_then(|decoded| decoded);
        let failed = decoded.is_err();
        // The scan may have ended before.
        let _ = sender.send(decoded);
        if failed {
            // What the decoder holds may be half done, and the scan ends with the error.
            return;
        }
    }
}
