//! Who gets in: names, users, roles, TLS, and requests that are too long or too slow.

use super::*;
use base64::Engine as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::ErrorKind;
use std::sync::Arc;

/// Sends a head and reads the answer's status and body.
pub(super) fn raw(server: &Server, head: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, answer)
}

pub(super) fn get(server: &Server, headers: &str) -> (u16, String) {
    raw(server, &format!("GET /info HTTP/1.1\r\nconnection: close\r\n{headers}\r\n"))
}

#[test]
fn a_foreign_host_or_origin_is_turned_away() {
    let server = Server::at(&["--temp", "--allow-origin", "https://console.example"]);
    let here = server.address.clone();
    for host in ["localhost", "LOCALHOST:8088", "127.0.0.1", "[::1]:8088", here.as_str()] {
        assert_eq!(get(&server, &format!("host: {host}\r\n")).0, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:8088", "10.0.0.1", "x"] {
        let (status, answer) = get(&server, &format!("host: {host}\r\n"));
        assert_eq!(status, 403, "{host}");
        assert!(answer.contains("\"error_code\":40300") && answer.contains(host), "{answer}");
    }
    let with_origin = |origin: &str| get(&server, &format!("host: {here}\r\norigin: {origin}\r\n"));
    for origin in ["http://evil.example", "null", "http://localhost:1", "https://console.example.evil.example"] {
        assert_eq!(with_origin(origin).0, 403, "{origin}");
    }
    for origin in [format!("http://{here}").as_str(), "https://console.example"] {
        let (status, answer) = with_origin(origin);
        assert_eq!(status, 200, "{origin}");
        assert!(answer.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{answer}");
    }
    let ask = |origin: &str| {
        let head = format!("OPTIONS /ksql HTTP/1.1\r\nhost: {here}\r\nconnection: close\r\norigin: {origin}\r\n\r\n");
        raw(&server, &head)
    };
    let (status, answer) = ask("https://console.example");
    assert!(status == 204 && answer.contains("access-control-allow-methods: GET, POST"), "{answer}");
    assert_eq!(ask("https://evil.example").0, 403);
}

#[test]
fn too_long_requests_are_refused_and_others_are_served() {
    let server = Server::start();
    let many: String = (0..10_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let (status, _) = get(&server, &format!("host: localhost\r\n{many}"));
    assert!(status == 431 || status == 0, "{status}");
    let (status, _) = get(&server, &format!("host: localhost\r\nx: {}\r\n", "y".repeat(100_000)));
    assert!(status == 431 || status == 0, "{status}");
    let long = tidegate::serve::limits::BODY_BYTES_MAX + 1;
    let (status, body) = server.post("/ksql", &json!({ "ksql": "x".repeat(long) }));
    assert_eq!((status, &body["error_code"]), (413, &json!(41300)));
    // A client that sends its request slowly keeps no other client waiting.
    let mut slow = TcpStream::connect(&server.address).unwrap();
    slow.write_all(b"POST /ksql HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{").unwrap();
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    assert_eq!(server.get("/info").0, 200);
    server.ksql("SHOW STREAMS;");
    drop(silent);
}

/// Sends a request in two pieces, and the body only when the response is there; returns the response's head and body.
fn answered_first(socket: &mut TcpStream, head: &str, body: &str) -> String {
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let is_whole = |answer: &[u8]| {
        let text = String::from_utf8_lossy(answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        body.len() >= length.unwrap_or(0)
    };
    let mut sent = false;
    while !is_whole(&answer) {
        let mut piece = [0; 4096];
        match socket.read(&mut piece) {
            Ok(0) => panic!("closed after {}", text(&answer)),
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            // It waits for the body, or will not wait longer.
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && !sent => {
                let _ = socket.write_all(body.as_bytes());
                sent = true;
            }
            Err(e) => panic!("{e} after {}", text(&answer)),
        }
    }
    if !sent {
        let _ = socket.write_all(body.as_bytes());
    }
    text(&answer)
}

/// A client whose body leaves a moment after its head may use the connection for its next request, or is told that it may not.
#[test]
fn a_request_that_is_refused_before_its_body_keeps_the_connection_or_says_that_it_closes() {
    let people = people();
    let server = Server::at(&["--temp", "--users", people.file.path().to_str().unwrap()]);
    let rows = "{\"target\":\"nowhere\"}\n{\"N\":2}\n";
    let (first, rest) = rows.split_at(rows.find('\n').unwrap() + 1);
    let head = |path: &str, who: &str, length: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {who}\r\n{length}\r\n")
    };
    let known = format!("content-length: {}\r\n", rows.len());
    let open = "transfer-encoding: chunked\r\n".to_owned();
    let chunk = format!("{:x}\r\n{first}\r\n", first.len());
    let refused = [
        (head("/ksql", "Bearer 0", &known), rows, "401"),
        (head("/inserts-stream", &people.writer, &known) + first, rest, "400"),
        (head("/nowhere", &people.writer, &known), rows, "404"),
        (head("/inserts-stream", &people.reader, &known) + first, rest, "403"),
        (head("/inserts-stream", &people.reader, &open) + &chunk, "0\r\n\r\n", "403"),
    ];
    for (head, body, status) in refused {
        let mut socket = TcpStream::connect(&server.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let answer = answered_first(&mut socket, &head, body);
        assert!(answer.contains(status), "{head}: {answer}");
        if !answer.to_lowercase().contains("connection: close") {
            let next = answered_first(&mut socket, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", "");
            assert!(next.starts_with("HTTP/1.1 200"), "{head}: {next}");
        }
    }
}

#[test]
fn what_others_can_reach_asks_who_they_are() {
    let refused = tidegate(&["--temp"], &["server", "--listen", "0.0.0.0:0"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--users"), "{}", text(&refused.stderr));
}

/// Users of each role, and the headers that they send.
struct People {
    file: tempfile::NamedTempFile,
    reader: String,
    writer: String,
    admin: String,
}

fn people() -> People {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut password = |name: &str, role: &str| {
        let made = tidegate(&[], &["user", name, role], "se:cret\n");
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        file.write_all(&made.stdout).unwrap();
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:se:cret")))
    };
    let (writer, admin) = (password("walter", "writer"), password("ada", "admin"));
    let made = tidegate(&[], &["user", "rita", "reader", "--token"], "");
    file.write_all(&made.stdout).unwrap();
    let token = text(&made.stderr).trim().rsplit(' ').next().unwrap().to_owned();
    assert!(!text(&made.stdout).contains(&token), "only its hash is kept");
    People { file, reader: format!("Bearer {token}"), writer, admin }
}

#[test]
fn each_role_may_do_what_it_may() {
    let people = people();
    let server = Server::at(&["--temp", "--users", people.file.path().to_str().unwrap()]);
    let said = |who: &str, path: &str, body: &str| {
        let request = server.agent.post(format!("http://{}{path}", server.address)).header("authorization", who);
        answer(request.send(body).unwrap())
    };
    let ksql = |who: &str, statement: &str| said(who, "/ksql", &json!({ "ksql": statement }).to_string());
    for who in ["", "Bearer 0", "Basic YWRhOndyb25n", "Basic ???"] {
        let (status, body) = ksql(who, "SHOW STREAMS;");
        assert_eq!((status, &body["error_code"]), (401, &json!(40100)), "{who}");
    }
    let (_, answer) = get(&server, "host: any.name.example\r\n");
    assert!(answer.contains("401") && answer.contains("www-authenticate: Basic realm=\"tidegate\""), "{answer}");
    assert_eq!((server.get("/livez").0, server.get("/readyz").0, server.get("/info").0), (200, 200, 401));
    assert_eq!((server.get("/metrics").0, server.get("/session").0), (401, 401));

    let create = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);";
    let insert = "INSERT INTO s VALUES (1);";
    let statements = [create, insert, "SHOW STREAMS; EXPLAIN SELECT * FROM s EMIT CHANGES;", "DROP STREAM s;"];
    let may = |who: &str| statements.map(|statement| ksql(who, statement).0);
    assert_eq!(may(&people.writer), [200, 200, 200, 403]);
    assert_eq!(may(&people.reader), [403, 403, 200, 403]);
    let (_, body) = ksql(&people.reader, &format!("SHOW STREAMS; {insert}"));
    assert_eq!((&body["error_code"], &body["statementText"]), (&json!(40300), &json!(insert)));
    let rows = "{\"target\":\"s\"}\n{\"N\":2}\n";
    assert_eq!(said(&people.reader, "/inserts-stream", rows).0, 403);
    assert_eq!(said(&people.writer, "/inserts-stream", rows).1["status"], "ok");
    let select = json!({ "sql": "SELECT n FROM s;" }).to_string();
    assert!(said(&people.reader, "/query-stream", &select).1.as_str().unwrap().ends_with("[1]\n[2]\n"));
    // The prompt's door asks the same.
    let drop = json!({ "text": "DROP STREAM s", "properties": {}, "variables": {} }).to_string();
    let door = format!("http://{}/session/statement", server.address);
    let refused = server.agent.post(door).header("authorization", &people.writer).send(drop).unwrap();
    let refused = String::from_utf8_lossy(&refused.into_body().read_to_vec().unwrap()).into_owned();
    assert!(refused.contains("requires role admin"), "{refused}");
    let at = |set: &[(&str, &str)], statement: &str| {
        let url = format!("http://{}", server.address);
        let mut command = Command::new(TIDEGATE);
        command.args(["--server", &url, "sql", "-e", statement]).envs(set.iter().copied());
        command.output().unwrap()
    };
    let walter = [("TIDEGATE_USER", "walter"), ("TIDEGATE_PASSWORD", "se:cret")];
    assert_eq!(at(&walter, "INSERT INTO s VALUES (3);").status.code(), Some(0));
    assert_eq!(at(&walter, "DROP STREAM s;").status.code(), Some(1));
    assert_eq!(at(&[], "SHOW STREAMS;").status.code(), Some(3), "nobody");
    let token = people.reader.strip_prefix("Bearer ").unwrap();
    assert_eq!(at(&[("TIDEGATE_TOKEN", token)], "SHOW STREAMS;").status.code(), Some(0));
    assert_eq!(ksql(&people.admin, "DROP STREAM s;").0, 200);
}

#[test]
fn a_certificate_makes_it_speak_tls() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http/tls");
    let (certificate, key) = (format!("{folder}/test-cert.pem"), format!("{folder}/test-key.pem"));
    let server = Server::at(&["--temp", "--tls-cert", &certificate, "--tls-key", &key]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let secure = || {
        let name = ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(config.clone(), name).unwrap();
        rustls::StreamOwned::new(session, TcpStream::connect(&server.address).unwrap())
    };
    let mut stream = secure();
    stream.write_all(b"GET /info HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = text(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"serverStatus\":\"RUNNING\""), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "it would hold for everything on localhost: {answer}");
    let mut stream = secure();
    stream.write_all(b"GET /info HTTP/1.1\r\nhost: tidegate.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(text(&answer).starts_with("HTTP/1.1 403"), "the host name is unknown");
    assert!(text(&answer).contains("strict-transport-security: max-age="), "{}", text(&answer));
    let url = format!("https://{}", server.address.replace("127.0.0.1", "localhost"));
    let sql = ["sql", "--server", &url, "-e", "SHOW STREAMS;"];
    let trusted = tidegate(&["--ca", &certificate], &sql, "");
    assert!(trusted.status.success(), "{}", text(&trusted.stderr));
    let untrusted = tidegate(&[], &sql, "");
    assert_eq!(untrusted.status.code(), Some(3), "{}", text(&untrusted.stderr));
    let broken =
        tidegate(&["--temp"], &["server", "--listen", "127.0.0.1:0", "--tls-cert", &key, "--tls-key", &key], "");
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stderr).contains("it contains no certificate"), "{}", text(&broken.stderr));
}
