//! The embedded log after a crash or a damaged disk: it recovers to a commit, whole, or refuses and names the file.
//!
//! Each case makes a log of some transactions over three partitions, damages a copy of it, opens that and compares what
//! is there with the state after each transaction.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::error::{Kind, Result};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{
    Assignment, CommitOutcome, CommittedOffset, Epoch, Isolation, Log, RecordSet, Sole, Start, TopicPartition,
    TopicSpec, WriterSpec,
};
use tidegate::types::clock::SystemClock;

/// How far from the end of a file it is damaged.
const TAIL_BYTES: u64 = 512;
const ROUNDS: usize = 6;
const PLACES: [(&str, i32); 3] = [("a", 0), ("a", 1), ("b", 0)];

/// All values of all partitions, the committed offset and the blob.
type State = (Vec<Vec<String>>, Option<CommittedOffset>, Option<String>);

struct Image {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// State after each number of transactions.
    states: Vec<State>,
    /// Journal length after each number of transactions.
    journal: Vec<u64>,
}

fn scratch() -> TempDir {
    // Memory, where there is some: thousands of openings sync thousands of times.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(directory: &Path, fsync: Fsync) -> Result<Arc<EmbeddedLog>> {
    EmbeddedLog::open(directory, EmbeddedOptions { fsync, ..EmbeddedOptions::default() }, SystemClock::shared())
}

fn transact(log: &EmbeddedLog, round: usize) {
    let mut records: Vec<(Arc<str>, Arc<RecordSet>)> = Vec::new();
    for (topic, partition) in PLACES {
        let mut set = RecordSet::default();
        for i in 0..2 {
            set.push(partition, round as i64, Some(b"key"), Some(format!("{topic}{partition} {round}.{i}").as_bytes()));
        }
        records.push((topic.into(), Arc::new(set)));
    }
    let committed = CommittedOffset { offset: round as i64, metadata: "m".into() };
    let epoch =
        Epoch { records, offsets: vec![(TopicPartition::new("b", 0), committed)], metadata: format!("blob {round}") };
    let spec = WriterSpec { group: "g".into(), slot: "0".into(), tasks: 2 };
    assert_eq!(
        log.transactional_writer(&spec, &Sole::claim()).unwrap().commit(&epoch).unwrap(),
        CommitOutcome::Committed
    );
}

fn read(log: &EmbeddedLog, topic: &str, partition: i32) -> Result<Vec<String>> {
    let place = TopicPartition::new(topic, partition);
    let high = log.watermarks(&place)?.high;
    let slot = Assignment { topic: topic.into(), partition, start: Start::Earliest };
    let mut reader = log.reader(vec![slot], Isolation::ReadCommitted)?;
    let mut values = Vec::new();
    while reader.position(0) < high {
        for run in reader.poll(100, Duration::ZERO)?.runs() {
            run.for_each(|r| values.push(String::from_utf8_lossy(r.value.unwrap_or_default()).into_owned()));
        }
    }
    Ok(values)
}

fn state(log: &EmbeddedLog) -> Result<State> {
    let values = PLACES.iter().map(|(topic, partition)| read(log, topic, *partition)).collect::<Result<_>>()?;
    let spec = WriterSpec { group: "g".into(), slot: "0".into(), tasks: 2 };
    let offset = log.committed("g", &[TopicPartition::new("b", 0)])?.remove(0);
    Ok((values, offset, log.transactional_writer(&spec, &Sole::claim())?.metadata()?))
}

fn files(directory: &Path, root: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, root, into);
        } else {
            into.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap());
        }
    }
}

fn image(fsync: Fsync) -> Image {
    let directory = scratch();
    let log = open(directory.path(), fsync).unwrap();
    log.create_topic(&TopicSpec::new("a", 2)).unwrap();
    log.create_topic(&TopicSpec::new("b", 1)).unwrap();
    let journal_len = || fs::metadata(directory.path().join("commits.log")).unwrap().len();
    let (mut states, mut journal) = (vec![state(&log).unwrap()], vec![journal_len()]);
    for round in 0..ROUNDS {
        transact(&log, round);
        states.push(state(&log).unwrap());
        journal.push(journal_len());
    }
    drop(log);
    let mut image = Image { files: BTreeMap::new(), states, journal };
    files(directory.path(), directory.path(), &mut image.files);
    image
}

impl Image {
    fn segments(&self) -> Vec<PathBuf> {
        let found: Vec<_> = self.files.keys().filter(|p| p.starts_with("topics")).cloned().collect();
        assert_eq!(found.len(), PLACES.len());
        found
    }

    /// A copy in which one file is different.
    fn with(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
        let directory = scratch();
        for (path, bytes) in &self.files {
            let path_there = directory.path().join(path);
            fs::create_dir_all(path_there.parent().unwrap()).unwrap();
            fs::write(path_there, bytes).unwrap();
        }
        let mut bytes = self.files.get(file).cloned().unwrap_or_default();
        change(&mut bytes);
        fs::write(directory.path().join(file), bytes).unwrap();
        directory
    }

    fn len(&self, file: &Path) -> u64 {
        self.files[file].len() as u64
    }

    /// Transactions whose entries are whole in a journal of this length.
    fn commits_within(&self, len: u64) -> usize {
        self.journal.iter().filter(|end| **end <= len).count().saturating_sub(1)
    }
}

/// The log is at exactly this commit, takes another one and keeps it.
fn assert_recovers(directory: &Path, image: &Image, commits: usize, case: &str) {
    let log = open(directory, Fsync::Commit).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(state(&log).unwrap(), image.states[commits], "{case}");
    transact(&log, commits);
    let after = state(&log).unwrap();
    drop(log);
    let log = open(directory, Fsync::Commit).unwrap_or_else(|e| panic!("{case}, opened again: {e}"));
    assert_eq!(state(&log).unwrap(), after, "{case}, opened again");
    assert_eq!(after.0[0].len(), 2 * (commits + 1), "{case}");
}

/// Opening or reading fails and says which file is bad.
fn assert_refuses(directory: &Path, file: &Path, case: &str) {
    let error = open(directory, Fsync::Commit).and_then(|log| state(&log)).expect_err(case);
    let name = directory.join(file).display().to_string();
    assert!(error.kind() == Kind::Io && error.to_string().contains(&name), "{case}: {error}");
}

#[test]
fn a_journal_cut_anywhere_recovers_to_the_last_whole_commit() {
    let image = image(Fsync::Commit);
    let file = Path::new("commits.log");
    for cut in 0..TAIL_BYTES {
        let len = image.len(file) - cut;
        let directory = image.with(file, |bytes| bytes.truncate(len as usize));
        if len < image.journal[0] {
            break;
        }
        assert_recovers(directory.path(), &image, image.commits_within(len), &format!("journal without {cut} bytes"));
    }
}

#[test]
fn a_bit_flipped_in_the_journal_costs_the_last_commit_or_is_refused() {
    let image = image(Fsync::Commit);
    let file = Path::new("commits.log");
    for back in 1..=TAIL_BYTES {
        let at = image.len(file) - back;
        let directory = image.with(file, |bytes| bytes[at as usize] ^= 1 << (at % 8));
        let case = format!("journal with a bit flipped at {at}");
        match at >= image.journal[ROUNDS - 1] {
            true => assert_recovers(directory.path(), &image, ROUNDS - 1, &case),
            false => assert_refuses(directory.path(), file, &case),
        }
    }
}

#[test]
fn a_journal_header_with_a_bit_flipped_is_refused() {
    let image = image(Fsync::Commit);
    let file = Path::new("commits.log");
    for at in 0..64 {
        let directory = image.with(file, |bytes| bytes[at] ^= 1 << (at % 8));
        assert_refuses(directory.path(), file, &format!("journal with a bit flipped at {at}"));
    }
}

/// Small commits were not synced into their segments: the journal carries them, and opening writes them again.
#[test]
fn segments_of_small_commits_are_repaired_from_the_journal() {
    let image = image(Fsync::Commit);
    for file in image.segments() {
        for cut in [1, 2, 60, 61, 100, image.len(&file)] {
            let directory = image.with(&file, |bytes| bytes.truncate(bytes.len() - cut as usize));
            assert_recovers(directory.path(), &image, ROUNDS, &format!("{} without {cut} bytes", file.display()));
        }
        for at in 0..image.len(&file).min(TAIL_BYTES) {
            let directory = image.with(&file, |bytes| bytes[at as usize] ^= 1 << (at % 8));
            assert_recovers(directory.path(), &image, ROUNDS, &format!("{} with a flip at {at}", file.display()));
        }
    }
}

#[test]
fn a_cut_segment_that_the_journal_cannot_repair_is_refused() {
    let image = image(Fsync::Never);
    for file in image.segments() {
        for cut in 1..=TAIL_BYTES.min(image.len(&file)) {
            let directory = image.with(&file, |bytes| bytes.truncate(bytes.len() - cut as usize));
            assert_refuses(directory.path(), &file, &format!("{} without {cut} bytes", file.display()));
        }
    }
}

#[test]
fn a_bit_flipped_in_a_segment_is_never_read_as_data() {
    let image = image(Fsync::Never);
    let mut refused = 0;
    for file in image.segments() {
        for back in 1..=TAIL_BYTES.min(image.len(&file)) {
            let at = image.len(&file) - back;
            let directory = image.with(&file, |bytes| bytes[at as usize] ^= 1 << (at % 8));
            // The leader's epoch is the one field that nothing depends on.
            match open(directory.path(), Fsync::Commit).and_then(|log| state(&log)) {
                Ok(same) => assert_eq!(same, image.states[ROUNDS], "{} with a flip at {at}", file.display()),
                Err(error) => {
                    assert!(error.to_string().contains(&directory.path().join(&file).display().to_string()), "{error}");
                    refused += 1;
                }
            }
        }
    }
    let tried: u64 = image.segments().iter().map(|f| TAIL_BYTES.min(image.len(f))).sum();
    assert!(refused * 10 > tried * 9, "{refused} of {tried} flips were noticed");
}

#[test]
fn what_a_crash_left_behind_the_last_commit_is_removed() {
    let image = image(Fsync::Never);
    for garbage in [1, 61, 4000] {
        for file in image.segments() {
            let directory = image.with(&file, |bytes| bytes.extend(vec![7; garbage]));
            assert_recovers(directory.path(), &image, ROUNDS, &format!("{garbage} bytes behind {}", file.display()));
        }
        let file = Path::new("commits.log");
        let directory = image.with(file, |bytes| bytes.extend(vec![0; garbage]));
        assert_recovers(directory.path(), &image, ROUNDS, &format!("{garbage} zeros behind the journal"));
    }
    let directory = image.with(Path::new("commits.log.new"), |bytes| bytes.extend(b"TIDEGATE half a snapshot"));
    assert_recovers(directory.path(), &image, ROUNDS, "an unfinished snapshot");
}

#[test]
fn files_of_topics_that_are_gone_are_removed() {
    let image = image(Fsync::Commit);
    let left = Path::new("topics").join(format!("old-{:032x}", 5));
    let directory = image.with(Path::new("note.txt"), |bytes| bytes.extend(b"the user's own"));
    fs::create_dir_all(directory.path().join(&left).join("0")).unwrap();
    fs::write(directory.path().join(&left).join("0/00000000000000000000.log"), b"x").unwrap();
    assert_recovers(directory.path(), &image, ROUNDS, "a deleted topic's files");
    assert!(!directory.path().join(&left).exists());
    assert!(directory.path().join("note.txt").exists());
}

#[test]
fn a_lost_journal_is_refused_and_nothing_is_removed() {
    let image = image(Fsync::Commit);
    let directory = image.with(Path::new("note.txt"), |_| {});
    fs::remove_file(directory.path().join("commits.log")).unwrap();
    let error = open(directory.path(), Fsync::Commit).unwrap_err();
    assert!(error.to_string().contains("commits.log"), "{error}");
    let mut left = BTreeMap::new();
    files(&directory.path().join("topics"), directory.path(), &mut left);
    assert_eq!(left.len(), PLACES.len());
}

#[test]
fn a_second_owner_is_refused_by_name() {
    let directory = scratch();
    let first = open(directory.path(), Fsync::Commit).unwrap();
    let error = open(directory.path(), Fsync::Commit).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    let expected = format!("another tidegate process uses {} (pid {})", directory.path().display(), std::process::id());
    assert_eq!(error.to_string(), expected);
    drop(first);
    open(directory.path(), Fsync::Commit).unwrap();
}

/// Starting a child copies every descriptor for a moment, the lock's too.
#[test]
fn a_child_that_is_being_started_does_not_keep_the_directory() {
    let directory = scratch();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let opened = (0..300).try_for_each(|_| open(directory.path(), Fsync::Commit).map(drop));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        opened.unwrap();
    });
}

/// Large commits take the other road: segments are synced and the journal carries only their ends.
#[test]
fn large_commits_survive_a_cut_journal_too() {
    let directory = scratch();
    let log = open(directory.path(), Fsync::Commit).unwrap();
    log.create_topic(&TopicSpec::new("large", 2)).unwrap();
    let value = vec![b'v'; 1000];
    let journal = directory.path().join("commits.log");
    let mut lens = Vec::new();
    for round in 0..3 {
        let mut set = RecordSet::default();
        (0..1000).for_each(|i| set.push(i % 2, round, Some(&i.to_be_bytes()), Some(&value)));
        log.append("large", &set).unwrap();
        lens.push(fs::metadata(&journal).unwrap().len());
    }
    drop(log);
    assert!(lens[2] - lens[1] < 200, "the journal carries the records: {lens:?}");
    let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len(lens[2] - 1).unwrap();
    let log = open(directory.path(), Fsync::Commit).unwrap();
    for partition in 0..2 {
        assert_eq!(read(&log, "large", partition).unwrap().len(), 1000);
    }
}
