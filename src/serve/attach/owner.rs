//! The owner of a data directory: the process that holds its lock. It listens on a Unix socket, so that a second tidegate on
//! the same directory attaches to it instead of failing.
//!
//! ```text
//! DIR/owner        {"protocol":4,"pid":4711,"socket":"owner.sock"}     both mode 0600, and gone when the owner ends
//! DIR/owner.sock
//! ```
//!
//! Processes of the same user, and of root, may do everything, as they could with the directory's files; all others are
//! refused by the file system, and nothing is reachable over the network. The socket has the limits of a server's port. Both
//! files survive a crash of the owner; the next tidegate acquires the lock and replaces them.

use super::protocol::PROTOCOL;
use super::server::{AttachService, sessions, topics};
use super::socket::Socket;
use crate::config::{Config, LogConfig, private};
use crate::engine::Engine;
use crate::engine::access::Principal;
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::serve::metrics::Counters;
use crate::serve::net::listen::{self, Listener, Service};
use crate::serve::schema_registry::{self, RegistryService};
use crate::serve::stopping::{Phase, Stopping};
use crate::types::clock::SharedClock;
use axum::Extension;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The announcement's name.
const FILE: &str = "owner";
/// An announcement while it is written.
const NEW_FILE: &str = "owner.new";
/// How long an idle thread waits for the next request.
const IDLE_THREAD: Duration = Duration::from_secs(2);

/// How to reach an owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Announcement {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Process id.
    pub pid: u32,
    /// The socket, relative to the directory; empty for an owner of a version that has none.
    #[serde(default)]
    pub socket: PathBuf,
}

impl Announcement {
    /// Reads a directory's announcement, which may be left over from an owner that was killed.
    pub fn read(directory: &Path) -> Result<Announcement> {
        let path = directory.join(FILE);
        let text = std::fs::read(&path)
            .map_err(|e| Error::io(format!("cannot read {}", path.display())).with_detail(e.to_string()))?;
        let read: Announcement = serde_json::from_slice(&text)
            .map_err(|e| Error::io(format!("invalid file {}", path.display())).because(e))?;
        match read.socket.as_os_str().is_empty() {
            false => Ok(read),
            true => {
                let directory = directory.display();
                Err(Error::new(Kind::Busy, format!("the tidegate that owns {directory} runs an incompatible version"))
                    .with_hint("use the same version on both sides, or stop the other process first"))
            }
        }
    }

    fn write(&self, directory: &Path) -> Result<PathBuf> {
        let (path, new) = (directory.join(FILE), directory.join(NEW_FILE));
        let text = serde_json::to_vec(self).map_err(|e| Error::bug("an announcement cannot be encoded").because(e))?;
        // The mode applies only to a file that is created: one left over may have another.
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
    service: Arc<AttachService>,
    stopping: Stopping,
    /// The socket and its announcement; `None` = no process can attach.
    listening: Option<Listening>,
}

#[derive(Debug)]
struct Listening {
    runtime: Runtime,
    announcement: PathBuf,
    socket: Socket,
}

impl Owner {
    /// Acquires the directory that the configuration names; `Kind::Busy` = another process owns it.
    pub fn open(config: Config, clock: SharedClock) -> Result<Owner> {
        let LogConfig::Embedded(directory) = config.log.clone() else {
            return Err(Error::bug("only a data directory has an owner"));
        };
        let log = Engine::open_log(&config, &clock)?;
        private::warn_if_open(&directory, "the data directory");
        let stopping = Stopping::default();
        let service = Arc::new(AttachService::new(log, config, clock, None, stopping.clone()));
        let listening = match listen(&service, &directory, stopping.clone()) {
            Ok(listening) => Some(listening),
            Err(error) => {
                // On a full disk the owner must still be able to delete something.
                tracing::warn!(%error, directory = %directory.display(), "no other process can attach to this one");
                None
            }
        };
        Ok(Owner { service, stopping, listening })
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn Log> {
        self.service.log()
    }

    /// The engine. Its queries start with the first call, of this process or of an attached one.
    pub fn engine(&self) -> Result<Engine> {
        self.service.engine()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(listening) = &mut self.listening {
            // The next owner creates its own; until then attaching would be in vain.
            let _ = std::fs::remove_file(&listening.announcement);
            listening.socket.remove();
        }
        // Responses are marked as incomplete instead of being waited for.
        self.stopping.enter(Phase::Breaking);
        if let Some(engine) = self.service.opened() {
            engine.close();
        }
        if let Some(listening) = self.listening.take() {
            listening.runtime.block_on(self.stopping.break_off());
            listening.runtime.shutdown_background();
        }
    }
}

fn listen(service: &Arc<AttachService>, directory: &Path, stopping: Stopping) -> Result<Listening> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .build()?;
    let (socket, listener) = Socket::bind(directory)?;
    let listener = runtime.block_on(async { tokio::net::UnixListener::from_std(listener) })?;
    // A process that can open the socket could also write the directory's files.
    let engines = service.clone();
    let router = (sessions().into_router().with_state(service.clone()))
        .merge(topics().into_router().with_state(service.clone()))
        .merge(schema_registry::routes().into_router().with_state(RegistryService::new(move || engines.engine())))
        .layer(Extension(Principal::local()));
    let announced = Announcement { protocol: PROTOCOL, pid: std::process::id(), socket: socket.name().to_owned() };
    let announcement = announced.write(directory)?;
    let service = Service { router, tls: None, counters: Arc::<Counters>::default(), unauthenticated: None };
    runtime.spawn(async move {
        let stop = stopping.clone();
        listen::serve(Listener::Unix(listener), service, async move { stop.ended(false).await }, stopping).await;
    });
    Ok(Listening { runtime, announcement, socket })
}
