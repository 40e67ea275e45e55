//! Consumer lag: for each partition that a query reads its committed offset and the end of the partition.

use crate::engine::query::persistent::Query;
use crate::engine::result::entity::PartitionLag;
use crate::error::Result;
use crate::log::{Log, TopicPartition};

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
    let each = partitions.iter().filter_map(PartitionLag::records);
    each.reduce(|a, b| a + b)
}
