//! The Postgres wire protocol, version 3: for psql, drivers, and the tools above them (`--pg-listen`).
//!
//! ```text
//! messages, reply     bytes <-> messages: pure
//! startup, scram      TLS, users, parameters
//! connection          the socket: what arrives goes to a thread that works, what it writes goes back at once
//! session             statements by the simple and the extended protocol; portals, cursors, COPY
//! catalog             pg_catalog and information_schema over the engine's catalogue
//! ```
//!
//! A SELECT goes to the engine as it is; around it are what Postgres's clients say beside their queries (SET, BEGIN, DECLARE).
//! The rows of a push query leave as they come: each batch is flushed. The protocol is coded here because the crates that have
//! it collect rows, and bring what `deny.toml` forbids.
//!
//! It is no Postgres: a transaction groups nothing, and names in upper case are shown in lower case (`names`).

mod catalog;
mod connection;
pub(in crate::serve) mod errors;
mod messages;
mod names;
pub(in crate::serve) mod parameters;
mod reply;
pub(in crate::serve) mod scan;
mod scram;
pub(in crate::serve) mod session;
mod settings;
mod signal;
mod startup;
pub(in crate::serve) mod types;
mod verbs;

use super::App;
use super::limits::CONNECTIONS_MAX;
use super::net::connection::Unauthenticated;
use crate::engine::access::audit::Audit;
use crate::threads;
use signal::Cancels;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// Pause after a failed accept: usually this process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
pub(super) struct Door {
    app: Arc<App>,
    tls: Option<TlsAcceptor>,
    audit: Audit,
    /// Unauthenticated connections; `None` = no authentication is required.
    unauthenticated: Option<Arc<Unauthenticated>>,
    cancels: Cancels,
}

impl Door {
    pub(super) fn new(app: Arc<App>, tls: Option<TlsAcceptor>, unauthenticated: Option<Arc<Unauthenticated>>) -> Door {
        let audit = app.engine.audit().clone();
        Door { app, tls, audit, unauthenticated, cancels: Cancels::default() }
    }
}

/// Serves until the server stops.
pub(super) async fn serve(listener: TcpListener, door: Arc<Door>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stopping = door.app.stopping.clone();
    loop {
        let accepted = tokio::select! {
            () = stopping.ended(false) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let place = places.clone().try_acquire_owned().ok();
        let stranger = match &door.unauthenticated {
            Some(unauthenticated) => unauthenticated.enter(address.ip()).map(Some),
            None => Some(None),
        };
        let (Some(place), Some(stranger)) = (place, stranger) else {
            door.app.counters.refused.fetch_add(1, Ordering::Relaxed);
            startup::refuse(&stream);
            continue;
        };
        let (door, held) = (door.clone(), stopping.connection());
        tokio::spawn(async move {
            door.app.counters.connections.fetch_add(1, Ordering::Relaxed);
            let counters = door.app.counters.clone();
            // A panic ends this connection alone, and was logged.
            let _ = threads::guarded("connection", "", startup::connection(stream, address, stranger, door)).await;
            counters.connections.fetch_sub(1, Ordering::Relaxed);
            drop((place, held));
        });
    }
}
