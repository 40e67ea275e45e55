//! The layer in front of every route: checks Host and Origin, authenticates, and reads the body in bounded time
//! and in bounds. The user travels with the request as a [`Principal`]; what they may do is decided by the table of routes and in
//! `engine::execute`. Every response forbids browsers to cache it and to guess its type.

use super::login::{Entry, Logins};
use super::node::{FromNode, Nodes};
use super::sessions::cookie;
use crate::engine::access::Principal;
use crate::engine::access::audit::Audit;
use crate::error::{Error, TOO_MANY_REQUESTS};
use crate::serve::error;
use crate::serve::flight;
use crate::serve::limits::{BODY_BYTES_MAX, BODY_PATIENCE, REFUSED_PATIENCE};
use crate::serve::net::connection::Connection;
use crate::serve::net::unread::discard;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION,
    CACHE_CONTROL, HOST, ORIGIN, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, UPGRADE, VARY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures::StreamExt;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Makes browsers use TLS for the next year.
const HTTPS_ONLY: &str = "max-age=31536000";
/// Requests of the console carry this header. It has a page for the login; a challenge would open the browser's dialogue above it.
const CONSOLE: &str = "x-tidegate-console";
/// Requests whose body is streamed, beside those of Flight SQL.
const STREAMING: [&str; 1] = ["/inserts-stream"];

/// Configuration of the layer.
#[derive(Debug)]
pub(crate) struct Guard {
    /// `None` = everybody on this machine may do everything.
    pub(crate) logins: Option<Arc<Logins>>,
    /// How requests of other processes of the service are recognized.
    pub(crate) nodes: Nodes,
    /// Requests arrive over TLS.
    pub(crate) is_secure: bool,
    /// Origins whose pages may send requests, beside the server's own.
    pub(crate) origins: Vec<String>,
    /// Where logins are recorded.
    pub(crate) audit: Audit,
    /// Requests that need no user, as the table of routes has them.
    pub(crate) open: Vec<(Method, &'static str)>,
    /// Where the server listens.
    pub(crate) address: SocketAddr,
}

/// The layer.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let path = request.uri().path().to_owned();
    let strict = guard.is_secure && has_name(host(request.uri(), request.headers()));
    let mut response = match guard.check_names(&request) {
        Err(refusal) => error::response_at(&path, &refusal),
        Ok(()) => {
            let mut response = match origin.is_some() && request.method() == Method::OPTIONS {
                true => preflight(),
                false => guard.admit(request, next).await,
            };
            if let Some(origin) = origin {
                response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
            }
            response
        }
    };
    let headers = response.headers_mut();
    // PRINT returns bytes that others have chosen; a response is for one user, and not for the next one of the same browser.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The console's files hold nothing of a user, and say themselves how they are cached.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if strict {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ONLY));
    }
    response
}

/// Whether this is a path of the route. Only `{*name}` at the end of a route matches more than one path.
fn matches(route: &str, path: &str) -> bool {
    match route.split_once("{*") {
        Some((folder, _)) => path.starts_with(folder),
        None => route == path,
    }
}

/// What the request calls the server.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    // HTTP/2 and requests in absolute form have it in their target.
    let host = uri.authority().map(|a| a.as_str()).or_else(|| headers.get(HOST).and_then(|h| h.to_str().ok()));
    host.unwrap_or_default()
}

/// `host` of `host[:port]`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    }
}

fn address(name: &str) -> Option<IpAddr> {
    name.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Does it have a name of its own? What a browser learns of `localhost` would hold for every other program there.
fn has_name(host: &str) -> bool {
    let name = without_port(host);
    !name.is_empty() && !name.eq_ignore_ascii_case("localhost") && address(name).is_none()
}

fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "accept, authorization, content-type"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn refused(what: &str, name: &str) -> Error {
    Error::statement(format!("unknown {what}: {name}")).with_code(40300)
}

impl Guard {
    /// A page of a foreign site cannot use a visitor's browser to get in: neither by a name of its own that leads to this
    /// address, nor by a request across sites.
    fn check_names(&self, request: &Request) -> Result<(), Error> {
        let headers = request.headers();
        let hosts = headers.get_all(HOST).iter().count();
        if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
            let what = if hosts == 0 { "missing Host header" } else { "several Host headers" };
            return Err(Error::statement(what).with_code(40000));
        }
        let host = host(request.uri(), headers);
        // With authentication, any host name is accepted.
        if self.logins.is_none() && !host.is_empty() && !self.is_here(host) {
            return Err(refused("Host", host).with_hint("use localhost, or the address of the server"));
        }
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("?");
        match self.is_own(origin, host) || self.origins.iter().any(|o| o.eq_ignore_ascii_case(origin)) {
            true => Ok(()),
            false => Err(refused("Origin", origin).with_hint("start the server with --allow-origin to accept it")),
        }
    }

    /// Is it the origin of the server's own pages? With users, a proxy may terminate TLS in front of the server.
    fn is_own(&self, origin: &str, host: &str) -> bool {
        let Some((scheme, rest)) = origin.split_once("://") else { return false };
        let speaks = match (self.is_secure, self.logins.is_some()) {
            (true, _) => scheme.eq_ignore_ascii_case("https"),
            (false, false) => scheme.eq_ignore_ascii_case("http"),
            (false, true) => true,
        };
        speaks && rest.eq_ignore_ascii_case(host)
    }

    /// Does `host[:port]` name this machine in a way that DNS rebinding cannot?
    fn is_here(&self, host: &str) -> bool {
        let name = without_port(host);
        name.eq_ignore_ascii_case("localhost")
            || address(name).is_some_and(|a| a.is_loopback() || a == self.address.ip())
    }

    async fn admit(&self, mut request: Request, next: Next) -> Response {
        name_host(&mut request);
        let path = request.uri().path();
        if self.open.iter().any(|(method, open)| method == request.method() && matches(open, path)) {
            if self.logins.is_none() {
                request.extensions_mut().insert(Principal::local());
            }
            return next.run(request).await;
        }
        let connection = request.extensions().get::<Arc<Connection>>().cloned().unwrap_or_default();
        let is_page = is_page(&request);
        if Nodes::own(path) {
            return self.admit_node(request, &connection, next).await;
        }
        if let Err(refusal) = self.check_cookie(&request) {
            return error::response_at(path, &refusal);
        }
        let principal = match self.who(request.headers(), &connection).await {
            Entry::Granted(principal) => principal.at(connection.address),
            Entry::Refused => {
                let claimed = claimed(request.headers()).or_else(|| connection.names.first().cloned());
                claimed.iter().for_each(|name| self.audit.login_failed(name, connection.address));
                return unauthorized(is_page);
            }
            Entry::Later(wait) => return later(wait, is_page),
        };
        connection.is_known();
        if !STREAMING.contains(&path) && !flight::STREAMING.contains(&path) {
            request = match whole(request).await {
                Ok(request) => request,
                Err(e) if is_page => return error::api_response(&e, None),
                Err(e) => return error::response(&e, None),
            };
        }
        if self.logins.is_some() && connection.is_new_here(&principal.name) {
            self.audit.note("login", &principal, json!({}), Ok(()));
        }
        request.extensions_mut().insert(self.audit.clone());
        request.extensions_mut().insert(principal);
        next.run(request).await
    }

    /// A request to what only processes of the service may ask.
    async fn admit_node(&self, request: Request, connection: &Connection, next: Next) -> Response {
        if !self.nodes.admit(request.headers()) {
            self.audit.login_failed("", connection.address);
            return unauthorized(false);
        }
        connection.is_known();
        match whole(request).await {
            Ok(mut request) => {
                request.extensions_mut().insert(FromNode);
                next.run(request).await
            }
            Err(e) => error::response(&e, None),
        }
    }

    /// A browser adds the cookie to a request whichever page has sent it: one that may change something has to say where it comes
    /// from. That the origin is a known one has been checked by then.
    fn check_cookie(&self, request: &Request) -> Result<(), Error> {
        let headers = request.headers();
        let is_by_cookie = self.logins.is_some() && !headers.contains_key(AUTHORIZATION) && cookie(headers).is_some();
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD) && !headers.contains_key(UPGRADE);
        match is_by_cookie && !is_reading && !headers.contains_key(ORIGIN) {
            true => Err(Error::statement("a request with a session's cookie needs an Origin header").with_code(40300)),
            false => Ok(()),
        }
    }

    /// The user: the credentials of the request take precedence over its cookie, and that over the certificate of its
    /// connection.
    async fn who(&self, headers: &HeaderMap, connection: &Connection) -> Entry {
        let Some(logins) = &self.logins else { return Entry::Granted(Principal::local()) };
        let address = connection.address.map(|address| address.ip());
        match headers.get(AUTHORIZATION) {
            Some(header) => logins.by_header(header.to_str().unwrap_or_default(), address).await,
            None => match cookie(headers) {
                Some(cookie) => logins.by_cookie(cookie, address),
                None if connection.names.is_empty() => Entry::Refused,
                None => logins.by_certificate(&connection.names, address),
            },
        }
    }
}

/// Over HTTP/2 the host is part of the address: puts it where HTTP/1.1 has it.
fn name_host(request: &mut Request) {
    let authority = request.uri().authority().and_then(|authority| authority.as_str().parse().ok());
    if let Some(host) = authority.filter(|_| !request.headers().contains_key(HOST)) {
        request.headers_mut().insert(HOST, host);
    }
}

/// The name that a request without a right password or token claims; `None` = it claims none.
fn claimed(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = header.trim().split_once(' ').unwrap_or((header, ""));
    match scheme.eq_ignore_ascii_case("basic") {
        true => {
            let decoded = STANDARD_NO_PAD.decode(credentials.trim().trim_end_matches('=')).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            Some(text.split(':').next().unwrap_or_default().to_owned())
        }
        false => Some(String::new()),
    }
}

/// Was the request sent by a script of a page, or to the interface for programs? Then the browser is not to open a dialogue of
/// its own for a password, and the error has the form of that interface.
fn is_page(request: &Request) -> bool {
    let headers = request.headers();
    error::is_api(request.uri().path()) || headers.contains_key(CONSOLE) || cookie(headers).is_some()
}

pub(crate) fn unauthorized(is_page: bool) -> Response {
    let e = Error::statement("Unauthorized").with_code(40100);
    let e = e.with_hint("send the user name and password, or a token");
    let (mut response, scheme) = match is_page {
        true => (error::api_response(&e, None), "Bearer realm=\"tidegate\""),
        false => (error::response(&e, None), "Basic realm=\"tidegate\", charset=\"UTF-8\""),
    };
    let scheme = HeaderValue::from_static(scheme);
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

pub(crate) fn later(wait: Duration, is_page: bool) -> Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    let e = Error::statement("too many login attempts").with_code(TOO_MANY_REQUESTS);
    let e = e.with_hint(format!("try again in {seconds} s"));
    let mut response = if is_page { error::api_response(&e, None) } else { error::response(&e, None) };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The request with all of its body.
async fn whole(request: Request) -> Result<Request, Error> {
    let (head, body) = request.into_parts();
    let bytes = whole_body(body, BODY_BYTES_MAX).await?;
    Ok(Request::from_parts(head, Body::from(bytes)))
}

/// A whole body of at most so many bytes, in bounded time.
pub(crate) async fn whole_body(body: Body, bytes_max: usize) -> Result<Vec<u8>, Error> {
    timeout(BODY_PATIENCE, read(body, bytes_max)).await.unwrap_or_else(|_| {
        let seconds = BODY_PATIENCE.as_secs();
        Err(Error::statement(format!("the request did not arrive within {seconds} s")).with_code(40800))
    })
}

async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut is_long) = (Vec::new(), body.size_hint().lower() > bytes_max as u64);
    let mut body = body.into_data_stream();
    while !is_long && let Some(data) = body.next().await {
        let data = data.map_err(|_| Error::statement("the request was cut off").with_code(40000))?;
        is_long = bytes.len() + data.len() > bytes_max;
        bytes.extend_from_slice(&data);
    }
    if !is_long {
        return Ok(bytes);
    }
    discard(body, 2 * bytes_max, REFUSED_PATIENCE).await;
    Err(Error::statement(format!("the request exceeds {bytes_max} bytes")).with_code(41300))
}
