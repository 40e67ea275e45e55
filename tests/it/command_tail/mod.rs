//! Several engines over one log: each carries out statements, and all of them have the same catalogue.
//!
//! ```text
//! by hand      engine 0: CREATE ...   engine 1: read   engine 1: DROP ...   engine 0: read     deterministic
//! threads      three engines, a thread of statements each, at the same time
//! ```

#![allow(clippy::disallowed_methods, reason = "threads go by real time")]

mod faults;

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tidegate::catalog::Source;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::{Error, Result};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, TopicSpec};
use tidegate::types::clock::{ManualClock, SharedClock, SystemClock};

const SERVICE: &str = "several_";

fn config(service: &str) -> Config {
    let mut config = Config::new(LogConfig::Temporary);
    service.clone_into(&mut config.service_id);
    config
}

fn open(log: &Arc<dyn Log>, clock: SharedClock, drive: Drive) -> Engine {
    open_as(SERVICE, log, clock, drive)
}

fn open_as(service: &str, log: &Arc<dyn Log>, clock: SharedClock, drive: Drive) -> Engine {
    Engine::over(log.clone(), config(service), clock, drive).unwrap()
}

/// Engines that are driven by hand.
fn by_hand(count: usize) -> (Arc<dyn Log>, Vec<Engine>) {
    let log: Arc<dyn Log> = SimulatedLog::shared(7, ManualClock::at(1_000));
    let engines = (0..count).map(|_| open(&log, ManualClock::at(1_000), Drive::ByHand)).collect();
    (log, engines)
}

/// Engines with threads.
fn with_threads(count: usize) -> (Arc<dyn Log>, Vec<Engine>) {
    let log: Arc<dyn Log> = SimulatedLog::shared(8, SystemClock::shared());
    let engines = (0..count).map(|_| open(&log, SystemClock::shared(), Drive::Threads)).collect();
    (log, engines)
}

fn run(engine: &Engine, sql: &str) -> Result<Vec<Answer>> {
    engine.run(sql, &mut Session::default())
}

fn ok(engine: &Engine, sql: &str) {
    run(engine, sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

fn refused(engine: &Engine, sql: &str) -> Error {
    run(engine, sql).map(drop).unwrap_err()
}

/// All that commands make: sources with all that was resolved, types, queries and what they do, statuses.
fn made(engine: &Engine) -> String {
    let catalog = engine.catalog();
    let sources: Vec<&Source> = catalog.all().map(|source| &**source).collect();
    let queries: Vec<_> = engine
        .queries()
        .iter()
        .map(|(id, query)| (id.clone(), query.state(), query.spec().map(|spec| spec.begin.clone())))
        .collect();
    let queried: Vec<_> = catalog.query_ids().iter().map(|id| format!("{:?}", catalog.query(id))).collect();
    let statuses: BTreeMap<_, _> = engine
        .statuses()
        .into_iter()
        .map(|status| (status.command_id, (status.message, status.query_id, status.sequence)))
        .collect();
    format!("{sources:#?}\n{:#?}\n{queries:#?}\n{queried:#?}\n{statuses:#?}", catalog.types())
}

/// All engines have the same, and so has one that starts now.
fn all_same(log: &Arc<dyn Log>, engines: &[Engine]) {
    engines.iter().for_each(|engine| engine.read_commands().unwrap());
    let first = made(&engines[0]);
    for (nth, engine) in engines.iter().enumerate().skip(1) {
        assert_eq!(made(engine), first, "engine {nth}");
    }
    assert_eq!(made(&open(log, ManualClock::at(1_000), Drive::ByHand)), first, "a restart");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn topic(log: &Arc<dyn Log>, name: &str) {
    log.create_topic(&TopicSpec::new(name, 1)).unwrap();
}

/// Each statement is given to the next engine, and is visible at all others.
#[test]
fn a_statement_may_be_given_to_any_process() {
    let (log, engines) = by_hand(3);
    let statements = [
        "CREATE TYPE place AS STRUCT<x INT, y INT>;",
        "CREATE STREAM s (k STRING KEY, n INT, at place) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);",
        "CREATE STREAM copied AS SELECT k, n, at->x AS x FROM s WHERE n > 1;",
        "CREATE TABLE counted AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;",
        "CREATE STREAM sink (k STRING KEY, n INT) WITH (KAFKA_TOPIC='sink', VALUE_FORMAT='JSON', PARTITIONS=2);",
        "INSERT INTO sink SELECT k, n FROM s;",
        "PAUSE INSERTQUERY_5;",
        "CREATE OR REPLACE STREAM copied AS SELECT k, n, at->x AS x FROM s WHERE n > 2;",
        "ALTER STREAM s ADD COLUMN more INT;",
        "PAUSE ALL;",
        "RESUME ALL;",
        "CREATE TABLE IF NOT EXISTS counted AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;",
        "TERMINATE INSERTQUERY_5;",
        "DROP STREAM sink DELETE TOPIC;",
        "DROP TABLE counted;",
        "DROP TYPE place;",
        "DROP STREAM IF EXISTS sink;",
        "DROP STREAM copied DELETE TOPIC;",
        "CREATE STREAM copied AS SELECT * FROM s;",
        "TERMINATE ALL;",
    ];
    for (nth, sql) in statements.iter().enumerate() {
        ok(&engines[nth % 3], sql);
        // A statement without a command has a status at its own process only.
        let is_recorded = !sql.contains(" IF ");
        if is_recorded {
            engines.iter().for_each(|engine| engine.read_commands().unwrap());
            let known: Vec<String> = engines.iter().map(|engine| format!("{:?}", engine.catalog())).collect();
            assert!(known.iter().all(|one| *one == known[0]), "{sql}");
        }
    }
    let queries = |engine: &Engine| engine.queries().len();
    assert_eq!(engines.iter().map(queries).collect::<Vec<_>>(), [0, 0, 0]);
    let internal = |name: &str| name.contains("query_");
    let left: Vec<String> = log.topics().unwrap().into_iter().map(|t| t.name).filter(|name| internal(name)).collect();
    assert_eq!(left, Vec::<String>::new(), "topics of queries that have ended");
    assert!(log.topic("sink").unwrap().is_none());
}

/// Queries, paused and replaced ones too, are planned from the record as their own process planned them.
#[test]
fn queries_of_other_processes_are_the_same() {
    let (log, engines) = by_hand(2);
    ok(&engines[0], "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);");
    ok(&engines[0], "SET 'auto.offset.reset'='latest'; CREATE STREAM late AS SELECT * FROM s;");
    ok(&engines[1], "CREATE TABLE counted AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;");
    ok(&engines[0], "PAUSE CTAS_COUNTED_2;");
    ok(&engines[1], "CREATE OR REPLACE TABLE counted AS SELECT k, COUNT(*) AS c FROM s WHERE n > 0 GROUP BY k;");
    all_same(&log, &engines);
    let states: Vec<_> = engines.iter().map(|e| e.queries()[1].1.state()).collect();
    assert!(states.iter().all(|state| state.word() == "PAUSED"), "{states:?}");
}

/// What a query writes is the same whichever process created it, and a lookup at another one sees its table.
#[test]
fn a_query_runs_at_a_process_that_did_not_create_it() {
    let (_, engines) = by_hand(2);
    ok(&engines[0], "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    ok(&engines[0], "CREATE TABLE t AS SELECT k, SUM(n) AS total FROM s GROUP BY k;");
    engines[1].read_commands().unwrap();
    ok(&engines[1], "INSERT INTO s (k, n) VALUES ('a', 2); INSERT INTO s (k, n) VALUES ('a', 3);");
    engines[1].drive().unwrap();
    let Answer::Rows(mut rows) = run(&engines[1], "SELECT total FROM t WHERE k = 'a';").unwrap().remove(0) else {
        panic!("no rows");
    };
    let mut seen = String::new();
    while let RowEvent::Rows { columns, .. } = rows.next(Duration::from_secs(5)).unwrap() {
        seen.push_str(&format!("{columns:?}"));
    }
    assert!(seen.contains('5'), "{seen}");
}

#[test]
fn a_name_is_created_once() {
    let (log, engines) = with_threads(2);
    topic(&log, "t");
    for round in 0..40 {
        let sql = format!("CREATE STREAM same{round} (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');");
        let start = Barrier::new(2);
        let both: Vec<Result<()>> = std::thread::scope(|scope| {
            let one = |engine: &'_ Engine| {
                start.wait();
                run(engine, &sql).map(drop)
            };
            let threads: Vec<_> = engines.iter().map(|engine| scope.spawn(move || one(engine))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let errors: Vec<_> = both.iter().filter_map(|done| done.as_ref().err()).collect();
        assert_eq!(errors.len(), 1, "{both:?}");
        let message = errors[0].to_string();
        assert!(message.contains("already exists"), "{message}");
    }
    all_same(&log, &engines);
    engines.iter().for_each(Engine::close);
}

/// The topics that both would create are created once, and the query of the one that lost leaves none behind.
#[test]
fn a_query_is_created_once() {
    let (log, engines) = with_threads(2);
    topic(&log, "t");
    ok(&engines[0], "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');");
    for round in 0..8 {
        let start = Barrier::new(2);
        let names = [format!("same{round}"), format!("{}{round}", ["same", "other"][round % 2])];
        let failed: usize = std::thread::scope(|scope| {
            let one = |engine: &'_ Engine, name: &str| {
                start.wait();
                let sql = format!("CREATE TABLE {name} AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;");
                usize::from(run(engine, &sql).is_err())
            };
            let threads: Vec<_> =
                engines.iter().zip(&names).map(|(engine, name)| scope.spawn(move || one(engine, name))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(failed, (round + 1) % 2, "{names:?}");
    }
    engines.iter().for_each(|engine| engine.read_commands().unwrap());
    let ids = engines[0].catalog().query_ids().to_vec();
    assert_eq!(ids, engines[1].catalog().query_ids());
    assert_eq!(ids.len(), 12);
    let owner = |name: &str| ids.iter().any(|id| name.contains(&format!("query_{id}-")));
    let internal = log.topics().unwrap().into_iter().map(|topic| topic.name).filter(|name| name.contains("query_"));
    let orphans: Vec<String> = internal.filter(|name| !owner(name)).collect();
    assert_eq!(orphans, Vec::<String>::new());
    engines.iter().for_each(Engine::close);
}

/// Three processes, a hundred statements each, as fast as they can: none of them fails, and all agree.
#[test]
fn statements_of_three_processes_do_not_conflict() {
    let (log, engines) = with_threads(3);
    topic(&log, "t");
    let start = Barrier::new(3);
    let writer = |nth: usize, engine: &'_ Engine| {
        start.wait();
        let mut failed = Vec::new();
        for n in 0..100 {
            let name = format!("w{nth}_{}", n / 4);
            let sql = match n % 4 {
                0 => format!("CREATE STREAM {name} (k STRING KEY, n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');"),
                1 => format!("CREATE TYPE {name} AS STRUCT<a INT>;"),
                2 => format!("ALTER STREAM {name} ADD COLUMN b {name};"),
                _ if n % 8 == 3 => format!("DROP STREAM {name};"),
                _ => format!(
                    "CREATE OR REPLACE STREAM {name} (k STRING KEY, n INT, b {name}, c INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');"
                ),
            };
            failed.extend(run(engine, &sql).err().map(|e| format!("{sql}: {e:?}")));
        }
        failed
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let writer = &writer;
        let threads: Vec<_> =
            engines.iter().enumerate().map(|(nth, engine)| scope.spawn(move || writer(nth, engine))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(engines[0].catalog().types().len(), 75);
    all_same(&log, &engines);
    engines.iter().for_each(Engine::close);
}

/// A client that was redirected sees what it has done elsewhere.
#[test]
fn a_process_is_waited_for_by_the_sequence_number_of_a_command() {
    let (log, engines) = with_threads(2);
    topic(&log, "t");
    for n in 0..50 {
        ok(&engines[n % 2], &format!("CREATE TYPE t{n} AS INT;"));
        engines[(n + 1) % 2].wait_for_command(n as i64).unwrap();
        assert_eq!(engines[(n + 1) % 2].catalog().types().len(), n + 1);
    }
    let error = engines[0].wait_for_command(50).unwrap_err();
    assert_eq!(error.code(), 50301, "{error}");
    engines.iter().for_each(Engine::close);
}

/// Queries of a process that has not executed the statement start and end there.
#[test]
fn threads_of_queries_start_and_end_at_all_processes() {
    let (log, engines) = with_threads(2);
    ok(&engines[0], "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    ok(&engines[0], "CREATE STREAM copied AS SELECT * FROM s;");
    engines[1].read_commands().unwrap();
    let there = engines[1].queries().remove(0).1;
    // One of them fences the other: who runs a query is another matter.
    until("it was started", || there.state().word() != "RUNNING" || there.is_idle());
    ok(&engines[0], "DROP STREAM copied DELETE TOPIC;");
    engines[1].read_commands().unwrap();
    assert!(engines[1].queries().is_empty());
    drop(there);
    until("its topics are gone", || log.topics().unwrap().iter().all(|topic| !topic.name.contains("query_")));
    engines.iter().for_each(Engine::close);
}

#[test]
fn all_processes_end_with_the_service() {
    let (log, engines) = with_threads(3);
    ok(&engines[0], "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    ok(&engines[1], "CREATE STREAM copied AS SELECT * FROM s;");
    engines[2].terminate_cluster(&["COPIED".to_owned()], &Session::default()).unwrap();
    until("all have ended", || engines.iter().all(Engine::is_over));
    for engine in &engines {
        assert_eq!(refused(engine, "SHOW STREAMS;").message(), "The server is shut down");
        assert!(engine.queries().is_empty() && engine.catalog().all().next().is_none());
    }
    let left: Vec<String> = log.topics().unwrap().into_iter().map(|topic| topic.name).collect();
    assert_eq!(left, ["s"]);
    engines.iter().for_each(Engine::close);
    let next = open(&log, SystemClock::shared(), Drive::Threads);
    assert!(next.catalog().all().next().is_none());
    ok(&next, "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');");
    next.close();
}

/// An engine that is dropped while others write does not wait for itself.
#[test]
fn an_engine_may_be_dropped_at_any_time() {
    let (log, engines) = with_threads(2);
    topic(&log, "t");
    for n in 0..20 {
        let third = open(&log, SystemClock::shared(), Drive::Threads);
        let writer = std::thread::spawn({
            let engine = engines[n % 2].clone();
            move || (0..5).for_each(|m| ok(&engine, &format!("CREATE TYPE t{n}_{m} AS INT;")))
        });
        std::thread::sleep(Duration::from_millis(n as u64 % 4));
        drop(third);
        writer.join().unwrap();
    }
    all_same(&log, &engines);
    engines.iter().for_each(Engine::close);
}
