//! Queries without EMIT on tables that queries keep: the committed rows give the answer that the topic gives, at any moment.
//!
//! A seed decides the records, how the log misbehaves, the statements, and when they are asked: between two turns of a
//! running query, so that commits are put into an open view, some of them after aborts. What is asked twice is answered
//! without being planned again, and has to say the same.

use crate::batches::Dice;
use crate::rows::collect;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Kind;
use tidegate::execute::batch::{self, History};
use tidegate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool};
use tidegate::execute::task::{Execution, Progress};
use tidegate::format::frame::NoSchemas;
use tidegate::log::simulated::{Faults, SimulatedLog};
use tidegate::log::{Log, RecordSet, partition};
use tidegate::parse::statement::Statement;
use tidegate::plan::{self, Settings};
use tidegate::types::cell;
use tidegate::types::clock::{ManualClock, SharedClock};

const SEEDS: u64 = 42;

const SOURCES: &str = "
    CREATE STREAM events (id INT KEY, team STRING, n INT) WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON', PARTITIONS=3);
    CREATE TABLE things (id INT PRIMARY KEY, team STRING, n INT)
      WITH (KAFKA_TOPIC='things', VALUE_FORMAT='JSON', PARTITIONS=3);
    CREATE TABLE others (id INT PRIMARY KEY, m INT) WITH (KAFKA_TOPIC='others', VALUE_FORMAT='JSON', PARTITIONS=3);";

/// A table: its query, key columns, value columns, has it windows.
type Table = (&'static str, &'static [&'static str], &'static [&'static str], bool);

const TABLES: [Table; 7] = [
    ("SELECT team, COUNT(*) AS c, SUM(n) AS s FROM events GROUP BY team", &["team"], &["c", "s"], false),
    ("SELECT id, COUNT(*) AS c, SUM(n) AS s FROM events GROUP BY id HAVING COUNT(*) < 4", &["id"], &["c", "s"], false),
    ("SELECT team, n, COUNT(*) AS c FROM events GROUP BY team, n", &["team", "n"], &["c"], false),
    (
        "SELECT id, COUNT(*) AS c, MAX(n) AS s FROM events
           WINDOW TUMBLING (SIZE 1 SECOND, RETENTION 1 DAY, GRACE PERIOD 1 SECOND) GROUP BY id",
        &["id"],
        &["c", "s"],
        true,
    ),
    (
        "SELECT team, COUNT(*) AS c, SUM(n) AS s FROM events WINDOW SESSION (1 SECOND) GROUP BY team",
        &["team"],
        &["c", "s"],
        true,
    ),
    ("SELECT id, team AS c, n + 1 AS s FROM things WHERE n > 20", &["id"], &["c", "s"], false),
    (
        "SELECT things.id AS id, n AS c, m AS s FROM things LEFT JOIN others ON things.id = others.id",
        &["id"],
        &["c", "s"],
        false,
    ),
];

fn literal(dice: &mut Dice, column: &str) -> String {
    match column {
        "team" => format!("'team {}'", dice.below(6)),
        "n" => dice.below(4).to_string(),
        _ => (dice.below(12) - 1).to_string(),
    }
}

fn condition(dice: &mut Dice, table: &Table, depth: usize) -> String {
    let (_, keys, values, windowed) = table;
    let key = keys[dice.below(keys.len() as i64) as usize];
    if depth > 0 && dice.one_in(2) {
        let (left, right) = (condition(dice, table, depth - 1), condition(dice, table, depth - 1));
        return match dice.below(4) {
            0 => format!("({left} OR {right})"),
            1 => format!("NOT ({left})"),
            _ => format!("{left} AND {right}"),
        };
    }
    let op = ["=", "<", "<=", ">", ">=", "<>"][dice.below(6) as usize];
    match dice.below(if *windowed { 9 } else { 6 }) {
        0 => keys.iter().map(|k| format!("{k} = {}", literal(dice, k))).collect::<Vec<_>>().join(" AND "),
        1 => format!("{} = {key}", literal(dice, key)),
        2 => format!("{key} IN ({}, {})", literal(dice, key), literal(dice, key)),
        3 => format!("{key} {op} {}", literal(dice, key)),
        4 => format!("{key} BETWEEN {} AND {}", literal(dice, key), literal(dice, key)),
        5 => format!("{} IS NOT NULL", values[dice.below(values.len() as i64) as usize]),
        6 => format!("WINDOWSTART {op} {}", dice.below(8) * 1000),
        7 => format!("WINDOWEND {op} {}", dice.below(8) * 1000),
        _ => format!("{key} = {} AND WINDOWSTART >= {}", literal(dice, key), dice.below(6) * 1000),
    }
}

fn statement(dice: &mut Dice, table: &Table) -> String {
    let (_, keys, values, _) = table;
    let items = match dice.below(3) {
        0 => "*".to_owned(),
        1 => format!("ROWTIME, {}", values[0]),
        _ => format!("{}, {}, {} AS again", keys[0], values[values.len() - 1], keys[0]),
    };
    match dice.one_in(5) {
        true => format!("SELECT {items} FROM kept;"),
        false => format!("SELECT {items} FROM kept WHERE {};", condition(dice, table, 2)),
    }
}

struct World {
    log: Arc<SimulatedLog>,
    clock: SharedClock,
    engine: Engine,
    session: Session,
    now: i64,
}

impl World {
    fn produce(&mut self, dice: &mut Dice) {
        let topic = ["events", "things", "others"][dice.below(3) as usize];
        let mut set = RecordSet::default();
        for _ in 0..dice.below(30) {
            self.now += dice.below(150);
            let key = (dice.below(10) as i32).to_be_bytes();
            let value = match topic {
                "others" => format!("{{\"M\":{}}}", dice.below(9)),
                _ => format!("{{\"TEAM\":\"team {}\",\"N\":{}}}", dice.below(5), dice.below(40) / (1 + dice.below(10))),
            };
            let value = (!dice.one_in(6)).then_some(value.as_bytes());
            let time = (self.now - dice.below(3000)).max(0);
            set.push(partition::java(&key, 3), time, Some(&key), value);
        }
        self.log.append(topic, &set).unwrap();
    }

    fn batch(&self, sql: &str) -> Vec<String> {
        let catalog = self.engine.catalog();
        let parsed = self.engine.parse(sql, &self.session).unwrap();
        let Statement::Select(select) = &parsed[0].statement else { panic!("{sql} is no SELECT") };
        let plan = plan::batch_query(select, &catalog, &Settings::default()).unwrap();
        let spill_pool = SpillPool::new(std::env::temp_dir().join("tidegate-tests"), MEMORY_BYTES);
        let result = batch::run(
            &plan,
            &History {
                log: self.log.clone(),
                schemas: Arc::new(NoSchemas),
                spill_pool,
                memory_bytes: batch::MEMORY_BYTES,
                rows: batch::rows_of_a_batch(0),
                timeout: batch::TIMEOUT,
                ranges: None,
                system: Default::default(),
            },
        )
        .unwrap();
        let types: Vec<_> = result.columns().iter().map(|c| c.ty.clone()).collect();
        let mut rows = Vec::new();
        for batch in result {
            let batch = batch.unwrap();
            let columns: Vec<_> = batch.columns().iter().zip(&types).map(|(c, ty)| cell::settled(c, ty)).collect();
            for row in 0..batch.num_rows() {
                let cells = columns.iter().map(|c| cell::display(c.as_ref(), row).unwrap());
                rows.push(cells.collect::<Vec<_>>().join(" | "));
            }
        }
        rows.sort();
        rows
    }

    fn pulled(&mut self, sql: &str) -> Vec<String> {
        let explained = self.engine.run(&format!("EXPLAIN {sql}"), &mut self.session).unwrap();
        assert!(format!("{explained:?}").contains("Pull: "), "{sql} is no pull query: {explained:?}");
        let Some(Answer::Rows(rows)) = self.engine.run(sql, &mut self.session).unwrap().pop() else { panic!("{sql}") };
        let mut rows = collect(rows).unwrap().rows;
        rows.sort();
        rows
    }

    /// The same without planning, if it was planned before.
    fn known(&self, sql: &str) -> Option<Vec<String>> {
        let rows = self.engine.known_lookup(sql, &self.session)?;
        let mut rows = collect(rows.unwrap()).unwrap().rows;
        rows.sort();
        Some(rows)
    }

    fn ask(&mut self, dice: &mut Dice, table: &Table, told: &str) -> usize {
        let mut known = 0;
        for _ in 0..3 {
            let sql = statement(dice, table);
            let want = self.batch(&sql);
            if let Some(rows) = self.known(&sql) {
                assert_eq!(rows, want, "{told}: {sql}, planned before");
                known += 1;
            }
            assert_eq!(self.pulled(&sql), want, "{told}: {sql}");
            if let Some(rows) = self.known(&sql) {
                assert_eq!(rows, want, "{told}: {sql}, asked again");
                known += 1;
            }
        }
        known
    }
}

fn check(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let clock: SharedClock = ManualClock::at(0);
    let log = SimulatedLog::new(seed, clock.clone());
    let mut config = Config::new(LogConfig::Temporary);
    if dice.one_in(2) {
        config.properties.insert("cache.max.bytes.buffering".to_owned(), "0".to_owned());
    }
    let engine = Engine::over(log.clone(), config, clock.clone(), Drive::ByHand).unwrap();
    let mut session = Session::default();
    session.set("auto.offset.reset", "earliest").unwrap();
    let table = TABLES[(seed % TABLES.len() as u64) as usize];
    engine.run(SOURCES, &mut session).unwrap();
    let format = ["JSON", "DELIMITED"][dice.below(2) as usize];
    // Ranges of keys in Kafka's format are compared by their bytes; it has one column.
    let key = if table.1.len() == 1 && dice.one_in(2) { "KAFKA" } else { "JSON" };
    let sql = format!("CREATE TABLE kept WITH (VALUE_FORMAT='{format}', KEY_FORMAT='{key}') AS {};", table.0);
    engine.run(&sql, &mut session).unwrap();
    let mut world = World { log, clock, engine, session, now: 0 };
    let (told, mut known) = (format!("seed {seed}: {sql}"), 0);
    for _ in 0..3 {
        let spec = world.engine.queries()[0].1.spec().unwrap().clone();
        world.log.faults(Faults::default());
        let progress = Arc::<Progress>::default();
        let mut execution = Execution::start(&*world.log, spec, world.clock.clone(), progress).unwrap();
        for _ in 0..2 + dice.below(4) {
            world.produce(&mut dice);
            world.log.faults(Faults {
                abort: 200,
                unknown: 100,
                short_poll: 200,
                empty_poll: 100,
                ..Faults::default()
            });
            let mut died = false;
            for _ in 0..dice.below(40) {
                world.clock.sleep(Duration::from_millis(20));
                if let Err(error) = execution.turn(Duration::ZERO) {
                    assert_eq!(error.kind(), Kind::Fenced, "{error}");
                    died = true;
                    break;
                }
            }
            world.log.faults(Faults::default());
            known += world.ask(&mut dice, &table, &told);
            if died {
                break;
            }
        }
    }
    known
}

#[test]
fn committed_rows_give_the_answer_of_the_topic() {
    let known: usize = (0..SEEDS).map(check).sum();
    assert!(known > SEEDS as usize, "only {known} lookups were answered without planning");
}

#[test]
fn a_change_of_the_catalogue_makes_known_lookups_unknown() {
    let clock: SharedClock = ManualClock::at(0);
    let log = SimulatedLog::new(1, clock.clone());
    let engine = Engine::over(log, Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
    let mut session = Session::default();
    engine.run(SOURCES, &mut session).unwrap();
    engine.run("CREATE TABLE kept AS SELECT id, team FROM things;", &mut session).unwrap();
    engine.run("INSERT INTO things VALUES (1, 'a', 1); INSERT INTO things VALUES (2, 'b', 1);", &mut session).unwrap();
    engine.drive().unwrap();
    let lookup = |id: i32| format!("SELECT * FROM kept WHERE id = {id};");
    let known = |engine: &Engine, session: &Session, id: i32| {
        engine.known_lookup(&lookup(id), session).map(|rows| collect(rows.unwrap()).unwrap().rows)
    };
    assert_eq!(known(&engine, &session, 1), None);
    engine.run(&lookup(1), &mut session).unwrap();
    assert_eq!(known(&engine, &session, 2), Some(vec!["2 | b".to_owned()]));
    assert_eq!(known(&engine, &session, 7), Some(Vec::new()));
    let mut other = session.clone();
    other.set("ksql.query.pull.table.scan.enabled", "false").unwrap();
    assert_eq!(known(&engine, &other, 1), None, "with other properties it is another statement");
    engine.run("CREATE OR REPLACE TABLE kept AS SELECT id, team, n FROM things;", &mut session).unwrap();
    assert_eq!(known(&engine, &session, 2), None);
    engine.drive().unwrap();
    engine.run("INSERT INTO things VALUES (2, 'c', 3);", &mut session).unwrap();
    engine.drive().unwrap();
    engine.run(&lookup(1), &mut session).unwrap();
    assert_eq!(known(&engine, &session, 2), Some(vec!["2 | c | 3".to_owned()]));
    engine.run("DROP TABLE kept;", &mut session).unwrap();
    assert_eq!(known(&engine, &session, 2), None);
    assert!(engine.run(&lookup(1), &mut session).is_err());
}
