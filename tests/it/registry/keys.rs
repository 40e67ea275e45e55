//! Keys whose records have ids of two schemas, in different partitions: one key to every query, in the order of the records' times.

use super::reading::rows;
use super::{World, run, schema};
use tidegate::catalog::SchemaType;
use tidegate::engine::Engine;
use tidegate::log::{Log, RecordSet};

/// The partition of the key 7 by each of its ids.
const PLACES: [(u32, i32); 2] = [(5, 0), (6, 2)];
const WITH: &str = "KEY_FORMAT='AVRO', VALUE_FORMAT='DELIMITED', PARTITIONS=3";
const WINDOWS: &str = "WINDOW_TYPE='TUMBLING', WINDOW_SIZE='10 SECONDS'";

/// The key 7 by the schema with this id, and the start of its window.
fn key(id: u32, window: Option<i64>) -> Vec<u8> {
    let [a, b, c, d] = id.to_be_bytes();
    let mut key = vec![0, a, b, c, d, 14];
    key.extend(window.iter().flat_map(|start| start.to_be_bytes()));
    key
}

fn world() -> World {
    let world = World::new();
    for topic in ["t", "u", "v", "w", "x"] {
        world.registry.put(&format!("{topic}-key"), 5, &schema(SchemaType::Avro, "\"int\""));
        world.registry.put(&format!("{topic}-key"), 6, &schema(SchemaType::Avro, "{\"type\":\"int\",\"x\":1}"));
    }
    world
}

/// A record of the key by the first or the second of its ids.
fn put(world: &World, topic: &str, time: i64, nth: usize, window: Option<i64>, value: Option<&str>) {
    let (id, partition) = PLACES[nth];
    let mut set = RecordSet::default();
    set.push(partition, time, Some(&key(id, window)), value.map(str::as_bytes));
    world.log.append(topic, &set).unwrap();
}

fn tables(engine: &Engine) {
    run(engine, &format!("CREATE TABLE t (k INT PRIMARY KEY, g STRING, v INT) WITH (KAFKA_TOPIC='t', {WITH});"));
    for query in [
        "copy WITH (VALUE_FORMAT='JSON') AS SELECT k, v FROM t",
        "large WITH (VALUE_FORMAT='JSON') AS SELECT k, v FROM t WHERE v > 0",
        "groups WITH (KEY_FORMAT='KAFKA', VALUE_FORMAT='JSON') AS SELECT g, COUNT(*) AS n, SUM(v) AS s FROM t GROUP BY g",
    ] {
        run(engine, &format!("CREATE TABLE {query};"));
    }
}

#[test]
fn a_table_has_one_row_for_a_key_in_two_partitions() {
    let world = world();
    let engine = world.engine();
    tables(&engine);
    // The later record is read first if partitions are read one after the other.
    put(&world, "t", 2_000, 0, None, Some("b,2"));
    put(&world, "t", 1_000, 1, None, Some("a,1"));
    engine.drive().unwrap();
    let all = |engine: &Engine| {
        let tables = ["SELECT k, v FROM copy;", "SELECT k, v FROM large;", "SELECT g, n, s FROM groups;"];
        tables.map(|sql| rows(engine, sql).join(", "))
    };
    assert_eq!(all(&engine), ["7 | 2", "7 | 2", "a | 0 | 0, b | 1 | 2"]);
    assert_eq!(rows(&engine, "SELECT k, v FROM t;"), ["7 | 2"], "history");

    // What is known of the key is there after a restart, whichever id comes next.
    drop(engine);
    let engine = world.engine();
    put(&world, "t", 3_000, 1, None, Some("a,-3"));
    engine.drive().unwrap();
    assert_eq!(all(&engine), ["7 | -3", "", "a | 1 | -3, b | 0 | 0"]);
    put(&world, "t", 4_000, 0, None, None);
    engine.drive().unwrap();
    assert_eq!(all(&engine), ["", "", "a | 0 | 0, b | 0 | 0"]);
}

#[test]
fn windowed_keys_in_two_partitions_meet() {
    let world = world();
    let engine = world.engine();
    run(
        &engine,
        &format!(
            "CREATE STREAM u (k INT KEY, a INT) WITH (KAFKA_TOPIC='u', {WINDOWS}, {WITH});
             CREATE STREAM v (k INT KEY, b INT) WITH (KAFKA_TOPIC='v', {WINDOWS}, {WITH});
             CREATE STREAM j WITH (VALUE_FORMAT='JSON') AS SELECT u.k AS k, a, b FROM u JOIN v WITHIN 1 HOUR ON u.k = v.k;"
        ),
    );
    put(&world, "u", 1_000, 0, Some(0), Some("1"));
    put(&world, "u", 12_000, 1, Some(10_000), Some("2"));
    put(&world, "v", 2_000, 1, Some(0), Some("3"));
    put(&world, "v", 13_000, 1, Some(20_000), Some("4"));
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT k, a, b FROM j;"), ["7 | 1 | 3"]);
}

#[test]
fn a_row_of_a_join_is_found_by_both_ids_of_its_key() {
    let world = world();
    let engine = world.engine();
    run(
        &engine,
        &format!(
            "CREATE TABLE w (k INT PRIMARY KEY, r INT) WITH (KAFKA_TOPIC='w', {WITH});
             CREATE TABLE x (k INT PRIMARY KEY, b INT) WITH (KAFKA_TOPIC='x', {WITH});
             CREATE TABLE pairs WITH (VALUE_FORMAT='JSON') AS SELECT w.k AS k, r, b FROM w JOIN x ON w.k = x.k;
             CREATE TABLE named WITH (VALUE_FORMAT='JSON') AS SELECT w.k AS k, r, b FROM w JOIN x ON w.r = x.k;"
        ),
    );
    put(&world, "w", 1_000, 0, None, Some("1"));
    put(&world, "x", 2_000, 1, None, Some("2"));
    put(&world, "w", 3_000, 1, None, Some("7"));
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT k, r, b FROM pairs;"), ["7 | 7 | 2"]);
    assert_eq!(rows(&engine, "SELECT k, r, b FROM named;"), ["7 | 7 | 2"]);
    put(&world, "x", 4_000, 0, None, Some("5"));
    put(&world, "w", 5_000, 0, None, Some("7"));
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT k, r, b FROM named WHERE k = 7;"), ["7 | 7 | 5"]);
    put(&world, "x", 6_000, 1, None, None);
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT k, r, b FROM pairs;"), [""; 0]);
    assert_eq!(rows(&engine, "SELECT k, r, b FROM named;"), [""; 0]);
}
