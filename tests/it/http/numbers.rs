//! The numbers of `/api/v1`: what a query did is what its counters say.

use super::{COUNT, CREATE, Server, until};
use serde_json::{Value, json};
use std::time::Duration;
use tidegate::types::clock::SystemClock;

/// A server with a stream of four records in two partitions, and a table that counts them.
fn counting() -> (Server, String) {
    let server = Server::start();
    server.ksql(CREATE);
    let id = server.ksql(COUNT)[0]["commandStatus"]["queryId"].as_str().unwrap().to_owned();
    for (key, n) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
        server.ksql(&format!("INSERT INTO s VALUES ('{key}', {n}, 1);"));
    }
    settled(&server, &id);
    (server, id)
}

/// Waits until a query has committed everything.
fn settled(server: &Server, id: &str) {
    until("the query commits everything", || {
        let query = server.get(&format!("/api/v1/queries/{id}")).1;
        query["lag"] == json!(0) && query["rowsIn"].as_u64() >= Some(4) && query["stateKeys"].as_u64() >= Some(3)
    });
}

fn names(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_query_counts_rows_stages_partitions_and_state() {
    let (server, id) = counting();
    let (status, all) = server.get("/api/v1/queries");
    assert_eq!((status, all["queries"].as_array().unwrap().len()), (200, 1), "{all}");
    let listed = &all["queries"][0];
    assert_eq!((&listed["id"], &listed["state"], &listed["persistent"]), (&json!(id), &json!("RUNNING"), &json!(true)));
    assert_eq!((&listed["reads"], &listed["writes"], &listed["partitions"]), (&json!(["S"]), &json!(["C"]), &json!(2)));
    assert!(listed["sentence"].as_str().unwrap().starts_with("RUNNING since 20"), "{listed}");
    assert!(listed["createdAt"].as_i64().unwrap() <= listed["since"].as_i64().unwrap());

    let query = server.get(&format!("/api/v1/queries/{}", id.to_lowercase())).1;
    assert_eq!((&query["rowsIn"], &query["bad"], &query["late"]), (&json!(4), &json!(0), &json!(0)), "{query}");
    let bytes = query["bytesIn"].as_u64().unwrap();
    let records = ["a", "b", "a", "c"].len() as u64 * ("a".len() + r#"{"N":1,"PRICE":1.00}"#.len()) as u64;
    assert_eq!(bytes, records, "keys and values");
    assert_eq!((&query["stateKeys"], &query["partitionCount"]), (&json!(3), &json!(2)), "{query}");
    assert!(query["stateBytes"].as_u64().unwrap() > 0 && query["bytesOut"].as_u64().unwrap() > 0);
    assert!(query["commitMillis"]["count"].as_u64().unwrap() > 0 && query["commitMillis"]["p99"].is_number());
    assert!(query["emitMillis"]["p50"].is_number(), "{query}");

    let stages = &query["stages"];
    assert_eq!(names(stages, "id"), ["scan-0", "rows", "aggregate", "having", "sink"], "{stages}");
    assert_eq!((&stages[0]["rowsIn"], &stages[0]["rowsOut"]), (&json!(4), &json!(4)));
    assert_eq!((&stages[2]["rowsIn"], &stages[2]["stateKeys"]), (&json!(4), &query["stateKeys"]));
    assert_eq!(stages[4]["rowsOut"], query["rowsOut"]);
    let partitions = query["partitions"].as_array().unwrap();
    let sum = |field: &str| partitions.iter().map(|p| p[field].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("end"), sum("committed"), sum("lag"), sum("low")), (4, 4, 0, 0), "{query}");
    let latest = partitions.iter().filter_map(|p| p["streamTime"].as_i64()).max();
    assert_eq!(query["streamTime"].as_i64(), latest);
    assert_eq!(query["settings"]["processing.guarantee"], "exactly_once_v2");

    let (status, missing) = server.get("/api/v1/queries/CTAS_C_2");
    assert_eq!((status, &missing["code"], &missing["hint"]), (404, &json!(40400), &json!("did you mean CTAS_C_1?")));
}

#[test]
fn the_overview_adds_up_and_names_what_needs_attention() {
    let (server, id) = counting();
    let (status, overview) = server.get("/api/v1/overview");
    assert_eq!(status, 200);
    assert_eq!(overview["queries"], json!({ "running": 1, "paused": 0, "waiting": 0, "error": 0 }));
    assert_eq!(overview["sources"], json!({ "streams": 1, "tables": 1 }));
    assert_eq!((&overview["topics"], &overview["lag"], &overview["bad"]), (&json!(2), &json!(0), &json!(0)));
    assert_eq!((&overview["role"], &overview["log"]["kind"]), (&json!("admin"), &json!("embedded")));
    assert_eq!(overview["attention"], json!([]));
    assert!(overview["rssBytes"].as_u64() > Some(1_000_000) && overview["diskFreeBytes"].is_number());

    server.ksql(&format!("PAUSE {id};"));
    let query = server.get(&format!("/api/v1/queries/{id}")).1;
    assert_eq!(query["state"], "PAUSED");
    assert_eq!(server.get("/api/v1/overview").1["queries"]["paused"], 1);
    server.ksql(&format!("RESUME {id};"));
    let (status, wrong) = server.get("/api/v1/overview?x=1");
    assert_eq!((status, &wrong["code"]), (400, &json!(40000)), "{wrong}");
}

#[test]
fn the_graph_is_that_of_the_catalogue() {
    let (server, id) = counting();
    let graph = server.get("/api/v1/graph").1;
    let query = format!("query:{id}");
    assert_eq!(names(&graph["nodes"], "id"), ["topic:C", "topic:t", "stream:S", "table:C", query.as_str()]);
    let edges: Vec<String> = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!("{} {} {}", e["from"].as_str().unwrap(), e["kind"].as_str().unwrap(), e["to"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "topic:C backs table:C".to_owned(),
        "topic:t backs stream:S".to_owned(),
        format!("stream:S reads {query}"),
        format!("{query} writes table:C"),
    ];
    assert_eq!(edges, expected);
    let near = server.get("/api/v1/graph?at=s&depth=1").1;
    assert_eq!(names(&near["nodes"], "id"), ["topic:t", "stream:S", query.as_str()]);
    assert_eq!(server.get("/api/v1/graph?at=nosuch").0, 404);
    assert_eq!(server.get("/api/v1/graph?depth=two").0, 400);
}

#[test]
fn the_past_is_kept_by_second() {
    let (server, id) = counting();
    let path = format!("/api/v1/history?query={id}&series=in,lag,stateBytes");
    let sum = |values: &Value| values.as_array().unwrap().iter().filter_map(Value::as_f64).sum::<f64>();
    until("four records were counted", || sum(&server.get(&path).1["series"]["in"]) == 4.0);
    let history = server.get(&path).1;
    assert_eq!(history["stepMillis"], 1000);
    let [read, lag] = ["in", "lag"].map(|name| history["series"][name].as_array().unwrap().len());
    assert_eq!(read, lag);
    let now = server.get("/api/v1/overview").1["now"].as_i64().unwrap();
    let end = history["start"].as_i64().unwrap() + 1000 * read as i64;
    assert!((now - end).abs() < 20_000, "the last value is that of the present: {end}, {now}");
    assert_eq!(sum(&server.get("/api/v1/history?series=in").1["series"]["in"]), 4.0, "all queries together");
    let since = server.get(&format!("{path}&since={end}")).1;
    assert!(since["series"]["in"].as_array().unwrap().len() <= 20, "{since}");
    assert_eq!(server.get("/api/v1/history?step=15s").1["stepMillis"], 15_000);
    for (wrong, status) in [("series=nosuch", 400), ("step=1m", 400), ("query=NOSUCH", 404), ("since=x", 400)] {
        assert_eq!(server.get(&format!("/api/v1/history?{wrong}")).0, status, "{wrong}");
    }
}

/// The value of a metric with these labels.
fn metric(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')).map(|value| value.parse().unwrap())
}

/// The only row of a query without EMIT, by column.
fn row(server: &Server, sql: &str) -> Value {
    let lines: Vec<Value> = server.lines(sql).collect();
    assert_eq!(lines.len(), 2, "{sql}: {lines:?}");
    let names = lines[0]["columnNames"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    Value::Object(names.zip(lines[1].as_array().unwrap().iter().cloned()).collect())
}

#[test]
fn the_api_metrics_sql_and_describe_tell_the_same_numbers() {
    let (server, id) = counting();
    // Settled: nothing moves any more but times and rates.
    until("the commits rest", || {
        let commits = || server.get(&format!("/api/v1/queries/{id}")).1["commits"].clone();
        let before = commits();
        SystemClock::shared().sleep(Duration::from_millis(300));
        before == commits()
    });
    let api = server.get(&format!("/api/v1/queries/{id}")).1;
    let (_, scraped) = server.get("/metrics");
    let scraped = scraped.as_str().unwrap();
    let table = row(&server, &format!("SELECT * FROM system.queries WHERE id = '{id}';"));
    let described = server.ksql("DESCRIBE c EXTENDED;")[0]["sourceDescription"].clone();
    let statistics = described["statistics"].as_str().unwrap().to_owned();
    for (field, column, name, stated) in [
        ("rowsIn", "ROWS_IN", "records_in_total", "total-messages-read"),
        ("rowsOut", "ROWS_OUT", "records_out_total", "total-messages"),
        ("bytesIn", "BYTES_IN", "bytes_in_total", "bytes-read"),
        ("bytesOut", "BYTES_OUT", "bytes_out_total", "bytes-written"),
        ("commits", "COMMITS", "commits_total", "commits"),
        ("restarts", "RESTARTS", "restarts_total", "restarts"),
        ("stateKeys", "STATE_KEYS", "state_keys", "state-keys"),
        ("stateBytes", "STATE_BYTES", "state_bytes", "state-bytes"),
        ("lag", "LAG", "lag_records", "lag"),
        ("bad", "BAD", "records_bad_total", ""),
        ("late", "LATE", "records_late_total", ""),
    ] {
        let value = &api[field];
        assert!(value.is_number(), "{field}: {api}");
        assert_eq!(&table[column], value, "{column}");
        let told = metric(scraped, &format!("tidegate_query_{name}{{query=\"{id}\"}}"));
        assert_eq!(told, value.as_f64(), "{name}");
        if !stated.is_empty() {
            assert!(
                format!(" {statistics} ").contains(&format!(" {stated}: {value} ")),
                "{stated}: {value}: {statistics}"
            );
        }
    }
    let time = metric(scraped, &format!("tidegate_query_stream_time_seconds{{query=\"{id}\"}}")).unwrap();
    assert_eq!((time * 1e3).round() as i64, api["streamTime"].as_i64().unwrap());
    let count = metric(scraped, &format!("tidegate_query_commit_duration_seconds_count{{query=\"{id}\"}}"));
    assert_eq!(count, api["commitMillis"]["count"].as_f64());
    for partition in api["partitions"].as_array().unwrap() {
        let [topic, number] = ["topic", "partition"].map(|field| partition[field].to_string().replace('"', ""));
        let labels = format!("{{query=\"{id}\",topic=\"{topic}\",partition=\"{number}\"}}");
        let lag = metric(scraped, &format!("tidegate_query_partition_lag_records{labels}"));
        assert_eq!(lag, partition["lag"].as_f64(), "{labels}");
        let sql = format!("SELECT * FROM system.partitions WHERE query_id = '{id}' AND partition = {number};");
        let stored = row(&server, &sql);
        assert_eq!((&stored["LAG"], &stored["END_OFFSET"]), (&partition["lag"], &partition["end"]), "{stored}");
    }
    let explained = server.ksql(&format!("EXPLAIN {id};"))[0]["queryDescription"]["executionPlan"].to_string();
    for stage in api["stages"].as_array().unwrap() {
        let numbers = format!("in: {} out: {}", stage["rowsIn"], stage["rowsOut"]);
        assert!(explained.contains(stage["id"].as_str().unwrap()) && explained.contains(&numbers), "{explained}");
    }
}

#[test]
fn the_system_tables_are_read_like_any_other() {
    let (server, id) = counting();
    let joined = row(
        &server,
        "SELECT q.id AS id, COUNT(*) AS n, SUM(p.end_offset) AS records FROM system.queries q \
         JOIN system.partitions p ON q.id = p.query_id GROUP BY q.id;",
    );
    assert_eq!(joined, json!({ "ID": id, "N": 2, "RECORDS": 4 }));
    let topic = row(&server, "SELECT records, read_by, written_by FROM system.topics WHERE name = 't';");
    assert_eq!(topic, json!({ "RECORDS": 4, "READ_BY": [id], "WRITTEN_BY": [] }));
    assert_eq!(row(&server, "SELECT COUNT(*) AS n FROM system.problems;")["N"], 0);
    // With the user's own streams, in a subquery, and qualified by the table's name.
    let sql = "SELECT k FROM s WHERE n = 1 AND EXISTS (SELECT 1 FROM system.queries WHERE queries.state = 'RUNNING');";
    assert_eq!(row(&server, sql), json!({ "K": "a" }));
    until("the past has been sampled", || {
        let read = row(&server, "SELECT SUM(in_rate) AS n FROM system.history WHERE step_millis = 1000;");
        read["N"].as_f64() == Some(4.0)
    });
    for (sql, message) in [
        ("SELECT * FROM system.queries EMIT CHANGES;", "system.queries can only be read by queries without EMIT"),
        ("SELECT * FROM system.nosuch;", "there is no table system.nosuch"),
    ] {
        let (status, body) = server.post("/query-stream", &json!({ "sql": sql }));
        assert_eq!(status, 400, "{body}");
        assert!(body["message"].as_str().unwrap().starts_with(message), "{body}");
    }
    let refused = server.refused("CREATE TABLE x AS SELECT id, COUNT(*) AS n FROM system.queries GROUP BY id;");
    assert!(refused["message"].as_str().unwrap().contains("without EMIT"), "{refused}");
}

#[test]
fn metrics_follow_the_accept_header_and_the_dashboard_their_names() {
    let (server, _) = counting();
    server.lines("SELECT * FROM c WHERE k = 'a';").for_each(drop);
    let url = format!("http://{}/metrics", server.address);
    let open = server.agent.get(&url).header("accept", "application/openmetrics-text; version=1.0.0").call().unwrap();
    let kind = open.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let open = open.into_body().read_to_string().unwrap();
    assert!(open.ends_with("\n# EOF\n") && open.contains("# TYPE tidegate_query_records_in counter\n"), "{open}");
    let text = server.get("/metrics").1.as_str().unwrap().to_owned();
    assert!(metric(&text, "tidegate_pull_query_duration_seconds_count").unwrap() >= 1.0);
    let requests = "tidegate_http_request_duration_seconds_count{route=\"/ksql\",method=\"POST\"}";
    assert!(metric(&text, requests).unwrap() >= 6.0, "{text}");

    let names: std::collections::BTreeSet<&str> =
        text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(['{', ' ']).next()).collect();
    let dashboard = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/grafana-dashboard.json"));
    let dashboard: Value = serde_json::from_str(&dashboard.unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    expressions.extend(variables.iter().filter_map(|v| v["query"].as_str()).filter(|query| query.contains('(')));
    assert!(expressions.len() >= 20);
    // Without samples here: the log is in memory, and nothing panicked.
    let absent = ["tidegate_log_bytes", "tidegate_panics_total"];
    for expression in expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let used: Vec<&str> = words.filter(|w| w.starts_with("tidegate_") || w.starts_with("process_")).collect();
        assert!(!used.is_empty(), "{expression}");
        for name in used {
            assert!(names.contains(name) || absent.contains(&name), "{name} of {expression} is no metric");
            let opens = expression.matches('(').count() + expression.matches('{').count();
            assert_eq!(opens, expression.matches(')').count() + expression.matches('}').count(), "{expression}");
        }
    }
}
