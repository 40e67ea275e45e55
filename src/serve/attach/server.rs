//! The endpoints for attached processes: statements, and topics for `tidegate topic`.
//!
//! Statements run on this process's engine; the attached one only shows the results, so that its prompt looks like the
//! owner's. The session belongs to the client: it comes with each statement, and its new state goes back with the reply.

use super::protocol::{FRAMES, Frame, PROTOCOL, Reply, ReplyBody, ServerInfo, StatementRequest, TopicRequest, rows};
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
use crate::present::text::outcome as present;
use crate::serve::ksql::read_any;
use crate::serve::limits::{BODY_BYTES_MAX, STREAMS_MAX};
use crate::serve::routes::{Needs, Routes};
use crate::serve::stopping::{self, Stopping};
use crate::serve::{REQUEST, error, on_thread, streamed};
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
/// How often a thread that waits for rows checks whether its client has disconnected or this process ends.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Attached processes at once: each holds a connection open, and learns by its end that the owner has ended.
const ATTACHED_MAX: usize = 200;
/// Largest body of records: `tidegate topic produce` sends a megabyte at once, unless one line is larger.
const RECORDS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What attached processes work on: a log, and an engine over it from the first statement on.
#[derive(Debug)]
pub(crate) struct AttachService {
    log: Arc<dyn Log>,
    config: Config,
    clock: SharedClock,
    engine: Mutex<Option<Engine>>,
    /// Ends streamed responses when the process ends.
    stopping: Stopping,
    streams: Semaphore,
    attached: Semaphore,
}

impl AttachService {
    /// Over a log; `engine` is given where it runs already.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        config: Config,
        clock: SharedClock,
        engine: Option<Engine>,
        stopping: Stopping,
    ) -> AttachService {
        let (streams, attached) = (Semaphore::new(STREAMS_MAX), Semaphore::new(ATTACHED_MAX));
        AttachService { log, config, clock, engine: Mutex::new(engine), stopping, streams, attached }
    }

    /// The engine, which is opened by the first call: from then on this process runs the queries.
    pub(crate) fn engine(&self) -> Result<Engine> {
        let mut engine = self.engine.lock();
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        if self.stopping.ends(false) {
            return Err(Error::new(crate::error::Kind::Busy, "the owner of the data directory is shutting down"));
        }
        let opened = Engine::over(self.log.clone(), self.config.clone(), self.clock.clone(), Drive::Threads)?;
        Ok(engine.insert(opened).clone())
    }

    /// The engine, if it is open.
    pub(crate) fn opened(&self) -> Option<Engine> {
        self.engine.lock().clone()
    }

    /// The log.
    pub(crate) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// An error as soon as a response has to end.
    fn check_going(&self, bounded: bool) -> Result<()> {
        if self.stopping.ends(bounded) { Err(stopping::error()) } else { Ok(()) }
    }
}

/// Routes for statements.
pub(crate) fn sessions() -> Routes<Arc<AttachService>> {
    let reader = Needs::Role(Role::Reader);
    Routes::new()
        .get("/session", reader, hello)
        .get("/session/alive", reader, alive)
        .get("/session/names", reader, names)
        .post("/session/check", reader, check)
        .post("/session/statement", reader, statement)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Routes for topics: for those who may do anything with all of them, as a process beside the directory can.
pub(crate) fn topics() -> Routes<Arc<AttachService>> {
    Routes::new().post("/topics", Needs::AllTopics(Role::Admin), topic).layer(DefaultBodyLimit::max(RECORDS_BYTES_MAX))
}

async fn hello(State(service): State<Arc<AttachService>>) -> axum::Json<ServerInfo> {
    axum::Json(ServerInfo {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        log: service.log.describe(),
        service_id: service.config.service_id.clone(),
        properties: service.config.properties.clone(),
    })
}

/// A response without end: it is cut off when this process ends, which the client notices at once.
async fn alive(State(service): State<Arc<AttachService>>) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let Ok(_permit) = service.attached.try_acquire() else { return };
        // Confirms to the client that it has a place.
        let _ = sender.send(Bytes::from_static(b"+")).await;
        tokio::select! {
            () = service.stopping.ended(false) => {}
            () = sender.closed() => {}
        }
    });
    streamed(FRAMES, receiver)
}

async fn names(
    State(service): State<Arc<AttachService>>,
    Extension(principal): Extension<Principal>,
) -> axum::Json<Names> {
    let session = Session::of(principal);
    let listed = on_thread(move || service.engine().map(|e| e.names(&session)).unwrap_or_default());
    axum::Json(match listed {
        Ok(listed) => listed.await.unwrap_or_default(),
        Err(_) => Names::default(),
    })
}

/// Sends the frames of one response.
pub(super) struct FrameSender(mpsc::Sender<Bytes>);

impl FrameSender {
    /// False = the client has disconnected.
    pub(super) fn send(&self, frame: &Frame) -> bool {
        self.sized(frame).is_some()
    }

    /// The same; returns the size of the frame in bytes.
    fn sized(&self, frame: &Frame) -> Option<usize> {
        let bytes = frame.encode().or_else(|e| Frame::Failed(e).encode()).ok()?;
        let size = bytes.len();
        self.0.blocking_send(Bytes::from(bytes)).ok().map(|()| size)
    }

    /// The client has disconnected.
    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Responds with the frames that `work` sends, and with its error if it fails.
pub(super) fn framed(work: impl FnOnce(&FrameSender) -> Result<()> + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(QUEUED_FRAMES);
    let started = on_thread(move || {
        let sender = FrameSender(sender);
        if let Err(e) = threads::guard(REQUEST, "", || work(&sender)).flatten() {
            sender.send(&Frame::Failed(e));
        }
    });
    match started {
        Ok(_) => streamed(FRAMES, receiver),
        Err(busy) => error::response(&busy, None),
    }
}

async fn statement(
    State(service): State<Arc<AttachService>>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Response {
    framed(move |sender| execute(&service, principal, read_any(&body)?, sender))
}

/// Checks a file to its end, without effect.
async fn check(
    State(service): State<Arc<AttachService>>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Response {
    framed(move |sender| {
        let request: StatementRequest = read_any(&body)?;
        let session = session(principal, &request)?;
        for diagnostic in service.engine()?.check_whole(&request.text, &session).diagnostics {
            sender.send(&Frame::Failed(diagnostic.error()));
        }
        sender.send(&Frame::Done(None));
        Ok(())
    })
}

fn session(principal: Principal, request: &StatementRequest) -> Result<Session> {
    let mut session = Session::of(principal).with_properties(request.properties.clone())?;
    for (name, value) in &request.variables {
        session.define(name, value);
    }
    Ok(session)
}

fn execute(
    service: &AttachService,
    principal: Principal,
    request: StatementRequest,
    sender: &FrameSender,
) -> Result<()> {
    let engine = service.engine()?;
    let mut session = session(principal, &request)?;
    let parsed = engine.parse(&request.text, &session)?;
    let outcome = match parsed.as_slice() {
        [] => Outcome::Many(Vec::new()),
        [statement] => present(engine.execute(statement, &mut session)?),
        _ => return Err(Error::statement(format!("expected one statement, got {}", parsed.len()))),
    };
    let reply = Reply {
        result: ReplyBody::of(&outcome),
        properties: session.properties().clone(),
        variables: session.variables().clone(),
    };
    let Outcome::Rows(rows) = outcome else {
        sender.send(&Frame::Reply(Box::new(reply)));
        return Ok(());
    };
    let _permit = stream_permit(service)?;
    if sender.send(&Frame::Reply(Box::new(reply))) {
        pump(service, rows, sender)?;
    }
    Ok(())
}

pub(super) fn stream_permit(service: &AttachService) -> Result<tokio::sync::SemaphorePermit<'_>> {
    service.streams.try_acquire().map_err(|_| {
        Error::new(crate::error::Kind::Busy, format!("the limit of {STREAMS_MAX} streamed results is reached"))
            .with_hint("close one of them")
    })
}

/// Sends rows until the query ends, the client disconnects or this process ends.
pub(super) fn pump(service: &AttachService, mut stream: Box<dyn RowStream>, sender: &FrameSender) -> Result<()> {
    let bounded = stream.is_bounded();
    let _held = service.stopping.answer(bounded);
    let (mut notice, mut scanned) = (None, None);
    loop {
        service.check_going(bounded)?;
        let event = stream.next(POLL_INTERVAL)?;
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

async fn topic(
    State(service): State<Arc<AttachService>>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Response {
    framed(move |sender| {
        // The first line is the request; records may follow.
        let end = memchr::memchr(b'\n', &body).unwrap_or(body.len());
        let call: TopicRequest = read_any(&body[..end])?;
        let topics = LogTopics::new(service.log.clone(), Arc::new(TopicRules::of(&service.config)?));
        allowed(&service, &principal, &call)?;
        let value = match call {
            TopicRequest::All => serde_json::json!(topics.all()?),
            TopicRequest::Partitions(topic) => serde_json::json!(topics.partitions(&topic)?),
            TopicRequest::Create(topic, partitions, config) => {
                serde_json::json!(topics.create(&topic, partitions, &config)?)
            }
            TopicRequest::Describe(topic) => serde_json::json!(topics.describe(&topic)?),
            TopicRequest::Alter(topic, changes) => serde_json::json!(topics.alter(&topic, &changes)?),
            TopicRequest::Delete(topic) => serde_json::json!(topics.delete(&topic)?),
            TopicRequest::DeleteRecords(topic, partition, before) => {
                serde_json::json!(topics.delete_records(&topic, partition, before)?)
            }
            TopicRequest::Append(topic) => {
                let records = records(body.get(end + 1..).unwrap_or_default())?;
                serde_json::json!(topics.append(&topic, &records)?)
            }
            TopicRequest::Write(target, lines) => {
                let session = Session::of(principal);
                serde_json::json!(service.engine()?.write_lines(&target, &lines, &session)?)
            }
            TopicRequest::Print { topic, from } => {
                let _permit = stream_permit(&service)?;
                return print(&service, topics.tail(&topic, from)?, sender);
            }
        };
        sender.send(&Frame::Done(Some(value.to_string())));
        Ok(())
    })
}

/// Checks and audits changes to topics.
fn allowed(service: &AttachService, principal: &Principal, call: &TopicRequest) -> Result<()> {
    let (what, topic) = match call {
        TopicRequest::All | TopicRequest::Partitions(_) | TopicRequest::Describe(_) | TopicRequest::Print { .. } => {
            return Ok(());
        }
        TopicRequest::Create(topic, ..) => ("create", topic),
        TopicRequest::Alter(topic, _) => ("alter", topic),
        TopicRequest::Delete(topic) => ("delete", topic),
        TopicRequest::DeleteRecords(topic, ..) => ("delete records", topic),
        TopicRequest::Append(topic) => ("append", topic),
        TopicRequest::Write(target, _) => ("write into", target),
    };
    // Without an engine there are neither users nor an audit log.
    let Some(engine) = service.opened() else { return Ok(()) };
    let done = engine.require(principal, Role::Writer, &format!("tidegate topic: {what}"));
    let details = serde_json::json!({ "what": what, "topic": topic });
    engine.audit().note("topic", principal, details, done.as_ref().copied());
    done
}

fn print(service: &AttachService, mut tail: Box<dyn Tail>, sender: &FrameSender) -> Result<()> {
    let mut end_sent = false;
    let _held = service.stopping.answer(false);
    while !sender.is_closed() {
        service.check_going(false)?;
        let fetched = tail.poll(POLL_INTERVAL)?;
        let frame = match fetched.is_empty() {
            false => Frame::Rows { columns: columns(&fetched), tombstones: Vec::new() },
            true if tail.at_end() && !end_sent => Frame::AtEnd,
            true => continue,
        };
        end_sent = matches!(frame, Frame::AtEnd);
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

/// Partition, timestamp, key, value and headers of each record.
fn records(body: &[u8]) -> Result<RecordSet> {
    let wrong = || Error::statement("the body does not contain records");
    let (columns, _) = rows(body)?;
    let [partitions, times, keys, values, headers] = columns.as_slice() else { return Err(wrong()) };
    let partitions = partitions.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?;
    let times = times.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let (keys, values) =
        (keys.as_binary_opt::<i32>().ok_or_else(wrong)?, values.as_binary_opt::<i32>().ok_or_else(wrong)?);
    let headers = headers.as_string_opt::<i32>().ok_or_else(wrong)?;
    let mut records = RecordSet::default();
    for row in 0..partitions.len() {
        let key = keys.is_valid(row).then(|| keys.value(row));
        let value = values.is_valid(row).then(|| values.value(row));
        records.push(partitions.value(row), times.value(row), key, value);
        if headers.is_valid(row) {
            records.headers.push((row as u32, read_any(headers.value(row).as_bytes())?));
        }
    }
    Ok(records)
}
