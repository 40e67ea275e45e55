//! The thread that appends what this process has to say.
//!
//! ```text
//! Hello, Drain        until the control topic shows them                            membership
//! Confirm             of what was taken, and of dropped queries, every second       C2
//! a plan              if this is the lowest process that is heard                   proposer, planner
//! a snapshot          now and then, if this is that process                         shortening
//! a pulse             every half second
//! ```
//!
//! One append at a time: while one waits for the broker, no pulse leaves, and other processes take this one for silent. They are
//! right, because its commits would wait as well.

use super::probe::Probe;
use super::pulse::{PULSE_FORMAT, Pulse, QueryPulse};
use super::shortening::Shortening;
use super::{Heard, Shared, topics};
use crate::engine::cluster::hearing::PULSE_MS;
use crate::engine::cluster::names::{Slot, Unit};
use crate::engine::cluster::planner::Wanted;
use crate::engine::cluster::proposer::{Proposer, is_proposer};
use crate::engine::cluster::record::Entry;
use crate::error::{Error, Result};
use crate::threads;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The kind of its thread.
pub(super) const KIND: &str = "cluster-speaker";
/// One pulse in so many has the counters of the queries, which are most of its size.
const PULSES_PER_COUNT: u64 = 4;
/// Pause after an append that failed.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);
/// How long a Confirm is awaited before it is appended again.
const CONFIRM_AGAIN_MS: u64 = 1_000;
/// The longest pause between two looks: presence changes without a record.
const LOOK_MS: u64 = 100;
/// A unit that this catalogue has never had counts as dropped after this time; until then its statement may be on its way.
const UNKNOWN_MS: u64 = 10_000;

/// What the thread remembers between two looks.
#[derive(Default)]
struct Speaker {
    proposer: Proposer,
    probe: Probe,
    shortening: Shortening,
    pulse_at_ms: u64,
    /// How many pulses were sent.
    pulses: u64,
    /// Memory of the state of each query that this process runs, as of its last counters.
    state_bytes: BTreeMap<String, u64>,
    confirm_at_ms: u64,
    /// Queries that this catalogue has had.
    known: BTreeSet<Unit>,
    /// Units of the control topic that it has never had, since when.
    unknown: BTreeMap<Unit, u64>,
}

/// Appends until the node ends.
pub(super) fn speak(shared: &Arc<Shared>) {
    let mut speaker = Speaker::default();
    while !shared.stopping() {
        let turn = threads::guard(KIND, &shared.service, || speaker.turn(shared)).and_then(|turn| turn);
        let pause = match turn {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, slot = %shared.me, "this process cannot append to the topics of its service");
                TROUBLE_PAUSE
            }
        };
        let mut heard = shared.heard.lock();
        if !heard.is_news && !shared.stopping() {
            shared.changed.wait_for(&mut heard, pause);
        }
        heard.is_news = false;
    }
}

impl Speaker {
    /// Appends what is due, and returns how long to wait for news.
    fn turn(&mut self, shared: &Arc<Shared>) -> Result<Duration> {
        let now = shared.now_ms();
        // The topics' own thread may have ended because of this.
        if shared.heard.lock().failed.is_some() {
            return Ok(TROUBLE_PAUSE);
        }
        if let Some(entry) = self.entry_of_membership(shared, now) {
            self.append(shared, entry)?;
        }
        if now >= self.pulse_at_ms {
            self.pulse_at_ms = now + PULSE_MS;
            self.pulse(shared)?;
        }
        self.probe.look(shared);
        self.shortening.delete(shared);
        if let Some(entry) = self.entry_of_duty(shared, now)? {
            self.append(shared, entry)?;
            return Ok(Duration::ZERO);
        }
        Ok(Duration::from_millis(self.pulse_at_ms.saturating_sub(now).min(LOOK_MS)))
    }

    fn append(&self, shared: &Shared, entry: Entry) -> Result<()> {
        tracing::debug!(?entry, slot = %shared.me, "appending to the control topic");
        topics::append(&*shared.log, &shared.topics.control, shared.clock.now_ms(), &entry.encode()?)
    }

    fn entry_of_membership(&self, shared: &Shared, now_ms: u64) -> Option<Entry> {
        let mut heard = shared.heard.lock();
        let Heard { membership, control, .. } = &mut *heard;
        membership.advance(now_ms, control)
    }

    /// A Confirm, a plan or a snapshot.
    fn entry_of_duty(&mut self, shared: &Shared, now_ms: u64) -> Result<Option<Entry>> {
        // Asked for before the lock: it reads the state of the engine.
        let Some(mut wanted) = shared.queries.get().map(|queries| queries.wanted()) else { return Ok(None) };
        let heard = shared.heard.lock();
        if !heard.membership.is_joined(&heard.control) {
            return Ok(None);
        }
        if now_ms >= self.confirm_at_ms
            && let Some(confirm) = heard.confirm_due(&shared.me)
        {
            self.confirm_at_ms = now_ms + CONFIRM_AGAIN_MS;
            return Ok(Some(confirm));
        }
        let Heard { control, hearing, .. } = &*heard;
        if is_proposer(now_ms, &shared.me, control, hearing) {
            wanted.iter_mut().for_each(|wanted| self.measure(&heard, wanted));
        }
        let ended = self.ended(&heard, &wanted, now_ms);
        match self.proposer.propose(now_ms, &shared.me, control, hearing, (&wanted, &ended)) {
            Some(plan) => Ok(Some(Entry::Assign(plan))),
            None => self.shortening.due(&heard, shared, now_ms),
        }
    }

    /// Adds what the pulses say: the size of a unit's state, and how far its standbys are.
    fn measure(&self, heard: &Heard, wanted: &mut Wanted) {
        let id = wanted.unit.query.id();
        let elsewhere = heard.counts.get(id).map(|counts| counts.latest.state_bytes);
        wanted.state_bytes = elsewhere.or_else(|| self.state_bytes.get(id).copied()).unwrap_or(0);
        let lag = |slot: &Slot| Some((slot.clone(), heard.standby(slot, id)?.lag()));
        wanted.lags = heard.pulses.keys().filter_map(lag).collect();
    }

    /// Units of queries that were dropped.
    fn ended(&mut self, heard: &Heard, wanted: &[Wanted], now_ms: u64) -> Vec<Unit> {
        let present: BTreeSet<&Unit> = wanted.iter().map(|wanted| &wanted.unit).collect();
        self.known.extend(wanted.iter().map(|wanted| wanted.unit.clone()));
        let units = || heard.control.units().iter().map(|state| &state.unit);
        let listed: BTreeSet<&Unit> = units().collect();
        self.known.retain(|unit| present.contains(unit) || listed.contains(unit));
        self.unknown.retain(|unit, _| listed.contains(unit) && !present.contains(unit));
        let mut ended = Vec::new();
        for unit in units().filter(|unit| !present.contains(unit)) {
            let since = *self.unknown.entry(unit.clone()).or_insert(now_ms);
            if self.known.contains(unit) || now_ms >= since + UNKNOWN_MS {
                ended.push(unit.clone());
            }
        }
        ended
    }

    fn pulse(&mut self, shared: &Shared) -> Result<()> {
        let is_counted = self.pulses.is_multiple_of(PULSES_PER_COUNT);
        self.pulses += 1;
        let (queries, standbys) = shared
            .queries
            .get()
            .map(|queries| (queries.running(is_counted), queries.standing_by()))
            .unwrap_or_default();
        if is_counted {
            let bytes = |query: &QueryPulse| Some((query.id.clone(), query.counts.as_ref()?.state_bytes));
            self.state_bytes = queries.iter().filter_map(bytes).collect();
        }
        let address = shared.heard.lock().address.clone();
        let (slot, incarnation, sent_ms) = (shared.me.clone(), shared.incarnation, shared.clock.now_ms());
        let pulse = Pulse { format: PULSE_FORMAT, slot, incarnation, address, sent_ms, queries, standbys };
        let value = serde_json::to_vec(&pulse).map_err(|e| Error::bug("a pulse cannot be written").because(e))?;
        topics::append(&*shared.log, &shared.topics.pulse, sent_ms, &value)
    }
}
