//! What ksqlDB's own clients require of every answer: its Java classes refuse an entity whose field is missing, null or of
//! another type, and read streamed answers line by line.
//!
//! A line of the table is a path and a type: `queries[].id string`. `[]` means every element of a list that is not empty; `?`
//! behind a type allows null; `*` in a path means every value of an object.

use super::*;

/// Statements, the `@type` of their answer, and what it must have beside `statementText` and `warnings`.
const ENTITIES: &[(&str, &str, &[&str])] = &[
    ("CREATE TYPE pair AS STRUCT<a INT, b ARRAY<MAP<STRING, DECIMAL(9, 2)>>>", "currentStatus", STATUS),
    ("CREATE TYPE IF NOT EXISTS pair AS INT", "currentStatus", STATUS),
    (
        "CREATE STREAM s (id INT KEY, v STRING, h BYTES HEADER('x')) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1)",
        "currentStatus",
        STATUS,
    ),
    (
        "CREATE STREAM IF NOT EXISTS s (id INT KEY) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON')",
        "warning_entity",
        &["message string"],
    ),
    (
        "CREATE TABLE t AS SELECT v, COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY v",
        "currentStatus",
        CREATED,
    ),
    ("CREATE STREAM c AS SELECT * FROM s", "currentStatus", CREATED),
    ("CREATE OR REPLACE STREAM c AS SELECT * FROM s WHERE id > 0", "currentStatus", STATUS),
    ("INSERT INTO c SELECT * FROM s", "currentStatus", CREATED),
    ("ALTER STREAM s ADD COLUMN w INT", "currentStatus", STATUS),
    ("PAUSE CSAS_C_3", "currentStatus", STATUS),
    ("RESUME CSAS_C_3", "currentStatus", STATUS),
    ("SHOW STREAMS", "streams", SOURCES),
    ("LIST TABLES", "tables", TABLES),
    ("SHOW STREAMS EXTENDED", "source_descriptions", DESCRIPTIONS),
    ("SHOW TABLES EXTENDED", "source_descriptions", DESCRIPTIONS),
    ("DESCRIBE TABLES EXTENDED", "source_descriptions", DESCRIPTIONS),
    ("DESCRIBE STREAMS", "source_descriptions", DESCRIPTIONS),
    ("DESCRIBE t", "sourceDescription", DESCRIPTION),
    ("DESCRIBE t EXTENDED", "sourceDescription", DESCRIPTION),
    ("SHOW QUERIES", "queries", QUERIES),
    ("SHOW QUERIES EXTENDED", "query_descriptions", EXPLANATIONS),
    ("EXPLAIN CTAS_T_2", "queryDescription", EXPLANATION),
    ("EXPLAIN SELECT * FROM s EMIT CHANGES", "queryDescription", EXPLANATION),
    ("EXPLAIN SELECT v, COUNT(*) FROM s GROUP BY v", "queryDescription", EXPLANATION),
    ("SHOW TOPICS", "kafka_topics", &["topics[].name string", "topics[].replicaInfo[] number"]),
    ("SHOW ALL TOPICS", "kafka_topics", &["topics[].name string", "topics[].replicaInfo[] number"]),
    (
        "SHOW TOPICS EXTENDED",
        "kafka_topics_extended",
        &[
            "topics[].name string",
            "topics[].replicaInfo[] number",
            "topics[].consumerCount number",
            "topics[].consumerGroupCount number",
            "topics[].bytes number",
        ],
    ),
    ("SHOW PROPERTIES", "properties", PROPERTIES),
    (
        "SHOW FUNCTIONS",
        "function_names",
        &["functions[].name string", "functions[].type string", "functions[].category string"],
    ),
    ("DESCRIBE FUNCTION lpad", "describe_function", FUNCTION),
    ("DESCRIBE FUNCTION topk", "describe_function", FUNCTION),
    ("DESCRIBE FUNCTION explode", "describe_function", FUNCTION),
    ("DESCRIBE FUNCTION transform", "describe_function", FUNCTION),
    (
        "SHOW TYPES",
        "type_list",
        &["types.* object", "types.*.type string", "types.*.fields list?", "types.*.memberSchema object?"],
    ),
    ("DEFINE x = '1'; SHOW VARIABLES", "variables", &["variables[].name string", "variables[].value string"]),
    ("ASSERT TOPIC s", "assert_topic", &["topicName string", "exists boolean"]),
    ("ASSERT NOT EXISTS TOPIC nosuch TIMEOUT 0 SECONDS", "assert_topic", &["topicName string", "exists boolean"]),
    ("TERMINATE INSERTQUERY_5", "currentStatus", STATUS),
    ("DROP TABLE t DELETE TOPIC", "currentStatus", STATUS),
    ("DROP STREAM IF EXISTS nosuch", "currentStatus", STATUS),
    ("DROP TABLE IF EXISTS nosuch DELETE TOPIC", "currentStatus", STATUS),
    ("DROP TYPE IF EXISTS nosuch", "currentStatus", STATUS),
    ("DROP TYPE pair", "currentStatus", STATUS),
    ("TERMINATE ALL", "currentStatus", STATUS),
];

const STATUS: &[&str] = &[
    "commandId string",
    "commandStatus.status string",
    "commandStatus.message string",
    "commandSequenceNumber number",
];
const CREATED: &[&str] =
    &["commandStatus.queryId string", "commandStatus.status string", "commandSequenceNumber number"];
const SOURCES: &[&str] = &[
    "streams[].type string",
    "streams[].name string",
    "streams[].topic string",
    "streams[].keyFormat string",
    "streams[].valueFormat string",
    "streams[].isWindowed boolean",
];
const TABLES: &[&str] = &["tables[].name string", "tables[].isWindowed boolean"];
const DESCRIPTION: &[&str] = &[
    "sourceDescription.name string",
    "sourceDescription.windowType string?",
    "sourceDescription.readQueries list",
    "sourceDescription.writeQueries[].id string",
    "sourceDescription.fields[].name string",
    "sourceDescription.fields[].schema.type string",
    "sourceDescription.fields[].schema.fields list?",
    "sourceDescription.fields[].schema.memberSchema object?",
    "sourceDescription.type string",
    "sourceDescription.timestamp string",
    "sourceDescription.statistics string",
    "sourceDescription.errorStats string",
    "sourceDescription.clusterStatistics list",
    "sourceDescription.clusterErrorStats list",
    "sourceDescription.extended boolean",
    "sourceDescription.keyFormat string",
    "sourceDescription.valueFormat string",
    "sourceDescription.topic string",
    "sourceDescription.partitions number",
    "sourceDescription.replication number",
    "sourceDescription.statement string",
    "sourceDescription.queryOffsetSummaries list",
    "sourceDescription.sourceConstraints list",
];
const DESCRIPTIONS: &[&str] = &[
    "sourceDescriptions[].name string",
    "sourceDescriptions[].clusterStatistics list",
    "sourceDescriptions[].clusterErrorStats list",
    "sourceDescriptions[].sourceConstraints list",
];
const QUERIES: &[&str] = &[
    "queries[].queryString string",
    "queries[].sinks[] string",
    "queries[].sinkKafkaTopics[] string",
    "queries[].id string",
    "queries[].statusCount.* number",
    "queries[].queryType string",
    "queries[].state string",
];
const EXPLANATION: &[&str] = &[
    "queryDescription.id string",
    "queryDescription.statementText string",
    "queryDescription.windowType string?",
    "queryDescription.fields list",
    "queryDescription.sources list",
    "queryDescription.sinks list",
    "queryDescription.topology string",
    "queryDescription.executionPlan string",
    "queryDescription.overriddenProperties object",
    "queryDescription.ksqlHostQueryStatus object",
    "queryDescription.queryType string",
    "queryDescription.queryErrors list",
    "queryDescription.tasksMetadata list",
    "queryDescription.state string?",
    "queryDescription.consumerGroupId string",
];
const EXPLANATIONS: &[&str] = &[
    "queryDescriptions[].id string",
    "queryDescriptions[].sinks[] string",
    "queryDescriptions[].ksqlHostQueryStatus.* string",
    "queryDescriptions[].consumerGroupId string",
    "queryDescriptions[].state string",
];
const PROPERTIES: &[&str] = &[
    "properties[].name string",
    "properties[].scope string",
    "properties[].value string",
    "properties[].editable boolean",
    "overwrittenProperties list",
    "defaultProperties[] string",
];
const FUNCTION: &[&str] = &[
    "name string",
    "description string",
    "author string",
    "version string",
    "path string",
    "type string",
    "functions[].arguments[].name string",
    "functions[].arguments[].type string",
    "functions[].arguments[].description string",
    "functions[].arguments[].isVariadic boolean",
    "functions[].returnType string",
    "functions[].description string",
];

/// Faults of one line of the table.
fn check(entity: &Value, line: &str) -> Vec<String> {
    let (path, kind) = line.split_once(' ').expect("a path and a type");
    let mut found = vec![(String::new(), entity)];
    let mut faults = Vec::new();
    for step in path.split('.') {
        let (name, each) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let mut next = Vec::new();
        for (at, value) in found {
            if name == "*" {
                match value.as_object() {
                    Some(object) => next.extend(object.iter().map(|(k, v)| (format!("{at}.{k}"), v))),
                    None => faults.push(format!("{at} is no object")),
                }
                continue;
            }
            let at = format!("{at}.{name}");
            match (value.get(name), each) {
                (None, _) => faults.push(format!("{at} is missing")),
                (Some(value), false) => next.push((at, value)),
                (Some(Value::Array(items)), true) if !items.is_empty() => {
                    next.extend(items.iter().enumerate().map(|(n, item)| (format!("{at}[{n}]"), item)));
                }
                (Some(value), true) => faults.push(format!("{at} is no list with elements: {value}")),
            }
        }
        found = next;
    }
    faults.extend(found.iter().filter(|(_, v)| !is_a(v, kind)).map(|(at, v)| format!("{at} is no {kind}: {v}")));
    faults
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind.strip_suffix('?') {
        Some(kind) => value.is_null() || is_a(value, kind),
        None => match kind {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "list" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("no such type: {other}"),
        },
    }
}

#[test]
fn every_entity_has_what_clients_require() {
    let server = Server::start();
    let mut faults = Vec::new();
    for (statement, kind, fields) in ENTITIES {
        let (status, body) = server.post("/ksql", &json!({ "ksql": format!("{statement};") }));
        let Some(entity) = body.as_array().and_then(|all| all.last()).filter(|_| status == 200) else {
            faults.push(format!("{statement}: {status} {body}"));
            continue;
        };
        if entity["@type"] != *kind {
            faults.push(format!("{statement}: {} instead of {kind}", entity["@type"]));
        }
        let common = ["statementText string", "warnings list"];
        let found = common.iter().chain(*fields).flat_map(|line| check(entity, line));
        faults.extend(found.map(|fault| format!("{statement}: {fault}")));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The checker finds what is seeded: a table that nothing fails says nothing.
#[test]
fn the_checker_finds_what_is_missing() {
    let entity = json!({ "a": [{ "b": 1 }, { "b": null }], "c": {}, "d": [] });
    for (line, faults) in [
        ("a[].b number", 1),
        ("a[].b number?", 0),
        ("a[].z string", 2),
        ("c object", 0),
        ("c list", 1),
        ("d[] string", 1),
        ("d list", 0),
        ("x.y string", 1),
    ] {
        assert_eq!(check(&entity, line).len(), faults, "{line}: {:?}", check(&entity, line));
    }
}

#[test]
fn the_values_are_those_that_clients_compare() {
    let server = Server::start();
    let info = server.get("/info").1["KsqlServerInfo"].clone();
    let version = info["version"].as_str().unwrap();
    // KsqlVersion reads the numbers in front, and the CLI requires 0.10 at least.
    assert!(version.starts_with("0.29.0") && version.ends_with(env!("CARGO_PKG_VERSION")), "{version}");
    let metadata = server.get("/v1/metadata").1;
    assert_eq!(metadata["version"], version);
    assert_eq!(metadata["clusterId"], server.get("/v1/metadata/id").1);
    assert!(metadata["clusterId"]["scope"]["clusters"]["kafka-cluster"].is_string(), "{metadata}");

    server.ksql(
        "CREATE TYPE address AS STRUCT<street STRING, zip INT>;
         CREATE STREAM s (id INT KEY, v STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE t AS SELECT v, COUNT(*) AS n FROM s GROUP BY v;",
    );
    let types = &server.ksql("SHOW TYPES;")[0]["types"];
    let fields = &types["ADDRESS"]["fields"];
    assert_eq!((&types["ADDRESS"]["type"], &fields[1]["name"]), (&json!("STRUCT"), &json!("ZIP")), "{types}");
    assert_eq!(fields[1]["schema"]["type"], "INTEGER");
    let explained = &server.ksql("EXPLAIN CTAS_T_2;")[0]["queryDescription"];
    assert_eq!(explained["sinks"], json!(["T"]));
    assert_eq!(explained["ksqlHostQueryStatus"], json!({ server.address.clone(): "RUNNING" }));
    let explained = &server.ksql("explain SELECT * FROM s EMIT CHANGES;")[0]["queryDescription"];
    assert_eq!(explained["statementText"], "SELECT * FROM s EMIT CHANGES;");
    let dropped = &server.ksql("DROP STREAM IF EXISTS zz;")[0]["commandStatus"];
    assert_eq!((&dropped["status"], &dropped["message"]), (&json!("SUCCESS"), &json!("Source `ZZ` does not exist.")));
    for (function, kind) in [("len", "SCALAR"), ("sum", "AGGREGATE"), ("explode", "TABLE")] {
        assert_eq!(server.ksql(&format!("DESCRIBE FUNCTION {function};"))[0]["type"], kind);
    }
    let properties = &server.ksql("SET 'auto.offset.reset' = 'latest'; SHOW PROPERTIES;")[0];
    assert_eq!(properties["overwrittenProperties"], json!(["auto.offset.reset"]));
    assert!(properties["defaultProperties"].as_array().unwrap().contains(&json!("commit.interval.ms")), "{properties}");
}

/// Scripts for ksqlDB set Kafka's own settings; a name that no client has stays an error.
#[test]
fn settings_of_kafkas_clients_are_taken() {
    let server = Server::start();
    for name in [
        "consumer.max.poll.records",
        "max.poll.records",
        "producer.batch.size",
        "producer.linger.ms",
        "application.id",
        "client.id",
        "topology.optimization",
        "ksql.streams.application.id",
        "ksql.streams.producer.linger.ms",
    ] {
        server.ksql(&format!("SET '{name}' = '1';"));
        assert_eq!(server.get(&format!("/is_valid_property/{name}")), (200, json!(true)));
    }
    for name in ["consumer.max.pol.records", "producer.max.poll.records", "linger"] {
        assert_eq!(server.get(&format!("/is_valid_property/{name}")).0, 400, "{name}");
    }
}

/// Java's clients read `/query` and the row objects of `/query-stream` up to each newline: an element that waits for its
/// newline is shown one row late, or never.
#[test]
fn elements_of_a_push_query_end_at_once() {
    let server = Server::start();
    server.ksql("CREATE STREAM s (id INT KEY, v STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    for path in ["/query", "/query-stream"] {
        let field = if path == "/query" { "ksql" } else { "sql" };
        let limited = format!(r#"{{"{field}":"SELECT v FROM s EMIT CHANGES LIMIT 2;"}}"#);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/vnd.ksql.v1+json\r\ncontent-length: {}\r\n\r\n{limited}",
            limited.len()
        );
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let mut until = |what: &str| {
            let line = lines.by_ref().find(|line| line.contains(what)).unwrap();
            assert!(line.ends_with("},") || line.ends_with("}]"), "{line}");
            line
        };
        let header = until("header");
        assert!(header.starts_with("[{") && !header.contains("\"queryId\":null"), "{header}");
        server.ksql("INSERT INTO s VALUES (1, 'a');");
        until("\"a\"");
        server.ksql("INSERT INTO s VALUES (2, 'b');");
        until("\"b\"");
        assert!(until("finalMessage").contains("Limit Reached"));
    }
}

#[test]
fn a_pulled_table_has_an_id_keys_and_no_final_message() {
    let server = Server::start();
    server.ksql(
        "CREATE STREAM s (id INT KEY, v STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM s GROUP BY id;
         CREATE SOURCE TABLE r (id INT PRIMARY KEY, v STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');
         INSERT INTO s VALUES (1, 'x');",
    );
    for (sql, rows) in
        [("SELECT * FROM t WHERE id = 7;", 0), ("SELECT * FROM r;", 1), ("SELECT * FROM r WHERE id = 1 LIMIT 1;", 1)]
    {
        // Twice: the second may be answered from the plan that is remembered.
        for _ in 0..2 {
            let (status, body) = server.post("/query", &json!({ "ksql": sql, "streamsProperties": earliest() }));
            assert_eq!(status, 200, "{body}");
            let elements = body.as_array().unwrap();
            let header = &elements[0]["header"];
            assert!(header["queryId"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
            assert!(header["schema"].as_str().unwrap().starts_with("`ID` INTEGER KEY, "), "{body}");
            assert_eq!(elements.len(), 1 + rows, "{body}");
        }
    }
    let (_, body) = server.post("/query", &json!({ "ksql": "SELECT * FROM s;", "streamsProperties": earliest() }));
    assert_eq!(body.as_array().unwrap().last().unwrap(), &json!({ "finalMessage": "Query Completed" }));
}

#[test]
fn errors_of_push_queries_are_of_the_request() {
    let server = Server::start();
    for (sql, kind) in [("SELECT * FROM zz EMIT CHANGES;", "generic_error"), ("SELECT * FROM zz;", "statement_error")] {
        let (status, body) = server.post("/query", &json!({ "ksql": sql }));
        assert_eq!((status, &body["@type"]), (400, &json!(kind)), "{body}");
        assert_eq!(body.get("statementText").is_some(), kind == "statement_error", "{body}");
    }
}

/// As ksqlDB's `KeyValueExtractor` reads rows; Vert.x writes base64 without padding.
#[test]
fn rows_are_inserted_as_ksqldb_reads_them() {
    let server = Server::start();
    server.ksql(
        "CREATE STREAM s (id INT KEY, b BYTES) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE t (id INT PRIMARY KEY, v STRING) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE w AS SELECT id, COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY id;",
    );
    let insert = |body: &str| {
        let request = server.agent.post(format!("http://{}/inserts-stream", server.address));
        request.send(body).unwrap().into_body().read_to_string().unwrap()
    };
    let said = insert(
        "{\"target\":\"s\"}\n{\"ID\":1,\"B\":\"AQI\"}\n{\"ID\":2,\"B\":\"AQID\",\"ZZ\":7}\n{\"B\":\"AQID\"}\n{\"ID\":null}\n",
    );
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<&Value> = said.iter().map(|ack| &ack["status"]).collect();
    assert_eq!(states, ["ok", "ok", "error", "error"], "{said:?}");
    assert_eq!(said[2]["message"], "Key field must be specified: ID");
    assert!(insert("{\"target\":\"t\"}\n{\"ID\":1,\"V\":\"x\"}\n").contains("\"ok\""));
    assert!(insert("{\"target\":\"w\"}\n").contains("it is windowed"), "a windowed table");
    let (_, rows) = server.post("/query-stream", &json!({ "sql": "SELECT * FROM s;", "properties": earliest() }));
    assert_eq!(rows[1], json!([1, "AQI="]), "{rows}");
    let (_, rows) = server.post("/query-stream", &json!({ "sql": "SELECT * FROM t;", "properties": earliest() }));
    assert_eq!(rows[1], json!([1, "x"]), "{rows}");
}

#[test]
fn a_request_waits_for_the_command_that_it_names() {
    let server = Server::start();
    let created =
        server.ksql("CREATE STREAM s (id INT KEY) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let sequence = created[0]["commandSequenceNumber"].as_i64().unwrap();
    let ask = |n: i64| server.post("/ksql", &json!({ "ksql": "SHOW STREAMS;", "commandSequenceNumber": n }));
    assert_eq!(ask(sequence).0, 200);
    assert_eq!(ask(-1).0, 200);
    let (status, body) = ask(sequence + 1);
    assert_eq!((status, &body["error_code"]), (503, &json!(50301)), "{body}");
}
