//! The other side of the owner's socket, and of a server's port: statements and topic commands are sent, answers come back as if
//! they were made here.
//!
//! Every call has a connection and a small runtime of its own, so that letting go of an answer closes its connection, which
//! is how the other side knows that nobody reads any more.

use super::connection::Line;
use super::owner::Announcement;
use super::protocol::{Frame, Frames, Hello, PROTOCOL, Request, Told, TopicCall, output_columns, put_rows};
use super::tls_client::{Secure, TlsFiles, hint};
use crate::engine::introspect::names::Names;
use crate::engine::introspect::topics::{Tail, TopicLine, Topics};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream, Scanned};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::log::{Fetched, OwnedRecord, RecordSet};
use crate::present::Outcome;
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int32Array, Int64Array};
use arrow::datatypes::{Int32Type, Int64Type};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, StatusCode};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Largest answer that is no frame: who the owner is, names.
const PLAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Somebody who carries out statements.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    line: Line,
    /// What proves who asks: the value of its header.
    authorization: Option<String>,
    /// What it is called in messages.
    name: String,
    pub(crate) hello: Hello,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody is there: nothing was done.
    Gone(Error),
    /// It failed, or nobody knows.
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Failed(error)
    }
}

impl Trouble {
    pub(crate) fn error(self) -> Error {
        match self {
            Trouble::Gone(e) | Trouble::Failed(e) => e,
        }
    }
}

/// An answer that is being read.
struct Call {
    runtime: Runtime,
    body: Incoming,
    frames: Frames,
    name: String,
    /// Keeps the connection up.
    _sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Attaches to the owner of a data directory.
    pub(crate) fn attach(announcement: &Announcement, directory: &Path) -> Result<Client, Trouble> {
        let name = format!("the tidegate that owns {} (pid {})", directory.display(), announcement.pid);
        Client::open(Line::Socket(directory.join(&announcement.socket)), None, name)
    }

    /// Connects to the server that `url` names, which listens at `address` (`host:port`).
    pub(crate) fn connect(
        url: &str,
        address: String,
        authorization: Option<String>,
        files: &TlsFiles,
    ) -> Result<Client> {
        let secure = url.starts_with("https://").then(|| Secure::new(&address, files)).transpose()?;
        let name = format!("the server at {url}");
        Client::open(Line::Network(address, secure), authorization, name).map_err(Trouble::error)
    }

    fn open(line: Line, authorization: Option<String>, name: String) -> Result<Client, Trouble> {
        let mut client = Client { line, authorization, name, hello: Hello::default() };
        let body = client.call(Method::GET, "/session", Bytes::new())?.plain()?;
        client.hello = serde_json::from_slice(&body)
            .map_err(|e| Error::io(format!("{} is no tidegate that this one understands", client.name)).because(e))?;
        if client.hello.protocol != PROTOCOL {
            let theirs = &client.hello.version;
            return Err(Trouble::Failed(
                Error::new(Kind::Busy, format!("{} is tidegate {theirs}, this one cannot talk to it", client.name))
                    .with_hint("use one version, or end the other one first"),
            ));
        }
        Ok(client)
    }

    /// A session in which what the other side does otherwise is as it is here (a server starts reading at `latest`).
    pub(crate) fn session(&self, here: &BTreeMap<String, String>) -> Result<Session> {
        let differs = |(name, value): &(&String, &String)| self.hello.properties.get(*name) != Some(value);
        Session::default()
            .with_properties(here.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())))
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Carries out one statement there; answers what it answered and the session as it is then.
    pub(crate) fn statement(&self, text: &str, session: &Session) -> Result<(Outcome, Session), Trouble> {
        let request = Request {
            text: text.to_owned(),
            properties: session.properties().clone(),
            variables: session.variables().clone(),
        };
        let mut call = self.post("/session/statement", &request)?;
        let reply = match call.next(None)? {
            Some(Frame::Reply(reply)) => reply,
            Some(Frame::Failed(error)) => return Err(Trouble::Failed(error)),
            _ => return Err(Trouble::Failed(call.broken("whether the statement was carried out is not known"))),
        };
        let mut session = Session::default().with_properties(reply.properties)?;
        for (name, value) in &reply.variables {
            session.define(name, value);
        }
        let outcome = match reply.answer {
            Told::Rows { id, bounded, when_empty, columns } => {
                let columns = output_columns(columns);
                Outcome::Rows(Box::new(Rows { columns, id, bounded, when_empty, notice: None, scanned: None, call }))
            }
            told => told.outcome()?,
        };
        Ok((outcome, session))
    }

    /// What statements can name.
    pub(crate) fn names(&self) -> Names {
        let body = self.call(Method::GET, "/session/names", Bytes::new()).and_then(Call::plain);
        body.ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
    }

    /// Waits until the other side has gone; `false` = it does not take us in, and nobody knows when it goes.
    pub(crate) fn wait_until_gone(&self) -> bool {
        let Ok(call) = self.call(Method::GET, "/session/alive", Bytes::new()) else { return true };
        let Call { runtime, mut body, _sender, .. } = call;
        let mut taken_in = false;
        while let Some(Ok(_)) = runtime.block_on(body.frame()) {
            taken_in = true;
        }
        taken_in
    }

    fn topic(&self, call: &TopicCall, records: Option<&RecordSet>) -> Result<Call> {
        let mut body = json(call)?;
        if let Some(records) = records {
            body.push(b'\n');
            put_rows(&columns(records), &[], &mut body)?;
        }
        self.call(Method::POST, "/topics", Bytes::from(body)).map_err(Trouble::error)
    }

    fn topic_answer<T: for<'a> serde::Deserialize<'a>>(
        &self,
        call: &TopicCall,
        records: Option<&RecordSet>,
    ) -> Result<T> {
        let mut call = self.topic(call, records)?;
        match call.next(None)? {
            Some(Frame::Done(Some(text))) => {
                serde_json::from_str(&text).map_err(|e| call.broken("the answer is not understood").because(e))
            }
            Some(Frame::Failed(error)) => Err(error),
            _ => Err(call.broken("whether it was done is not known")),
        }
    }

    fn post(&self, path: &str, request: &impl serde::Serialize) -> Result<Call, Trouble> {
        self.call(Method::POST, path, Bytes::from(json(request)?))
    }

    fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Call, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::from)?;
        let request = hyper::Request::builder().method(method).uri(path).header(HOST, self.line.host());
        let request = match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        };
        let request = request
            .body(Full::new(body))
            .map_err(|e| Error::statement(format!("{} cannot be asked", self.name)).because(e))?;
        let (sender, response) = runtime.block_on(async {
            let mut sender = self.line.connect().await.map_err(|e| self.lost(e))?;
            let response =
                sender.send_request(request).await.map_err(|e| match e.is_canceled() || hint(&e).is_some() {
                    true => self.lost(e.into()),
                    false => Trouble::Failed(self.broken("whether it was done is not known").because(e)),
                })?;
            Ok::<_, Trouble>((sender, response))
        })?;
        let status = response.status();
        let name = self.name.clone();
        let call = Call { runtime, body: response.into_body(), frames: Frames::default(), name, _sender: sender };
        match status {
            StatusCode::OK => Ok(call),
            StatusCode::UNAUTHORIZED => Err(Trouble::Failed(self.unknown())),
            status => {
                let text = String::from_utf8_lossy(&call.plain()?).into_owned();
                let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let said = body["message"].as_str().unwrap_or(&text).to_owned();
                Err(Trouble::Failed(Error::io(format!("{} answered {status}", self.name)).with_detail(said)))
            }
        }
    }

    /// The other side does not know who asks.
    fn unknown(&self) -> Error {
        match &self.authorization {
            None => Error::io(format!("{} wants to know who asks", self.name)).with_hint(
                "name a user with --user and the password in TIDEGATE_PASSWORD, or a token in TIDEGATE_TOKEN",
            ),
            Some(with) if with.starts_with("Basic") => {
                Error::io(format!("{} knows no user with this name and password", self.name))
                    .with_hint("the name is in --user or TIDEGATE_USER, the password in TIDEGATE_PASSWORD")
            }
            Some(_) => {
                Error::io(format!("{} does not know this token", self.name)).with_hint("it is in TIDEGATE_TOKEN")
            }
        }
    }

    /// There is no connection; nothing was done.
    fn lost(&self, cause: Box<dyn std::error::Error + Send + Sync>) -> Trouble {
        if let Some(hint) = hint(&*cause) {
            let error = Error::io(format!("no trusted connection to {}", self.name)).with_detail(cause.to_string());
            return Trouble::Failed(error.with_hint(hint));
        }
        let error = Error::io(format!("{} does not answer", self.name)).with_detail(cause.to_string());
        Trouble::Gone(error.because(cause))
    }

    fn broken(&self, what: &str) -> Error {
        Error::io(format!("{} ended before its answer did", self.name)).with_detail(what)
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::bug("a request cannot be written").because(e))
}

impl Call {
    /// The next frame, waiting at most so long; `None` = nothing came in time.
    fn next(&mut self, wait: Option<Duration>) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.frames.take()? {
                return Ok(Some(frame));
            }
            let body = &mut self.body;
            let came = match wait {
                None => self.runtime.block_on(body.frame()),
                Some(wait) => match self.runtime.block_on(async { timeout(wait, body.frame()).await }) {
                    Ok(came) => came,
                    Err(_) => return Ok(None),
                },
            };
            match came {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.frames.push(&bytes);
                    }
                }
                Some(Err(e)) => return Err(self.broken("the connection broke").because(e)),
                None => return Err(self.broken("the answer has no end")),
            }
        }
    }

    /// The whole body.
    fn plain(mut self) -> Result<Vec<u8>, Trouble> {
        let mut all = Vec::new();
        while let Some(frame) = self.runtime.block_on(self.body.frame()) {
            let frame = frame.map_err(|e| self.broken("the connection broke").because(e))?;
            if let Ok(bytes) = frame.into_data() {
                all.extend_from_slice(&bytes);
            }
            if all.len() > PLAIN_BYTES_MAX {
                return Err(Trouble::Failed(Error::io(format!("{} says too much", self.name))));
            }
        }
        Ok(all)
    }

    fn broken(&self, what: &str) -> Error {
        Error::io(format!("{} ended before its answer did", self.name)).with_detail(what).with_hint("ask again")
    }
}

/// Rows that come from there.
struct Rows {
    columns: Vec<OutputColumn>,
    id: Option<String>,
    bounded: bool,
    when_empty: Option<String>,
    notice: Option<String>,
    scanned: Option<Scanned>,
    call: Call,
}

impl RowStream for Rows {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn when_empty(&self) -> Option<&str> {
        self.when_empty.as_deref()
    }

    fn scanned(&self) -> Option<Scanned> {
        self.scanned
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        loop {
            return match self.call.next(Some(timeout))? {
                None => Ok(RowEvent::Idle),
                Some(Frame::Rows { columns, tombstones }) => Ok(RowEvent::Rows { columns, tombstones }),
                Some(Frame::Done(why)) => Ok(RowEvent::Done(why)),
                Some(Frame::Failed(error)) => Err(error),
                Some(Frame::Notice(text)) => {
                    self.notice = text;
                    continue;
                }
                Some(Frame::Scanned(scanned)) => {
                    self.scanned = Some(scanned);
                    continue;
                }
                Some(Frame::Reply(_) | Frame::AtEnd) => continue,
            };
        }
    }

    fn notice(&self) -> Option<String> {
        self.notice.clone()
    }
}

impl Topics for Client {
    fn all(&self) -> Result<Vec<TopicLine>> {
        self.topic_answer(&TopicCall::All, None)
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.topic_answer(&TopicCall::Partitions(topic.to_owned()), None)
    }

    fn create(&self, topic: &str, partitions: u32) -> Result<()> {
        self.topic_answer(&TopicCall::Create(topic.to_owned(), partitions), None)
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.topic_answer(&TopicCall::Append(topic.to_owned()), Some(records))
    }

    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<i64> {
        self.topic_answer(&TopicCall::DeleteRecords(topic.to_owned(), partition, before), None)
    }

    fn tail(&self, topic: &str, from_beginning: bool) -> Result<Box<dyn Tail>> {
        let call = self.topic(&TopicCall::Print { topic: topic.to_owned(), from_beginning }, None)?;
        Ok(Box::new(Records { call, at_end: false }))
    }

    fn attached(&self) -> Option<String> {
        Some(format!("attached to {}", self.name))
    }
}

/// Partition, timestamp, key and value of each record.
fn columns(records: &RecordSet) -> Vec<ArrayRef> {
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    for row in 0..records.len() {
        keys.append_option(records.key(row));
        values.append_option(records.value(row));
    }
    vec![
        Arc::new(Int32Array::from_iter_values(records.rows.iter().map(|r| r.partition))),
        Arc::new(Int64Array::from_iter_values(records.rows.iter().map(|r| r.timestamp))),
        Arc::new(keys.finish()),
        Arc::new(values.finish()),
    ]
}

/// Records that come from there.
struct Records {
    call: Call,
    at_end: bool,
}

impl Tail for Records {
    fn poll(&mut self, wait: Duration) -> Result<Fetched> {
        let mut fetched = Fetched::default();
        match self.call.next(Some(wait))? {
            Some(Frame::Rows { columns, .. }) => {
                self.at_end = false;
                take(&columns, &mut fetched).ok_or_else(|| self.call.broken("the records are not understood"))?;
            }
            Some(Frame::AtEnd) => self.at_end = true,
            Some(Frame::Failed(error)) => return Err(error),
            _ => {}
        }
        Ok(fetched)
    }

    fn at_end(&self) -> bool {
        self.at_end
    }
}

/// Records as runs of their partitions.
fn take(columns: &[ArrayRef], fetched: &mut Fetched) -> Option<()> {
    let [partitions, offsets, times, keys, values] = columns else { return None };
    let partitions = partitions.as_primitive_opt::<Int32Type>()?;
    let offsets = offsets.as_primitive_opt::<Int64Type>()?;
    let times = times.as_primitive_opt::<Int64Type>()?;
    let (keys, values) = (keys.as_binary_opt::<i32>()?, values.as_binary_opt::<i32>()?);
    let record = |row: usize| OwnedRecord {
        offset: offsets.value(row),
        timestamp: times.value(row),
        key: keys.is_valid(row).then(|| keys.value(row).to_vec()),
        value: values.is_valid(row).then(|| values.value(row).to_vec()),
        headers: Vec::new(),
    };
    let all: Arc<[OwnedRecord]> = (0..partitions.len()).map(record).collect();
    let mut start = 0;
    for row in 1..=all.len() {
        if row == all.len() || partitions.value(row) != partitions.value(start) {
            fetched.push_owned(usize::try_from(partitions.value(start)).ok()?, all.clone(), start..row);
            start = row;
        }
    }
    Some(())
}
