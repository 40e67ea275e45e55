//! Topics and their records below `/api/v1`: lists, reading by place and condition, bad records, writing, plans, problems.

use super::browser::send;
use super::rights::House;
use super::*;

/// The lines of a request for records.
fn records(server: &Server, topic: &str, parameters: &str) -> Vec<Value> {
    let (status, body) = server.get(&format!("/api/v1/topics/{topic}/records?{parameters}"));
    assert_eq!(status, 200, "{body}");
    match body {
        // One line is JSON by itself.
        Value::String(text) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        one => vec![one],
    }
}

fn values(lines: &[Value], field: &str) -> Vec<Value> {
    lines.iter().map(|line| line[field].clone()).collect()
}

fn write(server: &Server, topic: &str, body: &Value) -> Value {
    let (status, body) = server.post(&format!("/api/v1/topics/{topic}/records"), body);
    assert_eq!(status, 200, "{body}");
    body
}

const READINGS: &str = "CREATE STREAM readings (car VARCHAR KEY, speed DOUBLE, big BIGINT) \
                        WITH (KAFKA_TOPIC='r', VALUE_FORMAT='JSON', PARTITIONS=1);";

#[test]
fn records_are_read_by_place_condition_and_form() {
    let server = Server::start();
    server.ksql(READINGS);
    let record = |n: i64| json!({ "key": "porsche", "value": { "SPEED": n * 100, "BIG": 9_007_199_254_740_993_i64 }, "time": 1_000 * n });
    let body = json!({ "records": (1..=3).map(record).collect::<Vec<_>>() });
    let written = write(&server, "r", &body);
    assert_eq!(written["offsets"][2], json!({ "partition": 0, "offset": 2 }));
    let raw = json!({ "records": [
        { "key": "한국", "value": "{\"SPEED\":\"fast\"}", "as": "text", "time": 4_000,
          "headers": [{ "key": "h", "value": "v" }, { "key": "b", "valueRaw": "/w==" }, { "key": "n" }] },
        { "key": "gone", "value": null, "time": 5_000 },
        { "key": "61", "value": "00ff", "as": "hex", "time": 6_000 },
    ] });
    write(&server, "r", &raw);

    let all = records(&server, "r", "offset=0");
    assert_eq!(values(&all, "offset"), [0, 1, 2, 3, 4, 5].map(Value::from));
    assert_eq!(all[0]["value"].to_string(), r#"{"SPEED":100.0,"BIG":9007199254740993}"#);
    assert_eq!(
        (&all[0]["key"], &all[0]["keyRaw"], &all[0]["time"]),
        (&json!("porsche"), &json!("cG9yc2NoZQ=="), &json!(1000))
    );
    assert_eq!((&all[0]["bad"], &all[0]["tombstone"]), (&Value::Null, &json!(false)));
    assert_eq!(all[3]["bad"]["path"], "SPEED");
    assert!(all[3]["bad"]["reason"].as_str().unwrap().contains("SPEED"), "{}", all[3]);
    assert_eq!(all[3]["headers"][1], json!({ "key": "b", "value": null, "valueRaw": "/w==" }));
    assert_eq!((&all[4]["tombstone"], &all[4]["value"]), (&json!(true), &Value::Null));
    assert!(all[5]["bad"].is_object() && all[5]["valueRaw"] == "AP8=");

    assert_eq!(values(&records(&server, "r", "time=3000&limit=2"), "offset"), [2, 3].map(Value::from));
    assert_eq!(values(&records(&server, "r", "last=2"), "offset"), [4, 5].map(Value::from));
    assert_eq!(values(&records(&server, "r", "where=speed%20%3E%20150"), "offset"), [1, 2].map(Value::from));
    assert_eq!(
        values(&records(&server, "r", "where=ROWTIME%20%3C%202500%20AND%20car%20LIKE%20'p%25'&last=1"), "offset"),
        [1].map(Value::from)
    );
    assert_eq!(records(&server, "r", "offset=3&limit=1&as=json")[0]["value"], json!({ "SPEED": "fast" }));
    assert_eq!(records(&server, "r", "offset=5&as=hex")[0]["value"], "00ff");
    assert_eq!(records(&server, "r", "offset=3&limit=1&as=text")[0]["key"], "한국");

    let refused = |parameters: &str| server.get(&format!("/api/v1/topics/r/records?{parameters}"));
    for wrong in ["limit=0", "limit=x", "offset=1&last=1", "as=xml", "nosuch=1", "partition=7", "live=perhaps"] {
        assert_eq!(refused(wrong).0, 400, "{wrong}");
    }
    let (_, body) = refused("where=speed%20%3E%20sped");
    assert_eq!(
        (&body["span"]["start"], &body["span"]["end"], &body["hint"]),
        (&json!(0), &json!(12), &json!("did you mean SPEED?"))
    );
    for injected in
        ["1%3D1)%20EMIT%20CHANGES%3B%20SELECT%20*%20FROM%20readings%20WHERE%20(1%3D1", "1%3D1)%20GROUP%20BY%20(car"]
    {
        assert_eq!(refused(&format!("where={injected}")).0, 400, "{injected}");
    }
    assert_eq!(server.get("/api/v1/topics/nosuch/records").0, 404);
}

#[test]
fn records_come_live_a_line_each() {
    let server = Server::start();
    server.ksql(READINGS);
    write(&server, "r", &json!({ "records": [{ "key": "old", "value": { "SPEED": 1 } }] }));
    let url = format!("http://{}/api/v1/topics/r/records?live=true&where=speed%20%3E%202", server.address);
    let answer = server.agent.get(url).call().unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
    for speed in [1, 3] {
        write(&server, "r", &json!({ "records": [{ "key": "new", "value": { "SPEED": speed } }] }));
    }
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&line["key"], &line["value"]["SPEED"]), (&json!("new"), &json!(3.0)));
}

#[test]
fn what_is_written_is_checked() {
    let house = House::new(&["rita reader", "walter writer", "ada admin"], &[]);
    house.done("ada", READINGS);
    let one = json!({ "records": [{ "key": "a", "value": { "SPEED": 1 } }] }).to_string();
    assert_eq!(house.post("rita", "/api/v1/topics/r/records", &one).0, 403);
    assert_eq!(house.post("walter", "/api/v1/topics/r/records", &one).0, 200);
    for wrong in [
        json!({ "records": [] }),
        json!({ "records": [{ "key": "a", "value": { "SPEED": "fast" } }] }),
        json!({ "records": [{ "key": "a", "value": 1 }] }),
        json!({ "records": [{ "key": "a", "value": "x", "as": "hex" }] }),
        json!({ "records": [{ "key": "a", "value": "x", "as": "xml" }] }),
        json!({ "records": [{ "key": "a", "partition": 9, "value": null }] }),
        json!({ "records": [{ "key": "a", "time": -1, "value": null }] }),
        json!({ "records": 1 }),
    ] {
        let (status, body) = house.post("walter", "/api/v1/topics/r/records", &wrong.to_string());
        assert_eq!(status, 400, "{wrong}: {body}");
    }
    // Without the right to the topic nothing of the body is read.
    let engines = "/api/v1/topics/_confluent-ksql-default__command_topic/records";
    for wrong in ["{", r#"{"records":[{"key":"a","value":"x","as":"hex"}]}"#] {
        assert_eq!(house.post("walter", engines, wrong).0, 403, "{wrong}");
    }
    // The topics of the engine are an administrator's, and no record is put into them.
    let log = "/api/v1/topics/_confluent-ksql-default__command_topic/records";
    let headers = |who: &str| [("authorization", house.users.header(who).to_owned())];
    let get = |who: &str| {
        let headers = headers(who);
        send(&house.server, "GET", log, &[(headers[0].0, headers[0].1.as_str())], "").0
    };
    assert_eq!((get("walter"), get("ada")), (403, 200));
    assert_eq!(house.post("ada", log, &one).0, 400);
}

#[test]
fn lists_say_what_there_is_and_who_uses_it() {
    let server = Server::start();
    server.ksql(READINGS);
    let id = server.ksql("CREATE TABLE c AS SELECT car, COUNT(*) AS n FROM readings GROUP BY car;")[0]["commandStatus"]
        ["queryId"]
        .as_str()
        .unwrap()
        .to_owned();
    let sources = server.get("/api/v1/sources").1;
    let of = |name: &str| sources["sources"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone();
    let readings = of("READINGS");
    assert_eq!(
        (&readings["type"], &readings["readers"], &readings["writers"]),
        (&json!("STREAM"), &json!([id]), &json!([]))
    );
    assert_eq!(readings["columns"][0], json!({ "name": "CAR", "type": "STRING", "key": true }));
    assert!(readings["statement"].as_str().unwrap().starts_with("CREATE STREAM readings"));
    assert_eq!(
        (&of("C")["type"], &of("C")["writers"], &of("C")["windowed"]),
        (&json!("TABLE"), &json!([id]), &json!(false))
    );

    let topics = server.get("/api/v1/topics").1;
    let topic = topics["topics"].as_array().unwrap().iter().find(|t| t["name"] == "r").unwrap().clone();
    assert_eq!((&topic["partitions"], &topic["records"], &topic["readBy"]), (&json!(1), &json!(0), &json!([id])));
    let one = server.get("/api/v1/topics/C").1;
    assert_eq!((&one["writtenBy"], &one["internal"]), (&json!([id]), &json!(false)));
    assert!(one["partitionsDetail"][0]["end"].is_number() && one["settings"].is_object());
    assert_eq!(server.get("/api/v1/topics/nosuch").1["code"], 40400);

    let settings = server.get("/api/v1/settings").1;
    let settings = settings["settings"].as_array().unwrap();
    assert!(settings.iter().any(|s| s["name"] == "auto.offset.reset" && s["origin"].is_string()));
    let statements = server.get("/api/v1/statements").1;
    assert_eq!(statements["statements"][1]["status"], "SUCCESS");
    assert!(statements["statements"][0]["time"].as_i64().unwrap() > 1_600_000_000_000);
    assert!(statements["statements"][0]["sql"].as_str().unwrap().contains("readings"));
}

#[test]
fn plans_have_the_ids_of_the_stages() {
    let server = Server::start();
    server.ksql(READINGS);
    let id =
        server.ksql("CREATE TABLE c AS SELECT speed, COUNT(*) AS n FROM readings GROUP BY speed HAVING COUNT(*) > 1;")
            [0]["commandStatus"]["queryId"]
            .as_str()
            .unwrap()
            .to_owned();
    let plan = server.get(&format!("/api/v1/queries/{id}/plan")).1;
    let ids = values(plan["nodes"].as_array().unwrap(), "id");
    let stages = server.get(&format!("/api/v1/queries/{id}")).1["stages"].clone();
    assert_eq!(ids, values(stages.as_array().unwrap(), "id"));
    let node = |id: &str| plan["nodes"].as_array().unwrap().iter().find(|n| n["id"] == id).unwrap().clone();
    assert_eq!((&node("exchange")["hop"], &node("exchange")["key"]), (&json!("memory"), &json!("SPEED")));
    assert_eq!((&node("aggregate")["state"], node("aggregate")["warning"].is_string()), (&json!("unbounded"), true));
    assert_eq!(plan["edges"].as_array().unwrap().len(), ids.len() - 1);

    let of = |sql: &str| server.post("/api/v1/plan", &json!({ "sql": sql }));
    let windowed = "SELECT car, COUNT(*) FROM readings WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY car EMIT CHANGES;";
    let (_, plan) = of(windowed);
    assert!(plan["nodes"].as_array().unwrap().iter().any(|n| n["state"] == "bounded" && n["warning"].is_null()));
    let (_, batch) = of("SELECT car FROM readings WHERE speed > 1 ORDER BY car;");
    assert!(batch["nodes"].as_array().unwrap().len() > 2, "{batch}");
    assert_eq!(marked("SELECT car FROM readings WHERE speed > 1 ORDER BY car;", &batch, "scan"), "readings");
    assert_eq!(marked("SELECT car FROM readings WHERE speed > 1 ORDER BY car;", &batch, "sort"), "ORDER BY car");
    // Places count UTF-16 code units of the text that was sent.
    let text = "-- 한국 🐟\nCREATE TABLE t AS SELECT car, COUNT(*) FROM readings r WHERE speed > 1 GROUP BY car HAVING COUNT(*) > 1;";
    let (_, plan) = of(text);
    for (op, clause) in [
        ("scan", "readings r"),
        ("rows", "WHERE speed > 1"),
        ("aggregate", "GROUP BY car"),
        ("having", "HAVING COUNT(*) > 1"),
        ("sink", "CREATE TABLE t"),
    ] {
        assert_eq!(marked(text, &plan, op), clause, "{op} in {plan}");
    }
    let own = server.get(&format!("/api/v1/queries/{id}")).1["sql"].as_str().unwrap().to_owned();
    let plan = server.get(&format!("/api/v1/queries/{id}/plan")).1;
    assert_eq!(marked(&own, &plan, "having"), "HAVING COUNT(*) > 1");
    let (status, body) = of("-- 한국\nSELECT sped FROM readings EMIT CHANGES;");
    assert_eq!((status, &body["span"]), (400, &json!({ "start": 13, "end": 17, "line": 2, "column": 8 })));
    assert_eq!(
        (of("SHOW STREAMS;").0, of("SELECT 1; SELECT 2;").0, server.get("/api/v1/queries/nosuch/plan").0),
        (400, 400, 404)
    );
}

/// The part of a text that made the node of a plan.
fn marked(text: &str, plan: &Value, op: &str) -> String {
    let node = plan["nodes"].as_array().unwrap().iter().find(|node| node["op"] == op).unwrap();
    let at = |end: &str| node["span"][end].as_u64().unwrap_or_else(|| panic!("{op} in {plan}")) as usize;
    let units: Vec<u16> = text.encode_utf16().collect();
    String::from_utf16(&units[at("start")..at("end")]).unwrap()
}

#[test]
fn the_size_of_a_topic_is_the_same_everywhere() {
    let server = Server::start();
    server.ksql(READINGS);
    let size = || server.get("/api/v1/topics/r").1["bytes"].as_u64().unwrap();
    assert_eq!(size(), 0);
    let record = |n: usize| json!({ "key": "a", "value": format!("{{\"SPEED\":{n}}}"), "as": "text" });
    write(&server, "r", &json!({ "records": (0..100).map(record).collect::<Vec<_>>() }));
    let bytes = size();
    assert!(bytes > 1_000, "{bytes}");
    let one = server.get("/api/v1/topics/r").1;
    let by_partition = one["partitionsDetail"].as_array().unwrap().iter().map(|p| p["bytes"].as_u64().unwrap());
    assert_eq!(by_partition.sum::<u64>(), bytes);
    let listed = server.get("/api/v1/topics").1["topics"].as_array().unwrap().clone();
    assert_eq!(listed.iter().find(|topic| topic["name"] == "r").unwrap()["bytes"], json!(bytes));
    let shown = server.ksql("SHOW TOPICS EXTENDED;")[0]["topics"].as_array().unwrap().clone();
    assert_eq!(shown.iter().find(|topic| topic["name"] == "r").unwrap()["bytes"], json!(bytes));
    let metrics = server.get("/metrics").1.as_str().unwrap().to_owned();
    assert!(metrics.contains(&format!("tidegate_topic_bytes{{topic=\"r\"}} {bytes}\n")), "{metrics}");
    let sql = "SELECT bytes FROM system.topics WHERE name = 'r';";
    assert!(server.lines(sql).any(|line| line == json!([bytes])), "{sql}");
}

#[test]
fn problems_are_grouped_and_counted_without_a_cap() {
    let server = Server::start();
    server.ksql(READINGS);
    let id =
        server.ksql("CREATE STREAM fast AS SELECT * FROM readings WHERE speed > 1;")[0]["commandStatus"]["queryId"]
            .as_str()
            .unwrap()
            .to_owned();
    let bad = |n: usize| json!({ "key": "a", "value": format!("{{\"SPEED\":\"x{n}\"}}"), "as": "text" });
    write(&server, "r", &json!({ "records": (0..250).map(bad).collect::<Vec<_>>() }));
    let mut groups = Value::Null;
    until("all bad records are counted", || {
        groups = server.get(&format!("/api/v1/problems?query={id}")).1["groups"].clone();
        groups[0]["count"] == 250
    });
    assert_eq!(
        (&groups[0]["kind"], &groups[0]["topic"], groups.as_array().unwrap().len()),
        (&json!("bad"), &json!("r"), 1)
    );
    assert_eq!(groups[0]["sample"], json!({ "partition": 0, "offset": 249 }));
    assert!(groups[0]["reason"].as_str().unwrap().contains("SPEED") && groups[0]["last"].is_number());
    // Another reason is another group, in SQL too.
    write(&server, "r", &json!({ "records": [{ "key": "a", "value": "{", "as": "text" }] }));
    until("the other reason is there", || {
        groups = server.get(&format!("/api/v1/problems?query={id}")).1["groups"].clone();
        groups.as_array().unwrap().len() == 2
    });
    let sql = "SELECT reason, topic, total, sample_offset FROM system.problems WHERE kind = 'bad' ORDER BY total;";
    let rows: Vec<Value> = server.lines(sql).filter(Value::is_array).collect();
    let of = |group: &Value| json!([group["reason"], "r", group["count"], group["sample"]["offset"]]);
    // The newest group is the API's first.
    assert_eq!(rows, [of(&groups[0]), of(&groups[1])], "{groups}");
    assert_eq!(server.get("/api/v1/problems?query=nosuch").1["groups"], json!([]));
    assert_eq!(server.get("/api/v1/problems?since=9999999999999").1["groups"], json!([]));
    assert_eq!(server.get("/api/v1/problems?since=x").0, 400);
}

#[test]
fn errors_of_ksqldbs_endpoints_say_where() {
    let server = Server::start();
    server.ksql(READINGS);
    let text = "-- 한국\nSHOW STREAMS;\nCREATE STREAM x AS SELECT sped FROM readings;";
    let (status, body) = server.post("/ksql", &json!({ "ksql": text }));
    assert_eq!((status, &body["@type"]), (400, &json!("statement_error")));
    assert_eq!(body["span"], json!({ "start": 46, "end": 50, "line": 3, "column": 27 }));
    assert_eq!(body["hint"], "did you mean SPEED?");
    let sql = "SELECT '한국', sped FROM readings EMIT CHANGES;";
    for (path, body) in [("/query-stream", json!({ "sql": sql })), ("/query", json!({ "ksql": sql }))] {
        let (_, body) = server.post(path, &body);
        assert_eq!(body["span"], json!({ "start": 13, "end": 17, "line": 1, "column": 14 }), "{path}: {body}");
    }
    let (_, body) = server.post("/query-stream", &json!({ "sql": "SELECT * FROM readings EMIT CHANGES LIMIT" }));
    assert!(body["span"]["start"].is_number(), "{body}");
}
