//! Crashes and doubtful commits at any step, on the simulated log: what queries write is what they would have written
//! had nothing happened.
//!
//! A seed decides everything: the records, how the log misbehaves (aborted, unknown and fenced commits, short, empty and
//! shuffled polls), in which order the parts of a round are done, after how many turns a query is let go of without a commit, and whether the whole engine is opened
//! again in between. No record is late, so that the end does not depend on the order in which partitions are read. At
//! the end each stream holds every record once and each table's last rows are those of an undisturbed run. Under
//! at-least-once a stream may hold records several times, and nothing else may be different.
//!
//! `TIDEGATE_SIMULATION_SEED` runs one seed, `TIDEGATE_SIMULATION_SEEDS` another number of them than 1,000.

use crate::batches::Dice;
use crate::harness::records::{Stored, read_topic};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::config::{Config, LogConfig, environment};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::error::Kind;
use tidegate::log::simulated::{Faults, SimulatedLog};
use tidegate::log::{Log, RecordSet};
use tidegate::types::clock::{ManualClock, SharedClock};
use tidegate::workers::Schedule;

/// Of so many seeds one has workers with threads, whose schedule no seed decides.
const THREADED: u64 = 8;
/// Seeds in an ordinary run.
const SEEDS: u64 = 1_000;
const EXACTLY_ONCE: &str = "exactly_once_v2";
const AT_LEAST_ONCE: &str = "at_least_once";
/// Turns after which an undisturbed query has long come to its end.
const CALM_AFTER: usize = 60;

/// The queries, by the topic that each writes. All of them take every record: grace is longer than the times reach.
const QUERIES: [(&str, &str); 7] = [
    ("copied", "CREATE STREAM copied WITH (KAFKA_TOPIC='copied') AS SELECT * FROM events;"),
    (
        "picked",
        "CREATE STREAM picked WITH (KAFKA_TOPIC='picked') AS SELECT id, n * 2 AS twice FROM events WHERE n % 3 <> 0;",
    ),
    (
        "totals",
        "CREATE TABLE totals WITH (KAFKA_TOPIC='totals') AS
           SELECT team, COUNT(*) AS c, SUM(n) AS s FROM events GROUP BY team;",
    ),
    (
        "tumbling",
        "CREATE TABLE tumbling WITH (KAFKA_TOPIC='tumbling') AS SELECT team, COUNT(*) AS c, MAX(n) AS m FROM events
           WINDOW TUMBLING (SIZE 1 SECOND, GRACE PERIOD 1 HOUR) GROUP BY team;",
    ),
    (
        "hopping",
        "CREATE TABLE hopping WITH (KAFKA_TOPIC='hopping') AS SELECT id, COUNT(*) AS c, SUM(n) AS s FROM events
           WINDOW HOPPING (SIZE 2 SECONDS, ADVANCE BY 1 SECOND, GRACE PERIOD 1 HOUR) GROUP BY id HAVING COUNT(*) > 1;",
    ),
    (
        "sessions",
        "CREATE TABLE sessions WITH (KAFKA_TOPIC='sessions') AS
           SELECT team, COUNT(*) AS c, SUM(n) AS s, TOPK(n, 3) AS top, COUNT_DISTINCT(id) AS ids FROM events
           WINDOW SESSION (1 SECOND, GRACE PERIOD 1 HOUR) GROUP BY team;",
    ),
    (
        "kept",
        "CREATE TABLE kept WITH (KAFKA_TOPIC='kept') AS
           SELECT id, TOPKDISTINCT(n, 4) AS top, MAX(team) AS last, COUNT_DISTINCT(n) AS kinds FROM events GROUP BY id;",
    ),
];

struct World {
    log: Arc<SimulatedLog>,
    clock: SharedClock,
    config: Config,
    /// Where states are copied; not everywhere they are.
    states: Option<TempDir>,
}

impl World {
    fn engine(&self) -> Engine {
        Engine::over(self.log.clone(), self.config.clone(), self.clock.clone(), Drive::ByHand).unwrap()
    }

    fn records(&self, topic: &str) -> Vec<Stored> {
        read_topic(&*self.log, topic).unwrap()
    }
}

/// A directory in memory, where there is some: files are synced thousands of times.
fn states() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A world with the source's records and the seed's queries, none of which has run.
fn world(seed: u64, guarantee: &str, states: Option<TempDir>) -> (World, Vec<&'static str>) {
    let mut dice = Dice(seed);
    let clock: SharedClock = ManualClock::at(0);
    let log = SimulatedLog::new(seed, clock.clone());
    let mut config = Config::new(LogConfig::Temporary);
    if dice.one_in(2) {
        config.properties.insert("cache.max.bytes.buffering".to_owned(), "0".to_owned());
    }
    config.properties.insert("processing.guarantee".to_owned(), guarantee.to_owned());
    if let Some(states) = &states {
        config.set("ksql.streams.state.dir", states.path().to_str().unwrap()).unwrap();
        config.set("tidegate.state.snapshot.bytes", "1").unwrap();
    }
    let world = World { log, clock, config, states };
    let engine = world.engine();
    let mut session = Session::default();
    session.set("auto.offset.reset", "earliest").unwrap();
    let partitions = 1 + dice.below(4);
    let source = format!(
        "CREATE STREAM events (id INT KEY, team STRING, n INT)
           WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON', PARTITIONS={partitions});"
    );
    engine.run(&source, &mut session).unwrap();
    let first = dice.below(QUERIES.len() as i64) as usize;
    let chosen = [QUERIES[first], QUERIES[(first + 1) % QUERIES.len()]];
    chosen.iter().for_each(|(_, sql)| drop(engine.run(sql, &mut session).unwrap()));
    let mut set = RecordSet::default();
    let mut now = 0;
    for _ in 0..20 + dice.below(120) {
        now += dice.below(400);
        let (id, n, time) = (dice.below(9) as i32, dice.below(50), (now - dice.below(900)).max(0));
        let key = (!dice.one_in(20)).then(|| id.to_be_bytes());
        let value = format!("{{\"TEAM\":\"team {}\",\"N\":{n}}}", dice.below(5));
        let value = (!dice.one_in(20)).then_some(value.as_bytes());
        // Rows of one key in several partitions would be groups of several tasks, which one comes last would be chance.
        let partition = if key.is_some() { i64::from(id) % partitions } else { dice.below(partitions) };
        set.push(partition as i32, time, key.as_ref().map(|k| &k[..]), value);
    }
    world.log.append("events", &set).unwrap();
    (world, chosen.map(|(topic, _)| topic).to_vec())
}

fn faults(dice: &mut Dice) -> Faults {
    let resolve_after = Duration::from_secs(1);
    Faults { abort: 150, unknown: 150, resolve_after, fence: 100, short_poll: 300, empty_poll: 200, shuffle: 500 }
        .scaled(dice.below(3) as u32)
}

trait Scaled {
    fn scaled(self, by: u32) -> Self;
}

impl Scaled for Faults {
    /// None, half or all of it.
    fn scaled(mut self, by: u32) -> Faults {
        for rate in [&mut self.abort, &mut self.unknown, &mut self.fence, &mut self.short_poll, &mut self.empty_poll] {
            *rate = *rate * by / 2;
        }
        self
    }
}

/// Lets the queries run, and die, until a calm run brings them to their end. How often did they die?
fn torment(world: &World, dice: &mut Dice) -> usize {
    let mut deaths = 0;
    let mut engine = world.engine();
    for _ in 0..2 + dice.below(8) {
        world.log.faults(faults(dice));
        for (_, query) in engine.queries() {
            // Zero turns: restored, and dead before the first record.
            match query.drive_for(dice.below(CALM_AFTER as i64 / 4) as usize) {
                Ok(died) => deaths += usize::from(died),
                Err(error) if error.kind() == Kind::Fenced => deaths += 1,
                Err(error) => panic!("{error}"),
            }
        }
        if dice.one_in(2) {
            world.log.crash();
            engine = world.engine();
        }
    }
    world.log.faults(Faults::default());
    engine.drive().unwrap();
    deaths
}

/// What must be equal: of a stream every record of each partition, of a table the last row of each key.
fn essence(topic: &str, records: &[Stored]) -> Vec<String> {
    let show = |r: &Stored| {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned());
        format!("{} {:?} {:?} @ {}", r.partition, r.key, text(&r.value), r.timestamp)
    };
    if matches!(topic, "copied" | "picked") {
        let mut all: Vec<_> = records.iter().map(show).collect();
        all.sort();
        return all;
    }
    let last: BTreeMap<_, _> = records.iter().map(|r| (r.key.clone(), r)).collect();
    last.values().filter(|r| r.value.is_some()).map(|r| show(r)).collect()
}

fn check(seed: u64, guarantee: &str) -> usize {
    let (calm, topics) = world(seed, EXACTLY_ONCE, None);
    calm.engine().drive().unwrap();
    let (mut shaken, _) = world(seed, guarantee, (seed % 2 == 1).then(states));
    // Which part of a round is done when is drawn as well, or left to threads.
    shaken.config.schedule = if seed.is_multiple_of(THREADED) { Schedule::Eager(2) } else { Schedule::Drawn(seed) };
    let deaths = torment(&shaken, &mut Dice(seed ^ 0x5eed));
    if let Some(states) = shaken.states.as_ref().map(|states| states.path().join("snapshots")) {
        let grouped = topics.iter().any(|topic| !matches!(*topic, "copied" | "picked"));
        assert_eq!(states.exists(), grouped, "seed {seed}: queries with state copy it, and no other does");
    }
    for topic in topics {
        let (mut want, mut got) = (essence(topic, &calm.records(topic)), essence(topic, &shaken.records(topic)));
        if guarantee != EXACTLY_ONCE {
            want.dedup();
            got.dedup();
        }
        assert!(!want.is_empty(), "seed {seed}: {topic} is empty");
        assert_eq!(got, want, "TIDEGATE_SIMULATION_SEED={seed}: {topic} after {deaths} deaths, {guarantee}");
    }
    deaths
}

fn number(name: &str) -> Option<u64> {
    environment(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
pub(crate) fn crashes_and_doubtful_commits_change_nothing() {
    if let Some(seed) = number("TIDEGATE_SIMULATION_SEED") {
        check(seed, EXACTLY_ONCE);
        check(seed, AT_LEAST_ONCE);
        return;
    }
    let seeds = number("TIDEGATE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let deaths: usize = (0..seeds).map(|seed| check(seed, EXACTLY_ONCE)).sum();
    assert!(deaths as u64 > seeds, "only {deaths} deaths in {seeds} seeds");
}

/// Rows leave before the commit that covers them; none is lost, and what is committed is as exact as ever.
#[test]
fn under_at_least_once_rows_may_come_again_and_nothing_else_changes() {
    let seeds = number("TIDEGATE_SIMULATION_SEEDS").unwrap_or(SEEDS) / 4;
    let deaths: usize = (0..seeds).map(|seed| check(seed, AT_LEAST_ONCE)).sum();
    assert!(deaths as u64 > seeds, "only {deaths} deaths in {seeds} seeds");
}
