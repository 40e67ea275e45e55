//! The socket of a data directory.
//!
//! It is `DIR/owner.sock`, however long the directory's path is ([`ShortPath`]). On a file system without sockets it gets a
//! directory of its own below the system's temporary one, and the announcement says where.

use crate::config::private;
use crate::error::{Error, Result};
use crate::http_client::unix::ShortPath;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Name of the socket.
const FILE: &str = "owner.sock";

/// A socket that this process listens on.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Relative to the data directory.
    name: PathBuf,
    path: PathBuf,
    /// The directory that holds it, if that is not the data directory.
    elsewhere: Option<TempDir>,
}

impl Socket {
    /// Creates the socket of a directory whose lock this process holds, in place of one left over from a crash.
    pub(crate) fn bind(directory: &Path) -> Result<(Socket, UnixListener)> {
        let (name, path) = (PathBuf::from(FILE), directory.join(FILE));
        let _ = std::fs::remove_file(&path);
        let error = match bind(&path) {
            Ok(listener) => return Ok((Socket { name, path, elsewhere: None }, listener)),
            Err(error) => error,
        };
        // Mode 0700.
        let elsewhere = private::temporary_dir()?;
        let path = elsewhere.path().join(FILE);
        let listener = bind(&path).map_err(|e| {
            Error::io(format!("cannot create a socket in {}", directory.display())).with_detail(format!("{error}; {e}"))
        })?;
        Ok((Socket { name: path.clone(), path, elsewhere: Some(elsewhere) }, listener))
    }

    /// Its path, relative to the data directory.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Removes the socket; processes that are connected stay so.
    pub(crate) fn remove(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        self.elsewhere = None;
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let near = ShortPath::of(path)?;
    let listener = UnixListener::bind(&near.path)?;
    std::fs::set_permissions(&near.path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_socket_is_made_and_reached_under_a_path_of_any_length() {
        let directory = tempfile::tempdir().unwrap();
        for len in [1, 60, 100, 101, 200] {
            let deep = directory.path().join("d".repeat(len)).join("e".repeat(len));
            std::fs::create_dir_all(&deep).unwrap();
            // A second one finds what the first has left.
            let (first, _) = Socket::bind(&deep).unwrap();
            let (mut socket, _listener) = Socket::bind(&deep).unwrap();
            assert_eq!((socket.name(), first.name()), (Path::new(FILE), Path::new(FILE)), "{len}");
            let path = deep.join(socket.name());
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            UnixStream::connect(ShortPath::of(&path).unwrap().path).unwrap();
            socket.remove();
            assert!(!path.exists(), "{len}");
        }
    }

    #[test]
    fn a_directory_that_holds_no_sockets_has_one_elsewhere() {
        // What is there cannot be removed, so that no socket can take its place.
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(FILE)).unwrap();
        let (mut socket, _listener) = Socket::bind(directory.path()).unwrap();
        let path = directory.path().join(socket.name());
        assert!(!path.starts_with(directory.path()) && path.is_absolute());
        let home = path.parent().unwrap().to_owned();
        assert_eq!(std::fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
        UnixStream::connect(ShortPath::of(&path).unwrap().path).unwrap();
        socket.remove();
        assert!(!home.exists());
    }
}
