//! Errors as ksqlDB's API writes them.

use super::api;
use crate::error::{Error, TOO_MANY_REQUESTS};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

/// The body of an error; `statement` is the text it belongs to. A text that is sent too often is not at fault.
pub(super) fn body(error: &Error, statement: Option<&str>) -> Value {
    let statement = statement.filter(|_| error.code() != TOO_MANY_REQUESTS);
    let mut message = error.to_string();
    // ksqlDB's `ParsingException` quotes the statement behind what is wrong with it.
    if let Some(text) = statement.filter(|_| error.message().contains("Syntax Error")) {
        message = format!("{message}\nStatement: {text};");
    }
    if let Some(hint) = error.hint() {
        message = format!("{message}\n{hint}");
    }
    match statement {
        Some(text) => json!({
            "@type": "statement_error",
            "error_code": error.code(),
            "message": message,
            "statementText": format!("{text};"),
            "entities": [],
        }),
        None => json!({ "@type": "generic_error", "error_code": error.code(), "message": message }),
    }
}

/// The response of a failed request: status = code / 100.
pub(super) fn response(error: &Error, statement: Option<&str>) -> Response {
    let status = u16::try_from(error.code() / 100).ok().and_then(|c| StatusCode::from_u16(c).ok());
    (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body(error, statement))).into_response()
}

/// The same for a request to this path: below `/api/v1` errors have a form of their own.
pub(super) fn response_at(path: &str, error: &Error) -> Response {
    match api::is_path(path) {
        true => api::failure(error, None),
        false => response(error, None),
    }
}
