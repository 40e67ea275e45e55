//! kill -9 of a server between any two statements: the next start shows the same streams, tables, queries, types and statuses,
//! ids included, and continues counting where the ids were.
//!
//! One directory grows through the whole script; after each statement its server is killed and the next one started on it.

use crate::http::Server;
use serde_json::Value;

const SCRIPT: &[&str] = &[
    "CREATE STREAM s (id INT KEY, v STRING, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);",
    "CREATE TYPE pair AS STRUCT<a INT, b STRING>;",
    "CREATE STREAM typed (id INT KEY, p pair) WITH (KAFKA_TOPIC='typed', VALUE_FORMAT='JSON', PARTITIONS=1);",
    "CREATE TABLE t (id INT PRIMARY KEY, name STRING) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=2);",
    "INSERT INTO s (ROWTIME, id, v, n) VALUES (1000, 1, 'one', 10);",
    "CREATE STREAM big AS SELECT * FROM s WHERE n > 5;",
    "CREATE TABLE counts AS SELECT v, COUNT(*) AS c FROM s GROUP BY v;",
    "CREATE TABLE windows AS SELECT v, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY v;",
    "INSERT INTO s (ROWTIME, id, v, n) VALUES (2000, 2, 'two', 20);",
    "CREATE STREAM joined AS SELECT s.id AS id, s.v, t.name FROM s LEFT JOIN t ON s.id = t.id;",
    "PAUSE CTAS_COUNTS_5;",
    "ALTER STREAM typed ADD COLUMN note STRING;",
    "CREATE OR REPLACE STREAM big AS SELECT * FROM s WHERE n > 7;",
    "INSERT INTO big SELECT * FROM s WHERE n < 0;",
    "TERMINATE CTAS_WINDOWS_6;",
    "CREATE STREAM IF NOT EXISTS s (x INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');",
    "DROP TABLE windows DELETE TOPIC;",
    "RESUME CTAS_COUNTS_5;",
    "DROP TYPE pair;",
    "CREATE TYPE pair AS MAP<STRING, INT>;",
    "CREATE SOURCE TABLE theirs (id INT PRIMARY KEY, name STRING) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');",
    "DROP STREAM joined;",
    "CREATE TABLE windows AS SELECT v, COUNT(*) AS c FROM s WINDOW SESSION (1 MINUTE) GROUP BY v;",
    "PAUSE ALL;",
    "DROP TABLE theirs;",
    "TERMINATE ALL;",
    "DROP TABLE counts;",
    "CREATE STREAM last AS SELECT * FROM typed;",
];

/// All that SHOW prints and what became of each statement.
fn shown(server: &Server) -> (Vec<Value>, Value) {
    (server.ksql("SHOW STREAMS; SHOW TABLES; SHOW QUERIES; SHOW TYPES; SHOW TOPICS;"), server.get("/status").1)
}

#[test]
fn the_same_is_there_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let place = ["--data", dir.path().to_str().unwrap()];
    let mut server = Server::at(&place);
    for statement in SCRIPT {
        server.ksql(statement);
        let before = shown(&server);
        server.stop(rustix::process::Signal::KILL);
        server = Server::at(&place);
        assert_eq!(shown(&server), before, "after {statement}");
    }
    // Each recorded statement has taken a number, whatever was killed between them.
    let queries = server.ksql("SHOW QUERIES;")[0]["queries"].clone();
    let ids: Vec<&str> = queries.as_array().unwrap().iter().map(|q| q["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(ids[0].starts_with("CSAS_LAST_"), "{ids:?}");
    let rows: Vec<Value> = server.lines("SELECT id FROM big;").skip(1).collect();
    assert_eq!(rows.len(), 2, "what was written once is there once: {rows:?}");
}
