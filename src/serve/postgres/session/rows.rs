//! Rows on their way to a client: results with a place in them, so that a portal can give some and wait.

use super::{Out, Session};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::error::{Error, Kind, Result};
use crate::serve::limits::STREAMS_MAX;
use crate::serve::postgres::errors::{CANCELLED, ENDING, Failure};
use crate::serve::postgres::messages::Encoding;
use crate::serve::postgres::names::shown;
use crate::serve::postgres::reply::{Field, Severity};
use crate::serve::postgres::types::{PgType, write_cell};
use crate::serve::stopping;
use crate::types::clock::SharedClock;
use crate::types::{SqlType, cell};
use arrow::array::{ArrayRef, StringArray};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How often a thread that waits for rows looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// A result, and how much of it was sent.
pub(super) struct Rows {
    stream: Box<dyn RowStream>,
    /// Rows that were not sent yet, from this one on.
    pending: Option<(Vec<ArrayRef>, Vec<bool>, usize)>,
    done: bool,
    notice: Option<String>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// How much of a result is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Want {
    /// Most rows.
    pub(super) rows: Option<usize>,
    /// Time after which what is there is enough.
    pub(super) patience: Option<Duration>,
    /// What is there is enough as soon as there is a row.
    pub(super) at_hand: bool,
}

/// How far a fetch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// The result has ended.
    Complete,
    /// More may follow.
    Suspended,
}

/// Where rows are written: each as a message.
pub(super) trait Sink {
    fn row(&mut self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<()>;
}

/// DataRow messages.
pub(super) struct DataRows<'a> {
    types: Vec<&'a SqlType>,
    binary: Vec<bool>,
}

impl<'a> DataRows<'a> {
    pub(super) fn new(columns: &'a [OutputColumn], formats: &[Encoding]) -> DataRows<'a> {
        let is_binary = |at: usize| encoding(formats, at) == Encoding::Binary;
        DataRows {
            types: columns.iter().map(|column| &column.ty).collect(),
            binary: (0..columns.len()).map(is_binary).collect(),
        }
    }
}

impl Sink for DataRows<'_> {
    fn row(&mut self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.push(b'D');
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(columns.len() as u16).to_be_bytes());
        for ((column, ty), binary) in columns.iter().zip(&self.types).zip(&self.binary) {
            if let Err(error) = write_cell(column, row, ty, *binary, out) {
                out.truncate(start);
                return Err(error);
            }
        }
        let length = i32::try_from(out.len() - start - 1).map_err(|_| Error::data("a row exceeds 2 GiB"))?;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// The encoding of a column: its own, the one for all, or text.
pub(super) fn encoding(formats: &[Encoding], at: usize) -> Encoding {
    match formats {
        [] => Encoding::Text,
        [one] => *one,
        each => each.get(at).copied().unwrap_or(Encoding::Text),
    }
}

/// Descriptions of columns.
pub(super) fn fields(columns: &[OutputColumn], formats: &[Encoding]) -> Vec<Field> {
    let field = |(at, column): (usize, &OutputColumn)| Field {
        name: shown(&column.name).into_owned(),
        ty: PgType::of(&column.ty),
        format: i16::from(encoding(formats, at) == Encoding::Binary),
    };
    columns.iter().enumerate().map(field).collect()
}

impl Rows {
    /// A result of the engine, within the limit of the server's streamed results.
    pub(super) fn of_stream(stream: Box<dyn RowStream>, session: &Session) -> Result<Rows, Failure> {
        let permit = session.app.streams.clone().try_acquire_owned().map_err(|_| {
            let error = Error::new(Kind::Busy, format!("the limit of {STREAMS_MAX} streamed results is reached"));
            error.with_hint("close one of them")
        })?;
        Ok(Rows { stream, pending: None, done: false, notice: None, _permit: Some(permit) })
    }

    /// A table of texts.
    pub(super) fn of_texts(columns: Vec<String>, rows: &[Vec<Option<String>>]) -> Rows {
        let column = |name: &String| OutputColumn { name: name.clone(), ty: SqlType::String };
        let array = |at: usize| -> ArrayRef {
            Arc::new(rows.iter().map(|row| row.get(at).cloned().flatten()).collect::<StringArray>())
        };
        let arrays = (0..columns.len()).map(array).collect();
        let table =
            Table { columns: columns.iter().map(column).collect(), arrays: (!rows.is_empty()).then_some(arrays) };
        Rows::of_table(Box::new(table))
    }

    /// Rows that are there already.
    pub(super) fn of_table(stream: Box<dyn RowStream>) -> Rows {
        Rows { stream, pending: None, done: false, notice: None, _permit: None }
    }

    pub(super) fn columns(&self) -> &[OutputColumn] {
        self.stream.columns()
    }

    /// Whether it ends by itself.
    fn is_bounded(&self) -> bool {
        self.stream.is_bounded()
    }

    /// Sends rows; returns how many, and whether that was all.
    pub(super) fn pump(
        &mut self,
        want: Want,
        timeout: Option<Duration>,
        sink: &mut dyn Sink,
        clock: &SharedClock,
        out: &mut Out,
    ) -> Result<(u64, Fetch), Failure> {
        let (begun, bounded, mut count) = (clock.monotonic(), self.is_bounded(), 0_u64);
        let is_enough = |count: u64| want.rows.is_some_and(|rows| count >= rows as u64);
        while !is_enough(count) {
            self.check(begun, timeout, clock, out)?;
            if self.done && self.pending.is_none() {
                return Ok((count, Fetch::Complete));
            }
            if self.pending.is_none() && !self.wait(want, begun, count, clock, out)? {
                match self.done {
                    true => continue,
                    false => return Ok((count, Fetch::Suspended)),
                }
            }
            let Some((columns, tombstones, mut at)) = self.pending.take() else { continue };
            let (rows, before) = (columns.first().map_or(0, |column| column.len()), out.reply.bytes.len());
            while at < rows && !is_enough(count) {
                // A deletion has no row; SUBSCRIBE makes one of it.
                if !tombstones.get(at).is_some_and(|deleted| *deleted) {
                    sink.row(&columns, at, &mut out.reply.bytes)?;
                    count += 1;
                    out.flush_if_full();
                }
                at += 1;
            }
            self.stream.sent(out.reply.bytes.len().saturating_sub(before));
            if at < rows {
                self.pending = Some((columns, tombstones, at));
            }
            if !bounded {
                out.flush();
            }
        }
        Ok((count, Fetch::Suspended))
    }

    /// Waits for the next rows; false = the wait is over, or the result.
    fn wait(
        &mut self,
        want: Want,
        begun: Duration,
        count: u64,
        clock: &SharedClock,
        out: &mut Out,
    ) -> Result<bool, Failure> {
        let waited = clock.monotonic().saturating_sub(begun);
        let left = want.patience.map(|patience| patience.saturating_sub(waited));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let at_hand = want.at_hand && count > 0 && !self.is_bounded();
        let look = if at_hand { Duration::ZERO } else { left.map_or(LOOK, |left| left.min(LOOK)) };
        match self.stream.next(look)? {
            RowEvent::Rows { columns, tombstones } => {
                let settled = columns.iter().zip(self.stream.columns()).map(|(a, c)| cell::settled(a, &c.ty));
                self.pending = Some((settled.collect(), tombstones, 0));
                Ok(true)
            }
            RowEvent::Idle if at_hand => Ok(false),
            RowEvent::Idle => {
                if !self.is_bounded() {
                    self.say_notice(out);
                    out.flush();
                }
                Ok(true)
            }
            RowEvent::Done(_) => {
                self.done = true;
                self.say_notice(out);
                Ok(false)
            }
        }
    }

    /// Sends what the query says about itself, when that is new.
    fn say_notice(&mut self, out: &mut Out) {
        let now = self.stream.notice();
        if now != self.notice {
            if let Some(text) = &now {
                out.reply.notice(Severity::Warning, text);
            }
            self.notice = now;
        }
    }

    /// An error as soon as the result has to end.
    fn check(&self, begun: Duration, timeout: Option<Duration>, clock: &SharedClock, out: &Out) -> Result<(), Failure> {
        if out.is_cancelled() {
            return Err(Failure::new(CANCELLED, "canceling statement due to user request"));
        }
        if out.is_over() {
            return Err(Failure::new(CANCELLED, "the client has left"));
        }
        if out.stops(self.is_bounded()) {
            return Err(Failure { state: ENDING, error: stopping::error() });
        }
        match timeout.is_some_and(|limit| clock.monotonic().saturating_sub(begun) > limit) {
            true => Err(Failure::new(CANCELLED, "canceling statement due to statement timeout")),
            false => Ok(()),
        }
    }
}

/// Rows that are there already.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<OutputColumn>,
    /// `None` = they were returned, or there are none.
    pub(super) arrays: Option<Vec<ArrayRef>>,
}

impl RowStream for Table {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn next(&mut self, _timeout: Duration) -> Result<RowEvent> {
        Ok(match self.arrays.take().filter(|arrays| arrays.first().is_some_and(|array| !array.is_empty())) {
            Some(columns) => RowEvent::Rows { columns, tombstones: Vec::new() },
            None => RowEvent::Done(None),
        })
    }
}
