//! Parts of a partition that are worth reading for records of certain times and offsets.
//!
//! ```text
//! wanted: times 500..=599        records' times  100 .. 499 | 500 .. 720 | 710 .. 650 | 555 .. 990
//!                                read            no         | yes        | no         | yes
//! ```
//!
//! A span promises what was left out, never what is in it: records of other times stand there too. A log that keeps the
//! smallest and largest time of its batches can leave out any of them. One that only answers "the first offset of a record
//! that is not older", as Kafka does, can leave out what stands before that offset, and has to be read to the end: times
//! need not be in order, so that nothing behind a record says that a wanted one will not follow.

use super::{Log, TopicPartition};
use crate::error::Result;
use std::ops::{Range, RangeInclusive};

/// Every time.
pub const ALL_TIMES: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// A part of a partition that has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// From its first offset to the one behind it.
    pub offsets: Range<i64>,
    /// No record that was left out before it, from the start of the partition on, is younger; `None` = not known.
    pub latest_before: Option<i64>,
}

impl Span {
    /// All of these offsets, where nothing stands before them.
    pub fn whole(offsets: Range<i64>) -> Span {
        Span { offsets, latest_before: Some(i64::MIN) }
    }
}

/// The spans of a log that can only be asked for the first offset of a time.
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
    // What stands before the first record of that time is older; of what stands behind it nothing is known.
    let latest_before = match from <= first {
        true if *times.start() == i64::MIN => Some(i64::MIN),
        true => Some(times.start() - 1),
        false => None,
    };
    let span = Span { offsets: from.max(first)..offsets.end, latest_before };
    Ok(Some(span).filter(|s| !s.offsets.is_empty()).into_iter().collect())
}
