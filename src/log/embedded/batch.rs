//! Kafka's record batch, format v2 (KIP-98, `DefaultRecordBatch`): the content of a segment file, byte for byte what a broker
//! would store.
//!
//! ```text
//! at  field                      at  field
//!  0  base offset        i64     27  base timestamp    i64
//!  8  length after this  i32     35  max timestamp     i64
//! 12  leader epoch       i32     43  producer id       i64  -1
//! 16  magic              i8      51  producer epoch    i16  -1
//! 17  crc32c of the rest u32     53  base sequence     i32  -1
//! 21  attributes         i16     57  records           i32
//! 23  last offset delta  i32     61  the records, varint framed
//! ```
//!
//! The base timestamp is the smallest of the batch; a broker takes that of the first record, before which others may lie. So a
//! header bounds the timestamps of all its records.
//!
//! The checksum does not cover the base offset. So records can be encoded before their offsets are known,
//! and a reader has to compare it with the offset that it expects.

use super::buffer::Buffer;
use super::bytes::{Cursor, put_bytes, put_varint};
use crate::error::{Error, Result};
use crate::log::size::{RECORD_BYTES_MAX, headers_len, varint_len};
use crate::log::{Header, HeadersRef, RecordRef};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes before the first record.
pub(super) const HEADER_BYTES: usize = 61;
/// A batch is closed at this size. It is the unit of checking and decoding: a reader that starts in the middle pays for one.
const BATCH_BYTES: usize = 256 * 1024;
/// The format number.
const MAGIC: u8 = 2;
/// Where the checksummed part starts.
pub(super) const CRC_FROM: usize = 21;

/// The number of the next batch that several readers take.
static BATCH_IDS: AtomicU64 = AtomicU64::new(0);

/// Encodes the records of one partition, as one or more batches in one buffer.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    batches: Vec<Sealed>,
    open: Option<Open>,
    records: i64,
}

/// The batch being filled.
#[derive(Debug)]
struct Open {
    at: usize,
    base_timestamp: i64,
    max_timestamp: i64,
    records: i32,
}

/// A finished batch within a buffer.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    /// Its bytes.
    pub(super) range: Range<usize>,
    /// Number of records, also of offsets.
    pub(super) records: i32,
    /// Largest timestamp.
    pub(super) max_timestamp: i64,
    /// Smallest timestamp.
    pub(super) base_timestamp: i64,
}

/// All batches of one partition, offsets still counted from 0.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The batches, concatenated.
    pub(super) bytes: Vec<u8>,
    /// The range of each.
    pub(super) batches: Vec<Sealed>,
    /// Number of records.
    pub(super) records: i64,
}

impl Encoder {
    /// Adds a record. `floor` is the smallest timestamp among it and some that follow.
    pub(super) fn push(
        &mut self,
        timestamp: i64,
        floor: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<()> {
        if timestamp < 0 {
            return Err(Error::data(format!("timestamp {timestamp} is before 1970")));
        }
        let key_len = key.map_or(0, <[u8]>::len);
        let value_len = value.map_or(0, <[u8]>::len);
        let headers_len = headers_len(headers);
        if key_len + value_len + headers_len > RECORD_BYTES_MAX {
            return Err(Error::data("record is too large")
                .with_detail(format!("{} bytes, at most {RECORD_BYTES_MAX} fit", key_len + value_len + headers_len)));
        }
        let closes = |open: &Open| self.bytes.len() - open.at >= BATCH_BYTES || timestamp < open.base_timestamp;
        if self.open.as_ref().is_some_and(closes) {
            self.seal();
        }
        let at = self.bytes.len();
        let open = self.open.get_or_insert_with(|| {
            self.bytes.resize(at + HEADER_BYTES, 0);
            Open { at, base_timestamp: floor.min(timestamp), max_timestamp: timestamp, records: 0 }
        });
        let time = timestamp - open.base_timestamp;
        let place = i64::from(open.records);
        open.max_timestamp = open.max_timestamp.max(timestamp);
        open.records += 1;
        let key_size = key.map_or(-1, |k| k.len() as i64);
        let value_size = value.map_or(-1, |v| v.len() as i64);
        let len = 1
            + varint_len(time)
            + varint_len(place)
            + varint_len(key_size)
            + key_len
            + varint_len(value_size)
            + value_len
            + headers_len;
        let out = &mut self.bytes;
        out.reserve(len + 5);
        put_varint(out, len as i64);
        out.push(0);
        put_varint(out, time);
        put_varint(out, place);
        put_varint(out, key_size);
        out.extend_from_slice(key.unwrap_or_default());
        put_varint(out, value_size);
        out.extend_from_slice(value.unwrap_or_default());
        put_headers(out, headers);
        Ok(())
    }

    /// No records so far?
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Closes the last batch and returns all of them.
    pub(super) fn finish(mut self) -> Encoded {
        self.seal();
        Encoded { bytes: self.bytes, batches: self.batches, records: self.records }
    }

    fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        let end = self.bytes.len();
        let batch = &mut self.bytes[open.at..end];
        let mut put = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.records.to_be_bytes());
        put(8, &((end - open.at - 12) as i32).to_be_bytes());
        put(16, &[MAGIC]);
        put(23, &(open.records - 1).to_be_bytes());
        put(27, &open.base_timestamp.to_be_bytes());
        put(35, &open.max_timestamp.to_be_bytes());
        put(43, &(-1i64).to_be_bytes());
        put(51, &(-1i16).to_be_bytes());
        put(53, &(-1i32).to_be_bytes());
        put(57, &open.records.to_be_bytes());
        let crc = crc32c::crc32c(&batch[CRC_FROM..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        self.records += i64::from(open.records);
        let Open { records, max_timestamp, base_timestamp, .. } = open;
        self.batches.push(Sealed { range: open.at..end, records, max_timestamp, base_timestamp });
    }
}

impl Encoded {
    /// Sets the base offsets of the batches.
    pub(super) fn rebase(&mut self, first: i64) {
        let mut base = first;
        for batch in &self.batches {
            self.bytes[batch.range.start..batch.range.start + 8].copy_from_slice(&base.to_be_bytes());
            base += i64::from(batch.records);
        }
    }
}

/// A batch header: the first 61 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchHeader {
    /// Offset of the first record.
    pub(super) base: i64,
    /// Bytes of the whole batch.
    pub(super) len: usize,
    /// Offset after the last record.
    pub(super) next: i64,
    /// Largest timestamp.
    pub(super) max_timestamp: i64,
    /// Smallest timestamp.
    pub(super) base_timestamp: i64,
    records: i32,
    crc: u32,
}

impl BatchHeader {
    /// Reads a header; `Err` describes what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<BatchHeader, &'static str> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Err("a batch header is cut off") };
        let int = |at: usize| i32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| i64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let (base, len, last, records) = (long(0), int(8), int(23), int(57));
        if header[16] != MAGIC {
            return Err("not a record batch of format 2");
        }
        if header[21..23] != [0, 0] {
            return Err("a batch has attributes that were never written");
        }
        if len < (HEADER_BYTES - 12) as i32
            || base < 0
            || last < 0
            || records < 0
            || base.checked_add(i64::from(last) + 1).is_none()
        {
            return Err("a batch header is damaged");
        }
        Ok(BatchHeader {
            base,
            len: len as usize + 12,
            next: base + i64::from(last) + 1,
            base_timestamp: long(27),
            max_timestamp: long(35),
            records,
            crc: int(17) as u32,
        })
    }
}

/// A checked and indexed batch: all readers of it share its buffer.
#[derive(Debug)]
pub(super) struct Batch {
    buffer: Arc<Buffer>,
    start: usize,
    entries: Vec<Entry>,
    /// Bytes of all keys and values.
    payload: u32,
    /// A number that no other batch of the process has, if several readers take this one.
    id: Option<u64>,
}

/// The positions of a record's parts, relative to the batch's first byte. A length of -1 is null.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    timestamp: i64,
    key_at: u32,
    key_len: i32,
    value_at: u32,
    value_len: i32,
    /// Headers directly follow the value.
    headers_len: u32,
    /// Bytes of the keys and values of the records before it, so that a reader counts a block without visiting its records.
    payload_before: u32,
}

impl Batch {
    /// Checks and indexes the batch that starts at `start`.
    pub(super) fn decode(buffer: &Arc<Buffer>, start: usize, header: &BatchHeader) -> Result<Batch, &'static str> {
        let Some(bytes) = buffer.get(start..start + header.len) else { return Err("a batch is cut off") };
        if crc32c::crc32c(&bytes[CRC_FROM..]) != header.crc {
            return Err("a batch does not match its checksum");
        }
        let mut entries = Vec::with_capacity((header.records as usize).min(header.len / 7));
        let mut cursor = Cursor::from(bytes, HEADER_BYTES);
        let (mut next, mut payload) = (header.base, 0);
        for _ in 0..header.records {
            let (mut entry, bytes) = record(&mut cursor, header).ok_or("a record is damaged")?;
            if entry.offset < next {
                return Err("records are not in the order of their offsets");
            }
            next = entry.offset + 1;
            entry.payload_before = payload;
            // All of it lies within the batch, whose length is a u32.
            payload += bytes;
            entries.push(entry);
        }
        match cursor.is_done() {
            true => Ok(Batch { buffer: buffer.clone(), start, entries, payload, id: None }),
            false => Err("a batch is longer than its records"),
        }
    }

    /// The same for several readers, who know it by its number.
    pub(super) fn shared(self) -> Batch {
        Batch { id: Some(BATCH_IDS.fetch_add(1, Ordering::Relaxed)), ..self }
    }

    /// Memory that it occupies.
    pub(super) fn memory_bytes(&self) -> usize {
        self.payload as usize + self.entries.len() * size_of::<Entry>()
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Index of the first record at or after `offset`.
    pub(super) fn seek(&self, offset: i64) -> usize {
        self.entries.partition_point(|e| e.offset < offset)
    }

    /// Offset of a record.
    pub(super) fn offset(&self, index: usize) -> i64 {
        self.entries[index].offset
    }

    /// Offset of the first record from `low` on that is no older.
    pub(super) fn first_at_or_after(&self, timestamp: i64, low: i64) -> Option<i64> {
        self.entries.iter().find(|e| e.timestamp >= timestamp && e.offset >= low).map(|e| e.offset)
    }

    /// All bytes.
    pub(super) fn bytes(&self, header: &BatchHeader) -> &[u8] {
        &self.buffer[self.start..self.start + header.len]
    }

    /// Visits offset, timestamp, key and whether there is a value.
    pub(super) fn for_each_key(&self, mut each: impl FnMut(i64, i64, Option<&[u8]>, bool)) {
        let bytes = &self.buffer[self.start..];
        for e in &self.entries {
            let key = (e.key_len >= 0).then(|| &bytes[e.key_at as usize..(e.key_at + e.key_len as u32) as usize]);
            each(e.offset, e.timestamp, key, e.value_len >= 0);
        }
    }
}

/// A record, and the bytes of its key and value.
#[inline]
fn record(cursor: &mut Cursor<'_>, header: &BatchHeader) -> Option<(Entry, u32)> {
    let len = usize::try_from(cursor.varint()?).ok()?;
    let start = cursor.at();
    cursor.byte()?;
    let timestamp = header.base_timestamp.checked_add(cursor.varint()?)?;
    let offset = header.base.checked_add(cursor.varint()?).filter(|o| (header.base..header.next).contains(o))?;
    let (key_at, key_len) = nullable(cursor)?;
    let key_bytes = cursor.at() as u32 - key_at;
    let (value_at, value_len) = nullable(cursor)?;
    let headers_at = cursor.at() as u32;
    let payload = key_bytes + (headers_at - value_at);
    let headers = cursor.count()?;
    for _ in 0..headers {
        let name = cursor.bytes()?;
        std::str::from_utf8(name).ok()?;
        nullable(cursor)?;
    }
    let headers_len = if headers == 0 { 0 } else { cursor.at() as u32 - headers_at };
    let entry = Entry { offset, timestamp, key_at, key_len, value_at, value_len, headers_len, payload_before: 0 };
    (cursor.at() - start == len).then_some((entry, payload))
}

#[inline]
fn nullable(cursor: &mut Cursor<'_>) -> Option<(u32, i32)> {
    let len = cursor.varint()?;
    let at = cursor.at() as u32;
    if len < 0 {
        return (len == -1).then_some((at, -1));
    }
    cursor.take(len as usize)?;
    Some((at, i32::try_from(len).ok()?))
}

/// Records of one batch, as encoded in the file.
#[derive(Clone, Debug)]
pub struct Block {
    batch: Arc<Batch>,
    range: Range<usize>,
}

impl Block {
    /// Some records of a batch.
    pub(super) fn new(batch: Arc<Batch>, range: Range<usize>) -> Block {
        Block { batch, range }
    }

    /// The number of its batch, all of the batch, and which records of it these are, if other readers take the batch as well.
    pub(crate) fn shared(&self) -> Option<(u64, Block, Range<usize>)> {
        let all = Block { batch: self.batch.clone(), range: 0..self.batch.len() };
        Some((self.batch.id?, all, self.range.clone()))
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> u64 {
        let before = |index: usize| self.batch.entries.get(index).map_or(self.batch.payload, |e| e.payload_before);
        u64::from(before(self.range.end) - before(self.range.start))
    }

    /// Calls `each` for every record.
    pub(crate) fn for_each(&self, mut each: impl FnMut(RecordRef<'_>)) {
        let bytes = &self.batch.buffer[self.batch.start..];
        let slice = |at: u32, len: i32| (len >= 0).then(|| &bytes[at as usize..at as usize + len as usize]);
        for e in &self.batch.entries[self.range.clone()] {
            let headers = self.raw_headers(e);
            let (key, value) = (slice(e.key_at, e.key_len), slice(e.value_at, e.value_len));
            each(RecordRef { offset: e.offset, timestamp: e.timestamp, key, value, headers });
        }
    }

    /// Headers of the record at `index`.
    pub(crate) fn headers(&self, index: usize) -> Vec<Header> {
        self.raw_headers(&self.batch.entries[self.range.start + index]).to_vec()
    }

    #[inline(always)]
    fn raw_headers(&self, e: &Entry) -> HeadersRef<'_> {
        let bytes = &self.batch.buffer[self.batch.start..];
        match e.headers_len {
            0 => HeadersRef::None,
            len => {
                let at = e.value_at as usize + e.value_len.max(0) as usize;
                HeadersRef::Encoded(RawHeaders(&bytes[at..at + len as usize]))
            }
        }
    }

    /// Timestamp of the first record.
    pub(crate) fn first_timestamp(&self) -> i64 {
        self.batch.entries[self.range.start].timestamp
    }

    /// Offset of the first record.
    pub(crate) fn first_offset(&self) -> i64 {
        self.batch.entries[self.range.start].offset
    }
}

/// Headers of a record, as encoded in the file. They were checked when the batch was decoded.
#[derive(Clone, Copy, Debug)]
pub struct RawHeaders<'a>(&'a [u8]);

impl RawHeaders<'_> {
    /// Copies them out.
    pub fn to_vec(&self) -> Vec<Header> {
        let mut cursor = Cursor::new(self.0);
        let count = cursor.count().unwrap_or(0);
        (0..count).map_while(|_| header(&mut cursor)).collect()
    }
}

fn header(cursor: &mut Cursor<'_>) -> Option<Header> {
    let key = cursor.text()?.to_owned();
    let value = match cursor.varint()? {
        -1 => None,
        len => Some(cursor.take(usize::try_from(len).ok()?)?.to_vec()),
    };
    Some(Header { key, value })
}

fn put_headers(out: &mut Vec<u8>, headers: &[Header]) {
    put_varint(out, headers.len() as i64);
    for h in headers {
        put_bytes(out, h.key.as_bytes());
        match &h.value {
            Some(value) => put_bytes(out, value),
            None => put_varint(out, -1),
        }
    }
}
