//! `POST /query-stream` and the older `POST /query`: result sets, each row in a body frame of its own as it comes.
//! `POST /close-query` ends one from outside.

use super::ksql::{read, texts};
use super::rows::Shape;
use super::{App, STREAMS_MAX, error, streamed};
use crate::engine::Answer;
use crate::engine::cell;
use crate::engine::outcome::{RowEvent, RowStream};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::Statement;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Frames between the thread that pulls rows and the response: a client that reads slowly slows its query down.
const QUEUED_FRAMES: usize = 64;
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
}

pub(super) async fn query_stream(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    serve(app, Shape::wanted(&headers, Shape::Lines), body).await
}

pub(super) async fn query(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    serve(app, Shape::wanted(&headers, Shape::Rows), body).await
}

async fn serve(app: Arc<App>, shape: Result<Shape>, body: Bytes) -> Response {
    let shape = match shape {
        Ok(shape) => shape,
        Err(e) => return error::response(&e, None),
    };
    let opened = {
        let app = app.clone();
        tokio::task::spawn_blocking(move || open(&app, &body)).await
    };
    match opened {
        Ok(Ok((rows, permit))) => respond(app, rows, permit, shape),
        Ok(Err((e, text))) => error::response(&e, text.as_deref()),
        Err(_) => error::response(&Error::bug("the request's thread ended early"), None),
    }
}

/// Rows, and the permit to stream them.
type Opened = Result<(Box<dyn RowStream>, OwnedSemaphorePermit), (Error, Option<String>)>;

fn open(app: &App, body: &[u8]) -> Opened {
    let request: Request = read(body).map_err(|e| (e, None))?;
    let text = Some(request.sql.trim().trim_end_matches(';').to_owned());
    let mut session = Session::with_properties(texts(request.properties)).map_err(|e| (e, None))?;
    for (name, value) in texts(request.session_variables) {
        session.define(&name, &value);
    }
    let parsed = app.engine.parse(&request.sql, &session).map_err(|e| (e, text.clone()))?;
    let [statement] = parsed.as_slice() else {
        return Err((Error::statement(format!("expected exactly one statement, got {}", parsed.len())), text));
    };
    if !matches!(statement.statement, Statement::Select(_) | Statement::Batch(_)) {
        let e = Error::statement("only SELECT is taken here").with_hint("send other statements to /ksql");
        return Err((e, text));
    }
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        let e = Error::statement(format!("{STREAMS_MAX} queries are being read already, no more are served at once"))
            .with_code(40003)
            .with_hint("end one of them");
        (e, text.clone())
    })?;
    match app.engine.execute(statement, &mut session).map_err(|e| (e, text.clone()))? {
        Answer::Rows(rows) => Ok((rows, permit)),
        Answer::Entity(_) => Err((Error::bug("a query answered no rows"), text)),
    }
}

fn respond(app: Arc<App>, rows: Box<dyn RowStream>, permit: OwnedSemaphorePermit, shape: Shape) -> Response {
    let (sender, receiver) = mpsc::channel(QUEUED_FRAMES);
    tokio::task::spawn_blocking(move || {
        let listed = Listed::new(&app, rows.id());
        pump(&app, rows, shape, &sender, &listed.closed);
        drop(permit);
    });
    streamed(shape.media_type(), receiver)
}

/// A result set that can be closed from outside for as long as this lives.
struct Listed<'a> {
    app: &'a App,
    id: Option<String>,
    closed: Arc<AtomicBool>,
}

impl<'a> Listed<'a> {
    fn new(app: &'a App, id: Option<&str>) -> Listed<'a> {
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

/// Pulls rows and sends frames until the query ends, the client leaves, somebody closes it or the server stops.
fn pump(app: &App, mut rows: Box<dyn RowStream>, shape: Shape, sender: &mpsc::Sender<Bytes>, closed: &AtomicBool) {
    let mut frame = Vec::new();
    let send = |frame: &mut Vec<u8>| sender.blocking_send(Bytes::from(std::mem::take(frame))).is_ok();
    shape.header(&*rows, &mut frame);
    if !send(&mut frame) {
        return;
    }
    let mut message = None;
    while !*app.stopping.borrow() && !closed.load(Ordering::Acquire) {
        match rows.next(LOOK) {
            Ok(RowEvent::Rows { columns, tombstones }) => {
                let columns: Vec<_> =
                    columns.iter().zip(rows.columns()).map(|(a, c)| cell::settled(a, &c.ty)).collect();
                for row in 0..columns.first().map_or(0, |c| c.len()) {
                    shape.row(&columns, row, tombstones.get(row).is_some_and(|t| *t), &mut frame);
                    if !frame.is_empty() && !send(&mut frame) {
                        return;
                    }
                }
            }
            Ok(RowEvent::Idle) if sender.is_closed() => break,
            Ok(RowEvent::Idle) => {}
            Ok(RowEvent::Done(why)) => {
                message = why;
                break;
            }
            Err(e) => {
                shape.failure(&e, &mut frame);
                break;
            }
        }
    }
    shape.end(message.as_deref(), &mut frame);
    if !frame.is_empty() {
        send(&mut frame);
    }
}

/// What `/close-query` is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Close {
    query_id: String,
}

pub(super) async fn close_query(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let close: Close = match read(&body) {
        Ok(close) => close,
        Err(e) => return error::response(&e, None),
    };
    match app.open.lock().get(&close.query_id) {
        Some(closed) => {
            closed.store(true, Ordering::Release);
            StatusCode::OK.into_response()
        }
        None => {
            let e = Error::statement(format!("No query with id {}", close.query_id)).with_code(40000);
            error::response(&e.with_hint("it has ended already, or was never opened by /query-stream"), None)
        }
    }
}
