//! The prompt: statements over several lines, history, completion, colours, and words about the prompt itself.
//!
//! ```text
//! words     what \x, \watch, help .. mean      editor    callbacks of the line editor
//! actions   what the prompt does about them
//! syntax    \h                                 notices   news while a line is edited
//! pager     $PAGER
//! ```

mod actions;
mod editor;
mod notices;
pub mod pager;
mod syntax;
pub(super) mod words;

use super::Session;
use super::args::Format;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::render::Options;
use super::report::OK;
use crate::config::environment;
use crate::error::{Error, Result};
use crate::parse::is_complete;
use editor::Words;
pub(super) use editor::highlighted;
use notices::{Watch, told};
use pager::Pager;
use rustyline::error::ReadlineError;
use rustyline::history::{DefaultHistory, History};
use rustyline::{CompletionType, Config, Editor};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use words::meta;

/// Statements that the history remembers.
const HISTORY_MAX: usize = 10_000;

/// Words in a statement that may hold a secret: it is not kept in the history.
const SECRETS: [&str; 6] = ["password", "secret", "credential", "sasl.jaas", "token", "api.key"];

/// The line editor.
type Line = Editor<Words, DefaultHistory>;

/// Opens a session at another place: a URL, HOST:PORT of brokers, or a data directory.
pub type Connect<'a> = Box<dyn FnMut(&str) -> Result<Session> + 'a>;

/// Reads the profiles of the configuration file: names and places.
pub type Profiles = Box<dyn Fn() -> Result<Vec<(String, String)>>>;

/// What is written where, at the prompt.
pub struct Prompt<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// How they are written.
    pub format: Format,
    /// Who shows what is taller than the terminal; `None` = it is no terminal.
    pub pager: Option<Pager>,
    /// What the user has chosen for all results.
    pub options: Options,
    /// Ctrl-C while a statement runs.
    pub interrupt: Interrupt,
    /// Progress of a query.
    pub progress: Option<&'a mut Progress>,
    /// `\c`.
    pub connect: Connect<'a>,
    /// `\l`: the profiles of the configuration file, and their places.
    pub profiles: Profiles,
    /// Statements and words with which it begins.
    pub init: Option<PathBuf>,
    /// The time of each statement is shown.
    pub timing: bool,
    /// Results go to this file.
    pub into: Option<File>,
    /// The last statement, for `\g`, `\watch` and `\e`.
    pub last: String,
    /// What the next line begins with.
    pub typed: String,
}

impl std::fmt::Debug for Prompt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prompt({:?}, {:?})", self.format, self.options)
    }
}

/// Reads and runs statements until the user leaves. Returns the exit code.
pub fn run(session: &mut Session, mut prompt: Prompt<'_>) -> Result<u8> {
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false);
    let config = config.max_history_size(HISTORY_MAX).map_err(terminal)?;
    let mut editor: Line = Editor::with_config(config.build()).map_err(terminal)?;
    editor.set_helper(Some(Words { names: (session.names)(), color: prompt.options.color }));
    // A missing or unreadable history is an empty one.
    let loaded = session.history.iter().any(|file| editor.load_history(file).is_ok());
    if !loaded && let Some(before) = &session.history_before {
        let _ = editor.load_history(before);
    }
    if !prompt.options.quiet {
        writeln!(prompt.out, "{}", session.greeting)?;
    }
    prompt.begin(session, &mut editor)?;
    prompt.out.flush()?;
    let mut watch = watching(session, &mut editor)?;
    loop {
        watch.iter().for_each(|watch| watch.editing(true));
        let typed = std::mem::take(&mut prompt.typed);
        let read = editor.readline_with_initial("tidegate> ", (&typed, ""));
        watch.iter().for_each(|watch| watch.editing(false));
        match read {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => {
                if is_remembered(&text) {
                    let _ = editor.add_history_entry(text.trim());
                }
                prompt.tell(session)?;
                let greeting = session.greeting.clone();
                if !prompt.enter(session, &text, &mut editor)? {
                    break;
                }
                if session.greeting != greeting {
                    // Another session has other news.
                    drop(watch.take());
                    watch = watching(session, &mut editor)?;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal(error)),
        }
    }
    if let Some(file) = &session.history {
        remember(file, loaded, &mut editor);
    }
    Ok(OK)
}

/// Adds what is new to the file: another prompt may have written its own there meanwhile.
fn remember(file: &std::path::Path, loaded: bool, editor: &mut Line) {
    if editor.history().is_empty() {
        return;
    }
    // A history that cannot be written is not kept.
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    if folder.is_ok() {
        let _ = if loaded { editor.append_history(file) } else { editor.save_history(file) };
    }
}

/// Whether a text may be kept: one with a password is not.
fn is_remembered(text: &str) -> bool {
    let lower = text.to_lowercase();
    !SECRETS.iter().any(|word| lower.contains(word))
}

/// A terminal without a printer shows notices at the next statement.
fn watching(session: &Session, editor: &mut Line) -> Result<Option<Watch>> {
    let printer = editor.create_external_printer().ok();
    printer.map(|printer| Watch::start(session.notices.clone(), printer)).transpose()
}

fn terminal(error: ReadlineError) -> Error {
    Error::io("cannot use the terminal").with_detail(error.to_string())
}

/// The user's editor.
fn usual_editor() -> String {
    environment("VISUAL").or_else(|| environment("EDITOR")).unwrap_or_else(|| "vi".to_owned())
}

impl Prompt<'_> {
    /// Says what has happened to the session since the last statement.
    fn tell(&mut self, session: &Session) -> Result<()> {
        write!(self.out, "{}", told(&(session.notices)()))?;
        Ok(self.out.flush()?)
    }

    /// Runs what a prompt begins with, as if it were typed.
    fn begin(&mut self, session: &mut Session, editor: &mut Line) -> Result<()> {
        let Some(file) = self.init.take() else { return Ok(()) };
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            // Most users have none.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Ok(writeln!(self.out, "cannot read {}: {e}", file.display())?),
        };
        let mut entry = String::new();
        for line in text.lines() {
            entry.push_str(line);
            entry.push('\n');
            let is_blank = entry.trim().is_empty() || entry.trim_start().starts_with("--") && !entry.contains(';');
            if is_blank || meta(&entry).is_some() || is_complete(&entry) {
                let said = std::mem::take(&mut entry);
                if !is_blank && !self.enter(session, &said, editor)? {
                    break;
                }
            }
        }
        if !entry.trim().is_empty() {
            self.enter(session, &entry, editor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_with_a_password_is_not_remembered() {
        assert!(is_remembered("SELECT * FROM cars;"));
        assert!(!is_remembered("SET 'ksql.schema.registry.basic.auth.Password' = 'x';"));
        assert!(!is_remembered("CREATE SOURCE CONNECTOR c WITH ('connection.password' = 'x');"));
    }
}
