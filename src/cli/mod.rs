//! The command line: reads statements, shows their results. It knows nothing of how they are executed.
//!
//! ```text
//! args         commands and options            environment  opens what commands work on
//! script       -e, -f, run, a pipe             repl         the prompt
//! render       results                         report       errors and exit codes
//! topic        topics without SQL              tools        datagen, check, doctor, user, repair, manual
//! demo         `tidegate demo`                 copy         rows into files
//! progress     the progress of a query         interrupt    Ctrl-C
//! ```
//!
//! Results go to standard output, errors to standard error. A closed standard output ends the command with success.

pub mod args;
mod copy;
pub mod demo;
pub mod environment;
pub mod interrupt;
pub mod progress;
pub mod render;
pub mod repl;
pub mod report;
pub mod script;
pub mod tools;
pub mod topic;

use crate::config;
use crate::engine::command::repair::{Report, Wanted};
use crate::engine::introspect::names::Names;
use crate::engine::introspect::topics::Topics;
use crate::error::{Error, Result};
#[cfg(debug_assertions)]
use crate::mutant;
use crate::present::Outcome;
use crate::serve::{Access, ClientCertificates};
use crate::telemetry::{self, LogFormat};
use crate::types::clock::SharedClock;
use args::origin::profiles;
use args::{Arguments, Command, ConfigCommand, Format, Place, Source};
use demo::Demo;
use interrupt::Interrupt;
use progress::Progress;
use render::{Limits, Options, Screen, WAIT};
use repl::pager::Pager;
use report::{FAILED, NO_LOG, OK, Style, USAGE, is_broken_pipe, rendered};
use std::io::{BufWriter, IsTerminal, Write};
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
    /// Where statements run, in words.
    pub place: String,
    /// The first line at the prompt.
    pub greeting: String,
    /// The file of the prompt's history, if it has one.
    pub history: Option<PathBuf>,
    /// Where the history was before it had a place of its own: read while there is no other.
    pub history_before: Option<PathBuf>,
    /// Current nesting depth of scripts.
    pub depth: usize,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.greeting)
    }
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
    /// The clock.
    fn clock(&self) -> SharedClock;
    /// Serves HTTP until `stop` returns true.
    fn serve(&mut self, place: &Place, listen: SocketAddr, access: &Access, stop: &dyn Fn() -> bool) -> Result<()>;
    /// Plans the statements of a text without effect; returns what is wrong with them.
    fn check(&mut self, place: &Place, text: &str) -> Result<Vec<Error>>;
    /// Serves the console to the user of this process until `stop` returns true; `announce` is given its address.
    fn console(
        &mut self,
        place: &Place,
        listen: SocketAddr,
        announce: &mut dyn FnMut(&str) -> Result<()>,
        stop: &dyn Fn() -> bool,
    ) -> Result<()>;
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
        None if arguments.sources.0.is_empty() => "off",
        Some(Command::Demo { .. }) => "off",
        Some(Command::Server { .. }) => "info",
        Some(_) | None => "warn",
    };
    telemetry::start(level, false, arguments.log_format);
    #[cfg(debug_assertions)]
    {
        mutant::seed_all(&config::environment("TIDEGATE_TEST_PANICS").unwrap_or_default());
        if config::environment("TIDEGATE_TEST_KEEP_PRODUCERS").is_some() {
            mutant::keep_producers();
        }
    }
    let mut process = Process::of(arguments);
    let at_prompt = match &arguments.command {
        None => arguments.sources.0.is_empty() && std::io::stdin().is_terminal(),
        Some(command) => matches!(command, Command::Demo { .. }),
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

/// Reports an error in the options that are not on the command line; returns the exit code.
pub fn refused(error: &Error) -> u8 {
    // There is nothing left to do if standard error is closed.
    let _ = std::io::stderr().write_all(rendered(error, "", false).as_bytes());
    USAGE
}

/// Columns and lines; read for each result, because a window changes its size.
fn size_of_terminal() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

struct Process {
    out: BufWriter<std::io::Stdout>,
    errors: std::io::Stderr,
    options: Options,
    error_style: Style<'static>,
    log_format: LogFormat,
    width: Option<usize>,
    interrupt: Interrupt,
    /// Set if standard error is a terminal.
    progress: Option<Progress>,
}

impl Process {
    fn of(arguments: &Arguments) -> Process {
        let colors_wanted = arguments.no_color.as_deref().is_none_or(str::is_empty);
        let color = colors_wanted && std::io::stdout().is_terminal();
        let error_color = colors_wanted && std::io::stderr().is_terminal();
        let width = std::io::stdout().is_terminal().then(|| size_of_terminal().0);
        let limits = Limits { rows: arguments.query_row_limit, time: arguments.query_timeout };
        let has_progress = !arguments.quiet && std::io::stderr().is_terminal();
        Process {
            out: BufWriter::new(std::io::stdout()),
            errors: std::io::stderr(),
            options: Options { color, limits, quiet: arguments.quiet, ..Options::default() },
            error_style: Style { color: error_color, is_json: arguments.output == Format::Json, ..Style::default() },
            log_format: arguments.log_format,
            width,
            interrupt: Interrupt::default(),
            progress: has_progress.then(|| Progress::new(Box::new(std::io::stderr()))),
        }
    }

    fn dispatch(&mut self, arguments: &Arguments, environment: &mut dyn Environment) -> Result<u8> {
        let place = &match &arguments.url {
            Some(url) => Place { server: Some(url.clone()), ..arguments.place.clone() },
            None => arguments.place.clone(),
        };
        if let Some(caution) = place.caution() {
            writeln!(self.errors, "{caution}")?;
        }
        match &arguments.command {
            Some(_) if !arguments.sources.0.is_empty() => {
                self.misused("-c, -e and -f at the front go without a command")
            }
            None if !arguments.sources.0.is_empty() => {
                self.execute(&arguments.sources.0, place, arguments, environment)
            }
            None if std::io::stdin().is_terminal() => {
                let session = environment.session(place);
                self.open(session, arguments, |p, s| p.prompt(s, place, arguments, environment))
            }
            None => self.piped(place, arguments, environment),
            Some(Command::Sql { text, sources }) => {
                let texts = text.iter().cloned().map(Source::Text);
                let sources: Vec<Source> = texts.chain(sources.0.iter().cloned()).collect();
                match sources.is_empty() {
                    false => self.execute(&sources, place, arguments, environment),
                    true if std::io::stdin().is_terminal() => {
                        self.misused("no statements: tidegate sql 'SHOW STREAMS;', -f FILE, or standard input")
                    }
                    true => self.piped(place, arguments, environment),
                }
            }
            Some(Command::Run { file }) => self.run_script(file, place, arguments, environment),
            Some(Command::Query { id, action }) => {
                let statement = Source::Text(tools::about_query(id.as_deref(), *action));
                self.execute(&[statement], place, arguments, environment)
            }
            Some(Command::Topic { command }) => self.topic(command, arguments, environment),
            Some(Command::Repair { remove, offset, all }) => {
                let wanted = Wanted { skipped: *remove, offsets: offset.clone() };
                match environment.repair(place, &wanted) {
                    Ok(report) => self.repair(&report, *all, arguments),
                    Err(error) => self.closed(&error),
                }
            }
            Some(server @ Command::Server { .. }) => self.serve(server, place, environment),
            Some(Command::Completions { shell }) => self.generated(tools::manual::completions(*shell)),
            Some(Command::Man) => self.generated(tools::manual::page()?),
            Some(user @ Command::User { .. }) => self.user_line(user),
            Some(Command::Check { files }) => self.check(files, place, arguments, environment),
            Some(wanted @ Command::Datagen { .. }) => self.datagen(wanted, place, arguments, environment),
            Some(Command::Config { command: ConfigCommand::Show { origin } }) => self.config(*origin, arguments),
            Some(Command::Doctor) => self.doctor(place, arguments, environment),
            Some(Command::Console { listen }) => self.console(*listen, place, environment),
            Some(Command::Demo { once }) => match environment.demo(place) {
                Ok(demo) => self.demo(demo, *once, arguments, environment),
                Err(error) => self.closed(&error),
            },
        }
    }

    /// Arguments that do not go together, which clap cannot know.
    fn misused(&mut self, what: &str) -> Result<u8> {
        self.report(&Error::statement(what).with_hint("tidegate --help"))?;
        Ok(USAGE)
    }

    /// The statements of standard input.
    fn piped(&mut self, place: &Place, arguments: &Arguments, environment: &mut dyn Environment) -> Result<u8> {
        self.execute(&[Source::File(PathBuf::from("-"))], place, arguments, environment)
    }

    /// Runs texts and files one after another; the first that fails ends it. A file that cannot be read ends it before that.
    fn execute(
        &mut self,
        sources: &[Source],
        place: &Place,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        let named = |source: &Source| match source {
            Source::Text(text) => Ok((text.clone(), None)),
            Source::File(file) => {
                let name = (file != Path::new("-")).then(|| file.display().to_string());
                Ok((read(file)?, name))
            }
        };
        let texts = sources.iter().map(named).collect::<Result<Vec<_>>>()?;
        self.open(environment.session(place), arguments, |p, s| {
            for (text, file) in &texts {
                match p.script(s, text, file.as_deref(), arguments)? {
                    OK => {}
                    code => return Ok(code),
                }
            }
            Ok(OK)
        })
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
        let name = file.display().to_string();
        self.open(session, arguments, |p, s| match p.script(s, &text, Some(&name), arguments)? {
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

    /// `tidegate console`.
    fn console(&mut self, listen: SocketAddr, place: &Place, environment: &mut dyn Environment) -> Result<u8> {
        let interrupt = self.interrupt.clone();
        let mut announce = |url: &str| {
            writeln!(self.out, "{url}")?;
            self.out.flush()?;
            Ok(writeln!(self.errors, "Open this address in a browser. Ctrl-C commits and exits.")?)
        };
        environment.console(place, listen, &mut announce, &|| interrupt.asked()).map(|()| OK)
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
            no_console,
            pg_listen,
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
            no_console: *no_console,
            postgres: *pg_listen,
        };
        environment.serve(place, *listen, &access, &|| interrupt.asked()).map(|()| OK)
    }

    /// Works in a session, or reports why it cannot be opened.
    fn open(
        &mut self,
        session: Result<Session>,
        arguments: &Arguments,
        work: impl FnOnce(&mut Self, &mut Session) -> Result<u8>,
    ) -> Result<u8> {
        match session {
            Ok(mut session) => {
                if !arguments.quiet {
                    self.show_notices(&session)?;
                }
                define(&mut session, &arguments.define)?;
                work(self, &mut session)
            }
            Err(error) => self.closed(&error),
        }
    }

    /// Shows what has happened to the session.
    fn show_notices(&mut self, session: &Session) -> Result<()> {
        Ok((session.notices)().iter().try_for_each(|notice| writeln!(self.errors, "{notice}"))?)
    }

    fn closed(&mut self, error: &Error) -> Result<u8> {
        self.report(error)?;
        Ok(NO_LOG)
    }

    /// Writes an error that is no statement's: as a log line where those are read by programs.
    fn report(&mut self, error: &Error) -> Result<()> {
        match self.log_format {
            LogFormat::Text => self.errors.write_all(self.error_style.written(error, "").as_bytes())?,
            LogFormat::Json => {
                tracing::error!(target: "tidegate", detail = error.detail(), hint = error.hint(), "{}", error.message())
            }
        }
        Ok(())
    }

    fn prompt(
        &mut self,
        session: &mut Session,
        place: &Place,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        let pager =
            self.width.map(|_| Pager::new(arguments.pager.as_deref(), size_of_terminal, self.interrupt.clone()));
        if let (Some(progress), Some(pager)) = (&mut self.progress, &pager) {
            progress.hide_while(pager.has_terminal());
        }
        let usual = config::user_dir("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("init.sql"));
        let prompt = repl::Prompt {
            out: &mut self.out,
            format: arguments.output,
            pager,
            options: self.options,
            interrupt: self.interrupt.clone(),
            progress: self.progress.as_mut(),
            connect: Box::new(|target| environment.session(&place.at(target))),
            profiles: Box::new(|| profiles(&std::env::args_os().collect::<Vec<_>>())),
            init: usual.filter(|_| !arguments.no_init),
            timing: false,
            into: None,
            last: String::new(),
            typed: String::new(),
        };
        repl::run(session, prompt)
    }

    fn script(&mut self, session: &mut Session, text: &str, file: Option<&str>, arguments: &Arguments) -> Result<u8> {
        let (progress, options) = (self.progress.as_mut(), self.options);
        let screen = Screen::new(&mut self.out, arguments.output, self.width);
        let mut screen = Screen { progress, options, file, ..screen };
        let code = script::run(session, text, &mut screen, &mut self.errors, self.error_style.color, &self.interrupt)?;
        self.out.flush()?;
        Ok(code)
    }
}

/// Sets the variables of the command line.
fn define(session: &mut Session, variables: &[(String, String)]) -> Result<()> {
    variables.iter().try_for_each(|(name, value)| {
        (session.execute)(&format!("DEFINE {name} = '{}'", value.replace('\'', "''"))).map(drop)
    })
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
