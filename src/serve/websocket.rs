//! `GET /ws/query?request={"ksql":"SELECT ..."}`: a result set over a WebSocket, as ksqlDB's consoles read it.
//!
//! ```text
//! server  [{"name":"ID","schema":{"type":"INTEGER",..}},..]    the columns
//! server  {"row":{"columns":[1,"one"]}}                        each row a message
//! server  close 1000 done                                      or why it ended: 1003 the request, 1011 the query
//! ```
//!
//! The handshake and the frames are RFC 6455's, the server's half of it: it sends text, answers pings and closes.

use super::limits::{MESSAGE_BYTES_MAX, READER_PATIENCE};
use super::rows::Shape;
use super::rows::queue::Frames;
use super::stream::{Ended, Pumped, open, pumped};
use super::{App, error, stopping};
use crate::engine::access::Principal;
use crate::error::{Error, Result};
use axum::body::Body;
use axum::extract::{Extension, Query, Request, State};
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::{HeaderMap, HeaderName, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use ring::digest;
use serde::Deserialize;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What RFC 6455 adds to a client's key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The one version there is.
const VERSION: &str = "13";
/// Longest text that fits into a close frame beside its code.
const REASON_BYTES_MAX: usize = 123;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// The last frame of its message; we send no others.
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Everything was sent.
const DONE: u16 = 1000;
/// The client says what no client may say.
const PROTOCOL_ERROR: u16 = 1002;
/// The request cannot be carried out.
const REFUSED: u16 = 1003;
/// The query failed.
const FAILED: u16 = 1011;
/// The server stops.
const GOING: u16 = 1001;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    request: Option<String>,
}

type Io = TokioIo<Upgraded>;

pub(super) async fn query(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Query(asked): Query<Asked>,
    mut request: Request,
) -> Response {
    let Some(text) = asked.request else {
        let e = Error::statement("the query has no request").with_code(40000);
        return error::response(&e.with_hint("/ws/query?request={\"ksql\":\"SELECT ...;\"}, percent-encoded"), None);
    };
    let accept = match accept(request.headers()) {
        Ok(accept) => accept,
        Err(e) => return error::response(&e, None),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let held = app.stopping.connection();
    tokio::spawn(async move {
        // A server that stops waits for it as for any other connection.
        let _held = held;
        // A connection that cannot become a WebSocket has ended; nobody is there to be told.
        if let Ok(upgraded) = upgrade.await {
            talk(app, principal, TokioIo::new(upgraded), text).await;
        }
    });
    let answer = HttpResponse::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty());
    answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// What answers the client's key.
fn accept(headers: &HeaderMap) -> Result<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let key = text(SEC_WEBSOCKET_KEY);
    if !text(UPGRADE).eq_ignore_ascii_case("websocket") || key.is_empty() {
        let e = Error::statement("this is for WebSockets over HTTP/1.1").with_code(40000);
        return Err(e.with_hint("POST /query-stream answers the same rows"));
    }
    if text(SEC_WEBSOCKET_VERSION) != VERSION {
        return Err(Error::statement(format!("WebSockets of version {VERSION} are spoken here")).with_code(42600));
    }
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MAGIC}").as_bytes());
    Ok(STANDARD.encode(hash.as_ref()))
}

async fn talk(app: Arc<App>, principal: Principal, io: Io, request: String) {
    let (reader, writer) = split(io);
    let mut client = Client { writer, told: listen(reader) };
    let opened = {
        let app = app.clone();
        tokio::task::spawn_blocking(move || open(&app, principal, request.as_bytes())).await
    };
    let opened = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err((e, _))) => return client.close(REFUSED, &e.to_string()).await,
        Err(_) => return client.close(FAILED, "the request's thread ended early").await,
    };
    let shape = if opened.is_print { Shape::Text } else { Shape::Messages };
    let Pumped { frames, ended } = pumped(app, opened, shape);
    if client.send_all(frames).await.is_err() {
        return;
    }
    match ended.await {
        Ok(Ended::Done) => client.close(DONE, "done").await,
        Ok(Ended::Failed(e)) => client.close(FAILED, &e.to_string()).await,
        Ok(Ended::Stopping) => client.close(GOING, stopping::error().message()).await,
        Ok(Ended::Closed) => client.close(FAILED, "the query was closed").await,
        Err(_) => client.close(FAILED, "the query's thread ended early").await,
        Ok(Ended::Gone | Ended::Stuck) => {}
    }
}

/// What the client says.
#[derive(Debug)]
enum Told {
    Ping(Vec<u8>),
    /// It closes, or has gone, or breaks the protocol: what it is to be told.
    Close(Option<u16>),
}

struct Client {
    writer: WriteHalf<Io>,
    told: mpsc::Receiver<Told>,
}

/// Why nothing more can be sent.
struct Over;

impl Client {
    async fn send_all(&mut self, mut frames: Frames) -> Result<(), Over> {
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Some(Ok(frame)) => self.send(TEXT, &frame).await?,
                    // How it ended is said when the socket is closed.
                    Some(Err(_)) | None => return Ok(()),
                },
                told = self.told.recv() => match told {
                    Some(Told::Ping(payload)) => self.send(PONG, &payload).await?,
                    Some(Told::Close(Some(code))) => {
                        self.close(code, "").await;
                        return Err(Over);
                    }
                    Some(Told::Close(None)) | None => return Err(Over),
                },
            }
        }
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), Over> {
        let mut frame = Vec::with_capacity(payload.len() + 10);
        frame.push(FIN | kind);
        match payload.len() {
            short @ 0..126 => frame.push(short as u8),
            middle @ 126..0x1_0000 => {
                frame.push(126);
                frame.extend_from_slice(&(middle as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        match timeout(READER_PATIENCE, self.writer.write_all(&frame)).await {
            Ok(Ok(())) => self.writer.flush().await.map_err(|_| Over),
            _ => Err(Over),
        }
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        let end = (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
        payload.extend_from_slice(&reason.as_bytes()[..end.unwrap_or(0)]);
        // Whoever has gone does not hear it.
        if self.send(CLOSE, &payload).await.is_ok() {
            let _ = self.writer.shutdown().await;
        }
    }
}

/// Reads what the client says, in the background, until it closes.
fn listen(mut reader: ReadHalf<Io>) -> mpsc::Receiver<Told> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let told = next(&mut reader).await;
            let last = matches!(told, Ok(Some(Told::Close(_))) | Err(_));
            match told {
                Ok(None) => {}
                Ok(Some(told)) => drop(sender.send(told).await),
                Err(code) => drop(sender.send(Told::Close(code)).await),
            }
            if last || sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

/// One frame of the client; `None` = one that means nothing here. The error is the code it is closed with, if it is there.
async fn next(reader: &mut ReadHalf<Io>) -> Result<Option<Told>, Option<u16>> {
    let gone = |_| None;
    let mut head = [0; 2];
    reader.read_exact(&mut head).await.map_err(gone)?;
    if head[1] & MASKED == 0 {
        return Err(Some(PROTOCOL_ERROR));
    }
    let length = match head[1] & !MASKED {
        126 => u64::from(reader.read_u16().await.map_err(gone)?),
        127 => reader.read_u64().await.map_err(gone)?,
        short => u64::from(short),
    };
    let length = usize::try_from(length).ok().filter(|l| *l <= MESSAGE_BYTES_MAX).ok_or(Some(PROTOCOL_ERROR))?;
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await.map_err(gone)?;
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await.map_err(gone)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(match head[0] & 0x0F {
        PING => Some(Told::Ping(payload)),
        // What it closed with goes back to it.
        CLOSE => Some(Told::Close(Some(payload.first_chunk().map_or(DONE, |code| u16::from_be_bytes(*code))))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_key_is_answered_as_the_standard_shows() {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&headers).unwrap_err().code(), 42600);
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.remove(UPGRADE);
        assert_eq!(accept(&headers).unwrap_err().code(), 40000);
    }
}
