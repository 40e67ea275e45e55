//! The record by which a process says that it lives, and what the queries do that it runs.
//!
//! ```text
//! {"format":1,"slot":"a","incarnation":81985529216,"address":"http://a:8088","sent_ms":1796054400000,
//!  "queries":[{"id":"CTAS_T_1","state":"RUNNING","since_ms":1796054399000,"counts":{"consumed":12800,...}}],
//!  "standbys":[{"id":"CTAS_U_3","stores":[{"store":"Aggregate-Aggregate-Materialize","offsets":[[812,812]]}]}]}
//! ```
//!
//! Every fourth pulse has the counters of the queries, so that each process can show what all of them do.
//!
//! Only the arrival of a pulse counts for ownership (C8); what it says is shown to users, and other processes find its address
//! there. A pulse that cannot be read is ignored.

use crate::engine::cluster::names::{Incarnation, Slot};
use crate::execute::operator::OperatorSize;
use crate::execute::task::{Progress, StoreOffsets};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// Version of the format.
pub(super) const PULSE_FORMAT: u32 = 1;

/// A pulse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// [`PULSE_FORMAT`] of the build that wrote it.
    pub format: u32,
    /// Which process.
    pub slot: Slot,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Where other processes reach it; empty = it has no listener.
    #[serde(default)]
    pub address: String,
    /// By its own clock, milliseconds since 1970; shown, never compared.
    pub sent_ms: i64,
    /// The queries that it runs.
    #[serde(default)]
    pub queries: Vec<QueryPulse>,
    /// The queries of other processes whose state it keeps up to date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standbys: Vec<StandbyPulse>,
}

/// A state that is kept up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyPulse {
    /// Of which query.
    pub id: String,
    /// How far it is in the changelog of each store.
    pub stores: Vec<StoreOffsets>,
}

impl StandbyPulse {
    /// Records that were not read yet.
    pub fn lag(&self) -> u64 {
        let offsets = self.stores.iter().flat_map(|store| &store.offsets);
        offsets.map(|(next, end)| (end - next).max(0) as u64).sum()
    }
}

/// What a query does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryPulse {
    /// Its id.
    pub id: String,
    /// RUNNING, PAUSED, WAITING, ERROR.
    pub state: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Why it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<QueryCounts>,
}

/// What a query has done since its process started it. Numbers that another version does not write are zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryCounts {
    /// Records read.
    pub consumed: u64,
    /// Rows written.
    pub produced: u64,
    /// Records skipped.
    pub bad: u64,
    /// Rows dropped as late.
    pub late: u64,
    /// Commits.
    pub commits: u64,
    /// Bytes of keys and values read.
    pub bytes_in: u64,
    /// Bytes of keys and values written.
    pub bytes_out: u64,
    /// Time in which it worked.
    pub busy_nanos: u64,
    /// Starts after failures.
    pub restarts: u64,
    /// Keys of its state.
    pub state_keys: u64,
    /// Memory of its state.
    pub state_bytes: u64,
    /// The latest event time that it saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_time: Option<i64>,
}

impl QueryCounts {
    /// The present values of a query of this process.
    pub(in crate::engine) fn of(progress: &Progress, restarts: u64) -> QueryCounts {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let OperatorSize { keys, bytes } = progress.size();
        QueryCounts {
            consumed: now(&progress.consumed),
            produced: now(&progress.produced),
            bad: now(&progress.bad),
            late: now(&progress.late),
            commits: now(&progress.commits),
            bytes_in: now(&progress.bytes_in),
            bytes_out: now(&progress.bytes_out),
            busy_nanos: now(&progress.busy_nanos),
            restarts,
            state_keys: keys,
            state_bytes: bytes,
            stream_time: progress.stream_time(),
        }
    }
}

/// The counters of a query that another process runs.
#[derive(Clone, Debug, PartialEq)]
pub struct CountsElsewhere {
    /// Which process.
    pub(super) slot: Slot,
    /// As they were in its last pulse that had them.
    pub latest: QueryCounts,
    /// When that was sent, by the clock of its process.
    pub(super) sent_ms: i64,
    /// The ones before, and how long before.
    earlier: Option<(QueryCounts, i64)>,
}

impl CountsElsewhere {
    /// Adds the counters of a later pulse of this query to those that are known.
    pub(super) fn follow(before: Option<CountsElsewhere>, slot: &Slot, sent_ms: i64, latest: QueryCounts) -> Self {
        let before = before.filter(|before| before.slot == *slot && before.sent_ms < sent_ms);
        // A new start counts from zero again.
        let before = before.filter(|before| before.latest.consumed <= latest.consumed);
        let earlier = before.map(|before| (before.latest, sent_ms - before.sent_ms));
        CountsElsewhere { slot: slot.clone(), latest, sent_ms, earlier }
    }

    /// How much a counter grows in a second, by the last two pulses.
    pub fn per_second(&self, counter: impl Fn(&QueryCounts) -> u64) -> f64 {
        let Some((earlier, ms)) = &self.earlier else { return 0.0 };
        counter(&self.latest).saturating_sub(counter(earlier)) as f64 * 1e3 / *ms as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_two_pulses_of_one_start() {
        let (a, b) = (Slot::new("a"), Slot::new("b"));
        let counts = |consumed| QueryCounts { consumed, ..QueryCounts::default() };
        let rate = |counts: &CountsElsewhere| counts.per_second(|counts| counts.consumed);
        let first = CountsElsewhere::follow(None, &a, 1_000, counts(100));
        assert_eq!(rate(&first), 0.0);
        let second = CountsElsewhere::follow(Some(first.clone()), &a, 3_000, counts(300));
        assert_eq!(rate(&second), 100.0);
        let moved = CountsElsewhere::follow(Some(second.clone()), &b, 5_000, counts(7));
        assert_eq!((rate(&moved), moved.latest.consumed), (0.0, 7));
        let restarted = CountsElsewhere::follow(Some(second.clone()), &a, 5_000, counts(7));
        assert_eq!(rate(&restarted), 0.0);
        let late = CountsElsewhere::follow(Some(second), &a, 3_000, counts(300));
        assert_eq!(rate(&late), 0.0);
    }
}
