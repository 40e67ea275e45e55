//! Clients that mean harm: slow, endless, too many at once. Each is refused or waits in a place of its own; meanwhile somebody
//! else is served as ever, and the memory of the server stays where it was.

use super::readers::websocket;
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Memory that an attack may cost: the allocator keeps some of what it was given.
const MEMORY_BYTES: u64 = 128 * 1024 * 1024;

/// Somebody else, who asks and asks.
struct Bystander {
    done: Arc<AtomicBool>,
    times: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    fn of(server: &Server) -> Bystander {
        let (done, address, agent) = (Arc::<AtomicBool>::default(), server.address.clone(), server.agent.clone());
        let ended = done.clone();
        let times = std::thread::spawn(move || {
            let (clock, mut times) = (SystemClock::shared(), Vec::new());
            while !ended.load(Ordering::Acquire) || times.is_empty() {
                let asked = clock.monotonic();
                let body = json!({ "ksql": "SHOW STREAMS;" }).to_string();
                let (status, _) = answer(agent.post(format!("http://{address}/ksql")).send(body).unwrap());
                assert_eq!(status, 200);
                times.push(clock.monotonic() - asked);
                clock.sleep(Duration::from_millis(20));
            }
            times
        });
        Bystander { done, times }
    }

    /// Most of the answers came within a second, and all of them in the end.
    fn ends(self) {
        self.done.store(true, Ordering::Release);
        let mut times = self.times.join().unwrap();
        times.sort();
        let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
        assert!(middle < Duration::from_secs(1), "{middle:?} of {} requests", times.len());
        assert!(last < Duration::from_secs(10), "{last:?}");
    }
}

impl Server {
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that has heard enough does not read on.
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// Serves another client while it is attacked.
fn attacked(setup: &str, attack: impl FnOnce(&Server)) {
    let server = Server::start();
    if !setup.is_empty() {
        server.ksql(setup);
    }
    server.ksql("SHOW STREAMS;");
    let before = server.memory();
    let bystander = Bystander::of(&server);
    attack(&server);
    bystander.ends();
    let after = server.memory();
    assert!(after < before + MEMORY_BYTES, "{before} bytes became {after}");
    assert_eq!(server.get("/info").0, 200);
}

/// The status line that comes back, if any does.
fn status_of(mut socket: TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[test]
fn heads_that_come_byte_by_byte() {
    attacked("", |server| {
        let mut slow: Vec<TcpStream> = (0..200).map(|_| server.socket()).collect();
        for byte in b"POST /ksql HTTP/1.1\r\nhost: local".chunks(1) {
            // One that has been dropped already is what is wanted.
            slow.iter_mut().for_each(|socket| drop(socket.write_all(byte)));
            SystemClock::shared().sleep(Duration::from_millis(50));
        }
    });
}

#[test]
fn more_connections_than_there_are_places() {
    attacked("", |server| {
        let all: Vec<TcpStream> = (0..100).map(|_| server.socket()).collect();
        SystemClock::shared().sleep(Duration::from_millis(300));
        drop(all);
        for _ in 0..2_000 {
            drop(server.socket());
        }
    });
}

#[test]
fn a_body_of_64_megabytes() {
    attacked("", |server| {
        let length = 64 * 1024 * 1024;
        let mut socket = server.socket();
        write!(socket, "POST /ksql HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n").unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        let sent = (0..64).take_while(|_| socket.write_all(&piece).is_ok()).count();
        let status = status_of(socket);
        // Whoever writes on after the answer may lose it.
        assert!(status == Some(413) || (status.is_none() && sent < 64), "{status:?} after {sent} megabytes");
        // The same without saying how long it will be.
        let mut socket = server.socket();
        write!(socket, "POST /ksql HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        let chunk = format!("100000\r\n{}\r\n", "y".repeat(0x10_0000));
        let sent = (0..64).take_while(|_| socket.write_all(chunk.as_bytes()).is_ok()).count();
        let status = status_of(socket);
        assert!(status == Some(413) || (status.is_none() && sent < 64), "{status:?} after {sent} megabytes");
    });
}

#[test]
fn heads_without_an_end() {
    attacked("", |server| {
        // Ten thousand headers, and one of ten megabytes.
        let many: String = (0..10_000).map(|n| format!("x-{n}: y\r\n")).collect();
        let long = format!("x: {}\r\n", "y".repeat(10 * 1024 * 1024));
        for headers in [many, long] {
            let mut socket = server.socket();
            // A server that has heard enough hangs up; its answer may be lost with what was still to come.
            let _ = socket.write_all(format!("GET /info HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes());
            let status = status_of(socket);
            assert!(matches!(status, Some(431) | None), "{status:?}");
        }
    });
}

#[test]
fn half_a_chunk_and_then_silence() {
    attacked("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);", |server| {
        let half = |path: &str, text: &str| {
            let mut socket = server.socket();
            let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
            write!(socket, "{head}1000\r\n{text}").unwrap();
            socket
        };
        let silent: Vec<TcpStream> = (0..50)
            .flat_map(|_| [half("/ksql", "{\"ksql\":"), half("/inserts-stream", "{\"target\":\"s\"}\n{\"N\":")])
            .collect();
        SystemClock::shared().sleep(Duration::from_secs(2));
        let (threads, _) = server.held();
        assert!(threads < 100, "{threads}: nobody waits on a thread for what does not come");
        drop(silent);
    });
}

/// Frames of HTTP/2, written by hand: a well-behaved library would not send these.
struct Frames(TcpStream);

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    fn open(server: &Server) -> Frames {
        let mut frames = Frames(server.socket());
        frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.send(SETTINGS, 0, 0, b"").unwrap();
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame)
    }

    /// `POST /ksql` (the body is to follow) or `GET /info`, without a dynamic table.
    fn request(&mut self, stream: u32, open: bool) -> std::io::Result<()> {
        let (method, path): (u8, &[u8]) = if open { (0x83, b"/ksql") } else { (0x82, b"/info") };
        let mut block = vec![method, 0x86, 0x04, path.len() as u8];
        block.extend(path);
        block.extend([0x01, 9]);
        block.extend(b"localhost");
        self.send(HEADERS, END_HEADERS | if open { 0 } else { END_STREAM }, stream, &block)
    }

    /// Kinds of the frames that have come, until the server hangs up or says no more.
    fn received(mut self) -> Vec<u8> {
        self.0.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let (mut bytes, mut kinds) = (Vec::new(), Vec::new());
        let _ = self.0.read_to_end(&mut bytes);
        let mut rest = bytes.as_slice();
        while let [a, b, c, kind, _, _, _, _, _, more @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            kinds.push(*kind);
            rest = more.get(length..).unwrap_or_default();
        }
        kinds
    }
}

#[test]
fn a_thousand_streams_on_one_connection() {
    attacked("", |server| {
        let mut frames = Frames::open(server);
        let sent = (0..1_000).take_while(|n| frames.request(2 * n + 1, true).is_ok()).count();
        let kinds = frames.received();
        let refused = kinds.iter().filter(|kind| [RESET, GO_AWAY].contains(kind)).count();
        assert!(refused > 0, "{sent} were taken: {kinds:?}");
        let (threads, _) = server.held();
        assert!(threads < 100, "{threads}");
    });
}

#[test]
fn streams_that_are_reset_as_soon_as_they_are_opened() {
    attacked("", |server| {
        let mut frames = Frames::open(server);
        let mut stream = 1;
        while stream < 100_000 {
            let sent = frames.request(stream, false).and_then(|()| frames.send(RESET, 0, stream, &[0, 0, 0, 8]));
            if sent.is_err() {
                break;
            }
            stream += 2;
        }
        let ended = frames.received().contains(&GO_AWAY);
        assert!(ended || stream < 100_000, "the connection is given up");
    });
}

#[test]
fn a_websocket_that_never_reads() {
    let rows: String = (0..200).map(|n| format!("INSERT INTO s VALUES ({n});")).collect();
    let setup = format!("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1); {rows}");
    attacked(&setup, |server| {
        // Forty megabytes: more than all buffers on the way hold.
        let stuck = websocket(server, "SELECT LPAD('x', 200000, 'x') AS wide FROM s EMIT CHANGES;");
        until("it is dropped", || server.ksql("SHOW QUERIES;")[0]["queries"] == json!([]));
        drop(stuck);
    });
}
