//! Reading assigned partitions.
//!
//! Positions are derived from the records and end-of-partition events that were returned; they pass transaction markers and
//! aborted records with the next event. librdkafka's own position is used only where it can be ahead: its batch call also
//! counts an end-of-partition event as a record, so it is trusted up to a limit.

use super::client::{Events, failed, retire};
use super::ffi::{ConsumerQueue, QueueEvent, Slots};
use super::{KafkaLog, make_client};
use crate::error::{Error, Result};
use crate::log::{Assignment, Fetched, Isolation, Reader};
use crate::types::clock::SharedClock;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a seek may fail because fetching of the partition has not started yet.
const SEEK_PATIENCE: Duration = Duration::from_secs(5);
/// Timeout of one seek.
const SEEK_WAIT: Duration = Duration::from_secs(1);
/// Interval and timeout of checking whether an unreachable broker is back.
const CHECK_PAUSE: Duration = Duration::from_secs(1);
const CHECK_WAIT: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct KafkaReader {
    queue: Arc<ConsumerQueue>,
    slots: Slots,
    assignment: Vec<Assignment>,
    /// What its caller calls the slots.
    numbers: Vec<usize>,
    events: Events,
    clock: SharedClock,
    positions: Vec<i64>,
    /// Offset of the last end-of-partition event while nothing was read after it.
    ends: Vec<Option<i64>>,
    /// Whether the last record that was returned was the last one of the partition.
    last: Vec<bool>,
    checked: Duration,
}

impl fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaReader").field("assignment", &self.assignment).finish()
    }
}

impl KafkaReader {
    /// `numbers` are what its caller calls the slots.
    pub(super) fn open(
        log: &KafkaLog,
        assignment: Vec<Assignment>,
        numbers: Vec<usize>,
        isolation: Isolation,
    ) -> Result<KafkaReader> {
        let mut positions = Vec::with_capacity(assignment.len());
        for a in &assignment {
            positions.push(log.start_offset(a, isolation)?);
        }
        let events = Events::new("reader", log.clock().clone());
        let config = log.settings().reader(isolation_level(isolation));
        let consumer: BaseConsumer<Events> = make_client(&config, events.clone(), "make a consumer")?;
        let queue = ConsumerQueue::new(consumer).ok_or_else(|| Error::bug("the consumer has no queue"))?;
        let slots = Slots::new(assignment.iter().map(|a| (&*a.topic, a.partition)));
        let (ends, last) = (vec![None; assignment.len()], vec![false; assignment.len()]);
        let (clock, checked) = (log.clock().clone(), Duration::ZERO);
        let reader = KafkaReader { queue, slots, assignment, numbers, events, clock, positions, ends, last, checked };
        reader.assign()?;
        Ok(reader)
    }

    /// Assigns all partitions at their positions.
    fn assign(&self) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (a, position) in self.assignment.iter().zip(&self.positions) {
            list.add_partition_offset(&a.topic, a.partition, Offset::Offset(*position))
                .map_err(|e| failed("assign partitions", e))?;
        }
        self.queue.consumer().assign(&list).map_err(|e| failed("assign partitions", e))
    }

    fn receive(&mut self, arrivals: Vec<QueueEvent>) -> Result<Fetched> {
        let mut fetched = Fetched::default();
        for arrival in arrivals {
            match arrival {
                QueueEvent::Records(slot, messages, end) => {
                    self.positions[slot] = end;
                    self.ends[slot] = None;
                    self.last[slot] = self.queue.known_end(&self.slots, slot).is_some_and(|known| end >= known);
                    self.events.set_trouble(None);
                    fetched.push_kafka(self.numbers[slot], messages);
                }
                QueueEvent::End(slot, offset) => {
                    self.positions[slot] = self.positions[slot].max(offset);
                    self.ends[slot] = Some(offset);
                    self.events.set_trouble(None);
                }
                QueueEvent::Trouble(slot, code, reason) => self.hindered(slot, code, &reason)?,
            }
        }
        Ok(fetched)
    }

    fn hindered(&mut self, slot: Option<usize>, code: RDKafkaErrorCode, reason: &str) -> Result<()> {
        let place = slot.map_or("the cluster".to_owned(), |s| {
            format!("{}-{}", self.assignment[s].topic, self.assignment[s].partition)
        });
        if code == RDKafkaErrorCode::AutoOffsetReset {
            // The records were deleted before they were read, or the topic was recreated: never a silent jump.
            let at = slot.map_or(-1, |s| self.positions[s]);
            return Err(Error::io(format!("{place} has no offset {at}")).with_detail(reason.to_owned()));
        }
        let trouble = format!("{place}: {reason}");
        self.events.line(4, "READ", &trouble);
        self.events.set_trouble(Some(trouble));
        Ok(())
    }

    /// Advances positions past markers and aborted records behind the last returned record (KAFKA-10167).
    fn pass_markers(&mut self) {
        let Ok(list) = self.queue.consumer().position() else { return };
        for (slot, element) in list.elements().iter().enumerate().take(self.positions.len()) {
            let Offset::Offset(at) = element.offset() else { continue };
            let same = element.partition() == self.assignment[slot].partition
                && element.topic() == &*self.assignment[slot].topic;
            // One past an end-of-partition event counts the event itself, not a record.
            if same && at > self.positions[slot] && self.ends[slot].is_none_or(|end| at != end + 1) {
                self.positions[slot] = at;
            }
        }
    }

    /// Checks whether the broker is back: at the idle end of a partition no event reports it.
    fn check_trouble(&mut self) {
        let now = self.clock.monotonic();
        if self.events.trouble().is_none() || now.saturating_sub(self.checked) < CHECK_PAUSE {
            return;
        }
        self.checked = now;
        let Some(first) = self.assignment.first() else { return };
        if self.queue.consumer().fetch_watermarks(&first.topic, first.partition, CHECK_WAIT).is_ok() {
            self.events.set_trouble(None);
        }
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, max_records: usize, timeout: Duration) -> Result<Fetched> {
        let deadline = self.clock.monotonic() + timeout;
        let mut wait = timeout;
        loop {
            let arrivals = self.queue.poll(&mut self.slots, max_records, wait);
            self.queue.drain_logs();
            let idle = arrivals.is_empty();
            let fetched = self.receive(arrivals)?;
            if fetched.len() < max_records {
                self.pass_markers();
            }
            wait = deadline.saturating_sub(self.clock.monotonic());
            if idle {
                self.check_trouble();
            }
            // Events without a record do not end a poll; only the timeout and the waker do.
            if idle || !fetched.is_empty() || wait.is_zero() {
                return Ok(fetched);
            }
        }
    }

    fn position(&self, slot: usize) -> i64 {
        self.positions[slot]
    }

    fn at_end(&self, slot: usize) -> bool {
        self.ends[slot].is_some() || self.last[slot]
    }

    fn seek(&mut self, slot: usize, offset: i64) -> Result<()> {
        let a = &self.assignment[slot];
        let deadline = self.clock.monotonic() + SEEK_PATIENCE;
        while let Err(error) = self.queue.consumer().seek(&a.topic, a.partition, Offset::Offset(offset), SEEK_WAIT) {
            // A seek fails until fetching of the partition has started.
            if self.clock.monotonic() > deadline {
                return Err(failed(&format!("go to offset {offset} of {}-{}", a.topic, a.partition), error));
            }
            self.clock.sleep(Duration::from_millis(5));
        }
        self.positions[slot] = offset;
        (self.ends[slot], self.last[slot]) = (None, false);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let queue = Arc::clone(&self.queue);
        Arc::new(move || queue.wake())
    }

    fn trouble(&self) -> Option<String> {
        self.events.trouble()
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        retire(Arc::clone(&self.queue));
    }
}

/// The name of an isolation level in librdkafka's settings.
pub(super) fn isolation_level(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    }
}
