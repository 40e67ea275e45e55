//! Limits on the queries without EMIT of a process: ksqlDB's three, which are set when the process starts.
//!
//! ```text
//! ksql.query.pull.max.qps                          started in a second; after an idle period twice as many for one second
//! ksql.query.pull.max.concurrent.requests          running at once
//! ksql.query.pull.max.hourly.bandwidth.megabytes   bytes returned within the last hour, checked when a query starts
//! ```
//!
//! A query that exceeds a limit is refused immediately, with ksqlDB's message and code 42900. A limit that is not set costs one
//! branch; one that is set costs an atomic operation or two, and no lock.
//!
//! The hour is counted in whole minutes: bytes expire an hour after the end of their minute.

use crate::config::{Config, PULL_CONCURRENT as CONCURRENT, PULL_MEGABYTES as MEGABYTES, PULL_QPS as QPS};
use crate::error::{Error, Kind, Result, TOO_MANY_REQUESTS};
use crate::telemetry::histogram::{Histogram, HistogramSnapshot};
use crate::types::clock::SharedClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The burst that an idle period allows, as in ksqlDB's `RateLimiter` (Guava's `SmoothBursty`).
const SAVED: Duration = Duration::from_secs(1);
const SECOND_NS: u64 = 1_000_000_000;
/// Minutes that an hour overlaps.
const MINUTES: u64 = 61;
/// Low bits of a bucket hold its bytes, the others its minute.
const BYTES_BITS: u32 = 44;
const BYTES_MAX: u64 = (1 << BYTES_BITS) - 1;

/// The limits of one process and their current usage.
#[derive(Debug)]
pub(in crate::engine) struct PullLimits {
    clock: SharedClock,
    rate: Option<Rate>,
    places: Option<Places>,
    hour: Option<Hour>,
    /// Refused so far, in the order of [`LIMITS`].
    refused: [AtomicU64; 3],
    /// How long admitted queries took.
    times: Histogram,
}

/// Names of the limits, for metrics.
const LIMITS: [&str; 3] = ["qps", "concurrent", "bandwidth"];

/// Queries per second: the time up to which permits are spent, in nanoseconds of the clock.
#[derive(Debug)]
struct Rate {
    queries: u32,
    spent: AtomicU64,
}

/// Queries at once.
#[derive(Debug)]
struct Places {
    most: u32,
    taken: AtomicU64,
}

/// Bytes by minute; buckets older than an hour are reused.
#[derive(Debug)]
struct Hour {
    bytes_max: u64,
    minutes: [AtomicU64; MINUTES as usize],
}

/// The permit of one running query. Dropping it releases its place, and counts how long the query took.
#[derive(Debug)]
pub(in crate::engine) struct PullPermit {
    limits: Arc<PullLimits>,
    since: Duration,
    is_admitted: bool,
}

impl PullLimits {
    /// The configured limits. One that is not set, or has ksqlDB's default value, limits nothing.
    pub(in crate::engine) fn new(config: &Config, clock: SharedClock) -> PullLimits {
        let limit = |name| config.pull_limit(name);
        let now = clock.monotonic().as_nanos() as u64;
        PullLimits {
            rate: limit(QPS).map(|queries| Rate { queries, spent: AtomicU64::new(now) }),
            places: limit(CONCURRENT).map(|most| Places { most, taken: AtomicU64::new(0) }),
            hour: limit(MEGABYTES).map(|megabytes| Hour {
                bytes_max: u64::from(megabytes) << 20,
                minutes: std::array::from_fn(|_| AtomicU64::new(0)),
            }),
            clock,
            refused: Default::default(),
            times: Histogram::default(),
        }
    }

    /// Admits a query; the error names the limit that it would exceed.
    pub(in crate::engine) fn enter(self: &Arc<Self>) -> Result<PullPermit> {
        let now = self.clock.monotonic();
        if self.rate.is_none() && self.places.is_none() && self.hour.is_none() {
            return Ok(PullPermit { limits: self.clone(), since: now, is_admitted: true });
        }
        if let Some(rate) = self.rate.as_ref().filter(|rate| !rate.take(now)) {
            let message = format!("Host is at rate limit for pull queries. Currently set to {}.0 qps.", rate.queries);
            return Err(self.refuse(0, message, QPS));
        }
        if let Some(places) = self.places.as_ref().filter(|places| !places.take()) {
            let message = format!(
                "Host is at concurrency limit for pull queries. Currently set to {} maximum concurrent operations.",
                places.most
            );
            return Err(self.refuse(1, message, CONCURRENT));
        }
        // From here on dropping the permit releases the place.
        let mut pass = PullPermit { limits: self.clone(), since: now, is_admitted: false };
        match self.hour.as_ref().is_some_and(|hour| hour.is_full(now)) {
            true => {
                let message = "Host is at bandwidth rate limit for pull queries.".to_owned();
                Err(self.refuse(2, message, MEGABYTES))
            }
            false => {
                pass.is_admitted = true;
                Ok(pass)
            }
        }
    }

    fn refuse(&self, limit: usize, message: String, setting: &str) -> Error {
        self.refused[limit].fetch_add(1, Ordering::Relaxed);
        Error::new(Kind::Busy, message)
            .with_code(TOO_MANY_REQUESTS)
            .with_hint(format!("try again later; the process was started with --set {setting}"))
    }

    /// How long admitted queries took, from their admission to their last row.
    pub(in crate::engine) fn times(&self) -> HistogramSnapshot {
        self.times.snapshot()
    }

    /// Queries refused so far, by the name of the limit.
    pub(in crate::engine) fn refused(&self) -> [(&'static str, u64); 3] {
        std::array::from_fn(|at| (LIMITS[at], self.refused[at].load(Ordering::Relaxed)))
    }
}

impl PullPermit {
    /// Records bytes that were returned.
    pub(in crate::engine) fn sent(&self, bytes: usize) {
        if let Some(hour) = &self.limits.hour {
            hour.add(self.limits.clock.monotonic(), bytes as u64);
        }
    }
}

impl Drop for PullPermit {
    fn drop(&mut self) {
        if let Some(places) = &self.limits.places {
            places.taken.fetch_sub(1, Ordering::AcqRel);
        }
        if self.is_admitted {
            self.limits.times.record(self.limits.clock.monotonic().saturating_sub(self.since));
        }
    }
}

impl Rate {
    /// A query starts while permits are left, and may borrow from the future: one starts immediately however low the rate is.
    fn take(&self, now: Duration) -> bool {
        let now = now.as_nanos() as u64;
        let share = SECOND_NS / u64::from(self.queries.max(1));
        let saved = now.saturating_sub(SAVED.as_nanos() as u64);
        let spend = |spent: u64| (spent <= now).then(|| spent.max(saved) + share);
        self.spent.fetch_update(Ordering::AcqRel, Ordering::Acquire, spend).is_ok()
    }
}

impl Places {
    fn take(&self) -> bool {
        let one_more = |taken: u64| (taken < u64::from(self.most)).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

impl Hour {
    fn add(&self, now: Duration, bytes: u64) {
        let minute = minute(now);
        let more = |bucket: u64| {
            let known = if bucket >> BYTES_BITS == minute { bucket & BYTES_MAX } else { 0 };
            Some(minute << BYTES_BITS | known.saturating_add(bytes).min(BYTES_MAX))
        };
        // The update function never returns `None`.
        let _ = self.minutes[(minute % MINUTES) as usize].fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// Strictly more than the limit, as in ksqlDB: one result may exceed it, and the next query is refused.
    fn is_full(&self, now: Duration) -> bool {
        let now = minute(now);
        let young = |bucket: u64| now.saturating_sub(bucket >> BYTES_BITS) < MINUTES;
        let buckets = self.minutes.iter().map(|bucket| bucket.load(Ordering::Acquire));
        buckets.filter(|bucket| young(*bucket)).map(|bucket| bucket & BYTES_MAX).sum::<u64>() > self.bytes_max
    }
}

/// Minutes since the clock started. 20 bits hold two years, then the count wraps around.
fn minute(now: Duration) -> u64 {
    (now.as_secs() / 60) & (u64::MAX >> BYTES_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;
    use crate::types::clock::ManualClock;

    fn limits(name: &str, value: &str) -> (Arc<ManualClock>, Arc<PullLimits>) {
        let mut config = Config::new(LogConfig::Temporary);
        config.set(name, value).unwrap();
        let clock = ManualClock::at(10_000_000);
        (clock.clone(), Arc::new(PullLimits::new(&config, clock)))
    }

    fn refusal(limits: &Arc<PullLimits>) -> String {
        let error = limits.enter().unwrap_err();
        assert_eq!((error.code(), error.kind()), (42900, Kind::Busy));
        error.message().to_owned()
    }

    #[test]
    fn a_quiet_second_saves_up_a_second() {
        let (clock, limits) = limits(QPS, "4");
        // No permit is saved yet: one query borrows from the future.
        limits.enter().unwrap();
        assert_eq!(refusal(&limits), "Host is at rate limit for pull queries. Currently set to 4.0 qps.");
        clock.advance(Duration::from_millis(249));
        refusal(&limits);
        clock.advance(Duration::from_millis(1));
        limits.enter().unwrap();
        refusal(&limits);
        // However long the idle period: four permits are saved, and the fifth query borrows.
        clock.advance(Duration::from_secs(100));
        (0..5).for_each(|_| drop(limits.enter().unwrap()));
        refusal(&limits);
        assert_eq!(limits.refused(), [("qps", 4), ("concurrent", 0), ("bandwidth", 0)]);
    }

    #[test]
    fn a_place_is_free_when_its_query_has_ended() {
        let (_, limits) = limits(CONCURRENT, "2");
        let (one, _two) = (limits.enter().unwrap(), limits.enter().unwrap());
        assert_eq!(
            refusal(&limits),
            "Host is at concurrency limit for pull queries. Currently set to 2 maximum concurrent operations."
        );
        drop(one);
        let _three = limits.enter().unwrap();
        refusal(&limits);
    }

    #[test]
    fn bytes_leave_the_hour_with_their_minute() {
        let (clock, limits) = limits(MEGABYTES, "1");
        let minute = Duration::from_secs(60);
        let send = |bytes: usize| limits.enter().unwrap().sent(bytes);
        send(1 << 19);
        clock.advance(minute * 30);
        send(1 << 19);
        // Reaching the limit does not exceed it.
        send(1);
        assert_eq!(refusal(&limits), "Host is at bandwidth rate limit for pull queries.");
        clock.advance(minute * 30);
        refusal(&limits);
        clock.advance(minute);
        send(1 << 19);
        refusal(&limits);
        clock.advance(minute * 100);
        send(3 << 20);
        refusal(&limits);
    }

    #[test]
    fn places_are_given_back_by_those_that_bandwidth_refuses() {
        let mut config = Config::new(LogConfig::Temporary);
        config.set(CONCURRENT, "1").unwrap();
        config.set(MEGABYTES, "0").unwrap();
        let limits = Arc::new(PullLimits::new(&config, ManualClock::at(0)));
        limits.enter().unwrap().sent(1);
        (0..3).for_each(|_| assert!(refusal(&limits).contains("bandwidth")));
    }

    #[test]
    fn ksqldbs_default_limits_nothing() {
        for name in [QPS, CONCURRENT, MEGABYTES] {
            let (_, limits) = limits(name, "2147483647");
            let limits = limits.enter().unwrap().limits.clone();
            assert!(limits.rate.is_none() && limits.places.is_none() && limits.hour.is_none(), "{name}");
        }
    }
}
