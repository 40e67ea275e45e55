//! Texts as they are written: `/api/v1/check`, `/complete` and `/format`.
//!
//! ```text
//! POST check     {"sql":"SELECT sped FROM r;"}   -> statements with what each does, diagnostics with places and fixes
//! POST complete  {"sql":"SELECT * FROM ","at":14} -> {"from":14,"options":[{"label":"R","kind":"stream",..}]}
//! POST format    {"sql":"select 1 from r"}        -> {"sql":"SELECT 1\nFROM r"}
//! ```
//!
//! None of them has an effect. Texts may have variables and properties beside them, as those of `/ksql` do.

use super::{reply, sent};
use crate::engine::access::Principal;
use crate::engine::introspect::text::check::{Checked, CheckedStatement, Diagnostic, Severity};
use crate::engine::introspect::text::complete::{Completion, complete};
use crate::engine::session::Session;
use crate::error::{Result, Span};
use crate::parse::text::layout::layout;
use crate::parse::text::place::{Place, byte_of, utf16};
use crate::serve::App;
use crate::serve::ksql::texts;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A text and what belongs to it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Text {
    pub(super) sql: String,
    /// The cursor.
    pub(super) at: Option<usize>,
    #[serde(default)]
    properties: BTreeMap<String, Value>,
    #[serde(default)]
    session_variables: BTreeMap<String, Value>,
}

impl Text {
    /// The session in which it would be carried out.
    pub(super) fn session(&mut self, user: Principal) -> Result<Session> {
        let mut session = Session::of(user).with_properties(texts(std::mem::take(&mut self.properties)))?;
        for (name, value) in texts(std::mem::take(&mut self.session_variables)) {
            session.define(&name, &value);
        }
        Ok(session)
    }
}

/// Checks a text.
pub(super) async fn check(State(app): State<Arc<App>>, Extension(user): Extension<Principal>, body: Bytes) -> Response {
    reply(&app, move |app| {
        let mut text: Text = sent(&body)?;
        let session = text.session(user)?;
        Ok(checked(&app.engine.check(&text.sql, &session), &text.sql))
    })
    .await
}

fn checked(checked: &Checked, text: &str) -> Value {
    json!({
        "statements": checked.statements.iter().map(|s| statement(s, text)).collect::<Vec<_>>(),
        "diagnostics": checked.diagnostics.iter().map(|d| diagnostic(d, text)).collect::<Vec<_>>(),
    })
}

/// An object with `start` and `end`.
fn ranged(span: Span, text: &str) -> Map<String, Value> {
    let place = Place::of(text, span);
    [("start".to_owned(), json!(place.start)), ("end".to_owned(), json!(place.end))].into_iter().collect()
}

fn statement(statement: &CheckedStatement, text: &str) -> Value {
    let mut all = ranged(statement.span, text);
    let outline = &statement.outline;
    all.insert("kind".to_owned(), json!(statement.kind));
    all.insert("role".to_owned(), json!(statement.role.map(|role| role.name())));
    for (name, list) in [("reads", &outline.reads), ("writes", &outline.writes), ("creates", &outline.creates)] {
        all.insert(name.to_owned(), json!(list));
    }
    Value::Object(all)
}

fn diagnostic(diagnostic: &Diagnostic, text: &str) -> Value {
    let mut all = ranged(diagnostic.span, text);
    let place = Place::of(text, diagnostic.span);
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let fix = diagnostic.fix.as_ref().map(|(span, put)| {
        let mut fix = ranged(*span, text);
        fix.insert("text".to_owned(), json!(put));
        fix
    });
    for (name, value) in [
        ("line", json!(place.line)),
        ("column", json!(place.column)),
        ("severity", json!(severity)),
        ("code", json!(diagnostic.code)),
        ("message", json!(diagnostic.message)),
        ("detail", json!(diagnostic.detail)),
        ("hint", json!(diagnostic.hint)),
        ("fix", json!(fix)),
    ] {
        all.insert(name.to_owned(), value);
    }
    Value::Object(all)
}

/// Completes the word at the cursor.
pub(super) async fn completions(
    State(app): State<Arc<App>>,
    Extension(user): Extension<Principal>,
    body: Bytes,
) -> Response {
    reply(&app, move |app| {
        let text: Text = sent(&body)?;
        let at = text.at.map_or(text.sql.len(), |at| byte_of(&text.sql, at));
        let (from, options) = complete(&text.sql, at, &app.engine.names(&Session::of(user)));
        let option = |o: &Completion| json!({ "label": o.label, "kind": o.kind, "detail": o.detail, "doc": o.doc });
        let options: Vec<Value> = options.iter().map(option).collect();
        Ok(json!({ "from": utf16(&text.sql[..from]), "options": options }))
    })
    .await
}

/// Lays a text out.
pub(super) async fn format(State(app): State<Arc<App>>, body: Bytes) -> Response {
    reply(&app, move |app| {
        let text: Text = sent(&body)?;
        Ok(json!({ "sql": layout(&text.sql, app.engine.catalog().types()) }))
    })
    .await
}
