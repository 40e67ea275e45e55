//! The log between the processes fails: appends that are not confirmed, readers that find nothing, records that cannot be read.
//!
//! ```text
//! unconfirmed   written, and the response is lost       the statement has succeeded
//! lost          never written                           it has failed, and the next one has its number
//! late          written after the statement failed      it counts everywhere, without a restart
//! crash         written, and the process is gone        the others carry it out, and so does its next start
//! ```

use super::{SERVICE, all_same, by_hand, made, ok, open, open_as, refused, run, until};
use crate::log_below::log_below;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate::engine::command::CommandLog;
use tidegate::engine::command::repair::Wanted;
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::error::{Error, Kind, Result};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Assignment, Header, Isolation, Log, Reader, RecordSet, Start};
use tidegate::mutant::seed;
use tidegate::types::clock::{ManualClock, SystemClock};

/// What happens to the next append to the command log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Unconfirmed,
    Lost,
    Late,
    Crash,
}

/// One process's wire to the log.
#[derive(Debug)]
struct Wire {
    below: Arc<dyn Log>,
    commands: String,
    fault: Mutex<Option<Fault>>,
    /// Records that arrive before the next append.
    late: Mutex<Vec<RecordSet>>,
    is_cut: AtomicBool,
}

impl Wire {
    fn over(below: &Arc<dyn Log>) -> Arc<Wire> {
        Arc::new(Wire {
            below: below.clone(),
            commands: CommandLog::topic(SERVICE),
            fault: Mutex::default(),
            late: Mutex::default(),
            is_cut: AtomicBool::default(),
        })
    }

    fn fails_with(&self, fault: Fault) {
        *self.fault.lock() = Some(fault);
    }

    fn deliver(&self) {
        for late in self.late.lock().drain(..) {
            self.below.append(&self.commands, &late).unwrap();
        }
    }
}

impl Log for Wire {
    log_below!();

    fn is_shared(&self) -> bool {
        true
    }

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        match self.is_cut.load(Ordering::Relaxed) && *assignment[0].topic == *self.commands {
            true => Err(Error::io("the broker cannot be reached")),
            false => self.below.reader(assignment, isolation),
        }
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        let fault = if topic == self.commands { self.fault.lock().take() } else { None };
        self.deliver();
        match fault {
            None => return self.below.append(topic, records),
            Some(Fault::Lost) => {}
            Some(Fault::Unconfirmed) => self.below.append(topic, records)?,
            Some(Fault::Late) => self.late.lock().push(records.clone()),
            Some(Fault::Crash) => {
                self.below.append(topic, records)?;
                panic!("the process was killed");
            }
        }
        Err(Error::io("the broker did not respond in time"))
    }
}

/// Engine 0 behind a wire, engine 1 without one.
fn wired() -> (Arc<dyn Log>, Arc<Wire>, Vec<Engine>) {
    let log: Arc<dyn Log> = SimulatedLog::shared(3, ManualClock::at(1_000));
    let wire = Wire::over(&log);
    let first: Arc<dyn Log> = wire.clone();
    let engines =
        vec![open(&first, ManualClock::at(1_000), Drive::ByHand), open(&log, ManualClock::at(1_000), Drive::ByHand)];
    ok(&engines[0], "CREATE TYPE one AS INT;");
    (log, wire, engines)
}

fn types(engine: &Engine) -> Vec<String> {
    engine.catalog().types().keys().map(|name| name.to_lowercase()).collect()
}

#[test]
fn a_statement_that_was_recorded_without_a_response_has_succeeded() {
    let (log, wire, engines) = wired();
    wire.fails_with(Fault::Unconfirmed);
    ok(&engines[0], "CREATE TYPE two AS INT;");
    ok(&engines[1], "CREATE TYPE three AS INT;");
    all_same(&log, &engines);
    assert_eq!(types(&engines[0]), ["one", "three", "two"]);
}

#[test]
fn a_statement_that_was_never_recorded_has_failed() {
    let (log, wire, engines) = wired();
    wire.fails_with(Fault::Lost);
    assert_eq!(refused(&engines[0], "CREATE TYPE two AS INT;").message(), "the broker did not respond in time");
    ok(&engines[1], "CREATE TYPE three AS INT;");
    ok(&engines[0], "CREATE TYPE two AS INT;");
    all_same(&log, &engines);
    assert_eq!(types(&engines[0]), ["one", "three", "two"]);
}

#[test]
fn a_statement_that_is_repeated_counts_once_when_its_first_record_arrives_late() {
    let (log, wire, engines) = wired();
    wire.fails_with(Fault::Late);
    refused(&engines[0], "CREATE TYPE two AS INT;");
    ok(&engines[0], "CREATE TYPE two AS INT;");
    all_same(&log, &engines);
    ok(&engines[1], "DROP TYPE two;");
    all_same(&log, &engines);
    assert_eq!(types(&engines[0]), ["one"]);
}

/// A record that arrives after its statement has failed: if its place is free it counts as any other, and if not it is void. No
/// statement has to be repeated for that, and no process restarted.
#[test]
fn a_record_that_arrives_late_counts_where_its_place_is_free() {
    let (log, wire, engines) = wired();
    wire.fails_with(Fault::Late);
    refused(&engines[0], "CREATE TYPE two AS INT;");
    wire.deliver();
    ok(&engines[1], "CREATE TYPE three AS INT;");
    ok(&engines[0], "CREATE TYPE four AS INT;");
    all_same(&log, &engines);
    assert_eq!(types(&engines[0]), ["four", "one", "three", "two"]);

    wire.fails_with(Fault::Late);
    refused(&engines[0], "CREATE TYPE five AS INT;");
    ok(&engines[1], "CREATE TYPE six AS INT;");
    wire.deliver();
    all_same(&log, &engines);
    // It arrives with the next statement of its own process, just before that.
    wire.fails_with(Fault::Late);
    refused(&engines[0], "CREATE TYPE seven AS INT;");
    ok(&engines[0], "CREATE TYPE eight AS INT;");
    all_same(&log, &engines);
    assert_eq!(types(&engines[0]), ["eight", "four", "one", "seven", "six", "three", "two"]);
}

/// The process is gone between its append and the application: the record is there, and all others apply it.
#[test]
fn a_crash_between_append_and_apply_loses_nothing() {
    let (log, wire, mut engines) = wired();
    ok(&engines[0], "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    engines[1].read_commands().unwrap();
    wire.fails_with(Fault::Crash);
    refused(&engines[0], "CREATE TABLE counted AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;");
    assert!(engines[0].catalog().source("COUNTED").is_none());
    engines.remove(0);
    engines[0].read_commands().unwrap();
    assert!(engines[0].catalog().source("COUNTED").is_some());
    all_same(&log, &engines);
    ok(&engines[0], "DROP TABLE counted;");
    all_same(&log, &engines);
}

/// A command of a newer build ends statements that change the catalogue, and nothing else.
#[test]
fn a_command_of_a_newer_build_ends_ddl_with_a_clear_error() {
    let (log, engines) = by_hand(2);
    ok(&engines[0], "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    engines[1].read_commands().unwrap();
    let topic = CommandLog::topic(SERVICE);
    let mut set = RecordSet::default();
    let epoch = br#"{"format":9,"engine":"9.0.0","epoch":"x"}"#;
    set.headers.push((0, vec![Header { key: "tidegate-epoch".into(), value: Some(vec![1]) }]));
    set.push(0, 1_000, Some(b"k"), Some(epoch));
    log.append(&topic, &set).unwrap();
    for engine in &engines {
        let error = refused(engine, "CREATE TYPE one AS INT;");
        assert_eq!(error.message(), "the command log was written by a newer Tidegate (9.0.0)");
        assert_eq!(error.hint(), Some("start that version, or a newer one"));
        assert_eq!(engine.check_ready().unwrap_err().message(), error.message());
        assert_eq!(engine.wait_for_command(7).unwrap_err().message(), error.message());
        let attention = engine.overview(&Session::default()).attention;
        assert!(attention.iter().any(|item| item.text.contains("newer Tidegate")), "{attention:?}");
        ok(engine, "SHOW STREAMS; INSERT INTO s VALUES (1); SELECT * FROM s;");
    }
}

/// Records that are none of this service are skipped while it runs, and counted.
#[test]
fn foreign_records_are_skipped_while_the_service_runs() {
    let (log, engines) = by_hand(2);
    ok(&engines[0], "CREATE TYPE one AS INT;");
    let mut set = RecordSet::default();
    set.push(0, 1_000, Some(b"k"), Some(b"not json"));
    set.push(0, 1_000, None, None);
    log.append(&CommandLog::topic(SERVICE), &set).unwrap();
    ok(&engines[1], "CREATE TYPE two AS INT;");
    all_same(&log, &engines);
    assert_eq!(engines.iter().map(Engine::skipped_commands).collect::<Vec<_>>(), [2, 2]);
}

/// The topic is deleted under two processes.
#[test]
fn a_log_that_was_deleted_is_noticed() {
    let (log, engines) = by_hand(1);
    ok(&engines[0], "CREATE TYPE one AS INT;");
    let topic = CommandLog::topic(SERVICE);
    log.delete_topic(&topic).unwrap();
    let again = open(&log, ManualClock::at(1_000), Drive::ByHand);
    ok(&again, "CREATE TYPE other AS INT;");
    let error = refused(&engines[0], "CREATE TYPE two AS INT;");
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Busy, format!("the command log was deleted: topic {topic}").as_str())
    );
    assert_eq!(types(&again), ["other"]);
}

/// A log that cannot be read is said, tried again, and read on where it was.
#[test]
fn a_log_that_cannot_be_read_is_tried_again() {
    let log: Arc<dyn Log> = SimulatedLog::shared(4, SystemClock::shared());
    let other = open(&log, SystemClock::shared(), Drive::Threads);
    ok(&other, "CREATE TYPE one AS INT;");
    let wire = Wire::over(&log);
    let once: Arc<dyn Log> = Arc::new(OnceReadable { below: wire.clone(), was_read: AtomicBool::default() });
    let engine = open(&once, SystemClock::shared(), Drive::Threads);
    until("it is said", || {
        let attention = engine.overview(&Session::default()).attention;
        attention.iter().any(|item| item.text.contains("the command log cannot be read") && item.since_ms.is_some())
    });
    ok(&other, "CREATE TYPE two AS INT;");
    assert_eq!(types(&engine), ["one"]);
    wire.is_cut.store(false, Ordering::Relaxed);
    until("it is read", || types(&engine) == ["one", "two"]);
    until("all is well", || engine.overview(&Session::default()).attention.is_empty());
    ok(&engine, "CREATE TYPE three AS INT;");
    all_same(&log, &[engine.clone(), other.clone()]);
    engine.close();
    other.close();
}

/// The first reader of the command log can be opened; then the wire is cut.
#[derive(Debug)]
struct OnceReadable {
    below: Arc<Wire>,
    was_read: AtomicBool,
}

impl Log for OnceReadable {
    log_below!();

    fn is_shared(&self) -> bool {
        true
    }

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        let is_first = *assignment[0].topic == *self.below.commands && !self.was_read.swap(true, Ordering::Relaxed);
        let reader = self.below.reader(assignment, isolation);
        if is_first {
            self.below.is_cut.store(true, Ordering::Relaxed);
        }
        reader
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.below.append(topic, records)
    }
}

/// A panic in the thread that applies commands ends statements that change the catalogue: a restart replays the log.
#[test]
fn a_panic_of_the_tail_is_seen() {
    // A service of its own: its threads are found by that name, and other tests run beside this one.
    let service = "panicking_";
    let log: Arc<dyn Log> = SimulatedLog::shared(8, SystemClock::shared());
    let start = || open_as(service, &log, SystemClock::shared(), Drive::Threads);
    let engines = [start(), start()];
    ok(&engines[0], "CREATE TYPE one AS INT;");
    engines.iter().for_each(|engine| engine.read_commands().unwrap());
    // Both have the same label: each panics once.
    seed("commands", service, 2);
    until("both are halted", || engines.iter().all(|engine| engine.check_ready().is_err()));
    for engine in &engines {
        let error = refused(engine, "CREATE TYPE two AS INT;");
        assert_eq!(error.kind(), Kind::Bug);
        assert!(error.hint().is_some_and(|hint| hint.contains("restart tidegate")), "{error:?}");
        ok(engine, "SHOW TYPES;");
        engine.close();
    }
    let again = start();
    ok(&again, "CREATE TYPE two AS INT;");
    assert_eq!(types(&again), ["one", "two"]);
    again.close();
}

/// Two processes begin the log at the same time, each with a secret of its own: the log decides which one is used.
#[test]
fn two_processes_may_begin_the_log_at_the_same_time() {
    let (log, engines) = by_hand(2);
    // The beginning that another process has written.
    let other: Arc<dyn Log> = SimulatedLog::shared(9, ManualClock::at(1_000));
    drop(open(&other, ManualClock::at(1_000), Drive::ByHand));
    let topic = CommandLog::topic(SERVICE);
    let from = Assignment { topic: topic.as_str().into(), partition: 0, start: Start::Earliest };
    let mut reader = other.reader(vec![from], Isolation::ReadCommitted).unwrap();
    let mut set = RecordSet::default();
    for run in reader.poll(10, std::time::Duration::ZERO).unwrap().runs() {
        run.for_each(|record| {
            set.headers.push((set.rows.len() as u32, record.headers.to_vec()));
            set.push(0, record.timestamp, record.key, record.value);
        });
    }
    assert_eq!(set.len(), 1);
    log.append(&topic, &set).unwrap();
    ok(&engines[0], "CREATE TYPE one AS INT;");
    ok(&engines[1], "CREATE TYPE two AS INT;");
    all_same(&log, &engines);
    assert_eq!((types(&engines[0]), engines[0].skipped_commands()), (vec!["one".into(), "two".into()], 0));
}

/// The number of a command that was removed is not given again: a statement with it would not count at the next start.
#[test]
fn a_statement_after_a_removed_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let config = tidegate::config::Config::new(tidegate::config::LogConfig::Embedded(dir.path().to_owned()));
    let clock = SystemClock::shared();
    let open = || Engine::open(config.clone(), clock.clone()).unwrap();
    {
        let engine = open();
        ok(&engine, "CREATE TYPE one AS INT; CREATE TYPE two AS INT;");
        engine.close();
    }
    let last = {
        let report = Engine::repair(&config, &clock, &Wanted::default()).unwrap();
        report.history.commands.last().unwrap().offset
    };
    Engine::repair(&config, &clock, &Wanted { skipped: false, offsets: vec![last] }).unwrap();
    {
        let engine = open();
        assert_eq!(types(&engine), ["one"]);
        ok(&engine, "CREATE TYPE three AS INT;");
        assert_eq!(types(&engine), ["one", "three"]);
        engine.close();
    }
    let engine = open();
    assert_eq!(types(&engine), ["one", "three"]);
    assert!(!made(&engine).is_empty() && run(&engine, "SHOW TYPES;").is_ok());
    engine.close();
}
