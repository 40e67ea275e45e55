//! Operators: changes in, changes out.
//!
//! An operator is a sans-IO state machine over [`ChangeBatch`]es. It has no clock, no randomness, no I/O, and interned ids
//! never decide an order.
//!
//! **The split law.** Any split of the input into batches, down to single rows, gives the same rows in [`EmitMode::EveryChange`];
//! [`EmitMode::LatestPerKey`] is its fold: per (key, window) and emission the first old and the last new, at the place of the first
//! change; nothing before and nothing after = no row. An emitted row carries the highest `seq` of the emission.

pub mod aggregate;
pub mod explode;
pub mod filter_project;
pub mod foreign_key_join;
pub mod session_window;
pub mod stream_stream_join;
pub mod table;
pub mod table_join;

mod record_cache;
mod table_pair;
pub(super) mod window;

use crate::error::{Error, Result};
use crate::execute::change::{BadRows, ChangeBatch};
use crate::execute::state::ChangelogEntry;
use crate::execute::state::entry_batch::EntryBatch;

/// When a stateful operator writes what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmitMode {
    /// One output per input, as ksqlDB without its cache.
    EveryChange,
    /// One output per key and emission, in order of the key's first change; as ksqlDB with its cache.
    LatestPerKey,
}

/// What operators write: changes, counts, bad rows.
#[derive(Debug, Default)]
pub struct OperatorOutput {
    /// Changes in order.
    pub batches: Vec<ChangeBatch>,
    /// Rows dropped by the late rule.
    pub late: u64,
    /// Their `seq`; a row that missed several windows may be listed several times.
    pub late_rows: Vec<u64>,
    /// Rows with an error; they are logged.
    pub bad: BadRows,
}

/// How much an operator keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorSize {
    /// Keys: groups of all open windows, sessions, rows of tables; of a stream-stream join the rows that wait for others.
    pub keys: u64,
    /// Memory in bytes. What moved into files is not included.
    pub bytes: u64,
}

impl OperatorSize {
    /// Of this many keys and bytes.
    pub(crate) fn new(keys: usize, bytes: usize) -> OperatorSize {
        OperatorSize { keys: keys as u64, bytes: bytes as u64 }
    }
}

impl std::iter::Sum for OperatorSize {
    fn sum<I: Iterator<Item = OperatorSize>>(sizes: I) -> OperatorSize {
        sizes.fold(OperatorSize::default(), |a, b| OperatorSize { keys: a.keys + b.keys, bytes: a.bytes + b.bytes })
    }
}

/// How far a snapshot of an operator's state has come; what the numbers mean is the operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotPlace {
    /// A part of the state.
    pub(crate) part: u32,
    /// The next entry in it.
    pub(crate) next: u32,
}

/// A state machine over changes.
///
/// One step covers a closed interval of `seq`: every row of every port up to the highest `seq` handed in; the task holds
/// back a port's rows until that is so. Rows of one `seq` on one port keep their order. Data errors go to [`OperatorOutput::bad`];
/// `Err` means a bug. What stream time causes belongs to the `seq` that moved the time.
pub trait Operator: Send + std::fmt::Debug {
    /// Takes one batch per port (`None` = nothing on that port).
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()>;
    /// [`EmitMode::LatestPerKey`]: writes what changed since the previous emission.
    fn emit(&mut self, _out: &mut OperatorOutput) -> Result<()> {
        Ok(())
    }
    /// Nothing will come any more (a query over history): what waits for the time to move leaves, caused by `seq`.
    fn finish(&mut self, _seq: u64, _out: &mut OperatorOutput) -> Result<()> {
        Ok(())
    }
    /// Appends to `entries` what changed since the last commit. Called after `emit`, before `commit` or `abort`.
    fn changelog(&mut self, _deltas: &mut Vec<ChangelogEntry>) -> Result<()> {
        Ok(())
    }
    /// What was done since the last commit is now durable.
    fn commit(&mut self) {}
    /// What was done since the last commit is undone: state, stream time and counts are as they were.
    fn abort(&mut self) {}
    /// Takes one changelog entry while restoring, in changelog order.
    fn restore(&mut self, _key: &[u8], _value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        Ok(())
    }
    /// Stream time and other small facts to be kept with a commit, as one line of text.
    fn offset_metadata(&self) -> String {
        String::new()
    }
    /// Takes the memo of the last commit, after all `restore`s.
    fn restore_metadata(&mut self, _memo: &str) -> Result<()> {
        Ok(())
    }
    /// How many entries of its changelog have a value, once what changed since the last commit is written. It is kept with the
    /// commit: a snapshot may hold entries whose tombstones the changelog has forgotten, and then there are more. `None` = an
    /// entry leaves only when its time is over, which the stream time says.
    fn living(&self) -> Option<u64> {
        None
    }
    /// Whether its state can be copied at present.
    fn has_snapshots(&self) -> bool {
        true
    }
    /// Appends entries that [`Operator::restore`] takes, of all that is committed, from `place` on and about as many as a full
    /// batch; `true` = these were the last. Nothing was done since the last commit; between two calls there may be commits and
    /// aborts, and an entry that changes meanwhile is appended as it was before or after. A copy begins at the default place; only
    /// one is made at a time.
    fn snapshot(&mut self, _place: &mut SnapshotPlace, _entries: &mut EntryBatch) -> Result<bool> {
        Err(Error::bug("this operator has no snapshots"))
    }
    /// How much it keeps. Requested once a second: the cost may grow with the number of windows or batches, not of rows.
    fn size(&self) -> OperatorSize {
        OperatorSize::default()
    }
    /// Its stream time; `None` = it has none, or saw no row yet.
    fn stream_time(&self) -> Option<i64> {
        None
    }
}
