//! Errors of expressions beside NULL: what a failed part makes of the whole, and what is logged about it, in a continuous
//! query and in a SELECT without EMIT alike.

use crate::rows;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet};
use tidegate::types::clock::{ManualClock, SharedClock};

/// `a` and `b` are NULL, `z` is 0, `s` is no number.
const ROW: &str =
    r#"{"Z":0,"S":"x","TOP":2147483647,"LOW":-2147483648,"LONG":-9223372036854775808,"N":"NaN","SEVEN":7}"#;

/// What of a row comes out of the columns and of WHERE, `None` = it is dropped, and what is logged: both must be so in the
/// continuous query; the batch query has the same values.
struct World {
    engine: Engine,
    session: Session,
    made: usize,
}

impl World {
    fn new() -> World {
        let clock: SharedClock = ManualClock::at(0);
        let log = SimulatedLog::new(1, clock.clone());
        let mut config = Config::new(LogConfig::Temporary);
        config.properties.insert("cache.max.bytes.buffering".to_owned(), "0".to_owned());
        let engine = Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap();
        let mut session = Session::default();
        session.set("auto.offset.reset", "earliest").unwrap();
        let source = "CREATE STREAM i (id STRING KEY, a INT, b BOOLEAN, z INT, s STRING, top INT, low INT, long BIGINT,
                        n DOUBLE, seven INT) WITH (KAFKA_TOPIC='i', VALUE_FORMAT='JSON', PARTITIONS=1);";
        engine.run(source, &mut session).unwrap();
        let mut set = RecordSet::default();
        set.push(0, 1, Some(b"k"), Some(ROW.as_bytes()));
        log.append("i", &set).unwrap();
        World { engine, session, made: 0 }
    }

    fn rows(&mut self, sql: &str) -> Vec<String> {
        let mut answers = self.engine.run(sql, &mut self.session).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let Some(Answer::Rows(stream)) = answers.pop() else { panic!("no rows: {sql}") };
        rows::collect(stream).unwrap().rows
    }

    /// The only column of both results, and what the continuous query logged.
    fn ask(&mut self, select: &str, condition: &str) -> (Option<String>, Vec<String>) {
        self.made += 1;
        let name = format!("o{}", self.made);
        let create = format!("CREATE STREAM {name} AS SELECT id, {select} AS v FROM i {condition};");
        self.engine.run(&create, &mut self.session).unwrap_or_else(|e| panic!("{create}: {e:?}"));
        self.engine.drive().unwrap();
        let continuous = self.rows(&format!("SELECT v FROM {name};"));
        let batch = self.rows(&format!("SELECT {select} AS v FROM i {condition};"));
        assert_eq!(continuous, batch, "{select} {condition}: the continuous answer and that of the batch query");
        assert!(batch.len() < 2);
        let (_, query) = self.engine.queries().pop().unwrap();
        let logged: Vec<String> = query.bad().into_iter().map(|bad| bad.reason).collect();
        // A row with a column set to NULL is written: it does not count as one that could not be used.
        let left_out = logged.iter().filter(|reason| reason.starts_with("condition")).count();
        assert_eq!(query.counts().bad as usize, left_out);
        (batch.into_iter().next(), logged)
    }

    fn value(&mut self, expression: &str, want: &str, logged: usize) {
        let (value, log) = self.ask(expression, "");
        assert_eq!((value.as_deref(), log.len()), (Some(want), logged), "{expression}: {log:?}");
    }

    fn condition(&mut self, condition: &str, keeps: bool, logged: usize) {
        let (value, log) = self.ask("seven", &format!("WHERE {condition}"));
        assert_eq!((value.is_some(), log.len()), (keeps, logged), "{condition}: {log:?}");
    }
}

#[test]
fn arithmetic_on_null_fails_past_coalesce_to_the_end_of_the_column() {
    World::new().value("COALESCE(a + 1, 0)", "NULL", 1);
}

#[test]
fn a_failed_cast_is_null_where_it_stands() {
    World::new().value("COALESCE(CAST(s AS INT), 0)", "0", 1);
}

#[test]
fn an_element_of_an_array_fails_alone() {
    World::new().value("ARRAY[1 / z, 2]", "[null,2]", 1);
}

#[test]
fn and_does_not_look_at_its_right_side_when_the_left_one_is_false() {
    let mut world = World::new();
    world.value("z = 1 AND 1 / z = 1", "false", 0);
    world.condition("z = 0 OR 1 / z = 1", true, 0);
    world.value("CASE WHEN z = 0 THEN 5 ELSE 1 / z END", "5", 0);
}

#[test]
fn a_boolean_that_is_null_fails_in_and() {
    World::new().value("b AND true", "NULL", 1);
}

#[test]
fn not_keeps_a_comparison_with_null_and_drops_a_failure() {
    let mut world = World::new();
    world.condition("NOT (a > 5)", true, 0);
    world.condition("NOT (a + 1 > 5)", false, 1);
    world.condition("a > 5", false, 0);
    // Inside of WHERE an inner failure fails the whole condition.
    world.condition("COALESCE(CAST(s AS INT), 0) = 0", false, 1);
}

#[test]
fn integers_wrap_around() {
    let mut world = World::new();
    world.value("top + 1", "-2147483648", 0);
    world.value("low / -1", "-2147483648", 0);
    world.value("long / -1", "-9223372036854775808", 0);
    world.value("long - 1", "9223372036854775807", 0);
}

#[test]
fn division_by_zero_fails_for_integers_only() {
    let mut world = World::new();
    world.value("7 / 0", "NULL", 1);
    world.value("seven / z", "NULL", 1);
    world.value("7.0e0 / 0", "Infinity", 0);
}

#[test]
fn nan_equals_nothing() {
    let mut world = World::new();
    world.value("n", "NaN", 0);
    world.value("n = n", "false", 0);
    world.condition("n = n", false, 0);
}
