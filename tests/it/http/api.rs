//! Endpoint by endpoint, in the forms that ksqlDB's clients ask for.

use super::*;

impl Server {
    /// A request with these headers; status, content type and body.
    pub(super) fn raw(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
        let mut request = self.agent.post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send(body).unwrap();
        let kind = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        (answer.status().as_u16(), kind, answer.into_body().read_to_string().unwrap())
    }
}

const SOURCE: &str =
    "CREATE STREAM s (id INT KEY, v STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);";

#[test]
fn a_request_is_checked_whole_before_anything_is_done() {
    let server = Server::start();
    let wrong = format!("{SOURCE} CREATE STREAM t AS SELECT * FROM s; CREATE STREAM u AS SELECT id, nothing FROM t;");
    let body = server.refused(&wrong);
    assert_eq!(body["statementText"], "CREATE STREAM u AS SELECT id, nothing FROM t;");
    assert!(body["message"].as_str().unwrap().contains("NOTHING"), "{body}");
    assert_eq!(body["entities"], json!([]));
    assert_eq!(server.ksql("SHOW STREAMS; SHOW TOPICS;")[0]["streams"], json!([]));
    // What a statement needs may be made by one before it, and unmade.
    server.ksql(&format!(
        "{SOURCE} CREATE STREAM t AS SELECT * FROM s; INSERT INTO s VALUES (1, 'x'); DESCRIBE t;
         TERMINATE CSAS_T_1; DROP STREAM t DELETE TOPIC; CREATE STREAM t AS SELECT id, v FROM s;"
    ));
    // Whatever is recorded counts in the ids of the queries after it.
    server.ksql(
        "CREATE TYPE pair AS STRUCT<a INT>; DROP TYPE pair; CREATE STREAM w AS SELECT * FROM s; PAUSE CSAS_W_7;
         CREATE STREAM x AS SELECT * FROM s; TERMINATE CSAS_X_9; TERMINATE CSAS_W_7; DROP STREAM w; DROP STREAM x;",
    );
    let body = server.refused("DROP STREAM t; TERMINATE CSAS_T_9; DROP STREAM s;");
    assert!(body["message"].as_str().unwrap().contains("CSAS_T_9"), "{body}");
    assert_eq!(server.ksql("SHOW STREAMS;")[0]["streams"].as_array().unwrap().len(), 2);
}

/// What only the world can answer is asked when its turn comes: by then the statements before it have been carried out.
#[test]
fn a_list_that_fails_half_way_says_what_it_did() {
    let server = Server::start();
    let third = "ASSERT TOPIC s WITH (PARTITIONS = 9) TIMEOUT 0 SECONDS;";
    let body = server.refused(&format!("{SOURCE} CREATE STREAM t AS SELECT * FROM s; {third} DROP STREAM t;"));
    assert_eq!((&body["error_code"], &body["statementText"]), (&json!(41700), &json!(third)));
    let done: Vec<&Value> = body["entities"].as_array().unwrap().iter().map(|e| &e["commandId"]).collect();
    assert_eq!(done, ["stream/`S`/create", "stream/`T`/create"], "{body}");
    assert_eq!(server.ksql("SHOW STREAMS;")[0]["streams"].as_array().unwrap().len(), 2, "the fourth was not tried");
    // What can be known before is asked of all before the first is carried out.
    for last in ["EXPLAIN SELECT * FROM nosuch EMIT CHANGES;", "DESCRIBE FUNCTION nosuch;", "DESCRIBE nosuch;"] {
        let body = server.refused(&format!("DROP STREAM t; {last}"));
        assert_eq!((&body["statementText"], &body["entities"]), (&json!(last), &json!([])), "{body}");
    }
    assert_eq!(server.ksql("SHOW STREAMS;")[0]["streams"].as_array().unwrap().len(), 2);
}

#[test]
fn a_variable_holds_from_its_definition_on() {
    let server = Server::start();
    let answers = server.ksql(
        "DEFINE topic = 'first'; DEFINE name = 'a';
         CREATE STREAM ${name} (v INT) WITH (KAFKA_TOPIC='${topic}', VALUE_FORMAT='JSON', PARTITIONS=1);
         DEFINE topic = 'second'; DEFINE name = 'b';
         CREATE STREAM ${name} (v INT) WITH (KAFKA_TOPIC='${topic}', VALUE_FORMAT='JSON', PARTITIONS=1); SHOW STREAMS;",
    );
    let shown = &answers.last().unwrap()["streams"];
    assert_eq!((&shown[0]["topic"], &shown[1]["topic"]), (&json!("first"), &json!("second")));
    // What a variable holds is where an error is, the statement is what was written.
    let body = server.refused("DEFINE t = 'nowhere'; DESCRIBE ${t};");
    assert!(body["message"].as_str().unwrap().to_uppercase().contains("NOWHERE"), "{body}");
}

#[test]
fn rows_come_in_three_forms() {
    let server = Server::start();
    server.ksql(SOURCE);
    server.ksql("INSERT INTO s VALUES (1, 'one'); INSERT INTO s VALUES (2, NULL);");
    let sql = json!({ "sql": "SELECT * FROM s;" }).to_string();
    // Without the number of the query, which is another each time.
    let bare = |(status, kind, body): (u16, String, String)| {
        let text = body.split_once("\"query_").map_or(body.clone(), |(before, id)| {
            format!("{before}\"query_{}", id.trim_start_matches(|c: char| c.is_ascii_digit()))
        });
        (status, kind, text)
    };
    let ask = |path: &str, accept: &str, body: &str| bare(server.raw(path, &[("accept", accept)], body));
    let delimited = "application/vnd.ksqlapi.delimited.v1";
    let lines = "{\"queryId\":\"query_\",\"columnNames\":[\"ID\",\"V\"],\"columnTypes\":[\"INTEGER\",\"STRING\"]}\n[1,\"one\"]\n[2,null]\n";
    for accept in ["*/*", delimited] {
        assert_eq!(ask("/query-stream", accept, &sql), (200, delimited.to_owned(), lines.to_owned()), "{accept}");
    }
    // No header at all, as some clients send it.
    assert_eq!(bare(server.raw("/query-stream", &[], &sql)).2, lines);
    for accept in ["application/json", "application/json, text/plain, */*"] {
        let (status, kind, body) = ask("/query-stream", accept, &sql);
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        let rows: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(rows[0]["columnNames"], json!(["ID", "V"]));
        assert_eq!(rows.as_array().unwrap()[1..], [json!([1, "one"]), json!([2, null])]);
    }
    let old = json!({ "ksql": "SELECT * FROM s;", "streamsProperties": {} }).to_string();
    for (path, accept, body) in [
        ("/query-stream", "application/vnd.ksql.v1+json", &sql),
        ("/query", "application/vnd.ksql.v1+json", &old),
        ("/query", "application/json", &old),
        ("/query", "*/*", &old),
    ] {
        let (status, kind, body) = ask(path, accept, body);
        assert_eq!((status, kind.as_str()), (200, "application/vnd.ksql.v1+json"));
        let rows: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(rows[0]["header"]["schema"], "`ID` INTEGER, `V` STRING");
        assert_eq!(rows[1], json!({ "row": { "columns": [1, "one"] } }));
        assert_eq!(rows[2], json!({ "row": { "columns": [2, null] } }));
        assert_eq!(rows[3], json!({ "finalMessage": "Query Completed" }));
    }
    let (status, _, body) = ask("/query-stream", "text/html", &sql);
    assert_eq!(status, 406, "{body}");
    assert_eq!(ask("/ksql", "text/html", &json!({ "ksql": "SHOW STREAMS;" }).to_string()).0, 406);
}

#[test]
fn a_push_query_is_closed_from_outside() {
    let server = Server::start();
    server.ksql(SOURCE);
    server.ksql("INSERT INTO s VALUES (1, 'one');");
    let mut lines = server.lines("SELECT * FROM s EMIT CHANGES;");
    let id = lines.next().unwrap()["queryId"].clone();
    assert_eq!(lines.next().unwrap(), json!([1, "one"]));
    assert_eq!(server.post("/close-query", &json!({ "queryId": id })).0, 200);
    assert_eq!(lines.next(), None, "the response ends");
    until("the query is forgotten", || server.post("/close-query", &json!({ "queryId": id })).0 == 400);
    let (status, body) = server.post("/close-query", &json!({ "queryId": "nobody" }));
    assert_eq!((status, &body["error_code"]), (400, &json!(40000)));
    assert!(body["message"].as_str().unwrap().contains("No query with id nobody"), "{body}");
}

#[test]
fn rows_are_written_and_acknowledged_one_by_one() {
    let server = Server::start();
    server.ksql(
        "CREATE STREAM n (id INT KEY, v STRING, d DOUBLE, b BOOLEAN, a ARRAY<INT>, m MAP<STRING, INT>,
           st STRUCT<x INT, y STRING>, `low` BIGINT) WITH (KAFKA_TOPIC='n', VALUE_FORMAT='JSON', PARTITIONS=1);",
    );
    let body = concat!(
        "{ \"target\": \"n\", \"properties\": {} }\n",
        "{\"id\":1,\"V\":\"it's\",\"d\":1.5,\"b\":true,\"a\":[1,null,3],\"m\":{\"k\":7},\"st\":{\"x\":1,\"y\":\"z\"},\"`low`\":9000000000}\n",
        "\n",
        "{\"v\":\"no key\"}\n",
        "not json\n",
        "{\"id\":3,\"nothing\":1}",
    );
    let (status, kind, answers) = server.raw("/inserts-stream", &[], body);
    assert_eq!((status, kind.as_str()), (200, "application/vnd.ksqlapi.delimited.v1"));
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert_eq!((&answers[0], &answers[3]), (&json!({"status":"ok","seq":0}), &json!({"status":"ok","seq":3})));
    assert_eq!((&answers[1]["status"], &answers[1]["seq"]), (&json!("error"), &json!(1)));
    assert!(answers[1]["message"].as_str().unwrap().contains("Key field must be specified: ID"), "{answers:?}");
    assert_eq!(answers[2]["status"], "error");
    let rows: Vec<Value> = server.lines("SELECT * FROM n;").skip(1).collect();
    let first = json!([1, "it's", 1.5, true, [1, null, 3], {"k": 7}, {"X": 1, "Y": "z"}, 9_000_000_000i64]);
    assert_eq!(rows, [first, json!([3, null, null, null, null, null, null, null])]);

    let accept = [("accept", "application/json")];
    let (_, kind, array) = server.raw("/inserts-stream", &accept, "{\"target\":\"N\"}\n{\"id\":4}\n{\"id\":5}\n");
    assert_eq!(kind, "application/json");
    let array: Value = serde_json::from_str(&array).unwrap();
    assert_eq!(array, json!([{ "status": "ok", "seq": 0 }, { "status": "ok", "seq": 1 }]));
    assert_eq!(server.raw("/inserts-stream", &accept, "{\"target\":\"N\"}").2, "[]");
    let (status, _, error) = server.raw("/inserts-stream", &[], "{\"target\":\"nobody\"}\n{\"id\":4}\n");
    assert_eq!(status, 400);
    assert!(error.contains("unknown stream/table: `NOBODY`"), "{error}");
    assert_eq!(server.raw("/inserts-stream", &[], "").0, 400);
}

/// Rows that come together are one batch, in which each keeps its own result.
#[test]
fn a_row_that_fails_does_not_take_its_batch_with_it() {
    let server = Server::start();
    server.ksql(
        "CREATE STREAM n (id INT KEY, ts TIMESTAMP, x DECIMAL(6, 2), a ARRAY<STRUCT<b BYTES, c BIGINT>>, m MAP<STRING, ARRAY<INT>>)
           WITH (KAFKA_TOPIC='n', VALUE_FORMAT='JSON', PARTITIONS=1);",
    );
    let body = [
        json!({ "target": "n" }),
        json!({ "id": 1, "ts": "2024-01-02T03:04:05", "x": 12.5, "a": [{ "b": "AQI", "c": -7 }, null, {}], "m": { "k": [1, null] } }),
        json!({ "id": 2, "a": [{ "nothing": 1 }] }),
        json!({ "id": 3_000_000_000i64 }),
        json!({ "id": 4, "x": "12.345" }),
        json!({ "id": 5, "a": "text" }),
        json!({ "id": 6, "a": [], "m": {} , "ROWTIME": 7 }),
        json!({ "id": 7, "ROWTIME": -1 }),
        json!({ "id": 9, "a": [{ "b": "?" }] }),
        json!({ "id": 10, "a": null }),
    ];
    let body: String = body.iter().map(|line| format!("{line}\n")).collect();
    let (_, _, answers) = server.raw("/inserts-stream", &[], &body);
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = answers.iter().map(|answer| answer["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..9).collect::<Vec<_>>(), "{answers:?}");
    let said = |row: usize| answers[row]["message"].as_str().unwrap_or("ok").to_owned();
    let failed: Vec<usize> = (0..9).filter(|row| answers[*row]["status"] == "error").collect();
    assert_eq!(failed, [1, 2, 4, 6, 7], "{answers:?}");
    assert!(said(1).contains("there is no field `NOTHING`"), "{}", said(1));
    assert!(said(2).contains("is a BIGINT, and the column an INTEGER"), "{}", said(2));
    assert!(said(4).contains("ARRAY") && said(4).contains("in column A"), "{}", said(4));
    assert!(said(6).contains("ROWTIME must be a non-negative number of milliseconds"), "{}", said(6));
    assert!(said(7).contains("invalid base64: ?"), "{}", said(7));
    let rows: Vec<Value> = server.lines("SELECT id, ts, x, a, m FROM n;").skip(1).collect();
    let price: Value = serde_json::from_str("12.50").unwrap();
    let first = json!([1, "2024-01-02T03:04:05.000", price, [{ "B": "AQI=", "C": -7 }, null, { "B": null, "C": null }], { "k": [1, null] }]);
    assert_eq!(rows[0], first);
    let ids: Vec<i64> = rows.iter().map(|row| row[0].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 4, 6, 10], "{rows:?}");
    assert_eq!((&rows[2][3], &rows[2][4]), (&json!([]), &json!({})));
}

/// A client that keeps its request open gets each answer before it sends the next row.
#[test]
fn answers_do_not_wait_for_the_end_of_the_rows() {
    let server = Server::start();
    server.ksql(SOURCE);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /inserts-stream HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let send = |stream: &mut TcpStream, text: &str| write!(stream, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    send(&mut stream, "{\"target\":\"s\"}\n");
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut wait_for = |wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "{wanted} did not come");
        }
    };
    for seq in 0..3 {
        send(&mut stream, &format!("{{\"id\":{seq}}}\n"));
        wait_for(&format!("\"seq\":{seq}"));
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
}

#[test]
fn the_server_tells_how_it_and_its_statements_are() {
    let server = Server::start();
    server.ksql(&format!("{SOURCE} CREATE STREAM t AS SELECT * FROM s;"));
    for path in ["/livez", "/readyz", "/chc/live", "/chc/ready", "/v1/metadata", "/v1/metadata/id"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
    let (_, status) = server.get("/status/stream/T/create");
    assert_eq!((&status["status"], &status["message"]), (&json!("SUCCESS"), &json!("Created query with ID CSAS_T_1")));
    let (_, all) = server.get("/status");
    assert_eq!(all["commandStatuses"]["stream/`S`/create"], "SUCCESS");
    assert_eq!(server.get("/status/stream/NOBODY/create").0, 404);
    let (_, cluster) = server.get("/clusterStatus");
    let host = &cluster["clusterStatus"][&server.address];
    assert_eq!(host["hostAlive"], true, "{cluster}");
    assert!(host["activeStandbyPerQuery"]["CSAS_T_1"].is_object(), "{cluster}");
    // A client asks with the id that it was answered.
    let changed = server.ksql(
        "CREATE TYPE ty AS INT; ALTER STREAM s ADD COLUMN w INT; PAUSE ALL; RESUME CSAS_T_1; INSERT INTO t SELECT id, v FROM s;
         TERMINATE ALL; DROP STREAM t; DROP TYPE ty;",
    );
    let ids: Vec<&str> = changed.iter().map(|answer| answer["commandId"].as_str().unwrap()).collect();
    let wanted = [
        "type/TY/create",
        "stream/S/alter",
        "pause/ALL/execute",
        "resume/CSAS_T_1/execute",
        "stream/`T`/create",
        "terminate/ALL/execute",
        "stream/T/drop",
        "type/TY/drop",
    ];
    assert_eq!(ids, wanted);
    for answer in &changed {
        let id = answer["commandId"].as_str().unwrap();
        let (code, status) = server.get(&format!("/status/{}", id.replace('`', "%60")));
        assert_eq!((code, &status["message"]), (200, &answer["commandStatus"]["message"]), "{id}");
    }
    assert_eq!(server.get("/is_valid_property/auto.offset.reset"), (200, json!(true)));
    let (code, body) = server.get("/is_valid_property/no.such.thing");
    assert_eq!((code, &body["error_code"]), (400, &json!(40000)));
}

/// Clients that speak HTTP through a proxy send the whole address in the first line.
#[test]
fn the_first_line_may_hold_the_whole_address() {
    let server = Server::start();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let body = "{\"ksql\":\"SHOW STREAMS;\"}";
    write!(
        stream,
        "POST http://{}/ksql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"streams\":[]"), "{answer}");
}

#[test]
fn a_push_query_is_listed_and_can_be_terminated() {
    let server = Server::start();
    server.ksql(SOURCE);
    let mut live = server.lines("SELECT v FROM s EMIT CHANGES;");
    let id = live.next().unwrap()["queryId"].as_str().unwrap().to_owned();
    let shown = server.ksql("SHOW QUERIES;");
    let query = &shown[0]["queries"][0];
    assert_eq!((&query["id"], &query["queryType"], &query["state"]), (&json!(id), &json!("PUSH"), &json!("RUNNING")));
    assert_eq!((&query["queryString"], &query["sinks"]), (&json!("SELECT v FROM s EMIT CHANGES;"), &json!([])));
    let ended = server.ksql(&format!("SHOW STREAMS; TERMINATE {id};"));
    assert_eq!(ended[1]["@type"], "terminate_query");
    assert_eq!((&ended[1]["queryId"], &ended[1]["wasTerminated"]), (&json!(id), &json!(true)));
    assert_eq!(live.next(), None, "its rows end");
    until("it is no more listed", || server.ksql("SHOW QUERIES;")[0]["queries"] == json!([]));
    assert!(server.refused(&format!("TERMINATE {id};"))["message"].as_str().unwrap().contains(&id.to_uppercase()));
}

#[test]
fn extended_lists_describe_each() {
    let server = Server::start();
    let none = server.ksql("SHOW STREAMS EXTENDED; LIST TABLES EXTENDED; SHOW QUERIES EXTENDED;");
    assert_eq!((&none[0]["@type"], &none[0]["sourceDescriptions"]), (&json!("source_descriptions"), &json!([])));
    assert_eq!((&none[2]["@type"], &none[2]["queryDescriptions"]), (&json!("query_descriptions"), &json!([])));
    server.ksql(SOURCE);
    server.ksql("CREATE TABLE c AS SELECT v, COUNT(*) AS n FROM s GROUP BY v;");
    let all = server.ksql("SHOW STREAMS EXTENDED; LIST TABLES EXTENDED; SHOW QUERIES EXTENDED;");
    let stream = &all[0]["sourceDescriptions"][0];
    assert_eq!((&stream["name"], &stream["extended"], &stream["partitions"]), (&json!("S"), &json!(true), &json!(1)));
    assert_eq!(stream["readQueries"][0]["id"], "CTAS_C_1");
    let table = || server.ksql("DESCRIBE c EXTENDED;")[0]["sourceDescription"].clone();
    assert_eq!(all[1]["sourceDescriptions"][0]["name"], "C");
    server.ksql("INSERT INTO s VALUES (1, 'one'); INSERT INTO s VALUES (2, 'two');");
    until("the query has committed both rows", || table()["statistics"].as_str().unwrap().contains(" lag: 0 "));
    let table = table();
    assert!(table["statistics"].as_str().unwrap().contains("total-messages-read: 2 total-messages: 2"), "{table}");
    assert_eq!(table["errorStats"], "CTAS_C_1: bad-records: 0 late-records: 0");
    let summary = &table["queryOffsetSummaries"][0];
    assert_eq!(summary["groupId"], "_confluent-ksql-default_query_CTAS_C_1");
    let offset = json!({ "partition": 0, "logStartOffset": 0, "logEndOffset": 2, "consumerOffset": 2 });
    assert_eq!(summary["topicSummaries"], json!([{ "kafkaTopic": "s", "offsets": [offset] }]));
    let query = &all[2]["queryDescriptions"][0];
    assert_eq!((&query["id"], &query["queryType"]), (&json!("CTAS_C_1"), &json!("PERSISTENT")));
    assert!(query["executionPlan"].as_str().unwrap().contains("Aggregate"), "{query}");
}

#[test]
fn what_belongs_to_the_server_is_not_overridden() {
    let server = Server::start();
    assert_eq!(server.get("/is_valid_property/auto.offset.reset"), (200, json!(true)));
    for name in ["ksql.service.id", "bootstrap.servers", "ksql.streams.state.dir"] {
        let (status, body) = server.get(&format!("/is_valid_property/{name}"));
        assert_eq!((status, &body["error_code"]), (400, &json!(40000)), "{body}");
        let body = json!({ "ksql": "SHOW STREAMS;", "streamsProperties": { name: "x" } });
        let (status, body) = server.post("/ksql", &body);
        assert_eq!((status, body["message"].as_str().unwrap().contains("Cannot override property")), (400, true));
    }
}

#[test]
fn print_shows_records_and_guesses_their_formats() {
    let server = Server::start();
    server.ksql(SOURCE);
    server
        .ksql("INSERT INTO s VALUES (1, 'one'); INSERT INTO s VALUES (2, 'two'); INSERT INTO s (v) VALUES ('three');");
    let sql = |text: &str| json!({ "sql": text }).to_string();
    let print = |text: &str| server.raw("/query-stream", &[], &sql(text));
    let (status, kind, all) = print("PRINT s FROM BEGINNING LIMIT 3;");
    assert_eq!((status, kind.as_str()), (200, "application/vnd.ksqlapi.delimited.v1"));
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines[..2], ["Key format: KAFKA_INT", "Value format: JSON"], "{all}");
    assert!(lines[2].starts_with("rowtime: 20") && lines[2].contains(" Z, key: 1 (INTEGER), "), "{all}");
    assert!(lines[2].ends_with("value: {\"V\":\"one\"}, partition: 0"), "{all}");
    assert!(lines[4].contains("key: <null>, value: {\"V\":\"three\"}") && lines.len() == 5, "{all}");
    let some = print("PRINT s FROM BEGINNING INTERVAL 2 LIMIT 2;").2;
    assert!(some.contains("one") && some.contains("three") && !some.contains("two"), "{some}");
    // Text is all that PRINT comes as, and the older endpoint says so to everybody.
    let json = [("accept", "application/json")];
    assert_eq!(server.raw("/query-stream", &json, &sql("PRINT s FROM BEGINNING LIMIT 1;")).0, 406);
    let old = json!({ "ksql": "PRINT s FROM BEGINNING LIMIT 1;" }).to_string();
    assert!(server.raw("/query", &json, &old).2.starts_with("Key format: KAFKA_INT\n"));
    let body = sql("PRINT s;");
    let answer = server.agent.post(format!("http://{}/query-stream", server.address)).send(body).unwrap();
    let mut live = BufReader::new(answer.into_body().into_reader()).lines().map(|line| line.unwrap());
    server.ksql("INSERT INTO s VALUES (4, 'four');");
    assert!(live.find(|line| line.starts_with("rowtime")).unwrap().contains("key: 4 (INTEGER)"));
    let (status, body) = server.post("/query-stream", &json!({ "sql": "PRINT nowhere;" }));
    assert_eq!((status, &body["error_code"]), (400, &json!(40001)));
    assert!(body["message"].as_str().unwrap().contains("Could not find topic"), "{body}");
}

/// What a node of a ksqlDB cluster hears from the others.
#[test]
fn a_single_node_hears_what_others_would_tell() {
    let server = Server::start();
    let host = json!({ "host": "10.0.0.2", "port": 8088 });
    let beat = json!({ "hostInfo": host, "timestamp": 1_795_255_200_000i64 });
    let lag = json!({ "ksqlHost": host, "hostStoreLags": { "stateStoreLags": {}, "updateTimeMs": 1 } });
    for (path, body) in [("/heartbeat", &beat), ("/lag", &lag)] {
        assert_eq!(server.post(path, body), (200, json!({ "isOk": true })), "{path}");
        let (status, error) = server.post(path, &json!({ "timestamp": "now" }));
        assert_eq!((status, &error["error_code"]), (400, &json!(40000)), "{path}");
    }
    let (_, cluster) = server.get("/clusterStatus");
    assert_eq!(cluster["clusterStatus"].as_object().unwrap().len(), 1, "nobody else is listed");
}

#[test]
fn statuses_are_the_same_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let place = ["--data", dir.path().to_str().unwrap()];
    let mut server = Server::at(&place);
    server.ksql(&format!(
        "{SOURCE} CREATE TABLE c AS SELECT v, COUNT(*) AS n FROM s GROUP BY v; CREATE STREAM t AS SELECT * FROM s;
         CREATE TYPE ty AS STRUCT<a INT>; DROP TYPE ty; ALTER STREAM s ADD COLUMN w INT; PAUSE CTAS_C_1; PAUSE ALL;
         RESUME ALL; TERMINATE CTAS_C_1; DROP TABLE c; INSERT INTO t SELECT id, v FROM s; TERMINATE ALL; DROP STREAM t;"
    ));
    let each = |server: &Server| -> Vec<Value> {
        let (_, all) = server.get("/status");
        let ids = all["commandStatuses"].as_object().unwrap().keys().cloned();
        ids.map(|id| json!([id, server.get(&format!("/status/{}", id.replace('`', "%60"))).1])).collect()
    };
    let before = each(&server);
    assert_eq!(before.len(), 13, "{before:?}");
    server.stop(rustix::process::Signal::KILL);
    assert_eq!(each(&Server::at(&place)), before);
}

#[test]
fn a_terminated_service_ends_and_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let place = ["--data", dir.path().to_str().unwrap()];
    let mut server = Server::at(&place);
    server.ksql(&format!(
        "{SOURCE} INSERT INTO s VALUES (1, 'one'); CREATE STREAM t AS SELECT * FROM s; CREATE STREAM bar1 AS SELECT * FROM s;
         CREATE STREAM kept AS SELECT * FROM s; CREATE TABLE counts AS SELECT v, COUNT(*) FROM s GROUP BY v;"
    ));
    let mut live = server.lines("SELECT * FROM s EMIT CHANGES;");
    let (status, error) = server.post("/ksql/terminate", &json!({ "deleteTopicList": ["T", "(("] }));
    assert_eq!((status, &error["error_code"]), (400, &json!(40000)));
    assert!(error["message"].as_str().unwrap().contains("Invalid pattern: (("), "{error}");
    // Topics that no query made stay, whatever the patterns say.
    let (status, answer) =
        server.post("/ksql/terminate", &json!({ "deleteTopicList": ["T", "(?i)bar.*", "s", "KEP"] }));
    assert_eq!((status, &answer[0]["commandId"]), (200, &json!("cluster/TerminateCluster/terminate")), "{answer}");
    assert_eq!(answer[0]["commandStatus"]["status"], "SUCCESS");
    assert_eq!(live.nth(2).unwrap()["error_code"], 50304, "a push query ends behind its header and a row");
    for (path, field) in [("/ksql", "ksql"), ("/query-stream", "sql"), ("/ksql/terminate", "nothing")] {
        let (status, error) = server.post(path, &json!({ field: "SELECT * FROM s;" }));
        assert_eq!((status, &error["error_code"]), (503, &json!(50304)), "{path}");
    }
    assert_eq!((server.get("/readyz").0, server.get("/livez").0), (503, 200));
    let (_, health) = server.get("/healthcheck");
    assert_eq!((&health["serverState"], &health["isHealthy"]), (&json!("TERMINATED"), &json!(false)));
    server.stop(rustix::process::Signal::TERM);
    let server = Server::at(&place);
    let all = server.ksql("SHOW STREAMS; SHOW TABLES; SHOW QUERIES; SHOW ALL TOPICS;");
    assert_eq!((&all[0]["streams"], &all[1]["tables"]), (&json!([]), &json!([])));
    assert_eq!(all[2]["queries"], json!([]));
    let topics: Vec<&str> = all[3]["topics"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(topics, ["COUNTS", "KEPT", "_confluent-ksql-default__command_topic", "s"]);
}
