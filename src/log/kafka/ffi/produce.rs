//! Writing rows: a producer of our own around librdkafka's client. rdkafka's accepts no interceptor such as the one below,
//! waits 100 ms in every flush (librdkafka's own flush spins instead), and looks up the topic by name for every row.

use super::{milliseconds, text};
use crate::log::kafka::client::{Events, Reports};
use crate::log::{Header, TopicPartition};
use parking_lot::RwLock;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr::{self, RD_KAFKA_RESP_ERR_NO_ERROR};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};
use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
use std::time::Duration;

/// librdkafka interprets timestamp 0 as "now", but 1970-01-01T00:00:00Z is a timestamp like any other. Rows with it are
/// produced with this marker, which [`unmark`] replaces by 0 before the row is queued.
const ZERO_TIME_MARK: i64 = i64::MIN + 0x7469_6465;

/// A producer's client with its topic handles.
pub(in crate::log::kafka) struct RawProducer {
    /// Handles must be destroyed before the client, as `Drop` does.
    topics: RwLock<Vec<(Arc<str>, NonNull<sys::rd_kafka_topic_t>)>>,
    queue: NonNull<sys::rd_kafka_queue_t>,
    client: Client<Events>,
}

// SAFETY: librdkafka's clients, queues and topic handles may be used from several threads at once.
unsafe impl Send for RawProducer {}
// SAFETY: as above.
unsafe impl Sync for RawProducer {}

impl fmt::Debug for RawProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawProducer")
    }
}

/// An open topic of a producer.
#[derive(Clone, Copy)]
pub(in crate::log::kafka) struct Target<'a>(NonNull<sys::rd_kafka_topic_t>, PhantomData<&'a RawProducer>);

/// Why a transactional call failed. librdkafka's classification (fatal, retriable, abortable) is left out on purpose: all
/// failures are handled alike, by a new producer that reads what was committed (K9).
#[derive(Clone, Debug)]
pub(in crate::log::kafka) struct CallError {
    /// Its code.
    pub(in crate::log::kafka) code: RDKafkaErrorCode,
    /// Its text.
    pub(in crate::log::kafka) reason: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.reason, self.code)
    }
}

/// # Safety
/// `error` is NULL or an error object that is ours.
unsafe fn call_result(error: *mut sys::rd_kafka_error_t) -> Result<(), CallError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: promised by the caller; not used after it was destroyed.
    unsafe {
        let result =
            CallError { code: sys::rd_kafka_error_code(error).into(), reason: text(sys::rd_kafka_error_string(error)) };
        sys::rd_kafka_error_destroy(error);
        Err(result)
    }
}

/// The group whose offsets a transaction contains, as one that is no member of it names it (generation -1).
pub(in crate::log::kafka) struct GroupMetadata(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

impl GroupMetadata {
    /// `None`: not a name of a group.
    pub(in crate::log::kafka) fn of(group: &str) -> Option<GroupMetadata> {
        let name = CString::new(group).ok()?;
        // SAFETY: the name is copied; the object is given back in `Drop`.
        NonNull::new(unsafe { sys::rd_kafka_consumer_group_metadata_new(name.as_ptr()) }).map(Self)
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: ours, and destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) };
    }
}

impl RawProducer {
    /// Creates a producer. [`RawProducer::serve`] must be called from a thread of its own, which is the last to drop the
    /// producer: dropping waits until librdkafka's threads have ended.
    pub(in crate::log::kafka) fn new(config: &ClientConfig, events: Events) -> KafkaResult<RawProducer> {
        let native = config.create_native_config()?;
        // SAFETY: the configuration is valid until `Client::new` takes it; the interceptor needs no state.
        unsafe {
            sys::rd_kafka_conf_set_events(native.ptr(), sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR);
            sys::rd_kafka_conf_interceptor_add_on_new(native.ptr(), c"tidegate".as_ptr(), Some(on_new), null_mut());
        }
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, events)?;
        // SAFETY: the client lives; the queue is given back in `Drop`.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) });
        let queue = queue.ok_or_else(|| KafkaError::ClientCreation("the producer has no queue".into()))?;
        Ok(RawProducer { topics: RwLock::default(), queue, client })
    }

    /// What the client has reported so far.
    pub(in crate::log::kafka) fn events(&self) -> &Events {
        self.client.context()
    }

    /// Opens a topic.
    pub(in crate::log::kafka) fn open(&self, topic: &Arc<str>) -> KafkaResult<Target<'_>> {
        if let Some((_, handle)) = self.topics.read().iter().find(|(name, _)| name == topic) {
            return Ok(Target(*handle, PhantomData));
        }
        let name = CString::new(&**topic)?;
        // SAFETY: NULL means the default topic settings; `Drop` releases the handle.
        let handle = unsafe { sys::rd_kafka_topic_new(self.client.native_ptr(), name.as_ptr(), null_mut()) };
        let handle = NonNull::new(handle).ok_or(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTopic))?;
        // If two threads open it at once, the older handle is only destroyed later, with the client.
        self.topics.write().push((Arc::clone(topic), handle));
        Ok(Target(handle, PhantomData))
    }

    /// Copies one row into the send queue of its partition. `target` belongs to this producer.
    pub(in crate::log::kafka) fn send(
        &self,
        target: Target<'_>,
        partition: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), RDKafkaErrorCode> {
        use sys::rd_kafka_vtype_t as v;
        let stamp = if timestamp == 0 { ZERO_TIME_MARK } else { timestamp };
        let list = header_list(headers);
        let field = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
        let fields = [
            field(v::RD_KAFKA_VTYPE_RKT, Value { rkt: target.0.as_ptr() }),
            field(v::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition }),
            field(v::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: sys::RD_KAFKA_MSG_F_COPY }),
            field(v::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: stamp }),
            field(v::RD_KAFKA_VTYPE_KEY, Value { mem: memory(key) }),
            field(v::RD_KAFKA_VTYPE_VALUE, Value { mem: memory(value) }),
            field(v::RD_KAFKA_VTYPE_HEADERS, Value { headers: list }),
        ];
        // Without headers, the last field is left out.
        let count = fields.len() - usize::from(list.is_null());
        // SAFETY: all pointers are valid during the call, which copies; the header list changes hands only on success.
        unsafe {
            let error = sys::rd_kafka_produceva(self.client.native_ptr(), fields.as_ptr(), count);
            call_result(error).map_err(|e| {
                if !list.is_null() {
                    sys::rd_kafka_headers_destroy(list);
                }
                e.code
            })
        }
    }

    /// Waits for delivery reports, errors and log lines, and passes them to [`Events`].
    pub(in crate::log::kafka) fn serve(&self, timeout: Duration) {
        // SAFETY: an event is valid until destroyed, and so are the texts and messages that it lends.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds(timeout));
            if event.is_null() {
                return;
            }
            let mut reports = None;
            match sys::rd_kafka_event_type(event) {
                sys::RD_KAFKA_EVENT_DR => reports = Some(counted(event)),
                sys::RD_KAFKA_EVENT_ERROR => {
                    let code = sys::rd_kafka_event_error(event);
                    self.events().problem(code.into(), text(sys::rd_kafka_event_error_string(event)).trim());
                }
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (null(), null(), 0);
                    if sys::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                        self.events().line(level, text(facility).trim(), text(line).trim());
                    }
                }
                _ => {}
            }
            sys::rd_kafka_event_destroy(event);
            // Only now: a commit waits for reports that are counted but still in the queue.
            if let Some(reports) = reports {
                self.events().reported(reports);
            }
        }
    }

    /// Rows and reports in flight.
    pub(in crate::log::kafka) fn in_flight(&self) -> i32 {
        // SAFETY: the client lives.
        unsafe { sys::rd_kafka_outq_len(self.client.native_ptr()) }
    }

    /// Fences earlier producers of this transactional id and ends their open transaction (InitProducerId, KIP-98).
    pub(in crate::log::kafka) fn init_transactions(&self, timeout: Duration) -> Result<(), CallError> {
        // SAFETY: the client lives; so in the calls below.
        unsafe { call_result(sys::rd_kafka_init_transactions(self.client.native_ptr(), milliseconds(timeout))) }
    }

    /// Begins a transaction.
    pub(in crate::log::kafka) fn begin(&self) -> Result<(), CallError> {
        // SAFETY: see `init_transactions`.
        unsafe { call_result(sys::rd_kafka_begin_transaction(self.client.native_ptr())) }
    }

    /// Adds offsets to the transaction.
    pub(in crate::log::kafka) fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let wait = milliseconds(timeout);
        // SAFETY: see `init_transactions`; list and metadata are only read.
        unsafe {
            let client = self.client.native_ptr();
            call_result(sys::rd_kafka_send_offsets_to_transaction(client, offsets.ptr(), group.0.as_ptr(), wait))
        }
    }

    /// Commits. There is no timeout, because librdkafka's state is undefined after one, and no abort (K13): see [`super`].
    pub(in crate::log::kafka) fn commit(&self) -> Result<(), CallError> {
        // SAFETY: see `init_transactions`.
        unsafe { call_result(sys::rd_kafka_commit_transaction(self.client.native_ptr(), -1)) }
    }
}

/// # Safety
/// `event` is a valid event of delivery reports.
unsafe fn counted(event: *mut sys::rd_kafka_event_t) -> Reports {
    let (mut reports, mut last) = (Reports::default(), null());
    // SAFETY: promised by the caller; messages and their topic handles live as long as their event.
    unsafe {
        let mut message = sys::rd_kafka_event_message_next(event);
        while !message.is_null() {
            match (*message).err {
                RD_KAFKA_RESP_ERR_NO_ERROR => (reports.delivered, last) = (reports.delivered + 1, message),
                code => reports.failed = Some(code.into()),
            }
            message = sys::rd_kafka_event_message_next(event);
        }
        if !last.is_null() && (*last).offset >= 0 {
            let topic = text(sys::rd_kafka_topic_name((*last).rkt));
            reports.last = Some((TopicPartition::new(topic.as_str(), (*last).partition), (*last).offset));
        }
    }
    reports
}

impl Drop for RawProducer {
    fn drop(&mut self) {
        let all = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: handles and queue are ours and are destroyed once, before the client.
        unsafe {
            sys::rd_kafka_purge(self.client.native_ptr(), all);
            for (_, topic) in self.topics.get_mut() {
                sys::rd_kafka_topic_destroy(topic.as_ptr());
            }
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

use sys::rd_kafka_vu_s__bindgen_ty_1 as Value;

fn memory(bytes: Option<&[u8]>) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (ptr, size) = bytes.map_or((null(), 0), |b| (b.as_ptr(), b.len()));
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: ptr as *mut c_void, size }
}

/// librdkafka's copy of some headers; NULL for none.
fn header_list(headers: &[Header]) -> *mut sys::rd_kafka_headers_t {
    if headers.is_empty() {
        return null_mut();
    }
    // SAFETY: names and values are copied; a NULL value is a null value.
    unsafe {
        let list = sys::rd_kafka_headers_new(headers.len());
        for header in headers {
            let name = header.key.as_ptr() as *const c_char;
            let (value, size) = header.value.as_deref().map_or((null(), 0), |v| (v.as_ptr(), v.len() as isize));
            sys::rd_kafka_header_add(list, name, header.key.len() as isize, value as *const c_void, size);
        }
        list
    }
}

/// Called by librdkafka while it creates a producer.
unsafe extern "C" fn on_new(
    client: *mut sys::rd_kafka_t,
    _: *const sys::rd_kafka_conf_t,
    _: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> RDKafkaRespErr {
    // SAFETY: this is the moment at which a send interceptor may be added.
    unsafe { sys::rd_kafka_interceptor_add_on_send(client, c"tidegate".as_ptr(), Some(unmark), null_mut()) }
}

/// The first fields of librdkafka's `rd_kafka_msg_t` (rdkafka_msg.h of the version that rdkafka-sys bundles).
#[repr(C)]
struct MessageHead {
    message: sys::rd_kafka_message_t,
    link: [*mut c_void; 2],
    flags: c_int,
    timestamp_type: c_int,
    timestamp: i64,
}

/// Called by librdkafka for every row before it is queued: replaces [`ZERO_TIME_MARK`] by 0.
unsafe extern "C" fn unmark(
    _: *mut sys::rd_kafka_t,
    message: *mut sys::rd_kafka_message_t,
    _: *mut c_void,
) -> RDKafkaRespErr {
    // SAFETY: every `rd_kafka_message_t` of a producer is the first field of an `rd_kafka_msg_t`. The accessor and our own
    // view of the struct must agree on the mark, so that another layout changes nothing (a test would see it).
    unsafe {
        let head = message as *mut MessageHead;
        if (*head).timestamp == ZERO_TIME_MARK && sys::rd_kafka_message_timestamp(message, null_mut()) == ZERO_TIME_MARK
        {
            (*head).timestamp = 0;
        }
    }
    RD_KAFKA_RESP_ERR_NO_ERROR
}
