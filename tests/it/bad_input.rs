//! Bad input of every kind, a file each under `tests/bad`: what is said, what it is answered, and in which words.
//!
//! ```text
//! statements/   sql                     the code, and the error as the prompt shows it, with its place
//! records/      records (columns) WITH  KEY | VALUE a line; which of them are skipped, and why
//! requests/     METHOD PATH             header lines, a blank line, the body; status and body of the answer
//! settings/     kafka-config, users     a file's text; the error
//!               tidegate ARGUMENTS      exit code and standard error
//! ```
//!
//! `<<text*1000>>` stands for a text repeated, `\xNN` for a byte. `UPDATE_GOLDENFILES=1` writes down what is answered: read it
//! as a user who has just made that mistake. It has to say what is wrong, where, and what to do now.

use crate::harness::golden::{Golden, difference, tidy};
use crate::http::{Server, TIDEGATE};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tidegate::cli::report::rendered;
use tidegate::config::kafka::ClientProperties;
use tidegate::config::{Config, LogConfig, environment};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::embedded::EmbeddedLog;
use tidegate::log::{Log, RecordSet, TopicPartition};
use tidegate::serve::auth::users::Users;
use tidegate::types::clock::{ManualClock, SharedClock};

/// What the statements and requests find.
const SETUP: &str = "
CREATE TYPE address AS STRUCT<street STRING, zip INT>;
CREATE STREAM orders (id INT KEY, item STRING, price DECIMAL(8, 2), qty INT, placed TIMESTAMP, tags ARRAY<STRING>,
  props MAP<STRING, INT>, ship address) WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE STREAM payments (id INT KEY, amount DOUBLE, method STRING)
  WITH (KAFKA_TOPIC='payments', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE STREAM narrow (k STRING KEY, v STRING) WITH (KAFKA_TOPIC='narrow', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE customers (id INT PRIMARY KEY, name STRING, city STRING)
  WITH (KAFKA_TOPIC='customers', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE SOURCE TABLE rates (currency STRING PRIMARY KEY, rate DOUBLE)
  WITH (KAFKA_TOPIC='rates', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE totals AS SELECT item, SUM(qty) AS total FROM orders GROUP BY item;
CREATE TABLE hourly AS SELECT item, COUNT(*) AS n FROM orders WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY item;
CREATE STREAM cheap AS SELECT * FROM orders WHERE price < 10;";

/// Bytes of an answer that are kept.
const SHOWN_MAX: usize = 4_000;

fn folder(area: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad").join(area)
}

/// Carries out every file of an area; returns how many there are.
fn each(area: &str, mut answer: impl FnMut(&str, &str) -> String) -> usize {
    let update = environment("UPDATE_GOLDENFILES").is_some();
    let mut files: Vec<PathBuf> = fs::read_dir(folder(area)).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut wrong = String::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let mut golden = Golden::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(golden.blocks.len(), 1, "{}: one input a file", file.display());
        let block = &mut golden.blocks[0];
        let got = tidy(&answer(&block.command, &block.body));
        if got != block.expected {
            wrong += &format!("{}\n{}", file.display(), difference(&block.expected, &got));
            block.expected = got;
            if update {
                fs::write(file, golden.print()).unwrap();
            }
        }
    }
    assert!(update || wrong.is_empty(), "{wrong}");
    files.len()
}

/// A text with its repetitions written out.
fn expanded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("<<") {
        let (inside, after) = inside.split_once(">>").expect("a repetition ends with >>");
        let (what, times) = inside.rsplit_once('*').expect("a repetition is <<text*times>>");
        out.push_str(before);
        out.push_str(&what.repeat(times.parse().expect("a number of times")));
        rest = after;
    }
    out + rest
}

/// A text's bytes, `\xNN` being one.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        out.push(u8::from_str_radix(&after[..2], 16).expect("two digits"));
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn shown(text: &str) -> String {
    let end = (0..=SHOWN_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    if end < text.len() { format!("{}\n... {} bytes more", &text[..end], text.len() - end) } else { text.to_owned() }
}

fn engine() -> (Engine, Arc<dyn Log>) {
    let clock: SharedClock = ManualClock::at(1_795_255_200_000);
    let log: Arc<dyn Log> = EmbeddedLog::in_memory(clock.clone()).unwrap();
    let config = Config::new(LogConfig::Embedded(PathBuf::from("unused")));
    (Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap(), log)
}

/// All that there is, to see that nothing of it has changed.
fn state(engine: &Engine) -> String {
    let topics: Vec<_> = engine.log().topics().unwrap().into_iter().map(|t| (t.name, t.partitions)).collect();
    let ids: Vec<_> = engine.queries().into_iter().map(|(id, query)| format!("{id} {:?}", query.state())).collect();
    let catalog = engine.catalog();
    let sources: Vec<_> = catalog.all().map(|s| format!("{} {}", s.name, s.schema)).collect();
    format!("{topics:?} {ids:?} {sources:?} {:?}", catalog.types())
}

#[test]
fn statements() {
    let (engine, _) = engine();
    engine.run(SETUP, &mut Session::default()).unwrap();
    let before = state(&engine);
    let count = each("statements", |command, body| {
        assert_eq!(command, "sql");
        let text = String::from_utf8(bytes(&expanded(body))).unwrap();
        let mut session = Session::default();
        let run = |session: &mut Session| {
            let parsed = engine.parse(&text, session)?;
            engine.validate(&parsed, session).map_err(|(_, e)| e)?;
            parsed.iter().try_for_each(|p| engine.execute(p, session).map(drop))
        };
        let answer = match run(&mut session) {
            Ok(()) => "nothing is wrong with it".to_owned(),
            Err(e) => shown(&format!("{}\n{}", e.code(), rendered(&e, &text, false))),
        };
        if state(&engine) == before { answer } else { format!("{answer}\nIT HAS CHANGED SOMETHING") }
    });
    assert!(count >= 100, "{count}");
}

#[test]
fn records() {
    let count = each("records", |command, body| {
        let columns = command.strip_prefix("records ").expect("records (columns) WITH (...)");
        let (engine, log) = engine();
        let with = columns.replacen("WITH (", "WITH (KAFKA_TOPIC='in', PARTITIONS=1, ", 1);
        let sql = format!("CREATE STREAM s {with}; CREATE STREAM r WITH (KAFKA_TOPIC='out') AS SELECT * FROM s;");
        engine.run(&sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let mut set = RecordSet::default();
        let field = |text: &str| (text != "<null>").then(|| bytes(text));
        for line in expanded(body).lines() {
            let (key, value) = line.split_once(" | ").unwrap_or_else(|| panic!("KEY | VALUE: {line}"));
            set.push(0, 5, field(key).as_deref(), field(value).as_deref());
        }
        log.append("in", &set).unwrap();
        engine.drive().unwrap();
        let bad = engine.queries().into_iter().flat_map(|(_, query)| query.bad());
        let told: String = bad.map(|b| format!("{} {}@{}: {}\n", b.topic, b.partition, b.offset, b.reason)).collect();
        let written = log.watermarks(&TopicPartition::new("out", 0)).unwrap().high;
        shown(&format!("{told}{written} written"))
    });
    assert!(count >= 30, "{count}");
}

/// A body without its chunks' lengths.
fn whole(chunked: &str) -> String {
    let (mut out, mut rest) = (String::new(), chunked);
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        out += after.get(..length).unwrap_or(after);
        rest = after.get(length + 2..).unwrap_or_default();
    }
    out
}

/// A request as it is in its file, sent unchanged.
fn sent(server: &Server, command: &str, body: &str) -> String {
    let (headers, content) = body.split_once("\n\n").unwrap_or((body.trim_end_matches('\n'), ""));
    let content = bytes(&expanded(content.trim_end_matches('\n')));
    let headers = expanded(headers);
    let mut head = format!("{} HTTP/1.1\r\nconnection: close\r\n", expanded(command));
    let has = |name: &str| headers.lines().any(|line| line.to_ascii_lowercase().starts_with(name));
    headers.lines().filter(|line| !line.is_empty()).for_each(|line| head += &format!("{line}\r\n"));
    if !has("host:") {
        head += "host: localhost\r\n";
    }
    if !has("content-length:") && !has("transfer-encoding:") && !content.is_empty() {
        head += &format!("content-length: {}\r\n", content.len());
    }
    let mut socket = TcpStream::connect(&server.address).unwrap();
    // A server that has heard enough may hang up before all is said.
    let _ = socket.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| socket.write_all(&content));
    let mut answer = Vec::new();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    if socket.read_to_end(&mut answer).is_err() {
        // A body that is shorter than announced has its end here. Not before the answer had its time: to a server, whoever
        // stops writing has gone.
        if has("content-length:") || has("transfer-encoding:") {
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
        socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let _ = socket.read_to_end(&mut answer);
    }
    let answer = String::from_utf8_lossy(&answer).replace(&server.address, "ADDRESS");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    let status = head.split(' ').nth(1).unwrap_or("no answer");
    // What comes piece by piece is cut by chance.
    let body = if head.contains("transfer-encoding: chunked") { whole(body) } else { body.to_owned() };
    shown(&format!("{status}\n{body}"))
}

#[test]
fn requests() {
    let server = Server::start();
    server.ksql(SETUP);
    let before = server.ksql("SHOW STREAMS; SHOW TABLES; SHOW TOPICS; SHOW TYPES;");
    let count = each("requests", |command, body| sent(&server, command, body));
    assert!(count >= 30, "{count}");
    assert_eq!(server.ksql("SHOW STREAMS; SHOW TABLES; SHOW TOPICS; SHOW TYPES;"), before, "nothing has changed");
}

/// The program with these arguments, given this text; `FILE` and `DIR` are a file with that text and a new folder.
fn program(arguments: &str, body: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, bytes(&expanded(body))).unwrap();
    // A file that others can read would be reported, everywhere.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let place = |text: &str| text.replace("FILE", file.to_str().unwrap()).replace("DIR", dir.path().to_str().unwrap());
    let mut command = Command::new(TIDEGATE);
    for name in ["TIDEGATE_USER", "TIDEGATE_PASSWORD", "TIDEGATE_TOKEN"] {
        command.env_remove(name);
    }
    command.args(arguments.split(' ').filter(|a| !a.is_empty()).map(|a| place(&expanded(a).replace('~', " "))));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env("HOME", dir.path())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(&bytes(&expanded(body)));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The time of a line of the log is another each time.
    let said: String =
        said.lines().map(|l| l.split_once("Z  ").map_or(l, |(_, rest)| rest)).map(|l| format!("{l}\n")).collect();
    let said = said.replace(file.to_str().unwrap(), "FILE").replace(dir.path().to_str().unwrap(), "DIR");
    shown(&format!("exit {}\n{said}", output.status.code().map_or("by a signal".to_owned(), |c| c.to_string())))
}

#[test]
fn settings() {
    let count = each("settings", |command, body| {
        let text = expanded(body);
        match command.split_once(' ') {
            Some(("tidegate", arguments)) => program(arguments, body),
            None if command == "kafka-config" => match ClientProperties::read(&text, "FILE") {
                Ok(_) => "nothing is wrong with it".to_owned(),
                Err(e) => shown(&format!("{}\n{}", e.code(), rendered(&e, "", false))),
            },
            None if command == "users" => {
                let dir = tempfile::tempdir().unwrap();
                let file = dir.path().join("users");
                fs::write(&file, bytes(&text)).unwrap();
                match Users::read(&file) {
                    Ok(_) => "nothing is wrong with it".to_owned(),
                    Err(e) => rendered(&e, "", false).replace(file.to_str().unwrap(), "FILE"),
                }
            }
            _ => panic!("{command}"),
        }
    });
    assert!(count >= 30, "{count}");
}
