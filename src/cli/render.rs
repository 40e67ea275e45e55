//! Answers on the screen, in a file or in a pipe.
//!
//! A table is laid out when all its rows are known; rows of an endless query are written as they arrive, under a header whose
//! widths are fixed by the first ones. Nothing here checks for a terminal: that is configured in [`Screen`].

use super::args::Format;
use super::progress::{Progress, in_words};
use super::repl::pager::Pager;
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::error::{Error, Result};
use crate::present::Outcome;
use crate::types::cell::{self, settled};
use arrow::array::ArrayRef;
use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// Rows that are held back to lay out a table: what fits a screen many times over.
pub const HELD_ROWS_MAX: usize = 1_000;

/// How long one wait for rows takes: an interrupt is noticed after this time at the latest, and has to take effect within
/// 100 ms on a busy machine, too.
pub const WAIT: Duration = Duration::from_millis(20);

/// Pauses after which a query without rows shows its hint: three seconds.
const EMPTY_PAUSES: u32 = 150;

/// Widest column of a table whose rows keep coming.
const LIVE_WIDTH_MAX: usize = 40;

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
}

impl Screen<'_> {
    /// Writes a result; `interrupted` is polled at least every [`WAIT`] while it waits for rows.
    pub fn show(&mut self, outcome: Outcome, interrupted: &dyn Fn() -> bool) -> Result<Shown> {
        match self.pager.filter(|_| ends(&outcome)) {
            Some(pager) => {
                let (format, width, progress) = (self.format, self.width, self.progress.as_deref_mut());
                let shown = pager.show(&mut *self.out, |out| {
                    Screen { out, format, width, progress, pager: None }.directly(outcome, interrupted)
                })?;
                Ok(shown.unwrap_or_default())
            }
            None => self.directly(outcome, interrupted),
        }
    }

    fn directly(&mut self, outcome: Outcome, interrupted: &dyn Fn() -> bool) -> Result<Shown> {
        let shown = match outcome {
            Outcome::Message(message) => {
                self.message(&message)?;
                Shown::default()
            }
            Outcome::Table { title, columns, rows } => self.table(title.as_deref(), &columns, rows)?,
            Outcome::Rows(mut stream) => self.rows(&mut *stream, interrupted)?,
            Outcome::Many(list) => {
                let mut all = Shown::default();
                for outcome in list {
                    let one = self.show(outcome, interrupted)?;
                    all.rows += one.rows;
                    all.interrupted |= one.interrupted;
                    all.notes.extend(one.notes);
                    all.scanned = one.scanned.or(all.scanned);
                }
                all
            }
        };
        self.out.flush()?;
        Ok(shown)
    }

    fn message(&mut self, message: &str) -> Result<()> {
        match self.format {
            Format::Json => Ok(writeln!(self.out, "{{\"message\":{}}}", quoted(message))?),
            _ => Ok(writeln!(self.out, "{}", printable_lines(message))?),
        }
    }

    fn table(&mut self, title: Option<&str>, columns: &[String], rows: Vec<Vec<String>>) -> Result<Shown> {
        let columns: Vec<OutputColumn> =
            columns.iter().map(|c| OutputColumn { name: c.clone(), ty: crate::types::SqlType::String }).collect();
        if let (Some(title), Format::Table | Format::Vertical) = (title, self.format) {
            writeln!(self.out, "{}", printable(title))?;
        }
        let mut sink = Sink::new(self.format, columns, self.width);
        for row in rows {
            let json = row.iter().map(|cell| quoted(cell)).collect();
            sink.row(self.out, Row { cells: row.into_iter().map(Some).collect(), json, tombstone: false })?;
        }
        sink.finish(self.out)?;
        Ok(Shown { rows: sink.count, ..Shown::default() })
    }

    fn rows(&mut self, stream: &mut dyn RowStream, interrupted: &dyn Fn() -> bool) -> Result<Shown> {
        let mut sink = Sink::new(self.format, stream.columns().to_vec(), self.width);
        let mut pauses = 0;
        let (stopped, last) = loop {
            if interrupted() {
                break (true, None);
            }
            let event = stream.next(WAIT);
            match (&event, &mut self.progress, stream.scanned()) {
                (Ok(RowEvent::Idle), Some(progress), Some(scanned)) => progress.waiting(&scanned),
                (_, Some(progress), _) => progress.clear(),
                _ => {}
            }
            match event {
                Ok(RowEvent::Rows { columns, tombstones }) => sink.batch(self.out, &columns, &tombstones)?,
                Ok(RowEvent::Idle) if stream.is_bounded() => {}
                Ok(RowEvent::Idle) => {
                    sink.idle(self.out)?;
                    pauses += 1;
                    if pauses == EMPTY_PAUSES
                        && sink.count == 0
                        && let (Some(progress), Some(hint)) = (&mut self.progress, stream.when_empty())
                    {
                        progress.say(hint);
                    }
                }
                Ok(RowEvent::Done(last)) => break (false, last),
                Err(error) => {
                    sink.finish(self.out)?;
                    if matches!(self.format, Format::Table | Format::Vertical) && sink.count > 0 {
                        writeln!(self.out, "({}, incomplete)", counted(sink.count))?;
                    }
                    self.out.flush()?;
                    return Err(error);
                }
            }
        };
        self.progress.as_mut().into_iter().for_each(|p| p.clear());
        if stopped && self.width.is_some() {
            // The terminal has written ^C into our line.
            write!(self.out, "\r")?;
        }
        sink.finish(self.out)?;
        let mut notes: Vec<String> = [last, stream.notice()].into_iter().flatten().collect();
        if matches!(self.format, Format::Table | Format::Vertical) {
            let stop = if stopped { ", stopped" } else { "" };
            if !sink.columns.is_empty() {
                writeln!(self.out, "({}{stop})", counted(sink.count))?;
            }
            for note in notes.drain(..) {
                writeln!(self.out, "{}", printable_lines(&note))?;
            }
        } else if stopped {
            // The rows themselves have no place for it.
            notes.push(format!("stopped after {}", counted(sink.count)));
        }
        self.out.flush()?;
        let scanned = stream.scanned().filter(|s| s.retained > 0).map(|s| in_words(&s));
        Ok(Shown { rows: sink.count, interrupted: stopped, notes, scanned })
    }
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

/// A row, ready to be written in any format.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<Option<String>>,
    pub(super) json: Vec<String>,
    pub(super) tombstone: bool,
}

impl Row {
    /// The cell in a table. NULL in a tombstone is marked.
    fn shown(&self, column: usize) -> String {
        match &self.cells[column] {
            Some(text) => printable(text),
            None if self.tombstone => "<tombstone>".to_owned(),
            None => "null".to_owned(),
        }
    }
}

#[derive(Debug)]
enum State {
    /// Table: rows are held back until the first pause.
    Held(Vec<Row>),
    /// Table: the header is out, with these widths.
    Live(Vec<usize>),
    /// A format that needs no layout.
    Plain,
}

/// Rows on their way to the screen.
#[derive(Debug)]
pub(super) struct Sink {
    format: Format,
    columns: Vec<OutputColumn>,
    width: Option<usize>,
    state: State,
    count: u64,
}

impl Sink {
    pub(super) fn new(format: Format, columns: Vec<OutputColumn>, width: Option<usize>) -> Sink {
        let state = if format == Format::Table { State::Held(Vec::new()) } else { State::Plain };
        Sink { format, columns, width, state, count: 0 }
    }

    fn batch(&mut self, out: &mut dyn Write, columns: &[ArrayRef], tombstones: &[bool]) -> Result<()> {
        let settled: Vec<ArrayRef> = columns.iter().zip(&self.columns).map(|(a, c)| settled(a, &c.ty)).collect();
        let json = self.format == Format::Json;
        for i in 0..settled.first().map_or(0, |a| a.len()) {
            let mut row =
                Row { cells: Vec::new(), json: Vec::new(), tombstone: tombstones.get(i).copied().unwrap_or(false) };
            for array in &settled {
                if json {
                    row.json.push(json_of(|out| cell::write_json(array, i, out))?);
                } else {
                    row.cells.push(cell::text(array, i)?);
                }
            }
            self.row(out, row)?;
        }
        if !matches!(self.state, State::Held(_)) {
            out.flush()?;
        }
        Ok(())
    }

    pub(super) fn row(&mut self, out: &mut dyn Write, row: Row) -> Result<()> {
        self.count += 1;
        match self.format {
            Format::Json => self.json(out, &row)?,
            Format::Csv => self.csv(out, &row)?,
            Format::Vertical => self.vertical(out, &row)?,
            Format::Table => match &mut self.state {
                State::Held(rows) => {
                    rows.push(row);
                    if rows.len() > HELD_ROWS_MAX {
                        self.go_live(out)?;
                    }
                }
                State::Live(widths) => live_line(out, widths, &self.columns, |i| row.shown(i))?,
                State::Plain => {}
            },
        }
        Ok(())
    }

    /// A pause: held rows are shown, and all further ones as they arrive.
    fn idle(&mut self, out: &mut dyn Write) -> Result<()> {
        if let State::Held(_) = &self.state {
            self.go_live(out)?;
        }
        Ok(out.flush()?)
    }

    fn go_live(&mut self, out: &mut dyn Write) -> Result<()> {
        let State::Held(rows) = std::mem::replace(&mut self.state, State::Plain) else { return Ok(()) };
        let share = self.width.map_or(LIVE_WIDTH_MAX, |w| w / self.columns.len().max(1)).saturating_sub(3);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| {
                let widest = rows.iter().map(|r| r.shown(i).width()).max().unwrap_or(share.min(LIVE_WIDTH_MAX / 2));
                widest.min(LIVE_WIDTH_MAX).max(printable(&self.columns[i].name).width())
            })
            .collect();
        rule(out, &widths, '-')?;
        live_line(out, &widths, &self.columns, |i| printable(&self.columns[i].name))?;
        rule(out, &widths, '=')?;
        for row in rows {
            live_line(out, &widths, &self.columns, |i| row.shown(i))?;
        }
        self.state = State::Live(widths);
        Ok(out.flush()?)
    }

    pub(super) fn finish(&mut self, out: &mut dyn Write) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Plain) {
            // A message.
            _ if self.columns.is_empty() => {}
            State::Held(rows) => {
                let mut table = comfy_table::Table::new();
                table.load_preset(comfy_table::presets::ASCII_FULL_CONDENSED);
                table.set_style(comfy_table::TableComponent::MiddleHeaderIntersections, '+');
                if let Some(width) = self.width {
                    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
                    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
                }
                table.set_header(self.columns.iter().map(|c| printable(&c.name)));
                for row in &rows {
                    table.add_row((0..self.columns.len()).map(|i| row.shown(i)));
                }
                for (column, shown) in self.columns.iter().zip(table.column_iter_mut()) {
                    if column.is_number() {
                        shown.set_cell_alignment(comfy_table::CellAlignment::Right);
                    }
                }
                writeln!(out, "{table}")?;
            }
            State::Live(widths) => rule(out, &widths, '-')?,
            State::Plain if self.count == 0 && self.format == Format::Csv => self.csv_header(out)?,
            State::Plain => {}
        }
        Ok(())
    }

    fn json(&self, out: &mut dyn Write, row: &Row) -> Result<()> {
        let mut line = String::from("{");
        for (i, (column, json)) in self.columns.iter().zip(&row.json).enumerate() {
            if i > 0 {
                line.push(',');
            }
            line.push_str(&quoted(&column.name));
            line.push(':');
            line.push_str(json);
        }
        if row.tombstone {
            line.push_str(if self.columns.is_empty() { "\"@tombstone\":true" } else { ",\"@tombstone\":true" });
        }
        Ok(writeln!(out, "{line}}}")?)
    }

    fn csv_header(&self, out: &mut dyn Write) -> Result<()> {
        let names: Vec<String> = self.columns.iter().map(|c| csv_cell(Some(&c.name))).collect();
        Ok(writeln!(out, "{}", names.join(","))?)
    }

    fn csv(&self, out: &mut dyn Write, row: &Row) -> Result<()> {
        if self.count == 1 {
            self.csv_header(out)?;
        }
        let cells: Vec<String> = row.cells.iter().map(|c| csv_cell(c.as_deref())).collect();
        Ok(writeln!(out, "{}", cells.join(","))?)
    }

    fn vertical(&self, out: &mut dyn Write, row: &Row) -> Result<()> {
        let widest = self.columns.iter().map(|c| printable(&c.name).width()).max().unwrap_or(0);
        writeln!(out, "-[ row {} ]{}", self.count, "-".repeat(20))?;
        for (i, column) in self.columns.iter().enumerate() {
            let name = printable(&column.name);
            writeln!(out, "{name}{} | {}", " ".repeat(widest.saturating_sub(name.width())), row.shown(i))?;
        }
        Ok(())
    }
}

fn rule(out: &mut dyn Write, widths: &[usize], line: char) -> Result<()> {
    let parts: Vec<String> = widths.iter().map(|w| line.to_string().repeat(w + 2)).collect();
    Ok(writeln!(out, "+{}+", parts.join("+"))?)
}

/// A line of cells, numbers at the right of theirs.
fn live_line(
    out: &mut dyn Write,
    widths: &[usize],
    columns: &[OutputColumn],
    cell: impl Fn(usize) -> String,
) -> Result<()> {
    let mut line = String::new();
    for (i, (width, column)) in widths.iter().zip(columns).enumerate() {
        let text = cell(i);
        let gap = " ".repeat(width.saturating_sub(text.width()));
        let (before, after) = if column.is_number() { (gap, String::new()) } else { (String::new(), gap) };
        line.push_str(if i == 0 { "| " } else { " | " });
        line.extend([before, text, after]);
    }
    Ok(writeln!(out, "{line} |")?)
}

/// Text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json_of(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<String> {
    let mut out = Vec::new();
    write(&mut out)?;
    String::from_utf8(out).map_err(|e| Error::bug("a cell is not text").because(e))
}

/// RFC 4180. NULL is nothing at all, an empty text is `""`.
fn csv_cell(text: Option<&str>) -> String {
    match text {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains(['"', ',', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.to_owned(),
    }
}

/// Data cannot move the cursor, colour the screen or turn the order of what is read around: such characters are shown as
/// escapes.
pub(super) fn printable(text: &str) -> String {
    if !text.contains(is_unsafe) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if is_unsafe(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Unicode's control characters and `Bidi_Control`, with which a text reads other than it is.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same for text that we wrote ourselves: it has lines.
fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}
