//! The web console: files that a browser loads from `/console/`, embedded in the binary.
//!
//! ```text
//! index.html  app.css  theme.js  app.js     the page, its styles, what runs before the first paint, the start
//! pages/*.js                                one module per page, loaded when the page is opened
//! parts/*.js                                what pages share: requests, live results, grid, chart, editor, graph
//! i18n/*.js                                 all texts, English and Korean
//! vendor/*                                  libraries, made by tests/console/vendor.mjs
//! ```
//!
//! The files are served as they are in the repository: there is no build step. They hold no data, so they need no user; what
//! the pages show comes from the API, with the rights of the user who asks. The content security policy permits nothing from
//! another host and no markup from text. The console has no API of its own.

use super::routes::{Needs, Routes};
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// What pages may load: the server's own files and API. Styles are set through the DOM and through constructed style sheets only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A header that says which origins may embed a file: none but the server's own.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// One embedded file.
#[derive(Debug)]
pub struct File {
    /// Below `/console/`.
    pub path: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(File { path: $path, bytes: include_bytes!($path) }),*]
    };
}

/// All files; `tests/it/console.rs` compares the table with the folder.
pub const FILES: &[File] = files![
    "app.css",
    "app.js",
    "i18n/en.js",
    "i18n/ko.js",
    "icon.svg",
    "index.html",
    "pages/demo.js",
    "pages/graph.js",
    "pages/login.js",
    "pages/overview.js",
    "pages/problems.js",
    "pages/queries.js",
    "pages/query.js",
    "pages/server.js",
    "pages/source.js",
    "pages/sources.js",
    "pages/topic.js",
    "pages/topics.js",
    "pages/workbench.js",
    "parts/again.js",
    "parts/api.js",
    "parts/bench.js",
    "parts/browser.js",
    "parts/catalog.js",
    "parts/chart.js",
    "parts/check.js",
    "parts/dag.js",
    "parts/editor.js",
    "parts/feed.js",
    "parts/format.js",
    "parts/grid.js",
    "parts/history.js",
    "parts/i18n.js",
    "parts/icons.js",
    "parts/json.js",
    "parts/layers.js",
    "parts/links.js",
    "parts/live.js",
    "parts/marks.js",
    "parts/messages.js",
    "parts/palette.js",
    "parts/permalink.js",
    "parts/plan.js",
    "parts/preferences.js",
    "parts/problems.js",
    "parts/produce.js",
    "parts/queryActions.js",
    "parts/records.js",
    "parts/result.js",
    "parts/router.js",
    "parts/samples.js",
    "parts/schema.js",
    "parts/series.js",
    "parts/session.js",
    "parts/shell.js",
    "parts/spark.js",
    "parts/statements.js",
    "parts/table.js",
    "parts/ui.js",
    "parts/windowed.js",
    "parts/words.js",
    "parts/worker.js",
    "theme.js",
    "vendor/LICENCES.txt",
    "vendor/README.md",
    "vendor/codemirror.js",
    "vendor/preact.js",
    "vendor/uplot.css",
    "vendor/uplot.js",
    "views.css",
];

/// A file as it is sent.
struct Served {
    bytes: &'static [u8],
    media_type: &'static str,
    /// Its SHA-256, in quotes.
    tag: HeaderValue,
}

/// The files by path.
static SERVED: LazyLock<HashMap<&'static str, Served>> = LazyLock::new(|| {
    let served = |file: &File| Served { bytes: file.bytes, media_type: media_type(file.path), tag: tag(file.bytes) };
    FILES.iter().map(|file| (file.path, served(file))).collect()
});

/// The routes of the console.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S> {
    Routes::new()
        .get("/console", Needs::Nothing, || async { Redirect::permanent("/console/") })
        .get("/console/", Needs::Nothing, |headers: HeaderMap| async move { respond("index.html", &headers) })
        .get("/console/{*file}", Needs::Nothing, |Path(file): Path<String>, headers: HeaderMap| async move {
            respond(&file, &headers)
        })
}

/// Does the request come from the address bar of a browser? API clients accept `*/*` or JSON.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| one.trim().starts_with("text/html"))
}

fn respond(path: &str, headers: &HeaderMap) -> Response {
    let Some(file) = SERVED.get(path) else { return (StatusCode::NOT_FOUND, "not found\n").into_response() };
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.trim_start_matches("W/") == file.tag
    });
    let (status, body) = match known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(file.bytes)),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(file.media_type)),
        (ETAG, file.tag.clone()),
        // A browser asks each time and is answered with 304: an upgrade of the server shows at the next load.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (status, headers, body).into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "md" => "text/markdown; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

fn tag(bytes: &[u8]) -> HeaderValue {
    let mut text = String::from("\"");
    for byte in digest(&SHA256, bytes).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}
