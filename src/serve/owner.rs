//! The owner of a data directory: the process that holds its lock listens on a loopback port, so that a second tidegate on
//! the directory attaches to it instead of being turned away.
//!
//! ```text
//! DIR/owner   {"protocol":2,"pid":4711,"port":40123,"token":"9f.."}     mode 0600, gone when the owner ends
//! ```
//!
//! Whoever can read the file may say anything, as whoever can write the directory could; nobody else gets an answer. After a
//! crash the file stays and the port is dead: the next tidegate gets the lock and writes its own.

use super::error;
use super::guests::{House, sessions, topics};
use super::stopping::{Phase, Stopping};
use super::users::is_same;
use super::wire::PROTOCOL;
use crate::config::{Config, LogConfig, random_id};
use crate::engine::Engine;
use crate::engine::authorization::Principal;
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::types::clock::SharedClock;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The announcement's name.
const FILE: &str = "owner";
/// An announcement being written.
const NEW_FILE: &str = "owner.new";
/// How long a thread that served a guest waits for the next one.
const IDLE_THREAD: Duration = Duration::from_secs(2);

/// Where an owner is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Announcement {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Process id.
    pub pid: u32,
    /// Port on the loopback interface.
    pub port: u16,
    /// What every request has to bring.
    pub token: String,
}

impl Announcement {
    /// What stands in a directory; an owner that was killed leaves its own behind.
    pub fn read(directory: &Path) -> Result<Announcement> {
        let path = directory.join(FILE);
        let text = std::fs::read(&path)
            .map_err(|e| Error::io(format!("cannot read {}", path.display())).with_detail(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| Error::io(format!("cannot understand {}", path.display())).because(e))
    }

    fn write(&self, directory: &Path) -> Result<PathBuf> {
        let (path, new) = (directory.join(FILE), directory.join(NEW_FILE));
        let text = serde_json::to_vec(self).map_err(|e| Error::bug("a port cannot be written").because(e))?;
        // The mode holds for a file that is made here: one that is left over may have another.
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        std::fs::rename(&new, &path)?;
        Ok(path)
    }
}

/// A data directory that this process owns.
#[derive(Debug)]
pub struct Owner {
    house: Arc<House>,
    stopping: Stopping,
    /// The listener and its announcement; `None` = nobody can attach.
    desk: Option<(Runtime, PathBuf)>,
}

impl Owner {
    /// Takes the directory that the configuration names; `Kind::Busy` = another process owns it.
    pub fn open(config: Config, clock: SharedClock) -> Result<Owner> {
        let LogConfig::Embedded(directory) = config.log.clone() else {
            return Err(Error::bug("only a data directory has an owner"));
        };
        let log = Engine::open_log(&config, &clock)?;
        let stopping = Stopping::default();
        let house = Arc::new(House::new(log, config, clock, None, stopping.clone()));
        let desk = match listen(&house, &directory, stopping.clone()) {
            Ok(desk) => Some(desk),
            Err(error) => {
                // A full disk must not keep its owner from making room.
                tracing::warn!(%error, directory = %directory.display(), "nobody can attach to this tidegate");
                None
            }
        };
        Ok(Owner { house, stopping, desk })
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn Log> {
        self.house.log()
    }

    /// The engine; its queries run from the first time that somebody asks for it, this process or a guest.
    pub fn engine(&self) -> Result<Engine> {
        self.house.engine()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some((_, announcement)) = &self.desk {
            // The next owner writes its own; until then nobody needs to try this one.
            let _ = std::fs::remove_file(announcement);
        }
        // Guests are told that their answers are not whole; whoever ends this process does not wait for those answers.
        self.stopping.enter(Phase::Breaking);
        if let Some(engine) = self.house.opened() {
            engine.close();
        }
        if let Some((runtime, _)) = self.desk.take() {
            runtime.block_on(self.stopping.break_off());
            runtime.shutdown_background();
        }
    }
}

fn listen(house: &Arc<House>, directory: &Path, stopping: Stopping) -> Result<(Runtime, PathBuf)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let token = format!("{:032x}{:032x}", random_id()?, random_id()?);
    let port = listener.local_addr()?.port();
    let router = (sessions().into_router().with_state(house.clone()))
        .merge(topics().into_router().with_state(house.clone()))
        .layer(from_fn_with_state(Arc::<str>::from(token.as_str()), with_token));
    let path = Announcement { protocol: PROTOCOL, pid: std::process::id(), port, token }.write(directory)?;
    runtime.spawn(async move {
        let stopped = async move { stopping.ended(false).await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::warn!(%error, "nobody can attach to this tidegate any more");
        }
    });
    Ok((runtime, path))
}

/// Lets requests pass that bring the token.
async fn with_token(State(token): State<Arc<str>>, mut request: Request, next: Next) -> Response {
    let brought = request.headers().get(AUTHORIZATION).map(|v| v.as_bytes()).unwrap_or_default();
    let brought = brought.strip_prefix(b"Bearer ").unwrap_or_default();
    match is_same(brought, token.as_bytes()) {
        true => {
            request.extensions_mut().insert(Principal::local());
            next.run(request).await
        }
        false => {
            let e = Error::new(Kind::Statement, "this port is for other tidegates on the data directory");
            error::response(&e.with_code(40100).with_hint("tidegate server has one for programs"), None)
        }
    }
}
