//! What the prompt does about what was entered: words about itself, statements, and both again and again.

use super::editor::Words;
use super::words::{Expand, Meta, meta, unknown};
use super::{Line, Prompt, syntax, terminal, usual_editor};
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::render::Screen;
use crate::cli::report::{Style, is_broken_pipe};
use crate::cli::script;
use crate::error::{Error, Result};
use crate::parse::split;
use crate::present::Outcome;
use crate::types::clock::SystemClock;
use crate::types::temporal::timestamp_text;
use clap::ValueEnum;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Command;
use std::time::Duration;

/// How often a wait looks for Ctrl-C.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

const HELP: &str = "\
Statements end with a semicolon and may span lines.
  help, \\?          this text             exit, quit, \\q   leave (also Ctrl-D)
  \\h [STATEMENT]    how one is written    version          the version
  \\d [NAME]         streams and tables, or the columns of one
  \\ds \\dt \\dq \\dT   streams, tables, queries, topics
  \\df [NAME]        functions, or how one is called
  \\x [on|off|auto]  one value a line; auto: where a row does not fit
  output [FORMAT]   table, vertical, json, csv, tsv, markdown
  \\timing [on|off]  the time of each statement
  \\g [FILE] \\gx     run a statement or the last again; \\gx: a value a line
  \\watch [SECONDS]  the same, again and again until Ctrl-C
  \\e [FILE]         edit the last statement in $EDITOR
  \\o [FILE]         write results to a file; without one to the terminal again
  \\copy NAME TO FILE, \\copy (SELECT ...) TO FILE    rows into a file
  \\i FILE           run the statements of a file
  \\c [PLACE] \\l     go to a URL, brokers' HOST:PORT or a data directory; list
  \\! COMMAND        run a command of the shell    \\echo TEXT
  \\pset pager       $PAGER (else less) for what is taller than a screen, or not
  history, \\s       what was entered      clear            empty the screen
Queries that were created keep their place and continue at the next start.
Ctrl-C stops a running query or drops the line. TAB completes words and names.";

impl Prompt<'_> {
    /// Runs what was entered; returns false to exit.
    pub(super) fn enter(&mut self, session: &mut Session, text: &str, editor: &mut Line) -> Result<bool> {
        match meta(text) {
            Some(Meta::Leave) => return Ok(false),
            Some(Meta::Say(statements)) => self.sent(session, &statements, editor)?,
            Some(Meta::Go { statement, file, expanded }) => self.go(session, statement, file, expanded, editor)?,
            Some(Meta::Watch { statement, every }) => self.watch(session, statement, every)?,
            Some(Meta::Connect(Some(place))) => self.connect(session, place, editor)?,
            Some(Meta::Connect(None)) => writeln!(self.out, "{}", session.greeting)?,
            Some(Meta::Places) => self.places(session)?,
            Some(other) => self.about_itself(other, editor)?,
            None => {
                text.trim().clone_into(&mut self.last);
                self.sent(session, text, editor)?;
            }
        }
        self.out.flush()?;
        Ok(true)
    }

    fn about_itself(&mut self, word: Meta<'_>, editor: &mut Line) -> Result<()> {
        match word {
            Meta::Help => self.tall(|out| Ok(writeln!(out, "{HELP}")?))?,
            Meta::Version => writeln!(self.out, "tidegate {}", env!("CARGO_PKG_VERSION"))?,
            Meta::Clear => editor.clear_screen().map_err(terminal)?,
            Meta::History => self.tall(|out| {
                let mut entries = editor.history().iter().enumerate();
                Ok(entries.try_for_each(|(n, entry)| writeln!(out, "{:>5}  {entry}", n + 1))?)
            })?,
            Meta::Syntax(wanted) => self.tall(|out| Ok(writeln!(out, "{}", syntax::forms(wanted))?))?,
            Meta::Output(name) => self.set_output(name)?,
            Meta::Expand(expand) => self.expand(expand)?,
            Meta::Pager(wanted) => {
                let said = match &mut self.pager {
                    Some(pager) => pager.switch(wanted),
                    None => "no pager: the output is not a terminal",
                };
                writeln!(self.out, "{said}")?;
            }
            Meta::Timing(wanted) => {
                self.timing = wanted.unwrap_or(!self.timing);
                writeln!(self.out, "timing is {}", if self.timing { "on" } else { "off" })?;
            }
            Meta::Into(file) => self.into(file)?,
            Meta::Edit(file) => self.edit(file)?,
            Meta::Shell(command) => self.shell(command)?,
            Meta::Echo(text) => writeln!(self.out, "{text}")?,
            Meta::Wrong(why) => writeln!(self.out, "{why}")?,
            Meta::Unknown(word) => writeln!(self.out, "{}", unknown(word))?,
            // Done by the caller.
            Meta::Leave | Meta::Say(_) | Meta::Go { .. } | Meta::Watch { .. } | Meta::Connect(_) | Meta::Places => {}
        }
        Ok(())
    }

    /// Writes what may be taller than the terminal.
    fn tall(&mut self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        match &self.pager {
            Some(pager) => pager.show(&mut *self.out, write).map(|_| ()),
            None => write(&mut *self.out),
        }
    }

    fn set_output(&mut self, name: &str) -> Result<()> {
        let formats: Vec<String> = Format::value_variants()
            .iter()
            .filter_map(|f| Some(f.to_possible_value()?.get_name().to_owned()))
            .collect();
        match Format::from_str(name, true) {
            _ if name.is_empty() => writeln!(self.out, "output formats: {}", formats.join(", "))?,
            Ok(format) => {
                self.format = format;
                writeln!(self.out, "output is {}", name.to_lowercase())?;
            }
            Err(_) => writeln!(self.out, "unknown output format {name}, expected one of {}", formats.join(", "))?,
        }
        Ok(())
    }

    fn expand(&mut self, expand: Expand) -> Result<()> {
        let is_vertical = self.format == Format::Vertical;
        let (format, expand_wide, said) = match expand {
            Expand::Auto => (Format::Table, true, "output is vertical where a row does not fit"),
            Expand::Flip if is_vertical => (Format::Table, false, "output is table"),
            Expand::Never => (Format::Table, false, "output is table"),
            Expand::Flip | Expand::Always => (Format::Vertical, false, "output is vertical"),
        };
        (self.format, self.options.expand_wide) = (format, expand_wide);
        Ok(writeln!(self.out, "{said}")?)
    }

    /// `\o`: where results go.
    fn into(&mut self, file: Option<&str>) -> Result<()> {
        match file.map(|name| (name, File::create(name))) {
            None => {
                self.into = None;
                writeln!(self.out, "results are shown here")?;
            }
            Some((name, Ok(file))) => {
                self.into = Some(file);
                writeln!(self.out, "results go to {name}; \\o shows them here again")?;
            }
            Some((name, Err(e))) => writeln!(self.out, "cannot write {name}: {e}")?,
        }
        Ok(())
    }

    /// `\!`
    fn shell(&mut self, command: &str) -> Result<()> {
        if command.is_empty() {
            return Ok(writeln!(self.out, "\\! takes a command")?);
        }
        self.out.flush()?;
        self.run(Command::new("sh").args(["-c", command]))
    }

    /// Runs a program that has the terminal until it ends.
    fn run(&mut self, command: &mut Command) -> Result<()> {
        self.interrupt.lend();
        let ended = command.status();
        self.interrupt.take_back();
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Ok(writeln!(self.out, "it ended with {status}")?),
            Err(e) => Ok(writeln!(self.out, "cannot be started: {e}")?),
        }
    }

    /// `\e`: what is saved in the editor is what the next line begins with.
    fn edit(&mut self, file: Option<&str>) -> Result<()> {
        let fault = |e: std::io::Error| Error::io("cannot edit the statement").with_detail(e.to_string());
        let own = tempfile::Builder::new().prefix("tidegate-").suffix(".sql").tempfile().map_err(fault)?;
        let path = match file {
            Some(file) => std::path::PathBuf::from(file),
            None => {
                std::fs::write(own.path(), format!("{}\n", self.last)).map_err(fault)?;
                own.path().to_owned()
            }
        };
        self.out.flush()?;
        // The variable may hold options: EDITOR="code --wait".
        let command = format!("{} \"$1\"", usual_editor());
        self.run(Command::new("sh").args(["-c", &command, "sh"]).arg(&path))?;
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim_end().clone_into(&mut self.typed),
            Err(e) => writeln!(self.out, "cannot read {}: {e}", path.display())?,
        }
        Ok(())
    }

    /// `\c`: another session takes the place of this one.
    fn connect(&mut self, session: &mut Session, place: &str, editor: &mut Line) -> Result<()> {
        match (self.connect)(place) {
            Ok(mut other) => {
                // The history is the user's, wherever it was typed.
                other.history = session.history.take();
                other.history_before = session.history_before.take();
                *session = other;
                writeln!(self.out, "{}", session.greeting)?;
                refresh(editor, session);
            }
            Err(error) => self.failed(&error, "")?,
        }
        Ok(())
    }

    /// `\l`: what another product calls a database is a place here: a log with its service.
    fn places(&mut self, session: &Session) -> Result<()> {
        let profiles = match (self.profiles)() {
            Ok(profiles) => profiles,
            Err(error) => return self.failed(&error, ""),
        };
        let width = self.pager.as_ref().map(|pager| pager.columns());
        let mut screen = Screen::new(&mut *self.out, self.format, width);
        screen.show(places(&session.place, profiles), &|| false)?;
        Ok(writeln!(self.out, "\\c PLACE goes to another: a data directory, HOST:PORT of brokers, or a server's URL")?)
    }

    fn failed(&mut self, error: &Error, text: &str) -> Result<()> {
        let width = self.pager.as_ref().map(|pager| pager.columns());
        let style = Style { color: self.options.color, width, ..Style::default() };
        Ok(self.out.write_all(style.written(error, text).as_bytes())?)
    }

    /// `\g` and `\gx`.
    fn go(
        &mut self,
        session: &mut Session,
        statement: &str,
        file: Option<&str>,
        expanded: bool,
        editor: &mut Line,
    ) -> Result<()> {
        let Some(text) = self.or_last(statement)? else { return Ok(()) };
        let (format, into) = (self.format, self.into.take());
        if expanded {
            self.format = Format::Vertical;
        }
        let opened = file.map(File::create).transpose();
        let done = match opened {
            Ok(opened) => {
                self.into = opened.or(into.as_ref().and_then(|file| file.try_clone().ok()));
                self.sent(session, &text, editor)
            }
            Err(e) => Ok(writeln!(self.out, "cannot write {}: {e}", file.unwrap_or_default())?),
        };
        (self.format, self.into) = (format, into);
        done
    }

    /// `\watch`
    fn watch(&mut self, session: &mut Session, statement: &str, every: Duration) -> Result<()> {
        let Some(text) = self.or_last(statement)? else { return Ok(()) };
        let clock = SystemClock::shared();
        self.interrupt.clear();
        loop {
            writeln!(self.out, "{}Z (every {} s)", timestamp_text(clock.now_ms()), every.as_secs_f64())?;
            if !self.statements(session, &text)? {
                break;
            }
            self.out.flush()?;
            let end = clock.monotonic() + every;
            while clock.monotonic() < end && !self.interrupt.asked() {
                clock.sleep(LOOK_INTERVAL.min(end.saturating_sub(clock.monotonic())));
            }
            if self.interrupt.asked() {
                break;
            }
        }
        self.interrupt.clear();
        Ok(())
    }

    /// The statement, or the last one, which becomes the last one.
    fn or_last(&mut self, statement: &str) -> Result<Option<String>> {
        if !statement.is_empty() {
            statement.clone_into(&mut self.last);
        }
        if self.last.is_empty() {
            writeln!(self.out, "there is no statement yet")?;
        }
        Ok(Some(self.last.clone()).filter(|last| !last.is_empty()))
    }

    /// Runs statements, and learns the names that there are then.
    fn sent(&mut self, session: &mut Session, text: &str, editor: &mut Line) -> Result<()> {
        self.interrupt.clear();
        self.statements(session, text)?;
        self.interrupt.clear();
        refresh(editor, session);
        Ok(())
    }

    /// Runs statements; false = one of them failed or was stopped.
    fn statements(&mut self, session: &mut Session, text: &str) -> Result<bool> {
        let clock = SystemClock::shared();
        for piece in split(text) {
            let begin = clock.monotonic();
            let progress = self.progress.as_deref_mut();
            let pager = self.pager.as_ref();
            let width = pager.map(|pager| pager.columns());
            let shown = match &mut self.into {
                None => {
                    let screen = Screen::new(&mut *self.out, self.format, width);
                    let mut screen = Screen { progress, pager, options: self.options, ..screen };
                    script::one(session, text, piece, &mut screen, &self.interrupt)
                }
                Some(file) => {
                    let mut out = BufWriter::new(file);
                    let mut options = self.options;
                    options.color = false;
                    let screen = Screen::new(&mut out, self.format, None);
                    let shown = script::one(session, text, piece, &mut Screen { options, ..screen }, &self.interrupt);
                    out.flush()?;
                    shown
                }
            };
            match shown {
                Ok(shown) if self.options.quiet && !shown.interrupted => {}
                Ok(shown) => {
                    script::remarks(&shown, &mut *self.out)?;
                    if shown.interrupted {
                        return Ok(false);
                    }
                }
                Err(error) if is_broken_pipe(&error) => return Err(error),
                Err(error) => {
                    self.failed(&error, text)?;
                    return Ok(false);
                }
            }
            if self.timing {
                writeln!(self.out, "Time: {:.3} ms", (clock.monotonic() - begin).as_secs_f64() * 1_000.0)?;
            }
        }
        Ok(true)
    }
}

fn refresh(editor: &mut Line, session: &Session) {
    if let Some(Words { names, .. }) = editor.helper_mut() {
        *names = (session.names)();
    }
}

/// Where statements run now, and the places of the configuration file.
fn places(here: &str, profiles: Vec<(String, String)>) -> Outcome {
    let known = profiles.into_iter().map(|(name, place)| vec![place, format!("tidegate --profile {name}")]);
    let rows = std::iter::once(vec![here.to_owned(), "(here)".to_owned()]).chain(known).collect();
    Outcome::Table { title: None, columns: ["Place", "Opened by"].map(str::to_owned).to_vec(), rows }
}

#[cfg(test)]
mod tests {
    use super::super::words::BACKSLASHED;
    use super::*;

    #[test]
    fn help_names_every_word_and_fits_a_terminal() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 80), "{HELP}");
        for word in BACKSLASHED.iter().filter(|word| **word != "\\conninfo") {
            assert!(HELP.contains(word), "{word} is missing");
        }
    }
}
