//! A batch without some of its records: the bytes of those that stay are copied as they are, since they count offset and
//! time from the batch's own, which do not change.

use super::batch::{Batch, BatchHeader, CRC_FROM, HEADER_BYTES};
use super::bytes::Cursor;

/// A batch being rewritten.
#[derive(Debug)]
pub(super) struct Thinned {
    base: i64,
    records: i32,
    bytes: Vec<u8>,
}

impl Batch {
    /// A copy with the records that `keep` wants, which is asked for offset, timestamp, key and whether there is a value.
    pub(super) fn thin(
        &self,
        header: &BatchHeader,
        mut keep: impl FnMut(i64, i64, Option<&[u8]>, bool) -> bool,
    ) -> Thinned {
        let from = self.bytes(header);
        let mut wanted = Vec::with_capacity(self.len());
        self.for_each_key(|offset, time, key, value| wanted.push(keep(offset, time, key, value)));
        let mut bytes = from[..HEADER_BYTES].to_vec();
        let mut cursor = Cursor::from(from, HEADER_BYTES);
        let mut records = 0;
        for wanted in wanted {
            let start = cursor.at();
            // The batch was decoded: its lengths are right.
            let len = cursor.varint().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
            let _ = cursor.take(len);
            if wanted {
                bytes.extend_from_slice(&from[start..cursor.at()]);
                records += 1;
            }
        }
        Thinned { base: header.base, records, bytes }
    }
}

impl Thinned {
    /// Nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Covers all offsets before `next` too; `false` if they are too many for one batch.
    pub(super) fn cover(&mut self, next: i64) -> bool {
        let Ok(last) = i32::try_from(next - 1 - self.base) else { return false };
        self.bytes[23..27].copy_from_slice(&last.to_be_bytes());
        true
    }

    /// First offset and bytes.
    pub(super) fn finish(mut self) -> (i64, Vec<u8>) {
        let len = (self.bytes.len() - 12) as i32;
        self.bytes[8..12].copy_from_slice(&len.to_be_bytes());
        self.bytes[57..61].copy_from_slice(&self.records.to_be_bytes());
        let crc = crc32c::crc32c(&self.bytes[CRC_FROM..]);
        self.bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        (self.base, self.bytes)
    }
}
