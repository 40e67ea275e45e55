//! Keys of several writers: the id of the writer's schema is part of the bytes, but not of the key. Two ids of one key are one
//! key to tables, lookups, groups and joins, whatever partitions they are in.

use crate::batch::lines;
use crate::format::registered::{schemas, written_by};
use crate::plan::{Done, World};
use std::sync::Arc;
use tidegate::catalog::{Format, Source};
use tidegate::execute::batch::{self, History};
use tidegate::execute::pull::materialized_view::{Feed, View};
use tidegate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool};
use tidegate::format::frame::{self, SharedSchemas};
use tidegate::format::window_key;
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::plan::WindowBounds;
use tidegate::types::clock::ManualClock;

const SOURCES: &str = "
    CREATE TABLE t (k STRING PRIMARY KEY, v INT) WITH (kafka_topic='t', partitions=3, value_format='JSON');
    CREATE STREAM s (k STRING KEY, a INT) WITH (kafka_topic='s', partitions=3, value_format='JSON');
    CREATE TABLE w (k STRING PRIMARY KEY, v INT)
      WITH (kafka_topic='w', partitions=3, value_format='JSON', window_type='tumbling', window_size='10 seconds');
";
/// The sources' own schema, and that of another writer.
const OWN: u32 = 7;
const OTHER: u32 = 9;
const ID_7: &str = "\"string\"";
const ID_9: &str = r#"["null","string"]"#;

fn key(id: u32, text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    frame::write(id, &mut bytes);
    if id == OTHER {
        bytes.push(2);
    }
    bytes.push(2 * text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn known() -> SharedSchemas {
    schemas(&[(OWN, ID_7), (OTHER, ID_9)])
}

struct Fixture {
    world: World,
    log: Arc<dyn Log>,
}

impl Fixture {
    fn new() -> Fixture {
        let mut world = World::new(SOURCES);
        let log: Arc<dyn Log> = SimulatedLog::new(7, ManualClock::at(0));
        let sources: Vec<Arc<Source>> = world.catalog.all().cloned().collect();
        for source in sources {
            log.create_topic(&TopicSpec::new(&source.topic, source.partitions)).unwrap();
            let wire = written_by(OWN as i32, ID_7);
            world.catalog.define(Source { key_format: Format::Avro, key_wire: wire, ..Source::clone(&source) });
        }
        Fixture { world, log }
    }

    fn with(self, topic: &str, records: &[(i32, i64, Vec<u8>, Option<&str>)]) -> Fixture {
        let mut set = RecordSet::default();
        for (partition, time, key, value) in records {
            set.push(*partition, *time, Some(key), value.map(str::as_bytes));
        }
        self.log.append(topic, &set).unwrap();
        self
    }

    fn rows(&mut self, sql: &str) -> Vec<String> {
        let Done::Batch(plan) = self.world.run(sql).unwrap() else { panic!("{sql} is no batch query") };
        let history = History {
            log: self.log.clone(),
            schemas: known(),
            spill_pool: SpillPool::new(std::env::temp_dir().join("tidegate-tests"), MEMORY_BYTES),
            memory_bytes: batch::MEMORY_BYTES,
            rows: batch::rows_of_a_batch(0),
            timeout: batch::TIMEOUT,
            ranges: None,
            system: Default::default(),
        };
        let mut result = batch::run(&plan, &history).unwrap();
        let mut rows: Vec<String> = result.by_ref().flat_map(|b| lines(&b.unwrap())).collect();
        rows.sort();
        rows
    }

    /// The values that a view of the source finds for a key.
    fn found(&self, source: &str, text: &str) -> Vec<String> {
        let source = self.world.catalog.source(source).unwrap();
        let view = Arc::new(View::new(source, None, &known(), ManualClock::at(0)));
        assert!(view.open(&*self.log, Feed::Commits).unwrap());
        let mut found = vec![];
        let keys = [(key(OWN, text), WindowBounds::ALL)];
        assert!(view.find(&keys, &mut |row| found.push(String::from_utf8(row.value.to_vec()).unwrap())));
        found
    }
}

fn tables() -> Fixture {
    Fixture::new().with(
        "t",
        &[
            (0, 10, key(OWN, "a"), Some(r#"{"V":1}"#)),
            (1, 5, key(OWN, "b"), Some(r#"{"V":3}"#)),
            (2, 20, key(OTHER, "a"), Some(r#"{"V":2}"#)),
            (2, 30, key(OTHER, "b"), None),
            (1, 31, key(OTHER, "c"), Some(r#"{"V":4}"#)),
        ],
    )
}

#[test]
fn a_table_has_one_row_for_a_key_of_two_writers() {
    let mut tables = tables();
    assert_eq!(tables.rows("SELECT k, v FROM t;"), ["a|2", "c|4"]);
    assert_eq!(tables.rows("SELECT COUNT(*) AS n, SUM(v) AS v FROM t;"), ["2|6"]);
}

#[test]
fn a_lookup_finds_a_key_of_another_writer() {
    let tables = tables();
    assert_eq!(tables.found("T", "a"), [r#"{"V":2}"#]);
    assert_eq!(tables.found("T", "b"), [""; 0]);
    assert_eq!(tables.found("T", "c"), [r#"{"V":4}"#]);
}

#[test]
fn the_window_of_a_key_stays_behind_it() {
    let windowed = |id, text, start| {
        let mut bytes = key(id, text);
        window_key::append_time(start, &mut bytes);
        bytes
    };
    let tables = Fixture::new().with(
        "w",
        &[
            (0, 10, windowed(OWN, "a", 0), Some(r#"{"V":1}"#)),
            (2, 11, windowed(OTHER, "a", 10_000), Some(r#"{"V":2}"#)),
            (2, 12, windowed(OTHER, "a", 0), Some(r#"{"V":3}"#)),
        ],
    );
    assert_eq!(tables.found("W", "a"), [r#"{"V":3}"#, r#"{"V":2}"#]);
}

#[test]
fn keys_of_two_writers_meet_in_groups_and_joins() {
    let mut both = tables().with(
        "s",
        &[
            (0, 40, key(OWN, "a"), Some(r#"{"A":5}"#)),
            (1, 41, key(OTHER, "a"), Some(r#"{"A":6}"#)),
            (2, 42, key(OWN, "c"), Some(r#"{"A":7}"#)),
        ],
    );
    assert_eq!(both.rows("SELECT k, COUNT(*) AS n FROM s GROUP BY k;"), ["a|2", "c|1"]);
    let joined = "SELECT s.k AS k, a, v FROM s JOIN t ON s.k = t.k;";
    assert_eq!(both.rows(joined), ["a|5|2", "a|6|2", "c|7|4"]);
}
