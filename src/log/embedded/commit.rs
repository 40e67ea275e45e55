//! The commit path: encode outside of any lock, then one writer at a time.
//!
//! 1. Batches are appended to segment files, after the committed bytes.
//! 2. Large commits sync those files. Small ones carry their bytes in the journal entry instead: one sync per commit
//!    rather than one per partition, and the segments are synced together when the journal is compacted.
//! 3. The journal entry is appended and synced. Now the transaction is committed.
//! 4. The new ends are published to readers, which are woken.

use super::batch::{Encoded, Encoder};
use super::entry::{Change, Commit, Part, Progress};
use super::journal::{Failure, Journal, sync_directory};
use super::lock::DirectoryLock;
use super::manifest::Manifest;
use super::partition::{Target, Topic};
use super::policy::Policy;
use super::segment::{Readable, failed, is_removed, removed};
use super::shared_batches::SharedBatches;
use super::upkeep::{MaintenanceSignal, Work};
use super::{EmbeddedOptions, Fsync};
use crate::error::{Error, Kind, Result};
use crate::log::topic_config::TopicConfig;
use crate::log::{RecordSet, Row, TopicInfo, TopicPartition, size};
use crate::mutant;
use crate::types::clock::SharedClock;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Commits up to this size carry their records in the journal: above it, writing them twice costs more than syncing.
const INLINE_BYTES_MAX: u64 = 256 * 1024;

/// The state that readers, writers and the log share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `None` = in memory.
    pub(super) directory: Option<PathBuf>,
    pub(super) options: EmbeddedOptions,
    pub(super) clock: SharedClock,
    pub(super) cluster: u128,
    pub(super) catalog: RwLock<Catalog>,
    pub(super) group_owners: Mutex<GroupOwners>,
    /// Held through a whole commit: there is one writer.
    pub(super) writer: Mutex<Writer>,
    /// Wakes the maintenance thread.
    pub(super) signal: Arc<MaintenanceSignal>,
    /// What retention and compaction have done.
    pub(super) work: Work,
    /// Batches that several readers take.
    pub(super) shared_batches: Arc<SharedBatches>,
    /// Excludes other processes for as long as any part of this log is in use.
    pub(super) _lock: Option<DirectoryLock>,
}

/// What is committed, and the live partitions that show it.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) manifest: Manifest,
    /// Live topics by name.
    pub(super) topics: BTreeMap<String, Arc<Topic>>,
}

/// The owners of groups.
#[derive(Debug, Default)]
pub(super) struct GroupOwners {
    last: u64,
    owners: BTreeMap<String, u64>,
}

/// The state of the one writer.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` = in memory.
    pub(super) journal: Option<Journal>,
    /// Segments with bytes that were not synced.
    pub(super) dirty: BTreeMap<PathBuf, Readable>,
    /// The journal has entries that were not synced.
    pub(super) unsynced: bool,
    /// Why the log accepts no writes, if it does not.
    pub(super) broken: Option<String>,
}

/// Records encoded per partition, waiting for the writer's lock.
#[derive(Debug, Default)]
pub(super) struct Staged {
    topics: Vec<(Arc<Topic>, Vec<Encoder>)>,
}

/// One partition's share of a commit.
struct Piece {
    topic: Arc<Topic>,
    partition: usize,
    encoded: Encoded,
    target: Target,
}

impl GroupOwners {
    /// Makes the caller the group's owner.
    pub(super) fn claim(&mut self, group: &str) -> Result<u64> {
        if self.owners.contains_key(group) {
            return Err(Error::new(Kind::Busy, format!("group {group} is written by another query of this process")));
        }
        self.last += 1;
        self.owners.insert(group.to_owned(), self.last);
        Ok(self.last)
    }

    /// Is it still the owner?
    pub(super) fn owns(&self, group: &str, token: u64) -> bool {
        self.owners.get(group) == Some(&token)
    }

    /// Ends an ownership, unless it has ended already.
    pub(super) fn release(&mut self, group: &str, token: u64) {
        if self.owns(group, token) {
            self.owners.remove(group);
        }
    }

    /// Revokes the ownership of a group from its current owner, if there is one.
    pub(super) fn fence(&mut self, group: &str) {
        self.owners.remove(group);
    }
}

impl Staged {
    /// Encodes records for a topic.
    pub(super) fn add(&mut self, topic: &Arc<Topic>, records: &RecordSet) -> Result<()> {
        size::check(&topic.info.name, topic.config.record_bytes, records)?;
        let at = self.topics.iter().position(|(t, _)| Arc::ptr_eq(t, topic)).unwrap_or_else(|| {
            let encoders = (0..topic.partitions.len()).map(|_| Encoder::default()).collect();
            self.topics.push((topic.clone(), encoders));
            self.topics.len() - 1
        });
        let encoders = &mut self.topics[at].1;
        let mut headers = records.headers.iter().peekable();
        let floors = floors(&records.rows, encoders.len());
        for (index, row) in records.rows.iter().enumerate() {
            let own = headers.next_if(|h| h.0 as usize == index).map_or(&[][..], |h| &h.1);
            let Some(encoder) = usize::try_from(row.partition).ok().and_then(|p| encoders.get_mut(p)) else {
                return Err(topic.partition(row.partition).err().unwrap_or_else(|| Error::bug("a partition hides")));
            };
            let pushed =
                encoder.push(row.timestamp, floors[index / FLOOR_ROWS], records.key(index), records.value(index), own);
            pushed.map_err(|e| e.with_hint(format!("the record was meant for topic {}", topic.info.name)))?;
        }
        Ok(())
    }
}

/// Rows that share one floor.
const FLOOR_ROWS: usize = 1024;

/// Per chunk of rows: the smallest timestamp in it and in the following chunks that its batches may reach.
fn floors(rows: &[Row], partitions: usize) -> Vec<i64> {
    let parts: Vec<i64> =
        rows.chunks(FLOOR_ROWS).map(|part| part.iter().map(|r| r.timestamp).min().unwrap_or_default()).collect();
    let reach = 4 * partitions.max(1);
    let floor = |at: usize| parts[at..parts.len().min(at + reach)].iter().copied().min().unwrap_or_default();
    (0..parts.len()).map(floor).collect()
}

/// The locked writer. A panic of the thread that holds it leaves a change half written, so that the log accepts no further
/// writes: the next start recovers to the last commit.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    writer: MutexGuard<'a, Writer>,
    /// Whether the thread was already unwinding: a destructor that writes then has not panicked itself.
    unwinding: bool,
}

impl Deref for Writing<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.unwinding {
            self.writer.broken.get_or_insert_with(|| "a thread panicked in the middle of a write".to_owned());
        }
    }
}

impl Topic {
    /// The same topic with other settings: its partitions, their records and readers are shared.
    pub(super) fn with_config(&self, config: BTreeMap<String, String>, segment_bytes: u64) -> Result<Topic> {
        let typed = TopicConfig::of(&config)?;
        let policy = Policy::of(&typed, segment_bytes);
        let info = TopicInfo { config, ..self.info.clone() };
        Ok(Topic { info, config: typed, policy, partitions: self.partitions.clone() })
    }
}

impl Shared {
    /// Waits for the writer.
    pub(super) fn write(&self) -> Writing<'_> {
        Writing { writer: self.writer.lock(), unwinding: std::thread::panicking() }
    }

    /// The label of its threads.
    pub(super) fn label(&self) -> &str {
        self.directory.as_deref().and_then(Path::to_str).unwrap_or("memory")
    }

    /// A live topic.
    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        let found = self.catalog.read().topics.get(name).cloned();
        found.ok_or_else(|| Error::not_found(format!("topic {name} does not exist")))
    }

    /// Identity and number of a partition that exists.
    pub(super) fn identify(&self, partition: &TopicPartition) -> Result<(u128, i32)> {
        let topic = self.topic(&partition.topic)?;
        topic.partition(partition.partition)?;
        Ok((topic.info.id.0, partition.partition))
    }

    /// Records without progress.
    pub(super) fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        let mut staged = Staged::default();
        staged.add(&self.topic(topic)?, records)?;
        self.commit(staged, None, || true).map(|_| ())
    }

    /// Commits records and progress, if `allowed` returns true under the writer's lock.
    pub(super) fn commit(
        &self,
        staged: Staged,
        progress: Option<Progress>,
        allowed: impl Fn() -> bool,
    ) -> Result<bool> {
        let mut writer = self.write();
        writer.check(self)?;
        if !allowed() {
            return Ok(false);
        }
        let mut pieces = self.place(staged, progress.as_ref())?;
        if pieces.is_empty() && progress.is_none() {
            return Ok(true);
        }
        let total: u64 = pieces.iter().map(|p| p.encoded.bytes.len() as u64).sum();
        let inline = self.directory.is_some() && self.options.fsync == Fsync::Commit && total <= INLINE_BYTES_MAX;
        for piece in &mut pieces {
            piece.encoded.rebase(piece.target.next);
        }
        let parts = pieces.iter().map(|p| p.part(inline)).collect();
        let change = Change::Commit(Commit { parts, progress });
        let stored = pieces.iter().try_for_each(|piece| writer.store(self, piece, inline));
        mutant::trip("commit", self.label());
        if let Err(error) = stored.and_then(|()| writer.append(self, &change)) {
            if !writer.is_broken() {
                writer.cut_back(&pieces);
            }
            return Err(error);
        }
        {
            let mut catalog = self.catalog.write();
            catalog.manifest.apply(&change)?;
        }
        drop(change);
        let mut has_work = false;
        for Piece { topic, partition, encoded, target } in pieces {
            has_work |= topic.partitions[partition].publish(&target, encoded) && topic.config.needs_maintenance();
        }
        if has_work {
            self.signal.raise();
        }
        writer.compact_if_grown(self);
        Ok(true)
    }

    /// Commits a change without records.
    pub(super) fn change(&self, writer: &mut Writer, change: &Change<'_>) -> Result<()> {
        writer.check(self)?;
        writer.append(self, change)?;
        self.catalog.write().manifest.apply(change)?;
        Ok(())
    }

    /// Where the topic's partitions are.
    pub(super) fn topic_directory(&self, id: u128, name: &str) -> Option<PathBuf> {
        self.directory.as_deref().map(|d| topic_directory(d, id, name))
    }

    /// Adds to a write error what can be done about it.
    fn explain(&self, error: Error) -> Error {
        match &self.directory {
            Some(d) if is_full(&error) => Error::io(format!("no space left on the device of {}", d.display()))
                .with_detail(error.to_string())
                .with_hint(
                    "nothing was written; free space on its disk and try again: queries wait and continue by themselves",
                )
                .because(error),
            Some(d) => error.with_hint(format!("nothing was written; check the disk of {}", d.display())),
            None => error,
        }
    }

    fn place(&self, staged: Staged, progress: Option<&Progress>) -> Result<Vec<Piece>> {
        let catalog = self.catalog.read();
        let gone = progress.iter().flat_map(|p| &p.offsets).any(|(id, ..)| !catalog.manifest.topics.contains_key(id));
        if gone {
            return Err(Error::not_found("a topic that was read has been deleted"));
        }
        let (mut pieces, now_ms) = (Vec::new(), self.clock.now_ms());
        for (topic, encoders) in staged.topics {
            if !catalog.manifest.topics.contains_key(&topic.info.id.0) {
                return Err(Error::not_found(format!("topic {} was deleted", topic.info.name)));
            }
            for (partition, encoder) in encoders.into_iter().enumerate().filter(|(_, e)| !e.is_empty()) {
                let encoded = encoder.finish();
                let len = encoded.bytes.len() as u64;
                let target = topic.partitions[partition].target(len, &topic.policy, now_ms);
                pieces.push(Piece { topic: topic.clone(), partition, encoded, target });
            }
        }
        Ok(pieces)
    }
}

impl Piece {
    fn part(&self, inline: bool) -> Part<'_> {
        Part {
            topic: self.topic.info.id.0,
            partition: self.partition as u32,
            segment: self.target.segment,
            start: self.target.start,
            end: self.target.start + self.encoded.bytes.len() as u64,
            next: self.target.next + self.encoded.records,
            data: inline.then_some(&self.encoded.bytes),
        }
    }
}

impl Writer {
    /// Makes everything written survive a power failure: segments first, then the journal that refers to them.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.sync_segments()?;
        if std::mem::take(&mut self.unsynced)
            && let Some(journal) = &self.journal
        {
            journal.sync()?;
        }
        Ok(())
    }

    /// Whether the state on disk is unknown.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(super) fn check(&self, shared: &Shared) -> Result<()> {
        let Some(why) = &self.broken else { return Ok(()) };
        let place = shared.directory.as_deref().unwrap_or(Path::new("memory"));
        Err(Error::io(format!("the log at {} accepts no further writes", place.display()))
            .with_detail(why.as_str())
            .with_hint("restart tidegate: it recovers to the last commit"))
    }

    /// Appends an entry.
    fn append(&mut self, shared: &Shared, change: &Change<'_>) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let sync = shared.options.fsync == Fsync::Commit;
        match journal.append(change, sync) {
            Ok(()) => {
                self.unsynced |= !sync;
                Ok(())
            }
            Err(Failure::Undone(error)) => Err(shared.explain(error)),
            Err(Failure::Unknown(error)) => {
                self.broken = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Frees the space of a commit that failed: on a full disk the next one, which may delete a topic, needs it. Bytes that cannot
    /// be truncated are harmless; the next commit overwrites them.
    fn cut_back(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let partition = &piece.topic.partitions[piece.partition];
            if let Ok(Some((readable, _))) = partition.writable(&piece.target) {
                let _ = readable.file.set_len(piece.target.start);
            }
        }
    }

    /// Writes one partition's bytes at its committed end.
    fn store(&mut self, shared: &Shared, piece: &Piece, inline: bool) -> Result<()> {
        let partition = &piece.topic.partitions[piece.partition];
        let Some((readable, fresh)) = partition.writable(&piece.target).map_err(|e| shared.explain(e))? else {
            return Ok(());
        };
        let Readable { file, path, .. } = &readable;
        if is_removed(file) {
            return Err(removed(path));
        }
        let written = file.write_all_at(&piece.encoded.bytes, piece.target.start);
        // Bytes after the committed end are overwritten by the next commit or truncated by the next start.
        written.map_err(|e| shared.explain(failed("write", path, e)))?;
        let unsynced = self.dirty.contains_key(&**path);
        if shared.options.fsync == Fsync::Commit && !inline {
            if fresh || unsynced {
                sync_new_names(path)?;
            }
            self.sync_segment(path, file)?;
            self.dirty.remove(&**path);
        } else if !unsynced {
            self.dirty.insert(path.to_path_buf(), readable);
        }
        Ok(())
    }

    fn sync_segments(&mut self) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        for (path, readable) in &dirty {
            self.sync_segment(path, &readable.file)?;
        }
        // Files of one partition, partitions of one topic: each directory once.
        let directories: BTreeSet<&Path> = dirty.keys().flat_map(|path| path.ancestors().skip(1).take(3)).collect();
        directories.into_iter().try_for_each(sync_directory)
    }

    /// After a failed sync the system may have dropped bytes of earlier commits as well (fsyncgate): the log accepts no more writes.
    fn sync_segment(&mut self, path: &Path, file: &File) -> Result<()> {
        file.sync_data().map_err(|e| {
            let error = failed("sync", path, e);
            self.broken = Some(error.to_string());
            error
        })
    }

    /// A failed snapshot is harmless: the journal keeps growing, and the next commit tries again.
    pub(super) fn compact_if_grown(&mut self, shared: &Shared) {
        if !self.journal.as_ref().is_some_and(|j| j.has_grown(shared.options.journal_bytes)) {
            return;
        }
        let compacted = self.sync_segments().and_then(|()| {
            let manifest = shared.catalog.read().manifest.clone();
            self.journal.as_mut().map_or(Ok(()), |journal| journal.compact(&manifest))
        });
        if let Err(error) = compacted {
            tracing::warn!(%error, "cannot compact the journal");
        }
    }
}

/// Whether a full disk or quota is among the causes of this error.
fn is_full(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let kind = inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The directory entries of a new file, its partition and its topic have to be on disk before the journal refers to them.
fn sync_new_names(path: &Path) -> Result<()> {
    path.ancestors().skip(1).take(3).try_for_each(sync_directory)
}

/// Bytes of a topic's name in the name of its directory; the id after it makes it unique.
const DIRECTORY_NAME_BYTES: usize = 120;

/// Where a topic's partitions are.
pub(super) fn topic_directory(directory: &Path, id: u128, name: &str) -> PathBuf {
    let name = &name[..name.len().min(DIRECTORY_NAME_BYTES)];
    directory.join("topics").join(format!("{name}-{id:032x}"))
}
