//! Where a session's statements are carried out: by an engine in this process, or by the process that owns the data
//! directory.
//!
//! Who finds the directory free becomes its owner; who finds it owned attaches. A guest waits in the background for the end
//! of its owner and then takes over, or attaches to whoever was quicker: queries go on as long as any tidegate is there, and
//! the guest's session does not notice but for a line that says so.

use super::Notices;
use crate::config::{Config, LogConfig};
use crate::engine::Engine;
use crate::engine::introspect::names::Names;
use crate::engine::query::persistent::{Query, State};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::present::Outcome;
use crate::present::text::outcome;
use crate::serve::attach::client::{Client, Trouble};
use crate::serve::attach::owner::{Announcement, Owner};
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long an owner that begins or ends is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(25);
/// Time before the next try of a guest that could not take over.
const RETRY: Duration = Duration::from_secs(1);

/// Who carries out statements.
pub(super) enum Taken {
    /// This process, with the directory that it owns if there is one.
    Here(Engine, Option<Owner>),
    /// Another process.
    Guest(Arc<Client>),
    /// Nobody: the session has ended.
    Left,
}

/// A session's place. Dropping it ends the queries of this process.
pub(super) struct Seat {
    shared: Arc<Shared>,
}

/// The same, to be used without holding on to the seat.
enum Now {
    Here(Engine),
    Guest(Arc<Client>),
    Left,
}

struct Shared {
    config: Config,
    /// `None` = the place cannot be taken over.
    directory: Option<PathBuf>,
    clock: SharedClock,
    taken: Mutex<Taken>,
    /// What has happened to the seat and was not told yet.
    notices: Mutex<Vec<String>>,
    /// Queries of this process that have failed, as far as that is known to the user.
    failed: Mutex<BTreeSet<String>>,
}

/// The owner of a data directory, or its guest.
pub(super) enum Place {
    Owner(Owner),
    Guest(Client),
}

/// Takes the directory of the configuration, or attaches to its owner.
pub(super) fn take(config: &Config, directory: &Path, clock: &SharedClock) -> Result<Place> {
    let end = clock.monotonic() + PATIENCE;
    loop {
        let busy = match Owner::open(config.clone(), clock.clone()) {
            Ok(owner) => return Ok(Place::Owner(owner)),
            Err(e) if e.kind() == Kind::Busy => e,
            Err(e) => return Err(e),
        };
        // It may not listen yet, or may be about to end.
        let attached = Announcement::read(directory)
            .map_err(|e| if e.kind() == Kind::Busy { Trouble::Failed(e) } else { Trouble::Gone(e) })
            .and_then(|a| Client::attach(&a, directory));
        match attached {
            Ok(client) if client.hello.service_id == config.service_id => return Ok(Place::Guest(client)),
            Ok(client) => {
                let theirs = &client.hello.service_id;
                return Err(Error::new(Kind::Busy, format!("{} has the service id {theirs}", client.name()))
                    .with_hint(format!("end it, or attach with --service-id {theirs}")));
            }
            Err(Trouble::Failed(e)) if e.kind() == Kind::Busy => return Err(e),
            // It ended while it was asked, or did not begin yet.
            Err(_) if clock.monotonic() < end => clock.sleep(PAUSE),
            Err(trouble) => {
                let why = trouble.error();
                return Err(busy.with_detail(format!("and it cannot be attached to: {why}")));
            }
        }
    }
}

impl Seat {
    /// Takes a seat where the configuration says.
    pub(super) fn open(config: Config, clock: SharedClock) -> Result<Seat> {
        let taken = match &config.log {
            LogConfig::Embedded(directory) => match take(&config, directory, &clock)? {
                Place::Owner(owner) => Taken::Here(owner.engine()?, Some(owner)),
                Place::Guest(client) => Taken::Guest(Arc::new(client)),
            },
            LogConfig::Temporary | LogConfig::Kafka { .. } => {
                Taken::Here(Engine::open(config.clone(), clock.clone())?, None)
            }
        };
        let seat = Seat::at(taken, config, clock);
        seat.watch()?;
        Ok(seat)
    }

    /// A seat that is taken already.
    pub(super) fn at(taken: Taken, config: Config, clock: SharedClock) -> Seat {
        let mut notices = Vec::new();
        if let Taken::Guest(client) = &taken {
            notices.push(format!("attached to {}", client.name()));
        }
        if let Taken::Here(engine, _) = &taken
            && let records @ 1.. = engine.skipped_commands()
        {
            notices.push(format!("{records} records of the command log are no commands: tidegate repair shows them"));
        }
        let directory = match &config.log {
            LogConfig::Embedded(directory) => Some(directory.clone()),
            LogConfig::Temporary | LogConfig::Kafka { .. } => None,
        };
        // What has failed before is in SHOW QUERIES.
        let failed = match &taken {
            Taken::Here(engine, _) => failed(engine).into_keys().collect(),
            Taken::Guest(_) | Taken::Left => BTreeSet::new(),
        };
        let (notices, failed) = (Mutex::new(notices), Mutex::new(failed));
        let shared = Shared { config, directory, clock, taken: Mutex::new(taken), notices, failed };
        Seat { shared: Arc::new(shared) }
    }

    /// Carries out one statement.
    pub(super) fn execute(&self, text: &str, session: &mut Session) -> Result<Outcome> {
        loop {
            let client = match self.shared.now() {
                Now::Here(engine) => return run(&engine, text, session),
                Now::Guest(client) => client,
                Now::Left => return Err(Error::bug("a statement came after the end")),
            };
            match client.statement(text, session) {
                Ok((outcome, now)) => {
                    *session = now;
                    return Ok(outcome);
                }
                Err(Trouble::Failed(e)) => return Err(e),
                Err(Trouble::Gone(e)) if self.shared.directory.is_none() => return Err(e),
                Err(Trouble::Gone(_)) => self.shared.move_on(&client)?,
            }
        }
    }

    /// The session with which a prompt begins.
    pub(super) fn session(&self) -> Result<Session> {
        match self.shared.now() {
            Now::Guest(client) => client.session(&self.shared.config.properties),
            Now::Here(_) | Now::Left => Ok(Session::default()),
        }
    }

    /// Statements are carried out by another process.
    pub(super) fn is_guest(&self) -> bool {
        matches!(self.shared.now(), Now::Guest(_))
    }

    /// What statements can name.
    pub(super) fn names(&self) -> Names {
        match self.shared.now() {
            Now::Here(engine) => engine.names(&Session::default()),
            Now::Guest(client) => client.names(),
            Now::Left => Names::default(),
        }
    }

    /// Tells what has happened since it was last asked, for as long as the seat is taken.
    pub(super) fn notices(&self) -> Notices {
        let shared = Arc::downgrade(&self.shared);
        Arc::new(move || shared.upgrade().map(|shared| shared.notices()).unwrap_or_default())
    }

    /// The log that statements work on, in words.
    pub(super) fn log(&self) -> String {
        match self.shared.now() {
            Now::Here(engine) => engine.log().describe(),
            Now::Guest(client) => client.hello.log.clone(),
            Now::Left => String::new(),
        }
    }

    /// Waits in the background for the end of the owner.
    fn watch(&self) -> Result<()> {
        if self.shared.directory.is_none() || !matches!(self.shared.now(), Now::Guest(_)) {
            return Ok(());
        }
        let shared = Arc::downgrade(&self.shared);
        threads::spawn("owner-end", "", move || threads::rounds("owner-end", "", || wait(&shared)))?;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let taken = std::mem::replace(&mut *self.shared.taken.lock(), Taken::Left);
        // A directory's owner closes its engine itself.
        if let Taken::Here(engine, None) = taken {
            engine.close();
        }
    }
}

/// Queries that have failed, and why.
fn failed(engine: &Engine) -> BTreeMap<String, String> {
    let reason = |(id, query): (String, Arc<Query>)| match query.state() {
        State::Error(reason) => Some((id, reason)),
        State::Running | State::Paused | State::Waiting(_) => None,
    };
    engine.queries().into_iter().filter_map(reason).collect()
}

fn run(engine: &Engine, text: &str, session: &mut Session) -> Result<Outcome> {
    let mut answers = engine.run(text, session)?;
    Ok(match answers.len() {
        1 => outcome(answers.remove(0)),
        _ => Outcome::Many(answers.into_iter().map(outcome).collect()),
    })
}

fn wait(shared: &Weak<Shared>) -> ControlFlow<()> {
    let Some(Now::Guest(client)) = shared.upgrade().map(|s| s.now()) else { return ControlFlow::Break(()) };
    if !client.wait_until_gone() {
        // The next statement will notice.
        return ControlFlow::Break(());
    }
    let Some(shared) = shared.upgrade() else { return ControlFlow::Break(()) };
    if let Err(error) = shared.move_on(&client) {
        tracing::warn!(%error, "cannot take over from the owner that ended");
        shared.clock.sleep(RETRY);
    }
    ControlFlow::Continue(())
}

impl Shared {
    fn notices(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.notices.lock());
        if let Now::Here(engine) = self.now() {
            let failed = failed(&engine);
            let mut known = self.failed.lock();
            let new = failed.iter().filter(|(id, _)| !known.contains(*id));
            all.extend(new.map(|(id, reason)| format!("query {id} has failed: {reason}")));
            *known = failed.into_keys().collect();
        }
        all
    }

    fn now(&self) -> Now {
        match &*self.taken.lock() {
            Taken::Here(engine, _) => Now::Here(engine.clone()),
            Taken::Guest(client) => Now::Guest(client.clone()),
            Taken::Left => Now::Left,
        }
    }

    /// After the end of `gone`: takes the directory, or attaches to who has it now.
    fn move_on(&self, gone: &Arc<Client>) -> Result<()> {
        let mut taken = self.taken.lock();
        match &*taken {
            Taken::Guest(client) if Arc::ptr_eq(client, gone) => {}
            // Another thread was quicker.
            _ => return Ok(()),
        }
        let Some(directory) = &self.directory else { return Ok(()) };
        let (now, notice) = match take(&self.config, directory, &self.clock)? {
            Place::Owner(owner) => {
                let notice = format!("{} has ended; this one owns the directory now", gone.name());
                (Taken::Here(owner.engine()?, Some(owner)), notice)
            }
            Place::Guest(client) => {
                let notice = format!("{} has ended; attached to {}", gone.name(), client.name());
                (Taken::Guest(Arc::new(client)), notice)
            }
        };
        *taken = now;
        self.notices.lock().push(notice);
        Ok(())
    }
}
