//! `tidegate topic produce`: lines become records.
//!
//! Lines are written before it waits for more, so that a slow pipe or a person who types sees each line in the topic at once,
//! while a file is written in large batches. An invalid line ends it; the lines before are written.

use crate::cli::interrupt::Interrupt;
use crate::cli::render::{Screen, Shown, WAIT};
use crate::engine::introspect::topics::Topics;
use crate::error::{Error, Result};
use crate::log::RecordSet;
use crate::present::Outcome;
use crate::threads;
use std::io::Read;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Records written at once.
const RECORDS_PER_APPEND: usize = 1_000;

/// Bytes written at once, unless one line is larger: what is sent to an owner stays well below what it takes.
const BYTES_PER_APPEND: usize = 1024 * 1024;

/// Bytes of one read, and pieces of that size that may be queued.
const PIECE_BYTES: usize = 256 * 1024;
const PIECES_WAITING: usize = 4;

/// Bytes of a line: more than any broker takes as a record unless it was set up for it, and little enough to hold.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The lines of an input, as they arrive.
#[derive(Debug)]
pub(crate) struct Lines {
    pieces: Receiver<std::io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    /// The line that was read last.
    line: Range<usize>,
    /// Bytes of the buffer that hold no further end of a line.
    searched: usize,
    number: u64,
    ended: bool,
}

/// What an input has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Line,
    /// Nothing yet.
    Pause,
    End,
}

impl Lines {
    /// Reads in a thread of its own, which is not joined.
    pub(crate) fn of(mut input: impl Read + Send + 'static) -> Result<Lines> {
        let (sender, pieces) = sync_channel(PIECES_WAITING);
        threads::spawn("input", "", move || {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let read = match input.read(&mut piece) {
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                    read => read.map(|n| piece[..n].to_vec()),
                };
                let more = read.as_ref().is_ok_and(|piece| !piece.is_empty());
                if sender.send(read).is_err() || !more {
                    return;
                }
            }
        })?;
        Ok(Lines { pieces, buffer: Vec::new(), line: 0..0, searched: 0, number: 0, ended: false })
    }

    /// Goes to the next line; the input's last one needs no end.
    fn next(&mut self, wait: Duration) -> Result<Next> {
        let start = self.line.end;
        if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            self.searched += at + 1;
            self.line = start..self.searched;
            self.number += 1;
            return Ok(Next::Line);
        }
        self.searched = self.buffer.len();
        if self.ended {
            self.line = start..self.searched;
            self.number += 1;
            return Ok(if self.line.is_empty() { Next::End } else { Next::Line });
        }
        match self.pieces.recv_timeout(wait) {
            Ok(Ok(piece)) if !piece.is_empty() => {
                self.buffer.drain(..start);
                self.searched -= start;
                self.line = 0..0;
                self.buffer.extend_from_slice(&piece);
                if self.searched > LINE_BYTES_MAX {
                    let message = format!("line {} is longer than {} MiB", self.number + 1, LINE_BYTES_MAX >> 20);
                    return Err(Error::data(message).with_hint("separate records by newlines"));
                }
            }
            Ok(Err(e)) => {
                return Err(Error::io(format!("cannot read line {}", self.number + 1))
                    .with_detail(e.to_string())
                    .because(e));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Ok(_)) => self.ended = true,
            // An empty piece marks the end of the input.
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::bug(format!("cannot read the input after line {}", self.number)));
            }
        }
        Ok(Next::Pause)
    }

    /// The line without its end.
    fn text(&self) -> Result<&str> {
        let line = &self.buffer[self.line.clone()];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        std::str::from_utf8(line).map_err(|e| {
            Error::data(format!("line {} is not UTF-8, from byte {}", self.number, e.valid_up_to() + 1)).because(e)
        })
    }
}

/// Where records go, and how a line becomes one.
pub(crate) struct Producer<'a> {
    pub(crate) topics: &'a dyn Topics,
    pub(crate) topic: &'a str,
    pub(crate) partitions: u32,
    /// What parts key and value.
    pub(crate) separator: Option<&'a str>,
    /// Milliseconds since 1970, now.
    pub(crate) now_ms: &'a dyn Fn() -> i64,
    /// The partition of a key among so many.
    pub(crate) partition: &'a dyn Fn(&[u8], u32) -> i32,
}

/// Records on their way into the topic.
struct Batch<'a> {
    producer: &'a Producer<'a>,
    records: RecordSet,
    taken: u64,
    written: u64,
}

impl Producer<'_> {
    /// Writes lines until the input ends or the user interrupts.
    pub(crate) fn run(&self, lines: &mut Lines, interrupt: &Interrupt, screen: &mut Screen<'_>) -> Result<Shown> {
        let mut batch = Batch { producer: self, records: RecordSet::default(), taken: 0, written: 0 };
        let fed = batch.feed(lines, interrupt);
        let flushed = batch.flush();
        let written = batch.written;
        flushed.and(fed).map_err(|e| e.and_detail(&before(written)))?;
        let records = if written == 1 { "record" } else { "records" };
        screen.show(Outcome::Message(format!("wrote {written} {records} to {}", self.topic)), &|| false)?;
        Ok(Shown { rows: written, interrupted: interrupt.asked(), ..Shown::default() })
    }
}

impl Batch<'_> {
    fn feed(&mut self, lines: &mut Lines, interrupt: &Interrupt) -> Result<()> {
        while !interrupt.asked() {
            match lines.next(if self.records.is_empty() { WAIT } else { Duration::ZERO })? {
                Next::Line => self.take(lines)?,
                Next::Pause => self.flush()?,
                Next::End => return Ok(()),
            }
        }
        Ok(())
    }

    fn take(&mut self, lines: &Lines) -> Result<()> {
        let text = lines.text()?;
        if text.is_empty() {
            return Ok(());
        }
        let (key, value) = match self.producer.separator {
            None => (None, text),
            Some(separator) => {
                let parts = text.split_once(separator);
                parts.map(|(key, value)| (Some(key), value)).ok_or_else(|| {
                    Error::data(format!("line {} has no {separator:?} between key and value", lines.number))
                })?
            }
        };
        let partition = match key {
            Some(key) => (self.producer.partition)(key.as_bytes(), self.producer.partitions),
            None => (self.taken % u64::from(self.producer.partitions)) as i32,
        };
        self.records.push(partition, (self.producer.now_ms)(), key.map(str::as_bytes), Some(value.as_bytes()));
        self.taken += 1;
        match self.records.len() >= RECORDS_PER_APPEND || self.records.data.len() >= BYTES_PER_APPEND {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes the batch. A failed write is not repeated: it is unknown how much of it was written.
    fn flush(&mut self) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let count = self.records.len() as u64;
        let appended = self.producer.topics.append(self.producer.topic, &self.records);
        self.records.clear();
        appended?;
        self.written += count;
        Ok(())
    }
}

/// What is in the topic when something ends it.
fn before(written: u64) -> String {
    match written {
        0 => "nothing was written".to_owned(),
        1 => "the record before it was written".to_owned(),
        n => format!("the {n} records before it were written"),
    }
}
