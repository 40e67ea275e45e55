//! `tidegate topic produce`: lines become records.
//!
//! Lines are written before it waits for more, so that a slow pipe or a person who types sees each line in the topic at once,
//! while a file is written in large batches. An invalid line ends it; the lines before are written. `--into` writes a stream or
//! table by its formats: there the engine makes the records.

use crate::cli::args::{KeyFormat, ProduceOptions};
use crate::cli::interrupt::Interrupt;
use crate::cli::render::{Screen, Shown, WAIT};
use crate::engine::insert::lines::{NewLines, headers};
use crate::engine::introspect::topics::Topics;
use crate::error::{Error, Kind, Result};
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

/// Where records go, and those on their way.
pub(super) enum Destination<'a> {
    /// A topic, whatever is declared over it.
    Topic(Raw<'a>),
    /// A stream or table, by its formats.
    Declared { topics: &'a dyn Topics, target: &'a str, new: NewLines, bytes: usize },
}

/// Records of a topic as bytes.
pub(super) struct Raw<'a> {
    pub(super) topics: &'a dyn Topics,
    pub(super) topic: &'a str,
    pub(super) partitions: u32,
    pub(super) options: &'a ProduceOptions,
    /// Milliseconds since 1970, now.
    pub(super) now_ms: &'a dyn Fn() -> i64,
    /// The partition of a key among so many.
    pub(super) partition: &'a dyn Fn(&[u8], u32) -> i32,
    pub(super) records: RecordSet,
}

/// Lines on their way into their destination.
struct Batch<'a> {
    destination: Destination<'a>,
    options: &'a ProduceOptions,
    taken: u64,
    written: u64,
    /// The number of the line of each record that waits.
    numbers: Vec<u64>,
}

/// Writes lines until the input ends or the user interrupts.
pub(super) fn run(
    destination: Destination<'_>,
    options: &ProduceOptions,
    lines: &mut Lines,
    interrupt: &Interrupt,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let name = match &destination {
        Destination::Topic(raw) => raw.topic,
        Destination::Declared { target, .. } => target,
    };
    let mut batch = Batch { destination, options, taken: 0, written: 0, numbers: Vec::new() };
    let fed = batch.feed(lines, interrupt);
    let flushed = batch.flush();
    let written = batch.written;
    flushed.and(fed).map_err(|e| e.and_detail(&before(written)))?;
    let records = if written == 1 { "record" } else { "records" };
    screen.show(Outcome::Message(format!("wrote {written} {records} to {name}")), &|| false)?;
    Ok(Shown { rows: written, interrupted: interrupt.asked(), ..Shown::default() })
}

impl<'a> Destination<'a> {
    /// A stream or table that is not looked up before the first line is written.
    pub(super) fn declared(topics: &'a dyn Topics, target: &'a str, options: &ProduceOptions) -> Destination<'a> {
        let (time, headers) = (options.timestamp, options.header.clone());
        let new = NewLines { lines: Vec::new(), partition: options.partition, time, headers };
        Destination::Declared { topics, target, new, bytes: 0 }
    }

    fn push(&mut self, key: Option<&str>, value: Option<&str>, taken: u64) -> Result<()> {
        match self {
            Destination::Topic(raw) => raw.push(key, value, taken),
            Destination::Declared { new, bytes, .. } => {
                *bytes += key.map_or(0, str::len) + value.map_or(0, str::len);
                new.lines.push((key.map(str::to_owned), value.map(str::to_owned)));
                Ok(())
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Destination::Topic(raw) => raw.records.data.len(),
            Destination::Declared { bytes, .. } => *bytes,
        }
    }
}

impl Raw<'_> {
    fn push(&mut self, key: Option<&str>, value: Option<&str>, taken: u64) -> Result<()> {
        let key = key.map(|key| key_bytes(key, self.options.key_format)).transpose()?;
        let partition = match (self.options.partition, &key) {
            (Some(partition), _) => partition as i32,
            (None, Some(key)) => (self.partition)(key, self.partitions),
            (None, None) => (taken % u64::from(self.partitions)) as i32,
        };
        let time = self.options.timestamp.unwrap_or_else(self.now_ms);
        if !self.options.header.is_empty() {
            self.records.headers.push((self.records.len() as u32, headers(&self.options.header)));
        }
        self.records.push(partition, time, key.as_deref(), value.map(str::as_bytes));
        Ok(())
    }
}

/// A key in the KAFKA format.
fn key_bytes(text: &str, format: KeyFormat) -> Result<Vec<u8>> {
    let wrong = |what: &str| Error::data(format!("the key {text:?} is not {what}"));
    let trimmed = text.trim();
    Ok(match format {
        KeyFormat::Text => text.as_bytes().to_vec(),
        KeyFormat::Int => trimmed.parse::<i32>().map_err(|_| wrong("an INT"))?.to_be_bytes().to_vec(),
        KeyFormat::Bigint => trimmed.parse::<i64>().map_err(|_| wrong("a BIGINT"))?.to_be_bytes().to_vec(),
        KeyFormat::Double => trimmed.parse::<f64>().map_err(|_| wrong("a DOUBLE"))?.to_be_bytes().to_vec(),
    })
}

impl Batch<'_> {
    fn feed(&mut self, lines: &mut Lines, interrupt: &Interrupt) -> Result<()> {
        while !interrupt.asked() {
            match lines.next(if self.numbers.is_empty() { WAIT } else { Duration::ZERO })? {
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
        let (key, value) = match &self.options.key_separator {
            None => (None, text),
            Some(separator) => {
                let parts = text.split_once(separator);
                parts.map(|(key, value)| (Some(key), value)).ok_or_else(|| {
                    Error::data(format!("line {} has no {separator:?} between key and value", lines.number))
                })?
            }
        };
        let given = |text: &str| self.options.null.as_deref() != Some(text);
        let (key, value) = (key.filter(|key| given(key)), Some(value).filter(|value| given(value)));
        let pushed = self.destination.push(key, value, self.taken);
        pushed.map_err(|e| e.and_detail(&format!("in line {}", lines.number)))?;
        self.numbers.push(lines.number);
        self.taken += 1;
        match self.numbers.len() >= RECORDS_PER_APPEND || self.destination.bytes() >= BYTES_PER_APPEND {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes the batch. A failed write is not repeated: it is unknown how much of it was written.
    fn flush(&mut self) -> Result<()> {
        let numbers = std::mem::take(&mut self.numbers);
        if numbers.is_empty() {
            return Ok(());
        }
        match &mut self.destination {
            Destination::Topic(raw) => {
                let appended = raw.topics.append(raw.topic, &raw.records);
                raw.records.clear();
                appended?;
                self.written += numbers.len() as u64;
            }
            Destination::Declared { topics, target, new, bytes } => {
                *bytes = 0;
                // What is before an invalid line is written; the rest begins with that line, which is then the error.
                let mut done = 0;
                while !new.lines.is_empty() {
                    let wrote = topics.write(target, new).map_err(|e| match e.kind() {
                        Kind::Statement | Kind::Data => e.and_detail(&format!("in line {}", numbers[done])),
                        _ => e,
                    });
                    let wrote = wrote.inspect_err(|_| new.lines.clear())?;
                    new.lines.drain(..wrote);
                    done += wrote;
                    self.written += wrote as u64;
                }
            }
        }
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
