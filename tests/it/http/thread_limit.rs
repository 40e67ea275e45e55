//! A process that has reached its limit of threads: it refuses what needs another one and says why, the rest works, and with
//! room again everything does.
//!
//! The limit counts the threads of a user, so the server runs as one that has no other process, which only root can start.
//! Elsewhere the test says that it was skipped.

use super::*;

/// Threads that the server may have: it starts with fewer than ten.
const THREADS: usize = 20;
/// Users above those that a system gives to people and services.
const FIRST_USER: u32 = 700_000;
/// More than an idle thread that served a request stays.
const IDLE: Duration = Duration::from_secs(3);
/// What a refusal says.
const REFUSED: &str = "the process cannot start another thread";

/// A program as a user of its own, which may have so many threads.
fn limited() -> Command {
    let user = (FIRST_USER + std::process::id() % 100_000).to_string();
    let mut command = Command::new("setpriv");
    // The program may lie in a directory of root's.
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    command.args(["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]);
    command.args(["prlimit", &format!("--nproc={THREADS}")]);
    command
}

#[test]
fn what_needs_a_thread_beyond_the_limit_is_refused_and_the_rest_works() {
    if !limited().arg("true").output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: a process with a limit of threads cannot be started here");
        return;
    }
    let mut command = limited();
    command.arg(TIDEGATE);
    let server = Server::of(command, &["--temp"]);
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let create = |n: usize| json!({ "ksql": format!("CREATE STREAM c{n} AS SELECT * FROM s;") });
    let (created, refusal) = (1..=THREADS)
        .find_map(|n| Some((n - 1, server.post("/ksql", &create(n)))).filter(|(_, (status, _))| *status != 200))
        .expect("each query takes a thread");
    assert_eq!((refusal.0, &refusal.1["error_code"]), (503, &json!(50302)), "{}", refusal.1);
    assert!(refusal.1["message"].as_str().unwrap().contains(REFUSED), "{}", refusal.1);
    // What was refused has left nothing behind.
    let queries = || server.ksql("SHOW QUERIES;")[0]["queries"].as_array().unwrap().len();
    assert_eq!((queries(), server.get("/info").0), (created, 200));
    let (status, body) = server.query("SELECT * FROM s EMIT CHANGES;");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(REFUSED), "{body}");
    // One less makes room for one more.
    server.ksql("DROP STREAM c1;");
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    while server.post("/ksql", &create(0)).0 != 200 {
        assert!(clock.monotonic() < end, "there is room for a thread");
        // A thread that served a request and is idle ends by itself, unless requests come all the time.
        clock.sleep(IDLE);
    }
    assert_eq!(queries(), created);
}
