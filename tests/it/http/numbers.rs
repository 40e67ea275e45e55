//! The numbers of `/api/v1`: what a query did is what its counters say.

use super::{COUNT, CREATE, Server, until};
use serde_json::{Value, json};

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
