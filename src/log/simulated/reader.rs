//! Readers of the simulated log: short, empty and shuffled polls by seed.

use super::{Shared, World};
use crate::error::{Error, Result};
use crate::log::{Assignment, Fetched, Isolation, OwnedRecord, Reader, TopicId, TopicPartition};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sleep between two checks of a waiting poll.
const WAIT_STEP: Duration = Duration::from_millis(1);

/// A reader.
#[derive(Debug)]
pub(super) struct SimulatedReader {
    shared: Arc<Shared>,
    slots: Vec<Slot>,
    isolation: Isolation,
    woken: Arc<AtomicBool>,
    /// The slot that is served first.
    turn: usize,
}

/// An assigned partition.
#[derive(Debug)]
pub(super) struct Slot {
    place: TopicPartition,
    topic: TopicId,
    next: i64,
    at_end: bool,
}

impl Slot {
    /// Reads on from `next`.
    pub(super) fn new(assignment: &Assignment, topic: TopicId, next: i64) -> Slot {
        Slot { place: TopicPartition::new(assignment.topic.clone(), assignment.partition), topic, next, at_end: false }
    }

    /// Takes up to `limit` visible records; passes the markers and aborted records that follow.
    fn take(
        &mut self,
        slot: usize,
        world: &World,
        isolation: Isolation,
        limit: usize,
        out: &mut Fetched,
    ) -> Result<usize> {
        let topic = world.topics.get(&*self.place.topic).filter(|t| t.info.id == self.topic);
        let topic = topic.ok_or_else(|| Error::not_found(format!("topic {} was deleted", self.place.topic)))?;
        let partition = topic.partition(self.place.partition)?;
        let mut records: Vec<OwnedRecord> = Vec::new();
        let mut at = partition.index(self.next);
        while let Some(stored) = partition.records.get(at) {
            let visible = !stored.aborted || isolation == Isolation::ReadUncommitted;
            if visible && records.len() == limit {
                break;
            }
            if visible {
                records.push(stored.record.clone());
            }
            at += 1;
        }
        self.next = match partition.records.get(at) {
            Some(stored) => self.next.max(stored.record.offset),
            None => self.next.max(partition.next),
        };
        self.at_end = self.next >= partition.next;
        let taken = records.len();
        out.push_owned(slot, records.into(), 0..taken);
        Ok(taken)
    }
}

impl SimulatedReader {
    /// Reads these slots.
    pub(super) fn new(shared: Arc<Shared>, slots: Vec<Slot>, isolation: Isolation) -> SimulatedReader {
        SimulatedReader { shared, slots, isolation, woken: Arc::default(), turn: 0 }
    }

    fn take(&mut self, max_records: usize) -> Result<Fetched> {
        let mut fetched = Fetched::default();
        let mut world = self.shared.world.lock();
        let faults = world.faults;
        if world.rng.happens(faults.empty_poll) {
            return Ok(fetched);
        }
        let count = self.slots.len();
        let mut left = max_records.max(1);
        if world.rng.happens(faults.short_poll) {
            left = 1 + world.rng.below(left as u64) as usize;
        }
        let mut order: Vec<usize> = (0..count).map(|step| (self.turn + step) % count).collect();
        if world.rng.happens(faults.shuffle) {
            for last in (1..count).rev() {
                order.swap(last, world.rng.below(last as u64 + 1) as usize);
            }
        }
        for (step, slot) in order.into_iter().enumerate() {
            let share = left.div_ceil(count - step);
            left -= self.slots[slot].take(slot, &world, self.isolation, share, &mut fetched)?;
        }
        self.turn = (self.turn + 1) % count.max(1);
        Ok(fetched)
    }
}

impl Reader for SimulatedReader {
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched> {
        let clock = self.shared.clock.clone();
        let deadline = clock.monotonic() + timeout;
        loop {
            let fetched = self.take(max_records)?;
            let woken = self.woken.swap(false, Ordering::SeqCst);
            let left = deadline.saturating_sub(clock.monotonic());
            if !fetched.is_empty() || woken || left.is_zero() {
                return Ok(fetched);
            }
            clock.sleep(left.min(WAIT_STEP));
        }
    }

    fn position(&self, slot: usize) -> i64 {
        self.slots[slot].next
    }

    fn at_end(&self, slot: usize) -> bool {
        self.slots[slot].at_end
    }

    fn seek(&mut self, slot: usize, offset: i64) -> Result<()> {
        let slot = self.slots.get_mut(slot).ok_or_else(|| Error::bug("a reader has no such slot"))?;
        slot.next = offset.max(0);
        slot.at_end = false;
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let woken = self.woken.clone();
        Arc::new(move || woken.store(true, Ordering::SeqCst))
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}
