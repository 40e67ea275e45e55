//! Errors for people: the fact, the line it is about with the place marked, the detail and the hint.
//!
//! ```text
//! error: line 1:10: Syntax Error
//!        Unexpected 'FORM', expected FROM or a comma
//!   |
//! 1 | SELECT * FORM s;
//!   |          ^^^^
//!   |
//!   = help: did you mean FROM?
//! ```

use crate::error::{Error, Kind, Span};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};
use std::io::ErrorKind;

/// Everything was done.
pub const OK: u8 = 0;
/// A statement failed.
pub const FAILED: u8 = 1;
/// The command line is wrong (clap exits with it).
pub const USAGE: u8 = 2;
/// The log could not be opened.
pub const NO_LOG: u8 = 3;
/// The user stopped it.
pub const INTERRUPTED: u8 = 130;

/// Longest text whose line is shown around an error.
const SHOWN_BYTES_MAX: usize = 100_000;

/// An error as it is printed, with a line feed at its end. `text` is what the error's place counts in.
pub fn rendered(error: &Error, text: &str, color: bool) -> String {
    rendered_in(error, text, Style { color, ..Style::default() })
}

/// The same on a terminal of so many columns: of a longer line what is around the place is shown.
fn rendered_in(error: &Error, text: &str, style: Style<'_>) -> String {
    let Style { color, width, file, .. } = style;
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = match width {
        Some(width) => renderer.term_width(width),
        None => renderer,
    };
    let mut group = annotate_snippets::Group::with_title(Level::ERROR.primary_title(error.message()));
    if let Some(span) = error.span()
        && text.len() <= SHOWN_BYTES_MAX
        && !text.is_empty()
    {
        let start = boundary(text, span.start.min(text.len().saturating_sub(1)));
        let end = boundary(text, span.end.clamp(start, text.len()));
        let first_line_end = text[start..].find('\n').map_or(text.len(), |n| start + n);
        let end = end.min(first_line_end).max((start + 1).min(text.len()));
        let end = (end..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
        let mark = AnnotationKind::Primary.span(start..end);
        let snippet = Snippet::source(text);
        let snippet = match file {
            Some(file) => snippet.path(file),
            None => snippet,
        };
        group = group.element(snippet.annotation(mark));
    }
    if let Some(detail) = error.detail() {
        group = group.element(Level::NOTE.message(detail));
    }
    if let Some(hint) = error.hint() {
        group = group.element(Level::HELP.message(hint));
    }
    if error.kind() == Kind::Bug {
        group = group.element(Level::NOTE.message("this is a bug in Tidegate; please report it"));
    }
    let mut out = renderer.render(&[group]);
    out.push('\n');
    out
}

/// How errors are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style<'a> {
    /// With colours.
    pub color: bool,
    /// Columns of the terminal.
    pub width: Option<usize>,
    /// As one JSON object a line, for programs.
    pub is_json: bool,
    /// The file in which the text is.
    pub file: Option<&'a str>,
}

impl Style<'_> {
    /// An error as it is written, with a line feed at its end. `text` is what the error's place counts in.
    pub fn written(&self, error: &Error, text: &str) -> String {
        match self.is_json {
            true => format!("{}\n", json_of(error, text, self.file)),
            false => rendered_in(error, text, *self),
        }
    }
}

/// The same error in a text that has so many bytes less in front.
pub(super) fn moved(error: &Error, bytes: usize) -> Error {
    let mut moved = Error::new(error.kind(), error.message()).with_code(error.code());
    if let Some(detail) = error.detail() {
        moved = moved.with_detail(detail);
    }
    if let Some(hint) = error.hint() {
        moved = moved.with_hint(hint);
    }
    match error.span() {
        Some(span) => moved.at(Span::new(span.start.saturating_sub(bytes), span.end.saturating_sub(bytes))),
        None => moved,
    }
}

/// The object that `-o json` writes for an error. Its span counts in UTF-16 units, as browsers, JDBC and the HTTP API do; line
/// and column count from 1.
fn json_of(error: &Error, text: &str, file: Option<&str>) -> Value {
    let units = |at: usize| text[..boundary(text, at.min(text.len()))].encode_utf16().count();
    let span = error.span().filter(|_| !text.is_empty()).map(|span| {
        let before = &text[..boundary(text, span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        json!({ "start": units(span.start), "end": units(span.end), "line": line, "column": column })
    });
    json!({
        "code": error.code(),
        "message": error.message(),
        "detail": error.detail(),
        "hint": error.hint(),
        "file": file,
        "span": span,
    })
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// The reader of our output has gone away, which is its right.
pub fn is_broken_pipe(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
            return true;
        }
        cause = inner.source();
    }
    false
}
