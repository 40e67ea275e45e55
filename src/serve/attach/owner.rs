//! The owner of a data directory: the process that holds its lock listens on a Unix socket, so that a second tidegate on the
//! directory attaches to it instead of being turned away.
//!
//! ```text
//! DIR/owner        {"protocol":2,"pid":4711,"socket":"owner.sock"}     both mode 0600, and gone when the owner ends
//! DIR/owner.sock
//! ```
//!
//! Processes of the same user, and of root, may do everything, as they could with the directory's files; no others get in, and
//! nothing is reached over a network. The socket has the limits of a server's port. After a crash both files stay and nobody
//! listens: the next tidegate gets the lock and makes its own.

use super::protocol::PROTOCOL;
use super::server::{House, sessions, topics};
use super::socket::Socket;
use crate::config::{Config, LogConfig, private};
use crate::engine::Engine;
use crate::engine::access::Principal;
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::serve::metrics::Meters;
use crate::serve::net::listen::{self, Listener, Service};
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
    /// The socket, as seen from the directory. An owner of another version may have none.
    #[serde(default)]
    pub socket: PathBuf,
}

impl Announcement {
    /// What stands in a directory; an owner that was killed leaves its own behind.
    pub fn read(directory: &Path) -> Result<Announcement> {
        let path = directory.join(FILE);
        let text = std::fs::read(&path)
            .map_err(|e| Error::io(format!("cannot read {}", path.display())).with_detail(e.to_string()))?;
        let read: Announcement = serde_json::from_slice(&text)
            .map_err(|e| Error::io(format!("cannot understand {}", path.display())).because(e))?;
        match read.socket.as_os_str().is_empty() {
            false => Ok(read),
            true => {
                let directory = directory.display();
                Err(Error::new(Kind::Busy, format!("the tidegate that owns {directory} has another version"))
                    .with_hint("use one version, or end the other one first"))
            }
        }
    }

    fn write(&self, directory: &Path) -> Result<PathBuf> {
        let (path, new) = (directory.join(FILE), directory.join(NEW_FILE));
        let text = serde_json::to_vec(self).map_err(|e| Error::bug("an announcement cannot be written").because(e))?;
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
    desk: Option<Desk>,
}

#[derive(Debug)]
struct Desk {
    runtime: Runtime,
    announcement: PathBuf,
    socket: Socket,
}

impl Owner {
    /// Takes the directory that the configuration names; `Kind::Busy` = another process owns it.
    pub fn open(config: Config, clock: SharedClock) -> Result<Owner> {
        let LogConfig::Embedded(directory) = config.log.clone() else {
            return Err(Error::bug("only a data directory has an owner"));
        };
        let log = Engine::open_log(&config, &clock)?;
        private::warn_if_open(&directory, "the data directory");
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
        if let Some(desk) = &mut self.desk {
            // The next owner makes its own; until then nobody needs to try these.
            let _ = std::fs::remove_file(&desk.announcement);
            desk.socket.remove();
        }
        // Guests are told that their answers are not whole; whoever ends this process does not wait for those answers.
        self.stopping.enter(Phase::Breaking);
        if let Some(engine) = self.house.opened() {
            engine.close();
        }
        if let Some(desk) = self.desk.take() {
            desk.runtime.block_on(self.stopping.break_off());
            desk.runtime.shutdown_background();
        }
    }
}

fn listen(house: &Arc<House>, directory: &Path, stopping: Stopping) -> Result<Desk> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .build()?;
    let (socket, listener) = Socket::bind(directory)?;
    let listener = runtime.block_on(async { tokio::net::UnixListener::from_std(listener) })?;
    // Who gets in could write the directory, too.
    let router = (sessions().into_router().with_state(house.clone()))
        .merge(topics().into_router().with_state(house.clone()))
        .layer(Extension(Principal::local()));
    let announced = Announcement { protocol: PROTOCOL, pid: std::process::id(), socket: socket.name().to_owned() };
    let announcement = announced.write(directory)?;
    let service = Service { router, tls: None, meters: Arc::<Meters>::default(), strangers: None };
    runtime.spawn(async move {
        let stop = stopping.clone();
        listen::serve(Listener::Unix(listener), service, async move { stop.ended(false).await }, stopping).await;
    });
    Ok(Desk { runtime, announcement, socket })
}
