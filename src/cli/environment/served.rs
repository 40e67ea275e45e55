//! A server in this process: for `tidegate server`, and beside the demonstration's prompt.

use crate::config;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::serve::{self, ListenConfig};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot::Sender;
use tokio::task::JoinHandle;

/// How long an idle thread waits for the next request.
const IDLE_THREAD: Duration = Duration::from_secs(2);

/// A server that runs. Dropped without [`Server::stop`] it ends at once.
pub(super) struct Server {
    runtime: Option<Runtime>,
    /// Dropping it stops the server.
    running: Option<Sender<()>>,
    task: JoinHandle<Result<()>>,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Server {
    /// Listens and serves: HTTP, and Postgres's clients if they have an address.
    pub(super) fn start(
        engine: &Engine,
        listen: SocketAddr,
        postgres: Option<SocketAddr>,
        config: ListenConfig,
    ) -> Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_keep_alive(IDLE_THREAD)
            .enable_all()
            .build()?;
        let (running, stopped) = tokio::sync::oneshot::channel::<()>();
        let bind = |wanted: SocketAddr| {
            let bound = runtime.block_on(tokio::net::TcpListener::bind(wanted));
            bound.map_err(|e| Error::io(format!("cannot listen on {wanted}")).with_detail(e.to_string()))
        };
        let (listener, postgres) = (bind(listen)?, postgres.map(bind).transpose()?);
        let address = listener.local_addr()?;
        engine.listens_at(&url_of(address, config.is_secure()))?;
        tracing::info!(%address, log = %engine.log().describe(), "serving HTTP");
        let config = match postgres {
            None => config,
            Some(listener) => {
                tracing::info!(address = %listener.local_addr()?, "serving Postgres clients");
                config.with_postgres(listener)
            }
        };
        let task = runtime.spawn(serve::serve(engine.clone(), listener, config, async {
            // A dropped sender means stop.
            let _ = stopped.await;
        }));
        Ok(Server { runtime: Some(runtime), running: Some(running), task, address })
    }

    /// The server has ended by itself.
    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Lets responses end within a bounded time (`serve::stopping`); returns how serving ended. Connections of clients that
    /// do not read end with [`Server`].
    pub(super) fn stop(&mut self) -> Result<()> {
        drop(self.running.take());
        let Some(runtime) = &self.runtime else { return Ok(()) };
        runtime.block_on(&mut self.task).unwrap_or_else(|e| Err(Error::bug("the server task ended early").because(e)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where other processes reach this listener: one on all interfaces at the name of the machine.
fn url_of(address: SocketAddr, is_secure: bool) -> String {
    let scheme = if is_secure { "https" } else { "http" };
    match config::host_name().filter(|_| address.ip().is_unspecified()) {
        Some(name) => format!("{scheme}://{name}:{}", address.port()),
        None => format!("{scheme}://{address}"),
    }
}
