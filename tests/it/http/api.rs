//! Endpoint by endpoint, in the forms that ksqlDB's clients ask for.

use super::*;

impl Server {
    /// A request with these headers; status, content type and body.
    fn raw(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
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
    let ask = |path: &str, accept: &str, body: &str| server.raw(path, &[("accept", accept)], body);
    let delimited = "application/vnd.ksqlapi.delimited.v1";
    let lines = "{\"queryId\":null,\"columnNames\":[\"ID\",\"V\"],\"columnTypes\":[\"INTEGER\",\"STRING\"]}\n[1,\"one\"]\n[2,null]\n";
    for accept in ["*/*", delimited] {
        assert_eq!(ask("/query-stream", accept, &sql), (200, delimited.to_owned(), lines.to_owned()), "{accept}");
    }
    // No header at all, as some clients send it.
    assert_eq!(server.raw("/query-stream", &[], &sql).2, lines);
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
        "{\"id\":2,\"nothing\":1}\n",
        "not json\n",
        "{\"id\":3}",
    );
    let (status, kind, answers) = server.raw("/inserts-stream", &[], body);
    assert_eq!((status, kind.as_str()), (200, "application/vnd.ksqlapi.delimited.v1"));
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert_eq!((&answers[0], &answers[3]), (&json!({"status":"ok","seq":0}), &json!({"status":"ok","seq":3})));
    assert_eq!((&answers[1]["status"], &answers[1]["seq"]), (&json!("error"), &json!(1)));
    assert!(answers[1]["message"].as_str().unwrap().contains("NOTHING"), "{answers:?}");
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
    assert_eq!(server.get("/is_valid_property/auto.offset.reset"), (200, json!(true)));
    let (code, body) = server.get("/is_valid_property/no.such.thing");
    assert_eq!((code, &body["error_code"]), (400, &json!(40000)));
    let (_, cluster) = server.get("/clusterStatus");
    let host = &cluster["clusterStatus"][&server.address];
    assert_eq!(host["hostAlive"], true, "{cluster}");
    assert!(host["activeStandbyPerQuery"]["CSAS_T_1"].is_object(), "{cluster}");
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
    assert_eq!(all[1]["sourceDescriptions"][0]["name"], "C");
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
    let all: Vec<Value> = server.lines("PRINT s FROM BEGINNING LIMIT 3;").collect();
    assert_eq!(all[0]["columnNames"], json!(["rowtime", "key", "value", "partition", "offset"]));
    let shown: Vec<[&Value; 4]> = all[1..].iter().map(|r| [&r[1], &r[2], &r[3], &r[4]]).collect();
    assert_eq!(shown[0], [&json!("1 (INTEGER)"), &json!("{\"V\":\"one\"}"), &json!(0), &json!(0)]);
    assert_eq!((shown[2][0], shown[2][3]), (&json!(null), &json!(2)));
    let some: Vec<Value> = server.lines("PRINT s FROM BEGINNING INTERVAL 2 LIMIT 2;").collect();
    assert_eq!((&some[1][4], &some[2][4]), (&json!(0), &json!(2)));
    let mut live = server.lines("PRINT s;");
    live.next();
    server.ksql("INSERT INTO s VALUES (4, 'four');");
    assert_eq!(live.next().unwrap()[1], "4 (INTEGER)");
    let (status, body) = server.post("/query-stream", &json!({ "sql": "PRINT nowhere;" }));
    assert_eq!((status, &body["error_code"]), (400, &json!(40001)));
    assert!(body["message"].as_str().unwrap().contains("Could not find topic"), "{body}");
}
