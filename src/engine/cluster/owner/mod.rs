//! One process and the units of one query: a state machine from the start to the release (C3 to C6).
//!
//! ```text
//!           error, at any point                        every unit is dropped
//!          v
//! Start -> Init -> ControlEnd -> read up to it -> Working <-> release what is no longer owned
//!                                                    |  ^
//!                                                    v  |  take what is gained
//!                     releases -> fence -> stable offsets -> restore -> ownership commit
//! ```
//!
//! Rows are processed only for units that are held ([`Owner::holds`]), and only [`Owner::commit`] makes a transaction of them.
//! State and position of a unit are those of its last Restore: if the unit is dropped, so are they.
//!
//! It performs no I/O. The driver carries out one request at a time, feeds the control topic to [`Control`] meanwhile, and calls
//! [`Owner::advance`] after each record, response and expired wait.

pub mod request;

mod take;

use super::control::Control;
use super::names::{Incarnation, QueryName, Slot, Term, Unit};
use super::record::Entry;
use crate::mutant::{self, Mutant};
use request::{Commit, Output, Purpose, Request, Response, Stamp, Ticket};
use take::{Step, Take};

/// First pause after an error, and that after being fenced.
const BACK_OFF_MS: u64 = 100;
/// Longest pause after repeated errors.
const BACK_OFF_MAX_MS: u64 = 5_000;
/// How long a Confirm is awaited in the control topic before it is appended again.
const CONFIRM_AGAIN_MS: u64 = 1_000;

/// The owner's side of one query in one process.
#[derive(Debug)]
pub struct Owner {
    query: QueryName,
    slot: Slot,
    incarnation: Incarnation,
    phase: Phase,
    /// The number of the last request, and whether its response is awaited.
    ticket: Ticket,
    is_awaiting: bool,
    held: Vec<Held>,
    /// Fences that were completed: any later producer of that slot has read that the unit is this process's in that term.
    fences: Vec<Fence>,
    /// Number of the last commit.
    sequence: u64,
    /// Errors since the last commit.
    failures: u32,
    /// When to say that nothing of a dropped query is written any more, if the log does not say so by then.
    dropped_at_ms: u64,
}

/// A unit that is owned, in this term.
#[derive(Debug)]
struct Held {
    unit: Unit,
    term: Term,
    /// When to append a Confirm, if the log does not hold one by then.
    confirm_at_ms: u64,
}

/// A slot whose producer was fenced for a unit in a term. Kept over errors: otherwise two processes that take units of one query
/// from each other would fence each other again and again.
#[derive(Debug)]
struct Fence {
    unit: Unit,
    term: Term,
    slot: Slot,
}

#[derive(Debug)]
enum Phase {
    /// A new producer is needed, not before this time.
    Start { not_before_ms: u64 },
    /// The producer is initialised: where does the control topic end now?
    Initialised,
    /// The control topic has to be read up to here.
    ReadTo { end: i64 },
    /// Rows may be processed.
    Working,
    /// Units are being released.
    Releasing(Vec<Unit>),
    /// Rows are being committed.
    Committing,
    /// Units are being taken.
    Taking(Take),
}

impl Owner {
    /// The owner's side of a query, after the process's Hello is in the control topic.
    pub fn new(query: QueryName, slot: Slot, incarnation: Incarnation) -> Owner {
        let phase = Phase::Start { not_before_ms: 0 };
        let (ticket, held, fences) = (Ticket::default(), Vec::new(), Vec::new());
        let (is_awaiting, sequence, failures, dropped_at_ms) = (false, 0, 0, 0);
        Owner { query, slot, incarnation, phase, ticket, is_awaiting, held, fences, sequence, failures, dropped_at_ms }
    }

    /// Whether rows of this unit may be processed.
    pub fn holds(&self, unit: &Unit) -> bool {
        self.held.iter().any(|held| held.unit == *unit)
    }

    /// Whether rows of this unit may be committed: not while a new producer has not read the control topic.
    pub fn may_commit(&self, unit: &Unit) -> bool {
        let is_settled = !matches!(self.phase, Phase::Start { .. } | Phase::Initialised | Phase::ReadTo { .. });
        is_settled && self.holds(unit)
    }

    /// The units whose rows may be processed, with their terms.
    pub fn held(&self) -> impl Iterator<Item = (&Unit, Term)> {
        self.held.iter().map(|held| (&held.unit, held.term))
    }

    /// What to do next. To be called after every record, response and expired wait.
    pub fn advance(&mut self, now_ms: u64, control: &Control) -> Output {
        if self.is_awaiting {
            return Output::Wait(None);
        }
        match &mut self.phase {
            Phase::Start { not_before_ms } if now_ms < *not_before_ms => Output::Wait(Some(*not_before_ms)),
            Phase::Start { .. } => self.ask(Request::Init),
            Phase::Initialised => self.ask(Request::ControlEnd),
            Phase::ReadTo { end } if control.next_offset() < *end => Output::Wait(None),
            Phase::ReadTo { .. } => {
                self.keep_owned(control);
                self.phase = Phase::Working;
                self.advance(now_ms, control)
            }
            Phase::Working => self.work(now_ms, control),
            Phase::Taking(take) if !take.is_current(control, &self.slot) => {
                self.phase = Phase::Working;
                self.advance(now_ms, control)
            }
            Phase::Taking(_) => self.take(now_ms, control),
            // Their responses leave these phases.
            Phase::Releasing(_) | Phase::Committing => Output::Wait(None),
        }
    }

    /// The transaction for the rows of these units so far; None if a request is outstanding or one of them is not held.
    pub fn commit(&mut self, units: &[Unit]) -> Option<(Ticket, Request)> {
        let is_possible = matches!(self.phase, Phase::Working) && !self.is_awaiting;
        if !is_possible || units.is_empty() || !units.iter().all(|unit| self.holds(unit)) {
            return None;
        }
        self.phase = Phase::Committing;
        let commit = self.stamped(Purpose::Epoch, self.terms(units), false);
        match self.ask(Request::Commit(commit)) {
            Output::Ask(ticket, request) => Some((ticket, request)),
            _ => None,
        }
    }

    /// Takes the response to a request; one to an earlier request is ignored.
    pub fn respond(&mut self, now_ms: u64, ticket: Ticket, response: Response) {
        if ticket != self.ticket || !self.is_awaiting {
            return;
        }
        self.is_awaiting = false;
        match (&mut self.phase, response) {
            (_, Response::Fenced) => self.restart(now_ms + BACK_OFF_MS),
            (_, Response::Failed) => self.failed(now_ms),
            (Phase::Start { .. }, Response::Done) => self.initialised(),
            (Phase::Initialised, Response::ControlEnd(end)) => self.phase = Phase::ReadTo { end },
            (Phase::Committing, Response::Committed { is_repeated }) => self.committed(now_ms, is_repeated),
            (Phase::Releasing(units), Response::Committed { is_repeated }) => {
                let released = std::mem::take(units);
                self.held.retain(|held| !released.contains(&held.unit));
                self.committed(now_ms, is_repeated);
            }
            (Phase::Taking(take), Response::Committed { is_repeated }) => {
                let taken = std::mem::take(&mut take.units);
                self.held.extend(taken.into_iter().map(|(unit, term)| Held { unit, term, confirm_at_ms: now_ms }));
                self.committed(now_ms, is_repeated);
            }
            (Phase::Taking(take), response) => {
                let is_fine = take.respond(now_ms, response, &self.slot);
                self.fences.extend(take.new_fences());
                if !is_fine {
                    self.failed(now_ms);
                }
            }
            _ => self.failed(now_ms),
        }
    }

    fn ask(&mut self, request: Request) -> Output {
        self.ticket.0 += 1;
        self.is_awaiting = true;
        Output::Ask(self.ticket, request)
    }

    fn initialised(&mut self) {
        self.phase = match mutant::on(Mutant::ControlNotReadAgain) {
            true => Phase::Working,
            false => Phase::Initialised,
        };
    }

    /// After an error of the broker, with a longer pause after each. To be fenced is none: several processes that move units
    /// would wait for seconds.
    fn failed(&mut self, now_ms: u64) {
        let pause = (BACK_OFF_MS << self.failures.min(16)).min(BACK_OFF_MAX_MS);
        self.failures += 1;
        self.restart(now_ms + pause);
    }

    /// After every error: nothing that was held is, until a new producer has read the control topic (C3).
    fn restart(&mut self, not_before_ms: u64) {
        if mutant::on(Mutant::ProducerKeptAfterError) && !matches!(self.phase, Phase::Start { .. }) {
            self.phase = Phase::Working;
            return;
        }
        self.held.clear();
        if mutant::on(Mutant::FencesForgotten) {
            self.fences.clear();
        }
        self.phase = Phase::Start { not_before_ms };
    }

    /// After a commit whose requests may have been repeated the producer is replaced; what is held stays held if the control
    /// topic, read after that, agrees.
    fn committed(&mut self, now_ms: u64, is_repeated: bool) {
        self.failures = 0;
        self.phase = match is_repeated && !mutant::on(Mutant::ProducerKeptAfterRepetition) {
            true => Phase::Start { not_before_ms: now_ms },
            false => Phase::Working,
        };
    }

    /// What is no longer owned after a new producer was initialised is dropped and not released: its owner may have read its
    /// offsets already, and this producer was not fenced by it.
    fn keep_owned(&mut self, control: &Control) {
        if !mutant::on(Mutant::ReleaseByNewProducer) {
            let slot = &self.slot;
            self.held.retain(|held| control.term_of(&held.unit, slot) == Some(held.term));
        }
    }

    fn is_replaced(&self, control: &Control) -> bool {
        let present = control.member(&self.slot).map(|member| member.hello.incarnation);
        present.is_some_and(|present| present != self.incarnation) && !mutant::on(Mutant::PredecessorStays)
    }

    fn work(&mut self, now_ms: u64, control: &Control) -> Output {
        if self.is_replaced(control) {
            return Output::Stop;
        }
        let is_lost = |held: &&Held| control.term_of(&held.unit, &self.slot) != Some(held.term);
        let lost: Vec<Unit> = self.held.iter().filter(is_lost).map(|held| held.unit.clone()).collect();
        if !lost.is_empty() {
            let commit = self.stamped(Purpose::Release, self.terms(&lost), true);
            self.phase = Phase::Releasing(lost);
            return self.ask(Request::Commit(commit));
        }
        if let Some(take) = Take::of(now_ms, self, control) {
            self.fences.retain(|fence| take.units.contains(&(fence.unit.clone(), fence.term)));
            let early = take.units.first().map(|(unit, term)| self.confirm(unit, *term));
            self.phase = Phase::Taking(take);
            return match early.filter(|_| mutant::on(Mutant::ConfirmedBeforeFence)) {
                Some(confirm) => Output::Append(confirm),
                None => self.advance(now_ms, control),
            };
        }
        match self.confirm_dropped(now_ms, control) {
            Some(confirm) => Output::Append(confirm),
            None => self.confirm_due(now_ms, control),
        }
    }

    fn take(&mut self, now_ms: u64, control: &Control) -> Output {
        let Phase::Taking(take) = &mut self.phase else { return Output::Wait(None) };
        match take.step(now_ms, control, &self.slot) {
            Step::Ask(request) => self.ask(request),
            Step::Wait(until) => Output::Wait(Some(until)),
            Step::Own => {
                let units = take.units.clone();
                let commit = self.stamped(Purpose::Ownership, units, false);
                self.ask(Request::Commit(commit))
            }
        }
    }

    fn confirm(&self, unit: &Unit, term: Term) -> Entry {
        Entry::Confirm { unit: unit.clone(), slot: self.slot.clone(), term }
    }

    /// Of a dropped query's unit that only this process could write, and which it does not hold any more.
    fn confirm_dropped(&mut self, now_ms: u64, control: &Control) -> Option<Entry> {
        if now_ms < self.dropped_at_ms {
            return None;
        }
        let mut mine = control.units().iter().filter(|state| state.unit.query == self.query && state.owner.is_none());
        let state = mine.find(|state| matches!(state.may_write.as_slice(), [(writer, _)] if *writer == self.slot))?;
        self.dropped_at_ms = now_ms + CONFIRM_AGAIN_MS;
        Some(self.confirm(&state.unit, state.term))
    }

    /// The next Confirm that the log does not hold yet.
    fn confirm_due(&mut self, now_ms: u64, control: &Control) -> Output {
        let mut next: Option<u64> = None;
        for held in &mut self.held {
            let is_confirmed = control.unit(&held.unit).is_none_or(|state| state.may_write.len() <= 1);
            if is_confirmed {
                continue;
            }
            if held.confirm_at_ms <= now_ms {
                held.confirm_at_ms = now_ms + CONFIRM_AGAIN_MS;
                let (unit, slot, term) = (held.unit.clone(), self.slot.clone(), held.term);
                return Output::Append(Entry::Confirm { unit, slot, term });
            }
            next = Some(next.map_or(held.confirm_at_ms, |next| next.min(held.confirm_at_ms)));
        }
        Output::Wait(next)
    }

    fn terms(&self, units: &[Unit]) -> Vec<(Unit, Term)> {
        let is_named = |held: &&Held| units.contains(&held.unit);
        self.held.iter().filter(is_named).map(|held| (held.unit.clone(), held.term)).collect()
    }

    fn stamped(&mut self, purpose: Purpose, units: Vec<(Unit, Term)>, released: bool) -> Commit {
        self.sequence += 1;
        let (incarnation, sequence) = (self.incarnation, self.sequence);
        let stamp = |(unit, term)| (unit, Stamp { slot: self.slot.clone(), incarnation, term, sequence, released });
        Commit { purpose, stamps: units.into_iter().map(stamp).collect() }
    }
}
