//! A process as a member of its service: what it reads of the others, what it appends, and which queries are its own.
//!
//! ```text
//! listener   reads control topic and pulses, folds them, and notifies the queries of changes      thread "cluster-listener"
//! speaker    appends Hello, pulses, plans, Confirms and Drain                                    thread "cluster-speaker"
//! place      a query's view: is it ours? confirmed after each start of a producer (C3)           on the query's thread
//! ```
//!
//! Only the listener changes the folded state, and only the speaker appends, so that a request that hangs keeps no process from
//! hearing. Neither holds the lock of the state while it waits for the broker. What counts is decided by the pure machines
//! beside this module; here they are fed and obeyed.

mod listener;
mod probe;
mod shortening;
mod speaker;
mod topics;

pub mod place;
pub mod pulse;

use super::control::Control;
use super::hearing::{Hearing, Presence};
use super::membership::Membership;
use super::names::{Incarnation, QueryName, Slot, Term, Unit};
use super::planner::Wanted;
use super::record::{Entry, Hello, UnitState};
use crate::config::random_id;
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::threads;
use crate::types::clock::SharedClock;
use axum::http::Uri;
use parking_lot::{Condvar, Mutex};
use pulse::{CountsElsewhere, Pulse, QueryPulse, StandbyPulse};
use shortening::Snapshots;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use topics::Topics;

/// The format level of this build.
const LEVEL: u32 = 1;
/// How long a start waits until its Hello is in the control topic, and a query until the topic has been read to its end.
const CONTROL_WAIT: Duration = Duration::from_secs(15);
/// How long a process that ends waits for others to take its queries.
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// What a node has to know about the queries of its engine.
pub trait Queries: Send + Sync {
    /// All of the catalogue.
    fn wanted(&self) -> Vec<Wanted>;
    /// What those do that run in this process, with their counters if they are wanted.
    fn running(&self, counted: bool) -> Vec<QueryPulse>;
    /// Those whose state this process keeps up to date.
    fn standing_by(&self) -> Vec<StandbyPulse>;
    /// The control topic has changed: each may have become this process's or another's.
    fn assigned(&self);
}

/// How a process introduces itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Its stable name.
    pub slot: String,
    /// Where other processes reach it, if that is configured.
    pub address: Option<String>,
}

/// One process of a service, as the control topic knows it.
pub struct Node {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What is known of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its slot.
    pub slot: String,
    /// Whether it is this process.
    pub is_me: bool,
    /// Where it is reached, if it said so.
    pub address: Option<String>,
    /// Its version of Tidegate.
    pub version: String,
    /// What is known about its life.
    pub presence: Presence,
    /// When its last pulse was sent, by its own clock.
    pub sent_ms: Option<i64>,
    /// The queries that it owns.
    pub queries: Vec<String>,
}

impl Member {
    /// `HOST:PORT` of its address.
    pub fn authority(&self) -> Option<String> {
        let url = self.address.as_deref()?.parse::<Uri>().ok()?;
        url.authority().map(ToString::to_string)
    }

    /// As users are shown it: `HOST:PORT`, or the slot of a process without a listener.
    pub fn host(&self) -> String {
        self.authority().unwrap_or_else(|| format!("slot {}", self.slot))
    }
}

struct Shared {
    log: Arc<dyn Log>,
    clock: SharedClock,
    service: String,
    topics: Topics,
    me: Slot,
    incarnation: Incarnation,
    heard: Mutex<Heard>,
    /// Signalled after `heard` has changed, and at the end.
    changed: Condvar,
    queries: OnceLock<Box<dyn Queries>>,
    stop: AtomicBool,
}

/// What the topics say, and what this process wants to say.
struct Heard {
    control: Control,
    hearing: Hearing,
    membership: Membership,
    pulses: BTreeMap<Slot, Pulse>,
    /// Counters of queries that other processes run, by id.
    counts: BTreeMap<String, CountsElsewhere>,
    snapshots: Snapshots,
    /// Why this process cannot know who owns what: it owns nothing then.
    failed: Option<Error>,
    /// What hinders the reading at present.
    trouble: Option<String>,
    /// Where other processes reach this one.
    address: String,
    /// Queries whose writer is open in this process.
    open: BTreeSet<QueryName>,
    /// Ownerships that were committed: to be confirmed.
    taken: BTreeMap<QueryName, Term>,
    /// Something changed that the speaker has not looked at.
    is_news: bool,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("slot", &self.shared.me).finish_non_exhaustive()
    }
}

impl Node {
    /// Joins a service: returns when the control topic shows this start as the present one of its slot.
    pub fn join(log: Arc<dyn Log>, clock: SharedClock, service: &str, intro: Introduction) -> Result<Node> {
        let topics = Topics::ensure(&*log, service)?;
        let (me, incarnation) = (Slot::new(&intro.slot), Incarnation(random_id()? as u64));
        let address = intro.address.unwrap_or_default();
        let hello = Hello {
            slot: me.clone(),
            incarnation,
            address: address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            levels: (LEVEL, LEVEL),
            zone: None,
            weight: 1,
        };
        let heard = Heard {
            control: Control::default(),
            hearing: Hearing::new(me.clone(), incarnation),
            membership: Membership::new(hello),
            pulses: BTreeMap::new(),
            counts: BTreeMap::new(),
            snapshots: Snapshots::default(),
            failed: None,
            trouble: None,
            address,
            open: BTreeSet::new(),
            taken: BTreeMap::new(),
            is_news: true,
        };
        let (heard, queries, stop) = (Mutex::new(heard), OnceLock::new(), AtomicBool::new(false));
        let (changed, service) = (Condvar::new(), service.to_owned());
        let shared = Arc::new(Shared { log, clock, service, topics, me, incarnation, heard, changed, queries, stop });
        let node = Node { shared: shared.clone(), threads: Mutex::default() };
        node.start(listener::KIND, listener::listen)?;
        node.start(speaker::KIND, speaker::speak)?;
        shared.wait_until("it has joined its service", |heard| heard.membership.is_joined(&heard.control))?;
        Ok(node)
    }

    fn start(&self, kind: &'static str, work: fn(&Arc<Shared>)) -> Result<()> {
        let shared = self.shared.clone();
        let thread = threads::spawn(kind, self.shared.service.as_str(), move || work(&shared))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// From now on plans are made for these queries.
    pub fn begin(&self, queries: Box<dyn Queries>) {
        // A second call would come from a second engine over this node, which does not exist.
        let _ = self.shared.queries.set(queries);
        self.news();
    }

    /// The catalogue has changed.
    pub fn news(&self) {
        self.shared.heard.lock().is_news = true;
        self.shared.changed.notify_all();
    }

    /// Where other processes reach this one, unless it is configured.
    pub fn listens_at(&self, address: &str) {
        let mut heard = self.shared.heard.lock();
        if heard.address.is_empty() {
            heard.address = address.to_owned();
        }
    }

    /// All processes that have ever introduced themselves, by slot.
    pub fn members(&self) -> Vec<Member> {
        let heard = self.shared.heard.lock();
        let now = self.shared.now_ms();
        let slots: Vec<Slot> = heard.control.members().iter().map(|member| member.hello.slot.clone()).collect();
        slots.iter().filter_map(|slot| heard.member(slot, &self.shared.me, now)).collect()
    }

    /// How far a process is with the states that it keeps up to date, by its last pulse.
    pub fn standbys_of(&self, slot: &str) -> Vec<StandbyPulse> {
        let (heard, slot) = (self.shared.heard.lock(), Slot::new(slot));
        heard.pulses.get(&slot).map(|pulse| pulse.standbys.clone()).unwrap_or_default()
    }

    /// What keeps this process from taking part, if anything does.
    pub fn trouble(&self) -> Option<String> {
        let heard = self.shared.heard.lock();
        let failed = heard.failed.as_ref().map(Error::to_string);
        let replaced = || heard.membership.is_replaced(&heard.control).then(|| self.shared.replaced());
        failed.or_else(replaced).or_else(|| heard.trouble.clone())
    }

    /// Gives the queries of this process away, if another one is there to take them; waits a bounded time for that.
    pub fn drain(&self) {
        let shared = &self.shared;
        let mut heard = shared.heard.lock();
        if heard.membership.is_stopping() || !heard.has_peer(&shared.me, shared.now_ms()) {
            return;
        }
        heard.membership.drain();
        heard.is_news = true;
        shared.changed.notify_all();
        let is_leaving = |heard: &mut Heard| !heard.is_drained() && heard.failed.is_none();
        if shared.changed.wait_while_for(&mut heard, is_leaving, DRAIN_WAIT).timed_out() {
            tracing::warn!(slot = %shared.me, "other processes have not taken all queries of this one");
        }
    }

    /// Waits until no process may write a query that was dropped; false if one still may after this time.
    pub fn await_release(&self, query: &str, limit: Duration) -> bool {
        let query = QueryName::new(query);
        let is_written = |heard: &mut Heard| heard.unit(&query).is_some_and(|state| !state.may_write.is_empty());
        let mut heard = self.shared.heard.lock();
        !self.shared.changed.wait_while_for(&mut heard, is_written, limit).timed_out()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Under the lock: a thread that has looked at `stop` and not begun to wait would miss it.
        drop(self.shared.heard.lock());
        self.shared.changed.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            // The log must not outlive the engine.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        self.clock.monotonic().as_millis() as u64
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn replaced(&self) -> String {
        format!("another process of this service has started with the slot {}", self.me)
    }

    /// Waits at most [`CONTROL_WAIT`]; `what` completes the error "... until".
    fn wait_until(&self, what: &str, is_true: impl Fn(&Heard) -> bool) -> Result<()> {
        let mut heard = self.heard.lock();
        let is_awaited = |heard: &mut Heard| heard.failed.is_none() && !is_true(heard) && !self.stopping();
        self.changed.wait_while_for(&mut heard, is_awaited, CONTROL_WAIT);
        if let Some(failed) = &heard.failed {
            return Err(Error::new(failed.kind(), failed.to_string()));
        }
        if is_true(&heard) {
            return Ok(());
        }
        let why = heard.trouble.clone().unwrap_or_else(|| "its records do not arrive".to_owned());
        Err(Error::new(Kind::Io, format!("this process waited in vain until {what}"))
            .with_detail(format!("topic {}: {why}", self.topics.control))
            .with_hint("check that the brokers respond"))
    }
}

impl Heard {
    /// What the control topic says about a query, which is not divided.
    fn unit(&self, query: &QueryName) -> Option<&UnitState> {
        self.control.unit(&Unit::new(query, 0))
    }

    /// The process that owns a query.
    fn owner(&self, query: &QueryName) -> Option<&Slot> {
        self.unit(query)?.owner.as_ref()
    }

    fn member(&self, slot: &Slot, me: &Slot, now_ms: u64) -> Option<Member> {
        let member = self.control.member(slot)?;
        let pulse = self.pulses.get(slot).filter(|pulse| pulse.incarnation == member.hello.incarnation);
        let said = pulse.map(|pulse| pulse.address.as_str()).filter(|address| !address.is_empty());
        let (said, is_me) = (said.unwrap_or(&member.hello.address), slot == me);
        let address = if is_me { &self.address } else { said };
        let owned = self.control.units().iter().filter(|state| state.owner.as_ref() == Some(slot));
        Some(Member {
            slot: slot.name().to_owned(),
            is_me,
            address: Some(address.to_owned()).filter(|address| !address.is_empty()),
            version: member.hello.version.clone(),
            presence: self.hearing.presence(slot, now_ms),
            sent_ms: pulse.map(|pulse| pulse.sent_ms),
            queries: owned
                .filter(|state| !state.unit.query.is_generator())
                .map(|state| state.unit.query.id().to_owned())
                .collect(),
        })
    }

    /// Whether a process owns anything.
    fn is_owner(&self, slot: &Slot) -> bool {
        self.control.units().iter().any(|state| state.owner.as_ref() == Some(slot))
    }

    /// Whether another process is heard that takes queries.
    fn has_peer(&self, me: &Slot, now_ms: u64) -> bool {
        let mut others = self.control.members().iter().filter(|member| member.hello.slot != *me && !member.is_draining);
        others.any(|member| self.hearing.presence(&member.hello.slot, now_ms) == Presence::Heard)
    }

    /// Whether nothing is owned and no writer is open any more.
    fn is_drained(&self) -> bool {
        self.membership.is_drained(&self.control) && self.open.is_empty()
    }

    /// The term in which this process owns a query.
    fn term_of(&self, query: &QueryName, me: &Slot) -> Option<Term> {
        self.control.term_of(&Unit::new(query, 0), me).filter(|_| self.takes_part())
    }

    /// Whether this process is the present one of its slot, and can know who owns what.
    fn takes_part(&self) -> bool {
        self.failed.is_none() && self.membership.is_joined(&self.control)
    }

    /// What a process says about a state that it keeps up to date.
    fn standby(&self, slot: &Slot, query: &str) -> Option<&StandbyPulse> {
        self.pulses.get(slot)?.standbys.iter().find(|standby| standby.id == query)
    }

    /// The next Confirm that the log lacks: of an ownership that was committed, or that a dropped query is not written any more.
    fn confirm_due(&self, me: &Slot) -> Option<Entry> {
        let due = self.control.units().iter().find(|state| match &state.owner {
            Some(owner) => {
                owner == me && state.may_write.len() > 1 && self.taken.get(&state.unit.query) == Some(&state.term)
            }
            None => {
                let is_last = matches!(state.may_write.as_slice(), [(writer, _)] if writer == me);
                is_last && !self.open.contains(&state.unit.query)
            }
        })?;
        Some(Entry::Confirm { unit: due.unit.clone(), slot: me.clone(), term: due.term })
    }
}
