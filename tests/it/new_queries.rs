//! `CREATE ... AS ...; SELECT ...;` in one script: the SELECT has the history that was there, or a sentence says what is left.

use crate::http::{Server, TIDEGATE};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const SOURCES: &str = "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);
    INSERT INTO s VALUES ('a', 1); INSERT INTO s VALUES ('b', 2); INSERT INTO s VALUES ('a', 3);";
const CHAIN: &str = "CREATE STREAM big AS SELECT k, n * 10 AS n FROM s;
    CREATE TABLE t AS SELECT k, SUM(n) AS total FROM big GROUP BY k;";

fn script(text: &str) -> (String, String) {
    let mut command = Command::new(TIDEGATE);
    command.args(["--temp", "sql", "-o", "csv", text]).stdin(Stdio::null());
    let out = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(out.stdout), text(out.stderr))
}

#[test]
fn a_script_sees_what_its_queries_make_of_the_history() {
    let selects = "SELECT * FROM t; SELECT total FROM t WHERE k = 'a'; SELECT COUNT(*) AS c FROM big; SELECT k FROM t ORDER BY k;";
    let (out, errors) = script(&format!("{SOURCES}{CHAIN}{selects}"));
    let mut lines: Vec<&str> = out.lines().filter(|line| !line.contains(' ')).collect();
    // The rows of a table have no order.
    lines[1..3].sort_unstable();
    assert_eq!(lines, ["K,TOTAL", "a,40", "b,20", "TOTAL", "40", "C", "3", "K", "a", "b"], "{errors}");
}

#[test]
fn a_query_that_takes_longer_says_how_much_is_left() {
    let slow = format!("{SOURCES} SET 'commit.interval.ms'='3600000'; {CHAIN}");
    let (out, errors) = script(&format!("{slow} SELECT * FROM t; SELECT * FROM t;"));
    assert_eq!(out.matches("K,TOTAL").count(), 2, "{out}");
    let said = errors
        .lines()
        .filter(|line| line.contains("CSAS_BIG_") && line.contains("3 records of its topics still to read"));
    assert_eq!(said.count(), 2, "{errors}");
}

#[test]
fn a_request_sees_what_its_queries_make_of_the_history() {
    let server = Server::start();
    server.ksql(SOURCES);
    server.ksql(CHAIN);
    let rows = |sql: &str| server.lines(sql).skip(1).collect::<Vec<Value>>();
    assert_eq!(rows("SELECT k, total FROM t WHERE k = 'a';"), [json!(["a", 40])]);
    server.ksql("CREATE TABLE u AS SELECT n, COUNT(*) AS c FROM big GROUP BY n;");
    let body = json!({ "ksql": "SELECT * FROM u WHERE n = 20;", "streamsProperties": {} });
    assert_eq!(server.post("/query", &body).1[1]["row"]["columns"], json!([20, 1]));
}
