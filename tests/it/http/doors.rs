//! The doors themselves: how long a connection may be silent, how many come from one address, what a request has to look
//! like before anybody is asked for a name.

use super::front::raw;
use super::rights::{House, Users};
use super::*;
use std::net::SocketAddr;
use tidegate::config::{Config, LogConfig};

/// As long as a silent connection may stay, with what looking at it now and then may add, on a busy machine.
const SILENCE: Duration = Duration::from_secs(60);
const PING: u8 = 6;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A connection to a server's address from another address of this machine.
pub(super) fn from_address(server: &str, address: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let to: SocketAddr = server.parse().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// How long it takes until the other side hangs up.
fn until_closed(mut stream: impl Read) -> Duration {
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    let mut bytes = [0; 4096];
    while matches!(stream.read(&mut bytes), Ok(n) if n > 0) {}
    clock.monotonic() - begun
}

#[test]
fn a_silent_connection_is_closed_whatever_it_speaks() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let owner = Server::at(&["--data", data.to_str().unwrap()]);
    let tcp = |sent: &[u8]| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    // `GET /info` on stream 1.
    let request = b"\0\0\x14\x01\x05\0\0\0\x01\x82\x86\x04\x05/info\x01\x09localhost";
    let door = |sent: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(data.join("owner.sock")).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    let mut all = Vec::new();
    for (what, stream) in [
        ("nothing sent", tcp(b"")),
        ("a head that stops", tcp(b"GET /info HTTP/1.1\r\nhost: loc")),
        ("HTTP/2 without a request", tcp(PREFACE)),
        ("HTTP/2 after a request", tcp(&[PREFACE, request].concat())),
        ("HTTP/1.1 after a request", tcp(b"GET /info HTTP/1.1\r\nhost: localhost\r\n\r\n")),
    ] {
        all.push((what, std::thread::spawn(move || until_closed(stream))));
    }
    for (what, stream) in [
        ("nothing sent to the owner", door(b"")),
        ("a head to the owner that stops", door(b"GET /session HTTP/1.1\r\nhost: loc")),
        ("HTTP/2 to the owner without a request", door(PREFACE)),
    ] {
        all.push((what, std::thread::spawn(move || until_closed(stream))));
    }
    for (what, closed) in all {
        let after = closed.join().unwrap();
        assert!(after >= Duration::from_secs(20) && after < SILENCE - Duration::from_secs(2), "{what}: {after:?}");
    }
    drop(owner);
}

#[test]
fn http_2_that_answers_pings_is_closed_and_a_stream_is_not() {
    let server = Server::start();
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    // A result set without rows stays open as long as it is read.
    let mut rows = TcpStream::connect(&server.address).unwrap();
    rows.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = json!({ "sql": "SELECT n FROM s EMIT CHANGES;", "properties": earliest() }).to_string();
    let length = body.len();
    write!(rows, "POST /query-stream HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    stream.write_all(PREFACE).unwrap();
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    let (mut head, mut pings) = ([0; 9], 0);
    while stream.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        let (kind, flags) = (head[3], head[4]);
        if kind == PING && flags & ACK == 0 {
            pings += 1;
            let _ = stream.write_all(&[&[0, 0, 8, PING, ACK, 0, 0, 0, 0], payload.as_slice()].concat());
        }
    }
    let after = clock.monotonic() - begun;
    assert!(pings > 0, "the server asks whether it lives");
    assert!(after < SILENCE - Duration::from_secs(2), "{after:?}");
    server.ksql("INSERT INTO s VALUES (7);");
    let mut lines = BufReader::new(rows).lines();
    assert!(lines.any(|line| line.unwrap() == "[7]"), "the stream has been silent as long");
}

#[test]
fn strangers_from_one_address_do_not_take_all_places() {
    let users = Users::new(&["rita reader"]);
    let server = Server::at(&["--temp", "--users", users.file()]);
    let silent: Vec<TcpStream> = (0..60).map(|_| from_address(&server.address, "127.0.0.1")).collect();
    let hung_up = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        match stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    until("the ones too many are closed", || silent.iter().filter(|stream| hung_up(stream)).count() == 10);
    let head = format!(
        "GET /info HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\nconnection: close\r\n\r\n",
        users.header("rita")
    );
    let ask = |address: &str| {
        let mut stream = from_address(&server.address, address);
        let _ = stream.write_all(head.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(ask("127.0.0.2").starts_with("HTTP/1.1 200"), "another address has places of its own");
    assert_eq!(ask("127.0.0.1"), "", "this one has none left");
    drop(silent);
    until("places are free again", || ask("127.0.0.1").starts_with("HTTP/1.1 200"));
    // Who has proved a name counts no more.
    let keep = head.replace("connection: close\r\n", "");
    let known: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = from_address(&server.address, "127.0.0.1");
            stream.write_all(keep.as_bytes()).unwrap();
            assert_eq!(stream.read(&mut [0; 12]).unwrap(), 12);
            stream
        })
        .collect();
    assert!(ask("127.0.0.1").starts_with("HTTP/1.1 200"));
    drop(known);
}

#[test]
fn every_route_takes_four_mebibytes_and_refuses_more_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of the processes of a service").unwrap();
    let secret = secret.to_str().unwrap();
    let house = House::new(&["ada admin"], &["--set", &format!("tidegate.cluster.secret.file={secret}")]);
    let mut config = Config::new(LogConfig::Temporary);
    config.set("tidegate.cluster.secret.file", secret).unwrap();
    let token = config.cluster_secret().unwrap().unwrap().token();
    for route in tidegate::serve::routes().iter().filter(|route| route.method == axum::http::Method::POST) {
        // A login is short; methods of gRPC have a status of their own and a limit for each message.
        if route.path == "/api/v1/session" || route.path.starts_with("/arrow.flight.") {
            continue;
        }
        let code = if route.path.starts_with("/api/v1/") { "code" } else { "error_code" };
        for mebibytes in [1.0, 2.0, 2.1, 4.0, 4.1] {
            // A statement that is none, and for rows a line of that length.
            let body = "x".repeat((mebibytes * 1024.0 * 1024.0) as usize);
            let path = route.path.replace("{version}", "1").replace(['{', '}'], "");
            let request = house.server.agent.post(format!("http://{}{path}", house.server.address));
            let request = request.header("authorization", house.users.header("ada")).header("x-tidegate-node", &token);
            let (status, answer) = answer(request.send(&body).unwrap());
            let what = format!("{} MiB to {}: {status} {}", mebibytes, route.path, short(&answer));
            match (mebibytes > 4.0, route.path) {
                (true, _) => assert_eq!((status, &answer[code]), (413, &json!(41300)), "{what}"),
                // Answers in frames.
                (false, "/session/check" | "/session/statement" | "/topics" | "/cluster/lookup") => {
                    assert_eq!(status, 200, "{what}")
                }
                (false, _) => assert!(status == 400 && answer[code].is_number(), "{what}"),
            }
        }
    }
    let long = " ".repeat(3 * 1024 * 1024);
    let (status, answer) = house.post("ada", "/ksql", &json!({ "ksql": format!("SHOW{long}STREAMS;") }).to_string());
    assert_eq!(status, 400, "a statement has a limit of its own: {}", short(&answer));
    let padded = format!("{long}{}", json!({ "ksql": "SHOW STREAMS;" }));
    assert_eq!(house.post("ada", "/ksql", &padded).0, 200);
}

fn short(answer: &Value) -> String {
    answer.to_string().chars().take(200).collect()
}

#[test]
fn a_request_has_one_host() {
    let server = Server::start();
    let ask = |version: &str, headers: &str| {
        raw(&server, &format!("GET /info {version}\r\n{headers}connection: close\r\n\r\n"))
    };
    for headers in ["", "host: localhost\r\nhost: localhost\r\n", "host: localhost\r\nHost: evil.example\r\n"] {
        let (status, answer) = ask("HTTP/1.1", headers);
        assert!(status == 400 && answer.contains("\"error_code\":40000"), "{headers:?}: {answer}");
    }
    assert_eq!((ask("HTTP/1.1", "host: localhost\r\n").0, ask("HTTP/1.0", "").0), (200, 200));
}

#[test]
fn answers_are_neither_kept_nor_guessed_at() {
    let server = Server::start();
    for path in ["/info", "/livez", "/metrics", "/nowhere"] {
        let (_, answer) = raw(&server, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
        assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{answer}");
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
        assert!(!answer.contains("strict-transport-security"), "{answer}");
    }
    let (_, refused) = raw(&server, "GET /info HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert!(refused.contains("nosniff"), "{refused}");
    // A page over https is not one of a server that speaks http only.
    let origin = |scheme: &str| {
        let head = format!("host: {0}\r\norigin: {scheme}://{0}\r\n", server.address);
        raw(&server, &format!("GET /info HTTP/1.1\r\n{head}connection: close\r\n\r\n")).0
    };
    assert_eq!((origin("http"), origin("https"), origin("file")), (200, 403, 403));
}

#[test]
fn what_turns_text_around_does_not_reach_the_terminal() {
    let sql = "SELECT 'ab\u{202e}cd\u{2066}e\u{200f}f\u{1b}' AS x;";
    for format in ["table", "vertical"] {
        let out = tidegate(&["--temp", "-o", format], &["sql", "-e", sql], "");
        let shown = text(&out.stdout);
        assert!(shown.contains("ab\\u{202e}cd\\u{2066}e\\u{200f}f\\u{1b}"), "{shown} {}", text(&out.stderr));
        assert!(!shown.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\u{1b}']), "{shown}");
    }
}

#[test]
fn nothing_in_the_directory_is_for_others() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("a/b/data");
    let sql = "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);
               INSERT INTO s VALUES ('a', 1);
               CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;";
    let script = home.path().join("script.sql");
    std::fs::write(&script, sql).unwrap();
    // A shell sets the mask: everything may be read and written by everybody.
    let mut owner = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" --data \"$1\" run \"$2\"", TIDEGATE])
        .args([&data, &script])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("Running")));
    let mut found = Vec::new();
    let mut folders = vec![home.path().join("a")];
    while let Some(folder) = folders.pop() {
        found.push(folder.clone());
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    for wanted in ["commits.log", "lock", "owner", "owner.sock", "topics"] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    for path in &found {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Wider permissions are reported, and work.
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let out = tidegate(&["--data", data.to_str().unwrap()], &["sql", "-e", "SHOW STREAMS;"], "");
    let warned = text(&out.stderr);
    assert!(out.status.success() && warned.contains("(mode 755): chmod 700"), "{warned}");
    // So is a file with a password in it, but not one without.
    let settings = home.path().join("client.properties");
    for (text_of, told) in [("security.protocol=SASL_SSL\n", false), ("sasl.password=hunter2\n", true)] {
        std::fs::write(&settings, text_of).unwrap();
        std::fs::set_permissions(&settings, std::fs::Permissions::from_mode(0o644)).unwrap();
        let out = tidegate(&["--kafka-config", settings.to_str().unwrap()], &["sql", "-e", "SHOW STREAMS;"], "");
        let warned = text(&out.stderr);
        assert_eq!(warned.contains("(mode 644): chmod 600"), told, "{warned}");
        assert!(!warned.contains("hunter2"), "{warned}");
    }
    let users = home.path().join("users");
    std::fs::write(&users, "rita reader certificate\n").unwrap();
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o644)).unwrap();
    // It ends because of the certificate, behind the users.
    let flags = ["--users", users.to_str().unwrap(), "--tls-cert", "/nowhere", "--tls-key", "/nowhere"];
    let out = tidegate(&["--temp"], &[&["server", "--listen", "127.0.0.1:0"][..], &flags[..]].concat(), "");
    assert!(text(&out.stderr).contains("(mode 644): chmod 600"), "{}", text(&out.stderr));
}
