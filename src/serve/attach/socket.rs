//! The socket of a data directory: where it is, however long the directory's path is.
//!
//! A socket's path has at most 108 bytes, on some systems 104. One that is longer is reached through a descriptor of its
//! directory (`/proc/self/fd/7/owner.sock`, on Linux). Where neither works, as on file systems without sockets, the socket
//! gets a directory of its own below the system's temporary one, and the announcement says where.

use crate::config::private;
use crate::error::{Error, Result};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Its name.
const FILE: &str = "owner.sock";
/// What fits into a socket's address everywhere, with its NUL.
const PATH_BYTES_MAX: usize = 100;

/// A socket that this process has made.
#[derive(Debug)]
pub(crate) struct Socket {
    /// As seen from the data directory.
    name: PathBuf,
    path: PathBuf,
    /// Where it is, if it is not in the data directory.
    elsewhere: Option<TempDir>,
}

impl Socket {
    /// Makes the socket of a directory whose lock this process holds; one that is left over from a crash goes.
    pub(crate) fn bind(directory: &Path) -> Result<(Socket, UnixListener)> {
        let (name, path) = (PathBuf::from(FILE), directory.join(FILE));
        let _ = std::fs::remove_file(&path);
        let error = match bind(&path) {
            Ok(listener) => return Ok((Socket { name, path, elsewhere: None }, listener)),
            Err(error) => error,
        };
        // Only its owner can enter it.
        let elsewhere = private::temporary_dir()?;
        let path = elsewhere.path().join(FILE);
        let listener = bind(&path).map_err(|e| {
            Error::io(format!("cannot make a socket in {}", directory.display())).with_detail(format!("{error}; {e}"))
        })?;
        Ok((Socket { name: path.clone(), path, elsewhere: Some(elsewhere) }, listener))
    }

    /// What to look for, from the data directory.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Nobody finds it any more.
    pub(crate) fn remove(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        self.elsewhere = None;
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let near = Near::to(path)?;
    let listener = UnixListener::bind(&near.path)?;
    std::fs::set_permissions(&near.path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A path that is short enough for a socket's address, as long as this lives.
#[derive(Debug)]
pub struct Near {
    /// The path.
    pub path: PathBuf,
    _directory: Option<File>,
}

impl Near {
    /// Another name of this path.
    pub fn to(path: &Path) -> io::Result<Near> {
        let (true, Some(directory), Some(name)) =
            (path.as_os_str().len() > PATH_BYTES_MAX, path.parent(), path.file_name())
        else {
            return Ok(Near { path: path.to_path_buf(), _directory: None });
        };
        let directory = File::open(directory)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Near { path, _directory: Some(directory) })
    }
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
            UnixStream::connect(Near::to(&path).unwrap().path).unwrap();
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
        UnixStream::connect(Near::to(&path).unwrap().path).unwrap();
        socket.remove();
        assert!(!home.exists());
    }
}
