//! Lookups that another process serves: the one that runs the query of the table.
//!
//! ```text
//! Owner::Here         the view of this process
//! Owner::Peer         asked over a kept connection (`Forwarding`); it serves the lookup or refuses it, and asks no other
//!    refuses, does not respond in time, is suspected meanwhile --+
//! Owner::Unknown ------------------------------------------------+--> the followed view of this process, or an error
//! ```
//!
//! The user, the topic and the limits of the client are checked where the client is; the process that is asked checks the role of the
//! user again, and that it means the same query and topic by the same statement: its catalogue may be older or newer.
//! An owner that fails after its first rows fails the lookup, because rows cannot be taken back.

use crate::config::properties::{self, PULL_FORWARDING_TIMEOUT, PULL_STANDBY_READS};
use crate::engine::Engine;
use crate::engine::access::Principal;
use crate::engine::query::pull::owners::{Owner, Owners, Peer};
use crate::engine::query::pull::stream::PullStream;
use crate::engine::query::pull::{Prepared, no_host};
use crate::engine::result::rows::RowStream;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::execute::pull::materialized_view::Followers;
use crate::log::Log;
use crate::parse::statement::Statement;
use crate::types::clock::SharedClock;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The other processes of a service, for lookups.
#[derive(Debug)]
pub(in crate::engine) struct Processes {
    /// Unset = there are none.
    pub(super) owners: OnceLock<Arc<dyn Owners>>,
    /// How they are asked; unset = they are not.
    forwarding: OnceLock<Arc<dyn Forwarding>>,
    /// Views of tables whose topics others write.
    pub(super) followers: Followers,
}

impl Processes {
    /// None; `label` is the service after which threads are named.
    pub(in crate::engine) fn new(log: &Arc<dyn Log>, clock: &SharedClock, label: &str) -> Processes {
        let followers = Followers::new(log.clone(), clock.clone(), label);
        Processes { owners: OnceLock::new(), forwarding: OnceLock::new(), followers }
    }
}

/// A lookup on its way to another process.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The statement.
    pub text: &'a str,
    /// The properties of its session.
    pub properties: &'a BTreeMap<String, String>,
    /// The user.
    pub user: &'a Principal,
    /// The query whose table is read.
    pub query: &'a str,
    /// The table's topic.
    pub topic: &'a str,
}

/// Asks other processes. One implementation is `serve::attach::peers`.
pub trait Forwarding: Send + Sync + Debug {
    /// Rows of a lookup from another process. `is_wanted` is asked now and then; its response is waited for no longer once that is
    /// false.
    fn ask(
        &self,
        peer: &Peer,
        lookup: &Lookup<'_>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Box<dyn RowStream>, NotServed>;
}

/// Why another process has returned no rows.
#[derive(Debug)]
pub enum NotServed {
    /// It cannot be reached, or does not serve this lookup now: the rows may be had elsewhere.
    Elsewhere(Error),
    /// The statement has failed, as it would here.
    Failed(Error),
}

impl NotServed {
    /// What an error of the other process means.
    pub fn of(error: Error) -> NotServed {
        match error.kind() {
            Kind::Fenced | Kind::Busy | Kind::Io | Kind::Bug => NotServed::Elsewhere(error),
            Kind::Statement | Kind::NotFound | Kind::Data => NotServed::Failed(error),
        }
    }
}

impl Engine {
    /// Has lookups of queries that run elsewhere asked in this way. Once; a later one is ignored.
    pub fn set_forwarding(&self, forwarding: Arc<dyn Forwarding>) {
        // Two servers over one engine ask in the same way.
        let _ = self.inner.processes.forwarding.set(forwarding);
    }

    /// Whether a lookup is asked of another process.
    pub(in crate::engine) fn is_forwarded(&self, query: &str) -> bool {
        let is_asked = |peer: &Peer| !peer.is_suspected && peer.address.is_some();
        self.inner.processes.forwarding.get().is_some()
            && matches!(self.owner(query), Owner::Peer(peer) if is_asked(&peer))
    }

    /// The rows of a lookup whose query runs in another process; `None` = they are read from the view of this one.
    pub(in crate::engine) fn ask_owner(
        &self,
        prepared: &Prepared,
        text: &str,
        session: &Session,
    ) -> Result<Option<Box<dyn RowStream>>> {
        let query = &*prepared.query;
        let properties = self.properties(session);
        let reason = match self.owner(query) {
            Owner::Here => return Ok(None),
            Owner::Unknown => format!("no process is known to run query {query} now"),
            Owner::Peer(peer) if peer.is_suspected => format!("process {} does not respond", peer.slot),
            Owner::Peer(peer) => match self.ask(&peer, prepared, text, session)? {
                Ok(rows) => return Ok(Some(rows)),
                Err(reason) => reason,
            },
        };
        if properties::flag(&properties, PULL_STANDBY_READS) {
            tracing::debug!(query, reason, "a lookup is served by a followed view");
            return Ok(None);
        }
        let hint = format!("try again later, or read what other processes have: SET '{PULL_STANDBY_READS}' = 'true'");
        Err(no_host(0, &reason).with_hint(hint))
    }

    /// Asks a process; the reason why that has no rows.
    fn ask(
        &self,
        peer: &Peer,
        prepared: &Prepared,
        text: &str,
        session: &Session,
    ) -> Result<std::result::Result<Box<dyn RowStream>, String>> {
        let slot = &peer.slot;
        let Some(forwarding) = self.inner.processes.forwarding.get() else {
            return Ok(Err(format!("this process cannot ask process {slot}")));
        };
        if peer.address.is_none() {
            return Ok(Err(format!("process {slot} has no address")));
        }
        let wait = properties::millis(&self.properties(session), PULL_FORWARDING_TIMEOUT).unwrap_or(Duration::MAX);
        let began = self.inner.clock.monotonic();
        let is_wanted = || {
            let is_owner = self.owner(&prepared.query) == Owner::Peer(peer.clone());
            is_owner && self.inner.clock.monotonic().saturating_sub(began) < wait
        };
        let (user, properties) = (session.principal(), session.properties());
        let lookup = Lookup { text, properties, user, query: &prepared.query, topic: &prepared.topic };
        match forwarding.ask(peer, &lookup, &is_wanted) {
            Ok(rows) => Ok(Ok(rows)),
            Err(NotServed::Failed(error)) => Err(error),
            Err(NotServed::Elsewhere(error)) => Ok(Err(format!("process {slot} does not serve it: {error}"))),
        }
    }

    /// A lookup that another process has sent because it takes this one for the owner of the query: served here, or refused with
    /// [`Kind::Fenced`].
    pub fn forwarded_lookup(&self, lookup: &Lookup<'_>, session: &Session) -> Result<Box<dyn RowStream>> {
        let refused = |why: &str| Error::new(Kind::Fenced, format!("{why} in the process that was asked"));
        if self.owner(lookup.query) != Owner::Here {
            return Err(refused(&format!("query {} does not run", lookup.query)));
        }
        if let Some(rows) = self.known_forwarded(lookup, session) {
            return rows;
        }
        // The sender could plan it: what fails here fails because the catalogues differ for a moment.
        let differs = |error: Error| refused("the statement cannot be planned").because(error);
        let parsed = self.parse(lookup.text, session).map_err(differs)?;
        let [statement] = parsed.as_slice() else { return Err(refused("one statement at a time is looked up")) };
        self.authorize(statement, session)?;
        let Statement::Select(select) = &statement.statement else { return Err(refused("only a SELECT is looked up")) };
        let planned = self.planned_pull(select, lookup.text, session).map_err(differs)?;
        let Some((prepared, _)) = planned.filter(|(prepared, _)| prepared.is_of(lookup)) else {
            return Err(refused("the statement reads something else"));
        };
        match self.pulled(&prepared, session)? {
            Some(rows) => Ok(Box::new(PullStream::new(Engine::bounded_id()?, rows, None))),
            None => Err(refused("the table is too large to be looked up")),
        }
    }
}
