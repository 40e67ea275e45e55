//! The embedded log: durable topics in this process, without a broker.
//!
//! ```text
//! DIR/lock                                  who owns the directory
//! DIR/commits.log                           what is committed (journal)
//! DIR/topics/<name>-<id>/<n>/<offset>.log   Kafka record batches (segment, batch); <offset>.<k>.log after the k-th compaction
//! DIR/topics/<name>-<id>/<n>/<offset>.index positions of offsets and timestamps in a large file (index); rebuilt if missing
//! ```
//!
//! There is one writer and there are no aborted records: a transaction is encoded privately and appended under one lock
//! ([`commit`]). Readers hold no lock while they read. It is not a server: other processes cannot connect to it.

mod batch;
mod buffer;
mod bytes;
mod commit;
mod compaction;
mod entry;
mod fetch;
mod ids;
mod index;
mod journal;
mod lock;
mod maintenance;
mod manifest;
mod partition;
mod policy;
mod pruning;
mod reader;
mod recover;
mod segment;
mod shared_batches;
mod upkeep;
mod wakeup;
mod writer;

pub use self::batch::{Block, RawHeaders};

use self::commit::{Catalog, GroupOwners, Shared, Writer};
use self::entry::Change;
use self::maintenance::MaintenanceThread;
use self::manifest::{Manifest, PartitionMeta};
use self::partition::Topic;
use self::shared_batches::SharedBatches;
use self::upkeep::Work;
use crate::config::private;
use crate::error::{Error, Result};
use crate::log::topic::{altered, beyond_the_end, check_spec};
use crate::log::{
    Assignment, Claim, CommittedOffset, Isolation, Log, Reader, RecordSet, Sharing, Span, Start, TopicChanges,
    TopicInfo, TopicPartition, TopicSpec, TransactionalWriter, Upkeep, Watermarks, WriterSpec,
};
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::{Mutex, RwLock};
use std::ops::{ControlFlow, Range, RangeInclusive};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Limit of a segment file, unless a single commit is larger. Retention and compaction close files earlier ([`policy`]).
const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;
/// The journal is compacted above this size: reading it at the start takes some 10 ms.
const JOURNAL_BYTES: u64 = 16 * 1024 * 1024;

/// When a commit is synced to disk. A killed process loses nothing in any mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before the commit returns.
    #[default]
    Commit,
    /// At intervals. A power failure may lose the commits since the last sync, or leave a log that refuses to open.
    Interval(Duration),
    /// When the operating system decides; a power failure has the consequences of `Interval`.
    Never,
}

/// Settings of an embedded log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// `log.fsync`.
    pub fsync: Fsync,
    /// Largest segment file; those of topics with retention or compaction are smaller.
    pub segment_bytes: u64,
    /// Largest journal.
    pub journal_bytes: u64,
    /// Batches that several readers take, at most; 0 = each reads for itself.
    pub shared_bytes: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> EmbeddedOptions {
        EmbeddedOptions {
            fsync: Fsync::Commit,
            segment_bytes: SEGMENT_BYTES,
            journal_bytes: JOURNAL_BYTES,
            shared_bytes: 0,
        }
    }
}

/// Topics in a directory, or in memory.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    /// Started with the first topic that needs it.
    maintenance: Mutex<Option<MaintenanceThread>>,
}

impl EmbeddedLog {
    /// Opens the log in `directory`, which is created if it does not exist, and recovers it to its last commit.
    pub fn open(directory: &Path, options: EmbeddedOptions, clock: SharedClock) -> Result<Arc<EmbeddedLog>> {
        private::create_dir_all(directory).map_err(|e| segment::failed("create", directory, e))?;
        let lock = lock::DirectoryLock::take(directory)?;
        let (journal, manifest) = recover::open(directory, ids::fresh)?;
        let mut topics = std::collections::BTreeMap::new();
        for (id, meta) in &manifest.topics {
            let home = commit::topic_directory(directory, *id, &meta.name);
            let topic = Topic::new(Manifest::info(*id, meta), Some(home), &meta.partitions, options.segment_bytes)?;
            topics.insert(meta.name.clone(), Arc::new(topic));
        }
        let shared = Arc::new(Shared {
            directory: Some(directory.to_path_buf()),
            options,
            clock,
            cluster: journal.cluster(),
            catalog: RwLock::new(Catalog { manifest, topics }),
            group_owners: Mutex::new(GroupOwners::default()),
            writer: Mutex::new(Writer::new(Some(journal))),
            signal: Arc::default(),
            work: Work::default(),
            shared_batches: Arc::new(SharedBatches::new(options.shared_bytes)),
            _lock: Some(lock),
        });
        if let Fsync::Interval(every) = options.fsync {
            sync_every(&shared, every)?;
        }
        EmbeddedLog::over(shared)
    }

    /// A log that ends with the process.
    pub fn in_memory(clock: SharedClock) -> Result<Arc<EmbeddedLog>> {
        EmbeddedLog::in_memory_with(EmbeddedOptions::default(), clock)
    }

    /// The same, with these settings.
    pub fn in_memory_with(options: EmbeddedOptions, clock: SharedClock) -> Result<Arc<EmbeddedLog>> {
        let shared = Shared {
            directory: None,
            options,
            clock,
            cluster: ids::fresh()?,
            catalog: RwLock::default(),
            group_owners: Mutex::default(),
            writer: Mutex::new(Writer::new(None)),
            signal: Arc::default(),
            work: Work::default(),
            shared_batches: Arc::new(SharedBatches::new(options.shared_bytes)),
            _lock: None,
        };
        EmbeddedLog::over(Arc::new(shared))
    }

    fn over(shared: Arc<Shared>) -> Result<Arc<EmbeddedLog>> {
        let log = EmbeddedLog { shared, maintenance: Mutex::default() };
        log.start_maintenance()?;
        Ok(Arc::new(log))
    }

    /// Applies retention and compaction now. A thread does so at intervals.
    pub fn maintain(&self) -> Result<()> {
        self.shared.maintain()
    }

    /// Starts the maintenance thread if a topic needs it.
    fn start_maintenance(&self) -> Result<()> {
        let mut maintenance = self.maintenance.lock();
        let needed = || self.shared.catalog.read().topics.values().any(|t| t.config.needs_maintenance());
        if maintenance.is_none() && needed() {
            *maintenance = Some(MaintenanceThread::start(&self.shared)?);
        }
        Ok(())
    }
}

impl Log for EmbeddedLog {
    fn describe(&self) -> String {
        match &self.shared.directory {
            Some(directory) => format!("embedded log at {}", directory.display()),
            None => "embedded log in memory".to_owned(),
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.shared.write().check(&self.shared)
    }

    fn cluster_id(&self) -> Result<String> {
        Ok(ids::text(self.shared.cluster))
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo> {
        check_spec(spec)?;
        let mut writer = self.shared.write();
        if self.shared.catalog.read().topics.contains_key(&spec.name) {
            return Err(Error::statement(format!("topic {} already exists", spec.name)));
        }
        let (id, name, partitions) = (ids::fresh()?, spec.name.clone(), spec.partitions);
        let metas = vec![PartitionMeta::default(); partitions as usize];
        self.shared.change(&mut writer, &Change::CreateTopic { id, name, partitions, config: spec.config.clone() })?;
        let mut catalog = self.shared.catalog.write();
        let info = Manifest::info(id, &catalog.manifest.topics[&id]);
        let home = self.shared.topic_directory(id, &spec.name);
        let topic = Topic::new(info.clone(), home, &metas, self.shared.options.segment_bytes)?;
        catalog.topics.insert(spec.name.clone(), Arc::new(topic));
        drop(catalog);
        drop(writer);
        self.start_maintenance()?;
        // Its retention may be shorter than the present pause.
        self.shared.signal.raise();
        Ok(info)
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        Ok(self.shared.catalog.read().topics.get(name).map(|t| t.info.clone()))
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        Ok(self.shared.catalog.read().topics.values().map(|t| t.info.clone()).collect())
    }

    fn alter_topic(&self, name: &str, changes: &TopicChanges) -> Result<()> {
        let mut writer = self.shared.write();
        let topic = self.shared.topic(name)?;
        let (id, config) = (topic.info.id.0, altered(&topic.info.config, changes)?);
        let changed = topic.with_config(config.clone(), self.shared.options.segment_bytes)?;
        self.shared.change(&mut writer, &Change::AlterTopic { id, config })?;
        self.shared.catalog.write().topics.insert(name.to_owned(), Arc::new(changed));
        drop(writer);
        self.start_maintenance()?;
        // Its retention may be shorter than the present pause.
        self.shared.signal.raise();
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        let mut writer = self.shared.write();
        let topic = self.shared.topic(name)?;
        let id = topic.info.id.0;
        self.shared.change(&mut writer, &Change::DeleteTopic { id })?;
        self.shared.catalog.write().topics.remove(name);
        topic.delete();
        topic.partitions.iter().for_each(|p| self.shared.shared_batches.forget(p.id));
        let Some(home) = self.shared.topic_directory(id, name) else { return Ok(()) };
        writer.dirty.retain(|path, _| !path.starts_with(&home));
        match std::fs::remove_dir_all(&home) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                // The topic is deleted; the next start removes its files.
                tracing::warn!(directory = %home.display(), error = %e, "cannot remove a deleted topic's files");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        Ok(self.shared.topic(&partition.topic)?.partition(partition.partition)?.watermarks())
    }

    fn partition_bytes(&self, partition: &TopicPartition) -> Result<Option<u64>> {
        Ok(Some(self.shared.topic(&partition.topic)?.partition(partition.partition)?.bytes()))
    }

    fn upkeep(&self) -> Option<Upkeep> {
        Some(self.shared.work.so_far())
    }

    fn sharing(&self) -> Option<Sharing> {
        Some(self.shared.shared_batches.counts())
    }

    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        self.shared.topic(&partition.topic)?.partition(partition.partition)?.offset_for_time(timestamp)
    }

    fn spans(&self, partition: &TopicPartition, offsets: Range<i64>, times: &RangeInclusive<i64>) -> Result<Vec<Span>> {
        let pieces = self.shared.topic(&partition.topic)?.partition(partition.partition)?.pieces()?;
        Ok(pruning::wanted(&pieces, &offsets, times))
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64> {
        let topic = self.shared.topic(&partition.topic)?;
        let live = topic.partition(partition.partition)?;
        let marks = live.watermarks();
        if before > marks.high {
            return Err(beyond_the_end(partition, before, marks.high));
        }
        let low = if before < 0 { marks.high } else { before };
        self.shared.trim(&topic, partition.partition as usize, low)?;
        Ok(live.watermarks().low)
    }

    fn reader(&self, assignment: Vec<Assignment>, _isolation: Isolation) -> Result<Box<dyn Reader>> {
        let slot = |a: &Assignment| {
            let topic = self.shared.topic(&a.topic)?;
            let partition = topic.partition(a.partition)?.clone();
            let bounds = partition.bounds()?;
            let first = match a.start {
                Start::Earliest => bounds.start,
                Start::Latest => bounds.end,
                Start::Offset(offset) => offset.max(bounds.start),
            };
            Ok((partition, first))
        };
        let slots = assignment.iter().map(slot).collect::<Result<_>>()?;
        let batches = self.shared.shared_batches.clone();
        Ok(Box::new(reader::EmbeddedReader::new(slots, batches, self.shared.clock.clone())))
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.shared.append(topic, records)
    }

    fn transactional_writer(&self, spec: &WriterSpec, _: &Arc<dyn Claim>) -> Result<Box<dyn TransactionalWriter>> {
        Ok(Box::new(writer::EmbeddedWriter::open(&self.shared, &spec.group)?))
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        Ok(self.shared.committed(group, partitions))
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        let mut writer = self.shared.write();
        self.shared.group_owners.lock().fence(group);
        if !self.shared.catalog.read().manifest.groups.contains_key(group) {
            return Ok(());
        }
        self.shared.change(&mut writer, &Change::DeleteGroup { group: group.to_owned() })
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        if let Err(error) = self.shared.write().flush() {
            tracing::warn!(%error, "cannot sync the log on close");
        }
        let catalog = self.shared.catalog.read();
        catalog.topics.values().flat_map(|t| &t.partitions).for_each(|p| p.keep_index());
    }
}

impl Writer {
    fn new(journal: Option<journal::Journal>) -> Writer {
        Writer { journal, dirty: Default::default(), unsynced: false, broken: None }
    }
}

/// Syncs the log at intervals for as long as it is in use.
fn sync_every(shared: &Arc<Shared>, every: Duration) -> Result<()> {
    let (weak, clock): (Weak<Shared>, _) = (Arc::downgrade(shared), shared.clock.clone());
    let label = shared.label().to_owned();
    let run = move || {
        threads::rounds("log-sync", &label, || {
            clock.sleep(every);
            let Some(shared) = weak.upgrade() else { return ControlFlow::Break(()) };
            match shared.write().flush() {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    tracing::error!(%error, "cannot sync the log");
                    ControlFlow::Break(())
                }
            }
        });
    };
    threads::spawn("log-sync", shared.label(), run).map(drop)
}
