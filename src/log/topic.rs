//! What a topic is: made by a [`TopicSpec`], described by a [`TopicInfo`], told from its successor by an [`Identity`].

use std::collections::BTreeMap;

/// Identity of a topic: another one after the topic was deleted and created again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u128);

/// What to create a topic with.
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

    /// With one more setting.
    pub fn with(mut self, key: &str, value: impl ToString) -> TopicSpec {
        self.config.insert(key.to_owned(), value.to_string());
        self
    }
}

/// What a topic is.
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

/// What tells whether a topic is still the same one, and whether it has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Identity.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
}
