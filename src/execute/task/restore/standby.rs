//! The state of a query that another process runs, kept up to date from its changelogs, so that this process can take the query over
//! without reading them from the beginning.
//!
//! ```text
//! owner      epochs: rows, offsets, changelog entries ---------------> the log
//! standby    snapshot, if there is one, then the changelog, epoch by epoch <--'
//! promoted   the rest of the changelog, stream times of the last commit, and on
//! ```
//!
//! It takes as much memory as the owner's state. It reads committed entries only; entries of one epoch may arrive in several polls,
//! which matters to nothing, because a promotion reads to the end first.

use super::following::{Following, StoreOffsets};
use crate::error::Result;
use crate::execute::operator::OperatorSize;
use crate::execute::task::snapshot::Schedule;
use crate::execute::task::spec::ExecutionSpec;
use crate::execute::task::topology::Topology;
use crate::log::Log;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Standby {
    topology: Topology,
    following: Following,
}

impl Standby {
    /// Begins to read the changelogs of a query.
    pub fn begin(log: &dyn Log, spec: &ExecutionSpec) -> Result<Standby> {
        let mut topology = Topology::new(&spec.pipeline, spec.mode, &spec.spill_pool, &spec.crew)?;
        let schedule = Schedule::new(spec.snapshots.clone(), &mut topology, &spec.group);
        let all = 0..topology.stores().len();
        let load = |nth, partition: &_| schedule.load(nth, log, partition);
        let following = Following::begin(&mut topology, all, (log, &spec.group), load)?;
        Ok(Standby { topology, following })
    }

    /// Takes in what is there, or waits for it; returns the number of entries.
    pub fn advance(&mut self, wait: Duration) -> Result<usize> {
        self.following.advance(&mut self.topology, wait)
    }

    /// How far each of its stores is.
    pub fn offsets(&self, log: &dyn Log) -> Result<Vec<StoreOffsets>> {
        self.following.offsets(log)
    }

    /// How much it keeps.
    pub fn size(&mut self) -> OperatorSize {
        self.topology.stores().into_iter().flat_map(|store| store.1).map(|operator| operator.size()).sum()
    }

    /// Ends a wait early, from any thread.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.following.waker()
    }

    /// Its operators and how far they are; `None` = the changelogs are not those with which it began.
    pub(in crate::execute::task) fn promote(self, log: &dyn Log) -> Result<Option<(Topology, Following)>> {
        let is_current = self.following.is_current(log)?;
        Ok(is_current.then_some((self.topology, self.following)))
    }
}
