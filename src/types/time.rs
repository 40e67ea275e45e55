//! Event time: window definitions, grace, durations as SQL writes them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Stream time before the first row. Half of the range, so that `NEVER - size - grace` cannot wrap around.
pub const NEVER: i64 = i64::MIN / 2;

/// ksqlDB's default of size + grace: a window accepts rows for a day after its start (Kafka Streams'
/// `Windows.DEPRECATED_DEFAULT_24_HR_GRACE_PERIOD`, KIP-633).
pub const DEFAULT_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;

/// How rows are grouped by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WindowKind {
    /// Windows of one size without gaps or overlaps.
    Tumbling {
        /// Size.
        size_ms: i64,
    },
    /// Windows of one size, one of which starts every `advance_ms`.
    Hopping {
        /// Size.
        size_ms: i64,
        /// Distance between two starts.
        advance_ms: i64,
    },
    /// A window ends when no row has arrived for `gap_ms`.
    Session {
        /// Longest pause within a session.
        gap_ms: i64,
    },
}

/// A WINDOW clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// How rows are grouped.
    pub kind: WindowKind,
    /// How long after its end a window accepts rows; `None` = `max(24 h - size, 0)`.
    pub grace_ms: Option<i64>,
    /// How long pull queries see a window (RETENTION); `None` = a day.
    pub retention_ms: Option<i64>,
}

impl Window {
    /// Size of a time window, gap of a session.
    pub fn size_ms(&self) -> i64 {
        match self.kind {
            WindowKind::Tumbling { size_ms } | WindowKind::Hopping { size_ms, .. } => size_ms,
            WindowKind::Session { gap_ms } => gap_ms,
        }
    }

    /// The effective grace: as given, or ksqlDB's default.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms.unwrap_or_else(|| (DEFAULT_RETENTION_MS - self.size_ms()).max(0))
    }

    /// `TUMBLING`, `HOPPING` or `SESSION`.
    pub fn type_name(&self) -> &'static str {
        self.kind.name()
    }
}

impl WindowKind {
    /// `TUMBLING`, `HOPPING` or `SESSION`.
    pub fn name(&self) -> &'static str {
        match self {
            WindowKind::Tumbling { .. } => "TUMBLING",
            WindowKind::Hopping { .. } => "HOPPING",
            WindowKind::Session { .. } => "SESSION",
        }
    }
}

/// A duration in the largest unit that divides it: `10 SECONDS`, `1 HOURS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis(pub i64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400_000, "DAYS"), (3_600_000, "HOURS"), (60_000, "MINUTES"), (1_000, "SECONDS")];
        match units.iter().find(|(ms, _)| self.0 != 0 && self.0 % ms == 0) {
            Some((ms, name)) => write!(f, "{} {name}", self.0 / ms),
            None => write!(f, "{} MILLISECONDS", self.0),
        }
    }
}

impl fmt::Display for Window {
    /// As it is written in SQL: `TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 1 MINUTES)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            WindowKind::Tumbling { size_ms } => write!(f, "TUMBLING (SIZE {}", Millis(size_ms))?,
            WindowKind::Hopping { size_ms, advance_ms } => {
                write!(f, "HOPPING (SIZE {}, ADVANCE BY {}", Millis(size_ms), Millis(advance_ms))?
            }
            WindowKind::Session { gap_ms } => write!(f, "SESSION ({}", Millis(gap_ms))?,
        }
        if let Some(retention) = self.retention_ms {
            write!(f, ", RETENTION {}", Millis(retention))?;
        }
        if let Some(grace) = self.grace_ms {
            write!(f, ", GRACE PERIOD {}", Millis(grace))?;
        }
        f.write_str(")")
    }
}
