//! The engine as a whole on the simulated log: statements in, records out, and the same after a restart.

use crate::batches::Dice;
use crate::rows::collect;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::command::CommandLog;
use tidegate::engine::result::entity::Entity;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::log::simulated::{Faults, SimulatedLog};
use tidegate::log::{Assignment, Isolation, Log, RecordSet, Start, TopicSpec, partition};
use tidegate::types::clock::{ManualClock, SharedClock};

struct World {
    log: Arc<SimulatedLog>,
    clock: SharedClock,
}

impl World {
    fn new() -> World {
        let clock: SharedClock = ManualClock::at(0);
        World { log: SimulatedLog::new(1, clock.clone()), clock }
    }

    fn engine(&self) -> Engine {
        Engine::over(self.log.clone(), Config::new(LogConfig::Temporary), self.clock.clone(), Drive::ByHand).unwrap()
    }

    fn records(&self, topic: &str) -> Vec<String> {
        let partitions = self.log.topic(topic).unwrap().unwrap().partitions as i32;
        let all = (0..partitions).map(|p| Assignment { topic: topic.into(), partition: p, start: Start::Earliest });
        let mut reader = self.log.reader(all.collect(), Isolation::ReadCommitted).unwrap();
        let mut found = Vec::new();
        loop {
            let fetched = reader.poll(1000, std::time::Duration::ZERO).unwrap();
            if fetched.is_empty() {
                found.sort();
                return found;
            }
            for run in fetched.runs() {
                run.for_each(|r| {
                    let text = |b: Option<&[u8]>| b.map_or("null".to_owned(), |b| b.escape_ascii().to_string());
                    found.push(format!("{} {} @{}", text(r.key), text(r.value), r.timestamp));
                });
            }
        }
    }
}

fn run(engine: &Engine, sql: &str) -> Vec<Answer> {
    let mut session = Session::default();
    session.set("cache.max.bytes.buffering", "0").unwrap();
    engine.run(sql, &mut session).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

fn produce(world: &World, topic: &str, rows: &[(&str, &str, i64)]) {
    let partitions = world.log.topic(topic).unwrap().unwrap().partitions;
    let mut set = RecordSet::default();
    for (key, value, time) in rows {
        set.push(partition::java(key.as_bytes(), partitions), *time, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    world.log.append(topic, &set).unwrap();
}

const CARS: &str = "CREATE STREAM readings (car VARCHAR KEY, track VARCHAR, speed DOUBLE, rpm INT) \
                    WITH (KAFKA_TOPIC = 'readings', VALUE_FORMAT = 'JSON', PARTITIONS = 4);";

#[test]
fn a_filter_and_a_projection_reach_their_topic() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, CARS);
    run(
        &engine,
        "CREATE STREAM fast AS SELECT car, speed * 2 AS twice, UCASE(track) AS track FROM readings WHERE speed > 100;",
    );
    produce(
        &world,
        "readings",
        &[
            ("a", r#"{"track":"spa","speed":150.5,"rpm":7000}"#, 5),
            ("b", r#"{"track":"spa","speed":50}"#, 6),
            ("c", r#"{"track":"#, 7),
        ],
    );
    engine.drive().unwrap();
    assert_eq!(world.records("FAST"), [r#"a {\"TWICE\":301.0,\"TRACK\":\"SPA\"} @5"#]);
    assert_eq!(engine.query_rows(&Session::default())[0].counts.bad, 1);
}

#[test]
fn a_windowed_count_by_another_column_survives_restarts() {
    let world = World::new();
    run(&world.engine(), CARS);
    run(
        &world.engine(),
        "CREATE TABLE per_track AS SELECT track, COUNT(*) AS n, SUM(rpm) AS revolutions, AVG(speed) AS mean \
         FROM readings WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY track;",
    );
    for round in 0..3 {
        let engine = world.engine();
        produce(
            &world,
            "readings",
            &[
                ("a", r#"{"track":"spa","speed":100,"rpm":1}"#, 1_000 + round),
                ("b", r#"{"track":"spa","speed":200,"rpm":2}"#, 2_000 + round),
                ("c", r#"{"track":"monza","speed":300,"rpm":3}"#, 12_000 + round),
            ],
        );
        engine.drive().unwrap();
    }
    let records = world.records("PER_TRACK");
    assert_eq!(records.len(), 9, "{records:#?}");
    assert!(
        records.contains(
            &r#"spa\x00\x00\x00\x00\x00\x00\x00\x00 {\"N\":6,\"REVOLUTIONS\":9,\"MEAN\":150.0} @2002"#.to_owned()
        ),
        "{records:#?}"
    );
    assert!(
        records.contains(
            &r#"monza\x00\x00\x00\x00\x00\x00\'\x10 {\"N\":3,\"REVOLUTIONS\":9,\"MEAN\":300.0} @12002"#.to_owned()
        ),
        "{records:#?}"
    );
}

/// A left join of two streams, one of them by a column that is not its key, and a count over it: rounds of records, after
/// each of which the engine starts again.
fn joined(faults: Option<(u64, Faults)>) -> (Vec<String>, Vec<String>) {
    let clock: SharedClock = ManualClock::at(0);
    let world = World { log: SimulatedLog::new(faults.map_or(1, |f| f.0), clock.clone()), clock };
    run(
        &world.engine(),
        "CREATE STREAM l (id VARCHAR KEY, n INT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON', PARTITIONS = 3);
         CREATE STREAM r (other VARCHAR KEY, id VARCHAR, m INT) \
             WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON', PARTITIONS = 3);
         CREATE STREAM j AS SELECT l.id, n, m FROM l LEFT JOIN r WITHIN 20 SECONDS GRACE PERIOD 5 SECONDS ON l.id = r.id;
         CREATE TABLE c AS SELECT m, COUNT(*) AS rows, SUM(n) AS total \
             FROM l JOIN r WITHIN 20 SECONDS ON l.id = r.id GROUP BY m;",
    );
    let mut dice = Dice(5);
    let mut time = 0;
    for _ in 0..12 {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            time += 1 + dice.below(2_000);
            let (key, number) = (format!("k{}", dice.below(9)), dice.below(5));
            match dice.one_in(2) {
                true => left.push((key, format!("{{\"N\":{number}}}"), time)),
                false => right.push((format!("x{time}"), format!("{{\"ID\":\"{key}\",\"M\":{number}}}"), time)),
            }
        }
        for (topic, rows) in [("l", &left), ("r", &right)] {
            let rows: Vec<(&str, &str, i64)> = rows.iter().map(|r| (r.0.as_str(), r.1.as_str(), r.2)).collect();
            produce(&world, topic, &rows);
        }
        if let Some((_, faults)) = faults {
            world.log.faults(faults);
        }
        world.engine().drive().unwrap();
        world.log.faults(Faults::default());
    }
    // A poll that brought nothing may have ended a drive too early.
    world.engine().drive().unwrap();
    (world.records("J"), world.records("C"))
}

#[test]
fn a_join_is_the_same_under_faults_and_restarts() {
    let want = joined(None);
    assert!(want.0.iter().any(|r| r.contains("null")) && want.0.len() > 200, "{:#?}", want.0);
    for seed in 0..20 {
        let faults = Faults {
            abort: 250,
            unknown: 100,
            resolve_after: Duration::from_millis(50),
            short_poll: 300,
            empty_poll: 300,
            shuffle: 300,
            ..Faults::default()
        };
        let got = joined(Some((seed, faults)));
        for (got, want) in [(&got.0, &want.0), (&got.1, &want.1)] {
            let differs = (0..got.len().max(want.len())).find(|&i| got.get(i) != want.get(i));
            assert_eq!(differs.map(|i| (got.get(i), want.get(i))), None, "seed {seed}");
        }
    }
}

#[test]
fn what_was_created_is_there_again() {
    let world = World::new();
    run(&world.engine(), CARS);
    run(&world.engine(), "CREATE STREAM copy AS SELECT * FROM readings;");
    let engine = world.engine();
    let answers = run(&engine, "SHOW STREAMS; SHOW QUERIES;");
    let [Answer::Entity(Entity::Sources(_, sources)), Answer::Entity(Entity::Queries(queries))] = answers.as_slice()
    else {
        panic!("{answers:?}")
    };
    assert_eq!(sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["COPY", "READINGS"]);
    assert_eq!(queries.iter().map(|q| q.id.as_str()).collect::<Vec<_>>(), ["CSAS_COPY_1"]);
    run(&engine, "DROP STREAM copy DELETE TOPIC;");
    assert!(world.engine().query_rows(&Session::default()).is_empty());
}

#[test]
fn inserted_rows_are_records() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, CARS);
    run(&engine, "INSERT INTO readings (car, speed, rowtime) VALUES ('x', 12.5, 77);");
    assert_eq!(world.records("readings"), [r#"x {\"TRACK\":null,\"SPEED\":12.5,\"RPM\":null} @77"#]);
}

#[test]
fn latest_means_the_moment_of_creation() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, CARS);
    produce(&world, "readings", &[("a", r#"{"rpm":1}"#, 1)]);
    run(&engine, "SET 'auto.offset.reset' = 'latest'; CREATE STREAM late AS SELECT car, rpm FROM readings;");
    // The query has not started yet when this row comes, and the process is another one when it does.
    produce(&world, "readings", &[("a", r#"{"rpm":2}"#, 2)]);
    world.engine().drive().unwrap();
    assert_eq!(world.records("LATE"), [r#"a {\"RPM\":2} @2"#]);
}

#[test]
fn a_replay_gives_the_catalogue_that_statements_made() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, CARS);
    run(
        &engine,
        "CREATE STREAM first AS SELECT car, rpm FROM readings;
         CREATE STREAM second AS SELECT * FROM readings;
         PAUSE CSAS_FIRST_1;
         ALTER STREAM readings ADD COLUMN gear INT, ADD COLUMN lap ARRAY<INT>;
         CREATE OR REPLACE STREAM first AS SELECT car, rpm, gear FROM readings WHERE rpm > 5000;
         CREATE OR REPLACE STREAM readings (car VARCHAR KEY, track VARCHAR, speed DOUBLE, rpm INT, gear INT,
           lap ARRAY<INT>, driver STRING) WITH (KAFKA_TOPIC = 'readings', VALUE_FORMAT = 'JSON');",
    );
    let seen = |engine: &Engine| {
        let sources: Vec<_> = engine.catalog().all().map(|s| (**s).clone()).collect();
        let queries: Vec<_> = engine.queries().into_iter().map(|(id, query)| (id, query.state())).collect();
        (sources, queries)
    };
    let before = seen(&engine);
    assert_eq!(before.1[0], ("CSAS_FIRST_1".to_owned(), tidegate::engine::query::persistent::State::Paused));
    engine.close();
    drop(engine);
    assert_eq!(seen(&world.engine()), before);
}

/// What a restart must not change.
fn seen(engine: &Engine) -> impl PartialEq + std::fmt::Debug {
    let sources: Vec<_> = engine.catalog().all().map(|s| (**s).clone()).collect();
    let queries: Vec<_> = engine.queries().into_iter().map(|(id, query)| (id, query.state())).collect();
    let statuses: Vec<_> = engine.statuses().into_iter().map(|s| (s.command_id, s.message, s.query_id)).collect();
    (sources, queries, statuses)
}

#[test]
fn commands_of_an_earlier_build_are_replayed() {
    let (world, earlier) = (World::new(), World::new());
    let engine = world.engine();
    run(&engine, CARS);
    run(
        &engine,
        "CREATE STREAM first AS SELECT car, rpm FROM readings;
         CREATE TYPE lap AS STRUCT<n INT>; CREATE TYPE pit AS INT; DROP TYPE pit;
         CREATE TABLE n WITH (LATE_TOPIC = 'late') AS
           SELECT car, COUNT(*) AS n FROM readings WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY car EMIT CHANGES;
         PAUSE CSAS_FIRST_1; INSERT INTO first SELECT car, rpm FROM readings; TERMINATE INSERTQUERY_7;",
    );
    let commands = CommandLog::topic(&Config::new(LogConfig::Temporary).service_id);
    // An earlier build recorded neither statuses nor topics of late rows, and no mark.
    let mut set = RecordSet::default();
    let place = Assignment { topic: commands.as_str().into(), partition: 0, start: Start::Earliest };
    let fetched = world.log.reader(vec![place], Isolation::ReadCommitted).unwrap().poll(1000, Duration::ZERO).unwrap();
    for run in fetched.runs() {
        run.for_each(|record| {
            let mut command: serde_json::Value = serde_json::from_slice(record.value.unwrap()).unwrap();
            if command["effect"].is_null() {
                return;
            }
            assert!(command.as_object_mut().unwrap().remove("status").is_some());
            if let Some(query) = command["effect"].get_mut("create_query") {
                query.as_object_mut().unwrap().remove("late_topic");
            }
            set.push(0, record.timestamp, record.key, Some(command.to_string().as_bytes()));
        });
    }
    assert_eq!(set.rows.len(), 9);
    earlier.log.create_topic(&TopicSpec::new(&commands, 1)).unwrap();
    earlier.log.append(&commands, &set).unwrap();
    let replayed = earlier.engine();
    assert_eq!(format!("{:?}", seen(&replayed)), format!("{:?}", seen(&engine)));
    let late = |engine: &Engine| engine.catalog().query("CTAS_N_5").unwrap().late_topic.clone();
    assert_eq!((late(&replayed), late(&engine)), (Some("late".to_owned()), Some("late".to_owned())));
}

#[test]
fn a_request_is_validated_as_a_whole() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, CARS);
    let session = Session::default();
    let before = format!("{:?}", seen(&engine));
    let copy = "CREATE STREAM a AS SELECT car, rpm FROM readings;";
    for (wrong, rest) in [
        (Some(1), "SELECT nope FROM a EMIT CHANGES;"),
        (Some(1), "SELECT nope FROM a;"),
        (Some(1), "EXPLAIN SELECT nope FROM a;"),
        (None, "ASSERT SCHEMA SUBJECT 'x' TIMEOUT 1 SECOND;"),
        (Some(1), "RUN SCRIPT 'x.sql';"),
        (Some(1), "DESCRIBE b;"),
        (Some(1), "UNSET 'no.such.property';"),
        (Some(1), "INSERT INTO a (nope) VALUES (1);"),
        (Some(1), "DROP STREAM readings;"),
        (Some(2), "TERMINATE csas_a_1; PAUSE csas_a_1;"),
        (
            Some(3),
            "DROP STREAM a DELETE TOPIC; CREATE TYPE t AS INT; CREATE STREAM b (x INT) WITH (KAFKA_TOPIC = 'A', VALUE_FORMAT = 'JSON');",
        ),
        (None, "TERMINATE csas_a_1; DROP STREAM readings; DROP STREAM a;"),
        (
            None,
            "SELECT * FROM a; SELECT * FROM a EMIT CHANGES; EXPLAIN csas_a_1; DESCRIBE a; PAUSE ALL; CREATE TYPE t AS INT;",
        ),
    ] {
        let parsed = engine.parse(&format!("{copy} {rest}"), &session).unwrap();
        let found = engine.validate(&parsed, &session);
        assert_eq!(found.as_ref().err().map(|(at, _)| *at), wrong, "{rest}: {found:?}");
    }
    assert_eq!(format!("{:?}", seen(&engine)), before, "validation changes nothing");
}

#[test]
fn push_queries_that_ksqldb_scales_tell_rows_with_a_key_only() {
    let world = World::new();
    let engine = world.engine();
    let stream = "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);";
    run(&engine, &format!("{stream} CREATE STREAM copy AS SELECT * FROM s;"));
    let told = |v2: &str, reset: &str, sql: &str| {
        let mut session = Session::default();
        session.set("ksql.query.push.v2.enabled", v2).unwrap();
        session.set("auto.offset.reset", reset).unwrap();
        let Some(Answer::Rows(rows)) = engine.run(sql, &mut session).unwrap().pop() else { panic!("{sql}") };
        let mut set = RecordSet::default();
        for (key, value) in
            [(None, "{\"N\":1}"), (Some("a"), "{\"N\":2}"), (None, "{\"N\":3}"), (Some("b"), "{\"N\":4}")]
        {
            set.push(0, 5, key.map(str::as_bytes), Some(value.as_bytes()));
        }
        world.log.append("s", &set).unwrap();
        engine.drive().unwrap();
        collect(rows).unwrap().rows
    };
    assert_eq!(told("true", "latest", "SELECT n FROM copy EMIT CHANGES LIMIT 2;"), ["2", "4"]);
    assert_eq!(told("false", "latest", "SELECT n FROM copy EMIT CHANGES LIMIT 2;"), ["1", "2"]);
    // No query writes this one, and the other reads what was there before.
    assert_eq!(told("true", "latest", "SELECT n FROM s EMIT CHANGES LIMIT 2;"), ["1", "2"]);
    assert_eq!(told("true", "earliest", "SELECT n FROM copy EMIT CHANGES LIMIT 2;"), ["1", "2"]);
}
