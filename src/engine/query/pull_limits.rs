//! How many queries without EMIT a process answers: ksqlDB's three limits, each of which only its start sets.
//!
//! ```text
//! ksql.query.pull.max.qps                          begun in a second, after a quiet time twice as many for one
//! ksql.query.pull.max.concurrent.requests          being answered at once
//! ksql.query.pull.max.hourly.bandwidth.megabytes   bytes answered within the last hour, seen when the next one begins
//! ```
//!
//! What goes past a limit is refused at once, with ksqlDB's words and code 42900. A limit that is not set costs one look at
//! whether it is; one that is set costs an atomic operation or two, and no lock.
//!
//! The hour counts by whole minutes: bytes leave it when their minute ended an hour ago.

use crate::config::{Config, PULL_CONCURRENT as CONCURRENT, PULL_MEGABYTES as MEGABYTES, PULL_QPS as QPS};
use crate::error::{Error, Kind, Result, TOO_MANY_REQUESTS};
use crate::types::clock::SharedClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a quiet time saves up, as in ksqlDB's limiter.
const SAVED: Duration = Duration::from_secs(1);
const SECOND_NS: u64 = 1_000_000_000;
/// Minutes that an hour touches.
const MINUTES: u64 = 61;
/// Low bits of a bucket: its bytes; the rest is its minute.
const BYTES_BITS: u32 = 44;
const BYTES_MAX: u64 = (1 << BYTES_BITS) - 1;

/// The limits of one process, and how near it is to them.
#[derive(Debug)]
pub(in crate::engine) struct PullLimits {
    clock: SharedClock,
    rate: Option<Rate>,
    places: Option<Places>,
    hour: Option<Hour>,
    /// Refused so far, in the order of [`LIMITS`].
    refused: [AtomicU64; 3],
}

/// Names of the limits, for whoever counts what they refused.
const LIMITS: [&str; 3] = ["qps", "concurrent", "bandwidth"];

/// Queries in a second: the moment up to which all is spent, in nanoseconds of the clock.
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

/// Bytes by minute, the minutes that are over an hour old among them.
#[derive(Debug)]
struct Hour {
    bytes_max: u64,
    minutes: [AtomicU64; MINUTES as usize],
}

/// One query that was let in. Dropping it makes room for the next.
#[derive(Debug)]
pub(in crate::engine) struct Pass(Option<Arc<PullLimits>>);

impl PullLimits {
    /// Those of the settings; what is not set, or is ksqlDB's default, limits nothing.
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
        }
    }

    /// Lets a query in, or says which limit it would pass.
    pub(in crate::engine) fn enter(self: &Arc<Self>) -> Result<Pass> {
        if self.rate.is_none() && self.places.is_none() && self.hour.is_none() {
            return Ok(Pass(None));
        }
        let now = self.clock.monotonic();
        if let Some(rate) = self.rate.as_ref().filter(|rate| !rate.take(now)) {
            let told = format!("Host is at rate limit for pull queries. Currently set to {}.0 qps.", rate.queries);
            return Err(self.refuse(0, told, QPS));
        }
        if let Some(places) = self.places.as_ref().filter(|places| !places.take()) {
            let told = format!(
                "Host is at concurrency limit for pull queries. Currently set to {} maximum concurrent operations.",
                places.most
            );
            return Err(self.refuse(1, told, CONCURRENT));
        }
        // From here on the place is given back whatever happens.
        let pass = Pass(Some(self.clone()));
        match self.hour.as_ref().is_some_and(|hour| hour.is_full(now)) {
            true => {
                let told = "Host is at bandwidth rate limit for pull queries.".to_owned();
                Err(self.refuse(2, told, MEGABYTES))
            }
            false => Ok(pass),
        }
    }

    fn refuse(&self, limit: usize, told: String, setting: &str) -> Error {
        self.refused[limit].fetch_add(1, Ordering::Relaxed);
        Error::new(Kind::Busy, told)
            .with_code(TOO_MANY_REQUESTS)
            .with_hint(format!("ask again later; the process was started with --set {setting}"))
    }

    /// Queries refused so far, by the name of the limit.
    pub(in crate::engine) fn refused(&self) -> [(&'static str, u64); 3] {
        std::array::from_fn(|at| (LIMITS[at], self.refused[at].load(Ordering::Relaxed)))
    }
}

impl Pass {
    /// So many bytes were answered.
    pub(in crate::engine) fn sent(&self, bytes: usize) {
        if let Some(limits) = &self.0
            && let Some(hour) = &limits.hour
        {
            hour.add(limits.clock.monotonic(), bytes as u64);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(places) = self.0.as_ref().and_then(|limits| limits.places.as_ref()) {
            places.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Rate {
    /// A query may begin while not all is spent, and spends its share, also of what is to come: so that one begins at once
    /// however small the rate is.
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
        // It always has a next value.
        let _ = self.minutes[(minute % MINUTES) as usize].fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// More than the limit, as in ksqlDB: an answer may take it past the limit, the next query is refused.
    fn is_full(&self, now: Duration) -> bool {
        let now = minute(now);
        let young = |bucket: u64| now.saturating_sub(bucket >> BYTES_BITS) < MINUTES;
        let buckets = self.minutes.iter().map(|bucket| bucket.load(Ordering::Acquire));
        buckets.filter(|bucket| young(*bucket)).map(|bucket| bucket & BYTES_MAX).sum::<u64>() > self.bytes_max
    }
}

/// Minutes that the clock has run, which 20 bits hold for two years; after that they begin anew.
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

    fn told(limits: &Arc<PullLimits>) -> String {
        let error = limits.enter().unwrap_err();
        assert_eq!((error.code(), error.kind()), (42900, Kind::Busy));
        error.message().to_owned()
    }

    #[test]
    fn a_quiet_second_saves_up_a_second() {
        let (clock, limits) = limits(QPS, "4");
        // Nothing is saved up yet: one begins on what is to come.
        limits.enter().unwrap();
        assert_eq!(told(&limits), "Host is at rate limit for pull queries. Currently set to 4.0 qps.");
        clock.advance(Duration::from_millis(249));
        told(&limits);
        clock.advance(Duration::from_millis(1));
        limits.enter().unwrap();
        told(&limits);
        // However long it was quiet: four are saved, and the fifth is the one on what is to come.
        clock.advance(Duration::from_secs(100));
        (0..5).for_each(|_| drop(limits.enter().unwrap()));
        told(&limits);
        assert_eq!(limits.refused(), [("qps", 4), ("concurrent", 0), ("bandwidth", 0)]);
    }

    #[test]
    fn a_place_is_free_when_its_query_has_ended() {
        let (_, limits) = limits(CONCURRENT, "2");
        let (one, _two) = (limits.enter().unwrap(), limits.enter().unwrap());
        assert_eq!(
            told(&limits),
            "Host is at concurrency limit for pull queries. Currently set to 2 maximum concurrent operations."
        );
        drop(one);
        let _three = limits.enter().unwrap();
        told(&limits);
    }

    #[test]
    fn bytes_leave_the_hour_with_their_minute() {
        let (clock, limits) = limits(MEGABYTES, "1");
        let minute = Duration::from_secs(60);
        let answer = |bytes: usize| limits.enter().unwrap().sent(bytes);
        answer(1 << 19);
        clock.advance(minute * 30);
        answer(1 << 19);
        // As much as the limit is not more than it.
        answer(1);
        assert_eq!(told(&limits), "Host is at bandwidth rate limit for pull queries.");
        clock.advance(minute * 30);
        told(&limits);
        clock.advance(minute);
        answer(1 << 19);
        told(&limits);
        clock.advance(minute * 100);
        answer(3 << 20);
        told(&limits);
    }

    #[test]
    fn places_are_given_back_by_those_that_bandwidth_refuses() {
        let mut config = Config::new(LogConfig::Temporary);
        config.set(CONCURRENT, "1").unwrap();
        config.set(MEGABYTES, "0").unwrap();
        let limits = Arc::new(PullLimits::new(&config, ManualClock::at(0)));
        limits.enter().unwrap().sent(1);
        (0..3).for_each(|_| assert!(told(&limits).contains("bandwidth")));
    }

    #[test]
    fn ksqldbs_default_limits_nothing() {
        for name in [QPS, CONCURRENT, MEGABYTES] {
            let (_, limits) = limits(name, "2147483647");
            assert!(limits.enter().unwrap().0.is_none(), "{name}");
        }
    }
}
