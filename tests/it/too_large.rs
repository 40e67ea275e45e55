//! Rows that are too large for their topic: reported with topic, key and size, and then the setting decides.
//!
//! The same on the embedded and on the simulated log here, and on a real broker in `kafka/large.rs`.

use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::persistent::{Query, State};
use tidegate::engine::query::processing_log::AUTO_CREATE;
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Kind;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::size::record_bytes;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::types::cell;
use tidegate::types::clock::SystemClock;

const PATIENCE: Duration = Duration::from_secs(30);
/// What the narrow topics take.
pub(crate) const LIMIT: usize = 2_000;
const FAIL: &str = "ksql.fail.on.production.error";

pub(crate) fn engine(log: &Arc<dyn Log>, service: &str, drive: Drive) -> Engine {
    let mut config = Config::new(LogConfig::Temporary);
    service.clone_into(&mut config.service_id);
    config.properties.insert(AUTO_CREATE.to_owned(), "true".to_owned());
    Engine::over(log.clone(), config, SystemClock::shared(), drive).unwrap()
}

pub(crate) fn run(engine: &Engine, sql: &str) {
    engine.run(sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    while !done() {
        assert!(clock.monotonic() < end, "in vain: {what}");
        clock.sleep(Duration::from_millis(10));
    }
}

pub(crate) fn query(engine: &Engine, sink: &str) -> Arc<Query> {
    let found = engine.queries().into_iter().find(|(id, _)| id.contains(&format!("_{sink}_")));
    found.expect("it was created").1
}

pub(crate) fn rows(engine: &Engine, sql: &str) -> Vec<String> {
    let Some(Answer::Rows(mut rows)) = engine.run(sql, &mut Session::default()).unwrap().pop() else {
        panic!("{sql} has no rows")
    };
    let mut all = vec![];
    loop {
        match rows.next(PATIENCE).unwrap() {
            RowEvent::Rows { columns, .. } => {
                let line = |row| columns.iter().map(move |c| cell::display(c, row).unwrap());
                all.extend((0..columns[0].len()).map(|row| line(row).collect::<Vec<_>>().join("|")));
            }
            RowEvent::Idle => {}
            RowEvent::Done(_) => return all,
        }
    }
}

/// The value of a row of this many bytes with a key of one.
pub(crate) fn value(bytes: usize) -> String {
    let empty = r#"{"T":""}"#;
    let text = (0..=bytes).rev().find(|len| record_bytes(Some(1), Some(empty.len() + len), &[]) == bytes);
    format!(r#"{{"T":"{}"}}"#, "x".repeat(text.expect("there is such a value")))
}

pub(crate) fn append(log: &dyn Log, topic: &str, rows: &[(&str, String)]) {
    let mut set = RecordSet::default();
    for (key, value) in rows {
        set.push(0, 1, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    log.append(topic, &set).unwrap();
}

/// A source of wide rows, and a copy of it in a topic that takes no more than [`LIMIT`].
pub(crate) fn copy(engine: &Engine, (source, sink): (&str, &str), fail: bool) {
    let spec = TopicSpec::new(sink, 1).with("max.message.bytes", LIMIT);
    engine.log().create_topic(&spec).unwrap();
    run(
        engine,
        &format!(
            "SET '{FAIL}' = '{fail}';
             CREATE STREAM s (k STRING KEY, t STRING) WITH (KAFKA_TOPIC='{source}', VALUE_FORMAT='JSON', PARTITIONS=1);
             CREATE STREAM copied WITH (KAFKA_TOPIC='{sink}', PARTITIONS=1) AS SELECT * FROM s;"
        ),
    );
}

/// Small, exactly as large as it may be, one byte more, small.
pub(crate) fn around_the_limit() -> Vec<(&'static str, String)> {
    vec![("a", value(100)), ("b", value(LIMIT)), ("c", value(LIMIT + 1)), ("d", value(100))]
}

/// The row is left out, everything else is written, and the processing log has it all.
fn a_row_is_left_out(log: Arc<dyn Log>, service: &str) {
    let engine = engine(&log, service, Drive::Threads);
    copy(&engine, ("wide", "narrow"), false);
    append(&*log, "wide", &around_the_limit());
    let query = query(&engine, "COPIED");
    until("all are taken", || query.counts().consumed == 4 && query.is_idle());
    assert_eq!((query.state(), query.counts().bad), (State::Running, 1));
    assert_eq!(rows(&engine, "SELECT k FROM copied;"), ["a", "b", "d"]);
    let listed = "SELECT LOGGER, MESSAGE->TYPE AS ty, MESSAGE->`TOPIC` AS t, MESSAGE->PARTITION AS p, MESSAGE->`KEY` AS k, \
                  MESSAGE->`SIZE` AS s, MESSAGE->PRODUCTIONERROR->ERRORMESSAGE AS m FROM KSQL_PROCESSING_LOG;";
    let is_there = || engine.catalog().source("KSQL_PROCESSING_LOG").is_some();
    until("the entry", || is_there() && rows(&engine, listed).len() == 1);
    let (id, size) = (&engine.queries()[0].0, LIMIT + 1);
    let reason = format!(
        "a row with key \"c\" is too large for topic narrow: it has {size} bytes, max.message.bytes is {LIMIT}"
    );
    assert_eq!(rows(&engine, listed), [format!("processing.{id}.Sink|2|narrow|0|\"c\"|{size}|{reason}")]);
    let remembered = query.bad();
    assert_eq!((remembered.len(), remembered[0].reason.as_str()), (1, reason.as_str()));
    engine.close();
}

/// Rows of `/inserts-stream` that arrive together: the one that is too large does not take the others with it.
fn a_row_that_is_too_large_fails_alone(log: Arc<dyn Log>, service: &str) {
    let engine = engine(&log, service, Drive::ByHand);
    log.create_topic(&TopicSpec::new("narrow", 1).with("max.message.bytes", LIMIT)).unwrap();
    run(&engine, "CREATE STREAM s (k STRING KEY, t STRING) WITH (KAFKA_TOPIC='narrow', VALUE_FORMAT='JSON');");
    let row = |(key, value): (&str, String)| {
        let mut row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&value).unwrap();
        row.insert("K".to_owned(), key.into());
        row
    };
    let batch: Vec<_> = around_the_limit().into_iter().map(row).collect();
    let results = engine.insert_rows("s", &batch, &Session::default());
    let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, false, true, false]);
    let error = results[2].as_ref().unwrap_err();
    assert!(error.to_string().contains("too large for topic narrow"), "{error}");
    assert_eq!(rows(&engine, "SELECT k FROM s;"), ["a", "b", "d"]);
    engine.close();
}

/// The query stops, and has written nothing beyond its last commit.
fn a_row_stops_its_query(log: Arc<dyn Log>, service: &str) {
    let engine = engine(&log, service, Drive::Threads);
    copy(&engine, ("wide", "narrow"), true);
    append(&*log, "wide", &around_the_limit()[..2]);
    let query = query(&engine, "COPIED");
    until("the small ones", || query.counts().consumed == 2 && query.is_idle());
    append(&*log, "wide", &around_the_limit()[2..]);
    until("it stops", || matches!(query.state(), State::Error(_)));
    let State::Error(reason) = query.state() else { unreachable!() };
    for text in ["key \"c\"", "topic narrow", &(LIMIT + 1).to_string(), "RESUME", &format!("--set {FAIL}=false")] {
        assert!(reason.contains(text), "{text} is not in {reason}");
    }
    assert_eq!(rows(&engine, "SELECT k FROM copied;"), ["a", "b"]);
    let listed = "SELECT MESSAGE->`SIZE` AS s FROM KSQL_PROCESSING_LOG;";
    let is_there = || engine.catalog().source("KSQL_PROCESSING_LOG").is_some();
    until("the entry", || is_there() && rows(&engine, listed) == [(LIMIT + 1).to_string()]);
    // It begins at its last commit, and finds the same row: perhaps before RESUME has answered.
    if let Err(error) = engine.run("RESUME ALL;", &mut Session::default()) {
        assert!(error.message().contains("cannot be resumed: a row with key \"c\" is too large"), "{error}");
    }
    until("it stops again", || matches!(query.state(), State::Error(_)) && rows(&engine, listed).len() == 2);
    engine.close();
}

fn embedded() -> Arc<dyn Log> {
    EmbeddedLog::in_memory(SystemClock::shared()).unwrap()
}

fn simulated(seed: u64) -> Arc<dyn Log> {
    SimulatedLog::new(seed, SystemClock::shared())
}

#[test]
fn the_embedded_log_leaves_it_out() {
    a_row_is_left_out(embedded(), "large_a_");
}

#[test]
fn the_simulated_log_leaves_it_out() {
    a_row_is_left_out(simulated(20), "large_b_");
}

#[test]
fn the_embedded_log_stops_its_query() {
    a_row_stops_its_query(embedded(), "large_c_");
}

#[test]
fn the_simulated_log_stops_its_query() {
    a_row_stops_its_query(simulated(21), "large_d_");
}

#[test]
fn on_the_embedded_log_a_row_that_is_too_large_fails_alone() {
    a_row_that_is_too_large_fails_alone(embedded(), "large_h_");
}

#[test]
fn on_the_simulated_log_a_row_that_is_too_large_fails_alone() {
    a_row_that_is_too_large_fails_alone(simulated(24), "large_i_");
}

#[test]
fn the_process_decides_where_the_session_said_nothing() {
    let log = simulated(22);
    log.create_topic(&TopicSpec::new("narrow", 1).with("max.message.bytes", LIMIT)).unwrap();
    let open = |fail: Option<&str>| {
        let mut config = Config::new(LogConfig::Temporary);
        "large_e_".clone_into(&mut config.service_id);
        fail.into_iter().for_each(|fail| config.set(FAIL, fail).unwrap());
        Engine::over(log.clone(), config, SystemClock::shared(), Drive::Threads).unwrap()
    };
    let engine = open(None);
    run(
        &engine,
        "CREATE STREAM s (k STRING KEY, t STRING) WITH (KAFKA_TOPIC='wide', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM copied WITH (KAFKA_TOPIC='narrow', PARTITIONS=1) AS SELECT * FROM s;",
    );
    append(&*log, "wide", &around_the_limit());
    until("it stops", || matches!(query(&engine, "COPIED").state(), State::Error(_)));
    assert_eq!(rows(&engine, "SELECT k FROM copied;"), Vec::<String>::new());
    engine.close();
    drop(engine);
    let engine = open(Some("false"));
    until("the others", || rows(&engine, "SELECT k FROM copied;") == ["a", "b", "d"]);
    engine.close();
}

#[test]
fn state_is_never_left_out() {
    let log = simulated(23);
    let engine = engine(&log, "large_f_", Drive::ByHand);
    run(
        &engine,
        "SET 'ksql.fail.on.production.error' = 'false';
         CREATE STREAM s (k STRING KEY, t STRING) WITH (KAFKA_TOPIC='wide', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE counted AS SELECT k, COLLECT_LIST(t) AS all, COUNT(*) AS c FROM s GROUP BY k;",
    );
    let changelog = log.topics().unwrap().into_iter().find(|t| t.name.ends_with("-changelog")).unwrap().name;
    log.delete_topic(&changelog).unwrap();
    log.create_topic(&TopicSpec::new(&changelog, 1).with("max.message.bytes", LIMIT)).unwrap();
    append(&*log, "wide", &[("a", value(100)), ("b", value(3_000))]);
    let error = engine.drive().unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.message().contains(&format!("too large for topic {changelog}")), "{error}");
    assert!(error.detail().is_some_and(|d| d.contains("state of the query")), "{error}");
    let bad = query(&engine, "COUNTED").bad();
    assert_eq!((bad.len(), &*bad[0].topic), (1, changelog.as_str()));
}

#[test]
fn other_writers_are_told() {
    for log in [embedded(), simulated(24)] {
        log.create_topic(&TopicSpec::new("narrow", 1).with("max.message.bytes", LIMIT)).unwrap();
        assert_eq!(log.record_bytes_max(&["narrow", "none"]).unwrap(), [Some(LIMIT), None]);
        let mut set = RecordSet::default();
        set.push(0, 1, Some(b"k"), Some(value(LIMIT + 1).as_bytes()));
        let error = log.append("narrow", &set).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Data, "a record is too large for topic narrow"));
        assert!(error.detail().is_some_and(|d| d.contains("2001 bytes, max.message.bytes is 2000")), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default(), SystemClock::shared()).unwrap();
    assert!(log.create_topic(&TopicSpec::new("wrong", 1).with("max.message.bytes", "much")).is_err());
}
