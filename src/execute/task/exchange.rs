//! Rows that change key go to the partition that Java's murmur2 of their new key bytes names, as through a topic.

use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::pipeline::Hop;
use crate::format::Encoder;
use crate::log::partition;
use arrow::buffer::BooleanBuffer;
use std::ops::Range;

/// Rows to the partition that their key hashes to.
#[derive(Debug)]
pub(crate) struct Exchange {
    key: Encoder,
    partitions: u32,
    bytes: Vec<u8>,
    ranges: Vec<Option<Range<usize>>>,
    targets: Vec<i32>,
}

impl Exchange {
    pub(crate) fn new(hop: &Hop) -> Result<Exchange> {
        Ok(Exchange {
            key: Encoder::new(hop.key_format.internal(), &hop.key, true)?,
            partitions: hop.partitions,
            bytes: Vec::new(),
            ranges: Vec::new(),
            targets: Vec::new(),
        })
    }

    /// The rows of all these batches: those of each partition that got any, in the order of their ordinals.
    pub(crate) fn gather(&mut self, batches: &[(usize, ChangeBatch)]) -> Result<Vec<(usize, ChangeBatch)>> {
        let mut parts: Vec<Vec<ChangeBatch>> = vec![Vec::new(); self.partitions as usize];
        for (_, batch) in batches {
            self.split(batch)?.into_iter().for_each(|(partition, part)| parts[partition].push(part));
        }
        let merged =
            parts.into_iter().enumerate().map(|(partition, parts)| Ok((partition, ChangeBatch::merge(parts)?)));
        merged.filter_map(|part| part.map(|(partition, batch)| Some((partition, batch?))).transpose()).collect()
    }

    /// The rows of each partition that got any, ascending by partition.
    pub(crate) fn split(&mut self, batch: &ChangeBatch) -> Result<Vec<(usize, ChangeBatch)>> {
        if self.partitions == 1 {
            return Ok(vec![(0, batch.clone())]);
        }
        self.bytes.clear();
        self.ranges.clear();
        self.key.encode(&batch.key, batch.key_present.as_ref(), batch.len(), &mut self.bytes, &mut self.ranges)?;
        self.targets.clear();
        let (bytes, count) = (&self.bytes, self.partitions);
        let target = |r: &Option<Range<usize>>| r.clone().map_or(0, |r| partition::java(&bytes[r], count));
        self.targets.extend(self.ranges.iter().map(target));
        let mut parts = Vec::new();
        for p in 0..count as i32 {
            let rows = BooleanBuffer::collect_bool(batch.len(), |row| self.targets[row] == p);
            match rows.count_set_bits() {
                0 => {}
                n if n == batch.len() => parts.push((p as usize, batch.clone())),
                _ => parts.push((p as usize, batch.filter(&rows)?)),
            }
        }
        Ok(parts)
    }
}
