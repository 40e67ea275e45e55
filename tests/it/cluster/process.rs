//! A process: the driver of one member and of its owners, one broker request at a step.
//!
//! Between any two steps it may be killed, or be paused for any time. Requests may be lost, arrive after the
//! process gave up, be carried out without a reply, or arrive twice.

use super::broker::{Broker, Op, Reply};
use super::world::{Shape, Weather};
use crate::batches::Dice;
use tidegate::engine::cluster::control::Control;
use tidegate::engine::cluster::hearing::{Hearing, PULSE_MS};
use tidegate::engine::cluster::membership::Membership;
use tidegate::engine::cluster::names::{Incarnation, Unit};
use tidegate::engine::cluster::owner::Owner;
use tidegate::engine::cluster::owner::request::{Commit, Output, Purpose, Request, Response, Ticket};
use tidegate::engine::cluster::proposer::Proposer;
use tidegate::engine::cluster::record::Entry;

/// Looks at pending offsets before a process gives up.
const STABLE_TRIES: u32 = 40;

/// What a step needs beside the process.
pub(super) struct Around<'a> {
    pub now_ms: u64,
    pub shape: &'a Shape,
    pub broker: &'a mut Broker,
    pub dice: &'a mut Dice,
    pub weather: &'a Weather,
    /// Requests that arrive later.
    pub limbo: &'a mut Vec<Op>,
}

impl Around<'_> {
    /// Sends a request: the reply, and whether it may arrive a second time. None: no reply came.
    fn call(&mut self, op: Op) -> Option<(Reply, bool)> {
        let chance = self.dice.below(1_000) as u32;
        let Weather { late, lost, unanswered, repeated, .. } = *self.weather;
        if chance < late {
            self.limbo.push(op);
            return None;
        }
        if chance < late + lost {
            return None;
        }
        if chance < late + lost + unanswered {
            self.broker.run(op);
            return None;
        }
        let is_repeated =
            chance < late + lost + unanswered + repeated && matches!(op, Op::Offsets { .. } | Op::End { .. });
        if is_repeated {
            self.limbo.push(op.clone());
        }
        Some((self.broker.run(op), is_repeated))
    }

    /// An append whose loss is noticed by reading only.
    fn append(&mut self, entry: Entry) {
        let chance = self.dice.below(1_000) as u32;
        let Weather { late, lost, repeated, .. } = *self.weather;
        if chance < late + repeated {
            self.limbo.push(Op::Append(entry.clone()));
        }
        if chance >= late + lost {
            self.broker.run(Op::Append(entry));
        }
    }
}

pub(super) struct Process {
    pub slot: usize,
    pub incarnation: u64,
    pub paused_until_ms: u64,
    pub lags_until_ms: u64,
    stops_at_ms: u64,
    pub control: Control,
    pub hearing: Hearing,
    membership: Membership,
    proposer: Proposer,
    pub queries: Vec<QueryDriver>,
    pulse_at_ms: u64,
    pulses_read: usize,
}

/// One query in one process.
pub(super) struct QueryDriver {
    query: usize,
    pub owner: Owner,
    /// The epoch of its producer.
    pub epoch: u32,
    /// The unit's offsets as they were read, by number of the unit.
    read: Vec<u64>,
    /// The next row of each unit.
    position: Vec<u64>,
    /// Rows that wait for a commit.
    rows: Vec<u64>,
    task: Option<Task>,
}

/// A request in progress.
struct Task {
    ticket: Ticket,
    request: Request,
    steps: u32,
    is_repeated: bool,
}

/// What became of a step.
enum Progress {
    More,
    Finished(Response),
}

impl Process {
    pub(super) fn start(slot: usize, incarnation: u64, shape: &Shape, pulses: usize) -> Process {
        let hello = shape.hello(slot, incarnation);
        let name = shape.slots[slot].clone();
        let query = |query: usize| QueryDriver {
            query,
            owner: Owner::new(shape.queries[query].clone(), name.clone(), Incarnation(incarnation)),
            epoch: 0,
            read: vec![0; shape.units.len()],
            position: vec![0; shape.units.len()],
            rows: vec![0; shape.units.len()],
            task: None,
        };
        Process {
            slot,
            incarnation,
            paused_until_ms: 0,
            lags_until_ms: 0,
            stops_at_ms: u64::MAX,
            control: Control::default(),
            hearing: Hearing::new(name.clone(), Incarnation(incarnation)),
            membership: Membership::new(hello),
            proposer: Proposer::default(),
            queries: (0..shape.queries.len()).map(query).collect(),
            pulse_at_ms: 0,
            pulses_read: pulses,
        }
    }

    /// It wants to stop, and does so at the latest at this time, as after a SIGTERM.
    pub(super) fn drain(&mut self, until_ms: u64) {
        self.stops_at_ms = self.stops_at_ms.min(until_ms);
        self.membership.drain();
    }

    /// Reads up to so many records of the control topic.
    pub(super) fn tail(&mut self, broker: &Broker, records: usize, now_ms: u64) {
        for _ in 0..records {
            let at = self.control.next_offset();
            let Some(entry) = broker.control.get(at as usize) else { break };
            self.control.apply(at, entry).unwrap();
            if let Entry::Hello(hello) = entry {
                self.hearing.hello(&hello.slot, now_ms);
            }
        }
    }

    fn pulse(&mut self, around: &mut Around<'_>) {
        if around.now_ms >= self.pulse_at_ms {
            self.pulse_at_ms = around.now_ms + PULSE_MS;
            around.broker.pulses.push((self.slot, self.incarnation));
        }
        while let Some((slot, incarnation)) = around.broker.pulses.get(self.pulses_read) {
            self.hearing.pulse(&around.shape.slots[*slot], Incarnation(*incarnation), around.now_ms);
            self.pulses_read += 1;
        }
    }

    /// One step; false if the process ends.
    pub(super) fn step(&mut self, around: &mut Around<'_>) -> bool {
        self.pulse(around);
        if around.now_ms >= self.lags_until_ms && around.dice.one_in(2) {
            let records = 1 + around.dice.below(3) as usize;
            self.tail(around.broker, records, around.now_ms);
        }
        if let Some(entry) = self.membership.advance(around.now_ms, &self.control) {
            around.append(entry);
        }
        if !self.membership.is_joined(&self.control) && !self.membership.is_replaced(&self.control) {
            return true;
        }
        let is_drained = self.membership.is_drained(&self.control) && self.is_idle();
        if is_drained || around.now_ms >= self.stops_at_ms {
            return false;
        }
        let (name, wanted) = (&around.shape.slots[self.slot], &around.shape.wanted[..]);
        let plan = self.proposer.propose(around.now_ms, name, &self.control, &self.hearing, (wanted, &[]));
        if let Some(assign) = plan {
            around.append(Entry::Assign(assign));
        }
        let query = around.dice.below(self.queries.len() as i64) as usize;
        self.queries[query].step(self.slot, &self.control, around)
    }

    fn is_idle(&self) -> bool {
        self.queries.iter().all(|query| query.task.is_none() && query.owner.held().next().is_none())
    }
}

impl QueryDriver {
    /// Whether this process could commit the unit now: it holds it and is not fenced. Not if its release is in progress.
    pub(super) fn may_commit(&self, slot: usize, unit: usize, shape: &Shape, broker: &Broker) -> bool {
        let release = |task: &Task| match &task.request {
            Request::Commit(Commit { purpose: Purpose::Release, stamps }) => {
                stamps.iter().any(|(of, _)| *of == shape.units[unit])
            }
            _ => false,
        };
        self.owner.may_commit(&shape.units[unit])
            && self.epoch == broker.epoch(shape.id(self.query, slot))
            && !self.task.as_ref().is_some_and(release)
    }

    fn step(&mut self, slot: usize, control: &Control, around: &mut Around<'_>) -> bool {
        let Some(mut task) = self.task.take() else { return self.next(control, around) };
        match self.work(slot, &mut task, around) {
            Progress::More => self.task = Some(task),
            Progress::Finished(response) => self.owner.respond(around.now_ms, task.ticket, response),
        }
        true
    }

    /// The next request of the owner; if there is none, rows.
    fn next(&mut self, control: &Control, around: &mut Around<'_>) -> bool {
        let (ticket, request) = match self.owner.advance(around.now_ms, control) {
            Output::Stop => return false,
            Output::Append(entry) => {
                around.append(entry);
                return true;
            }
            Output::Ask(ticket, request) => (ticket, request),
            Output::Wait(_) => {
                let units = self.process(around);
                let Some(commit) = self.owner.commit(&units) else { return true };
                commit
            }
        };
        self.task = Some(Task { ticket, request, steps: 0, is_repeated: false });
        true
    }

    /// Processes rows of some units, and yields those whose rows wait.
    fn process(&mut self, around: &mut Around<'_>) -> Vec<Unit> {
        let mut units = Vec::new();
        for (at, unit) in around.shape.units.iter().enumerate() {
            if !self.owner.holds(unit) {
                self.rows[at] = 0;
            } else if !around.dice.one_in(4) {
                self.rows[at] += 1 + around.dice.below(3) as u64;
                units.push(unit.clone());
            }
        }
        // Sometimes they wait for another turn, and a release may come first.
        if around.dice.one_in(3) { Vec::new() } else { units }
    }

    fn work(&mut self, slot: usize, task: &mut Task, around: &mut Around<'_>) -> Progress {
        let id = around.shape.id(self.query, slot);
        match &task.request {
            Request::Init => match around.call(Op::Init { id }) {
                Some((Reply::Epoch(epoch), _)) => {
                    self.epoch = epoch;
                    Progress::Finished(Response::Done)
                }
                Some((Reply::Later, _)) => Progress::More,
                _ => Progress::Finished(Response::Failed),
            },
            Request::ControlEnd => Progress::Finished(Response::ControlEnd(around.broker.control.len() as i64)),
            Request::ReadReleases(units) => {
                let stamp = |unit: &Unit| {
                    let at = around.shape.number(unit);
                    let stamp = around.broker.units[at].stamp.clone();
                    (unit.clone(), stamp.filter(|_| !around.broker.is_pending(at)))
                };
                Progress::Finished(Response::Stamps(units.iter().map(stamp).collect()))
            }
            Request::Fence(slots) => {
                let fenced = around.shape.slot_number(&slots[task.steps as usize]);
                match around.call(Op::Init { id: around.shape.id(self.query, fenced) }) {
                    Some((Reply::Epoch(_), _)) => task.steps += 1,
                    Some((Reply::Later, _)) => {}
                    _ => return Progress::Finished(Response::Failed),
                }
                let is_done = task.steps as usize == slots.len();
                if is_done { Progress::Finished(Response::Done) } else { Progress::More }
            }
            Request::ReadStable(units) => {
                if units.iter().any(|unit| around.broker.is_pending(around.shape.number(unit))) {
                    task.steps += 1;
                    let has_tried = task.steps > STABLE_TRIES;
                    return if has_tried { Progress::Finished(Response::Failed) } else { Progress::More };
                }
                let mut stamps = Vec::new();
                for unit in units {
                    let at = around.shape.number(unit);
                    self.read[at] = around.broker.units[at].offset;
                    stamps.push((unit.clone(), around.broker.units[at].stamp.clone()));
                }
                Progress::Finished(Response::Stamps(stamps))
            }
            Request::Restore(units) => {
                if around.dice.one_in(2) {
                    return Progress::More;
                }
                for unit in units {
                    let at = around.shape.number(unit);
                    (self.position[at], self.rows[at]) = (self.read[at], 0);
                }
                Progress::Finished(Response::Done)
            }
            Request::Commit(_) => self.transact(id, task, around),
        }
    }

    /// Rows, offsets, end: a request at a step.
    fn transact(&mut self, id: usize, task: &mut Task, around: &mut Around<'_>) -> Progress {
        let Request::Commit(commit) = &task.request else { return Progress::Finished(Response::Failed) };
        let epoch = self.epoch;
        let numbers: Vec<usize> = commit.stamps.iter().map(|(unit, _)| around.shape.number(unit)).collect();
        let rows_of = |at: usize| if commit.purpose == Purpose::Ownership { 0 } else { self.rows[at] };
        let op = match task.steps {
            0 => {
                let rows = numbers.iter().map(|at| (*at, self.position[*at], rows_of(*at)));
                let rows: Vec<_> = rows.filter(|(_, _, count)| *count > 0).collect();
                Op::Rows { id, epoch, rows }
            }
            1 => {
                let stamps = commit.stamps.iter().map(|(_, stamp)| stamp.clone());
                let offsets = numbers.iter().zip(stamps).map(|(at, s)| (*at, self.position[*at] + rows_of(*at), s));
                Op::Offsets { id, epoch, offsets: offsets.collect() }
            }
            _ => Op::End { id, epoch },
        };
        match around.call(op) {
            Some((Reply::Later, _)) => return Progress::More,
            Some((Reply::Fenced, _)) => return Progress::Finished(Response::Fenced),
            None => return Progress::Finished(Response::Failed),
            Some((_, is_repeated)) => task.is_repeated |= is_repeated,
        }
        task.steps += 1;
        if task.steps < 3 {
            return Progress::More;
        }
        for at in numbers {
            if commit.purpose != Purpose::Ownership {
                self.position[at] += std::mem::take(&mut self.rows[at]);
            }
        }
        Progress::Finished(Response::Committed { is_repeated: task.is_repeated })
    }
}
