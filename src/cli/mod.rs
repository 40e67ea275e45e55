//! The command line: words in, answers out. It knows statements and their outcomes, and nothing of what happens between.
//!
//! ```text
//! args       commands and flags
//! script     -e, -f, run, a pipe            repl       the prompt (complete, notices, pager)
//! render     answers                        report     errors and exit codes
//! repair     the command log
//! topic      topics without SQL (produce)   interrupt  Ctrl-C
//! progress   how far a query has come     copy       rows into files
//! backend    an engine here, or another process (`serve::attach`)
//! environment  opens what commands work on  demo_data  what `tidegate demo` feeds
//! manual     completions and manual page, made from args
//! ```
//!
//! Everything is written through handles: standard output for answers, standard error for errors. A reader that goes
//! away ends the work with success.

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
use crate::telemetry;
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

/// Carries out one statement.
pub type Execute = Box<dyn FnMut(&str) -> Result<Outcome>>;

/// Whom a session is attached to by now, and which queries have failed; a prompt asks from a thread of its own.
pub type Notices = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// An open session with an engine. Dropping it closes what it opened.
pub struct Session {
    /// Carries out one statement, given without its semicolon; places in errors count in that text.
    pub execute: Execute,
    /// What statements can name, for completion.
    pub names: Box<dyn Fn() -> Names>,
    /// What has happened since it was last asked that the user should know.
    pub notices: Notices,
    /// Statements are carried out by another process.
    pub is_guest: Box<dyn Fn() -> bool>,
    /// The first line at the prompt.
    pub greeting: String,
    /// Where the prompt's history is kept; `None` = nowhere.
    pub history: Option<PathBuf>,
    /// Scripts that run in one another at present.
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
    /// What is to be seen.
    pub before: String,
    /// The statement whose answer shows it; it ends by itself.
    pub shown: String,
    /// What can be tried next.
    pub after: String,
}

/// What the command line needs opened; `main` knows how.
pub trait Doors {
    /// An engine on this place.
    fn session(&mut self, place: &Place) -> Result<Session>;
    /// The topics alone.
    fn topics(&mut self, place: &Place) -> Result<Box<dyn Topics>>;
    /// The partition of a key among so many, as Kafka's Java clients choose it.
    fn partition(&self, key: &[u8], partitions: u32) -> i32;
    /// Milliseconds since 1970, now.
    fn now_ms(&self) -> i64;
    /// Serves HTTP until `stop` answers true.
    fn serve(&mut self, place: &Place, listen: SocketAddr, access: &Access, stop: &dyn Fn() -> bool) -> Result<()>;
    /// The demonstration, running.
    fn demo(&mut self, place: &Place) -> Result<Demo>;
    /// Looks through the command log of a service that does not run, and removes what is named.
    fn repair(&mut self, place: &Place, wanted: &Wanted) -> Result<Report>;
    /// Waits a moment.
    fn pause(&self);
}

/// Carries out the command line; answers the exit code.
pub fn run(arguments: &Arguments, doors: &mut dyn Doors) -> u8 {
    // A person at a prompt is told by the prompt; a server's operator reads the log.
    let level = match arguments.command {
        None | Some(Command::Demo) => "off",
        Some(Command::Server { .. }) => "info",
        Some(_) => "warn",
    };
    telemetry::start(level, false);
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
        process.dispatch(arguments, doors)
    }) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => OK,
        Err(error) => {
            // Nothing is left to be told to when standard error is closed too.
            let _ = process.errors.write_all(rendered(&error, "", error_color).as_bytes());
            FAILED
        }
    }
}

/// Columns and lines; asked anew for each answer, because a window changes its size.
fn size_of_terminal() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

struct Process {
    out: BufWriter<std::io::Stdout>,
    errors: std::io::Stderr,
    color: bool,
    error_color: bool,
    width: Option<usize>,
    interrupt: Interrupt,
    /// Somebody may look at standard error.
    progress: Option<Progress>,
}

impl Process {
    fn dispatch(&mut self, arguments: &Arguments, doors: &mut dyn Doors) -> Result<u8> {
        let place = &match &arguments.url {
            Some(url) => Place { server: Some(url.clone()), ..arguments.place.clone() },
            None => arguments.place.clone(),
        };
        if let Some(caution) = place.caution() {
            writeln!(self.errors, "{caution}")?;
        }
        match &arguments.command {
            None if std::io::stdin().is_terminal() => self.open(doors.session(place), |p, s| p.prompt(s, arguments)),
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                self.open(doors.session(place), |p, s| p.script(s, &text, arguments))
            }
            Some(Command::Sql { execute, file }) => {
                let text = match (execute, file) {
                    (Some(text), _) => text.clone(),
                    (None, Some(file)) => read(file)?,
                    (None, None) => String::new(),
                };
                self.open(doors.session(place), |p, s| p.script(s, &text, arguments))
            }
            Some(Command::Run { file }) => {
                let text = read(file)?;
                let interrupt = self.interrupt.clone();
                let session = doors.session(place);
                self.open(session, |p, s| match p.script(s, &text, arguments)? {
                    OK => {
                        p.tell(s)?;
                        match (s.is_guest)() {
                            false => writeln!(p.errors, "Running. Ctrl-C commits and ends.")?,
                            true => writeln!(p.errors, "Running there. Ctrl-C ends this one only.")?,
                        }
                        while !interrupt.asked() {
                            doors.pause();
                            p.tell(s)?;
                        }
                        Ok(OK)
                    }
                    code => Ok(code),
                })
            }
            Some(Command::Topic { command }) => self.topic(command, arguments, doors),
            Some(Command::Repair { remove, offset, all }) => {
                let wanted = Wanted { skipped: *remove, offsets: offset.clone() };
                match doors.repair(place, &wanted) {
                    Ok(report) => self.repair(&report, *all, arguments),
                    Err(error) => self.closed(&error),
                }
            }
            Some(Command::Server {
                listen,
                users,
                tls_cert,
                tls_key,
                client_ca,
                client_cert_required,
                allow_origin,
                audit_log,
                read_only,
            }) => {
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
                doors.serve(place, *listen, &access, &|| interrupt.asked()).map(|()| OK)
            }
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
            Some(Command::Demo) => match doors.demo(place) {
                Ok(demo) => self.demo(demo, arguments),
                Err(error) => self.closed(&error),
            },
        }
    }

    fn generated(&mut self, text: Vec<u8>) -> Result<u8> {
        self.out.write_all(&text)?;
        self.out.flush()?;
        Ok(OK)
    }

    /// Writes a line for a server's file of users.
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
        writeln!(self.errors, "the token, which is shown this once: {token}")?;
        Ok(line)
    }

    /// Works in a session, or says why there is none.
    fn open(
        &mut self,
        session: Result<Session>,
        work: impl FnOnce(&mut Self, &mut Session) -> Result<u8>,
    ) -> Result<u8> {
        match session {
            Ok(mut session) => {
                self.tell(&session)?;
                work(self, &mut session)
            }
            Err(error) => self.closed(&error),
        }
    }

    /// Says what has happened to the session.
    fn tell(&mut self, session: &Session) -> Result<()> {
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
        self.errors.write_all(rendered(error, "", self.error_color).as_bytes())?;
        Ok(NO_LOG)
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

    fn topic(&mut self, command: &args::TopicCommand, arguments: &Arguments, doors: &mut dyn Doors) -> Result<u8> {
        let topics = match doors.topics(&arguments.place) {
            Ok(topics) => topics,
            Err(error) => return self.closed(&error),
        };
        if let Some(attached) = topics.attached() {
            writeln!(self.errors, "{attached}")?;
        }
        let doors = &*doors;
        let tools = topic::Tools {
            topics: &*topics,
            input: Box::new(std::io::stdin()),
            now_ms: &|| doors.now_ms(),
            partition: &|key, partitions| doors.partition(key, partitions),
            interrupt: &self.interrupt,
        };
        let (format, width) = (arguments.output, self.width);
        let mut screen = Screen { out: &mut self.out, format, width, progress: None, pager: None };
        let shown = topic::run(command, tools, &mut screen)?;
        self.out.flush()?;
        Ok(if shown.interrupted { INTERRUPTED } else { OK })
    }
}

/// A line for a user whose password comes from standard input.
fn password(name: &str, role: Role) -> Result<String> {
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    match password.trim_end_matches(['\r', '\n']) {
        "" => Err(Error::statement("no password came").with_hint("it is read from standard input")),
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

/// How long [`Doors::pause`] should take.
pub const PAUSE: std::time::Duration = WAIT;
