//! Topics: created from a [`TopicSpec`], described by a [`TopicInfo`], distinguished from a recreated namesake by an
//! [`Identity`]. The rules for names are Kafka's (`org.apache.kafka.common.internals.Topic`), whichever log holds the topic.

use super::TopicPartition;
use super::topic_config::TopicConfig;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Most partitions of one topic in a log of this process: each costs memory and, when written, a file.
pub(super) const PARTITIONS_MAX: u32 = 10_000;
/// Longest name: `Topic.MAX_NAME_LENGTH`.
const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Changed settings of a topic: a value sets one, `None` resets it to its default.
pub type TopicChanges = BTreeMap<String, Option<String>>;

/// Topic id (KIP-516): a topic that is deleted and recreated has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u128);

/// The properties of a topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions, at least 1.
    pub partitions: u32,
    /// Replication factor; `None` = the broker's default. The embedded log has one copy.
    pub replicas: Option<u16>,
    /// Topic settings such as `cleanup.policy`, `retention.ms`.
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A topic with `partitions` partitions and default settings.
    pub fn new(name: impl Into<String>, partitions: u32) -> TopicSpec {
        TopicSpec { name: name.into(), partitions, replicas: None, config: BTreeMap::new() }
    }

    /// Adds a setting.
    pub fn with(mut self, key: &str, value: impl ToString) -> TopicSpec {
        self.config.insert(key.to_owned(), value.to_string());
        self
    }
}

/// The properties of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Name.
    pub name: String,
    /// Identity.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each record.
    pub replicas: u16,
    /// Settings that are not the default.
    pub config: BTreeMap<String, String>,
}

/// What shows whether a topic is still the same one, and whether it has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Identity.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
}

/// The error of a deletion of records that have not been written yet.
pub(super) fn beyond_the_end(partition: &TopicPartition, before: i64, high: i64) -> Error {
    let TopicPartition { topic, partition } = partition;
    Error::statement(format!("records before offset {before} of {topic}-{partition} cannot be deleted"))
        .with_detail(format!("the partition ends at offset {high}"))
}

/// Is this a topic name (`Topic.validate`)?
pub(super) fn is_legal_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

/// Can a log of this process create such a topic?
pub(super) fn check_spec(spec: &TopicSpec) -> Result<()> {
    let name = &spec.name;
    if !is_legal_name(name) {
        return Err(Error::statement(format!("topic name '{name}' is not legal")).with_detail(format!(
            "a name has 1 to {TOPIC_NAME_BYTES_MAX} letters, digits, '.', '_' and '-', and is not '.' or '..'"
        )));
    }
    TopicConfig::of(&spec.config)?;
    if spec.partitions == 0 || spec.partitions > PARTITIONS_MAX {
        let count = spec.partitions;
        return Err(Error::statement(format!("topic {name} cannot have {count} partitions"))
            .with_detail(format!("1 to {PARTITIONS_MAX} are possible")));
    }
    Ok(())
}

/// The settings of a topic after these changes, if a topic can have them; `None` resets one to its default.
pub(super) fn altered(config: &BTreeMap<String, String>, changes: &TopicChanges) -> Result<BTreeMap<String, String>> {
    let mut config = config.clone();
    for (name, value) in changes {
        match value {
            Some(value) => drop(config.insert(name.clone(), value.clone())),
            None => drop(config.remove(name)),
        }
    }
    TopicConfig::of(&config)?;
    Ok(config)
}

/// A partition that is named has to exist.
pub fn check_partition(topic: &str, named: Option<u32>, count: u32) -> Result<()> {
    match named.filter(|named| *named >= count) {
        None => Ok(()),
        Some(named) => Err(Error::not_found(format!("topic {topic} has no partition {named}"))
            .with_detail(format!("it has {count} partitions, numbered from 0"))),
    }
}
