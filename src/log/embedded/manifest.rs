//! What is committed, as a value: topics with the ends of their files, groups with their offsets. The journal is a list
//! of changes to it, and a snapshot of it.

use crate::error::{Error, Result};
use crate::log::topic::{PARTITIONS_MAX, is_legal_name};
use crate::log::{CommittedOffset, TopicId, TopicInfo};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the journal knows.
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
    /// First offset kept.
    pub(super) low: i64,
    /// Offset of the next record.
    pub(super) next: i64,
    /// Offset up to which the log was compacted: of each key at most one record is left there.
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
    /// How often its records were written anew by a compaction: part of its name.
    pub(super) generation: u32,
}

/// What a query has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupMeta {
    /// Input offsets by topic identity and partition: a topic created again starts without any.
    pub(super) offsets: BTreeMap<(u128, i32), CommittedOffset>,
    /// Text kept with the query.
    pub(super) metadata: Option<String>,
}

impl Manifest {
    /// Could this have come about? What a journal says becomes names of files and offsets that are counted with.
    pub(super) fn check(&self) -> Result<()> {
        let topics = || self.topics.values();
        let names: BTreeSet<&str> = topics().map(|t| t.name.as_str()).collect();
        let legal = names.len() == self.topics.len() && topics().all(|t| is_legal(&t.name, t.partitions.len()));
        match legal && topics().flat_map(|t| &t.partitions).all(PartitionMeta::is_sound) {
            true => Ok(()),
            false => Err(impossible("a snapshot holds topics that cannot be")),
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
    /// How many of the first files hold nothing at or after `low`.
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
            return Err(impossible("records were deleted that are not there"));
        }
        self.segments.drain(..self.files_below(low));
        self.low = low;
        Ok(())
    }

    pub(super) fn compact(&mut self, compacted: i64, old: &[SegmentMeta], new: &[SegmentMeta]) -> Result<()> {
        if old.is_empty() || !self.segments.starts_with(old) || new.first().is_none_or(|s| s.base != old[0].base) {
            return Err(impossible("files were replaced that are not there"));
        }
        self.segments.splice(..old.len(), new.iter().copied());
        self.compacted = compacted;
        match self.is_sound() {
            true => Ok(()),
            false => Err(impossible("files were replaced by others that do not fit")),
        }
    }
}

pub(super) fn is_legal(name: &str, partitions: usize) -> bool {
    is_legal_name(name) && (1..=PARTITIONS_MAX as usize).contains(&partitions)
}

pub(super) fn impossible(what: &str) -> Error {
    Error::io("the journal contradicts itself").with_detail(what)
}
