//! `GET /ws/query?request={"ksql":"SELECT ..."}`: a result set over a WebSocket, as ksqlDB's consoles read it.
//!
//! ```text
//! server  [{"name":"ID","schema":{"type":"INTEGER",..}},..]    the columns
//! server  {"row":{"columns":[1,"one"]}}                        each row a message
//! server  close 1000 done                                      or why it ended: 1003 the request, 1011 the query
//! ```
//!
//! axum (tungstenite) does the handshake, the frames, and the replies to pings and to the client's close (RFC 6455). Messages of
//! the client are ignored; one that is larger than [`MESSAGE_BYTES_MAX`], or not masked, ends the connection with 1002.

use super::{Ended, Pumped, open, pumped};
use crate::engine::access::Principal;
use crate::error::Error;
use crate::serve::limits::{CLOSE_REPLY_TIMEOUT, MESSAGE_BYTES_MAX, READER_PATIENCE};
use crate::serve::rows::Shape;
use crate::serve::rows::queue::Frames;
use crate::serve::{App, error, on_thread, stopping};
use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Query, State};
use axum::http::HeaderValue;
use axum::http::header::SEC_WEBSOCKET_VERSION;
use axum::response::Response;
use futures::StreamExt;
use serde::Deserialize;
use std::sync::Arc;
use tokio::time::timeout;

/// Longest reason in a close frame, beside its code (RFC 6455, section 5.5).
const REASON_BYTES_MAX: usize = 123;
/// The version of RFC 6455, and the only one.
const VERSION: &str = "13";

/// Codes of a close frame (RFC 6455, section 7.4.1): all rows were sent.
const DONE: u16 = 1000;
/// The server is shutting down.
const GOING_AWAY: u16 = 1001;
/// The client breaks the protocol.
const PROTOCOL_ERROR: u16 = 1002;
/// The request is invalid.
const REFUSED: u16 = 1003;
/// The query failed.
const FAILED: u16 = 1011;

#[derive(Debug, Deserialize)]
pub(in crate::serve) struct Parameters {
    request: Option<String>,
}

pub(in crate::serve) async fn query(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Query(parameters): Query<Parameters>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Some(text) = parameters.request else {
        let e = Error::statement("missing parameter request").with_code(40000);
        return error::response(&e.with_hint("/ws/query?request={\"ksql\":\"SELECT ...;\"}, percent-encoded"), None);
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejected(&rejection),
    };
    // A stopping server waits for it as for any other connection; it is released even if the upgrade fails.
    let held = app.stopping.connection();
    // Each message is flushed before the next one is taken, so that the buffer holds one message.
    upgrade.write_buffer_size(0).max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX).on_upgrade(
        move |socket| async move {
            let _held = held;
            serve(app, principal, Client { socket }, text).await;
        },
    )
}

fn rejected(rejection: &WebSocketUpgradeRejection) -> Response {
    if matches!(rejection, WebSocketUpgradeRejection::InvalidWebSocketVersionHeader(_)) {
        let e = Error::statement(format!("unsupported WebSocket version, expected {VERSION}")).with_code(42600);
        let mut response = error::response(&e, None);
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        return response;
    }
    let e = Error::statement("expected a WebSocket handshake over HTTP/1.1").with_code(40000);
    error::response(&e.with_hint("POST /query-stream returns the same rows"), None)
}

async fn serve(app: Arc<App>, principal: Principal, mut client: Client, request: String) {
    let opened = {
        let app = app.clone();
        match on_thread(move || open(&app, principal, request.as_bytes())) {
            Ok(opening) => opening.await,
            Err(busy) => return client.close(FAILED, &busy.to_string()).await,
        }
    };
    let opened = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err((e, _))) => return client.close(REFUSED, &e.to_string()).await,
        Err(_) => return client.close(FAILED, "the request's task ended early").await,
    };
    let shape = if opened.is_print { Shape::Text } else { Shape::Messages };
    let Pumped { frames, ended } = pumped(app, opened, shape);
    if client.send_all(frames).await.is_err() {
        return;
    }
    match ended.await {
        Ok(Ended::Done) => client.close(DONE, "done").await,
        Ok(Ended::Failed(e)) => client.close(FAILED, &e.to_string()).await,
        Ok(Ended::Stopping) => client.close(GOING_AWAY, stopping::error().message()).await,
        Ok(Ended::Closed) => client.close(FAILED, "the query was closed").await,
        Err(_) => client.close(FAILED, "the query's thread ended early").await,
        Ok(Ended::Gone | Ended::Stuck) => {}
    }
}

struct Client {
    socket: WebSocket,
}

/// The connection has ended: nothing more can be sent.
struct Disconnected;

impl Client {
    async fn send_all(&mut self, mut frames: Frames) -> Result<(), Disconnected> {
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Some(Ok(frame)) => self.send(text(frame)).await?,
                    // How it ended is in the close frame.
                    Some(Err(_)) | None => return Ok(()),
                },
                received = self.socket.recv() => match received {
                    Some(Ok(Message::Close(_))) => {
                        // The reply waits in the socket and is sent by the next read.
                        self.await_end().await;
                        return Err(Disconnected);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) => {
                        self.close(PROTOCOL_ERROR, "").await;
                        return Err(Disconnected);
                    }
                    None => return Err(Disconnected),
                },
            }
        }
    }

    /// Sends a message; a client that does not take it in time is disconnected.
    async fn send(&mut self, message: Message) -> Result<(), Disconnected> {
        match timeout(READER_PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Disconnected),
        }
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let reason = Utf8Bytes::from(&reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]);
        if self.send(Message::Close(Some(CloseFrame { code, reason }))).await.is_ok() {
            self.await_end().await;
        }
    }

    /// Reads until the client has confirmed the end: a connection that is closed with something unread in it would be reset, and
    /// the client might lose the close frame.
    async fn await_end(&mut self) {
        let _ = timeout(CLOSE_REPLY_TIMEOUT, async { while let Some(Ok(_)) = self.socket.recv().await {} }).await;
    }
}

/// Rows are JSON, and therefore UTF-8; what is not (a printed record) is shown with replacement characters.
fn text(frame: Bytes) -> Message {
    let text = Utf8Bytes::try_from(frame.clone());
    Message::Text(text.unwrap_or_else(|_| String::from_utf8_lossy(&frame).into_owned().into()))
}
