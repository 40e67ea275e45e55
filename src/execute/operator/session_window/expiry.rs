//! Which sessions may have ended.
//!
//! Where a closed session is written at once, [`Buckets`] know in which millisecond the next one may end. Where a closed
//! session is only not seen any more, that precision is not needed: a [`Sweep`] looks at all of them four times in the
//! time that a session stays open, one after the other.

use std::collections::BTreeMap;

/// Serial and slot of a session.
pub(super) type Queued = (u32, u32);

/// Sweeps in the time from a session's last row to its end.
const SWEEPS: i64 = 4;

/// How the sessions that have ended are found.
#[derive(Debug)]
pub(super) enum Expiry {
    Buckets(Buckets),
    Sweep(Sweep),
}

impl Expiry {
    /// Sessions are to be found when stream time is `open` milliseconds beyond their end: `exact` = at once.
    pub(super) fn new(open: i64, exact: bool) -> Expiry {
        if exact {
            return Expiry::Buckets(Buckets::default());
        }
        Expiry::Sweep(Sweep { granule: (open / SWEEPS).max(1), swept: i64::MIN, sessions: Vec::new() })
    }

    /// Queues a new session that ends at `end` now.
    #[inline]
    pub(super) fn push(&mut self, end: i64, session: Queued) {
        match self {
            Expiry::Buckets(buckets) => buckets.push(end, session),
            Expiry::Sweep(sweep) => sweep.sessions.push(session),
        }
    }

    /// May there be a session that ended before `shut`?
    #[inline]
    pub(super) fn is_due(&self, shut: i64) -> bool {
        match self {
            Expiry::Buckets(buckets) => buckets.first().is_some_and(|first| first < shut),
            Expiry::Sweep(sweep) => sweep.floor(shut) > sweep.swept,
        }
    }

    /// Forgets all sessions.
    pub(super) fn clear(&mut self) {
        match self {
            Expiry::Buckets(buckets) => *buckets = Buckets::default(),
            Expiry::Sweep(sweep) => {
                sweep.sessions.clear();
                sweep.swept = i64::MIN;
            }
        }
    }
}

/// All sessions, in no order.
#[derive(Debug)]
pub(super) struct Sweep {
    granule: i64,
    /// Sessions that ended before this are gone.
    swept: i64,
    pub(super) sessions: Vec<Queued>,
}

impl Sweep {
    /// Sessions that ended before this are to go when those before `shut` may: the same for any split of the input.
    fn floor(&self, shut: i64) -> i64 {
        shut.div_euclid(self.granule).saturating_mul(self.granule)
    }

    /// Begins a sweep, and says which sessions are to go.
    pub(super) fn begin(&mut self, shut: i64) -> i64 {
        self.swept = self.floor(shut);
        self.swept
    }
}

/// Milliseconds, each with the sessions that ended there when they were queued. A session's end moves on while it grows, and
/// its place here does not: the reader of the queue checks it, and queues it again.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    buckets: BTreeMap<i64, Vec<Queued>>,
    /// The bucket that was pushed to last, which is not among the others.
    last: (i64, Vec<Queued>),
}

impl Buckets {
    /// Queues a session that ends at `end` now.
    #[inline]
    pub(super) fn push(&mut self, end: i64, session: Queued) {
        if end != self.last.0 {
            let sessions = self.buckets.remove(&end).unwrap_or_default();
            let (at, before) = std::mem::replace(&mut self.last, (end, sessions));
            if !before.is_empty() {
                self.buckets.insert(at, before);
            }
        }
        self.last.1.push(session);
    }

    /// The sessions of the first bucket, if it lies before `shut`.
    pub(super) fn take(&mut self, shut: i64) -> Option<Vec<Queued>> {
        let first = self.first().filter(|first| *first < shut)?;
        match self.buckets.remove(&first) {
            Some(sessions) => Some(sessions),
            None => Some(std::mem::take(&mut self.last.1)),
        }
    }

    fn first(&self) -> Option<i64> {
        let last = (!self.last.1.is_empty()).then_some(self.last.0);
        let first = self.buckets.first_key_value().map(|b| *b.0);
        first.into_iter().chain(last).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_leave_oldest_first_and_right_after_their_millisecond() {
        let mut buckets = Buckets::default();
        for (n, end) in [25, 3, 9, 31, 3, -7].into_iter().enumerate() {
            buckets.push(end, (n as u32, 0));
        }
        let mut taken = |shut| std::iter::from_fn(|| buckets.take(shut)).flatten().map(|s| s.0).collect::<Vec<_>>();
        assert_eq!(taken(3), [5]);
        assert_eq!(taken(4), [1, 4]);
        assert_eq!(taken(31), [2, 0]);
        assert_eq!(taken(i64::MAX), [3]);
    }

    #[test]
    fn a_sweep_is_due_once_a_part_of_the_time() {
        let mut expiry = Expiry::new(40, false);
        expiry.push(7, (1, 1));
        assert!(expiry.is_due(12));
        if let Expiry::Sweep(sweep) = &mut expiry {
            assert_eq!(sweep.begin(12), 10);
        }
        assert!(!expiry.is_due(19));
        assert!(expiry.is_due(20));
    }
}
