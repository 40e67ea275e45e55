//! A table that changes in place: of each key the last row, drawn again where it was.
//!
//! ```text
//! +------------+----------+-----------+
//! | CAR        | READINGS | AVG_SPEED |      the cursor goes up over the lines of the previous picture, and each line is
//! +============+==========+===========+      written over; nothing scrolls, and no line is wider than the terminal
//! ```
//!
//! It needs a terminal that moves its cursor; elsewhere rows are written one after the other (`Screen`).

use super::layout::{Cell, Layout, shortened};
use super::text::{plain_number, printable};
use super::{Shown, WAIT, counted};
use crate::engine::result::rows::{RowEvent, RowStream};
use crate::error::Result;
use crate::types::cell::{self, settled};
use crate::types::clock::SharedClock;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

/// Time between two pictures: faster is not seen, and slower does not look alive.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Lines of a picture that are no rows: header, rules, the line below, and the cursor's.
const FRAME_LINES: usize = 6;
/// Keys that are kept, however many come: more than any terminal has lines.
const KEYS_MAX: usize = 1_000;

/// Where a table changes in place.
pub struct LiveTable<'a> {
    /// The terminal.
    pub out: &'a mut dyn Write,
    /// Its columns and lines; read for each picture, because a window changes its size.
    pub size: &'a dyn Fn() -> (usize, usize),
    /// NULL is shown dim.
    pub color: bool,
    /// Measures the time.
    pub clock: SharedClock,
}

impl Debug for LiveTable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LiveTable({:?})", (self.size)())
    }
}

/// What is on the screen now.
#[derive(Default)]
struct Picture {
    lines: usize,
    size: (usize, usize),
}

impl LiveTable<'_> {
    /// Shows the last row of each value of the first column, for so long or until the user or the query ends it.
    pub fn show(
        &mut self,
        stream: &mut dyn RowStream,
        time: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Shown> {
        let (mut rows, mut picture, mut shown) = (BTreeMap::new(), Picture::default(), Shown::default());
        let (mut drawn, mut is_new, begin) = (None, false, self.clock.monotonic());
        loop {
            let now = self.clock.monotonic();
            let ended = now >= begin + time;
            shown.interrupted = interrupted();
            if is_new && drawn.is_none_or(|drawn| now >= drawn + REDRAW_INTERVAL) {
                self.draw(stream, &rows, shown.rows, &mut picture)?;
                (drawn, is_new) = (Some(now), false);
            }
            if ended || shown.interrupted {
                break;
            }
            match stream.next(WAIT)? {
                RowEvent::Rows { columns, tombstones } => {
                    let names = stream.columns();
                    let settled: Vec<_> = columns.iter().zip(names).map(|(a, c)| settled(a, &c.ty)).collect();
                    for i in 0..settled.first().map_or(0, |a| a.len()) {
                        let row = settled.iter().map(|a| shown_cell(cell::text(a, i)?)).collect::<Result<Vec<_>>>()?;
                        let key = row.first().map(|cell| cell.text.clone()).unwrap_or_default();
                        match tombstones.get(i) {
                            Some(true) => drop(rows.remove(&key)),
                            _ if rows.len() < KEYS_MAX || rows.contains_key(&key) => drop(rows.insert(key, row)),
                            _ => {}
                        }
                        shown.rows += 1;
                    }
                    is_new = true;
                }
                RowEvent::Idle => {}
                RowEvent::Done(_) => break,
            }
        }
        if is_new {
            self.draw(stream, &rows, shown.rows, &mut picture)?;
        }
        Ok(shown)
    }

    fn draw(
        &mut self,
        stream: &dyn RowStream,
        rows: &BTreeMap<String, Vec<Cell>>,
        changes: u64,
        picture: &mut Picture,
    ) -> Result<()> {
        let (width, height) = (self.size)();
        let visible: Vec<Vec<Cell>> = rows.values().take(height.saturating_sub(FRAME_LINES).max(1)).cloned().collect();
        let mut layout = Layout::of(stream.columns(), &visible, Some(width), self.color);
        let mut lines = layout.header();
        lines.extend(visible.iter().map(|row| layout.live_line(row)));
        lines.push(layout.rule('-'));
        let more = match rows.len() - visible.len() {
            0 => String::new(),
            hidden => format!(", {} not shown", counted(hidden as u64)),
        };
        lines.push(shortened(&format!("{changes} changes{more}"), width));
        // After a change of the window's size the old lines are somewhere else: the next picture begins below.
        if picture.lines > 0 && picture.size == (width, height) {
            write!(self.out, "\r\x1b[{}A", picture.lines)?;
        }
        for line in &lines {
            writeln!(self.out, "{line}\x1b[K")?;
        }
        // Below a picture that has become shorter.
        write!(self.out, "\x1b[J")?;
        *picture = Picture { lines: lines.len(), size: (width, height) };
        Ok(self.out.flush()?)
    }
}

fn shown_cell(text: Option<String>) -> Result<Cell> {
    let is_null = text.is_none();
    let text = text.map_or_else(|| "null".to_owned(), |text| printable(&plain_number(text)));
    Ok(Cell { text, is_null })
}
