//! The index of the embedded log: opening and looking for a time do not read the log, and an index file that is missing,
//! damaged or belongs to another segment changes no result.

use crate::alone::{alone, bytes_read};
use crate::batches::Dice;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{Assignment, Isolation, Log, RecordSet, Start, TopicPartition, TopicSpec};
use tidegate::types::clock::SystemClock;

/// Small enough that there are several, large enough that they have an index file.
const SEGMENT_BYTES: u64 = 2 * 1024 * 1024;
/// Small batches: many headers, so that hopping over them reads nearly everything.
const RECORDS_A_BATCH: i64 = 8;
const BATCHES: i64 = 12_000;
const TRIALS: u64 = 25;

fn open(directory: &Path) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { fsync: Fsync::Never, segment_bytes: SEGMENT_BYTES, ..EmbeddedOptions::default() };
    EmbeddedLog::open(directory, options, SystemClock::shared()).unwrap()
}

/// Time of a record: they rise, but not one by one.
fn time(offset: i64) -> i64 {
    1_000_000 + offset * 10 + (offset * 7919 % 400)
}

fn make() -> TempDir {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let log = open(directory.path());
    log.create_topic(&TopicSpec::new("t", 1)).unwrap();
    for batch in 0..BATCHES {
        let mut set = RecordSet::default();
        for offset in batch * RECORDS_A_BATCH..(batch + 1) * RECORDS_A_BATCH {
            set.push(0, time(offset), None, Some(&[offset as u8; 100]));
        }
        log.append("t", &set).unwrap();
    }
    directory
}

fn first_at_or_after(timestamp: i64) -> Option<i64> {
    // Whoever is far enough before it is not looked at.
    let from = ((timestamp - 1_000_000) / 10 - 50).max(0);
    (from..BATCHES * RECORDS_A_BATCH).find(|offset| time(*offset) >= timestamp)
}

fn assert_answers(log: &EmbeddedLog, dice: &mut Dice, case: &str) {
    let place = TopicPartition::new("t", 0);
    let last = BATCHES * RECORDS_A_BATCH;
    let times = [0, time(last) + 1000, 1_000_000 + dice.below(last * 10), 1_000_000 + dice.below(last * 10)];
    for timestamp in times {
        let found = log.offset_for_time(&place, timestamp).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(found, first_at_or_after(timestamp), "{case}: offset for {timestamp}");
    }
    let offset = dice.below(last);
    let slot = Assignment { topic: "t".into(), partition: 0, start: Start::Offset(offset) };
    let mut reader = log.reader(vec![slot], Isolation::ReadCommitted).unwrap();
    let mut seen = vec![];
    for run in reader.poll(5, Duration::ZERO).unwrap_or_else(|e| panic!("{case}: {e}")).runs() {
        run.for_each(|r| seen.push((r.offset, r.timestamp)));
    }
    assert_eq!(seen[0], (offset, time(offset)), "{case}");
}

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let topic = fs::read_dir(directory.join("topics")).unwrap().next().unwrap().unwrap().path();
    let all = fs::read_dir(topic.join("0")).unwrap().map(|e| e.unwrap().path());
    let mut found: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|e| e == ending)).collect();
    found.sort();
    found
}

#[test]
fn a_time_is_found_without_reading_the_log() {
    alone(module_path!(), "a_time_is_found_without_reading_the_log", Duration::from_secs(180), || {
        let directory = make();
        let size: u64 = files(directory.path(), "log").iter().map(|p| fs::metadata(p).unwrap().len()).sum();
        assert!(size > 4 * SEGMENT_BYTES, "{size}");
        let before = bytes_read();
        let log = open(directory.path());
        assert_answers(&log, &mut Dice(1), "as it was closed");
        if let (Some(before), Some(after)) = (before, bytes_read()) {
            let read = after - before;
            eprintln!("# read {read} of {size} bytes");
            // A reader asks for a megabyte at a time, and the last file is too small for an index.
            assert!(read * 4 < size, "{read} of {size} bytes were read");
        }
    });
}

#[test]
fn a_wrong_index_changes_no_answer_and_is_made_again() {
    let directory = make();
    let indexes = files(directory.path(), "index");
    assert!(indexes.len() > 4 && indexes.len() + 1 >= files(directory.path(), "log").len());
    let whole: BTreeMap<&PathBuf, Vec<u8>> = indexes.iter().map(|p| (p, fs::read(p).unwrap())).collect();
    for seed in 0..TRIALS {
        let dice = &mut Dice(seed);
        let mut lied = vec![];
        for path in &indexes {
            let bytes = &whole[path];
            let at = dice.below(bytes.len() as i64) as usize;
            match dice.below(7) {
                0 => fs::remove_file(path).unwrap(),
                1 => fs::write(path, &bytes[..at]).unwrap(),
                2 => {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= 1 << dice.below(8);
                    fs::write(path, bytes).unwrap();
                }
                3 => fs::write(path, &whole[&indexes[dice.below(indexes.len() as i64) as usize]]).unwrap(),
                4 => fs::write(path, vec![dice.roll() as u8; at]).unwrap(),
                5 => {
                    // Found out when it is read.
                    lie(path, bytes, dice);
                    lied.push(path);
                }
                _ => {}
            }
        }
        let log = open(directory.path());
        assert_answers(&log, dice, &format!("seed {seed}"));
        drop(log);
        lied.iter().for_each(|path| fs::write(path, &whole[*path]).unwrap());
        for path in &indexes {
            let again = fs::read(path).unwrap_or_else(|e| panic!("seed {seed}: {}: {e}", path.display()));
            assert_eq!(&again, &whole[path], "seed {seed}: {}", path.display());
        }
    }
}

/// A mark between the first and the last says where a batch is not, and the checksum fits.
fn lie(path: &Path, bytes: &[u8], dice: &mut Dice) {
    let mut bytes = bytes.to_vec();
    let marks = (bytes.len() - 28) / 24;
    let mark = 28 + 24 * (1 + dice.below(marks as i64 - 2) as usize);
    bytes[mark + 8] ^= 1;
    let crc = crc32c::crc32c(&bytes[8..]).to_le_bytes();
    bytes[4..8].copy_from_slice(&crc);
    fs::write(path, bytes).unwrap();
}

/// What was written after the index was kept is found too, and files that go take their indexes with them.
#[test]
fn an_index_grows_and_goes_with_its_file() {
    let directory = make();
    let log = open(directory.path());
    let mut set = RecordSet::default();
    set.push(0, 1_000_000_000, None, Some(b"late"));
    log.append("t", &set).unwrap();
    drop(log);
    let log = open(directory.path());
    let place = TopicPartition::new("t", 0);
    let last = BATCHES * RECORDS_A_BATCH;
    assert_eq!(log.offset_for_time(&place, 900_000_000).unwrap(), Some(last));
    log.delete_records(&place, last - 10).unwrap();
    assert!(files(directory.path(), "index").iter().all(|index| index.with_extension("log").exists()));
    assert_eq!(log.offset_for_time(&place, 0).unwrap(), Some(last - 10));
    log.delete_topic("t").unwrap();
    assert_eq!(fs::read_dir(directory.path().join("topics")).unwrap().count(), 0);
}
