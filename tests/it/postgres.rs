//! Postgres's clients as people install them, unmodified, against a server process: each script in `tests/postgres` connects,
//! reads every type, binds parameters, looks at an error, reads a push query row by row, cancels it, and copies. Without the
//! client the tests say that they were skipped, and why.

use crate::clients::{maven_jar, prepared};
use crate::http::Server;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tidegate::engine::access::Role;
use tidegate::serve::auth::users::{password_line, scram_line, token_line};
use tidegate::types::clock::SystemClock;

/// Longest time that a script may take, waits for a busy machine included.
const SCRIPT_SECONDS: &str = "120";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres")
}

fn limited(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args([SCRIPT_SECONDS, program]).stdin(Stdio::null());
    command
}

/// A server, its port, and the streams of `setup.sql`.
fn server() -> (Server, String) {
    let server = Server::at(&["--temp", "--pg-listen", "127.0.0.1:0"]);
    let port = server.postgres_port();
    let text = std::fs::read_to_string(folder().join("setup.sql")).unwrap();
    let statements = text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty());
    statements.for_each(|statement| drop(server.ksql(&format!("{statement};"))));
    (server, port)
}

fn passes(mut command: Command, script: &str) {
    let (_server, port) = server();
    shown(script, &command.arg(folder().join(script)).arg(port).output().expect("it runs"));
}

fn shown(script: &str, output: &Output) -> String {
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} against a server:\n{out}\n{errors}");
    out.into_owned()
}

fn python(test: &str, script: &str) {
    let Some(interpreter) = prepared(test, &["python", "../postgres/requirements.txt"]) else { return };
    let mut command = limited(&interpreter);
    // No compiled files beside the scripts.
    command.arg("-B");
    passes(command, script);
}

#[test]
fn pypi_psycopg() {
    python("pypi_psycopg", "psycopg_py.py");
}

#[test]
fn pypi_asyncpg() {
    python("pypi_asyncpg", "asyncpg_py.py");
}

#[test]
fn pypi_sqlalchemy() {
    python("pypi_sqlalchemy", "sqlalchemy_py.py");
}

#[test]
fn npm_pg() {
    let Some(packages) = prepared("npm_pg", &["node", "../postgres"]) else { return };
    let mut command = limited("node");
    command.env("NODE_PATH", packages);
    passes(command, "node_pg.js");
}

#[test]
fn maven_pgjdbc() {
    const ARTIFACT: &str = "org.postgresql:postgresql:42.7.4";
    let Some(jar) = maven_jar("postgres::maven_pgjdbc", "pgjdbc", ARTIFACT) else { return };
    let mut command = limited("java");
    command.arg("-cp").arg(jar);
    passes(command, "Jdbc.java");
}

/// What psql shows for commands; an error of one is shown, too.
fn psql(port: &str, commands: &[&str]) -> Option<String> {
    let mut command = limited("psql");
    command.args(["-X", "-A", "-h", "127.0.0.1", "-p", port, "-U", "me", "any"]).env("PGSSLMODE", "disable");
    for one in commands {
        command.args(["-c", one]);
    }
    let output = command.output().ok().filter(|output| output.status.code() != Some(127));
    let Some(output) = output else {
        let _ = writeln!(std::io::stderr(), "SKIPPED postgres::psql: psql is not installed");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn debian_psql_describes_what_there_is() {
    let (_server, port) = server();
    let Some(shown) = psql(&port, &["\\dt", "\\d", "\\dn", "\\l", "\\du", "\\dv", "\\di", "\\dx", "\\dT", "\\dp"])
    else {
        return;
    };
    for part in ["public|events|table|local", "public|local", "totals_pkey|index|local|totals"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("ERROR"), "{shown}");
    let table = psql(&port, &["\\d+ totals", "\\d all_types", "\\df ucase"]).unwrap_or_default();
    for part in [
        "id|text||not null|",
        "\"totals_pkey\" PRIMARY KEY, btree (id)",
        "n|numeric(12,3)|||",
        "ai|integer[]|||",
        "ts|timestamp with time zone|||",
        "public|ucase|STRING|STRING|func",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains("ERROR"), "{table}");
}

/// Metabase, Grafana and DBeaver cannot be had here: their statements are replayed.
#[test]
fn recorded_statements_of_tools_are_planned() {
    let (_server, port) = server();
    let text = std::fs::read_to_string(folder().join("recorded.sql")).unwrap();
    let statements: Vec<&str> = text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).collect();
    let Some(shown) = psql(&port, &statements) else { return };
    assert!(!shown.contains("ERROR"), "{shown}");
    for part in [
        "public|events|TABLE|STREAM over the topic events, JSON|0",
        "id|text|0|public|totals|t",
        "v|double precision",
        "1500",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn debian_psql_fetches_copies_and_points_at_errors() {
    let (server, port) = server();
    server.ksql("INSERT INTO events (id, n) VALUES ('psql', 1);");
    let earliest = "SET auto.offset.reset = 'earliest'";
    let copy = "\\copy (SELECT n FROM events WHERE id = 'psql') TO STDOUT";
    let shown = psql(&port, &[earliest, "SELECT 1", copy, "SELECT id, sped FROM events", "SHOW QUERIES"]);
    let Some(shown) = shown else { return };
    for part in ["?column?\n1\n", "\n1\n", "                   ^", "CTAS_COUNTS_"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let fetched =
        psql(&port, &[earliest, "\\set FETCH_COUNT 1", "SELECT n FROM events WHERE id = 'psql' EMIT CHANGES LIMIT 1"]);
    assert!(fetched.unwrap_or_default().contains("n\n1\n"));
}

#[test]
fn users_log_in_as_over_http_and_have_their_roles() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    let (token, tokens) = token_line("robot", Role::Reader).unwrap();
    let lines = [
        password_line("alice", Role::Admin, "secret 1").unwrap(),
        scram_line("bob", Role::Reader, "secret 2").unwrap(),
        tokens,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let server = Server::at(&["--temp", "--pg-listen", "127.0.0.1:0", "--users", file.to_str().unwrap()]);
    let port = server.postgres_port();
    let as_user = |user: &str, password: &str, sql: &str| {
        let mut command = limited("psql");
        command.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", user, "-c", sql, "any"]);
        command.env("PGPASSWORD", password);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    if as_user("alice", "secret 1", "SELECT current_user").contains("failed to run command") {
        return;
    }
    assert_eq!(as_user("alice", "secret 1", "SELECT current_user"), "alice\n");
    assert_eq!(as_user("bob", "secret 2", "SELECT current_user"), "bob\n");
    for (user, password) in [("alice", "secret 2"), ("bob", "x"), ("nobody", "x")] {
        assert!(as_user(user, password, "SELECT 1").contains("password authentication failed"), "{user}");
    }
    assert!(as_user("robot", &token, "SELECT 1").contains("over TLS only"));
    let refused = as_user("bob", "secret 2", "CREATE TYPE x AS INT");
    assert!(refused.contains("requires role writer"), "{refused}");

    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/http/tls");
    let (certificate, key) = (tls.join("test-cert.pem"), tls.join("test-key.pem"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let tls = ["--temp", "--pg-listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key];
    let server = Server::at(&[&tls[..], &["--users", file.to_str().unwrap()]].concat());
    let port = server.postgres_port();
    let mut command = limited("psql");
    command.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", "robot", "-c", "SELECT current_user", "any"]);
    let output = command.env("PGPASSWORD", &token).env("PGSSLMODE", "require").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "robot\n", "{}", String::from_utf8_lossy(&output.stderr));
}

/// A connection on which messages are written by hand.
struct Raw(TcpStream);

impl Raw {
    fn open(port: &str) -> Raw {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Raw(stream)
    }

    fn session(port: &str) -> Raw {
        let mut raw = Raw::open(port);
        let parameters = b"\0\x03\0\0user\0me\0\0";
        raw.send(&[&(parameters.len() as u32 + 4).to_be_bytes()[..], parameters].concat());
        assert_eq!(raw.until(b'Z').last().map(|(_, body)| body.clone()), Some(b"I".to_vec()));
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        self.send(&[&[tag], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat());
    }

    /// Messages up to one of this type.
    fn until(&mut self, tag: u8) -> Vec<(u8, Vec<u8>)> {
        let mut messages = Vec::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).unwrap();
            messages.push((head[0], body));
            if head[0] == tag {
                return messages;
            }
        }
    }

    /// What comes until the server closes.
    fn rest(mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[test]
fn broken_messages_end_the_connection_and_nothing_else() {
    let (_server, port) = server();
    let mut kept = Raw::session(&port);
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 4], &[0, 0, 0, 9, 0, 3, 0, 0, 1]]
    {
        let mut raw = Raw::open(&port);
        raw.send(bytes);
        assert!(raw.rest().contains("08P01"), "{bytes:?}");
    }
    for (tag, length) in [(b'Q', 0x7fff_ffff_u32), (b'Q', 3), (b'z', 4)] {
        let mut raw = Raw::session(&port);
        raw.send(&[&[tag], &length.to_be_bytes()[..]].concat());
        assert!(raw.rest().contains("08P01"), "{tag} of {length} bytes");
    }
    kept.message(b'Q', b"SELECT COUNT(*) FROM all_types\0");
    let messages = kept.until(b'Z');
    assert!(messages.iter().any(|(tag, body)| *tag == b'C' && body == b"SELECT 1\0"), "{messages:?}");
}

#[test]
fn an_error_skips_to_the_next_sync() {
    let (_server, port) = server();
    let mut raw = Raw::session(&port);
    raw.message(b'P', b"\0SELECT sped FROM events\0\0\0");
    raw.message(b'B', b"\0\0\0\0\0\0\0\0");
    raw.message(b'D', b"P\0");
    raw.message(b'E', b"\0\0\0\0\0");
    raw.message(b'P', b"\0BEGIN\0\0\0");
    raw.message(b'S', b"");
    let tags: Vec<u8> = raw.until(b'Z').into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(String::from_utf8_lossy(&tags), "12EZ");
    raw.message(b'Q', b"BEGIN; SELECT sped FROM events; SELECT 1\0");
    let failed = raw.until(b'Z');
    assert_eq!(failed.last().unwrap().1, b"E", "a transaction has failed");
    raw.message(b'Q', b"SELECT COUNT(*) FROM events\0");
    assert!(raw.until(b'Z').iter().any(|(tag, body)| *tag == b'E' && body.windows(5).any(|w| w == b"25P02")));
    raw.message(b'Q', b"COMMIT\0");
    assert!(raw.until(b'Z').iter().any(|(tag, body)| *tag == b'C' && body == b"ROLLBACK\0"));
}

#[test]
fn a_reader_that_stops_slows_no_query() {
    const ROWS: usize = 12_000;
    let (_server, port) = server();
    let mut stalled = Raw::session(&port);
    stalled.message(b'Q', b"SET auto.offset.reset = 'earliest'; SELECT * FROM events EMIT CHANGES\0");
    stalled.until(b'T');
    // More than the queue of a connection and the buffers of its sockets hold.
    let id = "x".repeat(1_000);
    let mut writer = Raw::session(&port);
    writer.message(b'Q', b"COPY events (id, n) FROM STDIN\0");
    writer.until(b'G');
    for chunk in (0..ROWS).collect::<Vec<_>>().chunks(500) {
        let lines: String = chunk.iter().map(|n| format!("{id}\t{n}\n")).collect();
        writer.message(b'd', lines.as_bytes());
    }
    writer.message(b'c', b"");
    assert!(writer.until(b'Z').iter().any(|(tag, body)| *tag == b'C' && body == b"COPY 12000\0"));
    let query = format!("SET auto.offset.reset = 'earliest'; SELECT n FROM events EMIT CHANGES LIMIT {ROWS}\0");
    writer.message(b'Q', query.as_bytes());
    assert_eq!(writer.until(b'Z').iter().filter(|(tag, _)| *tag == b'D').count(), ROWS);
    let counted = (0..400).any(|_| {
        SystemClock::shared().sleep(Duration::from_millis(50));
        writer.message(b'Q', b"SELECT amount FROM counts\0");
        writer.until(b'Z').iter().any(|(tag, body)| *tag == b'D' && body.ends_with(b"12000"))
    });
    assert!(counted, "the query of the table does not come to the end");
    drop(stalled);
}

#[test]
fn a_client_that_leaves_ends_its_query() {
    let (server, port) = server();
    let mut raw = Raw::session(&port);
    raw.message(b'Q', b"SELECT * FROM events EMIT CHANGES\0");
    raw.until(b'T');
    let queries = || serde_json::Value::from(server.ksql("SHOW QUERIES;")).to_string();
    assert!(queries().contains("\"PUSH\""), "{}", queries());
    drop(raw);
    let ended = (0..100).any(|_| {
        SystemClock::shared().sleep(Duration::from_millis(50));
        !queries().contains("\"PUSH\"")
    });
    assert!(ended, "the push query has gone on without a reader");
}
