//! What is committed, as a value: topics with the ends of their files, groups with their offsets. The journal is a list
//! of changes to it, and a snapshot of it.

use super::entry::{Change, Commit};
use crate::error::{Error, Result};
use crate::log::{CommittedOffset, TopicId, TopicInfo};
use std::collections::BTreeMap;

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
}

/// What a query has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupMeta {
    /// Input offsets by topic identity and partition: a topic created again starts without any.
    pub(super) offsets: BTreeMap<(u128, i32), CommittedOffset>,
    /// Text kept with the query.
    pub(super) blob: Option<String>,
}

impl Manifest {
    /// The state after one more change; an impossible one means that the journal is not ours or is damaged.
    pub(super) fn apply(&mut self, change: &Change<'_>) -> Result<()> {
        match change {
            Change::Snapshot(whole) => *self = (**whole).clone(),
            Change::CreateTopic { id, name, partitions, config } => {
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
        }
        Ok(())
    }

    /// A topic as the trait describes it.
    pub(super) fn info(id: u128, meta: &TopicMeta) -> TopicInfo {
        let partitions = meta.partitions.len() as u32;
        TopicInfo { name: meta.name.clone(), id: TopicId(id), partitions, replicas: 1, config: meta.config.clone() }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<()> {
        for part in &commit.parts {
            let topic = self.topics.get_mut(&part.topic).ok_or_else(|| impossible("an unknown topic was written"))?;
            let partition = topic.partitions.get_mut(part.partition as usize);
            let partition = partition.ok_or_else(|| impossible("an unknown partition was written"))?;
            let known = partition.segments.last_mut().filter(|s| s.base == part.segment);
            match known {
                Some(segment) if segment.end == part.start => segment.end = part.end,
                None if part.start == 0 && part.segment == partition.next => {
                    partition.segments.push(SegmentMeta { base: part.segment, end: part.end });
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
            group.blob = Some(progress.blob.clone());
        }
        Ok(())
    }
}

fn impossible(what: &str) -> Error {
    Error::io("the journal contradicts itself").with_detail(what)
}
