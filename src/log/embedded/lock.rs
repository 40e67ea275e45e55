//! One owner per data directory. The kernel releases the lock when the process ends, however it ends, so that no stale lock
//! remains; the process id in the file only serves the message.

use super::segment::failed;
use crate::config::private;
use crate::error::{Error, Kind, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// The lock file's name.
const FILE: &str = "lock";

/// The lock, held for as long as the directory is in use.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Locks the directory; the error names its owner.
    pub(super) fn take(directory: &Path) -> Result<DirectoryLock> {
        let path = directory.join(FILE);
        let opened = private::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|e| failed("open", &path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(taken(directory, &mut file)),
            Err(e) => return Err(failed("lock", &path, e.into())),
        }
        // Only for the message: a full disk does not prevent locking.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(DirectoryLock { file })
    }
}

impl Drop for DirectoryLock {
    /// Closing the file is not enough: a child that another thread is just starting inherits the descriptor, and with it the
    /// lock, until it executes its own program.
    fn drop(&mut self) {
        if let Err(e) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(error = %e, "the data directory's lock was not released; it ends with the process");
        }
    }
}

fn taken(directory: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let owner = match file.take(20).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!(" (pid {})", text.trim()),
        _ => String::new(),
    };
    Error::new(Kind::Busy, format!("another tidegate process uses {}{owner}", directory.display()))
        .with_hint("end it, or choose another directory with --data DIR")
}
