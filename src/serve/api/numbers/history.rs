//! `GET /api/v1/history?query=ID|*&series=in,out,lag&since=MS&step=1s|15s`.

use crate::engine::access::Principal;
use crate::engine::facts::history::Series;
use crate::engine::session::Session;
use crate::error::Result;
use crate::serve::App;
use crate::serve::api::parameters::{BAD_REQUEST, bad, number, parameters};
use crate::serve::api::reply;
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The series of a request that names none.
const SERIES: &str = "in,out,lag,late,bad,commitMillis,stateBytes";
/// All queries together.
const ALL: &str = "*";

/// The recent past of a query, or of all.
pub(in crate::serve::api) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
) -> Response {
    let session = Session::of(principal);
    reply(&app, move |app| body(app, &session, &uri)).await
}

fn body(app: &App, session: &Session, uri: &Uri) -> Result<Value> {
    let parameters = parameters(uri, &["query", "series", "since", "step"])?;
    let text = |name: &str, default| parameters.get(name).map_or(default, String::as_str);
    let names = text("series", SERIES).split(',').map(str::trim);
    let series = names.map(|name| Series::of(name).map_err(|e| e.with_code(BAD_REQUEST)));
    let series = series.collect::<Result<Vec<_>>>()?;
    let coarse = match text("step", "1s") {
        "1s" => false,
        "15s" => true,
        other => return Err(bad(format!("parameter step is 1s or 15s, not {other}"))),
    };
    let id = Some(text("query", ALL)).filter(|id| *id != ALL);
    let timeline = app.engine.timeline(session, id, &series, coarse, number(&parameters, "since", 0)?)?;
    let values: Map<String, Value> =
        timeline.series.iter().map(|(series, values)| (series.name().to_owned(), json!(values))).collect();
    Ok(json!({ "stepMillis": timeline.step_millis, "start": timeline.start_ms, "series": values }))
}
