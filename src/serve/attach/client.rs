//! The client of the attach protocol: sends statements and topic requests to another process, and returns what comes back as
//! if it had been made here.
//!
//! Every call has a connection and a small runtime of its own, so that dropping a result closes its connection: that is how
//! the other side notices that its rows are no longer read.

use super::owner::Announcement;
use super::protocol::{
    Frame, FrameDecoder, PROTOCOL, ReplyBody, ServerInfo, StatementRequest, TopicRequest, output_columns, put_rows,
};
use crate::engine::insert::lines::NewLines;
use crate::engine::introspect::names::Names;
use crate::engine::introspect::topics::{Tail, TailFrom, TopicDetail, TopicLine, Topics};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream, Scanned};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::http_client::{Cause, HttpClient, RequestError, TlsFiles, hint};
use crate::log::{Fetched, OwnedRecord, RecordSet, TopicChanges};
use crate::present::Outcome;
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int32Array, Int64Array, StringBuilder};
use arrow::datatypes::{Int32Type, Int64Type};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, StatusCode};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Largest response without frames: who the server is, names for completion, an error.
const PLAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a client proves who it is.
#[derive(Clone, Debug, Default)]
pub(crate) enum Credentials {
    /// It does not.
    #[default]
    None,
    /// The header of a user name and password.
    Password(String),
    /// The header of a bearer token.
    Token(String),
}

/// Another process that runs statements.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: HttpClient,
    credentials: Credentials,
    /// How messages refer to it.
    name: String,
    /// What it says about itself.
    pub(crate) server: ServerInfo,
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The other process cannot be reached: nothing was done.
    Unreachable(Error),
    /// The call failed, or its outcome is unknown.
    Failed(Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> CallError {
        CallError::Failed(error)
    }
}

impl CallError {
    pub(crate) fn error(self) -> Error {
        match self {
            CallError::Unreachable(e) | CallError::Failed(e) => e,
        }
    }
}

/// A response that is being read.
struct Call {
    /// Drives the connection; dropped first, which closes it.
    runtime: Runtime,
    body: Incoming,
    frames: FrameDecoder,
    name: String,
}

impl Client {
    /// Attaches to the owner of a data directory.
    pub(crate) fn attach(announcement: &Announcement, directory: &Path) -> Result<Client, CallError> {
        let name = format!("the tidegate that owns {} (pid {})", directory.display(), announcement.pid);
        Client::open(HttpClient::unix(&directory.join(&announcement.socket)), Credentials::None, name)
    }

    /// Connects to the server that the user calls `url`; `base` is the same with its port.
    pub(crate) fn connect(url: &str, base: String, credentials: Credentials, files: &TlsFiles) -> Result<Client> {
        let http = HttpClient::network(base, files)?;
        let http = match &credentials {
            Credentials::None => http,
            Credentials::Password(header) | Credentials::Token(header) => http.with_authorization(header)?,
        };
        Client::open(http, credentials, format!("the server at {url}")).map_err(CallError::error)
    }

    fn open(http: HttpClient, credentials: Credentials, name: String) -> Result<Client, CallError> {
        let mut client = Client { http, credentials, name, server: ServerInfo::default() };
        let body = client.call(Method::GET, "/session", Bytes::new())?.plain()?;
        client.server = serde_json::from_slice(&body)
            .map_err(|e| Error::io(format!("{} is not a compatible tidegate", client.name)).because(e))?;
        if client.server.protocol != PROTOCOL {
            let (theirs, ours) = (&client.server.version, env!("CARGO_PKG_VERSION"));
            return Err(CallError::Failed(
                Error::new(Kind::Busy, format!("{} is incompatible with this tidegate", client.name))
                    .with_detail(format!(
                        "it runs version {theirs} with attach protocol {}, this is version {ours} with protocol {PROTOCOL}",
                        client.server.protocol
                    ))
                    .with_hint("use the same version on both sides, or stop the other process first"),
            ));
        }
        Ok(client)
    }

    /// A session that behaves there as a new one does here, where the defaults differ (a server starts reading at `latest`).
    pub(crate) fn session(&self, here: &BTreeMap<String, String>) -> Result<Session> {
        let differs = |(name, value): &(&String, &String)| self.server.properties.get(*name) != Some(value);
        Session::default()
            .with_properties(here.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())))
    }

    /// How messages refer to the other process.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs one statement there; returns its outcome and the session afterwards.
    pub(crate) fn statement(&self, text: &str, session: &Session) -> Result<(Outcome, Session), CallError> {
        let request = StatementRequest {
            text: text.to_owned(),
            properties: session.properties().clone(),
            variables: session.variables().clone(),
        };
        let mut call = self.call(Method::POST, "/session/statement", Bytes::from(json(&request)?))?;
        let reply = match call.next(None)? {
            Some(Frame::Reply(reply)) => reply,
            Some(Frame::Failed(error)) => return Err(CallError::Failed(error)),
            _ => return Err(CallError::Failed(call.cut_off("it is unknown whether the statement was executed"))),
        };
        let mut session = Session::default().with_properties(reply.properties)?;
        for (name, value) in &reply.variables {
            session.define(name, value);
        }
        let outcome = match reply.result {
            ReplyBody::Rows { id, bounded, when_empty, columns } => {
                let columns = output_columns(columns);
                let rows = RemoteRows { columns, id, bounded, when_empty, notice: None, scanned: None, call };
                Outcome::Rows(Box::new(rows))
            }
            whole => whole.outcome()?,
        };
        Ok((outcome, session))
    }

    /// What is wrong with the statements of a file, which are planned there without effect.
    pub(crate) fn check(&self, text: &str) -> Result<Vec<Error>> {
        let request = StatementRequest { text: text.to_owned(), ..StatementRequest::default() };
        let call = self.call(Method::POST, "/session/check", Bytes::from(json(&request)?));
        let mut call = call.map_err(CallError::error)?;
        let mut wrong = Vec::new();
        loop {
            match call.next(None)? {
                Some(Frame::Failed(error)) => wrong.push(error),
                Some(Frame::Done(_)) => return Ok(wrong),
                // The check itself has failed.
                _ => return Err(wrong.pop().unwrap_or_else(|| call.cut_off("the check did not end"))),
            }
        }
    }

    /// What statements can name.
    pub(crate) fn names(&self) -> Names {
        let body = self.call(Method::GET, "/session/names", Bytes::new()).and_then(Call::plain);
        body.ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
    }

    /// Waits until the other process ends; `false` = it has too many attached processes to report its end to this one.
    pub(crate) fn wait_until_gone(&self) -> bool {
        let Ok(call) = self.call(Method::GET, "/session/alive", Bytes::new()) else { return true };
        let Call { runtime, mut body, .. } = call;
        let mut accepted = false;
        while let Some(Ok(_)) = runtime.block_on(body.frame()) {
            accepted = true;
        }
        accepted
    }

    fn topic(&self, request: &TopicRequest, records: Option<&RecordSet>) -> Result<Call> {
        let mut body = json(request)?;
        if let Some(records) = records {
            body.push(b'\n');
            put_rows(&columns(records), &[], &mut body)?;
        }
        self.call(Method::POST, "/topics", Bytes::from(body)).map_err(CallError::error)
    }

    fn topic_result<T: for<'a> serde::Deserialize<'a>>(
        &self,
        request: &TopicRequest,
        records: Option<&RecordSet>,
    ) -> Result<T> {
        let mut call = self.topic(request, records)?;
        match call.next(None)? {
            Some(Frame::Done(Some(text))) => {
                serde_json::from_str(&text).map_err(|e| call.cut_off("invalid response").because(e))
            }
            Some(Frame::Failed(error)) => Err(error),
            _ => Err(call.cut_off("it is unknown whether the request was executed")),
        }
    }

    fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Call, CallError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::from)?;
        let response = runtime.block_on(self.http.request(method, path, body)).map_err(|e| match e {
            RequestError::NotSent(cause) => self.unreachable(cause),
            RequestError::NoResponse(cause) => {
                let error = cut_off(&self.name).with_detail("it is unknown whether the request was executed");
                CallError::Failed(error.because(cause))
            }
        })?;
        let status = response.status();
        let name = self.name.clone();
        let call = Call { runtime, body: response.into_body(), frames: FrameDecoder::default(), name };
        match status {
            StatusCode::OK => Ok(call),
            StatusCode::UNAUTHORIZED => Err(CallError::Failed(self.unauthorized())),
            status => {
                let text = String::from_utf8_lossy(&call.plain()?).into_owned();
                let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let message = body["message"].as_str().unwrap_or(&text).to_owned();
                Err(CallError::Failed(Error::io(format!("{} returned {status}", self.name)).with_detail(message)))
            }
        }
    }

    fn unauthorized(&self) -> Error {
        match &self.credentials {
            Credentials::None => Error::io(format!("{} requires authentication", self.name))
                .with_hint("name a user with --user and set TIDEGATE_PASSWORD, or set TIDEGATE_TOKEN"),
            Credentials::Password(_) => Error::io(format!("{} rejected the user name or password", self.name))
                .with_hint("the name is that of --user or TIDEGATE_USER, the password that of TIDEGATE_PASSWORD"),
            Credentials::Token(_) => Error::io(format!("{} rejected the token", self.name))
                .with_hint("the token is that of TIDEGATE_TOKEN; `tidegate user NAME ROLE --token` makes a new one"),
        }
    }

    /// There is no connection; nothing was done.
    fn unreachable(&self, cause: Cause) -> CallError {
        if let Some(hint) = hint(&*cause) {
            let error = Error::io(format!("cannot establish a trusted connection to {}", self.name));
            return CallError::Failed(error.with_detail(cause.to_string()).with_hint(hint));
        }
        let error = Error::io(format!("cannot connect to {}", self.name)).with_detail(cause.to_string());
        CallError::Unreachable(error.because(cause))
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::bug("a request cannot be encoded").because(e))
}

fn cut_off(name: &str) -> Error {
    Error::io(format!("lost the connection to {name}"))
}

impl Call {
    /// The next frame, waiting at most so long; `None` = nothing came in time.
    fn next(&mut self, wait: Option<Duration>) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.frames.take()? {
                return Ok(Some(frame));
            }
            let body = &mut self.body;
            let received = match wait {
                None => self.runtime.block_on(body.frame()),
                Some(wait) => match self.runtime.block_on(async { timeout(wait, body.frame()).await }) {
                    Ok(received) => received,
                    Err(_) => return Ok(None),
                },
            };
            match received {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.frames.push(&bytes);
                    }
                }
                Some(Err(e)) => return Err(self.cut_off("the connection broke").because(e)),
                None => return Err(self.cut_off("the response is incomplete")),
            }
        }
    }

    /// The whole body.
    fn plain(mut self) -> Result<Vec<u8>, CallError> {
        let mut all = Vec::new();
        while let Some(frame) = self.runtime.block_on(self.body.frame()) {
            let frame = frame.map_err(|e| self.cut_off("the connection broke").because(e))?;
            if let Ok(bytes) = frame.into_data() {
                all.extend_from_slice(&bytes);
            }
            if all.len() > PLAIN_BYTES_MAX {
                return Err(CallError::Failed(Error::io(format!("the response of {} is too large", self.name))));
            }
        }
        Ok(all)
    }

    fn cut_off(&self, detail: &str) -> Error {
        cut_off(&self.name).with_detail(detail).with_hint("run the statement again")
    }
}

/// Rows of a query in another process.
struct RemoteRows {
    columns: Vec<OutputColumn>,
    id: Option<String>,
    bounded: bool,
    when_empty: Option<String>,
    notice: Option<String>,
    scanned: Option<Scanned>,
    call: Call,
}

impl RowStream for RemoteRows {
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
        self.topic_result(&TopicRequest::All, None)
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        self.topic_result(&TopicRequest::Partitions(topic.to_owned()), None)
    }

    fn describe(&self, topic: &str) -> Result<Option<TopicDetail>> {
        self.topic_result(&TopicRequest::Describe(topic.to_owned()), None)
    }

    fn create(&self, topic: &str, partitions: u32, config: &BTreeMap<String, String>) -> Result<()> {
        self.topic_result(&TopicRequest::Create(topic.to_owned(), partitions, config.clone()), None)
    }

    fn alter(&self, topic: &str, changes: &TopicChanges) -> Result<()> {
        self.topic_result(&TopicRequest::Alter(topic.to_owned(), changes.clone()), None)
    }

    fn delete(&self, topic: &str) -> Result<()> {
        self.topic_result(&TopicRequest::Delete(topic.to_owned()), None)
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.topic_result(&TopicRequest::Append(topic.to_owned()), Some(records))
    }

    fn write(&self, target: &str, lines: &NewLines) -> Result<usize> {
        self.topic_result(&TopicRequest::Write(target.to_owned(), lines.clone()), None)
    }

    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<i64> {
        self.topic_result(&TopicRequest::DeleteRecords(topic.to_owned(), partition, before), None)
    }

    fn tail(&self, topic: &str, from: TailFrom) -> Result<Box<dyn Tail>> {
        let call = self.topic(&TopicRequest::Print { topic: topic.to_owned(), from }, None)?;
        Ok(Box::new(RemoteRecords { call, at_end: false }))
    }

    fn attached(&self) -> Option<String> {
        Some(format!("attached to {}", self.name))
    }
}

/// Partition, timestamp, key, value and headers of each record.
fn columns(records: &RecordSet) -> Vec<ArrayRef> {
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    let mut headers = StringBuilder::new();
    let mut with_headers = records.headers.iter().peekable();
    for row in 0..records.len() {
        keys.append_option(records.key(row));
        values.append_option(records.value(row));
        let of_row = with_headers.next_if(|(number, _)| *number as usize == row);
        headers.append_option(of_row.and_then(|(_, headers)| serde_json::to_string(headers).ok()));
    }
    vec![
        Arc::new(Int32Array::from_iter_values(records.rows.iter().map(|r| r.partition))),
        Arc::new(Int64Array::from_iter_values(records.rows.iter().map(|r| r.timestamp))),
        Arc::new(keys.finish()),
        Arc::new(values.finish()),
        Arc::new(headers.finish()),
    ]
}

/// Records of a topic in another process.
struct RemoteRecords {
    call: Call,
    at_end: bool,
}

impl Tail for RemoteRecords {
    fn poll(&mut self, wait: Duration) -> Result<Fetched> {
        let mut fetched = Fetched::default();
        match self.call.next(Some(wait))? {
            Some(Frame::Rows { columns, .. }) => {
                self.at_end = false;
                push_records(&columns, &mut fetched).ok_or_else(|| self.call.cut_off("invalid records"))?;
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

/// Appends records as runs of their partitions.
fn push_records(columns: &[ArrayRef], fetched: &mut Fetched) -> Option<()> {
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
