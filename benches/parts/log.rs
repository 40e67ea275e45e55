//! The embedded log in the page cache: records of 100 bytes, a commit per 5,000, beside writing and reading the same bytes
//! plainly; and what opening and looking for a time cost when a gigabyte is there.

use super::spent;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{Assignment, Isolation, Log, RecordSet, Start, TopicPartition, TopicSpec};
use tidegate::types::clock::SystemClock;

const RECORDS: usize = 2_000_000;
const COMMIT_RECORDS: usize = 5_000;
const RECORD_BYTES: usize = 100;
/// What a reader of a query asks for.
const POLL_RECORDS: usize = 2_048;
/// Repetitions; the best counts.
const ROUNDS: usize = 5;
/// Records of the large log, ten to a commit: batches as small as a slow producer makes them.
const LARGE_RECORDS: usize = 10_000_000;
const LARGE_COMMIT: usize = 10;

pub(crate) fn log() {
    let set = records(COMMIT_RECORDS);
    let (mut append, mut build, mut read) = (f64::MAX, f64::MAX, f64::MAX);
    let (mut plain_write, mut plain_read, mut synced) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let directory = scratch();
        let log = open(directory.path(), Fsync::Never);
        let per_record = |nanos: f64| nanos / RECORDS as f64;
        append = append.min(per_record(spent(|| (0..RECORDS / COMMIT_RECORDS).for_each(|_| put(&log, &set)))));
        read = read.min(per_record(spent(|| assert_eq!(read_all(&log), RECORDS))));
        build = build.min(per_record(spent(|| {
            (0..RECORDS / COMMIT_RECORDS).for_each(|_| put(&log, &records(COMMIT_RECORDS)));
        })));
        let (file, bytes) = (plain(directory.path()), vec![7u8; COMMIT_RECORDS * RECORD_BYTES]);
        let chunks = (RECORDS / COMMIT_RECORDS) as u64;
        plain_write = plain_write.min(per_record(spent(|| {
            let at = |n: u64| n * bytes.len() as u64;
            (0..chunks).for_each(|n| file.write_all_at(&bytes, at(n)).expect("the disk has room"));
        })));
        plain_read = plain_read.min(per_record(spent(|| {
            let mut buffer = vec![0; bytes.len()];
            for n in 0..chunks {
                file.read_exact_at(&mut buffer, n * bytes.len() as u64).expect("it was written");
                black_box(&buffer);
            }
        })));
        let on_disk = tempfile::tempdir().expect("a directory");
        let log = open(on_disk.path(), Fsync::Commit);
        synced = synced.min(per_record(spent(|| (0..RECORDS / COMMIT_RECORDS).for_each(|_| put(&log, &set)))));
    }
    line("append, a commit per 5,000", append, plain_write);
    line("append, records gathered first", build, plain_write);
    line("append, a sync per commit", synced, plain_write);
    line("read", read, plain_read);
    large();
}

/// A cost a record beside that of the plain bytes.
fn line(name: &str, cost: f64, floor: f64) {
    println!("{name:<32} {cost:7.1} ns/record {:6.2} M records/s   plain bytes {floor:5.1} ns", 1e3 / cost);
}

fn scratch() -> tempfile::TempDir {
    // Memory, where there is some: the page cache without a disk behind it.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn plain(directory: &Path) -> File {
    let options = File::options().read(true).write(true).create(true).truncate(true).open(directory.join("plain"));
    options.expect("a file")
}

fn open(directory: &Path, fsync: Fsync) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { fsync, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(directory, options, SystemClock::shared()).expect("the directory is ours");
    if log.topic("t").expect("the log is open").is_none() {
        log.create_topic(&TopicSpec::new("t", 1)).expect("the name is free");
    }
    log
}

fn put(log: &EmbeddedLog, set: &RecordSet) {
    log.append("t", set).expect("the disk has room");
}

fn records(count: usize) -> RecordSet {
    let (mut set, value) = (RecordSet::default(), [7u8; RECORD_BYTES]);
    (0..count).for_each(|n| set.push(0, 1_700_000_000_000 + n as i64, None, Some(&value)));
    set
}

fn read_all(log: &EmbeddedLog) -> usize {
    let high = log.watermarks(&TopicPartition::new("t", 0)).expect("the topic is there").high;
    let slot = Assignment { topic: "t".into(), partition: 0, start: Start::Earliest };
    let mut reader = log.reader(vec![slot], Isolation::ReadCommitted).expect("the topic is there");
    let (mut count, mut bytes) = (0, 0);
    while reader.position(0) < high {
        for run in reader.poll(POLL_RECORDS, Duration::ZERO).expect("the log is whole").runs() {
            run.for_each(|r| bytes += r.value.map_or(0, |v| v.len() + usize::from(v[0])));
            count += run.len();
        }
    }
    black_box(bytes);
    count
}

/// A gigabyte in small batches: what is read to open it and to find a time.
fn large() {
    let directory = scratch();
    let log = open(directory.path(), Fsync::Never);
    let mut at = 0;
    let value = [7u8; RECORD_BYTES];
    let wrote = spent(|| {
        while at < LARGE_RECORDS {
            let mut set = RecordSet::default();
            (at..at + LARGE_COMMIT).for_each(|n| set.push(0, n as i64, None, Some(&value)));
            put(&log, &set);
            at += LARGE_COMMIT;
        }
    });
    drop(log);
    let place = TopicPartition::new("t", 0);
    let ms = |name: &str, work: &mut dyn FnMut()| println!("{name:<46} {:9.2} ms", spent(work) / 1e6);
    println!("{:<46} {:9.2} ms", "1 GB, a commit per 10 records: write", wrote / 1e6);
    let mut log = None;
    ms("1 GB: open", &mut || log = Some(open(directory.path(), Fsync::Never)));
    let find = |log: &Option<Arc<EmbeddedLog>>, time: usize| {
        let log = log.as_ref().expect("it is open");
        assert_eq!(log.offset_for_time(&place, time as i64).expect("the log is whole"), Some(time as i64));
    };
    ms("1 GB: find a time, first", &mut || find(&log, LARGE_RECORDS - 77));
    ms("1 GB: find a time, again", &mut || find(&log, LARGE_RECORDS / 2));
    drop(log.take());
    remove_indexes(directory.path());
    ms("1 GB without index files: open", &mut || log = Some(open(directory.path(), Fsync::Never)));
    ms("1 GB without index files: find a time, first", &mut || find(&log, LARGE_RECORDS - 77));
}

fn remove_indexes(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.is_dir() {
            remove_indexes(&path);
        } else if path.extension().is_some_and(|e| e == "index") {
            std::fs::remove_file(path).expect("it is ours");
        }
    }
}
