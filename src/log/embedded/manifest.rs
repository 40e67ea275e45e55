//! What is committed, as a value: topics with the ends of their files, groups with their offsets. The journal is a list
//! of changes to it, and a snapshot of it.

use super::entry::{Change, Commit};
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
    /// The state after one more change; an impossible one means that the journal is not ours or is damaged.
    pub(super) fn apply(&mut self, change: &Change<'_>) -> Result<()> {
        match change {
            Change::Snapshot(whole) => {
                whole.check()?;
                *self = (**whole).clone();
            }
            Change::CreateTopic { id, name, partitions, config } => {
                if !is_legal(name, *partitions as usize) {
                    return Err(impossible("a topic was created that cannot be"));
                }
                let partitions = vec![PartitionMeta::default(); *partitions as usize];
                let meta = TopicMeta { name: name.clone(), config: config.clone(), partitions };
                if self.topics.insert(*id, meta).is_some() {
                    return Err(impossible("a topic was created twice"));
                }
            }
            Change::DeleteTopic { id } => {
                self.topics.remove(id).ok_or_else(|| impossible("an unknown topic was deleted"))?;
                for group in self.groups.values_mut() {
                    group.offsets.retain(|(topic, _), _| topic != id);
                }
            }
            Change::Commit(commit) => self.commit(commit)?,
            Change::DeleteGroup { group } => {
                self.groups.remove(group);
            }
            Change::Trim { topic, partition, low } => self.partition(*topic, *partition)?.trim(*low)?,
            Change::Compact { topic, partition, compacted, old, new } => {
                self.partition(*topic, *partition)?.compact(*compacted, old, new)?;
            }
        }
        Ok(())
    }

    /// Could this have come about? What a journal says becomes names of files and offsets that are counted with.
    fn check(&self) -> Result<()> {
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

    fn partition(&mut self, topic: u128, partition: u32) -> Result<&mut PartitionMeta> {
        let topic = self.topics.get_mut(&topic).ok_or_else(|| impossible("an unknown topic was changed"))?;
        topic.partitions.get_mut(partition as usize).ok_or_else(|| impossible("an unknown partition was changed"))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<()> {
        for part in &commit.parts {
            let topic = self.topics.get_mut(&part.topic).ok_or_else(|| impossible("an unknown topic was written"))?;
            let partition = topic.partitions.get_mut(part.partition as usize);
            let partition = partition.ok_or_else(|| impossible("an unknown partition was written"))?;
            let known = partition.segments.last_mut().filter(|s| s.base == part.segment);
            match known {
                _ if part.next <= partition.next => return Err(impossible("a commit goes back")),
                Some(segment) if segment.end == part.start => segment.end = part.end,
                None if part.start == 0 && part.segment == partition.next => {
                    partition.segments.push(SegmentMeta { base: part.segment, end: part.end, generation: 0 });
                }
                _ => return Err(impossible("a commit does not continue its partition")),
            }
            partition.next = part.next;
        }
        if let Some(progress) = &commit.progress {
            let group = self.groups.entry(progress.group.clone()).or_default();
            for (topic, partition, offset) in &progress.offsets {
                group.offsets.insert((*topic, *partition), offset.clone());
            }
            group.metadata = Some(progress.metadata.clone());
        }
        Ok(())
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

    fn trim(&mut self, low: i64) -> Result<()> {
        if low < self.low || low > self.next {
            return Err(impossible("records were deleted that are not there"));
        }
        self.segments.drain(..self.files_below(low));
        self.low = low;
        Ok(())
    }

    fn compact(&mut self, compacted: i64, old: &[SegmentMeta], new: &[SegmentMeta]) -> Result<()> {
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

fn is_legal(name: &str, partitions: usize) -> bool {
    is_legal_name(name) && (1..=PARTITIONS_MAX as usize).contains(&partitions)
}

fn impossible(what: &str) -> Error {
    Error::io("the journal contradicts itself").with_detail(what)
}
