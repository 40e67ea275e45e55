//! A session's socket. Statements run on a thread each time, because the engine waits; this side reads what arrives meanwhile,
//! sends what the thread writes, and notices when the client leaves, the query is cancelled or the server stops.
//!
//! ```text
//! socket --bytes--> buffer --messages up to the next answer--> thread (Session::handle) --frames--> socket
//! ```

use super::Door;
use super::errors::{ENDING, Failure, PROTOCOL};
use super::messages::{self, Frontend, MESSAGE_BYTES_MAX};
use super::reply::{Reply, Severity};
use super::session::{Flow, Out, Session};
use super::signal::Signal;
use crate::serve::limits::{CLOSE_PATIENCE, READER_PATIENCE};
use crate::serve::rows::queue::{Frames, row_queue};
use crate::serve::{REQUEST, on_thread, stopping};
use crate::threads;
use bytes::BytesMut;
use futures::StreamExt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes that a client may send ahead of the responses: beyond that its socket waits, as the client then does.
const PIPELINED_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64 * 1024;
/// Room that a read has.
const READ_BYTES: usize = 16 * 1024;
/// Messages that one thread handles at once.
const MESSAGES_AT_ONCE: usize = 1_000;

/// Serves a session to its end.
pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    session: Session,
    door: &Door,
    signal: Arc<Signal>,
) {
    let mut line = Line { stream, buffer: BytesMut::new(), signal, ended: false };
    let mut session = session;
    loop {
        let messages = match line.messages() {
            Ok(messages) => messages,
            Err(failure) => return line.last_words(failure).await,
        };
        if messages.is_empty() {
            tokio::select! {
                read = line.read() => if read.is_err() || line.ended { return },
                () = door.app.stopping.ended(false) => {
                    let failure = Failure { state: ENDING, error: stopping::error() };
                    return line.last_words(failure).await;
                }
            }
            continue;
        }
        let (queue, frames) = row_queue(door.app.engine.clock().clone(), door.app.stopping.answer(true));
        let out = Out::new(queue, line.signal.clone(), door.app.stopping.clone());
        let started = on_thread(move || {
            let mut out = out;
            let flow = threads::guard(REQUEST, "", || session.handle_all(messages, &mut out));
            let flow = flow.unwrap_or_else(|panic| Flow::Broken(panic.into()));
            out.finish();
            (session, flow)
        });
        let working = match started {
            Ok(working) => working,
            Err(busy) => return line.last_words(busy.into()).await,
        };
        if line.send_all(frames).await.is_err() {
            line.signal.left.store(true, Ordering::Release);
        }
        let Ok((back, flow)) = working.await else { return };
        session = back;
        match flow {
            Flow::Next if line.signal.left.load(Ordering::Acquire) => return,
            Flow::Next => {}
            Flow::End => return,
            Flow::Broken(failure) => return line.last_words(failure).await,
        }
    }
}

/// The socket, and what has arrived.
struct Line<S> {
    stream: S,
    buffer: BytesMut,
    signal: Arc<Signal>,
    /// The client sends nothing more.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Whole messages that have arrived, up to one after which the client waits for an answer.
    fn messages(&mut self) -> Result<Vec<Frontend>, Failure> {
        let mut messages = Vec::new();
        while messages.len() < MESSAGES_AT_ONCE {
            let next = messages::next(&mut self.buffer, MESSAGE_BYTES_MAX);
            let Some(message) = next.map_err(|broken| Failure::new(PROTOCOL, broken.0))? else { break };
            let waits = matches!(message, Frontend::Query(_) | Frontend::Sync | Frontend::Flush | Frontend::CopyDone);
            messages.push(message);
            if waits {
                break;
            }
        }
        Ok(messages)
    }

    async fn read(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            self.ended = true;
        }
        Ok(())
    }

    /// Sends the frames, and reads ahead meanwhile; an error means that the client has left.
    async fn send_all(&mut self, mut frames: Frames) -> io::Result<()> {
        loop {
            let may_read = !self.ended && self.buffer.len() < PIPELINED_BYTES_MAX;
            self.buffer.reserve(if may_read { READ_BYTES } else { 0 });
            tokio::select! {
                biased;
                frame = frames.next() => match frame {
                    Some(Ok(frame)) => {
                        let sent = timeout(READER_PATIENCE, async {
                            self.stream.write_all(&frame).await?;
                            self.stream.flush().await
                        });
                        sent.await.map_err(|_| io::ErrorKind::TimedOut)??;
                    }
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
                read = self.stream.read_buf(&mut self.buffer), if may_read => if read? == 0 {
                    // A client that sends nothing more has left: none shuts down one half of its socket.
                    self.ended = true;
                    self.signal.left.store(true, Ordering::Release);
                },
            }
        }
    }

    /// A fatal error, and the end.
    async fn last_words(mut self, failure: Failure) {
        let mut reply = Reply::default();
        reply.problem(Severity::Fatal, failure.state, &failure.error, None);
        let _ = timeout(CLOSE_PATIENCE, async {
            self.stream.write_all(&reply.bytes).await?;
            self.stream.shutdown().await
        })
        .await;
    }
}
