//! The threads that look at all queries once a second: one takes the counters, the other measures the lag.
//!
//! ```text
//! history  counters of every query -> rings                never waits for a broker: the past has no gaps
//! lag      committed offsets and ends of all inputs        may wait; rests 50 times as long as a round takes
//! ```
//!
//! Both end with their engine, which waits for them: the log must not outlive it.

use super::history::{FINE_STEP, History};
use crate::engine::query::lag;
use crate::engine::snapshot::Published;
use crate::error::Result;
use crate::log::Log;
use crate::threads::{self, Stop};
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The kinds of the threads.
const HISTORY: &str = "history";
const LAG: &str = "lag";
/// A round of measuring lags rests so many times as long as it took: it takes 2 % of a connection's time at most.
const LAG_REST: u32 = 50;
/// Longest rest: what `/metrics` is scraped at.
const LAG_REST_MAX: Duration = Duration::from_secs(15);
/// Older lags are not those of the present.
const LAG_AGE_MAX: Duration = Duration::from_secs(60);

/// Owns the threads.
#[derive(Debug)]
pub(in crate::engine) struct Sampler {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// Lags by query, and when they were measured.
#[derive(Debug, Default)]
struct Lags(Mutex<(Duration, Arc<BTreeMap<String, i64>>)>);

impl Sampler {
    /// Starts the threads of a service.
    pub(in crate::engine) fn new(
        state: Arc<Published>,
        history: Arc<History>,
        (log, clock): (Arc<dyn Log>, SharedClock),
        label: &str,
    ) -> Result<Sampler> {
        let (stop, lags) = (Arc::<Stop>::default(), Arc::<Lags>::default());
        let mut sampler = Sampler { stop: stop.clone(), threads: Vec::new() };
        let (own, queries, measured, time) = (stop.clone(), state.clone(), lags.clone(), clock.clone());
        let name = label.to_owned();
        sampler.threads.push(threads::spawn(LAG, label, move || {
            let mut rest = FINE_STEP;
            while !own.wait(rest) {
                let begun = time.monotonic();
                // A round that panics leaves the lags of the round before; it is logged.
                let _ = threads::guard(LAG, &name, || measure(&queries, &*log, &measured, begun));
                rest = (time.monotonic().saturating_sub(begun) * LAG_REST).clamp(FINE_STEP, LAG_REST_MAX);
            }
        })?);
        let name = label.to_owned();
        sampler.threads.push(threads::spawn(HISTORY, label, move || {
            let mut next = clock.monotonic() + FINE_STEP;
            while !stop.wait(next.saturating_sub(clock.monotonic())) {
                let now = clock.monotonic();
                if now < next {
                    continue;
                }
                let lags = lags.recent(now);
                let _ = threads::guard(HISTORY, &name, || {
                    let state = state.load();
                    let queries: Vec<_> = state.queries().map(|(id, query)| (id.clone(), query.clone())).collect();
                    history.sample(&queries, &lags, (now, clock.now_ms()));
                });
                // Rounds that were missed are not made up for: the next point covers their time.
                next = (next + FINE_STEP).max(now);
            }
        })?);
        Ok(sampler)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.request();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Lags {
    fn recent(&self, now: Duration) -> Arc<BTreeMap<String, i64>> {
        let lags = self.0.lock();
        if now.saturating_sub(lags.0) <= LAG_AGE_MAX { lags.1.clone() } else { Arc::default() }
    }
}

/// One round of measuring lags. Queries whose topics cannot be described are left out.
fn measure(state: &Published, log: &dyn Log, lags: &Lags, now: Duration) {
    let state = state.load();
    let measured = state.queries().filter_map(|(id, query)| {
        let partitions = lag::partitions(log, query).ok()?;
        Some((id.clone(), lag::lag(&partitions)?))
    });
    let measured = Arc::new(measured.collect());
    *lags.0.lock() = (now, measured);
}
