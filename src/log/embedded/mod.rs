//! The durable log in this process.

use crate::log::RecordRef;

/// Records of one stretch of a partition, as they stand in the file.
#[derive(Debug)]
pub struct Block {}

impl Block {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        0
    }

    /// Calls `each` for every record.
    pub(crate) fn for_each(&self, _each: impl FnMut(RecordRef<'_>)) {}

    /// Timestamp of the first record.
    pub(crate) fn first_timestamp(&self) -> i64 {
        0
    }
}
