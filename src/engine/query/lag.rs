//! Consumer lag: for each partition that a query reads its committed offset and the end of the partition.

use crate::engine::Engine;
use crate::engine::query::persistent::Query;
use crate::engine::result::entity::PartitionLag;
use crate::error::Result;
use crate::log::{Log, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// The lag of each query that has committed something. `None` = the log does not respond, so that no lag is known. A query
    /// whose topics cannot be described is left out, the others are not.
    pub fn lags(&self) -> Option<Arc<BTreeMap<String, i64>>> {
        let (log, queries) = (self.log().clone(), self.queries());
        let measure = move || {
            let lag = |query: &Query| partitions(&*log, query).ok().and_then(|all| lag(&all));
            Ok(queries.iter().filter_map(|(id, query)| Some((id.clone(), lag(query)?))).collect())
        };
        self.inner.lags.get(self.clock(), measure)
    }
}

/// Every partition of a query's inputs.
pub fn partitions(log: &dyn Log, query: &Query) -> Result<Vec<PartitionLag>> {
    let Some(spec) = query.spec() else { return Ok(Vec::new()) };
    let all: Vec<TopicPartition> = spec.pipeline.inputs().map(|(place, _)| place).collect();
    let committed = log.committed(query.group(), &all)?;
    let each = all.into_iter().zip(committed).map(|(place, committed)| {
        let marks = log.watermarks(&place)?;
        let (topic, partition) = (place.topic.to_string(), place.partition);
        let committed = committed.map(|c| c.offset);
        Ok(PartitionLag { topic, partition, low: marks.low, high: marks.stable, committed })
    });
    each.collect()
}

/// Records between the committed offsets and the ends; `None` = nothing is committed yet.
pub fn lag(partitions: &[PartitionLag]) -> Option<i64> {
    let each = partitions.iter().filter_map(|p| Some((p.high - p.committed?).max(0)));
    each.reduce(|a, b| a + b)
}
