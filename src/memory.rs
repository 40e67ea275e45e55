//! Allocated bytes per thread, and the bounds of the threads that run one bounded query.
//!
//! Every allocation adds its size to a counter of its thread and every release subtracts it: two instructions, no lock and
//! no shared cache line. A bounded query has threads of its own, which add up their counters whenever they check the bounds: the
//! sum is the memory of the query, independent of which thread releases what and of what operators report.
//!
//! ```text
//! Bounds::new(limits).apply(|| { plan; run; hand rows over })     the query's thread
//! Bounds::here() .. apply(|| read ahead)                          a thread that reads for it
//!                    ^ check()?           between batches, between records, before a function makes values
//! ```
//!
//! Rows that leave the query are copied inside [`outside`], because another thread releases them; so is what the log reads,
//! whose buffers are shared. The counter cannot stop an allocation that is being made: an allocator may neither unwind nor
//! return nothing without ending the process. So whatever makes values of a size that an argument names asks [`room`] first.

use crate::error::{Error, Kind, Result};
use crate::types::clock::SharedClock;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The property that bounds the time of a query; messages name it.
pub const TIMEOUT_PROPERTY: &str = "tidegate.batch.timeout.ms";
/// The property of which a query's memory is a multiple; messages name it.
pub const MEMORY_PROPERTY: &str = "tidegate.batch.memory.bytes";

thread_local! {
    /// Bytes that this thread allocated less those that it released.
    static HELD: Cell<i64> = const { Cell::new(0) };
    /// The bounds of the query that this thread runs.
    static GUARD: RefCell<Option<Guard>> = const { RefCell::new(None) };
}

/// The system's allocator, with a counter for each thread.
#[derive(Debug)]
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: i64) {
    // A thread that ends may release memory after its counter is destroyed, when it is not read any more.
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_add(bytes)));
}

#[expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; each call is the system's own, with its own arguments"
)]
// SAFETY: every method passes its arguments to `System` unchanged and returns what `System` returns. The counter is a
// `Cell` without a destructor and without an initialiser that allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Bytes that this thread allocated less those that it released; negative where others allocated what it released.
pub fn held() -> i64 {
    HELD.with(Cell::get)
}

/// Runs `work` without counting what it allocates or releases.
pub fn outside<T>(work: impl FnOnce() -> T) -> T {
    let before = held();
    let done = work();
    HELD.with(|held| held.set(before));
    done
}

/// What bounds a query.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that it may hold.
    pub bytes: usize,
    /// How long it may run.
    pub time: Duration,
    /// The clock of `time`.
    pub clock: SharedClock,
    /// Set from outside to cancel the query.
    pub stopped: Arc<AtomicBool>,
}

/// [`Limits`] at work, for all threads of a query.
#[derive(Clone, Debug)]
pub struct Bounds(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    /// Bytes that its threads hold, as they said last.
    held: AtomicI64,
    /// Microseconds on the limits' clock: when the time is over.
    end_us: AtomicU64,
    /// How many rows of a batch would have had room where all of them had not; 0 = that was never so.
    rows_that_fit: AtomicUsize,
}

/// A thread's part in a query.
#[derive(Debug)]
struct Guard {
    bounds: Bounds,
    /// The thread's counter when it was last added to the query's.
    told: i64,
}

impl Bounds {
    /// The time begins now.
    pub fn new(limits: Limits) -> Bounds {
        let end = micros(limits.clock.monotonic().saturating_add(limits.time));
        Bounds(Arc::new(Shared {
            limits,
            held: AtomicI64::new(0),
            end_us: AtomicU64::new(end),
            rows_that_fit: AtomicUsize::new(0),
        }))
    }

    /// Those of this thread's query.
    pub fn here() -> Option<Bounds> {
        GUARD.with(|guard| guard.borrow().as_ref().map(|g| g.bounds.clone()))
    }

    /// Runs `work` as a part of the query.
    pub fn apply<T>(self, work: impl FnOnce() -> T) -> T {
        let before = GUARD.with(|g| g.replace(Some(Guard { bounds: self, told: held() })));
        let done = work();
        let guard = GUARD.with(|g| g.replace(before));
        guard.map(|mut guard| guard.tell());
        done
    }
}

impl Guard {
    /// Adds what this thread has allocated since to what the query holds.
    fn tell(&mut self) -> i64 {
        let now = held();
        let more = now.wrapping_sub(self.told);
        self.told = now;
        self.bounds.0.held.fetch_add(more, Ordering::Relaxed).wrapping_add(more)
    }

    fn room(&mut self) -> usize {
        let used = usize::try_from(self.tell()).unwrap_or(0);
        self.bounds.0.limits.bytes.saturating_sub(used)
    }

    fn check(&mut self) -> Result<()> {
        let room = self.room();
        let Shared { limits, end_us, .. } = &*self.bounds.0;
        if limits.stopped.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Busy, "the query was stopped, because its answer is not wanted any more"));
        }
        if micros(limits.clock.monotonic()) >= end_us.load(Ordering::Relaxed) {
            return Err(too_long(limits.time));
        }
        if room == 0 { Err(too_large(limits.bytes)) } else { Ok(()) }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The error of a query that ran out of its time.
pub fn too_long(time: Duration) -> Error {
    Error::new(Kind::Busy, format!("the query ran longer than {} ms and was stopped", time.as_millis()))
        .with_detail(format!("{TIMEOUT_PROPERTY} bounds the time of a query without EMIT"))
        .with_hint(format!(
            "read less of the history with a condition on ROWTIME or with LIMIT, or start the process with a larger \
             --set {TIMEOUT_PROPERTY}=MS"
        ))
}

fn too_large(bytes: usize) -> Error {
    Error::new(Kind::Busy, format!("the query holds more than the {bytes} bytes of memory that it may hold"))
        .with_detail(format!("measured at the allocator; {MEMORY_PROPERTY} sets it"))
        .with_hint(format!(
            "fewer rows, columns or shorter values need less; a larger {MEMORY_PROPERTY} allows more, up to what the \
             process was started with"
        ))
}

/// `work` as a part of the query that this thread runs, for another thread to carry out.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let bounds = Bounds::here();
    move || match bounds {
        Some(bounds) => bounds.apply(work),
        None => work(),
    }
}

/// Runs `work`, which waits for the reader of the rows: that time is not the query's.
pub fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let Some(Bounds(shared)) = Bounds::here() else { return work() };
    let before = shared.limits.clock.monotonic();
    let done = work();
    let waited = shared.limits.clock.monotonic().saturating_sub(before);
    shared.end_us.fetch_add(micros(waited), Ordering::Relaxed);
    done
}

fn with_guard<T>(none: T, look: impl FnOnce(&mut Guard) -> T) -> T {
    GUARD.with(|guard| match guard.borrow_mut().as_mut() {
        Some(guard) => look(guard),
        None => none,
    })
}

/// Is the query of this thread within its bounds? Without a query it is.
pub fn check() -> Result<()> {
    with_guard(Ok(()), Guard::check)
}

/// Bytes that the query of this thread may still allocate; without a query there is no bound.
pub fn room() -> usize {
    with_guard(usize::MAX, Guard::room)
}

/// Fails when the query of this thread has no room for so many bytes more.
pub fn reserve(bytes: usize) -> Result<()> {
    with_guard(Ok(()), |guard| match bytes <= guard.room() {
        true => Ok(()),
        false => Err(too_large(guard.bounds.0.limits.bytes).and_detail(&format!("{bytes} bytes more were asked for"))),
    })
}

/// How much of the room that is left a batch may need when it is made again with fewer rows.
const SHARE: usize = 8;

/// [`reserve`] for something that is made of each of so many rows: with fewer of them it may fit, see [`rows_that_fit`].
pub fn reserve_for_rows(bytes: usize, rows: usize) -> Result<()> {
    let reserved = reserve(bytes);
    if reserved.is_err() && rows > 1 {
        with_guard((), |guard| {
            let fit = guard.room() / SHARE / (bytes / rows).max(1);
            guard.bounds.0.rows_that_fit.store(fit.clamp(1, rows - 1), Ordering::Relaxed);
        });
    }
    reserved
}

/// Whether the query failed only because of the number of rows in a batch, and how many would have fitted; asked once.
pub fn rows_that_fit() -> Option<usize> {
    with_guard(None, |guard| match guard.bounds.0.rows_that_fit.swap(0, Ordering::Relaxed) {
        0 => None,
        rows => Some(rows),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::ManualClock;

    fn limits(bytes: usize, clock: &Arc<ManualClock>) -> Limits {
        Limits { bytes, time: Duration::from_secs(1), clock: clock.clone(), stopped: Arc::default() }
    }

    #[test]
    fn what_a_query_holds_is_what_it_allocated_and_did_not_release() {
        let clock = ManualClock::at(0);
        Bounds::new(limits(1 << 20, &clock)).apply(|| {
            let first = vec![1_u8; 600_000];
            assert!(check().is_ok());
            let given = outside(|| vec![1_u8; 10_000_000]);
            assert!(check().is_ok(), "what another thread will release does not count");
            assert!(reserve(500_000).is_err());
            let second = vec![1_u8; 600_000];
            assert!(check().unwrap_err().to_string().contains("holds more than"));
            drop((first, second));
            assert!(check().is_ok());
            assert!(reserve(500_000).is_ok());
            outside(|| drop(given));
            assert!(reserve((1 << 20) + 1).is_err(), "what another thread released makes no room");
        });
        assert_eq!(room(), usize::MAX);
    }

    #[test]
    fn what_one_thread_allocates_and_another_releases_is_counted_once() {
        let bounds = Bounds::new(limits(1 << 20, &ManualClock::at(0)));
        let read = bounds.clone();
        let rows = std::thread::spawn(move || read.apply(|| vec![1_u8; 800_000])).join().unwrap();
        bounds.apply(|| {
            assert!(reserve(500_000).is_err(), "the rows that were read for it are the query's");
            drop(rows);
            assert!(reserve(500_000).is_ok());
        });
    }

    #[test]
    fn a_query_ends_with_its_time_or_when_it_is_stopped() {
        let clock = ManualClock::at(0);
        let limits = limits(1 << 20, &clock);
        let stopped = limits.stopped.clone();
        Bounds::new(limits).apply(|| {
            waiting(|| clock.advance(Duration::from_secs(10)));
            assert!(check().is_ok(), "the time of the reader does not count");
            clock.advance(Duration::from_secs(1));
            assert!(check().unwrap_err().to_string().contains("longer than 1000 ms"));
            stopped.store(true, Ordering::Relaxed);
            assert!(check().unwrap_err().to_string().contains("stopped"));
        });
    }
}
