//! What only an ended query needed, where it cannot be deleted: the statement has succeeded and says what is left.

use crate::log_below::log_below;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::entity::{Entity, Status};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::{Error, Result};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Assignment, Isolation, Log, Reader, RecordSet};
use tidegate::types::clock::ManualClock;

/// A log that deletes no group at the moment.
#[derive(Debug)]
struct Crowded {
    below: Arc<SimulatedLog>,
    is_crowded: AtomicBool,
}

impl Log for Crowded {
    log_below!(but delete_group);

    fn delete_group(&self, group: &str) -> Result<()> {
        if self.is_crowded.load(Ordering::Relaxed) {
            return Err(Error::io("there is no room for the threads of another Kafka client"));
        }
        self.below.delete_group(group)
    }

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        self.below.reader(assignment, isolation)
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.below.append(topic, records)
    }
}

fn world() -> (Arc<Crowded>, Engine) {
    let clock = ManualClock::at(0);
    let log = Arc::new(Crowded { below: SimulatedLog::new(1, clock.clone()), is_crowded: AtomicBool::new(true) });
    let engine = Engine::over(log.clone(), Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
    let sources = "CREATE STREAM s (k STRING KEY, n INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);";
    status(&engine, sources);
    (log, engine)
}

fn status(engine: &Engine, sql: &str) -> Status {
    match engine.run(sql, &mut Session::default()).unwrap().pop() {
        Some(Answer::Entity(Entity::Status(status))) => status,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn a_statement_that_is_recorded_succeeds_and_says_what_is_left() {
    let (log, engine) = world();
    for end in ["DROP TABLE t;", "TERMINATE ALL;"] {
        let created = status(&engine, "CREATE TABLE t AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;");
        let id = created.query_id.unwrap();
        let Status { warnings, .. } = status(&engine, end);
        let [warning] = warnings.as_slice() else { panic!("{end}: {warnings:?}") };
        let expected = format!("of query {id} could not be deleted: there is no room for the threads");
        assert!(warning.contains(&expected), "{end}: {warning}");
        assert!(engine.run("EXPLAIN t;", &mut Session::default()).is_err() || end != "DROP TABLE t;");
        assert!(!engine.catalog().query_ids().contains(&id), "{end}");
    }
    log.is_crowded.store(false, Ordering::Relaxed);
    assert_eq!(status(&engine, "DROP TABLE t;").warnings, Vec::<String>::new());
}

#[test]
fn the_end_of_a_service_fails_where_a_group_is_left() {
    let (log, engine) = world();
    status(&engine, "CREATE TABLE t AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;");
    let error = engine.terminate_cluster(&[], &Session::default()).unwrap_err();
    assert!(error.message().contains("could not be deleted"), "{error}");
    assert!(!engine.is_over());
    log.is_crowded.store(false, Ordering::Relaxed);
    engine.terminate_cluster(&[], &Session::default()).unwrap();
    assert!(engine.is_over());
}
