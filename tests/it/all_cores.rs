//! What a query writes is the same for any number of workers and any order of their work: every record of every partition, its
//! changelogs and late rows included.

use crate::batches::Dice;
use crate::harness::records::read_topic;
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::persistent::State;
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Header, Log, RecordSet};
use tidegate::mutant::{seed, seeds_left};
use tidegate::types::clock::{ManualClock, SharedClock, SystemClock};
use tidegate::workers::Schedule;

/// More than a batch in each of the partitions.
const EVENTS: usize = 7_000;
const PARTITIONS: i64 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

const SOURCES: &str = "
    CREATE STREAM events (id INT KEY, team STRING, n INT, tags ARRAY<STRING>)
      WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON', PARTITIONS=3);
    CREATE STREAM others (id INT KEY, team STRING, n INT) WITH (KAFKA_TOPIC='others', VALUE_FORMAT='JSON', PARTITIONS=3);
    CREATE TABLE teams (team STRING PRIMARY KEY, city STRING)
      WITH (KAFKA_TOPIC='teams', VALUE_FORMAT='JSON', KEY_FORMAT='JSON', PARTITIONS=3);
    CREATE TABLE people (id INT PRIMARY KEY, team STRING, n INT)
      WITH (KAFKA_TOPIC='others', VALUE_FORMAT='JSON', PARTITIONS=3);";

/// Filters, an explosion, groups of every kind, and joins of every kind.
const QUERIES: [&str; 11] = [
    "CREATE STREAM copied AS SELECT * FROM events;",
    "CREATE STREAM picked AS SELECT id, 100 / (n - 7) AS share FROM events WHERE n % 3 <> 0;",
    "CREATE STREAM exploded AS SELECT id, EXPLODE(tags) AS tag FROM events;",
    "CREATE TABLE totals AS SELECT team, COUNT(*) AS c, SUM(n) AS s FROM events GROUP BY team HAVING COUNT(*) > 3;",
    "CREATE TABLE tumbling WITH (LATE_TOPIC='late') AS SELECT team, COUNT(*) AS c FROM events
       WINDOW TUMBLING (SIZE 1 SECOND, GRACE PERIOD 1 SECOND) GROUP BY team;",
    "CREATE TABLE closed AS SELECT id, MAX(n) AS m FROM events
       WINDOW HOPPING (SIZE 2 SECONDS, ADVANCE BY 1 SECOND, GRACE PERIOD 5 SECONDS) GROUP BY id EMIT FINAL;",
    "CREATE TABLE sessions AS SELECT team, COUNT(*) AS c, TOPK(n, 3) AS top FROM events
       WINDOW SESSION (1 SECOND, GRACE PERIOD 1 HOUR) GROUP BY team;",
    "CREATE TABLE regrouped AS SELECT team, COUNT(*) AS c, SUM(n) AS s FROM people WHERE n > 10 GROUP BY team;",
    "CREATE STREAM met AS SELECT e.id, e.n AS one, o.n AS two FROM events e LEFT JOIN others o
       WITHIN 500 MILLISECONDS GRACE PERIOD 1 SECOND ON e.n = o.n;",
    "CREATE STREAM placed AS SELECT e.team, e.n, t.city FROM events e JOIN teams t ON e.team = t.team;",
    "CREATE TABLE foreign_keys AS SELECT p.id, p.n, t.city FROM people p LEFT JOIN teams t ON p.team = t.team;",
];

/// Records of all sources: good and bad ones, late ones, tombstones, some with headers.
fn records(log: &SimulatedLog) {
    let mut dice = Dice(19);
    for (topic, count) in [("events", EVENTS), ("others", EVENTS / 3)] {
        let (mut set, mut now) = (RecordSet::default(), 10_000);
        for row in 0..count {
            now += dice.below(8);
            let (id, n) = (dice.below(200) as i32, dice.below(50));
            let time = if dice.one_in(50) { now - 6_000 } else { now - dice.below(300) };
            let tags = if dice.one_in(3) { "[\"a\",\"b\",\"c\"]" } else { "[\"d\"]" };
            let value = format!("{{\"TEAM\":\"team {}\",\"N\":{n},\"TAGS\":{tags}}}", dice.below(40));
            let value = if dice.one_in(90) { "{no".to_owned() } else { value };
            let value = (!dice.one_in(40)).then_some(value.as_bytes());
            let partition = i64::from(id) % PARTITIONS;
            if dice.one_in(30) {
                set.headers
                    .push((row as u32, vec![Header { key: "row".into(), value: Some(row.to_be_bytes().into()) }]));
            }
            set.push(partition as i32, time.max(0), Some(&id.to_be_bytes()), value);
        }
        log.append(topic, &set).unwrap();
    }
    let mut set = RecordSet::default();
    for row in 0..600 {
        let (team, city) = (dice.below(45), dice.below(9));
        let value = format!("{{\"CITY\":\"city {city}\"}}");
        let value = (!dice.one_in(8)).then_some(value.as_bytes());
        set.push((team % PARTITIONS) as i32, row * 40, Some(format!("\"team {team}\"").as_bytes()), value);
    }
    log.append("teams", &set).unwrap();
}

/// All records of all topics, by topic and partition, as text.
fn written(schedule: Schedule, threads: &str, cache: &str) -> BTreeMap<(String, i32), Vec<String>> {
    let clock: SharedClock = ManualClock::at(0);
    let log = SimulatedLog::new(1, clock.clone());
    let mut config = Config::new(LogConfig::Temporary);
    config.schedule = schedule;
    config.properties.insert("num.stream.threads".to_owned(), threads.to_owned());
    config.properties.insert("cache.max.bytes.buffering".to_owned(), cache.to_owned());
    let engine = Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap();
    let mut session = Session::default();
    engine.run(SOURCES, &mut session).unwrap();
    QUERIES.iter().for_each(|sql| drop(engine.run(sql, &mut session).unwrap_or_else(|e| panic!("{sql}: {e:?}"))));
    records(&log);
    engine.drive().unwrap();
    let mut all: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for topic in log.topics().unwrap() {
        // Commands hold the property that differs.
        let commands = topic.name.contains("command_topic");
        for record in read_topic(&*log, &topic.name).unwrap().into_iter().filter(|_| !commands) {
            let at = (topic.name.clone(), record.partition);
            all.entry(at).or_default().push(format!("{record:?}"));
        }
    }
    all
}

fn same(cache: &str) {
    let alone = written(Schedule::Eager(0), "1", cache);
    for topic in
        ["COPIED", "PICKED", "EXPLODED", "TOTALS", "TUMBLING", "CLOSED", "SESSIONS", "REGROUPED", "MET", "PLACED"]
    {
        let rows: usize = alone.iter().filter(|((name, _), _)| name == topic).map(|(_, rows)| rows.len()).sum();
        assert!(rows > 10, "{topic} has {rows} rows");
    }
    assert!(alone.keys().any(|(name, _)| name == "late"), "no row was late");
    assert!(alone.keys().filter(|(name, _)| name.ends_with("-changelog")).count() > 10, "{:?}", alone.keys());
    let schedules =
        [(Schedule::Eager(1), "2"), (Schedule::Eager(3), "4"), (Schedule::Drawn(11), "1"), (Schedule::Drawn(12), "4")];
    for (schedule, threads) in schedules {
        let shared = written(schedule, threads, cache);
        assert_eq!(shared.keys().collect::<Vec<_>>(), alone.keys().collect::<Vec<_>>(), "{schedule:?}");
        for (place, rows) in &alone {
            let first = rows.iter().zip(&shared[place]).position(|(one, other)| one != other);
            assert_eq!((first, shared[place].len()), (None, rows.len()), "{schedule:?}: {place:?} differs");
        }
    }
}

#[test]
fn every_partition_is_the_same_for_any_number_of_workers() {
    same("10000000");
}

#[test]
fn so_it_is_where_every_change_is_written() {
    same("0");
}

#[test]
fn a_panic_in_a_worker_ends_its_query_and_no_other() {
    let clock = SystemClock::shared();
    let log = SimulatedLog::new(1, clock.clone());
    let mut config = Config::new(LogConfig::Temporary);
    config.schedule = Schedule::Eager(2);
    "cores_".clone_into(&mut config.service_id);
    let engine = Engine::over(log.clone(), config, clock.clone(), Drive::Threads).unwrap();
    let mut session = Session::default();
    engine.run(SOURCES, &mut session).unwrap();
    engine.run(QUERIES[0], &mut session).unwrap();
    engine.run(QUERIES[3], &mut session).unwrap();
    let queries = engine.queries();
    let (id, copied) = &queries[0];
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let end = clock.monotonic() + PATIENCE;
        while !done() {
            assert!(clock.monotonic() < end, "in vain: {what}: {queries:?}");
            clock.sleep(Duration::from_millis(5));
        }
    };
    until("both begin", &|| queries.iter().all(|(_, query)| query.is_idle()));
    seed("worker", copied.group(), 1);
    records(&log);
    until("the query fails", &|| matches!(copied.state(), State::Error(_)));
    assert_eq!(seeds_left("worker", copied.group()), 0);
    assert!(format!("{:?}", copied.state()).contains("panicked"), "{:?}", copied.state());
    let totals = &queries[1].1;
    let consumed = |query: &tidegate::engine::query::persistent::Query| query.counts().consumed as usize;
    until("the other one takes all", &|| consumed(totals) == EVENTS && totals.is_idle());
    engine.run(&format!("RESUME {id};"), &mut session).unwrap();
    let rows = || read_topic(&*log, "COPIED").unwrap().len();
    until("the resumed query takes all", &|| copied.is_idle() && rows() > EVENTS * 9 / 10);
    let copies = read_topic(&*log, "COPIED").unwrap();
    let bad = copied.counts().bad as usize;
    assert!(copies.len() <= EVENTS, "{} copies of {EVENTS} rows, {bad} bad", copies.len());
    engine.close();
}

/// Times, values and headers of the records of each partition and key, in order. Keys of several partitions of the source meet in one.
fn contents(log: &SimulatedLog, topic: &str) -> BTreeMap<(i32, Option<Vec<u8>>), Vec<String>> {
    let mut contents: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for r in read_topic(log, topic).unwrap() {
        let text = format!("{} {:?} {:?}", r.timestamp, r.value, r.headers);
        contents.entry((r.partition, r.key)).or_default().push(text);
    }
    contents
}

/// The last value of every key of a topic.
fn last_values(log: &SimulatedLog, topic: &str) -> BTreeMap<Option<Vec<u8>>, Option<Vec<u8>>> {
    read_topic(log, topic).unwrap().into_iter().map(|record| (record.key, record.value)).collect()
}

#[test]
fn pauses_and_ends_amid_rounds_lose_and_repeat_nothing() {
    let clock = SystemClock::shared();
    let log = SimulatedLog::new(1, clock.clone());
    let mut config = Config::new(LogConfig::Temporary);
    config.schedule = Schedule::Eager(3);
    let engine = Engine::over(log.clone(), config, clock.clone(), Drive::Threads).unwrap();
    let mut session = Session::default();
    let mut run = |sql: &str| drop(engine.run(sql, &mut session).unwrap_or_else(|e| panic!("{sql}: {e:?}")));
    run(SOURCES);
    for name in ["copied", "calm", "ended"] {
        run(&QUERIES[0].replace("copied", name));
    }
    for name in ["totals", "calm_totals"] {
        run(&QUERIES[3].replace("totals", name));
    }
    let queries = engine.queries();
    let named = |name: &str| queries.iter().find(|(id, _)| id.contains(name)).unwrap();
    let disturbed = [&named("AS_COPIED_").0, &named("AS_TOTALS_").0];
    let rounds = 4;
    for round in 0..rounds {
        records(&log);
        disturbed.iter().for_each(|id| run(&format!("PAUSE {id};")));
        if round == 2 {
            run(&format!("TERMINATE {};", named("AS_ENDED_").0));
        }
        disturbed.iter().for_each(|id| run(&format!("RESUME {id};")));
    }
    let end = clock.monotonic() + PATIENCE;
    let calm = |name: &str| named(name).1.counts().consumed as usize == rounds * EVENTS && named(name).1.is_idle();
    let rows = |topic: &str| contents(&log, topic).values().map(Vec::len).sum::<usize>();
    let taken = || rows("COPIED") >= rows("CALM") && last_values(&log, "TOTALS") == last_values(&log, "CALM_TOTALS");
    while !(calm("AS_CALM_") && calm("AS_CALM_TOTALS_") && taken()) {
        assert!(
            clock.monotonic() < end,
            "in vain: {:?}, {} of {} rows, {:?}",
            queries.iter().map(|(id, q)| (id, q.state(), q.is_idle(), q.counts().consumed)).collect::<Vec<_>>(),
            rows("COPIED"),
            rows("CALM"),
            (last_values(&log, "TOTALS"), last_values(&log, "CALM_TOTALS"))
        );
        clock.sleep(Duration::from_millis(20));
    }
    assert!(contents(&log, "COPIED") == contents(&log, "CALM"), "{} of {} rows", rows("COPIED"), rows("CALM"));
    let (calm, ended) = (contents(&log, "CALM"), contents(&log, "ENDED"));
    assert!(calm.values().map(Vec::len).sum::<usize>() > rounds * EVENTS * 9 / 10);
    assert!(ended.iter().all(|(key, rows)| calm[key].starts_with(rows)), "rows that are not those of the topic");
    engine.close();
}
