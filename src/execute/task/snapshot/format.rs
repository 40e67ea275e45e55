//! A snapshot as bytes: what it is of, blocks of changelog entries, and an end without which it is worth nothing.
//!
//! ```text
//! magic, 7 bytes | version, 1 byte | frame | frame ...
//! frame:   kind, 1 byte | length, 4 bytes little-endian | payload | CRC-32C of all frames up to here, 4 bytes
//! 'H'      topic id | partition | offset to continue at | topic          the first frame
//! 'B'      number of entries | (key length, value length, time) ... | keys and values
//! 'E'      number of all entries | end of the changelog                  the last frame, and nothing behind it
//! ```
//!
//! The sum of a frame covers those before it: a frame that is missing, doubled, or of another file does not pass. Nothing here
//! opens a file. A reader returns blocks before it has seen the end, so that its caller reads the whole file once before.

use crate::execute::state::entry_batch::EntryBatch;
use crate::log::TopicId;
use std::fmt;
use std::io::{self, Read};

const MAGIC: &[u8; 7] = b"tgstate";
/// Another one means that another version of Tidegate wrote it.
const VERSION: u8 = 1;
/// Payload of one frame at most: a block is closed at a MiB, and may then hold one large entry more.
const FRAME_BYTES_MAX: u32 = 1 << 30;
/// Kind and length of a frame.
const HEAD_BYTES: usize = 5;
/// A sum.
const SUM_BYTES: usize = 4;
/// Numbers of the first frame, before the topic's name.
const STAMP_BYTES: usize = 16 + 4 + 8;

const HEADER: u8 = b'H';
const BLOCK: u8 = b'B';
const END: u8 = b'E';

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The changelog.
    pub(super) topic: String,
    /// Its identity: a changelog that was created again has another one.
    pub(super) topic_id: TopicId,
    /// The partition, which is the task's number.
    pub(super) partition: i32,
    /// Every record before this offset is in the snapshot; a restore continues here.
    pub(super) offset: i64,
}

/// The last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    /// Entries in all blocks.
    pub(super) entries: u64,
    /// No record from here on is in the snapshot. It may hold later states than that of its offset, up to this end: a changelog
    /// that has lost its tail is no match any more.
    pub(super) changelog_end: i64,
}

/// Why a snapshot is not used.
#[derive(Debug)]
pub(super) enum Damage {
    /// It ends too early.
    CutOff,
    /// Bytes have changed.
    Checksum,
    /// It does not begin as a snapshot does.
    Foreign,
    /// Another version of Tidegate wrote it.
    Version(u8),
    /// The sums match and the content does not.
    Content(&'static str),
    /// It cannot be read at present.
    Io(io::Error),
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Damage {
        Damage::Io(error)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::CutOff => write!(f, "it is cut off"),
            Damage::Checksum => write!(f, "its checksum does not match"),
            Damage::Foreign => write!(f, "it is no snapshot"),
            Damage::Version(other) => write!(f, "its format has version {other}, this process reads version {VERSION}"),
            Damage::Content(what) => write!(f, "its {what} cannot be read"),
            Damage::Io(error) => write!(f, "{error}"),
        }
    }
}

/// Writes frames, one after the other.
#[derive(Debug)]
pub(super) struct FrameWriter {
    sum: u32,
    entries: u64,
}

impl FrameWriter {
    /// Appends the beginning of a file to `out`.
    pub(super) fn begin(stamp: &Stamp, out: &mut Vec<u8>) -> FrameWriter {
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        let mut writer = FrameWriter { sum: 0, entries: 0 };
        writer.frame(HEADER, out, |out| {
            out.extend_from_slice(&stamp.topic_id.0.to_le_bytes());
            out.extend_from_slice(&stamp.partition.to_le_bytes());
            out.extend_from_slice(&stamp.offset.to_le_bytes());
            out.extend_from_slice(stamp.topic.as_bytes());
        });
        writer
    }

    /// Appends a block.
    pub(super) fn block(&mut self, entries: &EntryBatch, out: &mut Vec<u8>) {
        self.entries += entries.len() as u64;
        self.frame(BLOCK, out, |out| entries.encode(out));
    }

    /// Appends the end.
    pub(super) fn end(mut self, changelog_end: i64, out: &mut Vec<u8>) {
        let entries = self.entries;
        self.frame(END, out, |out| {
            out.extend_from_slice(&entries.to_le_bytes());
            out.extend_from_slice(&changelog_end.to_le_bytes());
        });
    }

    fn frame(&mut self, kind: u8, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&[kind, 0, 0, 0, 0]);
        payload(out);
        let length = (out.len() - start - HEAD_BYTES) as u32;
        out[start + 1..start + HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        self.sum = crc32c::crc32c_append(self.sum, &out[start..]);
        out.extend_from_slice(&self.sum.to_le_bytes());
    }
}

/// Reads frames, one after the other.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    input: R,
    sum: u32,
    entries: u64,
    frame: Vec<u8>,
}

impl<R: Read> FrameReader<R> {
    /// Reads the beginning.
    pub(super) fn begin(input: R) -> Result<(Stamp, FrameReader<R>), Damage> {
        let mut reader = FrameReader { input, sum: 0, entries: 0, frame: Vec::new() };
        reader.fill(MAGIC.len() + 1)?;
        match reader.frame.strip_prefix(MAGIC) {
            Some([VERSION]) => {}
            Some([other]) => return Err(Damage::Version(*other)),
            _ => return Err(Damage::Foreign),
        }
        if reader.frame()? != HEADER {
            return Err(Damage::Content("beginning"));
        }
        let stamp = stamp(reader.payload()).ok_or(Damage::Content("beginning"))?;
        Ok((stamp, reader))
    }

    /// Reads the next block into `entries`, which is emptied before; the end, if there is none.
    pub(super) fn next(&mut self, entries: &mut EntryBatch) -> Result<Option<Closing>, Damage> {
        entries.clear();
        match self.frame()? {
            BLOCK => {
                entries.decode(self.payload()).ok_or(Damage::Content("block"))?;
                self.entries += entries.len() as u64;
                Ok(None)
            }
            END => {
                let closing = closing(self.payload()).filter(|end| end.entries == self.entries);
                let closing = closing.ok_or(Damage::Content("end"))?;
                match self.input.read(&mut [0])? {
                    0 => Ok(Some(closing)),
                    _ => Err(Damage::Content("end")),
                }
            }
            _ => Err(Damage::Content("block")),
        }
    }

    fn payload(&self) -> &[u8] {
        &self.frame[HEAD_BYTES..self.frame.len() - SUM_BYTES]
    }

    /// Reads a frame, and returns its kind.
    fn frame(&mut self) -> Result<u8, Damage> {
        self.fill(HEAD_BYTES)?;
        let length = self.frame.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length));
        let kind = self.frame[0];
        if length > FRAME_BYTES_MAX {
            return Err(Damage::Content("length"));
        }
        self.extend(length as usize + SUM_BYTES)?;
        let (summed, sum) = self.frame.split_last_chunk::<SUM_BYTES>().ok_or(Damage::CutOff)?;
        self.sum = crc32c::crc32c_append(self.sum, summed);
        if self.sum.to_le_bytes() != *sum {
            return Err(Damage::Checksum);
        }
        Ok(kind)
    }

    fn fill(&mut self, bytes: usize) -> Result<(), Damage> {
        self.frame.clear();
        self.extend(bytes)
    }

    /// A length may be wrong: memory is taken as bytes come.
    fn extend(&mut self, bytes: usize) -> Result<(), Damage> {
        let read = (&mut self.input).take(bytes as u64).read_to_end(&mut self.frame)?;
        if read == bytes { Ok(()) } else { Err(Damage::CutOff) }
    }
}

fn stamp(payload: &[u8]) -> Option<Stamp> {
    let (fixed, topic) = payload.split_first_chunk::<STAMP_BYTES>()?;
    let (id, rest) = fixed.split_first_chunk::<16>()?;
    let (partition, offset) = rest.split_first_chunk::<4>()?;
    Some(Stamp {
        topic: std::str::from_utf8(topic).ok()?.to_owned(),
        topic_id: TopicId(u128::from_le_bytes(*id)),
        partition: i32::from_le_bytes(*partition),
        offset: i64::from_le_bytes(offset.try_into().ok()?),
    })
}

fn closing(payload: &[u8]) -> Option<Closing> {
    let (entries, end) = payload.split_first_chunk::<8>()?;
    Some(Closing { entries: u64::from_le_bytes(*entries), changelog_end: i64::from_le_bytes(end.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Stamp, Vec<u8>) {
        let stamp =
            Stamp { topic: "q-Aggregate-changelog".to_owned(), topic_id: TopicId(77), partition: 3, offset: 41 };
        let mut bytes = Vec::new();
        let mut writer = FrameWriter::begin(&stamp, &mut bytes);
        for block in [&[("a", "1"), ("bb", ""), ("", "333")][..], &[("c", "4")]] {
            let mut entries = EntryBatch::default();
            block.iter().for_each(|(key, value)| entries.push(key.as_bytes(), Some(value.as_bytes()), 7));
            writer.block(&entries, &mut bytes);
        }
        writer.end(45, &mut bytes);
        (stamp, bytes)
    }

    type Entries = Vec<(Vec<u8>, Option<Vec<u8>>, i64)>;

    fn read(bytes: &[u8]) -> Result<(Stamp, Entries, Closing), Damage> {
        let (stamp, mut reader) = FrameReader::begin(bytes)?;
        let (mut all, mut block) = (Vec::new(), EntryBatch::default());
        loop {
            let end = reader.next(&mut block)?;
            all.extend(block.iter().map(|e| (e.key.to_vec(), e.value.map(<[u8]>::to_vec), e.timestamp)));
            if let Some(end) = end {
                return Ok((stamp, all, end));
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let (stamp, bytes) = sample();
        let (found, entries, closing) = read(&bytes).unwrap();
        assert_eq!((found, closing), (stamp, Closing { entries: 4, changelog_end: 45 }));
        let entry = |key: &str, value: &str| (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()), 7);
        assert_eq!(entries, [entry("a", "1"), entry("bb", ""), entry("", "333"), entry("c", "4")]);
    }

    #[test]
    fn no_file_with_a_changed_bit_or_a_missing_or_additional_byte_is_accepted() {
        let (_, bytes) = sample();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
            }
            assert!(read(&bytes[..at]).is_err(), "{at} bytes");
            let mut shorter = bytes.clone();
            shorter.remove(at);
            assert!(read(&shorter).is_err(), "without byte {at}");
            let mut longer = bytes.clone();
            longer.insert(at, 0);
            assert!(read(&longer).is_err(), "with a byte more at {at}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).is_err());
        assert!(read(&[&bytes[..], &bytes[..]].concat()).is_err());
    }

    /// Ranges of bytes that are changed, lost, doubled, moved or zeroed, some at once, as a disk or a copy may leave them.
    #[test]
    fn no_file_with_random_damage_is_accepted() {
        let (_, bytes) = sample();
        let mut seed = 7u64;
        let mut below = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n.max(1)
        };
        let mut refused = 0;
        for _ in 0..2_000 {
            let mut damaged = bytes.clone();
            for _ in 0..=below(3) {
                let from = below(damaged.len());
                let until = from + below(damaged.len() - from) + 1;
                let range = from..until.min(damaged.len());
                match below(5) {
                    0 => damaged[range].iter_mut().for_each(|byte| *byte ^= below(256) as u8),
                    1 => drop(damaged.drain(range)),
                    2 => damaged.extend_from_within(range),
                    3 => damaged[range].fill(0),
                    _ => damaged[range].reverse(),
                }
            }
            if damaged != bytes {
                refused += 1;
                assert!(read(&damaged).is_err(), "{damaged:?}");
            }
        }
        assert!(refused > 1_500, "only {refused} files were damaged");
    }

    /// Bytes whose sums are right, as an enemy would write them, are read or refused, and nothing else.
    #[test]
    fn no_content_is_a_panic() {
        let mut entries = EntryBatch::default();
        entries.push(b"key", Some(b"value"), 7);
        entries.push(b"gone", None, 8);
        let mut block = Vec::new();
        entries.encode(&mut block);
        for at in 0..block.len() {
            for byte in [0, 1, 127, 128, 255] {
                let mut changed = block.clone();
                changed[at] = byte;
                if entries.decode(&changed).is_some() {
                    assert!(
                        entries.iter().map(|e| e.key.len() + e.value.map_or(0, <[u8]>::len)).sum::<usize>()
                            < block.len()
                    );
                }
            }
        }
    }

    #[test]
    fn frames_of_another_file_or_in_another_order_do_not_pass() {
        let (stamp, bytes) = sample();
        let mut other = Vec::new();
        let writer = FrameWriter::begin(&Stamp { offset: 42, ..stamp }, &mut other);
        let head = other.len();
        writer.end(45, &mut other);
        assert!(read(&other).is_ok());
        assert!(read(&[&other[..head], &bytes[head..]].concat()).is_err());
        assert!(read(&[&bytes[..head], &other[head..]].concat()).is_err());
    }

    #[test]
    fn a_later_version_is_named() {
        let (_, mut bytes) = sample();
        bytes[MAGIC.len()] = VERSION + 1;
        assert!(matches!(read(&bytes), Err(Damage::Version(2))));
    }
}
