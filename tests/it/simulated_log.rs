//! The simulated log: its faults happen, can be repeated, and a query that follows the rules survives them.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::time::Duration;
use tidegate::error::Kind;
use tidegate::log::simulated::{Faults, SimulatedLog};
use tidegate::log::{
    Assignment, CommitOutcome, CommittedOffset, Epoch, Isolation, Log, Reader, RecordSet, Sole, Start, TopicPartition,
    TopicSpec, WriterSpec,
};
use tidegate::types::clock::{Clock, ManualClock};

const PARTITIONS: i32 = 3;
const RECORDS: i64 = 300;

fn spec() -> WriterSpec {
    WriterSpec { group: "copy".into(), slot: "0".into(), tasks: PARTITIONS as u32 }
}

fn assignment(topic: &str, starts: &[i64]) -> Vec<Assignment> {
    let slot = |(p, start): (usize, &i64)| Assignment {
        topic: topic.into(),
        partition: p as i32,
        start: Start::Offset(*start),
    };
    starts.iter().enumerate().map(slot).collect()
}

fn values(log: &SimulatedLog, topic: &str, isolation: Isolation) -> Vec<Vec<i64>> {
    let mut reader = log.reader(assignment(topic, &[0; PARTITIONS as usize]), isolation).unwrap();
    let mut values = vec![Vec::new(); PARTITIONS as usize];
    let ends = |p: usize| log.watermarks(&TopicPartition::new(topic, p as i32)).unwrap().stable;
    while (0..PARTITIONS as usize).any(|p| reader.position(p) < ends(p)) {
        for run in reader.poll(50, Duration::from_millis(5)).unwrap().runs() {
            run.for_each(|r| values[run.slot].push(i64::from_be_bytes(r.value.unwrap().try_into().unwrap())));
        }
    }
    values
}

/// How often each end was seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ends {
    committed: usize,
    aborted: usize,
    fenced: usize,
}

/// Copies `in` to `out` as a query would: rewind after an abort, begin anew when fenced.
fn copy(log: &SimulatedLog, mut after_commit: impl FnMut(usize)) -> Ends {
    let places: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new("in", p)).collect();
    let goals: Vec<_> = places.iter().map(|p| log.watermarks(p).unwrap().stable).collect();
    let mut ends = Ends::default();
    loop {
        let mut session = log.transactional_writer(&spec(), &Sole::claim()).unwrap();
        let committed = session.committed(&places).unwrap();
        let starts: Vec<i64> = committed.iter().map(|c| c.as_ref().map_or(0, |c| c.offset)).collect();
        if starts == goals {
            return ends;
        }
        let mut reader = log.reader(assignment("in", &starts), Isolation::ReadCommitted).unwrap();
        loop {
            let epoch = epoch(&mut *reader, &places);
            match session.commit(&epoch) {
                Ok(CommitOutcome::Committed) => ends.committed += 1,
                Ok(CommitOutcome::Aborted { .. }) => {
                    ends.aborted += 1;
                    break;
                }
                Ok(CommitOutcome::Fenced { .. }) => {
                    ends.fenced += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            after_commit(ends.committed);
            if (0..places.len()).all(|p| reader.position(p) >= goals[p]) {
                break;
            }
        }
    }
}

fn epoch(reader: &mut dyn Reader, places: &[TopicPartition]) -> Epoch {
    let mut records = RecordSet::default();
    for run in reader.poll(20, Duration::from_millis(5)).unwrap().runs() {
        run.for_each(|r| records.push(run.slot as i32, r.timestamp, r.key, r.value));
    }
    let offset = |(slot, place): (usize, &TopicPartition)| {
        (place.clone(), CommittedOffset { offset: reader.position(slot), metadata: String::new() })
    };
    let offsets = places.iter().enumerate().map(offset).collect();
    Epoch { records: vec![("out".into(), records.into())], offsets, metadata: String::new() }
}

fn world(seed: u64) -> std::sync::Arc<SimulatedLog> {
    let log = SimulatedLog::new(seed, ManualClock::at(0));
    for topic in ["in", "out"] {
        log.create_topic(&TopicSpec::new(topic, PARTITIONS as u32)).unwrap();
    }
    for i in 0..RECORDS {
        let mut records = RecordSet::default();
        records.push((i * i % i64::from(PARTITIONS)) as i32, i, None, Some(&i.to_be_bytes()));
        log.append("in", &records).unwrap();
    }
    log
}

fn everything() -> Faults {
    let resolve_after = Duration::from_secs(3);
    Faults { abort: 150, unknown: 150, resolve_after, fence: 100, short_poll: 300, empty_poll: 200, shuffle: 500 }
}

#[test]
fn a_copy_under_all_faults_is_exact() {
    let mut total = Ends::default();
    for seed in 0..50 {
        let log = world(seed);
        log.faults(everything());
        let ends = copy(&log, |_| {});
        log.faults(Faults::default());
        let input = values(&log, "in", Isolation::ReadCommitted);
        assert_eq!(values(&log, "out", Isolation::ReadCommitted), input, "seed {seed}");
        assert_eq!(input.iter().map(Vec::len).sum::<usize>() as i64, RECORDS);
        total.committed += ends.committed;
        total.aborted += ends.aborted;
        total.fenced += ends.fenced;
    }
    assert!(total.committed > 100 && total.aborted > 100 && total.fenced > 50, "{total:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let log = world(seed);
        log.faults(everything());
        let ends = copy(&log, |_| {});
        log.faults(Faults::default());
        (ends, values(&log, "out", Isolation::ReadUncommitted))
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn aborted_records_stay_for_whoever_reads_uncommitted() {
    let log = world(1);
    let mut records = RecordSet::default();
    records.push(0, 1, None, Some(&7i64.to_be_bytes()));
    let epoch = Epoch { records: vec![("out".into(), records.into())], ..Epoch::default() };
    log.faults(Faults { abort: 1000, ..Faults::default() });
    let mut session = log.transactional_writer(&spec(), &Sole::claim()).unwrap();
    assert!(matches!(session.commit(&epoch).unwrap(), CommitOutcome::Aborted { .. }));
    log.faults(Faults::default());
    assert_eq!(session.commit(&epoch).unwrap(), CommitOutcome::Committed);
    assert_eq!(values(&log, "out", Isolation::ReadCommitted)[0], [7]);
    assert_eq!(values(&log, "out", Isolation::ReadUncommitted)[0], [7, 7]);
    // Record, marker, record, marker.
    assert_eq!(log.watermarks(&TopicPartition::new("out", 0)).unwrap().high, 4);
}

#[test]
fn a_lost_answer_takes_its_time_and_ends_both_ways() {
    let (mut committed, mut aborted) = (0, 0);
    for seed in 0..40 {
        let clock = ManualClock::at(0);
        let log = SimulatedLog::new(seed, clock.clone());
        log.faults(Faults { unknown: 1000, resolve_after: Duration::from_secs(3), ..Faults::default() });
        match log.transactional_writer(&spec(), &Sole::claim()).unwrap().commit(&Epoch::default()).unwrap() {
            CommitOutcome::Committed => committed += 1,
            CommitOutcome::Aborted { .. } => aborted += 1,
            CommitOutcome::Fenced { reason } => panic!("{reason}"),
        }
        assert_eq!(clock.now_ms(), 3000);
    }
    assert!(committed > 5 && aborted > 5, "{committed} {aborted}");
}

#[test]
fn after_a_crash_old_sessions_are_dead_and_the_copy_goes_on() {
    let log = world(9);
    let mut old = log.transactional_writer(&spec(), &Sole::claim()).unwrap();
    log.crash();
    assert!(matches!(old.commit(&Epoch::default()).unwrap(), CommitOutcome::Fenced { .. }));
    assert_eq!(old.committed(&[]).unwrap_err().kind(), Kind::Fenced);
    assert_eq!(old.metadata().unwrap_err().kind(), Kind::Fenced);
    let ends = copy(&log, |commits| {
        if commits.is_multiple_of(4) {
            log.crash();
        }
    });
    assert!(ends.fenced >= 2, "{ends:?}");
    assert_eq!(values(&log, "out", Isolation::ReadCommitted), values(&log, "in", Isolation::ReadCommitted));
}
