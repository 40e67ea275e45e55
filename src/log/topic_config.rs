//! What a topic's settings keep: Kafka's names and meanings, and Kafka's defaults but for one: nothing expires unless asked
//! for, since event times near 1970 are data here.

use crate::error::{Error, Result};
use crate::log::size;
use std::collections::BTreeMap;

/// Kafka's default for `delete.retention.ms`: a day.
const DELETE_RETENTION_MS: i64 = 24 * 3_600_000;
/// Kafka's default for `min.cleanable.dirty.ratio`.
const DIRTY_RATIO: f64 = 0.5;
/// Smallest `segment.bytes`: Kafka's limit is 1 MiB on new versions, 14 bytes on old ones; every file costs a descriptor.
const SEGMENT_BYTES_MIN: i64 = 1024;

/// The settings of one topic that the log acts on. All others are stored and shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TopicConfig {
    /// `retention.ms`, where the policy holds `delete`: records older than this are dropped.
    pub(super) age_ms: Option<i64>,
    /// `retention.bytes`, where the policy holds `delete`: so much of each partition is kept.
    pub(super) bytes: Option<u64>,
    /// `segment.bytes`.
    pub(super) segment_bytes: Option<u64>,
    /// The policy holds `compact`: of each key the last record is kept.
    pub(super) compact: bool,
    /// `delete.retention.ms`: tombstones are kept at least so long.
    pub(super) tombstones_ms: i64,
    /// `max.message.bytes`: no record is larger.
    pub(super) record_bytes: usize,
    /// `min.cleanable.dirty.ratio`: compaction waits until this share of a partition is new.
    pub(super) dirty_ratio: f64,
}

impl TopicConfig {
    /// Reads them; an error names the setting.
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
        // -1 is Kafka's word for "without limit".
        let age_ms = number(config, "retention.ms", -1)?.filter(|ms| *ms >= 0 && delete);
        let bytes = number(config, "retention.bytes", -1)?.filter(|b| *b >= 0 && delete).map(|b| b as u64);
        let segment_bytes = number(config, "segment.bytes", SEGMENT_BYTES_MIN)?.map(|b| b as u64);
        let tombstones_ms = number(config, "delete.retention.ms", 0)?.unwrap_or(DELETE_RETENTION_MS);
        let dirty_ratio = match text("min.cleanable.dirty.ratio") {
            None => DIRTY_RATIO,
            Some(text) => text
                .parse()
                .ok()
                .filter(|r| (0.0..=1.0).contains(r))
                .ok_or_else(|| wrong("min.cleanable.dirty.ratio", text, "a number from 0 to 1"))?,
        };
        // Checked, and read where records of all logs are measured.
        number(config, size::MAX_MESSAGE_BYTES, 0)?;
        let record_bytes = size::limit(config);
        Ok(TopicConfig { age_ms, bytes, segment_bytes, compact, tombstones_ms, record_bytes, dirty_ratio })
    }

    /// Has the maintenance anything to do for this topic?
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
