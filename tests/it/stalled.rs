//! A broker that does not respond, and a statement that waits for it: everybody who only reads gets an answer at once.
//!
//! The log is the simulated one behind a gate. While the gate is closed, the calls that it is closed for wait at it, from
//! whatever thread they come.

use parking_lot::{Condvar, Mutex};
use serde_json::json;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Result;
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{
    Assignment, Claim, CommitOutcome, CommittedOffset, Epoch, Fetched, Identity, Isolation, Log, Reader, RecordSet,
    Span, TopicChanges, TopicInfo, TopicPartition, TopicSpec, TransactionalWriter, Watermarks, WriterSpec,
};
use tidegate::serve::{Access, serve};
use tidegate::types::clock::SystemClock;

/// How long an answer may take.
const AT_ONCE: Duration = Duration::from_millis(100);
/// The best of so many counts: a machine may be busy, a lock is held at every try.
const TRIES: usize = 5;
/// What takes longer waits for the gate.
const HUNG: Duration = Duration::from_secs(20);

/// Every call to a broker.
const ALL: &[&str] = &[
    "create_topic",
    "topic",
    "topics",
    "identities",
    "alter_topic",
    "delete_topic",
    "watermarks",
    "offset_for_time",
    "spans",
    "delete_records",
    "reader",
    "append",
    "session",
    "committed",
    "delete_group",
    "poll",
    "commit",
    "deliver",
];

/// Where calls wait.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: &'static [&'static str],
    /// Names of the threads that wait.
    threads: Vec<String>,
}

impl Gate {
    fn pass(&self, call: &str) {
        let mut state = self.state.lock();
        if !state.closed.contains(&call) {
            return;
        }
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        state.threads.push(thread.clone());
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| state.closed.contains(&call));
        if let Some(at) = state.threads.iter().position(|name| *name == thread) {
            state.threads.remove(at);
        }
    }

    fn close(&self, calls: &'static [&'static str]) {
        self.state.lock().closed = calls;
    }

    fn open(&self) {
        self.state.lock().closed = &[];
        self.changed.notify_all();
    }

    /// Waits until a thread of this name waits.
    fn until_waits(&self, thread: &str) {
        let waits = |state: &mut Waiting| !state.threads.iter().any(|name| name == thread);
        let timed_out = self.changed.wait_while_for(&mut self.state.lock(), waits, HUNG).timed_out();
        assert!(!timed_out, "{thread} does not wait for the broker");
    }
}

/// Opens the gate whatever happens: an engine that ends waits for its queries.
struct Opener(Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[derive(Debug)]
struct Gated {
    below: Arc<SimulatedLog>,
    gate: Arc<Gate>,
}

impl Log for Gated {
    fn describe(&self) -> String {
        self.below.describe()
    }

    fn cluster_id(&self) -> Result<String> {
        // Known since the connection was made.
        self.below.cluster_id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo> {
        self.gate.pass("create_topic");
        self.below.create_topic(spec)
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        self.gate.pass("topic");
        self.below.topic(name)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        self.gate.pass("topics");
        self.below.topics()
    }

    fn identities(&self, names: &[&str]) -> Result<Vec<Option<Identity>>> {
        self.gate.pass("identities");
        self.below.identities(names)
    }

    fn alter_topic(&self, name: &str, changes: &TopicChanges) -> Result<()> {
        self.gate.pass("alter_topic");
        self.below.alter_topic(name, changes)
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        self.gate.pass("delete_topic");
        self.below.delete_topic(name)
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        self.gate.pass("watermarks");
        self.below.watermarks(partition)
    }

    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        self.gate.pass("offset_for_time");
        self.below.offset_for_time(partition, timestamp)
    }

    fn spans(&self, partition: &TopicPartition, offsets: Range<i64>, times: &RangeInclusive<i64>) -> Result<Vec<Span>> {
        self.gate.pass("spans");
        self.below.spans(partition, offsets, times)
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64> {
        self.gate.pass("delete_records");
        self.below.delete_records(partition, before)
    }

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        self.gate.pass("reader");
        Ok(Box::new(GatedReader { below: self.below.reader(assignment, isolation)?, gate: self.gate.clone() }))
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.gate.pass("append");
        self.below.append(topic, records)
    }

    fn transactional_writer(&self, spec: &WriterSpec, claim: &Arc<dyn Claim>) -> Result<Box<dyn TransactionalWriter>> {
        self.gate.pass("session");
        Ok(Box::new(GatedSession { below: self.below.transactional_writer(spec, claim)?, gate: self.gate.clone() }))
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        self.gate.pass("committed");
        self.below.committed(group, partitions)
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        self.gate.pass("delete_group");
        self.below.delete_group(group)
    }
}

#[derive(Debug)]
struct GatedReader {
    below: Box<dyn Reader>,
    gate: Arc<Gate>,
}

impl Reader for GatedReader {
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched> {
        self.gate.pass("poll");
        self.below.poll(max_records, timeout)
    }

    fn position(&self, slot: usize) -> i64 {
        self.below.position(slot)
    }

    fn at_end(&self, slot: usize) -> bool {
        self.below.at_end(slot)
    }

    fn seek(&mut self, slot: usize, offset: i64) -> Result<()> {
        self.below.seek(slot, offset)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.below.waker()
    }

    fn trouble(&self) -> Option<String> {
        self.below.trouble()
    }
}

#[derive(Debug)]
struct GatedSession {
    below: Box<dyn TransactionalWriter>,
    gate: Arc<Gate>,
}

impl TransactionalWriter for GatedSession {
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        self.gate.pass("committed");
        self.below.committed(partitions)
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        self.gate.pass("committed");
        self.below.metadata()
    }

    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        self.gate.pass("deliver");
        self.below.deliver(topic, records)
    }

    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome> {
        self.gate.pass("commit");
        self.below.commit(epoch)
    }
}

fn run(engine: &Engine, sql: &str) -> Vec<Answer> {
    let mut session =
        Session::default().with_properties([("auto.offset.reset".to_owned(), "earliest".to_owned())]).unwrap();
    engine.run(sql, &mut session).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

/// The rows of a query that ends.
fn rows(mut answers: Vec<Answer>) -> usize {
    let Some(Answer::Rows(mut stream)) = answers.pop() else { panic!("no rows") };
    let mut count = 0;
    loop {
        match stream.next(HUNG).unwrap() {
            RowEvent::Rows { columns, .. } => count += columns[0].len(),
            RowEvent::Idle => panic!("the rows do not come"),
            RowEvent::Done(_) => return count,
        }
    }
}

const LOOKUP: &str = "SELECT * FROM kept WHERE k = 'a';";

/// What reads, each by its name. None of it needs a broker.
fn readers(engine: &Engine, address: &str) -> Vec<(String, Box<dyn Fn() + Send + Sync>)> {
    let statements = [
        "SHOW STREAMS;",
        "SHOW TABLES;",
        "SHOW QUERIES;",
        "SHOW QUERIES EXTENDED;",
        "SHOW PROPERTIES;",
        "SHOW VARIABLES;",
        "SHOW FUNCTIONS;",
        "SHOW TYPES;",
        "DESCRIBE kept;",
        "DESCRIBE FUNCTION abs;",
        "EXPLAIN CTAS_KEPT_1;",
        "EXPLAIN SELECT * FROM s EMIT CHANGES;",
        "EXPLAIN SELECT k, COUNT(*) FROM s GROUP BY k;",
        "EXPLAIN SELECT * FROM kept WHERE k = 'a';",
        "EXPLAIN CREATE TABLE other AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;",
    ];
    let mut all: Vec<(String, Box<dyn Fn() + Send + Sync>)> = Vec::new();
    for sql in statements {
        let engine = engine.clone();
        all.push((sql.to_owned(), Box::new(move || _ = run(&engine, sql))));
    }
    let mut add = |what: &str, read: fn(&Engine)| {
        let engine = engine.clone();
        all.push((what.to_owned(), Box::new(move || read(&engine))));
    };
    add("a lookup", |engine| assert_eq!(rows(run(engine, LOOKUP)), 1));
    add("a known lookup", |engine| {
        let session =
            Session::default().with_properties([("auto.offset.reset".to_owned(), "earliest".to_owned())]).unwrap();
        assert!(engine.known_lookup(LOOKUP, &session).expect("it was planned before").is_ok());
    });
    add("a scan", |engine| assert_eq!(rows(run(engine, "SELECT * FROM kept;")), 2));
    add("completion", |engine| assert!(engine.names(&Session::default()).sources.contains(&"KEPT".to_owned())));
    add("parse", |engine| _ = engine.parse("SELECT * FROM kept;", &Session::default()).unwrap());
    let agent = ureq::Agent::config_builder().timeout_global(Some(HUNG * 2)).build().new_agent();
    for path in ["/metrics", "/info", "/healthcheck", "/status", "/status/stream/S/create", "/clusterStatus"] {
        let (agent, url) = (agent.clone(), format!("http://{address}{path}"));
        all.push((format!("GET {path}"), Box::new(move || assert_eq!(agent.get(&url).call().unwrap().status(), 200))));
    }
    for (path, body) in [
        ("/ksql", json!({ "ksql": "SHOW STREAMS; SHOW QUERIES;" })),
        ("/query-stream", json!({ "sql": LOOKUP, "properties": {} })),
    ] {
        let (agent, url, body) = (agent.clone(), format!("http://{address}{path}"), body.to_string());
        let post = move || {
            let response = agent.post(&url).send(body.clone()).unwrap();
            assert_eq!(response.status(), 200);
            _ = response.into_body().read_to_string().unwrap();
        };
        all.push((format!("POST {path}"), Box::new(post)));
    }
    all
}

/// Each reader, on a thread of its own, takes at most [`AT_ONCE`].
fn all_answer_at_once(engine: &Engine, address: &str, meanwhile: &str) {
    let clock = SystemClock::shared();
    for (what, read) in readers(engine, address) {
        let read: Arc<dyn Fn() + Send + Sync> = read.into();
        let mut best = HUNG;
        for _ in 0..TRIES {
            let (done, is_done) = channel();
            let (read, timed) = (read.clone(), clock.clone());
            std::thread::spawn(move || {
                let begin = timed.monotonic();
                read();
                _ = done.send(timed.monotonic() - begin);
            });
            let took = is_done.recv_timeout(HUNG);
            best = best.min(took.unwrap_or_else(|e| panic!("{what} while {meanwhile} waits for a broker: {e}")));
            if best < AT_ONCE {
                break;
            }
        }
        assert!(best < AT_ONCE, "{what} takes {best:?} while {meanwhile} waits for a broker");
    }
}

/// An engine over a gated log, served over HTTP, with a stream `s` and a table `kept` that can be looked up.
struct House {
    engine: Engine,
    gate: Arc<Gate>,
    address: String,
    runtime: Option<tokio::runtime::Runtime>,
}

impl House {
    fn open() -> House {
        let (clock, gate) = (SystemClock::shared(), Arc::<Gate>::default());
        let log = Gated { below: SimulatedLog::new(7, clock.clone()), gate: gate.clone() };
        let config = Config::new(LogConfig::Temporary);
        let engine = Engine::over(Arc::new(log), config, clock, Drive::Threads).unwrap();
        run(
            &engine,
            "CREATE STREAM s (k STRING KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);
             CREATE TABLE kept AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;
             INSERT INTO s (k, n) VALUES ('a', 1); INSERT INTO s (k, n) VALUES ('b', 2);",
        );
        let clock = SystemClock::shared();
        let end = clock.monotonic() + HUNG;
        while rows(run(&engine, "SELECT * FROM kept;")) < 2 {
            assert!(clock.monotonic() < end, "the table is not made");
            clock.sleep(Duration::from_millis(20));
        }
        assert_eq!(rows(run(&engine, LOOKUP)), 1);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let doors = Access::default().open(address).unwrap();
        runtime.spawn(serve(engine.clone(), listener, doors, std::future::pending()));
        House { engine, gate, address: address.to_string(), runtime: Some(runtime) }
    }

    /// Carries out a statement while these calls do not respond, and reads meanwhile; `stuck` = the statement waits for
    /// something, it may be another thread.
    fn reads_while(&self, sql: &'static str, calls: &'static [&'static str], stuck: impl Fn(&House)) {
        let opener = Opener(self.gate.clone());
        self.gate.close(calls);
        let engine = self.engine.clone();
        let statement = std::thread::Builder::new().name("ddl".to_owned()).spawn(move || drop(run(&engine, sql)));
        let statement = statement.unwrap();
        stuck(self);
        all_answer_at_once(&self.engine, &self.address, sql);
        assert!(!statement.is_finished(), "{sql} did not wait for the broker");
        drop(opener);
        statement.join().unwrap_or_else(|_| panic!("{sql} failed"));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.gate.open();
        self.engine.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[test]
fn readers_do_not_wait_for_a_statement_that_waits_for_a_broker() {
    let house = House::open();
    let at_the_gate = |house: &House| house.gate.until_waits("ddl");
    house.reads_while(
        "CREATE STREAM created (k STRING KEY, n INT) WITH (KAFKA_TOPIC='created', VALUE_FORMAT='JSON', PARTITIONS=1);",
        ALL,
        at_the_gate,
    );
    house.reads_while("CREATE STREAM copy AS SELECT * FROM s;", ALL, at_the_gate);
    house.reads_while("INSERT INTO s (k, n) VALUES ('a', 3);", ALL, at_the_gate);
    house.reads_while("INSERT INTO created SELECT * FROM s;", ALL, at_the_gate);
    house.reads_while("CREATE TYPE t AS STRUCT<a INT>;", ALL, at_the_gate);
    house.reads_while("PAUSE CSAS_COPY_3;", ALL, at_the_gate);
    run(&house.engine, "RESUME CSAS_COPY_3;");
    // The last steps: the command log is written, the query's thread has ended.
    house.reads_while("DROP STREAM copy DELETE TOPIC;", &["delete_topic", "topics"], at_the_gate);
    run(&house.engine, "CREATE STREAM copy AS SELECT * FROM s;");
    house.reads_while("TERMINATE ALL;", ALL, at_the_gate);
}

#[test]
fn readers_do_not_wait_for_a_query_that_ends() {
    let house = House::open();
    run(&house.engine, "CREATE STREAM copy AS SELECT * FROM s;");
    // The query's thread is in a commit that does not end, and the statement joins it.
    house.gate.close(&["commit"]);
    run(&house.engine, "INSERT INTO s (k, n) VALUES ('c', 3);");
    house.gate.until_waits("query CSAS_COPY_2");
    let ended = |house: &House| {
        let clock = SystemClock::shared();
        let end = clock.monotonic() + HUNG;
        while house.engine.queries().iter().any(|(id, _)| id == "CSAS_COPY_2") {
            assert!(clock.monotonic() < end, "TERMINATE does not come to the query");
            clock.sleep(Duration::from_millis(5));
        }
    };
    house.reads_while("TERMINATE CSAS_COPY_2;", &["commit"], ended);
}
