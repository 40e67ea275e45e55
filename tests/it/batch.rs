//! Batch queries over the simulated log: what they answer, and that it is what the stream would have come to.

use crate::plan::{Done, World};
use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use std::sync::Arc;
use tidegate::error::Result;
use tidegate::execute::batch::{self, History};
use tidegate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool};
use tidegate::format::frame::NoSchemas;
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::plan::BatchPlan;
use tidegate::types::clock::ManualClock;

const SOURCES: &str = "
    CREATE STREAM s (id STRING KEY, car STRING, a INT, d DOUBLE)
      WITH (kafka_topic='s', partitions=3, value_format='JSON');
    CREATE TABLE t (id STRING PRIMARY KEY, n INT) WITH (kafka_topic='t', partitions=2, value_format='JSON');
    CREATE STREAM win (k STRING KEY, v INT)
      WITH (kafka_topic='win', partitions=1, value_format='JSON', window_type='tumbling', window_size='10 seconds');
    CREATE STREAM stamped (k STRING KEY, ts BIGINT)
      WITH (kafka_topic='stamped', partitions=1, value_format='JSON', timestamp='ts');
";

/// A record: partition, time, key, value.
type Record<'a> = (i32, i64, Option<&'a str>, Option<&'a str>);

fn history(log: &Arc<dyn Log>) -> History {
    let spill_pool = SpillPool::new(std::env::temp_dir().join("tidegate-tests"), MEMORY_BYTES);
    History {
        log: log.clone(),
        schemas: Arc::new(NoSchemas),
        spill_pool,
        memory_bytes: batch::MEMORY_BYTES,
        rows: batch::rows_of_a_batch(0),
        timeout: batch::TIMEOUT,
        ranges: None,
        system: Arc::default(),
    }
}

struct Fixture {
    world: World,
    log: Arc<dyn Log>,
}

impl Fixture {
    fn new() -> Fixture {
        let world = World::new(SOURCES);
        let log: Arc<dyn Log> = SimulatedLog::new(7, ManualClock::at(0));
        for source in world.catalog.all() {
            log.create_topic(&TopicSpec::new(&source.topic, source.partitions)).unwrap();
        }
        Fixture { world, log }
    }

    fn with(self, topic: &str, records: &[Record<'_>]) -> Fixture {
        let mut set = RecordSet::default();
        for (partition, time, key, value) in records {
            set.push(*partition, *time, key.map(str::as_bytes), value.map(str::as_bytes));
        }
        self.log.append(topic, &set).unwrap();
        self
    }

    fn plan(&mut self, sql: &str) -> Result<BatchPlan> {
        match self.world.run(sql)? {
            Done::Batch(plan) => Ok(plan),
            other => panic!("not a batch query: {other:?}"),
        }
    }

    fn run(&mut self, sql: &str) -> (Vec<String>, batch::BatchResult) {
        let plan = self.plan(sql).unwrap();
        let mut result = batch::run(&plan, &history(&self.log)).unwrap();
        let rows = result.by_ref().flat_map(|b| lines(&b.unwrap())).collect();
        (rows, result)
    }

    fn rows(&mut self, sql: &str) -> Vec<String> {
        self.run(sql).0
    }

    fn sorted(&mut self, sql: &str) -> Vec<String> {
        let mut rows = self.rows(sql);
        rows.sort();
        rows
    }
}

pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let cell = |column: &Arc<dyn Array>, row| match column.is_null(row) {
        true => "NULL".to_owned(),
        false => array_value_to_string(column, row).unwrap(),
    };
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|c| cell(c, row)).collect::<Vec<_>>().join("|"))
        .collect()
}

fn cars() -> Fixture {
    Fixture::new().with(
        "s",
        &[
            (0, 10, Some("k1"), Some(r#"{"CAR":"red","A":1,"D":0.5}"#)),
            (0, 40, Some("k2"), Some(r#"{"CAR":"blue","A":2,"D":1.5}"#)),
            (1, 20, Some("k3"), Some(r#"{"CAR":"red","A":3}"#)),
            (1, 15, Some("k4"), Some(r#"{"CAR":null,"A":4,"D":2}"#)),
            (2, 20, Some("k5"), None),
            (2, 30, Some("k6"), Some("not json")),
            (2, 50, None, Some(r#"{"CAR":"red","D":4}"#)),
        ],
    )
}

#[test]
fn a_stream_is_read_in_canonical_order() {
    let mut fixture = cars();
    let (rows, result) = fixture.run("SELECT id, car, a, rowtime, rowpartition, rowoffset FROM s;");
    assert_eq!(
        rows,
        [
            "k1|red|1|10|0|0",
            "k3|red|3|20|1|0",
            // Not re-sorted within its partition.
            "k4|NULL|4|15|1|1",
            "k5|NULL|NULL|20|2|0",
            "k2|blue|2|40|0|1",
            "NULL|red|NULL|50|2|2",
        ]
    );
    assert_eq!(result.bad(), 1);
    assert_eq!(result.columns().iter().map(|c| c.name.as_str()).collect::<Vec<_>>()[..2], ["ID", "CAR"]);
    assert_eq!(fixture.rows("SELECT id FROM s LIMIT 2;"), ["k1", "k3"]);
}

#[test]
fn expressions_and_filters_mean_what_they_mean_in_a_stream() {
    let mut fixture = cars();
    // `NOT (a = 2)` keeps a row whose `a` is NULL, `NOT (a + 1 = 3)` does not; a row without a value passes no WHERE.
    assert_eq!(fixture.rows("SELECT id, a FROM s WHERE NOT (a = 2);"), ["k1|1", "k3|3", "k4|4", "NULL|NULL"]);
    assert_eq!(fixture.rows("SELECT id FROM s WHERE NOT (a + 1 = 3);"), ["k1", "k3", "k4"]);
    // Integer division truncates; the whole value of a record without one is NULL.
    assert_eq!(
        fixture.rows("SELECT id, a / 2, COALESCE(car, 'none') FROM s;"),
        ["k1|0|red", "k3|1|red", "k4|2|none", "k5|NULL|NULL", "k2|1|blue", "NULL|NULL|red"]
    );
}

#[test]
fn aggregates_have_ksqldbs_quirks() {
    let mut fixture = cars();
    assert_eq!(
        fixture.sorted("SELECT car, COUNT(*), COUNT(a), SUM(a), AVG(a), SUM(d), MIN(a), MAX(d) FROM s GROUP BY car;"),
        // NULL group keys are dropped, and so is the record without a value.
        ["blue|1|1|2|2.0|1.5|2|1.5", "red|3|2|4|2.0|4.5|1|4.0"]
    );
    assert_eq!(fixture.sorted("SELECT car, COUNT(*) FROM s GROUP BY car HAVING COUNT(*) > 1;"), ["red|3"]);
    // SUM and AVG of nothing are 0, MIN of nothing is NULL.
    assert_eq!(
        fixture.rows("SELECT SUM(a), AVG(a), MIN(a), COUNT(*) FROM s WHERE a > 100 GROUP BY car;"),
        Vec::<String>::new()
    );
    assert_eq!(
        fixture.rows("SELECT id, SUM(d), AVG(d), MIN(d) FROM s WHERE id = 'k3' GROUP BY id;"),
        ["k3|0.0|0.0|NULL"]
    );
    // INTEGER sums wrap around.
    let mut fixture = Fixture::new()
        .with("s", &[(0, 1, Some("k"), Some(r#"{"A":2147483647}"#)), (0, 2, Some("k"), Some(r#"{"A":1}"#))]);
    assert_eq!(fixture.rows("SELECT id, SUM(a) FROM s GROUP BY id;"), ["k|-2147483648"]);
}

#[test]
fn late_rows_are_dropped_per_partition_and_counted() {
    let windowed = "SELECT id, windowstart, windowend, COUNT(*) FROM s
                    WINDOW TUMBLING (SIZE 10 MILLISECONDS, GRACE PERIOD 5 MILLISECONDS) GROUP BY id;";
    let value = Some(r#"{"A":1}"#);
    let mut fixture = Fixture::new().with(
        "s",
        &[
            (0, 5, Some("a"), value),
            (0, 14, Some("a"), value),
            (0, 6, Some("a"), value),
            // Closes 0..10 in this partition, whatever the key.
            (0, 15, Some("b"), value),
            (0, 7, Some("a"), value),
            (0, 12, Some("a"), value),
            // Another partition has another time.
            (1, 7, Some("a"), value),
        ],
    );
    let (mut rows, result) = fixture.run(windowed);
    rows.sort();
    assert_eq!(rows, ["a|0|10|3", "a|10|20|2", "b|10|20|1"]);
    assert_eq!(result.late(), 1);
    let hopping = "SELECT id, windowstart, COUNT(*) FROM s
                   WINDOW HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 5 MILLISECONDS, GRACE PERIOD 0 MILLISECONDS)
                   WHERE rowpartition = 0 AND id = 'a' GROUP BY id;";
    // The row at 6 comes when 0..10 is closed, but 5..15 is not; 7 likewise.
    let (mut rows, result) = fixture.run(hopping);
    rows.sort();
    assert_eq!(rows, ["a|0|1", "a|10|2", "a|5|5"]);
    assert_eq!(result.late(), 2);
}

#[test]
fn a_key_that_changes_decides_the_partition_whose_time_counts() {
    // Both source partitions feed one target partition per car: the row at 5 meets a time of 100.
    let mut fixture = Fixture::new().with(
        "s",
        &[
            (0, 100, Some("x"), Some(r#"{"CAR":"red"}"#)),
            (0, 5, Some("x"), Some(r#"{"CAR":"red"}"#)),
            (1, 101, Some("y"), Some(r#"{"CAR":"red"}"#)),
        ],
    );
    let (mut rows, result) = fixture.run(
        "SELECT car, windowstart, COUNT(*) FROM s
         WINDOW TUMBLING (SIZE 10 MILLISECONDS, GRACE PERIOD 0 MILLISECONDS) GROUP BY car;",
    );
    rows.sort();
    assert_eq!(rows, ["red|100|2"]);
    assert_eq!(result.late(), 1);
}

#[test]
fn a_table_is_its_last_values() {
    let mut fixture = Fixture::new().with(
        "t",
        &[
            (0, 1, Some("a"), Some(r#"{"N":1}"#)),
            (0, 2, Some("b"), Some(r#"{"N":2}"#)),
            (0, 3, Some("a"), Some(r#"{"N":3}"#)),
            (1, 4, Some("c"), Some(r#"{"N":4}"#)),
            (0, 5, Some("b"), None),
            (1, 6, Some("d"), Some(r#"{"N":null}"#)),
            (1, 7, None, Some(r#"{"N":9}"#)),
        ],
    );
    assert_eq!(fixture.rows("SELECT * FROM t;"), ["a|3", "c|4", "d|NULL"]);
    assert_eq!(fixture.rows("SELECT id FROM t WHERE n > 3;"), ["c"]);
    assert_eq!(fixture.rows("SELECT COUNT(*), SUM(n) FROM t;"), ["3|7"]);
    assert_eq!(fixture.rows("SELECT n, COUNT(*) FROM t WHERE n = 3 GROUP BY n;"), ["3|1"]);
}

#[test]
fn windowed_keys_and_time_columns_are_read() {
    let mut set = RecordSet::default();
    let key = [b"a".as_slice(), &20_000_i64.to_be_bytes()].concat();
    set.push(0, 3, Some(&key), Some(br#"{"V":5}"#));
    let mut fixture = Fixture::new().with(
        "stamped",
        &[
            (0, 1, Some("x"), Some(r#"{"TS":77}"#)),
            (0, 2, Some("y"), Some(r#"{"TS":-5}"#)),
            (0, 3, Some("z"), Some(r#"{"TS":null}"#)),
        ],
    );
    fixture.log.append("win", &set).unwrap();
    assert_eq!(fixture.rows("SELECT * FROM win;"), ["a|20000|30000|5"]);
    let (rows, result) = fixture.run("SELECT k, rowtime FROM stamped;");
    assert_eq!((rows, result.bad()), (vec!["x|77".to_owned()], 2));
}

#[test]
fn any_sql_runs_over_the_same_sources() {
    let mut fixture =
        cars().with("t", &[(0, 1, Some("k1"), Some(r#"{"N":1}"#)), (0, 2, Some("k2"), Some(r#"{"N":2}"#))]);
    assert_eq!(
        fixture.rows("SELECT x.car, t.n FROM s x JOIN t ON x.id = t.id ORDER BY t.n DESC;"),
        ["blue|2", "red|1"]
    );
    assert_eq!(
        fixture.rows(
            "WITH c AS (SELECT car, COUNT(*) AS n FROM s GROUP BY car) SELECT car, n FROM c WHERE n > 1 ORDER BY n;"
        ),
        // A row whose group is NULL is left out, as everywhere.
        ["red|3"]
    );
    assert_eq!(fixture.rows("SELECT id FROM s ORDER BY rowtime DESC, id LIMIT 1;"), ["NULL"]);
    // `*` shows the source's own columns.
    let (_, result) = fixture.run("SELECT * FROM s ORDER BY a;");
    let names: Vec<&str> = result.columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["ID", "CAR", "A", "D"]);
    assert_eq!(
        fixture.rows("SELECT id FROM s WHERE a = 1 UNION ALL SELECT id FROM t ORDER BY id;"),
        ["k1", "k1", "k2"]
    );
    let error = fixture.plan("SELECT nope FROM s ORDER BY 1;").unwrap_err();
    assert_eq!(error.message(), "SELECT column 'NOPE' cannot be resolved.");
}

#[test]
fn an_answer_ends_where_the_topics_ended() {
    let mut fixture = cars();
    let plan = fixture.plan("SELECT id FROM s;").unwrap();
    let result = batch::run(&plan, &history(&fixture.log)).unwrap();
    let fixture = fixture.with("s", &[(0, 99, Some("later"), Some("{}"))]);
    let rows: Vec<String> = result.flat_map(|b| lines(&b.unwrap())).collect();
    assert_eq!(rows.len(), 6);
    drop(fixture);
}

#[test]
fn many_rows_come_merged_and_whole() {
    let mut set = RecordSet::default();
    for i in 0..30_000_i64 {
        set.push(
            (i % 3) as i32,
            i,
            Some(format!("k{}", i % 100).as_bytes()),
            Some(format!("{{\"A\":{i}}}").as_bytes()),
        );
    }
    let mut fixture = Fixture::new();
    fixture.log.append("s", &set).unwrap();
    let rows = fixture.rows("SELECT a FROM s;");
    assert_eq!(rows, (0..30_000).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(fixture.rows("SELECT a FROM s LIMIT 5;").len(), 5);
    let counts = fixture.rows("SELECT id, COUNT(*) FROM s GROUP BY id;");
    assert_eq!(counts.len(), 100);
    assert!(counts.iter().all(|row| row.ends_with("|300")), "{counts:?}");
}
