//! `POST /ksql`: statements that are not queries.

pub(super) mod entity;
pub(super) mod inserts;
pub(super) mod server;

use crate::engine::Answer;
use crate::engine::access::Principal;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::Piece;
use crate::parse::statement::{Parsed, Statement};
use crate::serve::rows::{JSON, KSQL, accepted, not_acceptable};
use crate::serve::{App, blocking, error};
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The request's body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    ksql: String,
    #[serde(default)]
    streams_properties: BTreeMap<String, Value>,
    #[serde(default)]
    session_variables: BTreeMap<String, Value>,
    /// The command that has to be carried out before.
    command_sequence_number: Option<i64>,
}

/// Reads an object, whatever the content type: ksqlDB's clients send several.
pub(super) fn read<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    // A list of the fields' values would be taken for the object.
    match body.trim_ascii_start().first() {
        Some(b'{') => read_any(body),
        Some(_) => Err(unreadable("expected an object".to_owned())),
        None => Err(unreadable("it is empty".to_owned())),
    }
}

/// JSON of any kind.
pub(super) fn read_any<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| unreadable(e.to_string()))
}

fn unreadable(detail: String) -> Error {
    Error::statement("invalid request body")
        .with_code(40000)
        .with_detail(detail)
        .with_hint("POST /ksql expects {\"ksql\":\"STATEMENTS;\"}, /query-stream {\"sql\":\"SELECT ...;\"}")
}

/// JSON scalars as property text.
pub(super) fn texts(values: BTreeMap<String, Value>) -> impl Iterator<Item = (String, String)> {
    values.into_iter().map(|(name, value)| match value {
        Value::String(text) => (name, text),
        other => (name, other.to_string()),
    })
}

pub(super) async fn ksql(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let named = accepted(&headers);
    let known = |name: &String| matches!(name.as_str(), JSON | KSQL | "*/*" | "application/*");
    if !named.is_empty() && !named.iter().any(known) {
        return error::response(&not_acceptable(&named, &[JSON, KSQL]), None);
    }
    let request: Request = match read(&body) {
        Ok(request) => request,
        Err(e) => return error::response(&e, None),
    };
    blocking(&app, move |app| run(app, principal, request)).await
}

/// What `/ksql/terminate` is sent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminate {
    /// Topics that go with their queries: names or regular expressions.
    #[serde(default)]
    delete_topic_list: Vec<String>,
}

/// Ends every query of this service, and the service.
pub(super) async fn terminate(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    body: axum::body::Bytes,
) -> Response {
    let asked = match body.trim_ascii().is_empty() {
        true => Ok(Terminate::default()),
        false => read(&body),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(e) => return error::response(&e, None),
    };
    let session = Session::of(principal);
    blocking(&app, move |app| match app.engine.terminate_cluster(&asked.delete_topic_list, &session) {
        Ok(entity) => {
            let entities = entity::to_json(&entity, "TERMINATE CLUSTER", &app.address.to_string());
            Json(Value::from_iter(entities)).into_response()
        }
        Err(e) => error::response(&e, None),
    })
    .await
}

/// The statement of a text in which an error is; the whole text where that is not known.
pub(super) fn failing<'a>(text: &'a str, error: &Error) -> &'a str {
    let at = error.span().map(|span| span.start);
    let pieces = crate::parse::split(text);
    let holds = |piece: &&Piece<'_>| at.is_some_and(|at| piece.span.start <= at && at <= piece.span.end);
    pieces.iter().find(holds).map_or(text, |piece| piece.text).trim().trim_end_matches(';')
}

fn run(app: &App, principal: Principal, request: Request) -> Response {
    let session = Session::of(principal).with_properties(texts(request.streams_properties));
    let mut session = match session {
        Ok(session) => session,
        Err(e) => return error::response(&e, None),
    };
    for (name, value) in texts(request.session_variables) {
        session.define(&name, &value);
    }
    if let Err(e) = request.command_sequence_number.map_or(Ok(()), |n| app.engine.wait_for_command(n)) {
        return error::response(&e, None);
    }
    let whole = Some(request.ksql.as_str());
    let parsed = match app.engine.parse(&request.ksql, &session) {
        Ok(parsed) => parsed,
        Err(e) => return error::response_in(&e, Some(failing(&request.ksql, &e)), whole),
    };
    // Before anything is carried out.
    let query = |s: &&Parsed| {
        matches!(
            s.statement,
            Statement::Select(_)
                | Statement::Relational(_)
                | Statement::Analyze(_)
                | Statement::Print(_)
                | Statement::Verify(_)
        )
    };
    if let Some(statement) = parsed.iter().find(query) {
        let e = Error::statement("SELECT and PRINT are not supported by this endpoint")
            .with_code(40002)
            .with_hint("send them to /query-stream");
        return error::response_in(&e, Some(&statement.masked()), whole);
    }
    if let Err((at, e)) = app.engine.authorize_all(&parsed, &session) {
        return error::response_in(&e, Some(&parsed[at].masked()), whole);
    }
    if let Err((at, e)) = app.engine.validate(&parsed, &session) {
        return error::response_in(&e, Some(&parsed[at].masked()), whole);
    }
    let mut entities = Vec::new();
    for statement in &parsed {
        match app.engine.execute(statement, &mut session) {
            Ok(Answer::Entity(answer)) => {
                entities.extend(entity::to_json(&answer, &statement.masked(), &app.address.to_string()))
            }
            Ok(Answer::Rows(_)) => {
                return error::response(&Error::bug("a statement returned rows"), Some(&statement.masked()));
            }
            Err(e) => {
                let mut body = error::body_in(&e, Some(&statement.masked()), whole);
                body["entities"] = Value::Array(entities);
                let status = error::response(&e, None).status();
                return (status, Json(body)).into_response();
            }
        }
    }
    Json(Value::Array(entities)).into_response()
}
