//! The background thread for retention and compaction: deletes what `retention.ms` and `retention.bytes` no longer retain, and
//! all but the last record of each key where `cleanup.policy` contains `compact`.
//!
//! Whole files are deleted, as in Kafka (`UnifiedLog.deleteRetentionMsBreachedSegments`): a record is deleted when every record
//! of its file has expired. A change is in the journal before a file is removed; files that a crash leaves are removed by the
//! next start. A round begins when a file of a topic with retention or compaction was closed, and at intervals, because records
//! expire without a write ([`policy`](super::policy)); what it costs is counted.

use super::commit::{Shared, Writing};
use super::entry::Change;
use super::index;
use super::partition::Topic;
use super::policy::PAUSE_MAX;
use super::upkeep::MaintenanceSignal;
use crate::error::Result;
use crate::threads;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "log-care";

/// The maintenance thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct MaintenanceThread {
    signal: Arc<MaintenanceSignal>,
    thread: Option<JoinHandle<()>>,
}

impl MaintenanceThread {
    /// Starts the thread, which runs for as long as the log is in use.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<MaintenanceThread> {
        let (label, signal) = (shared.label().to_owned(), shared.signal.clone());
        let (shared, waited_for) = (Arc::downgrade(shared), signal.clone());
        let thread = threads::spawn(KIND, label.clone(), move || run_rounds(&label, &shared, &waited_for))?;
        Ok(MaintenanceThread { signal, thread: Some(thread) })
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.signal.end();
        if let Some(thread) = self.thread.take() {
            // It holds the directory's lock during a round, and the directory has to be free for the next log. A panic was logged.
            let _ = thread.join();
        }
    }
}

fn run_rounds(label: &str, shared: &Weak<Shared>, signal: &MaintenanceSignal) {
    threads::rounds(KIND, label, || {
        let pause = shared.upgrade().map_or(Duration::ZERO, |shared| shared.pause());
        signal.wait(pause)?;
        let Some(shared) = shared.upgrade() else { return ControlFlow::Break(()) };
        if let Err(error) = shared.maintain() {
            // The next round tries again; until then the records occupy space.
            tracing::warn!(%error, "cannot apply retention and compaction");
        }
        ControlFlow::Continue(())
    });
}

impl Shared {
    /// The time until the next round: the shortest that any topic asks for.
    fn pause(&self) -> Duration {
        let catalog = self.catalog.read();
        let tended = catalog.topics.values().filter(|t| t.config.needs_maintenance());
        tended.map(|t| t.policy.pause()).min().unwrap_or(PAUSE_MAX)
    }

    /// One round over all topics.
    pub(super) fn maintain(&self) -> Result<()> {
        let _round = self.work.round.lock();
        let begin = processor_time();
        let topics: Vec<Arc<Topic>> = self.catalog.read().topics.values().cloned().collect();
        let mut tended = topics.iter().filter(|t| t.config.needs_maintenance());
        let done = tended.try_for_each(|topic| self.tend(topic));
        self.work.busy(processor_time().saturating_sub(begin));
        done
    }

    fn tend(&self, topic: &Topic) -> Result<()> {
        let cutoff = topic.config.age_ms.map(|ms| self.clock.now_ms().saturating_sub(ms));
        for (number, partition) in topic.partitions.iter().enumerate() {
            if self.signal.is_over() {
                return Ok(());
            }
            let low = partition.expired(cutoff, topic.config.bytes)?;
            self.trim(topic, number, low)?;
            self.compact(topic, number)?;
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
        self.shared_batches.forget(partition.id);
        self.discard(writer, &gone);
        Ok(())
    }

    /// Removes files that the journal no longer names, after the writer's lock is released.
    pub(super) fn discard(&self, mut writer: Writing<'_>, gone: &[(PathBuf, u64)]) {
        gone.iter().for_each(|(path, _)| drop(writer.dirty.remove(path)));
        drop(writer);
        gone.iter().for_each(|(path, _)| remove(path));
        self.work.removed(gone.iter().map(|(_, bytes)| bytes).sum());
    }
}

/// Processor time of this thread so far; zero where the system does not report it. Elapsed time would be the disk's and the writers'.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Removes a file that the journal does not name. A reader that has it open continues to read it.
pub(super) fn remove(path: &Path) {
    index::remove(path);
    if let Err(error) = std::fs::remove_file(path) {
        // The next start removes it.
        tracing::warn!(file = %path.display(), %error, "cannot remove an obsolete file");
    }
}
