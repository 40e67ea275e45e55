//! The HTTP server: ksqlDB's API over the engine.
//!
//! Handlers only translate. The engine is synchronous, so every call runs on a blocking thread; a result set is pulled by
//! one such thread and handed to the response body through a bounded channel, so that a client that reads slowly slows
//! down its own query and nothing else. Beside that API, tidegates talk to each other in frames (`wire`): `tidegate URL` to
//! a server, a second tidegate on a data directory to its owner.

mod entity;
mod error;
mod guests;
mod inserts;
mod ksql;
pub mod owner;
mod rows;
mod server;
mod stream;
pub mod wire;

use crate::engine::Engine;
use crate::error::{Error, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures::stream as futures_stream;
use guests::House;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

/// Largest request body: a text of statements, with room to spare.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Responses streamed at once, as in ksqlDB: each holds two threads and a reader of its source.
pub const STREAMS_MAX: usize = 100;

/// Shared by all handlers.
#[derive(Clone)]
struct App {
    engine: Engine,
    /// Turns true when the server stops: ends streamed responses.
    stopping: watch::Receiver<bool>,
    /// One permit for each response that may be streamed.
    streams: Arc<Semaphore>,
    /// Result sets that are being sent, by query id; true ends one.
    open: Arc<Mutex<BTreeMap<String, Arc<AtomicBool>>>>,
    /// Where the server is reached.
    address: SocketAddr,
}

/// Checks that the address may be listened on: without authentication only the loopback interface.
pub fn check_listener(address: SocketAddr) -> Result<()> {
    match address.ip().is_loopback() {
        true => Ok(()),
        false => Err(Error::statement(format!(
            "{address} can be reached from other machines, and nobody would be asked who they are"
        ))
        .with_hint("listen on 127.0.0.1; authentication comes with a later version")),
    }
}

/// Serves until `stop` completes, then ends streamed responses and waits for the others.
pub async fn serve(
    engine: Engine,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (sender, stopping) = watch::channel(false);
    let address = listener.local_addr()?;
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    let house = House::new(
        engine.log().clone(),
        engine.config().clone(),
        engine.clock().clone(),
        Some(engine.clone()),
        stopping.clone(),
    );
    let sessions = guests::sessions(Arc::new(house));
    let router = router(App { engine, stopping, streams, open: Arc::default(), address }, sessions);
    let stop = async move {
        stop.await;
        // Nobody listening means that no response is being streamed.
        let _ = sender.send(true);
    };
    axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    Ok(())
}

fn router(app: App, sessions: Router) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/info") }))
        .route("/info", get(server::info))
        .route("/v1/metadata", get(server::metadata))
        .route("/v1/metadata/id", get(server::metadata))
        .route("/healthcheck", get(server::health))
        .route("/livez", get(server::live))
        .route("/readyz", get(server::ready))
        .route("/chc/live", get(server::live))
        .route("/chc/ready", get(server::ready))
        .route("/clusterStatus", get(server::cluster_status))
        .route("/status", get(server::all_statuses))
        .route("/status/{kind}/{entity}/{action}", get(server::status))
        .route("/is_valid_property/{name}", get(server::is_valid_property))
        .route("/ksql", post(ksql::ksql))
        .route("/query", post(stream::query))
        .route("/query-stream", post(stream::query_stream))
        .route("/close-query", post(stream::close_query))
        .route("/inserts-stream", post(inserts::inserts_stream))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(app))
        .merge(sessions)
}

async fn nowhere(method: Method, uri: Uri) -> Response {
    let error = Error::not_found(format!("{method} {} is not served here", uri.path()));
    error::response(
        &error.with_hint("POST /ksql, /query-stream and /inserts-stream, GET /info and /healthcheck are"),
        None,
    )
}

async fn not_so(method: Method, uri: Uri) -> Response {
    error::response(&Error::not_found(format!("{} does not take {method}", uri.path())).with_code(40500), None)
}

/// Runs what may wait for the log on a thread where it may wait.
async fn blocking(app: &Arc<App>, work: impl FnOnce(&App) -> Response + Send + 'static) -> Response {
    let app = app.clone();
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.unwrap_or_else(|_| error::response(&Error::bug("the request's thread ended early"), None))
}

/// A response of this media type whose frames come through a channel.
fn streamed(media_type: &'static str, receiver: mpsc::Receiver<Bytes>) -> Response {
    let frames = futures_stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (Ok::<_, std::convert::Infallible>(frame), receiver))
    });
    ([(CONTENT_TYPE, media_type)], Body::from_stream(frames)).into_response()
}
