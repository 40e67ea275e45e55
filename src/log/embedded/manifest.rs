//! The committed state as a value: topics with the ends of their files, groups with their offsets. The journal consists of a
//! snapshot of it and a list of changes.

use crate::error::{Error, Result};
use crate::log::topic::{PARTITIONS_MAX, is_legal_name};
use crate::log::{CommittedOffset, TopicId, TopicInfo};
use std::collections::{BTreeMap, BTreeSet};

/// The committed state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Topics by identity.
    pub(super) topics: BTreeMap<u128, TopicMeta>,
    /// Consumer groups, one per query.
    pub(super) groups: BTreeMap<String, GroupMeta>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicMeta {
    pub(super) name: String,
    pub(super) config: BTreeMap<String, String>,
    pub(super) partitions: Vec<PartitionMeta>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionMeta {
    /// First retained offset.
    pub(super) low: i64,
    /// Offset of the next record.
    pub(super) next: i64,
    /// Offset up to which the partition is compacted: each key has at most one record there.
    pub(super) compacted: i64,
    /// Its files, by first offset.
    pub(super) segments: Vec<SegmentMeta>,
}

/// A file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentMeta {
    /// First offset, which is its name.
    pub(super) base: i64,
    /// Committed bytes.
    pub(super) end: u64,
    /// Number of compactions of its records; part of its name.
    pub(super) generation: u32,
}

/// The committed offsets and metadata of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupMeta {
    /// Input offsets by topic id and partition: a recreated topic starts without any.
    pub(super) offsets: BTreeMap<(u128, i32), CommittedOffset>,
    /// Metadata of the query.
    pub(super) metadata: Option<String>,
}

impl Manifest {
    /// Validates a snapshot: the journal's contents become file names and offsets.
    pub(super) fn check(&self) -> Result<()> {
        let topics = || self.topics.values();
        let names: BTreeSet<&str> = topics().map(|t| t.name.as_str()).collect();
        let legal = names.len() == self.topics.len() && topics().all(|t| is_legal(&t.name, t.partitions.len()));
        match legal && topics().flat_map(|t| &t.partitions).all(PartitionMeta::is_sound) {
            true => Ok(()),
            false => Err(impossible("a snapshot contains invalid topics")),
        }
    }

    /// A topic as the trait describes it.
    pub(super) fn info(id: u128, meta: &TopicMeta) -> TopicInfo {
        let partitions = meta.partitions.len() as u32;
        TopicInfo { name: meta.name.clone(), id: TopicId(id), partitions, replicas: 1, config: meta.config.clone() }
    }

    pub(super) fn partition(&mut self, topic: u128, partition: u32) -> Result<&mut PartitionMeta> {
        let topic = self.topics.get_mut(&topic).ok_or_else(|| impossible("an unknown topic was changed"))?;
        topic.partitions.get_mut(partition as usize).ok_or_else(|| impossible("an unknown partition was changed"))
    }
}

impl PartitionMeta {
    /// Number of leading files without a record at or after `low`.
    pub(super) fn files_below(&self, low: i64) -> usize {
        let end_of = |at: usize| self.segments.get(at + 1).map_or(self.next, |s| s.base);
        (0..self.segments.len()).take_while(|&at| end_of(at) <= low).count()
    }

    fn is_sound(&self) -> bool {
        let range = self.low >= 0 && self.low <= self.next;
        let first = self.segments.first().map_or(self.low == self.next, |s| s.base >= 0 && s.base <= self.low);
        let last = self.segments.last().is_none_or(|s| s.base < self.next);
        range && first && last && self.segments.is_sorted_by(|a, b| a.base < b.base)
    }

    pub(super) fn trim(&mut self, low: i64) -> Result<()> {
        if low < self.low || low > self.next {
            return Err(impossible("records were deleted that do not exist"));
        }
        self.segments.drain(..self.files_below(low));
        self.low = low;
        Ok(())
    }

    pub(super) fn compact(&mut self, compacted: i64, old: &[SegmentMeta], new: &[SegmentMeta]) -> Result<()> {
        if old.is_empty() || !self.segments.starts_with(old) || new.first().is_none_or(|s| s.base != old[0].base) {
            return Err(impossible("files were replaced that do not exist"));
        }
        self.segments.splice(..old.len(), new.iter().copied());
        self.compacted = compacted;
        match self.is_sound() {
            true => Ok(()),
            false => Err(impossible("files were replaced by others of a different range")),
        }
    }
}

pub(super) fn is_legal(name: &str, partitions: usize) -> bool {
    is_legal_name(name) && (1..=PARTITIONS_MAX as usize).contains(&partitions)
}

pub(super) fn impossible(what: &str) -> Error {
    Error::io("the journal contradicts itself").with_detail(what)
}
