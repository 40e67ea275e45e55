//! The audit log and the server that only reads.

use super::rights::House;
use super::*;

/// The records of a log, once `done` is satisfied with them.
fn records(path: &std::path::Path, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    until("the audit log has it", || done(&read()));
    read()
}

fn of<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

#[test]
fn it_is_written_who_did_what_from_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let data = folder.path().join("data");
    let users = super::rights::Users::new(&["ada admin", "rita reader"]);
    let flags = ["--data", data.to_str().unwrap(), "--users", users.file(), "--audit-log", path.to_str().unwrap()];
    let house = House { server: Server::at(&flags), users };
    house.done("ada", CREATE);
    house.done("ada", "INSERT INTO s (k, n) VALUES ('hunter2', 1);");
    house.forbidden("rita", "DROP STREAM s;");
    assert_eq!(house.say("ada", "DROP STREAM nosuch;").0, 400);
    house.done("rita", "SELECT n FROM s;");
    house.post("ada", "/inserts-stream", "{\"target\":\"s\"}\n{\"K\":\"a\",\"N\":2}\n{\"N\":2}\n");
    house.post("rita", "/inserts-stream", "{\"target\":\"s\"}\n");
    let wrong = house.server.agent.get(format!("http://{}/info", house.server.address));
    wrong.header("authorization", "Basic YWRhOndyb25n").call().unwrap();
    let all = records(&path, |all| of(all, "login").iter().any(|r| r["outcome"] == "refused"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("wrong"), "{text}");

    let statements = of(&all, "statement");
    let told: Vec<_> =
        statements.iter().map(|r| (r["user"].as_str(), r["kind"].as_str(), r["outcome"].as_str())).collect();
    let wanted = [
        ("ada", "CREATE STREAM", "done"),
        ("ada", "INSERT VALUES", "done"),
        ("rita", "DROP STREAM", "refused"),
        ("ada", "DROP STREAM", "failed"),
        ("rita", "SELECT", "done"),
    ];
    assert_eq!(told, wanted.map(|(user, kind, outcome)| (Some(user), Some(kind), Some(outcome))));
    assert_eq!(
        (&statements[1]["statement"], &statements[2]["code"]),
        (&json!("INSERT INTO S (K, N) VALUES (?, ?)"), &json!(40300))
    );
    assert_eq!(statements[0]["statement"].as_str().unwrap(), CREATE.trim_end_matches(';'));
    assert!(statements[0]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", statements[0]);
    assert!(statements[0]["duration_ms"].is_u64() && statements[0]["time"].as_str().unwrap().ends_with('Z'));
    let inserts = of(&all, "inserts");
    assert_eq!((inserts.len(), &inserts[0]["rows"], &inserts[0]["failed"]), (1, &json!(1), &json!(1)));
    let refused = of(&all, "request");
    assert_eq!((refused.len(), &refused[0]["request"]), (1, &json!("POST /inserts-stream")));
    let logins = of(&all, "login");
    assert!(
        logins.iter().any(|r| r["user"] == "rita" && r["role"] == "reader" && r["outcome"] == "done"),
        "{logins:?}"
    );
    assert!(logins.iter().any(|r| r["user"] == "ada" && r["outcome"] == "refused"), "{logins:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The command log names the author.
    let commands = house.done("ada", "PRINT '_confluent-ksql-default__command_topic' FROM BEGINNING LIMIT 2;");
    assert!(commands.as_str().unwrap().contains("\"author\":\"ada\""), "{commands}");
    // A file that was moved away is made anew.
    let moved = folder.path().join("audit.log.1");
    std::fs::rename(&path, &moved).unwrap();
    house.done("rita", "SHOW STREAMS;");
    until("the file is made anew", || path.exists());
    records(&path, |all| of(all, "statement").iter().any(|r| r["kind"] == "SHOW"));
}

#[test]
fn it_is_written_how_a_query_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let server =
        Server::at(&["--temp", "--audit-log", path.to_str().unwrap(), "--set", "tidegate.batch.timeout.ms=500"]);
    server.ksql(CREATE);
    server.ksql(INSERT);
    server.query("SELECT n FROM s;");
    server.query("SELECT n FROM s EMIT CHANGES LIMIT 1;");
    // A query that takes too long, and a reader that leaves.
    server.query("WITH p AS (SELECT EXPLODE(GENERATE_SERIES(1, 20000)) AS n FROM s) SELECT a.n FROM p a JOIN p b ON a.n + b.n < 0;");
    drop(server.lines("SELECT n FROM s EMIT CHANGES;").next());
    let all = records(&path, |all| of(all, "query_end").len() == 4);
    let ends = of(&all, "query_end");
    let told: Vec<_> =
        ends.iter().map(|end| (end["outcome"].as_str().unwrap(), end["rows"].as_u64().unwrap() > 0)).collect();
    assert_eq!(told[..3], [("done", true), ("done", true), ("failed", false)]);
    assert_eq!(told[3].0, "closed");
    assert!(ends[2]["message"].as_str().unwrap().contains("ran longer than 500 ms"), "{}", ends[2]);
    assert!(ends[2]["duration_ms"].as_u64().unwrap() >= 500, "{}", ends[2]);
    let begun: Vec<_> =
        of(&all, "statement").into_iter().filter(|r| r["kind"] == "SELECT").map(|r| &r["query"]).collect();
    assert_eq!(ends.iter().map(|end| &end["query"]).collect::<Vec<_>>(), begun);
}

#[test]
fn a_log_that_cannot_be_opened_is_no_start_and_one_that_cannot_be_written_is_told() {
    let refused = tidegate(&["--temp"], &["server", "--listen", "127.0.0.1:0", "--audit-log", "/nosuch/audit.log"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("cannot write the audit log"), "{}", text(&refused.stderr));
    let full = Server::at(&["--temp", "--audit-log", "/dev/full"]);
    full.ksql(CREATE);
    let lost = "tidegate_audit_records_lost_total 1";
    until("it is counted", || full.get("/metrics").1.as_str().unwrap().contains(lost));
    let told =
        full.errors.try_iter().any(|line| line.contains("ERROR") && line.contains("the audit log cannot be written"));
    assert!(told);
}

#[test]
fn it_is_written_to_a_topic_on_request_which_nobody_else_writes() {
    let house = House::new(&["ada admin", "walter writer"], &["--set", "tidegate.audit.topic=audit"]);
    house.done("walter", CREATE);
    house.forbidden("walter", "PRINT audit FROM BEGINNING LIMIT 1;");
    house.forbidden("walter", "CREATE SOURCE STREAM a (n INT) WITH (KAFKA_TOPIC='audit', VALUE_FORMAT='JSON');");
    // Not even an administrator writes it.
    let (status, body) = house.say("ada", "CREATE STREAM a (n INT) WITH (KAFKA_TOPIC='audit', VALUE_FORMAT='JSON');");
    assert!(status == 400 && body["message"].as_str().unwrap().contains("internal topic"), "{body}");
    let printed = || house.done("ada", "PRINT 'audit' FROM BEGINNING LIMIT 1;");
    let printed = printed();
    assert!(printed.as_str().unwrap().contains("\"event\":\"login\""), "{printed}");
}

#[test]
fn on_a_read_only_server_everybody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let start = |flags: &[&str]| Server::at(&[&["--data", data], flags].concat());
    let mut server = start(&[]);
    server.ksql(CREATE);
    server.ksql("CREATE STREAM o AS SELECT * FROM s; INSERT INTO s VALUES ('a', 1, 1.5);");
    server.stop(rustix::process::Signal::TERM);
    let server = start(&["--read-only"]);
    for statement in [INSERT, COUNT, "DROP STREAM o;", "TERMINATE ALL;", "PAUSE ALL;", "CREATE TYPE t AS INT;"] {
        let said = server.refused(statement);
        let message = said["message"].as_str().unwrap();
        assert!(said["error_code"] == 40300 && message.contains("the server is read-only"), "{said}");
    }
    let (status, _) = server.post("/inserts-stream", &json!({ "target": "s" }));
    assert_eq!(status, 403);
    assert_eq!(server.post("/ksql/terminate", &json!({})).0, 403);
    // The door of the directory is no way around it.
    let attached = tidegate(&["--data", data], &["sql", "-e", "DROP STREAM o;"], "");
    assert!(text(&attached.stderr).contains("read-only"), "{}", text(&attached.stderr));
    let produced = tidegate(&["--data", data], &["topic", "produce", "t"], "x\n");
    assert!(!produced.status.success() && text(&produced.stderr).contains("read-only"), "{}", text(&produced.stderr));
    // Reading works, and queries that exist continue.
    assert_eq!(server.ksql("SHOW QUERIES;")[0]["queries"][0]["state"], "RUNNING");
    until("the row is there", || server.lines("SELECT * FROM o;").count() == 2);
}
