//! Snapshots of state: a start from one is a start from the changelog, and what does not fit is set aside and changes nothing.

use crate::harness::records::{Stored, read_topic};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{Log, RecordSet, TopicPartition};
use tidegate::types::clock::{ManualClock, SharedClock};

const STATEMENTS: &str = "
CREATE STREAM s (id STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE TABLE t WITH (KAFKA_TOPIC='t') AS
  SELECT id, COUNT(*) AS c, SUM(n) AS total, COLLECT_LIST(n) AS all_of_them FROM s GROUP BY id;
CREATE TABLE w WITH (KAFKA_TOPIC='w') AS
  SELECT id, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 SECOND, GRACE PERIOD 1 SECOND) GROUP BY id;";

/// Rows of one part of the input.
const ROWS: i64 = 150;
/// Changelogs of the two tables.
const STORES: usize = 2;

struct Process {
    log: Arc<EmbeddedLog>,
    engine: Engine,
}

impl Process {
    fn open(data: &Path) -> Process {
        Process::open_with(data, "1")
    }

    fn open_with(data: &Path, snapshot_bytes: &str) -> Process {
        let clock: SharedClock = ManualClock::at(0);
        let options = EmbeddedOptions { fsync: Fsync::Never, ..EmbeddedOptions::default() };
        let log = EmbeddedLog::open(data, options, clock.clone()).unwrap();
        let mut config = Config::new(LogConfig::Embedded(data.to_path_buf()));
        config.set("tidegate.state.snapshot.bytes", snapshot_bytes).unwrap();
        let engine = Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap();
        Process { log, engine }
    }

    fn run(&self, sql: &str) {
        self.engine.run(sql, &mut Session::default()).unwrap();
    }

    /// Writes a part of the input, and lets the queries read it.
    fn feed(&self, part: i64) {
        let mut set = RecordSet::default();
        for n in part * ROWS..(part + 1) * ROWS {
            let id = n * 7 % 23;
            let (key, value) = (format!("key {id}"), format!("{{\"N\":{n}}}"));
            set.push((id % 2) as i32, n * 40, Some(key.as_bytes()), Some(value.as_bytes()));
        }
        self.log.append("s", &set).unwrap();
        self.engine.drive().unwrap();
    }

    /// The last row of each key of the tables.
    fn tables(&self) -> Vec<BTreeMap<Vec<u8>, String>> {
        let last = |records: Vec<Stored>| {
            let row = |r: Stored| (r.key.unwrap(), format!("{:?} {}", r.value.map(String::from_utf8), r.timestamp));
            records.into_iter().map(row).collect()
        };
        ["t", "w"].map(|topic| last(read_topic(&*self.log, topic).unwrap())).to_vec()
    }

    fn changelogs(&self) -> Vec<TopicPartition> {
        let topics = self.log.topics().unwrap().into_iter().filter(|topic| topic.name.ends_with("-changelog"));
        topics.flat_map(|topic| [0, 1].map(|partition| TopicPartition::new(topic.name.as_str(), partition))).collect()
    }
}

fn begun(data: &Path, snapshot_bytes: &str) -> Process {
    let process = Process::open_with(data, snapshot_bytes);
    process.run(STATEMENTS);
    process.feed(0);
    process
}

/// What the tables hold after so many parts without any snapshot.
fn undisturbed(parts: i64) -> Vec<BTreeMap<Vec<u8>, String>> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = begun(&data, "0");
    (1..parts).for_each(|part| process.feed(part));
    assert!(!data.join("snapshots").exists());
    process.tables()
}

/// Files below the snapshots of a data directory that end so.
fn files(data: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(data.join("snapshots")).into_iter().flatten() {
        let files = fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path());
        found.extend(files.filter(|file| file.extension().is_some_and(|e| e == ending)));
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_start_reads_the_snapshot_and_the_changelog_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = begun(&data, "1");
    assert_eq!(files(&data, "snapshot").len(), 2 * STORES, "one per changelog and partition");
    assert_eq!(files(&data, "tmp"), [] as [PathBuf; 0]);
    // Without its changelog up to now the state is in the snapshots alone.
    for partition in process.changelogs() {
        process.log.delete_records(&partition, -1).unwrap();
    }
    drop(process);
    let process = Process::open(&data);
    process.feed(1);
    drop(process);
    let process = Process::open(&data);
    process.feed(2);
    assert_eq!(process.tables(), undisturbed(3));
    assert_eq!(files(&data, "unused"), [] as [PathBuf; 0]);
}

type Damage = (&'static str, fn(&Path));

/// What may become of a snapshot.
const DAMAGES: [Damage; 5] = [
    ("a changed byte", |file| {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(file, bytes).unwrap();
    }),
    ("half of it", |file| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("an empty file", |file| fs::write(file, b"").unwrap()),
    ("a later version", |file| {
        let mut bytes = fs::read(file).unwrap();
        bytes[7] = 200;
        fs::write(file, bytes).unwrap();
    }),
    ("the one of the other partition", |file| {
        let other = if file.ends_with("0.snapshot") { "1.snapshot" } else { "0.snapshot" };
        fs::copy(file.with_file_name(other), file).map(|_| ()).unwrap();
    }),
];

#[test]
fn a_damaged_or_foreign_snapshot_is_set_aside_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let intact = folder.path().join("intact");
    drop(begun(&intact, "1"));
    let want = undisturbed(2);
    for (nth, (what, damage)) in DAMAGES.into_iter().enumerate() {
        let data = folder.path().join(format!("{nth}"));
        copy(&intact, &data);
        let snapshots = files(&data, "snapshot");
        // The other partition's is still what it was.
        snapshots.iter().filter(|file| file.ends_with("0.snapshot")).for_each(|file| damage(file));
        let process = Process::open(&data);
        process.feed(1);
        assert_eq!(process.tables(), want, "{what}");
        assert_eq!(files(&data, "unused").len(), STORES, "{what}");
        assert_eq!(files(&data, "snapshot"), snapshots, "{what}: there are new ones");
    }
}

#[test]
fn a_snapshot_that_is_ahead_of_its_changelog_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (early, late) = (folder.path().join("early"), folder.path().join("late"));
    drop(begun(&early, "1"));
    copy(&early, &late);
    // So many that each store has a new one.
    let process = Process::open(&late);
    (1..5).for_each(|part| process.feed(part));
    drop(process);
    for file in files(&late, "snapshot") {
        fs::copy(&file, early.join(file.strip_prefix(&late).unwrap())).unwrap();
    }
    let process = Process::open(&early);
    process.feed(1);
    assert_eq!(process.tables(), undisturbed(2));
    assert_eq!(files(&early, "unused").len(), 2 * STORES);
}

#[test]
fn snapshots_end_with_their_query() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = begun(&data, "1");
    process.run("DROP TABLE t;");
    assert_eq!(files(&data, "snapshot").len(), 2);
    drop(process);
    // Another process of the service may have dropped a query; the folders of others stay.
    let folder_of = |topic: &str| data.join("snapshots").join(topic);
    let (gone, foreign) = (
        folder_of("_confluent-ksql-default_query_CTAS_X_9-A-changelog"),
        folder_of("_confluent-ksql-otherquery_Q-A-changelog"),
    );
    [&gone, &foreign].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    drop(Process::open(&data));
    assert!(!gone.exists() && foreign.exists());
    assert_eq!(files(&data, "snapshot").len(), 2);
}
