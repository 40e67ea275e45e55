//! Recovery at the start: whatever the process was doing when it ended, the journal decides what is committed.
//!
//! Bytes that no entry covers are truncated, files that no entry names are removed, and bytes that an entry carries are written
//! again. A file that is shorter than the journal says is damaged: the start fails and names it.

use super::commit::topic_directory;
use super::entry::Change;
use super::index;
use super::journal::{self, Journal};
use super::manifest::{Manifest, PartitionMeta};
use super::partition::Partition;
use super::segment::{damaged, failed};
use crate::config::private;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A commit's bytes that may not have reached their file.
struct Carried {
    topic: u128,
    partition: usize,
    segment: i64,
    start: u64,
    data: Vec<u8>,
}

/// Opens the journal, or starts one, and brings the files in line with it.
pub(super) fn open(directory: &Path, fresh_id: impl FnOnce() -> Result<u128>) -> Result<(Journal, Manifest)> {
    let mut manifest = Manifest::default();
    let mut carried = Vec::new();
    let opened = Journal::open(directory, |change| {
        manifest.apply(change)?;
        collect(change, &mut carried);
        Ok(())
    })?;
    let Some(mut journal) = opened else {
        refuse_orphans(directory)?;
        return Ok((Journal::create(directory, fresh_id()?, 0, &manifest)?, manifest));
    };
    write_again(directory, &manifest, &carried)?;
    let mut known = BTreeSet::new();
    for (id, topic) in &manifest.topics {
        let home = topic_directory(directory, *id, &topic.name);
        for (number, partition) in topic.partitions.iter().enumerate() {
            trim(&home, number, partition)?;
        }
        known.insert(home);
    }
    remove_unknown(&directory.join("topics"), &known)?;
    if !carried.is_empty()
        && let Err(error) = journal.compact(&manifest)
    {
        // The disk is full: the journal stays valid, it is only longer.
        tracing::warn!(%error, "cannot compact the journal");
    }
    Ok((journal, manifest))
}

fn collect(change: &Change<'_>, carried: &mut Vec<Carried>) {
    let Change::Commit(commit) = change else { return };
    for part in &commit.parts {
        let Some(data) = part.data else { continue };
        let (topic, partition, segment, start) = (part.topic, part.partition as usize, part.segment, part.start);
        carried.push(Carried { topic, partition, segment, start, data: data.to_vec() });
    }
}

/// A directory with topics but without a journal was created by another program or has lost its journal: nothing may be removed.
fn refuse_orphans(directory: &Path) -> Result<()> {
    let topics = directory.join("topics");
    match std::fs::read_dir(&topics).ok().and_then(|mut entries| entries.next()) {
        None => Ok(()),
        Some(_) => Err(Error::io(format!("{} is missing", directory.join(journal::FILE).display()))
            .with_detail(format!(
                "{} holds topics, and only the journal says what in them is committed",
                topics.display()
            ))
            .with_hint("restore the file from a copy, or choose an empty directory")),
    }
}

/// Writes the bytes in journal entries to their files, unless topic or file have been deleted since, and syncs them.
fn write_again(directory: &Path, manifest: &Manifest, carried: &[Carried]) -> Result<()> {
    let mut files: BTreeMap<PathBuf, File> = BTreeMap::new();
    for c in carried {
        let Some(topic) = manifest.topics.get(&c.topic) else { continue };
        let Some(segment) = topic
            .partitions
            .get(c.partition)
            .and_then(|p| p.segments.iter().find(|s| s.base == c.segment && s.generation == 0))
        else {
            continue;
        };
        let home = topic_directory(directory, c.topic, &topic.name);
        let path = Partition::path(&home, c.partition, segment);
        if !files.contains_key(&path) {
            let parent = path.parent().unwrap_or(directory);
            private::create_dir_all(parent).map_err(|e| failed("create", parent, e))?;
            let opened = private::options().write(true).create(true).truncate(false).open(&path);
            files.insert(path.clone(), opened.map_err(|e| failed("open", &path, e))?);
        }
        // Never beyond the end of the file: a hole would look like data.
        let file = &files[&path];
        let len = file.metadata().map_err(|e| failed("read", &path, e))?.len();
        if len < c.start {
            return Err(damaged(&path, len, "committed records are missing at the end of the file"));
        }
        file.write_all_at(&c.data, c.start).map_err(|e| failed("write", &path, e))?;
    }
    for (path, file) in &files {
        file.sync_all().map_err(|e| failed("sync", path, e))?;
        path.ancestors().skip(1).take(3).try_for_each(journal::sync_directory)?;
    }
    Ok(())
}

/// Truncates what is not committed, and removes files that the journal does not name.
fn trim(home: &Path, number: usize, partition: &PartitionMeta) -> Result<()> {
    let mut known = BTreeSet::new();
    for segment in &partition.segments {
        let path = Partition::path(home, number, segment);
        let len = match std::fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) => return Err(failed("read", &path, e).with_hint("restore the file from a copy")),
        };
        if len < segment.end {
            return Err(damaged(&path, len, "committed records are missing at the end of the file"));
        }
        if len > segment.end {
            // Its entries for the truncated bytes would be wrong for the bytes that replace them.
            index::remove(&path);
            let cut = OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(segment.end));
            cut.map_err(|e| failed("truncate", &path, e))?;
        }
        known.insert(index::path_of(&path));
        known.insert(path);
    }
    remove_unknown(&home.join(number.to_string()), &known)
}

/// Removes unknown entries of a directory: remains of a creation or deletion that a crash interrupted.
fn remove_unknown(directory: &Path, known: &BTreeSet<PathBuf>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(|e| failed("read", directory, e))?.path();
        if known.contains(&path) || !is_ours(&path) {
            continue;
        }
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|e| failed("remove", &path, e))?;
    }
    Ok(())
}

/// Whether the name has one of our forms: `<topic>-<32 hex digits>`, `<20 digits>.log` or `<20 digits>.<digits>.log`,
/// or an index of such a file?
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let topic =
        name.rsplit_once('-').is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let digits = |n: &str| n.bytes().all(|b| b.is_ascii_digit());
    let segment = name.strip_suffix(".log").or(name.strip_suffix(".index")).is_some_and(|n| {
        let (base, generation) = n.split_once('.').unwrap_or((n, "1"));
        base.len() == 20 && digits(base) && !generation.is_empty() && digits(generation)
    });
    topic || segment
}
