//! A fetch: the bytes of one or more whole batches, on their way from a segment to a reader.

use super::batch::{Batch, BatchHeader};
use super::buffer::Buffer;
use super::pruning::READ_BYTES;
use super::segment::Readable;
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// The position of the next batch, so that a sequential read needs no search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// First offset of the batch.
    pub(super) base: i64,
    /// Its first byte.
    pub(super) at: u64,
    /// Generation of the file: a compacted one has other positions.
    pub(super) generation: u32,
}

/// One or more whole batches.
#[derive(Debug)]
pub(super) struct Fetch {
    /// The bytes read.
    pub(super) buffer: Arc<Buffer>,
    /// The range that is not decoded yet.
    pub(super) rest: Range<usize>,
    /// First offset of the first batch.
    pub(super) base: i64,
    /// The file they came from, and where `buffer` starts in it.
    pub(super) origin: Option<(Readable, u64)>,
    /// Generation of that file.
    pub(super) generation: u32,
}

/// A batch, and where reading continues behind it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The batch.
    pub(super) batch: Arc<Batch>,
    /// Its first offset.
    pub(super) base: i64,
    /// The offset behind it.
    pub(super) next: i64,
    /// The position behind it in the file.
    pub(super) place: Option<Place>,
}

impl Fetch {
    /// Reads at least the batch at `start`, whose first offset is `base`.
    pub(super) fn read(readable: Readable, start: u64, base: i64, generation: u32) -> Result<Fetch> {
        let mut bytes = readable.read(start, READ_BYTES)?;
        let header = BatchHeader::read(&bytes).map_err(|e| readable.damaged(start, e))?;
        if header.len as u64 > readable.end - start {
            return Err(readable.damaged(start, "a batch is longer than what was committed"));
        }
        if header.len > bytes.len() {
            bytes = readable.read(start, header.len as u64)?;
        }
        let rest = 0..bytes.len();
        Ok(Fetch { buffer: Arc::new(bytes), rest, base, origin: Some((readable, start)), generation })
    }

    /// The position after the decoded bytes.
    pub(super) fn place(&self) -> Option<Place> {
        let place =
            |start: &u64| Place { base: self.base, at: start + self.rest.start as u64, generation: self.generation };
        self.origin.as_ref().map(|(_, start)| place(start))
    }

    /// Decodes the next batch, which `is_shared` by several readers, and passes it. `partition` names it in messages.
    pub(super) fn decode(&mut self, partition: &dyn Fn() -> String, is_shared: bool) -> Result<Held> {
        let header = BatchHeader::read(&self.buffer[self.rest.clone()]).map_err(|e| self.damaged(partition, e))?;
        if header.base != self.base {
            return Err(self.damaged(partition, "a batch is not the one expected here"));
        }
        let batch = Batch::decode(&self.buffer, self.rest.start, &header).map_err(|e| self.damaged(partition, e))?;
        let batch = Arc::new(if is_shared { batch.shared() } else { batch });
        self.rest.start += header.len;
        self.base = header.next;
        Ok(Held { batch, base: header.base, next: header.next, place: self.place() })
    }

    /// Whether the buffer contains the whole next batch.
    pub(super) fn holds_a_batch(&self) -> bool {
        let rest = &self.buffer[self.rest.clone()];
        BatchHeader::read(rest).is_ok_and(|header| header.len <= rest.len())
    }

    /// An error about the next batch.
    fn damaged(&self, partition: &dyn Fn() -> String, what: &str) -> Error {
        match &self.origin {
            Some((readable, start)) => readable.damaged(start + self.rest.start as u64, what),
            None => Error::bug(format!("partition {} is damaged in memory", partition())).with_detail(what),
        }
    }
}
