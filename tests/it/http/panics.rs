//! A server whose requests and queries panic: the one that does gets an answer that says so, and the server stays.

#![allow(clippy::disallowed_methods, reason = "another process goes by real time")]

use super::*;

#[test]
fn a_panic_ends_what_panicked_and_nothing_else() {
    let group = "query=_confluent-ksql-default_query_CSAS_COPIED_1=1";
    let server = Server::with(&["--temp"], &format!("request=/status/a/b/c=1;{group};request=/info=1"));
    let (status, body) = server.get("/status/a/b/c");
    assert_eq!((status, &body["error_code"]), (500, &json!(50000)), "{body}");
    assert!(body["message"].as_str().unwrap().contains("a seeded panic in request /status/a/b/c"), "{body}");
    assert_eq!(server.get("/info").0, 500);
    assert_eq!((server.get("/status/a/b/c").0, server.get("/info").0), (404, 200), "only once");

    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    server.ksql("CREATE STREAM copied AS SELECT * FROM s; CREATE STREAM fine AS SELECT * FROM s;");
    server.ksql("INSERT INTO s VALUES (1);");
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    let states = || server.ksql("SHOW QUERIES;")[0].to_string();
    while !states().contains("ERROR") {
        assert!(clock.monotonic() < end, "{}", states());
        clock.sleep(Duration::from_millis(50));
    }
    assert!(states().contains("RUNNING"), "the other one runs: {}", states());
    let logged = logged(&server);
    assert!(logged.contains("a seeded panic in query _confluent-ksql-default_query_CSAS_COPIED_1"), "{logged}");
    assert!(logged.contains("tidegate::engine::query::persistent"), "no backtrace: {logged}");
    let metrics = server.get("/metrics").1;
    let metrics = metrics.as_str().unwrap();
    for line in ["tidegate_panics_total{in=\"query\"} 1", "tidegate_panics_total{in=\"request\"} 2"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let resumed = server.ksql("RESUME CSAS_COPIED_1;");
    assert_eq!(resumed[0]["commandStatus"]["message"], json!("Query resumed."));
    let mut rows = server.lines("SELECT n FROM copied EMIT CHANGES;");
    rows.next();
    assert_eq!(rows.next(), Some(json!([1])));
    assert_eq!(server.get("/readyz").0, 200);
}

#[test]
fn a_connection_that_panics_ends_alone() {
    let server = Server::with(&["--temp"], "connection==1");
    let mut socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // Nothing, or a reset: it has ended either way.
    assert_eq!(socket.read(&mut [0; 1]).unwrap_or_default(), 0);
    assert_eq!(server.get("/livez").0, 200);
    let metrics = server.get("/metrics").1;
    let metrics = metrics.as_str().unwrap();
    // The one that asks is open.
    for line in ["tidegate_panics_total{in=\"connection\"} 1", "\ntidegate_connections 1\n"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn a_server_that_can_accept_no_more_ends_and_says_so() {
    let mut server = Server::with(&["--temp"], "accept==1");
    let _socket = TcpStream::connect(&server.address).unwrap();
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    let status = loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            break status;
        }
        assert!(clock.monotonic() < end, "it is still there");
        clock.sleep(Duration::from_millis(20));
    };
    assert!(!status.success(), "{status}");
    let logged = logged(&server);
    assert!(logged.contains("a seeded panic in accept"), "{logged}");
    assert!(logged.contains("the server task ended early"), "{logged}");
}

#[test]
fn a_log_that_nobody_reads_ends_nothing() {
    let mut server = Server::at(&["--temp"]);
    // The pipe is closed when the next line comes.
    server.errors = channel().1;
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    server.ksql("CREATE STREAM copied AS SELECT 10 / n AS part FROM s;");
    for n in 1..=5 {
        // Each writes lines: a change of state, and a record that is skipped.
        server.ksql("PAUSE ALL; RESUME ALL;");
        server.ksql(&format!("INSERT INTO s VALUES (0); INSERT INTO s VALUES ({n});"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut rows = server.lines("SELECT part FROM copied EMIT CHANGES LIMIT 10;");
    rows.next();
    let parts: Vec<Value> = rows.take(10).filter(|row| *row != json!([null])).collect();
    assert_eq!(parts, [json!([10]), json!([5]), json!([3]), json!([2]), json!([2])]);
    let metrics = server.get("/metrics").1;
    assert!(!metrics.as_str().unwrap().contains("tidegate_panics_total{"), "{metrics}");
    assert!(server.ksql("SHOW QUERIES;")[0].to_string().contains("RUNNING"));
}

/// What it has written to its log so far.
fn logged(server: &Server) -> String {
    let mut all = String::new();
    while let Ok(line) = server.errors.recv_timeout(Duration::from_millis(500)) {
        all.push_str(&line);
        all.push('\n');
    }
    all
}
