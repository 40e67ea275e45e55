//! What the leaves of a plan read, for who draws it: DataFusion's node for a stream of rows does not say.

use super::meter::Reading;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A leaf in words.
#[derive(Clone, Debug)]
pub(in crate::execute::batch) struct Leaf {
    /// The nodes that are behind it, root first: the text of each, and the index of the one that reads it.
    pub(in crate::execute::batch) nodes: Vec<(String, Option<usize>)>,
    /// What it has read so far.
    pub(in crate::execute::batch) reading: Arc<Reading>,
}

/// The leaves of the plans that were made for a query.
#[derive(Debug, Default)]
pub(in crate::execute::batch) struct Leaves(Mutex<Vec<(Weak<dyn PartitionStream>, Leaf)>>);

impl Leaves {
    /// Remembers what a stream of rows reads. It is not kept alive for that.
    pub(in crate::execute::batch) fn add(&self, stream: &Arc<dyn PartitionStream>, leaf: Leaf) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::downgrade(stream), leaf));
    }

    pub(super) fn of(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<Leaf> {
        let streams = plan.downcast_ref::<StreamingTableExec>()?.partitions();
        let stream = streams.first()?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |weak: &Weak<dyn PartitionStream>| std::ptr::addr_eq(weak.as_ptr(), Arc::as_ptr(stream));
        known.iter().find(|(weak, _)| same(weak)).map(|(_, leaf)| leaf.clone())
    }
}
