//! `POST /query-stream` and the older `POST /query`: result sets, each row in a body frame of its own, as soon as it is there.
//! `POST /close-query` ends one from outside.

pub(super) mod websocket;

use super::ksql::{read, texts};
use super::limits::STREAMS_MAX;
use super::rows::Shape;
use super::rows::print_lines::Formats;
use super::rows::queue::{Frames, Gone, RowQueue, row_queue};
use super::{App, error, on_thread, stopping};
use crate::engine::Answer;
use crate::engine::access::Principal;
use crate::engine::result::rows::{RowEvent, RowStream};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::Statement;
use crate::types::cell;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How often a thread that waits for rows looks whether its client is gone or the server stops.
const LOOK: Duration = Duration::from_millis(100);

/// The request's body, in the words of either endpoint.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(alias = "ksql")]
    sql: String,
    #[serde(default, alias = "streamsProperties")]
    properties: BTreeMap<String, Value>,
    #[serde(default)]
    session_variables: BTreeMap<String, Value>,
    /// The command that has to be carried out before.
    command_sequence_number: Option<i64>,
}

pub(super) async fn query_stream(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let printed = Shape::Array.printed(&headers);
    serve(app, principal, [Shape::wanted(&headers, Shape::Lines), printed], body).await
}

pub(super) async fn query(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    serve(app, principal, [Shape::wanted(&headers, Shape::Rows), Ok(Shape::Text)], body).await
}

/// `printed` is the shape of PRINT's records.
async fn serve(app: Arc<App>, principal: Principal, [shape, printed]: [Result<Shape>; 2], body: Bytes) -> Response {
    let shape = match shape {
        Ok(shape) => shape,
        Err(e) => return error::response(&e, None),
    };
    if let Some(answer) = known(&app, &principal, shape, &body) {
        return answer;
    }
    let sent = body.clone();
    let opened = {
        let app = app.clone();
        match on_thread(move || open(&app, principal, &body)) {
            Ok(opening) => opening.await,
            Err(busy) => return error::response(&busy, None),
        }
    };
    match opened {
        Ok(Ok(opened)) => match if opened.is_print { printed } else { Ok(shape) } {
            Ok(shape) => respond(app, opened, shape),
            Err(e) => error::response(&e, None),
        },
        Ok(Err((e, text))) => {
            let request = read::<Request>(&sent).ok();
            error::response_in(&e, text.as_deref(), request.as_ref().map(|request| request.sql.as_str()))
        }
        Err(_) => error::response(&Error::bug("the request's task ended early"), None),
    }
}

/// The whole response to a lookup that was planned before: it takes microseconds, so that it needs no thread.
fn known(app: &App, principal: &Principal, shape: Shape, body: &[u8]) -> Option<Response> {
    let request: Request = read(body).ok()?;
    if !request.session_variables.is_empty() || request.command_sequence_number.is_some() {
        return None;
    }
    let session = Session::of(principal.clone()).with_properties(texts(request.properties)).ok()?;
    let rows = app.engine.known_lookup(&request.sql, &session)?;
    match rows.and_then(|rows| frames(rows, shape)) {
        Ok(frames) => {
            let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
            Some(([(CONTENT_TYPE, shape.media_type())], Body::from_stream(frames)).into_response())
        }
        Err(e) => Some(error::response_in(&e, Some(&request.sql), Some(&request.sql))),
    }
}

/// All frames of a result set that waits for nothing.
fn frames(mut rows: Box<dyn RowStream>, shape: Shape) -> Result<Vec<Bytes>> {
    let shape = shape.of(&*rows);
    let (mut frames, mut frame) = (Vec::new(), Vec::new());
    let mut put = |frame: &mut Vec<u8>| match frame.is_empty() {
        true => {}
        false => frames.push(Bytes::from(std::mem::take(frame))),
    };
    shape.header(&*rows, &mut frame);
    put(&mut frame);
    loop {
        let columns = match rows.next(Duration::ZERO)? {
            RowEvent::Rows { columns, .. } => columns,
            RowEvent::Done(_) => break,
            RowEvent::Idle => return Err(Error::bug("a lookup waits for rows")),
        };
        let columns: Vec<_> = columns.iter().zip(rows.columns()).map(|(a, c)| cell::settled(a, &c.ty)).collect();
        for row in 0..columns.first().map_or(0, |c| c.len()) {
            shape.row(&columns, row, false, &mut frame)?;
            put(&mut frame);
        }
    }
    shape.end(None, &mut frame);
    put(&mut frame);
    rows.sent(frames.iter().map(Bytes::len).sum());
    Ok(frames)
}

/// Rows, and the permit to stream them.
pub(super) struct Opened {
    rows: Box<dyn RowStream>,
    permit: OwnedSemaphorePermit,
    /// They are the records of a topic.
    pub(super) is_print: bool,
}

/// An error is returned with the text that it belongs to.
pub(super) fn open(app: &App, principal: Principal, body: &[u8]) -> Result<Opened, (Error, Option<String>)> {
    let request: Request = read(body).map_err(|e| (e, None))?;
    let text = Some(request.sql.trim().trim_end_matches(';').to_owned());
    let session = Session::of(principal).with_properties(texts(request.properties));
    let mut session = session.map_err(|e| (e, None))?;
    for (name, value) in texts(request.session_variables) {
        session.define(&name, &value);
    }
    request.command_sequence_number.map_or(Ok(()), |n| app.engine.wait_for_command(n)).map_err(|e| (e, None))?;
    let parsed = app.engine.parse(&request.sql, &session).map_err(|e| (e, text.clone()))?;
    // ksqlDB reports only an invalid request for a push query.
    let text = text.filter(|_| !parsed.iter().any(|p| is_push(&p.statement)));
    let [statement] = parsed.as_slice() else {
        return Err((Error::statement(format!("expected exactly one statement, got {}", parsed.len())), text));
    };
    if !matches!(
        statement.statement,
        Statement::Select(_)
            | Statement::Relational(_)
            | Statement::Analyze(_)
            | Statement::Print(_)
            | Statement::Verify(_)
    ) {
        let e = Error::statement("this endpoint supports only SELECT and PRINT")
            .with_hint("send other statements to /ksql");
        return Err((e, text));
    }
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        let e = Error::statement(format!("the limit of {STREAMS_MAX} streamed results is reached"))
            .with_code(40003)
            .with_hint("close one of them");
        (e, text.clone())
    })?;
    match app.engine.execute(statement, &mut session).map_err(|e| (e, text.clone()))? {
        Answer::Rows(rows) => Ok(Opened { rows, permit, is_print: matches!(statement.statement, Statement::Print(_)) }),
        Answer::Entity(_) => Err((Error::bug("a query returned no rows"), text)),
    }
}

fn is_push(statement: &Statement) -> bool {
    matches!(statement, Statement::Select(select) if select.emit.is_some())
}

fn respond(app: Arc<App>, opened: Opened, shape: Shape) -> Response {
    let Pumped { frames, .. } = pumped(app, opened, shape);
    ([(CONTENT_TYPE, shape.media_type())], Body::from_stream(frames)).into_response()
}

/// How a result set ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself.
    Done,
    /// Closed from outside, before it had an end or without having one.
    Closed,
    /// Its query failed.
    Failed(Error),
    /// Its reader left.
    Gone,
    /// Its reader was dropped because it did not read.
    Stuck,
    /// The server stops.
    Stopping,
}

/// Rows that a thread of their own writes.
pub(super) struct Pumped {
    pub(super) frames: Frames,
    pub(super) ended: oneshot::Receiver<Ended>,
}

/// Lets a thread write the rows in this shape.
pub(super) fn pumped(app: Arc<App>, opened: Opened, shape: Shape) -> Pumped {
    let Opened { rows, permit, .. } = opened;
    let shape = shape.of(&*rows);
    let (queue, frames) = row_queue(app.engine.clock().clone(), app.stopping.answer(rows.is_bounded()));
    let (sender, ended) = oneshot::channel();
    // Without a thread the queue is dropped: the response is cut off before its first frame.
    let started = on_thread(move || {
        let listed = Listed::new(&app, rows.id());
        let end = Pump { app: &app, queue, closed: &listed.closed, shape, bounded: rows.is_bounded() }.run(rows);
        // Only a WebSocket waits for it.
        let _ = sender.send(end);
        drop(permit);
    });
    if let Err(error) = started {
        tracing::warn!(%error, "a result set has no thread");
    }
    Pumped { frames, ended }
}

/// A result set that can be closed from outside for as long as this lives.
pub(super) struct Listed<'a> {
    app: &'a App,
    id: Option<String>,
    /// It is to end.
    pub(super) closed: Arc<AtomicBool>,
}

impl<'a> Listed<'a> {
    pub(super) fn new(app: &'a App, id: Option<&str>) -> Listed<'a> {
        let (id, closed) = (id.map(str::to_owned), Arc::<AtomicBool>::default());
        if let Some(id) = &id {
            app.open.lock().insert(id.clone(), closed.clone());
        }
        Listed { app, id, closed }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.app.open.lock().remove(id);
        }
    }
}

/// Pulls rows and sends frames until the query ends, the client disconnects, the query is closed or the server stops.
struct Pump<'a> {
    app: &'a App,
    queue: RowQueue,
    closed: &'a AtomicBool,
    shape: Shape,
    /// The rows end by themselves.
    bounded: bool,
}

impl Pump<'_> {
    fn run(self, mut rows: Box<dyn RowStream>) -> Ended {
        let mut last = Vec::new();
        let ended = match self.rows(&mut *rows) {
            // A push query that is closed has no other end.
            Err(Ended::Closed) if !self.bounded => Ok(None),
            ended => ended,
        };
        let ended = match ended {
            Ok(message) => {
                self.shape.end(message.as_deref(), &mut last);
                rows.sent(last.len());
                self.queue.finish(last);
                return Ended::Done;
            }
            Err(ended) => ended,
        };
        match &ended {
            Ended::Failed(e) => self.shape.failure(e, &mut last),
            Ended::Stopping => self.shape.failure(&stopping::error(), &mut last),
            Ended::Closed => self.shape.failure(&Error::statement("the query was closed").with_code(40000), &mut last),
            Ended::Stuck => {
                self.app.counters.dropped.fetch_add(1, Ordering::Relaxed);
                let query = rows.id().unwrap_or("a query without an id");
                tracing::warn!(query, "dropped slow client");
            }
            Ended::Done | Ended::Gone => {}
        }
        self.queue.break_off(last, !matches!(ended, Ended::Failed(_)));
        ended
    }

    /// Why nothing more is to be sent, if so.
    fn over(&self) -> Option<Ended> {
        match self.app.stopping.ends(self.bounded) {
            true => Some(Ended::Stopping),
            false => self.closed.load(Ordering::Acquire).then_some(Ended::Closed),
        }
    }

    fn send(&self, rows: &dyn RowStream, frame: &mut Vec<u8>) -> Result<(), Ended> {
        if frame.is_empty() {
            return Ok(());
        }
        rows.sent(frame.len());
        let sent = self.queue.send(Bytes::from(std::mem::take(frame)), &|| self.over().is_some());
        sent.map_err(|gone| match gone {
            Gone::Stuck => Ended::Stuck,
            Gone::Left if self.queue.is_left() => Ended::Gone,
            Gone::Left => self.over().unwrap_or(Ended::Gone),
        })
    }

    /// Sends all rows; returns how they ended.
    fn rows(&self, rows: &mut dyn RowStream) -> Result<Option<String>, Ended> {
        let (mut frame, mut formats) = (Vec::new(), Formats::default());
        self.shape.header(rows, &mut frame);
        self.send(&*rows, &mut frame)?;
        loop {
            if let Some(over) = self.over() {
                return Err(over);
            }
            let (columns, tombstones) = match rows.next(LOOK).map_err(Ended::Failed)? {
                RowEvent::Rows { columns, tombstones } => (columns, tombstones),
                RowEvent::Idle if self.queue.is_left() => return Err(Ended::Gone),
                RowEvent::Idle => continue,
                RowEvent::Done(message) => return Ok(message),
            };
            if self.shape == Shape::Text {
                formats.update(&rows.notice().unwrap_or_default(), &mut frame);
                self.send(&*rows, &mut frame)?;
            }
            let columns: Vec<_> = columns.iter().zip(rows.columns()).map(|(a, c)| cell::settled(a, &c.ty)).collect();
            for row in 0..columns.first().map_or(0, |c| c.len()) {
                let tombstone = tombstones.get(row).is_some_and(|t| *t);
                self.shape.row(&columns, row, tombstone, &mut frame).map_err(Ended::Failed)?;
                self.send(&*rows, &mut frame)?;
            }
        }
    }
}

/// What `/close-query` is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Close {
    query_id: String,
}

pub(super) async fn close_query(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Response {
    let close: Close = match read(&body) {
        Ok(close) => close,
        Err(e) => return error::response(&e, None),
    };
    let session = Session::of(principal);
    let closed = app.engine.check_end(&close.query_id, &session).and_then(|()| end(&app, &close.query_id));
    let details = json!({ "query": close.query_id });
    app.engine.audit().note("close_query", session.principal(), details, closed.as_ref().copied());
    match closed {
        Ok(()) => StatusCode::OK.into_response(),
        Err(e) => error::response(&e, None),
    }
}

fn end(app: &App, id: &str) -> Result<()> {
    match app.open.lock().get(id) {
        Some(closed) => {
            closed.store(true, Ordering::Release);
            Ok(())
        }
        None => {
            let e = Error::statement(format!("No query with id {id}")).with_code(40000);
            Err(e.with_hint("it has ended already, or was never opened by /query-stream"))
        }
    }
}
