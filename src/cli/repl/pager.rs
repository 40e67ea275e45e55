//! Answers that are taller than the terminal go through a pager, as psql has it: `$PAGER`, else `less`.
//!
//! A result is held back until it is known to be taller or has ended, so that a short one is simply written. Only what ends
//! by itself is paged; rows that keep coming never are. A pager that is not there or that its reader leaves early is no
//! failure: the result is written without it, or the user has seen enough.

use crate::cli::interrupt::Interrupt;
use crate::cli::report::is_broken_pipe;
use crate::error::Result;
use std::cell::Cell;
use std::fmt::Debug;
use std::io::{ErrorKind, Write};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use unicode_width::UnicodeWidthStr;

/// More bytes than fit a pipe: once they are written, the pager is reading.
const PIPE_BYTES: usize = 256 * 1024;

/// The pager where `$PAGER` names none.
const USUAL: &str = "less";

/// What git gives less, too, and S: leave if it fits, keep colours, leave the text on the screen, do not fold long lines.
const LESS: &str = "LESS=${LESS-FRSX}; export LESS;";

/// The shell's exit codes for a program that does not exist or cannot be started.
const NOT_THERE: [i32; 2] = [126, 127];

/// Columns and lines of a terminal.
pub(crate) type Size = (usize, usize);

/// Shows results that are taller than the terminal.
pub struct Pager {
    /// A shell's command; `None` = none is wanted.
    command: Option<String>,
    size: fn() -> Size,
    interrupt: Interrupt,
    is_on: bool,
    /// It owns the terminal now: nothing else writes there.
    has_terminal: Rc<Cell<bool>>,
}

impl Debug for Pager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pager({:?}, {})", self.command, self.is_on)
    }
}

impl Pager {
    /// `named` is `$PAGER`: empty = no pager.
    pub(crate) fn new(named: Option<&str>, size: fn() -> Size, interrupt: Interrupt) -> Pager {
        let command = match named.map(str::trim) {
            None => Some(format!("command -v {USUAL} >/dev/null || exit {}; {LESS} exec {USUAL}", NOT_THERE[1])),
            Some("") => None,
            Some(named) => Some(format!("{LESS} {named}")),
        };
        Pager { is_on: command.is_some(), command, size, interrupt, has_terminal: Rc::default() }
    }

    /// Columns of the terminal.
    pub(crate) fn columns(&self) -> usize {
        (self.size)().0
    }

    /// Turns it on or off, or toggles it; returns the new state in words.
    pub(crate) fn switch(&mut self, wanted: Option<bool>) -> &'static str {
        match (&self.command, wanted.unwrap_or(!self.is_on)) {
            (None, true) => "no pager: PAGER is empty",
            (_, wanted) => {
                self.is_on = wanted;
                if wanted { "pager is used for long output" } else { "pager usage is off" }
            }
        }
    }

    /// Whether the pager has the terminal.
    pub(crate) fn has_terminal(&self) -> Rc<Cell<bool>> {
        self.has_terminal.clone()
    }

    /// Shows what is written; `None` = its reader left before the end.
    pub(crate) fn show<T>(
        &self,
        out: &mut dyn Write,
        write: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<Option<T>> {
        if !self.is_on {
            return write(out).map(Some);
        }
        let mut page = Page { pager: self, out, held: Vec::new(), size: (self.size)(), lines: 0, state: State::Held };
        let written = write(&mut page);
        let left = matches!(page.state, State::Left);
        page.finish()?;
        match written {
            Err(error) if left && is_broken_pipe(&error) => Ok(None),
            written => written.map(Some),
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let command = self.command.as_deref().unwrap_or_default();
        Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).spawn()
    }
}

enum State {
    /// It may fit.
    Held,
    /// The pager reads.
    Paged(Child),
    /// There is no pager.
    Plain,
    /// The pager's reader has enough.
    Left,
}

/// A result that is being shown.
struct Page<'a> {
    pager: &'a Pager,
    out: &'a mut dyn Write,
    /// What would be lost without a pager.
    held: Vec<u8>,
    size: Size,
    /// Line ends in it.
    lines: usize,
    state: State,
}

impl Page<'_> {
    /// Gives the pager what was held back.
    fn open(&mut self) -> std::io::Result<()> {
        let Ok(mut child) = self.pager.start() else { return self.plain() };
        self.pager.has_terminal.set(true);
        self.pager.interrupt.lend();
        let given = child.stdin.as_mut().map_or(Ok(()), |input| input.write_all(&self.held));
        self.state = State::Paged(child);
        if given.is_err() { self.close() } else { Ok(()) }
    }

    /// Waits until the reader has left; what no pager has shown is written without one.
    fn close(&mut self) -> std::io::Result<()> {
        let State::Paged(mut child) = std::mem::replace(&mut self.state, State::Left) else { return Ok(()) };
        // Its input ends here.
        drop(child.stdin.take());
        let ended = child.wait();
        self.pager.has_terminal.set(false);
        self.pager.interrupt.take_back();
        match ended.map(|status| status.code()) {
            Ok(Some(code)) if NOT_THERE.contains(&code) => self.plain(),
            _ => Ok(()),
        }
    }

    /// Remembers what went into the pipe, until it is certain that the pager reads.
    fn keep(&mut self, bytes: &[u8]) {
        if self.held.len() > PIPE_BYTES {
            self.held = Vec::new();
        } else if !self.held.is_empty() {
            self.held.extend_from_slice(bytes);
        }
    }

    fn plain(&mut self) -> std::io::Result<()> {
        self.state = State::Plain;
        self.out.write_all(&std::mem::take(&mut self.held))
    }

    /// The held lines do not fit the terminal with the prompt below.
    fn is_tall(&self) -> bool {
        let (columns, lines) = self.size;
        let rows = |line: &str| line.width().div_ceil(columns.max(1)).max(1);
        String::from_utf8_lossy(&self.held).lines().map(rows).sum::<usize>() >= lines
    }

    fn finish(mut self) -> std::io::Result<()> {
        if matches!(self.state, State::Held) {
            match self.is_tall() {
                true => self.open()?,
                false => self.plain()?,
            }
        }
        self.close()?;
        self.out.flush()
    }
}

impl Write for Page<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.state {
            State::Held => {
                self.held.extend_from_slice(bytes);
                self.lines += memchr::memchr_iter(b'\n', bytes).count();
                if self.lines >= self.size.1 {
                    self.open()?;
                }
                Ok(bytes.len())
            }
            State::Paged(child) => {
                let input = child.stdin.as_mut().ok_or(ErrorKind::BrokenPipe)?;
                match input.write(bytes) {
                    Ok(written) => {
                        self.keep(&bytes[..written]);
                        Ok(written)
                    }
                    Err(_) => {
                        self.close()?;
                        self.write(bytes)
                    }
                }
            }
            State::Plain => self.out.write(bytes),
            State::Left => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.state {
            State::Paged(child) => child.stdin.as_mut().map_or(Ok(()), |input| input.flush()),
            State::Plain => self.out.flush(),
            State::Held | State::Left => Ok(()),
        }
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // After an error here the pager keeps what it has.
        let _ = self.close();
    }
}
