//! Where a session's statements run: on an engine in this process, or in another process.
//!
//! The first process to open a data directory becomes its owner; any later one attaches to it. An attached session waits in the
//! background for the end of the owner, and then acquires the directory itself or attaches to the process that did: queries
//! continue for as long as any tidegate has the directory open, and the session shows one line about the change.

use crate::cli::Notices;
use crate::config::{Config, LogConfig};
use crate::engine::Engine;
use crate::engine::introspect::names::Names;
use crate::engine::query::persistent::{Query, State};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::present::Outcome;
use crate::present::text::outcome;
use crate::serve::attach::client::{CallError, Client};
use crate::serve::attach::owner::{Announcement, Owner};
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long to wait for an owner that is starting or ending.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts.
const ACQUIRE_INTERVAL: Duration = Duration::from_millis(25);
/// Time before the next attempt of an attached session that could not replace its owner.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What runs statements.
#[derive(Clone)]
pub(super) enum Backend {
    /// An engine in this process.
    Local(Engine),
    /// Another process.
    Attached(Arc<Client>),
    /// None: the session has ended.
    Closed,
}

/// A data directory that is open: owned, or through its owner.
pub(super) enum Directory {
    Owned(Owner),
    Attached(Box<Client>),
}

/// A session's backend, which changes when its owner ends. Dropping it stops the queries of this process.
pub(super) struct BackendHandle {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    /// The data directory to acquire when its owner ends; `None` = this backend cannot be replaced.
    directory: Option<PathBuf>,
    clock: SharedClock,
    current: Mutex<Current>,
    /// Changes of the backend that have not been shown yet.
    notices: Mutex<Vec<String>>,
    /// Failed queries of this process that the user has been shown.
    failed: Mutex<BTreeSet<String>>,
}

struct Current {
    backend: Backend,
    /// The data directory's lock, if this process holds it. It never leaves this struct: a clone would keep the directory.
    owner: Option<Owner>,
}

/// Acquires the directory of the configuration, or attaches to its owner.
pub(super) fn open_directory(config: &Config, directory: &Path, clock: &SharedClock) -> Result<Directory> {
    let end = clock.monotonic() + ACQUIRE_TIMEOUT;
    loop {
        let busy = match Owner::open(config.clone(), clock.clone()) {
            Ok(owner) => return Ok(Directory::Owned(owner)),
            Err(e) if e.kind() == Kind::Busy => e,
            Err(e) => return Err(e),
        };
        // The owner may not listen yet, or may be about to end.
        let attached = Announcement::read(directory)
            .map_err(|e| if e.kind() == Kind::Busy { CallError::Failed(e) } else { CallError::Unreachable(e) })
            .and_then(|a| Client::attach(&a, directory));
        match attached {
            Ok(client) if client.server.service_id == config.service_id => {
                return Ok(Directory::Attached(Box::new(client)));
            }
            Ok(client) => {
                let theirs = &client.server.service_id;
                return Err(Error::new(Kind::Busy, format!("{} runs with service id {theirs}", client.name()))
                    .with_hint(format!("stop it, or attach with --service-id {theirs}")));
            }
            Err(CallError::Failed(e)) if e.kind() == Kind::Busy => return Err(e),
            // It ended meanwhile, or has not started yet.
            Err(_) if clock.monotonic() < end => clock.sleep(ACQUIRE_INTERVAL),
            Err(error) => return Err(busy.with_detail(format!("attaching to it failed: {}", error.error()))),
        }
    }
}

impl BackendHandle {
    /// Opens the backend that the configuration names.
    pub(super) fn open(config: Config, clock: SharedClock) -> Result<BackendHandle> {
        let (backend, owner) = match &config.log {
            LogConfig::Embedded(directory) => match open_directory(&config, directory, &clock)? {
                Directory::Owned(owner) => (Backend::Local(owner.engine()?), Some(owner)),
                Directory::Attached(client) => (Backend::Attached(Arc::from(client)), None),
            },
            LogConfig::Temporary | LogConfig::Kafka { .. } => {
                (Backend::Local(Engine::open(config.clone(), clock.clone())?), None)
            }
        };
        let handle = BackendHandle::over(backend, owner, config, clock);
        handle.watch()?;
        Ok(handle)
    }

    /// Over a backend that is open.
    pub(super) fn over(backend: Backend, owner: Option<Owner>, config: Config, clock: SharedClock) -> BackendHandle {
        let mut notices = Vec::new();
        // Queries that had failed before are in SHOW QUERIES.
        let mut known = BTreeSet::new();
        match &backend {
            Backend::Attached(client) => notices.push(format!("attached to {}", client.name())),
            Backend::Local(engine) => {
                known = failed(engine).into_keys().collect();
                if let records @ 1.. = engine.skipped_commands() {
                    notices
                        .push(format!("skipped {records} invalid command log records; `tidegate repair` shows them"));
                }
            }
            Backend::Closed => {}
        }
        let directory = match &config.log {
            LogConfig::Embedded(directory) => Some(directory.clone()),
            LogConfig::Temporary | LogConfig::Kafka { .. } => None,
        };
        let current = Mutex::new(Current { backend, owner });
        let (notices, failed) = (Mutex::new(notices), Mutex::new(known));
        BackendHandle { shared: Arc::new(Shared { config, directory, clock, current, notices, failed }) }
    }

    /// Runs one statement.
    pub(super) fn execute(&self, text: &str, session: &mut Session) -> Result<Outcome> {
        loop {
            let client = match self.shared.backend() {
                Backend::Local(engine) => return run(&engine, text, session),
                Backend::Attached(client) => client,
                Backend::Closed => return Err(Error::bug("a statement on a closed session")),
            };
            match client.statement(text, session) {
                Ok((outcome, after)) => {
                    *session = after;
                    return Ok(outcome);
                }
                Err(CallError::Failed(e)) => return Err(e),
                Err(CallError::Unreachable(e)) if self.shared.directory.is_none() => return Err(e),
                Err(CallError::Unreachable(_)) => self.shared.replace(&client)?,
            }
        }
    }

    /// The session with which a prompt starts.
    pub(super) fn session(&self) -> Result<Session> {
        match self.shared.backend() {
            Backend::Attached(client) => client.session(&self.shared.config.properties),
            Backend::Local(_) | Backend::Closed => Ok(Session::default()),
        }
    }

    /// Statements run in another process.
    pub(super) fn is_attached(&self) -> bool {
        matches!(self.shared.backend(), Backend::Attached(_))
    }

    /// What statements can name.
    pub(super) fn names(&self) -> Names {
        match self.shared.backend() {
            Backend::Local(engine) => engine.names(&Session::default()),
            Backend::Attached(client) => client.names(),
            Backend::Closed => Names::default(),
        }
    }

    /// Returns what has happened since the previous call, for as long as the handle lives.
    pub(super) fn notices(&self) -> Notices {
        let shared = Arc::downgrade(&self.shared);
        Arc::new(move || shared.upgrade().map(|shared| shared.notices()).unwrap_or_default())
    }

    /// Description of the log that statements work on.
    pub(super) fn log(&self) -> String {
        match self.shared.backend() {
            Backend::Local(engine) => engine.log().describe(),
            Backend::Attached(client) => client.server.log.clone(),
            Backend::Closed => String::new(),
        }
    }

    /// Waits in the background for the end of the owner.
    fn watch(&self) -> Result<()> {
        if self.shared.directory.is_none() || !self.is_attached() {
            return Ok(());
        }
        let shared = Arc::downgrade(&self.shared);
        threads::spawn("owner-end", "", move || threads::rounds("owner-end", "", || await_owner_end(&shared)))?;
        Ok(())
    }
}

impl Drop for BackendHandle {
    fn drop(&mut self) {
        let closed = Current { backend: Backend::Closed, owner: None };
        let last = std::mem::replace(&mut *self.shared.current.lock(), closed);
        // An owner closes its engine itself, when it is dropped here.
        if let (Backend::Local(engine), None) = (last.backend, last.owner) {
            engine.close();
        }
    }
}

/// Queries that have failed, with the reasons.
fn failed(engine: &Engine) -> BTreeMap<String, String> {
    let reason = |(id, query): (String, Arc<Query>)| match query.state() {
        State::Error(reason) => Some((id, reason)),
        State::Running | State::Paused | State::Waiting(_) => None,
    };
    engine.queries().into_iter().filter_map(reason).collect()
}

fn run(engine: &Engine, text: &str, session: &mut Session) -> Result<Outcome> {
    let mut results = engine.run(text, session)?;
    Ok(match results.len() {
        1 => outcome(results.remove(0)),
        _ => Outcome::Many(results.into_iter().map(outcome).collect()),
    })
}

fn await_owner_end(shared: &Weak<Shared>) -> ControlFlow<()> {
    let Some(Backend::Attached(client)) = shared.upgrade().map(|s| s.backend()) else {
        return ControlFlow::Break(());
    };
    if !client.wait_until_gone() {
        // The next statement will notice.
        return ControlFlow::Break(());
    }
    let Some(shared) = shared.upgrade() else { return ControlFlow::Break(()) };
    if let Err(error) = shared.replace(&client) {
        tracing::warn!(%error, "cannot replace the owner that has ended");
        shared.clock.sleep(RETRY_INTERVAL);
    }
    ControlFlow::Continue(())
}

impl Shared {
    fn backend(&self) -> Backend {
        self.current.lock().backend.clone()
    }

    fn notices(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.notices.lock());
        if let Backend::Local(engine) = self.backend() {
            let failed = failed(&engine);
            let mut known = self.failed.lock();
            let new = failed.iter().filter(|(id, _)| !known.contains(*id));
            all.extend(new.map(|(id, reason)| format!("query {id} has failed: {reason}")));
            *known = failed.into_keys().collect();
        }
        all
    }

    /// After the end of `gone`: acquires the directory, or attaches to the process that has acquired it.
    fn replace(&self, gone: &Arc<Client>) -> Result<()> {
        let mut current = self.current.lock();
        match &current.backend {
            Backend::Attached(client) if Arc::ptr_eq(client, gone) => {}
            // Another thread has done it.
            _ => return Ok(()),
        }
        let Some(directory) = &self.directory else { return Ok(()) };
        let (next, notice) = match open_directory(&self.config, directory, &self.clock)? {
            Directory::Owned(owner) => {
                let notice = format!("{} has ended; this process owns the directory now", gone.name());
                (Current { backend: Backend::Local(owner.engine()?), owner: Some(owner) }, notice)
            }
            Directory::Attached(client) => {
                let notice = format!("{} has ended; attached to {}", gone.name(), client.name());
                (Current { backend: Backend::Attached(Arc::from(client)), owner: None }, notice)
            }
        };
        *current = next;
        self.notices.lock().push(notice);
        Ok(())
    }
}
