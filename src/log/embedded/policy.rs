//! When a file is closed, and when a partition is compacted: pure functions of sizes and ages.
//!
//! ```text
//! delete   |expired|expired|partly expired|live|live|open|   a file spans an eighth of what is retained
//! compact  |clean                |dirty|dirty|dirty|open|    compacted when the dirty files reach two thirds of the clean ones
//! ```
//!
//! Only whole closed files are deleted or compacted, so that large files keep what is no longer retained. Small ones cost a
//! descriptor while they are written and an entry in every snapshot of the journal. A file is therefore closed at a share of what
//! its partition retains: the number of files and the bytes that are kept in vain are both bounded by that share, whatever the rate.
//!
//! Compaction copies the clean records each time. With `d` dirty bytes for each clean one it reads `1 + 2d` and writes up to 1, so
//! that a byte written to the topic costs `(2 + 2d) / d` bytes of reading and writing: 5 at two thirds. While it runs, old and new
//! files exist side by side, `2 + d` and the open file: below three times the live records.
//!
//! Nothing here reads a clock or a file.

use crate::log::topic_config::TopicConfig;
use std::time::Duration;

/// A file of a partition spans this fraction of what the partition retains, in time and in bytes.
const RETAINED_FILES: u64 = 8;
/// No file is closed below this size for its age: a partition with few records needs no more than one.
const CLOSED_BYTES_MIN: u64 = 64 * 1024;
/// Nor below this fraction of its partition: where records do not expire, as with timestamps in the future, the number of files
/// grows with the logarithm of the size, until files have their full size.
const CLOSED_FRACTION: u64 = 32;
/// No file is closed sooner than this after its first record: retention is applied no more often.
const CLOSED_MS_MIN: i64 = 1000;
/// An open file of a compacted topic has at most this fraction of the clean records.
const OPEN_FRACTION: u64 = 8;
/// Dirty bytes below which no compaction is worth the syncs of its files.
const DIRTY_BYTES_MIN: u64 = 1024 * 1024;
/// Dirty bytes for each clean byte at which a partition is compacted, unless the topic sets `min.cleanable.dirty.ratio`.
const DIRTY_SHARE: (u64, u64) = (2, 3);
/// Longest pause between two rounds: Kafka checks retention every 5 minutes (`log.retention.check.interval.ms`).
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Shortest pause between two rounds: it bounds the syncs of a log whose topics are compacted all the time.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The limits of a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Policy {
    segment_bytes: u64,
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    compact: bool,
    dirty_ratio: Option<f64>,
}

/// The files of a partition in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes of the open file, which is the last one.
    pub(super) open: u64,
    /// Bytes of compacted files.
    pub(super) clean: u64,
    /// Bytes of all files.
    pub(super) all: u64,
}

impl Policy {
    /// The limits of a topic whose files have at most `segment_bytes`, unless it sets another limit.
    pub(super) fn of(config: &TopicConfig, segment_bytes: u64) -> Policy {
        Policy {
            segment_bytes: config.segment_bytes.unwrap_or(segment_bytes),
            retention_ms: config.age_ms,
            retention_bytes: config.bytes,
            compact: config.compact,
            dirty_ratio: config.dirty_ratio,
        }
    }

    /// Largest file.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Whether the open file, which has been written for `age_ms`, is closed before it takes another `len` bytes.
    pub(super) fn closes(&self, extent: &Extent, age_ms: i64, len: u64) -> bool {
        if extent.open == 0 {
            return false;
        }
        let mut most = self.segment_bytes;
        if let Some(retained) = self.retention_bytes {
            most = most.min((retained / RETAINED_FILES).max(CLOSED_BYTES_MIN));
        }
        if self.compact {
            most = most.min((extent.clean / OPEN_FRACTION).max(DIRTY_BYTES_MIN / 4));
        }
        let span = self.retention_ms.map(|ms| (ms / RETAINED_FILES as i64).max(CLOSED_MS_MIN));
        let is_old = span.is_some_and(|span| age_ms >= span);
        extent.open + len > most || is_old && extent.open >= CLOSED_BYTES_MIN.max(extent.all / CLOSED_FRACTION)
    }

    /// Whether the closed files are compacted now.
    pub(super) fn compacts(&self, extent: &Extent) -> bool {
        let closed = extent.all - extent.open;
        let dirty = closed - extent.clean;
        match self.dirty_ratio {
            _ if !self.compact || dirty == 0 => false,
            Some(ratio) => dirty as f64 >= ratio * closed as f64,
            None => dirty >= DIRTY_BYTES_MIN.max(extent.clean / DIRTY_SHARE.1 * DIRTY_SHARE.0),
        }
    }

    /// The time until the next round, unless a file is closed before.
    pub(super) fn pause(&self) -> Duration {
        let share = |ms: i64| Duration::from_millis(ms as u64 / (2 * RETAINED_FILES));
        self.retention_ms.map_or(PAUSE_MAX, |ms| share(ms).clamp(PAUSE_MIN, PAUSE_MAX))
    }
}

/// When the compactions of a partition took place: a tombstone is retained for `delete.retention.ms` after the first compaction that
/// read it, so that readers that are slower than the writer see it (KIP-534). Timestamps of records are no measure: they may lie
/// years before the write. What is known here ends with the process, and tombstones then stay so much longer.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    /// End offset and time, in order.
    done: Vec<(i64, i64)>,
}

impl Compactions {
    /// Tombstones below this offset have been retained for `retain_ms`.
    pub(super) fn expired_below(&self, now_ms: i64, retain_ms: i64) -> i64 {
        let expired = |(_, at): &&(i64, i64)| *at <= now_ms.saturating_sub(retain_ms);
        self.done.iter().rev().find(expired).map_or(0, |(until, _)| *until)
    }

    /// Adds one. Those within a sixteenth of the time share an entry, that of the first: the list stays short.
    pub(super) fn add(&mut self, until: i64, now_ms: i64, retain_ms: i64) {
        let expired = self.done.iter().filter(|(_, at)| *at <= now_ms.saturating_sub(retain_ms)).count();
        self.done.drain(..expired.saturating_sub(1));
        let apart = retain_ms / (2 * RETAINED_FILES as i64);
        if self.done.last().is_none_or(|(_, at)| now_ms.saturating_sub(*at) >= apart) {
            self.done.push((until, now_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    const SEGMENT: u64 = 256 * MIB;

    fn policy(settings: &[(&str, &str)]) -> Policy {
        let config: BTreeMap<String, String> =
            settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Policy::of(&TopicConfig::of(&config).expect("the settings are valid"), SEGMENT)
    }

    fn extent(open: u64, clean: u64, all: u64) -> Extent {
        Extent { open, clean, all }
    }

    #[test]
    fn a_file_without_limits_has_its_full_size() {
        let kept = policy(&[]);
        assert!(!kept.closes(&extent(SEGMENT - 1, 0, SEGMENT), i64::MAX, 1));
        assert!(kept.closes(&extent(SEGMENT, 0, SEGMENT), 0, 1));
        assert!(!kept.closes(&extent(0, 0, SEGMENT), 0, 2 * SEGMENT), "a large commit needs a file, too");
        assert!(!kept.compacts(&extent(0, 0, SEGMENT)));
        assert_eq!(kept.pause(), PAUSE_MAX);
    }

    #[test]
    fn a_file_spans_an_eighth_of_the_retention() {
        let minute = policy(&[("retention.ms", "60000")]);
        assert!(!minute.closes(&extent(MIB, 0, 8 * MIB), 7_499, 1));
        assert!(minute.closes(&extent(MIB, 0, 8 * MIB), 7_500, 1));
        assert!(!minute.closes(&extent(64 * KIB - 1, 0, 64 * KIB), 1_000_000, 1), "few bytes");
        assert!(!minute.closes(&extent(MIB, 0, 33 * MIB), 1_000_000, 1), "few of its bytes");
        assert!(!minute.closes(&extent(MIB, 0, MIB), -5, 1), "the clock went back");
        assert_eq!(minute.pause(), Duration::from_millis(3_750));
        assert_eq!(policy(&[("retention.ms", "0")]).pause(), PAUSE_MIN);
        assert_eq!(policy(&[("retention.ms", "604800000")]).pause(), PAUSE_MAX);
        let bytes = policy(&[("retention.bytes", "8388608")]);
        assert!(!bytes.closes(&extent(MIB - 10, 0, 8 * MIB), i64::MAX, 10));
        assert!(bytes.closes(&extent(MIB - 10, 0, 8 * MIB), 0, 11));
    }

    #[test]
    fn what_is_set_comes_first() {
        let set = policy(&[("segment.bytes", "1024"), ("retention.bytes", "3000")]);
        assert!(set.closes(&extent(1_000, 0, 3_000), 0, 25));
        assert!(!set.closes(&extent(1_000, 0, 3_000), 0, 24));
        let ratio = policy(&[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.5")]);
        assert!(ratio.compacts(&extent(0, 10, 20)));
        assert!(!ratio.compacts(&extent(0, 11, 20)));
        let always = policy(&[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")]);
        assert!(always.compacts(&extent(5, 10, 16)));
        assert!(!always.compacts(&extent(5, 10, 15)), "nothing is dirty");
    }

    /// A model of a compacted partition: 4.5 MB/s over `live` bytes, a round a second.
    fn worst(live: u64, retention: &[(&str, &str)]) -> (u64, usize) {
        let policy = policy(retention);
        let (mut files, mut worst, mut most_files) = (vec![(0u64, false)], 0, 0);
        for step in 1..3_000u64 {
            let len = 450_000;
            let open = files.last().expect("there is one").0;
            let sum = |clean: bool| files.iter().filter(|f| f.1 || !clean).map(|f| f.0).sum::<u64>();
            let extent = Extent { open, clean: sum(true), all: sum(false) };
            match policy.closes(&extent, 0, len) {
                true => files.push((len, false)),
                false => files.last_mut().expect("there is one").0 += len,
            }
            let open = files.last().expect("there is one").0;
            let sum = |clean: bool| files.iter().filter(|f| f.1 || !clean).map(|f| f.0).sum::<u64>();
            let extent = Extent { open, clean: sum(true), all: sum(false) };
            let mut peak = extent.all;
            if step % 10 == 0 && policy.compacts(&extent) {
                let new = live.min(extent.all - open);
                peak += new;
                files = vec![(new, true), (open, false)];
            }
            worst = worst.max(peak);
            most_files = most_files.max(files.len());
        }
        (worst, most_files)
    }

    #[test]
    fn a_compacted_topic_stays_below_three_times_its_live_records() {
        for live in [30 * MIB, 100 * MIB, 400 * MIB] {
            let (bytes, files) = worst(live, &[("cleanup.policy", "compact")]);
            // What a second brings is on top: a round a second.
            assert!(bytes <= 3 * live + 5 * MIB, "{live}: {bytes}");
            assert!(files < 64, "{files}");
        }
        let (bytes, _) = worst(50 * KIB, &[("cleanup.policy", "compact")]);
        assert!(bytes < 8 * MIB, "{bytes}");
    }

    #[test]
    fn tombstones_are_retained_from_their_first_compaction_on() {
        let mut done = Compactions::default();
        assert_eq!(done.expired_below(i64::MAX, 0), 0);
        for at in 0..1_000 {
            done.add(10 * at, at, 160);
            let below = done.expired_below(at, 160);
            assert!(below <= 10 * (at - 160).max(0), "{below} at {at}");
            assert!(below >= 10 * (at - 171), "{below} at {at}");
            assert!(done.done.len() <= 18, "{}", done.done.len());
        }
        let mut none = Compactions::default();
        none.add(7, 1, 0);
        assert_eq!(none.expired_below(1, 0), 7);
    }
}
