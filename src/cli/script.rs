//! Statements one after another, from `-e`, a file or a pipe. The first that fails ends it.

use super::Session;
use super::fault::{FAILED, INTERRUPTED, OK, is_broken_pipe, rendered};
use super::interrupt::Interrupt;
use super::render::{Screen, Shown};
use crate::error::{Error, Result};
use crate::parse::{CustomTypes, Piece, parse_piece, split};
use std::io::Write;

/// Runs all statements of `text`; answers go to `screen`, errors to `errors`. Answers the exit code.
pub fn run(
    session: &mut Session,
    text: &str,
    screen: &mut Screen<'_>,
    errors: &mut dyn Write,
    color: bool,
    interrupt: &Interrupt,
) -> Result<u8> {
    for piece in split(text) {
        if interrupt.asked() {
            return Ok(INTERRUPTED);
        }
        match one(session, text, piece, screen, interrupt) {
            Ok(shown) => {
                for note in &shown.notes {
                    writeln!(errors, "note: {note}")?;
                }
                if let Some(scanned) = &shown.scanned {
                    writeln!(errors, "{scanned}")?;
                }
                if shown.interrupted {
                    return Ok(INTERRUPTED);
                }
            }
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                errors.write_all(rendered(&error, text, color).as_bytes())?;
                errors.flush()?;
                return Ok(FAILED);
            }
        }
    }
    Ok(OK)
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
    if !piece.text.contains("${")
        && let Err(error) = parse_piece(text, piece, &CustomTypes::new())
        && error.message().starts_with("line ")
    {
        return Err(error);
    }
    let shift = |e: Error| e.shifted(piece.span.start);
    let outcome = (session.execute)(piece.text).map_err(shift)?;
    screen.show(outcome, &|| interrupt.asked()).map_err(shift)
}
