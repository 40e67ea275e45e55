//! The output of a session: messages are collected and handed to the connection in frames.

use crate::serve::postgres::reply::Reply;
use crate::serve::postgres::signal::Signal;
use crate::serve::rows::queue::RowQueue;
use crate::serve::stopping::Stopping;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes that are collected before they are handed over: a few TCP segments.
const FRAME_BYTES: usize = 16 * 1024;

/// The responses to one batch of messages.
pub(in crate::serve::postgres) struct Out {
    pub(in crate::serve::postgres) reply: Reply,
    queue: RowQueue,
    signal: Arc<Signal>,
    stopping: Stopping,
    /// The client has left, or reads nothing.
    lost: bool,
}

impl Out {
    pub(in crate::serve::postgres) fn new(queue: RowQueue, signal: Arc<Signal>, stopping: Stopping) -> Out {
        Out { reply: Reply::default(), queue, signal, stopping, lost: false }
    }

    /// Hands over what was collected.
    pub(in crate::serve::postgres) fn flush(&mut self) {
        if self.reply.bytes.is_empty() {
            return;
        }
        let frame = Bytes::from(std::mem::take(&mut self.reply.bytes));
        let left = || self.signal.left.load(Ordering::Acquire);
        if !self.lost && self.queue.send(frame, &left).is_err() {
            self.lost = true;
            self.signal.left.store(true, Ordering::Release);
        }
    }

    /// The same once there is enough of it.
    pub(in crate::serve::postgres) fn flush_if_full(&mut self) {
        if self.reply.bytes.len() >= FRAME_BYTES {
            self.flush();
        }
    }

    /// Nothing more can be sent.
    pub(in crate::serve::postgres) fn is_over(&self) -> bool {
        self.lost || self.queue.is_left() || self.signal.left.load(Ordering::Acquire)
    }

    /// The server's end, which a result may have to wait for or not.
    pub(in crate::serve::postgres) fn stops(&self, bounded: bool) -> bool {
        self.stopping.ends(bounded)
    }

    /// The running statement was cancelled.
    pub(in crate::serve::postgres) fn is_cancelled(&self) -> bool {
        self.signal.cancelled.load(Ordering::Acquire)
    }

    /// Everything was written.
    pub(in crate::serve::postgres) fn finish(mut self) {
        self.flush();
        self.queue.finish(Vec::new());
    }
}
