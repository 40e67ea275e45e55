//! Snapshots of state: a start from one is a start from the changelog, and what does not fit is set aside and changes nothing.

use crate::harness::golden::difference;
use crate::harness::records::read_topic;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{Log, RecordSet, TopicPartition};
use tidegate::types::clock::{ManualClock, SharedClock, SystemClock};

const SOURCE: &str = "
CREATE STREAM s (id STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);";

/// A store of each kind: groups, windows, sessions, panes, rows that wait for others, rows of tables by key and by foreign key.
const QUERIES: [(&str, &str); 9] = [
    (
        "t",
        "CREATE TABLE t WITH (KAFKA_TOPIC='t') AS
           SELECT id, COUNT(*) AS c, SUM(n) AS total, COLLECT_LIST(n) AS all_of_them FROM s GROUP BY id;",
    ),
    (
        "w",
        "CREATE TABLE w WITH (KAFKA_TOPIC='w') AS
           SELECT id, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 SECOND, GRACE PERIOD 1 SECOND) GROUP BY id;",
    ),
    (
        "sessions",
        "CREATE TABLE sessions WITH (KAFKA_TOPIC='sessions') AS
           SELECT id, COUNT(*) AS c FROM s WINDOW SESSION (1 SECOND, GRACE PERIOD 1 SECOND) GROUP BY id;",
    ),
    (
        "finals",
        "CREATE TABLE finals WITH (KAFKA_TOPIC='finals') AS SELECT id, COUNT(*) AS c FROM s
           WINDOW HOPPING (SIZE 1 SECOND, ADVANCE BY 500 MILLISECONDS, GRACE PERIOD 1 SECOND) GROUP BY id EMIT FINAL;",
    ),
    (
        "pairs",
        "CREATE STREAM other (id STRING KEY, n INT) WITH (KAFKA_TOPIC='other', VALUE_FORMAT='JSON', PARTITIONS=2);
         CREATE STREAM pairs WITH (KAFKA_TOPIC='pairs') AS SELECT s.id AS id, s.n AS x, other.n AS y FROM s
           LEFT JOIN other WITHIN (0 SECONDS, 1 SECOND) GRACE PERIOD 1 SECOND ON s.id = other.id WHERE other.n IS NULL OR other.n > s.n;",
    ),
    ("u", "CREATE TABLE u WITH (KAFKA_TOPIC='u') AS SELECT id, MAX(n) AS m FROM s GROUP BY id;"),
    ("joined", "CREATE TABLE joined WITH (KAFKA_TOPIC='joined') AS SELECT t.id AS id, t.c, u.m FROM t JOIN u ON t.id = u.id;"),
    (
        "named",
        "CREATE TABLE k (c BIGINT PRIMARY KEY, v INT) WITH (KAFKA_TOPIC='k', VALUE_FORMAT='JSON', PARTITIONS=2);
         CREATE TABLE named WITH (KAFKA_TOPIC='named') AS SELECT t.id AS id, t.total, k.v FROM t LEFT JOIN k ON t.c = k.c;",
    ),
    ("odd", "CREATE TABLE odd WITH (KAFKA_TOPIC='odd') AS SELECT id, c FROM t WHERE c % 2 = 1;"),
];

/// Rows of one part of the input.
const ROWS: i64 = 150;
/// Turns of all queries until each has a snapshot of what it has read: one store is copied at a time.
const COPIES: usize = 2;

struct Process {
    log: Arc<EmbeddedLog>,
    clock: Arc<ManualClock>,
    engine: Engine,
}

impl Process {
    fn open(data: &Path) -> Process {
        Process::open_with(data, "1")
    }

    fn open_with(data: &Path, snapshot_bytes: &str) -> Process {
        let manual = ManualClock::at(0);
        let clock: SharedClock = manual.clone();
        let options = EmbeddedOptions { fsync: Fsync::Never, ..EmbeddedOptions::default() };
        let log = EmbeddedLog::open(data, options, clock.clone()).unwrap();
        let mut config = Config::new(LogConfig::Embedded(data.to_path_buf()));
        config.set("tidegate.state.snapshot.bytes", snapshot_bytes).unwrap();
        let engine = Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap();
        Process { log, clock: manual, engine }
    }

    fn run(&self, sql: &str) {
        self.engine.run(sql, &mut Session::default()).unwrap();
    }

    /// Writes a part of the input, and lets the queries read it.
    fn feed(&self, part: i64) {
        self.feed_with(part, "");
    }

    /// The same with longer keys.
    fn feed_with(&self, part: i64, stem: &str) {
        let mut set = RecordSet::default();
        for n in part * ROWS..(part + 1) * ROWS {
            let id = n * 7 % 23;
            let (key, value) = (format!("{stem}key {id}"), format!("{{\"N\":{n}}}"));
            set.push((id % 2) as i32, n * 40, Some(key.as_bytes()), Some(value.as_bytes()));
        }
        self.log.append("s", &set).unwrap();
        if self.log.topic("other").unwrap().is_some() {
            self.log.append("other", &set).unwrap();
        }
        (0..COPIES).for_each(|_| self.engine.drive().unwrap());
    }

    /// The last row of each key of a table, or all rows of the stream.
    fn rows(&self, topic: &str) -> Vec<String> {
        let mut rows = BTreeMap::new();
        for (nth, row) in read_topic(&*self.log, topic).unwrap().into_iter().enumerate() {
            let nth = if topic == "pairs" { nth } else { 0 };
            let text = format!("{:?} {:?} {}", row.key, row.value.map(String::from_utf8), row.timestamp);
            rows.insert((row.key, nth), text);
        }
        let mut rows: Vec<String> = rows.into_values().collect();
        rows.sort();
        rows
    }

    fn results(&self) -> Vec<(&'static str, Vec<String>)> {
        QUERIES.iter().map(|(topic, _)| (*topic, self.rows(topic))).collect()
    }

    /// Tasks with state: a foreign-key join has one, whatever the partitions of its changelog are.
    fn tasks(&self) -> usize {
        self.changelogs().len() - 1
    }

    fn changelogs(&self) -> Vec<TopicPartition> {
        let topics = self.log.topics().unwrap().into_iter().filter(|topic| topic.name.ends_with("-changelog"));
        let partitions = topics.flat_map(|topic| (0..topic.partitions as i32).map(move |p| (topic.name.clone(), p)));
        partitions.map(|(topic, partition)| TopicPartition::new(topic.as_str(), partition)).collect()
    }
}

/// The statement that makes a topic.
fn query(topic: &str) -> &'static str {
    QUERIES.iter().find(|query| query.0 == topic).unwrap().1
}

fn begun(data: &Path, snapshot_bytes: &str) -> Process {
    let process = Process::open_with(data, snapshot_bytes);
    process.run(SOURCE);
    QUERIES.iter().for_each(|(_, sql)| process.run(sql));
    process.feed(0);
    process
}

/// The results of so many parts without any snapshot.
fn undisturbed(parts: i64) -> Vec<(&'static str, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = begun(&data, "0");
    (1..parts).for_each(|part| process.feed(part));
    assert!(!data.join("snapshots").exists());
    let results = process.results();
    assert!(results.iter().all(|(_, rows)| rows.len() > 10), "{results:?}");
    results
}

fn assert_same(process: &Process, want: &[(&'static str, Vec<String>)], what: &str) {
    for ((topic, got), (_, want)) in process.results().iter().zip(want) {
        let lines = |rows: &[String]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
        assert!(got == want, "{topic} {what}\n{}", difference(&lines(want), &lines(got)));
    }
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

/// Without their changelogs up to now, states are in their snapshots alone.
fn forget_changelogs(process: &Process) {
    for partition in process.changelogs() {
        process.log.delete_records(&partition, -1).unwrap();
    }
}

#[test]
fn a_start_reads_the_snapshot_and_the_changelog_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = begun(&data, "1");
    assert_eq!(files(&data, "snapshot").len(), process.tasks(), "one per changelog and task");
    assert_eq!(files(&data, "tmp"), [] as [PathBuf; 0]);
    forget_changelogs(&process);
    drop(process);
    let process = Process::open(&data);
    process.feed(1);
    drop(process);
    let process = Process::open(&data);
    process.feed(2);
    assert_same(&process, &undisturbed(3), "");
    assert_eq!(files(&data, "unused"), [] as [PathBuf; 0]);
}

/// With threads, as a server runs: what has changed is copied when it ends, although not enough for a copy at any other time.
#[test]
fn a_clean_stop_leaves_snapshots_of_the_last_commit() {
    let results = |stops: bool| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let process = Process::open_with(&data, "0");
        process.run(SOURCE);
        ["t", "sessions"].into_iter().for_each(|topic| process.run(query(topic)));
        process.feed_with(0, &"long ".repeat(4_000));
        drop(process);
        if stops {
            run_and_stop(&data);
            assert_eq!(files(&data, "snapshot").len(), 4, "one per changelog and partition");
        }
        let process = Process::open(&data);
        if stops {
            forget_changelogs(&process);
        }
        process.feed_with(1, &"long ".repeat(4_000));
        assert_eq!(files(&data, "unused"), [] as [PathBuf; 0]);
        ["t", "sessions"].map(|topic| process.rows(topic))
    };
    assert_eq!(results(true), results(false));
}

/// Starts a process, lets its queries come to rest, and ends it.
fn run_and_stop(data: &Path) {
    let clock = SystemClock::shared();
    let options = EmbeddedOptions { fsync: Fsync::Never, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(data, options, clock.clone()).unwrap();
    let mut config = Config::new(LogConfig::Embedded(data.to_path_buf()));
    config.set("tidegate.state.snapshot.bytes", "1000000000").unwrap();
    let engine = Engine::over(log, config, clock.clone(), Drive::Threads).unwrap();
    let until = clock.monotonic() + Duration::from_secs(60);
    while !engine.queries().iter().all(|(_, query)| query.is_idle()) {
        assert!(clock.monotonic() < until, "the queries do not come to rest");
        clock.sleep(Duration::from_millis(5));
    }
    assert_eq!(files(data, "snapshot"), [] as [PathBuf; 0]);
    engine.close();
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
        // A store with one task has no other partition: that of another store, then.
        let others = files(file.parent().and_then(Path::parent).and_then(Path::parent).unwrap(), "snapshot");
        let other = others.iter().find(|other| other.parent() == file.parent() && *other != file);
        fs::copy(other.unwrap_or(others.iter().find(|other| *other != file).unwrap()), file).map(|_| ()).unwrap();
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
        let damaged: Vec<_> = snapshots.iter().filter(|file| file.ends_with("0.snapshot")).collect();
        damaged.iter().for_each(|file| damage(file));
        let process = Process::open(&data);
        process.feed(1);
        assert_same(&process, &want, what);
        let unused: Vec<_> = files(&data, "unused").iter().map(|file| file.with_extension("snapshot")).collect();
        assert_eq!(unused.iter().collect::<Vec<_>>(), damaged, "{what}");
        let left = files(&data, "snapshot").len();
        assert!(left > snapshots.len() - damaged.len(), "{what}: there are new ones");
    }
}

#[test]
fn a_snapshot_that_is_ahead_of_its_changelog_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (early, late) = (folder.path().join("early"), folder.path().join("late"));
    drop(begun(&early, "1"));
    copy(&early, &late);
    // So many that most stores have a new one.
    let process = Process::open(&late);
    (1..5).for_each(|part| process.feed(part));
    drop(process);
    let mut ahead = 0;
    for file in files(&late, "snapshot") {
        let target = early.join(file.strip_prefix(&late).unwrap());
        ahead += usize::from(fs::read(&file).unwrap() != fs::read(&target).unwrap());
        fs::copy(&file, target).unwrap();
    }
    assert!(ahead > 10, "only {ahead} snapshots were replaced");
    let process = Process::open(&early);
    process.feed(1);
    assert_same(&process, &undisturbed(2), "");
    assert_eq!(files(&early, "unused").len(), ahead);
}

#[test]
fn snapshots_end_with_their_query() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = begun(&data, "1");
    let before = files(&data, "snapshot").len();
    process.run("DROP TABLE joined; DROP TABLE u;");
    let left = files(&data, "snapshot").len();
    assert_eq!(left, before - 4, "two changelogs of two partitions each");
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
    assert_eq!(files(&data, "snapshot").len(), left);
}

/// Rows were deleted after the snapshot, and compaction has removed all traces of it: only the number of rows tells.
#[test]
pub(crate) fn a_snapshot_whose_changelog_has_forgotten_deletions_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::open_with(&data, "1");
    process.run(
        "CREATE TABLE a (id STRING PRIMARY KEY, n INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE b (id STRING PRIMARY KEY, n INT) WITH (KAFKA_TOPIC='b', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE ab WITH (KAFKA_TOPIC='ab') AS SELECT a.id AS id, a.n AS x, b.n AS y FROM a JOIN b ON a.id = b.id;",
    );
    let write = |process: &Process, topic: &str, keys: std::ops::Range<i64>, value: Option<&str>| {
        let mut set = RecordSet::default();
        keys.for_each(|n| set.push(0, n, Some(format!("key {n}").as_bytes()), value.map(str::as_bytes)));
        process.log.append(topic, &set).unwrap();
        (0..COPIES).for_each(|_| process.engine.drive().unwrap());
    };
    write(&process, "a", 0..50, Some("{\"N\":1}"));
    let kept = folder.path().join("kept");
    copy(&data.join("snapshots"), &kept);
    let changelog = process.changelogs().pop().unwrap();
    let change = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let eager = [
        change("segment.bytes", "1024"),
        change("min.cleanable.dirty.ratio", "0"),
        change("delete.retention.ms", "1000"),
    ];
    process.log.alter_topic(&changelog.topic, &eager.into()).unwrap();
    write(&process, "a", 0..25, None);
    for _ in 0..4 {
        // Something new closes the file in which the tombstones are.
        process.clock.advance(Duration::from_secs(60));
        write(&process, "a", 30..50, Some("{\"N\":2}"));
        write(&process, "a", 30..50, Some("{\"N\":3}"));
        process.log.maintain().unwrap();
    }
    let left = read_topic(&*process.log, &changelog.topic).unwrap();
    assert!(left.iter().all(|record| record.value.is_some()), "the changelog still has tombstones");
    drop(process);
    copy(&kept, &data.join("snapshots"));
    let process = Process::open(&data);
    write(&process, "b", 0..50, Some("{\"N\":4}"));
    let joined: BTreeSet<_> = read_topic(&*process.log, "ab").unwrap().into_iter().filter_map(|row| row.key).collect();
    assert_eq!(joined.len(), 25, "rows that were deleted before are joined: {joined:?}");
    assert_eq!(files(&data, "unused").len(), 1);
}
