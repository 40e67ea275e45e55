//! Statements one after another, from `-e`, a file or a pipe. The first that fails ends it. A line with a backslash means what
//! it does at the prompt (`repl::words`), as far as it needs none.

use super::Session;
use super::args::Format;
use super::copy::{Copied, Plan};
use super::interrupt::Interrupt;
use super::progress::in_words;
use super::render::{Screen, Shown};
use super::repl::words::{self, Expand, Meta};
use super::report::{FAILED, INTERRUPTED, OK, Style, is_broken_pipe};
use crate::error::{Error, Result, Span};
use crate::parse::statement::{CopyTo, Statement};
use crate::parse::{CustomTypes, Piece, check_comments, parse_piece, split};
use crate::present::Outcome;
use crate::types::clock::SystemClock;
use clap::ValueEnum;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

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
    let (width, is_json) = (screen.width, screen.format == Format::Json);
    let style = Style { color, width, is_json, file: screen.file };
    if let Err(error) = check_comments(text) {
        errors.write_all(style.written(&error, text).as_bytes())?;
        errors.flush()?;
        return Ok(FAILED);
    }
    let mut script = Script { session, text, errors, interrupt, timing: false, into: None };
    for entry in entries(text) {
        if interrupt.asked() {
            return Ok(INTERRUPTED);
        }
        let done = match entry {
            Entry::Statement(piece) if leaves(piece.text) => return Ok(OK),
            Entry::Statement(piece) => script.statement(piece, screen),
            Entry::Word(word) => match words::meta(word.text) {
                Some(Meta::Leave) => return Ok(OK),
                Some(said) => script.word(said, word, screen),
                None => Ok(false),
            },
        };
        match done {
            Ok(false) => {}
            Ok(true) => return Ok(INTERRUPTED),
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                script.errors.write_all(style.written(&error, text).as_bytes())?;
                script.errors.flush()?;
                return Ok(FAILED);
            }
        }
    }
    Ok(OK)
}

/// A part of a script.
enum Entry<'t> {
    Statement(Piece<'t>),
    /// A line that begins with a backslash, where a statement could.
    Word(Piece<'t>),
}

/// The parts of a script, in order.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let (mut all, mut from) = (Vec::new(), 0);
    'pieces: loop {
        for mut piece in split(&text[from..]) {
            piece.span = Span::new(from + piece.span.start, from + piece.span.end);
            if !piece.text.starts_with('\\') {
                all.push(Entry::Statement(piece));
                continue;
            }
            // Such a word ends with its line, not with a semicolon.
            let start = piece.span.start;
            let end = text[start..].find('\n').map_or(text.len(), |n| start + n);
            all.push(Entry::Word(Piece { text: &text[start..end], span: Span::new(start, end), ..piece }));
            from = end;
            continue 'pieces;
        }
        return all;
    }
}

/// A script that is being run.
struct Script<'a> {
    session: &'a mut Session,
    text: &'a str,
    errors: &'a mut dyn Write,
    interrupt: &'a Interrupt,
    timing: bool,
    /// `\o`
    into: Option<File>,
}

impl Script<'_> {
    /// Runs a statement; returns whether the user stopped it.
    fn statement(&mut self, piece: Piece<'_>, screen: &mut Screen<'_>) -> Result<bool> {
        if let Some(Meta::Go { statement, file, expanded }) = words::meta(piece.text) {
            let at = piece.span.start;
            let sent = Piece { text: statement, span: Span::new(at, at + statement.len()), ..piece };
            let opened = file.map(File::create).transpose().map_err(|e| unwritable(file.unwrap_or_default(), &e))?;
            let (format, into) = (screen.format, self.into.take());
            if expanded {
                screen.format = Format::Vertical;
            }
            self.into = opened;
            let done = self.statement(sent, screen);
            (screen.format, self.into) = (format, into);
            return done;
        }
        let clock = SystemClock::shared();
        let begin = clock.monotonic();
        let shown = match &self.into {
            None => one(self.session, self.text, piece, screen, self.interrupt)?,
            Some(file) => {
                let mut out = BufWriter::new(file);
                let mut options = screen.options;
                options.color = false;
                let mut screen = Screen { options, ..Screen::new(&mut out, screen.format, None) };
                let shown = one(self.session, self.text, piece, &mut screen, self.interrupt)?;
                out.flush()?;
                shown
            }
        };
        if !screen.options.quiet || shown.interrupted {
            remarks(&shown, self.errors)?;
        }
        if self.timing {
            writeln!(self.errors, "Time: {:.3} ms", (clock.monotonic() - begin).as_secs_f64() * 1_000.0)?;
        }
        Ok(shown.interrupted)
    }

    /// What a word with a backslash says; returns whether the user stopped it.
    fn word(&mut self, said: Meta<'_>, word: Piece<'_>, screen: &mut Screen<'_>) -> Result<bool> {
        let wrong = |why: String| Err(Error::statement(why).at(word.span));
        match said {
            Meta::Timing(wanted) => self.timing = wanted.unwrap_or(!self.timing),
            Meta::Echo(text) => writeln!(screen.out, "{text}")?,
            Meta::Expand(expand) => {
                let is_vertical = screen.format == Format::Vertical;
                screen.options.expand_wide = expand == Expand::Auto;
                screen.format = match expand {
                    Expand::Always => Format::Vertical,
                    Expand::Flip if !is_vertical => Format::Vertical,
                    Expand::Flip | Expand::Never | Expand::Auto => Format::Table,
                };
            }
            Meta::Output(name) => match Format::from_str(name, true) {
                Ok(format) => screen.format = format,
                Err(_) => return wrong(format!("unknown output format {name}")),
            },
            Meta::Into(None) => self.into = None,
            Meta::Into(Some(file)) => self.into = Some(File::create(file).map_err(|e| unwritable(file, &e))?),
            Meta::Say(statements) => {
                for piece in split(&statements) {
                    let shown = one(self.session, &statements, piece, screen, self.interrupt)
                        .map_err(|e| e.only_at(word.span))?;
                    if !screen.options.quiet {
                        remarks(&shown, self.errors)?;
                    }
                    if shown.interrupted {
                        return Ok(true);
                    }
                }
            }
            Meta::Shell(command) => {
                screen.out.flush()?;
                let ended = Command::new("sh").args(["-c", command]).status();
                let ended = ended.map_err(|e| Error::io("no shell can be started").with_detail(e.to_string()))?;
                if !ended.success() {
                    return wrong(format!("the command ended with {ended}"));
                }
            }
            Meta::Wrong(why) => return wrong(why),
            Meta::Unknown(name) => return wrong(words::unknown(name)),
            _ => return wrong(format!("{} works at a prompt only", word.text.split_whitespace().next().unwrap_or(""))),
        }
        Ok(false)
    }
}

fn unwritable(file: &str, error: &std::io::Error) -> Error {
    Error::io(format!("cannot write {file}")).with_detail(error.to_string())
}

/// What is said of a result beside it.
pub(super) fn remarks(shown: &Shown, out: &mut dyn Write) -> Result<()> {
    for message in &shown.messages {
        writeln!(out, "{message}")?;
    }
    for note in &shown.notes {
        writeln!(out, "note: {note}")?;
    }
    if let Some(scanned) = &shown.scanned {
        writeln!(out, "{scanned}")?;
    }
    Ok(())
}

/// A line that ends a prompt ends what is piped into one.
fn leaves(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default().trim();
    ["exit", "quit"].iter().any(|word| line.eq_ignore_ascii_case(word))
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
