//! Prints results to the screen, a file or a pipe.
//!
//! ```text
//! sink     rows in any format       layout  how wide the columns of a table are
//! text     cells as text            live    a table that changes in place
//! ```
//!
//! Rows of a query that ends are laid out when all of them are known; those of an endless query are written as they arrive,
//! under a header whose widths are fixed by the first ones. In formats for programs only rows go to standard output: what a
//! statement says of itself ("Stream created") is in [`Shown::messages`]. Nothing here checks for a terminal: that is
//! configured in [`Screen`].

mod layout;
pub mod live;
mod sink;
mod text;

use super::args::Format;
use super::progress::{Progress, in_words};
use super::repl::pager::Pager;
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::error::Result;
use crate::present::Outcome;
use crate::types::clock::SystemClock;
pub(super) use sink::{Row, Sink};
use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;
use text::printable_lines;
pub(super) use text::{printable, quoted};

/// Rows that are held back to lay out a table: what fits a screen many times over.
pub const HELD_ROWS_MAX: usize = 1_000;

/// How long one wait for rows takes: an interrupt is noticed after this time at the latest, and has to take effect within
/// 100 ms on a busy machine, too.
pub const WAIT: Duration = Duration::from_millis(20);

/// Pauses after which a query without rows shows its hint: three seconds.
const EMPTY_PAUSES: u32 = 150;

/// Where a query is stopped, if its reader wants no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// After so many rows.
    pub rows: Option<u64>,
    /// After this time.
    pub time: Option<Duration>,
}

/// What the user has chosen for all results.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// NULL is shown dim.
    pub color: bool,
    /// Rows that do not fit the terminal are written one value a line (`\x auto`).
    pub expand_wide: bool,
    /// Where queries are stopped.
    pub limits: Limits,
    /// Only rows and errors are written.
    pub quiet: bool,
    /// The rows are facts about the engine, which are never shown in part.
    pub(super) is_facts: bool,
}

/// Where and how results are written.
pub struct Screen<'a> {
    /// The handle.
    pub out: &'a mut dyn Write,
    /// How results are written.
    pub format: Format,
    /// Columns of the terminal; `None` = as wide as it takes.
    pub width: Option<usize>,
    /// Shows the progress of a query.
    pub progress: Option<&'a mut Progress>,
    /// The pager for results taller than the terminal.
    pub pager: Option<&'a Pager>,
    /// What the user has chosen.
    pub options: Options,
    /// The file that the statements are from.
    pub file: Option<&'a str>,
}

impl Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screen({:?}, {:?})", self.format, self.width)
    }
}

/// How showing a result ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Rows written.
    pub rows: u64,
    /// The user stopped it.
    pub interrupted: bool,
    /// What has no place among JSON or CSV rows and is for the user to know.
    pub notes: Vec<String>,
    /// How much was read for it: `read 96,000 of 10,000,000 records, 9.2 MB`.
    pub scanned: Option<String>,
    /// What the statement says of itself, in formats in which only rows are written.
    pub messages: Vec<String>,
}

impl Shown {
    /// Adds the result of the next statement.
    pub fn add(&mut self, one: Shown) {
        self.rows += one.rows;
        self.interrupted |= one.interrupted;
        self.notes.extend(one.notes);
        self.messages.extend(one.messages);
        self.scanned = one.scanned.or(self.scanned.take());
    }
}

impl<'a> Screen<'a> {
    /// A screen without progress, pager and options.
    pub fn new(out: &'a mut dyn Write, format: Format, width: Option<usize>) -> Screen<'a> {
        Screen { out, format, width, progress: None, pager: None, options: Options::default(), file: None }
    }
}

impl Screen<'_> {
    /// Writes a result; `interrupted` is polled at least every [`WAIT`] while it waits for rows.
    pub fn show(&mut self, outcome: Outcome, interrupted: &dyn Fn() -> bool) -> Result<Shown> {
        match self.pager.filter(|_| ends(&outcome)) {
            Some(pager) => {
                let (format, width, options) = (self.format, self.width, self.options);
                let progress = self.progress.as_deref_mut();
                let shown = pager.show(&mut *self.out, |out| {
                    Screen { out, format, width, progress, pager: None, options, file: None }
                        .directly(outcome, interrupted)
                })?;
                Ok(shown.unwrap_or_default())
            }
            None => self.directly(outcome, interrupted),
        }
    }

    fn directly(&mut self, outcome: Outcome, interrupted: &dyn Fn() -> bool) -> Result<Shown> {
        let shown = match outcome {
            Outcome::Message(message) => self.message(message)?,
            Outcome::Table { title, columns, rows } => self.table(title.as_deref(), &columns, rows)?,
            Outcome::Rows(mut stream) => self.rows(&mut *stream, interrupted)?,
            Outcome::Many(list) => {
                let mut all = Shown::default();
                for outcome in list {
                    all.add(self.show(outcome, interrupted)?);
                }
                all
            }
        };
        self.out.flush()?;
        Ok(shown)
    }

    fn message(&mut self, message: String) -> Result<Shown> {
        // A text of several lines (EXPLAIN) is a result; a sentence says what a statement has done.
        match self.format {
            Format::Table | Format::Vertical => writeln!(self.out, "{}", printable_lines(&message))?,
            _ if !message.contains('\n') => return Ok(Shown { messages: vec![message], ..Shown::default() }),
            Format::Json => writeln!(self.out, "{{\"message\":{}}}", quoted(&message))?,
            Format::Csv | Format::Tsv | Format::Markdown => writeln!(self.out, "{}", printable_lines(&message))?,
        }
        Ok(Shown::default())
    }

    fn table(&mut self, title: Option<&str>, columns: &[String], rows: Vec<Vec<String>>) -> Result<Shown> {
        let columns: Vec<OutputColumn> =
            columns.iter().map(|c| OutputColumn { name: c.clone(), ty: crate::types::SqlType::String }).collect();
        if let (Some(title), Format::Table | Format::Vertical) = (title, self.format) {
            writeln!(self.out, "{}", printable(title))?;
        }
        let mut sink = Sink::new(self.format, columns, self.width, Options { is_facts: true, ..self.options });
        for row in rows {
            let json = row.iter().map(|cell| quoted(cell)).collect();
            sink.row(self.out, Row { cells: row.into_iter().map(Some).collect(), json, tombstone: false })?;
        }
        sink.finish(self.out)?;
        Ok(Shown { rows: sink.count(), ..Shown::default() })
    }

    fn rows(&mut self, stream: &mut dyn RowStream, interrupted: &dyn Fn() -> bool) -> Result<Shown> {
        let mut sink = Sink::new(self.format, stream.columns().to_vec(), self.width, self.options);
        let end = match self.pump(stream, &mut sink, interrupted) {
            Ok(end) => end,
            Err(error) => {
                sink.finish(self.out)?;
                if self.is_for_people() && sink.count() > 0 {
                    writeln!(self.out, "({}, incomplete)", counted(sink.count()))?;
                }
                self.out.flush()?;
                return Err(error);
            }
        };
        self.progress.as_mut().into_iter().for_each(|p| p.clear());
        let stopped = matches!(end, End::Interrupted);
        if stopped && self.width.is_some() {
            // The terminal has written ^C into our line.
            write!(self.out, "\r")?;
        }
        sink.finish(self.out)?;
        let last = match end {
            End::Done(last) => last,
            End::Limit(which) => Some(which.to_owned()),
            End::Interrupted => None,
        };
        let mut notes: Vec<String> = [last, stream.notice()].into_iter().flatten().collect();
        if self.is_for_people() {
            let stop = if stopped { ", stopped" } else { "" };
            if sink.has_columns() {
                writeln!(self.out, "({}{stop})", counted(sink.count()))?;
            }
            for note in sink.remark().into_iter().chain(notes.drain(..)) {
                writeln!(self.out, "{}", printable_lines(&note))?;
            }
        } else if stopped {
            // The rows themselves have no place for it.
            notes.push(format!("stopped after {}", counted(sink.count())));
        }
        self.out.flush()?;
        let scanned = stream.scanned().filter(|s| s.retained > 0).map(|s| in_words(&s));
        Ok(Shown { rows: sink.count(), interrupted: stopped, notes, scanned, messages: Vec::new() })
    }

    /// Carries rows from the query to the sink until one of them has enough.
    fn pump(&mut self, stream: &mut dyn RowStream, sink: &mut Sink, interrupted: &dyn Fn() -> bool) -> Result<End> {
        let clock = SystemClock::shared();
        let Limits { rows, time } = self.options.limits;
        let deadline = time.map(|time| clock.monotonic() + time);
        let mut pauses = 0;
        loop {
            if interrupted() {
                return Ok(End::Interrupted);
            }
            let left = rows.map_or(u64::MAX, |most| most.saturating_sub(sink.count()));
            if left == 0 {
                return Ok(End::Limit("Stopped by the row limit"));
            }
            if deadline.is_some_and(|deadline| clock.monotonic() >= deadline) {
                return Ok(End::Limit("Stopped by the time limit"));
            }
            let event = stream.next(WAIT);
            match (&event, &mut self.progress, stream.scanned()) {
                (Ok(RowEvent::Idle), Some(progress), Some(scanned)) => progress.waiting(&scanned),
                (_, Some(progress), _) => progress.clear(),
                _ => {}
            }
            match event? {
                RowEvent::Rows { columns, tombstones } => sink.batch(self.out, &columns, &tombstones, left)?,
                RowEvent::Idle if stream.is_bounded() => {}
                RowEvent::Idle => {
                    sink.idle(self.out)?;
                    pauses += 1;
                    if pauses == EMPTY_PAUSES
                        && sink.count() == 0
                        && let (Some(progress), Some(hint)) = (&mut self.progress, stream.when_empty())
                    {
                        progress.say(hint);
                    }
                }
                RowEvent::Done(last) => return Ok(End::Done(last)),
            }
        }
    }

    /// Whether rows come with words about them.
    fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Vertical)
    }
}

/// Why no more rows are shown.
enum End {
    /// The query has ended, with a reason if it has one.
    Done(Option<String>),
    /// One of [`Limits`].
    Limit(&'static str),
    /// The user stopped it.
    Interrupted,
}

fn counted(rows: u64) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

/// Does a result end by itself?
fn ends(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Message(_) | Outcome::Table { .. } => true,
        Outcome::Rows(stream) => stream.is_bounded(),
        Outcome::Many(list) => list.iter().all(ends),
    }
}
