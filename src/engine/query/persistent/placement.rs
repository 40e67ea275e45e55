//! Persistent queries of a service with several processes.
//!
//! Each process has the whole catalogue and an object for each query, whose thread waits while the control topic gives the query
//! to another process ([`Place`]). What a query does elsewhere is known from the pulses of its process.

use super::{Query, Shared, State};
use crate::engine::Engine;
use crate::engine::cluster::names::{QueryName, Unit};
use crate::engine::cluster::node::place::Place;
use crate::engine::cluster::node::pulse::{CountsElsewhere, QueryCounts, QueryPulse, StandbyPulse};
use crate::engine::cluster::node::{Member, Queries};
use crate::engine::cluster::planner::Wanted;
use crate::engine::facts::query::StandbyFacts;
use crate::engine::query::condition::Condition;
use crate::engine::snapshot::Published;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a new query may be without a process before that is worth a word: a plan takes milliseconds.
const PLACED_WITHIN: Duration = Duration::from_secs(3);
/// The reason of a query that no process has.
const NO_OWNER: &str = "no process of the service runs it yet";

/// The queries of an engine and its generated streams, for its node.
struct Placed {
    /// Weak: queries know their place, and so the node.
    state: Weak<Published>,
    generated: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl Engine {
    /// From now on this process takes queries, and plans if it is its turn.
    pub(in crate::engine) fn take_part(&self) {
        if let Some(node) = &self.inner.node {
            let (state, generators) = (Arc::downgrade(&self.inner.state), self.inner.generators.clone());
            node.begin(Box::new(Placed { state, generated: Box::new(move || generators.streams()) }));
        }
    }
}

impl Placed {
    /// None once the engine has ended.
    fn queries(&self) -> Vec<(String, Arc<Query>)> {
        let state = self.state.upgrade().map(|published| published.load());
        state.iter().flat_map(|state| state.queries()).map(|(id, query)| (id.clone(), query.clone())).collect()
    }
}

impl Queries for Placed {
    fn wanted(&self) -> Vec<Wanted> {
        let queries = self.queries().into_iter().map(|(id, query)| (QueryName::new(&id), query.standbys_wanted()));
        let generators = (self.generated)().into_iter().map(|stream| (QueryName::generator(&stream), 0));
        // The node adds what it hears: the size of the state and the lags.
        let wanted = |(name, standbys): (QueryName, usize)| Wanted {
            unit: Unit::new(&name, 0),
            load: 1,
            state_bytes: 0,
            standbys,
            lags: Vec::new(),
        };
        queries.chain(generators).map(wanted).collect()
    }

    fn running(&self, counted: bool) -> Vec<QueryPulse> {
        let here = self.queries().into_iter().filter(|(_, query)| query.is_here());
        let pulse = |(id, query): (String, Arc<Query>)| {
            let counts = counted.then(|| query.counts_here());
            QueryPulse { counts, ..query.condition_here().pulse(&id) }
        };
        here.map(pulse).collect()
    }

    fn standing_by(&self) -> Vec<StandbyPulse> {
        let standby = |(id, query): (String, Arc<Query>)| {
            let stores = query.shared.standby.lock().clone()?;
            Some(StandbyPulse { id, stores })
        };
        self.queries().into_iter().filter_map(standby).collect()
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

    /// How many processes beside the one that runs it are to keep its state up to date.
    fn standbys_wanted(&self) -> usize {
        self.spec().filter(|spec| !spec.pipeline.stores().is_empty()).map_or(0, |spec| spec.standbys)
    }

    /// The processes that keep its state up to date.
    pub fn standbys(&self) -> Vec<StandbyFacts> {
        let standbys = self.shared.place.as_ref().map(Place::standbys).unwrap_or_default();
        standbys.into_iter().map(|(member, lag)| StandbyFacts { host: member.host(), lag }).collect()
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
        place.owner().map(|owner| owner.host())
    }

    /// Its counters, if another process runs it: zero until that has said them.
    pub(in crate::engine) fn counts_elsewhere(&self) -> Option<CountsElsewhere> {
        self.shared.place.as_ref()?.counts_elsewhere()
    }

    /// What it has done in this process.
    pub(in crate::engine) fn counts_here(&self) -> QueryCounts {
        QueryCounts::of(self.progress(), self.restarts())
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
