//! Errors as gRPC statuses, for requests that reach the service and for those that a layer in front of it refuses.
//!
//! ```text
//! grpc-status     follows from the kind of the error
//! grpc-message    SELECT column 'SPED' cannot be resolved.
//!                 at line 1, column 8
//!                 hint: did you mean SPEED?
//! tidegate-code   40001      tidegate-line   1      tidegate-column   8
//! ```
//!
//! Clients show the message alone, so that it holds everything; the metadata is for programs.

use crate::error::{Error, Kind, SHUTTING_DOWN, TOO_MANY_REQUESTS};
use crate::parse::text::place::Place;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Characters of a message: it is sent in a header, percent-encoded, and clients read at most 8 KiB of headers.
const MESSAGE_CHARS_MAX: usize = 600;
/// Bytes of the body of a refusal: they are small.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// The status of an error; `text` is the one in which it has its place.
pub(super) fn of(error: &Error, text: Option<&str>) -> Status {
    let place = text.zip(error.span()).map(|(text, span)| Place::of(text, span));
    let mut message: String = error.to_string().chars().take(MESSAGE_CHARS_MAX).collect();
    if let Some(place) = place {
        message.push_str(&format!("\nat line {}, column {}", place.line, place.column));
    }
    if let Some(hint) = error.hint() {
        let hint: String = hint.chars().take(MESSAGE_CHARS_MAX).collect();
        message.push_str(&format!("\nhint: {hint}"));
    }
    let mut status = Status::new(code(error), message);
    let metadata = status.metadata_mut();
    metadata.insert("tidegate-code", MetadataValue::from(error.code()));
    if let Some(place) = place {
        metadata.insert("tidegate-line", MetadataValue::from(place.line));
        metadata.insert("tidegate-column", MetadataValue::from(place.column));
    }
    status
}

fn code(error: &Error) -> Code {
    match (error.kind(), error.code()) {
        (_, SHUTTING_DOWN) => Code::Unavailable,
        (_, 40_300) => Code::PermissionDenied,
        (_, 40_100) => Code::Unauthenticated,
        (_, TOO_MANY_REQUESTS) | (Kind::Busy, _) => Code::ResourceExhausted,
        (Kind::Statement, _) => Code::InvalidArgument,
        (Kind::NotFound, _) => Code::NotFound,
        (Kind::Data, _) => Code::DataLoss,
        (Kind::Io, _) => Code::Unavailable,
        (Kind::Fenced, _) => Code::Aborted,
        (Kind::Bug, _) => Code::Internal,
    }
}

/// What the protocol has and this server does not.
pub(super) fn unsupported(what: &str, hint: &str) -> Status {
    Status::unimplemented(format!("{what} is not supported\nhint: {hint}"))
}

/// A request that does not follow the protocol.
pub(super) fn malformed(what: &str, cause: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{what} cannot be read: {cause}"))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_some_and(|media_type| media_type.starts_with("application/grpc"))
}

/// The layer that puts a refusal of HTTP (no user, no right, no such path) into the form that a gRPC client reads.
pub(in crate::serve) async fn refusals(request: Request, next: Next) -> Response {
    let wants_grpc = is_grpc(request.headers());
    let response = next.run(request).await;
    if !wants_grpc || is_grpc(response.headers()) {
        return response;
    }
    let code = match response.status() {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    };
    let status = response.status();
    let body = to_bytes(response.into_body(), REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = body["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
    Status::new(code, message.chars().take(MESSAGE_CHARS_MAX).collect::<String>()).into_http::<Body>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Span;

    #[test]
    fn a_status_has_the_place_and_the_hint() {
        let error = Error::statement("no such column").at(Span::new(8, 11)).with_hint("try another");
        let status = of(&error, Some("SELECT\n x, y"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "no such column\nat line 2, column 2\nhint: try another");
        assert_eq!(status.metadata().get("tidegate-code").unwrap(), "40001");
        assert_eq!(status.metadata().get("tidegate-line").unwrap(), "2");
        assert_eq!(of(&Error::statement("no").with_code(40_300), None).code(), Code::PermissionDenied);
        assert_eq!(of(&crate::serve::stopping::error(), None).code(), Code::Unavailable);
        assert!(of(&Error::bug("x".repeat(10_000)), None).message().len() < 1_000);
    }
}
