//! What stands in front of every request: whether its Host and Origin are known, who asks, and that its body comes in time
//! and in bounds. The user travels with the request as a [`Principal`]; what they may do is decided by the table of routes and in
//! `engine::execute`.

use super::error;
use super::limits::{BODY_BYTES_MAX, BODY_PATIENCE};
use super::listen::Peer;
use super::users::Users;
use crate::engine::audit::Audit;
use crate::engine::authorization::Principal;
use crate::error::Error;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, HOST,
    ORIGIN, VARY, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::time::timeout;

/// Requests whose body is read as it comes.
const STREAMING: [&str; 1] = ["/inserts-stream"];

/// Who may come in.
#[derive(Debug)]
pub(super) struct Guard {
    /// `None` = everybody on this machine may do everything.
    pub(super) users: Option<Arc<Users>>,
    /// Origins whose pages may ask, beside the server's own.
    pub(super) origins: Vec<String>,
    /// Where logins are recorded.
    pub(super) audit: Audit,
    /// Paths that need no user, as the table of routes has them.
    pub(super) open: Vec<&'static str>,
    /// Where the server listens.
    pub(super) address: SocketAddr,
}

/// The layer.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    if let Err(refusal) = guard.check_names(request.uri(), request.headers()) {
        return error::response(&refusal, None);
    }
    let mut response = if origin.is_some() && request.method() == Method::OPTIONS {
        preflight()
    } else {
        guard.admit(request, next).await
    };
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    }
    response
}

fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "accept, authorization, content-type"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn refused(what: &str, name: &str) -> Error {
    Error::statement(format!("the {what} {name} is not known here")).with_code(40300)
}

impl Guard {
    /// A page of a foreign site cannot use a visitor's browser to get in: neither by a name of its own that leads to this
    /// address, nor by a request across sites.
    fn check_names(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        // HTTP/2 and requests in absolute form have it in their target.
        let host = uri.authority().map(|a| a.as_str()).or_else(|| headers.get(HOST).and_then(|h| h.to_str().ok()));
        let host = host.unwrap_or_default();
        // Whoever has to prove who he is may have come by any name.
        if self.users.is_none() && !host.is_empty() && !self.is_here(host) {
            return Err(refused("Host", host).with_hint("call it localhost, or its address"));
        }
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("?");
        let own = origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host));
        match own || self.origins.iter().any(|o| o.eq_ignore_ascii_case(origin)) {
            true => Ok(()),
            false => Err(refused("Origin", origin).with_hint("the server can be told of it: --allow-origin")),
        }
    }

    /// `host[:port]` names this machine by a name that nobody else can give it.
    fn is_here(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = bare.parse().ok();
        name.eq_ignore_ascii_case("localhost") || address.is_some_and(|a| a.is_loopback() || a == self.address.ip())
    }

    async fn admit(&self, mut request: Request, next: Next) -> Response {
        let path = request.uri().path();
        if self.open.contains(&path) {
            return next.run(request).await;
        }
        let Some(principal) = self.principal(request.headers()).await else {
            let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
            claimed(request.headers()).iter().for_each(|name| self.audit.login_failed(name, peer));
            let e = Error::statement("Unauthorized").with_code(40100);
            let mut response = error::response(&e.with_hint("send a user's password or a token"), None);
            let scheme = HeaderValue::from_static("Basic realm=\"tidegate\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return response;
        };
        if !STREAMING.contains(&path) {
            request = match whole(request).await {
                Ok(request) => request,
                Err(e) => return error::response(&e, None),
            };
        }
        let peer = request.extensions().get::<Peer>().cloned();
        let principal = principal.at(peer.as_ref().map(|peer| peer.address));
        if self.users.is_some() && peer.is_some_and(|peer| peer.is_new_here(&principal.name)) {
            self.audit.note("login", &principal, json!({}), Ok(()));
        }
        request.extensions_mut().insert(self.audit.clone());
        request.extensions_mut().insert(principal);
        next.run(request).await
    }

    async fn principal(&self, headers: &HeaderMap) -> Option<Principal> {
        let Some(users) = &self.users else { return Some(Principal::local()) };
        users.principal(headers.get(AUTHORIZATION)?.to_str().ok()?).await
    }
}

/// The name that a request without a right password or token claims; `None` = it claims none.
fn claimed(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = header.trim().split_once(' ').unwrap_or((header, ""));
    match scheme.eq_ignore_ascii_case("basic") {
        true => {
            let decoded = STANDARD.decode(credentials.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            Some(text.split(':').next().unwrap_or_default().to_owned())
        }
        false => Some(String::new()),
    }
}

/// The request with all of its body.
async fn whole(request: Request) -> Result<Request, Error> {
    let (head, body) = request.into_parts();
    match timeout(BODY_PATIENCE, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, Body::from(bytes))),
        Ok(Err(e)) => {
            let e = e.into_inner();
            let is_long = e.downcast_ref::<http_body_util::LengthLimitError>().is_some();
            Err(match is_long {
                true => Error::statement(format!("the request is longer than {BODY_BYTES_MAX} bytes")).with_code(41300),
                false => Error::statement("the request broke off").with_code(40000),
            })
        }
        Err(_) => {
            let seconds = BODY_PATIENCE.as_secs();
            Err(Error::statement(format!("the request did not come within {seconds} s")).with_code(40800))
        }
    }
}
