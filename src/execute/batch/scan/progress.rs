//! How much of the history a query has read, for progress displays and for limits.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a query has read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Records that were passed: offsets, to be exact.
    pub records: u64,
    /// Records that have to be read.
    pub planned: u64,
    /// Records that the topics hold.
    pub retained: u64,
    /// Bytes: of files on the embedded log, of keys and values elsewhere.
    pub bytes: u64,
}

/// The same while it grows.
#[derive(Debug, Default)]
pub(crate) struct Scanning {
    records: AtomicU64,
    planned: AtomicU64,
    retained: AtomicU64,
    bytes: AtomicU64,
}

impl Scanning {
    /// So much is going to be read of a source that holds so much.
    pub(crate) fn plan(&self, planned: u64, retained: u64) {
        self.planned.fetch_add(planned, Ordering::Relaxed);
        self.retained.fetch_add(retained, Ordering::Relaxed);
    }

    /// So much was read.
    pub(crate) fn read(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was read is read again.
    pub(crate) fn restart(&self) {
        for counter in [&self.records, &self.planned, &self.retained, &self.bytes] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> Scanned {
        Scanned {
            records: self.records.load(Ordering::Relaxed),
            planned: self.planned.load(Ordering::Relaxed),
            retained: self.retained.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
