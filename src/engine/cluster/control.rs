//! The fold of the control topic: who is a member, who owns what, and who may still write (C1, C2).
//!
//! ```text
//! offset  record                     version  q/0 owned by    may_write
//! 0       Hello a                    0
//! 1       Assign base 0: q/0 -> a    1        a, term 1       a:1
//! 2       Confirm q/0 a 1            1        a, term 1       a:1
//! 3       Assign base 1: q/0 -> b    2        b, term 2       a:1 b:2
//! 4       Assign base 1: q/0 -> c    2        does not count: its base is 1, the version 2
//! 5       Confirm q/0 b 2            2        b, term 2       b:2
//! ```
//!
//! All processes apply the same records in the same order with this function, and so agree about everything up to the same
//! offset. It never fails for what a record says: a record that does not count is skipped by all alike.

use super::names::{Incarnation, Slot, Term, Unit};
use super::record::{Assign, Assigned, Entry, Hello, MemberState, Saved, Snapshot, UnitState, Why};
use crate::error::{Error, Result};

/// Earlier starts of a slot that are remembered. A Hello that arrives after that of a successor is a repeated request of the
/// client, which repeats only its last few.
const EARLIER_MAX: usize = 8;

/// What the records so far mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    /// The offset of the next record.
    next: i64,
    version: u64,
    level: u32,
    /// By slot.
    members: Vec<MemberState>,
    /// By name.
    units: Vec<UnitState>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It counts.
    Accepted,
    /// It was overtaken by another record, or it repeats an earlier one.
    Superseded,
}

impl Control {
    /// Applies the record at this offset. An error means that records before it are missing.
    pub fn apply(&mut self, offset: i64, entry: &Entry) -> Result<Applied> {
        let next = self.next;
        if offset < next {
            return Ok(Applied::Superseded);
        }
        if offset > next && !matches!(entry, Entry::Snapshot(snapshot) if snapshot.at == offset) {
            return Err(Error::io(format!("the control topic continues at offset {offset} instead of {next}"))
                .with_detail("records that say who owns which query were deleted, and no snapshot replaces them")
                .with_hint("stop all processes of the service, delete the topic and start them again"));
        }
        let is_accepted = match entry {
            Entry::Hello(hello) => self.hello(hello),
            Entry::Assign(assign) => self.assign(assign),
            Entry::Confirm { unit, slot, term } => self.confirm(unit, slot, *term),
            Entry::Drain { slot, incarnation } => self.drain(slot, *incarnation),
            Entry::Level { level } => {
                let is_higher = *level > self.level;
                self.level = self.level.max(*level);
                is_higher
            }
            Entry::Saved(saved) => self.saved(saved),
            Entry::Snapshot(snapshot) => self.restore(offset, snapshot),
        };
        self.next = offset + 1;
        Ok(if is_accepted { Applied::Accepted } else { Applied::Superseded })
    }

    /// Passes the record at this offset, which is not one of the protocol.
    pub fn skip(&mut self, offset: i64) {
        self.next = offset + 1;
    }

    /// The offset of the next record.
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// The number of Assigns accepted so far: the base of the next one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The format level that may be written.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// All processes that have ever introduced themselves, by slot.
    pub fn members(&self) -> &[MemberState] {
        &self.members
    }

    /// A process.
    pub fn member(&self, slot: &Slot) -> Option<&MemberState> {
        self.members.iter().find(|member| member.hello.slot == *slot)
    }

    /// All units, by name.
    pub fn units(&self) -> &[UnitState] {
        &self.units
    }

    /// A unit.
    pub fn unit(&self, unit: &Unit) -> Option<&UnitState> {
        self.units.iter().find(|state| state.unit == *unit)
    }

    /// The term in which this slot owns the unit now.
    pub fn term_of(&self, unit: &Unit, slot: &Slot) -> Option<Term> {
        self.unit(unit).filter(|state| state.owner.as_ref() == Some(slot)).map(|state| state.term)
    }

    /// A record that replaces all records so far, if it is the next one.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: self.next_offset(),
            version: self.version,
            level: self.level,
            members: self.members.clone(),
            units: self.units.clone(),
        }
    }

    fn restore(&mut self, offset: i64, snapshot: &Snapshot) -> bool {
        if snapshot.at != offset {
            return false;
        }
        if offset > self.next {
            (self.version, self.level) = (snapshot.version, snapshot.level);
            (self.members, self.units) = (snapshot.members.clone(), snapshot.units.clone());
        }
        true
    }

    fn hello(&mut self, hello: &Hello) -> bool {
        let at = self.members.binary_search_by(|member| member.hello.slot.cmp(&hello.slot));
        let fresh = |earlier| MemberState { hello: hello.clone(), is_draining: false, earlier };
        match at {
            Err(at) => self.members.insert(at, fresh(Vec::new())),
            Ok(at) => {
                let member = &mut self.members[at];
                let known = member.hello.incarnation;
                if known == hello.incarnation || member.earlier.contains(&hello.incarnation) {
                    return false;
                }
                let mut earlier = std::mem::take(&mut member.earlier);
                earlier.push(known);
                let forgotten = earlier.len().saturating_sub(EARLIER_MAX);
                earlier.drain(..forgotten);
                *member = fresh(earlier);
            }
        }
        true
    }

    fn assign(&mut self, assign: &Assign) -> bool {
        if assign.base != self.version {
            return false;
        }
        self.version += 1;
        assign.units.iter().for_each(|assigned| self.place(assigned));
        // Until then it has to be known whom to fence.
        let is_released = |state: &UnitState| state.owner.is_none() && state.may_write.is_empty();
        self.units.retain(|state| !is_released(state) || !assign.ended.contains(&state.unit));
        true
    }

    fn place(&mut self, assigned: &Assigned) {
        let Assigned { unit, owner, standbys, exchange, why } = assigned;
        let at = match self.units.binary_search_by(|state| state.unit.cmp(unit)) {
            Ok(at) => at,
            Err(at) => {
                self.units.insert(at, unowned(unit.clone(), *why));
                at
            }
        };
        let state = &mut self.units[at];
        (state.standbys, state.exchange) = (standbys.clone(), *exchange);
        state.standbys.retain(|standby| Some(standby) != owner.as_ref());
        if state.owner == *owner {
            return;
        }
        (state.owner, state.term, state.why) = (owner.clone(), Term(self.version), *why);
        if let Some(owner) = owner {
            state.may_write.retain(|(slot, _)| slot != owner);
            state.may_write.push((owner.clone(), state.term));
        }
    }

    fn confirm(&mut self, unit: &Unit, slot: &Slot, term: Term) -> bool {
        let Some(state) = self.units.iter_mut().find(|state| state.unit == *unit) else { return false };
        if state.term != term {
            return false;
        }
        match &state.owner {
            Some(owner) if owner != slot => return false,
            Some(_) => state.may_write.retain(|(writer, _)| writer == slot),
            // Its query was dropped, and the last one that could write has released it.
            None => state.may_write.clear(),
        }
        true
    }

    fn drain(&mut self, slot: &Slot, incarnation: Incarnation) -> bool {
        let member = self.members.iter_mut().find(|member| member.hello.slot == *slot);
        let Some(member) = member.filter(|member| member.hello.incarnation == incarnation) else { return false };
        !std::mem::replace(&mut member.is_draining, true)
    }

    fn saved(&mut self, saved: &Saved) -> bool {
        let state = self.units.iter_mut().find(|state| state.unit == saved.unit && state.term == saved.term);
        let Some(state) = state else { return false };
        state.saved = Some(saved.clone());
        true
    }
}

fn unowned(unit: Unit, why: Why) -> UnitState {
    let (standbys, may_write) = (Vec::new(), Vec::new());
    let (owner, term, exchange) = (None, Term::default(), Default::default());
    UnitState { unit, owner, term, why, standbys, exchange, may_write, saved: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cluster::names::QueryName;
    use crate::engine::cluster::record::Exchange;

    fn slot(name: &str) -> Slot {
        Slot::new(name)
    }

    fn unit() -> Unit {
        Unit::new(&QueryName::new("q"), 0)
    }

    fn hello(name: &str, incarnation: u64) -> Entry {
        let (address, version) = (String::new(), String::new());
        let (slot, incarnation) = (slot(name), Incarnation(incarnation));
        Entry::Hello(Hello { slot, incarnation, address, version, levels: (1, 1), zone: None, weight: 1 })
    }

    fn assign(base: u64, owner: Option<&str>) -> Entry {
        let owner = owner.map(slot);
        let assigned = Assigned { unit: unit(), owner, standbys: vec![], exchange: Exchange::Memory, why: Why::New };
        Entry::Assign(Assign { base, units: vec![assigned], ended: vec![] })
    }

    fn confirm(owner: &str, term: u64) -> Entry {
        Entry::Confirm { unit: unit(), slot: slot(owner), term: Term(term) }
    }

    fn fold(entries: &[Entry]) -> (Control, Vec<bool>) {
        let mut control = Control::default();
        let accepted = entries.iter().enumerate().map(|(at, entry)| control.apply(at as i64, entry).unwrap());
        let accepted = accepted.map(|applied| applied == Applied::Accepted).collect();
        (control, accepted)
    }

    fn writers(control: &Control) -> Vec<(String, u64)> {
        control.units()[0].may_write.iter().map(|(slot, term)| (slot.to_string(), term.0)).collect()
    }

    #[test]
    fn a_plan_counts_only_on_the_version_that_it_was_made_for() {
        let (control, accepted) =
            fold(&[assign(0, Some("a")), confirm("a", 1), assign(1, Some("b")), assign(1, Some("c")), confirm("a", 1)]);
        assert_eq!(accepted, [true, true, true, false, false]);
        assert_eq!((control.version(), control.term_of(&unit(), &slot("b"))), (2, Some(Term(2))));
        assert_eq!(writers(&control), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    }

    #[test]
    fn a_confirm_leaves_only_the_owner_and_a_new_naming_counts_with_its_term() {
        let again = [assign(0, Some("a")), assign(1, Some("b")), assign(2, Some("a")), confirm("a", 1)];
        let (control, accepted) = fold(&again);
        assert!(!accepted[3], "the term is another one by now");
        assert_eq!(writers(&control), [("b".to_owned(), 2), ("a".to_owned(), 3)]);
        let (control, _) = fold(&[&again[..], &[confirm("a", 3)]].concat());
        assert_eq!(writers(&control), [("a".to_owned(), 3)]);
    }

    #[test]
    fn the_present_owner_keeps_its_term() {
        let (control, _) = fold(&[assign(0, Some("a")), assign(1, Some("a"))]);
        assert_eq!((control.version(), control.term_of(&unit(), &slot("a"))), (2, Some(Term(1))));
    }

    #[test]
    fn a_unit_is_forgotten_only_when_its_last_owner_has_released_it() {
        let end = |base| Entry::Assign(Assign { base, units: vec![], ended: vec![unit()] });
        let (control, _) = fold(&[assign(0, Some("a")), end(1)]);
        assert_eq!(control.units().len(), 1);
        let (control, _) = fold(&[assign(0, Some("a")), assign(1, None), end(2)]);
        assert_eq!(control.units().len(), 1);
        let (control, _) = fold(&[assign(0, Some("a")), assign(1, None), confirm("a", 2), end(2)]);
        assert!(control.units().is_empty());
    }

    #[test]
    fn a_late_hello_of_an_earlier_start_is_recognised() {
        let drain = |incarnation| Entry::Drain { slot: slot("a"), incarnation: Incarnation(incarnation) };
        let (control, accepted) = fold(&[hello("a", 1), hello("a", 2), hello("a", 1), drain(1), drain(2), drain(2)]);
        assert_eq!(accepted, [true, true, false, false, true, false]);
        assert_eq!(control.member(&slot("a")).unwrap().hello.incarnation, Incarnation(2));
        let starts: Vec<Entry> = (0..100).map(|n| hello("a", n)).collect();
        assert_eq!(fold(&starts).0.members()[0].earlier.len(), EARLIER_MAX);
    }

    #[test]
    fn a_snapshot_replaces_what_came_before_it() {
        let entries = [hello("b", 1), hello("a", 1), assign(0, Some("a")), assign(1, Some("b"))];
        let (mut whole, _) = fold(&entries);
        let snapshot = Entry::Snapshot(Box::new(whole.snapshot()));
        let overtaken = snapshot.clone();
        assert_eq!(whole.apply(4, &snapshot).unwrap(), Applied::Accepted);
        assert_eq!(whole.apply(5, &overtaken).unwrap(), Applied::Superseded);
        let mut trimmed = Control::default();
        trimmed.apply(4, &snapshot).unwrap();
        trimmed.apply(5, &overtaken).unwrap();
        assert_eq!(trimmed, whole);
        assert_eq!(trimmed.apply(3, &entries[3]).unwrap(), Applied::Superseded, "read twice");
        let truncated = Control::default().apply(5, &entries[0]).unwrap_err();
        assert!(truncated.to_string().contains("continues at offset 5 instead of 0"), "{truncated}");
    }
}
