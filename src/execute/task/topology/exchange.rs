//! Rows that change key go to the partition that Java's murmur2 of their new key bytes names, as through a topic.
//!
//! ```text
//! targets   2 0 2 1 0      one hash per row
//! counts    2 1 2          rows of each partition -> where its row numbers begin: 0 2 3
//! rows      1 4 | 3 | 0 2  row numbers by partition, each in the order of the batch -> one gather per column and partition
//! ```

use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::pipeline::Hop;
use crate::format::Encoder;
use crate::log::partition;
use std::ops::Range;

/// Rows to the partition that their key hashes to.
#[derive(Debug)]
pub(crate) struct Exchange {
    key: Encoder,
    partitions: u32,
    bytes: Vec<u8>,
    ranges: Vec<Option<Range<usize>>>,
    targets: Vec<u32>,
    /// Where the row numbers of each partition end.
    ends: Vec<usize>,
}

impl Exchange {
    pub(crate) fn new(hop: &Hop) -> Result<Exchange> {
        Ok(Exchange {
            key: Encoder::new(hop.key_format.internal(), &hop.key, true)?,
            partitions: hop.partitions,
            bytes: Vec::new(),
            ranges: Vec::new(),
            targets: Vec::new(),
            ends: Vec::new(),
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
        let target = |r: &Option<Range<usize>>| r.clone().map_or(0, |r| partition::java(&bytes[r], count) as u32);
        self.targets.extend(self.ranges.iter().map(target));
        let rows = self.scatter();
        let (mut parts, mut start) = (Vec::new(), 0);
        for (partition, &end) in self.ends.iter().enumerate() {
            match end - start {
                0 => {}
                n if n == batch.len() => parts.push((partition, batch.clone())),
                _ => parts.push((partition, batch.take(&rows[start..end])?)),
            }
            start = end;
        }
        Ok(parts)
    }

    /// Row numbers by partition.
    fn scatter(&mut self) -> Vec<u32> {
        self.ends.clear();
        self.ends.resize(self.partitions as usize, 0);
        self.targets.iter().for_each(|&target| self.ends[target as usize] += 1);
        let mut before = 0;
        for end in &mut self.ends {
            let rows = std::mem::replace(end, before);
            before += rows;
        }
        let mut rows = vec![0; self.targets.len()];
        for (row, &target) in self.targets.iter().enumerate() {
            let place = &mut self.ends[target as usize];
            rows[*place] = row as u32;
            *place += 1;
        }
        rows
    }
}
