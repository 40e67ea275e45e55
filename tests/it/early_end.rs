//! A reader that panics, or whose records are deleted before it comes to them: the result that it was read for fails, and nobody
//! takes what came of it for the whole.

use crate::log_below::log_below;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Result;
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Assignment, Fetched, Isolation, Log, Reader, RecordSet, TopicPartition};
use tidegate::serve::{Access, serve};
use tidegate::types::clock::{ManualClock, SystemClock};

const PATIENCE: Duration = Duration::from_secs(30);
/// Records of the topic. The reader panics behind half of them: more than a batch over history and a round of a continuous query.
const RECORDS: i64 = 40_000;
const CREATE: &str = "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);";

/// What happens in the middle of the topic.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The reader panics.
    Panic,
    /// All records but the last ten are deleted.
    Delete,
}

/// A log with a fault in the middle of its topic, once that is switched on.
#[derive(Debug)]
struct Trap {
    below: Arc<SimulatedLog>,
    fault: Fault,
    set: Arc<AtomicBool>,
}

#[derive(Debug)]
struct TrapReader {
    below: Box<dyn Reader>,
    log: Arc<SimulatedLog>,
    fault: Fault,
    set: Arc<AtomicBool>,
}

impl Reader for TrapReader {
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched> {
        if self.set.load(Ordering::SeqCst) && self.below.position(0) >= RECORDS / 2 {
            assert!(self.fault == Fault::Delete, "seeded: the reader panics");
            self.log.delete_records(&TopicPartition::new("s", 0), RECORDS - 10)?;
        }
        self.below.poll(max_records.min(4_096), timeout)
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

impl Log for Trap {
    log_below!();

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        let below = self.below.reader(assignment, isolation)?;
        Ok(Box::new(TrapReader { below, log: self.below.clone(), fault: self.fault, set: self.set.clone() }))
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.below.append(topic, records)
    }
}

/// An engine over twenty thousand numbers, which cannot be read to their end from now on.
fn trapped(fault: Fault) -> Engine {
    let set = Arc::<AtomicBool>::default();
    let log = Trap { below: SimulatedLog::new(1, ManualClock::at(0)), fault, set: set.clone() };
    let config = Config::new(LogConfig::Temporary);
    let engine = Engine::over(Arc::new(log), config, SystemClock::shared(), Drive::Threads).unwrap();
    engine.run(CREATE, &mut Session::default()).unwrap();
    let mut records = RecordSet::default();
    for n in 0..RECORDS {
        records.push(0, n, None, Some(format!("{{\"N\":{n}}}").as_bytes()));
    }
    engine.log().append("s", &records).unwrap();
    set.store(true, Ordering::SeqCst);
    engine
}

fn earliest() -> Session {
    let property = ("auto.offset.reset".to_owned(), "earliest".to_owned());
    Session::default().with_properties([property]).unwrap()
}

/// The error that the answer ends with.
fn failure(engine: &Engine, sql: &str) -> String {
    let mut rows = match engine.run(sql, &mut earliest()).unwrap().pop() {
        Some(Answer::Rows(rows)) => rows,
        other => panic!("{other:?}"),
    };
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    loop {
        assert!(clock.monotonic() < end, "{sql}");
        match rows.next(Duration::from_secs(1)) {
            Ok(RowEvent::Done(why)) => panic!("{sql}: a part was taken for the whole: {why:?}"),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

#[test]
fn an_answer_whose_thread_panics_fails() {
    let engine = trapped(Fault::Panic);
    for sql in ["SELECT n FROM s;", "SELECT n FROM s WHERE n >= 0 ORDER BY n;", "SELECT n FROM s EMIT CHANGES;"] {
        let error = failure(&engine, sql);
        assert!(error.contains("panicked: seeded"), "{sql}: {error}");
    }
}

#[test]
fn an_answer_whose_records_are_deleted_before_they_are_read_fails() {
    let join = "SELECT s.n FROM s INNER JOIN t WITHIN 1 SECONDS GRACE PERIOD 1 SECONDS ON s.n = t.n;";
    for sql in ["SELECT n FROM s;", "SELECT COUNT(*) AS c FROM s GROUP BY n;", "SELECT n FROM s ORDER BY n;", join] {
        let engine = trapped(Fault::Delete);
        engine.run(&CREATE.replace("STREAM s", "STREAM t"), &mut Session::default()).unwrap();
        let error = failure(&engine, sql);
        assert!(error.contains("records of topic s were deleted while they were read"), "{sql}: {error}");
    }
}

#[test]
fn a_response_whose_thread_panics_breaks_off() {
    let engine = trapped(Fault::Panic);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
    let address = listener.local_addr().unwrap();
    let doors = Access::default().open(address).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = runtime.spawn(serve(engine.clone(), listener, doors, async {
        let _ = stopped.await;
    }));
    for sql in ["SELECT n FROM s;", "SELECT n FROM s EMIT CHANGES;"] {
        let properties = json!({ "auto.offset.reset": "earliest" });
        let body = json!({ "sql": sql, "properties": properties }).to_string();
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("host: localhost\r\ncontent-length: {}", body.len());
        write!(socket, "POST /query-stream HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("[4095]"), "{sql}: rows came");
        assert!(answer.contains("panicked: seeded"), "{sql}: and then an error");
        assert!(!answer.ends_with("0\r\n\r\n"), "{sql}: and no last chunk");
    }
    drop(stop);
    runtime.block_on(served).unwrap().unwrap();
    engine.close();
}
