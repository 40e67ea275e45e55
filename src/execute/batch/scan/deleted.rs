//! Records that are deleted while a query reads them (by retention, or by `delete-records`): its answer would be a part of what
//! was asked for, so it fails.
//!
//! ```text
//! read up to offset 500, the next record has offset 900, the partition begins at 900    500..900 were deleted: an error
//!                                               or the partition begins at 0            a gap of another kind: nothing is missing
//! ```
//!
//! Markers of transactions, aborted records and compaction leave gaps as well, so the log is asked only where one shows up.

use crate::error::{Error, Kind, Result};
use crate::log::{Log, TopicPartition};
use std::sync::Arc;

/// The position of the reader of one partition.
#[derive(Debug)]
pub(crate) struct GapCheck {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    next: i64,
}

impl GapCheck {
    /// A reader that begins at `next`.
    pub(crate) fn new(log: &Arc<dyn Log>, partition: &TopicPartition, next: i64) -> GapCheck {
        GapCheck { log: log.clone(), partition: partition.clone(), next }
    }

    /// The reader is sent on to `next`: what is between is not wanted.
    pub(crate) fn skip_to(&mut self, next: i64) {
        self.next = next;
    }

    /// A poll brought records from `first` on, if any, and left the reader at `position`: an error if what is missing between
    /// them was deleted.
    pub(crate) fn moved(&mut self, first: Option<i64>, position: i64) -> Result<()> {
        let reached = first.unwrap_or(position);
        if reached > self.next {
            let low = self.log.watermarks(&self.partition)?.low;
            if low > self.next {
                let TopicPartition { topic, partition } = &self.partition;
                let message = format!("records of topic {topic} were deleted while they were read");
                return Err(Error::new(Kind::Busy, message)
                    .with_detail(format!("partition {partition}, offsets {} to {}", self.next, low - 1))
                    .with_hint("run the query again: it then reads the records that are left"));
            }
        }
        self.next = self.next.max(position);
        Ok(())
    }
}
