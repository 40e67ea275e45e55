//! A reader whose assignment names a partition more than once: two streams over one topic, each with a position of its own.
//!
//! A consumer has one position in a partition, so the partitions that are named for the second time are another consumer's. None
//! of the slots of a partition is at its end before all have read as far: what one has read the others still bring.

use super::KafkaLog;
use super::reader::KafkaReader;
use crate::error::Result;
use crate::log::{Assignment, Fetched, Isolation, Reader, TopicPartition};
use crate::types::clock::SharedClock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long one consumer is waited for before the next one is looked at: what a row waits at most because it is another consumer's.
const TURN: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub(super) struct RepeatedReader {
    readers: Vec<KafkaReader>,
    /// The reader of each slot, and the number of the slot there.
    places: Vec<(usize, usize)>,
    /// The slots that name the same partition.
    same: Vec<Vec<usize>>,
    /// The reader that the next poll begins with.
    next: usize,
    woken: Arc<AtomicBool>,
    clock: SharedClock,
}

/// Opens the reader of an assignment.
pub(super) fn open(log: &KafkaLog, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
    let mut seen: BTreeMap<TopicPartition, Vec<usize>> = BTreeMap::new();
    let mut parts: Vec<(Vec<Assignment>, Vec<usize>)> = vec![Default::default()];
    let mut places = Vec::with_capacity(assignment.len());
    for (slot, assigned) in assignment.into_iter().enumerate() {
        let before = seen.entry(TopicPartition::new(assigned.topic.clone(), assigned.partition)).or_default();
        if parts.len() == before.len() {
            parts.push(Default::default());
        }
        let (part, slots) = &mut parts[before.len()];
        places.push((before.len(), slots.len()));
        part.push(assigned);
        slots.push(slot);
        before.push(slot);
    }
    let mut same = vec![Vec::new(); places.len()];
    seen.into_values().for_each(|slots| slots.iter().for_each(|slot| same[*slot].clone_from(&slots)));
    let mut readers = Vec::with_capacity(parts.len());
    for (assignment, slots) in parts {
        readers.push(KafkaReader::open(log, assignment, slots, isolation)?);
    }
    Ok(match <[KafkaReader; 1]>::try_from(readers) {
        Ok([reader]) => Box::new(reader),
        Err(readers) => {
            let clock = log.clock().clone();
            Box::new(RepeatedReader { readers, places, same, next: 0, woken: Arc::default(), clock })
        }
    })
}

impl Reader for RepeatedReader {
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched> {
        let deadline = self.clock.monotonic() + timeout;
        let mut idle = 0;
        loop {
            let left = deadline.saturating_sub(self.clock.monotonic());
            // All of them are looked at before one is waited for.
            let wait = if idle < self.readers.len() { Duration::ZERO } else { left.min(TURN) };
            let at = self.next;
            self.next = (at + 1) % self.readers.len();
            let fetched = self.readers[at].poll(max_records, wait)?;
            idle += 1;
            let is_over = idle >= self.readers.len() && left.is_zero();
            if !fetched.is_empty() || is_over || self.woken.swap(false, Ordering::AcqRel) {
                return Ok(fetched);
            }
        }
    }

    fn position(&self, slot: usize) -> i64 {
        let (reader, slot) = self.places[slot];
        self.readers[reader].position(slot)
    }

    fn at_end(&self, slot: usize) -> bool {
        let is_last = |other: &usize| self.position(*other) <= self.position(slot);
        let (reader, nth) = self.places[slot];
        self.readers[reader].at_end(nth) && self.same[slot].iter().all(is_last)
    }

    fn seek(&mut self, slot: usize, offset: i64) -> Result<()> {
        let (reader, slot) = self.places[slot];
        self.readers[reader].seek(slot, offset)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let (woken, wakers) = (self.woken.clone(), self.readers.iter().map(Reader::waker).collect::<Vec<_>>());
        Arc::new(move || {
            woken.store(true, Ordering::Release);
            wakers.iter().for_each(|wake| wake());
        })
    }

    fn trouble(&self) -> Option<String> {
        self.readers.iter().find_map(Reader::trouble)
    }
}
