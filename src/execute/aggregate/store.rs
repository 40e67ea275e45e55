//! What outlives a step: changelog entries, restoring from them, the undo set, the memo.
//!
//! ```text
//! key:    key bytes in the internal key format | window start, 8 bytes big-endian (windowed only)
//! value:  version, 1 byte | rowtime | accumulator words     (8 bytes each, big-endian)
//! memo:   version, stream time, late rows, separated by blanks
//! ```

use super::super::Delta;
use super::super::keys::GroupRef;
use super::{AggregateOperator, HEAD_WORDS};
use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::types::time::NEVER;

/// Version of the state bytes and the memo. Another one means: rebuild from the input.
const STATE_VERSION: u8 = 1;

/// Groups restored at a time: bounds the columns that stand beside the entries.
const RESTORE_ROWS: usize = 2048;

/// Bytes of a window start in a key.
const START_BYTES: usize = 8;

impl AggregateOperator {
    /// Entries for every group touched since the last commit and for every committed group whose window closed.
    pub(super) fn write_deltas(&mut self, deltas: &mut Vec<Delta>) -> Result<()> {
        let mut alive: Vec<GroupRef> = Vec::new();
        for image in self.images.chunks_exact(2 + self.arena.width) {
            let group = (image[0] as u32, image[1] as u32);
            if !self.segments.closed().contains(&group.0) {
                alive.push(group);
            }
        }
        for number in self.segments.open() {
            let segment = self.segments.get(number);
            alive.extend((segment.committed..segment.keys.len()).map(|nth| (number, nth)));
        }
        let mut gone: Vec<GroupRef> = Vec::new();
        for &number in self.segments.closed() {
            gone.extend((0..self.segments.get(number).committed).map(|nth| (number, nth)));
        }
        self.write_entries(&alive, true, deltas)?;
        self.write_entries(&gone, false, deltas)
    }

    fn write_entries(&mut self, groups: &[GroupRef], alive: bool, deltas: &mut Vec<Delta>) -> Result<()> {
        let keys = self.layout.encode(&self.segments, groups)?;
        for (i, &(number, nth)) in groups.iter().enumerate() {
            let segment = self.segments.get(number);
            let words = self.arena.row(segment.slot(nth));
            let mut key = keys.get(i).to_vec();
            if self.windows.is_some() {
                key.extend_from_slice(&segment.start.to_be_bytes());
            }
            deltas.push(Delta { key, value: alive.then(|| state_bytes(words)), timestamp: words[0] });
        }
        Ok(())
    }

    /// Puts the entries that `restore` took into the state, as committed.
    pub(super) fn finish_restore(&mut self) -> Result<()> {
        if self.restoring.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> = std::mem::take(&mut self.restoring).into_iter().collect();
        for chunk in entries.chunks(RESTORE_ROWS) {
            self.restore_chunk(chunk)?;
        }
        self.segments.commit(&mut self.arena);
        Ok(())
    }

    fn restore_chunk(&mut self, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let split = |key: &'_ [u8]| -> Result<(usize, i64)> {
            if self.windows.is_none() {
                return Ok((key.len(), 0));
            }
            let (_, start) = key.split_last_chunk::<START_BYTES>().ok_or_else(|| broken("key has no window start"))?;
            Ok((key.len() - START_BYTES, i64::from_be_bytes(*start)))
        };
        let parts = entries.iter().map(|(key, _)| split(key)).collect::<Result<Vec<_>>>()?;
        let columns = self.layout.decode(entries.iter().zip(&parts).map(|((key, _), part)| &key[..part.0]))?;
        let keys = self.layout.read(&columns)?;
        for (row, ((_, value), &(_, start))) in entries.iter().zip(&parts).enumerate() {
            let number = self.segments.at(start);
            let segment = self.segments.get_mut(number);
            let (nth, _) = segment.find_or_insert(keys.probe(row), keys.bytes(row), &mut self.arena);
            let slot = segment.slot(nth);
            read_state(value, self.arena.row_mut(slot))?;
        }
        Ok(())
    }

    /// Everything as it was at the last commit. Groups made since then, and their windows, vanish.
    pub(super) fn roll_back(&mut self) {
        for image in self.images.chunks_exact(2 + self.arena.width) {
            let slot = self.segments.get(image[0] as u32).slot(image[1] as u32);
            let at = slot as usize * self.arena.width;
            self.arena.words[at..at + self.arena.width].copy_from_slice(&image[2..]);
        }
        if !mutant::on(Mutant::UndoKept) {
            self.images.clear();
        }
        self.segments.abort(&mut self.arena);
        (self.time, self.late) = self.saved;
        self.changed = super::Changed::default();
        self.emission = self.emission.wrapping_add(1);
        self.epoch = self.epoch.wrapping_add(1);
    }

    pub(super) fn write_memo(&self) -> String {
        format!("{STATE_VERSION} {} {}", self.time, self.late)
    }

    /// An empty memo is that of a task which has committed nothing yet.
    pub(super) fn read_memo(&mut self, memo: &str) -> Result<()> {
        if memo.is_empty() {
            return Ok(());
        }
        let mut words = memo.split(' ');
        if words.next() != Some(STATE_VERSION.to_string().as_str()) {
            return Err(broken("memo has an unknown version"));
        }
        let mut number = || words.next().and_then(|w| w.parse::<i64>().ok()).ok_or_else(|| broken("memo is cut off"));
        self.time = number()?.max(NEVER);
        self.late = number()?.max(0) as u64;
        if mutant::on(Mutant::StreamTimeLost) {
            self.time = NEVER;
        }
        self.saved = (self.time, self.late);
        Ok(())
    }
}

fn state_bytes(words: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + (words.len() - 1) * 8);
    bytes.push(STATE_VERSION);
    bytes.extend_from_slice(&words[0].to_be_bytes());
    for word in &words[HEAD_WORDS..] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn read_state(bytes: &[u8], words: &mut [i64]) -> Result<()> {
    let (&version, rest) = bytes.split_first().ok_or_else(|| broken("entry is empty"))?;
    if version != STATE_VERSION {
        return Err(broken("entry has an unknown version"));
    }
    let (stored, extra) = rest.as_chunks::<8>();
    if stored.len() != words.len() - 1 || !extra.is_empty() {
        return Err(broken("entry has not the length of this query's state"));
    }
    words[0] = i64::from_be_bytes(stored[0]);
    words[1] = 0;
    for (word, bytes) in words[HEAD_WORDS..].iter_mut().zip(&stored[1..]) {
        *word = i64::from_be_bytes(*bytes);
    }
    Ok(())
}

/// State that this version cannot read: the caller rebuilds it from the input.
fn broken(what: &str) -> Error {
    Error::data("stored aggregate state cannot be used").with_detail(what)
}
