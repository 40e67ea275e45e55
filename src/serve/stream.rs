//! `POST /query-stream`: result sets, one row a line, each in a body frame of its own as it comes.

use super::ksql::{read, texts};
use super::{App, STREAMS_MAX, error};
use crate::engine::Answer;
use crate::engine::cell;
use crate::engine::outcome::{RowEvent, RowStream};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::Statement;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Frames between the thread that pulls rows and the response: a client that reads slowly slows its query down.
const QUEUED_FRAMES: usize = 64;
/// How often a thread that waits for rows looks whether its client is gone or the server stops.
const LOOK: Duration = Duration::from_millis(100);
/// The newline-delimited form.
const DELIMITED: &str = "application/vnd.ksqlapi.delimited.v1";

/// The request's body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    sql: String,
    #[serde(default)]
    properties: BTreeMap<String, Value>,
    #[serde(default)]
    session_variables: BTreeMap<String, Value>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One JSON value a line.
    Lines,
    /// One JSON array.
    Array,
}

pub(super) async fn query_stream(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let accept = headers.get("accept").and_then(|v| v.to_str().ok()).unwrap_or("");
    let shape = if accept.contains("application/json") { Shape::Array } else { Shape::Lines };
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
        pump(&app, rows, shape, &sender);
        drop(permit);
    });
    let frames = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (Ok::<_, std::convert::Infallible>(frame), receiver))
    });
    let kind = if shape == Shape::Lines { DELIMITED } else { "application/json" };
    ([(CONTENT_TYPE, kind)], Body::from_stream(frames)).into_response()
}

/// Pulls rows and sends frames until the query ends, the client leaves or the server stops.
fn pump(app: &App, mut rows: Box<dyn RowStream>, shape: Shape, sender: &mpsc::Sender<Bytes>) {
    let mut frame = header(&*rows, shape);
    let send = |frame: &mut Vec<u8>| sender.blocking_send(Bytes::from(std::mem::take(frame))).is_ok();
    if !send(&mut frame) {
        return;
    }
    while !*app.stopping.borrow() {
        match rows.next(LOOK) {
            Ok(RowEvent::Rows { columns, tombstones }) => {
                let columns: Vec<_> =
                    columns.iter().zip(rows.columns()).map(|(a, c)| cell::settled(a, &c.ty)).collect();
                for row in 0..columns.first().map_or(0, |c| c.len()) {
                    // This form has no tombstones: a deleted row is not shown.
                    if tombstones.get(row).is_some_and(|t| *t) {
                        continue;
                    }
                    separate(shape, &mut frame);
                    if let Err(e) = cell::write_row(&columns, row, &mut frame) {
                        failure(&e, &mut frame);
                    }
                    finish(shape, &mut frame);
                    if !send(&mut frame) {
                        return;
                    }
                }
            }
            Ok(RowEvent::Idle) if sender.is_closed() => break,
            Ok(RowEvent::Idle) => {}
            Ok(RowEvent::Done(_)) => break,
            Err(e) => {
                separate(shape, &mut frame);
                failure(&e, &mut frame);
                finish(shape, &mut frame);
                send(&mut frame);
                break;
            }
        }
    }
    if shape == Shape::Array {
        frame.push(b']');
        send(&mut frame);
    }
}

fn header(rows: &dyn RowStream, shape: Shape) -> Vec<u8> {
    let names: Vec<_> = rows.columns().iter().map(|c| c.name.clone()).collect();
    let types: Vec<_> = rows.columns().iter().map(|c| c.ty.to_string()).collect();
    let head = json!({ "queryId": rows.id(), "columnNames": names, "columnTypes": types });
    let mut frame = if shape == Shape::Array { b"[".to_vec() } else { Vec::new() };
    frame.extend_from_slice(head.to_string().as_bytes());
    finish(shape, &mut frame);
    frame
}

fn separate(shape: Shape, frame: &mut Vec<u8>) {
    if shape == Shape::Array {
        frame.push(b',');
    }
}

fn finish(shape: Shape, frame: &mut Vec<u8>) {
    if shape == Shape::Lines {
        frame.push(b'\n');
    }
}

fn failure(e: &Error, frame: &mut Vec<u8>) {
    frame.extend_from_slice(error::body(e, None).to_string().as_bytes());
}
