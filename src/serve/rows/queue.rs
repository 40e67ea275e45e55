//! Rows on their way to one reader: a queue between the thread that makes them and the response that sends them.
//!
//! It is bounded by bytes. A reader that is slow slows down its own query; one that takes nothing for
//! [`READER_PATIENCE`] while the queue is full is dropped, and what waited for it is thrown away at once.
//!
//! Only [`RowQueue::finish`] completes a response. If its writer ends in any other way (an error, a stop, a panic), the response
//! is cut off: over HTTP/1.1 the connection closes without the last chunk, over HTTP/2 the stream is reset, so that no reader
//! mistakes a part for the whole. Before that the reader gets the last frame, which contains the reason.

use crate::serve::limits::{QUEUED_BYTES_MAX, READER_PATIENCE};
use crate::serve::stopping::Held;
use crate::types::clock::SharedClock;
use axum::body::Bytes;
use futures::Stream;
use futures::task::AtomicWaker;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// How often a thread that waits for room looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);

/// Why nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The reader has left, or the query is to end.
    Left,
    /// The reader has not read for too long.
    Stuck,
}

/// How a response ends after its last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The reader has left.
    left: bool,
    /// `None` = more frames may follow.
    end: Option<End>,
}

impl State {
    fn forget(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

struct Queue {
    state: Mutex<State>,
    /// There is room, or the reader has left.
    room: Condvar,
    /// The response waits for a frame.
    waiting: AtomicWaker,
    /// The last frame of a broken response has not reached the connection yet.
    last_waits: AtomicBool,
}

/// The writer's side. Dropping it unfinished breaks the response off.
pub(crate) struct RowQueue {
    queue: Arc<Queue>,
    clock: SharedClock,
}

/// The response's side: its body.
pub(crate) struct Frames {
    queue: Arc<Queue>,
    /// How long a broken response waits for its last frame to be taken; set when it begins to wait.
    patience: Option<Pin<Box<Sleep>>>,
    /// The connection was given the time to flush it.
    flushed: bool,
    /// The error was handed over.
    broken: bool,
    /// A server that stops counts it.
    _held: Held,
}

/// The last frame of a response that breaks off. The connection drops it when it has written it.
struct Last {
    bytes: Vec<u8>,
    queue: Arc<Queue>,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.queue.last_waits.store(false, Ordering::Release);
        self.queue.waiting.wake();
    }
}

/// An empty queue.
pub(crate) fn row_queue(clock: SharedClock, held: Held) -> (RowQueue, Frames) {
    let queue = Arc::new(Queue {
        state: Mutex::default(),
        room: Condvar::new(),
        waiting: AtomicWaker::new(),
        last_waits: AtomicBool::new(false),
    });
    let frames = Frames { queue: queue.clone(), patience: None, flushed: false, broken: false, _held: held };
    (RowQueue { queue, clock }, frames)
}

impl RowQueue {
    /// Adds a frame to the queue, waiting for room; `stop` is polled meanwhile.
    pub(crate) fn send(&self, frame: Bytes, stop: &dyn Fn() -> bool) -> Result<(), Gone> {
        let mut state = self.queue.state.lock();
        let mut full_since = None;
        // A frame that is larger than the queue goes alone.
        while !state.left && state.bytes > 0 && state.bytes + frame.len() > QUEUED_BYTES_MAX {
            let now = self.clock.monotonic();
            if now > *full_since.get_or_insert(now) + READER_PATIENCE {
                state.forget();
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

    /// The reader has left.
    pub(crate) fn is_left(&self) -> bool {
        self.queue.state.lock().left
    }

    /// Everything was sent but these last bytes: the response ends as a whole. They wait for no room: there is one such frame.
    pub(crate) fn finish(self, last: Vec<u8>) {
        self.end(End::Whole, (!last.is_empty()).then(|| Bytes::from(last)));
    }

    /// The response breaks off behind these last bytes. `at_once` = frames that still wait are left out, so that a slow reader
    /// gets to the last one, too.
    pub(crate) fn break_off(self, last: Vec<u8>, at_once: bool) {
        if at_once {
            self.queue.state.lock().forget();
        }
        if last.is_empty() {
            return;
        }
        self.queue.last_waits.store(true, Ordering::Release);
        let last = Bytes::from_owner(Last { bytes: last, queue: self.queue.clone() });
        self.end(End::Broken, Some(last));
    }

    fn end(&self, end: End, last: Option<Bytes>) {
        let mut state = self.queue.state.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        if let Some(last) = last.filter(|_| !state.left) {
            state.bytes += last.len();
            state.frames.push_back(last);
        }
        drop(state);
        self.queue.waiting.wake();
    }
}

impl Drop for RowQueue {
    fn drop(&mut self) {
        self.end(End::Broken, None);
    }
}

impl Frames {
    /// Behind the last frame of a broken response: the error that breaks it, when that frame is on its way.
    fn poll_broken(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.queue.last_waits.load(Ordering::Acquire) {
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(READER_PATIENCE)));
            ready!(patience.as_mut().poll(context));
        }
        if !std::mem::replace(&mut self.flushed, true) {
            // An error closes the connection with what it has in its buffers: one more turn lets it write them.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let error = (!std::mem::replace(&mut self.broken, true)).then(|| io::Error::other("the response was cut off"));
        Poll::Ready(error.map(Err))
    }
}

impl Stream for Frames {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.queue.waiting.register(context.waker());
        let mut state = self.queue.state.lock();
        if let Some(frame) = state.frames.pop_front() {
            state.bytes -= frame.len();
            self.queue.room.notify_one();
            return Poll::Ready(Some(Ok(frame)));
        }
        let end = state.end;
        drop(state);
        match end {
            None => Poll::Pending,
            Some(End::Whole) => Poll::Ready(None),
            Some(End::Broken) => self.poll_broken(context),
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.left = true;
        state.forget();
        self.queue.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::stopping::Stopping;
    use crate::types::clock::{ManualClock, SystemClock};
    use futures::StreamExt;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn held() -> Held {
        Stopping::default().answer(true)
    }

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    #[test]
    fn a_reader_that_takes_nothing_is_dropped_and_its_rows_with_it() {
        // Its clock moves by as much as is waited for.
        let clock = ManualClock::at(0);
        let (queue, mut frames) = row_queue(clock.clone(), held());
        queue.send(frame(QUEUED_BYTES_MAX), &|| false).unwrap();
        let sleepy = || {
            clock.advance(READER_PATIENCE / 2);
            false
        };
        assert_eq!(queue.send(frame(1), &sleepy), Err(Gone::Stuck));
        drop(queue);
        let next = block_on(frames.next());
        assert!(next.unwrap().is_err(), "the response breaks off");
    }

    #[test]
    fn rows_come_in_order_and_a_reader_makes_room() {
        let (queue, frames) = row_queue(SystemClock::shared(), held());
        let reader = std::thread::spawn(move || block_on(frames.collect::<Vec<_>>()));
        for n in 0..40 {
            queue.send(frame(100_000 + n), &|| false).unwrap();
        }
        queue.finish(Vec::new());
        let lengths: Vec<usize> = reader.join().unwrap().into_iter().map(|f| f.unwrap().len()).collect();
        assert_eq!(lengths, (0..40).map(|n| 100_000 + n).collect::<Vec<_>>());
    }

    #[test]
    fn one_that_leaves_or_is_to_stop_is_noticed_while_the_queue_is_full() {
        let (queue, frames) = row_queue(SystemClock::shared(), held());
        queue.send(frame(QUEUED_BYTES_MAX), &|| false).unwrap();
        assert_eq!(queue.send(frame(1), &|| true), Err(Gone::Left));
        drop(frames);
        assert!(queue.is_left());
        assert_eq!(queue.send(frame(1), &|| false), Err(Gone::Left));
    }

    #[test]
    fn a_writer_that_goes_without_finishing_breaks_the_response_off() {
        let (queue, frames) = row_queue(SystemClock::shared(), held());
        let writer = std::thread::spawn(move || {
            queue.send(frame(1), &|| false).unwrap();
            panic!("seeded");
        });
        assert!(writer.join().is_err());
        let all = block_on(frames.collect::<Vec<_>>());
        assert!(all.len() == 2 && all[0].is_ok() && all[1].is_err(), "{all:?}");
    }

    #[test]
    fn the_last_frame_is_taken_before_the_response_breaks() {
        let (queue, mut frames) = row_queue(SystemClock::shared(), held());
        queue.send(frame(1), &|| false).unwrap();
        queue.break_off(b"why".to_vec(), true);
        let last = block_on(frames.next()).unwrap().unwrap();
        assert_eq!(last, "why", "what waited was left out");
        let mut next = std::pin::pin!(frames.next());
        let mut context = Context::from_waker(std::task::Waker::noop());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        assert!(next.as_mut().poll(&mut context).is_pending(), "the connection has it");
        drop(last);
        assert!(next.as_mut().poll(&mut context).is_pending(), "the connection may flush it");
        assert!(matches!(next.as_mut().poll(&mut context), Poll::Ready(Some(Err(_)))));
    }
}
