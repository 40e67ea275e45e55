//! How far a followed view has read its topic, how far that is behind, and how far behind a lookup may be.
//!
//! ```text
//! partition 0:  0 1 2 3 4 5 6 7 8     position 6, last stable offset 9: 3 behind
//!                           ^     ^
//! asked at 12:00:01.0 for the ends, reached them at 12:00:01.2; now 12:00:01.5: as current as 12:00:01.0, so 500 ms
//! ```
//!
//! The ends are asked for at intervals, never by a lookup. Between two of them a view may be further behind than it says, in
//! records, but never in time: its age is counted from a moment at which it is known to have had everything. Where the log does not
//! respond, the records are those of the last response, and the age grows. An end that is not known yet is no lag.

use std::time::Duration;

/// What a followed view knows of its progress.
#[derive(Debug)]
pub(super) struct Tail {
    /// Which following of the view it is: what is read for an earlier one is dropped.
    pub(super) generation: u64,
    /// By partition: the next offset to read.
    positions: Vec<i64>,
    /// By partition: the last stable offset when it was asked for, and when that was. Empty = not asked yet.
    ends: Vec<i64>,
    asked: Duration,
    /// The latest moment of which everything is here.
    current: Duration,
}

/// How far a view is behind its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The partition that is furthest behind.
    pub partition: i32,
    /// Offsets between its position and its end.
    pub records: u64,
    /// For how long something may be missing.
    pub age: Duration,
}

/// How far behind a lookup may be; `None` = any distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LagLimits {
    /// Offsets.
    pub records: Option<u64>,
    /// Time.
    pub age: Option<Duration>,
}

impl Tail {
    /// One that has read up to these positions, to which the topic was read from the moment `began` on.
    pub(super) fn new(generation: u64, positions: Vec<i64>, began: Duration) -> Tail {
        Tail { generation, positions, ends: Vec::new(), asked: began, current: began }
    }

    /// The partition was read up to here.
    pub(super) fn reach(&mut self, partition: usize, position: i64) {
        if let Some(known) = self.positions.get_mut(partition) {
            *known = position;
        }
        self.compare();
    }

    /// The ends, asked for at this moment.
    pub(super) fn note_ends(&mut self, ends: Vec<i64>, asked: Duration) {
        (self.ends, self.asked) = (ends, asked);
        self.compare();
    }

    fn compare(&mut self) {
        if !self.ends.is_empty() && self.behind().all(|(_, records)| records == 0) {
            self.current = self.current.max(self.asked);
        }
    }

    fn behind(&self) -> impl Iterator<Item = (usize, u64)> {
        let pairs = self.ends.iter().zip(&self.positions).enumerate();
        pairs.map(|(partition, (end, position))| (partition, end.saturating_sub(*position).max(0) as u64))
    }

    /// How far it is behind.
    pub(super) fn lag(&self, now: Duration) -> Lag {
        let (partition, records) = self.behind().max_by_key(|(_, records)| *records).unwrap_or((0, 0));
        Lag { partition: partition as i32, records, age: now.saturating_sub(self.current) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_partition_that_is_furthest_behind_counts() {
        let mut tail = Tail::new(1, vec![10, 20], seconds(5));
        assert_eq!(tail.lag(seconds(7)), Lag { partition: 0, records: 0, age: seconds(2) }, "no end is known");
        tail.note_ends(vec![12, 25], seconds(8));
        assert_eq!(tail.lag(seconds(9)), Lag { partition: 1, records: 5, age: seconds(4) });
        tail.reach(1, 25);
        assert_eq!(tail.lag(seconds(9)), Lag { partition: 0, records: 2, age: seconds(4) });
        // It has what there was when the ends were asked for, whenever it got that.
        tail.reach(0, 13);
        assert_eq!(tail.lag(seconds(20)), Lag { partition: 1, records: 0, age: seconds(12) });
    }

    #[test]
    fn without_ends_the_age_grows() {
        let mut tail = Tail::new(1, vec![3], seconds(0));
        tail.note_ends(vec![3], seconds(1));
        // Later records do not make it more current: only a later end does.
        tail.reach(0, 9);
        assert_eq!(tail.lag(seconds(31)), Lag { partition: 0, records: 0, age: seconds(30) });
    }
}
