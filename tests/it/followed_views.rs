//! Lookups in a process that does not run the query of a table, or is not the only one that writes its topic: the view follows
//! the topic.
//!
//! Two engines over one log are two processes: one runs the queries, the other one runs none. What each of them is told about the
//! other is what `Owners` says.

#![allow(clippy::disallowed_methods, reason = "real threads and sockets go by real time")]

use crate::log_below::log_below;
use crate::rows::collect;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::pull::owners::{Owner, Owners};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::{Error, Result};
use tidegate::log::{Assignment, Fetched, Isolation, Log, Reader, RecordSet};
use tidegate::types::clock::{ManualClock, SharedClock, SystemClock};

const TABLE: &str = "
    CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=3);
    CREATE TABLE t AS SELECT k, SUM(n) AS total FROM s GROUP BY k;";
const WAIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// What a process knows of the others: whether it runs the queries. There are several processes.
#[derive(Debug)]
struct Several {
    runs_queries: bool,
}

impl Owners for Several {
    fn is_alone(&self) -> bool {
        false
    }

    fn owner(&self, _query: &str) -> Owner {
        if self.runs_queries { Owner::Here } else { Owner::Unknown }
    }
}

/// A log whose readers can be held: they return nothing until they are released.
#[derive(Debug)]
struct Held {
    below: Arc<dyn Log>,
    is_held: Arc<AtomicBool>,
}

impl Log for Held {
    log_below!();

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        let below = self.below.reader(assignment, isolation)?;
        Ok(Box::new(HeldReader { below, is_held: self.is_held.clone() }))
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.below.append(topic, records)
    }
}

#[derive(Debug)]
struct HeldReader {
    below: Box<dyn Reader>,
    is_held: Arc<AtomicBool>,
}

impl Reader for HeldReader {
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched> {
        if self.is_held.load(Ordering::SeqCst) {
            std::thread::sleep(timeout.min(LOOK));
            return Ok(Fetched::default());
        }
        self.below.poll(max_records, timeout.min(LOOK))
    }

    fn position(&self, slot: usize) -> i64 {
        self.below.position(slot)
    }

    fn at_end(&self, slot: usize) -> bool {
        self.below.at_end(slot)
    }

    fn seek(&mut self, slot: usize, offset: i64) -> Result<()> {
        self.below.seek(slot, offset)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.below.waker()
    }

    fn trouble(&self) -> Option<String> {
        self.below.trouble()
    }
}

pub(crate) struct Pair {
    /// Runs the queries.
    pub(crate) owner: Engine,
    /// Runs none.
    pub(crate) other: Engine,
    /// Holds the readers of `other`.
    is_held: Arc<AtomicBool>,
}

impl Pair {
    /// Holds the readers of `other`.
    pub(crate) fn hold(&self) {
        hold(&self.is_held);
    }

    /// Releases them.
    pub(crate) fn release(&self) {
        self.is_held.store(false, Ordering::SeqCst);
    }
}

/// Holds readers. A poll that has begun by then may still bring something.
fn hold(is_held: &AtomicBool) {
    is_held.store(true, Ordering::SeqCst);
    std::thread::sleep(10 * LOOK);
}

pub(crate) fn run(engine: &Engine, sql: &str, session: &mut Session) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for answer in engine.run(sql, session)? {
        if let Answer::Rows(stream) = answer {
            rows.extend(collect(stream)?.rows);
        }
    }
    rows.sort();
    Ok(rows)
}

pub(crate) fn rows(engine: &Engine, sql: &str) -> Vec<String> {
    run(engine, sql, &mut Session::default()).unwrap()
}

/// The rows of a lookup whose plan is cached.
fn known(engine: &Engine, sql: &str) -> Option<Vec<String>> {
    engine.known_lookup(sql, &Session::default()).map(|stream| collect(stream.unwrap()).unwrap().rows)
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(LOOK);
    }
}

fn pair(setup: &str) -> Pair {
    let config = || Config::new(LogConfig::Temporary);
    let (owner, other) = (Arc::new(Several { runs_queries: true }), Arc::new(Several { runs_queries: false }));
    pair_with(setup, (config(), owner), (config(), other))
}

/// Two processes with their settings and what they are told; the first one runs the queries of these statements.
pub(crate) fn pair_with(
    setup: &str,
    (owner_config, owner_told): (Config, Arc<dyn Owners>),
    (other_config, other_told): (Config, Arc<dyn Owners>),
) -> Pair {
    let clock: SharedClock = SystemClock::shared();
    let log = Engine::open_log(&owner_config, &clock).unwrap();
    let owner = Engine::over(log.clone(), owner_config, clock.clone(), Drive::Threads).unwrap();
    owner.set_owners(owner_told);
    rows(&owner, setup);
    let is_held = Arc::new(AtomicBool::new(false));
    let held = Arc::new(Held { below: log, is_held: is_held.clone() });
    let other = Engine::over(held, other_config, clock, Drive::ByHand).unwrap();
    other.set_owners(other_told);
    Pair { owner, other, is_held }
}

#[test]
fn rows_of_the_owner_arrive_in_a_process_that_does_not_run_the_query() {
    let Pair { owner, other, .. } = pair(TABLE);
    let lookup = "SELECT total FROM t WHERE k = 'a';";
    rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1); INSERT INTO s (k, n) VALUES ('b', 5);");
    eventually("the first rows arrive", || rows(&other, "SELECT * FROM t;") == ["a | 1", "b | 5"]);
    assert_eq!(rows(&other, lookup), ["1"]);
    assert_eq!(known(&other, lookup), Some(vec!["1".to_owned()]), "its plan is cached");
    for n in 2..=4 {
        rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1);");
        eventually("a later row arrives, in the view that is there", || {
            known(&other, lookup) == Some(vec![n.to_string()])
        });
    }
}

#[test]
fn rows_that_one_process_inserts_are_seen_by_the_one_that_runs_the_query() {
    let Pair { owner, other, .. } = pair(TABLE);
    rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1);");
    let all = "SELECT * FROM t;";
    eventually("the query's row arrives", || rows(&owner, all) == ["a | 1"]);
    rows(&other, "INSERT INTO t (k, total) VALUES ('b', 7);");
    assert_eq!(rows(&other, all), ["a | 1", "b | 7"], "at once in the process that inserted it");
    eventually("in the owner", || rows(&owner, all) == ["a | 1", "b | 7"]);
    // The owner's view keeps up with its own commits, too.
    rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1);");
    eventually("a commit", || rows(&owner, all) == ["a | 2", "b | 7"] && rows(&other, all) == ["a | 2", "b | 7"]);
}

#[test]
fn push_queries_and_queries_over_history_read_topics_in_any_process() {
    let Pair { owner, other, .. } = pair(TABLE);
    rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1); INSERT INTO s (k, n) VALUES ('b', 5);");
    eventually("the rows are there", || rows(&owner, "SELECT * FROM t;").len() == 2);
    assert_eq!(rows(&other, "SELECT COUNT(*) AS c, SUM(n) AS n FROM s;"), ["2 | 6"]);
    assert_eq!(rows(&other, "SELECT total FROM t ORDER BY total DESC;"), ["1", "5"]);
    assert_eq!(rows(&other, "SELECT k, total FROM t EMIT CHANGES LIMIT 2;"), ["a | 1", "b | 5"]);
    assert_eq!(rows(&other, "SELECT k, n FROM s EMIT CHANGES LIMIT 2;"), ["a | 1", "b | 5"]);
}

#[test]
fn both_processes_give_the_same_rows_of_windows_and_tombstones() {
    let sql = format!(
        "{TABLE}
         CREATE TABLE few AS SELECT k, SUM(n) AS total FROM s GROUP BY k HAVING SUM(n) % 2 = 0;
         CREATE TABLE w AS SELECT k, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY k;"
    );
    let Pair { owner, other, .. } = pair(&sql);
    let looks = ["SELECT * FROM t;", "SELECT * FROM few;", "SELECT k, c FROM w;", "SELECT c FROM w WHERE k = 'k3';"];
    looks.iter().for_each(|look| drop(rows(&other, look)));
    for round in 0..20 {
        let inserts = (0..10).map(|n| format!("INSERT INTO s (k, n) VALUES ('k{}', {n});", (n * 7 + round) % 9));
        rows(&owner, &inserts.collect::<String>());
    }
    let total = |engine: &Engine| -> i64 {
        let cell = |row: &String| row.rsplit(" | ").next().unwrap().parse::<i64>().unwrap();
        rows(engine, looks[2]).iter().map(cell).sum()
    };
    eventually("all rows are counted", || total(&owner) == 200 && total(&other) == 200);
    for look in looks {
        eventually(look, || rows(&owner, look) == rows(&other, look));
        assert!(!rows(&other, look).is_empty(), "{look}");
    }
}

fn limited(engine: &Engine, name: &str, value: &str) -> Result<Vec<String>, Error> {
    let mut session = Session::default();
    session.set(name, value).unwrap();
    run(engine, "SELECT total FROM t WHERE k = 'a';", &mut session)
}

#[test]
fn a_lookup_is_refused_where_its_view_is_too_far_behind() {
    let Pair { owner, other, is_held } = pair(TABLE);
    let (offsets, time) = ("ksql.query.pull.max.allowed.offset.lag", "tidegate.pull.max.lag.ms");
    rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1);");
    eventually("the first row arrives", || rows(&other, "SELECT * FROM t;") == ["a | 1"]);
    hold(&is_held);
    for n in 2..=7 {
        rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1);");
        // Each a commit of its own, and so a row of its own.
        eventually("the owner has it", || rows(&owner, "SELECT * FROM t;") == [format!("a | {n}")]);
    }
    eventually("the lag is noticed", || limited(&other, offsets, "3").is_err());
    let refused = limited(&other, offsets, "3").unwrap_err();
    assert_eq!(refused.code(), 40001);
    let said = refused.message();
    assert!(said.starts_with("Unable to execute pull query. [Partition "), "{said}");
    assert!(said.contains("Host excluded because lag ") && said.contains(" exceeds maximum allowed lag 3."), "{said}");
    eventually("two seconds have passed", || limited(&other, time, "2000").is_err());
    let said = limited(&other, time, "2000").unwrap_err().message().to_owned();
    assert!(said.ends_with("exceeds maximum allowed lag 2000 ms.]]"), "{said}");
    // What allows it gets what is there, also by the plan that is cached.
    assert_eq!(limited(&other, offsets, "1000000").unwrap(), ["1"]);
    assert_eq!(limited(&other, offsets, "9223372036854775807").unwrap(), ["1"]);
    assert_eq!(known(&other, "SELECT total FROM t WHERE k = 'a';"), None, "cached for the session's properties");
    assert_eq!(limited(&other, time, "600000").unwrap(), ["1"]);
    // The owner's view follows the topic with readers that are not held.
    assert_eq!(limited(&owner, offsets, "3").unwrap(), ["7"]);
    is_held.store(false, Ordering::SeqCst);
    eventually("it has caught up", || limited(&other, offsets, "0").is_ok_and(|rows| rows == ["7"]));
    eventually("in time, too", || limited(&other, time, "2000").is_ok());
}

#[test]
fn a_limit_of_the_process_holds_for_every_lookup() {
    let (mut config, clock): (_, SharedClock) = (Config::new(LogConfig::Temporary), SystemClock::shared());
    let log = Engine::open_log(&config, &clock).unwrap();
    let owner = Engine::over(log.clone(), config.clone(), clock.clone(), Drive::Threads).unwrap();
    rows(&owner, TABLE);
    config.set("ksql.query.pull.max.allowed.offset.lag", "0").unwrap();
    let is_held = Arc::new(AtomicBool::new(false));
    let held = Arc::new(Held { below: log, is_held: is_held.clone() });
    let other = Engine::over(held, config, clock, Drive::ByHand).unwrap();
    other.set_owners(Arc::new(Several { runs_queries: false }));
    let lookup = "SELECT total FROM t WHERE k = 'a';";
    assert_eq!(rows(&other, lookup), Vec::<String>::new());
    hold(&is_held);
    rows(&owner, "INSERT INTO s (k, n) VALUES ('a', 1);");
    eventually("a lookup that was planned before is refused", || {
        other.known_lookup(lookup, &Session::default()).is_some_and(|known| known.is_err())
    });
    assert!(run(&other, lookup, &mut Session::default()).is_err());
    is_held.store(false, Ordering::SeqCst);
    eventually("it is served again", || run(&other, lookup, &mut Session::default()).is_ok_and(|rows| rows == ["1"]));
}

#[test]
fn a_view_that_is_not_read_is_not_followed_for_ever() {
    let (config, clock) = (Config::new(LogConfig::Temporary), ManualClock::at(1_000));
    let log = Engine::open_log(&config, &(clock.clone() as SharedClock)).unwrap();
    let engine = Engine::over(log, config, clock.clone(), Drive::ByHand).unwrap();
    rows(&engine, TABLE);
    engine.set_owners(Arc::new(Several { runs_queries: false }));
    let lookup = "SELECT total FROM t WHERE k = 'a';";
    rows(&engine, lookup);
    assert!(known(&engine, lookup).is_some());
    clock.advance(Duration::from_secs(14 * 60));
    std::thread::sleep(Duration::from_secs(1));
    assert!(known(&engine, lookup).is_some(), "it was read a quarter of an hour ago at most");
    clock.advance(Duration::from_secs(16 * 60));
    std::thread::sleep(Duration::from_secs(2));
    assert!(known(&engine, lookup).is_none(), "the view is gone");
    rows(&engine, lookup);
    assert!(known(&engine, lookup).is_some(), "the next lookup has made it again");
}
