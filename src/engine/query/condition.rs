//! What a persistent query is doing, since when and why.

use crate::engine::cluster::node::pulse::QueryPulse;
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

/// Characters of a reason that are sent to other processes: a pulse is small, and the owner shows the rest.
const REASON_CHARS_MAX: usize = 300;

impl Condition {
    /// As a query of another process has it.
    pub(super) fn of_pulse(pulse: &QueryPulse) -> Condition {
        let reason = || pulse.reason.clone().unwrap_or_default();
        let state = match pulse.state.as_str() {
            "PAUSED" => State::Paused,
            "WAITING" => State::Waiting(reason()),
            "ERROR" => State::Error(reason()),
            _ => State::Running,
        };
        Condition { state, since_ms: pulse.since_ms }
    }

    /// What other processes are told about the query with this id.
    pub(super) fn pulse(&self, id: &str) -> QueryPulse {
        let reason = self.state.reason().map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
        let (id, state) = (id.to_owned(), self.state.word().to_owned());
        QueryPulse { id, state, since_ms: self.since_ms, reason, counts: None }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_survives_its_pulse() {
        for state in [State::Running, State::Paused, State::Waiting("w".to_owned()), State::Error("e".to_owned())] {
            let condition = Condition { state, since_ms: 7 };
            assert_eq!(Condition::of_pulse(&condition.pulse("q")), condition);
        }
        let long = Condition { state: State::Error("x".repeat(10_000)), since_ms: 7 };
        assert_eq!(long.pulse("q").reason.unwrap().len(), REASON_CHARS_MAX);
    }
}
