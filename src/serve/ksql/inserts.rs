//! `POST /inserts-stream`: rows of one stream, each acknowledged when it is durable.
//!
//! The first line of the body names the stream, each further one is a row as a JSON object. Lines are processed as they arrive, so
//! that a client may keep the request open and continue to write; lines that are there together are appended as one batch. The
//! acknowledgements have the order of the rows.
//!
//! The response is complete when the request is. When the server stops, or the request is cut off, the last line is an error and
//! the response is cut off after it: rows without an acknowledgement were not written.

use super::{read, texts};
use crate::engine::access::Principal;
use crate::engine::access::audit::Audit;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::serve::limits::{BODY_BYTES_MAX, REFUSED_PATIENCE};
use crate::serve::net::unread::discard;
use crate::serve::rows::queue::{Gone, RowQueue, row_queue};
use crate::serve::rows::{DELIMITED, JSON, accepted};
use crate::serve::{App, error, on_thread, stopping};
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of one batch: enough to share the cost of an append, few enough for a stopping server to wait for.
const ROWS_AT_ONCE: usize = 256;

/// The first line.
#[derive(Debug, Deserialize)]
struct Target {
    target: String,
    #[serde(default)]
    properties: BTreeMap<String, Value>,
}

/// The lines of a body as they arrive.
struct Lines {
    body: BodyDataStream,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// The complete lines that have arrived, at least one unless the body has ended.
    async fn next(&mut self) -> Result<Vec<Bytes>> {
        let mut lines = Vec::new();
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.buffer).filter(|_| lines.len() < ROWS_AT_ONCE) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                push(&mut lines, line);
            }
            if !lines.is_empty() || self.ended {
                return Ok(lines);
            }
            if self.buffer.len() > BODY_BYTES_MAX {
                return Err(Error::statement(format!("a line exceeds {BODY_BYTES_MAX} bytes")).with_code(41300));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(e)) => return Err(Error::io("the request was cut off").with_detail(e.to_string())),
                None => {
                    self.ended = true;
                    let rest = std::mem::take(&mut self.buffer);
                    rest.split(|b| *b == b'\n').for_each(|line| push(&mut lines, line.to_vec()));
                }
            }
        }
    }
}

fn push(lines: &mut Vec<Bytes>, line: Vec<u8>) {
    if !line.trim_ascii().is_empty() {
        lines.push(Bytes::from(line));
    }
}

pub(in crate::serve) async fn inserts_stream(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // Clients that accept JSON expect one array; all others read line by line.
    let array = accepted(&headers).iter().any(|name| name == JSON);
    // Rows whose number is known end by themselves: a server that stops may wait for them.
    let bounded = body.size_hint().exact().is_some();
    let mut lines = Lines { body: body.into_data_stream(), buffer: Vec::new(), ended: false };
    let first = match lines.next().await {
        Ok(first) => first,
        Err(e) => {
            discard(lines.body, BODY_BYTES_MAX, REFUSED_PATIENCE).await;
            return error::response(&e, None);
        }
    };
    let opened = first.first().map_or_else(|| Err(no_target()), |line| read::<Target>(line));
    let opened = opened.and_then(|target| {
        let session = Session::of(principal).with_properties(texts(target.properties))?;
        app.engine.check_insert_target(&target.target, &session)?;
        Ok((target.target, session))
    });
    let (target, session) = match opened {
        Ok(opened) => opened,
        Err(e) => return error::response(&e, None),
    };
    let (queue, frames) = row_queue(app.engine.clock().clone(), app.stopping.answer(bounded));
    let (audit, user) = (app.engine.audit().clone(), session.principal().clone());
    let tally = Tally { audit, user, target: target.clone(), rows: 0, failed: 0 };
    let writer = Writer { app, target, session, array, bounded, written: 0, queue, tally };
    tokio::spawn(writer.run(first[1..].to_vec(), lines));
    ([(CONTENT_TYPE, if array { JSON } else { DELIMITED })], Body::from_stream(frames)).into_response()
}

fn no_target() -> Error {
    Error::statement("the request body is empty")
        .with_code(40000)
        .with_hint("the first line is {\"target\":\"STREAM\"}, each further one a row")
}

struct Writer {
    app: Arc<App>,
    target: String,
    session: Session,
    array: bool,
    /// The rows end by themselves.
    bounded: bool,
    written: u64,
    queue: RowQueue,
    tally: Tally,
}

/// One record of the audit log for all rows, however the request ends.
struct Tally {
    audit: Audit,
    user: Principal,
    target: String,
    rows: u64,
    /// Rows that were refused or failed.
    failed: u64,
}

impl Drop for Tally {
    fn drop(&mut self) {
        let details = json!({ "target": self.target, "rows": self.rows, "failed": self.failed });
        self.audit.note("inserts", &self.user, details, Ok(()));
    }
}

impl Writer {
    /// Writes rows until the request ends. When something else ends them, the response is cut off after the
    /// acknowledgements of those that were written.
    async fn run(mut self, mut rows: Vec<Bytes>, mut lines: Lines) {
        let stopping = self.app.stopping.clone();
        loop {
            let running = on_thread(move || {
                let written = self.write(&rows);
                (self, written)
            });
            // Without a thread, and after a panic, the writer is dropped, which cuts the response off.
            let Ok(running) = running else { return };
            let Ok((writer, written)) = running.await else { return };
            self = writer;
            match written {
                Err(_) if stopping.ends(self.bounded) => return self.break_off(&stopping::error()),
                // The client does not read the acknowledgements.
                Err(_) => return,
                Ok(()) if lines.ended => return self.finish(),
                Ok(()) => {}
            }
            rows = tokio::select! {
                rows = lines.next() => match rows {
                    Ok(rows) => rows,
                    Err(e) => return self.break_off(&e),
                },
                () = stopping.ended(self.bounded) => return self.break_off(&stopping::error()),
            };
        }
    }

    fn finish(self) {
        let end = match (self.array, self.written) {
            (false, _) => "",
            (true, 0) => "[]",
            (true, _) => "]",
        };
        self.queue.finish(end.as_bytes().to_vec());
    }

    fn break_off(mut self, error: &Error) {
        let last = self.answer(&error::body(error, None)).to_vec();
        // Queued acknowledgements are kept: each confirms a durable row.
        self.queue.break_off(last, false);
    }

    /// Writes a batch of rows, and acknowledges all of it before the next one: a stop leaves no written row without its
    /// acknowledgement.
    fn write(&mut self, rows: &[Bytes]) -> Result<(), Gone> {
        if self.app.stopping.ends(self.bounded) {
            return Err(Gone::Left);
        }
        let (mut valid, mut invalid) = (Vec::new(), Vec::new());
        for row in rows {
            let row = read::<Map<String, Value>>(row).map(|row| valid.push(row));
            invalid.push(row.err());
        }
        let mut written = self.app.engine.insert_rows(&self.target, &valid, &self.session).into_iter();
        for error in invalid {
            let result = match error {
                None => written.next().unwrap_or_else(|| Err(Arc::new(Error::bug("a row has no result")))),
                Some(error) => Err(Arc::new(error)),
            };
            let seq = self.written;
            let acknowledgement = match result {
                Ok(()) => {
                    self.tally.rows += 1;
                    json!({ "status": "ok", "seq": seq })
                }
                Err(e) => {
                    self.tally.failed += 1;
                    json!({ "status": "error", "seq": seq, "error_code": e.code(), "message": e.to_string() })
                }
            };
            let acknowledgement = self.answer(&acknowledgement);
            // Even while the server stops: only a client that does not read loses what its rows became.
            self.queue.send(acknowledgement, &|| false)?;
        }
        Ok(())
    }

    fn answer(&mut self, value: &Value) -> Bytes {
        let before = match (self.array, self.written) {
            (false, _) => "",
            (true, 0) => "[",
            (true, _) => ",",
        };
        self.written += 1;
        Bytes::from(format!("{before}{value}{}", if self.array { "" } else { "\n" }))
    }
}
