//! Sessions from other processes: statements, and topics for `tidegate topic`.
//!
//! The engine and the session's answers are those of this process; the guest only shows them, so that an attached prompt
//! looks as the owner's does. A session lives at the guest: it comes with each statement and goes back with the answer.

use super::protocol::{FRAMES, Frame, Hello, PROTOCOL, Reply, Request, Told, TopicCall, rows};
use crate::catalog::topics::TopicRules;
use crate::config::Config;
use crate::engine::access::{Principal, Role};
use crate::engine::introspect::names::Names;
use crate::engine::introspect::topics::{LogTopics, Tail, Topics};
use crate::engine::result::rows::{RowEvent, RowStream};
use crate::engine::session::Session;
use crate::engine::{Drive, Engine};
use crate::error::{Error, Result};
use crate::log::{Fetched, Log, RecordSet};
use crate::present::Outcome;
use crate::present::text::outcome;
use crate::serve::ksql::read_any;
use crate::serve::limits::{BODY_BYTES_MAX, STREAMS_MAX};
use crate::serve::routes::{Needs, Routes};
use crate::serve::stopping::{self, Stopping};
use crate::serve::{REQUEST, streamed};
use crate::threads;
use crate::types::cell;
use crate::types::clock::SharedClock;
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int32Builder, Int64Builder};
use arrow::datatypes::{Int32Type, Int64Type};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::response::Response;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Frames between the thread that pulls rows and the response.
const QUEUED_FRAMES: usize = 64;
/// How often a thread that waits for rows looks whether its guest is gone or this process ends.
const LOOK: Duration = Duration::from_millis(100);
/// Guests at once: each holds a connection open that tells it when the owner goes.
const GUESTS_MAX: usize = 200;
/// Largest body of records: `tidegate topic produce` sends a megabyte at once, unless one line is larger.
const RECORDS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What guests are served from: a log, and an engine over it as soon as somebody has a statement.
#[derive(Debug)]
pub(crate) struct House {
    log: Arc<dyn Log>,
    config: Config,
    clock: SharedClock,
    engine: Mutex<Option<Engine>>,
    /// The end of the process: ends streamed responses.
    stopping: Stopping,
    streams: Semaphore,
    guests: Semaphore,
}

impl House {
    /// Over a log; `engine` is the one that there is already.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        config: Config,
        clock: SharedClock,
        engine: Option<Engine>,
        stopping: Stopping,
    ) -> House {
        let (streams, guests) = (Semaphore::new(STREAMS_MAX), Semaphore::new(GUESTS_MAX));
        House { log, config, clock, engine: Mutex::new(engine), stopping, streams, guests }
    }

    /// The engine: whoever only looked at topics until now begins to run the queries.
    pub(crate) fn engine(&self) -> Result<Engine> {
        let mut engine = self.engine.lock();
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        if self.stopping.ends(false) {
            return Err(Error::new(crate::error::Kind::Busy, "the owner of the directory is ending"));
        }
        let opened = Engine::over(self.log.clone(), self.config.clone(), self.clock.clone(), Drive::Threads)?;
        Ok(engine.insert(opened).clone())
    }

    /// The engine, if there is one.
    pub(crate) fn opened(&self) -> Option<Engine> {
        self.engine.lock().clone()
    }

    /// The log.
    pub(crate) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// An error as soon as an answer has to end.
    fn check_going(&self, bounded: bool) -> Result<()> {
        if self.stopping.ends(bounded) { Err(stopping::error()) } else { Ok(()) }
    }
}

/// Statements. Bodies are bounded by whoever stands in front.
pub(crate) fn sessions() -> Routes<Arc<House>> {
    let reader = Needs::Role(Role::Reader);
    Routes::new()
        .get("/session", reader, hello)
        .get("/session/alive", reader, alive)
        .get("/session/names", reader, names)
        .post("/session/statement", reader, statement)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Topics: for whoever may read and write the directory.
pub(crate) fn topics() -> Routes<Arc<House>> {
    Routes::new().post("/topics", Needs::AllTopics(Role::Admin), topic).layer(DefaultBodyLimit::max(RECORDS_BYTES_MAX))
}

async fn hello(State(house): State<Arc<House>>) -> axum::Json<Hello> {
    axum::Json(Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        log: house.log.describe(),
        service_id: house.config.service_id.clone(),
        properties: house.config.properties.clone(),
    })
}

/// An answer without end: it breaks off when this process ends, and the guest knows at once.
async fn alive(State(house): State<Arc<House>>) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let Ok(_place) = house.guests.try_acquire() else { return };
        // A guest that hears nothing does not know that it was let in.
        let _ = sender.send(Bytes::from_static(b"+")).await;
        tokio::select! {
            () = house.stopping.ended(false) => {}
            () = sender.closed() => {}
        }
    });
    streamed(FRAMES, receiver)
}

async fn names(State(house): State<Arc<House>>, Extension(principal): Extension<Principal>) -> axum::Json<Names> {
    let session = Session::of(principal);
    let listed = tokio::task::spawn_blocking(move || house.engine().map(|e| e.names(&session)).unwrap_or_default());
    axum::Json(listed.await.unwrap_or_default())
}

/// Where the frames of one answer go.
struct Sender(mpsc::Sender<Bytes>);

impl Sender {
    /// False = nobody listens any more.
    fn send(&self, frame: &Frame) -> bool {
        self.sized(frame).is_some()
    }

    /// The same, and how many bytes it took.
    fn sized(&self, frame: &Frame) -> Option<usize> {
        let bytes = frame.encode().or_else(|e| Frame::Failed(e).encode()).ok()?;
        let size = bytes.len();
        self.0.blocking_send(Bytes::from(bytes)).ok().map(|()| size)
    }

    /// The guest has gone.
    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Answers with the frames that `work` sends, or with why it failed.
fn answered(work: impl FnOnce(&Sender) -> Result<()> + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(QUEUED_FRAMES);
    tokio::task::spawn_blocking(move || {
        let sender = Sender(sender);
        if let Err(e) = threads::guard(REQUEST, "", || work(&sender)).flatten() {
            sender.send(&Frame::Failed(e));
        }
    });
    streamed(FRAMES, receiver)
}

async fn statement(
    State(house): State<Arc<House>>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Response {
    answered(move |sender| carry_out(&house, principal, read_any(&body)?, sender))
}

fn carry_out(house: &House, principal: Principal, request: Request, sender: &Sender) -> Result<()> {
    let engine = house.engine()?;
    let mut session = Session::of(principal).with_properties(request.properties)?;
    for (name, value) in &request.variables {
        session.define(name, value);
    }
    let parsed = engine.parse(&request.text, &session)?;
    let answer = match parsed.as_slice() {
        [] => Outcome::Many(Vec::new()),
        [statement] => outcome(engine.execute(statement, &mut session)?),
        _ => return Err(Error::statement(format!("expected one statement, got {}", parsed.len()))),
    };
    let reply = Reply {
        answer: Told::of(&answer),
        properties: session.properties().clone(),
        variables: session.variables().clone(),
    };
    let Outcome::Rows(rows) = answer else {
        sender.send(&Frame::Reply(Box::new(reply)));
        return Ok(());
    };
    let _place = place(house)?;
    if sender.send(&Frame::Reply(Box::new(reply))) {
        pump(house, rows, sender)?;
    }
    Ok(())
}

fn place(house: &House) -> Result<tokio::sync::SemaphorePermit<'_>> {
    house.streams.try_acquire().map_err(|_| {
        Error::new(crate::error::Kind::Busy, format!("{STREAMS_MAX} queries are being read already"))
            .with_hint("end one of them")
    })
}

/// Sends rows until the query ends, the guest leaves or this process ends.
fn pump(house: &House, mut stream: Box<dyn RowStream>, sender: &Sender) -> Result<()> {
    let bounded = stream.is_bounded();
    let _held = house.stopping.answer(bounded);
    let (mut notice, mut scanned) = (None, None);
    loop {
        house.check_going(bounded)?;
        let event = stream.next(LOOK)?;
        let read = stream.scanned();
        if read != scanned {
            scanned = read;
            if !read.is_none_or(|read| sender.send(&Frame::Scanned(read))) {
                return Ok(());
            }
        }
        let now = stream.notice();
        if now != notice {
            notice.clone_from(&now);
            if !sender.send(&Frame::Notice(now)) {
                return Ok(());
            }
        }
        match event {
            RowEvent::Rows { columns, tombstones } => {
                let settled: Vec<_> =
                    columns.iter().zip(stream.columns()).map(|(a, c)| cell::settled(a, &c.ty)).collect();
                match sender.sized(&Frame::Rows { columns: settled, tombstones }) {
                    Some(bytes) => stream.sent(bytes),
                    None => return Ok(()),
                }
            }
            RowEvent::Idle if sender.is_closed() => return Ok(()),
            RowEvent::Idle => {}
            RowEvent::Done(why) => {
                sender.send(&Frame::Done(why));
                return Ok(());
            }
        }
    }
}

async fn topic(State(house): State<Arc<House>>, Extension(principal): Extension<Principal>, body: Bytes) -> Response {
    answered(move |sender| {
        // One line says what to do; records may follow.
        let end = memchr::memchr(b'\n', &body).unwrap_or(body.len());
        let call: TopicCall = read_any(&body[..end])?;
        let topics = LogTopics::new(house.log.clone(), Arc::new(TopicRules::of(&house.config)?));
        allowed(&house, &principal, &call)?;
        let value = match call {
            TopicCall::All => serde_json::json!(topics.all()?),
            TopicCall::Partitions(topic) => serde_json::json!(topics.partitions(&topic)?),
            TopicCall::Create(topic, partitions) => serde_json::json!(topics.create(&topic, partitions)?),
            TopicCall::DeleteRecords(topic, partition, before) => {
                serde_json::json!(topics.delete_records(&topic, partition, before)?)
            }
            TopicCall::Append(topic) => {
                let records = records(body.get(end + 1..).unwrap_or_default())?;
                serde_json::json!(topics.append(&topic, &records)?)
            }
            TopicCall::Print { topic, from_beginning } => {
                let _place = place(&house)?;
                return print(&house, topics.tail(&topic, from_beginning)?, sender);
            }
        };
        sender.send(&Frame::Done(Some(value.to_string())));
        Ok(())
    })
}

/// Changes to topics are recorded, and refused where nothing may be changed.
fn allowed(house: &House, principal: &Principal, call: &TopicCall) -> Result<()> {
    let (what, topic) = match call {
        TopicCall::All | TopicCall::Partitions(_) | TopicCall::Print { .. } => return Ok(()),
        TopicCall::Create(topic, _) => ("create", topic),
        TopicCall::DeleteRecords(topic, ..) => ("delete records", topic),
        TopicCall::Append(topic) => ("append", topic),
    };
    // Without an engine there are neither statements nor users yet.
    let Some(engine) = house.opened() else { return Ok(()) };
    let done = engine.require(principal, Role::Writer, &format!("tidegate topic: {what}"));
    let details = serde_json::json!({ "what": what, "topic": topic });
    engine.audit().note("topic", principal, details, done.as_ref().copied());
    done
}

fn print(house: &House, mut tail: Box<dyn Tail>, sender: &Sender) -> Result<()> {
    let mut told = false;
    let _held = house.stopping.answer(false);
    while !sender.is_closed() {
        house.check_going(false)?;
        let fetched = tail.poll(LOOK)?;
        let frame = match fetched.is_empty() {
            false => Frame::Rows { columns: columns(&fetched), tombstones: Vec::new() },
            true if tail.at_end() && !told => Frame::AtEnd,
            true => continue,
        };
        told = matches!(frame, Frame::AtEnd);
        if !sender.send(&frame) {
            break;
        }
    }
    Ok(())
}

/// Partition, offset, timestamp, key and value of each record.
fn columns(fetched: &Fetched) -> Vec<ArrayRef> {
    let (mut partitions, mut offsets, mut times) = (Int32Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    for run in fetched.runs() {
        run.for_each(|r| {
            partitions.append_value(run.slot as i32);
            offsets.append_value(r.offset);
            times.append_value(r.timestamp);
            keys.append_option(r.key);
            values.append_option(r.value);
        });
    }
    vec![
        Arc::new(partitions.finish()),
        Arc::new(offsets.finish()),
        Arc::new(times.finish()),
        Arc::new(keys.finish()),
        Arc::new(values.finish()),
    ]
}

/// Partition, timestamp, key and value of each record.
fn records(body: &[u8]) -> Result<RecordSet> {
    let wrong = || Error::statement("these are no records");
    let (columns, _) = rows(body)?;
    let [partitions, times, keys, values] = columns.as_slice() else { return Err(wrong()) };
    let partitions = partitions.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?;
    let times = times.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let (keys, values) =
        (keys.as_binary_opt::<i32>().ok_or_else(wrong)?, values.as_binary_opt::<i32>().ok_or_else(wrong)?);
    let mut records = RecordSet::default();
    for row in 0..partitions.len() {
        let key = keys.is_valid(row).then(|| keys.value(row));
        let value = values.is_valid(row).then(|| values.value(row));
        records.push(partitions.value(row), times.value(row), key, value);
    }
    Ok(records)
}
