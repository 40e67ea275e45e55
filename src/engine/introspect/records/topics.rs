//! Topics and the streams and tables over them, with who reads and writes each.

use crate::catalog::{Catalog, Source};
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::log::{Sharing, TopicInfo, TopicPartition, Upkeep, Watermarks};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a list waits for the offsets of its topics; those that have not come by then are unknown.
const OFFSETS_WAIT: Duration = Duration::from_secs(2);
/// A topic's setting of how long records are kept, and what a topic without it has.
const RETENTION: &str = "retention.ms";

/// A stream or table, and the queries at it.
#[derive(Clone, Debug)]
pub struct SourceFacts {
    /// The stream or table.
    pub source: Arc<Source>,
    /// Ids of queries that read it.
    pub readers: Vec<String>,
    /// Ids of queries that write it.
    pub writers: Vec<String>,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct TopicFacts {
    /// Name, partitions, settings.
    pub info: TopicInfo,
    /// Offsets by partition; `None` = unknown.
    pub offsets: Option<Vec<Watermarks>>,
    /// Bytes by partition; `None` = the log does not report them.
    pub bytes: Option<Vec<u64>>,
    /// Ids of queries that read it.
    pub read_by: Vec<String>,
    /// Ids of queries that write it.
    pub written_by: Vec<String>,
    /// It belongs to the engine.
    pub is_internal: bool,
}

impl TopicFacts {
    /// Offsets between the lowest and the highest, over all partitions.
    pub fn records(&self) -> Option<i64> {
        self.offsets.as_ref().map(|all| all.iter().map(|marks| marks.high - marks.low).sum())
    }

    /// Bytes of all partitions.
    pub fn total_bytes(&self) -> Option<u64> {
        self.bytes.as_ref().map(|all| all.iter().sum())
    }

    /// How long its records are kept; `None` = unknown, or for ever.
    pub fn retention_ms(&self) -> Option<i64> {
        self.info.config.get(RETENTION).and_then(|ms| ms.parse().ok()).filter(|ms| *ms >= 0)
    }
}

impl Engine {
    /// Streams and tables that the user may read, by name.
    pub fn source_facts(&self, session: &Session) -> Vec<SourceFacts> {
        let catalog = self.catalog();
        let seen = catalog.all().filter(|source| self.may_see(session, source));
        let facts = |source: &Arc<Source>| {
            let may = |id: &str| self.may_see_query(session, &catalog, id);
            let readers = catalog.readers(&source.name).map(|query| query.id.clone()).filter(|id| may(id));
            let writers = catalog.writers(&source.name).map(|query| query.id.clone()).filter(|id| may(id));
            SourceFacts { source: source.clone(), readers: readers.collect(), writers: writers.collect() }
        };
        seen.map(facts).collect()
    }

    /// Topics that the user may read, by name.
    pub fn topic_facts(&self, session: &Session) -> Result<Vec<TopicFacts>> {
        let mut topics = self.log().topics()?;
        topics.retain(|topic| self.check_topic(session, &topic.name).is_ok());
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let catalog = self.catalog();
        let deadline = self.clock().monotonic() + OFFSETS_WAIT;
        let facts = |info: TopicInfo| {
            let is_late = self.clock().monotonic() > deadline;
            let offsets = if is_late { None } else { self.offsets_of(&info).ok() };
            self.topic_facts_of(&catalog, info, offsets)
        };
        Ok(topics.into_iter().map(facts).collect())
    }

    /// One topic.
    pub fn topic_fact(&self, topic: &str, session: &Session) -> Result<TopicFacts> {
        self.check_topic(session, topic)?;
        let info = self.log().topic(topic)?.ok_or_else(|| {
            Error::not_found(format!("topic {topic} does not exist")).with_hint("GET /api/v1/topics lists what exists")
        })?;
        let offsets = self.offsets_of(&info)?;
        Ok(self.topic_facts_of(&self.catalog(), info, Some(offsets)))
    }

    /// Sizes of the topics that the user may read, by name; none where the log does not report them.
    pub fn topic_sizes(&self, session: &Session) -> Result<Vec<(String, u64)>> {
        // Retention and compaction are this process's where sizes are known: a broker is not asked for a list in vain.
        if self.log().upkeep().is_none() {
            return Ok(Vec::new());
        }
        let rights = &session.principal().topics;
        let topics = self.log().topics()?.into_iter().filter(|topic| rights.include(&topic.name));
        Ok(topics.filter_map(|topic| self.bytes_of(&topic).map(|bytes| (topic.name, bytes))).collect())
    }

    /// What retention and compaction have done in this process; `None` = they are the broker's.
    pub fn upkeep(&self) -> Option<Upkeep> {
        self.log().upkeep()
    }

    /// What queries and other readers have taken from each other: batches as they are in the log (`None` = each reads for itself), and
    /// their rows.
    pub fn sharing(&self) -> (Option<Sharing>, Sharing) {
        (self.log().sharing(), self.inner.shared_rows.counts())
    }

    /// Bytes of the rows that are kept for queries that have not taken them yet.
    pub fn shared_rows_bytes(&self) -> usize {
        self.inner.shared_rows.bytes()
    }

    /// Size of the records of a topic; `None` = the log does not report it.
    pub(in crate::engine) fn bytes_of(&self, topic: &TopicInfo) -> Option<u64> {
        self.sizes_of(topic).map(|sizes| sizes.iter().sum())
    }

    /// The same by partition.
    fn sizes_of(&self, topic: &TopicInfo) -> Option<Vec<u64>> {
        let place = |partition| TopicPartition::new(topic.name.as_str(), partition);
        (0..topic.partitions as i32).map(|p| self.log().partition_bytes(&place(p)).ok().flatten()).collect()
    }

    fn offsets_of(&self, info: &TopicInfo) -> Result<Vec<Watermarks>> {
        let place = |partition| TopicPartition::new(info.name.as_str(), partition);
        (0..info.partitions as i32).map(|partition| self.log().watermarks(&place(partition))).collect()
    }

    fn topic_facts_of(&self, catalog: &Catalog, info: TopicInfo, offsets: Option<Vec<Watermarks>>) -> TopicFacts {
        let is_its = |name: &String| catalog.source(name).is_some_and(|source| source.topic == info.name);
        let (mut read_by, mut written_by) = (Vec::new(), Vec::new());
        for query in catalog.queries() {
            if query.reads.iter().any(is_its) {
                read_by.push(query.id.clone());
            }
            if is_its(&query.writes) || query.late_topic.as_ref() == Some(&info.name) {
                written_by.push(query.id.clone());
            }
        }
        let is_internal = self.topic_rules().is_internal(&info.name);
        let bytes = self.sizes_of(&info);
        TopicFacts { info, offsets, bytes, read_by, written_by, is_internal }
    }

    /// The settings of the log, of properties and of the server, each with its value and where that comes from.
    pub fn property_facts(&self, session: &Session) -> Vec<(String, String, &'static str, Option<&'static str>)> {
        let effects: BTreeMap<&str, Option<&'static str>> =
            crate::config::PROPERTIES.iter().map(|property| (property.name, property.without_effect)).collect();
        let rows = self.property_rows(session).into_iter();
        rows.map(|(name, value, origin)| {
            let effect = effects.get(name.as_str()).copied().flatten();
            (name, value, origin, effect)
        })
        .collect()
    }
}
