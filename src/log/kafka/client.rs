//! What all Kafka clients of this process share: settings, log lines and errors.
//!
//! The settings of the kinds of clients are those of the exactly-once protocol (see [`super::transaction`]). They are applied
//! after the user's own properties, so that no guarantee can be switched off by accident (K12).

use crate::config::kafka::ClientProperties;
use crate::error::{Error, Kind};
use crate::log::TopicPartition;
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::{Condvar, Mutex};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::util::Timeout;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// At most one log line per facility in this time: an unreachable broker causes many per second.
const LOG_PAUSE: Duration = Duration::from_secs(5);
/// Time without a heartbeat after which a member has left its group.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which the broker aborts an idle transaction. It is short, because an open transaction blocks readers.
const TRANSACTION_TIMEOUT_MS: u32 = 10_000;
/// Time after which librdkafka gives up on a row; below the transaction timeout.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(8);
/// Age at which a client that reads watermarks refreshes its metadata. Until then librdkafka sends requests to a leader that
/// may be down; the default is 15 minutes.
const LEADER_AGE_MS: u32 = 3_000;
/// Pause before librdkafka repeats a request. The time limit of K8 is derived from it.
pub(super) const RETRY_BACKOFF_MS: u32 = 100;

/// How to reach a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `HOST:PORT[,HOST:PORT...]`.
    pub bootstrap: String,
    /// Further settings, such as `security.protocol`.
    pub properties: ClientProperties,
}

impl KafkaSettings {
    /// A cluster without further settings.
    pub fn new(bootstrap: impl Into<String>) -> KafkaSettings {
        KafkaSettings { bootstrap: bootstrap.into(), properties: ClientProperties::default() }
    }

    fn base(&self, keys: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("client.id", "tidegate");
        for (key, value) in self.properties.iter() {
            config.set(key, value);
        }
        for (key, value) in keys {
            config.set(*key, *value);
        }
        config.set_log_level(RDKafkaLogLevel::Notice);
        config
    }

    /// A client for administration.
    pub(super) fn admin(&self) -> ClientConfig {
        self.base(&[])
    }

    /// A consumer that reads committed offsets and neither joins nor fetches.
    pub(super) fn metadata_client(&self, group: &str, isolation: &str) -> ClientConfig {
        self.base(&[("group.id", group), ("isolation.level", isolation), ("enable.auto.commit", "false")])
    }

    /// A consumer that reads watermarks, which partition leaders know.
    pub(super) fn watermark_client(&self, isolation: &str) -> ClientConfig {
        let mut config = self.metadata_client("tidegate-metadata", isolation);
        config.set("metadata.max.age.ms", LEADER_AGE_MS.to_string());
        config
    }

    /// A consumer that reads assigned partitions.
    pub(super) fn reader(&self, isolation: &str) -> ClientConfig {
        self.base(&[
            // Never joined; librdkafka requires a group for manual assignment.
            ("group.id", "tidegate-reader"),
            ("isolation.level", isolation),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("check.crcs", "true"),
            ("fetch.wait.max.ms", "100"),
            // The default of 1 s halves the throughput of a fast reader.
            ("fetch.queue.backoff.ms", "2"),
            ("queued.min.messages", "100000"),
            // Bounds the memory of read-ahead, for all partitions of a reader.
            ("queued.max.messages.kbytes", "32768"),
            // Per partition: larger responses leave the CPU cache before they are read, which costs 10 %.
            ("fetch.message.max.bytes", "1000000"),
            ("fetch.max.bytes", "16000000"),
        ])
    }

    /// A producer without transactions, whose batches are at most this large.
    pub(super) fn producer(&self, batch_bytes: usize) -> ClientConfig {
        let mut config = self.base(&PRODUCER);
        config.set("batch.size", batch_bytes.clamp(1, BATCH_BYTES).to_string());
        config
    }

    /// A transactional producer. Its debug lines reveal repeated requests (K8).
    pub(super) fn transactional(&self, id: &str, batch_bytes: usize) -> ClientConfig {
        let mut config = self.producer(batch_bytes);
        config.set("transactional.id", id);
        config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string());
        config.set("retry.backoff.ms", RETRY_BACKOFF_MS.to_string());
        config.set("debug", "eos").set_log_level(RDKafkaLogLevel::Debug);
        config
    }

    /// A consumer that joins a group for a moment.
    pub(super) fn visitor(&self, group: &str) -> ClientConfig {
        let mut config = self.metadata_client(group, "read_committed");
        config.set("group.protocol", "classic").set("enable.auto.offset.store", "false");
        config
    }

    /// The consumer that is a process's static member of its service's group (K1). The classic protocol, because a static member of
    /// KIP-848 that was killed cannot rejoin before its session ends (librdkafka 2.12).
    pub(super) fn member(&self, group: &str, instance: &str, client: &str) -> ClientConfig {
        let mut config = self.metadata_client(group, "read_committed");
        config.set("client.id", client);
        config.set("group.instance.id", instance);
        config.set("group.protocol", "classic");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string());
        config.set("heartbeat.interval.ms", "2000");
        config.set("max.poll.interval.ms", "300000");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest");
        config
    }
}

/// Largest batch, unless a topic has a lower limit: a refused batch fails the whole transaction. A larger row gets a batch of
/// its own.
pub(super) const BATCH_BYTES: usize = 1_000_000;

const PRODUCER: [(&str, &str); 8] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "8000"),
    // The rows of an epoch are produced together, so that batches fill without waiting; a linger would only delay the commit.
    ("linger.ms", "0"),
    // The limit is the topic's.
    ("message.max.bytes", "1000000000"),
    // Rows always name their partition; this is what Java's producer would choose (`BuiltInPartitioner`).
    ("partitioner", "murmur2_random"),
    // The engine bounds the size of an epoch; librdkafka's own limit would only add a wait.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "1048576"),
];

/// Rows delivered to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Offset of the last one.
    pub(super) last: i64,
    /// How many.
    pub(super) rows: u64,
}

/// One event of delivery reports; librdkafka issues one for the rows of one request and partition.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Delivered rows.
    pub(super) delivered: u64,
    /// Partition and offset of the last of them.
    pub(super) last: Option<(TopicPartition, i64)>,
    /// Error code of the last row that was not delivered.
    pub(super) failed: Option<RDKafkaErrorCode>,
}

/// What one client has reported: errors, deliveries, signs of repeated requests.
#[derive(Clone)]
pub(super) struct Events(Arc<Shared>);

struct Shared {
    /// Names the client in log lines.
    name: String,
    clock: SharedClock,
    /// Time of the last line of each facility, and how many were suppressed since.
    lines: Mutex<BTreeMap<String, (Duration, u64)>>,
    trouble: Mutex<Option<String>>,
    /// The last login or handshake that failed.
    refusal: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// K8: a request may have been repeated; the producer must not be used for another transaction.
    suspicious: AtomicBool,
    delivered: AtomicU64,
    deliveries: Mutex<BTreeMap<TopicPartition, Delivery>>,
    failure: Mutex<Option<RDKafkaErrorCode>>,
    /// Notified after every report; its mutex is `failure`.
    report: Condvar,
}

impl Events {
    pub(super) fn new(name: impl Into<String>, clock: SharedClock) -> Events {
        Events(Arc::new(Shared {
            name: name.into(),
            clock,
            lines: Mutex::default(),
            trouble: Mutex::default(),
            refusal: Mutex::default(),
            suspicious: AtomicBool::default(),
            delivered: AtomicU64::default(),
            deliveries: Mutex::default(),
            failure: Mutex::default(),
            report: Condvar::new(),
        }))
    }

    /// A log line of librdkafka, by its own level number.
    pub(super) fn line(&self, level: i32, facility: &str, line: &str) {
        if facility == "ENDTXN" && !line.contains("NO_ERROR") || matches!(facility, "REQTMOUT" | "FAIL" | "TXNERR") {
            self.0.suspicious.store(true, Ordering::SeqCst);
        }
        if level > 5 {
            return;
        }
        // A setting of the other kind of client is harmless: all clients get the user's properties.
        if facility == "CONFWARN" {
            return tracing::debug!(target: "kafka", client = self.0.name, "{line}");
        }
        if level <= 3 {
            *self.0.trouble.lock() = Some(without_prefix(line).to_owned());
        }
        let now = self.0.clock.monotonic();
        let mut lines = self.0.lines.lock();
        let (last, held) = lines.entry(facility.to_owned()).or_insert((Duration::ZERO, 0));
        if *last > Duration::ZERO && now.saturating_sub(*last) < LOG_PAUSE {
            *held += 1;
            return;
        }
        let suppressed = *held;
        (*last, *held) = (now.max(Duration::from_nanos(1)), 0);
        drop(lines);
        let text = without_prefix(line);
        if level <= 4 {
            tracing::warn!(target: "kafka", client = self.0.name, facility, suppressed, "{text}");
        } else {
            tracing::info!(target: "kafka", client = self.0.name, facility, suppressed, "{text}");
        }
    }

    /// An error that concerns the client as a whole.
    pub(super) fn problem(&self, code: RDKafkaErrorCode, reason: &str) {
        self.0.suspicious.store(true, Ordering::SeqCst);
        if matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) {
            *self.0.refusal.lock() = Some((code, without_prefix(reason).to_owned()));
        }
        self.line(3, "ERROR", &format!("{reason} ({code:?})"));
    }

    /// Counts delivery reports.
    pub(super) fn reported(&self, reports: Reports) {
        if let Some((at, last)) = reports.last {
            let mut deliveries = self.0.deliveries.lock();
            let rows = deliveries.get(&at).map_or(0, |l| l.rows) + reports.delivered;
            deliveries.insert(at, Delivery { last, rows });
        }
        let mut failure = self.0.failure.lock();
        if let Some(code) = reports.failed {
            failure.get_or_insert(code);
        }
        self.0.delivered.fetch_add(reports.delivered, Ordering::SeqCst);
        self.0.report.notify_all();
    }

    /// The deliveries since the last call, per partition.
    pub(super) fn take_deliveries(&self) -> BTreeMap<TopicPartition, Delivery> {
        std::mem::take(&mut self.0.deliveries.lock())
    }

    /// Waits until `total` rows are delivered or one has failed, at most for `timeout`.
    pub(super) fn wait_for_reports(&self, total: u64, timeout: Duration) {
        let mut failure = self.0.failure.lock();
        if failure.is_none() && self.delivered() < total {
            self.0.report.wait_for(&mut failure, timeout);
        }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.0.delivered.load(Ordering::SeqCst)
    }

    /// The first failed delivery. A producer with one is not used again.
    pub(super) fn failure(&self) -> Option<RDKafkaErrorCode> {
        *self.0.failure.lock()
    }

    pub(super) fn suspicious(&self) -> bool {
        self.0.suspicious.load(Ordering::SeqCst)
    }

    /// Why a broker refused the login or the TLS handshake, if one did.
    pub(super) fn refusal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.refusal.lock().clone()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.0.trouble.lock() = trouble;
    }
}

/// librdkafka's lines begin with `[thrd:NAME]: `.
fn without_prefix(line: &str) -> &str {
    match line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, text)) => text,
        None => line,
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.line(level as i32, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if code != RDKafkaErrorCode::PartitionEOF {
            self.problem(code, reason);
        }
    }
}

impl ConsumerContext for Events {}

/// The state of a group membership, updated by rebalances.
pub(super) struct Membership {
    events: Events,
    owned: Mutex<BTreeSet<i32>>,
}

impl Membership {
    pub(super) fn new(events: Events) -> Membership {
        Membership { events, owned: Mutex::default() }
    }

    pub(super) fn owned(&self) -> usize {
        self.owned.lock().len()
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.events.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Nothing is read from the task topic; an explicit offset avoids a lookup.
            let _ = list.set_all_offsets(rdkafka::Offset::Offset(0));
            let assigned = consumer.incremental_assign(list);
            let _ = consumer.pause(list);
            match assigned {
                Ok(()) => self.owned.lock().extend(partitions),
                Err(error) => self.events.line(4, "ASSIGN", &error.to_string()),
            }
        } else {
            self.owned.lock().retain(|p| !partitions.contains(p));
            if let Err(error) = consumer.incremental_unassign(list) {
                self.events.line(4, "UNASSIGN", &error.to_string());
            }
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(100))
    }
}

/// The error of a failed call: `could not describe topics: Broker transport failure`.
pub(super) fn failed(doing: &str, error: KafkaError) -> Error {
    let code = error.rdkafka_error_code();
    match code {
        Some(code) => failed_with(doing, code),
        None => Error::io(format!("could not {doing}")).with_detail(error.to_string()).because(error),
    }
}

/// The same for a bare code.
pub(super) fn failed_with(doing: &str, code: RDKafkaErrorCode) -> Error {
    use RDKafkaErrorCode as Code;
    let kind = match code {
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition => Kind::NotFound,
        Code::TopicAlreadyExists | Code::InvalidTopic | Code::InvalidConfig | Code::InvalidPartitions => {
            Kind::Statement
        }
        Code::InvalidReplicationFactor | Code::PolicyViolation => Kind::Statement,
        Code::MessageSizeTooLarge => Kind::Data,
        _ => Kind::Io,
    };
    let error = Error::new(kind, format!("could not {doing}")).with_detail(code.to_string()).because(code);
    match code {
        Code::OperationTimedOut | Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            error.with_hint("check that the broker is running and that its address is right")
        }
        Code::MessageSizeTooLarge => error.with_hint("raise max.message.bytes of the topic"),
        _ => error,
    }
}

/// A login or a TLS handshake that was refused: retrying with the same settings does not help.
pub(super) fn refused(code: RDKafkaErrorCode, bootstrap: &str) -> Error {
    match code {
        RDKafkaErrorCode::Authentication => Error::io(format!("Kafka at {bootstrap} refused the login"))
            .with_hint("check sasl.mechanism, sasl.username and sasl.password in the file of --kafka-config"),
        _ => Error::io(format!("no TLS connection to Kafka at {bootstrap}")).with_hint(
            "check that this is a TLS port, and that ssl.ca.location in the file of --kafka-config names the authority \
             of its certificate",
        ),
    }
}

/// Drops a client in a thread of its own: closing it may wait for an unreachable broker.
pub(super) fn retire<T: Send + 'static>(what: T) {
    // Without a thread to spare the closure is dropped here, and with it the client.
    drop(threads::spawn("kafka-close", "", move || drop(what)));
}
