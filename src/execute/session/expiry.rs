//! Which sessions may have ended: buckets of time, each with the sessions that ended there when they were queued.
//!
//! A session's end moves on while it grows, and its place here does not: whoever takes it out looks, and queues it again.

use std::collections::BTreeMap;

/// Serial and slot of a session.
pub(super) type Queued = (u32, u32);

/// The queue.
#[derive(Debug)]
pub(super) struct Expiry {
    /// Milliseconds of a bucket.
    granule: i64,
    /// By first millisecond, in units of `granule`.
    buckets: BTreeMap<i64, Vec<Queued>>,
    /// The bucket that was pushed to last, which is not among the others.
    last: (i64, Vec<Queued>),
}

impl Expiry {
    /// With buckets of `granule` milliseconds: 1 = sessions leave in the very millisecond; more is cheaper.
    pub(super) fn new(granule: i64) -> Expiry {
        Expiry { granule: granule.max(1), buckets: BTreeMap::new(), last: (0, Vec::new()) }
    }

    /// Queues a session that ends at `end` now.
    #[inline]
    pub(super) fn push(&mut self, end: i64, session: Queued) {
        let bucket = end.div_euclid(self.granule);
        if bucket != self.last.0 {
            let sessions = self.buckets.remove(&bucket).unwrap_or_default();
            let (at, before) = std::mem::replace(&mut self.last, (bucket, sessions));
            if !before.is_empty() {
                self.buckets.insert(at, before);
            }
        }
        self.last.1.push(session);
    }

    /// The end of the last bucket that lies before `shut` as a whole.
    pub(super) fn floor(&self, shut: i64) -> i64 {
        shut.div_euclid(self.granule).saturating_mul(self.granule)
    }

    /// Does a bucket lie before `shut` as a whole?
    #[inline]
    pub(super) fn is_due(&self, shut: i64) -> bool {
        self.first().is_some_and(|bucket| self.is_before(bucket, shut))
    }

    /// The first bucket that lies before `shut` as a whole.
    pub(super) fn take(&mut self, shut: i64) -> Option<Vec<Queued>> {
        let first = self.first().filter(|bucket| self.is_before(*bucket, shut))?;
        match self.buckets.remove(&first) {
            Some(sessions) => Some(sessions),
            None => Some(std::mem::take(&mut self.last.1)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear();
        self.last.1.clear();
    }

    fn first(&self) -> Option<i64> {
        let last = (!self.last.1.is_empty()).then_some(self.last.0);
        let first = self.buckets.first_key_value().map(|b| *b.0);
        first.into_iter().chain(last).min()
    }

    fn is_before(&self, bucket: i64, shut: i64) -> bool {
        bucket.saturating_add(1).saturating_mul(self.granule) <= shut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_leave_oldest_first_and_only_as_a_whole() {
        let mut expiry = Expiry::new(10);
        for (n, end) in [25, 3, 9, 31, 27, 4, -7].into_iter().enumerate() {
            expiry.push(end, (n as u32, 0));
        }
        let mut taken = |shut| std::iter::from_fn(|| expiry.take(shut)).flatten().map(|s| s.0).collect::<Vec<_>>();
        assert_eq!(taken(9), [6]);
        assert_eq!(taken(29), [1, 2, 5]);
        assert_eq!(taken(30), [0, 4]);
        assert_eq!(taken(i64::MAX), [3]);
    }

    #[test]
    fn a_bucket_of_a_millisecond_is_due_right_after_it() {
        let mut expiry = Expiry::new(1);
        expiry.push(7, (1, 1));
        assert!(!expiry.is_due(7));
        assert!(expiry.is_due(8));
    }
}
