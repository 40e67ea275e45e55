//! The settings of a topic that the logs of this process act on. Names, meanings and defaults are Kafka's (`TopicConfig`), with
//! one exception: nothing expires by default, since event times near 1970 are common in tests and examples.

use crate::error::{Error, Result};
use crate::log::size;
use std::collections::BTreeMap;

/// Kafka's default for `delete.retention.ms`: a day.
const DELETE_RETENTION_MS: i64 = 24 * 3_600_000;
/// Smallest `segment.bytes`: Kafka's limit is 1 MiB in new versions, 14 bytes in old ones; every file takes a descriptor.
const SEGMENT_BYTES_MIN: i64 = 1024;

/// The typed settings of a topic. All others are stored and shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TopicConfig {
    /// `retention.ms`, if the policy contains `delete`: older records are deleted.
    pub(super) age_ms: Option<i64>,
    /// `retention.bytes`, if the policy contains `delete`: bytes retained per partition.
    pub(super) bytes: Option<u64>,
    /// `segment.bytes`.
    pub(super) segment_bytes: Option<u64>,
    /// Whether the policy contains `compact`: the last record of each key is retained.
    pub(super) compact: bool,
    /// `delete.retention.ms`: tombstones are retained at least this long.
    pub(super) tombstones_ms: i64,
    /// `max.message.bytes`: limit of a record.
    pub(super) record_bytes: usize,
    /// `min.cleanable.dirty.ratio`, if it is set: compaction starts when this share of a partition is not compacted yet.
    pub(super) dirty_ratio: Option<f64>,
}

impl TopicConfig {
    /// Reads the settings; an error names the invalid one.
    pub(super) fn of(config: &BTreeMap<String, String>) -> Result<TopicConfig> {
        let text = |key: &str| config.get(key).map(|v| v.trim());
        let policy = text("cleanup.policy").unwrap_or("delete");
        let (mut delete, mut compact) = (false, false);
        for word in policy.split(',').map(str::trim) {
            match word {
                "delete" => delete = true,
                "compact" => compact = true,
                _ => return Err(wrong("cleanup.policy", policy, "'delete', 'compact' or both with a comma")),
            }
        }
        // -1 means "without limit" in Kafka.
        let age_ms = number(config, "retention.ms", -1)?.filter(|ms| *ms >= 0 && delete);
        let bytes = number(config, "retention.bytes", -1)?.filter(|b| *b >= 0 && delete).map(|b| b as u64);
        let segment_bytes = number(config, "segment.bytes", SEGMENT_BYTES_MIN)?.map(|b| b as u64);
        let tombstones_ms = number(config, "delete.retention.ms", 0)?.unwrap_or(DELETE_RETENTION_MS);
        let dirty_ratio = match text("min.cleanable.dirty.ratio") {
            None => None,
            Some(text) => {
                let ratio = text.parse().ok().filter(|r| (0.0..=1.0).contains(r));
                Some(ratio.ok_or_else(|| wrong("min.cleanable.dirty.ratio", text, "a number from 0 to 1"))?)
            }
        };
        // Only checked here: `size::limit` reads it.
        number(config, size::MAX_MESSAGE_BYTES, 0)?;
        let record_bytes = size::limit(config);
        Ok(TopicConfig { age_ms, bytes, segment_bytes, compact, tombstones_ms, record_bytes, dirty_ratio })
    }

    /// Whether retention or compaction applies to this topic.
    pub(super) fn needs_maintenance(&self) -> bool {
        self.compact || self.age_ms.is_some() || self.bytes.is_some()
    }
}

fn number(config: &BTreeMap<String, String>, key: &str, least: i64) -> Result<Option<i64>> {
    let Some(text) = config.get(key) else { return Ok(None) };
    let number = text.trim().parse().ok().filter(|n: &i64| *n >= least);
    number.map(Some).ok_or_else(|| wrong(key, text, &format!("a whole number of at least {least}")))
}

fn wrong(key: &str, value: &str, wanted: &str) -> Error {
    Error::statement(format!("topic setting {key} cannot be '{value}'")).with_detail(format!("it is {wanted}"))
}
