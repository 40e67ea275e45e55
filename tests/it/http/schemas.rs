//! AVRO, PROTOBUF and JSON_SR through the server with the registry of its own: what is declared is registered, what is inserted
//! is written by that schema, and every kind of query reads it.

use super::*;
use crate::wire::{Schema, SchemaKind};
use base64::Engine as _;

const FORMATS: [&str; 3] = ["AVRO", "PROTOBUF", "JSON_SR"];

fn create(format: &str) -> String {
    format!(
        "CREATE STREAM s (k STRING KEY, n INT, price DECIMAL(6, 2), tags ARRAY<STRING>, m MAP<STRING, BIGINT>,
           at TIMESTAMP, day DATE, raw BYTES, st STRUCT<a INT, b STRING>)
         WITH (KAFKA_TOPIC='t', VALUE_FORMAT='{format}', PARTITIONS=1);
         INSERT INTO s VALUES ('a', 1, 12.50, ARRAY['x', 'y'], MAP('q' := 7), '2024-01-01T00:00:00.5', '2024-02-29',
           TO_BYTES('AQI=', 'base64'), STRUCT(a := 1, b := 'z'));
         INSERT INTO s (k) VALUES ('b');"
    )
}

/// The columns of the rows of a push or pull query.
fn rows(server: &Server, sql: &str) -> Vec<Value> {
    let (status, text) = server.query(sql);
    assert_eq!(status, 200, "{sql}: {text}");
    let lines = text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(Value::is_array).collect()
}

/// A number with its scale.
fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What the format makes of a row of NULLs.
fn of_nulls(format: &str) -> Value {
    match format {
        // Without a nullable representation a scalar is its default, and only messages are NULL.
        "PROTOBUF" => json!(["b", 0, null, [], {}, null, null, "", null]),
        _ => json!(["b", null, null, null, null, null, null, null, null]),
    }
}

#[test]
fn what_is_declared_is_written_and_read_in_every_format() {
    for format in FORMATS {
        let server = Server::start();
        server.ksql(&create(format));
        let full = json!([
            "a", 1, number("12.50"), ["x", "y"], {"q": 7}, "2024-01-01T00:00:00.500", "2024-02-29", "AQI=", {"A": 1, "B": "z"}
        ]);
        assert_eq!(
            rows(&server, "SELECT * FROM s EMIT CHANGES LIMIT 2;"),
            [full.clone(), of_nulls(format)],
            "{format}"
        );
        assert_eq!(rows(&server, "SELECT * FROM s WHERE k = 'a';"), [full], "{format}");

        server.ksql(
            "CREATE TABLE c AS SELECT k, COUNT(*) AS n, SUM(price) AS total, COLLECT_LIST(n) AS all FROM s GROUP BY k;",
        );
        until("the table has its row", || rows(&server, "SELECT n FROM c WHERE k = 'a';") == [json!([1])]);
        server.ksql("INSERT INTO s (k, n, price) VALUES ('a', 2, 0.25);");
        let counted = json!(["a", 2, 12.75, [1, 2]]);
        until("the second record counts", || rows(&server, "SELECT * FROM c WHERE k = 'a';") == [counted.clone()]);
        let changes = rows(&server, "SELECT * FROM c EMIT CHANGES LIMIT 2;");
        assert_eq!(changes.len(), 2, "{format}: {changes:?}");

        let (status, subjects) = server.get("/schema-registry/subjects");
        assert_eq!((status, subjects), (200, json!(["C-value", "t-value"])), "{format}");
        let described = server.ksql("DESCRIBE s EXTENDED;")[0].to_string();
        assert!(described.contains("t-value"), "{format}: {described}");
    }
}

/// The key's bytes hold the id: equal keys are found, grouped and joined by what they mean.
#[test]
fn keys_have_schemas_too() {
    for format in FORMATS {
        let server = Server::start();
        server.ksql(&format!(
            "CREATE TABLE users (id STRUCT<x INT, y STRING> PRIMARY KEY, name STRING)
               WITH (KAFKA_TOPIC='users', FORMAT='{format}', PARTITIONS=1);
             CREATE STREAM clicks (id STRUCT<x INT, y STRING> KEY, n INT)
               WITH (KAFKA_TOPIC='clicks', FORMAT='{format}', PARTITIONS=1);
             INSERT INTO users VALUES (STRUCT(x := 1, y := 'p'), 'ann');
             CREATE STREAM joined AS SELECT c.id AS id, c.n, u.name FROM clicks c JOIN users u ON c.id = u.id;
             CREATE TABLE counts AS SELECT id, COUNT(*) AS n FROM clicks GROUP BY id;
             INSERT INTO clicks VALUES (STRUCT(x := 1, y := 'p'), 5); INSERT INTO clicks VALUES (STRUCT(x := 2, y := 'p'), 6);
             INSERT INTO clicks VALUES (STRUCT(x := 1, y := 'p'), 7);"
        ));
        let counted = || rows(&server, "SELECT n FROM counts WHERE id = STRUCT(x := 1, y := 'p');");
        until("both clicks count", || counted() == [json!([2])]);
        let joined = rows(&server, "SELECT * FROM joined EMIT CHANGES LIMIT 2;");
        let key = json!({"X": 1, "Y": "p"});
        assert_eq!(joined, [json!([key, 5, "ann"]), json!([key, 7, "ann"])], "{format}");
    }
}

/// What is in a topic is what the registered schema says, read by a codec that is not ours.
#[test]
fn a_client_of_the_registry_reads_what_is_printed() {
    for format in FORMATS {
        let server = Server::start();
        server.ksql(&create(format));
        let (status, _, printed) =
            server.raw("/query-stream", &[], &json!({ "sql": "PRINT t FROM BEGINNING LIMIT 2;" }).to_string());
        assert_eq!(status, 200);
        assert!(printed.contains(&format!("Value format: {format}")), "{format}: {printed}");
        assert!(printed.contains("12.50") && printed.contains("key: a"), "{format}: {printed}");

        let (_, latest) = server.get("/schema-registry/subjects/t-value/versions/latest");
        let kind = SchemaKind::named(latest["schemaType"].as_str().unwrap_or("AVRO")).unwrap();
        let schema = Schema::parse(kind, latest["schema"].as_str().unwrap(), &[]).unwrap();
        let (_, by_id) = server.get(&format!("/schema-registry/schemas/ids/{}", latest["id"]));
        assert_eq!(by_id["schema"], latest["schema"], "{format}");
        // The record as it lies in the topic, through a stream that takes its value for bytes.
        server.ksql("CREATE STREAM bare (k STRING KEY, v BYTES) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='KAFKA');");
        let bytes = rows(&server, "SELECT v FROM bare EMIT CHANGES LIMIT 1;")[0][0].as_str().unwrap().to_owned();
        let bytes = base64::engine::general_purpose::STANDARD.decode(bytes).unwrap();
        assert_eq!(bytes[..5], [&[0][..], &(latest["id"].as_u64().unwrap() as u32).to_be_bytes()].concat(), "{format}");
        let tree = schema.decode(&bytes[5..]).unwrap();
        let expected = json!({
            "N": 1, "PRICE": number("12.50"), "TAGS": ["x", "y"], "M": {"q": 7},
            "AT": 1_704_067_200_500_i64, "DAY": 19_782, "RAW": "AQI=", "ST": {"A": 1, "B": "z"}
        });
        assert_eq!(tree, expected, "{format}");
    }
}

/// A schema that another client registered: its columns are inferred, and records of two versions are read.
#[test]
fn foreign_schemas_are_inferred() {
    let server = Server::start();
    let register = |schema: &str| {
        let (status, body) = server.post("/schema-registry/subjects/t-value/versions", &json!({ "schema": schema }));
        assert_eq!(status, 200, "{body}");
        body["id"].as_u64().unwrap()
    };
    let first = register(
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}]}"#,
    );
    server.ksql("CREATE STREAM bare (v BYTES) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='KAFKA', PARTITIONS=1);");
    server.ksql("CREATE STREAM s WITH (KAFKA_TOPIC='t', VALUE_FORMAT='AVRO');");
    let fields = server.ksql("DESCRIBE s;")[0]["sourceDescription"]["fields"].clone();
    let names: Vec<&str> = fields.as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["A", "B"]);
    let second = register(
        r#"{"type":"record","name":"R","fields":[{"name":"c","type":"string","default":""},{"name":"a","type":"int"}]}"#,
    );
    assert_ne!(first, second);
    let frame = |id: u64, payload: &[u8]| {
        let bytes = [&[0][..], &(id as u32).to_be_bytes(), payload].concat();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    for record in [
        frame(first, &[0x02, 0x02, 0x02, b'x']),
        frame(second, &[0x02, b'y', 0x04]),
        frame(999, &[0x02]),
        frame(first, &[0x06, 0x00]),
    ] {
        server.ksql(&format!("INSERT INTO bare (v) VALUES (TO_BYTES('{record}', 'base64'));"));
    }
    let read = rows(&server, "SELECT * FROM s EMIT CHANGES LIMIT 3;");
    assert_eq!(read, [json!([1, "x"]), json!([2, null]), json!([3, null])]);
}
