//! Errors as ksqlDB's API writes them, and as `/api/v1` does.
//!
//! ```text
//! /ksql     {"@type":"statement_error","error_code":40001,"message":"what: detail\nhint",..,"hint":..,"span":{..}}
//! /api/v1   {"code":40001,"message":"what","detail":..,"hint":..,"span":{"start":7,"end":11,"line":1,"column":8}}
//! ```
//!
//! Places count UTF-16 code units. In ksqlDB's form `detail`, `hint` and `span` are extra members, which its clients ignore.

use crate::error::{Error, TOO_MANY_REQUESTS};
use crate::parse::text::place::Place;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

/// The body of an error; `statement` is the text it belongs to. A text that is sent too often is not at fault.
pub(super) fn body(error: &Error, statement: Option<&str>) -> Value {
    body_in(error, statement, None)
}

/// The same where the text of the whole request is known, in which the error has its place.
pub(super) fn body_in(error: &Error, statement: Option<&str>, whole: Option<&str>) -> Value {
    let statement = statement.filter(|_| error.code() != TOO_MANY_REQUESTS);
    let mut message = error.to_string();
    // ksqlDB's `ParsingException` quotes the statement behind what is wrong with it.
    if let Some(text) = statement.filter(|_| error.message().contains("Syntax Error")) {
        message = format!("{message}\nStatement: {text};");
    }
    if let Some(hint) = error.hint() {
        message = format!("{message}\n{hint}");
    }
    let mut body = match statement {
        Some(text) => json!({
            "@type": "statement_error",
            "error_code": error.code(),
            "message": message,
            "statementText": format!("{text};"),
            "entities": [],
        }),
        None => json!({ "@type": "generic_error", "error_code": error.code(), "message": message }),
    };
    let Value::Object(extra) = api_body(error, whole) else { return body };
    for (name, value) in extra {
        if matches!(name.as_str(), "detail" | "hint" | "span") && !value.is_null() {
            body[name] = value;
        }
    }
    body
}

/// Where everything for programs is.
pub(super) const API: &str = "/api/v1";

/// Is the path below [`API`]?
pub(super) fn is_api(path: &str) -> bool {
    path.strip_prefix(API).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A place in a text.
pub(super) fn place(place: Place) -> Value {
    json!({ "start": place.start, "end": place.end, "line": place.line, "column": place.column })
}

/// The body of an error below [`API`]; its place is one in `text`.
pub(super) fn api_body(error: &Error, text: Option<&str>) -> Value {
    json!({
        "code": error.code(),
        "message": error.message(),
        "detail": error.detail(),
        "hint": error.hint(),
        "span": text.zip(error.span()).map(|(text, span)| place(Place::of(text, span))),
    })
}

/// The response of a request below [`API`] that failed: its status is the code divided by 100.
pub(super) fn api_response(error: &Error, text: Option<&str>) -> Response {
    (status(error), Json(api_body(error, text))).into_response()
}

fn status(error: &Error) -> StatusCode {
    let status = u16::try_from(error.code() / 100).ok().and_then(|code| StatusCode::from_u16(code).ok());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The response of a failed request: status = code / 100.
pub(super) fn response(error: &Error, statement: Option<&str>) -> Response {
    response_in(error, statement, None)
}

/// The same where the text of the whole request is known.
pub(super) fn response_in(error: &Error, statement: Option<&str>, whole: Option<&str>) -> Response {
    (status(error), Json(body_in(error, statement, whole))).into_response()
}

/// The response to a request to this path.
pub(super) fn response_at(path: &str, error: &Error) -> Response {
    match is_api(path) {
        true => api_response(error, None),
        false => response(error, None),
    }
}
