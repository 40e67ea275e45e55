//! Everybody hostile at once: a reader who asks for too much, a writer who reaches for what is not theirs, a flood of logins, and
//! connections that break off. Meanwhile two queries stay exact, and lookups of others are answered soon.
//!
//! The gate runs some seconds of it; `TIDEGATE_SOAK_SECONDS=600`, or `just soak`, is what a release takes.

use super::rights::{House, Users};
use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Seconds of an ordinary run.
const SECONDS: u64 = 6;
/// Rows in each request of the one that writes.
const ROWS: u64 = 50;
/// Offsets that are read at once when the rows are checked.
const SLICE: u64 = 10_000;
/// How long the slowest of a hundred lookups may take in a long run.
const LOOKUP_P99: Duration = Duration::from_millis(50);

/// What a reader asks to hurt: memory, stack, time, and what others wrote.
const READER: &[&str] = &[
    "SELECT CAST(repeat('9', 1000000) AS DECIMAL(38,0)) AS x;",
    "SELECT REPEAT('a', 2000000000) AS x;",
    "SELECT RPAD('a', 2000000000, 'b') AS x;",
    "SELECT array_length(array_repeat(1, 200000000)) AS x;",
    "SELECT approx_percentile_cont(x, 0.5, 100000000000) AS s FROM (VALUES (1.0)) t(x);",
    "SELECT EXPLODE(GENERATE_SERIES(1, 100000)) AS x FROM s LIMIT 200000;",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM t) SELECT COUNT(*) FROM t;",
    "SELECT a.n FROM s a JOIN s b ON a.n >= 0 JOIN s c ON b.n >= 0 ORDER BY a.n;",
    "PRINT '_confluent-ksql-default__command_topic' FROM BEGINNING LIMIT 1;",
    "DROP STREAM s;",
];

/// What a writer tries: to reach the command log and other topics of the engine, to fill the disk, to end what others need.
const WRITER: &[&str] = &[
    "CREATE STREAM `_confluent-ksql-default__command_topic` WITH (VALUE_FORMAT='KAFKA') AS SELECT v FROM src;",
    "CREATE TABLE `__consumer_offsets` AS SELECT v, COUNT(*) FROM src GROUP BY v;",
    "CREATE STREAM x WITH (KAFKA_TOPIC='_schemas') AS SELECT v FROM src;",
    "CREATE STREAM x WITH (KAFKA_TOPIC='src') AS SELECT * FROM src;",
    "INSERT INTO src SELECT * FROM src;",
    "DROP STREAM s DELETE TOPIC;",
    "TERMINATE nosuch;",
    "CREATE STREAM mine AS SELECT * FROM src; TERMINATE ALL nosuch;",
];

/// The server as all threads reach it.
#[derive(Clone, Copy)]
struct Site<'a> {
    address: &'a str,
    agent: &'a ureq::Agent,
    users: &'a Users,
}

impl Site<'_> {
    fn post(&self, who: &str, path: &str, body: &str) -> (u16, Value) {
        let request = self.agent.post(format!("http://{}{path}", self.address));
        answer(request.header("authorization", self.users.header(who)).send(body).unwrap())
    }
}

/// One of those at work, until the end.
struct Worker<'a> {
    site: Site<'a>,
    end: &'a AtomicBool,
    done: &'a AtomicU64,
}

impl Worker<'_> {
    fn until_the_end(&self, mut work: impl FnMut(u64)) {
        let mut round = 0;
        while !self.end.load(Ordering::Relaxed) {
            work(round);
            round += 1;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a statement, whatever becomes of it: only a server that is gone is a fault.
    fn send(&self, who: &str, statement: &str) {
        let query = ["SELECT", "PRINT", "WITH"].iter().any(|word| statement.starts_with(word));
        let (path, field) = if query { ("/query-stream", "sql") } else { ("/ksql", "ksql") };
        let request = self.site.agent.post(format!("http://{}{path}", self.site.address));
        let request = request.header("authorization", self.site.users.header(who));
        if let Ok(mut response) = request.send(json!({ field: statement }).to_string()) {
            _ = std::io::copy(&mut response.body_mut().as_reader(), &mut std::io::sink());
        }
    }

    fn break_off(&self, round: u64) {
        let Ok(mut stream) = TcpStream::connect(self.site.address) else { return };
        let body = json!({ "sql": "SELECT * FROM s EMIT CHANGES;", "properties": earliest() }).to_string();
        let request = format!(
            "POST /query-stream HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
            self.site.users.header("rita"),
            body.len()
        );
        // In the head, in the body, and in the middle of the answer.
        let cut = [20, request.len() - 5, request.len()][(round % 3) as usize];
        _ = stream.write_all(&request.as_bytes()[..cut]);
        _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
        _ = stream.read(&mut [0; 512]);
    }

    fn knock(&self, round: u64) {
        let request = self.site.agent.get(format!("http://{}/info", self.site.address));
        _ = request
            .header("authorization", format!("Basic {}", ["YWRhOndyb25n", "bm9ib2R5Ong="][(round % 2) as usize]))
            .call();
    }
}

/// Writes rows that are counted, and returns how many were acknowledged.
fn write(site: Site<'_>, end: &AtomicBool) -> u64 {
    let mut written = 0;
    while !end.load(Ordering::Relaxed) {
        let rows: String =
            (written..written + ROWS).map(|n| format!("{{\"K\":\"k{}\",\"N\":{n}}}\n", n % 10)).collect();
        let (status, said) = site.post("ada", "/inserts-stream", &format!("{{\"target\":\"s\"}}\n{rows}"));
        let said = said.as_str().unwrap_or_default().matches("\"ok\"").count() as u64;
        assert_eq!((status, said), (200, ROWS));
        written += ROWS;
        SystemClock::shared().sleep(Duration::from_millis(20));
    }
    written
}

/// Looks up one key again and again; returns how long each took, sorted.
fn look_up(site: Site<'_>, end: &AtomicBool) -> Vec<Duration> {
    let clock = SystemClock::shared();
    let body = json!({ "sql": "SELECT n FROM counts WHERE k = 'k1';" }).to_string();
    let mut took = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let begin = clock.monotonic();
        assert_eq!(site.post("lena", "/query-stream", &body).0, 200);
        took.push(clock.monotonic() - begin);
        clock.sleep(Duration::from_millis(10));
    }
    took.sort();
    took
}

/// The rows of a bounded query, each as its JSON text.
fn rows(house: &House, sql: &str) -> Vec<String> {
    let said = house.done("ada", sql);
    let lines = said.as_str().unwrap_or_default().lines().skip(1);
    lines.map(|line| line.trim_matches(['[', ']']).to_owned()).filter(|line| !line.is_empty()).collect()
}

/// What the table of counts holds in all.
fn counted(house: &House) -> u64 {
    let of_key = |k: u64| rows(house, &format!("SELECT n FROM counts WHERE k = 'k{k}';"));
    (0..10).flat_map(of_key).map(|n| n.parse::<u64>().unwrap()).sum()
}

/// The rows of the copy, sorted. Read in slices: no query may take longer than those of the hostile.
fn copied(house: &House) -> Vec<u64> {
    let slice = |partition: usize, from: u64| {
        let to = from + SLICE;
        rows(
            house,
            &format!(
                "SELECT n FROM copied WHERE ROWPARTITION = {partition} AND ROWOFFSET >= {from} AND ROWOFFSET < {to};"
            ),
        )
    };
    let mut all = Vec::new();
    for partition in 0..2 {
        let slices = (0..).step_by(SLICE as usize).map(|from| slice(partition, from));
        all.extend(slices.take_while(|slice| !slice.is_empty()).flatten().map(|n| n.parse::<u64>().unwrap()));
    }
    all.sort_unstable();
    all
}

#[test]
fn queries_stay_exact_and_lookups_soon_among_the_hostile() {
    let long = tidegate::config::environment("TIDEGATE_SOAK_SECONDS")
        .map(|seconds| seconds.parse().expect("a number of seconds"));
    let house = House::new(
        &["ada admin", "rita reader", "will writer", "lena reader"],
        &["--set", "tidegate.batch.timeout.ms=2000", "--set", "tidegate.batch.memory.bytes=67108864"],
    );
    house.done(
        "ada",
        "CREATE STREAM s (k STRING KEY, n BIGINT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);",
    );
    house.done("ada", "CREATE STREAM src (v STRING) WITH (KAFKA_TOPIC='src', VALUE_FORMAT='KAFKA', PARTITIONS=1);");
    house.done("ada", "CREATE TABLE counts AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;");
    house.done("ada", "CREATE STREAM copied AS SELECT k, n FROM s WHERE n % 2 = 0;");
    let (end, done) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 4]);
    let Server { address, agent, .. } = &house.server;
    let site = Site { address, agent, users: &house.users };
    let worker = |at: usize| Worker { site, end: &end, done: &done[at] };
    let (written, took) = std::thread::scope(|scope| {
        let [reader, writer, flood, cuts] = [0, 1, 2, 3].map(worker);
        scope.spawn(move || reader.until_the_end(|n| reader.send("rita", READER[n as usize % READER.len()])));
        scope.spawn(move || writer.until_the_end(|n| writer.send("will", WRITER[n as usize % WRITER.len()])));
        scope.spawn(move || flood.until_the_end(|n| flood.knock(n)));
        scope.spawn(move || cuts.until_the_end(|n| cuts.break_off(n)));
        let writing = scope.spawn(|| write(site, &end));
        let looking = scope.spawn(|| look_up(site, &end));
        SystemClock::shared().sleep(Duration::from_secs(long.unwrap_or(SECONDS)));
        end.store(true, Ordering::Relaxed);
        (writing.join().unwrap(), looking.join().unwrap())
    });
    until("every row was counted", || counted(&house) >= written);
    assert_eq!(counted(&house), written);
    until("every second row was copied", || copied(&house).len() as u64 >= written / 2);
    let copied = copied(&house);
    assert!(copied.iter().copied().eq((0..written).step_by(2)), "{} of {} rows", copied.len(), written / 2);
    let streams = house.done("ada", "SHOW STREAMS;").to_string();
    assert!(["\"S\"", "\"SRC\"", "\"COPIED\""].iter().all(|name| streams.contains(name)), "{streams}");
    assert!(done.iter().all(|rounds| rounds.load(Ordering::Relaxed) > 0));
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    let rounds = done.each_ref().map(|rounds| rounds.load(Ordering::Relaxed));
    let (p50, p99) = (at(50), at(99));
    eprintln!(
        "{written} rows exact, {} lookups p50 {p50:?} p99 {p99:?}; reader, writer, logins, cuts: {rounds:?}",
        took.len()
    );
    assert!(long.is_none() || p99 < LOOKUP_P99, "p99 of lookups: {p99:?}");
}
