//! The recent past of each query, without a time series database beside the server: rings of fixed size.
//!
//! ```text
//! once a second     counters - counters a second ago --> fine    1 s  x 900    (15 min)
//! every 15 points   their sums, the last lag and state --> coarse  15 s x 1440   (6 h)
//! ```
//!
//! A ring takes [`RING_BYTES_MAX`] at most; only the first [`RINGS_MAX`] queries have one, so that many queries cost no more
//! than that. A round that comes late (a machine that slept) spreads what was counted over the seconds that it covers.

use super::query::Rates;
use crate::engine::Engine;
use crate::engine::cluster::node::pulse::QueryCounts;
use crate::engine::query::persistent::Query;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::execute::task::Progress;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time between two points of the fine ring.
pub const FINE_STEP: Duration = Duration::from_secs(1);
/// Points of the fine ring: 15 minutes.
pub const FINE_POINTS: usize = 900;
/// Points of the fine ring that make one of the coarse ring.
pub const COARSE_FACTOR: usize = 15;
/// Points of the coarse ring: 6 hours.
pub const COARSE_POINTS: usize = 1_440;
/// Memory of a query's rings.
pub const RING_BYTES_MAX: usize = (FINE_POINTS + COARSE_POINTS) * size_of::<Point>();
/// Queries whose past is kept, in order of creation: 200 of them take 26 MB.
pub const RINGS_MAX: usize = 200;
const _: () =
    assert!(RING_BYTES_MAX * RINGS_MAX < 30 * 1024 * 1024, "the rings of all queries take more than is said above");
/// Points over which present rates are averaged.
const RATE_POINTS: usize = 10;
/// No lag is known.
const LAG_UNKNOWN: i64 = -1;

/// What happened within one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Point {
    rows_in: u32,
    rows_out: u32,
    kib_in: u32,
    kib_out: u32,
    bad: u32,
    late: u32,
    commits: u32,
    commit_micros: u32,
    busy_micros: u32,
    /// At the end of the step.
    lag: i64,
    state_bytes: u64,
}

/// Counters of a query, all of them since its start.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    rows_in: u64,
    rows_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    bad: u64,
    late: u64,
    commits: u64,
    commit_micros: u64,
    busy_micros: u64,
    state_bytes: u64,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Records read per second.
    In,
    /// Rows written per second.
    Out,
    /// Bytes read per second.
    InBytes,
    /// Bytes written per second.
    OutBytes,
    /// Records that are not committed yet, at the end of the step.
    Lag,
    /// Rows dropped as late per second.
    Late,
    /// Records skipped per second.
    Bad,
    /// Commits per second.
    Commits,
    /// Mean duration of the commits of the step; unknown without a commit.
    CommitMillis,
    /// Share of the time in which the query worked.
    BusyShare,
    /// Memory of the state, at the end of the step.
    StateBytes,
}

impl Series {
    /// All of them.
    pub const ALL: [Series; 11] = [
        Series::In,
        Series::Out,
        Series::InBytes,
        Series::OutBytes,
        Series::Lag,
        Series::Late,
        Series::Bad,
        Series::Commits,
        Series::CommitMillis,
        Series::BusyShare,
        Series::StateBytes,
    ];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Series::In => "in",
            Series::Out => "out",
            Series::InBytes => "inBytes",
            Series::OutBytes => "outBytes",
            Series::Lag => "lag",
            Series::Late => "late",
            Series::Bad => "bad",
            Series::Commits => "commits",
            Series::CommitMillis => "commitMillis",
            Series::BusyShare => "busyShare",
            Series::StateBytes => "stateBytes",
        }
    }

    /// The series of this name.
    pub fn of(name: &str) -> Result<Series> {
        Series::ALL.into_iter().find(|series| series.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Series::ALL.iter().map(|series| series.name()).collect();
            Error::statement(format!("there is no series {name}")).with_hint(format!("ask for {}", names.join(", ")))
        })
    }

    fn value(self, point: &Point, seconds: f64) -> Option<f64> {
        let rate = |count: u32| Some(f64::from(count) / seconds);
        match self {
            Series::In => rate(point.rows_in),
            Series::Out => rate(point.rows_out),
            Series::InBytes => rate(point.kib_in).map(|kib| kib * 1024.0),
            Series::OutBytes => rate(point.kib_out).map(|kib| kib * 1024.0),
            Series::Lag => (point.lag != LAG_UNKNOWN).then_some(point.lag as f64),
            Series::Late => rate(point.late),
            Series::Bad => rate(point.bad),
            Series::Commits => rate(point.commits),
            Series::CommitMillis => {
                (point.commits > 0).then(|| f64::from(point.commit_micros) / f64::from(point.commits) / 1e3)
            }
            Series::BusyShare => Some((f64::from(point.busy_micros) / 1e6 / seconds).min(1.0)),
            Series::StateBytes => Some(point.state_bytes as f64),
        }
    }

    /// Whether the values of several queries are averaged; else they are added.
    fn is_mean(self) -> bool {
        matches!(self, Series::CommitMillis | Series::BusyShare)
    }
}

/// Time over which rates are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateSpan {
    /// The last second.
    Second,
    /// The last 10 seconds.
    TenSeconds,
    /// The last minute.
    Minute,
}

impl RateSpan {
    fn points(self) -> usize {
        match self {
            RateSpan::Second => 1,
            RateSpan::TenSeconds => RATE_POINTS,
            RateSpan::Minute => 60,
        }
    }
}

/// The past of one query.
#[derive(Debug, Default)]
struct Ring {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
    /// Points of `fine` that are not in `coarse` yet.
    unfolded: usize,
    last: Totals,
    /// Busy time of each stage, once a second.
    stages: VecDeque<(Duration, Vec<u64>)>,
}

/// The past of all queries.
#[derive(Debug, Default)]
pub(in crate::engine) struct History {
    rings: Mutex<Rings>,
}

#[derive(Debug, Default)]
struct Rings {
    by_query: BTreeMap<String, Ring>,
    /// When the last round was: by the monotonic clock, and in milliseconds since 1970.
    last: Option<(Duration, i64)>,
}

/// Series over time; `None` = unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Milliseconds between two values.
    pub step_millis: u64,
    /// When the first step begins, milliseconds since 1970.
    pub start_ms: i64,
    /// The values, oldest first.
    pub series: BTreeMap<Series, Vec<Option<f64>>>,
}

impl Totals {
    fn of(progress: &Progress) -> Totals {
        let counts = QueryCounts::of(progress, 0);
        Totals {
            rows_in: counts.consumed,
            rows_out: counts.produced,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            bad: counts.bad,
            late: counts.late,
            commits: counts.commits,
            commit_micros: progress.commit_times.snapshot().sum_micros(),
            busy_micros: counts.busy_nanos / 1_000,
            state_bytes: counts.state_bytes,
        }
    }

    /// What was counted since `before`, as one of `steps` equal steps. A query that was replaced counts from 0 again.
    fn since(&self, before: &Totals, steps: u64, lag: Option<i64>) -> Point {
        let part = |now: u64, before: u64| u32::try_from(now.checked_sub(before).unwrap_or(now) / steps);
        let part = |now, before| part(now, before).unwrap_or(u32::MAX);
        Point {
            rows_in: part(self.rows_in, before.rows_in),
            rows_out: part(self.rows_out, before.rows_out),
            kib_in: part(self.bytes_in / 1024, before.bytes_in / 1024),
            kib_out: part(self.bytes_out / 1024, before.bytes_out / 1024),
            bad: part(self.bad, before.bad),
            late: part(self.late, before.late),
            commits: part(self.commits, before.commits),
            commit_micros: part(self.commit_micros, before.commit_micros),
            busy_micros: part(self.busy_micros, before.busy_micros),
            lag: lag.unwrap_or(LAG_UNKNOWN),
            state_bytes: self.state_bytes,
        }
    }
}

impl Point {
    /// The sum of several steps.
    fn sum<'a>(points: impl Iterator<Item = &'a Point>) -> Point {
        points.fold(Point::default(), |sum, point| Point {
            rows_in: sum.rows_in.saturating_add(point.rows_in),
            rows_out: sum.rows_out.saturating_add(point.rows_out),
            kib_in: sum.kib_in.saturating_add(point.kib_in),
            kib_out: sum.kib_out.saturating_add(point.kib_out),
            bad: sum.bad.saturating_add(point.bad),
            late: sum.late.saturating_add(point.late),
            commits: sum.commits.saturating_add(point.commits),
            commit_micros: sum.commit_micros.saturating_add(point.commit_micros),
            busy_micros: sum.busy_micros.saturating_add(point.busy_micros),
            lag: point.lag,
            state_bytes: point.state_bytes,
        })
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T, capacity: usize) {
    if ring.len() >= capacity {
        ring.pop_front();
    }
    ring.push_back(item);
}

impl Ring {
    fn take(&mut self, progress: &Progress, steps: u64, lag: Option<i64>, now: Duration) {
        let totals = Totals::of(progress);
        let point = totals.since(&self.last, steps, lag);
        self.last = totals;
        for _ in 0..steps {
            push(&mut self.fine, point, FINE_POINTS);
            self.unfolded += 1;
            if self.unfolded == COARSE_FACTOR {
                let folded = Point::sum(self.fine.iter().rev().take(COARSE_FACTOR).rev());
                push(&mut self.coarse, folded, COARSE_POINTS);
                self.unfolded = 0;
            }
        }
        if let Some(meters) = progress.meters() {
            let busy = meters.stages.iter().map(|stage| stage.busy_nanos.load(Ordering::Relaxed)).collect();
            push(&mut self.stages, (now, busy), RATE_POINTS + 1);
        }
    }

    fn rates(&self, span: RateSpan) -> Option<Rates> {
        let points = span.points().min(self.fine.len());
        if points == 0 {
            return None;
        }
        let sum = Point::sum(self.fine.iter().rev().take(points));
        let value = |series: Series| series.value(&sum, points as f64).unwrap_or_default();
        Some(Rates {
            rows_in: value(Series::In),
            rows_out: value(Series::Out),
            bytes_in: value(Series::InBytes),
            bytes_out: value(Series::OutBytes),
            busy_share: value(Series::BusyShare),
        })
    }

    fn stage_shares(&self) -> Option<Vec<f64>> {
        let ((from, before), (until, now)) = (self.stages.front()?, self.stages.back()?);
        let nanos = until.saturating_sub(*from).as_nanos() as f64;
        let share = |(now, before): (&u64, &u64)| (now.saturating_sub(*before) as f64 / nanos).min(1.0);
        (nanos > 0.0).then(|| now.iter().zip(before).map(share).collect())
    }
}

impl History {
    /// One round: a step of every query's ring.
    pub(in crate::engine) fn sample(
        &self,
        queries: &[(String, Arc<Query>)],
        lags: &BTreeMap<String, i64>,
        (now, now_ms): (Duration, i64),
    ) {
        let mut rings = self.rings.lock();
        let passed = rings.last.map_or(1, |(last, _)| now.saturating_sub(last).as_secs_f64().round() as u64);
        let steps = passed.clamp(1, FINE_POINTS as u64);
        rings.last = Some((now, now_ms));
        let queries = &queries[..queries.len().min(RINGS_MAX)];
        rings.by_query.retain(|id, _| queries.iter().any(|(known, _)| known == id));
        for (id, query) in queries {
            // The first step of a query begins with it.
            let steps = if rings.by_query.contains_key(id) { steps } else { 1 };
            let ring = rings.by_query.entry(id.clone()).or_default();
            ring.take(query.progress(), steps, lags.get(id).copied(), now);
        }
    }

    /// The present rates of a query; `None` = nothing was sampled yet.
    pub(in crate::engine) fn rates(&self, id: &str, span: RateSpan) -> Option<Rates> {
        self.rings.lock().by_query.get(id)?.rates(span)
    }

    /// The share of the time that each stage of a query worked.
    pub(in crate::engine) fn stage_shares(&self, id: &str) -> Option<Vec<f64>> {
        self.rings.lock().by_query.get(id)?.stage_shares()
    }

    /// The past of these queries together.
    fn timeline(&self, ids: &[String], series: &[Series], coarse: bool, since_ms: i64) -> Timeline {
        let rings = self.rings.lock();
        let factor = if coarse { COARSE_FACTOR as u64 } else { 1 };
        let step_millis = FINE_STEP.as_millis() as u64 * factor;
        let last_ms = rings.last.map_or(0, |(_, ms)| ms);
        let found: Vec<&VecDeque<Point>> = ids
            .iter()
            .filter_map(|id| rings.by_query.get(id))
            .map(|ring| if coarse { &ring.coarse } else { &ring.fine })
            .collect();
        let longest = found.iter().map(|ring| ring.len()).max().unwrap_or_default();
        let wanted = (last_ms.saturating_sub(since_ms).max(0) as u64).div_ceil(step_millis);
        let length = longest.min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let seconds = step_millis as f64 / 1e3;
        // Rings end together: a query's last point is that of the last round.
        let values = |series: Series| {
            let at = |back: usize| {
                let points = found.iter().filter_map(|ring| ring.get(ring.len().checked_sub(back)?));
                let known: Vec<f64> = points.filter_map(|point| series.value(point, seconds)).collect();
                let sum: f64 = known.iter().sum();
                (!known.is_empty()).then(|| if series.is_mean() { sum / known.len() as f64 } else { sum })
            };
            (1..=length).rev().map(at).collect()
        };
        Timeline {
            step_millis,
            start_ms: last_ms - (length as u64 * step_millis) as i64,
            series: series.iter().map(|series| (*series, values(*series))).collect(),
        }
    }
}

impl Engine {
    /// The past of a query, or with `None` of all that the user sees, together.
    pub fn timeline(
        &self,
        session: &Session,
        id: Option<&str>,
        series: &[Series],
        coarse: bool,
        since_ms: i64,
    ) -> Result<Timeline> {
        let ids = match id {
            Some(id) => vec![self.seen_query(session, id)?.0],
            None => self.seen_queries(session).into_iter().map(|(id, _)| id).collect(),
        };
        Ok(self.inner.history.timeline(&ids, series, coarse, since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn counters_become_points_and_fifteen_points_one_more() {
        let (progress, mut ring) = (Progress::default(), Ring::default());
        for second in 1..=30 {
            progress.consumed.fetch_add(second, Ordering::Relaxed);
            ring.take(&progress, 1, Some(second as i64), at(second));
        }
        let read: Vec<u32> = ring.fine.iter().map(|p| p.rows_in).collect();
        assert_eq!(read, (1..=30).collect::<Vec<u32>>());
        let coarse: Vec<(u32, i64)> = ring.coarse.iter().map(|p| (p.rows_in, p.lag)).collect();
        assert_eq!(coarse, [((1..=15).sum(), 15), ((16..=30).sum(), 30)]);
        assert_eq!(ring.rates(RateSpan::Second).unwrap().rows_in, 30.0);
        assert_eq!(ring.rates(RateSpan::TenSeconds).unwrap().rows_in, 25.5);
    }

    #[test]
    fn a_late_round_is_spread_and_rings_are_bounded() {
        let (progress, mut ring) = (Progress::default(), Ring::default());
        progress.consumed.fetch_add(40, Ordering::Relaxed);
        ring.take(&progress, 4, None, at(4));
        assert_eq!(ring.fine.iter().map(|p| p.rows_in).collect::<Vec<_>>(), [10; 4]);
        assert_eq!(Series::Lag.value(&ring.fine[0], 1.0), None, "an unknown lag is not 0");
        for second in 5..5_000 {
            ring.take(&progress, 1, None, at(second));
        }
        assert_eq!((ring.fine.len(), ring.coarse.len()), (FINE_POINTS, 333));
        ring.take(&progress, 40_000, None, at(50_000));
        assert_eq!((ring.fine.len(), ring.coarse.len()), (FINE_POINTS, COARSE_POINTS));
    }

    #[test]
    fn a_replaced_query_counts_from_the_beginning() {
        let (first, second, mut ring) = (Progress::default(), Progress::default(), Ring::default());
        first.consumed.fetch_add(100, Ordering::Relaxed);
        ring.take(&first, 1, None, at(1));
        second.consumed.fetch_add(7, Ordering::Relaxed);
        ring.take(&second, 1, None, at(2));
        assert_eq!(ring.fine.iter().map(|p| p.rows_in).collect::<Vec<_>>(), [100, 7]);
    }
}
