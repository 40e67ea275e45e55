//! Changelog entries back to back in one buffer: what a restore takes at a time, and what a snapshot holds.
//!
//! ```text
//! data:  key a | state a | key b | key c | state c        rows:  a: 0..1, 1..8     b: 8..9, gone     c: 9..10, 10..17
//! ```
//!
//! An entry costs two copies and no allocation. The batch does not look into an entry, nor does it know whether a later entry
//! of the same key follows: the receiver applies the entries in order.

/// Entries of a full batch: enough that decoding their keys column by column pays.
const BATCH_ENTRIES: usize = 8192;
/// Bytes of a full batch: bounds what is held beside the state where single entries are large.
const BATCH_BYTES: usize = 1 << 20;

/// Bytes of an entry's lengths and time.
const ROW_BYTES: usize = 16;
/// The length of no value.
const GONE: u32 = u32::MAX;

/// One entry, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Key bytes.
    pub key: &'a [u8],
    /// State bytes; `None` = the entry is gone.
    pub value: Option<&'a [u8]>,
    /// Time of the record.
    pub timestamp: i64,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    key_end: usize,
    end: usize,
    there: bool,
    timestamp: i64,
}

/// Entries in order.
#[derive(Clone, Debug)]
pub struct EntryBatch {
    data: Vec<u8>,
    rows: Vec<Row>,
    /// Entries that make it full.
    most: usize,
}

impl Default for EntryBatch {
    fn default() -> EntryBatch {
        EntryBatch::of(BATCH_ENTRIES)
    }
}

impl EntryBatch {
    /// An empty batch that is full with so many entries.
    pub fn of(most: usize) -> EntryBatch {
        EntryBatch { data: Vec::new(), rows: Vec::new(), most }
    }

    /// Appends an entry.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        self.data.extend_from_slice(key);
        let key_end = self.data.len();
        self.data.extend_from_slice(value.unwrap_or_default());
        self.rows.push(Row { key_end, end: self.data.len(), there: value.is_some(), timestamp });
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No entries?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether it should be applied before more is appended.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= self.most || self.data.len() >= BATCH_BYTES
    }

    /// Entries that fit before it is full.
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.rows.len())
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Removes all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.rows.clear();
    }

    /// Appends the entries as bytes: their number, the lengths and time of each, keys and values. Little-endian; a length of
    /// [`GONE`] means no value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(4 + self.rows.len() * ROW_BYTES + self.data.len());
        out.extend_from_slice(&(self.rows.len() as u32).to_le_bytes());
        let mut start = 0;
        for row in &self.rows {
            let value = if row.there { (row.end - row.key_end) as u32 } else { GONE };
            out.extend_from_slice(&((row.key_end - start) as u32).to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
            out.extend_from_slice(&row.timestamp.to_le_bytes());
            start = row.end;
        }
        out.extend_from_slice(&self.data);
    }

    /// Takes the entries out of such bytes in place of its own; `None` = they are not such bytes, and the batch is empty.
    pub fn decode(&mut self, bytes: &[u8]) -> Option<()> {
        self.clear();
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let (rows, data) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(ROW_BYTES)?)?;
        let mut start = 0usize;
        for row in rows.as_chunks::<ROW_BYTES>().0 {
            let (lengths, timestamp) = row.split_first_chunk::<8>()?;
            let (key, value) = lengths.split_first_chunk::<4>()?;
            let (key, value) = (u32::from_le_bytes(*key), u32::from_le_bytes(value.try_into().ok()?));
            let key_end = start.checked_add(key as usize)?;
            let end = key_end.checked_add(if value == GONE { 0 } else { value as usize })?;
            let timestamp = i64::from_le_bytes(timestamp.try_into().ok()?);
            self.rows.push(Row { key_end, end, there: value != GONE, timestamp });
            start = end;
        }
        if start != data.len() {
            self.clear();
            return None;
        }
        self.data.extend_from_slice(data);
        Some(())
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let key = &self.data[start..row.key_end];
            let value = row.there.then(|| &self.data[row.key_end..row.end]);
            start = row.end;
            EntryRef { key, value, timestamp: row.timestamp }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_were() {
        let mut batch = EntryBatch::default();
        type Entry<'a> = (&'a [u8], Option<&'a [u8]>, i64);
        let entries: [Entry<'_>; 4] =
            [(b"a", Some(b"state"), 7), (b"", Some(b""), -1), (b"b", None, 0), (b"a", Some(b"x"), i64::MAX)];
        entries.iter().for_each(|&(key, value, timestamp)| batch.push(key, value, timestamp));
        let read: Vec<_> = batch.iter().map(|e| (e.key, e.value, e.timestamp)).collect();
        assert_eq!(read, entries);
        assert_eq!((batch.len(), batch.bytes()), (4, 9));
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        let mut decoded = EntryBatch::default();
        assert_eq!(decoded.decode(&bytes), Some(()));
        assert!(batch.iter().eq(decoded.iter()));
        for length in 0..bytes.len() {
            assert_eq!(decoded.decode(&bytes[..length]), None, "{length} bytes");
        }
        batch.clear();
        assert!(batch.is_empty() && batch.iter().next().is_none());
    }

    #[test]
    fn a_batch_is_full_by_entries_or_by_bytes() {
        let mut batch = EntryBatch::default();
        (0..BATCH_ENTRIES - 1).for_each(|_| batch.push(b"k", None, 0));
        assert!(!batch.is_full());
        batch.push(b"k", None, 0);
        assert!(batch.is_full());
        batch.clear();
        batch.push(b"k", Some(&vec![0; BATCH_BYTES]), 0);
        assert!(batch.is_full());
    }
}
