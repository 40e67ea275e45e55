//! `POST /inserts-stream`: rows written one by one, each acknowledged when it is durable.
//!
//! The body's first line names the stream, each further one is a row as a JSON object. Lines are taken as they come, so a
//! client may keep the request open and go on writing. Answers keep the order of the rows.
//!
//! The response ends as a whole when the request does. When the server stops, or the request breaks off, the last answer is an
//! error and the response breaks off behind it: rows without an answer were not written.

use super::auth::guard::discard;
use super::ksql::{read, texts};
use super::limits::BODY_BYTES_MAX;
use super::rows::queue::{Gone, Outbox, outbox};
use super::rows::{DELIMITED, JSON, accepted};
use super::{App, error, stopping};
use crate::engine::access::Principal;
use crate::engine::access::audit::Audit;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows written by one call of the blocking thread.
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
    /// The lines that are complete now, at least one unless the body has ended.
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
                return Err(Error::statement(format!("a line is longer than {BODY_BYTES_MAX} bytes")).with_code(41300));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(e)) => return Err(Error::io("the request broke off").with_detail(e.to_string())),
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

pub(super) async fn inserts_stream(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // Clients that ask for JSON want one array; all others read line by line.
    let array = accepted(&headers).iter().any(|name| name == JSON);
    // Rows whose number is known end by themselves: a server that stops may wait for them.
    let bounded = body.size_hint().exact().is_some();
    let mut lines = Lines { body: body.into_data_stream(), buffer: Vec::new(), ended: false };
    let first = match lines.next().await {
        Ok(first) => first,
        Err(e) => {
            discard(lines.body, BODY_BYTES_MAX).await;
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
    let (outbox, frames) = outbox(app.engine.clock().clone(), app.stopping.answer(bounded));
    let (audit, user) = (app.engine.audit().clone(), session.principal().clone());
    let tally = Tally { audit, user, target: target.clone(), rows: 0, failed: 0 };
    let writer = Writer { app, target, session, array, bounded, written: 0, outbox, tally };
    tokio::spawn(writer.run(first[1..].to_vec(), lines));
    ([(CONTENT_TYPE, if array { JSON } else { DELIMITED })], Body::from_stream(frames)).into_response()
}

fn no_target() -> Error {
    Error::statement("the request has no lines")
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
    outbox: Outbox,
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
    /// Writes rows until the request ends. When something else ends them, the response breaks off behind the answers to those
    /// that were written.
    async fn run(mut self, mut rows: Vec<Bytes>, mut lines: Lines) {
        let stopping = self.app.stopping.clone();
        loop {
            let done = tokio::task::spawn_blocking(move || {
                let written = self.write(&rows);
                (self, written)
            });
            // After a panic the answers were dropped, which breaks the response off.
            let Ok((writer, written)) = done.await else { return };
            self = writer;
            match written {
                Err(_) if stopping.ends(self.bounded) => return self.break_off(&stopping::error()),
                // Nobody reads the answers.
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
        self.outbox.finish(end.as_bytes().to_vec());
    }

    fn break_off(mut self, error: &Error) {
        let last = self.answer(&error::body(error, None)).to_vec();
        // Answers that wait are kept: each says that a row is durable.
        self.outbox.break_off(last, false);
    }

    /// Writes each row and answers it before the next one, so that a stop in between leaves no row without its answer.
    fn write(&mut self, rows: &[Bytes]) -> Result<(), Gone> {
        for row in rows {
            if self.app.stopping.ends(self.bounded) {
                return Err(Gone::Left);
            }
            let inserted = read::<Map<String, Value>>(row)
                .and_then(|row| self.app.engine.insert_row(&self.target, &row, &mut self.session));
            let seq = self.written;
            let answer = match inserted {
                Ok(()) => {
                    self.tally.rows += 1;
                    json!({ "status": "ok", "seq": seq })
                }
                Err(e) => {
                    self.tally.failed += 1;
                    json!({ "status": "error", "seq": seq, "error_code": e.code(), "message": e.to_string() })
                }
            };
            let answer = self.answer(&answer);
            self.outbox.send(answer, &|| self.app.stopping.ends(self.bounded))?;
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
