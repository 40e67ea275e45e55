//! How syntax errors begin, and the line and column that `parse` puts before them: ksqlDB's form.

use crate::error::Error;

/// The start of every syntax error's message.
pub(super) const SYNTAX_ERROR: &str = "Syntax Error\n";

/// The start of the message that lists what a place takes.
pub(super) const EXPECTING: &str = "Expecting {";

/// The start of the message about a statement that only ksqlDB's test runner knows.
pub(super) const UNKNOWN_HERE: &str = "Syntax error at or near ";

/// Line and column of a byte of the text, counted from 1.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let last = before.rsplit('\n').next().unwrap_or(before);
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}

/// Puts `line 3:14: ` before a syntax error, as ksqlDB does.
pub(super) fn located(whole: &str, error: Error) -> Error {
    if let Some(span) = error.span().filter(|_| error.message().starts_with(UNKNOWN_HERE)) {
        let (line, column) = line_and_column(whole, span.start);
        return Error::statement(format!("{} at line {line}:{column}", error.message())).at(span);
    }
    let (true, Some(span)) = (error.message().starts_with(SYNTAX_ERROR), error.span()) else { return error };
    let (line, column) = line_and_column(whole, span.start);
    let located = Error::statement(format!("line {line}:{column}: {}", error.message())).at(span);
    match error.hint() {
        Some(hint) => located.with_hint(hint),
        None => located,
    }
}
