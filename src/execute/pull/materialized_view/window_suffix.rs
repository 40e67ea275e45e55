//! What the key bytes of a table carry beside the key, and for how long its windows are seen.

use crate::catalog::Source;
use crate::format::window_key;
use crate::types::time::{NEVER, Window, WindowKind};

/// What a key's bytes carry, and for how long windows are seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowSuffix {
    pub(super) kind: Option<WindowKind>,
    pub(super) retention_ms: i64,
}

impl WindowSuffix {
    pub(super) fn of(sink: &Source, window: Option<&Window>) -> WindowSuffix {
        let retention =
            window.map_or(i64::MAX, |w| w.retention_ms.unwrap_or_else(|| w.size_ms().saturating_add(w.grace_ms())));
        WindowSuffix { kind: sink.window.map(|w| w.kind), retention_ms: retention }
    }

    /// The key without its window, and the window's start and end.
    pub(super) fn split<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], i64, i64)> {
        Some(match self.kind {
            None => (bytes, 0, 0),
            Some(WindowKind::Session { .. }) => {
                let (key, end, start) = window_key::split_session(bytes)?;
                (key, start, end)
            }
            Some(WindowKind::Tumbling { size_ms } | WindowKind::Hopping { size_ms, .. }) => {
                let (key, start) = window_key::split_time(bytes)?;
                (key, start, start.saturating_add(size_ms))
            }
        })
    }

    /// The time by which a window is kept.
    pub(super) fn stamp(&self, start: i64, end: i64) -> i64 {
        match self.kind {
            Some(WindowKind::Session { .. }) => end,
            _ => start,
        }
    }

    /// Is a window of this partition, whose newest ones are these, still seen?
    pub(super) fn is_seen(&self, newest: &[i64], partition: i32, stamp: i64) -> bool {
        let newest = newest.get(partition.max(0) as usize).copied().unwrap_or(NEVER);
        stamp > newest.saturating_sub(self.retention_ms)
    }
}
