//! Rows on their way to one reader: a queue between the thread that makes them and the response that sends them.
//!
//! It is bounded by bytes. A reader that is slow slows down its own query; one that takes nothing for
//! [`READER_PATIENCE`] while the queue is full is dropped, and what waited for it is thrown away at once.

use super::limits::{QUEUED_BYTES_MAX, READER_PATIENCE};
use crate::types::clock::SharedClock;
use axum::body::Bytes;
use futures::Stream;
use futures::task::AtomicWaker;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How often a thread that waits for room looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);

/// Why nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The reader has left, or the query is to end.
    Left,
    /// The reader does not read.
    Stuck,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Nobody reads any more.
    left: bool,
    /// Nobody writes any more.
    ended: bool,
    /// The reader was dropped: its response breaks off.
    stuck: bool,
}

struct Queue {
    state: Mutex<State>,
    /// There is room, or nobody reads any more.
    room: Condvar,
    /// The response waits for a frame.
    waiting: AtomicWaker,
}

/// The writer's side. Dropping it ends the response.
pub(super) struct Outbox {
    queue: Arc<Queue>,
    clock: SharedClock,
}

/// The response's side: its body.
pub(super) struct Frames(Arc<Queue>);

/// An empty queue.
pub(super) fn outbox(clock: SharedClock) -> (Outbox, Frames) {
    let queue = Queue { state: Mutex::default(), room: Condvar::new(), waiting: AtomicWaker::new() };
    let queue = Arc::new(queue);
    (Outbox { queue: queue.clone(), clock }, Frames(queue))
}

impl Outbox {
    /// Puts a frame into the queue, which may take a while; `stop` is asked meanwhile.
    pub(super) fn send(&self, frame: Bytes, stop: &dyn Fn() -> bool) -> Result<(), Gone> {
        let mut state = self.queue.state.lock();
        let mut full_since = None;
        // A frame that is larger than the queue goes alone.
        while !state.left && state.bytes > 0 && state.bytes + frame.len() > QUEUED_BYTES_MAX {
            let now = self.clock.monotonic();
            if now > *full_since.get_or_insert(now) + READER_PATIENCE {
                state.stuck = true;
                state.frames.clear();
                state.bytes = 0;
                self.queue.waiting.wake();
                return Err(Gone::Stuck);
            }
            if stop() {
                return Err(Gone::Left);
            }
            self.queue.room.wait_for(&mut state, LOOK);
        }
        if state.left {
            return Err(Gone::Left);
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        self.queue.waiting.wake();
        Ok(())
    }

    /// Nobody reads any more.
    pub(super) fn is_left(&self) -> bool {
        self.queue.state.lock().left
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.queue.state.lock().ended = true;
        self.queue.waiting.wake();
    }
}

impl Stream for Frames {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.waiting.register(context.waker());
        let mut state = self.0.state.lock();
        if let Some(frame) = state.frames.pop_front() {
            state.bytes -= frame.len();
            self.0.room.notify_one();
            return Poll::Ready(Some(Ok(frame)));
        }
        match (state.stuck, state.ended) {
            (true, _) => Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader does not read")))),
            (false, true) => Poll::Ready(None),
            (false, false) => Poll::Pending,
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.left = true;
        state.frames.clear();
        state.bytes = 0;
        self.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::{ManualClock, SystemClock};
    use futures::StreamExt;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    #[test]
    fn a_reader_that_takes_nothing_is_dropped_and_its_rows_with_it() {
        // Its clock moves by as much as is waited for.
        let clock = ManualClock::at(0);
        let (outbox, mut frames) = outbox(clock.clone());
        outbox.send(frame(QUEUED_BYTES_MAX), &|| false).unwrap();
        let sleepy = || {
            clock.advance(READER_PATIENCE / 2);
            false
        };
        assert_eq!(outbox.send(frame(1), &sleepy), Err(Gone::Stuck));
        let next = block_on(frames.next());
        assert!(next.unwrap().is_err(), "the response breaks off");
    }

    #[test]
    fn rows_come_in_order_and_a_reader_makes_room() {
        let (outbox, frames) = outbox(SystemClock::shared());
        let reader = std::thread::spawn(move || block_on(frames.collect::<Vec<_>>()));
        for n in 0..40 {
            outbox.send(frame(100_000 + n), &|| false).unwrap();
        }
        drop(outbox);
        let lengths: Vec<usize> = reader.join().unwrap().into_iter().map(|f| f.unwrap().len()).collect();
        assert_eq!(lengths, (0..40).map(|n| 100_000 + n).collect::<Vec<_>>());
    }

    #[test]
    fn one_that_leaves_or_is_to_stop_is_noticed_while_the_queue_is_full() {
        let (outbox, frames) = outbox(SystemClock::shared());
        outbox.send(frame(QUEUED_BYTES_MAX), &|| false).unwrap();
        assert_eq!(outbox.send(frame(1), &|| true), Err(Gone::Left));
        drop(frames);
        assert!(outbox.is_left());
        assert_eq!(outbox.send(frame(1), &|| false), Err(Gone::Left));
    }
}
