//! Queries and lookups over records whose schemas are elsewhere: ids that exist, that do not, and a registry that is away.

use super::{World, columns, refused, run, schema};
use crate::rows::collect;
use std::time::Duration;
use tidegate::catalog::{SchemaText, SchemaType};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::persistent::State;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::log::embedded::EmbeddedLog;
use tidegate::log::{Header, Log, RecordSet};
use tidegate::registry::Schemas;
use tidegate::registry::fixed::guid_of;
use tidegate::types::clock::SystemClock;

const AVRO: &str = r#"{"type":"record","name":"R","fields":[{"name":"A","type":["null","int"],"default":null}]}"#;

/// A record `{"A": n}` by the schema with this id.
fn avro(id: u32, n: i32) -> Vec<u8> {
    let [a, b, c, d] = id.to_be_bytes();
    let n = u8::try_from(n << 1).unwrap();
    vec![0, a, b, c, d, 2, n]
}

fn produce(world: &World, topic: &str, values: &[Vec<u8>]) {
    let mut set = RecordSet::default();
    values.iter().for_each(|value| set.push(0, 1_000, Some(b"k"), Some(value)));
    world.log.append(topic, &set).unwrap();
}

const SOURCE: &str = "CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='AVRO', PARTITIONS=1);";
const COPY: &str = "CREATE STREAM o WITH (VALUE_FORMAT='JSON') AS SELECT * FROM s;";

pub(super) fn rows(engine: &Engine, sql: &str) -> Vec<String> {
    match run(engine, sql).remove(0) {
        Answer::Rows(rows) => collect(rows).unwrap().rows,
        Answer::Entity(entity) => panic!("{sql}: {entity:?}"),
    }
}

#[test]
fn an_id_that_does_not_exist_is_a_bad_record() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, SOURCE);
    run(&engine, COPY);
    world.registry.put("s-value", 7, &schema(SchemaType::Avro, AVRO));
    produce(&world, "s", &[avro(7, 1), avro(99, 2), avro(7, 3)]);
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT a FROM o;"), ["1", "3"]);
    let bad = engine.queries()[0].1.bad();
    assert_eq!(bad.len(), 1);
    assert!(bad[0].reason.contains("schema 99: Schema 99 not found"), "{}", bad[0].reason);
    assert_eq!(rows(&engine, "SELECT a FROM s;"), ["1", "3"], "a query over history skips it as well");
}

/// The frame of a GUID.
fn guid(schema: &SchemaText) -> Vec<u8> {
    [&[1], &guid_of(schema).0[..]].concat()
}

/// A record with these headers, without a key.
fn with_headers(world: &World, topic: &str, value: &[u8], headers: &[(&str, &[u8])]) {
    let mut set = RecordSet::default();
    set.push(0, 1_000, None, Some(value));
    let header = |(key, value): &(&str, &[u8])| Header { key: (*key).into(), value: Some(value.to_vec()) };
    set.headers.push((0, headers.iter().map(header).collect()));
    world.log.append(topic, &set).unwrap();
}

#[test]
fn a_schema_may_be_named_by_a_guid_and_in_a_header() {
    let proto = "syntax = \"proto3\";\n\nmessage Other {\n  string A = 1;\n}\nmessage R {\n  int32 A = 1;\n}\n";
    let json = r#"{"type":"object","properties":{"A":{"type":"integer","connect.type":"int32"}}}"#;
    // Behind the frame: which message it is (the second), and the payload of 5.
    for (format, kind, text, message, five) in [
        ("AVRO", SchemaType::Avro, AVRO, &b""[..], &b"\x02\x0a"[..]),
        ("PROTOBUF", SchemaType::Protobuf, proto, b"\x02\x02", b"\x08\x05"),
        ("JSON_SR", SchemaType::Json, json, b"", b"{\"A\":5}"),
    ] {
        let world = World::new();
        let engine = world.engine();
        run(&engine, &SOURCE.replace("AVRO", format));
        run(&engine, COPY);
        let schema = schema(kind, text);
        world.registry.put("s-value", 2, &schema);
        let by_id = [&[0, 0, 0, 0, 2], message].concat();
        let by_guid = [&guid(&schema)[..], message].concat();
        let unknown = [&[1; 17], message].concat();
        produce(
            &world,
            "s",
            &[[&by_guid[..], five].concat(), [&by_id[..], five].concat(), [&unknown[..], five].concat()],
        );
        with_headers(&world, "s", five, &[("__value_schema_id", &unknown), ("__value_schema_id", &by_guid)]);
        with_headers(&world, "s", five, &[("__value_schema_id", &by_id), ("__key_schema_id", &unknown)]);
        // The header decides, whatever the payload looks like.
        with_headers(&world, "s", &[&by_id[..], five].concat(), &[("__value_schema_id", &unknown)]);
        engine.drive().unwrap();
        assert_eq!(rows(&engine, "SELECT a FROM o;"), ["5"; 4], "{format}");
        assert_eq!(rows(&engine, "SELECT a FROM s;"), ["5"; 4], "{format}, over history");
        let reasons: Vec<String> = engine.queries()[0].1.bad().into_iter().map(|bad| bad.reason).collect();
        assert_eq!(reasons.len(), 2, "{format}: {reasons:?}");
        let expected = "value: schema 01010101-0101-0101-0101-010101010101: Schema 01010101-0101-0101-0101-010101010101 not found; error code: 40403";
        assert!(reasons.iter().all(|reason| reason == expected), "{format}: {reasons:?}");
    }
}

#[test]
fn a_key_by_a_guid_in_a_header_is_the_key_by_an_id() {
    let world = World::new();
    let engine = world.engine();
    let int = schema(SchemaType::Avro, "\"int\"");
    world.registry.put("t-key", 5, &int);
    run(
        &engine,
        "CREATE TABLE t (k INT PRIMARY KEY, v STRING) WITH (KAFKA_TOPIC='t', KEY_FORMAT='AVRO', VALUE_FORMAT='DELIMITED', PARTITIONS=1);",
    );
    run(&engine, "CREATE TABLE c WITH (VALUE_FORMAT='JSON') AS SELECT k, UCASE(v) AS u FROM t;");
    let mut set = RecordSet::default();
    set.push(0, 1_000, Some(&avro_int(5, 7)), Some(b"old"));
    set.push(0, 2_000, Some(&avro_int(5, 7)[5..]), Some(b"new"));
    set.headers.push((1, vec![Header { key: "__key_schema_id".into(), value: Some(guid(&int)) }]));
    world.log.append("t", &set).unwrap();
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT k, v FROM t;"), ["7 | new"], "history");
    assert_eq!(rows(&engine, "SELECT k, u FROM c WHERE k = 7;"), ["7 | NEW"], "a lookup");
    let Answer::Rows(printed) = run(&engine, "PRINT t FROM BEGINNING LIMIT 2;").remove(0) else { panic!("no rows") };
    let printed = collect(printed).unwrap().rows;
    assert!(printed.iter().all(|row| row.contains('7') && !row.contains("base64")), "{printed:?}");
}

#[test]
fn a_query_waits_for_a_registry_that_is_away_and_skips_nothing() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, SOURCE);
    run(&engine, COPY);
    world.registry.put("s-value", 7, &schema(SchemaType::Avro, AVRO));
    world.registry.go_away(Some("connection refused"));
    produce(&world, "s", &[avro(7, 1), avro(7, 2)]);
    let query = engine.queries()[0].1.clone();
    // It commits what it has, which is nothing, and is dropped as in a crash.
    assert!(query.drive_for(50).unwrap(), "it cannot be done");
    assert_eq!(rows(&engine, "SELECT a FROM o;"), [""; 0]);
    assert_eq!(query.counts().bad, 0);
    world.registry.go_away(None);
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT a FROM o;"), ["1", "2"]);
}

#[test]
fn own_topics_are_read_and_written_without_a_registry() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, SOURCE);
    run(&engine, "CREATE STREAM o AS SELECT a + 1 AS a FROM s;");
    run(&engine, "INSERT INTO s VALUES (1);");
    engine.drive().unwrap();
    drop(engine);
    world.registry.go_away(Some("away"));
    let engine = world.engine();
    run(&engine, "INSERT INTO s VALUES (2);");
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT a FROM o;"), ["2", "3"]);
}

#[test]
fn insert_values_checks_the_key_and_registers_the_value() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("t-key", 3, &schema(SchemaType::Avro, "\"string\""));
    world.registry.put("t-value", 4, &schema(SchemaType::Avro, &AVRO.replace("\"A\"", "\"Z\"")));
    run(&engine, "CREATE STREAM t (k INT KEY, a INT) WITH (KAFKA_TOPIC='t', FORMAT='AVRO', PARTITIONS=1);");
    let error = refused(&engine, "INSERT INTO t VALUES (1, 2);");
    assert_eq!(
        error.message(),
        "Cannot INSERT VALUES into data source `T`. ksqlDB generated schema would overwrite existing key schema.\n\tExisting \
         Schema: \"string\"\n\tksqlDB Generated: \"int\""
    );
    world.registry.delete_subject("t-key").unwrap();
    let error = refused(&engine, "INSERT INTO t VALUES (1, 2);");
    assert!(error.message().starts_with("Failed to fetch key schema (t-key). Please check if"), "{error}");
    // A key of the same columns is used as it is.
    world.registry.put("t-key", 5, &schema(SchemaType::Avro, "{\"type\":\"int\"}"));
    run(&engine, "INSERT INTO t VALUES (1, 2);");
    assert_eq!(world.registry.versions("t-key").unwrap(), [2]);
    assert_eq!(world.registry.versions("t-value").unwrap(), [1, 2]);
    assert_eq!(rows(&engine, "SELECT k, a FROM t;"), ["1 | 2"]);
}

/// A key or value `n` by the schema with this id, which is `"int"` or `{"type":"int"}`.
fn avro_int(id: u32, n: i32) -> Vec<u8> {
    let [a, b, c, d] = id.to_be_bytes();
    vec![0, a, b, c, d, u8::try_from(n << 1).unwrap()]
}

#[test]
fn two_ids_of_one_key_are_one_key() {
    let world = World::new();
    let engine = world.engine();
    world.registry.put("t-key", 5, &schema(SchemaType::Avro, "\"int\""));
    world.registry.put("t-key", 6, &schema(SchemaType::Avro, "{\"type\":\"int\",\"x\":1}"));
    run(
        &engine,
        "CREATE TABLE t (k INT PRIMARY KEY, v STRING) WITH (KAFKA_TOPIC='t', KEY_FORMAT='AVRO', VALUE_FORMAT='DELIMITED', PARTITIONS=1);",
    );
    run(&engine, "CREATE TABLE c WITH (VALUE_FORMAT='JSON') AS SELECT k, UCASE(v) AS u FROM t;");
    run(
        &engine,
        "CREATE STREAM s (k INT KEY, x INT) WITH (KAFKA_TOPIC='s', KEY_FORMAT='AVRO', VALUE_FORMAT='JSON', PARTITIONS=1);",
    );
    run(&engine, "CREATE STREAM j WITH (VALUE_FORMAT='JSON') AS SELECT s.k AS k, v, x FROM s JOIN t ON s.k = t.k;");
    let put = |topic: &str, time: i64, id: u32, value: &str| {
        let mut set = RecordSet::default();
        set.push(0, time, Some(&avro_int(id, 7)), Some(value.as_bytes()));
        world.log.append(topic, &set).unwrap();
    };
    put("t", 1_000, 5, "old");
    put("t", 2_000, 6, "new");
    put("s", 3_000, 5, "{\"X\":1}");
    put("s", 4_000, 6, "{\"X\":2}");
    engine.drive().unwrap();
    assert_eq!(rows(&engine, "SELECT k, v FROM t;"), ["7 | new"], "history");
    assert_eq!(rows(&engine, "SELECT k, u FROM c WHERE k = 7;"), ["7 | NEW"], "a lookup");
    assert_eq!(rows(&engine, "SELECT k, v, x FROM j;"), ["7 | new | 1", "7 | new | 2"], "a join");
    let mut tombstone = RecordSet::default();
    tombstone.push(0, 5_000, Some(&avro_int(5, 7)), None);
    world.log.append("t", &tombstone).unwrap();
    engine.drive().unwrap();
    assert_eq!(
        rows(&engine, "SELECT k, v FROM t;"),
        [""; 0],
        "a tombstone by the first id deletes the row of the second"
    );
    assert_eq!(rows(&engine, "SELECT k, u FROM c;"), [""; 0]);
}

#[test]
fn print_shows_what_a_schema_describes() {
    let world = World::new();
    let engine = world.engine();
    run(&engine, SOURCE);
    world.registry.put("x", 7, &schema(SchemaType::Avro, AVRO));
    produce(&world, "s", &[avro(7, 5), avro(99, 6), b"plain".to_vec()]);
    let Answer::Rows(printed) = run(&engine, "PRINT s FROM BEGINNING LIMIT 3;").remove(0) else { panic!("no rows") };
    let printed = collect(printed).unwrap();
    let shown = &printed.rows;
    assert!(shown[0].contains("{\"A\":5}"), "{shown:?}");
    assert!(shown[1].contains("base64:") && shown[2].contains("plain"), "{shown:?}");
    assert!(printed.notice.as_ref().unwrap().contains("Value format: AVRO or KAFKA_STRING or UNRECOGNIZED_BYTES"));
}

#[test]
fn a_running_query_is_listed_as_waiting() {
    let world = World::new();
    let clock = SystemClock::shared();
    let config = Config::new(LogConfig::Temporary);
    let log = EmbeddedLog::in_memory(clock.clone()).unwrap();
    let engine =
        Engine::with_registry(log.clone(), config, clock.clone(), Drive::Threads, world.registry.clone()).unwrap();
    run(&engine, SOURCE);
    run(&engine, COPY);
    world.registry.put("s-value", 7, &schema(SchemaType::Avro, AVRO));
    world.registry.go_away(Some("connection refused"));
    let mut set = RecordSet::default();
    set.push(0, 1_000, None, Some(&avro(7, 1)));
    log.append("s", &set).unwrap();
    let query = engine.queries()[0].1.clone();
    let until = |wanted: &dyn Fn() -> bool| {
        let deadline = clock.monotonic() + Duration::from_secs(30);
        while !wanted() {
            assert!(clock.monotonic() < deadline, "{:?}", query.state());
            clock.sleep(Duration::from_millis(20));
        }
    };
    until(
        &|| matches!(query.state(), State::Waiting(why) if why.contains("id 7") && why.contains("connection refused")),
    );
    world.registry.go_away(None);
    until(&|| query.state() == State::Running && query.counts().produced == 1);
    let session = &mut Session::default();
    assert!(engine.run("DROP STREAM o;", session).is_ok());
    assert_eq!(columns(&engine, "S"), "`A` INTEGER");
}
