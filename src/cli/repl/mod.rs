//! The prompt: statements over several lines, history, completion, colours, and words about the prompt itself.

mod complete;
mod notices;
pub mod pager;

use super::Session;
use super::args::Format;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::render::{Options, Screen};
use super::report::{OK, Style, is_broken_pipe};
use super::script;
use crate::engine::introspect::names::Names;
use crate::error::{Error, Result};
use crate::parse::words::{KEYWORDS, STATEMENTS};
use crate::parse::{is_complete, split};
use crate::types::nearest;
use clap::ValueEnum;
use complete::completions;
use notices::{Watch, told};
use pager::Pager;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper, Hinter};
use std::borrow::Cow;
use std::io::Write;

/// Statements that the history remembers.
const HISTORY_MAX: usize = 10_000;

const HELP: &str = "\
Statements end with a semicolon and may span lines.
  help             this text
  output [FORMAT]  how results are written: table, vertical, json, csv
  history          what was entered
  clear            empty the screen
  version          the version
  \\d [NAME]        streams and tables, or the columns of one
  \\ds \\dt \\dq \\dT  streams, tables, queries, topics
  \\df [NAME]       functions, or how one is called
  \\x               one value a line, or a table again
  \\i FILE          run the statements of a file
  \\pset pager      $PAGER (else less) for what is taller than the terminal, or not
  \\? \\q            this text; leave
  exit, quit       leave (also Ctrl-D); queries that were created keep their place
                   and go on at the next start, or at once in another tidegate on
                   the directory
Ctrl-C stops a running query or drops the line. TAB completes words and names.";

/// Words about the prompt itself.
const WORDS: &[&str] = &["help", "exit", "quit", "version", "clear", "history", "output"];

/// What is written where, at the prompt.
pub struct Prompt<'a> {
    /// Answers.
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
}

impl std::fmt::Debug for Prompt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prompt({:?}, {:?})", self.format, self.options)
    }
}

/// Reads and runs statements until the user leaves. Answers the exit code.
pub fn run(session: &mut Session, mut prompt: Prompt<'_>) -> Result<u8> {
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false);
    let config = config.max_history_size(HISTORY_MAX).map_err(terminal)?;
    let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config.build()).map_err(terminal)?;
    editor.set_helper(Some(Words { names: (session.names)(), color: prompt.options.color }));
    if let Some(file) = &session.history {
        // A missing or unreadable history is an empty one.
        let _ = editor.load_history(file);
    }
    writeln!(prompt.out, "{}", session.greeting)?;
    prompt.out.flush()?;
    // A terminal without that shows notices at the next statement.
    let watch = editor.create_external_printer().ok().map(|printer| Watch::start(session.notices.clone(), printer));
    let watch = watch.transpose()?;
    loop {
        watch.iter().for_each(|watch| watch.editing(true));
        let read = editor.readline("tidegate> ");
        watch.iter().for_each(|watch| watch.editing(false));
        match read {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => {
                let _ = editor.add_history_entry(text.trim());
                prompt.tell(session)?;
                if !prompt.enter(session, &text, &mut editor)? {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal(error)),
        }
    }
    if let Some(file) = &session.history {
        // Only what is new: another prompt may have written its own there meanwhile.
        let _ = editor.append_history(file);
    }
    Ok(OK)
}

fn terminal(error: ReadlineError) -> Error {
    Error::io("cannot use the terminal").with_detail(error.to_string())
}

impl Prompt<'_> {
    /// Says what has happened to the session since the last statement.
    fn tell(&mut self, session: &Session) -> Result<()> {
        write!(self.out, "{}", told(&(session.notices)()))?;
        Ok(self.out.flush()?)
    }

    /// Runs what was entered; returns false to exit.
    fn enter(&mut self, session: &mut Session, text: &str, editor: &mut Editor<Words, DefaultHistory>) -> Result<bool> {
        match meta(text) {
            Some(Meta::Leave) => return Ok(false),
            Some(Meta::Help) => self.tall(|out| Ok(writeln!(out, "{HELP}")?))?,
            Some(Meta::Version) => writeln!(self.out, "tidegate {}", env!("CARGO_PKG_VERSION"))?,
            Some(Meta::Clear) => editor.clear_screen().map_err(terminal)?,
            Some(Meta::Output(name)) => self.set_output(name)?,
            Some(Meta::History) => self.tall(|out| {
                let mut entries = editor.history().iter().enumerate();
                Ok(entries.try_for_each(|(n, entry)| writeln!(out, "{:>5}  {entry}", n + 1))?)
            })?,
            Some(Meta::Pager(wanted)) => self.set_pager(wanted)?,
            Some(Meta::Flip) => {
                self.format = if self.format == Format::Vertical { Format::Table } else { Format::Vertical };
                let name = if self.format == Format::Vertical { "vertical" } else { "table" };
                writeln!(self.out, "output is {name}")?;
            }
            Some(Meta::Unknown(word)) => {
                let near = nearest(word, WORDS.iter().chain(STATEMENTS).copied());
                let meant = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
                writeln!(self.out, "unknown command {word}: {meant}type help for a list")?;
            }
            said => {
                let short = match said {
                    Some(Meta::Say(statements)) => Some(statements),
                    _ => None,
                };
                self.statements(session, short.as_deref().unwrap_or(text))?;
                if let Some(words) = editor.helper_mut() {
                    words.names = (session.names)();
                }
            }
        }
        self.out.flush()?;
        Ok(true)
    }

    /// Writes what may be taller than the terminal.
    fn tall(&mut self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        match &self.pager {
            Some(pager) => pager.show(&mut *self.out, write).map(|_| ()),
            None => write(&mut *self.out),
        }
    }

    fn set_pager(&mut self, wanted: Option<bool>) -> Result<()> {
        let said = match &mut self.pager {
            Some(pager) => pager.switch(wanted),
            None => "no pager: the output is not a terminal",
        };
        Ok(writeln!(self.out, "{said}")?)
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

    fn statements(&mut self, session: &mut Session, text: &str) -> Result<()> {
        self.interrupt.clear();
        for piece in split(text) {
            let progress = self.progress.as_deref_mut();
            let pager = self.pager.as_ref();
            let width = pager.map(|pager| pager.columns());
            let mut screen = Screen { progress, pager, ..Screen::new(&mut *self.out, self.format, width) };
            screen.options = self.options;
            match script::one(session, text, piece, &mut screen, &self.interrupt) {
                Ok(shown) => {
                    for message in &shown.messages {
                        writeln!(self.out, "{message}")?;
                    }
                    for note in &shown.notes {
                        writeln!(self.out, "note: {note}")?;
                    }
                    if let Some(scanned) = &shown.scanned {
                        writeln!(self.out, "{scanned}")?;
                    }
                    if shown.interrupted {
                        break;
                    }
                }
                Err(error) if is_broken_pipe(&error) => return Err(error),
                Err(error) => {
                    self.out.write_all(
                        Style { color: self.options.color, width, ..Style::default() }.written(&error, text).as_bytes(),
                    )?;
                    break;
                }
            }
        }
        self.interrupt.clear();
        Ok(())
    }
}

/// A word about the prompt itself.
#[derive(Debug, PartialEq, Eq)]
enum Meta<'a> {
    Help,
    Leave,
    Version,
    Clear,
    History,
    Output(&'a str),
    /// Table or vertical.
    Flip,
    /// The pager on or off; `None` = the other one.
    Pager(Option<bool>),
    /// A shorthand for statements.
    Say(String),
    /// A word alone, and none that is known.
    Unknown(&'a str),
}

fn meta(said: &str) -> Option<Meta<'_>> {
    let text = said.trim().trim_end_matches(';').trim_end();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    if word.starts_with('\\') {
        return Some(short(word, rest));
    }
    // Otherwise a new user would wait for a result, and the prompt for a semicolon.
    let is_alone = rest.is_empty() && !said.contains(['\n', ';']) && word.chars().all(char::is_alphabetic);
    Some(match word.to_ascii_lowercase().as_str() {
        "output" => Meta::Output(rest),
        _ if !rest.is_empty() => return None,
        "help" | "?" => Meta::Help,
        "exit" | "quit" => Meta::Leave,
        "version" => Meta::Version,
        "clear" => Meta::Clear,
        "history" => Meta::History,
        _ if is_alone && !word.is_empty() && KEYWORDS.binary_search(&word.to_uppercase().as_str()).is_err() => {
            Meta::Unknown(word)
        }
        _ => return None,
    })
}

/// The words with a backslash, as psql has them.
fn short<'a>(word: &'a str, rest: &str) -> Meta<'a> {
    let say = |statements: &str| Meta::Say(statements.to_owned());
    match (word, rest) {
        ("\\?", "") => Meta::Help,
        ("\\q", "") => Meta::Leave,
        ("\\x", "") => Meta::Flip,
        ("\\pset", "pager") => Meta::Pager(None),
        ("\\pset", "pager on") => Meta::Pager(Some(true)),
        ("\\pset", "pager off") => Meta::Pager(Some(false)),
        ("\\d", "") => say("SHOW STREAMS; SHOW TABLES;"),
        ("\\d", name) => Meta::Say(format!("DESCRIBE {name};")),
        ("\\ds", "") => say("SHOW STREAMS;"),
        ("\\dt", "") => say("SHOW TABLES;"),
        ("\\dq", "") => say("SHOW QUERIES;"),
        ("\\dT", "") => say("SHOW TOPICS;"),
        ("\\df", "") => say("SHOW FUNCTIONS;"),
        ("\\df", name) => Meta::Say(format!("DESCRIBE FUNCTION {name};")),
        ("\\i", file) if !file.is_empty() => Meta::Say(format!("RUN SCRIPT '{}';", file.replace('\'', "''"))),
        _ => Meta::Unknown(word),
    }
}

/// Callbacks of the line editor.
#[derive(Helper, Hinter)]
struct Words {
    names: Names,
    color: bool,
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let done = meta(text).is_some() || is_complete(text);
        Ok(if done { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = completions(line, at, &self.names);
        Ok((start, words.into_iter().map(|w| Pair { display: w.clone(), replacement: w }).collect()))
    }
}

impl Highlighter for Words {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.color { Cow::Owned(highlighted(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.color { Cow::Owned(format!("\x1b[1;36m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.color
    }
}

/// Keywords bold, strings green, comments grey.
pub(super) fn highlighted(line: &str) -> String {
    let mut out = String::with_capacity(line.len() * 2);
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (length, style) = match first {
            '\'' | '`' | '"' => {
                let end = rest[1..].find(first).map_or(rest.len(), |n| n + 2);
                (end, if first == '\'' { "32" } else { "" })
            }
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), "90"),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let known = KEYWORDS.binary_search(&rest[..end].to_uppercase().as_str()).is_ok();
                (end, if known { "1" } else { "" })
            }
            c => (c.len_utf8(), ""),
        };
        let (word, after) = rest.split_at(length);
        match style {
            "" => out.push_str(word),
            style => out.extend(["\x1b[", style, "m", word, "\x1b[0m"]),
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_the_prompt_are_no_statements() {
        assert_eq!(meta(" Exit ; "), Some(Meta::Leave));
        assert_eq!(meta("output json"), Some(Meta::Output("json")));
        assert_eq!(meta("history"), Some(Meta::History));
        assert_eq!(meta("select 1;"), None);
        assert_eq!(meta("help me"), None);
        assert_eq!(meta("hlep"), Some(Meta::Unknown("hlep")));
        assert_eq!((meta("Select"), meta("select\n"), meta("hlep;"), meta("hlep\nme")), (None, None, None, None));
        assert_eq!(meta(" \\d cars ;"), Some(Meta::Say("DESCRIBE cars;".to_owned())));
        assert_eq!(meta("\\i it's.sql"), Some(Meta::Say("RUN SCRIPT 'it''s.sql';".to_owned())));
        assert_eq!(meta("\\pset pager off"), Some(Meta::Pager(Some(false))));
        assert_eq!(meta("\\y"), Some(Meta::Unknown("\\y")));
    }

    #[test]
    fn highlighting_changes_no_character() {
        let line = "select 'a''b', `x` -- from é\nfrom é";
        let plain: String = ["\x1b[1m", "\x1b[32m", "\x1b[90m", "\x1b[0m"]
            .iter()
            .fold(highlighted(line), |text, code| text.replace(code, ""));
        assert_eq!(plain, line);
        assert!(highlighted(line).starts_with("\x1b[1mselect\x1b[0m \x1b[32m'a'"));
    }
}
