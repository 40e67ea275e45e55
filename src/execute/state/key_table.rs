//! Key -> ordinal of its first sight, for the keys of one window. Ordinals never decide an order that anybody sees.
//!
//! Open addressing with a fixed seed, at most half full. A key that fits in a word is stored in its bucket; of any other key
//! the hash does, and its bytes are compared.

const FREE: u32 = u32::MAX;

/// How a key is looked up: its tag is compared in the bucket, its home says which bucket comes first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probe {
    /// The key itself (a number), or its hash.
    pub(crate) tag: u64,
    /// Mixed bits.
    pub(crate) home: u64,
}

impl Probe {
    #[inline(always)]
    pub(crate) fn number(value: i64) -> Probe {
        Probe { tag: value as u64, home: mix(value as u64) }
    }

    #[inline(always)]
    pub(crate) fn bytes(bytes: &[u8]) -> Probe {
        let hash = hash(bytes);
        Probe { tag: hash, home: hash }
    }
}

/// Spreads the bits of a word.
#[inline(always)]
pub(crate) fn mix(x: u64) -> u64 {
    let p = u128::from(x ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93u128;
    (p as u64) ^ ((p >> 64) as u64)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mix(hash ^ u64::from_le_bytes(chunk.try_into().expect("chunks of 8")));
    }
    let mut last = [0u8; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(hash ^ u64::from_le_bytes(last))
}

/// Keys of one window, by ordinal.
#[derive(Debug)]
pub(crate) enum Keys {
    /// INTEGER and BIGINT.
    Numbers(Vec<i64>),
    /// Everything else, as bytes back to back; `ends[i]` is one past key `i`.
    Bytes {
        /// All bytes.
        data: Vec<u8>,
        /// Ends.
        ends: Vec<usize>,
    },
}

/// A hash table over [`Keys`].
#[derive(Debug)]
pub(crate) struct KeyTable {
    buckets: Vec<(u64, u32)>,
    keys: Keys,
}

impl KeyTable {
    pub(crate) fn new(numbers: bool) -> KeyTable {
        let keys = match numbers {
            true => Keys::Numbers(Vec::new()),
            false => Keys::Bytes { data: Vec::new(), ends: Vec::new() },
        };
        KeyTable { buckets: Vec::new(), keys }
    }

    /// Are keys numbers?
    pub(crate) fn is_numbers(&self) -> bool {
        matches!(self.keys, Keys::Numbers(_))
    }

    /// Memory that it takes.
    pub(crate) fn size(&self) -> usize {
        let keys = match &self.keys {
            Keys::Numbers(numbers) => numbers.capacity() * size_of::<i64>(),
            Keys::Bytes { data, ends } => data.capacity() + ends.capacity() * size_of::<usize>(),
        };
        keys + self.buckets.capacity() * size_of::<(u64, u32)>()
    }

    pub(crate) fn len(&self) -> u32 {
        match &self.keys {
            Keys::Numbers(numbers) => numbers.len() as u32,
            Keys::Bytes { ends, .. } => ends.len() as u32,
        }
    }

    /// The key with this ordinal, where keys are numbers.
    pub(crate) fn number(&self, nth: u32) -> i64 {
        match &self.keys {
            Keys::Numbers(numbers) => numbers[nth as usize],
            Keys::Bytes { .. } => unreachable!("the layout of a key never changes"),
        }
    }

    /// The key with this ordinal, where keys are bytes; empty where they are numbers.
    pub(crate) fn bytes(&self, nth: u32) -> &[u8] {
        match &self.keys {
            Keys::Bytes { data, ends } => {
                let start = if nth == 0 { 0 } else { ends[nth as usize - 1] };
                &data[start..ends[nth as usize]]
            }
            Keys::Numbers(_) => &[],
        }
    }

    /// The content of the key's first bucket: most often the key's ordinal, but only [`KeyTable::find_or_insert`] knows.
    /// Many such loads in a row overlap their cache misses.
    #[inline(always)]
    pub(crate) fn candidate(&self, probe: Probe) -> u32 {
        match self.buckets.len() {
            0 => FREE,
            n => self.buckets[probe.home as usize & (n - 1)].1,
        }
    }

    /// Touches the bytes that a candidate will be compared with.
    #[inline(always)]
    pub(crate) fn warm(&self, candidate: u32) -> u8 {
        match &self.keys {
            Keys::Bytes { data, ends } if candidate != FREE => {
                data.get(ends[candidate as usize].wrapping_sub(1)).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Ordinal of the key, if it is there.
    #[inline(always)]
    pub(crate) fn find(&self, probe: Probe, bytes: &[u8]) -> Option<u32> {
        let mask = self.buckets.len().checked_sub(1)?;
        let mut at = probe.home as usize & mask;
        loop {
            let (tag, nth) = self.buckets[at];
            if nth == FREE {
                return None;
            }
            if tag == probe.tag && self.holds(nth, bytes) {
                return Some(nth);
            }
            at = (at + 1) & mask;
        }
    }

    /// How the key with this ordinal is looked up.
    pub(crate) fn probe(&self, nth: u32) -> Probe {
        match &self.keys {
            Keys::Numbers(numbers) => Probe::number(numbers[nth as usize]),
            Keys::Bytes { .. } => Probe::bytes(self.bytes(nth)),
        }
    }

    /// Ordinal of the key, and whether it is new. `bytes` is empty where keys are numbers.
    #[inline(always)]
    pub(crate) fn find_or_insert(&mut self, probe: Probe, bytes: &[u8]) -> (u32, bool) {
        let len = self.len();
        if (len as usize + 1) * 2 > self.buckets.len() {
            self.grow();
        }
        let mask = self.buckets.len() - 1;
        let mut at = probe.home as usize & mask;
        loop {
            let (tag, nth) = self.buckets[at];
            if nth == FREE {
                break;
            }
            if tag == probe.tag && self.holds(nth, bytes) {
                return (nth, false);
            }
            at = (at + 1) & mask;
        }
        self.buckets[at] = (probe.tag, len);
        match &mut self.keys {
            Keys::Numbers(numbers) => numbers.push(probe.tag as i64),
            Keys::Bytes { data, ends } => {
                data.extend_from_slice(bytes);
                ends.push(data.len());
            }
        }
        (len, true)
    }

    /// Takes a key of another table of the same layout; returns its ordinal here.
    pub(crate) fn adopt(&mut self, other: &KeyTable, nth: u32) -> u32 {
        match &other.keys {
            Keys::Numbers(numbers) => self.find_or_insert(Probe::number(numbers[nth as usize]), &[]).0,
            Keys::Bytes { .. } => self.find_or_insert(Probe::bytes(other.bytes(nth)), other.bytes(nth)).0,
        }
    }

    /// Forgets all keys from ordinal `len` on.
    pub(crate) fn truncate(&mut self, len: u32) {
        if len == self.len() {
            return;
        }
        match &mut self.keys {
            Keys::Numbers(numbers) => numbers.truncate(len as usize),
            Keys::Bytes { data, ends } => {
                ends.truncate(len as usize);
                data.truncate(ends.last().copied().unwrap_or(0));
            }
        }
        self.rebuild();
    }

    #[inline(always)]
    fn holds(&self, nth: u32, bytes: &[u8]) -> bool {
        match &self.keys {
            Keys::Numbers(_) => true,
            Keys::Bytes { .. } => self.bytes(nth) == bytes,
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.buckets.len() * 2).max(16);
        let old = std::mem::replace(&mut self.buckets, vec![(0, FREE); size]);
        let numbers = matches!(self.keys, Keys::Numbers(_));
        for (tag, nth) in old.into_iter().filter(|bucket| bucket.1 != FREE) {
            self.place(Probe { tag, home: if numbers { mix(tag) } else { tag } }, nth);
        }
    }

    fn rebuild(&mut self) {
        self.buckets.fill((0, FREE));
        for nth in 0..self.len() {
            self.place(self.probe(nth), nth);
        }
    }

    fn place(&mut self, probe: Probe, nth: u32) {
        let mask = self.buckets.len() - 1;
        let mut at = probe.home as usize & mask;
        while self.buckets[at].1 != FREE {
            at = (at + 1) & mask;
        }
        self.buckets[at] = (probe.tag, nth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_again_and_a_cut_forgets() {
        for numbers in [true, false] {
            let mut table = KeyTable::new(numbers);
            let key = |i: u32| format!("key {i}").into_bytes();
            let probe = |i: u32| if numbers { Probe::number(i64::from(i) - 500) } else { Probe::bytes(&key(i)) };
            let bytes = |i: u32| if numbers { Vec::new() } else { key(i) };
            for i in 0..1000 {
                assert_eq!(table.find_or_insert(probe(i), &bytes(i)), (i, true));
            }
            for i in 0..1000 {
                assert_eq!(table.find_or_insert(probe(i), &bytes(i)), (i, false));
            }
            table.truncate(10);
            assert_eq!(table.find_or_insert(probe(9), &bytes(9)), (9, false));
            assert_eq!(table.find_or_insert(probe(500), &bytes(500)), (10, true));
        }
    }

    #[test]
    fn equal_hashes_of_different_keys_are_told_apart() {
        let mut table = KeyTable::new(false);
        let probe = Probe { tag: 7, home: 7 };
        assert_eq!(table.find_or_insert(probe, b"a"), (0, true));
        assert_eq!(table.find_or_insert(probe, b"b"), (1, true));
        assert_eq!(table.find_or_insert(probe, b"a"), (0, false));
    }
}
