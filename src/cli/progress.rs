//! The progress of a query, on a terminal, until its first rows.
//!
//! ```text
//! [########------------]  41 %  4,102,144 of 10,000,000 records, 391 MB
//! ```
//!
//! One line that is written over and taken away again before rows are shown; it has no escape codes. It only appears when
//! there have been no rows for a while, and never outside of a terminal. It writes plain text: no escape codes, no thread of its
//! own, and nothing while a pager owns the terminal; a progress bar crate would add all three.

use crate::engine::result::rows::Scanned;
use std::cell::Cell;
use std::fmt::Debug;
use std::io::Write;
use std::rc::Rc;

/// Pauses of [`super::render::WAIT`] after which it appears: half a second.
const PATIENCE: u32 = 25;
/// Pauses between two looks: five a second.
const EVERY: u32 = 10;
/// Characters of the bar.
const BAR: u64 = 20;

/// See the module.
pub struct Progress {
    out: Box<dyn Write>,
    pauses: u32,
    /// Characters of the line that is shown now.
    shown: usize,
    /// Another program has the terminal.
    hidden: Rc<Cell<bool>>,
}

impl Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Progress({} pauses)", self.pauses)
    }
}

impl Progress {
    /// On this terminal.
    pub fn new(out: Box<dyn Write>) -> Progress {
        Progress { out, pauses: 0, shown: 0, hidden: Rc::default() }
    }

    /// Writes nothing while this is true.
    pub(super) fn hide_while(&mut self, hidden: Rc<Cell<bool>>) {
        self.hidden = hidden;
    }

    /// There were no rows in another pause.
    pub(super) fn waiting(&mut self, scanned: &Scanned) {
        self.pauses += 1;
        if self.hidden.get() || scanned.planned == 0 || self.pauses < PATIENCE || !self.pauses.is_multiple_of(EVERY) {
            return;
        }
        let done = scanned.records.min(scanned.planned);
        let filled = done * BAR / scanned.planned;
        let (full, rest) = ("#".repeat(filled as usize), "-".repeat((BAR - filled) as usize));
        let (percent, records, planned) = (done * 100 / scanned.planned, grouped(done), grouped(scanned.planned));
        self.line(&format!("[{full}{rest}] {percent:>3} %  {records} of {planned} records, {}", size(scanned.bytes)));
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        self.pauses = 0;
        if self.shown > 0 {
            self.line("");
            // A terminal that has gone shows nothing anyway.
            let _ = write!(self.out, "\r").and_then(|()| self.out.flush());
        }
    }

    fn line(&mut self, text: &str) {
        let _ = write!(self.out, "\r{text:<width$}", width = self.shown).and_then(|()| self.out.flush());
        self.shown = text.len();
    }
}

/// `read 96,000 of 10,000,000 records, 9.2 MB`
pub(super) fn in_words(scanned: &Scanned) -> String {
    let of = match scanned.records == scanned.retained {
        true => String::new(),
        false => format!(" of {}", grouped(scanned.retained)),
    };
    let word = if scanned.retained == 1 { "record" } else { "records" };
    format!("read {}{of} {word}, {}", grouped(scanned.records), size(scanned.bytes))
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `391 MB`
fn size(bytes: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} bytes"),
        _ if value < 9.95 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Held(Arc<Mutex<Vec<u8>>>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_appears_after_a_while_and_leaves_nothing_behind() {
        let held = Held::default();
        let mut progress = Progress::new(Box::new(held.clone()));
        let scanned = Scanned { records: 4_102_144, planned: 10_000_000, retained: 10_000_000, bytes: 391_000_000 };
        (0..24).for_each(|_| progress.waiting(&scanned));
        assert!(held.0.lock().expect("one thread").is_empty(), "too early");
        (0..10).for_each(|_| progress.waiting(&scanned));
        progress.clear();
        progress.clear();
        let text = String::from_utf8(held.0.lock().expect("one thread").clone()).expect("text");
        let line = "[########------------]  41 %  4,102,144 of 10,000,000 records, 391 MB";
        assert_eq!(text, format!("\r{line}\r{}\r", " ".repeat(line.len())));
    }

    #[test]
    fn amounts_are_told_as_people_read_them() {
        let scanned = |records, retained, bytes| in_words(&Scanned { records, planned: records, retained, bytes });
        assert_eq!(scanned(96_000, 10_000_000, 9_216_123), "read 96,000 of 10,000,000 records, 9.2 MB");
        assert_eq!(scanned(1, 1, 70), "read 1 record, 70 bytes");
        assert_eq!(scanned(0, 1_000, 0), "read 0 of 1,000 records, 0 bytes");
        assert_eq!(scanned(1_000, 1_000, 999_600), "read 1,000 records, 1.0 MB");
    }
}
