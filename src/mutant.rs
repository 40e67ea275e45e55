//! Seeded bugs, for the tests of the tests. Each is a mistake that somebody could make; a named law has to notice it
//! (`tests/it/mutants.rs`).
//!
//! They exist only where debug assertions do, which is never in a release build, and only on the thread that asks.

#[cfg(debug_assertions)]
use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Offsets are committed before the rows that belong to them.
    OffsetsBeforeRows,
    /// Rows go where librdkafka's default partitioner would send them.
    Crc32Partitioner,
    /// A window takes rows for a millisecond too long.
    LateOffByOne,
    /// What an epoch has saved for its undoing outlives an abort.
    UndoKept,
    /// A restarted operator begins at the beginning of time.
    StreamTimeLost,
    /// In `Last`, rows leave in an order of slots and not of changes.
    LastByHash,
    /// Sessions that were merged are not deleted from the table.
    MergeWithoutTombstone,
    /// A join lets go of rows a segment of time before they are out of reach.
    BufferDroppedEarly,
    /// Changes of a table that wait for an emission outlive an abort.
    ChangesKept,
}

#[cfg(debug_assertions)]
thread_local! {
    static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Has this thread asked for this bug? In a release build never, which the compiler knows.
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
