//! How long something took, counted in fixed buckets: recorded by one thread without a lock, read by any other.
//!
//! ```text
//! record(30 ms)  ->  one count in (25 ms, 50 ms], 30 ms in the sum
//! quantile(0.99) ->  inside of the bucket that holds the 99th percentile, by its share of the bucket
//! ```
//!
//! The bounds are the same for everything that is measured, so that histograms can be added and compared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds, inclusive; one more bucket is above them. They span a lookup in memory (50 µs)
/// and a commit that waits for a broker (30 s).
pub const BOUNDS_MICROS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// Counts by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    counts: [u64; BUCKETS],
    sum_micros: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The present counts.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
        }
    }
}

impl HistogramSnapshot {
    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all durations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// Sum of all durations.
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros
    }

    /// Upper bound in seconds of each bucket but the last, with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        BOUNDS_MICROS.iter().zip(self.counts).map(move |(bound, count)| {
            sum += count;
            (*bound as f64 / 1e6, sum)
        })
    }

    /// The duration in milliseconds below which a share of all durations lies; `None` = nothing was recorded. Above the last
    /// bound it is that bound.
    pub fn quantile_millis(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0, 0);
        for (bound, count) in BOUNDS_MICROS.iter().zip(self.counts) {
            let within = below + count;
            if count > 0 && within as f64 >= wanted {
                let part = (wanted - below as f64) / count as f64;
                return Some((lower as f64 + part * (bound - lower) as f64) / 1e3);
            }
            (below, lower) = (within, *bound);
        }
        Some(lower as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_the_bucket_that_includes_them() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile_millis(0.5), None);
        for millis in [1, 1, 1, 40] {
            histogram.record(Duration::from_millis(millis));
        }
        let taken = histogram.snapshot();
        assert_eq!((taken.count(), taken.sum_micros()), (4, 43_000));
        let cumulative: Vec<(f64, u64)> = taken.cumulative().collect();
        assert!(cumulative.contains(&(0.001, 3)), "a bound includes itself: {cumulative:?}");
        assert!(cumulative.contains(&(0.025, 3)) && cumulative.contains(&(0.05, 4)), "{cumulative:?}");
        let median = taken.quantile_millis(0.5).unwrap();
        assert!((0.5..=1.0).contains(&median), "{median}");
        let high = taken.quantile_millis(0.99).unwrap();
        assert!((25.0..=50.0).contains(&high), "{high}");
    }

    #[test]
    fn what_is_longer_than_all_bounds_is_counted_too() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(100));
        let taken = histogram.snapshot();
        assert_eq!(taken.count(), 1);
        assert_eq!(taken.cumulative().last(), Some((30.0, 0)));
        assert_eq!(taken.quantile_millis(0.5), Some(30_000.0));
    }
}
