//! A panic in one thread: what it ends says so, everything else continues, and what can begin again does.
//!
//! The panics are seeded by kind and label (`src/mutant.rs`). `http/panics.rs` does the same to a server.

use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::persistent::{Query, State};
use tidegate::engine::query::processing_log::AUTO_CREATE;
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::{Error, Kind};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicPartition, TopicSpec};
use tidegate::mutant::{seed, seeds_left};
use tidegate::threads;
use tidegate::types::clock::SystemClock;

const PATIENCE: Duration = Duration::from_secs(30);
const KEYS: usize = 7;

/// An engine whose threads are named after `service`.
fn engine(log: &Arc<dyn Log>, service: &str) -> Engine {
    let mut config = Config::new(LogConfig::Temporary);
    service.clone_into(&mut config.service_id);
    config.properties.insert(AUTO_CREATE.to_owned(), "true".to_owned());
    Engine::over(log.clone(), config, SystemClock::shared(), Drive::Threads).unwrap()
}

fn run(engine: &Engine, sql: &str) {
    engine.run(sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

fn refused(engine: &Engine, sql: &str) -> Error {
    engine.run(sql, &mut Session::default()).unwrap_err()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    while !done() {
        assert!(clock.monotonic() < end, "in vain: {what}");
        clock.sleep(Duration::from_millis(10));
    }
}

/// The query that writes `sink`, and its id.
fn query(engine: &Engine, sink: &str) -> (String, Arc<Query>) {
    engine.queries().into_iter().find(|(id, _)| id.contains(&format!("_{sink}_"))).expect("it was created")
}

/// Rows of a result set; an error ends them.
fn rows(engine: &Engine, sql: &str) -> Result<Vec<String>, Error> {
    let Some(Answer::Rows(mut rows)) = engine.run(sql, &mut Session::default())?.pop() else {
        panic!("{sql} has no rows")
    };
    let mut all = vec![];
    loop {
        match rows.next(PATIENCE)? {
            RowEvent::Rows { columns, .. } => {
                let line = |row| columns.iter().map(move |c| tidegate::types::cell::display(c, row).unwrap());
                all.extend((0..columns[0].len()).map(|row| line(row).collect::<Vec<_>>().join("|")));
            }
            RowEvent::Idle => {}
            RowEvent::Done(_) => return Ok(all),
        }
    }
}

fn append(log: &Arc<dyn Log>, topic: &str, numbers: std::ops::Range<usize>) {
    let mut set = RecordSet::default();
    for n in numbers {
        let key = format!("k{}", n % KEYS);
        set.push(0, n as i64, Some(key.as_bytes()), Some(format!("{{\"N\":{n}}}").as_bytes()));
    }
    log.append(topic, &set).unwrap();
}

/// Two queries panic with rows that no commit holds, a third does not notice; resumed, both are exact.
fn a_query_fails_alone_and_is_resumed(log: Arc<dyn Log>, service: &str) {
    let engine = engine(&log, service);
    run(
        &engine,
        "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM copied AS SELECT * FROM s;
         CREATE TABLE counted AS SELECT k, COUNT(*) AS c, SUM(n) AS total FROM s GROUP BY k;
         CREATE STREAM other AS SELECT * FROM s;",
    );
    append(&log, "s", 0..500);
    until("the first half", || engine.queries().iter().all(|(_, q)| q.counts().consumed == 500));
    let failing = [query(&engine, "COPIED"), query(&engine, "COUNTED")];
    for (_, query) in &failing {
        seed("query", query.group(), 1);
    }
    append(&log, "s", 500..1_000);
    for (id, query) in &failing {
        until("it fails", || matches!(query.state(), State::Error(_)));
        let State::Error(reason) = query.state() else { unreachable!() };
        assert!(reason.contains("a thread of tidegate panicked: a seeded panic in query"), "{reason}");
        assert!(reason.contains("mutant.rs:") && reason.contains(&format!("RESUME {id}")), "{reason}");
    }
    until("the other one", || query(&engine, "OTHER").1.counts().consumed == 1_000);
    assert_eq!(query(&engine, "OTHER").1.state(), State::Running);
    // Each by its id, and what has not failed is not harmed by being resumed.
    run(&engine, &format!("RESUME {};", failing[0].0));
    assert_eq!(failing[0].1.state(), State::Running);
    run(&engine, "RESUME ALL;");
    append(&log, "s", 1_000..1_100);
    until("all are read", || {
        let behind = |sql: &str| rows(&engine, sql).unwrap()[0] != "1100";
        !behind("SELECT COUNT(*) FROM copied;") && !behind("SELECT SUM(c) FROM counted;")
    });
    let copied = rows(&engine, "SELECT n FROM copied ORDER BY n;").unwrap();
    assert_eq!(copied, (0..1_100).map(|n| n.to_string()).collect::<Vec<_>>());
    let counted = rows(&engine, "SELECT k, c, total FROM counted ORDER BY k;").unwrap();
    let expected = (0..KEYS).map(|key| {
        let own: Vec<usize> = (0..1_100).filter(|n| n % KEYS == key).collect();
        format!("k{key}|{}|{}", own.len(), own.iter().sum::<usize>())
    });
    assert_eq!(counted, expected.collect::<Vec<_>>());
    engine.close();
}

#[test]
fn on_the_embedded_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default(), SystemClock::shared()).unwrap();
    a_query_fails_alone_and_is_resumed(log, "panic_embedded_");
}

#[test]
fn on_the_simulated_log() {
    a_query_fails_alone_and_is_resumed(SimulatedLog::new(7, SystemClock::shared()), "panic_simulated_");
}

#[test]
fn a_query_that_cannot_run_says_why_when_it_is_resumed() {
    let log: Arc<dyn Log> = SimulatedLog::new(8, SystemClock::shared());
    let engine = engine(&log, "panic_resume_");
    run(
        &engine,
        "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM copied AS SELECT * FROM s;
         INSERT INTO s VALUES ('a', 1);",
    );
    let (id, query) = query(&engine, "COPIED");
    until("it commits", || query.counts().commits > 0 && query.is_idle());
    seed("query", query.group(), 1);
    until("it fails", || matches!(query.state(), State::Error(_)));
    log.delete_topic("s").unwrap();
    log.create_topic(&TopicSpec::new("s", 1)).unwrap();
    let error = refused(&engine, &format!("RESUME {id};"));
    let text = format!("query {id} cannot be resumed: topic s was deleted and created again while this query read it");
    assert!(error.message().starts_with(&text), "{error}");
    assert!(error.to_string().contains("DROP STREAM COPIED DELETE TOPIC"), "{error}");
    assert!(matches!(query.state(), State::Error(_)));
    let error = refused(&engine, "RESUME ALL;");
    assert!(error.message().starts_with(&text), "{error}");
    engine.close();
}

#[test]
fn a_pause_holds_over_a_failure() {
    let log: Arc<dyn Log> = SimulatedLog::new(9, SystemClock::shared());
    let engine = engine(&log, "panic_paused_");
    run(
        &engine,
        "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM copied AS SELECT * FROM s;",
    );
    let (id, query) = query(&engine, "COPIED");
    seed("query", query.group(), 1);
    until("it fails", || matches!(query.state(), State::Error(_)));
    run(&engine, &format!("PAUSE {id};"));
    assert!(matches!(query.state(), State::Error(_)), "a failure is not hidden by a pause");
    run(&engine, &format!("RESUME {id}; INSERT INTO s VALUES (1);"));
    until("it goes on", || query.counts().produced == 1);
    engine.close();
}

#[test]
fn a_look_at_topics_that_panics_is_seen_and_repeated() {
    let log: Arc<dyn Log> = SimulatedLog::new(10, SystemClock::shared());
    let engine = engine(&log, "panic_topics_");
    run(
        &engine,
        "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM copied AS SELECT * FROM s;",
    );
    seed("topics", "panic_topics_", 1);
    let (_, query) = query(&engine, "COPIED");
    until("it waits", || matches!(query.state(), State::Waiting(why) if why.contains("a seeded panic in topics")));
    until("it goes on", || query.state() == State::Running);
    engine.close();
}

#[test]
fn the_processing_log_is_written_after_a_panic() {
    let log: Arc<dyn Log> = SimulatedLog::new(11, SystemClock::shared());
    let engine = engine(&log, "panic_log_");
    run(
        &engine,
        "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM copied AS SELECT * FROM s;",
    );
    let mut bad = RecordSet::default();
    bad.push(0, 1, None, Some(b"bad"));
    let written = || {
        let end = log.watermarks(&TopicPartition::new("panic_log_ksql_processing_log", 0));
        end.map_or(0, |marks| marks.high)
    };
    log.append("s", &bad).unwrap();
    until("the first entry", || written() == 1);
    seed("processing-log", "panic_log_", 1);
    log.append("s", &bad).unwrap();
    until("the panic", || seeds_left("processing-log", "panic_log_") == 0);
    until("the next entry", || written() >= 2);
    engine.close();
}

#[test]
fn a_statement_that_panics_is_an_error_for_its_caller() {
    let log: Arc<dyn Log> = SimulatedLog::new(14, SystemClock::shared());
    let engine = engine(&log, "panic_statement_");
    let create =
        |name: &str| format!("CREATE STREAM {name} (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1);");
    seed("statement", "panic_statement_", 1);
    let error = refused(&engine, &create("a"));
    assert_eq!((error.kind(), error.message().contains("a seeded panic in statement")), (Kind::Bug, true), "{error}");
    // Nothing had changed yet.
    run(&engine, &create("a"));
    engine.check_ready().unwrap();
    seed("recorded", "panic_statement_", 1);
    refused(&engine, &create("b"));
    let error = refused(&engine, &create("c"));
    assert!(error.message().contains("panicked after it was recorded"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("restart")), "{error:?}");
    assert_eq!(engine.check_ready().unwrap_err().to_string(), error.to_string());
    // What only reads continues, and so do rows.
    run(&engine, "SHOW STREAMS; INSERT INTO a VALUES (1);");
    assert_eq!(rows(&engine, "SELECT n FROM a;").unwrap(), ["1"]);
    engine.close();
    drop(engine);
    let engine = self::engine(&log, "panic_statement_");
    assert!(engine.catalog().source("B").is_some(), "a restart carries it out");
    run(&engine, &create("c"));
    engine.close();
}

#[test]
fn the_audit_log_has_a_gap_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let mut config = Config::new(LogConfig::Temporary);
    "panic_audit_".clone_into(&mut config.service_id);
    config.set("tidegate.audit.file", path.to_str().unwrap()).unwrap();
    let log: Arc<dyn Log> = SimulatedLog::new(13, SystemClock::shared());
    let engine = Engine::over(log, config, SystemClock::shared(), Drive::Threads).unwrap();
    let written = |text: &str| std::fs::read_to_string(&path).unwrap().contains(text);
    seed("audit-log", "panic_audit_", 1);
    run(&engine, "SHOW TABLES;");
    until("the panic", || seeds_left("audit-log", "panic_audit_") == 0);
    run(&engine, "SHOW STREAMS;");
    until("the next record", || written("SHOW STREAMS"));
    assert!(written("\"event\":\"lost\"") && !written("SHOW TABLES"));
    engine.close();
}

#[test]
fn the_threads_of_the_embedded_log_begin_again() {
    let dir = tempfile::tempdir().unwrap();
    let label = dir.path().to_str().unwrap();
    // Each twice: the second one only comes if the first has not ended the thread.
    seed("log-care", label, 2);
    seed("log-sync", label, 2);
    let options = EmbeddedOptions { fsync: Fsync::Interval(Duration::from_millis(5)), ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(dir.path(), options, SystemClock::shared()).unwrap();
    log.create_topic(&TopicSpec::new("t", 1).with("retention.ms", 1_000)).unwrap();
    until("both fail twice", || seeds_left("log-care", label) + seeds_left("log-sync", label) == 0);
    log.check_writable().unwrap();
}

#[test]
fn a_panic_in_the_middle_of_a_write_breaks_the_log_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default(), SystemClock::shared()).unwrap();
        let below: Arc<dyn Log> = log;
        below
    };
    let log = open();
    log.create_topic(&TopicSpec::new("t", 1)).unwrap();
    append(&log, "t", 0..10);
    seed("commit", dir.path().to_str().unwrap(), 1);
    let writer = log.clone();
    let caught = threads::guard("test", "", move || append(&writer, "t", 10..20));
    assert_eq!(caught.unwrap_err().kind(), Kind::Bug);
    // What was written is not known to the log any more, so it neither shows it nor writes behind it.
    assert_eq!(log.watermarks(&TopicPartition::new("t", 0)).unwrap().high, 10);
    let mut set = RecordSet::default();
    set.push(0, 1, None, Some(b"x"));
    let error = log.append("t", &set).unwrap_err();
    assert!(error.to_string().contains("a thread panicked in the middle of a write"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("restart")), "{error:?}");
    assert_eq!(log.check_writable().unwrap_err().to_string(), error.to_string());
    drop(log);
    let log = open();
    append(&log, "t", 10..20);
    assert_eq!(log.watermarks(&TopicPartition::new("t", 0)).unwrap().high, 20);
}

#[test]
fn readers_get_the_panic_of_their_query() {
    let log: Arc<dyn Log> = SimulatedLog::new(12, SystemClock::shared());
    let engine = engine(&log, "panic_readers_");
    run(&engine, "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    run(&engine, "INSERT INTO s VALUES (1); INSERT INTO s VALUES (2);");
    let push = "SELECT n AS fails_as_it_runs FROM s EMIT CHANGES;";
    seed("push-query", push.trim_end_matches(';'), 1);
    seed("push-query", push, 1);
    let error = rows(&engine, push).unwrap_err();
    assert!(error.message().contains("a seeded panic in push-query"), "{error}");
    let batch = "SELECT n AS FAILS_WHEN_READ FROM s;";
    seed("batch", "FAILS_WHEN_READ", 1);
    let error = rows(&engine, batch).unwrap_err();
    assert!(error.message().contains("a seeded panic in batch"), "{error}");
    assert_eq!(rows(&engine, batch).unwrap(), ["1", "2"]);
    engine.close();
}

#[test]
fn panics_are_counted_by_kind() {
    seed("counted-kind", "x", 3);
    (0..4).for_each(|_| _ = threads::guard("counted-kind", "x", || ()));
    let count = threads::panics().into_iter().find(|(kind, _)| *kind == "counted-kind");
    assert_eq!(count, Some(("counted-kind", 3)));
}
