//! `GET /api/v1/graph`: all of it, or `?at=NAME&depth=N`.

use super::queries::rates;
use crate::engine::access::Principal;
use crate::engine::facts::graph::{DEPTH, Edge, Node};
use crate::engine::session::Session;
use crate::error::Result;
use crate::serve::App;
use crate::serve::api::parameters::{number, parameters};
use crate::serve::api::reply;
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// The graph of what flows where.
pub(in crate::serve::api) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
) -> Response {
    let session = Session::of(principal);
    reply(&app, move |app| body(app, &session, &uri)).await
}

fn body(app: &App, session: &Session, uri: &Uri) -> Result<Value> {
    let parameters = parameters(uri, &["at", "depth"])?;
    let depth = number(&parameters, "depth", DEPTH)?;
    let graph = app.engine.graph(session, parameters.get("at").map(String::as_str), depth)?;
    Ok(json!({
        "nodes": graph.nodes.iter().map(node).collect::<Vec<_>>(),
        "edges": graph.edges.iter().map(edge).collect::<Vec<_>>(),
    }))
}

fn node(node: &Node) -> Value {
    json!({
        "id": node.id,
        "kind": node.kind.name(),
        "name": node.name,
        "state": node.state,
        "rates": node.rates.as_ref().map(rates),
        "lag": node.lag,
    })
}

fn edge(edge: &Edge) -> Value {
    json!({ "from": edge.from, "to": edge.to, "kind": edge.kind.name(), "rate": edge.rate })
}
