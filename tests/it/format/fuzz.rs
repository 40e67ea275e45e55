//! Damaged payloads: no panic, no hang, no memory; and good, bad and every value as an independent reader has them
//! (`targets`).
//!
//! Each decoder runs for `TIDEGATE_FUZZ_SECONDS` (default 20) in a process of its own; `TIDEGATE_FUZZ_SEED` begins
//! elsewhere. What fails names its seed.

use super::Dice;
use super::targets::{self, Target};
use crate::alone::{Memory, alone};
use crate::fuzz::{duration, for_a_while};
use std::time::Duration;

/// Rows between two `finish`es.
const BATCH: usize = 64;
/// One payload of so many is made large.
const LARGE_EVERY: usize = 400;
/// What a large one has at most.
const LARGE_BYTES: usize = 256 * 1024;
/// Time beside the fuzzing: a start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn damage(target: &Target, dice: &mut Dice, payload: &mut Vec<u8>) {
    for _ in 0..1 + dice.roll(3) {
        let at = dice.roll(payload.len() + 1);
        let until = (at + dice.roll(3)).min(payload.len());
        match dice.roll(6) {
            0 => payload.truncate(at),
            1 => drop(payload.drain(at..until)),
            2 => drop(payload.splice(at..at, dice.pick(target.tokens).iter().copied())),
            3 => drop(payload.splice(at..until, dice.pick(target.tokens).iter().copied())),
            4 => {
                let other = &target.corpus()[dice.roll(target.corpus().len())];
                let from = dice.roll(other.len() + 1);
                let to = (from + dice.roll(12)).min(other.len());
                drop(payload.splice(at..until, other[from..to].iter().copied()));
            }
            _ if at < payload.len() => payload[at] = dice.roll(256) as u8,
            _ => {}
        }
    }
    if dice.roll(LARGE_EVERY) == 0 && !payload.is_empty() {
        let from = dice.roll(payload.len());
        let to = (from + 1 + dice.roll(8)).min(payload.len());
        let piece = payload[from..to].to_vec();
        let times = 1 + dice.roll(LARGE_BYTES / piece.len());
        drop(payload.splice(from..from, piece.repeat(times)));
    }
}

fn case(target: &mut Target, seed: u64) {
    let dice = &mut Dice(seed);
    let mut payload = target.corpus()[dice.roll(target.corpus().len())].clone();
    if dice.roll(5) > 0 {
        damage(target, dice, &mut payload);
    }
    target.look(payload, seed);
    if target.len() >= BATCH {
        target.compare();
    }
}

/// All targets in turn, in a process of its own.
fn stand(test: &str, targets: impl FnOnce() -> Vec<Target>) {
    alone(module_path!(), test, duration() + PATIENCE, || {
        let mut targets = targets();
        let memory = Memory::begin();
        let count = targets.len() as u64;
        for_a_while(|seed| case(&mut targets[(seed % count) as usize], seed));
        memory.check();
        let sum = |of: fn(&Target) -> usize| targets.iter().map(of).sum::<usize>();
        let (tried, good, apart) = (sum(|t| t.tried), sum(|t| t.good), sum(|t| t.apart));
        eprintln!("# {test}: {good} of {tried} payloads good, {apart} judged apart");
        if tried > 2_000 {
            assert!((tried / 20..tried * 19 / 20).contains(&good), "the damage is too mild or too strong");
            assert!(apart * 2 < tried, "the known differences hide too much");
        }
    });
}

#[test]
fn json() {
    stand("json", targets::json);
}

#[test]
fn delimited() {
    stand("delimited", targets::delimited);
}

#[test]
fn kafka() {
    stand("kafka", targets::kafka);
}

#[test]
fn protobuf() {
    stand("protobuf", targets::protobuf);
}

#[test]
fn avro() {
    stand("avro", super::avro_targets::avro);
}
