//! Snapshots in a directory: one file per partition of a changelog, in a folder with the changelog's name.
//!
//! ```text
//! snapshots/_confluent-ksql-default_query_CTAS_T_1-Aggregate-.../0.snapshot          in force
//!                                                                0.unused            set aside: damaged, or not of this changelog
//!                                                                0.AbC123.tmp        being written
//! ```
//!
//! A file is written under another name, synced, and renamed, so that there is always the old one or the new one. It is read
//! from its first to its last byte before any of it is used. The whole directory may be deleted at any time.

use super::format::{Closing, Damage, FrameReader, FrameWriter, Stamp};
use crate::config::private;
use crate::error::{Error, Result};
use crate::execute::state::entry_batch::EntryBatch;
use crate::log::{Log, TopicPartition};
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes read from a file at once.
const READ_BYTES: usize = 256 * 1024;

/// The file of a partition.
fn file_of(dir: &Path, partition: &TopicPartition) -> PathBuf {
    dir.join(&*partition.topic).join(format!("{}.snapshot", partition.partition))
}

/// A snapshot in the making; it vanishes unless it is finished.
#[derive(Debug)]
pub(super) struct Draft {
    file: NamedTempFile,
    target: PathBuf,
    frames: FrameWriter,
    bytes: u64,
}

impl Draft {
    /// Begins a file.
    pub(super) fn begin(dir: &Path, stamp: &Stamp) -> io::Result<Draft> {
        let target = file_of(dir, &TopicPartition::new(stamp.topic.as_str(), stamp.partition));
        let folder = target.parent().unwrap_or(dir);
        private::create_dir_all(folder)?;
        let prefix = format!("{}.", stamp.partition);
        let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".tmp").tempfile_in(folder)?;
        let mut out = Vec::new();
        let frames = FrameWriter::begin(stamp, &mut out);
        file.write_all(&out)?;
        Ok(Draft { file, target, frames, bytes: out.len() as u64 })
    }

    /// Writes blocks.
    pub(super) fn append(&mut self, blocks: &[EntryBatch]) -> io::Result<()> {
        let mut out = Vec::new();
        for block in blocks {
            self.frames.block(block, &mut out);
            self.file.write_all(&out)?;
            self.bytes += out.len() as u64;
            out.clear();
        }
        Ok(())
    }

    /// Makes it the snapshot of its partition; returns its size.
    pub(super) fn finish(self, changelog_end: i64) -> io::Result<u64> {
        let Draft { mut file, target, frames, bytes } = self;
        let mut out = Vec::new();
        frames.end(changelog_end, &mut out);
        file.write_all(&out)?;
        file.as_file().sync_all()?;
        file.persist(&target).map_err(|e| e.error)?;
        target.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
        Ok(bytes + out.len() as u64)
    }
}

/// A snapshot that was read to its end and fits its changelog.
#[derive(Debug)]
pub(crate) struct Loaded {
    path: PathBuf,
    /// Where the changelog continues.
    pub(crate) offset: i64,
    /// Size of the file.
    pub(crate) bytes: u64,
}

/// The snapshot of a partition, if there is one to be used.
pub(super) fn load(dir: &Path, log: &dyn Log, partition: &TopicPartition) -> Result<Option<Loaded>> {
    let path = file_of(dir, partition);
    remove_drafts(&path, partition.partition);
    let bytes = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            tracing::warn!(file = %path.display(), error = %e, "a snapshot of state cannot be read: the changelog is");
            return Ok(None);
        }
    };
    let (stamp, closing) = match verify(&path) {
        Ok(found) => found,
        Err(Damage::Io(e)) => {
            tracing::warn!(file = %path.display(), error = %e, "a snapshot of state cannot be read: the changelog is");
            return Ok(None);
        }
        Err(damage) => {
            set_aside(&path, &damage.to_string());
            return Ok(None);
        }
    };
    // A broker before Kafka 2.8 gives topics no ids: there a changelog that was created again looks like the one before.
    let id = log.identities(&[&partition.topic])?.pop().flatten().map(|identity| identity.id).filter(|id| id.0 != 0);
    let foreign =
        stamp.topic != *partition.topic || stamp.partition != partition.partition || Some(stamp.topic_id) != id;
    let marks = log.watermarks(partition)?;
    let misfit = if foreign {
        "it is not of this changelog"
    } else if stamp.offset < marks.low || stamp.offset > closing.changelog_end {
        "the changelog begins behind it"
    } else if closing.changelog_end > marks.high {
        "the changelog ends before it"
    } else {
        return Ok(Some(Loaded { path, offset: stamp.offset, bytes }));
    };
    set_aside(&path, misfit);
    Ok(None)
}

impl Loaded {
    /// It does not fit what the last commit says.
    pub(crate) fn set_aside(&self, reason: &str) {
        set_aside(&self.path, reason);
    }

    /// Hands over all entries.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&EntryBatch) -> Result<()>) -> Result<()> {
        let changed = |damage: Damage| {
            Error::io(format!("the snapshot {} has changed while it was read", self.path.display()))
                .with_detail(damage.to_string())
        };
        let file = File::open(&self.path).map_err(|e| changed(e.into()))?;
        let (stamp, mut reader) = FrameReader::begin(BufReader::with_capacity(READ_BYTES, file)).map_err(changed)?;
        if stamp.offset != self.offset {
            return Err(changed(Damage::Content("beginning")));
        }
        let mut entries = EntryBatch::default();
        while reader.next(&mut entries).map_err(changed)?.is_none() {
            each(&entries)?;
        }
        Ok(())
    }
}

/// Changelogs that have a folder.
pub(super) fn topics(dir: &Path) -> Vec<String> {
    let found = fs::read_dir(dir).into_iter().flatten().flatten();
    found.filter_map(|folder| folder.file_name().into_string().ok()).collect()
}

/// Deletes the snapshots of a changelog.
pub(super) fn remove(dir: &Path, topic: &str) -> io::Result<()> {
    match fs::remove_dir_all(dir.join(topic)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn verify(path: &Path) -> Result<(Stamp, Closing), Damage> {
    let (stamp, mut reader) = FrameReader::begin(BufReader::with_capacity(READ_BYTES, File::open(path)?))?;
    let mut entries = EntryBatch::default();
    loop {
        if let Some(closing) = reader.next(&mut entries)? {
            return Ok((stamp, closing));
        }
    }
}

/// Reports the file in the log and gives it another name, under which it is not read.
fn set_aside(path: &Path, reason: &str) {
    let aside = path.with_extension("unused");
    tracing::warn!(file = %path.display(), reason, aside = %aside.display(), "a snapshot of state is not used: the changelog is read");
    if let Err(e) = fs::rename(path, &aside) {
        tracing::warn!(file = %path.display(), error = %e, "the snapshot could not be renamed");
    }
}

/// Removes what a process that was killed had begun to write.
fn remove_drafts(path: &Path, partition: i32) {
    let prefix = format!("{partition}.");
    let found = path.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    for file in found {
        let name = file.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".tmp")) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(file.path());
        }
    }
}
