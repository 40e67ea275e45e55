//! Persistent queries of a service with several processes.
//!
//! Each process has the whole catalogue and an object for each query, whose thread waits while the control topic gives the query
//! to another process ([`Place`]). What a query does elsewhere is known from the pulses of its process.

use super::{Query, Shared, State};
use crate::engine::Engine;
use crate::engine::cluster::names::{QueryName, Unit};
use crate::engine::cluster::node::place::Place;
use crate::engine::cluster::node::pulse::QueryPulse;
use crate::engine::cluster::node::{Member, Queries};
use crate::engine::cluster::planner::Wanted;
use crate::engine::query::condition::Condition;
use crate::engine::snapshot::Published;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a new query may be without a process before that is worth a word: a plan takes milliseconds.
const PLACED_WITHIN: Duration = Duration::from_secs(3);
/// The reason of a query that no process has.
const NO_OWNER: &str = "no process of the service runs it yet";

/// The queries of an engine, for its node. Weak: queries know their place, and so the node.
struct Placed(Weak<Published>);

impl Engine {
    /// From now on this process takes queries, and plans if it is its turn.
    pub(in crate::engine) fn take_part(&self) {
        if let Some(node) = &self.inner.node {
            node.begin(Box::new(Placed(Arc::downgrade(&self.inner.state))));
        }
    }
}

impl Placed {
    /// None once the engine has ended.
    fn queries(&self) -> Vec<(String, Arc<Query>)> {
        let state = self.0.upgrade().map(|published| published.load());
        state.iter().flat_map(|state| state.queries()).map(|(id, query)| (id.clone(), query.clone())).collect()
    }
}

impl Queries for Placed {
    fn wanted(&self) -> Vec<Wanted> {
        let wanted = |(id, _): (String, Arc<Query>)| {
            let unit = Unit::new(&QueryName::new(&id), 0);
            Wanted { unit, load: 1, state_bytes: 0, standbys: 0, lags: Vec::new() }
        };
        self.queries().into_iter().map(wanted).collect()
    }

    fn running(&self) -> Vec<QueryPulse> {
        let here = self.queries().into_iter().filter(|(_, query)| query.is_here());
        here.map(|(id, query)| query.condition_here().pulse(&id)).collect()
    }

    fn assigned(&self) {
        self.queries().iter().for_each(|(_, query)| query.shared.wake());
    }
}

impl Query {
    /// Its id.
    pub(in crate::engine) fn id(&self) -> &str {
        &self.shared.id
    }

    /// Whether this process runs it.
    pub fn is_here(&self) -> bool {
        self.shared.is_here()
    }

    /// The process that runs it, where several share the queries of a service and one of them has it.
    pub fn owner(&self) -> Option<Member> {
        self.shared.place.as_ref()?.owner()
    }

    /// Whether there are, or have been, other processes of its service.
    pub(in crate::engine) fn is_shared(&self) -> bool {
        self.shared.place.as_ref().is_some_and(Place::is_shared)
    }

    /// Where it runs, as users are shown it: `HOST:PORT`, or the slot of a process without a listener. `None` = this process is
    /// alone, or no process has it.
    pub fn host(&self) -> Option<String> {
        let place = self.shared.place.as_ref().filter(|place| place.is_shared())?;
        let owner = place.owner()?;
        Some(owner.authority().unwrap_or_else(|| format!("slot {}", owner.slot)))
    }

    pub(super) fn condition_elsewhere(&self, place: &Place) -> Condition {
        if let Some(pulse) = place.pulse() {
            return Condition::of_pulse(&pulse);
        }
        let status = self.shared.status.lock();
        let state = match (&status.state, place.owner()) {
            (State::Paused, _) => State::Paused,
            (_, Some(_)) => State::Running,
            // It was created a moment ago.
            (_, None) if self.shared.clock.monotonic() < self.shared.begun + PLACED_WITHIN => State::Running,
            (_, None) => State::Waiting(NO_OWNER.to_owned()),
        };
        Condition { state, since_ms: status.since }
    }
}

impl Shared {
    /// Whether this process runs it.
    pub(super) fn is_here(&self) -> bool {
        self.place.as_ref().is_none_or(Place::is_here)
    }
}
