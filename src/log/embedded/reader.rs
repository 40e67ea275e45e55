//! Reads assigned partitions: each slot decodes one batch at a time and returns parts of it. What another reader has decoded
//! is taken from it ([`shared_batches`](super::shared_batches)).

use super::batch::{Batch, Block};
use super::fetch::{Fetch, Held, Place};
use super::partition::Partition;
use super::shared_batches::SharedBatches;
use super::wakeup::{Wait, Wakeup};
use crate::error::{Error, Result};
use crate::log::{Fetched, Reader};
use crate::types::clock::SharedClock;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A reader of the embedded log.
#[derive(Debug)]
pub(super) struct EmbeddedReader {
    slots: Vec<Slot>,
    wakeup: Arc<Wakeup>,
    clock: SharedClock,
    /// The slot that the next poll serves first, so that none starves.
    turn: usize,
}

#[derive(Debug)]
struct Slot {
    partition: Arc<Partition>,
    /// The reader's position.
    next: i64,
    at_end: bool,
    /// The batch being returned.
    open: Option<Open>,
    /// Bytes read ahead.
    fetch: Option<Fetch>,
    /// Batches decoded ahead, in their order.
    ahead: VecDeque<Held>,
    /// Where reading continues in the file.
    place: Option<Place>,
    /// Bytes read from files.
    bytes: u64,
    /// Batches of all readers of this log.
    batches: Arc<SharedBatches>,
    /// `next`, for the other readers of the partition.
    position: Arc<AtomicI64>,
}

/// A batch being returned.
#[derive(Debug)]
struct Open {
    batch: Arc<Batch>,
    /// Index of its next record.
    at: usize,
    /// Offset after the batch: records may be missing at its end.
    next: i64,
}

impl EmbeddedReader {
    /// Reads these partitions from these offsets.
    pub(super) fn new(
        assigned: Vec<(Arc<Partition>, i64)>,
        batches: Arc<SharedBatches>,
        clock: SharedClock,
    ) -> EmbeddedReader {
        let wakeup = Arc::new(Wakeup::default());
        let slot = |(partition, next): (Arc<Partition>, i64)| {
            partition.listen(&wakeup);
            Slot {
                position: partition.readers.join(next),
                partition,
                next,
                at_end: false,
                open: None,
                fetch: None,
                ahead: VecDeque::new(),
                place: None,
                bytes: 0,
                batches: batches.clone(),
            }
        };
        EmbeddedReader { slots: assigned.into_iter().map(slot).collect(), wakeup, clock, turn: 0 }
    }

    /// Returns the available records. The unused share of a slot is available to those after it.
    fn take(&mut self, max_records: usize) -> Result<Fetched> {
        let mut fetched = Fetched::default();
        let count = self.slots.len();
        let mut left = max_records.max(1);
        for step in 0..count {
            let at = (self.turn + step) % count;
            let share = left.div_ceil(count - step);
            left -= self.slots[at].take(at, share, &mut fetched)?.min(left);
        }
        self.turn = (self.turn + 1) % count.max(1);
        Ok(fetched)
    }

    fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched> {
        let deadline = self.clock.monotonic() + timeout;
        loop {
            self.wakeup.clear_data();
            let fetched = self.take(max_records)?;
            if !fetched.is_empty() {
                self.wakeup.clear_woken();
                return Ok(fetched);
            }
            match self.wakeup.wait(deadline.saturating_sub(self.clock.monotonic())) {
                Wait::Data => {}
                Wait::Woken | Wait::Timeout => return Ok(Fetched::default()),
            }
        }
    }

    fn position(&self, slot: usize) -> i64 {
        self.slot(slot).next
    }

    fn at_end(&self, slot: usize) -> bool {
        self.slot(slot).at_end
    }

    fn seek(&mut self, slot: usize, offset: i64) -> Result<()> {
        let slot = self.slots.get_mut(slot).ok_or_else(|| Error::bug("a reader has no such slot"))?;
        let bounds = slot.partition.bounds()?;
        slot.next = offset.max(bounds.start);
        slot.at_end = false;
        slot.discard();
        slot.position.store(slot.next, Ordering::Relaxed);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let wakeup = self.wakeup.clone();
        Arc::new(move || wakeup.wake())
    }

    fn bytes_read(&self) -> Option<u64> {
        Some(self.slots.iter().map(|s| s.bytes).sum())
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Slot {
    /// Takes up to `share` records and returns how many.
    fn take(&mut self, slot: usize, share: usize, fetched: &mut Fetched) -> Result<usize> {
        let std::ops::Range { start, end } = self.partition.bounds()?;
        if self.next < start {
            // Deleted meanwhile: reading continues with the remaining records.
            self.next = start;
            self.discard();
        }
        let mut taken = 0;
        while taken < share && self.next < end {
            if self.open.is_none() && !self.open_next()? {
                break;
            }
            let Some(open) = &mut self.open else { break };
            let to = open.batch.len().min(open.at + (share - taken));
            fetched.push_block(slot, Block::new(open.batch.clone(), open.at..to));
            taken += to - open.at;
            open.at = to;
            if to == open.batch.len() {
                self.next = open.next;
                self.open = None;
            } else {
                self.next = open.batch.offset(to);
            }
        }
        self.at_end = self.next >= end;
        self.position.store(self.next, Ordering::Relaxed);
        Ok(taken)
    }

    /// Opens the batch that contains the next record; `false` = there is none.
    fn open_next(&mut self) -> Result<bool> {
        let found = match self.found() {
            Some(found) => Some(found),
            None => self.decode()?,
        };
        let Some(Held { batch, next, place, .. }) = found else { return Ok(false) };
        self.place = place;
        self.open = Some(Open { at: batch.seek(self.next), batch, next });
        Ok(true)
    }

    /// The batch, if this reader or another one has decoded it already.
    fn found(&mut self) -> Option<Held> {
        while let Some(ahead) = self.ahead.pop_front() {
            if (ahead.base..ahead.next).contains(&self.next) {
                return Some(ahead);
            }
        }
        let found = self.batches.get(self.partition.id, self.next)?;
        self.fetch = None;
        Some(found)
    }

    /// Reads and decodes the batch. Near other readers those behind it are decoded as well, because no other reader has them: what is
    /// wrong with one of them is reported when it is reached.
    fn decode(&mut self) -> Result<Option<Held>> {
        if self.fetch.is_none() {
            self.fetch = self.partition.fetch(self.next, self.place)?;
            self.bytes += self.fetch.as_ref().map_or(0, |f| f.rest.len() as u64);
        }
        let is_shared = self.batches.is_on() && self.partition.readers.are_near(&self.position, self.next);
        let first = self.decode_one(is_shared)?;
        while is_shared && self.fetch.is_some() {
            match self.decode_one(true) {
                Ok(ahead) => self.ahead.extend(ahead),
                Err(_) => self.fetch = None,
            }
        }
        Ok(first)
    }

    fn decode_one(&mut self, is_shared: bool) -> Result<Option<Held>> {
        let Some(fetch) = &mut self.fetch else { return Ok(None) };
        let decoded = fetch.decode(&|| self.partition.name(), is_shared)?;
        self.batches.note_decoded();
        if !fetch.holds_a_batch() {
            self.fetch = None;
        }
        Ok(Some(if is_shared { self.batches.add(self.partition.id, decoded) } else { decoded }))
    }

    /// Discards what was read ahead.
    fn discard(&mut self) {
        (self.open, self.fetch, self.place) = (None, None, None);
        self.ahead.clear();
    }
}
