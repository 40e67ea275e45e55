//! Ownership of queries among several processes, simulated: the rules of `engine::cluster` hold, and each of them is needed.
//!
//! A seed decides how many processes there are, in which order they take their steps, who is killed, paused or started a
//! second time, which requests are lost, late, repeated or not replied to, and who wrongly believes that a unit should be
//! elsewhere. Rows are checked as they become visible, and what has to happen after the last fault within ten seconds. Each rule
//! has a test that leaves it out and expects the fault to be seen.
//!
//! `TIDEGATE_CLUSTER_SEEDS` and `TIDEGATE_CLUSTER_STEPS` set other numbers than those of an ordinary run, `TIDEGATE_CLUSTER_SEED`
//! runs one seed.

mod broker;
mod planning;
mod process;
mod world;

use tidegate::config::environment;
use tidegate::mutant::{self, Mutant};
use world::{Counts, Fault, Weather, World};

/// Seeds in an ordinary run.
const SEEDS: u64 = 3_000;
/// Steps with faults of each seed in an ordinary run.
const STEPS: usize = 800;
/// One of so many seeds is a rush of moves, the others are storms.
const RUSH_ONE_IN: u64 = 4;
/// Seeds within which a rule that was left out is noticed. The rarest fault is seen in one of 500.
const MUTANT_SEEDS: u64 = 8_000;

fn number(name: &str, otherwise: u64) -> u64 {
    environment(name).map_or(otherwise, |n| n.parse().unwrap())
}

fn weather(seed: u64) -> Weather {
    if seed.is_multiple_of(RUSH_ONE_IN) { Weather::RUSH } else { Weather::STORM }
}

#[test]
fn every_row_is_committed_once_whatever_happens() {
    let steps = number("TIDEGATE_CLUSTER_STEPS", STEPS as u64) as usize;
    let one = environment("TIDEGATE_CLUSTER_SEED").map(|seed| seed.parse::<u64>().unwrap());
    let seeds = one.map_or(0..number("TIDEGATE_CLUSTER_SEEDS", SEEDS), |seed| seed..seed + 1);
    let (mut total, mut count) = (Counts::default(), 0);
    for seed in seeds {
        match World::new(seed).run(steps, &weather(seed)) {
            Ok(counts) => total.add(&counts),
            Err(fault) => panic!("TIDEGATE_CLUSTER_STEPS={steps} TIDEGATE_CLUSTER_SEED={seed}: {fault:?}"),
        }
        count += 1;
    }
    eprintln!("{count} seeds of {steps} steps: {total:?}");
    let has_happened = [total.rows / 20, total.kills, total.pauses, total.twins * 4, total.late, total.assigns];
    assert!(one.is_some() || has_happened.iter().all(|times| *times >= count), "hardly anything happened: {total:?}");
}

/// What a fault that is expected looks like.
fn rows(fault: &Fault) -> bool {
    matches!(fault, Fault::Rows(_))
}

fn standstill(fault: &Fault) -> bool {
    matches!(fault, Fault::Standstill(_))
}

/// A rule is left out, and in one of the seeds what it prevents is seen.
fn noticed(mutant: Mutant, weather: &Weather, is_expected: fn(&Fault) -> bool) {
    let run = |seed| mutant::with(mutant, || World::new(seed).run(STEPS, weather)).err().map(|fault| (seed, fault));
    let found = (0..MUTANT_SEEDS).filter_map(run).find(|(_, fault)| is_expected(fault));
    let (seed, fault) = found.unwrap_or_else(|| panic!("{mutant:?} was not noticed in {MUTANT_SEEDS} seeds"));
    eprintln!("{mutant:?}, seed {seed}: {fault:?}");
}

#[test]
fn taking_without_fences_is_noticed() {
    noticed(Mutant::TakenUnfenced, &Weather::STORM, rows);
}

#[test]
fn fencing_only_who_committed_last_is_noticed() {
    noticed(Mutant::CommitterFencedOnly, &Weather::RUSH, rows);
}

#[test]
fn a_control_topic_that_is_not_read_after_the_init_is_noticed() {
    noticed(Mutant::ControlNotReadAgain, &Weather::RUSH, rows);
}

#[test]
fn a_producer_kept_after_an_error_is_noticed() {
    noticed(Mutant::ProducerKeptAfterError, &Weather::STORM, rows);
}

#[test]
fn a_producer_kept_after_a_repeated_request_is_noticed() {
    noticed(Mutant::ProducerKeptAfterRepetition, &Weather::STORM, rows);
}

#[test]
fn a_release_of_an_older_term_that_counts_is_noticed() {
    noticed(Mutant::OlderReleaseCounts, &Weather { repeated: 0, ..Weather::RUSH }, rows);
}

#[test]
fn a_release_by_a_new_producer_is_noticed() {
    noticed(Mutant::ReleaseByNewProducer, &Weather::RUSH, rows);
}

#[test]
fn a_confirm_before_the_fence_is_noticed() {
    noticed(Mutant::ConfirmedBeforeFence, &Weather::STORM, rows);
}

#[test]
fn processes_that_fence_each_other_for_ever_are_noticed() {
    noticed(Mutant::FencesForgotten, &Weather::STORM, standstill);
}

#[test]
fn a_predecessor_that_stays_is_noticed() {
    noticed(Mutant::PredecessorStays, &Weather::STORM, standstill);
}
