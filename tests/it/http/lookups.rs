//! Lookups of a table's committed rows over HTTP: their three forms, what is answered to the same text again, and errors.

use super::{Server, until};
use serde_json::{Value, json};

const TABLES: &str =
    "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC = 't', VALUE_FORMAT = 'JSON', PARTITIONS = 2);
    CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;
    CREATE TABLE w AS SELECT k, COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY k;";

fn rows(server: &Server, sql: &str) -> Vec<Value> {
    server.lines(sql).skip(1).collect()
}

#[test]
fn lookups_have_the_forms_of_ksqldb() {
    let server = Server::start();
    server.ksql(TABLES);
    server.ksql(
        "INSERT INTO s (ROWTIME, k, n) VALUES (1000, 'a', 1); INSERT INTO s (ROWTIME, k, n) VALUES (2000, 'b', 2);",
    );
    let lookup = "SELECT k, n FROM c WHERE k = 'a';";
    until("the row is committed", || rows(&server, lookup) == [json!(["a", 1])]);
    // The first is planned, the next ones are known.
    for _ in 0..3 {
        let lines: Vec<Value> = server.lines(lookup).collect();
        assert_eq!(lines[0]["columnNames"], json!(["K", "N"]));
        assert_eq!(lines[0]["columnTypes"], json!(["STRING", "BIGINT"]));
        assert!(lines[0]["queryId"].as_str().is_some_and(|id| id.starts_with("query_")), "{}", lines[0]);
        assert_eq!(&lines[1..], [json!(["a", 1])]);
    }
    assert_eq!(rows(&server, "SELECT k, n FROM c WHERE k = 'b';"), [json!(["b", 1])]);
    assert_eq!(rows(&server, "SELECT k, n FROM c WHERE k = 'nobody';"), [] as [Value; 0]);
    let body = json!({ "sql": lookup });
    assert_eq!(server.post("/query-stream", &body).1[1], json!(["a", 1]), "one array");
    let body = json!({ "ksql": "SELECT * FROM w WHERE k = 'a';", "streamsProperties": {} });
    until("the window is committed", || server.post("/query", &body).1.as_array().is_some_and(|a| a.len() > 1));
    for _ in 0..2 {
        let (status, answer) = server.post("/query", &body);
        let schema = "`K` STRING KEY, `WINDOWSTART` BIGINT KEY, `WINDOWEND` BIGINT KEY, `N` BIGINT";
        assert_eq!((status, &answer[0]["header"]["schema"]), (200, &json!(schema)));
        // No final message: the rows of a table end without a word.
        assert_eq!(answer.as_array().unwrap()[1..], [json!({ "row": { "columns": ["a", 0, 3_600_000, 1] } })]);
    }
}

#[test]
fn lookups_follow_commits_and_settings() {
    let server = Server::start();
    server.ksql(TABLES);
    let lookup = "SELECT n FROM c WHERE k = 'a';";
    for n in 1..=5 {
        server.ksql("INSERT INTO s VALUES ('a', 1);");
        until("the row is committed", || rows(&server, lookup) == [json!([n])]);
    }
    let refused = |sql: &str, properties: Value| {
        let (status, body) = server.post("/query-stream", &json!({ "sql": sql, "properties": properties }));
        assert_eq!(
            (status, &body["error_code"], &body["@type"]),
            (400, &json!(40001), &json!("statement_error")),
            "{body}"
        );
        body["message"].as_str().unwrap().to_owned()
    };
    let off = json!({ "ksql.query.pull.table.scan.enabled": false });
    assert!(
        refused("SELECT * FROM c WHERE n = 1;", off.clone()).contains("WHERE clause missing key column for disjunct")
    );
    assert!(refused("SELECT * FROM c;", off.clone()).contains("Missing WHERE clause"));
    let (status, body) = server.post("/query-stream", &json!({ "sql": lookup, "properties": off }));
    assert_eq!((status, &body[1]), (200, &json!([5])));
    assert!(refused("SELECT * FROM c WHERE k = 1;", json!({})).contains("Cannot compare K (STRING) to 1 (INTEGER)"));
    assert_eq!(server.refused("SELECT * FROM c;")["error_code"], 40002, "a query sent to /ksql");
}
