//! Plans: few moves, balance, standbys that are of use, and an end.

use crate::batches::Dice;
use std::collections::BTreeMap;
use tidegate::engine::cluster::control::Control;
use tidegate::engine::cluster::hearing::Presence;
use tidegate::engine::cluster::names::{Incarnation, QueryName, Slot, Unit};
use tidegate::engine::cluster::planner::{RETURN_MS, SMALL_STATE_BYTES, Situation, WARM_LAG_RECORDS, Wanted, plan};
use tidegate::engine::cluster::record::{Assign, Entry, Hello};

/// Random services in an ordinary run.
const SERVICES: u64 = 300;
/// Plans after which nothing is left to plan: each moves a unit, names standbys, or ends.
const PLANS_MAX: usize = 60;

/// A service whose members follow every plan at once.
#[derive(Default)]
struct Service {
    control: Control,
    presence: BTreeMap<Slot, Presence>,
    wanted: Vec<Wanted>,
    ended: Vec<Unit>,
}

fn unit(n: usize) -> Unit {
    Unit::new(&QueryName::new(&format!("Q{n:02}")), 0)
}

impl Service {
    /// Members with zone and weight, and units with load.
    fn of(members: &[(&str, Option<&str>, u32)], loads: &[u64]) -> Service {
        let mut service = Service::default();
        for (name, zone, weight) in members {
            service.hello(name, *zone, *weight);
        }
        service.wanted = loads.iter().enumerate().map(|(n, load)| wanted(n, *load)).collect();
        service
    }

    fn hello(&mut self, name: &str, zone: Option<&str>, weight: u32) {
        let (slot, zone) = (Slot::new(name), zone.map(str::to_owned));
        self.presence.insert(slot.clone(), Presence::Heard);
        let (address, version, incarnation) = (String::new(), String::new(), Incarnation(1));
        self.append(&Entry::Hello(Hello { slot, incarnation, address, version, levels: (1, 1), zone, weight }));
    }

    fn append(&mut self, entry: &Entry) {
        self.control.apply(self.control.next_offset(), entry).unwrap();
    }

    fn plan(&self) -> Option<Assign> {
        let presence = |slot: &Slot| self.presence[slot];
        plan(&Situation { control: &self.control, presence: &presence, wanted: &self.wanted, ended: &self.ended })
    }

    /// The plan is accepted, and all units have been taken.
    fn follow(&mut self, assign: Assign) {
        self.append(&Entry::Assign(assign));
        for state in self.control.units().to_vec() {
            let confirms = state.owner.clone().or_else(|| state.may_write.first().map(|(slot, _)| slot.clone()));
            if let Some(slot) = confirms {
                self.append(&Entry::Confirm { unit: state.unit, slot, term: state.term });
            }
        }
        // Standbys catch up at once.
        for wanted in &mut self.wanted {
            let standbys = self.control.unit(&wanted.unit).map_or(Vec::new(), |state| state.standbys.clone());
            wanted.lags = standbys.into_iter().map(|slot| (slot, 0)).collect();
        }
    }

    /// The standbys of a unit say how many records they lack.
    fn hears(&mut self, unit: &Unit, lags: &[(&str, u64)]) {
        let wanted = self.wanted.iter_mut().find(|wanted| wanted.unit == *unit).unwrap();
        wanted.lags = lags.iter().map(|(name, lag)| (slot(name), *lag)).collect();
    }

    /// Plans until there is nothing to plan: how many, and how many units changed their owner.
    fn settle(&mut self) -> (usize, usize) {
        let (mut plans, mut moves) = (0, 0);
        while let Some(assign) = self.plan() {
            moves += self.moved(&assign).len();
            self.check(&assign);
            self.follow(assign);
            plans += 1;
            assert!(plans <= PLANS_MAX, "it plans for ever");
        }
        (plans, moves)
    }

    fn owner(&self, unit: &Unit) -> Option<Slot> {
        self.control.unit(unit).and_then(|state| state.owner.clone())
    }

    fn moved(&self, assign: &Assign) -> Vec<Unit> {
        let changed = assign.units.iter().filter(|a| self.owner(&a.unit) != a.owner);
        changed.map(|assigned| assigned.unit.clone()).collect()
    }

    fn takes(&self, slot: &Slot) -> bool {
        self.presence[slot] == Presence::Heard && !self.control.member(slot).unwrap().is_draining
    }

    fn lives(&self, slot: &Slot) -> bool {
        matches!(self.presence[slot], Presence::Heard | Presence::Unknown)
    }

    /// Load of a member in relation to its weight.
    fn load(&self, slot: &Slot) -> f64 {
        let of = |wanted: &&Wanted| self.owner(&wanted.unit).as_ref() == Some(slot);
        let load: u64 = self.wanted.iter().filter(of).map(|wanted| wanted.load).sum();
        load as f64 / f64::from(self.control.member(slot).unwrap().hello.weight)
    }

    /// What holds for every plan.
    fn check(&self, assign: &Assign) {
        assert_eq!(assign.base, self.control.version());
        let mut moved_alive = 0;
        for assigned in &assign.units {
            let Some(owner) = &assigned.owner else { continue };
            assert!(!assigned.standbys.contains(owner), "a standby beside its owner: {assigned:?}");
            let before = self.owner(&assigned.unit);
            if before.as_ref() != Some(owner) {
                assert!(self.takes(owner), "given to a process that does not take it: {assigned:?}");
                moved_alive += usize::from(before.is_some_and(|before| self.lives(&before)));
            }
        }
        assert!(moved_alive <= 1, "several units are taken from living owners at once: {assign:?}");
    }
}

fn wanted(n: usize, load: u64) -> Wanted {
    Wanted { unit: unit(n), load, state_bytes: 0, standbys: 0, lags: Vec::new() }
}

fn slot(name: &str) -> Slot {
    Slot::new(name)
}

#[test]
fn twenty_equal_queries_are_spread_evenly_and_a_dead_process_costs_its_own_units_only() {
    let mut service = Service::of(&[("a", None, 1), ("b", None, 1), ("c", None, 1)], &[1; 20]);
    service.settle();
    let loads = |service: &Service| ["a", "b", "c"].map(|name| service.load(&slot(name)) as u64);
    let mut spread = loads(&service);
    spread.sort();
    assert_eq!(spread, [6, 7, 7]);
    let of_b = loads(&service)[1] as usize;
    service.presence.insert(slot("b"), Presence::Silent { for_ms: 1_500 });
    assert_eq!(service.settle().1, of_b);
    assert_eq!(loads(&service), [10, 0, 10]);
    service.presence.insert(slot("b"), Presence::Heard);
    let (_, moves) = service.settle();
    assert!((6..=7).contains(&moves), "{moves} moves to fill a process again");
}

#[test]
fn load_follows_weight() {
    let mut service = Service::of(&[("a", None, 1), ("b", None, 3)], &[2; 8]);
    service.settle();
    assert_eq!(["a", "b"].map(|name| service.load(&slot(name)) as u64), [4, 4]);
}

#[test]
fn the_freshest_standby_is_promoted() {
    let mut service = Service::of(&[("a", None, 1), ("b", None, 1), ("c", None, 1)], &[1]);
    service.wanted[0].standbys = 2;
    service.settle();
    assert_eq!(service.owner(&unit(0)), Some(slot("a")));
    service.wanted[0].lags = vec![(slot("b"), 70), (slot("c"), 7)];
    service.presence.insert(slot("a"), Presence::Dead);
    let assign = service.plan().unwrap();
    assert_eq!(assign.units[0].owner, Some(slot("c")));
}

#[test]
fn a_silent_process_keeps_its_standbys_for_a_while() {
    let mut service = Service::of(&[("a", None, 1), ("b", None, 1), ("c", None, 1)], &[1]);
    service.wanted[0].standbys = 1;
    service.settle();
    let standby = service.control.units()[0].standbys[0].clone();
    service.presence.insert(standby.clone(), Presence::Silent { for_ms: RETURN_MS - 1 });
    assert_eq!(service.plan(), None);
    service.presence.insert(standby.clone(), Presence::Silent { for_ms: RETURN_MS });
    let assign = service.plan().unwrap();
    assert!(!assign.units[0].standbys.contains(&standby) && assign.units[0].standbys.len() == 1, "{assign:?}");
}

#[test]
fn standbys_are_in_another_zone_if_there_is_one() {
    let members = [("a", Some("x"), 1), ("b", Some("x"), 1), ("c", Some("y"), 1)];
    let mut service = Service::of(&members, &[1]);
    service.wanted[0].standbys = 1;
    service.settle();
    assert_eq!(service.control.units()[0].standbys, [slot("c")]);
}

#[test]
fn a_large_state_moves_only_to_a_warm_standby() {
    let mut service = Service::of(&[("a", None, 1)], &[1, 1]);
    service.settle();
    service.wanted.iter_mut().for_each(|wanted| wanted.state_bytes = SMALL_STATE_BYTES + 1);
    service.hello("b", None, 1);
    let warm_up = service.plan().unwrap();
    assert!(service.moved(&warm_up).is_empty() && warm_up.units[0].standbys == [slot("b")], "{warm_up:?}");
    let unit = warm_up.units[0].unit.clone();
    service.append(&Entry::Assign(warm_up));
    service.hears(&unit, &[("b", WARM_LAG_RECORDS + 1)]);
    assert_eq!(service.plan(), None, "it is not warm yet");
    service.hears(&unit, &[("b", WARM_LAG_RECORDS)]);
    let assign = service.plan().unwrap();
    assert_eq!((service.moved(&assign), assign.units[0].owner.clone()), (vec![unit], Some(slot("b"))));
}

#[test]
fn a_large_state_leaves_a_process_that_stops_once_a_standby_has_it() {
    let mut service = Service::of(&[("a", None, 1), ("b", None, 1)], &[1, 1]);
    service.settle();
    service.wanted.iter_mut().for_each(|wanted| wanted.state_bytes = SMALL_STATE_BYTES + 1);
    service.append(&Entry::Drain { slot: slot("a"), incarnation: Incarnation(1) });
    let warm_up = service.plan().unwrap();
    assert!(service.moved(&warm_up).is_empty() && warm_up.units[0].standbys == [slot("b")], "{warm_up:?}");
    let unit = warm_up.units[0].unit.clone();
    service.append(&Entry::Assign(warm_up));
    for lags in [&[][..], &[("b", WARM_LAG_RECORDS + 1)]] {
        service.hears(&unit, lags);
        assert_eq!(service.plan(), None, "it is not warm yet: {lags:?}");
    }
    service.hears(&unit, &[("b", WARM_LAG_RECORDS)]);
    let assign = service.plan().unwrap();
    assert_eq!((service.moved(&assign), assign.units[0].standbys.len()), (vec![unit], 0));
}

#[test]
fn a_standby_that_was_made_for_a_move_goes_when_nothing_moves() {
    let mut service = Service::of(&[("a", None, 1)], &[1, 1]);
    service.settle();
    service.wanted.iter_mut().for_each(|wanted| wanted.state_bytes = SMALL_STATE_BYTES + 1);
    service.hello("b", None, 1);
    let warm_up = service.plan().unwrap();
    let unit = warm_up.units[0].unit.clone();
    service.append(&Entry::Assign(warm_up));
    // The other query is dropped: a move would not help any more.
    service.wanted.retain(|wanted| wanted.unit == unit);
    service.settle();
    assert!(service.control.unit(&unit).unwrap().standbys.is_empty());
}

#[test]
fn a_drained_process_is_left_unit_by_unit() {
    let mut service = Service::of(&[("a", None, 1), ("b", None, 1), ("c", None, 1)], &[1; 9]);
    service.settle();
    service.append(&Entry::Drain { slot: slot("b"), incarnation: Incarnation(1) });
    let (plans, moves) = service.settle();
    assert_eq!((plans, moves, service.load(&slot("b")) as u64), (3, 3, 0));
}

#[test]
fn a_dropped_query_loses_its_owner_and_is_forgotten_later() {
    let mut service = Service::of(&[("a", None, 1)], &[1]);
    service.settle();
    (service.wanted, service.ended) = (Vec::new(), vec![unit(0)]);
    let assign = service.plan().unwrap();
    assert_eq!(assign.units[0].owner, None);
    service.append(&Entry::Assign(assign));
    assert_eq!(service.plan(), None, "its owner has not released it");
    let state = service.control.units()[0].clone();
    service.append(&Entry::Confirm { unit: unit(0), slot: slot("a"), term: state.term });
    let assign = service.plan().unwrap();
    service.append(&Entry::Assign(assign));
    assert!(service.control.units().is_empty() && service.plan().is_none());
}

#[test]
fn a_unit_that_the_planner_does_not_know_stays() {
    let mut service = Service::of(&[("a", None, 1), ("b", None, 1)], &[1, 1]);
    service.settle();
    service.wanted.clear();
    assert_eq!(service.plan(), None);
}

/// Whatever happens to a random service, plans keep their rules and come to an end, and nothing moves without need.
#[test]
fn plans_of_random_services_end_balanced() {
    for seed in 0..SERVICES {
        let dice = &mut Dice(seed);
        let members: Vec<(String, u32)> =
            (0..1 + dice.below(5)).map(|n| (format!("n{n}"), 1 + dice.below(3) as u32)).collect();
        let named: Vec<_> = members.iter().map(|(name, weight)| (name.as_str(), None, *weight)).collect();
        let loads: Vec<u64> = (0..1 + dice.below(10)).map(|_| 1 + dice.below(4) as u64).collect();
        let mut service = Service::of(&named, &loads);
        let standbys = dice.below(3) as usize;
        for wanted in &mut service.wanted {
            (wanted.standbys, wanted.state_bytes) = (standbys, if dice.one_in(3) { SMALL_STATE_BYTES + 1 } else { 0 });
        }
        service.settle();
        for _ in 0..4 {
            misfortune(&mut service, dice);
            let stranded = |wanted: &&Wanted| service.owner(&wanted.unit).is_none_or(|owner| !service.lives(&owner));
            let stranded = service.wanted.iter().filter(stranded).count();
            let first = service.plan().map_or(0, |assign| service.moved(&assign).len());
            assert!(first <= stranded + 1, "seed {seed}: {first} moves, {stranded} units without a living owner");
            service.settle();
            settled(&service, seed);
        }
    }
}

fn misfortune(service: &mut Service, dice: &mut Dice) {
    let slots: Vec<Slot> = service.presence.keys().cloned().collect();
    let slot = slots[dice.below(slots.len() as i64) as usize].clone();
    let silent = Presence::Silent { for_ms: dice.below(60_000) as u64 };
    let presence = [Presence::Heard, Presence::Dead, Presence::Unknown, silent][dice.below(4) as usize];
    match dice.below(4) {
        0 => service.append(&Entry::Drain { slot, incarnation: Incarnation(1) }),
        1 => service.hello(&format!("m{}", slots.len()), None, 1),
        _ => drop(service.presence.insert(slot, presence)),
    }
}

/// Where nothing is left to plan.
fn settled(service: &Service, seed: u64) {
    let takers: Vec<&Slot> = service.presence.keys().filter(|slot| service.takes(slot)).collect();
    for state in service.control.units() {
        let owner = state.owner.as_ref().unwrap();
        let is_fine = service.takes(owner) || service.presence[owner] == Presence::Unknown || takers.is_empty();
        assert!(is_fine, "seed {seed}: {state:?}");
        let wanted = service.wanted.iter().find(|wanted| wanted.unit == state.unit).map_or(0, |wanted| wanted.standbys);
        assert!(state.standbys.len() <= wanted, "seed {seed}: more than {wanted} standbys: {state:?}");
    }
    // No unit of a process with the highest load would have less beside it elsewhere.
    for wanted in &service.wanted {
        let Some(owner) = service.owner(&wanted.unit).filter(|owner| service.takes(owner)) else { continue };
        let highest = takers.iter().map(|slot| service.load(slot)).fold(0.0, f64::max);
        if service.load(&owner) < highest {
            continue;
        }
        for slot in takers.iter().filter(|slot| ***slot != owner) {
            let weight = f64::from(service.control.member(slot).unwrap().hello.weight);
            let then = service.load(slot) + wanted.load as f64 / weight;
            assert!(then >= highest - 1e-9, "seed {seed}: {:?} should move to {slot}", wanted.unit);
        }
    }
}
