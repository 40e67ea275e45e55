//! A server whose log lines nothing reads any more: its standard error is a pipe whose reader has gone, as after
//! `tidegate server 2>&1 | head`. A line that cannot be written is lost, and no thread that logs ends with it.

use crate::http::{PATIENCE, TIDEGATE, earliest};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_whose_log_nothing_reads_goes_on() {
    let mut command = Command::new(TIDEGATE);
    command.args(["server", "--listen", "127.0.0.1:0", "--temp"]).env("TIDEGATE_LOG", "trace");
    let mut server = Server(command.stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = { lines }.find_map(|line| {
        let (_, rest) = line.split_once("address=")?;
        rest.split(' ').next().map(str::to_owned)
    });
    let address = address.expect("the server says where it listens");
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
    let post = |path: &str, body: serde_json::Value| {
        let request = agent.post(format!("http://{address}{path}")).header("accept", "application/json");
        request.send(body.to_string()).and_then(|mut answer| answer.body_mut().read_to_string())
    };
    let ksql = |text: &str| post("/ksql", json!({ "ksql": text, "streamsProperties": earliest() }));
    ksql("CREATE STREAM s (id INT KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);").unwrap();
    // The first row has a bad value, about which the query's thread has a line to log.
    ksql("CREATE STREAM shares AS SELECT id, n, 10 / n AS share FROM s;").unwrap();
    for n in 0..20 {
        ksql(&format!("INSERT INTO s (id, n) VALUES (1, {n});")).unwrap();
    }
    let sql = "SELECT n FROM shares EMIT CHANGES LIMIT 20;";
    let query = json!({ "sql": sql, "properties": { "auto.offset.reset": "earliest" } });
    let rows = post("/query-stream", query).unwrap();
    assert!(rows.contains("[19]"), "{rows}");
    assert!(server.0.try_wait().unwrap().is_none());
}
