//! Parts of a partition that have to be read for records of certain timestamps and offsets.
//!
//! ```text
//! wanted: times 500..=599        records' times  100 .. 499 | 500 .. 720 | 710 .. 650 | 555 .. 990
//!                                read            no         | yes        | no         | yes
//! ```
//!
//! A span guarantees what was left out, not what it contains: it may include records of other times. A log that knows the
//! smallest and largest timestamp of its batches can leave out any of them. Kafka offers only the first offset of a record
//! that is not older than a time (ListOffsets, KIP-79), so that the records before it can be left out and the rest has to be
//! read to the end: timestamps need not be in order.

use super::{Log, TopicPartition};
use crate::error::Result;
use std::ops::{Range, RangeInclusive};

/// All timestamps.
pub const ALL_TIMES: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// A part of a partition that has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its offsets.
    pub offsets: Range<i64>,
    /// No record that was left out between the start of the partition and this span is younger; `None` = unknown.
    pub latest_before: Option<i64>,
}

impl Span {
    /// All of these offsets, with no records before them.
    pub fn whole(offsets: Range<i64>) -> Span {
        Span { offsets, latest_before: Some(i64::MIN) }
    }
}

/// The spans of a log that can only look up the first offset of a timestamp.
pub(super) fn after_first(
    log: &(impl Log + ?Sized),
    partition: &TopicPartition,
    offsets: Range<i64>,
    times: &RangeInclusive<i64>,
) -> Result<Vec<Span>> {
    let low = log.watermarks(partition)?.low;
    let from = offsets.start.max(low);
    let first = match *times.start() {
        i64::MIN => Some(low),
        time => log.offset_for_time(partition, time.max(0))?,
    };
    let Some(first) = first else { return Ok(Vec::new()) };
    // The records before the first one of that time are older; nothing is known about those after it.
    let latest_before = match from <= first {
        true if *times.start() == i64::MIN => Some(i64::MIN),
        true => Some(times.start() - 1),
        false => None,
    };
    let span = Span { offsets: from.max(first)..offsets.end, latest_before };
    Ok(Some(span).filter(|s| !s.offsets.is_empty()).into_iter().collect())
}
