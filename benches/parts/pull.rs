//! Lookups over HTTP while rows come in, and how long a row takes through a query.
//!
//! `cargo bench --bench parts -- pull [connections=8] [seconds=5] [rate=100000] [kafka=HOST:PORT]
//! [guarantee=at_least_once] [commit=200]`
//!
//! The server and the producer are this process, the clients are another one, on loopback: each connection is a thread that
//! asks for one key of 100,000 after the other, with another text each time. Reads per core are reads by the processor time
//! that this process takes *more* than it takes for the same rows without readers.

use super::spent;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::{RowEvent, RowStream};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Engine};
use tidegate::log::{Assignment, Isolation, Log, RecordSet, Start};
use tidegate::serve::{Access, serve};
use tidegate::types::clock::SystemClock;

const KEYS: u64 = 100_000;
/// How often the producer writes.
const TICK: Duration = Duration::from_millis(5);
const STATEMENTS: &str = "
    CREATE STREAM pull_in (id BIGINT KEY, n BIGINT) WITH (KAFKA_TOPIC='pull_in', VALUE_FORMAT='JSON', PARTITIONS=1);
    CREATE TABLE pull_table AS SELECT id, COUNT(*) AS c, SUM(n) AS s FROM pull_in GROUP BY id;
    CREATE STREAM pull_out WITH (KAFKA_TOPIC='pull_out') AS SELECT id, n + 1 AS n FROM pull_in;
    CREATE STREAM pull_slow (id BIGINT KEY, n BIGINT) WITH (KAFKA_TOPIC='pull_slow', VALUE_FORMAT='JSON', PARTITIONS=1);";

pub(super) fn word(name: &str) -> Option<String> {
    std::env::args().find_map(|a| a.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

pub(super) fn number(name: &str, default: u64) -> u64 {
    word(name).map_or(default, |text| text.parse().expect("a number"))
}

/// User and system time of this process, in seconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    (fields[11].parse::<f64>().expect("ticks") + fields[12].parse::<f64>().expect("ticks")) / 100.0
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

pub(super) fn quantiles(name: &str, mut all: Vec<f64>, unit: &str) {
    all.sort_by(f64::total_cmp);
    let at = |q: f64| {
        all.get(((all.len() as f64 * q) as usize).min(all.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    println!("{name:<42} p50 {p50:.2} {unit}, p99 {p99:.2} {unit}, max {max:.2} {unit} of {}", all.len());
}

/// On the cluster that is named, else in a folder.
pub(super) fn engine(folder: &std::path::Path) -> Engine {
    let log = match word("kafka") {
        Some(bootstrap) => LogConfig::Kafka { bootstrap, properties: Default::default() },
        None => LogConfig::Embedded(folder.to_path_buf()),
    };
    Engine::open(Config::new(log), SystemClock::shared()).expect("an engine")
}

/// What the arguments ask of queries.
pub(super) fn settings() -> Session {
    let mut session = Session::default();
    if let Some(guarantee) = word("guarantee") {
        session.set("processing.guarantee", &guarantee).expect("a guarantee");
    }
    if let Some(millis) = word("commit") {
        session.set("commit.interval.ms", &millis).expect("a time");
    }
    session
}

pub(crate) fn pull() {
    if let Some(address) = word("ask") {
        return ask(&address);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before {}", load.trim());
    let folder = tempfile::tempdir().expect("a directory");
    let (engine, mut session) = (engine(folder.path()), settings());
    engine.run(STATEMENTS, &mut session).expect("the statements are right");
    push_latency(&engine);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let doors = Access::default().open(address).expect("loopback");
    runtime.spawn(serve(engine.clone(), listener, doors, std::future::pending()));
    let (seconds, rate) = (number("seconds", 5), number("rate", 100_000));
    let stop = Arc::new(AtomicBool::new(false));
    let produced = Arc::new(AtomicU64::new(0));
    let producer = producer(engine.log().clone(), "pull_in", rate, stop.clone(), produced.clone());
    std::thread::sleep(Duration::from_secs(2));
    output_latency(&engine, Duration::from_secs(seconds));
    // The first lookup makes the view; what it costs to keep it belongs to the rows that come in.
    let first = Instant::now();
    let rows = engine.run("SELECT * FROM pull_table WHERE id = 1;", &mut Session::default()).expect("a lookup");
    drop(rows);
    println!("the first lookup made the view in {:.1} ms", first.elapsed().as_secs_f64() * 1e3);
    let (begun, rows) = (cpu(), produced.load(Ordering::Relaxed));
    std::thread::sleep(Duration::from_secs(seconds));
    let (alone, rows) = (cpu() - begun, produced.load(Ordering::Relaxed) - rows);
    println!("rows alone: {:.0} rows/s take {:.2} cores", rows as f64 / seconds as f64, alone / seconds as f64);
    let begun = (cpu(), produced.load(Ordering::Relaxed), Instant::now());
    let told = clients(&address.to_string(), seconds);
    let (both, passed) = (cpu() - begun.0, begun.2.elapsed().as_secs_f64());
    let rows = (produced.load(Ordering::Relaxed) - begun.1) as f64;
    stop.store(true, Ordering::Relaxed);
    let own = both - alone * passed / seconds as f64;
    println!(
        "with readers: {:.0} rows/s, {:.2} cores here, {:.2} of them for the readers",
        rows / passed,
        both / passed,
        own / passed
    );
    println!("reads: {:.0}/s, {:.0} reads/s/core of the server", told as f64 / seconds as f64, told as f64 / own);
    producer.join().expect("the producer ends");
    in_process(&engine);
    engine.close();
    println!("load after {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

/// From INSERT VALUES to the row of an open windowed push query.
fn push_latency(engine: &Engine) {
    let mut session = Session::default();
    let push = "SELECT id, COUNT(*) AS c FROM pull_slow WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY id EMIT CHANGES;";
    let Some(Answer::Rows(mut rows)) = engine.run(push, &mut session).expect("a push query").pop() else { return };
    let next = |rows: &mut Box<dyn RowStream>| loop {
        match rows.next(Duration::from_secs(10)).expect("rows") {
            RowEvent::Rows { .. } => return,
            RowEvent::Idle => {}
            RowEvent::Done(_) => return,
        }
    };
    let mut took = Vec::new();
    for n in 0..50 {
        let begun = Instant::now();
        engine.run(&format!("INSERT INTO pull_slow VALUES (1, {n});"), &mut session).expect("a row");
        next(&mut rows);
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(23));
    }
    quantiles("INSERT VALUES to a windowed push query", took, "ms");
}

/// Rows at a steady rate, stamped with the time at which they are written.
pub(super) fn producer(
    log: Arc<dyn Log>,
    topic: &'static str,
    rate: u64,
    stop: Arc<AtomicBool>,
    produced: Arc<AtomicU64>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (begun, mut sent, mut key) = (Instant::now(), 0_u64, 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
            let (mut set, time) = (RecordSet::default(), now_ms());
            for _ in sent..due.min(sent + 50_000) {
                key = (key + 7919) % KEYS;
                set.push(0, time, Some(&(key as i64).to_be_bytes()), Some(format!("{{\"N\":{key}}}").as_bytes()));
            }
            sent += set.len() as u64;
            if !set.is_empty() {
                log.append(topic, &set).expect("the log takes rows");
                produced.fetch_add(set.len() as u64, Ordering::Relaxed);
            }
            std::thread::sleep(TICK);
        }
    })
}

/// From the time that a row was stamped with to its being read, committed, from the topic that a query writes; beside it
/// the same from the topic that the query reads: what the log alone takes.
fn output_latency(engine: &Engine, time: Duration) {
    let [input, output] = std::thread::scope(|scope| {
        let readers = ["pull_in", "pull_out"].map(|topic| scope.spawn(move || latencies(engine, topic, time)));
        readers.map(|reader| reader.join().expect("a reader"))
    });
    quantiles("produce to input read, no query between", input, "ms");
    quantiles("produce to committed output", output, "ms");
}

pub(super) fn latencies(engine: &Engine, topic: &str, time: Duration) -> Vec<f64> {
    let begin = Assignment { topic: topic.into(), partition: 0, start: Start::Latest };
    let mut reader = engine.log().reader(vec![begin], Isolation::ReadCommitted).expect("a reader");
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let fetched = reader.poll(8192, Duration::from_millis(100)).expect("rows");
        let now = now_ms();
        fetched.runs().iter().for_each(|run| run.for_each(|r| took.push((now - r.timestamp) as f64)));
    }
    took
}

/// Lets another process ask; answers how many lookups there were.
fn clients(address: &str, seconds: u64) -> u64 {
    let connections = number("connections", 8);
    let child = Command::new(std::env::current_exe().expect("a program"))
        .args(["pull", &format!("ask={address}"), &format!("seconds={seconds}"), &format!("connections={connections}")])
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.expect("a child");
    let mut asked = 0;
    for line in BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok) {
        match line.strip_prefix("asked ") {
            Some(count) => asked = count.parse().expect("a number"),
            None => println!("{line}"),
        }
    }
    child.wait().expect("the child ends");
    asked
}

/// The clients' process.
fn ask(address: &str) {
    let (seconds, connections) = (number("seconds", 5), number("connections", 8));
    let threads: Vec<_> = (0..connections)
        .map(|n| {
            let address = address.to_owned();
            std::thread::spawn(move || connection(&address, n, Duration::from_secs(seconds)))
        })
        .collect();
    let took: Vec<f64> = threads.into_iter().flat_map(|t| t.join().expect("a client ends")).collect();
    let (asked, used) = (took.len(), cpu());
    quantiles(&format!("a lookup over HTTP, {connections} connections"), took, "ms");
    println!("the clients took {:.2} cores", used / seconds as f64);
    println!("asked {asked}");
}

fn connection(address: &str, n: u64, time: Duration) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("TCP");
    let (begun, mut took, mut buffer) = (Instant::now(), Vec::new(), vec![0; 16 * 1024]);
    let mut key = n * 7;
    while begun.elapsed() < time {
        key = (key + 104_729) % KEYS;
        let body = format!("{{\"sql\":\"SELECT * FROM pull_table WHERE id = {key};\"}}");
        let request = format!(
            "POST /query-stream HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut have = 0;
        while !buffer[..have].ends_with(b"0\r\n\r\n") {
            let got = stream.read(&mut buffer[have..]).expect("the server answers");
            assert!(got > 0, "the server closed the connection: {}", String::from_utf8_lossy(&buffer[..have]));
            have += got;
        }
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        let answer = &buffer[..have];
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    }
    took
}

/// What a lookup costs without HTTP, planned before and planned each time.
fn in_process(engine: &Engine) {
    const LOOKUPS: u64 = 20_000;
    let mut session = Session::default();
    let text = |n: u64| format!("SELECT * FROM pull_table WHERE id = {};", n * 31 % KEYS);
    let known = spent(|| {
        for n in 0..LOOKUPS {
            let rows = engine.known_lookup(&text(n), &Session::default()).expect("it was planned").expect("a lookup");
            let mut rows = rows;
            assert!(matches!(rows.next(Duration::ZERO), Ok(RowEvent::Rows { .. })));
        }
    });
    println!("{:<42} {:.2} us", "a lookup that was planned before", known / LOOKUPS as f64 / 1e3);
    let planned = spent(|| {
        for n in 0..LOOKUPS / 10 {
            drop(engine.run(&text(n), &mut session).expect("a lookup"));
        }
    });
    println!("{:<42} {:.2} us", "a lookup that is planned", planned / (LOOKUPS / 10) as f64 / 1e3);
}
