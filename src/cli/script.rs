//! Statements one after another, from `-e`, a file or a pipe. The first that fails ends it.

use super::Session;
use super::args::Format;
use super::copy::{Copied, Plan};
use super::interrupt::Interrupt;
use super::progress::in_words;
use super::render::{Screen, Shown};
use super::report::{FAILED, INTERRUPTED, OK, Style, is_broken_pipe};
use crate::error::{Error, Result};
use crate::parse::statement::{CopyTo, Statement};
use crate::parse::{CustomTypes, Piece, check_comments, parse_piece, split};
use crate::present::Outcome;
use std::io::Write;
use std::path::Path;

/// Scripts that may run one another.
const SCRIPT_DEPTH_MAX: usize = 8;

/// Runs all statements of `text`; results go to `screen`, errors to `errors`. Returns the exit code.
pub fn run(
    session: &mut Session,
    text: &str,
    screen: &mut Screen<'_>,
    errors: &mut dyn Write,
    color: bool,
    interrupt: &Interrupt,
) -> Result<u8> {
    let (width, quiet) = (screen.width, screen.options.quiet);
    let style = Style { color, width, is_json: screen.format == Format::Json, file: screen.file };
    if let Err(error) = check_comments(text) {
        errors.write_all(style.written(&error, text).as_bytes())?;
        errors.flush()?;
        return Ok(FAILED);
    }
    for piece in split(text) {
        if interrupt.asked() {
            return Ok(INTERRUPTED);
        }
        if leaves(piece.text) {
            return Ok(OK);
        }
        match one(session, text, piece, screen, interrupt) {
            Ok(shown) => {
                if !quiet {
                    remarks(&shown, errors)?;
                }
                if shown.interrupted {
                    return Ok(INTERRUPTED);
                }
            }
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                errors.write_all(style.written(&error, text).as_bytes())?;
                errors.flush()?;
                return Ok(FAILED);
            }
        }
    }
    Ok(OK)
}

/// What is said of a result beside it.
fn remarks(shown: &Shown, errors: &mut dyn Write) -> Result<()> {
    for message in &shown.messages {
        writeln!(errors, "{message}")?;
    }
    for note in &shown.notes {
        writeln!(errors, "note: {note}")?;
    }
    if let Some(scanned) = &shown.scanned {
        writeln!(errors, "{scanned}")?;
    }
    Ok(())
}

/// A line that ends a prompt ends what is piped into one.
fn leaves(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default().trim();
    ["exit", "quit", "\\q"].iter().any(|word| line.eq_ignore_ascii_case(word))
}

/// One statement. The error's place counts in the whole text.
pub(super) fn one(
    session: &mut Session,
    text: &str,
    piece: Piece<'_>,
    screen: &mut Screen<'_>,
    interrupt: &Interrupt,
) -> Result<Shown> {
    // Read here first, so that a syntax error names the line of the whole text; what variables make of it, only the
    // session knows.
    let parsed = parse_piece(text, piece, &CustomTypes::new());
    let shift = |e: Error| e.shifted(piece.span.start);
    match parsed.map(|parsed| parsed.statement) {
        Err(error) if !piece.text.contains("${") && error.message().starts_with("line ") => return Err(error),
        Ok(Statement::Copy(copy)) => return copied(session, &copy, screen, interrupt).map_err(shift),
        Ok(Statement::RunScript(file)) => {
            return scripted(session, &file, screen, interrupt).map_err(|e| e.only_at(piece.span));
        }
        _ => {}
    }
    let outcome = (session.execute)(piece.text).map_err(shift)?;
    screen.show(outcome, &|| interrupt.asked()).map_err(shift)
}

/// COPY: the rows go into a file, their number to the screen.
fn copied(session: &mut Session, copy: &CopyTo, screen: &mut Screen<'_>, interrupt: &Interrupt) -> Result<Shown> {
    let plan = Plan::read(copy)?;
    let answer = (session.execute)(&copy.query.value).map_err(|e| e.shifted(copy.query.span.start))?;
    let Copied { message, rows } = plan.carry_out(answer, &|| interrupt.asked())?;
    let scanned = rows.scanned().as_ref().map(in_words);
    match message {
        Some(message) => {
            let shown = screen.show(Outcome::Message(message), &|| false)?;
            Ok(Shown { scanned, ..shown })
        }
        None => Ok(Shown { interrupted: true, scanned, ..Shown::default() }),
    }
}

/// RUN SCRIPT: the statements of a file, one after another; the first that fails ends it.
fn scripted(session: &mut Session, file: &str, screen: &mut Screen<'_>, interrupt: &Interrupt) -> Result<Shown> {
    if session.depth >= SCRIPT_DEPTH_MAX {
        return Err(Error::statement(format!("scripts nest deeper than {SCRIPT_DEPTH_MAX} levels")));
    }
    let text = super::read(Path::new(file))?;
    check_comments(&text)?;
    let mut all = Shown::default();
    session.depth += 1;
    for piece in split(&text) {
        match one(session, &text, piece, screen, interrupt) {
            Ok(shown) => {
                all.add(shown);
            }
            Err(error) => {
                session.depth -= 1;
                let line = text[..piece.span.start].matches('\n').count() + 1;
                let message = format!("{file}:{line}: {}", error.message());
                return Err(error.reworded(message));
            }
        }
        if all.interrupted || interrupt.asked() {
            all.interrupted = true;
            break;
        }
    }
    session.depth -= 1;
    Ok(all)
}
