//! Batches that several readers of a partition take: one of them reads, checks and indexes them, and the others find them here.
//!
//! ```text
//! reader A at 5000: reads 5000..9000 from the file --> [5000..6000] [6000..7000] [7000..8000] [8000..9000]
//! reader B at 6000: takes [6000..7000] from here
//! reader C at 100:  no other reader is near; reads for itself, and leaves nothing here
//! ```
//!
//! Readers never wait for each other: a reader that finds nothing reads the file, even while another one reads the same bytes.
//! Batches are released in the order in which they were added, so that a reader that falls behind delays nothing and keeps nothing.

use super::fetch::Held;
use crate::log::Sharing;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Readers of a partition that are this many records apart share what they read: four rounds of a query.
const NEAR_RECORDS: u64 = 65_536;

/// A partition and the first offset of a batch.
type Key = (u64, i64);

/// The shared batches of a log.
#[derive(Debug)]
pub(super) struct SharedBatches {
    held: Mutex<HeldBatches>,
    /// Their size at most; 0 = nothing is shared.
    bytes_max: usize,
    /// Batches that a reader added, and batches that a reader found.
    decoded: AtomicU64,
    taken: AtomicU64,
}

#[derive(Debug, Default)]
struct HeldBatches {
    batches: BTreeMap<Key, Held>,
    /// Oldest first. May name batches that were removed.
    order: VecDeque<Key>,
    bytes: usize,
}

impl SharedBatches {
    /// At most so many bytes of batches.
    pub(super) fn new(bytes_max: usize) -> SharedBatches {
        SharedBatches { held: Mutex::default(), bytes_max, decoded: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// Whether anything is shared.
    pub(super) fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// The batch of a partition that contains `offset`.
    pub(super) fn get(&self, partition: u64, offset: i64) -> Option<Held> {
        let held = self.held.lock();
        let (_, last) = held.batches.range((partition, i64::MIN)..=(partition, offset)).next_back()?;
        let found = (offset < last.next).then(|| last.clone());
        if found.is_some() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Adds a batch, unless another reader was faster: then its batch is returned.
    pub(super) fn add(&self, partition: u64, new: Held) -> Held {
        let key = (partition, new.base);
        let mut held = self.held.lock();
        if let Some(known) = held.batches.get(&key).filter(|known| known.next == new.next) {
            return known.clone();
        }
        held.remove(&key);
        held.bytes += new.batch.memory_bytes();
        held.batches.insert(key, new.clone());
        held.order.push_back(key);
        while held.bytes > self.bytes_max
            && let Some(oldest) = held.order.pop_front()
        {
            held.remove(&oldest);
        }
        new
    }

    /// Removes the batches of a partition whose files were replaced or deleted.
    pub(super) fn forget(&self, partition: u64) {
        let mut held = self.held.lock();
        let gone: Vec<Key> =
            held.batches.range((partition, i64::MIN)..=(partition, i64::MAX)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| held.remove(key));
        held.order.retain(|(of, _)| *of != partition);
    }

    /// Counts a batch that a reader has checked and indexed.
    pub(super) fn note_decoded(&self) {
        self.decoded.fetch_add(1, Ordering::Relaxed);
    }

    /// Batches that readers have checked and indexed, and batches that they found here instead.
    pub(super) fn counts(&self) -> Sharing {
        Sharing { decoded: self.decoded.load(Ordering::Relaxed), taken: self.taken.load(Ordering::Relaxed) }
    }
}

impl HeldBatches {
    fn remove(&mut self, key: &Key) {
        if let Some(held) = self.batches.remove(key) {
            self.bytes -= held.batch.memory_bytes();
        }
    }
}

/// Where the readers of a partition are.
#[derive(Debug, Default)]
pub(super) struct ReaderPositions(Mutex<Vec<Weak<AtomicI64>>>);

impl ReaderPositions {
    /// A reader that begins at `offset`; the others see the returned position for as long as it is held.
    pub(super) fn join(&self, offset: i64) -> Arc<AtomicI64> {
        let own = Arc::new(AtomicI64::new(offset));
        let mut positions = self.0.lock();
        positions.retain(|position| position.strong_count() > 0);
        positions.push(Arc::downgrade(&own));
        own
    }

    /// Whether a reader besides `own` is near `offset`.
    pub(super) fn are_near(&self, own: &Arc<AtomicI64>, offset: i64) -> bool {
        let others = |position: &Weak<AtomicI64>| position.upgrade().filter(|other| !Arc::ptr_eq(other, own));
        let is_near = |at: Arc<AtomicI64>| at.load(Ordering::Relaxed).abs_diff(offset) <= NEAR_RECORDS;
        self.0.lock().iter().filter_map(others).any(is_near)
    }
}
