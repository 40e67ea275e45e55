//! Which windows a row belongs to, and which of them still take it.
//!
//! A window covers `start .. start + size` and takes rows until stream time reaches `start + size + grace`: from then on
//! rows for it are late. Windows are aligned to 1970 and never start before it.

use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::types::time::{Window, WindowKind};

/// More windows than this for a single row are refused when the query is created: each of them is a group to update.
pub(crate) const WINDOWS_PER_ROW_MAX: i64 = 100_000;

/// Time windows of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    size: i64,
    advance: i64,
    grace: i64,
    /// How far behind the newest window one may start and still leave when it closes: see [`Windows::is_kept`].
    retention: i64,
    /// The last pane that was asked for: its first millisecond and one past its last one.
    pane: (i64, i64),
}

impl Windows {
    /// `loses` = windows past their retention are lost, see [`Windows::is_kept`].
    pub(crate) fn new(window: &Window, loses: bool) -> Result<Windows> {
        let (size, advance) = match window.kind {
            WindowKind::Tumbling { size_ms } => (size_ms, size_ms),
            WindowKind::Hopping { size_ms, advance_ms } => (size_ms, advance_ms),
            WindowKind::Session { .. } => return Err(Error::statement("SESSION windows are not supported yet")),
        };
        if size <= 0 || advance <= 0 || advance > size || window.grace_ms() < 0 {
            return Err(Error::statement(format!("window {window} is not possible"))
                .with_hint("SIZE and ADVANCE BY are positive, ADVANCE BY is at most SIZE"));
        }
        if size / advance > WINDOWS_PER_ROW_MAX {
            return Err(Error::statement(format!("a row would belong to {} windows", size / advance))
                .with_hint(format!("SIZE may be at most {WINDOWS_PER_ROW_MAX} times ADVANCE BY")));
        }
        let retention = match window.retention_ms {
            _ if !loses => i64::MAX,
            Some(retention) => retention,
            None => size.saturating_add(window.grace_ms()),
        };
        Ok(Windows { size, advance, grace: window.grace_ms(), retention, pane: (0, 0) })
    }

    pub(crate) fn size(&self) -> i64 {
        self.size
    }

    pub(crate) fn advance(&self) -> i64 {
        self.advance
    }

    /// Does every window consist of whole advances, several of them?
    pub(crate) fn has_panes(&self) -> bool {
        self.size > self.advance && self.size % self.advance == 0
    }

    /// Start of the first window that takes rows at this stream time.
    pub(crate) fn first_open(&self, time: i64) -> i64 {
        let closed = time.saturating_sub(self.size).saturating_sub(self.grace);
        let mut start = (closed - closed.rem_euclid(self.advance)).max(0);
        while self.is_closed(start, time) {
            start = start.saturating_add(self.advance);
        }
        start
    }

    /// One past the window's last millisecond.
    #[inline(always)]
    pub(crate) fn end(&self, start: i64) -> i64 {
        start.saturating_add(self.size)
    }

    /// Does the window take no more rows at this stream time?
    #[inline(always)]
    pub(crate) fn is_closed(&self, start: i64, time: i64) -> bool {
        let open_until = self.end(start).saturating_add(self.grace);
        open_until <= time - i64::from(mutant::on(Mutant::LateOffByOne))
    }

    /// Is the window's state still kept when this stream time closes it? EMIT FINAL writes it only then.
    ///
    /// Always, but in ksqlDB's dialect: ksqlDB keeps a window until one that starts more than the retention (size and grace, if not given) after it has
    /// rows. A jump of time that is longer loses what it jumps over; RETENTION keeps it.
    #[inline]
    pub(crate) fn is_kept(&mut self, start: i64, time: i64) -> bool {
        start >= self.last(time).saturating_sub(self.retention)
    }

    /// Start of the last window that covers `rowtime`, which is not negative.
    #[inline(always)]
    pub(crate) fn last(&mut self, rowtime: i64) -> i64 {
        if rowtime < self.pane.0 || rowtime >= self.pane.1 {
            let start = rowtime - rowtime % self.advance;
            self.pane = (start, start.saturating_add(self.advance));
        }
        self.pane.0
    }

    /// Start of the first window that covers a row of this time, which is not negative.
    #[inline(always)]
    pub(crate) fn first(&mut self, rowtime: i64) -> i64 {
        if self.size == self.advance {
            return self.last(rowtime);
        }
        let reach = (rowtime - self.size + self.advance).max(0);
        reach - reach % self.advance
    }

    /// The window after the one at `start`, up to the one at `last`.
    #[inline(always)]
    pub(crate) fn next(&self, start: i64, last: i64) -> Option<i64> {
        (start < last).then(|| start + self.advance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(size_ms: i64, advance_ms: i64, rowtime: i64) -> Vec<i64> {
        let kind = WindowKind::Hopping { size_ms, advance_ms };
        let mut windows = Windows::new(&Window { kind, grace_ms: Some(0), retention_ms: None }, false).unwrap();
        let (first, last) = (windows.first(rowtime), windows.last(rowtime));
        (first..=last).step_by(advance_ms as usize).collect()
    }

    #[test]
    fn a_row_is_in_every_window_that_covers_it_and_none_starts_before_1970() {
        assert_eq!(starts(10, 10, 25), [20]);
        assert_eq!(starts(10, 5, 25), [20, 25]);
        assert_eq!(starts(10, 4, 25), [16, 20, 24]);
        assert_eq!(starts(10, 4, 3), [0]);
        assert_eq!(starts(10, 1, 0), [0]);
        for (size, advance) in [(10, 3), (7, 7), (20, 6)] {
            for rowtime in 0..60 {
                let covering: Vec<i64> = (0..=rowtime).filter(|s| s % advance == 0 && rowtime < s + size).collect();
                assert_eq!(starts(size, advance, rowtime), covering, "{size} {advance} {rowtime}");
            }
        }
    }

    #[test]
    fn times_at_the_end_of_the_range_do_not_wrap_around() {
        let kind = WindowKind::Tumbling { size_ms: 10 };
        let mut windows = Windows::new(&Window { kind, grace_ms: Some(i64::MAX), retention_ms: None }, false).unwrap();
        let start = windows.last(i64::MAX);
        assert!(!windows.is_closed(start, crate::types::time::NEVER));
        assert_eq!(windows.end(start), i64::MAX);
    }
}
