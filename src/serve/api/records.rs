//! `/api/v1/topics/{topic}/records`: records of a topic, decoded and raw; and records written to it.
//!
//! ```text
//! GET  ?last=100&where=speed>200    {"partition":0,"offset":7,"time":..,"key":"a","value":{..},"keyRaw":"YQ==",..,"bad":null}
//! GET  ?live=true                   the same as records arrive, a line each, until the client leaves
//! POST {"records":[{"key":"a","value":{"speed":12.5}}]}    {"offsets":[{"partition":0,"offset":8}]}
//! ```

use super::parameters::parameters;
use super::{failure, reply, sent};
use crate::engine::access::Principal;
use crate::engine::insert::records::{NewRecord, Payload};
use crate::engine::introspect::records::decode::Form;
use crate::engine::introspect::records::line::RecordLine;
use crate::engine::introspect::records::read::{From, LIMIT_MAX, Records, RecordsQuery};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::log::Header;
use crate::serve::limits::STREAMS_MAX;
use crate::serve::rows::queue::{Frames, RowQueue, row_queue};
use crate::serve::{App, error, on_thread, stopping};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A line a record.
const NDJSON: &str = "application/x-ndjson";
/// Records unless the request says how many.
const LIMIT: usize = 100;
/// How often a live response looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);

/// What a request may ask for.
const PARAMETERS: [&str; 9] = ["partition", "offset", "time", "last", "limit", "as", "source", "where", "live"];

type Parameters = BTreeMap<String, String>;

/// A request as it was asked: what is read, whatever it is called.
fn query_of(parameters: &Parameters) -> Result<RecordsQuery> {
    let is_live = match parameters.get("live").map(String::as_str) {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(other) => return Err(wrong("live", other, "true or false")),
    };
    let last = number::<usize>(parameters, "last")?;
    let limit = number::<usize>(parameters, "limit")?.or(last).unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(wrong("limit", &limit.to_string(), &format!("1 to {LIMIT_MAX}")));
    }
    let from = match (number(parameters, "offset")?, number(parameters, "time")?, last) {
        (Some(offset), None, None) => From::Offset(offset),
        (None, Some(time), None) => From::Time(time),
        (None, None, Some(last)) => From::Last(last.min(limit)),
        (None, None, None) if is_live => From::Now,
        (None, None, None) => From::Last(limit),
        _ => {
            let text = "reading starts in one place: give one of offset, time and last";
            return Err(Error::statement(text).with_code(40000));
        }
    };
    let form = parameters.get("as").map_or("declared", String::as_str);
    Ok(RecordsQuery {
        partition: number(parameters, "partition")?,
        from,
        limit,
        form: Form::named(form).ok_or_else(|| wrong("as", form, "declared, json, kafka, text or hex"))?,
        source: parameters.get("source").cloned(),
        condition: parameters.get("where").filter(|text| !text.trim().is_empty()).cloned(),
        is_live,
    })
}

fn wrong(name: &str, value: &str, expected: &str) -> Error {
    Error::statement(format!("{name} is {value}, expected {expected}")).with_code(40000)
}

fn number<T: std::str::FromStr>(parameters: &Parameters, name: &str) -> Result<Option<T>> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| wrong(name, text, "a number"))
}

/// Reads records.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Extension(user): Extension<Principal>,
    Path(topic): Path<String>,
    uri: Uri,
) -> Response {
    let query = match parameters(&uri, &PARAMETERS).and_then(|parameters| query_of(&parameters)) {
        Ok(query) => query,
        Err(e) => return failure(&e, None),
    };
    let (condition, is_live) = (query.condition.clone(), query.is_live);
    let opening = {
        let app = app.clone();
        on_thread(move || {
            let records = app.engine.records(&topic, query, &Session::of(user))?;
            Ok(if is_live { Opened::Live(Box::new(records)) } else { Opened::All(all(&app, records)?) })
        })
    };
    let opened = match opening {
        Ok(opening) => opening.await.unwrap_or_else(|_| Err(Error::bug("the request's task ended early"))),
        Err(busy) => Err(busy),
    };
    match opened {
        Ok(Opened::All(lines)) => ([(CONTENT_TYPE, NDJSON)], lines).into_response(),
        Ok(Opened::Live(records)) => live(app, *records).unwrap_or_else(|e| failure(&e, None)),
        // The place of an error in a condition is a place in the condition.
        Err(e) => failure(&e, condition.as_deref()),
    }
}

enum Opened {
    All(Vec<u8>),
    Live(Box<Records>),
}

fn all(app: &App, records: Records) -> Result<Vec<u8>> {
    let lines = records.all(&|| app.stopping.ends(true))?;
    let mut out = Vec::new();
    lines.iter().for_each(|line| write_line(line, &mut out));
    Ok(out)
}

/// Sends records as they arrive, from a thread of its own, as one of the streamed results.
fn live(app: Arc<App>, records: Records) -> Result<Response> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Error::statement(format!("the limit of {STREAMS_MAX} streamed results is reached"))
            .with_code(40003)
            .with_hint("close one of them")
    })?;
    let (queue, frames): (RowQueue, Frames) = row_queue(app.engine.clock().clone(), app.stopping.answer(false));
    on_thread(move || {
        pump(&app, records, queue);
        drop(permit);
    })?;
    Ok(([(CONTENT_TYPE, NDJSON)], Body::from_stream(frames)).into_response())
}

fn pump(app: &App, mut records: Records, queue: RowQueue) {
    let is_over = || app.stopping.ends(false);
    let failed = loop {
        if queue.is_left() {
            return;
        }
        if is_over() {
            break stopping::error();
        }
        let lines = match records.next(LOOK) {
            Ok(lines) => lines,
            Err(e) => break e,
        };
        for line in &lines {
            let mut frame = Vec::new();
            write_line(line, &mut frame);
            if queue.send(Bytes::from(frame), &is_over).is_err() {
                break;
            }
        }
    };
    let last = json!({ "error": error::api_body(&failed, None) });
    queue.break_off(format!("{last}\n").into_bytes(), false);
}

fn write_line(line: &RecordLine, out: &mut Vec<u8>) {
    let raw = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let header = |header: &Header| {
        // A value that is no text is shown in base64, too.
        let text = header.value.as_ref().and_then(|value| std::str::from_utf8(value).ok());
        json!({ "key": header.key, "value": text, "valueRaw": raw(&header.value) })
    };
    let body = json!({
        "partition": line.partition,
        "offset": line.offset,
        "time": line.time,
        "timeKind": line.time.map(|_| "record"),
        "key": line.key,
        "value": line.value,
        "window": line.window.map(|(start, end)| json!({ "start": start, "end": end })),
        "keyRaw": raw(&line.key_raw),
        "valueRaw": raw(&line.value_raw),
        "headers": line.headers.iter().map(header).collect::<Vec<_>>(),
        "size": line.bytes(),
        "tombstone": line.value_raw.is_none(),
        "bad": line.bad.as_ref().map(|bad| json!({ "reason": bad.reason, "path": bad.path })),
    });
    out.extend_from_slice(body.to_string().as_bytes());
    out.push(b'\n');
}

/// Records to be written.
#[derive(Deserialize)]
struct Sent {
    records: Vec<SentRecord>,
    /// The stream or table that declares them, where several do.
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentRecord {
    partition: Option<i32>,
    #[serde(default)]
    key: Value,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    headers: Vec<SentHeader>,
    time: Option<i64>,
    #[serde(rename = "as")]
    form: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentHeader {
    key: String,
    value: Option<String>,
    /// In base64.
    value_raw: Option<String>,
}

impl SentRecord {
    fn read(self) -> Result<NewRecord> {
        let form = self
            .form
            .map(|form| Payload::named(&form).ok_or_else(|| wrong("as", &form, "declared, json, text, hex or base64")));
        let header = |header: SentHeader| {
            let value = match header.value_raw {
                Some(raw) => Some(STANDARD.decode(&raw).map_err(|_| wrong("valueRaw", &raw, "base64"))?),
                None => header.value.map(String::into_bytes),
            };
            Ok(Header { key: header.key, value })
        };
        Ok(NewRecord {
            partition: self.partition,
            key: self.key,
            value: self.value,
            form: form.transpose()?,
            headers: self.headers.into_iter().map(header).collect::<Result<_>>()?,
            time: self.time,
        })
    }
}

/// Writes records.
pub(super) async fn write(
    State(app): State<Arc<App>>,
    Extension(user): Extension<Principal>,
    Path(topic): Path<String>,
    body: Bytes,
) -> Response {
    reply(&app, move |app| {
        let session = Session::of(user);
        // Without the right to the topic nothing of the body is read.
        app.engine.check_records_target(&topic, &session)?;
        let sent: Sent = sent(&body)?;
        let records = sent.records.into_iter().map(SentRecord::read).collect::<Result<Vec<_>>>()?;
        let written = app.engine.write_records(&topic, &records, sent.source.as_deref(), &session);
        let details = json!({ "topic": topic, "records": records.len() });
        app.engine.audit().note("records", session.principal(), details, written.as_ref().map(drop));
        let offset = |(partition, offset): (i32, Option<i64>)| json!({ "partition": partition, "offset": offset });
        Ok(json!({ "offsets": written?.into_iter().map(offset).collect::<Vec<_>>() }))
    })
    .await
}
