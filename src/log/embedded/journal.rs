//! `commits.log`: the single source of truth. A transaction is committed when its entry is complete in this file.
//!
//! ```text
//! file   "TIDEGATE" version:u32 cluster:[u8;16] crc32c:u32, then entries
//! entry  "TGJ1" length:u32 crc32c:u32 body, where body = sequence number, change
//! ```
//!
//! An incomplete last entry belongs to a commit that never returned, and is truncated. An incomplete entry with a complete one
//! after it is damage: the log refuses to open. Checksums are salted with the cluster id, so that bytes that a client wrote
//! into a topic cannot pass for an entry. When the file has grown, a new one that starts with a snapshot replaces it.

use super::bytes::{Cursor, put_varint};
use super::entry::Change;
use super::manifest::Manifest;
use super::segment::{damaged, failed, is_removed, removed};
use crate::config::private;
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The journal's name.
pub(super) const FILE: &str = "commits.log";
/// Its replacement while it is written.
const NEW_FILE: &str = "commits.log.new";
const MAGIC: &[u8; 8] = b"TIDEGATE";
/// Version of the format above, and of those of segments and changes.
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 32;
const ENTRY_MAGIC: &[u8; 4] = b"TGJ1";
const ENTRY_HEADER_BYTES: usize = 12;

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    file: File,
    /// Bytes of complete entries.
    len: u64,
    /// Bytes of the snapshot it starts with.
    snapshot_len: u64,
    sequence: i64,
    salt: u32,
    cluster: u128,
    /// Reused between entries.
    buffer: Vec<u8>,
}

/// How an append failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The journal is unchanged.
    Undone(Error),
    /// The change may or may not be on disk: the log accepts no writes until it is opened again.
    Unknown(Error),
}

impl Journal {
    /// Writes a journal that starts with `manifest`, in place of the existing one.
    pub(super) fn create(directory: &Path, cluster: u128, sequence: i64, manifest: &Manifest) -> Result<Journal> {
        let salt = crc32c::crc32c(&cluster.to_le_bytes());
        let mut buffer = Vec::new();
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        buffer.extend_from_slice(&cluster.to_le_bytes());
        buffer.extend_from_slice(&crc32c::crc32c(&buffer).to_le_bytes());
        frame(&mut buffer, salt, sequence, &Change::Snapshot(Box::new(manifest.clone())));
        let (new, path) = (directory.join(NEW_FILE), directory.join(FILE));
        let file = write_new(&new, &buffer).inspect_err(|_| {
            // On a full disk the partial file would occupy space that the old journal needs.
            let _ = std::fs::remove_file(&new);
        })?;
        std::fs::rename(&new, &path).map_err(|e| failed("rename", &new, e))?;
        sync_directory(directory)?;
        let len = buffer.len() as u64;
        buffer.clear();
        Ok(Journal { directory: directory.into(), file, len, snapshot_len: len, sequence, salt, cluster, buffer })
    }

    /// Opens a journal and calls `each` for every change, in order. `None` = there is no journal.
    pub(super) fn open(directory: &Path, mut each: impl FnMut(&Change<'_>) -> Result<()>) -> Result<Option<Journal>> {
        let path = directory.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("read", &path, e)),
        };
        let cluster = header(&bytes).map_err(|what| damaged(&path, 0, what))?;
        let salt = crc32c::crc32c(&cluster.to_le_bytes());
        let (mut at, mut sequence, mut snapshot_len) = (HEADER_BYTES, None, 0);
        while let Some((body, next)) = entry(&bytes, at, salt) {
            let mut cursor = Cursor::new(body);
            let number = cursor.varint();
            let change = number.and_then(|_| Change::decode(&body[cursor.at()..]));
            let (Some(number), Some(change)) = (number, change) else {
                return Err(damaged(&path, at as u64, "an entry is not understood"));
            };
            match sequence {
                None if matches!(change, Change::Snapshot(_)) => snapshot_len = next as u64,
                Some(last) if number == last + 1 => {}
                _ => return Err(damaged(&path, at as u64, "an entry is missing before this one")),
            }
            sequence = Some(number);
            each(&change).map_err(|e| damaged(&path, at as u64, &e.to_string()))?;
            at = next;
        }
        let Some(sequence) = sequence else { return Err(damaged(&path, at as u64, "the snapshot is not whole")) };
        let file = OpenOptions::new().write(true).open(&path).map_err(|e| failed("open", &path, e))?;
        cut_torn_tail(&file, &path, &bytes, at, salt)?;
        let (len, directory) = (at as u64, directory.to_path_buf());
        Ok(Some(Journal { directory, file, len, snapshot_len, sequence, salt, cluster, buffer: Vec::new() }))
    }

    /// Cluster id of this log.
    pub(super) fn cluster(&self) -> u128 {
        self.cluster
    }

    /// Appends a change.
    pub(super) fn append(&mut self, change: &Change<'_>, sync: bool) -> Result<(), Failure> {
        self.buffer.clear();
        frame(&mut self.buffer, self.salt, self.sequence + 1, change);
        let path = || self.directory.join(FILE);
        if is_removed(&self.file) {
            return Err(Failure::Unknown(removed(&path())));
        }
        if let Err(e) = self.file.write_all_at(&self.buffer, self.len) {
            // Part of the entry may be in the file. A start would truncate it, but not if a later entry follows.
            return Err(match self.file.set_len(self.len) {
                Ok(()) => Failure::Undone(failed("write", &path(), e)),
                Err(e) => Failure::Unknown(failed("truncate", &path(), e)),
            });
        }
        if sync {
            // After a failed sync the state on disk is unknown until the log is opened again.
            self.file.sync_data().map_err(|e| Failure::Unknown(failed("sync", &path(), e)))?;
        }
        self.len += self.buffer.len() as u64;
        self.sequence += 1;
        Ok(())
    }

    /// Makes everything appended so far survive a power failure.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| failed("sync", &self.directory.join(FILE), e))
    }

    /// Whether a snapshot is due: four times the size of the last one keeps the cost of snapshots below that of entries.
    pub(super) fn has_grown(&self, limit: u64) -> bool {
        self.len > limit.max(4 * self.snapshot_len)
    }

    /// Replaces all entries by a snapshot. The caller has synced all segments, whose data may be in these entries.
    pub(super) fn compact(&mut self, manifest: &Manifest) -> Result<()> {
        *self = Journal::create(&self.directory, self.cluster, self.sequence + 1, manifest)?;
        Ok(())
    }
}

/// Makes new entries of a directory survive a power failure.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| failed("sync", directory, e))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<File> {
    let mut file =
        private::options().write(true).create(true).truncate(true).open(path).map_err(|e| failed("create", path, e))?;
    file.write_all(bytes).map_err(|e| failed("write", path, e))?;
    file.sync_all().map_err(|e| failed("sync", path, e))?;
    Ok(file)
}

fn frame(out: &mut Vec<u8>, salt: u32, sequence: i64, change: &Change<'_>) {
    let start = out.len();
    out.extend_from_slice(ENTRY_MAGIC);
    out.extend_from_slice(&[0; 8]);
    put_varint(out, sequence);
    change.encode(out);
    let len = (out.len() - start - ENTRY_HEADER_BYTES) as u32;
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let crc = checksum(salt, len, &out[start + ENTRY_HEADER_BYTES..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(salt: u32, len: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, &len.to_le_bytes()), body)
}

/// The complete entry at `at`, and where the next one starts.
fn entry(bytes: &[u8], at: usize, salt: u32) -> Option<(&[u8], usize)> {
    let header = bytes.get(at..at + ENTRY_HEADER_BYTES)?;
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let start = at + ENTRY_HEADER_BYTES;
    let body = bytes.get(start..start.checked_add(word(4) as usize)?)?;
    let whole = &header[..4] == ENTRY_MAGIC && checksum(salt, word(4), body) == word(8);
    whole.then_some((body, start + body.len()))
}

fn header(bytes: &[u8]) -> Result<u128, &'static str> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Err("the file header is cut off") };
    if &header[..8] != MAGIC {
        return Err("this is not a journal of tidegate");
    }
    if crc32c::crc32c(&header[..28]).to_le_bytes() != header[28..] {
        return Err("the file header does not match its checksum");
    }
    if header[8..12] != VERSION.to_le_bytes() {
        return Err("this journal was written by another version of tidegate");
    }
    Ok(u128::from_le_bytes(header[12..28].try_into().expect("sixteen bytes")))
}

/// Truncates the file after the last complete entry, unless it contains another complete one.
fn cut_torn_tail(file: &File, path: &Path, bytes: &[u8], end: usize, salt: u32) -> Result<()> {
    if end == bytes.len() {
        return Ok(());
    }
    let behind =
        memchr::memmem::find_iter(&bytes[end..], ENTRY_MAGIC).find(|at| entry(bytes, end + at, salt).is_some());
    if behind.is_some() {
        return Err(damaged(path, end as u64, "an entry is damaged and later commits follow it"));
    }
    tracing::warn!(file = %path.display(), bytes = bytes.len() - end, "cut off an unfinished commit");
    file.set_len(end as u64).and_then(|()| file.sync_all()).map_err(|e| failed("truncate", path, e))
}
