//! The directory of the embedded log stays near what it retains, whatever the rate, and a kill while files are closed, deleted or
//! compacted loses nothing.

use crate::batches::Dice;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::config::environment;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{
    Assignment, CommitOutcome, CommittedOffset, Epoch, Isolation, Log, RecordSet, Sole, Start, TopicPartition,
    TopicSpec, WriterSpec,
};
use tidegate::types::clock::{ManualClock, SharedClock, SystemClock};

const KIB: u64 = 1024;
/// Distance of two commits.
const STEP: Duration = Duration::from_millis(100);

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(directory: &Path, clock: SharedClock) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { fsync: Fsync::Never, ..EmbeddedOptions::default() };
    EmbeddedLog::open(directory, options, clock).unwrap()
}

fn place(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

/// Bytes of all files, and their number.
fn size(directory: &Path) -> (u64, usize) {
    let (mut folders, mut bytes, mut files) = (vec![directory.to_path_buf()], 0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            // A file may be removed meanwhile.
            let Ok(meta) = entry.metadata() else { continue };
            match meta.is_dir() {
                true => folders.push(entry.path()),
                false => (bytes, files) = (bytes + meta.len(), files + 1),
            }
        }
    }
    (bytes, files)
}

/// Files below a directory that this process has open.
fn open_files(directory: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.unwrap().path()).ok())
        .filter(|to| to.starts_with(directory))
        .count()
}

/// Last value of each key; a key with a tombstone has none.
fn table(log: &dyn Log, topic: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    each(log, topic, |_, key, value| match value {
        Some(value) => drop(rows.insert(key.to_vec(), value.to_vec())),
        None => drop(rows.remove(key)),
    });
    rows
}

fn each(log: &dyn Log, topic: &str, mut each: impl FnMut(i64, &[u8], Option<&[u8]>)) {
    let slot = Assignment { topic: topic.into(), partition: 0, start: Start::Earliest };
    let mut reader = log.reader(vec![slot], Isolation::ReadCommitted).unwrap();
    let high = log.watermarks(&place(topic)).unwrap().high;
    while reader.position(0) < high {
        for run in reader.poll(10_000, Duration::ZERO).unwrap().runs() {
            run.for_each(|r| each(r.offset, r.key.unwrap_or_default(), r.value));
        }
    }
}

#[test]
fn a_directory_holds_little_more_than_its_retention() {
    let (directory, clock) = (scratch(), ManualClock::at(1_000_000_000));
    // A short journal: files stay open until they are synced with it.
    let options = EmbeddedOptions { journal_bytes: 1024 * KIB, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(directory.path(), options, clock.clone()).unwrap();
    log.create_topic(&TopicSpec::new("minute", 1).with("retention.ms", 60_000)).unwrap();
    log.create_topic(&TopicSpec::new("bytes", 1).with("retention.bytes", 2048 * KIB)).unwrap();
    // 160 KiB a second in each.
    let (rows, value) = (16, vec![b'v'; 1000]);
    let mut worst = (0, 0, 0);
    for step in 0..2_400u64 {
        clock.advance(STEP);
        let now = 1_000_000_000 + 100 * (step as i64 + 1);
        let mut set = RecordSet::default();
        (0..rows).for_each(|_| set.push(0, now, None, Some(&value)));
        log.append("minute", &set).unwrap();
        log.append("bytes", &set).unwrap();
        // A round every four seconds is what the policy asks for at least.
        if step % 40 == 0 {
            let ((bytes, files), open) = (size(directory.path()), open_files(directory.path()));
            worst = (worst.0.max(bytes), worst.1.max(files), worst.2.max(open));
            log.maintain().unwrap();
        }
    }
    let minute = 600 * rows * 1020;
    let journal = std::fs::metadata(directory.path().join("commits.log")).unwrap().len();
    let most = (minute + 2048 * KIB) * 13 / 10 + journal;
    assert!(worst.0 <= most, "{worst:?}: more than {most} bytes");
    assert!(log.partition_bytes(&place("minute")).unwrap().unwrap() >= minute - 200 * KIB, "too much is gone");
    let (mut first, mut records) = (None, 0);
    each(&*log, "minute", |offset, _, _| (first, records) = (first.or(Some(offset)), records + 1));
    assert!(records >= 599 * rows, "{records} records of the last minute");
    assert_eq!(first, Some(2_400 * rows as i64 - records as i64));
    // Eight files and a few in each topic, indexes of the large ones, journal and lock.
    assert!(worst.1 <= 40, "{worst:?}: too many files");
    assert!(worst.2 <= 16, "{worst:?}: too many open files");
    let upkeep = log.upkeep().unwrap();
    assert!(upkeep.removed_bytes > 2 * minute && upkeep.copied_bytes == 0, "{upkeep:?}");
}

#[test]
fn a_compacted_topic_holds_less_than_three_times_its_rows() {
    let (directory, clock) = (scratch(), ManualClock::at(1_000_000_000));
    let log = open(directory.path(), clock.clone());
    log.create_topic(&TopicSpec::new("t", 1).with("cleanup.policy", "compact")).unwrap();
    let (keys, mut worst, mut dice) = (6_000u32, 0, Dice(1));
    let mut expected = BTreeMap::new();
    for step in 0..1_200u32 {
        clock.advance(STEP);
        let mut set = RecordSet::default();
        for n in 0..40 {
            let key = dice.below(i64::from(keys)) as u32;
            let value = format!("{step} {n} {}", "x".repeat(900)).into_bytes();
            // Timestamps that are older than any retention delete nothing here.
            set.push(0, 5, Some(&key.to_be_bytes()), Some(&value));
            expected.insert(key.to_be_bytes().to_vec(), value);
        }
        log.append("t", &set).unwrap();
        if step % 10 == 0 {
            worst = worst.max(log.partition_bytes(&place("t")).unwrap().unwrap());
            log.maintain().unwrap();
        }
    }
    let live = expected.values().map(|v| v.len() as u64 + 30).sum::<u64>();
    // Old and new files exist side by side while one is copied.
    assert!(worst + live <= 3 * live + 600 * KIB, "{worst} bytes for {live}");
    assert!(log.upkeep().unwrap().copied_bytes > 2 * live, "{:?}", log.upkeep());
    assert_eq!(table(&*log, "t"), expected);
    assert!(open_files(directory.path()) <= 8, "{}", open_files(directory.path()));
    drop(log);
    assert_eq!(table(&*open(directory.path(), clock), "t"), expected);
}

/// A tombstone is retained from its first compaction on, however old its timestamp is: a reader may have stopped before it.
#[test]
fn tombstones_of_old_events_are_retained_too() {
    let (directory, clock) = (scratch(), ManualClock::at(1_000_000_000));
    let log = open(directory.path(), clock.clone());
    let spec = TopicSpec::new("t", 1).with("cleanup.policy", "compact").with("segment.bytes", 1024);
    log.create_topic(&spec.with("min.cleanable.dirty.ratio", 0).with("delete.retention.ms", 10_000)).unwrap();
    let write = |key: &str, value: Option<&[u8]>| {
        let mut set = RecordSet::default();
        set.push(0, 5, Some(key.as_bytes()), value);
        log.append("t", &set).unwrap();
    };
    let is_there = || {
        let mut found = false;
        each(&*log, "t", |_, key, value| found |= key == b"gone" && value.is_none());
        found
    };
    write("gone", Some(b"v"));
    write("gone", None);
    for second in 0..12 {
        write("f", Some(&[b'x'; 900]));
        write("f", Some(&[b'x'; 900]));
        log.maintain().unwrap();
        assert_eq!(is_there(), second < 10, "after {second} s");
        clock.advance(Duration::from_secs(1));
    }
}

/// Names the directory in which the child works.
const CHILD: &str = "TIDEGATE_BOUNDS_CHILD";
const KILLS: u64 = 12;
/// Commits of a process within which files are compacted, by far.
const COMMITS_MAX: i64 = 50_000;
/// Keys of the compacted topic.
const KEYS: u64 = 40;

fn busy_log(directory: &Path) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(directory, EmbeddedOptions::default(), SystemClock::shared()).unwrap();
    if log.topics().unwrap().is_empty() {
        let table = TopicSpec::new("table", 1).with("cleanup.policy", "compact").with("segment.bytes", 20 * KIB);
        log.create_topic(&table.with("min.cleanable.dirty.ratio", 0.2)).unwrap();
        let stream = TopicSpec::new("stream", 1).with("retention.bytes", 60 * KIB).with("segment.bytes", 10 * KIB);
        log.create_topic(&stream).unwrap();
    }
    log
}

fn progress(log: &dyn Log) -> i64 {
    log.committed("g", &[place("stream")]).unwrap()[0].as_ref().map_or(0, |c| c.offset)
}

/// Transactions over both topics until the process is killed, while another thread deletes and compacts without a pause.
fn work_until_killed(directory: &Path) {
    let log = busy_log(directory);
    let upkeep = log.clone();
    std::thread::spawn(move || while upkeep.maintain().is_ok() {});
    let mut writer = log
        .transactional_writer(&WriterSpec { group: "g".into(), slot: "0".into(), tasks: 1 }, &Sole::claim())
        .unwrap();
    let mut out = std::io::stderr();
    for n in progress(&*log).. {
        let (mut table, mut stream) = (RecordSet::default(), RecordSet::default());
        let value = format!("{n} {}", "x".repeat(500));
        table.push(0, n, Some(&(n as u64 % KEYS).to_be_bytes()), Some(value.as_bytes()));
        stream.push(0, n, None, Some(value.as_bytes()));
        let epoch = Epoch {
            records: vec![("table".into(), Arc::new(table)), ("stream".into(), Arc::new(stream))],
            offsets: vec![(place("stream"), CommittedOffset { offset: n + 1, metadata: String::new() })],
            metadata: String::new(),
        };
        assert_eq!(writer.commit(&epoch).unwrap(), CommitOutcome::Committed);
        writeln!(out, "committed {}", n + 1).unwrap();
    }
}

#[test]
fn a_kill_while_files_are_closed_and_compacted_loses_nothing() {
    const TEST: &str = "embedded_bounds::a_kill_while_files_are_closed_and_compacted_loses_nothing";
    if let Some(directory) = environment(CHILD) {
        return work_until_killed(Path::new(&directory));
    }
    let (directory, mut dice) = (scratch(), Dice(7));
    let mut generations = 0;
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([TEST, "--exact", "--nocapture"])
            .env(CHILD, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let wanted = 40 + dice.below(160);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut acknowledged = 0;
        for taken in 0..COMMITS_MAX {
            // The first one lives until files were compacted, however slow the disk is.
            if taken >= wanted && (generations > 0 || compacted_files(directory.path()) > 0) {
                break;
            }
            let line = lines.next().expect("the child lives until it is killed").unwrap();
            acknowledged = line.strip_prefix("committed ").unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        generations += compacted_files(directory.path());
        check(&busy_log(directory.path()), acknowledged, round);
    }
    assert!(generations > 0, "nothing was compacted");
}

#[test]
fn a_log_that_is_closed_during_a_compaction_opens_again_at_once() {
    let directory = scratch();
    for from in [0, 1_000_000] {
        let log = busy_log(directory.path());
        let mut before = None;
        for n in from.. {
            let mut table = RecordSet::default();
            (0..50_i64).for_each(|i| table.push(0, n, Some(&(n * 50 + i).to_be_bytes()), Some(&[7; 400])));
            log.append("table", &table).unwrap();
            // The first file of a compaction is there: the round is under way.
            let compacted = compacted_files(directory.path());
            if compacted > *before.get_or_insert(compacted) {
                break;
            }
        }
        drop(log);
        EmbeddedLog::open(directory.path(), EmbeddedOptions::default(), SystemClock::shared()).unwrap();
    }
}

/// Number of files whose name has a generation.
fn compacted_files(directory: &Path) -> usize {
    let topics = std::fs::read_dir(directory.join("topics")).unwrap().map(|t| t.unwrap().path().join("0"));
    let files = topics.flat_map(|t| std::fs::read_dir(t).unwrap());
    let is_compacted = |name: &str| name.ends_with(".log") && name.matches('.').count() == 2;
    files.filter(|f| is_compacted(&f.as_ref().unwrap().file_name().to_string_lossy())).count()
}

/// Everything that was acknowledged is there, and of a transaction all or nothing.
fn check(log: &EmbeddedLog, acknowledged: i64, round: u64) {
    let done = progress(log);
    assert!(done >= acknowledged, "round {round}: {done} of {acknowledged}");
    for topic in ["table", "stream"] {
        assert_eq!(log.watermarks(&place(topic)).unwrap().high, done, "round {round}: {topic}");
    }
    let number = |value: &[u8]| -> i64 { String::from_utf8_lossy(value).split(' ').next().unwrap().parse().unwrap() };
    let rows = table(log, "table");
    let expected =
        (0..KEYS as i64).filter(|key| *key < done).map(|key| done - 1 - (done - 1 - key).rem_euclid(KEYS as i64));
    let expected: Vec<i64> = expected.collect();
    assert_eq!(rows.values().map(|v| number(v)).collect::<Vec<_>>(), expected, "round {round}");
    let low = log.watermarks(&place("stream")).unwrap().low;
    let mut next = low;
    each(log, "stream", |offset, _, value| {
        assert_eq!((offset, number(value.unwrap())), (next, next), "round {round}");
        next += 1;
    });
    assert_eq!(next, done, "round {round}");
    assert!(done - low >= 100.min(done), "round {round}: only {low}..{done} is left");
}
