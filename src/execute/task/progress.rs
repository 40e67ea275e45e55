//! What a query has done so far: counts that its thread moves and others read.

use std::sync::atomic::AtomicU64;

/// What a query has done, for SHOW and DESCRIBE; read by any thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records read.
    pub consumed: AtomicU64,
    /// Rows written.
    pub produced: AtomicU64,
    /// Records skipped because they could not be used.
    pub bad: AtomicU64,
    /// Rows dropped by the late rule.
    pub late: AtomicU64,
    /// Commits.
    pub commits: AtomicU64,
}
