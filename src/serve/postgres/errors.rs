//! SQLSTATEs of errors, and positions as Postgres counts them.
//!
//! Tidegate's errors are grouped by what their receiver does, and have ksqlDB's codes; both are coarser than SQLSTATEs. What
//! neither says is read from the message: its wording is ksqlDB's, which does not change.

use crate::error::{Error, Kind, SHUTTING_DOWN, TOO_MANY_REQUESTS};

/// A five-letter code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct State(pub(super) &'static str);

pub(super) const SYNTAX: State = State("42601");
pub(super) const NOT_SUPPORTED: State = State("0A000");
pub(super) const PROTOCOL: State = State("08P01");
pub(super) const CANCELLED: State = State("57014");
pub(super) const BAD_PASSWORD: State = State("28P01");
pub(super) const BAD_AUTHORIZATION: State = State("28000");
pub(super) const TOO_MANY_CONNECTIONS: State = State("53300");
pub(super) const LIMIT: State = State("54000");
pub(super) const NO_STATEMENT: State = State("26000");
pub(super) const NO_CURSOR: State = State("34000");
pub(super) const FAILED_TRANSACTION: State = State("25P02");
pub(super) const BAD_VALUE: State = State("22P02");
pub(super) const BAD_COPY: State = State("22P04");
pub(super) const ENDING: State = State("57P01");
const UNKNOWN_TABLE: State = State("42P01");
const UNKNOWN_COLUMN: State = State("42703");
const UNKNOWN_FUNCTION: State = State("42883");
const WRONG_TYPE: State = State("42804");
const EXISTS: State = State("42P07");
const FORBIDDEN: State = State("42501");
const BUSY: State = State("53400");
const WRONG: State = State("42000");
const IO: State = State("58030");
const BUG: State = State("XX000");

/// An error with the SQLSTATE that it has here, where the state is known better than [`of`] could.
#[derive(Debug)]
pub(in crate::serve) struct Failure {
    pub(in crate::serve) state: State,
    pub(in crate::serve) error: Error,
}

impl Failure {
    pub(super) fn new(state: State, message: impl Into<String>) -> Failure {
        Failure { state, error: Error::statement(message) }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Failure {
        self.error = self.error.with_hint(hint);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { state: of(&error), error }
    }
}

/// Beginnings and parts of messages about statements, and what they mean; the first that fits counts.
const WORDINGS: &[(&str, State)] = &[
    ("Syntax Error", SYNTAX),
    ("Syntax error", SYNTAX),
    ("mismatched input", SYNTAX),
    ("extraneous input", SYNTAX),
    ("is not closed", SYNTAX),
    ("cannot be resolved", UNKNOWN_COLUMN),
    ("column not found", UNKNOWN_COLUMN),
    ("No field named", UNKNOWN_COLUMN),
    ("the Metastore", UNKNOWN_TABLE),
    ("does not exist", UNKNOWN_TABLE),
    ("unknown stream/table", UNKNOWN_TABLE),
    ("Can't find any functions", UNKNOWN_FUNCTION),
    ("No such function", UNKNOWN_FUNCTION),
    ("nvalid function", UNKNOWN_FUNCTION),
    ("does not accept parameters", UNKNOWN_FUNCTION),
    ("Unknown function", UNKNOWN_FUNCTION),
    ("unknown function", UNKNOWN_FUNCTION),
    ("already exists", EXISTS),
    ("Cannot compare", WRONG_TYPE),
    ("Type error", WRONG_TYPE),
    ("Type mismatch", WRONG_TYPE),
    ("Expected type", WRONG_TYPE),
    ("Unsupported arithmetic", WRONG_TYPE),
    ("not supported", NOT_SUPPORTED),
    ("unsupported", NOT_SUPPORTED),
    ("at most", LIMIT),
];

/// The state of an error of the engine.
pub(super) fn of(error: &Error) -> State {
    match (error.kind(), error.code()) {
        (_, SHUTTING_DOWN) => ENDING,
        (_, 40_300) => FORBIDDEN,
        (_, TOO_MANY_REQUESTS) | (Kind::Busy, _) => BUSY,
        (Kind::Statement | Kind::NotFound, _) => {
            let (message, detail) = (error.message(), error.detail().unwrap_or_default());
            let fits = |(words, _): &&(&str, State)| message.contains(words) || detail.contains(words);
            WORDINGS.iter().find(fits).map_or(WRONG, |(_, state)| *state)
        }
        (Kind::Data, _) => State("22000"),
        (Kind::Io | Kind::Fenced, _) => IO,
        (Kind::Bug, _) => BUG,
    }
}

/// The character of `text`, counted from 1, at this byte.
pub(super) fn position(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        assert_eq!(position("SELECT '차', x", "SELECT '차', ".len()), 13);
        assert_eq!((position("abc", 0), position("abc", 99)), (1, 4));
    }

    #[test]
    fn states_follow_kind_code_and_wording() {
        let statement = |message: &str| of(&Error::statement(message)).0;
        assert_eq!(statement("SELECT column 'SPED' cannot be resolved."), "42703");
        assert_eq!(statement("Could not find STREAM/TABLE 'X' in the Metastore"), "42P01");
        assert_eq!(statement("X does not exist."), "42P01");
        assert_eq!(of(&Error::statement("DROP requires role admin").with_code(40_300)).0, "42501");
        assert_eq!(of(&Error::new(Kind::Busy, "the limit is reached")).0, "53400");
        assert_eq!(of(&crate::serve::stopping::error()).0, "57P01");
        assert_eq!(of(&Error::bug("x")).0, "XX000");
    }
}
