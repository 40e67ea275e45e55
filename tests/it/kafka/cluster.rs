//! Three processes share the queries of a service: they are killed, paused, stopped and started again, and every row is written
//! once.
//!
//! Each action is drawn from a seed: kill -9 and a new start after a while or at once, SIGSTOP for up to six seconds (others take
//! over, and the owner wakes up as one that was fenced), SIGTERM and a new start (its queries move). Each query with state has a
//! standby, which is what takes over if it can. A producer writes all the time. At the end the topics are read without any process:
//! the copies hold the ids of the source once each, and the counts and sums of the windows are those of the source.
//!
//! `TIDEGATE_CLUSTER_ACTIONS` sets how many (20), `TIDEGATE_CLUSTER_CHAOS` repeats a seed.

use super::*;
use crate::crash::{Load, Moments, STATEMENTS, Server, compare, number};
use crate::harness::records::read_topic;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tidegate::config::random_id;
use tidegate::types::clock::SharedClock;

const SLOTS: [&str; 3] = ["a", "b", "c"];
/// Actions of an ordinary run.
const ACTIONS: u64 = 20;
/// Queries beside the two that are compared, so that each process has some.
const MORE: usize = 4;
/// How long the queries may take to read what is left: take-overs of the last action included.
const FINISH_MAX: Duration = Duration::from_secs(120);
/// Rows that the producer writes at a time, and its pause.
const ROWS: u64 = 20;
const PAUSE: Duration = Duration::from_millis(20);

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "cluster: {text}");
}

/// The processes of a service.
struct Nodes<'a> {
    bootstrap: &'a str,
    folder: &'a Path,
    clock: SharedClock,
    /// By slot; `None` = it does not run.
    servers: Vec<Option<Server>>,
}

impl Nodes<'_> {
    fn start(&mut self, at: usize) {
        let slot = format!("tidegate.slot={}", SLOTS[at]);
        let standbys = "ksql.streams.num.standby.replicas=1";
        let place = ["--bootstrap-servers", self.bootstrap, "--set", &slot, "--set", standbys].map(str::to_owned);
        let output = self.folder.join(format!("{}.log", SLOTS[at]));
        self.servers[at] = Some(Server::start_with(&place, None, &self.clock, &output));
    }

    fn signal(&self, at: usize, name: &str) {
        let server = self.servers[at].as_ref().expect("it runs");
        broker::signal(&server.child.id().to_string(), name);
    }

    fn kill(&mut self, at: usize) {
        drop(self.servers[at].take());
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().flatten()
    }

    /// Hosts of `/clusterStatus` of a process: slot, whether it is alive, and the queries that it runs.
    fn status(&self, at: usize) -> BTreeMap<String, (bool, BTreeSet<String>)> {
        let status: serde_json::Value =
            serde_json::from_str(&self.servers[at].as_ref().unwrap().get("/clusterStatus").unwrap()).unwrap();
        let hosts = status["clusterStatus"].as_object().unwrap().values();
        let of = |host: &serde_json::Value| {
            let queries = host["activeStandbyPerQuery"].as_object().unwrap().iter();
            let runs = |query: &serde_json::Value| query["standByStores"].as_array().unwrap().is_empty();
            let queries = queries.filter(|(_, query)| runs(query)).map(|(id, _)| id.clone()).collect();
            let alive = host["hostAlive"].as_bool().unwrap();
            (host["slot"].as_str().unwrap().to_owned(), (alive, queries))
        };
        hosts.map(of).collect()
    }

    fn logs(&self) -> String {
        let text = |slot: &&str| {
            let log = std::fs::read_to_string(self.folder.join(format!("{slot}.log"))).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            format!("--- {slot}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        SLOTS.iter().map(text).collect::<Vec<_>>().join("\n")
    }
}

/// Groups of all queries, as the control topic of any process lists them.
fn groups(nodes: &Nodes<'_>) -> Vec<String> {
    let server = nodes.running().next().expect("one runs");
    let shown: serde_json::Value = serde_json::from_str(&server.ksql("SHOW QUERIES;").unwrap()).unwrap();
    let queries = shown[0]["queries"].as_array().unwrap().iter();
    queries.map(|query| format!("_confluent-ksql-default_query_{}", query["id"].as_str().unwrap())).collect()
}

fn more_statements() -> String {
    let one = |n: usize| format!("CREATE STREAM more{n} WITH (KAFKA_TOPIC='more{n}') AS SELECT * FROM events;");
    (0..MORE).map(one).collect()
}

/// One action; returns what it was.
fn act(nodes: &mut Nodes<'_>, moments: &mut Moments) -> String {
    let at = moments.next_ms(0, 3) as usize;
    let mut wait = |least, most| Duration::from_millis(moments.next_ms(least, most));
    match wait(0, 10).as_millis() {
        0..4 => {
            nodes.kill(at);
            let pause = wait(0, 4_000);
            std::thread::sleep(pause);
            nodes.start(at);
            format!("{} killed, started again after {pause:?}", SLOTS[at])
        }
        4..8 => {
            nodes.signal(at, "STOP");
            let pause = wait(500, 6_000);
            std::thread::sleep(pause);
            nodes.signal(at, "CONT");
            format!("{} stopped for {pause:?}", SLOTS[at])
        }
        _ => {
            nodes.signal(at, "TERM");
            let begin = Instant::now();
            let mut server = nodes.servers[at].take().unwrap();
            assert!(server.child.wait().unwrap().success(), "{} did not end well", SLOTS[at]);
            let took = begin.elapsed();
            nodes.start(at);
            format!("{} ended in {took:.1?} and started again", SLOTS[at])
        }
    }
}

/// Produces until it is told to stop.
fn produce(log: &KafkaLog, stop: &AtomicBool) -> Load {
    let mut load = Load::default();
    while !stop.load(Ordering::Relaxed) {
        load.produce(log, ROWS);
        std::thread::sleep(PAUSE);
    }
    load
}

fn finish(nodes: &Nodes<'_>, log: &KafkaLog) {
    let groups = groups(nodes);
    assert_eq!(groups.len(), 2 + MORE);
    let inputs: Vec<_> = (0..crate::crash::PARTITIONS).map(|p| at("events", p)).collect();
    let ends: Vec<i64> = inputs.iter().map(|input| log.watermarks(input).unwrap().high).collect();
    let begin = Instant::now();
    for group in groups {
        loop {
            let reached = log.committed(&group, &inputs).unwrap();
            let done = |(at, end): (&Option<CommittedOffset>, &i64)| at.as_ref().is_some_and(|at| at.offset >= *end);
            if reached.iter().zip(&ends).all(done) {
                break;
            }
            assert!(begin.elapsed() < FINISH_MAX, "{group} stays at {reached:?} of {ends:?}\n{}", nodes.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn three_processes_are_killed_paused_and_stopped_and_every_row_is_written_once() {
    let test = "three_processes_are_killed_paused_and_stopped_and_every_row_is_written_once";
    let Some(broker) = broker::own(test) else { return };
    let seed = number("TIDEGATE_CLUSTER_CHAOS").unwrap_or_else(|| random_id().unwrap() as u64);
    let actions = number("TIDEGATE_CLUSTER_ACTIONS").unwrap_or(ACTIONS);
    say(&format!("{actions} actions, TIDEGATE_CLUSTER_CHAOS={seed}"));
    let (folder, log) = (tempfile::tempdir().unwrap(), connect(&broker.bootstrap));
    let clock = SystemClock::shared();
    let servers = SLOTS.map(|_| None).into();
    let mut nodes = Nodes { bootstrap: &broker.bootstrap, folder: folder.path(), clock, servers };
    nodes.start(0);
    nodes.running().next().unwrap().ksql(&format!("{STATEMENTS}{}", more_statements())).unwrap();
    (1..SLOTS.len()).for_each(|at| nodes.start(at));
    until("each process has two queries", Duration::from_secs(60), || {
        let spread = |at| nodes.status(at).values().all(|(alive, queries)| *alive && queries.len() == 2);
        (0..SLOTS.len()).all(spread).then_some(())
    });
    let stop = AtomicBool::new(false);
    let load = std::thread::scope(|scope| {
        let load = scope.spawn(|| produce(&log, &stop));
        let mut moments = Moments(seed);
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..actions {
                say(&format!("{n}: {}", act(&mut nodes, &mut moments)));
                std::thread::sleep(Duration::from_millis(moments.next_ms(50, 1_500)));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let load = load.join().unwrap();
        acted.unwrap_or_else(|panic| {
            say(&nodes.logs());
            std::panic::resume_unwind(panic)
        });
        load
    });
    finish(&nodes, &log);
    until("lookups agree in all processes, whichever runs the query", Duration::from_secs(30), || {
        let mut all = nodes.running().map(|server| server.rows("SELECT * FROM counted;").unwrap());
        let first = all.next().expect("all run");
        (all.all(|rows| rows == first) && !first.is_empty()).then_some(())
    });
    (0..SLOTS.len()).for_each(|at| nodes.kill(at));
    let wrong = compare(&load, &|topic| read_topic(&*log, topic).unwrap());
    let more = (0..MORE).map(|n| {
        let copied = read_topic(&*log, &format!("more{n}")).unwrap();
        let ids: BTreeSet<_> = copied.iter().map(|record| record.key.clone()).collect();
        (n, copied.len(), ids.len(), load.acknowledged.len())
    });
    let differ: Vec<_> = more.filter(|(_, rows, ids, all)| rows != ids || ids != all).collect();
    assert!(wrong.is_ok() && differ.is_empty(), "{wrong:?}; rows, ids, of {differ:?}\n{}", nodes.logs());
    say(&format!("{} rows, each once in {} topics", load.acknowledged.len(), 1 + MORE));
}
