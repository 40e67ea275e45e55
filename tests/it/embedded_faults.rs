//! Faults of the data directory under an engine with a copy and a count: whatever happens to the files, the results are exact
//! or there is a refusal that names the file, and never another row.
//!
//! A directory is made once, closed with rows that the queries have not read; each trial damages a copy of it, opens it and
//! lets the queries finish. What the journal alone can stand is in `embedded_crash`, a full disk in `disk_full`.

use crate::batches::Dice;
use crate::harness::records::read_topic;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{Log, RecordSet, partition};
use tidegate::types::clock::{ManualClock, SharedClock};

/// Trials in an ordinary run.
const TRIALS: u64 = 60;
/// Rows of the source; the last third was never read before the damage.
const ROWS: u64 = 90;
const PARTITIONS: u32 = 2;

const STATEMENTS: &str = "
CREATE STREAM events (id BIGINT KEY, team STRING, n INT) WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE STREAM copied WITH (KAFKA_TOPIC='copied') AS SELECT * FROM events;
CREATE TABLE counted WITH (KAFKA_TOPIC='counted') AS
  SELECT team, COUNT(*) AS total, SUM(n) AS weight FROM events GROUP BY team;";

/// How often each id is in the copy, and the last count and sum of each team.
type Seen = (BTreeMap<u64, usize>, BTreeMap<String, (i64, i64)>);

fn open_log(directory: &Path, fsync: Fsync, clock: &SharedClock) -> tidegate::error::Result<Arc<EmbeddedLog>> {
    EmbeddedLog::open(directory, EmbeddedOptions { fsync, ..EmbeddedOptions::default() }, clock.clone())
}

fn open_engine(log: Arc<dyn Log>, directory: &Path, clock: &SharedClock) -> tidegate::error::Result<Engine> {
    Engine::over(log, Config::new(LogConfig::Embedded(directory.into())), clock.clone(), Drive::ByHand)
}

fn append(log: &dyn Log, ids: std::ops::Range<u64>) -> tidegate::error::Result<()> {
    let mut set = RecordSet::default();
    for id in ids {
        let (key, value) = (id.to_be_bytes(), format!(r#"{{"TEAM":"t{}","N":{id}}}"#, id % 4));
        set.push(partition::java(&key, PARTITIONS), id as i64 * 100, Some(&key), Some(value.as_bytes()));
    }
    log.append("events", &set)
}

fn expected(rows: u64) -> Seen {
    let mut counted = BTreeMap::<String, (i64, i64)>::new();
    for id in 0..rows {
        let team = counted.entry(format!("t{}", id % 4)).or_default();
        *team = (team.0 + 1, team.1 + id as i64);
    }
    ((0..rows).map(|id| (id, 1)).collect(), counted)
}

fn seen(log: &dyn Log) -> tidegate::error::Result<Seen> {
    let (mut ids, mut counted) = (BTreeMap::new(), BTreeMap::new());
    if log.topic("counted")?.is_none() || log.topic("copied")?.is_none() {
        return Ok((ids, counted));
    }
    for record in read_topic(log, "copied")? {
        *ids.entry(u64::from_be_bytes(record.key.unwrap().try_into().unwrap())).or_default() += 1;
    }
    for record in read_topic(log, "counted")? {
        let value: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        let team = String::from_utf8(record.key.unwrap()).unwrap();
        counted.insert(team, (value["TOTAL"].as_i64().unwrap(), value["WEIGHT"].as_i64().unwrap()));
    }
    Ok((ids, counted))
}

/// Lets the queries finish; a query that ended with an error is an error.
fn finish(engine: &Engine) -> Result<(), String> {
    engine.drive().map_err(|e| format!("{e:?}"))?;
    for (id, query) in engine.queries() {
        let state = format!("{:?}", query.state());
        if !state.contains("Running") {
            return Err(format!("{id}: {state}"));
        }
    }
    Ok(())
}

/// Opens the directory and lets the queries finish.
fn outcome(directory: &Path, clock: &SharedClock) -> Result<Seen, String> {
    let told = |e: tidegate::error::Error| format!("{e:?}");
    let log = open_log(directory, Fsync::Commit, clock).map_err(told)?;
    let engine = open_engine(log.clone(), directory, clock).map_err(told)?;
    finish(&engine)?;
    engine.close();
    seen(&*log).map_err(told)
}

fn make(fsync: Fsync, clock: &SharedClock) -> TempDir {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let log = open_log(directory.path(), fsync, clock).unwrap();
    let engine = open_engine(log.clone(), directory.path(), clock).unwrap();
    engine.run(STATEMENTS, &mut Session::default()).unwrap();
    for at in (0..ROWS).step_by(10) {
        append(&*log, at..at + 10).unwrap();
        if at < ROWS / 3 * 2 {
            finish(&engine).unwrap();
        }
    }
    engine.close();
    directory
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for file in files(from) {
        let there = to.path().join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        fs::copy(&file, there).unwrap();
    }
    to
}

/// Damages one file, and says how.
fn damage(directory: &Path, dice: &mut Dice) -> String {
    let files = files(directory);
    let file = &files[dice.below(files.len() as i64) as usize];
    let bytes = fs::read(file).unwrap();
    let at = dice.below(bytes.len().max(1) as i64) as usize;
    let name = file.strip_prefix(directory).unwrap().display();
    match dice.below(5) {
        0 | 1 if !bytes.is_empty() => {
            let mut bytes = bytes;
            bytes[at] ^= 1 << dice.below(8);
            fs::write(file, bytes).unwrap();
            format!("{name} with a bit flipped at {at}")
        }
        2 => {
            fs::write(file, &bytes[..at]).unwrap();
            format!("{name} cut at {at}")
        }
        3 => {
            fs::remove_file(file).unwrap();
            format!("{name} removed")
        }
        _ => {
            let journal = directory.join("commits.log");
            let mut bytes = fs::read(&journal).unwrap();
            bytes[8] += 1;
            let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
            bytes[28..32].copy_from_slice(&crc);
            fs::write(&journal, bytes).unwrap();
            "a journal of another version".to_owned()
        }
    }
}

fn assert_names(told: &str, directory: &Path, case: &str) {
    assert!(told.contains(&directory.display().to_string()), "{case}: no file is named in {told}");
    assert!(!told.contains("Bug"), "{case}: {told}");
}

#[test]
fn a_damaged_directory_is_exact_or_refused() {
    let clock: SharedClock = ManualClock::at(1_000_000);
    let images = [make(Fsync::Commit, &clock), make(Fsync::Never, &clock)];
    let (mut exact, mut refused) = (0, 0);
    for seed in 0..TRIALS {
        let dice = &mut Dice(seed);
        let directory = copy(images[(seed % 2) as usize].path());
        let case = format!("seed {seed}: {}", damage(directory.path(), dice));
        match outcome(directory.path(), &clock) {
            Ok(seen) => {
                // A journal that is cut is one of a process that died then, and of a flip its last commit may be the
                // victim: what there was at some commit, whole.
                let of_the_journal = case.contains("commits.log");
                let fits = |rows: &u64| (*rows == ROWS || of_the_journal) && seen == expected(*rows);
                assert!((0..ROWS + 1).step_by(10).any(|rows| fits(&rows)), "{case}: {seen:?}");
                exact += 1;
            }
            Err(told) => {
                assert_names(&told, directory.path(), &case);
                refused += 1;
            }
        }
    }
    assert!(exact >= 5 && refused >= 5, "{exact} exact, {refused} refused: the faults are too mild or too strong");
}

#[test]
fn files_that_are_removed_under_a_running_engine_are_noticed() {
    let clock: SharedClock = ManualClock::at(1_000_000);
    let image = make(Fsync::Commit, &clock);
    for seed in 0..12 {
        let dice = &mut Dice(seed);
        let directory = copy(image.path());
        let log = open_log(directory.path(), Fsync::Commit, &clock).unwrap();
        let engine = open_engine(log.clone(), directory.path(), &clock).unwrap();
        finish(&engine).unwrap();
        // All of it, or one file that is written.
        let victims: Vec<PathBuf> = match dice.below(3) {
            0 => files(directory.path()),
            1 => vec![directory.path().join("commits.log")],
            _ => files(directory.path()).into_iter().filter(|f| f.to_string_lossy().contains("/events-")).collect(),
        };
        victims.iter().for_each(|file| fs::remove_file(file).unwrap());
        let case = format!("seed {seed}: without {victims:?}");
        let error = append(&*log, ROWS..ROWS + 10).expect_err(&case);
        let told = format!("{error:?}");
        assert!(victims.iter().any(|file| told.contains(&file.display().to_string())), "{case}: {told}");
        // What was there is still read as it was: the files live as long as they are open.
        assert_eq!(seen(&*log).unwrap(), expected(ROWS), "{case}");
        engine.close();
        drop((engine, log));
        if victims.len() < 4 {
            assert_names(&outcome(directory.path(), &clock).expect_err(&case), directory.path(), &case);
        }
    }
}

#[test]
fn a_directory_that_is_in_use_is_refused_and_goes_on() {
    let clock: SharedClock = ManualClock::at(1_000_000);
    let directory = make(Fsync::Commit, &clock);
    let log = open_log(directory.path(), Fsync::Commit, &clock).unwrap();
    let engine = open_engine(log.clone(), directory.path(), &clock).unwrap();
    let told = outcome(directory.path(), &clock).expect_err("two owners");
    assert_names(&told, directory.path(), "two owners");
    finish(&engine).unwrap();
    assert_eq!(seen(&*log).unwrap(), expected(ROWS));
}
