//! The outbound HTTP client: the one way in which this program sends requests.
//!
//! ```text
//! HttpClient::network("https://host:8088", &TlsFiles { ca, cert, key })     TCP, with TLS (tls) or without
//! HttpClient::unix("DIR/owner.sock")                                        the socket of a data directory (unix)
//! client.request(Method::POST, "/topics", body).await -> Response<Incoming>
//! Service::new(&settings).call(&request) -> ServiceResponse                 several URLs, retries, a time limit (service)
//! ```
//!
//! Each request has a connection of its own, which ends when the response is dropped: that is how the other side notices that
//! a result set is no longer read. A client of [`HttpClient::kept`] uses the connections of responses that were read to their end again. An [`HttpClient`] does no retries. It distinguishes a request that was certainly not sent from one
//! whose outcome is unknown ([`RequestError`]); what that means is for the caller to decide.

pub mod service;
pub mod unix;

mod tls;

use crate::error::{Error, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
pub use tls::{TlsFiles, hint};
use tokio::time::timeout;
use tower_service::Service;
use unix::UnixConnector;

/// How long name resolution, the connection and the TLS handshake may take together. A request itself has no limit here: a
/// statement takes as long as it takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle connections that are kept: as many as lookups of other processes are busy at once on a busy process.
const KEPT_CONNECTIONS_MAX: usize = 32;
/// For how long: less than the server's own limit of 30 s (`serve::limits::IDLE_PATIENCE`).
const KEPT_IDLE: Duration = Duration::from_secs(20);

/// An error of a lower layer.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests to one server.
#[derive(Clone)]
pub struct HttpClient {
    /// Scheme and authority of every request.
    base: String,
    /// Sent with every request.
    headers: HeaderMap,
    transport: Transport,
}

/// The connectors are types of their own, so that a cleartext client needs no certificates.
#[derive(Clone)]
enum Transport {
    Tcp(Client<Timed<HttpConnector>, Full<Bytes>>),
    Tls(Client<Timed<HttpsConnector<HttpConnector>>, Full<Bytes>>),
    Unix(Client<Timed<UnixConnector>, Full<Bytes>>),
}

/// Why a request has no response.
#[derive(Debug)]
pub enum RequestError {
    /// There was no connection, or it ended before the request was sent: nothing was done.
    NotSent(Cause),
    /// The connection ended before the response: whether the request was executed is unknown.
    NoResponse(Cause),
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient({})", self.base)
    }
}

impl HttpClient {
    /// For the server at `base`, `http://host:port` or `https://host:port`.
    pub fn network(base: String, files: &TlsFiles) -> Result<HttpClient> {
        HttpClient::pooled(base, files, 0)
    }

    /// The same with connections that are kept for the next request, as long as their server does. A response that is dropped
    /// before its end closes its connection all the same.
    pub fn kept(base: String, files: &TlsFiles) -> Result<HttpClient> {
        HttpClient::pooled(base, files, KEPT_CONNECTIONS_MAX)
    }

    fn pooled(base: String, files: &TlsFiles, kept: usize) -> Result<HttpClient> {
        let mut tcp = HttpConnector::new();
        // Statements and their responses are small and waited for.
        tcp.set_nodelay(true);
        let transport = match base.starts_with("https://") {
            false => Transport::Tcp(client(tcp, kept)),
            true => {
                tcp.enforce_http(false);
                let connector = hyper_rustls::HttpsConnectorBuilder::new()
                    .with_tls_config(tls::config(files)?)
                    .https_only()
                    .enable_http1()
                    .wrap_connector(tcp);
                Transport::Tls(client(connector, kept))
            }
        };
        Ok(HttpClient { base, headers: HeaderMap::new(), transport })
    }

    /// For the process that listens on a Unix socket.
    pub fn unix(socket: &Path) -> HttpClient {
        let transport = Transport::Unix(client(UnixConnector::new(socket), 0));
        HttpClient { base: "http://localhost".to_owned(), headers: HeaderMap::new(), transport }
    }

    /// Sends this `Authorization` header with every request.
    pub fn with_authorization(mut self, value: &str) -> Result<HttpClient> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|e| Error::statement("invalid characters in the user name, password or token").because(e))?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(self)
    }

    /// Sends this header with every request.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Result<HttpClient> {
        let value = HeaderValue::from_str(value)
            .map_err(|e| Error::statement(format!("invalid characters in the header {name}")).because(e))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// Sends a request; the caller's runtime drives the connection.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> std::result::Result<Response<Incoming>, RequestError> {
        let request = self.build(method, path, body).map_err(|e| RequestError::NotSent(e.into()))?;
        let response = match &self.transport {
            Transport::Tcp(client) => client.request(request).await,
            Transport::Tls(client) => client.request(request).await,
            Transport::Unix(client) => client.request(request).await,
        };
        response.map_err(|e| match e.is_connect() || was_not_sent(&e) || hint(&e).is_some() {
            true => RequestError::NotSent(root(e)),
            false => RequestError::NoResponse(root(e)),
        })
    }

    fn build(&self, method: Method, path: &str, body: Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
        }
        request.body(Full::new(body))
    }
}

fn client<C>(connector: C, kept: usize) -> Client<Timed<C>, Full<Bytes>>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Send + Unpin,
    C::Error: Into<Cause>,
    C::Future: Send + 'static,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEPT_IDLE)
        .pool_max_idle_per_host(kept)
        .build(Timed(connector))
}

/// The connection was closed while the request still waited in front of it.
fn was_not_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|error| error.downcast_ref::<hyper::Error>()).any(hyper::Error::is_canceled)
}

/// The most specific cause: "Connection refused (os error 111)" instead of "client error (Connect)".
fn root(error: hyper_util::client::legacy::Error) -> Cause {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let text = causes.last().map(ToString::to_string).unwrap_or_default();
    Box::new(Described { text, error })
}

/// An error that prints its deepest cause, and keeps the whole chain.
#[derive(Debug)]
struct Described {
    text: String,
    error: hyper_util::client::legacy::Error,
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Described {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A connector that gives up after [`CONNECT_TIMEOUT`].
#[derive(Clone)]
struct Timed<C>(C);

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri>,
    C::Error: Into<Cause>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<C::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Cause>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            match timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}
