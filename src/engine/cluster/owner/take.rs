//! Taking units: releases, fences, stable offsets, state, and then the ownership commit (C4, C5).
//!
//! ```text
//! q/0 is mine in term 7, may_write: a:3 b:6 c:7 (me)
//! releases    stamp "b, term 6, released": b need not be fenced; a has to be
//! fence       init_transactions with the id of a
//! stable      stamp of term 6 at offset 1200; a stamp of a later term than 7 means that there is a newer owner: start again
//! restore     changelogs up to their end now
//! own         commit offset 1200 with the stamp "c, term 7"
//! ```

use super::request::{Request, Response, Stamp};
use super::{Fence, Owner};
use crate::engine::cluster::control::Control;
use crate::engine::cluster::names::{Slot, Term, Unit};
use crate::mutant::{self, Mutant};

/// How long a release of a living owner is awaited. Fencing costs it one epoch, so this is the price of a long wait.
const RELEASE_WAIT_MS: u64 = 300;
/// Between two looks for a release.
const RELEASE_POLL_MS: u64 = 10;

/// Units that are being taken.
#[derive(Debug)]
pub(super) struct Take {
    /// The units with the terms in which they are taken.
    pub units: Vec<(Unit, Term)>,
    stage: Stage,
    /// Until when releases are awaited.
    wait_until_ms: u64,
    /// When to look for a release again.
    look_at_ms: u64,
    /// Who may still write: units with slots other than the own, and the last term in which each was named.
    writers: Vec<(Unit, Slot, Term)>,
    /// Slots that this take has fenced, and how many of them the owner remembers already.
    fenced: Vec<Slot>,
    remembered: usize,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Releases,
    Fence,
    Stable,
    Restore,
    Own,
}

/// What to do next.
pub(super) enum Step {
    Ask(Request),
    Wait(u64),
    /// Everything is ready for the ownership commit.
    Own,
}

impl Take {
    /// What the process owns by the control topic and does not hold.
    pub(super) fn of(now_ms: u64, owner: &Owner, control: &Control) -> Option<Take> {
        let is_gained = |state: &&crate::engine::cluster::record::UnitState| {
            state.unit.query == owner.query
                && state.owner.as_ref() == Some(&owner.slot)
                && !owner.held.iter().any(|held| held.unit == state.unit && held.term == state.term)
        };
        let gained: Vec<_> = control.units().iter().filter(is_gained).collect();
        if gained.is_empty() {
            return None;
        }
        let is_release_likely = gained.iter().any(|state| state.why.is_release_likely());
        let wait_until_ms = if is_release_likely { now_ms + RELEASE_WAIT_MS } else { now_ms };
        let others = gained.iter().flat_map(|state| {
            let is_fenced = |slot: &Slot| {
                owner.fences.iter().any(|f| f.unit == state.unit && f.term == state.term && f.slot == *slot)
            };
            let others = state.may_write.iter().filter(move |(slot, _)| *slot != owner.slot && !is_fenced(slot));
            others.map(|(slot, term)| (state.unit.clone(), slot.clone(), *term))
        });
        Some(Take {
            writers: others.collect(),
            units: gained.iter().map(|state| (state.unit.clone(), state.term)).collect(),
            stage: Stage::Releases,
            wait_until_ms,
            look_at_ms: now_ms,
            fenced: Vec::new(),
            remembered: 0,
        })
    }

    /// Whether the control topic still says so.
    pub(super) fn is_current(&self, control: &Control, slot: &Slot) -> bool {
        self.units.iter().all(|(unit, term)| control.term_of(unit, slot) == Some(*term))
    }

    pub(super) fn step(&mut self, now_ms: u64, control: &Control, slot: &Slot) -> Step {
        debug_assert!(self.is_current(control, slot), "checked by the caller");
        if self.stage == Stage::Releases {
            if self.writers.is_empty() || now_ms >= self.wait_until_ms {
                self.stage = Stage::Fence;
            } else if now_ms < self.look_at_ms {
                return Step::Wait(self.look_at_ms.min(self.wait_until_ms));
            } else {
                return Step::Ask(Request::ReadReleases(self.names()));
            }
        }
        if self.stage == Stage::Fence {
            let slots = self.to_fence();
            if !slots.is_empty() {
                return Step::Ask(Request::Fence(slots));
            }
            self.stage = Stage::Stable;
        }
        match self.stage {
            Stage::Stable => Step::Ask(Request::ReadStable(self.names())),
            Stage::Restore => Step::Ask(Request::Restore(self.names())),
            Stage::Releases | Stage::Fence | Stage::Own => Step::Own,
        }
    }

    /// Takes a response; false if everything has to start again.
    pub(super) fn respond(&mut self, now_ms: u64, response: Response, me: &Slot) -> bool {
        match (&self.stage, response) {
            (Stage::Releases, Response::Stamps(stamps)) => {
                self.spare_released(&stamps);
                self.look_at_ms = now_ms + RELEASE_POLL_MS;
            }
            (Stage::Fence, Response::Done) => {
                self.fenced.extend(self.to_fence());
                self.stage = Stage::Stable;
            }
            (Stage::Stable, Response::Stamps(stamps)) => return self.is_newest(stamps, me),
            (Stage::Restore, Response::Done) => self.stage = Stage::Own,
            _ => return false,
        }
        true
    }

    /// Fences that were completed since the last call, for all units: a fence is of a slot, whichever unit it was for.
    pub(super) fn new_fences(&mut self) -> Vec<Fence> {
        let slots = &self.fenced[std::mem::replace(&mut self.remembered, self.fenced.len())..];
        let of = |slot: &Slot| {
            let slot = slot.clone();
            self.units.iter().map(move |(unit, term)| Fence { unit: unit.clone(), term: *term, slot: slot.clone() })
        };
        slots.iter().flat_map(of).collect()
    }

    fn names(&self) -> Vec<Unit> {
        self.units.iter().map(|(unit, _)| unit.clone()).collect()
    }

    fn to_fence(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = Vec::new();
        for (_, slot, _) in &self.writers {
            if !slots.contains(slot) && !self.fenced.contains(slot) {
                slots.push(slot.clone());
            }
        }
        if mutant::on(Mutant::TakenUnfenced) {
            slots.clear();
        }
        slots
    }

    /// An older release proves nothing: its slot was named again since, and may take the unit at any moment.
    fn spare_released(&mut self, stamps: &[(Unit, Option<Stamp>)]) {
        let stamp_of = |unit: &Unit| stamps.iter().find(|(of, _)| of == unit).and_then(|(_, stamp)| stamp.as_ref());
        self.writers.retain(|(unit, slot, term)| {
            let Some(stamp) = stamp_of(unit) else { return true };
            let is_last = stamp.term >= *term || mutant::on(Mutant::OlderReleaseCounts);
            let is_spared = stamp.released && stamp.slot == *slot && is_last;
            let is_spared = is_spared || mutant::on(Mutant::CommitterFencedOnly) && stamp.slot != *slot;
            !is_spared
        });
    }

    /// Looks at the stable stamps. An owner that the control topic does not know, from before it, is fenced as well.
    fn is_newest(&mut self, stamps: Vec<(Unit, Option<Stamp>)>, me: &Slot) -> bool {
        for (unit, stamp) in stamps {
            let Some((_, term)) = self.units.iter().find(|(taken, _)| *taken == unit) else { return false };
            let Some(stamp) = stamp else { continue };
            if stamp.term > *term {
                return false;
            }
            let is_from_before = stamp.term == Term::default() && !stamp.released;
            if is_from_before && stamp.slot != *me && !self.fenced.contains(&stamp.slot) {
                self.writers.push((unit, stamp.slot, stamp.term));
                self.stage = Stage::Fence;
            }
        }
        if self.stage == Stage::Stable {
            self.stage = Stage::Restore;
        }
        true
    }
}
