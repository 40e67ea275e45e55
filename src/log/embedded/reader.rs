//! Reads assigned partitions: each slot decodes one batch at a time and returns parts of it.

use super::batch::{Batch, BatchHeader, Block};
use super::partition::{Fetch, Partition, Place};
use super::wakeup::{Wait, Wakeup};
use crate::error::{Error, Result};
use crate::log::{Fetched, Reader};
use crate::types::clock::SharedClock;
use std::sync::Arc;
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
    /// Where reading continues in the file.
    place: Option<Place>,
    /// Bytes read from files.
    bytes: u64,
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
    pub(super) fn new(assigned: Vec<(Arc<Partition>, i64)>, clock: SharedClock) -> EmbeddedReader {
        let wakeup = Arc::new(Wakeup::default());
        let slot = |(partition, next): (Arc<Partition>, i64)| {
            partition.listen(&wakeup);
            Slot { partition, next, at_end: false, open: None, fetch: None, place: None, bytes: 0 }
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
        (slot.open, slot.fetch, slot.place) = (None, None, None);
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
            (self.open, self.fetch, self.place) = (None, None, None);
        }
        let mut taken = 0;
        while taken < share && self.next < end {
            if self.open.is_none() && !self.decode()? {
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
        Ok(taken)
    }

    /// Decodes the batch that contains the next record; `false` = there is none.
    fn decode(&mut self) -> Result<bool> {
        if self.fetch.is_none() {
            self.fetch = self.partition.fetch(self.next, self.place)?;
            self.bytes += self.fetch.as_ref().map_or(0, |f| f.rest.len() as u64);
        }
        let Some(fetch) = &mut self.fetch else { return Ok(false) };
        let partition = &self.partition;
        let header = BatchHeader::read(&fetch.buffer[fetch.rest.clone()]).map_err(|e| fetch.damaged(partition, e))?;
        if header.base != fetch.base {
            return Err(fetch.damaged(partition, "a batch is not the one expected here"));
        }
        let start = fetch.rest.start;
        let batch = Batch::decode(&fetch.buffer, start, &header).map_err(|e| fetch.damaged(partition, e))?;
        fetch.rest.start += header.len;
        fetch.base = header.next;
        self.place = fetch.place();
        self.open = Some(Open { at: batch.seek(self.next), batch: Arc::new(batch), next: header.next });
        if !holds_a_batch(fetch) {
            self.fetch = None;
        }
        Ok(true)
    }
}

/// Whether the buffer contains the whole next batch.
fn holds_a_batch(fetch: &Fetch) -> bool {
    let rest = &fetch.buffer[fetch.rest.clone()];
    BatchHeader::read(rest).is_ok_and(|header| header.len <= rest.len())
}
