//! ksqlDB's limits of queries without EMIT, as clients meet them: what is answered past each, and what it leaves alone.

use super::{Server, TIDEGATE, until};
use serde_json::{Value, json};
use std::process::Command;

const TABLES: &str =
    "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC = 't', VALUE_FORMAT = 'JSON', PARTITIONS = 1);
    CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;
    INSERT INTO s VALUES ('a', 1);";
/// A lookup that is remembered, a scan of the table's rows, a read of the stream's topic, any SQL over history.
const QUERIES: [&str; 4] =
    ["SELECT n FROM c WHERE k = 'a';", "SELECT * FROM c;", "SELECT * FROM s;", "SELECT k FROM s ORDER BY k;"];

fn limited(setting: &str) -> Server {
    let server = Server::at(&["--temp", "--set", setting]);
    server.ksql(TABLES);
    server
}

fn refusal(answer: &(u16, Value), words: &str) -> bool {
    let (status, body) = answer;
    let message = body["message"].as_str().unwrap_or_default();
    let told = (*status, &body["error_code"], &body["@type"]) == (429, &json!(42900), &json!("generic_error"));
    assert!(*status == 200 || told && message.starts_with(words), "{body}");
    *status == 429
}

/// Is it refused at both endpoints?
fn asked(server: &Server, sql: &str, words: &str) -> bool {
    let lines = server.post("/query-stream", &json!({ "sql": sql }));
    let objects = server.post("/query", &json!({ "ksql": sql }));
    refusal(&lines, words) && refusal(&objects, words)
}

#[test]
fn a_rate_refuses_what_comes_too_soon() {
    let server = limited("ksql.query.pull.max.qps=1");
    let words = "Host is at rate limit for pull queries. Currently set to 1.0 qps.";
    for sql in QUERIES {
        until("it comes too soon", || asked(&server, sql, words));
        until("it may come again", || !refusal(&server.post("/query-stream", &json!({ "sql": sql })), words));
    }
    until("the metric says so", || {
        let page = server.get("/metrics").1;
        let refused = page.as_str().unwrap().lines().find_map(|l| {
            l.strip_prefix("tidegate_pull_queries_refused_total{limit=\"qps\"} ").map(|n| n.parse::<u64>().unwrap())
        });
        refused.unwrap() >= 8
    });
    // Other statements and push queries are not counted.
    for _ in 0..5 {
        server.ksql("SHOW STREAMS;");
        assert_eq!(server.lines("SELECT n FROM s EMIT CHANGES LIMIT 1;").nth(1), Some(json!([1])));
    }
    let (status, body) = server.post("/ksql", &json!({ "ksql": "SET 'ksql.query.pull.max.qps' = '5';" }));
    assert_eq!(status, 400, "{body}");
    assert!(body["message"].as_str().unwrap().starts_with("Cannot override property 'ksql.query.pull.max.qps'"));
}

#[test]
fn queries_at_once_give_their_places_back() {
    let server = limited("ksql.query.pull.max.concurrent.requests=1");
    let words = "Host is at concurrency limit for pull queries. Currently set to 1 maximum concurrent operations.";
    for sql in QUERIES.iter().cycle().take(20) {
        // The thread that answered may have to put its things away.
        until("its place is free", || !refusal(&server.post("/query-stream", &json!({ "sql": sql })), words));
        // One that fails, in the plan or on the way, takes none.
        assert_eq!(server.post("/query-stream", &json!({ "sql": "SELECT nothing FROM c;" })).0, 400);
    }
    let server = limited("ksql.query.pull.max.concurrent.requests=0");
    let words = "Host is at concurrency limit for pull queries. Currently set to 0 maximum concurrent operations.";
    assert!(QUERIES.iter().all(|sql| asked(&server, sql, words)));
}

#[test]
fn the_bytes_of_an_hour_are_counted_when_they_are_sent() {
    let server = limited("ksql.query.pull.max.hourly.bandwidth.megabytes=1");
    server.ksql("CREATE STREAM large (v VARCHAR) WITH (KAFKA_TOPIC = 'large', VALUE_FORMAT = 'JSON', PARTITIONS = 1);");
    let insert = format!("INSERT INTO large VALUES ('{}');", "x".repeat(100_000));
    (0..6).for_each(|_| drop(server.ksql(&insert)));
    let words = "Host is at bandwidth rate limit for pull queries.";
    let ask = || server.post("/query-stream", &json!({ "sql": "SELECT * FROM large;" }));
    // 600 kB each: the second goes past the limit, which the third meets.
    assert!(!refusal(&ask(), words) && !refusal(&ask(), words));
    assert!(refusal(&ask(), words));
    assert!(QUERIES.iter().all(|sql| asked(&server, sql, words)));
}

#[test]
fn a_limit_that_is_none_is_refused_at_the_start() {
    for (setting, told) in [
        ("ksql.query.pull.max.qps=0", "a whole number from 1 to 2147483647"),
        ("ksql.query.pull.max.qps=many", "Invalid value many for configuration ksql.query.pull.max.qps"),
        ("ksql.query.pull.max.concurrent.requests=-1", "a whole number from 0 to 2147483647"),
        ("ksql.query.pull.max.hourly.bandwidth.megabytes=2147483648", "Invalid value 2147483648"),
    ] {
        let out = Command::new(TIDEGATE).args(["server", "--temp", "--set", setting]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(told), "{setting}: {said}");
    }
}
