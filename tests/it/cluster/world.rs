//! Several processes, one broker, and everything that happens to them, decided by a seed.
//!
//! After the faults comes calm: within ten seconds of its time every unit has one owner that makes rows, on the process that the
//! control topic names; processes that were replaced have ended; and nothing is left to plan.

use super::broker::{Broker, Op};
use super::process::{Around, Process};
use crate::batches::Dice;
use tidegate::engine::cluster::control::Control;
use tidegate::engine::cluster::hearing::Presence;
use tidegate::engine::cluster::names::{Incarnation, QueryName, Slot, Unit};
use tidegate::engine::cluster::owner::request::Stamp;
use tidegate::engine::cluster::planner::{Situation, Wanted, plan};
use tidegate::engine::cluster::record::{Assign, Assigned, Entry, Exchange, Hello, Why};

/// Longest time from the last fault to a service that works everywhere.
const CALM_MS: u64 = 10_000;
/// Processes that were replaced and still live, at once.
const PREDECESSORS_MAX: usize = 3;

/// Faults: of a thousand steps or requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Steps: kill -9; it comes back soon, later or, if the seed says so, not at all.
    pub kill: u32,
    /// Steps: a second process of a slot starts.
    pub twin: u32,
    /// Steps: a process is paused.
    pub pause: u32,
    /// Steps: any process believes that a unit should be elsewhere.
    pub assign: u32,
    /// How long they believe so; three times as long they do not.
    pub burst_ms: u64,
    /// Steps: a process wants to stop.
    pub drain: u32,
    /// Requests that arrive after their sender gave up.
    pub late: u32,
    /// Requests that never arrive.
    pub lost: u32,
    /// Requests whose reply is lost.
    pub unanswered: u32,
    /// Requests that arrive a second time later.
    pub repeated: u32,
    /// Longest pause.
    pub pause_ms: i64,
    /// Steps: a process works on and reads no records of the control topic for as long.
    pub lag: u32,
}

impl Weather {
    pub(super) const CALM: Weather = Weather {
        kill: 0,
        twin: 0,
        pause: 0,
        assign: 0,
        burst_ms: 1,
        drain: 0,
        late: 0,
        lost: 0,
        unanswered: 0,
        repeated: 0,
        pause_ms: 1,
        lag: 0,
    };
    /// Everything happens.
    pub(super) const STORM: Weather = Weather {
        kill: 3,
        twin: 1,
        pause: 2,
        assign: 48,
        burst_ms: 1,
        drain: 1,
        late: 15,
        lost: 5,
        unanswered: 15,
        repeated: 15,
        pause_ms: 3_000,
        lag: 1,
    };
    /// Units move in bursts between processes that live, some of which read late or are paused for a moment.
    pub(super) const RUSH: Weather =
        Weather { pause: 5, assign: 200, burst_ms: 100, repeated: 100, pause_ms: 800, lag: 30, ..Weather::CALM };
}

/// Names and numbers of a world.
pub(super) struct Shape {
    pub slots: Vec<Slot>,
    pub queries: Vec<QueryName>,
    pub units: Vec<Unit>,
    pub wanted: Vec<Wanted>,
}

impl Shape {
    fn of(dice: &mut Dice) -> Shape {
        let slots: Vec<Slot> = (0..2 + dice.below(3)).map(|n| Slot::new(&format!("n{n}"))).collect();
        // Four units: one query in four parts, two in two, or four whole ones.
        let queries: Vec<QueryName> = (0..1 << dice.below(3)).map(|n| QueryName::new(&format!("Q{n}"))).collect();
        let parts = 4 / queries.len() as u32;
        let units: Vec<Unit> = queries.iter().flat_map(|q| (0..parts).map(|part| Unit::new(q, part))).collect();
        let standbys = dice.below(2) as usize;
        let wanted =
            units.iter().map(|unit| Wanted { unit: unit.clone(), load: 1, state_bytes: 0, standbys, lags: Vec::new() });
        Shape { wanted: wanted.collect(), slots, queries, units }
    }

    /// The number of a transactional id.
    pub(super) fn id(&self, query: usize, slot: usize) -> usize {
        query * self.slots.len() + slot
    }

    pub(super) fn number(&self, unit: &Unit) -> usize {
        self.units.iter().position(|known| known == unit).unwrap()
    }

    pub(super) fn slot_number(&self, slot: &Slot) -> usize {
        self.slots.iter().position(|known| known == slot).unwrap()
    }

    pub(super) fn hello(&self, slot: usize, incarnation: u64) -> Hello {
        Hello {
            slot: self.slots[slot].clone(),
            incarnation: Incarnation(incarnation),
            address: String::new(),
            version: String::new(),
            levels: (1, 1),
            zone: None,
            weight: 1,
        }
    }
}

/// Counts, to see that what should happen does happen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub rows: u64,
    pub commits: u64,
    pub kills: u64,
    pub pauses: u64,
    pub twins: u64,
    pub late: u64,
    pub assigns: u64,
    pub slowest_calm_ms: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.rows += other.rows;
        self.commits += other.commits;
        self.kills += other.kills;
        self.pauses += other.pauses;
        self.twins += other.twins;
        self.late += other.late;
        self.assigns += other.assigns;
        self.slowest_calm_ms = self.slowest_calm_ms.max(other.slowest_calm_ms);
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// What was committed, or could have been.
    Rows(String),
    /// What is not as it should be ten seconds after the last fault.
    Standstill(String),
}

pub(super) struct World {
    shape: Shape,
    broker: Broker,
    dice: Dice,
    limbo: Vec<Op>,
    now_ms: u64,
    /// The present process of each slot, or when it comes back.
    processes: Vec<Result<Process, u64>>,
    predecessors: Vec<Process>,
    /// The fold of the whole control topic, as of its last use.
    everything: Control,
    starts: u64,
    counts: Counts,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut dice = Dice(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x5851_F42D_4C95_7F2D);
        let shape = Shape::of(&mut dice);
        let broker = Broker::new(shape.slots.len() * shape.queries.len(), shape.units.len());
        let processes = shape.slots.iter().map(|_| Err(0)).collect();
        let (limbo, predecessors, counts) = (Vec::new(), Vec::new(), Counts::default());
        let everything = Control::default();
        World { shape, broker, dice, limbo, now_ms: 0, processes, predecessors, everything, starts: 0, counts }
    }

    /// Faults for so many steps, then calm. The first thing that went wrong, if any.
    pub(super) fn run(mut self, steps: usize, weather: &Weather) -> Result<Counts, Fault> {
        for _ in 0..steps {
            self.misfortune(weather);
            self.step(weather);
            if let Some(fault) = self.broker.fault.take() {
                return Err(Fault::Rows(fault));
            }
        }
        self.calm()?;
        self.counts.rows = self.broker.units.iter().map(|unit| unit.rows).sum();
        self.counts.commits = self.broker.commits;
        Ok(self.counts)
    }

    fn start(&mut self, slot: usize) -> Process {
        self.starts += 1;
        Process::start(slot, self.starts, &self.shape, self.broker.pulses.len())
    }

    fn misfortune(&mut self, weather: &Weather) {
        let slot = self.dice.below(self.processes.len() as i64) as usize;
        let mut chance = self.dice.below(1_000) as u32;
        // In a rush plans come in bursts, with time to follow them in between.
        let assign = if (self.now_ms / weather.burst_ms).is_multiple_of(4) { weather.assign } else { 0 };
        let mut is = |rate: u32| {
            let hit = chance < rate;
            chance = if hit { u32::MAX } else { chance - rate };
            hit
        };
        if is(weather.kill) {
            let away = if self.dice.one_in(2) { 0 } else { self.dice.below(4_000) as u64 };
            self.counts.kills += 1;
            self.processes[slot] = Err(self.now_ms + away);
            if self.dice.one_in(2) {
                let name = self.shape.slots[slot].clone();
                self.processes.iter_mut().flatten().for_each(|process| process.hearing.refused(&name));
            }
        } else if is(weather.twin) {
            if self.predecessors.len() < PREDECESSORS_MAX && self.processes[slot].is_ok() {
                self.counts.twins += 1;
                let later = self.start(slot);
                self.predecessors.extend(std::mem::replace(&mut self.processes[slot], Ok(later)));
            }
        } else if is(weather.pause) {
            let until = self.now_ms + 10 + self.dice.below(weather.pause_ms) as u64;
            self.counts.pauses += 1;
            if let Ok(process) = &mut self.processes[slot] {
                process.paused_until_ms = until;
            }
        } else if is(weather.lag) {
            let until = self.now_ms + 10 + self.dice.below(weather.pause_ms) as u64;
            if let Ok(process) = &mut self.processes[slot] {
                process.lags_until_ms = until;
            }
        } else if is(weather.drain) {
            let until = self.now_ms + 500 + self.dice.below(3_000) as u64;
            if let Ok(process) = &mut self.processes[slot] {
                process.drain(until);
            }
        } else if is(assign) {
            self.propose_anything(slot);
        }
    }

    /// A wrong suspicion: any process gives a unit to any other, from what it has read, or from the whole log.
    fn propose_anything(&mut self, slot: usize) {
        let Ok(process) = &self.processes[slot] else { return };
        let base = if self.dice.one_in(2) { process.control.version() } else { self.read_all().version() };
        let number = if self.dice.one_in(2) { 0 } else { self.dice.below(self.shape.units.len() as i64) as usize };
        let unit = self.shape.units[number].clone();
        let to = self.shape.slots[self.dice.below(self.shape.slots.len() as i64) as usize].clone();
        let why = [Why::Dead, Why::Silent, Why::Balance][self.dice.below(3) as usize];
        let units = vec![Assigned { unit, owner: Some(to), standbys: Vec::new(), exchange: Exchange::Memory, why }];
        let assign = Assign { base, units, ended: Vec::new() };
        self.broker.run(Op::Append(Entry::Assign(assign)));
        self.counts.assigns += 1;
    }

    /// The control topic up to its end.
    fn read_all(&mut self) -> &Control {
        for at in self.everything.next_offset() as usize..self.broker.control.len() {
            self.everything.apply(at as i64, &self.broker.control[at]).unwrap();
        }
        &self.everything
    }

    fn step(&mut self, weather: &Weather) {
        self.now_ms += self.dice.below(8) as u64;
        if !self.limbo.is_empty() && self.dice.one_in(20) {
            let at = self.dice.below(self.limbo.len() as i64) as usize;
            self.broker.run_late(self.limbo.swap_remove(at));
            self.counts.late += 1;
        }
        if self.dice.one_in(2) {
            self.complete();
        }
        let of_predecessor = !self.predecessors.is_empty() && self.dice.one_in(4);
        let count = if of_predecessor { self.predecessors.len() } else { self.processes.len() };
        let at = self.dice.below(count as i64) as usize;
        if !of_predecessor && self.processes[at].as_ref().is_err_and(|back| self.now_ms >= *back) {
            self.processes[at] = Ok(self.start(at));
        }
        let World { shape, broker, dice, limbo, now_ms, processes, predecessors, .. } = self;
        let process = if of_predecessor { Some(&mut predecessors[at]) } else { processes[at].as_mut().ok() };
        let Some(process) = process.filter(|process| *now_ms >= process.paused_until_ms) else { return };
        let lives = process.step(&mut Around { now_ms: *now_ms, shape, broker, dice, weather, limbo });
        match (lives, of_predecessor) {
            (true, _) => {}
            (false, true) => drop(self.predecessors.swap_remove(at)),
            (false, false) => self.processes[at] = Err(self.now_ms + self.dice.below(500) as u64),
        }
    }

    /// Markers of a decided transaction arrive.
    fn complete(&mut self) {
        let ids = self.shape.queries.len() * self.shape.slots.len();
        let first = self.dice.below(ids as i64) as usize;
        let Some(id) = (0..ids).map(|n| (first + n) % ids).find(|id| self.broker.is_ending(*id)) else { return };
        for (unit, stamp) in self.broker.complete(id) {
            self.check_alone(unit, &stamp);
        }
    }

    /// At most one process can commit a unit.
    fn check_alone(&mut self, unit: usize, stamp: &Stamp) {
        let World { shape, broker, processes, predecessors, .. } = self;
        let others = processes.iter().flatten().chain(predecessors.iter());
        let others = others.filter(|process| stamp.incarnation != Incarnation(process.incarnation));
        let can =
            |process: &Process| process.queries.iter().any(|query| query.may_commit(process.slot, unit, shape, broker));
        let other = others.filter(|process| can(process)).map(|process| shape.slots[process.slot].clone()).next();
        if let Some(other) = other {
            let term = stamp.term.0;
            self.broker.blame(format!("unit {unit}: {} commits in term {term}, and {other} could, too", stamp.slot));
        }
    }

    fn calm(&mut self) -> Result<(), Fault> {
        let begin = self.now_ms;
        for op in std::mem::take(&mut self.limbo) {
            self.broker.run_late(op);
        }
        for process in self.processes.iter_mut().flatten().chain(&mut self.predecessors) {
            (process.paused_until_ms, process.lags_until_ms) = (0, 0);
        }
        // One of the slots may be gone for good.
        let gone = self.dice.below(2 * self.processes.len() as i64) as usize;
        if gone < self.processes.len() {
            self.processes[gone] = Err(u64::MAX);
            self.predecessors.retain(|process| process.slot != gone);
        }
        let rows: Vec<u64> = self.broker.units.iter().map(|unit| unit.rows).collect();
        let mut unsettled = String::new();
        while self.now_ms < begin + CALM_MS {
            for _ in 0..50 {
                self.step(&Weather::CALM);
            }
            if let Some(fault) = self.broker.fault.take() {
                return Err(Fault::Rows(fault));
            }
            match self.unsettled(&rows) {
                None => {
                    self.counts.slowest_calm_ms = self.now_ms - begin;
                    return Ok(());
                }
                Some(reason) => unsettled = reason,
            }
        }
        Err(Fault::Standstill(unsettled))
    }

    /// What is not as it should be long after the last fault.
    fn unsettled(&mut self, rows: &[u64]) -> Option<String> {
        self.read_all();
        if let Some(process) = self.predecessors.first() {
            return Some(format!("an earlier process of {} lives", self.shape.slots[process.slot]));
        }
        let control = &self.everything;
        for (at, unit) in self.shape.units.iter().enumerate() {
            if self.broker.units[at].rows == rows[at] {
                return Some(format!("unit {unit:?} makes no rows"));
            }
            let holds = |process: &&Process| process.queries.iter().any(|query| query.owner.holds(unit));
            let holders: Vec<_> = self.processes.iter().flatten().filter(holds).collect();
            let owner = control.unit(unit).and_then(|state| state.owner.clone());
            let holders: Vec<_> = holders.iter().map(|process| self.shape.slots[process.slot].clone()).collect();
            if holders != owner.clone().into_iter().collect::<Vec<_>>() {
                return Some(format!("unit {unit:?} is owned by {owner:?} and held by {holders:?}"));
            }
        }
        let presence = |slot: &Slot| match &self.processes[self.shape.slot_number(slot)] {
            Ok(_) => Presence::Heard,
            Err(_) => Presence::Silent { for_ms: 2_000 },
        };
        let situation = Situation { control, presence: &presence, wanted: &self.shape.wanted, ended: &[] };
        plan(&situation).map(|assign| format!("there is a plan: {assign:?}"))
    }
}
