//! The commands beside statements: topics, generated records, checks, users, the command log.

pub mod datagen;
mod doctor;
pub(super) mod manual;
mod repair;

use crate::cli::args::origin::{Setting, settings};
use crate::cli::args::{Arguments, Command, Place, QueryAction, SERVER_PORT, TopicCommand};
use crate::cli::render::{Screen, Shown};
use crate::cli::report::{FAILED, INTERRUPTED, OK, Style, moved};
use crate::cli::{Environment, Process, read, topic};
use crate::engine::access::Role;
use crate::engine::command::repair::Report;
use crate::engine::datagen::{Spec, template};
use crate::error::{Error, Result};
use crate::present::Outcome;
use crate::serve::auth::users::{certificate_line, password_line, scram_line, token_line};
use crate::serve::auth::users_file;
use datagen::Wanted as Generated;
use std::io::Write;
use std::path::{Path, PathBuf};

impl Process {
    pub(super) fn generated(&mut self, text: Vec<u8>) -> Result<u8> {
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

    /// `tidegate user`.
    pub(super) fn user_line(&mut self, user: &Command) -> Result<u8> {
        let Command::User { name, role, token, topics, certificate, scram, file } = user else {
            return Err(Error::bug("not the command `user`"));
        };
        let line = match (token, certificate) {
            (true, _) => self.token(name, *role)?,
            (_, true) => certificate_line(name, *role)?,
            _ => password(name, *role, *scram)?,
        };
        let topics = topics.iter().map(|topics| format!(" topics={topics}"));
        self.user(&topics.fold(line, |line, topics| line + &topics), file.as_deref())
    }

    /// `tidegate check`.
    pub(super) fn check(
        &mut self,
        files: &[PathBuf],
        place: &Place,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        let mut is_wrong = false;
        for file in files {
            let text = read(file)?;
            let name = file.display().to_string();
            let wrong = match environment.check(place, &define(arguments, &text)) {
                Ok(wrong) => wrong,
                Err(error) => return self.closed(&error),
            };
            let before = define(arguments, "").len();
            let style = Style { file: Some(&name), ..self.error_style };
            for error in &wrong {
                let error = moved(error, before);
                self.errors.write_all(style.written(&error, &text).as_bytes())?;
            }
            is_wrong |= !wrong.is_empty();
            if wrong.is_empty() && !arguments.quiet {
                writeln!(self.errors, "{name}: ok")?;
            }
        }
        Ok(if is_wrong { FAILED } else { OK })
    }

    /// `tidegate datagen`.
    pub(super) fn datagen(
        &mut self,
        command: &Command,
        place: &Place,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        let Command::Datagen { template: name, topic, rate, count, seed, format, partitions, print } = command else {
            return Err(Error::bug("not the command `datagen`"));
        };
        let kind = template(name)?;
        let spec = Spec { template: kind, rate: *rate, count: *count, seed: *seed };
        let topic = topic.as_deref().unwrap_or(kind.name());
        let wanted = Generated { spec, topic, format: *format, partitions: *partitions, print: *print };
        let clock = environment.clock();
        let interrupt = self.interrupt.clone();
        let written = match &place.server {
            Some(_) => {
                let mut session = match environment.session(place) {
                    Ok(session) => session,
                    Err(error) => return self.closed(&error),
                };
                let mut tools =
                    datagen::Tools { clock, interrupt: &interrupt, partition: &|_, _| 0, out: &mut self.out };
                wanted.insert(&mut session, &mut tools)?
            }
            None => {
                let topics = match environment.topics(place) {
                    Ok(topics) => topics,
                    Err(error) => return self.closed(&error),
                };
                let environment = &*environment;
                let partition = |key: &[u8], partitions| environment.partition(key, partitions);
                if !arguments.quiet {
                    writeln!(self.errors, "{}", wanted.statement())?;
                }
                let mut tools =
                    datagen::Tools { clock, interrupt: &interrupt, partition: &partition, out: &mut self.out };
                wanted.append(&*topics, &mut tools)?
            }
        };
        self.out.flush()?;
        if !arguments.quiet {
            let word = if written == 1 { "record" } else { "records" };
            writeln!(self.errors, "wrote {written} {word} to {topic}")?;
        }
        Ok(if self.interrupt.asked() { INTERRUPTED } else { OK })
    }

    /// `tidegate config show`.
    pub(super) fn config(&mut self, origin: bool, arguments: &Arguments) -> Result<u8> {
        // The environment and the file are already among `arguments`.
        let given: Vec<_> = std::env::args_os().collect();
        let settings = settings(&given)?;
        let columns = ["Option", "Value", "Origin"].map(str::to_owned);
        let shown = if origin { 3 } else { 2 };
        let row = |s: Setting| [s.name, s.value, s.origin].into_iter().take(shown).collect();
        let rows = settings.into_iter().map(row).collect();
        let table = Outcome::Table { title: None, columns: columns.into_iter().take(shown).collect(), rows };
        let mut screen = Screen::new(&mut self.out, arguments.output, self.width);
        screen.show(table, &|| false)?;
        Ok(OK)
    }

    /// `tidegate doctor`.
    pub(super) fn doctor(
        &mut self,
        place: &Place,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        let (table, is_ill) = doctor::examine(place, environment, SERVER_PORT);
        let mut screen = Screen::new(&mut self.out, arguments.output, self.width);
        screen.show(table, &|| false)?;
        Ok(if is_ill { FAILED } else { OK })
    }

    pub(super) fn repair(&mut self, report: &Report, all: bool, arguments: &Arguments) -> Result<u8> {
        let (format, width) = (arguments.output, self.width);
        let mut screen = Screen::new(&mut self.out, format, width);
        repair::show(report, all, &mut screen, &mut self.errors)?;
        Ok(OK)
    }

    pub(super) fn topic(
        &mut self,
        command: &TopicCommand,
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
        let mut screen = Screen::new(&mut self.out, format, width);
        let shown = topic::run(command, tools, &mut screen)?;
        self.out.flush()?;
        self.remark(&shown, arguments)?;
        Ok(if shown.interrupted { INTERRUPTED } else { OK })
    }

    /// What a command says of itself, in formats in which only rows are written.
    fn remark(&mut self, shown: &Shown, arguments: &Arguments) -> Result<()> {
        let messages = shown.messages.iter().filter(|_| !arguments.quiet);
        for message in messages {
            writeln!(self.errors, "{message}")?;
        }
        Ok(())
    }
}

/// The statement of `tidegate query`.
pub(super) fn about_query(id: Option<&str>, action: Option<QueryAction>) -> String {
    match (id, action) {
        (None, _) => "SHOW QUERIES;".to_owned(),
        (Some(id), None) if id.eq_ignore_ascii_case("all") => "SHOW QUERIES;".to_owned(),
        (Some(id), None) => format!("EXPLAIN {id};"),
        (Some(id), Some(action)) => format!("{} {id};", action.keyword()),
    }
}

/// A text behind the variables of the command line.
fn define(arguments: &Arguments, text: &str) -> String {
    let variables = arguments.define.iter();
    let defined = variables.map(|(name, value)| format!("DEFINE {name} = '{}';", value.replace('\'', "''")));
    defined.collect::<String>() + text
}

/// A line for a user whose password is read from standard input.
fn password(name: &str, role: Role, scram: bool) -> Result<String> {
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    match password.trim_end_matches(['\r', '\n']) {
        "" => Err(Error::statement("missing password").with_hint("the password is read from standard input")),
        password if scram => scram_line(name, role, password),
        password => password_line(name, role, password),
    }
}
