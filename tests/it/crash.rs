//! kill -9 under load, on a real process: nothing acknowledged is lost, nothing is counted twice.
//!
//! A child runs `tidegate server` with two queries: a copy of every row, and a count and sum per team and second, which
//! changes the key on the way. Rows are inserted over HTTP until the child is killed at a random moment; then it is
//! started again, and again. On Kafka a separate producer keeps writing meanwhile. At the end the topics are read without it: every acknowledged id is in the source once,
//! the copy holds exactly the source's ids, and every window's count and sum are those of the source's rows.
//!
//! `TIDEGATE_CRASH_ROUNDS` sets how often (3), `TIDEGATE_CRASH_SEED` repeats the moments of an earlier run.

#[path = "../support/broker.rs"]
mod broker;

use crate::harness::records::{Stored, read_topic};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig, environment, random_id};
use tidegate::engine::{Drive, Engine};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidegate::log::kafka::{KafkaLog, KafkaSettings};
use tidegate::log::{Log, RecordSet, TopicPartition, partition};
use tidegate::types::clock::{SharedClock, SystemClock};

/// Kills in an ordinary run; before a release it is 20.
const ROUNDS: u64 = 3;
/// States are copied all the time, so that kills meet copies in the making.
const SNAPSHOTS: &str = "tidegate.state.snapshot.bytes=1000";
/// Rows of one request, and distance of their times.
const ROWS: u64 = 40;
const STEP_MS: u64 = 10;
/// Rows that a producer of its own hands over at a time.
const PRODUCED: u64 = 500;
/// Partitions of the source.
pub(crate) const PARTITIONS: i32 = 4;
/// Size of the windows.
const WINDOW_MS: i64 = 1_000;
/// How long the process may take until it responds.
const START_MAX: Duration = Duration::from_secs(120);

pub(crate) const STATEMENTS: &str = "
CREATE STREAM events (id BIGINT KEY, team STRING, n INT) WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON', PARTITIONS=4);
CREATE STREAM copied WITH (KAFKA_TOPIC='copied') AS SELECT * FROM events;
CREATE TABLE counted WITH (KAFKA_TOPIC='counted') AS
  SELECT team, COUNT(*) AS total, SUM(n) AS weight FROM events WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY team;";

/// A running server; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already; that is what it is killed for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(place: &[String], clock: &SharedClock, output: &Path) -> Server {
        Server::start_with(place, None, clock, output)
    }

    /// The same with one more variable in its environment.
    pub(crate) fn start_with(
        place: &[String],
        variable: Option<(&str, &str)>,
        clock: &SharedClock,
        output: &Path,
    ) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(output).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(place)
            .envs(variable)
            .args(["server", "--listen", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Server { child, base: format!("http://127.0.0.1:{port}") };
        let begin = clock.monotonic();
        while ureq::get(format!("{}/info", server.base)).call().is_err() {
            let said = || std::fs::read_to_string(output).unwrap_or_default();
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended: {}", said());
            assert!(clock.monotonic() < begin + START_MAX, "the server does not answer: {}", said());
            clock.sleep(Duration::from_millis(20));
        }
        server
    }

    /// Carries out statements; `Err` while the process dies.
    pub(crate) fn ksql(&self, statements: &str) -> Result<String, ureq::Error> {
        let body = json!({ "ksql": statements, "streamsProperties": { "ksql.streams.auto.offset.reset": "earliest" } })
            .to_string();
        let url = format!("{}/ksql", self.base);
        ureq::post(url).header("content-type", "application/json").send(body)?.body_mut().read_to_string()
    }

    /// The rows of a query that ends, in the order of their texts.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<String>, ureq::Error> {
        let body = json!({ "sql": sql, "properties": {} }).to_string();
        let text = ureq::post(format!("{}/query-stream", self.base)).send(body)?.body_mut().read_to_string()?;
        let mut rows: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        rows.sort();
        Ok(rows)
    }

    /// The body of a GET.
    pub(crate) fn get(&self, path: &str) -> Result<String, ureq::Error> {
        ureq::get(format!("{}{path}", self.base)).call()?.body_mut().read_to_string()
    }

    /// What SHOW prints, without what differs from moment to moment.
    fn shown(&self) -> String {
        self.ksql("SHOW STREAMS; SHOW TABLES; SHOW QUERIES;").unwrap()
    }
}

/// Team, number and time of a row.
fn fields(id: u64) -> (String, u64, u64) {
    (format!("team {}", id % 7), id % 13, id * STEP_MS)
}

fn statements(first: u64) -> (Vec<u64>, String) {
    let ids: Vec<u64> = (first..first + ROWS).collect();
    let one = |id: &u64| {
        let (team, n, time) = fields(*id);
        format!("INSERT INTO events (id, team, n, ROWTIME) VALUES ({id}, '{team}', {n}, {time});\n")
    };
    let text = ids.iter().map(one).collect();
    (ids, text)
}

/// How rows get in: through the server that is killed, or past it, as other producers would.
enum Feed {
    Http,
    Producer(Arc<dyn Log>),
}

/// What was asked for and what was answered.
#[derive(Default)]
pub(crate) struct Load {
    next: u64,
    pub(crate) acknowledged: BTreeSet<u64>,
}

impl Load {
    /// Inserts until the server dies. An id is never sent twice, so that a duplicate was made by the engine.
    fn run(&mut self, server: &mut Server, feed: &Feed) {
        match feed {
            Feed::Http => while self.insert(server) {},
            Feed::Producer(log) => {
                while server.child.try_wait().unwrap().is_none() {
                    self.produce(&**log, PRODUCED);
                }
            }
        }
    }

    fn insert(&mut self, server: &Server) -> bool {
        let (ids, text) = statements(self.next);
        self.next += ROWS;
        match server.ksql(&text) {
            Ok(_) => self.acknowledged.extend(ids),
            Err(ureq::Error::StatusCode(status)) => panic!("an insert was answered by status {status}"),
            Err(_) => return false,
        }
        true
    }

    /// Writes so many rows past the server.
    pub(crate) fn produce(&mut self, log: &dyn Log, rows: u64) {
        let mut set = RecordSet::default();
        for id in self.next..self.next + rows {
            let (team, n, time) = fields(id);
            let (key, value) = (id.to_be_bytes(), format!("{{\"TEAM\":\"{team}\",\"N\":{n}}}"));
            set.push(partition::java(&key, PARTITIONS as u32), time as i64, Some(&key), Some(value.as_bytes()));
        }
        log.append("events", &set).unwrap();
        self.acknowledged.extend(self.next..self.next + rows);
        self.next += rows;
    }
}

/// A small generator (splitmix64): the moments have to be repeatable, not good.
pub(crate) struct Moments(pub(crate) u64);

impl Moments {
    /// At least the one, less than the other.
    pub(crate) fn next_ms(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (z ^ (z >> 31)) % (most - least)
    }
}

/// Not println: the harness would keep it to itself, and the seed is needed when a run hangs.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "crash: {text}");
}

/// A number in an environment variable, if it is set.
pub(crate) fn number(name: &str) -> Option<u64> {
    environment(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Loads and kills; returns the ids that were acknowledged.
fn torment(place: &[String], folder: &Path, clock: &SharedClock, feed: &Feed) -> Load {
    let seed = number("TIDEGATE_CRASH_SEED").unwrap_or_else(|| random_id().unwrap() as u64);
    let rounds = number("TIDEGATE_CRASH_ROUNDS").unwrap_or(ROUNDS);
    say(&format!("{rounds} rounds, TIDEGATE_CRASH_SEED={seed}"));
    let (mut moments, mut load) = (Moments(seed), Load::default());
    let output = folder.join("server.log");
    let mut expected = None;
    for round in 0..rounds {
        let mut server = Server::start(place, clock, &output);
        if round == 0 {
            server.ksql(STATEMENTS).unwrap();
        }
        let shown = server.shown();
        assert_eq!(
            expected.get_or_insert_with(|| shown.clone()),
            &shown,
            "SHOW tells something else after round {round}"
        );
        let wait = Duration::from_millis(moments.next_ms(100, 2_500));
        let (pid, clock) = (rustix::process::Pid::from_child(&server.child), clock.clone());
        let killer = std::thread::spawn(move || {
            clock.sleep(wait);
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        load.run(&mut server, feed);
        killer.join().unwrap();
        let rows = load.acknowledged.len();
        say(&format!("round {round}: killed after {wait:?}, {rows} rows acknowledged so far"));
    }
    // One more start: what was unfinished is finished by the real process where it can be.
    let server = Server::start(place, clock, &output);
    assert_eq!(expected, Some(server.shown()));
    load
}

fn value(record: &Stored) -> Value {
    serde_json::from_slice(record.value.as_deref().expect("no value is null")).unwrap()
}

fn id(record: &Stored) -> u64 {
    u64::from_be_bytes(record.key.as_deref().expect("every row has a key").try_into().unwrap())
}

/// The last count and sum of every window.
fn counted(records: &[Stored]) -> BTreeMap<(String, i64), (i64, i64)> {
    let mut last = BTreeMap::new();
    for r in records {
        let (team, start) = r.key.as_deref().unwrap().split_last_chunk::<8>().unwrap();
        let value = value(r);
        let team = String::from_utf8(team.to_vec()).unwrap();
        let window = (team, i64::from_be_bytes(*start));
        last.insert(window, (value["TOTAL"].as_i64().unwrap(), value["WEIGHT"].as_i64().unwrap()));
    }
    last
}

/// What is wrong in the topics.
pub(crate) fn compare(load: &Load, read: &dyn Fn(&str) -> Vec<Stored>) -> Result<(), String> {
    let source = read("events");
    let ids: BTreeSet<u64> = source.iter().map(id).collect();
    let mut wrong = Vec::new();
    if ids.len() < source.len() {
        wrong.push("an insert stands twice".to_owned());
    }
    let lost: Vec<_> = load.acknowledged.difference(&ids).collect();
    if !lost.is_empty() {
        wrong.push(format!("acknowledged and lost: {lost:?}"));
    }
    let mut copied: Vec<u64> = read("copied").iter().map(id).collect();
    copied.sort_unstable();
    let twice: Vec<_> = copied.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
    let missing: Vec<_> = ids.iter().filter(|id| copied.binary_search(id).is_err()).collect();
    if !twice.is_empty() || !missing.is_empty() {
        wrong.push(format!("in the copy {twice:?} stand twice and {missing:?} are missing"));
    }
    if copied.iter().any(|id| !ids.contains(id)) {
        wrong.push("the copy holds what the source does not".to_owned());
    }
    let (expected, found) = (expected(&source), counted(&read("counted")));
    let other = |(window, of): &(&(String, i64), &(i64, i64))| found.get(*window) != Some(*of);
    let others: Vec<_> = expected.iter().filter(other).map(|(w, of)| (w, of, found.get(w))).collect();
    if !others.is_empty() || found.len() != expected.len() {
        wrong.push(format!("windows whose count and sum are not those of the source: {others:?}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Count and sum of every window of the source.
fn expected(source: &[Stored]) -> BTreeMap<(String, i64), (i64, i64)> {
    let mut expected: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    for r in source {
        let value = value(r);
        let team = value["TEAM"].as_str().unwrap().to_owned();
        let window = expected.entry((team, r.timestamp / WINDOW_MS * WINDOW_MS)).or_default();
        window.0 += 1;
        window.1 += value["N"].as_i64().unwrap();
    }
    expected
}

/// Reads the topics and compares.
fn check(log: &dyn Log, load: &Load) {
    assert!(!load.acknowledged.is_empty(), "no insert was acknowledged: nothing was tested");
    let wrong = compare(load, &|topic| read_topic(log, topic).unwrap());
    assert_eq!(wrong, Ok(()));
}

/// How long the rest may take once nothing kills any more.
const FINISH_MAX: Duration = Duration::from_secs(60);

/// Is everything in the source committed by the queries of these groups? Offsets are committed with what was made of them.
fn is_finished(groups: &[String], log: &dyn Log) -> bool {
    let inputs: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new("events", p)).collect();
    let ends: Vec<_> = inputs.iter().map(|p| log.watermarks(p).unwrap().high).collect();
    groups.iter().all(|group| {
        let reached = log.committed(group, &inputs).unwrap();
        reached.iter().zip(&ends).all(|(at, end)| at.as_ref().is_some_and(|at| at.offset >= *end))
    })
}

/// Waits for the queries of these groups, and says how they stand when they take too long.
fn await_finish(groups: &[String], log: &dyn Log, clock: &SharedClock, stand: &dyn Fn() -> String) {
    let begin = clock.monotonic();
    while !is_finished(groups, log) {
        assert!(clock.monotonic() < begin + FINISH_MAX, "the queries do not catch up: {}", stand());
        clock.sleep(Duration::from_millis(50));
    }
}

/// Lets a server finish what is left: a process of its own, which another one may follow.
pub(crate) fn finish_apart(log: &dyn Log, server: &Server, clock: &SharedClock) {
    let show = || server.ksql("SHOW QUERIES;").unwrap();
    let shown: Value = serde_json::from_str(&show()).unwrap();
    let ids = shown[0]["queries"].as_array().unwrap().iter().map(|query| query["id"].as_str().unwrap());
    let groups: Vec<_> = ids.map(|id| format!("_confluent-ksql-default_query_{id}")).collect();
    assert_eq!(groups.len(), 2, "{shown}");
    await_finish(&groups, log, clock, &show);
}

/// Lets an engine in this process finish what is left.
fn finish(log: &Arc<dyn Log>, config: Config, clock: SharedClock) {
    let engine = Engine::over(log.clone(), config, clock.clone(), Drive::Threads).unwrap();
    let groups: Vec<_> = engine.queries().iter().map(|(_, query)| query.group().to_owned()).collect();
    let states = || engine.queries().iter().map(|(id, q)| format!("{id} {:?} ", q.state())).collect();
    await_finish(&groups, &**log, &clock, &states);
    engine.close();
}

fn finish_and_check(log: Arc<dyn Log>, config: Config, clock: SharedClock, load: &Load) {
    finish(&log, config, clock);
    check(&*log, load);
}

#[test]
fn killed_on_the_embedded_log() {
    let folder = tempfile::tempdir().unwrap();
    let (data, clock) = (folder.path().join("data"), SystemClock::shared());
    let place = ["--data", data.to_str().unwrap(), "--set", SNAPSHOTS].map(str::to_owned);
    let load = torment(&place, folder.path(), &clock, &Feed::Http);
    assert!(data.join("snapshots").exists(), "no state was copied");
    let log = EmbeddedLog::open(&data, EmbeddedOptions::default(), clock.clone()).unwrap();
    finish_and_check(log, Config::new(LogConfig::Embedded(data)), clock, &load);
}

#[test]
fn killed_on_kafka() {
    let bootstrap = match broker::bootstrap() {
        broker::Broker::At(bootstrap) => bootstrap,
        broker::Broker::Missing(why) => return say(&format!("SKIPPED crash::killed_on_kafka: {why}")),
        broker::Broker::Broken(why) => panic!("{why}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = SystemClock::shared();
    let states = format!("ksql.streams.state.dir={}", folder.path().to_str().unwrap());
    let place = ["--bootstrap-servers", &bootstrap, "--set", SNAPSHOTS, "--set", &states].map(str::to_owned);
    let log = KafkaLog::connect(KafkaSettings::new(&bootstrap), clock.clone()).unwrap();
    let load = torment(&place, folder.path(), &clock, &Feed::Producer(log.clone()));
    let config = Config::new(LogConfig::Kafka { bootstrap, properties: Default::default() });
    finish_and_check(log, config, clock, &load);
    broker::stop();
}
