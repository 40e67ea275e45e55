//! The HTTP server: ksqlDB's API over the engine.
//!
//! Handlers only translate. The engine is synchronous, so every call runs on a blocking thread; a result set is pulled by
//! one such thread and passed to the response body through a bounded queue (`rows::queue`), so that a slow client slows down
//! its own query and nothing else. In front of the handlers is `auth::guard` (host names, users, bodies in time), below them
//! `net::listen` (connections, their limits, TLS). Beside that API, `attach` serves the frames of attached processes:
//! `tidegate URL` on a server, a second tidegate on a data directory; `flight` serves Arrow Flight SQL.

mod api;
pub mod attach;
pub mod auth;
pub mod console;
mod error;
mod flight;
mod ksql;
pub mod limits;
pub mod metrics;
mod net;
mod postgres;
pub mod routes;
mod rows;
mod schema_registry;
mod stopping;
mod stream;

use crate::engine::Engine;
use crate::engine::access::Role;
use crate::error::{Error, Kind, Result};
use crate::threads;
use attach::peers::Peers;
use attach::server::AttachService;
use auth::guard::Guard;
use auth::login::Logins;
use auth::node::Nodes;
use auth::users::Users;
use auth::users_file::UsersFile;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use flight::handles::Handles;
use futures::stream as futures_stream;
use ksql::{inserts, server};
use limits::STREAMS_MAX;
use metrics::{Counters, Meter};
use net::connection::Unauthenticated;
use net::listen::{Listener, Service};
pub use net::tls::ClientCertificates;
use parking_lot::Mutex;
use routes::{Needs, Route, Routes};
use schema_registry::RegistryService;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use stopping::Stopping;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The kind of work that a handler's panic is counted as.
const REQUEST: &str = "request";

/// Shared by all handlers and connections.
struct App {
    engine: Engine,
    /// The end of the server: ends streamed responses.
    stopping: Stopping,
    /// One permit for each response that may be streamed.
    streams: Arc<Semaphore>,
    /// Result sets that are being sent, by query id; true ends one.
    open: Arc<Mutex<BTreeMap<String, Arc<AtomicBool>>>>,
    /// Where the server is reached.
    address: SocketAddr,
    /// Logins, if the server has users.
    logins: Option<Arc<Logins>>,
    /// Requests arrive over TLS.
    is_secure: bool,
    /// What is counted for `/metrics`.
    counters: Arc<Counters>,
    /// When it began to serve, by the engine's clock.
    started: Duration,
    /// The web console is served.
    console: bool,
    /// Tickets and prepared statements of Flight SQL's clients.
    flight: Arc<Handles>,
}

/// How a server may be reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Users file; without one every process on this machine is an administrator.
    pub users: Option<PathBuf>,
    /// PEM files of the certificates and of the key; without them it speaks cleartext.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Certificates that clients bring.
    pub clients: Option<ClientCertificates>,
    /// Origins whose pages may send requests.
    pub origins: Vec<String>,
    /// File of the audit log.
    pub audit_log: Option<PathBuf>,
    /// Every user is a reader.
    pub read_only: bool,
    /// The web console is not served.
    pub no_console: bool,
    /// Where Postgres's clients are served; `None` = nowhere.
    pub postgres: Option<SocketAddr>,
}

/// The same, read and checked.
pub struct ListenConfig {
    /// Who may log in, and the file that is watched for changes, if they come from one.
    users: Option<(Option<UsersFile>, Users)>,
    tls: Option<TlsAcceptor>,
    origins: Vec<String>,
    /// The web console is served.
    console: bool,
    postgres_tls: Option<TlsAcceptor>,
    postgres: Option<TcpListener>,
}

impl ListenConfig {
    /// Serves Postgres's clients, too.
    pub fn with_postgres(self, listener: TcpListener) -> ListenConfig {
        ListenConfig { postgres: Some(listener), ..self }
    }

    /// Whether HTTP is served over TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }
}

impl std::fmt::Debug for ListenConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListenConfig(users: {}, tls: {})", self.users.is_some(), self.tls.is_some())
    }
}

impl Access {
    /// Reads the files; refuses a public address without authentication.
    pub fn open(&self, address: SocketAddr) -> Result<ListenConfig> {
        let public = std::iter::once(address).chain(self.postgres).find(|address| !address.ip().is_loopback());
        if let Some(address) = public.filter(|_| self.users.is_none()) {
            return Err(Error::statement(format!("refusing to listen on {address} without authentication")).with_hint(
                "listen on 127.0.0.1, or name a users file with --users (`tidegate user` writes its lines)",
            ));
        }
        let users = self.users.as_deref().map(UsersFile::open).transpose()?;
        let acceptor = |protocols| {
            let of = |(certificates, key): &(PathBuf, PathBuf)| {
                net::tls::acceptor(certificates, key, self.clients.as_ref(), protocols)
            };
            self.tls.as_ref().map(of).transpose()
        };
        let (tls, postgres_tls) = (acceptor(net::tls::HTTP)?, acceptor(net::tls::POSTGRES)?);
        let users = users.map(|(file, users)| (Some(file), users));
        if users.is_some() && tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "passwords and tokens are sent unencrypted; use --tls-cert and --tls-key");
        }
        let (origins, console) = (self.origins.clone(), !self.no_console);
        Ok(ListenConfig { users, tls, origins, console, postgres_tls, postgres: None })
    }
}

impl ListenConfig {
    /// For the one user who has the token that is returned: other users of this machine reach its ports, too.
    pub fn for_one_user(name: &str) -> Result<(ListenConfig, String)> {
        let (users, token) = Users::of_token(name, Role::Admin)?;
        let config = ListenConfig {
            users: Some((None, users)),
            tls: None,
            origins: Vec::new(),
            console: true,
            postgres_tls: None,
            postgres: None,
        };
        Ok((config, token))
    }
}

/// Serves until `stop` completes; then lets bounded responses end or cuts them off, within a bounded time (`stopping`).
pub async fn serve(
    engine: Engine,
    listener: TcpListener,
    config: ListenConfig,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let stopping = Stopping::default();
    let address = listener.local_addr()?;
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    let attach_service = AttachService::new(
        engine.log().clone(),
        engine.config().clone(),
        engine.clock().clone(),
        Some(engine.clone()),
        stopping.clone(),
    );
    let (started, audit, clock) = (engine.clock().monotonic(), engine.audit().clone(), engine.clock().clone());
    let counters = Arc::<Counters>::default();
    let logins = config.users.map(|(file, users)| {
        let logins = Logins::new(users);
        if let Some(file) = file {
            let watch = file.watch(Arc::downgrade(&logins));
            tokio::spawn(async move { threads::guarded("users", "", watch).await });
        }
        logins
    });
    let secret = engine.config().cluster_secret()?;
    engine.set_forwarding(Arc::new(Peers::new(engine.config(), secret.clone())));
    let unauthenticated = logins.is_some().then(Arc::<Unauthenticated>::default);
    let app = Arc::new(App {
        engine,
        stopping: stopping.clone(),
        streams,
        open: Arc::default(),
        address,
        logins: logins.clone(),
        is_secure: config.tls.is_some(),
        counters: counters.clone(),
        started,
        console: config.console,
        flight: Arc::new(Handles::new()?),
    });
    if let Some(listener) = config.postgres {
        let door = postgres::Door::new(app.clone(), config.postgres_tls, unauthenticated.clone());
        tokio::spawn(async move { threads::guarded("postgres", "", postgres::serve(listener, Arc::new(door))).await });
    }
    let open = routes().into_iter().filter(|route| route.needs == Needs::Nothing);
    let open = open.map(|route| (route.method, route.path)).collect();
    let is_secure = config.tls.is_some();
    let nodes = Nodes::of(secret.as_ref(), logins.is_some());
    let guard = Arc::new(Guard { logins, nodes, is_secure, origins: config.origins, audit, open, address });
    let meter = Meter { counters: counters.clone(), clock };
    // The guard has read the body, and knows how long it may be.
    let router = router(app, attach_service)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(guard, auth::guard::guard))
        .layer(from_fn(caught))
        .layer(from_fn_with_state(meter, metrics::counted))
        .layer(from_fn(flight::status::refusals))
        .layer(from_fn(net::unread::left_is_read));
    let service = Service { router, tls: config.tls, counters, unauthenticated };
    net::listen::serve(Listener::Tcp(listener), service, stop, stopping).await;
    Ok(())
}

fn router(app: Arc<App>, attach_service: AttachService) -> Router {
    let (engine, console) = (app.engine.clone(), app.console);
    let registry = RegistryService::new(move || Ok(engine.clone()));
    let console = if console { console::routes() } else { Routes::new() };
    let attached = attach::server::sessions().into_router().merge(attach::server::topics().into_router());
    let attached = attached.merge(attach::peers::routes().into_router());
    ksql_api()
        .into_router()
        .merge(console.into_router())
        .merge(api::routes().into_router())
        .merge(flight::routes().into_router())
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .with_state(app)
        .merge(schema_registry::routes().into_router().with_state(registry))
        .merge(attached.with_state(Arc::new(attach_service)))
}

/// Every route of the server and what it requires.
pub fn routes() -> Vec<Route> {
    let ours = [ksql_api().table(), api::routes().table(), flight::routes().table()].concat();
    let ours = [&ours, console::routes::<()>().table()].concat();
    let attached = [attach::server::sessions().table(), attach::server::topics().table()].concat();
    let attached = [&attached, attach::peers::routes().table()].concat();
    [&ours, &attached, schema_registry::routes().table()].concat()
}

fn ksql_api() -> Routes<Arc<App>> {
    let reader = Needs::Role(Role::Reader);
    // They list queries, sources and topics of all users.
    let of_all = Needs::AllTopics(Role::Reader);
    Routes::new()
        .get("/", Needs::Nothing, front)
        .get("/info", reader, server::info)
        .get("/v1/metadata", reader, server::metadata)
        .get("/v1/metadata/id", reader, server::cluster_id)
        .get("/healthcheck", reader, server::health)
        .get("/livez", Needs::Nothing, server::live)
        .get("/readyz", Needs::Nothing, server::ready)
        .get("/chc/live", Needs::Nothing, server::live)
        .get("/chc/ready", Needs::Nothing, server::ready)
        .get("/clusterStatus", of_all, server::cluster_status)
        .get("/status", of_all, server::all_statuses)
        .get("/status/{kind}/{entity}/{action}", reader, server::status)
        .get("/is_valid_property/{name}", reader, server::is_valid_property)
        .post("/heartbeat", reader, server::heartbeat)
        .post("/lag", reader, server::lag)
        .post("/ksql", reader, ksql::ksql)
        .post("/ksql/terminate", Needs::AllTopics(Role::Admin), ksql::terminate)
        .post("/query", reader, stream::query)
        .post("/query-stream", reader, stream::query_stream)
        .post("/close-query", reader, stream::close_query)
        .post("/inserts-stream", Needs::Role(Role::Writer), inserts::inserts_stream)
        .get("/ws/query", reader, stream::websocket::query)
        .get("/metrics", of_all, metrics::metrics)
}

/// People want the console, programs the version.
async fn front(State(app): State<Arc<App>>, headers: HeaderMap) -> Redirect {
    Redirect::temporary(if app.console && console::is_wanted(&headers) { "/console/" } else { "/info" })
}

async fn nowhere(method: Method, uri: Uri) -> Response {
    let error = Error::not_found(format!("no such endpoint: {method} {}", uri.path()));
    let hint = match error::is_api(uri.path()) {
        true => "docs/api.md lists the endpoints",
        false => "endpoints are POST /ksql, /query-stream and /inserts-stream, GET /info and /healthcheck",
    };
    error::response_at(uri.path(), &error.with_hint(hint))
}

async fn not_so(method: Method, uri: Uri) -> Response {
    let e = Error::not_found(format!("method not allowed: {method} {}", uri.path())).with_code(40500);
    let offered: Vec<String> =
        routes().iter().filter(|route| route.has(uri.path())).map(|route| format!("{} it", route.method)).collect();
    let e = if offered.is_empty() { e } else { e.with_hint(offered.join(" or ")) };
    error::response_at(uri.path(), &e)
}

/// Starts work that may wait on a thread of the runtime's pool. Where the operating system refuses a thread and the pool has none,
/// tokio panics; here that is an error, and the client may try again.
fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    threads::attempt(|| tokio::task::spawn_blocking(work)).map_err(|refused| {
        Error::new(Kind::Busy, "no thread is available for the request")
            .with_detail(refused)
            .with_hint("try again; raise the limit of threads of the process if this lasts")
    })
}

/// Runs what may wait for the log on a thread where it may wait.
async fn blocking(app: &Arc<App>, work: impl FnOnce(&App) -> Response + Send + 'static) -> Response {
    let app = app.clone();
    let done = match on_thread(move || threads::guard(REQUEST, "", || work(&app))) {
        Ok(running) => running.await,
        Err(busy) => return error::response(&busy, None),
    };
    let done = done.unwrap_or_else(|_| Err(Error::bug("the request's task ended early")));
    done.unwrap_or_else(|panic| error::response(&panic, None))
}

/// The layer that responds for a handler that panics, where the connection would just end.
async fn caught(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answered = threads::guarded(REQUEST, &path, next.run(request)).await;
    answered.unwrap_or_else(|panic| error::response_at(&path, &panic))
}

/// A response of this media type with frames from a channel.
fn streamed(media_type: &'static str, receiver: mpsc::Receiver<Bytes>) -> Response {
    let frames = futures_stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (Ok::<_, std::convert::Infallible>(frame), receiver))
    });
    ([(CONTENT_TYPE, media_type)], Body::from_stream(frames)).into_response()
}
