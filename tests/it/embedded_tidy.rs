//! What the embedded log drops: by age, by size, and all but the last record of each key.

use crate::batches::Dice;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::error::Kind;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{Assignment, Isolation, Log, OwnedRecord, Reader, RecordSet, Start, TopicPartition, TopicSpec};
use tidegate::types::clock::{ManualClock, SharedClock};

/// A day in milliseconds: how long tombstones are kept.
const DAY: i64 = 24 * 3_600_000;

fn open(directory: &Path, clock: &SharedClock) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { fsync: Fsync::Never, ..EmbeddedOptions::default() };
    EmbeddedLog::open(directory, options, clock.clone()).unwrap()
}

fn place(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

fn reader(log: &EmbeddedLog, topic: &str, start: Start) -> Box<dyn Reader> {
    log.reader(vec![Assignment { topic: topic.into(), partition: 0, start }], Isolation::ReadCommitted).unwrap()
}

fn read(log: &EmbeddedLog, topic: &str) -> Vec<OwnedRecord> {
    let mut reader = reader(log, topic, Start::Earliest);
    let high = log.watermarks(&place(topic)).unwrap().high;
    let mut records = Vec::new();
    while reader.position(0) < high {
        take(&mut *reader, 7, &mut records);
    }
    records
}

fn take(reader: &mut dyn Reader, most: usize, records: &mut Vec<OwnedRecord>) {
    for run in reader.poll(most, Duration::ZERO).unwrap().runs() {
        run.for_each(|r| {
            records.push(OwnedRecord {
                offset: r.offset,
                timestamp: r.timestamp,
                key: r.key.map(<[u8]>::to_vec),
                value: r.value.map(<[u8]>::to_vec),
                headers: r.headers.to_vec(),
            });
        });
    }
}

fn write(log: &EmbeddedLog, topic: &str, key: &str, value: Option<&str>, time: i64) {
    let mut set = RecordSet::default();
    set.push(0, time, Some(key.as_bytes()), value.map(str::as_bytes));
    log.append(topic, &set).unwrap();
}

fn files(directory: &Path) -> usize {
    let topics = std::fs::read_dir(directory.join("topics")).unwrap();
    let partitions = topics.flat_map(|t| std::fs::read_dir(t.unwrap().path()).unwrap());
    partitions.map(|p| std::fs::read_dir(p.unwrap().path()).unwrap().count()).sum()
}

#[test]
fn old_files_go_when_all_of_their_records_are_old() {
    let (directory, clock) = (TempDir::new().unwrap(), ManualClock::at(1_000_000));
    let shared: SharedClock = clock.clone();
    let log = open(directory.path(), &shared);
    log.create_topic(&TopicSpec::new("t", 1).with("retention.ms", 1000).with("segment.bytes", 1024)).unwrap();
    log.create_topic(&TopicSpec::new("kept", 1).with("segment.bytes", 1024)).unwrap();
    let value = "x".repeat(400);
    // Two records a file; the third file has a young one.
    for time in [998_000, 998_500, 999_500, 998_000, 998_000, 999_900, 998_100, 998_200] {
        for topic in ["t", "kept"] {
            write(&log, topic, "k", Some(&value), time);
        }
    }
    let mut slow = reader(&log, "t", Start::Earliest);
    let mut seen = Vec::new();
    take(&mut *slow, 1, &mut seen);
    log.maintain().unwrap();
    let times = |log: &EmbeddedLog| read(log, "t").iter().map(|r| r.timestamp).collect::<Vec<_>>();
    assert_eq!(times(&log), [999_500, 998_000, 998_000, 999_900, 998_100, 998_200], "age counts from the oldest file");
    assert_eq!(log.watermarks(&place("t")).unwrap().low, 2);
    assert_eq!(read(&log, "kept").len(), 8);
    // A reader continues with what is left.
    while slow.position(0) < 8 {
        take(&mut *slow, 3, &mut seen);
    }
    assert_eq!(seen.iter().map(|r| r.offset).collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6, 7]);
    assert_eq!(log.offset_for_time(&place("t"), 998_200).unwrap(), Some(2));

    clock.advance(Duration::from_secs(10));
    log.maintain().unwrap();
    assert_eq!(times(&log), [0i64; 0], "the file being written goes too");
    write(&log, "t", "k", Some("new"), 1_010_000);
    drop((slow, log));
    let log = open(directory.path(), &shared);
    let left = read(&log, "t");
    assert_eq!((left.len(), left[0].offset), (1, 8));
}

#[test]
fn the_oldest_files_go_when_there_is_too_much() {
    let (directory, clock): (_, SharedClock) = (TempDir::new().unwrap(), ManualClock::at(0));
    let log = open(directory.path(), &clock);
    log.create_topic(&TopicSpec::new("t", 1).with("retention.bytes", 3000).with("segment.bytes", 1024)).unwrap();
    let value = "x".repeat(900);
    for time in 0..10 {
        write(&log, "t", "k", Some(&value), time);
    }
    log.maintain().unwrap();
    let left = read(&log, "t");
    assert_eq!(left.iter().map(|r| r.offset).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(files(directory.path()), 4);
    let bytes = log.partition_bytes(&place("t")).unwrap().unwrap();
    assert!((3600..4400).contains(&bytes), "{bytes}");
    drop(log);
    assert_eq!(read(&open(directory.path(), &clock), "t"), left);
}

#[test]
fn memory_is_bounded_too() {
    let clock: SharedClock = ManualClock::at(10_000);
    let log = EmbeddedLog::in_memory(clock).unwrap();
    log.create_topic(&TopicSpec::new("t", 1).with("retention.ms", 1000)).unwrap();
    for time in [8_000, 8_500, 9_500] {
        write(&log, "t", "k", Some("v"), time);
    }
    log.maintain().unwrap();
    assert_eq!(read(&log, "t").iter().map(|r| r.offset).collect::<Vec<_>>(), [2]);
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let log = EmbeddedLog::in_memory(ManualClock::at(0)).unwrap();
    for (key, value) in [
        ("cleanup.policy", "shred"),
        ("retention.ms", "-2"),
        ("retention.bytes", "much"),
        ("segment.bytes", "0"),
        ("min.cleanable.dirty.ratio", "1.5"),
    ] {
        let error = log.create_topic(&TopicSpec::new("t", 1).with(key, value)).unwrap_err();
        assert_eq!(error.kind(), Kind::Statement);
        assert!(error.to_string().contains(key) && error.to_string().contains(value), "{error}");
    }
    log.create_topic(&TopicSpec::new("t", 1).with("cleanup.policy", "compact, delete").with("retention.ms", -1))
        .unwrap();
}

/// What must be left of `written` when everything before `closed` was cleaned, tombstones before `seen` for good.
fn expected(written: &[OwnedRecord], closed: i64) -> Vec<OwnedRecord> {
    let last: BTreeMap<_, _> = written.iter().filter(|r| r.offset < closed).map(|r| (&r.key, r.offset)).collect();
    let stays = |r: &&OwnedRecord| r.offset >= closed || r.key.is_none() || last[&r.key] == r.offset;
    written.iter().filter(stays).cloned().collect()
}

#[test]
fn of_each_key_the_last_record_stays() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let (directory, clock): (_, SharedClock) = (TempDir::new().unwrap(), ManualClock::at(0));
        let mut log = open(directory.path(), &clock);
        let spec = TopicSpec::new("t", 1).with("cleanup.policy", "compact").with("segment.bytes", 1024);
        log.create_topic(&spec.with("min.cleanable.dirty.ratio", 0.0)).unwrap();
        let (mut written, keys) = (Vec::new(), 1 + dice.below(20));
        let mut stale: Option<(Box<dyn Reader>, Vec<OwnedRecord>)> = None;
        for round in 0..6 {
            for _ in 0..dice.below(30) {
                let mut set = RecordSet::default();
                for _ in 0..1 + dice.below(4) {
                    let key = (!dice.one_in(15)).then(|| format!("key {}", dice.below(keys)));
                    let value =
                        (!dice.one_in(6)).then(|| format!("{} {}", written.len(), "x".repeat(dice.below(80) as usize)));
                    let (time, offset) = (dice.below(1000), written.len() as i64);
                    set.push(0, time, key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
                    let (key, value) = (key.map(String::into_bytes), value.map(String::into_bytes));
                    written.push(OwnedRecord { offset, timestamp: time, key, value, headers: Vec::new() });
                }
                log.append("t", &set).unwrap();
            }
            // A reader is in the middle of a file that is going to be replaced.
            if round == 2 {
                let mut reader = reader(&log, "t", Start::Earliest);
                let mut seen = Vec::new();
                take(&mut *reader, 1 + dice.below(20) as usize, &mut seen);
                stale = Some((reader, seen));
            }
            log.maintain().unwrap();
            let left = read(&log, "t");
            // The last file is still being written; where it begins only the log knows.
            let closed = (0..=written.len() as i64).rev().find(|at| expected(&written, *at) == left);
            assert!(closed.is_some(), "seed {seed}, round {round}: {} of {} records", left.len(), written.len());
            if dice.one_in(3) {
                stale = None;
                drop(log);
                log = open(directory.path(), &clock);
                assert_eq!(read(&log, "t"), left, "seed {seed}, round {round}: opened again");
            }
            for time in [0, 500, 900] {
                let want = left.iter().find(|r| r.timestamp >= time).map(|r| r.offset);
                assert_eq!(log.offset_for_time(&place("t"), time).unwrap(), want, "seed {seed}");
            }
        }
        if let Some((mut reader, mut seen)) = stale {
            while reader.position(0) < written.len() as i64 {
                take(&mut *reader, 5, &mut seen);
            }
            let state = |records: &[OwnedRecord]| -> BTreeMap<_, _> {
                records.iter().filter(|r| r.key.is_some()).map(|r| (r.key.clone(), r.value.clone())).collect()
            };
            assert!(seen.windows(2).all(|w| w[0].offset < w[1].offset), "seed {seed}");
            assert_eq!(state(&seen), state(&written), "seed {seed}: a reader that was on its way");
        }
    }
}

#[test]
fn tombstones_go_when_everybody_can_have_seen_them() {
    let (directory, clock) = (TempDir::new().unwrap(), ManualClock::at(0));
    let log = open(directory.path(), &(clock.clone() as SharedClock));
    let spec = TopicSpec::new("t", 1).with("cleanup.policy", "compact").with("segment.bytes", 1024);
    log.create_topic(&spec.with("min.cleanable.dirty.ratio", 0.0)).unwrap();
    let filler = "x".repeat(900);
    write(&log, "t", "gone", Some("v"), 0);
    write(&log, "t", "gone", None, 1);
    let keys = |log: &EmbeddedLog| -> Vec<_> {
        read(log, "t").into_iter().map(|r| String::from_utf8(r.key.unwrap()).unwrap()).collect()
    };
    for round in 0..3 {
        clock.advance(Duration::from_millis(DAY as u64));
        // Each fills a file, so that the one before is closed and there is something new to clean.
        write(&log, "t", "f", Some(&filler), round);
        write(&log, "t", "f", Some(&filler), round);
        log.maintain().unwrap();
        match round {
            0 => assert!(keys(&log).contains(&"gone".to_owned()), "a day has not passed for everybody"),
            _ => assert!(!keys(&log).contains(&"gone".to_owned()), "{:?}", keys(&log)),
        }
    }
}

/// A cleaning that a crash has interrupted left a file that the journal does not name: opening removes it.
#[test]
fn files_of_an_unfinished_cleaning_are_removed() {
    let (directory, clock): (_, SharedClock) = (TempDir::new().unwrap(), ManualClock::at(0));
    let log = open(directory.path(), &clock);
    log.create_topic(&TopicSpec::new("t", 1).with("cleanup.policy", "compact")).unwrap();
    write(&log, "t", "k", Some("v"), 0);
    let before = read(&log, "t");
    drop(log);
    let topic = std::fs::read_dir(directory.path().join("topics")).unwrap().next().unwrap().unwrap().path();
    let leftover = topic.join("0").join(format!("{:020}.1.log", 0));
    std::fs::write(&leftover, b"half a batch").unwrap();
    let log = open(directory.path(), &clock);
    assert!(!leftover.exists());
    assert_eq!(read(&log, "t"), before);
}
