//! Which process should own what: a pure function of the members, the units and what is heard (C7).
//!
//! ```text
//! owner dead or silent    its units go to their freshest standby, else where least is to be done
//! owner is draining       the same, a unit after the other, so that each is away for a moment only; a large one waits for a standby
//! loads differ            one unit, if that makes the difference smaller, to a warm standby
//! standbys are missing    another process, in another zone if there is one, at most two at once
//! standbys are too many   those go that were made for a move
//! else                    everything stays as it is, and there is no plan
//! ```
//!
//! A plan names only what changes. Planning again over its result yields nothing, or the next step of a move in several steps
//! (first a standby, then the owner). A unit that the planner does not know is left alone: another process may know more of the
//! catalogue.

use super::control::Control;
use super::hearing::Presence;
use super::names::{Slot, Unit};
use super::record::{Assign, Assigned, UnitState, Why};

/// Standbys that are named at once: each reads a whole changelog.
const WARM_UPS_MAX: usize = 2;
/// How long the standbys of a silent process are kept for it: a restart takes a second or two.
pub const RETURN_MS: u64 = 30_000;
/// The lag up to which a standby counts as warm: Kafka Streams' `acceptable.recovery.lag`.
pub const WARM_LAG_RECORDS: u64 = 10_000;
/// State up to this size is restored faster than a standby is made.
pub const SMALL_STATE_BYTES: u64 = 16 << 20;

/// A unit that is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The unit.
    pub unit: Unit,
    /// Its share of a process: any measure, the same for all units. At least one.
    pub load: u64,
    /// The size of its state.
    pub state_bytes: u64,
    /// Number of standbys.
    pub standbys: usize,
    /// Lag in records of those standbys from which one was heard.
    pub lags: Vec<(Slot, u64)>,
}

/// What a plan is made from.
pub struct Situation<'a> {
    /// The present assignment.
    pub control: &'a Control,
    /// What is known about the life of a process.
    pub presence: &'a dyn Fn(&Slot) -> Presence,
    /// Units of all queries of the catalogue.
    pub wanted: &'a [Wanted],
    /// Units of queries that were dropped.
    pub ended: &'a [Unit],
}

impl std::fmt::Debug for Situation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Situation").field("wanted", &self.wanted).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// The next step towards a good assignment; None if nothing is to be changed.
pub fn plan(situation: &Situation<'_>) -> Option<Assign> {
    let mut draft = Draft::of(situation);
    draft.end(situation);
    draft.place_unowned();
    // A unit that is away is away for a moment: the next one waits for it.
    let moves = draft.is_moving || draft.drain_one() || draft.balance();
    draft.fill_standbys();
    if !moves {
        draft.drop_surplus_standbys();
    }
    draft.finish()
}

/// A process that may own something.
struct Host<'a> {
    slot: &'a Slot,
    zone: Option<&'a str>,
    weight: u64,
    is_draining: bool,
    presence: Presence,
    load: u64,
}

impl Host<'_> {
    fn takes(&self) -> bool {
        self.presence == Presence::Heard && !self.is_draining
    }

    /// Whether its load with `more` is below that of another: load by weight, without rounding.
    fn is_below(&self, more: u64, other: &Host<'_>, others_more: u64) -> bool {
        let (mine, theirs) = (self.load + more, other.load + others_more);
        u128::from(mine) * u128::from(other.weight) < u128::from(theirs) * u128::from(self.weight)
    }
}

/// A unit's place, now and in the plan.
struct Place<'a> {
    wanted: &'a Wanted,
    before: Option<&'a UnitState>,
    owner: Option<usize>,
    standbys: Vec<Slot>,
    why: Why,
}

impl Place<'_> {
    fn lag(&self, slot: &Slot) -> Option<u64> {
        let is_standby = self.standbys.contains(slot);
        self.wanted.lags.iter().find(|(standby, _)| is_standby && standby == slot).map(|(_, lag)| *lag)
    }

    /// Whether a unit is not away for long if this process takes it from a living owner.
    fn is_warm(&self, slot: &Slot) -> bool {
        self.wanted.state_bytes <= SMALL_STATE_BYTES || self.lag(slot).is_some_and(|lag| lag <= WARM_LAG_RECORDS)
    }
}

struct Draft<'a> {
    control: &'a Control,
    hosts: Vec<Host<'a>>,
    places: Vec<Place<'a>>,
    dropped: Vec<Assigned>,
    ended: Vec<Unit>,
    /// An earlier move is not finished.
    is_moving: bool,
}

impl<'a> Draft<'a> {
    fn of(situation: &'a Situation<'a>) -> Draft<'a> {
        let control = situation.control;
        let host = |member: &'a super::record::MemberState| Host {
            slot: &member.hello.slot,
            zone: member.hello.zone.as_deref(),
            weight: u64::from(member.hello.weight.max(1)),
            is_draining: member.is_draining,
            presence: (situation.presence)(&member.hello.slot),
            load: 0,
        };
        let mut hosts: Vec<Host<'a>> = control.members().iter().map(host).collect();
        let mut is_moving = false;
        let mut place = |wanted: &'a Wanted| {
            let before = control.unit(&wanted.unit);
            let owner = before.and_then(|state| state.owner.as_ref());
            let owner = owner.and_then(|owner| hosts.iter().position(|host| host.slot == owner));
            if let Some(owner) = owner {
                hosts[owner].load += wanted.load.max(1);
                let is_move = |state: &&UnitState| matches!(state.why, Why::Drain | Why::Balance);
                let is_unfinished = before.filter(is_move).is_some_and(|state| state.may_write.len() > 1);
                is_moving |= hosts[owner].presence == Presence::Heard && is_unfinished;
            }
            let standbys = before.map_or_else(Vec::new, |state| state.standbys.clone());
            Place { wanted, before, owner, standbys, why: Why::Standby }
        };
        let places = situation.wanted.iter().map(&mut place).collect();
        Draft { control, hosts, places, dropped: Vec::new(), ended: Vec::new(), is_moving }
    }

    /// Units of dropped queries lose their owner, and are forgotten once a Confirm says that no process can write them any more.
    fn end(&mut self, situation: &Situation<'_>) {
        for unit in situation.ended {
            let Some(state) = self.control.unit(unit) else { continue };
            match state.owner {
                Some(_) => self.dropped.push(Assigned {
                    unit: unit.clone(),
                    owner: None,
                    standbys: Vec::new(),
                    exchange: state.exchange,
                    why: Why::Dropped,
                }),
                None if state.may_write.is_empty() => self.ended.push(unit.clone()),
                None => {}
            }
        }
    }

    /// Units without a living owner.
    fn place_unowned(&mut self) {
        for at in 0..self.places.len() {
            let place = &self.places[at];
            let why = match (place.before.and_then(|state| state.owner.as_ref()), place.owner) {
                (None, _) => Why::New,
                (Some(_), None) => Why::Dead,
                (Some(_), Some(owner)) => match self.hosts[owner].presence {
                    Presence::Dead => Why::Dead,
                    Presence::Silent { .. } => Why::Silent,
                    Presence::Heard | Presence::Unknown => continue,
                },
            };
            if let Some(to) = self.best_host(place) {
                self.give(at, to, why);
            }
        }
    }

    /// The freshest standby, else the process with the least load; of equals the first.
    fn best_host(&self, place: &Place<'_>) -> Option<usize> {
        let takers = self.hosts.iter().enumerate().filter(|(_, host)| host.takes());
        let standbys = takers.filter(|(_, host)| place.standbys.contains(host.slot));
        let standbys = standbys.map(|(at, host)| (place.lag(host.slot).unwrap_or(u64::MAX), at));
        standbys.min().map(|(_, at)| at).or_else(|| self.least_loaded(place.wanted.load.max(1)))
    }

    fn give(&mut self, at: usize, to: usize, why: Why) {
        let place = &mut self.places[at];
        let load = place.wanted.load.max(1);
        if let Some(from) = place.owner {
            self.hosts[from].load -= load;
        }
        self.hosts[to].load += load;
        place.standbys.retain(|standby| standby != self.hosts[to].slot);
        (place.owner, place.why) = (Some(to), why);
    }

    /// The first unit of a process that wants to stop and that another one can take at once; standbys of those that would be away
    /// for long. True if there is something to do.
    fn drain_one(&mut self) -> bool {
        let leaves = |host: &Host<'_>| host.is_draining && host.presence == Presence::Heard;
        let leaving = |place: &Place<'_>| place.owner.is_some_and(|owner| leaves(&self.hosts[owner]));
        let leaving: Vec<usize> = (0..self.places.len()).filter(|at| leaving(&self.places[*at])).collect();
        let mut is_waited_for = false;
        for at in leaving {
            let Some(to) = self.best_host(&self.places[at]) else { continue };
            if self.places[at].is_warm(self.hosts[to].slot) {
                self.give(at, to, Why::Drain);
                return true;
            }
            self.warm_up(at, to);
            is_waited_for = true;
        }
        is_waited_for
    }

    /// A standby for a move, if not too many are being made.
    fn warm_up(&mut self, at: usize, to: usize) {
        let slot = self.hosts[to].slot;
        if self.warming() < WARM_UPS_MAX && !self.places[at].standbys.contains(slot) {
            self.places[at].standbys.push(slot.clone());
        }
    }

    /// One unit from a process with the highest load to one that has less than that even with it; or a standby there first.
    fn balance(&mut self) -> bool {
        let takers = || (0..self.hosts.len()).filter(|at| self.hosts[*at].takes());
        let is_highest = |at: usize| takers().all(|other| !self.hosts[at].is_below(0, &self.hosts[other], 0));
        let move_of = |at: usize| {
            let place = &self.places[at];
            let from = place.owner.filter(|owner| self.hosts[*owner].takes() && is_highest(*owner))?;
            let more = place.wanted.load.max(1);
            let to = self.least_loaded(more)?;
            let helps = self.hosts[to].is_below(more, &self.hosts[from], 0);
            helps.then(|| (place.is_warm(self.hosts[to].slot), more, at, to))
        };
        // The largest one that helps: the fewest moves.
        let best = (0..self.places.len()).filter_map(move_of).max_by_key(|(is_warm, load, ..)| (*is_warm, *load));
        let Some((is_warm, _, at, to)) = best else { return false };
        if is_warm {
            self.give(at, to, Why::Balance);
        } else {
            self.warm_up(at, to);
        }
        true
    }

    /// The process that has the least to do with so much more; of equals the first.
    fn least_loaded(&self, more: u64) -> Option<usize> {
        let takers = (0..self.hosts.len()).filter(|at| self.hosts[*at].takes());
        takers.reduce(|best, at| if self.hosts[at].is_below(more, &self.hosts[best], more) { at } else { best })
    }

    /// Standbys that have not caught up.
    fn warming(&self) -> usize {
        let cold = |place: &Place<'_>| place.standbys.iter().filter(|standby| !place.is_warm(standby)).count();
        self.places.iter().map(cold).sum()
    }

    fn fill_standbys(&mut self) {
        let mut warming = self.warming();
        for at in 0..self.places.len() {
            self.drop_lost_standbys(at);
            while self.places[at].standbys.len() < self.places[at].wanted.standbys {
                let Some(host) = self.standby_host(&self.places[at]) else { break };
                let (slot, is_small) = (self.hosts[host].slot.clone(), self.places[at].is_warm(self.hosts[host].slot));
                if !is_small && warming >= WARM_UPS_MAX {
                    break;
                }
                warming += usize::from(!is_small);
                self.places[at].standbys.push(slot);
            }
        }
    }

    /// Those that lack least stay.
    fn drop_surplus_standbys(&mut self) {
        for place in &mut self.places {
            while place.standbys.len() > place.wanted.standbys {
                let lag = |slot: &Slot| place.lag(slot).unwrap_or(u64::MAX);
                let Some(last) = (0..place.standbys.len()).max_by_key(|at| lag(&place.standbys[*at])) else { break };
                place.standbys.remove(last);
            }
        }
    }

    /// A process that is silent keeps its place for a while; one that is dead, that leaves or that owns the unit does not.
    fn drop_lost_standbys(&mut self, at: usize) {
        let owner = self.places[at].owner.map(|owner| self.hosts[owner].slot);
        let keeps = |slot: &Slot| {
            let host = self.hosts.iter().find(|host| host.slot == slot);
            let is_lost = host.is_none_or(|host| match host.presence {
                Presence::Silent { for_ms } => for_ms >= RETURN_MS,
                Presence::Dead => false,
                Presence::Heard | Presence::Unknown => host.is_draining,
            });
            !is_lost && Some(slot) != owner
        };
        let mut standbys = self.places[at].standbys.clone();
        standbys.retain(keeps);
        self.places[at].standbys = standbys;
    }

    /// The process for one more standby: another zone than that of the owner, then the least load.
    fn standby_host(&self, place: &Place<'_>) -> Option<usize> {
        let owner = place.owner?;
        let is_free =
            |(at, host): &(usize, &Host<'_>)| host.takes() && *at != owner && !place.standbys.contains(host.slot);
        let zone = self.hosts[owner].zone;
        let is_near = |at: usize| zone.is_some() && self.hosts[at].zone == zone;
        self.hosts.iter().enumerate().filter(is_free).map(|(at, _)| at).reduce(|best, at| {
            let is_less = self.hosts[at].is_below(0, &self.hosts[best], 0);
            let is_better = is_near(best) && !is_near(at) || is_near(best) == is_near(at) && is_less;
            if is_better { at } else { best }
        })
    }

    fn finish(self) -> Option<Assign> {
        let Draft { control, hosts, places, dropped, ended, .. } = self;
        let changed = places.into_iter().filter_map(|place| {
            let owner = place.owner.map(|owner| hosts[owner].slot.clone());
            let is_same = |state: &UnitState| state.owner == owner && state.standbys == place.standbys;
            // Without a process that could take it a unit stays where it is.
            if owner.is_none() || place.before.is_some_and(is_same) {
                return None;
            }
            let exchange = place.before.map(|state| state.exchange).unwrap_or_default();
            let Place { wanted, standbys, why, .. } = place;
            Some(Assigned { unit: wanted.unit.clone(), owner, standbys, exchange, why })
        });
        let units: Vec<Assigned> = changed.chain(dropped).collect();
        let is_empty = units.is_empty() && ended.is_empty();
        (!is_empty).then(|| Assign { base: control.version(), units, ended })
    }
}
