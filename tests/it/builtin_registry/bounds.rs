//! What clients may send: large texts, many references, deep and broad schemas.

use super::{Client, error};
use crate::http::Server;
use serde_json::json;
use tidegate::registry::compatibility::{avro, json as json_check};
use tidegate::registry::schema::avro::AvroSchema;
use tidegate::registry::schema::json::JsonSchema;

#[test]
fn a_text_has_a_limit() {
    let server = Server::start();
    let client = Client::of(&server);
    let of = |bytes: usize| {
        let schema = format!(r#"{{"type":"record","name":"R","doc":"{}","fields":[]}}"#, "x".repeat(bytes));
        client.post("/subjects/t/versions", json!({ "schema": schema }))
    };
    assert_eq!(of(900_000), (200, json!({ "id": 1 })));
    assert_eq!(of(1_000_000), error(422, 42209, "Register operation failed because schema is too large"));
    assert_eq!(client.get("/schemas/ids/1").1["schema"].as_str().unwrap().len(), 900_049);
    let subject = "s".repeat(1_001);
    let (status, body) = client.post(&format!("/subjects/{subject}/versions"), json!({ "schema": "\"int\"" }));
    assert_eq!((status, &body["error_code"]), (422, &json!(42208)));
}

#[test]
fn references_have_a_limit() {
    let server = Server::start();
    let client = Client::of(&server);
    client.register("a", r#"{"type":"record","name":"A","fields":[]}"#);
    let many: Vec<_> = (0..300).map(|n| json!({ "name": format!("A{n}"), "subject": "a", "version": 1 })).collect();
    let (status, body) = client.post("/subjects/t/versions", json!({ "schema": "\"int\"", "references": many }));
    let text = "Invalid schema of type AVRO, details: it refers to more than 256 schemas, directly or not";
    assert_eq!((status, body), error(422, 42201, text));
}

#[test]
fn deep_texts_are_refused() {
    let server = Server::start();
    let client = Client::of(&server);
    for (kind, open, close) in
        [("AVRO", r#"{"type":"array","items":"#, "}"), ("JSON", r#"{"items":"#, "}"), ("PROTOBUF", "message A { ", "}")]
    {
        let inner = match kind {
            "AVRO" => "\"int\"",
            "JSON" => "{}",
            _ => "",
        };
        let schema = format!("{}{inner}{}", open.repeat(20_000), close.repeat(20_000));
        let (status, body) = client.post("/subjects/t/versions", json!({ "schemaType": kind, "schema": schema }));
        assert_eq!((status, &body["error_code"]), (422, &json!(42201)), "{kind}: {}", body["message"]);
    }
    assert_eq!(client.get("/subjects"), (200, json!([])), "and the server is there");
}

/// Checks end on threads with the stack of the server's.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap()
}

#[test]
fn chains_of_names_end() {
    let found = on_a_small_stack(|| {
        // A1 <- A2 <- ... in one text: no depth in JSON, any in names.
        let chain = |kind: &str| {
            let record = |n: usize| {
                let inner = if n == 0 { format!("\"{kind}\"") } else { format!("\"A{}\"", n - 1) };
                format!(r#"{{"type":"record","name":"A{n}","fields":[{{"name":"f","type":{inner}}}]}}"#)
            };
            let records: Vec<String> = (0..5_000).map(record).collect();
            let last = r#"{"type":"record","name":"Z","fields":[{"name":"f","type":"A4999"}]}"#;
            AvroSchema::parse(&format!("[{},{last}]", records.join(",")), [], true).unwrap()
        };
        avro::differences(&chain("int"), &chain("string"))
    });
    assert!(found.iter().any(|difference| difference.kind == "MISSING_UNION_BRANCH"), "{} found", found.len());
}

#[test]
fn broad_schemas_end() {
    let found = on_a_small_stack(|| {
        let union = |kind: &str| {
            let record = |n: usize| format!(r#"{{"type":"record","name":"{kind}{n}","fields":[]}}"#);
            let records: Vec<String> = (0..3_000).map(record).collect();
            AvroSchema::parse(&format!("[{}]", records.join(",")), [], true).unwrap()
        };
        avro::differences(&union("A"), &union("B"))
    });
    assert!(found.iter().any(|difference| difference.kind == "TOO_LARGE" || difference.kind == "MISSING_UNION_BRANCH"));
}

#[test]
fn references_that_multiply_end() {
    let found = on_a_small_stack(|| {
        // Each definition uses the next one twice: 2^60 paths.
        let laughs = |kind: &str| {
            let next = |n: usize| format!(r##"{{"$ref":"#/$defs/d{}"}}"##, n + 1);
            let of = |n: usize| {
                let (a, b) = (next(n), next(n));
                format!(r#""d{n}":{{"type":"object","properties":{{"a":{a},"b":{b}}}}}"#)
            };
            let all: Vec<String> = (0..60).map(of).chain([format!(r#""d60":{{"type":"{kind}"}}"#)]).collect();
            let text = format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{}}}}}"##, all.join(","));
            JsonSchema::parse(&text, []).unwrap()
        };
        json_check::differences(&laughs("string"), &laughs("string"))
    });
    assert!(
        found.iter().all(|difference| difference.kind == "TOO_LARGE") && !found.is_empty(),
        "{} found",
        found.len()
    );
}
