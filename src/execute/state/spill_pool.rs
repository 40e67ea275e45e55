//! Memory that operators share, and the directory for what does not fit into it.
//!
//! Files here are not part of the durable state: they have no name, vanish with the process, and are made again from the changelog.

use crate::config::{self, private};
use crate::error::{Error, Kind, Result};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tempfile::TempDir;

/// Memory for the rows of all joins of a process, unless another amount is set: a fraction of what a small container has.
pub const MEMORY_BYTES: usize = 128 << 20;

/// No share is smaller, however many there are: files of less are not worth their lookups.
const SHARE_BYTES_MIN: usize = 1 << 20;

/// Bytes between two looks at how much of the disk is free: what a second of writing to a slow one is.
const LOOK_BYTES: u64 = 64 << 20;

/// What queries that end may put into files.
#[derive(Clone, Copy, Debug)]
pub struct SpillQuota {
    /// Bytes of all of them together.
    pub bytes: u64,
    /// Bytes that stay free on the disk.
    pub free: u64,
}

impl Default for SpillQuota {
    fn default() -> SpillQuota {
        SpillQuota { bytes: config::BATCH_SCRATCH_BYTES, free: config::BATCH_SCRATCH_FREE_BYTES }
    }
}

#[derive(Debug)]
enum Dir {
    Named(PathBuf),
    /// One of this process alone below the system's temporary directory, which all users share.
    Own(Mutex<Option<TempDir>>),
}

impl Dir {
    /// The directory, which is made when it is needed.
    fn made(&self) -> io::Result<PathBuf> {
        match self {
            Dir::Named(dir) => private::create_dir_all(dir).map(|()| dir.clone()),
            Dir::Own(made) => {
                let mut made = made.lock();
                let dir = match made.take() {
                    Some(dir) => dir,
                    None => private::temporary_dir()?,
                };
                Ok(made.insert(dir).path().to_path_buf())
            }
        }
    }

    fn shown(&self) -> PathBuf {
        match self {
            Dir::Named(dir) => dir.clone(),
            Dir::Own(_) => std::env::temp_dir(),
        }
    }
}

/// The directory, and the memory that comes before it.
#[derive(Debug)]
pub struct SpillPool {
    dir: Dir,
    bytes: usize,
    reservations: AtomicUsize,
    quota: SpillQuota,
    /// Bytes in files of queries that end.
    used: AtomicU64,
}

impl SpillPool {
    /// `bytes` of memory for all who take a share; what is more goes to files in `dir`, which is made when it is needed.
    pub fn new(dir: PathBuf, bytes: usize) -> Arc<SpillPool> {
        SpillPool::with_quota(Some(dir), bytes, SpillQuota::default())
    }

    /// The same with another bound of what queries that end put into files, and, without `dir`, in a directory that only this
    /// process has.
    pub fn with_quota(dir: Option<PathBuf>, bytes: usize, quota: SpillQuota) -> Arc<SpillPool> {
        let dir = dir.map_or_else(|| Dir::Own(Mutex::default()), Dir::Named);
        Arc::new(SpillPool { dir, bytes, reservations: AtomicUsize::new(0), quota, used: AtomicU64::new(0) })
    }

    /// Takes so many bytes of the quota, before they are written; [`release`](SpillPool::release) gives them back.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<()> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        let checked = match after > self.quota.bytes {
            true => Err(Error::new(
                Kind::Busy,
                format!(
                    "queries without EMIT use {before} bytes of disk space, and may use {} together",
                    self.quota.bytes
                ),
            )
            .with_hint(
                "wait for others to end, or start the process with a larger --set tidegate.batch.scratch.bytes=N",
            )),
            false if before / LOOK_BYTES != after / LOOK_BYTES || before == 0 => self.check_free(),
            false => Ok(()),
        };
        if checked.is_err() {
            self.release(bytes);
        }
        checked
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn check_free(&self) -> Result<()> {
        let disk = rustix::fs::statvfs(self.dir.shown()).map_err(|e| self.failed(&e))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= self.quota.free {
            return Ok(());
        }
        let dir = self.dir.shown();
        let dir = dir.display();
        Err(Error::new(
            Kind::Busy,
            format!(
                "the disk of {dir} has {free} bytes free, and queries without EMIT keep {} bytes free",
                self.quota.free
            ),
        )
        .with_hint(
            "free disk space, set another directory with 'ksql.streams.state.dir', or start the process with a smaller \
             --set tidegate.batch.scratch.free.bytes=N",
        ))
    }

    /// A new file without a name.
    pub(crate) fn file(&self) -> Result<File> {
        self.dir.made().and_then(tempfile::tempfile_in).map_err(|e| self.failed(&e))
    }

    /// A file cannot be written or read.
    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::io(format!("rows that do not fit into memory cannot be written to {}", self.dir.shown().display()))
            .with_detail(error.to_string())
            .with_hint("free disk space, or set another directory with 'ksql.streams.state.dir'")
    }
}

/// One operator's part of the memory; all parts are equal.
#[derive(Debug)]
pub(crate) struct MemoryReservation(Arc<SpillPool>);

impl MemoryReservation {
    pub(crate) fn of(spill_pool: &Arc<SpillPool>) -> MemoryReservation {
        spill_pool.reservations.fetch_add(1, Ordering::Relaxed);
        MemoryReservation(spill_pool.clone())
    }

    /// What this part may hold in memory.
    pub(crate) fn bytes(&self) -> usize {
        let part = self.0.bytes / self.0.reservations.load(Ordering::Relaxed).max(1);
        part.max(SHARE_BYTES_MIN.min(self.0.bytes))
    }

    /// A new file without a name.
    pub(crate) fn file(&self) -> Result<File> {
        self.0.file()
    }

    /// A file cannot be written or read.
    pub(crate) fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        self.0.failed(error)
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.0.reservations.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_process_has_a_directory_of_its_own() {
        let own = || SpillPool::with_quota(None, 1, SpillQuota::default());
        let (one, other) = (own(), own());
        one.file().unwrap();
        let (dir, same) = (one.dir.made().unwrap(), one.dir.made().unwrap());
        assert_eq!(dir, same);
        assert_ne!(dir, other.dir.made().unwrap());
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        drop(one);
        assert!(!dir.exists());
    }

    fn pool(bytes: u64, free: u64) -> Arc<SpillPool> {
        SpillPool::with_quota(Some(std::env::temp_dir()), 0, SpillQuota { bytes, free })
    }

    #[test]
    fn the_quota_is_one_for_all() {
        let spill_pool = pool(1_000, 0);
        spill_pool.reserve(600).unwrap();
        let refused = spill_pool.reserve(401).unwrap_err().to_string();
        assert!(refused.contains("use 600 bytes of disk space"), "{refused}");
        spill_pool.release(600);
        spill_pool.reserve(1_000).unwrap();
    }

    #[test]
    fn the_disk_is_left_a_floor_of_free_space() {
        let refused = pool(u64::MAX, u64::MAX).reserve(1).unwrap_err().to_string();
        assert!(refused.contains("bytes free, and queries"), "{refused}");
    }
}
