//! Answers are whole or visibly broken: what a stop of the server, a failure in the middle or a panic leaves of an answer can
//! never be taken for all of it, and what ends by itself ends as before.

use super::readers::{closed, frame, websocket};
use super::*;
use rustix::process::Signal;
use std::process::ExitStatus;
use std::thread::{JoinHandle, spawn};
use tidegate::serve::limits::{DRAIN_PATIENCE, LAST_WORDS};

/// Two hundred numbers.
fn numbers(server: &Server) {
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    server.ksql(&(0..200).map(|n| format!("INSERT INTO s VALUES ({n});")).collect::<String>());
}

/// Rows for minutes; their reader has no need to wait for any of them.
const LONG: &str = "WITH p AS (SELECT a.n AS n FROM s a CROSS JOIN s b) SELECT x.n FROM p x CROSS JOIN p y;";
/// Forty megabytes: more than all buffers on the way hold.
const WIDE: &str = "SELECT LPAD('x', 200000, 'x') AS wide FROM s;";
/// The start of a process in which [`FAILING`] fails among its rows: the error of one row would be NULL.
const LIMITED: [&str; 2] = ["--set", "tidegate.batch.timeout.ms=2000"];
/// Eight million rows, none of which is quickly made.
const FAILING: &str = "SELECT x.n, MD5(CONCAT(RPAD('x', 500, 'x'), CAST(y.n + z.n AS STRING))) AS d \
                       FROM s x CROSS JOIN s y CROSS JOIN s z;";

/// The ways to ask for rows: endpoint and media type.
const FORMS: [(&str, &str); 5] = [
    ("/query-stream", "application/vnd.ksqlapi.delimited.v1"),
    ("/query-stream", "application/json"),
    ("/query-stream", "application/vnd.ksql.v1+json"),
    ("/query", "application/vnd.ksql.v1+json"),
    ("/query", "application/vnd.ksqlapi.delimited.v1"),
];

/// Bytes kept of an answer's end.
const TAIL: usize = 1 << 20;

/// An answer over a socket of its own, of which nothing was read yet.
struct Asked(BufReader<TcpStream>);

/// What came of it.
struct Came {
    /// All of it, or the last megabyte.
    text: String,
    bytes: usize,
    /// The last chunk was there.
    whole: bool,
}

impl Asked {
    fn new(server: &Server, (path, accept): (&str, &str), sql: &str) -> Asked {
        let body = json!({ "sql": sql, "properties": earliest() }).to_string();
        let head = format!("host: localhost\r\naccept: {accept}\r\ncontent-length: {}", body.len());
        let mut socket = TcpStream::connect(&server.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "POST {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
        Asked(BufReader::new(socket))
    }

    /// Reads until the head and the first chunk are there.
    fn begun(mut self) -> Asked {
        let head: Vec<String> =
            self.0.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        assert!(head[0].starts_with("HTTP/1.1 200"), "{head:?}");
        assert!(head.iter().any(|line| line == "transfer-encoding: chunked"), "{head:?}");
        self.0.fill_buf().unwrap();
        self
    }

    /// Reads the chunks to their end, whatever it is.
    fn rest(mut self) -> Came {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        let whole = loop {
            let mut size = String::new();
            let Ok(1..) = self.0.read_line(&mut size) else { break false };
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            if self.0.read_exact(&mut chunk).is_err() {
                break false;
            }
            if size == 0 {
                break true;
            }
            bytes += size;
            kept.extend_from_slice(&chunk[..size]);
            if kept.len() > 2 * TAIL {
                kept.drain(..kept.len() - TAIL);
            }
        };
        Came { text: String::from_utf8_lossy(&kept).into_owned(), bytes, whole }
    }

    fn in_background(self) -> JoinHandle<Came> {
        spawn(move || self.rest())
    }
}

impl Came {
    /// It broke off behind an error that says this.
    fn is_broken(&self, words: &str, what: &str) {
        let last = self.text.trim_end().lines().next_back().unwrap_or_default();
        assert!(!self.whole, "{what}: the last chunk came behind {last}");
        assert!(last.contains(words), "{what}: {last}");
        assert!(serde_json::from_str::<Value>(&self.text).is_err(), "{what}: it is a whole JSON");
    }
}

/// curl in the background.
fn curl(server: &Server, options: &[&str], (path, accept): (&str, &str), sql: &str) -> Child {
    let body = json!({ "sql": sql, "properties": earliest() }).to_string();
    Command::new("curl")
        .args(["-sS", "-N", "-o", "/dev/null", "-w", "%{http_code}", "-H", &format!("accept: {accept}"), "-d", &body])
        .args(options)
        .arg(format!("http://{}{path}", server.address))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is there")
}

/// Its exit code; the status was 200.
fn code(curl: Child) -> Option<i32> {
    let output = curl.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "200", "{}", text(&output.stderr));
    output.status.code()
}

/// What curl says of a chunked answer without its last chunk, and of an HTTP/2 stream that was reset.
const PARTIAL: Option<i32> = Some(18);
const RESET: Option<i32> = Some(92);
const HTTP2: &[&str] = &["--http2-prior-knowledge"];

/// The connection of a server that stops goes, too: curl sees the one or the other first.
fn is_reset(curl: Child) {
    let code = code(curl);
    assert!(code == RESET || code == PARTIAL, "{code:?}");
}

fn is_within_bounds(stopped: (Option<i32>, Duration)) {
    let (code, took) = stopped;
    assert_eq!(code, Some(0));
    // Other tests run as well.
    assert!(took < DRAIN_PATIENCE + LAST_WORDS + Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_stop_lets_bounded_answers_end() {
    let mut server = Server::start();
    numbers(&server);
    // All of them are in the middle: nothing was read but their beginning.
    let open: Vec<_> = FORMS.iter().map(|form| Asked::new(&server, *form, WIDE).begun()).collect();
    let stop = spawn(move || server.stop(Signal::TERM));
    SystemClock::shared().sleep(Duration::from_millis(500));
    for (asked, form) in open.into_iter().zip(FORMS) {
        let came = asked.rest();
        assert!(came.whole && came.bytes > 200 * 200_000, "{form:?}: {} bytes", came.bytes);
    }
    let (code, took) = stop.join().unwrap();
    assert_eq!(code, Some(0));
    assert!(took < DRAIN_PATIENCE + Duration::from_secs(3), "nothing is left to wait for: {took:?}");
}

#[test]
fn a_stop_breaks_off_what_does_not_end_in_time() {
    let mut server = Server::start();
    numbers(&server);
    let reading: Vec<_> = FORMS.iter().map(|form| Asked::new(&server, *form, LONG).begun().in_background()).collect();
    let plain = curl(&server, &[], FORMS[0], LONG);
    let old = curl(&server, &[], FORMS[3], LONG);
    let second = curl(&server, HTTP2, FORMS[0], LONG);
    let slow = curl(&server, &["--limit-rate", "200k"], FORMS[1], LONG);
    let mut socket = websocket(&server, LONG);
    let socket = spawn(move || {
        let mut count = 0;
        while socket.fill_buf().unwrap()[0] != 0x88 {
            frame(&mut socket);
            count += 1;
        }
        (count, closed(&mut socket))
    });
    let silent = Asked::new(&server, FORMS[0], LONG).begun();
    is_within_bounds(server.stop(Signal::TERM));
    for (reader, form) in reading.into_iter().zip(FORMS) {
        let came = reader.join().unwrap();
        came.is_broken("The server is shutting down", form.1);
        assert!(came.bytes > 1_000);
    }
    assert_eq!((code(plain), code(old), code(slow)), (PARTIAL, PARTIAL, PARTIAL));
    is_reset(second);
    let (rows, (why, words)) = socket.join().unwrap();
    assert!(rows > 10);
    assert_eq!((why, words.as_str()), (1001, "The server is shutting down"));
    assert!(!silent.rest().whole, "one that never reads gets a part, too, and sees it");
}

#[test]
fn a_stop_breaks_push_queries_and_print_off_at_once() {
    let mut server = Server::start();
    numbers(&server);
    let push = "SELECT n FROM s EMIT CHANGES LIMIT 1000;";
    let reading: Vec<_> = FORMS.iter().map(|form| Asked::new(&server, *form, push).begun().in_background()).collect();
    let printed = Asked::new(&server, FORMS[0], "PRINT s FROM BEGINNING;").begun().in_background();
    let second = curl(&server, HTTP2, FORMS[0], push);
    let mut socket = websocket(&server, push);
    (0..=200).for_each(|_| drop(frame(&mut socket)));
    let stuck = Asked::new(&server, FORMS[0], "SELECT LPAD('x', 200000, 'x') AS wide FROM s EMIT CHANGES;").begun();
    SystemClock::shared().sleep(Duration::from_millis(500));
    let (stopped, took) = server.stop(Signal::INT);
    assert_eq!(stopped, Some(0));
    assert!(took < DRAIN_PATIENCE, "nothing is waited for that has no end: {took:?}");
    for (reader, form) in reading.into_iter().zip(FORMS) {
        reader.join().unwrap().is_broken("The server is shutting down", form.1);
    }
    let printed = printed.join().unwrap();
    printed.is_broken("The server is shutting down", "PRINT");
    assert!(printed.text.contains("\"N\":199"), "all records came before it");
    is_reset(second);
    assert_eq!(closed(&mut socket), (1001, "The server is shutting down".to_owned()));
    assert!(!stuck.rest().whole);
}

#[test]
fn a_query_that_fails_in_the_middle_is_no_whole_answer() {
    let (server, limited) = (Server::start(), Server::at(&[&["--temp"], &LIMITED[..]].concat()));
    numbers(&server);
    numbers(&limited);
    for form in FORMS {
        let came = Asked::new(&limited, form, FAILING).begun().rest();
        came.is_broken("error_code", form.1);
        assert!(came.text.contains("ran longer than 2000 ms"), "{}", came.text.lines().next_back().unwrap());
        assert!(came.bytes > 1_000, "rows came before it");
        assert_eq!(code(curl(&limited, &[], form, FAILING)), PARTIAL);
        assert_eq!(code(curl(&limited, HTTP2, form, FAILING)), RESET);
        // What ends by itself ends well, over the same endpoint.
        for sql in [WIDE, "SELECT n FROM s;", "SELECT n FROM s LIMIT 3;", "SELECT n FROM s EMIT CHANGES LIMIT 3;"] {
            assert!(Asked::new(&server, form, sql).begun().rest().whole, "{sql}");
            let codes = [&[][..], HTTP2].map(|options| code(curl(&server, options, form, sql)));
            assert_eq!(codes, [Some(0), Some(0)], "{sql}");
        }
    }
    assert!(Asked::new(&server, FORMS[0], "PRINT s FROM BEGINNING LIMIT 2;").begun().rest().whole);
    let mut socket = websocket(&limited, FAILING);
    while socket.fill_buf().unwrap()[0] != 0x88 {
        frame(&mut socket);
    }
    assert_eq!(closed(&mut socket).0, 1011);
}

#[test]
fn a_push_query_whose_topic_goes_breaks_off() {
    let server = Server::start();
    numbers(&server);
    server.ksql("CREATE STREAM c AS SELECT n FROM s;");
    let push = "SELECT n FROM c EMIT CHANGES;";
    let reading = Asked::new(&server, FORMS[0], push).begun().in_background();
    let second = curl(&server, HTTP2, FORMS[3], push);
    SystemClock::shared().sleep(Duration::from_millis(500));
    server.ksql("DROP STREAM c DELETE TOPIC;");
    reading.join().unwrap().is_broken("was deleted", "a topic that was deleted");
    assert_eq!(code(second), RESET);
}

#[test]
fn the_end_of_a_service_breaks_push_queries_off() {
    let server = Server::start();
    numbers(&server);
    let push = Asked::new(&server, FORMS[3], "SELECT n FROM s EMIT CHANGES;").begun().in_background();
    let bounded = Asked::new(&server, FORMS[0], WIDE).begun();
    assert_eq!(server.post("/ksql/terminate", &json!({})).0, 200);
    push.join().unwrap().is_broken("The server is shut down", "a push query");
    let came = bounded.rest();
    assert!(came.whole && came.bytes > 200 * 200_000, "the history is still there");
}

/// Begins to write rows, and reads answers until so many are there.
fn inserting(server: &Server, head: &str, rows: &[u8], answers: usize) -> BufReader<TcpStream> {
    let mut socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "POST /inserts-stream HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n").unwrap();
    socket.write_all(rows).unwrap();
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    let mut count = 0;
    while count < answers {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{count} answers");
        count += line.matches("\"ok\"").count();
    }
    reader
}

#[test]
fn a_stop_answers_every_row_that_it_has_written() {
    let dir = tempfile::tempdir().unwrap();
    let place = ["--data", dir.path().to_str().unwrap()];
    let mut server = Server::at(&place);
    server.ksql("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    let row = |n: usize| format!("{{\"N\":{n}}}\n");
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let target = "{\"target\":\"s\"}\n";
    // One that has no end of its own.
    let begun = chunk(&(target.to_owned() + &(0..20).map(row).collect::<String>()));
    let mut endless = inserting(&server, "transfer-encoding: chunked", begun.as_bytes(), 20);
    let mut feeder = endless.get_ref().try_clone().unwrap();
    let feeder = spawn(move || (20..1_000_000).all(|n| feeder.write_all(chunk(&row(n)).as_bytes()).is_ok()));
    // What is not read by the time at which its rows meet a closed connection is lost with the reset: it is read as it comes.
    let reading = spawn(move || {
        let mut bytes = Vec::new();
        let _ = endless.read_to_end(&mut bytes);
        bytes
    });
    // One whose length is known, and whose rows do not all come before the stop.
    let rows = target.to_owned() + &(0..10).map(|n| row(2_000_000 + n)).collect::<String>();
    let (first, last) = rows.as_bytes().split_at(rows.len() - 30);
    let mut finite = inserting(&server, &format!("content-length: {}", rows.len()), first, 5);
    let stop = spawn(move || server.stop(Signal::TERM));
    SystemClock::shared().sleep(Duration::from_millis(300));
    finite.get_mut().write_all(last).unwrap();
    let mut rest = String::new();
    finite.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"seq\":9") && rest.ends_with("0\r\n\r\n"), "{rest}");

    let bytes = reading.join().unwrap();
    let rest = String::from_utf8_lossy(&bytes);
    let answered = 20 + rest.matches("\"ok\"").count();
    let last = rest.trim_end().lines().next_back().unwrap();
    assert!(last.contains("The server is shutting down"), "{last}");
    assert!(!rest.ends_with("0\r\n\r\n"), "it has no last chunk");
    is_within_bounds(stop.join().unwrap());
    assert!(!feeder.join().unwrap());

    let server = Server::at(&place);
    let there = server.lines("SELECT n FROM s WHERE n < 2000000;").count() - 1;
    assert_eq!(there, answered, "what is there was answered, what was answered is there");
    assert_eq!(server.lines("SELECT n FROM s WHERE n >= 2000000;").count() - 1, 10);
}

/// A tidegate that asks a server, or works alone.
fn asking(place: &[&str], format: &str, sql: &str) -> Child {
    let mut command = Command::new(TIDEGATE);
    command.args(["-o", format, "sql", "-e", sql]).args(place);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What the one that stops says comes to those that read what they are sent in time; the others see the connection break.
fn says(said: &str, words: &str) -> bool {
    said.contains(words) || said.contains("lost the connection to")
}

/// Waits for its first line and reads the rest in the background.
fn began(mut asking: Child) -> JoinHandle<(ExitStatus, String)> {
    let mut out = BufReader::new(asking.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    spawn(move || {
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        let output = asking.wait_with_output().unwrap();
        (output.status, text(&output.stderr))
    })
}

#[test]
fn a_tidegate_that_asks_a_server_says_that_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.csv");
    let copy = format!(
        "COPY (WITH p AS (SELECT a.n AS n FROM s a CROSS JOIN s b) SELECT x.n FROM p x CROSS JOIN p y) \
                        TO '{}';",
        file.display()
    );
    for (signal, words) in [(Signal::KILL, "lost the connection to"), (Signal::TERM, "The server is shutting down")] {
        let mut server = Server::start();
        numbers(&server);
        let url = format!("http://{}", server.address);
        let place = ["--server", &url];
        let copying = asking(&place, "table", &copy);
        let all = ["json", "csv", "table"].map(|format| began(asking(&place, format, LONG)));
        until("the file has begun", || std::fs::read_dir(dir.path()).unwrap().count() == 1);
        server.stop(signal);
        for one in all {
            let (status, said) = one.join().unwrap();
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(says(&said, words), "{said}");
        }
        let copied = copying.wait_with_output().unwrap();
        assert_eq!((copied.status.code(), text(&copied.stdout)), (Some(1), String::new()));
        assert!(says(&text(&copied.stderr), words), "{}", text(&copied.stderr));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file, and none that is half written");
    }
}

#[test]
fn a_guest_says_that_its_owner_went() {
    for (signal, words) in [(Signal::KILL, "lost the connection to"), (Signal::TERM, "The server is shutting down")] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let place = ["--data", data.to_str().unwrap()];
        let mut owner = Server::at(&place);
        numbers(&owner);
        let file = dir.path().join("x.arrow");
        let copying =
            asking(&place, "table", &format!("COPY ({}) TO '{}';", LONG.trim_end_matches(';'), file.display()));
        let all = ["json", "csv", "table"].map(|format| began(asking(&place, format, LONG)));
        until("the file has begun", || std::fs::read_dir(dir.path()).unwrap().count() == 2);
        let (_, took) = owner.stop(signal);
        assert!(took < DRAIN_PATIENCE, "an owner does not wait for its guests: {took:?}");
        for one in all {
            let (status, said) = one.join().unwrap();
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(says(&said, words), "{said}");
        }
        let copied = copying.wait_with_output().unwrap();
        assert_eq!(copied.status.code(), Some(1));
        assert!(says(&text(&copied.stderr), words), "{}", text(&copied.stderr));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no file, and none that is half written");
    }
}

#[test]
fn an_answer_that_is_stopped_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let place = ["--data", data.to_str().unwrap()];
    let limited = [&place[..], &LIMITED].concat();
    numbers(&Server::at(&place));
    let signalled = |child: &Child| {
        rustix::process::kill_process(rustix::process::Pid::from_child(child), Signal::TERM).unwrap();
    };
    for format in ["json", "csv", "table"] {
        let child = asking(&place, format, LONG);
        let pid = rustix::process::Pid::from_child(&child);
        let reading = began(child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let (status, said) = reading.join().unwrap();
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(format == "table" || said.contains("note: stopped after "), "{said}");
        let failed = asking(&limited, format, FAILING).wait_with_output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        assert!(failed.stdout.len() > 1_000 && text(&failed.stderr).contains("ran longer than 2000 ms"));
        assert!(format != "table" || text(&failed.stdout).ends_with(" rows, incomplete)\n"));
    }
    let file = dir.path().join("x.json");
    for (place, sql, code) in [(&place[..], LONG, 130), (&limited, FAILING, 1)] {
        let copy = format!("COPY ({}) TO '{}';", sql.trim_end_matches(';'), file.display());
        let copying = asking(place, "table", &copy);
        if code == 130 {
            until("the file has begun", || std::fs::read_dir(dir.path()).unwrap().count() == 2);
            signalled(&copying);
        }
        let copied = copying.wait_with_output().unwrap();
        assert_eq!(copied.status.code(), Some(code), "{}", text(&copied.stderr));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no file");
    }
}
