//! Seeded bugs (mutation testing). Each is a plausible mistake, which a named law has to detect (`tests/it/mutants.rs`).
//!
//! They exist only where debug assertions do, which is never in a release build. A [`Mutant`] exists only on the thread that
//! asks; a panic is seeded with [`seed`] for work of one kind and one label, whichever thread runs it.

#[cfg(debug_assertions)]
use parking_lot::Mutex;
#[cfg(debug_assertions)]
use std::cell::Cell;
#[cfg(debug_assertions)]
use std::collections::BTreeMap;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Offsets are committed before the rows that belong to them.
    OffsetsBeforeRows,
    /// Rows go where librdkafka's default partitioner would send them.
    Crc32Partitioner,
    /// A window accepts rows for a millisecond too long.
    LateOffByOne,
    /// The undo set of an epoch outlives an abort.
    UndoKept,
    /// A restarted operator begins at the beginning of time.
    StreamTimeLost,
    /// A snapshot is used although the last commit counted other entries.
    SnapshotTrusted,
    /// In `LatestPerKey`, rows leave in the order of slots, not of changes.
    LastByHash,
    /// Sessions that were merged are not deleted from the table.
    MergeWithoutTombstone,
    /// A join releases rows a time segment before they are out of reach.
    BufferDroppedEarly,
    /// Changes of a table that wait for an emission outlive an abort.
    ChangesKept,
    /// FILTER behind an aggregate or a window function is not bound.
    FilterLost,
    /// DISTINCT in an aggregate is not bound.
    DistinctLost,
    /// Each window has the frame that is meant without one.
    FrameLost,
    /// The last set of GROUPING SETS, ROLLUP or CUBE is not planned.
    LastSetLost,
    /// QUALIFY is not planned.
    QualifyLost,
    /// UNION ALL is planned as UNION.
    UnionDeduplicates,
    /// Of several conditions of a join, those that are no equality are not planned.
    ConditionsLost,
    /// NOT IN over a list with NULL is true where it is unknown.
    UnknownIsTrue,
    /// HAVING of a continuous query is not planned.
    HavingLost,
    /// Units are taken without fencing their earlier owners (C4).
    TakenUnfenced,
    /// Only the slot that committed last is fenced, not all that may still write (C4).
    CommitterFencedOnly,
    /// The control topic is not read again after a producer was initialised (C3).
    ControlNotReadAgain,
    /// A producer is used again after an error (C3).
    ProducerKeptAfterError,
    /// A producer is used again though one of its requests may have been sent twice (K8).
    ProducerKeptAfterRepetition,
    /// A release of an earlier term than the last one spares the fence (C5).
    OlderReleaseCounts,
    /// What was lost is released by a producer that was initialised after the loss (C5).
    ReleaseByNewProducer,
    /// Ownership is confirmed before the earlier owners are fenced (C4).
    ConfirmedBeforeFence,
    /// Fences are repeated after every error, so that two processes may fence each other for ever (C4).
    FencesForgotten,
    /// A process whose slot has a later start continues (C3).
    PredecessorStays,
}

#[cfg(debug_assertions)]
thread_local! {
    static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Whether this thread runs with this bug. In a release build never, which the compiler knows.
#[inline(always)]
pub fn on(mutant: Mutant) -> bool {
    #[cfg(debug_assertions)]
    return ON.get() == Some(mutant);
    #[cfg(not(debug_assertions))]
    {
        let _ = mutant;
        false
    }
}

/// Runs `work` with a bug, on this thread only, also if it panics.
#[cfg(debug_assertions)]
pub fn with<T>(mutant: Mutant, work: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ON.set(None);
        }
    }
    let _off = Off;
    ON.set(Some(mutant));
    work()
}

/// The bug of this thread, for a worker that does a part of what the thread does.
#[inline(always)]
pub fn current() -> Option<Mutant> {
    #[cfg(debug_assertions)]
    return ON.get();
    #[cfg(not(debug_assertions))]
    None
}

/// Runs `work` with the bug of the thread for which it is done, if it has one.
#[inline(always)]
pub fn carry<T>(bug: Option<Mutant>, work: impl FnOnce() -> T) -> T {
    #[cfg(debug_assertions)]
    if let Some(bug) = bug.filter(|bug| !on(*bug)) {
        return with(bug, work);
    }
    let _ = bug;
    work()
}

/// Set at the start of a process that tests what happens without rule K8 of docs/exactly-once.md.
#[cfg(debug_assertions)]
static KEEP_PRODUCERS: AtomicBool = AtomicBool::new(false);

/// From now on this process keeps transactional producers whose requests may have been repeated.
#[cfg(debug_assertions)]
pub fn keep_producers() {
    KEEP_PRODUCERS.store(true, Ordering::SeqCst);
}

/// Whether this process keeps such producers. In a release build never, which the compiler knows.
#[inline(always)]
pub fn keeps_producers() -> bool {
    #[cfg(debug_assertions)]
    return KEEP_PRODUCERS.load(Ordering::Relaxed);
    #[cfg(not(debug_assertions))]
    false
}

/// Pending panics, by kind and label.
#[cfg(debug_assertions)]
static SEEDED: Mutex<BTreeMap<(&'static str, String), usize>> = Mutex::new(BTreeMap::new());
/// Their total number, which unseeded work checks.
#[cfg(debug_assertions)]
static SEEDS: AtomicUsize = AtomicUsize::new(0);

/// The next `times` runs of this work panic. Labels of one process differ, so that tests beside each other do not meet.
#[cfg(debug_assertions)]
pub fn seed(kind: &'static str, label: impl Into<String>, times: usize) {
    SEEDS.fetch_add(times, Ordering::SeqCst);
    *SEEDED.lock().entry((kind, label.into())).or_default() += times;
}

/// Seeds `KIND=LABEL=TIMES;...`, for tests of a child process.
#[cfg(debug_assertions)]
pub fn seed_all(text: &str) {
    for part in text.split(';') {
        let mut words = part.rsplitn(2, '=');
        let (times, place) = (words.next().and_then(|times| times.parse().ok()), words.next());
        if let (Some(times), Some((kind, label))) = (times, place.and_then(|place| place.split_once('='))) {
            // Once in the life of a process.
            seed(kind.to_owned().leak(), label, times);
        }
    }
}

/// Number of pending panics of this work.
#[cfg(debug_assertions)]
pub fn seeds_left(kind: &'static str, label: &str) -> usize {
    SEEDED.lock().get(&(kind, label.to_owned())).copied().unwrap_or_default()
}

/// Panics if a panic is pending. In a release build it does nothing, which the compiler knows.
#[inline(always)]
pub fn trip(kind: &'static str, label: &str) {
    #[cfg(debug_assertions)]
    if SEEDS.load(Ordering::Relaxed) > 0 {
        fall(kind, label);
    }
    #[cfg(not(debug_assertions))]
    let _ = (kind, label);
}

#[cfg(debug_assertions)]
fn fall(kind: &'static str, label: &str) {
    let mut seeded = SEEDED.lock();
    let Some(left) = seeded.get_mut(&(kind, label.to_owned())).filter(|left| **left > 0) else { return };
    *left -= 1;
    SEEDS.fetch_sub(1, Ordering::SeqCst);
    drop(seeded);
    panic!("a seeded panic in {kind} {label}");
}
