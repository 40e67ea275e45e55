//! A session: what its client has prepared and opened, and what becomes of each message. It runs on threads that may wait; its
//! responses go through [`Out`].
//!
//! ```text
//! Query                              each statement: described, run, completed; then ReadyForQuery        (simple)
//! Parse Bind Describe Execute Sync   an error skips to Sync                                               (extended)
//! ```

mod copy;
mod copy_binary;
mod copy_format;
mod cursor;
mod extended;
mod out;
mod portal;
mod prepare;
mod rows;
pub(in crate::serve) mod run;

pub(super) use out::Out;

use super::catalog;
use super::errors::{CANCELLED, FAILED_TRANSACTION, Failure, PROTOCOL, SYNTAX, position};
use super::messages::Frontend;
use super::names;
use super::reply::Severity;
use super::settings::Settings;
use super::signal::Signal;
use super::verbs::{Verb, verb};
use crate::config;
use crate::engine::Answer;
use crate::engine::access::{Principal, Role};
use crate::engine::result::entity::{Entity, FunctionRow};
use crate::engine::session::Session as EngineSession;
use crate::parse;
use crate::serve::App;
use copy::Incoming;
use extended::{Bound, Prepared};
use portal::Portal;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What follows a message.
#[derive(Debug)]
pub(super) enum Flow {
    Next,
    /// The client has said goodbye.
    End,
    /// The connection cannot continue.
    Broken(Failure),
}

/// State of a session's transaction block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    Failed,
}

/// One client.
pub(super) struct Session {
    app: Arc<App>,
    engine: EngineSession,
    settings: Settings,
    process: i32,
    signal: Arc<Signal>,
    transaction: Transaction,
    /// It was said that a transaction groups nothing.
    transactions_explained: bool,
    /// An error of the extended protocol: everything up to Sync is skipped.
    skipping: bool,
    statements: HashMap<String, Arc<Prepared>>,
    /// Portals and cursors that were opened.
    portals: HashMap<String, Portal>,
    /// Portals that were bound and not yet opened.
    bound: HashMap<String, Bound>,
    /// Rows that the client is sending: a COPY FROM.
    incoming: Option<Incoming>,
}

impl Session {
    pub(super) fn new(app: Arc<App>, principal: Principal, process: i32, signal: Arc<Signal>) -> Session {
        Session {
            app,
            engine: EngineSession::of(principal),
            settings: Settings::default(),
            process,
            signal,
            transaction: Transaction::None,
            transactions_explained: false,
            skipping: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
            bound: HashMap::new(),
            incoming: None,
        }
    }

    /// Applies the parameters of the startup packet.
    pub(super) fn begin(&mut self, parameters: &[(String, String)]) -> Result<(), Failure> {
        let user = self.engine.principal().name.clone();
        self.settings.set_user(&user);
        for (name, value) in parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => self.options(value)?,
                name if name.starts_with("_pq_.") => {}
                // An encoding that is not ours is an error; what is not known was meant for another server.
                name if self.settings.has(name) => drop(self.settings.set(name, Some(value))?),
                name => tracing::debug!(name, "unknown startup parameter"),
            }
        }
        Ok(())
    }

    /// `-c name=value -c name=value`; a backslash quotes a space.
    fn options(&mut self, text: &str) -> Result<(), Failure> {
        let spaced = text.replace("\\ ", "\u{0}");
        let words = spaced.split_whitespace().map(|word| word.replace('\u{0}', " "));
        for word in words {
            let option = word.strip_prefix("-c").or_else(|| word.strip_prefix("--")).unwrap_or(&word);
            if let Some((name, value)) = option.split_once('=') {
                self.set(&name.trim().replace('-', "_"), Some(value))?;
            }
        }
        Ok(())
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A setting of the session, or a property of the engine.
    fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<&'static str>, Failure> {
        if !self.settings.has(name) && config::property_of(name).is_some() {
            match value {
                Some(value) => self.engine.set(name, value)?,
                None => self.engine.unset(name)?,
            }
            return Ok(None);
        }
        self.settings.set(name, value)
    }

    /// Handles messages in their order.
    pub(super) fn handle_all(&mut self, messages: Vec<Frontend>, out: &mut Out) -> Flow {
        for message in messages {
            match self.handle(message, out) {
                Flow::Next if out.is_over() => return Flow::Next,
                Flow::Next => {}
                end => return end,
            }
        }
        Flow::Next
    }

    fn handle(&mut self, message: Frontend, out: &mut Out) -> Flow {
        if self.incoming.is_some() && !matches!(message, Frontend::Terminate) {
            self.copying(message, out);
            return Flow::Next;
        }
        match message {
            Frontend::Terminate => return Flow::End,
            Frontend::Sync => {
                self.skipping = false;
                self.end_of_batch(out);
                return Flow::Next;
            }
            Frontend::Query(_) if !self.skipping => {}
            _ if self.skipping => return Flow::Next,
            _ => {}
        }
        match message {
            Frontend::Query(text) => self.simple(&text, out),
            Frontend::Password(_) => {
                let failure = Failure::new(PROTOCOL, "unexpected password message");
                return Flow::Broken(failure);
            }
            // COPY has ended already, with an error: what the client still sends is dropped, as in Postgres.
            Frontend::CopyData(_) | Frontend::CopyDone | Frontend::CopyFail(_) => {}
            other => self.extended(other, out),
        }
        Flow::Next
    }

    /// A message while the client sends rows.
    fn copying(&mut self, message: Frontend, out: &mut Out) {
        let simple = self.incoming.as_ref().is_some_and(|incoming| incoming.simple);
        let done = match message {
            Frontend::CopyData(data) => self.copy_data(&data).map(|()| None),
            Frontend::CopyDone => self.copy_done().map(Some),
            Frontend::CopyFail(why) => Err(Failure::new(CANCELLED, format!("COPY from stdin failed: {why}"))),
            // As in Postgres they mean nothing here.
            Frontend::Flush | Frontend::Sync => Ok(None),
            _ => Err(Failure::new(PROTOCOL, "unexpected message during COPY from stdin")),
        };
        match done {
            Ok(None) => return,
            Ok(Some(rows)) => out.reply.complete(&format!("COPY {rows}")),
            Err(failure) => {
                self.copy_ends();
                self.skipping = !simple;
                self.fail(failure, None, out);
            }
        }
        if simple {
            self.end_of_batch(out);
        }
    }

    /// Portals of a batch outside of a transaction end with it.
    fn end_of_batch(&mut self, out: &mut Out) {
        if self.transaction == Transaction::None {
            self.portals.retain(|_, portal| portal.is_held());
            self.bound.clear();
        }
        out.reply.ready(self.status());
    }

    fn status(&self) -> u8 {
        match self.transaction {
            Transaction::None => b'I',
            Transaction::Open => b'T',
            Transaction::Failed => b'E',
        }
    }

    /// All statements of a text, up to the first that fails.
    fn simple(&mut self, text: &str, out: &mut Out) {
        self.signal.cancelled.store(false, Ordering::Release);
        if let Err((failure, at)) = self.statements_of(text, out) {
            self.fail(failure, at.map(|at| position(text, at)), out);
        }
        self.portals.remove("");
        match &mut self.incoming {
            // It is answered when the client has sent its rows.
            Some(incoming) => incoming.simple = true,
            None => self.end_of_batch(out),
        }
    }

    /// An error comes with the byte at which it is.
    fn statements_of(&mut self, text: &str, out: &mut Out) -> Result<(), (Failure, Option<usize>)> {
        parse::check_comments(text).map_err(|error| located(error.into()))?;
        let pieces = parse::split(text);
        if pieces.is_empty() {
            out.reply.empty(b'I');
        }
        if pieces.len() > crate::engine::STATEMENTS_MAX {
            return Err((Failure::new(super::errors::LIMIT, "too many statements at once"), None));
        }
        for piece in pieces {
            if self.incoming.is_some() {
                self.copy_ends();
                return Err((Failure::new(SYNTAX, "COPY FROM STDIN is the last statement of a text"), None));
            }
            let shifted = |(failure, at): (Failure, Option<usize>)| (failure, at.map(|at| at + piece.span.start));
            self.statement_of(piece.text, out).map_err(shifted)?;
        }
        Ok(())
    }

    fn statement_of(&mut self, text: &str, out: &mut Out) -> Result<(), (Failure, Option<usize>)> {
        let verb = verb(text, &self.settings).map_err(|failure| (failure, None))?;
        self.check_transaction(&verb).map_err(|failure| (failure, None))?;
        let mut portal = self.open(text, &verb, out).map_err(located)?;
        if let Some(fields) = portal.fields() {
            out.reply.row_description(&fields);
        }
        self.fetch(&mut portal, None, out).map_err(located)?;
        if self.incoming.is_none() {
            out.reply.complete(&portal.tag());
        }
        Ok(())
    }

    /// In a failed transaction only its end is carried out, as in Postgres: a client that has not noticed the error must not go on.
    fn check_transaction(&self, verb: &Verb) -> Result<(), Failure> {
        let ends = matches!(verb, Verb::Commit | Verb::Rollback | Verb::Savepoint("ROLLBACK"));
        match self.transaction == Transaction::Failed && !ends {
            true => Err(Failure::new(
                FAILED_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            false => Ok(()),
        }
    }

    /// Reports an error of a statement.
    fn fail(&mut self, failure: Failure, position: Option<usize>, out: &mut Out) {
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
        out.reply.problem(Severity::Error, failure.state, &failure.error, position);
    }

    /// A name of the client, as it is spelled in a text for the engine.
    fn spelled(&self, name: &str) -> String {
        format!("`{}`", names::source_name(&self.app.engine.catalog(), name).replace('`', "``"))
    }

    /// The statement, if it is one of the catalogue and not of the engine.
    fn of_catalog(&self, text: &str) -> Option<sqlparser::ast::Statement> {
        catalog::statement(text, &self.app.engine.catalog())
    }

    /// What the catalogue shows at this moment.
    fn facts(&mut self, text: &str) -> catalog::Facts {
        let setting = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let functions = match catalog::reads_functions(text) {
            true => self.functions(),
            false => Vec::new(),
        };
        let principal = self.engine.principal();
        catalog::Facts {
            database: self.app.engine.config().service_id.clone(),
            user: principal.name.to_string(),
            is_admin: principal.role == Role::Admin,
            application: self.settings.application().to_owned(),
            process: self.process,
            settings: self.settings.all().into_iter().map(setting).collect(),
            catalog: self.app.engine.visible_catalog(&self.engine),
            functions,
        }
    }

    /// The functions of the engine, from its own descriptions.
    fn functions(&mut self) -> Vec<catalog::Function> {
        let Ok(Entity::Functions(names)) = self.inquire("SHOW FUNCTIONS") else { return Vec::new() };
        let described = names.into_iter().filter_map(|FunctionRow { name, .. }| {
            let Ok(Entity::Function(help)) = self.inquire(&format!("DESCRIBE FUNCTION {name}")) else { return None };
            let first = help.signatures.first();
            Some(catalog::Function {
                name,
                kind: help.kind,
                arguments: first.map(|signature| signature.arguments.join(", ")).unwrap_or_default(),
                returns: first.map(|signature| signature.returns.clone()).unwrap_or_default(),
                description: help.description.into_owned(),
            })
        });
        described.collect()
    }

    /// The engine's answer to a question about itself.
    fn inquire(&mut self, text: &str) -> Result<Entity, Failure> {
        let parsed = self.parsed(text)?;
        match self.app.engine.execute(&parsed, &mut self.engine)? {
            Answer::Entity(entity) => Ok(entity),
            Answer::Rows(_) => Err(Failure::new(SYNTAX, "a question about the engine has rows")),
        }
    }

    /// The text with the names of the catalogue as the engine knows them.
    fn resolved<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        names::resolved(text, &self.app.engine.catalog())
    }
}

/// An error with its place in the statement.
fn located(failure: Failure) -> (Failure, Option<usize>) {
    // A syntax error without a place is at the beginning.
    let at = failure.error.span().map(|span| span.start).or((failure.state == SYNTAX).then_some(0));
    (failure, at)
}
