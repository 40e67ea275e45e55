//! The layout of a table: how wide each column is, what is wrapped, and what is left out where a row is too wide.
//!
//! ```text
//! it fits                    every column as wide as its widest cell
//! texts are too long         they are wrapped between words; identifiers and numbers stay whole, so that they can be copied
//! still too wide             the columns in the middle are left out: | A | B | ... | Z |
//! ```
//!
//! Without a width (a file, a pipe) everything fits.

use super::text::printable;
use crate::engine::result::rows::OutputColumn;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A text up to this width without a space is an identifier, which is not broken.
const WORD_MAX: usize = 24;
/// A column of long texts is never narrower than this.
const TEXT_MIN: usize = 10;
/// Lines of a cell that is wrapped. The rest is cut off: otherwise one long statement fills the screen.
const LINES_MAX: usize = 6;
/// The same in a column that is too narrow to read a long text in.
const NARROW_LINES_MAX: usize = 2;
/// A column up to this width is narrow.
const NARROW: usize = 20;
/// Marks the end of a text that was cut off.
const MORE: char = '…';

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Cell {
    pub(in crate::cli) text: String,
    /// NULL, which is shown dim, so that a text `null` looks different.
    pub(in crate::cli) is_null: bool,
}

/// The columns of a table as they are shown.
#[derive(Debug)]
pub(in crate::cli) struct Layout {
    /// Which columns are shown; `None` = the place of those that are left out.
    shown: Vec<Option<usize>>,
    /// Their widths.
    widths: Vec<usize>,
    heads: Vec<String>,
    numbers: Vec<bool>,
    /// Columns of the terminal.
    width: Option<usize>,
    color: bool,
}

/// What is measured of a column.
struct Measure {
    natural: usize,
    /// It has texts that can be wrapped.
    is_text: bool,
}

impl Layout {
    /// The layout of these rows.
    pub(in crate::cli) fn of(
        columns: &[OutputColumn],
        rows: &[Vec<Cell>],
        width: Option<usize>,
        color: bool,
    ) -> Layout {
        let heads: Vec<String> = columns.iter().map(|c| printable(&c.name)).collect();
        let numbers: Vec<bool> = columns.iter().map(OutputColumn::is_number).collect();
        let measures: Vec<Measure> = (0..columns.len())
            .map(|i| {
                let cells = || rows.iter().map(|row| row[i].text.as_str());
                let widest = cells().map(UnicodeWidthStr::width).max().unwrap_or(0);
                let is_text = !numbers[i] && cells().any(|text| text.width() > WORD_MAX || text.contains(' '));
                Measure { natural: widest.max(heads[i].width()).max(1), is_text }
            })
            .collect();
        let (shown, widths) = match width {
            None => (None, measures.iter().map(|m| m.natural).collect()),
            Some(width) => fitted(&measures, &heads, width),
        };
        let shown = shown.unwrap_or_else(|| (0..columns.len()).map(Some).collect());
        Layout { shown, widths, heads, numbers, width, color }
    }

    /// Whether every cell is shown as it is.
    pub(in crate::cli) fn fits(columns: &[OutputColumn], rows: &[Vec<Cell>], width: Option<usize>) -> bool {
        let Some(width) = width else { return true };
        let widest = |i: usize| rows.iter().map(|row| row[i].text.width()).max().unwrap_or(0);
        let natural = columns.iter().enumerate().map(|(i, c)| widest(i).max(printable(&c.name).width()).max(1));
        frame(columns.len()) + natural.sum::<usize>() <= width
    }

    /// Columns that are left out.
    pub(in crate::cli) fn left_out(&self) -> usize {
        self.heads.len() - self.shown.iter().flatten().count()
    }

    /// `+-----+---+`
    pub(in crate::cli) fn rule(&self, line: char) -> String {
        let parts: Vec<String> = self.widths.iter().map(|w| line.to_string().repeat(w + 2)).collect();
        format!("+{}+", parts.join("+"))
    }

    /// The names of the columns, between two rules.
    pub(in crate::cli) fn header(&self) -> Vec<String> {
        let heads: Vec<Cell> = self.heads.iter().map(|h| Cell { text: h.clone(), is_null: false }).collect();
        let mut lines = vec![self.rule('-')];
        lines.extend(self.lines(&heads));
        lines.push(self.rule('='));
        lines
    }

    /// A row, wrapped into as many lines as its longest cell takes.
    pub(in crate::cli) fn lines(&self, row: &[Cell]) -> Vec<String> {
        let places = self.shown.iter().zip(&self.widths);
        let wrapped: Vec<Vec<String>> = places
            .map(|(column, width)| match column {
                Some(i) => wrapped(&row[*i].text, *width),
                None => vec![MORE.to_string()],
            })
            .collect();
        let count = wrapped.iter().map(Vec::len).max().unwrap_or(1);
        (0..count).map(|n| self.line(row, |place| wrapped[place].get(n).map_or("", String::as_str))).collect()
    }

    /// A row on one line. A cell that is wider than those before widens its column if the terminal has room, else it is cut.
    pub(in crate::cli) fn live_line(&mut self, row: &[Cell]) -> String {
        let mut cut = Vec::with_capacity(self.shown.len());
        for place in 0..self.shown.len() {
            let Some(i) = self.shown[place] else {
                cut.push(MORE.to_string());
                continue;
            };
            let (wanted, column) = (row[i].text.width(), self.widths[place]);
            let Some(width) = self.width.filter(|_| wanted > column) else {
                cut.push(row[i].text.clone());
                continue;
            };
            let room = width.saturating_sub(frame(self.widths.len()) + self.widths.iter().sum::<usize>());
            self.widths[place] = column + room.min(wanted - column);
            cut.push(shortened(&row[i].text, self.widths[place]));
        }
        self.line(row, |place| &cut[place])
    }

    fn line<'t>(&self, row: &[Cell], text: impl Fn(usize) -> &'t str) -> String {
        let mut line = String::new();
        for (place, (column, width)) in self.shown.iter().zip(&self.widths).enumerate() {
            let text = text(place);
            let gap = " ".repeat(width.saturating_sub(text.width()));
            let is_number = column.is_some_and(|i| self.numbers[i]);
            let (before, after) = if is_number { (gap, String::new()) } else { (String::new(), gap) };
            line.push_str(if place == 0 { "| " } else { " | " });
            line.push_str(&before);
            match self.color && !text.is_empty() && column.is_some_and(|i| row[i].is_null) {
                true => line.extend(["\x1b[2m", text, "\x1b[0m"]),
                false => line.push_str(text),
            }
            line.push_str(&after);
        }
        line + " |"
    }
}

/// Bars and spaces of a line of so many columns.
fn frame(columns: usize) -> usize {
    3 * columns + 1
}

/// Which columns are shown (`None` = all) and how wide they are, within the width of a terminal.
fn fitted(measures: &[Measure], heads: &[String], width: usize) -> (Option<Vec<Option<usize>>>, Vec<usize>) {
    let floor = |m: &Measure| if m.is_text { m.natural.min(TEXT_MIN) } else { m.natural };
    let room = width.saturating_sub(frame(measures.len()));
    let natural: Vec<usize> = measures.iter().map(|m| m.natural).collect();
    let floors: Vec<usize> = measures.iter().map(floor).collect();
    if let Some(widths) = shrunk(&natural, &floors, room) {
        return (None, widths);
    }
    // What is narrow enough to be read, from the left, and the last one.
    let wanted: Vec<usize> = measures.iter().map(|m| m.natural.min(WORD_MAX)).collect();
    let last = measures.len() - 1;
    let mut used = frame(2) + 1 + wanted[last];
    let taken = (0..last)
        .take_while(|i| {
            used += wanted[*i] + 3;
            used <= width
        })
        .count();
    if taken == 0 {
        // Not even two: everything is squeezed, however narrow.
        let least: Vec<usize> = heads.iter().map(|_| 1).collect();
        return match shrunk(&natural, &least, room) {
            Some(widths) => (None, widths),
            None => (Some(vec![None]), vec![1]),
        };
    }
    let shown = (0..taken).map(Some).chain([None, Some(last)]).collect();
    (Some(shown), wanted[..taken].iter().copied().chain([1, wanted[last]]).collect())
}

/// Takes from the widest columns, none of them below its floor, until the sum is within `room`; `None` = it is not possible.
fn shrunk(natural: &[usize], floors: &[usize], room: usize) -> Option<Vec<usize>> {
    let mut widths = natural.to_vec();
    while widths.iter().sum::<usize>() > room {
        let (widest, _) = widths.iter().enumerate().filter(|(i, w)| **w > floors[*i]).max_by_key(|(_, w)| **w)?;
        widths[widest] -= 1;
    }
    Some(widths)
}

/// A text in lines of at most this width, broken at spaces where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let most = if width <= NARROW { NARROW_LINES_MAX } else { LINES_MAX };
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if lines.len() == most {
            if let Some(last) = lines.last_mut() {
                *last = shortened(&format!("{last}{MORE}"), width);
            }
            break;
        }
        let end = end_of(rest, width);
        let at = match rest[end..].is_empty() || rest[end..].starts_with(' ') {
            true => end,
            false => rest[..end].rfind(' ').filter(|at| *at > 0).unwrap_or(end),
        };
        let (line, after) = rest.split_at(at);
        lines.push(line.trim_end().to_owned());
        rest = after.trim_start();
    }
    lines
}

/// Bytes of the text's beginning that are at most this wide, one character at least.
fn end_of(text: &str, width: usize) -> usize {
    let mut used = 0;
    let fits = |(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    let taken = text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
    taken.max(text.chars().next().map_or(0, char::len_utf8))
}

/// A text cut to this width, with a sign that it was.
pub(in crate::cli) fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    match width {
        0 => String::new(),
        1 => MORE.to_string(),
        _ => {
            // A wide character may not fit at all.
            let end = end_of(text, width - 1);
            let kept = if text[..end].width() < width { &text[..end] } else { "" };
            format!("{kept}{MORE}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SqlType;

    fn table(names: &[&str], rows: &[&[&str]], width: usize) -> (Vec<String>, usize) {
        let column = |name: &&str| OutputColumn { name: (*name).to_owned(), ty: SqlType::String };
        let columns: Vec<OutputColumn> = names.iter().map(column).collect();
        let cell = |text: &&str| Cell { text: (*text).to_owned(), is_null: false };
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let layout = Layout::of(&columns, &rows, Some(width), false);
        let mut lines = layout.header();
        rows.iter().for_each(|row| lines.extend(layout.lines(row)));
        (lines, layout.left_out())
    }

    #[test]
    fn a_long_text_is_wrapped_between_words_and_an_identifier_is_not() {
        let sql = "CREATE TABLE t AS SELECT a, COUNT(*) FROM s GROUP BY a EMIT CHANGES;";
        let (lines, left_out) = table(&["Query", "Statement"], &[&["CTAS_CAR_STATS_1", sql]], 50);
        assert_eq!(left_out, 0);
        assert!(lines.iter().all(|line| line.width() <= 50), "{lines:#?}");
        assert!(lines[3].starts_with("| CTAS_CAR_STATS_1 | CREATE TABLE t AS SELECT a,"), "{lines:#?}");
        assert_eq!(lines.len(), 6, "{lines:#?}");
        let (lines, _) = table(&["Query", "Statement"], &[&["CTAS_CAR_STATS_1", &sql.repeat(20)]], 50);
        assert_eq!(lines.len(), 3 + LINES_MAX);
        assert!(lines.iter().all(|line| line.width() <= 50), "{lines:#?}");
        assert!(lines[8].contains(MORE));
    }

    #[test]
    fn of_a_row_that_is_too_wide_the_middle_is_left_out() {
        let names: Vec<String> = (0..31).map(|n| format!("COLUMN_{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let row: Vec<&str> = names.iter().map(|_| "value").collect();
        let (lines, left_out) = table(&names, &[&row], 80);
        assert!(left_out > 20 && lines.iter().all(|line| line.width() <= 80), "{lines:#?}");
        assert!(lines[1].starts_with("| COLUMN_0 |") && lines[1].ends_with("| … | COLUMN_30 |"), "{lines:#?}");
    }

    #[test]
    fn every_width_is_kept() {
        let rows: &[&[&str]] = &[&["가나다라마바사", "a b c d e f g h", "x"]];
        for width in 5..60 {
            let (lines, _) = table(&["NAME", "WORDS", "LETTER"], rows, width);
            assert!(lines.iter().all(|line| line.width() <= width.max(16)), "{width}: {lines:#?}");
        }
        assert_eq!((shortened("가나다", 4).as_str(), shortened("가나다", 1).as_str()), ("가…", "…"));
        assert_eq!(wrapped("가나다", 4), ["가나", "다"]);
    }
}
