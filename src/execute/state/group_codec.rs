//! A group's state as bytes of a changelog entry, and back.
//!
//! ```text
//! version, 1 byte | rowtime | accumulator words (8 bytes each, big-endian) | length, bytes | length, bytes ...
//! ```
//! A word that holds a handle of the heap is written as 0; its bytes follow behind the words, with a 4-byte length.

use crate::error::{Error, Result};
use crate::functions::accumulate::{Accumulator, Heap};

/// Version of the state bytes and the memo. Another one means: rebuild from the input.
pub(crate) const STATE_VERSION: u8 = 1;
/// The same for groups of panes, which are not those of windows.
pub(crate) const PANES_VERSION: u8 = 2;

/// The numbers of a memo, after its version.
pub(crate) struct MetadataReader<'a>(std::str::Split<'a, char>);

impl<'a> MetadataReader<'a> {
    /// Begins to read; `None` = an empty memo, that of a task which has committed nothing yet.
    pub(crate) fn open(offset_metadata: &'a str) -> Result<Option<MetadataReader<'a>>> {
        if offset_metadata.is_empty() {
            return Ok(None);
        }
        let mut words = offset_metadata.split(' ');
        match words.next() == Some(STATE_VERSION.to_string().as_str()) {
            true => Ok(Some(MetadataReader(words))),
            false => Err(broken("memo has an unknown version")),
        }
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Result<i64> {
        self.0.next().and_then(|w| w.parse().ok()).ok_or_else(|| broken("memo is cut off"))
    }
}

/// Which words of a group are handles.
#[derive(Debug)]
pub(crate) struct GroupCodec {
    version: u8,
    /// Words before the accumulators: the first is the rowtime, the others are not part of the state.
    head: usize,
    handles: Vec<usize>,
}

impl GroupCodec {
    pub(crate) fn new(version: u8, head: usize, accumulators: &[Accumulator]) -> GroupCodec {
        GroupCodec { version, head, handles: accumulators.iter().filter_map(Accumulator::handle).collect() }
    }

    /// Has every state a fixed size?
    pub(crate) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Frees the bytes of a group that is gone for good.
    pub(crate) fn release(&self, words: &[i64], heap: &mut Heap) {
        self.handles.iter().for_each(|&at| heap.drop_handle(words[at]));
    }

    /// Bytes that a group keeps outside of its words.
    pub(crate) fn kept(&self, words: &[i64], heap: &Heap) -> usize {
        self.handles.iter().map(|&at| heap.get(words[at]).len()).sum()
    }

    pub(crate) fn state_bytes(&self, words: &[i64], heap: &Heap) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + (1 + words.len() - self.head) * 8);
        self.write_state(words, heap, &mut bytes);
        bytes
    }

    /// Appends the state of a group.
    pub(crate) fn write_state(&self, words: &[i64], heap: &Heap, bytes: &mut Vec<u8>) {
        bytes.push(self.version);
        bytes.extend_from_slice(&words[0].to_be_bytes());
        for (at, word) in words.iter().enumerate().skip(self.head) {
            let word = if self.handles.contains(&at) { 0 } else { *word };
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        for &at in &self.handles {
            let kept = heap.get(words[at]);
            bytes.extend_from_slice(&(kept.len() as u32).to_be_bytes());
            bytes.extend_from_slice(kept);
        }
    }

    pub(crate) fn read_state(&self, bytes: &[u8], words: &mut [i64], heap: &mut Heap) -> Result<()> {
        let wrong = || broken("entry has not the length of this query's state");
        let (&version, rest) = bytes.split_first().ok_or_else(|| broken("entry is empty"))?;
        if version != self.version {
            return Err(broken("entry has an unknown version"));
        }
        let count = 1 + words.len() - self.head;
        let (stored, mut rest) = rest.split_at_checked(count * 8).ok_or_else(wrong)?;
        let (stored, _) = stored.as_chunks::<8>();
        words.fill(0);
        words[0] = i64::from_be_bytes(stored[0]);
        for (word, bytes) in words[self.head..].iter_mut().zip(&stored[1..]) {
            *word = i64::from_be_bytes(*bytes);
        }
        for &at in &self.handles {
            let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
            let (kept, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(wrong)?;
            words[at] = if kept.is_empty() { 0 } else { heap.make(kept.to_vec()) };
            rest = behind;
        }
        if rest.is_empty() { Ok(()) } else { Err(wrong()) }
    }
}

/// State that this version cannot read: the caller rebuilds it from the input.
pub(crate) fn broken(what: &str) -> Error {
    Error::data("stored aggregate state cannot be used").with_detail(what)
}
