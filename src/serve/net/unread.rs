//! Requests whose response comes before their body: refused ones above all.
//!
//! Over HTTP/1.1 the next request follows the body, so a connection whose body was left unread cannot be used again. Hyper closes it
//! then, but only once the response is sent, and does not announce it: a client whose body arrives a moment later than its head
//! sends its next request on a connection that is gone. So what a handler has left is read here, up to a bound; where more is
//! left, the response says `connection: close`.

use crate::serve::limits::{OPEN_BODY_PATIENCE, REFUSED_BYTES_MAX, REFUSED_PATIENCE};
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// Where a dropped body is put that has not been read to its end.
type Left = Arc<Mutex<Option<Body>>>;

/// The body of a request, handed back when it is dropped unread.
struct Lent {
    body: Body,
    is_read: bool,
    left: Left,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.is_read |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_read && !self.body.is_end_stream() {
            *self.left.lock() = Some(std::mem::take(&mut self.body));
        }
    }
}

/// The layer that reads what its handler has left of a body. A handler that continues to read while its response is sent keeps the
/// body.
pub(in crate::serve) async fn left_is_read(request: Request, next: Next) -> Response {
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let left = Left::default();
    let patience = match request.body().size_hint().exact() {
        Some(_) => REFUSED_PATIENCE,
        None => OPEN_BODY_PATIENCE,
    };
    let request = request.map(|body| Body::new(Lent { body, is_read: false, left: left.clone() }));
    let mut response = next.run(request).await;
    let body = left.lock().take();
    if let Some(body) = body
        && !discard(body.into_data_stream(), REFUSED_BYTES_MAX, patience).await
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads at most so many bytes of a rejected body, and returns whether that was all: a client that is still sending when the
/// connection is closed would lose the response.
pub(in crate::serve) async fn discard(mut body: BodyDataStream, bytes_max: usize, patience: Duration) -> bool {
    let read = async {
        let mut left = bytes_max;
        while let Some(Ok(data)) = body.next().await {
            match left.checked_sub(data.len()) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    timeout(patience, read).await.unwrap_or(false)
}
