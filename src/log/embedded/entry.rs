//! The changes in the journal, what each does to the manifest, and their encoding: a kind, then varints, texts and ids in the
//! order of the fields.

use super::bytes::{Cursor, put_bytes, put_varint};
use super::manifest::{GroupMeta, Manifest, PartitionMeta, SegmentMeta, TopicMeta, impossible, is_legal};
use crate::error::Result;
use crate::log::CommittedOffset;
use std::collections::BTreeMap;

/// One change of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// The whole state: the first entry of a journal file.
    Snapshot(Box<Manifest>),
    /// A topic without records.
    CreateTopic { id: u128, name: String, partitions: u32, config: BTreeMap<String, String> },
    /// Replaces the settings of a topic.
    AlterTopic { id: u128, config: BTreeMap<String, String> },
    /// Deletes a topic with its records and committed offsets.
    DeleteTopic { id: u128 },
    /// A transaction.
    Commit(Commit<'a>),
    /// Deletes a group's offsets and metadata.
    DeleteGroup { group: String },
    /// Deletes the records below an offset.
    Trim { topic: u128, partition: u32, low: i64 },
    /// Replaces the first files of a partition by those of a compaction.
    Compact { topic: u128, partition: u32, compacted: i64, old: Vec<SegmentMeta>, new: Vec<SegmentMeta> },
}

/// Records in any number of partitions, and the progress of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Commit<'a> {
    pub(super) parts: Vec<Part<'a>>,
    pub(super) progress: Option<Progress>,
}

/// The records of one partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) topic: u128,
    pub(super) partition: u32,
    /// The file, by its first offset.
    pub(super) segment: i64,
    /// Its bytes in the file.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Offset of the partition's next record.
    pub(super) next: i64,
    /// The bytes themselves, if the file was not synced at the commit: a start writes them again.
    pub(super) data: Option<&'a [u8]>,
}

/// A query's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) group: String,
    pub(super) offsets: Vec<(u128, i32, CommittedOffset)>,
    pub(super) metadata: String,
}

impl Change<'_> {
    /// Appends the change's bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Change::Snapshot(manifest) => {
                out.push(1);
                put_manifest(out, manifest);
            }
            Change::CreateTopic { id, name, partitions, config } => {
                out.push(2);
                out.extend_from_slice(&id.to_le_bytes());
                put_bytes(out, name.as_bytes());
                put_varint(out, i64::from(*partitions));
                put_config(out, config);
            }
            Change::DeleteTopic { id } => {
                out.push(3);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Change::Commit(commit) => {
                out.push(4);
                put_commit(out, commit);
            }
            Change::DeleteGroup { group } => {
                out.push(5);
                put_bytes(out, group.as_bytes());
            }
            Change::Trim { topic, partition, low } => {
                out.push(6);
                out.extend_from_slice(&topic.to_le_bytes());
                put_varint(out, i64::from(*partition));
                put_varint(out, *low);
            }
            Change::Compact { topic, partition, compacted, old, new } => {
                out.push(7);
                out.extend_from_slice(&topic.to_le_bytes());
                put_varint(out, i64::from(*partition));
                put_varint(out, *compacted);
                put_segments(out, old);
                put_segments(out, new);
            }
            Change::AlterTopic { id, config } => {
                out.push(8);
                out.extend_from_slice(&id.to_le_bytes());
                put_config(out, config);
            }
        }
    }

    /// Reads a change; `None` if these bytes are not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Change<'_>> {
        let mut cursor = Cursor::new(bytes);
        let c = &mut cursor;
        let change = match c.byte()? {
            1 => Change::Snapshot(Box::new(manifest(c)?)),
            2 => Change::CreateTopic {
                id: c.id()?,
                name: c.text()?.to_owned(),
                partitions: u32::try_from(c.varint()?).ok()?,
                config: config(c)?,
            },
            3 => Change::DeleteTopic { id: c.id()? },
            4 => Change::Commit(commit(c)?),
            5 => Change::DeleteGroup { group: c.text()?.to_owned() },
            6 => Change::Trim { topic: c.id()?, partition: u32::try_from(c.varint()?).ok()?, low: c.varint()? },
            7 => Change::Compact {
                topic: c.id()?,
                partition: u32::try_from(c.varint()?).ok()?,
                compacted: c.varint()?,
                old: segments(c)?,
                new: segments(c)?,
            },
            8 => Change::AlterTopic { id: c.id()?, config: config(c)? },
            _ => return None,
        };
        cursor.is_done().then_some(change)
    }
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
            Change::AlterTopic { id, config } => {
                let topic = self.topics.get_mut(id).ok_or_else(|| impossible("an unknown topic was altered"))?;
                topic.config.clone_from(config);
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

fn put_config(out: &mut Vec<u8>, config: &BTreeMap<String, String>) {
    put_varint(out, config.len() as i64);
    for (key, value) in config {
        put_bytes(out, key.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

fn config(c: &mut Cursor<'_>) -> Option<BTreeMap<String, String>> {
    (0..c.count()?).map(|_| Some((c.text()?.to_owned(), c.text()?.to_owned()))).collect()
}

fn put_offset(out: &mut Vec<u8>, topic: u128, partition: i32, committed: &CommittedOffset) {
    out.extend_from_slice(&topic.to_le_bytes());
    put_varint(out, i64::from(partition));
    put_varint(out, committed.offset);
    put_bytes(out, committed.metadata.as_bytes());
}

fn offset(c: &mut Cursor<'_>) -> Option<(u128, i32, CommittedOffset)> {
    let (topic, partition) = (c.id()?, i32::try_from(c.varint()?).ok()?);
    Some((topic, partition, CommittedOffset { offset: c.varint()?, metadata: c.text()?.to_owned() }))
}

fn put_commit(out: &mut Vec<u8>, commit: &Commit<'_>) {
    put_varint(out, commit.parts.len() as i64);
    for part in &commit.parts {
        out.extend_from_slice(&part.topic.to_le_bytes());
        put_varint(out, i64::from(part.partition));
        put_varint(out, part.segment);
        put_varint(out, part.start as i64);
        put_varint(out, part.end as i64);
        put_varint(out, part.next);
        out.push(u8::from(part.data.is_some()));
        if let Some(data) = part.data {
            put_bytes(out, data);
        }
    }
    out.push(u8::from(commit.progress.is_some()));
    if let Some(progress) = &commit.progress {
        put_bytes(out, progress.group.as_bytes());
        put_varint(out, progress.offsets.len() as i64);
        for (topic, partition, committed) in &progress.offsets {
            put_offset(out, *topic, *partition, committed);
        }
        put_bytes(out, progress.metadata.as_bytes());
    }
}

fn commit<'a>(c: &mut Cursor<'a>) -> Option<Commit<'a>> {
    let parts = (0..c.count()?).map(|_| part(c)).collect::<Option<Vec<_>>>()?;
    let progress = match c.byte()? {
        0 => None,
        _ => {
            let group = c.text()?.to_owned();
            let offsets = (0..c.count()?).map(|_| offset(c)).collect::<Option<Vec<_>>>()?;
            Some(Progress { group, offsets, metadata: c.text()?.to_owned() })
        }
    };
    Some(Commit { parts, progress })
}

fn part<'a>(c: &mut Cursor<'a>) -> Option<Part<'a>> {
    let topic = c.id()?;
    let partition = u32::try_from(c.varint()?).ok()?;
    let segment = c.varint()?;
    let start = u64::try_from(c.varint()?).ok()?;
    let end = u64::try_from(c.varint()?).ok()?;
    let next = c.varint()?;
    let data = if c.byte()? == 0 { None } else { Some(c.bytes()?) };
    let whole = end >= start && data.is_none_or(|d| d.len() as u64 == end - start);
    whole.then_some(Part { topic, partition, segment, start, end, next, data })
}

fn put_manifest(out: &mut Vec<u8>, manifest: &Manifest) {
    put_varint(out, manifest.topics.len() as i64);
    for (id, topic) in &manifest.topics {
        out.extend_from_slice(&id.to_le_bytes());
        put_bytes(out, topic.name.as_bytes());
        put_config(out, &topic.config);
        put_varint(out, topic.partitions.len() as i64);
        for partition in &topic.partitions {
            put_varint(out, partition.low);
            put_varint(out, partition.next);
            put_varint(out, partition.compacted);
            put_segments(out, &partition.segments);
        }
    }
    put_varint(out, manifest.groups.len() as i64);
    for (name, group) in &manifest.groups {
        put_bytes(out, name.as_bytes());
        put_varint(out, group.offsets.len() as i64);
        for ((topic, partition), committed) in &group.offsets {
            put_offset(out, *topic, *partition, committed);
        }
        out.push(u8::from(group.metadata.is_some()));
        if let Some(metadata) = &group.metadata {
            put_bytes(out, metadata.as_bytes());
        }
    }
}

fn put_segments(out: &mut Vec<u8>, segments: &[SegmentMeta]) {
    put_varint(out, segments.len() as i64);
    for segment in segments {
        put_varint(out, segment.base);
        put_varint(out, segment.end as i64);
        put_varint(out, i64::from(segment.generation));
    }
}

fn segments(c: &mut Cursor<'_>) -> Option<Vec<SegmentMeta>> {
    let segment = |c: &mut Cursor<'_>| {
        let (base, end) = (c.varint()?, u64::try_from(c.varint()?).ok()?);
        Some(SegmentMeta { base, end, generation: u32::try_from(c.varint()?).ok()? })
    };
    (0..c.count()?).map(|_| segment(c)).collect()
}

fn manifest(c: &mut Cursor<'_>) -> Option<Manifest> {
    let topics = (0..c.count()?).map(|_| Some((c.id()?, topic(c)?))).collect::<Option<_>>()?;
    let groups = (0..c.count()?).map(|_| Some((c.text()?.to_owned(), group(c)?))).collect::<Option<_>>()?;
    Some(Manifest { topics, groups })
}

fn topic(c: &mut Cursor<'_>) -> Option<TopicMeta> {
    let (name, config) = (c.text()?.to_owned(), config(c)?);
    let partitions = (0..c.count()?).map(|_| {
        let (low, next, compacted) = (c.varint()?, c.varint()?, c.varint()?);
        Some(PartitionMeta { low, next, compacted, segments: segments(c)? })
    });
    Some(TopicMeta { name, config, partitions: partitions.collect::<Option<Vec<_>>>()? })
}

fn group(c: &mut Cursor<'_>) -> Option<GroupMeta> {
    let offsets = (0..c.count()?).map(|_| offset(c).map(|(topic, partition, o)| ((topic, partition), o)));
    let offsets = offsets.collect::<Option<_>>()?;
    let metadata = if c.byte()? == 0 { None } else { Some(c.text()?.to_owned()) };
    Some(GroupMeta { offsets, metadata })
}
