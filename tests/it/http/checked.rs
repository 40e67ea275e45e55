//! Texts as they are written: checked without effect, completed, laid out; places count UTF-16.

use super::rights::House;
use super::*;

/// A text as an editor holds it: in UTF-16.
fn part(text: &str, of: &Value) -> String {
    let units: Vec<u16> = text.encode_utf16().collect();
    let at = |name: &str| of[name].as_u64().unwrap() as usize;
    String::from_utf16(&units[at("start")..at("end")]).unwrap()
}

/// The text with the fix of a diagnostic carried out.
fn fixed(text: &str, diagnostic: &Value) -> String {
    let units: Vec<u16> = text.encode_utf16().collect();
    let fix = &diagnostic["fix"];
    let at = |name: &str| fix[name].as_u64().unwrap() as usize;
    let put: Vec<u16> = fix["text"].as_str().unwrap().encode_utf16().collect();
    String::from_utf16(&[&units[..at("start")], put.as_slice(), &units[at("end")..]].concat()).unwrap()
}

fn check(server: &Server, text: &str) -> Value {
    let (status, body) = server.post("/api/v1/check", &json!({ "sql": text }));
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn a_text_is_checked_without_effect() {
    let server = Server::start();
    server.ksql(CREATE);
    let topics = server.ksql("SHOW ALL TOPICS;");
    let text = "-- 한국어 🐟\nSELECT '한국', pricee FROM s EMIT CHANGES;\n\
                CREATE STREAM x AS SELECT k, n FROM s WHERE n > 1;\n\
                CREATE TABLE c WITH (KAFKA_TOPIC='many') AS SELECT k, COUNT(*) AS n FROM x GROUP BY k;\n\
                SELEC 1; DROP STREAM s; INSERT INTO x VALUES ('a', 1); SHOW STREAMS;";
    let body = check(&server, text);
    let statements = body["statements"].as_array().unwrap();
    let of = |n: usize| {
        let s = &statements[n];
        (s["kind"].clone(), s["reads"].clone(), s["writes"].clone(), s["creates"].clone(), s["role"].clone())
    };
    assert_eq!(statements.len(), 7);
    assert_eq!(of(0), (json!("SELECT"), json!([]), json!([]), json!([]), json!("reader")));
    let create = (json!("CREATE STREAM AS SELECT"), json!(["S"]), json!(["X"]), json!(["X"]), json!("writer"));
    assert_eq!(of(1), create);
    let count = (json!("CREATE TABLE AS SELECT"), json!(["X"]), json!(["C"]), json!(["many"]), json!("writer"));
    assert_eq!(of(2), count, "what the statements before would create is there");
    assert_eq!(of(3), (Value::Null, json!([]), json!([]), json!([]), Value::Null));
    assert_eq!((of(4).0, of(4).4), (json!("DROP STREAM"), json!("admin")));
    assert_eq!((of(5).2, of(6).0), (json!(["X"]), json!("SHOW")));
    assert_eq!(part(text, &statements[1]), "CREATE STREAM x AS SELECT k, n FROM s WHERE n > 1");

    let diagnostics = body["diagnostics"].as_array().unwrap();
    assert_eq!(diagnostics.len(), 3, "{diagnostics:?}");
    let column = &diagnostics[0];
    assert_eq!(part(text, column), "pricee");
    assert_eq!((&column["line"], &column["column"], &column["severity"]), (&json!(2), &json!(14), &json!("error")));
    assert_eq!((&column["code"], &column["hint"]), (&json!(40001), &json!("did you mean PRICE?")));
    assert!(fixed(text, column).contains("SELECT '한국', price FROM s"));
    assert!(fixed(text, &diagnostics[1]).contains("SELECT 1; DROP"));
    let used = diagnostics[2]["message"].as_str().unwrap();
    assert!(used.contains("Cannot drop S") && part(text, &diagnostics[2]).contains('s'), "{used}");
    assert_eq!(server.ksql("SHOW ALL TOPICS;")[0]["topics"], topics[0]["topics"], "nothing was created");
    assert_eq!(server.ksql("SHOW QUERIES;")[0]["queries"], json!([]));
}

#[test]
fn an_error_is_not_repeated_by_what_follows_from_it() {
    let server = Server::start();
    let text = "CREATE STREAM a (n INTT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON', PARTITIONS=1);\n\
                CREATE STREAM b AS SELECT n FROM a; SELECT * FROM b; SELECT * FROM nosuch;";
    let body = check(&server, text);
    let messages: Vec<&str> =
        body["diagnostics"].as_array().unwrap().iter().map(|d| d["message"].as_str().unwrap()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[1].contains("NOSUCH"));
    for text in ["", ";;", "/* open", "SELECT '", "\u{0}", "DEFINE t = 'a'; SELECT * FROM ${t};"] {
        check(&server, text);
    }
    let variable =
        "DEFINE topic = 'v'; CREATE STREAM v (n INT) WITH (KAFKA_TOPIC='${topic}', VALUE_FORMAT='JSON', PARTITIONS=1);";
    assert_eq!(check(&server, variable)["statements"][1]["creates"], json!(["v"]));
    assert_eq!(server.post("/api/v1/check", &json!({ "sql": 1 })).1["code"], 40000);
}

#[test]
fn a_check_says_nothing_of_topics_that_are_not_the_users() {
    let house = House::new(&["anna writer topics=a-*", "ada admin"], &[]);
    house.done("ada", "CREATE STREAM b (secret INT) WITH (KAFKA_TOPIC='b', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let (status, body) = house.post("anna", "/api/v1/check", r#"{"sql":"SELECT nosuch FROM b EMIT CHANGES;"}"#);
    let diagnostic = &body["diagnostics"][0];
    assert_eq!((status, &diagnostic["code"], &diagnostic["hint"]["x"]), (200, &json!(40300), &Value::Null));
    assert!(!body.to_string().contains("SECRET"), "{body}");
    let (_, body) = house.post("anna", "/api/v1/complete", r#"{"sql":"SELECT s"}"#);
    assert!(!body.to_string().contains("SECRET"), "{body}");
}

#[test]
fn words_are_completed_at_the_cursor() {
    let server = Server::start();
    server.ksql(CREATE);
    let complete = |text: &str, at: usize| server.post("/api/v1/complete", &json!({ "sql": text, "at": at })).1;
    let body = complete("SELECT '한국', pri FROM s;", 16);
    assert_eq!(body["from"], 13);
    assert_eq!(
        body["options"],
        json!([{ "label": "price", "kind": "column", "detail": "DECIMAL(5, 2), S", "doc": null }])
    );
    let body = complete("SELECT LPA", 10);
    let option = &body["options"][0];
    assert_eq!((&option["label"], &option["kind"]), (&json!("LPAD"), &json!("function")));
    assert!(option["detail"].as_str().unwrap().contains("LPAD(STRING, INTEGER, STRING) -> STRING"));
    assert!(option["doc"].as_str().is_some_and(|doc| !doc.is_empty()));
    assert_eq!(complete("SELECT * FROM ", 14)["options"][0]["label"], "S");
    assert_eq!(complete("SELECT 🐟", 1_000_000)["options"], json!([]));
}

#[test]
fn a_text_is_laid_out() {
    let server = Server::start();
    let (_, body) =
        server.post("/api/v1/format", &json!({ "sql": "select k,'한국' from s -- all\n where n>1 emit changes;" }));
    assert_eq!(body["sql"], "SELECT k,'한국'\nFROM s -- all\nWHERE n>1\nEMIT CHANGES;");
    let (_, body) = server.post("/api/v1/format", &json!({ "sql": "this is  no statement" }));
    assert_eq!(body["sql"], "this is  no statement");
}
