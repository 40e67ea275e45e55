//! HTTP over a Unix socket, and sockets with long paths.
//!
//! A socket's address holds a path of at most 108 bytes, on some systems 104. A longer one is reached through a descriptor of
//! its directory (`/proc/self/fd/7/owner.sock`, on Linux).

use super::Cause;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::UnixStream;
use tower_service::Service;

/// What fits into a socket's address everywhere, with its NUL.
pub const PATH_BYTES_MAX: usize = 100;

/// A path that is short enough for a socket's address, for as long as this value lives.
#[derive(Debug)]
pub struct ShortPath {
    /// The path.
    pub path: PathBuf,
    _directory: Option<File>,
}

impl ShortPath {
    /// Another name of `path` where it is too long, `path` itself otherwise.
    pub fn of(path: &Path) -> io::Result<ShortPath> {
        let (true, Some(directory), Some(name)) =
            (path.as_os_str().len() > PATH_BYTES_MAX, path.parent(), path.file_name())
        else {
            return Ok(ShortPath { path: path.to_path_buf(), _directory: None });
        };
        let directory = File::open(directory)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(ShortPath { path, _directory: Some(directory) })
    }
}

/// Connects to one socket, whatever the request's URI.
#[derive(Clone, Debug)]
pub(super) struct UnixConnector(Arc<Path>);

impl UnixConnector {
    pub(super) fn new(socket: &Path) -> UnixConnector {
        UnixConnector(socket.into())
    }
}

impl Service<Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = self.0.clone();
        Box::pin(async move {
            let short = ShortPath::of(&socket)?;
            Ok(TokioIo::new(UnixStream::connect(&short.path).await?))
        })
    }
}
