//! VERIFY QUERY: a query that did its work equals its batch result, a row that another program wrote is named, and where there
//! is no proof it says why.

use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Error;
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicPartition};
use tidegate::types::cell;
use tidegate::types::clock::ManualClock;

const STATEMENTS: &str = "
    CREATE STREAM s (id STRING KEY, n INT, d DOUBLE) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);
    CREATE TABLE t (id STRING PRIMARY KEY, name STRING) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=2);
    CREATE STREAM mapped AS SELECT id, n * 2 AS twice, UCASE(id) AS big FROM s WHERE n > 1 EMIT CHANGES;
    CREATE TABLE grouped AS SELECT id, COUNT(*) AS c, SUM(d) AS total FROM s GROUP BY id EMIT CHANGES;
    CREATE TABLE windowed AS SELECT n, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY n EMIT CHANGES;
    CREATE TABLE sessions AS SELECT id, COUNT(*) AS c FROM s WINDOW SESSION (5 SECONDS) GROUP BY id EMIT CHANGES;
    CREATE STREAM joined AS SELECT s.id AS id, n, name FROM s JOIN t ON s.id = t.id EMIT CHANGES;
    CREATE TABLE last AS SELECT id, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY id EMIT FINAL;";

struct World {
    engine: Engine,
    log: std::sync::Arc<SimulatedLog>,
    session: Session,
}

impl World {
    fn new() -> World {
        let log = SimulatedLog::new(3, ManualClock::at(0));
        let (config, clock) = (Config::new(LogConfig::Temporary), ManualClock::at(0));
        let engine = Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap();
        let mut world = World { engine, log, session: Session::default() };
        world.say(STATEMENTS);
        world
    }

    fn say(&mut self, text: &str) {
        self.engine.run(text, &mut self.session).unwrap();
    }

    fn feed(&self) {
        let (mut table, mut stream) = (RecordSet::default(), RecordSet::default());
        for i in 0..40_i64 {
            let key = format!("k{}", i % 7);
            let partition = (i % 7 % 2) as i32;
            if i < 7 {
                table.push(partition, 0, Some(key.as_bytes()), Some(format!("{{\"NAME\":\"n{i}\"}}").as_bytes()));
            }
            let value = format!("{{\"N\":{},\"D\":{}.25}}", i % 5, i);
            stream.push(partition, i * 700, Some(key.as_bytes()), Some(value.as_bytes()));
        }
        self.log.append("t", &table).unwrap();
        self.log.append("s", &stream).unwrap();
        self.engine.drive().unwrap();
    }

    fn id(&self, name: &str) -> String {
        let queries = self.engine.queries();
        queries.iter().map(|(id, _)| id.clone()).find(|id| id.contains(&format!("_{name}_"))).unwrap()
    }

    /// What it says in the end, and the differences.
    fn verify(&mut self, name: &str) -> (Result<String, Error>, Vec<String>) {
        let id = self.id(name);
        let mut rows = match self.engine.run(&format!("VERIFY QUERY {id};"), &mut self.session) {
            Ok(mut answers) => match answers.pop() {
                Some(Answer::Rows(rows)) => rows,
                other => panic!("{other:?}"),
            },
            Err(e) => return (Err(e), vec![]),
        };
        let mut lines = vec![];
        loop {
            match rows.next(Duration::from_secs(1)) {
                Ok(RowEvent::Rows { columns, .. }) => {
                    for row in 0..columns[0].len() {
                        let cells = columns.iter().map(|c| cell::display(c.as_ref(), row).unwrap());
                        lines.push(cells.collect::<Vec<_>>().join(" / "));
                    }
                }
                Ok(RowEvent::Idle) => {}
                Ok(RowEvent::Done(text)) => return (Ok(text.unwrap_or_default()), lines),
                Err(e) => return (Err(e), lines),
            }
        }
    }
}

#[test]
fn queries_that_did_their_work_equal_their_batch_answers() {
    let mut world = World::new();
    let (told, _) = world.verify("MAPPED");
    assert!(told.unwrap().contains("equals its batch result: 0 rows"));
    for _ in 0..2 {
        world.feed();
        // What has come since is not history that they have read.
        let mut more = RecordSet::default();
        more.push(0, 90_000, Some(b"k0"), Some(b"{\"N\":4,\"D\":1.0}"));
        world.log.append("s", &more).unwrap();
        for name in ["MAPPED", "GROUPED", "WINDOWED", "SESSIONS", "JOINED"] {
            let (told, lines) = world.verify(name);
            let told = told.unwrap_or_else(|e| panic!("{name}: {e} {lines:?}"));
            assert!(told.contains("equals its batch result") && lines.is_empty(), "{name}: {told} {lines:?}");
        }
    }
}

#[test]
fn a_row_that_somebody_else_wrote_is_named() {
    let mut world = World::new();
    world.feed();
    let mut wrong = RecordSet::default();
    wrong.push(0, 1, Some(b"k0"), Some(b"{\"C\":99,\"TOTAL\":1.5}"));
    wrong.push(1, 1, Some(b"nobody"), Some(b"{\"C\":1,\"TOTAL\":1.5}"));
    world.log.append("GROUPED", &wrong).unwrap();
    let (told, lines) = world.verify("GROUPED");
    let error = told.unwrap_err();
    assert!(error.message().contains("differs from its batch result in 2 rows, 6 are equal"), "{error}");
    assert!(lines[0].starts_with("differs / k0 / k0 | 99 | 1.5 / k0 | 6 | "), "{lines:?}");
    assert!(lines[1].starts_with("too much / nobody / nobody | 1 | 1.5 / "), "{lines:?}");
    let mut twice = RecordSet::default();
    twice.push(0, 1, Some(b"k0"), Some(b"{\"TWICE\":8,\"BIG\":\"x\"}"));
    world.log.append("MAPPED", &twice).unwrap();
    let (told, lines) = world.verify("MAPPED");
    assert!(told.is_err() && lines.len() == 1 && lines[0].contains("k0 | 8 | x"), "{lines:?}");
}

#[test]
fn a_row_of_a_group_that_no_row_of_the_table_was_ever_in_is_named() {
    let mut world = World::new();
    world.say("CREATE TABLE names AS SELECT name, COUNT(*) AS c FROM t GROUP BY name EMIT CHANGES;");
    world.feed();
    let mut moved = RecordSet::default();
    moved.push(1, 5, Some(b"k1"), Some(b"{\"NAME\":\"other\"}"));
    moved.push(1, 6, Some(b"k3"), None);
    world.log.append("t", &moved).unwrap();
    world.engine.drive().unwrap();
    let (told, lines) = world.verify("NAMES");
    let told = told.unwrap_or_else(|e| panic!("{e} {lines:?}"));
    assert!(told.contains("equals its batch result: 6 rows") && told.contains("2 groups without rows kept"), "{told}");
    let mut wrong = RecordSet::default();
    wrong.push(1, 7, Some(b"nobody"), Some(b"{\"C\":1}"));
    world.log.append("NAMES", &wrong).unwrap();
    let (told, lines) = world.verify("NAMES");
    assert!(told.unwrap_err().message().contains("differs from its batch result in 1 row, 6 are equal"));
    assert!(lines.len() == 1 && lines[0].starts_with("too much / nobody / nobody | 1 / "), "{lines:?}");
}

#[test]
fn where_there_is_no_proof_it_says_why() {
    let mut world = World::new();
    world.feed();
    let (told, _) = world.verify("LAST");
    assert!(told.unwrap_err().message().contains("EMIT FINAL"));
    let unknown = world.engine.run("VERIFY QUERY nothing;", &mut world.session.clone()).unwrap_err();
    assert!(unknown.message().contains("Unknown queryId: NOTHING"), "{unknown}");
    world.log.delete_records(&TopicPartition::new("s", 0), 3).unwrap();
    let (told, _) = world.verify("GROUPED");
    let error = told.unwrap_err();
    assert!(error.message().contains("3 records of topic s partition 0 are gone"), "{error}");
    world.say("INSERT INTO mapped SELECT id, n AS twice, 'x' AS big FROM s EMIT CHANGES;");
    let (told, _) = world.verify("MAPPED");
    assert!(told.unwrap_err().message().contains("other queries"), "two writers");
}
