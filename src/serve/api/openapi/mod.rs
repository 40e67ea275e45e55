//! `/openapi.json`: the description of `/api/v1` for tools (OpenAPI 3.1), and a short page of it at `/api/v1`.
//!
//! Every endpoint has an entry in one of the tables: a test compares them with the routes, and another one sends what the description
//! allows to a running server (schemathesis). Bodies are described by examples of their shape:
//!
//! ```text
//! {"name":"string","lag":"integer?","reads":["string"],"settings":{"*":"string"}}     ? = may be null, * = any name
//! ```

mod numbers;
mod shape;
mod table;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Map, Value, json};
use shape::schema;
use std::fmt::Write;

/// The media type of a line a record.
const NDJSON: &str = "application/x-ndjson";

/// An endpoint as it is described.
pub(super) struct Endpoint {
    /// GET, POST or DELETE.
    method: &'static str,
    /// As the table of routes has it.
    path: &'static str,
    /// What it does, in a sentence.
    summary: &'static str,
    /// Parameters behind the question mark: name, type, meaning.
    parameters: &'static [(&'static str, &'static str, &'static str)],
    /// Shape of the request's body.
    request: Option<&'static str>,
    /// Shape of the response's body; `None` = a line a record.
    response: Option<&'static str>,
}

/// Every endpoint below `/api/v1`.
fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    table::ENDPOINTS.iter().chain(numbers::ENDPOINTS)
}

/// The description.
pub(super) async fn document() -> Response {
    Json(described()).into_response()
}

fn described() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints() {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.to_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the server knows, as data. Places in texts count UTF-16 code units; times are milliseconds since 1970.",
        },
        "paths": paths,
        "components": {
            "schemas": { "Error": schema(&shape::parsed(ERROR)) },
            "securitySchemes": {
                "password": { "type": "http", "scheme": "basic" },
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": "tidegate" },
            },
        },
        // On a server without users nothing is required.
        "security": [{}, { "password": [] }, { "token": [] }, { "session": [] }],
    })
}

/// The body of every error.
const ERROR: &str = r#"{"code":"integer","message":"string","detail":"string?","hint":"string?",
    "span?":{"start":"integer","end":"integer","line":"integer","column":"integer"}}"#;

fn operation(endpoint: &Endpoint) -> Value {
    let in_path = endpoint.path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    });
    let in_query = endpoint.parameters.iter().map(|(name, ty, what)| {
        json!({ "name": name, "in": "query", "required": false, "description": what, "schema": schema(&json!(ty)) })
    });
    let content = match endpoint.response {
        Some(response) => json!({ "application/json": { "schema": schema(&shape::parsed(response)) } }),
        None => json!({ NDJSON: { "schema": {} } }),
    };
    let error = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
    let mut operation = json!({
        "summary": endpoint.summary,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "200": { "description": "what was asked for", "content": content },
            "default": { "description": "why not", "content": error },
        },
    });
    if let Some(request) = endpoint.request {
        let body = json!({ "application/json": { "schema": schema(&shape::parsed(request)) } });
        operation["requestBody"] = json!({ "required": true, "content": body });
    }
    operation
}

/// The description as a page: no script, no style, nothing from elsewhere.
pub(super) async fn page() -> Response {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tidegate: /api/v1</title>\
         <h1>/api/v1</h1><p>For tools: <a href=\"/openapi.json\">/openapi.json</a> (OpenAPI 3.1)</p><table>",
    );
    for Endpoint { method, path, summary, parameters, .. } in endpoints() {
        let names: Vec<&str> = parameters.iter().map(|(name, ..)| *name).collect();
        let names = if names.is_empty() { String::new() } else { format!("?{}", names.join("&amp;")) };
        let _ = write!(html, "<tr><td>{method}<td><code>{path}{names}</code><td>{summary}");
    }
    html.push_str("</table></html>\n");
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, "default-src 'none'")];
    (headers, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let routes = crate::serve::routes().into_iter().filter(|route| route.path.starts_with("/api/v1/"));
        let routes: BTreeSet<String> = routes.map(|route| format!("{} {}", route.method, route.path)).collect();
        let described: BTreeSet<String> =
            endpoints().map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
        assert_eq!(routes, described);
    }

    #[test]
    fn every_shape_can_be_read() {
        let document = described();
        let records = &document["paths"]["/api/v1/topics/{topic}/records"];
        assert_eq!(records["get"]["parameters"][0]["in"], "path");
        assert_eq!(document["components"]["schemas"]["Error"]["required"][0], "code");
    }
}
