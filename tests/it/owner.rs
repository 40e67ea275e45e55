//! Several tidegates on one data directory: the first owns it, the others attach, and one of them takes over when it goes.
//!
//! All with real processes: an owner that runs a file of statements, and guests that do what they would do alone.

use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;
use tidegate::types::clock::SystemClock;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
/// Longest time that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const SCRIPT: &str = "\
CREATE STREAM s (k VARCHAR KEY, n INT, price DECIMAL(5, 2), tags ARRAY<VARCHAR>, at TIMESTAMP) \
  WITH (KAFKA_TOPIC = 't', VALUE_FORMAT = 'JSON', PARTITIONS = 1);
INSERT INTO s (ROWTIME, k, n, price, tags, at) VALUES (1000, 'a', 1, 1.5, ARRAY['x', NULL], '2026-11-21T10:00:00');
INSERT INTO s (ROWTIME, k, n) VALUES (2000, 'b', 2);
DEFINE least = '1';
SET 'auto.offset.reset' = 'earliest';
SHOW VARIABLES;
CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k EMIT CHANGES;
SHOW STREAMS;
DESCRIBE s;
EXPLAIN SELECT k FROM s WHERE n > ${least} EMIT CHANGES;
SELECT k, n, price, tags, at FROM s EMIT CHANGES LIMIT 2;
SELECT k, SUM(n) AS total, MAX(price) FROM s WHERE n >= ${least} GROUP BY k ORDER BY k;
SELECT k, n FROM c EMIT CHANGES LIMIT 2;
DESCRIBE nowhere;
";

/// A tidegate in the background.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(directory: &Path, args: &[&str]) -> Process {
        let mut command = Command::new(TIDEGATE);
        command.arg("--data").arg(directory).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        let (sender, lines) = channel();
        let (out, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let others = sender.clone();
        std::thread::spawn(move || forward(BufReader::new(out), &sender));
        std::thread::spawn(move || forward(BufReader::new(errors), &others));
        Process { child, lines }
    }

    /// A tidegate that runs these statements until it is ended.
    fn run(directory: &TempDir, name: &str, statements: &str) -> Process {
        let file = directory.path().join(name);
        std::fs::write(&file, statements).unwrap();
        let process = Process::start(&directory.path().join("data"), &["run", file.to_str().unwrap()]);
        process.says("Running");
        process
    }

    /// Waits for a line with this text and returns it.
    fn says(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody says {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }

    fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(lines: impl BufRead, to: &std::sync::mpsc::Sender<String>) {
    for line in lines.lines().map_while(Result::ok) {
        let _ = to.send(line);
    }
}

fn tidegate(directory: &TempDir, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(TIDEGATE);
    command.arg("--data").arg(directory.path().join("data")).args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that fails early does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a guest prints beside its results, without the line about being one.
fn errors(output: &Output) -> String {
    let all = text(&output.stderr);
    let (first, rest) = all.split_once('\n').unwrap_or_default();
    assert!(first.starts_with("attached to the tidegate that owns ") && first.contains("(pid "), "{all}");
    rest.to_owned()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    while !done() {
        assert!(clock.monotonic() < end, "{what}");
        clock.sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_guest_sees_what_the_owner_would_see() {
    for format in ["table", "vertical", "json", "csv"] {
        let (alone, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let wanted = tidegate(&alone, &["-o", format, "sql", "-e", SCRIPT], "");
        let _owner = Process::run(&shared, "owner.sql", "SHOW STREAMS;");
        let got = tidegate(&shared, &["-o", format, "sql", "-e", SCRIPT], "");
        assert_eq!(text(&got.stdout), text(&wanted.stdout), "{format}: {}", text(&got.stderr));
        assert_eq!(errors(&got), text(&wanted.stderr), "an error and its place");
        let place: &[&str] = match format {
            "json" => &[r#""line":14,"column":10"#],
            _ => &["14 | DESCRIBE nowhere;", "^"],
        };
        assert!(place.iter().all(|part| errors(&got).contains(part)), "{}", errors(&got));
        assert_eq!((got.status.code(), wanted.status.code()), (Some(1), Some(1)));
    }
}

#[test]
fn the_door_is_a_socket_for_its_user() {
    let directory = tempfile::tempdir().unwrap();
    let mut owner = Process::run(&directory, "owner.sql", "SHOW STREAMS;");
    let (file, socket) = (directory.path().join("data/owner"), directory.path().join("data/owner.sock"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&socket), mode(&directory.path().join("data"))), (0o600, 0o600, 0o700));
    let said: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&said["pid"], &said["socket"]), (&owner.child.id().into(), &"owner.sock".into()));
    // No port is open.
    let sockets = |protocol: &str| {
        let all = std::fs::read_to_string(format!("/proc/{}/net/{protocol}", owner.child.id())).unwrap();
        let listening = all.lines().filter(|line| line.split_whitespace().nth(3) == Some("0A"));
        let inodes: Vec<String> = listening.map(|l| l.split_whitespace().nth(9).unwrap().to_owned()).collect();
        let held = std::fs::read_dir(format!("/proc/{}/fd", owner.child.id())).unwrap();
        let links = held.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links.filter(|l| inodes.iter().any(|inode| l.to_str() == Some(&format!("socket:[{inode}]")))).count()
    };
    assert_eq!((sockets("tcp"), sockets("tcp6")), (0, 0));
    assert_eq!(owner.signal(Signal::INT), Some(0));
    assert!(!file.exists() && !socket.exists(), "an owner that ends takes both with it");
}

#[test]
fn a_thousand_connections_to_the_door_leave_the_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Process::run(&directory, "owner.sql", "SHOW STREAMS;");
    let socket = directory.path().join("data/owner.sock");
    let files = || std::fs::read_dir(format!("/proc/{}/fd", owner.child.id())).unwrap().count();
    let before = files();
    let silent: Vec<_> = (0..1_000).map_while(|_| std::os::unix::net::UnixStream::connect(&socket).ok()).collect();
    until("they are there", || files() > before + 100);
    assert!(files() <= before + 510, "{} files are open", files());
    drop(silent);
    until("they are gone", || files() < before + 20);
    let out = tidegate(&directory, &["sql", "-e", "SHOW STREAMS;"], "");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

#[test]
fn a_path_that_is_longer_than_a_sockets_has_guests_too() {
    let home = tempfile::tempdir().unwrap();
    let deep = home.path().join("d".repeat(90)).join("e".repeat(90));
    std::fs::create_dir_all(&deep).unwrap();
    let deep = tempfile::tempdir_in(&deep).unwrap();
    let mut owner = Process::run(&deep, "owner.sql", "SHOW STREAMS;");
    let ask = || text(&tidegate(&deep, &["sql", "-e", "SHOW STREAMS;"], "").stderr);
    assert!(ask().starts_with("attached to"), "{}", ask());
    // What a killed owner leaves is in no successor's way.
    assert_eq!(owner.signal(Signal::KILL), None);
    assert!(deep.path().join("data/owner.sock").exists());
    let owner = Process::run(&deep, "owner.sql", "SHOW STREAMS;");
    assert!(ask().starts_with("attached to"), "{}", ask());
    drop(owner);
}

#[test]
fn a_guest_that_stops_its_query_stops_it_at_the_owner() {
    let directory = tempfile::tempdir().unwrap();
    let create = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC = 't', VALUE_FORMAT = 'JSON', PARTITIONS = 1);\
                  INSERT INTO s VALUES (7);";
    let owner = Process::run(&directory, "owner.sql", create);
    let data = directory.path().join("data");
    let watch = || {
        let guest = Process::start(&data, &["-o", "json", "sql", "-e", "SELECT n FROM s EMIT CHANGES;"]);
        guest.says("{\"N\":7}");
        guest
    };
    assert_eq!(watch().signal(Signal::INT), Some(130));
    // What the first query needs for all is there now.
    let (mut before, mut now) = (usize::MAX, owner.threads());
    until("the first query ends", || {
        SystemClock::shared().sleep(Duration::from_secs(3));
        (before, now) = (now, owner.threads());
        before == now
    });
    let mut guests: Vec<Process> = (0..5).map(|_| watch()).collect();
    assert!(owner.threads() >= before + 5, "each query has a thread at the owner");
    for guest in &mut guests {
        assert_eq!(guest.signal(Signal::INT), Some(130));
    }
    until("the queries end", || owner.threads() <= before);
}

#[test]
fn when_the_owner_is_killed_a_guest_takes_over_and_the_queries_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let create = "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC = 't', VALUE_FORMAT = 'JSON', PARTITIONS = 1);\
                  CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k EMIT CHANGES;\
                  INSERT INTO s VALUES ('a', 1);";
    let mut owner = Process::run(&directory, "owner.sql", create);
    let mut first = Process::run(&directory, "first.sql", "INSERT INTO s VALUES ('a', 2);");
    let second = Process::run(&directory, "second.sql", "INSERT INTO s VALUES ('a', 3);");
    assert_eq!(owner.signal(Signal::KILL), None);
    let heirs = [first.says(" has ended; "), second.says(" has ended; ")];
    assert!(heirs.iter().any(|h| h.ends_with("this process owns the directory now")), "{heirs:?}");
    assert!(heirs.iter().any(|h| h.contains("attached to the tidegate that owns")), "{heirs:?}");
    let count = |n: u32| {
        let sql = format!("INSERT INTO s VALUES ('a', {n}); SELECT n FROM c WHERE n = {n} EMIT CHANGES LIMIT 1;");
        let out = tidegate(&directory, &["-o", "json", "sql", "-e", &sql], "");
        assert_eq!(text(&out.stdout), format!("{{\"N\":{n}}}\n"), "{}", text(&out.stderr));
        text(&out.stderr)
    };
    assert!(count(4).starts_with("attached to"));
    // One that ends well is followed as one that was killed; the guests that are left continue.
    assert_eq!(first.signal(Signal::INT), Some(0));
    count(5);
    drop(second);
    assert!(!count(6).contains("attached"), "nobody is left: this one owned the directory");
}

#[test]
fn topics_are_the_owners_too() {
    let directory = tempfile::tempdir().unwrap();
    let topic = |args: &[&str], input: &str| {
        let out = tidegate(&directory, &[&["topic"], args].concat(), input);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        errors(&out);
        text(&out.stdout)
    };
    let _owner = Process::run(&directory, "owner.sql", "SHOW STREAMS;");
    let missing = tidegate(&directory, &["topic", "print", "t"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(errors(&missing).contains("topic t does not exist"), "{}", text(&missing.stderr));
    let lines: String = (0..5_000).map(|n| format!("k{}={n}\n", n % 7)).collect();
    assert_eq!(topic(&["produce", "t", "--partitions", "3", "-k", "="], &lines), "wrote 5000 records to t\n");
    assert_eq!(topic(&["produce", "big", "--partitions", "1"], &"x".repeat(900_000)), "wrote 1 record to big\n");
    assert!(topic(&["list"], "").contains("| t     | 3          | 1        | 5000    |"), "{}", topic(&["list"], ""));
    let printed = topic(&["print", "t", "-b", "--exit-at-end", "-o", "csv"], "");
    assert_eq!(printed.lines().count(), 5_001);
    let mut numbers: Vec<u32> =
        printed.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());

    let first = |args: &[&str]| topic(&[&["delete-records", "t", "-o", "csv"], args].concat(), "");
    assert_eq!(first(&["--before", "10", "-p", "1"]), "Partition,First offset\n1,10\n");
    let gone = first(&["--all"]);
    assert_eq!(gone.lines().count(), 4);
    assert_eq!(topic(&["print", "t", "-b", "--exit-at-end"], ""), "");
    let beyond = tidegate(&directory, &["topic", "delete-records", "t", "--before", "9000000"], "");
    assert!(errors(&beyond).contains("ends at offset"), "{}", text(&beyond.stderr));
    let nowhere = tidegate(&directory, &["topic", "delete-records", "t", "--all", "-p", "3"], "");
    assert!(errors(&nowhere).contains("topic t has no partition 3"), "{}", text(&nowhere.stderr));
}

#[test]
fn who_only_looks_at_a_topic_is_an_owner_too() {
    let directory = tempfile::tempdir().unwrap();
    tidegate(&directory, &["topic", "produce", "t", "--partitions", "1"], "{\"N\":1}\n");
    let mut printer = Process::start(&directory.path().join("data"), &["topic", "print", "t", "-b"]);
    printer.says("value: {\"N\":1}");
    let sql = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC = 't', VALUE_FORMAT = 'JSON'); INSERT INTO s VALUES (2);\
               SELECT n FROM s EMIT CHANGES LIMIT 2;";
    let out = tidegate(&directory, &["-o", "csv", "sql", "-e", sql], "");
    assert!(text(&out.stdout).ends_with("N\n1\n2\n"), "{} {}", text(&out.stdout), errors(&out));
    printer.says("value: {\"N\":2}");
    assert_eq!(printer.signal(Signal::INT), Some(130));
    let elsewhere = tidegate(&directory, &["--service-id", "other_", "sql", "-e", "SHOW QUERIES;"], "");
    assert_eq!(elsewhere.status.code(), Some(0), "free again: {}", text(&elsewhere.stderr));
}

#[test]
fn a_guest_of_another_service_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let _owner = Process::run(&directory, "owner.sql", "SHOW STREAMS;");
    let other = tidegate(&directory, &["--service-id", "other_", "sql", "-e", "SHOW QUERIES;"], "");
    assert_eq!(other.status.code(), Some(3));
    let said = text(&other.stderr);
    assert!(said.contains("runs with service id default_") && said.contains("--service-id default_"), "{said}");
}

#[test]
fn a_prompt_at_a_server_needs_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Process::start(&directory.path().join("data"), &["server", "--listen", "127.0.0.1:0"]);
    let line = server.says("address=");
    let address = line.split_once("address=").unwrap().1.split(' ').next().unwrap();
    let url = format!("http://{address}");
    let at = |args: &[&str], input: &str| {
        let mut child = Command::new(TIDEGATE)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    let piped = at(&[&url, "-o", "json"], "SHOW STREAMS; SHOW PROPERTIES;");
    let said = text(&piped.stdout);
    assert!(said.contains("\"Property\":\"auto.offset.reset\",\"Value\":\"earliest\",\"From\":\"SESSION\""), "{said}");
    assert_eq!(text(&piped.stderr), format!("attached to the server at {url}\n"));
    let sql = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC = 't', VALUE_FORMAT = 'JSON', PARTITIONS = 1);\
               INSERT INTO s VALUES (7); SELECT n FROM s EMIT CHANGES LIMIT 1;";
    let earlier = at(&["--server", &url, "-o", "csv", "sql", "-e", sql], "");
    assert!(text(&earlier.stdout).ends_with("N\n7\n"), "as at every prompt, from the earliest record on");
    assert_eq!(at(&["--server", &url, "sql", "-e", "SHOW STREAMS;"], "").status.code(), Some(0));
    let topics = at(&["topic", "list", "--server", &url], "");
    assert_eq!(
        (topics.status.code(), text(&topics.stdout).contains("t ")),
        (Some(0), true),
        "{}",
        text(&topics.stdout)
    );
    for wrong in ["fly", "https://", "http://", "http://a:b"] {
        assert_eq!(at(&[wrong], "").status.code(), Some(2), "{wrong}");
    }
    assert_eq!(server.signal(Signal::TERM), Some(0));
    let gone = at(&[&url], "SHOW STREAMS;");
    assert_eq!(gone.status.code(), Some(3));
    assert!(text(&gone.stderr).contains("cannot connect to"), "{}", text(&gone.stderr));
}
