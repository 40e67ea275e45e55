//! Messages in batches, straight from the consumer's queue.

use super::{milliseconds, text};
use crate::log::kafka::client::Events;
use crate::log::{Header, HeadersRef, RecordRef};
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr::{RD_KAFKA_RESP_ERR__PARTITION_EOF, RD_KAFKA_RESP_ERR_NO_ERROR};
use std::collections::HashMap;
use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

/// A consumer's queue, and the queue of its log lines, which would otherwise go to stderr.
pub(in crate::log::kafka) struct ConsumerQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    logs: NonNull<sys::rd_kafka_queue_t>,
    /// Dropped after `Drop::drop` has given the queues back.
    consumer: BaseConsumer<Events>,
}

// SAFETY: librdkafka's queues and clients may be used from several threads at once.
unsafe impl Send for ConsumerQueue {}
// SAFETY: as above.
unsafe impl Sync for ConsumerQueue {}

impl fmt::Debug for ConsumerQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumerQueue")
    }
}

/// What a batch consists of.
pub(in crate::log::kafka) enum QueueEvent {
    /// Records of one slot, and the offset after the last of them.
    Records(usize, Messages, i64),
    /// The end of a slot's partition, at this offset.
    End(usize, i64),
    /// Something is wrong with a slot (or with the consumer as a whole).
    Trouble(Option<usize>, RDKafkaErrorCode, String),
}

/// Finds the slot of a message: by topic handle and partition, which librdkafka keeps while a partition is assigned.
pub(in crate::log::kafka) struct Slots {
    by_name: HashMap<(String, i32), usize>,
    by_handle: HashMap<(usize, i32), usize>,
    places: Vec<(CString, i32)>,
    /// The last result: messages come in long runs of one partition.
    last: (usize, i32, usize),
}

impl Slots {
    /// Slots in the order of `partitions`.
    pub(in crate::log::kafka) fn new<'a>(partitions: impl Iterator<Item = (&'a str, i32)> + Clone) -> Slots {
        // A name with a zero byte is no topic's: it stays without an end.
        let places = partitions.clone().map(|(topic, p)| (CString::new(topic).unwrap_or_default(), p)).collect();
        let by_name = partitions.enumerate().map(|(slot, (topic, p))| ((topic.to_owned(), p), slot)).collect();
        Slots { by_name, by_handle: HashMap::new(), places, last: (0, -1, 0) }
    }

    /// # Safety
    /// `topic` is NULL or a live topic handle.
    unsafe fn find(&mut self, topic: *mut sys::rd_kafka_topic_t, partition: i32) -> Option<usize> {
        let handle = topic as usize;
        if (self.last.0, self.last.1) == (handle, partition) {
            return Some(self.last.2);
        }
        if topic.is_null() {
            return None;
        }
        let slot = match self.by_handle.get(&(handle, partition)) {
            Some(slot) => *slot,
            None => {
                // SAFETY: promised by the caller.
                let name = unsafe { text(sys::rd_kafka_topic_name(topic)) };
                let slot = *self.by_name.get(&(name, partition))?;
                self.by_handle.insert((handle, partition), slot);
                slot
            }
        };
        self.last = (handle, partition, slot);
        Some(slot)
    }
}

impl ConsumerQueue {
    /// Takes a consumer that has a group id (librdkafka serves it through one queue) and never subscribes.
    pub(in crate::log::kafka) fn new(consumer: BaseConsumer<Events>) -> Option<Arc<ConsumerQueue>> {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives as long as the consumer; both queues are given back in `Drop`.
        unsafe {
            let logs = NonNull::new(sys::rd_kafka_queue_new(client))?;
            sys::rd_kafka_set_log_queue(client, logs.as_ptr());
            let queue = NonNull::new(sys::rd_kafka_queue_get_consumer(client))?;
            Some(Arc::new(ConsumerQueue { queue, logs, consumer }))
        }
    }

    /// The consumer, for everything but polling.
    pub(in crate::log::kafka) fn consumer(&self) -> &BaseConsumer<Events> {
        &self.consumer
    }

    /// The high watermark of a slot in the last fetch response, without a request.
    pub(in crate::log::kafka) fn known_end(&self, slots: &Slots, slot: usize) -> Option<i64> {
        let (topic, partition) = &slots.places[slot];
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client lives; both numbers are ours.
        let code = unsafe {
            let client = self.consumer.client().native_ptr();
            sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), *partition, &mut low, &mut high)
        };
        (code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Ends a running or the next [`ConsumerQueue::poll`].
    pub(in crate::log::kafka) fn wake(&self) {
        // SAFETY: the queue lives as long as self.
        unsafe { sys::rd_kafka_queue_yield(self.queue.as_ptr()) }
    }

    /// Waits for one message, then takes what else is there, up to `max`: librdkafka's own batch call would wait for a
    /// full batch.
    pub(in crate::log::kafka) fn poll(
        self: &Arc<ConsumerQueue>,
        slots: &mut Slots,
        max: usize,
        timeout: Duration,
    ) -> Vec<QueueEvent> {
        let mut batch: Vec<*mut sys::rd_kafka_message_t> = Vec::with_capacity(max.max(1));
        // SAFETY: the vector has room for `max` pointers, of which the calls fill as many as they say.
        unsafe {
            let take = |at: *mut *mut sys::rd_kafka_message_t, room: usize, wait: i32| {
                sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait, at, room).max(0) as usize
            };
            let mut got = take(batch.as_mut_ptr(), 1, milliseconds(timeout));
            if got == 1 && max > 1 {
                got += take(batch.as_mut_ptr().add(1), max - 1, 0);
            }
            batch.set_len(got);
        }
        self.sort(slots, batch)
    }

    /// Cuts a batch into runs of one slot.
    fn sort(self: &Arc<ConsumerQueue>, slots: &mut Slots, batch: Vec<*mut sys::rd_kafka_message_t>) -> Vec<QueueEvent> {
        let mut arrivals: Vec<QueueEvent> = Vec::new();
        let mut run: Option<(usize, Messages)> = None;
        for pointer in batch {
            // SAFETY: librdkafka handed out a valid message that is ours until destroyed.
            let (message, slot) = unsafe { (&*pointer, slots.find((*pointer).rkt, (*pointer).partition)) };
            match slot {
                Some(slot) if message.err == RD_KAFKA_RESP_ERR_NO_ERROR => match &mut run {
                    Some((current, messages)) if *current == slot => messages.push(pointer, message),
                    _ => {
                        arrivals.extend(run.take().map(finished));
                        let mut messages = Messages { pointers: Vec::new(), bytes: 0, _inbox: Arc::clone(self) };
                        messages.push(pointer, message);
                        run = Some((slot, messages));
                    }
                },
                _ => {
                    arrivals.extend(run.take().map(finished));
                    // SAFETY: as above; the message is not touched after it was destroyed.
                    unsafe {
                        arrivals.extend(event(message, slot));
                        sys::rd_kafka_message_destroy(pointer);
                    }
                }
            }
        }
        arrivals.extend(run.take().map(finished));
        arrivals
    }

    /// Hands the waiting log lines to the consumer's context.
    pub(in crate::log::kafka) fn drain_logs(&self) {
        loop {
            // SAFETY: an event is valid until destroyed, and so are the texts that it lends.
            unsafe {
                let event = sys::rd_kafka_queue_poll(self.logs.as_ptr(), 0);
                if event.is_null() {
                    return;
                }
                let (mut facility, mut line, mut level) = (null(), null(), 0);
                if sys::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                    self.consumer.context().line(level, text(facility).trim(), text(line).trim());
                }
                sys::rd_kafka_event_destroy(event);
            }
        }
    }
}

impl Drop for ConsumerQueue {
    fn drop(&mut self) {
        self.drain_logs();
        // SAFETY: both handles are ours and not used any more.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(self.logs.as_ptr());
        }
    }
}

fn finished((slot, messages): (usize, Messages)) -> QueueEvent {
    let end = messages.last_offset() + 1;
    QueueEvent::Records(slot, messages, end)
}

/// # Safety
/// `message` is a valid message with an error, or one of a partition that is not assigned.
unsafe fn event(message: &sys::rd_kafka_message_t, slot: Option<usize>) -> Option<QueueEvent> {
    match (message.err, slot) {
        (RD_KAFKA_RESP_ERR_NO_ERROR, _) => None,
        (RD_KAFKA_RESP_ERR__PARTITION_EOF, Some(slot)) => Some(QueueEvent::End(slot, message.offset)),
        (RD_KAFKA_RESP_ERR__PARTITION_EOF, None) => None,
        (code, slot) => {
            // SAFETY: promised by the caller.
            let reason = unsafe { text(sys::rd_kafka_message_errstr(message)) };
            Some(QueueEvent::Trouble(slot, code.into(), reason))
        }
    }
}

/// Messages of one partition, as librdkafka handed them over: at least one.
pub struct Messages {
    pointers: Vec<*mut sys::rd_kafka_message_t>,
    /// Bytes of all keys and values, summed up while the messages are sorted and in the cache anyway.
    bytes: u64,
    /// A message points into its consumer, which must not go first.
    _inbox: Arc<ConsumerQueue>,
}

// SAFETY: a message may be read and destroyed on another thread than the one that received it.
unsafe impl Send for Messages {}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("len", &self.len()).finish()
    }
}

impl Messages {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.pointers.len()
    }

    /// Adds a message.
    fn push(&mut self, pointer: *mut sys::rd_kafka_message_t, message: &sys::rd_kafka_message_t) {
        self.bytes += (message.key_len + message.len) as u64;
        self.pointers.push(pointer);
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Calls `each` for every record.
    pub(crate) fn for_each(&self, mut each: impl FnMut(RecordRef<'_>)) {
        for pointer in &self.pointers {
            // SAFETY: the messages are ours until `Drop`, and what they lend lives as long.
            let message = unsafe { &**pointer };
            each(RecordRef {
                offset: message.offset,
                timestamp: timestamp(message),
                key: bytes(message, message.key, message.key_len),
                value: bytes(message, message.payload, message.len),
                headers: HeadersRef::Kafka(RawHeaders { message: *pointer, lives: PhantomData }),
            });
        }
    }

    /// Headers of the record at `index`.
    pub(crate) fn headers(&self, index: usize) -> Vec<Header> {
        RawHeaders { message: self.pointers[index], lives: PhantomData }.to_vec()
    }

    /// Timestamp of the first record.
    pub(crate) fn first_timestamp(&self) -> i64 {
        // SAFETY: as in `for_each`.
        self.pointers.first().map_or(0, |pointer| timestamp(unsafe { &**pointer }))
    }

    /// Offset of the first record.
    pub(crate) fn first_offset(&self) -> i64 {
        // SAFETY: as in `for_each`.
        self.pointers.first().map_or(-1, |pointer| unsafe { (**pointer).offset })
    }

    fn last_offset(&self) -> i64 {
        // SAFETY: as in `for_each`.
        self.pointers.last().map_or(-1, |pointer| unsafe { (**pointer).offset })
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        for pointer in &self.pointers {
            // SAFETY: every pointer was handed to us once and is destroyed once.
            unsafe { sys::rd_kafka_message_destroy(*pointer) };
        }
    }
}

fn timestamp(message: &sys::rd_kafka_message_t) -> i64 {
    // SAFETY: reads the message only; the type of timestamp is not asked for.
    unsafe { sys::rd_kafka_message_timestamp(message, null_mut()) }
}

/// Bytes that live as long as the message: `None` for NULL, which is not the same as no bytes.
fn bytes(_message: &sys::rd_kafka_message_t, at: *mut std::ffi::c_void, len: usize) -> Option<&[u8]> {
    // SAFETY: librdkafka keeps `len` bytes there until the message is destroyed.
    (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at as *const u8, len) })
}

/// Headers of a message, still in librdkafka's memory.
#[derive(Clone, Copy, Debug)]
pub struct RawHeaders<'a> {
    message: *mut sys::rd_kafka_message_t,
    lives: PhantomData<&'a Messages>,
}

impl RawHeaders<'_> {
    /// Copies them out.
    pub fn to_vec(&self) -> Vec<Header> {
        let mut headers = Vec::new();
        // SAFETY: the message outlives self; names and values belong to it.
        unsafe {
            let mut list = null_mut();
            if sys::rd_kafka_message_headers(self.message, &mut list) != RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers;
            }
            let (mut name, mut value, mut size) = (null(), null(), 0);
            while sys::rd_kafka_header_get_all(list, headers.len(), &mut name, &mut value, &mut size)
                == RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let value = (!value.is_null()).then(|| slice::from_raw_parts(value as *const u8, size).to_vec());
                headers.push(Header { key: text(name), value });
            }
        }
        headers
    }
}
