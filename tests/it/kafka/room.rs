//! A limit of threads. librdkafka ends the process when it does not get a thread for a new client, so clients are made
//! only where there is room, and a query without it waits.
//!
//! A limit of processes does not hold for root, which tests often are. So each thread gets a stack of 1 GiB here, and the
//! process an address space in which some 110 of them fit: enough for the server and for six queries.

use super::*;
use crate::http::TIDEGATE;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

const STACK_BYTES: u64 = 1 << 30;
const SPACE_KIB: u64 = 120_000_000;
/// More than fit.
const QUERIES: usize = 10;

/// Killed when dropped.
struct Limited(Child);

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_limit_of_threads_ends_no_process() {
    let test = "a_limit_of_threads_ends_no_process";
    let Some(broker) = broker::shared(test) else { return };
    let limits = format!("ulimit -s {} && ulimit -v {SPACE_KIB} && exec \"$0\" \"$@\"", STACK_BYTES / 1024);
    let service = fresh("room");
    let server = Command::new("bash")
        .args(["-c", &limits, TIDEGATE, "--bootstrap-servers", &broker.bootstrap])
        .args(["server", "--service-id", &service, "--listen", "127.0.0.1:0"])
        .env("RUST_MIN_STACK", STACK_BYTES.to_string())
        .stderr(Stdio::piped())
        .spawn();
    let mut server = Limited(server.unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| Some(line.split_once("address=")?.1.split(' ').next()?.to_owned()));
    let Some(address) = address else { return broker::skipped(test, "the limits cannot be set") };
    std::thread::spawn(move || {
        for line in lines {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    });
    let ask = |text: &str| {
        let request = ureq::post(format!("http://{address}/ksql")).header("accept", "application/json");
        let request = request.config().http_status_as_error(false).build();
        let mut response = request.send(json!({ "ksql": text }).to_string()).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    // A request that finds no thread for itself is refused with 500 and not carried out: its client asks again.
    let ksql = |text: &str| {
        until("a request finds a thread", Duration::from_secs(60), || {
            let (status, body) = ask(text);
            assert!(matches!(status, 200 | 500), "{text}: {status} {body}");
            (status == 200).then_some(body)
        })
    };
    let input = topic(&connect(&broker.bootstrap), "room", 1).name;
    ksql(&format!("CREATE STREAM s (id INT KEY, n INT) WITH (KAFKA_TOPIC='{input}', VALUE_FORMAT='JSON');"));
    for n in 0..QUERIES {
        ksql(&format!("CREATE STREAM s{n} WITH (KAFKA_TOPIC='{input}-{n}') AS SELECT * FROM s;"));
    }
    let patience = Duration::from_secs(60);
    let waits = || ksql("SHOW QUERIES;").contains("there is no room for the threads of another Kafka client");
    until("a query waits for room", patience, || waits().then_some(()));
    // Room is found by those that wait as soon as there is some.
    for n in 1..QUERIES {
        ksql(&format!("DROP STREAM s{n};"));
    }
    until("no query waits any more", patience, || (!waits()).then_some(()));
    assert!(server.0.try_wait().unwrap().is_none());
}
