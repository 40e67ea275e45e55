//! `/api/v1/plan` and `/api/v1/queries/{id}/plan`: the plan of a statement, or of a persistent query, as a graph.

use super::text::Text;
use super::{failure, reply_in, sent};
use crate::engine::access::Principal;
use crate::engine::introspect::plan_tree::{PlanNode, PlanTree, StateBound};
use crate::engine::session::Session;
use crate::serve::{App, error};
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// The plan of a statement.
pub(super) async fn of_text(
    State(app): State<Arc<App>>,
    Extension(user): Extension<Principal>,
    body: Bytes,
) -> Response {
    let mut text: Text = match sent(&body) {
        Ok(text) => text,
        Err(e) => return failure(&e, None),
    };
    let sql = text.sql.clone();
    reply_in(&app, Some(sql), move |app| {
        let session = text.session(user)?;
        Ok(tree(&app.engine.plan_of_text(&text.sql, &session)?))
    })
    .await
}

/// The plan of a persistent query.
pub(super) async fn of_query(
    State(app): State<Arc<App>>,
    Extension(user): Extension<Principal>,
    Path(id): Path<String>,
) -> Response {
    reply_in(&app, None, move |app| Ok(tree(&app.engine.plan_of_query(&id, &Session::of(user))?))).await
}

fn tree(tree: &PlanTree) -> Value {
    let edge = |(from, to): &(String, String)| json!({ "from": from, "to": to });
    json!({
        "nodes": tree.nodes.iter().map(node).collect::<Vec<_>>(),
        "edges": tree.edges.iter().map(edge).collect::<Vec<_>>(),
    })
}

fn node(node: &PlanNode) -> Value {
    json!({
        "id": node.id,
        "op": node.op,
        "label": node.label,
        "key": node.key,
        "partitions": node.partitions,
        "hop": node.is_hop.then_some("memory"),
        "state": match node.state {
            StateBound::None => "none",
            StateBound::Bounded => "bounded",
            StateBound::Unbounded => "unbounded",
        },
        "warning": node.warning,
        "span": node.place.map(error::place),
    })
}
