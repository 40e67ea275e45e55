//! What a persistent query is doing, since when and why.

use crate::error::Error;
use crate::types::temporal::timestamp_text;

/// What a query is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Reading and writing.
    Running,
    /// Paused by a statement.
    Paused,
    /// Retrying after a transient failure: why.
    Waiting(String),
    /// Failed: why.
    Error(String),
}

/// A state and the time since which it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The state.
    pub state: State,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

impl State {
    /// As SHOW QUERIES prints it.
    pub fn word(&self) -> &'static str {
        match self {
            State::Running => "RUNNING",
            State::Paused => "PAUSED",
            State::Waiting(_) => "WAITING",
            State::Error(_) => "ERROR",
        }
    }

    /// Why it does not run.
    pub fn reason(&self) -> Option<&str> {
        match self {
            State::Running | State::Paused => None,
            State::Waiting(why) | State::Error(why) => Some(why),
        }
    }
}

impl Condition {
    /// `WAITING since 2026-11-29T14:02:00.000Z: broker 2 does not respond`
    pub fn sentence(&self) -> String {
        let (word, since) = (self.state.word(), format!("{}Z", timestamp_text(self.since_ms)));
        match self.state.reason() {
            Some(why) => format!("{word} since {since}: {why}"),
            None => format!("{word} since {since}"),
        }
    }
}

/// A failure as the reason of a state, with what can be done about it.
pub(super) fn describe(e: &Error) -> String {
    match e.hint() {
        Some(hint) => format!("{e} ({hint})"),
        None => e.to_string(),
    }
}
