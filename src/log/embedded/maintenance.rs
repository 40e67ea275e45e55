//! The background thread for retention and compaction: deletes what `retention.ms` and `retention.bytes` no longer retain, and
//! all but the last record of each key where `cleanup.policy` contains `compact`.
//!
//! Whole files are deleted, as in Kafka (`UnifiedLog.deleteRetentionMsBreachedSegments`): a record is deleted when every record
//! of its file has expired. A change is in the journal before a file is removed; files that a crash leaves are removed by the
//! next start.

use super::commit::Shared;
use super::entry::Change;
use super::index;
use super::partition::Topic;
use crate::error::Result;
use crate::threads;
use parking_lot::{Condvar, Mutex};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "log-care";
/// Pause between two rounds. Kafka checks retention every 5 minutes (`log.retention.check.interval.ms`) and compaction every 15 s
/// (`log.cleaner.backoff.ms`).
const PAUSE: Duration = Duration::from_secs(30);

/// The maintenance thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct MaintenanceThread {
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl MaintenanceThread {
    /// Starts the thread, which runs for as long as the log is in use.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<MaintenanceThread> {
        let label = shared.label().to_owned();
        let (shared, ended) = (Arc::downgrade(shared), Arc::<(Mutex<bool>, Condvar)>::default());
        let signal = ended.clone();
        threads::spawn(KIND, label.clone(), move || run_rounds(&label, &shared, &signal))?;
        Ok(MaintenanceThread { ended })
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
    }
}

fn run_rounds(label: &str, shared: &Weak<Shared>, ended: &(Mutex<bool>, Condvar)) {
    threads::rounds(KIND, label, || {
        let mut over = ended.0.lock();
        if !*over {
            ended.1.wait_for(&mut over, PAUSE);
        }
        if *over {
            return ControlFlow::Break(());
        }
        drop(over);
        let Some(shared) = shared.upgrade() else { return ControlFlow::Break(()) };
        if let Err(error) = shared.maintain() {
            // The next round tries again; until then the records occupy space.
            tracing::warn!(%error, "cannot apply retention and compaction");
        }
        ControlFlow::Continue(())
    });
}

impl Shared {
    /// One round over all topics.
    pub(super) fn maintain(&self) -> Result<()> {
        let topics: Vec<Arc<Topic>> = self.catalog.read().topics.values().cloned().collect();
        for topic in topics.iter().filter(|t| t.config.needs_maintenance()) {
            let cutoff = topic.config.age_ms.map(|ms| self.clock.now_ms().saturating_sub(ms));
            for (number, partition) in topic.partitions.iter().enumerate() {
                let low = partition.expired(cutoff, topic.config.bytes)?;
                self.trim(topic, number, low)?;
                if topic.config.compact {
                    self.compact(topic, number)?;
                }
            }
        }
        Ok(())
    }

    /// Deletes the records below `low`, and the files that contain nothing else.
    pub(super) fn trim(&self, topic: &Topic, number: usize, low: i64) -> Result<()> {
        let mut writer = self.write();
        let (id, partition) = (topic.info.id.0, &topic.partitions[number]);
        let alive = self.catalog.read().manifest.topics.contains_key(&id);
        if !alive || low <= partition.watermarks().low {
            return Ok(());
        }
        self.change(&mut writer, &Change::Trim { topic: id, partition: number as u32, low })?;
        let gone = partition.trim(low);
        gone.iter().for_each(|path| drop(writer.dirty.remove(path)));
        drop(writer);
        remove(&gone);
        Ok(())
    }
}

/// Removes files that the journal no longer names. A reader that has one open continues to read it.
pub(super) fn remove(files: &[PathBuf]) {
    for path in files {
        index::remove(path);
        if let Err(error) = std::fs::remove_file(path) {
            // The next start removes it.
            tracing::warn!(file = %path.display(), %error, "cannot remove an obsolete file");
        }
    }
}
