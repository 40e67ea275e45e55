//! Memory that operators share, and the directory for what does not fit into it.
//!
//! Files here are nobody's state: they have no name, vanish with the process, and are made again from the changelog.

use crate::error::{Error, Result};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory for the rows of all joins of a process, unless another amount is set: a fraction of what a small container has.
pub const MEMORY_BYTES: usize = 128 << 20;

/// No share is smaller, however many there are: files of less are not worth their lookups.
const SHARE_BYTES_MIN: usize = 1 << 20;

/// The directory, and the memory that comes before it.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    bytes: usize,
    sharers: AtomicUsize,
}

impl Scratch {
    /// `bytes` of memory for all who take a share; what is more goes to files in `dir`, which is made when it is needed.
    pub fn new(dir: PathBuf, bytes: usize) -> Arc<Scratch> {
        Arc::new(Scratch { dir, bytes, sharers: AtomicUsize::new(0) })
    }

    /// A new file without a name.
    pub(super) fn file(&self) -> Result<File> {
        std::fs::create_dir_all(&self.dir).and_then(|()| tempfile::tempfile_in(&self.dir)).map_err(|e| self.failed(&e))
    }

    /// A file cannot be written or read.
    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::io(format!("rows that do not fit into memory cannot be kept in {}", self.dir.display()))
            .with_detail(error.to_string())
            .with_hint("make room there, or name another directory with 'ksql.streams.state.dir'")
    }
}

/// One operator's part of the memory; all parts are equal.
#[derive(Debug)]
pub(super) struct Share(Arc<Scratch>);

impl Share {
    pub(super) fn of(scratch: &Arc<Scratch>) -> Share {
        scratch.sharers.fetch_add(1, Ordering::Relaxed);
        Share(scratch.clone())
    }

    /// What this part may hold in memory.
    pub(super) fn bytes(&self) -> usize {
        let part = self.0.bytes / self.0.sharers.load(Ordering::Relaxed).max(1);
        part.max(SHARE_BYTES_MIN.min(self.0.bytes))
    }

    /// A new file without a name.
    pub(super) fn file(&self) -> Result<File> {
        self.0.file()
    }

    /// A file cannot be written or read.
    pub(super) fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        self.0.failed(error)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.sharers.fetch_sub(1, Ordering::Relaxed);
    }
}
