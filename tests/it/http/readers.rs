//! Readers of push queries: over a WebSocket, too slow, and a thousand that come and go.

use super::*;
use base64::Engine as _;

/// A socket that has asked for this query, from the earliest record on.
fn asked(server: &Server, sql: &str) -> TcpStream {
    let body = json!({ "sql": sql, "properties": earliest() }).to_string();
    let mut socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(socket, "POST /query-stream HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    socket
}

/// The value of a metric, if it is there.
fn told(server: &Server, line: &str) -> Option<u64> {
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let text = text.as_str().unwrap();
    text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')).map(|value| value.parse().unwrap())
}

/// The value of a metric.
fn metric(server: &Server, line: &str) -> u64 {
    told(server, line).unwrap_or_else(|| panic!("no {line}"))
}

#[test]
fn one_that_does_not_read_is_dropped_and_nobody_else_notices() {
    let server = Server::start();
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let rows: String = (0..200).map(|n| format!("INSERT INTO s VALUES ({n});")).collect();
    server.ksql(&rows);
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    // Forty megabytes: more than all buffers on the way hold.
    let stuck = asked(&server, "SELECT LPAD('x', 200000, 'x') AS wide FROM s EMIT CHANGES;");
    let mut live = server.lines("SELECT n FROM s WHERE n >= 1000 EMIT CHANGES;");
    live.next();
    let mut slowest = Duration::ZERO;
    let mut n = 1_000;
    while metric(&server, "tidegate_push_queries") > 1 {
        assert!(clock.monotonic() < begun + PATIENCE, "it is still there");
        let sent = clock.monotonic();
        server.ksql(&format!("INSERT INTO s VALUES ({n});"));
        assert_eq!(live.next().unwrap(), json!([n]));
        slowest = slowest.max(clock.monotonic() - sent);
        n += 1;
        clock.sleep(Duration::from_millis(200));
    }
    assert!(clock.monotonic() > begun + Duration::from_secs(9), "it had its ten seconds");
    assert!(slowest < Duration::from_secs(5), "others kept their rate: {slowest:?}");
    assert!(n > 1_010);
    drop(stuck);
}

/// A WebSocket that has sent this query.
pub(super) fn websocket(server: &Server, sql: &str) -> BufReader<TcpStream> {
    let request: String = json!({ "ksql": sql, "streamsProperties": earliest() })
        .to_string()
        .bytes()
        .map(|b| format!("%{b:02X}"))
        .collect();
    let mut socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET /ws/query?version=1&request={request} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut reader = BufReader::new(socket);
    let head: Vec<String> = reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    assert!(head[0].starts_with("HTTP/1.1 101"), "{head:?}");
    assert!(head.iter().any(|l| l == "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head:?}");
    reader
}

/// One frame: what kind it is, and what it says.
pub(super) fn frame(reader: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    reader.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut long = [0; 2];
            reader.read_exact(&mut long).unwrap();
            usize::from(u16::from_be_bytes(long))
        }
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

fn message(reader: &mut impl Read) -> Value {
    let (kind, payload) = frame(reader);
    assert_eq!(kind, 0x81, "a whole text: {}", String::from_utf8_lossy(&payload));
    serde_json::from_slice(&payload).unwrap()
}

pub(super) fn closed(reader: &mut impl Read) -> (u16, String) {
    let (kind, payload) = frame(reader);
    assert_eq!(kind, 0x88);
    (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].to_vec()).unwrap())
}

#[test]
fn a_websocket_is_sent_columns_rows_and_why_it_ends() {
    let server = Server::start();
    server.ksql(CREATE);
    server.ksql(INSERT);
    let mut ended = websocket(&server, "SELECT k, n FROM s WHERE n = 1 EMIT CHANGES LIMIT 1;");
    let columns = message(&mut ended);
    assert_eq!((&columns[0]["name"], &columns[1]["schema"]["type"]), (&json!("K"), &json!("INTEGER")));
    assert_eq!(message(&mut ended), json!({ "row": { "columns": ["a", 1] } }));
    assert_eq!(closed(&mut ended), (1000, "done".to_owned()));

    let (code, why) = closed(&mut websocket(&server, "SELECT nothing FROM s EMIT CHANGES;"));
    assert_eq!(code, 1003);
    assert!(why.contains("NOTHING"), "{why}");

    let mut live = websocket(&server, "SELECT n FROM s WHERE n > 10 EMIT CHANGES;");
    message(&mut live);
    // A ping, masked as a client's frames are, is answered; so is a close.
    live.get_mut().write_all(&[0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).unwrap();
    assert_eq!(frame(&mut live), (0x8A, b"hi".to_vec()));
    server.ksql("INSERT INTO s VALUES ('later', 11, 0);");
    assert_eq!(message(&mut live), json!({ "row": { "columns": [11] } }));
    live.get_mut().write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).unwrap();
    assert_eq!(closed(&mut live), (1000, String::new()));
    until("its query ends", || metric(&server, "tidegate_push_queries") == 0);

    let mut rude = websocket(&server, "SELECT n FROM s WHERE n > 100 EMIT CHANGES;");
    message(&mut rude);
    rude.get_mut().write_all(&[0x81, 0x02, b'h', b'i']).unwrap();
    assert_eq!(closed(&mut rude).0, 1002, "frames of clients are masked");
    let (status, body) = server.get("/ws/query?request=x");
    assert_eq!((status, &body["error_code"]), (400, &json!(40000)));
    assert_eq!(base64::engine::general_purpose::STANDARD.encode("the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
}

#[test]
fn a_thousand_that_come_and_go_leave_nothing_behind() {
    let server = Server::start();
    server.ksql(CREATE);
    let wave = || {
        let open: Vec<TcpStream> = (0..50).map(|_| open_query(&server)).collect();
        drop(open);
        until("a wave has gone", || metric(&server, "tidegate_push_queries") == 0);
    };
    // What fifty at once need for good is there after some waves.
    (0..4).for_each(|_| wave());
    let memory = || metric(&server, "process_resident_memory_bytes");
    let settled = || {
        let mut last = (0, 0);
        until("threads and files are given back", || {
            SystemClock::shared().sleep(Duration::from_millis(500));
            let before = last;
            last = server.held();
            before == last
        });
        (last, memory())
    };
    let ((threads, files), bytes) = settled();
    (0..20).for_each(|_| wave());
    until("there are no more threads, files and bytes than before", || {
        let now = server.held();
        let (most_threads, most_files, most_bytes) = (threads + threads / 20, files + files / 20, bytes + bytes / 20);
        now.0 <= most_threads && now.1 <= most_files && memory() <= most_bytes
    });
}

#[test]
fn metrics_say_what_queries_do() {
    let server = Server::start();
    server.ksql(CREATE);
    server.ksql(&format!("SET 'auto.offset.reset' = 'earliest'; {COUNT}"));
    server.ksql(INSERT);
    let label = |name: &str| format!("tidegate_query_{name}{{query=\"CTAS_C_1\"}}");
    let of = |name: &str| metric(&server, &label(name));
    until("the query has written both rows", || of("records_out_total") == 2);
    assert_eq!(of("records_in_total"), 2);
    // The lag is known from the first commit on.
    until("it has committed what it read", || told(&server, &label("lag_records")) == Some(0));
    assert!(of("commits_total") > 0);
    assert_eq!((of("records_bad_total"), of("records_late_total")), (0, 0));
    assert_eq!(metric(&server, "tidegate_queries{state=\"RUNNING\"}"), 1);
    server.ksql("PAUSE CTAS_C_1;");
    until("it is paused", || metric(&server, "tidegate_queries{state=\"PAUSED\"}") == 1);
    server.get("/no/such/path");
    assert_eq!(metric(&server, "tidegate_http_requests_total{route=\"none\",code=\"404\"}"), 1);
    assert!(metric(&server, "tidegate_http_requests_total{route=\"/ksql\",code=\"200\"}") >= 4);
    assert_eq!(metric(&server, "tidegate_connections_refused_total"), 0);

    // Each sample belongs to a metric that is documented, and each metric is there.
    let (_, text) = server.get("/metrics");
    let there: std::collections::BTreeSet<&str> =
        text.as_str().unwrap().lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let all: std::collections::BTreeSet<&str> =
        tidegate::serve::metrics::METRICS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(there, all);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let missing: Vec<_> = tidegate::serve::metrics::METRICS
        .iter()
        .filter(|(name, kind, help)| !page.contains(&format!("| {name} | {kind} | {help} |")))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md lacks {missing:?}");
    if Command::new("promtool").arg("--version").output().is_ok() {
        let mut check = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        check.stdin.take().unwrap().write_all(text.as_str().unwrap().as_bytes()).unwrap();
        let said = check.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", super::text(&said.stderr));
    } else {
        // Not eprintln: the harness would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED metrics_say_what_queries_do: promtool is not installed");
    }
}

#[test]
fn rows_that_were_written_one_by_one_leave_as_fast_as_they_are_made() {
    let rows = 20_000;
    let server = Server::start();
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let body: String = (0..rows).map(|n| format!("{{\"N\":{n}}}\n")).collect();
    assert_eq!(server.raw("/inserts-stream", &[], &("{\"target\":\"s\"}\n".to_owned() + &body)).0, 200);
    let clock = SystemClock::shared();
    // Other tests run as well: the best of several tries shows what one takes.
    let best = |sql: &str| {
        let took = (0..5).map(|_| {
            let begun = clock.monotonic();
            assert_eq!(server.lines(sql).count(), rows + 1, "{sql}");
            clock.monotonic() - begun
        });
        took.min().unwrap()
    };
    let (history, pushed) = (best("SELECT n FROM s;"), best("SELECT n FROM s EMIT CHANGES LIMIT 20000;"));
    // A pause of 5 ms for every sixteen rows would be six seconds.
    assert!(pushed < history * 4 + Duration::from_millis(200), "{pushed:?} for what takes {history:?} from history");
}
