//! Rows on their way to the screen, in any format.
//!
//! A table is laid out when its rows are known: at its end, at the first pause after rows, or after [`HELD_ROWS_MAX`]. From
//! then on every row is a line of its own. An endless query without rows shows no header yet: its widths would be guesses.

use super::layout::{Cell, Layout};
use super::text::{csv_cell, json_of, markdown_cell, plain_number, printable, quoted, tsv_cell};
use super::{HELD_ROWS_MAX, Options};
use crate::cli::args::Format;
use crate::engine::result::rows::OutputColumn;
use crate::error::Result;
use crate::types::SqlType;
use crate::types::cell::{self, settled};
use arrow::array::ArrayRef;
use std::io::Write;
use unicode_width::UnicodeWidthStr;

/// A row, ready to be written in any format.
#[derive(Debug)]
pub(in crate::cli) struct Row {
    pub(in crate::cli) cells: Vec<Option<String>>,
    pub(in crate::cli) json: Vec<String>,
    pub(in crate::cli) tombstone: bool,
}

impl Row {
    /// A cell as people see it. NULL in a tombstone is marked.
    fn shown(&self, column: usize) -> Cell {
        match &self.cells[column] {
            Some(text) => Cell { text: printable(text), is_null: false },
            None if self.tombstone => Cell { text: "<tombstone>".to_owned(), is_null: true },
            None => Cell { text: "null".to_owned(), is_null: true },
        }
    }

    fn all_shown(&self) -> Vec<Cell> {
        (0..self.cells.len()).map(|i| self.shown(i)).collect()
    }
}

#[derive(Debug)]
enum State {
    /// Table: rows are held back until the first pause.
    Held(Vec<Row>),
    /// Table: the header is out, with this layout.
    Live(Layout),
    /// Each row is written as it comes.
    Plain,
}

/// See the module.
#[derive(Debug)]
pub(in crate::cli) struct Sink {
    format: Format,
    columns: Vec<OutputColumn>,
    width: Option<usize>,
    options: Options,
    state: State,
    count: u64,
    left_out: usize,
}

impl Sink {
    pub(in crate::cli) fn new(
        format: Format,
        columns: Vec<OutputColumn>,
        width: Option<usize>,
        options: Options,
    ) -> Sink {
        let state = if format == Format::Table { State::Held(Vec::new()) } else { State::Plain };
        Sink { format, columns, width, options, state, count: 0, left_out: 0 }
    }

    /// Rows so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// What the reader has to know of the layout: columns that do not fit.
    pub(super) fn remark(&self) -> Option<String> {
        let total = self.columns.len();
        (self.left_out > 0)
            .then(|| format!("({total} columns, {} shown; \\x or -o vertical shows all)", total - self.left_out))
    }

    /// Writes the rows of a batch, at most so many.
    pub(super) fn batch(
        &mut self,
        out: &mut dyn Write,
        columns: &[ArrayRef],
        tombstones: &[bool],
        most: u64,
    ) -> Result<()> {
        let settled: Vec<ArrayRef> = columns.iter().zip(&self.columns).map(|(a, c)| settled(a, &c.ty)).collect();
        let rows = settled.first().map_or(0, |a| a.len());
        for i in 0..rows.min(usize::try_from(most).unwrap_or(usize::MAX)) {
            let mut row =
                Row { cells: Vec::new(), json: Vec::new(), tombstone: tombstones.get(i).copied().unwrap_or(false) };
            for (array, column) in settled.iter().zip(&self.columns) {
                match (self.format, &column.ty) {
                    (Format::Json, _) => row.json.push(json_of(|out| cell::write_json(array, i, out))?),
                    (_, SqlType::Double) => row.cells.push(cell::text(array, i)?.map(plain_number)),
                    _ => row.cells.push(cell::text(array, i)?),
                }
            }
            self.row(out, row)?;
        }
        if !matches!(self.state, State::Held(_)) {
            out.flush()?;
        }
        Ok(())
    }

    pub(in crate::cli) fn row(&mut self, out: &mut dyn Write, row: Row) -> Result<()> {
        self.count += 1;
        match self.format {
            Format::Json => self.json(out, &row)?,
            Format::Csv | Format::Tsv => {
                self.first_header(out)?;
                self.separated(out, &row.cells)?;
            }
            Format::Markdown => {
                self.first_header(out)?;
                let cells: Vec<String> = (0..row.cells.len()).map(|i| markdown_cell(&row.shown(i).text)).collect();
                writeln!(out, "| {} |", cells.join(" | "))?;
            }
            Format::Vertical => self.vertical(out, &row)?,
            Format::Table => match &mut self.state {
                State::Held(rows) => {
                    rows.push(row);
                    if rows.len() > HELD_ROWS_MAX {
                        self.go_live(out)?;
                    }
                }
                State::Live(layout) => writeln!(out, "{}", layout.live_line(&row.all_shown()))?,
                State::Plain => self.vertical(out, &row)?,
            },
        }
        Ok(())
    }

    /// A pause: held rows are shown, and all further ones as they arrive.
    pub(super) fn idle(&mut self, out: &mut dyn Write) -> Result<()> {
        if matches!(&self.state, State::Held(rows) if !rows.is_empty()) {
            self.go_live(out)?;
        }
        Ok(out.flush()?)
    }

    fn go_live(&mut self, out: &mut dyn Write) -> Result<()> {
        let State::Held(rows) = std::mem::replace(&mut self.state, State::Plain) else { return Ok(()) };
        let cells: Vec<Vec<Cell>> = rows.iter().map(Row::all_shown).collect();
        if self.is_expanded(&cells) {
            self.all_vertical(out, &rows)?;
            return Ok(out.flush()?);
        }
        let mut layout = Layout::of(&self.columns, &cells, self.width, self.options.color);
        self.left_out = layout.left_out();
        for line in layout.header() {
            writeln!(out, "{line}")?;
        }
        for row in &cells {
            writeln!(out, "{}", layout.live_line(row))?;
        }
        self.state = State::Live(layout);
        Ok(out.flush()?)
    }

    /// Whether rows that do not fit are written one value a line.
    fn is_expanded(&self, rows: &[Vec<Cell>]) -> bool {
        self.options.expand_wide && !Layout::fits(&self.columns, rows, self.width)
    }

    fn all_vertical(&mut self, out: &mut dyn Write, rows: &[Row]) -> Result<()> {
        self.count -= rows.len() as u64;
        for row in rows {
            self.count += 1;
            self.vertical(out, row)?;
        }
        Ok(())
    }

    pub(in crate::cli) fn finish(&mut self, out: &mut dyn Write) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Plain) {
            // A message.
            _ if self.columns.is_empty() => {}
            State::Held(rows) => {
                let cells: Vec<Vec<Cell>> = rows.iter().map(Row::all_shown).collect();
                if self.is_expanded(&cells) {
                    return self.all_vertical(out, &rows);
                }
                let layout = Layout::of(&self.columns, &cells, self.width, self.options.color);
                // A table of facts is not shown in part.
                if layout.left_out() > 0 && self.options.is_facts {
                    return self.all_vertical(out, &rows);
                }
                self.left_out = layout.left_out();
                let lines = cells.iter().flat_map(|row| layout.lines(row));
                for line in layout.header().into_iter().chain(lines).chain([layout.rule('-')]) {
                    writeln!(out, "{line}")?;
                }
            }
            State::Live(layout) => writeln!(out, "{}", layout.rule('-'))?,
            State::Plain if self.count == 0 => self.header(out)?,
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

    fn first_header(&self, out: &mut dyn Write) -> Result<()> {
        if self.count == 1 { self.header(out) } else { Ok(()) }
    }

    /// The line with the names of the columns, in the formats that have one.
    fn header(&self, out: &mut dyn Write) -> Result<()> {
        match self.format {
            Format::Csv | Format::Tsv => {
                let names: Vec<Option<String>> = self.columns.iter().map(|c| Some(c.name.clone())).collect();
                self.separated(out, &names)
            }
            Format::Markdown => {
                let names: Vec<String> = self.columns.iter().map(|c| markdown_cell(&printable(&c.name))).collect();
                let rules = self.columns.iter().map(|c| if c.is_number() { "---:" } else { "---" });
                writeln!(out, "| {} |", names.join(" | "))?;
                Ok(writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))?)
            }
            Format::Table | Format::Vertical | Format::Json => Ok(()),
        }
    }

    fn separated(&self, out: &mut dyn Write, cells: &[Option<String>]) -> Result<()> {
        let (cell, separator): (fn(Option<&str>) -> String, _) =
            if self.format == Format::Tsv { (tsv_cell, "\t") } else { (csv_cell, ",") };
        let cells: Vec<String> = cells.iter().map(|c| cell(c.as_deref())).collect();
        Ok(writeln!(out, "{}", cells.join(separator))?)
    }

    fn vertical(&self, out: &mut dyn Write, row: &Row) -> Result<()> {
        let widest = self.columns.iter().map(|c| printable(&c.name).width()).max().unwrap_or(0);
        writeln!(out, "-[ row {} ]{}", self.count, "-".repeat(20))?;
        for (i, column) in self.columns.iter().enumerate() {
            let name = printable(&column.name);
            let Cell { text, is_null } = row.shown(i);
            let text = if is_null && self.options.color { format!("\x1b[2m{text}\x1b[0m") } else { text };
            writeln!(out, "{name}{} | {text}", " ".repeat(widest.saturating_sub(name.width())))?;
        }
        Ok(())
    }
}
