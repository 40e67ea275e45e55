//! `--log-format json`: every line of standard error is a JSON object, whatever the server logs.

use crate::http::{PATIENCE, TIDEGATE, earliest};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn every_line_of_a_servers_log_is_a_json_object() {
    let mut command = Command::new(TIDEGATE);
    command.args(["server", "--listen", "127.0.0.1:0", "--temp", "--log-format", "json"]);
    let filter = "info,tidegate::engine=debug,tidegate::execute=debug";
    let child = command.env("TIDEGATE_LOG", filter).stderr(Stdio::piped()).spawn().unwrap();
    let mut server = Server(child);
    let mut lines = BufReader::new(server.0.stderr.take().unwrap());
    let mut text = String::new();
    let address = loop {
        assert!(lines.read_line(&mut text).unwrap() > 0, "the server says where it listens: {text}");
        let last = text.lines().next_back().and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap();
        if let Some(address) = last["fields"]["address"].as_str() {
            break address.to_owned();
        }
    };
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
    let ksql = |text: &str| {
        let request = agent.post(format!("http://{address}/ksql")).header("accept", "application/json");
        request.send(json!({ "ksql": text, "streamsProperties": earliest() }).to_string()).unwrap();
    };
    ksql("CREATE STREAM s (id INT KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    // The first row has a bad value, about which the thread of the query logs a line.
    ksql("CREATE STREAM shares AS SELECT id, n, 10 / n AS share FROM s;");
    ksql("INSERT INTO s (id, n) VALUES (1, 0); INSERT INTO s (id, n) VALUES (1, 5);");
    let sql = json!({ "sql": "SELECT n FROM shares EMIT CHANGES LIMIT 1;", "properties": earliest() });
    agent.post(format!("http://{address}/query-stream")).send(sql.to_string()).unwrap();
    kill_process(Pid::from_child(&server.0), Signal::TERM).unwrap();
    lines.read_to_string(&mut text).unwrap();
    assert!(server.0.wait().unwrap().success());

    let all = objects(&text);
    for line in &all {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
    let find = |message: &str| all.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{text}"));
    let span = |line: &Value, name: &str| {
        let spans = line["spans"].as_array().cloned().unwrap_or_default();
        spans.into_iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name}: {line}"))
    };
    let statement = span(find("statement executed"), "statement");
    assert!(statement["kind"].is_string() && statement["user"].is_string(), "{statement}");
    let skipped = find("value set to NULL");
    assert_eq!((&skipped["fields"]["offset"], &skipped["target"]), (&json!(0), &json!("processing")), "{skipped}");
    let query = span(skipped, "query");
    assert!(query["id"].as_str().unwrap().starts_with("CSAS_SHARES"), "{query}");
    let committed = find("commit done");
    assert!(committed["fields"]["elapsed_ms"].is_u64(), "{committed}");
    assert!(span(committed, "commit")["sequence"].is_u64(), "{committed}");
    assert_eq!(span(committed, "query")["name"], "query");
}

#[test]
fn an_error_that_ends_the_process_is_a_json_object_too() {
    let mut command = Command::new(TIDEGATE);
    let out = command
        .args(["server", "--listen", "0.0.0.0:0", "--temp"])
        .env("TIDEGATE_LOG_FORMAT", "json")
        .output()
        .unwrap();
    let all = objects(&String::from_utf8(out.stderr).unwrap());
    let last = all.last().expect("a line");
    assert!(last["message"].as_str().unwrap().starts_with("refusing to listen on 0.0.0.0:0"), "{last}");
    assert!(last["fields"]["hint"].as_str().unwrap().contains("--users"), "{last}");
    assert_ne!(out.status.code(), Some(0));
}
