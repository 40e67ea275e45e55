//! The command line: reads statements, shows their results. It knows nothing of how they are executed.
//!
//! ```text
//! args       commands and flags
//! script     -e, -f, run, a pipe            repl       the prompt (complete, notices, pager)
//! render     results                        report     errors and exit codes
//! repair     the command log
//! topic      topics without SQL (produce)   interrupt  Ctrl-C
//! progress   the progress of a query      copy       rows into files
//! backend    an engine here, or another process (`serve::attach`)
//! environment  opens what commands work on  demo_data  what `tidegate demo` feeds
//! manual     completions and manual page, made from args
//! ```
//!
//! Results go to standard output, errors to standard error. A closed standard output ends the command with success.

pub mod args;
mod backend;
mod copy;
mod demo_data;
pub mod environment;
pub mod interrupt;
mod manual;
pub mod progress;
pub mod render;
mod repair;
pub mod repl;
pub mod report;
pub mod script;
pub mod topic;

use crate::engine::access::Role;
use crate::engine::command::repair::{Report, Wanted};
use crate::engine::introspect::names::Names;
use crate::engine::introspect::topics::Topics;
use crate::error::{Error, Result};
use crate::present::Outcome;
use crate::serve::auth::users::{certificate_line, password_line, token_line};
use crate::serve::auth::users_file;
use crate::serve::{Access, ClientCertificates};
use crate::telemetry::{self, LogFormat};
#[cfg(debug_assertions)]
use crate::{config, mutant};
use args::{Arguments, Command, Place};
use interrupt::Interrupt;
use progress::Progress;
use render::{Screen, WAIT};
use repl::pager::Pager;
use report::{FAILED, INTERRUPTED, NO_LOG, OK, is_broken_pipe, rendered};
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs one statement.
pub type Execute = Box<dyn FnMut(&str) -> Result<Outcome>>;

/// Returns changes of the backend and failed queries; a prompt calls it from a thread of its own.
pub type Notices = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// An open session. Dropping it closes what it opened.
pub struct Session {
    /// Runs one statement, given without its semicolon; spans in errors refer to that text.
    pub execute: Execute,
    /// What statements can name, for completion.
    pub names: Box<dyn Fn() -> Names>,
    /// What has happened since the previous call.
    pub notices: Notices,
    /// Statements run in another process.
    pub is_attached: Box<dyn Fn() -> bool>,
    /// The first line at the prompt.
    pub greeting: String,
    /// The file of the prompt's history, if it has one.
    pub history: Option<PathBuf>,
    /// Current nesting depth of scripts.
    pub depth: usize,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.greeting)
    }
}

/// A session in which the demonstration runs.
#[derive(Debug)]
pub struct Demo {
    /// The session.
    pub session: Session,
    /// Introduction.
    pub before: String,
    /// The statement whose rows are shown; it ends by itself.
    pub shown: String,
    /// What can be tried next.
    pub after: String,
}

/// What the command line has opened for it; `main` passes the implementation.
pub trait Environment {
    /// Opens a session.
    fn session(&mut self, place: &Place) -> Result<Session>;
    /// Opens the topics without an engine.
    fn topics(&mut self, place: &Place) -> Result<Box<dyn Topics>>;
    /// The partition of a key among so many, as Kafka's Java clients choose it.
    fn partition(&self, key: &[u8], partitions: u32) -> i32;
    /// Milliseconds since 1970, now.
    fn now_ms(&self) -> i64;
    /// Serves HTTP until `stop` returns true.
    fn serve(&mut self, place: &Place, listen: SocketAddr, access: &Access, stop: &dyn Fn() -> bool) -> Result<()>;
    /// Starts the demonstration.
    fn demo(&mut self, place: &Place) -> Result<Demo>;
    /// Checks the command log of a service that is not running, and removes the named records.
    fn repair(&mut self, place: &Place, wanted: &Wanted) -> Result<Report>;
    /// Sleeps for [`PAUSE`].
    fn pause(&self);
}

/// Runs the command line; returns the exit code.
pub fn run(arguments: &Arguments, environment: &mut dyn Environment) -> u8 {
    // A prompt shows its errors itself; the operator of a server reads the log.
    let level = match arguments.command {
        None | Some(Command::Demo) => "off",
        Some(Command::Server { .. }) => "info",
        Some(_) => "warn",
    };
    telemetry::start(level, false, arguments.log_format);
    #[cfg(debug_assertions)]
    {
        mutant::seed_all(&config::environment("TIDEGATE_TEST_PANICS").unwrap_or_default());
        if config::environment("TIDEGATE_TEST_KEEP_PRODUCERS").is_some() {
            mutant::keep_producers();
        }
    }
    let colors_wanted = arguments.no_color.as_deref().is_none_or(str::is_empty);
    let error_color = colors_wanted && std::io::stderr().is_terminal();
    let mut process = Process {
        out: BufWriter::new(std::io::stdout()),
        errors: std::io::stderr(),
        color: colors_wanted && std::io::stdout().is_terminal(),
        error_color,
        log_format: arguments.log_format,
        width: std::io::stdout().is_terminal().then(|| size_of_terminal().0),
        interrupt: Interrupt::default(),
        progress: std::io::stderr().is_terminal().then(|| Progress::new(Box::new(std::io::stderr()))),
    };
    let at_prompt = match &arguments.command {
        None => std::io::stdin().is_terminal(),
        Some(command) => matches!(command, Command::Demo),
    };
    match Interrupt::listen(!at_prompt).and_then(|interrupt| {
        process.interrupt = interrupt;
        process.dispatch(arguments, environment)
    }) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => OK,
        Err(error) => {
            // There is nothing left to do if standard error is closed, too.
            let _ = process.report(&error);
            FAILED
        }
    }
}

/// Columns and lines; read for each result, because a window changes its size.
fn size_of_terminal() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

struct Process {
    out: BufWriter<std::io::Stdout>,
    errors: std::io::Stderr,
    color: bool,
    error_color: bool,
    log_format: LogFormat,
    width: Option<usize>,
    interrupt: Interrupt,
    /// Set if standard error is a terminal.
    progress: Option<Progress>,
}

impl Process {
    fn dispatch(&mut self, arguments: &Arguments, environment: &mut dyn Environment) -> Result<u8> {
        let place = &match &arguments.url {
            Some(url) => Place { server: Some(url.clone()), ..arguments.place.clone() },
            None => arguments.place.clone(),
        };
        if let Some(caution) = place.caution() {
            writeln!(self.errors, "{caution}")?;
        }
        match &arguments.command {
            None if std::io::stdin().is_terminal() => {
                self.open(environment.session(place), |p, s| p.prompt(s, arguments))
            }
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                self.open(environment.session(place), |p, s| p.script(s, &text, arguments))
            }
            Some(Command::Sql { execute, file }) => {
                let text = match (execute, file) {
                    (Some(text), _) => text.clone(),
                    (None, Some(file)) => read(file)?,
                    (None, None) => String::new(),
                };
                self.open(environment.session(place), |p, s| p.script(s, &text, arguments))
            }
            Some(Command::Run { file }) => self.run_script(file, place, arguments, environment),
            Some(Command::Topic { command }) => self.topic(command, arguments, environment),
            Some(Command::Repair { remove, offset, all }) => {
                let wanted = Wanted { skipped: *remove, offsets: offset.clone() };
                match environment.repair(place, &wanted) {
                    Ok(report) => self.repair(&report, *all, arguments),
                    Err(error) => self.closed(&error),
                }
            }
            Some(server @ Command::Server { .. }) => self.serve(server, place, environment),
            Some(Command::Completions { shell }) => self.generated(manual::completions(*shell)),
            Some(Command::Man) => self.generated(manual::page()?),
            Some(Command::User { name, role, token, topics, certificate, file }) => {
                let line = match (token, certificate) {
                    (true, _) => self.token(name, *role)?,
                    (_, true) => certificate_line(name, *role)?,
                    _ => password(name, *role)?,
                };
                let topics = topics.iter().map(|topics| format!(" topics={topics}"));
                self.user(&topics.fold(line, |line, topics| line + &topics), file.as_deref())
            }
            Some(Command::Demo) => match environment.demo(place) {
                Ok(demo) => self.demo(demo, arguments),
                Err(error) => self.closed(&error),
            },
        }
    }

    /// `tidegate run`: the statements of a file, whose queries then run until the interrupt.
    fn run_script(
        &mut self,
        file: &Path,
        place: &Place,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        let text = read(file)?;
        let interrupt = self.interrupt.clone();
        let session = environment.session(place);
        self.open(session, |p, s| match p.script(s, &text, arguments)? {
            OK => {
                p.show_notices(s)?;
                match (s.is_attached)() {
                    false => writeln!(p.errors, "Running. Ctrl-C commits and exits.")?,
                    true => writeln!(p.errors, "Running in the other process. Ctrl-C ends this one only.")?,
                }
                while !interrupt.asked() {
                    environment.pause();
                    p.show_notices(s)?;
                }
                Ok(OK)
            }
            code => Ok(code),
        })
    }

    /// `tidegate server`.
    fn serve(&mut self, server: &Command, place: &Place, environment: &mut dyn Environment) -> Result<u8> {
        let Command::Server {
            listen,
            users,
            tls_cert,
            tls_key,
            client_ca,
            client_cert_required,
            allow_origin,
            audit_log,
            read_only,
        } = server
        else {
            return Err(Error::bug("not the command `server`"));
        };
        let interrupt = self.interrupt.clone();
        let access = Access {
            users: users.clone(),
            tls: tls_cert.clone().zip(tls_key.clone()),
            clients: client_ca
                .clone()
                .map(|authorities| ClientCertificates { authorities, required: *client_cert_required }),
            origins: allow_origin.clone(),
            audit_log: audit_log.clone(),
            read_only: *read_only,
        };
        environment.serve(place, *listen, &access, &|| interrupt.asked()).map(|()| OK)
    }

    fn generated(&mut self, text: Vec<u8>) -> Result<u8> {
        self.out.write_all(&text)?;
        self.out.flush()?;
        Ok(OK)
    }

    /// Writes a line of a server's users file.
    fn user(&mut self, line: &str, file: Option<&Path>) -> Result<u8> {
        match file {
            Some(file) => users_file::put(file, line)?,
            None => {
                writeln!(self.out, "{line}")?;
                self.out.flush()?;
                users_file::warn_of_output();
            }
        }
        Ok(OK)
    }

    fn token(&mut self, name: &str, role: Role) -> Result<String> {
        let (token, line) = token_line(name, role)?;
        writeln!(self.errors, "token (shown only once): {token}")?;
        Ok(line)
    }

    /// Works in a session, or reports why it cannot be opened.
    fn open(
        &mut self,
        session: Result<Session>,
        work: impl FnOnce(&mut Self, &mut Session) -> Result<u8>,
    ) -> Result<u8> {
        match session {
            Ok(mut session) => {
                self.show_notices(&session)?;
                work(self, &mut session)
            }
            Err(error) => self.closed(&error),
        }
    }

    /// Shows what has happened to the session.
    fn show_notices(&mut self, session: &Session) -> Result<()> {
        Ok((session.notices)().iter().try_for_each(|notice| writeln!(self.errors, "{notice}"))?)
    }

    fn demo(&mut self, mut demo: Demo, arguments: &Arguments) -> Result<u8> {
        writeln!(self.out, "{}\n", demo.before.trim_end())?;
        self.out.flush()?;
        self.script(&mut demo.session, &demo.shown, arguments)?;
        self.interrupt.clear();
        writeln!(self.out, "\n{}\n", demo.after.trim_end())?;
        self.prompt(&mut demo.session, arguments)
    }

    fn closed(&mut self, error: &Error) -> Result<u8> {
        self.report(error)?;
        Ok(NO_LOG)
    }

    /// Writes an error that is no statement's: as a log line where those are read by programs.
    fn report(&mut self, error: &Error) -> Result<()> {
        match self.log_format {
            LogFormat::Text => self.errors.write_all(rendered(error, "", self.error_color).as_bytes())?,
            LogFormat::Json => {
                tracing::error!(target: "tidegate", detail = error.detail(), hint = error.hint(), "{}", error.message())
            }
        }
        Ok(())
    }

    fn prompt(&mut self, session: &mut Session, arguments: &Arguments) -> Result<u8> {
        let pager =
            self.width.map(|_| Pager::new(arguments.pager.as_deref(), size_of_terminal, self.interrupt.clone()));
        if let (Some(progress), Some(pager)) = (&mut self.progress, &pager) {
            progress.hide_while(pager.has_terminal());
        }
        let prompt = repl::Prompt {
            out: &mut self.out,
            format: arguments.output,
            pager,
            color: self.color,
            interrupt: self.interrupt.clone(),
            progress: self.progress.as_mut(),
        };
        repl::run(session, prompt)
    }

    fn script(&mut self, session: &mut Session, text: &str, arguments: &Arguments) -> Result<u8> {
        let progress = self.progress.as_mut();
        let mut screen =
            Screen { out: &mut self.out, format: arguments.output, width: self.width, progress, pager: None };
        let code = script::run(session, text, &mut screen, &mut self.errors, self.error_color, &self.interrupt)?;
        self.out.flush()?;
        Ok(code)
    }

    fn repair(&mut self, report: &Report, all: bool, arguments: &Arguments) -> Result<u8> {
        let (format, width) = (arguments.output, self.width);
        let mut screen = Screen { out: &mut self.out, format, width, progress: None, pager: None };
        repair::show(report, all, &mut screen, &mut self.errors)?;
        Ok(OK)
    }

    fn topic(
        &mut self,
        command: &args::TopicCommand,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        let topics = match environment.topics(&arguments.place) {
            Ok(topics) => topics,
            Err(error) => return self.closed(&error),
        };
        if let Some(attached) = topics.attached() {
            writeln!(self.errors, "{attached}")?;
        }
        let environment = &*environment;
        let tools = topic::Tools {
            topics: &*topics,
            input: Box::new(std::io::stdin()),
            now_ms: &|| environment.now_ms(),
            partition: &|key, partitions| environment.partition(key, partitions),
            interrupt: &self.interrupt,
        };
        let (format, width) = (arguments.output, self.width);
        let mut screen = Screen { out: &mut self.out, format, width, progress: None, pager: None };
        let shown = topic::run(command, tools, &mut screen)?;
        self.out.flush()?;
        Ok(if shown.interrupted { INTERRUPTED } else { OK })
    }
}

/// A line for a user whose password is read from standard input.
fn password(name: &str, role: Role) -> Result<String> {
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    match password.trim_end_matches(['\r', '\n']) {
        "" => Err(Error::statement("missing password").with_hint("the password is read from standard input")),
        password => password_line(name, role, password),
    }
}

fn read(file: &Path) -> Result<String> {
    let fault = |e: std::io::Error| Error::io(format!("cannot read {}", file.display())).with_detail(e.to_string());
    if file == Path::new("-") {
        return std::io::read_to_string(std::io::stdin()).map_err(fault);
    }
    std::fs::read_to_string(file).map_err(fault)
}

/// Duration of [`Environment::pause`].
pub const PAUSE: std::time::Duration = WAIT;
