//! A text is checked as it is written: each statement is parsed and planned against a copy of what exists, without effect.
//!
//! ```text
//! CREATE STREAM x AS SELECT sped FROM readings;
//!     statement   CREATE STREAM AS SELECT, reads READINGS, writes X, creates the topic X, requires role writer
//!     diagnostic  sped: "SELECT column 'SPED' cannot be resolved.", did you mean SPEED?, fix: speed
//! ```
//!
//! A statement that is wrong does not end the check: those behind it are checked as if it had been left out, and an error that
//! only follows from one above is not repeated. Facts about topics come from the list that completion uses, so that a broker
//! that does not respond delays no one for longer than 75 ms. The check of a long text ends after [`CHECK_TIME`], and says so.

use crate::engine::access::{self, Role};
pub use crate::engine::ddl::sandbox::Outline;
use crate::engine::ddl::sandbox::Sandbox;
use crate::engine::intent::Intent;
use crate::engine::session::Session;
use crate::engine::{Engine, STATEMENTS_MAX};
use crate::error::{Error, Span};
use crate::parse;
use crate::parse::statement::{Parsed, Statement};
use crate::parse::text::scan::{is_word_char, words_of};
use crate::parse::words::{KEYWORDS, written};
use crate::types::nearest;
use std::time::Duration;

/// How long a check may take, between two statements: an editor asks again with every pause.
const CHECK_TIME: Duration = Duration::from_millis(100);
/// Diagnostics of one text: no reader looks at more.
const DIAGNOSTICS_MAX: usize = 100;

/// A statement of a checked text.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedStatement {
    /// Its place in the text.
    pub span: Span,
    /// `CREATE STREAM AS SELECT`; `None` = it cannot be parsed.
    pub kind: Option<String>,
    /// The role that it requires.
    pub role: Option<Role>,
    /// What it would do; empty if it is wrong.
    pub outline: Outline,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement cannot be carried out.
    Error,
    /// It can, or that is not known.
    Warning,
}

/// What is to be said about a place of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// The place.
    pub span: Span,
    /// How bad it is.
    pub severity: Severity,
    /// ksqlDB's error code.
    pub code: u32,
    /// The fact.
    pub message: String,
    /// The detail.
    pub detail: Option<String>,
    /// What can be done.
    pub hint: Option<String>,
    /// The change that a "did you mean" proposes: the place, and the text for it.
    pub fix: Option<(Span, String)>,
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// Statements in order.
    pub statements: Vec<CheckedStatement>,
    /// What is wrong, in order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Engine {
    /// Checks a text for this session, which is not changed.
    pub fn check(&self, text: &str, session: &Session) -> Checked {
        self.check_within(Some(CHECK_TIME), text, session)
    }

    /// Checks a text to its end, however long that takes: for files.
    pub fn check_whole(&self, text: &str, session: &Session) -> Checked {
        self.check_within(None, text, session)
    }

    fn check_within(&self, most: Option<Duration>, text: &str, session: &Session) -> Checked {
        let began = self.inner.clock.monotonic();
        let is_late = || most.is_some_and(|most| self.inner.clock.monotonic().saturating_sub(began) > most);
        let mut checked = Checked::default();
        if let Err(e) = self.check_alive().and_then(|()| parse::check_comments(text)) {
            checked.add(text, &e, Span::new(0, text.len()));
            return checked;
        }
        let mut sandbox = Sandbox::to_check(self, session);
        let mut types = self.inner.state.load().catalog.types().clone();
        // Names that statements which are wrong would have created.
        let mut lost: Vec<String> = Vec::new();
        for (at, piece) in parse::split(text).into_iter().enumerate() {
            if at >= STATEMENTS_MAX || is_late() {
                checked.diagnostics.push(unfinished(piece.span));
                break;
            }
            let statement = CheckedStatement { span: piece.span, kind: None, role: None, outline: Outline::default() };
            checked.statements.push(statement);
            let outcome = self.parse_piece(text, piece, sandbox.session(), &types).and_then(|parsed| {
                parse::note_type(&parsed.statement, &mut types);
                self.check_statement(&parsed, &mut sandbox, checked.statements.last_mut()).map_err(|e| {
                    match parsed.text == piece.text {
                        true => e.told_in(&parsed.text, parsed.begin).shifted(parsed.span.start),
                        // Its places are those of the text with the variables put in.
                        false => e.only_at(piece.span),
                    }
                })
            });
            if let Err(e) = outcome {
                if !lost.iter().any(|name| e.message().contains(name.as_str())) {
                    checked.add(text, &e, piece.span);
                }
                lost.extend(created_name(piece.text));
            }
            if checked.diagnostics.len() >= DIAGNOSTICS_MAX {
                break;
            }
        }
        checked
    }

    fn check_statement(
        &self,
        parsed: &Parsed,
        sandbox: &mut Sandbox<'_>,
        into: Option<&mut CheckedStatement>,
    ) -> crate::error::Result<()> {
        let intent = Intent::of(parsed, &self.inner.pushes);
        let (kind, role) = (access::what(&parsed.statement), intent.required_role());
        self.check_named(sandbox.session(), &intent)?;
        // Files are those of the client, which has to find out by itself.
        let is_of_client = matches!(parsed.statement, Statement::Copy(_) | Statement::RunScript(_));
        let outline = if is_of_client { Ok(Outline::default()) } else { sandbox.take(parsed) };
        if let Some(statement) = into {
            (statement.kind, statement.role) = (Some(kind), Some(role));
            statement.outline = outline.as_ref().ok().cloned().unwrap_or_default();
        }
        outline.map(drop)
    }
}

impl Checked {
    fn add(&mut self, text: &str, error: &Error, whole: Span) {
        let span = error.span().unwrap_or(whole);
        self.diagnostics.push(Diagnostic {
            span,
            severity: Severity::Error,
            code: error.code(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            fix: error.hint().and_then(|hint| fix(text, span, hint)),
        });
    }
}

impl Diagnostic {
    /// The same as an error.
    pub fn error(&self) -> Error {
        let mut error = Error::statement(self.message.clone()).with_code(self.code).at(self.span);
        if let Some(detail) = &self.detail {
            error = error.with_detail(detail.clone());
        }
        match &self.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }
}

fn unfinished(span: Span) -> Diagnostic {
    Diagnostic {
        span,
        severity: Severity::Warning,
        code: 0,
        message: "the statements from here on are not checked".to_owned(),
        detail: Some("the text is too long to be checked at once".to_owned()),
        hint: None,
        fix: None,
    }
}

/// The change that a hint proposes. The hint names what was meant; the word that it replaces is the one at the place of the
/// error, or directly before it, that is spelled almost like that.
fn fix(text: &str, span: Span, hint: &str) -> Option<(Span, String)> {
    let meant = hint.strip_prefix("did you mean ")?.strip_suffix('?')?.trim_matches('\'');
    // Of `s.NAME`, only the last part is replaced where the text has only one.
    let qualified = meant.contains('.') && is_name(meant.split('.').next()?);
    let last = if qualified { meant.rsplit('.').next()? } else { meant };
    let start = span.start.min(text.len());
    let inside: Vec<Span> = words_of(text).filter(|word| word.start >= start && word.end <= span.end).collect();
    let is_like = |word: &&Span| {
        let said = &text[word.start..word.end];
        !said.eq_ignore_ascii_case(last) && nearest(said, std::iter::once(last)).is_some()
    };
    let mut like = inside.iter().filter(is_like);
    let word = match (like.next(), like.next()) {
        (Some(only), None) => *only,
        (Some(_), Some(_)) => return None,
        _ => words_of(text).take_while(|word| word.end <= start).last().filter(|word| is_like(&word))?,
    };
    let said = &text[word.start..word.end];
    let is_lower = !said.chars().any(char::is_uppercase);
    let is_keyword = KEYWORDS.binary_search(&last).is_ok();
    let name = if is_name(last) && !is_keyword { written(last) } else { last.to_owned() };
    let fits = is_lower && !name.starts_with('`') && last.chars().all(|c| !c.is_lowercase());
    Some((word, if fits { name.to_lowercase() } else { name }))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_char)
}

/// The name in `CREATE ... STREAM|TABLE [IF NOT EXISTS] name`, of a statement that may be wrong.
fn created_name(text: &str) -> Option<String> {
    let mut words = words_of(text).map(|word| text[word.start..word.end].to_uppercase());
    if words.next()? != "CREATE" {
        return None;
    }
    words.find(|word| word == "STREAM" || word == "TABLE")?;
    words.find(|word| !matches!(word.as_str(), "IF" | "NOT" | "EXISTS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(text: &str, at: &str, hint: &str) -> String {
        let start = text.find(at).unwrap();
        match fix(text, Span::new(start, start + at.len()), hint) {
            Some((span, put)) => format!("{}{put}{}", &text[..span.start], &text[span.end..]),
            None => "-".to_owned(),
        }
    }

    #[test]
    fn a_fix_replaces_the_word_that_was_mistyped() {
        let hint = "did you mean SPEED?";
        assert_eq!(fixed("select sped from r", "sped", hint), "select speed from r");
        assert_eq!(fixed("SELECT SPED FROM r", "SPED", hint), "SELECT SPEED FROM r");
        assert_eq!(fixed("select r.sped from r", "r.sped", hint), "select r.speed from r");
        assert_eq!(
            fixed("select sped from r", "select sped from r", hint),
            "select speed from r",
            "the whole statement"
        );
        assert_eq!(fixed("selct * from r", "*", "did you mean SELECT?"), "select * from r", "the word before");
        assert_eq!(fixed("select '한국', sped from r", "sped", hint), "select '한국', speed from r");
        assert_eq!(fixed("select a from r", "a", hint), "-");
        assert_eq!(fixed("select sped + spee from r", "sped + spee", hint), "-", "either may be meant");
        assert_eq!(fixed("set 'auto.ofset.reset'", "auto.ofset.reset", "say it otherwise"), "-");
    }

    #[test]
    fn the_name_of_a_wrong_statement_is_found() {
        assert_eq!(created_name("create or replace stream if not exists a_b (x nonsense"), Some("A_B".to_owned()));
        assert_eq!(created_name("CREATE TYPE t AS"), None);
    }
}
